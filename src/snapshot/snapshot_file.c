/* Snapshot files, read. Order of the checks: length of the header, its JSON, what it says it is
 * (so that other files and versions are named as such), its seal, the tensors, their checksums. */
#include "snapshot/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "snapshot/snapshot_file_internal.h"

/* What a header within the limits can need; more would only make the JSON parser take memory. A
 * tensor opens 3 brackets and has up to 11 commas; 4,096 keys of metadata have one each. */
#define NESTING_MAX 4u
#define VALUES_MAX (DW_SNAPSHOT_TENSORS_MAX * 16u + DW_SNAPSHOT_META_MAX)

typedef struct filler {
    uint64_t offset; /* from the file's start */
    uint64_t bytes;
} filler;

struct dw_snapshot_file {
    int fd;
    char *path;
    uint64_t bytes;
    size_t header_bytes; /* with the 8 of its length: where data begins */
    char *header;        /* while it is opened */
    json_t *metadata;
    char identity[DW_SNAPSHOT_IDENTITY];
    dw_snapshot_entry *entries; /* in the file's order */
    size_t entry_count;
    const dw_snapshot_entry **by_name;
    filler *fillers;
    size_t filler_count;
};

static dw_status fail_at(dw_error *err, dw_status code, uint64_t byte, const char *format, ...)
    DW_PRINTF(4, 5);

/* "byte N: ..."; the path comes before it at the end. */
static dw_status fail_at(dw_error *err, dw_status code, uint64_t byte, const char *format, ...)
{
    char message[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return dw_fail(err, code, "byte %llu: %s", (unsigned long long)byte, message);
}

static const char *shown(const dw_snapshot_file *file)
{
    return dw__snapshot_path_end(file->path);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static dw_status read_at(const dw_snapshot_file *file, uint64_t offset, size_t bytes, void *to,
                         dw_error *err)
{
    char *place = to;
    while (bytes > 0) {
        ssize_t count = pread(file->fd, place, bytes, (off_t)offset);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return fail_at(err, DW_E_IO, offset, "reading %zu bytes: %s", bytes, strerror(errno));
        }
        if (count == 0) {
            return fail_at(err, DW_E_IO, offset, "the file ends, %zu bytes are missing", bytes);
        }
        place += count;
        bytes -= (size_t)count;
        offset += (uint64_t)count;
    }
    return DW_OK;
}

static dw_status open_file(dw_snapshot_file *file, dw_error *err)
{
    /* A pipe must not make us wait for its writer. */
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0) {
        return dw_fail(err, errno == ENOENT ? DW_E_NOT_FOUND : DW_E_IO, "%s", strerror(errno));
    }
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return dw_fail(err, DW_E_IO, "%s", strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return dw_fail(err, DW_E_IO, "it is no regular file");
    }
    file->bytes = (uint64_t)info.st_size;
    if (file->bytes > DW_SNAPSHOT_FILE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%llu bytes, limit %llu", (unsigned long long)file->bytes,
                       (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    return DW_OK;
}

static dw_status read_header(dw_snapshot_file *file, dw_error *err)
{
    uint8_t length[8];
    if (file->bytes < sizeof length) {
        return fail_at(err, DW_E_FORMAT, file->bytes,
                       "the file ends, before the 8 bytes of its header's length");
    }
    dw_status status = read_at(file, 0, sizeof length, length, err);
    if (status != DW_OK) {
        return status;
    }
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 8; i++) {
        bytes |= (uint64_t)length[i] << 8 * i;
    }
    if (bytes > DW_SNAPSHOT_HEADER_BYTES_MAX - 8) {
        return fail_at(err, DW_E_LIMIT, 0, "a header of %llu bytes, limit %u: no snapshot?",
                       (unsigned long long)bytes, DW_SNAPSHOT_HEADER_BYTES_MAX - 8);
    }
    if (bytes > file->bytes - 8) {
        return fail_at(err, DW_E_FORMAT, file->bytes, "the file ends, its header has %llu bytes",
                       (unsigned long long)bytes);
    }
    file->header_bytes = (size_t)bytes + 8;
    file->header = dw_alloc(file->header_bytes + 1, 1);
    if (file->header == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a header of %zu bytes: no memory", file->header_bytes);
    }
    return read_at(file, 0, file->header_bytes, file->header, err);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* A few bytes of JSON can make a parser take hundreds: what no snapshot holds is refused first. */
static dw_status check_extent(const char *text, size_t bytes, uint64_t at, dw_error *err)
{
    unsigned depth = 0;
    uint64_t values = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = false;
            }
            continue;
        }
        quoted = c == '"';
        bool opens = c == '{' || c == '[';
        values += opens || c == ',';
        depth += opens;
        depth -= (c == '}' || c == ']') && depth > 0;
        if (depth > NESTING_MAX) {
            return fail_at(err, DW_E_FORMAT, at + i, "header: JSON nested deeper than %u",
                           NESTING_MAX);
        }
        if (values > VALUES_MAX) {
            return fail_at(err, DW_E_LIMIT, at + i, "header: more than %u values of JSON",
                           VALUES_MAX);
        }
    }
    return DW_OK;
}

/* An object; `*used` of `bytes` are its text. `at` is where the text stands in the file. */
static dw_status parse_object(json_t **out, const char *text, size_t bytes, size_t *used,
                              uint64_t at, dw_error *err)
{
    json_error_t why;
    *out = NULL;
    dw_status status = check_extent(text, bytes, at, err);
    if (status != DW_OK) {
        return status;
    }
    if (bytes == 0 || text[0] != '{') {
        return fail_at(err, DW_E_FORMAT, at, "header: no JSON object");
    }
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &why);
    if (root == NULL) {
        bool memory = json_error_code(&why) == json_error_out_of_memory;
        return fail_at(err, memory ? DW_E_MEMORY : DW_E_FORMAT, at + (uint64_t)why.position,
                       "header: %.120s", why.text);
    }
    *used = (size_t)why.position;
    *out = root;
    return DW_OK;
}

/* Where the header has `key`: for messages. A quoted key within a text has backslashes. */
static uint64_t place_of(const dw_snapshot_file *file, const char *key)
{
    size_t length = strlen(key);
    const char *end = file->header + file->header_bytes;
    for (const char *c = file->header + 8; c + length + 2 < end; c++) {
        if (*c == '"' && memcmp(c + 1, key, length) == 0 && c[length + 1] == '"' &&
            c[length + 2 + strspn(c + length + 2, " \t\r\n")] == ':') {
            return (uint64_t)(c - file->header);
        }
    }
    return 8;
}

/* Most of a header is the spaces behind its text: they are passed eight at a time. */
static size_t without_spaces(const char *text, size_t bytes)
{
    static const char spaces[] = "        ";
    while (bytes >= 8 && memcmp(text + bytes - 8, spaces, 8) == 0) {
        bytes -= 8;
    }
    while (bytes > 0 && text[bytes - 1] == ' ') {
        bytes--;
    }
    return bytes;
}

static dw_status parse_header(dw_snapshot_file *file, json_t **root, dw_error *err)
{
    size_t used = 0;
    const char *text = file->header + 8;
    size_t bytes = without_spaces(text, file->header_bytes - 8);
    dw_status status = parse_object(root, text, bytes, &used, 8, err);
    for (size_t i = used; status == DW_OK && i < bytes; i++) {
        if (text[i] != ' ') {
            status = fail_at(err, DW_E_FORMAT, 8 + i, "header: more than spaces behind the JSON");
        }
    }
    return status;
}

/* ---- metadata and seal --------------------------------------------------------------------- */

static bool is_identity(const char *text)
{
    uint8_t digest[DW_HASH128_BYTES];
    return dw_hex_parse(digest, sizeof digest, text);
}

/* Another program's safetensors files come as far as this. */
static dw_status check_format(dw_snapshot_file *file, const json_t *root, dw_error *err)
{
    uint64_t byte = place_of(file, "__metadata__");
    const char *key;
    json_t *value;
    file->metadata = json_incref(json_object_get(root, "__metadata__"));
    if (!json_is_object(file->metadata)) {
        return fail_at(err, DW_E_FORMAT, byte, "no Driftwood snapshot: no __metadata__");
    }
    json_object_foreach(file->metadata, key, value)
    {
        if (!json_is_string(value)) {
            return fail_at(err, DW_E_FORMAT, place_of(file, key),
                           "__metadata__: '%.64s' is no string", key);
        }
    }
    const char *format = dw_snapshot_file_meta(file, "format");
    if (format == NULL || strcmp(format, DW__SNAPSHOT_FORMAT) != 0) {
        return fail_at(err, DW_E_FORMAT, byte,
                       "no Driftwood snapshot: __metadata__ has format '%.40s', '%s' is needed",
                       format != NULL ? format : "", DW__SNAPSHOT_FORMAT);
    }
    const char *version = dw_snapshot_file_meta(file, "version");
    if (version == NULL || strcmp(version, DW_SNAPSHOT_VERSION) != 0) {
        return fail_at(err, version == NULL ? DW_E_FORMAT : DW_E_UNSUPPORTED,
                       place_of(file, "version"), "version %.20s, this program reads %s",
                       version != NULL ? version : "missing", DW_SNAPSHOT_VERSION);
    }
    return DW_OK;
}

static dw_status check_seal(dw_snapshot_file *file, dw_error *err)
{
    uint8_t stored[DW_HASH128_BYTES];
    uint8_t seal[DW_HASH128_BYTES];
    if (file->header_bytes % DW_SNAPSHOT_ALIGNMENT != 0) {
        return fail_at(err, DW_E_FORMAT, 0,
                       "a header of %zu bytes with its length: no multiple "
                       "of %u",
                       file->header_bytes, DW_SNAPSHOT_ALIGNMENT);
    }
    if (file->bytes - file->header_bytes < sizeof stored) {
        return fail_at(err, DW_E_FORMAT, file->bytes, "the file ends, before its seal");
    }
    uint64_t place = file->bytes - sizeof stored;
    dw_status status = read_at(file, place, sizeof stored, stored, err);
    if (status != DW_OK) {
        return status;
    }
    dw_hash128_of(seal, file->header, file->header_bytes);
    dw_hex(file->identity, seal, sizeof seal);
    if (memcmp(seal, stored, sizeof seal) != 0) {
        char digits[DW_SNAPSHOT_IDENTITY];
        dw_hex(digits, stored, sizeof stored);
        return fail_at(err, DW_E_FORMAT, place,
                       "the seal is %s, the header makes %s: damaged or cut", digits,
                       file->identity);
    }
    return DW_OK;
}

static dw_status check_kind(const dw_snapshot_file *file, dw_error *err)
{
    const char *kind = dw_snapshot_file_meta(file, "kind");
    const char *base = dw_snapshot_file_meta(file, "base");
    bool delta = kind != NULL && strcmp(kind, "delta") == 0;
    if (kind == NULL || (!delta && strcmp(kind, "full") != 0)) {
        return fail_at(err, DW_E_FORMAT, place_of(file, "kind"),
                       "__metadata__: kind '%.40s', full or delta is needed",
                       kind != NULL ? kind : "");
    }
    if (delta != (base != NULL) || (base != NULL && !is_identity(base))) {
        return fail_at(err, DW_E_FORMAT, place_of(file, base != NULL ? "base" : "kind"),
                       "__metadata__: base '%.40s' of a snapshot that is %s",
                       base != NULL ? base : "", kind);
    }
    return DW_OK;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static dw_status fail_entry(const dw_snapshot_file *file, dw_error *err, dw_status code,
                            const char *name, const char *format, ...) DW_PRINTF(5, 6);

/* "byte N: NAME: ...", where the header has that name. To look for it costs a walk of the header:
 * done once, since the first error ends the reading. */
static dw_status fail_entry(const dw_snapshot_file *file, dw_error *err, dw_status code,
                            const char *name, const char *format, ...)
{
    char message[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fail_at(err, code, place_of(file, name), "%.64s: %s", name, message);
}

static dw_status take_shape(const dw_snapshot_file *file, dw_snapshot_entry *entry,
                            const json_t *shape, dw_error *err)
{
    if (!json_is_array(shape)) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name, "its shape is no array");
    }
    if (json_array_size(shape) > DW_SNAPSHOT_DIMENSIONS_MAX) {
        return fail_entry(file, err, DW_E_LIMIT, entry->name, "%zu dimensions, limit %u",
                          json_array_size(shape), DW_SNAPSHOT_DIMENSIONS_MAX);
    }
    entry->dimension_count = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < entry->dimension_count; i++) {
        const json_t *length = json_array_get(shape, i);
        if (!json_is_integer(length) || json_integer_value(length) < 0) {
            return fail_entry(file, err, DW_E_FORMAT, entry->name,
                              "dimension %u is no whole number", i);
        }
        entry->shape[i] = (uint64_t)json_integer_value(length);
    }
    return DW_OK;
}

/* Tensors lie one after another: each begins where the one before ends, at `*data`. */
static dw_status take_offsets(const dw_snapshot_file *file, dw_snapshot_entry *entry,
                              const json_t *offsets, uint64_t *data, dw_error *err)
{
    const json_t *first = json_array_get(offsets, 0);
    const json_t *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
        json_integer_value(first) < 0 || json_integer_value(second) < json_integer_value(first)) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name, "data_offsets are no [begin, end]");
    }
    uint64_t begin = (uint64_t)json_integer_value(first);
    uint64_t end = (uint64_t)json_integer_value(second);
    if (begin != *data) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name,
                          "its data begins at %llu, the data before it ends at %llu: %s",
                          (unsigned long long)begin, (unsigned long long)*data,
                          begin < *data ? "they overlap" : "a hole");
    }
    if (end - begin != entry->bytes) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name,
                          "%llu bytes of data, its shape and dtype make %llu",
                          (unsigned long long)(end - begin), (unsigned long long)entry->bytes);
    }
    *data = end;
    return DW_OK;
}

static dw_status take_type(const dw_snapshot_file *file, dw_snapshot_entry *entry,
                           const json_t *value, dw_error *err)
{
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (json_object_size(value) != 3 || dtype == NULL) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name,
                          "dtype, shape and data_offsets are needed");
    }
    uint64_t element_bytes = dw__snapshot_dtype_bytes(dtype);
    if (element_bytes == 0) {
        return fail_entry(file, err, DW_E_UNSUPPORTED, entry->name,
                          "dtype '%.20s' is none of a snapshot's", dtype);
    }
    (void)snprintf(entry->dtype, sizeof entry->dtype, "%s", dtype);
    dw_status status = take_shape(file, entry, json_object_get(value, "shape"), err);
    if (status != DW_OK) {
        return status;
    }
    if (!dw__snapshot_shape_bytes(&entry->bytes, element_bytes, entry->shape,
                                  entry->dimension_count)) {
        return fail_entry(file, err, DW_E_LIMIT, entry->name, "its shape is over %llu bytes",
                          (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    return DW_OK;
}

static dw_status take_entry(const dw_snapshot_file *file, dw_snapshot_entry *entry,
                            const char *name, const json_t *value, uint64_t *data, dw_error *err)
{
    if (!dw__snapshot_name_is_good(name)) {
        return fail_entry(file, err, DW_E_FORMAT, name,
                          "the name of a tensor is 1 to 64 of a-z 0-9 . _ -");
    }
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    dw_status status = take_type(file, entry, value, err);
    if (status != DW_OK) {
        return status;
    }
    entry->offset = file->header_bytes + *data;
    status = take_offsets(file, entry, json_object_get(value, "data_offsets"), data, err);
    if (status == DW_OK && entry->bytes > file->bytes - entry->offset) {
        status = fail_at(err, DW_E_FORMAT, file->bytes, "the file ends, %s goes to byte %llu", name,
                         (unsigned long long)(entry->offset + entry->bytes));
    }
    return status;
}

static dw_status check_filler(const dw_snapshot_file *file, const dw_snapshot_entry *entry,
                              dw_error *err)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s%zu", DW__SNAPSHOT_FILLER, file->filler_count);
    if (strcmp(entry->name, name) != 0 || strcmp(entry->dtype, "U8") != 0 ||
        entry->dimension_count != 1 || entry->bytes == 0 || entry->bytes >= DW_SNAPSHOT_ALIGNMENT ||
        (entry->offset + entry->bytes) % DW_SNAPSHOT_ALIGNMENT != 0) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name,
                          "no filler %s, U8, to the next multiple of %u", name,
                          DW_SNAPSHOT_ALIGNMENT);
    }
    return DW_OK;
}

/* The last of all: 16 bytes that end the file. */
static dw_status check_seal_entry(const dw_snapshot_file *file, const dw_snapshot_entry *entry,
                                  dw_error *err)
{
    if (strcmp(entry->dtype, "U8") != 0 || entry->dimension_count != 1 ||
        entry->bytes != DW_HASH128_BYTES) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name, "it is not U8 of [%d]",
                          DW_HASH128_BYTES);
    }
    if (entry->offset + entry->bytes != file->bytes) {
        return fail_at(err, DW_E_FORMAT, entry->offset + entry->bytes, "%llu bytes behind the seal",
                       (unsigned long long)(file->bytes - entry->offset - entry->bytes));
    }
    return DW_OK;
}

static dw_status make_room(dw_snapshot_file *file, size_t tensor_count, dw_error *err)
{
    if (tensor_count > DW_SNAPSHOT_TENSORS_MAX) {
        return fail_at(err, DW_E_LIMIT, 8, "%zu tensors, limit %u", tensor_count,
                       DW_SNAPSHOT_TENSORS_MAX);
    }
    file->entries = dw_alloc(tensor_count, sizeof *file->entries);
    file->fillers = dw_alloc(tensor_count, sizeof *file->fillers);
    file->by_name = dw_alloc(tensor_count, sizeof *file->by_name);
    if (file->entries == NULL || file->fillers == NULL || file->by_name == NULL) {
        return dw_fail(err, DW_E_MEMORY, "%zu tensors: no memory", tensor_count);
    }
    return DW_OK;
}

static dw_status take_entries(dw_snapshot_file *file, json_t *root, dw_error *err)
{
    const char *name;
    json_t *value;
    uint64_t data = 0;
    bool sealed = false;
    dw_status status = make_room(file, json_object_size(root) - 1, err);
    json_object_foreach(root, name, value)
    {
        if (status != DW_OK || strcmp(name, "__metadata__") == 0) {
            continue;
        }
        if (sealed) {
            return fail_entry(file, err, DW_E_FORMAT, name, "it stands behind the seal");
        }
        dw_snapshot_entry entry = {.bytes = 0};
        status = take_entry(file, &entry, name, value, &data, err);
        if (status != DW_OK) {
            return status;
        }
        if (strcmp(name, DW__SNAPSHOT_SEAL) == 0) {
            status = check_seal_entry(file, &entry, err);
            sealed = true;
        } else if (dw__snapshot_name_is_filler(name)) {
            status = check_filler(file, &entry, err);
            file->fillers[file->filler_count++] = (filler){entry.offset, entry.bytes};
        } else {
            file->entries[file->entry_count++] = entry;
        }
    }
    if (status == DW_OK && !sealed) {
        status = fail_at(err, DW_E_FORMAT, 8, "header: no seal");
    }
    return status;
}

/* ---- checksums ----------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const dw_snapshot_entry *const *left = a;
    const dw_snapshot_entry *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static void sort_names(dw_snapshot_file *file)
{
    for (size_t i = 0; i < file->entry_count; i++) {
        file->by_name[i] = &file->entries[i];
    }
    qsort(file->by_name, file->entry_count, sizeof *file->by_name, compare_names);
}

/* A text of JSON within the JSON: tensor name to checksum, for each tensor and no other. */
static dw_status take_checksums(dw_snapshot_file *file, dw_error *err)
{
    uint64_t byte = place_of(file, "checksums");
    const char *text = dw_snapshot_file_meta(file, "checksums");
    json_t *checksums = NULL;
    size_t used = 0;
    if (text == NULL) {
        return fail_at(err, DW_E_FORMAT, byte, "__metadata__: no checksums");
    }
    size_t bytes = strlen(text);
    dw_status status = parse_object(&checksums, text, bytes, &used, byte, err);
    if (status == DW_OK && used != bytes) {
        status = fail_at(err, DW_E_FORMAT, byte, "checksums: more than one JSON object");
    }
    if (status == DW_OK && json_object_size(checksums) != file->entry_count) {
        status = fail_at(err, DW_E_FORMAT, byte, "checksums: %zu, of %zu tensors",
                         json_object_size(checksums), file->entry_count);
    }
    for (size_t i = 0; i < file->entry_count && status == DW_OK; i++) {
        dw_snapshot_entry *entry = &file->entries[i];
        const char *digits = json_string_value(json_object_get(checksums, entry->name));
        if (digits == NULL || !dw_hex_parse(entry->checksum, sizeof entry->checksum, digits)) {
            status = fail_at(err, DW_E_FORMAT, byte, "checksums: '%.40s' for %s",
                             digits != NULL ? digits : "", entry->name);
        }
    }
    json_decref(checksums);
    return status;
}

static dw_status verify_entry(const dw_snapshot_file *file, const dw_snapshot_entry *tensor,
                              dw_hash128 *hash, uint8_t *piece, dw_error *err)
{
    uint8_t checksum[DW_HASH128_BYTES];
    dw_hash128_reset(hash);
    for (uint64_t done = 0; done < tensor->bytes;) {
        uint64_t left = tensor->bytes - done;
        size_t now = left < DW__SNAPSHOT_PIECE_BYTES ? (size_t)left : DW__SNAPSHOT_PIECE_BYTES;
        dw_status status = read_at(file, tensor->offset + done, now, piece, err);
        if (status != DW_OK) {
            return status;
        }
        dw_hash128_add(hash, piece, now);
        done += now;
    }
    dw_hash128_finish(hash, checksum);
    if (memcmp(checksum, tensor->checksum, sizeof checksum) != 0) {
        char wanted[DW_HASH128_TEXT];
        char found[DW_HASH128_TEXT];
        dw_hex(wanted, tensor->checksum, sizeof checksum);
        dw_hex(found, checksum, sizeof checksum);
        return fail_at(err, DW_E_FORMAT, tensor->offset, "%s: checksum %s, its %llu bytes make %s",
                       tensor->name, wanted, (unsigned long long)tensor->bytes, found);
    }
    return DW_OK;
}

/* Room for a piece of any tensor. */
static uint8_t *new_piece(const dw_snapshot_file *file)
{
    bool small = file->bytes < DW__SNAPSHOT_PIECE_BYTES;
    return dw_alloc(small ? (size_t)file->bytes : DW__SNAPSHOT_PIECE_BYTES, 1);
}

static dw_status verify_filler(const dw_snapshot_file *file, const filler *zeros, uint8_t *piece,
                               dw_error *err)
{
    dw_status status = read_at(file, zeros->offset, (size_t)zeros->bytes, piece, err);
    for (uint64_t i = 0; i < zeros->bytes && status == DW_OK; i++) {
        if (piece[i] != 0) {
            status = fail_at(err, DW_E_FORMAT, zeros->offset + i, "a filler that is not zero");
        }
    }
    return status;
}

static dw_status verify_all(const dw_snapshot_file *file, dw_error *err)
{
    dw_status status = DW_OK;
    dw_hash128 *hash = dw_hash128_create();
    uint8_t *piece = new_piece(file);
    if (hash == NULL || piece == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "checksums: no memory");
    }
    for (size_t i = 0; i < file->filler_count && status == DW_OK; i++) {
        status = verify_filler(file, &file->fillers[i], piece, err);
    }
    for (size_t i = 0; i < file->entry_count && status == DW_OK; i++) {
        status = verify_entry(file, &file->entries[i], hash, piece, err);
    }
    dw_free(piece);
    dw_hash128_destroy(hash);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------ */

static dw_status load(dw_snapshot_file *file, unsigned flags, dw_error *err)
{
    json_t *root = NULL;
    dw_status status = open_file(file, err);
    if (status == DW_OK) {
        status = read_header(file, err);
    }
    if (status == DW_OK) {
        status = parse_header(file, &root, err);
    }
    if (status == DW_OK) {
        status = check_format(file, root, err);
    }
    if (status == DW_OK) {
        status = check_seal(file, err);
    }
    if (status == DW_OK) {
        status = check_kind(file, err);
    }
    if (status == DW_OK) {
        status = take_entries(file, root, err);
    }
    if (status == DW_OK) {
        sort_names(file);
        status = take_checksums(file, err);
    }
    json_decref(root);
    if (status == DW_OK && (flags & DW_SNAPSHOT_VERIFY) != 0) {
        status = verify_all(file, err);
    }
    dw_free(file->header);
    file->header = NULL;
    return status;
}

dw_status dw_snapshot_file_open(dw_snapshot_file **out, const char *path, unsigned flags,
                                dw_error *err)
{
    *out = NULL;
    dw_snapshot_file *file = dw_alloc(1, sizeof *file);
    if (file == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot: no memory");
    }
    file->fd = -1;
    file->path = dw_strdup(path);
    dw_status status = file->path != NULL ? load(file, flags, err)
                                          : dw_fail(err, DW_E_MEMORY, "a snapshot: no memory");
    if (status != DW_OK) {
        dw_snapshot_file_close(file);
        return dw_fail_within(err, status, "%s", dw__snapshot_path_end(path));
    }
    *out = file;
    return DW_OK;
}

void dw_snapshot_file_close(dw_snapshot_file *file)
{
    if (file == NULL) {
        return;
    }
    dw_os_close(file->fd);
    json_decref(file->metadata);
    dw_free(file->path);
    dw_free(file->header);
    dw_free(file->entries);
    dw_free(file->by_name);
    dw_free(file->fillers);
    dw_free(file);
}

static int compare_with_name(const void *name, const void *entry)
{
    const dw_snapshot_entry *const *right = entry;
    return strcmp(name, (*right)->name);
}

const dw_snapshot_entry *dw_snapshot_file_tensor(const dw_snapshot_file *file, const char *name)
{
    const dw_snapshot_entry *const *found = file->entry_count == 0
                                                ? NULL
                                                : bsearch(name, file->by_name, file->entry_count,
                                                          sizeof *file->by_name, compare_with_name);
    return found != NULL ? *found : NULL;
}

size_t dw_snapshot_file_count(const dw_snapshot_file *file)
{
    return file->entry_count;
}

const dw_snapshot_entry *dw_snapshot_file_at(const dw_snapshot_file *file, size_t index)
{
    DW_ASSERT(index < file->entry_count);
    return &file->entries[index];
}

const char *dw_snapshot_file_meta(const dw_snapshot_file *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

const char *dw_snapshot_file_identity(const dw_snapshot_file *file)
{
    return file->identity;
}

int dw_snapshot_file_fd(const dw_snapshot_file *file)
{
    return file->fd;
}

uint64_t dw_snapshot_file_bytes(const dw_snapshot_file *file)
{
    return file->bytes;
}

dw_status dw_snapshot_file_verify_tensor(const dw_snapshot_file *file,
                                         const dw_snapshot_entry *tensor, dw_error *err)
{
    dw_hash128 *hash = dw_hash128_create();
    uint8_t *piece = new_piece(file);
    dw_status status = hash != NULL && piece != NULL
                           ? verify_entry(file, tensor, hash, piece, err)
                           : dw_fail(err, DW_E_MEMORY, "%s: no memory", tensor->name);
    dw_free(piece);
    dw_hash128_destroy(hash);
    return status == DW_OK ? status : dw_fail_within(err, status, "%s", shown(file));
}

dw_status dw_snapshot_file_read(const dw_snapshot_file *file, const dw_snapshot_entry *tensor,
                                uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    if (offset > tensor->bytes || bytes > tensor->bytes - offset) {
        return dw_fail(err, DW_E_RANGE, "%s: %s: %zu bytes at %llu of %llu", shown(file),
                       tensor->name, bytes, (unsigned long long)offset,
                       (unsigned long long)tensor->bytes);
    }
    dw_status status = read_at(file, tensor->offset + offset, bytes, to, err);
    return status == DW_OK ? status : dw_fail_within(err, status, "%s", shown(file));
}
