/* Choices from the logits of a step's last token. Thread: the caller's. */
#ifndef DW_INFERENCE_CHOICE_H
#define DW_INFERENCE_CHOICE_H

#include "inference/context.h"

/* How many of a row's likeliest dw__choice_from_top_k may decide by: at most DW_TOP_K_MAX. */
uint32_t dw__choice_top_k_count(const dw_choice *choice);
/* From the row's likeliest, with their total. False: these do not decide; nothing has changed. */
bool dw__choice_from_top_k(dw_choice *choice, const dw_top_k *candidates);
/* From logits [vocab_count] without NaN, read in place. */
void dw__choice_from_row(dw_choice *choice, const float *logits, uint32_t vocab_count);

#endif
