#include "text/chat_template.h"

#include <string.h>

#include "base/alloc.h"
#include "text/llama_guard.h"

/* Templates take any other role for the assistant's, or put it into the text as it is. */
static bool is_known(const char *role)
{
    static const char *const known[] = {"system", "user", "assistant", "tool"};
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        found = found || strcmp(known[i], role) == 0;
    }
    return found;
}

static dw_status check_messages(const dw_chat *chat, dw_error *err)
{
    size_t total = 0;
    if (chat->count > DW_CHAT_MESSAGES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu, limit %d", chat->count,
                       DW_CHAT_MESSAGES_MAX);
    }
    for (size_t i = 0; i < chat->count; i++) {
        if (!is_known(chat->roles[i])) {
            return dw_fail(
                err, DW_E_ARG,
                "messages[%zu].role: '%.40s', system, user, assistant or tool is allowed", i,
                chat->roles[i]);
        }
        total += strlen(chat->contents[i]);
    }
    if (total > DW_CHAT_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu bytes of text, limit %zu", total,
                       DW_CHAT_BYTES_MAX);
    }
    return DW_OK;
}

dw_status dw_chat_template_apply(const char *source, const dw_chat *chat, char *text,
                                 size_t capacity, size_t *text_bytes, dw_error *err)
{
    *text_bytes = 0;
    dw_status status = check_messages(chat, err);
    if (status != DW_OK) {
        return status;
    }
    struct llama_chat_message *messages = dw_alloc(chat->count, sizeof *messages);
    if (messages == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu messages", chat->count);
    }
    for (size_t i = 0; i < chat->count; i++) {
        messages[i] =
            (struct llama_chat_message){.role = chat->roles[i], .content = chat->contents[i]};
    }
    int32_t room = capacity > INT32_MAX ? INT32_MAX : (int32_t)capacity;
    int32_t result =
        dw_llama_apply_template(source, messages, chat->count, chat->open_answer, text, room);
    dw_free(messages);
    if (result < 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "the model's chat template: %s",
                       dw_llama_why()[0] != '\0' ? dw_llama_why() : "libllama does not know it");
    }
    *text_bytes = (size_t)result;
    if (*text_bytes > capacity) {
        return dw_fail(err, DW_E_SPACE, "text: %zu bytes, room for %zu", *text_bytes, capacity);
    }
    return DW_OK;
}
