/* Where the tensors of a snapshot file go, and its header. The header's length is known before its
 * checksums are, since they are all of one length. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/checked.h"
#include "snapshot/snapshot_writer_internal.h"

#define NO_CHECKSUM "00000000000000000000000000000000"

/* ---- the layout --------------------------------------------------------------------------- */

static void add_part(dw__snapshot_output *to, const dw__snapshot_item *tensor, uint64_t bytes)
{
    to->parts[to->part_count++] =
        (dw__snapshot_part){.item = tensor, .offset = to->data_bytes, .bytes = bytes};
    to->data_bytes += bytes;
}

/* At most 2^16 tensors of at most 2^40 bytes: the sum fits. */
static dw_status place_tensors(dw__snapshot_output *to, const dw_snapshot_writer *writer,
                               dw_error *err)
{
    uint32_t filler_count = 0;
    to->part_count = 0;
    to->data_bytes = 0;
    for (size_t i = 0; i < writer->item_count; i++) {
        const dw__snapshot_item *tensor = &writer->items[i];
        uint64_t at = to->header_bytes + to->data_bytes;
        uint64_t over = (at - tensor->tensor.phase) % DW_SNAPSHOT_ALIGNMENT;
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

static bool make_room(dw__snapshot_text *to, size_t bytes)
{
    size_t needed;
    if (to->failed || !dw_add_size(&needed, to->count, bytes)) {
        return false;
    }
    to->failed = !DW_ARRAY_RESERVE(to->bytes, to->capacity, needed, SIZE_MAX);
    return !to->failed;
}

static void add_bytes(dw__snapshot_text *to, const char *bytes, size_t count)
{
    if (make_room(to, count)) {
        memcpy(to->bytes + to->count, bytes, count);
        to->count += count;
    }
}

static void add(dw__snapshot_text *to, const char *format, ...) DW_PRINTF(2, 3);

/* What is formatted here are names and numbers. */
static void add(dw__snapshot_text *to, const char *format, ...)
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
static void add_string(dw__snapshot_text *to, const char *value)
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

static void add_metadata(dw__snapshot_output *to, const dw_snapshot_writer *writer)
{
    dw__snapshot_text *header = &to->header;
    const char *kind = dw__snapshot_find_meta(writer, "kind");
    add(header, "{\"__metadata__\":{\"format\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"",
        DW__SNAPSHOT_FORMAT,
        dw__snapshot_is_delta(writer) ? DW_SNAPSHOT_VERSION_DELTA : DW_SNAPSHOT_VERSION,
        kind != NULL ? kind : "full");
    for (size_t i = 0; i < writer->pair_count; i++) {
        if (strcmp(writer->pairs[i].key, "kind") != 0) {
            add(header, ",\"%s\":", writer->pairs[i].key);
            add_string(header, writer->pairs[i].value);
        }
    }
    add(header, ",\"checksums\":\"{");
    const char *comma = "";
    for (size_t i = 0; i < to->part_count; i++) {
        dw__snapshot_part *tensor = &to->parts[i];
        if (tensor->item != NULL) {
            add(header, "%s\\\"%s\\\":\\\"", comma, tensor->item->name);
            tensor->checksum_position = header->count;
            add(header, "%s\\\"", NO_CHECKSUM);
            comma = ",";
        }
    }
    add(header, "}\"}");
}

static void add_tensor(dw__snapshot_text *to, const dw__snapshot_part *tensor, bool is_seal)
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

/* All of it but the checksums and the spaces. */
static void make_header(dw__snapshot_output *to, const dw_snapshot_writer *writer)
{
    dw__snapshot_text *header = &to->header;
    header->count = 0;
    add_bytes(header, "\0\0\0\0\0\0\0", 8);
    add_metadata(to, writer);
    for (size_t i = 0; i < to->part_count; i++) {
        add_tensor(header, &to->parts[i], i + 1 == to->part_count);
    }
    add(header, "}");
}

/* Spaces up to the length that the layout is made for, and that length. */
static dw_status finish_header(dw__snapshot_output *to, dw_error *err)
{
    dw__snapshot_text *header = &to->header;
    size_t spaces = to->header_bytes - header->count;
    if (make_room(header, spaces)) {
        memset(header->bytes + header->count, ' ', spaces);
        header->count += spaces;
    }
    if (header->failed) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot's header: no memory");
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

/* Fillers depend on the header's length, and that on how their lengths are written: the layout is
 * made again for a longer header until one is long enough, which few digits more can ask for. */
dw_status dw__snapshot_lay_out(dw__snapshot_output *to, const dw_snapshot_writer *writer,
                               dw_error *err)
{
    const size_t unit =
        dw__snapshot_is_delta(writer) ? DW_SNAPSHOT_DELTA_UNIT : DW_SNAPSHOT_ALIGNMENT;
    to->parts = dw_alloc(2 * writer->item_count + 1, sizeof *to->parts);
    if (to->parts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot of %zu tensors: no memory",
                       writer->item_count);
    }
    for (size_t needed = unit; needed > to->header_bytes;) {
        to->header_bytes = needed;
        dw_status status = place_tensors(to, writer, err);
        if (status != DW_OK) {
            return status;
        }
        make_header(to, writer);
        needed = to->header.count + (unit - to->header.count % unit) % unit;
        if (needed > DW_SNAPSHOT_HEADER_BYTES_MAX) {
            return dw_fail(err, DW_E_LIMIT, "a header of %zu bytes, limit %u", needed,
                           DW_SNAPSHOT_HEADER_BYTES_MAX);
        }
    }
    return finish_header(to, err);
}

void dw__snapshot_fill_in_checksums(dw__snapshot_output *to)
{
    for (size_t i = 0; i < to->part_count; i++) {
        const dw__snapshot_part *tensor = &to->parts[i];
        if (tensor->checksum_position != 0) {
            char digits[DW_HASH128_TEXT];
            dw_hex(digits, tensor->checksum, DW_HASH128_BYTES);
            memcpy(to->header.bytes + tensor->checksum_position, digits, DW_HASH128_TEXT - 1);
        }
    }
}
