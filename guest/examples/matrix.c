/* Two matrices in the guest's memory, multiplied there by the device, and checked by the guest.
 * Arguments: the side (default 256, at most 1024) and how many runs to time (default 20). */
#include <driftwood_helpers.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE_MAX = 1024, RUNS_MAX = 100000 };

/* Small whole numbers: every sum is exact in float32, in whatever order the device adds. */
static void fill(float *to, int count, int step)
{
    for (int i = 0; i < count; i++) {
        to[i] = (float)(i * step % 13 - 6);
    }
}

/* product[column][row] = sum over k of a[row][k] * b[column][k] */
static int count_wrong(const float *a, const float *b, const float *product, int side)
{
    int wrong = 0;
    for (int column = 0; column < side; column++) {
        for (int row = 0; row < side; row++) {
            float sum = 0;
            for (int k = 0; k < side; k++) {
                sum += a[row * side + k] * b[column * side + k];
            }
            wrong += product[column * side + row] != sum;
        }
    }
    return wrong;
}

static int number(int argc, char **argv, int index, int otherwise, int most)
{
    char *end = NULL;
    long value = argc > index ? strtol(argv[index], &end, 10) : otherwise;
    if (value < 1 || value > most || (end != NULL && *end != '\0')) {
        fprintf(stderr, "matrix: %s: must be 1 to %d\n", argv[index], most);
        exit(2);
    }
    return (int)value;
}

int main(int argc, char **argv)
{
    int side = number(argc, argv, 1, 256, SIDE_MAX);
    int runs = number(argc, argv, 2, 20, RUNS_MAX);
    int count = side * side;
    size_t bytes =
        ((size_t)count * sizeof(float) + DW_TENSOR_ALIGN - 1) & ~(size_t)(DW_TENSOR_ALIGN - 1);
    float *a = aligned_alloc(DW_TENSOR_ALIGN, bytes);
    float *b = aligned_alloc(DW_TENSOR_ALIGN, bytes);
    float *product = aligned_alloc(DW_TENSOR_ALIGN, bytes);
    if (a == NULL || b == NULL || product == NULL) {
        fprintf(stderr, "matrix: no memory for three matrices of %zu bytes\n", bytes);
        return 1;
    }
    fill(a, count, 7);
    fill(b, count, 11);

    const uint32_t ne[4] = {(uint32_t)side, (uint32_t)side, 1, 1};
    int32_t graph = dw_must(dw_graph_create(), "a graph");
    int32_t ta = dw_must(dw_graph_tensor(graph, DW_F32, ne, a), "the first matrix");
    int32_t tb = dw_must(dw_graph_tensor(graph, DW_F32, ne, b), "the second matrix");
    int32_t inputs[4] = {ta, tb, 0, 0};
    int32_t tp = dw_must(dw_graph_op(graph, DW_OP_MATMUL, inputs, NULL), "the product");
    dw_must(dw_graph_output(graph, tp, product), "the output");
    dw_must(dw_graph_build(graph), "building");

    dw_must(dw_graph_run(graph), "running");
    uint64_t start = dw_clock_ns();
    for (int i = 0; i < runs; i++) {
        dw_must(dw_graph_run(graph), "running");
    }
    double ns = (double)(dw_clock_ns() - start) / runs;

    char device[64];
    dw_must(dw_device_name(device, sizeof device), "the device's name");
    int wrong = count_wrong(a, b, product, side);
    printf("%d x %d times %d x %d on %s: %.1f us a run, %.1f GFLOP/s\n", side, side, side, side,
           device, ns / 1000, 2.0 * side * side * side / ns);
    printf("%d of %d elements wrong, %llu bytes copied by the host\n", wrong, count,
           (unsigned long long)dw_host_copied_bytes());
    return wrong == 0 ? 0 : 1;
}
