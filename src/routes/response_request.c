/* Requests of OpenAI's /v1/responses, as chats. */
#include <string.h>

#include "base/alloc.h"
#include "routes/responses.h"
#include "routes/routes.h"

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static bool is(const char *left, const char *right)
{
    return strcmp(left, right) == 0;
}

/* Tools that the maker's own server runs: a model that is not told of them does without. */
static bool is_hosted(const char *type)
{
    static const char *const hosted[] = {
        "web_search",  "web_search_preview", "web_search_2025_08_26",
        "file_search", "code_interpreter",   "image_generation",
        "tool_search", "local_shell",        "shell",
        "apply_patch",
    };
    for (size_t i = 0; i < sizeof hosted / sizeof hosted[0]; i++) {
        if (is(type, hosted[i])) {
            return true;
        }
    }
    return strncmp(type, "web_search_preview_", strlen("web_search_preview_")) == 0;
}

/* ---- tools ---------------------------------------------------------------------------------- */

static void add_function(json_t *tools, const json_t *tool, json_t *schema)
{
    json_t *function =
        json_pack("{s:O, s:O}", "name", json_object_get(tool, "name"), "parameters", schema);
    json_t *description = json_object_get(tool, "description");
    if (json_is_string(description)) {
        (void)json_object_set(function, "description", description);
    }
    (void)json_array_append_new(tools,
                                json_pack("{s:s, s:o}", "type", "function", "function", function));
}

static void read_tool(const json_t *tool, size_t index, json_t *tools, dw_fault *fault)
{
    const char *type = text_of(tool, "type");
    json_t *schema = json_object_get(tool, "parameters");
    if ((is(type, "function") || is(type, "custom")) && text_of(tool, "name")[0] == '\0') {
        dw_fault_set(fault, 400, "tools", "tools[%zu].name: a text is wanted", index);
    } else if (is(type, "function")) {
        json_t *any = json_pack("{s:s, s:{}}", "type", "object", "properties");
        add_function(tools, tool, json_is_object(schema) ? schema : any);
        json_decref(any);
    } else if (is(type, "custom")) {
        json_t *text =
            json_pack("{s:s, s:{s:{s:s}}, s:[s], s:b}", "type", "object", "properties", "input",
                      "type", "string", "required", "input", "additionalProperties", 0);
        add_function(tools, tool, text);
        json_decref(text);
    } else if (is(type, "namespace")) {
        const json_t *inner = json_object_get(tool, "tools");
        for (size_t i = 0; i < json_array_size(inner); i++) {
            if (!is(text_of(json_array_get(inner, i), "type"), "namespace")) {
                read_tool(json_array_get(inner, i), index, tools, fault);
            }
        }
    } else if (!is_hosted(type)) {
        dw_fault_set(fault, 400, "tools",
                     "tools[%zu]: tools of type '%.60s' are not to be had here", index, type);
    }
}

static void note_tools(const json_t *tools, json_t *space, json_t *names)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = text_of(tool, "type");
        if (is(type, "namespace")) {
            note_tools(json_object_get(tool, "tools"), json_object_get(tool, "name"), names);
        } else if (is(type, "custom") || (is(type, "function") && space != NULL)) {
            (void)json_object_set_new(
                names, text_of(tool, "name"),
                json_pack("{s:b, s:O?}", "custom", is(type, "custom"), "namespace", space));
        }
    }
}

json_t *dw__response_tools(const json_t *body)
{
    json_t *names = json_object();
    note_tools(json_object_get(body, "tools"), NULL, names);
    return names;
}

/* Those of the tools that a choice allows. */
static void allow(json_t *chat, const json_t *allowed, dw_fault *fault)
{
    json_t *kept = json_array();
    const json_t *tools = json_object_get(chat, "tools");
    for (size_t i = 0; i < json_array_size(allowed); i++) {
        const char *name = text_of(json_array_get(allowed, i), "name");
        bool found = is_hosted(text_of(json_array_get(allowed, i), "type"));
        for (size_t j = 0; j < json_array_size(tools); j++) {
            json_t *tool = json_array_get(tools, j);
            if (is(text_of(json_object_get(tool, "function"), "name"), name)) {
                (void)json_array_append(kept, tool);
                found = true;
            }
        }
        if (!found) {
            dw_fault_set(fault, 400, "tool_choice", "tool_choice: there is no tool '%.60s'", name);
        }
    }
    (void)json_object_set_new(chat, "tools", kept);
}

static void take_tool_choice(const json_t *body, json_t *chat, dw_fault *fault)
{
    json_t *choice = json_object_get(body, "tool_choice");
    const char *type = text_of(choice, "type");
    if (choice == NULL || json_is_null(choice)) {
        return;
    }
    if (json_is_string(choice)) {
        (void)json_object_set(chat, "tool_choice", choice);
    } else if (is(type, "function") || is(type, "custom")) {
        (void)json_object_set_new(chat, "tool_choice",
                                  json_pack("{s:s, s:{s:s}}", "type", "function", "function",
                                            "name", text_of(choice, "name")));
    } else if (is(type, "allowed_tools")) {
        allow(chat, json_object_get(choice, "tools"), fault);
        (void)json_object_set_new(chat, "tool_choice", json_string(text_of(choice, "mode")));
    } else {
        dw_fault_set(fault, 400, "tool_choice", "tool_choice: '%.60s' is not to be had here", type);
    }
}

static void take_tools(const json_t *body, json_t *chat, dw_fault *fault)
{
    const json_t *given = json_object_get(body, "tools");
    json_t *tools = json_array();
    if (given != NULL && !json_is_null(given) && !json_is_array(given)) {
        dw_fault_set(fault, 400, "tools", "tools is no list");
    }
    for (size_t i = 0; i < json_array_size(given); i++) {
        read_tool(json_array_get(given, i), i, tools, fault);
    }
    (void)json_object_set_new(chat, "tools", tools);
    if (json_array_size(tools) > 0) {
        take_tool_choice(body, chat, fault);
    }
    if (json_array_size(json_object_get(chat, "tools")) == 0) {
        (void)json_object_del(chat, "tools");
        (void)json_object_del(chat, "tool_choice");
    } else if (dw_params_has(body, "parallel_tool_calls")) {
        (void)json_object_set_new(
            chat, "parallel_tool_calls",
            json_boolean(dw_params_truth(body, "parallel_tool_calls", true, fault)));
    }
}

/* ---- the form of an answer, and thinking ---------------------------------------------------- */

static void take_format(const json_t *body, json_t *chat, dw_fault *fault)
{
    const json_t *format = json_object_get(json_object_get(body, "text"), "format");
    const char *type = text_of(format, "type");
    json_t *schema = json_object_get(format, "schema");
    if (format == NULL || json_is_null(format) || is(type, "text")) {
        return;
    }
    if (is(type, "json_object")) {
        (void)json_object_set_new(chat, "response_format", json_pack("{s:s}", "type", type));
    } else if (is(type, "json_schema") && json_is_object(schema)) {
        (void)json_object_set_new(chat, "response_format",
                                  json_pack("{s:s, s:{s:s, s:O}}", "type", type, "json_schema",
                                            "name", "answer", "schema", schema));
    } else {
        dw_fault_set(fault, 400, "text.format",
                     "text.format: text, json_object, or json_schema with a schema");
    }
}

static void take_reasoning(const json_t *body, json_t *chat, dw_fault *fault)
{
    const json_t *reasoning = json_object_get(body, "reasoning");
    const char *effort = dw_params_string(reasoning, "effort", fault);
    if (effort == NULL) {
        return;
    }
    (void)json_object_set_new(chat, "enable_thinking", json_boolean(!is(effort, "none")));
    if (!is(effort, "none")) {
        (void)json_object_set_new(chat, "reasoning_effort", json_string(effort));
    }
}

json_t *dw__response_chat(const json_t *body, const json_t *before, const json_t *input,
                          dw_fault *fault)
{
    const char *instructions = dw_params_string(body, "instructions", fault);
    json_t *messages = json_array();
    if (dw_params_has(body, "prompt")) {
        dw_fault_set(fault, 400, "prompt", "prompt: there are no stored prompts here");
    }
    if (instructions != NULL && instructions[0] != '\0') {
        (void)json_array_append_new(
            messages, json_pack("{s:s, s:s}", "role", "system", "content", instructions));
    }
    json_t *items = json_array();
    (void)json_array_extend(items, (json_t *)(uintptr_t)before);
    (void)json_array_extend(items, (json_t *)(uintptr_t)input);
    dw__items_chat(items, messages, fault);
    json_decref(items);
    if (json_array_size(messages) == 0) {
        dw_fault_set(fault, 400, "input", "input: nothing is said");
    }
    json_t *chat = json_pack("{s:o}", "messages", messages);
    take_tools(body, chat, fault);
    take_format(body, chat, fault);
    take_reasoning(body, chat, fault);
    if (dw_params_has(body, "chat_template_kwargs")) {
        (void)json_object_set(chat, "chat_template_kwargs",
                              json_object_get(body, "chat_template_kwargs"));
    }
    if (dw_fault_is_set(fault)) {
        json_decref(chat);
        return NULL;
    }
    return chat;
}

bool dw__response_includes(const json_t *body, const char *what)
{
    const json_t *include = json_object_get(body, "include");
    for (size_t i = 0; i < json_array_size(include); i++) {
        const char *one = json_string_value(json_array_get(include, i));
        if (one != NULL && is(one, what)) {
            return true;
        }
    }
    return false;
}

json_t *dw__response_message(const json_t *body, dw_fault *fault)
{
    json_t *message = json_object();
    int64_t most = dw_params_most(body, "max_output_tokens", 0, fault);
    int64_t likeliest = dw_params_whole(body, "top_logprobs", 0, 20, 0, fault);
    bool logprobs = likeliest > 0 || dw__response_includes(body, "message.output_text.logprobs");
    dw_params_generation(body, message, fault);
    (void)json_object_set_new(message, "n", json_integer(1));
    (void)json_object_set_new(message, "max", json_integer(most));
    (void)json_object_set_new(message, "logprobs", json_integer(logprobs ? likeliest : -1));
    return message;
}

json_t *dw__response_head(const json_t *body)
{
    static const char *const kept[] = {
        "instructions",
        "max_output_tokens",
        "metadata",
        "prompt_cache_key",
        "text",
        "tool_choice",
        "tools",
        "safety_identifier",
        "top_logprobs",
        "top_p",
        "temperature",
        "truncation",
        "user",
        "reasoning",
        "max_tool_calls",
        "background",
        "store",
        "parallel_tool_calls",
        "previous_response_id",
    };
    json_t *head = json_pack(
        "{s:n, s:n, s:{}, s:{s:{s:s}}, s:s, s:[], s:i, s:n, s:n, s:s, s:n, s:{s:n, s:n}, s:b, s:b, "
        "s:b, s:n, s:s}",
        "instructions", "max_output_tokens", "metadata", "text", "format", "type", "text",
        "tool_choice", "auto", "tools", "top_logprobs", 0, "top_p", "temperature", "truncation",
        "disabled", "user", "reasoning", "effort", "summary", "background", 0, "store", 1,
        "parallel_tool_calls", 1, "previous_response_id", "service_tier", "default");
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (dw_params_has(body, kept[i])) {
            (void)json_object_set(head, kept[i], json_object_get(body, kept[i]));
        }
    }
    return head;
}
