/* A tree of tokens behind a context, as steps see it: context.h has what it is for.
 * Private to src/inference. Thread: the context's. */
#ifndef DW_INFERENCE_CONTEXT_TREE_H
#define DW_INFERENCE_CONTEXT_TREE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dw__tree {
    uint32_t past; /* the context's length, behind which it hangs */
    uint32_t count;
    int32_t *tokens;        /* [3 * count]: the tree's, then what follows */
    int32_t *parents;       /* [count]: -1: the context's end; else one before */
    int32_t *positions;     /* [count] */
    const uint8_t *mask;    /* [count][past + count], the caller's, during the step; or NULL */
    unsigned char *records; /* [count][record bytes] once it is computed */
    bool masked;
    bool computed;
} dw__tree;

#endif
