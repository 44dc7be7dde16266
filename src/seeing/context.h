/* Where something belongs in a trace that others keep: W3C's Trace Context. */
#ifndef DW_SEEING_CONTEXT_H
#define DW_SEEING_CONTEXT_H

typedef struct dw_trace_context {
    char trace_id[33]; /* 32 digits; "": there is none */
    char span_id[17];  /* 16 digits, of who caused it */
} dw_trace_context;

/* Of a header `traceparent`, "00-TRACE-SPAN-FLAGS"; of one that has not that form, none. NULL is
 * fine. Thread: any. */
dw_trace_context dw_trace_context_read(const char *traceparent);

#endif
