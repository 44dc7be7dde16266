/* The guest of `driftwood doctor`: it fills matrices in its own memory, has the device multiply
 * them there, and checks the result itself. No libc; the host calls its exports one by one.
 * Every function answers 0 or a count, or a negative status. */
#include "driftwood_guest.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define SIDE 128
#define ELEMENTS (SIDE * SIDE)
#define WASM_PAGE_BYTES 65536u
#define BIG_BYTES (16u << 20)
#define BIG_ELEMENTS (BIG_BYTES / sizeof(float))
#define CALLS_PER_LOOP 1000000

typedef struct matrices {
    float *a;      /* [SIDE rows][SIDE] */
    float *b;      /* [SIDE rows][SIDE], one row a column of the product */
    float *result; /* [SIDE rows][SIDE]: result[n][m] = sum over k of a[m][k] * b[n][k] */
} matrices;

static DW_ALIGNED float first_a[ELEMENTS];
static DW_ALIGNED float first_b[ELEMENTS];
static DW_ALIGNED float first_result[ELEMENTS];
static matrices now = {first_a, first_b, first_result};
static int32_t graph;

static float *big; /* [BIG_ELEMENTS], 16 MiB of pages */
static DW_ALIGNED float big_sum[1];
static int32_t big_graph;

/* Small whole numbers: every product and sum is exact in float32, whatever the order. */
static float element_of_a(uint32_t row, uint32_t k)
{
    return (float)((int32_t)((row * 7 + k * 3) % 17) - 8);
}

static float element_of_b(uint32_t column, uint32_t k)
{
    return (float)((int32_t)((column * 5 + k * 11) % 13) - 6);
}

static void fill(void)
{
    for (uint32_t row = 0; row < SIDE; row++) {
        for (uint32_t k = 0; k < SIDE; k++) {
            now.a[row * SIDE + k] = element_of_a(row, k);
            now.b[row * SIDE + k] = element_of_b(row, k);
        }
    }
}

EXPORT("chain_poison") int32_t chain_poison(void)
{
    for (uint32_t i = 0; i < ELEMENTS; i++) {
        now.result[i] = -12345.0f;
    }
    return 0;
}

static int32_t describe(void)
{
    const uint32_t ne[DW_MAX_DIMS] = {SIDE, SIDE, 1, 1};
    int32_t made = dw_graph_create();
    if (made < 0) {
        return made;
    }
    int32_t a = dw_graph_tensor(made, DW_F32, ne, now.a);
    int32_t b = dw_graph_tensor(made, DW_F32, ne, now.b);
    const int32_t inputs[DW_MAX_DIMS] = {a, b, 0, 0};
    int32_t product = a < 0 ? a : b < 0 ? b : dw_graph_op(made, DW_OP_MATMUL, inputs, NULL);
    int32_t status = product < 0 ? product : dw_graph_output(made, product, now.result);
    if (status == DW_OK) {
        status = dw_graph_build(made);
    }
    if (status < 0) {
        (void)dw_graph_destroy(made);
        return status;
    }
    graph = made;
    return DW_OK;
}

/* Fill the matrices and describe the product. */
EXPORT("chain_prepare") int32_t chain_prepare(void)
{
    fill();
    return describe();
}

EXPORT("chain_run") int32_t chain_run(void)
{
    return dw_graph_run(graph);
}

/* How many of the 16,384 elements differ from the guest's own product. */
EXPORT("chain_wrong") int32_t chain_wrong(void)
{
    int32_t wrong = 0;
    for (uint32_t column = 0; column < SIDE; column++) {
        for (uint32_t row = 0; row < SIDE; row++) {
            float sum = 0;
            for (uint32_t k = 0; k < SIDE; k++) {
                sum += element_of_a(row, k) * element_of_b(column, k);
            }
            wrong += now.result[column * SIDE + row] != sum;
        }
    }
    return wrong;
}

/* New pages at the end of memory, as an address; 0 if there are none. */
static uint32_t grow(uint32_t bytes)
{
    uint32_t pages = (bytes + WASM_PAGE_BYTES - 1) / WASM_PAGE_BYTES;
    size_t before = __builtin_wasm_memory_grow(0, pages);
    return before == (size_t)-1 ? 0 : (uint32_t)before * WASM_PAGE_BYTES;
}

/* memory.grow, then the old graph (built before it) runs once more over the old addresses. */
EXPORT("chain_grow") int32_t chain_grow(void)
{
    return grow(ELEMENTS * 3 * sizeof(float)) != 0 ? DW_OK : DW_E_MEMORY;
}

/* Move the matrices into pages that memory.grow has just made, and describe the product there. */
EXPORT("chain_move_to_new_pages") int32_t chain_move_to_new_pages(void)
{
    uint32_t address = grow(ELEMENTS * 3 * sizeof(float));
    if (address == 0) {
        return DW_E_MEMORY;
    }
    float *pages = (float *)address;
    now = (matrices){pages, pages + ELEMENTS, pages + ELEMENTS * 2};
    int32_t status = dw_graph_destroy(graph);
    fill();
    return status < 0 ? status : describe();
}

EXPORT("chain_address_result") int32_t chain_address_result(void)
{
    return (int32_t)(uint32_t)now.result;
}

/* 16 MiB of fresh pages, untouched yet, and a graph that sums them. */
EXPORT("chain_big_prepare") int32_t chain_big_prepare(void)
{
    const uint32_t ne[DW_MAX_DIMS] = {SIDE * SIDE, BIG_ELEMENTS / ELEMENTS, 1, 1};
    if (big_graph != 0) {
        (void)dw_graph_destroy(big_graph);
        big_graph = 0;
    }
    uint32_t address = grow(BIG_BYTES);
    int32_t made = address == 0 ? DW_E_MEMORY : dw_graph_create();
    if (made < 0) {
        return made;
    }
    big = (float *)address;
    int32_t all = dw_graph_tensor(made, DW_F32, ne, big);
    const int32_t inputs[DW_MAX_DIMS] = {all, 0, 0, 0};
    int32_t sum = all < 0 ? all : dw_graph_op(made, DW_OP_SUM, inputs, NULL);
    int32_t status = sum < 0 ? sum : dw_graph_output(made, sum, big_sum);
    status = status < 0 ? status : dw_graph_build(made);
    big_graph = made;
    /* A first run over the zero page: what the device allocates once, it allocates here. */
    return status < 0 ? status : dw_graph_run(made);
}

/* The guest writes all 16 MiB. */
EXPORT("chain_big_write") int32_t chain_big_write(void)
{
    for (uint32_t i = 0; i < BIG_ELEMENTS; i++) {
        big[i] = 1.0f;
    }
    return DW_OK;
}

/* The device reads all of it; 0 if the sum is right. */
EXPORT("chain_big_wrong") int32_t chain_big_wrong(void)
{
    big_sum[0] = -1.0f;
    int32_t status = dw_graph_run(big_graph);
    return status < 0 ? status : big_sum[0] != (float)BIG_ELEMENTS;
}

/* A million calls into the host that do nothing there; 0 if each answered. */
EXPORT("chain_call_loop") int32_t chain_call_loop(void)
{
    int32_t wrong = 0;
    for (int32_t i = 0; i < CALLS_PER_LOOP; i++) {
        wrong += dw_abi_version() != DW_ABI_VERSION;
    }
    return wrong;
}
