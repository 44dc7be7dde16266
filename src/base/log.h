/* Diagnostics, off unless dw_log_set (include/driftwood.h) asks for them. Results and errors never
 * go this way: they are returned. Thread: any. */
#ifndef DW_BASE_LOG_H
#define DW_BASE_LOG_H

#include "driftwood.h"

void dw_log(dw_log_level level, const char *format, ...) DW_PRINTF(2, 3);

#endif
