/* Which file holds what of an actor, beside plain arrays: random writes, cuts and removals. */
#include <string.h>

#include "actor/frozen_map.h"
#include "base/alloc.h"
#include "support.h"

#define FILES 40u
#define BLOCKS 64u
#define LOGS 3
#define LOG_BYTES 200u

static uint32_t seed = 7;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* By their numbers; 0: none. */
typedef struct plain {
    uint64_t blocks[2][BLOCKS];
    uint64_t logs[LOGS][LOG_BYTES];
    uint64_t settings;
    uint64_t newest;
} plain;

static uint64_t number_of(const dw_frozen_map *map, uint32_t file)
{
    return file == DW_FROZEN_NONE ? 0 : map->files[file].number;
}

static uint64_t held(const plain *p, uint64_t number)
{
    uint64_t bytes = 0;
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            bytes += p->blocks[m][i] == number ? 4096 : 0;
        }
    }
    for (size_t l = 0; l < LOGS; l++) {
        for (size_t i = 0; i < LOG_BYTES; i++) {
            bytes += p->logs[l][i] == number;
        }
    }
    return bytes;
}

static void check(const dw_frozen_map *map, const plain *p)
{
    dw_frozen_share *shares = dw_alloc(map->file_count + 1, sizeof *shares);
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            assert_int_equal(number_of(map, dw_frozen_map_block(map, m, i)), p->blocks[m][i]);
        }
    }
    for (int32_t l = 0; l < LOGS; l++) {
        uint64_t files[LOG_BYTES] = {0};
        const dw_frozen_log *log = dw_frozen_map_log(map, l);
        for (size_t i = 0; log != NULL && i < log->count; i++) {
            assert_true(log->parts[i].from < log->parts[i].end);
            assert_true(i == 0 || log->parts[i - 1].end <= log->parts[i].from);
            for (uint64_t k = log->parts[i].from; k < log->parts[i].end; k++) {
                files[k] = number_of(map, log->parts[i].file);
            }
        }
        assert_memory_equal(files, p->logs[l], sizeof files);
    }
    dw_frozen_map_shares(map, shares);
    for (size_t i = 0; i < map->file_count; i++) {
        if (map->files[i].used) {
            const uint64_t bytes = held(p, map->files[i].number);
            const bool settings = map->files[i].number == p->settings;
            assert_int_equal(shares[i].settings_alone, settings && bytes == 0);
            assert_int_equal(shares[i].bytes >= bytes, true);
            assert_int_equal(shares[i].bytes > bytes, settings);
        }
    }
    dw_free(shares);
}

static void write_some(dw_frozen_map *map, plain *p)
{
    for (uint32_t n = chance(4); n > 0; n--) {
        const size_t m = chance(2);
        const uint32_t first = chance(BLOCKS);
        const uint32_t end = first + 1 + chance(BLOCKS - first);
        for (uint32_t i = first; i < end; i++) {
            assert_int_equal(dw_frozen_map_set_block(map, m, i, map->newest, NULL), DW_OK);
            p->blocks[m][i] = p->newest;
        }
    }
    for (uint32_t n = chance(4); n > 0; n--) {
        const int32_t l = (int32_t)chance(LOGS);
        const uint64_t from = chance(LOG_BYTES);
        const dw_frozen_part part = {from, from + chance(LOG_BYTES + 1 - (uint32_t)from),
                                     map->newest};
        assert_int_equal(dw_frozen_map_add_part(map, l, 8, &part, NULL), DW_OK);
        for (uint64_t i = part.from; i < part.end; i++) {
            p->logs[l][i] = p->newest;
        }
    }
    if (chance(6) == 0) {
        const int32_t l = (int32_t)chance(LOGS);
        const uint64_t end = chance(LOG_BYTES);
        dw_frozen_map_cut(map, l, end);
        memset(p->logs[l] + end, 0, (LOG_BYTES - end) * sizeof p->logs[l][0]);
    }
    if (chance(10) == 0) {
        const int32_t gone = (int32_t)chance(LOGS);
        const int32_t kept[] = {(gone + 1) % LOGS, (gone + 2) % LOGS};
        dw_frozen_map_keep(map, kept, 2);
        memset(p->logs[gone], 0, sizeof p->logs[gone]);
    }
    if (chance(8) == 0) {
        map->settings = map->newest;
        p->settings = p->newest;
    }
}

static void test_frozen_map_beside_arrays(void **state)
{
    (void)state;
    plain p = {.newest = 0};
    plain before = p; /* when files were dropped last: what is gone, that did not need either */
    dw_frozen_map *map = NULL;
    assert_int_equal(dw_frozen_map_create(&map, NULL), DW_OK);
    for (uint64_t turn = 1; turn <= 3000; turn++) {
        uint64_t *gone = NULL;
        size_t count = 0;
        assert_int_equal(dw_frozen_map_add_file(map, 100, &map->newest, NULL), DW_OK);
        map->files[map->newest].number = turn;
        p.newest = turn;
        write_some(map, &p);
        check(map, &p);
        assert_int_equal(dw_frozen_map_drop(map, &gone, &count, NULL), DW_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(held(&p, gone[i]) + held(&before, gone[i]), 0);
            assert_true(gone[i] != p.newest && gone[i] != p.settings);
            assert_true(gone[i] != before.newest && gone[i] != before.settings);
        }
        dw_free(gone);
        check(map, &p);
        assert_true(dw_frozen_map_count(map) <= 2 * BLOCKS + LOGS * LOG_BYTES);
        before = p;
        if (turn % 100 == 0) {
            dw_frozen_map *copy = NULL;
            assert_int_equal(dw_frozen_map_copy(&copy, map, NULL), DW_OK);
            check(copy, &p);
            dw_frozen_map_destroy(map);
            map = copy;
        }
    }
    dw_frozen_map_destroy(map);
}

/* Without memory a map is as it was or of no use, and nothing is lost of the one that is copied. */
static void test_frozen_map_without_memory(void **state)
{
    (void)state;
    dw_frozen_map *map = NULL;
    plain p = {.newest = 0};
    assert_int_equal(dw_frozen_map_create(&map, NULL), DW_OK);
    for (uint64_t turn = 1; turn <= FILES; turn++) {
        assert_int_equal(dw_frozen_map_add_file(map, 100, &map->newest, NULL), DW_OK);
        map->files[map->newest].number = turn;
        p.newest = turn;
        write_some(map, &p);
    }
    dw_status status = DW_E_MEMORY;
    for (int64_t after = 0; status == DW_E_MEMORY; after++) {
        dw_frozen_map *copy = NULL;
        dw_alloc_fail_after(after);
        status = dw_frozen_map_copy(&copy, map, NULL);
        dw_alloc_fail_after(-1);
        assert_int_equal(copy != NULL, status == DW_OK);
        if (copy != NULL) {
            check(copy, &p);
        }
        dw_frozen_map_destroy(copy);
    }
    assert_int_equal(status, DW_OK);
    check(map, &p);
    dw_frozen_map_destroy(map);
}

static void test_frozen_map_has_so_many_files(void **state)
{
    (void)state;
    dw_frozen_map *map = NULL;
    dw_error error;
    uint32_t file = 0;
    assert_int_equal(dw_frozen_map_create(&map, NULL), DW_OK);
    for (uint32_t i = 0; i < DW_FROZEN_FILES_MAX; i++) {
        assert_int_equal(dw_frozen_map_add_file(map, 1, &file, NULL), DW_OK);
        assert_int_equal(dw_frozen_map_set_block(map, 0, i, file, NULL), DW_OK);
    }
    assert_int_equal(dw_frozen_map_add_file(map, 1, &file, &error), DW_E_LIMIT);
    assert_int_equal(dw_frozen_map_block(map, 0, DW_FROZEN_FILES_MAX - 1), DW_FROZEN_FILES_MAX - 1);
    dw_frozen_map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen_map_beside_arrays),
        cmocka_unit_test(test_frozen_map_without_memory),
        cmocka_unit_test(test_frozen_map_has_so_many_files),
    };
    return cmocka_run_group_tests_name("frozen_map", tests, NULL, NULL);
}
