/* Samplers for guests: made, told what to avoid and what grammar to follow, asked for tokens. */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/apart.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"
#include "guest_abi/guest_strings.h"
#include "schema/json_grammar.h"

#define BREAKERS_MAX 16
#define BREAKER_BYTES_MAX 4096

/* Structs that lie in guest memory are read and written where they lie. */
static_assert(sizeof(dw_sampler_params) == 96, "the layout that guests were compiled with");
static_assert(offsetof(dw_sampler_params, struct_bytes) == 40, "the same in every version");
static_assert(offsetof(dw_sampler_params, temperature_range) == DW_SAMPLER_PARAMS_BYTES_MIN,
              "what the first guests give");
static_assert(sizeof(dw_logit_bias) == 8, "the layout that guests were compiled with");

/* struct_bytes says how much of it there is, and stands where it always stood. */
static dw_status guest_params(dw_instance *instance, uint32_t pointer, dw_sampler_params *params,
                              dw_error *err)
{
    void *place;
    uint32_t bytes;
    dw_status status = dw_instance_range(instance, "params", pointer, DW_SAMPLER_PARAMS_BYTES_MIN,
                                         1, sizeof(uint64_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(&bytes, (char *)place + offsetof(dw_sampler_params, struct_bytes), sizeof bytes);
    bytes = bytes == 0 ? DW_SAMPLER_PARAMS_BYTES_MIN : bytes;
    status =
        dw_instance_range(instance, "params", pointer, bytes, 1, sizeof(uint64_t), &place, err);
    return status == DW_OK ? dw_sampler_params_read(params, place, bytes, err) : status;
}

static int32_t sampler_create(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    dw_sampler_params params = {0}; /* greedy */
    dw_status status = DW_OK;
    if (args[1].i32 != 0) {
        status = guest_params(instance, dw__u32(&args[1]), &params, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_sampler *sampler = NULL;
    dw_guest_sampler *object = NULL;
    status = dw_sampler_create(&sampler, dw_vocab_count(dw_model_vocab(model)), &params, err);
    if (status == DW_OK) {
        dw_sampler_limit_steps(sampler, dw_instance_limits(instance)->grammar_steps);
        status = dw_guest_sampler_create(&object, sampler, model, err);
    }
    return status != DW_OK ? (int32_t)status
                           : dw_instance_add_handle(instance, DW_HANDLE_SAMPLER, object);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_create)

/* sampler, seed */
static int32_t sampler_fork(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    if (dw__sampler_of(instance, args[0].i32) == NULL) {
        return err->code;
    }
    const dw_guest_sampler *parent =
        dw_instance_get_object(instance, DW_HANDLE_SAMPLER, args[0].i32);
    dw_sampler *copy = NULL;
    dw_guest_sampler *object = NULL;
    dw_status status = dw_sampler_fork(&copy, parent->sampler, dw_model_vocab(parent->model), err);
    if (status == DW_OK) {
        dw_sampler_limit_steps(copy, dw_instance_limits(instance)->grammar_steps);
        if (args[1].i64 != 0) {
            dw_sampler_reseed(copy, (uint64_t)args[1].i64);
        }
        status = dw_guest_sampler_create(&object, copy, parent->model, err);
    }
    return status != DW_OK ? (int32_t)status
                           : dw_instance_add_handle(instance, DW_HANDLE_SAMPLER, object);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_fork)

static int32_t sampler_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return dw__sampler_of(instance, args[0].i32) == NULL
               ? (int32_t)dw_instance_error(instance)->code
               : dw_instance_close_handle(instance, DW_HANDLE_SAMPLER, args[0].i32);
}
DW__GUEST_CALL(i32, sampler_close)

/* sampler, biases, count */
static int32_t sampler_logit_bias(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    if (sampler == NULL) {
        return err->code;
    }
    void *biases;
    dw_status status = dw_instance_range(instance, "biases", dw__u32(&args[1]), dw__u32(&args[2]),
                                         sizeof(dw_logit_bias), sizeof(int32_t), &biases, err);
    return status != DW_OK
               ? (int32_t)status
               : (int32_t)dw_sampler_set_biases(sampler, biases, dw__u32(&args[2]), err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_logit_bias)

/* sampler, model, pointers to strings, count */
static int32_t sampler_dry_breakers(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    const dw_model *model = sampler != NULL ? dw__model_of(instance, args[1].i32) : NULL;
    const char *texts[BREAKERS_MAX];
    size_t count = dw__u32(&args[3]);
    void *pointers;
    if (model == NULL) {
        return err->code;
    }
    if (count > BREAKERS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "breakers: %zu, limit %d", count, BREAKERS_MAX);
    }
    if (dw_vocab_count(dw_model_vocab(model)) != dw_sampler_vocab_count(sampler)) {
        return dw_fail(err, DW_E_ARG, "model: not the one of this sampler");
    }
    dw_status status = dw_instance_range(instance, "breakers", dw__u32(&args[2]), count,
                                         sizeof(uint32_t), sizeof(uint32_t), &pointers, err);
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        char what[40];
        (void)snprintf(what, sizeof what, "breakers[%zu]", i);
        status = dw__guest_string(instance, what, ((const uint32_t *)pointers)[i],
                                  BREAKER_BYTES_MAX, &texts[i], err);
    }
    if (status == DW_OK) {
        status = dw_sampler_set_breakers(sampler, dw_model_vocab(model), texts, count, err);
    }
    return status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_dry_breakers)

typedef struct schema_call {
    dw_sampler *sampler;
    const dw_vocab *vocab;
    const char *schema; /* [bytes] */
    size_t bytes;
    dw_stop *stop;
} schema_call;

static dw_status set_schema(void *arg, dw_error *err)
{
    const schema_call *call = arg;
    char *grammar = NULL;
    dw_status status =
        dw_json_grammar_make_for(&grammar, call->schema, call->bytes, call->stop, err);
    if (status == DW_OK) {
        status = dw_sampler_set_grammar(call->sampler, call->vocab, grammar, strlen(grammar), err);
    }
    dw_free(grammar);
    return status;
}

dw_status dw__hold_to(dw_instance *instance, dw_guest_sampler *sampler, const char *text,
                      size_t bytes, bool is_schema, dw_error *err)
{
    const dw_vocab *vocab = dw_model_vocab(sampler->model);
    dw_stop *stop = dw_instance_stop(instance);
    schema_call call = {sampler->sampler, vocab, text, bytes, stop};
    dw_status status =
        dw__check_bytes(is_schema ? "schema" : "grammar", bytes,
                        dw_instance_limits(instance)->grammar_bytes, "grammar_bytes", err);
    if (status != DW_OK) {
        return status;
    }
    return is_schema && bytes > 0
               ? dw_apart_run(stop, set_schema, &call, err)
               : dw_sampler_set_grammar(sampler->sampler, vocab, text, bytes, err);
}

/* sampler, model, text, bytes: a grammar, or a JSON Schema that becomes one. */
static int32_t set_grammar(dw_instance *instance, const wasmtime_val_raw_t *args, bool is_schema)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    const dw_model *model = sampler != NULL ? dw__model_of(instance, args[1].i32) : NULL;
    size_t bytes = dw__u32(&args[3]);
    if (model == NULL) {
        return err->code;
    }
    if (dw_vocab_count(dw_model_vocab(model)) != dw_sampler_vocab_count(sampler)) {
        return dw_fail(err, DW_E_ARG, "model: not the one of this sampler");
    }
    void *text;
    dw_status status = dw_instance_range(instance, is_schema ? "schema" : "grammar",
                                         dw__u32(&args[2]), bytes, 1, 1, &text, err);
    return status == DW_OK
               ? dw__hold_to(instance,
                             dw_instance_get_object(instance, DW_HANDLE_SAMPLER, args[0].i32), text,
                             bytes, is_schema, err)
               : status;
}

static int32_t sampler_grammar(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return set_grammar(instance, args, false);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_grammar)

static int32_t sampler_json_schema(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return set_grammar(instance, args, true);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_json_schema)

static int32_t sample(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    if (sampler == NULL) {
        return err->code;
    }
    void *logits;
    int32_t token = 0;
    dw_status status = dw__logits_range(instance, dw__u32(&args[1]),
                                        dw_sampler_vocab_count(sampler), &logits, err);
    if (status == DW_OK) {
        status = dw_sampler_choose(sampler, logits, &token, err);
    }
    if (status == DW_OK) {
        status = dw_sampler_remember(sampler, token, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    return token;
}
DW__GUEST_CALL_GROWING(i32, sample)

static int32_t sampler_accept(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    return sampler == NULL ? (int32_t)err->code
                           : (int32_t)dw_sampler_remember(sampler, args[1].i32, err);
}
DW__GUEST_CALL_GROWING(i32, sampler_accept)

/* sampler, logits */
static int32_t sampler_mask(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    void *logits;
    if (sampler == NULL) {
        return err->code;
    }
    dw_status status = dw__logits_range(instance, dw__u32(&args[1]),
                                        dw_sampler_vocab_count(sampler), &logits, err);
    return status != DW_OK ? (int32_t)status : (int32_t)dw_sampler_mask(sampler, logits, err);
}
DW__GUEST_CALL_GROWING(i32, sampler_mask)

static int32_t greedy(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    uint32_t count = dw_vocab_count(dw_model_vocab(model));
    void *logits;
    int32_t token = 0;
    dw_status status = dw__logits_range(instance, dw__u32(&args[1]), count, &logits, err);
    if (status == DW_OK) {
        status = dw_greedy_choose(logits, count, &token, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    return token;
}
DW__GUEST_CALL(i32, greedy)

const dw_host_import dw_sampler_imports[] = {
    {"sampler_create", "ii:i", call_sampler_create},
    {"sampler_fork", "iI:i", call_sampler_fork},
    {"sampler_close", "i:i", call_sampler_close},
    {"sampler_logit_bias", "iii:i", call_sampler_logit_bias},
    {"sampler_dry_breakers", "iiii:i", call_sampler_dry_breakers},
    {"sampler_grammar", "iiii:i", call_sampler_grammar},
    {"sampler_json_schema", "iiii:i", call_sampler_json_schema},
    {"sampler_mask", "ii:i", call_sampler_mask},
    {"sample", "ii:i", call_sample},
    {"sampler_accept", "ii:i", call_sampler_accept},
    {"greedy", "ii:i", call_greedy},
    {NULL, NULL, NULL},
};
