/* A sampler's parameters: what is allowed, and what a guest of another header's version gave. */
#include <math.h>
#include <string.h>

#include "sampling/sampler_internal.h"

#define PENALTY_TOKENS_DEFAULT 64
#define PENALTY_TOKENS_MAX 4096
/* Smaller temperatures would turn logits into infinities; 0 says greedy. */
#define TEMPERATURE_MIN 0.001F
#define TEMPERATURE_MAX 100.0F

typedef struct number_rule {
    const char *name;
    float value;
    float min;
    float max;
} number_rule;

static dw_status check_number(const number_rule *rule, dw_error *err)
{
    if (!isfinite(rule->value)) {
        return dw_fail(err, DW_E_NUMERIC, "%s: %f, a number from %g to %g is needed", rule->name,
                       (double)rule->value, (double)rule->min, (double)rule->max);
    }
    if (rule->value < rule->min || rule->value > rule->max) {
        return dw_fail(err, DW_E_RANGE, "%s: %g, from %g to %g is allowed", rule->name,
                       (double)rule->value, (double)rule->min, (double)rule->max);
    }
    return DW_OK;
}

static dw_status check_numbers(const dw_sampler_params *params, dw_error *err)
{
    const number_rule rules[] = {
        {"temperature", params->temperature, 0.0F, TEMPERATURE_MAX},
        {"top_p", params->top_p, 0.0F, 1.0F},
        {"min_p", params->min_p, 0.0F, 1.0F},
        {"repeat_penalty", params->repeat_penalty, 0.0F, 10.0F},
        {"frequency_penalty", params->frequency_penalty, -10.0F, 10.0F},
        {"presence_penalty", params->presence_penalty, -10.0F, 10.0F},
        {"temperature_range", params->temperature_range, 0.0F, TEMPERATURE_MAX},
        {"temperature_exponent", params->temperature_exponent, 0.0F, 10.0F},
        {"typical_p", params->typical_p, 0.0F, 1.0F},
        {"top_n_sigma", params->top_n_sigma, 0.0F, 100.0F},
        {"xtc_probability", params->xtc_probability, 0.0F, 1.0F},
        {"xtc_threshold", params->xtc_threshold, 0.0F, 1.0F},
        {"dry_multiplier", params->dry_multiplier, 0.0F, 100.0F},
        {"dry_base", params->dry_base, 0.0F, 100.0F},
        {"mirostat_tau", params->mirostat_tau, 0.0F, 100.0F},
        {"mirostat_eta", params->mirostat_eta, 0.0F, 1.0F},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        dw_status status = check_number(&rules[i], err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status check_wholes(const dw_sampler_params *params, dw_error *err)
{
    const struct {
        const char *name;
        int32_t value;
        int32_t max;
    } rules[] = {
        {"top_k", params->top_k, INT32_MAX},
        {"penalty_tokens", params->penalty_tokens, PENALTY_TOKENS_MAX},
        {"dry_allowed_length", params->dry_allowed_length, PENALTY_TOKENS_MAX},
        {"dry_tokens", params->dry_tokens, PENALTY_TOKENS_MAX},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].value < 0 || rules[i].value > rules[i].max) {
            return dw_fail(err, DW_E_RANGE, "%s: %d, from 0 to %d is allowed", rules[i].name,
                           rules[i].value, rules[i].max);
        }
    }
    return DW_OK;
}

/* Rules with a hole in them: 0 says off, the smallest numbers above it make no sense. */
dw_status dw__sampler_params_check(const dw_sampler_params *params, dw_error *err)
{
    dw_status status = check_numbers(params, err);
    if (status == DW_OK) {
        status = check_wholes(params, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (params->temperature > 0.0F && params->temperature < TEMPERATURE_MIN) {
        return dw_fail(err, DW_E_RANGE, "temperature: %g, 0 or from %g to %g is allowed",
                       (double)params->temperature, (double)TEMPERATURE_MIN,
                       (double)TEMPERATURE_MAX);
    }
    if (params->temperature > 0.0F &&
        params->temperature - params->temperature_range < TEMPERATURE_MIN) {
        return dw_fail(err, DW_E_RANGE, "temperature_range: %g, from 0 to %g is allowed (%g less)",
                       (double)params->temperature_range,
                       (double)(params->temperature - TEMPERATURE_MIN), (double)TEMPERATURE_MIN);
    }
    if (params->repeat_penalty > 0.0F && params->repeat_penalty < 0.01F) {
        return dw_fail(err, DW_E_RANGE, "repeat_penalty: %g, 0 or from 0.01 to 10 is allowed",
                       (double)params->repeat_penalty);
    }
    if (params->dry_base > 0.0F && params->dry_base < 1.0F) {
        return dw_fail(err, DW_E_RANGE, "dry_base: %g, 0 or from 1 to 100 is allowed",
                       (double)params->dry_base);
    }
    if (params->reserved != 0) {
        return dw_fail(err, DW_E_ARG, "sampler parameters: the reserved field must be 0");
    }
    return DW_OK;
}

/* Guests of earlier headers give fewer bytes, those of later ones more: what is missing is off, and
 * what is unknown here must be. */
dw_status dw_sampler_params_read(dw_sampler_params *to, const void *from, size_t bytes,
                                 dw_error *err)
{
    const unsigned char *source = from;
    size_t known = bytes < sizeof *to ? bytes : sizeof *to;
    memset(to, 0, sizeof *to);
    if (bytes < DW_SAMPLER_PARAMS_BYTES_MIN || bytes > DW_SAMPLER_PARAMS_BYTES_MAX) {
        return dw_fail(err, DW_E_RANGE, "struct_bytes: %zu, from %d to %d is allowed", bytes,
                       DW_SAMPLER_PARAMS_BYTES_MIN, DW_SAMPLER_PARAMS_BYTES_MAX);
    }
    for (size_t i = known; i < bytes; i++) {
        if (source[i] != 0) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "sampler parameters: byte %zu is set, this host knows %zu", i,
                           sizeof *to);
        }
    }
    memcpy(to, source, known);
    return DW_OK;
}

void dw__sampler_params_fill(dw_sampler_params *params)
{
    params->penalty_tokens =
        params->penalty_tokens == 0 ? PENALTY_TOKENS_DEFAULT : params->penalty_tokens;
    params->temperature_exponent =
        params->temperature_exponent == 0.0F ? 1.0F : params->temperature_exponent;
    params->xtc_threshold = params->xtc_threshold == 0.0F ? 0.1F : params->xtc_threshold;
    params->dry_base = params->dry_base == 0.0F ? 1.75F : params->dry_base;
    params->dry_allowed_length = params->dry_allowed_length == 0 ? 2 : params->dry_allowed_length;
    params->dry_tokens = params->dry_tokens == 0 ? PENALTY_TOKENS_MAX : params->dry_tokens;
    params->mirostat_eta = params->mirostat_eta == 0.0F ? 0.1F : params->mirostat_eta;
}
