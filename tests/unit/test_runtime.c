/* Many actors at once, in memory: messages and their ends, what actors ask for, failures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

/* ---- messages -------------------------------------------------------------------------------- */

static void test_runtime_answers(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    runtime_open(f);
    runtime_id echo = runtime_spawned(f, f->echo, NULL);
    assert_int_equal(runtime_tell(f, &echo, "hello", &answer, &error), DW_OK);
    assert_string_equal((char *)answer.bytes, "hello");
    runtime_id hostile = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &hostile, "+5"), 5);
    assert_int_equal(runtime_told(f, &hostile, "+2"), 7);
    dw_runtime_actor_info info = runtime_info(f, &hostile);
    assert_int_equal(info.done, 2);
    assert_int_equal(info.failed, 0);
    assert_int_equal(info.answered_bytes, 8);
    assert_string_equal(info.parent, "");
    assert_int_equal(runtime_tell(f, &hostile, "?", &answer, &error), DW_E_ARG);
    assert_non_null(strstr(error.message, "the actor answered"));
    assert_int_equal(runtime_told(f, &hostile, "+0"), 7); /* it lives on */
    runtime_close(f);
}

/* A request that another thread's callbacks tell of. */
typedef struct asked {
    runtime_fixture *f;
    runtime_answer answer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ends;
    unsigned pieces;
    dw_status status;
    uint64_t number;
    char message[248];
} asked;

static void asked_init(asked *a, runtime_fixture *f)
{
    *a = (asked){.f = f};
    assert_int_equal(pthread_mutex_init(&a->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&a->changed, NULL), 0);
}

static ptrdiff_t on_piece(void *user, const unsigned char *bytes, size_t count)
{
    asked *a = user;
    (void)pthread_mutex_lock(&a->lock);
    a->pieces++;
    ptrdiff_t taken = a->ends > 0 ? -1 : runtime_keep(&a->answer, bytes, count);
    (void)pthread_mutex_unlock(&a->lock);
    return taken;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    asked *a = user;
    (void)pthread_mutex_lock(&a->lock);
    a->ends++;
    a->status = end->status;
    a->number = end->number;
    (void)snprintf(a->message, sizeof a->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
}

static uint64_t ask(asked *a, const runtime_id *id, const char *text, uint64_t timeout_ms)
{
    uint64_t number = 0;
    dw_error error = {.message = ""};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .timeout_ms = timeout_ms,
                                .on_answer = on_piece,
                                .on_end = on_end,
                                .user = a};
    dw_status status = dw_runtime_send(a->f->runtime, id->text, &request, &number, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return number;
}

/* It has ended once, so. */
static void expect_end(asked *a, dw_status status, const char *words)
{
    (void)pthread_mutex_lock(&a->lock);
    while (a->ends == 0) {
        (void)pthread_cond_wait(&a->changed, &a->lock);
    }
    assert_int_equal(a->ends, 1);
    assert_int_equal(a->status, status);
    assert_non_null(strstr(a->message, words));
    (void)pthread_mutex_unlock(&a->lock);
}

static void await_working(runtime_fixture *f, const runtime_id *id)
{
    while (!runtime_info(f, id).working) {}
}

static void test_runtime_cancels(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    asked loop;
    asked waits;
    asked last;
    asked_init(&loop, f);
    asked_init(&waits, f);
    asked_init(&last, f);
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    uint64_t first = ask(&loop, &id, "l", 0);
    uint64_t second = ask(&waits, &id, "+1", 0);
    (void)ask(&last, &id, "+2", 0);
    await_working(f, &id);
    assert_int_equal(runtime_info(f, &id).waiting, 2);
    assert_int_equal(dw_runtime_cancel(f->runtime, id.text, second, &error), DW_OK);
    expect_end(&waits, DW_E_CANCELLED, "cancelled");
    assert_int_equal(dw_runtime_cancel(f->runtime, id.text, second, &error), DW_E_NOT_FOUND);
    /* Who asked is told at once, though the guest does not care. */
    assert_int_equal(dw_runtime_cancel(f->runtime, id.text, first, &error), DW_OK);
    expect_end(&loop, DW_E_CANCELLED, "cancelled");
    assert_true(runtime_info(f, &id).working);
    assert_int_equal(dw_runtime_interrupt(f->runtime, id.text, &error), DW_OK);
    expect_end(&last, DW_OK, "");
    uint32_t value;
    memcpy(&value, last.answer.bytes, sizeof value);
    assert_int_equal(value, 2);
    runtime_await(f);
    assert_int_equal(runtime_info(f, &id).restarts, 1);
    assert_int_equal(dw_runtime_interrupt(f->runtime, id.text, &error), DW_E_END);
    runtime_close(f);
    assert_int_equal(loop.ends + waits.ends + last.ends, 3);
}

static void test_runtime_times_out(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    asked loop;
    asked waits;
    asked_init(&loop, f);
    asked_init(&waits, f);
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    (void)ask(&loop, &id, "l", 60);
    (void)ask(&waits, &id, "+1", 20);
    expect_end(&waits, DW_E_LIMIT, "within 20 ms");
    expect_end(&loop, DW_E_LIMIT, "within 60 ms");
    const dw_request request = {
        .struct_bytes = sizeof request, .message = "+1", .message_bytes = 2, .timeout_ms = 30};
    uint64_t began = dw_os_clock_ns();
    assert_int_equal(dw_runtime_call(f->runtime, id.text, &request, &error), DW_E_LIMIT);
    assert_true(dw_os_clock_ns() - began >= 30000000);
    assert_int_equal(dw_runtime_interrupt(f->runtime, id.text, &error), DW_OK);
    assert_int_equal(runtime_told(f, &id, "+4"), 4);
    runtime_close(f);
}

/* A callback may use the runtime, but not wait. */
typedef struct relay {
    runtime_fixture *f;
    runtime_id id;
    unsigned left;
    unsigned failed;
    dw_status waited;
} relay;

static void pass_on(void *user, const dw_runtime_end *end)
{
    relay *r = user;
    dw_error error;
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+1",
                                .message_bytes = 2,
                                .on_end = pass_on,
                                .user = r};
    r->failed += end->status != DW_OK;
    r->waited = dw_runtime_call(r->f->runtime, r->id.text, &request, &error);
    dw_runtime_close(r->f->runtime); /* it stays */
    if (r->left-- > 0) {
        r->failed += dw_runtime_send(r->f->runtime, r->id.text, &request, NULL, &error) != DW_OK;
    }
}

static void test_runtime_callbacks(void **state)
{
    runtime_fixture *f = *state;
    runtime_open(f);
    dw_error error;
    relay r = {.f = f, .id = runtime_spawned(f, f->hostile, NULL), .left = 20};
    const dw_request first = {.struct_bytes = sizeof first,
                              .message = "+1",
                              .message_bytes = 2,
                              .on_end = pass_on,
                              .user = &r};
    assert_int_equal(dw_runtime_send(f->runtime, r.id.text, &first, NULL, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(r.failed, 0);
    assert_int_equal(r.waited, DW_E_STATE);
    assert_int_equal(runtime_told(f, &r.id, "+0"), 21);
    runtime_close(f);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void test_runtime_mail_is_bounded(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    asked all;
    asked_init(&all, f);
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .mail = 3, .message_bytes = 100};
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    (void)ask(&all, &id, "l", 0);
    await_working(f, &id);
    for (int i = 0; i < 3; i++) {
        (void)ask(&all, &id, "+1", 0);
    }
    dw_request request = {.struct_bytes = sizeof request, .message = "+1", .message_bytes = 2};
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_E_BUSY);
    assert_string_equal(error.message, "mailbox: 3 messages wait, limit 3 (mail)");
    char text[101] = "";
    request.message = text;
    request.message_bytes = sizeof text;
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_E_LIMIT);
    assert_string_equal(error.message, "message: 101 bytes, limit 100 (message_bytes)");
    assert_int_equal(dw_runtime_interrupt(f->runtime, id.text, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(all.ends, 4);
    assert_int_equal(runtime_told(f, &id, "+0"), 3);
    runtime_close(f);
}

static void test_runtime_refuses(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id id = {"0123456789abcdef"};
    dw_request request = {.struct_bytes = sizeof request};
    dw_runtime_options options = {.struct_bytes = sizeof options, .worker_threads = 65};
    dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .tenant = "nobody"};
    dw_runtime *none = NULL;
    assert_int_equal(dw_runtime_open(&none, f->actors->engine, &options, &error), DW_E_RANGE);
    assert_null(none);
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .actors = 1};
    runtime_open(f);
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_send(f->runtime, "0123", &request, NULL, &error), DW_E_ARG);
    assert_int_equal(dw_runtime_send(f->runtime, "0123456789ABCDEF", &request, NULL, &error),
                     DW_E_ARG);
    assert_int_equal(dw_runtime_stop(f->runtime, NULL, &error), DW_E_ARG);
    request.message_bytes = 1;
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_E_ARG);
    request.struct_bytes = 0;
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_E_ARG);
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, f->echo, &spawn, id.text, &error),
                     DW_E_NOT_FOUND);
    spawn = (dw_spawn_options){.struct_bytes = sizeof spawn, .capabilities = 1u << 30};
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, f->echo, &spawn, id.text, &error),
                     DW_E_DENIED);
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, NULL, NULL, id.text, &error), DW_E_ARG);
    dw_limits little = {.struct_bytes = sizeof little, .linear_bytes = 65536};
    dw_instance_options granted = {.struct_bytes = sizeof granted, .limits = &little};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &granted};
    spawn = (dw_spawn_options){.struct_bytes = sizeof spawn, .actor = &actor};
    assert_int_equal(dw_runtime_spawn(f->runtime, f->hostile, &spawn, id.text, &error), DW_E_LIMIT);
    assert_false(runtime_has(f, &id));
    id = runtime_spawned(f, f->echo, NULL);
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, f->echo, NULL, id.text, &error),
                     DW_E_LIMIT);
    assert_string_equal(error.message, "actors: 1 in the runtime, limit 1 (actors)");
    runtime_close(f);
}

/* ---- what actors ask for --------------------------------------------------------------------- */

static void test_runtime_effects(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char problem[256];
    runtime_id ids[8];
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->actors->module, NULL);
    assert_int_equal(runtime_told(f, &id, "+10"), 10);
    assert_int_equal(runtime_tell(f, &id, "F5", &answer, &error), DW_OK); /* a fork adds 5 */
    assert_int_equal(runtime_tell(f, &id, "S3", &answer, &error), DW_OK); /* a new one adds 3 */
    assert_int_equal(runtime_tell(f, &id, "M4", &answer, &error), DW_OK); /* and 4 */
    assert_int_equal(runtime_tell(f, &id, "T7", &answer, &error), DW_OK); /* a timer adds 7 */
    runtime_await(f);
    while (runtime_told(f, &id, "+0") == 10) {} /* it is due at once, and told behind our back */
    assert_int_equal(runtime_told(f, &id, "+0"), 17);
    assert_int_equal(runtime_ids(f, ids, 8), 3);
    uint32_t sum = 0;
    for (int i = 0; i < 3; i++) {
        if (strcmp(ids[i].text, id.text) != 0) {
            assert_string_equal(runtime_info(f, &ids[i]).parent, id.text);
            assert_int_equal(runtime_info(f, &ids[i]).depth, 1);
            sum += runtime_told(f, &ids[i], "+0");
        }
    }
    assert_int_equal(sum, 15 + 3 + 4);
    assert_int_equal(runtime_problems(f, problem), 0);
    assert_int_equal(runtime_tell(f, &id, "Unobody", &answer, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "spawn: no guest 'nobody' here"));
    assert_int_equal(runtime_problems(f, problem), 0);
    assert_int_equal(runtime_tell(f, &id, "X", &answer, &error), DW_OK);
    runtime_await(f);
    assert_false(runtime_has(f, &id));
    assert_int_equal(runtime_ids(f, ids, 8), 2);
    runtime_close(f);
}

static void test_runtime_denies(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    runtime_open(f);
    const dw_spawn_options none = {.struct_bytes = sizeof none};
    runtime_id id = runtime_spawned(f, f->actors->module, &none);
    runtime_id other = runtime_spawned(f, f->actors->module, &none);
    static const char *const messages[] = {"F5", "S3", "T7"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(runtime_tell(f, &id, messages[i], &answer, &error), DW_E_DENIED);
        assert_non_null(strstr(error.message, "was not granted it"));
    }
    dw_spawn_options kin = {.struct_bytes = sizeof kin, .capabilities = DW_MAY_SEND_KIN};
    runtime_id alone = runtime_spawned(f, f->actors->module, &kin);
    char text[32];
    (void)snprintf(text, sizeof text, "I%s", other.text);
    assert_int_equal(runtime_tell(f, &alone, text, &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &alone, "D+1", &answer, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "may not send to others of its tenant"));
    kin.capabilities = DW_MAY_SEND_TENANT;
    runtime_id neighbour = runtime_spawned(f, f->actors->module, &kin);
    assert_int_equal(runtime_tell(f, &neighbour, text, &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &neighbour, "D+1", &answer, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(runtime_told(f, &other, "+0"), 1);
    const dw_tenant_options tenant = {.struct_bytes = sizeof tenant,
                                      .capabilities = DW_MAY_SEND_TENANT};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "b", &tenant, &error), DW_OK);
    kin.tenant = "b";
    runtime_id foreign = runtime_spawned(f, f->actors->module, &kin);
    assert_int_equal(runtime_tell(f, &foreign, text, &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &foreign, "D+1", &answer, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "other tenants'"));
    kin.capabilities = DW_MAY_ALL;
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, f->echo, &kin, id.text, &error),
                     DW_E_DENIED);
    runtime_close(f);
}

/* What would go on for ever is bounded, and others have their turns meanwhile. */
static void test_runtime_storms(void **state)
{
    runtime_fixture *f = *state;
    static const char *const storms[] = {"s", "p", "f", "n", "b"};
    f->limits = (dw_limits){
        .struct_bytes = sizeof f->limits, .caused_messages = 2000, .descendants = 20, .mail = 200};
    for (size_t i = 0; i < sizeof storms / sizeof storms[0]; i++) {
        dw_limits limits = f->limits;
        runtime_answer answer;
        dw_error error;
        runtime_open(f);
        runtime_id bad = runtime_spawned(f, f->hostile, NULL);
        runtime_id good = runtime_spawned(f, f->hostile, NULL);
        char text[32];
        (void)snprintf(text, sizeof text, "I%s", bad.text);
        assert_int_equal(runtime_tell(f, &bad, text, &answer, &error), DW_OK);
        (void)runtime_tell(f, &bad, storms[i], &answer, &error);
        for (uint32_t k = 1; k <= 50; k++) {
            assert_int_equal(runtime_told(f, &good, "+1"), k);
        }
        runtime_await(f);
        assert_true(runtime_ids(f, (runtime_id[64]){{""}}, 64) <= 22);
        assert_int_equal(runtime_told(f, &good, "+0"), 50);
        runtime_close(f);
        f->limits = limits;
    }
    f->limits = (dw_limits){.struct_bytes = 0};
}

/* A timer that waits for a second begins anew, however long its actor's message has waited. */
static void test_runtime_long_timers_begin_anew(void **state)
{
    runtime_fixture *f = *state;
    dw_module *chance = actor_module(f->actors, "actor_chance.wasm");
    asked sleeps;
    asked ticks;
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .caused_messages = 2};
    runtime_open(f);
    asked_init(&sleeps, f);
    asked_init(&ticks, f);
    runtime_id id = runtime_spawned(f, chance, NULL);
    (void)ask(&sleeps, &id, "s50", 0);
    (void)ask(&ticks, &id, "T5", 0);
    expect_end(&sleeps, DW_OK, "");
    expect_end(&ticks, DW_OK, "");
    assert_int_equal(ticks.answer.bytes[0], '0');
    runtime_close(f);
    dw_module_unref(chance);
    f->limits = (dw_limits){.struct_bytes = 0};
}

/* ---- failures -------------------------------------------------------------------------------- */

static void test_runtime_restarts(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    uint64_t number = 0;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &id, "+5"), 5);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &id, "+1"), 1); /* as at first */
    assert_int_equal(dw_runtime_freeze(f->runtime, id.text, &number, &error), DW_OK);
    assert_int_equal(number, 1);
    assert_int_equal(runtime_told(f, &id, "+1"), 2);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &id, "+1"), 2); /* as it was frozen */
    assert_int_equal(runtime_info(f, &id).restarts, 2);
    assert_int_equal(runtime_info(f, &id).failed, 2);
    const dw_spawn_options thrice = {
        .struct_bytes = sizeof thrice, .capabilities = DW_MAY_ALL, .failures_max = 3};
    runtime_id third = runtime_spawned(f, f->hostile, &thrice);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < (round == 0 ? 2 : 3); i++) {
            assert_int_equal(runtime_tell(f, &third, "!", &answer, &error), DW_E_TRAP);
        }
        assert_int_equal(runtime_tell(f, &third, "+1", &answer, &error),
                         round == 0 ? DW_OK : DW_E_NOT_FOUND);
    }
    const dw_spawn_options once = {.struct_bytes = sizeof once, .supervision = DW_SUPERVISE_STOP};
    runtime_id first = runtime_spawned(f, f->hostile, &once);
    assert_int_equal(runtime_tell(f, &first, "!", &answer, &error), DW_E_TRAP);
    runtime_await(f);
    assert_false(runtime_has(f, &first));
    runtime_close(f);
}

static void count_mail(void *user, const dw_runtime_message *message)
{
    unsigned *aside = user;
    aside[0] += message->set_aside;
    if (message->set_aside) {
        assert_int_equal(message->attempts, 3);
        assert_int_equal(strlen(message->from), DW_ACTOR_ID_CHARS);
        assert_non_null(strstr(message->reason, "unreachable"));
    }
}

/* A message of another actor's at which this one traps: it is tried so often, then set aside. */
static void test_runtime_sets_aside(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    uint64_t count = 0;
    unsigned aside = 0;
    char text[32];
    runtime_open(f);
    runtime_id sender = runtime_spawned(f, f->hostile, NULL);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", id.text);
    assert_int_equal(runtime_tell(f, &sender, text, &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &sender, "D!", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &sender, "D+1", &answer, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(runtime_told(f, &id, "+0"), 1);
    assert_int_equal(runtime_info(f, &id).set_aside, 1);
    assert_int_equal(runtime_info(f, &id).restarts, 3);
    assert_int_equal(dw_runtime_list_mail(f->runtime, id.text, count_mail, &aside, &error), DW_OK);
    assert_int_equal(aside, 1);
    assert_int_equal(dw_runtime_retry_mail(f->runtime, id.text, DW_MAIL_ALL, &count, &error),
                     DW_OK);
    assert_int_equal(count, 1);
    runtime_await(f);
    assert_int_equal(runtime_info(f, &id).restarts, 6);
    assert_int_equal(runtime_info(f, &id).set_aside, 1);
    assert_int_equal(dw_runtime_drop_mail(f->runtime, id.text, 999, &count, &error),
                     DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_drop_mail(f->runtime, id.text, DW_MAIL_ALL, &count, &error), DW_OK);
    assert_int_equal(runtime_info(f, &id).set_aside, 0);
    runtime_close(f);
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void test_runtime_forks_and_rewinds(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id child;
    uint64_t number = 0;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (uint32_t i = 1; i <= 12; i++) {
        assert_int_equal(runtime_told(f, &id, "+1"), i);
        assert_int_equal(dw_runtime_freeze(f->runtime, id.text, &number, &error), DW_OK);
        assert_int_equal(number, i);
    }
    assert_int_equal(dw_runtime_fork(f->runtime, id.text, child.text, &error), DW_OK);
    assert_string_equal(runtime_info(f, &child).parent, id.text);
    assert_int_equal(runtime_told(f, &child, "+100"), 112);
    assert_int_equal(dw_runtime_rewind(f->runtime, id.text, 7, &error), DW_OK);
    assert_int_equal(runtime_told(f, &id, "+0"), 7);
    assert_int_equal(dw_runtime_rewind(f->runtime, id.text, 0, &error), DW_OK);
    assert_int_equal(runtime_told(f, &id, "+0"), 12);
    assert_int_equal(dw_runtime_rewind(f->runtime, id.text, 4, &error), DW_E_NOT_FOUND);
    assert_string_equal(error.message, "freeze 4 is not kept");
    assert_int_equal(runtime_told(f, &id, "+0"), 12);
    assert_int_equal(dw_runtime_rewind(f->runtime, child.text, 0, &error), DW_OK);
    assert_int_equal(runtime_told(f, &child, "+0"), 0); /* as the guest is at first */
    runtime_close(f);
}

static void test_runtime_stops(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    uint64_t count = 0;
    asked loop;
    asked waits;
    asked_init(&loop, f);
    asked_init(&waits, f);
    runtime_open(f);
    runtime_id head = runtime_spawned(f, f->hostile, NULL);
    runtime_id child;
    runtime_id grandchild;
    assert_int_equal(dw_runtime_fork(f->runtime, head.text, child.text, &error), DW_OK);
    assert_int_equal(dw_runtime_fork(f->runtime, child.text, grandchild.text, &error), DW_OK);
    runtime_id other = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(dw_runtime_stop(f->runtime, child.text, &error), DW_OK);
    assert_false(runtime_has(f, &child));
    assert_string_equal(runtime_info(f, &grandchild).parent, child.text);
    (void)ask(&loop, &grandchild, "l", 0);
    (void)ask(&waits, &grandchild, "+1", 0);
    await_working(f, &grandchild);
    assert_int_equal(dw_runtime_stop_tree(f->runtime, head.text, &count, &error), DW_OK);
    assert_int_equal(count, 2);
    assert_false(runtime_has(f, &head));
    assert_false(runtime_has(f, &grandchild));
    assert_true(runtime_has(f, &other));
    expect_end(&loop, DW_E_CANCELLED, "was stopped");
    expect_end(&waits, DW_E_CANCELLED, "was stopped");
    assert_int_equal(dw_runtime_stop_all(f->runtime, &count, &error), DW_OK);
    assert_int_equal(count, 1);
    runtime_await(f);
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    assert_int_equal(stats.actors, 0);
    assert_int_equal(stats.made, 4);
    assert_int_equal(stats.stopped, 4);
    runtime_close(f);
}

/* Closed in the middle of everything: each request ends once. */
static void test_runtime_closes_amid_work(void **state)
{
    runtime_fixture *f = *state;
    for (unsigned round = 0; round < 20; round++) {
        static asked all;
        asked_init(&all, f);
        runtime_open(f);
        unsigned sent = 0;
        for (int i = 0; i < 8; i++) {
            runtime_id id = runtime_spawned(f, f->hostile, NULL);
            for (int k = 0; k < 5; k++, sent++) {
                (void)ask(&all, &id, k == 3 ? "l" : k == 2 ? "F3" : "+1", 0);
            }
        }
        struct timespec wait = {.tv_nsec = (long)round * 100000};
        (void)nanosleep(&wait, NULL);
        runtime_close(f);
        assert_int_equal(all.ends, sent);
    }
}

typedef struct diary {
    char kinds[512];
    size_t count;
    uint64_t subscription;
    runtime_fixture *f;
    bool leaves;
} diary;

static void on_event(void *user, const dw_event *event)
{
    diary *d = user;
    static const char letters[] = "?MabwesRFWX";
    if (d->count + 1 < sizeof d->kinds) {
        d->kinds[d->count++] = letters[event->kind];
    }
    if (d->leaves) {
        dw_runtime_unsubscribe(d->f->runtime, d->subscription);
    }
}

/* Whatever allocation fails: what is refused is refused, what was begun ends, and nothing hangs. */
static void run_through(runtime_fixture *f)
{
    dw_error error;
    runtime_id id;
    runtime_id child;
    runtime_answer answer;
    uint64_t subscription = 0;
    diary d = {.f = f};
    static const char manifest[] = "{\"limits\": {\"mail\": 9}, \"tenants\": {\"u\": {\"models\":"
                                   " [\"a\", \"b\"], \"limits\": {\"mail\": 8}}}}";
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .manifest = manifest,
                                        .manifest_bytes = sizeof manifest - 1};
    const dw_tenant_options tenant = {.struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL};
    dw_spawn_options spawn = {
        .struct_bytes = sizeof spawn, .capabilities = DW_MAY_ALL, .tenant = "t"};
    if (dw_runtime_open(&f->runtime, f->actors->engine, &options, &error) != DW_OK) {
        return;
    }
    if (dw_runtime_set_tenant(f->runtime, "t", &tenant, &error) == DW_OK &&
        dw_runtime_subscribe(f->runtime, NULL, on_event, &d, &subscription, &error) == DW_OK &&
        dw_runtime_spawn(f->runtime, f->hostile, &spawn, id.text, &error) == DW_OK) {
        const dw_request late = {
            .struct_bytes = sizeof late, .message = "+1", .message_bytes = 2, .timeout_ms = 100000};
        (void)!runtime_tell(f, &id, "F1", &answer, &error);
        (void)!runtime_tell(f, &id, "N1", &answer, &error);
        (void)!runtime_tell(f, &id, "A+1", &answer, &error);
        (void)!dw_runtime_call(f->runtime, id.text, &late, &error);
        (void)!dw_runtime_fork(f->runtime, id.text, child.text, &error);
        (void)!dw_runtime_freeze(f->runtime, id.text, NULL, &error);
        (void)!runtime_tell(f, &id, "!", &answer, &error);
        (void)!dw_runtime_rewind(f->runtime, id.text, 0, &error);
        (void)!dw_runtime_stop_tree(f->runtime, id.text, NULL, &error);
    }
    dw_runtime_close(f->runtime);
}

static void test_runtime_short_of_memory(void **state)
{
    runtime_fixture *f = *state;
    wasm_signals_restore();
    run_through(f);
    uint64_t before = dw_alloc_count();
    run_through(f);
    uint64_t count = dw_alloc_count() - before;
    assert_true(count > 50);
    for (uint64_t i = 0; i < count; i++) {
        dw_alloc_fail_after((int64_t)i);
        run_through(f);
    }
    dw_alloc_fail_after(-1);
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &id, "+3"), 3);
    runtime_close(f);
}

static void test_runtime_exports_and_imports(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    char path[] = "/tmp/dw-runtime-export-XXXXXX";
    int fd = mkstemp(path);
    runtime_id id;
    assert_true(fd >= 0);
    runtime_open(f);
    runtime_id first = runtime_spawned(f, f->actors->module, NULL);
    assert_int_equal(runtime_told(f, &first, "+5"), 5);
    assert_int_equal(runtime_tell(f, &first, "m", &answer, &error), DW_OK);
    assert_int_equal(dw_runtime_export(f->runtime, first.text, fd, &error), DW_OK);
    assert_int_equal(runtime_told(f, &first, "+1"), 6);
    const int fds[] = {fd};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .fds = fds,
                                  .path_count = 1,
                                  .models = &f->actors->model,
                                  .model_count = 1};
    dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .capabilities = DW_MAY_ALL};
    dw_status status = dw_runtime_import(f->runtime, &thaw, &spawn, id.text, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_string_not_equal(id.text, first.text);
    assert_int_equal(runtime_told(f, &id, "+2"), 7);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &id, "+0"), 5); /* as it was imported */
    const runtime_id imported = id;
    const char *const none[] = {"another"};
    const dw_tenant_options tenant = {
        .struct_bytes = sizeof tenant, .models = none, .model_count = 1};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "t", &tenant, &error), DW_OK);
    spawn = (dw_spawn_options){.struct_bytes = sizeof spawn, .tenant = "t"};
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &spawn, id.text, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "tenant 't' may not have model"));
    assert_int_equal(dw_runtime_export(f->runtime, first.text, -1, &error), DW_E_IO);
    assert_int_equal(runtime_told(f, &first, "+0"), 6);
    assert_int_equal(ftruncate(fd, 0), 0); /* the file is its owner's again */
    assert_int_equal(runtime_told(f, &imported, "+1"), 6);
    assert_int_equal(runtime_tell(f, &imported, "m", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &imported, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &imported, "+0"), 5);
    runtime_close(f);
    (void)close(fd);
    (void)unlink(path);
}

/* What one of a tenant has computed the others find, and nobody else. */
static void test_runtime_shares_prefixes(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    dw_tenant_options tenant = {.struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL};
    static const char *const tenants[] = {"", "", "other", "own", "own"};
    static const bool finds[] = {false, true, false, false, false};
    runtime_open(f);
    dw_engine_forget_prefixes(f->actors->engine, NULL);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "other", &tenant, &error), DW_OK);
    tenant.no_shared_prefixes = true;
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "own", &tenant, &error), DW_OK);
    runtime_answer first;
    for (size_t i = 0; i < 5; i++) {
        const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .tenant = tenants[i]};
        runtime_id id = runtime_spawned(f, f->actors->module, &spawn);
        assert_int_equal(runtime_tell(f, &id, "m", &answer, &error), DW_OK);
        assert_int_equal(runtime_tell(f, &id, "q200", &answer, &error), DW_OK);
        assert_int_equal(runtime_tell(f, &id, "G6", &answer, &error), DW_OK);
        if (i == 0) {
            first = answer;
        }
        assert_int_equal(answer.count, first.count); /* the same tokens */
        assert_memory_equal(answer.bytes, first.bytes, first.count);
        assert_int_equal(runtime_info(f, &id).found_tokens > 0, finds[i]);
        assert_true(runtime_info(f, &id).generated_tokens >= 6);
        assert_true(runtime_info(f, &id).memory_bytes > 0);
    }
    runtime_close(f);
}

/* ---- manifests ------------------------------------------------------------------------------- */

static dw_status opened_with(runtime_fixture *f, const char *manifest, dw_error *error)
{
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .manifest = manifest, .manifest_bytes = strlen(manifest)};
    *error = (dw_error){.message = ""};
    return dw_runtime_open(&f->runtime, f->actors->engine, &options, error);
}

static void test_runtime_manifest(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_answer answer;
    runtime_id id;
    static const char manifest[] =
        "{\"limits\": {\"actors\": 5, \"message_bytes\": \"1K\"}, \"tenants\": {\"some\": {"
        "\"weight\": 300, \"actors\": 2, \"may\": [\"spawn\", \"timers\"],"
        " \"limits\": {\"message_bytes\": 20}, \"models\": [\"nobody's\"]},"
        " \"all\": {\"may\": [\"send-any\"], \"models\": [\"*\"]}}}";
    wasm_signals_restore();
    assert_int_equal(opened_with(f, manifest, &error), DW_OK);
    dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .tenant = "some", .capabilities = 33};
    assert_int_equal(dw_runtime_spawn(f->runtime, f->actors->module, &spawn, id.text, &error),
                     DW_OK);
    assert_int_equal(runtime_tell(f, &id, "+12345678901234567890", &answer, &error), DW_E_LIMIT);
    assert_string_equal(error.message, "message: 21 bytes, limit 20 (message_bytes)");
    assert_int_equal(runtime_tell(f, &id, "F1", &answer, &error), DW_E_DENIED);
    assert_int_equal(runtime_tell(f, &id, "S1", &answer, &error), DW_OK);
    assert_int_equal(dw_runtime_wait(f->runtime, 0, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &id, "S1", &answer, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "of tenant 'some', limit 2 (actors_max)"));
    spawn.capabilities = DW_MAY_FORK;
    assert_int_equal(dw_runtime_spawn(f->runtime, f->echo, &spawn, id.text, &error), DW_E_DENIED);
    dw_instance_options granted = {
        .struct_bytes = sizeof granted, .models = &f->actors->model, .model_count = 1};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &granted};
    spawn = (dw_spawn_options){.struct_bytes = sizeof spawn, .tenant = "some", .actor = &actor};
    assert_int_equal(dw_runtime_spawn(f->runtime, f->echo, &spawn, id.text, &error), DW_E_DENIED);
    spawn.tenant = "all";
    assert_int_equal(dw_runtime_spawn(f->runtime, f->echo, &spawn, id.text, &error), DW_OK);
    spawn = (dw_spawn_options){.struct_bytes = sizeof spawn, .capabilities = DW_MAY_SPAWN};
    assert_int_equal(dw_runtime_spawn(f->runtime, f->echo, &spawn, id.text, &error), DW_E_DENIED);
    spawn.capabilities = 0;
    assert_int_equal(dw_runtime_spawn(f->runtime, f->echo, &spawn, id.text, &error), DW_OK);
    runtime_close(f);
}

static void test_runtime_manifest_is_refused(void **state)
{
    static const struct {
        const char *text;
        dw_status status;
        const char *words;
    } cases[] = {
        {"", DW_E_FORMAT, "manifest: line 1"},
        {"[]", DW_E_FORMAT, "an object is wanted"},
        {"{\"tenant\": {}}", DW_E_NOT_FOUND, "no 'tenant'"},
        {"{\"tenants\": []}", DW_E_FORMAT, "tenants is a list; an object"},
        {"{\"tenants\": {}, \"tenants\": {}}", DW_E_FORMAT, "duplicate"},
        {"{\"tenants\": {\"a\": 1}}", DW_E_FORMAT, "tenant 'a'"},
        {"{\"tenants\": {\"a\": {\"wait\": 1}}}", DW_E_NOT_FOUND, "'wait'"},
        {"{\"tenants\": {\"a\": {\"weight\": 0}}}", DW_E_RANGE, "weight is 0, 1 to 10000"},
        {"{\"tenants\": {\"a\": {\"weight\": 1.5}}}", DW_E_FORMAT, "weight is 1.5; a whole"},
        {"{\"tenants\": {\"a\": {\"actors\": -1}}}", DW_E_RANGE, "actors is -1"},
        {"{\"tenants\": {\"a\": {\"may\": \"spawn\"}}}", DW_E_FORMAT, "may is 'spawn'; a list"},
        {"{\"tenants\": {\"a\": {\"may\": [\"fly\"]}}}", DW_E_NOT_FOUND, "there is no 'fly'"},
        {"{\"tenants\": {\"a\": {\"may\": [3]}}}", DW_E_NOT_FOUND, "(no text)"},
        {"{\"tenants\": {\"a\": {\"models\": [1]}}}", DW_E_FORMAT, "models: item 0"},
        {"{\"tenants\": {\"a\": {\"limits\": {\"mail\": 0}}}}", DW_E_RANGE, "mail"},
        {"{\"tenants\": {\"a\": {\"prefixes\": true}}}", DW_E_FORMAT, "prefixes is true; 'shared'"},
        {"{\"tenants\": {\"a\": {\"contexts\": {\"write\": null}}}}", DW_E_FORMAT,
         "contexts: write is null; a list"},
        {"{\"tenants\": {\"a\": {\"contexts\": {\"read\": [\"x*y\"]}}}}", DW_E_ARG,
         "tenant 'a': contexts: 'x*y'"},
        {"{\"tenants\": {\"a\": {\"folders\": [{\"host\": \"/tmp\", \"guest\": \"/t\"}, {\"host\": "
         "\"/tmp\", \"guest\": \"/t\"}]}}}",
         DW_E_ARG, "tenant 'a': folders: '/t' twice"},
        {"{\"limits\": {\"nothing\": 1}}", DW_E_NOT_FOUND, "none of this name"},
        {"{\"limits\": 3}", DW_E_FORMAT, "limits is 3; an object"},
    };
    runtime_fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_error error;
        assert_int_equal(opened_with(f, cases[i].text, &error), cases[i].status);
        assert_null(f->runtime);
        if (strstr(error.message, cases[i].words) == NULL) {
            fail_msg("%s: %s", cases[i].text, error.message);
        }
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

static void test_runtime_lists(void **state)
{
    runtime_fixture *f = *state;
    runtime_id ids[100];
    size_t count = 0;
    dw_error error;
    char text[16384];
    runtime_open(f);
    runtime_id some = runtime_spawned(f, f->echo, NULL);
    for (int i = 1; i < 90; i++) {
        (void)runtime_spawned(f, f->echo, NULL);
    }
    char(*to)[DW_ACTOR_ID_CHARS + 1] = (char(*)[DW_ACTOR_ID_CHARS + 1])(void *)ids;
    const char *after = "";
    for (size_t got = 0; got < 90; got += count) { /* in pages of 7, in order */
        assert_int_equal(dw_runtime_list(f->runtime, after, to + got, 7, &count, &error), DW_OK);
        assert_int_equal(count, got + 7 <= 90 ? 7 : 90 - got);
        for (size_t i = got; i < got + count; i++) {
            assert_true(i == 0 || strcmp(ids[i - 1].text, ids[i].text) < 0);
        }
        after = ids[got + count - 1].text;
    }
    assert_int_equal(dw_runtime_list(f->runtime, after, to, 7, &count, &error), DW_OK);
    assert_int_equal(count, 0);
    dw_text_room room = {.items = text, .capacity = sizeof text - 1};
    assert_int_equal(dw_runtime_describe(f->runtime, some.text, &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, some.text));
    assert_non_null(strstr(text, "\"may\":[\"spawn\",\"fork\",\"send-kin\",\"send-tenant\","
                                 "\"send-any\",\"timers\",\"join\"]"));
    assert_non_null(strstr(text, "\"message_timeout_ms\":\"10m\""));
    size_t shown = 0; /* each of the limits that bound it */
    for (size_t i = 0; i < dw_limit_count(); i++) {
        char member[96];
        dw_limit_info row = {.struct_bytes = sizeof row};
        assert_int_equal(dw_limit_get_info(i, &row, &error), DW_OK);
        (void)snprintf(member, sizeof member, "\"%s\":\"", row.name);
        shown += strstr(text, member) != NULL;
    }
    assert_int_equal(shown, dw_limit_count());
    assert_int_equal(dw_runtime_describe(f->runtime, NULL, &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, "{\"actors\":90,"));
    assert_non_null(strstr(text, "\"kv\":{\"limit_bytes\":"));
    assert_non_null(strstr(text, "\"device_kv_bytes\":\"none\""));
    room.capacity = 10;
    assert_int_equal(dw_runtime_describe(f->runtime, NULL, &room, &error), DW_E_SPACE);
    assert_int_equal(room.count, strlen(text));
    runtime_close(f);
}

static void test_runtime_tells(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    diary all = {.f = f};
    diary one = {.f = f};
    diary once = {.f = f, .leaves = true};
    runtime_open(f);
    assert_int_equal(
        dw_runtime_subscribe(f->runtime, NULL, on_event, &all, &all.subscription, &error), DW_OK);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(
        dw_runtime_subscribe(f->runtime, id.text, on_event, &one, &one.subscription, &error),
        DW_OK);
    assert_int_equal(
        dw_runtime_subscribe(f->runtime, NULL, on_event, &once, &once.subscription, &error), DW_OK);
    assert_int_equal(runtime_told(f, &id, "+1"), 1);
    assert_int_equal(dw_runtime_freeze(f->runtime, id.text, NULL, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    runtime_await(f);
    assert_int_equal(dw_runtime_rewind(f->runtime, id.text, 0, &error), DW_OK);
    runtime_id other = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(dw_runtime_stop(f->runtime, id.text, &error), DW_OK);
    runtime_await(f);
    dw_runtime_unsubscribe(f->runtime, one.subscription);
    dw_runtime_unsubscribe(f->runtime, all.subscription);
    assert_int_equal(runtime_told(f, &other, "+1"), 1);
    runtime_close(f);
    assert_string_equal(one.kinds, "abweFabeRWX");
    assert_string_equal(all.kinds, "MabweFabeRWMX");
    assert_string_equal(once.kinds, "a");
}

int main(void)
{
    wasm_signals_save();
    (void)setenv("DW_TEST_THREADS", "1", 0);
    const struct CMUnitTest tests[] = {
        runtime_test(test_runtime_answers),
        runtime_test(test_runtime_cancels),
        runtime_test(test_runtime_times_out),
        runtime_test(test_runtime_callbacks),
        runtime_test(test_runtime_mail_is_bounded),
        runtime_test(test_runtime_refuses),
        runtime_test(test_runtime_effects),
        runtime_test(test_runtime_denies),
        runtime_test(test_runtime_storms),
        runtime_test(test_runtime_long_timers_begin_anew),
        runtime_test(test_runtime_restarts),
        runtime_test(test_runtime_sets_aside),
        runtime_test(test_runtime_forks_and_rewinds),
        runtime_test(test_runtime_stops),
        runtime_test(test_runtime_closes_amid_work),
        runtime_test(test_runtime_short_of_memory),
        runtime_test(test_runtime_exports_and_imports),
        runtime_test(test_runtime_shares_prefixes),
        runtime_test(test_runtime_manifest),
        runtime_test(test_runtime_manifest_is_refused),
        runtime_test(test_runtime_lists),
        runtime_test(test_runtime_tells),
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
