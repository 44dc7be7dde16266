/* Contexts forked, thawed and converted: each behaves as if it had been computed by itself, and
 * what a relative does is not seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "inference/batch.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define ALL_TOKENS FIXTURE_TOKENS

static char path[64];

static void open_fixture(model_fixture *fixture, const tiny_options *options)
{
    (void)snprintf(path, sizeof path, "/tmp/dw-fork-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, options);
    model_fixture_open(fixture, path);
    for (uint32_t i = 0; i < ALL_TOKENS; i++) {
        fixture->tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % fixture->vocab_count);
    }
}

static int set_up(void **state)
{
    static model_fixture fixture;
    tiny_options options = tiny_defaults();
    open_fixture(&fixture, &options);
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

static dw_context *fork_of(dw_context *parent)
{
    dw_error err = {0};
    dw_context *context = NULL;
    if (dw_context_fork(&context, parent, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(dw_context_length(context), dw_context_length(parent));
    assert_int_equal(dw_context_capacity(context), dw_context_capacity(parent));
    assert_int_equal(dw_context_kv_type(context), dw_context_kv_type(parent));
    return context;
}

/* A new context with tokens [0, length). */
static dw_context *computed(model_fixture *fixture, uint32_t length)
{
    dw_context *context = model_fixture_context(fixture, 0);
    model_fixture_forward(fixture, context, 0, length, 0);
    return context;
}

/* The logits of a step with tokens [offset, offset + count), the caller's to free. */
static float *step(model_fixture *fixture, dw_context *context, uint32_t offset, uint32_t count)
{
    size_t bytes = (size_t)count * fixture->vocab_count * sizeof(float);
    float *logits = malloc(bytes);
    assert_non_null(logits);
    model_fixture_forward(fixture, context, offset, count, count);
    memcpy(logits, fixture->logits, bytes);
    return logits;
}

/* Both contexts give the same for the same step, bit by bit, and hold the same tokens then. */
static void check_same(model_fixture *fixture, dw_context *a, dw_context *b, uint32_t offset,
                       uint32_t count)
{
    float *first = step(fixture, a, offset, count);
    float *second = step(fixture, b, offset, count);
    assert_memory_equal(first, second, (size_t)count * fixture->vocab_count * sizeof(float));
    free(first);
    free(second);
    assert_int_equal(dw_context_length(a), dw_context_length(b));
    assert_memory_equal(dw_context_tokens(a), dw_context_tokens(b),
                        dw_context_length(a) * sizeof(int32_t));
}

typedef struct state_copy {
    uint32_t length;
    size_t bytes;
    unsigned char *records;
    int32_t *tokens;
} state_copy;

static size_t record_bytes(dw_context *context)
{
    return dw_kv_log_record_bytes(dw_context_log(context));
}

static state_copy copy_state(dw_context *context)
{
    state_copy copy = {.length = dw_context_length(context)};
    copy.bytes = copy.length * record_bytes(context);
    copy.records = malloc(copy.bytes + 1);
    copy.tokens = malloc((copy.length + 1) * sizeof *copy.tokens);
    assert_non_null(copy.records);
    assert_non_null(copy.tokens);
    assert_int_equal(dw_kv_log_read(dw_context_log(context), 0, copy.bytes, copy.records, NULL),
                     DW_OK);
    if (copy.length > 0) {
        memcpy(copy.tokens, dw_context_tokens(context), copy.length * sizeof *copy.tokens);
    }
    return copy;
}

static void free_state(state_copy *copy)
{
    free(copy->records);
    free(copy->tokens);
}

/* The context is as when it was copied; frees the copy. */
static void check_state(dw_context *context, state_copy *copy)
{
    state_copy now = copy_state(context);
    assert_int_equal(now.length, copy->length);
    assert_memory_equal(now.records, copy->records, copy->bytes);
    assert_memory_equal(now.tokens, copy->tokens, copy->length * sizeof *copy->tokens);
    free_state(&now);
    free_state(copy);
}

static void shift(dw_context *context, uint32_t keep, uint32_t drop)
{
    dw_error err = {0};
    if (dw_context_shift(context, keep, drop, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

/* ---- forks ---- */

/* A record is 1 KiB here: four a page of 4 KiB, so lengths end on pages and off them. */
static void test_context_fork_goes_on_as_if_computed(void **state)
{
    model_fixture *fixture = *state;
    static const uint32_t lengths[] = {1, 3, 4, 5, 63, 64, 65, 255, 256, 257, 300, 511, 512, 513};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t length = lengths[i];
        dw_context *parent = computed(fixture, length);
        dw_context *plain = computed(fixture, length);
        assert_int_equal(record_bytes(parent), 1024);
        state_copy before = copy_state(parent);
        dw_context *child = fork_of(parent);
        check_same(fixture, child, plain, 600, 1);
        check_state(parent, &before);
        check_same(fixture, child, plain, 700, 7); /* the child goes one way, the parent another */
        dw_context *other = computed(fixture, length);
        check_same(fixture, parent, other, 800, 1);
        check_same(fixture, parent, other, 900, 300); /* past the next multiples of 256 */
        check_same(fixture, child, plain, 601, 1);
        dw_context_destroy(parent);
        check_same(fixture, child, plain, 602, 260);
        dw_context_destroy(child);
        dw_context_destroy(plain);
        dw_context_destroy(other);
    }
}

static void test_context_fork_of_nothing(void **state)
{
    model_fixture *fixture = *state;
    dw_context *parent = model_fixture_context(fixture, 0);
    dw_context *child = fork_of(parent);
    check_same(fixture, parent, child, 0, 20);
    check_same(fixture, child, parent, 20, 1);
    assert_int_equal(dw_context_trim(parent, 0, NULL), DW_OK);
    dw_context *again = fork_of(parent);
    check_same(fixture, again, parent, 5, 9);
    dw_context_destroy(parent);
    dw_context_destroy(again);
    dw_context_destroy(child);
}

/* A line of forks, each some tokens on; the eldest go first, or the youngest, or every other. */
static void test_context_fork_of_forks(void **state)
{
    model_fixture *fixture = *state;
    enum { DEPTH = 6 };
    static const uint32_t orders[][DEPTH] = {
        {0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {2, 4, 0, 5, 1, 3}};
    static const uint32_t more[DEPTH] = {130, 1, 3, 259, 4, 7};
    for (size_t order = 0; order < sizeof orders / sizeof orders[0]; order++) {
        dw_context *line[DEPTH];
        dw_context *plain[DEPTH];
        uint32_t length = 0;
        for (uint32_t i = 0; i < DEPTH; i++) {
            line[i] = i == 0 ? model_fixture_context(fixture, 0) : fork_of(line[i - 1]);
            plain[i] = model_fixture_context(fixture, 0);
            for (uint32_t k = 0, at = 0; k <= i; at += more[k], k++) {
                model_fixture_forward(fixture, plain[i], at, more[k], 0);
            }
            model_fixture_forward(fixture, line[i], length, more[i], 0);
            length += more[i];
        }
        for (uint32_t i = 0; i < DEPTH; i++) {
            uint32_t gone = orders[order][i];
            check_same(fixture, line[gone], plain[gone], 1000 + i, 2);
            dw_context_destroy(line[gone]);
            dw_context_destroy(plain[gone]);
            line[gone] = NULL;
            for (uint32_t k = 0; k < DEPTH; k++) {
                if (line[k] != NULL) {
                    check_same(fixture, line[k], plain[k], 1100 + i, 1);
                }
            }
        }
    }
}

static void test_context_fork_parent_trimmed_below(void **state)
{
    model_fixture *fixture = *state;
    static const uint32_t marks[] = {299, 256, 255, 100, 3, 0};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        dw_context *parent = computed(fixture, 300);
        dw_context *child = fork_of(parent);
        dw_context *plain = computed(fixture, 300);
        dw_context *trimmed = computed(fixture, 300);
        assert_int_equal(dw_context_trim(trimmed, marks[i], NULL), DW_OK);
        state_copy before = copy_state(child);
        assert_int_equal(dw_context_trim(parent, marks[i], NULL), DW_OK);
        model_fixture_forward(fixture, parent, 1000, 250, 1);
        model_fixture_forward(fixture, trimmed, 1000, 250, 1);
        check_same(fixture, parent, trimmed, 1300, 1);
        check_state(child, &before);
        before = copy_state(parent);
        check_same(fixture, child, plain, 1400, 5);
        /* And the child goes back to a mark that lies in what it shares. */
        assert_int_equal(dw_context_trim(child, marks[i], NULL), DW_OK);
        assert_int_equal(dw_context_trim(plain, marks[i], NULL), DW_OK);
        check_same(fixture, child, plain, 1500, 9);
        check_state(parent, &before);
        dw_context_destroy(child);
        dw_context_destroy(parent);
        dw_context_destroy(plain);
        dw_context_destroy(trimmed);
    }
}

static void test_context_fork_shift(void **state)
{
    model_fixture *fixture = *state;
    static const uint32_t ways[][2] = {{4, 30}, {0, 50}, {290, 10}, {256, 1}, {100, 200}};
    for (size_t i = 0; i < 2 * sizeof ways / sizeof ways[0]; i++) {
        const uint32_t *how = ways[i / 2];
        dw_context *parent = computed(fixture, 300);
        dw_context *child = fork_of(parent);
        dw_context *shifted = i % 2 == 0 ? parent : child;
        dw_context *kept = i % 2 == 0 ? child : parent;
        dw_context *plain = computed(fixture, 300);
        state_copy before = copy_state(kept);
        shift(shifted, how[0], how[1]);
        shift(plain, how[0], how[1]);
        check_same(fixture, shifted, plain, 900, 3);
        check_state(kept, &before);
        before = copy_state(shifted);
        dw_context *other = computed(fixture, 300);
        check_same(fixture, kept, other, 950, 30);
        check_state(shifted, &before);
        dw_context_destroy(kept);
        check_same(fixture, shifted, plain, 990, 1);
        dw_context_destroy(shifted);
        dw_context_destroy(plain);
        dw_context_destroy(other);
    }
}

/* A step that gives NaN on a fork is undone there, and seen nowhere else. */
static void test_context_fork_undoes_failed_steps(void **state)
{
    (void)state;
    model_fixture fixture;
    tiny_options options = tiny_defaults();
    options.nan_weights = true;
    open_fixture(&fixture, &options);
    dw_context *parent = computed(&fixture, 301);
    dw_context *child = fork_of(parent);
    state_copy of_parent = copy_state(parent);
    state_copy of_child = copy_state(child);
    dw_step with_logits = {
        .tokens = fixture.tokens, .token_count = 40, .logits = fixture.logits, .logits_rows = 1};
    assert_int_equal(model_fixture_try_forward(&fixture, child, &with_logits, NULL), DW_E_NUMERIC);
    check_state(child, &of_child);
    assert_int_equal(dw_context_trim(child, 100, NULL), DW_OK);
    of_child = copy_state(child);
    assert_int_equal(model_fixture_try_forward(&fixture, child, &with_logits, NULL), DW_E_NUMERIC);
    check_state(child, &of_child);
    check_state(parent, &of_parent);
    of_parent = copy_state(parent);
    fixture.tokens[3] = -1;
    assert_int_equal(model_fixture_try_forward(&fixture, parent, &with_logits, NULL), DW_E_RANGE);
    check_state(parent, &of_parent);
    dw_context_destroy(child);
    dw_context_destroy(parent);
    model_fixture_close(&fixture);
    (void)unlink(path);
}

/* Relatives in one batch read the same pages, and give what they give alone. */
static void test_context_fork_relatives_in_a_batch(void **state)
{
    model_fixture *fixture = *state;
    enum { COUNT = 3, LENGTH = 450 };
    dw_context *family[COUNT];
    dw_context *alone = computed(fixture, LENGTH);
    dw_batch_item items[COUNT];
    memset(items, 0, sizeof items);
    family[0] = computed(fixture, LENGTH);
    for (uint32_t i = 0; i < COUNT; i++) {
        family[i] = i == 0 ? family[0] : fork_of(family[i - 1]);
        items[i].context = family[i];
        items[i].step = (dw_step){.view = fixture->view,
                                  .tokens = fixture->tokens + 700,
                                  .token_count = 1,
                                  .logits = fixture->logits + (size_t)i * fixture->vocab_count,
                                  .logits_rows = 1,
                                  .counters = &fixture->counters};
    }
    assert_int_equal(dw_batch_forward(items, COUNT, NULL), DW_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].status, DW_OK);
        assert_memory_equal(fixture->logits + (size_t)i * fixture->vocab_count, fixture->logits,
                            fixture->vocab_count * sizeof(float));
    }
    float *together = malloc(fixture->vocab_count * sizeof *together);
    assert_non_null(together);
    memcpy(together, fixture->logits, fixture->vocab_count * sizeof *together);
    model_fixture_forward(fixture, alone, 700, 1, 1);
    assert_true(logits_difference(together, fixture->logits, fixture->vocab_count) < 1e-3);
    free(together);
    dw_context_destroy(alone);
    for (uint32_t i = 0; i < COUNT; i++) {
        dw_context_destroy(family[i]);
    }
}

static void test_context_fork_survives_no_memory(void **state)
{
    model_fixture *fixture = *state;
    dw_context *parent = computed(fixture, 299);
    dw_context *child = NULL;
    dw_status status = DW_E_MEMORY;
    int64_t failed = 0;
    for (; status == DW_E_MEMORY; failed++) {
        state_copy before = copy_state(parent);
        dw_alloc_fail_after(failed);
        status = dw_context_fork(&child, parent, NULL);
        dw_alloc_fail_after(-1);
        check_state(parent, &before);
        assert_true((child != NULL) == (status == DW_OK));
    }
    assert_int_equal(status, DW_OK);
    assert_true(failed > 3);
    /* The first step of a fork makes what is its own. */
    status = DW_E_MEMORY;
    for (failed = 0; status == DW_E_MEMORY; failed++) {
        state_copy before = copy_state(child);
        dw_step one = {.tokens = fixture->tokens, .token_count = 1};
        dw_alloc_fail_after(failed);
        status = model_fixture_try_forward(fixture, child, &one, NULL);
        dw_alloc_fail_after(-1);
        if (status != DW_OK) {
            check_state(child, &before);
        } else {
            free_state(&before);
        }
    }
    assert_int_equal(status, DW_OK);
    assert_true(failed > 1);
    dw_context_destroy(parent);
    dw_context_destroy(child);
}

/* ---- many forks ---- */

static size_t lines_of(const char *file, const char *text)
{
    char line[512];
    size_t count = 0;
    FILE *stream = fopen(file, "r");
    while (stream != NULL && fgets(line, sizeof line, stream) != NULL) {
        count += strstr(line, text) != NULL;
    }
    if (stream != NULL) {
        (void)fclose(stream);
    }
    return count;
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char name[64];
        (void)snprintf(name, sizeof name, "/dev/fd/%d", fd);
        count += access(name, F_OK) == 0;
    }
    return count;
}

static void test_context_fork_a_thousand(void **state)
{
    model_fixture *fixture = *state;
    enum { FORKS = 1000 };
    static dw_context *forks[FORKS];
    dw_context *parent = computed(fixture, 1001);
    if (!dw_kv_log_in_host_memory(dw_context_log(parent))) { /* it is about pages and descriptors */
        dw_context_destroy(parent);
        skip();
    }
    dw_context *plain = computed(fixture, 1001);
    dw_context_destroy(fork_of(parent)); /* what the first makes in passing is there now */
    size_t descriptors = open_descriptors();
    size_t all = lines_of("/proc/self/maps", "-");
    size_t shared = lines_of("/proc/self/maps", "memfd:kv log");
    size_t rss = dw_os_rss_bytes();
    for (size_t i = 0; i < FORKS; i++) {
        forks[i] = fork_of(parent);
    }
    size_t each = (dw_os_rss_bytes() - rss) / FORKS;
    print_message("%zu bytes a fork of %zu\n", each, 1001 * record_bytes(parent));
    assert_true(SANITIZED || emulated() || rss == 0 || each < 8192);
    assert_int_equal(open_descriptors(), descriptors);
    assert_true(shared == 0 || lines_of("/proc/self/maps", "memfd:kv log") == shared + FORKS);
    check_same(fixture, forks[FORKS / 2], plain, 1500, 1);
    uint32_t random = 7;
    for (size_t left = FORKS; left > 0; left--) {
        random = random * 1664525u + 1013904223u;
        size_t at = random % left;
        dw_context_destroy(forks[at]);
        forks[at] = forks[left - 1];
        if (left == FORKS / 3) {
            dw_context_destroy(parent);
        }
    }
    dw_context_destroy(plain);
    assert_int_equal(lines_of("/proc/self/maps", "memfd:kv log"), 0);
    assert_true(SANITIZED || lines_of("/proc/self/maps", "-") <= all + 8); /* the heap's own */
    assert_true(open_descriptors() <= descriptors);
}

/* ---- thawing ---- */

typedef struct frozen {
    FILE *file;
    dw_kv_segment segment;
    int32_t *tokens;
    uint32_t length;
    dw_kv_type kv_type;
} frozen;

/* The log's bytes from `start` on in a file. */
static frozen freeze(dw_context *context, long start)
{
    state_copy copy = copy_state(context);
    frozen f = {.file = tmpfile(),
                .tokens = copy.tokens,
                .length = copy.length,
                .kv_type = dw_context_kv_type(context)};
    assert_non_null(f.file);
    assert_int_equal(fseek(f.file, start, SEEK_SET), 0);
    assert_int_equal(fwrite(copy.records, 1, copy.bytes, f.file), copy.bytes);
    assert_int_equal(fflush(f.file), 0);
    f.segment = (dw_kv_segment){fileno(f.file), (uint64_t)start, 0, copy.bytes};
    free(copy.records);
    return f;
}

static void release(frozen *f)
{
    (void)fclose(f->file);
    free(f->tokens);
}

static dw_context_thaw_options options_of(const frozen *f, dw_kv_type wanted)
{
    return (dw_context_thaw_options){
        .kv_type = wanted,
        .stored_kv_type = f->kv_type,
        .tokens = f->tokens,
        .frozen = {.segments = &f->segment, .segment_count = 1, .length = f->length}};
}

static dw_context *thaw(model_fixture *fixture, const frozen *f, dw_kv_type wanted)
{
    dw_error err = {0};
    dw_context *context = NULL;
    bool converted = f->kv_type == wanted;
    dw_context_thaw_options options = options_of(f, wanted);
    if (dw_context_thaw(&context, fixture->model, &options, &converted, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(converted, f->kv_type != wanted);
    assert_int_equal(dw_context_kv_type(context), wanted);
    return context;
}

static void test_context_thaw_goes_on_as_if_computed(void **state)
{
    model_fixture *fixture = *state;
    static const uint32_t lengths[] = {1, 4, 255, 256, 257, 600};
    static const long starts[] = {0, 65536, 8192 + 100};
    static const dw_kv_type types[] = {DW_KV_F16, DW_KV_Q8_0, DW_KV_F32};
    for (size_t i = 0; i < 3 * 6; i++) {
        uint32_t length = lengths[i % 6];
        fixture->kv_type = types[i / 6];
        dw_context *plain = computed(fixture, length);
        frozen f = freeze(plain, starts[i % 3]);
        dw_context *context = thaw(fixture, &f, fixture->kv_type);
        release(&f);
        dw_kv_log *log = dw_context_log(context);
        size_t held = length * dw_kv_log_record_bytes(log);
        assert_int_equal(dw_kv_log_saved_bytes(log), held);
        check_same(fixture, context, plain, 1000, 1);
        assert_int_equal(dw_kv_log_saved_bytes(log), held);
        dw_context *child = fork_of(context);
        dw_context *other = fork_of(plain);
        assert_int_equal(dw_kv_log_saved_bytes(dw_context_log(child)), held);
        check_same(fixture, context, plain, 1001, 30);
        check_same(fixture, child, other, 1100, 30);
        shift(context, length / 2, length / 4);
        shift(plain, length / 2, length / 4);
        assert_true(length < 4 || dw_kv_log_saved_bytes(log) == held / length * (length / 2));
        check_same(fixture, context, plain, 1200, 3);
        check_same(fixture, child, other, 1200, 3);
        dw_context_destroy(context);
        dw_context_destroy(plain);
        dw_context_destroy(child);
        dw_context_destroy(other);
    }
    fixture->kv_type = DW_KV_F16;
}

static void test_context_thaw_converts(void **state)
{
    model_fixture *fixture = *state;
    dw_context *plain = computed(fixture, 1500); /* several parts */
    frozen halves = freeze(plain, 0);
    dw_context *context = thaw(fixture, &halves, DW_KV_F32);
    assert_int_equal(dw_kv_log_saved_bytes(dw_context_log(context)), 0);
    assert_int_equal(record_bytes(context), 2 * record_bytes(plain));
    frozen floats = freeze(context, 4096);
    dw_context *back = thaw(fixture, &floats, DW_KV_F16); /* and nothing is lost */
    state_copy before = copy_state(plain);
    check_state(back, &before);
    dw_context *bytes = thaw(fixture, &halves, DW_KV_Q8_0);
    frozen of_bytes = freeze(bytes, 4096);
    dw_context *wide = thaw(fixture, &of_bytes, DW_KV_F32);
    float *first = step(fixture, plain, 1500, 1);
    static dw_context *others[3];
    others[0] = context;
    others[1] = bytes;
    others[2] = wide;
    for (size_t i = 0; i < 3; i++) {
        float *second = step(fixture, others[i], 1500, 1);
        double difference = logits_difference(first, second, fixture->vocab_count);
        print_message("%zu: %.3g\n", i, difference);
        assert_true(difference < (i == 0 ? 1e-2 : 1e-1));
        free(second);
        dw_context_destroy(others[i]);
    }
    float *same = step(fixture, back, 1500, 1);
    assert_memory_equal(first, same, fixture->vocab_count * sizeof *first);
    free(same);
    free(first);
    dw_context_destroy(back);
    dw_context_destroy(plain);
    release(&halves);
    release(&floats);
    release(&of_bytes);
}

static void test_context_thaw_refuses(void **state)
{
    model_fixture *fixture = *state;
    dw_context *plain = computed(fixture, 20);
    frozen f = freeze(plain, 0);
    for (int other_type = 0; other_type < 2; other_type++) {
        dw_kv_type wanted = other_type ? DW_KV_F32 : DW_KV_F16;
        dw_context *context = NULL;
        dw_error err = {0};
        dw_context_thaw_options options = options_of(&f, wanted);
        int32_t token = f.tokens[19];
        f.tokens[19] = (int32_t)fixture->vocab_count;
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_RANGE);
        assert_non_null(strstr(err.message, "at 19"));
        f.tokens[19] = -2; /* -1 is where a row came in the place of a token */
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_RANGE);
        f.tokens[19] = token;
        options.tokens_max = 19;
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_LIMIT);
        options.tokens_max = 100000;
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_RANGE);
        options.tokens_max = 0;
        f.segment.bytes--;
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_FORMAT);
        f.segment.bytes += 2; /* beyond the file's end */
        assert_int_equal(dw_context_thaw(&context, fixture->model, &options, NULL, &err),
                         DW_E_FORMAT);
        f.segment.bytes--;
        assert_null(context);
        dw_status status = DW_E_MEMORY;
        int64_t failed = 0;
        for (; status == DW_E_MEMORY; failed++) {
            dw_alloc_fail_after(failed);
            status = dw_context_thaw(&context, fixture->model, &options, NULL, &err);
            dw_alloc_fail_after(-1);
        }
        assert_int_equal(status, DW_OK);
        assert_true(failed > 3);
        dw_context_destroy(context);
    }
    release(&f);
    dw_context_destroy(plain);
}

/* ---- all of it, in any order ---- */

#define PAIRS 6

/* A context that has relatives, and one that had the same done to it and has none. */
typedef struct pair {
    dw_context *kin;
    dw_context *plain;
} pair;

/* What `from` holds, without being its relative: by way of a file. */
static dw_context *twin(model_fixture *fixture, dw_context *from)
{
    frozen f = freeze(from, 1); /* off the pages, so that all is read */
    dw_context *context = thaw(fixture, &f, DW_KV_F16);
    release(&f);
    return context;
}

static void do_something(model_fixture *fixture, pair *pairs, uint32_t *count, uint32_t random)
{
    pair *at = &pairs[random % *count];
    uint32_t length = dw_context_length(at->kin);
    uint32_t number = random >> 12;
    switch (random >> 8 & 7) {
    case 0:
    case 1:
        if (*count < PAIRS) {
            pairs[*count] = (pair){fork_of(at->kin), twin(fixture, at->plain)};
            ++*count;
        }
        break;
    case 2:
        assert_int_equal(dw_context_trim(at->kin, number % (length + 1), NULL), DW_OK);
        assert_int_equal(dw_context_trim(at->plain, number % (length + 1), NULL), DW_OK);
        break;
    case 3: {
        uint32_t keep = number % (length + 1);
        uint32_t drop = number / 7 % (length - keep + 1);
        shift(at->kin, keep, drop);
        shift(at->plain, keep, drop);
        break;
    }
    case 4:
        if (*count > 1) {
            dw_context_destroy(at->kin);
            dw_context_destroy(at->plain);
            *at = pairs[--*count];
        }
        break;
    default:
        if (length < 900) {
            check_same(fixture, at->kin, at->plain, number % 1000,
                       1 + number % 3 * 50 + number % 5);
        }
    }
}

static void test_context_fork_any_sequence(void **state)
{
    model_fixture *fixture = *state;
    pair pairs[PAIRS] = {{computed(fixture, 200), computed(fixture, 200)}};
    uint32_t count = 1;
    uint64_t random = 3;
    int rounds = emulated() ? 40 : 400;
    for (int i = 0; i < rounds; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        do_something(fixture, pairs, &count, (uint32_t)(random >> 33));
        for (uint32_t k = 0; i % 8 == 0 && k < count; k++) {
            state_copy plain = copy_state(pairs[k].plain);
            check_state(pairs[k].kin, &plain);
        }
    }
    while (count > 0) {
        count--;
        check_same(fixture, pairs[count].kin, pairs[count].plain, 77, 1);
        dw_context_destroy(pairs[count].kin);
        dw_context_destroy(pairs[count].plain);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_context_fork_goes_on_as_if_computed),
        TEST(test_context_fork_of_nothing),
        TEST(test_context_fork_of_forks),
        TEST(test_context_fork_parent_trimmed_below),
        TEST(test_context_fork_shift),
        cmocka_unit_test(test_context_fork_undoes_failed_steps),
        TEST(test_context_fork_relatives_in_a_batch),
        TEST(test_context_fork_survives_no_memory),
        TEST(test_context_fork_a_thousand),
        TEST(test_context_thaw_goes_on_as_if_computed),
        TEST(test_context_thaw_converts),
        TEST(test_context_thaw_refuses),
        TEST(test_context_fork_any_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
