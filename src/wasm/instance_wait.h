/* Waits of guests: for a time, and for the process's standard streams. They end at once when the
 * guest is asked to stop. On the caller's stack they block the thread; under a scheduler the
 * guest's fiber is left, and others run.
 * Thread: the instance's own. */
#ifndef DW_WASM_INSTANCE_WAIT_H
#define DW_WASM_INSTANCE_WAIT_H

#include <stdatomic.h>

#include "base/stop.h"
#include "wasm/wasm_host.h"

enum {
    DW_WAIT_INPUT = 1 << 0,  /* standard input can be read, or is at its end */
    DW_WAIT_OUTPUT = 1 << 1, /* standard output takes something, or fails */
    DW_WAIT_ERROR = 1 << 2,  /* standard error likewise */
    DW_WAIT_WOKEN = 1 << 3,  /* of dw_wait_poll alone: by the waker */
    DW_WAIT_HANGUP = 1 << 4, /* with DW_WAIT_INPUT: nobody writes to it any more */
};

typedef struct dw_wait {
    uint32_t wanted;          /* of the first three; several: any of them */
    uint32_t ready;           /* out: of these */
    uint64_t until_ns;        /* by dw_os_clock_ns; UINT64_MAX: however long it takes */
    const _Atomic bool *flag; /* set by another thread, which calls dw_stop_wake then; NULL: none */
    bool to_end;              /* it goes on where the guest is asked to stop */
} dw_wait;

/* Whether what the flag stands for has come. */
static inline bool dw_wait_flagged(const dw_wait *wait)
{
    return wait->flag != NULL && *wait->flag;
}

/* Wait until one of what is wanted is ready, a time has come, or `waker` (may be NULL) was written
 * to, which is forgotten then. Blocks. What has come of these; 0: the time has. */
uint32_t dw_wait_poll(uint32_t wanted, uint64_t until_ns, const dw_waker *waker);

/* A waker of the host's, which stays open as long as it: who asks a guest to stop may come late.
 * Errors: DW_E_LIMIT (descriptors), DW_E_MEMORY. Thread: any. */
dw_status dw_wakers_take(dw_wasm_host *host, dw_waker **out, dw_error *err);
/* NULL is fine. */
void dw_wakers_give(dw_wasm_host *host, dw_waker *waker);

#endif
