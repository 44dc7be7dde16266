/* Getting files from elsewhere: fetch_curl.c by libcurl; fetch_none.c, built without it. */
#ifndef DW_CLI_FETCH_H
#define DW_CLI_FETCH_H

#include "cli/cli.h"

typedef struct dw_cli_fetch {
    const char *url;   /* http or https; redirects are followed, from https to https alone */
    const char *token; /* for the host of the URL, and no other; NULL: none */
    uint64_t from;     /* the first byte that is wanted */
    /* NULL: it is asked for; else sent [body_bytes], as bytes of no type. It goes to that address
     * alone: no redirect is followed. */
    const void *body;
    size_t body_bytes;
    bool (*is_left)(
        void *user); /* asked now and then: true: it is not wanted any more; may be NULL */
    /* Of the body, in order; a negative value ends it. `first` is where the answer begins: `from`,
     * or 0 where the other side gives but the whole. */
    ptrdiff_t (*on_bytes)(void *user, uint64_t first, const unsigned char *bytes, size_t count);
    /* Now and then; `total` 0: it is not known. */
    void (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} dw_cli_fetch;

typedef struct dw_cli_fetched {
    long status;     /* HTTP's */
    char sha256[65]; /* of the whole, as x-linked-etag has it; "": it does not say */
    char next[1024]; /* the next page's URL, of a list; "": none */
} dw_cli_fetched;

bool dw_cli_can_fetch(void);
/* Errors: DW_E_IO (with the reason; what came by then was handed on), DW_E_NOT_FOUND, DW_E_DENIED
 * (401, 403), DW_E_RANGE (`from` is not 0, and the other side gives but the whole),
 * DW_E_CANCELLED (is_left), DW_E_UNSUPPORTED (built without libcurl). */
dw_status dw_cli_fetch_url(const dw_cli_fetch *what, dw_cli_fetched *result, dw_error *err);

/* catalogue.c: models by names of our own. */
typedef struct dw_cli_known_model {
    const char *name;
    const char *repo; /* OWNER/REPO */
    const char *quant;
    const char *what; /* it can do */
} dw_cli_known_model;

/* NULL: there are no more. */
const dw_cli_known_model *dw_cli_known_model_at(size_t index);
/* By `name` [length], in any case of letters; NULL: there is none. */
const dw_cli_known_model *dw_cli_known_model_find(const char *name, size_t length);
/* "NAME[:QUANT]" -> "hf:OWNER/REPO:QUANT", address [capacity]. Errors: DW_E_NOT_FOUND,
 * DW_E_LIMIT. */
dw_status dw_cli_known_address(const char *name, char *address, size_t capacity, dw_error *err);

/* pull.c: the model that "hf:OWNER/REPO[:QUANT]" names, in the cache, fetched if it is not there ->
 * path of its (first) file. Errors: those of dw_cli_fetch_url; DW_E_ARG, DW_E_FORMAT (not what its
 * hash says). */
dw_status dw_cli_pull_model(const char *name, char *path, size_t capacity, dw_error *err);

#endif
