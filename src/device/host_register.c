#include "device/host_register.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void dw__host_register_reason(const dw__host_register_failure *failure, char *text, size_t capacity)
{
    int length = snprintf(text, capacity, "%zu host bytes cannot be registered: %.60s",
                          failure->bytes, failure->driver);
    if (length < 0 || (size_t)length >= capacity) {
        return;
    }
    text += length;
    capacity -= (size_t)length;
    /* Locked pages add up over a process: a limit near to what was asked for is the reason, too. */
    if (failure->locked_max_bytes != UINT64_MAX && failure->locked_max_bytes / 2 < failure->bytes) {
        (void)snprintf(text, capacity,
                       " (`ulimit -l` allows %" PRIu64 " KiB of locked memory: raise it)",
                       failure->locked_max_bytes / 1024);
    } else if (failure->wsl) {
        (void)snprintf(text, capacity, " (WSL locks a part of its memory only)");
    } else if (strstr(failure->driver, "permitted") != NULL ||
               strstr(failure->driver, "not supported") != NULL) {
        (void)snprintf(text, capacity, " (this process may not: see its container's limits)");
    }
}
