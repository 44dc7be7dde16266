/* Tools that guests call: what they ask and are told, who waits and who does not, how calls end. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actor/actor.h"
#include "base/os.h"
#include "support.h"

#define CROWD 16

typedef struct told {
    dw_actor *actor;
    char answer[512];
    size_t answer_bytes;
    dw_status status;
    dw_error error;
} told;

static dw_engine *engine;
static dw_module *module;
static _Atomic int at_work; /* tools, now and at most */
static _Atomic int most;
static _Atomic bool was_left;

static void sleep_ns(long ns)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* echo: the request; slow: after 100 ms; hang: until it is left; fail; flood: beyond the limit. */
static dw_status on_call(void *user, dw_tool_call *call, dw_error *err)
{
    const char *name = dw_tool_call_get_name(call);
    size_t bytes;
    const void *request = dw_tool_call_get_request(call, &bytes);
    dw_status status = DW_OK;
    assert_ptr_equal(user, &engine);
    int now = ++at_work;
    most = now > most ? now : most;
    if (strcmp(name, "slow") == 0) {
        sleep_ns(100000000);
    }
    while (strcmp(name, "hang") == 0 && !dw_tool_call_is_left(call)) {
        sleep_ns(1000000);
    }
    was_left = dw_tool_call_is_left(call);
    if (strcmp(name, "who") == 0) {
        status = dw_tool_call_answer(call, dw_tool_call_get_actor(call), DW_ACTOR_ID_CHARS, err);
    } else if (strcmp(name, "fail") == 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "nothing of that kind");
    } else if (strcmp(name, "unknown") == 0) {
        status = dw_fail(err, DW_E_DENIED, "no such tool");
    } else {
        do {
            status = dw_tool_call_answer(call, request, bytes, err);
        } while (status == DW_OK && strcmp(name, "flood") == 0);
    }
    at_work--;
    return status;
}

static int open_fixture(void **state)
{
    (void)state;
    dw_error err;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    if (dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/caller.wasm", &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return 0;
}

static dw_actor *spawn(uint64_t timeout_ms, dw_call_fn tools)
{
    dw_error err;
    dw_actor *actor = NULL;
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .timeout_ms = timeout_ms,
                                    .on_call = tools,
                                    .user = &engine};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return actor;
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    told *t = user;
    assert_true(t->answer_bytes + count < sizeof t->answer);
    memcpy(t->answer + t->answer_bytes, bytes, count);
    t->answer_bytes += count;
    t->answer[t->answer_bytes] = '\0';
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_call_end *end)
{
    told *t = user;
    t->status = end->status;
    t->error = *end->error;
}

static void send(told *t, const char *message)
{
    dw_error err;
    t->answer_bytes = 0;
    t->answer[0] = '\0';
    t->error = (dw_error){0};
    assert_int_equal(dw_actor_send(t->actor, NULL, message, strlen(message), &err), DW_OK);
}

static const char *ask(told *t, const char *message)
{
    send(t, message);
    t->status = dw_actor_receive(t->actor, on_answer, t, &t->error);
    return t->answer;
}

static void run_all(told *all, int count, const char *message, uint32_t threads)
{
    dw_error err;
    dw_scheduler *scheduler = NULL;
    dw_scheduler_options options = {.struct_bytes = sizeof options, .guest_threads = threads};
    assert_int_equal(dw_scheduler_create(&scheduler, engine, &options, &err), DW_OK);
    for (int i = 0; i < count; i++) {
        send(&all[i], message);
        assert_int_equal(
            dw_scheduler_receive(scheduler, all[i].actor, on_answer, on_end, &all[i], &err), DW_OK);
    }
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
    dw_scheduler_destroy(scheduler);
}

static void test_tool_call_answers(void **state)
{
    (void)state;
    told one = {.actor = spawn(0, on_call)};
    assert_string_equal(ask(&one, "echo hello there"), "11: hello there");
    assert_string_equal(ask(&one, "echo "), "0: ");
    assert_string_equal(ask(&one, "fail x"), "-14 call: fail: nothing of that kind");
    assert_string_equal(ask(&one, "unknown x"), "-21 call: unknown: no such tool");
    assert_string_equal(ask(&one, "flood 0123456789"),
                        "-8 call: flood: an answer of more than 1048576 bytes");
    assert_non_null(strstr(ask(&one, "who x"), dw_actor_id(one.actor)));
    assert_non_null(strstr(ask(&one, "a/b x"), "-1 name: byte 0x2f at 1"));
    assert_non_null(strstr(ask(&one, " x"), "-1 name: 0 bytes"));
    assert_int_equal(one.status, DW_OK);
    dw_actor_destroy(one.actor);
}

static void test_tool_call_without_tools(void **state)
{
    (void)state;
    told one = {.actor = spawn(0, NULL)};
    assert_string_equal(ask(&one, "echo x"), "-21 call: echo: this guest has no tools");
    dw_actor_destroy(one.actor);
}

/* Sixteen that take 100 ms each, at once. */
static void test_tool_call_lets_others_go_on(void **state)
{
    (void)state;
    told all[CROWD];
    for (uint32_t threads = 0; threads < 3; threads += 2) {
        for (int i = 0; i < CROWD; i++) {
            all[i] = (told){.actor = spawn(0, on_call)};
        }
        most = 0;
        run_all(all, CROWD, "slow x", threads);
        for (int i = 0; i < CROWD; i++) {
            assert_int_equal(all[i].status, DW_OK);
            assert_string_equal(all[i].answer, "1: x");
            dw_actor_destroy(all[i].actor);
        }
        assert_true(most > CROWD / 2);
    }
}

static void test_tool_call_ends_with_the_guests_time(void **state)
{
    (void)state;
    for (int scheduled = 0; scheduled < 2; scheduled++) {
        told one = {.actor = spawn(100, on_call)};
        uint64_t from_ns = dw_os_clock_ns();
        was_left = false;
        if (scheduled) {
            run_all(&one, 1, "hang x", 0);
        } else {
            (void)ask(&one, "hang x");
        }
        assert_int_equal(one.status, DW_E_LIMIT);
        assert_true(was_left);
        assert_int_equal(at_work, 0);
        assert_true(dw_os_clock_ns() - from_ns < UINT64_C(5000000000));
        dw_actor_destroy(one.actor);
    }
}

static void *interrupt(void *arg)
{
    sleep_ns(50000000);
    dw_instance_interrupt(dw_actor_instance(arg));
    return NULL;
}

static void test_tool_call_is_interrupted(void **state)
{
    (void)state;
    pthread_t thread;
    told one = {.actor = spawn(0, on_call)};
    assert_int_equal(pthread_create(&thread, NULL, interrupt, one.actor), 0);
    (void)ask(&one, "hang x");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(one.status, DW_E_CANCELLED);
    assert_true(was_left);
    dw_actor_destroy(one.actor);
}

static void test_tool_call_of_a_fork(void **state)
{
    (void)state;
    dw_error err;
    told one = {.actor = spawn(0, on_call)};
    told copy = {.actor = NULL};
    assert_string_equal(ask(&one, "echo a"), "1: a");
    assert_int_equal(dw_actor_fork(&copy.actor, one.actor, NULL, &err), DW_OK);
    assert_string_equal(ask(&copy, "echo bc"), "2: bc");
    assert_string_equal(ask(&one, "echo d"), "1: d");
    dw_actor_destroy(copy.actor);
    dw_actor_destroy(one.actor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_call_answers),
        cmocka_unit_test(test_tool_call_without_tools),
        cmocka_unit_test(test_tool_call_lets_others_go_on),
        cmocka_unit_test(test_tool_call_ends_with_the_guests_time),
        cmocka_unit_test(test_tool_call_is_interrupted),
        cmocka_unit_test(test_tool_call_of_a_fork),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
