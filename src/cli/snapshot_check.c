#include "cli/snapshot_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The limits of docs/snapshot.md. */
#define BLOCK 65536u
#define CLOSE_BLOCK 64u /* of headers of version 3 */
#define HEADER_MAX (UINT64_C(16) << 20)
#define FILE_MAX (UINT64_C(1) << 40)
#define COUNT_MAX 65536u
#define NAME_MAX_BYTES 64u
#define RANK_MAX 8u
#define DEPTH_MAX 4
#define JSON_VALUES_MAX (COUNT_MAX * 16u + 4096u)
#define PIECE ((size_t)1 << 20)

typedef enum role { ROLE_TENSOR, ROLE_FILLER, ROLE_SEAL } role;

/* What the header promises of one tensor. */
typedef struct promise {
    const char *name; /* the JSON's */
    uint64_t bytes;
    role role;
    uint8_t checksum[16];
} promise;

typedef struct check {
    FILE *stream;
    bool others_follow;
    dw_cli_snapshot_report *report;
    uint64_t position; /* bytes read so far */
    char *header;      /* with the 8 bytes of its length */
    size_t header_bytes;
    json_t *root;
    promise *promises;
    size_t promise_count;
    uint64_t data_bytes; /* promised so far */
    size_t filler_count;
    bool close; /* version 3: fillers end anywhere */
    XXH3_state_t *hash;
    uint8_t *piece; /* [PIECE], or all the data */
} check;

/* As the digest is written as text: the most significant byte first. */
static void hash_text_order(uint8_t digest[16], XXH128_hash_t hash)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(digest, canonical.digest, sizeof canonical.digest);
}

static void write_hex(char *text, const uint8_t *digest, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}

/* Exactly 2 * bytes lower-case digits and the end. */
static bool parse_hex(uint8_t *digest, size_t bytes, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * bytes) {
        return false;
    }
    for (size_t i = 0; i < 2 * bytes; i++) {
        const char *found = strchr(digits, text[i]);
        if (found == NULL) {
            return false;
        }
        uint8_t low = (uint8_t)(found - digits);
        digest[i / 2] = (uint8_t)(i % 2 == 0 ? low << 4 : digest[i / 2] | low);
    }
    return true;
}

static void *allocate(size_t count, size_t bytes)
{
    return calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
}

static bool fault(check *c, uint64_t byte, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Always false, so that it can be returned. */
static bool fault(check *c, uint64_t byte, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(c->report->fault, sizeof c->report->fault, format, args);
    va_end(args);
    /* It may quote the file's names, cut anywhere: ASCII on one line is left of them. */
    for (char *text = c->report->fault; *text != '\0'; text++) {
        *text = *text >= ' ' && *text <= '~' ? *text : '?';
    }
    c->report->fault_byte = byte;
    return false;
}

/* Where the header has the key; its first byte where that is not clear. */
static uint64_t where(const check *c, const char *key)
{
    char pattern[NAME_MAX_BYTES + 8];
    int length = snprintf(pattern, sizeof pattern, "\"%.64s\":", key);
    const char *found = memmem(c->header, c->header_bytes, pattern, (size_t)length);
    return found != NULL ? (uint64_t)(found - c->header) : 8;
}

static bool take(check *c, void *to, size_t bytes, const char *what)
{
    size_t count = fread(to, 1, bytes, c->stream);
    c->position += count;
    c->report->bytes = c->position;
    if (count == bytes) {
        return true;
    }
    if (ferror(c->stream)) {
        return fault(c, c->position, "%s: reading failed: %s", what, strerror(errno));
    }
    return fault(c, c->position, "%s: the file ends, %zu bytes too early", what, bytes - count);
}

/* ---- the header ---------------------------------------------------------------------------- */

static bool take_header(check *c)
{
    unsigned char length[8];
    if (!take(c, length, sizeof length, "header")) {
        return false;
    }
    uint64_t bytes = 0;
    for (int i = 7; i >= 0; i--) {
        bytes = bytes << 8 | length[i];
    }
    if (bytes > HEADER_MAX - 8) {
        return fault(c, 0, "header: %llu bytes, limit %llu: no snapshot?",
                     (unsigned long long)bytes, (unsigned long long)HEADER_MAX - 8);
    }
    c->header_bytes = (size_t)bytes + 8;
    c->header = allocate(c->header_bytes, 1);
    if (c->header == NULL) {
        return fault(c, 0, "header: no memory for %zu bytes", c->header_bytes);
    }
    memcpy(c->header, length, sizeof length);
    return take(c, c->header + 8, (size_t)bytes, "header");
}

/* Depth and number of values, before a parser spends memory on them. */
static bool within_limits(check *c, const char *json, size_t bytes, uint64_t byte)
{
    enum { OUTSIDE, INSIDE, ESCAPED } state = OUTSIDE;
    int depth = 0;
    uint32_t values = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (state == ESCAPED) {
            state = INSIDE;
        } else if (state == INSIDE) {
            state = json[i] == '\\' ? ESCAPED : json[i] == '"' ? OUTSIDE : INSIDE;
        } else {
            switch (json[i]) {
            case '"':
                state = INSIDE;
                break;
            case '{':
            case '[':
                depth++;
                values++;
                break;
            case ',':
                values++;
                break;
            case '}':
            case ']':
                depth = depth > 0 ? depth - 1 : 0;
                break;
            default:
                break;
            }
        }
        if (state == OUTSIDE && json[i] == '\0') { /* jansson passes over some */
            return fault(c, byte + i, "header: a NUL byte in JSON");
        }
        if (depth > DEPTH_MAX || values > JSON_VALUES_MAX) {
            return fault(c, byte + i, "header: JSON beyond %d levels or %u values", DEPTH_MAX,
                         JSON_VALUES_MAX);
        }
    }
    return true;
}

/* `text` is one JSON object and nothing else; NULL and a fault where it is not. */
static json_t *object_of(check *c, const char *text, size_t bytes, uint64_t byte)
{
    json_error_t why;
    if (!within_limits(c, text, bytes, byte)) {
        return NULL;
    }
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (value == NULL) {
        (void)fault(c, byte + (uint64_t)why.position, "header: %.100s", why.text);
    } else if (!json_is_object(value)) {
        (void)fault(c, byte, "header: no JSON object");
        json_decref(value);
        value = NULL;
    }
    return value;
}

static bool parse(check *c)
{
    size_t end = c->header_bytes;
    while (end > 8 && c->header[end - 1] == ' ') {
        end--;
    }
    if (end == 8 || c->header[8] != '{' || c->header[end - 1] != '}') {
        return fault(c, end == 8 || c->header[8] != '{' ? 8 : end - 1,
                     "header: no JSON object with spaces behind it");
    }
    c->root = object_of(c, c->header + 8, end - 8, 8);
    return c->root != NULL;
}

static const char *meta(const check *c, const char *key)
{
    return json_string_value(json_object_get(c->report->metadata, key));
}

/* Whether a description of an actor is within 4,194,304 values, of which an object counts 25, and
 * 16 levels. */
static bool described_within(const char *json)
{
    unsigned long values = 1;
    unsigned depth = 0;
    bool quoted = false;
    for (; *json != '\0'; json++) {
        if (quoted && *json == '\\' && json[1] != '\0') {
            json++;
        } else if (*json == '"') {
            quoted = !quoted;
        } else if (!quoted && strchr("{[,", *json) != NULL) {
            values += *json == '{' ? 25 : 1;
            depth += *json == '{' || *json == '[';
        } else if (!quoted && strchr("}]", *json) != NULL) {
            depth -= depth > 0;
        }
        if (values > 4194304 || depth > 16) {
            return false;
        }
    }
    return true;
}

static bool check_metadata(check *c)
{
    const char *key;
    json_t *value;
    json_t *metadata = json_object_get(c->root, "__metadata__");
    if (!json_is_object(metadata)) {
        return fault(c, 8, "no Driftwood snapshot: no __metadata__");
    }
    c->report->metadata = json_incref(metadata);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return fault(c, where(c, key), "__metadata__: '%.64s' is no string", key);
        }
        if ((strcmp(key, "actor") == 0 || strcmp(key, "settings") == 0) &&
            !described_within(json_string_value(value))) {
            return fault(c, where(c, key), "__metadata__: '%s' is beyond the limits of JSON", key);
        }
    }
    const char *format = meta(c, "format");
    const char *version = meta(c, "version");
    const char *kind = meta(c, "kind");
    const char *base = meta(c, "base");
    uint8_t digest[16];
    if (format == NULL || strcmp(format, "driftwood-snapshot") != 0) {
        return fault(c, where(c, "format"), "no Driftwood snapshot: format '%.40s'",
                     format != NULL ? format : "");
    }
    c->close = version != NULL && strcmp(version, "3") == 0;
    if (version == NULL || (!c->close && strcmp(version, "1") != 0 && strcmp(version, "2") != 0)) {
        return fault(c, where(c, "version"), "version %.20s, this program reads 1 to 3",
                     version != NULL ? version : "missing");
    }
    bool full = kind != NULL && strcmp(kind, "full") == 0;
    bool delta = kind != NULL && strcmp(kind, "delta") == 0;
    if (!full && !delta) {
        return fault(c, where(c, "kind"), "kind '%.40s', full or delta is needed",
                     kind != NULL ? kind : "");
    }
    if (full ? base != NULL : base == NULL || !parse_hex(digest, sizeof digest, base)) {
        return fault(c, where(c, "base"), "base '%.40s' of a %s snapshot", base != NULL ? base : "",
                     kind);
    }
    const unsigned block = c->close ? CLOSE_BLOCK : BLOCK;
    if (c->header_bytes % block != 0) {
        return fault(c, 0, "header: %zu bytes with its length, no multiple of %u", c->header_bytes,
                     block);
    }
    return true;
}

/* ---- what it promises ---------------------------------------------------------------------- */

static bool good_name(const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        char c = name[length];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-')) {
            return false;
        }
    }
    return length >= 1 && length <= NAME_MAX_BYTES;
}

static uint64_t width_of(const char *dtype)
{
    static const char widths[][2][4] = {{"U8", "1"},  {"F16", "2"}, {"I32", "4"},
                                        {"U32", "4"}, {"F32", "4"}, {"I64", "8"}};
    for (size_t i = 0; dtype != NULL && i < sizeof widths / sizeof widths[0]; i++) {
        if (strcmp(dtype, widths[i][0]) == 0) {
            return (uint64_t)(widths[i][1][0] - '0');
        }
    }
    return 0;
}

/* The tensor's bytes; false: no such thing within the limits. */
static bool bytes_of(const json_t *shape, uint64_t width, uint64_t *bytes)
{
    if (!json_is_array(shape) || json_array_size(shape) > RANK_MAX || width == 0) {
        return false;
    }
    *bytes = width;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *length = json_array_get(shape, i);
        json_int_t value = json_integer_value(length);
        if (!json_is_integer(length) || value < 0 ||
            (value > 0 && *bytes > FILE_MAX / (uint64_t)value)) {
            return false;
        }
        *bytes *= (uint64_t)value;
    }
    return true;
}

/* Fillers are counted, and each ends where a block does; the seal is 16 bytes. */
static bool check_role(check *c, promise *p, size_t rank, bool u8)
{
    char expected[32];
    uint64_t end = c->data_bytes + p->bytes;
    if (strcmp(p->name, "seal") == 0) {
        p->role = ROLE_SEAL;
        return (u8 && rank == 1 && p->bytes == 16) ||
               fault(c, where(c, p->name), "seal: it is not U8 of [16]");
    }
    if (strncmp(p->name, "pad.", 4) != 0) {
        p->role = ROLE_TENSOR;
        return true;
    }
    p->role = ROLE_FILLER;
    (void)snprintf(expected, sizeof expected, "pad.%zu", c->filler_count++);
    return (u8 && rank == 1 && p->bytes > 0 && p->bytes < BLOCK && (c->close || end % BLOCK == 0) &&
            strcmp(p->name, expected) == 0) ||
           fault(c, where(c, p->name), "%s: no filler %s to the end of a block", p->name, expected);
}

static bool take_promise(check *c, const char *name, const json_t *value)
{
    promise *p = &c->promises[c->promise_count];
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    const json_t *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0);
    const json_t *end = json_array_get(offsets, 1);
    p->name = name;
    if (!good_name(name)) {
        return fault(c, where(c, name), "'%.64s': no name of a tensor", name);
    }
    if (json_object_size(value) != 3 || !bytes_of(shape, width_of(dtype), &p->bytes)) {
        return fault(c, where(c, name), "%s: dtype '%.20s' or shape", name,
                     dtype != NULL ? dtype : "");
    }
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end)) {
        return fault(c, where(c, name), "%s: data_offsets", name);
    }
    if (json_integer_value(begin) != (json_int_t)c->data_bytes ||
        json_integer_value(end) != (json_int_t)(c->data_bytes + p->bytes)) {
        return fault(
            c, where(c, name), "%s: data_offsets [%lld, %lld], [%llu, %llu] is where it lies", name,
            (long long)json_integer_value(begin), (long long)json_integer_value(end),
            (unsigned long long)c->data_bytes, (unsigned long long)(c->data_bytes + p->bytes));
    }
    if (!check_role(c, p, json_array_size(shape), strcmp(dtype, "U8") == 0)) {
        return false;
    }
    c->data_bytes += p->bytes;
    if (c->header_bytes + c->data_bytes > FILE_MAX) {
        return fault(c, where(c, name), "%s: it ends beyond %llu bytes", name,
                     (unsigned long long)FILE_MAX);
    }
    c->promise_count++;
    return true;
}

/* Names that snapshots of this program's actors have; `#` stands for a number. */
static bool is_known(const char *name)
{
    static const char *const known[] = {
        "module",      "messages",        "memory",        "memory.#",
        "memory.runs", "memory.#.runs",   "memory.blocks", "memory.data",
        "kv.#",        "memory.#.blocks", "memory.#.data", "kv.#.#",
        "tokens.#",    "tokens.#.#",      "table.#",       "logits.#.#"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *pattern = known[i];
        const char *at = name;
        while (*pattern != '\0' && (*pattern == *at || *pattern == '#')) {
            size_t digits = *pattern == '#' ? strspn(at, "0123456789") : 1;
            if (digits == 0) {
                break;
            }
            at += digits;
            pattern++;
        }
        if (*pattern == '\0' && *at == '\0') {
            return true;
        }
    }
    return false;
}

static void list(const check *c, const promise *p, const json_t *value, uint64_t offset)
{
    (void)json_array_append_new(
        c->report->tensors, json_pack("{s:s, s:O, s:O, s:I, s:I, s:b}", "name", p->name, "dtype",
                                      json_object_get(value, "dtype"), "shape",
                                      json_object_get(value, "shape"), "offset", (json_int_t)offset,
                                      "bytes", (json_int_t)p->bytes, "known", is_known(p->name)));
}

static bool take_promises(check *c)
{
    const char *name;
    json_t *value;
    size_t count = json_object_size(c->root) - 1; /* without __metadata__ */
    c->promises = count <= COUNT_MAX ? allocate(count, sizeof *c->promises) : NULL;
    if (c->promises == NULL) {
        return fault(c, 8, "header: %zu tensors, limit %u", count, COUNT_MAX);
    }
    json_object_foreach(c->root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        if (c->promise_count > 0 && c->promises[c->promise_count - 1].role == ROLE_SEAL) {
            return fault(c, where(c, name), "%.64s: it stands behind the seal", name);
        }
        uint64_t offset = c->header_bytes + c->data_bytes;
        if (!take_promise(c, name, value)) {
            return false;
        }
        const promise *p = &c->promises[c->promise_count - 1];
        if (p->role == ROLE_TENSOR) {
            list(c, p, value, offset);
            c->report->tensor_count++;
        }
    }
    return (c->promise_count > 0 && c->promises[c->promise_count - 1].role == ROLE_SEAL) ||
           fault(c, 8, "header: no seal at its end");
}

static bool take_checksums(check *c)
{
    uint64_t byte = where(c, "checksums");
    const char *text = meta(c, "checksums");
    if (text == NULL || text[0] != '{' || text[strlen(text) - 1] != '}') {
        return fault(c, byte, "checksums: no JSON object");
    }
    json_t *checksums = object_of(c, text, strlen(text), byte);
    bool good = checksums != NULL;
    if (good && json_object_size(checksums) != c->report->tensor_count) {
        good = fault(c, byte, "checksums: %zu, of %llu tensors", json_object_size(checksums),
                     (unsigned long long)c->report->tensor_count);
    }
    for (size_t i = 0; i < c->promise_count && good; i++) {
        promise *p = &c->promises[i];
        if (p->role == ROLE_TENSOR) {
            const char *digits = json_string_value(json_object_get(checksums, p->name));
            good =
                (digits != NULL && parse_hex(p->checksum, sizeof p->checksum, digits)) ||
                fault(c, byte, "checksums: '%.40s' for %s", digits != NULL ? digits : "", p->name);
        }
    }
    json_decref(checksums);
    return good;
}

/* ---- the data ------------------------------------------------------------------------------ */

static bool is_zero(check *c, const promise *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (c->piece[i] != 0) {
            return fault(c, c->position - bytes + i, "%s: a filler with a byte of %u", p->name,
                         c->piece[i]);
        }
    }
    return true;
}

/* The seal speaks of the header, so that a header that was changed is found here at the latest;
 * bytes in the header's middle are not told apart. */
static bool check_digest(check *c, const promise *p, uint64_t start)
{
    uint8_t found[16];
    uint8_t expected[16];
    char texts[2][33];
    hash_text_order(found, XXH3_128bits_digest(c->hash));
    memcpy(expected, p->checksum, sizeof expected);
    if (p->role == ROLE_SEAL) {
        memcpy(found, c->piece, sizeof found);
        hash_text_order(expected, XXH3_128bits(c->header, c->header_bytes));
        write_hex(c->report->identity, expected, sizeof expected);
    }
    if (memcmp(found, expected, sizeof found) == 0) {
        return true;
    }
    write_hex(texts[0], expected, sizeof expected);
    write_hex(texts[1], found, sizeof found);
    return p->role == ROLE_SEAL
               ? fault(c, start, "seal: %s, the header makes %s", texts[1], texts[0])
               : fault(c, start, "%s: checksum %s, its bytes make %s", p->name, texts[0], texts[1]);
}

static bool check_data(check *c)
{
    c->hash = XXH3_createState();
    c->piece = allocate(c->data_bytes < PIECE ? (size_t)c->data_bytes : PIECE, 1);
    if (c->hash == NULL || c->piece == NULL) {
        return fault(c, c->position, "no memory");
    }
    for (size_t i = 0; i < c->promise_count; i++) {
        const promise *p = &c->promises[i];
        uint64_t start = c->position;
        (void)XXH3_128bits_reset(c->hash);
        for (uint64_t left = p->bytes; left > 0;) {
            size_t now = left < PIECE ? (size_t)left : PIECE;
            if (!take(c, c->piece, now, p->name) ||
                (p->role == ROLE_FILLER && !is_zero(c, p, now))) {
                return false;
            }
            (void)XXH3_128bits_update(c->hash, c->piece, now);
            left -= now;
        }
        if (p->role != ROLE_FILLER && !check_digest(c, p, start)) {
            return false;
        }
    }
    return c->others_follow || getc(c->stream) == EOF ||
           fault(c, c->position, "more behind the seal");
}

void dw_cli_snapshot_check(FILE *stream, bool others_follow, dw_cli_snapshot_report *report)
{
    check c = {.stream = stream, .report = report, .others_follow = others_follow};
    memset(report, 0, sizeof *report);
    report->tensors = json_array();
    report->sound = take_header(&c) && parse(&c) && check_metadata(&c) && take_promises(&c) &&
                    take_checksums(&c) && check_data(&c);
    (void)XXH3_freeState(c.hash);
    free(c.piece);
    free(c.promises);
    free(c.header);
    json_decref(c.root);
}

void dw_cli_snapshot_report_release(dw_cli_snapshot_report *report)
{
    json_decref(report->metadata);
    json_decref(report->tensors);
    report->metadata = NULL;
    report->tensors = NULL;
}
