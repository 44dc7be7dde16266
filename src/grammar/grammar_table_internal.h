/* Where characters led a grammar before: a table of states, each a set of stacks, and of what
 * follows them, made as it is needed (a lazy deterministic automaton). Characters that stand in the
 * same sets of the grammar are one class. It holds numbers of nodes, and is cleared when these
 * change.
 * Thread: one at a time. */
#ifndef DW_GRAMMAR_GRAMMAR_TABLE_INTERNAL_H
#define DW_GRAMMAR_GRAMMAR_TABLE_INTERNAL_H

#include "grammar/grammar_internal.h"

/* Of a part of the table: rows, stacks, masks. What comes above is not remembered. */
#define DW__TABLE_PART_BYTES_MAX (DW_GRAMMAR_TABLE_BYTES_MAX / 3)
#define DW__TABLE_UNKNOWN 0U
#define DW__TABLE_DEAD 1U
#define DW__TABLE_ENTRY 2U /* + the entry */
#define DW__TABLE_NONE UINT32_MAX
#define DW__SLICES_MAX 6U
#define DW__SLICE_UNKNOWN UINT8_MAX

typedef struct dw__table_entry {
    uint32_t first; /* of stacks, ascending */
    uint32_t count;
    uint32_t mask; /* DW__TABLE_NONE: not yet */
    bool complete;
    uint8_t slice; /* of slices; DW__SLICES_MAX: none; DW__SLICE_UNKNOWN: not yet looked for */
} dw__table_entry;

typedef struct dw__table_slice {
    uint32_t content;            /* of its set */
    const dw_token_slice *slice; /* NULL: there is none */
} dw__table_slice;

typedef struct dw__grammar_table {
    const dw_token_trie *trie;
    uint32_t word_count;
    const uint64_t *silent; /* [word_count]: a bit for each token that does not count by its text */

    uint32_t *contents; /* [set_count]: equal for sets of the same characters */
    uint32_t *classes;  /* [trie->character_count]: of a character by its number there */
    uint32_t class_count;
    uint32_t *members; /* [class_count]: a character of each class, by its number */
    uint32_t *roots;   /* [root_starts[class_count + 1]]: the trie's nodes of depth 0, by class; */
    uint32_t *root_starts; /* [class_count + 2]: into roots; tails stand behind all classes */

    dw__table_entry *entries; /* [entry_count] */
    uint32_t entry_count;
    uint32_t entry_capacity;
    uint32_t entry_limit;
    uint32_t *stacks; /* [stack_count]: nodes */
    uint32_t stack_count;
    uint32_t stack_capacity;
    uint32_t *slots; /* open addressing over entries, + 1; [slot_count], a power of two */
    uint32_t slot_count;
    uint32_t *next; /* [entry_capacity][class_count]: DW__TABLE_... */
    bool full;      /* since it was last cleared */

    uint64_t *masks; /* [mask_count][word_count] */
    uint32_t mask_count;
    uint32_t mask_capacity;

    dw__table_slice slices[DW__SLICES_MAX];
    uint32_t slice_count;

    uint32_t *path; /* [trie->depth_max + 1]: entries on the way through the tree */
} dw__grammar_table;

/* ---- grammar_classes.c ---- */

/* Sort the vocabulary's characters into classes: contents, classes, members. DW_E_LIMIT: there are
 * too many sets for it to pay. Errors: also DW_E_MEMORY. */
dw_status dw__grammar_classes_make(dw__grammar_table *t, const dw_grammar_rules *rules,
                                   dw_error *err);

/* ---- grammar_table.c ---- */

/* Errors: DW_E_LIMIT (there is no use in one), DW_E_MEMORY. */
dw_status dw__grammar_table_make(dw_grammar *g, dw_error *err);
/* The entry of a state at the end of the pool, no character begun; DW__TABLE_NONE: the table is
 * full, or g->failure. */
uint32_t dw__table_intern(dw_grammar *g, const dw__grammar_state *state);
/* A state with an entry's stacks, put behind the pool. */
bool dw__table_state(dw_grammar *g, uint32_t entry, dw__grammar_state *to);
/* What follows an entry by a class: DW__TABLE_DEAD, an entry + DW__TABLE_ENTRY, or
 * DW__TABLE_UNKNOWN: as DW__TABLE_NONE above. The pool is as it was. */
uint32_t dw__table_next(dw_grammar *g, uint32_t entry, uint32_t class);
/* Set the bits of the tokens that the grammar can follow from an entry on, of all or of those that
 * are not in a slice (NULL: all); false: the table is full, or g->failure. */
bool dw__table_walk(dw_grammar *g, uint32_t entry, const dw_token_slice *but, uint64_t *words);

/* ---- grammar_slice.c ---- */

/* The largest slice that can all follow an entry, and any text that goes on with it; NULL: none. */
const dw_token_slice *dw__slice_for(dw_grammar *g, uint32_t entry);

#endif
