/* A forward pass in double precision, by the plain formulas, of models of the architecture llama
 * without biases and rope factors: what neither engine rounds. */
#ifndef DW_TESTS_REFERENCE_FORWARD_H
#define DW_TESTS_REFERENCE_FORWARD_H

#include "model/model.h"

/* Logits [count][vocab_count] of tokens [count] from position 0 on. */
void reference_forward(dw_model *model, const int32_t *tokens, uint32_t count, double *logits);

#endif
