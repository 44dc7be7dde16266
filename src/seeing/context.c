#include "seeing/context.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* `digits` small hexadecimal digits, not all 0 where that is nobody's. */
static bool is_id(const char *text, size_t digits)
{
    return strspn(text, "0123456789abcdef") == digits && strspn(text, "0") < digits;
}

dw_trace_context dw_trace_context_read(const char *traceparent)
{
    dw_trace_context context = {.trace_id = ""};
    char version[3] = "";
    char trace[33] = "";
    char span[17] = "";
    char flags[3] = "";
    int end = 0;
    if (traceparent == NULL ||
        sscanf(traceparent, "%2[0-9a-f]-%32[0-9a-f]-%16[0-9a-f]-%2[0-9a-f]%n", version, trace, span,
               flags, &end) != 4) {
        return context;
    }
    /* Later versions may go on behind a '-'; ff is none. */
    bool ended =
        traceparent[end] == '\0' || (traceparent[end] == '-' && strcmp(version, "00") != 0);
    if (end == 55 && ended && strcmp(version, "ff") != 0 && is_id(trace, 32) && is_id(span, 16)) {
        memcpy(context.trace_id, trace, sizeof trace);
        memcpy(context.span_id, span, sizeof span);
    }
    return context;
}
