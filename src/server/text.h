/* Text that grows. */
#ifndef DW_SERVER_TEXT_H
#define DW_SERVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dw__text {
    char *bytes; /* [count], a NUL behind; NULL: nothing was added yet */
    size_t count;
    size_t capacity;
} dw__text;

/* false: there is no memory, and it is as it was. */
bool dw__text_add(dw__text *to, const void *bytes, size_t count);
void dw__text_free(dw__text *text);

#endif
