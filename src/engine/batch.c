#include "engine/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "engine/context_internal.h"
#include "engine/step_graph.h"

/* How far an item is. */
typedef struct progress {
    uint32_t before; /* the context's length when it began */
    uint32_t done;   /* of the step's tokens */
} progress;

/* Rope factors are chosen for a whole graph. */
static bool is_long(const dw_context *context)
{
    return dw_model_weights_of(context->model)->rope_factors_long != NULL &&
           dw__context_is_long(context);
}

static dw_status check_items(const dw_batch_item *items, uint32_t count, dw_error *err)
{
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "batch: no items");
    }
    for (uint32_t i = 0; i < count; i++) {
        const dw_context *context = items[i].context;
        DW_ASSERT(items[i].step.counters != NULL);
        if (context->model != items[0].context->model) {
            return dw_fail(err, DW_E_ARG, "batch: item %u has another model than the first", i);
        }
        if (context->kv_type != items[0].context->kv_type) {
            return dw_fail(err, DW_E_ARG, "batch: item %u keeps another type of keys and values",
                           i);
        }
        if (is_long(context) != is_long(items[0].context)) {
            return dw_fail(err, DW_E_ARG,
                           "batch: item %u is on the other side of %u tokens, from which this "
                           "model rotates otherwise",
                           i, dw_model_shape_of(context->model)->rope_context);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (items[k].context == context) {
                return dw_fail(err, DW_E_ARG, "batch: items %u and %u have the same context", k, i);
            }
        }
    }
    return DW_OK;
}

/* Rows of several sequences are logits. */
static bool wants_other_results(const dw_batch_item *items, uint32_t count)
{
    bool other = false;
    for (uint32_t i = 0; i < count; i++) {
        other = other || items[i].step.result != DW_RESULT_LOGITS;
    }
    return other;
}

/* Devices without our attention take them one by one. */
static void run_one_by_one(dw_batch_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i].status = dw_context_forward(items[i].context, &items[i].step, &items[i].error);
    }
}

static bool is_open(const dw_batch_item *item, const progress *at)
{
    return item->status == DW_OK && at->done < item->step.token_count;
}

/* What an item does in the next run, of `room` tokens. */
static dw_share share_of(const dw_batch_item *item, const progress *at, uint32_t room)
{
    const dw_step *step = &item->step;
    uint32_t left = step->token_count - at->done;
    dw_share share = {.log = item->context->log,
                      .tokens = item->context->history.tokens + at->before + at->done,
                      .token_count = left < room ? left : room};
    uint32_t first_row = step->token_count - step->logits_rows; /* the token of row 0 */
    uint32_t end = at->done + share.token_count;
    if (end > first_row && step->logits_rows > 0) {
        uint32_t from = at->done > first_row ? at->done : first_row;
        size_t vocab_count = dw_model_shape_of(item->context->model)->vocab_count;
        share.row_count = end - from;
        share.logits = step->logits + (size_t)(from - first_row) * vocab_count;
    }
    return share;
}

/* Shares of the next run: whoever has one token left first, then slices of the others in order.
 * shares and owners [DW__SHARES_MAX]; returns how many. */
static uint32_t compose(const dw_batch_item *items, const progress *at, uint32_t count,
                        dw_share *shares, uint32_t *owners)
{
    uint32_t made = 0;
    uint32_t room = SLICE_TOKENS_MAX;
    for (int decoding = 1; decoding >= 0; decoding--) {
        for (uint32_t i = 0; i < count && room > 0 && made < DW__SHARES_MAX; i++) {
            bool single = items[i].step.token_count - at[i].done == 1;
            if (is_open(&items[i], &at[i]) && single == (decoding == 1)) {
                shares[made] = share_of(&items[i], &at[i], room);
                room -= shares[made].token_count;
                owners[made++] = i;
            }
        }
    }
    return made;
}

static void fail_item(dw_batch_item *item, const progress *at, dw_status status,
                      const dw_error *error)
{
    item->status = status;
    item->error = *error;
    dw__context_undo(item->context, at->before, status);
}

/* One run's result, for one of its shares. */
static void conclude(dw_batch_item *item, progress *at, const dw_share *share)
{
    size_t vocab_count = dw_model_shape_of(item->context->model)->vocab_count;
    dw_error error = {0};
    dw_status status = dw__check_logits(share->logits, share->row_count * vocab_count, &error);
    if (status != DW_OK) {
        fail_item(item, at, status, &error);
        return;
    }
    at->done += share->token_count;
    dw_kv_log_extend(share->log, at->before + at->done);
    if (item->step.on_progress != NULL && item->step.token_count > 1) {
        item->step.on_progress(item->step.user, at->done, item->step.token_count);
    }
}

static void drop_cancelled(dw_batch_item *items, const progress *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const volatile bool *cancel = items[i].step.cancel;
        if (is_open(&items[i], &at[i]) && cancel != NULL &&
            __atomic_load_n(cancel, __ATOMIC_RELAXED)) {
            dw_error error = {0};
            dw_status status =
                dw_fail(&error, DW_E_CANCELLED, "forward: cancelled at token %u of %u", at[i].done,
                        items[i].step.token_count);
            fail_item(&items[i], &at[i], status, &error);
        }
    }
}

static void run_all(dw_batch_item *items, progress *at, uint32_t count)
{
    dw_model *model = items[0].context->model;
    dw_share shares[DW__SHARES_MAX];
    uint32_t owners[DW__SHARES_MAX];
    for (;;) {
        drop_cancelled(items, at, count);
        uint32_t made = compose(items, at, count, shares, owners);
        if (made == 0) {
            return;
        }
        dw_error error = {0};
        dw_model_extra *extra = dw_model_lock(model);
        dw_status status =
            dw__shares_compute(model, extra, items[0].context->kv_type, shares, made, &error);
        dw_model_unlock(model);
        for (uint32_t i = 0; i < made; i++) {
            uint32_t owner = owners[i];
            if (status != DW_OK) {
                fail_item(&items[owner], &at[owner], status, &error);
            } else {
                conclude(&items[owner], &at[owner], &shares[i]);
            }
        }
    }
}

dw_status dw_batch_forward(dw_batch_item *items, uint32_t count, dw_error *err)
{
    dw_status status = check_items(items, count, err);
    if (status != DW_OK) {
        return status;
    }
    dw_device *device = dw_model_device(items[0].context->model);
    if (count == 1 || dw_device_facts(device)->kind != DW_DEVICE_CPU ||
        wants_other_results(items, count)) {
        run_one_by_one(items, count);
        return DW_OK;
    }
    progress *at = dw_alloc(count, sizeof *at);
    if (at == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a batch of %u", count);
    }
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < count; i++) {
        at[i].before = dw_context_length(items[i].context);
        memset(&items[i].error, 0, sizeof items[i].error);
        items[i].status = dw__context_begin(items[i].context, &items[i].step, &items[i].error);
    }
    run_all(items, at, count);
    uint64_t took = dw_os_clock_ns() - started;
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].status == DW_OK) {
            dw__context_count(&items[i].step, at[i].before, took);
        }
    }
    dw_free(at);
    return DW_OK;
}
