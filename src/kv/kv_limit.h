/* How much of its memory, or of the host's, a device's KV logs may have: a page counts once,
 * whoever shares it. Where logs lie in address ranges it is the pool's (kv_pool.h), which evicts;
 * elsewhere what would go beyond is refused.
 * Thread: any. */
#ifndef DW_KV_KV_LIMIT_H
#define DW_KV_KV_LIMIT_H

#include "device/device.h"
#include "memory/file_extents.h"

/* Logs on `device` may have `bytes`; 0: three quarters of the machine's memory where they lie in
 * host pages, else as much as there is. Those that are there stay. Errors: DW_E_MEMORY,
 * DW_E_DEVICE. */
dw_status dw_kv_limit_set(dw_device *device, uint64_t bytes, dw_error *err);
/* What they have, and may, where it is no address ranges'. */
void dw_kv_limit_get(dw_device *device, dw_kv_stats *stats);

/* ---- private to src/kv ---- */

/* `bytes` more of a kind. Errors: DW_E_MEMORY (with what is had, and the limit). */
dw_status dw__kv_take(dw_meter *meter, dw_device *device, uint64_t bytes, dw_error *err);
/* A memory file of at most `bytes` for records, behind the first `unused`, which do not count.
 * Errors: DW_E_MEMORY. */
dw_status dw__kv_memory_create(dw_extent_file **out, dw_device *device, uint64_t bytes,
                               uint64_t unused, dw_error *err);
/* It is about to hold `bytes` from its beginning. Errors: as dw__kv_take; nothing has changed. */
dw_status dw__kv_memory_hold(dw_extent_file *file, dw_device *device, uint64_t bytes,
                             dw_error *err);

#endif
