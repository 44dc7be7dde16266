/* Guests that embed, with an encoder or another model, beside others that decode, with that model
 * or another: others' steps come in the middle of it, and numbers are those of one who is alone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "inference/step_parts.h"
#include "scheduler/scheduler.h"
#include "support.h"
#include "tiny_model.h"
#include "wasm/guest_instance.h"

/* Tokens of the encoders' context: a text of so many takes a good many turns. */
#if defined(__SANITIZE_THREAD__)
#define LONGEST 256u
#else
#define LONGEST 2048u
#endif
#define DECODERS 3
#define MANY 12 /* more than there are places for graphs */
#define AT_TOKENS 8192u
#define AT_ROWS 65536u

/* Memory: 0 how many tokens it embeds, 4 how many it decodes; at 8 it says how many are done. */
static const char text[] =
    "(module"
    " (import \"driftwood\" \"model_open\" (func $model (param i32 i32) (result i32)))"
    " (import \"driftwood\" \"context_create\" (func $context (param i32 i32) (result i32)))"
    " (import \"driftwood\" \"forward\" (func $forward (param i32 i32 i32 i32 i32) (result i32)))"
    " (import \"driftwood\" \"embed\" (func $embed (param i32 i32 i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 64)"
    " (func (export \"_start\") (local $m i32) (local $c i32)"
    "  (local.set $m (call $model (i32.const 0) (i32.const 0)))"
    "  (if (i32.load (i32.const 0)) (then"
    "   (i32.store (i32.const 8) (call $embed (local.get $m) (i32.const 8192)"
    "     (i32.load (i32.const 0)) (i32.const 1) (i32.const 0) (i32.const 65536)))"
    "   (return)))"
    "  (local.set $c (call $context (local.get $m) (i32.const 0)))"
    "  (loop $next"
    "   (if (i32.lt_s (call $forward (local.get $c) (i32.const 8192) (i32.const 1) (i32.const "
    "65536)"
    "                              (i32.const 1)) (i32.const 0)) (then (return)))"
    "   (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
    "   (br_if $next (i32.lt_u (i32.load (i32.const 8)) (i32.load (i32.const 4)))))))";

/* Encoders, with ggml's products and with ours; what decodes; what does and is larger. */
enum { FLOATS, QUANTISED, DECODER, LARGE, MODELS };
static dw_engine *engine;
static dw_module *module;
static dw_model *models[MODELS];

static dw_model *make_model(int which)
{
    static const tiny_architecture kinds[] = {{.name = "nomic-bert",
                                               .norms = TINY_SUM,
                                               .layer_norm = true,
                                               .fused_qkv = true,
                                               .encoder = true,
                                               .tokenizer = "bert"},
                                              {.name = "bert",
                                               .norms = TINY_SUM,
                                               .layer_norm = true,
                                               .plain_ffn = true,
                                               .encoder = true,
                                               .learned_positions = true,
                                               .tokenizer = "bert"}};
    char path[] = "/tmp/dw-encoders-XXXXXX";
    dw_model *made = NULL;
    dw_error err;
    tiny_options options = tiny_defaults();
    options.matrix_type = which == QUANTISED || which == LARGE ? GGML_TYPE_Q8_0 : GGML_TYPE_F32;
    options.context_length = which == DECODER ? 2048 : LONGEST;
    if (which < DECODER) {
        options.kind = &kinds[which];
        options.architecture = kinds[which].name;
    }
    if (which != DECODER) {
        options.layer_count = 4;
        options.embedding_length = 384;
        options.head_count = options.kv_head_count = 6;
        options.head_dim = 64;
        options.ff_length = 1536;
    }
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, &options);
    if (dw_model_open(&made, engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    (void)unlink(path);
    return made;
}

static int open_fixture(void **state)
{
    (void)state;
    dw_error err;
    wasm_byte_vec_t wasm;
    /* One thread, as in tests/unit/test_scheduler.c. */
    const dw_engine_options options = {
        .struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    if (dw_module_create(&module, engine, wasm.data, wasm.size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    for (int i = 0; i < MODELS; i++) {
        models[i] = make_model(i);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        dw_model_unref(models[i]);
    }
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return 0;
}

typedef struct guest {
    dw_instance *instance;
    uint32_t *words;
    _Atomic uint32_t ended;
    dw_status status;
    char message[248];
} guest;

static void make_guest(guest *g, int model, uint32_t embeds, uint32_t decodes)
{
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .models = &models[model], .model_count = 1};
    dw_error err;
    *g = (guest){.ended = 0};
    wasm_signals_restore();
    if (dw_instance_create(&g->instance, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unsigned char *memory = dw_instance_memory(g->instance);
    int32_t *tokens = (int32_t *)(void *)(memory + AT_TOKENS);
    g->words = (uint32_t *)(void *)memory;
    g->words[0] = embeds;
    g->words[1] = decodes;
    for (uint32_t i = 0; i < (embeds > 0 ? embeds : 1); i++) {
        tokens[i] = (int32_t)(5 + (i * i * 31 + i * 17 + embeds) % 250);
    }
}

static const float *row_of(const guest *g)
{
    return (const float *)(const void *)((const unsigned char *)g->words + AT_ROWS);
}

static void on_end(void *user, const dw_call_end *end)
{
    guest *g = user;
    g->status = end->status;
    (void)snprintf(g->message, sizeof g->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    g->ended++;
}

static void start(dw_scheduler *scheduler, guest *g)
{
    dw_error err;
    if (dw_scheduler_start(scheduler, g->instance, on_end, g, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void run_all(dw_scheduler *scheduler)
{
    dw_error err;
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
}

static dw_scheduler *make_scheduler(uint32_t guest_threads)
{
    dw_scheduler *scheduler = NULL;
    dw_error err;
    const dw_scheduler_options options = {
        .struct_bytes = sizeof options,
        .guest_threads = guest_threads,
        .device_thread = guest_threads > 1 ? DW_DEVICE_THREAD_OWN : DW_DEVICE_THREAD_SHARED};
    if (dw_scheduler_create(&scheduler, engine, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return scheduler;
}

/* ---- others' steps --------------------------------------------------------------------------- */

/* What comes between the first and the last turn in which a guest's embedding is computed. */
typedef struct seen {
    pthread_mutex_t lock;
    const guest *embeds;
    uint32_t turns;  /* of the embedding */
    uint32_t during; /* steps of others */
    uint32_t since;  /* the same, since the last turn */
} seen;

static void on_span(void *user, void *call, const dw_scheduler_span *span)
{
    seen *s = user;
    (void)pthread_mutex_lock(&s->lock);
    if (span->kind == DW_SPAN_STEP && call != s->embeds) {
        s->since++;
    } else if (span->kind == DW_SPAN_WORK && call == s->embeds) {
        s->during += s->turns > 0 ? s->since : 0;
        s->since = 0;
        s->turns++;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

/* The longest text, a steady stream of others' steps beside it: some of those are computed in the
 * middle, for each of them. */
static void steps_come_between(int model, int decoder, uint32_t guest_threads)
{
    const uint32_t steps = decoder == DECODER ? 1000 : LONGEST / 8;
    static _Atomic bool on;
    guest embeds;
    guest alone;
    guest decodes[DECODERS];
    seen s = {.lock = PTHREAD_MUTEX_INITIALIZER, .embeds = &embeds};
    dw_scheduler *scheduler = make_scheduler(guest_threads);
    const dw_scheduler_watch watch = {.on = &on, .on_span = on_span, .user = &s};
    on = true;
    dw_scheduler_set_watch(scheduler, &watch);
    make_guest(&alone, model, LONGEST, 0);
    assert_int_equal(dw_instance_run(alone.instance, NULL, NULL), DW_OK);
    make_guest(&embeds, model, LONGEST, 0);
    start(scheduler, &embeds);
    for (int i = 0; i < DECODERS; i++) {
        make_guest(&decodes[i], decoder, 0, steps);
        start(scheduler, &decodes[i]);
    }
    run_all(scheduler);
    dw_scheduler_destroy(scheduler);
    print_message("%u steps of others between %u turns of an embedding\n", s.during, s.turns);
    assert_int_equal(embeds.status, DW_OK);
    assert_int_equal(embeds.words[2], 384);
    assert_memory_equal(row_of(&embeds), row_of(&alone), 384 * sizeof(float));
    for (int i = 0; i < DECODERS; i++) {
        assert_int_equal(decodes[i].status, DW_OK);
        assert_int_equal(decodes[i].words[2], steps);
        dw_instance_destroy(decodes[i].instance);
    }
    assert_true(s.turns > 4);
    assert_true(s.during > 4 * DECODERS);
    dw_instance_destroy(embeds.instance);
    dw_instance_destroy(alone.instance);
}

static void test_encoders_let_steps_come_between(void **state)
{
    (void)state;
    steps_come_between(FLOATS, DECODER, 0);
    steps_come_between(QUANTISED, DECODER, 0);
    steps_come_between(QUANTISED, DECODER, 3);
    steps_come_between(LARGE, DECODER, 0);
    steps_come_between(LARGE, LARGE, 0);
    steps_come_between(LARGE, LARGE, 3);
}

/* ---- many at once ---------------------------------------------------------------------------- */

/* More embeddings at a time than there are places for their graphs, of one length and of many: all
 * go through, and each is what it is alone. */
static void all_go_through(bool same, uint32_t guest_threads)
{
    static guest guests[MANY];
    static float alone[MANY][384];
    dw_scheduler *scheduler = make_scheduler(guest_threads);
    for (uint32_t i = 0; i < MANY; i++) {
        const uint32_t count = same ? LONGEST / 10 : LONGEST / 10 - i / 2;
        make_guest(&guests[i], FLOATS, count, 0);
        assert_int_equal(dw_instance_run(guests[i].instance, NULL, NULL), DW_OK);
        memcpy(alone[i], row_of(&guests[i]), sizeof alone[i]);
        dw_instance_destroy(guests[i].instance);
        make_guest(&guests[i], FLOATS, count, 0);
        start(scheduler, &guests[i]);
    }
    run_all(scheduler);
    dw_scheduler_destroy(scheduler);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(guests[i].status, DW_OK);
        assert_memory_equal(row_of(&guests[i]), alone[i], sizeof alone[i]);
        dw_instance_destroy(guests[i].instance);
    }
}

static void test_encoders_many_at_once(void **state)
{
    (void)state;
    all_go_through(true, 0);
    all_go_through(false, 0);
    all_go_through(true, 3);
    all_go_through(false, 3);
}

/* The same on threads of the embedder's own, without a scheduler. */
static void *run_alone(void *user)
{
    guest *g = user;
    g->status = dw_instance_run(g->instance, NULL, NULL);
    return NULL;
}

static void test_encoders_on_threads_of_their_own(void **state)
{
    (void)state;
    guest guests[9];
    pthread_t threads[9];
    for (uint32_t i = 0; i < 9; i++) {
        make_guest(&guests[i], QUANTISED, LONGEST / 8, 0);
        assert_int_equal(pthread_create(&threads[i], NULL, run_alone, &guests[i]), 0);
    }
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(guests[i].status, DW_OK);
        assert_memory_equal(row_of(&guests[i]), row_of(&guests[0]), 384 * sizeof(float));
    }
    for (uint32_t i = 0; i < 9; i++) {
        dw_instance_destroy(guests[i].instance);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoders_let_steps_come_between),
        cmocka_unit_test(test_encoders_many_at_once),
        cmocka_unit_test(test_encoders_on_threads_of_their_own),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
