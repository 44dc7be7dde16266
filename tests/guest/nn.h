/* What guests of wasi-nn import here. */
#ifndef DW_TESTS_NN_H
#define DW_TESTS_NN_H

#include <stdint.h>

#define NN(name) __attribute__((import_module("wasi_ephemeral_nn"), import_name(name)))

typedef struct tensor {
    const uint32_t *dimensions;
    uint32_t dimension_count;
    uint32_t type;
    const char *data;
    uint32_t data_bytes;
} tensor;

NN("load_by_name_with_config")
int32_t load_by_name_with_config(const char *name, uint32_t bytes, const char *settings,
                                 uint32_t settings_bytes, uint32_t *graph);
NN("init_execution_context") int32_t init_execution_context(uint32_t graph, uint32_t *context);
NN("set_input") int32_t set_input(uint32_t context, uint32_t index, const tensor *input);
NN("compute") int32_t compute(uint32_t context);
NN("compute_single") int32_t compute_single(uint32_t context);
NN("fini_single") int32_t fini_single(uint32_t context);
NN("get_output")
int32_t get_output(uint32_t context, uint32_t index, char *buffer, uint32_t capacity,
                   uint32_t *bytes);
NN("get_output_single")
int32_t get_output_single(uint32_t context, uint32_t index, char *buffer, uint32_t capacity,
                          uint32_t *bytes);
NN("unload") int32_t unload(uint32_t graph);

#endif
