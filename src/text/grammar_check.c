/* What of a grammar can be walked, and in which order its rules begin with each other. Two
 * questions are asked of every rule, both answered in time linear in the grammar (Dowling and
 * Gallier's counting of open premises, 1984): can it end, and can it be empty. Then cycles of
 * leftmost rules: one that leaves something to be done behind it each time round would grow the
 * stack without end. Cycles that leave nothing (l ::= s l with s empty) come back to the same
 * state. */
#include <string.h>

#include "base/alloc.h"
#include "text/grammar_rules_internal.h"

typedef struct checker {
    dw_grammar_rules *rules;
    uint32_t *use_starts;   /* [rule_count + 1]: into uses */
    uint32_t *uses;         /* alternatives in which a rule stands, once for each time */
    uint32_t *parents;      /* [alternative_count]: whose alternative it is */
    uint32_t *open;         /* [alternative_count]: symbols not yet known to do */
    uint32_t *todo;         /* [rule_count] */
    unsigned char *ends;    /* [rule_count] */
    unsigned char *empties; /* [rule_count] */
} checker;

static bool gather_uses(checker *c)
{
    const dw_grammar_rules *rules = c->rules;
    c->use_starts = dw_alloc((size_t)rules->rule_count + 2, sizeof *c->use_starts);
    c->uses = dw_alloc(rules->symbol_count, sizeof *c->uses);
    c->parents = dw_alloc(rules->alternative_count, sizeof *c->parents);
    c->open = dw_alloc(rules->alternative_count, sizeof *c->open);
    c->todo = dw_alloc(rules->rule_count, sizeof *c->todo);
    c->ends = dw_alloc(rules->rule_count, 1);
    c->empties = dw_alloc(rules->rule_count, 1);
    if (c->use_starts == NULL || c->uses == NULL || c->parents == NULL || c->open == NULL ||
        c->todo == NULL || c->ends == NULL || c->empties == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        for (uint32_t a = rules->rules[i]; a != DW_NO_ALTERNATIVE;
             a = rules->alternatives[a].next) {
            c->parents[a] = i;
        }
    }
    /* Counted two places up, so that filling in moves each start to its place. */
    for (uint32_t i = 0; i < rules->symbol_count; i++) {
        if (rules->symbols[i].kind == DW_SYMBOL_RULE) {
            c->use_starts[rules->symbols[i].value + 2]++;
        }
    }
    for (uint32_t i = 2; i < rules->rule_count + 2; i++) {
        c->use_starts[i] += c->use_starts[i - 1];
    }
    for (uint32_t a = 0; a < rules->alternative_count; a++) {
        for (uint32_t s = rules->alternatives[a].first; rules->symbols[s].kind != DW_SYMBOL_END;
             s++) {
            if (rules->symbols[s].kind == DW_SYMBOL_RULE) {
                c->uses[c->use_starts[rules->symbols[s].value + 1]++] = a;
            }
        }
    }
    return true;
}

static bool does(const checker *c, dw_symbol symbol, bool empty)
{
    return symbol.kind == DW_SYMBOL_SET ? !empty && c->rules->sets[symbol.value].count > 0
                                        : symbol.kind != DW_SYMBOL_RULE && !empty;
}

/* answers[i]: whether rule i has an alternative of which every symbol can end, or be empty. */
static void answer(checker *c, bool empty, unsigned char *answers)
{
    const dw_grammar_rules *rules = c->rules;
    uint32_t count = 0;
    for (uint32_t a = 0; a < rules->alternative_count; a++) {
        uint32_t s = rules->alternatives[a].first;
        c->open[a] = 0;
        for (; rules->symbols[s].kind != DW_SYMBOL_END; s++) {
            c->open[a] += !does(c, rules->symbols[s], empty);
        }
        if (c->open[a] == 0 && !answers[c->parents[a]]) {
            answers[c->parents[a]] = 1;
            c->todo[count++] = c->parents[a];
        }
    }
    while (count > 0) {
        uint32_t rule = c->todo[--count];
        for (uint32_t i = c->use_starts[rule]; i < c->use_starts[rule + 1]; i++) {
            uint32_t parent = c->parents[c->uses[i]];
            if (--c->open[c->uses[i]] == 0 && !answers[parent]) {
                answers[parent] = 1;
                c->todo[count++] = parent;
            }
        }
    }
}

/* Unlink the alternatives that cannot end. */
static void prune(checker *c)
{
    dw_grammar_rules *rules = c->rules;
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        uint32_t *link = &rules->rules[i];
        while (*link != DW_NO_ALTERNATIVE) {
            dw_alternative *alternative = &rules->alternatives[*link];
            bool ends = true;
            for (uint32_t s = alternative->first; rules->symbols[s].kind != DW_SYMBOL_END; s++) {
                dw_symbol symbol = rules->symbols[s];
                ends = ends && (symbol.kind == DW_SYMBOL_RULE ? c->ends[symbol.value] != 0
                                                              : does(c, symbol, false));
            }
            if (ends) {
                link = &alternative->next;
            } else {
                *link = alternative->next;
            }
        }
    }
}

/* ---- left recursion ----------------------------------------------------------------------- */

/* A place among a rule's leftmost symbols. */
typedef struct cursor {
    uint32_t rule;
    uint32_t alternative;
    uint32_t symbol;
} cursor;

static cursor cursor_at(const checker *c, uint32_t rule)
{
    uint32_t alternative = c->rules->rules[rule];
    return (cursor){rule, alternative,
                    alternative == DW_NO_ALTERNATIVE ? 0
                                                     : c->rules->alternatives[alternative].first};
}

/* The next rule that may come first in the cursor's; false: there is none left. `grows`: something
 * follows it. */
static bool next_leftmost(const checker *c, cursor *at, uint32_t *rule, bool *grows)
{
    const dw_grammar_rules *rules = c->rules;
    while (at->alternative != DW_NO_ALTERNATIVE) {
        dw_symbol symbol = rules->symbols[at->symbol];
        bool found = symbol.kind == DW_SYMBOL_RULE;
        if (found) {
            *rule = symbol.value;
            *grows = rules->symbols[at->symbol + 1].kind != DW_SYMBOL_END;
        }
        if (found && c->empties[symbol.value]) {
            at->symbol++;
        } else {
            at->alternative = rules->alternatives[at->alternative].next;
            if (at->alternative != DW_NO_ALTERNATIVE) {
                at->symbol = rules->alternatives[at->alternative].first;
            }
        }
        if (found) {
            return true;
        }
    }
    return false;
}

typedef struct components {
    uint32_t *order;     /* [rule_count]: when first seen, from 1; 0: not yet */
    uint32_t *low;       /* [rule_count] */
    uint32_t *component; /* [rule_count]: from 1; 0: none yet */
    uint32_t *stack;     /* [rule_count] */
    cursor *path;        /* [rule_count] */
    uint32_t seen_count;
    uint32_t stack_count;
    uint32_t component_count;
} components;

static void enter(components *t, cursor at, uint32_t *depth)
{
    t->order[at.rule] = t->low[at.rule] = ++t->seen_count;
    t->stack[t->stack_count++] = at.rule;
    t->path[(*depth)++] = at;
}

/* Tarjan's strongly connected components (1972), with a path on the heap in place of recursion. */
static void connect(const checker *c, components *t, uint32_t start)
{
    uint32_t depth = 0;
    enter(t, cursor_at(c, start), &depth);
    while (depth > 0) {
        cursor *top = &t->path[depth - 1];
        uint32_t rule = top->rule;
        uint32_t next;
        bool grows;
        if (next_leftmost(c, top, &next, &grows)) {
            if (t->order[next] == 0) {
                enter(t, cursor_at(c, next), &depth);
            } else if (t->component[next] == 0 && t->order[next] < t->low[rule]) {
                t->low[rule] = t->order[next];
            }
            continue;
        }
        if (t->low[rule] == t->order[rule]) {
            uint32_t member;
            t->component_count++;
            do {
                member = t->stack[--t->stack_count];
                t->component[member] = t->component_count;
            } while (member != rule);
        }
        depth--;
        if (depth > 0 && t->low[rule] < t->low[t->path[depth - 1].rule]) {
            t->low[t->path[depth - 1].rule] = t->low[rule];
        }
    }
}

static dw_status refuse_left_recursion(const checker *c, components *t, uint32_t *culprit,
                                       dw_error *err)
{
    uint32_t count = c->rules->rule_count;
    for (uint32_t i = 0; i < count; i++) {
        if (t->order[i] == 0) {
            connect(c, t, i);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        cursor at = cursor_at(c, i);
        uint32_t next;
        bool grows;
        while (next_leftmost(c, &at, &next, &grows)) {
            if (grows && t->component[next] == t->component[i]) {
                *culprit = i;
                return dw_fail(err, DW_E_ARG,
                               "begins with itself (left recursion): write it with a repetition");
            }
        }
    }
    return DW_OK;
}

static dw_status check_left(const checker *c, uint32_t *culprit, dw_error *err)
{
    uint32_t count = c->rules->rule_count;
    components t = {
        .order = dw_alloc(count, sizeof *t.order),
        .low = dw_alloc(count, sizeof *t.low),
        .component = dw_alloc(count, sizeof *t.component),
        .stack = dw_alloc(count, sizeof *t.stack),
        .path = dw_alloc(count, sizeof *t.path),
    };
    bool enough = t.order != NULL && t.low != NULL && t.component != NULL && t.stack != NULL &&
                  t.path != NULL;
    dw_status status = enough ? refuse_left_recursion(c, &t, culprit, err)
                              : dw_fail(err, DW_E_MEMORY, "needs more memory than there is");
    /* Sinks are complete first: who begins with another has the larger number. */
    c->rules->components = t.component;
    c->rules->component_count = t.component_count;
    dw_free(t.order);
    dw_free(t.low);
    dw_free(t.stack);
    dw_free(t.path);
    return status;
}

dw_status dw__grammar_check(dw_grammar_rules *rules, uint32_t *culprit, dw_error *err)
{
    checker c = {.rules = rules};
    dw_status status = DW_OK;
    if (!gather_uses(&c)) {
        status = dw_fail(err, DW_E_MEMORY, "needs more memory than there is");
        goto out;
    }
    answer(&c, false, c.ends);
    prune(&c);
    answer(&c, true, c.empties);
    if (!c.ends[rules->root]) {
        *culprit = rules->root;
        status = dw_fail(err, DW_E_ARG, "can match nothing: no way through it ends");
        goto out;
    }
    status = check_left(&c, culprit, err);
out:
    dw_free(c.use_starts);
    dw_free(c.uses);
    dw_free(c.parents);
    dw_free(c.open);
    dw_free(c.todo);
    dw_free(c.ends);
    rules->empties = c.empties;
    return status;
}
