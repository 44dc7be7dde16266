/* English for prompts: passages of a text, or of sentences made from ordinary words. */
#ifndef BENCH_TEXTS_H
#define BENCH_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "driftwood.h"

typedef struct bench_text bench_text;

/* Of the file at `path`, or NULL: one of its own. `model` counts the tokens, and outlives it. Ends
 * the program where that fails. */
bench_text *bench_text_open(const char *path, const dw_model *model);
void bench_text_close(bench_text *text);

/* Write a passage of `tokens` tokens, to within one or two: the same for the same `number`, and two
 * numbers' are unlike from their first words on. It has nothing that JSON would have escaped. A NUL
 * is put behind it. -> its bytes */
size_t bench_text_passage(const bench_text *text, uint64_t number, uint32_t tokens, char *to,
                          size_t capacity);

#endif
