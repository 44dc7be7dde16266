/* Many data segments become few, and memory begins as it did. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wasmtime.h>

#include "base/alloc.h"
#include "support.h"
#include "wasm/wasm_binary.h"
#include "wasm/wasm_work.h"

#define PAGES 100
#define MODULE_BYTES ((size_t)16 << 20)

static wasm_engine_t *engine;

static int set_up(void **state)
{
    (void)state;
    engine = wasm_engine_new();
    return engine == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    wasm_engine_delete(engine);
    return 0;
}

/* ---- modules ------------------------------------------------------------------------------- */

typedef struct piece {
    uint32_t memory;
    uint32_t start;
    uint32_t bytes;
    unsigned char fill; /* byte k of it is fill + k */
    unsigned char kind; /* of the segment; 1: passive */
} piece;

typedef struct module {
    unsigned char *bytes;
    size_t count;
} module;

static void put(module *m, const void *bytes, size_t count)
{
    assert_true(m->count + count <= MODULE_BYTES);
    memcpy(m->bytes + m->count, bytes, count);
    m->count += count;
}

static void put_u32(module *m, uint32_t value)
{
    do {
        unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        put(m, &byte, 1);
        value >>= 7;
    } while (value != 0);
}

/* In five bytes, as a signed number may be written. */
static void put_i32(module *m, uint32_t value)
{
    for (int i = 0; i < 5; i++) {
        unsigned char byte = (unsigned char)(value & 0x7f);
        value = (uint32_t)((int32_t)value >> 7);
        byte = (unsigned char)(byte | (i < 4 ? 0x80 : 0));
        put(m, &byte, 1);
    }
}

static void put_section(module *m, unsigned char id, const module *section)
{
    put(m, &id, 1);
    put_u32(m, (uint32_t)section->count);
    put(m, section->bytes, section->count);
}

enum { COUNTED = 1, NAMES = 2, STARTS = 4 };

/* Two memories, `m0` and `m1`; with NAMES a function that names segment 0, with STARTS one that the
 * module starts with: it copies the first byte of `m0` to the last but one. */
static module make_module(const piece *pieces, uint32_t count, int how)
{
    static const unsigned char head[] = {0,  'a', 's', 'm', 1,   0, 0, 0, 1,   4,     1, 0x60,  0,
                                         0,  3,   2,   1,   0,   5, 5, 2, 0,   PAGES, 0, PAGES, 7,
                                         11, 2,   2,   'm', '0', 2, 0, 2, 'm', '1',   2, 1};
    static const unsigned char plain[] = {10, 4, 1, 2, 0, 0x0b};
    static const unsigned char names[] = {10, 14,   1, 12,   0, 0x41, 0, 0x41,
                                          0,  0x41, 0, 0xfc, 8, 0,    0, 0x0b};
    static const unsigned char starts[] = {10,   20,   1,    18,   0,    0x41, 0xfe, 0xff,
                                           0x8f, 0x03, 0x41, 0,    0x2d, 0,    0,    0x3a,
                                           0,    0,    0x01, 0x01, 0x01, 0x0b};
    module m = {.bytes = dw_alloc(MODULE_BYTES, 1)};
    module data = {.bytes = dw_alloc(MODULE_BYTES, 1)};
    put(&m, head, sizeof head);
    if (how & STARTS) {
        put(&m, "\10\1\0", 3);
    }
    if (how & COUNTED) {
        module counted = {.bytes = data.bytes};
        put_u32(&counted, count);
        put_section(&m, 12, &counted);
    }
    put(&m,
        how & NAMES    ? names
        : how & STARTS ? starts
                       : plain,
        how & NAMES    ? sizeof names
        : how & STARTS ? sizeof starts
                       : sizeof plain);
    put_u32(&data, count);
    for (uint32_t i = 0; i < count; i++) {
        unsigned char kind = pieces[i].kind != 0 ? pieces[i].kind : pieces[i].memory != 0 ? 2 : 0;
        put(&data, &kind, 1);
        if (kind == 2) {
            put_u32(&data, pieces[i].memory);
        }
        if (kind != 1) {
            put(&data, "\x41", 1);
            put_i32(&data, pieces[i].start);
            put(&data, "\x0b", 1);
        }
        put_u32(&data, pieces[i].bytes);
        for (uint32_t k = 0; k < pieces[i].bytes; k++) {
            unsigned char byte = (unsigned char)(pieces[i].fill + k);
            put(&data, &byte, 1);
        }
    }
    put_section(&m, 11, &data);
    put(&m, "\0\3\1xy", 5); /* a custom section behind */
    dw_free(data.bytes);
    return m;
}

/* The memories that it begins with, one after the other. */
static unsigned char *begin(const unsigned char *wasm, size_t bytes)
{
    const size_t each = (size_t)PAGES * 65536;
    unsigned char *all = dw_alloc(2, each);
    wasmtime_module_t *compiled = NULL;
    wasm_trap_t *trap = NULL;
    wasmtime_instance_t instance;
    wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    assert_null(wasmtime_module_new(engine, wasm, bytes, &compiled));
    assert_null(wasmtime_instance_new(context, compiled, NULL, 0, &instance, &trap));
    assert_null(trap);
    for (int i = 0; i < 2; i++) {
        wasmtime_extern_t item;
        assert_true(
            wasmtime_instance_export_get(context, &instance, i == 0 ? "m0" : "m1", 2, &item));
        assert_int_equal(wasmtime_memory_data_size(context, &item.of.memory), each);
        memcpy(all + each * (size_t)i, wasmtime_memory_data(context, &item.of.memory), each);
    }
    wasmtime_module_delete(compiled);
    wasmtime_store_delete(store);
    return all;
}

static uint32_t segments_of(const unsigned char *wasm, size_t bytes)
{
    size_t at = 8;
    while (at < bytes) {
        unsigned char id = wasm[at++];
        uint32_t size = 0;
        for (unsigned shift = 0;; shift += 7) {
            size |= (uint32_t)(wasm[at] & 0x7f) << shift;
            if ((wasm[at++] & 0x80) == 0) {
                break;
            }
        }
        if (id == 11) {
            uint32_t count = 0;
            for (unsigned shift = 0;; shift += 7) {
                count |= (uint32_t)(wasm[at] & 0x7f) << shift;
                if ((wasm[at++] & 0x80) == 0) {
                    return count;
                }
            }
        }
        at += size;
    }
    return 0;
}

/* How many segments are left; 0: the module stays as it is. */
static uint32_t join(const piece *pieces, uint32_t count, int how)
{
    dw_error err;
    unsigned char *joined;
    size_t bytes;
    uint32_t left = 0;
    module m = make_module(pieces, count, how);
    assert_int_equal(dw_wasm_join_data(m.bytes, m.count, &joined, &bytes, &err), DW_OK);
    if (joined != NULL) {
        unsigned char *was = begin(m.bytes, m.count);
        unsigned char *is = begin(joined, bytes);
        assert_memory_equal(was, is, (size_t)2 * PAGES * 65536);
        left = segments_of(joined, bytes);
        dw_free(was);
        dw_free(is);
    }
    dw_free(joined);
    dw_free(m.bytes);
    return left;
}

/* ---- tests --------------------------------------------------------------------------------- */

static piece *row(uint32_t count, uint32_t apart)
{
    piece *pieces = dw_alloc(count, sizeof *pieces);
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = (piece){.start = i * apart, .bytes = 8, .fill = (unsigned char)i};
    }
    return pieces;
}

static void test_wasm_data_rows_become_few(void **state)
{
    (void)state;
    piece *pieces = row(2000, 40);
    assert_int_equal(join(pieces, 2000, 0), 1);
    assert_int_equal(join(pieces, 2000, COUNTED), 1);
    assert_int_equal(join(pieces, 1000, 0), 0); /* few: they stay */
    assert_int_equal(join(pieces, 1001, 0), 1);
    for (uint32_t i = 0; i < 2000; i++) {
        pieces[i].memory = i & 1;
    }
    assert_int_equal(join(pieces, 2000, COUNTED), 2);
    dw_free(pieces);
}

static void test_wasm_data_of_overlapping_ones_the_last_counts(void **state)
{
    (void)state;
    piece *pieces = row(3000, 3);
    assert_int_equal(join(pieces, 3000, 0), 1);
    for (uint32_t i = 0; i < 1500; i++) { /* against their order */
        piece other = pieces[i];
        pieces[i] = pieces[2999 - i];
        pieces[2999 - i] = other;
    }
    assert_int_equal(join(pieces, 3000, 0), 1);
    dw_free(pieces);
}

static void test_wasm_data_stays_where_it_may_matter(void **state)
{
    (void)state;
    piece *pieces = row(2000, 40);
    assert_int_equal(join(pieces, 2000, COUNTED | NAMES), 0); /* memory.init names one */
    pieces[77].kind = 1;                                      /* passive */
    assert_int_equal(join(pieces, 2000, COUNTED), 0);
    pieces[77].kind = 0;
    pieces[1999].start = PAGES * 65536 - 8; /* up to the end */
    assert_int_equal(join(pieces, 2000, 0), 2);
    pieces[1999].start++; /* beyond: it traps, once the others are there */
    assert_int_equal(join(pieces, 2000, 0), 0);
    pieces[1999].start = UINT32_MAX - 3;
    assert_int_equal(join(pieces, 2000, 0), 0);
    dw_free(pieces);
}

/* What lies far apart is not filled up between: at most 1 MiB, or as much as there is. */
static void test_wasm_data_is_not_blown_up(void **state)
{
    (void)state;
    piece *pieces = row(2500, 500);
    unsigned char *joined;
    size_t bytes;
    dw_error err;
    for (uint32_t i = 0; i < 2500; i++) {
        pieces[i].bytes = 300;
    }
    module m = make_module(pieces, 2500, 0);
    assert_int_equal(dw_wasm_join_data(m.bytes, m.count, &joined, &bytes, &err), DW_OK);
    assert_non_null(joined);
    assert_true(bytes < 2 * m.count);
    dw_free(joined);
    dw_free(m.bytes);
    dw_free(pieces);
}

/* They are one segment then, which is copied from before all else. */
static void test_wasm_data_far_apart_is_scattered(void **state)
{
    (void)state;
    unsigned char *joined;
    size_t bytes;
    dw_error err;
    piece *pieces = row(2500, 2500);
    for (int how = 0; how < 8; how++) {
        assert_int_equal(join(pieces, 2500, how), how & NAMES ? 0 : 1);
    }
    pieces[7].start = 65536 - 4; /* from one page into the next */
    pieces[7].bytes = 3000;
    pieces[8].bytes = 0; /* where its memory ends */
    pieces[8].start = PAGES * 65536;
    for (uint32_t i = 0; i < 2500; i++) {
        pieces[i].memory = i / 3 % 2;
    }
    assert_int_equal(join(pieces, 2500, COUNTED | STARTS), 1);
    module m = make_module(pieces, 2500, 0);
    assert_int_equal(dw_wasm_join_data(m.bytes, m.count, &joined, &bytes, &err), DW_OK);
    assert_true(bytes < m.count + 2500 * 8 + 2 * 65536 + 1000);
    dw_free(joined);
    dw_free(m.bytes);
    dw_free(pieces);
}

static void test_wasm_data_of_chance(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 40; round++) {
        uint32_t count = 1001 + (uint32_t)rand() % 500;
        uint32_t span = 1U << (8 + rand() % 16);
        span = span < PAGES * 65536 - 64 ? span : PAGES * 65536 - 64;
        piece *pieces = dw_alloc(count, sizeof *pieces);
        for (uint32_t i = 0; i < count; i++) {
            pieces[i] = (piece){.memory = (uint32_t)rand() & 1,
                                .start = (uint32_t)rand() % span,
                                .bytes = (uint32_t)rand() % 64,
                                .fill = (unsigned char)rand()};
        }
        pieces[0].start = 0; /* what the start function reads */
        (void)join(pieces, count, (round & 1 ? COUNTED : 0) | (round & 2 ? STARTS : 0));
        dw_free(pieces);
    }
}

/* Damaged modules stay as they are, or become something; under sanitizers nothing else is read. */
static void test_wasm_data_takes_any_bytes(void **state)
{
    (void)state;
    srand(9);
    piece *pieces = row(1100, 5000);
    module m = make_module(pieces, 1100, COUNTED | STARTS);
    unsigned char *damaged = dw_alloc(m.count, 1);
    for (int round = 0; round < 1500; round++) {
        unsigned char *joined;
        size_t bytes;
        dw_error err;
        const size_t span = round % 3 == 0 ? m.count : 120; /* mostly of the heads */
        const size_t count = round % 5 == 0 ? (size_t)rand() % m.count : m.count;
        memcpy(damaged, m.bytes, m.count);
        for (int k = rand() % 4; k >= 0; k--) {
            damaged[(size_t)rand() % span] = (unsigned char)rand();
        }
        assert_int_equal(dw_wasm_join_data(damaged, count, &joined, &bytes, &err), DW_OK);
        dw_free(joined);
    }
    dw_free(damaged);
    dw_free(m.bytes);
    dw_free(pieces);
}

/* 50,000 segments compile in Wasmtime's own time; what cannot be joined is counted beforehand. */
static void test_wasm_data_costs_what_is_counted(void **state)
{
    (void)state;
    piece *pieces = row(50000, 16);
    uint64_t work;
    dw_error err;
    module m = make_module(pieces, 50000, 0);
    assert_int_equal(dw_wasm_work_measure(m.bytes, m.count, &work, NULL, NULL, &err), DW_OK);
    assert_true(work > 5000000 && work < 15000000);
    assert_int_equal(join(pieces, 50000, 0), 1);
    dw_free(m.bytes);
    for (uint32_t i = 0; i < 50000; i++) {
        pieces[i].start = i * 130;
    }
    assert_int_equal(join(pieces, 50000, 0), 1);
    dw_free(pieces);
    pieces = row(100000, 8);
    m = make_module(pieces, 100000, 0);
    dw_limits limits = dw_limits_usual;
    assert_int_equal(dw_wasm_work_check(m.bytes, m.count, &limits, &err), DW_OK);
    limits.compile_ms = 30000;
    assert_int_equal(dw_wasm_work_check(m.bytes, m.count, &limits, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "compile_ms"));
    dw_free(m.bytes);
    dw_free(pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wasm_data_rows_become_few),
        cmocka_unit_test(test_wasm_data_of_overlapping_ones_the_last_counts),
        cmocka_unit_test(test_wasm_data_stays_where_it_may_matter),
        cmocka_unit_test(test_wasm_data_is_not_blown_up),
        cmocka_unit_test(test_wasm_data_far_apart_is_scattered),
        cmocka_unit_test(test_wasm_data_of_chance),
        cmocka_unit_test(test_wasm_data_takes_any_bytes),
        cmocka_unit_test(test_wasm_data_costs_what_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
