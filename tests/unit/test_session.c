/* dw_session and the text functions: what a program without a guest computes is what the engine
 * computes elsewhere, forks go on independently, and misuse is told. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>

#include "driftwood.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define MODEL "session.gguf"
#define PROMPT 9u

typedef struct fixture {
    dw_engine *engine;
    dw_model *model;
    uint32_t vocab_count;
} fixture;

static int set_up(void **state)
{
    static fixture f;
    const char *device = getenv("DW_TEST_DEVICE");
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 1};
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_error error = {.message = ""};
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    if (dw_engine_create(&f.engine, &options, &error) != DW_OK ||
        dw_model_open(&f.model, f.engine, MODEL, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    dw_model_get_info(f.model, &info);
    f.vocab_count = info.vocab_count;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    dw_model_unref(f->model);
    dw_engine_destroy(f->engine);
    return unlink(MODEL);
}

static dw_session *open_session(const fixture *f, uint32_t rows_max)
{
    dw_session *session = NULL;
    dw_error error = {.message = ""};
    dw_session_options options = {
        .struct_bytes = sizeof options, .tokens_max = 64, .rows_max = rows_max};
    dw_status status = dw_session_create(&session, f->model, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return session;
}

static const float *forward(dw_session *session, const int32_t *tokens, uint32_t count,
                            uint32_t rows)
{
    const float *logits = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_session_forward(session, tokens, count, rows, &logits, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return logits;
}

static void fill(int32_t *tokens, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)(3 + i * 7);
    }
}

static int32_t largest(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

static void test_session_steps_and_samples(void **state)
{
    const fixture *f = *state;
    int32_t tokens[PROMPT];
    int32_t token = -1;
    dw_error error;
    fill(tokens, PROMPT);
    dw_session *session = open_session(f, PROMPT);
    assert_int_equal(dw_session_vocab_count(session), f->vocab_count);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_E_STATE);
    const float *logits = forward(session, tokens, PROMPT, PROMPT);
    const float *last = logits + (size_t)(PROMPT - 1) * f->vocab_count;
    int32_t expected = largest(last, f->vocab_count);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_OK);
    assert_int_equal(token, expected);
    assert_int_equal(dw_session_length(session), PROMPT);
    assert_memory_equal(dw_session_tokens(session), tokens, sizeof tokens);

    /* Without rows there is nothing to choose from; a fork keeps what the parent had. */
    dw_session *child = NULL;
    assert_int_equal(dw_session_fork(&child, session, &error), DW_OK);
    assert_int_equal(dw_session_sample(child, &token, &error), DW_OK);
    assert_int_equal(token, expected);
    float *kept = malloc(f->vocab_count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, forward(session, &token, 1, 1), f->vocab_count * sizeof *kept);
    assert_memory_equal(forward(child, &token, 1, 1), kept, f->vocab_count * sizeof *kept);
    assert_int_equal(dw_session_trim(child, PROMPT, &error), DW_OK);
    assert_int_equal(dw_session_sample(child, &token, &error), DW_E_STATE);
    assert_int_equal(dw_session_length(session), PROMPT + 1);
    (void)forward(session, &token, 1, 0);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_E_STATE);
    free(kept);
    dw_session_destroy(child);
    dw_session_destroy(session);
}

static void test_session_samplers(void **state)
{
    const fixture *f = *state;
    int32_t tokens[PROMPT];
    int32_t drawn[2];
    int32_t token = -1;
    const int32_t banned[] = {5, 6};
    const float never[] = {-INFINITY, -INFINITY};
    dw_error error = {.message = ""};
    fill(tokens, PROMPT);
    dw_session *session = open_session(f, 1);
    const float *logits = forward(session, tokens, PROMPT, 1);
    dw_sampler_options options = {
        .struct_bytes = sizeof options, .temperature = 2, .seed = 7, .top_k = 50};
    for (int i = 0; i < 2; i++) { /* the same seed, the same draw */
        assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_OK);
        assert_int_equal(dw_session_sample(session, &drawn[i], &error), DW_OK);
    }
    assert_int_equal(drawn[0], drawn[1]);

    int32_t first = largest(logits, f->vocab_count);
    options = (dw_sampler_options){
        .struct_bytes = sizeof options, .bias_tokens = &first, .biases = never, .bias_count = 1};
    assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_OK);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_OK);
    assert_int_not_equal(token, first);

    options = (dw_sampler_options){
        .struct_bytes = sizeof options, .grammar = "root ::= \"a\"", .json_schema = "{}"};
    assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_E_ARG);
    options.json_schema = NULL;
    options.grammar = "root ::= (";
    assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_E_ARG);
    options = (dw_sampler_options){.struct_bytes = sizeof options, .temperature = NAN};
    assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_E_NUMERIC);
    options = (dw_sampler_options){
        .struct_bytes = sizeof options, .bias_tokens = banned, .biases = never, .bias_count = 2};
    assert_int_equal(dw_session_set_sampler(session, &options, &error), DW_OK);
    assert_int_equal(dw_session_set_sampler(session, NULL, &error), DW_OK);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_OK);
    assert_int_equal(token, first);
    dw_session_destroy(session);
}

static void test_session_tells_misuse(void **state)
{
    const fixture *f = *state;
    int32_t tokens[65] = {0};
    dw_error error;
    dw_session *session = NULL;
    dw_session_options options = {.struct_bytes = sizeof options, .kv_type = (dw_kv_type)9};
    assert_int_equal(dw_session_create(&session, f->model, &options, &error), DW_E_ARG);
    options = (dw_session_options){.struct_bytes = sizeof options, .tokens_max = 1u << 30};
    assert_int_equal(dw_session_create(&session, f->model, &options, &error), DW_E_RANGE);
    assert_null(session);
    session = open_session(f, 2);
    assert_int_equal(dw_session_forward(session, tokens, 65, 1, NULL, &error), DW_E_LIMIT);
    assert_int_equal(dw_session_forward(session, tokens, 4, 3, NULL, &error), DW_E_RANGE);
    assert_int_equal(dw_session_forward(session, tokens, 1, 2, NULL, &error), DW_E_RANGE);
    tokens[1] = (int32_t)f->vocab_count;
    assert_int_equal(dw_session_forward(session, tokens, 2, 1, NULL, &error), DW_E_RANGE);
    assert_int_equal(dw_session_length(session), 0);
    assert_int_equal(dw_session_trim(session, 1, &error), DW_E_RANGE);
    dw_session_destroy(session);
    dw_session_destroy(NULL);
}

static void test_session_text(void **state)
{
    const fixture *f = *state;
    dw_vocab_info info = {.struct_bytes = sizeof info};
    dw_error error = {.message = ""};
    int32_t items[16];
    char bytes[64];
    dw_token_room tokens = {.items = items, .capacity = 16};
    dw_text_room text = {.items = bytes, .capacity = sizeof bytes};
    assert_int_equal(dw_model_get_vocab_info(f->model, &info, &error), DW_OK);
    assert_int_equal(info.token_count, f->vocab_count);
    assert_int_equal(dw_model_tokenize(f->model, "abc", 3, 0, &tokens, &error), DW_OK);
    assert_true(tokens.count > 0);
    assert_int_equal(dw_model_detokenize(f->model, items, tokens.count, 0, &text, &error), DW_OK);
    assert_non_null(memmem(bytes, text.count, "abc", 3));
    size_t needed = tokens.count;
    tokens.capacity = 0;
    assert_int_equal(dw_model_tokenize(f->model, "abc", 3, 0, &tokens, &error), DW_E_SPACE);
    assert_int_equal(tokens.count, needed);
    assert_false(dw_model_is_end(f->model, -1));
    dw_chat_message message = {.role = "nobody", .content = "x"};
    assert_int_not_equal(dw_model_apply_template(f->model, &message, 1, true, &text, &error),
                         DW_OK);
}

static void test_session_perplexity(void **state)
{
    const fixture *f = *state;
    int32_t tokens[32];
    dw_error error = {.message = ""};
    dw_perplexity result = {.struct_bytes = sizeof result};
    dw_session_options options = {.struct_bytes = sizeof options, .tokens_max = 16};
    fill(tokens, 32);
    assert_int_equal(dw_model_perplexity(f->model, tokens, 32, &options, &result, &error), DW_OK);
    assert_int_equal(result.windows, 2);
    assert_true(result.value > 1);
    assert_int_equal(tokens[0], 3); /* not the caller's to lose */
    assert_int_equal(dw_model_perplexity(f->model, tokens, 15, &options, &result, &error),
                     DW_E_ARG);
    options.kv_type = (dw_kv_type)7;
    assert_int_equal(dw_model_perplexity(f->model, tokens, 32, &options, &result, &error),
                     DW_E_ARG);
    assert_non_null(strstr(error.message, "kv_type: 7"));
}

static void test_session_model_from_descriptor(void **state)
{
    const fixture *f = *state;
    int32_t tokens[PROMPT];
    dw_model *model = NULL;
    dw_session *session = NULL;
    dw_error error = {.message = ""};
    int fd = open(MODEL, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    dw_status status = dw_model_open_fd(&model, f->engine, fd, "given", NULL, &error);
    (void)close(fd);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    char names[2][DW_FINGERPRINT_BYTES];
    assert_int_equal(dw_model_fingerprint(model, names[0], &error), DW_OK);
    assert_int_equal(dw_model_fingerprint(f->model, names[1], &error), DW_OK);
    assert_string_equal(names[0], names[1]);
    fill(tokens, PROMPT);
    assert_int_equal(dw_session_create(&session, model, NULL, &error), DW_OK);
    dw_session *same = open_session(f, 1);
    assert_memory_equal(forward(session, tokens, PROMPT, 1), forward(same, tokens, PROMPT, 1),
                        f->vocab_count * sizeof(float));
    dw_vocab_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_model_get_vocab_info(model, &info, &error), DW_OK);
    dw_session_destroy(same);
    dw_session_destroy(session);
    dw_model_unref(model);
    assert_int_not_equal(dw_model_open_fd(&model, f->engine, -1, "given", NULL, &error), DW_OK);
    assert_non_null(strstr(error.message, "given"));
    assert_null(model);
}

/* ---- adapters ---- */

#define ADAPTER "session-adapter.gguf"

static void load_adapters(dw_model *model)
{
    static const char *const names[] = {"first", "second"};
    for (uint64_t i = 0; i < 2; i++) {
        dw_error error = {.message = ""};
        const tiny_adapter tiny = {.rank = 4, .seed = 3 + i, .alpha = 8, .type = GGML_TYPE_F32};
        const dw_adapter_options options = {.struct_bytes = sizeof options,
                                            .name = names[i],
                                            .path = ADAPTER,
                                            .scale = i == 0 ? 1.0F : 0.0F};
        tiny_adapter_write(ADAPTER, MODEL, &tiny);
        if (dw_model_add_adapter(model, &options, &error) != DW_OK) {
            fail_msg("%s", error.message);
        }
    }
    (void)unlink(ADAPTER);
}

/* What the session gives for a prompt; `choice` NULL: what it began with. */
static const float *adapted_row(dw_session *session, const dw_adapter_scale *choice, size_t count)
{
    static const int32_t prompt[] = {5, 9, 2};
    const float *row = NULL;
    dw_error error = {.message = ""};
    assert_int_equal(dw_session_trim(session, 0, &error), DW_OK);
    if (choice != NULL && dw_session_set_adapters(session, choice, count, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(dw_session_forward(session, prompt, 3, 1, &row, &error), DW_OK);
    return row;
}

/* The second alone is as a model that was loaded with it alone; the usual one as the first. */
static void test_session_chooses_adapters(void **state)
{
    fixture *f = *state;
    dw_error error = {.message = ""};
    dw_model *model = NULL;
    dw_session *session = NULL;
    dw_session *fork = NULL;
    dw_adapter_scale found[2] = {{9, 9}, {9, 9}};
    const dw_adapter_scale none = {0, 0.0F};
    const dw_adapter_scale both[] = {{1, 0.5F}, {0, 1.0F}};
    const size_t bytes = f->vocab_count * sizeof(float);
    float *usual = malloc(bytes);
    float *plain = malloc(bytes);
    assert_true(usual != NULL && plain != NULL);
    assert_int_equal(dw_model_open(&model, f->engine, MODEL, &error), DW_OK);
    load_adapters(model);
    assert_int_equal(dw_session_create(&session, model, NULL, &error), DW_OK);
    assert_int_equal(dw_session_adapters(session, found, 2), 1);
    assert_true(found[0].adapter == 0 && found[0].scale == 1.0F && found[1].adapter == 9);
    memcpy(usual, adapted_row(session, NULL, 0), bytes);
    memcpy(plain, adapted_row(session, &none, 1), bytes); /* a scale of 0: without it */
    assert_int_equal(dw_session_adapters(session, NULL, 0), 0);
    assert_memory_not_equal(usual, plain, bytes);
    assert_memory_equal(usual, adapted_row(session, &(dw_adapter_scale){0, 1.0F}, 1), bytes);
    assert_memory_not_equal(usual, adapted_row(session, &(dw_adapter_scale){1, 1.0F}, 1), bytes);
    assert_memory_not_equal(usual, adapted_row(session, both, 2), bytes);
    assert_int_equal(dw_session_fork(&fork, session, &error), DW_OK);
    assert_int_equal(dw_session_adapters(fork, found, 2), 2);
    assert_int_equal(dw_session_set_adapters(fork, both, 1, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "holds 3 tokens"));
    assert_int_equal(dw_session_trim(fork, 0, &error), DW_OK);
    assert_int_equal(dw_session_set_adapters(fork, &(dw_adapter_scale){2, 1.0F}, 1, &error),
                     DW_E_RANGE);
    assert_int_equal(dw_session_set_adapters(fork, &(dw_adapter_scale){0, NAN}, 1, &error),
                     DW_E_ARG);
    assert_int_equal(
        dw_session_set_adapters(fork, (dw_adapter_scale[]){{0, 1.0F}, {0, 2.0F}}, 2, &error),
        DW_E_ARG);
    assert_int_equal(dw_session_set_adapters(fork, both, 65, &error), DW_E_LIMIT);
    assert_int_equal(dw_session_adapters(fork, found, 2), 2); /* as it was */
    dw_session_destroy(fork);
    dw_session_destroy(session);
    dw_model_unref(model);
    free(usual);
    free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_steps_and_samples),
        cmocka_unit_test(test_session_samplers),
        cmocka_unit_test(test_session_tells_misuse),
        cmocka_unit_test(test_session_chooses_adapters),
        cmocka_unit_test(test_session_text),
        cmocka_unit_test(test_session_perplexity),
        cmocka_unit_test(test_session_model_from_descriptor),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
