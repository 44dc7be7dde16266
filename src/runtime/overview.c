/* All that is to be seen of a runtime at once, which goes on meanwhile: its lock is held for some
 * actors at a time. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "runtime/describe.h"
#include "runtime/engine_of.h"

#define ACTORS_DEFAULT 256u
#define ACTORS_MAX 65536u
/* Looked at, or told of, while the lock is held. */
#define LOOKS 256u
#define TOLD 32u

typedef struct candidate {
    uint64_t id;
    uint64_t amount; /* of what the order goes by */
    bool working;
} candidate;

/* The foremost so far: a heap whose root is the last of them. */
typedef struct foremost {
    dw_overview_order order;
    candidate *items; /* [count] */
    size_t count;
    size_t capacity;
    uint64_t seen;
} foremost;

static bool is_before(const candidate *a, const candidate *b)
{
    if (a->working != b->working) {
        return a->working;
    }
    return a->amount != b->amount ? a->amount > b->amount : a->id < b->id;
}

static void swap(candidate *a, candidate *b)
{
    candidate kept = *a;
    *a = *b;
    *b = kept;
}

static void rise(foremost *f, size_t at)
{
    while (at > 0 && is_before(&f->items[(at - 1) / 2], &f->items[at])) {
        swap(&f->items[(at - 1) / 2], &f->items[at]);
        at = (at - 1) / 2;
    }
}

static void sink(foremost *f)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < f->count && is_before(&f->items[child], &f->items[child + 1])) {
            child++;
        }
        if (child >= f->count || !is_before(&f->items[at], &f->items[child])) {
            return;
        }
        swap(&f->items[at], &f->items[child]);
        at = child;
    }
}

static void consider(foremost *f, const candidate *one)
{
    f->seen++;
    if (f->count < f->capacity) {
        f->items[f->count] = *one;
        rise(f, f->count++);
    } else if (is_before(one, &f->items[0])) {
        f->items[0] = *one;
        sink(f);
    }
}

/* With the lock. */
static uint64_t amount_of(const dw__record *record, dw_overview_order order)
{
    const dw__sums *sums = &record->sums;
    switch (order) {
    case DW_ORDER_DEVICE:
        return sums->device_ns;
    case DW_ORDER_GUEST:
        return sums->guest_ns;
    case DW_ORDER_TOKENS:
        return sums->prompt_tokens + sums->generated_tokens;
    case DW_ORDER_MEMORY:
        return record->memory_bytes;
    case DW_ORDER_WAITING:
        return record->mail.count;
    }
    return 0;
}

/* From id `*from` on, which moves; false: there are no more. */
static bool look(dw_runtime *runtime, uint64_t *from, foremost *f)
{
    bool more = true;
    dw__enter(runtime);
    for (unsigned i = 0; i < LOOKS && more; i++) {
        dw__record *record = dw__first_from(runtime, *from);
        if (record == NULL) {
            more = false;
            break;
        }
        dw__sum_usage(runtime, record);
        consider(f, &(candidate){.id = record->id,
                                 .amount = amount_of(record, f->order),
                                 .working = record->state == DW__WORKING});
        more = record->id != UINT64_MAX;
        *from = record->id + 1;
    }
    dw__leave(runtime, false);
    return more;
}

static int compare(const void *a, const void *b)
{
    return is_before(a, b) ? -1 : is_before(b, a) ? 1 : 0;
}

static void add_actors(dw_json_text *json, dw_runtime *runtime, const foremost *f)
{
    dw_json_key(json, "actors");
    dw_json_open(json, '[');
    for (size_t at = 0; at < f->count; at += TOLD) {
        dw__enter(runtime);
        for (size_t i = at; i < f->count && i < at + TOLD; i++) {
            dw__record *record = dw__find(runtime, f->items[i].id);
            if (record != NULL) { /* it may be gone by now */
                dw__json_actor(json, runtime, record, NULL);
            }
        }
        dw__leave(runtime, false);
    }
    dw_json_close(json, ']');
    dw_json_add_whole(json, "actors_left_out", f->seen - f->count);
}

static void add_scheduler(dw_json_text *json, dw_runtime *runtime)
{
    dw_scheduler_stats stats = {.struct_bytes = sizeof stats};
    if (dw_runtime_get_scheduler_stats(runtime, &stats) != DW_OK) {
        return;
    }
    dw_json_key(json, "scheduler");
    dw_json_open(json, '{');
    dw_json_add_whole(json, "guests", stats.guests);
    dw_json_add_whole(json, "most_guests", stats.most_guests);
    dw_json_add_whole(json, "rounds", stats.rounds);
    dw_json_add_whole(json, "turns", stats.resumes);
    dw_json_add_whole(json, "preemptions", stats.preemptions);
    dw_json_add_whole(json, "steps", stats.steps);
    dw_json_add_whole(json, "step_tokens", stats.step_tokens);
    dw_json_add_whole(json, "step_sequences", stats.step_sequences);
    dw_json_add_whole(json, "most_step_sequences", stats.most_step_sequences);
    dw_json_add_whole(json, "jobs", stats.jobs);
    dw_json_add_whole(json, "device_ns", stats.device_ns);
    dw_json_add_whole(json, "guest_ns", stats.guest_ns);
    dw_json_add_whole(json, "device_idle_ns", stats.device_idle_ns);
    dw_json_add_whole(json, "device_idle_times", stats.device_idle_times);
    dw_json_add_whole(json, "device_idle_median_ns", stats.device_idle_median_ns);
    dw_json_close(json, '}');
}

void dw__json_kv(dw_json_text *json, const dw_kv_stats *kv)
{
    dw_json_key(json, "kv");
    dw_json_open(json, '{');
    dw_json_add_whole(json, "limit_bytes", kv->limit_bytes);
    dw_json_add_whole(json, "pages_bytes", kv->pages_bytes);
    dw_json_add_whole(json, "mapped_bytes", kv->mapped_bytes);
    dw_json_add_whole(json, "device_bytes", kv->device_bytes);
    dw_json_add_whole(json, "evicted_bytes", kv->host_bytes);
    dw_json_add_whole(json, "contexts", kv->context_count);
    dw_json_add_whole(json, "kept_bytes", kv->kept_bytes);
    dw_json_add_whole(json, "kept_contexts", kv->kept_count);
    dw_json_add_whole(json, "kept_found", kv->kept_found_count);
    dw_json_add_whole(json, "kept_lost", kv->kept_lost_count);
    dw_json_close(json, '}');
}

static void add_runtime(dw_json_text *json, dw_runtime *runtime)
{
    dw__enter(runtime);
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    dw_json_add_whole(json, "time_ms", runtime->platform.wall_ms(runtime->platform.user));
    dw_json_add_whole(json, "uptime_ns", now_ns - runtime->opened_ns);
    dw_json_add_whole(json, "resident_bytes", dw_os_rss_bytes());
    dw_json_key(json, "runtime");
    dw_json_open(json, '{');
    dw__json_totals(json, runtime);
    dw_json_close(json, '}');
    dw__json_tenants(json, runtime);
    dw__leave(runtime, false);
}

const char *const dw__order_names[DW__ORDERS] = {"device", "guest", "tokens", "memory", "waiting"};

static dw_status check(const dw_overview_options *options, dw_error *err)
{
    if ((unsigned)options->order >= DW__ORDERS) {
        return dw_fail(err, DW_E_RANGE, "order: %d, there are %u", (int)options->order, DW__ORDERS);
    }
    if (options->actors_max > ACTORS_MAX) {
        return dw_fail(err, DW_E_RANGE, "actors_max: %u, at most %u", options->actors_max,
                       ACTORS_MAX);
    }
    return DW_OK;
}

dw_status dw__overview(dw_runtime *runtime, const dw_overview_options *options, dw_json_text *json,
                       dw_error *err)
{
    dw_overview_options own;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_overview_options", err);
    if (status == DW_OK) {
        status = check(&own, err);
    }
    if (status != DW_OK) {
        return status;
    }
    foremost f = {.order = own.order,
                  .capacity = own.actors_max != 0 ? own.actors_max : ACTORS_DEFAULT};
    f.items = dw_alloc(f.capacity, sizeof *f.items);
    if (f.items == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to look at actors");
    }
    uint64_t from = 0;
    while (look(runtime, &from, &f)) {}
    qsort(f.items, f.count, sizeof *f.items, compare);
    dw_json_open(json, '{');
    dw_json_add_string(json, "format", "driftwood-overview");
    dw_json_add_whole(json, "version", 1);
    dw_json_add_string(json, "order", dw__order_names[own.order]);
    add_runtime(json, runtime);
    add_scheduler(json, runtime);
    dw_kv_stats kv = {.struct_bytes = sizeof kv};
    (void)dw_engine_get_kv_stats(dw_runtime_engine(runtime), &kv);
    dw__json_kv(json, &kv);
    add_actors(json, runtime, &f);
    dw_json_close(json, '}');
    dw_free(f.items);
    return json->failed ? dw_fail(err, DW_E_MEMORY, "no memory for what is to be seen") : DW_OK;
}

/* All of it, in as many pieces as `write` likes. */
static dw_status hand_over(const dw_json_text *json, dw_write_fn write, void *user, dw_error *err)
{
    for (size_t at = 0; at < json->count;) {
        ptrdiff_t taken = write(user, (const unsigned char *)json->items + at, json->count - at);
        if (taken <= 0) {
            return dw_fail(err, DW_E_IO, "overview: %zu of %zu bytes were taken", at, json->count);
        }
        at += (size_t)taken < json->count - at ? (size_t)taken : json->count - at;
    }
    return DW_OK;
}

dw_status dw_runtime_overview(dw_runtime *runtime, const dw_overview_options *options,
                              dw_write_fn write, void *user, dw_error *err)
{
    dw_json_text json = dw_json_text_growing();
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    dw__leave(runtime, false);
    status = dw__overview(runtime, options, &json, err);
    if (status == DW_OK) {
        status = hand_over(&json, write, user, err);
    }
    dw_json_text_release(&json);
    return status;
}
