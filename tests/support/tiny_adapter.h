/* Random LoRA adapters for a model's file, written with ggml's own GGUF writer: what a test wants
 * to be in a file, or wrong with it. */
#ifndef DW_TESTS_TINY_ADAPTER_H
#define DW_TESTS_TINY_ADAPTER_H

#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tiny_adapter {
    uint32_t rank;
    uint64_t seed;
    float alpha;         /* 0: no key */
    enum ggml_type type; /* of its matrices, if their rows allow it; else F16 */
    const char *only;    /* matrices with this in their names; NULL: all */
    bool table;          /* the token embeddings too */
    double size;         /* of its numbers; 0: 1 */
    /* What is wrong with it; NULL and false: nothing. */
    const char *general_type;
    const char *adapter_type;
    const char *architecture;
    const char *extra_tensor;
    const char *renamed_to; /* the first pair is of this tensor */
    bool invocation_tokens;
    bool without_b; /* of the first pair */
    bool without_a;
    bool nan;
    bool other_rank; /* the first pair's A has one more */
    bool other_rows; /* its B has one more */
    bool integers;   /* its B is of I32 */
    bool alpha_nan;
    bool empty;
} tiny_adapter;

/* For the model in the file `model`; pairs of all its matrices, of experts and the output too. */
void tiny_adapter_write(const char *path, const char *model, const tiny_adapter *options);

#endif
