/* Link 1: regions. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "memory/region.h"
#include "support.h"

#define GIB ((size_t)1 << 30)

static dw_region *make(size_t reserve, size_t commit, size_t limit, bool shared)
{
    dw_region *region = NULL;
    dw_region_options options = {.reserve_bytes = reserve,
                                 .commit_bytes = commit,
                                 .limit_bytes = limit,
                                 .label = "test",
                                 .shared = shared};
    dw_error error = {0};
    dw_status status = dw_region_create(&region, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return region;
}

static void grows_in_place(bool shared)
{
    size_t page = dw_os_page_bytes();
    dw_region *region = make(4 * GIB, page, 0, shared);
    unsigned char *base = dw_region_base(region);
    assert_int_equal((uintptr_t)base % page, 0);
    memset(base, 0xab, page);
    for (size_t bytes = page; bytes <= 64 << 20; bytes *= 4) {
        uint64_t generation = dw_region_generation(region);
        assert_int_equal(dw_region_commit(region, bytes + 1, NULL), DW_OK);
        assert_true(dw_region_generation(region) > generation);
        assert_ptr_equal(dw_region_base(region), base);
        assert_true(dw_region_committed_bytes(region) >= bytes + 1);
        assert_int_equal(dw_region_committed_bytes(region) % page, 0);
        assert_int_equal(base[bytes], 0); /* new pages are zero */
        base[bytes] = 1;
        assert_int_equal(base[page - 1], 0xab); /* old ones keep their bytes */
    }
    uint64_t generation = dw_region_generation(region);
    assert_int_equal(dw_region_commit(region, 1, NULL), DW_OK); /* never shrinks */
    assert_int_equal(dw_region_generation(region), generation);
    dw_region_destroy(region);
}

static void test_region_grows_without_moving(void **state)
{
    (void)state;
    grows_in_place(false);
    grows_in_place(true);
}

static void test_region_touches_only_what_is_used(void **state)
{
    (void)state;
    dw_region *region = make(4 * GIB, 256 << 20, 0, false);
    (void)dw_os_rss_bytes(); /* the first reading brings in its own code */
    size_t before = dw_os_rss_bytes();
    volatile unsigned char *base = dw_region_base(region);
    for (size_t i = 0; i < 4 << 20; i += dw_os_page_bytes()) {
        base[i] = 1;
    }
    size_t grown = dw_os_rss_bytes() - before;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    size_t slack = 32 << 20; /* the sanitizer's shadow pages come on top */
#else
    size_t slack = 65536;
#endif
    assert_in_range(grown, (4 << 20) - 65536, (4 << 20) + slack);
    dw_region_destroy(region);
}

static void test_region_refuses_beyond_its_limit(void **state)
{
    (void)state;
    size_t page = dw_os_page_bytes();
    dw_region *region = make(16 * page, page, 4 * page, false);
    dw_error error;
    assert_int_equal(dw_region_commit(region, 4 * page + 1, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "limit"));
    assert_int_equal(dw_region_committed_bytes(region), page);
    assert_int_equal(dw_region_commit(region, 4 * page, &error), DW_OK);
    dw_region_destroy(region);
}

static void test_region_refuses_bad_sizes(void **state)
{
    (void)state;
    size_t page = dw_os_page_bytes();
    const dw_region_options bad[] = {
        {.reserve_bytes = 0, .label = "none"},
        {.reserve_bytes = SIZE_MAX, .label = "overflow"},
        {.reserve_bytes = page, .commit_bytes = 2 * page, .label = "commit"},
        {.reserve_bytes = page, .limit_bytes = 3 * page, .label = "limit"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dw_region *region = (dw_region *)&region;
        dw_error error;
        assert_int_equal(dw_region_create(&region, &bad[i], &error), DW_E_ARG);
        assert_null(region);
        assert_non_null(strstr(error.message, bad[i].label));
    }
    dw_region *region = NULL;
    const dw_region_options absurd = {.reserve_bytes = (size_t)1 << 60, .label = "absurd"};
    assert_int_equal(dw_region_create(&region, &absurd, NULL), DW_E_MEMORY);
}

static void test_region_begins_at_a_multiple(void **state)
{
    (void)state;
    const size_t align = 4 << 20;
    for (int i = 0; i < 8; i++) { /* wherever the system puts them */
        const dw_region_options options = {.reserve_bytes = align + (size_t)i * dw_os_page_bytes(),
                                           .align_bytes = align,
                                           .label = "aligned"};
        dw_region *regions[2];
        assert_int_equal(dw_region_create(&regions[0], &options, NULL), DW_OK);
        assert_int_equal(dw_region_create(&regions[1], &options, NULL), DW_OK);
        for (int k = 0; k < 2; k++) {
            unsigned char *base = dw_region_base(regions[k]);
            assert_int_equal((uintptr_t)base % align, 0);
            assert_int_equal(dw_region_commit(regions[k], options.reserve_bytes, NULL), DW_OK);
            base[options.reserve_bytes - 1] = 1;
            assert_int_equal(base[0], 0);
        }
        dw_region_destroy(regions[0]);
        dw_region_destroy(regions[1]);
    }
}

static void test_region_knows_what_it_holds(void **state)
{
    (void)state;
    size_t page = dw_os_page_bytes();
    dw_region *region = make(16 * page, 2 * page, 0, false);
    unsigned char *base = dw_region_base(region);
    assert_true(dw_region_holds(region, base, 2 * page));
    assert_true(dw_region_holds(region, base + 2 * page, 0));
    assert_false(dw_region_holds(region, base, 2 * page + 1));
    assert_false(dw_region_holds(region, base + 1, 2 * page));
    assert_false(dw_region_holds(region, base + 1, SIZE_MAX));
    assert_false(dw_region_holds(region, base - 1, 1));
    dw_region_destroy(region);
}

/* A file of `pages` pages, page i full of the byte i + 1. */
static FILE *make_file(size_t pages)
{
    size_t page = dw_os_page_bytes();
    FILE *file = tmpfile();
    assert_non_null(file);
    for (size_t i = 0; i < pages * page; i++) {
        assert_int_not_equal(fputc((int)(i / page + 1), file), EOF);
    }
    assert_int_equal(fflush(file), 0);
    return file;
}

static void test_region_maps_a_file_over(void **state)
{
    (void)state;
    size_t page = dw_os_page_bytes();
    dw_region *region = make(16 * page, 6 * page, 0, false);
    unsigned char *base = dw_region_base(region);
    memset(base, 0xee, 6 * page);
    FILE *file = make_file(3);
    assert_int_equal(dw_region_map_file(region, 2 * page, fileno(file), page, 2 * page, NULL),
                     DW_OK);
    assert_int_equal(base[2 * page - 1], 0xee);
    assert_int_equal(base[2 * page], 2);
    assert_int_equal(base[3 * page], 3);
    assert_int_equal(base[4 * page], 0xee);
    base[2 * page] = 77; /* private: the file keeps its own */
    unsigned char on_disk = 0;
    assert_int_equal(pread(fileno(file), &on_disk, 1, (off_t)page), 1);
    assert_int_equal(on_disk, 2);
    dw_error error;
    assert_int_equal(dw_region_map_file(region, 1, fileno(file), 0, page, &error), DW_E_ARG);
    assert_int_equal(dw_region_map_file(region, 5 * page, fileno(file), 0, 2 * page, &error),
                     DW_E_RANGE);
    dw_region_pin(region);
    assert_int_equal(dw_region_map_file(region, 0, fileno(file), 0, page, &error), DW_E_STATE);
    dw_region_unpin(region);
    assert_int_equal(dw_region_map_file(region, 0, fileno(file), 0, page, &error), DW_OK);
    assert_int_equal(base[0], 1);
    (void)fclose(file);
    dw_region_destroy(region);
}

static void test_region_survives_failed_allocations(void **state)
{
    (void)state;
    dw_region *region = NULL;
    dw_region_options options = {.reserve_bytes = 1 << 20, .label = "test"};
    dw_alloc_fail_after(0);
    dw_status status = dw_region_create(&region, &options, NULL);
    dw_alloc_fail_after(-1);
    assert_int_equal(status, DW_E_MEMORY);
    assert_null(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region_grows_without_moving),
        cmocka_unit_test(test_region_touches_only_what_is_used),
        cmocka_unit_test(test_region_refuses_beyond_its_limit),
        cmocka_unit_test(test_region_refuses_bad_sizes),
        cmocka_unit_test(test_region_begins_at_a_multiple),
        cmocka_unit_test(test_region_knows_what_it_holds),
        cmocka_unit_test(test_region_maps_a_file_over),
        cmocka_unit_test(test_region_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
