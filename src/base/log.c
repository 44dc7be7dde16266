#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/callback.h"

static _Atomic int current_level = DW_LOG_NONE;
/* Written while nobody else is inside of the library, before the level. */
static dw_log_fn on_line;
static void *on_line_user;

void dw_log_set(dw_log_level level, dw_log_fn callback, void *user)
{
    atomic_store(&current_level, (int)DW_LOG_NONE);
    on_line = callback;
    on_line_user = user;
    atomic_store(&current_level, (int)level);
}

void dw_log(dw_log_level level, const char *format, ...)
{
    static const char *const names[] = {"none", "error", "warn", "info", "debug"};
    if ((int)level > atomic_load_explicit(&current_level, memory_order_acquire) ||
        dw_callback_under_way()) {
        return; /* what a callback of the log brings about is not logged */
    }
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (on_line != NULL) {
        dw_callback_enter();
        on_line(on_line_user, level, line);
        dw_callback_leave();
    } else {
        (void)fprintf(stderr, "driftwood: %s: %s\n", names[level], line);
    }
}
