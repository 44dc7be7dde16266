/* One context's keys and values: an append-only range, a record a token,
 *   [token][layer][K, V][kv_head][head_dim] F16
 * so that a context is one range: freezing is one write, trimming one number. Records are written
 * by the device (ggml_set_rows), never by the host.
 *
 * On a unified device the range is a region of its own, its pages in a memfd; on a discrete one it
 * is a device buffer that doubles, its records copied over by the device.
 * Thread: one at a time, its context's. */
#ifndef DW_KV_KV_LOG_H
#define DW_KV_KV_LOG_H

#include "base/status.h"
#include "device/device.h"

typedef struct dw_kv_log dw_kv_log;

/* Attention looks at multiples of this many records; as many are always there to be looked at. */
#define DW_KV_STEP_TOKENS 256u

typedef struct dw_kv_log_options {
    size_t record_bytes;
    uint32_t capacity_tokens;
    bool in_device_memory; /* not in host pages, even where the device could read them */
} dw_kv_log_options;

/* Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                           dw_error *err);
void dw_kv_log_destroy(dw_kv_log *log);

/* Records held; those behind are room. */
uint32_t dw_kv_log_length(const dw_kv_log *log);
uint32_t dw_kv_log_capacity(const dw_kv_log *log);
/* Records that are there to be read: at least the length rounded up to DW_KV_STEP_TOKENS. */
uint32_t dw_kv_log_committed(const dw_kv_log *log);
size_t dw_kv_log_record_bytes(const dw_kv_log *log);
/* In host pages, so that the address below is the records' own. */
bool dw_kv_log_in_host_memory(const dw_kv_log *log);
/* The first record; NULL in device memory. Never moves. */
void *dw_kv_log_base(const dw_kv_log *log);

/* Make room for `tokens` records in all. Records held stay as they are.
 * Errors: DW_E_LIMIT (beyond the capacity), DW_E_MEMORY, DW_E_DEVICE; the log is then as it was. */
dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err);
/* The device has written records up to `length`, which is not beyond what was reserved. */
void dw_kv_log_extend(dw_kv_log *log, uint32_t length);
/* Forget records from `length` on, which is not beyond the present length. */
void dw_kv_log_trim(dw_kv_log *log, uint32_t length);
/* Zero all records behind the length, after a step that wrote NaN there: attention multiplies
 * padding by zero, and NaN would come through. */
dw_status dw_kv_log_clear_rest(dw_kv_log *log, dw_error *err);

/* Point `tensor`, a contiguous one of whole records, at the log's start.
 * Errors: those of dw_device_view_place. */
dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *tensor, dw_error *err);

#endif
