/* Calls of the tensor functions as only a careless or hostile guest makes them. Each export
 * answers 0, or the line of the first call that was not answered as it should be. */
#include <driftwood_guest.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return __LINE__;                                                                       \
        }                                                                                          \
    } while (0)

enum { COUNT = 64, PAGE_BYTES = 65536 };

static DW_ALIGNED float a[COUNT];
static DW_ALIGNED float b[COUNT];
static DW_ALIGNED float sum[COUNT];
static const uint32_t ne[4] = {COUNT, 1, 1, 1};

static uint32_t memory_end(void)
{
    return (uint32_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
}

static void *at(uint32_t address)
{
    return (void *)address;
}

/* b + b at `sum`, not built. */
static int32_t describe(const float *input)
{
    int32_t graph = dw_graph_create();
    int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, input);
    int32_t twice = dw_graph_op(graph, DW_OP_ADD, (int32_t[4]){tensor, tensor, 0, 0}, NULL);
    int32_t status = dw_graph_output(graph, twice, sum);
    return status < 0 ? status : graph;
}

EXPORT("bad_handles") int32_t bad_handles(void)
{
    dw_shape shape;
    CHECK(dw_graph_tensor(0, DW_F32, ne, a) == DW_E_HANDLE);
    CHECK(dw_graph_op(-1, DW_OP_NEG, (int32_t[4]){1}, NULL) == DW_E_HANDLE);
    CHECK(dw_graph_output(0x7fffffff, 1, a) == DW_E_HANDLE);
    CHECK(dw_tensor_shape(77, 1, &shape) == DW_E_HANDLE);
    CHECK(dw_graph_build(77) == DW_E_HANDLE);
    CHECK(dw_graph_run(77) == DW_E_HANDLE);
    CHECK(dw_graph_destroy(77) == DW_E_HANDLE);
    int32_t graph = describe(b);
    CHECK(graph > 0);
    CHECK(dw_graph_destroy(graph) == DW_OK);
    CHECK(dw_graph_destroy(graph) == DW_E_HANDLE);
    int32_t next = describe(b);
    CHECK(next > 0 && next != graph);
    CHECK(dw_graph_build(graph) == DW_E_HANDLE);
    CHECK(dw_graph_destroy(next) == DW_OK);
    return 0;
}

EXPORT("bad_pointers") int32_t bad_pointers(void)
{
    int32_t graph = dw_graph_create();
    uint32_t end = memory_end();
    dw_shape *shape = at(end - 8);
    CHECK(dw_graph_tensor(graph, DW_F32, at(end), a) == DW_E_RANGE);
    CHECK(dw_graph_tensor(graph, DW_F32, at(end - 12), a) == DW_E_RANGE);
    CHECK(dw_graph_tensor(graph, DW_F32, at(0xfffffffcu), a) == DW_E_RANGE);
    CHECK(dw_graph_tensor(graph, DW_F32, at(2), a) == DW_E_ALIGN);
    CHECK(dw_graph_tensor(graph, DW_F32, ne, at(end - 64)) == DW_E_RANGE);
    CHECK(dw_graph_tensor(graph, DW_F32, ne, at(0xffffffc0u)) == DW_E_RANGE);
    CHECK(dw_graph_tensor(graph, DW_F32, ne, (char *)a + 2) == DW_E_ALIGN);
    int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, a);
    CHECK(tensor == 1);
    CHECK(dw_graph_op(graph, DW_OP_NEG, at(end - 4), NULL) == DW_E_RANGE);
    CHECK(dw_graph_op(graph, DW_OP_NEG, (int32_t[4]){tensor}, at(end - 60)) == DW_E_RANGE);
    CHECK(dw_tensor_shape(graph, tensor, shape) == DW_E_RANGE);
    int32_t x = dw_graph_op(graph, DW_OP_NEG, (int32_t[4]){tensor}, NULL);
    CHECK(x == 2);
    CHECK(dw_graph_output(graph, x, at(end)) == DW_E_RANGE);
    CHECK(dw_graph_output(graph, x, a + 16) == DW_E_OVERLAP);
    CHECK(dw_graph_output(graph, x, sum) == DW_OK);
    CHECK(dw_graph_destroy(graph) == DW_OK);
    return 0;
}

EXPORT("words") int32_t words(void)
{
    char message[256];
    int32_t graph = dw_graph_create();
    int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, a);
    dw_op_params params = {.f = {__builtin_nanf("")}};
    CHECK(dw_graph_op(graph, DW_OP_SCALE, (int32_t[4]){tensor}, &params) == DW_E_NUMERIC);
    int32_t length = dw_last_error(message, sizeof message);
    CHECK(length > 5 && message[0] == 'S' && message[4] == 'E' && message[length] == '\0');
    CHECK(dw_graph_destroy(graph) == DW_OK);
    return 0;
}

/* More graphs than a guest may have, then as many again. */
EXPORT("many_graphs") int32_t many_graphs(void)
{
    static int32_t graphs[300];
    for (int round = 0; round < 2; round++) {
        int count = 0;
        while (count < 300 && (graphs[count] = dw_graph_create()) > 0) {
            count++;
        }
        CHECK(count == 256 && graphs[count] == DW_E_LIMIT);
        while (count > 0) {
            CHECK(dw_graph_destroy(graphs[--count]) == DW_OK);
        }
    }
    return 0;
}

/* Memory grows between building and running, then the input moves into the new pages. */
EXPORT("grows") int32_t grows(void)
{
    for (int i = 0; i < COUNT; i++) {
        b[i] = (float)i;
    }
    int32_t graph = describe(b);
    CHECK(graph > 0 && dw_graph_build(graph) == DW_OK);
    float *pages = at(memory_end());
    CHECK(__builtin_wasm_memory_grow(0, 5) != (size_t)-1);
    CHECK(dw_graph_run(graph) == DW_OK);
    CHECK(sum[0] == 0 && sum[COUNT - 1] == 2 * (COUNT - 1));
    CHECK(dw_graph_destroy(graph) == DW_OK);
    for (int i = 0; i < COUNT; i++) {
        pages[i] = (float)-i;
    }
    graph = describe(pages);
    CHECK(graph > 0 && dw_graph_build(graph) == DW_OK && dw_graph_run(graph) == DW_OK);
    CHECK(sum[0] == 0 && sum[COUNT - 1] == -2 * (COUNT - 1));
    CHECK(dw_host_copied_bytes() == 0);
    return 0; /* the graph is left open: the host ends it with the guest */
}

/* Scratch memory is shared by all graphs of a guest: 1 GiB. */
EXPORT("too_much_scratch") int32_t too_much_scratch(void)
{
    int32_t status = DW_OK;
    int built = 0;
    for (int i = 0; i < 8 && status == DW_OK; i++) {
        int32_t graph = dw_graph_create();
        int32_t tensor = dw_graph_tensor(graph, DW_F32, ne, a);
        dw_op_params params = {.i = {COUNT, 1 << 20, 1, 1}}; /* 256 MiB */
        int32_t big = dw_graph_op(graph, DW_OP_REPEAT, (int32_t[4]){tensor}, &params);
        int32_t total = dw_graph_op(graph, DW_OP_SUM, (int32_t[4]){big}, NULL);
        CHECK(dw_graph_output(graph, total, &sum[0]) == DW_OK);
        status = dw_graph_build(graph);
        built += status == DW_OK;
    }
    CHECK(status == DW_E_LIMIT && built == 3);
    return 0;
}
