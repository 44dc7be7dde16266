/* The model says what it wants to know, held to a schema; a tool of the host's answers, and the model
 * tells what that said.
 *   driftwood run --tool 'weather=echo sunny, 21 degrees' tool.wasm */
#include "driftwood_helpers.h"

static const char schema[] = "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\","
                             "\"maxLength\":20}},\"required\":[\"city\"]}";

/* The model's answer to a message, in memory of its own. */
static char *answer(int32_t model, const char *message, const char *held_to, uint32_t tokens_max)
{
    uint32_t count, said = 0;
    int32_t *tokens = dw_turn_of(model, NULL, message, &count);
    int32_t *all = dw_aligned(tokens_max, sizeof *all);
    int32_t context = dw_must(dw_context_create(model, 0), "context");
    int32_t sampler = dw_sampler_of(model, 0.0, 0);
    if (held_to != NULL) {
        dw_must(dw_sampler_json_schema(sampler, model, held_to, (uint32_t)strlen(held_to)),
                "schema");
    }
    while (said < tokens_max) {
        tokens[0] = dw_must(dw_forward_sample(context, tokens, count, sampler), "forward");
        count = 1;
        if (dw_token_is_end(model, tokens[0]) == 1) {
            break;
        }
        all[said++] = tokens[0];
    }
    char *text = dw_text_of(model, all, said);
    dw_must(dw_context_close(context), "context");
    dw_must(dw_sampler_close(sampler), "sampler");
    free(tokens);
    free(all);
    return text;
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    char *arguments =
        answer(model, "Which city is asked about: What is the weather in Oslo?", schema, 48);
    printf("weather %s\n", arguments);
    static char result[4096];
    int32_t bytes = dw_must(dw_call("weather", 7, arguments, (uint32_t)strlen(arguments), result,
                                    sizeof result - 1),
                            "tool");
    result[bytes] = '\0';
    printf("-> %s", result);
    char message[sizeof result + 128];
    snprintf(message, sizeof message, "The weather in Oslo is: %s\nTell me in a sentence.", result);
    printf("%s\n", answer(model, message, NULL, 48));
    return 0;
}
