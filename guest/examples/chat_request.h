/* A request as the model reads it: its text, and tokens. */
#ifndef GUEST_EXAMPLES_CHAT_REQUEST_H
#define GUEST_EXAMPLES_CHAT_REQUEST_H

#include <driftwood_helpers.h>

#include "json.h"

static char *room_for(size_t bytes)
{
    char *room = malloc(bytes);
    if (room == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(1);
    }
    return room;
}

/* The request's text; *bytes: of it. */
__attribute__((unused)) static char *rendered(int32_t model, const json_text *request,
                                              size_t *bytes)
{
    uint32_t capacity = (uint32_t)request->count * 2 + 1024;
    char *text = room_for(capacity);
    int32_t length =
        dw_chat_render(model, request->bytes, (uint32_t)request->count, text, capacity);
    if (length == DW_E_SPACE) {
        memcpy(&capacity, text, sizeof capacity);
        free(text);
        text = room_for(capacity);
        length = dw_chat_render(model, request->bytes, (uint32_t)request->count, text, capacity);
    }
    *bytes = (size_t)dw_must(length, "chat");
    return text;
}

/* The request's tokens from byte `skip` of its text on. */
static int32_t *request_tokens(int32_t model, const json_text *request, size_t skip,
                               uint32_t *count)
{
    uint32_t capacity = (uint32_t)request->count + 1024;
    int32_t *tokens = dw_aligned(capacity, sizeof *tokens);
    int32_t result = dw_chat_tokenize(model, request->bytes, (uint32_t)request->count,
                                      (uint32_t)skip, tokens, capacity);
    if (result == DW_E_SPACE) {
        capacity = (uint32_t)tokens[0];
        free(tokens);
        tokens = dw_aligned(capacity, sizeof *tokens);
        result = dw_chat_tokenize(model, request->bytes, (uint32_t)request->count, (uint32_t)skip,
                                  tokens, capacity);
    }
    *count = (uint32_t)dw_must(result, "chat");
    return tokens;
}

#endif
