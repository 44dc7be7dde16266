/* Characters that come in pieces. */
#ifndef GUEST_EXAMPLES_UTF8_H
#define GUEST_EXAMPLES_UTF8_H

#include <stddef.h>

/* How many bytes at the end of `text` are the start of a longer UTF-8 character. */
static size_t unfinished(const char *text, size_t count)
{
    for (size_t back = 1; back <= 3 && back <= count; back++) {
        unsigned char byte = (unsigned char)text[count - back];
        if ((byte & 0xc0) == 0x80) {
            continue;
        }
        size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

#endif
