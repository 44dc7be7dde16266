/* Continues or answers a prompt. `driftwood run` without a guest's name runs this one.
 * Its settings come from the environment: DRIFTWOOD_PROMPT, DRIFTWOOD_SYSTEM, DRIFTWOOD_RAW,
 * DRIFTWOOD_MAX_TOKENS, those of chats as in chat_json.h, those of the sampler, the grammar, the
 * stop strings and DRIFTWOOD_PAST_END as in text.h. */
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
    int raw = dw_setting_max("DRIFTWOOD_RAW", 0, 1) != 0;
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
        dw_must(dw_sampler_chat(sampler, model, request->bytes, (uint32_t)request->count), "tools");
    } else {
        begin_grammar(sampler, model);
    }
}

static dw_generate_request speech; /* the host writes to it as it goes on */
static uint32_t said;              /* of its tokens */

/* As many tokens as are asked for, and as the context takes behind the prompt. */
static void begin_speech(int32_t context, int32_t sampler, const int32_t *prompt, uint32_t count,
                         uint64_t tokens_max)
{
    uint32_t capacity = (uint32_t)dw_must(dw_context_capacity(context), "context");
    uint32_t room = count <= capacity ? capacity - count + 1 : 1;
    speech.prompt = prompt;
    speech.prompt_count = count;
    speech.tokens_max = tokens_max < room ? (uint32_t)tokens_max : room;
    speech.tokens = dw_aligned(speech.tokens_max, sizeof *speech.tokens);
    dw_must(dw_generate_begin(context, sampler, &speech), "prompt");
}

/* What has come since; the device goes on meanwhile. */
static void show_speech(int32_t model, text_stream *stream, answer_reader *reader)
{
    for (uint32_t there = speech.token_count; said < there; said++) {
        const int32_t *token = &speech.tokens[said];
        if (dw_token_is_end(model, *token) == 1) {
            continue; /* the last, where it ends there */
        }
        if (reader != NULL) {
            answer_token(reader, stream, *token);
        } else {
            stream_token(stream, model, token);
        }
    }
}

int main(void)
{
    const char *prompt = getenv("DRIFTWOOD_PROMPT");
    uint64_t tokens_max = dw_setting_max("DRIFTWOOD_MAX_TOKENS", MAX_TOKENS_DEFAULT, INT32_MAX);
    dw_abi_model_info info;
    int32_t model = dw_must(dw_model_open(NULL, 0), "model");
    dw_must(dw_model_info(model, &info), "model");
    int32_t sampler = sampler_from_env(model);

    uint32_t count;
    prompt = prompt != NULL ? prompt : "";
    json_text request = request_for(&info, prompt);
    int32_t *tokens = request.count > 0 ? request_tokens(model, &request, 0, &count)
                                        : dw_tokens_of(model, prompt, DW_TOKENIZE_SPECIAL, &count);
    if (count == 0) {
        fprintf(stderr, "the prompt is empty: give one with --prompt\n");
        return 1;
    }
    show_prompt(model, tokens, count);
    for (uint32_t i = 0; i < count; i++) {
        dw_must(dw_sampler_accept(sampler, tokens[i]), "sampling");
    }
    begin_holding(sampler, model, &request);
    int32_t context = dw_must(dw_context_create(model, 0), "context");
    text_stream stream = stream_from_env();
    answer_reader reader;
    int reads = request.count > 0 && answer_begin(&reader, model, &request);
    if (tokens_max == 0) {
        dw_must(dw_forward(context, tokens, count, NULL), "prompt");
    } else {
        speech = generation_of(&stream, reads);
        begin_speech(context, sampler, tokens, count, tokens_max);
        while (speech.end == DW_GENERATE_GOES_ON) {
            dw_must(dw_generate_wait(context), said == 0 ? "prompt" : "forward");
            show_speech(model, &stream, reads ? &reader : NULL);
        }
    }
    stream_flush(&stream);
    if (reads) {
        free(answer_end(&reader));
    }
    putchar('\n');
    return 0;
}
