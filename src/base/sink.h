/* Where a run of bytes goes that is produced part by part, possibly by several threads: to a
 * hash, which needs them in order, and to a file, which does not. */
#ifndef DW_BASE_SINK_H
#define DW_BASE_SINK_H

#include "base/status.h"

typedef struct dw_sink {
    /* The next `bytes`, from the producer's own thread. NULL: nobody needs an order. */
    dw_status (*in_order)(void *user, const void *from, size_t bytes, dw_error *err);
    /* Bytes [offset, offset + bytes) of the run, each once, in any order and from several
     * threads at once. NULL: nobody wants them so. */
    dw_status (*anywhere)(void *user, uint64_t offset, const void *from, size_t bytes,
                          dw_error *err);
    void *user;
} dw_sink;

#endif
