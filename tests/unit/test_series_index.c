/* Indexes of series: what they say against arrays that were written as the snapshots were; read
 * again as they were written; and damaged ones, which are refused or at least bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "memory/memory_image.h"
#include "snapshot/series_index.h"
#include "snapshot/snapshot_file.h"
#include "support.h"

#define BLOCKS 40u
#define LOG_BYTES 6000u
#define TOKENS 300u
#define SNAPSHOTS_MAX 24u
#define HANDLE 65537
#define BASE "00112233445566778899aabbccddeeff"
#define MODULE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char folder[] = "/tmp/dw-index-XXXXXX";
static char series[64];
static uint64_t seed;
static const char *base = BASE; /* of each snapshot */

/* What is in the series, as it would be read. */
typedef struct oracle {
    int blocks[2][BLOCKS]; /* whose value the block has, -1: nobody's */
    int log[LOG_BYTES];
    int tokens[TOKENS];
    int settings; /* -1: none */
    size_t count;
    char paths[SNAPSHOTS_MAX][96];
    const char *list[SNAPSHOTS_MAX];
    char identities[SNAPSHOTS_MAX][DW_SNAPSHOT_IDENTITY];
    const char *known[SNAPSHOTS_MAX];
} oracle;

static uint32_t chance(uint32_t below)
{
    return (uint32_t)(support_random(&seed) % below);
}

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        fail_msg("%s", err->message);
    }
}

static void add_memory(dw_snapshot_writer *writer, oracle *o, int memory, int value)
{
    static uint32_t lists[2][BLOCKS];
    static unsigned char all[2][BLOCKS][DW_IMAGE_BLOCK_BYTES];
    uint32_t *list = lists[memory]; /* borrowed until it is written */
    unsigned char(*bytes)[DW_IMAGE_BLOCK_BYTES] = all[memory];
    dw_error err = {.message = ""};
    uint64_t count = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (chance(5) == 0) {
            list[count] = i;
            memset(bytes[count++], value, DW_IMAGE_BLOCK_BYTES);
            o->blocks[memory][i] = value;
        }
    }
    if (count == 0) {
        return;
    }
    const dw_snapshot_tensor blocks = {.name = memory == 0 ? "memory.blocks" : "memory.1.blocks",
                                       .dtype = "U32",
                                       .dimension_count = 1,
                                       .shape = {count},
                                       .bytes = list};
    const dw_snapshot_tensor data = {.name = memory == 0 ? "memory.data" : "memory.1.data",
                                     .dtype = "U8",
                                     .dimension_count = 2,
                                     .shape = {count, DW_IMAGE_BLOCK_BYTES},
                                     .bytes = bytes};
    must(dw_snapshot_writer_tensor(writer, &blocks, &err), &err);
    must(dw_snapshot_writer_tensor(writer, &data, &err), &err);
}

static void add_part(dw_snapshot_writer *writer, int *held, uint32_t limit, bool tokens, int value)
{
    static int32_t numbers[TOKENS];
    static unsigned char bytes[LOG_BYTES];
    char name[48];
    dw_error err = {.message = ""};
    const uint32_t from = chance(3) == 0 ? 0 : chance(limit);
    const uint32_t count = 1 + chance(limit - from);
    for (uint32_t i = 0; i < count; i++) {
        held[from + i] = value;
        if (tokens) {
            numbers[i] = value;
        } else {
            bytes[i] = (unsigned char)value;
        }
    }
    (void)snprintf(name, sizeof name, from == 0 ? "%s.%d" : "%s.%d.%u", tokens ? "tokens" : "kv",
                   HANDLE, from);
    const dw_snapshot_tensor part = {.name = name,
                                     .dtype = tokens ? "I32" : "U8",
                                     .dimension_count = 1,
                                     .shape = {count},
                                     .bytes = tokens ? (void *)numbers : (void *)bytes};
    must(dw_snapshot_writer_tensor(writer, &part, &err), &err);
}

/* Behind the one before, whose end is `*end`. */
static void write_snapshot(oracle *o, uint64_t *end)
{
    char path[96];
    char text[32];
    const int value = 1 + (int)o->count;
    dw_snapshot_writer *writer = NULL;
    dw_error err = {.message = ""};
    must(dw_snapshot_writer_create(&writer, &err), &err);
    must(dw_snapshot_writer_meta(writer, "kind", "delta", &err), &err);
    must(dw_snapshot_writer_meta(writer, "base", base, &err), &err);
    must(dw_snapshot_writer_meta(writer, "module", MODULE, &err), &err);
    if (chance(4) == 0) {
        (void)snprintf(text, sizeof text, "{\"a\":%d}", value);
        must(dw_snapshot_writer_meta(writer, "settings", text, &err), &err);
        o->settings = value;
    }
    for (int i = 0; i < 2; i++) {
        add_memory(writer, o, i, value);
    }
    add_part(writer, o->log, LOG_BYTES, false, value);
    if (chance(2) == 0) {
        add_part(writer, o->tokens, TOKENS, true, value);
    }
    (void)snprintf(path, sizeof path, "%s/%llu+0", series, (unsigned long long)*end);
    char *identity = o->identities[o->count];
    must(dw_snapshot_writer_write_part(writer, path, NULL, identity, &err), &err);
    o->known[o->count] = identity;
    const uint64_t bytes = dw_snapshot_writer_bytes(writer);
    (void)snprintf(o->paths[o->count], sizeof path, "%s/%llu+%llu", series,
                   (unsigned long long)*end, (unsigned long long)bytes);
    o->list[o->count] = o->paths[o->count];
    o->count++;
    *end = dw_snapshot_place_end(*end, bytes);
    dw_snapshot_writer_destroy(writer);
}

static void write_series(oracle *o, size_t count)
{
    uint64_t end = 0;
    memset(o, 0, sizeof *o);
    memset(o->blocks, -1, sizeof o->blocks);
    memset(o->log, -1, sizeof o->log);
    memset(o->tokens, -1, sizeof o->tokens);
    o->settings = -1;
    (void)unlink(series);
    for (size_t i = 0; i < count; i++) {
        write_snapshot(o, &end);
    }
}

static int byte_at(const dw_snapshot_file *file, uint64_t offset)
{
    unsigned char byte = 0;
    dw_error err = {.message = ""};
    must(dw_snapshot_file_read_at(file, offset, 1, &byte, &err), &err);
    return byte;
}

static void check_blocks(const oracle *o, const dw_snapshot_file *file)
{
    int found[2][BLOCKS];
    const dw_series_contents *contents = dw_snapshot_file_series(file);
    memset(found, -1, sizeof found);
    for (size_t i = 0; i < contents->memory_count; i++) {
        const dw_series_memory *memory = &contents->memories[i];
        assert_true(memory->number < 2);
        for (uint32_t k = 0; k < memory->count; k++) {
            const dw_series_run *run = &memory->runs[k];
            for (uint32_t b = 0; b < run->count; b++) {
                const uint64_t at = run->offset + (uint64_t)b * DW_IMAGE_BLOCK_BYTES;
                assert_int_equal(found[memory->number][run->first + b], -1);
                found[memory->number][run->first + b] = byte_at(file, at);
                assert_int_equal(byte_at(file, at), byte_at(file, at + DW_IMAGE_BLOCK_BYTES - 1));
            }
        }
    }
    assert_memory_equal(found, o->blocks, sizeof found);
}

/* By the names that tensors of deltas have. */
static void check_parts(const oracle *o, const dw_snapshot_file *file)
{
    static int log[LOG_BYTES];
    static int tokens[TOKENS];
    const dw_snapshot_entry *entry;
    memset(log, -1, sizeof log);
    memset(tokens, -1, sizeof tokens);
    for (size_t i = 0; (entry = dw_snapshot_file_by_name(file, i)) != NULL; i++) {
        const bool is_log = strncmp(entry->name, "kv.65537.", 9) == 0;
        assert_true(is_log || strncmp(entry->name, "tokens.65537.", 13) == 0);
        const uint64_t from = strtoull(strrchr(entry->name, '.') + 1, NULL, 10);
        for (uint64_t k = 0; k < entry->shape[0]; k++) {
            int *of = is_log ? &log[from + k] : &tokens[from + k];
            assert_int_equal(*of, -1);
            *of = byte_at(file, entry->offset + k * (is_log ? 1 : sizeof(int32_t)));
        }
    }
    assert_memory_equal(log, o->log, sizeof log);
    assert_memory_equal(tokens, o->tokens, sizeof tokens);
}

static void check_index(const oracle *o, const dw_series_index *index)
{
    char text[32];
    dw_error err = {.message = ""};
    dw_snapshot_file *file = NULL;
    const dw_series_contents *contents = dw_series_index_contents(index);
    const dw_snapshot_known known = {.index = index};
    assert_int_equal(contents->place_count, o->count);
    must(dw_snapshot_file_open_known(&file, o->list[o->count - 1], 0, &known, &err), &err);
    assert_string_equal(dw_snapshot_file_identity(file), o->known[o->count - 1]);
    assert_string_equal(dw_snapshot_file_meta(file, "module"), MODULE);
    (void)snprintf(text, sizeof text, "{\"a\":%d}", o->settings);
    if (o->settings < 0) {
        assert_null(dw_snapshot_file_meta(file, "settings"));
    } else {
        assert_string_equal(dw_snapshot_file_meta(file, "settings"), text);
    }
    check_blocks(o, file);
    check_parts(o, file);
    dw_snapshot_file_close(file);
}

static void test_series_index_holds_the_newest(void **state)
{
    static oracle o;
    (void)state;
    for (int round = 0; round < 12; round++) {
        dw_series_index *index = NULL;
        dw_series_index *again = NULL;
        size_t count = 0;
        dw_error err = {.message = ""};
        write_series(&o, 1 + chance(SNAPSHOTS_MAX));
        must(dw_series_index_create(&index, o.list, o.known, o.count, &err), &err);
        check_index(&o, index);
        const void *bytes = dw_series_index_bytes(index, &count);
        must(dw_series_index_read(&again, bytes, count, &err), &err);
        check_index(&o, again);
        dw_series_index_unref(dw_series_index_ref(again));
        dw_series_index_unref(index);
        dw_series_index_unref(again);
    }
}

/* Any byte that differs is found; with a hash that fits, what is said is checked all the same. */
static void test_series_index_damaged(void **state)
{
    static oracle o;
    dw_series_index *index = NULL;
    size_t count = 0;
    size_t refused = 0;
    dw_error err = {.message = ""};
    (void)state;
    write_series(&o, 6);
    must(dw_series_index_create(&index, o.list, o.known, o.count, &err), &err);
    const void *bytes = dw_series_index_bytes(index, &count);
    unsigned char *copy = dw_alloc(count, 1);
    for (int i = 0; i < 4000; i++) {
        dw_series_index *read = NULL;
        dw_snapshot_file *file = NULL;
        size_t length = chance(8) == 0 ? chance((uint32_t)count) : count;
        memcpy(copy, bytes, count);
        for (uint32_t k = 1 + chance(3); k > 0; k--) {
            copy[chance((uint32_t)count)] ^= (unsigned char)(1 + chance(255));
        }
        if (i % 2 == 0 && memcmp(copy, bytes, count) != 0) {
            assert_int_equal(dw_series_index_read(&read, copy, length, &err), DW_E_FORMAT);
            continue;
        }
        if (length > 24) {
            dw_hash128_of(copy + 8, copy + 24, length - 24);
        }
        if (dw_series_index_read(&read, copy, length, &err) == DW_OK) {
            const dw_snapshot_known known = {.index = read};
            const dw_status status = dw_snapshot_file_open_known(&file, o.list[5], 0, &known, &err);
            assert_true(status == DW_OK || status == DW_E_FORMAT || status == DW_E_LIMIT);
            refused += status != DW_OK;
        } else {
            refused++;
        }
        dw_snapshot_file_close(file);
        dw_series_index_unref(read);
    }
    assert_true(refused > 100);
    dw_free(copy);
    dw_series_index_unref(index);
}

/* What is no delta of the same module has no place in one; nor does one outlive its file's end. */
static void test_series_index_refuses(void **state)
{
    static oracle o;
    dw_series_index *index = NULL;
    dw_snapshot_file *file = NULL;
    dw_error err = {.message = ""};
    (void)state;
    write_series(&o, 5);
    must(dw_series_index_create(&index, o.list, o.known, o.count, &err), &err);
    const dw_series_contents *contents = dw_series_index_contents(index);
    const dw_snapshot_known known = {.index = index};
    assert_int_equal(dw_snapshot_file_open_known(&file, o.list[3], 0, &known, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "the last is not at"));
    assert_int_equal(truncate(series, (off_t)contents->places[2].begin), 0);
    assert_int_equal(dw_snapshot_file_open_known(&file, o.list[4], 0, &known, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "00002.series"));
    dw_series_index_unref(index);
    assert_int_equal(dw_series_index_create(&index, o.list, o.known, o.count, &err), DW_E_FORMAT);
    o.list[0] = "/nowhere/1.series/0+100";
    assert_int_equal(dw_series_index_create(&index, o.list, o.known, 1, &err), DW_E_NOT_FOUND);
}

/* Another file in the series' place, as long as it: of one like it no index is made, and with that
 * of the series it is opened as what it is. */
static void test_series_index_knows_its_series(void **state)
{
    static oracle o;
    static oracle other;
    dw_series_index *index = NULL;
    dw_snapshot_file *file = NULL;
    dw_error err = {.message = ""};
    (void)state;
    const uint64_t before = seed;
    write_series(&o, 6);
    must(dw_series_index_create(&index, o.list, o.known, o.count, &err), &err);
    seed = before; /* so that all is where it was */
    base = "ffeeddccbbaa99887766554433221100";
    write_series(&other, 6);
    base = BASE;
    assert_string_equal(other.list[5], o.list[5]);
    const dw_snapshot_known known = {.index = index};
    must(dw_snapshot_file_open_known(&file, o.list[5], 0, &known, &err), &err);
    assert_int_equal(dw_snapshot_file_check_identity(file, other.known[5], &err), DW_OK);
    assert_int_equal(dw_snapshot_file_check_identity(file, o.known[5], &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, o.known[5]));
    assert_non_null(strstr(err.message, other.known[5]));
    dw_snapshot_file_close(file);
    dw_series_index_unref(index);
    for (size_t i = 0; i < 6; i++) { /* wherever it differs */
        other.known[i] = o.known[i];
        assert_int_equal(dw_series_index_create(&index, other.list, other.known, other.count, &err),
                         DW_E_FORMAT);
        assert_non_null(strstr(err.message, "it is snapshot"));
        other.known[i] = other.identities[i];
    }
}

static int open_folder(void **state)
{
    (void)state;
    const char *text = getenv("DW_TEST_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(series, sizeof series, "%s/00000002.series", folder);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    (void)unlink(series);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_index_holds_the_newest),
        cmocka_unit_test(test_series_index_damaged),
        cmocka_unit_test(test_series_index_refuses),
        cmocka_unit_test(test_series_index_knows_its_series),
    };
    return cmocka_run_group_tests_name("indexes of series", tests, open_folder, close_folder);
}
