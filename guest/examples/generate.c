/* Continues or answers a prompt. `driftwood run` without a guest's name runs this one.
 * Its settings come from the environment: DRIFTWOOD_PROMPT, DRIFTWOOD_SYSTEM, DRIFTWOOD_RAW,
 * DRIFTWOOD_MAX_TOKENS, those of chats as in chat_json.h, those of the sampler, the grammar and the
 * stop strings as in text.h. */
#include "chat_json.h"

#define MAX_TOKENS_DEFAULT 128

/* A setting that is lost is told. -> whether it was */
static int tell_unused(const char *variable, const char *option, const char *why)
{
    const char *value = getenv(variable);
    int lost = value != NULL && value[0] != '\0';
    if (lost) {
        fprintf(stderr, "note: %s has no effect: %s\n", option, why);
    }
    return lost;
}

/* The prompt as a chat's request; no bytes: it is continued as it stands. */
static json_text request_for(const dw_abi_model_info *info, const char *prompt)
{
    const char *system = getenv("DRIFTWOOD_SYSTEM");
    json_text request = {.count = 0};
    int raw = whole_from("DRIFTWOOD_RAW", 0, 1) != 0;
    if (raw || !info->has_chat_template) {
        const char *why = raw ? "the prompt is raw"
                              : "the model has no chat template; --chat-template chooses one";
        int told = tell_unused("DRIFTWOOD_SYSTEM", "the system prompt (--system)", why);
        told = tell_unused("DRIFTWOOD_TOOLS", "--tools", why) || told;
        told = tell_unused("DRIFTWOOD_REASONING", "--reasoning", why) || told;
        if (!raw && !told) {
            fprintf(stderr, "note: the model has no chat template, so the prompt is continued as "
                            "it is; --chat-template chooses one\n");
        }
        return request;
    }
    json_text messages = {.count = 0};
    if (system != NULL && system[0] != '\0') {
        json_text message = message_of("system", system, strlen(system));
        json_add(&messages, message.bytes);
        json_add(&messages, ",");
        free(message.bytes);
    }
    json_text message = message_of("user", prompt, strlen(prompt));
    json_add(&messages, message.bytes);
    request = request_of(messages.bytes, 0);
    free(message.bytes);
    free(messages.bytes);
    return request;
}

/* Hold what is said to the tools' schemas, or to the grammar that was asked for. */
static void begin_holding(int32_t sampler, int32_t model, const json_text *request)
{
    const char *tools = getenv("DRIFTWOOD_TOOLS");
    if (request->count > 0 && tools != NULL && tools[0] != '\0') {
        must(dw_sampler_chat(sampler, model, request->bytes, (uint32_t)request->count), "tools");
    } else {
        begin_grammar(sampler, model);
    }
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
    prompt = prompt != NULL ? prompt : "";
    json_text request = request_for(&info, prompt);
    int32_t *tokens = request.count > 0
                          ? request_tokens(model, &request, 0, &count)
                          : tokens_of(model, prompt, strlen(prompt), DW_TOKENIZE_SPECIAL, &count);
    if (count == 0) {
        fprintf(stderr, "the prompt is empty: give one with --prompt\n");
        return 1;
    }
    show_prompt(model, tokens, count);
    for (uint32_t i = 0; i < count; i++) {
        must(dw_sampler_accept(sampler, tokens[i]), "sampling");
    }
    begin_holding(sampler, model, &request);
    int32_t context = must(dw_context_create(model, 0), "context");
    int32_t capacity = dw_context_capacity(context);
    if (tokens_max == 0) {
        must(dw_forward(context, tokens, count, NULL), "prompt");
    }
    text_stream stream = stream_from_env();
    answer_reader reader;
    int reads = request.count > 0 && answer_begin(&reader, model, &request);
    for (uint64_t i = 0; i < tokens_max; i++) {
        tokens[0] = i == 0 ? must(dw_forward_sample(context, tokens, count, sampler), "prompt")
                           : must(dw_forward_sample(context, tokens, 1, sampler), "forward");
        if (dw_token_is_end(model, tokens[0]) == 1) {
            break;
        }
        if (reads ? answer_token(&reader, &stream, tokens[0])
                  : stream_token(&stream, model, tokens)) {
            break;
        }
        if (dw_context_length(context) >= capacity) {
            break;
        }
    }
    stream_flush(&stream);
    if (reads) {
        free(answer_end(&reader));
    }
    putchar('\n');
    return 0;
}
