# The libraries that Driftwood stands on. An installed copy that CMAKE_PREFIX_PATH,
# ggml_DIR, llama_DIR or WASMTIME_ROOT names is taken first, DRIFTWOOD_PREFIX last.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

list(APPEND CMAKE_PREFIX_PATH "${DRIFTWOOD_PREFIX}")
find_package(ggml CONFIG QUIET)
find_package(llama CONFIG QUIET)
if(NOT ggml_FOUND OR NOT llama_FOUND)
    message(FATAL_ERROR "ggml and libllama are neither installed nor in "
        "DRIFTWOOD_PREFIX='${DRIFTWOOD_PREFIX}': run `make deps` first")
endif()
list(REMOVE_ITEM CMAKE_PREFIX_PATH "${DRIFTWOOD_PREFIX}")
find_package(Wasmtime 50 MODULE)
if(NOT Wasmtime_FOUND)
    message(FATAL_ERROR "Wasmtime's C library (50 or newer) is neither installed, under "
        "WASMTIME_ROOT='$ENV{WASMTIME_ROOT}' nor in DRIFTWOOD_PREFIX='${DRIFTWOOD_PREFIX}': "
        "run `make deps` first")
endif()
include(DriftwoodFlags)
find_package(LlamaChat MODULE REQUIRED)
find_package(Editline MODULE REQUIRED)
find_package(Jansson MODULE REQUIRED)
find_package(Xxhash MODULE REQUIRED)
find_package(Nettle MODULE REQUIRED)
find_package(Zstd MODULE REQUIRED)
find_package(Sqlite 3.37 MODULE REQUIRED)
find_package(Libuv MODULE REQUIRED)
find_package(Llhttp MODULE REQUIRED)
if(DRIFTWOOD_CUDA)
    find_package(CUDAToolkit REQUIRED)
endif()

foreach(backend cuda vulkan metal)
    string(TOUPPER ${backend} option)
    if(DRIFTWOOD_${option} AND NOT "ggml-${backend}" IN_LIST GGML_AVAILABLE_BACKENDS)
        message(FATAL_ERROR "DRIFTWOOD_${option} is ON, but the ggml found has only "
            "'${GGML_AVAILABLE_BACKENDS}': build the prefix with it as well")
    endif()
endforeach()

# Where a program looks for libwasmtime, relative to itself.
if(APPLE)
    set(DRIFTWOOD_ORIGIN "@loader_path")
else()
    set(DRIFTWOOD_ORIGIN "$ORIGIN")
endif()
