/* One context's keys and values: an append-only range, a record a token (kv_layout.h),
 *   [token][layer][K, V][kv_head][head_dim]
 * so that a context is one range: freezing is one write, thawing one mapping, trimming one number,
 * forking a mapping of the full pages again. Steps' records are written by the device.
 *
 * Where the records lie is up to one of three backings (kv_backing.h). On a unified device it is a
 * region: first pages that never change, shared with the logs that were forked from this one or
 * with the file it was thawed from, then its own, in a memory file. On a device with address ranges
 * (CUDA) it is such a range, of allocations, of which forks share the full ones; a log that is not
 * in use may be evicted to host memory for others (kv_pool.h), and is restored when it is used. On
 * other discrete devices it is a device buffer that doubles, its records copied over by the device;
 * a fork copies them too.
 *
 * A step is begun by reserving or rewriting, and ends when the length has reached what was
 * reserved, or by a trim. During a step the log stays on its device.
 * Thread: one at a time, its context's. Forks that share memory with it may be used by other
 * threads at the same time. */
#ifndef DW_KV_KV_LOG_H
#define DW_KV_KV_LOG_H

#include "base/sink.h"
#include "device/device.h"
#include "kv/kv_layout.h"
#include "kv/kv_segments.h"

typedef struct dw_kv_log dw_kv_log;

typedef struct dw_kv_log_options {
    size_t record_bytes;
    uint32_t capacity_tokens;
    /* Not in host pages, even where the device could read them, for tests: in an address range,
     * emulated where need be, or in a buffer, as on devices that have none. */
    bool in_device_memory;
    bool in_buffer;
} dw_kv_log_options;

/* Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                           dw_error *err);
/* A log that holds what `parent` holds. Both go on by themselves and may be freed in any order.
 * In host memory full pages are shared, and less than a page is copied; in an address range full
 * allocations are, and what is used of the last is copied. The parent's records and address stay as
 * they are. Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_kv_log_fork(dw_kv_log **out, dw_kv_log *parent, dw_error *err);
/* The same of the parent's first `length` records alone, at most what it holds. */
dw_status dw_kv_log_fork_prefix(dw_kv_log **out, dw_kv_log *parent, uint32_t length, dw_error *err);
/* Between steps: hold the first `length` records of `from`, as a fork of it would, in the place of
 * what is held, for the same payer. The address is another one, and nothing counts as saved. `from`
 * is a log of the same records, and where they do not lie in host memory of the same capacity.
 * Errors: DW_E_LIMIT (the capacity, the payer's), DW_E_MEMORY, DW_E_DEVICE; the log is then as it
 * was. */
dw_status dw_kv_log_adopt(dw_kv_log *log, dw_kv_log *from, uint32_t length, dw_error *err);
/* Bytes from the first on that both hold, and that are charged once for both. */
uint64_t dw_kv_log_common_bytes(const dw_kv_log *a, const dw_kv_log *b);
/* A log of records that are in files: segments follow one another from log offset 0 on and hold all
 * records; there may be more. In host memory full pages are mapped, not read, where they begin at a
 * page of their file; others are read. What was mapped must stay as it is in the file, which may be
 * renamed or removed, while the log or a fork of it lives. In host memory pages that frozen->like
 * has mapped, of its first bytes, are shared with it and charged once, as in a fork.
 * Errors: DW_E_CANCELLED (frozen->stop, looked at between parts that go to a device), DW_E_FORMAT
 * (segments not so), DW_E_LIMIT (longer than the capacity), DW_E_IO, DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_kv_log_thaw(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                         const dw_kv_frozen *frozen, dw_error *err);
void dw_kv_log_destroy(dw_kv_log *log);

/* Records held; those behind are room. */
uint32_t dw_kv_log_length(const dw_kv_log *log);
uint32_t dw_kv_log_capacity(const dw_kv_log *log);
/* Records that are there to be read: at least the length rounded up to DW_KV_STEP_TOKENS. */
uint32_t dw_kv_log_committed(const dw_kv_log *log);
size_t dw_kv_log_record_bytes(const dw_kv_log *log);
/* Whether files that records are mapped from still have them: after they were read, before what
 * came of it is used. Errors: DW_E_IO (which file). */
dw_status dw_kv_log_check_files(const dw_kv_log *log, dw_error *err);
/* In host pages, so that the address below is the records' own. */
bool dw_kv_log_in_host_memory(const dw_kv_log *log);
/* The first record's address, the device's own for what is in its memory: it never moves,
 * whatever the log does. NULL in a buffer. Records are there while a step is under way, or
 * dw_kv_log_resident. */
void *dw_kv_log_base(const dw_kv_log *log);

/* Make room for `tokens` records in all, those behind the length to be written: a step begins, for
 * which an evicted log is restored, and others may be evicted. Records held stay as they are.
 * Errors: DW_E_LIMIT (beyond the capacity), DW_E_MEMORY (with what is wanted, free, and the limit),
 * DW_E_DEVICE; the log then holds what it held. */
dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err);
/* The device has written records up to `length`, which is not beyond what was reserved. */
void dw_kv_log_extend(dw_kv_log *log, uint32_t length);
/* Forget records from `length` on, which is not beyond the present length; a step that was begun
 * does not come. */
void dw_kv_log_trim(dw_kv_log *log, uint32_t length);
/* Restore an evicted log. Outside of a step it may be evicted again for another.
 * Errors: DW_E_MEMORY, DW_E_DEVICE; it then stays evicted. */
dw_status dw_kv_log_make_resident(dw_kv_log *log, dw_error *err);
/* Whether it is where its device computes on it: false for an evicted one. */
bool dw_kv_log_resident(dw_kv_log *log);
/* Zero all records behind the length, after a step that wrote NaN there: attention multiplies
 * padding by zero, and NaN would come through. Cannot fail in host memory after a reserve or a
 * rewrite that began at the length or before. Errors: DW_E_MEMORY. */
dw_status dw_kv_log_clear_rest(dw_kv_log *log, dw_error *err);
/* Records from `first` on, at most the length, are about to be changed by the device: a step
 * begins (where there are any), they are made this log's own, and count as not saved. Tensors
 * placed before are stale. Errors: DW_E_MEMORY, DW_E_DEVICE; the log is then as it was. */
dw_status dw_kv_log_rewrite(dw_kv_log *log, uint32_t first, dw_error *err);
/* Append `records` [count][record_bytes] that were computed elsewhere.
 * Errors: dw_kv_log_reserve's. */
dw_status dw_kv_log_append(dw_kv_log *log, const void *records, uint32_t count, dw_error *err);

/* Copy out [offset, offset + bytes) of the records held. Errors: DW_E_RANGE, DW_E_MEMORY. */
dw_status dw_kv_log_read(const dw_kv_log *log, uint64_t offset, size_t bytes, void *to,
                         dw_error *err);
/* Hand the same to a sink: from device memory each byte crosses the bus once, several threads
 * take them where no order is wanted, and the checksum's thread goes along. Errors: also the
 * sink's. */
dw_status dw_kv_log_stream(const dw_kv_log *log, uint64_t offset, size_t bytes, const dw_sink *sink,
                           dw_error *err);
/* Bytes from the front that are as they were when last marked as saved: appending leaves them,
 * trimming and rewriting make them fewer. A thawed log is saved, a fork as much as its parent. */
uint64_t dw_kv_log_saved_bytes(const dw_kv_log *log);
/* All records held are being saved, by whoever has a fork of it: it may go on meanwhile. One at a
 * time. */
void dw_kv_log_begin_saving(dw_kv_log *log);
/* That is over, well or not: what is still as it was then counts as saved. */
void dw_kv_log_end_saving(dw_kv_log *log, bool saved);

/* Point `tensor`, a contiguous one of whole records, at the log's start. In a buffer it is stale
 * after the next reserve. An evicted log is restored. Errors: those of dw_device_view_place, of
 * dw_kv_log_make_resident. */
dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *tensor, dw_error *err);

#endif
