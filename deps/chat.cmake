# llama_chat: the part of llama.cpp's `common` that knows chats: the formats in which models write
# reasoning and tool calls, the grammars of those, and the values of its Jinja engine. Nothing of it
# reaches the network or a file. Templates are read and run by src/templates, which defines what the
# engine's own lexer and parser would; two functions are renamed, so that src/chat stands in front of
# them, and what `common` keeps in files that bring the rest of llama.cpp along (log, strings) is
# defined there too.
# Needs LLAMA_CPP_DIR. The deps install it; builds with sanitizers make their own.
set(common "${LLAMA_CPP_DIR}/common")
include("${common}/parsers/sources.cmake")
file(GLOB jinja_sources "${common}/jinja/*.cpp")
list(FILTER jinja_sources EXCLUDE REGEX "/(lexer|parser)\\.cpp$")
set(chat_sources ${LLAMA_CHAT_PARSERS_SOURCES} ${jinja_sources})
foreach(name chat chat-auto-parser-generator chat-auto-parser-helpers chat-diff-analyzer
        chat-peg-parser json json-schema json-schema-to-grammar peg-parser trie unicode)
    list(APPEND chat_sources "${common}/${name}.cpp")
endforeach()
list(FILTER chat_sources EXCLUDE REGEX "\\.h$")
add_library(llama_chat STATIC ${chat_sources})
# Many small files behind large headers: in one go they take a quarter of the compiler's time. json.cpp
# and jinja/value.cpp give names of
# their own to what the others know as something else.
set_target_properties(llama_chat PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
set_source_files_properties(${LLAMA_CHAT_PARSERS_SOURCES} PROPERTIES UNITY_GROUP parsers)
foreach(name chat chat-auto-parser-generator chat-auto-parser-helpers chat-diff-analyzer chat-peg-parser
        peg-parser trie)
    set_source_files_properties("${common}/${name}.cpp" PROPERTIES UNITY_GROUP chat)
endforeach()
set_source_files_properties("${common}/json-schema-to-grammar.cpp" PROPERTIES
    COMPILE_DEFINITIONS build_grammar=common_build_grammar)
set_source_files_properties("${common}/json-schema.cpp" PROPERTIES
    COMPILE_DEFINITIONS common_chat_schema_from_json=common_parse_chat_schema)
# Its assertions are of its own making; what a template or a model writes must not end the process.
target_compile_definitions(llama_chat PRIVATE NDEBUG)
target_compile_features(llama_chat PUBLIC cxx_std_17)
target_include_directories(llama_chat SYSTEM PRIVATE "${common}" "${LLAMA_CPP_DIR}/include"
    "${LLAMA_CPP_DIR}/ggml/include" "${LLAMA_CPP_DIR}/vendor")
