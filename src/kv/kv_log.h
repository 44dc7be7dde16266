/* The keys and values of one context: one contiguous append-only range, a record a token,
 * [token][layer][K, V][kv_head][head_dim], F16. On unified devices the range is a region in a
 * memory file, and a device view on it; on discrete ones a device buffer that doubles, its records
 * copied by the device. The records are written by graphs, which place a tensor on the log.
 * Thread: one at a time, the context's. */
#ifndef DW_KV_KV_LOG_H
#define DW_KV_KV_LOG_H

#include "base/status.h"
#include "device/device.h"

/* Attention reads whole multiples of this many tokens: the rest is masked. */
#define DW_KV_PAD_TOKENS 256

typedef struct dw_kv_log dw_kv_log;

typedef struct dw_kv_shape {
    uint32_t layer_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
} dw_kv_shape;

/* An empty log for at most tokens_max (> 0) tokens; `device` must outlive it. Address space is
 * reserved, memory comes with dw_kv_log_reserve. Errors: DW_E_RANGE (sizes), DW_E_MEMORY. */
dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_shape *shape,
                           uint32_t tokens_max, dw_error *err);
void dw_kv_log_destroy(dw_kv_log *log);

/* F16 elements of one record, and where a layer's keys or values lie in it. */
size_t dw_kv_log_record_elements(const dw_kv_log *log);
size_t dw_kv_log_key_offset(const dw_kv_log *log, uint32_t layer);
size_t dw_kv_log_value_offset(const dw_kv_log *log, uint32_t layer);
size_t dw_kv_log_record_bytes(const dw_kv_log *log);

/* Tokens held. */
uint32_t dw_kv_log_length(const dw_kv_log *log);
/* Make room for `tokens` in all, rounded up to whole pads; new records are zero. Placed tensors
 * are stale afterwards if the generation changed. Errors: DW_E_LIMIT (beyond tokens_max),
 * DW_E_MEMORY, DW_E_DEVICE; the log is then as it was. */
dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err);
/* Tokens that there is room for now: a multiple of DW_KV_PAD_TOKENS. */
uint32_t dw_kv_log_reserved(const dw_kv_log *log);
uint64_t dw_kv_log_generation(const dw_kv_log *log);
/* Point `root`, an F16 tensor [record_elements, tokens <= reserved], at the first record.
 * Errors: DW_E_RANGE, DW_E_DEVICE. */
dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *root, dw_error *err);
/* `count` records behind the last have been written and count from now on. */
void dw_kv_log_append(dw_kv_log *log, uint32_t count);
/* Forget the records from `length` on. */
void dw_kv_log_trim(dw_kv_log *log, uint32_t length);

#endif
