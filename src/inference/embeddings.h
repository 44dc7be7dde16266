/* Embeddings of texts: an encoder's, or the hidden states of any other model. */
#ifndef DW_INFERENCE_EMBEDDINGS_H
#define DW_INFERENCE_EMBEDDINGS_H

#include "base/counters.h"
#include "base/stop.h"
#include "device/device_view.h"
#include "model/model.h"

/* One text's tokens and where its embedding goes. `tokens` and `rows` lie in `view`'s region and
 * are read and written by the device at those addresses. */
typedef struct dw_embed_step {
    dw_device_view *view;
    int32_t *tokens; /* [token_count] */
    uint32_t token_count;
    dw_pooling pooling;
    bool normalize; /* each row to a length of 1; one of zeros stays */
    float *rows;    /* [embedding_length]; with DW_POOL_NONE [token_count][embedding_length] */
    dw_counters *counters; /* not NULL */
    dw_stop *stop;         /* may be NULL */
} dw_embed_step;

/* Compute the embedding, with the model's usual adapters; nothing is kept. Texts of encoders go
 * through at once (on the CPU in parts, between which others have their turns), those of others in
 * slices.
 * Errors: DW_E_ARG (no tokens), DW_E_LIMIT (more than the model was made for), DW_E_RANGE (a token
 * outside the vocabulary), DW_E_ALIGN, DW_E_OVERLAP, DW_E_CANCELLED, DW_E_NUMERIC (the model gave
 * NaN), DW_E_MEMORY, DW_E_DEVICE: `rows` then hold anything.
 * Thread: any; steps on one model wait for each other. */
dw_status dw_embed(dw_model *model, const dw_embed_step *step, dw_error *err);

#endif
