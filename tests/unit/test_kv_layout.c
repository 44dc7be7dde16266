/* A record's layout: sizes and offsets by type, and the same as strides of ggml's tensors. */
#include <ggml.h>

#include "kv/kv_layout.h"
#include "support.h"

#define LAYERS 3u
#define HEADS 2u

static void test_kv_layout_sizes(void **state)
{
    (void)state;
    static const struct {
        dw_kv_type type;
        uint32_t head_dim;
        size_t head_bytes, number_bytes;
    } cases[] = {{DW_KV_F16, 64, 128, 2},
                 {DW_KV_F16, 7, 14, 2},
                 {DW_KV_F32, 64, 256, 4},
                 {DW_KV_Q8_0, 64, 68, 1}}; /* two blocks of a half and 32 bytes */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dw_kv_layout layout = dw_kv_layout_of(cases[i].type, LAYERS, HEADS, cases[i].head_dim);
        assert_int_equal(layout.head_bytes, cases[i].head_bytes);
        assert_int_equal(layout.part_bytes, HEADS * cases[i].head_bytes);
        assert_int_equal(layout.record_bytes, LAYERS * 2 * HEADS * cases[i].head_bytes);
        assert_int_equal(dw_kv_number_bytes(cases[i].type), cases[i].number_bytes);
        assert_int_equal(dw_kv_layout_rows(&layout), LAYERS * 2 * HEADS);
        assert_int_equal(dw_kv_layout_record_length(&layout),
                         LAYERS * 2 * HEADS * cases[i].head_dim);
    }
}

static void test_kv_layout_wants_whole_blocks(void **state)
{
    (void)state;
    assert_int_equal(dw_kv_layout_of(DW_KV_Q8_0, LAYERS, HEADS, 48).record_bytes, 0);
    assert_int_not_equal(dw_kv_layout_of(DW_KV_F16, LAYERS, HEADS, 48).record_bytes, 0);
}

/* Parts follow one another without gaps: keys, values, layer by layer. */
static void test_kv_layout_offsets(void **state)
{
    (void)state;
    dw_kv_layout layout = dw_kv_layout_of(DW_KV_Q8_0, LAYERS, HEADS, 32);
    size_t end = 0;
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (int part = DW_KV_KEYS; part < DW_KV_PART_COUNT; part++) {
            assert_int_equal(dw_kv_layout_offset(&layout, layer, (dw_kv_part)part), end);
            end += layout.part_bytes;
        }
    }
    assert_int_equal(end, layout.record_bytes);
}

/* Views of a log's tensor have the layout's strides. */
static void test_kv_layout_views(void **state)
{
    (void)state;
    static const dw_kv_type types[] = {DW_KV_F16, DW_KV_Q8_0, DW_KV_F32};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct ggml_init_params params = {.mem_size = 8 * ggml_tensor_overhead(), .no_alloc = true};
        struct ggml_context *ggml = ggml_init(params);
        dw_kv_layout layout = dw_kv_layout_of(types[i], LAYERS, HEADS, 64);
        struct ggml_tensor *log = ggml_new_tensor_2d(ggml, dw_kv_ggml_type(types[i]),
                                                     dw_kv_layout_record_length(&layout), 10);
        assert_int_equal(ggml_nbytes(log), 10 * layout.record_bytes);
        struct ggml_tensor *part = dw_kv_layout_part(&layout, ggml, log, 1, DW_KV_VALUES);
        assert_int_equal(part->ne[0], HEADS * 64);
        assert_int_equal(part->ne[1], 10);
        assert_int_equal(part->nb[1], layout.record_bytes);
        assert_int_equal(part->view_offs, 3 * layout.part_bytes);
        struct ggml_tensor *heads = dw_kv_layout_heads(&layout, ggml, log, 2, DW_KV_KEYS);
        assert_int_equal(heads->ne[0], 64);
        assert_int_equal(heads->ne[1], 10);
        assert_int_equal(heads->ne[2], HEADS);
        assert_int_equal(heads->nb[1], layout.record_bytes);
        assert_int_equal(heads->nb[2], layout.head_bytes);
        assert_int_equal(heads->view_offs, 4 * layout.part_bytes);
        ggml_free(ggml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_layout_sizes),
        cmocka_unit_test(test_kv_layout_wants_whole_blocks),
        cmocka_unit_test(test_kv_layout_offsets),
        cmocka_unit_test(test_kv_layout_views),
    };
    return cmocka_run_group_tests_name("kv_layout", tests, NULL, NULL);
}
