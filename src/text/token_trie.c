#include "text/token_trie.h"

#include <string.h>

#include "base/alloc.h"
#include "text/token_texts.h"
#include "text/utf8_step.h"

#define CHARACTERS 0x110000U
#define TAILS_COMPARED 64U

typedef struct builder {
    const dw_token_texts *texts;
    dw_token_trie *to;
    uint32_t *ids;  /* [CHARACTERS]: of a character, + 1; 0: in no text */
    uint32_t *path; /* [texts->longest]: the nodes that lead to the last */
    uint32_t node_capacity;
    uint32_t tail_capacity;
    uint32_t token_count;
    uint32_t depth; /* of path */
} builder;

/* The next character of text [bytes], or its tail; false: it is no UTF-8, or U+0000. */
static bool next_symbol(const unsigned char *text, uint32_t bytes, uint32_t *length,
                        dw_trie_tail *range)
{
    dw_utf8_step step = {.left = 0};
    uint32_t i = 0;
    do {
        if (!dw_utf8_feed(&step, text[i++])) {
            return false;
        }
    } while (step.left > 0 && i < bytes);
    *length = step.left > 0 ? 0 : i;
    *range = (dw_trie_tail){step.low, step.high};
    return step.high > 0;
}

static bool room(void *array, uint32_t *capacity, uint32_t count, size_t item_bytes)
{
    void *block;
    memcpy(&block, array, sizeof block);
    if (count < *capacity) {
        return true;
    }
    uint32_t larger = *capacity == 0 ? 1024 : *capacity * 2;
    void *moved = dw_realloc(block, larger, item_bytes);
    if (moved == NULL) {
        return false;
    }
    memcpy(array, &moved, sizeof moved);
    *capacity = larger;
    return true;
}

static void note_characters(builder *b, const unsigned char *text, uint32_t bytes)
{
    dw_trie_tail range;
    uint32_t length;
    for (uint32_t i = 0; i < bytes && next_symbol(text + i, bytes - i, &length, &range);
         i += length) {
        if (length == 0) {
            return;
        }
        b->ids[range.low] = 1;
    }
}

static bool number_characters(builder *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->texts->count; i++) {
        uint32_t start = b->texts->starts[i];
        note_characters(b, (const unsigned char *)b->texts->bytes + start,
                        b->texts->starts[i + 1] - start);
    }
    for (uint32_t c = 0; c < CHARACTERS; c++) {
        count += b->ids[c];
    }
    b->to->characters = dw_alloc(count, sizeof *b->to->characters);
    if (b->to->characters == NULL) {
        return false;
    }
    for (uint32_t c = 0; c < CHARACTERS; c++) {
        if (b->ids[c] != 0) {
            b->to->characters[b->to->character_count] = c;
            b->ids[c] = ++b->to->character_count;
        }
    }
    return true;
}

/* A child of the path's first `depth` nodes, the last of these if it is that already. */
static bool descend(builder *b, uint32_t depth, uint32_t symbol)
{
    dw_token_trie *to = b->to;
    if (depth < b->depth && to->nodes[b->path[depth]].symbol == symbol) {
        return true;
    }
    for (; b->depth > depth; b->depth--) {
        to->nodes[b->path[b->depth - 1]].skip = to->node_count;
    }
    if (!room(&to->nodes, &b->node_capacity, to->node_count, sizeof *to->nodes)) {
        return false;
    }
    to->nodes[to->node_count] =
        (dw_trie_node){.symbol = symbol, .first = b->token_count, .depth = depth};
    to->depth_max = depth + 1 > to->depth_max ? depth + 1 : to->depth_max;
    b->path[b->depth++] = to->node_count++;
    return true;
}

static bool tail_symbol(builder *b, dw_trie_tail range, uint32_t *symbol)
{
    dw_token_trie *to = b->to;
    uint32_t i = to->tail_count;
    uint32_t least = i > TAILS_COMPARED ? i - TAILS_COMPARED : 0;
    /* Texts come in order: equal tails below one node are neighbours. */
    while (i > least &&
           (to->tails[i - 1].low != range.low || to->tails[i - 1].high != range.high)) {
        i--;
    }
    if (i == least) {
        if (!room(&to->tails, &b->tail_capacity, to->tail_count, sizeof *to->tails)) {
            return false;
        }
        to->tails[to->tail_count++] = range;
        i = to->tail_count;
    }
    *symbol = to->character_count + i - 1;
    return true;
}

static bool add_text(builder *b, uint32_t token)
{
    uint32_t start = b->texts->starts[token];
    uint32_t bytes = b->texts->starts[token + 1] - start;
    const unsigned char *text = (const unsigned char *)b->texts->bytes + start;
    dw_trie_tail range;
    uint32_t length;
    uint32_t depth = 0;
    for (uint32_t i = 0; i < bytes; i += length) { /* whole, or not at all */
        if (!next_symbol(text + i, bytes - i, &length, &range)) {
            return true;
        }
        length = length == 0 ? bytes - i : length;
    }
    for (uint32_t i = 0; i < bytes; i += length) {
        (void)next_symbol(text + i, bytes - i, &length, &range);
        uint32_t symbol = length > 0 ? b->ids[range.low] - 1 : 0;
        if ((length == 0 && !tail_symbol(b, range, &symbol)) || !descend(b, depth++, symbol)) {
            return false;
        }
        length = length == 0 ? bytes - i : length;
    }
    if (bytes > 0) {
        DW_ASSERT(b->depth >= depth);
        dw_trie_node *node = &b->to->nodes[b->path[depth - 1]];
        DW_DCHECK(node->first + node->count == b->token_count);
        b->to->tokens[b->token_count++] = token;
        node->count++;
    }
    return true;
}

dw_status dw_token_trie_make(dw_token_trie *out, const dw_token_texts *texts, dw_error *err)
{
    *out = (dw_token_trie){.tokens = dw_alloc(texts->count, sizeof *out->tokens)};
    builder b = {.texts = texts,
                 .to = out,
                 .ids = dw_alloc(CHARACTERS, sizeof *b.ids),
                 .path = dw_alloc((size_t)texts->longest + 1, sizeof *b.path)};
    bool good = out->tokens != NULL && b.ids != NULL && b.path != NULL && number_characters(&b);
    for (uint32_t i = 0; good && i < texts->count; i++) {
        good = add_text(&b, texts->order[i]);
    }
    for (; good && b.depth > 0; b.depth--) {
        out->nodes[b.path[b.depth - 1]].skip = out->node_count;
    }
    if (good && room(&out->nodes, &b.node_capacity, out->node_count, sizeof *out->nodes)) {
        out->nodes[out->node_count] = (dw_trie_node){.first = b.token_count};
    } else {
        good = false;
    }
    dw_free(b.ids);
    dw_free(b.path);
    if (!good) {
        dw_token_trie_release(out);
        return dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", texts->count);
    }
    return DW_OK;
}

void dw_token_trie_release(dw_token_trie *trie)
{
    dw_free(trie->nodes);
    dw_free(trie->tokens);
    dw_free(trie->characters);
    dw_free(trie->tails);
    *trie = (dw_token_trie){.node_count = 0};
}
