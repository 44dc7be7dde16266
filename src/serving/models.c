/* Models by the names that clients use, of the server's pool. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "runtime/engine_of.h"
#include "serving/profile.h"
#include "serving/serving.h"

dw_status dw_models_create(dw_server *server, dw_model_pool *pool, dw_error *err)
{
    size_t count = pool != NULL ? dw_model_pool_count(pool) : 0;
    server->pool = pool;
    server->models = dw_alloc(count + 1, sizeof *server->models);
    if (server->models == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu models", count);
    }
    for (size_t i = 0; i < count; i++) {
        dw_model_pool_info info = {.struct_bytes = sizeof info};
        if (dw_model_pool_get_info(pool, i, &info, NULL) == DW_OK && info.named) {
            server->models[server->model_count++] =
                (dw_named_model){.server = server, .index = i, .name = info.name};
        }
    }
    return server->model_count > 0 ? DW_OK : dw_fail(err, DW_E_ARG, "models: none has a name");
}

void dw_models_destroy(dw_server *server)
{
    for (size_t i = 0; i < server->model_count; i++) {
        dw_profile_unref(server->models[i].profile);
    }
    dw_free(server->models);
}

/* Of a name without ":latest", which Ollama and its clients take for the same as with it. */
static size_t bare_length(const char *name)
{
    static const char latest[] = ":latest";
    size_t length = strlen(name);
    size_t tail = sizeof latest - 1;
    return length > tail && strcmp(name + length - tail, latest) == 0 ? length - tail : length;
}

static bool is_called(const char *own, const char *name, bool exactly)
{
    size_t length = bare_length(own);
    return exactly ? strcmp(own, name) == 0
                   : bare_length(name) == length && strncmp(own, name, length) == 0;
}

static void read_names(uv_work_t *queued)
{
    const dw_named_model *named = queued->data;
    dw_pool_read_names(named->server->pool, named->index);
}

static void on_names(uv_work_t *queued, int result)
{
    (void)result;
    ((dw_named_model *)queued->data)->reads_names = false;
}

/* Off the loop, which serves others meanwhile; who asks after that has them. */
static void begin_reading_names(dw_named_model *named)
{
    named->names_work.data = named;
    named->reads_names =
        named->reads_names ||
        uv_queue_work(&named->server->loop, &named->names_work, read_names, on_names) == 0;
}

/* Before it is loaded, for which others may have to go. One whose file tells no name is granted by
 * the name it is served under alone. A runtime that is being closed says so later. */
static bool is_granted(dw_named_model *named, const char *tenant)
{
    dw_pool_names names;
    if (tenant == NULL) {
        return true;
    }
    dw_pool_names_of(named->server->pool, named->index, &names);
    bool granted = dw_runtime_may_have_model(named->server->runtime, tenant, &names.names, NULL) !=
                   DW_E_DENIED;
    if (!granted && names.unread) {
        begin_reading_names(named);
    }
    return granted;
}

/* The first that the tenant may have, and `name`, if any is wanted, calls. */
static dw_named_model *find(dw_server *server, const char *tenant, const char *name, bool exactly)
{
    for (size_t i = 0; i < server->model_count; i++) {
        dw_named_model *named = &server->models[i];
        if ((name == NULL || is_called(named->name, name, exactly)) && is_granted(named, tenant)) {
            return named;
        }
    }
    return NULL;
}

dw_named_model *dw_models_find(dw_server *server, const char *tenant, const char *name)
{
    if (name == NULL || name[0] == '\0') {
        return find(server, tenant, NULL, false);
    }
    dw_named_model *named = find(server, tenant, name, true);
    return named != NULL ? named : find(server, tenant, name, false);
}

const char *dw_models_seer(const dw_server *server, const dw_exchange *exchange)
{
    return dw_exchange_is_own_user(exchange) ? NULL : dw_tenant_of(server, exchange);
}

dw_named_model *dw_models_next(dw_server *server, const char *tenant, size_t *at)
{
    while (*at < server->model_count) {
        dw_named_model *named = &server->models[(*at)++];
        if (is_granted(named, tenant)) {
            return named;
        }
    }
    return NULL;
}

const char *dw_models_missing(const char *name, char what[DW_MODELS_MISSING_BYTES])
{
    if (name != NULL && name[0] != '\0') {
        (void)snprintf(what, DW_MODELS_MISSING_BYTES, "The model '%.100s' does not exist", name);
    } else {
        (void)snprintf(what, DW_MODELS_MISSING_BYTES, "There is no model");
    }
    dw_text_mend(what);
    return what;
}

const char *dw_models_refusal(dw_server *server, bool own_user, const char *name,
                              char what[DW_MODELS_MISSING_BYTES])
{
    const dw_named_model *named = own_user ? dw_models_find(server, NULL, name) : NULL;
    if (named == NULL) {
        return dw_models_missing(name, what);
    }
    (void)snprintf(what, DW_MODELS_MISSING_BYTES,
                   "The manifest does not grant the tenant \"\" the model '%.80s'", named->name);
    return what;
}

void dw_models_info(const dw_named_model *named, dw_model_pool_info *info)
{
    *info = (dw_model_pool_info){.struct_bytes = sizeof *info};
    (void)!dw_model_pool_get_info(named->server->pool, named->index, info, NULL);
}

double dw_models_fraction(const dw_model_pool_info *info)
{
    double part = info->total > 0 ? (double)info->done / (double)info->total : 0;
    return info->state == DW_MODEL_LOADED ? 1 : part;
}

bool dw_models_may_command(const dw_server *server, const dw_exchange *exchange)
{
    return server->keys == NULL || dw_exchange_is_own_user(exchange);
}

void dw_models_hide_others(dw_error *error, const char *name)
{
    if (error->code == DW_E_BUSY) {
        (void)!dw_fail(error, error->code,
                       "The model '%.100s' has no room now: others are in use that have it", name);
    } else if (error->code != DW_OK && error->code != DW_E_STATE) {
        (void)!dw_fail(error, error->code, "The model '%.100s' could not be loaded", name);
    }
}

/* ---- waiting for one ------------------------------------------------------------------------ */

/* On the pool's thread, or under dw_models_want. */
static void on_end(dw_pool_waiter *pool_waiter)
{
    dw_model_waiter *waiter = (dw_model_waiter *)(void *)pool_waiter;
    dw_server *server = waiter->named->server;
    if (pthread_equal(pthread_self(), waiter->asker)) {
        waiter->ended = true;
        return;
    }
    (void)pthread_mutex_lock(&server->lock);
    waiter->next = server->loaded;
    server->loaded = waiter;
    /* Before anybody finds the waiter: the loop, which may be awake already, leaves when it has
     * told the last one, and the server goes with what is sent to here. */
    (void)uv_async_send(&server->wake);
    (void)pthread_mutex_unlock(&server->lock);
}

/* Conversations go on with the same model alone, and keys and values of the same type. */
static void tell(dw_model_waiter *waiter)
{
    dw_server *server = waiter->named->server;
    server->waiting--;
    waiter->model = waiter->pool.model;
    waiter->status = waiter->pool.error.code;
    waiter->error = waiter->pool.error;
    if (server->keys != NULL) {
        dw_models_hide_others(&waiter->error, waiter->named->name);
    }
    (void)snprintf(waiter->scope, sizeof waiter->scope, "%s/%d", waiter->pool.fingerprint,
                   (int)server->instance.kv_type);
    waiter->on_model(waiter);
}

void dw_models_want(dw_named_model *named, dw_model_waiter *waiter)
{
    waiter->named = named;
    waiter->pool.on_end = on_end;
    waiter->asker = pthread_self();
    waiter->ended = false;
    named->server->waiting++;
    dw_pool_want(named->server->pool, named->index, &waiter->pool);
    if (waiter->ended) {
        tell(waiter);
    }
}

void dw_models_look(dw_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    dw_model_waiter *waiter = server->loaded;
    server->loaded = NULL;
    (void)pthread_mutex_unlock(&server->lock);
    while (waiter != NULL) {
        dw_model_waiter *next = waiter->next;
        tell(waiter);
        waiter = next;
    }
}

void dw_models_give(dw_model_waiter *waiter)
{
    if (waiter->model != NULL) {
        dw_model_pool_give(waiter->named->server->pool, waiter->model);
        waiter->model = NULL;
    }
}
