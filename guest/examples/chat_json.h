/* Chats as JSON, for the guests that talk: requests built, messages read, answers shown as they
 * come. Settings: DRIFTWOOD_TOOLS (a JSON list of tools), DRIFTWOOD_REASONING (on, off, hide),
 * DRIFTWOOD_SHOW_PROMPT (1: print what the model gets). */
#ifndef GUEST_EXAMPLES_CHAT_JSON_H
#define GUEST_EXAMPLES_CHAT_JSON_H

#include "chat_request.h"
#include "text.h"

/* ---- requests ------------------------------------------------------------------------------ */

static json_text message_of(const char *role, const char *content, size_t bytes)
{
    json_text message = {.count = 0};
    json_add(&message, "{\"role\":");
    json_add_string(&message, role, strlen(role));
    json_add(&message, ",\"content\":");
    json_add_string(&message, content, bytes);
    json_add(&message, "}");
    return message;
}

static const char *reasoning_mode(void)
{
    const char *mode = getenv("DRIFTWOOD_REASONING");
    mode = mode == NULL || mode[0] == '\0' ? "on" : mode;
    if (strcmp(mode, "on") != 0 && strcmp(mode, "off") != 0 && strcmp(mode, "hide") != 0) {
        fprintf(stderr, "DRIFTWOOD_REASONING: '%s', on, off or hide is wanted\n", mode);
        exit(1);
    }
    return mode;
}

/* The request over messages, a JSON list without its brackets; `now`: 0, or seconds since 1970. */
static json_text request_of(const char *messages, long long now)
{
    const char *tools = getenv("DRIFTWOOD_TOOLS");
    json_text request = {.count = 0};
    json_add(&request, "{\"messages\":[");
    json_add(&request, messages);
    json_add(&request, "]");
    if (tools != NULL && tools[0] != '\0') {
        json_add(&request, ",\"tools\":");
        json_add(&request, tools);
    }
    if (getenv("DRIFTWOOD_TOOL_CHOICE") != NULL) {
        json_add(&request, ",\"tool_choice\":");
        json_add_string(&request, getenv("DRIFTWOOD_TOOL_CHOICE"),
                        strlen(getenv("DRIFTWOOD_TOOL_CHOICE")));
    }
    if (strcmp(reasoning_mode(), "off") == 0) {
        json_add(&request, ",\"enable_thinking\":false");
    }
    if (now > 0) {
        char text[48];
        snprintf(text, sizeof text, ",\"now\":%lld", now);
        json_add(&request, text);
    }
    json_add(&request, "}");
    return request;
}

/* What the model gets, on standard error, its special tokens between marks. */
static void show_prompt(int32_t model, const int32_t *tokens, uint32_t count)
{
    if (dw_setting_max("DRIFTWOOD_SHOW_PROMPT", 0, 1) == 0) {
        return;
    }
    int32_t *one = dw_aligned(1, sizeof *one);
    for (uint32_t i = 0; i < count; i++) {
        char text[1024];
        one[0] = tokens[i];
        int32_t plain = dw_detokenize(model, one, 1, text, sizeof text, 0);
        int32_t bytes =
            plain > 0 ? plain
                      : dw_detokenize(model, one, 1, text, sizeof text, DW_DETOKENIZE_SPECIAL);
        fprintf(stderr, plain > 0 ? "%.*s" : "\xe2\x9f\xa6%.*s\xe2\x9f\xa7", bytes > 0 ? bytes : 0,
                text);
    }
    fputc('\n', stderr);
    free(one);
}

/* ---- answers ------------------------------------------------------------------------------- */

/* An answer whose format matters: with tools, or of a model that thinks aloud. */
typedef struct answer_reader {
    int32_t model;
    const json_text *request;
    int32_t *token;       /* [1] */
    json_text raw;        /* special tokens and all */
    size_t shown_content; /* bytes */
    size_t shown_reasoning;
    int shows_reasoning;
    int reasoning_open; /* between its marks */
    json_text stops;    /* of the format: each with a NUL behind */
} answer_reader;

static char *parsed(const answer_reader *reader, uint32_t flags)
{
    uint32_t capacity = (uint32_t)reader->raw.count * 2 + 1024;
    for (;;) {
        char *text = room_for(capacity + 1);
        int32_t length =
            dw_chat_parse(reader->model, reader->request->bytes, (uint32_t)reader->request->count,
                          reader->raw.bytes, (uint32_t)reader->raw.count, flags, text, capacity);
        if (length >= 0) {
            text[length] = '\0';
            return text;
        }
        uint32_t need;
        memcpy(&need, text, sizeof need);
        free(text);
        if (length != DW_E_SPACE) {
            dw_die("answer");
        }
        capacity = need;
    }
}

static void show_more(const json_text *text, size_t *shown)
{
    if (text->count > *shown) {
        fwrite(text->bytes + *shown, 1, text->count - *shown, stdout);
        *shown = text->count;
        if (!stdout_flush()) {
            exit(1); /* nobody would read the rest; the host says why */
        }
    }
}

static void show_message(answer_reader *reader, const char *message)
{
    json_text reasoning = json_member_string(message, "reasoning_content");
    json_text content = json_member_string(message, "content");
    if (reader->shows_reasoning && reasoning.count > reader->shown_reasoning) {
        if (!reader->reasoning_open) {
            fputs("[thinking]\n", stdout);
            reader->reasoning_open = 1;
        }
        show_more(&reasoning, &reader->shown_reasoning);
    }
    if (content.count > reader->shown_content) {
        if (reader->reasoning_open) {
            fputs("\n[/thinking]\n", stdout);
            reader->reasoning_open = 0;
        }
        show_more(&content, &reader->shown_content);
    }
    free(reasoning.bytes);
    free(content.bytes);
}

/* Whether answers to the request have to be read, not shown as they stand. */
static int answer_begin(answer_reader *reader, int32_t model, const json_text *request)
{
    *reader = (answer_reader){.model = model, .request = request};
    uint32_t capacity = 65536;
    char *about = room_for(capacity);
    int32_t length =
        dw_chat_info(model, request->bytes, (uint32_t)request->count, about, capacity - 1);
    if (length < 0) {
        if (strstr(request->bytes, "\"tools\":") != NULL) {
            dw_die("tools");
        }
        free(about);
        return 0; /* read as text, then */
    }
    about[length] = '\0';
    json_text thinking = json_member_string(about, "thinking_begin");
    json_text note = json_member_string(about, "note");
    int needed = thinking.count > 0 || strstr(request->bytes, "\"tools\":") != NULL;
    if (needed) {
        reader->token = dw_aligned(1, sizeof *reader->token);
        json_add(&reader->raw, "");
        reader->shows_reasoning = strcmp(reasoning_mode(), "on") == 0;
    }
    static char *told; /* once a chat, not at each of its turns */
    if (note.count > 0 && (told == NULL || strcmp(told, note.bytes) != 0)) {
        fprintf(stderr, "note: %s\n", note.bytes);
        free(told);
        told = note.bytes;
        note.bytes = NULL;
    }
    free(thinking.bytes);
    free(note.bytes);
    free(about);
    return needed;
}

/* Where a stop string begins in the raw text; its length if none does. */
static size_t answer_stop(const answer_reader *reader, const text_stream *stops, size_t from)
{
    for (size_t at = from; at < reader->raw.count; at++) {
        for (size_t i = 0; i < stops->stop_count; i++) {
            size_t bytes = strlen(stops->stops[i]);
            if (reader->raw.count - at >= bytes &&
                memcmp(reader->raw.bytes + at, stops->stops[i], bytes) == 0) {
                return at;
            }
        }
    }
    return reader->raw.count;
}

/* 1: a stop string has appeared. */
static int answer_token(answer_reader *reader, const text_stream *stops, int32_t token)
{
    char piece[1024];
    reader->token[0] = token;
    int32_t bytes =
        dw_detokenize(reader->model, reader->token, 1, piece, sizeof piece, DW_DETOKENIZE_SPECIAL);
    size_t before = reader->raw.count;
    json_add_bytes(&reader->raw, piece, (size_t)dw_must(bytes, "detokenize"));
    size_t from = before > STOP_BYTES_MAX ? before - STOP_BYTES_MAX : 0;
    size_t stop = answer_stop(reader, stops, from);
    int found = stop < reader->raw.count;
    reader->raw.count = stop;
    reader->raw.bytes[stop] = '\0';
    char *message = parsed(reader, DW_CHAT_PARTIAL);
    show_message(reader, message);
    free(message);
    return found;
}

/* There is no answer after all. */
static void answer_drop(answer_reader *reader)
{
    free(reader->raw.bytes);
    free(reader->token);
}

/* The answer's message, its calls shown, one a line. The caller's. */
static char *answer_end(answer_reader *reader)
{
    char *message = parsed(reader, 0);
    const char *end;
    show_message(reader, message);
    if (reader->reasoning_open) {
        fputs("\n[/thinking]", stdout);
    }
    const char *calls = json_member(message, "tool_calls", &end);
    for (const char *at = calls != NULL ? calls + 1 : "]"; *at == '{';) {
        const char *function = json_member(at, "function", &end);
        const char *name = json_member(function, "name", &end);
        fprintf(stdout, "\n{\"name\":%.*s,\"arguments\":", (int)(end - name), name);
        json_text arguments = json_member_string(function, "arguments");
        fprintf(stdout, "%s}", arguments.bytes);
        free(arguments.bytes);
        at = json_skip(at);
        at += *at == ',' ? 1 : 0;
    }
    json_text note = json_member_string(message, "note");
    if (note.count > 0) {
        fprintf(stderr, "\nnote: %s\n", note.bytes);
    }
    free(note.bytes);
    answer_drop(reader);
    return message;
}

#endif
