/* Ollama's routes about models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "routes/ollama.h"
#include "routes/routes.h"

/* The version whose routes these are: clients ask for one that has what they use. */
#define API_VERSION "0.13.0"

/* Digits of the fingerprint in a scope: "gguf2:DIGITS/...". */
static json_t *digest_of(const dw_named_model *named)
{
    const char *colon = strchr(named->scope, ':');
    const char *end = colon != NULL ? strchr(colon, '/') : NULL;
    return end != NULL ? json_stringn(colon + 1, (size_t)(end - colon - 1)) : json_string("");
}

static json_t *details_json(const dw_named_model *named, const dw_model_info *info)
{
    char size[32] = "";
    const char *family = named->model != NULL ? info->architecture : "";
    if (named->model != NULL) {
        bool large = info->parameter_count >= 1000000000;
        (void)snprintf(size, sizeof size, "%.1f%c",
                       (double)info->parameter_count / (large ? 1e9 : 1e6), large ? 'B' : 'M');
    }
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf",
                     "family", family, "families", family, "parameter_size", size,
                     "quantization_level", "");
}

static json_t *model_json(const dw_server *server, const dw_named_model *named)
{
    char at[40];
    struct tm parts;
    time_t started = (time_t)server->started_s;
    dw_model_info info = {.struct_bytes = sizeof info};
    if (named->model != NULL) {
        (void)dw_model_get_info(named->model, &info);
    }
    (void)gmtime_r(&started, &parts);
    (void)strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "name", named->name, "model", named->name,
                     "modified_at", at, "size", (json_int_t)info.weights_bytes, "digest",
                     digest_of(named), "details", details_json(named, &info));
}

void dw_ollama_tags(dw_server *server, dw_exchange *exchange)
{
    json_t *models = json_array();
    for (size_t i = 0; i < server->model_count; i++) {
        (void)json_array_append_new(models, model_json(server, &server->models[i]));
    }
    dw_send_json(exchange, 200, json_pack("{s:o}", "models", models));
}

/* Those that are loaded; they stay. */
void dw_ollama_ps(dw_server *server, dw_exchange *exchange)
{
    json_t *models = json_array();
    for (size_t i = 0; i < server->model_count; i++) {
        const dw_named_model *named = &server->models[i];
        dw_model_info info = {.struct_bytes = sizeof info};
        if (named->model == NULL || dw_model_get_info(named->model, &info) != DW_OK) {
            continue;
        }
        json_t *model = model_json(server, named);
        uint32_t own = server->instance.context_tokens_max;
        (void)json_object_del(model, "modified_at");
        (void)json_object_set_new(model, "expires_at", json_string("2318-01-01T00:00:00Z"));
        (void)json_object_set_new(
            model, "size_vram",
            json_integer(info.weights_mapped ? 0 : (json_int_t)info.weights_bytes));
        (void)json_object_set_new(model, "context_length",
                                  json_integer(own != 0 ? own : info.context_length));
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

/* Whether it thinks aloud, as far as its template tells. */
static bool thinks(dw_model *model)
{
    static const char request[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    dw_chat_answer *answer = NULL;
    dw_chat_info info = {.struct_bytes = sizeof info};
    bool aloud =
        dw_chat_answer_create(&answer, model, request, sizeof request - 1, NULL) == DW_OK &&
        dw_chat_answer_get_info(answer, &info) == DW_OK && info.thinking_begin[0] != '\0';
    dw_chat_answer_destroy(answer);
    return aloud;
}

static dw_status show(dw_job *job, dw_error *err)
{
    dw_model *model = job->model->model;
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_status status = dw_model_get_info(model, &info);
    if (status != DW_OK) {
        return dw_fail(err, status, "nothing can be told of the model");
    }
    const char *template = dw_model_chat_template(model, false);
    json_t *able = json_pack("[s]", info.encoder ? "embedding" : "completion");
    if (!info.encoder && template != NULL) {
        (void)json_array_append_new(able, json_string("tools"));
        if (thinks(model)) {
            (void)json_array_append_new(able, json_string("thinking"));
        }
    }
    json_t *about = model_json(job->server, job->model);
    job->result =
        json_pack("{s:s, s:s, s:s, s:s, s:O, s:o, s:o, s:O}", "license", "", "modelfile", "",
                  "parameters", "", "template", template != NULL ? template : "", "details",
                  json_object_get(about, "details"), "model_info", info_json(&info), "capabilities",
                  able, "modified_at", json_object_get(about, "modified_at"));
    json_decref(about);
    return DW_OK;
}

void dw_ollama_show(dw_server *server, dw_exchange *exchange)
{
    dw_job_begin(server, exchange, show, dw_ollama_fail);
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
