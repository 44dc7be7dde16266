/* Templates of any bytes, rendered with a conversation of any text: a text whose pieces are all of
 * it, or a refusal that says where. Up to the first NUL the input is the template. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "chat/chat_guard.h"

#define INPUT_BYTES_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As a JSON string: printable ASCII as it is, the rest as the first characters of Unicode. */
static void add_text(char *json, size_t room, const uint8_t *text, size_t size)
{
    size_t at = strlen(json);
    for (size_t i = 0; i < size && at + 8 < room; i++) {
        int plain = text[i] >= 0x20 && text[i] < 0x7f && text[i] != '"' && text[i] != '\\';
        at += (size_t)snprintf(json + at, room - at, plain ? "%c" : "\\u%04x", (unsigned)text[i]);
    }
}

static void render(const dw_jinja *jinja, const uint8_t *text, size_t size)
{
    static char json[INPUT_BYTES_MAX * 8];
    dw_chat_text out;
    dw_error err;
    (void)snprintf(json, sizeof json,
                   "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"look\", "
                   "\"parameters\": {\"a\": [1, 2.5, null]}}}], \"messages\": [{\"role\": "
                   "\"system\", \"content\": \"Hi\"}, {\"role\": \"user\", \"content\": \"");
    add_text(json, sizeof json - 64, text, size);
    size_t at = strlen(json);
    (void)snprintf(json + at, sizeof json - at, "\"}]}");
    dw_chat_request request = {.json = json, .bytes = strlen(json)};
    dw_status status = dw_jinja_render(jinja, request, "{\"bos_token\":\"<s>\"}", 0, &out, &err);
    size_t bytes = 0;
    for (size_t i = 0; i < out.piece_count; i++) {
        bytes += out.pieces[i].bytes;
    }
    DW_ASSERT(status != DW_OK || bytes == out.bytes);
    dw_chat_text_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dw_jinja *jinja;
    dw_error err;
    if (size > INPUT_BYTES_MAX) {
        return 0;
    }
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t bytes = end != NULL ? (size_t)(end - data) : size;
    if (dw_jinja_open(&jinja, (const char *)data, bytes, "<s>", "</s>", &err) == DW_OK) {
        render(jinja, data + bytes, size - bytes);
        dw_jinja_close(jinja);
    }
    return 0;
}
