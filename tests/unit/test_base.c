/* Errors, sizes, allocation and handles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/checked.h"
#include "base/hash.h"
#include "base/os.h"
#include "support.h"
#include "wasm/handle_table.h"

static void test_status_names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(dw_status_name(DW_E_ALIGN), "DW_E_ALIGN");
    assert_string_equal(dw_status_text(DW_OK), "ok");
    assert_int_equal(dw_status_http(DW_E_NOT_FOUND), 404);
    assert_string_equal(dw_status_name((dw_status)-9999), "DW_E_?");
    assert_string_equal(dw_status_text((dw_status)-9999), "unknown status");
}

static void test_fail_formats_one_line(void **state)
{
    (void)state;
    dw_error error;
    assert_int_equal(dw_fail(&error, DW_E_BUSY, "queue: %d waiting\nlimit %d", 7, 5), DW_E_BUSY);
    assert_int_equal(error.code, DW_E_BUSY);
    assert_string_equal(error.message, "queue: 7 waiting limit 5");
    assert_int_equal(dw_fail(NULL, DW_E_ARG, "nobody listens"), DW_E_ARG);
    assert_int_equal(dw_fail_within(&error, DW_E_BUSY, "actor %d", 3), DW_E_BUSY);
    assert_string_equal(error.message, "actor 3: queue: 7 waiting limit 5");
}

static void test_fail_cuts_long_messages(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    dw_error error;
    (void)dw_fail(&error, DW_E_ARG, "%s", text);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

/* A name of characters of three bytes, cut at 100 bytes, ends within its 34th. */
static void test_fail_tells_whole_characters(void **state)
{
    (void)state;
    char name[3 * 40 + 1] = "";
    char wanted[160];
    for (size_t i = 0; i < 40; i++) {
        memcpy(name + 3 * i, "\xe6\x97\xa5", 3);
    }
    (void)snprintf(wanted, sizeof wanted, "The model '%.99s?' does not exist", name);
    dw_error error;
    (void)dw_fail(&error, DW_E_NOT_FOUND, "The model '%.100s' does not exist", name);
    assert_string_equal(error.message, wanted);
    (void)dw_fail(&error, DW_E_ARG, "%s", "\xc3\xa9 \xe9 \xed\xa0\x80 \xf0\x9f\x8c\x8a\t\xf0\x9f");
    assert_string_equal(error.message, "\xc3\xa9 ? ??? \xf0\x9f\x8c\x8a ??");
}

static void test_checked_sizes_overflow(void **state)
{
    (void)state;
    size_t out;
    assert_true(dw_add_size(&out, 3, 4) && out == 7);
    assert_false(dw_add_size(&out, SIZE_MAX, 1));
    assert_false(dw_mul_size(&out, SIZE_MAX / 2, 3));
    assert_true(dw_round_up(&out, 4097, 4096) && out == 8192);
    assert_true(dw_round_up(&out, 4096, 4096) && out == 4096);
    assert_false(dw_round_up(&out, SIZE_MAX - 1, 4096));
}

static void test_alloc_fails_when_asked(void **state)
{
    (void)state;
    assert_null(dw_alloc(SIZE_MAX / 2, 3));
    dw_alloc_fail_after(1);
    void *first = dw_alloc(1, 8);
    void *second = dw_alloc(1, 8);
    dw_alloc_fail_after(-1);
    void *third = dw_alloc(1, 8);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    dw_free(first);
    dw_free(third);
}

static void test_arrays_grow_by_doubling(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t capacity = 0;
    uint64_t before = dw_alloc_count();
    for (size_t i = 0; i < 1000; i++) {
        assert_true(DW_ARRAY_RESERVE(items, capacity, i + 1, SIZE_MAX));
        items[i] = (uint32_t)i;
    }
    assert_int_equal(capacity, 1024);
    assert_int_equal(dw_alloc_count() - before, 8);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(items[i], i);
    }
    assert_true(DW_ARRAY_RESERVE(items, capacity, 5000, SIZE_MAX)); /* many at once */
    assert_int_equal(capacity, 5000);
    dw_free(items);
}

static void test_arrays_refuse_what_is_too_much(void **state)
{
    (void)state;
    uint64_t *items = NULL;
    size_t capacity = 0;
    assert_false(DW_ARRAY_RESERVE(items, capacity, 6, 5));
    assert_true(DW_ARRAY_RESERVE(items, capacity, 1, 5)); /* no more than the limit */
    assert_int_equal(capacity, 5);
    assert_true(DW_ARRAY_RESERVE(items, capacity, 5, 5));
    uint64_t *was = items;
    assert_false(DW_ARRAY_RESERVE(items, capacity, SIZE_MAX / 4, SIZE_MAX)); /* bytes overflow */
    dw_alloc_fail_after(0);
    assert_false(DW_ARRAY_RESERVE(items, capacity, 6, SIZE_MAX));
    dw_alloc_fail_after(-1);
    assert_ptr_equal(items, was);
    assert_int_equal(capacity, 5);
    dw_free(items);
}

static void test_handles_do_not_outlive_their_object(void **state)
{
    (void)state;
    dw_handle_table table;
    dw_handle_table_init(&table, 3);
    int things[4];
    int32_t handles[4] = {0};
    dw_error error;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dw_handle_add(&table, 1, "thing", &things[i], &handles[i], &error), DW_OK);
        assert_true(handles[i] > 0);
    }
    assert_int_equal(dw_handle_add(&table, 1, "thing", &things[3], &handles[3], &error),
                     DW_E_LIMIT);
    assert_string_equal(error.message, "thing: 3 are open, limit 3 (handles)");
    assert_ptr_equal(dw_handle_get(&table, 1, "thing", handles[1], &error), &things[1]);
    assert_null(dw_handle_get(&table, 2, "other thing", handles[1], &error));
    assert_int_equal(error.code, DW_E_HANDLE);
    assert_ptr_equal(dw_handle_take(&table, 1, "thing", handles[1], &error), &things[1]);
    assert_null(dw_handle_get(&table, 1, "thing", handles[1], &error));
    assert_int_equal(dw_handle_add(&table, 1, "thing", &things[3], &handles[3], &error), DW_OK);
    assert_int_not_equal(handles[3], handles[1]); /* the same slot, another generation */
    assert_null(dw_handle_get(&table, 1, "thing", handles[1], &error));
    const int32_t bad[] = {0, -1, INT32_MIN, INT32_MAX, 1, 0x10000 + 3};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(dw_handle_get(&table, 1, "thing", bad[i], &error));
    }
    dw_handle_table_release(&table);
}

static void test_handles_keep_positive_over_many_generations(void **state)
{
    (void)state;
    dw_handle_table table;
    dw_handle_table_init(&table, 1);
    int thing;
    for (int i = 0; i < 70000; i++) {
        int32_t handle = 0;
        assert_int_equal(dw_handle_add(&table, 1, "thing", &thing, &handle, NULL), DW_OK);
        assert_true(handle > 0);
        assert_ptr_equal(dw_handle_take(&table, 1, "thing", handle, NULL), &thing);
    }
    dw_handle_table_release(&table);
}

static void test_os_reads_files_with_a_limit(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    dw_error error;
    char path[] = "/tmp/driftwood-test-XXXXXX";
    int made = mkstemp(path);
    assert_true(made >= 0);
    assert_int_equal(write(made, "twelve bytes", 12), 12);
    (void)close(made);
    assert_int_equal(dw_os_read_file("/nonexistent/file", 10, &text, &bytes, &error),
                     DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nonexistent/file"));
    assert_int_equal(dw_os_read_file(path, 11, &text, &bytes, &error), DW_E_LIMIT);
    assert_null(text);
    assert_int_equal(dw_os_read_file(path, 12, &text, &bytes, &error), DW_OK);
    assert_int_equal(bytes, 12);
    assert_string_equal(text, "twelve bytes");
    dw_free(text);
    void *mapped = NULL;
    int fd = -1;
    assert_int_equal(dw_os_map_file("/", &mapped, &bytes, &fd, &error), DW_E_IO);
    assert_int_equal(dw_os_map_file(path, &mapped, &bytes, &fd, &error), DW_OK);
    assert_int_equal(bytes, 12);
    assert_memory_equal(mapped, "twelve", 6);
    dw_os_unmap(mapped, bytes);
    dw_os_close(fd);
    assert_int_equal(unlink(path), 0);
}

static void test_os_tells_plausible_figures(void **state)
{
    (void)state;
    size_t page = dw_os_page_bytes();
    assert_true(page == 4096 || page == 16384 || page == 65536);
    assert_true(dw_os_rss_bytes() > 0);
    assert_true(dw_os_core_count() >= 1);
    uint64_t before = dw_os_clock_ns();
    assert_true(dw_os_clock_ns() >= before);
}

/* Vectors of the xxHash repository (XXH3, seed 0) and of FIPS 180-4. */
static void test_hashes_are_the_known_ones(void **state)
{
    (void)state;
    char text[DW_SHA256_TEXT];
    dw_hash128_text(text, NULL, 0);
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
    dw_hash128_text(text, "abc", 3);
    assert_string_equal(text, "06b05ab6733a618578af5f94892f3950");
    dw_sha256_text(text, NULL, 0);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    dw_sha256_text(text, "abc", 3);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_hashes_in_pieces_are_those_of_the_whole(void **state)
{
    (void)state;
    static uint8_t data[5000];
    uint8_t whole[DW_HASH128_BYTES];
    uint8_t pieces[DW_HASH128_BYTES];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 131 >> 3);
    }
    dw_hash128 *hash = dw_hash128_create();
    assert_non_null(hash);
    for (size_t piece = 1; piece < sizeof data; piece = piece * 3 + 1) {
        dw_hash128_reset(hash);
        for (size_t i = 0; i < sizeof data; i += piece) {
            dw_hash128_add(hash, data + i, i + piece > sizeof data ? sizeof data - i : piece);
        }
        dw_hash128_finish(hash, pieces);
        dw_hash128_of(whole, data, sizeof data);
        assert_memory_equal(whole, pieces, sizeof whole);
    }
    dw_hash128_destroy(hash);
    dw_hash128_destroy(NULL);
}

static void test_hex_reads_what_it_writes_and_nothing_else(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "00ff7", "00ff7fa", "00FF7f", "00ff7g", "00ff7f "};
    const uint8_t digest[3] = {0, 255, 127};
    uint8_t back[3];
    char text[7];
    dw_hex(text, digest, sizeof digest);
    assert_string_equal(text, "00ff7f");
    assert_true(dw_hex_parse(back, sizeof back, text));
    assert_memory_equal(back, digest, sizeof digest);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(dw_hex_parse(back, sizeof back, wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names_and_texts),
        cmocka_unit_test(test_fail_formats_one_line),
        cmocka_unit_test(test_fail_cuts_long_messages),
        cmocka_unit_test(test_fail_tells_whole_characters),
        cmocka_unit_test(test_checked_sizes_overflow),
        cmocka_unit_test(test_alloc_fails_when_asked),
        cmocka_unit_test(test_arrays_grow_by_doubling),
        cmocka_unit_test(test_arrays_refuse_what_is_too_much),
        cmocka_unit_test(test_handles_do_not_outlive_their_object),
        cmocka_unit_test(test_handles_keep_positive_over_many_generations),
        cmocka_unit_test(test_os_reads_files_with_a_limit),
        cmocka_unit_test(test_os_tells_plausible_figures),
        cmocka_unit_test(test_hashes_are_the_known_ones),
        cmocka_unit_test(test_hashes_in_pieces_are_those_of_the_whole),
        cmocka_unit_test(test_hex_reads_what_it_writes_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
