#include "serving/steady.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "http/text.h"
#include "serving/params.h"

#define LINES_MAX 4096
#define CHANGED_MAX 8 /* lines that may differ */
#define LOOKS_MAX 8   /* answers at which a conversation is looked for */
#define LINE_BYTES_MAX 512

/* ---- lines that change ----------------------------------------------------------------------- */

static const char *const labels[] = {
    "cwd",
    "pwd",
    "working directory",
    "current directory",
    "workspace",
    "branch",
    "git branch",
    "git status",
    "current branch",
    "date",
    "time",
    "today",
    "now",
    "current date",
    "current time",
    "current date and time",
    "date and time",
    "timestamp",
    "session",
    "session id",
    "request id",
    "turn",
    "today's date",
    "the time",
    "the date",
    "the current date",
    "the current time",
};

static const char *const names[] = {
    "monday",   "tuesday",  "wednesday", "thursday", "friday", "saturday", "sunday", "january",
    "february", "march",    "april",     "may",      "june",   "july",     "august", "september",
    "october",  "november", "december",  "mon",      "tue",    "wed",      "thu",    "fri",
    "sat",      "sun",      "jan",       "feb",      "mar",    "apr",      "jun",    "jul",
    "aug",      "sep",      "oct",       "nov",      "dec",    "am",       "pm",
};

/* A line as its form: numbers as '#', names of days and months as '@'. -> bytes */
static size_t form_of(const char *line, size_t bytes, char form[LINE_BYTES_MAX], bool *changes)
{
    size_t count = 0;
    *changes = false;
    for (size_t i = 0; i < bytes && count + 1 < LINE_BYTES_MAX;) {
        size_t word = 0;
        bool digits = false;
        while (i + word < bytes && isalnum((unsigned char)line[i + word])) {
            digits = digits || isdigit((unsigned char)line[i + word]);
            word++;
        }
        if (word == 0) {
            form[count++] = line[i++];
            continue;
        }
        bool is_name = false;
        for (size_t j = 0; j < sizeof names / sizeof names[0] && !digits; j++) {
            is_name =
                is_name || (strlen(names[j]) == word && strncasecmp(line + i, names[j], word) == 0);
        }
        if (digits || is_name) {
            form[count++] = digits ? '#' : '@';
            *changes = true;
        } else {
            size_t kept = word < LINE_BYTES_MAX - 1 - count ? word : LINE_BYTES_MAX - 1 - count;
            memcpy(form + count, line + i, kept);
            count += kept;
        }
        i += word;
    }
    return count;
}

/* Which label a line begins with; -1: none. */
static int label_of(const char *line, size_t bytes)
{
    size_t at = 0;
    while (at < bytes && strchr(" \t-*#<", line[at]) != NULL) {
        at++;
    }
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        size_t length = strlen(labels[i]);
        if (bytes - at > length && strncasecmp(line + at, labels[i], length) == 0 &&
            (strchr(":=>", line[at + length]) != NULL ||
             (bytes - at > length + 4 && strncmp(line + at + length, " is ", 4) == 0))) {
            return (int)i;
        }
    }
    return -1;
}

static bool may_change(const char *line, size_t bytes)
{
    char form[LINE_BYTES_MAX];
    bool changes = false;
    if (bytes >= LINE_BYTES_MAX) {
        return false;
    }
    (void)form_of(line, bytes, form, &changes);
    return changes || label_of(line, bytes) >= 0;
}

/* Whether one became the other by a rule. */
static bool is_same_line(const char *left, const char *right)
{
    char forms[2][LINE_BYTES_MAX];
    bool changes = false;
    size_t left_bytes = strlen(left);
    size_t right_bytes = strlen(right);
    if (left_bytes >= LINE_BYTES_MAX || right_bytes >= LINE_BYTES_MAX) {
        return false;
    }
    int label = label_of(left, left_bytes);
    size_t count = form_of(left, left_bytes, forms[0], &changes);
    return (label >= 0 && label == label_of(right, right_bytes)) ||
           (count == form_of(right, right_bytes, forms[1], &changes) &&
            memcmp(forms[0], forms[1], count) == 0);
}

/* A text's lines; NULL: it has too many, or none that may change. The caller's. */
static json_t *lines_of(const char *text)
{
    json_t *lines = json_array();
    bool changes = false;
    for (const char *at = text;;) {
        size_t bytes = strcspn(at, "\n");
        changes = changes || may_change(at, bytes);
        (void)json_array_append_new(lines, json_stringn(at, bytes));
        if (at[bytes] == '\0') {
            break;
        }
        at += bytes + 1;
    }
    if (!changes || json_array_size(lines) > LINES_MAX) {
        json_decref(lines);
        return NULL;
    }
    return lines;
}

/* ---- which conversation ---------------------------------------------------------------------- */

/* A message as clients tell it again: its role, texts and calls. */
static void hash_message(dw_hash128 *hash, const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    const json_t *calls = json_object_get(message, "tool_calls");
    dw_hash128_add(hash, role != NULL ? role : "", role != NULL ? strlen(role) + 1 : 1);
    if (json_is_string(content)) {
        dw_hash128_add(hash, json_string_value(content), json_string_length(content));
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text)) {
            dw_hash128_add(hash, json_string_value(text), json_string_length(text));
        }
    }
    dw_hash128_add(hash, "", 1);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        const char *said = json_string_value(json_object_get(function, "arguments"));
        json_t *arguments = dw_params_said(said, JSON_DECODE_ANY);
        char *text = json_dumps(arguments, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        dw_hash128_add(hash, name != NULL ? name : "", name != NULL ? strlen(name) + 1 : 1);
        said = text != NULL ? text : said; /* what cannot be read stands for itself */
        dw_hash128_add(hash, said != NULL ? said : "", said != NULL ? strlen(said) + 1 : 1);
        free(text);
        json_decref(arguments);
    }
}

/* Of the first messages; `system` NULL: whatever their prompt is. */
static void key_of(const char *scope, const json_t *messages, size_t count, const json_t *answer,
                   const char *system, uint8_t key[DW_HASH128_BYTES])
{
    dw_hash128 *hash = dw_hash128_create();
    memset(key, 0, DW_HASH128_BYTES);
    if (hash == NULL) {
        return;
    }
    dw_hash128_add(hash, scope, strlen(scope) + 1);
    if (system != NULL) {
        dw_hash128_add(hash, system, strlen(system) + 1);
    }
    for (size_t i = 0; i < count; i++) {
        hash_message(hash, json_array_get(messages, i));
    }
    if (answer != NULL) {
        hash_message(hash, answer);
    }
    dw_hash128_finish(hash, key);
    dw_hash128_destroy(hash);
}

static bool is_role(const json_t *message, const char *role)
{
    const char *own = json_string_value(json_object_get(message, "role"));
    return own != NULL && strcmp(own, role) == 0;
}

/* What is kept of the conversation that the messages go on; NULL: none. *behind: its messages. */
static json_t *find(dw_index *index, const char *scope, const json_t *messages, const char *system,
                    size_t *behind)
{
    int looks = 0;
    for (size_t i = json_array_size(messages); i > 1 && looks < LOOKS_MAX; i--) {
        if (!is_role(json_array_get(messages, i - 2), "assistant")) {
            continue;
        }
        looks++;
        for (int exact = 1; exact >= 0; exact--) {
            uint8_t key[DW_HASH128_BYTES];
            char *text = NULL;
            key_of(scope, messages, i - 1, NULL, exact != 0 ? system : NULL, key);
            if (dw_index_get_steady(index, key, &text, NULL) != DW_OK || text == NULL) {
                continue;
            }
            json_t *kept = json_loads(text, JSON_ALLOW_NUL, NULL);
            dw_free(text);
            *behind = i - 1;
            return kept;
        }
    }
    return NULL;
}

/* ---- the prompt kept steady ------------------------------------------------------------------ */

/* A line as it was told last. */
static const char *told_last(const json_t *kept, const json_t *first, size_t line)
{
    char place[24];
    const json_t *notes = json_object_get(kept, "notes");
    const char *text = json_string_value(json_array_get(first, line));
    (void)snprintf(place, sizeof place, "%zu", line);
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const json_t *lines = json_object_get(json_array_get(notes, i), "lines");
        const char *told = json_string_value(json_object_get(lines, place));
        text = told != NULL ? told : text;
    }
    return text;
}

/* Lines that are others than those told last: {"place": "line"}; NULL: they differ by no rule. */
static json_t *changed_lines(const json_t *kept, const json_t *first, const json_t *now)
{
    json_t *changed = json_object();
    bool good = json_array_size(first) == json_array_size(now);
    for (size_t i = 0; good && i < json_array_size(now); i++) {
        char place[24];
        const char *old = told_last(kept, first, i);
        const char *line = json_string_value(json_array_get(now, i));
        if (old == NULL || line == NULL || strcmp(old, line) == 0) {
            continue;
        }
        (void)snprintf(place, sizeof place, "%zu", i);
        (void)json_object_set(changed, place, json_array_get(now, i));
        good = is_same_line(old, line) && json_object_size(changed) <= CHANGED_MAX;
    }
    if (!good) {
        json_decref(changed);
        return NULL;
    }
    return changed;
}

static void add_note(json_t *message, const json_t *lines)
{
    dw_text text = {.bytes = NULL};
    json_t *content = json_object_get(message, "content");
    const char *key = NULL;
    json_t *line = NULL;
    if (json_is_string(content)) {
        (void)dw_text_add(&text, json_string_value(content), json_string_length(content));
        (void)dw_text_add(&text, "\n", 1);
    }
    json_object_foreach((json_t *)(uintptr_t)lines, key, line)
    {
        (void)dw_text_add(&text, "\n", 1);
        (void)dw_text_add(&text, json_string_value(line), json_string_length(line));
    }
    json_t *whole = json_stringn(text.bytes != NULL ? text.bytes : "", text.count);
    dw_text_free(&text);
    if (whole != NULL && json_is_array(content)) {
        (void)json_array_append_new(content,
                                    json_pack("{s:s, s:o}", "type", "text", "text", whole));
    } else if (whole != NULL) {
        (void)json_object_set_new(message, "content", whole);
    }
}

/* The last message, behind so many, that is a user's; SIZE_MAX: there is none. */
static size_t last_user(const json_t *messages, size_t behind)
{
    for (size_t i = json_array_size(messages); i > behind; i--) {
        if (is_role(json_array_get(messages, i - 1), "user")) {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

/* The kept prompt and notes in the place of what the chat has; false: it is another's. */
static bool apply(json_t *kept, json_t *messages, json_t *system, const json_t *now, size_t behind)
{
    const char *first_text = json_string_value(json_object_get(kept, "system"));
    json_t *first = first_text != NULL ? lines_of(first_text) : NULL;
    json_t *changed = first != NULL ? changed_lines(kept, first, now) : NULL;
    json_t *notes = json_object_get(kept, "notes");
    size_t at = last_user(messages, behind);
    bool good = changed != NULL && json_is_array(notes);
    if (good && json_object_size(changed) > 0 && at != SIZE_MAX) {
        (void)json_array_append_new(
            notes, json_pack("{s:I, s:O}", "at", (json_int_t)at, "lines", changed));
    }
    for (size_t i = 0; good && i < json_array_size(notes); i++) {
        const json_t *note = json_array_get(notes, i);
        json_int_t place = json_integer_value(json_object_get(note, "at"));
        json_t *message = json_array_get(messages, (size_t)place);
        if (is_role(message, "user")) {
            add_note(message, json_object_get(note, "lines"));
        }
    }
    if (good) {
        (void)json_object_set(system, "content", json_object_get(kept, "system"));
    }
    json_decref(first);
    json_decref(changed);
    return good;
}

/* A content of one text is that text. */
static void make_plain(json_t *message)
{
    json_t *content = json_object_get(message, "content");
    json_t *text = json_object_get(json_array_get(content, 0), "text");
    if (json_array_size(content) == 1 && json_is_string(text)) {
        (void)json_object_set(message, "content", text);
    }
}

json_t *dw_steady_apply(dw_index *index, const char *scope, json_t *chat)
{
    json_t *all = json_object_get(chat, "messages");
    json_t *system = json_array_get(all, 0);
    make_plain(system);
    const json_t *content = json_object_get(system, "content");
    json_t *now = is_role(system, "system") && json_is_string(content)
                      ? lines_of(json_string_value(content))
                      : NULL;
    size_t behind = 0;
    if (now == NULL) {
        return NULL;
    }
    json_t *asked = json_incref(json_object_get(system, "content"));
    json_t *messages = json_array(); /* those behind the prompt, which are the chat's own */
    json_t *told = json_array();     /* and as the client told them */
    for (size_t i = 1; i < json_array_size(all); i++) {
        (void)json_array_append(messages, json_array_get(all, i));
        (void)json_array_append_new(told, json_deep_copy(json_array_get(all, i)));
    }
    json_t *kept = find(index, scope, messages, json_string_value(asked), &behind);
    if (kept == NULL || !apply(kept, messages, system, now, behind)) {
        json_decref(kept);
        kept = json_pack("{s:O, s:[]}", "system", asked, "notes");
    }
    json_decref(now);
    json_decref(messages);
    return json_pack("{s:o, s:o, s:o}", "kept", kept, "told", told, "asked", asked);
}

void dw_steady_save(dw_index *index, const char *scope, json_t *state, const json_t *message,
                    const char *actor)
{
    const json_t *told = json_object_get(state, "told");
    const char *asked = json_string_value(json_object_get(state, "asked"));
    char *text = json_dumps(json_object_get(state, "kept"), JSON_COMPACT);
    for (int exact = 0; text != NULL && exact < 2; exact++) {
        uint8_t key[DW_HASH128_BYTES];
        key_of(scope, told, json_array_size(told), message, exact != 0 ? asked : NULL, key);
        (void)!dw_index_put_steady(index, key, actor, text, NULL); /* else computed again */
    }
    free(text);
}
