/* What guests write to standard error, for the log. Private to src/runtime. Thread: the guest's,
 * without the runtime's lock. */
#ifndef DW_RUNTIME_GUEST_LINES_H
#define DW_RUNTIME_GUEST_LINES_H

#include "driftwood.h"

struct dw__record;

typedef struct dw__guest_lines {
    char text[248]; /* [count]: of a line that has no end yet */
    size_t count;
    uint64_t begin_ns; /* of the second that `noted` counts in */
    uint32_t noted;
    uint64_t lost; /* lines that were too many */
} dw__guest_lines;

void dw__guest_lines_take(dw_runtime *runtime, const struct dw__record *record,
                          dw__guest_lines *lines, const unsigned char *bytes, size_t count);
/* The message has ended: what is left is a line. */
void dw__guest_lines_end(dw_runtime *runtime, const struct dw__record *record,
                         dw__guest_lines *lines);
/* How urgent it says it is: "<3>text", as systemd has it, which is cut off; "error: text",
 * "[warn] text" and the like; else DW_LOG_INFO. */
dw_log_level dw__guest_line_level(const char **line);

#endif
