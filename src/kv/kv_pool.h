/* A device's memory for KV logs, where it is had by address ranges (device/vram.h): how much logs
 * may have of it, which are evicted when it is short, and what happened so far. One for a device,
 * made at first use; it goes with the device.
 * Thread: any. */
#ifndef DW_KV_KV_POOL_H
#define DW_KV_KV_POOL_H

#include "device/device.h"
#include "device/vram.h"

/* Logs may have `bytes` of the device's memory; 0: as much as there is. Those in use are not cut
 * short. Errors: DW_E_UNSUPPORTED (keys and values lie in host pages there, or in buffers). */
dw_status dw_kv_pool_limit(dw_device *device, uint64_t bytes, dw_error *err);
/* false: logs have no such memory there, or none has been made yet. */
bool dw_kv_pool_get_stats(dw_device *device, dw_kv_stats *stats);

/* How the pool of a device is made, for tests and benchmarks; zeros: as it is without. */
typedef struct dw_kv_pool_options {
    dw_vram_emulation emulation; /* on a device that has no such memory */
    size_t allocation_bytes_max; /* that a log grows by at once, while it is not long */
    size_t buffer_bytes;         /* each of the ring's */
    int threads;                 /* of the ring */
    uint64_t limit_bytes;
    bool grows_in_step; /* nothing is made ready ahead */
    bool takes_all;     /* logs that would lie in host pages too */
} dw_kv_pool_options;
/* Before there is one. Errors: DW_E_STATE, dw_vram_open's. */
dw_status dw_kv_pool_open(dw_device *device, const dw_kv_pool_options *options, dw_error *err);
/* Wait until allocations that are being preallocated are mapped; free those kept ready. */
void dw_kv_pool_settle(dw_device *device);
/* Evict every log that is not in use. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_kv_pool_evict(dw_device *device, dw_error *err);
/* Whether it was made to take all logs. */
bool dw_kv_pool_takes_all(dw_device *device);
/* Its device memory, for tests; NULL: none. */
dw_vram *dw_kv_pool_vram(dw_device *device);

#endif
