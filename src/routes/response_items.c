/* Items of OpenAI's responses: read, as messages of a chat, and listed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>

#include "base/alloc.h"
#include "routes/responses.h"
#include "routes/routes.h"
#include "serving/url.h"

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static bool is(const char *left, const char *right)
{
    return strcmp(left, right) == 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void give_id(json_t *item, const char *prefix)
{
    char id[64];
    if (!json_is_string(json_object_get(item, "id"))) {
        dw_make_id(id, sizeof id, prefix);
        (void)json_object_set_new(item, "id", json_string(id));
    }
}

/* Parts of a message's content: texts alone. */
static json_t *read_parts(const json_t *content, const char *type, const char *param, size_t index,
                          dw_fault *fault)
{
    if (json_is_string(content)) {
        return json_pack("[{s:s, s:O}]", "type", type, "text", content);
    }
    json_t *parts = json_array();
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *part = json_array_get(content, i);
        const char *kind = text_of(part, "type");
        bool is_text = is(kind, "input_text") || is(kind, "output_text") || is(kind, "text") ||
                       is(kind, "refusal");
        const char *member = is(kind, "refusal") ? "refusal" : "text";
        if (!is_text || !json_is_string(json_object_get(part, member))) {
            dw_fault_set(fault, 400, param,
                         "%s[%zu].content[%zu]: only text can be read here, not '%.40s'", param,
                         index, i, kind);
        }
        (void)json_array_append(parts, part);
    }
    if (!json_is_array(content)) {
        dw_fault_set(fault, 400, param, "%s[%zu].content: a text or a list of parts is wanted",
                     param, index);
    }
    return parts;
}

static json_t *read_message(const json_t *given, const char *param, size_t index, dw_fault *fault)
{
    const char *role = text_of(given, "role");
    bool is_answer = is(role, "assistant");
    if (!is_answer && !is(role, "user") && !is(role, "system") && !is(role, "developer")) {
        dw_fault_set(fault, 400, param,
                     "%s[%zu].role is '%.40s'; user, assistant, system or developer is wanted",
                     param, index, role);
    }
    json_t *item = json_pack(
        "{s:s, s:s, s:s, s:o}", "type", "message", "role", role, "status", "completed", "content",
        read_parts(json_object_get(given, "content"), is_answer ? "output_text" : "input_text",
                   param, index, fault));
    json_t *id = json_object_get(given, "id");
    if (json_is_string(id)) {
        (void)json_object_set(item, "id", id);
    }
    give_id(item, "msg_");
    return item;
}

/* The members that an item of the type needs, beside what it may have. */
typedef struct item_kind {
    const char *type;
    const char *prefix; /* of ids */
    const char *needs[3];
} item_kind;

static const item_kind item_kinds[] = {
    {"function_call", "fc_", {"call_id", "name", "arguments"}},
    {"function_call_output", "fco_", {"call_id"}},
    {"custom_tool_call", "ctc_", {"call_id", "name", "input"}},
    {"custom_tool_call_output", "ctco_", {"call_id"}},
    {"reasoning", "rs_", {NULL}},
};

static json_t *read_item(const json_t *given, const char *param, size_t index, const json_t *known,
                         dw_fault *fault)
{
    const char *type = text_of(given, "type");
    if (!json_is_object(given)) {
        dw_fault_set(fault, 400, param, "%s[%zu] is no object", param, index);
        return json_object();
    }
    if (type[0] == '\0' || is(type, "message")) {
        return read_message(given, param, index, fault);
    }
    if (is(type, "item_reference")) {
        json_t *found = json_incref(json_object_get(known, text_of(given, "id")));
        if (found == NULL) {
            dw_fault_set(fault, 404, param, "Item with id '%.80s' not found", text_of(given, "id"));
        }
        return found != NULL ? found : json_object();
    }
    for (size_t i = 0; i < sizeof item_kinds / sizeof item_kinds[0]; i++) {
        const item_kind *kind = &item_kinds[i];
        if (!is(kind->type, type)) {
            continue;
        }
        for (size_t j = 0; j < 3 && kind->needs[j] != NULL; j++) {
            if (!json_is_string(json_object_get(given, kind->needs[j]))) {
                dw_fault_set(fault, 400, param, "%s[%zu].%s: a text is wanted", param, index,
                             kind->needs[j]);
            }
        }
        json_t *item = json_deep_copy(given);
        give_id(item, kind->prefix);
        return item;
    }
    dw_fault_set(fault, 400, param, "%s[%zu]: items of type '%.60s' cannot be read here", param,
                 index, type);
    return json_object();
}

json_t *dw__items_referred(const json_t *input, const char *param, dw_fault *fault)
{
    json_t *ids = json_object();
    if (json_array_size(input) > DW__ITEMS_MAX) {
        dw_fault_set(fault, 400, param, "%s: %zu items, limit %d", param, json_array_size(input),
                     DW__ITEMS_MAX);
    }
    for (size_t i = 0; i < json_array_size(input) && !dw_fault_is_set(fault); i++) {
        const json_t *item = json_array_get(input, i);
        const char *id = text_of(item, "id");
        if (!is(text_of(item, "type"), "item_reference") || id[0] == '\0') {
            continue;
        }
        if (json_object_get(ids, id) != NULL) {
            dw_fault_set(fault, 400, param, "%s[%zu]: item '%.80s' is referred to twice", param, i,
                         id);
        }
        (void)json_object_set_new(ids, id, json_null());
    }
    return ids;
}

json_t *dw__items_read(const json_t *input, const char *param, const json_t *known, dw_fault *fault)
{
    json_t *items = json_array();
    if (json_is_string(input)) {
        json_t *message = json_pack("{s:s, s:O}", "role", "user", "content", input);
        (void)json_array_append_new(items, read_message(message, param, 0, fault));
        json_decref(message);
    } else if (json_array_size(input) > DW__ITEMS_MAX) {
        dw_fault_set(fault, 400, param, "%s: %zu items, limit %d", param, json_array_size(input),
                     DW__ITEMS_MAX);
    } else if (json_is_array(input)) {
        for (size_t i = 0; i < json_array_size(input) && !dw_fault_is_set(fault); i++) {
            (void)json_array_append_new(
                items, read_item(json_array_get(input, i), param, i, known, fault));
        }
    } else {
        dw_fault_set(fault, 400, param, "%s: a text, or a list of up to %d items, is wanted", param,
                     DW__ITEMS_MAX);
    }
    if (dw_fault_is_set(fault)) {
        json_decref(items);
        return NULL;
    }
    return items;
}

/* ---- as a chat ------------------------------------------------------------------------------ */

/* A text, or the texts of a list of parts. */
static json_t *joined(const json_t *content, const char *between)
{
    dw_text text = {.bytes = NULL};
    if (json_is_string(content)) {
        return json_incref((json_t *)(uintptr_t)content);
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        const json_t *value = json_object_get(part, "text");
        value = value != NULL ? value : json_object_get(part, "refusal");
        if (i > 0) {
            (void)dw_text_add(&text, between, strlen(between));
        }
        (void)dw_text_add(&text, json_string_length(value) > 0 ? json_string_value(value) : "",
                          json_string_length(value));
    }
    json_t *whole = json_stringn(text.bytes != NULL ? text.bytes : "", text.count);
    dw_text_free(&text);
    return whole != NULL ? whole : json_string("");
}

/* The text of reasoning, which clients that keep nothing here send back as encrypted_content. */
static json_t *thought_of(const json_t *item)
{
    const json_t *content = json_object_get(item, "content");
    const json_t *sealed = json_object_get(item, "encrypted_content");
    if (json_array_size(content) > 0) {
        return joined(content, "");
    }
    if (json_string_length(sealed) == 0) {
        return joined(json_object_get(item, "summary"), "\n");
    }
    struct base64_decode_ctx decoder;
    size_t length = json_string_length(sealed);
    size_t count = BASE64_DECODE_LENGTH(length);
    uint8_t *bytes = dw_alloc(count + 1, 1);
    json_t *text = NULL;
    base64_decode_init(&decoder);
    if (bytes != NULL &&
        base64_decode_update(&decoder, &count, bytes, length, json_string_value(sealed)) != 0 &&
        base64_decode_final(&decoder) != 0) {
        text = json_stringn((const char *)bytes, count);
    } /* else it is another server's, and nothing that can be read */
    dw_free(bytes);
    return text != NULL ? text : json_string("");
}

/* The answer that the item before began; or a new one. */
static json_t *answer_under_way(json_t *messages, size_t from)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    if (json_array_size(messages) > from && is(text_of(last, "role"), "assistant")) {
        return last;
    }
    json_t *answer = json_pack("{s:s, s:n}", "role", "assistant", "content");
    (void)json_array_append_new(messages, answer);
    return answer;
}

static void add_call(json_t *answer, const json_t *item, bool is_custom)
{
    json_t *arguments = json_incref(json_object_get(item, "arguments"));
    if (is_custom) {
        json_t *object = json_pack("{s:O}", "input", json_object_get(item, "input"));
        char *text = json_dumps(object, JSON_COMPACT);
        json_decref(object);
        arguments = json_string(text != NULL ? text : "{}");
        free(text);
    }
    json_t *calls = json_object_get(answer, "tool_calls");
    if (calls == NULL) {
        calls = json_array();
        (void)json_object_set_new(answer, "tool_calls", calls);
    }
    (void)json_array_append_new(calls,
                                json_pack("{s:s, s:O, s:{s:O, s:o}}", "type", "function", "id",
                                          json_object_get(item, "call_id"), "function", "name",
                                          json_object_get(item, "name"), "arguments", arguments));
}

static void add_answer(json_t *messages, size_t from, const json_t *item)
{
    json_t *answer = answer_under_way(messages, from);
    bool is_whole = !json_is_null(json_object_get(answer, "content")) ||
                    json_object_get(answer, "tool_calls") != NULL;
    if (is_whole) {
        answer = json_pack("{s:s, s:n}", "role", "assistant", "content");
        (void)json_array_append_new(messages, answer);
    }
    (void)json_object_set_new(answer, "content", joined(json_object_get(item, "content"), "\n"));
}

/* Reasoning begins an answer. */
static void add_thought(json_t *messages, const json_t *item)
{
    json_t *thought = thought_of(item);
    if (json_string_length(thought) > 0) {
        (void)json_array_append_new(messages, json_pack("{s:s, s:n, s:O}", "role", "assistant",
                                                        "content", "reasoning_content", thought));
    }
    json_decref(thought);
}

static void add_system(json_t *messages, const json_t *item)
{
    json_t *text = joined(json_object_get(item, "content"), "\n");
    json_t *last = json_array_get(messages, 0);
    if (json_array_size(messages) != 1 || !is(text_of(last, "role"), "system")) {
        (void)json_array_append_new(messages,
                                    json_pack("{s:s, s:o}", "role", "system", "content", text));
        return;
    } /* templates know one at the beginning */
    json_t *both =
        json_pack("[{s:O}, {s:O}]", "text", json_object_get(last, "content"), "text", text);
    (void)json_object_set_new(last, "content", joined(both, "\n\n"));
    json_decref(both);
    json_decref(text);
}

void dw__items_chat(const json_t *items, json_t *messages, dw_fault *fault)
{
    size_t from = json_array_size(messages);
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *type = text_of(item, "type");
        const char *role = text_of(item, "role");
        if (is(type, "reasoning")) {
            add_thought(messages, item);
        } else if (is(type, "function_call") || is(type, "custom_tool_call")) {
            add_call(answer_under_way(messages, from), item, type[0] == 'c');
        } else if (is(type, "function_call_output") || is(type, "custom_tool_call_output")) {
            json_t *output = json_object_get(item, "output");
            json_t *parts = read_parts(output, "input_text", "input", i, fault);
            (void)json_array_append_new(messages,
                                        json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id",
                                                  json_object_get(item, "call_id"), "content",
                                                  joined(parts, "\n")));
            json_decref(parts);
        } else if (is(role, "assistant")) {
            add_answer(messages, from, item);
        } else if (is(role, "user")) {
            (void)json_array_append_new(messages,
                                        json_pack("{s:s, s:o}", "role", "user", "content",
                                                  joined(json_object_get(item, "content"), "\n")));
        } else {
            add_system(messages, item);
        }
    }
}

/* ---- lists ---------------------------------------------------------------------------------- */

dw__page dw__page_read(const dw_exchange *exchange, dw_fault *fault)
{
    dw__page page = {.newest_first = true};
    char order[16] = "desc";
    page.limit = (uint32_t)dw_url_whole(exchange, "limit", 1, 100, 20, fault);
    (void)dw_url_text(exchange, "order", order, sizeof order, fault);
    page.newest_first = is(order, "desc");
    if (!page.newest_first && !is(order, "asc")) {
        dw_fault_set(fault, 400, "order", "order is '%.14s'; asc or desc is wanted", order);
    }
    (void)dw_url_text(exchange, "after", page.after, sizeof page.after, fault);
    return page;
}

json_t *dw__items_page(const json_t *items, const dw__page *page)
{
    size_t count = json_array_size(items);
    size_t at = 0;
    bool newest_first = page->newest_first;
    if (page->after[0] != '\0') {
        while (at < count &&
               !is(text_of(json_array_get(items, newest_first ? count - 1 - at : at), "id"),
                   page->after)) {
            at++;
        }
        at++;
    }
    json_t *data = json_array();
    for (; at < count && json_array_size(data) < page->limit; at++) {
        (void)json_array_append(data, json_array_get(items, newest_first ? count - 1 - at : at));
    }
    size_t told = json_array_size(data);
    return json_pack("{s:s, s:o, s:s, s:s, s:b}", "object", "list", "data", data, "first_id",
                     text_of(json_array_get(data, 0), "id"), "last_id",
                     text_of(json_array_get(data, told > 0 ? told - 1 : 0), "id"), "has_more",
                     at < count);
}
