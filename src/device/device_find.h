/* Devices in ggml's registry, before one is opened: which there are, what is known of each, and
 * which one a name stands for. Also dw_device_count, dw_device_get_info and dw_device_note.
 * Private to src/device. Thread: any. */
#ifndef DW_DEVICE_DEVICE_FIND_H
#define DW_DEVICE_DEVICE_FIND_H

#include <ggml-backend.h>

#include "base/status.h"

/* How a device can be given pages of the host. */
typedef enum dw__host_pages {
    DW__HOST_PAGES_NONE,       /* not at all */
    DW__HOST_PAGES_IMPORTED,   /* ggml's buffer from a host pointer */
    DW__HOST_PAGES_REGISTERED, /* host_register.h, in builds with CUDA */
} dw__host_pages;
/* May end in an abort of ggml's: under dw_ggml_guarded where the device was not opened. */
dw__host_pages dw__device_host_pages(ggml_backend_dev_t handle);

/* All that is known of a device; info->problem where it cannot be used. */
void dw__device_describe(ggml_backend_dev_t handle, dw_device_info *info);
/* Why a device cannot be used: `failure`, and its likely cause. NULL: its memory is not known. */
void dw__device_describe_problem(ggml_backend_dev_t handle, const char *failure, char *text,
                                 size_t capacity);
/* The device of that name, in any case of letters; NULL: the first GPU that can share host memory,
 * else the CPU. Errors: DW_E_NOT_FOUND (the message lists the names there are). */
dw_status dw__device_choose(const char *name, ggml_backend_dev_t *out, dw_error *err);

#endif
