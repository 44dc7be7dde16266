/* Who leaves memory of a runtime with a path, when, and that nothing is lost by it. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime/runtime_internal.h"
#include "runtime_fixture.h"
#include "support.h"

#define CROWD 200
#define CROWD_MAX 16
#define TALKS 3
#define ACTS 400

static char folder[] = "/tmp/dw-parking-XXXXXX";
static _Atomic uint64_t later_ns; /* that the runtime's clock is ahead of the system's */

static void clean(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void open_folder(runtime_fixture *f)
{
    f->path = folder;
    runtime_open(f);
}

static void close_folder(runtime_fixture *f)
{
    runtime_close(f);
    f->path = f->manifest = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    clean();
}

static uint64_t clock_ns(void *user)
{
    (void)user;
    return dw_os_clock_ns() + atomic_load(&later_ns);
}

/* So many actors in memory from now on; and time is the test's. */
static void bound(runtime_fixture *f, uint64_t actors)
{
    dw__enter(f->runtime);
    f->runtime->resident_max = actors;
    f->runtime->platform.clock_ns = clock_ns;
    dw__leave(f->runtime, false);
}

static void pass_time(runtime_fixture *f, uint64_t seconds)
{
    runtime_await(f); /* who was told of an end need not rest yet */
    (void)atomic_fetch_add(&later_ns, seconds * UINT64_C(1000000000));
    (void)dw__tick(f->runtime);
}

static dw_runtime_stats stats_of(runtime_fixture *f)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    return stats;
}

static void await_resident(runtime_fixture *f, uint64_t actors)
{
    for (unsigned i = 0; stats_of(f).resident != actors; i++) {
        assert_true(i < 20000);
        (void)usleep(1000);
    }
    runtime_await(f);
}

static bool is_in(runtime_fixture *f, const runtime_id *id)
{
    return runtime_info(f, id).resident;
}

static runtime_id spawned(runtime_fixture *f, dw_priority priority, bool pinned)
{
    const dw_spawn_options options = {.struct_bytes = sizeof options,
                                      .capabilities = DW_MAY_ALL,
                                      .priority = priority,
                                      .pinned = pinned};
    return runtime_spawned(f, f->hostile, &options);
}

static runtime_id child_of(runtime_fixture *f, const runtime_id *parent)
{
    runtime_id ids[16];
    size_t count = runtime_ids(f, ids, 16);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(runtime_info(f, &ids[i]).parent, parent->text) == 0) {
            return ids[i];
        }
    }
    fail_msg("no child");
    return *parent;
}

/* ---- who goes first -------------------------------------------------------------------------- */

static void test_parking_by_priority_and_use(void **state)
{
    runtime_fixture *f = *state;
    open_folder(f);
    bound(f, 100);
    runtime_id pinned = spawned(f, DW_PRIORITY_LOW, true);
    runtime_id high = spawned(f, DW_PRIORITY_HIGH, false);
    runtime_id first = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_id second = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_id low = spawned(f, DW_PRIORITY_LOW, false);
    (void)runtime_told(f, &first, "+1"); /* used after the second */
    (void)runtime_told(f, &low, "+2");
    runtime_await(f);
    const runtime_id order[] = {low, second, first, high};
    for (size_t i = 0; i < 4; i++) {
        bound(f, 4 - i);
        await_resident(f, 4 - i);
        assert_false(is_in(f, &order[i]));
        assert_true(i == 3 || is_in(f, &order[i + 1]));
        assert_true(is_in(f, &pinned));
    }
    assert_int_equal(stats_of(f).parks, 4);
    assert_int_equal(runtime_told(f, &low, "+1"), 3); /* beyond the bound: the other is pinned */
    assert_int_equal(runtime_told(f, &first, "+1"), 2);
    await_resident(f, 1); /* and goes again */
    assert_true(is_in(f, &pinned));
    assert_int_equal(stats_of(f).thaws, 2);
    close_folder(f);
}

static void test_parking_by_what_is_set(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    open_folder(f);
    bound(f, 100);
    runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_id b = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_id c = spawned(f, DW_PRIORITY_NORMAL, false);
    assert_int_equal(dw_runtime_set_pinned(f->runtime, a.text, true, &error), DW_OK);
    assert_int_equal(dw_runtime_set_priority(f->runtime, c.text, DW_PRIORITY_LOW, &error), DW_OK);
    assert_int_equal(dw_runtime_set_priority(f->runtime, c.text, (dw_priority)7, &error), DW_E_ARG);
    bound(f, 2);
    await_resident(f, 2);
    assert_false(is_in(f, &c));
    assert_int_equal(dw_runtime_set_priority(f->runtime, c.text, DW_PRIORITY_HIGH, &error), DW_OK);
    runtime_close(f);
    open_folder(f);
    assert_true(runtime_info(f, &a).pinned);
    assert_int_equal(runtime_info(f, &c).priority, DW_PRIORITY_HIGH);
    bound(f, 2);
    (void)runtime_told(f, &a, "+1");
    (void)runtime_told(f, &c, "+1");
    (void)runtime_told(f, &b, "+1"); /* waits for c to leave, which is all that may */
    await_resident(f, 2);
    assert_true(is_in(f, &a) && is_in(f, &b));
    assert_int_equal(dw_runtime_set_pinned(f->runtime, a.text, false, &error), DW_OK);
    (void)runtime_told(f, &c, "+1"); /* to let it go counts as use */
    await_resident(f, 2);
    assert_true(is_in(f, &a) && is_in(f, &c));
    close_folder(f);
}

static void test_parking_children_first(void **state)
{
    runtime_fixture *f = *state;
    open_folder(f);
    bound(f, 100);
    runtime_id parent = spawned(f, DW_PRIORITY_LOW, false);
    (void)runtime_told(f, &parent, "G+5");
    runtime_await(f);
    runtime_id child = child_of(f, &parent);
    (void)runtime_told(f, &child, "G+1");
    runtime_await(f);
    runtime_id grandchild = child_of(f, &child);
    dw_error error;
    assert_int_equal(dw_runtime_set_priority(f->runtime, child.text, DW_PRIORITY_HIGH, &error),
                     DW_OK);
    runtime_id other = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_await(f);
    const runtime_id order[] = {grandchild, child, parent, other};
    for (size_t i = 0; i < 3; i++) {
        bound(f, 3 - i);
        await_resident(f, 3 - i);
        assert_false(is_in(f, &order[i]));
        assert_true(is_in(f, &order[i + 1]));
    }
    assert_int_equal(runtime_told(f, &grandchild, "+1"), 7);
    close_folder(f);
}

/* Also where the child came into memory before its parent did. */
static void test_parking_of_late_parents(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    open_folder(f);
    runtime_id parent = spawned(f, DW_PRIORITY_LOW, false);
    (void)runtime_told(f, &parent, "G+5");
    runtime_await(f);
    runtime_id child = child_of(f, &parent);
    assert_int_equal(dw_runtime_set_priority(f->runtime, child.text, DW_PRIORITY_HIGH, &error),
                     DW_OK);
    for (int again = 0; again < 2; again++) {
        runtime_close(f);
        open_folder(f);
        (void)runtime_told(f, &child, "+1");
        (void)runtime_told(f, &parent, "+1");
        runtime_await(f);
        bound(f, 1);
        await_resident(f, 1);
        assert_false(is_in(f, &child));
        assert_true(is_in(f, &parent));
    }
    close_folder(f);
}

/* Also where the one between is not in memory, or has ended, whoever comes first. */
static void test_parking_of_whom_nobody_is_between(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id ids[8];
    open_folder(f);
    runtime_id parent = spawned(f, DW_PRIORITY_LOW, false);
    (void)runtime_told(f, &parent, "G+5");
    runtime_await(f);
    runtime_id child = child_of(f, &parent);
    (void)runtime_told(f, &child, "G+1");
    runtime_await(f);
    runtime_id grandchild = child_of(f, &child);
    assert_int_equal(dw_runtime_set_priority(f->runtime, grandchild.text, DW_PRIORITY_HIGH, &error),
                     DW_OK);
    for (int again = 0; again < 4; again++) {
        const runtime_id order[] = {again % 2 == 0 ? parent : grandchild,
                                    again % 2 == 0 ? grandchild : parent};
        runtime_close(f);
        open_folder(f);
        if (again == 2) {
            assert_int_equal(dw_runtime_stop(f->runtime, child.text, &error), DW_OK);
        }
        (void)runtime_told(f, &order[0], "+1");
        (void)runtime_told(f, &order[1], "+1");
        runtime_await(f);
        assert_int_equal(runtime_ids(f, ids, 8), again < 2 ? 3 : 2);
        bound(f, 1);
        await_resident(f, 1);
        assert_false(is_in(f, &grandchild));
        assert_true(is_in(f, &parent));
    }
    (void)runtime_told(f, &grandchild, "+1"); /* the tree is known as well */
    uint64_t stopped = 0;
    assert_int_equal(dw_runtime_stop_tree(f->runtime, parent.text, &stopped, &error), DW_OK);
    assert_int_equal(stopped, 2);
    close_folder(f);
}

/* Nor does one whose child is at work, nor one that is. */
static void test_parking_spares_who_works(void **state)
{
    runtime_fixture *f = *state;
    open_folder(f);
    bound(f, 100);
    runtime_id parent = spawned(f, DW_PRIORITY_LOW, false);
    (void)runtime_told(f, &parent, "G+5");
    runtime_await(f);
    runtime_id child = child_of(f, &parent);
    runtime_id other = spawned(f, DW_PRIORITY_HIGH, false);
    const dw_request endless = {.struct_bytes = sizeof endless, .message = "l", .message_bytes = 1};
    assert_int_equal(dw_runtime_send(f->runtime, child.text, &endless, NULL, NULL), DW_OK);
    while (!runtime_info(f, &child).working) {
        (void)usleep(1000);
    }
    bound(f, 1);
    for (unsigned i = 0; is_in(f, &other); i++) {
        assert_true(i < 20000);
        (void)usleep(1000);
    }
    (void)usleep(50000);
    assert_true(is_in(f, &parent) && is_in(f, &child));
    assert_int_equal(dw_runtime_interrupt(f->runtime, child.text, NULL), DW_OK);
    await_resident(f, 1);
    assert_true(is_in(f, &parent));
    assert_int_equal(runtime_told(f, &child, "+1"), 6);
    close_folder(f);
}

/* ---- as if it had never left ----------------------------------------------------------------- */

/* On other devices than the CPU bits depend on the shapes of steps (docs/numerics.md): there nobody
 * finds what another has computed, so that both compute the same steps. */
static void share_nothing_on_a_device(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    const dw_tenant_options apart = {
        .struct_bytes = sizeof apart, .capabilities = DW_MAY_ALL, .no_shared_prefixes = true};
    if (getenv("DW_TEST_DEVICE") != NULL) {
        assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &apart, &error), DW_OK);
    }
}

static void test_parking_answers_go_on(void **state)
{
    static const char *const messages[] = {"m", "s7", "n300", "g20", "k40", "g20", "g10"};
    runtime_fixture *f = *state;
    static runtime_answer stayed;
    static runtime_answer left;
    dw_error error = {.message = ""};
    open_folder(f);
    share_nothing_on_a_device(f);
    runtime_id a = runtime_spawned(f, f->actors->module, NULL);
    runtime_id b = runtime_spawned(f, f->actors->module, NULL);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_int_equal(runtime_tell(f, &a, messages[i], &stayed, &error), DW_OK);
        assert_int_equal(dw_runtime_park(f->runtime, b.text, &error), DW_OK);
        assert_false(is_in(f, &b));
        assert_int_equal(runtime_tell(f, &b, messages[i], &left, &error), DW_OK);
        assert_int_equal(stayed.count, left.count);
        assert_memory_equal(stayed.bytes, left.bytes, left.count);
    }
    assert_true(left.count == 80);
    assert_int_equal(stats_of(f).thaws, 7);
    close_folder(f);
}

typedef struct seen {
    _Atomic unsigned parked;
    _Atomic unsigned thawed;
} seen;

static void on_event(void *user, const dw_event *event)
{
    seen *s = user;
    (void)atomic_fetch_add(&s->parked, event->kind == DW_EVENT_PARKED);
    (void)atomic_fetch_add(&s->thawed, event->kind == DW_EVENT_THAWED);
}

static void test_parking_by_call(void **state)
{
    runtime_fixture *f = *state;
    seen s = {.parked = 0};
    uint64_t subscription = 0;
    dw_error error;
    f->durability = DW_DURABLE_PARK;
    open_folder(f);
    runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
    assert_int_equal(dw_runtime_subscribe(f->runtime, a.text, on_event, &s, &subscription, &error),
                     DW_OK);
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    assert_int_equal(stats_of(f).freezes, 1); /* what it was at first */
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_OK);
    assert_int_equal(stats_of(f).freezes, 2);
    assert_int_equal(stats_of(f).resident, 0);
    assert_int_equal(stats_of(f).resident_bytes, 0);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_OK); /* it is */
    assert_int_equal(runtime_told(f, &a, "+1"), 2);
    assert_true(stats_of(f).resident_bytes > 0);
    assert_int_equal(dw_runtime_set_pinned(f->runtime, a.text, true, &error), DW_OK);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_E_STATE);
    assert_int_equal(runtime_told(f, &a, "+1"), 3);
    assert_int_equal(dw_runtime_park(f->runtime, "0000000000000001", &error), DW_E_NOT_FOUND);
    runtime_await(f);
    assert_int_equal(s.parked, 1);
    assert_int_equal(s.thawed, 1);
    assert_int_equal(stats_of(f).parks, 1);
    close_folder(f);
    runtime_open(f); /* without a path there is nowhere to go */
    a = spawned(f, DW_PRIORITY_NORMAL, false);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_E_STATE);
    assert_int_equal(dw_runtime_set_pinned(f->runtime, a.text, true, &error), DW_OK);
    runtime_close(f);
}

/* ---- idling ---------------------------------------------------------------------------------- */

static void test_parking_after_idling(void **state)
{
    runtime_fixture *f = *state;
    f->manifest = "{\"park_idle_s\": 60, \"tenants\": {\"\": {\"may\": [\"fork\"], \"models\": "
                  "[\"*\"]}, \"never\": {\"models\": [\"*\"], \"park_idle_s\": 0}, \"long\": "
                  "{\"models\": [\"*\"], \"park_idle_s\": 1000}}}";
    open_folder(f);
    bound(f, 100);
    dw_spawn_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_FORK};
    runtime_id a = runtime_spawned(f, f->hostile, &options);
    runtime_id b = runtime_spawned(f, f->hostile, &options);
    options.capabilities = 0;
    options.tenant = "never";
    runtime_id never = runtime_spawned(f, f->hostile, &options);
    options.tenant = "long";
    runtime_id longer = runtime_spawned(f, f->hostile, &options);
    (void)runtime_told(f, &a, "G+1");
    runtime_await(f);
    runtime_id child = child_of(f, &a);
    pass_time(f, 40);
    await_resident(f, 5);
    (void)runtime_told(f, &child, "+1");
    pass_time(f, 30);
    await_resident(f, 4); /* not the child, nor whom it descends from */
    assert_false(is_in(f, &b));
    assert_true(is_in(f, &a) && is_in(f, &child));
    assert_in_range(runtime_info(f, &child).idle_ns / 1000000000, 30, 39);
    pass_time(f, 40);
    while (stats_of(f).resident > 2) {
        pass_time(f, 1);
        (void)usleep(1000);
    }
    pass_time(f, 1000);
    await_resident(f, 1);
    assert_true(is_in(f, &never) && !is_in(f, &longer));
    pass_time(f, 100000);
    assert_true(is_in(f, &never));
    assert_int_equal(runtime_told(f, &child, "+1"), 3);
    close_folder(f);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

typedef struct member {
    runtime_fixture *fixture;
    struct crowd *of;
    runtime_id id;
    unsigned told;
    runtime_answer answer;
} member;

typedef struct crowd {
    member members[CROWD];
    _Atomic unsigned ended;
    _Atomic unsigned failed;
} crowd;

static void say(member *m);

static ptrdiff_t keep_answer(void *user, const unsigned char *bytes, size_t count)
{
    return runtime_keep(&((member *)user)->answer, bytes, count);
}

static void on_end(void *user, const dw_runtime_end *end)
{
    member *m = user;
    (void)atomic_fetch_add(&m->of->failed, end->status != DW_OK);
    (void)atomic_fetch_add(&m->of->ended, 1);
    if (++m->told < TALKS) {
        say(m);
    }
}

static void say(member *m)
{
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+1",
                                .message_bytes = 2,
                                .on_answer = keep_answer,
                                .on_end = on_end,
                                .user = m};
    m->answer.count = 0;
    (void)atomic_fetch_add(&m->of->failed, dw_runtime_send(m->fixture->runtime, m->id.text,
                                                           &request, NULL, NULL) != DW_OK);
}

static void test_parking_bounds_hold(void **state)
{
    static crowd c;
    runtime_fixture *f = *state;
    uint64_t most = 0;
    char problem[256];
    f->manifest = "{\"resident_actors\": 16, \"tenants\": {\"\": {\"models\": [\"*\"]}}}";
    open_folder(f);
    for (size_t i = 0; i < CROWD; i++) {
        c.members[i] = (member){.fixture = f, .of = &c};
        const dw_spawn_options options = {.struct_bytes = sizeof options};
        c.members[i].id = runtime_spawned(f, f->hostile, &options);
        assert_true(stats_of(f).resident <= CROWD_MAX);
    }
    for (size_t i = 0; i < CROWD; i++) {
        say(&c.members[i]);
    }
    while (atomic_load(&c.ended) < CROWD * TALKS) {
        dw_runtime_stats stats = stats_of(f);
        most = stats.resident > most ? stats.resident : most;
        (void)usleep(200);
    }
    runtime_await(f);
    assert_int_equal(c.failed, 0);
    assert_in_range(most, CROWD_MAX / 2, CROWD_MAX);
    assert_int_equal(stats_of(f).queued, 0);
    assert_true(stats_of(f).parks >= CROWD - CROWD_MAX);
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(*(uint32_t *)(void *)c.members[i].answer.bytes, TALKS);
    }
    assert_int_equal(runtime_problems(f, problem), 0);
    close_folder(f);
}

/* By bytes: what they take together. */
static void test_parking_bounds_of_bytes(void **state)
{
    runtime_fixture *f = *state;
    runtime_id ids[12];
    open_folder(f);
    ids[0] = spawned(f, DW_PRIORITY_NORMAL, false);
    (void)runtime_told(f, &ids[0], "+1");
    uint64_t each = runtime_info(f, &ids[0]).memory_bytes;
    assert_true(each > 0);
    dw__enter(f->runtime);
    f->runtime->resident_bytes_max = 6 * each;
    dw__leave(f->runtime, false);
    for (size_t i = 1; i < 12; i++) {
        ids[i] = spawned(f, DW_PRIORITY_NORMAL, false);
        assert_int_equal(runtime_told(f, &ids[i], "+1"), 1);
        runtime_await(f);
        assert_true(stats_of(f).resident_bytes <= 6 * each);
    }
    assert_in_range(stats_of(f).resident, 3, 6);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(runtime_told(f, &ids[i], "+1"), 2);
    }
    close_folder(f);
}

static dw_kv_stats kv_of(runtime_fixture *f)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_engine_get_kv_stats(f->actors->engine, &stats), DW_OK);
    return stats;
}

/* A prompt of its own each, so that nothing is shared; the context's length. */
static void prompt(runtime_fixture *f, const runtime_id *id, unsigned own)
{
    char text[600];
    runtime_answer answer;
    dw_error error = {.message = ""};
    (void)snprintf(text, sizeof text, "p%04x", own * 40503 % 65536);
    for (size_t length = strlen(text); length < 500; length++) {
        text[length] = (char)('a' + (length + own) * length % 23);
        text[length + 1] = '\0';
    }
    if (runtime_tell(f, id, text, &answer, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

/* By the device's limit of keys and values: who rests leaves for whom computes, those that fork
 * count once, and who finds no room although nobody rests is refused. */
static void test_parking_where_contexts_reach_the_limit(void **state)
{
    enum { MANY = 8 };
    const dw_spawn_options nothing = {.struct_bytes = sizeof nothing};
    runtime_fixture *f = *state;
    runtime_id ids[MANY];
    runtime_answer answer;
    dw_error error = {.message = ""};
    f->manifest = "{\"limits\": {\"device_kv_bytes\": \"3G\"},"
                  " \"tenants\": {\"\": {\"models\": [\"*\"]}}}";
    open_folder(f);
    assert_int_equal(kv_of(f).limit_bytes, UINT64_C(3) << 30);
    uint64_t each = 0;
    for (unsigned i = 0; i < MANY; i++) {
        ids[i] = runtime_spawned(f, f->actors->module, &nothing);
        assert_int_equal(runtime_tell(f, &ids[i], "m", &answer, &error), DW_OK);
        prompt(f, &ids[i], i);
        if (i == 0) {
            each = kv_of(f).pages_bytes;
            if (each == 0) { /* in device memory, where others are evicted */
                close_folder(f);
                return;
            }
            assert_int_equal(dw_engine_set_kv_limit(f->actors->engine, 3 * each, &error), DW_OK);
        }
        assert_true(kv_of(f).pages_bytes <= 3 * each);
    }
    assert_true(stats_of(f).parks >= MANY - 3);
    for (unsigned i = 0; i < MANY; i++) { /* they come back, and go on */
        if (runtime_tell(f, &ids[i], "g4", &answer, &error) != DW_OK) {
            fail_msg("%s", error.message);
        }
        assert_true(kv_of(f).pages_bytes <= 3 * each);
    }
    assert_int_equal(dw_engine_set_kv_limit(f->actors->engine, 65536, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &ids[0], "pmore", &answer, &error), DW_E_MEMORY);
    assert_int_equal(dw_engine_set_kv_limit(f->actors->engine, 0, &error), DW_OK);
    close_folder(f);
}

/* A step that lacks memory: those at rest leave, before it fails. */
static void test_parking_where_memory_is_short(void **state)
{
    runtime_fixture *f = *state;
    open_folder(f);
    bound(f, 100);
    runtime_id ids[4];
    for (size_t i = 0; i < 4; i++) {
        ids[i] = spawned(f, DW_PRIORITY_NORMAL, i == 2);
    }
    runtime_await(f);
    assert_true(dw__relieve(f->runtime));
    await_resident(f, 1);
    assert_true(is_in(f, &ids[2]));
    assert_false(dw__relieve(f->runtime));
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(runtime_told(f, &ids[i], "+1"), 1);
    }
    close_folder(f);
}

static dw_status (*thaw_well)(void *user, dw__record *record, const char *id, uint64_t number,
                              dw__thawed *thawed, dw_error *err);
static runtime_fixture *crowded;

static dw_status thaw_alone(void *user, dw__record *record, const char *id, uint64_t number,
                            dw__thawed *thawed, dw_error *err)
{
    return stats_of(crowded).resident > 1 ? dw_fail(err, DW_E_MEMORY, "no memory for two")
                                          : thaw_well(user, record, id, number, thawed, err);
}

/* One that cannot be read for lack of it makes others leave, and is tried again. */
static void test_parking_for_one_that_comes(void **state)
{
    static dw__keeper own;
    runtime_fixture *f = *state;
    dw_error error;
    runtime_answer answer = {.count = 0};
    open_folder(f);
    bound(f, 100);
    runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
    runtime_id b = spawned(f, DW_PRIORITY_NORMAL, false);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_OK);
    crowded = f;
    dw__enter(f->runtime);
    own = *f->runtime->keeper;
    thaw_well = own.thaw;
    own.thaw = thaw_alone;
    f->runtime->keeper = &own;
    dw__leave(f->runtime, false);
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+1",
                                .message_bytes = 2,
                                .on_answer = runtime_keep,
                                .user = &answer};
    assert_int_equal(dw_runtime_send(f->runtime, a.text, &request, NULL, &error), DW_OK);
    for (unsigned i = 0; is_in(f, &b); i++) {
        assert_true(i < 20000);
        (void)usleep(1000);
    }
    while (runtime_info(f, &a).done == 0) {
        (void)atomic_fetch_add(&later_ns, DW__AGAIN_NS);
        (void)dw__tick(f->runtime);
        (void)usleep(1000);
    }
    runtime_await(f);
    assert_int_equal(*(uint32_t *)(void *)answer.bytes, 1);
    close_folder(f);
}

/* Those that never rest leave room for others. */
static void test_parking_beside_timers(void **state)
{
    runtime_fixture *f = *state;
    open_folder(f);
    bound(f, 2);
    for (unsigned i = 0; i < 4; i++) {
        runtime_id restless = spawned(f, DW_PRIORITY_NORMAL, false);
        (void)runtime_told(f, &restless, "t");
    }
    runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
    for (uint32_t i = 1; i <= 5; i++) {
        assert_int_equal(runtime_told(f, &a, "+1"), i);
    }
    assert_true(stats_of(f).resident <= 2);
    close_folder(f);
}

/* ---- what may go wrong ----------------------------------------------------------------------- */

typedef struct calls {
    _Atomic unsigned ended;
    _Atomic unsigned wrong;
    _Atomic unsigned parked;
    _Atomic uint32_t added; /* of messages that ended well */
} calls;

static void on_call_end(void *user, const dw_runtime_end *end)
{
    calls *c = user;
    (void)atomic_fetch_add(&c->wrong, end->status != DW_OK);
    (void)atomic_fetch_add(&c->ended, 1);
}

static void on_park_end(void *user, const dw_runtime_end *end)
{
    calls *c = user;
    (void)atomic_fetch_add(&c->wrong, end->status != DW_OK && end->status != DW_E_BUSY);
    (void)atomic_fetch_add(&c->parked, end->status == DW_OK);
    (void)atomic_fetch_add(&c->ended, 1);
}

static void on_added(void *user, const dw_runtime_end *end)
{
    calls *c = user;
    (void)atomic_fetch_add(&c->added, end->status == DW_OK);
    (void)atomic_fetch_add(&c->ended, 1);
}

/* Something with the actor, whatever else is under way with it. */
static void act(runtime_fixture *f, calls *c, const char *id, unsigned what, int fd)
{
    char child[DW_ACTOR_ID_CHARS + 1];
    const dw_request add = {.struct_bytes = sizeof add,
                            .message = "+1",
                            .message_bytes = 2,
                            .on_end = on_added,
                            .user = c};
    dw_runtime *runtime = f->runtime;
    dw_status status = DW_OK;
    switch (what) {
    case 0:
        status = dw_runtime_begin_fork(runtime, id, child, on_call_end, c, NULL);
        break;
    case 1:
        status = dw_runtime_begin_freeze(runtime, id, on_call_end, c, NULL);
        break;
    case 2:
        status = dw_runtime_begin_export(runtime, id, fd, on_call_end, c, NULL);
        break;
    case 3:
    case 4:
        status = dw_runtime_send(runtime, id, &add, NULL, NULL);
        break;
    default:
        status = dw_runtime_begin_park(runtime, id, on_park_end, c, NULL);
    }
    assert_int_equal(status, DW_OK);
}

static void test_parking_amid_calls(void **state)
{
    runtime_fixture *f = *state;
    calls c = {.ended = 0};
    uint32_t random = 1;
    FILE *file = tmpfile();
    assert_non_null(file);
    for (unsigned durability = 0; durability < 2; durability++) {
        c = (calls){.ended = 0};
        f->durability = durability == 0 ? DW_DURABLE_EACH : DW_DURABLE_PARK;
        open_folder(f);
        bound(f, 6);
        runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
        for (unsigned i = 0; i < ACTS; i++) {
            random = random * 1664525u + 1013904223u;
            act(f, &c, a.text, (random >> 16) % 8, fileno(file));
            if (random >> 30 == 0) {
                runtime_await(f);
            }
        }
        runtime_await(f);
        assert_int_equal(c.ended, ACTS);
        assert_int_equal(c.wrong, 0);
        assert_true(c.parked > 0 && c.added > 0);
        assert_int_equal(runtime_told(f, &a, "+0"), c.added);
        assert_int_equal(dw_runtime_begin_park(f->runtime, a.text, on_park_end, &c, NULL), DW_OK);
        assert_int_equal(dw_runtime_stop(f->runtime, a.text, NULL), DW_OK);
        assert_false(runtime_has(f, &a));
        runtime_await(f);
        assert_int_equal(c.ended, ACTS + 1);
        close_folder(f);
    }
    (void)fclose(file);
}

static _Atomic bool disk_is_full;
static dw_status (*freeze_well)(void *user, dw__turn *turn, void *body, dw_error *err);
static dw_status (*commit_well)(void *user, dw__turn *turn, dw_error *err);

static dw_status freeze_badly(void *user, dw__turn *turn, void *body, dw_error *err)
{
    dw_status status = freeze_well(user, turn, body, err); /* the file is written, but not kept */
    return status == DW_OK && atomic_load(&disk_is_full) ? dw_fail(err, DW_E_IO, "the disk is full")
                                                         : status;
}

static dw_status commit_badly(void *user, dw__turn *turn, dw_error *err)
{
    if (atomic_load(&disk_is_full)) {
        dw_error full;
        dw_status status = dw_fail(&full, DW_E_IO, "the journal is full");
        (void)err;
        dw__land(&turn->landing, status, &full);
        return DW_OK;
    }
    return commit_well(user, turn, err);
}

static void fail_disk(runtime_fixture *f, bool freezes)
{
    static dw__keeper own;
    dw__enter(f->runtime);
    own = *f->runtime->keeper;
    freeze_well = own.freeze;
    commit_well = own.commit;
    own.freeze = freezes ? freeze_badly : own.freeze;
    own.commit = freezes ? own.commit : commit_badly;
    f->runtime->keeper = &own;
    dw__leave(f->runtime, false);
    atomic_store(&disk_is_full, true);
}

static void test_parking_on_a_failing_disk(void **state)
{
    runtime_fixture *f = *state;
    char problem[256];
    dw_error error;
    for (unsigned freezes = 0; freezes < 2; freezes++) {
        f->durability = DW_DURABLE_PARK; /* nothing is written before */
        open_folder(f);
        bound(f, 100);
        runtime_id a = spawned(f, DW_PRIORITY_NORMAL, false);
        runtime_id b = spawned(f, DW_PRIORITY_NORMAL, false);
        assert_int_equal(runtime_told(f, &a, "+7"), 7);
        assert_int_equal(runtime_told(f, &b, "+9"), 9);
        fail_disk(f, freezes == 1);
        assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_E_IO);
        assert_true(is_in(f, &a));
        assert_true(runtime_problems(f, problem) > 0);
        assert_int_equal(runtime_told(f, &a, "+1"), 8); /* nothing is lost */
        bound(f, 1);
        (void)usleep(20000);
        assert_int_equal(stats_of(f).resident, 2); /* they stay */
        assert_int_equal(runtime_told(f, &b, "+1"), 10);
        atomic_store(&disk_is_full, false);
        pass_time(f, 2);
        await_resident(f, 1);
        assert_int_equal(runtime_told(f, &a, "+1"), 9);
        assert_int_equal(runtime_told(f, &b, "+1"), 11);
        runtime_close(f);
        f->durability = DW_DURABLE_PARK;
        open_folder(f);
        assert_int_equal(runtime_told(f, &a, "+1"), 10);
        assert_int_equal(runtime_told(f, &b, "+1"), 12);
        close_folder(f);
    }
}

static void test_parking_options_are_checked(void **state)
{
    runtime_fixture *f = *state;
    dw_runtime *runtime = NULL;
    dw_error error;
    static const char *const wrong[] = {"{\"park_idle_s\": -1}", "{\"park_idle_s\": 4294967295}",
                                        "{\"resident_actors\": 0}", "{\"resident_bytes\": 1.5}",
                                        "{\"tenants\": {\"a\": {\"park_idle_s\": \"x\"}}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const dw_runtime_options options = {.struct_bytes = sizeof options,
                                            .manifest = wrong[i],
                                            .manifest_bytes = strlen(wrong[i])};
        assert_int_not_equal(dw_runtime_open(&runtime, f->actors->engine, &options, &error), DW_OK);
        assert_non_null(strstr(error.message, "manifest"));
    }
}

static int open_group(void **state)
{
    assert_non_null(mkdtemp(folder));
    clean();
    return runtime_fixture_open(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_parking_by_priority_and_use),
        runtime_test(test_parking_by_what_is_set),
        runtime_test(test_parking_of_late_parents),
        runtime_test(test_parking_of_whom_nobody_is_between),
        runtime_test(test_parking_children_first),
        runtime_test(test_parking_spares_who_works),
        runtime_test(test_parking_answers_go_on),
        runtime_test(test_parking_by_call),
        runtime_test(test_parking_after_idling),
        runtime_test(test_parking_bounds_hold),
        runtime_test(test_parking_bounds_of_bytes),
        runtime_test(test_parking_where_memory_is_short),
        runtime_test(test_parking_where_contexts_reach_the_limit),
        runtime_test(test_parking_for_one_that_comes),
        runtime_test(test_parking_beside_timers),
        runtime_test(test_parking_amid_calls),
        runtime_test(test_parking_on_a_failing_disk),
        runtime_test(test_parking_options_are_checked),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, runtime_fixture_close);
}
