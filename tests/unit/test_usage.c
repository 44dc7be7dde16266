/* What uses the device, as dw_engine_get_stats tells it: exact, and nothing once all is gone. And a
 * guest whose memory is copied to the device and back, from end to end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driftwood.h"
#include "inference/score.h"
#include "support.h"
#include "tiny_model.h"

#define GUEST DW_TEST_GUESTS_DIR "/doctor_chain.wasm"
#define MODEL "usage.gguf"
#define GEMM_BYTES (128u * 128u * 4u) /* doctor_chain's matrices */

static dw_engine *open_engine(bool stage_memory)
{
    const char *device = getenv("DW_TEST_DEVICE");
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = device != NULL ? device : "CPU",
                                 .threads = 1,
                                 .stage_memory = stage_memory};
    dw_engine *engine = NULL;
    dw_error error = {0};
    if (dw_engine_create(&engine, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return engine;
}

static void check_nothing_used(dw_engine *engine)
{
    dw_engine_stats usage = {.struct_bytes = sizeof usage};
    dw_kv_stats ranges = {.struct_bytes = sizeof ranges};
    dw_engine_get_stats(engine, &usage);
    (void)dw_engine_get_kv_stats(engine, &ranges);
    assert_int_equal(usage.models, 0);
    assert_int_equal(usage.weights_bytes, 0);
    assert_int_equal(usage.weights_mapped_bytes, 0);
    assert_int_equal(usage.contexts, 0);
    assert_int_equal(usage.kv_bytes, ranges.ready_bytes); /* on CUDA, for the next context */
    assert_int_equal(usage.kv_host_bytes, 0);
    assert_int_equal(usage.work_bytes, 0);
    assert_int_equal(usage.view_bytes, 0);
    assert_int_equal(usage.registered_bytes, 0);
}

static void test_usage_counts_models_and_contexts(void **state)
{
    (void)state;
    tiny_options tiny = tiny_defaults();
    dw_engine *engine = open_engine(false);
    dw_model *models[2] = {NULL};
    dw_scorer *scorer = NULL;
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_engine_stats usage = {.struct_bytes = sizeof usage};
    dw_error error = {0};
    int32_t tokens[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const float *logits;
    tiny_model_write(MODEL, &tiny);
    check_nothing_used(engine);
    for (int i = 0; i < 2; i++) {
        if (dw_model_open(&models[i], engine, MODEL, &error) != DW_OK) {
            fail_msg("%s", error.message);
        }
    }
    dw_model_get_info(models[0], &info);
    dw_engine_get_stats(engine, &usage);
    assert_int_equal(usage.models, 2);
    assert_true(usage.memory_bytes > 0);
    if (info.weights_mapped) {
        assert_int_equal(usage.weights_mapped_bytes, 2 * info.weights_bytes);
        assert_int_equal(usage.weights_bytes, 0);
    } else { /* each tensor begins at a multiple, and may have padding behind it */
        assert_true(usage.weights_bytes >= 2 * info.weights_bytes);
        assert_int_equal(usage.weights_mapped_bytes, 0);
    }
    assert_int_equal(usage.contexts, 0);

    assert_int_equal(dw_scorer_create(&scorer, models[0], 32, 8, DW_KV_F16, &error), DW_OK);
    assert_int_equal(dw_scorer_append(scorer, tokens, 8, &logits, &error), DW_OK);
    dw_engine_get_stats(engine, &usage);
    assert_int_equal(usage.contexts, 1);
    assert_true(usage.kv_bytes + usage.kv_host_bytes >= 8 * info.kv_bytes_per_token);
    assert_true(usage.kv_bytes == 0 || usage.kv_host_bytes == 0);
    assert_true(usage.work_bytes > 0);

    dw_scorer_destroy(scorer);
    dw_model_unref(models[0]);
    dw_model_unref(models[1]);
    check_nothing_used(engine);
    dw_engine_destroy(engine);
    (void)unlink(MODEL);
}

static void call(dw_instance *guest, const char *name, int32_t wanted)
{
    int32_t value = -1;
    dw_error error = {0};
    if (dw_instance_call(guest, name, &value, &error) != DW_OK) {
        fail_msg("%s: %s", name, error.message);
    }
    assert_int_equal(value, wanted);
}

static void test_guest_with_staged_memory_computes_the_same(void **state)
{
    (void)state;
    dw_engine *engine = open_engine(true);
    dw_module *module = NULL;
    dw_instance *guest = NULL;
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_engine_stats usage = {.struct_bytes = sizeof usage};
    dw_error error = {0};
    if (dw_module_open(&module, engine, GUEST, &error) != DW_OK ||
        dw_instance_create(&guest, module, NULL, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    assert_null(dw_instance_staging(guest)); /* no view yet */
    call(guest, "chain_prepare", 0);
    call(guest, "chain_poison", 0);
    call(guest, "chain_run", 0);
    call(guest, "chain_wrong", 0);
    dw_instance_get_stats(guest, &stats);
    assert_int_equal(stats.device_staged_bytes, 3 * GEMM_BYTES);
    assert_string_equal(dw_instance_staging(guest), "it was asked for");
    dw_engine_get_stats(engine, &usage);
    assert_int_equal(usage.staged_bytes, 3 * GEMM_BYTES);
    assert_int_equal(usage.view_bytes, dw_instance_memory_bytes(guest));

    call(guest, "chain_grow", 0); /* another copy, as large as the memory is now */
    call(guest, "chain_poison", 0);
    call(guest, "chain_run", 0);
    call(guest, "chain_wrong", 0);
    dw_engine_get_stats(engine, &usage);
    assert_int_equal(usage.staged_bytes, 6 * GEMM_BYTES);
    assert_int_equal(usage.view_bytes, dw_instance_memory_bytes(guest));
    dw_instance_destroy(guest);
    dw_module_unref(module);
    check_nothing_used(engine);
    dw_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_counts_models_and_contexts),
        cmocka_unit_test(test_guest_with_staged_memory_computes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
