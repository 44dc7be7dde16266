/* A slice of a vocabulary: the tokens whose characters are all of one set. Where a grammar takes
 * any number of the set's characters, as inside a string, these need not be looked at one by one.
 * Immutable once made, and shared by all grammars over the vocabulary. Thread: any. */
#ifndef DW_TEXT_TOKEN_SLICE_H
#define DW_TEXT_TOKEN_SLICE_H

#include "text/grammar_rules.h"
#include "text/token_trie.h"

#define DW_TOKEN_SLICE_CHARACTERS 16U /* of a token that is in; a longer one is not */

typedef struct dw_token_slice {
    dw_char_range *ranges; /* [range_count]: the set, sorted and apart */
    uint32_t range_count;
    uint32_t token_count; /* that are in */
    uint64_t *words;      /* a bit for each of the vocabulary's tokens: whether it is in */
    /* The tree of those that are not: each node with its number in the whole tree. */
    dw_trie_node *nodes; /* [node_count] */
    uint32_t *origins;   /* [node_count] */
    uint32_t node_count;
    /* A bit for each node of the whole tree: whether all below it are of the set, and reach no
     * deeper than DW_TOKEN_SLICE_CHARACTERS below it. */
    uint64_t *below;
    size_t bytes; /* of memory */
} dw_token_slice;

/* Errors: DW_E_MEMORY. */
dw_status dw_token_slice_make(dw_token_slice *out, const dw_token_trie *trie, uint32_t token_count,
                              const dw_char_range *ranges, uint32_t range_count);
void dw_token_slice_release(dw_token_slice *slice);

#endif
