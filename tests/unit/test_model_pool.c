/* Models that come and go under those who use them: each is loaded once for all who wait, no more
 * are loaded than the limit lets, none goes while it is in use, and actors go on with theirs when
 * it is loaded again. DW_TEST_SEED chooses who wants what. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "serving/pool.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define MODELS 3
#define USERS 4
#define ROUNDS 60
#define ACTORS 3
#define MESSAGES 6

typedef struct pond {
    dw_engine *engine;
    dw_model_pool *pool;
    char folder[40];
    char paths[MODELS][64];
    uint64_t bytes; /* of one model's weights */
    uint64_t seed;
    _Atomic unsigned busy;
    _Atomic unsigned taken;
    _Atomic unsigned changes;
    bool adapts;                   /* each model that is loaded has an adapter */
    _Atomic unsigned memory_lacks; /* so often from now on, when that is loaded */
} pond;

static const char *const names[MODELS] = {"one", "two", "three"};

static void on_change(void *user, const char *name, dw_model_state state, const dw_error *error)
{
    (void)name;
    (void)state;
    (void)error;
    (void)atomic_fetch_add(&((pond *)user)->changes, 1);
}

static void adapter_path(const pond *p, char path[80])
{
    (void)snprintf(path, 80, "%s/adapter.gguf", p->folder);
}

static dw_status on_load(void *user, const char *name, dw_model *model, dw_error *err)
{
    pond *p = user;
    char path[80];
    (void)name;
    if (!p->adapts) {
        return DW_OK;
    }
    if (atomic_load(&p->memory_lacks) > 0) {
        (void)atomic_fetch_sub(&p->memory_lacks, 1);
        return dw_fail(err, DW_E_MEMORY, "no memory for an adapter");
    }
    adapter_path(p, path);
    const dw_adapter_options how = {
        .struct_bytes = sizeof how, .name = "pirate", .path = path, .scale = 1.0F};
    return dw_model_add_adapter(model, &how, err);
}

static void open_pool(pond *p, uint64_t bytes_max, uint64_t idle_ms)
{
    dw_error error = {.message = ""};
    const dw_model_pool_options how = {.struct_bytes = sizeof how,
                                       .bytes_max = bytes_max,
                                       .idle_ms = idle_ms,
                                       .on_change = on_change,
                                       .on_load = on_load,
                                       .user = p};
    assert_int_equal(dw_model_pool_create(&p->pool, p->engine, &how, &error), DW_OK);
    for (unsigned i = 0; i < MODELS; i++) {
        assert_int_equal(dw_model_pool_add(p->pool, names[i], p->paths[i], &error), DW_OK);
    }
    assert_int_equal(dw_model_pool_add(p->pool, "one", p->paths[1], &error), DW_E_STATE);
}

static dw_model_pool_info info_of(pond *p, size_t index)
{
    dw_error error = {.message = ""};
    dw_model_pool_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_model_pool_get_info(p->pool, index, &info, &error), DW_OK);
    return info;
}

static void await_state(pond *p, size_t index, dw_model_state state)
{
    while (info_of(p, index).state != state) {
        (void)usleep(2000);
    }
}

/* ---- many who take and give ----------------------------------------------------------------- */

typedef struct taker {
    pond *of;
    uint64_t seed;
    pthread_t thread;
} taker;

static uint32_t next_random(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % below;
}

static void *take_and_give(void *arg)
{
    taker *t = arg;
    pond *p = t->of;
    for (unsigned i = 0; i < ROUNDS; i++) {
        dw_model *model = NULL;
        dw_error error = {.message = ""};
        uint32_t which = next_random(&t->seed, MODELS);
        dw_status status = dw_model_pool_take(p->pool, names[which], &model, &error);
        if (status == DW_E_BUSY) {
            (void)atomic_fetch_add(&p->busy, 1);
            continue;
        }
        dw_model_info about = {.struct_bytes = sizeof about};
        if (status != DW_OK || dw_model_get_info(model, &about) != DW_OK ||
            strcmp(about.name, names[which]) != 0) {
            abort(); /* cmocka's asserts are the main thread's */
        }
        if (next_random(&t->seed, 4) == 0) {
            (void)usleep(next_random(&t->seed, 2000));
        }
        if (next_random(&t->seed, 5) == 0 &&
            dw_model_pool_keep(p->pool, names[which], 0, NULL) != DW_OK) {
            abort();
        }
        dw_model_pool_give(p->pool, model);
        (void)atomic_fetch_add(&p->taken, 1);
    }
    return NULL;
}

static void test_model_pool_under_use(void **state)
{
    pond *p = *state;
    taker takers[USERS];
    uint64_t loads = 0;
    uint64_t unloads = 0;
    open_pool(p, 2 * p->bytes + p->bytes / 2, 0); /* two at a time */
    for (unsigned i = 0; i < USERS; i++) {
        takers[i] = (taker){.of = p, .seed = p->seed + i};
        assert_int_equal(dw_os_start_thread(&takers[i].thread, take_and_give, &takers[i]), 0);
    }
    while (atomic_load(&p->taken) + atomic_load(&p->busy) < USERS * ROUNDS) {
        dw_engine_stats now = {.struct_bytes = sizeof now};
        assert_int_equal(dw_engine_get_stats(p->engine, &now), DW_OK);
        assert_true(now.models <= 2);
        (void)info_of(p, next_random(&p->seed, MODELS));
        (void)usleep(500);
    }
    for (unsigned i = 0; i < USERS; i++) {
        assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
    }
    for (size_t i = 0; i < MODELS; i++) {
        assert_int_equal(dw_model_pool_keep(p->pool, names[i], 0, NULL), DW_OK);
        await_state(p, i, DW_MODEL_UNLOADED);
        dw_model_pool_info info = info_of(p, i);
        assert_int_equal(info.users, 0);
        loads += info.loads;
        unloads += info.unloads;
    }
    assert_true(loads >= MODELS && loads == unloads);
    print_message("%u taken, %u refused, %llu loads\n", atomic_load(&p->taken),
                  atomic_load(&p->busy), (unsigned long long)loads);
    dw_engine_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_engine_get_stats(p->engine, &stats), DW_OK);
    assert_int_equal(stats.models, 0);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_model_pool_refuses(void **state)
{
    pond *p = *state;
    dw_error error = {.message = ""};
    dw_model *first = NULL;
    dw_model *second = NULL;
    open_pool(p, p->bytes + p->bytes / 2, 0);
    assert_int_equal(dw_model_pool_take(p->pool, "four", &first, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "four"));
    assert_int_equal(dw_model_pool_take(p->pool, "one", &first, &error), DW_OK);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_E_BUSY);
    assert_null(second);
    assert_non_null(strstr(error.message, "'two' has no room"));
    assert_non_null(strstr(error.message, "(one)"));
    assert_int_equal(info_of(p, 1).failures, 1);
    assert_int_equal(info_of(p, 1).error.code, DW_E_BUSY);
    dw_model_pool_give(p->pool, first);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_OK);
    assert_int_equal(info_of(p, 0).state, DW_MODEL_UNLOADED);
    assert_int_equal(info_of(p, 1).error.code, DW_OK);
    dw_model_pool_give(p->pool, second);
    assert_int_equal(dw_model_pool_take(p->pool, "/nowhere.gguf", &first, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_model_pool_take(p->pool, p->paths[1], &first, &error), DW_OK);
    assert_int_equal(info_of(p, 1).users, 1); /* the path of one that has a name */
    dw_model_pool_give(p->pool, first);
    char path[80]; /* of one that has none, which is nobody else's to know */
    (void)snprintf(path, sizeof path, "%s/private.gguf", p->folder);
    assert_int_equal(link(p->paths[0], path), 0);
    assert_int_equal(dw_model_pool_take(p->pool, path, &first, &error), DW_OK);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_E_BUSY);
    assert_non_null(strstr(error.message, "in use (1 without a name)"));
    assert_null(strstr(error.message, "private"));
    dw_model_pool_give(p->pool, first);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_OK);
    assert_int_equal(dw_model_pool_take(p->pool, path, &first, &error), DW_E_BUSY);
    assert_non_null(strstr(error.message, "'private.gguf' has no room"));
    assert_null(strstr(error.message, p->folder));
    dw_model_pool_give(p->pool, second);
    dw_model_pool_stop(p->pool);
    assert_int_equal(dw_model_pool_take(p->pool, "three", &first, &error), DW_E_STATE);
    dw_model_pool_destroy(p->pool);
    open_pool(p, p->bytes / 2, 0);
    assert_int_equal(dw_model_pool_take(p->pool, "one", &first, &error), DW_E_MEMORY);
}

/* ---- adapters ------------------------------------------------------------------------------- */

/* What models have of adapters counts as their weights do, and memory that these lack is made. */
static void test_model_pool_adapters(void **state)
{
    pond *p = *state;
    dw_error error = {.message = ""};
    dw_model *first = NULL;
    dw_model *second = NULL;
    dw_adapter_info info = {.struct_bytes = sizeof info};
    char path[80];
    adapter_path(p, path);
    tiny_adapter_write(path, p->paths[0],
                       &(tiny_adapter){.rank = 4, .seed = 1, .alpha = 8, .type = GGML_TYPE_F32});
    p->adapts = true;
    open_pool(p, 2 * p->bytes + 1, 0); /* two, but for their adapters */
    assert_int_equal(dw_model_pool_take(p->pool, "one", &first, &error), DW_OK);
    assert_int_equal(dw_model_get_adapter(first, 0, &info, &error), DW_OK);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_E_BUSY);
    assert_non_null(strstr(error.message, "'two' has no room"));
    dw_model_pool_give(p->pool, first);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_OK);
    assert_int_equal(info_of(p, 0).state, DW_MODEL_UNLOADED);
    dw_model_pool_give(p->pool, second);
    dw_model_pool_stop(p->pool);
    dw_model_pool_destroy(p->pool);
    open_pool(p, p->bytes + info.bytes - 1, 0);
    assert_int_equal(dw_model_pool_take(p->pool, "one", &first, &error), DW_E_MEMORY);
    assert_non_null(strstr(error.message, "of weights and adapters, the limit"));
    dw_model_pool_stop(p->pool);
    dw_model_pool_destroy(p->pool);
    open_pool(p, 0, 0);
    assert_int_equal(dw_model_pool_take(p->pool, "one", &first, &error), DW_OK);
    dw_model_pool_give(p->pool, first);
    atomic_store(&p->memory_lacks, 1);
    assert_int_equal(dw_model_pool_take(p->pool, "two", &second, &error), DW_OK);
    assert_int_equal(info_of(p, 0).state, DW_MODEL_UNLOADED);
    assert_int_equal(info_of(p, 1).failures, 0);
    atomic_store(&p->memory_lacks, 1); /* and nobody can go */
    assert_int_equal(dw_model_pool_take(p->pool, "three", &first, &error), DW_E_MEMORY);
    assert_non_null(strstr(error.message, "no memory for an adapter"));
    dw_model_pool_give(p->pool, second);
}

/* ---- idle ----------------------------------------------------------------------------------- */

/* One that was found for an actor, and that the runtime has no use for any more, goes by itself. */
static void test_model_pool_found_and_left(void **state)
{
    pond *p = *state;
    dw_error error = {.message = ""};
    dw_model *model = NULL;
    char fingerprint[DW_FINGERPRINT_BYTES];
    open_pool(p, 0, 5);
    assert_int_equal(dw_model_pool_take(p->pool, "one", &model, &error), DW_OK);
    memcpy(fingerprint, info_of(p, 0).fingerprint, sizeof fingerprint);
    dw_model_pool_give(p->pool, model);
    for (unsigned i = 0; i < 5; i++) {
        await_state(p, 0, DW_MODEL_UNLOADED);
        assert_int_equal(dw_model_pool_find(p->pool, "one", fingerprint, &model, &error), DW_OK);
        dw_model_unref(model);
    }
    await_state(p, 0, DW_MODEL_UNLOADED);
    assert_int_equal(info_of(p, 0).unloads, 6);
}

/* ---- actors --------------------------------------------------------------------------------- */

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    char *text = user;
    size_t length = strlen(text);
    for (size_t i = 0; i < count && length + 3 < 1024; i++) {
        length += (size_t)snprintf(text + length, 1024 - length, "%02x", bytes[i]);
    }
    return (ptrdiff_t)count;
}

static void say(dw_runtime *runtime, const char *id, const char *text, char *answer)
{
    dw_error error = {.message = ""};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = keep,
                                .user = answer};
    dw_status status = dw_runtime_call(runtime, id, &request, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

/* Each is asked as often by turns; what all answered, in order. */
static void talk(pond *p, dw_module *talker, bool leaves, char answers[ACTORS][1024])
{
    char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    char path[80];
    dw_runtime *runtime = NULL;
    dw_error error = {.message = ""};
    (void)snprintf(path, sizeof path, "%s/state-%d", p->folder, leaves);
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .path = path,
                                        .find_model = dw_model_pool_find,
                                        .user = p->pool};
    assert_int_equal(dw_runtime_open(&runtime, p->engine, &options, &error), DW_OK);
    dw_model_pool_serve(p->pool, runtime);
    for (unsigned i = 0; i < ACTORS; i++) {
        dw_model *model = NULL;
        assert_int_equal(dw_model_pool_take(p->pool, names[i % MODELS], &model, &error), DW_OK);
        const dw_instance_options instance = {.struct_bytes = sizeof instance,
                                              .models = &model,
                                              .model_count = 1,
                                              .context_tokens_max = 256};
        const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
        const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .actor = &actor};
        assert_int_equal(dw_runtime_spawn(runtime, talker, &spawn, ids[i], &error), DW_OK);
        dw_model_pool_give(p->pool, model);
        answers[i][0] = '\0';
    }
    for (unsigned k = 0; k < MESSAGES; k++) {
        for (unsigned i = 0; i < ACTORS; i++) {
            say(runtime, ids[i], k == 0 ? "m" : k == 1 ? "q5" : "g3", answers[i]);
            if (leaves && (k + i) % 2 == 0) {
                assert_int_equal(dw_model_pool_keep(p->pool, names[i % MODELS], 0, &error), DW_OK);
            }
            if (leaves && (k + i) % 4 == 0) {
                await_state(p, i % MODELS, DW_MODEL_UNLOADED);
            }
        }
    }
    if (leaves) {
        assert_true(info_of(p, 0).unloads >= 1 && info_of(p, 0).loads >= 2);
    }
    dw_model_pool_stop(p->pool);
    dw_runtime_close(runtime);
    dw_model_pool_destroy(p->pool);
    p->pool = NULL;
}

static void test_model_pool_actors_go_on(void **state)
{
    pond *p = *state;
    static char alone[ACTORS][1024];
    static char left[ACTORS][1024];
    dw_module *talker = NULL;
    dw_error error = {.message = ""};
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/actor_talker.wasm", DW_TEST_GUESTS_DIR);
    assert_int_equal(dw_module_open(&talker, p->engine, path, &error), DW_OK);
    open_pool(p, 0, 0);
    talk(p, talker, false, alone);
    open_pool(p, p->bytes + p->bytes / 2, 0); /* each makes the others leave */
    talk(p, talker, true, left);
    for (unsigned i = 0; i < ACTORS; i++) {
        assert_true(strlen(alone[i]) > 0);
        assert_string_equal(alone[i], left[i]);
    }
    dw_module_unref(talker);
}

/* ---- names of files that come late ---------------------------------------------------------- */

#define LATE 8

typedef struct asker {
    dw_model_pool *pool;
    _Atomic unsigned *arrived; /* at the models, one after the other, of all */
    pthread_t thread;
    unsigned unknown; /* of LATE models */
} asker;

static void *ask_names(void *arg)
{
    asker *a = arg;
    for (unsigned i = 0; i < LATE; i++) {
        dw_pool_names read;
        (void)atomic_fetch_add(a->arrived, 1);
        while (atomic_load(a->arrived) < USERS * (i + 1)) {
            (void)sched_yield();
        }
        dw_pool_read_names(a->pool, i);
        dw_pool_names_of(a->pool, i, &read);
        a->unknown += read.names.own == NULL || strcmp(read.names.own, names[0]) != 0;
    }
    return NULL;
}

/* Who asks while another thread reads the head of a file is told what that says. */
static void test_model_pool_names_read_together(void **state)
{
    pond *p = *state;
    asker askers[USERS];
    _Atomic unsigned arrived = 0;
    char late[80];
    char name[16];
    dw_error error = {.message = ""};
    tiny_options tiny = tiny_defaults();
    tiny.name = names[0];
    tiny.tokenizer = true;
    tiny.vocab_count = 50000; /* a head that takes some milliseconds */
    tiny.embedding_length = 32;
    (void)snprintf(late, sizeof late, "%s/late.gguf", p->folder);
    assert_int_equal(dw_model_pool_create(&p->pool, p->engine, NULL, &error), DW_OK);
    for (unsigned i = 0; i < LATE; i++) {
        (void)snprintf(name, sizeof name, "late-%u", i);
        assert_int_equal(dw_model_pool_add(p->pool, name, late, &error), DW_OK);
    }
    tiny_model_write(late, &tiny);
    (void)usleep(1100000); /* a file that could not be read is left alone for a second */
    for (unsigned i = 0; i < USERS; i++) {
        askers[i] = (asker){.pool = p->pool, .arrived = &arrived};
        assert_int_equal(dw_os_start_thread(&askers[i].thread, ask_names, &askers[i]), 0);
    }
    unsigned unknown = 0;
    for (unsigned i = 0; i < USERS; i++) {
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
        unknown += askers[i].unknown;
    }
    assert_int_equal(unknown, 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int open_pond(void **state)
{
    pond *p = dw_alloc(1, sizeof *p);
    dw_error error = {.message = ""};
    const char *given = getenv("DW_TEST_SEED");
    const dw_engine_options options = {
        .struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    *state = p;
    p->seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)p->seed);
    (void)snprintf(p->folder, sizeof p->folder, "/tmp/dw-pool-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    for (unsigned i = 0; i < MODELS; i++) {
        tiny_options tiny = tiny_defaults();
        tiny.name = names[i];
        tiny.tokenizer = true;
        (void)snprintf(p->paths[i], sizeof p->paths[i], "%s/%s.gguf", p->folder, names[i]);
        tiny_model_write(p->paths[i], &tiny);
    }
    assert_int_equal(dw_engine_create(&p->engine, &options, &error), DW_OK);
    dw_model *model = NULL;
    dw_model_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_model_open(&model, p->engine, p->paths[0], &error), DW_OK);
    assert_int_equal(dw_model_get_info(model, &info), DW_OK);
    p->bytes = info.weights_bytes;
    dw_model_unref(model);
    return 0;
}

static int close_pond(void **state)
{
    pond *p = *state;
    char command[64];
    dw_model_pool_destroy(p->pool);
    dw_engine_destroy(p->engine);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", p->folder);
    assert_int_equal(system(command), 0);
    dw_free(p);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model_pool_under_use, open_pond, close_pond),
        cmocka_unit_test_setup_teardown(test_model_pool_refuses, open_pond, close_pond),
        cmocka_unit_test_setup_teardown(test_model_pool_adapters, open_pond, close_pond),
        cmocka_unit_test_setup_teardown(test_model_pool_found_and_left, open_pond, close_pond),
        cmocka_unit_test_setup_teardown(test_model_pool_actors_go_on, open_pond, close_pond),
        cmocka_unit_test_setup_teardown(test_model_pool_names_read_together, open_pond, close_pond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
