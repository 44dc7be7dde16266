/* Devices found through ggml's registry, and running graphs on one. */
#ifndef DW_DEVICE_DEVICE_H
#define DW_DEVICE_DEVICE_H

#include <ggml-backend.h>

#include "base/status.h"

typedef struct dw_device dw_device;

/* Open a device by name, in any case of letters; NULL: the first GPU that can share host memory,
 * else the CPU. `threads` for the CPU device, 0: the machine's real cores.
 * Errors: DW_E_NOT_FOUND (the message lists the names there are), DW_E_ARG, DW_E_DEVICE. */
dw_status dw_device_open(dw_device **out, const char *name, int threads, dw_error *err);
void dw_device_close(dw_device *device);

const dw_device_info *dw_device_facts(const dw_device *device);
ggml_backend_dev_t dw_device_handle(const dw_device *device);
ggml_backend_buffer_type_t dw_device_buffer_type(const dw_device *device);
/* Whether weights and KV stay in host pages: the device reads those at full speed. */
bool dw_device_unified(const dw_device *device);
int dw_device_threads(const dw_device *device);

/* One object that goes with the device, for a folder that comes after this one. */
typedef struct dw_device_extra {
    void *object;                  /* NULL: none yet */
    void (*destroy)(void *object); /* before the device goes */
} dw_device_extra;
/* Thread: any; the others wait until it is unlocked. */
dw_device_extra *dw_device_lock_extra(dw_device *device);
void dw_device_unlock_extra(dw_device *device);

/* Whether the device can do every node of `graph`; if not, DW_E_UNSUPPORTED names the first that
 * it cannot, with types and shapes. */
dw_status dw_device_check_graph(const dw_device *device, struct ggml_cgraph *graph, dw_error *err);
/* Compute `graph`, all of whose tensors have their data, and wait until it is done.
 * Thread: any; computes one graph at a time, others wait. Errors: DW_E_DEVICE. */
dw_status dw_device_compute(dw_device *device, struct ggml_cgraph *graph, dw_error *err);
/* The same, given up between nodes once `*cancel` is true (CPU only; elsewhere it runs to its
 * end). Errors: also DW_E_CANCELLED. */
dw_status dw_device_compute_unless(dw_device *device, struct ggml_cgraph *graph,
                                   const volatile bool *cancel, dw_error *err);

#endif
