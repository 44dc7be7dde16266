#include "base/utf8.h"

#include <string.h>

bool dw_text_is_utf8(const char *text, size_t bytes)
{
    size_t taken = 1;
    for (size_t at = 0; at < bytes && taken > 0; at += taken) {
        taken = dw_utf8_bytes((const unsigned char *)text + at, bytes - at);
    }
    return taken > 0;
}

bool dw_text_is_name(const char *text)
{
    size_t bytes = strlen(text);
    bool plain = bytes > 0 && dw_text_is_utf8(text, bytes);
    for (size_t i = 0; i < bytes && plain; i++) {
        plain = (unsigned char)text[i] >= ' ';
    }
    return plain;
}

void dw_text_mend(char *text)
{
    size_t left = strlen(text);
    for (unsigned char *at = (unsigned char *)text; left > 0;) {
        size_t bytes = dw_utf8_bytes(at, left);
        if (bytes == 0) {
            *at = '?';
        } else if (*at < 0x20 || *at == 0x7f) {
            *at = ' ';
        }
        at += bytes > 0 ? bytes : 1;
        left -= bytes > 0 ? bytes : 1;
    }
}
