#include "device/host_register.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void dw_host_register_reason(const dw_host_register_facts *facts, char *text, size_t capacity)
{
    int length = snprintf(text, capacity, "%zu host bytes cannot be registered: %.60s",
                          facts->bytes, facts->driver);
    if (length < 0 || (size_t)length >= capacity) {
        return;
    }
    text += length;
    capacity -= (size_t)length;
    /* Locked pages add up over a process: a limit near to what was asked for is the reason, too. */
    if (facts->locked_max_bytes != UINT64_MAX && facts->locked_max_bytes / 2 < facts->bytes) {
        (void)snprintf(text, capacity,
                       " (`ulimit -l` allows %" PRIu64 " KiB of locked memory: raise it)",
                       facts->locked_max_bytes / 1024);
    } else if (facts->wsl) {
        (void)snprintf(text, capacity, " (WSL locks a part of its memory only)");
    } else if (strstr(facts->driver, "permitted") != NULL ||
               strstr(facts->driver, "not supported") != NULL) {
        (void)snprintf(text, capacity, " (this process may not: see its container's limits)");
    }
}
