/* Reading a range's bytes, wherever they are.
 * Private to src/kv. */
#ifndef DW_KV_KV_RANGE_READ_H
#define DW_KV_KV_RANGE_READ_H

#include "kv/kv_backing.h"

/* A range's read, of its dw__kv_backing_ops. Takes the pool's lock; reads without it. */
dw_status dw__kv_range_read(dw__kv_backing *backing, size_t offset, size_t bytes,
                            const dw_sink *sink, dw_error *err);

#endif
