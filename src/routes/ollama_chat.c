/* Requests of Ollama's /api/chat and /api/generate, as chats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "routes/ollama.h"
#include "routes/routes.h"

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Calls that an answer made; those without an id get one by their number. */
static json_t *read_calls(const json_t *given, size_t *count, dw_fault *fault)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *call = json_array_get(given, i);
        const json_t *function = json_object_get(call, "function");
        json_t *given_arguments = json_object_get(function, "arguments");
        json_t *said = json_is_string(given_arguments) /* as OpenAI's clients have them */
                           ? dw_params_nested(json_string_value(given_arguments), "messages",
                                              "messages: function.arguments", fault)
                           : json_incref(given_arguments);
        char id[32];
        (void)snprintf(id, sizeof id, "call_%zu", (*count)++);
        if (text_of(function, "name")[0] == '\0' || !json_is_object(said)) {
            dw_fault_set(fault, 400, "messages",
                         "messages: a call of a tool needs function.name and function.arguments");
            json_decref(said);
            continue;
        }
        char *arguments = json_dumps(said, JSON_COMPACT);
        (void)json_array_append_new(
            calls, json_pack("{s:s, s:s, s:{s:O, s:s}}", "type", "function", "id",
                             text_of(call, "id")[0] != '\0' ? text_of(call, "id") : id, "function",
                             "name", json_object_get(function, "name"), "arguments",
                             arguments != NULL ? arguments : "{}"));
        free(arguments);
        json_decref(said);
    }
    return calls;
}

typedef struct call_count {
    size_t made;
    size_t answered;
} call_count;

static json_t *read_message(const json_t *given, size_t index, call_count *calls, dw_fault *fault)
{
    const char *role = text_of(given, "role");
    json_t *content = json_object_get(given, "content");
    json_t *thinking = json_object_get(given, "thinking");
    if (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 &&
        strcmp(role, "system") != 0 && strcmp(role, "tool") != 0) {
        dw_fault_set(fault, 400, "messages",
                     "messages[%zu].role is '%.40s'; system, user, assistant or tool is wanted",
                     index, role);
    }
    if (json_array_size(json_object_get(given, "images")) > 0) {
        dw_fault_set(fault, 400, "messages", "messages[%zu]: images cannot be read here", index);
    }
    if (content != NULL && !json_is_null(content) && !json_is_string(content)) {
        dw_fault_set(fault, 400, "messages", "messages[%zu].content: a text is wanted", index);
    }
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content",
                                json_is_string(content) ? json_incref(content) : json_string(""));
    if (json_string_length(thinking) > 0) {
        (void)json_object_set(message, "reasoning_content", thinking);
    }
    if (json_array_size(json_object_get(given, "tool_calls")) > 0) {
        (void)json_object_set_new(
            message, "tool_calls",
            read_calls(json_object_get(given, "tool_calls"), &calls->made, fault));
    }
    if (strcmp(role, "tool") == 0) { /* results come in the order of the calls */
        char id[32];
        (void)snprintf(id, sizeof id, "call_%zu", calls->answered++);
        const char *own = text_of(given, "tool_call_id");
        (void)json_object_set_new(message, "tool_call_id", json_string(own[0] != '\0' ? own : id));
        if (text_of(given, "tool_name")[0] != '\0') {
            (void)json_object_set(message, "name", json_object_get(given, "tool_name"));
        }
    }
    return message;
}

static json_t *read_messages(const json_t *body, dw_fault *fault)
{
    json_t *messages = json_array();
    const json_t *given = json_object_get(body, "messages");
    call_count calls = {0, 0};
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *one = json_array_get(given, i);
        if (!json_is_object(one)) {
            dw_fault_set(fault, 400, "messages", "messages[%zu] is no object", i);
            continue;
        }
        (void)json_array_append_new(messages, read_message(one, i, &calls, fault));
    }
    if (given != NULL && !json_is_null(given) && !json_is_array(given)) {
        dw_fault_set(fault, 400, "messages", "messages is no list");
    }
    return messages;
}

/* A prompt and what is said before it, as messages. */
static json_t *read_prompt(const json_t *body, dw_fault *fault)
{
    static const char *const refused[] = {"suffix", "template", "context"};
    json_t *messages = json_array();
    const char *system = dw_params_string(body, "system", fault);
    const char *prompt = dw_params_string(body, "prompt", fault);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const json_t *given = json_object_get(body, refused[i]);
        if (json_string_length(given) > 0 || json_array_size(given) > 0) {
            dw_fault_set(fault, 400, refused[i], "%s is not supported; /api/chat is", refused[i]);
        }
    }
    if (json_array_size(json_object_get(body, "images")) > 0) {
        dw_fault_set(fault, 400, "images", "images cannot be read here");
    }
    if (system != NULL && system[0] != '\0') {
        (void)json_array_append_new(messages,
                                    json_pack("{s:s, s:s}", "role", "system", "content", system));
    }
    (void)json_array_append_new(
        messages, json_pack("{s:s, s:s}", "role", "user", "content", prompt != NULL ? prompt : ""));
    return messages;
}

/* ---- settings -------------------------------------------------------------------------------- */

static void take_format(const json_t *body, json_t *chat, dw_fault *fault)
{
    json_t *format = json_object_get(body, "format");
    if (format == NULL || json_is_null(format) ||
        (json_is_string(format) && json_string_length(format) == 0)) {
        return;
    }
    if (json_is_object(format)) {
        (void)json_object_set_new(chat, "response_format",
                                  json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema",
                                            "json_schema", "name", "answer", "schema", format));
    } else if (json_is_string(format) && strcmp(json_string_value(format), "json") == 0) {
        (void)json_object_set_new(chat, "response_format",
                                  json_pack("{s:s}", "type", "json_object"));
    } else {
        dw_fault_set(fault, 400, "format", "format: \"json\", or a JSON schema");
    }
}

static void take_thinking(const json_t *body, json_t *chat, dw_fault *fault)
{
    json_t *think = json_object_get(body, "think");
    if (think == NULL || json_is_null(think)) {
        return;
    }
    if (json_is_string(think)) {
        (void)json_object_set(chat, "reasoning_effort", think);
    } else if (!json_is_boolean(think)) {
        dw_fault_set(fault, 400, "think", "think: true, false, or how hard, as \"low\"");
    }
    (void)json_object_set_new(chat, "enable_thinking", json_boolean(!json_is_false(think)));
}

json_t *dw__ollama_chat(const json_t *body, dw_fault *fault)
{
    bool is_chat = dw_params_has(body, "messages");
    json_t *tools = json_object_get(body, "tools");
    json_t *chat = json_pack("{s:o}", "messages",
                             is_chat ? read_messages(body, fault) : read_prompt(body, fault));
    if (json_array_size(tools) > 0) {
        (void)json_object_set(chat, "tools", tools);
    } else if (tools != NULL && !json_is_null(tools) && !json_is_array(tools)) {
        dw_fault_set(fault, 400, "tools", "tools is no list");
    }
    take_format(body, chat, fault);
    take_thinking(body, chat, fault);
    if (dw_fault_is_set(fault)) {
        json_decref(chat);
        return NULL;
    }
    return chat;
}

json_t *dw__ollama_message(const json_t *body, dw_fault *fault)
{
    json_t *message = json_object();
    const json_t *options = json_object_get(body, "options");
    json_t *sampled =
        json_is_object(options) ? json_copy((json_t *)(uintptr_t)options) : json_object();
    if (options != NULL && !json_is_null(options) && !json_is_object(options)) {
        dw_fault_set(fault, 400, "options", "options is no object");
    }
    int64_t most = dw_params_whole(sampled, "num_predict", -2, 2147483647, -1, fault);
    bool logprobs = dw_params_truth(body, "logprobs", false, fault);
    int64_t likeliest = dw_params_whole(body, "top_logprobs", 0, 20, 0, fault);
    (void)json_object_del(sampled, "n");
    dw_params_generation(sampled, message, fault);
    (void)json_object_set_new(message, "n", json_integer(1));
    (void)json_object_set_new(message, "max", json_integer(most > 0 ? most : 0));
    (void)json_object_set_new(message, "logprobs", json_integer(logprobs ? likeliest : -1));
    json_decref(sampled);
    return message;
}
