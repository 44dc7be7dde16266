/* Many guests on fibers: each as if it were alone, whatever the others do. DW_TEST_SEED chooses the
 * orders in which they are started. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "model_fixture.h"
#include "scheduler/round.h"
#include "support.h"
#include "tiny_model.h"

#define GUESTS_MAX 64
#define STEPS_MAX 128
#define AT_PROMPT 8192u
#define AT_LOGITS 65536u
#define AT_EMBEDDING 524288u

/* What a guest does at one of its steps: tests/guest/scheduled.wat. */
typedef enum act { NOTHING, SPIN, TRAP, EXIT, GROW, REACH, RECURSE, EMBED, SHIFT } act;

/* Where guest memory has what. */
typedef struct guest_words {
    uint32_t prompt_count;
    uint32_t steps;
    uint32_t what;
    uint32_t at_step;
    uint32_t done;
    int32_t status;
    int32_t result;   /* of what it did */
    uint32_t chooses; /* 1: its steps end with a token instead of logits */
    uint32_t unused[8];
    int32_t tokens[STEPS_MAX];
} guest_words;

/* One guest and how it ended. */
typedef struct guest {
    dw_instance *instance;
    guest_words *words;
    _Atomic uint32_t ended; /* how often it was told */
    uint32_t place;         /* in the order of ends, from 1 */
    dw_status status;
    int exit_code;
    char message[248];
} guest;

static dw_engine *engine;
static dw_model *models[2];
static dw_module *module;
static char paths[2][40];
static uint32_t vocab_count;
static uint64_t seed = 1;
static _Atomic uint32_t ends; /* told so far */

/* ---- the fixture ---------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void open_models(void)
{
    dw_error err;
    for (int i = 0; i < 2; i++) {
        tiny_options options = tiny_defaults();
        options.matrix_type = i == 0 ? GGML_TYPE_Q8_0 : GGML_TYPE_F32;
        options.own_output = i == 0;
        vocab_count = options.vocab_count;
        (void)snprintf(paths[i], sizeof paths[i], "/tmp/dw-scheduler-XXXXXX");
        int fd = mkstemp(paths[i]);
        assert_true(fd >= 0);
        (void)close(fd);
        tiny_model_write(paths[i], &options);
        if (dw_model_open(&models[i], engine, paths[i], &err) != DW_OK) {
            fail_msg("%s", err.message);
        }
    }
}

static int open_fixture(void **state)
{
    (void)state;
    dw_error err;
    const char *given = getenv("DW_TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    const char *device = getenv("DW_TEST_DEVICE");
    /* One thread: the results are the same on any number, and those of ggml's, which TSan does not
     * see waiting for each other, would keep it busy with races to suppress. */
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    open_models();
    char *text = NULL;
    size_t bytes = 0;
    wasm_byte_vec_t wasm;
    assert_int_equal(
        dw_os_read_file(DW_TEST_GUESTS_DIR "/scheduled.wat", 65536, &text, &bytes, &err), DW_OK);
    assert_null(wasmtime_wat2wasm(text, bytes, &wasm));
    dw_free(text);
    if (dw_module_create(&module, engine, wasm.data, wasm.size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dw_module_unref(module);
    for (int i = 0; i < 2; i++) {
        dw_model_unref(models[i]);
        (void)unlink(paths[i]);
    }
    dw_engine_destroy(engine);
    return 0;
}

/* Guest `k`: its prompt and its number of steps follow from k. */
static void make_guest(guest *g, uint32_t k, const dw_instance_options *options)
{
    dw_instance_options own = {.struct_bytes = sizeof own};
    own = options != NULL ? *options : own;
    dw_error err;
    if (own.model_count == 0) {
        own.models = models;
        own.model_count = 1;
    }
    *g = (guest){.ended = 0};
    if (dw_instance_create(&g->instance, module, &own, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unsigned char *memory = dw_instance_memory(g->instance);
    g->words = (guest_words *)(void *)memory;
    g->words->prompt_count = 1 + k * 37 % 300;
    g->words->steps = 6 + k % 11;
    g->words->at_step = UINT32_MAX;
    int32_t *prompt = (int32_t *)(void *)(memory + AT_PROMPT);
    for (uint32_t i = 0; i < g->words->prompt_count; i++) {
        prompt[i] = (int32_t)((k * 131 + i * 29 + i * i) % vocab_count);
    }
}

static void drop_guest(guest *g)
{
    dw_instance_destroy(g->instance);
    g->instance = NULL;
}

static void on_end(void *user, const dw_call_end *end)
{
    guest *g = user;
    g->place = ++ends;
    g->status = end->status;
    g->exit_code = end->exit_code;
    (void)snprintf(g->message, sizeof g->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    g->ended++;
}

/* On the CPU nobody's numbers depend on who else is in a step. GPUs choose kernels by its size:
 * logits are nearly alike, and where two tokens are nearly as likely a guest may take the other
 * one and go its own way from there. Few may. */
static uint32_t strays;
#define STRAYS_MAX 8 /* of 24 */

/* DW_TEST_GUEST_THREADS: how many; DW_TEST_DEVICE_THREAD: the device has a thread of its own, as it
 * has with several of guests. */
static uint32_t guest_threads(void)
{
    const char *given = getenv("DW_TEST_GUEST_THREADS");
    return given != NULL ? (uint32_t)strtoul(given, NULL, 10) : 0;
}

static dw_device_thread device_thread(void)
{
    return getenv("DW_TEST_DEVICE_THREAD") != NULL || guest_threads() > 1 ? DW_DEVICE_THREAD_OWN
                                                                          : DW_DEVICE_THREAD_SHARED;
}

static dw_scheduler *make_scheduler(const dw_scheduler_options *options)
{
    strays = 0;
    dw_scheduler *scheduler = NULL;
    dw_error err;
    dw_scheduler_options own = {.struct_bytes = sizeof own};
    own = options != NULL ? *options : own;
    own.device_thread = device_thread();
    own.guest_threads = guest_threads();
    if (dw_scheduler_create(&scheduler, engine, &own, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return scheduler;
}

static void start(dw_scheduler *scheduler, guest *g)
{
    dw_error err;
    if (dw_scheduler_start(scheduler, g->instance, on_end, g, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void stop(void *user)
{
    dw_scheduler_stop(user);
}

static void run_all(dw_scheduler *scheduler)
{
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
}

/* Take in what was started, and let it have its first turn. */
static void run_one_round(dw_scheduler *scheduler)
{
    assert_int_equal(dw_scheduler_submit(scheduler, stop, scheduler, NULL), DW_OK);
    run_all(scheduler);
}

static const float *logits_of(const guest *g)
{
    return (const float *)(const void *)((const unsigned char *)g->words + AT_LOGITS);
}

static bool same_tokens(const guest *a, const guest *b)
{
    size_t bytes = a->words->done * sizeof a->words->tokens[0];
    bool same = memcmp(a->words->tokens, b->words->tokens, bytes) == 0;
    strays += !same && !tests_on_cpu();
    assert_true(strays <= STRAYS_MAX);
    return same || !tests_on_cpu();
}

static bool same_logits(const float *a, const float *b)
{
    return tests_on_cpu() ? memcmp(a, b, vocab_count * sizeof *a) == 0
                          : logits_difference(a, b, vocab_count) < 2e-2;
}

/* Two guests saw and chose the same. */
static void assert_alike(const guest *a, const guest *b)
{
    uint32_t before = strays;
    assert_int_equal(a->words->done, b->words->done);
    assert_int_equal(a->words->status, b->words->status);
    assert_true(same_tokens(a, b));
    assert_true(strays > before || same_logits(logits_of(a), logits_of(b)));
}

static void assert_went_well(const guest *g)
{
    assert_string_equal(g->message, "");
    assert_int_equal(g->ended, 1);
    assert_int_equal(g->status, DW_OK);
    assert_int_equal(g->words->done, g->words->steps);
    assert_true(g->words->status > 0);
}

/* Guest k by itself under a scheduler: what it must come to among others as well. */
static void run_reference(guest *g, uint32_t k, const dw_instance_options *options)
{
    dw_scheduler *scheduler = make_scheduler(NULL);
    make_guest(g, k, options);
    start(scheduler, g);
    run_all(scheduler);
    dw_scheduler_destroy(scheduler);
    assert_went_well(g);
}

/* An order of [count] by the seed. */
static void shuffle(uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = next_random(i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

/* ---- alike -------------------------------------------------------------------------------- */

/* Whether it has company, and in whatever order: bit by bit the same. */
static void test_scheduler_together_as_alone(void **state)
{
    (void)state;
    guest alone[24];
    guest together[24];
    uint32_t order[24];
    dw_scheduler *scheduler = make_scheduler(NULL);
    shuffle(order, 24);
    for (uint32_t k = 0; k < 24; k++) {
        run_reference(&alone[k], k, NULL);
        make_guest(&together[k], k, NULL);
    }
    for (uint32_t i = 0; i < 24; i++) {
        start(scheduler, &together[order[i]]);
    }
    run_all(scheduler);
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(scheduler, &counts);
    assert_int_equal(counts.started, 24);
    assert_int_equal(counts.ended, 24);
    assert_int_equal(counts.guests, 0);
    assert_int_equal(counts.most_guests, 24);
    uint64_t tokens = 0;
    uint64_t device_ns = 0;
    for (uint32_t k = 0; k < 24; k++) {
        const guest_words *words = together[k].words;
        assert_went_well(&together[k]);
        assert_alike(&alone[k], &together[k]);
        dw_instance_stats stats = {.struct_bytes = sizeof stats};
        dw_instance_get_stats(together[k].instance, &stats);
        assert_int_equal(stats.device_staged_bytes, 0);
        assert_int_equal(stats.decoded_tokens + stats.prompt_tokens,
                         words->prompt_count + words->steps - 1);
        tokens += words->prompt_count + words->steps - 1;
        device_ns += stats.device_ns;
        assert_true(stats.guest_ns > 0 && stats.device_ns > 0);
        drop_guest(&alone[k]);
        drop_guest(&together[k]);
    }
    assert_int_equal(counts.step_tokens, tokens);
    assert_in_range(device_ns, counts.device_ns / 2, counts.device_ns); /* each run shared out */
    if (getenv("DW_TEST_DEVICE") == NULL) {
        assert_true(counts.most_step_sequences > 2);
        assert_true(counts.step_sequences > 2 * counts.steps);
    }
    dw_scheduler_destroy(scheduler);
}

/* Guest k of those that begin alike, started. */
static void start_alike(dw_scheduler *scheduler, guest *g, uint32_t k, uint32_t common,
                        const char *scope)
{
    make_guest(g, k, NULL);
    g->words->prompt_count = common + 10;
    int32_t *prompt =
        (int32_t *)(void *)((unsigned char *)dw_instance_memory(g->instance) + AT_PROMPT);
    for (uint32_t i = 0; i < common + 10; i++) {
        uint32_t token = i < common ? i * 29 + i * i : k * 131 + i;
        prompt[i] = (int32_t)(token % vocab_count);
    }
    assert_int_equal(dw_instance_share_prefixes(g->instance, scope, NULL), DW_OK);
    start(scheduler, g);
}

/* Guests that begin alike and share that, with others of their scope alone: bit by bit the same as
 * by themselves, and what they have in common is computed once. */
static void test_scheduler_sharing_prefixes(void **state)
{
    enum { COUNT = 12, COMMON = 230, FOUND = 192 };
    (void)state;
    guest alone[COUNT];
    guest together[COUNT];
    uint64_t found = 0;
    dw_prefix_stats before = {.struct_bytes = sizeof before};
    dw_prefix_stats after = {.struct_bytes = sizeof after};
    dw_engine_get_prefix_stats(engine, &before);
    for (int shared = 0; shared < 2; shared++) {
        guest *guests = shared != 0 ? together : alone;
        dw_scheduler *scheduler = make_scheduler(NULL);
        for (uint32_t k = 0; k < COUNT; k++) {
            const char *scope = k % 2 == 0 ? "even" : "odd";
            start_alike(scheduler, &guests[k], k, COMMON, shared != 0 ? scope : NULL);
        }
        run_all(scheduler);
        dw_scheduler_destroy(scheduler);
    }
    for (uint32_t k = 0; k < COUNT; k++) {
        dw_instance_stats stats = {.struct_bytes = sizeof stats};
        assert_went_well(&together[k]);
        assert_alike(&alone[k], &together[k]);
        dw_instance_get_stats(together[k].instance, &stats);
        found += stats.found_tokens;
        assert_true(stats.found_tokens == 0 || stats.found_tokens == FOUND);
        dw_instance_get_stats(alone[k].instance, &stats);
        assert_int_equal(stats.found_tokens, 0);
    }
    assert_int_equal(found, (COUNT - 2) * FOUND);
    dw_engine_get_prefix_stats(engine, &after);
    assert_int_equal(after.hits - before.hits, COUNT - 2);
    assert_int_equal(after.hit_tokens - before.hit_tokens, found);
    /* What the operator keeps for all. */
    dw_error err;
    assert_int_equal(dw_instance_keep_prefixes(alone[0].instance, 0, &err), DW_E_STATE);
    assert_int_equal(dw_instance_keep_prefixes(together[0].instance, 8, &err), DW_E_ARG);
    assert_int_equal(
        dw_instance_keep_prefixes(together[0].instance, DW_PREFIX_PUBLIC | DW_PREFIX_PINNED, &err),
        DW_OK);
    for (uint32_t k = 0; k < COUNT; k++) {
        drop_guest(&alone[k]);
        drop_guest(&together[k]);
    }
    dw_engine_forget_prefixes(engine, models[1]);
    dw_engine_get_prefix_stats(engine, &before);
    assert_int_equal(before.prefixes, after.prefixes + 1);
    dw_engine_forget_prefixes(engine, NULL);
    dw_engine_get_prefix_stats(engine, &before);
    assert_int_equal(before.prefixes, 1);
}

/* Steps that end with a token, next to some that end with logits: the tokens are the same. */
static void test_scheduler_choosing(void **state)
{
    (void)state;
    guest alone[24];
    guest together[24];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 24; k++) {
        run_reference(&alone[k], k, NULL);
        make_guest(&together[k], k, NULL);
        together[k].words->chooses = k % 4 != 3;
        start(scheduler, &together[k]);
    }
    run_all(scheduler);
    for (uint32_t k = 0; k < 24; k++) {
        const guest_words *words = together[k].words;
        dw_instance_stats stats = {.struct_bytes = sizeof stats};
        assert_went_well(&together[k]);
        assert_true(same_tokens(&alone[k], &together[k]));
        dw_instance_get_stats(together[k].instance, &stats);
        assert_int_equal(stats.device_staged_bytes, 0);
        assert_int_equal(stats.generated_tokens, words->steps);
        drop_guest(&alone[k]);
        drop_guest(&together[k]);
    }
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(scheduler, &counts);
    assert_true(getenv("DW_TEST_DEVICE") != NULL || counts.most_step_sequences > 2);
    dw_scheduler_destroy(scheduler);
}

/* On a fiber a guest comes to what it comes to when it is called directly. Alone and short,
 * attention is ggml's, so the bits differ and the tokens do not. */
static void test_scheduler_as_without_one(void **state)
{
    (void)state;
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &models[1],
                                   .model_count = 1,
                                   .kv_type = DW_KV_F32};
    for (uint32_t k = 0; k < 6; k++) {
        guest direct;
        guest scheduled;
        make_guest(&direct, k, &options);
        assert_int_equal(dw_instance_run(direct.instance, NULL, NULL), DW_OK);
        run_reference(&scheduled, k, &options);
        assert_int_equal(direct.words->done, scheduled.words->done);
        assert_memory_equal(direct.words->tokens, scheduled.words->tokens,
                            direct.words->done * sizeof direct.words->tokens[0]);
        drop_guest(&direct);
        drop_guest(&scheduled);
    }
}

/* Two models and three kinds of keys and values: five kinds of steps side by side. */
static void test_scheduler_several_models(void **state)
{
    (void)state;
    guest alone[20];
    guest together[20];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 20; k++) {
        dw_instance_options options = {.struct_bytes = sizeof options,
                                       .models = &models[k % 2],
                                       .model_count = 1,
                                       .kv_type = (dw_kv_type)(k % 5 % 3)};
        run_reference(&alone[k], k, &options);
        make_guest(&together[k], k, &options);
        start(scheduler, &together[k]);
    }
    run_all(scheduler);
    for (uint32_t k = 0; k < 20; k++) {
        assert_went_well(&together[k]);
        if (k % 2 == 0) { /* with weights in floats the last bits differ (docs/numerics.md) */
            assert_alike(&alone[k], &together[k]);
        }
        drop_guest(&alone[k]);
        drop_guest(&together[k]);
    }
    assert_true(scheduler->batch_count >= 2 && scheduler->batch_count <= 4); /* the rest went */
    dw_scheduler_destroy(scheduler);
}

/* Work that goes alone, next to steps that go together. */
static void test_scheduler_embeds_and_shifts(void **state)
{
    (void)state;
    guest g[6];
    guest direct;
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 6; k++) {
        make_guest(&g[k], k + 1, NULL);
        g[k].words->what = k % 3 == 0 ? EMBED : k % 3 == 1 ? SHIFT : NOTHING;
        g[k].words->at_step = 2;
        start(scheduler, &g[k]);
    }
    make_guest(&direct, 1, NULL);
    direct.words->what = EMBED;
    direct.words->at_step = 2;
    assert_int_equal(dw_instance_run(direct.instance, NULL, NULL), DW_OK);
    run_all(scheduler);
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(scheduler, &counts);
    assert_int_equal(counts.jobs, 4);
    for (uint32_t k = 0; k < 6; k++) {
        assert_went_well(&g[k]);
        assert_int_equal(g[k].words->result, k % 3 == 0   ? 128
                                             : k % 3 == 1 ? (int)g[k].words->prompt_count - 1
                                                          : 0);
    }
    assert_memory_equal((unsigned char *)direct.words + AT_EMBEDDING,
                        (unsigned char *)g[0].words + AT_EMBEDDING, 128 * sizeof(float));
    for (uint32_t k = 0; k < 6; k++) {
        drop_guest(&g[k]);
    }
    drop_guest(&direct);
    dw_scheduler_destroy(scheduler);
}

/* ---- each for itself ---------------------------------------------------------------------- */

static guest spinners[3];
static _Atomic uint32_t decoders_left;

/* The last of the decoding guests ends those that spin. */
static void on_decoder_end(void *user, const dw_call_end *end)
{
    on_end(user, end);
    if (--decoders_left == 0) {
        for (uint32_t k = 0; k < 3; k++) {
            assert_int_equal(spinners[k].ended, 0);
            dw_instance_interrupt(spinners[k].instance);
        }
    }
}

/* Were the others starved by those that spin, this would not end. */
static void test_scheduler_spinning_guests_starve_nobody(void **state)
{
    (void)state;
    guest g[4];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 3; k++) {
        make_guest(&spinners[k], k, NULL);
        spinners[k].words->what = SPIN;
        spinners[k].words->at_step = 0;
        start(scheduler, &spinners[k]);
    }
    decoders_left = 4;
    for (uint32_t k = 0; k < 4; k++) {
        make_guest(&g[k], k, NULL);
        assert_int_equal(dw_scheduler_start(scheduler, g[k].instance, on_decoder_end, &g[k], NULL),
                         DW_OK);
    }
    run_all(scheduler);
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(scheduler, &counts);
    assert_true(counts.preemptions > 3);
    for (uint32_t k = 0; k < 4; k++) {
        assert_went_well(&g[k]);
        drop_guest(&g[k]);
    }
    for (uint32_t k = 0; k < 3; k++) {
        dw_instance_stats stats = {.struct_bytes = sizeof stats};
        dw_instance_get_stats(spinners[k].instance, &stats);
        assert_true(stats.guest_ns > 1000000); /* it spun for a turn at least */
        assert_int_equal(spinners[k].ended, 1);
        assert_int_equal(spinners[k].status, DW_E_CANCELLED);
        drop_guest(&spinners[k]);
    }
    dw_scheduler_destroy(scheduler);
}

typedef struct fault {
    act what;
    dw_status status;
    int exit_code;
    const char *says;
    uint64_t timeout_ms;
    uint64_t memory_bytes_max;
} fault;

static const fault faults[] = {
    {TRAP, DW_E_TRAP, 0, "unreachable", 0, 0},
    {EXIT, DW_OK, 7, "", 0, 0},
    {REACH, DW_E_TRAP, 0, "outside its memory", 0, 0},
    {RECURSE, DW_E_TRAP, 0, "call stack", 0, 0},
    {SPIN, DW_E_LIMIT, 0, "longer than its 40 ms", 40, 0},
    {GROW, DW_OK, 0, "", 0, 0},
    {GROW, DW_OK, 0, "", 0, 2u << 20},
};
#define FAULTS (sizeof faults / sizeof faults[0])

/* Each kind of bad end among guests that do not notice. */
static void test_scheduler_ends_are_each_guests_own(void **state)
{
    (void)state;
    guest alone[8];
    guest good[8];
    guest bad[FAULTS];
    dw_scheduler *scheduler = make_scheduler(NULL);
    wasm_signals_restore();
    for (uint32_t k = 0; k < 8; k++) {
        run_reference(&alone[k], k, NULL);
        make_guest(&good[k], k, NULL);
        start(scheduler, &good[k]);
        if (k < FAULTS) {
            dw_instance_options options = {.struct_bytes = sizeof options,
                                           .timeout_ms = faults[k].timeout_ms,
                                           .memory_bytes_max = faults[k].memory_bytes_max};
            make_guest(&bad[k], k, &options);
            bad[k].words->what = faults[k].what;
            bad[k].words->at_step = 1 + next_random(5);
            start(scheduler, &bad[k]);
        }
    }
    run_all(scheduler);
    for (uint32_t k = 0; k < 8; k++) {
        assert_went_well(&good[k]);
        assert_alike(&alone[k], &good[k]);
        drop_guest(&alone[k]);
        drop_guest(&good[k]);
    }
    for (uint32_t k = 0; k < FAULTS; k++) {
        assert_int_equal(bad[k].ended, 1);
        assert_int_equal(bad[k].status, faults[k].status);
        assert_int_equal(bad[k].exit_code, faults[k].exit_code);
        assert_non_null(strstr(bad[k].message, faults[k].says));
        if (faults[k].what == GROW) {
            assert_int_equal(bad[k].words->result, faults[k].memory_bytes_max == 0 ? 16 : -1);
            assert_int_equal(bad[k].words->done, bad[k].words->steps);
        } else if (faults[k].what == SPIN) { /* a slow machine may not get it that far */
            assert_true(bad[k].words->done <= bad[k].words->at_step);
        } else {
            assert_int_equal(bad[k].words->done, bad[k].words->at_step);
        }
        drop_guest(&bad[k]);
    }
    dw_scheduler_destroy(scheduler);
}

/* While their steps wait: both are answered, and the second's guest ends. */
static void cancel_waiting_steps(bool choosing)
{
    guest g[3];
    dw_scheduler *scheduler =
        make_scheduler(&(dw_scheduler_options){.struct_bytes = sizeof(dw_scheduler_options),
                                               .step_tokens_max = 8,
                                               .prompt_tokens_max = 8});
    for (uint32_t k = 0; k < 3; k++) {
        make_guest(&g[k], k + 2, NULL);
        g[k].words->chooses = choosing;
        start(scheduler, &g[k]);
    }
    run_one_round(scheduler);
    dw_instance_cancel(g[0].instance);
    dw_instance_interrupt(g[1].instance);
    run_all(scheduler);
    assert_int_equal(g[0].status, DW_OK);
    assert_int_equal(g[0].words->status, DW_E_CANCELLED);
    for (uint32_t k = 0; k < 2; k++) { /* with a thread of its own the device may be further */
        assert_true(g[k].words->done == 0 ||
                    (device_thread() && g[k].words->done < g[k].words->steps));
    }
    assert_went_well(&g[2]);
    for (uint32_t k = 0; k < 3; k++) {
        drop_guest(&g[k]);
    }
    dw_scheduler_destroy(scheduler);
}

static void test_scheduler_cancels_waiting_steps(void **state)
{
    (void)state;
    cancel_waiting_steps(false);
    cancel_waiting_steps(true);
}

/* A long prompt goes in slices, of which each token of others waits for one at most: guests that
 * decode nearly as many tokens as it has slices, 106, are through before it is. Where the device
 * has a thread, it may be in a slice already when a guest asks: half as many. */
static void test_scheduler_prompts_hold_up_nobody(void **state)
{
    (void)state;
    guest g[3];
    dw_scheduler *scheduler =
        make_scheduler(&(dw_scheduler_options){.struct_bytes = sizeof(dw_scheduler_options),
                                               .step_tokens_max = 18,
                                               .prompt_tokens_max = 16});
    for (uint32_t k = 0; k < 3; k++) {
        make_guest(&g[k], 0, NULL);
        g[k].words->prompt_count = k == 0 ? 1900 : 1;
        g[k].words->steps = device_thread() ? 45 : 90;
        int32_t *prompt = (int32_t *)(void *)((unsigned char *)g[k].words + AT_PROMPT);
        for (uint32_t i = 0; i < g[k].words->prompt_count; i++) {
            prompt[i] = (int32_t)((i * 7 + k) % vocab_count);
        }
        start(scheduler, &g[k]);
    }
    ends = 0;
    run_all(scheduler);
    for (uint32_t k = 0; k < 3; k++) {
        assert_went_well(&g[k]);
    }
    assert_int_equal(g[0].place, 3);
    for (uint32_t k = 0; k < 3; k++) {
        drop_guest(&g[k]);
    }
    dw_scheduler_destroy(scheduler);
}

/* ---- what the host holds ------------------------------------------------------------------ */

static uint32_t done_by(const guest *g, uint32_t count)
{
    return count == 0 ? 0 : g->words->done + done_by(g + 1, count - 1);
}

/* Rounds in which all decode allocate nothing; the memory of guests that wait is pinned. */
static void test_scheduler_decoding_allocates_nothing(void **state)
{
    (void)state;
    if (device_thread()) {
        skip(); /* rounds are not the device's */
    }
    guest g[16];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 16; k++) {
        make_guest(&g[k], 1, NULL);
        g[k].words->steps = STEPS_MAX;
        start(scheduler, &g[k]);
    }
    dw_scheduler_stop(scheduler); /* the next run returns before its first round */
    run_all(scheduler);
    assert_int_equal(g[0].words->done, 0);
    run_one_round(scheduler);
    for (uint32_t rounds = 0; rounds < 62;) {
        uint64_t before = dw_alloc_count();
        uint32_t done = done_by(g, 16);
        assert_true(done < 16 * STEPS_MAX);
        dw__scheduler_round(scheduler);
        if (done_by(g, 16) == done + 16 && ++rounds > 2) { /* the first make room */
            assert_int_equal(dw_alloc_count(), before);
            assert_true(dw_region_pinned(dw_instance_region(g[3].instance)) ||
                        scheduler->workers[0].runnable > 0);
        }
    }
    run_all(scheduler);
    for (uint32_t k = 0; k < 16; k++) {
        assert_went_well(&g[k]);
        assert_false(dw_region_pinned(dw_instance_region(g[k].instance)));
        drop_guest(&g[k]);
    }
    dw_scheduler_destroy(scheduler);
}

/* Whichever allocation fails: somebody is told, and nothing is lost. */
static void test_scheduler_survives_no_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t n = 0; failed; n++) {
        guest g[2];
        make_guest(&g[0], 1, NULL);
        make_guest(&g[1], 2,
                   &(dw_instance_options){.struct_bytes = sizeof(dw_instance_options),
                                          .models = &models[1],
                                          .model_count = 1});
        dw_scheduler *scheduler = NULL;
        dw_error err;
        uint32_t started = 0;
        dw_alloc_fail_after(n);
        dw_status status = dw_scheduler_create(&scheduler, engine, NULL, &err);
        for (uint32_t k = 0; k < 2 && status == DW_OK; k++) {
            status = dw_scheduler_start(scheduler, g[k].instance, on_end, &g[k], &err);
            started += status == DW_OK;
        }
        if (scheduler != NULL) {
            run_all(scheduler);
        }
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        failed = status != DW_OK;
        for (uint32_t k = 0; k < 2; k++) {
            assert_int_equal(g[k].ended, k < started);
            assert_true(g[k].words->status >= 0 || g[k].words->status == DW_E_MEMORY);
            failed = failed || g[k].words->done < g[k].words->steps;
        }
        dw_scheduler_destroy(scheduler);
        drop_guest(&g[0]);
        drop_guest(&g[1]);
        assert_true(n < 500);
    }
}

/* ---- the interface ------------------------------------------------------------------------ */

static void test_scheduler_destroyed_while_guests_run(void **state)
{
    (void)state;
    guest g[6];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 6; k++) {
        make_guest(&g[k], k, NULL);
        g[k].words->what = k == 0 ? SPIN : NOTHING;
        g[k].words->at_step = 0;
        g[k].words->steps = 1000;
        g[k].words->chooses = k % 2;
        if (k < 4) {
            start(scheduler, &g[k]);
        }
    }
    run_one_round(scheduler);
    dw__scheduler_round(scheduler);
    dw__scheduler_round(scheduler);
    start(scheduler, &g[4]); /* these have had no turn */
    start(scheduler, &g[5]);
    dw_scheduler_destroy(scheduler);
    for (uint32_t k = 0; k < 6; k++) {
        assert_int_equal(g[k].ended, 1);
        assert_int_equal(g[k].status, DW_E_CANCELLED);
        assert_true(g[k].words->done < 1000);
        drop_guest(&g[k]);
    }
}

typedef struct chain {
    dw_scheduler *scheduler;
    guest g[8];
    uint32_t count;
} chain;

/* Each guest's end destroys it and starts the next. */
static void on_chain_end(void *user, const dw_call_end *end)
{
    chain *c = user;
    dw_error err;
    assert_int_equal(end->status, DW_OK);
    assert_int_equal(dw_scheduler_run(c->scheduler, DW_RUN_UNTIL_IDLE, &err), DW_E_STATE);
    drop_guest(&c->g[c->count]);
    if (++c->count == 8) {
        dw_scheduler_stop(c->scheduler);
        return;
    }
    make_guest(&c->g[c->count], c->count, NULL);
    assert_int_equal(
        dw_scheduler_start(c->scheduler, c->g[c->count].instance, on_chain_end, c, &err), DW_OK);
}

static void *start_chain(void *user)
{
    chain *c = user;
    struct timespec pause = {.tv_nsec = 20000000};
    (void)nanosleep(&pause, NULL); /* the scheduler sleeps by now */
    if (dw_scheduler_start(c->scheduler, c->g[0].instance, on_chain_end, c, NULL) != DW_OK) {
        abort();
    }
    for (int i = 0; i < 100; i++) {
        dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
        dw_scheduler_get_stats(c->scheduler, &counts);
    }
    return NULL;
}

static void test_scheduler_from_callbacks_and_threads(void **state)
{
    (void)state;
    chain c = {.scheduler = make_scheduler(NULL)};
    pthread_t thread;
    make_guest(&c.g[0], 0, NULL);
    assert_int_equal(pthread_create(&thread, NULL, start_chain, &c), 0);
    assert_int_equal(dw_scheduler_run(c.scheduler, DW_RUN_UNTIL_STOPPED, NULL), DW_OK);
    (void)pthread_join(thread, NULL);
    assert_int_equal(c.count, 8);
    dw_scheduler_destroy(c.scheduler);
}

typedef struct threaded {
    guest g;
    pthread_t thread; /* which its callback was called on */
} threaded;

static void on_threaded_end(void *user, const dw_call_end *end)
{
    threaded *t = user;
    on_end(&t->g, end);
    t->thread = pthread_self();
}

/* Guests are spread over the threads, and come to what they come to on one. */
static void test_scheduler_guest_threads(void **state)
{
    (void)state;
    guest alone[9];
    threaded all[9];
    dw_error err;
    dw_scheduler *scheduler = NULL;
    dw_scheduler_options options = {.struct_bytes = sizeof options, .guest_threads = 65};
    assert_int_equal(dw_scheduler_create(&scheduler, engine, &options, &err), DW_E_RANGE);
    assert_non_null(strstr(err.message, "65"));
    options.guest_threads = 3;
    assert_int_equal(dw_scheduler_create(&scheduler, engine, &options, &err), DW_OK);
    for (uint32_t k = 0; k < 9; k++) {
        run_reference(&alone[k], k, NULL);
        make_guest(&all[k].g, k, NULL);
        all[k].g.words->chooses = k % 2;
        assert_int_equal(
            dw_scheduler_start(scheduler, all[k].g.instance, on_threaded_end, &all[k], &err),
            DW_OK);
    }
    run_all(scheduler);
    for (uint32_t k = 0; k < 9; k++) {
        uint32_t same = 0;
        for (uint32_t i = 0; i < 9; i++) {
            same += pthread_equal(all[i].thread, all[k].thread) != 0;
        }
        assert_int_equal(same, 3);
        assert_went_well(&all[k].g);
        assert_true(same_tokens(&alone[k], &all[k].g));
        drop_guest(&alone[k]);
        drop_guest(&all[k].g);
    }
    dw_scheduler_destroy(scheduler);
}

static void test_scheduler_refuses(void **state)
{
    (void)state;
    guest g[3];
    dw_error err;
    dw_engine *other = NULL;
    dw_scheduler *foreign = NULL;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_scheduler *scheduler = make_scheduler(&(dw_scheduler_options){
        .struct_bytes = sizeof(dw_scheduler_options), .guest_count_max = 2});
    for (uint32_t k = 0; k < 3; k++) {
        make_guest(&g[k], k, NULL);
    }
    start(scheduler, &g[0]);
    start(scheduler, &g[1]);
    assert_int_equal(dw_scheduler_start(scheduler, g[2].instance, on_end, &g[2], &err), DW_E_BUSY);
    assert_non_null(strstr(err.message, "2 guests"));
    run_all(scheduler);
    /* A command runs once, by whatever way. */
    start(scheduler, &g[0]);
    assert_int_equal(dw_instance_run(g[2].instance, NULL, &err), DW_OK);
    start(scheduler, &g[2]);
    run_all(scheduler);
    assert_int_equal(g[0].status, DW_E_STATE);
    assert_int_equal(g[2].status, DW_E_STATE);
    assert_int_equal(dw_instance_run(g[1].instance, NULL, &err), DW_E_STATE);
    assert_int_equal(dw_engine_create(&other, &options, &err), DW_OK);
    assert_int_equal(dw_scheduler_create(&foreign, other, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(foreign, g[2].instance, on_end, &g[2], &err), DW_E_ARG);
    dw_scheduler_destroy(foreign);
    dw_engine_destroy(other);
    dw_scheduler_destroy(scheduler);
    dw_scheduler_destroy(NULL);
    for (uint32_t k = 0; k < 3; k++) {
        drop_guest(&g[k]);
    }
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheduler_together_as_alone),
        cmocka_unit_test(test_scheduler_sharing_prefixes),
        cmocka_unit_test(test_scheduler_choosing),
        cmocka_unit_test(test_scheduler_as_without_one),
        cmocka_unit_test(test_scheduler_several_models),
        cmocka_unit_test(test_scheduler_embeds_and_shifts),
        cmocka_unit_test(test_scheduler_spinning_guests_starve_nobody),
        cmocka_unit_test(test_scheduler_ends_are_each_guests_own),
        cmocka_unit_test(test_scheduler_cancels_waiting_steps),
        cmocka_unit_test(test_scheduler_prompts_hold_up_nobody),
        cmocka_unit_test(test_scheduler_decoding_allocates_nothing),
        cmocka_unit_test(test_scheduler_survives_no_memory),
        cmocka_unit_test(test_scheduler_destroyed_while_guests_run),
        cmocka_unit_test(test_scheduler_from_callbacks_and_threads),
        cmocka_unit_test(test_scheduler_guest_threads),
        cmocka_unit_test(test_scheduler_refuses),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
