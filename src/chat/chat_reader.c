/* Answers while they are written. Each time the whole text so far is read again; what is told of it
 * is what later text cannot change: contents without the white space at their end, and tool calls
 * whose arguments are whole. Of a stretch of plain text the rest is told without that, until there
 * is a byte with which something else could begin (dw_chat_format_info.marks): else each token of a
 * long answer would take as long as all before it together. */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_bounds.h"
#include "base/json_mend.h"
#include "base/json_text.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/stop.h"
#include "chat/chat.h"
#include "text/utf8_step.h"

#define ANSWER_BYTES_MAX ((size_t)4 << 20) /* that is read; text that is repaired may have more */
#define TEXT_BYTES_MAX ((size_t)64 << 20)
/* Of a long answer not each piece is looked at: at least this part of it is new. */
#define NEW_PART 256
#define CALL_ID_CHARS 9 /* some templates insist on it */

typedef struct text {
    char *bytes;
    size_t count;
    size_t capacity;
} text;

struct dw_chat_reader {
    const dw_chat_format *format;
    struct dw_stop *stop;
    uint8_t asked[DW_HASH128_BYTES]; /* of the request; zeros: of none */
    text raw;                        /* well-formed UTF-8 */
    char half[4];                    /* the beginning of a character */
    size_t half_bytes;
    size_t read_bytes; /* of raw, when it was last read */
    size_t told_bytes; /* of raw, when it was last told of */
    text content;      /* told so far */
    text reasoning;
    text *plain;       /* which of them goes on at the end of raw; NULL: that has to be read */
    size_t plain_from; /* in raw: what of it was not told, white space */
    json_t *calls;     /* told so far, whole */
};

/* ---- text ---------------------------------------------------------------------------------- */

static dw_status add(text *to, const char *bytes, size_t count, dw_error *err)
{
    if (to->count + count > TEXT_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "a text of more than %zu bytes", TEXT_BYTES_MAX);
    }
    if (to->count + count > to->capacity) {
        size_t capacity = 2 * (to->count + count) + 64;
        char *grown = dw_realloc(to->bytes, capacity, 1);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for an answer of %zu bytes",
                           to->count + count);
        }
        to->bytes = grown;
        to->capacity = capacity;
    }
    if (count > 0) {
        memcpy(to->bytes + to->count, bytes, count);
    }
    to->count += count;
    return DW_OK;
}

/* Bytes of the character at the front; 0: none begins so; more than `count`: it is not whole yet.
 * */
static size_t character_bytes(const char *bytes, size_t count)
{
    dw_utf8_step step = {.left = 0};
    for (size_t i = 0; i < count; i++) {
        if (!dw_utf8_feed(&step, (unsigned char)bytes[i])) {
            return 0;
        }
        if (step.left == 0) {
            return i + 1;
        }
    }
    return count + 1;
}

/* Bytes of whole characters at the front: some thousands at a time, which take less than a look. */
static size_t good_bytes(const char *bytes, size_t count)
{
    size_t good = 0;
    while (good < count && good < 4096) {
        size_t length = character_bytes(bytes + good, count - good);
        if (length == 0 || length > count - good) {
            break;
        }
        good += length;
    }
    return good;
}

/* A search that was left has found nothing. Errors: DW_E_CANCELLED. */
static dw_status check_stop(const dw_chat_reader *reader, dw_error *err)
{
    return dw_stop_check(reader->stop, "chat", err);
}

/* Bytes that are no UTF-8 become U+FFFD; a character that is not whole waits. */
static dw_status add_characters(dw_chat_reader *reader, const char *bytes, size_t count,
                                bool is_last, dw_error *err)
{
    dw_status status = DW_OK;
    text joined = {.bytes = NULL};
    if (reader->half_bytes == 0 && count < 4096 && good_bytes(bytes, count) == count) {
        return add(&reader->raw, bytes, count, err); /* as most are */
    }
    status = add(&joined, reader->half, reader->half_bytes, err);
    if (status == DW_OK) {
        status = add(&joined, bytes, count, err);
    }
    reader->half_bytes = 0;
    for (size_t at = 0; status == DW_OK && at < joined.count;) {
        const char *from = joined.bytes + at;
        size_t left = joined.count - at;
        size_t good = good_bytes(from, left);
        size_t length = good > 0 ? good : character_bytes(from, left);
        if (length > left && !is_last) {
            memcpy(reader->half, from, left);
            reader->half_bytes = left;
            break;
        }
        status = add(&reader->raw, good > 0 ? from : "\xef\xbf\xbd", good > 0 ? good : 3, err);
        at += good > 0 ? good : 1;
        status = status == DW_OK ? check_stop(reader, err) : status;
    }
    dw_free(joined.bytes);
    return status;
}

dw_status dw_chat_repair_text(const char *bytes, size_t count, char **out, dw_error *err)
{
    dw_chat_reader none = {.format = NULL};
    dw_status status = add_characters(&none, bytes, count, true, err);
    if (status == DW_OK) {
        status = add(&none.raw, "", 1, err);
    }
    if (status != DW_OK) {
        dw_free(none.raw.bytes);
        none.raw.bytes = NULL;
    }
    *out = none.raw.bytes;
    return status;
}

/* ---- what is told -------------------------------------------------------------------------- */

static bool begins_with(const json_t *value, const text *told, bool goes_on)
{
    const char *bytes = json_string_value(value);
    size_t count = json_string_length(value), least = count < told->count ? count : told->count;
    return (count >= told->count || goes_on) &&
           (least == 0 || memcmp(bytes, told->bytes, least) == 0);
}

/* What was told, and the delta's member `name`, go on with this. */
static dw_status say(text *told, const char *bytes, size_t count, json_t *delta, const char *name)
{
    const json_t *said = json_object_get(delta, name);
    text more = {.bytes = NULL};
    dw_status status =
        add(&more, said != NULL ? json_string_value(said) : "", json_string_length(said), NULL);
    if (status == DW_OK) {
        status = add(&more, bytes, count, NULL);
    }
    if (status == DW_OK) {
        (void)json_object_set_new(delta, name, json_stringn(more.bytes, more.count));
        status = add(told, bytes, count, NULL);
    }
    dw_free(more.bytes);
    return status;
}

/* Tell what `value` has behind what was told of it; while the answer goes on, not the white space
 * at its end. */
static dw_status tell_text(text *told, const json_t *value, bool goes_on, json_t *delta,
                           const char *name)
{
    const char *bytes = json_string_value(value);
    size_t count = json_string_length(value);
    while (goes_on && count > told->count && isspace((unsigned char)bytes[count - 1])) {
        count--;
    }
    return count > told->count ? say(told, bytes + told->count, count - told->count, delta, name)
                               : DW_OK;
}

/* The same for the same call at the same place of an answer to the same request, so that a message
 * that is worked on again has the same ids; another one in each turn of a conversation. */
static void make_id(const dw_chat_reader *reader, const json_t *call, size_t index,
                    char id[CALL_ID_CHARS + 1])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char *dumped = json_dumps(call, JSON_COMPACT);
    uint8_t digest[DW_HASH128_BYTES];
    dw_hash128_of(digest, dumped, dumped != NULL ? strlen(dumped) : 0);
    free(dumped);
    for (size_t i = 0; i < CALL_ID_CHARS; i++) {
        id[i] = digits[((uint8_t)(digest[i] ^ reader->asked[i]) + index) % 62];
    }
    id[CALL_ID_CHARS] = '\0';
}

static bool is_object(const char *json, size_t bytes)
{
    json_t *parsed = json_loadb(json, bytes, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    bool is = json_is_object(parsed);
    json_decref(parsed);
    return is;
}

/* One of numbers and escapes that JSON has, and the parser does not hold. */
static bool is_mended_object(const char *json)
{
    size_t bytes = 0;
    char *mended = dw_json_mend(json, strlen(json), &bytes);
    bool is = mended != NULL && is_object(mended, bytes);
    dw_free(mended);
    return is;
}

/* Whether it is a call with a name and an object of arguments. */
static bool is_whole(const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *arguments = json_string_value(json_object_get(function, "arguments"));
    if (name == NULL || name[0] == '\0' || arguments == NULL) {
        return false;
    }
    static const dw_json_bounds bounds = {SIZE_MAX, 1000000, UINT32_MAX, 24};
    dw_json_excess excess;
    if (!dw_json_within(arguments, strlen(arguments), &bounds, &excess)) {
        return false;
    }
    return is_object(arguments, strlen(arguments)) || is_mended_object(arguments);
}

static void tell_call(dw_chat_reader *reader, const json_t *call, json_t *deltas)
{
    size_t index = json_array_size(reader->calls);
    const json_t *function = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *arguments = json_string_value(json_object_get(function, "arguments"));
    const char *given = json_string_value(json_object_get(call, "id"));
    char made[CALL_ID_CHARS + 1];
    make_id(reader, call, index, made);
    json_t *told = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id",
                             given != NULL && given[0] != '\0' ? given : made, "type", "function",
                             "function", "name", name, "arguments", arguments);
    json_t *delta = json_copy(told);
    (void)json_object_set_new(delta, "index", json_integer((json_int_t)index));
    (void)json_array_append_new(deltas, delta);
    (void)json_array_append_new(reader->calls, told);
}

static bool same_call(const json_t *told, const json_t *call)
{
    const json_t *a = json_object_get(told, "function"), *b = json_object_get(call, "function");
    return json_equal(json_object_get(a, "name"), json_object_get(b, "name")) &&
           json_equal(json_object_get(a, "arguments"), json_object_get(b, "arguments"));
}

/* Whether all that was told stands in the message, as it was told; while the answer goes on, less
 * of a text may be there again. */
static bool holds(const dw_chat_reader *reader, const json_t *message, bool goes_on)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(reader->calls); i++) {
        if (!same_call(json_array_get(reader->calls, i), json_array_get(calls, i))) {
            return false;
        }
    }
    return begins_with(json_object_get(message, "content"), &reader->content, goes_on) &&
           begins_with(json_object_get(message, "reasoning_content"), &reader->reasoning, goes_on);
}

static void tell_calls(dw_chat_reader *reader, const json_t *calls, bool goes_on, json_t *delta)
{
    size_t told = json_array_size(reader->calls), count = json_array_size(calls);
    if (goes_on && count > told && dw_chat_format_info_of(reader->format).has_late_ids) {
        count--; /* the last one's may come yet */
    }
    json_t *deltas = json_array();
    for (size_t i = told; i < count; i++) {
        if (!is_whole(json_array_get(calls, i))) {
            break;
        }
        tell_call(reader, json_array_get(calls, i), deltas);
    }
    if (json_array_size(deltas) > 0) {
        (void)json_object_set(delta, "tool_calls", deltas);
    }
    json_decref(deltas);
}

/* -> whether all of the message was told, or will be. Nothing is told of one in which what was told
 * does not stand. */
static bool tell(dw_chat_reader *reader, const json_t *message, bool goes_on, json_t *delta,
                 dw_status *status)
{
    if (!holds(reader, message, goes_on)) {
        return false;
    }
    const json_t *calls = json_object_get(message, "tool_calls");
    *status = tell_text(&reader->reasoning, json_object_get(message, "reasoning_content"), goes_on,
                        delta, "reasoning_content");
    if (*status == DW_OK) {
        *status = tell_text(&reader->content, json_object_get(message, "content"), goes_on, delta,
                            "content");
    }
    tell_calls(reader, calls, goes_on, delta);
    return json_array_size(calls) == json_array_size(reader->calls);
}

/* ---- plain text ---------------------------------------------------------------------------- */

/* Bytes of the raw text without the white space at its end. */
static size_t trimmed(const dw_chat_reader *reader)
{
    size_t count = reader->raw.count;
    while (count > 0 && isspace((unsigned char)reader->raw.bytes[count - 1])) {
        count--;
    }
    return count;
}

/* What was just read and told: whether it is plain text, up to the end of what is there. */
static void note_plain(dw_chat_reader *reader, const json_t *told, bool ends_in_text)
{
    const json_t *content = json_object_get(told, "content");
    const json_t *said = content != NULL ? content : json_object_get(told, "reasoning_content");
    size_t bytes = json_string_length(said), end = trimmed(reader);
    reader->plain = NULL;
    if (ends_in_text && bytes > 0 && json_object_size(told) == 1 && bytes <= end &&
        json_array_size(reader->calls) == 0 &&
        dw_chat_format_info_of(reader->format).marks != NULL &&
        memcmp(reader->raw.bytes + end - bytes, json_string_value(said), bytes) == 0) {
        reader->plain = content != NULL ? &reader->content : &reader->reasoning;
        reader->plain_from = end;
    }
}

/* Whether the raw text is plain from byte `from` on as well. */
static bool stays_plain(const dw_chat_reader *reader, size_t from)
{
    const bool *marks = dw_chat_format_info_of(reader->format).marks;
    bool plain = reader->plain != NULL;
    for (size_t i = from; plain && i < reader->raw.count; i++) {
        plain = !marks[(unsigned char)reader->raw.bytes[i]];
    }
    return plain;
}

/* The delta of plain text, of which most answers are: as text at once. */
static dw_status tell_plain(dw_chat_reader *reader, char **delta, dw_error *err)
{
    size_t from = reader->plain_from, end = trimmed(reader);
    const char *bytes = reader->raw.bytes + from;
    const char *name = reader->plain == &reader->content ? "content" : "reasoning_content";
    reader->read_bytes = reader->raw.count;
    if (end <= from) {
        return DW_OK;
    }
    reader->plain_from = end;
    reader->told_bytes = reader->raw.count;
    dw_json_text json = dw_json_text_growing();
    dw_json_open(&json, '{');
    dw_json_key(&json, name);
    dw_json_string_of(&json, bytes, end - from);
    dw_json_close(&json, '}');
    dw_json_raw(&json, "", 1);
    if (!dw_json_text_is_whole(&json) || add(reader->plain, bytes, end - from, NULL) != DW_OK) {
        dw_json_text_release(&json);
        return dw_fail(err, DW_E_MEMORY, "no memory for an answer");
    }
    *delta = json.items;
    return DW_OK;
}

/* ---- reading ------------------------------------------------------------------------------- */

dw_status dw_chat_reader_create(dw_chat_reader **out, const dw_chat_format *format, dw_error *err)
{
    *out = NULL;
    dw_chat_reader *reader = dw_alloc(1, sizeof *reader);
    if (reader != NULL) {
        reader->format = format;
        reader->calls = json_array();
    }
    if (reader == NULL || reader->calls == NULL) {
        dw_chat_reader_destroy(reader);
        return dw_fail(err, DW_E_MEMORY, "no memory to read an answer");
    }
    *out = reader;
    return DW_OK;
}

void dw_chat_reader_set_request(dw_chat_reader *reader, dw_chat_request request)
{
    dw_hash128_of(reader->asked, request.json, request.bytes);
}

void dw_chat_reader_destroy(dw_chat_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    dw_free(reader->raw.bytes);
    dw_free(reader->content.bytes);
    dw_free(reader->reasoning.bytes);
    json_decref(reader->calls);
    dw_free(reader);
}

/* The message that the first `bytes` of the text make. NULL and DW_OK: it nests deeper than can be
 * read. */
static dw_status read_raw(const dw_chat_reader *reader, size_t bytes, bool is_partial,
                          json_t **message, dw_chat_read *about, dw_error *err)
{
    dw_chat_read read;
    dw_chat_raw answer = {.text = reader->raw.bytes != NULL ? reader->raw.bytes : "",
                          .bytes = bytes,
                          .is_partial = is_partial,
                          .stop = reader->stop};
    *message = NULL;
    *about = (dw_chat_read){.json = NULL};
    dw_status status = dw_chat_format_parse(reader->format, answer, &read, err);
    if (status == DW_E_MEMORY || status == DW_E_CANCELLED) {
        return status;
    }
    if (status == DW_OK) {
        *message = json_loads(read.json, JSON_ALLOW_NUL, NULL);
        dw_free(read.json);
        read.json = NULL;
        *about = read;
        status = check_stop(reader, err);
    }
    if (status == DW_E_CANCELLED) {
        json_decref(*message);
        *message = NULL;
        return status;
    }
    return DW_OK;
}

static dw_status text_of(json_t *object, char **out, dw_error *err)
{
    char *dumped = json_dumps(object, JSON_COMPACT);
    *out = dumped != NULL ? dw_strdup(dumped) : NULL;
    free(dumped);
    return *out != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for an answer");
}

static dw_status give_delta(json_t *delta, char **out, dw_error *err)
{
    dw_status status = json_object_size(delta) > 0 ? text_of(delta, out, err) : DW_OK;
    json_decref(delta);
    return status;
}

/* The delta, unless telling it has failed. */
static dw_status give(json_t *told, dw_status status, char **out, dw_error *err)
{
    if (status == DW_OK) {
        return give_delta(told, out, err);
    }
    json_decref(told);
    return dw_fail(err, status, "no memory for an answer");
}

dw_status dw_chat_reader_feed(dw_chat_reader *reader, const char *bytes, size_t count, char **delta,
                              dw_error *err)
{
    *delta = NULL;
    if (reader->raw.count + count > ANSWER_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "the answer has more than %zu bytes", ANSWER_BYTES_MAX);
    }
    size_t before = reader->raw.count;
    dw_status status = add_characters(reader, bytes, count, false, err);
    if (status == DW_OK && stays_plain(reader, before)) {
        return tell_plain(reader, delta, err);
    }
    reader->plain = NULL;
    if (status != DW_OK ||
        reader->raw.count - reader->read_bytes < reader->raw.count / NEW_PART + 1) {
        return status;
    }
    reader->read_bytes = reader->raw.count;
    json_t *message;
    dw_chat_read about;
    status = read_raw(reader, reader->raw.count, true, &message, &about, err);
    if (status != DW_OK || message == NULL) {
        return status;
    }
    json_t *told = json_object();
    (void)tell(reader, message, true, told, &status);
    reader->told_bytes = json_object_size(told) > 0 ? reader->raw.count : reader->told_bytes;
    json_decref(message);
    note_plain(reader, told, about.ends_in_text);
    return give(told, status, delta, err);
}

/* ---- what does not follow the format ------------------------------------------------------- */

static size_t text_length(const json_t *message, const char *name)
{
    return json_string_length(json_object_get(message, name));
}

/* Whether the first `bytes` of the text are read so: as all that was told and maybe more, or, with
 * `told` false, as a beginning of the format. */
static bool reads(const dw_chat_reader *reader, size_t bytes, bool told)
{
    json_t *message;
    dw_chat_read about;
    if (read_raw(reader, bytes, true, &message, &about, NULL) != DW_OK || message == NULL) {
        return false;
    }
    const json_t *calls = json_object_get(message, "tool_calls");
    size_t count = json_array_size(reader->calls);
    bool all = text_length(message, "content") >= reader->content.count &&
               text_length(message, "reasoning_content") >= reader->reasoning.count &&
               (count == 0 || same_call(json_array_get(reader->calls, count - 1),
                                        json_array_get(calls, count - 1)));
    json_decref(message);
    return told ? all : about.well_formed;
}

/* In the raw text, between a place that is known to be and one that is not: the last at which the
 * text before is read as a beginning of the format (told false), or the first at which it is all
 * that was told. Searched for by halves, at whole characters. */
static size_t place_of(const dw_chat_reader *reader, size_t low, size_t high, bool told)
{
    for (;;) {
        size_t middle = low + (high - low) / 2;
        while (middle > low && (reader->raw.bytes[middle] & 0xc0) == 0x80) {
            middle--;
        }
        for (middle += middle == low; middle < high; middle++) {
            if ((reader->raw.bytes[middle] & 0xc0) != 0x80) {
                break;
            }
        }
        if (middle >= high) {
            return told ? high : low;
        }
        if (reads(reader, middle, told) == told) {
            high = middle;
        } else {
            low = middle;
        }
    }
}

/* The text from byte `from` on is content as it is. */
static dw_status tell_rest(dw_chat_reader *reader, size_t from, json_t *told)
{
    size_t rest = reader->raw.count - from;
    return rest > 0 ? say(&reader->content, reader->raw.bytes + from, rest, told, "content")
                    : DW_OK;
}

/* The text that was told may end before `end`: what is behind it, the beginning of a mark, had to
 * be seen first. Told twice is better than lost. */
static size_t text_end(const dw_chat_reader *reader, size_t end)
{
    const text *last = reader->content.count > 0 ? &reader->content : &reader->reasoning;
    if (json_array_size(reader->calls) > 0) {
        return end;
    }
    for (size_t at = 0; last->count > 0 && at + last->count <= end; at++) {
        if (memcmp(reader->raw.bytes + at, last->bytes, last->count) == 0) {
            return at + last->count;
        }
    }
    return end;
}

/* What is whole of it is told as ever, up to where it is no beginning of the format any more; the
 * rest is content as it is. Without calls it is `plain`, where what was told allows that. */
static dw_status tell_malformed(dw_chat_reader *reader, const json_t *plain, json_t *told,
                                dw_error *err)
{
    size_t all = reader->raw.count, readable = all;
    json_t *message;
    dw_chat_read about;
    if (!reads(reader, all, false)) {
        readable = place_of(reader, 0, all, false);
    }
    dw_status status = check_stop(reader, err);
    if (status == DW_OK) {
        status = read_raw(reader, readable, true, &message, &about, err);
    }
    if (status != DW_OK) {
        return status;
    }
    (void)tell(reader, message, true, told, &status);
    json_decref(message);
    if (status == DW_OK && plain != NULL && json_array_size(reader->calls) == 0 &&
        tell(reader, plain, false, told, &status)) {
        return status;
    }
    if (status != DW_OK || reads(reader, 0, true)) {
        return status != DW_OK ? status : tell_rest(reader, 0, told);
    }
    size_t high = reads(reader, readable, true) ? readable : reader->told_bytes;
    size_t end = high > 0 ? place_of(reader, 0, high, true) : 0;
    status = check_stop(reader, err);
    return status == DW_OK ? tell_rest(reader, text_end(reader, end), told) : status;
}

static json_t *told_message(const dw_chat_reader *reader, bool malformed)
{
    json_t *message = json_pack("{s:s, s:s%}", "role", "assistant", "content",
                                reader->content.bytes != NULL ? reader->content.bytes : "",
                                reader->content.count);
    if (reader->reasoning.count > 0) {
        (void)json_object_set_new(message, "reasoning_content",
                                  json_stringn(reader->reasoning.bytes, reader->reasoning.count));
    }
    if (json_array_size(reader->calls) > 0) {
        (void)json_object_set(message, "tool_calls", reader->calls);
    }
    if (malformed) {
        (void)json_object_set_new(message, "note",
                                  json_string("the answer does not follow the model's format: "
                                              "what could not be read is content"));
    }
    return message;
}

dw_status dw_chat_reader_finish(dw_chat_reader *reader, char **delta, char **message, dw_error *err)
{
    *delta = *message = NULL;
    json_t *read;
    dw_chat_read about;
    dw_status status = add_characters(reader, "", 0, true, err);
    if (status == DW_OK) {
        status = read_raw(reader, reader->raw.count, false, &read, &about, err);
    }
    if (status != DW_OK) {
        return status;
    }
    json_t *told = json_object();
    bool all = read != NULL && about.well_formed && tell(reader, read, false, told, &status);
    if (!all && status == DW_OK) {
        status = tell_malformed(reader, about.well_formed ? NULL : read, told, err);
    }
    json_decref(read);
    if (status != DW_OK) {
        json_decref(told);
        return status == DW_E_CANCELLED ? status : dw_fail(err, status, "no memory for an answer");
    }
    status = give_delta(told, delta, err);
    json_t *whole = told_message(reader, !all);
    if (status == DW_OK) {
        status = text_of(whole, message, err);
    }
    json_decref(whole);
    return status;
}

dw_status dw_chats_parse(const dw_chat_format *format, dw_chat_raw raw, char **message,
                         dw_error *err)
{
    dw_chat_reader *reader;
    char *delta = NULL;
    *message = NULL;
    dw_status status = dw_chat_reader_create(&reader, format, err);
    if (status == DW_OK) {
        reader->stop = raw.stop;
        if (raw.request.bytes > 0) {
            dw_chat_reader_set_request(reader, raw.request);
        }
        status = dw_chat_reader_feed(reader, raw.text, raw.bytes, &delta, err);
        dw_free(delta);
        delta = NULL;
    }
    if (status == DW_OK && raw.is_partial) {
        json_t *told = told_message(reader, false);
        status = text_of(told, message, err);
        json_decref(told);
    } else if (status == DW_OK) {
        status = dw_chat_reader_finish(reader, &delta, message, err);
        dw_free(delta);
    }
    if (status == DW_OK) {
        status = dw_stop_check(raw.stop, "chat", err);
    }
    if (status != DW_OK) {
        dw_free(*message);
        *message = NULL;
    }
    dw_chat_reader_destroy(reader);
    return status;
}

dw_status dw_chat_format_text(const dw_chat_format *format, char **out, dw_error *err)
{
    dw_chat_format_info info = dw_chat_format_info_of(format);
    json_t *stops = json_array();
    for (size_t i = 0; i < info.stop_count; i++) {
        (void)json_array_append_new(stops, json_string(info.stops[i]));
    }
    json_t *about =
        json_pack("{s:s, s:s, s:s, s:o, s:s, s:s}", "format", info.name, "thinking_begin",
                  info.thinking_begin, "thinking_end", info.thinking_end, "stops", stops,
                  "generation_prompt", info.generation_prompt, "note", info.note);
    *out = NULL;
    if (about == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a chat's format");
    }
    dw_status status = text_of(about, out, err);
    json_decref(about);
    return status;
}
