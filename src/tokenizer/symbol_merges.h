/* Merging: of the pairs of symbols that stand beside each other the best is joined, until none is
 * left that may be. Byte pairs and SentencePiece differ in what may be joined and which is best.
 * Thread: one at a time. */
#ifndef DW_TOKENIZER_SYMBOL_MERGES_H
#define DW_TOKENIZER_SYMBOL_MERGES_H

#include "base/stop.h"

#define DW__SYMBOL_NONE UINT32_MAX

typedef struct dw__symbol {
    uint32_t piece; /* what it is, as `find` knows it; DW__SYMBOL_NONE: joined to one in front */
    uint32_t previous;
    uint32_t next;
} dw__symbol;

typedef struct dw__merge {
    uint32_t whole; /* the piece that both are together */
    uint32_t rank;  /* the lowest is the best */
} dw__merge;

typedef struct dw__merge_candidate dw__merge_candidate;

typedef struct dw__merging {
    /* Whether these two symbols may be joined, and into what. */
    bool (*find)(void *user, const dw__symbol *left, const dw__symbol *right, dw__merge *out);
    void *user;
    dw__symbol *symbols;       /* [room]: the caller's to fill */
    dw__merge_candidate *heap; /* the lowest rank first, then the leftmost */
    size_t heap_count;
    size_t room;
} dw__merging;

/* At least `count` symbols. False: no memory, what was there stays. */
bool dw__merging_make_room(dw__merging *merging, size_t count);
void dw__merging_release(dw__merging *merging);
/* Join what may be of the list that starts at symbol 0. Once `stop` asks the rest is left. */
void dw__merging_run(dw__merging *merging, dw_stop *stop);

#endif
