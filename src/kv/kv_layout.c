#include "kv/kv_layout.h"

enum ggml_type dw_kv_ggml_type(dw_kv_type type)
{
    static const enum ggml_type types[] = {
        [DW_KV_F16] = GGML_TYPE_F16, [DW_KV_Q8_0] = GGML_TYPE_Q8_0, [DW_KV_F32] = GGML_TYPE_F32};
    return types[type];
}

size_t dw_kv_number_bytes(dw_kv_type type)
{
    enum ggml_type stored = dw_kv_ggml_type(type);
    return ggml_blck_size(stored) == 1 ? ggml_type_size(stored) : 1;
}

dw_kv_layout dw_kv_layout_of(dw_kv_type type, uint32_t layer_count, uint32_t kv_head_count,
                             uint32_t head_dim)
{
    enum ggml_type stored = dw_kv_ggml_type(type);
    dw_kv_layout layout = {.type = type,
                           .layer_count = layer_count,
                           .kv_head_count = kv_head_count,
                           .head_dim = head_dim};
    if (head_dim % ggml_blck_size(stored) == 0) {
        layout.head_bytes = ggml_row_size(stored, head_dim);
    }
    layout.part_bytes = kv_head_count * layout.head_bytes;
    layout.record_bytes = (size_t)layer_count * DW_KV_PART_COUNT * layout.part_bytes;
    return layout;
}

size_t dw_kv_layout_rows(const dw_kv_layout *layout)
{
    return (size_t)layout->layer_count * DW_KV_PART_COUNT * layout->kv_head_count;
}

size_t dw_kv_layout_offset(const dw_kv_layout *layout, uint32_t layer, dw_kv_part part)
{
    DW_DCHECK(layer < layout->layer_count && part < DW_KV_PART_COUNT);
    return ((size_t)layer * DW_KV_PART_COUNT + part) * layout->part_bytes;
}

int64_t dw_kv_layout_record_length(const dw_kv_layout *layout)
{
    return (int64_t)(dw_kv_layout_rows(layout) * layout->head_dim);
}

struct ggml_tensor *dw_kv_layout_part(const dw_kv_layout *layout, struct ggml_context *ggml,
                                      struct ggml_tensor *log, uint32_t layer, dw_kv_part part)
{
    DW_ASSERT(log->nb[1] == layout->record_bytes);
    return ggml_view_2d(ggml, log, (int64_t)layout->kv_head_count * layout->head_dim, log->ne[1],
                        log->nb[1], dw_kv_layout_offset(layout, layer, part));
}

struct ggml_tensor *dw_kv_layout_heads(const dw_kv_layout *layout, struct ggml_context *ggml,
                                       struct ggml_tensor *log, uint32_t layer, dw_kv_part part)
{
    DW_ASSERT(log->nb[1] == layout->record_bytes);
    return ggml_view_3d(ggml, log, layout->head_dim, log->ne[1], layout->kv_head_count, log->nb[1],
                        layout->head_bytes, dw_kv_layout_offset(layout, layer, part));
}
