/* Snapshot files, written: tensors and metadata are collected, laid out, then written.
 *
 * The header's length is known before its checksums are, since they are all of one length. So a
 * file is written from its data on, each byte hashed on its way, and the header last; a stream has
 * the data hashed once before. */
#include <jansson.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "snapshot/snapshot_file_internal.h"

#define NO_CHECKSUM "00000000000000000000000000000000"
#define TEMPORARY_TRIES 16
/* The disk is set to work on what was written each time so much of it is there. */
#define BEHIND_BYTES ((uint64_t)8 << 20)

typedef struct pair {
    char *key;
    char *value;
} pair;

typedef struct item {
    dw_snapshot_tensor tensor; /* its name and dtype are ours; NULL source: zeros */
    char name[DW_SNAPSHOT_NAME_BYTES_MAX + 1];
    char dtype[4];
    uint64_t bytes;
} item;

struct dw_snapshot_writer {
    pair *pairs;
    size_t pair_count;
    item *items;
    size_t item_count;
    size_t item_capacity;
    uint64_t file_bytes; /* of the last write */
};

/* One thing in the file: a tensor, a filler (item NULL, zeros) or the seal (item NULL, last). */
typedef struct part {
    const item *item;
    uint64_t offset; /* from the header's end */
    uint64_t bytes;
    uint32_t number;          /* the filler's */
    size_t checksum_position; /* in the header; 0: none */
    uint8_t checksum[DW_HASH128_BYTES];
} part;

typedef struct text {
    char *bytes;
    size_t count;
    size_t capacity;
    bool failed; /* no memory; told at the end */
} text;

/* The state of one write. */
typedef struct output {
    part *parts;
    size_t part_count;
    uint64_t data_bytes;
    text header; /* the 8 bytes of its length too */
    dw_hash128 *hash;
    uint8_t *piece; /* [DW__SNAPSHOT_PIECE_BYTES]: small tensors gathered, or a callback's bytes */
    size_t piece_used;
    uint64_t position; /* in the file, of the next byte to write */
    uint64_t begun;    /* the disk was set to work up to here */
    int fd;
    bool is_file;
    const char *shown; /* the path in messages */
} output;

/* ---- collecting ---------------------------------------------------------------------------- */

dw_status dw_snapshot_writer_create(dw_snapshot_writer **out, dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    return *out != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "a snapshot's writer: no memory");
}

void dw_snapshot_writer_destroy(dw_snapshot_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    for (size_t i = 0; i < writer->pair_count; i++) {
        dw_free(writer->pairs[i].key);
        dw_free(writer->pairs[i].value);
    }
    dw_free(writer->pairs);
    dw_free(writer->items);
    dw_free(writer);
}

static const char *find_meta(const dw_snapshot_writer *writer, const char *key)
{
    for (size_t i = 0; i < writer->pair_count; i++) {
        if (strcmp(writer->pairs[i].key, key) == 0) {
            return writer->pairs[i].value;
        }
    }
    return NULL;
}

static bool is_identity(const char *value)
{
    uint8_t digest[DW_HASH128_BYTES];
    return dw_hex_parse(digest, sizeof digest, value);
}

static bool is_utf8(const char *value)
{
    json_t *string = json_string(value);
    json_decref(string);
    return string != NULL;
}

static dw_status check_meta(const dw_snapshot_writer *writer, const char *key, const char *value,
                            dw_error *err)
{
    static const char *const own[] = {"format", "version", "checksums"};
    if (!dw__snapshot_name_is_good(key)) {
        return dw_fail(err, DW_E_ARG, "metadata '%.80s': a key is 1 to 64 of a-z 0-9 . _ -", key);
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(key, own[i]) == 0) {
            return dw_fail(err, DW_E_ARG, "metadata '%s': it is the writer's own", key);
        }
    }
    if (writer->pair_count >= DW_SNAPSHOT_META_MAX) {
        return dw_fail(err, DW_E_LIMIT, "metadata '%s': %zu lines are there, limit %u", key,
                       writer->pair_count, DW_SNAPSHOT_META_MAX);
    }
    if (find_meta(writer, key) != NULL) {
        return dw_fail(err, DW_E_ARG, "metadata '%s' is given twice", key);
    }
    if (strcmp(key, "kind") == 0 && strcmp(value, "full") != 0 && strcmp(value, "delta") != 0) {
        return dw_fail(err, DW_E_ARG, "metadata 'kind': '%.40s', full or delta is allowed", value);
    }
    if (strcmp(key, "base") == 0 && !is_identity(value)) {
        return dw_fail(err, DW_E_ARG, "metadata 'base': '%.40s' is no identity of a snapshot",
                       value);
    }
    if (!is_utf8(value)) {
        return dw_fail(err, DW_E_ARG, "metadata '%s': its value is not UTF-8", key);
    }
    return DW_OK;
}

dw_status dw_snapshot_writer_meta(dw_snapshot_writer *writer, const char *key, const char *value,
                                  dw_error *err)
{
    dw_status status = check_meta(writer, key, value, err);
    if (status != DW_OK) {
        return status;
    }
    pair *pairs = dw_realloc(writer->pairs, writer->pair_count + 1, sizeof *pairs);
    if (pairs != NULL) {
        writer->pairs = pairs;
    }
    char *own_key = dw_strdup(key);
    char *own_value = dw_strdup(value);
    if (pairs == NULL || own_key == NULL || own_value == NULL) {
        dw_free(own_key);
        dw_free(own_value);
        return dw_fail(err, DW_E_MEMORY, "metadata '%s': no memory", key);
    }
    pairs[writer->pair_count++] = (pair){own_key, own_value};
    return DW_OK;
}

static dw_status check_tensor(const dw_snapshot_tensor *tensor, uint64_t *bytes, dw_error *err)
{
    if (!dw__snapshot_name_is_good(tensor->name)) {
        return dw_fail(err, DW_E_ARG, "tensor '%.80s': a name is 1 to 64 of a-z 0-9 . _ -",
                       tensor->name);
    }
    if (strcmp(tensor->name, DW__SNAPSHOT_SEAL) == 0 || dw__snapshot_name_is_filler(tensor->name)) {
        return dw_fail(err, DW_E_ARG, "tensor '%s': the name is the writer's own", tensor->name);
    }
    uint64_t element_bytes = dw__snapshot_dtype_bytes(tensor->dtype);
    if (element_bytes == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "tensor '%s': dtype '%.20s', U8, I32, U32, I64, F16 or F32 is allowed",
                       tensor->name, tensor->dtype);
    }
    if (tensor->dimension_count > DW_SNAPSHOT_DIMENSIONS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': %u dimensions, limit %u", tensor->name,
                       tensor->dimension_count, DW_SNAPSHOT_DIMENSIONS_MAX);
    }
    if (!dw__snapshot_shape_bytes(bytes, element_bytes, tensor->shape, tensor->dimension_count)) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': its shape is over %llu bytes", tensor->name,
                       (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    if (*bytes > 0 && tensor->bytes == NULL && tensor->read == NULL && tensor->stream == NULL) {
        return dw_fail(err, DW_E_ARG, "tensor '%s': neither bytes nor a callback", tensor->name);
    }
    return DW_OK;
}

dw_status dw_snapshot_writer_tensor(dw_snapshot_writer *writer, const dw_snapshot_tensor *tensor,
                                    dw_error *err)
{
    uint64_t bytes;
    dw_status status = check_tensor(tensor, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (writer->item_count >= DW_SNAPSHOT_TENSORS_MAX - 1) {
        return dw_fail(err, DW_E_LIMIT, "tensor '%s': %zu are there, limit %u with the seal",
                       tensor->name, writer->item_count, DW_SNAPSHOT_TENSORS_MAX);
    }
    if (writer->item_count == writer->item_capacity) {
        size_t capacity = writer->item_capacity * 2 + 16;
        item *items = dw_realloc(writer->items, capacity, sizeof *items);
        if (items == NULL) {
            return dw_fail(err, DW_E_MEMORY, "tensor '%s': no memory", tensor->name);
        }
        writer->items = items;
        writer->item_capacity = capacity;
    }
    item *added = &writer->items[writer->item_count++];
    *added = (item){.tensor = *tensor, .bytes = bytes};
    (void)snprintf(added->name, sizeof added->name, "%s", tensor->name);
    (void)snprintf(added->dtype, sizeof added->dtype, "%s", tensor->dtype);
    added->tensor.name = NULL; /* the caller's, and not ours to keep */
    added->tensor.dtype = NULL;
    return DW_OK;
}

/* ---- the layout ---------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const item *const *left = a;
    const item *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static dw_status check_names(const dw_snapshot_writer *writer, dw_error *err)
{
    const item **sorted = dw_alloc(writer->item_count, sizeof *sorted);
    if (sorted == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot of %zu tensors: no memory",
                       writer->item_count);
    }
    for (size_t i = 0; i < writer->item_count; i++) {
        sorted[i] = &writer->items[i];
    }
    dw_status status = DW_OK;
    qsort(sorted, writer->item_count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < writer->item_count && status == DW_OK; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            status = dw_fail(err, DW_E_ARG, "tensor '%s' is given twice", sorted[i]->name);
        }
    }
    dw_free(sorted);
    return status;
}

static dw_status check_whole(const dw_snapshot_writer *writer, dw_error *err)
{
    const char *kind = find_meta(writer, "kind");
    bool delta = kind != NULL && strcmp(kind, "delta") == 0;
    if (delta != (find_meta(writer, "base") != NULL)) {
        return dw_fail(err, DW_E_ARG,
                       delta ? "a delta without the metadata 'base'"
                             : "metadata 'base' in a snapshot that is no delta");
    }
    return check_names(writer, err);
}

static void add_part(output *to, const item *tensor, uint64_t bytes)
{
    to->parts[to->part_count++] = (part){.item = tensor, .offset = to->data_bytes, .bytes = bytes};
    to->data_bytes += bytes;
}

/* At most 2^16 tensors of at most 2^40 bytes: the sum fits. */
static dw_status lay_out(output *to, const dw_snapshot_writer *writer, dw_error *err)
{
    uint32_t filler_count = 0;
    to->parts = dw_alloc(2 * writer->item_count + 1, sizeof *to->parts);
    if (to->parts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot of %zu tensors: no memory",
                       writer->item_count);
    }
    for (size_t i = 0; i < writer->item_count; i++) {
        const item *tensor = &writer->items[i];
        uint64_t over = to->data_bytes % DW_SNAPSHOT_ALIGNMENT;
        if (tensor->tensor.aligned && over != 0) {
            add_part(to, NULL, DW_SNAPSHOT_ALIGNMENT - over);
            to->parts[to->part_count - 1].number = filler_count++;
        }
        add_part(to, tensor, tensor->bytes);
    }
    add_part(to, NULL, DW_HASH128_BYTES);
    if (to->part_count > DW_SNAPSHOT_TENSORS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%zu tensors with fillers and seal, limit %u",
                       to->part_count, DW_SNAPSHOT_TENSORS_MAX);
    }
    return DW_OK;
}

/* ---- the header ---------------------------------------------------------------------------- */

static bool make_room(text *to, size_t bytes)
{
    size_t needed;
    if (to->failed || !dw_add_size(&needed, to->count, bytes)) {
        return false;
    }
    if (needed > to->capacity) {
        char *grown = dw_realloc(to->bytes, 2 * needed, 1);
        if (grown == NULL) {
            to->failed = true;
            return false;
        }
        to->bytes = grown;
        to->capacity = 2 * needed;
    }
    return true;
}

static void add_bytes(text *to, const char *bytes, size_t count)
{
    if (make_room(to, count)) {
        memcpy(to->bytes + to->count, bytes, count);
        to->count += count;
    }
}

static void add(text *to, const char *format, ...) DW_PRINTF(2, 3);

/* What is formatted here are names and numbers. */
static void add(text *to, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    DW_ASSERT(length >= 0 && (size_t)length < sizeof line);
    add_bytes(to, line, (size_t)length);
}

/* Any UTF-8, quoted. */
static void add_string(text *to, const char *value)
{
    json_t *string = json_string(value);
    char *quoted = string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    if (quoted != NULL) {
        add_bytes(to, quoted, strlen(quoted));
    } else {
        to->failed = true; /* that it is UTF-8 was checked before */
    }
    free(quoted);
    json_decref(string);
}

static void add_metadata(output *to, const dw_snapshot_writer *writer)
{
    text *header = &to->header;
    const char *kind = find_meta(writer, "kind");
    add(header, "{\"__metadata__\":{\"format\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"",
        DW__SNAPSHOT_FORMAT, DW_SNAPSHOT_VERSION, kind != NULL ? kind : "full");
    for (size_t i = 0; i < writer->pair_count; i++) {
        if (strcmp(writer->pairs[i].key, "kind") != 0) {
            add(header, ",\"%s\":", writer->pairs[i].key);
            add_string(header, writer->pairs[i].value);
        }
    }
    add(header, ",\"checksums\":\"{");
    const char *comma = "";
    for (size_t i = 0; i < to->part_count; i++) {
        part *tensor = &to->parts[i];
        if (tensor->item != NULL) {
            add(header, "%s\\\"%s\\\":\\\"", comma, tensor->item->name);
            tensor->checksum_position = header->count;
            add(header, "%s\\\"", NO_CHECKSUM);
            comma = ",";
        }
    }
    add(header, "}\"}");
}

static void add_tensor(text *to, const part *tensor, bool is_seal)
{
    if (tensor->item != NULL) {
        add(to, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->item->name, tensor->item->dtype);
        for (uint32_t i = 0; i < tensor->item->tensor.dimension_count; i++) {
            add(to, "%s%llu", i == 0 ? "" : ",", (unsigned long long)tensor->item->tensor.shape[i]);
        }
    } else {
        if (is_seal) {
            add(to, ",\"%s\"", DW__SNAPSHOT_SEAL);
        } else {
            add(to, ",\"%s%u\"", DW__SNAPSHOT_FILLER, tensor->number);
        }
        add(to, ":{\"dtype\":\"U8\",\"shape\":[%llu", (unsigned long long)tensor->bytes);
    }
    add(to, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)tensor->offset,
        (unsigned long long)(tensor->offset + tensor->bytes));
}

/* All of it but the checksums. */
static dw_status make_header(output *to, const dw_snapshot_writer *writer, dw_error *err)
{
    text *header = &to->header;
    add_bytes(header, "\0\0\0\0\0\0\0", 8);
    add_metadata(to, writer);
    for (size_t i = 0; i < to->part_count; i++) {
        add_tensor(header, &to->parts[i], i + 1 == to->part_count);
    }
    add(header, "}");
    size_t over = header->count % DW_SNAPSHOT_ALIGNMENT;
    size_t spaces = over != 0 ? DW_SNAPSHOT_ALIGNMENT - over : 0;
    if (make_room(header, spaces)) {
        memset(header->bytes + header->count, ' ', spaces);
        header->count += spaces;
    }
    if (header->failed) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot's header: no memory");
    }
    if (header->count > DW_SNAPSHOT_HEADER_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "a header of %zu bytes, limit %u", header->count,
                       DW_SNAPSHOT_HEADER_BYTES_MAX);
    }
    if (header->count + to->data_bytes > DW_SNAPSHOT_FILE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "a snapshot of %llu bytes, limit %llu",
                       (unsigned long long)(header->count + to->data_bytes),
                       (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    uint64_t json_bytes = header->count - 8;
    for (unsigned i = 0; i < 8; i++) {
        header->bytes[i] = (char)(unsigned char)(json_bytes >> 8 * i);
    }
    return DW_OK;
}

static void fill_in_checksums(output *to)
{
    for (size_t i = 0; i < to->part_count; i++) {
        const part *tensor = &to->parts[i];
        if (tensor->checksum_position != 0) {
            char digits[DW_HASH128_TEXT];
            dw_hex(digits, tensor->checksum, DW_HASH128_BYTES);
            memcpy(to->header.bytes + tensor->checksum_position, digits, DW_HASH128_TEXT - 1);
        }
    }
}

static void seal_of(const output *to, uint8_t seal[DW_HASH128_BYTES])
{
    dw_hash128_of(seal, to->header.bytes, to->header.count);
}

/* ---- writing ------------------------------------------------------------------------------- */

static dw_status write_at(output *to, const void *bytes, size_t count, uint64_t position,
                          dw_error *err)
{
    const uint8_t *from = bytes;
    while (count > 0) {
        ssize_t written =
            to->is_file ? pwrite(to->fd, from, count, (off_t)position) : write(to->fd, from, count);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return dw_fail(err, DW_E_IO, "%s: writing %zu bytes at byte %llu: %s", to->shown, count,
                           (unsigned long long)position,
                           written < 0 ? strerror(errno) : "nothing was taken");
        }
        from += written;
        count -= (size_t)written;
        position += (uint64_t)written;
    }
    return DW_OK;
}

/* Let the disk begin with what was written since it was last told. */
static void begin_sync(output *to)
{
    if (to->is_file && to->position - to->begun >= BEHIND_BYTES) {
        dw_os_begin_sync(to->fd, to->begun, to->position - to->begun);
        to->begun = to->position;
    }
}

static dw_status write_next(output *to, const void *bytes, size_t count, dw_error *err)
{
    dw_status status = write_at(to, bytes, count, to->position, err);
    to->position += count;
    begin_sync(to);
    return status;
}

static dw_status flush(output *to, dw_error *err)
{
    size_t used = to->piece_used;
    to->piece_used = 0;
    return used > 0 ? write_next(to, to->piece, used, err) : DW_OK;
}

/* Straight from the caller's memory where it is large. */
static dw_status put_memory(output *to, const uint8_t *bytes, uint64_t count, dw_error *err)
{
    if (count == 0) {
        return DW_OK;
    }
    if (count <= DW__SNAPSHOT_PIECE_BYTES - to->piece_used) {
        dw_hash128_add(to->hash, bytes, (size_t)count);
        memcpy(to->piece + to->piece_used, bytes, (size_t)count);
        to->piece_used += (size_t)count;
        return DW_OK;
    }
    dw_status status = flush(to, err);
    while (count > 0 && status == DW_OK) {
        size_t now = count < DW__SNAPSHOT_PIECE_BYTES ? (size_t)count : DW__SNAPSHOT_PIECE_BYTES;
        dw_hash128_add(to->hash, bytes, now);
        status = write_next(to, bytes, now, err);
        bytes += now;
        count -= now;
    }
    return status;
}

/* `from` NULL: zeros. With `hash_only` nothing is written. */
static dw_status put_read(output *to, const item *from, uint64_t count, bool hash_only,
                          dw_error *err)
{
    dw_status status = DW_OK;
    for (uint64_t done = 0; done < count && status == DW_OK;) {
        if (to->piece_used == DW__SNAPSHOT_PIECE_BYTES) {
            status = flush(to, err);
            continue;
        }
        size_t room = DW__SNAPSHOT_PIECE_BYTES - to->piece_used;
        size_t now = count - done < room ? (size_t)(count - done) : room;
        uint8_t *place = to->piece + to->piece_used;
        if (from == NULL) {
            memset(place, 0, now);
        } else {
            status = from->tensor.read(from->tensor.user, done, now, place, err);
        }
        if (status != DW_OK) {
            return dw_fail_within(err, status, "%s: %s", to->shown, from->name);
        }
        dw_hash128_add(to->hash, place, now);
        to->piece_used += hash_only ? 0 : now;
        done += now;
    }
    return status;
}

/* A tensor that comes through a sink. Into a file its parts are written in any order, by the
 * threads that they come from, while this one adds them up: the checksum of one tensor is one
 * stream. XXH3 does 10 to 20 GB/s on one core, 128 MiB in 7 to 13 ms, which is then the least
 * that it takes. What bounds it is the file: on an H200's host 128 MiB take 35 ms, the hash alone
 * 13, writing alone 36 with 8 threads, as one file's pwrites wait for each other at its lock.
 * Storing into a shared mapping of the file does not, but costs more in page faults (128 MiB into
 * the page cache, two busy cores, medians of 8: tmpfs 354 ms against 185, ext4 188 against 148, and
 * 272 against 229 with the sync), and ends the process by SIGBUS where a file system breaks what
 * fallocate has promised. */
typedef struct passage {
    output *to;
    uint64_t begin; /* where it is in the file */
    uint64_t bytes; /* of all */
    uint64_t ordered;
    bool hash_only;
} passage;

static dw_status pass_in_order(void *user, const void *from, size_t bytes, dw_error *err)
{
    passage *p = user;
    DW_ASSERT(bytes <= p->bytes - p->ordered);
    p->ordered += bytes;
    dw_hash128_add(p->to->hash, from, bytes);
    return p->hash_only || p->to->is_file ? DW_OK : write_next(p->to, from, bytes, err);
}

static dw_status pass_anywhere(void *user, uint64_t offset, const void *from, size_t bytes,
                               dw_error *err)
{
    const passage *p = user;
    DW_ASSERT(offset <= p->bytes && bytes <= p->bytes - offset);
    return write_at(p->to, from, bytes, p->begin + offset, err);
}

static dw_status put_stream_of(output *to, const item *from, bool hash_only, dw_error *err)
{
    dw_status status = hash_only ? DW_OK : flush(to, err);
    passage p = {.to = to, .begin = to->position, .bytes = from->bytes, .hash_only = hash_only};
    dw_sink sink = {.in_order = pass_in_order,
                    .anywhere = to->is_file && !hash_only ? pass_anywhere : NULL,
                    .user = &p};
    if (status == DW_OK) {
        status = from->tensor.stream(from->tensor.user, &sink, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s: %s", to->shown, from->name);
    }
    DW_ASSERT(p.ordered == from->bytes);
    if (sink.anywhere != NULL) {
        to->position += from->bytes;
        begin_sync(to);
    }
    return DW_OK;
}

static dw_status put_part(output *to, part *tensor, dw_error *err)
{
    const item *from = tensor->item;
    uint8_t checksum[DW_HASH128_BYTES];
    dw_hash128_reset(to->hash);
    bool in_memory = from != NULL && (from->tensor.bytes != NULL || from->bytes == 0);
    bool streamed = from != NULL && from->tensor.read == NULL;
    dw_status status = in_memory  ? put_memory(to, from->tensor.bytes, from->bytes, err)
                       : streamed ? put_stream_of(to, from, false, err)
                                  : put_read(to, from, tensor->bytes, false, err);
    if (status != DW_OK) {
        return status;
    }
    dw_hash128_finish(to->hash, checksum);
    if (!to->is_file && from != NULL && memcmp(checksum, tensor->checksum, sizeof checksum) != 0) {
        return dw_fail(err, DW_E_STATE, "%s: %s changed while it was written", to->shown,
                       from->name);
    }
    memcpy(tensor->checksum, checksum, sizeof checksum);
    return DW_OK;
}

/* Everything but the seal. */
static dw_status put_parts(output *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i + 1 < to->part_count && status == DW_OK; i++) {
        status = put_part(to, &to->parts[i], err);
    }
    return status;
}

/* For a stream, whose header has to be known before its data goes. */
static dw_status hash_parts(output *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < to->part_count && status == DW_OK; i++) {
        part *tensor = &to->parts[i];
        if (tensor->item == NULL) {
            continue;
        }
        const dw_snapshot_tensor *source = &tensor->item->tensor;
        dw_hash128_reset(to->hash);
        if (source->bytes != NULL) {
            dw_hash128_add(to->hash, source->bytes, (size_t)tensor->bytes);
        } else if (source->read != NULL || tensor->bytes == 0) {
            status = put_read(to, tensor->item, tensor->bytes, true, err);
        } else {
            status = put_stream_of(to, tensor->item, true, err);
        }
        dw_hash128_finish(to->hash, tensor->checksum);
    }
    return status;
}

static dw_status put_file(output *to, char *identity, dw_error *err)
{
    uint8_t seal[DW_HASH128_BYTES];
    to->position = to->header.count;
    to->begun = to->position;
    dw_status status = put_parts(to, err);
    if (status != DW_OK) {
        return status;
    }
    fill_in_checksums(to);
    seal_of(to, seal);
    dw_hash128_reset(to->hash);
    status = put_memory(to, seal, sizeof seal, err);
    if (status == DW_OK) {
        status = flush(to, err);
    }
    DW_ASSERT(status != DW_OK || to->position == to->header.count + to->data_bytes);
    if (status == DW_OK) {
        status = write_at(to, to->header.bytes, to->header.count, 0, err);
    }
    if (status == DW_OK && identity != NULL) {
        dw_hex(identity, seal, sizeof seal);
    }
    return status;
}

static dw_status put_stream(output *to, dw_error *err)
{
    uint8_t seal[DW_HASH128_BYTES];
    dw_status status = hash_parts(to, err);
    if (status != DW_OK) {
        return status;
    }
    fill_in_checksums(to);
    seal_of(to, seal);
    status = write_next(to, to->header.bytes, to->header.count, err);
    if (status == DW_OK) {
        status = put_parts(to, err);
    }
    if (status == DW_OK) {
        status = put_memory(to, seal, sizeof seal, err);
    }
    return status == DW_OK ? flush(to, err) : status;
}

static void release_output(output *to)
{
    dw_free(to->parts);
    dw_free(to->header.bytes);
    dw_free(to->piece);
    dw_hash128_destroy(to->hash);
}

static dw_status init_output(output *to, const dw_snapshot_writer *writer, dw_error *err)
{
    dw_status status = check_whole(writer, err);
    if (status == DW_OK) {
        status = lay_out(to, writer, err);
    }
    if (status == DW_OK) {
        status = make_header(to, writer, err);
    }
    if (status == DW_OK) {
        to->hash = dw_hash128_create();
        to->piece = dw_alloc(1, DW__SNAPSHOT_PIECE_BYTES);
        if (to->hash == NULL || to->piece == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "writing a snapshot: no memory");
        }
    }
    return status;
}

dw_status dw_snapshot_writer_write_stream(dw_snapshot_writer *writer, int fd, dw_error *err)
{
    output to = {.fd = fd, .is_file = false, .shown = "snapshot"};
    dw_status status = init_output(&to, writer, err);
    if (status == DW_OK) {
        status = put_stream(&to, err);
    }
    writer->file_bytes = to.header.count + to.data_bytes;
    release_output(&to);
    return status;
}

/* ---- a file, whole or not at all ------------------------------------------------------------ */

/* What is to be replaced: the file that a link leads to, not the link. Pipes, devices and folders
 * are not: a rename would put a file in the place of /dev/null. */
static dw_status find_place(char place[PATH_MAX], const char *path, dw_error *err)
{
    const char *shown = dw__snapshot_path_end(path);
    struct stat info;
    if (stat(path, &info) == 0) {
        return !S_ISREG(info.st_mode)
                   ? dw_fail(err, DW_E_ARG, "%s: it is no regular file, and is left alone", shown)
               : realpath(path, place) == NULL
                   ? dw_fail(err, DW_E_IO, "%s: %s", shown, strerror(errno))
                   : DW_OK;
    }
    int length = snprintf(place, PATH_MAX, "%s", path);
    return length >= 0 && length < PATH_MAX
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long", shown,
                         strlen(path));
}

/* A new file beside `path`; its name in `temporary` [PATH_MAX]. */
static dw_status open_temporary(int *fd, char *temporary, const char *path, dw_error *err)
{
    const char *shown = dw__snapshot_path_end(path);
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        uint8_t random[8];
        char digits[2 * sizeof random + 1];
        if (getentropy(random, sizeof random) != 0) {
            return dw_fail(err, DW_E_IO, "%s: no random number: %s", shown, strerror(errno));
        }
        dw_hex(digits, random, sizeof random);
        int length = snprintf(temporary, PATH_MAX, "%s.tmp-%ld-%s", path, (long)getpid(), digits);
        if (length < 0 || length >= PATH_MAX) {
            return dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long", shown,
                           strlen(path));
        }
        *fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (*fd >= 0 || errno != EEXIST) {
            break;
        }
    }
    return *fd >= 0
               ? DW_OK
               : dw_fail(err, DW_E_IO, "%s: making a file beside it: %s", shown, strerror(errno));
}

/* The new name is on the disk when its folder is. Some file systems cannot tell (EINVAL). */
static dw_status sync_folder(const char *path, dw_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 1 : (int)(slash - path) + 1;
    (void)snprintf(folder, sizeof folder, "%.*s", length, slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 ? errno : dw_os_sync(fd);
    dw_os_close(fd);
    if (code != 0 && code != EINVAL && code != ENOTSUP && code != EACCES) {
        return dw_fail(err, DW_E_IO, "%s: written, but its folder is not on the disk: %s",
                       dw__snapshot_path_end(path), strerror(code));
    }
    return DW_OK;
}

static dw_status finish_file(const output *to, const char *temporary, const char *path,
                             dw_error *err)
{
    unsigned long long bytes = (unsigned long long)(to->header.count + to->data_bytes);
    int code = dw_os_sync(to->fd);
    if (code != 0) {
        return dw_fail(err, DW_E_IO, "%s: bringing %llu bytes to the disk: %s", to->shown, bytes,
                       strerror(code));
    }
    if (rename(temporary, path) != 0) {
        return dw_fail(err, DW_E_IO, "%s: renaming a file of %llu bytes to it: %s", to->shown,
                       bytes, strerror(errno));
    }
    return DW_OK;
}

dw_status dw_snapshot_writer_write_file(dw_snapshot_writer *writer, const char *path,
                                        char *identity, dw_error *err)
{
    char place[PATH_MAX];
    char temporary[PATH_MAX];
    output to = {.fd = -1, .is_file = true, .shown = dw__snapshot_path_end(path)};
    dw_status status = init_output(&to, writer, err);
    if (status == DW_OK) {
        status = find_place(place, path, err);
    }
    if (status == DW_OK) {
        status = open_temporary(&to.fd, temporary, place, err);
    }
    bool made = status == DW_OK;
    if (status == DW_OK) {
        status = put_file(&to, identity, err);
    }
    if (status == DW_OK) {
        status = finish_file(&to, temporary, place, err);
    }
    dw_os_close(to.fd);
    if (made && status != DW_OK) {
        (void)unlink(temporary);
    }
    writer->file_bytes = to.header.count + to.data_bytes;
    release_output(&to);
    return status == DW_OK ? sync_folder(place, err) : status;
}

uint64_t dw_snapshot_writer_bytes(const dw_snapshot_writer *writer)
{
    return writer->file_bytes;
}
