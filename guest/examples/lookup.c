/* Prompt-lookup speculation: what followed the last tokens before is likely to follow again. Up to
 * DRAFT (6) such tokens go with the next step; what the model would have chosen itself stays. A
 * draft costs time whether it is taken or not, so that their length follows how they did: one token
 * at first, twice as many behind each that was taken whole; behind one that failed more tokens have
 * to be alike. But for last bits (docs/numerics.md) the text is that of plain decoding. */
#include <driftwood_helpers.h>

#define TOKENS_MAX 2048
#define ALIKE_LEAST 2
#define ALIKE_MOST 5

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

/* How drafts go. */
static uint32_t most;      /* tokens of one */
static uint32_t ahead = 1; /* of the next */
static uint32_t alike = ALIKE_LEAST;

/* How many tokens behind text [count] were found; they stand there. */
static uint32_t look_up(uint32_t count)
{
    const int32_t *last = text + count - alike;
    for (uint32_t at = count > alike && most > 0 ? count - alike : 0; at-- > 0;) {
        if (memcmp(text + at, last, alike * sizeof *text) == 0) {
            uint32_t left = count - at - alike;
            uint32_t found = left < ahead ? left : ahead;
            memmove(text + count, text + at + alike, found * sizeof *text);
            return found;
        }
    }
    return 0;
}

/* Of a draft so many were taken. */
static void learn(uint32_t draft, uint32_t taken)
{
    if (draft == 0) {
        return;
    }
    if (taken == draft) {
        ahead = 2 * ahead < most ? 2 * ahead : most;
        alike = ALIKE_LEAST;
    } else {
        ahead = taken > 1 ? taken : 1;
        alike = taken == 0 && alike < ALIKE_MOST ? alike + 1 : alike;
    }
}

int main(void)
{
    model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 64);
    uint32_t count;
    most = dw_setting("DRAFT", 6);
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
        uint32_t draft = look_up(end);
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
        learn(draft, good - 1);
        end += good;
        dw_must(dw_context_trim(root, end - 1), "trim");
        runs++;
    }
    double took = dw_seconds() - from;
    uint32_t equal = 0;
    while (equal < length && text[count + equal] == plain[equal]) {
        equal++;
    }
    printf("%s\n", dw_text_of(model, plain, length));
    printf("%u tokens in %u runs: %.2f times as fast; %u of %u tokens equal\n", length, runs,
           alone / took * (end - count) / length, equal, length);
    return 0;
}
