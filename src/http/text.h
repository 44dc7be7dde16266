/* Text that grows. */
#ifndef DW_HTTP_TEXT_H
#define DW_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dw_text {
    char *bytes; /* [count], a NUL behind; NULL: nothing was added yet */
    size_t count;
    size_t capacity;
} dw_text;

/* false: there is no memory, and it is as it was. */
bool dw_text_add(dw_text *to, const void *bytes, size_t count);
void dw_text_free(dw_text *text);

#endif
