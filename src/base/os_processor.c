/* What compiled code depends on beside its source: the processor, and the files of the compiler. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/os.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#if defined(__x86_64__) || defined(__i386__)

/* Leaf 1's EBX is left out: it says on which core one is. */
void dw_os_processor(char text[DW_OS_PROCESSOR_BYTES])
{
    static const unsigned leaves[][2] = {{0, 0}, {1, 0}, {7, 0}, {7, 1}, {0x80000001U, 0}};
    size_t at = (size_t)snprintf(text, DW_OS_PROCESSOR_BYTES, "x86");
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        unsigned r[4] = {0};
        (void)__get_cpuid_count(leaves[i][0], leaves[i][1], &r[0], &r[1], &r[2], &r[3]);
        r[1] = leaves[i][0] == 1 ? 0 : r[1];
        at += (size_t)snprintf(text + at, DW_OS_PROCESSOR_BYTES - at, " %x.%x.%x.%x", r[0], r[1],
                               r[2], r[3]);
    }
}

#elif defined(__linux__)

void dw_os_processor(char text[DW_OS_PROCESSOR_BYTES])
{
    const char *platform = (const char *)getauxval(AT_PLATFORM);
    (void)snprintf(text, DW_OS_PROCESSOR_BYTES, "%.64s %lx %lx", platform != NULL ? platform : "",
                   getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
}

#if defined(__aarch64__)
#define HAS_DOT_PRODUCTS (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
#define HAS_BYTE_MATRICES (getauxval(AT_HWCAP2) & HWCAP2_I8MM)
#endif

#elif defined(__APPLE__)

void dw_os_processor(char text[DW_OS_PROCESSOR_BYTES])
{
    size_t bytes = DW_OS_PROCESSOR_BYTES - 1;
    memset(text, 0, DW_OS_PROCESSOR_BYTES);
    (void)sysctlbyname("machdep.cpu.brand_string", text, &bytes, NULL, 0);
}

static bool has(const char *name)
{
    int value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value != 0;
}
#define HAS_DOT_PRODUCTS has("hw.optional.arm.FEAT_DotProd")
#define HAS_BYTE_MATRICES has("hw.optional.arm.FEAT_I8MM")

#else
#error "say what code for this processor depends on"
#endif

#ifndef HAS_DOT_PRODUCTS
#define HAS_DOT_PRODUCTS 0
#define HAS_BYTE_MATRICES 0
#endif

bool dw_os_has_dot_products(void)
{
    return HAS_DOT_PRODUCTS != 0;
}

bool dw_os_has_byte_matrices(void)
{
    return HAS_BYTE_MATRICES != 0;
}

dw_status dw_os_identify_code(const void *address, dw_file_identity *identity, dw_error *err)
{
    Dl_info info;
    char own[PATH_MAX];
    if (dladdr(address, &info) == 0 || info.dli_fname == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "the file of code at %p is not known", address);
    }
    const char *path = info.dli_fname;
    int fd = path[0] == '/' ? dw_os_open(path, O_RDONLY, 0) : -1;
    if (fd < 0) { /* a program is named as it was called */
        dw_status status = dw_os_executable_path(own, sizeof own, err);
        if (status != DW_OK) {
            return status;
        }
        path = own;
        fd = dw_os_open(path, O_RDONLY, 0);
    }
    if (fd < 0) {
        return dw_fail(err, DW_E_IO, "%.160s: %s", path, strerror(errno));
    }
    dw_status status = dw_os_identify(fd, identity, err);
    dw_os_close(fd);
    return status;
}
