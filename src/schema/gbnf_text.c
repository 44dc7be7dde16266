/* Text that grows, and the escapes of a grammar. */
#include <stdio.h>

#include "base/alloc.h"
#include "schema/json_grammar_internal.h"

void dw__gbnf_add(dw__gbnf *text, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (bytes >= 0 && text->count + (size_t)bytes >= text->capacity && !text->failed) {
        size_t capacity = 2 * (text->count + (size_t)bytes) + 256;
        char *larger = dw_realloc(text->bytes, capacity, 1);
        text->failed = larger == NULL || capacity > 4 * DW_GRAMMAR_BYTES_MAX;
        text->bytes = larger != NULL ? larger : text->bytes;
        text->capacity = larger != NULL ? capacity : text->capacity;
    }
    if (bytes >= 0 && !text->failed) {
        (void)vsnprintf(text->bytes + text->count, (size_t)bytes + 1, format, again);
        text->count += (size_t)bytes;
    }
    va_end(again);
}

void dw__gbnf_release(dw__gbnf *text)
{
    dw_free(text->bytes);
    *text = (dw__gbnf){.bytes = NULL};
}

void dw__gbnf_character(dw__gbnf *text, uint32_t character)
{
    bool plain = (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
                 (character >= '0' && character <= '9') || character == ' ';
    if (plain) {
        dw__gbnf_add(text, "%c", (int)character);
    } else {
        dw__gbnf_add(text, character < 0x100 ? "\\x%02X" : "\\U%08X", character);
    }
}

void dw__gbnf_literal(dw__gbnf *text, const char *json)
{
    dw__gbnf_add(text, " \"");
    for (; *json != '\0'; json++) {
        dw__gbnf_add(text, *json == '"' || *json == '\\' ? "\\%c" : "%c", *json);
    }
    dw__gbnf_add(text, "\"");
}
