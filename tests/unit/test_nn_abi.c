/* wasi-nn: what its functions answer, errno by errno; texts equal to those that the same model and
 * the same choices give through our own functions; forks and snapshots of what is under way. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "abi_fixture.h"
#include "support.h"

#define AT_NAME AT_WORDS
#define AT_SETTINGS (AT_WORDS + 1024u)
#define AT_OUT AT_INFO
#define AT_TENSOR (AT_INFO + 64u)
#define AT_BUFFER AT_LOGITS
#define ROOM 65536u

enum { NN_ARGUMENT = 1, NN_ENCODING = 2, NN_UNSUPPORTED = 6, NN_TOO_LARGE = 7 };
enum { NN_END = 100, NN_FULL = 101, NN_PROMPT_TOO_LONG = 102, NN_NO_MODEL = 103 };

static uint32_t out(void)
{
    return *(const uint32_t *)(const void *)(abi.memory + AT_OUT);
}

static int32_t load_with(const char *name, const char *settings)
{
    memcpy(abi.memory + AT_NAME, name, strlen(name));
    memcpy(abi.memory + AT_SETTINGS, settings, strlen(settings));
    return CALL("load_by_name_with_config", AT_NAME, (uint32_t)strlen(name), AT_SETTINGS,
                (uint32_t)strlen(settings), AT_OUT);
}

/* An execution of "default" with these settings. */
static uint32_t begun(const char *settings)
{
    assert_int_equal(load_with("default", settings), 0);
    assert_int_equal(CALL("init_execution_context", out(), AT_OUT), 0);
    return out();
}

static int32_t give(uint32_t execution, uint32_t index, const char *text)
{
    const uint32_t tensor[5] = {0, 1, 3, AT_TEXT, (uint32_t)strlen(text)};
    memcpy(abi.memory + AT_TEXT, text, strlen(text));
    memcpy(abi.memory + AT_TENSOR, tensor, sizeof tensor);
    return CALL("set_input", execution, index, AT_TENSOR);
}

/* The text so far, for free(). */
static char *output_of(const char *function, uint32_t execution)
{
    assert_int_equal(CALL(function, execution, 0, AT_BUFFER, ROOM, AT_OUT), 0);
    return strndup((const char *)abi.memory + AT_BUFFER, out());
}

static json_int_t counted(uint32_t execution, const char *key)
{
    assert_int_equal(CALL("get_output", execution, 1, AT_BUFFER, ROOM, AT_OUT), 0);
    json_t *counts = json_loadb((const char *)abi.memory + AT_BUFFER, out(), 0, NULL);
    assert_non_null(json_object_get(counts, "llama_build_number"));
    assert_non_null(json_object_get(counts, "llama_commit"));
    json_int_t count = json_integer_value(json_object_get(counts, key));
    json_decref(counts);
    return count;
}

/* What our own functions make of it: greedy, special tokens shown. */
static char *own_text(const char *prompt, uint32_t count)
{
    memcpy(abi.memory + AT_TEXT, prompt, strlen(prompt));
    int32_t *tokens = abi_tokens();
    int32_t prompt_count = CALL("tokenize", U(abi.model_handle), AT_TEXT, (uint32_t)strlen(prompt),
                                AT_TOKENS, 256, DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE);
    int32_t sampler = CALL("sampler_create", U(abi.model_handle), 0);
    assert_true(prompt_count > 0 && sampler > 0);
    uint32_t given = (uint32_t)prompt_count;
    for (uint32_t i = 0; i < count; i++) {
        int32_t token = CALL("forward_sample", U(abi.context_handle), AT_TOKENS, given, U(sampler));
        assert_true(token >= 0);
        tokens[0] = token;
        tokens[256 + i] = token;
        given = 1;
    }
    int32_t bytes = CALL("detokenize", U(abi.model_handle), AT_TOKENS + 1024, count, AT_BUFFER,
                         ROOM, DW_DETOKENIZE_SPECIAL);
    assert_true(bytes > 0);
    assert_int_equal(CALL("sampler_close", U(sampler)), 0);
    return strndup((const char *)abi.memory + AT_BUFFER, (size_t)bytes);
}

static void test_nn_texts(void **state)
{
    (void)state;
    char *expected = own_text("abc de", 8);
    uint32_t execution = begun("{\"temp\":0,\"n-predict\":8,\"ignore-eos\":false}");
    assert_int_equal(give(execution, 0, "abc de"), 0);
    assert_int_equal(counted(execution, "output_tokens"), 0);
    assert_true(counted(execution, "input_tokens") > 0);
    for (int round = 0; round < 2; round++) { /* it clears what was there */
        assert_int_equal(CALL("compute", execution), 0);
        char *text = output_of("get_output", execution);
        assert_string_equal(text, expected);
        free(text);
        assert_int_equal(counted(execution, "output_tokens"), 8);
    }
    char joined[ROOM] = "";
    assert_int_equal(give(execution, 0, "abc de"), 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(CALL("compute_single", execution), 0);
        char *text = output_of("get_output_single", execution);
        strncat(joined, text, sizeof joined - strlen(joined) - 1);
        free(text);
    }
    assert_string_equal(joined, expected);
    assert_int_equal(CALL("fini_single", execution), 0);
    assert_int_equal(counted(execution, "output_tokens"), 0);
    free(expected);
}

/* Two executions of a graph in turn share its KV cache, and neither notices. */
static void test_nn_executions_in_turn(void **state)
{
    (void)state;
    uint32_t one = begun("{\"temp\":0,\"n-predict\":6}");
    uint32_t other = begun("{\"temp\":0,\"n-predict\":6}");
    char *expected[2] = {NULL, NULL};
    const uint32_t executions[2] = {one, other};
    const char *const prompts[2] = {"abc", "xyz w"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(give(executions[i], 0, prompts[i]), 0);
        assert_int_equal(CALL("compute", executions[i]), 0);
        expected[i] = output_of("get_output", executions[i]);
        assert_int_equal(give(executions[i], 0, prompts[i]), 0);
    }
    for (int token = 0; token < 6; token++) {
        assert_int_equal(CALL("compute_single", one), 0);
        assert_int_equal(CALL("compute_single", other), 0);
    }
    for (int i = 0; i < 2; i++) {
        char *text = output_of("get_output", executions[i]);
        assert_string_equal(text, expected[i]);
        free(text);
        free(expected[i]);
    }
}

static void test_nn_ends(void **state)
{
    (void)state;
    uint32_t execution = begun("{\"temp\":0,\"ignore-eos\":true}");
    char *all = NULL;
    assert_int_equal(give(execution, 0, "abc"), 0);
    assert_int_equal(CALL("compute", execution), NN_FULL);
    assert_true(counted(execution, "output_tokens") > CONTEXT_TOKENS_MAX / 2);
    all = output_of("get_output", execution);
    assert_true(strlen(all) > 0);
    assert_int_equal(give(execution, 1, "{\"n-predict\":0}"), 0);
    assert_int_equal(CALL("compute", execution), 0);
    assert_int_equal(counted(execution, "output_tokens"), 0);
    const char reverse[] = {all[strlen(all) / 2], all[strlen(all) / 2 + 1], '\0'};
    json_t *settings = json_pack("{s:i, s:s}", "n-predict", -1, "reverse-prompt", reverse);
    char *text = json_dumps(settings, 0);
    if (text != NULL) { /* where it falls between characters there is no such text */
        assert_int_equal(give(execution, 1, text), 0);
        assert_int_equal(CALL("compute", execution), 0);
        char *cut = output_of("get_output", execution);
        assert_non_null(strstr(cut, reverse));
        assert_true(strlen(cut) < strlen(all));
        free(cut);
    }
    free(text);
    json_decref(settings);
    free(all);
    char prompt[CONTEXT_TOKENS_MAX * 8];
    memset(prompt, 'q', sizeof prompt);
    prompt[sizeof prompt - 1] = '\0';
    assert_int_equal(give(execution, 0, prompt), 0);
    assert_int_equal(CALL("compute", execution), NN_PROMPT_TOO_LONG);
    assert_int_equal(CALL("compute_single", execution), NN_PROMPT_TOO_LONG);
    abi_expect_message("less 4");
}

static void test_nn_embeddings(void **state)
{
    (void)state;
    uint32_t execution = begun("{\"embedding\":true}");
    assert_int_equal(give(execution, 0, "abc de"), 0);
    assert_int_equal(CALL("compute", execution), 0);
    char *text = output_of("get_output", execution);
    json_t *answer = json_loads(text, 0, NULL);
    const json_t *row = json_object_get(answer, "embedding");
    double squares = 0;
    assert_int_equal(json_integer_value(json_object_get(answer, "n_embedding")),
                     json_array_size(row));
    for (size_t i = 0; i < json_array_size(row); i++) {
        double value = json_number_value(json_array_get(row, i));
        squares += value * value;
    }
    assert_true(squares > 0.999 && squares < 1.001);
    json_decref(answer);
    free(text);
}

static void test_nn_graphs(void **state)
{
    (void)state;
    assert_int_equal(load_with("given", "{}"), 0);
    uint32_t graph = out();
    assert_int_equal(CALL("load_by_name", AT_NAME, 5, AT_OUT), 0);
    assert_int_equal(out(), graph);                              /* the same until it is unloaded */
    for (int round = 0; round < 2 * CONTEXTS_MAX + 3; round++) { /* nothing stays behind */
        assert_int_equal(CALL("init_execution_context", graph, AT_OUT), 0);
        uint32_t execution = out();
        assert_int_equal(give(execution, 1, "{\"n-predict\":2,\"temp\":0}"), 0);
        assert_int_equal(give(execution, 0, "abc"), 0);
        assert_int_equal(CALL("compute", execution), 0);
        assert_int_equal(CALL("unload", graph), 0);
        assert_int_equal(CALL("compute", execution), NN_ARGUMENT);
        assert_int_equal(CALL("unload", graph), NN_ARGUMENT);
        assert_int_equal(load_with("given", "{}"), 0);
        graph = out();
    }
    assert_int_equal(CALL("init_execution_context", graph, AT_OUT), 0);
    assert_int_equal(CALL("finalize_execution_context", out()), 0);
    assert_int_equal(CALL("finalize_execution_context", out()), NN_ARGUMENT);
}

static void test_nn_refuses_graphs(void **state)
{
    static const struct {
        const char *settings;
        int32_t answer;
        const char *words;
    } cases[] = {
        {"{\"temp\":\"warm\"}", NN_ARGUMENT, "temp: a number"},
        {"{\"temp\":-1}", NN_ARGUMENT, "from 0 to 100"},
        {"{\"top-k\":1.5}", NN_ARGUMENT, "top-k: a whole number"},
        {"{\"top-k\":4294967296}", NN_ARGUMENT, "top-k: 4.29497e+09"},
        {"{\"stream-stdout\":1}", NN_ARGUMENT, "true or false"},
        {"{\"grammar\":7}", NN_ARGUMENT, "grammar: a text"},
        {"{\"grammar\":\"root ::= \\\"a\\\"\",\"json-schema\":\"{}\"}", NN_ARGUMENT, "one of"},
        {"{\"mmproj\":\"clip.gguf\"}", NN_UNSUPPORTED, "mmproj: images and sound"},
        {"{\"tts\":true}", NN_UNSUPPORTED, "tts"},
        {"{\"mirostat\":1}", NN_UNSUPPORTED, "mirostat"},
        {"{", NN_ARGUMENT, "line 1"},
        {"[]", NN_ARGUMENT, "no JSON object"},
        {"", 0, NULL},
        {"{\"mmproj\":\"\",\"llama3\":true,\"n-gpu-layers\":35,\"temp\":null}", 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(load_with("default", cases[i].settings), cases[i].answer);
        if (cases[i].words != NULL) {
            abi_expect_message(cases[i].words);
        }
    }
    assert_int_equal(load_with("nobody", "{}"), NN_NO_MODEL);
    assert_int_equal(CALL("load_by_name", AT_NAME, 6, AT_OUT), NN_NO_MODEL);
    assert_int_equal(CALL("load_by_name", AT_NAME, 100000, AT_OUT), NN_NO_MODEL);
    assert_int_equal(CALL("load_by_name", MEMORY_BYTES - 1, 2, AT_OUT), NN_ARGUMENT);
    memcpy(abi.memory + AT_NAME, "given", 5);
    assert_int_equal(CALL("load_by_name", AT_NAME, 5, MEMORY_BYTES - 3), NN_ARGUMENT);
    assert_int_equal(CALL("load_by_name", AT_NAME, 5, AT_OUT + 1), NN_ARGUMENT);
    assert_int_equal(CALL("load", AT_NAME, 1, 6, 3, AT_OUT), NN_UNSUPPORTED);
    abi_expect_message("--model");
    assert_int_equal(CALL("load", AT_NAME, 1, 9, 3, AT_OUT), NN_ENCODING);
}

static void test_nn_refuses_inputs(void **state)
{
    (void)state;
    uint32_t execution = begun("{\"temp\":0,\"n-predict\":2}");
    uint32_t tensor[5] = {0, 1, 1, AT_TEXT, 3};
    assert_int_equal(CALL("compute", execution), NN_ARGUMENT);
    abi_expect_message("no prompt");
    assert_int_equal(CALL("compute_single", execution), NN_ARGUMENT);
    memcpy(abi.memory + AT_TENSOR, tensor, sizeof tensor);
    assert_int_equal(CALL("set_input", execution, 0, AT_TENSOR), NN_ARGUMENT);
    abi_expect_message("type 1");
    tensor[2] = 3;
    tensor[3] = MEMORY_BYTES - 2;
    memcpy(abi.memory + AT_TENSOR, tensor, sizeof tensor);
    assert_int_equal(CALL("set_input", execution, 0, AT_TENSOR), NN_ARGUMENT);
    assert_int_equal(CALL("set_input", execution, 0, MEMORY_BYTES - 16), NN_ARGUMENT);
    assert_int_equal(CALL("set_input", execution, 2, AT_TENSOR), NN_ARGUMENT);
    assert_int_equal(CALL("set_input", 0, 0, AT_TENSOR), NN_ARGUMENT);
    assert_int_equal(CALL("set_input", U(abi.model_handle), 0, AT_TENSOR), NN_ARGUMENT);
    assert_int_equal(give(execution, 1, "{\"grammar\":\"root ::= undefined\"}"), 0);
    assert_int_equal(give(execution, 0, "abc"), 0);
    assert_int_equal(CALL("compute", execution), NN_ARGUMENT);
    assert_int_equal(give(execution, 1, "{\"grammar\":\"\"}"), 0);
    assert_int_equal(CALL("compute", execution), 0);
    char *text = output_of("get_output", execution);
    uint32_t need = (uint32_t)strlen(text);
    free(text);
    assert_int_equal(CALL("get_output", execution, 0, AT_BUFFER, need - 1, AT_OUT), NN_TOO_LARGE);
    assert_int_equal(out(), need);
    assert_int_equal(CALL("get_output", execution, 0, AT_BUFFER, need, AT_OUT), 0);
    assert_int_equal(CALL("get_output", execution, 2, AT_BUFFER, ROOM, AT_OUT), NN_ARGUMENT);
    assert_int_equal(CALL("get_output", execution, 0, MEMORY_BYTES - 1, 2, AT_OUT), NN_ARGUMENT);
    assert_int_equal(CALL("get_output", execution, 0, AT_BUFFER, ROOM, AT_BUFFER + 8), NN_ARGUMENT);
}

static void test_nn_schemas(void **state)
{
    (void)state;
    uint32_t execution = begun("{\"temp\":0,\"json-schema\":\"{\\\"const\\\": 17}\"}");
    assert_int_equal(give(execution, 0, "abc"), 0);
    int32_t answer = CALL("compute", execution);
    assert_true(answer == 0 || answer == NN_FULL);
    char *text = output_of("get_output", execution);
    assert_true(strncmp(text, "17", 2) == 0);
    free(text);
}

#define NN_TEST(name) cmocka_unit_test_setup_teardown(name, abi_set_up, abi_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NN_TEST(test_nn_texts),          NN_TEST(test_nn_executions_in_turn),
        NN_TEST(test_nn_ends),           NN_TEST(test_nn_embeddings),
        NN_TEST(test_nn_graphs),         NN_TEST(test_nn_refuses_graphs),
        NN_TEST(test_nn_refuses_inputs), NN_TEST(test_nn_schemas),
    };
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
