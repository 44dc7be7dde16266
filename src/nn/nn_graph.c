#include "nn/nn_graph.h"

#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/hash.h"
#include "nn/nn_settings.h"

#define TOKENS_MAX ((size_t)INT32_MAX)
#define TEXT_BYTES_MAX ((size_t)INT32_MAX)

static dw_status no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "no memory for a graph of wasi-nn");
}

/* ---- graphs --------------------------------------------------------------------------------- */

dw_status dw_nn_graph_create(dw_nn_graph **out, dw_model *model, const char *name,
                             const char *settings, dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        return no_memory(err);
    }
    (*out)->model = dw_model_ref(model);
    (*out)->name = dw_strdup(name);
    (*out)->settings = dw_strdup(settings);
    if ((*out)->name == NULL || (*out)->settings == NULL) {
        dw_nn_graph_destroy(*out);
        *out = NULL;
        return no_memory(err);
    }
    return DW_OK;
}

void dw_nn_graph_destroy(dw_nn_graph *graph)
{
    if (graph != NULL) {
        dw_model_unref(graph->model);
        dw_free(graph->name);
        dw_free(graph->settings);
        dw_free(graph);
    }
}

dw_status dw_nn_graph_fork(dw_nn_graph **out, const dw_nn_graph *graph, dw_error *err)
{
    dw_status status = dw_nn_graph_create(out, graph->model, graph->name, graph->settings, err);
    if (status == DW_OK) {
        (*out)->kv = graph->kv;
    }
    return status;
}

/* ---- executions ----------------------------------------------------------------------------- */

dw_status dw_nn_execution_create(dw_nn_execution **out, const dw_nn_graph *graph, int32_t handle,
                                 dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        return no_memory(err);
    }
    (*out)->model = dw_model_ref(graph->model);
    (*out)->graph = handle;
    (*out)->settings = dw_strdup(graph->settings);
    if ((*out)->settings == NULL) {
        dw_nn_execution_destroy(*out);
        *out = NULL;
        return no_memory(err);
    }
    return DW_OK;
}

void dw_nn_execution_destroy(dw_nn_execution *execution)
{
    if (execution != NULL) {
        dw_model_unref(execution->model);
        dw_free(execution->settings);
        dw_free(execution->tokens);
        dw_free(execution->text);
        dw_free(execution);
    }
}

static bool reserve_tokens(dw_nn_execution *execution, size_t count)
{
    size_t room = execution->token_room;
    bool good = dw_array_reserve(&execution->tokens, &room, count, sizeof(int32_t), TOKENS_MAX);
    execution->token_room = (uint32_t)room;
    return good;
}

static void forget_text(dw_nn_execution *execution)
{
    execution->text_bytes = execution->last_text = 0;
    execution->begun = execution->ended = false;
}

dw_status dw_nn_execution_restart(dw_nn_execution *execution, const int32_t *prompt, uint32_t count,
                                  dw_error *err)
{
    if (!reserve_tokens(execution, count)) {
        return no_memory(err);
    }
    if (count > 0) {
        memcpy(execution->tokens, prompt, count * sizeof *prompt);
    }
    execution->prompt_count = execution->token_count = count;
    forget_text(execution);
    return DW_OK;
}

void dw_nn_execution_rewind(dw_nn_execution *execution)
{
    execution->token_count = execution->prompt_count;
    forget_text(execution);
}

dw_status dw_nn_execution_add_token(dw_nn_execution *execution, int32_t token, dw_error *err)
{
    if (!reserve_tokens(execution, (size_t)execution->token_count + 1)) {
        return no_memory(err);
    }
    execution->tokens[execution->token_count++] = token;
    execution->last_text = execution->text_bytes;
    return DW_OK;
}

dw_status dw_nn_execution_add_text(dw_nn_execution *execution, const char *text, size_t bytes,
                                   dw_error *err)
{
    if (bytes > TEXT_BYTES_MAX - execution->text_bytes ||
        !dw_array_reserve(&execution->text, &execution->text_room, execution->text_bytes + bytes, 1,
                          TEXT_BYTES_MAX)) {
        return no_memory(err);
    }
    if (bytes > 0) {
        memcpy(execution->text + execution->text_bytes, text, bytes);
    }
    execution->text_bytes += bytes;
    return DW_OK;
}

dw_status dw_nn_execution_fork(dw_nn_execution **out, const dw_nn_execution *execution,
                               dw_error *err)
{
    const dw_nn_graph graph = {.model = execution->model, .settings = execution->settings};
    dw_status status = dw_nn_execution_create(out, &graph, execution->graph, err);
    if (status == DW_OK) {
        status = dw_nn_execution_restart(*out, execution->tokens, execution->token_count, err);
    }
    if (status == DW_OK) {
        status = dw_nn_execution_add_text(*out, execution->text, execution->text_bytes, err);
    }
    if (status != DW_OK) {
        dw_nn_execution_destroy(*out);
        *out = NULL;
        return status;
    }
    (*out)->prompt_count = execution->prompt_count;
    (*out)->last_text = execution->last_text;
    (*out)->sampler = execution->sampler;
    (*out)->begun = execution->begun;
    (*out)->ended = execution->ended;
    return DW_OK;
}

/* ---- snapshots ------------------------------------------------------------------------------ */

json_t *dw_nn_graph_save(const dw_nn_graph *graph)
{
    return json_pack("{s:s, s:s, s:i}", "name", graph->name, "settings", graph->settings, "kv",
                     (int)graph->kv);
}

/* Bytes that need not be UTF-8. */
static json_t *hex_of(const char *bytes, size_t count)
{
    char *text = dw_alloc(2 * count + 1, 1);
    if (text == NULL) {
        return NULL;
    }
    dw_hex(text, (const uint8_t *)bytes, count);
    json_t *hex = json_string(text);
    dw_free(text);
    return hex;
}

json_t *dw_nn_execution_save(const dw_nn_execution *execution)
{
    json_t *tokens = json_array();
    for (uint32_t i = 0; i < execution->token_count && tokens != NULL; i++) {
        if (json_array_append_new(tokens, json_integer(execution->tokens[i])) != 0) {
            json_decref(tokens);
            tokens = NULL;
        }
    }
    json_t *text = hex_of(execution->text, execution->text_bytes);
    if (tokens == NULL || text == NULL) {
        json_decref(tokens);
        json_decref(text);
        return NULL;
    }
    return json_pack(
        "{s:i, s:s, s:i, s:o, s:I, s:o, s:I, s:b, s:b}", "graph", (int)execution->graph, "settings",
        execution->settings, "sampler", (int)execution->sampler, "tokens", tokens, "prompt",
        (json_int_t)execution->prompt_count, "text", text, "last", (json_int_t)execution->last_text,
        "begun", (int)execution->begun, "ended", (int)execution->ended);
}

static dw_status check_settings(const char *text, dw_error *err)
{
    dw_nn_settings settings;
    dw_status status = dw_nn_settings_read(&settings, text, err);
    dw_nn_settings_release(&settings);
    return status;
}

dw_status dw_nn_graph_load(dw_nn_graph **out, dw_model *model, const json_t *saved, dw_error *err)
{
    const char *name = NULL;
    const char *settings = NULL;
    int kv = 0;
    *out = NULL;
    if (json_unpack((json_t *)(uintptr_t)saved, "{s:s, s:s, s:i}", "name", &name, "settings",
                    &settings, "kv", &kv) != 0) {
        return dw_fail(err, DW_E_FORMAT, "open: a graph of wasi-nn lacks a member");
    }
    dw_status status = check_settings(settings, err);
    if (status == DW_OK) {
        status = dw_nn_graph_create(out, model, name, settings, err);
    }
    if (status == DW_OK) {
        (*out)->kv = kv;
    }
    return status;
}

/* What was saved, but for texts. */
typedef struct saved_execution {
    const char *settings;
    const char *text;
    json_t *tokens;
    json_int_t prompt;
    json_int_t last;
    int graph, sampler, begun, ended;
} saved_execution;

static dw_status load_tokens(dw_nn_execution *execution, const saved_execution *from,
                             const dw_model *model, dw_error *err)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    dw_status status = DW_OK;
    size_t count = json_array_size(from->tokens);
    if (from->prompt < 0 || (uint64_t)from->prompt > count) {
        return dw_fail(err, DW_E_FORMAT, "open: wasi-nn's 'prompt' is not from 0 to %zu", count);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const json_t *item = json_array_get(from->tokens, i);
        json_int_t token = json_is_integer(item) ? json_integer_value(item) : -1;
        status = token >= 0 && token < (json_int_t)info.vocab_count
                     ? dw_nn_execution_add_token(execution, (int32_t)token, err)
                     : dw_fail(err, DW_E_FORMAT, "open: wasi-nn's token %zu is none", i);
    }
    execution->prompt_count = (uint32_t)from->prompt;
    return status;
}

static dw_status load_text(dw_nn_execution *execution, const saved_execution *from, dw_error *err)
{
    size_t bytes = strlen(from->text) / 2;
    uint8_t *text = dw_alloc(bytes + 1, 1);
    if (text == NULL) {
        return no_memory(err);
    }
    dw_status status =
        strlen(from->text) % 2 == 0 && dw_hex_parse(text, bytes, from->text)
            ? dw_nn_execution_add_text(execution, (const char *)text, bytes, err)
            : dw_fail(err, DW_E_FORMAT, "open: wasi-nn's 'text' is not in hexadecimal digits");
    dw_free(text);
    if (status == DW_OK && (from->last < 0 || (uint64_t)from->last > bytes)) {
        status = dw_fail(err, DW_E_FORMAT, "open: wasi-nn's 'last' is not from 0 to %zu", bytes);
    }
    execution->last_text = (size_t)from->last;
    return status;
}

dw_status dw_nn_execution_load(dw_nn_execution **out, dw_model *model, const json_t *saved,
                               dw_error *err)
{
    saved_execution from;
    *out = NULL;
    if (json_unpack((json_t *)(uintptr_t)saved, "{s:i, s:s, s:i, s:o, s:I, s:s, s:I, s:b, s:b}",
                    "graph", &from.graph, "settings", &from.settings, "sampler", &from.sampler,
                    "tokens", &from.tokens, "prompt", &from.prompt, "text", &from.text, "last",
                    &from.last, "begun", &from.begun, "ended", &from.ended) != 0 ||
        !json_is_array(from.tokens)) {
        return dw_fail(err, DW_E_FORMAT, "open: an execution of wasi-nn lacks a member");
    }
    const dw_nn_graph graph = {.model = model, .settings = (char *)(uintptr_t)from.settings};
    dw_status status = check_settings(from.settings, err);
    if (status == DW_OK) {
        status = dw_nn_execution_create(out, &graph, from.graph, err);
    }
    if (status == DW_OK) {
        status = load_tokens(*out, &from, model, err);
    }
    if (status == DW_OK) {
        status = load_text(*out, &from, err);
    }
    if (status != DW_OK) {
        dw_nn_execution_destroy(*out);
        *out = NULL;
        return status;
    }
    (*out)->sampler = from.sampler;
    (*out)->begun = from.begun != 0;
    (*out)->ended = from.ended != 0;
    return DW_OK;
}
