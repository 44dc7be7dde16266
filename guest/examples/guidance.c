/* Classifier-free guidance: the logits with a system prompt, away from those without by SCALE (a
 * tenth each, 20): two contexts in one run of the device, and the token chosen here. */
#include <driftwood_helpers.h>

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t length = dw_setting("TOKENS", 32);
    float scale = (float)dw_setting("SCALE", 20) / 10.0F;
    const char *system = getenv("DRIFTWOOD_SYSTEM");
    const char *asked = dw_prompt("What is the sun?");
    uint32_t counts[2];
    int32_t *prompts[2];
    prompts[0] =
        dw_turn_of(model, system != NULL ? system : "You answer as a pirate.", asked, &counts[0]);
    prompts[1] = dw_turn_of(model, NULL, asked, &counts[1]);
    float *rows[2];
    int32_t tokens[2];
    dw_forward_step steps[2];
    for (int i = 0; i < 2; i++) {
        rows[i] = dw_aligned(info.vocab_count, sizeof *rows[i]);
        tokens[i] = prompts[i][counts[i] - 1];
        steps[i] = (dw_forward_step){.context = dw_context_of(model, prompts[i], counts[i], length),
                                     .tokens = &tokens[i],
                                     .token_count = 1,
                                     .rows = rows[i],
                                     .row_count = 1};
    }
    dw_text_stream out = {.count = 0};
    uint32_t moved = 0;
    uint32_t made = 0;
    double with = 0.0;
    double without = 0.0;
    for (; made < length; made++) {
        dw_forward_all(steps, 2);
        int32_t usual = dw_must(dw_greedy(model, rows[0]), "greedy");
        float *mixed = rows[1];
        double plain = dw_log_probability(rows[1], info.vocab_count, usual);
        for (uint32_t i = 0; i < info.vocab_count; i++) {
            mixed[i] += scale * (rows[0][i] - mixed[i]);
        }
        int32_t token = dw_must(dw_greedy(model, mixed), "greedy");
        if (dw_must(dw_token_is_end(model, token), "token")) {
            break;
        }
        with += dw_log_probability(rows[0], info.vocab_count, usual);
        without += plain;
        moved += token != usual;
        tokens[0] = tokens[1] = token;
        dw_text_put(&out, model, token);
    }
    printf("\nguidance of %.1f: %u of %u tokens others than without; log p %.2f with the system "
           "prompt, %.2f without\n",
           (double)scale, moved, made, with, without);
    return 0;
}
