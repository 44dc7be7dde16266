/* The tokens of a context. A fork shares its parent's until one of them writes where the other
 * reads: the one who made the list may go on behind what others know of it, the others copy.
 * Private to src/inference. Thread: a history belongs to its context; lists are counted
 * atomically. */
#ifndef DW_INFERENCE_TOKEN_HISTORY_H
#define DW_INFERENCE_TOKEN_HISTORY_H

#include "base/status.h"

struct dw__token_list;

typedef struct dw__token_history {
    struct dw__token_list *list; /* counted; NULL: none */
    int32_t *tokens;             /* the list's */
    uint32_t known;              /* tokens that others may read, while there are others */
} dw__token_history;

/* Make tokens [from, room) writable, of which those up to `length` are held and stay as they are.
 * Errors: DW_E_MEMORY; the history is then as it was. */
dw_status dw__token_history_reserve(dw__token_history *history, uint32_t length, uint32_t from,
                                    uint32_t room, dw_error *err);
/* Make an empty history one of the parent's `length` tokens. */
void dw__token_history_fork(dw__token_history *history, dw__token_history *parent, uint32_t length);
void dw__token_history_release(dw__token_history *history);

#endif
