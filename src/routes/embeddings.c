/* Embeddings: OpenAI's /v1/embeddings, Ollama's /api/embed and /api/embeddings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include <nettle/base64.h>
#include "routes/ollama.h"
#include "routes/routes.h"

#define TEXTS_MAX 2048

/* Whose answer it is. */
typedef enum shape { SHAPE_OPENAI, SHAPE_OLLAMA, SHAPE_OLLAMA_ONE } shape;

typedef struct embedding {
    shape shape;
    dw_server *server;
    size_t key; /* that asked */
    uint64_t begin_ns;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    dw_task *task;
    char *model;
    bool base64;
    size_t count;      /* of texts */
    size_t dimensions; /* that were asked for; 0: all */
    size_t length;     /* of the model's vectors, where that is less */
    json_t *list;      /* of those that came */
    uint64_t tokens;
} embedding;

static void release(embedding *e)
{
    dw_keys_spend(e->server->keys, e->key, e->tokens);
    json_decref(e->list);
    dw_free(e->model);
    dw_free(e);
}

static void on_gone(void *owner)
{
    embedding *e = owner;
    dw_task_leave(e->task);
    release(e);
}

/* The floats of the guest's digits; the caller's, for dw_free. */
static float *floats_of(const json_t *digits, size_t *count)
{
    const char *text = json_string_value(digits);
    *count = json_string_length(digits) / 8;
    float *values = dw_alloc(*count, sizeof *values);
    if (values == NULL || text == NULL ||
        !dw_hex_parse((uint8_t *)values, *count * sizeof *values, text)) {
        dw_free(values);
        return NULL;
    }
    return values; /* little-endian, as all that a guest's memory has */
}

/* The first `count` of a vector of length 1, of length 1 again; of all zeros they stay that. */
static void shorten(float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    const double length = sqrt(sum);
    for (size_t i = 0; i < count && length > 0; i++) {
        values[i] = (float)((double)values[i] / length);
    }
}

static json_t *vector_json(const embedding *e, const float *values, size_t count)
{
    if (e->base64) {
        size_t bytes = count * sizeof *values;
        char *text = dw_alloc(BASE64_ENCODE_RAW_LENGTH(bytes) + 1, 1);
        if (text == NULL) {
            return json_null();
        }
        base64_encode_raw(text, bytes, (const uint8_t *)values);
        json_t *value = json_stringn(text, BASE64_ENCODE_RAW_LENGTH(bytes));
        dw_free(text);
        return value;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_real((double)values[i]));
    }
    return list;
}

static void on_line(void *user, const json_t *line)
{
    embedding *e = user;
    size_t count = 0;
    float *values = floats_of(json_object_get(line, "v"), &count);
    if (values == NULL) {
        return; /* one that is missing is told at the end */
    }
    if (e->dimensions > count) {
        e->length = count;
    } else if (e->dimensions > 0) {
        count = e->dimensions;
        shorten(values, count);
    }
    e->tokens += (uint64_t)json_integer_value(json_object_get(line, "tokens"));
    (void)json_array_append_new(e->list,
                                json_pack("{s:s, s:I, s:o}", "object", "embedding", "index",
                                          json_integer_value(json_object_get(line, "e")),
                                          "embedding", vector_json(e, values, count)));
    dw_free(values);
}

static void fail(dw_exchange *exchange, shape of, const dw_fault *fault)
{
    if (of == SHAPE_OPENAI) {
        dw_openai_fault(exchange, fault);
    } else {
        dw_ollama_fail(exchange, fault->status, fault->what);
    }
}

static json_t *answer_json(const embedding *e)
{
    if (e->shape == SHAPE_OPENAI) {
        return json_pack("{s:s, s:O, s:s, s:{s:I, s:I}}", "object", "list", "data", e->list,
                         "model", e->model, "usage", "prompt_tokens", (json_int_t)e->tokens,
                         "total_tokens", (json_int_t)e->tokens);
    }
    if (e->shape == SHAPE_OLLAMA_ONE) {
        return json_pack("{s:O}", "embedding",
                         json_object_get(json_array_get(e->list, 0), "embedding"));
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(e->list); i++) {
        (void)json_array_append(rows, json_object_get(json_array_get(e->list, i), "embedding"));
    }
    return json_pack("{s:s, s:o, s:I, s:I, s:I}", "model", e->model, "embeddings", rows,
                     "total_duration", (json_int_t)(uv_hrtime() - e->begin_ns), "load_duration",
                     (json_int_t)0, "prompt_eval_count", (json_int_t)e->tokens);
}

static void on_end(void *user, dw_status status, const dw_error *error)
{
    embedding *e = user;
    dw_fault fault = {.status = 0};
    dw_exchange_watch(e->exchange, NULL, NULL, NULL);
    if (status != DW_OK) {
        dw_fault_set(&fault, dw_http_status(status), "input", "%s", error->message);
        fail(e->exchange, e->shape, &fault);
    } else if (e->length > 0) {
        dw_fault_set(&fault, 400, "dimensions",
                     "dimensions is %zu; embeddings of '%.100s' have %zu, from 1 to as many are "
                     "allowed",
                     e->dimensions, e->model, e->length);
        fail(e->exchange, e->shape, &fault);
    } else if (json_array_size(e->list) != e->count) {
        dw_fault_set(&fault, 500, NULL, "embeddings are missing");
        fail(e->exchange, e->shape, &fault);
    } else {
        dw_send_json(e->exchange, 200, answer_json(e));
    }
    release(e);
}

static const dw_task_ops task_ops = {.on_line = on_line, .on_end = on_end};

static bool is_tokens(const json_t *value)
{
    bool all = json_array_size(value) > 0;
    for (size_t i = 0; i < json_array_size(value) && all; i++) {
        all = json_is_integer(json_array_get(value, i)) &&
              json_integer_value(json_array_get(value, i)) >= 0 &&
              json_integer_value(json_array_get(value, i)) <= INT32_MAX;
    }
    return all;
}

/* The texts, or lists of tokens; a list; the caller's. */
static json_t *read_input(const json_t *body, const char *name, dw_fault *fault)
{
    json_t *given = json_object_get(body, name);
    bool one = json_is_string(given) || is_tokens(given);
    json_t *list = one ? json_pack("[O]", given) : json_deep_copy(given);
    size_t count = json_array_size(list);
    if (count == 0 || count > TEXTS_MAX) {
        dw_fault_set(fault, 400, name, "%s: a text, a list of tokens, or up to %d of these", name,
                     TEXTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (!is_tokens(value) && json_string_length(value) == 0) {
            dw_fault_set(fault, 400, name, "%s[%zu] is no text, empty, or no list of tokens", name,
                         i);
        }
    }
    return list;
}

static void begin(dw_server *server, embedding *e, json_t *input)
{
    dw_error error;
    json_t *message = json_pack("{s:O}", "embed", input);
    char *rest = dw_members_of(message);
    dw_task_request request = {.tenant = dw_tenant_of(server, e->exchange),
                               .model = e->model,
                               .rest = rest,
                               .ops = &task_ops,
                               .user = e};
    json_decref(message);
    dw_exchange_watch(e->exchange, on_gone, NULL, e);
    dw_status status = rest != NULL ? dw_task_begin(&e->task, server, &request, &error)
                                    : dw_fail(&error, DW_E_MEMORY, "no memory for a request");
    free(rest);
    if (status != DW_OK) {
        on_end(e, status, &error);
    }
}

/* Clients of Ollama's ask for nothing to see whether the model is there. */
static bool asks_nothing(const json_t *body, shape of)
{
    const json_t *given = json_object_get(body, of == SHAPE_OLLAMA_ONE ? "prompt" : "input");
    return of != SHAPE_OPENAI && body != NULL &&
           (given == NULL || json_is_null(given) ||
            (json_is_string(given) && json_string_length(given) == 0) ||
            (json_is_array(given) && json_array_size(given) == 0));
}

static json_t *nothing_json(const dw_named_model *named, shape of)
{
    return of == SHAPE_OLLAMA_ONE ? json_pack("{s:[]}", "embedding")
                                  : json_pack("{s:s, s:[]}", "model", named->name, "embeddings");
}

static void answer_request(dw_server *server, dw_exchange *exchange, shape of)
{
    char what[DW_MODELS_MISSING_BYTES];
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    const bool nothing = asks_nothing(body, of);
    json_t *input = body != NULL && !nothing
                        ? read_input(body, of == SHAPE_OLLAMA_ONE ? "prompt" : "input", &fault)
                        : NULL;
    const char *model = body != NULL ? dw_params_string(body, "model", &fault) : NULL;
    const char *format = body != NULL ? dw_params_string(body, "encoding_format", &fault) : NULL;
    dw_named_model *named = dw_models_find(server, dw_tenant_of(server, exchange), model);
    if (named == NULL) {
        fault.code = "model_not_found";
        dw_fault_set(&fault, 404, "model", "%s",
                     dw_models_refusal(server, dw_exchange_is_own_user(exchange), model, what));
    }
    if (format != NULL && strcmp(format, "float") != 0 && strcmp(format, "base64") != 0) {
        dw_fault_set(&fault, 400, "encoding_format", "encoding_format: float or base64");
    }
    const size_t dimensions =
        body != NULL ? (size_t)dw_params_whole(body, "dimensions", 0, 1 << 24, 0, &fault) : 0;
    uint64_t keep_ms = 0;
    if (of != SHAPE_OPENAI && body != NULL &&
        dw__ollama_keep(server, exchange, body, &keep_ms, &fault) && !dw_fault_is_set(&fault)) {
        dw_pool_keep(server->pool, named->index, keep_ms);
    }
    embedding *e = dw_fault_is_set(&fault) || nothing ? NULL : dw_alloc(1, sizeof *e);
    if (nothing && !dw_fault_is_set(&fault)) {
        dw_send_json(exchange, 200, nothing_json(named, of));
    } else if (e != NULL) {
        e->shape = of;
        e->server = server;
        e->key = dw_keys_find(server->keys, exchange);
        e->begin_ns = uv_hrtime();
        e->exchange = exchange;
        e->model = dw_strdup(named->name);
        e->base64 = format != NULL && strcmp(format, "base64") == 0;
        e->count = json_array_size(input);
        e->dimensions = dimensions;
        e->list = json_array();
        begin(server, e, input);
    } else {
        dw_fault_set(&fault, 503, NULL, "no memory for a request");
        fail(exchange, of, &fault);
    }
    json_decref(input);
    json_decref(body);
}

void dw_openai_embeddings(dw_server *server, dw_exchange *exchange)
{
    answer_request(server, exchange, SHAPE_OPENAI);
}

void dw_ollama_embed(dw_server *server, dw_exchange *exchange)
{
    answer_request(server, exchange, SHAPE_OLLAMA);
}

void dw_ollama_embeddings(dw_server *server, dw_exchange *exchange)
{
    answer_request(server, exchange, SHAPE_OLLAMA_ONE);
}
