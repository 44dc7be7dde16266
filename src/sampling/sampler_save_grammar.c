/* A sampler's grammar as JSON. One of tools stands under a key of its own, so that a reader that
 * knows none refuses it rather than follow it from the beginning. */
#include <string.h>

#include "base/alloc.h"
#include "sampling/sampler_save_internal.h"

#define HISTORY_MAX ((size_t)1 << 24) /* tokens of one grammar */

/* ---- saving ----------------------------------------------------------------------------- */

static json_t *save_list(const dw_trigger_options *options)
{
    json_t *list = json_array();
    for (size_t i = 0; i < options->count; i++) {
        const dw_trigger *trigger = &options->list[i];
        json_t *pair =
            json_pack("[i, o]", (int)trigger->kind, dw__save_bytes(trigger->text, trigger->bytes));
        if (json_array_append_new(list, pair) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *save_triggers(const dw_sampler *sampler)
{
    if (sampler->triggers == NULL) {
        return json_null();
    }
    const dw_trigger_options *options = dw_triggers_options(sampler->triggers);
    return json_pack("{s:o, s:o, s:o, s:b}", "list", save_list(options), "pause",
                     dw__save_bytes(options->pause, options->pause_bytes), "resume",
                     dw__save_bytes(options->resume, options->resume_bytes), "paused",
                     options->paused);
}

static json_t *save_waiting(const dw_sampler *sampler)
{
    if (!sampler->waiting) {
        return json_null();
    }
    const dw_trigger_state state = dw_triggers_state(sampler->triggers);
    return json_pack("{s:o, s:b, s:b, s:i}", "text", dw__save_bytes(state.text, state.bytes),
                     "whole", state.whole, "paused", state.paused, "marker_bytes",
                     (int)state.marker_bytes);
}

json_t *dw__save_grammar(const dw_sampler *sampler)
{
    if (sampler->grammar == NULL) {
        return json_null();
    }
    json_t *text = dw__save_bytes(sampler->grammar_text, sampler->grammar_bytes);
    json_t *tokens = dw__save_ring(sampler->grammar_tokens, 0, (uint32_t)sampler->grammar_count,
                                   (uint32_t)sampler->grammar_count + 1);
    if (!sampler->of_tools) {
        return json_pack("{s:o, s:o}", "text", text, "tokens", tokens);
    }
    json_t *tool = json_pack("{s:o, s:o, s:o, s:o}", "text", text, "start",
                             dw__save_bytes(sampler->grammar_start, sampler->grammar_start_bytes),
                             "triggers", save_triggers(sampler), "waiting", save_waiting(sampler));
    return json_pack("{s:o, s:o}", "tool", tool, "tokens", tokens);
}

/* ---- loading ---------------------------------------------------------------------------- */

static dw_status load_bool(const json_t *value, const char *key, bool *to, dw_error *err)
{
    *to = json_is_true(value);
    return json_is_boolean(value) ? DW_OK
                                  : dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no boolean", key);
}

/* Texts that have been read, until the grammar that they make has been set. */
typedef struct texts {
    char *grammar;
    char *start;
    char *pause;
    char *resume;
    char *waiting;
    char *triggers[DW_TRIGGERS_MAX];
    dw_trigger list[DW_TRIGGERS_MAX];
    dw_trigger_options options;
    dw_tool_grammar of;
} texts;

static void destroy_texts(texts *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < DW_TRIGGERS_MAX; i++) {
        dw_free(t->triggers[i]);
    }
    dw_free(t->grammar);
    dw_free(t->start);
    dw_free(t->pause);
    dw_free(t->resume);
    dw_free(t->waiting);
    dw_free(t);
}

static dw_status load_triggers(texts *t, const json_t *saved, dw_error *err)
{
    const json_t *list;
    dw_trigger_options *options = &t->options;
    dw_status status = dw__load_list(saved, "list", DW_TRIGGERS_MAX, &list, err);
    options->list = t->list;
    options->count = status == DW_OK ? json_array_size(list) : 0;
    for (size_t i = 0; i < options->count && status == DW_OK; i++) {
        const json_t *pair = json_array_get(list, i);
        int64_t kind = 0;
        status = dw__load_whole(json_array_get(pair, 0), "triggers", 0, UINT16_MAX, &kind, err);
        if (status == DW_OK) {
            status = dw__load_bytes(json_array_get(pair, 1), "triggers", &t->triggers[i],
                                    &t->list[i].bytes, err);
        }
        t->list[i].kind = (uint32_t)kind;
        t->list[i].text = t->triggers[i];
    }
    if (status == DW_OK) {
        status = dw__load_bytes(json_object_get(saved, "pause"), "pause", &t->pause,
                                &options->pause_bytes, err);
    }
    if (status == DW_OK) {
        status = dw__load_bytes(json_object_get(saved, "resume"), "resume", &t->resume,
                                &options->resume_bytes, err);
    }
    options->pause = t->pause;
    options->resume = t->resume;
    t->of.triggers = options;
    return status == DW_OK
               ? load_bool(json_object_get(saved, "paused"), "paused", &options->paused, err)
               : status;
}

static dw_status load_waiting(dw_sampler *sampler, texts *t, const json_t *saved, dw_error *err)
{
    dw_trigger_state state = {.text = NULL};
    int64_t marker_bytes = 0;
    if (sampler->triggers == NULL) {
        return dw_fail(err, DW_E_FORMAT, "sampler: 'waiting' for no trigger");
    }
    dw_status status =
        dw__load_bytes(json_object_get(saved, "text"), "waiting", &t->waiting, &state.bytes, err);
    if (status == DW_OK) {
        status = load_bool(json_object_get(saved, "whole"), "whole", &state.whole, err);
    }
    if (status == DW_OK) {
        status = load_bool(json_object_get(saved, "paused"), "paused", &state.paused, err);
    }
    if (status == DW_OK) {
        status = dw__load_whole(json_object_get(saved, "marker_bytes"), "marker_bytes", 0,
                                UINT16_MAX, &marker_bytes, err);
    }
    state.text = t->waiting;
    state.marker_bytes = (uint32_t)marker_bytes;
    return status == DW_OK ? dw_triggers_restore(sampler->triggers, &state, err) : status;
}

static dw_status load_tool(dw_sampler *sampler, const dw_vocab *vocab, texts *t,
                           const json_t *saved, dw_error *err)
{
    const json_t *triggers = json_object_get(saved, "triggers");
    const json_t *waiting = json_object_get(saved, "waiting");
    size_t start_bytes = 0;
    dw_status status =
        dw__load_bytes(json_object_get(saved, "text"), "grammar", &t->grammar, &t->of.bytes, err);
    t->of.text = t->grammar;
    if (status == DW_OK) {
        status =
            dw__load_bytes(json_object_get(saved, "start"), "start", &t->start, &start_bytes, err);
    }
    if (status == DW_OK && !json_is_null(triggers)) {
        status = load_triggers(t, triggers, err);
    }
    if (status == DW_OK && t->of.bytes == 0) {
        status = dw_fail(err, DW_E_FORMAT, "sampler: 'grammar' of 0 bytes");
    }
    if (status == DW_OK) {
        status = dw_sampler_set_tool_grammar(sampler, vocab, &t->of, err);
    }
    if (status == DW_OK && !json_is_null(waiting)) {
        return load_waiting(sampler, t, waiting, err);
    }
    return status == DW_OK ? dw__sampler_begin_grammar(sampler, t->start, start_bytes, err)
                           : status;
}

static dw_status load_text(dw_sampler *sampler, const dw_vocab *vocab, const json_t *grammar,
                           dw_error *err)
{
    const json_t *tool = json_object_get(grammar, "tool");
    texts *t = dw_alloc(1, sizeof *t);
    dw_status status;
    if (t == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar");
    }
    if (tool != NULL) {
        status = load_tool(sampler, vocab, t, tool, err);
    } else {
        status = dw__load_bytes(json_object_get(grammar, "text"), "grammar", &t->grammar,
                                &t->of.bytes, err);
        if (status == DW_OK) {
            status = dw_sampler_set_grammar(sampler, vocab, t->grammar, t->of.bytes, err);
        }
    }
    destroy_texts(t);
    return status;
}

dw_status dw__load_grammar(dw_sampler *sampler, const dw_vocab *vocab, const json_t *saved,
                           dw_error *err)
{
    const json_t *grammar = json_object_get(saved, "grammar");
    const json_t *tokens;
    if (json_is_null(grammar)) {
        return DW_OK;
    }
    dw_status status = dw__load_list(grammar, "tokens", HISTORY_MAX, &tokens, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_text(sampler, vocab, grammar, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(tokens); i++) {
        int32_t token;
        status = dw__load_token(sampler, tokens, i, "grammar", &token, err);
        if (status == DW_OK && sampler->grammar != NULL) {
            status = dw__sampler_accept_in_grammar(sampler, token, err);
        }
    }
    return status;
}
