/* Where tokens are put. */
#ifndef DW_TOKENIZER_TOKEN_LIST_H
#define DW_TOKENIZER_TOKEN_LIST_H

#include "base/stop.h"

/* Room of the caller's: tokens [capacity]; functions set `count` to how many there are, which may
 * be more than there is room for. */
typedef struct dw_token_list {
    int32_t *tokens;
    size_t capacity;
    size_t count;
    dw_stop *stop; /* asked while a text is tokenised; may be NULL */
} dw_token_list;

static inline void dw_token_list_add(dw_token_list *list, int32_t token)
{
    if (list->count < list->capacity) {
        list->tokens[list->count] = token;
    }
    list->count++;
}

#endif
