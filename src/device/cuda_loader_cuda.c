/* NVIDIA's driver and cuBLAS, found when the program runs instead of when it is linked, so that a
 * build with CUDA starts on machines that have neither. The functions that ggml and we call are
 * here under their own names, hidden from other libraries; each jumps to the one that was found,
 * or answers with an error. CUDA's runtime is linked statically and looks for the driver alike. */
#include <dlfcn.h>

#include <cublas_v2.h>
#include <cuda.h>
#include <stdio.h>

#include "device/cuda_probe.h"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define CUBLAS_NAME "libcublas.so." TEXT(CUBLAS_VER_MAJOR)
#define CUBLAS_LT_NAME "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)
#define DRIVER_NAME "libcuda.so.1"

/* What is called without being here, the linker names. */
#define DRIVER_FUNCTIONS(X)                                                                        \
    X(cuDeviceGet)                                                                                 \
    X(cuDeviceGetAttribute)                                                                        \
    X(cuGetErrorString)                                                                            \
    X(cuMemAddressFree)                                                                            \
    X(cuMemAddressReserve)                                                                         \
    X(cuMemCreate)                                                                                 \
    X(cuMemGetAllocationGranularity)                                                               \
    X(cuMemMap)                                                                                    \
    X(cuMemRelease)                                                                                \
    X(cuMemSetAccess)                                                                              \
    X(cuMemUnmap)
#define CUBLAS_FUNCTIONS(X)                                                                        \
    X(cublasCreate_v2)                                                                             \
    X(cublasDestroy_v2)                                                                            \
    X(cublasGemmBatchedEx)                                                                         \
    X(cublasGemmEx)                                                                                \
    X(cublasGemmStridedBatchedEx)                                                                  \
    X(cublasSetMathMode)                                                                           \
    X(cublasSetStream_v2)                                                                          \
    X(cublasSetWorkspace_v2)                                                                       \
    X(cublasSgemmBatched)                                                                          \
    X(cublasSgemmStridedBatched)                                                                   \
    X(cublasSgemm_v2)                                                                              \
    X(cublasStrsmBatched)

/* They take any arguments, in the registers and on the stack that a jump leaves as they are. */
#if defined(__x86_64__)
#define JUMP(name) "endbr64\n jmp *dw__cuda_fn_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name)                                                                                 \
    "adrp x16, dw__cuda_fn_" #name "\n ldr x16, [x16, :lo12:dw__cuda_fn_" #name "]\n br x16\n"
#else
#error "CUDA has libraries for x86-64 and arm64"
#endif
typedef void (*any_function)(void);

#define FUNCTION(name, otherwise)                                                                  \
    extern any_function dw__cuda_fn_##name;                                                        \
    any_function dw__cuda_fn_##name = (any_function)(otherwise);                                   \
    __asm__(".pushsection .text\n .globl " #name "\n .hidden " #name "\n .type " #name             \
            ", %function\n" #name ":\n" JUMP(name) ".size " #name ", .-" #name "\n .popsection");

static CUresult no_driver(void)
{
    return CUDA_ERROR_NOT_INITIALIZED;
}

static cublasStatus_t no_cublas(void)
{
    return CUBLAS_STATUS_NOT_INITIALIZED;
}

static const char *no_cublas_text(void)
{
    return CUBLAS_NAME " was not found";
}

#define DRIVER_FUNCTION(name) FUNCTION(name, no_driver)
#define CUBLAS_FUNCTION(name) FUNCTION(name, no_cublas)
DRIVER_FUNCTIONS(DRIVER_FUNCTION)
CUBLAS_FUNCTIONS(CUBLAS_FUNCTION)
FUNCTION(cublasGetStatusString, no_cublas_text)

static const char *missing;

const char *dw__cuda_missing_library(void)
{
    return missing;
}

static void *open_library(const char *name)
{
    static const char *const folders[] = {"", DW_CUDA_LIBRARY_DIR "/", "/usr/local/cuda/lib64/"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && library == NULL; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s%s", folders[i], name);
        if (length > 0 && (size_t)length < sizeof path) {
            library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
        }
    }
    return library;
}

/* One that a library lacks stays as it is. Returns whether none is lacking. */
static bool find(void *library, const char *name, any_function *function)
{
    void *found = dlsym(library, name);
    if (found != NULL) {
        *(void **)function = found;
    }
    return found != NULL;
}

/* Before main, since anything may be the first to ask ggml for its devices. */
__attribute__((constructor)) static void find_libraries(void)
{
    void *driver = open_library(DRIVER_NAME);
    if (driver == NULL) {
        return; /* nor is there a use for cuBLAS */
    }
#define FIND_DRIVER(name) (void)find(driver, #name, &dw__cuda_fn_##name);
    DRIVER_FUNCTIONS(FIND_DRIVER)
    (void)open_library(CUBLAS_LT_NAME); /* which the other asks for by its name alone */
    void *cublas = open_library(CUBLAS_NAME);
    bool whole = cublas != NULL;
#define FIND_CUBLAS(name) whole = whole && find(cublas, #name, &dw__cuda_fn_##name);
    CUBLAS_FUNCTIONS(FIND_CUBLAS)
    FIND_CUBLAS(cublasGetStatusString)
    missing = whole ? NULL : CUBLAS_NAME;
}
