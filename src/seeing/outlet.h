/* Where a thread writes text that nobody waits for: a descriptor of the
 * embedder's, which may be slow or gone. Such a thread holds nobody up, and its end waits for the
 * descriptor for a bounded time.
 * Thread: one at a time, but for `hurries`. */
#ifndef DW_SEEING_OUTLET_H
#define DW_SEEING_OUTLET_H

#include <stdatomic.h>

#include "base/status.h"

typedef struct dw_outlet {
    int fd;
    int failed;           /* errno of the write that was the last; 0: none was */
    _Atomic bool hurries; /* what is not taken within a second any more is given up */
    uint64_t give_up_ns;  /* by then; 0: not yet known */
} dw_outlet;

/* SIGPIPE is not for the calling thread from now on. */
void dw_outlet_prepare(void);
/* Write all of it. False: it failed, now or before. */
bool dw_outlet_write(dw_outlet *outlet, const char *bytes, size_t count);

#endif
