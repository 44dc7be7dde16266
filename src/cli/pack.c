/* Files into a guest that runs them, such as `javascript`: into room that its memory has for them.
 *
 * Such a guest has, in its data, "driftwood-files" and a NUL, and behind it four little-endian
 * numbers: the room's address, its bytes, how many of them are used, and 0. The files become a data
 * segment of their own at that address, at the end of the data section, so that nothing else of
 * the module moves. Each file: bytes of its name, bytes of it, its name, itself. */
#include "cli/pack.h"

#include <stdlib.h>
#include <string.h>

#define MODULE_BYTES_MAX ((size_t)1 << 30)
#define MARK "driftwood-files" /* and its NUL */
#define SECTION_DATA 11
#define SECTION_DATA_COUNT 12
#define LEB_BYTES_MAX 5

typedef struct bytes {
    unsigned char *data;
    size_t count;
    size_t room;
    bool failed; /* no memory */
} bytes;

static void append(bytes *to, const void *from, size_t count)
{
    if (to->failed || count == 0) {
        return;
    }
    if (to->room - to->count < count) {
        size_t room = (to->count + count) * 2;
        unsigned char *grown = dw_cli_realloc(to->data, room, 1);
        if (grown == NULL) {
            to->failed = true;
            return;
        }
        to->data = grown;
        to->room = room;
    }
    memcpy(to->data + to->count, from, count);
    to->count += count;
}

static void append_number(bytes *to, uint32_t value)
{
    unsigned char little[] = {(unsigned char)value, (unsigned char)(value >> 8),
                              (unsigned char)(value >> 16), (unsigned char)(value >> 24)};
    append(to, little, sizeof little);
}

static uint32_t number_at(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void append_leb(bytes *to, uint32_t value)
{
    do {
        unsigned char byte = (unsigned char)(value & 0x7f);
        value >>= 7;
        byte |= value != 0 ? 0x80 : 0;
        append(to, &byte, 1);
    } while (value != 0);
}

/* i32.const takes a signed one. */
static void append_signed_leb(bytes *to, int32_t value)
{
    for (bool more = true; more;) {
        unsigned char byte = (unsigned char)(value & 0x7f);
        value >>= 7;
        more = !((value == 0 && (byte & 0x40) == 0) || (value == -1 && (byte & 0x40) != 0));
        byte |= more ? 0x80 : 0;
        append(to, &byte, 1);
    }
}

static bool take_leb(const unsigned char *from, size_t count, size_t *at, uint32_t *value)
{
    uint64_t all = 0;
    for (int i = 0; i < LEB_BYTES_MAX && *at < count; i++) {
        unsigned char byte = from[(*at)++];
        all |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *value = (uint32_t)all;
            return all <= UINT32_MAX;
        }
    }
    return false;
}

/* The place of the mark in a data section; more than one, or none: count. */
static size_t find_mark(const unsigned char *from, size_t count)
{
    size_t found = count;
    for (size_t at = 0; at + sizeof MARK + 16 <= count; at++) {
        if (from[at] == MARK[0] && memcmp(from + at, MARK, sizeof MARK) == 0) {
            if (found != count) {
                return count;
            }
            found = at;
        }
    }
    return found;
}

/* The data section with the files as one segment more. */
static dw_status pack_data(bytes *out, const unsigned char *section, size_t count,
                           const bytes *files, dw_error *err)
{
    uint32_t segments = 0;
    size_t at = 0;
    bytes body = {.data = NULL};
    size_t mark = find_mark(section, count);
    if (!take_leb(section, count, &at, &segments) || segments == UINT32_MAX || mark < at ||
        mark == count) {
        return dw_fail(err, DW_E_FORMAT, "the guest has no room for files");
    }
    const unsigned char *numbers = section + mark + sizeof MARK;
    uint32_t room = number_at(numbers + 4);
    if (number_at(numbers + 8) != 0) {
        return dw_fail(err, DW_E_STATE, "the guest has files already");
    }
    if (files->count > room) {
        return dw_fail(err, DW_E_LIMIT, "the files have %zu bytes, the guest has room for %u",
                       files->count, room);
    }
    append_leb(&body, segments + 1);
    size_t used_at = body.count + (mark - at) + sizeof MARK + 8;
    append(&body, section + at, count - at);
    unsigned char active = 0;
    unsigned char const_and_end[] = {0x41, 0x0b};
    append(&body, &active, 1);
    append(&body, const_and_end, 1);
    append_signed_leb(&body, (int32_t)number_at(numbers));
    append(&body, const_and_end + 1, 1);
    append_leb(&body, (uint32_t)files->count);
    append(&body, files->data, files->count);
    if (!body.failed) {
        for (int i = 0; i < 4; i++) {
            body.data[used_at + (size_t)i] = (unsigned char)(files->count >> (8 * i));
        }
        append_leb(out, (uint32_t)body.count);
        append(out, body.data, body.count);
    }
    out->failed |= body.failed;
    free(body.data);
    return DW_OK;
}

/* The module again, its data section with the files. */
static dw_status pack_module(bytes *out, const unsigned char *module, size_t count,
                             const bytes *files, dw_error *err)
{
    bool packed = false;
    append(out, module, 8);
    for (size_t at = 8; at < count;) {
        unsigned char id = module[at++];
        uint32_t size = 0;
        uint32_t segments = 0;
        size_t within = 0;
        if (!take_leb(module, count, &at, &size) || size > count - at) {
            return dw_fail(err, DW_E_FORMAT, "the guest's section at byte %zu is cut off", at);
        }
        append(out, &id, 1);
        if (id == SECTION_DATA_COUNT && take_leb(module + at, size, &within, &segments)) {
            bytes number = {.data = NULL};
            append_leb(&number, segments + 1);
            append_leb(out, (uint32_t)number.count);
            append(out, number.data, number.count);
            out->failed |= number.failed;
            free(number.data);
        } else if (id == SECTION_DATA) {
            dw_status status = pack_data(out, module + at, size, files, err);
            if (status != DW_OK) {
                return status;
            }
            packed = true;
        } else {
            append_leb(out, size);
            append(out, module + at, size);
        }
        at += size;
    }
    return packed ? DW_OK : dw_fail(err, DW_E_FORMAT, "the guest has no room for files");
}

bool dw_cli_runs_files(const void *module, size_t count)
{
    const unsigned char *file = module;
    size_t mark = find_mark(file, count);
    return mark < count && number_at(file + mark + sizeof MARK + 8) == 0;
}

/* One file, by its name. */
static dw_status add_file(bytes *files, const char *name, dw_error *err)
{
    char *text;
    size_t count;
    dw_status status = dw_cli_read_file(name, MODULE_BYTES_MAX, &text, &count, err);
    if (status == DW_OK) {
        append_number(files, (uint32_t)strlen(name));
        append_number(files, (uint32_t)count);
        append(files, name, strlen(name));
        append(files, text, count);
        free(text);
    }
    return status;
}

dw_status dw_cli_pack(const char *guest, char *const *names, size_t count, const char *to,
                      dw_error *err)
{
    char *module = NULL;
    size_t module_bytes = 0;
    bytes files = {.data = NULL};
    bytes out = {.data = NULL};
    dw_error problem;
    dw_status status = dw_cli_read_file(guest, MODULE_BYTES_MAX, &module, &module_bytes, err);
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        size_t before = 0; /* a * may name a file again */
        while (strcmp(names[before], names[i]) != 0) {
            before++;
        }
        status = before == i ? add_file(&files, names[i], err) : DW_OK;
    }
    if (status != DW_OK) {
        goto out;
    }
    if (module_bytes < 8 || memcmp(module, "\0asm\1\0\0", 8) != 0) {
        status = dw_fail(err, DW_E_FORMAT, "%.150s: no WebAssembly module of version 1", guest);
        goto out;
    }
    status = pack_module(&out, (const unsigned char *)module, module_bytes, &files, &problem);
    if (status != DW_OK) {
        status = dw_fail(err, problem.code, "%.100s: %.120s", guest, problem.message);
    } else if (files.failed || out.failed) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for %.100s", to);
    } else {
        status = dw_cli_write_new(to, out.data, out.count, err);
    }
out:
    free(module);
    free(files.data);
    free(out.data);
    return status;
}
