/* Grammars: what the notation means, what is refused and where, and the allowed tokens step by step
 * beside libllama's own grammar sampler, over a real vocabulary. */
#include <stdlib.h>
#include <string.h>

#include <llama.h>

#include "base/alloc.h"
#include "driftwood_abi.h"
#include "grammar_fixture.h"
#include "model_fixture.h"
#include "sampling/sampler.h"
#include "support.h"
#include "grammar/grammar.h"
#include "text/vocab.h"

#define SMOLLM2_TOKENS 49152
#define STEPS_MAX 60

static const char json_grammar[] =
    "root   ::= object\n"
    "value  ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
    "array  ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
    "[0-9a-fA-F]{4}))* \"\\\"\" ws\n"
    "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9]+)? ws\n"
    "ws     ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";

static dw_vocab *vocab;
static const dw_token_texts *texts;

static dw_status make(dw_grammar **out, const dw_token_texts *over, const char *text, dw_error *err)
{
    return dw_grammar_create(out, over, text, strlen(text), &byte_tokens, err);
}

static void test_grammar_notation(void **state)
{
    static const struct {
        const char *grammar;
        const char *yes[4];
        const char *no[4];
    } cases[] = {
        {"root ::= \"ab\" | \"c\"", {"ab", "c"}, {"b", "abc", "d"}},
        {"root ::= [a-c]+ # note\n", {"a", "cab"}, {"d", "ad"}},
        {"root ::= [^a-c\\]]* \"a\"",
         {"xa", "a",
          "\xc3\xa9\xe2\x82\xac"
          "a"},
         {"b", "]"}},
        {"root ::= \"ab\"{2} \"c\"?", {"abab", "ababc"}, {"abc", "ababab"}},
        {"root ::= [a-]{2,3}", {"a-", "aaa"}, {"aaaa", "b"}},
        {"root ::= \"a\"{2,}", {"aa", "aaaaaaaa"}, {"b"}},
        {"root ::= (\"a\" | \"b\" (\"c\")*)+", {"a", "bcca"}, {"c"}},
        {"root ::= x x\nx ::= \"a\" | # one\n \"b\"", {"ab", "ba"}, {"abc"}},
        {"root ::= \"\\x41\\u00e9\\U0001F600\\n\"", {"A\xc3\xa9\xf0\x9f\x98\x80\n"}, {"a"}},
        {"root ::= . .", {"a\xc3\xa9"}, {"abc", "\x80", "\xc0\x80", "\xed\xa0\x80"}},
        {"root ::= ((\"a\"*)* \"b\")*", {"", "b", "aab", "abbab"}, {"c"}},
        {"root ::= \"a\" | \"b\" x\nx ::= \"c\" x", {"a"}, {"b"}},
        {"root ::= \"\" \"a\"{0} \"b\"", {"b"}, {"a"}},
        {"root ::= [\\u00e9]", {"\xc3\xa9"}, {"\xc3\xa8", "\xc4"}},
        {"root ::= [^\\u00e9] \"!\"", {"\xc3\xa8!", "a!"}, {"\xc3\xa9"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; k < 4 && cases[i].yes[k] != NULL; k++) {
            if (grammar_follows(cases[i].grammar, cases[i].yes[k]) != 1) {
                fail_msg("%s: not '%s'", cases[i].grammar, cases[i].yes[k]);
            }
        }
        for (size_t k = 0; k < 4 && cases[i].no[k] != NULL; k++) {
            if (grammar_follows(cases[i].grammar, cases[i].no[k]) != -1) {
                fail_msg("%s: '%s' is allowed", cases[i].grammar, cases[i].no[k]);
            }
        }
    }
}

static void test_grammar_refusals(void **state)
{
    static const struct {
        const char *grammar;
        const char *words;
    } cases[] = {
        {"", "no rule 'root'"},
        {"a ::= \"b\"", "no rule 'root'"},
        {"root ::= \"a\n", "line 1, column 10: the string"},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: 'root' is defined a second"},
        {"root ::= x", "column 10: there is no rule 'x'"},
        {"root = \"a\"", "'::='"},
        {"::= \"a\"", "begins with its name"},
        {"root ::= *", "nothing stands before '*'"},
        {"root ::= [b-a]", "runs backwards"},
        {"root ::= [a", "the set that begins here"},
        {"root ::= (\"a\"", "has no ')'"},
        {"root ::= \"a\")", "')' cannot stand here"},
        {"root ::= \"\\q\"", "\\q is no escape"},
        {"root ::= \"\\u12\"", "4 hexadecimal digits"},
        {"root ::= \"\\uD800\"", "U+D800 is no character"},
        {"root ::= \"\\U00110000\"", "U+110000 is no character"},
        {"root ::= \"\xc3(\"", "not UTF-8"},
        {"root ::= \"a\"{3,2}", "at least 3 and at most 2"},
        {"root ::= \"a\"{10001}", "limit of 10000"},
        {"root ::= \"a\"{x}", "a number is needed"},
        {"root ::= \"a\"{2", "'}' is needed"},
        {"root ::= root \"a\" | \"b\"", "'root' begins with itself"},
        {"root ::= x \"b\"\nx ::= y root | \"a\"\ny ::= \"c\"?", "begins with itself"},
        {"root ::= \"a\" root", "'root' can match nothing"},
        {"root ::= []", "'root' can match nothing"},
        {"root ::= <nope>", "'<nope>' is not one token"},
        {"root ::= <[262]>", "limit of 261"},
        {"root ::= !a", "stands before a token"},
    };
    dw_token_texts over = byte_texts();
    dw_grammar *grammar;
    dw_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (make(&grammar, &over, cases[i].grammar, &err) != DW_E_ARG &&
            strstr(cases[i].words, "limit") == NULL) {
            fail_msg("%s: not refused", cases[i].grammar);
        }
        assert_null(grammar);
        if (strstr(err.message, cases[i].words) == NULL) {
            fail_msg("%s: %s", cases[i].grammar, err.message);
        }
    }
    dw_token_texts_release(&over);
}

static void expect_mask(dw_grammar *grammar, const char *bytes, int32_t extra)
{
    const uint64_t *allowed;
    dw_error err;
    assert_int_equal(dw_grammar_mask(grammar, &allowed, &err), DW_OK);
    for (int32_t i = 0; i < TOKEN_COUNT; i++) {
        bool want = i == extra || (i > 0 && i < 256 && strchr(bytes, i) != NULL);
        bool one;
        assert_int_equal(dw_grammar_allows(grammar, i, &one, &err), DW_OK);
        assert_int_equal(one, dw_grammar_has(allowed, (uint32_t)i));
        if (one != want) {
            fail_msg("token %d: %d", i, one);
        }
    }
}

/* Deep, long and wide ones meet limits, not the end of the stack or of memory. */
static void test_grammar_limits(void **state)
{
    dw_token_texts over = byte_texts();
    dw_grammar *grammar;
    dw_error err;
    size_t bytes = 300000;
    (void)state;
    char *text = dw_alloc(bytes + 1, 1);
    memset(text, '(', bytes);
    memcpy(text, "root ::= ", 9);
    assert_int_equal(make(&grammar, &over, text, &err), DW_E_ARG);
    assert_non_null(strstr(err.message, "deep"));
    dw_free(text);
    assert_int_equal(make(&grammar, &over,
                          "root ::= ((\"a\"{9999} \"b\"){0,9999} \"c\"){0,9999} "
                          "\"a\"{0,9999} [a-b]{0,9999} .{0,9999}",
                          &err),
                     DW_OK);
    dw_grammar_destroy(grammar);
    /* Stacks that go on with the same symbol are one, however many they are. */
    assert_int_equal(make(&grammar, &over, "root ::= (\"a\"? \"a\"?){0,9999}", &err), DW_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(dw_grammar_accept(grammar, 'a', &err), DW_OK);
    }
    expect_mask(grammar, "a", TOKEN_END);
    dw_grammar_destroy(grammar);
    dw_token_texts_release(&over);
}

static void test_grammar_tokens(void **state)
{
    dw_token_texts over = byte_texts();
    dw_grammar *grammar;
    dw_error err;
    (void)state;
    assert_int_equal(make(&grammar, &over, "root ::= <x> \"abd\" | \"z\"", &err), DW_OK);
    expect_mask(grammar, "z", TOKEN_X);
    assert_int_equal(dw_grammar_accept(grammar, 'a', &err), DW_E_ARG);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_END, &err), DW_E_ARG);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_X, &err), DW_OK);
    expect_mask(grammar, "a", TOKEN_AB);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_AB, &err), DW_OK);
    assert_false(dw_grammar_complete(grammar));
    assert_int_equal(dw_grammar_accept(grammar, 'd', &err), DW_OK);
    assert_true(dw_grammar_complete(grammar));
    expect_mask(grammar, "", TOKEN_END);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_END, &err), DW_OK);
    expect_mask(grammar, "", TOKEN_END);
    dw_grammar_destroy(grammar);

    /* Half a character, then the other half. */
    assert_int_equal(make(&grammar, &over, "root ::= [\\u00e0-\\u00ef] \"a\"", &err), DW_OK);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_HALF, &err), DW_OK);
    assert_int_equal(dw_grammar_accept(grammar, 'a', &err), DW_E_ARG);
    assert_int_equal(dw_grammar_accept(grammar, 0xa9, &err), DW_OK);
    expect_mask(grammar, "a", -1);
    dw_grammar_destroy(grammar);

    assert_int_equal(make(&grammar, &over, "root ::= !<[97]>", &err), DW_OK);
    bool allowed;
    assert_int_equal(dw_grammar_allows(grammar, 'a', &allowed, &err), DW_OK);
    assert_false(allowed);
    assert_int_equal(dw_grammar_allows(grammar, TOKEN_ABC, &allowed, &err), DW_OK);
    assert_true(allowed);
    assert_int_equal(dw_grammar_accept(grammar, TOKEN_ABC, &err), DW_OK);
    assert_true(dw_grammar_complete(grammar));
    dw_grammar_destroy(grammar);
    dw_token_texts_release(&over);
}

/* ---- beside libllama ---------------------------------------------------------------------- */

static dw_grammar *over_smollm2(const char *text)
{
    const dw_grammar_tokens tokens = {SMOLLM2_TOKENS, byte_tokens.find, NULL, NULL};
    dw_grammar *grammar;
    dw_error err;
    if (dw_grammar_create(&grammar, texts, text, strlen(text), &tokens, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return grammar;
}

static bool plain(int32_t token)
{
    for (uint32_t i = texts->starts[token]; i < texts->starts[token + 1]; i++) {
        if ((texts->bytes[i] & 0x80) != 0) {
            return false;
        }
    }
    return true;
}

/* Equal, but that libllama lets control tokens pass as text, and some bytes that are not UTF-8. */
static uint32_t compare_masks(struct llama_sampler *theirs, const unsigned char *ours)
{
    static llama_token_data data[SMOLLM2_TOKENS];
    uint32_t allowed_count = 0;
    for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        data[i] = (llama_token_data){.id = i, .logit = 1.0F};
    }
    llama_token_data_array list = {.data = data, .size = SMOLLM2_TOKENS, .selected = -1};
    llama_sampler_apply(theirs, &list);
    for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        bool control = texts->is_control[i] && !texts->is_end[i];
        bool want = data[i].logit > 0.0F;
        allowed_count += ours[i];
        if (control ? ours[i] : plain(i) ? ours[i] != want : ours[i] && !want) {
            fail_msg("token %d '%.*s': libllama says %d", i,
                     (int)(texts->starts[i + 1] - texts->starts[i]),
                     texts->bytes + texts->starts[i], want);
        }
    }
    return allowed_count;
}

static int32_t pick(const unsigned char *allowed, uint32_t allowed_count, uint32_t *random)
{
    *random = *random * 1664525U + 1013904223U; /* Numerical Recipes' quick generator */
    uint32_t left = (uint32_t)((uint64_t)*random * allowed_count >> 32);
    int32_t token = 0;
    while (!allowed[token] || left-- > 0) {
        token++;
    }
    return token;
}

/* As bytes, checked token by token. */
static void find_allowed(dw_grammar *grammar, unsigned char *allowed)
{
    const uint64_t *words;
    dw_error err;
    assert_int_equal(dw_grammar_mask(grammar, &words, &err), DW_OK);
    for (uint32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        allowed[i] = dw_grammar_has(words, i);
    }
    assert_int_equal(words[SMOLLM2_TOKENS / 64] >> SMOLLM2_TOKENS % 64, 0);
    for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        bool one;
        assert_int_equal(dw_grammar_allows(grammar, i, &one, &err), DW_OK);
        if (one != allowed[i]) {
            fail_msg("token %d: the mask says %d", i, allowed[i]);
        }
    }
}

static void walk_beside(const char *text, uint32_t random)
{
    static unsigned char allowed[SMOLLM2_TOKENS];
    dw_grammar *grammar = over_smollm2(text);
    struct llama_sampler *theirs = llama_sampler_init_grammar(dw_vocab_llama(vocab), text, "root");
    dw_error err;
    assert_non_null(theirs);
    for (int step = 0; step < STEPS_MAX; step++) {
        find_allowed(grammar, allowed);
        uint32_t count = compare_masks(theirs, allowed);
        assert_true(count > 0);
        int32_t token = pick(allowed, count, &random);
        bool one;
        assert_int_equal(dw_grammar_allows(grammar, token, &one, &err), DW_OK);
        assert_true(one);
        assert_int_equal(dw_grammar_accept(grammar, token, &err), DW_OK);
        if (texts->is_end[token]) {
            break;
        }
        llama_sampler_accept(theirs, token);
    }
    llama_sampler_free(theirs);
    dw_grammar_destroy(grammar);
}

static void test_grammar_as_libllama(void **state)
{
    static const char *const grammars[] = {
        json_grammar,
        "root ::= (\"- \" [^\\n]{3,40} \"\\n\"){2,5}",
        "root ::= [0-9]{4} \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" [0-3] [0-9]",
        "root ::= [a-z ]+ (\".\" | \"!\" [\\t ]*)+",
        "root ::= sum \"=\" \"?\"\nsum ::= item (\"+\" item)*\nitem ::= [0-9]+ | \"(\" sum \")\"",
        "root ::= \"\\u00e9\" .* | [\\u4e00-\\u9fff]{2,9} \"a\"",
        "root ::= [a-z ]{2,20} | [a-zA-Z]{1,3} \"-\" root",
        "root ::= ([^\\n]{0,17} \"\\n\")*",
        "root ::= [a-z] [a-z0-9_]* \"(\" (root (\", \" root)*)? \")\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof grammars / sizeof grammars[0]; i++) {
        for (uint32_t seed = 1; seed <= 3; seed++) {
            walk_beside(grammars[i], seed);
        }
    }
}

/* A state that comes back has its mask already; a table that is full is begun anew, and says the
 * same. */
static void test_grammar_remembers_masks(void **state)
{
    static const char nested[] = "root ::= \"(\" root \")\" | \"[\" root \"]\" | [a-z ]* \".\"";
    const uint64_t *first;
    const uint64_t *again;
    dw_error err;
    (void)state;
    dw_grammar *grammar = over_smollm2("root ::= \"\\\"\" [^\"]* \"\\\"\"");
    assert_int_equal(dw_grammar_begin(grammar, "\"ab", 3, &err), DW_OK);
    assert_int_equal(dw_grammar_mask(grammar, &first, &err), DW_OK);
    assert_int_equal(dw_grammar_begin(grammar, "\"what else", 10, &err), DW_OK);
    uint64_t before = dw_alloc_count();
    assert_int_equal(dw_grammar_mask(grammar, &again, &err), DW_OK);
    assert_ptr_equal(first, again);
    assert_int_equal(dw_alloc_count(), before);
    dw_grammar_destroy(grammar);

    /* Each depth is a state of its own, with a mask of 6 KiB: more than there is room for. */
    static unsigned char allowed[SMOLLM2_TOKENS];
    int32_t open = dw_vocab_find(vocab, "(", 1);
    grammar = over_smollm2(nested);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(dw_grammar_mask(grammar, &first, &err), DW_OK);
        if (i % 500 == 0) {
            find_allowed(grammar, allowed);
        }
        assert_int_equal(dw_grammar_accept(grammar, open, &err), DW_OK);
    }
    find_allowed(grammar, allowed);
    dw_grammar_destroy(grammar);
}

/* With control tokens by their text, exactly what libllama allows, but for bytes that are no UTF-8:
 * also where a grammar spells the marker of a call that is one token. */
static void test_grammar_spells_control_tokens(void **state)
{
    static const char marked[] =
        "root ::= \"<|im_start|>\" [a-z|<_>]+ \"<|im_start|>\" | \"<repo_name>\" .*";
    static unsigned char allowed[SMOLLM2_TOKENS];
    dw_grammar *grammar = over_smollm2(marked);
    int32_t marker = dw_vocab_find(vocab, "<|im_start|>", 12);
    struct llama_sampler *theirs =
        llama_sampler_init_grammar(dw_vocab_llama(vocab), marked, "root");
    dw_error err;
    uint32_t random = 5;
    (void)state;
    assert_true(texts->is_control[marker]);
    find_allowed(grammar, allowed);
    assert_false(allowed[marker]);
    dw_grammar_spell_control(grammar);
    for (int step = 0; step < 12; step++) {
        static llama_token_data data[SMOLLM2_TOKENS];
        uint32_t count = 0;
        find_allowed(grammar, allowed);
        for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
            data[i] = (llama_token_data){.id = i, .logit = 1.0F};
        }
        llama_token_data_array list = {.data = data, .size = SMOLLM2_TOKENS, .selected = -1};
        llama_sampler_apply(theirs, &list);
        for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
            if (plain(i) && allowed[i] != (data[i].logit > 0.0F)) {
                fail_msg("step %d, token %d: we say %d", step, i, allowed[i]);
            }
            allowed[i] = allowed[i] && !texts->is_end[i];
            count += allowed[i];
        }
        assert_true(count > 0);
        /* The marker wherever it may come, every other time. */
        int32_t token = allowed[marker] && step % 2 == 0 ? marker : pick(allowed, count, &random);
        assert_int_equal(step > 0 || token == marker, 1);
        assert_int_equal(dw_grammar_accept(grammar, token, &err), DW_OK);
        llama_sampler_accept(theirs, token);
        if (step > 0 && token == marker) {
            assert_true(dw_grammar_complete(grammar));
        }
    }
    llama_sampler_free(theirs);
    dw_grammar_destroy(grammar);
}

/* ---- through the sampler ------------------------------------------------------------------ */

static bool is_utf8(const char *text, size_t bytes)
{
    /* The vocabulary replaces what is not UTF-8 on the way in: a round trip shows it. */
    static int32_t tokens[4096];
    static char back[16384];
    size_t count;
    size_t back_bytes;
    dw_error err;
    assert_int_equal(dw_vocab_tokenize(vocab, text, bytes, tokens, 4096, 0, &count, &err), DW_OK);
    assert_int_equal(
        dw_vocab_detokenize(vocab, tokens, count, back, sizeof back, 0, &back_bytes, NULL, &err),
        DW_OK);
    return back_bytes == bytes && memcmp(back, text, bytes) == 0;
}

/* Random logits know nothing of JSON: what comes out is the grammar's doing alone. The end of a
 * text and of its parts is made likely, so that texts end. */
static void generate_json(uint64_t seed, const dw_sampler_params *base)
{
    static float logits[SMOLLM2_TOKENS];
    static char text[16384];
    size_t used = 0;
    dw_sampler_params params = *base;
    dw_sampler *sampler;
    dw_error err;
    params.seed = seed;
    assert_int_equal(dw_sampler_create(&sampler, SMOLLM2_TOKENS, &params, &err), DW_OK);
    assert_int_equal(
        dw_sampler_set_grammar(sampler, vocab, json_grammar, strlen(json_grammar), &err), DW_OK);
    uint32_t random = (uint32_t)seed;
    for (int step = 0;; step++) {
        int32_t token;
        assert_true(step < 2000);
        for (uint32_t i = 0; i < SMOLLM2_TOKENS; i++) {
            random = random * 1664525U + 1013904223U;
            char first =
                texts->starts[i] < texts->starts[i + 1] ? texts->bytes[texts->starts[i]] : '}';
            bool closes = strchr("\"}]", first) != NULL;
            logits[i] = (float)(random >> 8) * 0x1p-22F + (closes ? 0.2F * (float)step : 0.0F);
        }
        if (dw_sampler_choose(sampler, logits, &token, &err) != DW_OK ||
            dw_sampler_remember(sampler, token, &err) != DW_OK) {
            fail_msg("seed %d, step %d: %s", (int)seed, step, err.message);
        }
        if (texts->is_end[token]) {
            break;
        }
        size_t bytes;
        assert_int_equal(dw_vocab_detokenize(vocab, &token, 1, text + used, sizeof text - used, 0,
                                             &bytes, NULL, &err),
                         DW_OK);
        used += bytes;
    }
    assert_true(is_utf8(text, used));
    assert_int_equal(text[0], '{');
    dw_sampler_destroy(sampler);
}

static void test_grammar_guides_the_sampler(void **state)
{
    static const dw_sampler_params ways[] = {
        {.temperature = 0.0F},
        {.temperature = 1.0F},
        {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F},
        {.temperature = 1.5F, .mirostat_tau = 5.0F},
        {.temperature = 1.0F, .repeat_penalty = 1.2F, .dry_multiplier = 0.8F},
    };
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        dw_sampler_params params = ways[i % 5];
        params.struct_bytes = sizeof params;
        generate_json(i + 1, &params);
    }
}

static void test_grammar_set_and_taken_away(void **state)
{
    static float logits[SMOLLM2_TOKENS];
    dw_sampler *sampler;
    dw_error err;
    int32_t token;
    (void)state;
    assert_int_equal(dw_sampler_create(&sampler, SMOLLM2_TOKENS, NULL, &err), DW_OK);
    logits[1000] = 1.0F;
    assert_int_equal(dw_sampler_set_grammar(sampler, vocab, "root ::= \"yes\"", 14, &err), DW_OK);
    /* One that does not parse leaves the first in force. */
    assert_int_equal(dw_sampler_set_grammar(sampler, vocab, "root ::= (", 10, &err), DW_E_ARG);
    assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_OK);
    assert_int_equal(texts->bytes[texts->starts[token]], 'y');
    assert_int_equal(dw_sampler_remember(sampler, 1000, &err), DW_E_ARG);
    assert_int_equal(dw_sampler_mask(sampler, logits, &err), DW_OK);
    assert_true(logits[1000] < 0.0F && logits[token] == 0.0F);
    logits[token] = -1.0F / 0.0F;
    for (int32_t i = 0; i < SMOLLM2_TOKENS; i++) {
        logits[i] = i == 1000 ? 1.0F : -1.0F / 0.0F;
    }
    assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_E_NUMERIC);
    assert_non_null(strstr(err.message, "grammar"));
    assert_int_equal(dw_sampler_set_grammar(sampler, vocab, NULL, 0, &err), DW_OK);
    assert_int_equal(dw_sampler_choose(sampler, logits, &token, &err), DW_OK);
    assert_int_equal(token, 1000);
    dw_sampler_destroy(sampler);
}

static void test_grammar_survives_lack_of_memory(void **state)
{
    dw_token_texts over = byte_texts();
    dw_grammar *grammar;
    dw_error err;
    (void)state;
    for (int64_t i = 0;; i++) {
        dw_alloc_fail_after(i);
        dw_status status = make(&grammar, &over, json_grammar, &err);
        dw_alloc_fail_after(-1);
        if (status == DW_OK) {
            assert_true(i > 20);
            break;
        }
        assert_int_equal(status, DW_E_MEMORY);
        assert_null(grammar);
    }
    dw_grammar_destroy(grammar);
    dw_token_texts_release(&over);
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
        cmocka_unit_test(test_grammar_notation),
        cmocka_unit_test(test_grammar_refusals),
        cmocka_unit_test(test_grammar_limits),
        cmocka_unit_test(test_grammar_tokens),
        cmocka_unit_test(test_grammar_as_libllama),
        cmocka_unit_test(test_grammar_remembers_masks),
        cmocka_unit_test(test_grammar_spells_control_tokens),
        cmocka_unit_test(test_grammar_guides_the_sampler),
        cmocka_unit_test(test_grammar_set_and_taken_away),
        cmocka_unit_test(test_grammar_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
