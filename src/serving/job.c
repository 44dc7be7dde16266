#include "serving/job.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "serving/url.h"

static void release(dw_job *job)
{
    dw_models_give(&job->waiter);
    json_decref(job->input);
    json_decref(job->result);
    dw_free(job);
}

static void finish(dw_job *job)
{
    dw_exchange *exchange = job->exchange;
    if (exchange != NULL) {
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        if (job->status == DW_OK) {
            dw_send_json(exchange, 200, json_incref(job->result));
        } else {
            job->fail(exchange, dw_http_status(job->status), job->error.message);
        }
    }
    release(job);
}

static void on_gone(void *owner)
{
    ((dw_job *)owner)->exchange = NULL;
}

static void work(uv_work_t *queued)
{
    dw_job *job = queued->data;
    job->status = job->work(job, &job->error);
}

static void on_worked(uv_work_t *queued, int result)
{
    (void)result;
    finish(queued->data);
}

static void queue(dw_job *job)
{
    job->queued.data = job;
    if (uv_queue_work(&job->server->loop, &job->queued, work, on_worked) < 0) {
        job->status = dw_fail(&job->error, DW_E_MEMORY, "no thread for a request");
        finish(job);
    }
}

static void on_model(dw_model_waiter *waiter)
{
    dw_job *job = waiter->owner;
    if (waiter->model == NULL) {
        job->status = waiter->status;
        job->error = waiter->error;
        finish(job);
        return;
    }
    queue(job);
}

/* What has no body asks with its query. */
static json_t *body_of(const dw_exchange *exchange, dw_fault *fault)
{
    char model[512] = "";
    if (dw_exchange_method(exchange) == DW_HTTP_POST) {
        return dw_params_body(exchange, fault);
    }
    (void)dw_url_text(exchange, "model", model, sizeof model, fault);
    json_t *name = json_string(model);
    return json_pack("{s:o}", "model", name != NULL ? name : json_string("?"));
}

/* The job of a request for a model that `tenant` sees; NULL: the client was told why not. */
static dw_job *create(dw_server *server, dw_exchange *exchange, const char *tenant,
                      void (*fail)(dw_exchange *exchange, int status, const char *what))
{
    char what[DW_MODELS_MISSING_BYTES];
    dw_fault fault = {.status = 0};
    json_t *body = body_of(exchange, &fault);
    const char *name = body != NULL ? dw_params_string(body, "model", &fault) : NULL;
    dw_named_model *model = dw_models_find(server, tenant, name);
    if (model == NULL) {
        dw_fault_set(&fault, 404, "model", "%s",
                     dw_models_refusal(server, dw_exchange_is_own_user(exchange), name, what));
    }
    dw_job *job = dw_fault_is_set(&fault) ? NULL : dw_alloc(1, sizeof *job);
    if (job == NULL) {
        dw_fault_set(&fault, 503, NULL, "no memory for a request");
        fail(exchange, fault.status, fault.what);
        json_decref(body);
        return NULL;
    }
    job->server = server;
    job->exchange = exchange;
    job->model = model;
    job->input = body;
    job->fail = fail;
    dw_exchange_watch(exchange, on_gone, NULL, job);
    return job;
}

void dw_job_begin(dw_server *server, dw_exchange *exchange,
                  dw_status (*function)(dw_job *job, dw_error *err),
                  void (*fail)(dw_exchange *exchange, int status, const char *what))
{
    dw_job *job = create(server, exchange, dw_tenant_of(server, exchange), fail);
    if (job != NULL) {
        job->work = function;
        job->waiter = (dw_model_waiter){.on_model = on_model, .owner = job};
        dw_models_want(job->model, &job->waiter);
    }
}

void dw_job_begin_telling(dw_server *server, dw_exchange *exchange,
                          dw_status (*function)(dw_job *job, dw_error *err),
                          void (*fail)(dw_exchange *exchange, int status, const char *what))
{
    dw_job *job = create(server, exchange, dw_models_seer(server, exchange), fail);
    if (job != NULL) {
        job->work = function;
        queue(job);
    }
}

dw_status dw_job_tokenize(const dw_model *model, const char *text, uint32_t flags,
                          dw_token_room *tokens, dw_error *err)
{
    size_t bytes = strlen(text);
    tokens->capacity = bytes + 8; /* no token is shorter than a byte */
    for (;;) {
        tokens->items = dw_alloc(tokens->capacity, sizeof *tokens->items);
        if (tokens->items == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", tokens->capacity);
        }
        dw_status status = dw_model_tokenize(model, text, bytes, flags, tokens, err);
        if (status == DW_OK) {
            return DW_OK;
        }
        dw_free(tokens->items);
        tokens->items = NULL;
        if (status != DW_E_SPACE) {
            return status;
        }
        tokens->capacity = tokens->count;
    }
}

dw_status dw_job_render(const dw_job *job, json_t *chat, const dw_fault *fault,
                        dw_chat_prompt **prompt, dw_error *err)
{
    char *text = chat != NULL ? json_dumps(chat, JSON_COMPACT) : NULL;
    json_decref(chat);
    if (text == NULL) {
        return dw_fail(err, DW_E_ARG, "%s", fault->what);
    }
    dw_status status =
        dw_chat_render(prompt, job->waiter.model, text, strlen(text), (int64_t)time(NULL), err);
    free(text);
    return status;
}
