# What is for CUDA alone: files *_cuda.c and *_cuda.cu, each with a *_none.c for builds without.
if(DRIFTWOOD_CUDA)
    include(CudaArchitectures)
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    list(FILTER core_sources EXCLUDE REGEX "_none\\.c$")
    file(GLOB cuda_sources CONFIGURE_DEPENDS src/*/*_cuda.cu)
    list(APPEND core_sources ${cuda_sources})
else()
    list(FILTER core_sources EXCLUDE REGEX "_cuda\\.c$")
endif()

# Our kernels stand in ggml's graphs as an operation that ggml knows: the linker leads its call of
# that operation to src/device/cuda_node_cuda.cu, which hands on what is not ours.
set(DRIFTWOOD_CUDA_WRAPPED
    _Z22ggml_cuda_op_rwkv_wkv7R25ggml_backend_cuda_contextP11ggml_tensor)

function(driftwood_cuda target)
    if(DRIFTWOOD_CUDA)
        target_link_libraries(${target} PUBLIC CUDA::cudart CUDA::cublas CUDA::cuda_driver)
        # Asked for by name as well: the library with the call comes after ours in a link.
        target_link_options(${target} INTERFACE "LINKER:--wrap=${DRIFTWOOD_CUDA_WRAPPED}"
            "LINKER:--undefined=__wrap_${DRIFTWOOD_CUDA_WRAPPED}")
        # What a backend's context is, which only ggml's own headers say (deps/CMakeLists.txt).
        target_include_directories(${target} SYSTEM PRIVATE "${DRIFTWOOD_PREFIX}/include/ggml-cuda")
    endif()
endfunction()
