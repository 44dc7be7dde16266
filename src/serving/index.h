/* Which actor holds which conversation: found by the beginning of a request's text. In a file, so
 * that it is found after a restart too.
 *
 * The text of a conversation is hashed up to each multiple of 64 bytes, and each hash stands in
 * the file with the actor. A request's text is hashed likewise: the last of its hashes that stands
 * there has the actors that agree with it for longest. A hash that two texts share costs time
 * alone: the actor's guest compares texts itself.
 * Thread: any, several at once. */
#ifndef DW_SERVING_INDEX_H
#define DW_SERVING_INDEX_H

#include "base/status.h"
#include "driftwood.h"

#define DW_INDEX_FOUND_MAX 4

typedef struct dw_index dw_index;

/* What a conversation consists of so far. */
typedef struct dw_index_text {
    const char *scope; /* tenant, model and what else keeps conversations apart */
    const char *text;  /* [bytes] */
    size_t bytes;
} dw_index_text;

typedef struct dw_index_found {
    char actor[DW_ACTOR_ID_CHARS + 1];
    uint64_t common; /* bytes of the text that agree, less 63 at most */
    bool goes_on;    /* the request has all of its last prompt, and more: it is the next turn */
} dw_index_found;

/* Errors: those of dw_journal_open. */
dw_status dw_index_open(dw_index **out, const char *path, dw_error *err);
void dw_index_close(dw_index *index);
/* Conversations that the text goes on with, or branches off from behind their first prompt; best
 * first. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_index_find(dw_index *index, const dw_index_text *text,
                        dw_index_found found[DW_INDEX_FOUND_MAX], size_t *count, dw_error *err);
/* The actor now holds the text, whose last prompt ended at prompt_bytes. It outlasts the process
 * when this returns. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_index_save(dw_index *index, const dw_index_text *text, const char *actor,
                        size_t prompt_bytes, dw_error *err);
/* What is kept by a key [DW_HASH128_BYTES] for a conversation of the actor: some text. The last of
 * an actor's are kept. `*text` is the caller's, for dw_free; NULL: there is none. Errors: DW_E_IO,
 * DW_E_MEMORY. */
dw_status dw_index_put_steady(dw_index *index, const uint8_t *key, const char *actor,
                              const char *text, dw_error *err);
dw_status dw_index_get_steady(dw_index *index, const uint8_t *key, char **text, dw_error *err);
dw_status dw_index_drop(dw_index *index, const char *actor, dw_error *err);
/* Of more than `keep` conversations the one used longest ago; *found false: there are not so
 * many. */
dw_status dw_index_surplus(dw_index *index, uint64_t keep, char actor[DW_ACTOR_ID_CHARS + 1],
                           bool *found, dw_error *err);

#endif
