#include "serving/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/engine_of.h"
#include "serving/task.h"

#define ROUTES_MAX 256u
#define LIMITS_MAX 96u

/* Upper bounds of a histogram, in seconds. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,   1,      2.5,   5,    10,    30,   60,  120};
#define BOUNDS (sizeof bounds / sizeof bounds[0])

typedef struct histogram {
    uint64_t counts[BOUNDS + 1]; /* the last: beyond */
    double sum;
} histogram;

typedef struct request_count {
    const char *route;
    int status;
    uint64_t count;
} request_count;

typedef struct limit_count {
    char name[32];
    uint64_t count;
} limit_count;

struct dw_metrics {
    request_count requests[ROUTES_MAX]; /* [request_kinds] */
    size_t request_kinds;
    histogram times[DW_METRICS_TIMES];
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t answer_tokens;
    pthread_mutex_t lock; /* guards what follows */
    limit_count limits[LIMITS_MAX];
    size_t limit_kinds;
};

static const struct {
    const char *name;
    const char *help;
} time_names[DW_METRICS_TIMES] = {
    {"driftwood_queue_seconds", "From a request until its guest has begun with it"},
    {"driftwood_prefill_seconds", "From there to the first token, of prompts computed whole"},
    {"driftwood_reuse_seconds", "From there to the first token, of prompts held in part"},
    {"driftwood_time_to_first_token_seconds", "From a request to the first token of its answer"},
    {"driftwood_time_between_tokens_seconds", "Between pieces of an answer"},
};

dw_metrics *dw_metrics_create(void)
{
    dw_metrics *metrics = dw_alloc(1, sizeof *metrics);
    if (metrics != NULL) {
        (void)pthread_mutex_init(&metrics->lock, NULL);
    }
    return metrics;
}

void dw_metrics_destroy(dw_metrics *metrics)
{
    if (metrics != NULL) {
        (void)pthread_mutex_destroy(&metrics->lock);
        dw_free(metrics);
    }
}

/* ---- counting ------------------------------------------------------------------------------- */

void dw_metrics_request(dw_metrics *metrics, const char *route, int status)
{
    for (size_t i = 0; i < metrics->request_kinds; i++) {
        request_count *at = &metrics->requests[i];
        if (at->status == status && strcmp(at->route, route) == 0) {
            at->count++;
            return;
        }
    }
    if (metrics->request_kinds < ROUTES_MAX) {
        metrics->requests[metrics->request_kinds++] =
            (request_count){.route = route, .status = status, .count = 1};
    }
}

void dw_metrics_took(dw_metrics *metrics, dw_metrics_time what, uint64_t ns)
{
    histogram *to = &metrics->times[what];
    double seconds = (double)ns / 1e9;
    size_t i = 0;
    while (i < BOUNDS && seconds > bounds[i]) {
        i++;
    }
    to->counts[i]++;
    to->sum += seconds;
}

void dw_metrics_tokens(dw_metrics *metrics, uint64_t prompt, uint64_t cached, uint64_t answer)
{
    metrics->prompt_tokens += prompt;
    metrics->cached_tokens += cached;
    metrics->answer_tokens += answer;
}

void dw_metrics_limit(dw_metrics *metrics, const char *limit)
{
    (void)pthread_mutex_lock(&metrics->lock);
    size_t i = 0;
    while (i < metrics->limit_kinds && strcmp(metrics->limits[i].name, limit) != 0) {
        i++;
    }
    if (i == metrics->limit_kinds && i < LIMITS_MAX) {
        (void)snprintf(metrics->limits[i].name, sizeof metrics->limits[i].name, "%s", limit);
        metrics->limit_kinds++;
    }
    if (i < metrics->limit_kinds) {
        metrics->limits[i].count++;
    }
    (void)pthread_mutex_unlock(&metrics->lock);
}

/* ---- telling -------------------------------------------------------------------------------- */

static void put(dw_text *to, const char *format, ...) DW_PRINTF(2, 3);

static void put(dw_text *to, const char *format, ...)
{
    char line[512];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (length > 0 && (size_t)length < sizeof line) {
        (void)dw_text_add(to, line, (size_t)length);
    }
}

static void head(dw_text *to, const char *name, const char *type, const char *help)
{
    put(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter(dw_text *to, const char *name, const char *help, uint64_t value)
{
    head(to, name, "counter", help);
    put(to, "%s %" PRIu64 "\n", name, value);
}

static void gauge(dw_text *to, const char *name, const char *help, uint64_t value)
{
    head(to, name, "gauge", help);
    put(to, "%s %" PRIu64 "\n", name, value);
}

static void put_histogram(dw_text *to, const char *name, const char *help, const histogram *from)
{
    uint64_t sum = 0;
    head(to, name, "histogram", help);
    for (size_t i = 0; i < BOUNDS; i++) {
        sum += from->counts[i];
        put(to, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i], sum);
    }
    sum += from->counts[BOUNDS];
    put(to, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9f\n%s_count %" PRIu64 "\n", name, sum,
        name, from->sum, name, sum);
}

static void put_requests(dw_text *to, dw_metrics *metrics)
{
    head(to, "driftwood_requests_total", "counter", "Requests that were answered");
    for (size_t i = 0; i < metrics->request_kinds; i++) {
        const request_count *at = &metrics->requests[i];
        put(to, "driftwood_requests_total{route=\"%s\",status=\"%d\"} %" PRIu64 "\n", at->route,
            at->status, at->count);
    }
    for (size_t i = 0; i < DW_METRICS_TIMES; i++) {
        put_histogram(to, time_names[i].name, time_names[i].help, &metrics->times[i]);
    }
    counter(to, "driftwood_chat_prompt_tokens_total", "Tokens of prompts over model routes",
            metrics->prompt_tokens);
    counter(to, "driftwood_chat_cached_tokens_total", "Of them, those that were held already",
            metrics->cached_tokens);
    counter(to, "driftwood_chat_answer_tokens_total", "Tokens of answers over model routes",
            metrics->answer_tokens);
    head(to, "driftwood_limits_reached_total", "counter",
         "Refusals by a limit that guests met, once a second of an actor");
    (void)pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->limit_kinds; i++) {
        put(to, "driftwood_limits_reached_total{limit=\"%s\"} %" PRIu64 "\n",
            metrics->limits[i].name, metrics->limits[i].count);
    }
    (void)pthread_mutex_unlock(&metrics->lock);
}

static void put_runtime(dw_text *to, dw_runtime *runtime)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    dw_scheduler_stats steps = {.struct_bytes = sizeof steps};
    (void)dw_runtime_get_stats(runtime, &stats);
    (void)dw_runtime_get_scheduler_stats(runtime, &steps);
    head(to, "driftwood_actors", "gauge", "Actors, by where they are");
    put(to, "driftwood_actors{state=\"working\"} %" PRIu64 "\n", stats.working);
    put(to, "driftwood_actors{state=\"resting\"} %" PRIu64 "\n",
        stats.resident > stats.working ? stats.resident - stats.working : 0);
    put(to, "driftwood_actors{state=\"parked\"} %" PRIu64 "\n",
        stats.actors > stats.resident ? stats.actors - stats.resident : 0);
    gauge(to, "driftwood_messages_waiting", "Messages in mailboxes", stats.waiting);
    gauge(to, "driftwood_actors_queued", "Actors that wait for room in memory", stats.queued);
    gauge(to, "driftwood_actors_bytes", "That actors in memory take", stats.resident_bytes);
    counter(to, "driftwood_messages_total", "Messages worked on", stats.messages);
    counter(to, "driftwood_messages_failed_total", "Of them, those that failed", stats.failed);
    counter(to, "driftwood_actor_restarts_total", "Actors that broke off", stats.restarts);
    counter(to, "driftwood_prompt_tokens_total", "Tokens computed for prompts",
            stats.prompt_tokens);
    counter(to, "driftwood_generated_tokens_total", "Tokens generated", stats.generated_tokens);
    counter(to, "driftwood_written_bytes_total", "Written to the state folder",
            stats.written_bytes);
    counter(to, "driftwood_parks_total", "Actors that left memory", stats.parks);
    counter(to, "driftwood_thaws_total", "Actors that came back", stats.thaws);
    counter(to, "driftwood_device_steps_total", "Runs of the device for forward steps",
            steps.steps);
    counter(to, "driftwood_batch_sequences_total",
            "Sequences in them: the rate of this by that of steps is the batch size",
            steps.step_sequences);
    counter(to, "driftwood_batch_tokens_total", "Tokens in them", steps.step_tokens);
    head(to, "driftwood_device_seconds_total", "counter", "The device's time");
    put(to, "driftwood_device_seconds_total %.9f\n", (double)steps.device_ns / 1e9);
    head(to, "driftwood_queue_wait_seconds_total", "counter", "Messages' time in mailboxes");
    put(to, "driftwood_queue_wait_seconds_total %.9f\n", (double)stats.queue_ns / 1e9);
}

static void put_memory(dw_text *to, dw_runtime *runtime)
{
    dw_engine *engine = dw_runtime_engine(runtime);
    dw_kv_stats kv = {.struct_bytes = sizeof kv};
    dw_engine_stats all = {.struct_bytes = sizeof all};
    dw_prefix_stats prefixes = {.struct_bytes = sizeof prefixes};
    dw_runtime_prefix_stats files = {.struct_bytes = sizeof files};
    (void)dw_engine_get_kv_stats(engine, &kv);
    (void)dw_engine_get_stats(engine, &all);
    (void)dw_engine_get_prefix_stats(engine, &prefixes);
    (void)dw_runtime_get_prefix_stats(runtime, &files);
    head(to, "driftwood_kv_bytes", "gauge", "Keys and values, by where they lie");
    put(to, "driftwood_kv_bytes{place=\"host\"} %" PRIu64 "\n", all.kv_host_bytes);
    put(to, "driftwood_kv_bytes{place=\"device\"} %" PRIu64 "\n", kv.device_bytes);
    put(to, "driftwood_kv_bytes{place=\"evicted\"} %" PRIu64 "\n", kv.host_bytes);
    put(to, "driftwood_kv_bytes{place=\"prefixes\"} %" PRIu64 "\n", prefixes.bytes);
    put(to, "driftwood_kv_bytes{place=\"mapped\"} %" PRIu64 "\n", all.kv_mapped_bytes);
    put(to, "driftwood_kv_bytes{place=\"disk\"} %" PRIu64 "\n", files.bytes);
    gauge(to, "driftwood_kv_kept_bytes",
          "Of place=device, of parked actors: whoever wants the room has it", kv.kept_bytes);
    counter(to, "driftwood_kv_kept_found_total", "Contexts of parked actors that were still there",
            kv.kept_found_count);
    counter(to, "driftwood_kv_kept_lost_total", "Those that were given up for others",
            kv.kept_lost_count);
    gauge(to, "driftwood_kv_limit_bytes",
          "Of keys and values on the device, or in host pages that it computes on; 0: none",
          kv.limit_bytes);
    gauge(to, "driftwood_weights_bytes", "Of models that are loaded", all.weights_bytes);
    counter(to, "driftwood_prefix_lookups_total", "Prompts whose beginnings were looked for",
            prefixes.lookups);
    head(to, "driftwood_prefix_hits_total", "counter", "Beginnings of prompts found, by where");
    put(to, "driftwood_prefix_hits_total{tier=\"memory\"} %" PRIu64 "\n", prefixes.hits);
    put(to, "driftwood_prefix_hits_total{tier=\"disk\"} %" PRIu64 "\n", files.loaded);
    counter(to, "driftwood_prefix_hit_tokens_total", "Tokens that were not computed for it",
            prefixes.hit_tokens);
    counter(to, "driftwood_kv_evictions_total", "Contexts that left the device", kv.eviction_count);
    head(to, "driftwood_payload_copied_bytes_total", "counter", "Payload that was copied, by why");
    put(to, "driftwood_payload_copied_bytes_total{why=\"staged\"} %" PRIu64 "\n", all.staged_bytes);
    put(to, "driftwood_payload_copied_bytes_total{why=\"evicted\"} %" PRIu64 "\n",
        kv.evicted_bytes + kv.restored_bytes);
    put(to, "driftwood_payload_copied_bytes_total{why=\"forked\"} %" PRIu64 "\n", kv.copied_bytes);
}

/* A label's value -> text [capacity]. */
static void label_of(char *text, size_t capacity, const char *value)
{
    size_t at = 0;
    for (; *value != '\0' && at + 3 < capacity; value++) {
        if (*value == '"' || *value == '\\' || *value == '\n') {
            text[at++] = '\\';
        }
        text[at++] = *value == '\n' ? 'n' : *value;
    }
    text[at] = '\0';
}

/* Of one count or gauge, for all models. */
static double value_of(const dw_model_pool_info *info, size_t which)
{
    const double values[] = {dw_models_fraction(info),
                             info->state == DW_MODEL_LOADED ? (double)info->bytes : 0,
                             (double)info->loads, (double)info->unloads, (double)info->failures};
    return values[which];
}

static void put_models(dw_text *to, const dw_server *server)
{
    static const char *const states[] = {"unloaded", "loading", "loaded"};
    static const char *const counts[][3] = {
        {"driftwood_model_load_fraction", "gauge", "Of a load that is under way; 1: it is loaded"},
        {"driftwood_model_weights_bytes", "gauge", "Of a model that is loaded"},
        {"driftwood_model_loads_total", "counter", "Times that it was loaded"},
        {"driftwood_model_unloads_total", "counter", "Times that it was unloaded"},
        {"driftwood_model_load_failures_total", "counter", "Loads that failed"},
    };
    char name[256];
    uint64_t loaded = 0;
    dw_model_pool_info *infos = dw_alloc(server->model_count, sizeof *infos);
    size_t count = infos != NULL ? server->model_count : 0;
    head(to, "driftwood_model_state", "gauge", "Where each model is: 1 of these states is 1");
    for (size_t i = 0; i < count; i++) {
        dw_pool_counts(server->pool, server->models[i].index, &infos[i]);
        loaded += infos[i].state == DW_MODEL_LOADED;
        label_of(name, sizeof name, infos[i].name);
        for (unsigned s = 0; s < 3; s++) {
            put(to, "driftwood_model_state{model=\"%s\",state=\"%s\"} %d\n", name, states[s],
                s == (unsigned)infos[i].state);
        }
    }
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        head(to, counts[c][0], counts[c][1], counts[c][2]);
        for (size_t i = 0; i < count; i++) {
            label_of(name, sizeof name, infos[i].name);
            put(to, "%s{model=\"%s\"} %.12g\n", counts[c][0], name, value_of(&infos[i], c));
        }
    }
    gauge(to, "driftwood_models_loaded", "Models that are loaded", loaded);
    dw_free(infos);
}

void dw_metrics_show(dw_server *server, dw_exchange *exchange, size_t held_bytes)
{
    dw_text text = {.bytes = NULL};
    if (!dw_exchange_is_own_user(exchange) && server->keys != NULL &&
        dw_tenant_of(server, exchange)[0] != '\0') {
        dw_openai_fail(exchange, 403, NULL, "denied",
                       "what all tenants do is told to the tenant - and at the state folder's "
                       "socket alone");
        return;
    }
    put_requests(&text, server->metrics);
    put_runtime(&text, server->runtime);
    put_memory(&text, server->runtime);
    put_models(&text, server);
    gauge(&text, "driftwood_connections", "Connections", dw_http_connection_count(server->http));
    gauge(&text, "driftwood_answer_bytes", "Of answers, that clients have not taken yet",
          held_bytes + dw_tasks_held_bytes(server) + dw_http_backlog(server->http) +
              (server->own_http != NULL ? dw_http_backlog(server->own_http) : 0));
    gauge(&text, "driftwood_start_time_seconds", "Since 1970", server->started_s);
    dw_exchange_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
                       text.bytes != NULL ? text.bytes : "", text.count);
    dw_text_free(&text);
}
