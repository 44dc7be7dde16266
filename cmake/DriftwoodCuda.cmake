# What is for CUDA alone: files *_cuda.c and *_cuda.cu, each with a *_none.c for builds without.
if(DRIFTWOOD_CUDA)
    include(CudaArchitectures)
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    list(FILTER core_sources EXCLUDE REGEX "_none\\.c$")
    file(GLOB cuda_sources CONFIGURE_DEPENDS src/*/*_cuda.cu)
    list(APPEND core_sources ${cuda_sources})
    # The driver and cuBLAS are looked for when the program runs (src/device/cuda_loader_cuda.c), so
    # that it starts without them.
    get_target_property(libraries ggml::ggml-cuda INTERFACE_LINK_LIBRARIES)
    list(FILTER libraries EXCLUDE REGEX "CUDA::")
    set_target_properties(ggml::ggml-cuda PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")
else()
    list(FILTER core_sources EXCLUDE REGEX "_cuda\\.c$")
endif()

# Our kernels stand in ggml's graphs as an operation that ggml knows: the linker leads its call of
# that operation to src/device/cuda_node_cuda.cu, which hands on what is not ours.
set(DRIFTWOOD_CUDA_WRAPPED
    _Z22ggml_cuda_op_rwkv_wkv7R25ggml_backend_cuda_contextP11ggml_tensor)

function(driftwood_cuda target)
    if(DRIFTWOOD_CUDA)
        target_link_libraries(${target} PUBLIC CUDA::cudart_static)
        # As deps/CMakeLists.txt has ggml built: what its context holds depends on it.
        target_compile_definitions(${target} PRIVATE GGML_CUDA_USE_GRAPHS
            DW_CUDA_LIBRARY_DIR="${CUDAToolkit_LIBRARY_DIR}")
        # Asked for by name as well: the library with the call comes after ours in a link.
        target_link_options(${target} INTERFACE "LINKER:--wrap=${DRIFTWOOD_CUDA_WRAPPED}"
            "LINKER:--undefined=__wrap_${DRIFTWOOD_CUDA_WRAPPED}")
        # What a backend's context is, which only ggml's own headers say (deps/CMakeLists.txt).
        target_include_directories(${target} SYSTEM PRIVATE "${DRIFTWOOD_PREFIX}/include/ggml-cuda")
    endif()
endfunction()
