/* A line of a conversation's answer as most of them are, read without building a value of it.
 * Thread: any. */
#ifndef DW_SERVING_LINE_H
#define DW_SERVING_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "http/text.h"

/* {"c": choice, "k": tokens, "t": "text"}, compact, members in this order and no others. */
typedef struct dw_line {
    uint32_t choice;
    uint32_t tokens;
    dw_text *text; /* the caller's: decoded, without what it had before; its memory is kept */
} dw_line;

/* false: it is another line, or none that stands for a value; `line` is of no use then. */
bool dw_line_read(dw_line *line, const char *bytes, size_t count);

#endif
