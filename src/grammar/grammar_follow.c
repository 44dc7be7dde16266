/* What comes first behind a character: rules are replaced by what they begin with until sets and
 * tokens are left. Two things keep this from taking each way by itself. A rule that may be empty is
 * passed over where it stands (Aycock and Horspool 2002), so that the end of a rule comes only
 * behind a character. And a rule is opened once, when all that may follow it is known: rules are
 * taken in the order in which they begin with each other, those in a circle together, since nothing
 * is left behind there (src/text/grammar_check.c). A rule's last symbol leaves nothing behind it on
 * the stack, so lists of any length take no depth. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "grammar/grammar_internal.h"

#define NO_PART UINT32_MAX

/* ---- what has been reached ---------------------------------------------------------------- */

static void reach(dw_grammar *g, uint32_t node, dw__grammar_state *to)
{
    dw__grammar_follow *f = &g->follow;
    if (node == DW__GRAMMAR_BOTTOM) {
        to->complete = to->complete || g->failure == DW_OK;
        return;
    }
    if (g->stacks.marks[node] == g->stacks.round) {
        return;
    }
    g->stacks.marks[node] = g->stacks.round;
    if (dw__grammar_fits(g, &f->todo, f->todo_count, &f->todo_capacity, sizeof *f->todo)) {
        f->todo[f->todo_count++] = node;
    }
}

void dw__grammar_visit(dw_grammar *g, uint32_t symbol, uint32_t below, dw__grammar_state *to)
{
    dw__grammar_stacks *s = &g->stacks;
    if (!dw__grammar_take(g, 1)) {
        return;
    }
    if (g->rules.symbols[symbol].kind != DW_SYMBOL_END) {
        uint32_t node = dw__grammar_node_of(g, symbol, below);
        if (node != DW__GRAMMAR_BOTTOM) {
            reach(g, node, to);
        }
        return;
    }
    if ((below & DW__GRAMMAR_BUNDLE) == 0) {
        reach(g, below, to);
        return;
    }
    uint32_t number = below - DW__GRAMMAR_BUNDLE;
    if (s->bundle_marks[number] == s->round || !dw__grammar_take(g, s->bundles[number].count)) {
        return;
    }
    s->bundle_marks[number] = s->round;
    for (uint32_t i = 0; i < s->bundles[number].count && g->failure == DW_OK; i++) {
        reach(g, s->members[s->bundles[number].first + i], to);
    }
}

static void find(dw_grammar *g, uint32_t symbol, uint32_t below, uint32_t node)
{
    dw__grammar_follow *f = &g->follow;
    if (dw__grammar_fits(g, &f->found, f->found_count, &f->found_capacity, sizeof *f->found)) {
        f->found[f->found_count++] = (dw__grammar_found){symbol, below, node};
    }
}

/* ---- components in their order ------------------------------------------------------------ */

static void push_component(dw__grammar_follow *f, uint32_t component)
{
    uint32_t at = f->heap_count++;
    for (; at > 0 && f->heap[(at - 1) / 2] < component; at = (at - 1) / 2) {
        f->heap[at] = f->heap[(at - 1) / 2];
    }
    f->heap[at] = component;
}

static uint32_t pop_component(dw__grammar_follow *f)
{
    uint32_t top = f->heap[0];
    uint32_t last = f->heap[--f->heap_count];
    uint32_t at = 0;
    for (uint32_t child = 1; child < f->heap_count; child = 2 * at + 1) {
        child += child + 1 < f->heap_count && f->heap[child + 1] > f->heap[child];
        if (f->heap[child] <= last) {
            break;
        }
        f->heap[at] = f->heap[child];
        at = child;
    }
    f->heap[at] = last;
    return top;
}

/* `below` may follow a component's rules. */
static void add_part(dw_grammar *g, uint32_t component, uint32_t below)
{
    dw__grammar_follow *f = &g->follow;
    if (f->rounds[component] != g->stacks.round) {
        f->rounds[component] = g->stacks.round;
        f->heads[component] = NO_PART;
        push_component(f, component);
    }
    uint32_t head = f->heads[component];
    if (g->failure == DW_OK && (head == NO_PART || f->parts[head].below != below) &&
        dw__grammar_fits(g, &f->parts, f->part_count, &f->part_capacity, sizeof *f->parts)) {
        f->parts[f->part_count] = (dw__grammar_part){below, head};
        f->heads[component] = f->part_count++;
    }
}

/* A rule stands at `symbol` over `below`. */
static void add_rule(dw_grammar *g, uint32_t symbol, uint32_t below)
{
    uint32_t component = g->rules.components[g->rules.symbols[symbol].value];
    bool last = g->rules.symbols[symbol + 1].kind == DW_SYMBOL_END;
    add_part(g, component, last ? below : dw__grammar_node_of(g, symbol + 1, below));
}

/* ---- opening rules ------------------------------------------------------------------------ */

/* All that may follow a component's rules, as one; false: g->failure. */
static bool join_parts(dw_grammar *g, uint32_t component, uint32_t *below)
{
    dw__grammar_follow *f = &g->follow;
    uint32_t part = f->heads[component];
    if (g->failure != DW_OK || part == NO_PART) {
        return false;
    }
    *below = f->parts[part].below;
    if (f->parts[part].next == NO_PART) {
        return true;
    }
    f->member_count = 0;
    for (; part != NO_PART; part = f->parts[part].next) {
        if (!dw__grammar_add_members(g, f->parts[part].below)) {
            return false;
        }
    }
    *below = dw__grammar_below_of(g);
    return g->failure == DW_OK;
}

static void open_alternative(dw_grammar *g, uint32_t component, uint32_t symbol, uint32_t below)
{
    for (; g->failure == DW_OK && dw__grammar_take(g, 1); symbol++) {
        dw_symbol at = g->rules.symbols[symbol];
        if (at.kind == DW_SYMBOL_END) {
            return; /* empty: passed over where the rule stands */
        }
        if (at.kind != DW_SYMBOL_RULE) {
            find(g, symbol, below, DW__GRAMMAR_BOTTOM);
            return;
        }
        if (g->rules.components[at.value] != component) {
            add_rule(g, symbol, below);
        }
        if (!g->rules.empties[at.value]) {
            return;
        }
    }
}

static void open_component(dw_grammar *g, uint32_t component)
{
    const dw__grammar_follow *f = &g->follow;
    uint32_t below;
    if (!join_parts(g, component, &below)) {
        return;
    }
    for (uint32_t i = f->starts[component]; i < f->starts[component + 1]; i++) {
        for (uint32_t a = g->rules.rules[f->rules[i]];
             a != DW_NO_ALTERNATIVE && g->failure == DW_OK; a = g->rules.alternatives[a].next) {
            open_alternative(g, component, g->rules.alternatives[a].first, below);
        }
    }
}

/* ---- what comes first --------------------------------------------------------------------- */

static int by_symbol(const void *a, const void *b)
{
    uint32_t x = ((const dw__grammar_found *)a)->symbol;
    uint32_t y = ((const dw__grammar_found *)b)->symbol;
    return (x > y) - (x < y);
}

static void sort_found(dw__grammar_follow *f)
{
    if (f->found_count > 24) {
        qsort(f->found, f->found_count, sizeof *f->found, by_symbol);
        return;
    }
    for (uint32_t i = 1; i < f->found_count; i++) {
        dw__grammar_found value = f->found[i];
        uint32_t k = i;
        for (; k > 0 && f->found[k - 1].symbol > value.symbol; k--) {
            f->found[k] = f->found[k - 1];
        }
        f->found[k] = value;
    }
}

/* What was found with the same symbol, [from, to), as one. */
static uint32_t join_found(dw_grammar *g, uint32_t from, uint32_t to)
{
    dw__grammar_follow *f = &g->follow;
    uint32_t below = f->found[from].below;
    if (to - from == 1 && f->found[from].node != DW__GRAMMAR_BOTTOM) {
        return f->found[from].node;
    }
    if (to - from > 1) {
        f->member_count = 0;
        for (uint32_t i = from; i < to; i++) {
            if (!dw__grammar_add_members(g, f->found[i].below)) {
                return DW__GRAMMAR_BOTTOM;
            }
        }
        below = dw__grammar_below_of(g);
    }
    return g->failure == DW_OK ? dw__grammar_node_of(g, f->found[from].symbol, below)
                               : DW__GRAMMAR_BOTTOM;
}

static void keep_found(dw_grammar *g, dw__grammar_state *to)
{
    const dw__grammar_follow *f = &g->follow;
    sort_found(&g->follow);
    for (uint32_t i = 0; i < f->found_count && dw__grammar_take(g, 1);) {
        uint32_t end = i + 1;
        while (end < f->found_count && f->found[end].symbol == f->found[i].symbol) {
            end++;
        }
        uint32_t node = join_found(g, i, end);
        if (g->failure != DW_OK ||
            !dw__grammar_fits(g, &g->pool, g->pool_count, &g->pool_capacity, sizeof *g->pool)) {
            return;
        }
        g->pool[g->pool_count++] = node;
        to->count++;
        i = end;
    }
}

void dw__grammar_visit_rule(dw_grammar *g, uint32_t rule, uint32_t below, dw__grammar_state *to)
{
    add_part(g, g->rules.components[rule], below);
    to->complete = to->complete || (g->rules.empties[rule] && below == DW__GRAMMAR_BOTTOM);
}

void dw__grammar_follow_all(dw_grammar *g, dw__grammar_state *to)
{
    dw__grammar_follow *f = &g->follow;
    f->found_count = 0;
    while (f->todo_count > 0 && g->failure == DW_OK) {
        uint32_t node = f->todo[--f->todo_count];
        dw__grammar_node top = g->stacks.nodes[node];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind != DW_SYMBOL_RULE) {
            find(g, top.symbol, top.below, node);
            continue;
        }
        add_rule(g, top.symbol, top.below);
        if (g->rules.empties[symbol.value]) {
            dw__grammar_visit(g, top.symbol + 1, top.below, to);
        }
    }
    while (f->heap_count > 0 && g->failure == DW_OK) {
        open_component(g, pop_component(f));
    }
    if (g->failure == DW_OK) {
        keep_found(g, to);
    }
    f->todo_count = 0;
    f->heap_count = 0;
    f->part_count = 0;
    to->pool_count = g->pool_count;
}

/* ---- life --------------------------------------------------------------------------------- */

bool dw__grammar_follow_init(dw_grammar *g)
{
    dw__grammar_follow *f = &g->follow;
    const dw_grammar_rules *rules = &g->rules;
    size_t count = (size_t)rules->component_count + 3;
    f->starts = dw_alloc(count, sizeof *f->starts);
    f->rules = dw_alloc(rules->rule_count, sizeof *f->rules);
    f->heads = dw_alloc(count, sizeof *f->heads);
    f->rounds = dw_alloc(count, sizeof *f->rounds);
    f->heap = dw_alloc(count, sizeof *f->heap);
    if (f->starts == NULL || f->rules == NULL || f->heads == NULL || f->rounds == NULL ||
        f->heap == NULL) {
        g->failure = DW_E_MEMORY;
        return false;
    }
    /* Counted two places up, so that filling in moves each start to its place. */
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        f->starts[rules->components[i] + 2]++;
    }
    for (uint32_t c = 2; c < count; c++) {
        f->starts[c] += f->starts[c - 1];
    }
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        f->rules[f->starts[rules->components[i] + 1]++] = i;
    }
    return true;
}

void dw__grammar_follow_release(dw__grammar_follow *f)
{
    dw_free(f->todo);
    dw_free(f->starts);
    dw_free(f->rules);
    dw_free(f->heads);
    dw_free(f->rounds);
    dw_free(f->heap);
    dw_free(f->parts);
    dw_free(f->found);
    dw_free(f->members);
}
