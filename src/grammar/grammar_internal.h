/* What a grammar's walk is, and what its files share: grammar.c walks, grammar_table.c remembers
 * where characters led, grammar_mask.c finds what is allowed, grammar_slice.c what is all allowed.
 * Thread: one at a time. */
#ifndef DW_GRAMMAR_GRAMMAR_INTERNAL_H
#define DW_GRAMMAR_GRAMMAR_INTERNAL_H

#include "grammar/grammar.h"
#include "text/token_trie.h"
#include "text/utf8_step.h"

#define DW__GRAMMAR_NODES_MAX ((uint32_t)1 << 20)
#define DW__GRAMMAR_STACKS_MAX 8192U /* at once: more is a grammar that guesses without end */
#define DW__GRAMMAR_BOTTOM 0U

typedef struct dw__grammar_node {
    uint32_t symbol;
    uint32_t below;
} dw__grammar_node;

/* The pool's [first, first + count) are the stacks; a character may have begun. */
typedef struct dw__grammar_state {
    uint32_t first;
    uint32_t count;
    uint32_t pool_count; /* what to go back to when this is the last state */
    dw_utf8_step step;
    bool complete;
} dw__grammar_state;

struct dw_grammar {
    dw_grammar_rules rules;
    const dw_token_texts *texts;
    bool control_spelled;
    dw_status failure; /* of the walk in progress */

    dw__grammar_node *nodes; /* [node_count]; 0 is the bottom of all stacks */
    uint32_t *marks;         /* [node_capacity]: the round in which a node was last seen */
    uint32_t node_count;
    uint32_t node_capacity;
    uint32_t round;
    uint32_t *slots; /* open addressing over nodes; 0: free; [slot_count], a power of two */
    uint32_t slot_count;

    uint32_t *pool; /* [pool_count]: nodes that are stacks, the present state's first */
    uint32_t pool_count;
    uint32_t pool_capacity;
    uint32_t *todo; /* [todo_count]: nodes to be followed to their first symbols */
    uint32_t todo_count;
    uint32_t todo_capacity;

    dw__grammar_state now;
    dw__grammar_state *walk; /* [texts->longest + 1]: after so many bytes of a text */

    struct dw__grammar_table *table; /* NULL: not yet, or no room */
    uint64_t *allowed;               /* [texts->count bits]: where the table has no mask */
};

/* ---- grammar.c ---- */

/* Room for one more of block [count]; false: g->failure. */
bool dw__grammar_fits(dw_grammar *g, uint32_t **block, uint32_t count, uint32_t *capacity);
/* Begin a walk: no failure yet, and only the present state's stacks in the pool. */
void dw__grammar_start_walk(dw_grammar *g);
/* Whether a character of low to high may come. */
bool dw__grammar_any_meets(const dw_grammar *g, const dw__grammar_state *at, uint32_t low,
                           uint32_t high);
/* One character further, `to` behind the pool; false: the grammar ends here, or g->failure. */
bool dw__grammar_match(dw_grammar *g, const dw__grammar_state *from, uint32_t character,
                       dw__grammar_state *to);
/* The same past any character of a set, by those stacks alone of which it is what comes next.
 *   is_set(user, set): whether it is that set */
bool dw__grammar_match_set(dw_grammar *g, const dw__grammar_state *from,
                           bool (*is_set)(const void *user, uint32_t set), const void *user,
                           dw__grammar_state *to);
/* Walk a text from the state after `depth` of its bytes; the bytes that could be walked. */
uint32_t dw__grammar_walk_text(dw_grammar *g, const unsigned char *text, uint32_t bytes,
                               uint32_t depth);
/* The bytes by which a token may be allowed; 0: only as a token. */
uint32_t dw__grammar_spelled_bytes(const dw_grammar *g, uint32_t token);
/* Whether a token is allowed other than by its text. */
bool dw__grammar_allowed_as_token(const dw_grammar *g, uint32_t token);
bool dw__grammar_has_token_symbols(const dw_grammar *g);
dw_status dw__grammar_failure(const dw_grammar *g, dw_error *err);

/* ---- grammar_mask.c ---- */

/* Forget all that numbers of nodes stand in. */
void dw__grammar_table_clear(struct dw__grammar_table *table);
void dw__grammar_table_destroy(struct dw__grammar_table *table);

#endif
