/* The texts of a vocabulary as a tree of characters: a grammar that cannot go on at a node is
 * spared all tokens below it. In an array, each node before its children, so that it is walked from
 * one end to the other. Only what may begin where a character begins is in it. Immutable once made.
 * Thread: any. */
#ifndef DW_TEXT_TOKEN_TRIE_H
#define DW_TEXT_TOKEN_TRIE_H

#include "base/status.h"

struct dw_token_texts;

typedef struct dw_trie_node {
    uint32_t symbol; /* of characters; from character_count on, of tails */
    uint32_t skip;   /* the node behind all that lie below this one */
    uint32_t first;  /* of tokens: those that end here */
    uint32_t count;
    uint32_t depth; /* 0: at the root */
} dw_trie_node;

/* A token's last bytes where they are no whole character: what it may become. */
typedef struct dw_trie_tail {
    uint32_t low;
    uint32_t high;
} dw_trie_tail;

typedef struct dw_token_trie {
    dw_trie_node *nodes; /* [node_count], and one whose `first` is the number of tokens */
    uint32_t node_count;
    uint32_t depth_max;
    uint32_t *tokens;     /* by node */
    uint32_t *characters; /* [character_count], ascending: those that stand in texts */
    uint32_t character_count;
    dw_trie_tail *tails; /* [tail_count] */
    uint32_t tail_count;
} dw_token_trie;

/* Errors: DW_E_MEMORY. */
dw_status dw_token_trie_make(dw_token_trie *out, const struct dw_token_texts *texts, dw_error *err);
void dw_token_trie_release(dw_token_trie *trie);

#endif
