/* Strings of a schema, and names of properties: patterns, formats and lengths together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "schema/json_regex_internal.h"

/* RFC 3339 for times, durations and dates of the years 1000 to 2999; RFC 9562, 2673 and 4291; of
 * mail addresses those that are plain. */
#define SIMPLE_DATE                                                                                \
    "(?:[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|"    \
    "[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[12][0-9](?:0[48]|[2468][048]|[13579][26])|"    \
    "(?:1[26]|2[048])00)-02-29)"
#define SIMPLE_TIME                                                                                \
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[-+](?:[01][0-9]|2[0-3]):"   \
    "[0-5][0-9])"
#define DAYS "[0-9]{1,6}D"
#define MONTHS "[0-9]{1,6}M(?:" DAYS ")?"
#define SECONDS "[0-9]{1,6}S"
#define MINUTES "[0-9]{1,6}M(?:" SECONDS ")?"
#define OF_DAY "T(?:[0-9]{1,6}H(?:" MINUTES ")?|" MINUTES "|" SECONDS ")"
#define BYTE "(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
#define HEX "[0-9a-fA-F]"
#define GROUP HEX "{1,4}"

static const struct {
    const char *name;
    const char *pattern;
} formats[] = {
    {"date", "^" SIMPLE_DATE "$"},
    {"time", "^" SIMPLE_TIME "$"},
    {"date-time", "^" SIMPLE_DATE "T" SIMPLE_TIME "$"},
    {"duration", "^P(?:(?:[0-9]{1,6}Y(?:" MONTHS ")?|" MONTHS "|" DAYS ")(?:" OF_DAY ")?|" OF_DAY
                 "|[0-9]{1,6}W)$"},
    {"uuid", "^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$"},
    {"ipv4", "^" BYTE "\\." BYTE "\\." BYTE "\\." BYTE "$"},
    {"ipv6", "^(?:(?:" GROUP ":){7}" GROUP "|(?:" GROUP ":){1,7}:|(?:" GROUP ":){1,6}:" GROUP
             "|(?:" GROUP ":){1,5}(?::" GROUP "){1,2}|(?:" GROUP ":){1,4}(?::" GROUP
             "){1,3}|(?:" GROUP ":){1,3}(?::" GROUP "){1,4}|(?:" GROUP ":){1,2}(?::" GROUP
             "){1,5}|" GROUP ":(?::" GROUP "){1,6}|:(?:(?::" GROUP "){1,7}|:))$"},
    {"email", "^[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30}){0,3}@(?:[A-Za-z0-9]{1,30}(?:-"
              "[A-Za-z0-9]{1,30}){0,2}\\.){1,3}[A-Za-z]{2,10}$"},
};

/* What a string must be, gathered from its schema. */
typedef struct needs {
    json_t *patterns; /* texts */
    json_t *formats;  /* patterns of those that have one */
    json_t *unlike;   /* patterns that must not match */
    int least;
    int most;
} needs;

static dw_status no_memory(dw__schema_converter *c)
{
    return dw_fail(c->err, DW_E_MEMORY, "no memory for a schema");
}

static void release(needs *w)
{
    json_decref(w->patterns);
    json_decref(w->formats);
    json_decref(w->unlike);
}

/* The text of a pattern that matches just these texts. */
static char *pattern_of_texts(const json_t *texts)
{
    size_t bytes = 16;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        bytes += 2 * json_string_length(json_array_get(texts, i)) + 1;
    }
    char *out = dw_alloc(bytes, 1);
    if (out == NULL) {
        return NULL;
    }
    memcpy(out, "^(?:", 4);
    char *to = out + 4;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        if (i > 0) {
            *to++ = '|';
        }
        for (const char *at = json_string_value(json_array_get(texts, i)); *at != '\0'; at++) {
            if (strchr("^$\\.*+?()[]{}|/-", *at) != NULL) {
                *to++ = '\\';
            }
            *to++ = *at;
        }
    }
    memcpy(to, ")$", 3);
    return out;
}

/* Strings that the list of values holds. */
static json_t *texts_in(json_t *values)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(values); i++) {
        if (json_is_string(json_array_get(values, i))) {
            (void)json_array_append(out, json_array_get(values, i));
        }
    }
    return out;
}

static dw_status add_texts(dw__schema_converter *c, json_t *texts, json_t *list)
{
    char *pattern = pattern_of_texts(texts);
    if (pattern == NULL) {
        return no_memory(c);
    }
    int bad = json_array_append_new(list, json_string(pattern));
    dw_free(pattern);
    return bad == 0 ? DW_OK : no_memory(c);
}

static dw_status add_format(dw__schema_converter *c, json_t *format, needs *w)
{
    const char *name = json_string_value(format);
    char what[100];
    if (name == NULL) {
        return dw__schema_wrong(c, "format", "a string is needed");
    }
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            (void)json_array_append_new(w->formats, json_string(formats[i].pattern));
            return DW_OK;
        }
    }
    (void)snprintf(what, sizeof what, "'%.60s' is not enforced", name);
    return dw__schema_note(c, "format", what);
}

static dw_status add_strings(dw__schema_converter *c, json_t *schema, const char *one,
                             const char *list, json_t *to)
{
    json_t *first = one != NULL ? json_object_get(schema, one) : NULL;
    json_t *more = json_object_get(schema, list);
    if (first != NULL) {
        if (!json_is_string(first)) {
            return dw__schema_wrong(c, one, "a string is needed");
        }
        (void)json_array_append(to, first);
    }
    for (size_t i = 0; i < json_array_size(more); i++) {
        if (!json_is_string(json_array_get(more, i))) {
            return dw__schema_wrong(c, "pattern", "a string is needed");
        }
        (void)json_array_append(to, json_array_get(more, i));
    }
    return DW_OK;
}

static dw_status gather_formats(dw__schema_converter *c, json_t *schema, needs *w)
{
    static const char *const contents[] = {"contentEncoding", "contentMediaType", "contentSchema"};
    json_t *format = json_object_get(schema, "format");
    json_t *more = json_object_get(schema, DW__KEY_FORMATS);
    dw_status status = format != NULL ? add_format(c, format, w) : DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(more); i++) {
        status = add_format(c, json_array_get(more, i), w);
    }
    for (size_t i = 0; status == DW_OK && i < 3; i++) {
        if (json_object_get(schema, contents[i]) != NULL) {
            status = dw__schema_note(c, contents[i], "is not enforced");
        }
    }
    return status;
}

static dw_status gather(dw__schema_converter *c, json_t *schema, needs *w)
{
    static const char *const keys[] = {"minLength", "maxLength"};
    *w = (needs){.patterns = json_array(), .formats = json_array(), .unlike = json_array()};
    dw_status status = dw__schema_counts(c, schema, keys, &w->least, &w->most);
    if (w->most != INT32_MAX && w->most > c->longest) {
        w->most = w->least > c->longest ? w->least : c->longest;
        c->was_cut = true;
    }
    if (status == DW_OK) {
        status = add_strings(c, schema, "pattern", DW__KEY_PATTERNS, w->patterns);
    }
    if (status == DW_OK) {
        status = add_strings(c, schema, NULL, DW__KEY_OTHER_PATTERNS, w->unlike);
    }
    if (status == DW_OK) {
        status = gather_formats(c, schema, w);
    }
    json_t *unless = texts_in(json_object_get(schema, DW__KEY_OTHER_VALUES));
    if (status == DW_OK && json_array_size(unless) > 0) {
        status = add_texts(c, unless, w->unlike);
    }
    json_decref(unless);
    return status;
}

/* ---- automata ------------------------------------------------------------------------------- */

dw_status dw__automaton_meet_pattern(dw__schema_converter *c, dw__automaton *to,
                                     const char *pattern, bool opposite)
{
    dw__automaton one;
    dw_status status = dw__automaton_make(&one, pattern, opposite, c);
    if (status != DW_OK) {
        return status;
    }
    if (to->state_count == 0) {
        *to = one;
        return DW_OK;
    }
    status = dw__automaton_meet(to, &one, c);
    dw__automaton_release(&one);
    return status;
}

static dw_status meet_list(dw__schema_converter *c, const json_t *list, bool opposite,
                           dw__automaton *to)
{
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const char *pattern = json_string_value(json_array_get(list, i));
        status = dw__automaton_meet_pattern(c, to, pattern, opposite);
    }
    return status;
}

static dw_status meet_needs(dw__schema_converter *c, const needs *w, bool with_formats,
                            dw__automaton *to)
{
    dw_status status = meet_list(c, w->patterns, false, to);
    if (status == DW_OK && with_formats) {
        status = meet_list(c, w->formats, false, to);
    }
    if (status == DW_OK) {
        status = meet_list(c, w->unlike, true, to);
    }
    if (status == DW_OK && to->state_count == 0) {
        status = dw__automaton_meet_pattern(c, to, "", false); /* any string */
    }
    return status;
}

dw_status dw__names_automaton(dw__schema_converter *c, json_t *flat, json_t *unless,
                              dw__automaton *to, int *least, int *most)
{
    needs w;
    json_t *values = json_object_get(flat, "enum");
    dw_status status = gather(c, flat, &w);
    if (status == DW_OK && json_array_size(unless) > 0) {
        status = add_texts(c, unless, w.unlike);
    }
    if (status == DW_OK && json_is_array(values)) {
        json_t *texts = texts_in(values);
        status = json_array_size(texts) > 0
                     ? add_texts(c, texts, w.patterns)
                     : (json_array_append_new(w.patterns, json_string("^a$b")) == 0 ? DW_OK
                                                                                    : no_memory(c));
        json_decref(texts);
    }
    if (status == DW_OK) {
        status = meet_needs(c, &w, true, to);
    }
    *least = w.least;
    *most = w.most;
    release(&w);
    return status;
}

dw_status dw__pattern_matches(dw__schema_converter *c, const char *pattern, const char *text,
                              bool *matches)
{
    dw__automaton automaton;
    dw_status status = dw__automaton_make(&automaton, pattern, false, c);
    if (status == DW_OK) {
        *matches = dw__automaton_takes(&automaton, text);
        dw__automaton_release(&automaton);
    }
    return status == DW_OK ? status : dw_fail_within(c->err, status, "schema: %s", c->path);
}

/* ---- grammars ------------------------------------------------------------------------------- */

/* One pattern alone, as it is. */
static dw_status direct(dw__schema_converter *c, const char *pattern, uint32_t *rule)
{
    dw__regex tree;
    dw__gbnf body = {.bytes = NULL};
    dw_status status = dw__regex_parse(&tree, pattern, false, c->err);
    *rule = 0;
    if (status != DW_OK) {
        return status;
    }
    bool said = dw__regex_grammar(c, &body, &tree);
    dw__regex_release(&tree);
    if (said) {
        return dw__schema_shared_rule(c, &body, rule);
    }
    dw__gbnf_release(&body);
    return DW_OK;
}

static dw_status met(dw__schema_converter *c, const needs *w, bool with_formats, uint32_t *rule)
{
    dw__automaton automaton = {.starts = NULL};
    dw_status status = meet_needs(c, w, with_formats, &automaton);
    if (status == DW_OK) {
        status = dw__automaton_rule(c, &automaton, w->least, w->most, rule);
    }
    dw__automaton_release(&automaton);
    return status;
}

static dw_status make(dw__schema_converter *c, const needs *w, uint32_t *rule)
{
    size_t patterns = json_array_size(w->patterns);
    size_t named = json_array_size(w->formats);
    bool bounded = w->least > 0 || w->most < INT32_MAX;
    bool plain = json_array_size(w->unlike) == 0;
    dw_status status = DW_OK;
    *rule = 0;
    if (plain && patterns + named == 0) {
        dw__gbnf body = {.bytes = NULL};
        dw__gbnf_add(&body, w->most < w->least ? " []" : " char");
        dw__schema_repeat(c, &body, w->least, w->most < w->least ? w->least : w->most, 0);
        return dw__schema_shared_rule(c, &body, rule);
    }
    if (plain && patterns + named == 1 && !bounded) {
        const json_t *list = patterns > 0 ? w->patterns : w->formats;
        status = direct(c, json_string_value(json_array_get(list, 0)), rule);
    }
    if (status == DW_OK && *rule == 0) {
        status = met(c, w, true, rule);
    }
    /* A format beside what it does not go with is an annotation, which is said. */
    if (named > 0 && ((status == DW_OK && *rule == 0) || status == DW_E_UNSUPPORTED)) {
        status = dw__schema_note(c, "format", "beside other bounds of the string is not enforced");
        if (status == DW_OK) {
            status = met(c, w, false, rule);
        }
    }
    return status;
}

/* A key for all that a string must be: the rules of equal ones are one. */
static char *key_of(const needs *w)
{
    json_t *all = json_pack("[O,O,O,i,i]", w->patterns, w->formats, w->unlike, w->least, w->most);
    char *key = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return key;
}

dw_status dw__schema_string(dw__schema_converter *c, json_t *schema, dw__gbnf *to)
{
    needs w;
    uint32_t rule = 0;
    dw_status status = gather(c, schema, &w);
    char *key = status == DW_OK ? key_of(&w) : NULL;
    if (status == DW_OK && key == NULL) {
        status = no_memory(c);
    }
    if (status == DW_OK && !dw__index_find(&c->strings, key, strlen(key), &rule)) {
        status = make(c, &w, &rule);
        if (status == DW_OK && !dw__index_add(&c->strings, key, strlen(key), rule)) {
            status = no_memory(c);
        } else if (status != DW_OK) {
            status = dw_fail_within(c->err, status, "schema: %s", c->path);
        }
    }
    free(key);
    release(&w);
    if (status == DW_OK && rule == 0) {
        dw__gbnf_add(to, " []");
    } else if (status == DW_OK) {
        dw__gbnf_add(to, " \"\\\"\" s%u \"\\\"\"", rule);
    }
    return status;
}
