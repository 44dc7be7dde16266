#include "text/token_slice.h"

#include <string.h>

#include "base/alloc.h"

typedef struct builder {
    const dw_token_trie *trie;
    dw_token_slice *to;
    unsigned char *in;     /* [symbols]: whether a character is of the set, a tail may be */
    unsigned char *needed; /* [node_count]: whether a token not in the slice is at it or below */
    unsigned char *height; /* [node_count]: of what is below, all of the set; 255: not all is */
    uint32_t *path;        /* [depth_max + 1]: nodes */
    unsigned char *whole;  /* [depth_max + 2]: whether all down to it is of the set */
} builder;

static bool meets(const dw_token_slice *slice, uint32_t low, uint32_t high)
{
    uint32_t from = 0;
    uint32_t to = slice->range_count;
    while (from < to) { /* the first range that ends at `low` or later */
        uint32_t middle = from + (to - from) / 2;
        if (slice->ranges[middle].high < low) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < slice->range_count && slice->ranges[from].low <= high;
}

static void sort_symbols(builder *b)
{
    const dw_token_trie *trie = b->trie;
    for (uint32_t i = 0; i < trie->character_count; i++) {
        b->in[i] = meets(b->to, trie->characters[i], trie->characters[i]);
    }
    for (uint32_t i = 0; i < trie->tail_count; i++) {
        b->in[trie->character_count + i] = meets(b->to, trie->tails[i].low, trie->tails[i].high);
    }
}

/* Set the slice's tokens; count the nodes that lead to others. */
static void sort_tokens(builder *b)
{
    const dw_token_trie *trie = b->trie;
    dw_token_slice *to = b->to;
    b->whole[0] = 1;
    for (uint32_t i = 0; i < trie->node_count; i++) {
        const dw_trie_node *node = &trie->nodes[i];
        bool in =
            b->whole[node->depth] && b->in[node->symbol] && node->depth < DW_TOKEN_SLICE_CHARACTERS;
        b->whole[node->depth + 1] = in;
        b->path[node->depth] = i;
        for (uint32_t k = node->first; in && k < node->first + node->count; k++) {
            to->words[trie->tokens[k] / 64] |= (uint64_t)1 << trie->tokens[k] % 64;
            to->token_count++;
        }
        for (uint32_t d = node->depth + 1; !in && d-- > 0 && !b->needed[b->path[d]];) {
            b->needed[b->path[d]] = 1;
            to->node_count++;
        }
    }
}

/* From the leaves up: each node is done before its parent, which is the path's at its depth. */
static void find_below(builder *b)
{
    const dw_token_trie *trie = b->trie;
    for (uint32_t i = trie->node_count; i-- > 0;) {
        uint32_t height = 0;
        for (uint32_t k = i + 1; k < trie->nodes[i].skip && height < UINT8_MAX;
             k = trie->nodes[k].skip) {
            uint32_t child = b->in[trie->nodes[k].symbol] ? b->height[k] + 1U : UINT8_MAX;
            child = child > DW_TOKEN_SLICE_CHARACTERS ? UINT8_MAX : child;
            height = child > height ? child : height;
        }
        b->height[i] = (unsigned char)height;
        if (height < UINT8_MAX) {
            b->to->below[i / 64] |= (uint64_t)1 << i % 64;
        }
    }
}

static void copy_nodes(builder *b)
{
    const dw_token_trie *trie = b->trie;
    dw_token_slice *to = b->to;
    uint32_t count = 0;
    uint32_t depth = 0;
    for (uint32_t i = 0; i < trie->node_count; i++) {
        if (!b->needed[i]) {
            continue;
        }
        for (; depth > trie->nodes[i].depth; depth--) {
            to->nodes[b->path[depth - 1]].skip = count;
        }
        b->path[depth++] = count;
        to->origins[count] = i;
        to->nodes[count++] = trie->nodes[i];
    }
    for (; depth > 0; depth--) {
        to->nodes[b->path[depth - 1]].skip = count;
    }
    DW_ASSERT(count == to->node_count);
}

static bool build(builder *b, uint32_t token_count)
{
    const dw_token_trie *trie = b->trie;
    dw_token_slice *to = b->to;
    size_t words = (size_t)token_count / 64 + 1;
    size_t below = (size_t)trie->node_count / 64 + 1;
    b->in = dw_alloc((size_t)trie->character_count + trie->tail_count, 1);
    b->needed = dw_alloc(trie->node_count, 1);
    b->height = dw_alloc(trie->node_count, 1);
    b->path = dw_alloc((size_t)trie->depth_max + 1, sizeof *b->path);
    b->whole = dw_alloc((size_t)trie->depth_max + 2, 1);
    to->words = dw_alloc(words, sizeof *to->words);
    to->below = dw_alloc(below, sizeof *to->below);
    if (b->in == NULL || b->needed == NULL || b->height == NULL || b->path == NULL ||
        b->whole == NULL || to->words == NULL || to->below == NULL) {
        return false;
    }
    sort_symbols(b);
    sort_tokens(b);
    find_below(b);
    to->nodes = dw_alloc(to->node_count, sizeof *to->nodes);
    to->origins = dw_alloc(to->node_count, sizeof *to->origins);
    if (to->nodes == NULL || to->origins == NULL) {
        return false;
    }
    copy_nodes(b);
    to->bytes = (words + below) * sizeof(uint64_t) +
                to->node_count * (sizeof *to->nodes + sizeof *to->origins) +
                to->range_count * sizeof *to->ranges;
    return true;
}

dw_status dw_token_slice_make(dw_token_slice *out, const dw_token_trie *trie, uint32_t token_count,
                              const dw_char_range *ranges, uint32_t range_count)
{
    *out = (dw_token_slice){.ranges = dw_alloc(range_count, sizeof *out->ranges)};
    builder b = {.trie = trie, .to = out};
    bool built = out->ranges != NULL;
    if (built) {
        memcpy(out->ranges, ranges, range_count * sizeof *ranges);
        out->range_count = range_count;
        built = build(&b, token_count);
    }
    dw_free(b.in);
    dw_free(b.needed);
    dw_free(b.height);
    dw_free(b.path);
    dw_free(b.whole);
    if (!built) {
        dw_token_slice_release(out);
    }
    return built ? DW_OK : DW_E_MEMORY;
}

void dw_token_slice_release(dw_token_slice *slice)
{
    dw_free(slice->ranges);
    dw_free(slice->words);
    dw_free(slice->nodes);
    dw_free(slice->origins);
    dw_free(slice->below);
    *slice = (dw_token_slice){.words = NULL};
}
