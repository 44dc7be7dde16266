/* Best of N: N (8) answers at a temperature, together; the one that the model itself finds the
 * likeliest, token for token, is printed, and the figure. */
#include <driftwood_helpers.h>

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t n = dw_setting("N", 8);
    uint32_t room = dw_setting("TOKENS", 32);
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, NULL, dw_prompt("Name a fruit, and why."), &count);
    dw_branch *all = dw_aligned(n, sizeof *all);
    int32_t root = dw_context_of(model, prompt, count, room);
    for (uint32_t i = 0; i < n; i++) {
        all[i] = dw_branch_of(dw_fork_of(root), dw_sampler_of(model, 0.9, i + 1), prompt[count - 1],
                              room);
    }
    double from = dw_seconds();
    uint32_t tokens = dw_branches_grow(model, all, n);
    double took = dw_seconds() - from;
    double sum = 0.0;
    uint32_t best = 0;
    for (uint32_t i = 0; i < n; i++) {
        all[i].log_probability /= all[i].count > 0 ? all[i].count : 1;
        sum += all[i].log_probability;
        best = all[i].log_probability > all[best].log_probability ? i : best;
    }
    printf("%s\n", dw_text_of(model, all[best].tokens, all[best].count));
    printf("best of %u: log p a token %.3f, on average %.3f; %u tokens, %.1f a second\n", n,
           all[best].log_probability, sum / n, tokens, tokens / took);
    return 0;
}
