/* The vocabulary: text to tokens and back on any bytes, templates, spaces, refusals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gguf.h>

#include "driftwood_abi.h"
#include "model/architecture.h"
#include "model_fixture.h"
#include "support.h"
#include "text/tokenizer_check.h"
#include "text/vocab.h"
#include "tiny_model.h"

#define SMOLLM2_TOKENS 49152

static dw_vocab *vocab;

static int set_up(void **state)
{
    dw_error err;
    (void)state;
    if (dw_vocab_open(&vocab, model_fixture_path(), SMOLLM2_TOKENS, &err) != DW_OK) {
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

static size_t tokenize(const char *text, size_t bytes, uint32_t flags, int32_t *tokens,
                       size_t capacity)
{
    dw_error err;
    size_t count = 0;
    if (dw_vocab_tokenize(vocab, text, bytes, tokens, capacity, flags, &count, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return count;
}

static void expect_round_trip(const char *text, size_t bytes, const char *want, size_t want_bytes)
{
    int32_t tokens[256];
    char back[1024];
    size_t back_bytes = 0;
    dw_error err;
    size_t count = tokenize(text, bytes, 0, tokens, 256);
    assert_int_equal(
        dw_vocab_detokenize(vocab, tokens, count, back, sizeof back, 0, &back_bytes, NULL, &err),
        DW_OK);
    assert_int_equal(back_bytes, want_bytes);
    assert_memory_equal(back, want, want_bytes);
}

static void test_vocab_info(void **state)
{
    (void)state;
    assert_int_equal(dw_vocab_count(vocab), SMOLLM2_TOKENS);
    assert_int_equal(dw_vocab_eos(vocab), 2); /* <|im_end|> */
    assert_true(dw_vocab_is_end(vocab, 2));
    assert_false(dw_vocab_is_end(vocab, 500));
    assert_false(dw_vocab_is_end(vocab, -1));
    assert_false(dw_vocab_is_end(vocab, SMOLLM2_TOKENS));
    assert_true(dw_vocab_newline(vocab) >= 0);
    assert_non_null(dw_vocab_chat_template(vocab));
}

static void test_vocab_round_trip(void **state)
{
    static const char *const texts[] = {"Hello, fixture!",
                                        " leading and  double  spaces ",
                                        "naïve café — \xf0\x9f\x8c\x8a waves",
                                        "line\nline\r\n\ttab",
                                        "数字 12345 и слова",
                                        "don't can't they'll"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect_round_trip(texts[i], strlen(texts[i]), texts[i], strlen(texts[i]));
    }
}

static void test_vocab_takes_any_bytes(void **state)
{
    (void)state;
    expect_round_trip("", 0, "", 0);
    expect_round_trip("a\0b", 3, "a\0b", 3);
    expect_round_trip("x\xff\xfey", 4, "x\xef\xbf\xbd\xef\xbf\xbdy", 8);
    expect_round_trip("\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd", 6); /* cut short */
    /* Numbers beyond Unicode: libllama would throw on these. */
    expect_round_trip("a\xf7\xbf\xbf\xbf"
                      "b",
                      6,
                      "a\xef\xbf\xbd"
                      "b",
                      5);
    expect_round_trip("\xf4\x90\x80\x80", 4, "\xef\xbf\xbd", 3);
    expect_round_trip("\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf", 4); /* the last there is */
    /* Every byte, in front of every other. */
    for (int first = 0; first < 256; first++) {
        char text[512];
        int32_t tokens[2048];
        for (int second = 0; second < 256; second++) {
            text[2 * second] = (char)(unsigned char)first;
            text[2 * second + 1] = (char)(unsigned char)second;
        }
        assert_true(tokenize(text, sizeof text, DW_TOKENIZE_PARSE, tokens, 2048) > 0);
    }
}

static void test_vocab_flags(void **state)
{
    int32_t tokens[16];
    char text[32];
    size_t bytes;
    dw_error err;
    (void)state;
    assert_int_equal(tokenize("<|im_end|>", 10, DW_TOKENIZE_PARSE, tokens, 16), 1);
    assert_int_equal(tokens[0], 2);
    assert_true(tokenize("<|im_end|>", 10, 0, tokens, 16) > 1);
    tokens[0] = 2;
    assert_int_equal(dw_vocab_detokenize(vocab, tokens, 1, text, 32, 0, &bytes, NULL, &err), DW_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(
        dw_vocab_detokenize(vocab, tokens, 1, text, 32, DW_DETOKENIZE_SPECIAL, &bytes, NULL, &err),
        DW_OK);
    assert_int_equal(bytes, 10);
    assert_int_equal(dw_vocab_tokenize(vocab, "a", 1, tokens, 16, 4, &bytes, &err), DW_E_ARG);
    assert_int_equal(dw_vocab_detokenize(vocab, tokens, 1, text, 32, 2, &bytes, NULL, &err),
                     DW_E_ARG);
}

static void test_vocab_tells_the_space_needed(void **state)
{
    int32_t tokens[16];
    char text[64];
    size_t count = 0;
    size_t bytes = 0;
    dw_error err;
    (void)state;
    size_t whole = tokenize("one two three four", 18, 0, tokens, 16);
    assert_int_equal(
        dw_vocab_tokenize(vocab, "one two three four", 18, tokens, whole - 1, 0, &count, &err),
        DW_E_SPACE);
    assert_int_equal(count, whole);
    assert_int_equal(dw_vocab_tokenize(vocab, "one two three four", 18, NULL, 0, 0, &count, &err),
                     DW_E_SPACE);
    assert_int_equal(count, whole);
    assert_int_equal(dw_vocab_detokenize(vocab, tokens, whole, text, 17, 0, &bytes, NULL, &err),
                     DW_E_SPACE);
    assert_int_equal(bytes, 18);
    assert_int_equal(dw_vocab_detokenize(vocab, tokens, whole, NULL, 0, 0, &bytes, NULL, &err),
                     DW_E_SPACE);
    assert_int_equal(bytes, 18);
    assert_int_equal(dw_vocab_detokenize(vocab, tokens, whole, text, 18, 0, &bytes, NULL, &err),
                     DW_OK);
}

static void test_vocab_refuses_tokens_outside(void **state)
{
    static const int32_t outside[] = {-1, SMOLLM2_TOKENS, INT32_MAX, INT32_MIN};
    char text[64];
    size_t bytes;
    dw_error err;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        int32_t tokens[2] = {500, outside[i]};
        assert_int_equal(dw_vocab_detokenize(vocab, tokens, 2, text, 64, 0, &bytes, NULL, &err),
                         DW_E_RANGE);
        assert_non_null(strstr(err.message, "tokens[1]"));
    }
}

static void test_vocab_limits_text(void **state)
{
    size_t bytes = ((size_t)16 << 20) + 1;
    size_t count;
    dw_error err;
    (void)state;
    char *text = calloc(bytes, 1);
    assert_non_null(text);
    assert_int_equal(dw_vocab_tokenize(vocab, text, bytes, NULL, 0, 0, &count, &err), DW_E_LIMIT);
    free(text);
}

static void test_vocab_needs_a_tokenizer(void **state)
{
    char path[] = "/tmp/dw-vocab-XXXXXX";
    dw_vocab *none = NULL;
    dw_error err;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_options options = tiny_defaults();
    options.tokenizer = false;
    tiny_model_write(path, &options);
    dw_status status = dw_vocab_open(&none, path, options.vocab_count, &err);
    assert_true(status == DW_E_UNSUPPORTED || status == DW_E_FORMAT);
    assert_null(none);
    assert_true(strlen(err.message) > 10);
    assert_null(strchr(err.message, '\n'));

    options.tokenizer = true;
    tiny_model_write(path, &options);
    assert_int_equal(dw_vocab_open(&none, path, options.vocab_count + 1, &err), DW_E_FORMAT);
    assert_null(none);
    assert_int_equal(truncate(path, 200), 0);
    assert_true(dw_vocab_open(&none, path, options.vocab_count, &err) != DW_OK);
    unlink(path);
    assert_true(dw_vocab_open(&none, path, options.vocab_count, &err) != DW_OK);
}

static void test_vocab_loads_beside(void **state)
{
    dw_vocab *other = NULL;
    dw_error err;
    (void)state;
    assert_int_equal(dw_vocab_start(&other, model_fixture_path(), SMOLLM2_TOKENS, &err), DW_OK);
    assert_int_equal(dw_vocab_count(other), SMOLLM2_TOKENS);
    int32_t tokens[2][16];
    size_t counts[2] = {0, 0};
    static const char text[] = "driftwood on a beach";
    for (int i = 0; i < 2; i++) {
        const dw_vocab *from = i == 0 ? vocab : other;
        assert_int_equal(dw_vocab_tokenize(from, text, strlen(text), tokens[i], 16,
                                           DW_TOKENIZE_SPECIAL, &counts[i], &err),
                         DW_OK);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(tokens[0], tokens[1], counts[0] * sizeof tokens[0][0]);
    assert_int_equal(dw_vocab_eos(other), dw_vocab_eos(vocab));
    assert_string_equal(dw_vocab_chat_template(other), dw_vocab_chat_template(vocab));
    dw_vocab_close(other);
    /* Closing does not need it to be there. */
    assert_int_equal(dw_vocab_start(&other, model_fixture_path(), SMOLLM2_TOKENS, &err), DW_OK);
    dw_vocab_close(other);
}

static void test_vocab_waits_until_it_is_used(void **state)
{
    dw_vocab *other = NULL;
    dw_error err;
    (void)state;
    assert_int_equal(dw_vocab_defer(&other, model_fixture_path(), SMOLLM2_TOKENS, &err), DW_OK);
    assert_int_equal(dw_vocab_count(other), SMOLLM2_TOKENS);
    assert_false(dw_vocab_loads(other));
    assert_false(dw_vocab_loaded(other));
    assert_int_equal(dw_vocab_eos(other), dw_vocab_eos(vocab));
    assert_true(dw_vocab_loaded(other));
    assert_string_equal(dw_vocab_chat_template(other), dw_vocab_chat_template(vocab));
    dw_vocab_close(other);
    assert_int_equal(dw_vocab_defer(&other, model_fixture_path(), SMOLLM2_TOKENS, &err), DW_OK);
    dw_vocab_close(other);
    assert_int_equal(dw_vocab_defer(&other, DW_TEST_DATA_DIR "/alice.txt", 12, &err), DW_OK);
    assert_int_equal(dw_vocab_wait(other, &err), DW_E_FORMAT);
    dw_vocab_close(other);
}

static void test_vocab_tells_late_failures(void **state)
{
    dw_vocab *none = NULL;
    dw_error err;
    dw_error same;
    size_t count = 0;
    const dw_token_texts *texts;
    (void)state;
    assert_int_equal(dw_vocab_start(&none, DW_TEST_DATA_DIR "/alice.txt", 12, &err), DW_OK);
    assert_int_equal(dw_vocab_tokenize(none, "a", 1, NULL, 0, 0, &count, &err), DW_E_FORMAT);
    assert_int_equal(dw_vocab_wait(none, &same), DW_E_FORMAT);
    assert_string_equal(err.message, same.message);
    assert_int_equal(dw_vocab_detokenize(none, NULL, 0, NULL, 0, 0, &count, NULL, &err),
                     DW_E_FORMAT);
    assert_int_equal(dw_vocab_token_texts(none, &texts, &err), DW_E_FORMAT);
    assert_int_equal(dw_vocab_bos(none), -1);
    assert_int_equal(dw_vocab_eos(none), -1);
    assert_int_equal(dw_vocab_eot(none), -1);
    assert_int_equal(dw_vocab_newline(none), -1);
    assert_int_equal(dw_vocab_find(none, "a", 1), -1);
    assert_false(dw_vocab_adds_bos(none));
    assert_false(dw_vocab_is_end(none, 2));
    assert_null(dw_vocab_chat_template(none));
    assert_null(dw_vocab_llama(none));
    dw_vocab_close(none);
}

/* A file of a few byte-pair tokens; `pre` NULL: it names no pre-tokenizer. */
static void write_byte_pairs(const char *path, const char *pre, enum gguf_type id_type)
{
    static const char *tokens[] = {"a", "b", "ab", "<|end|>"};
    static const char *merges[] = {"a b"};
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.architecture", "llama");
    gguf_set_val_str(gguf, "tokenizer.ggml.model", "gpt2");
    if (pre != NULL) {
        gguf_set_val_str(gguf, "tokenizer.ggml.pre", pre);
    }
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, 4);
    gguf_set_arr_str(gguf, "tokenizer.ggml.merges", merges, 1);
    if (id_type == GGUF_TYPE_UINT32) {
        gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", 3);
        gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", 3);
    } else {
        gguf_set_val_i32(gguf, "tokenizer.ggml.bos_token_id", 3);
        gguf_set_val_i32(gguf, "tokenizer.ggml.eos_token_id", 3);
    }
    assert_true(gguf_write_to_file(gguf, path, true));
    gguf_free(gguf);
}

/* What dw_tokenizer_check and dw_tokenizer_is_certain say, and libllama then does. */
static void try_byte_pairs(const char *path, bool certain, bool loads)
{
    dw_gguf *gguf = NULL;
    dw_vocab *pairs = NULL;
    dw_error err = {0};
    dw_model_shape shape = {.vocab_count = 4};
    assert_int_equal(dw_gguf_open(&gguf, path, &err), DW_OK);
    assert_int_equal(dw_tokenizer_check(gguf, shape.vocab_count, &err), DW_OK);
    assert_int_equal(dw_tokenizer_is_certain(gguf), certain);
    assert_int_equal(dw_vocab_open(&pairs, path, 4, &err) == DW_OK, loads);
    dw_vocab_close(pairs);
    dw_gguf_close(gguf);
}

static void test_vocab_certain_ones_load(void **state)
{
    static const char *const known[] = {"default", "gpt-2", "smollm",    "starcoder",
                                        "llama3",  "qwen2", "llama-bpe", "falcon3"};
    char path[] = "/tmp/dw-vocab-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        write_byte_pairs(path, known[i], GGUF_TYPE_UINT32);
        try_byte_pairs(path, true, true);
    }
    write_byte_pairs(path, "deepseek-llm", GGUF_TYPE_UINT32);
    try_byte_pairs(path, false, true);
    write_byte_pairs(path, "nobody-knows-this", GGUF_TYPE_UINT32);
    try_byte_pairs(path, false, false);
    write_byte_pairs(path, "gpt-2", GGUF_TYPE_INT32); /* libllama wants it unsigned */
    try_byte_pairs(path, false, false);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab_info),
        cmocka_unit_test(test_vocab_round_trip),
        cmocka_unit_test(test_vocab_takes_any_bytes),
        cmocka_unit_test(test_vocab_flags),
        cmocka_unit_test(test_vocab_tells_the_space_needed),
        cmocka_unit_test(test_vocab_refuses_tokens_outside),
        cmocka_unit_test(test_vocab_limits_text),
        cmocka_unit_test(test_vocab_needs_a_tokenizer),
        cmocka_unit_test(test_vocab_loads_beside),
        cmocka_unit_test(test_vocab_waits_until_it_is_used),
        cmocka_unit_test(test_vocab_tells_late_failures),
        cmocka_unit_test(test_vocab_certain_ones_load),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
