/* Answers as server-sent events. `*begun` is the answer's: whether its head is out.
 * Thread: the loop's. */
#ifndef DW_SERVER_EVENTS_H
#define DW_SERVER_EVENTS_H

#include <jansson.h>

#include "server/http.h"

void dw_events_begin(dw_exchange *exchange, bool *begun);
/* An event, which is released; `type` NULL: it has none. true: the client is so far behind that
 * nothing more should be made for it until dw_events_caught_up. */
bool dw_events_put(dw_exchange *exchange, bool *begun, const char *type, json_t *event);
bool dw_events_caught_up(const dw_exchange *exchange);

#endif
