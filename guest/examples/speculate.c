/* Draft-model speculation: the model DRAFT (granted under that name; else the first one itself)
 * proposes 5 tokens, the large one looks at them in one step and keeps those that it would have
 * chosen. But for last bits the text is that of plain decoding. */
#include <driftwood_helpers.h>

#define AHEAD 5

static dw_abi_model_info info;
static float *rows;

/* Rows of tokens [count] -> the likeliest behind each. */
static void likeliest(int32_t model, int32_t context, const int32_t *tokens, uint32_t count,
                      int32_t *found)
{
    dw_forward_step step = {.context = context,
                            .tokens = tokens,
                            .token_count = count,
                            .rows = rows,
                            .row_count = count};
    dw_forward_all(&step, 1);
    for (uint32_t i = 0; i < count; i++) {
        found[i] = dw_must(dw_greedy(model, rows + (size_t)i * info.vocab_count), "greedy");
    }
}

int main(void)
{
    int32_t model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 48);
    const char *name = getenv("DRAFT");
    int32_t draft =
        name != NULL ? dw_must(dw_model_open(name, (uint32_t)strlen(name)), "draft") : model;
    dw_abi_model_info small;
    dw_must(dw_model_info(draft, &small), "draft");
    if (small.vocab_count != info.vocab_count) {
        dw_die("DRAFT: another vocabulary");
    }
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Why is the sky blue?"), &count);
    int32_t large = dw_context_of(model, prompt, count, length + AHEAD + 1);
    int32_t plain = dw_fork_of(large);
    int32_t ahead = dw_context_of(draft, prompt, count, length + 2 * AHEAD + 2);
    int32_t *text = dw_aligned(count + length + 2 * AHEAD, sizeof *text);
    rows = dw_aligned((AHEAD + 1) * (size_t)info.vocab_count, sizeof *rows);
    memcpy(text, prompt, count * sizeof *text);
    uint32_t end = count;
    uint32_t runs = 0;
    uint32_t taken = 0;
    while (end < count + length) {
        int32_t own[AHEAD + 1];
        uint32_t behind = (uint32_t)dw_must(dw_context_length(ahead), "length");
        likeliest(draft, ahead, text + behind, end - behind, own);
        text[end] = own[end - behind - 1];
        for (uint32_t i = 1; i < AHEAD; i++) {
            likeliest(draft, ahead, text + end + i - 1, 1, own);
            text[end + i] = own[0];
        }
        likeliest(model, large, text + end - 1, AHEAD + 1, own);
        uint32_t good = 0;
        while (good < AHEAD && text[end + good] == own[good]) {
            good++;
        }
        taken += good;
        text[end + good] = own[good]; /* the large one's own */
        end += good + 1;
        runs++;
        dw_must(dw_context_trim(large, end - 1), "trim");
        if ((uint32_t)dw_must(dw_context_length(ahead), "length") > end - 1) {
            dw_must(dw_context_trim(ahead, end - 1), "trim");
        }
    }
    uint32_t alike = 0;
    for (uint32_t i = 0; i < length; i++) {
        int32_t next;
        likeliest(model, plain, text + count + i - 1, 1, &next);
        alike += next == text[count + i];
    }
    printf("%s\n", dw_text_of(model, text + count, length));
    printf("%u tokens in %u runs of the large model, %.0f of 100 drafts taken; %u of %u tokens "
           "equal\n",
           end - count, runs, 100.0 * taken / (runs * AHEAD), alike, length);
    return 0;
}
