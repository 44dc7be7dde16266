/* A watermark: by the token before, half of the vocabulary is green, and green logits get BIAS (a
 * tenth each, 30) more. Who knows the rule counts green tokens: with the mark far more than half.
 * (Kirchenbauer and others, 2023.) */
#include <driftwood_helpers.h>

static int is_green(int32_t before, int32_t token)
{
    uint64_t x = (uint64_t)(uint32_t)before << 32 | (uint32_t)token;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u; /* SplitMix64's */
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (x >> 63) != 0;
}

/* Deviations from what chance would give. */
static double detect(int32_t before, const int32_t *tokens, uint32_t count)
{
    uint32_t green = 0;
    for (uint32_t i = 0; i < count; i++) {
        green += (uint32_t)is_green(i > 0 ? tokens[i - 1] : before, tokens[i]);
    }
    return count > 0 ? (2.0 * green - count) / sqrt(count) : 0.0;
}

static dw_abi_model_info info;

/* -> tokens [*made] */
static int32_t *generate(int32_t model, int32_t context, int32_t last, float bias, uint32_t length,
                         uint32_t *made)
{
    float *row = dw_aligned(info.vocab_count, sizeof *row);
    int32_t *tokens = dw_aligned(length, sizeof *tokens);
    int32_t sampler = dw_sampler_of(model, 0.9, 11);
    *made = 0;
    while (*made < length) {
        dw_must(dw_forward(context, &last, 1, row), "forward");
        for (uint32_t i = 0; i < info.vocab_count; i++) {
            row[i] += is_green(last, (int32_t)i) ? bias : 0.0F;
        }
        last = dw_must(dw_sample(sampler, row), "sample");
        if (dw_must(dw_token_is_end(model, last), "token")) {
            break;
        }
        tokens[(*made)++] = last;
    }
    return tokens;
}

int main(void)
{
    int32_t model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 64);
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Tell me a long story of a ship."), &count);
    int32_t root = dw_context_of(model, prompt, count, length);
    int32_t last = prompt[count - 1];
    float bias = (float)dw_setting("BIAS", 30) / 10.0F;
    uint32_t marked_count;
    uint32_t plain_count;
    int32_t *marked = generate(model, dw_fork_of(root), last, bias, length, &marked_count);
    int32_t *plain = generate(model, root, last, 0.0F, length, &plain_count);
    printf("%s\n", dw_text_of(model, marked, marked_count));
    printf("watermark: %.2f deviations in %u tokens with it, %.2f in %u without\n",
           detect(last, marked, marked_count), marked_count, detect(last, plain, plain_count),
           plain_count);
    return 0;
}
