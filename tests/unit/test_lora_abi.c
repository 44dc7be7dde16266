/* Adapters as guests see them: names, what a context gets, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi_fixture.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define AT_LORAS AT_INFO
#define AT_SCALES (AT_INFO + 1024u)

static uint32_t *loras(void)
{
    return (uint32_t *)(void *)(abi.memory + AT_LORAS);
}

static float *scales(void)
{
    return (float *)(void *)(abi.memory + AT_SCALES);
}

static void add(const char *model, const char *name, const tiny_adapter *adapter, float scale)
{
    char path[] = "/tmp/dw-lora-XXXXXX";
    dw_error error;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_adapter_write(path, model, adapter);
    const dw_adapter_options options = {
        .struct_bytes = sizeof options, .name = name, .path = path, .scale = scale};
    if (dw_model_add_adapter(abi.model, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    (void)unlink(path);
}

static int open_all(void **state)
{
    const int failed = abi_fixture_open(state);
    char path[] = "/tmp/dw-lora-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_options options = tiny_defaults(); /* as the fixture's */
    tiny_model_write(path, &options);
    add(path, "pirate", &(tiny_adapter){.rank = 4, .seed = 1, .alpha = 8, .type = GGML_TYPE_F32},
        1.0F);
    add(path, "poet", &(tiny_adapter){.rank = 4, .seed = 2, .alpha = 8, .type = GGML_TYPE_F32},
        0.0F);
    (void)unlink(path);
    return failed;
}

static void test_lora_abi_names(void **state)
{
    (void)state;
    const uint32_t model = U(abi.model_handle);
    assert_int_equal(CALL("lora_count", model), 2);
    assert_int_equal(CALL("lora_name", model, 0, AT_TEXT, 6), 6);
    assert_memory_equal(abi.memory + AT_TEXT, "pirate", 6);
    assert_int_equal(CALL("lora_name", model, 1, AT_TEXT, 200), 4);
    assert_memory_equal(abi.memory + AT_TEXT, "poet", 4);
    assert_int_equal(CALL("lora_name", model, 0, AT_TEXT, 5), DW_E_SPACE);
    assert_int_equal(CALL("lora_name", model, 2, AT_TEXT, 6), DW_E_RANGE);
    abi_expect_message("2 adapters");
    assert_int_equal(CALL("lora_name", model, UINT32_MAX, AT_TEXT, 6), DW_E_RANGE);
    assert_int_equal(CALL("lora_name", model, 0, MEMORY_BYTES - 1, 6), DW_E_RANGE);
    assert_int_equal(CALL("lora_count", U(abi.context_handle)), DW_E_HANDLE);
    assert_int_equal(CALL("lora_name", 77, 0, AT_TEXT, 6), DW_E_HANDLE);
}

/* The logits of a first step of a context with these. */
static void step(uint32_t context, uint32_t count, float *row)
{
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, count), DW_OK);
    assert_int_equal(CALL("forward", context, AT_TOKENS, 4, AT_LOGITS, 1), 4);
    memcpy(row, abi_logits(), abi.vocab_count * sizeof *row);
    assert_int_equal(CALL("context_trim", context, 0), DW_OK);
}

static bool same(const float *left, const float *right)
{
    return memcmp(left, right, abi.vocab_count * sizeof *left) == 0;
}

static void test_lora_abi_changes_steps(void **state)
{
    (void)state;
    const uint32_t context = U(abi.context_handle);
    float *rows[5];
    for (size_t i = 0; i < 5; i++) {
        rows[i] = malloc(abi.vocab_count * sizeof **rows);
        assert_non_null(rows[i]);
    }
    assert_int_equal(CALL("context_loras", context, AT_LORAS, AT_SCALES, 2), 1);
    assert_true(loras()[0] == 0 && scales()[0] == 1.0F);
    step(context, 1, rows[0]);
    step(context, 0, rows[1]);
    scales()[0] = 0.0F;
    step(context, 1, rows[2]);
    loras()[0] = 1;
    scales()[0] = 0.5F;
    step(context, 1, rows[3]);
    loras()[1] = 0;
    scales()[1] = 1.0F;
    step(context, 2, rows[4]);
    assert_true(same(rows[1], rows[2]));
    assert_false(same(rows[0], rows[1]) || same(rows[0], rows[3]) || same(rows[1], rows[3]) ||
                 same(rows[4], rows[0]) || same(rows[4], rows[3]));
    const int32_t child = CALL("context_fork", context);
    loras()[0] = loras()[1] = 9;
    assert_int_equal(CALL("context_loras", U(child), AT_LORAS, AT_SCALES, 64), 2);
    assert_true(loras()[0] + loras()[1] == 1 && scales()[loras()[1] == 1] == 0.5F);
    assert_int_equal(CALL("context_loras", U(child), AT_LORAS, AT_SCALES, 1), DW_E_SPACE);
    assert_int_equal(CALL("context_close", U(child)), DW_OK);
    for (size_t i = 0; i < 5; i++) {
        free(rows[i]);
    }
}

static void test_lora_abi_refuses(void **state)
{
    (void)state;
    const uint32_t context = U(abi.context_handle);
    const float wrong[] = {NAN, INFINITY, -1000.5F};
    loras()[0] = 2;
    scales()[0] = 1.0F;
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, 1), DW_E_RANGE);
    abi_expect_message("the model has 2");
    loras()[0] = loras()[1] = 1;
    scales()[1] = 2.0F;
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, 2), DW_E_ARG);
    abi_expect_message("'poet' stands twice");
    for (size_t i = 0; i < 3; i++) {
        scales()[0] = wrong[i];
        assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, 1), DW_E_ARG);
        abi_expect_message("'poet'");
    }
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, 65), DW_E_LIMIT);
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS + 1, AT_SCALES, 1), DW_E_ALIGN);
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES + 2, 1), DW_E_ALIGN);
    assert_int_equal(CALL("context_set_loras", context, MEMORY_BYTES, AT_SCALES, 1), DW_E_RANGE);
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, MEMORY_BYTES, 1), DW_E_RANGE);
    assert_int_equal(CALL("context_set_loras", U(abi.model_handle), AT_LORAS, AT_SCALES, 0),
                     DW_E_HANDLE);
    assert_int_equal(CALL("context_loras", context, AT_LORAS, AT_SCALES, UINT32_MAX), DW_E_RANGE);
    assert_int_equal(CALL("context_loras", context, AT_LORAS, AT_SCALES, 0), DW_E_SPACE);
    assert_int_equal(CALL("context_loras", context, AT_LORAS, AT_SCALES, 1), 1);
    assert_true(loras()[0] == 0); /* the usual one, as it was */
    assert_int_equal(CALL("forward", context, AT_TOKENS, 3, 0, 0), 3);
    assert_int_equal(CALL("context_set_loras", context, AT_LORAS, AT_SCALES, 0), DW_E_STATE);
    abi_expect_message("holds 3 tokens");
}

/* Scales are numbers: of the kinds of steps that they make, a guest's contexts may have so many. */
static void test_lora_abi_limits_sets(void **state)
{
    (void)state;
    const uint32_t first = U(abi.context_handle);
    const int32_t made = CALL("context_create", U(abi.model_handle), 0);
    const uint32_t second = U(made);
    assert_true(made > 0);
    assert_int_equal(dw_instance_limits(abi.instance)->adapter_sets, ADAPTER_SETS_MAX);
    loras()[0] = 1;
    scales()[0] = 1.25F;
    assert_int_equal(CALL("context_set_loras", first, AT_LORAS, AT_SCALES, 1), DW_E_LIMIT);
    abi_expect_message("contexts have 1 sets");
    abi_expect_message("limit 1 (adapter_sets)");
    assert_int_equal(CALL("context_loras", first, AT_LORAS, AT_SCALES, 1), 1);
    assert_int_equal(loras()[0], 0); /* as it was */
    assert_int_equal(CALL("context_set_loras", first, AT_LORAS, AT_SCALES, 0), DW_OK);
    loras()[0] = 1;
    scales()[0] = 1.25F; /* none does not count, and the one that goes does not */
    assert_int_equal(CALL("context_set_loras", second, AT_LORAS, AT_SCALES, 1), DW_OK);
    assert_int_equal(CALL("context_set_loras", first, AT_LORAS, AT_SCALES, 1), DW_OK);
    scales()[0] = 1.5F;
    assert_int_equal(CALL("context_set_loras", second, AT_LORAS, AT_SCALES, 1), DW_E_LIMIT);
    assert_int_equal(CALL("context_close", first), DW_OK);
    assert_int_equal(CALL("context_set_loras", second, AT_LORAS, AT_SCALES, 1), DW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lora_abi_names, abi_set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_lora_abi_changes_steps, abi_set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_lora_abi_refuses, abi_set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_lora_abi_limits_sets, abi_set_up, abi_tear_down),
    };
    return cmocka_run_group_tests(tests, open_all, abi_fixture_close);
}
