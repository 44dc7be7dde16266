/* Prompts that begin alike: what one context has computed, others find, and get the same numbers
 * as if they had computed it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "inference/batch.h"
#include "inference/prefix_cache.h"
#include "kv/kv_limit.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define PROMPT 300u /* four blocks and some */
#define FOUND 256u
#define PLENTY (UINT64_C(64) << 20)

static char path[64];

static int set_up(void **state)
{
    static model_fixture fixture;
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0;
    (void)snprintf(path, sizeof path, "/tmp/dw-prefix-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, &options);
    model_fixture_open(&fixture, path);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % fixture.vocab_count);
    }
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    model_fixture_close(*state);
    (void)unlink(path);
    return 0;
}

/* ---- helpers ---- */

static dw_prefix_cache *cache_of(uint64_t bytes_max)
{
    dw_prefix_cache *cache = NULL;
    assert_int_equal(dw_prefix_cache_create(&cache, bytes_max, NULL), DW_OK);
    return cache;
}

/* A context of `scope`; of none where `cache` is NULL. */
static dw_context *context_of(model_fixture *fixture, dw_prefix_cache *cache, const char *scope)
{
    dw_context *context = model_fixture_context(fixture, 0);
    if (cache != NULL) {
        assert_int_equal(dw_context_share_prefixes(context, cache, scope, NULL), DW_OK);
    }
    return context;
}

static dw_step step_of(model_fixture *fixture, uint32_t offset, uint32_t count, uint32_t row)
{
    return (dw_step){.view = fixture->view,
                     .tokens = fixture->tokens + offset,
                     .token_count = count,
                     .logits = fixture->logits + (size_t)row * fixture->vocab_count,
                     .logits_rows = 1,
                     .counters = &fixture->counters};
}

/* Steps by way of a batch, whose numbers do not depend on how prompts are cut. */
static void run(dw_batch *batch)
{
    while (batch->waiting_count > 0) {
        dw_batch_run(batch);
    }
    while (dw_batch_take(batch) != NULL) {}
}

/* Tokens that were computed for it. */
static uint64_t forward(model_fixture *fixture, dw_context *context, uint32_t offset,
                        uint32_t count)
{
    dw_batch batch;
    dw_batch_item item = {.context = context, .step = step_of(fixture, offset, count, 0)};
    dw_batch_init(&batch, NULL);
    dw_batch_add(&batch, &item);
    run(&batch);
    if (item.status != DW_OK) {
        fail_msg("%s", item.error.message);
    }
    return batch.counts.tokens;
}

static float *copy_of(const model_fixture *fixture, uint32_t row)
{
    size_t bytes = fixture->vocab_count * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, fixture->logits + (size_t)row * fixture->vocab_count, bytes);
    return copy;
}

/* Bit by bit on the CPU; other devices choose kernels by the shapes. */
static void check_logits(const model_fixture *fixture, uint32_t row, const float *wanted)
{
    const float *found = fixture->logits + (size_t)row * fixture->vocab_count;
    if (model_fixture_tolerance(fixture, 0) > 0) { /* docs/numerics.md: quantised weights */
        assert_true(logits_difference(wanted, found, fixture->vocab_count) < 1e-1);
    } else {
        assert_memory_equal(found, wanted, fixture->vocab_count * sizeof(float));
    }
}

static void check_records(dw_context *a, dw_context *b)
{
    size_t bytes = dw_context_length(a) * dw_kv_log_record_bytes(dw_context_log(a));
    unsigned char *first = malloc(bytes);
    unsigned char *second = malloc(bytes);
    assert_true(first != NULL && second != NULL);
    assert_int_equal(dw_context_length(a), dw_context_length(b));
    assert_int_equal(dw_kv_log_read(dw_context_log(a), 0, bytes, first, NULL), DW_OK);
    assert_int_equal(dw_kv_log_read(dw_context_log(b), 0, bytes, second, NULL), DW_OK);
    if (dw_kv_log_in_host_memory(dw_context_log(a))) {
        assert_memory_equal(first, second, bytes);
    }
    assert_memory_equal(dw_context_tokens(a), dw_context_tokens(b),
                        dw_context_length(a) * sizeof(int32_t));
    free(first);
    free(second);
}

static dw_prefix_counts counts_of(dw_prefix_cache *cache)
{
    dw_prefix_counts counts;
    dw_prefix_cache_count(cache, &counts);
    return counts;
}

/* How many of the prompt's tokens a new context finds. */
static uint32_t found_by_new(model_fixture *fixture, dw_prefix_cache *cache, const char *scope,
                             uint32_t offset, uint32_t count)
{
    dw_context *context = context_of(fixture, cache, scope);
    uint32_t found = count - (uint32_t)forward(fixture, context, offset, count);
    dw_context_destroy(context);
    return found;
}

/* ---- tests ---- */

static void test_prefix_is_found_and_changes_nothing(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    dw_context *alone = context_of(fixture, NULL, NULL);
    dw_context *first = context_of(fixture, cache, "a");
    dw_context *second = context_of(fixture, cache, "a");
    assert_int_equal(forward(fixture, alone, 0, PROMPT), PROMPT);
    float *wanted = copy_of(fixture, 0);
    assert_int_equal(forward(fixture, first, 0, PROMPT), PROMPT);
    check_logits(fixture, 0, wanted);
    uint64_t before = atomic_load(&fixture->counters.found_tokens);
    assert_int_equal(forward(fixture, second, 0, PROMPT), PROMPT - FOUND);
    check_logits(fixture, 0, wanted);
    assert_int_equal(atomic_load(&fixture->counters.found_tokens) - before, FOUND);
    check_records(alone, second);
    dw_prefix_counts counts = counts_of(cache);
    assert_int_equal(counts.lookups, 2);
    assert_int_equal(counts.hits, 1);
    assert_int_equal(counts.hit_tokens, FOUND);
    assert_int_equal(counts.bytes, FOUND * dw_kv_log_record_bytes(dw_context_log(first)));
    for (uint32_t i = 0; i < 20; i++) { /* and both go on by themselves */
        assert_int_equal(forward(fixture, first, 400 + i, 1), 1);
        assert_int_equal(forward(fixture, second, 400 + i, 1), 1);
    }
    check_records(first, second);
    free(wanted);
    dw_context_destroy(alone);
    dw_context_destroy(first);
    dw_context_destroy(second);
    dw_prefix_cache_destroy(cache);
}

static void test_prefix_found_without_a_batch(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    dw_context *first = context_of(fixture, cache, "a");
    dw_context *second = context_of(fixture, cache, "a");
    model_fixture_forward(fixture, first, 0, PROMPT, 1);
    float *wanted = copy_of(fixture, 0);
    model_fixture_forward(fixture, second, 0, PROMPT, 1);
    assert_int_equal(counts_of(cache).hit_tokens, FOUND);
    assert_true(logits_difference(wanted, fixture->logits, fixture->vocab_count) < 5e-2);
    free(wanted);
    dw_context_destroy(first);
    dw_context_destroy(second);
    dw_prefix_cache_destroy(cache);
}

static void test_prefix_of_other_text_and_scope(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, PROMPT), 0);
    assert_int_equal(found_by_new(fixture, cache, "b", 0, PROMPT), 0);
    assert_int_equal(found_by_new(fixture, cache, "", 0, PROMPT), 0);
    assert_int_equal(found_by_new(fixture, cache, "a", 1, PROMPT), 0);
    /* 130 tokens alike, then others: two blocks of them. */
    int32_t kept = fixture->tokens[130];
    fixture->tokens[130] = (kept + 1) % (int32_t)fixture->vocab_count;
    assert_int_equal(found_by_new(fixture, cache, "a", 0, PROMPT), 128);
    fixture->tokens[130] = kept;
    /* The end is computed in any case; what is shorter than a block and an end is no prefix. */
    assert_int_equal(found_by_new(fixture, cache, "a", 0, 128 + DW_PREFIX_REST), 128);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, 128 + DW_PREFIX_REST - 1), 64);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, 64 + DW_PREFIX_REST - 1), 0);
    dw_prefix_cache_destroy(cache);
}

static void test_prefix_made_public(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    dw_context *operator_s = context_of(fixture, cache, "operator");
    (void)forward(fixture, operator_s, 0, PROMPT);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, PROMPT), 0);
    assert_int_equal(dw_prefix_cache_keep(operator_s, DW_PREFIX_PUBLIC, NULL), DW_OK);
    assert_int_equal(found_by_new(fixture, cache, "b", 0, PROMPT), FOUND);
    assert_int_equal(found_by_new(fixture, cache, "b", 0, 600), FOUND);
    /* What b computes behind it is b's. */
    assert_int_equal(found_by_new(fixture, cache, "c", 0, 600), FOUND);
    assert_int_equal(found_by_new(fixture, cache, "b", 0, 600), 576);
    dw_context_destroy(operator_s);
    dw_prefix_cache_destroy(cache);
}

/* Only what tokens alone give is given on. */
static void test_prefix_of_changed_contexts(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    dw_context *context = context_of(fixture, cache, "a");
    dw_error err;
    (void)forward(fixture, context, 500, 30);
    (void)forward(fixture, context, 0, 30);
    assert_int_equal(dw_context_shift(context, 0, 30, NULL, NULL), DW_OK);
    (void)forward(fixture, context, 30, PROMPT - 30);
    assert_int_equal(counts_of(cache).entries, 0);
    assert_int_equal(dw_prefix_cache_keep(context, 0, &err), DW_E_STATE);
    assert_non_null(strstr(err.message, "shifted or thawed"));
    dw_context *fork = NULL;
    assert_int_equal(dw_context_fork(&fork, context, NULL), DW_OK);
    assert_int_equal(dw_prefix_cache_keep(fork, 0, NULL), DW_E_STATE);
    dw_context_destroy(fork);
    /* Emptied, it begins anew. */
    assert_int_equal(dw_context_trim(context, 0, NULL), DW_OK);
    (void)forward(fixture, context, 0, PROMPT);
    assert_int_equal(counts_of(cache).entries, 1);
    assert_int_equal(dw_context_share_prefixes(context, cache, NULL, NULL), DW_OK);
    assert_int_equal(dw_prefix_cache_keep(context, 0, &err), DW_E_STATE);
    assert_non_null(strstr(err.message, "shares none"));
    dw_context_destroy(context);
    dw_prefix_cache_destroy(cache);
}

/* A context that holds something gives it up for as much again, not for less. */
static void test_prefix_behind_what_is_held(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, 600), 0);
    dw_context *alone = context_of(fixture, NULL, NULL);
    (void)forward(fixture, alone, 0, 600);
    dw_context *little = context_of(fixture, cache, "a");
    (void)forward(fixture, little, 0, 3);
    assert_int_equal(forward(fixture, little, 3, 597), 600 - 576);
    check_records(alone, little);
    dw_context *much = context_of(fixture, cache, "a");
    assert_int_equal(forward(fixture, much, 0, 500), 500 - 448);
    assert_int_equal(dw_context_trim(much, 480, NULL), DW_OK);
    assert_int_equal(forward(fixture, much, 480, 120), 120);
    check_records(alone, much);
    dw_context_destroy(alone);
    dw_context_destroy(little);
    dw_context_destroy(much);
    dw_prefix_cache_destroy(cache);
}

static void test_prefix_limit(void **state)
{
    model_fixture *fixture = *state;
    dw_context *probe = context_of(fixture, NULL, NULL);
    size_t record = dw_kv_log_record_bytes(dw_context_log(probe));
    dw_context_destroy(probe);
    dw_prefix_cache *cache = cache_of(record * 2 * FOUND + record);
    dw_error err;
    dw_context *pinned = context_of(fixture, cache, "a");
    (void)forward(fixture, pinned, 0, PROMPT);
    assert_int_equal(dw_prefix_cache_keep(pinned, DW_PREFIX_PINNED, NULL), DW_OK);
    assert_int_equal(dw_prefix_cache_keep(pinned, DW_PREFIX_PINNED, NULL), DW_OK);
    for (uint32_t i = 1; i <= 5; i++) {
        assert_int_equal(found_by_new(fixture, cache, "a", i * 100, PROMPT), 0);
        assert_int_equal(found_by_new(fixture, cache, "a", i * 100, PROMPT), FOUND);
        assert_int_equal(found_by_new(fixture, cache, "a", 0, PROMPT), FOUND);
        assert_true(counts_of(cache).bytes <= counts_of(cache).bytes_max);
    }
    assert_int_equal(counts_of(cache).evictions, 4);
    assert_int_equal(counts_of(cache).entries, 2);
    assert_int_equal(found_by_new(fixture, cache, "a", 100, PROMPT), 0);
    dw_context *more = context_of(fixture, cache, "a");
    (void)forward(fixture, more, 900, 600);
    assert_int_equal(dw_prefix_cache_keep(more, DW_PREFIX_PINNED, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "pinning"));
    dw_context_destroy(more);
    dw_context_destroy(pinned);
    dw_prefix_cache_clear(cache, NULL, false);
    assert_int_equal(counts_of(cache).entries, 1);
    assert_int_equal(found_by_new(fixture, cache, "a", 0, PROMPT), FOUND);
    dw_prefix_cache_destroy(cache);
}

/* What the process's memory files hold. */
static uint64_t memory_file_bytes(void)
{
    uint64_t bytes = 0;
    for (int fd = 3; fd < 2048; fd++) {
        struct stat about;
        char name[64];
        char target[64] = "";
        (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, target, sizeof target - 1) > 0 && strncmp(target, "/memfd:", 7) == 0 &&
            fstat(fd, &about) == 0) {
            bytes += (uint64_t)about.st_blocks * 512;
        }
    }
    return bytes;
}

enum { MANY = 64, MANY_SHARED = 1000, MANY_OWN = 20 };

/* Prompts [MANY], behind the rows that are wanted: in the steps' view, as a device has to find
 * them. */
static int32_t (*many_prompts(model_fixture *fixture))[MANY_SHARED + MANY_OWN]
{
    float *free_rows = fixture->logits + (size_t)MANY * fixture->vocab_count;
    int32_t(*prompts)[MANY_SHARED + MANY_OWN] = (void *)free_rows;
    assert_true(sizeof(int32_t[MANY][MANY_SHARED + MANY_OWN]) <=
                (size_t)(FIXTURE_ROWS - MANY) * fixture->vocab_count * sizeof(float));
    for (uint32_t i = 0; i < MANY; i++) {
        for (uint32_t t = 0; t < MANY_SHARED + MANY_OWN; t++) {
            prompts[i][t] = t < MANY_SHARED ? fixture->tokens[t]
                                            : (int32_t)((t * 7 + i * 13) % fixture->vocab_count);
        }
    }
    return prompts;
}

/* 64 prompts of 1,000 equal tokens and 20 of their own, all at once: those are computed once, and
 * stand in memory once. */
static void test_prefix_of_many_at_once(void **state)
{
    enum { COUNT = MANY, SHARED = MANY_SHARED, OWN = MANY_OWN };
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    static dw_batch_item items[COUNT];
    dw_context *alone[COUNT];
    float *wanted[COUNT];
    int32_t(*prompts)[SHARED + OWN] = many_prompts(fixture);
    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < COUNT; i++) {
        alone[i] = context_of(fixture, NULL, NULL);
        items[i].context = alone[i];
        items[i].step = step_of(fixture, 0, SHARED + OWN, 0);
        items[i].step.tokens = prompts[i];
        dw_batch batch;
        dw_batch_init(&batch, NULL);
        dw_batch_add(&batch, &items[i]);
        run(&batch);
        assert_int_equal(items[i].status, DW_OK);
        wanted[i] = copy_of(fixture, 0);
        if (i > 0) {
            dw_context_destroy(alone[i]);
        }
    }
    uint64_t before = memory_file_bytes();
    dw_batch batch;
    dw_batch_init(&batch, NULL);
    for (uint32_t i = 0; i < COUNT; i++) {
        items[i].context = context_of(fixture, cache, "a");
        items[i].step.logits = fixture->logits + (size_t)i * fixture->vocab_count;
        dw_batch_add(&batch, &items[i]);
    }
    run(&batch);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].status, DW_OK);
        check_logits(fixture, i, wanted[i]);
        free(wanted[i]);
    }
    uint32_t common = SHARED / DW_PREFIX_BLOCK * DW_PREFIX_BLOCK;
    assert_int_equal(batch.counts.tokens, common + COUNT * (SHARED + OWN - common));
    size_t record = dw_kv_log_record_bytes(dw_context_log(items[0].context));
#ifdef __linux__
    /* Each has a rest of its own in steps of 256 records, of which it has touched some pages. */
    if (dw_kv_log_in_host_memory(dw_context_log(items[0].context))) {
        uint64_t taken = memory_file_bytes() - before;
        assert_in_range(taken, common * record, (common + COUNT * 100) * record);
    }
#endif
    assert_true(counts_of(cache).bytes < (common + COUNT * 64) * record);
    for (uint32_t i = 0; i < COUNT; i++) {
        dw_context_destroy(items[i].context);
    }
    dw_context_destroy(alone[0]);
    dw_prefix_cache_destroy(cache);
}

/* The one who computes for others is stopped, or fails: one of them goes on with it. */
static void test_prefix_leader_that_leaves(void **state)
{
    enum { COUNT = 4, LENGTH = 1000 };
    model_fixture *fixture = *state;
    for (int how = 0; how < 2; how++) {
        dw_prefix_cache *cache = cache_of(PLENTY);
        dw_context *alone = context_of(fixture, NULL, NULL);
        (void)forward(fixture, alone, 0, LENGTH);
        float *wanted = copy_of(fixture, 0);
        dw_stop stops[COUNT] = {{.look_ns = UINT64_MAX},
                                {.look_ns = UINT64_MAX},
                                {.look_ns = UINT64_MAX},
                                {.look_ns = UINT64_MAX}};
        dw_batch_item items[COUNT];
        dw_batch batch;
        memset(items, 0, sizeof items);
        dw_batch_init(&batch, &(dw_batch_limits){.tokens_max = 256});
        for (uint32_t i = 0; i < COUNT; i++) {
            items[i].context = context_of(fixture, cache, "a");
            items[i].step = step_of(fixture, 0, LENGTH, i);
            items[i].step.stop = &stops[i];
            dw_batch_add(&batch, &items[i]);
        }
        assert_int_equal(batch.waiting_count, 1);
        dw_batch_run(&batch);
        dw_stop_cancel(&stops[0]);
        if (how == 1) {
            dw_stop_cancel(&stops[2]); /* one that follows */
        }
        run(&batch);
        assert_int_equal(items[0].status, DW_E_CANCELLED);
        assert_int_equal(dw_context_length(items[0].context), 0);
        for (uint32_t i = 1; i < COUNT; i++) {
            bool stopped = how == 1 && i == 2;
            assert_int_equal(items[i].status, stopped ? DW_E_CANCELLED : DW_OK);
            assert_int_equal(dw_context_length(items[i].context), stopped ? 0 : LENGTH);
            if (!stopped) {
                check_logits(fixture, i, wanted);
            }
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            dw_context_destroy(items[i].context);
        }
        free(wanted);
        dw_context_destroy(alone);
        dw_prefix_cache_destroy(cache);
    }
}

/* A prompt with a token outside the vocabulary is refused, and nobody waits for it. */
static void test_prefix_of_bad_tokens(void **state)
{
    model_fixture *fixture = *state;
    dw_prefix_cache *cache = cache_of(PLENTY);
    dw_batch batch;
    dw_batch_item items[2] = {
        {.context = context_of(fixture, cache, "a"), .step = step_of(fixture, 0, PROMPT, 0)},
        {.context = context_of(fixture, cache, "a"), .step = step_of(fixture, 0, PROMPT, 1)}};
    int32_t kept = fixture->tokens[290];
    dw_batch_init(&batch, NULL);
    fixture->tokens[290] = -1;
    dw_batch_add(&batch, &items[0]);
    fixture->tokens[290] = kept;
    assert_int_equal(items[0].status, DW_E_RANGE);
    items[1].step.token_count = 100000;
    dw_batch_add(&batch, &items[1]);
    assert_int_equal(items[1].status, DW_E_LIMIT);
    run(&batch);
    assert_int_equal(counts_of(cache).entries, 0);
    dw_context_destroy(items[0].context);
    dw_context_destroy(items[1].context);
    dw_prefix_cache_destroy(cache);
}

/* A context of 250 tokens whose next needs memory that the cache has, all there may be; and a fork
 * of it, unless `twin` is NULL. */
static dw_context *short_of_memory(model_fixture *fixture, dw_prefix_cache *cache,
                                   dw_context **twin)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    dw_context *others = context_of(fixture, cache, "a");
    dw_context *context = context_of(fixture, cache, "b");
    (void)forward(fixture, others, 0, PROMPT);
    dw_context_destroy(others);
    assert_true(counts_of(cache).bytes > 0);
    (void)forward(fixture, context, 1, 250);
    if (twin != NULL) {
        assert_int_equal(dw_context_fork(twin, context, NULL), DW_OK);
    }
    dw_kv_limit_get(fixture->device, &stats);
    assert_int_equal(dw_kv_limit_set(fixture->device, stats.pages_bytes, NULL), DW_OK);
    return context;
}

/* Trees, paths that are kept, forks, and what is moved: the cache makes way for these as for
 * steps. */
static void test_prefix_makes_way(void **state)
{
    enum { TREE = 48 };
    model_fixture *fixture = *state;
    dw_error err = {.message = ""};
    int32_t kept[TREE];
    for (int what = 0; what < 3; what++) {
        dw_context *twin = NULL;
        dw_prefix_cache *cache = cache_of(PLENTY);
        dw_context *context = short_of_memory(fixture, cache, what == 2 ? &twin : NULL);
        if (!dw_kv_log_in_host_memory(dw_context_log(context))) {
            dw_context_destroy(context);
            dw_prefix_cache_destroy(cache);
            skip();
        }
        dw_step step = step_of(fixture, 0, TREE, 0);
        const dw_tree chain = {.parents = NULL};
        if (what == 0) {
            assert_int_equal(dw_context_tree_begin(context, &step, &chain, &err), DW_OK);
            assert_int_equal(dw_context_forward(context, &step, &err), DW_OK);
            for (int i = 0; i < TREE; i++) {
                kept[i] = i;
            }
            assert_int_equal(dw_context_keep(context, kept, TREE, &err), DW_OK);
            assert_int_equal(dw_context_length(context), 250 + TREE);
        } else if (what == 1) {
            assert_int_equal(dw_context_fork(&twin, context, &err), DW_OK);
        } else { /* its pages are shared, and have to be copied */
            assert_int_equal(dw_context_shift(twin, 4, 9, NULL, &err), DW_OK);
        }
        assert_true(counts_of(cache).evictions > 0);
        assert_int_equal(dw_kv_limit_set(fixture->device, 0, NULL), DW_OK);
        dw_context_destroy(twin);
        dw_context_destroy(context);
        dw_prefix_cache_destroy(cache);
    }
}

static void test_prefix_survives_no_memory(void **state)
{
    model_fixture *fixture = *state;
    dw_context *alone = context_of(fixture, NULL, NULL);
    (void)forward(fixture, alone, 0, PROMPT);
    float *wanted = copy_of(fixture, 0);
    uint32_t found_last = 0;
    for (int64_t failed = 0; failed < 40; failed++) {
        dw_prefix_cache *cache = cache_of(PLENTY);
        dw_context *first = context_of(fixture, cache, "a");
        dw_context *second = context_of(fixture, cache, "a");
        dw_step step = step_of(fixture, 0, PROMPT, 0);
        dw_alloc_fail_after(failed);
        dw_status status = dw_context_forward(first, &step, NULL);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        assert_int_equal(dw_context_length(first), status == DW_OK ? PROMPT : 0);
        dw_alloc_fail_after(failed);
        status = dw_context_forward(second, &step, NULL);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        if (status == DW_OK) {
            assert_true(logits_difference(wanted, fixture->logits, fixture->vocab_count) < 5e-2);
        }
        found_last = (uint32_t)counts_of(cache).hit_tokens;
        dw_context_destroy(first);
        dw_context_destroy(second);
        dw_prefix_cache_destroy(cache);
    }
    assert_int_equal(found_last, FOUND);
    free(wanted);
    dw_context_destroy(alone);
}

/* Contexts with a cache beside contexts without, through random steps, trims, forks and shifts:
 * they hold the same, bit by bit, whatever was found. */
static void test_prefix_any_sequence(void **state)
{
    enum { PAIRS = 4, ROUNDS = 400 };
    model_fixture *fixture = *state;
    const char *given = getenv("DW_TEST_SEED");
    uint32_t seed = given != NULL ? (uint32_t)strtoul(given, NULL, 10) : 1;
    dw_context *with[PAIRS];
    dw_context *without[PAIRS];
    size_t record = 0;
    dw_prefix_cache *cache = cache_of(UINT64_C(3) << 20);
    for (int i = 0; i < PAIRS; i++) {
        with[i] = context_of(fixture, cache, i % 2 == 0 ? "a" : "b");
        without[i] = context_of(fixture, NULL, NULL);
        record = dw_kv_log_record_bytes(dw_context_log(with[i]));
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t pair = seed >> 8 & (PAIRS - 1);
        uint32_t held = dw_context_length(with[pair]);
        uint32_t what = seed >> 12 & 7;
        if (what < 4 && held < 700) {
            uint32_t count = (seed >> 24) + (held == 0 ? 100 : 1);
            uint32_t offset = held > 0 ? held : 64 * (seed >> 16 & 1); /* one of few beginnings */
            (void)forward(fixture, with[pair], offset, count);
            (void)forward(fixture, without[pair], offset, count);
        } else if (what < 6) {
            uint32_t length = (seed >> 16) % (held + 1);
            length = what == 4 ? 0 : length / 64 * 64; /* a cut where a batch cuts too */
            assert_int_equal(dw_context_trim(with[pair], length, NULL), DW_OK);
            assert_int_equal(dw_context_trim(without[pair], length, NULL), DW_OK);
        } else if (what == 6) {
            uint32_t from = (pair + 2) % PAIRS; /* of the same scope */
            dw_context_destroy(with[pair]);
            dw_context_destroy(without[pair]);
            assert_int_equal(dw_context_fork(&with[pair], with[from], NULL), DW_OK);
            assert_int_equal(dw_context_fork(&without[pair], without[from], NULL), DW_OK);
        } else if (held > 20) {
            assert_int_equal(dw_context_shift(with[pair], 4, 9, NULL, NULL), DW_OK);
            assert_int_equal(dw_context_shift(without[pair], 4, 9, NULL, NULL), DW_OK);
        }
        assert_int_equal(dw_context_length(with[pair]), dw_context_length(without[pair]));
        assert_memory_equal(dw_context_tokens(with[pair]), dw_context_tokens(without[pair]),
                            dw_context_length(with[pair]) * sizeof(int32_t));
        assert_true(counts_of(cache).bytes <= counts_of(cache).bytes_max);
    }
    assert_true(counts_of(cache).hits > 10 && counts_of(cache).evictions > 10 && record > 0);
    for (int i = 0; i < PAIRS; i++) {
        dw_context_destroy(with[i]);
        dw_context_destroy(without[i]);
    }
    dw_prefix_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_prefix_is_found_and_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_found_without_a_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_of_other_text_and_scope, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_made_public, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_of_changed_contexts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_behind_what_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_of_many_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_leader_that_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_of_bad_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_survives_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_any_sequence, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
