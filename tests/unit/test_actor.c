/* Actors: messages, what they ask for, and that forks are equal and independent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZED true
#else
#define THREAD_SANITIZED false
#endif

/* ---- life and messages ------------------------------------------------------------------- */

static void test_actor_lives_between_messages(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = actor_spawned(fixture, NULL);
    actor_answer answer = {.bytes = 0};
    uint32_t sum = 0;
    for (uint32_t i = 1; i <= 10; i++) {
        assert_int_equal(actor_told(actor, &answer, "+%u", i), DW_OK);
        sum += i;
        assert_int_equal(answer.bytes, sizeof sum);
        assert_memory_equal(answer.data, &sum, sizeof sum);
    }
    assert_int_equal(actor_told(actor, &answer, "i"), DW_OK);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    assert_memory_equal(answer.data, dw_actor_id(actor), DW_ACTOR_ID_CHARS);
    /* It tells of an error and lives on. */
    dw_error error;
    assert_int_equal(dw_actor_send(actor, NULL, "e", 1, &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_HANDLE);
    assert_int_equal(actor_told(actor, &answer, "+0"), DW_OK);
    assert_memory_equal(answer.data, &sum, sizeof sum);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_END);
    dw_actor_destroy(actor);
}

static void test_actor_that_traps_is_left_alone(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = actor_spawned(fixture, NULL);
    dw_actor *child = NULL;
    dw_error error;
    wasm_signals_restore();
    assert_int_equal(dw_actor_send(actor, NULL, "!", 1, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "+1", 2, &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_TRAP);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "unreachable"));
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_E_STATE);
    assert_null(child);
    dw_actor_destroy(actor);
}

static void test_actor_mailbox_has_limits(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor_options options = {
        .struct_bytes = sizeof options, .message_count_max = 3, .message_bytes_max = 10};
    dw_actor *actor = actor_spawned(fixture, &options);
    dw_error error;
    assert_int_equal(dw_actor_send(actor, NULL, "12345678901", 11, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "11 bytes, limit 10"));
    assert_int_equal(dw_actor_send(actor, "nobody", "x", 1, &error), DW_E_ARG);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dw_actor_send(actor, dw_actor_id(actor), "w", 1, &error), DW_OK);
    }
    assert_int_equal(dw_actor_send(actor, NULL, "w", 1, &error), DW_E_BUSY);
    assert_int_equal(dw_actor_waiting(actor), 3);
    actor_answer answer = {.bytes = 0};
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    assert_memory_equal(answer.data, dw_actor_id(actor), DW_ACTOR_ID_CHARS);
    dw_actor_destroy(actor);
}

static void test_actor_effects_count_when_a_message_ends_well(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = actor_spawned(fixture, NULL);
    dw_actor_effect effect = {.struct_bytes = sizeof effect};
    actor_answer answer;
    dw_error error;
    assert_int_equal(actor_told(actor, &answer, "F5"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "S6"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "M7"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "X"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "T8"), DW_OK);
    const struct {
        dw_effect_kind kind;
        const char *message;
    } expected[] = {{DW_EFFECT_FORK, "+5"},
                    {DW_EFFECT_SPAWN, "+6"},
                    {DW_EFFECT_SEND, "+7"},
                    {DW_EFFECT_STOP, ""}};
    assert_int_equal(dw_actor_effect_count(actor), 4);
    char spawned[DW_ACTOR_ID_CHARS + 1] = "";
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(dw_actor_effect_at(actor, i, &effect, &error), DW_OK);
        assert_int_equal(effect.kind, expected[i].kind);
        assert_int_equal(effect.number, i + 1);
        assert_int_equal(effect.message_bytes, strlen(expected[i].message));
        assert_memory_equal(effect.message, expected[i].message, effect.message_bytes);
        if (effect.kind == DW_EFFECT_SPAWN) {
            (void)snprintf(spawned, sizeof spawned, "%s", effect.actor);
        } else if (effect.kind == DW_EFFECT_SEND) {
            assert_string_equal(effect.actor, spawned);
        }
    }
    assert_int_equal(dw_actor_effect_at(actor, 4, &effect, &error), DW_E_RANGE);
    /* The fork that was asked for: it has the id that the parent was told. */
    dw_actor *child = NULL;
    assert_int_equal(dw_actor_effect_at(actor, 0, &effect, &error), DW_OK);
    assert_int_equal(dw_actor_fork(&child, actor, effect.actor, &error), DW_OK);
    assert_string_equal(dw_actor_id(child), effect.actor);
    assert_int_equal(dw_actor_effect_count(child), 0);
    assert_int_equal(dw_actor_timer_ms(child), 0);
    dw_actor_destroy(child);
    dw_actor_drop_effects(actor, 4);
    assert_int_equal(dw_actor_effect_count(actor), 0);
    /* The timer's message comes from the actor itself. */
    assert_true(dw_actor_timer_ms(actor) > 0);
    assert_int_equal(dw_actor_fire_timers(actor, dw_actor_timer_ms(actor) - 1, &error), DW_OK);
    assert_int_equal(dw_actor_waiting(actor), 0);
    assert_int_equal(dw_actor_fire_timers(actor, dw_os_wall_ms() + 1, &error), DW_OK);
    assert_int_equal(dw_actor_waiting(actor), 1);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    assert_int_equal(*(uint32_t *)answer.data, 8);
    dw_actor_destroy(actor);
}

static void test_actor_refuses_what_cannot_be_saved(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = NULL;
    dw_error error;
    dw_instance_options instance = {.struct_bytes = sizeof instance, .inherit_stdin = true};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_int_equal(dw_actor_spawn(&actor, fixture->module, &options, &error), DW_E_UNSUPPORTED);
    dw_dir dir = {"/tmp", "/tmp", true};
    instance = (dw_instance_options){.struct_bytes = sizeof instance, .dirs = &dir, .dir_count = 1};
    assert_int_equal(dw_actor_spawn(&actor, fixture->module, &options, &error), DW_E_UNSUPPORTED);
    dw_module *command = actor_module(fixture, "hello.wasm");
    assert_int_equal(dw_actor_spawn(&actor, command, NULL, &error), DW_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "driftwood_receive"));
    dw_module_unref(command);
    assert_null(actor);
}

/* ---- forks ------------------------------------------------------------------------------ */

/* Both answer the same to the same. */
static void assert_twins(dw_actor *left, dw_actor *right, const char *message)
{
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    assert_int_equal(actor_told(left, &answers[0], "%s", message), DW_OK);
    assert_int_equal(actor_told(right, &answers[1], "%s", message), DW_OK);
    assert_true(answers[0].bytes > 0);
    assert_int_equal(answers[0].bytes, answers[1].bytes);
    assert_memory_equal(answers[0].data, answers[1].data, answers[0].bytes);
    dw_free(answers);
}

static dw_actor *forked(dw_actor *parent)
{
    dw_actor *child = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_actor_fork(&child, parent, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_string_not_equal(dw_actor_id(child), dw_actor_id(parent));
    return child;
}

static void test_actor_forks_go_on_alike_and_apart(void **state)
{
    actor_fixture *fixture = *state;
    static const uint32_t lengths[] = {1, 2, 45, 255, 256, 300};
    actor_answer answer;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        dw_actor *parent = actor_spawned(fixture, NULL);
        assert_int_equal(actor_told(parent, &answer, "m"), DW_OK);
        assert_int_equal(actor_told(parent, &answer, "s%u", 7 + (unsigned)i), DW_OK);
        assert_int_equal(actor_told(parent, &answer, "n%u", lengths[i]), DW_OK);
        assert_int_equal(actor_told(parent, &answer, "g9"), DW_OK); /* the sampler mid-stream */
        dw_actor *child = forked(parent);
        dw_actor *grandchild = forked(child);
        assert_twins(parent, child, "g16");
        /* The parent goes another way, over pages that it shares. */
        assert_int_equal(actor_told(parent, &answer, "t%u", lengths[i] / 2), DW_OK);
        assert_int_equal(actor_told(parent, &answer, "n40"), DW_OK);
        assert_int_equal(actor_told(grandchild, &answer, "g16"), DW_OK);
        assert_twins(child, grandchild, "g8");
        dw_actor_destroy(child);
        assert_int_equal(actor_told(grandchild, &answer, "k3"), DW_OK);
        dw_actor *last = forked(grandchild);
        dw_actor_destroy(parent);
        assert_twins(grandchild, last, "g8");
        assert_int_equal(actor_told(last, &answer, "f"), DW_OK);
        assert_twins(grandchild, last, "g8");
        dw_actor_destroy(grandchild);
        dw_actor_destroy(last);
    }
}

static void test_actor_forks_by_the_thousand(void **state)
{
    enum { COUNT = 1000 };
    /* ThreadSanitizer leaves a program 1.5 TB of addresses, of which each memory reserves 4 GB. */
    size_t count = emulated() || THREAD_SANITIZED ? 100 : COUNT; /* both without a factor of 77 */
    actor_fixture *fixture = *state;
    static dw_actor *actors[COUNT];
    actor_answer answer;
    actors[0] = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actors[0], &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actors[0], &answer, "n200"), DW_OK);
    assert_int_equal(actor_told(actors[0], &answer, "+100"), DW_OK);
    for (size_t i = 1; i < count; i++) {
        actors[i] = forked(actors[i % 3 == 0 ? i / 2 : 0]);
    }
    for (size_t i = 0; i < count; i += 7) {
        assert_int_equal(actor_told(actors[i], &answer, "+%u", (unsigned)i), DW_OK);
        assert_int_equal(*(uint32_t *)answer.data, 100 + i);
    }
    assert_twins(actors[count - 1], actors[1], "g3");
    for (size_t i = 0; i < count; i++) {
        size_t place = i * 77 % count; /* in another order than made */
        dw_actor_destroy(actors[place]);
        actors[place] = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actor_lives_between_messages),
        cmocka_unit_test(test_actor_that_traps_is_left_alone),
        cmocka_unit_test(test_actor_mailbox_has_limits),
        cmocka_unit_test(test_actor_effects_count_when_a_message_ends_well),
        cmocka_unit_test(test_actor_refuses_what_cannot_be_saved),
        cmocka_unit_test(test_actor_forks_go_on_alike_and_apart),
        cmocka_unit_test(test_actor_forks_by_the_thousand),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("actor", tests, actor_fixture_open, actor_fixture_close);
}
