/* Self-consistency: N (9) chains of thought at a temperature, together; the last number that each
 * comes to is its vote. */
#include <driftwood_helpers.h>

/* The last whole number of a text; -1: it has none. */
static long number_of(const char *text)
{
    long found = -1;
    while (*text != '\0') {
        if (*text >= '0' && *text <= '9') {
            char *end;
            found = strtol(text, &end, 10);
            text = end;
        } else {
            text++;
        }
    }
    return found;
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t n = dw_setting("N", 9);
    uint32_t room = dw_setting("TOKENS", 40);
    uint32_t count;
    int32_t *prompt =
        dw_turn_of(model, NULL, dw_prompt("What is 2 + 3? Say only the sum."), &count);
    dw_branch *all = dw_aligned(n, sizeof *all);
    long *votes = dw_aligned(n, sizeof *votes);
    int32_t root = dw_context_of(model, prompt, count, room);
    for (uint32_t i = 0; i < n; i++) {
        all[i] = dw_branch_of(dw_fork_of(root), dw_sampler_of(model, 0.7, i + 1), prompt[count - 1],
                              room);
    }
    dw_branches_grow(model, all, n);
    uint32_t most = 0;
    uint32_t silent = 0;
    long winner = -1;
    for (uint32_t i = 0; i < n; i++) {
        votes[i] = number_of(dw_text_of(model, all[i].tokens, all[i].count));
        silent += votes[i] < 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t alike = 0;
        for (uint32_t k = 0; k < n; k++) {
            alike += votes[k] == votes[i];
        }
        if (votes[i] >= 0 && alike > most) {
            most = alike;
            winner = votes[i];
        }
    }
    printf("%ld: %u of %u votes, %u without a number\n", winner, most, n, silent);
    return 0;
}
