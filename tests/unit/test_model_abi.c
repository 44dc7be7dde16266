/* The host and model functions as a guest reaches them: a module that imports all of them and
 * exports a caller for each, whose arguments the test puts into guest memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "support.h"
#include "tiny_model.h"

#define MEMORY_PAGES 64
#define MEMORY_BYTES (MEMORY_PAGES * 65536u)
#define CONTEXTS_MAX 2
#define CONTEXT_TOKENS_MAX 48

/* Places in guest memory. */
#define AT_TOKENS 4096u
#define AT_LOGITS 65536u
#define AT_TEXT 32768u
#define AT_PARAMS 8192u
#define AT_INFO 12288u
#define AT_WORDS 16384u

static dw_engine *engine;
static dw_model *model;
static dw_module *module;
static dw_instance *instance;
static unsigned char *memory;
static const char *input_text; /* what on_input gives; NULL: the end */
static int32_t model_handle;
static int32_t context_handle;
static uint32_t vocab_count;

/* ---- the guest ------------------------------------------------------------------------------ */

static size_t write_import(char *text, size_t room, const dw_host_import *import)
{
    size_t params = strcspn(import->signature, ":");
    bool wide = import->signature[params + 1] == 'I';
    size_t at = (size_t)snprintf(text, room, "(import \"driftwood\" \"%s\" (func $%s", import->name,
                                 import->name);
    for (size_t i = 0; i < params; i++) {
        at += (size_t)snprintf(text + at, room - at, " (param i32)");
    }
    return at + (size_t)snprintf(text + at, room - at, " (result %s)))\n", wide ? "i64" : "i32");
}

static size_t write_caller(char *text, size_t room, const dw_host_import *import)
{
    size_t params = strcspn(import->signature, ":");
    bool wide = import->signature[params + 1] == 'I';
    size_t at = (size_t)snprintf(text, room, "(func (export \"%s\") (result i32) %s(call $%s",
                                 import->name, wide ? "(i32.wrap_i64 " : "", import->name);
    for (size_t i = 0; i < params; i++) {
        at += (size_t)snprintf(text + at, room - at, " (i32.load (i32.const %zu))", 4 * i);
    }
    return at + (size_t)snprintf(text + at, room - at, "))%s\n", wide ? ")" : "");
}

static dw_module *make_module(void)
{
    static const dw_host_import *const tables[] = {dw_host_imports,    dw_model_imports,
                                                   dw_vocab_imports,   dw_context_imports,
                                                   dw_forward_imports, dw_sampler_imports};
    static char text[16384];
    size_t at = (size_t)snprintf(text, sizeof text, "(module\n");
    for (int pass = 0; pass < 2; pass++) {
        for (size_t table = 0; table < sizeof tables / sizeof tables[0]; table++) {
            for (const dw_host_import *import = tables[table]; import->name != NULL; import++) {
                at += pass == 0 ? write_import(text + at, sizeof text - at, import)
                                : write_caller(text + at, sizeof text - at, import);
            }
        }
    }
    (void)snprintf(text + at, sizeof text - at, "(memory (export \"memory\") %d))", MEMORY_PAGES);
    wasm_byte_vec_t wasm;
    wasmtime_error_t *failed = wasmtime_wat2wasm(text, strlen(text), &wasm);
    assert_null(failed);
    dw_module *made = NULL;
    dw_error err;
    if (dw_module_create(&made, engine, wasm.data, wasm.size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    return made;
}

/* ---- set-up --------------------------------------------------------------------------------- */

static int open_fixture(void **state)
{
    char path[] = "/tmp/dw-abi-XXXXXX";
    dw_error err;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_options options = tiny_defaults();
    vocab_count = options.vocab_count;
    tiny_model_write(path, &options);
    dw_engine_options engine_options = {
        .struct_bytes = sizeof engine_options, .device = "CPU", .threads = 1};
    if (dw_engine_create(&engine, &engine_options, &err) != DW_OK ||
        dw_model_open(&model, engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unlink(path);
    module = make_module();
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dw_module_unref(module);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return 0;
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    (void)user;
    if (input_text == NULL) {
        return -1;
    }
    size_t length = strlen(input_text);
    if (length <= capacity) {
        memcpy(buffer, input_text, length);
    }
    return (ptrdiff_t)length;
}

static int32_t call(const char *name, const uint32_t *args, size_t count)
{
    int32_t result = 0;
    dw_error err;
    memcpy(memory, args, count * sizeof *args);
    if (dw_instance_call(instance, name, &result, &err) != DW_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return result;
}

/* CALL("forward", context, tokens, ...): arguments of any integer type. */
#define CALL(name, ...)                                                                            \
    call((name), (const uint32_t[]){__VA_ARGS__},                                                  \
         sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define U(value) ((uint32_t)(value))

static int set_up(void **state)
{
    dw_error err;
    (void)state;
    wasm_signals_restore();
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &model,
                                   .model_count = 1,
                                   .on_input = on_input,
                                   .context_count_max = CONTEXTS_MAX,
                                   .context_tokens_max = CONTEXT_TOKENS_MAX};
    if (dw_instance_create(&instance, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    memory = dw_instance_memory(instance);
    model_handle = CALL("model_open", 0, 0);
    assert_true(model_handle > 0);
    context_handle = CALL("context_create", U(model_handle), 0);
    assert_true(context_handle > 0);
    for (uint32_t i = 0; i < 16; i++) {
        ((int32_t *)(void *)(memory + AT_TOKENS))[i] = (int32_t)(i + 20);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dw_instance_destroy(instance);
    return 0;
}

static int32_t *tokens(void)
{
    return (int32_t *)(void *)(memory + AT_TOKENS);
}

static float *logits(void)
{
    return (float *)(void *)(memory + AT_LOGITS);
}

static void expect_message(const char *words)
{
    assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    if (strstr((const char *)memory + AT_WORDS, words) == NULL) {
        fail_msg("'%s' is not in '%s'", words, (const char *)memory + AT_WORDS);
    }
}

/* ---- host functions ------------------------------------------------------------------------- */

static void test_host_abi_info(void **state)
{
    (void)state;
    assert_int_equal(CALL("abi_version", 0), DW_ABI_VERSION);
    assert_int_equal(CALL("device_name", AT_TEXT, 64), 3);
    assert_string_equal((const char *)memory + AT_TEXT, "CPU");
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
    expect_message("77");
}

static void test_host_abi_input(void **state)
{
    (void)state;
    input_text = "a line";
    assert_int_equal(CALL("input", AT_TEXT, 3), DW_E_SPACE);
    assert_int_equal(CALL("input", AT_TEXT, 6), 6);
    assert_memory_equal(memory + AT_TEXT, "a line", 6);
    assert_int_equal(CALL("input", MEMORY_BYTES - 2, 3), DW_E_RANGE);
    input_text = NULL;
    assert_int_equal(CALL("input", AT_TEXT, 6), DW_E_END);
}

/* ---- models and text ------------------------------------------------------------------------ */

static void test_model_abi_open(void **state)
{
    (void)state;
    memcpy(memory + AT_TEXT, "nobody", 6);
    assert_int_equal(CALL("model_open", AT_TEXT, 6), DW_E_DENIED);
    expect_message("nobody");
    assert_int_equal(CALL("model_open", AT_TEXT, 100000), DW_E_LIMIT);
    assert_int_equal(CALL("model_open", MEMORY_BYTES, 1), DW_E_RANGE);
    memcpy(memory + AT_TEXT, "a\0b", 3);
    assert_int_equal(CALL("model_open", AT_TEXT, 3), DW_E_ARG);
    int32_t other = CALL("model_open", 0, 0);
    assert_true(other > 0 && other != model_handle);
    assert_int_equal(CALL("model_close", U(other)), DW_OK);
    assert_int_equal(CALL("model_close", U(other)), DW_E_HANDLE);
    assert_int_equal(CALL("model_close", U(context_handle)), DW_E_HANDLE);
}

static void test_model_abi_info(void **state)
{
    const dw_abi_model_info *info = (const dw_abi_model_info *)(const void *)(memory + AT_INFO);
    (void)state;
    assert_int_equal(CALL("model_info", U(model_handle), AT_INFO), DW_OK);
    assert_int_equal(info->vocab_count, vocab_count);
    assert_true(info->kv_bytes_per_token > 0 && info->context_length > 0);
    assert_int_equal(CALL("model_info", U(model_handle), AT_INFO + 4), DW_E_ALIGN);
    assert_int_equal(CALL("model_info", U(model_handle), MEMORY_BYTES - 56), DW_E_RANGE);
    assert_int_equal(CALL("model_info", 0, AT_INFO), DW_E_HANDLE);
    assert_int_equal(CALL("model_info", UINT32_MAX, AT_INFO), DW_E_HANDLE);
}

static void test_model_abi_tokenize(void **state)
{
    const uint32_t m = U(model_handle);
    (void)state;
    memcpy(memory + AT_TEXT, "tide", 4);
    int32_t count = CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, 64, 0);
    assert_true(count > 0);
    /* SentencePiece puts a space in front, which this small vocabulary spells in three bytes. */
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, U(count), AT_WORDS, 64, 0), 7);
    assert_memory_equal(memory + AT_WORDS + 3, "tide", 4);
    tokens()[0] = -1;
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, U(count - 1), 0), DW_E_SPACE);
    assert_int_equal(tokens()[0], count > 1 ? count : -1);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, UINT32_MAX, AT_TOKENS, 64, 0), DW_E_RANGE);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, UINT32_MAX, 0), DW_E_RANGE);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS + 2, 64, 0), DW_E_ALIGN);
    assert_int_equal(CALL("tokenize", m, AT_TOKENS + 8, 4, AT_TOKENS, 64, 0), DW_E_OVERLAP);
    assert_int_equal(CALL("tokenize", m, AT_TEXT, 4, AT_TOKENS, 64, 8), DW_E_ARG);
    assert_int_equal(CALL("tokenize", U(context_handle), AT_TEXT, 4, AT_TOKENS, 64, 0),
                     DW_E_HANDLE);
    assert_int_equal(CALL("tokenize", m, 0, 0, AT_TOKENS, 64, 0), 0);
}

static void test_model_abi_detokenize(void **state)
{
    const uint32_t m = U(model_handle);
    (void)state;
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 0x40000001, AT_TEXT, 64, 0), DW_E_RANGE);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS + 1, 4, AT_TEXT, 64, 0), DW_E_ALIGN);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 4, AT_TOKENS + 4, 64, 0), DW_E_OVERLAP);
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 4, MEMORY_BYTES - 1, 64, 0), DW_E_RANGE);
    tokens()[1] = (int32_t)vocab_count;
    assert_int_equal(CALL("detokenize", m, AT_TOKENS, 2, AT_TEXT, 64, 0), DW_E_RANGE);
    expect_message("tokens[1]");
    assert_int_equal(CALL("token_is_end", m, UINT32_MAX), 0);
    assert_int_equal(CALL("token_is_end", 99, 2), DW_E_HANDLE);
}

static void test_model_abi_chat_template(void **state)
{
    const uint32_t m = U(model_handle);
    uint32_t *messages = (uint32_t *)(void *)(memory + AT_PARAMS);
    (void)state;
    memcpy(memory + AT_TEXT, "user\0hi", 8);
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
    memset(memory + MEMORY_BYTES - 4, 'x', 4);
    messages[1] = MEMORY_BYTES - 4;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_RANGE);
    expect_message("messages[0].content");
    /* One long string as the content of many, and as a role: neither is read to its end. */
    memset(memory + AT_LOGITS, 'x', MEMORY_BYTES - AT_LOGITS - 1);
    memory[MEMORY_BYTES - 1] = '\0';
    for (uint32_t i = 0; i < 8; i++) {
        messages[2 * i] = AT_TEXT;
        messages[2 * i + 1] = AT_LOGITS;
    }
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 8, 1, AT_WORDS, 256), DW_E_LIMIT);
    expect_message("up to messages[4] more than 16777216 bytes");
    messages[0] = AT_LOGITS;
    assert_int_equal(CALL("chat_template", m, AT_PARAMS, 1, 1, AT_WORDS, 256), DW_E_LIMIT);
    expect_message("messages[0].role");
}

/* ---- contexts ------------------------------------------------------------------------------- */

static void test_model_abi_context_limits(void **state)
{
    const uint32_t m = U(model_handle);
    (void)state;
    assert_int_equal(CALL("context_capacity", U(context_handle)), CONTEXT_TOKENS_MAX);
    assert_int_equal(CALL("context_create", m, CONTEXT_TOKENS_MAX + 1), DW_E_LIMIT);
    assert_int_equal(CALL("context_create", m, UINT32_MAX), DW_E_LIMIT);
    int32_t second = CALL("context_create", m, 8);
    assert_true(second > 0);
    assert_int_equal(CALL("context_capacity", U(second)), 8);
    assert_int_equal(CALL("context_create", m, 8), DW_E_LIMIT);
    expect_message("limit 2");
    assert_int_equal(CALL("context_close", U(second)), DW_OK);
    assert_int_equal(CALL("context_length", U(second)), DW_E_HANDLE);
    assert_true(CALL("context_create", m, 8) > 0);
}

static void test_model_abi_forward(void **state)
{
    const uint32_t c = U(context_handle);
    static float first[4096];
    (void)state;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    assert_int_equal(CALL("context_length", c), 8);
    int32_t token = CALL("greedy", U(model_handle), AT_LOGITS);
    assert_in_range(token, 0, vocab_count - 1);
    memcpy(first, logits(), vocab_count * sizeof *first);
    /* Trimmed and computed again it is the same; without logits it extends as well. */
    assert_int_equal(CALL("context_trim", c, 0), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    assert_memory_equal(first, logits(), vocab_count * sizeof *first);
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
    const uint32_t c = U(context_handle);
    const bad_step steps[] = {
        {{0, AT_TOKENS, 4, AT_LOGITS, 1}, DW_E_HANDLE},
        {{U(model_handle), AT_TOKENS, 4, AT_LOGITS, 1}, DW_E_HANDLE},
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
        int32_t status = call("forward", steps[i].args, 5);
        if (status != steps[i].status) {
            fail_msg("step %zu: %d, wanted %d", i, status, steps[i].status);
        }
        assert_int_equal(CALL("context_length", c), 3);
        assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    }
    tokens()[2] = (int32_t)vocab_count;
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), DW_E_RANGE);
    tokens()[2] = -1;
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
    const uint32_t c = U(context_handle);
    const uint32_t m = U(model_handle);
    static float last[128];
    (void)state;
    assert_int_equal(CALL("forward_hidden", c, AT_TOKENS, 8, AT_LOGITS, 2), 8);
    memcpy(last, logits() + 128, sizeof last);
    assert_true(last[0] != 0.0f);
    /* The last hidden state is the embedding of the last token: the file names no other pooling. */
    for (int pooling = DW_POOLING_MODEL; pooling <= DW_POOLING_LAST; pooling += 4) {
        memset(logits(), 0, sizeof last);
        assert_int_equal(CALL("embed", m, AT_TOKENS, 8, U(pooling), 0, AT_LOGITS), 128);
        expect_near(logits(), last, 128);
    }
    assert_int_equal(CALL("embed", m, AT_TOKENS, 8, DW_POOLING_NONE, 0, AT_LOGITS), 128);
    expect_near(logits() + (size_t)7 * 128, last, 128);
    assert_int_equal(CALL("embed", m, AT_TOKENS, 8, DW_POOLING_MEAN, 1, AT_LOGITS), 128);
    double squares = 0;
    for (size_t i = 0; i < 128; i++) {
        squares += (double)logits()[i] * (double)logits()[i];
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
    const uint32_t m = U(model_handle);
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
        int32_t status = call("embed", calls[i].args, 6);
        if (status != calls[i].status) {
            fail_msg("call %zu: %d, wanted %d", i, status, calls[i].status);
        }
        assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    }
    tokens()[2] = (int32_t)vocab_count;
    assert_int_equal(CALL("embed", m, AT_TOKENS, 4, 1, 0, AT_LOGITS), DW_E_RANGE);
}

static void test_model_abi_context_shift(void **state)
{
    const uint32_t c = U(context_handle);
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

static void test_model_abi_context_fork(void **state)
{
    const uint32_t c = U(context_handle);
    static float next[4096];
    (void)state;
    assert_int_equal(CALL("context_fork", 0), DW_E_HANDLE);
    assert_int_equal(CALL("context_fork", U(model_handle)), DW_E_HANDLE);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 8, AT_LOGITS, 1), 8);
    int32_t fork = CALL("context_fork", c);
    assert_true(fork > 0 && fork != context_handle);
    assert_int_equal(CALL("context_fork", c), DW_E_LIMIT);
    expect_message("limit 2");
    assert_int_equal(CALL("context_length", U(fork)), 8);
    assert_int_equal(CALL("context_capacity", U(fork)), CONTEXT_TOKENS_MAX);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 1, AT_LOGITS, 1), 9);
    memcpy(next, logits(), vocab_count * sizeof *next);
    assert_int_equal(CALL("context_length", c), 8);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), 9);
    assert_memory_equal(next, logits(), vocab_count * sizeof *next);
    assert_int_equal(CALL("context_close", c), DW_OK);
    assert_int_equal(CALL("forward", U(fork), AT_TOKENS, 1, AT_LOGITS, 1), 10);
}

static void test_model_abi_forward_until_full(void **state)
{
    const uint32_t c = U(context_handle);
    (void)state;
    for (int32_t i = 1; i <= CONTEXT_TOKENS_MAX; i++) {
        assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), i);
    }
    assert_int_equal(CALL("forward", c, AT_TOKENS, 1, AT_LOGITS, 1), DW_E_LIMIT);
    assert_int_equal(CALL("context_length", c), CONTEXT_TOKENS_MAX);
}

static void test_model_abi_cancel(void **state)
{
    const uint32_t c = U(context_handle);
    (void)state;
    input_text = "next";
    dw_instance_cancel(instance);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), DW_E_CANCELLED);
    assert_int_equal(CALL("context_length", c), 0);
    assert_int_equal(CALL("input", AT_TEXT, 64), 4);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), 4);
}

static void test_model_abi_model_closed_under_context(void **state)
{
    const uint32_t c = U(context_handle);
    (void)state;
    assert_int_equal(CALL("model_close", U(model_handle)), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 4, AT_LOGITS, 1), 4);
    assert_int_equal(CALL("context_create", U(model_handle), 0), DW_E_HANDLE);
    assert_int_equal(CALL("context_close", c), DW_OK);
}

/* ---- samplers ------------------------------------------------------------------------------- */

static void test_model_abi_sampler(void **state)
{
    const uint32_t m = U(model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(memory + AT_PARAMS);
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    (void)state;
    *params = (dw_sampler_params){.temperature = 0.8F, .top_k = 5, .seed = 1};
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    int32_t plain = CALL("sampler_create", m, 0);
    assert_true(sampler > 0 && plain > 0);
    assert_int_equal(CALL("forward", U(context_handle), AT_TOKENS, 4, AT_LOGITS, 1), 4);
    assert_int_equal(CALL("sample", U(plain), AT_LOGITS), CALL("greedy", m, AT_LOGITS));
    assert_in_range(CALL("sample", U(sampler), AT_LOGITS), 0, vocab_count - 1);
    dw_instance_get_stats(instance, &stats);
    assert_int_equal(stats.generated_tokens, 3);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS + 2), DW_E_ALIGN);
    assert_int_equal(CALL("sample", U(sampler), MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("sample", m, AT_LOGITS), DW_E_HANDLE);
    assert_int_equal(CALL("greedy", m, MEMORY_BYTES - 4), DW_E_RANGE);
    assert_int_equal(CALL("sampler_accept", U(sampler), 5), DW_OK);
    assert_int_equal(CALL("sampler_accept", U(sampler), vocab_count), DW_E_RANGE);
    logits()[7] = NAN;
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), DW_E_NUMERIC);
    assert_int_equal(CALL("greedy", m, AT_LOGITS), DW_E_NUMERIC);
    expect_message("NaN");
    assert_int_equal(CALL("sampler_close", U(sampler)), DW_OK);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), DW_E_HANDLE);
}

static void test_model_abi_sampler_refuses(void **state)
{
    const uint32_t m = U(model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(memory + AT_PARAMS);
    (void)state;
    *params = (dw_sampler_params){.temperature = NAN};
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_NUMERIC);
    expect_message("temperature");
    *params = (dw_sampler_params){.temperature = 1.0F, .top_p = 2.0F};
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS + 4), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_create", m, MEMORY_BYTES - 8), DW_E_RANGE);
    assert_int_equal(CALL("sampler_create", 0, AT_PARAMS), DW_E_HANDLE);
}

static void test_model_abi_sampler_extensions(void **state)
{
    const uint32_t m = U(model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(memory + AT_PARAMS);
    dw_logit_bias *biases = (dw_logit_bias *)(void *)(memory + AT_INFO);
    uint32_t *words = (uint32_t *)(void *)(memory + AT_WORDS);
    (void)state;
    /* Fields behind the first 48 bytes are read where struct_bytes covers them. */
    *params = (dw_sampler_params){.temperature = 1.0F, .typical_p = 2.0F};
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    assert_true(sampler > 0);
    params->struct_bytes = sizeof *params;
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    expect_message("typical_p");
    params->struct_bytes = UINT32_MAX;
    assert_int_equal(CALL("sampler_create", m, AT_PARAMS), DW_E_RANGE);
    *params = (dw_sampler_params){
        .temperature = 1.0F, .dry_multiplier = 1.0F, .struct_bytes = sizeof *params};
    int32_t dry = CALL("sampler_create", m, AT_PARAMS);
    assert_true(dry > 0);
    memcpy(memory + AT_TEXT, ":", 2);
    words[0] = AT_TEXT;
    words[1] = MEMORY_BYTES;
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 1), DW_OK);
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 2), DW_E_RANGE);
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 17), DW_E_LIMIT);
    memory[AT_TEXT] = '\0';
    assert_int_equal(CALL("sampler_dry_breakers", U(dry), m, AT_WORDS, 1), DW_E_RANGE);
    for (uint32_t i = 0; i < vocab_count; i++) {
        logits()[i] = 0.0F;
    }
    biases[0] = (dw_logit_bias){7, 100.0F};
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, 1), DW_OK);
    assert_int_equal(CALL("sample", U(sampler), AT_LOGITS), 7);
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO + 1, 1), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, UINT32_MAX), DW_E_RANGE);
    assert_int_equal(CALL("sampler_logit_bias", m, AT_INFO, 1), DW_E_HANDLE);
    static const char grammar[] = "root ::= <[9]> | <[11]>";
    uint32_t bytes = sizeof grammar - 1;
    memcpy(memory + AT_TEXT, grammar, bytes);
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, bytes), DW_OK);
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, 5), DW_E_ARG);
    expect_message("line 1, column 6");
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, MEMORY_BYTES, 1), DW_E_RANGE);
    assert_int_equal(CALL("sampler_grammar", U(sampler), U(sampler), AT_TEXT, 1), DW_E_HANDLE);
    logits()[11] = 1.0F;
    assert_int_equal(CALL("sampler_mask", U(sampler), AT_LOGITS + 1), DW_E_ALIGN);
    assert_int_equal(CALL("sampler_mask", U(sampler), AT_LOGITS), DW_OK);
    assert_true(logits()[9] == 0.0F && logits()[11] == 1.0F && logits()[7] < -1e30F);
    assert_int_equal(CALL("sampler_accept", U(sampler), 7), DW_E_ARG);
    assert_int_equal(CALL("sample", U(dry), AT_LOGITS), 11);
    assert_true(CALL("sample", U(sampler), AT_LOGITS) % 2 == 1);
    static const char schema[] = "{\"type\":\"null\"}";
    memcpy(memory + AT_TEXT, schema, sizeof schema - 1);
    assert_int_equal(CALL("sampler_json_schema", U(sampler), m, AT_TEXT, sizeof schema - 1), DW_OK);
    assert_int_equal(CALL("sampler_json_schema", U(sampler), m, AT_TEXT, 4), DW_E_FORMAT);
    expect_message("schema: line 1");
    assert_int_equal(CALL("sampler_grammar", U(sampler), m, 0, 0), DW_OK);
    assert_int_equal(CALL("sampler_accept", U(sampler), 7), DW_OK);
}

/* ---- steps that end with a token ------------------------------------------------------------ */

#define CHOSEN_TOKENS 40

typedef struct sampling {
    const char *name;
    dw_sampler_params params;
    bool biased;
    const char *grammar;
} sampling;

static const sampling samplings[] = {
    {.name = "greedy"},
    {.name = "greedy, biased", .biased = true},
    {.name = "temperature", .params = {.temperature = 1.0F, .seed = 3}},
    {.name = "top-k, top-p",
     .params = {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F, .seed = 4}},
    {.name = "penalties",
     .params = {.temperature = 0.9F,
                .top_k = 20,
                .repeat_penalty = 1.3F,
                .frequency_penalty = 0.2F,
                .presence_penalty = 0.1F,
                .penalty_tokens = 16,
                .seed = 5}},
    {.name = "mirostat", .params = {.temperature = 1.0F, .mirostat_tau = 4.0F, .seed = 6}},
    {.name = "dry, xtc",
     .params = {.temperature = 1.0F,
                .top_k = 30,
                .dry_multiplier = 1.0F,
                .xtc_probability = 0.5F,
                .xtc_threshold = 0.05F,
                .seed = 7}},
    {.name = "grammar",
     .params = {.temperature = 1.0F, .top_k = 50, .seed = 8},
     .grammar = "root ::= (<[9]> <[11]> | <[40]> <[41]>?)*"},
};

/* A sampler that knows the prompt, as a guest makes one. */
static int32_t make_sampler(const sampling *how, uint32_t prompt_count)
{
    const uint32_t m = U(model_handle);
    dw_sampler_params *params = (dw_sampler_params *)(void *)(memory + AT_PARAMS);
    *params = how->params;
    params->struct_bytes = sizeof *params;
    int32_t sampler = CALL("sampler_create", m, AT_PARAMS);
    assert_true(sampler > 0);
    if (how->biased) {
        const dw_logit_bias biases[] = {{7, -INFINITY}, {8, -INFINITY}, {21, 2.5F}};
        memcpy(memory + AT_INFO, biases, sizeof biases);
        assert_int_equal(CALL("sampler_logit_bias", U(sampler), AT_INFO, 3), DW_OK);
    }
    for (uint32_t i = 0; i < prompt_count; i++) {
        assert_int_equal(CALL("sampler_accept", U(sampler), U(tokens()[i])), DW_OK);
    }
    if (how->grammar != NULL) {
        uint32_t bytes = (uint32_t)strlen(how->grammar);
        memcpy(memory + AT_TEXT, how->grammar, bytes);
        assert_int_equal(CALL("sampler_grammar", U(sampler), m, AT_TEXT, bytes), DW_OK);
    }
    return sampler;
}

/* What forward and sample choose, and what forward_sample does: tokens and memory alike. */
static void test_model_abi_forward_sample(void **state)
{
    int32_t expected[CHOSEN_TOKENS];
    const uint32_t c = U(context_handle);
    const uint32_t next = AT_TOKENS + 1024;
    int32_t *const token = (int32_t *)(void *)(memory + next);
    (void)state;
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++) {
        uint32_t other = U(make_sampler(&samplings[i], 6));
        assert_int_equal(CALL("forward", c, AT_TOKENS, 6, AT_LOGITS, 1), 6);
        for (int k = 0; k < CHOSEN_TOKENS; k++) {
            expected[k] = *token = CALL("sample", other, AT_LOGITS);
            assert_int_equal(CALL("forward", c, next, 1, AT_LOGITS, 1), 7 + k);
        }
        assert_int_equal(CALL("context_trim", c, 0), DW_OK);
        uint32_t sampler = U(make_sampler(&samplings[i], 6));
        memset(logits(), 0, vocab_count * sizeof(float));
        for (int k = 0; k < CHOSEN_TOKENS; k++) {
            *token = k == 0 ? CALL("forward_sample", c, AT_TOKENS, 6, sampler)
                            : CALL("forward_sample", c, next, 1, sampler);
            if (*token != expected[k]) {
                fail_msg("%s: token %d is %d, not %d", samplings[i].name, k, *token, expected[k]);
            }
            assert_int_equal(CALL("context_length", c), 6 + k);
        }
        /* The logits stayed where they were, and the samplers go on alike. */
        assert_true(logits()[0] == 0.0F && logits()[vocab_count - 1] == 0.0F);
        assert_int_equal(CALL("forward", c, next, 1, AT_LOGITS, 1), 6 + CHOSEN_TOKENS);
        assert_int_equal(CALL("sample", other, AT_LOGITS), CALL("sample", sampler, AT_LOGITS));
        assert_int_equal(CALL("context_trim", c, 0), DW_OK);
        assert_int_equal(CALL("sampler_close", other), DW_OK);
        assert_int_equal(CALL("sampler_close", sampler), DW_OK);
    }
    assert_int_equal(CALL("host_copied_bytes", 0), 0);
}

static void test_model_abi_forward_sample_refuses(void **state)
{
    const uint32_t c = U(context_handle);
    const uint32_t m = U(model_handle);
    const uint32_t s = U(CALL("sampler_create", m, 0));
    const uint32_t closed = U(CALL("sampler_create", m, 0));
    const uint32_t gone = U(CALL("context_create", m, 8));
    const bad_step steps[] = {
        {{0, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{s, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{gone, AT_TOKENS, 4, s}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, 0}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, c}, DW_E_HANDLE},
        {{c, AT_TOKENS, 4, closed}, DW_E_HANDLE},
        {{c, AT_TOKENS, 0, s}, DW_E_ARG},
        {{c, AT_TOKENS, UINT32_MAX, s}, DW_E_RANGE},
        {{c, MEMORY_BYTES - 8, 4, s}, DW_E_RANGE},
        {{c, UINT32_MAX - 3, 1, s}, DW_E_RANGE},
        {{c, AT_TOKENS + 2, 4, s}, DW_E_ALIGN},
        {{c, AT_TOKENS, CONTEXT_TOKENS_MAX - 2, s}, DW_E_LIMIT},
    };
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    (void)state;
    assert_int_equal(CALL("sampler_close", closed), DW_OK);
    assert_int_equal(CALL("context_close", gone), DW_OK);
    assert_int_equal(CALL("forward", c, AT_TOKENS, 3, 0, 0), 3);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int32_t status = call("forward_sample", steps[i].args, 4);
        if (status != steps[i].status) {
            fail_msg("step %zu: %d, not %d", i, status, steps[i].status);
        }
        assert_int_equal(CALL("context_length", c), 3);
    }
    tokens()[2] = (int32_t)vocab_count;
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 4, s), DW_E_RANGE);
    tokens()[2] = -1;
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 4, s), DW_E_RANGE);
    input_text = "next";
    dw_instance_cancel(instance);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 1, s), DW_E_CANCELLED);
    assert_int_equal(CALL("context_length", c), 3);
    dw_instance_get_stats(instance, &stats);
    assert_int_equal(stats.generated_tokens, 0);
    assert_int_equal(CALL("input", AT_TEXT, 64), 4);
    tokens()[2] = 22;
    assert_true(CALL("forward_sample", c, AT_TOKENS, 3, s) >= 0); /* not decoded, but chosen */
    dw_instance_get_stats(instance, &stats);
    assert_int_equal(stats.generated_tokens, 1);
}

/* Where the sampler finds nothing to choose, the context is as before the step, and what it goes
 * on to is what it would have gone on to. */
static void test_model_abi_forward_sample_without_a_choice(void **state)
{
    const uint32_t c = U(context_handle);
    const uint32_t m = U(model_handle);
    static const char grammar[] = "root ::= <[9]>";
    const uint32_t s = U(CALL("sampler_create", m, 0));
    const uint32_t plain = U(CALL("sampler_create", m, 0));
    dw_logit_bias *biases = (dw_logit_bias *)(void *)(memory + AT_INFO);
    (void)state;
    int32_t first = CALL("forward_sample", c, AT_TOKENS, 5, plain);
    int32_t second = CALL("forward_sample", c, AT_TOKENS, 3, plain);
    assert_int_equal(CALL("context_trim", c, 0), DW_OK);
    memcpy(memory + AT_TEXT, grammar, sizeof grammar - 1);
    assert_int_equal(CALL("sampler_grammar", s, m, AT_TEXT, sizeof grammar - 1), DW_OK);
    biases[0] = (dw_logit_bias){9, -INFINITY};
    assert_int_equal(CALL("sampler_logit_bias", s, AT_INFO, 1), DW_OK);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 5, s), DW_E_NUMERIC);
    expect_message("logits");
    assert_int_equal(CALL("context_length", c), 0);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 5, plain), first);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 3, s), DW_E_NUMERIC);
    assert_int_equal(CALL("context_length", c), 5);
    assert_int_equal(CALL("forward_sample", c, AT_TOKENS, 3, plain), second);
}

/* A guest with two models, of which `other` is a second one. */
static dw_instance *instance_of_two(dw_model **other, const tiny_options *options)
{
    char path[] = "/tmp/dw-abi-XXXXXX";
    dw_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_model_write(path, options);
    if (dw_model_open(other, engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unlink(path);
    dw_model *models[] = {model, *other};
    dw_instance_options with = {.struct_bytes = sizeof with, .models = models, .model_count = 2};
    dw_instance *made = NULL;
    if (dw_instance_create(&made, module, &with, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return made;
}

static uint32_t open_model(const dw_model *which)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(which, &info);
    size_t bytes = strlen(info.name);
    memcpy(memory + AT_TEXT, info.name, bytes);
    return U(CALL("model_open", AT_TEXT, U(bytes)));
}

/* A sampler of another vocabulary is refused, one of a model that has as many tokens is not; and a
 * model that gives NaN leaves the context as it was, which is empty. */
static void test_model_abi_forward_sample_of_other_models(void **state)
{
    dw_instance *own = instance;
    (void)state;
    for (int i = 0; i < 2; i++) {
        tiny_options options = tiny_defaults();
        dw_model *other = NULL;
        options.vocab_count += i == 0 ? 32 : 0;
        options.nan_weights = i == 1;
        options.name = "other";
        instance = instance_of_two(&other, &options);
        memory = dw_instance_memory(instance);
        tokens()[0] = 20;
        tokens()[1] = 21;
        uint32_t first = open_model(model);
        uint32_t second = open_model(other);
        uint32_t c = U(CALL("context_create", first, 16));
        uint32_t strange = U(CALL("context_create", second, 16));
        uint32_t s = U(CALL("sampler_create", second, 0));
        int32_t token = CALL("forward_sample", c, AT_TOKENS, 2, s);
        assert_true(i == 0 ? token == DW_E_ARG : token >= 0);
        assert_int_equal(CALL("context_length", c), i == 0 ? 0 : 2);
        if (i == 0) {
            expect_message("352 tokens");
        }
        token = CALL("forward_sample", strange, AT_TOKENS, 2, s);
        assert_true(i == 0 ? token >= 0 : token == DW_E_NUMERIC);
        assert_int_equal(CALL("context_length", strange), i == 0 ? 2 : 0);
        dw_instance_destroy(instance);
        dw_model_unref(other);
    }
    instance = own;
    memory = dw_instance_memory(instance);
}

static void test_model_abi_handles_are_bounded(void **state)
{
    int32_t last = 0;
    int created = 0;
    (void)state;
    while (created < 100000 && (last = CALL("sampler_create", U(model_handle), 0)) > 0) {
        created++;
    }
    assert_int_equal(last, DW_E_LIMIT);
    assert_true(created > 1000);
}

static void test_model_abi_survives_failed_allocations(void **state)
{
    (void)state;
    int32_t sampler = CALL("sampler_create", U(model_handle), 0);
    for (int n = 0; n < 12; n++) {
        dw_alloc_fail_after(n);
        int32_t context = CALL("context_create", U(model_handle), 0);
        dw_alloc_fail_after(-1);
        assert_true(context > 0 || context == DW_E_MEMORY);
        if (context > 0) {
            assert_int_equal(CALL("context_close", U(context)), DW_OK);
        }
        dw_alloc_fail_after(n);
        int32_t length = CALL("forward", U(context_handle), AT_TOKENS, 2, AT_LOGITS, 1);
        dw_alloc_fail_after(-1);
        assert_true(length == 2 || length == DW_E_MEMORY);
        assert_int_equal(CALL("context_trim", U(context_handle), 0), DW_OK);
        dw_alloc_fail_after(n);
        int32_t token = CALL("forward_sample", U(context_handle), AT_TOKENS, 2, U(sampler));
        dw_alloc_fail_after(-1);
        assert_true(token >= 0 || token == DW_E_MEMORY);
        assert_int_equal(CALL("context_length", U(context_handle)), token >= 0 ? 2 : 0);
        assert_int_equal(CALL("context_trim", U(context_handle), 0), DW_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_host_abi_info),
        TEST(test_host_abi_last_error_keeps_the_error),
        TEST(test_host_abi_input),
        TEST(test_model_abi_open),
        TEST(test_model_abi_info),
        TEST(test_model_abi_tokenize),
        TEST(test_model_abi_detokenize),
        TEST(test_model_abi_chat_template),
        TEST(test_model_abi_context_limits),
        TEST(test_model_abi_forward),
        TEST(test_model_abi_forward_refuses),
        TEST(test_model_abi_hidden_states_and_embeddings),
        TEST(test_model_abi_embed_refuses),
        TEST(test_model_abi_context_shift),
        TEST(test_model_abi_context_fork),
        TEST(test_model_abi_forward_until_full),
        TEST(test_model_abi_cancel),
        TEST(test_model_abi_model_closed_under_context),
        TEST(test_model_abi_sampler),
        TEST(test_model_abi_sampler_refuses),
        TEST(test_model_abi_sampler_extensions),
        TEST(test_model_abi_forward_sample),
        TEST(test_model_abi_forward_sample_refuses),
        TEST(test_model_abi_forward_sample_without_a_choice),
        TEST(test_model_abi_forward_sample_of_other_models),
        TEST(test_model_abi_handles_are_bounded),
        TEST(test_model_abi_survives_failed_allocations),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
