/* Where a KV log's records lie, behind one interface with three implementations:
 *   pages   host pages (kv_pages.c), where a device computes on host memory
 *   range   a device's address range (kv_range.c), whose contents can be evicted
 *   buffer  a device buffer that doubles (kv_buffer.c), where there are no address ranges
 * The log (kv_log.c) knows how many records it has, which of them are saved, and which step is
 * under way; it checks arguments before it calls. A backing has the bytes. To add one:
 * CONTRIBUTING.md, "A backing of the KV log".
 * Private to src/kv.
 * Thread: its log's; those that a fork shares bytes with may be used by other threads at the
 * same time. */
#ifndef DW_KV_KV_BACKING_H
#define DW_KV_KV_BACKING_H

#include "base/sink.h"
#include "device/device.h"
#include "kv/kv_layout.h"
#include "kv/kv_segments.h"

typedef struct dw__kv_backing dw__kv_backing;

typedef struct dw__kv_backing_options {
    dw_device *device;
    size_t record_bytes;
    uint32_t records_max; /* whole steps (DW_KV_STEP_TOKENS); their bytes, in pages, are a size */
} dw__kv_backing_options;

/* What a backing does. Lengths are records, offsets and sizes bytes. Where an operation fails, what
 * is held stays as it was, but for an `empty` one, which is to be destroyed then. */
typedef struct dw__kv_backing_ops {
    /* Records have host addresses, at which the device computes too. */
    bool in_host_pages;
    /* Errors: DW_E_UNSUPPORTED (the device has no such memory), DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*create)(dw__kv_backing **out, const dw__kv_backing_options *options, dw_error *err);
    void (*destroy)(dw__kv_backing *backing);

    /* Make an empty one hold the first `length` records of `parent`, at most all that it has.
     * Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*fork)(dw__kv_backing *empty, dw__kv_backing *parent, uint32_t length,
                      dw_error *err);
    /* Make an empty one begin with what `like` has of the first `bytes`, as far as both can share
     * them, for `thaw` to go on from: `*taken` are. NULL: none. Errors: DW_E_MEMORY. */
    dw_status (*begin_like)(dw__kv_backing *empty, const dw__kv_backing *like, uint64_t bytes,
                            uint64_t *taken, dw_error *err);
    /* Make an empty one hold frozen->length records, of segments that were checked.
     * Errors: DW_E_IO, DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*thaw)(dw__kv_backing *empty, const dw_kv_frozen *frozen, dw_error *err);

    /* A step begins, which writes records from `first` on, of the `length` that are held, or behind
     * them, up to `end`: they are on the device, shared with nobody, and committed, in whole steps.
     * Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*begin)(dw__kv_backing *backing, uint32_t first, uint32_t length, uint32_t end,
                       dw_error *err);
    /* It holds `length` records now, not fewer than before; with `done` the step is over. May be
     * NULL. */
    void (*extend)(dw__kv_backing *backing, uint32_t length, bool done);
    /* It holds `length` records now, at most as many as before, and the step is over. May be NULL.
     */
    void (*trim)(dw__kv_backing *backing, uint32_t length);
    /* Zero what is behind `length` records. Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*clear_rest)(dw__kv_backing *backing, uint32_t length, dw_error *err);

    /* Bytes from the first on that others have too. NULL: none, as far as is known. */
    size_t (*shared_bytes)(const dw__kv_backing *backing);

    /* Within a step: `bytes` at `offset`. Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*write)(dw__kv_backing *backing, size_t offset, const void *from, size_t bytes,
                       dw_error *err);
    /* Hand held bytes to a sink. Errors: the sink's, DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*read)(dw__kv_backing *backing, size_t offset, size_t bytes, const dw_sink *sink,
                      dw_error *err);

    /* The first record's address, which never changes; NULL: it has none. May be NULL. */
    void *(*address)(const dw__kv_backing *backing);
    /* Point a tensor at the first record. Errors: those of dw_device_view_place, DW_E_MEMORY. */
    dw_status (*place)(dw__kv_backing *backing, struct ggml_tensor *tensor, dw_error *err);
    /* Whether files that records are mapped from still have them. NULL: nothing is mapped.
     * Errors: DW_E_IO. */
    dw_status (*check_files)(const dw__kv_backing *backing, dw_error *err);
    /* Evicted contents, brought back, and whether there are none. NULL: nothing is ever evicted.
     * Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*make_resident)(dw__kv_backing *backing, dw_error *err);
    bool (*is_resident)(dw__kv_backing *backing);
} dw__kv_backing_ops;

/* The first member of each implementation's own. */
struct dw__kv_backing {
    const dw__kv_backing_ops *ops;
    dw_device *device;
    size_t record_bytes;
    uint32_t records_max;
    uint32_t committed; /* records that are there to be read, whole steps */
};

extern const dw__kv_backing_ops dw__kv_pages_ops;
extern const dw__kv_backing_ops dw__kv_range_ops;
extern const dw__kv_backing_ops dw__kv_buffer_ops;

/* ---- what they share ---- */

/* A zeroed implementation of `bytes`, with what all have set. NULL: no memory, `err` says so. */
void *dw__kv_backing_alloc(size_t bytes, const dw__kv_backing_ops *ops,
                           const dw__kv_backing_options *options, dw_error *err);
/* Records rounded up to whole steps. */
uint32_t dw__kv_whole_steps(uint32_t records);
/* How many to commit for `end`, doubling what is committed: a context of n tokens grows log2(n)
 * times, and wastes at most half. */
uint32_t dw__kv_doubled(const dw__kv_backing *backing, uint32_t end);

#define DW__KV_PART_BYTES ((size_t)1 << 20) /* at once; the second use finds it in the cache */

/* Hand host memory to a sink, part by part, in order and then anywhere, as [at, at + bytes) of its
 * run. Errors: the sink's. */
dw_status dw__kv_pass(const dw_sink *sink, uint64_t at, const void *from, size_t bytes,
                      dw_error *err);
/* A dw_sink's `anywhere`, and a ring's fill: from or to plain memory at `user`. */
dw_status dw__kv_copy_out(void *user, uint64_t offset, const void *from, size_t bytes,
                          dw_error *err);
dw_status dw__kv_copy_in(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err);

#endif
