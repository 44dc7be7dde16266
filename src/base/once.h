/* Work that is done once for everybody, when somebody first needs it: on a thread of its own where
 * who needs it may have to end, so that it can be left. It goes on then, for the next.
 * Thread: any. */
#ifndef DW_BASE_ONCE_H
#define DW_BASE_ONCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/stop.h"

typedef dw_status (*dw_once_work)(void *arg, dw_error *err);

typedef struct dw_once {
    dw_once_work work;
    void *arg;
    pthread_mutex_t lock; /* guards what follows */
    bool begun;
    bool has_thread;
    pthread_t thread;
    bool ended;
    dw_status status;
    dw_error error;
    _Atomic bool done; /* and well */
} dw_once;

/* `arg` outlives it. What `work` allocates is nobody's. */
void dw_once_init(dw_once *once, dw_once_work work, void *arg);
/* Waits for work that has begun. Nobody else uses it any more. */
void dw_once_release(dw_once *once);
/* Have it done. `stop` may be NULL: then here. Errors: those of `work`, and the next call tries
 * again; DW_E_CANCELLED. */
dw_status dw_once_do(dw_once *once, dw_stop *stop, dw_error *err);

#endif
