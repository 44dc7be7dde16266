/* Freezing and thawing: what comes next is what would have come, from full snapshots, deltas and
 * deltas upon deltas, here and in another process; what is damaged is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"
#include "wasm/guest_instance.h"

#define FILES_MAX 8

static char folder[] = "/tmp/dw-snapshot-XXXXXX";

typedef struct chain {
    char paths[FILES_MAX][96];
    const char *list[FILES_MAX];
    size_t count;
} chain;

static void add_file(chain *files, const char *name)
{
    (void)snprintf(files->paths[files->count], sizeof files->paths[0], "%s/%s", folder, name);
    files->list[files->count] = files->paths[files->count];
    files->count++;
}

static dw_freeze_stats freeze(dw_actor *actor, chain *files, const char *name, bool delta)
{
    dw_error error = {.message = ""};
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = delta};
    add_file(files, name);
    dw_status status =
        dw_actor_freeze(actor, files->list[files->count - 1], &options, &stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return stats;
}

static dw_actor *thaw(actor_fixture *fixture, const chain *files, bool trusted,
                      dw_thaw_stats *stats)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = files->list,
                               .path_count = files->count,
                               .models = &fixture->model,
                               .model_count = 1,
                               .trusted = trusted};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static void forget(const chain *files)
{
    for (size_t i = 0; i < files->count; i++) {
        (void)unlink(files->paths[i]);
    }
}

/* Both answer the same to the same. */
static void assert_twins(dw_actor *left, dw_actor *right, const char *message)
{
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    assert_int_equal(actor_told(left, &answers[0], "%s", message), DW_OK);
    assert_int_equal(actor_told(right, &answers[1], "%s", message), DW_OK);
    assert_true(answers[0].bytes > 0);
    assert_int_equal(answers[0].bytes, answers[1].bytes);
    assert_memory_equal(answers[0].data, answers[1].data, answers[0].bytes);
    dw_free(answers);
}

static dw_actor *talker(actor_fixture *fixture, uint32_t seed, uint32_t length)
{
    actor_answer answer;
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    if (seed > 0) {
        assert_int_equal(actor_told(actor, &answer, "s%u", seed), DW_OK);
    }
    assert_int_equal(actor_told(actor, &answer, "n%u", length), DW_OK);
    return actor;
}

static void test_snapshot_goes_on_where_it_was(void **state)
{
    actor_fixture *fixture = *state;
    static const uint32_t lengths[] = {1, 3, 64, 255, 256, 257, 511, 700};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        actor_answer answer;
        chain files = {.count = 0};
        dw_thaw_stats stats = {.struct_bytes = sizeof stats};
        dw_actor *actor = talker(fixture, (uint32_t)i * 3, lengths[i]);
        assert_int_equal(actor_told(actor, &answer, "g7"), DW_OK); /* the sampler mid-stream */
        (void)freeze(actor, &files, "full", false);
        dw_actor *thawed = thaw(fixture, &files, i % 2 == 0, &stats);
        assert_true(stats.kv_mapped_bytes > 0);
        assert_int_equal(stats.kv_converted_bytes, 0);
        assert_string_equal(dw_actor_id(thawed), dw_actor_id(actor));
        forget(&files); /* what is mapped stays */
        assert_twins(actor, thawed, "g64");
        dw_actor_destroy(actor);
        assert_int_equal(actor_told(thawed, &answer, "t1"), DW_OK);
        dw_actor_destroy(thawed);
    }
}

/* Steps that end with a token, before the file and behind it: they choose what those choose that
 * end with logits, also after prompts of several slices. */
static void test_snapshot_goes_on_choosing(void **state)
{
    actor_fixture *fixture = *state;
    static const uint32_t lengths[] = {1, 64, 600, 900};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        actor_answer *answers = dw_alloc(3, sizeof *answers);
        chain files = {.count = 0};
        dw_actor *with_logits = talker(fixture, (uint32_t)i * 3, lengths[i]);
        dw_actor *actor = actor_spawned(fixture, NULL);
        assert_int_equal(actor_told(actor, &answers[0], "m"), DW_OK);
        if (i > 0) {
            assert_int_equal(actor_told(actor, &answers[0], "s%zu", i * 3), DW_OK);
        }
        assert_int_equal(actor_told(actor, &answers[0], "q%u", lengths[i]), DW_OK);
        assert_int_equal(actor_told(actor, &answers[0], "G17"), DW_OK);
        (void)freeze(actor, &files, "choosing", false);
        dw_actor_destroy(actor);
        actor = thaw(fixture, &files, false, NULL);
        forget(&files);
        assert_int_equal(actor_told(actor, &answers[1], "G23"), DW_OK);
        assert_int_equal(actor_told(with_logits, &answers[2], "g40"), DW_OK);
        assert_int_equal(answers[0].bytes + answers[1].bytes, answers[2].bytes);
        for (size_t at = 0; at < answers[2].bytes; at += 2 * sizeof(int32_t)) {
            const unsigned char *piece = at < answers[0].bytes
                                             ? answers[0].data + at
                                             : answers[1].data + at - answers[0].bytes;
            assert_memory_equal(piece, answers[2].data + at, sizeof(int32_t));
        }
        dw_actor_destroy(actor);
        dw_actor_destroy(with_logits);
        dw_free(answers);
    }
}

static void test_snapshot_deltas_hold_what_changed(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer answer;
    chain files = {.count = 0};
    dw_actor *actor = talker(fixture, 5, 600);
    dw_freeze_stats full = freeze(actor, &files, "0", true); /* nothing to build upon: full */
    assert_false(full.delta);
    dw_freeze_stats none = freeze(actor, &files, "1", true);
    assert_true(none.delta);
    assert_int_equal(none.kv_bytes, 0);
    assert_int_equal(none.memory_bytes, 0);
    assert_int_equal(none.new_bytes, 0);
    assert_in_range(none.written_bytes, 1, 2048); /* settings and models are in the first */
    assert_int_equal(actor_told(actor, &answer, "g20"), DW_OK);
    dw_freeze_stats some = freeze(actor, &files, "2", true);
    assert_true(some.kv_bytes > 0 && some.kv_bytes < full.kv_bytes / 2);
    assert_true(some.memory_bytes < full.memory_bytes);
    uint64_t records = some.new_bytes - some.memory_bytes; /* written from a page of the log on */
    assert_in_range(some.kv_bytes, records, records + 4095);
    assert_in_range(some.written_bytes, some.new_bytes, some.new_bytes + 2048 + 4096);
    /* Trimmed, shifted, another context's copy: each changes what the files hold. */
    assert_int_equal(actor_told(actor, &answer, "t300"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n30"), DW_OK);
    (void)freeze(actor, &files, "3", true);
    assert_int_equal(actor_told(actor, &answer, "k20"), DW_OK);
    (void)freeze(actor, &files, "4", true);
    assert_int_equal(actor_told(actor, &answer, "f"), DW_OK);
    (void)freeze(actor, &files, "5", true);
    for (size_t count = files.count; count >= files.count - 1; count--) {
        chain part = files;
        part.count = count;
        dw_actor *thawed = thaw(fixture, &part, false, NULL);
        if (count == files.count) {
            assert_twins(actor, thawed, "g32");
        }
        /* A thawed one goes on with deltas upon the files it came from. */
        dw_actor *other = thaw(fixture, &part, true, NULL);
        assert_int_equal(actor_told(thawed, &answer, "g5"), DW_OK);
        assert_int_equal(actor_told(other, &answer, "g5"), DW_OK);
        if (count == files.count) {
            assert_int_equal(actor_told(other, &answer, "g32"), DW_OK);
        }
        dw_freeze_stats next = freeze(thawed, &part, "next", true);
        assert_true(next.delta);
        dw_actor *again = thaw(fixture, &part, false, NULL);
        assert_twins(again, thawed, "g8");
        dw_actor_destroy(again);
        dw_actor_destroy(other);
        dw_actor_destroy(thawed);
        forget(&(chain){.count = 0});
    }
    dw_actor_destroy(actor);
    forget(&files);
}

/* Rows of logits that a context keeps are there again, also in a delta's last file alone. */
static void test_snapshot_keeps_rows(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer answer;
    chain files = {.count = 0};
    dw_actor *actor = talker(fixture, 9, 30);
    assert_int_equal(actor_told(actor, &answer, "l3"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "g5"), DW_OK);
    for (int delta = 0; delta < 2; delta++) {
        (void)freeze(actor, &files, delta ? "more_rows" : "rows", delta != 0);
        dw_actor *thawed = thaw(fixture, &files, delta == 0, NULL);
        for (uint32_t length = 35; length > 31; length--) { /* the last three, then none */
            assert_twins(actor, thawed, "L");
            assert_int_equal(actor_told(thawed, &answer, "L"), DW_OK);
            int32_t found;
            memcpy(&found, answer.data, sizeof found);
            assert_int_equal(found == DW_E_NOT_FOUND, length == 32);
            assert_int_equal(actor_told(actor, &answer, "t%u", length - 1), DW_OK);
            assert_int_equal(actor_told(thawed, &answer, "t%u", length - 1), DW_OK);
        }
        dw_actor_destroy(thawed);
        assert_int_equal(actor_told(actor, &answer, "n1"), DW_OK); /* 32 */
        assert_int_equal(actor_told(actor, &answer, "g3"), DW_OK);
    }
    dw_actor_destroy(actor);
    forget(&files);
}

/* A context's window goes on sliding as it would have. */
static void test_snapshot_keeps_windows(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer answer;
    chain files = {.count = 0};
    dw_actor *actor = talker(fixture, 9, 30);
    assert_int_equal(actor_told(actor, &answer, "v40"), DW_OK);
    (void)freeze(actor, &files, "window", false);
    dw_actor *thawed = thaw(fixture, &files, false, NULL);
    assert_twins(actor, thawed, "g60");
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
    forget(&files);
}

static void test_snapshot_of_forks(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer answer;
    chain files = {.count = 0};
    dw_error error;
    dw_actor *actor = talker(fixture, 9, 400);
    dw_actor *child = NULL;
    (void)freeze(actor, &files, "parent", false);
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_OK);
    assert_int_equal(actor_told(child, &answer, "g10"), DW_OK);
    dw_freeze_stats delta = freeze(child, &files, "child", true);
    assert_true(delta.delta); /* upon its parent's file */
    dw_actor *thawed = thaw(fixture, &files, false, NULL);
    assert_string_equal(dw_actor_id(thawed), dw_actor_id(child));
    assert_twins(child, thawed, "g20");
    dw_actor_destroy(thawed);
    dw_actor_destroy(child);
    dw_actor_destroy(actor);
    forget(&files);
}

static void test_snapshot_keeps_messages_and_wishes(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer answer;
    chain files = {.count = 0};
    dw_error error;
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "+40"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "S6"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "T7"), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "+2", 2, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, "0123456789abcdef", "w", 1, &error), DW_OK);
    (void)freeze(actor, &files, "full", false);
    dw_actor *thawed = thaw(fixture, &files, false, NULL);
    assert_int_equal(dw_actor_waiting(thawed), 2);
    assert_int_equal(dw_actor_effect_count(thawed), 1);
    dw_actor_effect left = {.struct_bytes = sizeof left};
    dw_actor_effect right = {.struct_bytes = sizeof right};
    assert_int_equal(dw_actor_effect_at(actor, 0, &left, &error), DW_OK);
    assert_int_equal(dw_actor_effect_at(thawed, 0, &right, &error), DW_OK);
    assert_int_equal(right.kind, DW_EFFECT_SPAWN);
    assert_string_equal(left.actor, right.actor);
    assert_int_equal(left.number, right.number);
    assert_int_equal(dw_actor_timer_ms(thawed), dw_actor_timer_ms(actor));
    assert_int_equal(actor_received(thawed, &answer), DW_OK);
    assert_int_equal(*(uint32_t *)answer.data, 42);
    assert_int_equal(actor_received(thawed, &answer), DW_OK);
    assert_memory_equal(answer.data, "0123456789abcdef", 16);
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
    forget(&files);
}

/* A guest finds a model by the name that it was granted under wherever it goes. */
/* They are the only ones, so that the file has no bytes of messages. */
static void test_snapshot_keeps_empty_messages(void **state)
{
    actor_fixture *fixture = *state;
    dw_error error;
    chain files = {.count = 0};
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(dw_actor_send(actor, NULL, "", 0, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, "0123456789abcdef", NULL, 0, &error), DW_OK);
    (void)freeze(actor, &files, "empty", false);
    dw_actor *thawed = thaw(fixture, &files, false, NULL);
    assert_int_equal(dw_actor_waiting(thawed), 2);
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
    forget(&files);
}

static void test_snapshot_keeps_names_of_models(void **state)
{
    actor_fixture *fixture = *state;
    chain files = {.count = 0};
    const char *const names[] = {"draft"};
    dw_instance_options instance = {.struct_bytes = sizeof instance, .model_names = names};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_actor *actor = actor_spawned(fixture, &options);
    (void)freeze(actor, &files, "named", false);
    dw_actor *thawed = thaw(fixture, &files, false, NULL);
    assert_string_equal(dw_instance_model_name(dw_actor_instance(thawed), 0), "draft");
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
    forget(&files);
}

static void test_snapshot_refuses_what_does_not_fit(void **state)
{
    actor_fixture *fixture = *state;
    chain files = {.count = 0};
    chain wrong = {.count = 0};
    dw_error error;
    dw_actor *thawed = NULL;
    dw_actor *actor = talker(fixture, 0, 20);
    (void)freeze(actor, &files, "full", false);
    (void)freeze(actor, &files, "delta", true);
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = files.list,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 0};
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error),
                     DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "gguf2:"));
    options.model_count = 1;
    options.paths = files.list + 1;
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error), DW_E_FORMAT);
    options.path_count = 0;
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error), DW_E_LIMIT);
    options.paths = files.list;
    options.path_count = 1;
    options.module = actor_module(fixture, "hello.wasm");
    assert_int_not_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error), DW_OK);
    dw_module_unref(options.module);
    options.module = NULL;
    add_file(&wrong, "none");
    options.paths = wrong.list;
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error),
                     DW_E_NOT_FOUND);
    assert_null(thawed);
    dw_actor_destroy(actor);
    forget(&files);
}

/* 20 prompts: after a freeze and a thaw, and after a fork, the next 64 tokens are those that would
 * have come, from logits equal bit by bit. Every other sampler is seeded and in mid-stream. */
static void test_snapshot_prompts(void **state)
{
    enum { PROMPTS = 20, BYTES = 400 };
    actor_fixture *fixture = *state;
    bool real = getenv("DW_TEST_MODEL") != NULL;
    char *prose = NULL;
    size_t bytes = 0;
    dw_error error;
    assert_int_equal(
        dw_os_read_file(DW_TEST_DATA_DIR "/alice.txt", (size_t)1 << 24, &prose, &bytes, &error),
        DW_OK);
    for (size_t i = 0; i < PROMPTS; i++) {
        actor_answer answer;
        chain files = {.count = 0};
        char message[BYTES + 64];
        dw_actor *fork = NULL;
        dw_actor *actor = actor_spawned(fixture, NULL);
        size_t length = 20 + i * (BYTES - 20) / PROMPTS;
        assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
        if (i % 2 == 1) {
            assert_int_equal(actor_told(actor, &answer, "s%u", (unsigned)i), DW_OK);
        }
        if (real) {
            (void)snprintf(message, sizeof message, "p%.*s", (int)length,
                           prose + i * (bytes - BYTES) / PROMPTS);
        } else { /* a tiny model has no vocabulary of text */
            (void)snprintf(message, sizeof message, "n%zu", 5 + i * 37);
        }
        assert_int_equal(actor_told(actor, &answer, "%s", message), DW_OK);
        assert_int_equal(actor_told(actor, &answer, "g%zu", i % 7), DW_OK);
        (void)freeze(actor, &files, "prompt", false);
        dw_actor *thawed = thaw(fixture, &files, false, NULL);
        assert_int_equal(dw_actor_fork(&fork, actor, NULL, &error), DW_OK);
        assert_twins(actor, thawed, "g64");
        assert_int_equal(actor_told(fork, &answer, "g64"), DW_OK);
        assert_twins(fork, thawed, "g3");
        dw_actor_destroy(fork);
        dw_actor_destroy(thawed);
        dw_actor_destroy(actor);
        forget(&files);
    }
    dw_free(prose);
}

/* 10,000 flipped bits and 200 cuts: refused, or the actor is the same. */
static void test_snapshot_damaged(void **state)
{
    actor_fixture *fixture = *state;
    chain files = {.count = 0};
    dw_error error;
    dw_actor *actor = talker(fixture, 3, 40);
    (void)freeze(actor, &files, "full", false);
    char *bytes = NULL;
    size_t count = 0;
    size_t refused = 0;
    assert_int_equal(dw_os_read_file(files.list[0], (size_t)1 << 30, &bytes, &count, &error),
                     DW_OK);
    FILE *file = fopen(files.list[0], "r+b");
    assert_non_null(file);
    uint64_t seed = 88172645463325252u;
    int flips = emulated() ? 200 : 10000;
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = files.list,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 1,
                               .module = fixture->module};
    for (int i = 0; i < flips; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        /* Half of them in the header's text, where meaning is. */
        size_t at = (size_t)(seed >> 8) % (i % 2 == 0 ? count : 8000);
        unsigned char flipped = (unsigned char)bytes[at] ^ (unsigned char)(1u << (seed & 7));
        dw_actor *thawed = NULL;
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc(flipped, file), flipped);
        assert_int_equal(fflush(file), 0);
        dw_status status = dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error);
        assert_true(status != DW_OK || thawed != NULL);
        refused += status != DW_OK;
        dw_actor_destroy(thawed);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        assert_int_equal(fputc((unsigned char)bytes[at], file), (unsigned char)bytes[at]);
    }
    assert_int_equal(fflush(file), 0);
    print_message("%zu of %d flips were refused\n", refused, flips);
    assert_int_equal(refused, flips); /* fillers are looked at, too */
    for (size_t i = 0; i < 200; i++) {
        dw_actor *thawed = NULL;
        size_t length = count - 1 - i * (count - 1) / 200;
        assert_int_equal(truncate(files.list[0], (off_t)length), 0);
        assert_int_not_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &error),
                             DW_OK);
        assert_null(thawed);
    }
    (void)fclose(file);
    dw_free(bytes);
    dw_actor_destroy(actor);
    forget(&files);
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/next", folder);
    (void)unlink(path);
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_goes_on_where_it_was),
        cmocka_unit_test(test_snapshot_goes_on_choosing),
        cmocka_unit_test(test_snapshot_deltas_hold_what_changed),
        cmocka_unit_test(test_snapshot_keeps_rows),
        cmocka_unit_test(test_snapshot_keeps_windows),
        cmocka_unit_test(test_snapshot_of_forks),
        cmocka_unit_test(test_snapshot_keeps_messages_and_wishes),
        cmocka_unit_test(test_snapshot_keeps_empty_messages),
        cmocka_unit_test(test_snapshot_keeps_names_of_models),
        cmocka_unit_test(test_snapshot_refuses_what_does_not_fit),
        cmocka_unit_test(test_snapshot_prompts),
        cmocka_unit_test(test_snapshot_damaged),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("snapshot", tests, open_fixture, close_fixture);
}
