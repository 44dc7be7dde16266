/* Patterns as automata: Thompson's construction, then the subset construction over intervals of
 * characters that no set tells apart (Aho, Sethi, Ullman: Compilers, 3.7 and 3.9). A look-around is
 * followed where it stands at an end of the whole pattern: there it is a second pattern that must
 * match too, or must not. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/stop.h"
#include "schema/json_regex_internal.h"

#define PLACES_MAX 30000 /* of the nondeterministic automaton */
#define PAIR_BYTES (2 * sizeof(uint32_t))
#define STATES_MAX 4000              /* of the deterministic one */
#define CELLS_MAX 2000000            /* states by intervals */
#define WORK_MAX ((uint64_t)1 << 29) /* steps for all patterns of a schema */

enum { PLACE_FORK, PLACE_SET, PLACE_START, PLACE_END, PLACE_MATCH };

typedef struct place {
    uint32_t kind;
    uint32_t a;
    uint32_t b;     /* FORK */
    uint32_t first; /* SET: of the tree's ranges */
    uint32_t count;
} place;

typedef struct builder {
    dw__schema_converter *c;
    const dw__regex *tree;
    place *places;
    size_t place_count;
    size_t place_capacity;
    uint32_t begin;
    uint32_t *marks; /* [place_count]: the round in which a place was reached */
    uint32_t round;
    uint32_t *stack;   /* [2 * place_count + 2] */
    uint32_t *reached; /* [place_count]: those of the round, without forks and starts */
    size_t reached_count;
    uint32_t *pool; /* the places of each state, sorted */
    size_t pool_count;
    size_t pool_capacity;
    size_t *bounds; /* [state_count + 1]: into pool */
    size_t bound_capacity;
    dw__index known; /* places to state */
    dw__automaton out;
    size_t next_capacity;
    size_t accept_capacity;
} builder;

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a pattern");
}

static dw_status too_large(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_UNSUPPORTED, "pattern: one of so many states is not supported");
}

void dw__automaton_release(dw__automaton *automaton)
{
    dw_free(automaton->starts);
    dw_free(automaton->next);
    dw_free(automaton->accepts);
    *automaton = (dw__automaton){.starts = NULL};
}

/* ---- places --------------------------------------------------------------------------------- */

static dw_status add_place(builder *b, place which, uint32_t *out)
{
    if (b->place_count >= PLACES_MAX) {
        return too_large(b->c);
    }
    if (!DW_ARRAY_RESERVE(b->places, b->place_capacity, b->place_count + 1, PLACES_MAX)) {
        return no_memory(b->c);
    }
    *out = (uint32_t)b->place_count;
    b->places[b->place_count++] = which;
    return DW_OK;
}

static dw_status build(builder *b, uint32_t node, uint32_t then, uint32_t *out);

static dw_status build_repeat(builder *b, const dw__regex_node *node, uint32_t then, uint32_t *out)
{
    dw_status status = DW_OK;
    uint32_t at = then;
    if (node->most == UINT32_MAX) {
        status = add_place(b, (place){.kind = PLACE_FORK, .b = then}, &at);
        if (status == DW_OK) {
            uint32_t inner;
            status = build(b, node->first, at, &inner);
            b->places[at].a = inner;
        }
    }
    for (uint32_t i = node->least; status == DW_OK && node->most != UINT32_MAX && i < node->most;
         i++) {
        uint32_t inner;
        status = build(b, node->first, at, &inner);
        if (status == DW_OK) {
            status = add_place(b, (place){.kind = PLACE_FORK, .a = inner, .b = then}, &at);
        }
    }
    for (uint32_t i = 0; status == DW_OK && i < node->least; i++) {
        status = build(b, node->first, at, &at);
    }
    *out = at;
    return status;
}

/* The nodes of a list one behind the other: from the last to the first. */
static dw_status build_all(builder *b, uint32_t node, uint32_t then, uint32_t *out)
{
    uint32_t count = 0;
    for (uint32_t i = node; i != DW__REGEX_NONE; i = b->tree->nodes[i].next) {
        count++;
    }
    uint32_t *list = dw_alloc(count + 1, sizeof *list);
    if (list == NULL) {
        return no_memory(b->c);
    }
    count = 0;
    for (uint32_t i = node; i != DW__REGEX_NONE; i = b->tree->nodes[i].next) {
        list[count++] = i;
    }
    dw_status status = DW_OK;
    *out = then;
    while (status == DW_OK && count > 0) {
        status = build(b, list[--count], *out, out);
    }
    dw_free(list);
    return status;
}

/* The place where a node begins, with `then` behind it. */
static dw_status build(builder *b, uint32_t index, uint32_t then, uint32_t *out)
{
    const dw__regex_node *node = &b->tree->nodes[index];
    dw_status status = DW_OK;
    uint32_t at = DW__REGEX_NONE;
    switch (node->kind) {
    case DW__REGEX_SET:
        return add_place(
            b, (place){.kind = PLACE_SET, .a = then, .first = node->first, .count = node->count},
            out);
    case DW__REGEX_START:
        return add_place(b, (place){.kind = PLACE_START, .a = then}, out);
    case DW__REGEX_END:
        return add_place(b, (place){.kind = PLACE_END, .a = then}, out);
    case DW__REGEX_ALL:
        return build_all(b, node->first, then, out);
    case DW__REGEX_REPEAT:
        return build_repeat(b, node, then, out);
    case DW__REGEX_ANY:
        for (uint32_t i = node->first; status == DW_OK && i != DW__REGEX_NONE;
             i = b->tree->nodes[i].next) {
            uint32_t inner;
            status = build(b, i, then, &inner);
            if (status == DW_OK && at != DW__REGEX_NONE) {
                status = add_place(b, (place){.kind = PLACE_FORK, .a = inner, .b = at}, &inner);
            }
            at = inner;
        }
        *out = at;
        return status;
    default:
        return dw_fail(b->c->err, DW_E_UNSUPPORTED,
                       "pattern: a look-around inside it is not supported");
    }
}

/* Any characters, then `then`. A range of all characters lies behind those of the tree. */
static dw_status any_before(builder *b, uint32_t then, uint32_t *out)
{
    uint32_t any;
    dw_status status = add_place(b, (place){.kind = PLACE_FORK, .b = then}, out);
    if (status == DW_OK) {
        status = add_place(b, (place){.kind = PLACE_SET, .a = *out, .count = UINT32_MAX}, &any);
    }
    if (status == DW_OK) {
        b->places[*out].a = any;
    }
    return status;
}

/* ---- states --------------------------------------------------------------------------------- */

static bool set_holds(const builder *b, const place *at, uint32_t character)
{
    const dw__char_range *ranges = b->tree->ranges + at->first;
    if (at->count == UINT32_MAX) {
        return true;
    }
    for (uint32_t i = 0; i < at->count; i++) {
        if (ranges[i].low <= character && character <= ranges[i].high) {
            return true;
        }
    }
    return false;
}

/* Mark what a place leads to without a character. */
static void reach(builder *b, uint32_t from, bool at_start, bool at_end)
{
    size_t count = 0;
    b->stack[count++] = from;
    while (count > 0) {
        uint32_t at = b->stack[--count];
        if (b->marks[at] == b->round) {
            continue;
        }
        b->marks[at] = b->round;
        const place *p = &b->places[at];
        if (p->kind != PLACE_FORK && p->kind != PLACE_START) {
            b->reached[b->reached_count++] = at;
        }
        if (p->kind == PLACE_FORK) {
            b->stack[count++] = p->b;
        }
        if (p->kind == PLACE_FORK || (p->kind == PLACE_START && at_start) ||
            (p->kind == PLACE_END && at_end)) {
            b->stack[count++] = p->a;
        }
    }
}

static void next_round(builder *b)
{
    b->round++;
    b->reached_count = 0;
}

static bool accepts(builder *b, const uint32_t *places, size_t count)
{
    next_round(b);
    for (size_t i = 0; i < count; i++) {
        reach(b, places[i], false, true);
    }
    for (size_t i = 0; i < b->reached_count; i++) {
        if (b->places[b->reached[i]].kind == PLACE_MATCH) {
            return true;
        }
    }
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The state of the places marked in this round. */
static dw_status state_of(builder *b, uint32_t *state)
{
    size_t first = b->pool_count;
    dw_status status = b->reached_count > 256 ? dw_stop_check(b->c->stop, "schema", b->c->err)
                                              : dw__schema_look(b->c);
    if (status != DW_OK) {
        return status;
    }
    if (!DW_ARRAY_RESERVE(b->pool, b->pool_capacity, b->pool_count + b->reached_count + 1,
                          SIZE_MAX)) {
        return no_memory(b->c);
    }
    qsort(b->reached, b->reached_count, sizeof *b->reached, by_value);
    memcpy(b->pool + first, b->reached, b->reached_count * sizeof *b->reached);
    b->pool_count += b->reached_count;
    b->c->pattern_work += b->reached_count + 1;
    const char *key = (const char *)(b->pool + first);
    size_t bytes = (b->pool_count - first) * sizeof *b->pool;
    if (dw__index_find(&b->known, bytes > 0 ? key : "", bytes, state)) {
        b->pool_count = first;
        return DW_OK;
    }
    size_t count = b->out.state_count;
    size_t cells = (count + 1) * b->out.interval_count;
    if (count >= STATES_MAX || cells > CELLS_MAX || b->c->pattern_work > WORK_MAX) {
        return too_large(b->c);
    }
    if (!dw__index_add(&b->known, bytes > 0 ? key : "", bytes, (uint32_t)count) ||
        !DW_ARRAY_RESERVE(b->bounds, b->bound_capacity, count + 2, SIZE_MAX) ||
        !DW_ARRAY_RESERVE(b->out.next, b->next_capacity, cells, SIZE_MAX) ||
        !DW_ARRAY_RESERVE(b->out.accepts, b->accept_capacity, count + 1, SIZE_MAX)) {
        return no_memory(b->c);
    }
    b->bounds[count] = first;
    b->bounds[count + 1] = b->pool_count;
    b->out.accepts[count] = accepts(b, b->pool + first, b->pool_count - first);
    b->out.state_count++;
    *state = (uint32_t)count;
    return DW_OK;
}

static size_t sort_unique(uint32_t *list, size_t count)
{
    size_t kept = 0;
    qsort(list, count, sizeof *list, by_value);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || list[kept - 1] != list[i]) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

static dw_status find_intervals(builder *b)
{
    size_t count = 0;
    uint32_t *starts = dw_alloc(2 * b->tree->range_count + 1, sizeof *starts);
    if (starts == NULL) {
        return no_memory(b->c);
    }
    starts[count++] = 0;
    for (size_t i = 0; i < b->tree->range_count; i++) {
        starts[count++] = b->tree->ranges[i].low;
        if (b->tree->ranges[i].high < DW__CHAR_MAX) {
            starts[count++] = b->tree->ranges[i].high + 1;
        }
    }
    b->out.starts = starts;
    b->out.interval_count = sort_unique(starts, count);
    return DW_OK;
}

static dw_status find_states(builder *b)
{
    uint32_t state;
    next_round(b);
    reach(b, b->begin, true, false);
    dw_status status = state_of(b, &state);
    b->out.first = 0;
    for (size_t at = 0; status == DW_OK && at < b->out.state_count; at++) {
        for (size_t k = 0; status == DW_OK && k < b->out.interval_count; k++) {
            next_round(b);
            b->c->pattern_work += b->bounds[at + 1] - b->bounds[at];
            for (size_t i = b->bounds[at]; i < b->bounds[at + 1]; i++) {
                const place *p = &b->places[b->pool[i]];
                if (p->kind == PLACE_SET && set_holds(b, p, b->out.starts[k])) {
                    reach(b, p->a, false, false);
                }
            }
            status = state_of(b, &state);
            if (status == DW_OK) {
                b->out.next[at * b->out.interval_count + k] = state;
            }
        }
    }
    return status;
}

/* ---- patterns ------------------------------------------------------------------------------- */

/* One part of a pattern: nodes [first], which begin at the string's start or anywhere, and end at
 * its end or anywhere. */
typedef struct part {
    uint32_t first; /* a list by next, or one node where `single` */
    bool single;
    bool from_start;
    bool to_end;
    bool negated;
} part;

static dw_status place_part(builder *b, const part *which)
{
    uint32_t at;
    dw_status status = add_place(b, (place){.kind = PLACE_MATCH}, &at);
    if (status == DW_OK && !which->to_end) {
        status = any_before(b, at, &at);
    } else if (status == DW_OK) {
        status = add_place(b, (place){.kind = PLACE_END, .a = at}, &at);
    }
    if (status == DW_OK) {
        status =
            which->single ? build(b, which->first, at, &at) : build_all(b, which->first, at, &at);
    }
    if (status == DW_OK && !which->from_start) {
        status = any_before(b, at, &at);
    } else if (status == DW_OK) {
        status = add_place(b, (place){.kind = PLACE_START, .a = at}, &at);
    }
    b->begin = at;
    return status;
}

static dw_status make_part(dw__automaton *out, const dw__regex *tree, const part *which,
                           dw__schema_converter *c)
{
    builder b = {.c = c, .tree = tree};
    dw_status status = place_part(&b, which);
    if (status == DW_OK) {
        b.marks = dw_alloc(b.place_count, sizeof *b.marks);
        b.stack = dw_alloc(2 * b.place_count + 2, sizeof *b.stack);
        b.reached = dw_alloc(b.place_count, sizeof *b.reached);
        status = b.marks != NULL && b.stack != NULL && b.reached != NULL ? find_intervals(&b)
                                                                         : no_memory(c);
    }
    if (status == DW_OK) {
        status = find_states(&b);
    }
    dw_free(b.places);
    dw_free(b.marks);
    dw_free(b.stack);
    dw_free(b.reached);
    dw_free(b.pool);
    dw_free(b.bounds);
    dw__index_release(&b.known);
    if (status != DW_OK) {
        dw__automaton_release(&b.out);
        return status;
    }
    for (size_t i = 0; which->negated && i < b.out.state_count; i++) {
        b.out.accepts[i] = !b.out.accepts[i];
    }
    *out = b.out;
    return DW_OK;
}

/* A look-around at an end of the pattern, as a part of its own; false: it stands elsewhere. */
static bool look_part(const dw__regex_node *node, bool at_start, bool at_end, part *out)
{
    *out = (part){.first = node->first,
                  .single = true,
                  .from_start = node->kind == DW__REGEX_AHEAD,
                  .to_end = node->kind == DW__REGEX_BEHIND,
                  .negated = node->negated};
    return (node->kind == DW__REGEX_AHEAD && at_start) ||
           (node->kind == DW__REGEX_BEHIND && at_end);
}

static dw_status meet_part(dw__automaton *out, const dw__regex *tree, const part *which,
                           dw__schema_converter *c)
{
    dw__automaton one;
    dw_status status = make_part(&one, tree, which, c);
    if (status != DW_OK) {
        return status;
    }
    if (out->state_count == 0) {
        *out = one;
        return DW_OK;
    }
    status = dw__automaton_meet(out, &one, c);
    dw__automaton_release(&one);
    return status;
}

/* Take look-arounds at the ends out of the list, and meet them. */
static dw_status meet_looks(dw__automaton *out, dw__regex *tree, dw__schema_converter *c)
{
    bool at_start = false;
    uint32_t *link = &tree->nodes[tree->root].first;
    while (*link != DW__REGEX_NONE) {
        dw__regex_node *node = &tree->nodes[*link];
        uint32_t kind = node->kind;
        bool is_look = kind == DW__REGEX_AHEAD || kind == DW__REGEX_BEHIND;
        bool at_end = node->next != DW__REGEX_NONE &&
                      tree->nodes[node->next].kind == DW__REGEX_END &&
                      tree->nodes[node->next].next == DW__REGEX_NONE;
        part look;
        if (is_look && look_part(node, at_start, at_end, &look)) {
            *link = node->next;
            dw_status status = meet_part(out, tree, &look, c);
            if (status != DW_OK) {
                return status;
            }
            continue;
        }
        at_start = (at_start || link == &tree->nodes[tree->root].first) && kind == DW__REGEX_START;
        link = &node->next;
    }
    return DW_OK;
}

/* ((a)b) and (ab) are ab: a group that is a list's first or last, without more, is put in its
 * place, so that what stands at an end is seen to. */
static void open_groups(dw__regex *tree)
{
    uint32_t *link = &tree->nodes[tree->root].first;
    while (*link != DW__REGEX_NONE) {
        dw__regex_node *node = &tree->nodes[*link];
        if (node->kind == DW__REGEX_ALL) {
            uint32_t rest = node->next;
            *link = node->first;
            while (*link != DW__REGEX_NONE) {
                link = &tree->nodes[*link].next;
            }
            *link = rest;
            link = &tree->nodes[tree->root].first; /* what was in it may be a group again */
        } else {
            link = &node->next;
        }
    }
}

dw_status dw__automaton_make(dw__automaton *out, const char *pattern, bool opposite,
                             dw__schema_converter *c)
{
    dw__regex tree;
    *out = (dw__automaton){.starts = NULL};
    dw_status status = dw__regex_parse(&tree, pattern, opposite, c->err);
    if (status != DW_OK) {
        return status;
    }
    if (tree.nodes[tree.root].kind == DW__REGEX_ALL) {
        open_groups(&tree);
        status = meet_looks(out, &tree, c);
    }
    if (status == DW_OK) {
        const part all = {.first = tree.root, .single = true};
        status = meet_part(out, &tree, &all, c);
    }
    dw__regex_release(&tree);
    if (status != DW_OK) {
        dw__automaton_release(out);
        return status;
    }
    for (size_t i = 0; opposite && i < out->state_count; i++) {
        out->accepts[i] = !out->accepts[i];
    }
    return DW_OK;
}

/* ---- both of two ----------------------------------------------------------------------------- */

static size_t interval_of(const dw__automaton *automaton, uint32_t character)
{
    size_t low = 0;
    size_t high = automaton->interval_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (automaton->starts[middle] <= character) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The state of a pair of states. */
static dw_status pair_of(dw__automaton *out, dw__index *known, uint32_t (*pairs)[2],
                         const uint32_t pair[2], dw__schema_converter *c, uint32_t *state)
{
    if (dw__index_find(known, (const char *)pair, PAIR_BYTES, state)) {
        return DW_OK;
    }
    if (out->state_count >= STATES_MAX) {
        return too_large(c);
    }
    if (!dw__index_add(known, (const char *)pair, PAIR_BYTES, (uint32_t)out->state_count)) {
        return no_memory(c);
    }
    pairs[out->state_count][0] = pair[0];
    pairs[out->state_count][1] = pair[1];
    *state = (uint32_t)out->state_count++;
    return DW_OK;
}

static dw_status meet_states(dw__automaton *out, const dw__automaton *a, const dw__automaton *b,
                             uint32_t (*pairs)[2], dw__schema_converter *c)
{
    dw__index known = {.entries = NULL};
    uint32_t state;
    const uint32_t first[2] = {a->first, b->first};
    dw_status status = pair_of(out, &known, pairs, first, c, &state);
    for (size_t at = 0; status == DW_OK && at < out->state_count; at++) {
        for (size_t k = 0; status == DW_OK && k < out->interval_count; k++) {
            uint32_t character = out->starts[k];
            const uint32_t pair[2] = {
                a->next[pairs[at][0] * a->interval_count + interval_of(a, character)],
                b->next[pairs[at][1] * b->interval_count + interval_of(b, character)]};
            status = pair_of(out, &known, pairs, pair, c, &state);
            if (status == DW_OK) {
                out->next[at * out->interval_count + k] = state;
            }
        }
        out->accepts[at] = a->accepts[pairs[at][0]] && b->accepts[pairs[at][1]];
        c->pattern_work += out->interval_count;
        status = status == DW_OK && c->pattern_work > WORK_MAX ? too_large(c) : status;
        status = status == DW_OK ? dw__schema_look(c) : status;
    }
    dw__index_release(&known);
    return status;
}

dw_status dw__automaton_meet(dw__automaton *a, const dw__automaton *b, dw__schema_converter *c)
{
    dw__automaton out = {.starts =
                             dw_alloc(a->interval_count + b->interval_count, sizeof *a->starts)};
    uint32_t(*pairs)[2] = dw_alloc(STATES_MAX, sizeof *pairs);
    dw_status status = DW_OK;
    if (out.starts != NULL) {
        memcpy(out.starts, a->starts, a->interval_count * sizeof *a->starts);
        memcpy(out.starts + a->interval_count, b->starts, b->interval_count * sizeof *b->starts);
        out.interval_count = sort_unique(out.starts, a->interval_count + b->interval_count);
        size_t states = CELLS_MAX / out.interval_count < STATES_MAX ? CELLS_MAX / out.interval_count
                                                                    : STATES_MAX;
        size_t most = a->state_count * b->state_count;
        status = most > states && states < STATES_MAX ? too_large(c) : DW_OK;
        most = most < STATES_MAX ? most : STATES_MAX;
        out.next = dw_alloc(most * out.interval_count + 1, sizeof *out.next);
        out.accepts = dw_alloc(most + 1, 1);
    }
    if (out.starts == NULL || out.next == NULL || out.accepts == NULL || pairs == NULL) {
        status = no_memory(c);
    }
    if (status == DW_OK) {
        status = meet_states(&out, a, b, pairs, c);
    }
    dw_free(pairs);
    if (status != DW_OK) {
        dw__automaton_release(&out);
        return status;
    }
    dw__automaton_release(a);
    *a = out;
    return DW_OK;
}

static uint32_t next_character(const unsigned char **at)
{
    const unsigned char *bytes = *at;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 1;
    uint32_t value = length == 1 ? bytes[0] : bytes[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (bytes[i] & 0x3fU);
    }
    *at += length;
    return value;
}

bool dw__automaton_takes(const dw__automaton *automaton, const char *text)
{
    uint32_t state = automaton->first;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        size_t k = interval_of(automaton, next_character(&at));
        state = automaton->next[state * automaton->interval_count + k];
    }
    return automaton->accepts[state] != 0;
}

bool dw__automaton_live(const dw__automaton *automaton, unsigned char *live)
{
    memcpy(live, automaton->accepts, automaton->state_count);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = automaton->state_count; i-- > 0;) {
            const uint32_t *next = automaton->next + i * automaton->interval_count;
            for (size_t k = 0; !live[i] && k < automaton->interval_count; k++) {
                live[i] = live[next[k]];
                changed = changed || live[i];
            }
        }
    }
    return live[automaton->first] != 0;
}
