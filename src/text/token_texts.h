/* The text of every token at once, in the order of its bytes: what a grammar walks. Immutable once
 * made, but for what is made at first use. Thread: any. */
#ifndef DW_TEXT_TOKEN_TEXTS_H
#define DW_TEXT_TOKEN_TEXTS_H

#include "base/status.h"
#include "text/token_slice.h"

#define DW_TOKEN_SLICES_MAX 16U
#define DW_TOKEN_SLICES_BYTES_MAX ((size_t)24 << 20)

typedef struct dw_token_texts {
    uint32_t count;             /* of tokens */
    uint32_t longest;           /* bytes */
    char *bytes;                /* the texts, one behind the other */
    uint32_t *starts;           /* [count + 1]: into bytes */
    uint32_t *order;            /* [count]: tokens by their bytes */
    unsigned char *is_end;      /* [count]: whether a generation ends there */
    unsigned char *is_control;  /* [count]: whether its text is only a name */
    struct dw_token_tree *tree; /* for dw_token_texts_trie */
} dw_token_texts;

/* Write the text of one token, a control token's too, to text [capacity] -> its bytes, or less than
 * 0: the need. */
typedef int32_t (*dw_token_text_fn)(const void *user, int32_t token, char *text, int32_t capacity);

/* is_end and is_control are zeros, for the caller to set.
 * Errors: DW_E_MEMORY, DW_E_LIMIT (texts of more than 4 GiB in all). */
dw_status dw_token_texts_make(dw_token_texts *out, uint32_t count, dw_token_text_fn text_of,
                              const void *user, dw_error *err);
void dw_token_texts_release(dw_token_texts *texts);
/* Once there is a trie, a bit for each token: those without a text that counts, where control
 * tokens' counts (`spelled`) or not; and those that end a generation. As long as the texts. */
const uint64_t *dw_token_texts_silent(const dw_token_texts *texts, bool spelled);
const uint64_t *dw_token_texts_ends(const dw_token_texts *texts);
/* The slice of a set, ranges [count] sorted and apart, made at the first call for it. As long as
 * the texts. NULL: there are DW_TOKEN_SLICES_BYTES_MAX of them already, or there is no memory. */
const dw_token_slice *dw_token_texts_slice(const dw_token_texts *texts, const dw_char_range *ranges,
                                           uint32_t count);
/* The same as a tree, made at the first call. As long as the texts. Errors: DW_E_MEMORY. */
dw_status dw_token_texts_trie(const dw_token_texts *texts, const dw_token_trie **out,
                              dw_error *err);

#endif
