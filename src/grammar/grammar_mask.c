/* Which tokens are allowed, as a bit each: remembered for a state; else by the table, which walks a
 * slice's leftovers or the whole tree; where a character has begun, or the table is full, text by
 * text. */
#include <string.h>

#include "base/alloc.h"
#include "grammar/grammar_table_internal.h"

static void set_bit(uint64_t *words, uint32_t token)
{
    words[token / 64] |= (uint64_t)1 << token % 64;
}

/* ---- text by text ------------------------------------------------------------------------- */

/* The first text, in the order of bytes, that begins with `byte` or a later one. */
static uint32_t first_from(const dw_token_texts *texts, unsigned char byte)
{
    uint32_t from = 0;
    uint32_t to = texts->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        uint32_t token = texts->order[middle];
        uint32_t start = texts->starts[token];
        if (start == texts->starts[token + 1] || (unsigned char)texts->bytes[start] < byte) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

/* Texts stand in order: each shares the walk of the bytes that it has in common with the one
 * before, and the failure, where the walk ended among these. */
static void mask_texts(dw_grammar *g, uint32_t from, uint32_t to, uint64_t *words)
{
    const dw_token_texts *texts = g->texts;
    const unsigned char *path = (const unsigned char *)texts->bytes; /* walked last */
    uint32_t path_bytes = 0;
    uint32_t depth = 0; /* bytes of it that could be walked */
    g->walk[0] = g->now;
    for (uint32_t i = from; i < to && g->failure == DW_OK; i++) {
        uint32_t token = texts->order[i];
        const unsigned char *text = (const unsigned char *)texts->bytes + texts->starts[token];
        uint32_t bytes = texts->starts[token + 1] - texts->starts[token];
        uint32_t common = 0;
        while (common < bytes && common < path_bytes && text[common] == path[common]) {
            common++;
        }
        if (common <= depth && dw__grammar_crowded(g)) {
            g->pool_count = g->walk[common].pool_count;
            dw__grammar_tidy(g);
        }
        if (common <= depth) {
            depth = dw__grammar_walk_text(g, text, bytes, common);
            path = text;
            path_bytes = bytes;
            if (depth == bytes && dw__grammar_spelled_bytes(g, token) > 0) {
                set_bit(words, token);
            }
        }
    }
}

/* ---- by the table ------------------------------------------------------------------------- */

/* false: the table is full, or g->failure. */
static bool mask_entry(dw_grammar *g, uint32_t entry, uint64_t *words)
{
    const dw__grammar_table *t = g->table;
    const dw_token_slice *slice = dw__slice_for(g, entry);
    if (slice != NULL) {
        memcpy(words, slice->words, t->word_count * sizeof *words);
    } else {
        memset(words, 0, t->word_count * sizeof *words);
    }
    if (!dw__table_walk(g, entry, slice, words)) {
        return false;
    }
    for (uint32_t i = 0; i < t->word_count; i++) {
        words[i] &= ~t->silent[i];
    }
    return g->failure == DW_OK;
}

/* What is allowed in other ways than by its text. */
static void mask_tokens(dw_grammar *g, uint64_t *words)
{
    const dw_token_texts *texts = g->texts;
    bool symbols = dw__grammar_has_token_symbols(g);
    if (g->now.step.left != 0 || (!symbols && !g->now.complete)) {
        return;
    }
    if (!symbols && g->table != NULL) {
        const uint64_t *ends = dw_token_texts_ends(texts);
        for (uint32_t i = 0; i < g->table->word_count; i++) {
            words[i] |= ends[i];
        }
        return;
    }
    for (uint32_t i = 0; i < texts->count; i++) {
        if ((texts->is_end[i] || symbols) && dw__grammar_allowed_as_token(g, i)) {
            set_bit(words, i);
        }
    }
}

/* Room for one mask more; where there is too much already, all are forgotten. */
static uint64_t *new_mask(dw__grammar_table *t)
{
    uint32_t limit = (uint32_t)(DW__TABLE_PART_BYTES_MAX / (t->word_count * sizeof *t->masks));
    if (limit == 0) {
        return NULL;
    }
    if (t->mask_count == limit) {
        for (uint32_t i = 0; i < t->entry_count; i++) {
            t->entries[i].mask = DW__TABLE_NONE;
        }
        t->mask_count = 0;
    }
    if (t->mask_count == t->mask_capacity) {
        uint32_t capacity = t->mask_capacity == 0 ? 4 : t->mask_capacity * 2;
        capacity = capacity > limit ? limit : capacity;
        uint64_t *masks = dw_realloc(t->masks, (size_t)capacity * t->word_count, sizeof *t->masks);
        if (masks == NULL) {
            return NULL;
        }
        t->masks = masks;
        t->mask_capacity = capacity;
    }
    return t->masks + (size_t)t->mask_count * t->word_count;
}

/* NULL: the table cannot tell, or g->failure. */
static const uint64_t *find_mask(dw_grammar *g)
{
    dw__grammar_table *t = g->table;
    if (t->full) {
        dw__grammar_table_clear(t);
    }
    uint32_t entry = dw__table_intern(g, &g->now);
    if (entry == DW__TABLE_NONE) {
        return NULL;
    }
    if (t->entries[entry].mask != DW__TABLE_NONE) {
        return t->masks + (size_t)t->entries[entry].mask * t->word_count;
    }
    uint64_t *words = new_mask(t);
    if (words == NULL || !mask_entry(g, entry, words)) {
        return NULL;
    }
    mask_tokens(g, words);
    t->entries[entry].mask = t->mask_count++;
    return words;
}

dw_status dw_grammar_mask(dw_grammar *g, const uint64_t **allowed, dw_error *err)
{
    uint32_t word_count = g->texts->count / 64 + 1;
    *allowed = NULL;
    dw__grammar_begin_work(g, g->steps_max);
    dw__grammar_start_walk(g);
    if (g->table == NULL) {
        dw_status status = dw__grammar_table_make(g, err);
        if (status == DW_E_MEMORY) {
            return status;
        }
    }
    bool begun = g->now.step.left != 0;
    if (!begun && g->table != NULL) {
        *allowed = find_mask(g);
        if (*allowed != NULL || g->failure != DW_OK) {
            return dw__grammar_failure(g, err);
        }
    }
    if (g->allowed == NULL) {
        g->allowed = dw_alloc(word_count, sizeof *g->allowed);
    }
    if (g->allowed == NULL) {
        return dw_fail(err, DW_E_MEMORY, "grammar: no memory for %u tokens", g->texts->count);
    }
    memset(g->allowed, 0, word_count * sizeof *g->allowed);
    mask_texts(g, begun ? first_from(g->texts, 0x80) : 0,
               begun ? first_from(g->texts, 0xc0) : g->texts->count, g->allowed);
    mask_tokens(g, g->allowed);
    *allowed = g->allowed;
    return dw__grammar_failure(g, err);
}
