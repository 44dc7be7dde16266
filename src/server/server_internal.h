/* What the files of this folder share. */
#ifndef DW_SERVER_SERVER_INTERNAL_H
#define DW_SERVER_SERVER_INTERNAL_H

#include "serving/serving.h"

/* dw_http_options.on_request, takes_body, on_answer. */
void dw__route(void *user, dw_exchange *exchange);
bool dw__takes_body(void *user, const dw_exchange *exchange);
void dw__count_answer(void *user, const dw_exchange *exchange, int status);

#endif
