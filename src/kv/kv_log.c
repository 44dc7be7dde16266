#include "kv/kv_log.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "kv/kv_backing.h"
#include "kv/kv_charge.h"
#include "kv/kv_kept.h"
#include "kv/kv_pool.h"

struct dw_kv_log {
    dw_device *device;
    dw__kv_backing *backing;
    uint32_t capacity; /* as asked for; the backing's is in whole steps */
    uint32_t length;
    uint32_t step_end; /* of the step begun last: it is over when the length has reached this */
    uint64_t saved_bytes;
    uint64_t saving_bytes; /* of dw_kv_log_begin_saving, as far as they are as they were */
    dw__kv_charge charge;
};

static size_t held_bytes(const dw_kv_log *log)
{
    return log->length * log->backing->record_bytes;
}

/* What a guest pays for `records`. */
static uint64_t charged_end(const dw_kv_log *log, uint32_t records)
{
    return (uint64_t)dw__kv_whole_steps(records) * log->backing->record_bytes;
}

/* After each change, also one that failed. */
static void check(const dw_kv_log *log)
{
    const dw__kv_backing *backing = log->backing;
    DW_ASSERT(log->length <= log->capacity && log->length <= backing->committed);
    DW_ASSERT(backing->committed % DW_KV_STEP_TOKENS == 0);
    DW_ASSERT(backing->committed <= backing->records_max);
    DW_ASSERT(log->saved_bytes <= held_bytes(log) && log->saving_bytes <= held_bytes(log));
}

static void forget_saved(dw_kv_log *log, uint32_t from)
{
    uint64_t bytes = (uint64_t)from * log->backing->record_bytes;
    log->saved_bytes = log->saved_bytes < bytes ? log->saved_bytes : bytes;
    log->saving_bytes = log->saving_bytes < bytes ? log->saving_bytes : bytes;
}

/* ---- life ---- */

static const dw__kv_backing_ops *choose(dw_device *device, const dw_kv_log_options *options)
{
    if (options->in_buffer) {
        return &dw__kv_buffer_ops;
    }
    bool in_pages =
        dw_device_unified(device) && !options->in_device_memory && !dw_kv_pool_takes_all(device);
    return in_pages ? &dw__kv_pages_ops : &dw__kv_range_ops;
}

static dw_status create_backing(dw_kv_log *log, const dw__kv_backing_ops *ops, size_t record_bytes,
                                dw_error *err)
{
    dw__kv_backing_options options = {.device = log->device,
                                      .record_bytes = record_bytes,
                                      .records_max = dw__kv_whole_steps(log->capacity)};
    size_t bytes;
    if (!dw_mul_size(&bytes, options.records_max, record_bytes) ||
        !dw_round_up(&bytes, bytes, dw_os_page_bytes())) {
        return dw_fail(err, DW_E_MEMORY, "kv log: %u tokens of %zu bytes are too many",
                       log->capacity, record_bytes);
    }
    dw_status status = ops->create(&log->backing, &options, err);
    if (status == DW_E_UNSUPPORTED && ops == &dw__kv_range_ops) {
        return dw__kv_buffer_ops.create(&log->backing, &options, err);
    }
    return status;
}

/* One without a backing yet. NULL: no memory, `err` says so. */
static dw_kv_log *alloc_log(dw_device *device, const dw_kv_log_options *options, dw_error *err)
{
    dw_kv_log *log = dw_alloc(1, sizeof *log);
    if (log == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for a kv log");
        return NULL;
    }
    log->device = device;
    log->capacity = options->capacity_tokens;
    dw__kv_charge_init(&log->charge);
    dw_count(&dw_device_counters_of(device)->contexts, 1);
    return log;
}

static dw_status create_log(dw_kv_log **out, dw_device *device, const dw__kv_backing_ops *ops,
                            const dw_kv_log_options *options, dw_error *err)
{
    *out = NULL;
    dw_kv_log *log = alloc_log(device, options, err);
    if (log == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = create_backing(log, ops, options->record_bytes, err);
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    check(log);
    *out = log;
    return DW_OK;
}

dw_status dw_kv_log_create(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                           dw_error *err)
{
    DW_ASSERT(options->record_bytes > 0 && options->capacity_tokens > 0);
    DW_ASSERT(options->capacity_tokens < UINT32_MAX / 2);
    return create_log(out, device, choose(device, options), options, err);
}

void dw_kv_log_destroy(dw_kv_log *log)
{
    if (log == NULL) {
        return;
    }
    dw_uncount(&dw_device_counters_of(log->device)->contexts, 1);
    if (log->backing != NULL) {
        log->backing->ops->destroy(log->backing);
    }
    dw__kv_charge_release(&log->charge);
    dw_free(log);
}

void dw_kv_log_keep(dw_kv_log *log, const dw_kv_key *key)
{
    if (log->length > 0 && log->saved_bytes == held_bytes(log) &&
        dw__kv_range_keep(log->backing, key, log->length, log->capacity)) {
        log->backing = NULL;
    }
    dw_kv_log_destroy(log);
}

dw_status dw_kv_log_find_kept(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                              const dw_kv_key *key, uint32_t length, dw_error *err)
{
    dw__kv_backing *backing = dw__kv_range_find_kept(device, options, key, length);
    *out = NULL;
    if (backing == NULL) {
        return DW_OK;
    }
    dw_kv_log *log = alloc_log(device, options, err);
    if (log == NULL) {
        backing->ops->destroy(backing);
        return DW_E_MEMORY;
    }
    log->backing = backing;
    dw_status status = dw__kv_charge_extend(&log->charge, 0, charged_end(log, length), err);
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    log->length = length;
    log->saved_bytes = held_bytes(log);
    check(log);
    *out = log;
    return DW_OK;
}

static dw_status fork_log(dw_kv_log **out, dw_kv_log *parent, uint32_t length, uint32_t capacity,
                          dw_error *err)
{
    dw__kv_backing *from = parent->backing;
    dw_kv_log_options options = {.record_bytes = from->record_bytes, .capacity_tokens = capacity};
    dw_kv_log *log = NULL;
    *out = NULL;
    DW_ASSERT(length <= parent->length && length <= capacity);
    dw_status status = create_log(&log, parent->device, from->ops, &options, err);
    if (status != DW_OK) {
        return status;
    }
    DW_ASSERT(log->backing->ops == from->ops);
    status = from->ops->fork(log->backing, from, length, err);
    check(parent);
    if (status == DW_OK) {
        size_t shared = from->ops->shared_bytes != NULL ? from->ops->shared_bytes(log->backing) : 0;
        status = dw__kv_charge_fork(&log->charge, &parent->charge, shared,
                                    charged_end(parent, length), err);
    }
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    log->length = length;
    log->saved_bytes = parent->saved_bytes;
    forget_saved(log, length);
    check(log);
    *out = log;
    return DW_OK;
}

dw_status dw_kv_log_fork(dw_kv_log **out, dw_kv_log *parent, dw_error *err)
{
    return fork_log(out, parent, parent->length, parent->capacity, err);
}

dw_status dw_kv_log_fork_prefix(dw_kv_log **out, dw_kv_log *parent, uint32_t length, dw_error *err)
{
    return fork_log(out, parent, length, parent->capacity, err);
}

dw_status dw_kv_log_adopt(dw_kv_log *log, dw_kv_log *from, uint32_t length, dw_error *err)
{
    dw_kv_log *fork = NULL;
    DW_ASSERT(from->backing->record_bytes == log->backing->record_bytes);
    if (length > log->capacity) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", length, log->capacity);
    }
    dw_account_scope payer = dw_account_enter(log->charge.account, DW_PART_KV);
    dw_status status = fork_log(&fork, from, length, log->capacity, err);
    dw_account_leave(payer);
    if (status != DW_OK) {
        return status;
    }
    dw_kv_log before = *log;
    *log = *fork;
    log->saved_bytes = 0;
    *fork = before;
    dw_kv_log_destroy(fork);
    return DW_OK;
}

uint64_t dw_kv_log_common_bytes(const dw_kv_log *a, const dw_kv_log *b)
{
    uint64_t common = dw__kv_charge_common(&a->charge, &b->charge);
    common = common < held_bytes(a) ? common : held_bytes(a);
    return common < held_bytes(b) ? common : held_bytes(b);
}

/* Charge what is thawed, and have what it shares with another log. */
static dw_status begin_thaw(dw_kv_log *log, const dw_kv_frozen *frozen, size_t held, dw_error *err)
{
    dw_kv_log *like = frozen->like;
    const dw__kv_backing_ops *ops = log->backing->ops;
    uint64_t end = charged_end(log, frozen->length);
    uint64_t taken = 0;
    if (like == NULL || ops->begin_like == NULL || like->backing->ops != ops) {
        return dw__kv_charge_extend(&log->charge, 0, end, err);
    }
    uint64_t wanted = frozen->like_bytes < held_bytes(like) ? frozen->like_bytes : held_bytes(like);
    DW_ASSERT(like->backing->record_bytes == log->backing->record_bytes);
    dw_status status =
        ops->begin_like(log->backing, like->backing, wanted < held ? wanted : held, &taken, err);
    return status == DW_OK ? dw__kv_charge_fork(&log->charge, &like->charge, taken, end, err)
                           : status;
}

dw_status dw_kv_log_thaw(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                         const dw_kv_frozen *frozen, dw_error *err)
{
    dw_kv_log *log = NULL;
    size_t held;
    *out = NULL;
    if (frozen->length > options->capacity_tokens ||
        !dw_mul_size(&held, frozen->length, options->record_bytes)) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", frozen->length,
                       options->capacity_tokens);
    }
    dw_status status = dw_kv_segments_check(frozen->segments, frozen->segment_count, held, err);
    if (status == DW_OK) {
        status = dw_kv_log_create(&log, device, options, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = begin_thaw(log, frozen, held, err);
    if (status == DW_OK) {
        status = log->backing->ops->thaw(log->backing, frozen, err);
    }
    if (status != DW_OK) {
        dw_kv_log_destroy(log);
        return status;
    }
    log->length = frozen->length;
    log->saved_bytes = held;
    check(log);
    *out = log;
    return DW_OK;
}

uint32_t dw_kv_log_length(const dw_kv_log *log)
{
    return log->length;
}

uint32_t dw_kv_log_capacity(const dw_kv_log *log)
{
    return log->capacity;
}

uint32_t dw_kv_log_committed(const dw_kv_log *log)
{
    return log->backing->committed;
}

size_t dw_kv_log_record_bytes(const dw_kv_log *log)
{
    return log->backing->record_bytes;
}

dw_status dw_kv_log_check_files(const dw_kv_log *log, dw_error *err)
{
    const dw__kv_backing_ops *ops = log->backing->ops;
    return ops->check_files != NULL ? ops->check_files(log->backing, err) : DW_OK;
}

bool dw_kv_log_in_host_memory(const dw_kv_log *log)
{
    return log->backing->ops->in_host_pages;
}

void *dw_kv_log_base(const dw_kv_log *log)
{
    const dw__kv_backing *backing = log->backing;
    return backing->ops->address != NULL ? backing->ops->address(backing) : NULL;
}

/* ---- steps ---- */

/* One that writes records from `first` on, up to `end`. */
static dw_status begin_step(dw_kv_log *log, uint32_t first, uint32_t end, dw_error *err)
{
    DW_ASSERT(first <= log->length && first < end);
    uint64_t start = first * log->backing->record_bytes;
    dw_status status = dw__kv_charge_covers(&log->charge, start, charged_end(log, end))
                           ? DW_OK
                           : dw__kv_charge_extend(&log->charge, start, charged_end(log, end), err);
    if (status == DW_OK) {
        status = log->backing->ops->begin(log->backing, first, log->length, end, err);
    }
    check(log);
    if (status != DW_OK) {
        return status;
    }
    DW_ASSERT(end <= log->backing->committed);
    log->step_end = end;
    return DW_OK;
}

/* Tell the backing the length, and whether the step ends with it. */
static void note_length(dw_kv_log *log, bool done)
{
    if (log->backing->ops->extend != NULL) {
        log->backing->ops->extend(log->backing, log->length, done);
    }
    check(log);
}

dw_status dw_kv_log_reserve(dw_kv_log *log, uint32_t tokens, dw_error *err)
{
    if (tokens > log->capacity) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens, limit %u", tokens, log->capacity);
    }
    return tokens > log->length ? begin_step(log, log->length, tokens, err) : DW_OK;
}

void dw_kv_log_extend(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length >= log->length && length <= log->capacity);
    log->length = length;
    note_length(log, length >= log->step_end);
}

void dw_kv_log_trim(dw_kv_log *log, uint32_t length)
{
    DW_ASSERT(length <= log->length);
    log->length = length;
    forget_saved(log, length);
    if (log->backing->ops->trim != NULL) {
        log->backing->ops->trim(log->backing, length);
    }
    check(log);
}

dw_status dw_kv_log_rewrite(dw_kv_log *log, uint32_t first, dw_error *err)
{
    DW_ASSERT(first <= log->length);
    if (first == log->length) {
        return DW_OK;
    }
    dw_status status = begin_step(log, first, log->length, err);
    if (status != DW_OK) {
        return status;
    }
    forget_saved(log, first);
    return DW_OK;
}

dw_status dw_kv_log_clear_rest(dw_kv_log *log, dw_error *err)
{
    dw_status status = log->backing->ops->clear_rest(log->backing, log->length, err);
    check(log);
    return status;
}

dw_status dw_kv_log_append(dw_kv_log *log, const void *records, uint32_t count, dw_error *err)
{
    size_t record_bytes = log->backing->record_bytes;
    if (count > log->capacity - log->length) {
        return dw_fail(err, DW_E_LIMIT, "kv log: %u tokens behind %u, limit %u", count, log->length,
                       log->capacity);
    }
    if (count == 0) {
        return DW_OK;
    }
    dw_status status = begin_step(log, log->length, log->length + count, err);
    if (status != DW_OK) {
        return status;
    }
    status =
        log->backing->ops->write(log->backing, held_bytes(log), records, count * record_bytes, err);
    log->length += status == DW_OK ? count : 0;
    note_length(log, true);
    return status;
}

dw_status dw_kv_log_make_resident(dw_kv_log *log, dw_error *err)
{
    const dw__kv_backing_ops *ops = log->backing->ops;
    return ops->make_resident != NULL ? ops->make_resident(log->backing, err) : DW_OK;
}

bool dw_kv_log_resident(dw_kv_log *log)
{
    const dw__kv_backing_ops *ops = log->backing->ops;
    return ops->is_resident == NULL || ops->is_resident(log->backing);
}

dw_status dw_kv_log_place(dw_kv_log *log, struct ggml_tensor *tensor, dw_error *err)
{
    dw__kv_backing *backing = log->backing;
    DW_ASSERT(ggml_nbytes(tensor) <= (size_t)backing->committed * backing->record_bytes);
    return backing->ops->place(backing, tensor, err);
}

/* ---- saving ---- */

dw_status dw_kv_log_stream(const dw_kv_log *log, uint64_t offset, size_t bytes, const dw_sink *sink,
                           dw_error *err)
{
    size_t held = held_bytes(log);
    if (offset > held || bytes > held - offset) {
        return dw_fail(err, DW_E_RANGE, "kv log: %zu bytes at %llu, it holds %zu", bytes,
                       (unsigned long long)offset, held);
    }
    return bytes > 0 ? log->backing->ops->read(log->backing, (size_t)offset, bytes, sink, err)
                     : DW_OK;
}

dw_status dw_kv_log_read(const dw_kv_log *log, uint64_t offset, size_t bytes, void *to,
                         dw_error *err)
{
    dw_sink sink = {.anywhere = dw__kv_copy_out, .user = to};
    return dw_kv_log_stream(log, offset, bytes, &sink, err);
}

uint64_t dw_kv_log_saved_bytes(const dw_kv_log *log)
{
    return log->saved_bytes;
}

void dw_kv_log_begin_saving(dw_kv_log *log)
{
    log->saving_bytes = held_bytes(log);
}

void dw_kv_log_end_saving(dw_kv_log *log, bool saved)
{
    if (saved && log->saving_bytes > log->saved_bytes) {
        log->saved_bytes = log->saving_bytes;
    }
    log->saving_bytes = 0;
}
