/* Stacks share what lies beneath: a stack is a node, the symbol to match next over the node to go
 * on with after it, and equal nodes are one (hash consing), so that comparing stacks is comparing
 * numbers. A rule's last symbol leaves nothing behind it on the stack, so lists of any length take
 * no depth. Nodes that no stack needs are removed between tokens. */
#include <string.h>

#include "base/alloc.h"
#include "grammar/grammar_internal.h"

#define NODES_TIDY ((uint32_t)1 << 16) /* above this many, look for those not needed */

/* ---- room --------------------------------------------------------------------------------- */

bool dw__grammar_fits(dw_grammar *g, uint32_t **block, uint32_t count, uint32_t *capacity)
{
    if (count < *capacity) {
        return true;
    }
    uint32_t larger = *capacity == 0 ? 64 : *capacity * 2;
    uint32_t *moved = dw_realloc(*block, larger, sizeof *moved);
    if (moved == NULL) {
        g->failure = DW_E_MEMORY;
        return false;
    }
    *block = moved;
    *capacity = larger;
    return true;
}

static uint32_t slot_of(const dw_grammar *g, uint32_t symbol, uint32_t below)
{
    uint64_t key = ((uint64_t)symbol << 32 | below) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t slot = (uint32_t)(key >> 32) & (g->slot_count - 1);
    while (g->slots[slot] != 0 &&
           (g->nodes[g->slots[slot]].symbol != symbol || g->nodes[g->slots[slot]].below != below)) {
        slot = (slot + 1) & (g->slot_count - 1);
    }
    return slot;
}

static void fill_slots(dw_grammar *g)
{
    memset(g->slots, 0, g->slot_count * sizeof *g->slots);
    for (uint32_t i = 1; i < g->node_count; i++) {
        g->slots[slot_of(g, g->nodes[i].symbol, g->nodes[i].below)] = i;
    }
}

static bool more_nodes(dw_grammar *g)
{
    uint32_t capacity = g->node_capacity == 0 ? 256 : g->node_capacity * 2;
    if (capacity > DW__GRAMMAR_NODES_MAX) {
        g->failure = DW_E_LIMIT;
        return false;
    }
    /* Each block that was had is kept: the next try takes it from there. */
    dw__grammar_node *nodes = dw_realloc(g->nodes, capacity, sizeof *nodes);
    g->nodes = nodes != NULL ? nodes : g->nodes;
    uint32_t *marks = dw_realloc(g->marks, capacity, sizeof *marks);
    g->marks = marks != NULL ? marks : g->marks;
    uint32_t *slots = dw_alloc((size_t)capacity * 2, sizeof *slots);
    if (nodes == NULL || marks == NULL || slots == NULL) {
        dw_free(slots);
        g->failure = DW_E_MEMORY;
        return false;
    }
    memset(g->marks + g->node_capacity, 0, (capacity - g->node_capacity) * sizeof *marks);
    dw_free(g->slots);
    g->slots = slots;
    g->slot_count = capacity * 2;
    g->node_capacity = capacity;
    fill_slots(g);
    return true;
}

/* The node of `symbol` over `below`; DW__GRAMMAR_BOTTOM where there is failure. */
static uint32_t intern(dw_grammar *g, uint32_t symbol, uint32_t below)
{
    DW_DCHECK(symbol < g->rules.symbol_count && below < g->node_count);
    uint32_t slot = slot_of(g, symbol, below);
    if (g->slots[slot] != 0) {
        return g->slots[slot];
    }
    if (g->node_count == g->node_capacity) {
        if (!more_nodes(g)) {
            return DW__GRAMMAR_BOTTOM;
        }
        slot = slot_of(g, symbol, below);
    }
    g->nodes[g->node_count] = (dw__grammar_node){symbol, below};
    g->slots[slot] = g->node_count;
    return g->node_count++;
}

/* Keep the nodes that stacks of the pool stand on, and the bottom. */
static void tidy(dw_grammar *g)
{
    uint32_t kept = 1;
    if (g->node_count <= NODES_TIDY) {
        return;
    }
    dw__grammar_table_clear(g->table);
    memset(g->marks, 0, g->node_count * sizeof *g->marks);
    for (uint32_t i = 0; i < g->pool_count; i++) {
        for (uint32_t n = g->pool[i]; n != DW__GRAMMAR_BOTTOM && g->marks[n] == 0;
             n = g->nodes[n].below) {
            g->marks[n] = 1;
        }
    }
    /* A node is made after the one below it, which has its new place already. */
    for (uint32_t n = 1; n < g->node_count; n++) {
        if (g->marks[n] != 0) {
            DW_DCHECK(g->nodes[n].below < n);
            dw__grammar_node moved = {g->nodes[n].symbol, g->nodes[n].below == DW__GRAMMAR_BOTTOM
                                                              ? DW__GRAMMAR_BOTTOM
                                                              : g->marks[g->nodes[n].below]};
            g->marks[n] = kept;
            g->nodes[kept++] = moved;
        }
    }
    for (uint32_t i = 0; i < g->pool_count; i++) {
        g->pool[i] = g->marks[g->pool[i]];
    }
    g->node_count = kept;
    memset(g->marks, 0, g->node_capacity * sizeof *g->marks);
    g->round = 0;
    fill_slots(g);
}

/* ---- steps -------------------------------------------------------------------------------- */

static void new_round(dw_grammar *g)
{
    if (g->round == UINT32_MAX) {
        memset(g->marks, 0, g->node_capacity * sizeof *g->marks);
        g->round = 0;
    }
    g->round++;
}

/* `symbol` over `below` is to be matched next; an END goes on with what lies below. */
static void visit(dw_grammar *g, uint32_t symbol, uint32_t below, dw__grammar_state *to)
{
    if (g->rules.symbols[symbol].kind == DW_SYMBOL_END) {
        if (below == DW__GRAMMAR_BOTTOM) {
            to->complete = true;
            return;
        }
        symbol = g->nodes[below].symbol;
        below = g->nodes[below].below;
    }
    uint32_t n = intern(g, symbol, below);
    if (n == DW__GRAMMAR_BOTTOM || g->marks[n] == g->round) {
        return;
    }
    g->marks[n] = g->round;
    if (dw__grammar_fits(g, &g->todo, g->todo_count, &g->todo_capacity)) {
        g->todo[g->todo_count++] = n;
    }
}

/* Replace rules by what they begin with, until sets and tokens are left: these join `to`. */
static void follow(dw_grammar *g, dw__grammar_state *to)
{
    while (g->todo_count > 0 && g->failure == DW_OK) {
        uint32_t n = g->todo[--g->todo_count];
        dw__grammar_node top = g->nodes[n];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind != DW_SYMBOL_RULE) {
            if (to->count == DW__GRAMMAR_STACKS_MAX) {
                g->failure = DW_E_LIMIT;
            } else if (dw__grammar_fits(g, &g->pool, g->pool_count, &g->pool_capacity)) {
                g->pool[g->pool_count++] = n;
                to->count++;
            }
            continue;
        }
        bool last = g->rules.symbols[top.symbol + 1].kind == DW_SYMBOL_END;
        uint32_t below = last ? top.below : intern(g, top.symbol + 1, top.below);
        for (uint32_t a = g->rules.rules[symbol.value];
             a != DW_NO_ALTERNATIVE && g->failure == DW_OK; a = g->rules.alternatives[a].next) {
            visit(g, g->rules.alternatives[a].first, below, to);
        }
    }
    g->todo_count = 0;
    to->pool_count = g->pool_count;
}

static bool alive(const dw__grammar_state *at)
{
    return at->count > 0 || at->complete;
}

bool dw__grammar_any_meets(const dw_grammar *g, const dw__grammar_state *at, uint32_t low,
                           uint32_t high)
{
    for (uint32_t i = at->first; i < at->first + at->count; i++) {
        dw_symbol symbol = g->rules.symbols[g->nodes[g->pool[i]].symbol];
        if (symbol.kind == DW_SYMBOL_SET && dw_char_set_meets(&g->rules, symbol.value, low, high)) {
            return true;
        }
    }
    return false;
}

bool dw__grammar_match(dw_grammar *g, const dw__grammar_state *from, uint32_t character,
                       dw__grammar_state *to)
{
    *to = (dw__grammar_state){.first = g->pool_count};
    new_round(g);
    for (uint32_t i = from->first; i < from->first + from->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->nodes[g->pool[i]];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind == DW_SYMBOL_SET &&
            dw_char_set_meets(&g->rules, symbol.value, character, character)) {
            visit(g, top.symbol + 1, top.below, to);
        }
    }
    follow(g, to);
    return g->failure == DW_OK && alive(to);
}

bool dw__grammar_match_set(dw_grammar *g, const dw__grammar_state *from,
                           bool (*is_set)(const void *user, uint32_t set), const void *user,
                           dw__grammar_state *to)
{
    *to = (dw__grammar_state){.first = g->pool_count};
    new_round(g);
    for (uint32_t i = from->first; i < from->first + from->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->nodes[g->pool[i]];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind == DW_SYMBOL_SET && is_set(user, symbol.value)) {
            visit(g, top.symbol + 1, top.below, to);
        }
    }
    follow(g, to);
    return g->failure == DW_OK && to->count > 0;
}

/* One byte further; false: the grammar ends here, or there is failure. */
static bool feed(dw_grammar *g, const dw__grammar_state *from, unsigned char byte,
                 dw__grammar_state *to)
{
    dw__grammar_state next = *from;
    /* A set such as [^a] holds U+0000 too, which no text may. */
    if (!dw_utf8_feed(&next.step, byte)) {
        return false;
    }
    if (next.step.left == 0) {
        return dw__grammar_match(g, from, next.step.value, to);
    }
    next.complete = false;
    next.pool_count = g->pool_count;
    *to = next;
    return dw__grammar_any_meets(g, from, next.step.low, next.step.high);
}

dw_status dw__grammar_failure(const dw_grammar *g, dw_error *err)
{
    switch (g->failure) {
    case DW_OK:
        return DW_OK;
    case DW_E_MEMORY:
        return dw_fail(err, DW_E_MEMORY, "grammar: no memory to follow it");
    default:
        return dw_fail(err, DW_E_LIMIT,
                       "grammar: it leaves open more than %u ways at once, or %u in all",
                       DW__GRAMMAR_STACKS_MAX, DW__GRAMMAR_NODES_MAX);
    }
}

void dw__grammar_start_walk(dw_grammar *g)
{
    g->failure = DW_OK;
    g->pool_count = g->now.pool_count;
    tidy(g);
    g->walk[0] = g->now;
}

/* ---- masks -------------------------------------------------------------------------------- */

/* The bytes by which a token may be allowed; 0: only as a token. */
uint32_t dw__grammar_spelled_bytes(const dw_grammar *g, uint32_t token)
{
    const dw_token_texts *texts = g->texts;
    bool silent = texts->is_end[token] || (texts->is_control[token] && !g->control_spelled);
    return silent ? 0 : texts->starts[token + 1] - texts->starts[token];
}

static bool token_matches(dw_symbol symbol, uint32_t token)
{
    return (symbol.kind == DW_SYMBOL_TOKEN && symbol.value == token) ||
           (symbol.kind == DW_SYMBOL_OTHER_TOKEN && symbol.value != token);
}

bool dw__grammar_allowed_as_token(const dw_grammar *g, uint32_t token)
{
    const dw_token_texts *texts = g->texts;
    if (g->now.step.left != 0) {
        return false;
    }
    if (texts->is_end[token] && g->now.complete) {
        return true;
    }
    for (uint32_t i = 0; i < g->now.count; i++) {
        dw_symbol symbol = g->rules.symbols[g->nodes[g->pool[i]].symbol];
        if (token_matches(symbol, token) &&
            (symbol.kind == DW_SYMBOL_TOKEN || dw__grammar_spelled_bytes(g, token) > 0)) {
            return true;
        }
    }
    return false;
}

/* Walk a text from the state after `depth` of its bytes; the bytes that could be walked. */
uint32_t dw__grammar_walk_text(dw_grammar *g, const unsigned char *text, uint32_t bytes,
                               uint32_t depth)
{
    DW_DCHECK(depth <= bytes && bytes <= g->texts->longest);
    g->pool_count = g->walk[depth].pool_count;
    while (depth < bytes && feed(g, &g->walk[depth], text[depth], &g->walk[depth + 1])) {
        depth++;
    }
    return depth;
}

bool dw__grammar_has_token_symbols(const dw_grammar *g)
{
    for (uint32_t i = 0; i < g->now.count; i++) {
        uint32_t kind = g->rules.symbols[g->nodes[g->pool[i]].symbol].kind;
        if (kind == DW_SYMBOL_TOKEN || kind == DW_SYMBOL_OTHER_TOKEN) {
            return true;
        }
    }
    return false;
}

dw_status dw_grammar_allows(dw_grammar *g, int32_t token, bool *allowed, dw_error *err)
{
    DW_ASSERT(token >= 0 && (uint32_t)token < g->texts->count);
    uint32_t start = g->texts->starts[token];
    uint32_t bytes = dw__grammar_spelled_bytes(g, (uint32_t)token);
    dw__grammar_start_walk(g);
    *allowed = dw__grammar_allowed_as_token(g, (uint32_t)token);
    if (!*allowed && bytes > 0) {
        const unsigned char *text = (const unsigned char *)g->texts->bytes + start;
        *allowed = dw__grammar_walk_text(g, text, bytes, 0) == bytes;
    }
    return dw__grammar_failure(g, err);
}

/* ---- accepting ---------------------------------------------------------------------------- */

/* `to` becomes the present state, and its stacks the only ones. */
static void set_state(dw_grammar *g, dw__grammar_state to)
{
    DW_ASSERT(to.count <= DW__GRAMMAR_STACKS_MAX && to.first + to.count <= g->pool_count &&
              alive(&to));
    if (to.count > 0) {
        memmove(g->pool, g->pool + to.first, to.count * sizeof *g->pool);
    }
    to.first = 0;
    to.pool_count = to.count;
    g->pool_count = to.count;
    g->now = to;
}

/* What follows where the grammar names the token; beside that, what followed by its text. Where
 * the text ends inside a character, only that is kept: the two cannot go on together. */
static bool join_token(dw_grammar *g, uint32_t token, const dw__grammar_state *by_text,
                       dw__grammar_state *to)
{
    *to = (dw__grammar_state){.first = g->pool_count,
                              .complete = by_text != NULL && by_text->complete};
    new_round(g);
    for (uint32_t i = 0; i < g->now.count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->nodes[g->pool[i]];
        if (token_matches(g->rules.symbols[top.symbol], token)) {
            visit(g, top.symbol + 1, top.below, to);
        }
    }
    for (uint32_t i = 0; by_text != NULL && i < by_text->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->nodes[g->pool[by_text->first + i]];
        visit(g, top.symbol, top.below, to);
    }
    follow(g, to);
    return g->failure == DW_OK && alive(to);
}

dw_status dw_grammar_accept(dw_grammar *g, int32_t token, dw_error *err)
{
    const dw_token_texts *texts = g->texts;
    DW_ASSERT(token >= 0 && (uint32_t)token < texts->count);
    uint32_t start = texts->starts[token];
    uint32_t bytes = dw__grammar_spelled_bytes(g, (uint32_t)token);
    const unsigned char *text = (const unsigned char *)texts->bytes + start;
    dw__grammar_start_walk(g);
    bool named = dw__grammar_allowed_as_token(g, (uint32_t)token);
    bool spelled = bytes > 0 && dw__grammar_walk_text(g, text, bytes, 0) == bytes;
    dw__grammar_state to = {.complete = true};
    bool done = named && texts->is_end[token] && g->now.complete; /* nothing can follow */
    if (g->failure == DW_OK && !done && spelled) {
        to = g->walk[bytes];
        done = true;
    }
    if (g->failure == DW_OK && named && to.step.left == 0 && dw__grammar_has_token_symbols(g) &&
        !(texts->is_end[token] && g->now.complete)) {
        dw__grammar_state by_text = to;
        done = join_token(g, (uint32_t)token, spelled ? &by_text : NULL, &to);
    }
    if (g->failure != DW_OK || !done) {
        dw_status status = dw__grammar_failure(g, err);
        g->pool_count = g->now.pool_count;
        return status != DW_OK
                   ? status
                   : dw_fail(err, DW_E_ARG, "token %d: the grammar does not allow it here", token);
    }
    set_state(g, to);
    return DW_OK;
}

bool dw_grammar_complete(const dw_grammar *g)
{
    return g->now.complete && g->now.step.left == 0;
}

/* ---- creation ----------------------------------------------------------------------------- */

static dw_status go_to_root(dw_grammar *g, dw_error *err)
{
    dw__grammar_state first = {.first = 0};
    g->failure = DW_OK;
    g->pool_count = 0;
    new_round(g);
    for (uint32_t a = g->rules.rules[g->rules.root]; a != DW_NO_ALTERNATIVE;
         a = g->rules.alternatives[a].next) {
        visit(g, g->rules.alternatives[a].first, DW__GRAMMAR_BOTTOM, &first);
    }
    follow(g, &first);
    g->now = first;
    return dw__grammar_failure(g, err);
}

dw_status dw_grammar_begin(dw_grammar *g, const char *text, size_t bytes, dw_error *err)
{
    dw_status status = go_to_root(g, err);
    for (size_t i = 0; i < bytes && status == DW_OK; i++) {
        dw__grammar_state to;
        dw__grammar_start_walk(g);
        if (feed(g, &g->now, (unsigned char)text[i], &to)) {
            set_state(g, to);
            continue;
        }
        status = dw__grammar_failure(g, err);
        status = status != DW_OK ? status
                                 : dw_fail(err, DW_E_ARG,
                                           "grammar: it does not allow byte %zu of what it begins "
                                           "with, '%.*s'",
                                           i + 1, bytes > 80 ? 80 : (int)bytes, text);
        (void)go_to_root(g, NULL);
    }
    return status;
}

void dw_grammar_spell_control(dw_grammar *grammar)
{
    grammar->control_spelled = true;
    dw__grammar_table_destroy(grammar->table);
    grammar->table = NULL;
}

static dw_status prepare(dw_grammar *g, dw_error *err)
{
    g->walk = dw_alloc((size_t)g->texts->longest + 1, sizeof *g->walk);
    g->failure = g->walk == NULL ? DW_E_MEMORY : DW_OK;
    if (g->failure == DW_OK && more_nodes(g)) {
        g->nodes[DW__GRAMMAR_BOTTOM] = (dw__grammar_node){0, DW__GRAMMAR_BOTTOM};
        g->node_count = 1;
        return go_to_root(g, err);
    }
    return dw__grammar_failure(g, err);
}

dw_status dw_grammar_create(dw_grammar **out, const dw_token_texts *texts, const char *text,
                            size_t bytes, const dw_grammar_tokens *tokens, dw_error *err)
{
    *out = NULL;
    dw_grammar *grammar = dw_alloc(1, sizeof *grammar);
    if (grammar == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar");
    }
    grammar->texts = texts;
    dw_status status = dw_grammar_rules_make(&grammar->rules, text, bytes, tokens, err);
    if (status != DW_OK) {
        goto out;
    }
    status = prepare(grammar, err);
    if (status != DW_OK) {
        goto out;
    }
    *out = grammar;
    grammar = NULL;
out:
    dw_grammar_destroy(grammar);
    return status;
}

void dw_grammar_destroy(dw_grammar *grammar)
{
    if (grammar == NULL) {
        return;
    }
    dw_grammar_rules_release(&grammar->rules);
    dw_free(grammar->nodes);
    dw_free(grammar->marks);
    dw_free(grammar->slots);
    dw_free(grammar->pool);
    dw_free(grammar->todo);
    dw_free(grammar->walk);
    dw_free(grammar->allowed);
    dw__grammar_table_destroy(grammar->table);
    dw_free(grammar);
}
