#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "routes/completion.h"
#include "routes/logprobs.h"
#include "routes/routes.h"

/* ---- logarithms of probabilities ------------------------------------------------------------ */

void dw__completion_note_logprobs(dw_choice_state *choice, const json_t *line)
{
    if (choice->logprobs != NULL) {
        dw_logprobs_add(choice->logprobs, line);
    }
}

/* /v1/completions has lists side by side. */
static json_t *side_by_side(dw_choice_state *choice, size_t from)
{
    json_t *tokens = json_array();
    json_t *values = json_array();
    json_t *likeliest = json_array();
    json_t *offsets = json_array();
    for (size_t i = from; i < json_array_size(choice->logprobs); i++) {
        const json_t *token = json_array_get(choice->logprobs, i);
        const json_t *list = json_object_get(token, "top_logprobs");
        json_t *map = json_object();
        for (size_t j = 0; j < json_array_size(list); j++) {
            const json_t *one = json_array_get(list, j);
            (void)json_object_set(map, json_string_value(json_object_get(one, "token")),
                                  json_object_get(one, "logprob"));
        }
        (void)json_array_append(tokens, json_object_get(token, "token"));
        (void)json_array_append(values, json_object_get(token, "logprob"));
        (void)json_array_append_new(likeliest, map);
        (void)json_array_append_new(offsets, json_integer((json_int_t)choice->text_offset));
        choice->text_offset += json_array_size(json_object_get(token, "bytes"));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values,
                     "top_logprobs", likeliest, "text_offset", offsets);
}

json_t *dw__completion_logprobs(const dw_completion *completion, dw_choice_state *choice,
                                size_t from)
{
    if (choice->logprobs == NULL) {
        return json_null();
    }
    if (!completion->is_chat) {
        return side_by_side(choice, from);
    }
    json_t *list = json_array();
    for (size_t i = from; i < json_array_size(choice->logprobs); i++) {
        (void)json_array_append(list, json_array_get(choice->logprobs, i));
    }
    return json_pack("{s:o, s:n}", "content", list, "refusal");
}

/* ---- the whole ------------------------------------------------------------------------------ */

static json_t *usage_json(const dw_completion *c)
{
    json_t *usage =
        json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)c->reply.prompt_tokens,
                  "completion_tokens", (json_int_t)c->reply.answer_tokens, "total_tokens",
                  (json_int_t)(c->reply.prompt_tokens + c->reply.answer_tokens),
                  "prompt_tokens_details", "cached_tokens", (json_int_t)c->reply.cached_tokens);
    if (c->is_chat) {
        (void)json_object_set_new(
            usage, "completion_tokens_details",
            json_pack("{s:I}", "reasoning_tokens", (json_int_t)c->reply.reasoning_tokens));
    }
    return usage;
}

static json_t *message_json(const dw_choice_state *choice)
{
    json_t *message =
        json_loads(choice->message != NULL ? choice->message : "{}", JSON_ALLOW_NUL, NULL);
    const json_t *calls = json_object_get(message, "tool_calls");
    size_t bytes = json_string_length(json_object_get(message, "content"));
    (void)json_object_del(message, "note");
    if (json_array_size(calls) > 0 && bytes == 0) {
        (void)json_object_set_new(message, "content", json_null());
    }
    (void)json_object_set_new(message, "refusal", json_null());
    return message;
}

static json_t *choice_json(const dw_completion *c, uint32_t index)
{
    dw_choice_state *choice = (dw_choice_state *)(uintptr_t)&c->choices[index];
    json_t *about = json_pack("{s:i, s:o, s:s}", "index", (int)index, "logprobs",
                              dw__completion_logprobs(c, choice, 0), "finish_reason",
                              choice->reason != NULL ? choice->reason : "stop");
    if (c->is_chat) {
        (void)json_object_set_new(about, "message", message_json(choice));
        return about;
    }
    const char *before = c->echoes ? c->prompts[index / c->reply.n] : "";
    dw_text whole = {.bytes = NULL};
    (void)dw_text_add(&whole, before, strlen(before));
    (void)dw_text_add(&whole, choice->text.bytes, choice->text.count);
    json_t *text = json_stringn(whole.bytes != NULL ? whole.bytes : "", whole.count);
    dw_text_free(&whole);
    (void)json_object_set_new(about, "text", text != NULL ? text : json_string(""));
    return about;
}

static json_t *head_json(const dw_completion *c, const char *object)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "id", c->id, "object", object, "created",
                     (json_int_t)c->created, "model", c->reply.model, "system_fingerprint",
                     "driftwood-" DW_VERSION);
}

json_t *dw__completion_whole(const dw_completion *c)
{
    json_t *whole = head_json(c, c->is_chat ? "chat.completion" : "text_completion");
    json_t *choices = json_array();
    for (uint32_t i = 0; i < c->reply.part_count * c->reply.n; i++) {
        (void)json_array_append_new(choices, choice_json(c, i));
    }
    (void)json_object_set_new(whole, "choices", choices);
    (void)json_object_set_new(whole, "usage", usage_json(c));
    return whole;
}

/* ---- events --------------------------------------------------------------------------------- */

json_t *dw__completion_event(const dw_completion *c, uint32_t choice, json_t *content,
                             json_t *logprobs, const char *reason)
{
    json_t *event = head_json(c, c->is_chat ? "chat.completion.chunk" : "text_completion");
    json_t *one = json_pack("{s:i, s:o, s:o, s:s?}", "index", (int)choice,
                            c->is_chat ? "delta" : "text", content, "logprobs",
                            logprobs != NULL ? logprobs : json_null(), "finish_reason", reason);
    (void)json_object_set_new(event, "choices", json_pack("[o]", one));
    if (c->tells_usage) {
        (void)json_object_set_new(event, "usage", json_null());
    }
    return event;
}

static bool add(dw_text *to, const char *text)
{
    return dw_text_add(to, text, strlen(text));
}

static bool add_json(dw_text *to, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    bool added = text != NULL && add(to, text);
    free(text);
    json_decref(value);
    return added;
}

/* What all such events of a choice begin with. */
static bool begin_piece(dw_completion *c, uint32_t choice, dw_text *start)
{
    char own[64];
    (void)snprintf(own, sizeof own, ",\"choices\":[{\"index\":%u,\"%s\":", (unsigned)choice,
                   c->is_chat ? "delta" : "text");
    start->count = 0;
    bool made =
        add_json(start, head_json(c, c->is_chat ? "chat.completion.chunk" : "text_completion"));
    start->count -= made ? 1 : start->count; /* not the brace */
    return made && add(start, own);
}

/* Most events of a stream are such, and differ in little: they are put together as text. */
const dw_text *dw__completion_piece(dw_completion *c, uint32_t choice, const char *content,
                                    json_t *logprobs)
{
    static const char tail[] = ",\"logprobs\":null,\"finish_reason\":null}]}";
    dw_text *event = &c->event;
    dw_text *start = &c->choices[choice].start;
    if (start->count == 0 && !begin_piece(c, choice, start)) {
        dw_text_free(start);
        json_decref(logprobs);
        return NULL;
    }
    event->count = 0;
    bool added = dw_text_add(event, start->bytes, start->count) && add(event, content);
    if (logprobs == NULL && !c->tells_usage) {
        return added && dw_text_add(event, tail, sizeof tail - 1) ? event : NULL;
    }
    added = added && add(event, ",\"logprobs\":");
    added = (logprobs != NULL ? add_json(event, logprobs) : add(event, "null")) && added;
    added = added && add(event, ",\"finish_reason\":null}]") &&
            add(event, c->tells_usage ? ",\"usage\":null}" : "}");
    return added ? event : NULL;
}

json_t *dw__completion_usage_event(const dw_completion *c)
{
    json_t *event = head_json(c, c->is_chat ? "chat.completion.chunk" : "text_completion");
    (void)json_object_set_new(event, "choices", json_array());
    (void)json_object_set_new(event, "usage", usage_json(c));
    return event;
}
