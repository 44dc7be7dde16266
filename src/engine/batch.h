/* One forward step over many contexts of one model, at whatever lengths they are: continuous
 * batching. A model's weights are read once for all of them.
 *
 * Each run of the device takes the tokens that are alone (decoding) and slices of longer prompts,
 * up to a budget of tokens. What a context gets depends on its own tokens: attention to others' is
 * none, and matrix products round row by row. To which tolerance: docs/operations.md.
 * Thread: one at a time a context; steps on one model wait for each other. */
#ifndef DW_ENGINE_BATCH_H
#define DW_ENGINE_BATCH_H

#include "engine/context.h"

typedef struct dw_batch_item {
    dw_context *context; /* each at most once in a batch */
    dw_step step;        /* its cancel stops this item alone, between runs */
    dw_status status;    /* out */
    dw_error error;      /* out, where status is not DW_OK: the context is then as it was */
} dw_batch_item;

/* Run all items' steps. Contexts must be of one model and one kv_type. An item that fails leaves
 * the others alone. Errors: DW_E_ARG (no items, another model or kv_type, a context twice),
 * DW_E_MEMORY; else DW_OK, and each item has its own status, those of dw_context_forward. */
dw_status dw_batch_forward(dw_batch_item *items, uint32_t count, dw_error *err);

#endif
