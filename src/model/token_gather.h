/* The first node of a step over several sequences: each token is read where its owner has it, which
 * no tensor with equal strides can say. On the CPU. */
#ifndef DW_MODEL_TOKEN_GATHER_H
#define DW_MODEL_TOKEN_GATHER_H

#include <ggml.h>
#include <stdint.h>

/* Filled before each run; at a fixed address while the graph lives. */
typedef struct dw_token_gather {
    struct ggml_tensor *embedding; /* [embedding, vocab], of any type */
    const int32_t **tokens;        /* [tokens of the graph]: where each of them stands */
} dw_token_gather;

/* -> F32 [embedding, token_count], as ggml_get_rows has them. A token outside the vocabulary (it
 * was checked when its step began, but it stands in a guest's memory) gives zeros.
 * Thread: the graph's builder. */
struct ggml_tensor *dw_token_gather_node(dw_token_gather *from, struct ggml_context *ggml,
                                         int64_t token_count);

#endif
