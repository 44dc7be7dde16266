/* The chat guest in many actors at once, on the default model: each gives the bytes that it gives
 * alone, whoever comes, leaves, is parked or forked meanwhile (docs/numerics.md: weights in blocks
 * of 32). DW_TEST_SEED chooses who is parked and who leaves. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "model/model.h"
#include "runtime_fixture.h"
#include "support.h"

#define ACTORS 64
#define TALKS 2 /* messages to each */
#define LEAVERS 8
#define PARKED_EACH 8 /* of so many one certainly, between its messages */
#define MODEL "SmolLM2-135M-Instruct.Q4_1.gguf"

typedef struct talker {
    struct crowd *of;
    unsigned number;
    char id[DW_ACTOR_ID_CHARS + 1];
    unsigned told;
    bool forked; /* by the first talker, after its first message */
    _Atomic bool is_to_park;
    char text[4096];
    size_t bytes;
} talker;

typedef struct crowd {
    dw_engine *engine;
    dw_model *model;
    dw_module *chat;
    dw_runtime *runtime;
    talker alone[ACTORS];
    talker together[ACTORS];
    talker forks[ACTORS];
    talker leavers[LEAVERS]; /* are stopped in the middle */
    char folder[32];
    uint64_t seed;
    _Atomic unsigned failed;
    _Atomic unsigned talking;
    unsigned count; /* of actors: ACTORS, or fewer where there is little time (DW_TEST_SHORT) */
} crowd;

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    talker *t = user;
    if (count > sizeof t->text - t->bytes) {
        return -1;
    }
    memcpy(t->text + t->bytes, bytes, count);
    t->bytes += count;
    return (ptrdiff_t)count;
}

/* Of different lengths, so that prompts meet tokens that are decoded. */
static void line_of(unsigned actor, unsigned told, char *text, size_t capacity)
{
    static const char *const lines[] = {
        "Name a colour.", "Count to three, please, slowly.",
        "What is the sea like at night, and why do people go there?", "Say a word."};
    (void)snprintf(text, capacity, "%u: %s", actor, lines[(actor + told) % 4]);
}

static void spawn(crowd *c, talker *t, unsigned number, const char *tenant, const char *system)
{
    char seed[16];
    const char *const names[] = {"DRIFTWOOD_TEMP", "DRIFTWOOD_SEED", "DRIFTWOOD_MAX_TOKENS",
                                 "DRIFTWOOD_SYSTEM"};
    const char *const values[] = {number % 2 == 0 ? "0.8" : "0", seed, "6", system};
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &c->model,
                                    .model_count = 1,
                                    .env_names = names,
                                    .env_values = values,
                                    .env_count = system != NULL ? 4 : 3,
                                    .context_tokens_max = 512};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .tenant = tenant};
    (void)snprintf(seed, sizeof seed, "%u", 7 + number);
    *t = (talker){.of = c, .number = number};
    dw_status status = dw_runtime_spawn(c->runtime, c->chat, &options, t->id, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static dw_request request_of(talker *t, char *text, size_t capacity)
{
    line_of(t->number, t->told, text, capacity);
    return (dw_request){.struct_bytes = sizeof(dw_request),
                        .message = text,
                        .message_bytes = strlen(text),
                        .on_answer = keep,
                        .user = t};
}

static void say(talker *t);

/* Each goes on by itself; every fourth is forked behind its first message, and the fork goes on
 * as it does. */
static void on_end(void *user, const dw_runtime_end *end)
{
    talker *t = user;
    crowd *c = t->of;
    if (t >= c->leavers && t < c->leavers + LEAVERS) {
        return;
    }
    c->failed += end->status != DW_OK;
    t->told++;
    if (t->told == 1 && t->number % 4 == 0 && !t->forked) {
        talker *child = &c->forks[t->number];
        *child = *t;
        child->forked = true;
        c->failed += dw_runtime_begin_fork(c->runtime, t->id, child->id, NULL, NULL, NULL) != DW_OK;
        (void)atomic_fetch_add(&c->talking, 1);
        say(child);
    }
    if (t->told < TALKS && t->number % PARKED_EACH == 3 && !t->forked) {
        atomic_store(&t->is_to_park, true);
    } else if (t->told < TALKS) {
        say(t);
    } else {
        (void)atomic_fetch_sub(&c->talking, 1);
    }
}

static void say(talker *t)
{
    char text[128];
    dw_request request = request_of(t, text, sizeof text);
    request.on_end = on_end;
    t->of->failed += dw_runtime_send(t->of->runtime, t->id, &request, NULL, NULL) != DW_OK;
}

static void talk_alone(crowd *c, unsigned number, const char *tenant, const char *system)
{
    talker *t = &c->alone[number];
    dw_error error = {.message = ""};
    spawn(c, t, number, tenant, system);
    for (; t->told < TALKS; t->told++) {
        char text[128];
        const dw_request request = request_of(t, text, sizeof text);
        dw_status status = dw_runtime_call(c->runtime, t->id, &request, &error);
        assert_string_equal(error.message, "");
        assert_int_equal(status, DW_OK);
    }
    assert_int_equal(dw_runtime_stop(c->runtime, t->id, &error), DW_OK);
}

/* Promised for the CPU: other devices choose kernels by who else is there (docs/numerics.md). */
static void assert_same(const talker *a, const talker *b)
{
    assert_true(a->bytes > 0 && b->bytes > 0);
    if (getenv("DW_TEST_DEVICE") != NULL) {
        return;
    }
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->text, b->text, a->bytes);
}

static uint32_t next_random(crowd *c, uint32_t below)
{
    c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(c->seed >> 33) % below;
}

/* Those who wait for that before they go on. */
static void park_some(crowd *c)
{
    dw_error error = {.message = ""};
    for (unsigned i = 0; i < c->count; i++) {
        talker *t = &c->together[i];
        if (atomic_exchange(&t->is_to_park, false)) {
            assert_int_equal(dw_runtime_park(c->runtime, t->id, &error), DW_OK);
            say(t);
        }
    }
}

/* Until all have talked: one after the other is parked, where it rests, and some are stopped. */
static void disturb(crowd *c)
{
    unsigned left = 0;
    dw_error error = {.message = ""};
    while (atomic_load(&c->talking) > 0) {
        (void)usleep(1000 + next_random(c, 4000));
        park_some(c);
        if (left < LEAVERS && next_random(c, 8) == 0) {
            assert_int_equal(dw_runtime_stop(c->runtime, c->leavers[left++].id, &error), DW_OK);
            continue;
        }
        dw_status status =
            dw_runtime_park(c->runtime, c->together[next_random(c, c->count)].id, &error);
        assert_true(status == DW_OK || status == DW_E_STATE || status == DW_E_BUSY);
    }
    for (; left < LEAVERS; left++) {
        assert_int_equal(dw_runtime_stop(c->runtime, c->leavers[left].id, &error), DW_OK);
    }
}

static void test_runtime_chats_as_alone(void **state)
{
    crowd *c = *state;
    dw_error error = {.message = ""};
    if (c->model == NULL) {
        skip();
    }
    for (unsigned i = 0; i < c->count; i++) {
        talk_alone(c, i, NULL, NULL);
    }
    dw_engine_forget_prefixes(c->engine, NULL);
    atomic_store(&c->talking, c->count);
    for (unsigned i = 0; i < c->count; i++) { /* they join while others are at work */
        spawn(c, &c->together[i], i, NULL, NULL);
        say(&c->together[i]);
        if (i % (c->count / LEAVERS) == 0) {
            talker *leaver = &c->leavers[i / (c->count / LEAVERS)];
            spawn(c, leaver, i, NULL, NULL);
            say(leaver);
        }
    }
    disturb(c);
    assert_int_equal(dw_runtime_wait(c->runtime, 0, &error), DW_OK);
    assert_int_equal(c->failed, 0);
    for (unsigned i = 0; i < c->count; i++) {
        assert_same(&c->alone[i], &c->together[i]);
        if (i % 4 == 0) {
            assert_same(&c->alone[i], &c->forks[i]);
        }
    }
    dw_scheduler_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_scheduler_stats(c->runtime, &stats), DW_OK);
    assert_true(stats.most_step_sequences > 8);
    dw_runtime_stats counts = {.struct_bytes = sizeof counts};
    assert_int_equal(dw_runtime_get_stats(c->runtime, &counts), DW_OK);
    assert_true(counts.thaws >= c->count / PARKED_EACH);
}

/* Actors with one system prompt: it is computed once a tenant, and each says what it says where it
 * shares with nobody. */
static void test_runtime_chats_with_one_system_prompt(void **state)
{
    enum { COUNT = 12, BLOCKS = 192 };
    crowd *c = *state;
    char system[1200] = "";
    dw_error error = {.message = ""};
    const dw_tenant_options usual = {.struct_bytes = sizeof usual, .capabilities = DW_MAY_ALL};
    dw_prefix_stats before = {.struct_bytes = sizeof before};
    dw_prefix_stats after = {.struct_bytes = sizeof after};
    if (c->model == NULL) {
        skip();
    }
    while (strlen(system) < 1000) { /* some 220 tokens */
        (void)strncat(system, "You sell driftwood at the beach, and answer in few words. ",
                      sizeof system - strlen(system) - 1);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        char tenant[16];
        (void)snprintf(tenant, sizeof tenant, "alone %u", i);
        assert_int_equal(dw_runtime_set_tenant(c->runtime, tenant, &usual, &error), DW_OK);
        talk_alone(c, i, tenant, system);
    }
    assert_int_equal(dw_runtime_set_tenant(c->runtime, "together", &usual, &error), DW_OK);
    (void)dw_engine_get_prefix_stats(c->engine, &before);
    for (unsigned i = 0; i < COUNT; i++) {
        spawn(c, &c->together[i], i, "together", system);
        c->together[i].forked = true; /* none is, here */
        say(&c->together[i]);
    }
    assert_int_equal(dw_runtime_wait(c->runtime, 0, &error), DW_OK);
    assert_int_equal(c->failed, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_same(&c->alone[i], &c->together[i]);
    }
    (void)dw_engine_get_prefix_stats(c->engine, &after);
    assert_int_equal(after.hits - before.hits, COUNT - 1);
    assert_true(after.hit_tokens - before.hit_tokens >= (COUNT - 1) * BLOCKS);
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(((const crowd *)user)->model);
    return DW_OK;
}

/* One message each, and the fork of the first one's. */
static void tell_each(crowd *c, unsigned count)
{
    dw_error error = {.message = ""};
    for (unsigned i = 0; i < count; i++) {
        talker *t = &c->together[i];
        char text[128];
        const dw_request request = request_of(t, text, sizeof text);
        assert_int_equal(dw_runtime_call(c->runtime, t->id, &request, &error), DW_OK);
        t->told++;
        if (i == 0 && t->told == 1) {
            c->forks[0] = *t;
            assert_int_equal(dw_runtime_fork(c->runtime, t->id, c->forks[0].id, &error), DW_OK);
        }
    }
}

static dw_runtime_model_use use_of(const crowd *c)
{
    dw_error error = {.message = ""};
    dw_runtime_model_use use = {.struct_bytes = sizeof use};
    assert_int_equal(dw_runtime_get_model_use(c->runtime, c->model, &use, &error), DW_OK);
    return use;
}

/* A model whose actors rest can go altogether; they go on with it when it is there again, and say
 * what they would have said. */
static void test_runtime_model_leaves(void **state)
{
    enum { COUNT = 4 };
    crowd *c = *state;
    dw_error error = {.message = ""};
    dw_runtime_model_use use = {.struct_bytes = sizeof use};
    if (c->model == NULL) {
        skip();
    }
    for (unsigned i = 0; i < COUNT; i++) {
        talk_alone(c, i, NULL, NULL);
        spawn(c, &c->together[i], i, NULL, NULL);
    }
    tell_each(c, COUNT);
    assert_int_equal(dw_runtime_set_pinned(c->runtime, c->together[1].id, true, &error), DW_OK);
    use = use_of(c);
    assert_int_equal(use.working + use.resting, COUNT + 1);
    assert_true(use.working >= 1);
    assert_int_equal(dw_runtime_park_model(c->runtime, c->model, &use, &error), DW_OK);
    assert_int_equal(use_of(c).leaving, 0); /* nobody: one is pinned */
    assert_int_equal(dw_runtime_set_pinned(c->runtime, c->together[1].id, false, &error), DW_OK);
    do {
        (void)usleep(1000);
        assert_int_equal(dw_runtime_park_model(c->runtime, c->model, &use, &error), DW_OK);
    } while (use.working + use.resting + use.leaving > 0);
    assert_int_equal(dw_model_references(c->model), 1);
    dw_model_unref(c->model);
    char path[1024];
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ".", MODEL);
    assert_int_equal(dw_model_open(&c->model, c->engine, path, &error), DW_OK);
    tell_each(c, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_same(&c->alone[i], &c->together[i]);
    }
}

static int open_crowd(void **state)
{
    crowd *c = dw_alloc(1, sizeof *c);
    dw_error error = {.message = ""};
    char path[1024];
    const char *device = getenv("DW_TEST_DEVICE");
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 2};
    *state = c;
    c->count = getenv("DW_TEST_SHORT") != NULL ? ACTORS / 8 : ACTORS;
    assert_int_equal(dw_engine_create(&c->engine, &options, &error), DW_OK);
    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ".", MODEL);
    if (access(path, R_OK) == 0) {
        assert_int_equal(dw_model_open(&c->model, c->engine, path, &error), DW_OK);
    }
    (void)snprintf(path, sizeof path, "%s/chat.wasm", DW_TEST_GUESTS_DIR);
    assert_int_equal(dw_module_open(&c->chat, c->engine, path, &error), DW_OK);
    const dw_scheduler_options scheduling = runtime_scheduling();
    const char *given = getenv("DW_TEST_SEED");
    c->seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)c->seed);
    (void)snprintf(c->folder, sizeof c->folder, "/tmp/dw-chats-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    const dw_runtime_options own = {.struct_bytes = sizeof own,
                                    .scheduler = &scheduling,
                                    .path = c->folder,
                                    .find_model = find_model,
                                    .durability = DW_DURABLE_PARK,
                                    .user = c};
    assert_int_equal(dw_runtime_open(&c->runtime, c->engine, &own, &error), DW_OK);
    return 0;
}

static int close_crowd(void **state)
{
    crowd *c = *state;
    char command[64];
    dw_runtime_close(c->runtime);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", c->folder);
    assert_int_equal(system(command), 0);
    dw_module_unref(c->chat);
    dw_model_unref(c->model);
    dw_engine_destroy(c->engine);
    dw_free(c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runtime_chats_as_alone, open_crowd, close_crowd),
        cmocka_unit_test_setup_teardown(test_runtime_chats_with_one_system_prompt, open_crowd,
                                        close_crowd),
        cmocka_unit_test_setup_teardown(test_runtime_model_leaves, open_crowd, close_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
