/* A decode loop that is told what to do, for bench/bench_guests.c: a message is a letter and a
 * number. No libc. */
#include "driftwood_guest.h"

#define VOCAB_MAX 262144
#define DEPTH_MAX 65536

static DW_ALIGNED float logits[VOCAB_MAX];
static DW_ALIGNED int32_t tokens[DEPTH_MAX];
static int32_t model;
static int32_t context;
static int32_t sampler;

/* A context with `depth` tokens. */
static int32_t prepare(uint32_t depth)
{
    dw_abi_model_info info;
    model = dw_model_open(NULL, 0);
    int32_t status = model < 0 ? model : dw_model_info(model, &info);
    if (status < 0) {
        return status;
    }
    if (info.vocab_count > VOCAB_MAX || depth > DEPTH_MAX) {
        return DW_E_SPACE;
    }
    for (uint32_t i = 0; i < depth; i++) {
        tokens[i] = (int32_t)((i * 7919u + 13u) % info.vocab_count);
    }
    sampler = dw_sampler_create(model, NULL);
    if (sampler < 0) {
        return sampler;
    }
    context = dw_context_create(model, 0);
    return context < 0 ? context : dw_forward(context, tokens, depth, logits);
}

/* Decode greedily behind the first `depth` tokens, one at a time. */
static int32_t decode(uint32_t count, uint32_t depth)
{
    int32_t status = dw_context_trim(context, depth);
    int32_t token = tokens[0];
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        tokens[1] = token;
        status = dw_forward(context, tokens + 1, 1, logits);
        token = status < 0 ? status : dw_greedy(model, logits);
        status = token < 0 ? token : status;
    }
    return status;
}

/* The same tokens from steps that end with a token instead of logits. */
static int32_t decode_choosing(uint32_t count, uint32_t depth)
{
    int32_t status = dw_context_trim(context, depth);
    int32_t token = tokens[0];
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        tokens[1] = token;
        status = token = dw_forward_sample(context, tokens + 1, 1, sampler);
    }
    return status;
}

/* The same tokens, generated ahead: the guest is woken when all are there. */
static int32_t decode_ahead(uint32_t count, uint32_t depth)
{
    static DW_ALIGNED int32_t chosen[DEPTH_MAX];
    dw_generate_request request = {.struct_bytes = sizeof request,
                                   .flags = DW_GENERATE_PAST_END,
                                   .prompt = tokens,
                                   .prompt_count = 1,
                                   .tokens = chosen,
                                   .tokens_max = count};
    int32_t status = count > DEPTH_MAX ? DW_E_SPACE : dw_context_trim(context, depth);
    status = status < 0 ? status : dw_generate_begin(context, sampler, &request);
    return status < 0 ? status : dw_generate_wait(context);
}

/* The same steps without their results: one known token after the other. */
static int32_t step(uint32_t count, uint32_t depth)
{
    int32_t status = dw_context_trim(context, depth);
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        status = dw_forward(context, tokens, 1, NULL);
    }
    return status;
}

/* Ask the device for something `count` times that the benchmark's runner answers by itself. */
static int32_t wait(uint32_t count)
{
    int32_t status = 0;
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        status = dw_context_shift(context, 0, 0);
    }
    return status;
}

DW_ACTOR_RECEIVE
{
    static struct {
        uint32_t what;
        uint32_t number;
        uint32_t depth;
    } message;
    int32_t bytes = dw_input((char *)&message, sizeof message);
    int32_t status = bytes != (int32_t)sizeof message ? DW_E_ARG
                     : message.what == 'p'            ? prepare(message.depth)
                     : message.what == 'd'            ? decode(message.number, message.depth)
                     : message.what == 'c' ? decode_choosing(message.number, message.depth)
                     : message.what == 'a' ? decode_ahead(message.number, message.depth)
                     : message.what == 's' ? step(message.number, message.depth)
                                           : wait(message.number);
    return status < 0 ? status : 0;
}
