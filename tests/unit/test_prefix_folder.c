/* Prefixes on the disk: found after a restart, once on the disk and once in memory, bounded, and
 * forgotten where they are damaged. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "inference/batch.h"
#include "model_fixture.h"
#include "prefixes/prefix_folder.h"
#include "support.h"
#include "tiny_model.h"

#define PROMPT 300u
#define FOUND 256u
#define PLENTY (UINT64_C(64) << 20)

static char path[64];
static char folder_path[80];

static int set_up(void **state)
{
    static model_fixture fixture;
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0;
    (void)snprintf(path, sizeof path, "/tmp/dw-prefixes-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    (void)snprintf(folder_path, sizeof folder_path, "%s.d", path);
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
    char command[200];
    model_fixture_close(*state);
    (void)unlink(path);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder_path);
    return system(command);
}

/* ---- helpers ---- */

/* An engine's cache with a folder, and what a restart makes anew. */
typedef struct side {
    model_fixture *fixture;
    dw_prefix_cache *cache;
    dw_prefix_folder *folder;
} side;

static side start(model_fixture *fixture, uint64_t bytes_max)
{
    side s = {.fixture = fixture};
    dw_error err = {.message = ""};
    assert_int_equal(dw_prefix_cache_create(&s.cache, PLENTY, NULL), DW_OK);
    if (dw_prefix_folder_open(&s.folder, folder_path, s.cache, bytes_max, &err) != DW_OK ||
        dw_prefix_folder_load(s.folder, fixture->model, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return s;
}

static void save(const side *s)
{
    dw_error err = {.message = ""};
    if (dw_prefix_folder_save(s->folder, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static void stop(side *s)
{
    dw_prefix_folder_close(s->folder);
    dw_prefix_cache_destroy(s->cache);
}

/* A context that has computed, or found, tokens [offset, offset + count); how many it found. */
static dw_context *prompt(const side *s, const char *scope, uint32_t offset, uint32_t count,
                          uint32_t *found)
{
    model_fixture *fixture = s->fixture;
    dw_context *context = model_fixture_context(fixture, 0);
    dw_batch_item item = {.context = context,
                          .step = {.view = fixture->view,
                                   .tokens = fixture->tokens + offset,
                                   .token_count = count,
                                   .logits = fixture->logits,
                                   .logits_rows = 1,
                                   .counters = &fixture->counters}};
    dw_batch batch;
    assert_int_equal(dw_context_share_prefixes(context, s->cache, scope, NULL), DW_OK);
    dw_batch_init(&batch, NULL);
    dw_batch_add(&batch, &item);
    while (batch.waiting_count > 0) {
        dw_batch_run(&batch);
    }
    assert_ptr_equal(dw_batch_take(&batch), &item);
    assert_int_equal(item.status, DW_OK);
    if (found != NULL) {
        *found = count - (uint32_t)batch.counts.tokens;
    }
    return context;
}

static uint32_t found_by_new(const side *s, const char *scope, uint32_t offset, uint32_t count)
{
    uint32_t found = 0;
    dw_context_destroy(prompt(s, scope, offset, count, &found));
    return found;
}

static float *copy_logits(const model_fixture *fixture)
{
    float *copy = malloc(fixture->vocab_count * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, fixture->logits, fixture->vocab_count * sizeof *copy);
    return copy;
}

static dw_prefix_folder_counts counts_of(const side *s)
{
    dw_prefix_folder_counts counts;
    dw_prefix_folder_count(s->folder, &counts);
    return counts;
}

static size_t record_bytes(const side *s)
{
    dw_context *context = model_fixture_context(s->fixture, 0);
    size_t bytes = dw_kv_log_record_bytes(dw_context_log(context));
    dw_context_destroy(context);
    return bytes;
}

/* Call `take` with the path of each of the folder's .kv files; how many. */
static size_t each_file(void (*take)(const char *name))
{
    char name[400];
    size_t count = 0;
    DIR *dir = opendir(folder_path);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".kv") != NULL) {
            (void)snprintf(name, sizeof name, "%s/%s", folder_path, entry->d_name);
            count++;
            if (take != NULL) {
                take(name);
            }
        }
    }
    (void)closedir(dir);
    return count;
}

/* ---- tests ---- */

static void test_prefix_folder_after_a_restart(void **state)
{
    side s = start(*state, PLENTY);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), 0);
    float *wanted = copy_logits(s.fixture);
    save(&s);
    assert_int_equal(counts_of(&s).files, 1);
    uint64_t written = counts_of(&s).written_bytes;
    save(&s); /* there is nothing new */
    assert_int_equal(counts_of(&s).written_bytes, written);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), FOUND);
    stop(&s);
    s = start(*state, PLENTY);
    assert_int_equal(counts_of(&s).loaded, 1);
    assert_int_equal(found_by_new(&s, "b", 0, PROMPT), 0);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), FOUND);
    assert_true(logits_difference(wanted, s.fixture->logits, s.fixture->vocab_count) <=
                model_fixture_tolerance(s.fixture, 0));
    free(wanted);
    stop(&s);
}

/* A prefix of 1,000 tokens that 16 have, each with an end of its own: once on the disk, and mapped
 * from there once in memory. */
static void test_prefix_folder_shares(void **state)
{
    enum { COUNT = 16, COMMON = 960 };
    side s = start(*state, PLENTY);
    size_t record = record_bytes(&s);
    dw_context_destroy(prompt(&s, "a", 0, 1000, NULL));
    for (uint32_t i = 0; i < COUNT; i++) {
        for (uint32_t t = 1000; t < 1100; t++) {
            s.fixture->tokens[t] = (int32_t)((t * 7 + i * 13) % s.fixture->vocab_count);
        }
        assert_int_equal(found_by_new(&s, "a", 0, 1100), COMMON);
    }
    save(&s);
    dw_prefix_folder_counts counts = counts_of(&s);
    assert_int_equal(counts.files, COUNT + 1);
    assert_true(counts.bytes <= COMMON * record + COUNT * 128 * record + (COUNT + 1) * 65536);
    /* Saved, they take no memory of their own any more. */
    dw_prefix_counts kept;
    dw_prefix_cache_count(s.cache, &kept);
    assert_int_equal(kept.entries, COUNT + 1);
    dw_context *one = prompt(&s, "a", 0, 1000, NULL);
    if (dw_kv_log_in_host_memory(dw_context_log(one))) {
        assert_int_equal(kept.bytes, 0);
    }
    dw_context_destroy(one);
    stop(&s);
    s = start(*state, PLENTY);
    assert_int_equal(counts_of(&s).loaded, COUNT + 1);
    assert_int_equal(found_by_new(&s, "a", 0, 1100), 1088);
    dw_context *mapped = prompt(&s, "a", 0, 1100, NULL);
    dw_context_destroy(mapped);
    stop(&s);
}

/* The same where nobody had the common part alone: the first has it with an end of its own, and the
 * others build upon a part of that one's file, and of each other's. */
static void test_prefix_folder_shares_a_part(void **state)
{
    enum { COUNT = 12, COMMON = 640, LENGTH = 1100 };
    side s = start(*state, PLENTY);
    size_t record = record_bytes(&s);
    for (uint32_t i = 0; i < COUNT; i++) {
        for (uint32_t t = COMMON + 64 * (i % 3); t < LENGTH; t++) {
            s.fixture->tokens[t] = (int32_t)((t * 7 + i * 13) % s.fixture->vocab_count);
        }
        uint32_t found = found_by_new(&s, "a", 0, LENGTH);
        assert_true(i == 0 || found >= COMMON);
        save(&s);
    }
    dw_prefix_folder_counts counts = counts_of(&s);
    assert_int_equal(counts.files, COUNT);
    assert_true(counts.bytes <= COMMON * record + COUNT * 448 * record + COUNT * 65536);
    float *wanted = copy_logits(s.fixture);
    stop(&s);
    s = start(*state, PLENTY);
    assert_int_equal(counts_of(&s).loaded, COUNT);
    assert_int_equal(found_by_new(&s, "a", 0, LENGTH), 1088); /* the last one's, through others' */
    assert_true(logits_difference(wanted, s.fixture->logits, s.fixture->vocab_count) <=
                model_fixture_tolerance(s.fixture, 0));
    free(wanted);
    stop(&s);
}

static size_t open_files(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 2048; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* A conversation that grows: each file builds upon the one before, and is open once. */
static void test_prefix_folder_keeps_few_files_open(void **state)
{
    enum { COUNT = 16 };
    side s = start(*state, PLENTY);
    size_t before = open_files();
    for (uint32_t i = 1; i <= COUNT; i++) {
        assert_int_equal(found_by_new(&s, "a", 0, 64 * i + 20), 64 * (i - 1));
        save(&s);
    }
    assert_int_equal(counts_of(&s).files, COUNT);
    assert_in_range(open_files(), before, before + 3 * COUNT);
    stop(&s);
    assert_true(open_files() < before);
    s = start(*state, PLENTY);
    assert_int_equal(counts_of(&s).loaded, COUNT);
    assert_in_range(open_files(), before, before + 3 * COUNT);
    assert_int_equal(found_by_new(&s, "a", 0, 64 * COUNT + 20), 64 * COUNT);
    stop(&s);
}

/* Where the process may have few files open, fewer prefixes are kept; what builds upon one that is
 * not there any more is not read, and what was computed is right. */
static void test_prefix_folder_with_few_descriptors(void **state)
{
    enum { LIMIT = 320, MOST = LIMIT / 8 };
    struct rlimit before;
    dw_prefix_counts kept;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = LIMIT, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    side s = start(*state, PLENTY);
    for (uint32_t i = 0; i < 2 * MOST; i++) {
        (void)found_by_new(&s, i % 2 == 0 ? "a" : "b", i / 4 * 8, 64 * (i % 4 / 2 + 1) + 20);
        if (i % 8 == 7) {
            save(&s);
        }
        dw_prefix_cache_count(s.cache, &kept);
        assert_true(kept.entries <= MOST);
    }
    save(&s);
    assert_true(kept.evictions > 0);
    stop(&s);
    s = start(*state, PLENTY);
    dw_prefix_cache_count(s.cache, &kept);
    assert_in_range(kept.entries, MOST / 2, MOST);
    stop(&s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* What was pinned after it was written stays pinned, and one folder is one cache's at a time. */
static void test_prefix_folder_pinned_later(void **state)
{
    dw_error err;
    dw_prefix_folder *other = NULL;
    dw_prefix_cache *cache = NULL;
    side s = start(*state, PLENTY);
    uint64_t each = FOUND * record_bytes(&s) + 65536;
    dw_context *first = prompt(&s, "a", 0, PROMPT, NULL);
    save(&s);
    assert_int_equal(dw_prefix_cache_unsaved(s.cache), 0);
    assert_int_equal(dw_prefix_cache_keep(first, DW_PREFIX_PINNED, NULL), DW_OK);
    dw_context_destroy(first);
    assert_int_equal(found_by_new(&s, "a", 100, PROMPT), 0);
    save(&s);
    assert_int_equal(dw_prefix_folder_open(&other, "/tmp/dw-never", s.cache, PLENTY, &err),
                     DW_E_STATE);
    assert_int_equal(dw_prefix_cache_create(&cache, PLENTY, NULL), DW_OK);
    assert_int_equal(dw_prefix_folder_open(&other, folder_path, cache, PLENTY, &err), DW_E_BUSY);
    dw_prefix_cache_destroy(cache);
    stop(&s);
    s = start(*state, each + each / 2);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), FOUND);
    assert_int_equal(found_by_new(&s, "a", 100, PROMPT), 0);
    stop(&s);
}

static void test_prefix_folder_limit(void **state)
{
    side s = start(*state, PLENTY);
    uint64_t each = FOUND * record_bytes(&s) + 65536;
    stop(&s);
    s = start(*state, each * 2 + each / 2);
    dw_context *pinned = prompt(&s, "a", 0, PROMPT, NULL);
    assert_int_equal(dw_prefix_cache_keep(pinned, DW_PREFIX_PINNED, NULL), DW_OK);
    dw_context_destroy(pinned);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(found_by_new(&s, "a", i * 100, PROMPT), 0);
        save(&s);
        assert_true(counts_of(&s).bytes <= counts_of(&s).bytes_max);
        assert_int_equal(each_file(NULL), 2);
    }
    assert_int_equal(counts_of(&s).dropped, 2);
    stop(&s);
    s = start(*state, each * 2 + each / 2);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), FOUND);
    assert_int_equal(found_by_new(&s, "a", 300, PROMPT), FOUND);
    assert_int_equal(found_by_new(&s, "a", 200, PROMPT), 0);
    stop(&s);
    s = start(*state, each + each / 2); /* less from now on: the pinned one stays */
    assert_int_equal(counts_of(&s).loaded, 1);
    assert_int_equal(found_by_new(&s, "a", 0, PROMPT), FOUND);
    stop(&s);
}

static void damage(const char *name)
{
    unsigned char byte = 0;
    int fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 65536 + 1000), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 65536 + 1000), 1);
    (void)close(fd);
}

static void cut_short(const char *name)
{
    assert_int_equal(truncate(name, 70000), 0);
}

static void take_away(const char *name)
{
    assert_int_equal(unlink(name), 0);
}

static void test_prefix_folder_damaged(void **state)
{
    void (*const hurts[])(const char *) = {damage, cut_short, take_away};
    for (size_t i = 0; i < 3; i++) {
        side s = start(*state, PLENTY);
        (void)found_by_new(&s, "a", 0, PROMPT);
        save(&s);
        (void)found_by_new(&s, "a", 0, 600); /* which builds upon it */
        save(&s);
        stop(&s);
        assert_true(each_file(hurts[i]) >= 2);
        s = start(*state, PLENTY);
        assert_int_equal(counts_of(&s).loaded, 0);
        assert_int_equal(counts_of(&s).files, 0);
        assert_int_equal(each_file(NULL), 0);
        assert_int_equal(found_by_new(&s, "a", 0, PROMPT), 0);
        stop(&s);
    }
}

static void test_prefix_folder_killed(void **state)
{
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            side s = start(*state, PLENTY);
            for (uint32_t k = 0; k < 100; k++) {
                (void)found_by_new(&s, "a", k + (uint32_t)i * 7, PROMPT);
                save(&s);
            }
            _exit(0);
        }
        (void)usleep((useconds_t)(20000 + i * 9000));
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        side s = start(*state, PLENTY); /* nothing is damaged, and nothing without a row is left */
        assert_int_equal(counts_of(&s).files, each_file(NULL));
        assert_int_equal(counts_of(&s).loaded, counts_of(&s).files);
        stop(&s);
    }
}

static void test_prefix_folder_refuses(void **state)
{
    dw_error err;
    char name[200];
    dw_prefix_cache *cache = NULL;
    dw_prefix_folder *folder = NULL;
    side s = start(*state, PLENTY);
    stop(&s);
    (void)snprintf(name, sizeof name, "%s/index.db", folder_path);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    (void)fputs("this is no index, but a text of some length that nobody would take for one", file);
    (void)fclose(file);
    assert_int_equal(dw_prefix_cache_create(&cache, PLENTY, NULL), DW_OK);
    assert_int_equal(dw_prefix_folder_open(&folder, folder_path, cache, PLENTY, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "prefixes"));
    assert_null(folder);
    assert_int_equal(dw_prefix_folder_open(&folder, "/proc/nowhere", cache, PLENTY, &err), DW_E_IO);
    dw_prefix_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_prefix_folder_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_shares_a_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_keeps_few_files_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_with_few_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_pinned_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prefix_folder_refuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
