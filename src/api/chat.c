/* Chats for programs without a guest: requests as the model reads them, and its answers. */
#include <time.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/public_struct.h"
#include "chat/chat.h"
#include "model/model.h"

struct dw_chat_prompt {
    dw_model *model;
    dw_chat_text text;
};

struct dw_chat_answer {
    dw_model *model;
    const dw_chat_format *format;
    dw_chat_reader *reader;
    char *delta; /* given out last */
    char *message;
};

/* ---- prompts ------------------------------------------------------------------------------- */

dw_status dw_chat_render(dw_chat_prompt **out, dw_model *model, const char *request, size_t bytes,
                         int64_t seconds, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    dw_chat_prompt *prompt = dw_alloc(1, sizeof *prompt);
    if (prompt == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a prompt");
    }
    dw_chat_request asked = {.json = request, .bytes = bytes};
    status = dw_chats_render(dw_model_chats(model), asked, seconds, &prompt->text, err);
    if (status != DW_OK) {
        dw_free(prompt);
        return status;
    }
    prompt->model = dw_model_ref(model);
    *out = prompt;
    return DW_OK;
}

void dw_chat_prompt_destroy(dw_chat_prompt *prompt)
{
    if (prompt == NULL) {
        return;
    }
    dw_chat_text_release(&prompt->text);
    dw_model_unref(prompt->model);
    dw_free(prompt);
}

const char *dw_chat_prompt_text(const dw_chat_prompt *prompt, size_t *bytes)
{
    *bytes = prompt->text.bytes;
    return prompt->text.text;
}

bool dw_chat_prompt_piece(const dw_chat_prompt *prompt, size_t index, size_t *bytes,
                          bool *is_content)
{
    if (index >= prompt->text.piece_count) {
        return false;
    }
    *bytes = prompt->text.pieces[index].bytes;
    *is_content = prompt->text.pieces[index].is_content;
    return true;
}

dw_status dw_chat_prompt_tokens(const dw_chat_prompt *prompt, size_t skip, dw_token_room *tokens,
                                dw_error *err)
{
    dw_token_list list = {.tokens = tokens->items, .capacity = tokens->capacity};
    dw_status status =
        dw_chats_tokenize(dw_model_chats(prompt->model), &prompt->text, skip, &list, err);
    tokens->count = list.count;
    return status;
}

/* ---- answers ------------------------------------------------------------------------------- */

dw_status dw_chat_answer_create(dw_chat_answer **out, dw_model *model, const char *request,
                                size_t bytes, dw_error *err)
{
    *out = NULL;
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    dw_chat_answer *answer = dw_alloc(1, sizeof *answer);
    if (answer == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an answer");
    }
    answer->model = dw_model_ref(model);
    dw_chat_request asked = {.json = request, .bytes = bytes};
    status = dw_chats_format(dw_model_chats(model), asked, &answer->format, err);
    if (status == DW_OK) {
        status = dw_chat_reader_create(&answer->reader, answer->format, err);
    }
    if (status == DW_OK) {
        dw_chat_reader_set_request(answer->reader, asked);
    }
    if (status != DW_OK) {
        dw_chat_answer_destroy(answer);
        return status;
    }
    *out = answer;
    return DW_OK;
}

void dw_chat_answer_destroy(dw_chat_answer *answer)
{
    if (answer == NULL) {
        return;
    }
    dw_chat_reader_destroy(answer->reader);
    dw_chats_release(dw_model_chats(answer->model), answer->format);
    dw_model_unref(answer->model);
    dw_free(answer->delta);
    dw_free(answer->message);
    dw_free(answer);
}

dw_status dw_chat_answer_feed(dw_chat_answer *answer, const char *text, size_t bytes,
                              const char **delta, dw_error *err)
{
    dw_free(answer->delta);
    dw_status status = dw_chat_reader_feed(answer->reader, text, bytes, &answer->delta, err);
    *delta = answer->delta;
    return status;
}

dw_status dw_chat_answer_finish(dw_chat_answer *answer, const char **delta, const char **message,
                                dw_error *err)
{
    dw_free(answer->delta);
    dw_free(answer->message);
    dw_status status = dw_chat_reader_finish(answer->reader, &answer->delta, &answer->message, err);
    *delta = answer->delta;
    *message = answer->message;
    return status;
}

dw_status dw_chat_answer_get_info(const dw_chat_answer *answer, dw_chat_info *info)
{
    dw_chat_format_info of = dw_chat_format_info_of(answer->format);
    const dw_chat_info own = {
        .name = of.name,
        .thinking_begin = of.thinking_begin,
        .thinking_end = of.thinking_end,
        .stops = of.stops,
        .stop_count = of.stop_count,
        .generation_prompt = of.generation_prompt,
        .grammar = of.grammar,
        .grammar_begins_later = of.grammar_begins_later,
        .note = of.note,
    };
    return dw_struct_fill(info, &own, sizeof own, "dw_chat_info");
}

const char *dw_model_chat_template(const dw_model *model, bool with_tools)
{
    return dw_chats_template(dw_model_chats(model), with_tools);
}
