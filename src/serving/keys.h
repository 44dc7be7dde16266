/* Who may ask: keys, of which the SHA-256 stands in a file, whose they are, and how much they may
 * ask for in a minute.
 * Thread: any, but for dw_keys_admit and _spend: one. */
#ifndef DW_SERVING_KEYS_H
#define DW_SERVING_KEYS_H

#include "driftwood.h"
#include "http/http.h"

typedef struct dw_keys dw_keys;

#define DW_NO_KEY SIZE_MAX

/* Text [bytes]: lines "TENANT SHA256 [requests=N] [tokens=N]", the second of the key in hexadecimal
 * digits, the others a minute; "-" is the tenant "". Empty lines, and what is behind a '#' at a
 * line's start, do not count. Errors: DW_E_FORMAT (the line), DW_E_LIMIT (65,536 keys),
 * DW_E_MEMORY. */
dw_status dw_keys_read(dw_keys **out, const char *text, size_t bytes, dw_error *err);
void dw_keys_destroy(dw_keys *keys);
/* The tenant of the key that the request has (Authorization: Bearer, or x-api-key), until `keys`
 * goes. NULL: it has none that is known. `keys` NULL: anybody's are "". The time does not tell how
 * much of a key was right. */
const char *dw_keys_tenant(const dw_keys *keys, const dw_exchange *exchange);
/* Which key the request has; DW_NO_KEY: none that is known. */
size_t dw_keys_find(const dw_keys *keys, const dw_exchange *exchange);

/* What a key may still do. */
typedef struct dw_key_room {
    uint64_t limit; /* a minute; 0: any number */
    uint64_t left;
    uint64_t full_ms; /* until there is as much as the limit */
    uint64_t wait_ms; /* until there is enough for a request; 0: there is */
} dw_key_room;

/* One more request: false: there is no room for it, and it is not counted. Tokens are subtracted
 * when they are known (dw_keys_spend): while any are left, requests are taken. `now_ms`: of any
 * clock that does not go back, which began at 0 or later. */
bool dw_keys_admit(dw_keys *keys, size_t index, uint64_t now_ms, dw_key_room *requests,
                   dw_key_room *tokens);
void dw_keys_spend(dw_keys *keys, size_t index, uint64_t tokens);
/* The tenants there are, each once: the next from *at on, which begins as 0; NULL: no more. */
const char *dw_keys_next_tenant(const dw_keys *keys, size_t *at);

#endif
