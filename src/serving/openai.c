/* What is common to OpenAI's routes: errors, and models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/os.h"
#include "serving/openai.h"

static const char *type_of(int status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 429 ? "rate_limit_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

json_t *dw_openai_error(int status, const char *param, const char *code, const char *what)
{
    json_t *text = json_string(what);
    return json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message",
                     text != NULL ? text : json_string(""), "type", type_of(status), "param", param,
                     "code", code);
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
    uint8_t random[12];
    char text[2 * sizeof random + 1];
    dw_os_random(random, sizeof random);
    dw_hex(text, random, sizeof random);
    (void)snprintf(id, capacity, "%s%s", prefix, text);
}

/* ---- models --------------------------------------------------------------------------------- */

static json_t *model_json(const dw_server *server, const dw_named_model *named)
{
    json_t *about = json_pack("{s:s, s:s, s:I, s:s}", "id", named->name, "object", "model",
                              "created", (json_int_t)server->started_s, "owned_by", "driftwood");
    dw_model_info info = {.struct_bytes = sizeof info};
    if (named->model != NULL && dw_model_get_info(named->model, &info) == DW_OK) {
        (void)json_object_set_new(
            about, "meta",
            json_pack("{s:s, s:I, s:I, s:I, s:I}", "architecture", info.architecture, "n_params",
                      (json_int_t)info.parameter_count, "n_ctx_train",
                      (json_int_t)info.context_length, "n_vocab", (json_int_t)info.vocab_count,
                      "size", (json_int_t)info.weights_bytes));
    }
    return about;
}

void dw_openai_models(dw_server *server, dw_exchange *exchange, const char *name)
{
    if (name != NULL) {
        dw_named_model *named = name[0] != '\0' ? dw_models_find(server, name) : NULL;
        if (named == NULL) {
            char what[256];
            (void)snprintf(what, sizeof what, "The model '%.100s' does not exist", name);
            dw_openai_fail(exchange, 404, "model", "model_not_found", what);
            return;
        }
        dw_send_json(exchange, 200, model_json(server, named));
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < server->model_count; i++) {
        (void)json_array_append_new(list, model_json(server, &server->models[i]));
    }
    dw_send_json(exchange, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}
