/* Answers the prompt, and prints the answer as it comes.
 *   driftwood run --prompt "Name three things that float." generate.wasm */
#include "driftwood_helpers.h"

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t count;
    int32_t *tokens =
        dw_turn_of(model, NULL, dw_prompt("Name three things that float."), &count);
    int32_t context = dw_must(dw_context_create(model, 0), "context");
    int32_t sampler = dw_sampler_of(model, 0.0, 0);
    uint32_t tokens_max = dw_setting("DRIFTWOOD_MAX_TOKENS", 64);
    dw_text_stream stream = {.count = 0};
    for (uint32_t said = 0; said < tokens_max; said++) {
        tokens[0] = dw_must(dw_forward_sample(context, tokens, count, sampler), "forward");
        count = 1;
        if (dw_token_is_end(model, tokens[0]) == 1) {
            break;
        }
        dw_text_put(&stream, model, tokens[0]);
    }
    putchar('\n');
    return 0;
}
