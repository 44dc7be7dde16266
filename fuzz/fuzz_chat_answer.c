/* Answers of any bytes, in pieces of any size, in several formats: all that is told stands, joined
 * it is the message, and what does not follow the format is not lost. The input: a byte that
 * chooses the format, one from which the sizes of the pieces come, the answer. */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "chat/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWER_BYTES_MAX 512 /* each piece reads all that came before it again */

static const char plain[] = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
static const char hermes[] =
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for call in m.tool_calls %}"
    "\n<tool_call>\n{\"name\": \"{{ call.function.name }}\", \"arguments\": "
    "{{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
static const char thinking[] =
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}{% for call in m.tool_calls "
    "%}"
    "\n<tool_call>\n<function={{ call.function.name }}>\n{% for name, value in "
    "call.function.arguments | items %}<parameter={{ name }}>\n{{ value }}\n</parameter>\n"
    "{% endfor %}</function>\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
static const char late_ids[] =
    "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS][{% for call in m.tool_calls %}{\"name\": "
    "\"{{ call.function.name }}\", \"arguments\": {{ call.function.arguments | tojson }}, \"id\": "
    "\"{{ call.id }}\"}{% if not loop.last %}, {% endif %}{% endfor %}]</s>"
    "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}";
static const char bare[] =
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}{\"name\": "
    "\"{{ m.tool_calls[0].function.name }}\", \"parameters\": "
    "{{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

#define WEATHER                                                                                    \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"?\"}],\"tools\":[{\"type\":\"function\","     \
    "\"function\":{\"name\":\"f\",\"description\":\"\",\"parameters\":{\"type\":\"object\","       \
    "\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"array\"}},\"required\":"        \
    "[\"a\"]}}}]}"
#define SCHEMA                                                                                     \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"?\"}],\"response_format\":{\"type\":"         \
    "\"json_object\"}}"

static const struct {
    const char *source;
    const char *request;
} kinds[] = {
    {hermes, WEATHER}, {thinking, WEATHER}, {late_ids, WEATHER},
    {bare, WEATHER},   {plain, WEATHER},    {hermes, SCHEMA},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static dw_chat_format *formats[KINDS];

static void open_formats(void)
{
    for (size_t i = 0; i < KINDS; i++) {
        const dw_chat_request request = {.json = kinds[i].request,
                                         .bytes = strlen(kinds[i].request)};
        dw_jinja *jinja;
        dw_error err;
        DW_ASSERT(dw_jinja_open(&jinja, kinds[i].source, strlen(kinds[i].source), "", "", &err) ==
                  DW_OK);
        DW_ASSERT(dw_chat_format_open(&formats[i], jinja, request, &err) == DW_OK);
        dw_jinja_close(jinja);
    }
}

static void join(json_t *joined, const char *name, const json_t *delta)
{
    const json_t *more = json_object_get(delta, name), *old = json_object_get(joined, name);
    if (more != NULL) {
        json_t *both = json_sprintf("%s%s", old != NULL ? json_string_value(old) : "",
                                    json_string_value(more));
        DW_ASSERT(json_string_length(more) > 0); /* a delta says something */
        (void)json_object_set_new(joined, name, both);
    }
}

static void join_delta(json_t *joined, char *text)
{
    json_t *delta = text != NULL ? json_loads(text, 0, NULL) : NULL, *call;
    size_t i;
    DW_ASSERT((delta == NULL) == (text == NULL));
    join(joined, "content", delta);
    join(joined, "reasoning_content", delta);
    json_array_foreach(json_object_get(delta, "tool_calls"), i, call)
    {
        if (json_object_get(joined, "tool_calls") == NULL) {
            (void)json_object_set_new(joined, "tool_calls", json_array());
        }
        json_t *calls = json_object_get(joined, "tool_calls");
        DW_ASSERT((size_t)json_integer_value(json_object_get(call, "index")) ==
                  json_array_size(calls));
        (void)json_object_del(call, "index");
        (void)json_array_append(calls, call);
    }
    json_decref(delta);
    dw_free(text);
}

/* Without calls, the end of the text is the end of the content: there is what does not follow the
 * format, and where nothing was read before it, all of it. */
static void check_malformed(const json_t *message, const char *raw, size_t bytes)
{
    char *text;
    dw_error err;
    if (json_object_get(message, "tool_calls") != NULL) {
        return;
    }
    DW_ASSERT(dw_chat_repair_text(raw, bytes, &text, &err) == DW_OK);
    const char *content = json_string_value(json_object_get(message, "content"));
    size_t whole = strlen(text), said = strlen(content);
    bool reasoned = json_object_get(message, "reasoning_content") != NULL;
    size_t tail = reasoned ? (said < 4 ? said : 4) : said;
    DW_ASSERT(said <= whole && memcmp(content + said - tail, text + whole - tail, tail) == 0);
    for (size_t i = 0; !reasoned && i < whole - said; i++) { /* all that may be left out */
        DW_ASSERT(strchr(" \t\r\n\v\f", text[i]) != NULL);
    }
    dw_free(text);
}

/* Whether the text so far, read from its beginning, has all that was told of it. What was told
 * because the text goes on as it did, unread, must be what reading it would have told. */
static bool has_told(const dw_chat_format *format, const char *text, size_t bytes,
                     const json_t *joined)
{
    static const char *const names[] = {"content", "reasoning_content"};
    const dw_chat_raw raw = {.text = text, .bytes = bytes, .is_partial = true};
    dw_chat_read read;
    dw_error err;
    if (dw_chat_format_parse(format, raw, &read, &err) != DW_OK) {
        return false;
    }
    json_t *message = json_loads(read.json, JSON_ALLOW_NUL, NULL);
    bool has = message != NULL;
    for (size_t i = 0; i < 2 && has; i++) {
        const json_t *all = json_object_get(message, names[i]);
        const json_t *told = json_object_get(joined, names[i]);
        size_t count = json_string_length(told);
        has = count <= json_string_length(all) &&
              (count == 0 || memcmp(json_string_value(all), json_string_value(told), count) == 0);
    }
    json_decref(message);
    dw_free(read.json);
    return has;
}

static bool is_ascii(const char *text, size_t bytes)
{
    bool ascii = true;
    for (size_t i = 0; i < bytes && ascii; i++) {
        ascii = (unsigned char)text[i] < 0x80 && text[i] != '\0';
    }
    return ascii;
}

static json_t *read_in_pieces(const dw_chat_format *format, const char *text, size_t bytes,
                              unsigned seed)
{
    dw_chat_reader *reader;
    dw_error err;
    char *delta, *message;
    json_t *joined = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    bool has = is_ascii(text, bytes);
    DW_ASSERT(dw_chat_reader_create(&reader, format, &err) == DW_OK);
    for (size_t at = 0; at < bytes;) {
        size_t piece = 1 + seed % 64;
        piece = piece < bytes - at ? piece : bytes - at;
        DW_ASSERT(dw_chat_reader_feed(reader, text + at, piece, &delta, &err) == DW_OK);
        at += piece;
        bool tells = delta != NULL;
        bool had = has && has_told(format, text, at, joined); /* what was told before */
        join_delta(joined, delta);
        has = has && (!tells || has_told(format, text, at, joined));
        DW_ASSERT(!had || has);
        seed = seed * 5 + 7;
    }
    DW_ASSERT(dw_chat_reader_finish(reader, &delta, &message, &err) == DW_OK);
    join_delta(joined, delta);
    json_t *whole = json_loads(message, 0, NULL);
    DW_ASSERT(whole != NULL);
    if (json_object_get(whole, "note") != NULL) {
        check_malformed(whole, text, bytes);
        (void)json_object_del(whole, "note");
    }
    DW_ASSERT(json_equal(joined, whole));
    json_decref(joined);
    dw_free(message);
    dw_chat_reader_destroy(reader);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (formats[0] == NULL) {
        open_formats();
    }
    if (size >= 2 && size <= ANSWER_BYTES_MAX) {
        json_decref(
            read_in_pieces(formats[data[0] % KINDS], (const char *)data + 2, size - 2, data[1]));
    }
    return 0;
}
