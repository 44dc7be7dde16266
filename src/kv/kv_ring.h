/* A ring of pinned buffers through which bytes cross between device memory and files or host
 * memory, each once: threads fill buffers, or empty them, while the device copies others. Made at
 * first use.
 * Private to src/kv.
 * Thread: any; one transfer at a time, others wait. */
#ifndef DW_KV_KV_RING_H
#define DW_KV_KV_RING_H

#include "base/sink.h"
#include "device/vram.h"

typedef struct dw__kv_ring dw__kv_ring;

/* Bytes [offset, offset + bytes) of what is brought to the device, for `to`; by several threads at
 * once. */
typedef dw_status (*dw__kv_fill)(void *user, uint64_t offset, size_t bytes, void *to,
                                 dw_error *err);

/* `buffer_bytes` each of the buffers, two for each of `threads`, of which one is the caller's.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_ring_create(dw__kv_ring **out, dw_vram *vram, size_t buffer_bytes, int threads,
                             dw_error *err);
void dw__kv_ring_destroy(dw__kv_ring *ring); /* NULL is fine */

dw_vram *dw__kv_ring_vram(const dw__kv_ring *ring);

/* Fill device memory [bytes] at `to`. Errors: fill's, DW_E_DEVICE. */
dw_status dw__kv_ring_upload(dw__kv_ring *ring, void *to, size_t bytes, dw__kv_fill fill,
                             void *user, dw_error *err);
/* Hand device memory [bytes] at `from` to a sink. Errors: the sink's, DW_E_DEVICE. */
dw_status dw__kv_ring_download(dw__kv_ring *ring, const void *from, size_t bytes,
                               const dw_sink *sink, dw_error *err);

#endif
