/* Ollama's routes about models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "routes/ollama.h"
#include "routes/routes.h"
#include "serving/profile.h"

/* The version whose routes these are: clients ask for one that has what they use. */
#define API_VERSION "0.13.0"

/* Digits of the fingerprint, "gguf2:DIGITS". */
static json_t *digest_of(const dw_model_pool_info *info)
{
    const char *colon = strchr(info->fingerprint, ':');
    return json_string(colon != NULL ? colon + 1 : "");
}

static json_t *details_json(const dw_model_pool_info *info)
{
    char size[32] = "";
    const char *family = info->known ? info->model.architecture : "";
    uint64_t count = info->model.parameter_count;
    if (info->known) {
        bool large = count >= 1000000000;
        (void)snprintf(size, sizeof size, "%.1f%c", (double)count / (large ? 1e9 : 1e6),
                       large ? 'B' : 'M');
    }
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf",
                     "family", family, "families", family, "parameter_size", size,
                     "quantization_level", "");
}

/* Seconds since 1970 as "2026-01-31T10:20:30Z" -> text [40]. */
static void time_text(char text[40], time_t at)
{
    struct tm parts;
    (void)gmtime_r(&at, &parts);
    (void)strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* As Ollama lists it, where each name has a tag; but where that would be another's name. */
static json_t *listed_name(const dw_named_model *named)
{
    json_t *tagged =
        strchr(named->name, ':') == NULL ? json_sprintf("%s:latest", named->name) : NULL;
    const char *text = json_string_value(tagged);
    if (text != NULL && dw_models_find(named->server, NULL, text) == named) {
        return tagged;
    }
    json_decref(tagged);
    return json_string(named->name);
}

static json_t *model_json(const dw_named_model *named, const dw_model_pool_info *info)
{
    char at[40];
    time_text(at, (time_t)named->server->started_s);
    json_t *name = listed_name(named);
    return json_pack("{s:O, s:o, s:s, s:I, s:o, s:o}", "name", name, "model", name, "modified_at",
                     at, "size", (json_int_t)info->bytes, "digest", digest_of(info), "details",
                     details_json(info));
}

void dw_ollama_tags(dw_server *server, dw_exchange *exchange)
{
    json_t *models = json_array();
    const char *seer = dw_models_seer(server, exchange);
    const dw_named_model *named;
    size_t at = 0;
    while ((named = dw_models_next(server, seer, &at)) != NULL) {
        dw_model_pool_info info;
        dw_models_info(named, &info);
        (void)json_array_append_new(models, model_json(named, &info));
    }
    dw_send_json(exchange, 200, json_pack("{s:o}", "models", models));
}

/* When it is unloaded, if nobody uses it from now on; one that stays has a time that is far. */
static void expiry_text(char text[40], const dw_model_pool_info *info)
{
    uint64_t left_ms = info->keep_ms > info->idle_ms ? info->keep_ms - info->idle_ms : 0;
    if (info->keep_ms / 1000 > UINT32_MAX) {
        (void)snprintf(text, 40, "2318-01-01T00:00:00Z");
    } else {
        time_text(text, time(NULL) + (time_t)(left_ms / 1000));
    }
}

/* Those that are loaded. */
void dw_ollama_ps(dw_server *server, dw_exchange *exchange)
{
    json_t *models = json_array();
    const char *seer = dw_models_seer(server, exchange);
    const dw_named_model *named;
    size_t at = 0;
    while ((named = dw_models_next(server, seer, &at)) != NULL) {
        dw_model_pool_info info;
        char expires[40];
        dw_models_info(named, &info);
        if (info.state != DW_MODEL_LOADED) {
            continue;
        }
        json_t *model = model_json(named, &info);
        uint32_t own = server->instance.context_tokens_max;
        expiry_text(expires, &info);
        (void)json_object_del(model, "modified_at");
        (void)json_object_set_new(model, "expires_at", json_string(expires));
        (void)json_object_set_new(
            model, "size_vram",
            json_integer(info.model.weights_mapped ? 0 : (json_int_t)info.bytes));
        (void)json_object_set_new(model, "context_length",
                                  json_integer(own != 0 ? own : info.model.context_length));
        (void)json_array_append_new(models, model);
    }
    dw_send_json(exchange, 200, json_pack("{s:o}", "models", models));
}

void dw_ollama_version(dw_server *server, dw_exchange *exchange)
{
    (void)server;
    dw_send_json(exchange, 200,
                 json_pack("{s:s, s:s}", "version", API_VERSION, "driftwood", DW_VERSION));
}

/* ---- /api/show ------------------------------------------------------------------------------- */

static void add_number(json_t *to, const char *architecture, const char *name, uint64_t value)
{
    char key[160];
    (void)snprintf(key, sizeof key, "%.100s.%s", architecture, name);
    (void)json_object_set_new(to, key, json_integer((json_int_t)value));
}

static json_t *info_json(const dw_model_info *info)
{
    json_t *about =
        json_pack("{s:s, s:s, s:I}", "general.architecture", info->architecture, "general.basename",
                  info->name, "general.parameter_count", (json_int_t)info->parameter_count);
    add_number(about, info->architecture, "context_length", info->context_length);
    add_number(about, info->architecture, "embedding_length", info->embedding_length);
    add_number(about, info->architecture, "block_count", info->layer_count);
    add_number(about, info->architecture, "attention.head_count", info->head_count);
    add_number(about, info->architecture, "attention.head_count_kv", info->kv_head_count);
    return about;
}

static dw_status show(dw_job *job, dw_error *err)
{
    dw_profile *profile = NULL;
    dw_status status = dw_profile_read(&profile, job->model, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_model_info *info = &profile->info;
    json_t *template = json_string(profile->chat_template);
    json_t *able = json_pack("[s]", info->encoder ? "embedding" : "completion");
    if (!info->encoder && profile->chat_template != NULL) {
        (void)json_array_append_new(able, json_string("tools"));
        if (profile->thinks) {
            (void)json_array_append_new(able, json_string("thinking"));
        }
    }
    dw_model_pool_info all;
    dw_models_info(job->model, &all);
    all.known = true;
    all.model = *info;
    json_t *about = model_json(job->model, &all);
    job->result =
        json_pack("{s:s, s:s, s:s, s:o, s:O, s:o, s:o, s:O}", "license", "", "modelfile", "",
                  "parameters", "", "template", template != NULL ? template : json_string(""),
                  "details", json_object_get(about, "details"), "model_info", info_json(info),
                  "capabilities", able, "modified_at", json_object_get(about, "modified_at"));
    json_decref(about);
    dw_profile_unref(profile);
    return DW_OK;
}

void dw_ollama_show(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin_telling(server, exchange, show, dw_ollama_fail);
}

/* Programs pull what they use when they begin: what is served is there. */
void dw_ollama_pull(dw_server *server, dw_exchange *exchange)
{
    static const char done[] = "{\"status\":\"success\"}\n";
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    const char *name =
        dw_params_string(body, dw_params_has(body, "model") ? "model" : "name", &fault);
    const bool served = name != NULL && name[0] != '\0' &&
                        dw_models_find(server, dw_tenant_of(server, exchange), name) != NULL;
    const bool streams = dw_params_truth(body, "stream", true, &fault);
    if (dw_fault_is_set(&fault)) {
        dw_ollama_fail(exchange, fault.status, fault.what);
    } else if (served) {
        dw_exchange_answer(exchange, 200, streams ? "application/x-ndjson" : "application/json",
                           done, sizeof done - 1);
    } else {
        dw_ollama_refuse(server, exchange);
    }
    json_decref(body);
}

void dw_ollama_refuse(dw_server *server, dw_exchange *exchange)
{
    char what[256];
    (void)server;
    (void)snprintf(what, sizeof what,
                   "%.60s is not to be had here: models are named on the command line of "
                   "driftwood serve",
                   dw_exchange_path(exchange));
    dw_ollama_fail(exchange, 501, what);
}
