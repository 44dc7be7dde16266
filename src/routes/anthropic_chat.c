/* Requests of Anthropic's /v1/messages as chats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "routes/anthropic.h"
#include "routes/routes.h"

/* A line that a client puts in front of its system prompt, another in each request: it says nothing
 * to a model, and would let no two requests begin alike. */
static const char billing[] = "x-anthropic-billing-header:";

json_t *dw_anthropic_error(int status, const char *what)
{
    const char *type = status == 401   ? "authentication_error"
                       : status == 403 ? "permission_error"
                       : status == 404 ? "not_found_error"
                       : status == 413 ? "request_too_large"
                       : status == 429 ? "rate_limit_error"
                       : status == 503 ? "overloaded_error"
                       : status >= 500 ? "api_error"
                                       : "invalid_request_error";
    return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type", type, "message",
                     dw_message_json(what));
}

void dw_anthropic_fail(dw_exchange *exchange, int status, const char *what)
{
    dw_send_json(exchange, status, dw_anthropic_error(status, what));
}

/* ---- texts ---------------------------------------------------------------------------------- */

static void add_text(dw_text *to, const json_t *text, dw_fault *fault)
{
    bool good = to->count == 0 || dw_text_add(to, "\n", 1);
    if (!good || !dw_text_add(to, json_string_value(text), json_string_length(text))) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
    }
}

static json_t *take_text(dw_text *text)
{
    json_t *value = json_stringn(text->bytes != NULL ? text->bytes : "", text->count);
    dw_text_free(text);
    return value != NULL ? value : json_string("");
}

static const char *type_of(const json_t *block)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    return type != NULL ? type : "";
}

static void add_member(dw_text *to, const json_t *block, const char *name, dw_fault *fault)
{
    const json_t *text = json_object_get(block, name);
    if (json_string_length(text) > 0) {
        add_text(to, text, fault);
    }
}

static void add_texts(dw_text *to, const json_t *content, const char *where, dw_fault *fault);

/* A document whose source is text: its title, what is said about it, and the text. */
static bool add_document(dw_text *to, const json_t *block, const char *where, dw_fault *fault)
{
    const json_t *source = json_object_get(block, "source");
    const bool is_text = strcmp(type_of(source), "text") == 0;
    if (!is_text && strcmp(type_of(source), "content") != 0) {
        return false;
    }
    add_member(to, block, "title", fault);
    add_member(to, block, "context", fault);
    if (is_text) {
        add_member(to, source, "data", fault);
    } else {
        add_texts(to, json_object_get(source, "content"), where, fault);
    }
    return true;
}

/* A block that is text, or is made of text; false: it is another. */
static bool add_block(dw_text *to, const json_t *block, const char *where, dw_fault *fault)
{
    const char *type = type_of(block);
    const json_t *text = json_object_get(block, "text");
    if (strcmp(type, "text") == 0 && json_is_string(text)) {
        add_text(to, text, fault);
        return true;
    }
    if (strcmp(type, "document") == 0) {
        return add_document(to, block, where, fault);
    }
    if (strcmp(type, "search_result") == 0) {
        add_member(to, block, "title", fault);
        add_member(to, block, "source", fault);
        add_texts(to, json_object_get(block, "content"), where, fault);
        return true;
    }
    if (strcmp(type, "tool_reference") == 0) { /* a tool that a search of the client's found */
        add_member(to, block, "tool_name", fault);
        return true;
    }
    return false;
}

/* What a block is that cannot be read: a document says so by its source. */
static const char *kind_of(const json_t *block)
{
    const char *source = type_of(json_object_get(block, "source"));
    return strcmp(type_of(block), "document") == 0 && source[0] != '\0' ? source : type_of(block);
}

/* Blocks in others are text alone: these hold no blocks. */
static void add_texts(dw_text *to, const json_t *content, const char *where, dw_fault *fault)
{
    if (json_is_string(content)) {
        add_text(to, content, fault);
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        if (strcmp(type_of(block), "text") != 0 || !add_block(to, block, where, fault)) {
            dw_fault_set(fault, 400, where, "%s[%zu]: only text can be read here, not '%.40s'",
                         where, i, type_of(block));
        }
    }
}

/* A text, or a list of blocks that are made of text, as one. */
static json_t *read_texts(const json_t *content, const char *where, dw_fault *fault)
{
    dw_text text = {.bytes = NULL};
    if (json_is_string(content)) {
        return json_incref((json_t *)(uintptr_t)content);
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        const char *said = json_string_value(json_object_get(block, "text"));
        if (said != NULL && strncmp(said, billing, sizeof billing - 1) == 0) {
            continue;
        }
        if (!add_block(&text, block, where, fault)) {
            dw_fault_set(fault, 400, where, "%s[%zu]: only text can be read here, not '%.40s'",
                         where, i, kind_of(block));
        }
    }
    if (content != NULL && !json_is_null(content) && !json_is_array(content)) {
        dw_fault_set(fault, 400, where, "%s is neither a text nor a list of blocks", where);
    }
    return take_text(&text);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void add_call(json_t *calls, const json_t *block, dw_fault *fault)
{
    const json_t *input = json_object_get(block, "input");
    const char *id = json_string_value(json_object_get(block, "id"));
    const char *name = json_string_value(json_object_get(block, "name"));
    if (id == NULL || name == NULL || !json_is_object(input)) {
        dw_fault_set(fault, 400, "messages", "a tool_use needs id, name and input");
        return;
    }
    char *arguments = json_dumps(input, JSON_COMPACT);
    (void)json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "type", "function",
                                                 "id", id, "function", "name", name, "arguments",
                                                 arguments != NULL ? arguments : "{}"));
    free(arguments);
}

static void add_assistant(json_t *messages, const json_t *content, dw_fault *fault)
{
    dw_text text = {.bytes = NULL};
    dw_text thinking = {.bytes = NULL};
    json_t *calls = json_array();
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        const char *type = type_of(block);
        if (strcmp(type, "text") == 0) {
            add_text(&text, json_object_get(block, "text"), fault);
        } else if (strcmp(type, "thinking") == 0) {
            add_text(&thinking, json_object_get(block, "thinking"), fault);
        } else if (strcmp(type, "tool_use") == 0) {
            add_call(calls, block, fault);
        } else if (strcmp(type, "redacted_thinking") != 0) {
            dw_fault_set(fault, 400, "messages",
                         "messages: an assistant's block of type '%.40s' cannot be read", type);
        }
    }
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", take_text(&text));
    if (thinking.count > 0) {
        (void)json_object_set_new(message, "reasoning_content", take_text(&thinking));
    }
    if (json_array_size(calls) > 0) {
        (void)json_object_set(message, "tool_calls", calls);
    }
    json_decref(calls);
    (void)json_array_append_new(messages, message);
}

/* Results of tools are messages of their own, before what the user says beside them. */
static void add_user(json_t *messages, const json_t *content, dw_fault *fault)
{
    dw_text text = {.bytes = NULL};
    size_t results = 0;
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        const char *type = type_of(block);
        if (strcmp(type, "tool_result") == 0) {
            const char *id = json_string_value(json_object_get(block, "tool_use_id"));
            json_t *result = read_texts(json_object_get(block, "content"), "content", fault);
            (void)json_array_append_new(messages,
                                        json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id",
                                                  id != NULL ? id : "", "content", result));
            results++;
        } else if (!add_block(&text, block, "messages", fault)) {
            dw_fault_set(fault, 400, "messages",
                         "messages: a user's block of type '%.40s' cannot be read here",
                         kind_of(block));
        }
    }
    if (text.count > 0 || results == 0) {
        (void)json_array_append_new(
            messages, json_pack("{s:s, s:o}", "role", "user", "content", take_text(&text)));
    }
}

/* A message of the system's amid others, which many templates do not know: a user's text, as part
 * of the message before it where that is a user's, too. */
static void add_note(json_t *messages, const json_t *content, dw_fault *fault)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    json_t *note = read_texts(content, "messages", fault);
    if (role == NULL || strcmp(role, "user") != 0) {
        (void)json_array_append_new(messages,
                                    json_pack("{s:s, s:o}", "role", "user", "content", note));
        return;
    }
    dw_text text = {.bytes = NULL};
    add_text(&text, json_object_get(last, "content"), fault);
    add_text(&text, note, fault);
    (void)json_object_set_new(last, "content", take_text(&text));
    json_decref(note);
}

static void add_message(json_t *messages, const json_t *message, size_t index, dw_fault *fault)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    bool is_user = role != NULL && strcmp(role, "user") == 0;
    bool is_assistant = role != NULL && strcmp(role, "assistant") == 0;
    bool is_system = role != NULL && strcmp(role, "system") == 0;
    if ((!is_user && !is_assistant && !is_system) ||
        (!json_is_string(content) && !json_is_array(content))) {
        dw_fault_set(fault, 400, "messages",
                     "messages.%zu: role is user, assistant or system, content a text or a list",
                     index);
    } else if (is_system) {
        add_note(messages, content, fault);
    } else if (json_is_string(content)) {
        (void)json_array_append_new(messages,
                                    json_pack("{s:s, s:O}", "role", role, "content", content));
    } else if (is_user) {
        add_user(messages, content, fault);
    } else {
        add_assistant(messages, content, fault);
    }
}

/* ---- tools ---------------------------------------------------------------------------------- */

static json_t *read_tools(const json_t *given, dw_fault *fault)
{
    json_t *tools = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *tool = json_array_get(given, i);
        json_t *schema = json_object_get(tool, "input_schema");
        const char *name = json_string_value(json_object_get(tool, "name"));
        if (name == NULL || !json_is_object(schema)) {
            dw_fault_set(fault, 400, "tools", "tools.%zu: name and input_schema are wanted%s", i,
                         json_object_get(tool, "type") != NULL ? "; tools of the maker's own are "
                                                                 "not to be had here"
                                                               : "");
            continue;
        }
        json_t *function = json_pack("{s:s, s:O}", "name", name, "parameters", schema);
        json_t *description = json_object_get(tool, "description");
        if (json_is_string(description)) {
            (void)json_object_set(function, "description", description);
        }
        (void)json_array_append_new(
            tools, json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
    return tools;
}

static void take_tool_choice(const json_t *body, json_t *chat, dw_fault *fault)
{
    const json_t *choice = json_object_get(body, "tool_choice");
    const char *type = type_of(choice);
    if (choice == NULL || json_is_null(choice)) {
        return;
    }
    if (strcmp(type, "tool") == 0) {
        const char *name = json_string_value(json_object_get(choice, "name"));
        (void)json_object_set_new(chat, "tool_choice",
                                  json_pack("{s:s, s:{s:s}}", "type", "function", "function",
                                            "name", name != NULL ? name : ""));
    } else if (strcmp(type, "any") == 0 || strcmp(type, "auto") == 0 || strcmp(type, "none") == 0) {
        (void)json_object_set_new(chat, "tool_choice",
                                  json_string(strcmp(type, "any") == 0 ? "required" : type));
    } else {
        dw_fault_set(fault, 400, "tool_choice", "tool_choice: auto, any, tool or none");
    }
    if (json_is_true(json_object_get(choice, "disable_parallel_tool_use"))) {
        (void)json_object_set_new(chat, "parallel_tool_calls", json_false());
    }
}

/* What the maker's own server does with a request. */
static void refuse_others(const json_t *body, dw_fault *fault)
{
    if (json_array_size(json_object_get(body, "mcp_servers")) > 0) {
        dw_fault_set(fault, 400, "mcp_servers",
                     "mcp_servers: no servers of tools are asked here; tools of the client's are "
                     "to be had");
    } else if (dw_params_has(body, "container")) {
        dw_fault_set(fault, 400, "container", "container: there are no containers here");
    }
}

/* An answer that is begun with nothing is none. */
static void drop_empty_answer(json_t *messages)
{
    const size_t count = json_array_size(messages);
    const json_t *last = count > 1 ? json_array_get(messages, count - 1) : NULL;
    const char *role = json_string_value(json_object_get(last, "role"));
    if (role != NULL && strcmp(role, "assistant") == 0 && json_object_size(last) == 2 &&
        json_string_length(json_object_get(last, "content")) == 0) {
        (void)json_array_remove(messages, count - 1);
    }
}

/* Whether it thinks aloud, how hard, and the form of its answer. */
static void take_settings(const json_t *body, json_t *chat)
{
    const json_t *thinking = json_object_get(body, "thinking");
    const json_t *output = json_object_get(body, "output_config");
    const json_t *format = json_object_get(output, "format");
    format = format != NULL ? format : json_object_get(body, "output_format"); /* its older name */
    json_t *effort = json_object_get(output, "effort");
    json_t *schema = json_object_get(format, "schema");
    if (thinking != NULL && !json_is_null(thinking)) {
        bool thinks = strcmp(type_of(thinking), "disabled") != 0;
        (void)json_object_set_new(chat, "enable_thinking", json_boolean(thinks));
    }
    if (json_is_string(effort)) {
        (void)json_object_set(chat, "reasoning_effort", effort);
    }
    if (strcmp(type_of(format), "json_schema") == 0 && schema != NULL) {
        (void)json_object_set_new(chat, "response_format",
                                  json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema",
                                            "json_schema", "name", "answer", "schema", schema));
    }
}

json_t *dw_anthropic_chat(const json_t *body, dw_fault *fault)
{
    const json_t *given = json_object_get(body, "messages");
    json_t *messages = json_array();
    json_t *system = read_texts(json_object_get(body, "system"), "system", fault);
    if (json_string_length(system) > 0) {
        (void)json_array_append_new(messages,
                                    json_pack("{s:s, s:O}", "role", "system", "content", system));
    }
    json_decref(system);
    if (!json_is_array(given) || json_array_size(given) == 0) {
        dw_fault_set(fault, 400, "messages", "messages: at least one message is required");
    }
    for (size_t i = 0; i < json_array_size(given); i++) {
        add_message(messages, json_array_get(given, i), i, fault);
    }
    drop_empty_answer(messages);
    json_t *chat = json_pack("{s:o}", "messages", messages);
    refuse_others(body, fault);
    if (json_array_size(json_object_get(body, "tools")) > 0) {
        (void)json_object_set_new(chat, "tools", read_tools(json_object_get(body, "tools"), fault));
        take_tool_choice(body, chat, fault);
    }
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (role != NULL && strcmp(role, "assistant") == 0) { /* an answer that is begun for it */
        (void)json_object_set_new(chat, "continue_final_message", json_true());
        (void)json_object_set_new(chat, "add_generation_prompt", json_false());
    }
    take_settings(body, chat);
    if (dw_fault_is_set(fault)) {
        json_decref(chat);
        return NULL;
    }
    return chat;
}
