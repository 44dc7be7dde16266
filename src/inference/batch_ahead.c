/* Runs ahead of the host. Where all that a batch computes are generations whose next token is the
 * likeliest (or that end with this step), the next run begins before the last one's results are
 * looked at: the device finds the tokens where that run leaves them. What the host then chooses is
 * what the device went on with; whoever ends, or turns out otherwise, has a row in that run that is
 * of no use. Until it has landed, the device writes behind such a context's end: so it is kept. */
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "inference/batch_internal.h"
#include "inference/context_internal.h"
#include "inference/step_flight.h"

typedef struct flight {
    dw_batch_item *owners[DW__SLICES_MAX]; /* NULL: its row is given up */
    dw_step_slice slices[DW__SLICES_MAX];
    dw_step_flight run;
    uint64_t from_ns; /* when it began, or the one before it ended */
} flight;

struct dw_batch_flights {
    flight two[2];
    flight *up; /* the one that lands next; NULL: none is under way */
};

dw_status dw_batch_look_ahead(dw_batch *batch, dw_error *err)
{
    DW_ASSERT(batch->flights == NULL);
    batch->flights = dw_alloc(1, sizeof *batch->flights);
    return batch->flights != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a batch");
}

void dw_batch_release(dw_batch *batch)
{
    DW_ASSERT(!dw_batch_is_busy(batch));
    dw_free(batch->flights);
    batch->flights = NULL;
}

bool dw_batch_flies(const dw_batch *batch)
{
    return batch->flights != NULL && batch->flights->up != NULL;
}

bool dw_batch_is_busy(const dw_batch *batch)
{
    return batch->waiting_count > 0 || batch->finished.first != NULL || batch->left.first != NULL ||
           dw_batch_flies(batch);
}

const dw_batch_item *dw__ahead_any(const dw_batch *batch)
{
    const flight *up = dw_batch_flies(batch) ? batch->flights->up : NULL;
    for (uint32_t i = 0; up != NULL && i < up->run.count; i++) {
        if (up->owners[i] != NULL) {
            return up->owners[i];
        }
    }
    return NULL;
}

void dw__ahead_each_share(const dw_batch *batch, void (*fn)(void *user, dw_batch_share *share),
                          void *user)
{
    const flight *up = dw_batch_flies(batch) ? batch->flights->up : NULL;
    for (uint32_t i = 0; up != NULL && i < up->run.count; i++) {
        if (up->owners[i] != NULL) {
            fn(user, up->owners[i]->share);
        }
    }
}

/* ---- who can fly ---- */

static bool is_asked(const dw_batch_item *item)
{
    return atomic_load_explicit(&item->leaves, memory_order_relaxed) ||
           dw_stop_asked(item->step.stop);
}

bool dw__ahead_may_begin(const dw_batch *batch, dw_batch_item *const *owners, uint32_t count)
{
    uint32_t follow = 0;
    if (batch->flights == NULL || batch->waiting_count > 0 || batch->parked.first != NULL ||
        dw_batch_is_amid(batch) || batch->following.first != NULL ||
        !dw__step_flies(owners[0]->context->model)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const dw_batch_item *item = owners[i];
        if (item->follows == DW_BATCH_FOLLOWS_ANYTHING || item->step.token_count != 1 ||
            item->step.choice == NULL || item->context->kept != NULL || is_asked(item)) {
            return false;
        }
        follow += item->follows == DW_BATCH_FOLLOWS_LIKELIEST;
    }
    return follow > 0;
}

/* ---- the next ---- */

/* Slices behind those of `one`, in logs that have room for both. Whether there are any. */
static bool compose(const flight *one, flight *next)
{
    next->run = (dw_step_flight){.model = one->run.model, .slices = next->slices};
    for (uint32_t i = 0; i < one->run.count; i++) {
        dw_batch_item *item = one->owners[i];
        if (item == NULL || item->follows != DW_BATCH_FOLLOWS_LIKELIEST) {
            continue;
        }
        uint32_t length = dw_context_length(item->context);
        if (dw_kv_log_reserve(item->context->log, length + 2, NULL) != DW_OK) {
            return false;
        }
        item->has_room = true;
        uint32_t at = next->run.count++;
        next->owners[at] = item;
        next->slices[at] = dw__context_slice(item->context, &item->step, 0, 1);
        next->slices[at].behind = i + 1;
    }
    return next->run.count > 0;
}

/* NULL: none begins. */
static flight *launch_next(dw_batch *batch, flight *one)
{
    struct dw_batch_flights *flights = batch->flights;
    flight *next = &flights->two[one == &flights->two[0]];
    dw_batch_item *owners[DW__SLICES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < one->run.count; i++) {
        if (one->owners[i] != NULL) {
            owners[count++] = one->owners[i];
        }
    }
    if (count == 0 || !dw__ahead_may_begin(batch, owners, count) || !compose(one, next) ||
        dw__step_launch(&next->run, &one->run, NULL) != DW_OK) {
        return NULL;
    }
    for (uint32_t i = 0; i < next->run.count; i++) {
        next->owners[i]->row = i + 1;
    }
    batch->counts.ahead++;
    return next;
}

/* Its results are of no use: what it goes on from is not so. */
static void give_up(flight *next)
{
    for (uint32_t i = 0; i < next->run.count; i++) {
        next->slices[i].choice = NULL;
        next->slices[i].row_count = 0;
        next->owners[i]->row = 0;
    }
    (void)dw__step_land(&next->run, NULL); /* what is wrong with it, the last one's is too */
}

/* ---- one that lands ---- */

/* Those whose steps it computes; the others' rows are given up. */
static uint32_t take_rows(dw_batch *batch, flight *one)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < one->run.count; i++) {
        dw_batch_item *item = one->owners[i];
        DW_ASSERT(item == NULL || item->row == i + 1);
        if (item != NULL) {
            item->row = 0;
        }
        if (item == NULL || !item->flies) {
            one->owners[i] = NULL;
            one->slices[i].choice = NULL;
            one->slices[i].row_count = 0;
            continue;
        }
        item->flies = false;
        batch->waiting_count--;
        count++;
    }
    return count;
}

/* Whether all go on from what the device goes on from. */
static bool is_as_expected(const flight *one)
{
    bool well = true;
    for (uint32_t i = 0; i < one->run.count; i++) {
        const dw_step_slice *slice = &one->slices[i];
        if (one->owners[i] != NULL) {
            well = well && !slice->nan && slice->choice->status == DW_OK &&
                   (one->owners[i]->follows != DW_BATCH_FOLLOWS_LIKELIEST ||
                    slice->choice->token == slice->likeliest);
        }
    }
    return well;
}

/* Nothing is written behind its context's end any more. */
static void leave(dw_batch *batch, dw_batch_item *item)
{
    if (item->has_room) {
        item->has_room = false;
        dw_kv_log_trim(item->context->log, dw_context_length(item->context));
    }
    dw_batch_queue_put(&batch->left, item);
}

static void release_held(dw_batch *batch)
{
    for (dw_batch_item *item = dw_batch_queue_take(&batch->held); item != NULL;
         item = dw_batch_queue_take(&batch->held)) {
        if (item->leaving) {
            leave(batch, item);
        } else {
            dw__batch_begin(batch, item);
        }
    }
}

static void conclude(dw_batch *batch, flight *one, uint32_t count, dw_status status,
                     const dw_error *error)
{
    uint64_t now = dw_os_clock_ns();
    for (uint32_t i = 0; i < one->run.count; i++) {
        const dw_batch_item *item = one->owners[i];
        if (item != NULL) {
            dw_count(&item->step.counters->device_ns, (now - one->from_ns) / count);
            if (batch->on_part != NULL) {
                batch->on_part(batch->part_user, item, 1, one->from_ns, now);
            }
        }
    }
    dw__batch_note_idle(batch, &one->slices[0]);
    dw__batch_count_run(batch, count, count, one->from_ns);
    batch->counts.device_ns += now - one->from_ns;
    for (uint32_t i = 0; i < one->run.count; i++) {
        if (one->owners[i] != NULL) {
            dw__batch_conclude(batch, one->owners[i], &one->slices[i], status, error);
        }
    }
}

/* The run, all of whose rows are somebody's or given up. */
static void land(dw_batch *batch, flight *one, uint32_t count)
{
    dw_error error = {0};
    flight *next = count > 0 ? launch_next(batch, one) : NULL;
    dw_status status = dw__step_land(&one->run, &error);
    if (next != NULL && (status != DW_OK || !is_as_expected(one))) {
        give_up(next);
        next = NULL;
    }
    if (count > 0) {
        conclude(batch, one, count, status, &error);
    }
    if (next != NULL) {
        next->from_ns = dw_os_clock_ns();
    }
    batch->flights->up = next;
    release_held(batch);
}

void dw__ahead_go_on(dw_batch *batch)
{
    flight *one = batch->flights->up;
    land(batch, one, take_rows(batch, one));
}

void dw__ahead_begin(dw_batch *batch, dw_batch_item *const *owners, const dw_step_slice *slices,
                     uint32_t count)
{
    flight *one = &batch->flights->two[0];
    dw_error error = {0};
    memcpy(one->owners, owners, count * sizeof(dw_batch_item *));
    memcpy(one->slices, slices, count * sizeof *slices);
    one->run =
        (dw_step_flight){.model = owners[0]->context->model, .slices = one->slices, .count = count};
    one->from_ns = dw_os_clock_ns();
    dw_status status = dw__step_launch(&one->run, NULL, &error);
    if (status != DW_OK) {
        conclude(batch, one, count, status, &error);
        return;
    }
    batch->flights->up = one;
    land(batch, one, count);
}

/* ---- between two ---- */

void dw__ahead_add(dw_batch *batch, dw_batch_item *item)
{
    const flight *up = batch->flights->up;
    DW_ASSERT(item->row <= up->run.count && up->owners[item->row - 1] == item);
    item->leaving = false;
    /* That it has room is known, and what is wrong with it is told when it begins. */
    if (item->follows == DW_BATCH_FOLLOWS_ANYTHING || item->step.token_count != 1 ||
        dw__context_note(item->context, &item->step, NULL) != DW_OK) {
        dw_batch_queue_put(&batch->held, item);
        return;
    }
    item->flies = true;
    batch->waiting_count++;
}

void dw_batch_leave(dw_batch *batch, dw_batch_item *item)
{
    if (item->row > 0) {
        item->leaving = true;
        dw_batch_queue_put(&batch->held, item);
    } else {
        leave(batch, item);
    }
}

dw_batch_item *dw_batch_take_left(dw_batch *batch)
{
    return dw_batch_queue_take(&batch->left);
}
