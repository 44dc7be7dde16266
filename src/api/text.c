/* A model's vocabulary and chat template, for programs without a guest. */
#include "base/alloc.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "model/model.h"
#include "text/vocab.h"

dw_status dw_model_get_vocab_info(const dw_model *model, dw_vocab_info *info, dw_error *err)
{
    const dw_vocab *vocab = dw_model_vocab(model);
    dw_status status = dw_struct_check(info, "dw_vocab_info", err);
    if (status == DW_OK) {
        status = dw_vocab_wait(vocab, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw_vocab_info own = {
        .token_count = dw_vocab_count(vocab),
        .bos_token = dw_vocab_bos(vocab),
        .eos_token = dw_vocab_eos(vocab),
        .eot_token = dw_vocab_eot(vocab),
        .newline_token = dw_vocab_newline(vocab),
        .adds_bos = dw_vocab_adds_bos(vocab),
        .chat_template = dw_vocab_chat_template(vocab),
    };
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_model_tokenize(const dw_model *model, const char *text, size_t bytes, uint32_t flags,
                            dw_token_room *tokens, dw_error *err)
{
    return dw_vocab_tokenize(dw_model_vocab(model), text, bytes, tokens->items, tokens->capacity,
                             flags, &tokens->count, err);
}

dw_status dw_model_detokenize(const dw_model *model, const int32_t *tokens, size_t count,
                              uint32_t flags, dw_text_room *text, dw_error *err)
{
    return dw_vocab_detokenize(dw_model_vocab(model), tokens, count, text->items, text->capacity,
                               flags, &text->count, NULL, err);
}

dw_status dw_model_apply_template(const dw_model *model, const dw_chat_message *messages,
                                  size_t count, bool open_answer, dw_text_room *text, dw_error *err)
{
    if (count > DW_CHAT_MESSAGES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%zu messages, limit %d", count, DW_CHAT_MESSAGES_MAX);
    }
    const char **texts = dw_alloc(2 * count, sizeof *texts);
    if (texts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu messages", count);
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = messages[i].role;
        texts[count + i] = messages[i].content;
    }
    const dw_chat_pairs pairs = {
        .roles = texts, .contents = texts + count, .count = count, .open_answer = open_answer};
    dw_chat_room room = {.text = text->items, .capacity = text->capacity};
    int64_t seconds = (int64_t)(dw_os_wall_ms() / 1000);
    dw_status status = dw_chats_render_pairs(dw_model_chats(model), &pairs, seconds, &room, err);
    text->count = room.bytes;
    dw_free(texts);
    return status;
}

bool dw_model_is_end(const dw_model *model, int32_t token)
{
    return dw_vocab_is_end(dw_model_vocab(model), token);
}
