/* Prompt-lookup speculation: what followed the last two tokens before is likely to follow again.
 * Up to DRAFT (6) such tokens go with the next step; what the model would have chosen itself
 * stays. But for last bits (docs/numerics.md) the text is that of plain decoding. */
#include <driftwood_helpers.h>

#define TOKENS_MAX 2048

static int32_t text[TOKENS_MAX + 8]; /* the prompt, and what was chosen */
static int32_t plain[TOKENS_MAX];
static float *rows;
static dw_abi_model_info info;
static int32_t model;

/* Rows of text [at, at + count). */
static void step(int32_t context, const int32_t *tokens, uint32_t count)
{
    dw_forward_step one = {.context = context,
                           .tokens = tokens,
                           .token_count = count,
                           .rows = rows,
                           .row_count = count};
    dw_forward_all(&one, 1);
}

/* How many tokens behind text [count] were found; they stand there. */
static uint32_t look_up(uint32_t count, uint32_t most)
{
    for (uint32_t at = count - 2; at-- > 0;) {
        if (text[at] == text[count - 2] && text[at + 1] == text[count - 1]) {
            uint32_t found = count - at - 2 < most ? count - at - 2 : most;
            memmove(text + count, text + at + 2, found * sizeof *text);
            return found;
        }
    }
    return 0;
}

int main(void)
{
    model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 64);
    uint32_t most = dw_setting("DRAFT", 6);
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, NULL,
                                 dw_prompt("Say this four times: the cat sat on the mat "
                                           "and the dog lay by the door."),
                                 &count);
    if (most > 6 || count + length > TOKENS_MAX) {
        dw_die("DRAFT: at most 6; TOKENS: too many"); /* more rows add in another order */
    }
    rows = dw_aligned(7 * (size_t)info.vocab_count, sizeof *rows);
    memcpy(text, prompt, count * sizeof *text);
    int32_t root = dw_context_of(model, prompt, count, length + 8);
    int32_t context = dw_fork_of(root);
    double from = dw_seconds();
    for (uint32_t i = 0; i < length; i++) {
        step(context, i == 0 ? &text[count - 1] : &plain[i - 1], 1);
        plain[i] = dw_must(dw_greedy(model, rows), "greedy");
    }
    double alone = dw_seconds() - from;
    uint32_t end = count;
    uint32_t runs = 0;
    from = dw_seconds();
    while (end < count + length) {
        uint32_t draft = look_up(end, most);
        step(root, text + end - 1, 1 + draft);
        uint32_t good = 0;
        for (int32_t own = -1; good <= draft; good++) {
            own = dw_must(dw_greedy(model, rows + (size_t)good * info.vocab_count), "greedy");
            int same = good < draft && text[end + good] == own;
            text[end + good] = own;
            if (!same) {
                good++;
                break;
            }
        }
        end += good;
        dw_must(dw_context_trim(root, end - 1), "trim");
        runs++;
    }
    double took = dw_seconds() - from;
    uint32_t alike = 0;
    while (alike < length && text[count + alike] == plain[alike]) {
        alike++;
    }
    printf("%s\n", dw_text_of(model, plain, length));
    printf("%u tokens in %u runs: %.2f times as fast; %u of %u tokens equal\n", length, runs,
           alone / took * (end - count) / length, alike, length);
    return 0;
}
