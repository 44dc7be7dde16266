#include "server/keys.h"

#include <nettle/memops.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/hash.h"

#define KEYS_MAX 65536

typedef struct key {
    uint8_t digest[DW_SHA256_BYTES];
    char tenant[DW_TENANT_NAME_MAX + 1];
} key;

struct dw_keys {
    key *items; /* [count] */
    size_t count;
    size_t capacity;
};

static dw_status add_line(dw_keys *keys, const char *line, size_t bytes, size_t number,
                          dw_error *err)
{
    const char *blank = memchr(line, ' ', bytes);
    size_t name = blank != NULL ? (size_t)(blank - line) : 0;
    char digits[2 * DW_SHA256_BYTES + 1] = "";
    if (name == 0 || name > DW_TENANT_NAME_MAX || bytes - name - 1 != sizeof digits - 1) {
        return dw_fail(err, DW_E_FORMAT, "keys: line %zu is not \"TENANT SHA256\"", number);
    }
    if (keys->count == KEYS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "keys: more than %d", KEYS_MAX);
    }
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity * 2 + 16;
        key *items = dw_realloc(keys->items, capacity, sizeof *items);
        if (items == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for keys");
        }
        keys->items = items;
        keys->capacity = capacity;
    }
    key *one = &keys->items[keys->count];
    *one = (key){.tenant = ""};
    memcpy(digits, blank + 1, sizeof digits - 1);
    if (!dw_hex_parse(one->digest, sizeof one->digest, digits)) {
        return dw_fail(err, DW_E_FORMAT, "keys: line %zu has no SHA-256", number);
    }
    bool nobody = name == 1 && line[0] == '-';
    memcpy(one->tenant, line, nobody ? 0 : name);
    keys->count++;
    return DW_OK;
}

dw_status dw_keys_read(dw_keys **out, const char *text, size_t bytes, dw_error *err)
{
    dw_keys *keys = dw_alloc(1, sizeof *keys);
    dw_status status = keys != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for keys");
    size_t number = 1;
    for (const char *at = text, *end = text + bytes; status == DW_OK && at < end; number++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((line_end != NULL ? line_end : end) - at);
        size_t kept = length > 0 && at[length - 1] == '\r' ? length - 1 : length;
        if (kept > 0 && at[0] != '#') {
            status = add_line(keys, at, kept, number, err);
        }
        at += length + 1;
    }
    if (status != DW_OK) {
        dw_keys_destroy(keys);
        return status;
    }
    *out = keys;
    return DW_OK;
}

void dw_keys_destroy(dw_keys *keys)
{
    if (keys != NULL) {
        dw_free(keys->items);
        dw_free(keys);
    }
}

const char *dw_keys_tenant(const dw_keys *keys, const dw_exchange *exchange)
{
    static const char bearer[] = "bearer ";
    uint8_t digest[DW_SHA256_BYTES];
    const char *tenant = NULL;
    if (keys == NULL) {
        return "";
    }
    const char *given = dw_exchange_header(exchange, "authorization");
    if (given != NULL && strncasecmp(given, bearer, sizeof bearer - 1) == 0) {
        given += sizeof bearer - 1;
    } else {
        given = dw_exchange_header(exchange, "x-api-key");
    }
    if (given == NULL) {
        return NULL;
    }
    dw_sha256(digest, given, strlen(given));
    for (size_t i = 0; i < keys->count; i++) { /* all of them, whichever it is */
        tenant = memeql_sec(digest, keys->items[i].digest, sizeof digest) ? keys->items[i].tenant
                                                                          : tenant;
    }
    return tenant;
}

const char *dw_keys_next_tenant(const dw_keys *keys, size_t *at)
{
    while (keys != NULL && *at < keys->count) {
        const char *tenant = keys->items[(*at)++].tenant;
        bool seen = false;
        for (size_t i = 0; i + 1 < *at && !seen; i++) {
            seen = strcmp(keys->items[i].tenant, tenant) == 0;
        }
        if (!seen) {
            return tenant;
        }
    }
    return NULL;
}
