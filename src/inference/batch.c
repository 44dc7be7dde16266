#include "inference/batch.h"

#include <string.h>
#include <time.h>

#include "base/os.h"
#include "inference/batch_internal.h"
#include "inference/context_internal.h"
#include "inference/step.h"

/* A prompt's results do not depend, to the bit, on how much of a run others left for it, unless
 * that is less than this: then it is cut as it comes. */
#define CUT_TOKENS DW__CUT_TOKENS

/* Where others have to end, a run takes no longer beyond that, if its tokens are what it takes. */
#define BEYOND_DUE_NS UINT64_C(10000000)
/* Where other runs have all graphs, one is asked for again so soon. */
#define REFUSED_NS 100000
/* How soon that has to be for runs whose time is not known yet. */
#define DUE_SOON_NS UINT64_C(1000000000)

static uint32_t limit_of(uint32_t wanted, uint32_t most)
{
    return wanted == 0 || wanted > most ? most : wanted;
}

void dw_batch_init(dw_batch *batch, const dw_batch_limits *limits)
{
    static const dw_batch_limits none;
    limits = limits != NULL ? limits : &none;
    uint32_t tokens_max = limit_of(limits->tokens_max, DW__SLICE_TOKENS_MAX);
    *batch = (dw_batch){
        .limits = {.sequences_max = limit_of(limits->sequences_max, DW__SLICES_MAX),
                   .tokens_max = tokens_max,
                   .prompt_tokens_max = limit_of(limits->prompt_tokens_max, tokens_max),
                   .prompt_tokens_each = limits->prompt_tokens_each},
        .unshared = {.weight = 1},
    };
}

/* ---- who waits ---------------------------------------------------------------------------- */

static uint32_t left_of(const dw_batch_item *item)
{
    return item->step.token_count - item->done;
}

static void wait_on(dw_batch *batch, dw_batch_item *item)
{
    item->turn = ++batch->turn;
    dw_batch_queue_put(left_of(item) == 1 ? &batch->decoding : &batch->prompts, item);
    batch->waiting_count++;
}

/* Of the run under way. */
static uint32_t amid_count(const dw_batch *batch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; dw_batch_is_amid(batch) && i < batch->long_run.count; i++) {
        count += batch->long_run.owners[i] != NULL;
    }
    return count;
}

/* Between calls: those that wait are counted and have tokens left; none is parked but for them. */
static bool is_sound(const dw_batch *batch)
{
    const dw_batch_queue *queues[] = {&batch->decoding, &batch->prompts};
    uint32_t count = amid_count(batch);
    if (dw_batch_flies(batch)) {
        return true; /* who flies is in no queue */
    }
    bool sound =
        batch->waiting_count > 0 || (batch->parked.first == NULL && batch->following.first == NULL);
    for (int i = 0; i < 2; i++) {
        for (const dw_batch_item *item = queues[i]->first; item != NULL; item = item->next) {
            sound = sound && left_of(item) > 0 && (left_of(item) == 1) == (i == 0) &&
                    dw_context_length(item->context) == item->before + item->done;
            count++;
        }
    }
    return sound && count == batch->waiting_count;
}

/* Whether the prompt under way begins with tokens [count]. */
static bool begins_with(const dw_batch_item *item, const int32_t *tokens, uint32_t count)
{
    return item->step.token_count > 1 && item->step.tree == NULL &&
           item->before + item->step.token_count >= count &&
           memcmp(dw_context_tokens(item->context), tokens, count * sizeof *tokens) == 0;
}

/* Whether it computes, in the batch, what `item` needs next: tokens [wanted]. */
static bool leads(const dw_batch_item *other, const dw_batch_item *item, const int32_t *tokens,
                  uint32_t wanted)
{
    return other != NULL && other->context->prefixes.root == item->context->prefixes.root &&
           begins_with(other, tokens, wanted);
}

/* A prompt under way that is about to compute what `item` needs next and has not found: it waits
 * for that one's records. NULL: there is none. */
static dw_batch_item *find_leader(const dw_batch *batch, const dw_batch_item *item)
{
    dw_context *context = item->context;
    const dw_batch_queue *queues[] = {&batch->decoding, &batch->prompts};
    uint32_t findable = dw__context_findable(context, &item->step);
    if (findable == 0 || dw__context_note(context, &item->step, NULL) != DW_OK) {
        return NULL; /* what is wrong is told when it begins */
    }
    const int32_t *tokens = dw_context_tokens(context);
    uint32_t found = dw__prefix_match(&context->prefixes, tokens, findable);
    found = found > item->before ? found : item->before;
    uint32_t wanted = found + DW_PREFIX_BLOCK;
    if (wanted > findable) {
        return NULL;
    }
    for (uint32_t i = 0; dw_batch_is_amid(batch) && i < batch->long_run.count; i++) {
        if (leads(batch->long_run.owners[i], item, tokens, wanted)) {
            return batch->long_run.owners[i];
        }
    }
    for (int i = 0; i < 2; i++) {
        for (dw_batch_item *other = queues[i]->first; other != NULL; other = other->next) {
            if (leads(other, item, tokens, wanted)) {
                return other;
            }
        }
    }
    return NULL;
}

/* Let it wait for its turn: with what it needs, or, where others' steps hold or compute that, until
 * some of them are further. So `parked` and `following` are empty when nobody else waits. */
void dw__batch_begin(dw_batch *batch, dw_batch_item *item)
{
    dw_batch_item *leader = find_leader(batch, item);
    item->followed = false;
    if (leader != NULL) {
        leader->followed = true;
        dw_batch_queue_put(&batch->following, item);
        return;
    }
    do {
        item->error = (dw_error){0};
        item->status = dw__context_begin(item->context, &item->step, &item->found, &item->error);
    } while (item->status == DW_E_MEMORY && batch->waiting_count == 0 && batch->relieve != NULL &&
             batch->relieve(batch->relieve_user));
    item->done = item->found;
    if (item->status == DW_OK) {
        wait_on(batch, item);
    } else if (item->status == DW_E_MEMORY && batch->waiting_count > 0) {
        dw_batch_queue_put(&batch->parked, item);
    } else {
        if (item->step.tree != NULL) {
            dw_context_drop_tree(item->context);
        }
        dw_batch_queue_put(&batch->finished, item);
    }
}

/* The items of `behind` come behind those of `front`, in its place. */
static void join(const dw_batch_queue *front, dw_batch_queue *behind)
{
    if (front->first != NULL) {
        front->last->next = behind->first;
        behind->last = behind->first != NULL ? behind->last : front->last;
        behind->first = front->first;
    }
}

static void fail_item(dw_batch *batch, dw_batch_item *item, dw_status status, const dw_error *error)
{
    item->status = status;
    item->error = *error;
    dw__context_undo(item->context, item->before, status);
    dw_batch_queue_put(&batch->finished, item);
}

/* Rope factors are chosen for a whole graph. */
static bool is_long(const dw_context *context)
{
    return dw_model_weights_of(context->model)->rope_factors_long != NULL &&
           dw__context_is_long(context);
}

static dw_status check_alike(const dw_context *context, const dw_context *other, dw_error *err)
{
    if (context->model != other->model) {
        return dw_fail(err, DW_E_ARG, "batch: another model");
    }
    if (context->kv_type != other->kv_type) {
        return dw_fail(err, DW_E_ARG, "batch: another type of keys and values");
    }
    if (!dw__step_graph_mixes(dw_model_device(context->model), context->adapters,
                              other->adapters)) {
        return dw_fail(err, DW_E_ARG, "batch: other adapters");
    }
    if (is_long(context) != is_long(other)) {
        return dw_fail(err, DW_E_ARG,
                       "batch: on the other side of %u tokens, from which this model rotates "
                       "otherwise",
                       dw_model_shape_of(context->model)->rope_context);
    }
    return DW_OK;
}

dw_status dw_batch_admits(const dw_batch *batch, const dw_context *context, dw_error *err)
{
    const dw_batch_item *other =
        batch->decoding.first != NULL ? batch->decoding.first : batch->prompts.first;
    for (uint32_t i = 0; dw_batch_is_amid(batch) && i < batch->long_run.count; i++) {
        other = other == NULL ? batch->long_run.owners[i] : other;
    }
    other = other == NULL ? dw__ahead_any(batch) : other;
    return other == NULL ? DW_OK : check_alike(context, other->context, err);
}

void dw_batch_each_share(const dw_batch *batch, void (*fn)(void *user, dw_batch_share *share),
                         void *user)
{
    const dw_batch_queue *queues[] = {&batch->decoding, &batch->prompts, &batch->parked,
                                      &batch->following};
    for (size_t i = 0; i < 4; i++) {
        for (const dw_batch_item *item = queues[i]->first; item != NULL; item = item->next) {
            fn(user, item->share);
        }
    }
    for (uint32_t i = 0; dw_batch_is_amid(batch) && i < batch->long_run.count; i++) {
        if (batch->long_run.owners[i] != NULL) {
            fn(user, batch->long_run.owners[i]->share);
        }
    }
    dw__ahead_each_share(batch, fn, user);
}

void dw_batch_add(dw_batch *batch, dw_batch_item *item)
{
    DW_ASSERT(item->step.view != NULL || item->step.logits_rows == 0);
    DW_ASSERT(item->step.counters != NULL);
    DW_ASSERT(item->priority < DW_BATCH_PRIORITIES);
    item->error = (dw_error){0};
    item->done = item->found = 0;
    item->started_ns = dw_os_clock_ns();
    item->before = dw_context_length(item->context);
    if (item->row > 0) {
        dw__ahead_add(batch, item);
        return;
    }
    dw__batch_begin(batch, item);
    DW_DCHECK(is_sound(batch));
}

dw_batch_item *dw_batch_take(dw_batch *batch)
{
    return dw_batch_queue_take(&batch->finished);
}

/* ---- one run ------------------------------------------------------------------------------ */

/* The item's next `token_count` tokens are through. Errors: dw__context_end's. */
static dw_status advance(dw_batch *batch, dw_batch_item *item, uint32_t token_count, dw_error *err)
{
    DW_ASSERT(token_count > 0 && token_count <= left_of(item));
    item->done += token_count;
    dw_kv_log_extend(item->context->log, item->before + item->done);
    if (item->step.on_progress != NULL && item->step.token_count > 1) {
        item->step.on_progress(item->step.user, item->done, item->step.token_count);
    }
    if (left_of(item) > 0) {
        if (item->followed) {
            dw__prefix_give(item->context);
        }
        wait_on(batch, item);
        return DW_OK;
    }
    dw_status status = dw__context_end(item->context, &item->step, item->before, item->found,
                                       dw_os_clock_ns() - item->started_ns, err);
    if (status == DW_OK) {
        dw_batch_queue_put(&batch->finished, item);
    }
    return status;
}

/* A run was left because one of its items was stopped, or the item's choice was postponed: it comes
 * first in the next. */
static void put_back(dw_batch *batch, dw_batch_item *item)
{
    dw_batch_queue *queue = left_of(item) == 1 ? &batch->decoding : &batch->prompts;
    item->turn = queue->first != NULL ? queue->first->turn - 1 : item->turn;
    item->next = queue->first;
    queue->last = queue->first != NULL ? queue->last : item;
    queue->first = item;
    batch->waiting_count++;
}

/* The result of a run for one of its slices. */
void dw__batch_conclude(dw_batch *batch, dw_batch_item *item, const dw_step_slice *slice,
                        dw_status status, const dw_error *run_error)
{
    dw_error error = *run_error;
    if (status == DW_OK) {
        status = dw__step_slice_check(slice, &error);
    }
    if (status == DW_OK) {
        status = advance(batch, item, slice->token_count, &error);
    }
    if (status != DW_OK) {
        fail_item(batch, item, status, &error);
    }
}

static bool must_stop(const dw_batch_item *item)
{
    return atomic_load_explicit(&item->leaves, memory_order_relaxed) ||
           dw_stop_asked(item->step.stop);
}

static bool drop_stopped(dw_batch *batch, dw_batch_item *item)
{
    if (!must_stop(item)) {
        return false;
    }
    dw_error error = {0};
    dw_status status = dw_fail(&error, DW_E_CANCELLED, "forward: cancelled at token %u of %u",
                               item->done, item->step.token_count);
    fail_item(batch, item, status, &error);
    return true;
}

/* Who waits for a run to be over, beside those that take part. */
static const dw_stop_others *waiters(const dw_batch *batch)
{
    const dw_stop_others *others = batch->others;
    return others != NULL && others->may_leave ? others : NULL;
}

/* For whom it is left. */
static const dw_stop_others *leavers(const dw_batch *batch, const dw__batch_run *now)
{
    return now->to_end ? NULL : waiters(batch);
}

/* An item's part of what a run has taken, by its tokens of all. */
static void count_time(const dw_batch *batch, const dw__batch_run *now, const dw_batch_item *item,
                       uint32_t token_count, uint64_t all)
{
    dw_count(&item->step.counters->device_ns, now->took_ns * token_count / all);
    if (batch->on_part != NULL) {
        batch->on_part(batch->part_user, item, token_count, now->started_ns, dw_os_clock_ns());
    }
}

void dw__batch_note_idle(dw_batch *batch, const dw_step_slice *first)
{
    bool known = first->ended_ns != 0;
    if (known && batch->ended_ns != 0 && batch->idle_ns == UINT64_MAX) {
        uint32_t gap = first->began_ns - batch->ended_ns;
        batch->idle_ns = gap <= INT32_MAX ? gap : 0; /* begun before that was noted */
    }
    batch->ended_ns = known ? first->ended_ns : 0;
}

static uint64_t tokens_together(const dw__batch_run *now)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < now->count; i++) {
        tokens += now->slices[i].token_count;
    }
    return tokens;
}

/* To each its part. */
static void share_time(const dw_batch *batch, const dw__batch_run *now)
{
    const uint64_t tokens = tokens_together(now);
    for (uint32_t i = 0; i < now->count; i++) {
        if (now->owners[i] != NULL) {
            count_time(batch, now, now->owners[i], now->slices[i].token_count, tokens);
        }
    }
}

static void run_alone(dw_batch *batch, dw__batch_run *now, dw_batch_item *item,
                      dw_step_slice *slice)
{
    dw_error error = {0};
    now->started_ns = dw_os_clock_ns();
    dw_status status = dw__step_run(item->context->model, slice, leavers(batch, now), &error);
    now->took_ns = dw_os_clock_ns() - now->started_ns;
    count_time(batch, now, item, slice->token_count, slice->token_count);
    dw__batch_note_idle(batch, slice);
    if (status != DW_E_CANCELLED) {
        dw__batch_conclude(batch, item, slice, status, &error);
    } else if (!drop_stopped(batch, item)) { /* for others */
        now->left = true;
        now->back = item;
    }
}

/* How many of the item's tokens take part in a run with room for `room`; 0: it waits for more. */
static uint32_t cut(const dw_batch_item *item, uint32_t room, bool any_cut)
{
    uint32_t left = left_of(item);
    if (left <= room) {
        return left;
    }
    if (any_cut) {
        return room;
    }
    uint32_t count = room / CUT_TOKENS * CUT_TOKENS;
    return count > 0 && left - count < DW__REST_TOKENS_MIN ? left : count;
}

/* Whether all of the queue fit into a run. */
static bool all_fit(const dw_batch *batch, const dw_batch_queue *queue, uint32_t tokens_max,
                    uint32_t sequences_max)
{
    uint32_t least = tokens_max < sequences_max ? tokens_max : sequences_max;
    if (queue->first == queue->last ||
        (queue == &batch->decoding && batch->waiting_count <= least)) {
        return true;
    }
    uint64_t tokens = 0;
    uint32_t count = 0;
    for (const dw_batch_item *item = queue->first; item != NULL && tokens <= tokens_max;
         item = item->next) {
        tokens += left_of(item);
        count++;
    }
    return tokens <= tokens_max && count <= sequences_max;
}

/* The item takes part with its next `count` tokens. Slices that no plan takes with others' (on
 * devices without our attention, or where it serves decoding only; results other than logits) run
 * alone, at once. */
static void take_part(dw_batch *batch, dw__batch_run *now, dw_batch_item *item, uint32_t count)
{
    dw_error error = {0};
    dw_step_slice slice = dw__context_slice(item->context, &item->step, item->done, count);
    dw_status status = dw__step_slice_check_tokens(&slice, &error);
    if (status != DW_OK) {
        fail_item(batch, item, status, &error);
        return;
    }
    now->tokens += count;
    now->sequences++;
    if (dw__step_takes_in_batch(item->context->model, &slice)) {
        DW_ASSERT(now->count < DW__SLICES_MAX);
        now->slices[now->count] = slice;
        now->owners[now->count++] = item;
    } else {
        run_alone(batch, now, item, &slice);
    }
}

/* Let items of the queue take part, each that was in it at most once, until the run has
 * `sequences_max`: in order, or where not all fit as their places are given. */
static void compose(dw_batch *batch, dw_batch_queue *queue, uint32_t tokens_max,
                    uint32_t sequences_max, dw__batch_run *now)
{
    dw__places places;
    dw_batch_queue own = *queue;
    uint32_t room = tokens_max;
    bool fit = room == 0 || all_fit(batch, queue, room, sequences_max - now->sequences);
    *queue = (dw_batch_queue){NULL, NULL}; /* who waits again comes behind these */
    if (!fit) {
        for (dw_batch_item *item = own.first; item != NULL; item = item->next) {
            item->share = item->share != NULL ? item->share : &batch->unshared;
        }
        dw__places_open(&places, &own, &batch->pass, batch->by_deadline);
        batch->by_deadline = !batch->by_deadline;
    }
    while (room > 0 && now->sequences < sequences_max && !now->left) {
        dw_batch_item *item = fit ? own.first : dw__places_next(&places);
        uint32_t count = item != NULL ? cut(item, room, tokens_max < CUT_TOKENS) : 0;
        if (count == 0) {
            break; /* its turn is the next run's first */
        }
        if (fit) {
            (void)dw_batch_queue_take(&own);
        } else {
            dw__places_take(&places, count);
        }
        batch->waiting_count--;
        if (!drop_stopped(batch, item)) {
            room -= count < room ? count : room;
            take_part(batch, now, item, count);
        }
    }
    if (!fit) {
        dw__places_close(&places, &own);
    }
    join(&own, queue);
    if (now->back != NULL) {
        put_back(batch, now->back);
        now->back = NULL;
    }
}

/* All that take part wait again, but for those that are stopped. */
static void put_all_back(dw_batch *batch, const dw__batch_run *now)
{
    for (uint32_t i = now->count; i-- > 0;) { /* in the order in which they waited */
        if (!drop_stopped(batch, now->owners[i])) {
            put_back(batch, now->owners[i]);
        }
    }
}

static void conclude_all(dw_batch *batch, const dw__batch_run *now, dw_status status,
                         const dw_error *error)
{
    bool postponed[DW__SLICES_MAX];
    for (uint32_t i = 0; i < now->count; i++) {
        postponed[i] = now->owners[i] != NULL && status == DW_OK && now->slices[i].postponed;
        if (now->owners[i] != NULL && !postponed[i]) {
            dw__batch_conclude(batch, now->owners[i], &now->slices[i], status, error);
        }
    }
    for (uint32_t i = now->count; i-- > 0;) { /* in the order in which they waited */
        if (postponed[i] && !drop_stopped(batch, now->owners[i])) {
            put_back(batch, now->owners[i]);
        }
    }
}

static dw_status begin_run(const dw_batch *batch, dw__batch_run *now, dw_error *err)
{
    dw_model *model = now->owners[0]->context->model;
    dw_stop *items[DW__SLICES_MAX];
    const dw_stops stops = {.items = items, .count = now->count, .others = leavers(batch, now)};
    bool any = stops.others != NULL;
    for (uint32_t i = 0; i < now->count; i++) {
        items[i] = now->slices[i].step->stop;
        any = any || items[i] != NULL;
    }
    const bool alone = now->count == 1 && dw__step_prefers_alone(model, &now->slices[0]);
    now->step.work = (dw_step_work){.model = model,
                                    .slices = now->slices,
                                    .count = now->count,
                                    .in_batch = !alone,
                                    .others = waiters(batch)};
    return dw__step_begin(&now->step, any && !now->to_end ? &stops : NULL, err);
}

/* One that is stopped in the middle ends a run that goes through at once for all, so that it need
 * not wait for its end; so does one of the others who has to end. The part of those who remain is
 * run again, and then to its end: however many are stopped, at least every second run counts. One
 * that goes in parts, of which this was the beginning, is not left. */
static void run_together(dw_batch *batch, dw__batch_run *now)
{
    dw_error error = {0};
    now->started_ns = dw_os_clock_ns();
    dw_status status = begin_run(batch, now, &error);
    now->took_ns = dw_os_clock_ns() - now->started_ns;
    now->refused = status == DW_E_BUSY;
    now->left = now->left || status == DW_E_CANCELLED;
    if (now->step.graph != NULL) {
        batch->waiting_count += now->count;
    } else if (now->refused) {
        const struct timespec soon = {.tv_nsec = REFUSED_NS};
        put_all_back(batch, now);
        (void)nanosleep(&soon, NULL);
    } else {
        share_time(batch, now);
        dw__batch_note_idle(batch, &now->slices[0]);
        if (status == DW_E_CANCELLED) {
            put_all_back(batch, now);
        } else {
            conclude_all(batch, now, status, &error);
        }
    }
}

/* How many tokens of prompts a run takes: fewer where somebody has to end before it would be over,
 * also the next of a run that was left, which nobody leaves. */
static uint32_t prompt_tokens(const dw_batch *batch, const dw__batch_run *now)
{
    uint32_t most = batch->limits.tokens_max;
    uint64_t due_ns = batch->others != NULL ? dw_stop_others_due_ns(batch->others) : UINT64_MAX;
    if ((due_ns == UINT64_MAX && !now->to_end) || most <= CUT_TOKENS) {
        return most;
    }
    uint64_t clock_ns = dw_os_clock_ns();
    uint64_t left_ns = now->to_end || due_ns < clock_ns ? 0 : due_ns - clock_ns;
    if (batch->token_ns == 0) {
        return left_ns < DUE_SOON_NS ? CUT_TOKENS : most;
    }
    uint64_t count = left_ns / batch->token_ns + BEYOND_DUE_NS / batch->token_ns;
    count = count / CUT_TOKENS * CUT_TOKENS;
    return count > most ? most : count < CUT_TOKENS ? CUT_TOKENS : (uint32_t)count;
}

static void note_time(dw_batch *batch, const dw__batch_run *now, uint64_t took_ns)
{
    if (now->tokens < CUT_TOKENS || now->left) {
        return; /* that time is not what tokens take */
    }
    uint64_t token_ns = took_ns / now->tokens + 1;
    batch->token_ns = batch->token_ns == 0 ? token_ns : (3 * batch->token_ns + token_ns) / 4;
}

/* How many tokens of prompts a run takes beside `decoded` tokens. */
static uint32_t prompt_tokens_beside(const dw_batch_limits *limits, uint32_t decoded)
{
    uint64_t most = (uint64_t)limits->prompt_tokens_each * decoded;
    if (limits->prompt_tokens_each > 0 && most < DW_BATCH_PROMPT_TOKENS_LEAST) {
        most = DW_BATCH_PROMPT_TOKENS_LEAST;
    }
    bool all = limits->prompt_tokens_each == 0 || most > limits->prompt_tokens_max;
    return all ? limits->prompt_tokens_max : (uint32_t)most;
}

/* Decoding first; prompts that wait get a slice however many decode. */
static void compose_both(dw_batch *batch, dw__batch_run *now)
{
    const dw_batch_limits *limits = &batch->limits;
    uint32_t tokens_max = limits->tokens_max;
    uint32_t sequences_max = limits->sequences_max;
    if (batch->decoding.first != NULL && batch->prompts.first != NULL) {
        if (tokens_max == 1 || sequences_max == 1) { /* no room for two: they take turns */
            batch->prompts_turn = !batch->prompts_turn;
            compose(batch, batch->prompts_turn ? &batch->prompts : &batch->decoding, tokens_max,
                    sequences_max, now);
            return;
        }
        uint32_t kept = tokens_max / 2 < CUT_TOKENS ? tokens_max / 2 : CUT_TOKENS;
        tokens_max -= kept < limits->prompt_tokens_max ? kept : limits->prompt_tokens_max;
        sequences_max--;
    }
    compose(batch, &batch->decoding, tokens_max, sequences_max, now);
    uint32_t room = limits->tokens_max - now->tokens;
    uint32_t in_time = prompt_tokens(batch, now);
    room = room < in_time ? room : in_time;
    uint32_t beside = prompt_tokens_beside(limits, now->tokens);
    if (now->tokens > 0 && room > beside) {
        room = beside;
    }
    compose(batch, &batch->prompts, room, limits->sequences_max, now);
}

/* Those that waited for memory, in order, until one has to go on waiting. */
static void begin_parked(dw_batch *batch)
{
    for (dw_batch_item *item = dw_batch_queue_take(&batch->parked); item != NULL;
         item = dw_batch_queue_take(&batch->parked)) {
        dw_batch_queue behind = batch->parked;
        if (drop_stopped(batch, item)) {
            continue;
        }
        batch->parked = (dw_batch_queue){NULL, NULL};
        dw__batch_begin(batch, item);
        if (batch->parked.first != NULL) { /* again: it stays the first */
            item->next = behind.first;
            batch->parked.last = behind.first != NULL ? behind.last : item;
            return;
        }
        batch->parked = behind;
    }
}

/* Those that wait for others' records look whether they go on waiting: each for itself, since one
 * that does not may be what the next waits for. */
static void begin_following(dw_batch *batch)
{
    dw_batch_queue before = batch->following;
    batch->following = (dw_batch_queue){NULL, NULL};
    for (dw_batch_item *item = dw_batch_queue_take(&before); item != NULL;
         item = dw_batch_queue_take(&before)) {
        if (!drop_stopped(batch, item)) {
            dw__batch_begin(batch, item);
        }
    }
}

static void sweep(dw_batch *batch, dw_batch_queue *queue, bool waits)
{
    dw_batch_queue before = *queue;
    *queue = (dw_batch_queue){NULL, NULL};
    for (dw_batch_item *item = dw_batch_queue_take(&before); item != NULL;
         item = dw_batch_queue_take(&before)) {
        if (!drop_stopped(batch, item)) {
            dw_batch_queue_put(queue, item);
        } else if (waits) {
            batch->waiting_count--;
        }
    }
}

/* Those of the run under way that are stopped leave it; with the last of them it is over. */
static void drop_amid(dw_batch *batch)
{
    dw__batch_run *now = &batch->long_run;
    uint32_t remaining = 0;
    for (uint32_t i = 0; i < now->count; i++) {
        dw_batch_item *item = now->owners[i];
        if (item == NULL) {
            continue;
        }
        const uint32_t token_count = now->slices[i].token_count;
        if (!must_stop(item)) {
            remaining++;
            continue;
        }
        dw__step_leave(&now->step, i);
        now->owners[i] = NULL;
        batch->waiting_count--;
        count_time(batch, now, item, token_count, tokens_together(now));
        (void)drop_stopped(batch, item);
    }
    if (remaining == 0) {
        dw__step_end(&now->step);
    }
}

void dw_batch_drop_stopped(dw_batch *batch)
{
    uint32_t waiting = batch->waiting_count;
    if (dw_batch_is_amid(batch)) {
        drop_amid(batch);
    }
    sweep(batch, &batch->decoding, true);
    sweep(batch, &batch->prompts, true);
    sweep(batch, &batch->parked, false);
    if (batch->waiting_count < waiting) {
        begin_parked(batch);
    }
    begin_following(batch);
}

void dw__batch_count_run(dw_batch *batch, uint32_t tokens, uint32_t sequences, uint64_t from_ns)
{
    dw_batch_stats *counts = &batch->counts;
    counts->runs++;
    counts->tokens += tokens;
    counts->sequences += sequences;
    counts->most_sequences =
        sequences > counts->most_sequences ? sequences : counts->most_sequences;
    counts->from_ns = from_ns;
}

static void count_run(dw_batch *batch, const dw__batch_run *now)
{
    if (now->sequences > 0 && !now->refused) {
        dw__batch_count_run(batch, now->tokens, now->sequences, now->started_ns);
    }
}

static void clear_run(dw__batch_run *now)
{
    now->count = now->tokens = now->sequences = 0; /* its lists are filled up to these */
    now->to_end = now->left = now->refused = false;
    now->back = NULL;
    now->step.graph = NULL;
}

/* A run of those that wait, or its beginning. */
static void begin_new(dw_batch *batch)
{
    dw__batch_run *now = &batch->long_run;
    clear_run(now);
    now->to_end = batch->to_end;
    now->started_ns = dw_os_clock_ns();
    const uint64_t started = now->started_ns;
    compose_both(batch, now);
    batch->owed_ns = 0;
    if (now->count > 0 && now->count == now->sequences &&
        dw__ahead_may_begin(batch, now->owners, now->count)) {
        batch->to_end = false;
        dw__ahead_begin(batch, now->owners, now->slices, now->count);
        return;
    }
    if (now->count > 0) {
        run_together(batch, now);
    }
    batch->counts.device_ns += dw_os_clock_ns() - started;
    batch->to_end = now->left;
    if (now->step.graph == NULL) {
        note_time(batch, now, dw_os_clock_ns() - started);
        count_run(batch, now);
    }
}

/* Tokens that are alone, between the parts of a run. */
static void run_between(dw_batch *batch)
{
    dw__batch_run now;
    const uint64_t started = dw_os_clock_ns();
    clear_run(&now);
    compose(batch, &batch->decoding, batch->limits.tokens_max, batch->limits.sequences_max, &now);
    now.to_end = batch->to_end;
    if (now.count > 0) {
        run_together(batch, &now);
    }
    DW_ASSERT(now.step.graph == NULL);
    batch->to_end = now.left;
    batch->owed_ns = dw_os_clock_ns() - started;
    batch->counts.device_ns += batch->owed_ns;
    count_run(batch, &now);
}

static void run_part(dw_batch *batch)
{
    dw__batch_run *now = &batch->long_run;
    dw_error error = {0};
    const uint64_t started = dw_os_clock_ns();
    dw_status status = dw__step_go_on(&now->step, &error);
    const uint64_t took_ns = dw_os_clock_ns() - started;
    now->took_ns += took_ns;
    batch->owed_ns -= took_ns < batch->owed_ns ? took_ns : batch->owed_ns;
    batch->counts.device_ns += took_ns;
    batch->counts.parts++;
    if (now->step.graph != NULL) {
        return;
    }
    for (uint32_t i = 0; i < now->count; i++) {
        batch->waiting_count -= now->owners[i] != NULL;
    }
    share_time(batch, now);
    note_time(batch, now, now->took_ns);
    count_run(batch, now);
    conclude_all(batch, now, status, &error);
}

/* What is under way in parts, or a run. */
static void run_or_go_on(dw_batch *batch)
{
    if (dw_batch_is_amid(batch)) {
        drop_amid(batch);
    } else {
        begin_new(batch);
    }
    if (dw_batch_is_amid(batch) && batch->decoding.first != NULL && batch->owed_ns == 0) {
        run_between(batch);
    } else if (dw_batch_is_amid(batch)) {
        run_part(batch);
    }
}

void dw_batch_run(dw_batch *batch)
{
    uint32_t waiting = batch->waiting_count;
    batch->idle_ns = UINT64_MAX;
    if (dw_batch_flies(batch)) {
        dw__ahead_go_on(batch);
    } else if (waiting > 0) {
        run_or_go_on(batch);
    } else {
        return;
    }
    if (batch->waiting_count < waiting) { /* some are through, and hold nothing now */
        begin_parked(batch);
    }
    begin_following(batch);
    DW_DCHECK(is_sound(batch));
}

/* ---- all at once -------------------------------------------------------------------------- */

static dw_status check_items(const dw_batch_item *items, uint32_t count, dw_error *err)
{
    if (count == 0) {
        return dw_fail(err, DW_E_ARG, "batch: no items");
    }
    for (uint32_t i = 0; i < count; i++) {
        dw_status status = check_alike(items[i].context, items[0].context, err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "item %u", i);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (items[k].context == items[i].context) {
                return dw_fail(err, DW_E_ARG, "batch: items %u and %u have the same context", k, i);
            }
        }
    }
    return DW_OK;
}

void dw_batch_forward_all(dw_batch_item *items, uint32_t count)
{
    dw_batch batch;
    for (uint32_t i = 0; i < count; i++) {
        items[i].user = NULL;
    }
    for (uint32_t first = 0; first < count; first++) {
        if (items[first].user != NULL) {
            continue; /* it has gone with one before */
        }
        dw_batch_init(&batch, NULL);
        for (uint32_t i = first; i < count; i++) {
            if (items[i].user == NULL && dw_batch_admits(&batch, items[i].context, NULL) == DW_OK) {
                items[i].user = items;
                dw_batch_add(&batch, &items[i]);
            }
        }
        while (batch.waiting_count > 0) {
            dw_batch_run(&batch);
        }
    }
}

dw_status dw_batch_forward(dw_batch_item *items, uint32_t count, dw_error *err)
{
    dw_status status = check_items(items, count, err);
    if (status != DW_OK) {
        return status;
    }
    if (count == 1) {
        items[0].status = dw_context_forward(items[0].context, &items[0].step, &items[0].error);
        return DW_OK;
    }
    dw_batch batch;
    dw_batch_init(&batch, NULL);
    for (uint32_t i = 0; i < count; i++) {
        dw_batch_add(&batch, &items[i]);
    }
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
    }
    return DW_OK;
}
