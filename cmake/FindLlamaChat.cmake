# llama_chat, the part of llama.cpp that knows chats (deps/chat.cmake): target LlamaChat::LlamaChat. For
# fuzzing it is built here, with sanitizers, where its sources are known; the tests' builds with
# sanitizers take the prefix's, since it takes minutes to compile.
if(DRIFTWOOD_FUZZ AND EXISTS "${CMAKE_SOURCE_DIR}/build/llama-cpp-dir")
    file(STRINGS "${CMAKE_SOURCE_DIR}/build/llama-cpp-dir" LLAMA_CPP_DIR LIMIT_COUNT 1)
endif()
if(LLAMA_CPP_DIR AND EXISTS "${LLAMA_CPP_DIR}/common/chat.cpp")
    include("${CMAKE_SOURCE_DIR}/deps/chat.cmake")
    target_compile_options(llama_chat PRIVATE -O1 ${DRIFTWOOD_SANITIZE_FLAGS})
    set(LlamaChat_LIBRARY llama_chat)
    set(LlamaChat_INCLUDE_DIR "${LLAMA_CPP_DIR}/common")
else()
    find_path(LlamaChat_INCLUDE_DIR chat-peg-parser.h PATHS "${DRIFTWOOD_PREFIX}/include/llama-chat"
        NO_DEFAULT_PATH)
    find_library(LlamaChat_LIBRARY llama_chat PATHS "${DRIFTWOOD_PREFIX}/lib" NO_DEFAULT_PATH)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LlamaChat REQUIRED_VARS LlamaChat_LIBRARY LlamaChat_INCLUDE_DIR)
if(LlamaChat_FOUND AND NOT TARGET LlamaChat::LlamaChat)
    add_library(LlamaChat::LlamaChat INTERFACE IMPORTED)
    set_target_properties(LlamaChat::LlamaChat PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${LlamaChat_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${LlamaChat_LIBRARY}")
endif()
mark_as_advanced(LlamaChat_INCLUDE_DIR LlamaChat_LIBRARY)
