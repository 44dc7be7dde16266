/* What is to be seen of a runtime: lists, counters, JSON. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/public_struct.h"
#include "driftwood_abi.h"
#include "runtime/describe.h"
#include "runtime/engine_of.h"

#define WATCHES_LISTED 1024 /* more are counted alone */

static const dw_priority priorities[DW__PRIORITIES] = {DW_PRIORITY_HIGH, DW_PRIORITY_NORMAL,
                                                       DW_PRIORITY_LOW};

/* Those in the folder, from `from` on. Gives the lock back meanwhile. */
static dw_status list_kept(dw_runtime *runtime, uint64_t from, size_t max, dw_actor_name **names,
                           size_t *count, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    *names = dw_alloc(max, sizeof **names);
    if (*names == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu actors", max);
    }
    dw__id_text(id, from);
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = runtime->keeper->list(runtime->keeper->user, id, *names, max, count, err);
    dw__lock_again(runtime, scope);
    return status;
}

/* With those in memory, which need not be in the folder yet. Of those that leave there are none. */
static size_t merge(const dw_runtime *runtime, uint64_t from, const dw_actor_name *kept,
                    size_t kept_count, char (*ids)[DW_ACTOR_ID_CHARS + 1], size_t capacity)
{
    size_t count = 0;
    size_t next = 0;
    const dw__record *record = dw__first_from(runtime, from);
    while (count < capacity && (record != NULL || next < kept_count)) {
        uint64_t id = 0;
        bool is_kept = next < kept_count && dw__id_parse(kept[next].id, &id);
        if (record != NULL && (!is_kept || record->id <= id)) {
            next += is_kept && record->id == id;
            dw__id_text(ids[count++], record->id);
            record = record->id < UINT64_MAX ? dw__first_from(runtime, record->id + 1) : NULL;
        } else {
            const dw__record *leaves = dw__find_any(runtime, id);
            if (leaves == NULL) {
                dw__id_text(ids[count++], id);
            }
            next++;
        }
    }
    return count;
}

dw_status dw_runtime_list(dw_runtime *runtime, const char *after,
                          char (*ids)[DW_ACTOR_ID_CHARS + 1], size_t capacity, size_t *count,
                          dw_error *err)
{
    uint64_t from = 0;
    *count = 0;
    if (after != NULL && after[0] != '\0') {
        if (!dw__id_parse(after, &from)) {
            return dw_fail(err, DW_E_ARG, "after: '%.40s', an actor's id is needed", after);
        }
        if (from == UINT64_MAX) {
            return DW_OK;
        }
        from++;
    }
    dw_actor_name *kept = NULL;
    size_t kept_count = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL && capacity > 0) {
        status = list_kept(runtime, from, capacity, &kept, &kept_count, err);
    }
    if (status == DW_OK) {
        *count = merge(runtime, from, kept, kept_count, ids, capacity);
    }
    dw_free(kept);
    dw__leave(runtime, false);
    return status;
}

/* With the lock, as all that follows. */
dw_runtime_actor_info dw__info_of(dw_runtime *runtime, dw__record *record)
{
    dw__sum_usage(runtime, record);
    dw_runtime_actor_info info = {.depth = record->depth,
                                  .capabilities = record->capabilities,
                                  .priority = priorities[record->priority],
                                  .supervision = record->supervision,
                                  .working = record->state == DW__WORKING,
                                  .waiting = record->mail.count + record->held.count +
                                             record->coming.count,
                                  .set_aside = record->aside.count + record->aside_count,
                                  .done = record->sums.messages,
                                  .restarts = record->restarts,
                                  .freezes = record->freeze_number,
                                  .timer_ms = record->timer_ms,
                                  .memory_bytes = record->memory_bytes};
#define COPY(name) info.name = record->sums.name;
    DW__PUBLIC_SUMS(COPY)
#undef COPY
    info.failed = record->sums.failed;
    if (info.working) {
        uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
        info.message = record->current != NULL ? record->current->number : 0;
        info.working_ns = now_ns - record->began_ns;
    }
    dw__sender_text(info.parent, &record->made_by);
    (void)snprintf(info.name, sizeof info.name, "%s", dw__name_of(record));
    info.groups = record->group_count;
    (void)snprintf(info.tenant, sizeof info.tenant, "%s", record->tenant->name);
    info.resident = !record->queued;
    info.pinned = record->pinned;
    if (record->at_rest) {
        info.idle_ns = runtime->platform.clock_ns(runtime->platform.user) - record->used_ns;
    }
    if (runtime->keeper != NULL) {
        info.durability = dw__durability_of(runtime, record, &info.durability_s);
    }
    return info;
}

/* Of one that is in the folder alone, in so many groups. */
dw_runtime_actor_info dw__info_of_row(const dw_runtime *runtime, const dw_actor_row *row,
                                      size_t groups)
{
    const dw_actor_traits *traits = &row->traits;
    const dw__tenant *tenant = dw__find_tenant(runtime, traits->tenant);
    dw_runtime_actor_info info = {
        .depth = row->depth,
        .capabilities = tenant != NULL ? traits->capabilities & tenant->capabilities : 0,
        .priority = priorities[dw__queue_of((dw_priority)traits->priority)],
        .supervision =
            traits->supervision == DW_SUPERVISE_STOP ? DW_SUPERVISE_STOP : DW_SUPERVISE_RESTART,
        .waiting = row->waiting,
        .set_aside = row->set_aside,
        .pinned = traits->pinned,
        .timer_ms = row->timer_ms != UINT64_MAX ? row->timer_ms : 0};
    memcpy(info.parent, row->parent, sizeof info.parent);
    dw__sums sums;
    dw__counts_read(runtime, &row->counts, &sums, &info.restarts);
#define COPY(name) info.name = sums.name;
    DW__PUBLIC_SUMS(COPY)
#undef COPY
    info.done = sums.messages;
    info.failed = sums.failed;
    info.groups = groups;
    (void)snprintf(info.name, sizeof info.name, "%s", row->name);
    (void)snprintf(info.tenant, sizeof info.tenant, "%s", traits->tenant);
    dw__durability_read(traits->policy, &info.durability, &info.durability_s);
    dw__durability_fill(runtime, tenant, &info.durability, &info.durability_s);
    return info;
}

/* An actor, in memory (`*record`) or in the folder alone; what it is called is known then. `names`
 * is the caller's to release. Gives the lock back meanwhile. */
static dw_status look_whole(dw_runtime *runtime, const char *id, dw__record **record,
                            dw_actor_row *row, dw_actor_names *names, dw_error *err)
{
    uint64_t number = 0;
    *names = (dw_actor_names){.group_count = 0};
    dw_status status = dw__look(runtime, id, record, row, err);
    if (status != DW_OK || (*record != NULL && (*record)->names_known)) {
        return status;
    }
    (void)dw__id_parse(row->id, &number);
    if (*record != NULL) { /* it is coming into memory */
        status = dw__names_read(runtime, number, err);
        return status == DW_OK ? dw__look(runtime, id, record, row, err) : status;
    }
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->read_names(runtime->keeper->user, row->id, names, err);
    dw__lock_again(runtime, scope);
    return status;
}

/* What it watches. It need not be there any more by then, since the lock is given back. */
static dw_status look_at_watches(dw_runtime *runtime, const char *id, dw_actor_watches *watches,
                                 dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    dw_status status = dw__look(runtime, id, &record, &row, err);
    if (status == DW_OK && runtime->keeper == NULL) {
        return dw__watch_list(record, watches, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->read_watches(runtime->keeper->user, row.id, watches, err);
    dw__lock_again(runtime, scope);
    return status;
}

dw_status dw_runtime_get_actor_info(dw_runtime *runtime, const char *id,
                                    dw_runtime_actor_info *info, dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    dw_actor_names names;
    dw_runtime_actor_info own;
    dw_status status = dw_struct_check(info, "dw_runtime_actor_info", err);
    if (status == DW_OK) {
        status = dw__enter_open(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = look_whole(runtime, id, &record, &row, &names, err);
    if (status == DW_OK) {
        own = record != NULL ? dw__info_of(runtime, record)
                             : dw__info_of_row(runtime, &row, names.group_count);
    }
    dw_free(names.groups);
    dw__leave(runtime, false);
    if (status == DW_OK) {
        status = dw__add_snapshots(runtime, row.id, &own, err);
    }
    if (status == DW_OK) {
        dw_struct_write(info, &own, sizeof own);
    }
    return status;
}

static dw_runtime_tenant_info tenant_info_of(const dw__tenant *tenant)
{
    dw_runtime_tenant_info info = {.weight = tenant->weight,
                                   .capabilities = tenant->capabilities,
                                   .actors = tenant->actors,
                                   .working = tenant->working,
                                   .ready = tenant->ready_count,
                                   .messages = tenant->sums.messages,
                                   .failed = tenant->sums.failed};
#define COPY(name) info.name = tenant->sums.name;
    DW__PUBLIC_SUMS(COPY)
#undef COPY
    return info;
}

dw_status dw_runtime_get_tenant_info(dw_runtime *runtime, const char *name,
                                     dw_runtime_tenant_info *info, dw_error *err)
{
    dw_runtime_tenant_info own;
    dw_status status = dw_struct_check(info, "dw_runtime_tenant_info", err);
    if (status == DW_OK) {
        status = dw__enter_open(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw__tenant *tenant = dw__find_tenant(runtime, name);
    if (tenant != NULL) {
        own = tenant_info_of(tenant);
    } else {
        status = dw_fail(err, DW_E_NOT_FOUND, "no tenant '%.80s'", name);
    }
    dw__leave(runtime, false);
    if (status == DW_OK) {
        dw_struct_write(info, &own, sizeof own);
    }
    return status;
}

/* The first in the order of names behind `after` (NULL: of all); NULL: none. */
static const dw__tenant *tenant_after(const dw_runtime *runtime, const char *after)
{
    const dw__tenant *first = NULL;
    for (const dw__tenant *tenant = runtime->tenants; tenant != NULL; tenant = tenant->next) {
        if (!tenant->absent && (after == NULL || strcmp(tenant->name, after) > 0) &&
            (first == NULL || strcmp(tenant->name, first->name) < 0)) {
            first = tenant;
        }
    }
    return first;
}

dw_status dw_runtime_list_tenants(dw_runtime *runtime, const char *after,
                                  char (*names)[DW_TENANT_NAME_MAX + 1], size_t capacity,
                                  size_t *count, dw_error *err)
{
    *count = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__tenant *tenant = NULL;
    while (*count < capacity && (tenant = tenant_after(runtime, after)) != NULL) {
        (void)snprintf(names[(*count)++], sizeof names[0], "%s", tenant->name);
        after = tenant->name;
    }
    dw__leave(runtime, false);
    return DW_OK;
}

static dw_runtime_stats stats_of(const dw_runtime *runtime)
{
    dw_runtime_stats stats = runtime->counts;
    stats.actors = runtime->listed_count + runtime->dormant_count;
    stats.resident = runtime->listed_count - runtime->queued_count;
    stats.resident_bytes = runtime->resident_bytes;
    stats.queued = runtime->queued_count;
    stats.working = runtime->working_count;
    stats.lost_log_entries = dw_event_log_lost(runtime->log);
    stats.uptime_ns = runtime->platform.clock_ns(runtime->platform.user) - runtime->opened_ns;
    stats.messages = runtime->sums.messages;
#define COPY(name) stats.name = runtime->sums.name;
    DW__PUBLIC_SUMS(COPY)
#undef COPY
    return stats;
}

dw_status dw_runtime_get_stats(dw_runtime *runtime, dw_runtime_stats *stats)
{
    dw__enter(runtime);
    dw_runtime_stats own = stats_of(runtime);
    dw__leave(runtime, false);
    return dw_struct_fill(stats, &own, sizeof own, "dw_runtime_stats");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void add_capabilities(dw_json_text *json, uint32_t capabilities)
{
    static const char *const names[] = DW__CAPABILITY_NAMES;
    dw_json_key(json, "may");
    dw_json_open(json, '[');
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((capabilities & (1u << i)) != 0) {
            dw_json_string(json, names[i]);
        }
    }
    dw_json_close(json, ']');
}

static void add_sums(dw_json_text *json, const dw__sums *sums)
{
#define ADD(name) dw_json_add_whole(json, #name, sums->name);
    DW__SUM_LIST(ADD)
#undef ADD
}

/* What is known of one that is in memory or not. */
static void add_info(dw_json_text *json, const char *id, const dw_runtime_actor_info *info)
{
    static const char *const names[] = {
        [DW_PRIORITY_NORMAL] = "normal", [DW_PRIORITY_HIGH] = "high", [DW_PRIORITY_LOW] = "low"};
    char durability[32];
    dw_json_add_string(json, "id", id);
    dw_json_add_string(json, "parent", info->parent);
    dw_json_add_whole(json, "depth", info->depth);
    dw_json_add_string(json, "tenant", info->tenant);
    dw_json_add_string(json, "name", info->name);
    add_capabilities(json, info->capabilities);
    dw_json_add_string(json, "priority", names[info->priority]);
    dw_json_add_string(json, "supervision",
                       info->supervision == DW_SUPERVISE_STOP ? "stop" : "restart");
    dw_json_add_truth(json, "resident", info->resident);
    dw_json_add_truth(json, "pinned", info->pinned);
    if (info->durability == DW_DURABLE_SECONDS) {
        dw_json_add_whole(json, "durability", info->durability_s);
    } else if (info->durability != DW_DURABLE_DEFAULT) {
        dw__durability_text(durability, info->durability, 0);
        dw_json_add_string(json, "durability", durability);
    }
    dw_json_add_whole(json, "waiting", info->waiting);
    dw_json_add_whole(json, "set_aside", info->set_aside);
    dw_json_add_whole(json, "timer_ms", info->timer_ms);
}

/* Those that are set, as a manifest has them; at the end what is set nowhere counts. */
static void add_limits(dw_json_text *json, const dw_limits *limits)
{
    dw_json_key(json, "limits");
    dw_json_open(json, '{');
    for (size_t i = 0; i < dw_limit_count(); i++) {
        char value[DW_LIMIT_TEXT_BYTES];
        dw_limit_info row = {.struct_bytes = sizeof row};
        uint64_t set = dw_limits_at(limits, i);
        if (set != 0 && dw_limit_get_info(i, &row, NULL) == DW_OK) {
            dw_limit_format(row.unit, set, value);
            dw_json_add_string(json, row.name, value);
        }
    }
    dw_json_close(json, '}');
}

/* `limit` 0: that is not known. */
static void add_watches(dw_json_text *json, const dw_actor_watches *watches, uint64_t limit)
{
    dw_json_key(json, "watches");
    dw_json_open(json, '{');
    dw_json_add_whole(json, "count", watches->count);
    if (limit != 0) {
        dw_json_add_whole(json, "limit", limit);
    }
    dw_json_add_whole(json, "watchers", watches->watchers);
    dw_json_key(json, "actors");
    dw_json_open(json, '[');
    for (size_t i = 0; i < watches->count && i < WATCHES_LISTED; i++) {
        const dw_watched_actor *one = &watches->list[i];
        dw_json_open(json, '{');
        dw_json_add_string(json, "id", one->actor);
        dw_json_key(json, "events");
        dw_json_open(json, '[');
        dw_json_string(json, "ended");
        if ((one->events & DW_WATCH_ON_FAILURE) != 0) {
            dw_json_string(json, "failed");
        }
        if ((one->events & DW_WATCH_ON_ASIDE) != 0) {
            dw_json_string(json, "set_aside");
        }
        dw_json_close(json, ']');
        dw_json_close(json, '}');
    }
    dw_json_close(json, ']');
    dw_json_close(json, '}');
}

void dw__json_actor(dw_json_text *json, dw_runtime *runtime, dw__record *record,
                    const dw_actor_watches *watches)
{
    static const char *const states[] = {
        [DW__MAKING] = "making",   [DW__RESTING] = "resting", [DW__READY] = "ready",
        [DW__WORKING] = "working", [DW__BUSY] = "busy",       [DW__DOWN] = "down",
        [DW__LEAVING] = "leaving"};
    dw_runtime_actor_info info = dw__info_of(runtime, record);
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, record->id);
    dw_json_open(json, '{');
    add_info(json, id, &info);
    dw_json_key(json, "groups");
    dw_json_open(json, '[');
    for (size_t i = 0; i < record->group_count; i++) {
        dw_json_string(json, dw__group_at(record, i));
    }
    dw_json_close(json, ']');
    dw_json_add_string(json, "state", states[record->state]);
    dw_json_add_truth(json, "working", info.working);
    dw_json_add_whole(json, "message", info.message);
    dw_json_add_whole(json, "working_ns", info.working_ns);
    dw_json_add_whole(json, "restarts", info.restarts);
    dw_json_add_whole(json, "freezes", info.freezes);
    dw_json_add_whole(json, "memory_bytes", info.memory_bytes);
    dw_json_add_whole(json, "unread_bytes", record->unread_bytes);
    dw_json_add_whole(json, "idle_ns", info.idle_ns);
    add_sums(json, &record->sums);
    if (watches != NULL) {
        add_watches(json, watches, record->limits != NULL ? record->limits->watches : 0);
    }
    if (watches != NULL && record->limits != NULL) {
        add_limits(json, record->limits);
    }
    dw_json_close(json, '}');
}

static void add_row(dw_json_text *json, const dw_runtime *runtime, const dw_actor_row *row,
                    const dw_actor_names *names, const dw_actor_watches *watches)
{
    dw_runtime_actor_info info = dw__info_of_row(runtime, row, names->group_count);
    dw_json_open(json, '{');
    add_info(json, row->id, &info);
    dw_json_key(json, "groups");
    dw_json_open(json, '[');
    for (size_t i = names->group_count; i-- > 0;) { /* as of one in memory: the last first */
        dw_json_string(json, names->groups[i]);
    }
    dw_json_close(json, ']');
    dw_json_add_string(json, "state", "dormant");
    dw_json_add_truth(json, "working", false);
    dw_json_add_whole(json, "restarts", info.restarts);
    dw__sums sums;
    dw__counts_read(runtime, &row->counts, &sums, NULL);
    add_sums(json, &sums);
    add_watches(json, watches, runtime->limits.watches);
    add_limits(json, &runtime->limits); /* which take the place of its own when it is read */
    dw_json_close(json, '}');
}

void dw__json_totals(dw_json_text *json, const dw_runtime *runtime)
{
    dw_runtime_stats stats = stats_of(runtime);
    dw_json_add_whole(json, "actors", stats.actors);
    dw_json_add_whole(json, "resident", stats.resident);
    dw_json_add_whole(json, "actors_bytes", stats.resident_bytes);
    dw_json_add_whole(json, "queued", stats.queued);
    dw_json_add_whole(json, "working", stats.working);
    dw_json_add_whole(json, "most_working", stats.most_working);
    dw_json_add_whole(json, "waiting", stats.waiting);
    dw_json_add_whole(json, "unread_bytes", runtime->unread_bytes);
    dw_json_add_whole(json, "accepted", stats.accepted);
    dw_json_add_whole(json, "ended", stats.ended);
    dw_json_add_whole(json, "ended_failed", stats.failed);
    dw_json_add_whole(json, "made", stats.made);
    dw_json_add_whole(json, "stopped", stats.stopped);
    dw_json_add_whole(json, "restarts", stats.restarts);
    dw_json_add_whole(json, "lost_events", stats.lost_events);
    dw_json_add_whole(json, "lost_log_entries", stats.lost_log_entries);
    add_sums(json, &runtime->sums);
}

static void add_folders(dw_json_text *json, const dw__folders *folders)
{
    dw_json_key(json, "folders");
    dw_json_open(json, '[');
    for (size_t i = 0; folders != NULL && i < folders->count; i++) {
        dw_json_open(json, '{');
        dw_json_add_string(json, "host", folders->dirs[i].host_path);
        dw_json_add_string(json, "guest", folders->dirs[i].guest_path);
        dw_json_add_truth(json, "writable", folders->dirs[i].writable);
        dw_json_close(json, '}');
    }
    dw_json_close(json, ']');
}

void dw__json_tenants(dw_json_text *json, const dw_runtime *runtime)
{
    dw_json_key(json, "tenants");
    dw_json_open(json, '[');
    for (const dw__tenant *tenant = tenant_after(runtime, NULL); tenant != NULL;
         tenant = tenant_after(runtime, tenant->name)) {
        dw_json_open(json, '{');
        dw_json_add_string(json, "name", tenant->name);
        add_capabilities(json, tenant->capabilities);
        dw_json_add_whole(json, "weight", tenant->weight);
        dw_json_add_whole(json, "actors", tenant->actors);
        dw_json_add_whole(json, "working", tenant->working);
        dw_json_add_whole(json, "ready", tenant->ready_count);
        dw_json_add_whole(json, "unread_bytes", tenant->unread_bytes);
        add_folders(json, tenant->folders);
        add_limits(json, &tenant->limits);
        add_sums(json, &tenant->sums);
        dw_json_close(json, '}');
    }
    dw_json_close(json, ']');
}

dw_status dw_runtime_describe(dw_runtime *runtime, const char *id, dw_text_room *text,
                              dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    dw_actor_names names = {.group_count = 0};
    dw_actor_watches watches = {.count = 0};
    dw_json_text json = dw_json_text_in(text->items, text->capacity);
    text->count = 0;
    dw_kv_stats kv = {.struct_bytes = sizeof kv};
    if (id == NULL) { /* takes locks of its own */
        (void)dw_engine_get_kv_stats(dw_runtime_engine(runtime), &kv);
    }
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (id != NULL) {
        status = look_at_watches(runtime, id, &watches, err);
    }
    if (id != NULL && status == DW_OK) {
        status = look_whole(runtime, id, &record, &row, &names, err);
    }
    if (status == DW_OK && record != NULL) {
        dw__json_actor(&json, runtime, record, &watches);
    } else if (status == DW_OK && id != NULL) {
        add_row(&json, runtime, &row, &names, &watches);
    } else if (status == DW_OK) {
        dw_json_open(&json, '{');
        dw__json_totals(&json, runtime);
        dw__json_tenants(&json, runtime);
        dw__json_kv(&json, &kv);
        add_limits(&json, &runtime->own_limits);
        dw_json_close(&json, '}');
    }
    dw_free(names.groups);
    dw_free(watches.list);
    dw__leave(runtime, false);
    text->count = json.count;
    if (status == DW_OK && text->count > text->capacity) {
        status = dw_fail(err, DW_E_SPACE, "describe: %zu bytes, there is room for %zu", text->count,
                         text->capacity);
    }
    return status;
}
