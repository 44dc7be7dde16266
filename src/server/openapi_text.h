/* What openapi.c says of routes beyond the tables: a summary, schemas, parameters of queries. */
#ifndef DW_SERVER_OPENAPI_TEXT_H
#define DW_SERVER_OPENAPI_TEXT_H

#include "http/http.h"

typedef struct dw__route_text {
    dw_http_method method;
    const char *path;
    const char *summary;
    const char *request;  /* a schema's name; NULL: none */
    const char *response; /* likewise; NULL: an object */
    const char *query;    /* "limit:integer after:string"; NULL: none */
} dw__route_text;

/* Row `index`; NULL: there are no more. */
const dw__route_text *dw__route_text_at(size_t index);
/* A member of "components.schemas", as JSON has it: "name":{...}; NULL: there are no more. */
const char *dw__schema_at(size_t index);

#endif
