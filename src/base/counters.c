#include "base/counters.h"

#include <string.h>

void dw_copy_payload(dw_counters *counters, void *to, const void *from, size_t bytes)
{
    dw_count(&counters->host_copied_bytes, bytes);
    memcpy(to, from, bytes);
}
