#include "actor/last_words.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"

#define KEPT_MAX ((size_t)4096)
#define WORDS_MAX ((size_t)160) /* of a message's 248 bytes */

void dw_last_words_put(dw_last_words *words, const unsigned char *bytes, size_t count)
{
    if (words->bytes == NULL && count > 0) {
        words->bytes = dw_alloc(KEPT_MAX, 1);
    }
    if (words->bytes == NULL) {
        return;
    }
    if (count > KEPT_MAX) {
        bytes += count - KEPT_MAX;
        count = KEPT_MAX;
    }
    if (words->count + count > KEPT_MAX) {
        size_t old = words->count + count - KEPT_MAX;
        memmove(words->bytes, words->bytes + old, words->count - old);
        words->count -= old;
    }
    if (count > 0) {
        memcpy(words->bytes + words->count, bytes, count);
    }
    words->count += count;
}

void dw_last_words_release(dw_last_words *words)
{
    dw_free(words->bytes);
    *words = (dw_last_words){.bytes = NULL};
}

typedef struct line {
    const unsigned char *text;
    size_t bytes; /* without the end of the line */
} line;

/* The line at *at, which moves behind it. */
static line next_line(const dw_last_words *words, size_t *at)
{
    const unsigned char *from = words->bytes + *at;
    const unsigned char *end = memchr(from, '\n', words->count - *at);
    line found = {from, end != NULL ? (size_t)(end - from) : words->count - *at};
    *at += found.bytes + (end != NULL);
    return found;
}

static bool begins(const line *own, const char *with)
{
    size_t bytes = strlen(with);
    return own->bytes >= bytes && memcmp(own->text, with, bytes) == 0;
}

/* Go lists its goroutines behind the line that says why. */
static bool says_why(const line *own)
{
    return begins(own, "panic: ") || begins(own, "fatal error: ");
}

/* The last line that is not indented, as places in the program are in the traces of Python and
 * JavaScript, nor advice, as Rust gives it. -> where it begins, or `count` */
static size_t find_line(const dw_last_words *words)
{
    size_t found = words->count;
    for (size_t at = 0; at < words->count;) {
        size_t from = at;
        line own = next_line(words, &at);
        if (says_why(&own)) {
            return from;
        }
        if (own.bytes > 0 && own.text[0] > ' ' && !begins(&own, "note: ")) {
            found = from;
        }
    }
    return found;
}

/* Rust: "thread 'main' panicked at src/main.rs:3:5:", and what was said on the line behind. */
static size_t behind_panic(const dw_last_words *words)
{
    size_t found = words->count;
    for (size_t at = 0; at < words->count;) {
        size_t from = at;
        line own = next_line(words, &at);
        if (begins(&own, "thread '") && own.text[own.bytes - 1] == ':') {
            found = from;
        }
    }
    return found;
}

/* One space for what is not printed; what is no UTF-8 is left out. */
static void put_clean(const line *own, char *text, size_t *used, size_t capacity)
{
    for (size_t i = 0; i < own->bytes;) {
        size_t bytes = dw_utf8_bytes(own->text + i, own->bytes - i);
        bool control = bytes == 1 ? own->text[i] < ' ' || own->text[i] == 0x7f
                                  : bytes == 2 && own->text[i] == 0xc2 && own->text[i + 1] < 0xa0;
        bool blank = control || own->text[i] == ' ';
        if (bytes == 0 || (blank && (*used == 0 || text[*used - 1] == ' '))) {
            i += bytes > 0 ? bytes : 1;
            continue;
        }
        if (*used + bytes >= capacity) {
            return;
        }
        memcpy(text + *used, blank ? (const unsigned char *)" " : own->text + i, blank ? 1 : bytes);
        *used += blank ? 1 : bytes;
        i += bytes;
    }
}

/* The words as one line in text [capacity]. -> its bytes */
static size_t tell(const dw_last_words *words, char *text, size_t capacity)
{
    size_t used = 0;
    bool whole = false; /* what is not indented now is another matter */
    size_t at = behind_panic(words);
    for (at = at < words->count ? at : find_line(words); at < words->count;) {
        line own = next_line(words, &at);
        if (own.bytes == 0 || begins(&own, "note: ") || (whole && own.text[0] > ' ')) {
            break; /* Go's goroutines, Rust's advice */
        }
        whole = whole || says_why(&own);
        const line between = {(const unsigned char *)" ", 1};
        put_clean(&between, text, &used, capacity);
        put_clean(&own, text, &used, capacity);
    }
    while (used > 0 && text[used - 1] == ' ') {
        used--;
    }
    return used;
}

void dw_last_words_append(const dw_last_words *words, char *text, size_t capacity)
{
    static const char cut[] = " ...";
    char own[WORDS_MAX];
    size_t used = strnlen(text, capacity);
    size_t bytes = words->count > 0 ? tell(words, own, sizeof own) : 0;
    if (bytes == 0 || capacity < sizeof own + sizeof cut + 16) {
        return;
    }
    size_t room = capacity - 1 - 2 - bytes; /* for what is there */
    if (used > room) {
        used = room - (sizeof cut - 1);
        while (used > 0 && ((unsigned char)text[used] & 0xc0) == 0x80) {
            used--; /* at a character's beginning */
        }
        memcpy(text + used, cut, sizeof cut - 1);
        used += sizeof cut - 1;
    }
    memcpy(text + used, ": ", 2);
    memcpy(text + used + 2, own, bytes);
    text[used + 2 + bytes] = '\0';
}
