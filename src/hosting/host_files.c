/* Actors as files: downloads and uploads. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "hosting/host.h"
#include "hosting/spawn.h"
#include "runtime/engine_of.h"

#define PIECE_BYTES ((size_t)256 << 10)
#define BACKLOG_MAX ((size_t)1 << 20)

/* ---- downloads ------------------------------------------------------------------------------ */

/* The next piece of the file -> news. Off the loop. */
static dw_status read_work(dw__op *op, dw_error *err)
{
    uint64_t left = op->number - op->sent_bytes;
    size_t bytes = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    char *piece = dw_alloc(bytes + 1, 1);
    dw_text_free(&op->news);
    if (piece == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a piece of a file");
    }
    op->news = (dw_text){.bytes = piece, .count = bytes, .capacity = bytes + 1};
    return dw_os_read_at(op->fd, op->sent_bytes, piece, bytes, err);
}

/* The other side took something. */
static void on_taken(dw__op *op)
{
    if (op->waits && dw_exchange_backlog(op->exchange) < BACKLOG_MAX) {
        dw__op_again(op);
    }
}

static void on_piece(dw__op *op)
{
    if (op->status != DW_OK) {
        dw_exchange_break_off(op->exchange);
        return;
    }
    dw_exchange_write(op->exchange, op->news.bytes, op->news.count);
    op->sent_bytes += op->news.count;
    if (op->sent_bytes == op->number) {
        dw_exchange_end(op->exchange);
    } else if (dw_exchange_backlog(op->exchange) < BACKLOG_MAX) {
        dw__op_again(op);
    } else {
        op->goes_on = op->waits = true;
    }
}

static void on_exported(dw__op *op)
{
    struct stat about;
    char name[64];
    if (op->status == DW_OK && fstat(op->fd, &about) != 0) {
        dw_error error;
        dw__op_fail(op, dw_fail(&error, DW_E_IO, "the snapshot cannot be looked at"), &error);
    }
    if (op->status != DW_OK) {
        dw__op_answer_failure(op);
        return;
    }
    op->number = (uint64_t)about.st_size;
    (void)snprintf(name, sizeof name, "attachment; filename=\"%s.snapshot\"", op->actor);
    dw_exchange_set_header(op->exchange, "Content-Disposition", name);
    dw_exchange_begin_sized(op->exchange, 200, "application/octet-stream", (size_t)op->number);
    if (dw_exchange_is_head(op->exchange) || op->number == 0) {
        dw_exchange_end(op->exchange);
        return;
    }
    op->is_long = true;
    op->work = read_work;
    op->on_end = on_piece;
    op->on_news = on_taken;
    dw__op_again(op);
}

/* Into a file first: the actor goes on while it is downloaded, however slowly. */
static dw_status export_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status != DW_OK) {
        return status;
    }
    op->fd = dw__host_spool(dw__host_server(op->host));
    if (op->fd < 0) {
        return dw_fail(err, DW_E_IO, "there is no room for a snapshot");
    }
    dw__op_expect(op);
    status = dw_runtime_begin_export(op->runtime, op->actor, op->fd, dw__op_on_end, op, err);
    if (status != DW_OK) {
        dw__op_part(op);
    }
    return status;
}

DW__HANDLER(dw__on_actors_export)
{
    (void)server;
    (void)exchange;
    op->work = export_work;
    op->on_end = on_exported;
    dw__op_begin(op);
}

/* ---- uploads -------------------------------------------------------------------------------- */

/* `wanted` is the first member. */
typedef struct importing {
    dw_model_wanted wanted;
    const dw__op *op;
} importing;

static bool may_have(const dw_model_wanted *wanted, const char *own_name, const char *served_name)
{
    const dw_model_names names = {.own = own_name, .served = served_name};
    return dw_runtime_may_have_model(((const importing *)(const void *)wanted)->op->runtime,
                                     wanted->tenant, &names, NULL) != DW_E_DENIED;
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    const dw__op *op = user;
    const dw_server *server = dw__host_server(op->host);
    const importing in = {.wanted = {.struct_bytes = sizeof in.wanted,
                                     .name = name,
                                     .fingerprint = fingerprint,
                                     .tenant = op->tenant,
                                     .may_have = may_have},
                          .op = op};
    dw_status status = dw_model_pool_find_granted(server->pool, &in.wanted, model, err);
    if (status != DW_OK && status != DW_E_NOT_FOUND && server->keys != NULL && !op->own_user) {
        dw_models_hide_others(err, name);
    }
    return status;
}

/* One that the tenant has uploaded; to the user himself also what is in the state folder. */
static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    dw__op *op = user;
    dw_module *found = NULL;
    dw_status status =
        dw__modules_find(dw__host_modules(op->host), op->tenant, sha256, &found, err);
    if (status == DW_OK) {
        dw_module_unref(op->module);
        op->module = *module = found;
    } else if (status == DW_E_NOT_FOUND && op->own_user) {
        status = dw_runtime_find_module(op->runtime, sha256, module, err);
    }
    return status == DW_E_NOT_FOUND
               ? dw_fail(err, status,
                         "its module %s is named by hash only, and was not uploaded: see "
                         "POST /v1/modules",
                         sha256)
               : status;
}

static dw_status import_work(dw__op *op, dw_error *err)
{
    dw__spawning *plan = op->extra;
    dw_spawn_options spawn;
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .fds = &op->fd,
                                  .path_count = 1,
                                  .find_model = find_model,
                                  .find_module = find_module,
                                  .find_user = op,
                                  .on_stderr = dw__host_server(op->host)->instance.on_stderr,
                                  .kv_type = plan->has_kv_type ? &plan->kv_type : NULL,
                                  .limits = plan->has_limits ? &plan->limits : NULL};
    dw_status status = dw__spawning_options(op, plan, &spawn, err);
    return status == DW_OK ? dw_runtime_import(op->runtime, &thaw, &spawn, op->actor, err) : status;
}

/* What a body of JSON would say, from the query. */
static json_t *query_body(const dw_exchange *exchange, dw_fault *fault)
{
    static const char *const texts[] = {"name", "priority", "kv_type", "supervision"};
    json_t *body = json_object();
    char value[4096];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (dw_url_text(exchange, texts[i], value, sizeof value, fault)) {
            json_t *text = json_string(value);
            if (text == NULL) {
                dw_fault_set(fault, 400, texts[i], "%s is no UTF-8", texts[i]);
            }
            (void)json_object_set_new(body, texts[i], text != NULL ? text : json_null());
        }
    }
    static const char *const values[] = {"limits", "durability", "may"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (dw_url_text(exchange, values[i], value, sizeof value, fault)) {
            json_t *parsed = json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
            (void)json_object_set_new(body, values[i],
                                      parsed != NULL ? parsed : json_string(value));
        }
    }
    if (dw_url_truth(exchange, "pinned", false, fault)) {
        (void)json_object_set_new(body, "pinned", json_true());
    }
    return body;
}

DW__HANDLER(dw__on_actors_import)
{
    dw_fault fault = {.status = 0};
    op->body = query_body(exchange, &fault);
    op->extra = dw__spawning_read(server, op->body, &fault);
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->http = 201;
    op->is_long = true;
    op->work = import_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}
