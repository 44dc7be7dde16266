/* Generation ahead of guests: what a loop of forward_sample comes to, token for token and bit for
 * bit, whatever guests do meanwhile. DW_TEST_SEED chooses the orders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../guest/generator.h"
#include "actor/actor.h"
#include "base/alloc.h"
#include "base/os.h"
#include "scheduler/round.h"
#include "support.h"
#include "tiny_model.h"

#define CROWD 64

/* A message of one order to one actor. */
typedef struct told {
    dw_actor *actor;
    generator_order order;
    generator_answer answer;
    size_t answer_bytes;
    _Atomic uint32_t ended;
    dw_status status;
    char message[248];
} told;

static dw_engine *engine;
static dw_model *model;
static dw_module *module;
static char model_path[40];
static uint64_t seed = 1;

/* ---- the fixture ---------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void open_model(void)
{
    dw_error err;
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0; /* nobody's bits depend on who else is there */
    options.own_output = true;
    (void)snprintf(model_path, sizeof model_path, "/tmp/dw-generation-XXXXXX");
    int fd = mkstemp(model_path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(model_path, &options);
    if (dw_model_open(&model, engine, model_path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static int open_fixture(void **state)
{
    (void)state;
    dw_error err;
    const char *given = getenv("DW_TEST_SEED");
    const char *device = getenv("DW_TEST_DEVICE");
    seed = given != NULL ? strtoull(given, NULL, 10) : dw_os_clock_ns();
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    dw_engine_options options = {
        .struct_bytes = sizeof options, .device = device != NULL ? device : "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    open_model();
    if (dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/generator.wasm", &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dw_module_unref(module);
    dw_model_unref(model);
    (void)unlink(model_path);
    dw_engine_destroy(engine);
    return 0;
}

static dw_actor *spawn(uint64_t timeout_ms)
{
    dw_error err;
    dw_actor *actor = NULL;
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &model,
                                    .model_count = 1,
                                    .timeout_ms = timeout_ms};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return actor;
}

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

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    told *t = user;
    assert_true(count <= sizeof t->answer - t->answer_bytes);
    memcpy((unsigned char *)&t->answer + t->answer_bytes, bytes, count);
    t->answer_bytes += count;
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_call_end *end)
{
    told *t = user;
    t->status = end->status;
    (void)snprintf(t->message, sizeof t->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    t->ended++; /* who sees it finds the others */
}

static void tell(told *t)
{
    dw_error err;
    t->ended = 0;
    t->answer_bytes = 0;
    t->answer = (generator_answer){.status = 0};
    if (dw_actor_send(t->actor, NULL, &t->order, sizeof t->order, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void start(dw_scheduler *scheduler, told *t)
{
    dw_error err;
    tell(t);
    if (dw_scheduler_receive(scheduler, t->actor, on_answer, on_end, t, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void run_all(dw_scheduler *scheduler)
{
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, NULL), DW_OK);
}

static void stop(void *user)
{
    dw_scheduler_stop(user);
}

/* Take in what was started, and let it have its first turn. */
static void run_one_round(dw_scheduler *scheduler)
{
    assert_int_equal(dw_scheduler_submit(scheduler, stop, scheduler, NULL), DW_OK);
    run_all(scheduler);
}

/* Under a scheduler of its own, or called directly. */
static void run_one(told *t, bool scheduled)
{
    if (!scheduled) {
        dw_error err = {.message = ""};
        tell(t);
        t->status = dw_actor_receive(t->actor, on_answer, t, &err);
        (void)snprintf(t->message, sizeof t->message, "%s", err.message);
        t->ended = 1;
        return;
    }
    dw_scheduler *scheduler = make_scheduler(NULL);
    start(scheduler, t);
    run_all(scheduler);
    dw_scheduler_destroy(scheduler);
}

static void drop(told *t)
{
    dw_actor_destroy(t->actor);
    t->actor = NULL;
}

/* ---- what there is to generate -------------------------------------------------------------- */

#define WORDS "root ::= (\"w\" [0-9]+ | \"<\" [a-z]* \">\")+"

/* Ways to choose: at random, and with all that keeps state between tokens. */
static const struct {
    dw_sampler_params params;
    const char *grammar;
} ways[] = {
    {.params = {.seed = 0}},
    {.params = {.temperature = 1.0F, .seed = 3}},
    {.params = {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F, .seed = 4}},
    {.params = {.temperature = 0.9F,
                .top_k = 20,
                .repeat_penalty = 1.3F,
                .frequency_penalty = 0.2F,
                .presence_penalty = 0.1F,
                .penalty_tokens = 16,
                .seed = 5}},
    {.params = {.temperature = 1.0F, .mirostat_tau = 4.0F, .seed = 6}},
    {.params = {.temperature = 1.0F, .top_k = 30, .dry_multiplier = 1.0F, .seed = 7}},
    {.params = {.temperature = 1.0F, .seed = 8}, .grammar = WORDS},
    {.params = {.seed = 0}, .grammar = WORDS},
};
#define WAYS (sizeof ways / sizeof ways[0])

static generator_order order_of(uint32_t way, uint32_t k)
{
    generator_order order = {.prompt_count = 1 + k * 37 % 200,
                             .prompt_seed = k,
                             .tokens_max = 12 + k % 50,
                             .params = ways[way % WAYS].params};
    order.params.struct_bytes = sizeof order.params;
    order.params.seed += k;
    if (ways[way % WAYS].grammar != NULL) {
        (void)snprintf(order.grammar, sizeof order.grammar, "%s", ways[way % WAYS].grammar);
    }
    return order;
}

static size_t text_of(const int32_t *tokens, uint32_t count, char *text, size_t capacity)
{
    size_t bytes = 0;
    assert_int_equal(dw_vocab_detokenize(dw_model_vocab(model), tokens, count, text, capacity, 0,
                                         &bytes, NULL, NULL),
                     DW_OK);
    return bytes;
}

/* One that may have any reason to stop: tokens and texts of what it says without one. */
static void add_stops(generator_order *order, const generator_answer *said)
{
    char text[4096];
    size_t bytes = 0;
    uint32_t what = next_random(8);
    uint32_t count = said->token_count;
    if (count < 5) {
        return;
    }
    bytes = text_of(said->tokens, count, text, sizeof text);
    if ((what & 1) != 0 && bytes > 12) { /* somewhere, across tokens as a rule */
        for (uint32_t i = 0; i < 2; i++) {
            size_t length = 2 + next_random(9);
            size_t at = next_random((uint32_t)(bytes - length));
            size_t zero = 0;
            while (zero < length && text[at + zero] != '\0') {
                zero++;
            }
            if (zero > 0) {
                memcpy(order->stop_strings[order->stop_string_count], text + at, zero);
                order->stop_string_count++;
            }
        }
    }
    if ((what & 2) != 0) {
        order->stop_tokens[0] = 7;
        order->stop_tokens[1] = said->tokens[next_random(count)];
        order->stop_token_count = 2;
    }
    if ((what & 4) != 0) {
        order->biases[0] = (dw_logit_bias){2, 6.0F}; /* the end's token */
        order->bias_count = 1;
        order->flags = next_random(2) ? DW_GENERATE_PAST_END : DW_GENERATE_SPECIAL;
    }
}

static void assert_went_well(const told *t)
{
    assert_string_equal(t->message, "");
    assert_int_equal(t->ended, 1);
    assert_int_equal(t->status, DW_OK);
    assert_int_equal(t->answer_bytes, sizeof t->answer);
    assert_int_equal(t->answer.status, DW_OK);
}

/* Whether prompts in company give the same bits as alone: on GPUs they do not (docs/numerics.md),
 * and the tokens of a model of random weights are others soon. */
static bool alike_in_company(void)
{
    return getenv("DW_TEST_DEVICE") == NULL;
}

/* The same tokens, the same end, the same to go on from. */
static void assert_alike(const generator_answer *a, const generator_answer *b)
{
    assert_int_equal(a->token_count, b->token_count);
    assert_memory_equal(a->tokens, b->tokens, a->token_count * sizeof a->tokens[0]);
    assert_int_equal(a->end, b->end);
    assert_int_equal(a->stop_index, b->stop_index);
    assert_int_equal(a->length, b->length);
    assert_memory_equal(a->more, b->more, sizeof a->more);
}

/* What the loop comes to. */
static void run_loop(told *t, const generator_order *order, bool scheduled)
{
    *t = (told){.actor = spawn(0), .order = *order};
    t->order.ahead = 0;
    t->order.act = GENERATOR_NOTHING;
    run_one(t, scheduled);
    assert_went_well(t);
    drop(t);
}

static void run_ahead(told *t, const generator_order *order, uint32_t wake, bool scheduled)
{
    *t = (told){.actor = spawn(0), .order = *order};
    t->order.ahead = 1;
    t->order.wake_tokens = wake;
    run_one(t, scheduled);
}

/* ---- as the loop ---------------------------------------------------------------------------- */

static void as_the_loop(bool scheduled)
{
    static told loop;
    static told ahead;
    uint32_t ends[8] = {0};
    uint32_t moved = 0;
    for (uint32_t k = 0; k < 6 * WAYS; k++) {
        generator_order order = order_of(k, k);
        order.window = k % 3 == 1 ? order.prompt_count + k % 5 : 0; /* moves on several times */
        run_loop(&loop, &order, scheduled);
        if (order.window > 0) {
            assert_true(loop.answer.length <= 4 + order.window);
            moved += loop.answer.token_count > 8;
        }
        if (k >= WAYS) {
            add_stops(&order, &loop.answer);
            run_loop(&loop, &order, scheduled);
        }
        for (uint32_t wake = 0; wake < 4; wake++) {
            run_ahead(&ahead, &order, wake, scheduled);
            assert_went_well(&ahead);
            assert_alike(&loop.answer, &ahead.answer);
            uint32_t count = ahead.answer.token_count;
            uint32_t wakes = wake == 0 ? 1 : (count + wake - 1) / wake;
            if (scheduled && device_thread()) { /* at more tokens, or at the last and the end */
                assert_in_range(ahead.answer.wakes, 1, wakes + 1);
            } else {
                assert_int_equal(ahead.answer.wakes, wakes);
            }
            drop(&ahead);
        }
        ends[loop.answer.end]++;
    }
    assert_true(ends[DW_GENERATE_MAXIMUM] > 0 && ends[DW_GENERATE_STOP_STRING] > 0);
    assert_true(moved > 4);
}

static void test_generation_without_scheduler(void **state)
{
    (void)state;
    as_the_loop(false);
}

static void test_generation_under_scheduler(void **state)
{
    (void)state;
    as_the_loop(true);
}

/* Each reason to stop, each in a generation of its own. */
static void test_generation_ends(void **state)
{
    (void)state;
    static told loop;
    static told ahead;
    generator_order base = order_of(0, 9);
    run_loop(&loop, &base, true);
    const int32_t *said = loop.answer.tokens;
    generator_order orders[6];
    for (int i = 0; i < 6; i++) {
        orders[i] = base;
    }
    orders[0].biases[0] = (dw_logit_bias){2, 1000.0F};
    orders[0].bias_count = 1;
    orders[1].stop_tokens[0] = said[3];
    orders[1].stop_token_count = 1;
    size_t bytes = 0;
    char text[256];
    bytes = text_of(said + 2, 2, text, sizeof text);
    memcpy(orders[2].stop_strings[0], "never there", 12);
    memcpy(orders[2].stop_strings[1], text, bytes); /* two tokens whole */
    orders[2].stop_string_count = 2;
    orders[3].tokens_max = 1;
    orders[4].context_tokens = base.prompt_count + 5;
    orders[5] = orders[0];
    orders[5].flags = DW_GENERATE_PAST_END | DW_GENERATE_SPECIAL;
    memcpy(orders[5].stop_strings[0], "</s></s>", 9);
    orders[5].stop_string_count = 1;
    static const int32_t ends[] = {DW_GENERATE_END_TOKEN,   DW_GENERATE_STOP_TOKEN,
                                   DW_GENERATE_STOP_STRING, DW_GENERATE_MAXIMUM,
                                   DW_GENERATE_FULL,        DW_GENERATE_STOP_STRING};
    static const uint32_t counts[] = {1, 0, 0, 1, 6, 2};
    for (int i = 0; i < 6; i++) {
        run_loop(&loop, &orders[i], true);
        run_ahead(&ahead, &orders[i], 0, true);
        assert_went_well(&ahead);
        assert_alike(&loop.answer, &ahead.answer);
        assert_int_equal(ahead.answer.end, ends[i]);
        assert_true(counts[i] == 0 || ahead.answer.token_count == counts[i]);
        assert_true(ahead.answer.token_count <= 6);
        drop(&ahead);
    }
}

/* ---- in company ----------------------------------------------------------------------------- */

/* A guest's ways to end badly, or to do something else meanwhile, among those that do neither. */
static const struct {
    generator_act act;
    dw_status status;
    const char *says;
} acts[] = {
    {GENERATOR_TRAP, DW_E_TRAP, "unreachable"},
    {GENERATOR_RETURN, DW_OK, ""},
    {GENERATOR_LEAVE, DW_E_TRAP, "code 3"},
    {GENERATOR_END, DW_OK, ""},
    {GENERATOR_GROW, DW_OK, ""},
    {GENERATOR_COMPUTE, DW_OK, ""},
    {GENERATOR_CLOBBER, DW_OK, ""},
    {GENERATOR_REFUSED, DW_OK, ""},
    {GENERATOR_SPIN, DW_E_LIMIT, "longer than its"},
};
#define ACTS (sizeof acts / sizeof acts[0])

/* Those that do it and go on say what the loop says. */
static bool goes_on(generator_act act)
{
    return act == GENERATOR_NOTHING || act == GENERATOR_GROW || act == GENERATOR_COMPUTE ||
           act == GENERATOR_CLOBBER || act == GENERATOR_REFUSED;
}

static void assert_act(const told *t, const told *loop, size_t k)
{
    assert_int_equal(t->ended, 1);
    if (device_thread() && t->order.act_at > 0 && t->status == DW_OK && t->answer.act_result == 0 &&
        t->answer.end != DW_GENERATE_GOES_ON) {
        assert_went_well(t); /* the device had come to the end before the guest's turn */
        if (alike_in_company()) {
            assert_alike(&loop->answer, &t->answer);
        }
        return;
    }
    assert_int_equal(t->status, acts[k].status);
    assert_non_null(strstr(t->message, acts[k].says));
    if (goes_on(acts[k].act)) {
        assert_went_well(t);
        if (alike_in_company()) {
            assert_alike(&loop->answer, &t->answer);
        }
        assert_int_equal(t->answer.act_result > 0,
                         acts[k].act == GENERATOR_GROW || acts[k].act == GENERATOR_COMPUTE);
    }
    if (acts[k].act == GENERATOR_END) {
        assert_went_well(t);
    }
    if (acts[k].act == GENERATOR_END && alike_in_company()) {
        assert_true(t->answer.end == DW_GENERATE_LEFT || t->answer.end == loop->answer.end);
        assert_memory_equal(t->answer.tokens, loop->answer.tokens,
                            t->answer.token_count * sizeof t->answer.tokens[0]);
        assert_int_equal(t->answer.length, t->answer.token_count == 0
                                               ? (t->answer.length > 0 ? t->order.prompt_count : 0)
                                               : t->order.prompt_count + t->answer.token_count - 1);
    }
}

static void test_generation_meanwhile(void **state)
{
    (void)state;
    static told loop;
    static told ahead;
    wasm_signals_restore();
    for (size_t k = 0; k < ACTS; k++) {
        for (uint32_t at = 0; at < 3; at++) {
            generator_order order = order_of((uint32_t)k, (uint32_t)k + 20);
            run_loop(&loop, &order, true);
            order.ahead = 1;
            order.act = acts[k].act;
            order.act_at = at * 4;
            order.wake_tokens = 1 + at;
            ahead = (told){.actor = spawn(acts[k].act == GENERATOR_SPIN ? 50 : 0), .order = order};
            run_one(&ahead, true);
            assert_act(&ahead, &loop, k);
            if (ahead.status == DW_OK) { /* and it can be talked to */
                ahead.order.act = GENERATOR_NOTHING;
                run_one(&ahead, at == 1);
                assert_went_well(&ahead);
            }
            drop(&ahead);
        }
    }
}

typedef struct crowd {
    dw_scheduler *scheduler;
    told *all; /* [CROWD] */
    uint32_t next;
    bool stopped[CROWD];
} crowd;

static void on_crowd_end(void *user, const dw_call_end *end);

/* Between rounds some join, as the dice have it. */
static void join_some(void *user)
{
    crowd *c = user;
    uint32_t most = 1 + next_random(6);
    for (uint32_t i = 0; i < most && c->next < CROWD; i++) {
        told *t = &c->all[c->next++];
        tell(t);
        assert_int_equal(
            dw_scheduler_receive(c->scheduler, t->actor, on_answer, on_crowd_end, t, NULL), DW_OK);
    }
    uint32_t k = next_random(c->next);
    if (c->all[k].ended == 0 && next_random(3) == 0) {
        dw_instance *instance = dw_actor_instance(c->all[k].actor);
        c->stopped[k] = true;
        (next_random(2) ? dw_instance_cancel : dw_instance_interrupt)(instance);
    }
    if (c->next < CROWD) {
        assert_int_equal(dw_scheduler_submit(c->scheduler, join_some, c, NULL), DW_OK);
    }
}

static void on_crowd_end(void *user, const dw_call_end *end)
{
    on_end(user, end);
}

/* 64 that join and leave when they like, one in four of which does something else: those that are
 * well come to what they come to alone, bit for bit. */
static void test_generation_in_company(void **state)
{
    (void)state;
    static told loops[CROWD];
    static told all[CROWD];
    uint32_t kinds[CROWD];
    wasm_signals_restore();
    crowd c = {.scheduler = make_scheduler(NULL), .all = all};
    for (uint32_t k = 0; k < CROWD; k++) {
        generator_order order = order_of(next_random(WAYS), k);
        run_loop(&loops[k], &order, true);
        add_stops(&order, &loops[k].answer);
        run_loop(&loops[k], &order, true);
        kinds[k] = next_random(4) == 0 ? next_random(ACTS) : ACTS;
        order.ahead = next_random(5) > 0;
        order.wake_tokens = next_random(4);
        order.act = order.ahead && kinds[k] < ACTS ? acts[kinds[k]].act : GENERATOR_NOTHING;
        order.act_at = next_random(6);
        all[k] = (told){.actor = spawn(order.act == GENERATOR_SPIN ? 100 : 0), .order = order};
    }
    assert_int_equal(dw_scheduler_submit(c.scheduler, join_some, &c, NULL), DW_OK);
    run_all(c.scheduler);
    dw_scheduler_stats counts = {.struct_bytes = sizeof counts};
    dw_scheduler_get_stats(c.scheduler, &counts);
    assert_int_equal(counts.ended, CROWD);
    for (uint32_t k = 0; k < CROWD; k++) {
        assert_int_equal(all[k].ended, 1);
        if (goes_on(all[k].order.act) && !c.stopped[k]) {
            assert_went_well(&all[k]);
            if (alike_in_company()) {
                assert_alike(&loops[k].answer, &all[k].answer);
            }
        }
        drop(&all[k]);
    }
    dw_scheduler_destroy(c.scheduler);
}

/* ---- stopped from outside ------------------------------------------------------------------- */

static void test_generation_is_stopped(void **state)
{
    (void)state;
    if (device_thread()) {
        skip(); /* rounds are not the device's; test_generation_in_company stops some as well */
    }
    static told loop;
    static told all[4];
    dw_scheduler *scheduler = make_scheduler(NULL);
    generator_order order = order_of(1, 3);
    order.tokens_max = GENERATOR_TOKENS_MAX;
    run_loop(&loop, &order, true);
    order.ahead = 1;
    for (int k = 0; k < 4; k++) {
        all[k] = (told){.actor = spawn(k == 2 ? 1 : 0), .order = order};
        start(scheduler, &all[k]);
    }
    run_one_round(scheduler);
    for (int i = 0; i < 5; i++) {
        dw__scheduler_round(scheduler);
    }
    dw_instance_cancel(dw_actor_instance(all[0].actor));
    dw_instance_interrupt(dw_actor_instance(all[1].actor));
    struct timespec pause = {.tv_nsec = 3000000};
    (void)nanosleep(&pause, NULL); /* the third one's time is over */
    run_all(scheduler);
    assert_int_equal(all[0].status, DW_OK); /* it was told so, and ended by itself */
    assert_int_equal(all[0].answer.status, DW_E_CANCELLED);
    assert_int_equal(all[0].answer.end, DW_E_CANCELLED);
    uint32_t count = all[0].answer.token_count;
    assert_in_range(count, 1, GENERATOR_TOKENS_MAX - 1);
    if (alike_in_company()) {
        assert_memory_equal(all[0].answer.tokens, loop.answer.tokens, count * sizeof(int32_t));
        assert_alike(&loop.answer, &all[3].answer);
    }
    assert_int_equal(all[0].answer.length, order.prompt_count + count - 1);
    assert_int_equal(all[1].status, DW_E_CANCELLED);
    assert_int_equal(all[2].status, DW_E_LIMIT);
    assert_non_null(strstr(all[2].message, "1 ms"));
    assert_went_well(&all[3]);
    for (int k = 0; k < 4; k++) {
        drop(&all[k]);
    }
    dw_scheduler_destroy(scheduler);
}

static void test_generation_scheduler_destroyed(void **state)
{
    (void)state;
    static told all[3];
    dw_scheduler *scheduler = make_scheduler(NULL);
    for (uint32_t k = 0; k < 3; k++) {
        generator_order order = order_of(k, k);
        order.ahead = 1;
        order.tokens_max = GENERATOR_TOKENS_MAX;
        order.act = k == 2 ? GENERATOR_SPIN : GENERATOR_NOTHING;
        all[k] = (told){.actor = spawn(0), .order = order};
        start(scheduler, &all[k]);
    }
    run_one_round(scheduler);
    dw__scheduler_round(scheduler);
    dw_scheduler_destroy(scheduler);
    for (uint32_t k = 0; k < 3; k++) {
        assert_int_equal(all[k].ended, 1);
        assert_int_equal(all[k].status, DW_E_CANCELLED);
        drop(&all[k]);
    }
}

/* A message that is under way is no state to be saved; what it left behind is. */
static void test_generation_and_freezing(void **state)
{
    (void)state;
    static told one;
    static told copy;
    char path[64];
    dw_error err;
    dw_freeze_options options = {.struct_bytes = sizeof options};
    dw_scheduler *scheduler = make_scheduler(NULL);
    (void)snprintf(path, sizeof path, "/tmp/dw-generation-%d.snapshot", (int)getpid());
    generator_order order = order_of(3, 5);
    order.ahead = 1;
    order.act = GENERATOR_RETURN;
    order.act_at = 4;
    order.wake_tokens = 2;
    one = (told){.actor = spawn(0), .order = order};
    start(scheduler, &one);
    run_one_round(scheduler);
    assert_int_equal(dw_actor_freeze(one.actor, path, &options, NULL, &err), DW_E_STATE);
    run_all(scheduler);
    assert_int_equal(one.status, DW_OK);
    assert_true(one.answer.token_count == 4 || (device_thread() && one.answer.token_count > 4));
    if (dw_actor_freeze(one.actor, path, &options, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    const char *paths[] = {path};
    dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                            .paths = paths,
                            .path_count = 1,
                            .models = &model,
                            .model_count = 1};
    copy = (told){.order = order};
    if (dw_actor_thaw(&copy.actor, engine, &thaw, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    one.order.act = copy.order.act = GENERATOR_NOTHING;
    one.order.keeps = copy.order.keeps = 1;
    run_one(&one, true);
    run_one(&copy, true);
    assert_went_well(&one);
    assert_went_well(&copy);
    assert_alike(&one.answer, &copy.answer);
    drop(&one);
    drop(&copy);
    (void)unlink(path);
    dw_scheduler_destroy(scheduler);
}

/* ---- what it costs -------------------------------------------------------------------------- */

/* Rounds neither wake guests nor allocate. */
static void test_generation_is_the_devices_own(void **state)
{
    (void)state;
    if (device_thread()) {
        skip(); /* it allocates while the test counts */
    }
    static told all[16];
    dw_scheduler *scheduler = make_scheduler(NULL);
    dw_scheduler_stats before = {.struct_bytes = sizeof before};
    dw_scheduler_stats after = {.struct_bytes = sizeof after};
    for (uint32_t k = 0; k < 16; k++) {
        generator_order order = order_of(k % 2, 1);
        order.ahead = 1;
        order.tokens_max = 150;
        order.flags = DW_GENERATE_PAST_END;
        memcpy(order.stop_strings[0], "no such text", 13);
        order.stop_string_count = 1;
        all[k] = (told){.actor = spawn(0), .order = order};
        start(scheduler, &all[k]);
    }
    run_one_round(scheduler);
    for (int i = 0; i < 20; i++) {
        dw__scheduler_round(scheduler);
    }
    dw_scheduler_get_stats(scheduler, &before);
    uint64_t allocated = dw_alloc_count();
    for (int i = 0; i < 60; i++) {
        dw__scheduler_round(scheduler);
    }
    assert_int_equal(dw_alloc_count(), allocated);
    dw_scheduler_get_stats(scheduler, &after);
    assert_int_equal(after.resumes, before.resumes);
    assert_int_equal(after.step_tokens - before.step_tokens, 60 * 16);
    run_all(scheduler);
    for (uint32_t k = 0; k < 16; k++) {
        assert_went_well(&all[k]);
        assert_int_equal(all[k].answer.token_count, 150);
        drop(&all[k]);
    }
    dw_scheduler_destroy(scheduler);
}

/* Whichever allocation fails: somebody is told, and nothing is lost. */
static void test_generation_survives_no_memory(void **state)
{
    (void)state;
    static told one;
    bool failed = true;
    for (int64_t n = 0; failed; n++) {
        generator_order order = order_of(6, 2);
        order.ahead = 1;
        order.stop_tokens[0] = 5;
        order.stop_token_count = 1;
        memcpy(order.stop_strings[0], "no such text", 13);
        order.stop_string_count = 1;
        one = (told){.actor = spawn(0), .order = order};
        dw_scheduler *scheduler = make_scheduler(NULL);
        start(scheduler, &one);
        dw_alloc_fail_after(n);
        run_all(scheduler);
        dw_alloc_fail_after(-1);
        assert_int_equal(one.ended, 1);
        failed = one.status != DW_OK || one.answer.status != DW_OK;
        assert_true(one.status != DW_OK || one.answer.status == DW_OK ||
                    one.answer.status == DW_E_MEMORY);
        dw_scheduler_destroy(scheduler);
        drop(&one);
        assert_true(n < 2000);
    }
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generation_without_scheduler),
        cmocka_unit_test(test_generation_under_scheduler),
        cmocka_unit_test(test_generation_ends),
        cmocka_unit_test(test_generation_meanwhile),
        cmocka_unit_test(test_generation_in_company),
        cmocka_unit_test(test_generation_is_stopped),
        cmocka_unit_test(test_generation_scheduler_destroyed),
        cmocka_unit_test(test_generation_and_freezing),
        cmocka_unit_test(test_generation_is_the_devices_own),
        cmocka_unit_test(test_generation_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
