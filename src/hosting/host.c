/* Requests that are worked on off the loop: from there and back. */
#include "hosting/host.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "serving/openai.h"

#define LONG_THREADS 8u
#define LONG_QUEUED_MAX 1024u
#define OPS_MAX 8192u
#define QUIET_MS 10000u
#define BEAT_MS 2500u

struct dw_host {
    dw_server *server;  /* NULL: it has closed */
    atomic_size_t refs; /* the server, and each op */
    uv_async_t wake;
    uv_timer_t beat;
    atomic_bool leaving;
    dw__op *first; /* of all, the loop's */
    size_t count;
    dw__modules *modules;
    dw__log *log;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool closed; /* nothing goes to the loop any more */
    dw__op *ready;
    dw__op *last_ready;
    dw__op *queue; /* of long work */
    dw__op *queue_end;
    size_t queued;
    size_t idle_threads;
    size_t thread_count;
    pthread_t threads[LONG_THREADS];
    const dw__op *running[LONG_THREADS];
};

/* ---- ops ------------------------------------------------------------------------------------ */

static void unref(dw_host *host)
{
    if (atomic_fetch_sub(&host->refs, 1) == 1) {
        (void)pthread_cond_destroy(&host->changed);
        (void)pthread_mutex_destroy(&host->lock);
        dw_free(host);
    }
}

/* What it holds; no list has it. */
static void release(dw__op *op)
{
    dw_host *host = op->host;
    json_decref(op->body);
    json_decref(op->result);
    dw_module_unref(op->module);
    dw_text_free(&op->news);
    dw_os_close(op->fd);
    dw_free(op->extra);
    (void)pthread_mutex_destroy(&op->lock);
    dw_free(op);
    unref(host);
}

/* On the loop. */
static void destroy(dw__op *op)
{
    dw_host *host = op->host;
    if (op->before != NULL) {
        op->before->next = op->next;
    } else {
        host->first = op->next;
    }
    if (op->next != NULL) {
        op->next->before = op->before;
    }
    host->count--;
    release(op);
}

static void on_gone(void *owner)
{
    dw__op *op = owner;
    op->exchange = NULL;
    if (op->on_gone != NULL) {
        op->on_gone(op);
    }
    if (op->waits) {
        destroy(op);
    }
}

static void on_taken(void *owner)
{
    dw__op *op = owner;
    if (op->on_news != NULL) {
        op->on_news(op);
    }
}

dw__op *dw__op_create(dw_server *server, dw_exchange *exchange)
{
    dw_host *host = server->host;
    const char *why = server->leaving          ? "the server is shutting down"
                      : host->count >= OPS_MAX ? "too many requests of actors are under way"
                                               : "no memory for a request";
    dw__op *op = server->leaving || host->count >= OPS_MAX ? NULL : dw_alloc(1, sizeof *op);
    if (op == NULL) {
        dw_host_fail(exchange, DW_E_BUSY, NULL, why);
        return NULL;
    }
    atomic_fetch_add(&host->refs, 1);
    op->host = host;
    op->runtime = server->runtime;
    op->exchange = exchange;
    op->fd = -1;
    op->own_user = dw_exchange_is_own_user(exchange);
    (void)snprintf(op->tenant, sizeof op->tenant, "%s", dw_tenant_of(server, exchange));
    (void)pthread_mutex_init(&op->lock, NULL);
    op->next = host->first;
    if (host->first != NULL) {
        host->first->before = op;
    }
    host->first = op;
    host->count++;
    return op;
}

void dw__op_refuse(dw__op *op, const dw_fault *fault)
{
    dw_openai_fail(op->exchange, fault->status, fault->param,
                   fault->code != NULL    ? fault->code
                   : fault->status == 404 ? "DW_E_NOT_FOUND"
                   : fault->status == 403 ? "DW_E_DENIED"
                                          : "DW_E_ARG",
                   fault->what);
    destroy(op);
}

/* ---- to the loop ---------------------------------------------------------------------------- */

/* With the lock. false: the loop has ended. */
static bool put_ready(dw_host *host, dw__op *op)
{
    if (host->closed) {
        return false;
    }
    if (!op->is_ready) {
        op->is_ready = true;
        op->next_ready = NULL;
        if (host->last_ready != NULL) {
            host->last_ready->next_ready = op;
        } else {
            host->ready = op;
        }
        host->last_ready = op;
        (void)uv_async_send(&host->wake);
    }
    return true;
}

void dw__op_stir(dw__op *op)
{
    (void)pthread_mutex_lock(&op->host->lock);
    (void)put_ready(op->host, op);
    (void)pthread_mutex_unlock(&op->host->lock);
}

void dw__op_expect(dw__op *op)
{
    atomic_fetch_add(&op->parts_left, 1);
}

void dw__op_part(dw__op *op)
{
    if (atomic_fetch_sub(&op->parts_left, 1) != 1) {
        return;
    }
    dw_host *host = op->host;
    (void)pthread_mutex_lock(&host->lock);
    op->has_ended = true;
    bool told = put_ready(host, op);
    (void)pthread_mutex_unlock(&host->lock);
    if (!told) {
        release(op);
    }
}

void dw__op_fail(dw__op *op, dw_status status, const dw_error *error)
{
    if (op->status == DW_OK && status != DW_OK) {
        op->status = status;
        op->error = error != NULL ? *error : (dw_error){.code = status};
        if (op->error.message[0] == '\0') {
            (void)snprintf(op->error.message, sizeof op->error.message, "%s",
                           dw_status_text(status));
        }
    }
}

void dw__op_on_end(void *user, const dw_runtime_end *end)
{
    dw__op *op = user;
    dw__op_fail(op, end->status, end->error);
    if (end->actor != NULL) {
        (void)snprintf(op->actor, sizeof op->actor, "%s", end->actor);
    }
    op->number = end->number;
    if (end->written != NULL) {
        op->written = *end->written;
    }
    dw__op_part(op);
}

/* ---- answers -------------------------------------------------------------------------------- */

int dw__host_http(dw_status status)
{
    switch (status) {
    case DW_E_TRAP: /* the guest's failure, not the server's */
    case DW_E_HANDLE:
    case DW_E_END:
        return 422;
    case DW_E_UNSUPPORTED:
        return 400;
    case DW_E_CANCELLED:
        return 409;
    default:
        return dw_status_http(status);
    }
}

void dw_host_fail(dw_exchange *exchange, dw_status status, const char *param, const char *what)
{
    dw_openai_fail(exchange, dw__host_http(status), param, dw_status_name(status), what);
}

void dw__op_answer_failure(dw__op *op)
{
    dw_host_fail(op->exchange, op->status, op->param, op->error.message);
}

void dw__op_answer(dw__op *op)
{
    if (op->status != DW_OK) {
        dw__op_answer_failure(op);
    } else {
        json_t *result = op->result != NULL ? op->result : json_object();
        op->result = NULL;
        dw_send_json(op->exchange, op->http != 0 ? op->http : 200, result);
    }
}

void dw__op_put_event(dw__op *op, const char *type, const char *data, size_t bytes)
{
    dw_text lines = {.bytes = NULL};
    if (!op->begun) {
        op->begun = true;
        dw_exchange_begin(op->exchange, 200, "text/event-stream; charset=utf-8");
    }
    if (type != NULL) {
        (void)dw_text_add(&lines, "event: ", 7);
        (void)dw_text_add(&lines, type, strlen(type));
        (void)dw_text_add(&lines, "\n", 1);
    }
    if (dw_text_add(&lines, "data: ", 6) && dw_text_add(&lines, data, bytes) &&
        dw_text_add(&lines, "\n\n", 2)) {
        dw_exchange_write(op->exchange, lines.bytes, lines.count);
        op->quiet_ms = uv_now(&op->host->server->loop);
    }
    dw_text_free(&lines);
}

static void finish(dw__op *op)
{
    op->goes_on = false;
    if (op->exchange != NULL) {
        dw_exchange *exchange = op->exchange;
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        if (op->on_end != NULL) {
            op->on_end(op);
        } else {
            dw__op_answer(op);
        }
        if (op->goes_on && op->exchange != NULL) {
            dw_exchange_watch(exchange, on_gone, on_taken, op);
        }
    }
    if (!op->goes_on) {
        destroy(op);
    }
}

static void on_wake(uv_async_t *wake)
{
    dw_host *host = wake->data;
    for (;;) {
        (void)pthread_mutex_lock(&host->lock);
        dw__op *op = host->ready;
        bool ended = false;
        if (op != NULL) {
            host->ready = op->next_ready;
            host->last_ready = host->ready == NULL ? NULL : host->last_ready;
            op->is_ready = false;
            ended = op->has_ended;
        }
        (void)pthread_mutex_unlock(&host->lock);
        if (op == NULL) {
            return;
        }
        if (ended) {
            finish(op);
        } else if (op->on_news != NULL && op->exchange != NULL) {
            op->on_news(op);
        }
    }
}

/* ---- work ----------------------------------------------------------------------------------- */

static void do_work(dw__op *op)
{
    dw_error error = {.message = ""};
    dw_status status = op->work(op, &error);
    if (status != DW_OK) { /* no callback is expected then */
        dw__op_fail(op, status, &error);
    }
}

static void work(uv_work_t *queued)
{
    do_work(queued->data);
}

static void on_worked(uv_work_t *queued, int result)
{
    (void)result;
    dw__op_part(queued->data);
}

/* The next that no tenant's others keep all threads from. With the lock. */
static dw__op *take_queued(dw_host *host)
{
    dw__op **link = &host->queue;
    for (; *link != NULL; link = &(*link)->next_queued) {
        size_t same = 0;
        for (size_t i = 0; i < LONG_THREADS; i++) {
            same +=
                host->running[i] != NULL && strcmp(host->running[i]->tenant, (*link)->tenant) == 0;
        }
        if (same < LONG_THREADS / 2) {
            break;
        }
    }
    dw__op *op = *link;
    if (op != NULL) {
        *link = op->next_queued;
        host->queued--;
        if (host->queue_end == op) {
            host->queue_end = NULL;
            for (dw__op *at = host->queue; at != NULL; at = at->next_queued) {
                host->queue_end = at;
            }
        }
    }
    return op;
}

static void *run_long(void *arg)
{
    dw_host *host = arg;
    (void)pthread_mutex_lock(&host->lock);
    size_t own = 0;
    while (!pthread_equal(host->threads[own], pthread_self())) {
        own++;
    }
    while (!host->closed) {
        dw__op *op = take_queued(host);
        if (op == NULL) {
            host->idle_threads++;
            (void)pthread_cond_wait(&host->changed, &host->lock);
            host->idle_threads--;
            continue;
        }
        host->running[own] = op;
        (void)pthread_mutex_unlock(&host->lock);
        do_work(op);
        (void)pthread_mutex_lock(&host->lock);
        host->running[own] = NULL;
        (void)pthread_cond_broadcast(&host->changed);
        (void)pthread_mutex_unlock(&host->lock);
        dw__op_part(op);
        (void)pthread_mutex_lock(&host->lock);
    }
    (void)pthread_mutex_unlock(&host->lock);
    return NULL;
}

/* false: there is no room, or no thread. */
static bool queue_long(dw_host *host, dw__op *op)
{
    (void)pthread_mutex_lock(&host->lock);
    bool taken = host->queued < LONG_QUEUED_MAX;
    if (taken && host->idle_threads <= host->queued && host->thread_count < LONG_THREADS &&
        dw_os_start_thread(&host->threads[host->thread_count], run_long, host) == 0) {
        host->thread_count++;
    }
    taken = taken && host->thread_count > 0;
    if (taken) {
        op->next_queued = NULL;
        if (host->queue_end != NULL) {
            host->queue_end->next_queued = op;
        } else {
            host->queue = op;
        }
        host->queue_end = op;
        host->queued++;
        (void)pthread_cond_broadcast(&host->changed);
    }
    (void)pthread_mutex_unlock(&host->lock);
    return taken;
}

static void start(dw__op *op)
{
    bool started = op->is_long
                       ? queue_long(op->host, op)
                       : uv_queue_work(&op->host->server->loop, &op->queued, work, on_worked) == 0;
    if (!started) {
        dw_error error;
        (void)dw_fail(&error, DW_E_BUSY, "too much is going on");
        dw__op_fail(op, DW_E_BUSY, &error);
        dw__op_part(op);
    }
}

void dw__op_begin(dw__op *op)
{
    op->parts_left = 1;
    op->queued.data = op;
    dw_exchange_watch(op->exchange, on_gone, on_taken, op);
    start(op);
}

void dw__op_again(dw__op *op)
{
    op->goes_on = true;
    op->waits = false;
    op->has_ended = false;
    op->parts_left = 1;
    start(op);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* Streams that have been quiet are told that it goes on. */
static void on_beat(uv_timer_t *timer)
{
    static const char working[] = ": working\n\n";
    const dw_host *host = timer->data;
    uint64_t now = uv_now(&host->server->loop);
    for (dw__op *op = host->first; op != NULL; op = op->next) {
        if (op->is_stream && op->begun && op->exchange != NULL && now - op->quiet_ms >= QUIET_MS) {
            op->quiet_ms = now;
            dw_exchange_write(op->exchange, working, sizeof working - 1);
        }
    }
}

dw_status dw_host_create(dw_host **out, dw_server *server, dw_error *err)
{
    dw_host *host = dw_alloc(1, sizeof *host);
    if (host == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a server");
    }
    host->server = server;
    host->refs = 1;
    (void)pthread_mutex_init(&host->lock, NULL);
    (void)pthread_cond_init(&host->changed, NULL);
    host->log = dw__log_create();
    if (host->log == NULL) {
        unref(host);
        return dw_fail(err, DW_E_MEMORY, "no memory for a log");
    }
    (void)uv_async_init(&server->loop, &host->wake, on_wake);
    (void)uv_timer_init(&server->loop, &host->beat);
    host->wake.data = host->beat.data = host;
    (void)uv_timer_start(&host->beat, on_beat, BEAT_MS, BEAT_MS);
    uv_unref((uv_handle_t *)&host->wake); /* what is under way keeps the loop, not these */
    uv_unref((uv_handle_t *)&host->beat);
    *out = host;
    return DW_OK;
}

dw_status dw_host_open_modules(dw_host *host, const char *path, dw_error *err)
{
    return dw__modules_create(&host->modules, host->server, path, err);
}

void dw_host_leave(dw_host *host)
{
    if (host == NULL || host->leaving) {
        return;
    }
    host->leaving = true;
    for (dw__op *op = host->first, *next = NULL; op != NULL; op = next) {
        next = op->next;
        if (op->endless && op->exchange != NULL) {
            dw_exchange *exchange = op->exchange;
            dw_exchange_watch(exchange, NULL, NULL, NULL);
            op->exchange = NULL;
            if (!op->begun) {
                dw_exchange_begin(exchange, 200, "text/event-stream; charset=utf-8");
            }
            dw_exchange_end(exchange);
            op->on_gone(op);
        }
    }
}

/* What has news but no end is whoever's who brings that. With the lock. */
static void keep_ended(dw_host *host)
{
    dw__op **link = &host->ready;
    while (*link != NULL) {
        if ((*link)->has_ended) {
            link = &(*link)->next_ready;
        } else {
            *link = (*link)->next_ready;
        }
    }
}

void dw_host_close_handles(dw_host *host)
{
    if (host == NULL || uv_is_closing((uv_handle_t *)&host->wake)) {
        return;
    }
    (void)pthread_mutex_lock(&host->lock);
    host->closed = true; /* nobody wakes it any more */
    keep_ended(host);
    (void)pthread_cond_broadcast(&host->changed);
    (void)pthread_mutex_unlock(&host->lock);
    uv_close((uv_handle_t *)&host->wake, NULL);
    uv_close((uv_handle_t *)&host->beat, NULL);
}

void dw_host_destroy(dw_host *host)
{
    if (host == NULL) {
        return;
    }
    for (size_t i = 0; i < host->thread_count; i++) {
        (void)pthread_join(host->threads[i], NULL);
    }
    while (host->ready != NULL) { /* came, and was not looked at */
        dw__op *op = host->ready;
        host->ready = op->next_ready;
        release(op);
    }
    while (host->queue != NULL) { /* never begun */
        dw__op *op = host->queue;
        host->queue = op->next_queued;
        release(op);
    }
    dw__modules_destroy(host->modules);
    dw__log_destroy(host->log);
    host->modules = NULL;
    host->log = NULL;
    unref(host);
}

bool dw__op_is_left(const dw__op *op)
{
    return op->host->leaving;
}

dw_server *dw__host_server(dw_host *host)
{
    return host->server;
}

dw__op *dw__host_first(dw_host *host)
{
    return host->first;
}

dw__modules *dw__host_modules(dw_host *host)
{
    return host->modules;
}

dw__log *dw_host_log(dw_host *host)
{
    return host->log;
}
