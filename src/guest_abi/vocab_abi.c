/* Text and tokens for guests: the vocabulary and the chat template of a model. Each function checks
 * handles, counts, ranges and overlap in this order, then acts. */
#include "base/alloc.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_strings.h"
#include "wasm/repeatable.h"

/* model, text, text_bytes, tokens, capacity, flags */
static int32_t tokenize(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    size_t text_bytes = dw__u32(&args[2]);
    size_t capacity = dw__u32(&args[4]);
    void *text;
    void *tokens;
    dw_status status =
        dw_instance_range(instance, "text", dw__u32(&args[1]), text_bytes, 1, 1, &text, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "tokens", dw__u32(&args[3]), capacity, sizeof(int32_t),
                                   sizeof(int32_t), &tokens, err);
    }
    if (status == DW_OK) {
        status = dw__check_bytes("text", text_bytes, dw_instance_limits(instance)->text_bytes,
                                 "text_bytes", err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (dw__overlaps(text, text_bytes, tokens, capacity * sizeof(int32_t))) {
        return dw_fail(err, DW_E_OVERLAP, "tokens: [%u..] overlaps the text at %u",
                       dw__u32(&args[3]), dw__u32(&args[1]));
    }
    const dw_text_piece piece = {.text = text, .bytes = text_bytes};
    dw_token_list list = {
        .tokens = tokens, .capacity = capacity, .stop = dw_instance_stop(instance)};
    status =
        dw_vocab_tokenize_pieces(dw_model_vocab(model), &piece, 1, dw__u32(&args[5]), &list, err);
    size_t count = list.count;
    if (status == DW_E_SPACE && capacity > 0 && count <= INT32_MAX) {
        *(int32_t *)tokens = (int32_t)count;
    }
    return status != DW_OK ? (int32_t)status : (int32_t)count;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, tokenize)

/* model, tokens, count, text, capacity, flags */
static int32_t detokenize(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    size_t count = dw__u32(&args[2]);
    size_t capacity = dw__u32(&args[4]);
    void *tokens;
    void *text;
    dw_status status = dw_instance_range(instance, "tokens", dw__u32(&args[1]), count,
                                         sizeof(int32_t), sizeof(int32_t), &tokens, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "text", dw__u32(&args[3]), capacity, 1, 1, &text, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (dw__overlaps(tokens, count * sizeof(int32_t), text, capacity)) {
        return dw_fail(err, DW_E_OVERLAP, "text: [%u..] overlaps the tokens at %u",
                       dw__u32(&args[3]), dw__u32(&args[1]));
    }
    size_t text_bytes = 0;
    status = dw_vocab_detokenize(dw_model_vocab(model), tokens, count, text, capacity,
                                 dw__u32(&args[5]), &text_bytes, dw_instance_stop(instance), err);
    if (status == DW_OK && text_bytes > INT32_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "text: %zu bytes, limit %d", text_bytes, INT32_MAX);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)text_bytes;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, detokenize)

static int32_t token_is_end(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return dw_instance_error(instance)->code;
    }
    return dw_vocab_is_end(dw_model_vocab(model), args[1].i32);
}
DW__GUEST_CALL(i32, token_is_end)

/* model, messages, count, open_answer, text, capacity */
static int32_t chat_template(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = dw__model_of(instance, args[0].i32);
    size_t count = dw__u32(&args[2]);
    size_t capacity = dw__u32(&args[5]);
    void *pointers;
    void *text;
    if (model == NULL) {
        return err->code;
    }
    if (count > DW_CHAT_MESSAGES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu, limit %d", count, DW_CHAT_MESSAGES_MAX);
    }
    if (args[3].i32 != 0 && args[3].i32 != 1) {
        return dw_fail(err, DW_E_ARG, "open_answer: %d, 0 or 1 is allowed", args[3].i32);
    }
    dw_status status = dw_instance_range(instance, "messages", dw__u32(&args[1]), count,
                                         DW__MESSAGE_BYTES, sizeof(uint32_t), &pointers, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "text", dw__u32(&args[4]), capacity, 1, 1, &text, err);
    }
    if (status != DW_OK) {
        return status;
    }
    size_t text_bytes = 0;
    const char **texts = dw_alloc(count * 2, sizeof *texts); /* roles, then contents */
    if (texts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu messages", count);
    }
    dw__guest_chat chat = {pointers, count, texts, text, capacity};
    status = dw__guest_messages(instance, &chat, err);
    if (status == DW_OK) {
        const dw_chat_pairs pairs = {.roles = texts,
                                     .contents = texts + count,
                                     .count = count,
                                     .open_answer = args[3].i32 == 1};
        dw_chat_room room = {.text = text, .capacity = capacity};
        int64_t seconds = (int64_t)(dw_instance_wall_ms(instance) / 1000);
        status =
            dw_chats_render_pairs(dw_instance_chats(instance, model), &pairs, seconds, &room, err);
        text_bytes = room.bytes;
    }
    dw_free(texts);
    return status != DW_OK ? (int32_t)status : (int32_t)text_bytes;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, chat_template)

const dw_host_import dw_vocab_imports[] = {
    {"tokenize", "iiiiii:i", call_tokenize},
    {"detokenize", "iiiiii:i", call_detokenize},
    {"token_is_end", "ii:i", call_token_is_end},
    {"chat_template", "iiiiii:i", call_chat_template},
    {NULL, NULL, NULL},
};
