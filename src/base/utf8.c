#include "base/utf8.h"

#include <string.h>

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
