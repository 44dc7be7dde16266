/* Classes of characters: two are in one where each set of the grammar holds both or neither. Begun
 * with one class of all, each set splits those that it holds a part of. */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "grammar/grammar_table_internal.h"

#define STEPS_MAX ((uint64_t)1 << 24)

typedef struct splitter {
    dw__grammar_table *to;
    const dw_grammar_rules *rules;
    uint32_t *sizes;  /* [class_count]: characters of a class */
    uint32_t *inside; /* [class_count]: of these, how many the set holds */
    uint32_t *moved;  /* [class_count]: the class that they become */
    uint64_t steps;
} splitter;

/* ---- sets of the same characters ---------------------------------------------------------- */

static uint64_t hash_set(const dw_grammar_rules *rules, const dw_char_set *set)
{
    return dw_hash_of_text(set->count > 0 ? (const char *)(rules->ranges + set->first) : "",
                           set->count * sizeof *rules->ranges);
}

static bool same_set(const dw_grammar_rules *rules, uint32_t a, uint32_t b)
{
    const dw_char_set *x = &rules->sets[a];
    const dw_char_set *y = &rules->sets[b];
    return x->count == y->count &&
           (x->count == 0 || memcmp(rules->ranges + x->first, rules->ranges + y->first,
                                    x->count * sizeof *rules->ranges) == 0);
}

/* contents[i]: the first set that is the same. */
static bool compare_sets(dw__grammar_table *t, const dw_grammar_rules *rules)
{
    uint32_t slot_count = 64;
    while (slot_count < 2 * rules->set_count) {
        slot_count *= 2;
    }
    uint32_t *slots = dw_alloc(slot_count, sizeof *slots);
    t->contents = dw_alloc(rules->set_count, sizeof *t->contents);
    if (slots == NULL || t->contents == NULL) {
        dw_free(slots);
        return false;
    }
    for (uint32_t i = 0; i < rules->set_count; i++) {
        uint32_t slot = (uint32_t)hash_set(rules, &rules->sets[i]) & (slot_count - 1);
        while (slots[slot] != 0 && !same_set(rules, slots[slot] - 1, i)) {
            slot = (slot + 1) & (slot_count - 1);
        }
        if (slots[slot] == 0) {
            slots[slot] = i + 1;
        }
        t->contents[i] = slots[slot] - 1;
    }
    dw_free(slots);
    return true;
}

/* ---- splitting ---------------------------------------------------------------------------- */

/* The number of the vocabulary's first character from `character` on. */
static uint32_t first_from(const dw_token_trie *trie, uint32_t character)
{
    uint32_t from = 0;
    uint32_t to = trie->character_count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (trie->characters[middle] < character) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

/* Call for each of the set's characters: to count them by class, or to move them. */
static void each(splitter *s, const dw_char_set *set, bool move)
{
    dw__grammar_table *t = s->to;
    for (uint32_t i = set->first; i < set->first + set->count; i++) {
        uint32_t end = first_from(t->trie, s->rules->ranges[i].high + 1);
        for (uint32_t c = first_from(t->trie, s->rules->ranges[i].low); c < end; c++) {
            if (move) {
                t->classes[c] = s->moved[t->classes[c]];
            } else {
                s->inside[t->classes[c]]++;
                s->steps++;
            }
        }
    }
}

static void split(splitter *s, const dw_char_set *set)
{
    dw__grammar_table *t = s->to;
    uint32_t class_count = t->class_count;
    memset(s->inside, 0, class_count * sizeof *s->inside);
    each(s, set, false);
    for (uint32_t k = 0; k < class_count; k++) {
        s->moved[k] = k;
        if (s->inside[k] > 0 && s->inside[k] < s->sizes[k]) {
            s->moved[k] = t->class_count;
            s->sizes[k] -= s->inside[k];
            s->sizes[t->class_count++] = s->inside[k];
        }
    }
    if (t->class_count > class_count) {
        each(s, set, true);
    }
    s->steps += class_count;
}

static dw_status split_all(splitter *s, dw_error *err)
{
    dw__grammar_table *t = s->to;
    t->class_count = 1;
    s->sizes[0] = t->trie->character_count;
    for (uint32_t i = 0; i < s->rules->set_count; i++) {
        if (t->contents[i] == i) {
            split(s, &s->rules->sets[i]);
        }
        if (s->steps > STEPS_MAX) {
            return dw_fail(err, DW_E_LIMIT, "grammar: more sets than a table is made for");
        }
    }
    t->members = dw_alloc(t->class_count, sizeof *t->members);
    if (t->members == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a grammar's table");
    }
    for (uint32_t c = 0; c < t->trie->character_count; c++) {
        t->members[t->classes[c]] = c;
    }
    return DW_OK;
}

dw_status dw__grammar_classes_make(dw__grammar_table *t, const dw_grammar_rules *rules,
                                   dw_error *err)
{
    size_t count = (size_t)t->trie->character_count + 1; /* of classes at most, each with one */
    splitter s = {.to = t,
                  .rules = rules,
                  .sizes = dw_alloc(count, sizeof *s.sizes),
                  .inside = dw_alloc(count, sizeof *s.inside),
                  .moved = dw_alloc(count, sizeof *s.moved)};
    t->classes = dw_alloc(count, sizeof *t->classes);
    dw_status status = s.sizes != NULL && s.inside != NULL && s.moved != NULL &&
                               t->classes != NULL && compare_sets(t, rules)
                           ? split_all(&s, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a grammar's table");
    dw_free(s.sizes);
    dw_free(s.inside);
    dw_free(s.moved);
    return status;
}
