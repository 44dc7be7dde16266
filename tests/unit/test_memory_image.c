/* Images of linear memories: what regions share, and that nobody sees another's writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "memory/memory_image.h"
#include "support.h"

#define WASM_PAGE ((size_t)65536)
#define PAGES_MAX 64
#define TWINS 12

static dw_region *make(size_t bytes)
{
    dw_region *region = NULL;
    dw_region_options options = {
        .reserve_bytes = PAGES_MAX * WASM_PAGE, .commit_bytes = bytes, .label = "test"};
    assert_int_equal(dw_region_create(&region, &options, NULL), DW_OK);
    return region;
}

static uint64_t next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static dw_memory_image *take(dw_region *region, dw_memory_image *base, size_t *written)
{
    dw_memory_image *image = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_memory_image_take(&image, region, base, written, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return image;
}

static void test_memory_image_shares_what_is_unwritten(void **state)
{
    (void)state;
    dw_region *parent = make(16 * WASM_PAGE);
    dw_region *child = make(16 * WASM_PAGE);
    unsigned char *bytes = dw_region_base(parent);
    size_t page = dw_os_page_bytes();
    size_t written = 0;
    memset(bytes + 3 * page, 1, 2 * page);
    bytes[15 * WASM_PAGE] = 9;
    assert_int_equal(bytes[100 * page], 0); /* reading makes no page of its own */
    dw_memory_image *first = take(parent, NULL, &written);
    assert_int_equal(written, 3 * page);
    assert_int_equal(dw_memory_image_map(first, child, NULL), DW_OK);
    assert_memory_equal(dw_region_base(child), bytes, 16 * WASM_PAGE);
    /* Nothing written: the same image once more, although everything was read. */
    dw_memory_image *again = take(parent, first, &written);
    assert_ptr_equal(again, first);
    assert_int_equal(written, 0);
    /* One byte: one page. */
    bytes[4 * page + 5] = 77;
    ((unsigned char *)dw_region_base(child))[0] = 33;
    dw_memory_image *second = take(parent, first, &written);
    assert_int_equal(written, page);
    assert_int_equal(((unsigned char *)dw_region_base(child))[4 * page + 5], 1);
    assert_int_equal(bytes[0], 0);
    uint32_t *blocks = NULL;
    size_t count = 0;
    assert_int_equal(dw_memory_image_changes(second, first, &blocks, &count, NULL), DW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(blocks[0], (4 * page + 5) / DW_IMAGE_BLOCK_BYTES);
    dw_free(blocks);
    dw_memory_image_unref(again);
    dw_memory_image_unref(first);
    assert_int_equal(bytes[4 * page + 5], 77); /* the mapping holds its file */
    dw_memory_image_unref(second);
    dw_region_destroy(parent);
    dw_region_destroy(child);
}

typedef struct twin {
    dw_region *region;
    dw_memory_image *image;
    unsigned char *expected; /* [PAGES_MAX * WASM_PAGE] */
} twin;

static void write_some(twin *t, uint64_t *seed)
{
    size_t committed = dw_region_committed_bytes(t->region);
    size_t count = 1 + next(seed) % 40;
    for (size_t i = 0; i < count; i++) {
        size_t at = next(seed) % committed;
        size_t bytes = 1 + next(seed) % (next(seed) % 8 == 0 ? 60000 : 9);
        bytes = bytes < committed - at ? bytes : committed - at;
        int value = (int)(next(seed) % 3 == 0 ? 0 : next(seed) % 256);
        memset((unsigned char *)dw_region_base(t->region) + at, value, bytes);
        memset(t->expected + at, value, bytes);
    }
}

static void fork_twin(twin *parent, twin *child)
{
    dw_memory_image *image = take(parent->region, parent->image, NULL);
    dw_memory_image_unref(parent->image);
    parent->image = image;
    if (child->region != NULL) {
        dw_region_destroy(child->region);
        dw_memory_image_unref(child->image);
    } else {
        child->expected = dw_alloc(PAGES_MAX, WASM_PAGE);
    }
    child->region = make(dw_memory_image_bytes(image));
    child->image = dw_memory_image_ref(image);
    assert_int_equal(dw_memory_image_map(image, child->region, NULL), DW_OK);
    memcpy(child->expected, parent->expected, PAGES_MAX * WASM_PAGE);
}

static void check_twin(const twin *t)
{
    assert_memory_equal(dw_region_base(t->region), t->expected,
                        dw_region_committed_bytes(t->region));
}

static void random_forks(uint64_t seed)
{
    twin twins[TWINS] = {{.region = NULL}};
    twins[0].region = make(2 * WASM_PAGE);
    twins[0].expected = dw_alloc(PAGES_MAX, WASM_PAGE);
    for (size_t step = 0; step < 300; step++) {
        twin *t = &twins[next(&seed) % TWINS];
        if (t->region == NULL) {
            continue;
        }
        size_t committed = dw_region_committed_bytes(t->region);
        switch (next(&seed) % 8) {
        case 0:
            if (committed < PAGES_MAX * WASM_PAGE) {
                assert_int_equal(dw_region_commit(t->region, committed + WASM_PAGE, NULL), DW_OK);
            }
            break;
        case 1:
        case 2: {
            twin *child = &twins[next(&seed) % TWINS];
            if (child != t) {
                fork_twin(t, child);
            }
            break;
        }
        default:
            write_some(t, &seed);
        }
        check_twin(t);
    }
    for (size_t i = 0; i < TWINS; i++) {
        if (twins[i].region != NULL) {
            check_twin(&twins[i]);
            dw_region_destroy(twins[i].region);
            dw_memory_image_unref(twins[i].image);
            dw_free(twins[i].expected);
        }
    }
}

static void test_memory_image_random_forks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        dw__memory_image_compares = seed % 3 == 0;
        random_forks(seed);
    }
    dw__memory_image_compares = false;
}

static void test_memory_image_scattered_writes_stay_few_mappings(void **state)
{
    (void)state;
    dw_region *region = make(PAGES_MAX * WASM_PAGE);
    unsigned char *bytes = dw_region_base(region);
    unsigned char *expected = dw_alloc(PAGES_MAX, WASM_PAGE);
    dw_memory_image *image = NULL;
    size_t page = dw_os_page_bytes();
    for (size_t round = 0; round < 10; round++) {
        for (size_t at = round * page; at < PAGES_MAX * WASM_PAGE; at += 16 * page) {
            bytes[at] = (unsigned char)(round + 1);
            expected[at] = (unsigned char)(round + 1);
        }
        dw_memory_image *taken = take(region, image, NULL);
        dw_memory_image_unref(image);
        image = taken;
        assert_true(dw_memory_image_extent_count(image) <= 64);
        assert_memory_equal(bytes, expected, PAGES_MAX * WASM_PAGE);
    }
    dw_region *copy = make(PAGES_MAX * WASM_PAGE);
    memset(dw_region_base(copy), 5, PAGES_MAX * WASM_PAGE); /* what was there goes */
    assert_int_equal(dw_memory_image_map(image, copy, NULL), DW_OK);
    assert_memory_equal(dw_region_base(copy), expected, PAGES_MAX * WASM_PAGE);
    dw_memory_image_unref(image);
    dw_region_destroy(copy);
    dw_region_destroy(region);
    dw_free(expected);
}

static void test_memory_image_of_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-image-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    unsigned char *bytes = dw_alloc(3, WASM_PAGE);
    for (size_t i = 0; i < 3 * WASM_PAGE; i++) {
        bytes[i] = (unsigned char)(i * 7 >> 3);
    }
    dw_region *region = make(4 * WASM_PAGE);
    const uint64_t offsets[] = {0, 65536, 100}; /* the last is read, not mapped */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dw_os_write_at(fd, offsets[i], bytes, 3 * WASM_PAGE, NULL), DW_OK);
        dw_memory_image *image = NULL;
        const dw_block_piece whole = {.count = 48, .fd = fd, .offset = offsets[i]};
        assert_int_equal(dw_memory_image_of_pieces(&image, 3 * WASM_PAGE, &whole, 1, 1, NULL),
                         DW_OK);
        assert_int_equal(dw_memory_image_map(image, region, NULL), DW_OK);
        assert_memory_equal(dw_region_base(region), bytes, 3 * WASM_PAGE);
        memset(dw_region_base(region), 0xee, 4 * WASM_PAGE); /* private: the file stays */
        unsigned char first;
        assert_int_equal(dw_memory_image_read(image, 1, 1, &first, NULL), DW_OK);
        assert_int_equal(first, bytes[1]);
        dw_memory_image_unref(image);
    }
    dw_memory_image *image = NULL;
    dw_error error;
    /* A file that ends too soon is an error, no signal later. */
    const dw_block_piece late = {.count = 16, .fd = fd, .offset = 3 * WASM_PAGE + 100};
    assert_int_equal(dw_memory_image_of_pieces(&image, WASM_PAGE, &late, 1, 1, &error), DW_E_IO);
    dw_region_pin(region);
    assert_int_equal(dw_memory_image_take(&image, region, NULL, NULL, &error), DW_E_STATE);
    dw_region_unpin(region);
    dw_region_destroy(region);
    dw_free(bytes);
    (void)close(fd);
}

#define FILES 20u /* more than an image keeps open */
#define BLOCKS (PAGES_MAX * WASM_PAGE / DW_IMAGE_BLOCK_BYTES)

typedef struct files {
    int fds[FILES];
    unsigned char *bytes; /* that each has, every third of them from byte 100 on */
} files;

static uint64_t start_of(size_t file)
{
    return file % 3 == 2 ? 100 : 0;
}

static files make_files(void)
{
    files f = {.bytes = dw_alloc(BLOCKS, DW_IMAGE_BLOCK_BYTES)};
    char path[] = "/tmp/dw-image-XXXXXX";
    for (size_t i = 0; i < BLOCKS * DW_IMAGE_BLOCK_BYTES; i++) {
        f.bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    for (size_t i = 0; i < FILES; i++) {
        memcpy(path + sizeof path - 7, "XXXXXX", 6);
        f.fds[i] = mkstemp(path);
        assert_true(f.fds[i] >= 0 && unlink(path) == 0);
        assert_int_equal(
            dw_os_write_at(f.fds[i], start_of(i), f.bytes, BLOCKS * DW_IMAGE_BLOCK_BYTES, NULL),
            DW_OK);
    }
    return f;
}

static void release_files(files *f)
{
    for (size_t i = 0; i < FILES; i++) {
        (void)close(f->fds[i]);
    }
    dw_free(f->bytes);
}

/* Pieces of up to `most` blocks, and what they come to; -> how many. */
static size_t cut(const files *f, uint32_t round, uint32_t most, dw_block_piece *pieces,
                  unsigned char *expected)
{
    size_t count = 0;
    memset(expected, 0, BLOCKS * DW_IMAGE_BLOCK_BYTES);
    for (uint32_t at = 0; at < BLOCKS;) {
        uint32_t length = 1 + (at * 31 + round * 17) % most;
        const uint32_t file = (at + round) % FILES;
        length = length < BLOCKS - at ? length : (uint32_t)BLOCKS - at;
        const uint32_t from = (at * 7) % ((uint32_t)BLOCKS - length + 1);
        if ((at + round) % 5 != 0) {
            pieces[count++] =
                (dw_block_piece){.first = at,
                                 .count = length,
                                 .fd = f->fds[file],
                                 .offset = start_of(file) + (uint64_t)from * DW_IMAGE_BLOCK_BYTES};
            memcpy(expected + (size_t)at * DW_IMAGE_BLOCK_BYTES,
                   f->bytes + (size_t)from * DW_IMAGE_BLOCK_BYTES,
                   (size_t)length * DW_IMAGE_BLOCK_BYTES);
        }
        at += length;
    }
    return count;
}

/* Pieces of several files, at pages of them or not, with holes between: the bytes that are there,
 * whatever is mapped and whatever is read, within the mappings and files that there may be. */
static void test_memory_image_of_pieces(void **state)
{
    (void)state;
    files f = make_files();
    dw_error error;
    dw_memory_image *image = NULL;
    unsigned char *expected = dw_alloc(BLOCKS, DW_IMAGE_BLOCK_BYTES);
    dw_block_piece *pieces = dw_alloc(BLOCKS, sizeof *pieces);
    for (uint32_t round = 0; round < 24; round++) {
        size_t count = cut(&f, round, round % 4 == 3 ? 200 : 10, pieces, expected);
        dw_region *region = make(BLOCKS * DW_IMAGE_BLOCK_BYTES);
        memset(dw_region_base(region), 0xee, BLOCKS * DW_IMAGE_BLOCK_BYTES);
        assert_int_equal(dw_memory_image_of_pieces(&image, BLOCKS * DW_IMAGE_BLOCK_BYTES, pieces,
                                                   count, round % 3 == 0 ? 0 : SIZE_MAX, &error),
                         DW_OK);
        assert_true(dw_memory_image_extent_count(image) <= (round % 3 == 0 ? 1 : 64));
        assert_int_equal(dw_memory_image_map(image, region, NULL), DW_OK);
        assert_memory_equal(dw_region_base(region), expected, BLOCKS * DW_IMAGE_BLOCK_BYTES);
        dw_memory_image_unref(image);
        dw_region_destroy(region);
    }
    dw_free(pieces);
    dw_free(expected);
    release_files(&f);
}

/* Zeros that a file has count as those that it has not: two images of the same bytes have the same
 * runs, whichever file they came from. */
static void test_memory_image_zeros_of_pieces(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-image-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    unsigned char *bytes = dw_alloc(64, DW_IMAGE_BLOCK_BYTES);
    bytes[3 * DW_IMAGE_BLOCK_BYTES] = 1;
    bytes[40 * DW_IMAGE_BLOCK_BYTES + 9] = 2;
    assert_int_equal(pwrite(fd, bytes, 64 * DW_IMAGE_BLOCK_BYTES, 0), 64 * DW_IMAGE_BLOCK_BYTES);
    const dw_block_piece all = {.count = 64, .fd = fd};
    const dw_block_piece some[] = {
        {.first = 3, .count = 1, .fd = fd, .offset = 3 * DW_IMAGE_BLOCK_BYTES},
        {.first = 40, .count = 1, .fd = fd, .offset = 40 * DW_IMAGE_BLOCK_BYTES}};
    for (int i = 0; i < 2; i++) {
        dw_memory_image *image = NULL;
        dw_block_run *runs = NULL;
        size_t count = 0;
        assert_int_equal(dw_memory_image_of_pieces(&image, 64 * DW_IMAGE_BLOCK_BYTES,
                                                   i == 0 ? &all : some, i == 0 ? 1 : 2, 0, NULL),
                         DW_OK);
        assert_int_equal(dw_memory_image_runs(image, &runs, &count, NULL), DW_OK);
        assert_int_equal(count, 2);
        assert_int_equal(runs[0].first, 3);
        assert_int_equal(runs[0].count, 1);
        assert_int_equal(runs[1].first, 40);
        assert_int_equal(runs[1].count, 1);
        dw_free(runs);
        dw_memory_image_unref(image);
    }
    dw_free(bytes);
    (void)close(fd);
}

/* What is not there, or twice, is an error, and no signal later. */
static void test_memory_image_refuses_pieces(void **state)
{
    (void)state;
    files f = make_files();
    dw_error error;
    dw_memory_image *image = NULL;
    const dw_block_piece some = {.first = 1, .count = 2, .fd = f.fds[0], .offset = 4096};
    const dw_block_piece twice[] = {some, {.first = 2, .count = 1, .fd = f.fds[1]}};
    const dw_block_piece beyond = {.first = 15, .count = 2, .fd = f.fds[0]};
    assert_int_equal(dw_memory_image_of_pieces(&image, WASM_PAGE, &some, 1, 1, &error), DW_OK);
    dw_memory_image_unref(image);
    assert_int_equal(dw_memory_image_of_pieces(&image, WASM_PAGE, twice, 2, 1, &error), DW_E_ARG);
    assert_null(image);
    assert_int_equal(dw_memory_image_of_pieces(&image, WASM_PAGE, &beyond, 1, 1, &error), DW_E_ARG);
    assert_int_equal(ftruncate(f.fds[0], 4096 + 100), 0);
    assert_int_equal(dw_memory_image_of_pieces(&image, WASM_PAGE, &some, 1, 1, &error), DW_E_IO);
    assert_null(image);
    release_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_image_shares_what_is_unwritten),
        cmocka_unit_test(test_memory_image_random_forks),
        cmocka_unit_test(test_memory_image_scattered_writes_stay_few_mappings),
        cmocka_unit_test(test_memory_image_of_a_file),
        cmocka_unit_test(test_memory_image_of_pieces),
        cmocka_unit_test(test_memory_image_zeros_of_pieces),
        cmocka_unit_test(test_memory_image_refuses_pieces),
    };
    return cmocka_run_group_tests_name("memory_image", tests, NULL, NULL);
}
