#include "guest_abi/guest_strings.h"

#include <stdio.h>
#include <string.h>

#include "chat/chat.h"

#define ROLE_BYTES_MAX 64

bool dw__overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uintptr_t a_start = (uintptr_t)a;
    uintptr_t b_start = (uintptr_t)b;
    return a_bytes > 0 && b_bytes > 0 && a_start < b_start + b_bytes && b_start < a_start + a_bytes;
}

dw_status dw__guest_string(dw_instance *instance, const char *what, uint32_t pointer,
                           size_t bytes_max, const char **out, dw_error *err)
{
    size_t memory_bytes = dw_region_committed_bytes(dw_instance_region(instance));
    *out = NULL;
    if (pointer >= memory_bytes) {
        return dw_fail(err, DW_E_RANGE, "%s: at %u, memory has %zu bytes", what, pointer,
                       memory_bytes);
    }
    const char *text = (const char *)dw_region_base(dw_instance_region(instance)) + pointer;
    size_t there = memory_bytes - pointer;
    if (memchr(text, '\0', there > bytes_max ? bytes_max + 1 : there) != NULL) {
        *out = text;
        return DW_OK;
    }
    return there > bytes_max
               ? dw_fail(err, DW_E_LIMIT, "%s: the string at %u is longer than %zu bytes", what,
                         pointer, bytes_max)
               : dw_fail(err, DW_E_RANGE, "%s: the string at %u has no end", what, pointer);
}

/* The text is built apart from guest memory, so strings inside the buffer are only
 * refused where they would change under the reader: a buffer over the list or over a string. */
dw_status dw__guest_messages(dw_instance *instance, const dw__guest_chat *chat, dw_error *err)
{
    static const char *const parts[2] = {"role", "content"};
    size_t most_bytes = (size_t)dw_instance_limits(instance)->chat_bytes;
    size_t room = most_bytes;
    if (dw__overlaps(chat->pointers, chat->count * DW__MESSAGE_BYTES, chat->text, chat->capacity)) {
        return dw_fail(err, DW_E_OVERLAP, "text: it overlaps the list of messages");
    }
    for (size_t i = 0; i < chat->count * 2; i++) {
        char what[40];
        size_t most = i % 2 == 0 && room > ROLE_BYTES_MAX ? ROLE_BYTES_MAX : room;
        const char **text = &chat->texts[i % 2 * chat->count + i / 2];
        (void)snprintf(what, sizeof what, "messages[%zu].%s", i / 2, parts[i % 2]);
        dw_status status = dw__guest_string(instance, what, chat->pointers[i], most, text, err);
        if (status == DW_E_LIMIT && most == room) {
            return dw_fail(err, DW_E_LIMIT,
                           "messages: up to messages[%zu] more than %zu bytes (chat_bytes)", i / 2,
                           most_bytes);
        }
        if (status != DW_OK) {
            return status;
        }
        size_t bytes = strlen(*text);
        if (dw__overlaps(*text, bytes + 1, chat->text, chat->capacity)) {
            return dw_fail(err, DW_E_OVERLAP, "text: it overlaps a string of messages[%zu]", i / 2);
        }
        room -= bytes;
    }
    return DW_OK;
}
