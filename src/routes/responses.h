/* OpenAI's /v1/responses and /v1/conversations: what their files share. Items are what requests and
 * answers consist of: messages, reasoning, calls of tools and their outputs. */
#ifndef DW_ROUTES_RESPONSES_H
#define DW_ROUTES_RESPONSES_H

#include "serving/archive.h"
#include "serving/openai.h"
#include "serving/reply.h"

/* ---- response_items.c ---- */

#define DW__ITEMS_MAX 65536 /* of one request */

/* The ids that item_references of a list name, as members of an object; the caller's. An item may
 * be referred to once: else a short request says the longest of them as often as it likes. `fault`
 * says that, or that there are more than DW__ITEMS_MAX items. */
json_t *dw__items_referred(const json_t *input, const char *param, dw_fault *fault);
/* A request's `input`, or `items` of a conversation, as a list of items of which each has its id;
 * the caller's. `known`: items that item_reference may name, by their
 * ids, or NULL. NULL: `fault` says why. */
json_t *dw__items_read(const json_t *input, const char *param, const json_t *known,
                       dw_fault *fault);
/* The items as messages of a chat, appended to `messages`. */
void dw__items_chat(const json_t *items, json_t *messages, dw_fault *fault);
/* Which part of a list is wanted. */
typedef struct dw__page {
    uint32_t limit;
    bool newest_first;
    char after[128]; /* an item's id; "": from the first */
} dw__page;
/* `limit`, `order` and `after` of the query; without them 20 of the newest. */
dw__page dw__page_read(const dw_exchange *exchange, dw_fault *fault);
/* {"object": "list", "data"...}; the caller's. */
json_t *dw__items_page(const json_t *items, const dw__page *page);

/* ---- response_request.c ---- */

/* The chat that a request asks for, behind `before` (NULL: nothing); the caller's. NULL: `fault`
 * says why. Tools that the maker's own server runs are left out: a model never calls them. */
json_t *dw__response_chat(const json_t *body, const json_t *before, const json_t *input,
                          dw_fault *fault);
/* Of the guest's message what a request says of generation, but for its prompt. */
json_t *dw__response_message(const json_t *body, dw_fault *fault);
/* Members of a response that are the request's; the caller's. */
json_t *dw__response_head(const json_t *body);
/* What is to be known of tools by their names: {"custom": whether it takes any text, "namespace"};
 * plain functions are not in it. */
json_t *dw__response_tools(const json_t *body);
/* Whether `include` of a request has it. */
bool dw__response_includes(const json_t *body, const char *what);

/* ---- responses.c ---- */

/* A response under way as clients see it; the caller's. NULL: it is none. */
json_t *dw__response_now(dw_reply *reply);

#endif
