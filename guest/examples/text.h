/* What the guests that generate text share: a sampler and its grammar from the environment, text
 * that streams in whole UTF-8 characters. */
#ifndef GUEST_EXAMPLES_TEXT_H
#define GUEST_EXAMPLES_TEXT_H

#include <driftwood_helpers.h>

static double number_from(const char *name, double fallback)
{
    const char *text = getenv(name);
    if (text == NULL || text[0] == '\0') {
        return fallback;
    }
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        fprintf(stderr, "%s: '%s' is not a number\n", name, text);
        exit(1);
    }
    return value;
}

static dw_sampler_params sampler_params_from_env(void)
{
    return (dw_sampler_params){
        .temperature = (float)number_from("DRIFTWOOD_TEMP", 0.8),
        .top_k = (int32_t)dw_setting_max("DRIFTWOOD_TOP_K", 40, INT32_MAX),
        .top_p = (float)number_from("DRIFTWOOD_TOP_P", 0.95),
        .min_p = (float)number_from("DRIFTWOOD_MIN_P", 0.05),
        .repeat_penalty = (float)number_from("DRIFTWOOD_REPEAT_PENALTY", 1.0),
        .seed = dw_setting_max("DRIFTWOOD_SEED", dw_clock_ns(), UINT64_MAX),
        .frequency_penalty = (float)number_from("DRIFTWOOD_FREQUENCY_PENALTY", 0.0),
        .presence_penalty = (float)number_from("DRIFTWOOD_PRESENCE_PENALTY", 0.0),
        .penalty_tokens = (int32_t)dw_setting_max("DRIFTWOOD_REPEAT_LAST_N", 64, 4096),
        .struct_bytes = sizeof(dw_sampler_params),
        .temperature_range = (float)number_from("DRIFTWOOD_DYNATEMP_RANGE", 0.0),
        .temperature_exponent = (float)number_from("DRIFTWOOD_DYNATEMP_EXP", 1.0),
        .typical_p = (float)number_from("DRIFTWOOD_TYPICAL_P", 1.0),
        .top_n_sigma = (float)number_from("DRIFTWOOD_TOP_N_SIGMA", 0.0),
        .xtc_probability = (float)number_from("DRIFTWOOD_XTC_PROBABILITY", 0.0),
        .xtc_threshold = (float)number_from("DRIFTWOOD_XTC_THRESHOLD", 0.1),
        .dry_multiplier = (float)number_from("DRIFTWOOD_DRY_MULTIPLIER", 0.0),
        .dry_base = (float)number_from("DRIFTWOOD_DRY_BASE", 1.75),
        .dry_allowed_length = (int32_t)dw_setting_max("DRIFTWOOD_DRY_ALLOWED_LENGTH", 2, 4096),
        .dry_tokens = (int32_t)dw_setting_max("DRIFTWOOD_DRY_PENALTY_LAST_N", 0, 4096),
        .mirostat_tau = (float)number_from("DRIFTWOOD_MIROSTAT_TAU", 0.0),
        .mirostat_eta = (float)number_from("DRIFTWOOD_MIROSTAT_ETA", 0.1),
    };
}

/* DRIFTWOOD_LOGIT_BIAS: TOKEN=BIAS, several separated by commas. */
static void set_biases(int32_t sampler)
{
    dw_logit_bias biases[1024];
    uint32_t count = 0;
    const char *text = getenv("DRIFTWOOD_LOGIT_BIAS");
    while (text != NULL && *text != '\0' && count < 1024) {
        char *end;
        long token = strtol(text, &end, 10);
        float bias = 0.0F;
        const char *number = end + 1;
        if (end != text && *end == '=') {
            bias = strtof(number, &end);
        }
        if (end <= number || (*end != '\0' && *end != ',')) {
            fprintf(stderr, "logit bias: '%s' is not TOKEN=BIAS\n", text);
            exit(1);
        }
        biases[count++] = (dw_logit_bias){token > INT32_MAX ? -1 : (int32_t)token, bias};
        text = *end == ',' ? end + 1 : end;
    }
    dw_must(dw_sampler_logit_bias(sampler, biases, count), "sampling");
}

static int32_t sampler_from_env(int32_t model)
{
    static const char *const breakers[] = {"\n", ":", "\"", "*"}; /* llama.cpp's */
    dw_sampler_params params = sampler_params_from_env();
    int32_t sampler = dw_must(dw_sampler_create(model, &params), "sampling");
    set_biases(sampler);
    if (params.dry_multiplier > 0.0F) {
        const char *own = getenv("DRIFTWOOD_DRY_SEQUENCE_BREAKER");
        const char *const *list = own != NULL ? &own : breakers;
        uint32_t count = own == NULL ? 4 : strcmp(own, "none") == 0 ? 0 : 1;
        dw_must(dw_sampler_dry_breakers(sampler, model, list, count), "sampling");
    }
    return sampler;
}

/* What is said from here on keeps to DRIFTWOOD_GRAMMAR, or to DRIFTWOOD_JSON_SCHEMA. */
static void begin_grammar(int32_t sampler, int32_t model)
{
    const char *text = getenv("DRIFTWOOD_GRAMMAR");
    const char *schema = getenv("DRIFTWOOD_JSON_SCHEMA");
    if (text != NULL && schema != NULL) {
        fprintf(stderr, "DRIFTWOOD_GRAMMAR beside DRIFTWOOD_JSON_SCHEMA: one of the two is "
                        "allowed\n");
        exit(1);
    }
    if (text != NULL) {
        dw_must(dw_sampler_grammar(sampler, model, text, (uint32_t)strlen(text)), "sampling");
    } else if (schema != NULL) {
        dw_must(dw_sampler_json_schema(sampler, model, schema, (uint32_t)strlen(schema)),
                "sampling");
    }
}

/* Bytes of a character that has begun but not ended. */
#define STOPS_MAX 16
#define STOP_BYTES_MAX 255

typedef struct text_stream {
    char held[2048]; /* [held_count]: what may be half a character or the start of a stop string */
    size_t held_count;
    size_t written; /* bytes given out so far */
    const char *stops[STOPS_MAX];
    size_t stop_count;
} text_stream;

/* Stop strings come as DRIFTWOOD_STOP_0, DRIFTWOOD_STOP_1 and so on. */
static text_stream stream_from_env(void)
{
    text_stream stream = {.held_count = 0};
    while (stream.stop_count < STOPS_MAX) {
        char name[32];
        snprintf(name, sizeof name, "DRIFTWOOD_STOP_%zu", stream.stop_count);
        const char *stop = getenv(name);
        if (stop == NULL || stop[0] == '\0') {
            break;
        }
        if (strlen(stop) > STOP_BYTES_MAX) {
            fprintf(stderr, "%s: more than %d bytes\n", name, STOP_BYTES_MAX);
            exit(1);
        }
        stream.stops[stream.stop_count++] = stop;
    }
    return stream;
}

/* -> 0: nobody reads what is written. Of an answer that was cancelled the rest goes nowhere (EINTR):
 * that ends with the generation, and is no fault of the next answer's. */
static int stdout_flush(void)
{
    int good = fflush(stdout) == 0 && !ferror(stdout);
    int cancelled = !good && errno == EINTR;
    clearerr(stdout);
    return good || cancelled;
}

/* Give out the first `count` bytes held, less what is half a character. */
static void stream_write(text_stream *stream, size_t count)
{
    count -= dw_text_unfinished(stream->held, count);
    fwrite(stream->held, 1, count, stdout);
    if (!stdout_flush()) {
        exit(1); /* nobody would read the rest; the host says why */
    }
    stream->written += count;
    stream->held_count -= count;
    memmove(stream->held, stream->held + count, stream->held_count);
}

/* The text has ended: what was held back is no start of a stop string after all. */
static void stream_flush(text_stream *stream)
{
    stream_write(stream, stream->held_count);
    stream->held_count = 0;
}

/* Where the first stop string begins in what is held, or, if none does, where the start of one may
 * begin. `found` tells which. */
static size_t stream_stop(const text_stream *stream, int *found)
{
    *found = 0;
    for (size_t at = 0; at < stream->held_count; at++) {
        for (size_t i = 0; i < stream->stop_count; i++) {
            size_t bytes = strlen(stream->stops[i]);
            size_t left = stream->held_count - at;
            if (left >= bytes && memcmp(stream->held + at, stream->stops[i], bytes) == 0) {
                *found = 1;
                return at;
            }
        }
    }
    for (size_t at = 0; at < stream->held_count; at++) {
        for (size_t i = 0; i < stream->stop_count; i++) {
            size_t left = stream->held_count - at;
            if (left < strlen(stream->stops[i]) &&
                memcmp(stream->held + at, stream->stops[i], left) == 0) {
                return at;
            }
        }
    }
    return stream->held_count;
}

/* 1: a stop string has appeared, and the text ends before it. */
static int stream_token(text_stream *stream, int32_t model, const int32_t *token)
{
    int found;
    char *place = stream->held + stream->held_count;
    uint32_t room = (uint32_t)(sizeof stream->held - stream->held_count);
    stream->held_count +=
        (size_t)dw_must(dw_detokenize(model, token, 1, place, room, 0), "detokenize");
    size_t count = stream_stop(stream, &found);
    stream_write(stream, count);
    stream->held_count = found ? 0 : stream->held_count;
    return found;
}

/* What is generated ahead: told of token by token, to the stream's stop strings. `special`: these
 * are looked for among special tokens too. With DRIFTWOOD_PAST_END=1 it goes on behind tokens that
 * end an answer, to its maximum. The caller sets the prompt and where tokens go. */
static dw_generate_request generation_of(const text_stream *stream, int special)
{
    static dw_stop_string stops[STOPS_MAX];
    int past_end = dw_setting_max("DRIFTWOOD_PAST_END", 0, 1) != 0;
    for (size_t i = 0; i < stream->stop_count; i++) {
        stops[i] = (dw_stop_string){stream->stops[i], (uint32_t)strlen(stream->stops[i])};
    }
    return (dw_generate_request){.struct_bytes = sizeof(dw_generate_request),
                                 .flags = (special ? DW_GENERATE_SPECIAL : 0) |
                                          (past_end ? DW_GENERATE_PAST_END : 0),
                                 .wake_tokens = 1,
                                 .stop_strings = stops,
                                 .stop_string_count = (uint32_t)stream->stop_count};
}

#endif
