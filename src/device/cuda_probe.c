#include "device/cuda_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAJOR(version) ((version) / 1000)
#define MINOR(version) ((version) % 1000 / 10)

bool dw__cuda_describe_absence(const dw__cuda_info *info, char *text, size_t capacity)
{
    text[0] = '\0';
    if (!info->built || (info->device_count > 0 && info->missing == NULL)) {
        return false;
    }
    if (info->driver_version == 0) {
        (void)snprintf(text, capacity,
                       "CUDA: no driver of NVIDIA's is running (see `nvidia-smi`), so this build's "
                       "CUDA part has no device");
    } else if (MAJOR(info->driver_version) < MAJOR(info->runtime_version)) {
        (void)snprintf(text, capacity,
                       "CUDA: the driver serves CUDA up to %d.%d, this build needs %d: install a "
                       "newer driver, or build with CUDA %d",
                       MAJOR(info->driver_version), MINOR(info->driver_version),
                       MAJOR(info->runtime_version), MAJOR(info->driver_version));
    } else if (info->missing != NULL) {
        (void)snprintf(
            text, capacity,
            "CUDA: %.60s was not found, so no device is used: install cuBLAS of CUDA %d, "
            "or name its folder in LD_LIBRARY_PATH",
            info->missing, MAJOR(info->runtime_version));
    } else {
        (void)snprintf(text, capacity,
                       "CUDA: the driver shows no device: %.100s (CUDA_VISIBLE_DEVICES may hide "
                       "them)",
                       info->error != NULL ? info->error : "there is none");
    }
    return true;
}

/* "800,900" as "8.0, 9.0". */
static void write_architectures(const char *list, char *text, size_t capacity)
{
    size_t length = 0;
    text[0] = '\0';
    while (*list != '\0' && length < capacity) {
        char *end;
        long number = strtol(list, &end, 10);
        if (end == list) {
            return;
        }
        int written = snprintf(text + length, capacity - length, "%s%ld.%ld",
                               length > 0 ? ", " : "", number / 100, number % 100 / 10);
        length += written > 0 ? (size_t)written : 0;
        list = *end == ',' ? end + 1 : end;
    }
}

void dw__cuda_describe_problem(const char *failure, const dw__cuda_device_info *info,
                               const char *architectures, char *text, size_t capacity)
{
    char list[80];
    text[0] = '\0';
    if (strstr(failure, "busy or unavailable") != NULL || strstr(failure, "exclusive") != NULL) {
        (void)snprintf(text, capacity,
                       " (another process has it for itself, or its compute mode forbids it: see "
                       "`nvidia-smi -q -d COMPUTE`)");
    } else if (strstr(failure, "out of memory") != NULL) {
        (void)snprintf(text, capacity, " (other processes use its memory: see `nvidia-smi`)");
    } else if (strstr(failure, "no kernel image") != NULL ||
               strstr(failure, "unsupported toolchain") != NULL) {
        write_architectures(architectures, list, sizeof list);
        (void)snprintf(text, capacity,
                       " (it has compute capability %d.%d, this build has code for %s: build with "
                       "CMAKE_CUDA_ARCHITECTURES=%d)",
                       info->capability / 10, info->capability % 10,
                       list[0] != '\0' ? list : "others", info->capability);
    }
}
