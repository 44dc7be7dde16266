/* The actor of the golden snapshots (tests/golden, tests/unit/test_golden.c), which hold it in its
 * compiled form: it keeps one thing of each kind that a snapshot can hold. The first letter of a
 * message says what to do, a number follows. Without libc; small, for a vocabulary of 512. */
#include "driftwood_guest.h"

#define MESSAGE_MAX 256
#define VOCAB_MAX 512
#define TOKENS_MAX 256

static DW_ALIGNED float logits[VOCAB_MAX];
static DW_ALIGNED int32_t tokens[TOKENS_MAX];
static DW_ALIGNED float left[16];
static DW_ALIGNED float right[16];
static DW_ALIGNED float product[16];
static char message[MESSAGE_MAX];
static int32_t model;
static int32_t context;
static int32_t sampler;
static int32_t graph;
static uint32_t vocab_count;
static uint32_t counter;

static uint32_t number(const char *text, int32_t bytes)
{
    uint32_t value = 0;
    for (int32_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    return value;
}

static uint32_t digest_of(const float *values, uint32_t count)
{
    const uint32_t *words = (const uint32_t *)values;
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < count; i++) {
        hash = (hash ^ words[i]) * 16777619u;
    }
    return hash;
}

/* product = left x right, of small whole numbers, so that every machine computes the same. */
static int32_t make_graph(void)
{
    static const uint32_t ne[4] = {4, 4, 1, 1};
    for (int i = 0; i < 16; i++) {
        left[i] = (float)(i - 5);
        right[i] = (float)((i * 7) % 11);
    }
    graph = dw_graph_create();
    int32_t a = dw_graph_tensor(graph, DW_F32, ne, left);
    int32_t b = dw_graph_tensor(graph, DW_F32, ne, right);
    int32_t c = dw_graph_op(graph, DW_OP_MATMUL, (int32_t[4]){a, b, 0, 0}, NULL);
    int32_t status = dw_graph_output(graph, c, product);
    return status < 0 ? status : dw_graph_build(graph);
}

/* A context that was closed stays closed: its handle's slot is of the second generation. */
static int32_t open_all(void)
{
    dw_abi_model_info info;
    model = dw_model_open(NULL, 0);
    int32_t status = model < 0 ? model : dw_model_info(model, &info);
    if (status < 0) {
        return status;
    }
    vocab_count = info.vocab_count;
    status = dw_context_close(dw_context_create(model, 8));
    context = dw_context_create(model, 0);
    if (vocab_count > VOCAB_MAX || status < 0 || context < 0) {
        return DW_E_STATE;
    }
    return make_graph();
}

static int32_t make_sampler(uint32_t seed)
{
    static const char *const breakers[] = {"\n", ":"};
    static const dw_logit_bias biases[] = {{5, -2.0f}, {77, 1.5f}};
    static const char grammar[] = "root ::= [^\\x00]*";
    dw_sampler_params params = {.temperature = 6.0f,
                                .top_k = 60,
                                .repeat_penalty = 1.1f,
                                .frequency_penalty = 0.1f,
                                .penalty_tokens = 48,
                                .seed = seed,
                                .struct_bytes = sizeof(dw_sampler_params),
                                .xtc_probability = 0.2f,
                                .dry_multiplier = 0.5f};
    sampler = dw_sampler_create(model, &params);
    int32_t status = sampler < 0 ? sampler : dw_sampler_dry_breakers(sampler, model, breakers, 2);
    if (status >= 0) {
        status = dw_sampler_logit_bias(sampler, biases, 2);
    }
    return status < 0 ? status : dw_sampler_grammar(sampler, model, grammar, sizeof grammar - 1);
}

static int32_t fill(uint32_t count)
{
    int32_t length = dw_context_length(context);
    if (count > TOKENS_MAX) {
        return DW_E_LIMIT;
    }
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)((((uint32_t)length + i) * 7919u + 13u) % vocab_count);
    }
    return dw_forward(context, tokens, count, logits);
}

static int32_t decode(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t answer[2];
        answer[1] = digest_of(logits, vocab_count);
        tokens[0] = dw_sample(sampler, logits);
        if (tokens[0] < 0) {
            return tokens[0];
        }
        answer[0] = (uint32_t)tokens[0];
        int32_t status = dw_reply(answer, sizeof answer);
        if (status >= 0) {
            status = dw_forward(context, tokens, 1, logits);
        }
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

static int32_t multiply(uint32_t more)
{
    left[1] += (float)more;
    int32_t status = dw_graph_run(graph);
    return status < 0 ? status : dw_reply(product, sizeof product);
}

DW_ACTOR_RECEIVE
{
    static const char other[] = "00112233445566ff";
    int32_t bytes = dw_input(message, sizeof message);
    uint32_t value = number(message + 1, bytes - 1);
    switch (bytes > 0 ? message[0] : ' ') {
    case 'm':
        return open_all();
    case 's':
        return make_sampler(value);
    case 'n':
        return fill(value);
    case 'g':
        return decode(value);
    case 't':
        return dw_context_trim(context, value);
    case 'r':
        return multiply(value);
    case 'l': {
        int32_t length = dw_context_length(context);
        return dw_reply(&length, sizeof length);
    }
    case 'T': { /* in an hour */
        static const char later[] = "+100";
        return dw_actor_timer(3600000, later, 4);
    }
    case 'D': /* what stays to be carried out */
        return dw_actor_send(other, 16, message, (uint32_t)bytes);
    case '+':
        counter += value;
        return dw_reply(&counter, sizeof counter);
    default:
        return DW_E_ARG;
    }
}
