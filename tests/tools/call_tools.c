/* call_tools MODEL REQUEST COUNT [TEMPLATE]: lets a model call the tools of a request, a JSON file,
 * COUNT times with the seeds 1, 2 and so on, and prints each answer's message, one a line. What the
 * deltas say, joined, is held against the message. By driftwood.h alone. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood.h"

#define TOKENS_MAX 512
#define PROMPT_TOKENS_MAX 4096

static _Noreturn void die(const char *what, const dw_error *err)
{
    (void)fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static void join(json_t *to, const char *name, const json_t *delta)
{
    const json_t *more = json_object_get(delta, name);
    const json_t *old = json_object_get(to, name);
    if (more != NULL) {
        (void)json_object_set_new(to, name,
                                  json_sprintf("%s%s", old != NULL ? json_string_value(old) : "",
                                               json_string_value(more)));
    }
}

static void join_delta(json_t *joined, const char *text)
{
    json_t *delta = text != NULL ? json_loads(text, 0, NULL) : json_object();
    json_t *calls = json_object_get(delta, "tool_calls");
    json_t *call;
    size_t i;
    join(joined, "content", delta);
    join(joined, "reasoning_content", delta);
    json_array_foreach (calls, i, call) {
        (void)json_object_del(call, "index");
        if (json_object_get(joined, "tool_calls") == NULL) {
            (void)json_object_set_new(joined, "tool_calls", json_array());
        }
        (void)json_array_append(json_object_get(joined, "tool_calls"), call);
    }
    json_decref(delta);
}

/* The model's own text goes on until it ends; each piece to the reader. */
static void answer(dw_session *session, dw_model *model, dw_chat_answer *reader,
                   const dw_token_room *prompt)
{
    json_t *joined = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    const char *delta;
    const char *message;
    int32_t token = 0;
    dw_error err;
    for (uint32_t i = 0; i < TOKENS_MAX; i++) {
        char piece[1024];
        dw_text_room room = {.items = piece, .capacity = sizeof piece};
        const float *logits;
        if (dw_session_forward(session, i == 0 ? prompt->items : &token,
                               i == 0 ? (uint32_t)prompt->count : 1, 1, &logits, &err) != DW_OK ||
            dw_session_sample(session, &token, &err) != DW_OK) {
            die("step", &err);
        }
        if (dw_model_is_end(model, token)) {
            break;
        }
        if (dw_model_detokenize(model, &token, 1, DW_DETOKENIZE_SPECIAL, &room, &err) != DW_OK ||
            dw_chat_answer_feed(reader, piece, room.count, &delta, &err) != DW_OK) {
            die("answer", &err);
        }
        join_delta(joined, delta);
    }
    if (dw_chat_answer_finish(reader, &delta, &message, &err) != DW_OK) {
        die("answer", &err);
    }
    join_delta(joined, delta);
    json_t *whole = json_loads(message, 0, NULL);
    (void)puts(message);
    (void)json_object_del(whole, "note");
    if (!json_equal(joined, whole)) {
        (void)fprintf(stderr, "deltas joined are another message\n");
        exit(1);
    }
    json_decref(whole);
    json_decref(joined);
}

static char *read_file(const char *path, size_t *bytes)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    *bytes = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    if (file == NULL || *bytes == 0) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    (void)fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    static int32_t tokens[PROMPT_TOKENS_MAX];
    dw_token_room prompt_tokens = {.items = tokens, .capacity = PROMPT_TOKENS_MAX};
    dw_engine_options engine_options = {.struct_bytes = sizeof engine_options, .device = "CPU"};
    dw_model_options model_options = {.struct_bytes = sizeof model_options,
                                      .chat_template = argc > 4 ? argv[4] : NULL};
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_chat_prompt *prompt = NULL;
    size_t bytes;
    dw_error err;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: call_tools MODEL REQUEST COUNT [TEMPLATE]\n");
        return 2;
    }
    const char *request = read_file(argv[2], &bytes);
    if (dw_engine_create(&engine, &engine_options, &err) != DW_OK ||
        dw_model_open_with(&model, engine, argv[1], &model_options, &err) != DW_OK ||
        dw_chat_render(&prompt, model, request, bytes, 0, &err) != DW_OK ||
        dw_chat_prompt_tokens(prompt, 0, &prompt_tokens, &err) != DW_OK) {
        die("prompt", &err);
    }
    long count = strtol(argv[3], NULL, 10);
    for (long i = 0; i < count; i++) {
        dw_session *session = NULL;
        dw_chat_answer *reader = NULL;
        dw_session_options options = {.struct_bytes = sizeof options,
                                      .tokens_max = PROMPT_TOKENS_MAX + TOKENS_MAX};
        dw_sampler_options sampler = {.struct_bytes = sizeof sampler,
                                      .temperature = 1.0F,
                                      .top_p = 0.95F,
                                      .seed = (uint64_t)i + 1};
        if (dw_session_create(&session, model, &options, &err) != DW_OK ||
            dw_session_set_sampler(session, &sampler, &err) != DW_OK ||
            dw_session_hold_to_chat(session, request, bytes, NULL, &err) != DW_OK ||
            dw_chat_answer_create(&reader, model, request, bytes, &err) != DW_OK) {
            die("session", &err);
        }
        answer(session, model, reader, &prompt_tokens);
        dw_chat_answer_destroy(reader);
        dw_session_destroy(session);
    }
    dw_chat_prompt_destroy(prompt);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return 0;
}
