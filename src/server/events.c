#include "server/events.h"

#include <stdlib.h>
#include <string.h>

#include "server/text.h"

#define BACKLOG_MAX ((size_t)1 << 20) /* that a client has not read */
#define BACKLOG_LOW ((size_t)1 << 18)

void dw_events_begin(dw_exchange *exchange, bool *begun)
{
    if (!*begun) {
        *begun = true;
        dw_exchange_begin(exchange, 200, "text/event-stream; charset=utf-8");
    }
}

static bool add(dw__text *to, const char *text)
{
    return dw__text_add(to, text, strlen(text));
}

bool dw_events_put(dw_exchange *exchange, bool *begun, const char *type, json_t *event)
{
    dw__text lines = {.bytes = NULL};
    char *text = json_dumps(event, JSON_COMPACT);
    dw_events_begin(exchange, begun);
    bool typed = type == NULL || (add(&lines, "event: ") && add(&lines, type) && add(&lines, "\n"));
    if (text != NULL && typed && add(&lines, "data: ") && add(&lines, text) &&
        add(&lines, "\n\n")) {
        dw_exchange_write(exchange, lines.bytes, lines.count);
    }
    free(text);
    json_decref(event);
    dw__text_free(&lines);
    return dw_exchange_backlog(exchange) > BACKLOG_MAX;
}

bool dw_events_caught_up(const dw_exchange *exchange)
{
    return dw_exchange_backlog(exchange) < BACKLOG_LOW;
}
