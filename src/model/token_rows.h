/* Rows of a model's table of token embeddings, as numbers. */
#ifndef DW_MODEL_TOKEN_ROWS_H
#define DW_MODEL_TOKEN_ROWS_H

#include "model/model.h"

/* Of tokens [count] the rows of the model's table, times its embedding_scale: what a step takes in
 * their place (dw_step.embeddings). rows: [count][embedding_length].
 * Thread: any. Errors: DW_E_RANGE (a token outside the vocabulary), DW_E_UNSUPPORTED (an encoder),
 * DW_E_MEMORY, DW_E_DEVICE, DW_E_IO. */
dw_status dw_model_token_rows(dw_model *model, const int32_t *tokens, uint32_t count, float *rows,
                              dw_error *err);

#endif
