/* The server as a whole: its loop, and its beginning and end. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/limits.h"
#include "base/public_struct.h"
#include "hosting/host.h"
#include "routes/routes.h"
#include "runtime/engine_of.h"
#include "server/server_internal.h"
#include "serving/archive.h"
#include "serving/metrics.h"
#include "serving/reply.h"
#include "serving/task.h"

#define CONVERSATIONS_MAX 100000
#define RESPONSES_EACH 10 /* kept, for each conversation */
#define PATIENCE_MS 30000
#define HEARTBEAT_MS 10000
#define LOOK_NS UINT64_C(1000000) /* between two looks at what actors have answered */
#define SNAPSHOT_BYTES_MAX (UINT64_C(16) << 30)
#define BODIES_BYTES_MAX (UINT64_C(1) << 30)

static const char *const address_default = "127.0.0.1:8080";

/* ---- on the loop ---------------------------------------------------------------------------- */

static void close_all(dw_server *server)
{
    dw_pool_cancel_loads(server->pool);
    dw_tasks_cancel(server);
    dw_http_close(server->http);
    if (server->own_http != NULL) {
        dw_http_close(server->own_http);
    }
}

static void on_patience(uv_timer_t *timer)
{
    close_all(timer->data); /* what has not been taken by now never is */
}

static void close_handles(dw_server *server)
{
    uv_close((uv_handle_t *)&server->wake, NULL);
    uv_close((uv_handle_t *)&server->patience, NULL);
    uv_close((uv_handle_t *)&server->look_timer, NULL);
    if (server->news_open) {
        uv_close((uv_handle_t *)&server->news_poll, NULL);
    }
    uv_close((uv_handle_t *)&server->idle_check, NULL);
    uv_close((uv_handle_t *)&server->idle_timer, NULL);
    dw_host_close_handles(server->host);
}

/* Once all that was under way has ended, and the other sides have it, nothing keeps the loop. */
static void leave_if_idle(dw_server *server)
{
    if (server->leaving && server->task_count == 0 && server->waiting == 0 &&
        dw_http_connection_count(server->http) == 0 &&
        (server->own_http == NULL || dw_http_connection_count(server->own_http) == 0) &&
        !uv_is_closing((uv_handle_t *)&server->wake)) {
        dw_http_close(server->http);
        if (server->own_http != NULL) {
            dw_http_close(server->own_http);
        }
        close_handles(server);
    }
}

static void begin_leaving(dw_server *server)
{
    if (server->stops && !server->leaving) {
        server->leaving = true;
        dw_replies_forget(server);
        dw_host_leave(server->host);
        dw_http_finish(server->http);
        if (server->own_http != NULL) {
            dw_http_finish(server->own_http);
        }
        (void)uv_timer_start(&server->patience, on_patience, PATIENCE_MS, 0);
    }
}

static void look(dw_server *server)
{
    server->looked_ns = uv_hrtime();
    dw_tasks_look(server);
}

static void on_look_timer(uv_timer_t *timer)
{
    look(timer->data);
}

/* A step of the device makes a token for each of many actors, which tell them one after another:
 * those that come right behind others are looked at together. */
static void on_news(uv_poll_t *poll, int status, int events)
{
    dw_server *server = poll->data;
    (void)status;
    (void)events;
    dw_waker_drain(&server->news);
    if (uv_hrtime() - server->looked_ns >= LOOK_NS) {
        look(server);
    } else if (!uv_is_active((uv_handle_t *)&server->look_timer)) {
        uv_update_time(&server->loop);
        (void)uv_timer_start(&server->look_timer, on_look_timer, LOOK_NS / 1000000, 0);
    }
}

static void on_wake(uv_async_t *wake)
{
    dw_server *server = wake->data;
    begin_leaving(server);
    dw_models_look(server);
}

static void on_idle_check(uv_check_t *check)
{
    dw_server *server = check->data;
    begin_leaving(server);
    leave_if_idle(server);
}

static void on_idle_timer(uv_timer_t *timer)
{
    (void)timer; /* on_idle_check comes behind it */
}

/* ---- beginnings and ends -------------------------------------------------------------------- */

static size_t error_body(int status, const char *what, char *text, size_t capacity)
{
    return dw_openai_error_text(status, NULL, NULL, what, text, capacity);
}

/* Where the user himself is answered. */
static dw_status open_own(dw_server *server, const char *path, dw_http_options http, dw_error *err)
{
    char address[512];
    int length = snprintf(address, sizeof address, "unix:%s", path);
    if (length < 0 || (size_t)length >= sizeof address) {
        return dw_fail(err, DW_E_LIMIT, "own_socket: the path is too long");
    }
    http.own_user_only = true;
    dw_status status = dw_http_create(&server->own_http, &http, err);
    return status == DW_OK ? dw_http_listen(server->own_http, address, err) : status;
}

static dw_status open_http(dw_server *server, const dw_server_options *options, dw_error *err)
{
    const dw_http_options http = {
        .loop = &server->loop,
        .connections_max = options->connections_max != 0 ? options->connections_max : 4096,
        .head_bytes_max = 65536,
        .body_bytes_max = options->body_bytes_max != 0 ? options->body_bytes_max : (size_t)64 << 20,
        .bodies_bytes_max =
            options->body_bytes_max > BODIES_BYTES_MAX ? options->body_bytes_max : BODIES_BYTES_MAX,
        .head_ms = 30000,
        .body_ms = 60000,
        .idle_ms = 300000,
        .on_request = dw__route,
        .on_answer = dw__count_answer,
        .error_body = error_body,
        .body_file = dw_host_body_file,
        .takes_body = dw__takes_body,
        .user = server,
    };
    dw_status status = dw_http_create(&server->http, &http, err);
    if (status == DW_OK) {
        status = dw_http_listen(server->http,
                                options->listen != NULL ? options->listen : address_default, err);
    }
    return status == DW_OK && options->own_socket != NULL
               ? open_own(server, options->own_socket, http, err)
               : status;
}

static dw_status file_in(char file[4096], const char *folder, const char *name, dw_error *err)
{
    int length = snprintf(file, 4096, "%s/%s", folder, name);
    return length > 0 && length < 4096 ? DW_OK
                                       : dw_fail(err, DW_E_LIMIT, "the folder's path is too long");
}

/* What is kept beside the runtime's own in its folder. */
static dw_status open_kept(dw_server *server, const char *folder, dw_error *err)
{
    char file[4096];
    dw_status status = DW_OK;
    if (folder == NULL) {
        return DW_OK;
    }
    status = file_in(file, folder, "conversations.db", err);
    if (status == DW_OK) {
        status = dw_index_open(&server->index, file, err);
    }
    if (status == DW_OK) {
        status = file_in(file, folder, "responses.db", err);
    }
    return status == DW_OK ? dw_archive_open(&server->archive, file, err) : status;
}

static dw_status open_host(dw_server *server, const char *path, dw_error *err)
{
    server->metrics = dw_metrics_create();
    dw_status status = server->metrics != NULL
                           ? dw_host_create(&server->host, server, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a server");
    if (status == DW_OK && path != NULL) {
        server->folder = dw_strdup(path);
        status = server->folder != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a path");
    }
    return status == DW_OK ? dw_host_open_modules(server->host, path, err) : status;
}

void dw_server_take_log(dw_server *server, const dw_log_entry *entry)
{
    if (entry->event != NULL && strcmp(entry->event, "limit-reached") == 0) {
        dw_metrics_limit(server->metrics, entry->limit[0] != '\0' ? entry->limit : "none");
    }
    dw_log_take(dw_host_log(server->host), entry);
}

/* The keys, and tenants of which nobody said what they may: they may do nothing but converse. One
 * that is there because its actors are in the folder is such a one too. */
static dw_status open_keys(dw_server *server, const dw_server_options *options, dw_error *err)
{
    const char *const none[] = {NULL};
    dw_tenant_options tenant = {.struct_bytes = sizeof tenant,
                                .tools = none,
                                .context_reads = none,
                                .context_writes = none};
    size_t at = 0;
    if (options->keys == NULL) {
        return DW_OK;
    }
    dw_status status = dw_keys_read(&server->keys, options->keys, options->keys_bytes, err);
    const char *name = NULL;
    while (status == DW_OK && (name = dw_keys_next_tenant(server->keys, &at)) != NULL) {
        if (name[0] != '\0' && !dw_runtime_tenant_is_set(server->runtime, name)) {
            status = dw_runtime_set_tenant(server->runtime, name, &tenant, err);
        }
    }
    return status;
}

const char *dw_tenant_of(const dw_server *server, const dw_exchange *exchange)
{
    return dw_exchange_is_own_user(exchange) ? "" : dw_keys_tenant(server->keys, exchange);
}

static dw_status copy_origins(dw_origins *to, const dw_server_options *options, dw_error *err)
{
    to->any_host = options->any_host || options->keys != NULL;
    to->allowed = dw_alloc(options->allowed_origin_count, sizeof *to->allowed);
    for (size_t i = 0; to->allowed != NULL && i < options->allowed_origin_count; i++) {
        to->allowed[to->count] = dw_strdup(options->allowed_origins[i]);
        to->count += to->allowed[to->count] != NULL;
    }
    return to->count == options->allowed_origin_count
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for origins");
}

static void free_origins(dw_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        dw_free(origins->allowed[i]);
    }
    dw_free(origins->allowed);
}

static void begin_loop(dw_server *server)
{
    (void)uv_loop_init(&server->loop);
    (void)uv_async_init(&server->loop, &server->wake, on_wake);
    (void)uv_timer_init(&server->loop, &server->patience);
    (void)uv_timer_init(&server->loop, &server->look_timer);
    (void)uv_check_init(&server->loop, &server->idle_check);
    (void)uv_timer_init(&server->loop, &server->idle_timer);
    server->wake.data = server->patience.data = server->idle_check.data = server;
    server->look_timer.data = server;
    (void)uv_check_start(&server->idle_check, on_idle_check);
    (void)uv_timer_start(&server->idle_timer, on_idle_timer, 500, 500);
    (void)pthread_mutex_init(&server->lock, NULL);
    (void)pthread_mutex_init(&server->profile_lock, NULL);
    server->started_s = dw_os_wall_ms() / 1000;
}

/* Not a uv_async_t, whose receiver turns in a loop until its sender has gone on: with a thread that
 * computes on each core that is often long. */
static dw_status open_news(dw_server *server, dw_error *err)
{
    dw_status status = dw_waker_open(&server->news, err);
    if (status != DW_OK) {
        return status;
    }
    int result = uv_poll_init(&server->loop, &server->news_poll, server->news.read_fd);
    server->news_open = result == 0;
    server->news_poll.data = server;
    result = result == 0 ? uv_poll_start(&server->news_poll, UV_READABLE, on_news) : result;
    return result == 0 ? DW_OK : dw_fail(err, DW_E_IO, "a server's pipe: %s", uv_strerror(result));
}

/* The log has it, by dw_runtime_options.on_log. */
static ptrdiff_t on_guest_errors(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static void take_options(dw_server *server, dw_runtime *runtime, const dw_server_options *options)
{
    server->runtime = runtime;
    server->on_call = options->on_call;
    server->user = options->user;
    server->find_guest = options->find_guest;
    server->snapshot_bytes_max =
        options->snapshot_bytes_max != 0 ? options->snapshot_bytes_max : SNAPSHOT_BYTES_MAX;
    server->conversation = dw_module_ref(options->conversation);
    server->conversations_max =
        options->conversations_max != 0 ? options->conversations_max : CONVERSATIONS_MAX;
    server->responses_max = server->conversations_max * RESPONSES_EACH;
    server->heartbeat_ms = options->heartbeat_ms != 0 ? options->heartbeat_ms : HEARTBEAT_MS;
    server->instance = (dw_instance_options){
        .struct_bytes = sizeof server->instance,
        .context_tokens_max = options->context_tokens_max,
        .kv_type = options->kv_type,
        .on_stderr = on_guest_errors,
    };
    if (options->limits != NULL) {
        server->limits = *options->limits;
        server->instance.limits = &server->limits;
    }
}

dw_status dw_server_open(dw_server **out, dw_runtime *runtime, const dw_server_options *options,
                         dw_error *err)
{
    dw_server_options own;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_server_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (own.models == NULL || own.conversation == NULL) {
        return dw_fail(err, DW_E_ARG, "a server needs models and conversation");
    }
    dw_server *server = dw_alloc(1, sizeof *server);
    if (server == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a server");
    }
    server->news = (dw_waker){.read_fd = -1, .write_fd = -1};
    begin_loop(server);
    take_options(server, runtime, &own);
    status = open_news(server, err);
    status = status != DW_OK ? status : dw_models_create(server, own.models, err);
    if (status == DW_OK) {
        status = copy_origins(&server->origins, &own, err);
    }
    if (status == DW_OK) {
        status = dw_links_create(&server->links, own.doctor_guest, err);
    }
    if (status == DW_OK) {
        status = open_keys(server, &own, err);
    }
    if (status == DW_OK) {
        status = open_kept(server, own.path, err);
    }
    if (status == DW_OK) {
        status = open_host(server, own.path, err);
    }
    if (status == DW_OK) {
        status = open_http(server, &own, err);
    }
    if (status != DW_OK) {
        dw_server_close(server);
        return status;
    }
    *out = server;
    return DW_OK;
}

const char *dw_server_address(const dw_server *server)
{
    return dw_http_address(server->http);
}

dw_status dw_server_run(dw_server *server, dw_error *err)
{
    int result = uv_run(&server->loop, UV_RUN_DEFAULT);
    return result == 0 ? DW_OK : dw_fail(err, DW_E_STATE, "the server's loop left something open");
}

void dw_server_stop(dw_server *server)
{
    server->stops = true;
    (void)uv_async_send(&server->wake);
}

/* Actors that nobody would find again. */
static void end_idle(dw_server *server)
{
    for (size_t i = 0; i < server->model_count; i++) {
        dw_named_model *model = &server->models[i];
        while (model->idle_count > 0) {
            (void)!dw_runtime_stop(server->runtime, model->idle[--model->idle_count].actor, NULL);
        }
    }
}

void dw_server_close(dw_server *server)
{
    if (server == NULL) {
        return;
    }
    server->stops = true;
    if (server->http == NULL) {
        close_handles(server);
    }
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&server->loop);
    dw_host_destroy(server->host);
    end_idle(server);
    dw_http_destroy(server->http);
    dw_http_destroy(server->own_http);
    dw_free(server->folder);
    dw_metrics_destroy(server->metrics);
    dw_models_destroy(server);
    dw_index_close(server->index);
    dw_archive_close(server->archive);
    dw_keys_destroy(server->keys);
    dw_links_destroy(server->links);
    free_origins(&server->origins);
    dw_module_unref(server->conversation);
    dw_waker_close(&server->news);
    (void)pthread_mutex_destroy(&server->lock);
    (void)pthread_mutex_destroy(&server->profile_lock);
    dw_free(server);
}

int dw_http_status(dw_status status)
{
    return status == DW_E_LIMIT || status == DW_E_UNSUPPORTED ? 400 : dw_status_http(status);
}
