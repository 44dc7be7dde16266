/* The text of every token at once, in the order of its bytes: what a grammar walks. Immutable once
 * made. Thread: any. */
#ifndef DW_TEXT_TOKEN_TEXTS_H
#define DW_TEXT_TOKEN_TEXTS_H

#include "base/status.h"

typedef struct dw_token_texts {
    uint32_t count;            /* of tokens */
    uint32_t longest;          /* bytes */
    char *bytes;               /* the texts, one behind the other */
    uint32_t *starts;          /* [count + 1]: into bytes */
    uint32_t *order;           /* [count]: tokens by their bytes */
    unsigned char *is_end;     /* [count]: whether a generation ends there */
    unsigned char *is_control; /* [count]: whether its text is only a name */
} dw_token_texts;

/* Write the text of one token, a control token's too, to text [capacity] -> its bytes, or less than
 * 0: the need. */
typedef int32_t (*dw_token_text_fn)(const void *user, int32_t token, char *text, int32_t capacity);

/* is_end and is_control are zeros, for the caller to set.
 * Errors: DW_E_MEMORY, DW_E_LIMIT (texts of more than 4 GiB in all). */
dw_status dw_token_texts_make(dw_token_texts *out, uint32_t count, dw_token_text_fn text_of,
                              const void *user, dw_error *err);
void dw_token_texts_release(dw_token_texts *texts);

#endif
