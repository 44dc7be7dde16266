/* Graphs of nodes of our own for CUDA (model/cuda_ops.h), built without a device for every
 * architecture and form. test_cuda_ops runs the nodes on one. */
#include <stdlib.h>
#include <unistd.h>

#include "device/device.h"
#include "model/forward_graph.h"
#include "model/model.h"
#include "support.h"
#include "tiny_model.h"

static struct ggml_context *new_context(size_t bytes)
{
    struct ggml_init_params params = {.mem_size = bytes, .no_alloc = true};
    struct ggml_context *ggml = ggml_init(params);
    assert_non_null(ggml);
    return ggml;
}

/* What the nodes of a graph of `size` must come to. Layers whose queries nobody wants
 * attend not. */
static int expected_nodes(const dw_model_shape *shape, const dw_forward_size *size)
{
    bool seen[2] = {false, false};   /* layers without and with a window, that attend */
    bool turned[2] = {false, false}; /* that append */
    uint32_t attending = shape->layer_count - (size->row_count == 0);
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        bool windowed = dw_layer_windowed(shape, i);
        turned[windowed] = true;
        seen[windowed] = seen[windowed] || i < attending;
    }
    bool deliveries = size->row_count > 0 && size->result == DW_RESULT_LOGITS;
    int nodes = 1; /* the table */
    nodes += deliveries && size->place_rows;
    nodes += deliveries && size->top_k_count > 0 ? 2 : 0;
    if (size->kv_count > 0) {
        return nodes + seen[0] + seen[1];
    }
    nodes += shape->rope_dims > 0 ? turned[0] + turned[1] : 0;
    nodes += (int)attending; /* and by tiles, where both kinds are there */
    nodes += size->tiled_count > 0 && size->tiled_count < size->token_count ? (int)attending : 0;
    return nodes + (int)(size->alone ? shape->layer_count - attending : shape->layer_count);
}

static void expect_table(const dw_forward_graph *forward, uint32_t token_count)
{
    const struct ggml_tensor *all = forward->tokens->view_src;
    const struct ggml_tensor *parts[] = {forward->tokens, forward->positions, forward->records};
    assert_int_equal(ggml_nbytes(forward->table), token_count * sizeof(dw_cuda_token));
    for (int i = 0; i < 3; i++) {
        if (parts[i] == NULL) {
            continue;
        }
        size_t first = parts[i]->view_offs;
        size_t end = first + ggml_nbytes(parts[i]);
        assert_ptr_equal(parts[i]->view_src, all);
        assert_int_equal(ggml_nelements(parts[i]), token_count);
        assert_true(first >= token_count * sizeof(dw_cuda_token) && end <= ggml_nbytes(all));
        assert_int_equal(first % ggml_type_size(parts[i]->type), 0);
        for (int k = 0; k < i; k++) {
            assert_true(parts[k] == NULL || end <= parts[k]->view_offs ||
                        first >= parts[k]->view_offs + ggml_nbytes(parts[k]));
        }
    }
}

static void build(const dw_model_shape *shape, const dw_model_weights *weights,
                  const dw_forward_size *size)
{
    dw_forward_graph forward;
    dw_error err = {0};
    size_t bytes = dw_forward_graph_bytes(shape, NULL);
    struct ggml_context *ggml = new_context(bytes);
    dw_forward_options options = {.size = *size};
    if (dw_forward_graph_build(&forward, ggml, shape, weights, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    int ours = 0;
    for (int i = 0; i < ggml_graph_n_nodes(forward.graph); i++) {
        ours += dw_cuda_node_is(ggml_graph_node(forward.graph, i));
    }
    assert_int_equal(ours, expected_nodes(shape, size));
    assert_true(ggml_graph_n_nodes(forward.graph) < ggml_graph_size(forward.graph));
    assert_true(ggml_used_mem(ggml) <= bytes);
    expect_table(&forward, size->token_count);
    bool deliveries = size->row_count > 0 && size->result == DW_RESULT_LOGITS;
    assert_int_equal(forward.candidates != NULL, deliveries && size->top_k_count > 0);
    if (forward.candidates != NULL) {
        assert_int_equal(ggml_nbytes(forward.candidates),
                         size->row_count * DW_TOP_K_BYTES(size->top_k_count));
    }
    assert_int_equal(forward.scratch != NULL, size->kv_count == 0);
    if (forward.scratch != NULL) {
        assert_int_equal(ggml_nbytes(forward.scratch),
                         dw_cuda_attention_bytes(shape, size->kv_type,
                                                 size->token_count - size->tiled_count,
                                                 size->tiled_count));
    }
    ggml_free(ggml);
}

static void build_with_deliveries(const dw_model_shape *shape, const dw_model_weights *weights,
                                  dw_forward_size size)
{
    static const uint32_t counts[] = {0, 1, 128};
    for (int place = 0; place < 2; place++) {
        for (int i = 0; i < 3; i++) {
            size.place_rows = place != 0;
            size.top_k_count = counts[i];
            build(shape, weights, &size);
        }
    }
    size.place_rows = false;
    size.top_k_count = 0;
    size.result = DW_RESULT_HIDDEN;
    build(shape, weights, &size);
    if (size.row_count > 0 && size.row_count == size.token_count) {
        size.result = DW_RESULT_POOLED;
        build(shape, weights, &size);
    }
}

static void build_forms(const dw_model_shape *shape, const dw_model_weights *weights)
{
    static const uint32_t counts[] = {1, 2, 5, 64};
    static const dw_kv_type types[] = {DW_KV_F16, DW_KV_Q8_0, DW_KV_F32};
    for (int form = 0; form < 24; form++) {
        dw_forward_size size = {.token_count = counts[form % 4],
                                .kv_type = types[form % 3],
                                .long_context = form % 2 == 0,
                                .alone = form / 4 % 2 == 0,
                                .kv_count = form >= 16 ? 256 : 0,
                                .cuda = true};
        size.alone = size.alone && size.kv_count == 0;
        build_with_deliveries(shape, weights, size);
        size.row_count = size.token_count;
        build_with_deliveries(shape, weights, size);
        size.row_count = 1;
        if (!size.alone) {
            build_with_deliveries(shape, weights, size);
        }
    }
}

/* Of several sequences' prompts: with rows, those alone, with others that attend singly, and with
 * none that is wanted. */
static void build_company(const dw_model_shape *shape, const dw_model_weights *weights)
{
    static const dw_forward_size sizes[] = {{.token_count = 72, .row_count = 8, .tiled_count = 64},
                                            {.token_count = 96, .row_count = 16, .tiled_count = 64},
                                            {.token_count = 24, .row_count = 8},
                                            {.token_count = 64, .tiled_count = 64},
                                            {.token_count = 80, .tiled_count = 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int type = DW_KV_F16; type <= DW_KV_Q8_0; type++) {
            dw_forward_size size = sizes[i];
            size.kv_type = (dw_kv_type)type;
            size.cuda = true;
            size.rows_first = true;
            if (size.tiled_count == 0 || dw_cuda_tiles_serve(shape, size.kv_type)) {
                build_with_deliveries(shape, weights, size);
            }
        }
    }
}

static void test_cuda_graphs_of_every_architecture(void **state)
{
    dw_device *device = NULL;
    dw_error err = {0};
    (void)state;
    assert_int_equal(dw_device_open(&device, "CPU", 1, &err), DW_OK);
    for (size_t i = 0; i < tiny_kind_count; i++) {
        dw_model *model = NULL;
        char path[] = "/tmp/dw-cuda-ops-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        (void)close(fd);
        tiny_options options = tiny_options_of(&tiny_kinds[i], GGML_TYPE_F32);
        options.biases = i == 0;
        options.rope_factors = i == 0;
        tiny_model_write(path, &options);
        if (dw_model_load(&model, device, path, &err) != DW_OK) {
            fail_msg("%s: %s", tiny_kinds[i].name, err.message);
        }
        (void)unlink(path);
        build_forms(dw_model_shape_of(model), dw_model_weights_of(model));
        build_company(dw_model_shape_of(model), dw_model_weights_of(model));
        dw_model_unref(model);
    }
    dw_device_close(device);
}

/* Enough for the counters and the fewest parts of all rows; twice the tokens never need less. */
static void test_cuda_attention_bytes_grow(void **state)
{
    (void)state;
    for (int type = DW_KV_F16; type <= DW_KV_F32; type++) {
        for (uint32_t ratio = 1; ratio <= 20; ratio++) {
            const dw_kv_type of = (dw_kv_type)type;
            const dw_model_shape shape = {
                .head_dim = 64, .kv_head_count = 2, .head_count = 2 * ratio, .layer_count = 1};
            for (uint32_t tokens = 1; tokens <= 512; tokens++) {
                const size_t bytes = dw_cuda_attention_bytes(&shape, of, tokens, 0);
                assert_true(bytes >= (size_t)tokens * 2 * ratio * 4 * 66 * sizeof(float));
                /* Few tokens are cut into as many parts as one. */
                assert_true(tokens <= DW_CUDA_PRODUCT_ROWS ||
                            dw_cuda_attention_bytes(&shape, of, 2 * tokens, 0) >= bytes);
            }
            assert_true(dw_cuda_attention_bytes(&shape, of, 512, 0) >
                        2 * dw_cuda_attention_bytes(&shape, of, 1, 0));
        }
    }
}

/* There is room for the tiles of any prompts, each of DW_CUDA_TILED_MIN tokens or more, and of the
 * padding behind them. */
static void test_cuda_tiles_have_room(void **state)
{
    (void)state;
    for (uint32_t ratio = 1; ratio <= DW_CUDA_TILE_QUERIES; ratio++) {
        const dw_model_shape shape = {.kv_head_count = 1, .head_count = ratio};
        const uint32_t most = dw_cuda_tile_tokens(&shape);
        assert_true(most >= 1 && most * ratio <= DW_CUDA_TILE_QUERIES);
        for (uint32_t length = DW_CUDA_TILED_MIN; length <= 200; length++) {
            for (uint32_t prompts = 1; prompts <= 5; prompts++) {
                const uint32_t all = (prompts * length + 63) / 64 * 64;
                const uint32_t tiles = prompts * ((length + most - 1) / most) +
                                       (all - prompts * length + most - 1) / most;
                assert_true(tiles <= dw_cuda_tile_count(&shape, all));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_graphs_of_every_architecture),
        cmocka_unit_test(test_cuda_attention_bytes_grow),
        cmocka_unit_test(test_cuda_tiles_have_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
