/* A region with a device's view on it, and tensors of random values in it: what the tests of
 * tensor graphs stand on. The device is DW_TEST_DEVICE, else the CPU. */
#ifndef DW_TEST_TENSOR_FIXTURE_H
#define DW_TEST_TENSOR_FIXTURE_H

#include "tensor/tensor_graph.h"

#define TENSOR_VALUES_MAX 65536

typedef struct tensor_fixture {
    dw_device *device;
    dw_region *region;
    dw_device_view *view;
    dw_tensor_graph *graph;
    uint64_t next;   /* first free offset */
    uint64_t random; /* generator's state */
    dw_error err;
} tensor_fixture;

/* The values that a tensor stands for, ne0 varying fastest. */
typedef struct tensor_values {
    int64_t ne[4];
    double at[TENSOR_VALUES_MAX];
} tensor_values;

void tensor_fixture_open(tensor_fixture *w, size_t bytes);
void tensor_fixture_close(tensor_fixture *w);
/* A fresh graph, an empty region. */
void tensors_restart(tensor_fixture *w, uint64_t seed);

uint32_t tensors_random(tensor_fixture *w, uint32_t limit); /* 0 to limit - 1 */
double tensors_uniform(tensor_fixture *w, double low, double high);

/* Offset of `bytes` fresh bytes, at a multiple of DW_TENSOR_ALIGN. */
uint64_t tensors_take(tensor_fixture *w, size_t bytes);
void *tensors_bytes(const tensor_fixture *w, uint64_t offset);

/* Bytes of `count` elements of `type`. */
size_t tensors_type_bytes(int32_t type, int64_t count);
double tensors_load(const void *bytes, int32_t type, int64_t index);
void tensors_store(void *bytes, int32_t type, int64_t index, double value);

/* A leaf [ne] of `type` with random values in [low, high], told in `v` as they were rounded. */
int32_t tensors_leaf(tensor_fixture *w, int32_t type, const int64_t *ne, double low, double high,
                     tensor_values *v);
/* The same, but perhaps reached through a permuted leaf or a view into a larger one. */
int32_t tensors_operand(tensor_fixture *w, int32_t type, const int64_t *ne, double low, double high,
                        tensor_values *v);

/* The operation, asserted to be accepted. */
int32_t tensors_op(tensor_fixture *w, int32_t op, int32_t a, int32_t b, int32_t c,
                   const dw_op_params *p);
bool tensors_on_cpu(const tensor_fixture *w);
/* Give `tensor` a place, fill that with rubbish, build, run, and read the result. False where a
 * device other than the CPU lacks the operation. */
bool tensors_result(tensor_fixture *w, int32_t tensor, tensor_values *v);
/* Likewise; then compare. Each element may be off by tolerance[i], or `most` where that is NULL. */
void tensors_expect(tensor_fixture *w, int32_t tensor, const tensor_values *want,
                    const double *tolerance, double most);

int64_t values_count(const tensor_values *v);
double *values_at(tensor_values *v, int64_t i0, int64_t i1, int64_t i2, int64_t i3);

#endif
