/* Random bytes describe, build and run tensor graphs. Whatever a guest could say through
 * dw_graph_* must end in a result or a status: never in an assert of ggml's or a stray access.
 * Sizes are kept small so that a run takes microseconds; inputs to operations are mostly tensors
 * that exist, so that graphs get deep. */
#include <stdlib.h>
#include <string.h>

#include "guest_abi/tensor_graph.h"

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

/* Mostly small, sometimes whole blocks, now and then absurd. */
static uint32_t next_size(reader *in)
{
    uint32_t pick = next_byte(in);
    if (pick < 180) {
        return pick % 9;
    }
    return pick < 220 ? 32 : pick < 245 ? 256 : next_word(in);
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
            dw_device_view_create(&here.view, here.region, dw_device_handle(here.device), &err) !=
                DW_OK) {
            abort();
        }
    }
    return &here;
}

static void add_op(reader *in, dw_tensor_graph *graph, int32_t *count, dw_error *err)
{
    int32_t op = (int32_t)(next_byte(in) % 36);
    uint32_t shape = next_byte(in);
    int32_t inputs[4] = {0};
    /* Bits say which inputs are named: most operations have one or two. */
    for (int i = 0; i < 4; i++) {
        bool named = i == 0 || (shape & (1u << i)) != 0;
        inputs[i] = named ? next_tensor(in, *count) : 0;
    }
    dw_op_params params = {0};
    uint32_t ints = shape >> 4 & 3;
    for (uint32_t i = 0; i < 8 && i < ints * 4; i++) {
        params.i[i] = next_number(in);
    }
    if (op == DW_OP_CONVERT) {
        params.i[0] = next_type(in);
    }
    uint32_t floats = shape >> 6;
    for (uint32_t i = 0; i < floats; i++) {
        uint32_t bits = next_byte(in) < 200 ? 0x3f000000 : next_word(in);
        memcpy(&params.f[i], &bits, sizeof bits);
    }
    int32_t tensor;
    if (dw_tensor_graph_op(graph, op, inputs, ints + floats > 0 ? &params : NULL, &tensor, err) ==
        DW_OK) {
        *count = tensor;
    }
}

static void add_tensor(reader *in, dw_tensor_graph *graph, int32_t *count, dw_error *err)
{
    int32_t type = next_type(in);
    uint32_t ne[4] = {next_size(in), next_size(in), 1, 1};
    if (next_byte(in) % 3 == 0) {
        ne[2] = next_size(in);
        ne[3] = next_size(in);
    }
    int32_t tensor;
    if (dw_tensor_graph_tensor(graph, type, ne, next_offset(in), &tensor, err) == DW_OK) {
        *count = tensor;
    }
}

/* Rubbish for the weights, with indices in range here and there. */
static void fill_memory(reader *in, const place *here)
{
    unsigned char *bytes = dw_region_base(here->region);
    uint32_t seed = next_word(in) | 1;
    for (size_t i = 0; i < MEMORY_BYTES; i += 4) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t word = seed >> 28 == 0 ? seed >> 20 & 3 : seed;
        memcpy(bytes + i, &word, sizeof word);
    }
    if ((seed & 0x70) == 0) {
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
    (void)dw_tensor_graph_output(graph, count, next_offset(&in), &err);
    size_t scratch = (size_t)(next_byte(&in) < 250 ? 4 : 1) << 20;
    if (dw_tensor_graph_build(graph, scratch, &err) == DW_OK) {
        (void)dw_tensor_graph_run(graph, NULL, &err);
        (void)dw_tensor_graph_run(graph, NULL, &err);
    }
    dw_tensor_graph_destroy(graph);
    return 0;
}
