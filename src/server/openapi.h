/* What there is, for programs: an OpenAPI document, made of the tables that requests are routed by.
 * Thread: the loop's. */
#ifndef DW_SERVER_OPENAPI_H
#define DW_SERVER_OPENAPI_H

#include "hosting/host.h"

/* A route, wherever it is routed: of the table of routes that are spelled out, of those whose path
 * goes on, of actors'. false: there are no more. */
typedef struct dw__route_about {
    dw_http_method method; /* DW_HTTP_OTHER: any, and the path goes on */
    const char *path;
    unsigned takes; /* DW_TAKES_* */
} dw__route_about;
bool dw__route_at(size_t index, dw__route_about *about);

void dw__openapi_show(dw_server *server, dw_exchange *exchange);

#endif
