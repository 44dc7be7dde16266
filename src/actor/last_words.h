/* What a guest wrote to standard error last, for the error of a message that failed: languages tell
 * there which exception or panic it was, and hand the host a number at most.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DW_ACTOR_LAST_WORDS_H
#define DW_ACTOR_LAST_WORDS_H

#include <stddef.h>

typedef struct dw_last_words {
    unsigned char *bytes; /* the last of them; NULL: there are none */
    size_t count;
} dw_last_words;

/* Appends to what is kept, of which the newest stay. Without memory nothing is kept. */
void dw_last_words_put(dw_last_words *words, const unsigned char *bytes, size_t count);
/* ": " and the line that says what happened, with as many of the lines that belong to it as there
 * is room for, behind the text in `text` [capacity, with its NUL: 184 at least], which is cut
 * for it. UTF-8 without control characters. Nothing where nothing was written. */
void dw_last_words_append(const dw_last_words *words, char *text, size_t capacity);
void dw_last_words_release(dw_last_words *words);

#endif
