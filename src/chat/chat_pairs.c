/* Requests from messages in pairs of role and content. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "chat/chat.h"

static bool is_known(const char *role)
{
    static const char *const known[] = {"system", "user", "assistant", "tool"};
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        found = found || strcmp(known[i], role) == 0;
    }
    return found;
}

static dw_status check_pairs(const dw_chat_pairs *pairs, dw_error *err)
{
    size_t total = 0;
    if (pairs->count > DW_CHAT_MESSAGES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu, limit %d", pairs->count,
                       DW_CHAT_MESSAGES_MAX);
    }
    for (size_t i = 0; i < pairs->count; i++) {
        if (!is_known(pairs->roles[i])) {
            return dw_fail(
                err, DW_E_ARG,
                "messages[%zu].role: '%.40s', system, user, assistant or tool is allowed", i,
                pairs->roles[i]);
        }
        total += strlen(pairs->contents[i]);
    }
    if (total > DW_CHAT_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "messages: %zu bytes of text, limit %zu", total,
                       DW_CHAT_BYTES_MAX);
    }
    return DW_OK;
}

/* A JSON string; bytes that are no UTF-8 become U+FFFD. NULL: no memory. */
static json_t *string_of(const char *text)
{
    json_t *plain = json_string(text);
    if (plain != NULL) {
        return plain;
    }
    char *repaired = NULL;
    json_t *made = NULL;
    if (dw_chat_repair_text(text, strlen(text), &repaired, NULL) == DW_OK) {
        made = json_string(repaired);
    }
    dw_free(repaired);
    return made;
}

dw_status dw_chat_request_of_pairs(char **out, const dw_chat_pairs *pairs, dw_error *err)
{
    *out = NULL;
    dw_status status = check_pairs(pairs, err);
    if (status != DW_OK) {
        return status;
    }
    json_t *messages = json_array();
    bool made = messages != NULL;
    for (size_t i = 0; made && i < pairs->count; i++) {
        json_t *message = json_object();
        made = json_object_set_new(message, "role", string_of(pairs->roles[i])) == 0 &&
               json_object_set_new(message, "content", string_of(pairs->contents[i])) == 0;
        made = json_array_append_new(messages, message) == 0 && made;
    }
    json_t *request =
        json_pack("{s:o, s:b}", "messages", messages, "add_generation_prompt", pairs->open_answer);
    char *dumped = made && request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    *out = dumped != NULL ? dw_strdup(dumped) : NULL;
    free(dumped);
    json_decref(request);
    return *out != NULL ? DW_OK
                        : dw_fail(err, DW_E_MEMORY, "no memory for %zu messages", pairs->count);
}

dw_status dw_chats_render_pairs(dw_chats *chats, const dw_chat_pairs *pairs, int64_t seconds,
                                dw_chat_room *room, dw_error *err)
{
    char *json = NULL;
    dw_chat_text rendered = {.text = NULL};
    room->bytes = 0;
    dw_status status = dw_chat_request_of_pairs(&json, pairs, err);
    if (status == DW_OK) {
        dw_chat_request request = {.json = json, .bytes = strlen(json)};
        status = dw_chats_render(chats, request, seconds, &rendered, err);
    }
    if (status == DW_OK) {
        room->bytes = rendered.bytes;
        if (rendered.bytes <= room->capacity) {
            memcpy(room->text, rendered.text, rendered.bytes);
        } else {
            status = dw_fail(err, DW_E_SPACE, "text: %zu bytes, room for %zu", rendered.bytes,
                             room->capacity);
        }
    }
    dw_chat_text_release(&rendered);
    dw_free(json);
    return status;
}
