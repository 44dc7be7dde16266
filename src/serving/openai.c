/* What is common to OpenAI's routes: errors, and models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/utf8.h"
#include "serving/openai.h"

static const char *type_of(int status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 429 ? "rate_limit_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

json_t *dw_message_json(const char *what)
{
    json_t *text = json_string(what);
    char *mended = text == NULL ? dw_strdup(what) : NULL;
    if (mended != NULL) {
        dw_text_mend(mended);
        text = json_string(mended);
        dw_free(mended);
    }
    return text != NULL ? text : json_string("");
}

json_t *dw_openai_error(int status, const char *param, const char *code, const char *what)
{
    return json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message", dw_message_json(what),
                     "type", type_of(status), "param", param, "code", code);
}

size_t dw_openai_error_text(int status, const char *param, const char *code, const char *what,
                            char *text, size_t capacity)
{
    json_t *body = dw_openai_error(status, param, code, what);
    size_t bytes = json_dumpb(body, text, capacity, JSON_COMPACT);
    json_decref(body);
    return bytes <= capacity ? bytes : 0;
}

void dw_openai_fail(dw_exchange *exchange, int status, const char *param, const char *code,
                    const char *what)
{
    dw_send_json(exchange, status, dw_openai_error(status, param, code, what));
}

void dw_openai_fault(dw_exchange *exchange, const dw_fault *fault)
{
    dw_openai_fail(exchange, fault->status, fault->param, fault->code, fault->what);
}

void dw_send_json(dw_exchange *exchange, int status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    dw_exchange_answer(exchange, status, "application/json", text != NULL ? text : "",
                       text != NULL ? strlen(text) : 0);
    free(text);
}

void dw_make_id(char *id, size_t capacity, const char *prefix)
{
    uint8_t random[DW_ID_RANDOM_BYTES];
    char text[2 * sizeof random + 1];
    dw_os_random(random, sizeof random);
    dw_hex(text, random, sizeof random);
    (void)snprintf(id, capacity, "%s%s", prefix, text);
}

/* ---- models --------------------------------------------------------------------------------- */

/* Why it could not be loaded names its file. */
static json_t *status_json(const dw_named_model *named, dw_model_pool_info *info,
                           const dw_exchange *exchange)
{
    static const char *const states[] = {"unloaded", "loading", "loaded"};
    json_t *status =
        json_pack("{s:s, s:f}", "value", states[info->state], "fraction", dw_models_fraction(info));
    if (info->error.code != DW_OK && info->state == DW_MODEL_UNLOADED) {
        if (!dw_models_may_command(named->server, exchange)) {
            dw_models_hide_others(&info->error, named->name);
        }
        (void)json_object_set_new(status, "failed", json_true());
        (void)json_object_set_new(status, "error", dw_message_json(info->error.message));
    }
    return status;
}

/* What Anthropic's clients read of the same entry. */
static void add_anthropic(json_t *about, const dw_named_model *named)
{
    char text[40];
    struct tm parts;
    const time_t at = (time_t)named->server->started_s;
    (void)gmtime_r(&at, &parts);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    (void)json_object_set_new(about, "type", json_string("model"));
    (void)json_object_set_new(about, "display_name", json_string(named->name));
    (void)json_object_set_new(about, "created_at", json_string(text));
}

/* Where its file lies is the user's own. */
static json_t *model_json(const dw_named_model *named, const dw_exchange *exchange)
{
    dw_model_pool_info info;
    dw_models_info(named, &info);
    json_t *about =
        json_pack("{s:s, s:s, s:I, s:s, s:o, s:I}", "id", named->name, "object", "model", "created",
                  (json_int_t)named->server->started_s, "owned_by", "driftwood", "status",
                  status_json(named, &info, exchange), "size", (json_int_t)info.bytes);
    add_anthropic(about, named);
    if (info.state == DW_MODEL_LOADED) {
        bool stays = info.keep_ms == DW_KEEP_LOADED;
        (void)json_object_set_new(about, "in_use", json_boolean(info.users > 0));
        (void)json_object_set_new(about, "idle_seconds", json_real((double)info.idle_ms / 1000));
        (void)json_object_set_new(about, "keep_seconds",
                                  stays ? json_null() : json_real((double)info.keep_ms / 1000));
    }
    if (dw_exchange_is_own_user(exchange)) {
        json_t *path = json_string(info.path);
        (void)json_object_set_new(about, "path", path != NULL ? path : json_null());
    }
    if (info.known) {
        const dw_model_info *model = &info.model;
        (void)json_object_set_new(
            about, "meta",
            json_pack("{s:s, s:I, s:I, s:I, s:I}", "architecture", model->architecture, "n_params",
                      (json_int_t)model->parameter_count, "n_ctx_train",
                      (json_int_t)model->context_length, "n_vocab", (json_int_t)model->vocab_count,
                      "size", (json_int_t)model->weights_bytes));
    }
    return about;
}

void dw_openai_models(dw_server *server, dw_exchange *exchange, const char *name)
{
    const char *seer = dw_models_seer(server, exchange);
    const dw_named_model *next;
    size_t at = 0;
    if (name != NULL) {
        dw_named_model *named = name[0] != '\0' ? dw_models_find(server, seer, name) : NULL;
        if (named == NULL) {
            char what[DW_MODELS_MISSING_BYTES];
            dw_openai_fail(exchange, 404, "model", "model_not_found",
                           dw_models_missing(name, what));
            return;
        }
        dw_send_json(exchange, 200, model_json(named, exchange));
        return;
    }
    json_t *list = json_array();
    while ((next = dw_models_next(server, seer, &at)) != NULL) {
        (void)json_array_append_new(list, model_json(next, exchange));
    }
    const size_t count = json_array_size(list);
    json_t *first = json_object_get(json_array_get(list, 0), "id");
    json_t *last = count > 0 ? json_object_get(json_array_get(list, count - 1), "id") : NULL;
    dw_send_json(exchange, 200,
                 json_pack("{s:s, s:o, s:b, s:O?, s:O?}", "object", "list", "data", list,
                           "has_more", 0, "first_id", first, "last_id", last));
}
