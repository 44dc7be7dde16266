/* Inside a string a grammar takes nine tokens of ten, and would be led through them at each new
 * state. The tokens that consist of the string's characters are found once, and taken together:
 * here, whether a state takes all of them. */
#include "grammar/grammar_table_internal.h"

#define LETTERS_MIN 26 /* a set of fewer of ASCII's 52 takes too few tokens */
#define STACKS_LOOKED_AT 64U
#define TRIES_MAX 4U
#define COMPARED_A_STEP 16U

/* ---- whether all of a slice goes on ------------------------------------------------------- */

typedef struct same {
    const uint32_t *contents;
    uint32_t content;
} same;

static bool is_same(const void *user, uint32_t set)
{
    const same *of = user;
    return of->contents[set] == of->content;
}

static bool begins_with(const dw_grammar *g, uint32_t stack, const same *of)
{
    dw_symbol symbol = dw__grammar_symbol(g, stack);
    return symbol.kind == DW_SYMBOL_SET && is_same(of, symbol.value);
}

/* Whether what began with the set before still does: so it will after any more of it. */
static bool lasts(const dw_grammar *g, const dw__grammar_state *from, const dw__grammar_state *to,
                  const same *of)
{
    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t stack = g->pool[from->first + i];
        bool found = !begins_with(g, stack, of);
        for (uint32_t k = 0; !found && k < to->count; k++) {
            found = g->pool[to->first + k] == stack;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool goes_on(dw_grammar *g, uint32_t entry, uint32_t content)
{
    const same of = {g->table->contents, content};
    uint32_t pool_count = g->pool_count;
    dw__grammar_state from;
    dw__grammar_state to;
    bool on = dw__table_state(g, entry, &from);
    for (uint32_t i = 0; on && i < DW_TOKEN_SLICE_CHARACTERS; i++) {
        on = dw__grammar_match_set(g, &from, is_same, &of, &to) &&
             dw__grammar_take(g, (uint64_t)from.count * to.count / COMPARED_A_STEP);
        if (on && lasts(g, &from, &to, &of)) {
            break;
        }
        from = to;
    }
    g->pool_count = pool_count;
    g->failure = DW_OK; /* the walk will meet it too, unless it is spared */
    return on;
}

/* ---- choosing one ------------------------------------------------------------------------- */

static bool is_wide(const dw_char_set *set)
{
    uint32_t letters = 0;
    for (uint32_t c = 'A'; c <= 'z'; c++) {
        letters += (c <= 'Z' || c >= 'a') && (set->ascii[c / 32] >> c % 32 & 1) != 0;
    }
    return letters >= LETTERS_MIN;
}

/* The number of a set's slice, where there is one; else DW__SLICES_MAX. */
static uint32_t slice_of(dw_grammar *g, uint32_t content)
{
    dw__grammar_table *t = g->table;
    const dw_char_set *set = &g->rules.sets[content];
    for (uint32_t i = 0; i < t->slice_count; i++) {
        if (t->slices[i].content == content) {
            return t->slices[i].slice != NULL ? i : DW__SLICES_MAX;
        }
    }
    if (t->slice_count == DW__SLICES_MAX) {
        return DW__SLICES_MAX;
    }
    dw__table_slice *slice = &t->slices[t->slice_count++];
    slice->content = content;
    slice->slice = dw_token_texts_slice(g->texts, g->rules.ranges + set->first, set->count);
    return slice->slice != NULL ? t->slice_count - 1 : DW__SLICES_MAX;
}

static uint32_t find_slice(dw_grammar *g, uint32_t entry)
{
    const dw__grammar_table *t = g->table;
    uint32_t best = DW__SLICES_MAX;
    uint32_t last = UINT32_MAX; /* tried last: most states begin with one wide set, if any */
    uint32_t tries = t->entries[entry].count <= STACKS_LOOKED_AT ? TRIES_MAX : 0;
    for (uint32_t i = 0; i < t->entries[entry].count && tries > 0; i++) {
        uint32_t stack = t->stacks[t->entries[entry].first + i];
        dw_symbol symbol = dw__grammar_symbol(g, stack);
        if (symbol.kind != DW_SYMBOL_SET || !is_wide(&g->rules.sets[symbol.value]) ||
            t->contents[symbol.value] == last) {
            continue;
        }
        last = t->contents[symbol.value];
        tries--;
        uint32_t found = goes_on(g, entry, last) ? slice_of(g, last) : DW__SLICES_MAX;
        if (found < DW__SLICES_MAX &&
            (best == DW__SLICES_MAX ||
             t->slices[found].slice->token_count > t->slices[best].slice->token_count)) {
            best = found;
        }
    }
    return best;
}

const dw_token_slice *dw__slice_for(dw_grammar *g, uint32_t entry)
{
    dw__grammar_table *t = g->table;
    if (t->entries[entry].slice == DW__SLICE_UNKNOWN) {
        t->entries[entry].slice = (uint8_t)find_slice(g, entry);
    }
    uint32_t slice = t->entries[entry].slice;
    return slice < DW__SLICES_MAX ? t->slices[slice].slice : NULL;
}
