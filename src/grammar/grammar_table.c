#include "grammar/grammar_table_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

/* ---- entries ------------------------------------------------------------------------------ */

static uint64_t hash_stacks(const uint32_t *stacks, uint32_t count, bool complete)
{
    uint64_t sum = count > 0 ? dw_hash_of_text((const char *)stacks, count * sizeof *stacks) : 1;
    return complete ? ~sum : sum;
}

static bool is_entry(const dw__grammar_table *t, uint32_t index, uint32_t count, bool complete)
{
    const dw__table_entry *entry = &t->entries[index];
    return entry->count == count && entry->complete == complete &&
           (count == 0 || memcmp(t->stacks + entry->first, t->stacks + t->stack_count,
                                 count * sizeof *t->stacks) == 0);
}

/* Where the stacks that lie behind the others are, or would be. */
static uint32_t slot_of(const dw__grammar_table *t, uint32_t count, bool complete)
{
    uint64_t hash = hash_stacks(t->stacks + t->stack_count, count, complete);
    uint32_t slot = (uint32_t)hash & (t->slot_count - 1);
    while (t->slots[slot] != 0 && !is_entry(t, t->slots[slot] - 1, count, complete)) {
        slot = (slot + 1) & (t->slot_count - 1);
    }
    return slot;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort(uint32_t *list, uint32_t count)
{
    if (count > 24) {
        qsort(list, count, sizeof *list, by_number);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        uint32_t value = list[i];
        uint32_t k = i;
        for (; k > 0 && list[k - 1] > value; k--) {
            list[k] = list[k - 1];
        }
        list[k] = value;
    }
}

/* Room for more entries, each with its row; where there is none the table is full. */
static bool more_entries(dw__grammar_table *t)
{
    uint32_t capacity = t->entry_capacity == 0 ? 32 : t->entry_capacity * 2;
    capacity = capacity > t->entry_limit ? t->entry_limit : capacity;
    t->full = t->full || capacity <= t->entry_count;
    if (t->full) {
        return false;
    }
    dw__table_entry *entries = dw_realloc(t->entries, capacity, sizeof *entries);
    t->entries = entries != NULL ? entries : t->entries;
    uint32_t *next = dw_realloc(t->next, (size_t)capacity * t->class_count, sizeof *next);
    t->next = next != NULL ? next : t->next;
    t->full = entries == NULL || next == NULL;
    t->entry_capacity = t->full ? t->entry_capacity : capacity;
    return !t->full;
}

/* Twice as many slots, once half of them are taken; false: the table is full. */
static bool more_slots(dw__grammar_table *t)
{
    uint32_t count = t->slot_count * 2;
    uint32_t *slots = dw_alloc(count, sizeof *slots);
    t->full = t->full || slots == NULL;
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->entry_count; i++) {
        const dw__table_entry *entry = &t->entries[i];
        uint64_t hash = hash_stacks(t->stacks + entry->first, entry->count, entry->complete);
        uint32_t slot = (uint32_t)hash & (count - 1);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (count - 1);
        }
        slots[slot] = i + 1;
    }
    dw_free(t->slots);
    t->slots = slots;
    t->slot_count = count;
    return true;
}

static bool more_stacks(dw__grammar_table *t, uint32_t count)
{
    size_t wanted = (size_t)t->stack_count + count;
    if (t->stacks != NULL && wanted <= t->stack_capacity) {
        return true;
    }
    size_t capacity = 2 * wanted + 256;
    uint32_t *stacks = capacity * sizeof *stacks <= DW__TABLE_PART_BYTES_MAX
                           ? dw_realloc(t->stacks, capacity, sizeof *stacks)
                           : NULL;
    t->full = t->full || stacks == NULL;
    if (stacks == NULL) {
        return false;
    }
    t->stacks = stacks;
    t->stack_capacity = (uint32_t)capacity;
    return true;
}

uint32_t dw__table_intern(dw_grammar *g, const dw__grammar_state *state)
{
    dw__grammar_table *t = g->table;
    DW_DCHECK(state->step.left == 0);
    t->full = t->full || dw__grammar_crowded(g); /* numbers of nodes cannot be given anew here */
    if (t->full || !more_stacks(t, state->count) ||
        (2 * t->entry_count >= t->slot_count && !more_slots(t))) {
        return DW__TABLE_NONE;
    }
    uint32_t *stacks = t->stacks + t->stack_count;
    if (state->count > 0) {
        memcpy(stacks, g->pool + state->first, state->count * sizeof *stacks);
        sort(stacks, state->count);
    }
    uint32_t slot = slot_of(t, state->count, state->complete);
    if (t->slots[slot] != 0) {
        return t->slots[slot] - 1;
    }
    if (t->entry_count == t->entry_capacity && !more_entries(t)) {
        return DW__TABLE_NONE;
    }
    t->entries[t->entry_count] = (dw__table_entry){.first = t->stack_count,
                                                   .count = state->count,
                                                   .mask = DW__TABLE_NONE,
                                                   .slice = DW__SLICE_UNKNOWN,
                                                   .complete = state->complete};
    memset(t->next + (size_t)t->entry_count * t->class_count, 0, t->class_count * sizeof *t->next);
    t->stack_count += state->count;
    t->slots[slot] = ++t->entry_count;
    return t->entry_count - 1;
}

bool dw__table_state(dw_grammar *g, uint32_t entry, dw__grammar_state *to)
{
    const dw__table_entry *of = &g->table->entries[entry];
    *to = (dw__grammar_state){.first = g->pool_count, .count = of->count};
    to->complete = of->complete;
    for (uint32_t i = 0; i < of->count; i++) {
        if (!dw__grammar_fits(g, &g->pool, g->pool_count, &g->pool_capacity, sizeof *g->pool)) {
            return false;
        }
        g->pool[g->pool_count++] = g->table->stacks[of->first + i];
    }
    to->pool_count = g->pool_count;
    return true;
}

uint32_t dw__table_next(dw_grammar *g, uint32_t entry, uint32_t class)
{
    dw__grammar_table *t = g->table;
    size_t place = (size_t)entry * t->class_count + class;
    uint32_t pool_count = g->pool_count;
    dw__grammar_state from;
    dw__grammar_state to;
    uint32_t next = DW__TABLE_UNKNOWN;
    if (dw__table_state(g, entry, &from)) {
        if (dw__grammar_match(g, &from, t->trie->characters[t->members[class]], &to)) {
            uint32_t found = dw__table_intern(g, &to);
            next = found != DW__TABLE_NONE ? found + DW__TABLE_ENTRY : DW__TABLE_UNKNOWN;
        } else if (g->failure == DW_OK) {
            next = DW__TABLE_DEAD;
        }
    }
    g->pool_count = pool_count;
    t->next[place] = next;
    return next;
}

/* ---- the walk ----------------------------------------------------------------------------- */

static bool tail_meets(dw_grammar *g, uint32_t entry, dw_trie_tail tail)
{
    const dw__grammar_table *t = g->table;
    const dw__table_entry *of = &t->entries[entry];
    if (!dw__grammar_take(g, of->count)) {
        return false;
    }
    for (uint32_t i = of->first; i < of->first + of->count; i++) {
        dw_symbol symbol = dw__grammar_symbol(g, t->stacks[i]);
        if (symbol.kind == DW_SYMBOL_SET &&
            dw_char_set_meets(&g->rules, symbol.value, tail.low, tail.high)) {
            return true;
        }
    }
    return false;
}

static void set_tokens(const dw_token_trie *trie, uint32_t from, uint32_t to, uint64_t *words)
{
    for (uint32_t k = from; k < to; k++) {
        words[trie->tokens[k] / 64] |= (uint64_t)1 << trie->tokens[k] % 64;
    }
}

/* Whether all that lies below a node goes on from an entry. */
static bool takes_all(dw_grammar *g, uint32_t entry, uint32_t node)
{
    const dw_token_slice *slice = dw__slice_for(g, entry);
    return slice != NULL && (slice->below[node / 64] >> node % 64 & 1) != 0;
}

/* Nodes of one tree, and from which of them to which. */
typedef struct stretch {
    const dw_trie_node *nodes;
    const uint32_t *origins; /* NULL: their own numbers */
    uint32_t from;
    uint32_t to;
} stretch;

static bool walk(dw_grammar *g, const stretch *of, uint64_t *words)
{
    const dw__grammar_table *t = g->table;
    const dw_token_trie *trie = t->trie;
    for (uint32_t i = of->from; i < of->to;) {
        const dw_trie_node *node = &of->nodes[i];
        uint32_t at = t->path[node->depth];
        uint32_t next = DW__TABLE_DEAD;
        if (node->symbol < trie->character_count) {
            uint32_t class = t->classes[node->symbol];
            next = t->next[(size_t)at * t->class_count + class];
            next = next == DW__TABLE_UNKNOWN ? dw__table_next(g, at, class) : next;
            if (next == DW__TABLE_UNKNOWN) {
                return false;
            }
        } else if (tail_meets(g, at, trie->tails[node->symbol - trie->character_count])) {
            set_tokens(trie, node->first, node->first + node->count, words);
        }
        if (next == DW__TABLE_DEAD) {
            i = node->skip;
            continue;
        }
        next -= DW__TABLE_ENTRY;
        t->path[node->depth + 1] = next;
        uint32_t origin = of->origins != NULL ? of->origins[i] : i;
        if (node->skip > i + 1 && takes_all(g, next, origin)) {
            set_tokens(trie, node->first, trie->nodes[trie->nodes[origin].skip].first, words);
            i = node->skip;
            continue;
        }
        set_tokens(trie, node->first, node->first + node->count, words);
        i++;
    }
    return true;
}

bool dw__table_walk(dw_grammar *g, uint32_t entry, const dw_token_slice *but, uint64_t *words)
{
    const dw__grammar_table *t = g->table;
    const dw_token_trie *trie = t->trie;
    t->path[0] = entry;
    if (but != NULL) {
        return walk(g, &(stretch){but->nodes, but->origins, 0, but->node_count}, words);
    }
    for (uint32_t k = 0; k <= t->class_count; k++) {
        uint32_t next = DW__TABLE_ENTRY;
        if (k < t->class_count) {
            next = t->next[(size_t)entry * t->class_count + k];
            next = next == DW__TABLE_UNKNOWN ? dw__table_next(g, entry, k) : next;
        }
        if (next == DW__TABLE_UNKNOWN) {
            return false;
        }
        for (uint32_t i = t->root_starts[k]; next != DW__TABLE_DEAD && i < t->root_starts[k + 1];
             i++) {
            uint32_t node = t->roots[i];
            if (!walk(g, &(stretch){trie->nodes, NULL, node, trie->nodes[node].skip}, words)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- life --------------------------------------------------------------------------------- */

void dw__grammar_table_clear(dw__grammar_table *t)
{
    if (t == NULL) {
        return;
    }
    memset(t->slots, 0, t->slot_count * sizeof *t->slots);
    t->entry_count = 0;
    t->stack_count = 0;
    t->mask_count = 0;
    t->full = false;
}

/* Most states take few of the characters that texts begin with: of the other classes none is
 * looked at. */
static bool sort_roots(dw__grammar_table *t)
{
    const dw_token_trie *trie = t->trie;
    uint32_t *starts = dw_alloc((size_t)t->class_count + 3, sizeof *starts);
    t->roots = dw_alloc(trie->node_count, sizeof *t->roots);
    t->root_starts = starts;
    if (starts == NULL || t->roots == NULL) {
        return false;
    }
    /* Counted two places up, so that filling in moves each start to its place. */
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < trie->node_count; i = trie->nodes[i].skip) {
            uint32_t symbol = trie->nodes[i].symbol;
            uint32_t class = symbol < trie->character_count ? t->classes[symbol] : t->class_count;
            if (pass == 0) {
                starts[class + 2]++;
            } else {
                t->roots[starts[class + 1]++] = i;
            }
        }
        for (uint32_t k = 2; pass == 0 && k < t->class_count + 3; k++) {
            starts[k] += starts[k - 1];
        }
    }
    return true;
}

static bool allocate(dw__grammar_table *t, const dw_grammar *g)
{
    size_t row = (size_t)t->class_count * sizeof *t->next;
    t->entry_limit = (uint32_t)(DW__TABLE_PART_BYTES_MAX / (row + sizeof *t->entries));
    t->slot_count = 256;
    t->word_count = g->texts->count / 64 + 1;
    t->slots = dw_alloc(t->slot_count, sizeof *t->slots);
    t->silent = dw_token_texts_silent(g->texts, g->control_spelled);
    t->path = dw_alloc((size_t)t->trie->depth_max + 1, sizeof *t->path);
    return t->slots != NULL && t->silent != NULL && t->path != NULL && sort_roots(t);
}

dw_status dw__grammar_table_make(dw_grammar *g, dw_error *err)
{
    dw__grammar_table *t = dw_alloc(1, sizeof *t);
    if (t == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar's table");
    }
    dw_status status = dw_token_texts_trie(g->texts, &t->trie, err);
    status = status == DW_OK ? dw__grammar_classes_make(t, &g->rules, err) : status;
    if (status == DW_OK && !allocate(t, g)) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a grammar's table");
    }
    if (status != DW_OK) {
        dw__grammar_table_destroy(t);
        return status;
    }
    g->table = t;
    return DW_OK;
}

void dw__grammar_table_destroy(dw__grammar_table *t)
{
    if (t == NULL) {
        return;
    }
    dw_free(t->roots);
    dw_free(t->root_starts);
    dw_free(t->contents);
    dw_free(t->classes);
    dw_free(t->members);
    dw_free(t->entries);
    dw_free(t->stacks);
    dw_free(t->slots);
    dw_free(t->next);
    dw_free(t->masks);
    dw_free(t->path);
    dw_free(t);
}
