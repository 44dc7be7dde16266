/* What is counted of an actor in a state folder, and how often it broke off in a row: as it was
 * after it has left memory, and when the folder is opened again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

static char folder[32];

static void open_again(runtime_fixture *f)
{
    runtime_close(f);
    runtime_open(f);
}

static void same(const dw_runtime_actor_info *a, const dw_runtime_actor_info *b)
{
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->restarts, b->restarts);
    assert_int_equal(a->answered_bytes, b->answered_bytes);
    assert_int_equal(a->guest_ns, b->guest_ns);
    assert_int_equal(a->work_ns, b->work_ns);
}

static void test_counters_outlast_memory(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char text[16384];
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 5; i++) {
        (void)runtime_told(f, &id, "+1");
    }
    assert_int_equal(runtime_tell(f, &id, "?", &answer, &error), DW_E_ARG);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    runtime_await(f);
    dw_runtime_actor_info before = runtime_info(f, &id);
    assert_int_equal(before.done, 7);
    assert_int_equal(before.failed, 2);
    assert_int_equal(before.restarts, 1);
    assert_true(before.guest_ns > 0 && before.answered_bytes >= 20);
    (void)runtime_told(f, &id, "+1");
    before = runtime_info(f, &id);
    for (unsigned parks = 1; parks < 4; parks++) {
        assert_int_equal(dw_runtime_park(f->runtime, id.text, &error), DW_OK);
        dw_runtime_actor_info after = runtime_info(f, &id);
        assert_false(after.resident);
        same(&after, &before);
        assert_int_equal(after.parks, parks);
        (void)runtime_told(f, &id, "+1");
        before = runtime_info(f, &id);
        assert_int_equal(before.done, 8 + parks);
        assert_int_equal(before.parks, parks);
        assert_int_equal(before.thaws, parks);
    }
    open_again(f);
    dw_runtime_actor_info after = runtime_info(f, &id);
    assert_false(after.resident);
    same(&after, &before);
    assert_int_equal(after.parks, 3); /* the runtime's end is none */
    dw_text_room room = {.items = text, .capacity = sizeof text};
    assert_int_equal(dw_runtime_describe(f->runtime, id.text, &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, "\"messages\":11"));
    assert_int_equal(runtime_told(f, &id, "+0"), 9);
    after = runtime_info(f, &id);
    assert_int_equal(after.done, before.done + 1);
    /* A fork, and what it made itself, begin anew. */
    runtime_id child;
    assert_int_equal(dw_runtime_fork(f->runtime, id.text, child.text, &error), DW_OK);
    assert_int_equal(runtime_info(f, &child).done, 0);
    open_again(f);
    assert_int_equal(runtime_info(f, &child).done, 0);
    runtime_close(f);
}

/* What is written when the actor leaves memory alone has what was counted until then. */
static void test_counters_of_what_is_written_late(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    f->durability = DW_DURABLE_PARK;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 5; i++) {
        (void)runtime_told(f, &id, "+1");
    }
    assert_int_equal(dw_runtime_park(f->runtime, id.text, &error), DW_OK);
    assert_int_equal(runtime_info(f, &id).done, 5);
    (void)runtime_told(f, &id, "+1");
    open_again(f);
    assert_int_equal(runtime_info(f, &id).done, 6);
    runtime_close(f);
    f->durability = DW_DURABLE_DEFAULT;
}

static runtime_id guarded(runtime_fixture *f, uint32_t failures_max)
{
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .capabilities = DW_MAY_ALL, .failures_max = failures_max};
    return runtime_spawned(f, f->hostile, &options);
}

/* Stop after so many in a row, whatever lies between them, but for a message that ended well. */
static void test_failures_in_a_row_are_remembered(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    for (int between = 0; between < 3; between++) {
        runtime_open(f);
        runtime_id id = guarded(f, 3);
        runtime_id other = guarded(f, 3);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
            assert_int_equal(runtime_tell(f, &other, "!", &answer, &error), DW_E_TRAP);
            runtime_await(f);
            if (between == 1) {
                assert_int_equal(dw_runtime_park(f->runtime, id.text, &error), DW_OK);
            } else if (between == 2) {
                open_again(f);
            }
        }
        assert_int_equal(runtime_told(f, &other, "+1"), 1);
        open_again(f);
        assert_int_equal(runtime_tell(f, &other, "!", &answer, &error), DW_E_TRAP);
        assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
        runtime_await(f);
        assert_false(runtime_has(f, &id));
        assert_true(runtime_has(f, &other));
        open_again(f);
        assert_false(runtime_has(f, &id));
        assert_int_equal(runtime_told(f, &other, "+1"), 2);
        runtime_close(f);
    }
}

/* Of messages that nobody awaits as well: each try counts. */
static void test_failures_of_what_nobody_awaits(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char text[32];
    runtime_open(f);
    runtime_id id = guarded(f, 4);
    runtime_id sender = guarded(f, 0);
    (void)snprintf(text, sizeof text, "I%s", id.text);
    (void)runtime_told(f, &sender, text);
    (void)runtime_told(f, &sender, "D!");
    runtime_await(f); /* it was tried thrice, and set aside */
    assert_int_equal(runtime_info(f, &id).set_aside, 1);
    open_again(f);
    uint64_t count = 0;
    assert_int_equal(dw_runtime_drop_mail(f->runtime, id.text, DW_MAIL_ALL, &count, &error), DW_OK);
    (void)runtime_told(f, &sender, "D!");
    runtime_await(f);
    assert_false(runtime_has(f, &id));
    runtime_close(f);
}

/* The process ended when the last failure was noted, and before the actor was removed. */
static void test_failures_that_were_enough(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char problem[256];
    runtime_open(f);
    runtime_id id = guarded(f, 3);
    (void)runtime_told(f, &id, "+1");
    runtime_close(f);
    change_journal(folder, "UPDATE actor SET failures = 3");
    runtime_open(f);
    assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_E_CANCELLED);
    runtime_await(f);
    assert_true(runtime_problems(f, problem) > 0);
    assert_non_null(strstr(problem, "broke off 3 times in a row"));
    assert_false(runtime_has(f, &id));
    runtime_close(f);
}

static int in_folder(void **state)
{
    runtime_fixture *f = *state;
    (void)snprintf(folder, sizeof folder, "/tmp/dw-counters-XXXXXX");
    f->path = folder;
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int out_of_folder(void **state)
{
    runtime_fixture *f = *state;
    f->path = NULL;
    shell("rm -rf '%s'", folder);
    return 0;
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, in_folder, out_of_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_counters_outlast_memory),
        IN_FOLDER(test_counters_of_what_is_written_late),
        IN_FOLDER(test_failures_in_a_row_are_remembered),
        IN_FOLDER(test_failures_of_what_nobody_awaits),
        IN_FOLDER(test_failures_that_were_enough),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
