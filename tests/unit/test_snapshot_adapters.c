/* Actors whose contexts have LoRA adapters: forked, frozen and thawed where these are, under
 * whatever names, and refused where they are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "inference/context.h"
#include "support.h"
#include "tiny_adapter.h"
#include "wasm/guest_instance.h"
#include "wasm/handle_kinds.h"

static char folder[] = "/tmp/dw-snapshot-XXXXXX";
static char snapshot[64];
static char first[64];
static char second[64];
static actor_fixture *fixture;

static dw_model *open_model(const char *name, const char *adapter, float scale)
{
    dw_model *model = NULL;
    dw_error error = {.message = ""};
    const dw_adapter_options options = {
        .struct_bytes = sizeof options, .name = name, .path = adapter, .scale = scale};
    assert_int_equal(dw_model_open(&model, fixture->engine, fixture->path, &error), DW_OK);
    if (adapter != NULL && dw_model_add_adapter(model, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return model;
}

static dw_actor *spawn(dw_model *model)
{
    actor_answer answer;
    actor_fixture own = *fixture;
    own.model = model;
    dw_actor *actor = actor_spawned(&own, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n70"), DW_OK);
    return actor;
}

static void freeze(dw_actor *actor)
{
    dw_error error = {.message = ""};
    const dw_freeze_options options = {.struct_bytes = sizeof options};
    if (dw_actor_freeze(actor, snapshot, &options, NULL, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

static dw_status try_thaw(dw_actor **actor, dw_model *model, const dw_limits *limits,
                          dw_error *error)
{
    const char *const paths[] = {snapshot};
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .paths = paths,
                                     .path_count = 1,
                                     .models = &model,
                                     .model_count = 1,
                                     .limits = limits};
    const dw_status status = dw_actor_thaw(actor, fixture->engine, &options, NULL, error);
    assert_int_equal(status == DW_OK, *actor != NULL);
    return status;
}

static dw_actor *thaw(dw_model *model, dw_error *error)
{
    dw_actor *actor = NULL;
    const dw_status status = try_thaw(&actor, model, NULL, error);
    assert_true(status == DW_OK || status == DW_E_NOT_FOUND);
    return actor;
}

/* Whether both answer the same, logits and all. */
static bool are_twins(dw_actor *left, dw_actor *right)
{
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    assert_int_equal(actor_told(left, &answers[0], "g9"), DW_OK);
    assert_int_equal(actor_told(right, &answers[1], "g9"), DW_OK);
    const bool same = answers[0].bytes == answers[1].bytes && answers[0].bytes > 0 &&
                      memcmp(answers[0].data, answers[1].data, answers[0].bytes) == 0;
    dw_free(answers);
    return same;
}

static void test_snapshot_adapters_go_along(void **state)
{
    dw_error error = {.message = ""};
    (void)state;
    dw_model *model = open_model("one", first, 0.75F);
    dw_model *plain_model = open_model(NULL, NULL, 0.0F);
    dw_actor *actor = spawn(model);
    dw_actor *plain = spawn(plain_model);
    dw_actor *child = NULL;
    assert_false(are_twins(actor, plain));
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_OK);
    freeze(actor);
    dw_model *renamed = open_model("another-name", first, 0.75F);
    dw_actor *thawed = thaw(renamed, &error);
    assert_string_equal(error.message, "");
    freeze(thawed);
    dw_actor *again = thaw(model, &error);
    assert_true(are_twins(actor, child));
    assert_true(are_twins(again, thawed));
    dw_actor_destroy(child);
    dw_actor_destroy(again);
    dw_actor_destroy(thawed);
    dw_actor_destroy(plain);
    dw_actor_destroy(actor);
    dw_model_unref(renamed);
    dw_model_unref(plain_model);
    dw_model_unref(model);
}

static void test_snapshot_adapters_refused(void **state)
{
    dw_error error = {.message = ""};
    (void)state;
    dw_model *model = open_model("one", first, 0.75F);
    dw_actor *actor = spawn(model);
    freeze(actor);
    dw_model *const others[] = {open_model(NULL, NULL, 0.0F), open_model("one", second, 0.75F),
                                open_model("one", first, 0.5F), open_model("one", first, 0.0F)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_null(thaw(others[i], &error));
        assert_non_null(strstr(error.message, "with adapter 'one' (together gguf2:"));
        dw_model_unref(others[i]);
    }
    dw_actor_destroy(actor);
    dw_model_unref(model);
}

/* What a context has beside what its model's usually have is asked for by itself. */
static void test_snapshot_adapters_that_were_chosen(void **state)
{
    dw_error error = {.message = ""};
    (void)state;
    dw_model *model = open_model("one", first, 0.0F);
    dw_actor *actor = spawn(model);
    actor_answer answer;
    assert_int_equal(actor_told(actor, &answer, "t0"), DW_OK);
    dw_instance *instance = dw_actor_instance(actor);
    dw_context *context = NULL;
    for (size_t i = 0; i < dw_instance_handles(instance)->capacity && context == NULL; i++) {
        context = dw_handle_at(dw_instance_handles(instance), DW_HANDLE_CONTEXT, i);
    }
    const dw_adapter_choice choice = {0, 0.1F};
    assert_int_equal(dw_context_set_adapters(context, &choice, 1, &error), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n70"), DW_OK);
    freeze(actor);
    dw_model *renamed = open_model("other", first, 0.0F);
    dw_actor *thawed = thaw(renamed, &error);
    assert_string_equal(error.message, "");
    assert_true(are_twins(actor, thawed));
    dw_actor_destroy(thawed);
    dw_model_unref(renamed);
    dw_model *other = open_model(NULL, NULL, 0.0F);
    assert_null(thaw(other, &error));
    assert_non_null(strstr(error.message, "adapter 'one' (gguf2:"));
    assert_non_null(strstr(error.message, "not among the 0 of its model"));
    dw_model_unref(other);
    other = open_model("one", second, 0.0F);
    assert_null(thaw(other, &error));
    assert_non_null(strstr(error.message, "is another one than the model has under this name"));
    dw_model_unref(other);
    dw_actor_destroy(actor);
    dw_model_unref(model);
}

/* An actor that is thawed has no more sets of adapters than it could choose. */
static void test_snapshot_adapters_have_a_limit(void **state)
{
    enum { CONTEXTS = 5 }; /* the actor's own, and its forks */
    dw_error error = {.message = ""};
    actor_answer answer;
    dw_actor *thawed = NULL;
    unsigned sets = 0;
    (void)state;
    dw_model *model = open_model("one", first, 0.0F);
    dw_actor *actor = spawn(model);
    assert_int_equal(actor_told(actor, &answer, "b4"), DW_OK);
    const dw_handle_table *table = dw_instance_handles(dw_actor_instance(actor));
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        const dw_adapter_choice choice = {0, 0.5F + 0.125F * (float)sets};
        if (context != NULL) {
            assert_int_equal(dw_context_trim(context, 0, &error), DW_OK);
            assert_int_equal(dw_context_set_adapters(context, &choice, 1, &error), DW_OK);
            sets++;
        }
    }
    assert_int_equal(sets, CONTEXTS);
    freeze(actor);
    for (uint64_t most = 1; most <= CONTEXTS; most++) {
        const dw_limits limits = {.struct_bytes = sizeof limits, .adapter_sets = most};
        dw_status status = try_thaw(&thawed, model, &limits, &error);
        assert_int_equal(status, most < CONTEXTS ? DW_E_LIMIT : DW_OK);
        char words[64];
        (void)snprintf(words, sizeof words, "have %d sets of them, with their scales, limit %d",
                       (int)most, (int)most);
        assert_true(status == DW_OK || strstr(error.message, words) != NULL);
        dw_actor_destroy(thawed);
    }
    dw_actor_destroy(actor);
    dw_model_unref(model);
}

static int open_all(void **state)
{
    actor_fixture_open(state);
    fixture = *state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(snapshot, sizeof snapshot, "%s/actor", folder);
    (void)snprintf(first, sizeof first, "%s/first", folder);
    (void)snprintf(second, sizeof second, "%s/second", folder);
    tiny_adapter_write(first, fixture->path,
                       &(tiny_adapter){.rank = 8, .seed = 1, .alpha = 16, .type = GGML_TYPE_F32});
    tiny_adapter_write(second, fixture->path,
                       &(tiny_adapter){.rank = 8, .seed = 1, .alpha = 17, .type = GGML_TYPE_F32});
    return 0;
}

static int close_all(void **state)
{
    (void)unlink(snapshot);
    (void)unlink(first);
    (void)unlink(second);
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_adapters_go_along),
        cmocka_unit_test(test_snapshot_adapters_refused),
        cmocka_unit_test(test_snapshot_adapters_that_were_chosen),
        cmocka_unit_test(test_snapshot_adapters_have_a_limit),
    };
    (void)unsetenv("DW_TEST_MODEL"); /* its adapters are for the tiny one */
    wasm_signals_save();
    return cmocka_run_group_tests_name("snapshot_adapters", tests, open_all, close_all);
}
