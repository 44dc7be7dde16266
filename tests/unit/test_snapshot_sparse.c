/* Snapshots of large memories of which little was touched: what is zero takes no room in a file,
 * no time to freeze and no memory after a thaw; and what a file says of its runs is checked. The
 * guest is tests/guest/actor_sparse.wat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "snapshot/snapshot_file.h"
#include "support.h"

enum { GROW, STORE, LOAD, SUM, FILL };

#define PAGE 65536u
#define MIB ((uint64_t)1 << 20)
#define PATHS 3

static char folder[] = "/tmp/dw-sparse-XXXXXX";
static char paths[PATHS][64];
static const char *list[PATHS];
static dw_module *module;

static dw_actor *spawn(void)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_actor_spawn(&actor, module, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static dw_freeze_stats freeze(dw_actor *actor, size_t number, bool delta)
{
    dw_error error = {.message = ""};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = delta};
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_status status = dw_actor_freeze(actor, paths[number], &options, &stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(stats.delta, delta);
    struct stat info;
    assert_int_equal(stat(paths[number], &info), 0);
    assert_int_equal(info.st_size, stats.file_bytes);
    return stats;
}

static dw_status try_thaw(dw_actor **actor, actor_fixture *fixture, size_t count, dw_error *error)
{
    dw_thaw_options options = {.struct_bytes = sizeof options, .paths = list, .path_count = count};
    error->message[0] = '\0';
    return dw_actor_thaw(actor, fixture->engine, &options, NULL, error);
}

static dw_actor *thaw(actor_fixture *fixture, size_t count)
{
    dw_actor *actor = NULL;
    dw_error error;
    dw_status status = try_thaw(&actor, fixture, count, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

/* A guest that has 4 GiB and touched three pages: what is written, read and resident is little. */
static void test_snapshot_sparse_of_untouched_memory(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawn();
    assert_int_equal(actor_asked(actor, GROW, 65534, 0, 0), 2);
    const uint32_t places[3] = {5 * PAGE, 0x80000010u, 0xfffffffcu};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(actor_asked(actor, STORE, places[i], 0xabcd00 + i, 1), 0);
    }
    size_t resident = dw_resident_bytes();
    uint64_t start = dw_os_clock_ns();
    dw_freeze_stats full = freeze(actor, 0, false);
    uint64_t took_ms = (dw_os_clock_ns() - start) / 1000000;
    printf("4 GiB, 3 pages touched: %llu bytes in %llu ms\n", (unsigned long long)full.file_bytes,
           (unsigned long long)took_ms);
    assert_true(full.file_bytes < MIB);
    assert_true(took_ms < 2000);
    dw_actor *thawed = thaw(fixture, 1);
    assert_true(dw_resident_bytes() < resident + 64 * MIB);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(actor_asked(thawed, LOAD, places[i], 0, 0), 0xabcd00 + i);
    }
    assert_int_equal(actor_asked(thawed, LOAD, 0x40000000u, 0, 0), 0);
    assert_int_equal(actor_asked(thawed, GROW, 0, 0, 0), 65536);
    /* Again a full one, of what is now mapped from the first file; and deltas upon that. */
    assert_true(freeze(thawed, 0, false).file_bytes < MIB);
    assert_int_equal(actor_asked(thawed, STORE, 0x90000000u, 7, 1), 0);
    assert_int_equal(actor_asked(thawed, STORE, places[1], 0, 1), 0);
    assert_true(freeze(thawed, 1, true).file_bytes < MIB);
    dw_actor *again = thaw(fixture, 2);
    assert_int_equal(actor_asked(again, LOAD, 0x90000000u, 0, 0), 7);
    assert_int_equal(actor_asked(again, LOAD, places[1], 0, 0), 0);
    assert_int_equal(actor_asked(again, LOAD, places[2], 0, 0), 0xabcd02);
    assert_int_equal(actor_asked(again, STORE, 0xa0000000u, 9, 1), 0);
    assert_true(freeze(again, 2, true).file_bytes < MIB);
    dw_actor *last = thaw(fixture, 3);
    assert_int_equal(actor_asked(last, LOAD, 0xa0000000u, 0, 0), 9);
    assert_int_equal(actor_asked(last, LOAD, 0x90000000u, 0, 0), 7);
    dw_actor_destroy(last);
    dw_actor_destroy(again);
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
}

/* More runs than are mapped, 1 GiB apart in all: no more is stored and kept than was written. */
static void test_snapshot_sparse_of_many_runs(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawn();
    const uint32_t count = 16000;
    assert_int_equal(actor_asked(actor, GROW, 16384, 0, 0), 2);
    size_t resident = dw_resident_bytes();
    assert_int_equal(actor_asked(actor, STORE, 4 * PAGE, 3, count), 0);
    assert_int_equal(actor_asked(actor, FILL, 100 * PAGE, 200 * PAGE, 1), 0);
    dw_freeze_stats full = freeze(actor, 0, false);
    const uint64_t written = (count + 200 * 16) * (uint64_t)4096;
    assert_true(full.file_bytes < written + MIB);
    assert_true(dw_resident_bytes() < resident + 2 * written + 64 * MIB);
    uint32_t sum = actor_asked(actor, SUM, 4 * PAGE, 0, count);
    assert_int_equal(sum, (count - 200) * 3 + 200 * 0x01010101u);
    dw_actor *thawed = thaw(fixture, 1);
    assert_int_equal(actor_asked(thawed, SUM, 4 * PAGE, 0, count), sum);
    assert_int_equal(actor_asked(thawed, LOAD, 300 * PAGE - 4, 0, 0), 0x01010101);
    assert_int_equal(actor_asked(thawed, LOAD, 300 * PAGE + 4, 0, 0), 0);
    assert_int_equal(actor_asked(thawed, STORE, 4 * PAGE, 5, count), 0);
    (void)freeze(thawed, 1, true);
    dw_actor *again = thaw(fixture, 2);
    assert_int_equal(actor_asked(again, SUM, 4 * PAGE, 0, count), count * 5);
    assert_int_equal(actor_asked(again, LOAD, 300 * PAGE - 4, 0, 0), 0x01010101);
    /* What was written and is zero again is not stored either. */
    assert_int_equal(actor_asked(again, FILL, 4 * PAGE, 16380 * PAGE, 0), 0);
    assert_true(freeze(again, 2, false).file_bytes < MIB);
    dw_actor_destroy(again);
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
}

/* ---- what a file says ---------------------------------------------------------------------- */

static void read_tensor(const dw_snapshot_file *file, dw_snapshot_tensor *to,
                        const dw_snapshot_entry *entry)
{
    dw_error error = {.message = ""};
    unsigned char *bytes = dw_alloc((size_t)entry->bytes + 1, 1);
    assert_non_null(bytes);
    assert_int_equal(dw_snapshot_file_read(file, entry, 0, (size_t)entry->bytes, bytes, &error),
                     DW_OK);
    *to = (dw_snapshot_tensor){.name = entry->name,
                               .dtype = entry->dtype,
                               .dimension_count = entry->dimension_count,
                               .bytes = bytes};
    memcpy(to->shape, entry->shape, sizeof to->shape);
}

/* Write the file at paths[0] to paths[1], with other runs. */
static void rewrite(const uint32_t *runs, size_t run_count)
{
    dw_snapshot_file *file = NULL;
    dw_snapshot_writer *writer = NULL;
    dw_snapshot_tensor tensors[8];
    dw_error error = {.message = ""};
    assert_int_equal(dw_snapshot_file_open(&file, paths[0], 0, &error), DW_OK);
    assert_int_equal(dw_snapshot_writer_create(&writer, &error), DW_OK);
    for (size_t i = 0; i < 2; i++) {
        const char *key = i == 0 ? "module" : "actor";
        assert_int_equal(
            dw_snapshot_writer_meta(writer, key, dw_snapshot_file_meta(file, key), &error), DW_OK);
    }
    size_t count = dw_snapshot_file_count(file);
    assert_true(count <= 8);
    for (size_t i = 0; i < count; i++) {
        read_tensor(file, &tensors[i], dw_snapshot_file_at(file, i));
        dw_snapshot_tensor own = tensors[i];
        if (strcmp(own.name, "memory.runs") == 0) {
            own.shape[0] = run_count;
            own.bytes = runs;
        }
        own.aligned = strcmp(own.name, "memory.data") == 0;
        assert_int_equal(dw_snapshot_writer_tensor(writer, &own, &error), DW_OK);
    }
    assert_int_equal(dw_snapshot_writer_write_file(writer, paths[1], NULL, &error), DW_OK);
    for (size_t i = 0; i < count; i++) {
        dw_free((void *)(uintptr_t)tensors[i].bytes);
    }
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_file_close(file);
}

static void test_snapshot_sparse_refuses_wrong_runs(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawn(); /* of 2 pages, 32 blocks; blocks 0 and 20 are not zero */
    assert_int_equal(actor_asked(actor, STORE, 20 * 4096, 77, 1), 0);
    (void)freeze(actor, 0, false);
    dw_actor_destroy(actor);
    static const uint32_t good[] = {0, 1, 20, 1};
    static const struct {
        uint32_t runs[6];
        size_t count;
    } wrong[] = {
        {{0, 1, 32, 1}, 2},          {{0, 1, 20, 2}, 2}, {{0, 1}, 1}, {{20, 1, 0, 1}, 2},
        {{0, 1, 0, 1}, 2},           {{0, 0, 0, 2}, 2},  {{0, 2}, 0}, {{0, 1, UINT32_MAX, 1}, 2},
        {{0, 1, 31, UINT32_MAX}, 2}, {{31, 2}, 1},
    };
    list[0] = paths[1];
    rewrite(good, 2);
    dw_actor *thawed = thaw(fixture, 1);
    assert_int_equal(actor_asked(thawed, LOAD, 20 * 4096, 0, 0), 77);
    dw_actor_destroy(thawed);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dw_error error;
        rewrite(wrong[i].runs, wrong[i].count);
        assert_int_equal(try_thaw(&thawed, fixture, 1, &error), DW_E_FORMAT);
        assert_non_null(strstr(error.message, "memory.runs"));
        assert_null(thawed);
    }
    list[0] = paths[0];
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < PATHS; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%zu", folder, i);
        list[i] = paths[i];
    }
    int failed = actor_fixture_open(state);
    module = actor_module_of_text(*state, "actor_sparse.wat");
    return failed;
}

static int close_fixture(void **state)
{
    for (size_t i = 0; i < PATHS; i++) {
        (void)unlink(paths[i]);
    }
    (void)rmdir(folder);
    dw_module_unref(module);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_sparse_of_untouched_memory),
        cmocka_unit_test(test_snapshot_sparse_of_many_runs),
        cmocka_unit_test(test_snapshot_sparse_refuses_wrong_runs),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("snapshot_sparse", tests, open_fixture, close_fixture);
}
