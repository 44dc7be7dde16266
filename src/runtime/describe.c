/* What is to be seen of a runtime: lists, counters, JSON. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/public_struct.h"
#include "runtime/runtime_internal.h"

static const dw_priority priorities[DW__PRIORITIES] = {DW_PRIORITY_HIGH, DW_PRIORITY_NORMAL,
                                                       DW_PRIORITY_LOW};

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
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    while (*count < capacity) {
        const dw__record *record = dw__first_from(runtime, from);
        if (record == NULL) {
            break;
        }
        dw__id_text(ids[(*count)++], record->id);
        if (record->id == UINT64_MAX) {
            break;
        }
        from = record->id + 1;
    }
    dw__leave(runtime, false);
    return DW_OK;
}

static dw_runtime_actor_info info_of(const dw__record *record)
{
    dw_runtime_actor_info info = {.depth = record->depth,
                                  .capabilities = record->capabilities,
                                  .priority = priorities[record->priority],
                                  .supervision = record->supervision,
                                  .working = record->state == DW__WORKING,
                                  .waiting = record->mail.count,
                                  .set_aside = record->aside.count,
                                  .done = record->done,
                                  .failed = record->failed,
                                  .restarts = record->restarts,
                                  .answered_bytes = record->answered_bytes,
                                  .work_ns = record->work_ns,
                                  .freezes = record->freeze_number,
                                  .timer_ms = record->timer_ms,
                                  .prompt_tokens = record->usage.prompt_tokens,
                                  .generated_tokens = record->usage.generated_tokens,
                                  .memory_bytes = record->usage.memory_bytes,
                                  .found_tokens = record->usage.found_tokens};
    dw__sender_text(info.parent, &record->made_by);
    (void)snprintf(info.tenant, sizeof info.tenant, "%s", record->tenant->name);
    return info;
}

dw_status dw_runtime_get_actor_info(dw_runtime *runtime, const char *id,
                                    dw_runtime_actor_info *info, dw_error *err)
{
    dw__record *record = NULL;
    dw_runtime_actor_info own;
    dw_status status = dw_struct_check(info, "dw_runtime_actor_info", err);
    if (status == DW_OK) {
        status = dw__enter_open(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw__find_text(runtime, id, &record, err);
    if (status == DW_OK) {
        own = info_of(record);
    }
    dw__leave(runtime, false);
    if (status == DW_OK) {
        dw_struct_write(info, &own, sizeof own);
    }
    return status;
}

/* With the lock. */
static dw_runtime_stats stats_of(const dw_runtime *runtime)
{
    dw_runtime_stats stats = runtime->counts;
    stats.actors = runtime->listed_count;
    stats.working = runtime->working_count;
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

static void add(dw_text_room *text, const char *format, ...) DW_PRINTF(2, 3);

/* Counted also where it does not fit. */
static void add(dw_text_room *text, const char *format, ...)
{
    char part[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    DW_ASSERT(length >= 0 && (size_t)length < sizeof part);
    if ((size_t)length <= text->capacity && text->count <= text->capacity - (size_t)length) {
        memcpy(text->items + text->count, part, (size_t)length);
    }
    text->count += (size_t)length;
}

/* A name without control characters. */
static void add_name(dw_text_room *text, const char *name)
{
    add(text, "\"");
    for (; *name != '\0'; name++) {
        add(text, "%s%c", *name == '"' || *name == '\\' ? "\\" : "", *name);
    }
    add(text, "\"");
}

static void add_capabilities(dw_text_room *text, uint32_t capabilities)
{
    static const char *const names[] = DW__CAPABILITY_NAMES;
    const char *comma = "";
    add(text, ",\"may\":[");
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((capabilities & (1u << i)) != 0) {
            add(text, "%s\"%s\"", comma, names[i]);
            comma = ",";
        }
    }
    add(text, "]");
}

static void add_actor(dw_text_room *text, const dw__record *record)
{
    static const char *const queues[DW__PRIORITIES] = {"high", "normal", "low"};
    dw_runtime_actor_info info = info_of(record);
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, record->id);
    add(text, "{\"id\":\"%s\",\"parent\":\"%s\",\"depth\":%" PRIu32 ",\"tenant\":", id, info.parent,
        info.depth);
    add_name(text, info.tenant);
    add_capabilities(text, info.capabilities);
    add(text, ",\"priority\":\"%s\",\"supervision\":\"%s\",\"working\":%s",
        queues[record->priority], info.supervision == DW_SUPERVISE_STOP ? "stop" : "restart",
        info.working ? "true" : "false");
    add(text,
        ",\"waiting\":%" PRIu64 ",\"set_aside\":%" PRIu64 ",\"done\":%" PRIu64
        ",\"failed\":%" PRIu64 ",\"restarts\":%" PRIu64,
        info.waiting, info.set_aside, info.done, info.failed, info.restarts);
    add(text,
        ",\"answered_bytes\":%" PRIu64 ",\"work_ns\":%" PRIu64 ",\"freezes\":%" PRIu64
        ",\"timer_ms\":%" PRIu64,
        info.answered_bytes, info.work_ns, info.freezes, info.timer_ms);
    add(text,
        ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64 ",\"found_tokens\":%" PRIu64
        ",\"memory_bytes\":%" PRIu64 "}",
        info.prompt_tokens, info.generated_tokens, info.found_tokens, info.memory_bytes);
}

static void add_runtime(dw_text_room *text, const dw_runtime *runtime)
{
    dw_runtime_stats stats = stats_of(runtime);
    add(text,
        "{\"actors\":%" PRIu64 ",\"working\":%" PRIu64 ",\"most_working\":%" PRIu64
        ",\"waiting\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"ended\":%" PRIu64,
        stats.actors, stats.working, stats.most_working, stats.waiting, stats.accepted,
        stats.ended);
    add(text,
        ",\"failed\":%" PRIu64 ",\"made\":%" PRIu64 ",\"stopped\":%" PRIu64 ",\"restarts\":%" PRIu64
        ",\"lost_events\":%" PRIu64 ",\"tenants\":[",
        stats.failed, stats.made, stats.stopped, stats.restarts, stats.lost_events);
    const char *comma = "";
    for (const dw__tenant *tenant = runtime->tenants; tenant != NULL; tenant = tenant->next) {
        add(text, "%s{\"name\":", comma);
        add_name(text, tenant->name);
        add_capabilities(text, tenant->capabilities);
        add(text,
            ",\"weight\":%" PRIu32 ",\"actors\":%" PRIu64 ",\"working\":%" PRIu64
            ",\"messages\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"work_ns\":%" PRIu64,
            tenant->weight, tenant->actors, tenant->working, tenant->messages, tenant->failed,
            tenant->work_ns);
        add(text,
            ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64
            ",\"found_tokens\":%" PRIu64 "}",
            tenant->prompt_tokens, tenant->generated_tokens, tenant->found_tokens);
        comma = ",";
    }
    add(text, "]}");
}

dw_status dw_runtime_describe(dw_runtime *runtime, const char *id, dw_text_room *text,
                              dw_error *err)
{
    dw__record *record = NULL;
    text->count = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (id != NULL) {
        status = dw__find_text(runtime, id, &record, err);
    }
    if (status == DW_OK && record != NULL) {
        add_actor(text, record);
    } else if (status == DW_OK) {
        add_runtime(text, runtime);
    }
    dw__leave(runtime, false);
    if (status == DW_OK && text->count > text->capacity) {
        status = dw_fail(err, DW_E_SPACE, "describe: %zu bytes, there is room for %zu", text->count,
                         text->capacity);
    }
    return status;
}
