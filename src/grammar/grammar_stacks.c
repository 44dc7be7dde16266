/* Stacks share what lies beneath: a node is the symbol to match next over what to go on with after
 * it, and equal nodes are one (hash consing), so that comparing stacks is comparing numbers. Stacks
 * with the same first symbol are one node over a bundle of what lies below them (a graph-structured
 * stack: Tomita 1985), so that a text which the grammar reads in very many ways takes no more nodes
 * than it has symbols. What no stack needs is removed between tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "grammar/grammar_internal.h"

#define NODES_TIDY ((uint32_t)1 << 16)
#define MEMBERS_TIDY ((uint32_t)1 << 18)

/* ---- room --------------------------------------------------------------------------------- */

bool dw__grammar_fits(dw_grammar *g, void *block, uint32_t count, uint32_t *capacity,
                      size_t item_bytes)
{
    if (count < *capacity) {
        return true;
    }
    uint32_t larger = *capacity == 0 ? 64 : *capacity * 2;
    void *items;
    memcpy(&items, block, sizeof items);
    void *moved = dw_realloc(items, larger, item_bytes);
    if (moved == NULL) {
        g->failure = DW_E_MEMORY;
        return false;
    }
    memcpy(block, &moved, sizeof moved);
    *capacity = larger;
    return true;
}

/* ---- nodes -------------------------------------------------------------------------------- */

static uint32_t node_slot(const dw__grammar_stacks *s, uint32_t symbol, uint32_t below)
{
    uint64_t key = (((uint64_t)symbol << 32 | below) ^ s->seed) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t mask = s->node_capacity * 2 - 1;
    uint32_t slot = (uint32_t)(key >> 32) & mask;
    while (s->node_slots[slot] != 0 && (s->nodes[s->node_slots[slot]].symbol != symbol ||
                                        s->nodes[s->node_slots[slot]].below != below)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void fill_node_slots(dw__grammar_stacks *s)
{
    memset(s->node_slots, 0, (size_t)s->node_capacity * 2 * sizeof *s->node_slots);
    for (uint32_t i = 1; i < s->node_count; i++) {
        s->node_slots[node_slot(s, s->nodes[i].symbol, s->nodes[i].below)] = i;
    }
}

/* Each block that was had is kept: the next try takes it from there. */
static bool more_nodes(dw_grammar *g)
{
    dw__grammar_stacks *s = &g->stacks;
    uint32_t capacity = s->node_capacity == 0 ? 256 : s->node_capacity * 2;
    if (capacity > DW__GRAMMAR_NODES_MAX) {
        g->failure = DW_E_LIMIT;
        return false;
    }
    dw__grammar_node *nodes = dw_realloc(s->nodes, capacity, sizeof *nodes);
    s->nodes = nodes != NULL ? nodes : s->nodes;
    uint32_t *marks = dw_realloc(s->marks, capacity, sizeof *marks);
    s->marks = marks != NULL ? marks : s->marks;
    uint32_t *slots = dw_alloc((size_t)capacity * 2, sizeof *slots);
    if (nodes == NULL || marks == NULL || slots == NULL) {
        dw_free(slots);
        g->failure = DW_E_MEMORY;
        return false;
    }
    memset(s->marks + s->node_capacity, 0, (capacity - s->node_capacity) * sizeof *marks);
    dw_free(s->node_slots);
    s->node_slots = slots;
    s->node_capacity = capacity;
    fill_node_slots(s);
    return true;
}

uint32_t dw__grammar_node_of(dw_grammar *g, uint32_t symbol, uint32_t below)
{
    dw__grammar_stacks *s = &g->stacks;
    DW_DCHECK(symbol < g->rules.symbol_count);
    uint32_t slot = node_slot(s, symbol, below);
    if (s->node_slots[slot] != 0) {
        return s->node_slots[slot];
    }
    if (s->node_count == s->node_capacity) {
        if (!more_nodes(g)) {
            return DW__GRAMMAR_BOTTOM;
        }
        slot = node_slot(s, symbol, below);
    }
    s->nodes[s->node_count] = (dw__grammar_node){symbol, below};
    s->node_slots[slot] = s->node_count;
    return s->node_count++;
}

/* ---- bundles ------------------------------------------------------------------------------ */

static uint32_t bundle_slot(const dw__grammar_stacks *s, const uint32_t *members, uint32_t count)
{
    uint32_t mask = s->bundle_capacity * 2 - 1;
    uint32_t slot =
        (uint32_t)dw_hash_of_text((const char *)members, count * sizeof *members) & mask;
    for (; s->bundle_slots[slot] != 0; slot = (slot + 1) & mask) {
        const dw__grammar_bundle *known = &s->bundles[s->bundle_slots[slot] - 1];
        if (known->count == count &&
            memcmp(s->members + known->first, members, count * sizeof *members) == 0) {
            break;
        }
    }
    return slot;
}

static void fill_bundle_slots(dw__grammar_stacks *s)
{
    memset(s->bundle_slots, 0, (size_t)s->bundle_capacity * 2 * sizeof *s->bundle_slots);
    for (uint32_t i = 0; i < s->bundle_count; i++) {
        const dw__grammar_bundle *bundle = &s->bundles[i];
        s->bundle_slots[bundle_slot(s, s->members + bundle->first, bundle->count)] = i + 1;
    }
}

static bool more_bundles(dw_grammar *g)
{
    dw__grammar_stacks *s = &g->stacks;
    uint32_t capacity = s->bundle_capacity == 0 ? 16 : s->bundle_capacity * 2;
    dw__grammar_bundle *bundles = dw_realloc(s->bundles, capacity, sizeof *bundles);
    s->bundles = bundles != NULL ? bundles : s->bundles;
    uint32_t *marks = dw_realloc(s->bundle_marks, capacity, sizeof *marks);
    s->bundle_marks = marks != NULL ? marks : s->bundle_marks;
    uint32_t *slots = dw_alloc((size_t)capacity * 2, sizeof *slots);
    if (bundles == NULL || marks == NULL || slots == NULL) {
        dw_free(slots);
        g->failure = DW_E_MEMORY;
        return false;
    }
    memset(s->bundle_marks + s->bundle_capacity, 0,
           (capacity - s->bundle_capacity) * sizeof *marks);
    dw_free(s->bundle_slots);
    s->bundle_slots = slots;
    s->bundle_capacity = capacity;
    fill_bundle_slots(s);
    return true;
}

/* Room for a bundle of `count` members: their number is bounded, and so the bundles'. */
static bool bundle_fits(dw_grammar *g, uint32_t count)
{
    dw__grammar_stacks *s = &g->stacks;
    if (count > DW__GRAMMAR_MEMBERS_MAX - s->member_count) {
        g->failure = DW_E_LIMIT;
        return false;
    }
    while (s->member_capacity - s->member_count < count) {
        if (!dw__grammar_fits(g, &s->members, s->member_capacity, &s->member_capacity,
                              sizeof *s->members)) {
            return false;
        }
    }
    return s->bundle_count < s->bundle_capacity || more_bundles(g);
}

static uint32_t bundle_of(dw_grammar *g, const uint32_t *members, uint32_t count)
{
    dw__grammar_stacks *s = &g->stacks;
    if (!bundle_fits(g, count)) {
        return DW__GRAMMAR_BOTTOM;
    }
    uint32_t slot = bundle_slot(s, members, count);
    if (s->bundle_slots[slot] == 0) {
        memcpy(s->members + s->member_count, members, count * sizeof *members);
        s->bundles[s->bundle_count] = (dw__grammar_bundle){s->member_count, count};
        s->member_count += count;
        s->bundle_slots[slot] = ++s->bundle_count;
    }
    return DW__GRAMMAR_BUNDLE + s->bundle_slots[slot] - 1;
}

bool dw__grammar_add_members(dw_grammar *g, uint32_t below)
{
    dw__grammar_follow *f = &g->follow;
    const uint32_t *members = &below;
    uint32_t count = 1;
    if ((below & DW__GRAMMAR_BUNDLE) != 0) {
        const dw__grammar_bundle *bundle = &g->stacks.bundles[below - DW__GRAMMAR_BUNDLE];
        members = g->stacks.members + bundle->first;
        count = bundle->count;
    }
    if (!dw__grammar_take(g, count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!dw__grammar_fits(g, &f->members, f->member_count, &f->member_capacity,
                              sizeof *f->members)) {
            return false;
        }
        f->members[f->member_count++] = members[i];
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t dw__grammar_below_of(dw_grammar *g)
{
    dw__grammar_follow *f = &g->follow;
    uint32_t kept = 1;
    DW_DCHECK(f->member_count > 0);
    if (!dw__grammar_take(g, 4 * (uint64_t)f->member_count)) {
        return DW__GRAMMAR_BOTTOM;
    }
    qsort(f->members, f->member_count, sizeof *f->members, by_number);
    for (uint32_t i = 1; i < f->member_count; i++) {
        if (f->members[i] != f->members[kept - 1]) {
            f->members[kept++] = f->members[i];
        }
    }
    return kept == 1 ? f->members[0] : bundle_of(g, f->members, kept);
}

/* ---- rounds and tidying ------------------------------------------------------------------- */

static void forget_rounds(dw_grammar *g)
{
    dw__grammar_stacks *s = &g->stacks;
    memset(s->marks, 0, s->node_capacity * sizeof *s->marks);
    if (s->bundle_capacity > 0) {
        memset(s->bundle_marks, 0, s->bundle_capacity * sizeof *s->bundle_marks);
    }
    memset(g->follow.rounds, 0, ((size_t)g->rules.component_count + 1) * sizeof *g->follow.rounds);
    s->round = 0;
}

void dw__grammar_new_round(dw_grammar *g)
{
    if (g->stacks.round == UINT32_MAX) {
        forget_rounds(g);
    }
    g->stacks.round++;
}

/* Mark all that `below` stands on. */
static bool mark_below(dw_grammar *g, uint32_t below)
{
    dw__grammar_stacks *s = &g->stacks;
    dw__grammar_follow *f = &g->follow;
    f->member_count = 0;
    bool fine = dw__grammar_add_members(g, below);
    while (fine && f->member_count > 0) {
        uint32_t n = f->members[--f->member_count];
        if (s->marks[n] != 0) {
            continue;
        }
        s->marks[n] = 1;
        below = s->nodes[n].below;
        if ((below & DW__GRAMMAR_BUNDLE) == 0 || s->bundle_marks[below - DW__GRAMMAR_BUNDLE] == 0) {
            fine = dw__grammar_add_members(g, below);
        }
        if ((below & DW__GRAMMAR_BUNDLE) != 0) {
            s->bundle_marks[below - DW__GRAMMAR_BUNDLE] = 1;
        }
    }
    return fine;
}

static uint32_t moved(const dw__grammar_stacks *s, uint32_t below)
{
    return (below & DW__GRAMMAR_BUNDLE) == 0
               ? s->marks[below]
               : DW__GRAMMAR_BUNDLE + s->bundle_marks[below - DW__GRAMMAR_BUNDLE] - 1;
}

/* What is marked moves to the front, in the order in which it was: members stay ascending. */
static void close_ranks(dw_grammar *g)
{
    dw__grammar_stacks *s = &g->stacks;
    uint32_t node_count = 1;
    uint32_t bundle_count = 0;
    uint32_t member_count = 0;
    s->marks[DW__GRAMMAR_BOTTOM] = DW__GRAMMAR_BOTTOM;
    for (uint32_t n = 1; n < s->node_count; n++) {
        s->marks[n] = s->marks[n] != 0 ? node_count++ : 0;
    }
    for (uint32_t b = 0; b < s->bundle_count; b++) {
        s->bundle_marks[b] = s->bundle_marks[b] != 0 ? ++bundle_count : 0;
    }
    for (uint32_t n = 1; n < s->node_count; n++) {
        if (s->marks[n] != 0) {
            s->nodes[s->marks[n]] =
                (dw__grammar_node){s->nodes[n].symbol, moved(s, s->nodes[n].below)};
        }
    }
    for (uint32_t b = 0; b < s->bundle_count; b++) {
        dw__grammar_bundle from = s->bundles[b];
        for (uint32_t i = 0; s->bundle_marks[b] != 0 && i < from.count; i++) {
            s->members[member_count + i] = s->marks[s->members[from.first + i]];
        }
        if (s->bundle_marks[b] != 0) {
            s->bundles[s->bundle_marks[b] - 1] = (dw__grammar_bundle){member_count, from.count};
            member_count += from.count;
        }
    }
    for (uint32_t i = 0; i < g->pool_count; i++) {
        g->pool[i] = s->marks[g->pool[i]];
    }
    s->node_count = node_count;
    s->bundle_count = bundle_count;
    s->member_count = member_count;
}

/* Where most is needed, it is not looked through again for each token. */
static uint32_t next_tidy(uint32_t kept, uint32_t least, uint32_t most)
{
    uint32_t next = kept + (kept < most - kept ? kept : (most - kept) / 2);
    return next > least ? next : least;
}

bool dw__grammar_untidy(const dw_grammar *g)
{
    const dw__grammar_stacks *s = &g->stacks;
    return s->node_count > s->nodes_tidy || s->member_count > s->members_tidy;
}

bool dw__grammar_crowded(const dw_grammar *g)
{
    return g->stacks.node_count > DW__GRAMMAR_NODES_MAX / 4 * 3 ||
           g->stacks.member_count > DW__GRAMMAR_MEMBERS_MAX / 4 * 3;
}

void dw__grammar_tidy(dw_grammar *g)
{
    dw__grammar_stacks *s = &g->stacks;
    dw__grammar_table_clear(g->table);
    forget_rounds(g);
    s->marks[DW__GRAMMAR_BOTTOM] = 1;
    bool fine = true;
    for (uint32_t i = 0; i < g->pool_count && fine; i++) {
        fine = mark_below(g, g->pool[i]);
    }
    if (fine) {
        close_ranks(g);
        fill_node_slots(s);
        fill_bundle_slots(s);
    }
    forget_rounds(g);
    s->nodes_tidy = next_tidy(s->node_count, NODES_TIDY, DW__GRAMMAR_NODES_MAX);
    s->members_tidy = next_tidy(s->member_count, MEMBERS_TIDY, DW__GRAMMAR_MEMBERS_MAX);
}

/* ---- life --------------------------------------------------------------------------------- */

bool dw__grammar_stacks_init(dw_grammar *g)
{
    g->stacks.seed = dw_hash_of_text("stacks", 6);
    g->stacks.nodes_tidy = NODES_TIDY;
    g->stacks.members_tidy = MEMBERS_TIDY;
    if (!more_nodes(g)) {
        return false;
    }
    g->stacks.nodes[DW__GRAMMAR_BOTTOM] = (dw__grammar_node){0, DW__GRAMMAR_BOTTOM};
    g->stacks.node_count = 1;
    return true;
}

void dw__grammar_stacks_release(dw__grammar_stacks *s)
{
    dw_free(s->nodes);
    dw_free(s->marks);
    dw_free(s->node_slots);
    dw_free(s->bundles);
    dw_free(s->bundle_marks);
    dw_free(s->bundle_slots);
    dw_free(s->members);
}
