/* How one token's keys and values lie in a record of a KV log:
 *   record  [layer][K, V][kv_head][head_dim], numbers of one type, no padding
 *   part    [kv_head][head_dim], a layer's keys or its values
 * Everything that computes a size or an offset in a record does it here, but for the CUDA kernels,
 * which have part_bytes and derive theirs on the device. The layout is also that of snapshots
 * (docs/snapshot.md).
 * Thread: any; a layout is a value. */
#ifndef DW_KV_KV_LAYOUT_H
#define DW_KV_KV_LAYOUT_H

#include <ggml.h>

#include "base/status.h"

/* Attention looks at multiples of this many records; as many are always there to be looked at. */
#define DW_KV_STEP_TOKENS 256u

typedef enum dw_kv_part { DW_KV_KEYS, DW_KV_VALUES, DW_KV_PART_COUNT } dw_kv_part;

typedef struct dw_kv_layout {
    dw_kv_type type;
    uint32_t layer_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
    size_t head_bytes;   /* of one head's keys or values */
    size_t part_bytes;   /* of all heads' */
    size_t record_bytes; /* 0: heads are not whole blocks of the type */
} dw_kv_layout;

/* The layout for a model's sizes, which its file's reader has limited: nothing overflows.
 * Q8_0 wants heads of a multiple of 32 numbers; record_bytes is 0 for others. */
dw_kv_layout dw_kv_layout_of(dw_kv_type type, uint32_t layer_count, uint32_t kv_head_count,
                             uint32_t head_dim);

/* The type's name in ggml. */
enum ggml_type dw_kv_ggml_type(dw_kv_type type);
/* Bytes of one number, or 1 where numbers share a block and only bytes can be told apart. */
size_t dw_kv_number_bytes(dw_kv_type type);

/* Heads in a record, keys and values counted apart: rows of head_dim numbers. */
size_t dw_kv_layout_rows(const dw_kv_layout *layout);
/* Byte offset in a record of a layer's keys or values. */
size_t dw_kv_layout_offset(const dw_kv_layout *layout, uint32_t layer, dw_kv_part part);

/* ---- as ggml's tensors, in `ggml` ---- */

/* Numbers in a record: ne[0] of a log's tensor [record, count]. */
int64_t dw_kv_layout_record_length(const dw_kv_layout *layout);
/* A view of a log's tensor [record, count]: one layer's keys or values [kv_head * head_dim, count],
 * a row a record. */
struct ggml_tensor *dw_kv_layout_part(const dw_kv_layout *layout, struct ggml_context *ggml,
                                      struct ggml_tensor *log, uint32_t layer, dw_kv_part part);
/* The same numbers as attention reads them: [head_dim, count, kv_head]. */
struct ggml_tensor *dw_kv_layout_heads(const dw_kv_layout *layout, struct ggml_context *ggml,
                                       struct ggml_tensor *log, uint32_t layer, dw_kv_part part);

#endif
