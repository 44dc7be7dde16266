/* Models by the names that clients use: loaded when they are asked for, off the loop. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "serving/serving.h"

dw_status dw_models_create(dw_server *server, const char *const *names, size_t count, dw_error *err)
{
    server->models = dw_alloc(count, sizeof *server->models);
    if (server->models == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", count);
    }
    for (size_t i = 0; i < count; i++) {
        server->models[i].server = server;
        server->models[i].name = dw_strdup(names[i]);
        if (server->models[i].name == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a name");
        }
        server->model_count = i + 1;
    }
    return DW_OK;
}

void dw_models_destroy(dw_server *server)
{
    for (size_t i = 0; i < server->model_count; i++) {
        dw_model_unref(server->models[i].model);
        dw_free(server->models[i].name);
    }
    dw_free(server->models);
}

/* Ollama's clients say ":latest" behind a name without a tag. */
static bool is_called(const char *own, const char *name)
{
    size_t length = strlen(own);
    return strncmp(own, name, length) == 0 &&
           (name[length] == '\0' || strcmp(name + length, ":latest") == 0);
}

dw_named_model *dw_models_find(dw_server *server, const char *name)
{
    if (server->model_count > 0 && (name == NULL || name[0] == '\0')) {
        return &server->models[0];
    }
    for (size_t i = 0; i < server->model_count; i++) {
        if (is_called(server->models[i].name, name)) {
            return &server->models[i];
        }
    }
    return NULL;
}

/* Conversations go on with the same model alone, and keys and values of the same type. */
static dw_status note_scope(dw_named_model *named, dw_model *model, dw_error *err)
{
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_status status = dw_model_fingerprint(model, fingerprint, err);
    if (status == DW_OK) {
        (void)snprintf(named->new_scope, sizeof named->new_scope, "%s/%d", fingerprint,
                       (int)named->server->instance.kv_type);
    }
    return status;
}

static void load(uv_work_t *work)
{
    dw_named_model *named = work->data;
    dw_model *model = NULL;
    named->status =
        named->server->open_model(named->server->user, named->name, &model, &named->error);
    if (named->status == DW_OK) {
        named->status = note_scope(named, model, &named->error);
    }
    if (named->status == DW_OK) {
        named->new_model = model;
    } else {
        dw_model_unref(model);
    }
}

static void on_loaded(uv_work_t *work, int result)
{
    dw_named_model *named = work->data;
    (void)result;
    named->loading = false;
    named->model = named->new_model;
    memcpy(named->scope, named->new_scope, sizeof named->scope);
    named->new_model = NULL;
    dw_model_waiter *waiter = named->first;
    named->first = NULL;
    while (waiter != NULL) {
        dw_model_waiter *next = waiter->next;
        waiter->on_model(waiter);
        waiter = next;
    }
}

void dw_models_want(dw_named_model *named, dw_model_waiter *waiter)
{
    if (named->model != NULL) {
        waiter->on_model(waiter);
        return;
    }
    waiter->next = named->first;
    named->first = waiter;
    if (named->loading) {
        return;
    }
    named->loading = true;
    named->work.data = named;
    if (uv_queue_work(&named->server->loop, &named->work, load, on_loaded) < 0) {
        named->status = dw_fail(&named->error, DW_E_MEMORY, "no thread to load a model");
        on_loaded(&named->work, 0);
    }
}
