/* Triggers: what is found and from where on, whatever the pieces are in which the text comes; what
 * is refused; that a state restored in mid-word goes on as the original does. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "sampling/trigger.h"
#include "support.h"

#define PIECES_MAX 8

static dw_triggers *make(const dw_trigger *list, size_t count)
{
    const dw_trigger_options options = {.list = list, .count = count};
    dw_triggers *triggers;
    dw_error err;
    if (dw_triggers_create(&triggers, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return triggers;
}

static dw_trigger trigger(dw_trigger_kind kind, const char *text)
{
    return (dw_trigger){.kind = kind, .text = text, .bytes = strlen(text)};
}

/* The text found after these pieces, up to a NULL; an earlier one fails. NULL: none. */
static const char *find(dw_triggers *triggers, const char *const *pieces)
{
    static char copy[256];
    for (; *pieces != NULL; pieces++) {
        const char *found;
        size_t bytes;
        assert_int_equal(dw_triggers_try(triggers, *pieces, strlen(*pieces), &found, &bytes, NULL),
                         DW_OK);
        if (found != NULL) {
            if (pieces[1] != NULL) {
                fail_msg("found too early, at '%s'", *pieces);
            }
            assert_true(bytes < sizeof copy);
            memcpy(copy, found, bytes);
            copy[bytes] = '\0';
            return copy;
        }
        assert_int_equal(dw_triggers_read(triggers, *pieces, strlen(*pieces), NULL), DW_OK);
        /* Another that is put where this one is goes on in its place. */
        const dw_trigger_state state = dw_triggers_state(triggers);
        dw_trigger_state kept = state;
        char text[256];
        assert_true(state.bytes < sizeof text);
        memcpy(text, state.text, state.bytes);
        kept.text = text;
        assert_int_equal(dw_triggers_restore(triggers, &kept, NULL), DW_OK);
    }
    return NULL;
}

typedef struct search {
    dw_trigger_kind kind;
    const char *trigger;
    const char *pieces[PIECES_MAX];
    const char *found; /* NULL: nothing */
} search;

static void run(const search *of)
{
    const dw_trigger one = trigger(of->kind, of->trigger);
    dw_triggers *triggers = make(&one, 1);
    const char *found = find(triggers, of->pieces);
    if ((found == NULL) != (of->found == NULL) ||
        (found != NULL && strcmp(found, of->found) != 0)) {
        fail_msg("%s in '%s'...: '%s', not '%s'", of->trigger, of->pieces[0],
                 found != NULL ? found : "nothing", of->found != NULL ? of->found : "nothing");
    }
    dw_triggers_destroy(triggers);
}

static void test_trigger_words(void **state)
{
    static const search searches[] = {
        {DW_TRIGGER_WORD, "<tool_call>", {"hi ", "<tool", "_call>", NULL}, "<tool_call>"},
        {DW_TRIGGER_WORD, "<tool_call>", {"<tool_call>", NULL}, "<tool_call>"},
        {DW_TRIGGER_WORD, "<tool_call>", {"a<<tool_call>\n{", NULL}, "<tool_call>\n{"},
        {DW_TRIGGER_WORD, "<tool_call>", {"<tool", "<tool_call", " >", NULL}, NULL},
        {DW_TRIGGER_WORD, "aab", {"a", "a", "a", "b", NULL}, "aab"},
        {DW_TRIGGER_WORD, "a.b*", {"acb", "a.b", "*", NULL}, "a.b*"},
        {DW_TRIGGER_WORD, "\xc3\xa9!", {"e\xc3", "\xa9", "!", NULL}, "\xc3\xa9!"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof searches / sizeof searches[0]; i++) {
        run(&searches[i]);
    }
}

/* The patterns that formats of models use: functionary, gpt-oss, llm-jp, muse. */
static void test_trigger_patterns_in_use(void **state)
{
    static const char to_functions[] = "^<\\|channel\\|>(?:commentary|analysis)\\s+to=functions$";
    static const char start_to[] = "<\\|start\\|>assistant(\\s+to)";
    static const char start_channel[] =
        "<\\|start\\|>assistant(<\\|channel\\|>(?:commentary|analysis)\\s+to)";
    static const char muse[] = "(?:^|<\\|start\\|>assistant)( to=(?!self<\\|message\\|>)"
                               "(?!user<\\|message\\|>)[^<]*?<\\|message\\|>)";
    static const search searches[] = {
        {DW_TRIGGER_PATTERN, ">>>(?!all)", {">", ">>", NULL}, ">>>"},
        {DW_TRIGGER_PATTERN, ">>>(?!all)", {">>", ">all", "\nx >>", ">f", NULL}, ">>>f"},
        {DW_TRIGGER_PATTERN, ">>>(?!all)", {">>>al", NULL}, ">>>al"},
        {DW_TRIGGER_PATTERN, ">>>(?!all)", {">>>allo", " x", NULL}, NULL},
        {DW_TRIGGER_PATTERN, "^\\s+to$", {" ", "\n t", "o", NULL}, " \n to"},
        {DW_TRIGGER_PATTERN, "^\\s+to$", {" to ", "to", NULL}, NULL},
        {DW_TRIGGER_PATTERN, "^\\s+to$", {"x", " to", NULL}, NULL},
        {DW_TRIGGER_PATTERN,
         to_functions,
         {"<|channel|>", "comment", "ary  to", "=", "functions", NULL},
         "<|channel|>commentary  to=functions"},
        {DW_TRIGGER_PATTERN, to_functions, {"<|channel|>final to=functions", NULL}, NULL},
        {DW_TRIGGER_PATTERN, start_to, {"x<|start|>", "assistant", " ", " to", NULL}, "  to"},
        {DW_TRIGGER_PATTERN, start_to, {"<|start|>assistant to=f", NULL}, " to=f"},
        {DW_TRIGGER_PATTERN,
         start_channel,
         {"end<|start|>assistant<|channel|>", "analysis", " to", NULL},
         "<|channel|>analysis to"},
        {DW_TRIGGER_PATTERN,
         "<\\|start\\|>\\s*assistant(<\\|channel\\|>\\s*(?:commentary|analysis)\\s+to)",
         {"<|start|> assistant<|channel|> analysis", " to", NULL},
         "<|channel|> analysis to"},
        {DW_TRIGGER_PATTERN,
         muse,
         {" to=", "self", "<|message|>hm<|start|>assistant", " to=cal", "c<|message|>{", NULL},
         " to=calc<|message|>{"},
        {DW_TRIGGER_PATTERN, muse, {" to=f<|message|>", NULL}, " to=f<|message|>"},
        {DW_TRIGGER_PATTERN, muse, {"a to=f<|message|>", NULL}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof searches / sizeof searches[0]; i++) {
        run(&searches[i]);
    }
}

static void test_trigger_notation(void **state)
{
    static const search searches[] = {
        {DW_TRIGGER_PATTERN, "a(b*)(c?)d", {"xa", "cd", NULL}, "cd"}, /* the first not empty */
        {DW_TRIGGER_PATTERN, "(x?)ab", {"ab", NULL}, "ab"},
        {DW_TRIGGER_PATTERN, "a{2,3}(b)", {"aaaa", "b!", NULL}, "b!"},
        {DW_TRIGGER_PATTERN, "^a{2}$", {"a", "a", NULL}, "aa"},
        {DW_TRIGGER_PATTERN, "^a{2,}(c)", {"aaaaa", "c", NULL}, "c"},
        {DW_TRIGGER_PATTERN, "^(?:ab){0,2}c", {"ab", "ab", "c", NULL}, "ababc"},
        {DW_TRIGGER_PATTERN, "^(?:ab){0,2}c", {"ababab", "c", NULL}, NULL},
        {DW_TRIGGER_PATTERN, "[a-c\\d_-]+(!)", {"-b", "_9!", NULL}, "!"},
        {DW_TRIGGER_PATTERN, "[^\\s\\]](=)", {"]=", "x=", NULL}, "="},
        {DW_TRIGGER_PATTERN, "\\x41\\u00e9\\.", {"A\xc3", "\xa9.", NULL}, "A\xc3\xa9."},
        {DW_TRIGGER_PATTERN, "a.c", {"a\nc", "abc", NULL}, "abc"},
        {DW_TRIGGER_PATTERN, "(?:a|b|cd)+;", {"acdb", ";", NULL}, "acdb;"},
        {DW_TRIGGER_PATTERN, "(?:(?:a*)*)*b", {"aa", "ab", NULL}, "aaab"},
        {DW_TRIGGER_PATTERN, "a(?=b|cc)", {"ac", "c", NULL}, "acc"},
        {DW_TRIGGER_PATTERN, "x(?!a|b)\\w$", {"xa", " xc", NULL}, "xc"},
        {DW_TRIGGER_PATTERN, "\\W\\S\\D$", {"a1", "..a", NULL}, "..a"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof searches / sizeof searches[0]; i++) {
        run(&searches[i]);
    }
}

static void test_trigger_refusals(void **state)
{
    static const struct {
        const char *pattern;
        const char *words;
    } cases[] = {
        {"a(b", "byte 2: the group that begins here"},
        {"a)", "byte 2: ')' cannot stand here"},
        {"[a", "byte 1: the class that begins here"},
        {"*a", "nothing stands before '*'"},
        {"a{3,2}", "no repetition"},
        {"a{1001}", "limit of 1000"},
        {"(?<=a)b", "(?< is not supported"},
        {"(a)\\1", "\\1 is not supported"},
        {"\\bto", "\\b is not supported"},
        {"a\\", "'\\' ends it"},
        {"(?!a+)b", "only literal texts"},
        {"[[:alpha:]]", "[: is not supported"},
        {"[\xc3\xa9]", "only ASCII"},
        {"\xc3(", "not UTF-8"},
        {"[b-a]", "no range"},
        {"\\x4", "2 hexadecimal digits"},
        {"(?:(?:a{99}){99}){9}", "instructions"},
        {"()()()()()()()()()", "more than 8 groups"},
        {"", "0 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dw_trigger list[] = {trigger(DW_TRIGGER_WORD, "a"),
                                   trigger(DW_TRIGGER_PATTERN, cases[i].pattern)};
        const dw_trigger_options options = {.list = list, .count = 2};
        dw_triggers *triggers;
        dw_error err;
        dw_status status = dw_triggers_create(&triggers, &options, &err);
        assert_null(triggers);
        if ((status != DW_E_ARG && status != DW_E_LIMIT) ||
            strstr(err.message, cases[i].words) == NULL ||
            strstr(err.message, "triggers[1]") == NULL) {
            fail_msg("%s: %d, %s", cases[i].pattern, status, err.message);
        }
    }
}

/* What patterns cost a byte is bounded for all of them together, and what a call takes beyond. */
static void test_trigger_costs_are_bounded(void **state)
{
    static dw_trigger list[DW_TRIGGERS_MAX];
    static char text[DW_TRIGGER_STEPS_MAX / DW_TRIGGERS_CODE_MAX * 2];
    dw_trigger_options options = {.list = list, .count = DW_TRIGGERS_MAX};
    dw_triggers *triggers;
    const char *found;
    size_t bytes;
    dw_error err;
    (void)state;
    for (size_t i = 0; i < DW_TRIGGERS_MAX; i++) {
        list[i] = trigger(DW_TRIGGER_PATTERN, "(?:a?){99}b");
    }
    assert_int_equal(dw_triggers_create(&triggers, &options, &err), DW_E_LIMIT);
    assert_null(triggers);
    assert_non_null(strstr(err.message, "16384"));
    options.count = 60;
    assert_int_equal(dw_triggers_create(&triggers, &options, &err), DW_OK);
    memset(text, 'a', sizeof text);
    assert_int_equal(dw_triggers_try(triggers, text, 64, &found, &bytes, &err), DW_OK);
    assert_in_range(dw_triggers_steps(triggers), 64, 64 * 4 * DW_TRIGGERS_CODE_MAX);
    assert_int_equal(dw_triggers_try(triggers, text, sizeof text, &found, &bytes, &err),
                     DW_E_LIMIT);
    assert_non_null(strstr(err.message, "67108864"));
    assert_null(found);
    assert_int_equal(dw_triggers_try(triggers, "aab", 3, &found, &bytes, &err), DW_OK);
    assert_non_null(found);
    dw_triggers_destroy(triggers);
}

/* The first of the list counts, though another match begins further to the left. */
static void test_trigger_order(void **state)
{
    const dw_trigger list[] = {trigger(DW_TRIGGER_WORD, "two"), trigger(DW_TRIGGER_WORD, "one")};
    static const char *const pieces[] = {"o", "ne two", NULL};
    (void)state;
    dw_triggers *triggers = make(list, 2);
    assert_string_equal(find(triggers, pieces), "two");
    dw_triggers_destroy(triggers);
}

static void test_trigger_pauses(void **state)
{
    static const char *const inside[] = {"<thi", "nk>", "<call>", "so <call>", NULL};
    static const char *const behind[] = {"a<think><call>", "</th", "ink>", "<call>", NULL};
    static const char *const shared[] = {"<think>x</think>{", NULL};
    static const char *const opened[] = {"<call>", "</think>", "<call>", NULL};
    const dw_trigger list[] = {trigger(DW_TRIGGER_WORD, "<call>"),
                               trigger(DW_TRIGGER_WORD, "</think>{")};
    dw_trigger_options options = {.list = list,
                                  .count = 2,
                                  .pause = "<think>",
                                  .pause_bytes = 7,
                                  .resume = "</think>",
                                  .resume_bytes = 8};
    static const char *const *const texts[] = {inside, behind, shared};
    static const char *const results[] = {NULL, "<call>", "</think>{"};
    dw_triggers *triggers;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dw_triggers_create(&triggers, &options, NULL), DW_OK);
        const char *found = find(triggers, texts[i]);
        assert_int_equal(found == NULL, results[i] == NULL);
        if (found != NULL) {
            assert_string_equal(found, results[i]);
        }
        dw_triggers_destroy(triggers);
    }
    options.paused = true;
    assert_int_equal(dw_triggers_create(&triggers, &options, NULL), DW_OK);
    assert_string_equal(find(triggers, opened), "<call>");
    dw_triggers_destroy(triggers);
}

/* However long the text, what is kept of it stays small, and time grows with it alone. */
static void test_trigger_memory_is_bounded(void **state)
{
    const dw_trigger list[] = {trigger(DW_TRIGGER_WORD, "<tool_call>"),
                               trigger(DW_TRIGGER_PATTERN, "\\(([^)]*)\\)!")};
    (void)state;
    dw_triggers *triggers = make(list, 2);
    static char piece[1000];
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 300; i++) {
        const char *found;
        size_t bytes;
        piece[500] = i == 100 ? '(' : 'x'; /* the second keeps all from here on */
        assert_int_equal(dw_triggers_try(triggers, piece, sizeof piece, &found, &bytes, NULL),
                         DW_OK);
        assert_null(found);
        assert_int_equal(dw_triggers_read(triggers, piece, sizeof piece, NULL), DW_OK);
        assert_true(dw_triggers_state(triggers).bytes <= DW_TRIGGER_TEXT_BYTES_MAX);
        assert_int_equal(dw_triggers_state(triggers).bytes > 100, i >= 100 && i < 166);
    }
    static const char *const rest[] = {"(a)", "!", NULL};
    assert_string_equal(find(triggers, rest), "a)!");
    dw_triggers_destroy(triggers);
}

static void test_trigger_states_are_checked(void **state)
{
    const dw_trigger list[] = {trigger(DW_TRIGGER_WORD, "a")};
    (void)state;
    dw_triggers *triggers = make(list, 1);
    dw_trigger_state paused = {.text = "", .paused = true};
    assert_int_equal(dw_triggers_restore(triggers, &paused, NULL), DW_E_RANGE);
    dw_trigger_state marker = {.text = "", .marker_bytes = 1};
    assert_int_equal(dw_triggers_restore(triggers, &marker, NULL), DW_E_RANGE);
    dw_triggers_destroy(triggers);
}

static void test_trigger_survives_lack_of_memory(void **state)
{
    const dw_trigger list[] = {trigger(DW_TRIGGER_PATTERN, "(?!ab)[cd]{2}"),
                               trigger(DW_TRIGGER_WORD, "a")};
    const dw_trigger_options options = {.list = list, .count = 2};
    dw_triggers *triggers;
    (void)state;
    for (int64_t i = 0;; i++) {
        dw_alloc_fail_after(i);
        dw_status status = dw_triggers_create(&triggers, &options, NULL);
        dw_alloc_fail_after(-1);
        if (status == DW_OK) {
            assert_true(i > 15);
            break;
        }
        assert_int_equal(status, DW_E_MEMORY);
        assert_null(triggers);
    }
    dw_triggers_destroy(triggers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trigger_words),
        cmocka_unit_test(test_trigger_patterns_in_use),
        cmocka_unit_test(test_trigger_notation),
        cmocka_unit_test(test_trigger_refusals),
        cmocka_unit_test(test_trigger_costs_are_bounded),
        cmocka_unit_test(test_trigger_order),
        cmocka_unit_test(test_trigger_pauses),
        cmocka_unit_test(test_trigger_memory_is_bounded),
        cmocka_unit_test(test_trigger_states_are_checked),
        cmocka_unit_test(test_trigger_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
