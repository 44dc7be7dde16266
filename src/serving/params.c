#include "serving/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_bounds.h"
#include "base/utf8.h"
#include "model/adapter_set.h"

#define STOPS_MAX 16
#define STOP_BYTES_MAX 255
#define BIASES_MAX 1024
/* As many values as a chat of 4,096 messages with tools may have. */
static const dw_json_bounds bounds = {
    .bytes = SIZE_MAX, .values = UINT64_C(4) << 20, .depth = 256, .object_values = 24};

void dw_fault_set(dw_fault *fault, int status, const char *param, const char *format, ...)
{
    va_list list;
    if (dw_fault_is_set(fault)) {
        return;
    }
    fault->status = status;
    fault->param = param;
    va_start(list, format);
    (void)vsnprintf(fault->what, sizeof fault->what, format, list);
    va_end(list);
    dw_text_mend(fault->what); /* names that were cut, texts of a query: JSON has neither */
}

json_t *dw_params_body(const dw_exchange *exchange, dw_fault *fault)
{
    size_t bytes = 0;
    const char *text = dw_exchange_body(exchange, &bytes);
    json_error_t problem;
    dw_error error;
    if (bytes == 0) {
        dw_fault_set(fault, 400, NULL, "the body is empty; a JSON object is wanted");
        return NULL;
    }
    if (dw_json_check("the body", text, bytes, &bounds, &error) != DW_OK) {
        dw_fault_set(fault, 400, NULL, "%s", error.message);
        return NULL;
    }
    json_t *body = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &problem);
    if (body == NULL) {
        dw_fault_set(fault, 400, NULL, "the body is not JSON: line %d, column %d: %s", problem.line,
                     problem.column, problem.text);
    } else if (!json_is_object(body)) {
        dw_fault_set(fault, 400, NULL, "the body is JSON, but no object");
        json_decref(body);
        body = NULL;
    }
    return body;
}

/* ---- members -------------------------------------------------------------------------------- */

bool dw_params_has(const json_t *body, const char *name)
{
    const json_t *value = json_object_get(body, name);
    return value != NULL && !json_is_null(value);
}

double dw_params_number(const json_t *body, const char *name, double lowest, double highest,
                        double otherwise, dw_fault *fault)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return otherwise;
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || number < lowest || number > highest) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        dw_fault_set(fault, 400, name, "%s is %.60s; a number from %g to %g is wanted", name,
                     text != NULL ? text : "?", lowest, highest);
        free(text);
        return otherwise;
    }
    return number;
}

int64_t dw_params_whole(const json_t *body, const char *name, int64_t lowest, int64_t highest,
                        int64_t otherwise, dw_fault *fault)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return otherwise;
    }
    bool is_whole =
        json_is_integer(value) ||
        (json_is_real(value) && trunc(json_real_value(value)) == json_real_value(value) &&
         fabs(json_real_value(value)) < 9e15);
    int64_t number = json_is_integer(value) ? json_integer_value(value)
                     : is_whole             ? (int64_t)json_real_value(value)
                                            : 0;
    if (!is_whole || number < lowest || number > highest) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        dw_fault_set(fault, 400, name, "%s is %.60s; a whole number from %lld to %lld is wanted",
                     name, text != NULL ? text : "?", (long long)lowest, (long long)highest);
        free(text);
        return otherwise;
    }
    return number;
}

bool dw_params_truth(const json_t *body, const char *name, bool otherwise, dw_fault *fault)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return otherwise;
    }
    if (!json_is_boolean(value)) {
        dw_fault_set(fault, 400, name, "%s is true or false", name);
    }
    return json_is_true(value);
}

const char *dw_params_string(const json_t *body, const char *name, dw_fault *fault)
{
    const json_t *value = json_object_get(body, name);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_string(value)) {
        dw_fault_set(fault, 400, name, "%s is a text", name);
    }
    return json_string_value(value);
}

/* ---- sampling ------------------------------------------------------------------------------- */

/* Names that clients use, and the guest's. */
typedef struct sampler_name {
    const char *name;
    const char *own;
    double lowest;
    double highest;
    bool whole;
} sampler_name;

static const sampler_name sampler_names[] = {
    {"temperature", "temperature", 0, 100, false},
    {"top_p", "top_p", 0, 1, false},
    {"frequency_penalty", "frequency_penalty", -10, 10, false},
    {"presence_penalty", "presence_penalty", -10, 10, false},
    {"top_k", "top_k", -1, 2147483647, true},
    {"min_p", "min_p", 0, 1, false},
    {"typical_p", "typical_p", 0, 1, false},
    {"top_n_sigma", "top_n_sigma", -1, 100, false},
    {"repeat_penalty", "repeat_penalty", 0.01, 10, false},
    {"repetition_penalty", "repeat_penalty", 0.01, 10, false},
    {"repeat_last_n", "penalty_tokens", 1, 4096, true},
    {"dynatemp_range", "temperature_range", 0, 100, false},
    {"dynatemp_exponent", "temperature_exponent", 0, 10, false},
    {"xtc_probability", "xtc_probability", 0, 1, false},
    {"xtc_threshold", "xtc_threshold", 0, 1, false},
    {"dry_multiplier", "dry_multiplier", 0, 100, false},
    {"dry_base", "dry_base", 1, 100, false},
    {"dry_allowed_length", "dry_allowed_length", 1, 4096, true},
    {"dry_penalty_last_n", "dry_tokens", -1, 4096, true},
    {"mirostat_tau", "mirostat_tau", 0, 100, false},
    {"mirostat_eta", "mirostat_eta", 0, 1, false},
};

static void take_sampler(const json_t *body, json_t *into, dw_fault *fault)
{
    json_t *sampler = json_object();
    for (size_t i = 0; i < sizeof sampler_names / sizeof sampler_names[0]; i++) {
        const sampler_name *at = &sampler_names[i];
        if (!dw_params_has(body, at->name)) {
            continue;
        }
        double value = at->whole
                           ? (double)dw_params_whole(body, at->name, (int64_t)at->lowest,
                                                     (int64_t)at->highest, 0, fault)
                           : dw_params_number(body, at->name, at->lowest, at->highest, 0, fault);
        if (strcmp(at->name, "temperature") == 0 && value < 0.001) {
            value = 0; /* the likeliest token */
        } else if (strcmp(at->name, "top_p") == 0 && value <= 0) {
            value = 1e-6; /* likewise; 0 turns it off */
        } else if (value < 0 && at->lowest == -1) {
            value = 0; /* off */
        }
        (void)json_object_set_new(sampler, at->own,
                                  at->whole ? json_integer((json_int_t)value) : json_real(value));
    }
    if (dw_params_has(body, "seed")) {
        int64_t seed = dw_params_whole(body, "seed", INT64_MIN, INT64_MAX, 0, fault);
        if (seed >= 0) { /* -1: another each time, as llama.cpp has it */
            (void)json_object_set_new(sampler, "seed", json_integer(seed));
        }
    }
    (void)json_object_set_new(into, "sampler", sampler);
}

static void add_stop(json_t *list, json_t *value, dw_fault *fault)
{
    size_t bytes = json_string_length(value);
    if (!json_is_string(value) || bytes > STOP_BYTES_MAX) {
        dw_fault_set(fault, 400, "stop", "stop: a text, or a list of up to %d, of at most %d bytes",
                     STOPS_MAX, STOP_BYTES_MAX);
    } else if (bytes > 0) {
        (void)json_array_append(list, value);
    }
}

static void take_stops(const json_t *body, json_t *into, dw_fault *fault)
{
    json_t *given = json_object_get(body, "stop");
    if (given == NULL || json_is_null(given)) {
        return;
    }
    json_t *list = json_array();
    if (json_array_size(given) > STOPS_MAX) {
        dw_fault_set(fault, 400, "stop", "stop: %zu texts, at most %d are allowed",
                     json_array_size(given), STOPS_MAX);
    } else if (json_is_array(given)) {
        for (size_t i = 0; i < json_array_size(given); i++) {
            add_stop(list, json_array_get(given, i), fault);
        }
    } else {
        add_stop(list, given, fault);
    }
    (void)json_object_set_new(into, "stop", list);
}

/* OpenAI's {"token": bias}, or llama.cpp's [[token, bias or false]...]. */
static void take_biases(const json_t *body, json_t *into, dw_fault *fault)
{
    json_t *given = json_object_get(body, "logit_bias");
    const char *key = NULL;
    json_t *value = NULL;
    if (given == NULL || json_is_null(given)) {
        return;
    }
    json_t *list = json_array();
    size_t count = json_is_object(given) ? json_object_size(given) : json_array_size(given);
    if (count > BIASES_MAX || (!json_is_object(given) && !json_is_array(given))) {
        dw_fault_set(fault, 400, "logit_bias", "logit_bias: an object of at most %d tokens' biases",
                     BIASES_MAX);
    }
    json_object_foreach(given, key, value)
    {
        char *end = NULL;
        long token = strtol(key, &end, 10);
        if (end == key || *end != '\0' || token < 0 || token > 2147483647 ||
            !json_is_number(value) || fabs(json_number_value(value)) > 100) {
            dw_fault_set(fault, 400, "logit_bias",
                         "logit_bias: '%.40s' is no token, or its bias is not from -100 to 100",
                         key);
        }
        (void)json_array_append_new(
            list, json_pack("[I, f]", (json_int_t)token, json_number_value(value)));
    }
    for (size_t i = 0; json_is_array(given) && i < json_array_size(given); i++) {
        json_t *pair = json_array_get(given, i);
        json_t *token = json_array_get(pair, 0);
        json_t *bias = json_array_get(pair, 1);
        if (!json_is_integer(token) || (!json_is_number(bias) && !json_is_false(bias))) {
            dw_fault_set(fault, 400, "logit_bias", "logit_bias: item %zu is not [token, bias]", i);
        }
        (void)json_array_append_new(
            list, json_pack("[I, f]", json_integer_value(token),
                            json_is_false(bias) ? -1e9 : json_number_value(bias)));
    }
    (void)json_object_set_new(into, "bias", list);
}

/* llama.cpp's choice of adapters by number: items of `id` and `scale`. */
static bool add_adapter(json_t *list, const json_t *item, size_t index, dw_fault *fault)
{
    const json_t *id = json_object_get(item, "id");
    const json_t *scale = json_object_get(item, "scale");
    const double value = json_number_value(scale);
    if (!json_is_integer(id) || !json_is_number(scale)) {
        dw_fault_set(fault, 400, "lora",
                     "lora: item %zu is not {\"id\": whole number, \"scale\": number}", index);
        return false;
    }
    if (!(fabs(value) <= (double)DW_ADAPTER_SCALE_MAX)) {
        dw_fault_set(fault, 400, "lora",
                     "lora: scale %g of adapter %lld, from -%g to %g is allowed", value,
                     (long long)json_integer_value(id), (double)DW_ADAPTER_SCALE_MAX,
                     (double)DW_ADAPTER_SCALE_MAX);
        return false;
    }
    if (json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX) {
        dw_fault_set(fault, 400, "lora", "lora: there is no adapter %lld",
                     (long long)json_integer_value(id));
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_integer_value(json_object_get(json_array_get(list, i), "id")) ==
            json_integer_value(id)) {
            dw_fault_set(fault, 400, "lora", "lora: adapter %lld stands twice",
                         (long long)json_integer_value(id));
            return false;
        }
    }
    return json_array_append_new(
               list, json_pack("{s:I, s:f}", "id", json_integer_value(id), "scale", value)) == 0;
}

static void take_adapters(const json_t *body, json_t *into, dw_fault *fault)
{
    const json_t *given = json_object_get(body, "lora");
    if (given == NULL || json_is_null(given)) {
        return;
    }
    if (!json_is_array(given) || json_array_size(given) > DW_ADAPTERS_MAX) {
        dw_fault_set(fault, 400, "lora",
                     "lora: a list of up to %u {\"id\": number, \"scale\": number} is wanted",
                     DW_ADAPTERS_MAX);
        return;
    }
    json_t *list = json_array();
    bool good = list != NULL;
    for (size_t i = 0; i < json_array_size(given) && good; i++) {
        good = add_adapter(list, json_array_get(given, i), i, fault);
    }
    (void)json_object_set_new(into, "lora", list);
}

void dw_params_generation(const json_t *body, json_t *into, dw_fault *fault)
{
    take_adapters(body, into, fault);
    take_sampler(body, into, fault);
    take_stops(body, into, fault);
    take_biases(body, into, fault);
    const char *grammar = dw_params_string(body, "grammar", fault);
    if (grammar != NULL && grammar[0] != '\0') {
        (void)json_object_set_new(into, "grammar", json_string(grammar));
    }
    json_t *schema = json_object_get(body, "json_schema");
    if (json_is_object(schema)) {
        (void)json_object_set(into, "schema", schema);
    }
    if (dw_params_truth(body, "ignore_eos", false, fault)) {
        (void)json_object_set_new(into, "past_end", json_true());
    }
    (void)json_object_set_new(into, "n", json_integer(dw_params_whole(body, "n", 1, 16, 1, fault)));
}

/* ---- chats ---------------------------------------------------------------------------------- */

/* Members that are null say nothing; content alone may be null. */
static json_t *without_nulls(const json_t *message)
{
    json_t *copy = json_object();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)message, key, value)
    {
        bool empty = json_is_null(value) ||
                     ((strcmp(key, "annotations") == 0 || strcmp(key, "tool_calls") == 0) &&
                      json_is_array(value) && json_array_size(value) == 0);
        if (!empty || strcmp(key, "content") == 0) {
            (void)json_object_set(copy, key, value);
        }
    }
    return copy;
}

static json_t *read_messages(const json_t *body, dw_fault *fault)
{
    const json_t *given = json_object_get(body, "messages");
    if (!json_is_array(given) || json_array_size(given) == 0) {
        dw_fault_set(fault, 400, "messages", "messages: a list of at least one message is wanted");
        return NULL;
    }
    json_t *messages = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *message = json_array_get(given, i);
        if (!json_is_object(message)) {
            dw_fault_set(fault, 400, "messages", "messages[%zu] is no object", i);
            json_decref(messages);
            return NULL;
        }
        json_t *copy = without_nulls(message);
        const char *role = json_string_value(json_object_get(copy, "role"));
        if (role != NULL && strcmp(role, "developer") == 0) {
            (void)json_object_set_new(copy, "role", json_string("system"));
        }
        (void)json_array_append_new(messages, copy);
    }
    return messages;
}

/* Tools without what says how strictly they are meant: calls are held to their schemas always. */
static json_t *read_tools(const json_t *body, dw_fault *fault)
{
    const json_t *given = json_object_get(body, "tools");
    if (given == NULL || json_is_null(given) ||
        (json_is_array(given) && json_array_size(given) == 0)) {
        return NULL;
    }
    json_t *tools = json_deep_copy(given);
    if (!json_is_array(tools)) {
        dw_fault_set(fault, 400, "tools", "tools is no list");
    }
    for (size_t i = 0; i < json_array_size(tools); i++) {
        (void)json_object_del(json_object_get(json_array_get(tools, i), "function"), "strict");
    }
    return tools;
}

json_t *dw_params_chat(const json_t *body, dw_fault *fault)
{
    static const char *const kept[] = {
        "tool_choice",      "parallel_tool_calls",    "response_format",
        "reasoning_effort", "enable_thinking",        "chat_template_kwargs",
        "documents",        "continue_final_message", "add_generation_prompt",
    };
    json_t *messages = read_messages(body, fault);
    if (messages == NULL) {
        return NULL;
    }
    json_t *chat = json_object();
    (void)json_object_set_new(chat, "messages", messages);
    json_t *tools = read_tools(body, fault);
    if (tools != NULL) {
        (void)json_object_set_new(chat, "tools", tools);
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        bool of_tools = i < 2;
        if (dw_params_has(body, kept[i]) && (!of_tools || tools != NULL)) {
            (void)json_object_set(chat, kept[i], json_object_get(body, kept[i]));
        }
    }
    if (dw_fault_is_set(fault)) {
        json_decref(chat);
        return NULL;
    }
    return chat;
}

char *dw_members_of(const json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    if (text != NULL) {
        size_t length = strlen(text);
        memmove(text, text + 1, length - 2);
        text[length - 2] = '\0';
    }
    return text;
}
