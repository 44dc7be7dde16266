/* Random bytes describe, build and run tensor graphs. Whatever a guest could say through
 * dw_graph_* must end in a result or a status: never in an assert of ggml's or a stray access.
 * Sizes are kept small so that a run takes microseconds; inputs to operations are mostly tensors
 * that exist, so that graphs get deep. */
#include <stdlib.h>
#include <string.h>

#include "device/device_view.h"
#include "tensor/tensor_graph.h"

#define MEMORY_BYTES ((size_t)256 << 10)
#define STEPS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct reader {
    const uint8_t *data;
    size_t left;
} reader;

static uint32_t next_byte(reader *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static uint32_t next_word(reader *in)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word = word << 8 | next_byte(in);
    }
    return word;
}

static const int32_t types[] = {DW_F32,  DW_F32,  DW_F32,  DW_F16,  DW_BF16, DW_I32,
                                DW_Q4_0, DW_Q4_1, DW_Q5_0, DW_Q5_1, DW_Q8_0, DW_Q2_K,
                                DW_Q3_K, DW_Q4_K, DW_Q5_K, DW_Q6_K};

static int32_t next_type(reader *in)
{
    uint32_t pick = next_byte(in);
    return pick < 240 ? types[pick % 16] : (int32_t)(pick - 245);
}

/* Few sizes, so that tensors often fit each other; now and then absurd. */
static uint32_t next_size(reader *in)
{
    static const uint32_t sizes[] = {4, 4, 4, 4, 1, 2, 8, 3};
    uint32_t pick = next_byte(in);
    if (pick < 200) {
        return sizes[pick % 8];
    }
    return pick < 230 ? 32 : pick < 250 ? 256 : next_word(in);
}

static int32_t next_number(reader *in)
{
    uint32_t pick = next_byte(in);
    return pick < 250 ? (int32_t)(pick % 9) : (int32_t)next_word(in);
}

static int32_t next_tensor(reader *in, int32_t count)
{
    uint32_t pick = next_byte(in);
    if (pick >= 250) {
        return (int32_t)next_word(in);
    }
    return count > 0 ? (int32_t)(pick % (uint32_t)count) + 1 : 0;
}

static uint32_t next_offset(reader *in)
{
    uint32_t pick = next_byte(in);
    return pick < 250 ? (pick * 17 + next_byte(in)) * 64 : next_word(in);
}

typedef struct place {
    dw_device *device;
    dw_region *region;
    dw_device_view *view;
} place;

static const place *the_place(void)
{
    static place here;
    if (here.view == NULL) {
        dw_region_options options = {
            .reserve_bytes = MEMORY_BYTES, .commit_bytes = MEMORY_BYTES, .label = "fuzz"};
        dw_error err;
        if (dw_device_open(&here.device, "CPU", 1, &err) != DW_OK ||
            dw_region_create(&here.region, &options, &err) != DW_OK ||
            dw_device_view_create(&here.view, here.device, here.region, DW_VIEW_STAGEABLE, &err) !=
                DW_OK) {
            abort();
        }
    }
    return &here;
}

/* What the operation would accept of its first input, so that most of them are. */
static void guide_params(reader *in, int32_t op, const dw_shape *a, dw_op_params *p)
{
    uint32_t pick = next_byte(in);
    switch (op) {
    case DW_OP_PERMUTE:
        for (int i = 0; i < 4; i++) {
            p->i[i] = (int32_t)((uint32_t)i ^ (pick & 3)); /* any xor of the axes permutes them */
        }
        break;
    case DW_OP_RESHAPE:
    case DW_OP_REPEAT:
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t axis = op == DW_OP_RESHAPE ? i ^ (pick & 3) : i;
            uint32_t times = op == DW_OP_RESHAPE ? 1 : 1 + (pick >> i & 1);
            p->i[i] = (int32_t)(a->ne[axis] * times);
        }
        break;
    case DW_OP_VIEW:
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t cut = pick >> i & 1 ? next_byte(in) % a->ne[i] : 0;
            p->i[i] = (int32_t)(a->ne[i] - cut);
            p->i[i + 4] = pick >> 4 & 1 ? (int32_t)cut : 0;
        }
        break;
    case DW_OP_CONVERT:
        p->i[0] = next_type(in);
        break;
    case DW_OP_ROPE:
        p->i[0] = (int32_t)(a->ne[0] & ~1u);
        p->i[1] = (int32_t)(pick & 2);
        break;
    case DW_OP_ATTENTION:
        p->i[0] = (int32_t)(pick & 1);
        break;
    case DW_OP_CONCAT:
        p->i[0] = (int32_t)(pick & 3);
        break;
    case DW_OP_SCALE:
    case DW_OP_SOFTMAX:
    case DW_OP_RMS_NORM:
    case DW_OP_NORM:
        p->f[0] = (float)pick / 64;
        break;
    default:
        break;
    }
}

static void wild_params(reader *in, dw_op_params *p)
{
    for (int i = 0; i < 8; i++) {
        p->i[i] = next_number(in);
        uint32_t bits = next_byte(in) < 128 ? 0 : next_word(in);
        memcpy(&p->f[i], &bits, sizeof bits);
    }
}

/* A list of numbers for GET_ROWS or ROPE; the memory's last quarter holds small ones. */
static int32_t add_indices(reader *in, dw_tensor_graph *graph, uint32_t count, dw_error *err)
{
    int32_t tensor = 0;
    uint64_t offset = MEMORY_BYTES / 4 * 3 + next_byte(in) * 64;
    (void)dw_tensor_graph_tensor(graph, DW_I32, (uint32_t[]){count, 1, 1, 1}, offset, &tensor, err);
    return tensor;
}

static int32_t inputs_of(int32_t op)
{
    bool two = (op >= DW_OP_MATMUL && op <= DW_OP_DIV && op != DW_OP_SCALE) || op == DW_OP_CONCAT ||
               op == DW_OP_GET_ROWS || op == DW_OP_ROPE;
    return op == DW_OP_ATTENTION ? 3 : two ? 2 : 1;
}

static void add_op(reader *in, dw_tensor_graph *graph, int32_t *count, dw_error *err)
{
    int32_t op = (int32_t)(next_byte(in) % 36);
    uint32_t wild = next_byte(in);
    int32_t inputs[4] = {0};
    for (int i = 0; i < (wild < 240 ? inputs_of(op) : 4); i++) {
        inputs[i] = next_tensor(in, *count);
    }
    if (wild % 8 == 1 && (op == DW_OP_SOFTMAX || op == DW_OP_ATTENTION)) {
        inputs[inputs_of(op)] = next_tensor(in, *count);
    }
    if (wild % 4 == 2) {
        inputs[1] = inputs[1] != 0 ? inputs[0] : 0;
        inputs[2] = inputs[2] != 0 ? inputs[0] : 0;
    }
    dw_op_params params = {0};
    dw_shape a;
    if (wild < 220 && dw_tensor_graph_shape(graph, inputs[0], &a, err) == DW_OK) {
        guide_params(in, op, &a, &params);
        if (op == DW_OP_GET_ROWS || op == DW_OP_ROPE) {
            inputs[1] = add_indices(in, graph, op == DW_OP_ROPE ? a.ne[2] : 1 + wild % 9, err);
            *count = inputs[1] != 0 ? inputs[1] : *count;
        }
    } else {
        wild_params(in, &params);
    }
    int32_t tensor;
    if (dw_tensor_graph_op(graph, op, inputs, wild % 16 == 3 ? NULL : &params, &tensor, err) ==
        DW_OK) {
        *count = tensor;
    }
}

static void add_tensor(reader *in, dw_tensor_graph *graph, int32_t *count, dw_error *err)
{
    int32_t type = next_type(in);
    uint32_t ne[4] = {next_size(in), next_size(in), 1, 1};
    if (type >= DW_Q4_0 && type <= DW_Q6_K && ne[0] < 32) {
        ne[0] = type >= DW_Q2_K ? 256 : 32;
    }
    if (next_byte(in) % 3 == 0) {
        ne[2] = next_size(in);
        ne[3] = next_size(in);
    }
    int32_t tensor;
    if (dw_tensor_graph_tensor(graph, type, ne, next_offset(in), &tensor, err) == DW_OK) {
        *count = tensor;
    }
}

/* Rubbish, NaN and infinities among it, and small numbers at the end. */
static void fill_memory(reader *in, const place *here)
{
    unsigned char *bytes = dw_region_base(here->region);
    uint32_t seed = next_word(in) | 1;
    uint32_t indices_below = 1 + (seed >> 8 & 3);
    for (size_t i = 0; i < MEMORY_BYTES; i += 4) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t word = i < MEMORY_BYTES / 4 * 3 ? seed : (seed >> 16) % indices_below;
        memcpy(bytes + i, &word, sizeof word);
    }
    if ((seed & 0x70000) == 0) {
        memset(bytes, 0, MEMORY_BYTES);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const place *here = the_place();
    reader in = {data, size};
    dw_error err;
    dw_tensor_graph *graph;
    if (dw_tensor_graph_create(&graph, here->device, here->region, here->view, &err) != DW_OK) {
        return 0;
    }
    fill_memory(&in, here);
    int32_t count = 0;
    for (int step = 0; step < STEPS_MAX && in.left > 0; step++) {
        uint32_t what = next_byte(&in) % 16;
        if (count == 0 || what < 4) {
            add_tensor(&in, graph, &count, &err);
        } else if (what < 13) {
            add_op(&in, graph, &count, &err);
        } else if (what < 15) {
            (void)dw_tensor_graph_output(graph, next_tensor(&in, count), next_offset(&in), &err);
        } else {
            dw_shape shape;
            (void)dw_tensor_graph_shape(graph, next_tensor(&in, count), &shape, &err);
        }
    }
    for (int32_t last = count; last > 0 && last > count - 4; last--) {
        (void)dw_tensor_graph_output(graph, last, next_offset(&in), &err);
    }
    size_t scratch = (size_t)(next_byte(&in) < 250 ? 4 : 1) << 20;
    if (dw_tensor_graph_build(graph, scratch, &err) == DW_OK) {
        (void)dw_tensor_graph_run(graph, NULL, &err);
        (void)dw_tensor_graph_run(graph, NULL, &err);
    }
    dw_tensor_graph_destroy(graph);
    return 0;
}
