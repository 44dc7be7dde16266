#include "tensor_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>

#include "device/device_view.h"
#include "support.h"

void tensor_fixture_open(tensor_fixture *w, size_t bytes)
{
    *w = (tensor_fixture){0};
    const char *device = getenv("DW_TEST_DEVICE");
    if (dw_device_open(&w->device, device != NULL ? device : "CPU", 2, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    dw_region_options options = {
        .reserve_bytes = (size_t)256 << 20, .commit_bytes = bytes, .label = "tensors"};
    assert_int_equal(dw_region_create(&w->region, &options, &w->err), DW_OK);
    if (getenv("DW_TEST_STAGED") != NULL) {
        dw_device_set_staging(w->device);
    }
    assert_int_equal(
        dw_device_view_create(&w->view, w->device, w->region, DW_VIEW_STAGEABLE, &w->err), DW_OK);
    tensors_restart(w, 1);
}

void tensor_fixture_close(tensor_fixture *w)
{
    dw_tensor_graph_destroy(w->graph);
    dw_device_view_destroy(w->view);
    dw_region_destroy(w->region);
    dw_device_close(w->device);
}

void tensors_restart(tensor_fixture *w, uint64_t seed)
{
    dw_tensor_graph_destroy(w->graph);
    w->next = 0;
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    assert_int_equal(dw_tensor_graph_create(&w->graph, w->device, w->region, w->view, &w->err),
                     DW_OK);
}

uint32_t tensors_random(tensor_fixture *w, uint32_t limit)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 32) % limit);
}

double tensors_uniform(tensor_fixture *w, double low, double high)
{
    return low + (high - low) * (double)tensors_random(w, 1u << 24) / (double)(1 << 24);
}

uint64_t tensors_take(tensor_fixture *w, size_t bytes)
{
    uint64_t offset = w->next;
    w->next = (offset + bytes + DW_TENSOR_ALIGN - 1) & ~(uint64_t)(DW_TENSOR_ALIGN - 1);
    assert_true(w->next <= dw_region_committed_bytes(w->region));
    return offset;
}

void *tensors_bytes(const tensor_fixture *w, uint64_t offset)
{
    return (unsigned char *)dw_region_base(w->region) + offset;
}

size_t tensors_type_bytes(int32_t type, int64_t count)
{
    return ggml_row_size((enum ggml_type)type, count);
}

double tensors_load(const void *bytes, int32_t type, int64_t index)
{
    switch (type) {
    case DW_F32:
        return (double)((const float *)bytes)[index];
    case DW_I32:
        return (double)((const int32_t *)bytes)[index];
    case DW_F16:
        return (double)ggml_fp16_to_fp32(((const ggml_fp16_t *)bytes)[index]);
    case DW_BF16:
        return (double)ggml_bf16_to_fp32(((const ggml_bf16_t *)bytes)[index]);
    default:
        fail();
        return 0;
    }
}

void tensors_store(void *bytes, int32_t type, int64_t index, double value)
{
    switch (type) {
    case DW_F32:
        ((float *)bytes)[index] = (float)value;
        return;
    case DW_I32:
        ((int32_t *)bytes)[index] = (int32_t)value;
        return;
    case DW_F16:
        ((ggml_fp16_t *)bytes)[index] = ggml_fp32_to_fp16((float)value);
        return;
    case DW_BF16:
        ((ggml_bf16_t *)bytes)[index] = ggml_fp32_to_bf16((float)value);
        return;
    default:
        fail();
    }
}

int64_t values_count(const tensor_values *v)
{
    return v->ne[0] * v->ne[1] * v->ne[2] * v->ne[3];
}

double *values_at(tensor_values *v, int64_t i0, int64_t i1, int64_t i2, int64_t i3)
{
    return &v->at[i0 + v->ne[0] * (i1 + v->ne[1] * (i2 + v->ne[2] * i3))];
}

static void fill_quantised(tensor_fixture *w, void *bytes, int32_t type, double low, double high,
                           tensor_values *v)
{
    static float plain[TENSOR_VALUES_MAX];
    int64_t count = values_count(v);
    for (int64_t i = 0; i < count; i++) {
        plain[i] = (float)tensors_uniform(w, low, high);
    }
    ggml_quantize_chunk((enum ggml_type)type, plain, bytes, 0, count / v->ne[0], v->ne[0], NULL);
    ggml_get_type_traits((enum ggml_type)type)->to_float(bytes, plain, count);
    for (int64_t i = 0; i < count; i++) {
        v->at[i] = (double)plain[i];
    }
}

int32_t tensors_leaf(tensor_fixture *w, int32_t type, const int64_t *ne, double low, double high,
                     tensor_values *v)
{
    memcpy(v->ne, ne, sizeof v->ne);
    int64_t count = values_count(v);
    assert_true(count <= TENSOR_VALUES_MAX);
    uint64_t offset = tensors_take(w, tensors_type_bytes(type, count));
    void *bytes = tensors_bytes(w, offset);
    if (ggml_is_quantized((enum ggml_type)type)) {
        fill_quantised(w, bytes, type, low, high, v);
    } else {
        for (int64_t i = 0; i < count; i++) {
            tensors_store(bytes, type, i, tensors_uniform(w, low, high));
            v->at[i] = tensors_load(bytes, type, i);
        }
    }
    uint32_t sizes[4] = {(uint32_t)ne[0], (uint32_t)ne[1], (uint32_t)ne[2], (uint32_t)ne[3]};
    int32_t tensor;
    if (dw_tensor_graph_tensor(w->graph, type, sizes, offset, &tensor, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    return tensor;
}

/* The leaf holds the values under other axes; PERMUTE brings them back. */
static int32_t permuted_operand(tensor_fixture *w, int32_t type, const int64_t *ne, double low,
                                double high, tensor_values *v)
{
    static tensor_values stored;
    int32_t axes[4] = {0, 1, 2, 3};
    for (uint32_t i = 3; i > 0; i--) {
        uint32_t j = tensors_random(w, i + 1);
        int32_t swapped = axes[i];
        axes[i] = axes[j];
        axes[j] = swapped;
    }
    int64_t leaf_ne[4];
    for (int i = 0; i < 4; i++) {
        leaf_ne[i] = ne[axes[i]]; /* axis i of the leaf becomes axis axes[i] */
    }
    int32_t leaf = tensors_leaf(w, type, leaf_ne, low, high, &stored);
    memcpy(v->ne, ne, sizeof v->ne);
    int64_t at[4];
    for (int64_t i = 0; i < values_count(&stored); i++) {
        int64_t rest = i;
        for (int d = 0; d < 4; d++) {
            at[axes[d]] = rest % leaf_ne[d];
            rest /= leaf_ne[d];
        }
        *values_at(v, at[0], at[1], at[2], at[3]) = stored.at[i];
    }
    dw_op_params p = {.i = {axes[0], axes[1], axes[2], axes[3]}};
    return tensors_op(w, DW_OP_PERMUTE, leaf, 0, 0, &p);
}

static int32_t cut_operand(tensor_fixture *w, int32_t type, const int64_t *ne, double low,
                           double high, tensor_values *v)
{
    static tensor_values stored;
    int64_t leaf_ne[4];
    dw_op_params p = {0};
    for (int i = 0; i < 4; i++) {
        int32_t before = (int32_t)tensors_random(w, 3);
        leaf_ne[i] = ne[i] + before + tensors_random(w, 2);
        p.i[i] = (int32_t)ne[i];
        p.i[i + 4] = before;
    }
    if (leaf_ne[0] * leaf_ne[1] * leaf_ne[2] * leaf_ne[3] > TENSOR_VALUES_MAX) {
        return tensors_leaf(w, type, ne, low, high, v);
    }
    int32_t leaf = tensors_leaf(w, type, leaf_ne, low, high, &stored);
    memcpy(v->ne, ne, sizeof v->ne);
    for (int64_t i = 0; i < values_count(v); i++) {
        int64_t i0 = i % ne[0];
        int64_t i1 = i / ne[0] % ne[1];
        int64_t i2 = i / (ne[0] * ne[1]) % ne[2];
        int64_t i3 = i / (ne[0] * ne[1] * ne[2]);
        v->at[i] = *values_at(&stored, i0 + p.i[4], i1 + p.i[5], i2 + p.i[6], i3 + p.i[7]);
    }
    return tensors_op(w, DW_OP_VIEW, leaf, 0, 0, &p);
}

int32_t tensors_operand(tensor_fixture *w, int32_t type, const int64_t *ne, double low, double high,
                        tensor_values *v)
{
    uint32_t way = ggml_is_quantized((enum ggml_type)type) ? 0 : tensors_random(w, 3);
    return way == 0   ? tensors_leaf(w, type, ne, low, high, v)
           : way == 1 ? permuted_operand(w, type, ne, low, high, v)
                      : cut_operand(w, type, ne, low, high, v);
}

int32_t tensors_op(tensor_fixture *w, int32_t op, int32_t a, int32_t b, int32_t c,
                   const dw_op_params *p)
{
    int32_t tensor;
    if (dw_tensor_graph_op(w->graph, op, (int32_t[]){a, b, c, 0}, p, &tensor, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    assert_true(tensor > 0);
    return tensor;
}

bool tensors_on_cpu(const tensor_fixture *w)
{
    return dw_device_info_of(w->device)->kind == DW_DEVICE_CPU;
}

bool tensors_result(tensor_fixture *w, int32_t tensor, tensor_values *v)
{
    dw_shape shape;
    assert_int_equal(dw_tensor_graph_shape(w->graph, tensor, &shape, &w->err), DW_OK);
    for (int i = 0; i < 4; i++) {
        v->ne[i] = shape.ne[i];
    }
    int64_t count = values_count(v);
    assert_true(count <= TENSOR_VALUES_MAX);
    size_t bytes = tensors_type_bytes(shape.type, count);
    uint64_t offset = tensors_take(w, bytes);
    uint64_t behind = tensors_take(w, DW_TENSOR_ALIGN);
    memset(tensors_bytes(w, offset), 0xff, (size_t)(behind - offset) + DW_TENSOR_ALIGN);
    dw_status status = dw_tensor_graph_output(w->graph, tensor, offset, &w->err);
    if (status == DW_OK) {
        status = dw_tensor_graph_build(w->graph, DW_GRAPH_SCRATCH_BYTES_MAX, &w->err);
    }
    if (status == DW_E_UNSUPPORTED && !tensors_on_cpu(w)) {
        return false;
    }
    if (status != DW_OK || dw_tensor_graph_run(w->graph, NULL, &w->err) != DW_OK) {
        fail_msg("%s", w->err.message);
    }
    if (ggml_is_quantized((enum ggml_type)shape.type)) {
        static float plain[TENSOR_VALUES_MAX];
        ggml_get_type_traits((enum ggml_type)shape.type)
            ->to_float(tensors_bytes(w, offset), plain, count);
        for (int64_t i = 0; i < count; i++) {
            v->at[i] = (double)plain[i];
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            v->at[i] = tensors_load(tensors_bytes(w, offset), shape.type, i);
        }
    }
    const unsigned char *after = tensors_bytes(w, offset + bytes);
    for (size_t i = 0; i < DW_TENSOR_ALIGN; i++) {
        assert_int_equal(after[i], 0xff); /* nothing written behind the result */
    }
    return true;
}

void tensors_expect(tensor_fixture *w, int32_t tensor, const tensor_values *want,
                    const double *tolerance, double most)
{
    static tensor_values got;
    if (!tensors_result(w, tensor, &got)) {
        return;
    }
    assert_memory_equal(got.ne, want->ne, sizeof got.ne);
    for (int64_t i = 0; i < values_count(want); i++) {
        double allowed = tolerance != NULL ? tolerance[i] : most;
        /* GPUs multiply in TF32 and have functions of their own. */
        allowed += tensors_on_cpu(w) ? 0 : 4e-3 * (1 + fabs(want->at[i]));
        /* Written so that NaN fails. */
        if (!(fabs(got.at[i] - want->at[i]) <= allowed)) {
            fail_msg("element %lld is %.9g, should be %.9g within %.3g", (long long)i, got.at[i],
                     want->at[i], allowed);
        }
    }
}
