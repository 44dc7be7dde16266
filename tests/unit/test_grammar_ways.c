/* Grammars that read a text in many ways: what they allow, beside a recogniser that tries all of
 * them, and that what a token may cost is bounded. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "grammar/grammar.h"
#include "grammar_fixture.h"
#include "model_fixture.h"
#include "schema/json_grammar.h"
#include "support.h"
#include "text/vocab.h"

#define SMOLLM2_TOKENS 49152

static dw_vocab *vocab;
static const dw_token_texts *texts;

/* ---- beside all ways ---------------------------------------------------------------------- */

#define TEXT_MAX 6
#define RULES_MAX 64

/* Whether a rule can become text[i..j), and whether it can become what begins with text[i..end). */
typedef struct chart {
    const dw_grammar_rules *rules;
    const char *text;
    size_t end;
    bool whole[RULES_MAX][TEXT_MAX + 1][TEXT_MAX + 1];
    bool begun[RULES_MAX][TEXT_MAX + 1];
} chart;

static bool takes(const chart *c, dw_symbol symbol, size_t i)
{
    if (i >= c->end || symbol.kind != DW_SYMBOL_SET) {
        return false;
    }
    uint32_t character = (unsigned char)c->text[i];
    return dw_char_set_meets(c->rules, symbol.value, character, character);
}

/* Follow one alternative from i on; reached[j]: its first symbols can become text[i..j). */
static bool try_alternative(chart *c, uint32_t rule, const dw_symbol *symbols, size_t i)
{
    bool reached[TEXT_MAX + 1] = {false};
    bool begun = c->begun[rule][i];
    bool grown = false;
    reached[i] = true;
    for (; symbols->kind != DW_SYMBOL_END; symbols++) {
        bool next[TEXT_MAX + 1] = {false};
        for (size_t j = i; j <= c->end; j++) {
            if (!reached[j]) {
                continue;
            }
            begun = begun || j == c->end ||
                    (symbols->kind == DW_SYMBOL_RULE && c->begun[symbols->value][j]);
            for (size_t k = j; k <= c->end && symbols->kind == DW_SYMBOL_RULE; k++) {
                next[k] = next[k] || c->whole[symbols->value][j][k];
            }
            if (takes(c, *symbols, j)) {
                next[j + 1] = true;
            }
        }
        memcpy(reached, next, sizeof reached);
    }
    begun = begun || reached[c->end];
    grown = begun != c->begun[rule][i];
    c->begun[rule][i] = begun;
    for (size_t j = i; j <= c->end; j++) {
        grown = grown || (reached[j] && !c->whole[rule][i][j]);
        c->whole[rule][i][j] = c->whole[rule][i][j] || reached[j];
    }
    return grown;
}

static void fill(chart *c, const dw_grammar_rules *rules, const char *text, size_t bytes)
{
    memset(c, 0, sizeof *c);
    c->rules = rules;
    c->text = text;
    c->end = bytes;
    for (bool grown = true; grown;) {
        grown = false;
        for (uint32_t r = 0; r < rules->rule_count; r++) {
            for (uint32_t a = rules->rules[r]; a != DW_NO_ALTERNATIVE;
                 a = rules->alternatives[a].next) {
                for (size_t i = 0; i <= bytes; i++) {
                    grown |=
                        try_alternative(c, r, rules->symbols + rules->alternatives[a].first, i);
                }
            }
        }
    }
}

static uint32_t random_state;

static uint32_t draw(uint32_t sides)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (uint32_t)((uint64_t)random_state * sides >> 32);
}

/* A text that is put together. */
typedef struct writer {
    char *text; /* [room] */
    size_t room;
    size_t bytes;
} writer;

static void put(writer *to, const char *format, ...) DW_PRINTF(2, 3);

static void put(writer *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(to->text + to->bytes, to->room - to->bytes, format, args);
    va_end(args);
    assert_true(bytes >= 0 && (size_t)bytes < to->room - to->bytes);
    to->bytes += (size_t)bytes;
}

static void add_item(writer *to, int depth)
{
    static const char *const items[] = {"\"a\"", "\"b\"", "[ab]", "[bc]", "A", "B", "C", "\"ab\""};
    static const char *const repetitions[] = {"?", "*", "+", "{0,2}", "{2}", "{1,}"};
    if (depth < 2 && draw(5) == 0) {
        put(to, "(");
        add_item(to, depth + 1);
        put(to, draw(2) == 0 ? " | " : " ");
        add_item(to, depth + 1);
        put(to, ")");
    } else {
        put(to, "%s", items[draw(8)]);
    }
    put(to, "%s ", draw(3) == 0 ? repetitions[draw(6)] : "");
}

static void random_grammar(char *text, size_t room)
{
    static const char *const names[] = {"root", "A", "B", "C"};
    writer to = {.text = text, .room = room};
    for (size_t r = 0; r < 4; r++) {
        put(&to, "%s ::= ", names[r]);
        for (uint32_t a = 1 + draw(3); a > 0; a--) {
            for (uint32_t i = draw(4); i > 0; i--) {
                add_item(&to, 0);
            }
            put(&to, a > 1 ? "| " : "\n");
        }
    }
}

/* All texts of a, b and c up to TEXT_MAX that the grammar can begin with. */
static void compare(dw_grammar *grammar, const char *source, chart *c,
                    const dw_grammar_rules *rules, char *text, size_t bytes)
{
    dw_error err;
    dw_status status = dw_grammar_begin(grammar, text, bytes, &err);
    fill(c, rules, text, bytes);
    bool begun = c->begun[rules->root][0];
    if (status != (begun ? DW_OK : DW_E_ARG)) {
        fail_msg("%s'%.*s': %s", source, (int)bytes, text, status == DW_OK ? "taken" : err.message);
    }
    if (!begun) {
        return;
    }
    if (dw_grammar_complete(grammar) != c->whole[rules->root][0][bytes]) {
        fail_msg("%s'%.*s': whole, we say %d", source, (int)bytes, text,
                 dw_grammar_complete(grammar));
    }
    for (char next = 'a'; next <= 'c' && bytes < TEXT_MAX; next++) {
        text[bytes] = next;
        compare(grammar, source, c, rules, text, bytes + 1);
    }
}

static void test_grammar_ways_beside_all_of_them(void **state)
{
    static chart c;
    static char source[8192];
    dw_token_texts over = byte_texts();
    uint32_t compared = 0;
    (void)state;
    random_state = 11;
    for (int i = 0; i < 2500; i++) {
        dw_grammar *grammar;
        dw_grammar_rules rules;
        dw_error err;
        char text[TEXT_MAX];
        random_grammar(source, sizeof source);
        if (dw_grammar_create(&grammar, &over, source, strlen(source), &byte_tokens, &err) !=
            DW_OK) {
            assert_int_equal(err.code, DW_E_ARG); /* left recursion */
            continue;
        }
        assert_int_equal(dw_grammar_rules_make(&rules, source, strlen(source), &byte_tokens, &err),
                         DW_OK);
        if (rules.rule_count <= RULES_MAX) {
            compare(grammar, source, &c, &rules, text, 0);
            compared++;
        }
        dw_grammar_rules_release(&rules);
        dw_grammar_destroy(grammar);
    }
    print_message("%u grammars compared\n", compared);
    assert_true(compared > 200);
    dw_token_texts_release(&over);
}

/* ---- what a token costs ------------------------------------------------------------------- */

/* Written out: `before`, then `item` with a letter in the place of each '@' and its number in that
 * of each '#', `count` times, with `between` them, then `after`. */
typedef struct shape {
    const char *before;
    const char *item;
    const char *between;
    const char *after;
    uint32_t count;
    double steps; /* millions that a mask may take; 0: more than the limit */
} shape;

static const shape shapes[] = {
    {"", "root ::= s\ns ::= \"a\" s \"b\" | \"a\" s \"c\" | \"a\"", "", "", 1, 0.1},
    {"", "root ::= s\ns ::= [a-z] s [a-m] | [a-z] s [n-z] | [a-z] s [a-z] | [a-z]", "", "", 1, 2},
    {"root ::= s\ns ::= ", "[@-z] s [@-z]", " | ", " | [a-z]", 20, 4},
    {"", "root ::= (((([a-z]*)*)*)*)* \"!\"", "", "", 1, 0.1},
    {"root ::= ", "[@-z ]?", " ", "", 160, 4},
    {"root ::= (", "[@-z ]?", " ", "){0,50}", 150, 8},
    {"root ::= (", "\"a\"? \"a\"?", "", "){0,9999}", 1, 4},
    {"root ::= ((((", "[a-z]?", " ", "){0,9}){0,9}){0,9}){0,9}", 20, 20},
    {"root ::= (", "[@-z ]*", " ", ")*", 300, 16},
    {"root ::= p\np ::= ", "\"@\" p \"@\"", " | ", " | [a-z ]?", 26, 30},
    {"root ::= p\np ::= \" \" p \" \" | ", "\"@\" p \"@\"", " | ", " | [a-z ]?", 26, 40},
    {"root ::= p p p p\np ::= ", "[@-z ] p \"@\"", " | ", " | [a-z ]?", 26, 30},
    {"root ::= e\ne ::= t (o t)*\nt ::= [a-z]+ | [a-z]+ o e | [a-z]+ [a-z ]* e\no ::= ", "[-@ ]",
     " | ", "", 3, 4},
    {"root ::= ", "(.{0,#} \"@\")*", " | ", "", 99, 0},
    {"root ::= ", ".* [@x] .{9} \"@\" .*", " | ", "", 200, 0},
};
#define SHAPE_COUNT (sizeof shapes / sizeof shapes[0])

static char *write_out(const shape *of)
{
    writer to = {.room = strlen(of->before) + strlen(of->after) + 1 +
                         of->count * (2 * strlen(of->item) + strlen(of->between) + 16)};
    to.text = dw_alloc(to.room, 1);
    assert_non_null(to.text);
    put(&to, "%s", of->before);
    for (uint32_t i = 0; i < of->count; i++) {
        put(&to, "%s", i > 0 ? of->between : "");
        for (const char *c = of->item; *c != '\0'; c++) {
            if (*c == '#') {
                put(&to, "%u", 5 + i);
            } else {
                put(&to, "%c", *c == '@' ? (int)('a' + i % 26) : *c);
            }
        }
    }
    put(&to, "%s", of->after);
    return to.text;
}

static int32_t find_token(const void *user, const char *text, size_t bytes)
{
    return dw_vocab_find(user, text, bytes);
}

/* One of the allowed tokens; -1: none. */
static int32_t pick(const uint64_t *allowed)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        count += dw_grammar_has(allowed, i) && !texts->is_end[i];
    }
    uint32_t left = count > 0 ? draw(count) : 0;
    for (uint32_t i = 0; i < SMOLLM2_TOKENS && count > 0; i++) {
        if (dw_grammar_has(allowed, i) && !texts->is_end[i] && left-- == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* The most steps of a call for the next `count` tokens. */
static dw_status walk(const char *text, int count, uint64_t *most, dw_error *err)
{
    const dw_grammar_tokens tokens = {SMOLLM2_TOKENS, find_token, vocab, NULL};
    dw_grammar *grammar;
    dw_status status = dw_grammar_create(&grammar, texts, text, strlen(text), &tokens, err);
    *most = 0;
    for (int i = 0; i < count && status == DW_OK; i++) {
        const uint64_t *allowed;
        status = dw_grammar_mask(grammar, &allowed, err);
        *most = dw_grammar_steps(grammar) > *most ? dw_grammar_steps(grammar) : *most;
        int32_t token = status == DW_OK ? pick(allowed) : -1;
        if (token >= 0) {
            status = dw_grammar_accept(grammar, token, err);
            *most = dw_grammar_steps(grammar) > *most ? dw_grammar_steps(grammar) : *most;
        }
    }
    dw_grammar_destroy(grammar);
    return status;
}

/* Equal stacks are one: what took 2^n ways, or seconds, takes steps that can be counted. What
 * takes more is refused by the limit's name, and in time. */
static void test_grammar_ways_cost_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        char *text = write_out(&shapes[i]);
        dw_error err = {0};
        uint64_t most;
        random_state = 7;
        dw_status status = walk(text, 4, &most, &err);
        print_message("%zu: %.40s: %.3f million steps %s\n", i, text, (double)most * 1e-6,
                      err.message);
        assert_int_equal(status, shapes[i].steps > 0.0 ? DW_OK : DW_E_LIMIT);
        assert_true(most <= DW_GRAMMAR_STEPS_MAX);
        if (shapes[i].steps > 0.0) {
            assert_true((double)most < shapes[i].steps * 1e6);
        } else {
            assert_non_null(strstr(err.message, "steps"));
            assert_non_null(strstr(err.message, "67108864"));
        }
        dw_free(text);
    }
}

/* After a call that met the limit the grammar is where it was, and tokens that cost less go on. */
static void test_grammar_ways_after_the_limit(void **state)
{
    const dw_grammar_tokens tokens = {SMOLLM2_TOKENS, find_token, vocab, NULL};
    char *text = write_out(&shapes[SHAPE_COUNT - 1]);
    int32_t token = dw_vocab_find(vocab, "the", 3);
    const uint64_t *allowed;
    dw_grammar *grammar;
    dw_error err;
    (void)state;
    assert_int_equal(dw_grammar_create(&grammar, texts, text, strlen(text), &tokens, &err), DW_OK);
    for (int i = 0; i < 2; i++) {
        bool one;
        assert_int_equal(dw_grammar_mask(grammar, &allowed, &err), DW_E_LIMIT);
        assert_int_equal(dw_grammar_allows(grammar, token, &one, &err), DW_OK);
        assert_true(one);
        assert_int_equal(dw_grammar_accept(grammar, token, &err), DW_OK);
    }
    dw_grammar_destroy(grammar);
    dw_free(text);
}

/* Tokens that cost little each may not cost without end together: what replays them is bounded. */
static void test_grammar_ways_of_all_tokens(void **state)
{
    dw_token_texts over = byte_texts();
    dw_grammar *grammar;
    dw_error err;
    uint64_t steps = 0;
    int count = 0;
    (void)state;
    char *text = write_out(&(shape){"root ::= (", "[a-z]?", " ", "){0,9999}", 3000, 0});
    assert_int_equal(dw_grammar_create(&grammar, &over, text, strlen(text), &byte_tokens, &err),
                     DW_OK);
    for (; count < 20000 && dw_grammar_accept(grammar, 'a', &err) == DW_OK; count++) {
        steps += dw_grammar_steps(grammar);
    }
    print_message("%d tokens, %.1f million steps\n", count, (double)steps * 1e-6);
    assert_in_range(count, 100, 1000);
    assert_int_equal(err.code, DW_E_LIMIT);
    assert_true(steps <= DW_GRAMMAR_STEPS_MAX + (uint64_t)count * 4096);
    dw_grammar_destroy(grammar);
    dw_free(text);
    dw_token_texts_release(&over);
}

/* ---- schemas ------------------------------------------------------------------------------ */

static const shape schemas[] = {
    {"{\"type\":\"string\",\"pattern\":\"^", "([a-z]?[@-z ]*)?", "", "$\"}", 60, 0},
    {"{\"anyOf\":[", "{\"type\":\"string\",\"pattern\":\"[@x].{9}@\"}", ",", "]}", 60, 0},
    {"{\"type\":\"array\",\"items\":{\"anyOf\":[", "{\"type\":\"array\",\"maxItems\":#}", ",",
     "]}}", 60, 0},
    {"{\"type\":\"string\",\"pattern\":\"^", "(([a-z]*)*)*", "", "$\"}", 40, 0},
};

/* Schemas that become such grammars: whatever comes of them, it is within the limits. */
static void test_grammar_ways_of_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        char *schema = write_out(&schemas[i]);
        char *grammar = NULL;
        dw_error err = {0};
        uint64_t most = 0;
        dw_status status = dw_json_grammar_make(&grammar, schema, strlen(schema), &err);
        if (status == DW_OK) {
            status = walk(grammar, 4, &most, &err);
        }
        print_message("%.40s: %.3f million steps %s\n", schema, (double)most * 1e-6, err.message);
        assert_true(status == DW_OK || status == DW_E_LIMIT || status == DW_E_UNSUPPORTED);
        assert_true(most <= DW_GRAMMAR_STEPS_MAX);
        dw_free(grammar);
        dw_free(schema);
    }
}

/* What a guest gets without being granted more is a step of some 60 ms at most, since others may
 * wait for it; of what is written in earnest one takes an eighth of that at most. */
static void test_grammar_ways_within_the_usual_limit(void **state)
{
    static const char *const usual[] = {
        "{}", "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\"}}",
        "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"maxLength\":80},"
        "\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"kind\":{\"enum\":[\"a\",\"b\"]},"
        "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}}},\"required\":[\"city\"]}",
        "{\"type\":\"string\",\"pattern\":\"^[a-z0-9._-]{1,40}@[a-z0-9-]+(\\\\.[a-z]{2,9})+$\"}"};
    char *heavy = write_out(&schemas[1]);
    (void)state;
    assert_true(dw_limits_usual.grammar_steps * 15 <= 40000000);
    for (size_t i = 0; i <= sizeof usual / sizeof usual[0]; i++) {
        const bool is_heavy = i == sizeof usual / sizeof usual[0];
        const char *schema = is_heavy ? heavy : usual[i];
        const uint64_t limit = dw_limits_usual.grammar_steps / (is_heavy ? 1 : 8);
        char *grammar = NULL;
        uint64_t most;
        dw_error err = {.message = ""};
        assert_int_equal(dw_json_grammar_make(&grammar, schema, strlen(schema), &err), DW_OK);
        dw_status status = walk(grammar, 4, &most, &err);
        assert_int_equal(status, DW_OK);
        print_message("%.40s: %.3f million steps\n", schema, (double)most * 1e-6);
        assert_true((most > limit) == is_heavy);
        dw_free(grammar);
    }
    dw_free(heavy);
}

static int set_up(void **state)
{
    dw_error err;
    (void)state;
    if (dw_vocab_open(&vocab, model_fixture_path(), SMOLLM2_TOKENS, &err) != DW_OK ||
        dw_vocab_token_texts(vocab, &texts, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dw_vocab_close(vocab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar_ways_beside_all_of_them),
        cmocka_unit_test(test_grammar_ways_cost_steps),
        cmocka_unit_test(test_grammar_ways_after_the_limit),
        cmocka_unit_test(test_grammar_ways_of_all_tokens),
        cmocka_unit_test(test_grammar_ways_of_schemas),
        cmocka_unit_test(test_grammar_ways_within_the_usual_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
