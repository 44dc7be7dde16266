/* Copies of samplers: through JSON, and directly. */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "sampling/sampler_save_internal.h"

/* ---- shared with sampler_save_grammar.c ----------------------------------------------- */

dw_status dw__load_whole(const json_t *value, const char *key, int64_t min, int64_t max,
                         int64_t *whole, dw_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        return dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no whole number from %lld to %lld", key,
                       (long long)min, (long long)max);
    }
    *whole = json_integer_value(value);
    return DW_OK;
}

json_t *dw__save_ring(const int32_t *ring, uint32_t first, uint32_t count, uint32_t capacity)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        if (json_array_append_new(list, json_integer(ring[(first + i) % capacity])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *dw__save_bytes(const void *bytes, size_t count)
{
    char *text = dw_alloc(2 * count + 1, 1);
    if (text == NULL) {
        return NULL;
    }
    dw_hex(text, bytes, count);
    json_t *value = json_string(text);
    dw_free(text);
    return value;
}

dw_status dw__load_list(const json_t *saved, const char *key, size_t max, const json_t **list,
                        dw_error *err)
{
    *list = json_object_get(saved, key);
    return json_is_array(*list) && json_array_size(*list) <= max
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no list of at most %zu", key, max);
}

dw_status dw__load_bytes(const json_t *value, const char *key, char **out, size_t *count,
                         dw_error *err)
{
    const char *text = json_string_value(value);
    size_t length = text != NULL ? json_string_length(value) : 1;
    *out = NULL;
    *count = length / 2;
    if (length % 2 != 0 || length != strlen(text)) {
        return dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no text of hexadecimal digits", key);
    }
    *out = dw_alloc(*count + 1, 1);
    if (*out == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes", *count);
    }
    if (!dw_hex_parse((uint8_t *)*out, *count, text)) {
        dw_free(*out);
        *out = NULL;
        return dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no text of hexadecimal digits", key);
    }
    return DW_OK;
}

dw_status dw__load_token(const dw_sampler *sampler, const json_t *list, size_t index,
                         const char *key, int32_t *token, dw_error *err)
{
    int64_t whole = 0;
    dw_status status = dw__load_whole(json_array_get(list, index), key, 0,
                                      (int64_t)sampler->vocab_count - 1, &whole, err);
    *token = (int32_t)whole;
    return status;
}

/* ---- the parameters, field by field ------------------------------------------------------ */

typedef struct field {
    const char *name;
    size_t offset;
    bool whole; /* int32_t, else float */
} field;

#define WHOLE(name)                                                                                \
    {                                                                                              \
#name, offsetof(dw_sampler_params, name), true                                             \
    }
#define NUMBER(name)                                                                               \
    {                                                                                              \
#name, offsetof(dw_sampler_params, name), false                                            \
    }
static const field fields[] = {
    NUMBER(temperature),
    WHOLE(top_k),
    NUMBER(top_p),
    NUMBER(min_p),
    NUMBER(repeat_penalty),
    NUMBER(frequency_penalty),
    NUMBER(presence_penalty),
    WHOLE(penalty_tokens),
    NUMBER(temperature_range),
    NUMBER(temperature_exponent),
    NUMBER(typical_p),
    NUMBER(top_n_sigma),
    NUMBER(xtc_probability),
    NUMBER(xtc_threshold),
    NUMBER(dry_multiplier),
    NUMBER(dry_base),
    WHOLE(dry_allowed_length),
    WHOLE(dry_tokens),
    NUMBER(mirostat_tau),
    NUMBER(mirostat_eta),
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static json_t *save_field(const dw_sampler_params *params, const field *of)
{
    const char *at = (const char *)params + of->offset;
    int32_t whole;
    float number;
    if (of->whole) {
        memcpy(&whole, at, sizeof whole);
        return json_integer(whole);
    }
    memcpy(&number, at, sizeof number);
    return json_real((double)number);
}

static dw_status load_number(const json_t *value, const char *key, float *number, dw_error *err)
{
    if (!json_is_number(value) || !(fabs(json_number_value(value)) <= 3.4e38)) {
        return dw_fail(err, DW_E_FORMAT, "sampler: '%s' is missing, or no number", key);
    }
    *number = (float)json_number_value(value);
    return DW_OK;
}

static dw_status load_field(dw_sampler_params *params, const field *of, const json_t *saved,
                            dw_error *err)
{
    char *at = (char *)params + of->offset;
    const json_t *value = json_object_get(saved, of->name);
    int64_t whole = 0;
    float number = 0.0F;
    dw_status status = of->whole
                           ? dw__load_whole(value, of->name, INT32_MIN, INT32_MAX, &whole, err)
                           : load_number(value, of->name, &number, err);
    if (status != DW_OK) {
        return status;
    }
    if (of->whole) {
        int32_t small = (int32_t)whole;
        memcpy(at, &small, sizeof small);
    } else {
        memcpy(at, &number, sizeof number);
    }
    return DW_OK;
}

/* Numbers of 64 bits are texts, since JSON's own are not sure to hold them. */
static json_t *save_wide(uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

static dw_status load_wide(const json_t *saved, const char *key, uint64_t *value, dw_error *err)
{
    const char *text = json_string_value(json_object_get(saved, key));
    char again[24] = "";
    if (text != NULL) {
        *value = strtoull(text, NULL, 10);
        (void)snprintf(again, sizeof again, "%" PRIu64, *value);
    }
    return text != NULL && strcmp(text, again) == 0
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "sampler: '%s' is no whole number in quotes", key);
}

/* ---- saving ----------------------------------------------------------------------------- */

static json_t *save_biases(const dw_sampler *sampler)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sampler->bias_count; i++) {
        const dw_logit_bias *bias = &sampler->biases[i];
        json_t *value = isfinite(bias->bias) ? json_real((double)bias->bias) : json_string("-inf");
        if (json_array_append_new(list, json_pack("[i, o]", (int)bias->token, value)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *save_breakers(const dw_sampler *sampler)
{
    if (!sampler->breakers_set) {
        return json_null();
    }
    json_t *list = json_array();
    for (size_t i = 0; i < sampler->breaker_count; i++) {
        const char *breaker = sampler->breakers[i];
        if (json_array_append_new(list, dw__save_bytes(breaker, strlen(breaker))) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

json_t *dw_sampler_save(const dw_sampler *sampler)
{
    json_t *saved = json_object();
    const dw_sampler_params *params = &sampler->params;
    bool good = saved != NULL;
    for (size_t i = 0; i < FIELD_COUNT && good; i++) {
        good = put(saved, fields[i].name, save_field(params, &fields[i]));
    }
    good = good && put(saved, "seed", save_wide(params->seed)) &&
           put(saved, "draws", save_wide(sampler->draw_count)) &&
           put(saved, "vocab_count", json_integer(sampler->vocab_count)) &&
           put(saved, "mirostat_mu", json_real((double)sampler->mirostat_mu)) &&
           put(saved, "biases", save_biases(sampler)) &&
           put(saved, "recent",
               dw__save_ring(sampler->recent, sampler->recent_first, sampler->recent_count,
                             (uint32_t)params->penalty_tokens)) &&
           put(saved, "dry_recent",
               dw__save_ring(sampler->dry_recent, sampler->dry_first, sampler->dry_count,
                             (uint32_t)params->dry_tokens)) &&
           put(saved, "breakers", save_breakers(sampler)) &&
           put(saved, "grammar", dw__save_grammar(sampler));
    if (!good) {
        json_decref(saved);
        return NULL;
    }
    return saved;
}

/* ---- loading ---------------------------------------------------------------------------- */

/* [token, bias] or [token, "-inf"]. */
static dw_status load_bias(const json_t *pair, dw_logit_bias *bias, dw_error *err)
{
    const json_t *value = json_array_get(pair, 1);
    const char *text = json_string_value(value);
    int64_t token = 0;
    dw_status status = dw__load_whole(json_array_get(pair, 0), "biases", 0, INT32_MAX, &token, err);
    if (status != DW_OK) {
        return status;
    }
    bias->token = (int32_t)token;
    if (text != NULL && strcmp(text, "-inf") == 0) {
        bias->bias = -INFINITY;
        return DW_OK;
    }
    return load_number(value, "biases", &bias->bias, err);
}

static dw_status load_biases(dw_sampler *sampler, const json_t *saved, dw_error *err)
{
    const json_t *list;
    dw_status status = dw__load_list(saved, "biases", 1024, &list, err);
    if (status != DW_OK) {
        return status;
    }
    size_t count = json_array_size(list);
    dw_logit_bias *biases = dw_alloc(count + 1, sizeof *biases);
    if (biases == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu biases", count);
    }
    for (size_t i = 0; i < count; i++) {
        status = load_bias(json_array_get(list, i), &biases[i], err);
        if (status != DW_OK) {
            goto out;
        }
    }
    status = dw_sampler_set_biases(sampler, biases, count, err);
out:
    dw_free(biases);
    return status;
}

static dw_status load_breakers(dw_sampler *sampler, const dw_vocab *vocab, const json_t *saved,
                               dw_error *err)
{
    const json_t *list = json_object_get(saved, "breakers");
    char *texts[SAMPLER_BREAKERS_MAX] = {NULL};
    if (json_is_null(list)) {
        return DW_OK;
    }
    dw_status status = dw__load_list(saved, "breakers", SAMPLER_BREAKERS_MAX, &list, err);
    if (status != DW_OK) {
        return status;
    }
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        status = dw__load_bytes(json_array_get(list, i), "breakers", &texts[i], &bytes, err);
        if (status != DW_OK) {
            goto out;
        }
        if (strlen(texts[i]) != bytes) {
            status = dw_fail(err, DW_E_FORMAT, "sampler: a zero byte in 'breakers'");
            goto out;
        }
    }
    status = dw_sampler_set_breakers(sampler, vocab, (const char *const *)texts, count, err);
out:
    for (size_t i = 0; i < SAMPLER_BREAKERS_MAX; i++) {
        dw_free(texts[i]);
    }
    return status;
}

/* The list `key` of at most `max` tokens, each handed to `remember`. */
static dw_status load_ring(dw_sampler *sampler, const json_t *saved, const char *key, int32_t max,
                           void (*remember)(dw_sampler *sampler, int32_t token), dw_error *err)
{
    const json_t *list;
    dw_status status = dw__load_list(saved, key, (size_t)max, &list, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        int32_t token;
        status = dw__load_token(sampler, list, i, key, &token, err);
        if (status != DW_OK) {
            return status;
        }
        remember(sampler, token);
    }
    return DW_OK;
}

/* The tokens remembered for the penalties and for DRY; the grammar has its own. */
static dw_status load_history(dw_sampler *sampler, const json_t *saved, dw_error *err)
{
    const dw_sampler_params *params = &sampler->params;
    dw_status status = load_ring(sampler, saved, "recent", params->penalty_tokens,
                                 dw__sampler_remember_recent, err);
    if (status != DW_OK) {
        return status;
    }
    return load_ring(sampler, saved, "dry_recent", params->dry_tokens, dw__sampler_remember_dry,
                     err);
}

static dw_status load_params(dw_sampler_params *params, const json_t *saved, dw_error *err)
{
    dw_status status = load_wide(saved, "seed", &params->seed, err);
    for (size_t i = 0; i < FIELD_COUNT && status == DW_OK; i++) {
        status = load_field(params, &fields[i], saved, err);
    }
    return status;
}

static dw_status load_state(dw_sampler *sampler, const dw_vocab *vocab, const json_t *saved,
                            dw_error *err)
{
    dw_status status = load_wide(saved, "draws", &sampler->draw_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_number(json_object_get(saved, "mirostat_mu"), "mirostat_mu",
                         &sampler->mirostat_mu, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_biases(sampler, saved, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_breakers(sampler, vocab, saved, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__load_grammar(sampler, vocab, saved, err);
    return status == DW_OK ? load_history(sampler, saved, err) : status;
}

dw_status dw_sampler_load(dw_sampler **out, const dw_vocab *vocab, const json_t *saved,
                          dw_error *err)
{
    dw_sampler_params params = {.struct_bytes = sizeof params};
    dw_sampler *sampler = NULL;
    int64_t vocab_count = 0;
    *out = NULL;
    dw_status status =
        dw__load_whole(json_object_get(saved, "vocab_count"), "vocab_count", dw_vocab_count(vocab),
                       dw_vocab_count(vocab), &vocab_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_params(&params, saved, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_sampler_create(&sampler, (uint32_t)vocab_count, &params, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_state(sampler, vocab, saved, err);
    if (status != DW_OK) {
        dw_sampler_destroy(sampler);
        return status;
    }
    *out = sampler;
    return DW_OK;
}

/* ---- forking ---------------------------------------------------------------------------- */

static dw_status fork_dry(dw_sampler *sampler, const dw_sampler *parent, dw_error *err)
{
    if (parent->filters[FILTER_DRY] == NULL) {
        return DW_OK;
    }
    struct llama_sampler *dry = llama_sampler_clone(parent->filters[FILTER_DRY]);
    if (dry == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler's copy");
    }
    llama_sampler_free(sampler->filters[FILTER_DRY]);
    sampler->filters[FILTER_DRY] = dry;
    memcpy(sampler->breakers, parent->breakers, sizeof sampler->breakers);
    sampler->breaker_count = parent->breaker_count;
    sampler->breakers_set = parent->breakers_set;
    memcpy(sampler->dry_recent, parent->dry_recent,
           (size_t)parent->params.dry_tokens * sizeof *sampler->dry_recent);
    sampler->dry_count = parent->dry_count;
    sampler->dry_first = parent->dry_first;
    return DW_OK;
}

static dw_status fork_state(dw_sampler *sampler, const dw_sampler *parent, const dw_vocab *vocab,
                            dw_error *err)
{
    sampler->draw_count = parent->draw_count;
    sampler->mirostat_mu = parent->mirostat_mu;
    dw_status status = dw_sampler_set_biases(sampler, parent->biases, parent->bias_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = fork_dry(sampler, parent, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__sampler_fork_grammar(sampler, parent, vocab, err);
    if (status != DW_OK) {
        return status;
    }
    uint32_t capacity = (uint32_t)parent->params.penalty_tokens;
    for (uint32_t i = 0; i < parent->recent_count; i++) {
        dw__sampler_remember_recent(sampler, parent->recent[(parent->recent_first + i) % capacity]);
    }
    return DW_OK;
}

dw_status dw_sampler_fork(dw_sampler **out, const dw_sampler *parent, const dw_vocab *vocab,
                          dw_error *err)
{
    dw_sampler *sampler = NULL;
    *out = NULL;
    dw_status status = dw_sampler_create(&sampler, parent->vocab_count, &parent->params, err);
    if (status != DW_OK) {
        return status;
    }
    status = fork_state(sampler, parent, vocab, err);
    if (status != DW_OK) {
        dw_sampler_destroy(sampler);
        return status;
    }
    *out = sampler;
    return DW_OK;
}
