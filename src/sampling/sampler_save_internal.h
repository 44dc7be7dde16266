/* What the files that save samplers share. Errors of all that load: DW_E_FORMAT (naming the key),
 * DW_E_MEMORY. NULL of those that save: no memory. */
#ifndef DW_SAMPLING_SAMPLER_SAVE_INTERNAL_H
#define DW_SAMPLING_SAMPLER_SAVE_INTERNAL_H

#include "sampling/sampler_internal.h"

/* tokens [count] of a ring of `capacity`, the oldest first. */
json_t *dw__save_ring(const int32_t *ring, uint32_t first, uint32_t count, uint32_t capacity);
/* Bytes that may be anything, as hexadecimal digits. */
json_t *dw__save_bytes(const void *bytes, size_t count);

dw_status dw__load_whole(const json_t *value, const char *key, int64_t min, int64_t max,
                         int64_t *whole, dw_error *err);
/* saved[key], a list of at most `max`. */
dw_status dw__load_list(const json_t *saved, const char *key, size_t max, const json_t **list,
                        dw_error *err);
/* Hexadecimal digits to bytes [*count], with a NUL behind them; the caller's. */
dw_status dw__load_bytes(const json_t *value, const char *key, char **out, size_t *count,
                         dw_error *err);
dw_status dw__load_token(const dw_sampler *sampler, const json_t *list, size_t index,
                         const char *key, int32_t *token, dw_error *err);

/* ---- sampler_save_grammar.c ---- */

json_t *dw__save_grammar(const dw_sampler *sampler);
/* Errors: also those of setting the grammar and of its tokens. */
dw_status dw__load_grammar(dw_sampler *sampler, const dw_vocab *vocab, const json_t *saved,
                           dw_error *err);

#endif
