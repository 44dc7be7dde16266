/* What actors print belongs to the message that they print it for, also where their C library keeps
 * it in a buffer; also on a fiber, and after they were frozen and thawed. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "support.h"

typedef struct text {
    char bytes[70000];
    size_t count;
} text;

static text said;

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    text *to = user;
    assert_true(count < sizeof to->bytes - to->count);
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
    to->bytes[to->count] = '\0';
    return (ptrdiff_t)count;
}

static dw_actor *spawned(actor_fixture *fixture, const char *guest)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_actor_options options = {.struct_bytes = sizeof options};
    dw_module *module = actor_module(fixture, guest);
    dw_status status = dw_actor_spawn(&actor, module, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    dw_module_unref(module);
    return actor;
}

static dw_status ended; /* what a call on a fiber came to */

static void on_end(void *user, const dw_call_end *end)
{
    (void)user;
    ended = end->status;
}

/* What the answer to one message is: to a call on this stack or on a fiber. */
static dw_status answered(actor_fixture *fixture, dw_actor *actor, const char *message, bool fiber)
{
    dw_error error;
    dw_scheduler *scheduler = NULL;
    said = (text){.count = 0};
    assert_int_equal(dw_actor_send(actor, NULL, message, strlen(message), &error), DW_OK);
    if (!fiber) {
        return dw_actor_receive(actor, keep, &said, &error);
    }
    assert_int_equal(dw_scheduler_create(&scheduler, fixture->engine, NULL, &error), DW_OK);
    assert_int_equal(dw_scheduler_receive(scheduler, actor, keep, on_end, &said, &error), DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &error), DW_OK);
    dw_scheduler_destroy(scheduler);
    return ended;
}

static void test_output_through_the_macro(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawned(fixture, "actor_printer.wasm");
    static char longer[65000];
    memset(longer, 'x', sizeof longer - 1);
    longer[1000] = '\n';
    const char *const messages[] = {"", "a", "no line end", "a line\n", "one\ntwo", longer, "b"};
    for (int fiber = 0; fiber < 2; fiber++) {
        for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
            assert_int_equal(answered(fixture, actor, messages[i], fiber), DW_OK);
            assert_string_equal(said.bytes, messages[i]);
        }
        /* Also that of one that ends with an error. */
        assert_int_equal(answered(fixture, actor, "error", fiber), DW_E_ARG);
        assert_string_equal(said.bytes, "error");
    }
    dw_actor_destroy(actor);
}

static dw_actor *spawned_within(actor_fixture *fixture, const char *guest, const char *bytes)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_limits limits = {.struct_bytes = sizeof limits};
    assert_int_equal(dw_limits_set(&limits, "answer_bytes", bytes, &error), DW_OK);
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_module *module = actor_module(fixture, guest);
    assert_int_equal(dw_actor_spawn(&actor, module, &options, &error), DW_OK);
    dw_module_unref(module);
    return actor;
}

/* Replies and prints beyond the limit are refused, the message fails by its name, and the next is
 * worked on; exactly the limit is fine. */
static void test_output_is_bounded(void **state)
{
    static const char *const guests[] = {"actor_echo.wasm", "actor_printer.wasm"};
    actor_fixture *fixture = *state;
    for (size_t i = 0; i < 2; i++) {
        dw_actor *actor = spawned_within(fixture, guests[i], "10");
        for (int fiber = 0; fiber < 2; fiber++) {
            assert_int_equal(answered(fixture, actor, "0123456789", fiber), DW_OK);
            assert_string_equal(said.bytes, "0123456789");
            assert_int_equal(answered(fixture, actor, "0123456789a", fiber), DW_E_LIMIT);
            assert_true(said.count <= 10);
            assert_int_equal(answered(fixture, actor, "", fiber), DW_OK);
            assert_int_equal(said.count, 0);
            assert_int_equal(answered(fixture, actor, "again", fiber), DW_OK);
            assert_string_equal(said.bytes, "again");
        }
        dw_error error = {.message = ""};
        assert_int_equal(dw_actor_send(actor, NULL, "more than there is room", 23, &error), DW_OK);
        said = (text){.count = 0};
        assert_int_equal(dw_actor_receive(actor, keep, &said, &error), DW_E_LIMIT);
        assert_non_null(strstr(error.message, "limit 10 (answer_bytes)"));
        dw_actor_destroy(actor);
    }
    dw_actor *flood = spawned_within(fixture, "actor_echo.wasm", "1M"); /* 3 MiB, by replies */
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_send(flood, NULL,
                                   "\x01"
                                   "3",
                                   2, &error),
                     DW_OK);
    assert_int_equal(dw_actor_receive(flood, NULL, NULL, &error), DW_E_LIMIT);
    dw_actor_destroy(flood);
}

static void test_output_is_a_terminal(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawned(fixture, "actor_printer.wasm");
    assert_int_equal(answered(fixture, actor, "t", false), DW_OK);
    assert_string_equal(said.bytes, "0110");
    dw_actor_destroy(actor);
}

typedef struct slow_reader {
    dw_actor *actor;
    size_t taken;
} slow_reader;

static ptrdiff_t take_slowly(void *user, const unsigned char *bytes, size_t count)
{
    slow_reader *reader = user;
    (void)bytes;
    if (++reader->taken == 100) {
        dw_instance_interrupt(dw_actor_instance(reader->actor));
    }
    return count > 0;
}

/* A write that a reader takes by bytes ends with its guest, however much of it is left. */
static void test_output_is_interrupted(void **state)
{
    actor_fixture *fixture = *state;
    static char longer[60000];
    dw_error error = {.message = ""};
    slow_reader reader = {.actor = spawned(fixture, "actor_printer.wasm")};
    memset(longer, 'x', sizeof longer);
    assert_int_equal(dw_actor_send(reader.actor, NULL, longer, sizeof longer, &error), DW_OK);
    assert_int_not_equal(dw_actor_receive(reader.actor, take_slowly, &reader, &error), DW_OK);
    assert_int_equal(reader.taken, 100);
    dw_actor_destroy(reader.actor);
}

static void test_output_of_lines(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawned(fixture, "actor_lines.wasm");
    for (int i = 1; i < 10; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "line %d\n", i);
        assert_int_equal(answered(fixture, actor, "", i % 2 == 0), DW_OK);
        assert_string_equal(said.bytes, line);
    }
    dw_actor_destroy(actor);
}

/* Without the macro, but with a library function that the host finds. */
static void test_output_of_parts(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawned(fixture, "actor_parts.wasm");
    for (int i = 1; i < 10; i++) {
        char part[32];
        (void)snprintf(part, sizeof part, "part %d", i);
        assert_int_equal(answered(fixture, actor, "-", i % 2 == 0), DW_OK);
        assert_string_equal(said.bytes, part);
    }
    dw_actor_destroy(actor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_through_the_macro),
        cmocka_unit_test(test_output_is_bounded),
        cmocka_unit_test(test_output_is_a_terminal),
        cmocka_unit_test(test_output_of_lines),
        cmocka_unit_test(test_output_of_parts),
        cmocka_unit_test(test_output_is_interrupted),
    };
    return cmocka_run_group_tests_name("actors' output", tests, actor_fixture_open,
                                       actor_fixture_close);
}
