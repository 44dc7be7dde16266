/* The CUDA device that DW_TEST_DEVICE names, for tests of nodes of our own: elsewhere they are
 * skipped. */
#ifndef DW_TESTS_CUDA_FIXTURE_H
#define DW_TESTS_CUDA_FIXTURE_H

#include <ggml.h>

#include "device/device.h"
#include "support.h"

extern dw_device *cuda; /* NULL: none */

/* A group's set-up and teardown. */
int cuda_open(void **state);
int cuda_close(void **state);
/* A failure fails the test, with what it says. */
void cuda_check(dw_status status, const dw_error *err);
/* Without data. */
struct ggml_context *cuda_new_context(void);
/* All of the tensor's bytes. */
void cuda_set(struct ggml_tensor *tensor, const void *from);
/* Another name makes another graph for ggml, which else repeats what it has recorded of one with
 * the same addresses: also of one that was freed, for a device that a test forced to be able to
 * less. */
void cuda_name_anew(struct ggml_tensor *result);
/* Computes the graph. -> the bytes of `result`, the caller's to free */
float *cuda_run(struct ggml_cgraph *graph, struct ggml_tensor *result);
/* The same numbers in every run. */
float cuda_random(float low, float high);

#endif
