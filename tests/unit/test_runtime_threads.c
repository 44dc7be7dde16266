/* A runtime that several threads use at once, each as chance has it: every request ends once, the
 * runtime comes to rest, and TSan has nothing to say. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

#define THREADS 4
#define STEPS 400
#define IDS 24

static runtime_fixture *fixture;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static runtime_id ids[IDS]; /* guarded by lock; "": none yet */
static _Atomic unsigned accepted;
static _Atomic unsigned ended;
static _Atomic unsigned failed; /* what must not be */
static _Atomic unsigned events;

typedef struct caller {
    uint64_t random;
} caller;

static uint32_t chance(caller *c, uint32_t below)
{
    c->random = c->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(c->random >> 33) % below;
}

static runtime_id any_id(caller *c)
{
    (void)pthread_mutex_lock(&lock);
    runtime_id id = ids[chance(c, IDS)];
    (void)pthread_mutex_unlock(&lock);
    if (id.text[0] == '\0') {
        (void)snprintf(id.text, sizeof id.text, "%016x", chance(c, 1000));
    }
    return id;
}

static void note_id(caller *c, const runtime_id *id)
{
    (void)pthread_mutex_lock(&lock);
    ids[chance(c, IDS)] = *id;
    (void)pthread_mutex_unlock(&lock);
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    (void)user;
    failed += end->status != DW_OK && end->error->message[0] == '\0';
    ended++;
}

static void on_event(void *user, const dw_event *event)
{
    (void)user;
    failed += event->actor[0] == '\0';
    events++;
}

static void send(caller *c, const runtime_id *id, bool waits)
{
    static const char *const texts[] = {"+1", "+2", "!", "l", "F1", "N1", "A+1", "s", "?"};
    const char *text = texts[chance(c, 9)];
    dw_request request = {.struct_bytes = sizeof request,
                          .message = text,
                          .message_bytes = strlen(text),
                          .timeout_ms = chance(c, 2) == 0 ? 1 + chance(c, 20) : 0,
                          .on_answer = on_answer};
    if (waits) {
        request.timeout_ms = 1 + chance(c, 20);
        (void)!dw_runtime_call(fixture->runtime, id->text, &request, NULL);
        return;
    }
    request.on_end = on_end;
    accepted += dw_runtime_send(fixture->runtime, id->text, &request, NULL, NULL) == DW_OK;
}

static void spawn(caller *c)
{
    runtime_id id;
    const dw_spawn_options options = {.struct_bytes = sizeof options,
                                      .capabilities = DW_MAY_ALL,
                                      .tenant = chance(c, 2) == 0 ? "b" : NULL,
                                      .priority = (dw_priority)chance(c, 3),
                                      .on_end = on_end};
    if (dw_runtime_begin_spawn(fixture->runtime, fixture->hostile, &options, id.text, NULL) ==
        DW_OK) {
        accepted++;
        note_id(c, &id);
    }
}

static void look(caller *c, const runtime_id *id)
{
    char text[4096];
    dw_text_room room = {.items = text, .capacity = sizeof text};
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    uint64_t subscription = 0;
    (void)!dw_runtime_describe(fixture->runtime, chance(c, 2) == 0 ? NULL : id->text, &room, NULL);
    (void)dw_runtime_get_stats(fixture->runtime, &stats);
    if (dw_runtime_subscribe(fixture->runtime, NULL, on_event, NULL, &subscription, NULL) ==
        DW_OK) {
        send(c, id, false);
        dw_runtime_unsubscribe(fixture->runtime, subscription);
    }
}

static void step(caller *c)
{
    runtime_id id = any_id(c);
    runtime_id child;
    switch (chance(c, 14)) {
    case 0:
        spawn(c);
        break;
    case 1:
        if (dw_runtime_begin_fork(fixture->runtime, id.text, child.text, on_end, NULL, NULL) ==
            DW_OK) {
            accepted++;
            note_id(c, &child);
        }
        break;
    case 2:
        (void)!dw_runtime_freeze(fixture->runtime, id.text, NULL, NULL);
        break;
    case 3:
        (void)!dw_runtime_rewind(fixture->runtime, id.text, 0, NULL);
        break;
    case 4:
        (void)!(chance(c, 4) == 0 ? dw_runtime_stop_tree(fixture->runtime, id.text, NULL, NULL)
                                  : dw_runtime_stop(fixture->runtime, id.text, NULL));
        break;
    case 5:
        (void)!dw_runtime_interrupt(fixture->runtime, id.text, NULL);
        break;
    case 6:
        (void)!dw_runtime_cancel(fixture->runtime, id.text, chance(c, 2000), NULL);
        break;
    case 7:
        look(c, &id);
        break;
    default:
        send(c, &id, chance(c, 4) == 0);
    }
}

static void *run(void *arg)
{
    caller *c = arg;
    for (int i = 0; i < STEPS; i++) {
        step(c);
    }
    return NULL;
}

static void test_runtime_from_many_threads(void **state)
{
    static caller callers[THREADS];
    pthread_t threads[THREADS];
    dw_error error = {.message = ""};
    const dw_tenant_options tenant = {.struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL};
    fixture = *state;
    fixture->limits = (dw_limits){.struct_bytes = sizeof fixture->limits,
                                  .actors = 60,
                                  .mail = 20,
                                  .caused_messages = 20,
                                  .message_timeout_ms = 30};
    fixture->working_max = 8;
    runtime_open(fixture);
    uint64_t subscription = 0;
    assert_int_equal(dw_runtime_set_tenant(fixture->runtime, "b", &tenant, &error), DW_OK);
    assert_int_equal(
        dw_runtime_subscribe(fixture->runtime, NULL, on_event, NULL, &subscription, &error), DW_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (caller){.random = i + 1};
        for (int k = 0; k < IDS / THREADS; k++) {
            spawn(&callers[i]);
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(dw_os_start_thread(&threads[i], run, &callers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    dw_status status = dw_runtime_wait(fixture->runtime, 120000, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(failed, 0);
    assert_int_equal(ended, accepted);
    assert_true(events > 0);
    runtime_close(fixture);
}

int main(void)
{
    wasm_signals_save();
    (void)setenv("DW_TEST_THREADS", "1", 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runtime_from_many_threads)};
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
