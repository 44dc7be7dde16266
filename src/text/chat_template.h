/* Chat templates: a conversation as the text that a model was trained to read. libllama does the
 * work; it recognises the templates that it knows by words in them. */
#ifndef DW_TEXT_CHAT_TEMPLATE_H
#define DW_TEXT_CHAT_TEMPLATE_H

#include "base/status.h"

#define DW_CHAT_MESSAGES_MAX 4096
#define DW_CHAT_BYTES_MAX ((size_t)16 << 20) /* of all contents */

typedef struct dw_chat {
    const char *const *roles;    /* [count]: system, user, assistant or tool */
    const char *const *contents; /* [count] */
    size_t count;
    bool open_answer; /* end with the opening of the assistant's turn */
} dw_chat;

/* `source`: a file's tokenizer.chat_template. -> text [capacity], no NUL. Errors: DW_E_SPACE
 * (*text_bytes tells the need), DW_E_UNSUPPORTED (a template that libllama does not know), DW_E_ARG
 * (another role), DW_E_LIMIT (more than 4,096 messages, or 16 MiB), DW_E_MEMORY. Thread: any. */
dw_status dw_chat_template_apply(const char *source, const dw_chat *chat, char *text,
                                 size_t capacity, size_t *text_bytes, dw_error *err);

#endif
