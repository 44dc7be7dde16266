/* Diagnostics to standard error, off unless asked for (DRIFTWOOD_LOG=error|warn|info|debug).
 * Results and errors never go this way: they are returned. Thread: any. */
#ifndef DW_BASE_LOG_H
#define DW_BASE_LOG_H

#include "driftwood.h"

typedef enum dw_log_level {
    DW_LOG_NONE = 0,
    DW_LOG_ERROR,
    DW_LOG_WARN,
    DW_LOG_INFO,
    DW_LOG_DEBUG,
} dw_log_level;

void dw_log_level_set(dw_log_level level);
/* Reads DRIFTWOOD_LOG; an unknown word leaves the level as it is. */
void dw_log_level_from_env(void);
void dw_log(dw_log_level level, const char *format, ...) DW_PRINTF(2, 3);

#endif
