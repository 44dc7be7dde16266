/* What a fingerprint is of: keys, tensors and their data, in order. fingerprint_job.c hashes the
 * data for the present kind, which takes all of it. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/public_struct.h"
#include "gguf/fingerprint_internal.h"

#define SAMPLE_BYTES 4096u

/* One of the two. */
typedef struct hasher {
    dw_hash128 *sampled;
    dw_sha256_state *whole;
} hasher;

static void add_bytes(const hasher *hash, const void *data, size_t bytes)
{
    if (hash->sampled != NULL) {
        dw_hash128_add(hash->sampled, data, bytes);
    } else {
        dw_sha256_add(hash->whole, data, bytes);
    }
}

static void add_u64(const hasher *hash, uint64_t value)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    add_bytes(hash, bytes, sizeof bytes);
}

static void add_text(const hasher *hash, const char *text, size_t bytes)
{
    add_u64(hash, bytes);
    add_bytes(hash, text, bytes);
}

static bool starts_with(const dw_gguf_string *name, const char *start)
{
    size_t length = strlen(start);
    return name->bytes >= length && memcmp(name->text, start, length) == 0;
}

/* Names, authors, licences, how the file was made: the same model may have others. */
static bool describes_only(const dw_gguf_string *name)
{
    static const char architecture[] = "general.architecture";
    bool is_architecture = name->bytes == sizeof architecture - 1 &&
                           memcmp(name->text, architecture, name->bytes) == 0;
    return (starts_with(name, "general.") && !is_architecture) || starts_with(name, "split.") ||
           starts_with(name, "quantize.");
}

static size_t item_bytes(dw_gguf_type type)
{
    static const unsigned char bytes[DW_GGUF_TYPE_COUNT] = {
        [DW_GGUF_U8] = 1,  [DW_GGUF_I8] = 1,  [DW_GGUF_U16] = 2, [DW_GGUF_I16] = 2,
        [DW_GGUF_U32] = 4, [DW_GGUF_I32] = 4, [DW_GGUF_F32] = 4, [DW_GGUF_BOOL] = 1,
        [DW_GGUF_U64] = 8, [DW_GGUF_I64] = 8, [DW_GGUF_F64] = 8,
    };
    return bytes[type];
}

/* A string's length and bytes as the file has them. */
static size_t string_bytes(const unsigned char *value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < sizeof length; i++) {
        length |= (uint64_t)value[i] << (8 * i);
    }
    return sizeof length + (size_t)length;
}

static void add_key(const hasher *hash, const gguf_key *key)
{
    bool array = key->type == DW_GGUF_ARRAY;
    dw_gguf_type type = array ? key->element_type : key->type;
    size_t count = array ? key->count : 1;
    size_t bytes = 0;
    add_text(hash, key->name.text, key->name.bytes);
    add_u64(hash, (uint64_t)key->type);
    if (array) {
        add_u64(hash, (uint64_t)type);
        add_u64(hash, count);
    }
    if (type == DW_GGUF_STRING) {
        for (size_t i = 0; i < count; i++) {
            bytes += string_bytes(key->value + bytes);
        }
    } else {
        bytes = count * item_bytes(type);
    }
    add_bytes(hash, key->value, bytes);
}

static void add_keys(const hasher *hash, const dw_gguf *gguf)
{
    for (size_t i = 0; i < gguf->key_count; i++) {
        if (!describes_only(&gguf->keys[i].name)) {
            add_key(hash, &gguf->keys[i]);
        }
    }
}

static void add_tensor(const hasher *hash, const dw_gguf_tensor *tensor)
{
    add_text(hash, tensor->name, strlen(tensor->name));
    add_u64(hash, (uint64_t)tensor->type);
    for (size_t i = 0; i < GGML_MAX_DIMS; i++) {
        add_u64(hash, (uint64_t)tensor->ne[i]);
    }
}

dw_status dw__fingerprint_read(const dw_gguf *gguf, const dw_gguf_tensor *tensor,
                               dw__tensor_part part, unsigned char *room,
                               const unsigned char **data, dw_error *err)
{
    const dw_gguf *file = dw__gguf_part(gguf, tensor->part);
    size_t at = tensor->file_offset + part.offset;
    *data = file->bytes + at;
    if (file->fd >= 0) {
        dw_status status = dw_os_read_at(file->fd, at, room, part.bytes, err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "fingerprint: tensor %s", tensor->name);
        }
        *data = room;
    }
    return DW_OK;
}

static dw_status add_sample(const hasher *hash, const dw_gguf *gguf, const dw_gguf_tensor *tensor,
                            dw__tensor_part part, dw_error *err)
{
    unsigned char room[3 * SAMPLE_BYTES];
    const unsigned char *data;
    dw_status status = dw__fingerprint_read(gguf, tensor, part, room, &data, err);
    if (status == DW_OK) {
        add_bytes(hash, data, part.bytes);
    }
    return status;
}

static dw_status add_samples(const hasher *hash, const dw_gguf *gguf, const dw_gguf_tensor *tensor,
                             dw_error *err)
{
    if (tensor->bytes <= 3 * SAMPLE_BYTES) {
        return add_sample(hash, gguf, tensor, (dw__tensor_part){0, tensor->bytes}, err);
    }
    const size_t places[] = {0, (tensor->bytes / 2) & ~(size_t)63, tensor->bytes - SAMPLE_BYTES};
    dw_status status = DW_OK;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && status == DW_OK; i++) {
        status = add_sample(hash, gguf, tensor, (dw__tensor_part){places[i], SAMPLE_BYTES}, err);
    }
    return status;
}

dw_status dw__fingerprint_sampled(const dw_gguf *gguf, char hex[DW_HASH128_TEXT], dw_error *err)
{
    uint8_t digest[DW_HASH128_BYTES];
    hasher hash = {.sampled = dw_hash128_create()};
    if (hash.sampled == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    }
    add_keys(&hash, gguf);
    dw_status status = DW_OK;
    for (size_t i = 0; i < gguf->tensor_count && status == DW_OK; i++) {
        add_tensor(&hash, gguf->by_name[i]);
        status = add_samples(&hash, gguf, gguf->by_name[i], err);
    }
    dw_hash128_finish(hash.sampled, digest);
    dw_hash128_destroy(hash.sampled);
    dw_hex(hex, digest, sizeof digest);
    return status;
}

dw_status dw__fingerprint_whole(const dw_gguf *gguf, const uint8_t (*pieces)[DW_SHA256_BYTES],
                                const char *sampled, char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    uint8_t digest[DW_SHA256_BYTES];
    char hex[DW_SHA256_TEXT];
    hasher hash = {.whole = dw_sha256_create()};
    if (hash.whole == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    }
    add_keys(&hash, gguf);
    for (size_t i = 0, piece = 0; i < gguf->tensor_count; i++) {
        size_t count = dw__fingerprint_pieces(gguf->by_name[i]);
        add_tensor(&hash, gguf->by_name[i]);
        add_bytes(&hash, pieces[piece], count * DW_SHA256_BYTES);
        piece += count;
    }
    dw_sha256_finish(hash.whole, digest);
    dw_sha256_destroy(hash.whole);
    dw_hex(hex, digest, sizeof digest);
    (void)snprintf(text, DW_FINGERPRINT_BYTES, DW__FINGERPRINT_WHOLE "%.16s%.48s", sampled, hex);
    return DW_OK;
}

/* ---- comparing ----------------------------------------------------------------------------- */

dw__fingerprint_match dw__fingerprint_compare(const char *fingerprint, const char *sampled)
{
    size_t kind = strlen(DW__FINGERPRINT_WHOLE);
    if (strncmp(fingerprint, DW__FINGERPRINT_SAMPLED, kind) == 0) {
        return strcmp(fingerprint + kind, sampled) == 0 ? DW__MATCH : DW__NO_MATCH;
    }
    return strncmp(fingerprint, DW__FINGERPRINT_WHOLE, kind) == 0 &&
                   strncmp(fingerprint + kind, sampled, DW__SAMPLED_DIGITS) == 0
               ? DW__MATCH_OF_SAMPLES
               : DW__NO_MATCH;
}

dw_status dw_gguf_fingerprint_with(const dw_gguf *gguf, const dw_fingerprint_options *options,
                                   char text[DW_FINGERPRINT_BYTES], dw_fingerprint_stats *stats,
                                   dw_error *err)
{
    dw_fingerprint_options own;
    dw_fingerprint_job *job = NULL;
    text[0] = '\0';
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_fingerprint_options", err);
    if (status == DW_OK) {
        status = dw_struct_check(stats, "dw_fingerprint_stats", err);
    }
    if (status == DW_OK) {
        status = dw_fingerprint_job_create(&job, gguf, &own, err);
    }
    if (status == DW_OK) {
        status = dw_fingerprint_job_finish(job, text, err);
    }
    if (status == DW_OK) {
        dw_fingerprint_stats made;
        dw_fingerprint_job_get_stats(job, &made);
        dw_struct_write(stats, &made, sizeof made);
    }
    dw_fingerprint_job_destroy(job);
    return status;
}

dw_status dw_gguf_fingerprint(const dw_gguf *gguf, char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    return dw_gguf_fingerprint_with(gguf, NULL, text, NULL, err);
}

/* One job, so that samples are read once. */
dw_status dw_gguf_matches(const dw_gguf *gguf, const dw_fingerprint_options *options,
                          const char *fingerprint, bool *matches, dw_error *err)
{
    dw_fingerprint_options own;
    dw_fingerprint_job *job = NULL;
    *matches = false;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_fingerprint_options", err);
    if (status == DW_OK) {
        status = dw_fingerprint_job_create(&job, gguf, &own, err);
    }
    if (status == DW_OK) {
        status = dw_fingerprint_job_matches(job, fingerprint, matches, err);
    }
    dw_fingerprint_job_destroy(job);
    return status;
}
