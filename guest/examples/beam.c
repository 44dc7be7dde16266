/* Beam search: WIDTH (4) beams, TOKENS (16) long, all in one run of the device a token, by the
 * likeliest of each. The sum of log p of the best is that of its tokens one by one, and of one
 * pass over the whole text but for what the order of additions makes of quantised weights
 * (docs/numerics.md). */
#include <driftwood_helpers.h>

#define WIDTH_MAX 16

typedef struct beam {
    int32_t context;
    double sum;
    int32_t tokens[256]; /* the prompt's last, then what was chosen */
} beam;

static beam beams[2][WIDTH_MAX];
static int32_t top[WIDTH_MAX][WIDTH_MAX];
static float chances[WIDTH_MAX][WIDTH_MAX];
static dw_forward_step steps[WIDTH_MAX];

/* The likeliest continuations of all beams [count] become the next [width]. -> how many */
static uint32_t choose(const beam *from, uint32_t count, beam *to, uint32_t width, uint32_t at)
{
    for (uint32_t made = 0; made < width; made++) {
        uint32_t best = 0;
        uint32_t rank = 0;
        double sum = -INFINITY;
        for (uint32_t b = 0; b < count; b++) {
            for (uint32_t k = 0; k < width; k++) {
                if (from[b].sum + (double)chances[b][k] > sum) {
                    sum = from[b].sum + (double)chances[b][k];
                    best = b;
                    rank = k;
                }
            }
        }
        to[made] = from[best];
        to[made].sum = sum;
        to[made].tokens[at] = top[best][rank];
        to[made].context = dw_fork_of(from[best].context);
        chances[best][rank] = -INFINITY; /* taken */
    }
    for (uint32_t b = 0; b < count; b++) {
        dw_must(dw_context_close(from[b].context), "context_close");
    }
    return width;
}

/* -> the best beam */
static const beam *search(int32_t root, int32_t last, uint32_t width, uint32_t length)
{
    uint32_t count = 1;
    beams[0][0] = (beam){.context = dw_fork_of(root), .tokens = {last}};
    for (uint32_t i = 0; i < length; i++) {
        beam *now = beams[i % 2];
        for (uint32_t b = 0; b < count; b++) {
            steps[b] = (dw_forward_step){.context = now[b].context,
                                         .tokens = &now[b].tokens[i],
                                         .token_count = 1,
                                         .top_count = width,
                                         .top_tokens = top[b],
                                         .top_log_probabilities = chances[b]};
        }
        dw_forward_all(steps, count);
        count = choose(now, count, beams[(i + 1) % 2], width, i + 1);
    }
    for (uint32_t b = 1; b < count; b++) {
        dw_must(dw_context_close(beams[length % 2][b].context), "context_close");
    }
    dw_must(dw_context_close(beams[length % 2][0].context), "context_close");
    return &beams[length % 2][0]; /* they stand in order */
}

/* The sum of log p of tokens [1, length] behind those before, `most` at a time. */
static double pass_over(int32_t root, const int32_t *tokens, uint32_t length, uint32_t most,
                        uint32_t vocab)
{
    float *rows = dw_aligned((size_t)most * vocab, sizeof *rows);
    int32_t context = dw_fork_of(root);
    double sum = 0.0;
    for (uint32_t at = 0; at < length; at += most) {
        uint32_t count = length - at < most ? length - at : most;
        steps[0] = (dw_forward_step){.context = context,
                                     .tokens = tokens + at,
                                     .token_count = count,
                                     .rows = rows,
                                     .row_count = count};
        dw_forward_all(steps, 1);
        for (uint32_t i = 0; i < count; i++) {
            sum += dw_log_probability(rows + (size_t)i * vocab, vocab, tokens[at + i + 1]);
        }
    }
    dw_must(dw_context_close(context), "context_close");
    free(rows);
    return sum;
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t width = dw_setting("WIDTH", 4);
    uint32_t length = dw_setting("TOKENS", 16);
    uint32_t count;
    if (width < 1 || width > 7 || length < 1 || length > 255) {
        dw_die("WIDTH: 1 to 7, TOKENS: 1 to 255"); /* twice as many contexts, for a moment */
    }
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Tell me of the sea."), &count);
    int32_t root = dw_context_of(model, prompt, count, length);
    double greedy = search(root, prompt[count - 1], 1, length)->sum;
    const beam *best = search(root, prompt[count - 1], width, length);
    double whole = pass_over(root, best->tokens, length, length, info.vocab_count);
    double one = pass_over(root, best->tokens, length, 1, info.vocab_count);
    printf("%s\n", dw_text_of(model, best->tokens + 1, length));
    printf("beam of %u: log p %.4f, token by token %.4f, by the whole %.4f, greedy %.4f\n", width,
           best->sum, one, whole, greedy);
    return 0;
}
