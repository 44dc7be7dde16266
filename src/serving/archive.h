/* Responses and conversations of OpenAI's that clients ask for again by their ids: what was said to
 * them and answered. In a file of the state folder.
 *
 * A response has the items of its input and of its answer, and the response before it; what a
 * conversation consists of is a list of items. Items are JSON, as the routes have them. Responses
 * that go on from one another are a thread: whole threads are forgotten, those used longest ago.
 * Thread: any but the loop's, since it waits for the disk. */
#ifndef DW_SERVING_ARCHIVE_H
#define DW_SERVING_ARCHIVE_H

#include <jansson.h>

#include "base/status.h"

typedef struct dw_archive dw_archive;

/* Errors: those of dw_journal_open. */
dw_status dw_archive_open(dw_archive **out, const char *path, dw_error *err);
void dw_archive_close(dw_archive *archive);

/* ---- responses ---- */

typedef struct dw_archive_response {
    const char *tenant;
    const char *id;
    const char *previous; /* NULL: it begins a thread */
    const json_t *body;   /* the response, whose output are its items */
    const json_t *input;  /* items */
} dw_archive_response;

/* It is kept when this returns, in the place of one of its id. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_put(dw_archive *archive, const dw_archive_response *response, dw_error *err);
/* Either may be NULL; the caller's. Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_get(dw_archive *archive, const char *tenant, const char *id, json_t **body,
                         json_t **input, dw_error *err);
/* Its items and those of all responses before it, input and output, in their order, appended to
 * `items`. Errors: DW_E_NOT_FOUND (one of them is not there), DW_E_LIMIT, DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_get_thread(dw_archive *archive, const char *tenant, const char *id,
                                json_t *items, dw_error *err);
/* The items whose ids are members of `ids`, of the answer of any response, as members of `items` by
 * their ids; those that are not there are left out, and after an error some are there. Errors:
 * DW_E_LIMIT, DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_find_items(dw_archive *archive, const char *tenant, const json_t *ids,
                                json_t *items, dw_error *err);
/* Errors: DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_archive_delete(dw_archive *archive, const char *tenant, const char *id, dw_error *err);
/* The threads used longest ago go, until there are `keep` responses. */
dw_status dw_archive_trim(dw_archive *archive, uint64_t keep, dw_error *err);

/* ---- conversations ---- */

/* `about` is the conversation, with its id; one that is there gets it anew. Errors: DW_E_IO. */
dw_status dw_archive_put_conversation(dw_archive *archive, const char *tenant, const char *id,
                                      const json_t *about, dw_error *err);
/* The conversation; the caller's. Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_get_conversation(dw_archive *archive, const char *tenant, const char *id,
                                      json_t **about, dw_error *err);
/* Those used longest ago go, until there are `keep`. */
dw_status dw_archive_trim_conversations(dw_archive *archive, uint64_t keep, dw_error *err);
dw_status dw_archive_delete_conversation(dw_archive *archive, const char *tenant, const char *id,
                                         dw_error *err);
/* Items with their ids, behind those that there are, all or none. Errors: DW_E_NOT_FOUND, DW_E_IO,
 * DW_E_STATE (one of that id is there). */
dw_status dw_archive_add_items(dw_archive *archive, const char *tenant, const char *id,
                               const json_t *items, dw_error *err);
/* All of them appended to `items`. Errors: DW_E_NOT_FOUND, DW_E_LIMIT, DW_E_IO, DW_E_MEMORY. */
dw_status dw_archive_get_items(dw_archive *archive, const char *tenant, const char *id,
                               json_t *items, dw_error *err);
/* Errors: DW_E_NOT_FOUND (either), DW_E_IO. */
dw_status dw_archive_delete_item(dw_archive *archive, const char *tenant, const char *id,
                                 const char *item, dw_error *err);

#endif
