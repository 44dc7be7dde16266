/* Clients that change a line of their system prompt in each request, as one that tells the time:
 * no two requests would begin alike, and all would be computed again. The prompt stays as the
 * conversation's first request had it; a line that is another now stands behind the user's message
 * that it came with, there also in later requests. docs/http.md has the rules by which lines count.
 * Thread: any but the loop's. */
#ifndef DW_SERVING_STEADY_H
#define DW_SERVING_STEADY_H

#include <jansson.h>

#include "serving/index.h"

/* The chat with its prompt kept steady: changed in place. -> what dw_steady_save is to be given,
 * the caller's; NULL: there is no prompt that could change. */
json_t *dw_steady_apply(dw_index *index, const char *scope, json_t *chat);
/* The conversation, which the actor holds, was answered with `message`. */
void dw_steady_save(dw_index *index, const char *scope, json_t *state, const json_t *message,
                    const char *actor);

#endif
