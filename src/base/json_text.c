#include "base/json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"

static bool reserve(dw_json_text *json, size_t more)
{
    if (more <= json->capacity && json->count <= json->capacity - more) {
        return true;
    }
    if (!json->grows || json->failed) {
        return false;
    }
    size_t capacity = json->capacity < 1024 ? 1024 : json->capacity;
    while (capacity - json->count < more && capacity <= SIZE_MAX / 4) {
        capacity *= 2;
    }
    char *items = dw_realloc(json->items, capacity, 1);
    json->failed = items == NULL || capacity - json->count < more;
    if (items != NULL) {
        json->items = items;
        json->capacity = capacity;
    }
    return !json->failed;
}

void dw_json_text_release(dw_json_text *json)
{
    if (json->grows) {
        dw_free(json->items);
    }
    *json = (dw_json_text){.grows = json->grows};
}

void dw_json_raw(dw_json_text *json, const char *bytes, size_t count)
{
    if (count == 0) {
        return;
    }
    if (reserve(json, count)) {
        memcpy(json->items + json->count, bytes, count);
    }
    json->count += count;
    json->last = bytes[count - 1];
}

/* A value or a key comes next. */
static void part(dw_json_text *json)
{
    if (json->last != '\0' && json->last != '{' && json->last != '[' && json->last != ':') {
        dw_json_raw(json, ",", 1);
    }
}

void dw_json_open(dw_json_text *json, char bracket)
{
    part(json);
    dw_json_raw(json, &bracket, 1);
}

void dw_json_close(dw_json_text *json, char bracket)
{
    dw_json_raw(json, &bracket, 1);
}

/* Characters that do what they are not seen to do in a terminal or an editor are told by number. */
static bool is_plain(const unsigned char *bytes, size_t count)
{
    if (count == 1) {
        return bytes[0] >= ' ' && bytes[0] != 0x7f && bytes[0] != '"' && bytes[0] != '\\';
    }
    return count != 2 || bytes[0] != 0xc2 || bytes[1] >= 0xa0; /* U+0080 to U+009F */
}

static void escape(dw_json_text *json, const unsigned char *bytes, size_t count)
{
    char text[8];
    unsigned code = count == 2 ? bytes[1] : bytes[0];
    if (code == '"' || code == '\\') {
        (void)snprintf(text, sizeof text, "\\%c", (char)code);
    } else {
        (void)snprintf(text, sizeof text, "\\u%04x", code);
    }
    dw_json_raw(json, text, strlen(text));
}

void dw_json_string_of(dw_json_text *json, const char *bytes, size_t count)
{
    const unsigned char *from = (const unsigned char *)bytes;
    size_t plain = 0; /* in front of `i`, not written yet */
    part(json);
    dw_json_raw(json, "\"", 1);
    for (size_t i = 0; i < count;) {
        size_t taken = dw_utf8_bytes(from + i, count - i);
        if (taken > 0 && is_plain(from + i, taken)) {
            i += taken;
            plain += taken;
            continue;
        }
        dw_json_raw(json, bytes + i - plain, plain);
        plain = 0;
        if (taken > 0) {
            escape(json, from + i, taken);
        } else {
            dw_json_raw(json, "\\ufffd", 6);
        }
        i += taken > 0 ? taken : 1;
    }
    dw_json_raw(json, bytes + count - plain, plain);
    dw_json_raw(json, "\"", 1);
}

void dw_json_string(dw_json_text *json, const char *text)
{
    dw_json_string_of(json, text, strlen(text));
}

void dw_json_key(dw_json_text *json, const char *name)
{
    dw_json_string(json, name);
    dw_json_raw(json, ":", 1);
}

static void number(dw_json_text *json, const char *text)
{
    part(json);
    dw_json_raw(json, text, strlen(text));
}

void dw_json_whole(dw_json_text *json, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    number(json, text);
}

void dw_json_micros(dw_json_text *json, uint64_t ns)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64 ".%03u", ns / 1000, (unsigned)(ns % 1000));
    number(json, text);
}

void dw_json_truth(dw_json_text *json, bool value)
{
    number(json, value ? "true" : "false");
}

void dw_json_add_string(dw_json_text *json, const char *name, const char *text)
{
    dw_json_key(json, name);
    dw_json_string(json, text);
}

void dw_json_add_whole(dw_json_text *json, const char *name, uint64_t value)
{
    dw_json_key(json, name);
    dw_json_whole(json, value);
}

void dw_json_add_truth(dw_json_text *json, const char *name, bool value)
{
    dw_json_key(json, name);
    dw_json_truth(json, value);
}
