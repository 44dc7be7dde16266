/* Lists of extents of files: how they join, are cut and copied, and what is read and mapped. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "memory/file_extents.h"
#include "support.h"

#define PAGES 6u

static size_t page(void)
{
    return dw_os_page_bytes();
}

/* A file whose page i is all `first` + i. */
static dw_extent_file *make_file(unsigned char first)
{
    dw_extent_file *file = NULL;
    void *view = NULL;
    assert_int_equal(dw_extent_file_create(&file, "test", PAGES * page(), NULL), DW_OK);
    assert_int_equal(dw_extent_file_map(file, 0, PAGES * page(), &view, NULL), DW_OK);
    for (size_t i = 0; i < PAGES; i++) {
        memset((unsigned char *)view + i * page(), first + (int)i, page());
    }
    dw_os_unmap(view, PAGES * page());
    return file;
}

static void add(dw_file_extents *extents, size_t start, size_t count, dw_extent_file *file,
                size_t from)
{
    dw_file_extent extent = {start * page(), count * page(), file, from * page()};
    assert_int_equal(dw_file_extents_add(extents, &extent, NULL), DW_OK);
}

/* The bytes of page `index`, all the same; 0 for what no extent has. */
static int read_page(const dw_file_extents *extents, size_t index)
{
    unsigned char some[2] = {0xff, 0xff};
    assert_int_equal(dw_file_extents_read(extents, (index + 1) * page() - 1, 1, &some[0], NULL),
                     DW_OK);
    assert_int_equal(dw_file_extents_read(extents, index * page(), 1, &some[1], NULL), DW_OK);
    assert_int_equal(some[0], some[1]);
    return some[0];
}

static void test_file_extents_join(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_extent_file *b = make_file(101);
    dw_file_extents extents = {0};
    assert_int_equal(dw_file_extents_end(&extents), 0);
    add(&extents, 0, 1, a, 0);
    add(&extents, 1, 2, a, 1); /* goes on where the last ends, in the file too */
    assert_int_equal(extents.count, 1);
    add(&extents, 3, 1, a, 4); /* not in the file */
    add(&extents, 5, 1, a, 5); /* not in the list */
    add(&extents, 6, 1, b, 0);
    add(&extents, 7, 0, b, 3); /* nothing */
    assert_int_equal(extents.count, 4);
    assert_int_equal(dw_file_extents_end(&extents), 7 * page());
    const int wanted[] = {1, 2, 3, 5, 0, 6, 101, 0};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_int_equal(read_page(&extents, i), wanted[i]);
    }
    dw_extent_file_unref(a); /* the list holds them */
    dw_extent_file_unref(b);
    assert_int_equal(read_page(&extents, 6), 101);
    dw_file_extents_release(&extents);
    assert_null(extents.list);
}

static void test_file_extents_find(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_file_extents extents = {0};
    assert_int_equal(dw_file_extents_find(&extents, 0), 0);
    add(&extents, 1, 1, a, 0);
    add(&extents, 3, 2, a, 2);
    assert_int_equal(dw_file_extents_find(&extents, 0), 0);
    assert_int_equal(dw_file_extents_find(&extents, 2 * page() - 1), 0);
    assert_int_equal(dw_file_extents_find(&extents, 2 * page()), 1);
    assert_int_equal(dw_file_extents_find(&extents, 5 * page() - 1), 1);
    assert_int_equal(dw_file_extents_find(&extents, 5 * page()), 2);
    dw_file_extents_release(&extents);
    dw_extent_file_unref(a);
}

static void test_file_extents_copy_and_cut(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_file_extents whole = {0};
    dw_file_extents part = {0};
    add(&whole, 0, 3, a, 0);
    add(&whole, 4, 2, a, 4);
    assert_int_equal(dw_file_extents_copy(&part, &whole, page(), 5 * page(), NULL), DW_OK);
    const int wanted[] = {0, 2, 3, 0, 5, 0};
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(read_page(&part, i), wanted[i]);
    }
    dw_file_extents_cut(&part, 4 * page()); /* in a gap's end: the last goes, the first stays */
    assert_int_equal(part.count, 1);
    assert_int_equal(dw_file_extents_end(&part), 3 * page());
    dw_file_extents_cut(&part, 2 * page());
    assert_int_equal(dw_file_extents_end(&part), 2 * page());
    assert_int_equal(read_page(&part, 1), 2);
    dw_file_extents_cut(&part, 9 * page()); /* behind the end: as it was */
    assert_int_equal(dw_file_extents_end(&part), 2 * page());
    dw_file_extents_cut(&part, 0);
    assert_int_equal(part.count, 0);
    dw_file_extents_release(&part);
    dw_file_extents_release(&whole);
    dw_extent_file_unref(a);
}

/* What is mapped is shared until it is written to, and the file keeps its bytes. */
static void test_file_extents_map(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_extent_file *b = make_file(101);
    dw_file_extents extents = {0};
    dw_region *region = NULL;
    dw_region_options options = {
        .reserve_bytes = PAGES * page(), .commit_bytes = PAGES * page(), .label = "test"};
    assert_int_equal(dw_region_create(&region, &options, NULL), DW_OK);
    unsigned char *base = dw_region_base(region);
    memset(base, 0x77, PAGES * page());
    add(&extents, 0, 2, a, 0);
    add(&extents, 3, 1, b, 0);
    /* A part of b's second and third page: it can only be read. */
    dw_file_extent odd = {4 * page(), page(), b, page() + 8};
    assert_int_equal(dw_file_extents_add(&extents, &odd, NULL), DW_OK);
    assert_int_equal(dw_file_extents_map(&extents, b, region, NULL), DW_OK);
    assert_int_equal(base[0], 0x77); /* only b's */
    assert_int_equal(base[3 * page()], 101);
    assert_int_equal(base[4 * page()], 102);
    assert_int_equal(base[5 * page() - 1], 103);
    assert_int_equal(dw_file_extents_map(&extents, NULL, region, NULL), DW_OK);
    assert_int_equal(base[0], 1);
    assert_int_equal(base[2 * page() - 1], 2);
    assert_int_equal(base[2 * page()], 0x77); /* between them */
    base[0] = 9;
    assert_int_equal(read_page(&extents, 0), 1);
    dw_region_destroy(region);
    dw_file_extents_release(&extents);
    dw_extent_file_unref(a);
    dw_extent_file_unref(b);
}

/* A file that was opened by descriptor outlives it. A retired one gives back what is behind. */
static void test_file_extents_files(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_extent_file *again = NULL;
    int fd = dup(dw_extent_file_fd(a));
    assert_true(fd >= 0);
    assert_int_equal(dw_extent_file_open(&again, fd, NULL), DW_OK);
    assert_int_equal(close(fd), 0);
    assert_int_not_equal(dw_extent_file_open(&(dw_extent_file *){NULL}, fd, NULL), DW_OK);
    dw_file_extents extents = {0};
    add(&extents, 0, 1, a, 0);
    dw_extent_file_retire(a, page());
    uint64_t bytes = 0;
    assert_int_equal(dw_os_file_bytes(dw_extent_file_fd(again), &bytes, NULL), DW_OK);
    assert_int_equal(bytes, page());
    assert_int_equal(read_page(&extents, 0), 1);
    dw_file_extents_release(&extents);
    dw_extent_file_unref(again);
    dw_extent_file_unref(NULL);
}

/* Without memory nothing changes, and nobody holds the file. */
static void test_file_extents_no_memory(void **state)
{
    (void)state;
    dw_extent_file *a = make_file(1);
    dw_extent_file *none = a;
    dw_file_extents extents = {0};
    dw_file_extent extent = {0, page(), a, 0};
    dw_alloc_fail_after(0);
    assert_int_equal(dw_extent_file_create(&none, "test", page(), NULL), DW_E_MEMORY);
    assert_null(none);
    dw_alloc_fail_after(0);
    assert_int_equal(dw_file_extents_add(&extents, &extent, NULL), DW_E_MEMORY);
    dw_alloc_fail_after(-1);
    assert_int_equal(extents.count, 0);
    add(&extents, 0, 1, a, 0);
    dw_file_extents_release(&extents);
    dw_extent_file_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_extents_join),
        cmocka_unit_test(test_file_extents_find),
        cmocka_unit_test(test_file_extents_copy_and_cut),
        cmocka_unit_test(test_file_extents_map),
        cmocka_unit_test(test_file_extents_files),
        cmocka_unit_test(test_file_extents_no_memory),
    };
    return cmocka_run_group_tests_name("file_extents", tests, NULL, NULL);
}
