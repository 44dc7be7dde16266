/* Where a lazy grammar begins: words and patterns looked for in a text that comes piece by piece,
 * as llama.cpp looks for them: all that was read is searched again after each piece, so that `$`
 * is the end of the text so far, and what (?!...) rules out has not come yet. Here each byte is
 * looked at a constant number of times (a Pike machine for each trigger: Thompson 1968, Pike 1987),
 * and only the text that an unfinished match began in is kept.
 * Thread: one at a time. */
#ifndef DW_SAMPLING_TRIGGER_H
#define DW_SAMPLING_TRIGGER_H

#include "base/stop.h"
#include "base/status.h"

#define DW_TRIGGERS_MAX 256
#define DW_TRIGGER_BYTES_MAX 1024
/* Of all triggers together: a byte of the text costs as many steps at most, and memory follows. */
#define DW_TRIGGERS_CODE_MAX 16384
/* Of work that a call may take: a way through a pattern by a byte or a branch. */
#define DW_TRIGGER_STEPS_MAX 67108864U
/* A match that began longer ago than half of this may be missed. */
#define DW_TRIGGER_TEXT_BYTES_MAX ((size_t)64 << 10)

typedef enum dw_trigger_kind {
    DW_TRIGGER_WORD, /* this text, anywhere */
    /* A regular expression of ECMAScript over bytes, of which these are known: characters, escapes
     * (\s \S \w \W \d \D, \n \r \t \f \v, \xHH, \uHHHH, \ before what is neither letter nor digit),
     * `.`, classes of ASCII, groups, (?:...), |, * + ? {m} {m,} {m,n} greedy and lazy, ^ and $ (of
     * the text, not of lines), and (?=...) and (?!...) of one or several literal texts. */
    DW_TRIGGER_PATTERN,
} dw_trigger_kind;

typedef struct dw_trigger {
    uint32_t kind;
    const char *text; /* [bytes] */
    size_t bytes;
} dw_trigger;

typedef struct dw_trigger_options {
    const dw_trigger *list; /* [count]; where several are met at once, the first counts */
    size_t count;
    /* Between these two texts nothing is looked for; either of 0 bytes: everywhere. The first is
     * read as any text before it passes, the second when it ends. */
    const char *pause; /* [pause_bytes] */
    size_t pause_bytes;
    const char *resume; /* [resume_bytes] */
    size_t resume_bytes;
    bool paused; /* at the beginning */
} dw_trigger_options;

/* What has been read, as far as it still matters. */
typedef struct dw_trigger_state {
    const char *text; /* [bytes]: the last of it; at most DW_TRIGGER_TEXT_BYTES_MAX */
    size_t bytes;
    bool whole; /* nothing came before it */
    bool paused;
    uint32_t marker_bytes; /* of `pause` or `resume`, read last */
} dw_trigger_state;

typedef struct dw_triggers dw_triggers;

/* Errors: DW_E_ARG (naming the trigger and the place in it), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_triggers_create(dw_triggers **out, const dw_trigger_options *options, dw_error *err);
void dw_triggers_destroy(dw_triggers *triggers);
/* As dw_grammar_set_stop. */
void dw_triggers_set_stop(dw_triggers *triggers, dw_stop *stop);

/* Whether one is met when text [bytes] has come too: then found [*found_bytes], until the next
 * call, is the text from the match's first group that is not empty on, without one from its
 * beginning, to the end of all that came. Nothing is read. Errors: DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw_triggers_try(dw_triggers *triggers, const char *text, size_t bytes, const char **found,
                          size_t *found_bytes, dw_error *err);
/* The steps that the last such call took. */
uint64_t dw_triggers_steps(const dw_triggers *triggers);
/* Read text that meets none. Errors: DW_E_MEMORY; on error nothing has been read. */
dw_status dw_triggers_read(dw_triggers *triggers, const char *text, size_t bytes, dw_error *err);

/* What they were made of, and where they are; both until the next call. */
const dw_trigger_options *dw_triggers_options(const dw_triggers *triggers);
dw_trigger_state dw_triggers_state(const dw_triggers *triggers);
/* Be where another with the same options was. Errors: DW_E_RANGE (no such state), DW_E_MEMORY. */
dw_status dw_triggers_restore(dw_triggers *triggers, const dw_trigger_state *state, dw_error *err);

#endif
