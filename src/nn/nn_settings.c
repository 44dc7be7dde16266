#include "nn/nn_settings.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* One key: where its value goes. A key may have a second spelling. */
typedef enum value_kind { OF_FLOAT, OF_INT32, OF_BOOL, OF_TEXT } value_kind;

typedef struct key_row {
    const char *key;
    value_kind kind;
    size_t offset; /* in dw_nn_settings */
    double least, most;
} key_row;

#define SAMPLER(member) (offsetof(dw_nn_settings, sampler) + offsetof(dw_sampler_params, member))
#define OWN(member) offsetof(dw_nn_settings, member)

static const key_row rows[] = {
    {"temp", OF_FLOAT, SAMPLER(temperature), 0, 100},
    {"top-k", OF_INT32, SAMPLER(top_k), 0, INT32_MAX},
    {"top-p", OF_FLOAT, SAMPLER(top_p), 0, 1},
    {"min-p", OF_FLOAT, SAMPLER(min_p), 0, 1},
    {"typ-p", OF_FLOAT, SAMPLER(typical_p), 0, 1},
    {"repeat-penalty", OF_FLOAT, SAMPLER(repeat_penalty), 0, 100},
    {"presence-penalty", OF_FLOAT, SAMPLER(presence_penalty), -100, 100},
    {"frequency-penalty", OF_FLOAT, SAMPLER(frequency_penalty), -100, 100},
    {"last-n-penalty", OF_INT32, SAMPLER(penalty_tokens), 0, 4096},
    {"dynatemp-range", OF_FLOAT, SAMPLER(temperature_range), 0, 100},
    {"dynatemp-exponent", OF_FLOAT, SAMPLER(temperature_exponent), 0, 100},
    {"xtc-probability", OF_FLOAT, SAMPLER(xtc_probability), 0, 1},
    {"xtc-threshold", OF_FLOAT, SAMPLER(xtc_threshold), 0, 1},
    {"dry-multipier", OF_FLOAT, SAMPLER(dry_multiplier), 0, 100}, /* as the plugin spells it */
    {"dry-multiplier", OF_FLOAT, SAMPLER(dry_multiplier), 0, 100},
    {"dry-base", OF_FLOAT, SAMPLER(dry_base), 0, 100},
    {"dry-allowed-length", OF_INT32, SAMPLER(dry_allowed_length), 0, 4096},
    {"dry-last-n-penalty", OF_INT32, SAMPLER(dry_tokens), 0, 4096},
    {"mirostat-eta", OF_FLOAT, SAMPLER(mirostat_eta), 0, 100},
    {"mirostat-ent", OF_FLOAT, SAMPLER(mirostat_tau), 0, 100},
    {"pooling-type", OF_INT32, OWN(pooling), -1, 3},
    {"embedding", OF_BOOL, OWN(embedding), 0, 0},
    {"stream-stdout", OF_BOOL, OWN(streams_stdout), 0, 0},
    {"ignore-eos", OF_BOOL, OWN(ignores_end), 0, 0},
    {"grammar", OF_TEXT, OWN(grammar), 0, 0},
    {"json-schema", OF_TEXT, OWN(json_schema), 0, 0},
    {"reverse-prompt", OF_TEXT, OWN(reverse_prompt), 0, 0},
};

/* What asks for parts that are not here. */
static const char *const unsupported[] = {"mmproj", "image", "tts", "model-vocoder",
                                          "tts-speaker-file"};

static const dw_nn_settings defaults = {
    .sampler = {.temperature = 0.8F,
                .top_k = 40,
                .top_p = 0.95F,
                .min_p = 0.05F,
                .repeat_penalty = 1.0F,
                .penalty_tokens = 64,
                .struct_bytes = sizeof(dw_sampler_params)},
    .tokens_max = -1,
    .pooling = DW_POOLING_MODEL,
};

static dw_status check_range(const char *key, double value, double least, double most,
                             dw_error *err)
{
    return value >= least && value <= most
               ? DW_OK
               : dw_fail(err, DW_E_ARG, "%s: %g, from %g to %g is allowed", key, value, least,
                         most);
}

static dw_status number_of(const char *key, const json_t *value, double *number, dw_error *err)
{
    if (!json_is_number(value)) {
        return dw_fail(err, DW_E_ARG, "%s: a number is needed", key);
    }
    *number = json_number_value(value);
    return isfinite(*number) ? DW_OK : dw_fail(err, DW_E_ARG, "%s: it is not finite", key);
}

static dw_status whole_of(const json_t *object, const char *key, int64_t least, int64_t most,
                          int64_t *whole, dw_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) {
        return DW_OK;
    }
    if (!json_is_integer(value)) {
        return dw_fail(err, DW_E_ARG, "%s: a whole number is needed", key);
    }
    *whole = json_integer_value(value);
    return check_range(key, (double)*whole, (double)least, (double)most, err);
}

static dw_status read_row(const key_row *row, const json_t *value, dw_nn_settings *settings,
                          dw_error *err)
{
    void *place = (char *)settings + row->offset;
    double number = 0;
    dw_status status = DW_OK;
    if (row->kind == OF_BOOL) {
        if (!json_is_boolean(value)) {
            return dw_fail(err, DW_E_ARG, "%s: true or false is needed", row->key);
        }
        *(bool *)place = json_is_true(value);
        return DW_OK;
    }
    if (row->kind == OF_TEXT) {
        const char *text = json_string_value(value);
        if (text == NULL || strlen(text) != json_string_length(value)) {
            return dw_fail(err, DW_E_ARG, "%s: a text without zero bytes is needed", row->key);
        }
        *(const char **)place = text[0] != '\0' ? text : NULL;
        return DW_OK;
    }
    if (row->kind == OF_INT32 && !json_is_integer(value)) {
        return dw_fail(err, DW_E_ARG, "%s: a whole number is needed", row->key);
    }
    status = number_of(row->key, value, &number, err);
    if (status == DW_OK) {
        status = check_range(row->key, number, row->least, row->most, err);
    }
    if (status == DW_OK && row->kind == OF_INT32) {
        *(int32_t *)place = (int32_t)number;
    } else if (status == DW_OK) {
        *(float *)place = (float)number;
    }
    return status;
}

static dw_status refuse_unsupported(const json_t *object, dw_error *err)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        const json_t *value = json_object_get(object, unsupported[i]);
        bool is_empty = value == NULL || json_is_null(value) || json_is_false(value) ||
                        (json_is_string(value) && json_string_length(value) == 0);
        if (!is_empty) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "%s: images and sound are not served, texts alone are", unsupported[i]);
        }
    }
    return DW_OK;
}

/* Mirostat 2 is on where the key says so, with the plugin's target where none is given. */
static dw_status read_mirostat(const json_t *object, dw_nn_settings *settings, dw_error *err)
{
    int64_t version = 0;
    dw_status status = whole_of(object, "mirostat", 0, 2, &version, err);
    if (status == DW_OK && version == 1) {
        return dw_fail(err, DW_E_UNSUPPORTED, "mirostat: 1; 0 and 2 are served");
    }
    if (version == 0) {
        settings->sampler.mirostat_tau = 0;
    } else if (settings->sampler.mirostat_tau == 0) {
        settings->sampler.mirostat_tau = 5;
    }
    return status;
}

static dw_status read_object(dw_nn_settings *settings, const json_t *object, dw_error *err)
{
    int64_t seed = -1;
    int64_t context_tokens = 0;
    dw_status status = refuse_unsupported(object, err);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == DW_OK; i++) {
        const json_t *value = json_object_get(object, rows[i].key);
        if (value != NULL && !json_is_null(value)) {
            status = read_row(&rows[i], value, settings, err);
        }
    }
    if (status == DW_OK) {
        status = read_mirostat(object, settings, err);
    }
    if (status == DW_OK) {
        status = whole_of(object, "n-predict", -2, INT32_MAX, &settings->tokens_max, err);
    }
    if (status == DW_OK) {
        status = whole_of(object, "ctx-size", 0, INT32_MAX, &context_tokens, err);
    }
    if (status == DW_OK) { /* the plugin's random seed is 2^32 - 1 */
        status = whole_of(object, "seed", -1, INT64_MAX, &seed, err);
    }
    settings->context_tokens = (uint32_t)context_tokens;
    settings->has_seed = seed >= 0 && seed != UINT32_MAX;
    settings->sampler.seed = settings->has_seed ? (uint64_t)seed : 0;
    settings->logs = json_is_true(json_object_get(object, "enable-log")) ||
                     json_is_true(json_object_get(object, "enable-debug-log"));
    if (status == DW_OK && settings->grammar != NULL && settings->json_schema != NULL) {
        status = dw_fail(err, DW_E_ARG, "grammar beside json-schema: one of the two is allowed");
    }
    return status;
}

static dw_status load(json_t **object, const char *text, size_t bytes, dw_error *err)
{
    json_error_t problem;
    *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &problem);
    if (*object == NULL) {
        return dw_fail(err, DW_E_FORMAT, "settings: line %d, column %d: %.100s", problem.line,
                       problem.column, problem.text);
    }
    return json_is_object(*object) ? DW_OK : dw_fail(err, DW_E_FORMAT, "settings: no JSON object");
}

dw_status dw_nn_settings_read(dw_nn_settings *settings, const char *text, dw_error *err)
{
    *settings = defaults;
    dw_status status = load(&settings->object, text, strlen(text), err);
    return status == DW_OK ? read_object(settings, settings->object, err) : status;
}

void dw_nn_settings_release(dw_nn_settings *settings)
{
    json_decref(settings->object);
    settings->object = NULL;
}

static dw_status write(char **text, const json_t *object, dw_error *err)
{
    char *own = json_dumps(object, JSON_COMPACT);
    *text = own != NULL ? dw_strdup(own) : NULL; /* so that it is charged to the guest */
    free(own);
    return *text != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for settings");
}

dw_status dw_nn_settings_merge(char **merged, const char *text, const char *given, size_t bytes,
                               dw_error *err)
{
    json_t *object = NULL;
    json_t *more = NULL;
    dw_nn_settings settings = defaults;
    *merged = NULL;
    dw_status status = load(&object, text, strlen(text), err);
    if (status == DW_OK) {
        status = load(&more, given, bytes, err);
    }
    if (status == DW_OK && json_object_update(object, more) != 0) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for settings");
    }
    if (status == DW_OK) {
        status = read_object(&settings, object, err);
    }
    if (status == DW_OK) {
        status = write(merged, object, err);
    }
    json_decref(object);
    json_decref(more);
    return status;
}
