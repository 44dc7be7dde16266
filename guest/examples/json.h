/* JSON for guests: texts that grow, strings written, members read. */
#ifndef GUEST_EXAMPLES_JSON_H
#define GUEST_EXAMPLES_JSON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct json_text {
    char *bytes; /* NUL-terminated */
    size_t count;
    size_t capacity;
} json_text;

static void json_add_bytes(json_text *to, const char *bytes, size_t count)
{
    if (to->count + count + 1 > to->capacity) {
        to->capacity = 2 * (to->count + count) + 64;
        to->bytes = realloc(to->bytes, to->capacity);
        if (to->bytes == NULL) {
            fprintf(stderr, "out of memory: %zu bytes\n", to->capacity);
            exit(1);
        }
    }
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
    to->bytes[to->count] = '\0';
}

static void json_add(json_text *to, const char *text)
{
    json_add_bytes(to, text, strlen(text));
}

/* Bytes of the character at the front; 0: none begins so. */
static size_t json_character(const unsigned char *bytes, size_t left)
{
    unsigned char first = bytes[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || length > left || first > 0xf4 || (first == 0xe0 && bytes[1] < 0xa0) ||
        (first == 0xed && bytes[1] > 0x9f) || (first == 0xf0 && bytes[1] < 0x90) ||
        (first == 0xf4 && bytes[1] > 0x8f)) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* text [count] as a JSON string; bytes that are no UTF-8 become U+FFFD. */
static void json_add_string(json_text *to, const char *text, size_t count)
{
    json_add(to, "\"");
    for (size_t i = 0; i < count;) {
        const char *at = text + i;
        size_t length = json_character((const unsigned char *)at, count - i);
        if (length == 1 && ((unsigned char)*at < 0x20 || *at == '"' || *at == '\\')) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*at);
            json_add(to, escaped);
        } else if (length == 0) {
            json_add(to, "\xef\xbf\xbd");
        } else {
            json_add_bytes(to, at, length);
        }
        i += length == 0 ? 1 : length;
    }
    json_add(to, "\"");
}

/* The end of the JSON value at `at`, which is well formed. */
static const char *json_skip(const char *at)
{
    int depth = 0;
    do {
        if (*at == '"') {
            for (at++; *at != '"'; at++) {
                at += *at == '\\' ? 1 : 0;
            }
        }
        depth += *at == '{' || *at == '[' ? 1 : *at == '}' || *at == ']' ? -1 : 0;
        at++;
    } while (*at != '\0' && (depth > 0 || (*at != ',' && *at != '}' && *at != ']')));
    return at;
}

/* The value of a member of the object, up to *end; NULL: there is none. Compact JSON, as the host
 * writes it. */
static const char *json_member(const char *object, const char *name, const char **end)
{
    size_t length = strlen(name);
    for (const char *at = object + 1; *at == '"';) {
        const char *value = json_skip(at); /* stands behind the key's colon once it is passed */
        const char *colon = at + 1;
        while (*colon != '"') {
            colon += *colon == '\\' ? 2 : 1;
        }
        *end = value;
        if ((size_t)(colon - at - 1) == length && memcmp(at + 1, name, length) == 0) {
            return colon + 2;
        }
        at = *value == ',' ? value + 1 : value;
    }
    return NULL;
}

static uint32_t json_unit(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], '\0'};
    return (uint32_t)strtoul(digits, NULL, 16);
}

static void json_add_code(json_text *to, uint32_t code)
{
    char bytes[4];
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    bytes[0] = (char)(marks[length] | code);
    json_add_bytes(to, bytes, length);
}

/* What a JSON string says; "" for another value, or none. */
static json_text json_string(const char *value)
{
    json_text text = {.count = 0};
    json_add(&text, "");
    if (value == NULL || *value != '"') {
        return text;
    }
    static const char letters[] = "bfnrt";
    static const char plain[] = "\b\f\n\r\t";
    for (const char *at = value + 1; *at != '"'; at++) {
        if (*at != '\\') {
            json_add_bytes(&text, at, 1);
            continue;
        }
        const char *letter = strchr(letters, *++at);
        if (*at != 'u') {
            json_add_bytes(&text, letter != NULL ? &plain[letter - letters] : at, 1);
            continue;
        }
        uint32_t code = json_unit(at + 1);
        at += 4;
        if (code >= 0xd800 && code < 0xdc00 && at[1] == '\\' && at[2] == 'u') {
            code = 0x10000 + ((code - 0xd800) << 10) + (json_unit(at + 3) - 0xdc00);
            at += 6;
        }
        json_add_code(&text, code);
    }
    return text;
}

static json_text json_member_string(const char *object, const char *name)
{
    const char *end;
    return json_string(json_member(object, name, &end));
}

#endif
