/* Attention sink: a text that goes on beyond its context. The first tokens (SINK, 4) stay; of the
 * others the oldest go where it is full, and the rest moves forward without being computed. */
#include <driftwood_helpers.h>

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t room = dw_setting("CONTEXT", 96);
    uint32_t length = dw_setting("TOKENS", 256);
    uint32_t sink = dw_setting("SINK", 4);
    uint32_t shifts = 0;
    uint32_t count;
    int32_t *prompt = dw_tokens_of(model, dw_prompt("The sea was calm that morning, and"),
                                   DW_TOKENIZE_SPECIAL, &count);
    if (count >= room || sink + 2 >= room) {
        dw_die("CONTEXT: less than the prompt, or SINK");
    }
    int32_t context = dw_must(dw_context_create(model, room), "context");
    int32_t sampler = dw_sampler_of(model, 0.8, 7);
    uint32_t held = 0;
    dw_must(dw_context_window(context, sink, room - sink), "window");
    double sums[2] = {0.0, 0.0}; /* of the first half, and of the second */
    dw_forward_step step = {.context = context,
                            .flags = DW_FORWARD_LOG_PROBABILITY,
                            .tokens = prompt,
                            .token_count = count,
                            .sampler = sampler};
    int32_t token;
    for (uint32_t i = 0; i < length; i++) {
        dw_forward_all(&step, 1);
        shifts += (uint32_t)step.status != held + step.token_count;
        held = (uint32_t)step.status;
        sums[i >= length / 2] += (double)step.log_probability;
        token = step.token;
        step.tokens = &token;
        step.token_count = 1;
    }
    printf("%u tokens in a context of %u: %u shifts; log p a token %.3f before, %.3f behind\n",
           length, room, shifts, sums[0] / (length / 2), sums[1] / (length - length / 2));
    return 0;
}
