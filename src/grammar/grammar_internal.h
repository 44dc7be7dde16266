/* What a grammar's walk is, and what its files share: grammar_stacks.c keeps the stacks,
 * grammar_follow.c finds what comes first behind a character, grammar.c walks, grammar_table.c
 * remembers where characters led, grammar_mask.c finds what is allowed, grammar_slice.c what is all
 * allowed. Thread: one at a time. */
#ifndef DW_GRAMMAR_GRAMMAR_INTERNAL_H
#define DW_GRAMMAR_GRAMMAR_INTERNAL_H

#include "base/work.h"
#include "grammar/grammar.h"
#include "text/token_trie.h"
#include "text/utf8_step.h"

#define DW__GRAMMAR_NODES_MAX ((uint32_t)1 << 20)
#define DW__GRAMMAR_MEMBERS_MAX ((uint32_t)1 << 21) /* of all bundles */
#define DW__GRAMMAR_BOTTOM 0U
#define DW__GRAMMAR_BUNDLE ((uint32_t)1 << 31) /* + the bundle's number */

/* Stacks whose first symbol is the same one. */
typedef struct dw__grammar_node {
    uint32_t symbol;
    uint32_t below; /* what to go on with after it: a node, the bottom, or a bundle of them */
} dw__grammar_node;

/* Two nodes or more, the bottom perhaps among them. */
typedef struct dw__grammar_bundle {
    uint32_t first; /* of members, ascending */
    uint32_t count;
} dw__grammar_bundle;

/* Nodes and bundles, of which equal ones are one. */
typedef struct dw__grammar_stacks {
    dw__grammar_node *nodes; /* [node_count]; 0 is the bottom of all stacks */
    uint32_t *marks;         /* [node_capacity]: the round in which a node was last seen */
    uint32_t node_count;
    uint32_t node_capacity;
    uint32_t *node_slots; /* open addressing over nodes; 0: free; [2 * node_capacity] */

    dw__grammar_bundle *bundles; /* [bundle_count] */
    uint32_t *bundle_marks;      /* [bundle_capacity] */
    uint32_t bundle_count;
    uint32_t bundle_capacity;
    uint32_t *bundle_slots; /* over bundles, + 1; [2 * bundle_capacity] */
    uint32_t *members;      /* [member_count] */
    uint32_t member_count;
    uint32_t member_capacity;

    uint32_t round;
    uint32_t nodes_tidy; /* above this many, look for those not needed */
    uint32_t members_tidy;
    uint64_t seed; /* of hashes: grammars are written by strangers */
} dw__grammar_stacks;

/* What is begun by a component of rules: a place to go on at, and the next such one. */
typedef struct dw__grammar_part {
    uint32_t below;
    uint32_t next;
} dw__grammar_part;

typedef struct dw__grammar_found {
    uint32_t symbol;
    uint32_t below;
    uint32_t node; /* of the two; DW__GRAMMAR_BOTTOM: not looked for yet */
} dw__grammar_found;

/* Scratch of grammar_follow.c. */
typedef struct dw__grammar_follow {
    uint32_t *todo; /* [todo_count]: nodes to be followed to their first symbols */
    uint32_t todo_count;
    uint32_t todo_capacity;
    uint32_t *starts; /* [component_count + 2]: into rules */
    uint32_t *rules;  /* [rule_count]: by component */
    uint32_t *heads;  /* [component_count + 1]: into parts, where `rounds` is this round */
    uint32_t *rounds; /* [component_count + 1] */
    uint32_t *heap;   /* [heap_count]: components with parts, the largest first */
    uint32_t heap_count;
    dw__grammar_part *parts; /* [part_count] */
    uint32_t part_count;
    uint32_t part_capacity;
    dw__grammar_found *found; /* [found_count]: symbols that take a character or a token */
    uint32_t found_count;
    uint32_t found_capacity;
    uint32_t *members; /* [member_capacity]: of a bundle that is being made */
    uint32_t member_count;
    uint32_t member_capacity;
} dw__grammar_follow;

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
    dw_status failure;  /* of the walk in progress */
    dw_work work;       /* of the call in progress */
    uint64_t earlier;   /* steps of it before `work` was begun */
    uint64_t steps_max; /* of a call */
    uint64_t accepted;  /* steps of all tokens since the beginning */
    uint64_t tokens;    /* accepted since the beginning */

    dw__grammar_stacks stacks;
    dw__grammar_follow follow;

    uint32_t *pool; /* [pool_count]: nodes that are stacks, the present state's first */
    uint32_t pool_count;
    uint32_t pool_capacity;

    dw__grammar_state now;
    dw__grammar_state *walk; /* [texts->longest + 1]: after so many bytes of a text */

    struct dw__grammar_table *table; /* NULL: not yet, or no room */
    uint64_t *allowed;               /* [texts->count bits]: where the table has no mask */
};

/* ---- grammar_stacks.c ---- */

/* Room for one more item of `item_bytes` behind `count`; false: g->failure. */
bool dw__grammar_fits(dw_grammar *g, void *block, uint32_t count, uint32_t *capacity,
                      size_t item_bytes);
/* Take steps of work; false: g->failure. */
static inline bool dw__grammar_take(dw_grammar *g, uint64_t steps)
{
    bool taken = dw_work_take(&g->work, steps);
    g->failure = taken || g->failure != DW_OK ? g->failure : DW_E_LIMIT;
    return taken;
}
static inline void dw__grammar_begin_work(dw_grammar *g, uint64_t limit)
{
    dw_work_begin(&g->work, limit);
    g->earlier = 0;
}
bool dw__grammar_stacks_init(dw_grammar *g);
void dw__grammar_stacks_release(dw__grammar_stacks *stacks);
/* The node of `symbol` over `below`; DW__GRAMMAR_BOTTOM where there is failure. */
uint32_t dw__grammar_node_of(dw_grammar *g, uint32_t symbol, uint32_t below);
/* What follow->members stand for together, which are sorted and made single: a node, or a bundle;
 * DW__GRAMMAR_BOTTOM where there is failure. */
uint32_t dw__grammar_below_of(dw_grammar *g);
/* Append what `below` consists of to follow->members; false: g->failure. */
bool dw__grammar_add_members(dw_grammar *g, uint32_t below);
/* Nothing has been seen yet. */
void dw__grammar_new_round(dw_grammar *g);
/* Keep only what stacks of the pool stand on, and the bottom. */
void dw__grammar_tidy(dw_grammar *g);
/* Whether there may be much else; and whether there is little room left. */
bool dw__grammar_untidy(const dw_grammar *g);
bool dw__grammar_crowded(const dw_grammar *g);

/* ---- grammar_follow.c ---- */

bool dw__grammar_follow_init(dw_grammar *g);
void dw__grammar_follow_release(dw__grammar_follow *follow);
/* `symbol` over `below` is to be matched next; an END goes on with what lies below. */
void dw__grammar_visit(dw_grammar *g, uint32_t symbol, uint32_t below, dw__grammar_state *to);
/* `rule` is to be matched next, and `below` after it. */
void dw__grammar_visit_rule(dw_grammar *g, uint32_t rule, uint32_t below, dw__grammar_state *to);
/* Follow all that was visited in this round to the sets and tokens that come first: these are put
 * behind the pool and join `to`, each once. */
void dw__grammar_follow_all(dw_grammar *g, dw__grammar_state *to);

/* ---- grammar.c ---- */

/* Begin a walk: no failure yet, and only the present state's stacks in the pool. */
void dw__grammar_start_walk(dw_grammar *g);
/* Whether a character of low to high may come. */
bool dw__grammar_any_meets(dw_grammar *g, const dw__grammar_state *at, uint32_t low, uint32_t high);
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
bool dw__grammar_allowed_as_token(dw_grammar *g, uint32_t token);
bool dw__grammar_has_token_symbols(const dw_grammar *g);
dw_status dw__grammar_failure(const dw_grammar *g, dw_error *err);

static inline dw_symbol dw__grammar_symbol(const dw_grammar *g, uint32_t node)
{
    return g->rules.symbols[g->stacks.nodes[node].symbol];
}

/* ---- grammar_mask.c ---- */

/* Forget all that numbers of nodes stand in. */
void dw__grammar_table_clear(struct dw__grammar_table *table);
void dw__grammar_table_destroy(struct dw__grammar_table *table);

#endif
