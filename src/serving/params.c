#include "serving/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_bounds.h"
#include "base/json_mend.h"
#include "base/utf8.h"
#include "http/text.h"
#include "model/adapter_set.h"

#define STOPS_MAX 16
#define STOP_BYTES_MAX 255
#define BIASES_MAX 1024
#define REACH_MAX 4096 /* tokens that penalties look at */
#define TEMPERATURE_MIN 0.001
/* As many values as a chat of 4,096 messages with tools may have. */
static const dw_json_bounds bounds = {
    .bytes = SIZE_MAX, .values = UINT64_C(4) << 20, .depth = 256, .object_values = 24};
/* Of what a model said: as deep as an answer may nest, which is less than the parser reads. */
static const dw_json_bounds said_bounds = {
    .bytes = SIZE_MAX, .values = UINT64_C(4) << 20, .depth = 2000, .object_values = 24};

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

/* Clients cut texts in the middle of a character, send what files hold, and tools whose schemas
 * have bounds of 64 bits: none of it may end a conversation. */
static json_t *load(const char *text, size_t bytes, size_t flags, json_error_t *problem)
{
    size_t count = 0;
    json_t *body = json_loadb(text, bytes, flags, problem);
    char *mended = body == NULL ? dw_json_mend(text, bytes, &count) : NULL;
    if (mended != NULL) {
        body = json_loadb(mended, count, flags, problem);
    }
    dw_free(mended);
    return body;
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
    json_t *body = load(text, bytes, JSON_REJECT_DUPLICATES, &problem);
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

json_t *dw_params_said(const char *text, size_t flags)
{
    dw_json_excess excess;
    return text != NULL && dw_json_within(text, strlen(text), &said_bounds, &excess)
               ? load(text, strlen(text), flags, NULL)
               : NULL;
}

char *dw_params_object_said(const char *text)
{
    size_t count = 0;
    json_t *value = dw_params_said(text, 0);
    char *own = NULL;
    if (!json_is_object(value)) {
        own = dw_strdup("{}");
    } else {
        own = dw_json_mend_halves(text, strlen(text), &count);
        own = own != NULL ? own : dw_strdup(text);
    }
    json_decref(value);
    return own;
}

json_t *dw_params_nested(const char *text, const char *param, const char *name, dw_fault *fault)
{
    json_error_t problem;
    dw_error error;
    const size_t bytes = strlen(text);
    if (dw_json_check(name, text, bytes, &bounds, &error) != DW_OK) {
        dw_fault_set(fault, 400, param, "%s", error.message);
        return NULL;
    }
    json_t *value = load(text, bytes, JSON_REJECT_DUPLICATES, &problem);
    if (value == NULL) {
        dw_fault_set(fault, 400, param, "%s is not JSON: line %d, column %d: %s", name,
                     problem.line, problem.column, problem.text);
    }
    return value;
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

int64_t dw_params_most(const json_t *body, const char *name, int64_t otherwise, dw_fault *fault)
{
    if (json_is_integer(json_object_get(body, name)) &&
        json_integer_value(json_object_get(body, name)) < 0) {
        return 0;
    }
    return dw_params_whole(body, name, 1, 2147483647, otherwise, fault);
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

/* How far back penalties look, as llama.cpp has it: 0: they are off; -1: as far as they can. */
static void take_reach(const json_t *body, json_t *sampler, dw_fault *fault)
{
    static const char *const penalties[] = {"repeat_penalty", "frequency_penalty",
                                            "presence_penalty", "penalty_tokens"};
    int64_t reach = dw_params_whole(body, "repeat_last_n", -1, 2147483647, REACH_MAX, fault);
    if (reach != 0) {
        reach = reach < 0 || reach > REACH_MAX ? REACH_MAX : reach;
        (void)json_object_set_new(sampler, "penalty_tokens", json_integer(reach));
        return;
    }
    for (size_t i = 0; i < sizeof penalties / sizeof penalties[0]; i++) {
        (void)json_object_del(sampler, penalties[i]);
    }
}

static double given(const json_t *sampler, const char *name, double otherwise)
{
    const json_t *value = json_object_get(sampler, name);
    return value != NULL ? json_number_value(value) : otherwise;
}

/* The likeliest token behind the penalties: a sampler of temperature 0 looks at none. */
static void keep_penalties(json_t *sampler)
{
    const bool penalises =
        given(sampler, "repeat_penalty", 1) != 1 || given(sampler, "frequency_penalty", 0) != 0 ||
        given(sampler, "presence_penalty", 0) != 0 || given(sampler, "dry_multiplier", 0) > 0;
    if (penalises && given(sampler, "temperature", 1) == 0) {
        (void)json_object_set_new(sampler, "temperature", json_real(TEMPERATURE_MIN));
        (void)json_object_set_new(sampler, "top_k", json_integer(1));
        (void)json_object_del(sampler, "temperature_range");
        (void)json_object_del(sampler, "mirostat_tau");
    }
}

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
        if (strcmp(at->name, "temperature") == 0 && value < TEMPERATURE_MIN) {
            value = 0; /* the likeliest token */
        } else if (strcmp(at->name, "top_p") == 0 && value <= 0) {
            value = 1e-6; /* likewise; 0 turns it off */
        } else if (value < 0 && at->lowest == -1) {
            value = 0; /* off */
        }
        (void)json_object_set_new(sampler, at->own,
                                  at->whole ? json_integer((json_int_t)value) : json_real(value));
    }
    if (dw_params_has(body, "repeat_last_n")) {
        take_reach(body, sampler, fault);
    }
    if (dw_params_has(body, "seed")) {
        int64_t seed = dw_params_whole(body, "seed", INT64_MIN, INT64_MAX, 0, fault);
        if (seed >= 0) { /* -1: another each time, as llama.cpp has it */
            (void)json_object_set_new(sampler, "seed", json_integer(seed));
        }
    }
    keep_penalties(sampler);
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

/* ---- the form of an answer ------------------------------------------------------------------ */

/* A text of a grammar, which has JSON's escapes but for two. */
static bool add_literal(dw_text *rule, const char *json)
{
    bool good = true;
    for (const char *at = json; *at != '\0' && good; at++) {
        const bool escapes = *at == '\\';
        at += escapes;
        if (escapes && (*at == 'b' || *at == 'f')) {
            good = dw_text_add(rule, *at == 'b' ? "\\x08" : "\\x0c", 4);
        } else {
            good = dw_text_add(rule, at - escapes, 1 + (size_t)escapes);
        }
    }
    return good;
}

/* One of the texts, as GBNF. */
static json_t *grammar_of_choice(const json_t *choice, dw_fault *fault)
{
    dw_text rule = {.bytes = NULL};
    bool good = json_array_size(choice) > 0 && dw_text_add(&rule, "root ::= ", 9);
    for (size_t i = 0; i < json_array_size(choice) && good; i++) {
        const json_t *one = json_array_get(choice, i);
        char *text = json_is_string(one) ? json_dumps(one, JSON_ENCODE_ANY) : NULL;
        good = text != NULL && (i == 0 || dw_text_add(&rule, " | ", 3)) && add_literal(&rule, text);
        free(text);
    }
    json_t *grammar = good ? json_stringn(rule.bytes, rule.count) : NULL;
    dw_text_free(&rule);
    if (grammar == NULL) {
        dw_fault_set(fault, 400, "structured_outputs",
                     "structured_outputs.choice: a list of at least one text is wanted");
    }
    return grammar;
}

/* What vLLM's requests call so: in `structured_outputs`, or by older names beside it. */
static void take_structured(const json_t *body, json_t *into, dw_fault *fault)
{
    static const char *const members[] = {"json", "grammar", "choice", "regex", "structural_tag"};
    static const char *const older[] = {"guided_json", "guided_grammar", "guided_choice",
                                        "guided_regex", NULL};
    const json_t *outer = json_object_get(body, "structured_outputs");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(outer, members[i]);
        value = value == NULL && older[i] != NULL ? json_object_get(body, older[i]) : value;
        if (value == NULL || json_is_null(value)) {
            continue;
        }
        json_t *schema = i == 0 && json_is_string(value)
                             ? dw_params_nested(json_string_value(value), "structured_outputs",
                                                "structured_outputs.json", fault)
                             : json_incref(value);
        if (i == 0 && json_is_object(schema)) {
            (void)json_object_set(into, "schema", schema);
        } else if (i == 1 && json_is_string(value)) {
            (void)json_object_set(into, "grammar", value);
        } else if (i == 2) {
            (void)json_object_set_new(into, "grammar", grammar_of_choice(value, fault));
        } else {
            dw_fault_set(fault, 400, "structured_outputs",
                         "structured_outputs.%s: json (a schema), grammar (GBNF) and choice are "
                         "to be had here",
                         members[i]);
        }
        json_decref(schema);
    }
    if (json_is_true(json_object_get(outer, "json_object"))) {
        (void)json_object_set_new(into, "schema", json_pack("{s:s}", "type", "object"));
    }
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
    take_structured(body, into, fault);
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

/* A part of a content as a template reads it: a text. NULL: `fault` says what else it is. */
static json_t *read_part(const json_t *part, size_t message, size_t index, dw_fault *fault)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const bool refuses = type != NULL && strcmp(type, "refusal") == 0;
    const json_t *text =
        json_is_string(part) ? part : json_object_get(part, refuses ? type : "text");
    const bool known =
        json_is_string(part) || refuses ||
        (type != NULL && (strcmp(type, "text") == 0 || /* and as in /v1/responses */
                          strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0));
    if (known && json_is_string(text)) {
        return json_pack("{s:s, s:O}", "type", "text", "text", text);
    }
    dw_fault_set(fault, 400, "messages",
                 known ? "messages[%zu].content[%zu]: it has no text"
                       : "messages[%zu].content[%zu]: only text can be read here, not '%.40s'",
                 message, index, type != NULL ? type : "");
    return NULL;
}

/* An assistant that calls tools may say nothing; whoever else does has forgotten something. */
static void read_content(json_t *message, size_t index, dw_fault *fault)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    if (content == NULL && role != NULL && strcmp(role, "assistant") == 0) {
        (void)json_object_set_new(message, "content", json_null());
    } else if (content == NULL && role != NULL) {
        dw_fault_set(fault, 400, "messages", "messages[%zu].content is missing", index);
    }
    if (!json_is_array(content)) {
        return;
    }
    json_t *parts = json_array();
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *part = read_part(json_array_get(content, i), index, i, fault);
        if (part != NULL) {
            (void)json_array_append_new(parts, part);
        }
    }
    (void)json_object_set_new(message, "content", parts);
}

/* What was before tools came. */
static void refuse_functions(const json_t *message, size_t index, dw_fault *fault)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    if (role != NULL && strcmp(role, "function") == 0) {
        dw_fault_set(fault, 400, "messages",
                     "messages[%zu].role is 'function'; tools, and their results in messages of "
                     "role tool, are wanted",
                     index);
    } else if (dw_params_has(message, "function_call")) {
        dw_fault_set(fault, 400, "messages",
                     "messages[%zu].function_call is not supported; tool_calls are", index);
    }
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
        refuse_functions(copy, i, fault);
        read_content(copy, i, fault);
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
        json_t *tool = json_array_get(tools, i);
        json_t *function = json_object_get(tool, "function");
        const json_t *type = json_object_get(tool, "type");
        const char *what = json_string_value(type);
        (void)json_object_del(function, "strict");
        if (type == NULL && function != NULL) {
            (void)json_object_set_new(tool, "type", json_string("function"));
        } else if (what == NULL || strcmp(what, "function") != 0) {
            dw_fault_set(
                fault, 400, "tools", "tools[%zu].type is '%.40s'; function is to be had here%s", i,
                what != NULL ? what : "",
                what != NULL && strcmp(what, "custom") == 0 ? ", custom in /v1/responses" : "");
        }
    }
    return tools;
}

/* Of the tools those that are allowed, by their names. */
static json_t *allowed_of(const json_t *tools, const json_t *names, dw_fault *fault)
{
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(
            json_object_get(json_object_get(json_array_get(names, i), "function"), "name"));
        size_t k = 0;
        for (; k < json_array_size(tools); k++) {
            json_t *tool = json_array_get(tools, k);
            const char *one =
                json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
            if (name != NULL && one != NULL && strcmp(one, name) == 0) {
                (void)json_array_append(kept, tool);
                break;
            }
        }
        if (k == json_array_size(tools)) {
            dw_fault_set(fault, 400, "tool_choice", "tool_choice: there is no tool '%.60s'",
                         name != NULL ? name : "");
        }
    }
    return kept;
}

/* `allowed_tools` as the tools that it leaves, and `any`, as some makers call it. */
static void take_choice(json_t *chat, dw_fault *fault)
{
    json_t *choice = json_object_get(chat, "tool_choice");
    const char *word = json_string_value(choice);
    const char *type = json_string_value(json_object_get(choice, "type"));
    if (word != NULL && strcmp(word, "any") == 0) {
        (void)json_object_set_new(chat, "tool_choice", json_string("required"));
    } else if (type != NULL && strcmp(type, "allowed_tools") == 0) {
        json_t *allowed = json_object_get(choice, "allowed_tools");
        json_t *mode = json_object_get(allowed, "mode");
        json_t *kept =
            allowed_of(json_object_get(chat, "tools"), json_object_get(allowed, "tools"), fault);
        if (json_array_size(kept) == 0 || !json_is_string(mode)) {
            dw_fault_set(fault, 400, "tool_choice",
                         "tool_choice.allowed_tools: mode and at least one tool are wanted");
        }
        (void)json_object_set(chat, "tool_choice", mode);
        (void)json_object_set_new(chat, "tools", kept);
    }
}

/* What a chat cannot have here, though a client asks for it. */
static void refuse_others(const json_t *body, dw_fault *fault)
{
    const json_t *modalities = json_object_get(body, "modalities");
    for (size_t i = 0; i < json_array_size(modalities); i++) {
        const char *one = json_string_value(json_array_get(modalities, i));
        if (one == NULL || strcmp(one, "text") != 0) {
            dw_fault_set(fault, 400, "modalities", "modalities: '%.40s'; text is to be had here",
                         one != NULL ? one : "");
        }
    }
    if (json_array_size(json_object_get(body, "functions")) > 0) {
        dw_fault_set(fault, 400, "functions", "functions is not supported; tools are");
    }
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
    take_choice(chat, fault);
    refuse_others(body, fault);
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
