/* The texts of tokens as a tree of bytes. Immutable once made. Thread: any. */
#ifndef DW_TOKENIZER_BYTE_TRIE_H
#define DW_TOKENIZER_BYTE_TRIE_H

#include <string.h>

#include "base/status.h"

#define DW__TRIE_ROOT 0
#define DW__TRIE_NONE UINT32_MAX

/* Nodes by their depth, so that the children of each lie together, by their bytes. */
typedef struct dw__byte_trie {
    uint32_t *first;       /* [node_count + 1]: where the children of a node start */
    unsigned char *labels; /* [node_count]: the byte that leads to it */
    int32_t *tokens;       /* [node_count]: -1 where none ends */
    uint32_t node_count;
} dw__byte_trie;

typedef struct dw__trie_text {
    const char *text;
    uint32_t bytes; /* not 0 */
    int32_t token;
} dw__trie_text;

/* Of texts [count], which are sorted here. Of equal ones the last token counts. Errors:
 * DW_E_MEMORY, DW_E_LIMIT. */
dw_status dw__byte_trie_make(dw__byte_trie *out, dw__trie_text *texts, size_t count, dw_error *err);
void dw__byte_trie_release(dw__byte_trie *trie);

static inline uint32_t dw__byte_trie_child(const dw__byte_trie *trie, uint32_t node,
                                           unsigned char byte)
{
    uint32_t from = trie->first[node];
    uint32_t count = trie->first[node + 1] - from;
    const unsigned char *hit = count > 0 ? memchr(trie->labels + from, byte, count) : NULL;
    return hit != NULL ? (uint32_t)(hit - trie->labels) : DW__TRIE_NONE;
}

/* The token of a whole text; -1: it is none. */
int32_t dw__byte_trie_token(const dw__byte_trie *trie, const char *text, size_t bytes);

#endif
