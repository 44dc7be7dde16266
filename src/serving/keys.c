#include "serving/keys.h"

#include <nettle/memops.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/utf8.h"

#define KEYS_MAX 65536

/* So many a minute: a bucket that fills while nothing is taken out. */
typedef struct bucket {
    double limit; /* a minute, and at most in it; 0: any number */
    double left;  /* at `at_ms`; below 0 where more was used than was known beforehand */
    uint64_t at_ms;
} bucket;

typedef struct key {
    uint8_t digest[DW_SHA256_BYTES];
    char tenant[DW_TENANT_NAME_MAX + 1];
    bucket requests;
    bucket tokens;
} key;

struct dw_keys {
    key *items; /* [count] */
    size_t count;
    size_t capacity;
};

/* " requests=N tokens=N", either or none. */
static dw_status read_limits(key *one, const char *text, size_t bytes, size_t number, dw_error *err)
{
    char words[128];
    char *rest = NULL;
    if (bytes >= sizeof words) {
        return dw_fail(err, DW_E_FORMAT, "keys: line %zu is too long", number);
    }
    memcpy(words, text, bytes);
    words[bytes] = '\0';
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        char *end = NULL;
        unsigned long long limit = equals != NULL ? strtoull(equals + 1, &end, 10) : 0;
        bucket *of = strncmp(word, "requests=", 9) == 0 ? &one->requests
                     : strncmp(word, "tokens=", 7) == 0 ? &one->tokens
                                                        : NULL;
        if (of == NULL || limit == 0 || limit > 1000000000 || *end != '\0') {
            return dw_fail(err, DW_E_FORMAT,
                           "keys: line %zu: '%.40s'; requests=N or tokens=N, a minute, is wanted",
                           number, word);
        }
        *of = (bucket){.limit = (double)limit, .left = (double)limit};
    }
    return DW_OK;
}

static dw_status add_line(dw_keys *keys, const char *line, size_t bytes, size_t number,
                          dw_error *err)
{
    const char *blank = memchr(line, ' ', bytes);
    size_t name = blank != NULL ? (size_t)(blank - line) : 0;
    char digits[2 * DW_SHA256_BYTES + 1] = "";
    size_t rest = bytes - name - 1;
    if (name == 0 || name > DW_TENANT_NAME_MAX || rest < sizeof digits - 1 ||
        (rest > sizeof digits - 1 && blank[sizeof digits] != ' ')) {
        return dw_fail(err, DW_E_FORMAT, "keys: line %zu is not \"TENANT SHA256\"", number);
    }
    if (!dw_text_is_utf8(line, name)) {
        return dw_fail(err, DW_E_FORMAT, "keys: line %zu: tenant '%.*s' is no UTF-8", number,
                       (int)name, line);
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
    return read_limits(one, blank + sizeof digits, rest - (sizeof digits - 1), number, err);
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

size_t dw_keys_find(const dw_keys *keys, const dw_exchange *exchange)
{
    static const char bearer[] = "bearer ";
    uint8_t digest[DW_SHA256_BYTES];
    size_t found = DW_NO_KEY;
    const char *given = dw_exchange_header(exchange, "authorization");
    if (given != NULL && strncasecmp(given, bearer, sizeof bearer - 1) == 0) {
        given += sizeof bearer - 1;
    } else {
        given = dw_exchange_header(exchange, "x-api-key");
    }
    if (given == NULL || keys == NULL) {
        return DW_NO_KEY;
    }
    dw_sha256(digest, given, strlen(given));
    for (size_t i = 0; i < keys->count; i++) { /* all of them, whichever it is */
        found = memeql_sec(digest, keys->items[i].digest, sizeof digest) ? i : found;
    }
    return found;
}

const char *dw_keys_tenant(const dw_keys *keys, const dw_exchange *exchange)
{
    size_t found = dw_keys_find(keys, exchange);
    if (keys == NULL) {
        return "";
    }
    return found != DW_NO_KEY ? keys->items[found].tenant : NULL;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void fill(bucket *of, uint64_t now_ms)
{
    double more = of->limit * (double)(now_ms - of->at_ms) / 60000;
    of->left = of->left + more < of->limit ? of->left + more : of->limit;
    of->at_ms = now_ms;
}

static dw_key_room room_of(const bucket *of, double wanted)
{
    double missing = wanted - of->left;
    return (dw_key_room){
        .limit = (uint64_t)of->limit,
        .left = of->left > 0 ? (uint64_t)of->left : 0,
        .full_ms = of->limit > 0 ? (uint64_t)((of->limit - of->left) / of->limit * 60000) : 0,
        .wait_ms = of->limit > 0 && missing > 0 ? (uint64_t)(missing / of->limit * 60000) + 1 : 0,
    };
}

bool dw_keys_admit(dw_keys *keys, size_t index, uint64_t now_ms, dw_key_room *requests,
                   dw_key_room *tokens)
{
    *requests = *tokens = (dw_key_room){.limit = 0};
    if (keys == NULL || index == DW_NO_KEY) {
        return true;
    }
    key *one = &keys->items[index];
    fill(&one->requests, now_ms);
    fill(&one->tokens, now_ms);
    *requests = room_of(&one->requests, 1);
    *tokens = room_of(&one->tokens, 1);
    if (requests->wait_ms > 0 || tokens->wait_ms > 0) {
        return false;
    }
    one->requests.left -= one->requests.limit > 0 ? 1 : 0;
    requests->left -= requests->limit > 0 ? 1 : 0;
    return true;
}

void dw_keys_spend(dw_keys *keys, size_t index, uint64_t tokens)
{
    if (keys != NULL && index != DW_NO_KEY) {
        key *one = &keys->items[index];
        one->tokens.left -= one->tokens.limit > 0 ? (double)tokens : 0;
    }
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
