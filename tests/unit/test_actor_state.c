/* State that a guest has beside its contexts: random writes, growth, globals of every type,
 * function tables, several memories; the same after any number of freezes, thaws and forks as in a
 * twin that was left alone. The guest is tests/guest/actor_machine.wat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"

#define CHAIN_MAX 6

typedef struct subject {
    dw_actor *actor;
    char paths[CHAIN_MAX][96];
    const char *list[CHAIN_MAX];
    size_t count;
} subject;

static char folder[] = "/tmp/dw-state-XXXXXX";

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static uint32_t ask(dw_actor *actor, const uint32_t *message)
{
    dw_error error = {.message = ""};
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    assert_int_equal(dw_actor_send(actor, NULL, message, 16, &error), DW_OK);
    assert_int_equal(actor_received(actor, answer), DW_OK);
    assert_int_equal(answer->bytes, 4);
    uint32_t digest = *(uint32_t *)answer->data;
    dw_free(answer);
    return digest;
}

static void freeze(subject *s, unsigned serial)
{
    dw_error error = {.message = ""};
    dw_freeze_options options = {.struct_bytes = sizeof options,
                                 .delta = s->count > 0 && s->count < CHAIN_MAX};
    if (!options.delta) {
        for (size_t i = 0; i < s->count; i++) {
            (void)unlink(s->paths[i]);
        }
        s->count = 0;
    }
    (void)snprintf(s->paths[s->count], sizeof s->paths[0], "%s/%u", folder, serial);
    s->list[s->count] = s->paths[s->count];
    dw_status status = dw_actor_freeze(s->actor, s->paths[s->count], &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    s->count++;
}

static void thaw(actor_fixture *fixture, subject *s)
{
    dw_error error = {.message = ""};
    dw_thaw_options options = {
        .struct_bytes = sizeof options, .paths = s->list, .path_count = s->count};
    dw_actor_destroy(s->actor);
    dw_status status = dw_actor_thaw(&s->actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static void go_through(actor_fixture *fixture, dw_module *module, uint64_t seed)
{
    dw_error error = {.message = ""};
    dw_actor *twin = NULL; /* left alone */
    subject s = {.count = 0};
    assert_int_equal(dw_actor_spawn(&twin, module, NULL, &error), DW_OK);
    assert_int_equal(dw_actor_spawn(&s.actor, module, NULL, &error), DW_OK);
    for (unsigned step = 0; step < 60; step++) {
        uint32_t message[4] = {next(&seed) % 8, next(&seed), next(&seed), next(&seed)};
        assert_int_equal(ask(s.actor, message), ask(twin, message));
        switch (next(&seed) % 5) {
        case 0: {
            dw_actor *child = NULL;
            assert_int_equal(dw_actor_fork(&child, s.actor, NULL, &error), DW_OK);
            if (next(&seed) % 2 == 0) { /* on in the child; the parent wanders off first */
                uint32_t other[4] = {next(&seed) % 8, next(&seed), next(&seed), next(&seed)};
                (void)ask(s.actor, other);
                dw_actor_destroy(s.actor);
                s.actor = child;
            } else {
                uint32_t other[4] = {next(&seed) % 8, next(&seed), next(&seed), next(&seed)};
                (void)ask(child, other);
                dw_actor_destroy(child);
            }
            break;
        }
        case 1:
        case 2:
            freeze(&s, step);
            if (next(&seed) % 2 == 0) {
                thaw(fixture, &s);
            }
            break;
        default:
            break;
        }
    }
    for (size_t i = 0; i < s.count; i++) {
        (void)unlink(s.paths[i]);
    }
    dw_actor_destroy(s.actor);
    dw_actor_destroy(twin);
}

static void test_actor_state_random_lives(void **state)
{
    actor_fixture *fixture = *state;
    dw_error error = {.message = ""};
    dw_module *module = NULL;
    wasm_byte_vec_t wasm;
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(
        dw_os_read_file(DW_TEST_GUESTS_DIR "/actor_machine.wat", 100000, &text, &bytes, &error),
        DW_OK);
    wasmtime_error_t *failed = wasmtime_wat2wasm(text, bytes, &wasm);
    dw_free(text);
    if (failed != NULL) {
        wasm_byte_vec_t why;
        wasmtime_error_message(failed, &why);
        fail_msg("%.*s", (int)why.size, why.data);
    }
    dw_status status = dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_byte_vec_delete(&wasm);
    int lives = emulated() ? 2 : 25;
    for (int seed = 1; seed <= lives; seed++) {
        go_through(fixture, module, (uint64_t)seed);
    }
    dw_module_unref(module);
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_actor_state_random_lives)};
    wasm_signals_save();
    return cmocka_run_group_tests_name("actor_state", tests, open_fixture, close_fixture);
}
