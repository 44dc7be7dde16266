/* Which pages a browser may send requests for. Thread: the loop's. */
#ifndef DW_HTTP_ORIGIN_H
#define DW_HTTP_ORIGIN_H

#include "http/http.h"

typedef struct dw_origins {
    char **allowed; /* [count]: "https://chat.example", or "*" */
    size_t count;
    bool any_host; /* a name in Host needs not be known: who asks gives a key, or may be anybody */
} dw_origins;

/* Why a request is refused; NULL: it is not. A request without Origin, which no page sent, is
 * judged by its Host alone. */
const char *dw_origin_fault(const dw_origins *origins, const dw_exchange *exchange);
/* What lets the page of an allowed origin read the answer. */
void dw_origin_headers(const dw_origins *origins, dw_exchange *exchange);

#endif
