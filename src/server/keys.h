/* Who may ask: keys, of which the SHA-256 stands in a file, and whose they are.
 * Thread: any; immutable once read. */
#ifndef DW_SERVER_KEYS_H
#define DW_SERVER_KEYS_H

#include "driftwood.h"
#include "server/http.h"

typedef struct dw_keys dw_keys;

/* Text [bytes]: lines "TENANT SHA256", the latter of the key in hexadecimal digits; "-" is the
 * tenant "". Empty lines, and what is behind a '#' at a line's start, do not count. Errors:
 * DW_E_FORMAT (the line), DW_E_LIMIT (65,536 keys), DW_E_MEMORY. */
dw_status dw_keys_read(dw_keys **out, const char *text, size_t bytes, dw_error *err);
void dw_keys_destroy(dw_keys *keys);
/* The tenant of the key that the request has (Authorization: Bearer, or x-api-key), until `keys`
 * goes. NULL: it has none that is known. `keys` NULL: anybody's are "". The time does not tell how
 * much of a key was right. */
const char *dw_keys_tenant(const dw_keys *keys, const dw_exchange *exchange);
/* The tenants there are, each once: the next from *at on, which begins as 0; NULL: no more. */
const char *dw_keys_next_tenant(const dw_keys *keys, size_t *at);

#endif
