#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top.h"

const char *const dw_cli_order_names[DW_CLI_ORDERS] = {"device", "guest", "tokens", "memory",
                                                       "waiting"};

#define LINE_BYTES 1024

/* Lines, as many as there are to be, and as long. */
typedef struct page {
    FILE *to;
    const dw_cli_view *view;
    unsigned lines;
} page;

/* ---- texts and numbers ----------------------------------------------------------------------- */

static uint64_t whole(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL ? value : "";
}

/* `from` with ? for what is odd, cut or filled up to `width` characters. */
static void put_text(char *to, size_t capacity, const char *from, size_t width)
{
    size_t at = 0;
    size_t count = 0;
    for (; *from != '\0' && count < width && at + 5 < capacity; count++) {
        bool plain;
        size_t bytes = dw_cli_character(from, &plain);
        memcpy(to + at, plain ? from : "?", plain ? bytes : 1);
        at += plain ? bytes : 1;
        from += bytes;
    }
    for (; count < width && at + 1 < capacity; count++) {
        to[at++] = ' ';
    }
    to[at] = '\0';
}

static void put_bytes(char *to, size_t capacity, uint64_t bytes)
{
    static const char units[] = {'K', 'M', 'G', 'T', 'P'};
    double value = (double)bytes / 1024.0;
    size_t unit = 0;
    while (value >= 1000.0 && unit + 1 < sizeof units) {
        value /= 1024.0;
        unit++;
    }
    (void)snprintf(to, capacity, value < 10.0 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* Nanoseconds that rates are of. */
static double span_of(const dw_cli_view *view)
{
    uint64_t now = whole(view->now, "uptime_ns");
    uint64_t before = view->before != NULL ? whole(view->before, "uptime_ns") : 0;
    return now > before ? (double)(now - before) : 1.0;
}

/* The objects of a list by a member; NULL: there are none. The caller's. */
static json_t *by_member(const json_t *root, const char *list, const char *key)
{
    const json_t *all = root != NULL ? json_object_get(root, list) : NULL;
    json_t *found = json_array_size(all) > 0 ? json_object() : NULL;
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *one = json_array_get(all, i);
        (void)json_object_set(found, text(one, key), one);
    }
    return found;
}

/* What it has grown by. What was not there before counts from nothing: an actor that was not among
 * the first has done little. */
static double grown(const json_t *now, const json_t *before, const char *name)
{
    uint64_t to = whole(now, name);
    uint64_t from = before != NULL ? whole(before, name) : 0;
    return to > from ? (double)(to - from) : 0.0;
}

static double per_second(const dw_cli_view *view, const json_t *now, const json_t *before,
                         const char *name)
{
    return grown(now, before, name) * 1e9 / span_of(view);
}

static double percent(const dw_cli_view *view, const json_t *now, const json_t *before,
                      const char *name)
{
    return grown(now, before, name) * 100.0 / span_of(view);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool has_room(const page *p)
{
    unsigned rows = p->view->rows;
    return rows == 0 || p->lines + (p->view->keys ? 1 : 0) < rows;
}

static void line(page *p, const char *format, ...) DW_PRINTF(2, 3);

static void line(page *p, const char *format, ...)
{
    char all[LINE_BYTES];
    char cut[LINE_BYTES];
    va_list args;
    if (!has_room(p)) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(all, sizeof all, format, args);
    va_end(args);
    size_t width = p->view->columns != 0 ? p->view->columns : sizeof cut / 4;
    put_text(cut, sizeof cut, all, width);
    size_t end = strlen(cut);
    while (end > 0 && cut[end - 1] == ' ') {
        end--;
    }
    (void)fprintf(p->to, "%.*s\n", (int)end, cut);
    p->lines++;
}

static void put_head(page *p)
{
    const dw_cli_view *view = p->view;
    const json_t *runtime = json_object_get(view->now, "runtime");
    const json_t *scheduler = json_object_get(view->now, "scheduler");
    const json_t *was = view->before != NULL ? json_object_get(view->before, "runtime") : NULL;
    const json_t *before = view->before != NULL ? json_object_get(view->before, "scheduler") : NULL;
    uint64_t seconds = whole(view->now, "uptime_ns") / 1000000000;
    char memory[16];
    double steps = grown(scheduler, before, "steps");
    put_bytes(memory, sizeof memory, whole(view->now, "resident_bytes"));
    line(p, "up %llu:%02llu:%02llu  %llu actors, %llu working, %llu messages wait  memory %s",
         (unsigned long long)(seconds / 3600), (unsigned long long)(seconds / 60 % 60),
         (unsigned long long)(seconds % 60), (unsigned long long)whole(runtime, "actors"),
         (unsigned long long)whole(runtime, "working"),
         (unsigned long long)whole(runtime, "waiting"), memory);
    line(p, "messages %.1f/s, failed %.1f/s  restarts %llu, stopped %llu, lost log entries %llu",
         per_second(view, runtime, was, "messages"), per_second(view, runtime, was, "failed"),
         (unsigned long long)whole(runtime, "restarts"),
         (unsigned long long)whole(runtime, "stopped"),
         (unsigned long long)whole(runtime, "lost_log_entries"));
    line(p,
         "steps %.1f/s of %.1f sequences, %.1f tokens  prompt %.1f, generated %.1f, found %.1f "
         "tokens/s",
         steps * 1e9 / span_of(view),
         steps > 0 ? grown(scheduler, before, "step_sequences") / steps : 0.0,
         steps > 0 ? grown(scheduler, before, "step_tokens") / steps : 0.0,
         per_second(view, runtime, was, "prompt_tokens"),
         per_second(view, runtime, was, "generated_tokens"),
         per_second(view, runtime, was, "found_tokens"));
    line(p, "device busy %.1f %%, idle with work %.1f %%  guests %.1f %%",
         percent(view, scheduler, before, "device_ns"),
         percent(view, scheduler, before, "device_idle_ns"),
         percent(view, scheduler, before, "guest_ns"));
    line(p, "%s", "");
}

static double tokens_per_second(const dw_cli_view *view, const json_t *now, const json_t *before)
{
    return per_second(view, now, before, "prompt_tokens") +
           per_second(view, now, before, "generated_tokens");
}

static void put_tenants(page *p)
{
    const dw_cli_view *view = p->view;
    const json_t *tenants = json_object_get(view->now, "tenants");
    json_t *before = by_member(view->before, "tenants", "name");
    size_t most = view->rows != 0 ? view->rows / 4 : SIZE_MAX;
    line(p, "%-16s %6s %7s %7s %6s %9s %9s %7s %7s %8s", "TENANT", "WEIGHT", "ACTORS", "WORKING",
         "READY", "MESSAGE/S", "TOKEN/S", "DEVICE%", "GUEST%", "FAILED");
    for (size_t i = 0; i < json_array_size(tenants) && i < most; i++) {
        const json_t *one = json_array_get(tenants, i);
        const json_t *was = json_object_get(before, text(one, "name"));
        char name[80];
        put_text(name, sizeof name, text(one, "name"), 16);
        line(p, "%s %6llu %7llu %7llu %6llu %9.1f %9.1f %7.1f %7.1f %8llu", name,
             (unsigned long long)whole(one, "weight"), (unsigned long long)whole(one, "actors"),
             (unsigned long long)whole(one, "working"), (unsigned long long)whole(one, "ready"),
             per_second(view, one, was, "messages"), tokens_per_second(view, one, was),
             percent(view, one, was, "device_ns"), percent(view, one, was, "guest_ns"),
             (unsigned long long)whole(one, "failed"));
    }
    json_decref(before);
    if (json_array_size(tenants) > most) {
        line(p, "... %zu more", json_array_size(tenants) - most);
    }
    line(p, "%s", "");
}

/* ---- models ---------------------------------------------------------------------------------- */

/* "3 s", "12 min", "5 h", "2 d" of seconds. */
static void put_time(char *to, size_t capacity, double seconds)
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t unit = 0;
    seconds = seconds > 0 && seconds < 1e12 ? seconds : 0;
    while (unit < 3 && seconds < 2 * units[unit].seconds) {
        unit++;
    }
    (void)snprintf(to, capacity, "%.0f %s", seconds / units[unit].seconds, units[unit].name);
}

/* Where it is, and how far. */
static void put_state(char *to, size_t capacity, const json_t *status)
{
    char value[48];
    double fraction = json_number_value(json_object_get(status, "fraction"));
    put_text(value, sizeof value, text(status, "value"), 10);
    if (strcmp(text(status, "value"), "loading") == 0 && fraction >= 0 && fraction <= 1) {
        (void)snprintf(value, sizeof value, "loading %.0f %%", 100 * fraction);
    } else if (json_is_true(json_object_get(status, "failed"))) {
        (void)snprintf(value, sizeof value, "failed");
    }
    put_text(to, capacity, value, 13);
}

static void put_model(page *p, const json_t *model)
{
    const json_t *status = json_object_get(model, "status");
    const json_t *keeps = json_object_get(model, "keep_seconds");
    bool loaded = strcmp(text(status, "value"), "loaded") == 0;
    bool used = json_is_true(json_object_get(model, "in_use"));
    double idle = json_number_value(json_object_get(model, "idle_seconds"));
    char name[160];
    char state[80];
    char weights[16];
    char last[32] = "-";
    char leaves[32] = "-";
    put_text(name, sizeof name, text(model, "id"), 32);
    put_state(state, sizeof state, status);
    put_bytes(weights, sizeof weights, whole(model, "size"));
    if (loaded && used) {
        (void)snprintf(last, sizeof last, "now");
    } else if (loaded) {
        put_time(last, sizeof last, idle);
    }
    if (loaded && !used && json_is_number(keeps)) {
        put_time(leaves, sizeof leaves, json_number_value(keeps) - idle);
    }
    line(p, "%s %s %7s %8s %9s %9s  %s", name, state, loaded ? weights : "-", weights, last, leaves,
         text(status, "error"));
}

/* Of a server's; a runtime alone has none to tell of. */
static void put_models(page *p)
{
    const json_t *models = json_object_get(p->view->now, "models");
    size_t count = json_array_size(models);
    size_t most = p->view->rows != 0 ? p->view->rows / 4 : SIZE_MAX;
    if (count == 0) {
        return;
    }
    line(p, "%-32s %-13s %7s %8s %9s %9s", "MODEL", "STATE", "MEMORY", "WEIGHTS", "LAST USE",
         "LEAVES IN");
    for (size_t i = 0; i < count && i < most; i++) {
        put_model(p, json_array_get(models, i));
    }
    if (count > most) {
        line(p, "... %zu more", count - most);
    }
    line(p, "%s", "");
}

/* ---- actors ---------------------------------------------------------------------------------- */

/* An actor with what it is sorted by. */
typedef struct row {
    const json_t *actor;
    const json_t *before;
    double amount;
} row;

static double amount_of(const dw_cli_view *view, const row *one)
{
    switch (view->order) {
    case DW_CLI_BY_GUEST:
        return grown(one->actor, one->before, "guest_ns");
    case DW_CLI_BY_TOKENS:
        return tokens_per_second(view, one->actor, one->before);
    case DW_CLI_BY_MEMORY:
        return (double)whole(one->actor, "memory_bytes");
    case DW_CLI_BY_WAITING:
        return (double)whole(one->actor, "waiting");
    default:
        return grown(one->actor, one->before, "device_ns");
    }
}

static int compare(const void *a, const void *b)
{
    const row *one = a;
    const row *other = b;
    if (one->amount != other->amount) {
        return one->amount > other->amount ? -1 : 1;
    }
    return strcmp(text(one->actor, "id"), text(other->actor, "id"));
}

static void put_actor(page *p, const row *one)
{
    const dw_cli_view *view = p->view;
    const json_t *actor = one->actor;
    char id[80];
    char tenant[80];
    char state[48];
    char memory[16];
    put_text(id, sizeof id, text(actor, "id"), DW_ACTOR_ID_CHARS);
    put_text(tenant, sizeof tenant, text(actor, "tenant"), 12);
    put_text(state, sizeof state, text(actor, "state"), 7);
    put_bytes(memory, sizeof memory, whole(actor, "memory_bytes"));
    line(p, "%s %s %s %7.1f %7.1f %8.1f %8llu %9llu %7llu %6s %6llu %6llu", id, tenant, state,
         percent(view, actor, one->before, "device_ns"),
         percent(view, actor, one->before, "guest_ns"), tokens_per_second(view, actor, one->before),
         (unsigned long long)whole(actor, "prompt_tokens"),
         (unsigned long long)whole(actor, "generated_tokens"),
         (unsigned long long)whole(actor, "waiting"), memory,
         (unsigned long long)(whole(actor, "working_ns") / 1000000000),
         (unsigned long long)whole(actor, "failed"));
}

static void put_actors(page *p)
{
    const dw_cli_view *view = p->view;
    const json_t *actors = json_object_get(view->now, "actors");
    size_t count = json_array_size(actors);
    json_t *before = by_member(view->before, "actors", "id");
    row *rows = dw_cli_alloc(count, sizeof *rows);
    uint64_t left_out = whole(view->now, "actors_left_out");
    line(p, "%-16s %-12s %-7s %7s %7s %8s %8s %9s %7s %6s %6s %6s", "ACTOR", "TENANT", "STATE",
         "DEVICE%", "GUEST%", "TOKEN/S", "PROMPT", "GENERATED", "WAITING", "MEMORY", "SINCE",
         "FAILED");
    for (size_t i = 0; rows != NULL && i < count; i++) {
        rows[i].actor = json_array_get(actors, i);
        rows[i].before = json_object_get(before, text(rows[i].actor, "id"));
        rows[i].amount = amount_of(view, &rows[i]);
    }
    if (rows != NULL) {
        qsort(rows, count, sizeof *rows, compare);
    }
    for (size_t i = 0; rows != NULL && i < count; i++) {
        put_actor(p, &rows[i]);
    }
    if (left_out > 0) {
        line(p, "... %llu more", (unsigned long long)left_out);
    }
    json_decref(before);
    free(rows);
}

void dw_cli_top_view(FILE *to, const dw_cli_view *view)
{
    page p = {.to = to, .view = view};
    put_head(&p);
    put_tenants(&p);
    put_models(&p);
    put_actors(&p);
    if (view->keys) {
        for (; p.lines + 1 < view->rows; p.lines++) {
            (void)fputc('\n', to);
        }
        (void)fprintf(to, "%.*s", (int)view->columns,
                      "q quit; by: d device, g guest, t tokens, m memory, w waiting");
    }
}
