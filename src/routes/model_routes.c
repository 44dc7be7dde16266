/* Models loaded and unloaded by request: llama.cpp's routes, and Ollama's keep_alive. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "routes/ollama.h"
#include "routes/routes.h"

#define KEEP_S_MAX 1e12

/* ---- llama.cpp: /models/load, /models/unload ------------------------------------------------- */

/* The one that the body names, if who asks may say so; NULL: the client was told why not. */
static dw_named_model *commanded(dw_server *server, dw_exchange *exchange)
{
    char what[DW_MODELS_MISSING_BYTES];
    dw_fault fault = {.status = 0};
    json_t *body = dw_params_body(exchange, &fault);
    const char *name = body != NULL ? dw_params_string(body, "model", &fault) : NULL;
    dw_named_model *named = NULL;
    if (!dw_models_may_command(server, exchange)) {
        dw_fault_set(&fault, 403, NULL,
                     "where keys are wanted, models come and go by the server's own settings");
    } else if (name == NULL || name[0] == '\0') {
        dw_fault_set(&fault, 400, "model", "model: a name is wanted");
    } else {
        named = dw_models_find(server, dw_models_seer(server, exchange), name);
    }
    if (named == NULL) {
        dw_fault_set(&fault, 404, "model", "%s", dw_models_missing(name, what));
    }
    if (dw_fault_is_set(&fault)) {
        dw_openai_fault(exchange, &fault);
        named = NULL;
    }
    json_decref(body);
    return named;
}

static void on_loaded(dw_model_waiter *waiter)
{
    dw_models_give(waiter);
    dw_free(waiter);
}

void dw_models_load(dw_server *server, dw_exchange *exchange)
{
    dw_named_model *named = commanded(server, exchange);
    if (named == NULL) {
        return;
    }
    dw_model_waiter *waiter = dw_alloc(1, sizeof *waiter);
    if (waiter == NULL) {
        dw_openai_fail(exchange, 503, NULL, NULL, "no memory for a request");
        return;
    }
    waiter->on_model = on_loaded;
    dw_models_want(named, waiter);
    dw_send_json(exchange, 200, json_pack("{s:b}", "success", 1));
}

void dw_models_unload(dw_server *server, dw_exchange *exchange)
{
    dw_model_pool_info info;
    const dw_named_model *named = commanded(server, exchange);
    if (named == NULL) {
        return;
    }
    dw_models_info(named, &info);
    if (info.state == DW_MODEL_UNLOADED) {
        dw_openai_fail(exchange, 400, "model", NULL, "the model is not loaded");
        return;
    }
    dw_pool_keep(server->pool, named->index, 0);
    dw_send_json(exchange, 200, json_pack("{s:b}", "success", 1));
}

/* ---- Ollama's keep_alive --------------------------------------------------------------------- */

#define NUMBER_CHARS_MAX 40

/* Digits, with a point among them or not -> *value; how many characters, 0: there is no number. */
static size_t read_number(const char *text, double *value)
{
    static const char digits[] = "0123456789";
    char number[NUMBER_CHARS_MAX + 1];
    size_t whole = strspn(text, digits);
    size_t part = text[whole] == '.' ? strspn(text + whole + 1, digits) : 0;
    size_t length = whole + part + (text[whole] == '.');
    if (whole + part == 0 || length > NUMBER_CHARS_MAX) {
        return 0;
    }
    memcpy(number, text, length);
    number[length] = '\0';
    *value = strtod(number, NULL);
    return length;
}

/* Seconds of a unit [length]; 0: there is none. */
static double unit_of(const char *text, size_t length)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"\xc2\xb5s", 1e-6}, {"\xce\xbcs", 1e-6},
                 {"ms", 1e-3}, {"s", 1},     {"m", 60},           {"h", 3600}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (length == strlen(units[i].name) && strncmp(text, units[i].name, length) == 0) {
            return units[i].seconds;
        }
    }
    return 0;
}

/* As Go's durations are, "1h30m", "10s", "300ms", "-1m"; or seconds alone. false: it is none. */
static bool read_duration(const char *text, double *seconds)
{
    double sign = *text == '-' ? -1 : 1;
    double value = 0;
    text += *text == '-' || *text == '+';
    size_t length = read_number(text, &value);
    *seconds = sign * value;
    if (length > 0 && text[length] == '\0') {
        return true;
    }
    for (*seconds = 0; length > 0; length = read_number(text, &value)) {
        text += length;
        size_t letters = strcspn(text, "0123456789.");
        double unit = unit_of(text, letters);
        if (unit == 0) {
            return false;
        }
        *seconds += sign * value * unit;
        text += letters;
        if (*text == '\0') {
            return true;
        }
    }
    return false;
}

bool dw__ollama_keep(dw_server *server, const dw_exchange *exchange, const json_t *body,
                     uint64_t *keep_ms, dw_fault *fault)
{
    const json_t *value = json_object_get(body, "keep_alive");
    const char *text = json_string_value(value);
    double seconds = json_number_value(value);
    if (!dw_params_has(body, "keep_alive")) {
        return false;
    }
    if (!json_is_number(value) && (text == NULL || !read_duration(text, &seconds))) {
        dw_fault_set(fault, 400, "keep_alive",
                     "keep_alive is '%.40s'; seconds, or a duration as \"5m\" is, are wanted; "
                     "below 0: for good",
                     text != NULL ? text : "(no text)");
        return false;
    }
    *keep_ms = seconds < 0 || seconds > KEEP_S_MAX ? DW_KEEP_LOADED : (uint64_t)(seconds * 1000);
    return dw_models_may_command(server, exchange);
}
