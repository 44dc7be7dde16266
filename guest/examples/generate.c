/* Continues or answers a prompt. `driftwood run` without a guest's name runs this one.
 * Its settings come from the environment: DRIFTWOOD_PROMPT, DRIFTWOOD_SYSTEM, DRIFTWOOD_RAW,
 * DRIFTWOOD_MAX_TOKENS, those of the sampler, the grammar and the stop strings as in text.h. */
#include "text.h"

#define MAX_TOKENS_DEFAULT 128

/* A setting that is lost is told. */
static void tell_system_unused(const char *system, const char *why)
{
    if (system != NULL && system[0] != '\0') {
        fprintf(stderr, "note: the system prompt (--system) has no effect: %s\n", why);
    }
}

/* The prompt's tokens: as a turn of a chat where the model has a template, else as it stands. */
static int32_t *prompt_tokens(int32_t model, const dw_abi_model_info *info, const char *prompt,
                              uint32_t *count)
{
    const char *system = getenv("DRIFTWOOD_SYSTEM");
    int raw = whole_from("DRIFTWOOD_RAW", 0, 1) != 0;
    if (!raw && info->has_chat_template) {
        dw_message messages[2];
        uint32_t message_count = 0;
        if (system != NULL && system[0] != '\0') {
            messages[message_count++] = (dw_message){"system", system};
        }
        messages[message_count++] = (dw_message){"user", prompt};
        char *text = templated(model, messages, message_count, 1);
        if (text != NULL) {
            /* Templates write their own opening; one more BOS is only put before plain text. */
            uint32_t flags = DW_TOKENIZE_PARSE | (info->adds_bos ? DW_TOKENIZE_SPECIAL : 0);
            return tokens_of(model, text, strlen(text), flags, count);
        }
        fprintf(stderr, "the model's chat template is not known: the prompt is continued as it "
                        "is\n");
    }
    tell_system_unused(system, raw                        ? "the prompt is raw"
                               : !info->has_chat_template ? "the model has no chat template"
                                                          : "its chat template is not known");
    return tokens_of(model, prompt, strlen(prompt), DW_TOKENIZE_SPECIAL, count);
}

int main(void)
{
    const char *prompt = getenv("DRIFTWOOD_PROMPT");
    uint64_t tokens_max = whole_from("DRIFTWOOD_MAX_TOKENS", MAX_TOKENS_DEFAULT, INT32_MAX);
    dw_abi_model_info info;
    int32_t model = must(dw_model_open(NULL, 0), "model");
    must(dw_model_info(model, &info), "model");
    int32_t sampler = sampler_from_env(model);

    uint32_t count;
    int32_t *tokens = prompt_tokens(model, &info, prompt != NULL ? prompt : "", &count);
    if (count == 0) {
        fprintf(stderr, "the prompt is empty: give one with --prompt\n");
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        must(dw_sampler_accept(sampler, tokens[i]), "sampling");
    }
    begin_grammar(sampler, model);
    int32_t context = must(dw_context_create(model, 0), "context");
    int32_t capacity = dw_context_capacity(context);
    if (tokens_max == 0) {
        must(dw_forward(context, tokens, count, NULL), "prompt");
    }
    text_stream stream = stream_from_env();
    for (uint64_t i = 0; i < tokens_max; i++) {
        tokens[0] = i == 0 ? must(dw_forward_sample(context, tokens, count, sampler), "prompt")
                           : must(dw_forward_sample(context, tokens, 1, sampler), "forward");
        if (dw_token_is_end(model, tokens[0]) == 1) {
            break;
        }
        if (stream_token(&stream, model, tokens)) {
            break;
        }
        if (dw_context_length(context) >= capacity) {
            break;
        }
    }
    stream_flush(&stream);
    putchar('\n');
    return 0;
}
