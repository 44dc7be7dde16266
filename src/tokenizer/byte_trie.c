#include "tokenizer/byte_trie.h"

#include <stdlib.h>

#include "base/alloc.h"

static int by_text(const void *a, const void *b)
{
    const dw__trie_text *x = a;
    const dw__trie_text *y = b;
    int order = memcmp(x->text, y->text, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order != 0             ? order
           : x->bytes != y->bytes ? (x->bytes > y->bytes) - (x->bytes < y->bytes)
                                  : (x->token > y->token) - (x->token < y->token);
}

/* Sorted texts share a node for each byte that they begin alike with. */
static uint64_t count_nodes(const dw__trie_text *texts, size_t count)
{
    uint64_t nodes = 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t alike = 0;
        while (i > 0 && alike < texts[i].bytes && alike < texts[i - 1].bytes &&
               texts[i].text[alike] == texts[i - 1].text[alike]) {
            alike++;
        }
        nodes += texts[i].bytes - alike;
    }
    return nodes;
}

/* The texts [from, to) that go through a node, which lie together. */
typedef struct text_range {
    size_t from;
    size_t to;
} text_range;

/* Level by level: a node's children are put behind those of the nodes in front of it. */
static void fill(dw__byte_trie *trie, text_range *ranges, const dw__trie_text *texts)
{
    uint32_t made = 1;
    uint32_t level_end = 1;
    uint32_t depth = 0;
    for (uint32_t node = 0; node < trie->node_count; node++) {
        if (node == level_end) {
            level_end = made;
            depth++;
        }
        text_range own = ranges[node];
        trie->first[node] = made;
        trie->tokens[node] = -1;
        while (own.from < own.to && texts[own.from].bytes == depth) {
            trie->tokens[node] = texts[own.from++].token;
        }
        while (own.from < own.to) {
            char byte = texts[own.from].text[depth];
            trie->labels[made] = (unsigned char)byte;
            ranges[made].from = own.from;
            while (own.from < own.to && texts[own.from].text[depth] == byte) {
                own.from++;
            }
            ranges[made++].to = own.from;
        }
    }
    DW_ASSERT(made == trie->node_count);
    trie->first[trie->node_count] = made;
}

dw_status dw__byte_trie_make(dw__byte_trie *out, dw__trie_text *texts, size_t count, dw_error *err)
{
    *out = (dw__byte_trie){.node_count = 0};
    qsort(texts, count, sizeof *texts, by_text);
    uint64_t nodes = count_nodes(texts, count);
    if (nodes >= UINT32_MAX) {
        return dw_fail(err, DW_E_LIMIT, "tokens: %llu bytes of different text, limit %u",
                       (unsigned long long)nodes, UINT32_MAX);
    }
    text_range *ranges = dw_alloc((size_t)nodes, sizeof *ranges);
    out->first = dw_alloc((size_t)nodes + 1, sizeof *out->first);
    out->labels = dw_alloc((size_t)nodes, 1);
    out->tokens = dw_alloc((size_t)nodes, sizeof *out->tokens);
    if (ranges == NULL || out->first == NULL || out->labels == NULL || out->tokens == NULL) {
        dw_free(ranges);
        dw__byte_trie_release(out);
        return dw_fail(err, DW_E_MEMORY, "no memory for the texts of %zu tokens", count);
    }
    out->node_count = (uint32_t)nodes;
    ranges[0] = (text_range){0, count};
    fill(out, ranges, texts);
    dw_free(ranges);
    return DW_OK;
}

void dw__byte_trie_release(dw__byte_trie *trie)
{
    dw_free(trie->first);
    dw_free(trie->labels);
    dw_free(trie->tokens);
    *trie = (dw__byte_trie){.node_count = 0};
}

int32_t dw__byte_trie_token(const dw__byte_trie *trie, const char *text, size_t bytes)
{
    uint32_t node = DW__TRIE_ROOT;
    for (size_t i = 0; i < bytes && node != DW__TRIE_NONE; i++) {
        node = dw__byte_trie_child(trie, node, (unsigned char)text[i]);
    }
    return node != DW__TRIE_NONE ? trie->tokens[node] : -1;
}
