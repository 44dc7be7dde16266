/* What a request asks of its conversation, by headers or by its member `driftwood`.
 * Thread: the loop's. */
#ifndef DW_SERVING_TERMS_H
#define DW_SERVING_TERMS_H

#include "serving/params.h"

#define DW_SESSION_MAX 48

typedef struct dw_terms {
    char session[DW_SESSION_MAX +
                 1]; /* the name that it goes on under; "": it is found by its text */
    char parent[DW_SESSION_MAX + 1]; /* a session that is not there yet begins as a copy of it */
    int priority;                    /* of dw_priority; -1: none is asked for */
    int pinned;                      /* 0, 1; -1: nothing is asked for */
} dw_terms;

/* x-driftwood-session, -parent, -priority, -pin; or members of `driftwood` without the prefix,
 * which come first. `body` may be NULL. */
void dw_terms_read(dw_terms *terms, const dw_exchange *exchange, const json_t *body,
                   dw_fault *fault);

#endif
