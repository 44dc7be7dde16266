/* Modules that would keep the compiler busy for minutes or take gigabytes are refused at once, by
 * the limit's name; those beside them are not. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "driftwood.h"
#include "support.h"
#include "wasm/wasm_work.h"

/* ---- writing modules ---------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char *data; /* [count] */
    size_t count;
    size_t capacity;
} bytes;

static void put(bytes *to, const void *data, size_t count)
{
    if (to->count + count > to->capacity) {
        to->capacity = 2 * (to->count + count);
        to->data = dw_realloc(to->data, to->capacity, 1);
        assert_non_null(to->data);
    }
    memcpy(to->data + to->count, data, count);
    to->count += count;
}

static void put_byte(bytes *to, uint32_t value)
{
    unsigned char byte = (unsigned char)value;
    put(to, &byte, 1);
}

static void put_u32(bytes *to, uint32_t value)
{
    for (; value >= 128; value >>= 7) {
        put_byte(to, (value & 127) | 128);
    }
    put_byte(to, value);
}

static void put_times(bytes *to, const char *hex, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        for (const char *c = hex; c[0] != '\0'; c += c[2] == ' ' ? 3 : 2) {
            unsigned value;
            assert_int_equal(sscanf(c, "%2x", &value), 1);
            put_byte(to, value);
        }
    }
}

/* All of `inside` as a section, and empty it. */
static void put_section(bytes *to, uint32_t section, bytes *inside)
{
    put_byte(to, section);
    put_u32(to, (uint32_t)inside->count);
    put(to, inside->data, inside->count);
    inside->count = 0;
}

/* A section of `count` equal entries. */
static void put_entries(bytes *to, uint32_t section, const char *hex, uint32_t count)
{
    bytes inside = {0};
    put_u32(&inside, count);
    put_times(&inside, hex, count);
    put_section(to, section, &inside);
    dw_free(inside.data);
}

/* A module: type 0 takes and returns nothing, type 1 `values` i32 each, all other types nothing;
 * functions of type 0 with `locals` i32 and the code `before`, `code` [times], `after` [times]. */
typedef struct plan {
    const char *what;   /* that the refusal names; NULL: it passes */
    const char *before; /* hexadecimal */
    const char *code;
    uint32_t times;
    const char *after;
    uint32_t locals;
    uint32_t values;
    uint32_t functions; /* 0: one */
    uint32_t types;
    uint32_t imports;
    uint32_t globals;
    uint32_t exports;
    uint32_t segments; /* of data */
    uint32_t elements; /* segments of them */
} plan;

static void put_types(bytes *to, const plan *p)
{
    bytes inside = {0};
    put_u32(&inside, p->types > 2 ? p->types : 2);
    put_times(&inside, "60 00 00", 1);
    put_byte(&inside, 0x60);
    put_u32(&inside, p->values);
    put_times(&inside, "7f", p->values);
    put_u32(&inside, p->values);
    put_times(&inside, "7f", p->values);
    put_times(&inside, "60 00 00", p->types > 2 ? p->types - 2 : 0);
    put_section(to, 1, &inside);
    dw_free(inside.data);
}

static void put_code(bytes *to, const plan *p, uint32_t functions)
{
    bytes body = {0};
    bytes inside = {0};
    put_u32(&body, p->locals > 0 ? 1 : 0);
    if (p->locals > 0) {
        put_u32(&body, p->locals);
        put_byte(&body, 0x7f);
    }
    put_times(&body, p->before != NULL ? p->before : "", 1);
    put_times(&body, p->code != NULL ? p->code : "", p->times);
    put_times(&body, p->after != NULL ? p->after : "", p->times);
    put_byte(&body, 0x0b);
    put_u32(&inside, functions);
    for (uint32_t i = 0; i < functions; i++) {
        put_u32(&inside, (uint32_t)body.count);
        put(&inside, body.data, body.count);
    }
    put_section(to, 10, &inside);
    dw_free(inside.data);
    dw_free(body.data);
}

static bytes module_of(const plan *p)
{
    bytes to = {0};
    bytes exports = {0};
    uint32_t functions = p->functions > 0 ? p->functions : 1;
    put_times(&to, "00 61 73 6d 01 00 00 00", 1);
    put_types(&to, p);
    put_entries(&to, 2, "01 61 01 62 00 00", p->imports);
    put_entries(&to, 3, "00", functions);
    put_entries(&to, 4, "70 00 01", 1);
    put_entries(&to, 5, "00 01", 1);
    put_entries(&to, 6, "7f 01 41 00 0b", p->globals);
    put_u32(&exports, 2 + p->exports);
    put_times(&exports, "06 6d 65 6d 6f 72 79 02 00", 1); /* memory */
    put_times(&exports, "06 5f 73 74 61 72 74 00 00", 1); /* _start */
    for (uint32_t i = 0; i < p->exports; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%06u", i);
        put_byte(&exports, 6);
        put(&exports, name, 6);
        put_times(&exports, "00 00", 1);
    }
    put_section(&to, 7, &exports);
    put_entries(&to, 9, "00 41 00 0b 01 00", p->elements);
    put_code(&to, p, functions);
    put_entries(&to, 11, "00 41 00 0b 01 78", p->segments);
    dw_free(exports.data);
    return to;
}

/* ---- what passes and what does not -------------------------------------------------------- */

/* A thousand locals, each read; two-byte indices from 128 on. */
static char *reads_of(uint32_t locals, uint32_t times)
{
    char *hex = dw_alloc((size_t)times * 9 + 1, 1);
    assert_non_null(hex);
    for (uint32_t i = 0; i < times; i++) {
        uint32_t local = i % locals;
        unsigned char low = (unsigned char)((local & 127) | 128);
        unsigned char high = (unsigned char)(local >> 7);
        (void)snprintf(hex + (size_t)i * 9, 10, "20%02x%02x1a ", low, high);
    }
    return hex;
}

static const plan plans[] = {
    {.functions = 100000},
    {.what = "100001 functions, limit 100000", .functions = 100001},
    {.types = 10000},
    {.what = "10001 types, limit 10000", .types = 10001},
    {.imports = 10000},
    {.what = "10001 imports, limit 10000", .imports = 10001},
    {.globals = 100000},
    {.what = "100001 globals, limit 100000", .globals = 100001},
    {.exports = 99998},
    {.what = "100001 exports, limit 100000", .exports = 99999},
    {.segments = 100000},
    {.what = "100001 data segments, limit 100000", .segments = 100001},
    {.elements = 100000},
    {.what = "100001 element segments, limit 100000", .elements = 100001},
    {.locals = 50000},
    {.what = "function 0 has 50001 locals, limit 50000", .locals = 50001},
    {.code = "01", .times = (2 << 20) - 10},
    {.what = "bytes, limit 2097152", .code = "01", .times = 2 << 20},
    /* loops in a row; in each other; that take values; memory.grow; call_indirect; call; if */
    {.code = "03 40 20 00 0d 00 0b", .times = 5000, .locals = 1},
    {.what = "function 0", .code = "03 40 20 00 0d 00 0b", .times = 20000, .locals = 1},
    {.code = "03 40", .times = 3000, .after = "0b", .locals = 1},
    {.code = "03 40 20 00 1a", .times = 1000, .after = "20 00 1a 0b", .locals = 1},
    {.before = "41 00", .code = "03 01 41 00 0d 00 0b", .times = 50, .values = 1},
    {.what = "function 0", .code = "03 01 41 00 0d 00 0b", .times = 500, .values = 500},
    {.what = "function 0", .code = "02 01 0b", .times = 2000, .values = 500},
    {.code = "20 00 40 00 1a", .times = 5000, .locals = 1},
    {.what = "function 0", .code = "20 00 40 00 1a", .times = 20000, .locals = 1},
    {.code = "41 00 11 00 00", .times = 10000},
    {.what = "function 0", .code = "41 00 11 00 00", .times = 50000},
    {.what = "function 0", .code = "11 01 00", .times = 2000, .values = 1000},
    {.code = "20 00 04 40 0b", .times = 20000, .locals = 10},
    {.what = "function 0", .code = "20 00 04 40 0b", .times = 20000, .locals = 5000},
    {.what = "function 0", .code = "20 00 04 40 0b", .times = 200000, .locals = 1},
    /* an instruction that is not known here, and what may follow it */
    {.code = "27", .times = 2000},
    {.what = "function 0", .code = "27", .times = 50000},
    /* functions of which each would pass */
    {.code = "03 40 20 00 0d 00 0b", .times = 9000, .locals = 1, .functions = 3},
    {.what = "the module would take",
     .code = "03 40 20 00 0d 00 0b",
     .times = 9000,
     .locals = 1,
     .functions = 60},
    {.what = "beyond what its length takes, limit 20 s",
     .code = "03 40 20 00 0d 00 0b",
     .times = 9000,
     .locals = 1,
     .functions = 5},
    {.code = "01", .times = 1000000, .functions = 55},
    {.what = "the module would take", .code = "01", .times = 1000000, .functions = 64},
};

static void expect(const plan *p)
{
    dw_error err = {0};
    bytes module = module_of(p);
    dw_status status = dw_wasm_work_check(module.data, module.count, &dw_limits_usual, &err);
    if (status != (p->what != NULL ? DW_E_LIMIT : DW_OK) ||
        (p->what != NULL && strstr(err.message, p->what) == NULL)) {
        fail_msg("%s: status %d, %s", p->what != NULL ? p->what : "passes", status, err.message);
    }
    dw_free(module.data);
}

static void test_wasm_work_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        expect(&plans[i]);
    }
    /* Loops in each other, in which many locals are used. */
    char *few = reads_of(50, 100);
    char *many = reads_of(1000, 2000);
    expect(&(plan){.before = few, .code = "03 40", .times = 100, .after = "0b", .locals = 1000});
    plan deep = {.what = "function 0", .code = "03 40", .times = 999, .locals = 1000};
    char *after = dw_alloc(strlen(many) + 8, 1);
    assert_non_null(after);
    (void)snprintf(after, strlen(many) + 8, "%s0b", many);
    deep.times = 120; /* each of these loops joins all of the thousand */
    deep.after = after;
    expect(&deep);
    dw_free(after);
    dw_free(many);
    dw_free(few);
}

/* Whatever is cut off or changed, the reader stays within the bytes. */
static void test_wasm_work_of_damaged_modules(void **state)
{
    static const plan base = {.code = "41 00 11 00 00 03 40 20 00 0d 00 0b 10 00",
                              .times = 3,
                              .locals = 2,
                              .values = 3,
                              .types = 4,
                              .imports = 2,
                              .globals = 2,
                              .segments = 2,
                              .elements = 2};
    bytes module = module_of(&base);
    dw_error err;
    uint32_t random = 1;
    (void)state;
    for (size_t count = 0; count <= module.count; count++) {
        unsigned char *cut = dw_alloc(count, 1);
        assert_non_null(cut);
        memcpy(cut, module.data, count);
        dw_status status = dw_wasm_work_check(cut, count, &dw_limits_usual, &err);
        assert_true(status == DW_OK || status == DW_E_LIMIT);
        dw_free(cut);
    }
    for (int i = 0; i < 20000; i++) {
        unsigned char old[4];
        size_t at = 8 + (random >> 8) % (module.count - 12);
        memcpy(old, module.data + at, sizeof old);
        random = random * 1664525U + 1013904223U;
        memcpy(module.data + at, &random, 1 + (random >> 30));
        dw_status status = dw_wasm_work_check(module.data, module.count, &dw_limits_usual, &err);
        assert_true(status == DW_OK || status == DW_E_LIMIT);
        memcpy(module.data + at, old, sizeof old);
    }
    dw_free(module.data);
}

/* ---- through the engine ------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void test_wasm_work_is_told_at_once(void **state)
{
    dw_engine *engine = NULL;
    dw_module *compiled = NULL;
    dw_error err = {0};
    (void)state;
    assert_int_equal(dw_engine_create(&engine, NULL, &err), DW_OK);
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        if (plans[i].what == NULL) {
            continue;
        }
        bytes module = module_of(&plans[i]);
        double started = cpu_seconds();
        assert_int_equal(dw_module_create(&compiled, engine, module.data, module.count, &err),
                         DW_E_LIMIT);
        assert_true(cpu_seconds() - started < 1.0);
        assert_null(compiled);
        dw_free(module.data);
    }
    static const plan small = {.code = "03 40 20 00 0d 00 0b", .times = 50, .locals = 1};
    bytes module = module_of(&small);
    assert_int_equal(dw_module_create(&compiled, engine, module.data, module.count, &err), DW_OK);
    dw_module_unref(compiled);
    dw_free(module.data);
    dw_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wasm_work_limits),
        cmocka_unit_test(test_wasm_work_of_damaged_modules),
        cmocka_unit_test(test_wasm_work_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
