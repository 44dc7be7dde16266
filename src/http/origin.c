/* Whose page a request of a browser comes from. A page of any site may make a browser send requests
 * to this machine, and a name that its owner lets point here makes them look like its own. */
#include "http/origin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The part of "http://HOST:PORT" behind the scheme; NULL: another form ("null"). */
static const char *host_of(const char *origin)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(origin, schemes[i], length) == 0) {
            return origin + length;
        }
    }
    return NULL;
}

static bool is_allowed(const dw_origins *origins, const char *origin)
{
    for (size_t i = 0; i < origins->count; i++) {
        const char *allowed = origins->allowed[i];
        if (strcmp(allowed, "*") == 0 || strcasecmp(allowed, origin) == 0) {
            return true;
        }
    }
    return false;
}

/* "127.0.0.1:8080", "[::1]", "localhost:80", "a.localhost": nobody else's name. */
static bool is_literal(const char *host)
{
    static const char local[] = "localhost";
    size_t length = strcspn(host, ":");
    size_t tail = sizeof local - 1;
    if (host[0] == '[') {
        return true;
    }
    if (length >= tail && strncasecmp(host + length - tail, local, tail) == 0 &&
        (length == tail || host[length - tail - 1] == '.')) {
        return true;
    }
    return length > 0 && strspn(host, "0123456789.") == length;
}

static bool is_known_host(const dw_origins *origins, const char *host)
{
    for (size_t i = 0; i < origins->count; i++) {
        const char *allowed = host_of(origins->allowed[i]);
        if (allowed != NULL && strcasecmp(allowed, host) == 0) {
            return true;
        }
    }
    return is_literal(host);
}

const char *dw_origin_fault(const dw_origins *origins, const dw_exchange *exchange)
{
    const char *origin = dw_exchange_header(exchange, "origin");
    const char *host = dw_exchange_header(exchange, "host");
    if (origin != NULL) {
        const char *named = host_of(origin);
        bool own = named != NULL && host != NULL && strcasecmp(named, host) == 0;
        if (!own && !is_allowed(origins, origin)) {
            return "this page's origin is not allowed (--allow-origin)";
        }
    }
    bool reached = !dw_exchange_is_unix(exchange); /* no name points to a socket file */
    if (reached && !origins->any_host && host != NULL && !is_known_host(origins, host)) {
        return "Host: a name that this server does not know: use its address, or --allow-origin";
    }
    return NULL;
}

void dw_origin_headers(const dw_origins *origins, dw_exchange *exchange)
{
    const char *origin = dw_exchange_header(exchange, "origin");
    if (origin == NULL || !is_allowed(origins, origin)) {
        return;
    }
    dw_exchange_set_header(exchange, "Access-Control-Allow-Origin", origin);
    dw_exchange_set_header(exchange, "Vary", "Origin");
    if (dw_exchange_method(exchange) == DW_HTTP_OPTIONS) {
        const char *headers = dw_exchange_header(exchange, "access-control-request-headers");
        dw_exchange_set_header(exchange, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
        dw_exchange_set_header(exchange, "Access-Control-Allow-Headers",
                               headers != NULL ? headers : "authorization, content-type");
        dw_exchange_set_header(exchange, "Access-Control-Max-Age", "600");
    }
}
