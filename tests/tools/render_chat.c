/* render_chat: JSON requests in, one a line, JSON answers out, for tests that compare with others'
 * engines. A request is that of src/chat/chat.h with besides: "template" (source), "bos_token",
 * "eos_token" and other tokens by the names that templates use, "now" (seconds since 1970), and
 * "parse" (a model's answer) with "stream" (true: in pieces) where an answer is to be read.
 * -> {"prompt", "pieces": [{"text", "content"}]}, {"message", "deltas", "format", "grammar", "lazy"},
 * or {"error"}. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "chat/chat.h"

#define PIECE_BYTES_MAX 7

/* Members that are not the request's own. */
static json_t *take(json_t *request, const char *name)
{
    json_t *value = json_incref(json_object_get(request, name));
    (void)json_object_del(request, name);
    return value;
}

/* All NAME_token members, as one object's text. */
static char *take_tokens(json_t *request)
{
    json_t *tokens = json_object();
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(request, next, name, value)
    {
        size_t length = strlen(name);
        if (length > 6 && strcmp(name + length - 6, "_token") == 0) {
            (void)json_object_set(tokens, name, value);
            (void)json_object_del(request, name);
        }
    }
    char *text = json_dumps(tokens, JSON_COMPACT);
    json_decref(tokens);
    return text;
}

static json_t *prompt_of(const dw_chat_text *text)
{
    json_t *pieces = json_array();
    size_t at = 0;
    for (size_t i = 0; i < text->piece_count; i++) {
        (void)json_array_append_new(pieces, json_pack("{s:s%, s:b}", "text", text->text + at,
                                                      text->pieces[i].bytes, "content",
                                                      text->pieces[i].is_content));
        at += text->pieces[i].bytes;
    }
    return json_pack("{s:s%, s:o}", "prompt", text->text, text->bytes, "pieces", pieces);
}

/* Pieces of 1 to PIECE_BYTES_MAX bytes, not all of one size, and some within a character. */
static dw_status feed(dw_chat_reader *reader, const char *text, bool in_pieces, json_t *deltas,
                      dw_error *err)
{
    dw_status status = DW_OK;
    size_t bytes = strlen(text);
    for (size_t at = 0, turn = 0; status == DW_OK && at < bytes; turn++) {
        char *delta = NULL;
        size_t piece = in_pieces ? 1 + turn * 5 % PIECE_BYTES_MAX : bytes;
        piece = piece < bytes - at ? piece : bytes - at;
        status = dw_chat_reader_feed(reader, text + at, piece, &delta, err);
        if (delta != NULL) {
            (void)json_array_append_new(deltas, json_loads(delta, JSON_ALLOW_NUL, NULL));
        }
        dw_free(delta);
        at += piece;
    }
    return status;
}

/* What a reader tells of it piece by piece, and at its end. */
static dw_status read_with(const dw_chat_format *format, const char *text, bool in_pieces,
                           json_t **result, dw_error *err)
{
    dw_chat_reader *reader;
    char *last = NULL, *message = NULL;
    dw_status status = dw_chat_reader_create(&reader, format, err);
    if (status != DW_OK) {
        return status;
    }
    json_t *deltas = json_array();
    status = feed(reader, text, in_pieces, deltas, err);
    if (status == DW_OK) {
        status = dw_chat_reader_finish(reader, &last, &message, err);
    }
    if (last != NULL) {
        (void)json_array_append_new(deltas, json_loads(last, JSON_ALLOW_NUL, NULL));
    }
    if (status == DW_OK) {
        dw_chat_format_info info = dw_chat_format_info_of(format);
        *result = json_pack("{s:o, s:O, s:s, s:s, s:b}", "message",
                            json_loads(message, JSON_ALLOW_NUL, NULL), "deltas", deltas, "format",
                            info.name, "grammar", info.grammar, "lazy", info.grammar_begins_later);
    }
    json_decref(deltas);
    dw_free(last);
    dw_free(message);
    dw_chat_reader_destroy(reader);
    return status;
}

static dw_status read_answer(const dw_jinja *jinja, dw_chat_request request, const char *text,
                             bool in_pieces, json_t **result, dw_error *err)
{
    dw_chat_format *format;
    dw_status status = dw_chat_format_open(&format, jinja, request, err);
    if (status == DW_OK) {
        status = read_with(format, text, in_pieces, result, err);
        dw_chat_format_close(format);
    }
    return status;
}

static dw_status answer(json_t *request, json_t **result, dw_error *err)
{
    json_t *template = take(request, "template"), *now = take(request, "now");
    json_t *parse = take(request, "parse"), *stream = take(request, "stream");
    const char *source = json_string_value(template);
    const char *bos = json_string_value(json_object_get(request, "bos_token"));
    const char *eos = json_string_value(json_object_get(request, "eos_token"));
    dw_jinja *jinja = NULL;
    dw_status status =
        dw_jinja_open(&jinja, source != NULL ? source : "", json_string_length(template),
                      bos != NULL ? bos : "", eos != NULL ? eos : "", err);
    char *tokens = take_tokens(request);
    char *text = json_dumps(request, JSON_COMPACT);
    dw_chat_request own = {.json = text, .bytes = strlen(text)};
    if (status == DW_OK && json_is_string(parse)) {
        status =
            read_answer(jinja, own, json_string_value(parse), json_is_true(stream), result, err);
    } else if (status == DW_OK) {
        dw_chat_text rendered;
        status = dw_jinja_render(jinja, own, tokens, json_integer_value(now), &rendered, err);
        *result = status == DW_OK ? prompt_of(&rendered) : NULL;
        dw_chat_text_release(&rendered);
    }
    dw_jinja_close(jinja);
    free(text);
    free(tokens);
    json_decref(template);
    json_decref(now);
    json_decref(parse);
    json_decref(stream);
    return status;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        json_t *request = json_loads(line, 0, NULL), *result = NULL;
        dw_error err = {0};
        if (answer(request, &result, &err) != DW_OK || result == NULL) {
            json_decref(result);
            result = json_pack("{s:s}", "error", err.message);
        }
        (void)json_dumpf(result, stdout, JSON_COMPACT);
        (void)putchar('\n');
        (void)fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
