/* The host, model, text and context functions as a guest reaches them. */
#include <math.h>
#include <string.h>

#include "abi_fixture.h"
#include "base/alloc.h"
#include "support.h"

/* ---- host functions ------------------------------------------------------------------------- */

static void test_host_abi_info(void **state)
{
    (void)state;
    assert_int_equal(CALL("abi_version", 0), DW_ABI_VERSION);
    assert_int_equal(CALL("device_name", AT_TEXT, 64), 3);
    assert_string_equal((const char *)abi.memory + AT_TEXT, "CPU");
    assert_int_equal(CALL("device_name", AT_TEXT, 3), DW_E_SPACE);
    assert_int_equal(CALL("device_name", MEMORY_BYTES - 2, 64), DW_E_RANGE);
    assert_int_equal(CALL("host_copied_bytes", 0), 0);
}

static void test_host_abi_last_error_keeps_the_error(void **state)
{
    (void)state;
    assert_int_equal(CALL("model_close", 77), DW_E_HANDLE);
    assert_int_equal(CALL("last_error", UINT32_MAX, 64), DW_E_RANGE);
    assert_int_equal(CALL("last_error", AT_WORDS, 2), DW_E_SPACE);
    abi_expect_message("77");
}

static void test_host_abi_input(void **state)
{
    (void)state;
    abi.input_text = "a line";
    assert_int_equal(CALL("input", AT_TEXT, 3), DW_E_SPACE);
    assert_int_equal(CALL("input", AT_TEXT, 6), 6);
    assert_memory_equal(abi.memory + AT_TEXT, "a line", 6);
    assert_int_equal(CALL("input", MEMORY_BYTES - 2, 3), DW_E_RANGE);
    abi.input_text = NULL;
    assert_int_equal(CALL("input", AT_TEXT, 6), DW_E_END);
}

/* ---- models and text ------------------------------------------------------------------------ */

static void test_model_abi_open(void **state)
{
    (void)state;
    memcpy(abi.memory + AT_TEXT, "nobody", 6);
    assert_int_equal(CALL("model_open", AT_TEXT, 6), DW_E_DENIED);
    abi_expect_message("nobody");
    assert_int_equal(CALL("model_open", AT_TEXT, 100000), DW_E_LIMIT);
    assert_int_equal(CALL("model_open", MEMORY_BYTES, 1), DW_E_RANGE);
    memcpy(abi.memory + AT_TEXT, "a\0b", 3);
    assert_int_equal(CALL("model_open", AT_TEXT, 3), DW_E_ARG);
    int32_t other = CALL("model_open", 0, 0);
    assert_true(other > 0 && other != abi.model_handle);
    assert_int_equal(CALL("model_close", U(other)), DW_OK);
    assert_int_equal(CALL("model_close", U(other)), DW_E_HANDLE);
    assert_int_equal(CALL("model_close", U(abi.context_handle)), DW_E_HANDLE);
}

static void test_model_abi_names(void **state)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    (void)state;
    assert_int_equal(CALL("model_count", 0), 1);
    assert_int_equal(CALL("model_name", 0, AT_TEXT, 5), 5);
    assert_memory_equal(abi.memory + AT_TEXT, "given", 5);
    int32_t model = CALL("model_open", AT_TEXT, 5);
    assert_true(model > 0);
    assert_int_equal(CALL("model_close", U(model)), DW_OK);
    dw_model_get_info(abi.model, &info);
    memcpy(abi.memory + AT_TEXT, info.name, strlen(info.name));
    model = CALL("model_open", AT_TEXT, (uint32_t)strlen(info.name));
    assert_true(model > 0);
    assert_int_equal(CALL("model_close", U(model)), DW_OK);
    assert_int_equal(CALL("model_name", 0, AT_TEXT, 4), DW_E_SPACE);
    assert_int_equal(CALL("model_name", 1, AT_TEXT, 5), DW_E_RANGE);
    assert_int_equal(CALL("model_name", UINT32_MAX, AT_TEXT, 5), DW_E_RANGE);
    assert_int_equal(CALL("model_name", 0, MEMORY_BYTES - 1, 5), DW_E_RANGE);
}

static void test_model_abi_info(void **state)
{
    const dw_abi_model_info *info = (const dw_abi_model_info *)(const void *)(abi.memory + AT_INFO);
    (void)state;
    assert_int_equal(CALL("model_info", U(abi.model_handle), AT_INFO), DW_OK);
    assert_int_equal(info->vocab_count, abi.vocab_count);
    assert_true(info->kv_bytes_per_token > 0 && info->context_length > 0);
    assert_int_equal(CALL("model_info", U(abi.model_handle), AT_INFO + 4), DW_E_ALIGN);
    assert_int_equal(CALL("model_info", U(abi.model_handle), MEMORY_BYTES - 56), DW_E_RANGE);
    assert_int_equal(CALL("model_info", 0, AT_INFO), DW_E_HANDLE);
    assert_int_equal(CALL("model_info", UINT32_MAX, AT_INFO), DW_E_HANDLE);
}

static void test_model_abi_tokenize(void **state)
{
    const uint32_t m = U(abi.model_handle);
    (void)state;
    memcpy(abi.memory + AT_TEXT, "tide", 4);
    int32_t count = CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, 64, 0);
    assert_true(count > 0);
    /* SentencePiece puts a space in front, which this small vocabulary spells in three bytes. */
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, U(count), AT_WORDS, 64, 0), 7);
    assert_memory_equal(abi.memory + AT_WORDS + 3, "tide", 4);
    abi_tokens()[0] = -1;
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, U(count - 1), 0), DW_E_SPACE);
    assert_int_equal(abi_tokens()[0], count > 1 ? count : -1);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, UINT32_MAX, AT_TOKENS, 64, 0), DW_E_RANGE);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, UINT32_MAX, 0), DW_E_RANGE);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS + 2, 64, 0), DW_E_ALIGN);
    assert_int_equal(CALL("tokenize", m, AT_TOKENS + 8, 4, AT_TOKENS, 64, 0), DW_E_OVERLAP);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, 64, 8), DW_E_ARG);
    assert_int_equal(CALL("tokenize", U(abi.context_handle), AT_TEXT, 4, AT_TOKENS, 64, 0),
                     DW_E_HANDLE);
    assert_int_equal(CALL("tokenize", m, 0, 0, AT_TOKENS, 64, 0), 0);
}

static void test_model_abi_detokenize(void **state)
{
    const uint32_t m = U(abi.model_handle);
    (void)state;
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 0x40000001, AT_TEXT, 64, 0), DW_E_RANGE);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS + 1, 4, AT_TEXT, 64, 0), DW_E_ALIGN);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 4, AT_TOKENS + 4, 64, 0), DW_E_OVERLAP);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 4, MEMORY_BYTES - 1, 64, 0), DW_E_RANGE);
    abi_tokens()[1] = (int32_t)abi.vocab_count;
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 2, AT_TEXT, 64, 0), DW_E_RANGE);
    abi_expect_message("tokens[1]");
    assert_int_equal(CALL("token_is_end", m, UINT32_MAX), 0);
    assert_int_equal(CALL("token_is_end", 99, 2), DW_E_HANDLE);
}

static void test_model_abi_chat_template(void **state)
{
    const uint32_t m = U(abi.model_handle);
    uint32_t *messages = (uint32_t *)(void *)(abi.memory + AT_PARAMS);
    (void)state;
    memcpy(abi.memory + AT_TEXT, "user\0hi", 8);
    messages[0] = AT_TEXT;
    messages[1] = AT_TEXT + 5;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_UNSUPPORTED);
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 2, AT_WORDS, 256), DW_E_ARG);
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 5000, 1, AT_WORDS, 256), DW_E_LIMIT);
    assert_int_equal(CALL("chat_template", m, AT_PARAMS + 2, 1, 1, AT_WORDS, 256), DW_E_ALIGN);
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_PARAMS + 4, 256), DW_E_OVERLAP);
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_TEXT + 6, 256), DW_E_OVERLAP);
    messages[1] = MEMORY_BYTES;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_RANGE);
    memset(abi.memory + MEMORY_BYTES - 4, 'x', 4);
    messages[1] = MEMORY_BYTES - 4;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_RANGE);
    abi_expect_message("messages[0].content");
    /* One long string as the content of many, and as a role: neither is read to its end. */
    memset(abi.memory + AT_LOGITS, 'x', MEMORY_BYTES - AT_LOGITS - 1);
    abi.memory[MEMORY_BYTES - 1] = '\0';
    for (uint32_t i = 0; i < 8; i++) {
        messages[2 * i] = AT_TEXT;
        messages[2 * i + 1] = AT_LOGITS;
    }
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 8, 1, AT_WORDS, 256), DW_E_LIMIT);
    abi_expect_message("up to messages[4] more than 16777216 bytes");
    messages[0] = AT_LOGITS;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_LIMIT);
    abi_expect_message("messages[0].role");
}

/* ---- contexts ------------------------------------------------------------------------------- */

static void test_model_abi_context_limits(void **state)
{
    const uint32_t m = U(abi.model_handle);
    (void)state;
    assert_int_equal(CALL("context_capacity", U(abi.context_handle)), CONTEXT_TOKENS_MAX);
    assert_int_equal(CALL("context_create", m, CONTEXT_TOKENS_MAX + 1), DW_E_LIMIT);
    assert_int_equal(CALL("context_create", m, UINT32_MAX), DW_E_LIMIT);
    int32_t second = CALL("context_create", m, 8);
    assert_true(second > 0);
    assert_int_equal(CALL("context_capacity", U(second)), 8);
    assert_int_equal(CALL("context_create", m, 8), DW_E_LIMIT);
    abi_expect_message("limit 2");
    assert_int_equal(CALL("context_close", U(second)), DW_OK);
    assert_int_equal(CALL("context_length", U(second)), DW_E_HANDLE);
    assert_true(CALL("context_create", m, 8) > 0);
}

static void test_model_abi_forward(void **state)
{
    const uint32_t c = U(abi.context_handle);
    static float first[4096];
    (void)state;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    assert_int_equal(CALL("context_length", c), 8);
    int32_t token = CALL("greedy", U(abi.model_handle), AT_LOGITS);
    assert_in_range(token, 0, abi.vocab_count - 1);
    memcpy(first, abi_logits(), abi.vocab_count * sizeof *first);
    /* Trimmed and computed again it is the same; without logits it extends as well. */
    assert_int_equal(CALL("context_trim", c, 0), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    assert_memory_equal(first, abi_logits(), abi.vocab_count * sizeof *first);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, 0, 0), 12);
    assert_int_equal(CALL("context_trim", c, 13), DW_E_RANGE);
    assert_int_equal(CALL("context_length", c), 12);
    assert_int_equal(CALL("host_copied_bytes", 0), 0);
}

typedef struct bad_step {
    uint32_t args[5];
    int32_t status;
} bad_step;

static void test_model_abi_forward_refuses(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const bad_step steps[] = {
        {{0, AT_TOKENS, 4, AT_LOGITS, 1}, DW_E_HANDLE},
        {{U(abi.model_handle), AT_TOKENS, 4, AT_LOGITS, 1}, DW_E_HANDLE},
        {{c, AT_TOKENS, 0, AT_LOGITS, 1}, DW_E_ARG},
        {{c, AT_TOKENS, 4, AT_LOGITS, 0}, DW_E_ARG},
        {{c, AT_TOKENS, 4, 0, 1}, DW_E_ARG},
        {{c, AT_TOKENS, 4, AT_LOGITS, 5}, DW_E_RANGE},
        {{c, AT_TOKENS, UINT32_MAX, 0, 0}, DW_E_RANGE},
        {{c, MEMORY_BYTES - 8, 4, 0, 0}, DW_E_RANGE},
        {{c, AT_TOKENS, 4, MEMORY_BYTES - 64, 1}, DW_E_RANGE},
        {{c, AT_TOKENS, 4, AT_LOGITS, UINT32_MAX}, DW_E_RANGE},
        {{c, AT_TOKENS + 2, 4, AT_LOGITS, 1}, DW_E_ALIGN},
        {{c, AT_TOKENS, 4, AT_LOGITS + 1, 1}, DW_E_ALIGN},
        {{c, AT_TOKENS, 4, AT_TOKENS, 1}, DW_E_OVERLAP},
        {{c, AT_TOKENS, CONTEXT_TOKENS_MAX + 1, 0, 0}, DW_E_LIMIT},
    };
    (void)state;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 3, 0, 0), 3);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int32_t status = abi_call("forward", steps[i].args, 5);
        if (status != steps[i].status) {
            fail_msg("step %zu: %d, wanted %d", i, status, steps[i].status);
        }
        assert_int_equal(CALL("context_length", c), 3);
        assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    }
    abi_tokens()[2] = (int32_t)abi.vocab_count;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), DW_E_RANGE);
    abi_tokens()[2] = -1;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), DW_E_RANGE);
    assert_int_equal(CALL("context_length", c), 3);
}

/* Kernels sum otherwise for another number of rows. */
static void expect_near(const float *found, const float *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(fabsf(found[i] - expected[i]) < 1e-4f);
    }
}

static void test_model_abi_hidden_states_and_embeddings(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const uint32_t m = U(abi.model_handle);
    static float last[128];
    (void)state;
    assert_int_equal(CALL("forward_hidden", c, AT_TOKENS, 8, AT_LOGITS, 2), 8);
    memcpy(last, abi_logits() + 128, sizeof last);
    assert_true(last[0] != 0.0f);
    /* The last hidden state is the embedding of the last token: the file names no other pooling. */
    for (int pooling = DW_POOLING_MODEL; pooling <= DW_POOLING_LAST; pooling += 4) {
        memset(abi_logits(), 0, sizeof last);
        assert_int_equal(CALL("embed", m, AT_TOKENS, 8, U(pooling), 0, AT_LOGITS), 128);
        expect_near(abi_logits(), last, 128);
    }
    assert_int_equal(CALL("embed", m, AT_TOKENS, 8, DW_POOLING_NONE, 0, AT_LOGITS), 128);
    expect_near(abi_logits() + (size_t)7 * 128, last, 128);
    assert_int_equal(CALL("embed", m, AT_TOKENS, 8, DW_POOLING_MEAN, 1, AT_LOGITS), 128);
    double squares = 0;
    for (size_t i = 0; i < 128; i++) {
        squares += (double)abi_logits()[i] * (double)abi_logits()[i];
    }
    assert_true(fabs(squares - 1.0) < 1e-5);
    assert_int_equal(CALL("context_length", c), 8);
    assert_int_equal(CALL("host_copied_bytes", 0), 0);
}

typedef struct bad_embedding {
    uint32_t args[6];
    dw_status status;
} bad_embedding;

static void test_model_abi_embed_refuses(void **state)
{
    const uint32_t m = U(abi.model_handle);
    const bad_embedding calls[] = {
        {{0, AT_TOKENS, 4, 1, 0, AT_LOGITS}, DW_E_HANDLE},
        {{m, AT_TOKENS, 0, 1, 0, AT_LOGITS}, DW_E_ARG},
        {{m, AT_TOKENS, 4, 4, 0, AT_LOGITS}, DW_E_ARG},
        {{m, AT_TOKENS, 4, U(-2), 0, AT_LOGITS}, DW_E_ARG},
        {{m, AT_TOKENS, 4, 1, 2, AT_LOGITS}, DW_E_ARG},
        {{m, AT_TOKENS, CONTEXT_TOKENS_MAX + 1, 1, 0, AT_LOGITS}, DW_E_LIMIT},
        {{m, AT_TOKENS, UINT32_MAX, 1, 0, AT_LOGITS}, DW_E_LIMIT},
        {{m, MEMORY_BYTES - 8, 4, 1, 0, AT_LOGITS}, DW_E_RANGE},
        {{m, AT_TOKENS, 4, 1, 0, MEMORY_BYTES - 64}, DW_E_RANGE},
        {{m, AT_TOKENS, 40, 0, 0, MEMORY_BYTES - 512}, DW_E_RANGE},
        {{m, AT_TOKENS + 2, 4, 1, 0, AT_LOGITS}, DW_E_ALIGN},
        {{m, AT_TOKENS, 4, 1, 0, AT_LOGITS + 1}, DW_E_ALIGN},
        {{m, AT_TOKENS, 4, 1, 0, AT_TOKENS + 8}, DW_E_OVERLAP},
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int32_t status = abi_call("embed", calls[i].args, 6);
        if (status != calls[i].status) {
            fail_msg("call %zu: %d, wanted %d", i, status, calls[i].status);
        }
        assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    }
    abi_tokens()[2] = (int32_t)abi.vocab_count;
    assert_int_equal(CALL("embed", m, AT_TOKENS, 4, 1, 0, AT_LOGITS), DW_E_RANGE);
}

static void test_model_abi_context_shift(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 12, AT_LOGITS, 1), 12);
    assert_int_equal(CALL("context_shift", c, 2, 11), DW_E_RANGE);
    assert_int_equal(CALL("context_shift", c, 13, 0), DW_E_RANGE);
    assert_int_equal(CALL("context_shift", c, UINT32_MAX, 2), DW_E_RANGE);
    assert_int_equal(CALL("context_shift", c, 2, UINT32_MAX), DW_E_RANGE);
    assert_int_equal(CALL("context_shift", 0, 2, 3), DW_E_HANDLE);
    assert_int_equal(CALL("context_length", c), 12);
    assert_int_equal(CALL("context_shift", c, 2, 0), 12);
    assert_int_equal(CALL("context_shift", c, 2, 5), 7);
    assert_int_equal(CALL("context_shift", c, 7, 0), 7);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), 8);
    assert_int_equal(CALL("context_shift", c, 0, 8), 0);
}

/* A step in a window gives what one behind a shift does. */
static void test_model_abi_context_window(void **state)
{
    const uint32_t c = U(abi.context_handle);
    const size_t bytes = abi.vocab_count * sizeof(float);
    static float row[4096];
    (void)state;
    assert_true(abi.vocab_count <= 4096);
    assert_int_equal(CALL("context_window", c, 2, 47), DW_E_RANGE);
    abi_expect_message("47 tokens behind a sink of 2, the context takes 48");
    assert_int_equal(CALL("context_window", c, UINT32_MAX, UINT32_MAX), DW_E_RANGE);
    assert_int_equal(CALL("context_window", c, 2, 0), DW_E_ARG);
    assert_int_equal(CALL("context_window", 0, 2, 16), DW_E_HANDLE);
    assert_int_equal(CALL("context_window", c, 2, 16), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 12, AT_LOGITS, 1), 12);
    int32_t fork = CALL("context_fork", c); /* with the same window */
    int32_t sampler = CALL("sampler_create", U(abi.model_handle), 0);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 10, AT_LOGITS, 1), 18);
    memcpy(row, abi_logits(), bytes);
    assert_true(CALL("forward_sample", U(fork), AT_TOKENS, 10, U(sampler)) >= 0);
    assert_int_equal(CALL("context_length", U(fork)), 18);
    assert_int_equal(CALL("context_trim", U(fork), 0), DW_OK);
    assert_int_equal(CALL("context_window", U(fork), 0, 0), DW_OK);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 12, AT_LOGITS, 1), 12);
    assert_int_equal(CALL("context_shift", U(fork), 2, 4), 8);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 10, AT_LOGITS, 1), 18);
    assert_memory_equal(row, abi_logits(), bytes);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 10, AT_LOGITS, 1), 28);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), 17); /* an eighth goes */
    assert_int_equal(CALL("forward", c, AT_TOKENS, 17, AT_LOGITS, 1), DW_E_LIMIT);
    abi_expect_message("17 tokens behind 17, the context has a window of 16 behind a sink of 2");
    assert_int_equal(CALL("context_length", c), 17);
}

static void test_model_abi_context_fork(void **state)
{
    const uint32_t c = U(abi.context_handle);
    static float next[4096];
    (void)state;
    assert_int_equal(CALL("context_fork", 0), DW_E_HANDLE);
    assert_int_equal(CALL("context_fork", U(abi.model_handle)), DW_E_HANDLE);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    int32_t fork = CALL("context_fork", c);
    assert_true(fork > 0 && fork != abi.context_handle);
    assert_int_equal(CALL("context_fork", c), DW_E_LIMIT);
    abi_expect_message("limit 2");
    assert_int_equal(CALL("context_length", U(fork)), 8);
    assert_int_equal(CALL("context_capacity", U(fork)), CONTEXT_TOKENS_MAX);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 1, AT_LOGITS, 1), 9);
    memcpy(next, abi_logits(), abi.vocab_count * sizeof *next);
    assert_int_equal(CALL("context_length", c), 8);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), 9);
    assert_memory_equal(next, abi_logits(), abi.vocab_count * sizeof *next);
    assert_int_equal(CALL("context_close", c), DW_OK);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 1, AT_LOGITS, 1), 10);
}

static void test_model_abi_forward_until_full(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    for (int32_t i = 1; i <= CONTEXT_TOKENS_MAX; i++) {
        assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), i);
    }
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), DW_E_LIMIT);
    assert_int_equal(CALL("context_length", c), CONTEXT_TOKENS_MAX);
}

static void test_model_abi_cancel(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    abi.input_text = "next";
    dw_instance_cancel(abi.instance);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), DW_E_CANCELLED);
    assert_int_equal(CALL("context_length", c), 0);
    assert_int_equal(CALL("input", AT_TEXT, 64), 4);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), 4);
}

static void test_model_abi_model_closed_under_context(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    assert_int_equal(CALL("model_close", U(abi.model_handle)), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), 4);
    assert_int_equal(CALL("context_create", U(abi.model_handle), 0), DW_E_HANDLE);
    assert_int_equal(CALL("context_close", c), DW_OK);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void test_model_abi_handles_are_bounded(void **state)
{
    int32_t last = 0;
    int created = 0;
    (void)state;
    while (created < 100000 && (last = CALL("sampler_create", U(abi.model_handle), 0)) > 0) {
        created++;
    }
    assert_int_equal(last, DW_E_LIMIT);
    assert_true(created > 1000);
}

static void test_model_abi_survives_failed_allocations(void **state)
{
    (void)state;
    int32_t sampler = CALL("sampler_create", U(abi.model_handle), 0);
    for (int n = 0; n < 12; n++) {
        dw_alloc_fail_after(n);
        int32_t context = CALL("context_create", U(abi.model_handle), 0);
        dw_alloc_fail_after(-1);
        assert_true(context > 0 || context == DW_E_MEMORY);
        if (context > 0) {
            assert_int_equal(CALL("context_close", U(context)), DW_OK);
        }
        dw_alloc_fail_after(n);
        int32_t length = CALL("forward", U(abi.context_handle), AT_TOKENS, 2, AT_LOGITS, 1);
        dw_alloc_fail_after(-1);
        assert_true(length == 2 || length == DW_E_MEMORY);
        assert_int_equal(CALL("context_trim", U(abi.context_handle), 0), DW_OK);
        dw_alloc_fail_after(n);
        int32_t token = CALL("forward_sample", U(abi.context_handle), AT_TOKENS, 2, U(sampler));
        dw_alloc_fail_after(-1);
        assert_true(token >= 0 || token == DW_E_MEMORY);
        assert_int_equal(CALL("context_length", U(abi.context_handle)), token >= 0 ? 2 : 0);
        assert_int_equal(CALL("context_trim", U(abi.context_handle), 0), DW_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, abi_set_up, abi_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_host_abi_info),
        TEST(test_host_abi_last_error_keeps_the_error),
        TEST(test_host_abi_input),
        TEST(test_model_abi_open),
        TEST(test_model_abi_info),
        TEST(test_model_abi_names),
        TEST(test_model_abi_tokenize),
        TEST(test_model_abi_detokenize),
        TEST(test_model_abi_chat_template),
        TEST(test_model_abi_context_limits),
        TEST(test_model_abi_forward),
        TEST(test_model_abi_forward_refuses),
        TEST(test_model_abi_hidden_states_and_embeddings),
        TEST(test_model_abi_embed_refuses),
        TEST(test_model_abi_context_shift),
        TEST(test_model_abi_context_window),
        TEST(test_model_abi_context_fork),
        TEST(test_model_abi_forward_until_full),
        TEST(test_model_abi_cancel),
        TEST(test_model_abi_model_closed_under_context),
        TEST(test_model_abi_handles_are_bounded),
        TEST(test_model_abi_survives_failed_allocations),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
