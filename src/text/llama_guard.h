/* libllama's C functions that can throw, called so that no C++ exception reaches C.
 * Each returns what libllama returns, or DW_LLAMA_THREW and keeps the exception's text for
 * dw_llama_why. Thread: any. */
#ifndef DW_TEXT_LLAMA_GUARD_H
#define DW_TEXT_LLAMA_GUARD_H

#include <llama.h>
#include <stddef.h>
#include <stdint.h>

#include "driftwood_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DW_LLAMA_THREW INT32_MIN

/* What the last call of this thread threw; empty: it did not. Until the next call. */
const char *dw_llama_why(void);

/* Vocabulary only, no device touched. NULL on failure: it threw, or told libllama's log. */
struct llama_model *dw_llama_load_vocab(const char *path);
int32_t dw_llama_tokenize(const struct llama_vocab *vocab, const char *text, int32_t text_bytes,
                          int32_t *tokens, int32_t capacity, uint32_t flags);
int32_t dw_llama_token_text(const struct llama_vocab *vocab, int32_t token, char *text,
                            int32_t capacity, bool special);
/* False where it threw. */
bool dw_llama_sampler_apply(struct llama_sampler *sampler, struct llama_token_data_array *list);
/* DRY with the parameters of `params`. NULL where it threw. */
struct llama_sampler *dw_llama_dry(const struct llama_vocab *vocab, const dw_sampler_params *params,
                                   const char *const *breakers, size_t count);

#ifdef __cplusplus
}
#endif
#endif
