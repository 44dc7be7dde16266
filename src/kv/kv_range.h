/* The bytes of a log in a device's address range: blocks of device memory mapped one behind the
 * other. Ranges that were forked from one another share blocks, which nobody writes to while they
 * do.
 *
 * A range that is not in use may be evicted: its blocks are unmapped, and those that nobody maps
 * any more are saved in host memory as the pool needs their place. Using it brings it back, at the
 * same addresses.
 * Private to src/kv.
 * Thread: a range, its log's; relatives may be used by others meanwhile. */
#ifndef DW_KV_KV_RANGE_H
#define DW_KV_KV_RANGE_H

#include "base/sink.h"
#include "kv/kv_pool.h"
#include "kv/kv_ring.h"

typedef struct dw__kv_range dw__kv_range;

/* For up to `bytes`; steps need whole multiples of `step_bytes`.
 * Errors: DW_E_UNSUPPORTED (the device has no such memory), DW_E_MEMORY,
 * DW_E_DEVICE. */
dw_status dw__kv_range_create(dw__kv_range **out, dw_device *device, bool emulated, size_t bytes,
                              size_t step_bytes, dw_error *err);
void dw__kv_range_destroy(dw__kv_range *range); /* NULL is fine */
/* The device's address of the first byte; never moves. */
void *dw__kv_range_base(const dw__kv_range *range);
/* Bytes that have memory, from the front. */
size_t dw__kv_range_mapped(const dw__kv_range *range);

/* Make `parent`'s first `held` bytes those of an empty range, with `bytes` mapped at least.
 * Errors: DW_E_MEMORY, DW_E_DEVICE; the range is then to be destroyed. */
dw_status dw__kv_range_fork(dw__kv_range *range, dw__kv_range *parent, size_t held, size_t bytes,
                            dw_error *err);

/* A step begins, which writes from byte `from` on, at most what is held, and up to `filled`: bring
 * the range to the device, make what lies behind `from` its own and have `needed` bytes mapped at
 * least. It stays until the step ends.
 * Errors: DW_E_MEMORY (wanted, free, limit), DW_E_DEVICE; what it holds is as it was. */
dw_status dw__kv_range_begin(dw__kv_range *range, size_t from, size_t filled, size_t needed,
                             dw_error *err);
/* It holds its first `held` bytes now; with `done` the step is over. */
void dw__kv_range_hold(dw__kv_range *range, size_t held, bool done);
/* It holds only `held` bytes, the step is over, and blocks that begin at `needed` or behind go. */
void dw__kv_range_trim(dw__kv_range *range, size_t held, size_t needed);
/* Bring it to the device; it may leave again when another needs the place. Errors: as begin's. */
dw_status dw__kv_range_return(dw__kv_range *range, dw_error *err);
bool dw__kv_range_resident(dw__kv_range *range);

/* Within a step: fill mapped bytes that are its own. Errors: fill's, DW_E_DEVICE. */
dw_status dw__kv_range_upload(dw__kv_range *range, size_t offset, size_t bytes, dw__kv_fill fill,
                              void *user, dw_error *err);
/* Within a step: zero them. */
dw_status dw__kv_range_clear(dw__kv_range *range, size_t offset, size_t bytes, dw_error *err);
/* Hand bytes that are held to a sink, wherever they are. Errors: the sink's, DW_E_DEVICE,
 * DW_E_MEMORY. */
dw_status dw__kv_range_read(dw__kv_range *range, size_t offset, size_t bytes, const dw_sink *sink,
                            dw_error *err);
/* A buffer of the device, which tells ggml whose the range's tensors are. */
ggml_backend_buffer_t dw__kv_range_buffer(const dw__kv_range *range);

#endif
