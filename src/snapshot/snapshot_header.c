/* The header of a snapshot file, which is untrusted. Order of the checks: its JSON, what it says it
 * is (so that other files and versions are named as such), its seal, the tensors, their
 * checksums. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "snapshot/snapshot_reader_internal.h"

/* What a header within the limits can need; more would only make the JSON parser take memory. A
 * tensor opens 3 brackets and has up to 11 commas; 4,096 keys of metadata have one each. */
#define NESTING_MAX 4u
#define VALUES_MAX (DW_SNAPSHOT_TENSORS_MAX * 16u + DW_SNAPSHOT_META_MAX)

/* ---- JSON ---------------------------------------------------------------------------------- */

static dw_status check_extent(const char *text, size_t bytes, uint64_t at, dw_error *err)
{
    static const dw_json_bounds most = {SIZE_MAX, VALUES_MAX + 1, NESTING_MAX, 0};
    dw_json_excess excess;
    if (dw_json_within(text, bytes, &most, &excess)) {
        return DW_OK;
    }
    at += excess.at;
    if (strcmp(excess.what, "NUL") == 0) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, at, "header: a NUL byte in JSON");
    }
    return strcmp(excess.what, "levels") == 0
               ? dw__snapshot_fail_at(err, DW_E_FORMAT, at, "header: JSON nested deeper than %u",
                                      NESTING_MAX)
               : dw__snapshot_fail_at(err, DW_E_LIMIT, at, "header: more than %u values of JSON",
                                      VALUES_MAX);
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
        return dw__snapshot_fail_at(err, DW_E_FORMAT, at, "header: no JSON object");
    }
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &why);
    if (root == NULL) {
        bool memory = json_error_code(&why) == json_error_out_of_memory;
        return dw__snapshot_fail_at(err, memory ? DW_E_MEMORY : DW_E_FORMAT,
                                    at + (uint64_t)why.position, "header: %.120s", why.text);
    }
    *used = (size_t)why.position;
    *out = root;
    return DW_OK;
}

/* Where the header has `key`: for messages. A quoted key within a text has backslashes. */
static uint64_t place_of(const dw_snapshot_file *file, const char *key)
{
    size_t length = strlen(key);
    const char *end = file->header + file->head->header_bytes;
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
    size_t bytes = without_spaces(text, file->head->header_bytes - 8);
    dw_status status = parse_object(root, text, bytes, &used, 8, err);
    for (size_t i = used; status == DW_OK && i < bytes; i++) {
        if (text[i] != ' ') {
            status = dw__snapshot_fail_at(err, DW_E_FORMAT, 8 + i,
                                          "header: more than spaces behind the JSON");
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
const dw_json_bounds dw_snapshot_about_bounds = {
    DW_SNAPSHOT_HEADER_BYTES_MAX, DW_SNAPSHOT_ABOUT_VALUES_MAX, DW_SNAPSHOT_ABOUT_DEPTH_MAX,
    DW_SNAPSHOT_ABOUT_OBJECT};

static dw_status check_format(dw_snapshot_file *file, const json_t *root, dw_error *err)
{
    uint64_t byte = place_of(file, "__metadata__");
    const char *key;
    json_t *value;
    file->head->metadata = json_incref(json_object_get(root, "__metadata__"));
    if (!json_is_object(file->head->metadata)) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, byte,
                                    "no Driftwood snapshot: no __metadata__");
    }
    json_object_foreach(file->head->metadata, key, value)
    {
        if (!json_is_string(value)) {
            return dw__snapshot_fail_at(err, DW_E_FORMAT, place_of(file, key),
                                        "__metadata__: '%.64s' is no string", key);
        }
        dw_json_excess excess;
        if ((strcmp(key, "actor") == 0 || strcmp(key, "settings") == 0) &&
            !dw_json_within(json_string_value(value), json_string_length(value),
                            &dw_snapshot_about_bounds, &excess)) {
            return dw__snapshot_fail_at(err, DW_E_LIMIT, place_of(file, key),
                                        "__metadata__: '%s' is JSON of more than %llu %s", key,
                                        (unsigned long long)excess.limit, excess.what);
        }
    }
    const char *format = dw_snapshot_file_meta(file, "format");
    if (format == NULL || strcmp(format, DW__SNAPSHOT_FORMAT) != 0) {
        return dw__snapshot_fail_at(
            err, DW_E_FORMAT, byte,
            "no Driftwood snapshot: __metadata__ has format '%.40s', '%s' is needed",
            format != NULL ? format : "", DW__SNAPSHOT_FORMAT);
    }
    const char *version = dw_snapshot_file_meta(file, "version");
    file->head->close = version != NULL && strcmp(version, DW_SNAPSHOT_VERSION_DELTA) == 0;
    if (version == NULL || (!file->head->close && strcmp(version, DW_SNAPSHOT_VERSION) != 0 &&
                            strcmp(version, DW_SNAPSHOT_VERSION_FIRST) != 0)) {
        return dw__snapshot_fail_at(
            err, version == NULL ? DW_E_FORMAT : DW_E_UNSUPPORTED, place_of(file, "version"),
            "version %.20s, this program reads %s to %s", version != NULL ? version : "missing",
            DW_SNAPSHOT_VERSION_FIRST, DW_SNAPSHOT_VERSION_DELTA);
    }
    return DW_OK;
}

static dw_status check_seal(dw_snapshot_file *file, dw_error *err)
{
    uint8_t stored[DW_HASH128_BYTES];
    uint8_t seal[DW_HASH128_BYTES];
    const unsigned unit = file->head->close ? DW_SNAPSHOT_DELTA_UNIT : DW_SNAPSHOT_ALIGNMENT;
    if (file->head->header_bytes % unit != 0) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, 0,
                                    "a header of %zu bytes with its length: no multiple "
                                    "of %u",
                                    file->head->header_bytes, unit);
    }
    if (file->bytes - file->head->header_bytes < sizeof stored) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, file->bytes,
                                    "the file ends, before its seal");
    }
    uint64_t place = file->bytes - sizeof stored;
    dw_status status = dw__snapshot_read_at(file, place, sizeof stored, stored, err);
    if (status != DW_OK) {
        return status;
    }
    dw_hash128_of(seal, file->header, file->head->header_bytes);
    dw_hex(file->head->identity, seal, sizeof seal);
    if (memcmp(seal, stored, sizeof seal) != 0) {
        char digits[DW_SNAPSHOT_IDENTITY];
        dw_hex(digits, stored, sizeof stored);
        return dw__snapshot_fail_at(err, DW_E_FORMAT, place,
                                    "the seal is %s, the header makes %s: damaged or cut", digits,
                                    file->head->identity);
    }
    return DW_OK;
}

static dw_status check_kind(const dw_snapshot_file *file, dw_error *err)
{
    const char *kind = dw_snapshot_file_meta(file, "kind");
    const char *base = dw_snapshot_file_meta(file, "base");
    bool delta = kind != NULL && strcmp(kind, "delta") == 0;
    if (kind == NULL || (!delta && strcmp(kind, "full") != 0)) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, place_of(file, "kind"),
                                    "__metadata__: kind '%.40s', full or delta is needed",
                                    kind != NULL ? kind : "");
    }
    if (delta != (base != NULL) || (base != NULL && !is_identity(base))) {
        return dw__snapshot_fail_at(
            err, DW_E_FORMAT, place_of(file, base != NULL ? "base" : "kind"),
            "__metadata__: base '%.40s' of a snapshot that is %s", base != NULL ? base : "", kind);
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
    return dw__snapshot_fail_at(err, code, place_of(file, name), "%.64s: %s", name, message);
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
    entry->offset = file->head->header_bytes + *data;
    status = take_offsets(file, entry, json_object_get(value, "data_offsets"), data, err);
    if (status == DW_OK && entry->bytes > file->bytes - entry->offset) {
        status = dw__snapshot_fail_at(err, DW_E_FORMAT, file->bytes,
                                      "the file ends, %s goes to byte %llu", name,
                                      (unsigned long long)(entry->offset + entry->bytes));
    }
    return status;
}

static dw_status check_filler(const dw_snapshot_file *file, const dw_snapshot_entry *entry,
                              dw_error *err)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s%zu", DW__SNAPSHOT_FILLER, file->head->filler_count);
    if (strcmp(entry->name, name) != 0 || strcmp(entry->dtype, "U8") != 0 ||
        entry->dimension_count != 1 || entry->bytes == 0 || entry->bytes >= DW_SNAPSHOT_ALIGNMENT ||
        (!file->head->close && (entry->offset + entry->bytes) % DW_SNAPSHOT_ALIGNMENT != 0)) {
        return fail_entry(file, err, DW_E_FORMAT, entry->name, "no filler %s, U8, %s%u", name,
                          file->head->close ? "of less than " : "to the next multiple of ",
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
        return dw__snapshot_fail_at(
            err, DW_E_FORMAT, entry->offset + entry->bytes, "%llu bytes behind the seal",
            (unsigned long long)(file->bytes - entry->offset - entry->bytes));
    }
    return DW_OK;
}

static dw_status make_room(dw_snapshot_file *file, size_t tensor_count, dw_error *err)
{
    if (tensor_count > DW_SNAPSHOT_TENSORS_MAX) {
        return dw__snapshot_fail_at(err, DW_E_LIMIT, 8, "%zu tensors, limit %u", tensor_count,
                                    DW_SNAPSHOT_TENSORS_MAX);
    }
    file->head->entries = dw_alloc(tensor_count, sizeof *file->head->entries);
    file->head->fillers = dw_alloc(tensor_count, sizeof *file->head->fillers);
    file->head->by_name = dw_alloc(tensor_count, sizeof *file->head->by_name);
    if (file->head->entries == NULL || file->head->fillers == NULL || file->head->by_name == NULL) {
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
            file->head->fillers[file->head->filler_count++] =
                (dw__snapshot_filler){entry.offset, entry.bytes};
        } else {
            file->head->entries[file->head->entry_count++] = entry;
        }
    }
    if (status == DW_OK && !sealed) {
        status = dw__snapshot_fail_at(err, DW_E_FORMAT, 8, "header: no seal");
    }
    return status;
}

/* ---- checksums ---------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const dw_snapshot_entry *const *left = a;
    const dw_snapshot_entry *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

void dw__snapshot_sort_names(dw__snapshot_head *head)
{
    for (size_t i = 0; i < head->entry_count; i++) {
        head->by_name[i] = &head->entries[i];
    }
    if (head->entry_count > 0) {
        qsort(head->by_name, head->entry_count, sizeof *head->by_name, compare_names);
    }
}

/* A text of JSON within the JSON: tensor name to checksum, for each tensor and no other. */
static dw_status take_checksums(dw_snapshot_file *file, dw_error *err)
{
    uint64_t byte = place_of(file, "checksums");
    const char *text = dw_snapshot_file_meta(file, "checksums");
    json_t *checksums = NULL;
    size_t used = 0;
    if (text == NULL) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, byte, "__metadata__: no checksums");
    }
    size_t bytes = strlen(text);
    dw_status status = parse_object(&checksums, text, bytes, &used, byte, err);
    if (status == DW_OK && used != bytes) {
        status =
            dw__snapshot_fail_at(err, DW_E_FORMAT, byte, "checksums: more than one JSON object");
    }
    if (status == DW_OK && json_object_size(checksums) != file->head->entry_count) {
        status = dw__snapshot_fail_at(err, DW_E_FORMAT, byte, "checksums: %zu, of %zu tensors",
                                      json_object_size(checksums), file->head->entry_count);
    }
    for (size_t i = 0; i < file->head->entry_count && status == DW_OK; i++) {
        dw_snapshot_entry *entry = &file->head->entries[i];
        const char *digits = json_string_value(json_object_get(checksums, entry->name));
        if (digits == NULL || !dw_hex_parse(entry->checksum, sizeof entry->checksum, digits)) {
            status = dw__snapshot_fail_at(err, DW_E_FORMAT, byte, "checksums: '%.40s' for %s",
                                          digits != NULL ? digits : "", entry->name);
        }
    }
    json_decref(checksums);
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static dw_status take_all(dw_snapshot_file *file, json_t *root, dw_error *err)
{
    dw_status status = check_format(file, root, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_seal(file, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_kind(file, err);
    if (status != DW_OK) {
        return status;
    }
    status = take_entries(file, root, err);
    if (status != DW_OK) {
        return status;
    }
    dw__snapshot_sort_names(file->head);
    return take_checksums(file, err);
}

dw_status dw__snapshot_read_header(dw_snapshot_file *file, dw_error *err)
{
    json_t *root = NULL;
    dw_status status = parse_header(file, &root, err);
    if (status == DW_OK) {
        status = take_all(file, root, err);
    }
    json_decref(root);
    return status;
}
