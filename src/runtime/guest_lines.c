/* What guests write to standard error, a line an entry of the log. A guest that writes much does
 * not keep others' entries out: beyond LINES_A_SECOND its lines are counted. */
#include "runtime/guest_lines.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "runtime/runtime_internal.h"

#define LINES_A_SECOND 100u
#define SECOND_NS UINT64_C(1000000000)

static const struct {
    const char *word;
    dw_log_level level;
} words[] = {
    {"fatal", DW_LOG_ERROR}, {"panic", DW_LOG_ERROR},  {"critical", DW_LOG_ERROR},
    {"error", DW_LOG_ERROR}, {"warning", DW_LOG_WARN}, {"warn", DW_LOG_WARN},
    {"notice", DW_LOG_INFO}, {"info", DW_LOG_INFO},    {"debug", DW_LOG_DEBUG},
    {"trace", DW_LOG_DEBUG},
};

dw_log_level dw__guest_line_level(const char **line)
{
    static const dw_log_level of_number[] = {DW_LOG_ERROR, DW_LOG_ERROR, DW_LOG_ERROR,
                                             DW_LOG_ERROR, DW_LOG_WARN,  DW_LOG_INFO,
                                             DW_LOG_INFO,  DW_LOG_DEBUG};
    const char *text = *line;
    if (text[0] == '<' && text[1] >= '0' && text[1] <= '7' && text[2] == '>') {
        *line += 3;
        return of_number[text[1] - '0'];
    }
    bool bracket = *text == '[';
    text += bracket;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i].word);
        char end = strncasecmp(text, words[i].word, length) == 0 ? text[length] : '\0';
        if (bracket ? end == ']' : end == ':') {
            return words[i].level;
        }
    }
    return DW_LOG_INFO;
}

/* Whether one more fits into this second; what did not is told with the next that does. */
static bool has_room(dw_runtime *runtime, dw__guest_lines *lines)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    if (now_ns - lines->begin_ns >= SECOND_NS) {
        lines->begin_ns = now_ns;
        lines->noted = 0;
    }
    if (lines->noted == LINES_A_SECOND) {
        lines->lost++;
        return false;
    }
    lines->noted++;
    return true;
}

static void note(dw_runtime *runtime, const dw__record *record, dw__guest_lines *lines)
{
    const char *text = lines->text;
    lines->text[lines->count] = '\0';
    lines->count = 0;
    dw_log_level level = dw__guest_line_level(&text);
    if (text[0] != '\0' && dw_event_log_wants(runtime->log, level) && has_room(runtime, lines)) {
        dw__log_guest(runtime, record, level, text, lines->lost);
        lines->lost = 0;
    }
}

/* Where a line that is too long is cut: not within a character. */
static size_t cut_of(const dw__guest_lines *lines)
{
    size_t count = lines->count;
    while (count + 4 > lines->count && count > 0 &&
           ((unsigned char)lines->text[count - 1] & 0xC0) == 0x80) {
        count--;
    }
    bool begins = count > 0 && ((unsigned char)lines->text[count - 1] & 0xC0) == 0xC0;
    return begins ? count - 1 : lines->count;
}

static void add(dw_runtime *runtime, const dw__record *record, dw__guest_lines *lines, char c)
{
    if (lines->count == sizeof lines->text - 1) {
        size_t cut = cut_of(lines);
        size_t rest = lines->count - cut;
        char kept[8];
        memcpy(kept, lines->text + cut, rest);
        lines->count = cut;
        note(runtime, record, lines);
        memcpy(lines->text, kept, rest);
        lines->count = rest;
    }
    lines->text[lines->count++] = c;
}

void dw__guest_lines_take(dw_runtime *runtime, const dw__record *record, dw__guest_lines *lines,
                          const unsigned char *bytes, size_t count)
{
    if (!dw_event_log_wants(runtime->log, DW_LOG_ERROR)) {
        return; /* nobody reads any */
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            note(runtime, record, lines);
        } else if (bytes[i] != '\0' && bytes[i] != '\r') {
            add(runtime, record, lines, (char)bytes[i]);
        }
    }
}

void dw__guest_lines_end(dw_runtime *runtime, const dw__record *record, dw__guest_lines *lines)
{
    if (lines->count > 0) {
        note(runtime, record, lines);
    }
}
