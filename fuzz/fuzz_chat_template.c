/* Chats of any bytes through each template that libllama knows, and through texts that only look
 * like one: a text, or a refusal. The first byte chooses, the rest is cut at NULs. */
#include <llama.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/chat_template.h"

#define TEMPLATES_MAX 256
#define MESSAGES_MAX 16
#define TEXT_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next string of the input, which ends with a NUL. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at;
    size_t length = strlen(text);
    *at = text + length < end ? text + length + 1 : end;
    return text;
}

static void apply(const char *source, const dw_chat *chat)
{
    char text[TEXT_BYTES];
    size_t bytes = 0;
    dw_error err = {0};
    dw_status status = dw_chat_template_apply(source, chat, text, sizeof text, &bytes, &err);
    DW_ASSERT(status != DW_OK || bytes <= sizeof text);
    if (status == DW_E_SPACE) { /* asked again with as much as was said */
        char *room = malloc(bytes);
        size_t again = 0;
        DW_ASSERT(room != NULL && bytes > sizeof text);
        status = dw_chat_template_apply(source, chat, room, bytes, &again, &err);
        DW_ASSERT(status == DW_OK && again == bytes);
        free(room);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    static const char *names[TEMPLATES_MAX];
    static int32_t name_count;
    const char *chosen_roles[MESSAGES_MAX];
    const char *contents[MESSAGES_MAX];
    if (name_count == 0) {
        name_count = llama_chat_builtin_templates(names, TEMPLATES_MAX);
    }
    if (size < 2 || size > 65536) {
        return 0;
    }
    char *copy = malloc(size);
    DW_ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    copy[size - 1] = '\0';
    const char *at = copy;
    const char *end = copy + size - 1;
    const char *source = data[0] < name_count ? names[data[0]] : next_text(&at, end);
    dw_chat chat = {.roles = chosen_roles, .contents = contents, .open_answer = (data[0] & 1) != 0};
    while (at < end && chat.count < MESSAGES_MAX) {
        unsigned char role = (unsigned char)*at++;
        chosen_roles[chat.count] = role < 250 ? roles[role % 4] : "developer";
        contents[chat.count++] = next_text(&at, end);
    }
    apply(source, &chat);
    free(copy);
    return 0;
}
