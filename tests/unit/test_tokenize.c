/* Tokens of whole texts and of texts in pieces, held against libllama's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llama.h>

#include "base/alloc.h"
#include "base/os.h"
#include "driftwood_abi.h"
#include "support.h"
#include "text/vocab.h"
#include "vocab_fixture.h"

#define TOKENS_MAX 65536
#define PIECES 9

static int32_t got[TOKENS_MAX];
static int32_t want[TOKENS_MAX];

static void expect_equal(const char *what, size_t got_count, size_t want_count, const char *text,
                         size_t bytes)
{
    size_t at = 0;
    while (at < got_count && at < want_count && got[at] == want[at]) {
        at++;
    }
    if (got_count != want_count || at < got_count) {
        fail_msg("%s: %zu tokens for %zu, the first other at %zu (%d for %d), of %zu bytes: '%.*s'",
                 what, got_count, want_count, at, got[at], want[at], bytes, (int)bytes, text);
    }
}

/* ---- texts in pieces ---- */

/* A chat by chance: pieces of a template, which spell control tokens, and of content, which do
 * not. */
static size_t make_chat(uint64_t *random, dw_text_piece pieces[PIECES], char texts[PIECES][512],
                        char *joined)
{
    static const char *const marks[] = {VOCAB_TURN "user\n",
                                        VOCAB_END "\n" VOCAB_TURN "assistant\n",
                                        "\n",
                                        VOCAB_TURN,
                                        " " VOCAB_END " ",
                                        VOCAB_MESSAGE,
                                        "</s><s>",
                                        "[INST] ",
                                        VOCAB_THINK "\n\n",
                                        "\n" VOCAB_LINES "\n"};
    size_t bytes = 0;
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i].is_content = vocab_random(random) % 2 == 0;
        pieces[i].text = texts[i];
        if (pieces[i].is_content) {
            pieces[i].bytes = vocab_text(random, texts[i], vocab_random(random) % 80);
        } else {
            const char *mark = marks[vocab_random(random) % (sizeof marks / sizeof marks[0])];
            pieces[i].bytes = strlen(mark);
            memcpy(texts[i], mark, pieces[i].bytes);
        }
        memcpy(joined + bytes, pieces[i].text, pieces[i].bytes);
        bytes += pieces[i].bytes;
    }
    return bytes;
}

static void try_chats(const char *name, const dw_vocab *vocab, int rounds)
{
    static char texts[PIECES][512];
    static char joined[PIECES * 512];
    uint64_t random = 7;
    for (int i = 0; i < rounds; i++) {
        dw_text_piece pieces[PIECES];
        dw_error err;
        dw_token_list list = {.tokens = got, .capacity = TOKENS_MAX};
        size_t bytes = make_chat(&random, pieces, texts, joined);
        dw_status status =
            dw_vocab_tokenize_pieces(vocab, pieces, PIECES, DW_TOKENIZE_PARSE, &list, &err);
        assert_int_equal(status, DW_OK);
        size_t want_count = vocab_oracle(vocab, joined, bytes, true, want, TOKENS_MAX);
        expect_equal(name, list.count, want_count, joined, bytes);
        size_t count = vocab_tokens(vocab, joined, bytes, DW_TOKENIZE_PARSE, got, TOKENS_MAX);
        expect_equal(name, count, want_count, joined, bytes);
    }
}

static dw_vocab *made(vocab_kind kind)
{
    return vocab_make(&(vocab_options){.kind = kind});
}

static void test_tokenize_pieces_as_their_text(void **state)
{
    static const char *const names[] = {"bpe", "spm", "ugm", "wpm"};
    (void)state;
    for (int kind = 0; kind < VOCAB_KINDS; kind++) {
        dw_vocab *vocab = made((vocab_kind)kind);
        try_chats(names[kind], vocab, 400);
        dw_vocab_close(vocab);
    }
    dw_vocab *phi = vocab_make(&(vocab_options){.kind = VOCAB_SPM, .name = "Phi-3 strips"});
    try_chats("phi-3", phi, 400);
    dw_vocab_close(phi);
    const char *path;
    for (size_t i = 0; (path = vocab_next_real(&i)) != NULL;) {
        dw_vocab *vocab = vocab_open_file(path);
        if (vocab != NULL) {
            try_chats(path, vocab, 100);
        }
        dw_vocab_close(vocab);
    }
}

/* Content that spells control tokens gives none, and its text is whole. */
static void try_spelling(const dw_vocab *vocab, const char *spelling, int32_t token)
{
    char text[256];
    int bytes = snprintf(text, sizeof text, "ab %s%s cd", spelling, spelling);
    dw_text_piece pieces[] = {{VOCAB_TURN, strlen(VOCAB_TURN), false},
                              {text, (size_t)bytes, true},
                              {VOCAB_END, strlen(VOCAB_END), false}};
    dw_token_list list = {.tokens = got, .capacity = TOKENS_MAX};
    char back[512];
    size_t back_bytes = 0;
    dw_error err;
    assert_int_equal(dw_vocab_tokenize_pieces(vocab, pieces, 3, DW_TOKENIZE_PARSE, &list, &err),
                     DW_OK);
    assert_true(list.count > 3);
    assert_int_equal(got[0], dw_vocab_find(vocab, VOCAB_TURN, strlen(VOCAB_TURN)));
    assert_int_equal(got[list.count - 1], dw_vocab_find(vocab, VOCAB_END, strlen(VOCAB_END)));
    for (size_t i = 1; i + 1 < list.count; i++) {
        assert_int_not_equal(got[i], token);
    }
    assert_int_equal(dw_vocab_detokenize(vocab, got + 1, list.count - 2, back, sizeof back, 0,
                                         &back_bytes, NULL, &err),
                     DW_OK);
    size_t skipped = back_bytes > 0 && back[0] == ' ' ? 1 : 0; /* SPM's own in front */
    assert_int_equal(back_bytes - skipped, bytes);
    assert_memory_equal(back + skipped, text, (size_t)bytes);
}

static void test_tokenize_content_spells_no_control_tokens(void **state)
{
    static const char *const spellings[] = {VOCAB_TURN, VOCAB_END, VOCAB_MESSAGE, "<s>", "</s>"};
    (void)state;
    for (int kind = VOCAB_BPE; kind <= VOCAB_SPM; kind++) {
        dw_vocab *vocab = made((vocab_kind)kind);
        for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
            int32_t token = dw_vocab_find(vocab, spellings[i], strlen(spellings[i]));
            assert_true(token >= 0);
            try_spelling(vocab, spellings[i], token);
            /* Nor does a text that is not parsed. */
            size_t count =
                vocab_tokens(vocab, spellings[i], strlen(spellings[i]), 0, got, TOKENS_MAX);
            assert_true(count > 1);
        }
        /* What the file calls user-defined is, in content too. */
        int32_t think = dw_vocab_find(vocab, VOCAB_THINK, strlen(VOCAB_THINK));
        assert_int_equal(vocab_tokens(vocab, VOCAB_THINK, strlen(VOCAB_THINK), 0, got, 8), 1);
        assert_int_equal(got[0], think);
        dw_vocab_close(vocab);
    }
}

/* A spelling that begins in one piece and ends in another. */
static void test_tokenize_control_tokens_across_pieces(void **state)
{
    (void)state;
    dw_vocab *vocab = made(VOCAB_BPE);
    for (int content = 0; content < 4; content++) {
        dw_text_piece pieces[] = {
            {"<|im_", 5, (content & 1) != 0}, {"", 0, true}, {"end|>", 5, (content & 2) != 0}};
        dw_token_list list = {.tokens = got, .capacity = TOKENS_MAX};
        dw_error err;
        assert_int_equal(dw_vocab_tokenize_pieces(vocab, pieces, 3, DW_TOKENIZE_PARSE, &list, &err),
                         DW_OK);
        assert_int_equal(list.count == 1, content == 0);
    }
    dw_token_list none = {.tokens = NULL, .capacity = 0};
    dw_error err;
    assert_int_equal(dw_vocab_tokenize_pieces(vocab, NULL, 0, 0, &none, &err), DW_OK);
    assert_int_equal(none.count, 0);
    dw_vocab_close(vocab);
}

/* ---- pre-tokenizers ---- */

static const char *const pre_names[] = {"default",
                                        "falcon",
                                        "jais-2",
                                        "deepseek-llm",
                                        "deepseek-coder",
                                        "deepseek-v3",
                                        "hunyuan-dense",
                                        "joyai-llm",
                                        "hy_v4",
                                        "spark2_5",
                                        "youtu",
                                        "poro-chat",
                                        "bloom",
                                        "gpt3-finnish",
                                        "viking",
                                        "tekken",
                                        "chameleon",
                                        "gpt-4o",
                                        "llama4",
                                        "kanana2",
                                        "talkie",
                                        "minimax-m2",
                                        "tiny_aya",
                                        "cohere2moe",
                                        "granite-embed-multi-97m",
                                        "superbpe",
                                        "bailingmoe",
                                        "seed-coder",
                                        "ufakzeka",
                                        "afmoe",
                                        "exaone-moe",
                                        "minicpm5",
                                        "gpt-2",
                                        "dbrx",
                                        "llama-bpe",
                                        "qwen2",
                                        "qwen35",
                                        "starcoder",
                                        "deepseek-r1-qwen",
                                        "kimi-k2",
                                        "laguna",
                                        "glm4",
                                        "lfm2",
                                        "hunyuan",
                                        "grok-2"};
#define PRE_COUNT (sizeof pre_names / sizeof pre_names[0])

/* Any bytes at all, but none beyond Unicode, which libllama alone does not survive. */
static void damage(uint64_t *random, char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        bool hit = vocab_random(random) % 3 == 0;
        text[i] = hit ? (char)vocab_random(random) : text[i];
        text[i] = (unsigned char)text[i] >= 0xf4 ? 'q' : text[i];
    }
}

/* Texts longer than libllama is given where it splits by std::regex: our own words and merges, but
 * of texts that it still can split. */
static void try_splits(const char *name, const dw_vocab *vocab, int rounds, uint64_t seed)
{
    static char text[8192];
    uint64_t random = seed;
    for (int i = 0; i < rounds; i++) {
        size_t bytes = vocab_text(&random, text, 1100 + vocab_random(&random) % 1500);
        if (i % 8 == 7) {
            damage(&random, text, bytes);
        }
        size_t want_count = vocab_oracle(vocab, text, bytes, false, want, TOKENS_MAX);
        size_t count = vocab_tokens(vocab, text, bytes, 0, got, TOKENS_MAX);
        expect_equal(name, count, want_count, text, bytes);
    }
}

static void test_tokenize_splits_as_libllama(void **state)
{
    (void)state;
    for (size_t i = 0; i < PRE_COUNT; i++) {
        dw_vocab *vocab = vocab_make(&(vocab_options){.kind = VOCAB_BPE, .pre = pre_names[i]});
        try_splits(pre_names[i], vocab, 60, i);
        dw_vocab_close(vocab);
    }
    const char *path;
    for (size_t i = 0; (path = vocab_next_real(&i)) != NULL;) {
        dw_vocab *vocab = vocab_open_file(path);
        if (vocab != NULL) {
            try_splits(path, vocab, 60, i);
        }
        dw_vocab_close(vocab);
    }
}

/* ---- long texts ---- */

/* Texts that are tokenised in parts, which change nothing. */
static void try_parts(const char *name, const dw_vocab *vocab)
{
    static char text[65536 + 64];
    uint64_t random = 5;
    for (int i = 0; i < 6; i++) {
        size_t bytes = vocab_text(&random, text, 9000 + vocab_random(&random) % 24000);
        if (i % 3 == 2) {
            damage(&random, text, bytes);
        }
        size_t want_count = vocab_oracle(vocab, text, bytes, false, want, TOKENS_MAX);
        size_t count = vocab_tokens(vocab, text, bytes, 0, got, TOKENS_MAX);
        expect_equal(name, count, want_count, text, bytes);
    }
}

/* Texts in which no two characters of ASCII are sure to end a word: what libllama could split is
 * split here as well, into the same words. */
static size_t long_words(uint64_t *random, char *text, size_t bytes)
{
    static const char *const units[] = {
        "\xc3\xa9", "\xe4\xbb\x8a", "!", " ",  "\n", "  ",           "\xcc\x81",
        "\xd9\xa3", "\xe2\x80\xa6", "-", "\t", "'s", "\xe3\x80\x82", "\xe2\x82\xac"};
    size_t length = 0;
    while (length + 8 < bytes) {
        const char *unit = units[vocab_random(random) % (sizeof units / sizeof units[0])];
        for (uint64_t n = 1 + vocab_random(random) % 3; n > 0 && length + 8 < bytes; n--) {
            memcpy(text + length, unit, strlen(unit));
            length += strlen(unit);
        }
    }
    return length;
}

/* Those for which libllama has code, and words can be long. */
static const char *const code_names[] = {
    "gpt-2",        "phi-2",        "jina-es",     "jina-de",         "gigachat",
    "jina-v2-es",   "jina-v2-de",   "a.x-4.0",     "mellum",          "modern-bert",
    "jina-v1-en",   "jina-v2-code", "roberta-bpe", "exaone4",         "mpt",
    "olmo",         "jais",         "trillion",    "granite-docling", "starcoder",
    "refact",       "command-r",    "smollm",      "codeshell",       "exaone",
    "minerva-7b",   "mellum2",      "llama3",      "llama-v3",        "llama-bpe",
    "falcon3",      "falcon-h1",    "pixtral",     "midm-2.0",        "lfm2",
    "jina-v5-nano", "dbrx",         "smaug-bpe",   "chatglm-bpe",     "glm4",
    "glm5",         "qwen2",        "kormo",       "f2llmv2",         "deepseek-r1-qwen",
    "stablelm2",    "hunyuan",      "solar-open",  "megrez",          "grok-2",
    "qwen35",       "kimi-k2",      "laguna"};

static void test_tokenize_long_words_as_libllama(void **state)
{
    static char text[24000];
    (void)state;
    for (size_t i = 0; i < sizeof code_names / sizeof code_names[0]; i++) {
        dw_vocab *vocab = vocab_make(&(vocab_options){.kind = VOCAB_BPE, .pre = code_names[i]});
        uint64_t random = i;
        for (int round = 0; round < 4; round++) {
            size_t bytes = sizeof text;
            if (round == 0) { /* one word */
                memset(text, 'q', bytes);
            } else {
                bytes = long_words(&random, text, bytes);
            }
            size_t want_count = vocab_oracle(vocab, text, bytes, false, want, TOKENS_MAX);
            size_t count = vocab_tokens(vocab, text, bytes, 0, got, TOKENS_MAX);
            expect_equal(code_names[i], count, want_count, text, bytes);
        }
        dw_vocab_close(vocab);
    }
}

/* Of every way in which a file may want its texts. */
static void try_ways(vocab_kind kind, const char *name)
{
    for (int way = 0; way < 9; way++) {
        int first = way % 3 - 1;
        int second = way / 3 - 1;
        dw_vocab *vocab = vocab_make(&(vocab_options){.kind = kind,
                                                      .space_prefix = first,
                                                      .joins_spaces = second,
                                                      .lower_case = first,
                                                      .strip_accents = second});
        try_parts(name, vocab);
        dw_vocab_close(vocab);
    }
}

/* One word, of what the vocabulary knows, of what it does not, and of damage. */
static void try_long_words(const char *name, const dw_vocab *vocab)
{
    static const char *const units[] = {
        "a",    "aaab",     "\xe4\xbb\x8a", "\xe2\x96\x81", "\xf0\x9f\x99\x82", "\xe1\x9a\xa0",
        "\xff", "\xe2\x96", "fox",          "lazy\xcc\x81"};
    static char text[12000];
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t length = strlen(units[i]);
        for (size_t at = 0; at < sizeof text; at++) {
            text[at] = units[i][at % length];
        }
        size_t want_count = vocab_oracle(vocab, text, sizeof text, false, want, TOKENS_MAX);
        size_t count = vocab_tokens(vocab, text, sizeof text, 0, got, TOKENS_MAX);
        expect_equal(name, count, want_count, text, 100);
    }
}

static void test_tokenize_parts_as_the_whole(void **state)
{
    (void)state;
    try_ways(VOCAB_SPM, "spm");
    try_ways(VOCAB_UGM, "ugm");
    try_ways(VOCAB_WPM, "wpm");
    for (int kind = VOCAB_SPM; kind < VOCAB_KINDS; kind++) {
        dw_vocab *vocab = made((vocab_kind)kind);
        try_long_words("long words", vocab);
        dw_vocab_close(vocab);
    }
    const char *path;
    for (size_t i = 0; (path = vocab_next_real(&i)) != NULL;) {
        dw_vocab *vocab = vocab_open_file(path);
        if (vocab != NULL && llama_vocab_type(dw_vocab_llama(vocab)) != LLAMA_VOCAB_TYPE_BPE) {
            try_parts(path, vocab);
            try_long_words(path, vocab);
        }
        dw_vocab_close(vocab);
    }
}

/* Where pieces of a control token's spelling are tokens, libllama's SPM merges a text that spells
 * it to the control token, though it was told not to look for any. Here it is text. */
static void test_tokenize_merges_no_control_token(void **state)
{
    static const char *const pieces[] = {"<", "s", ">", "<s", "</", "</s", NULL};
    static const char text[] = "ab<s>cd</s>";
    (void)state;
    dw_vocab *vocab = vocab_make(&(vocab_options){.kind = VOCAB_SPM, .extra = pieces});
    char back[64];
    size_t bytes = 0;
    dw_error err;
    size_t wanted = vocab_oracle(vocab, text, strlen(text), false, want, TOKENS_MAX);
    assert_int_equal(want[wanted - 1], 2);
    size_t count = vocab_tokens(vocab, text, strlen(text), 0, got, TOKENS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true(got[i] > 2);
    }
    assert_int_equal(
        dw_vocab_detokenize(vocab, got, count, back, sizeof back, 0, &bytes, NULL, &err), DW_OK);
    assert_int_equal(bytes, strlen(text) + 1); /* SPM's space in front */
    assert_memory_equal(back + 1, text, strlen(text));
    dw_vocab_close(vocab);
}

/* Of special tokens of one length that overlap in a text the one of the lower number is cut out,
 * however many there are: libllama leaves it to std::sort, which keeps an order up to 16. */
static void test_tokenize_equally_long_tokens_by_number(void **state)
{
    static const char *const user[] = {"yzx", "xyz", "q01", "q02", "q03", "q04", "q05",
                                       "q06", "q07", "q08", "q09", "q10", "q11", "q12",
                                       "q13", "q14", "q15", "q16", "q17", "q18", NULL};
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        static const char text[] = "xyzx";
        const char *const other[] = {user[1], user[0], NULL};
        dw_vocab *vocab =
            vocab_make(&(vocab_options){.kind = VOCAB_BPE, .user = first == 0 ? user : other});
        const int32_t token = dw_vocab_find(vocab, first == 0 ? "yzx" : "xyz", 3);
        assert_true(token >= 0);
        size_t count = vocab_tokens(vocab, text, strlen(text), 0, got, TOKENS_MAX);
        assert_int_equal(count, 2);
        assert_int_equal(got[1 - first], token);
        dw_vocab_close(vocab);
    }
}

/* What everybody pastes: none of it is refused, and it comes back whole. */
static void try_long(const char *name, const dw_vocab *vocab, const char *unit, size_t bytes)
{
    size_t unit_bytes = strlen(unit);
    size_t count = 0;
    size_t back_bytes = 0;
    dw_error err;
    char *text = calloc(bytes + unit_bytes, 1);
    char *back = calloc(bytes + unit_bytes + 16, 1);
    int32_t *tokens = calloc(bytes + unit_bytes + 16, sizeof *tokens);
    assert_true(text != NULL && back != NULL && tokens != NULL);
    size_t length = 0;
    for (; length < bytes; length += unit_bytes) {
        memcpy(text + length, unit, unit_bytes);
    }
    dw_status status = dw_vocab_tokenize(vocab, text, length, tokens, length + 16, 0, &count, &err);
    if (status != DW_OK) {
        fail_msg("%s: %zu bytes of '%s': %s", name, length, unit, err.message);
    }
    assert_int_equal(
        dw_vocab_detokenize(vocab, tokens, count, back, length + 16, 0, &back_bytes, NULL, &err),
        DW_OK);
    size_t skipped = back_bytes > length ? back_bytes - length : 0; /* SPM's space in front */
    assert_int_equal(back_bytes - skipped, length);
    assert_memory_equal(back + skipped, text, length);
    free(text);
    free(back);
    free(tokens);
}

static const char *const long_units[] = {"a",
                                         " ",
                                         "\n",
                                         "-",
                                         "7",
                                         "A",
                                         "ACGTTAGC",
                                         "aGVsbG8gd29ybGQ+IHRoaX9/",
                                         "今天的天气很好我们一起去公园",
                                         "日本語の文章、カタカナとひらがな。",
                                         "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
                                         "a b ",
                                         "\xe2\x80\x83",
                                         "\xf0\x9f\x99\x82",
                                         "function(){var a=1;return!0}",
                                         "'s",
                                         "<sentinel:1"};

static void test_tokenize_takes_long_texts(void **state)
{
    (void)state;
    size_t bytes = emulated() ? 10000 : 100000;
    for (size_t i = 0; i < PRE_COUNT; i++) {
        dw_vocab *vocab = vocab_make(&(vocab_options){.kind = VOCAB_BPE, .pre = pre_names[i]});
        for (size_t k = 0; k < sizeof long_units / sizeof long_units[0]; k++) {
            try_long(pre_names[i], vocab, long_units[k], k < 3 && i % 4 == 0 ? bytes : bytes / 20);
        }
        dw_vocab_close(vocab);
    }
    dw_vocab *vocab = made(VOCAB_SPM);
    for (size_t k = 0; k < sizeof long_units / sizeof long_units[0]; k++) {
        try_long("spm", vocab, long_units[k], 3 * bytes);
    }
    dw_vocab_close(vocab);
    vocab = vocab_make(&(vocab_options){.kind = VOCAB_BPE, .pre = "gpt-4o"});
    try_long("gpt-4o", vocab, "a", 10 * bytes);
    try_long("gpt-4o", vocab, long_units[8], 10 * bytes);
    dw_vocab_close(vocab);
}

/* Memory that runs out is told, wherever it does, and the next call gets its tokens. */
static void try_shortage(const vocab_options *options)
{
    static char text[20000 + 64];
    uint64_t random = 11;
    size_t bytes = vocab_text(&random, text, 20000);
    dw_vocab *vocab = vocab_make(options);
    int64_t countdown = 0;
    dw_status status = DW_E_MEMORY;
    size_t count = 0;
    for (; status == DW_E_MEMORY; countdown++) {
        dw_error err;
        dw_text_piece pieces[] = {{text, bytes, true}, {VOCAB_END, strlen(VOCAB_END), false}};
        dw_token_list list = {.tokens = got, .capacity = TOKENS_MAX};
        dw_alloc_fail_after(countdown);
        status = dw_vocab_tokenize_pieces(vocab, pieces, 2, DW_TOKENIZE_PARSE, &list, &err);
        dw_alloc_fail_after(-1);
        count = list.count;
        assert_true(status == DW_OK || count == 0);
    }
    assert_int_equal(status, DW_OK);
    assert_true(countdown > 5);
    size_t want_count = vocab_tokens(vocab, text, bytes, 0, want, TOKENS_MAX);
    expect_equal("shortage", count - 1, want_count, text, bytes);
    dw_vocab_close(vocab);
}

static void test_tokenize_survives_memory_shortage(void **state)
{
    (void)state;
    try_shortage(&(vocab_options){.kind = VOCAB_SPM});
    try_shortage(&(vocab_options){.kind = VOCAB_BPE, .pre = "gpt-4o"});
    try_shortage(&(vocab_options){.kind = VOCAB_UGM});
    try_shortage(&(vocab_options){.kind = VOCAB_WPM});
}

/* ---- what is added ---- */

static void expect_ends(const vocab_options *options, int32_t first, int32_t last)
{
    dw_vocab *vocab = vocab_make(options);
    size_t count = vocab_tokens(vocab, "a fox", 5, DW_TOKENIZE_SPECIAL, got, TOKENS_MAX);
    size_t plain = vocab_tokens(vocab, "a fox", 5, 0, want, TOKENS_MAX);
    size_t added = (size_t)(first >= 0) + (size_t)(last >= 0);
    assert_int_equal(count, plain + added);
    assert_memory_equal(got + (size_t)(first >= 0), want, plain * sizeof want[0]);
    assert_true(first < 0 || got[0] == first);
    assert_true(last < 0 || got[count - 1] == last);
    dw_vocab_close(vocab);
}

/* A prompt is continued: no EOS behind it, whatever the file says. Texts to embed are whole. */
static void test_tokenize_adds_eos_to_whole_texts_only(void **state)
{
    vocab_options options = {.kind = VOCAB_SPM, .add_eos = 1};
    (void)state;
    expect_ends(&options, 1, -1); /* SPM adds a BOS unless told otherwise */
    options.add_bos = -1;
    expect_ends(&options, -1, -1);
    options.pooling = 3;
    expect_ends(&options, -1, 2);
    options.add_eos = -1;
    expect_ends(&options, -1, -1);
    options = (vocab_options){.kind = VOCAB_BPE, .add_bos = 1, .add_eos = 1};
    expect_ends(&options, 1, -1);
    options.pooling = 1;
    expect_ends(&options, 1, 2);
    options = (vocab_options){.kind = VOCAB_UGM, .add_bos = 1};
    expect_ends(&options, 1, 2); /* UGM adds an EOS unless told otherwise */
    options = (vocab_options){.kind = VOCAB_WPM};
    expect_ends(&options, 1, 2); /* CLS and SEP, always */
}

/* ---- long texts ---- */

/* Every pattern that libllama has code for: a text that is cut where words end has the same tokens
 * as in one piece. */
static void test_tokenize_long_texts_in_parts(void **state)
{
    static const char *const names[] = {
        "gpt-2",       "phi-2",      "jina-es",     "jina-de",   "gigachat", "a.x-4.0",   "mellum",
        "modern-bert", "jina-v1-en", "roberta-bpe", "exaone4",   "mpt",      "olmo",      "jais",
        "trillion",    "starcoder",  "refact",      "command-r", "smollm",   "codeshell", "exaone",
        "minerva-7b",  "llama3",     "llama-bpe",   "falcon3",   "pixtral",  "midm-2.0",  "lfm2",
        "dbrx",        "smaug-bpe",  "chatglm-bpe", "glm4",      "qwen2",    "stablelm2", "hunyuan",
        "solar-open",  "megrez",     "grok-2",      "qwen35",    "kimi-k2",  "laguna"};
    static char text[50000 + 64];
    uint64_t random = 11;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dw_vocab *vocab = vocab_make(&(vocab_options){.kind = VOCAB_BPE, .pre = names[i]});
        for (int round = 0; round < 2; round++) {
            size_t bytes = vocab_text(&random, text, 50000);
            size_t count = vocab_tokens(vocab, text, bytes, DW_TOKENIZE_PARSE, got, TOKENS_MAX);
            size_t want_count = vocab_oracle(vocab, text, bytes, true, want, TOKENS_MAX);
            expect_equal(names[i], count, want_count, text, 100);
        }
        dw_vocab_close(vocab);
    }
}

/* Sixteen MiB take half a minute: somebody whose time is over need not wait for it. */
static void leaves(dw_vocab *vocab, const char *text, size_t bytes, int32_t *tokens)
{
    dw_stop stop = {0};
    dw_error err;
    const dw_text_piece piece = {.text = text, .bytes = bytes};
    dw_token_list list = {.tokens = tokens, .capacity = bytes, .stop = &stop};
    size_t back_bytes = 0;
    char back[64];
    dw_stop_begin(&stop, &(dw_stop_limits){.time_ns = UINT64_C(50000000)});
    uint64_t started = dw_os_clock_ns();
    assert_int_equal(dw_vocab_tokenize_pieces(vocab, &piece, 1, DW_TOKENIZE_PARSE, &list, &err),
                     DW_E_CANCELLED);
    assert_int_equal(list.count, 0);
    assert_string_equal(err.message, "tokenize: the guest's time is over");
    assert_true(dw_os_clock_ns() - started < UINT64_C(5000000000));
    print_message("left %.1f ms late\n", (double)(dw_os_clock_ns() - started) / 1e6 - 50.0);
    memset(tokens, 0, bytes * sizeof *tokens);
    assert_int_equal(
        dw_vocab_detokenize(vocab, tokens, bytes, back, sizeof back, 0, &back_bytes, &stop, &err),
        DW_E_CANCELLED);
}

static void test_tokenize_can_be_left(void **state)
{
    const size_t bytes = (size_t)16 << 20;
    (void)state;
    char *text = malloc(bytes);
    int32_t *tokens = malloc(bytes * sizeof *tokens);
    assert_true(text != NULL && tokens != NULL);
    for (size_t i = 0; i < bytes; i++) {
        text[i] = i % 7 == 6 ? ' ' : (char)('a' + i * 31 % 26);
    }
    const vocab_options kinds[] = {{.kind = VOCAB_BPE},
                                   {.kind = VOCAB_BPE, .pre = "deepseek-v3"},
                                   {.kind = VOCAB_BPE, .pre = "kimi-k2"},
                                   {.kind = VOCAB_SPM},
                                   {.kind = VOCAB_UGM},
                                   {.kind = VOCAB_WPM}};
    for (size_t word = 0; word < 2; word++) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            dw_vocab *vocab = vocab_make(&kinds[i]);
            leaves(vocab, text, bytes, tokens);
            dw_vocab_close(vocab);
        }
        memset(text, 'a', bytes); /* one word */
    }
    free(text);
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize_pieces_as_their_text),
        cmocka_unit_test(test_tokenize_long_texts_in_parts),
        cmocka_unit_test(test_tokenize_can_be_left),
        cmocka_unit_test(test_tokenize_content_spells_no_control_tokens),
        cmocka_unit_test(test_tokenize_control_tokens_across_pieces),
        cmocka_unit_test(test_tokenize_splits_as_libllama),
        cmocka_unit_test(test_tokenize_long_words_as_libllama),
        cmocka_unit_test(test_tokenize_parts_as_the_whole),
        cmocka_unit_test(test_tokenize_merges_no_control_token),
        cmocka_unit_test(test_tokenize_equally_long_tokens_by_number),
        cmocka_unit_test(test_tokenize_takes_long_texts),
        cmocka_unit_test(test_tokenize_survives_memory_shortage),
        cmocka_unit_test(test_tokenize_adds_eos_to_whole_texts_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
