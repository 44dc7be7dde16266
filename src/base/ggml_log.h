/* ggml's and libllama's logs. Each has one callback a process: ours, which passes every line on to
 * the one that was set before, if somebody set one. Thread: any. */
#ifndef DW_BASE_GGML_LOG_H
#define DW_BASE_GGML_LOG_H

#include <stddef.h>

/* Take both callbacks, unless they are ours already. Before calls whose lines matter: they tell the
 * reason for an abort (dw_ggml_note_error) and for a load that failed. */
void dw_ggml_log_take(void);

/* The first error line on this thread since the last call with text NULL. A load happens on one
 * thread, and libllama says why it failed only in its log. */
void dw_ggml_log_error(char *text, size_t capacity);

#endif
