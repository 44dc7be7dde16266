#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int current_level = DW_LOG_NONE;
static const char *const level_names[] = {"none", "error", "warn", "info", "debug"};

void dw_log_level_set(dw_log_level level)
{
    atomic_store(&current_level, (int)level);
}

void dw_log_level_from_env(void)
{
    const char *wanted = getenv("DRIFTWOOD_LOG");
    for (size_t i = 0; wanted != NULL && i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(wanted, level_names[i]) == 0) {
            dw_log_level_set((dw_log_level)i);
        }
    }
}

void dw_log(dw_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed)) {
        return;
    }
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)fprintf(stderr, "driftwood: %s: %s\n", level_names[level], line);
}
