/* A greedy decode loop, for bench/bench_guest_loop.c and tests: the host calls `prepare` once, then
 * `rewind` and `decode` in turn, or `rewind_to_choose` and `decode_choosing`, whose steps end with
 * a token instead of logits. No libc. */
#include "driftwood_guest.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define VOCAB_MAX 262144
#define PROMPT_MAX 512
#define DECODE_TOKENS 64

static DW_ALIGNED float logits[VOCAB_MAX];
static DW_ALIGNED int32_t prompt[PROMPT_MAX];
static DW_ALIGNED int32_t token[1];
static int32_t decoded[DECODE_TOKENS];
static int32_t model;
static int32_t context;
static int32_t sampler;
static int32_t prompt_count;

/* Tokens in the prompt, or a negative status. */
EXPORT("prepare") int32_t prepare(void)
{
    static const char text[] =
        "The Mole had been working very hard all the morning, spring-cleaning his little home. "
        "First with brooms, then with dusters; then on ladders and steps and chairs, with a brush "
        "and a pail of whitewash; till he had dust in his throat and eyes";
    model = dw_model_open(NULL, 0);
    dw_abi_model_info info;
    int32_t status = model < 0 ? model : dw_model_info(model, &info);
    if (status < 0) {
        return status;
    }
    if (info.vocab_count > VOCAB_MAX) {
        return DW_E_SPACE;
    }
    prompt_count =
        dw_tokenize(model, text, sizeof text - 1, prompt, PROMPT_MAX, DW_TOKENIZE_SPECIAL);
    context = prompt_count < 0 ? prompt_count : dw_context_create(model, PROMPT_MAX);
    if (context < 0) {
        return context;
    }
    sampler = dw_sampler_create(model, NULL);
    if (sampler < 0) {
        return sampler;
    }
    status = dw_forward(context, prompt, (uint32_t)prompt_count, logits);
    return status < 0 ? status : prompt_count;
}

/* Back to where `prepare` left the context, with the logits of the prompt's last token. */
EXPORT("rewind") int32_t rewind_context(void)
{
    int32_t status = dw_context_trim(context, (uint32_t)prompt_count - 1);
    token[0] = prompt[prompt_count - 1];
    return status < 0 ? status : dw_forward(context, token, 1, logits);
}

/* Decode 64 tokens greedily; how many, or a negative status. */
EXPORT("decode") int32_t decode(void)
{
    for (int32_t i = 0; i < DECODE_TOKENS; i++) {
        int32_t chosen = dw_greedy(model, logits);
        if (chosen < 0) {
            return chosen;
        }
        decoded[i] = token[0] = chosen;
        int32_t status = dw_forward(context, token, 1, logits);
        if (status < 0) {
            return status;
        }
    }
    return DECODE_TOKENS;
}

/* Back to before the prompt's last token, which the first step of `decode_choosing` takes. */
EXPORT("rewind_to_choose") int32_t rewind_to_choose(void)
{
    token[0] = prompt[prompt_count - 1];
    return dw_context_trim(context, (uint32_t)prompt_count - 1);
}

/* The tokens of `decode`; how many, or a negative status. */
EXPORT("decode_choosing") int32_t decode_choosing(void)
{
    for (int32_t i = 0; i < DECODE_TOKENS; i++) {
        int32_t chosen = dw_forward_sample(context, token, 1, sampler);
        if (chosen < 0) {
            return chosen;
        }
        decoded[i] = token[0] = chosen;
    }
    return DECODE_TOKENS;
}

/* A number that tells the decoded tokens apart from others (FNV-1a over them). */
EXPORT("digest") int32_t digest(void)
{
    uint32_t hash = 2166136261u;
    for (int32_t i = 0; i < DECODE_TOKENS; i++) {
        hash = (hash ^ (uint32_t)decoded[i]) * 16777619u;
    }
    return (int32_t)(hash & 0x7fffffff);
}
