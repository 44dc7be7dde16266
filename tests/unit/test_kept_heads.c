/* Headers of snapshots that are kept: an actor that is read again needs none of them read; who does
 * not trust the file reads them all the same. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "snapshot/kept_heads.h"
#include "snapshot/snapshot_file.h"
#include "support.h"

#define FILES 40

static char folder[] = "/tmp/dw-heads-XXXXXX";
static char paths[FILES][64];
static char identities[FILES][DW_SNAPSHOT_IDENTITY];

/* A full snapshot and deltas upon it, of an actor that adds one with each. */
static void write_files(actor_fixture *fixture)
{
    dw_error err = {.message = ""};
    actor_answer answer;
    dw_actor *actor = actor_spawned(fixture, NULL);
    for (size_t i = 0; i < FILES; i++) {
        dw_freeze_stats stats = {.struct_bytes = sizeof stats};
        const dw_freeze_options options = {.struct_bytes = sizeof options, .delta = i > 0};
        (void)snprintf(paths[i], sizeof paths[i], "%s/%zu", folder, i);
        assert_int_equal(actor_told(actor, &answer, "+1"), DW_OK);
        assert_int_equal(dw_actor_freeze(actor, paths[i], &options, &stats, &err), DW_OK);
        memcpy(identities[i], stats.identity, sizeof identities[i]);
    }
    dw_actor_destroy(actor);
}

static dw_status thawed_count(actor_fixture *fixture, bool trusted, uint32_t *count, dw_error *err)
{
    dw_actor *actor = NULL;
    actor_answer answer;
    const char *list[FILES];
    const char *known[FILES];
    for (size_t i = 0; i < FILES; i++) {
        list[i] = paths[i];
        known[i] = identities[i];
    }
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .paths = list,
                                     .path_count = FILES,
                                     .identities = known,
                                     .models = &fixture->model,
                                     .model_count = 1,
                                     .trusted = trusted};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, err);
    if (status == DW_OK) {
        assert_int_equal(actor_told(actor, &answer, "+0"), DW_OK);
        memcpy(count, answer.data, sizeof *count);
        dw_actor_destroy(actor);
    }
    return status;
}

/* One letter of the header is another. */
static void spoil(const char *path)
{
    char letter = 0;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &letter, 1, 20), 1);
    letter ^= 1;
    assert_int_equal(pwrite(fd, &letter, 1, 20), 1);
    assert_int_equal(close(fd), 0);
}

static void test_kept_heads_are_not_read_again(void **state)
{
    actor_fixture *fixture = *state;
    dw_error err = {.message = ""};
    uint32_t count = 0;
    write_files(fixture);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(thawed_count(fixture, true, &count, &err), DW_OK);
        assert_int_equal(count, FILES);
    }
    spoil(paths[1]);
    spoil(paths[FILES - 1]);
    assert_int_equal(thawed_count(fixture, true, &count, &err), DW_OK);
    assert_int_equal(count, FILES);
    assert_int_equal(thawed_count(fixture, false, &count, &err), DW_E_FORMAT);
    assert_int_equal(truncate(paths[FILES - 1], 4096), 0); /* what is cut is another file */
    assert_int_equal(thawed_count(fixture, true, &count, &err), DW_E_FORMAT);
    assert_int_equal(unlink(paths[FILES - 1]), 0);
    assert_int_equal(thawed_count(fixture, true, &count, &err), DW_E_NOT_FOUND);
}

static void open_one(dw_kept_heads *heads, size_t i, const char *identity, unsigned flags)
{
    dw_error err = {.message = ""};
    dw_snapshot_file *file = NULL;
    const dw_snapshot_known known = {.heads = heads, .identity = identity};
    if (dw_snapshot_file_open_known(&file, paths[i], flags, &known, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(dw_snapshot_file_identity(file), identities[i]);
    assert_non_null(dw_snapshot_file_meta(file, "kind"));
    dw_snapshot_file_close(file);
}

/* Those that were asked for last are kept, in so many bytes. */
static void test_kept_heads_are_bounded(void **state)
{
    write_files(*state);
    dw_kept_heads *heads = dw_kept_heads_create(SIZE_MAX / 2);
    size_t most = 0; /* of one */
    size_t before = 0;
    for (size_t i = 0; i < FILES; i++) {
        open_one(heads, i, identities[i], 0);
        const size_t bytes = dw_kept_heads_count(heads).bytes;
        most = bytes - before > most ? bytes - before : most;
        before = bytes;
    }
    assert_int_equal(dw_kept_heads_count(heads).count, FILES);
    assert_int_equal(dw_kept_heads_count(heads).missed, FILES);
    open_one(heads, 0, identities[0], 0);
    open_one(heads, 0, identities[0], DW_SNAPSHOT_VERIFY);
    open_one(heads, 0, "", 0);
    open_one(heads, 0, NULL, 0);
    assert_int_equal(dw_kept_heads_count(heads).found, 1);
    dw_kept_heads_destroy(heads);

    const size_t room = 16 * most;
    assert_true(room < before);
    heads = dw_kept_heads_create(room);
    for (size_t i = 0; i < FILES; i++) {
        open_one(heads, 0, identities[0], 0); /* time and again */
        open_one(heads, i, identities[i], 0);
        assert_true(dw_kept_heads_count(heads).bytes <= room);
    }
    assert_int_equal(dw_kept_heads_count(heads).found, FILES);
    open_one(heads, 1, identities[1], 0); /* it has gone, as one that nobody asked for */
    assert_int_equal(dw_kept_heads_count(heads).missed, FILES + 1);
    dw_kept_heads_destroy(heads);

    heads = dw_kept_heads_create(most); /* none is a 16th of it */
    open_one(heads, 0, identities[0], 0);
    assert_int_equal(dw_kept_heads_count(heads).count, 0);
    dw_kept_heads_destroy(heads);
}

static int open_all(void **state)
{
    return mkdtemp(folder) != NULL ? actor_fixture_open(state) : 1;
}

static int close_all(void **state)
{
    for (size_t i = 0; i < FILES; i++) {
        (void)unlink(paths[i]);
    }
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_heads_are_not_read_again),
        cmocka_unit_test(test_kept_heads_are_bounded),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
