/* A guest's time ends it, whatever it is in: each act of tests/guest/hostile.c in one host call
 * that takes far longer than the bound which is asserted. That is wide, since no test asserts a
 * time: it tells a call that was left from one that was not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "support.h"
#include "tiny_model.h"
#include "wasm/guest_instance.h"

#define MS UINT64_C(1000000)
#define TIMEOUT_MS 300
/* What the acts take without an end is over this many times as long, on any machine. */
#define BOUND_NS (5000 * MS)
#define WENT_ON 9

static dw_engine *engine;
static dw_module *module;
static dw_model *model;

/* A small model's vocabulary, a larger one's matrices: a long prompt takes tens of seconds. */
static dw_model *make_model(void)
{
    char path[] = "/tmp/dw-deadline-XXXXXX";
    dw_model *made = NULL;
    dw_error err;
    tiny_options options = tiny_defaults();
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    options.matrix_type = GGML_TYPE_Q8_0;
    options.layer_count = 8;
    options.embedding_length = 512;
    options.head_count = 8;
    options.kv_head_count = 2;
    options.head_dim = 64;
    options.ff_length = 2048;
    options.context_length = 32768;
    options.tokenizer = true;
    tiny_model_write(path, &options);
    if (dw_model_open(&made, engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    (void)unlink(path);
    return made;
}

static int set_up(void **state)
{
    (void)state;
    dw_error err;
    wasm_signals_restore();
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    if (dw_engine_create(&engine, &options, &err) != DW_OK ||
        dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/hostile.wasm", &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    model = make_model();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dw_model_unref(model);
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return 0;
}

static dw_instance *start(const char *act, const char *n, const dw_instance_options *with)
{
    const char *args[] = {"hostile", act, n};
    dw_instance_options options = {.struct_bytes = sizeof options};
    options = with != NULL ? *with : options;
    options.args = args;
    options.arg_count = 3;
    options.models = &model;
    options.model_count = 1;
    dw_instance *instance = NULL;
    dw_error err;
    wasm_signals_restore();
    if (dw_instance_create(&instance, module, &options, &err) != DW_OK) {
        fail_msg("%s: %s", act, err.message);
    }
    return instance;
}

/* Run it for its time, and look that it ended for that. */
static void ends_in_time(const char *act, const char *n)
{
    const dw_instance_options options = {.struct_bytes = sizeof options, .timeout_ms = TIMEOUT_MS};
    dw_instance *instance = start(act, n, &options);
    dw_error err = {.message = ""};
    int code = 0;
    uint64_t started = dw_os_clock_ns();
    dw_status status = dw_instance_run(instance, &code, &err);
    uint64_t took = dw_os_clock_ns() - started;
    print_message("%s %s: %.1f ms over\n", act, n, ((double)took / 1e6) - TIMEOUT_MS);
    if (status != DW_E_LIMIT || took > BOUND_NS) {
        fail_msg("%s: status %d, code %d, %llu ms: %s", act, (int)status, code,
                 (unsigned long long)(took / MS), err.message);
    }
    assert_string_equal(err.message, "the guest ran longer than its 300 ms");
    dw_instance_destroy(instance);
}

static void test_deadline_in_a_loop(void **state)
{
    (void)state;
    ends_in_time("spin", "0");
}

static void test_deadline_in_a_forward_step(void **state)
{
    (void)state;
    ends_in_time("forward", "16000");
}

static void test_deadline_in_an_embedding(void **state)
{
    (void)state;
    ends_in_time("embed", "16000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_in_a_loop),
        cmocka_unit_test(test_deadline_in_a_forward_step),
        cmocka_unit_test(test_deadline_in_an_embedding),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
