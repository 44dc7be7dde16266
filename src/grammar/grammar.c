/* The walk: a byte at a time from one set of stacks to the next; tokens and texts by it. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "grammar/grammar_internal.h"

/* Steps that a token adds to those which all tokens together may take: what was accepted once can
 * be accepted again, one token after the other, where a sampler is thawed. */
#define STEPS_A_TOKEN 4096U

/* ---- steps -------------------------------------------------------------------------------- */

static bool alive(const dw__grammar_state *at)
{
    return at->count > 0 || at->complete;
}

bool dw__grammar_any_meets(dw_grammar *g, const dw__grammar_state *at, uint32_t low, uint32_t high)
{
    if (!dw__grammar_take(g, at->count)) {
        return false;
    }
    for (uint32_t i = at->first; i < at->first + at->count; i++) {
        dw_symbol symbol = dw__grammar_symbol(g, g->pool[i]);
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
    dw__grammar_new_round(g);
    (void)dw__grammar_take(g, from->count);
    for (uint32_t i = from->first; i < from->first + from->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->stacks.nodes[g->pool[i]];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind == DW_SYMBOL_SET &&
            dw_char_set_meets(&g->rules, symbol.value, character, character)) {
            dw__grammar_visit(g, top.symbol + 1, top.below, to);
        }
    }
    dw__grammar_follow_all(g, to);
    return g->failure == DW_OK && alive(to);
}

bool dw__grammar_match_set(dw_grammar *g, const dw__grammar_state *from,
                           bool (*is_set)(const void *user, uint32_t set), const void *user,
                           dw__grammar_state *to)
{
    *to = (dw__grammar_state){.first = g->pool_count};
    dw__grammar_new_round(g);
    (void)dw__grammar_take(g, from->count);
    for (uint32_t i = from->first; i < from->first + from->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->stacks.nodes[g->pool[i]];
        dw_symbol symbol = g->rules.symbols[top.symbol];
        if (symbol.kind == DW_SYMBOL_SET && is_set(user, symbol.value)) {
            dw__grammar_visit(g, top.symbol + 1, top.below, to);
        }
    }
    dw__grammar_follow_all(g, to);
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
        if (g->work.stopped) {
            return dw_fail(err, DW_E_CANCELLED, "grammar: cancelled");
        }
        return dw_fail(err, DW_E_LIMIT,
                       dw_work_done(&g->work)
                           ? "grammar: what may come next takes more steps to find than the limit "
                             "of %" PRIu64 " (grammar_steps): it leaves too many ways open"
                           : "grammar: it leaves open more ways than can be remembered (after "
                             "%" PRIu64 " steps)",
                       dw_work_taken(&g->work));
    }
}

void dw__grammar_start_walk(dw_grammar *g)
{
    g->failure = DW_OK;
    g->pool_count = g->now.pool_count;
    /* What is tidied up depends on earlier walks, and is bounded by itself. */
    if (dw__grammar_untidy(g)) {
        dw_work work = g->work;
        dw_work_begin(&g->work, UINT64_MAX);
        dw__grammar_tidy(g);
        g->work = work;
    }
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

bool dw__grammar_allowed_as_token(dw_grammar *g, uint32_t token)
{
    const dw_token_texts *texts = g->texts;
    if (g->now.step.left != 0) {
        return false;
    }
    if (texts->is_end[token] && g->now.complete) {
        return true;
    }
    for (uint32_t i = 0; i < g->now.count; i++) {
        dw_symbol symbol = dw__grammar_symbol(g, g->pool[i]);
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
        uint32_t kind = dw__grammar_symbol(g, g->pool[i]).kind;
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
    dw__grammar_begin_work(g, g->steps_max);
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
    DW_ASSERT(to.first + to.count <= g->pool_count && alive(&to));
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
    dw__grammar_new_round(g);
    for (uint32_t i = 0; i < g->now.count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->stacks.nodes[g->pool[i]];
        if (token_matches(g->rules.symbols[top.symbol], token)) {
            dw__grammar_visit(g, top.symbol + 1, top.below, to);
        }
    }
    for (uint32_t i = 0; by_text != NULL && i < by_text->count && g->failure == DW_OK; i++) {
        dw__grammar_node top = g->stacks.nodes[g->pool[by_text->first + i]];
        dw__grammar_visit(g, top.symbol, top.below, to);
    }
    dw__grammar_follow_all(g, to);
    return g->failure == DW_OK && alive(to);
}

dw_status dw_grammar_accept(dw_grammar *g, int32_t token, dw_error *err)
{
    const dw_token_texts *texts = g->texts;
    DW_ASSERT(token >= 0 && (uint32_t)token < texts->count);
    uint32_t start = texts->starts[token];
    uint32_t bytes = dw__grammar_spelled_bytes(g, (uint32_t)token);
    const unsigned char *text = (const unsigned char *)texts->bytes + start;
    uint64_t all = DW_GRAMMAR_STEPS_MAX + g->tokens * STEPS_A_TOKEN - g->accepted;
    dw__grammar_begin_work(g, all < g->steps_max ? all : g->steps_max);
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
    g->tokens++;
    g->accepted += dw_work_taken(&g->work);
    set_state(g, to);
    return DW_OK;
}

void dw_grammar_limit_steps(dw_grammar *g, uint64_t steps_max)
{
    g->steps_max = steps_max < DW_GRAMMAR_STEPS_MAX ? steps_max : DW_GRAMMAR_STEPS_MAX;
}

uint64_t dw_grammar_steps(const dw_grammar *g)
{
    return g->earlier + dw_work_taken(&g->work);
}

uint64_t dw_grammar_accepted_steps(const dw_grammar *g)
{
    return g->accepted;
}

bool dw_grammar_complete(const dw_grammar *g)
{
    return g->now.complete && g->now.step.left == 0;
}

/* ---- creation ----------------------------------------------------------------------------- */

static dw_status go_to_root(dw_grammar *g, dw_error *err)
{
    dw__grammar_state first = {.first = 0};
    dw__grammar_begin_work(g, g->steps_max);
    g->failure = DW_OK;
    g->pool_count = 0;
    dw__grammar_new_round(g);
    dw__grammar_visit_rule(g, g->rules.root, DW__GRAMMAR_BOTTOM, &first);
    dw__grammar_follow_all(g, &first);
    g->now = first;
    g->accepted = 0;
    g->tokens = 0;
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
        uint64_t steps = dw_work_taken(&g->work);
        (void)go_to_root(g, NULL);
        g->earlier = steps;
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
    return g->failure == DW_OK && dw__grammar_stacks_init(g) && dw__grammar_follow_init(g)
               ? go_to_root(g, err)
               : dw__grammar_failure(g, err);
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
    grammar->steps_max = DW_GRAMMAR_STEPS_MAX;
    grammar->work.stop = tokens->stop;
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

void dw_grammar_set_stop(dw_grammar *grammar, dw_stop *stop)
{
    grammar->work.stop = stop;
}

void dw_grammar_destroy(dw_grammar *grammar)
{
    if (grammar == NULL) {
        return;
    }
    dw_grammar_rules_release(&grammar->rules);
    dw__grammar_stacks_release(&grammar->stacks);
    dw__grammar_follow_release(&grammar->follow);
    dw_free(grammar->pool);
    dw_free(grammar->walk);
    dw_free(grammar->allowed);
    dw__grammar_table_destroy(grammar->table);
    dw_free(grammar);
}
