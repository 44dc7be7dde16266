/* Automata as rules: one for each state, or, where the length is bounded, for each state and number
 * of characters so far. */
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "schema/json_regex_internal.h"

#define LONG_SET_BYTES 24
#define NODES_MAX 6000 /* rules for one string; above, it is held shorter than it may be */

typedef struct node {
    uint32_t state;
    int count; /* of characters; cut at `least` where there is no most */
} node;

typedef struct writer {
    dw__schema_converter *c;
    const dw__automaton *automaton;
    unsigned char *live; /* [state_count] */
    unsigned char *seen; /* [state_count]: targets of the state in hand */
    int least;
    int most;
    int longest; /* `most` as it was given; it is cut once NODES_MAX is reached */
    node *nodes; /* [node_count] */
    size_t node_count;
    size_t node_capacity;
    dw__index known; /* node to its place */
    uint32_t base;   /* rule of nodes[0] */
} writer;

/* The characters that lead from a state to another, from interval `from` on, where they begin. */
static void collect(const dw__automaton *automaton, uint32_t state, size_t from, dw__char_set *out)
{
    const uint32_t *next = automaton->next + (size_t)state * automaton->interval_count;
    out->count = 0;
    for (size_t k = from; k < automaton->interval_count; k++) {
        uint32_t low = automaton->starts[k];
        uint32_t high =
            k + 1 < automaton->interval_count ? automaton->starts[k + 1] - 1 : DW__CHAR_MAX;
        if (next[k] != next[from]) {
            continue;
        }
        if (out->count > 0 && out->ranges[out->count - 1].high + 1 == low) {
            out->ranges[out->count - 1].high = high;
        } else if (out->count < DW__SET_RANGES_MAX) {
            out->ranges[out->count++] = (dw__char_range){low, high};
        }
    }
}

/* A set that is long to write is a rule, which others share. */
static dw_status write_set(dw__schema_converter *c, const dw__char_set *set, dw__gbnf *to)
{
    dw__gbnf text = {.bytes = NULL};
    uint32_t rule;
    dw__set_grammar(&text, set);
    if (text.count < LONG_SET_BYTES) {
        dw__gbnf_add(to, "%s", text.count > 0 ? text.bytes : "");
        to->failed = to->failed || text.failed;
        dw__gbnf_release(&text);
        return DW_OK;
    }
    dw_status status = dw__schema_shared_rule(c, &text, &rule);
    dw__gbnf_add(to, " s%u", status == DW_OK ? rule : 0);
    return status;
}

/* Whether a string that is taken at this state is taken whatever follows of one set, and nothing
 * else may follow; *from is the interval where the set begins. */
static bool is_uniform(const writer *w, uint32_t state, size_t *from)
{
    const dw__automaton *a = w->automaton;
    bool any = false;
    for (size_t k = 0; k < a->interval_count; k++) {
        uint32_t next = a->next[(size_t)state * a->interval_count + k];
        if (w->live[next] && next != state) {
            return false;
        }
        if (next == state && !any) {
            *from = k;
            any = true;
        }
    }
    return any && a->accepts[state];
}

static dw_status node_of(writer *w, uint32_t state, int count, size_t *place)
{
    const node which = {state, count};
    uint32_t known;
    if (dw__index_find(&w->known, (const char *)&which, sizeof which, &known)) {
        *place = known;
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(w->nodes, w->node_capacity, w->node_count + 1, SIZE_MAX) ||
        !dw__index_add(&w->known, (const char *)&which, sizeof which, (uint32_t)w->node_count)) {
        return dw_fail(w->c->err, DW_E_MEMORY, "no memory for a pattern");
    }
    *place = w->node_count;
    w->nodes[w->node_count++] = which;
    return DW_OK;
}

static bool is_bounded(const writer *w)
{
    return w->least > 0 || w->most < INT32_MAX;
}

static int next_count(const writer *w, int count)
{
    return w->most < INT32_MAX || count < w->least ? count + 1 : count;
}

/* The nodes that a node leads to, which are made; with `body`, as alternatives there. */
static dw_status follow(writer *w, size_t at, dw__gbnf *body)
{
    const dw__automaton *a = w->automaton;
    const node here = w->nodes[at];
    const uint32_t *next = a->next + (size_t)here.state * a->interval_count;
    memset(w->seen, 0, a->state_count);
    for (size_t k = 0; k < a->interval_count; k++) {
        dw__char_set set;
        size_t place;
        if (w->seen[next[k]] || !w->live[next[k]]) {
            continue;
        }
        w->seen[next[k]] = 1;
        dw_status status =
            node_of(w, next[k], is_bounded(w) ? next_count(w, here.count) : 0, &place);
        if (status == DW_OK && body != NULL) {
            collect(a, here.state, k, &set);
            dw__gbnf_add(body, "%s", body->count > 0 ? " |" : "");
            status = write_set(w->c, &set, body);
            dw__gbnf_add(body, " s%u", w->base + (uint32_t)place);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* Whether nothing is to follow a node: its length is the most there may be. */
static bool is_last(const writer *w, const node *at)
{
    return is_bounded(w) && w->most < INT32_MAX && at->count >= w->most;
}

static dw_status find_nodes(writer *w)
{
    size_t place;
    size_t from;
    dw_status status = node_of(w, w->automaton->first, 0, &place);
    for (size_t i = 0; status == DW_OK && i < w->node_count; i++) {
        const node here = w->nodes[i];
        /* Nodes come in the order of their lengths: those of one length are all made. */
        if (w->node_count > NODES_MAX && w->most < INT32_MAX && here.count < w->most) {
            w->most = here.count > w->least ? here.count : w->least;
        }
        if (w->node_count > 8 * NODES_MAX) {
            return dw_fail(w->c->err, DW_E_UNSUPPORTED,
                           "a pattern and a length of so many states are not supported");
        }
        if (!is_last(w, &here) && !is_uniform(w, here.state, &from)) {
            status = follow(w, i, NULL);
        }
    }
    return status;
}

/* Whether a node ends, by itself or by one of those that it leads to, of which `ends` says so. */
static bool node_ends(writer *w, size_t at, const unsigned char *ends)
{
    const dw__automaton *a = w->automaton;
    const node here = w->nodes[at];
    size_t from;
    if (a->accepts[here.state] && (!is_bounded(w) || here.count >= w->least)) {
        return true;
    }
    if (is_last(w, &here)) {
        return false;
    }
    if (is_uniform(w, here.state, &from)) {
        return true;
    }
    const uint32_t *next = a->next + (size_t)here.state * a->interval_count;
    for (size_t k = 0; k < a->interval_count; k++) {
        const node then = {next[k], is_bounded(w) ? next_count(w, here.count) : 0};
        uint32_t place;
        if (w->live[next[k]] && (k == 0 || next[k] != next[k - 1]) &&
            dw__index_find(&w->known, (const char *)&then, sizeof then, &place) && ends[place]) {
            return true;
        }
    }
    return false;
}

/* Whether any string is taken: none may be of a length that is allowed. */
static dw_status find_end(writer *w, bool *found)
{
    unsigned char *ends = dw_alloc(w->node_count, 1);
    if (ends == NULL) {
        return dw_fail(w->c->err, DW_E_MEMORY, "no memory for a pattern");
    }
    for (bool changed = true; changed && !ends[0];) {
        changed = false;
        for (size_t i = w->node_count; i-- > 0;) {
            if (!ends[i] && node_ends(w, i, ends)) {
                ends[i] = 1;
                changed = true;
            }
        }
    }
    *found = ends[0] != 0;
    dw_free(ends);
    return DW_OK;
}

static dw_status write_node(writer *w, size_t at)
{
    const node here = w->nodes[at];
    dw__gbnf body = {.bytes = NULL};
    dw_status status = DW_OK;
    size_t from;
    if (w->automaton->accepts[here.state] && (!is_bounded(w) || here.count >= w->least)) {
        dw__gbnf_add(&body, " \"\"");
    }
    if (is_last(w, &here)) {
        dw__gbnf_add(&body, "%s", body.count > 0 ? "" : " []");
    } else if (is_uniform(w, here.state, &from)) {
        dw__char_set set;
        int least = w->least > here.count ? w->least - here.count : 0;
        dw__gbnf_release(&body);
        collect(w->automaton, here.state, from, &set);
        dw__set_grammar(&body, &set);
        w->c->repeated += (uint64_t)(w->most < INT32_MAX ? w->longest - here.count : least);
        if (w->most < INT32_MAX) {
            dw__gbnf_add(&body, "{%d,%d}", least, w->longest - here.count);
        } else {
            dw__gbnf_add(&body, "{%d,}", is_bounded(w) ? least : 0);
        }
    } else {
        status = follow(w, at, &body);
        dw__gbnf_add(&body, "%s", body.count > 0 ? "" : " []");
    }
    if (status != DW_OK) {
        dw__gbnf_release(&body);
        return status;
    }
    return dw__schema_rule(w->c, w->base + (uint32_t)at, &body);
}

dw_status dw__automaton_rule(dw__schema_converter *c, const dw__automaton *automaton, int least,
                             int most, uint32_t *rule)
{
    writer w = {.c = c, .automaton = automaton, .least = least, .most = most, .longest = most};
    dw_status status = DW_OK;
    bool found = false;
    *rule = 0;
    w.live = dw_alloc(automaton->state_count, 1);
    w.seen = dw_alloc(automaton->state_count, 1);
    if (w.live == NULL || w.seen == NULL) {
        status = dw_fail(c->err, DW_E_MEMORY, "no memory for a pattern");
        goto out;
    }
    if (most < least || !dw__automaton_live(automaton, w.live)) {
        goto out;
    }
    status = find_nodes(&w);
    if (status == DW_OK) {
        status = find_end(&w, &found);
    }
    if (status != DW_OK || !found) {
        goto out;
    }
    w.base = c->rule_count + 1;
    c->rule_count += (uint32_t)w.node_count;
    size_t count = w.node_count;
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        status = write_node(&w, i);
        DW_ASSERT(w.node_count == count);
    }
    *rule = w.base;
out:
    dw_free(w.live);
    dw_free(w.seen);
    dw_free(w.nodes);
    dw__index_release(&w.known);
    return status;
}
