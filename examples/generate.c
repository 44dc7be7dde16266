/* A chat answer in C, without a guest: tokens in, the next token out, one at a time.
 *
 *   cc generate.c $(pkg-config --cflags --libs driftwood) -o generate
 *   ./generate MODEL.gguf "What is driftwood?"
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <driftwood.h>
#include <stdio.h>

#define ANSWER_TOKENS_MAX 64

/* The question as the model was trained to read it, as tokens. */
static dw_status read_prompt(const dw_model *model, const char *question, dw_token_room *tokens,
                             dw_error *err)
{
    char text[8192];
    dw_text_room prompt = {.items = text, .capacity = sizeof text};
    dw_chat_message message = {.role = "user", .content = question};
    dw_status status = dw_model_apply_template(model, &message, 1, true, &prompt, err);
    if (status != DW_OK) {
        return status;
    }
    return dw_model_tokenize(model, text, prompt.count, DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE,
                             tokens, err);
}

static dw_status answer(dw_session *session, const dw_model *model, const dw_token_room *prompt,
                        dw_error *err)
{
    int32_t token = 0;
    dw_status status =
        dw_session_forward(session, prompt->items, (uint32_t)prompt->count, 1, NULL, err);
    for (int i = 0; status == DW_OK && i < ANSWER_TOKENS_MAX; i++) {
        char bytes[256];
        dw_text_room text = {.items = bytes, .capacity = sizeof bytes};
        status = dw_session_sample(session, &token, err);
        if (status != DW_OK || dw_model_is_end(model, token)) {
            break;
        }
        status = dw_model_detokenize(model, &token, 1, 0, &text, err);
        if (status == DW_OK) {
            fwrite(bytes, 1, text.count, stdout);
            fflush(stdout);
            status = dw_session_forward(session, &token, 1, 1, NULL, err);
        }
    }
    putchar('\n');
    return status;
}

int main(int argc, char **argv)
{
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_session *session = NULL;
    dw_error error;
    int32_t items[2048];
    dw_token_room prompt = {.items = items, .capacity = sizeof items / sizeof items[0]};
    dw_sampler_options sampler = {
        .struct_bytes = sizeof sampler, .temperature = 0.8f, .top_k = 40, .top_p = 0.95f};
    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL.gguf QUESTION\n");
        return 2;
    }
    dw_status status = dw_engine_create(&engine, NULL, &error);
    if (status == DW_OK) {
        status = dw_model_open(&model, engine, argv[1], &error);
    }
    if (status == DW_OK) {
        status = read_prompt(model, argv[2], &prompt, &error);
    }
    if (status == DW_OK) {
        status = dw_session_create(&session, model, NULL, &error);
    }
    if (status == DW_OK) {
        status = dw_session_set_sampler(session, &sampler, &error);
    }
    if (status == DW_OK) {
        status = answer(session, model, &prompt, &error);
    }
    if (status != DW_OK) {
        fprintf(stderr, "generate: %s\n", error.message);
    }
    dw_session_destroy(session);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return status == DW_OK ? 0 : 1;
}
