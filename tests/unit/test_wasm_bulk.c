/* memory.fill and memory.copy in parts do what the instructions do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmtime.h>

#include "base/alloc.h"
#include "support.h"
#include "wasm/wasm_binary.h"

#define PAGES 80
#define BYTES ((uint32_t)PAGES * 65536)
#define PART (UINT32_C(1) << 20)

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

static const char guest[] = "(module (import \"a\" \"b\" (func)) (import \"a\" \"c\" (global i32))"
                            " (rec (type (func (param i64))) (type (struct (field i32))))"
                            " (memory (export \"m0\") 80) (memory (export \"m1\") 80)"
                            " (func (export \"fill0\") (param i32 i32 i32) (call $fill (local.get "
                            "0) (local.get 1) (local.get 2)))"
                            " (func $fill (param i32 i32 i32)"
                            "  (memory.fill (local.get 0) (local.get 1) (local.get 2)))"
                            " (func (export \"fill1\") (param i32 i32 i32)"
                            "  (memory.fill 1 (local.get 0) (local.get 1) (local.get 2)))"
                            " (func (export \"copy00\") (param i32 i32 i32)"
                            "  (memory.copy (local.get 0) (local.get 1) (local.get 2)))"
                            " (func (export \"copy01\") (param i32 i32 i32)"
                            "  (memory.copy 0 1 (local.get 0) (local.get 1) (local.get 2)))"
                            " (func (export \"copy10\") (param i32 i32 i32)"
                            "  (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2)))"
                            " (func (export \"few\") (param i32 i32 i32)"
                            "  (memory.fill (local.get 0) (local.get 1) (i32.const 100))"
                            "  (memory.copy (local.get 1) (local.get 0) (i32.const 1048577))))";
static const char *const names[] = {"fill0",  "fill1",  "copy00", "copy00",
                                    "copy01", "copy10", "few"};
#define NAME_COUNT (sizeof names / sizeof names[0])

/* ---- running ------------------------------------------------------------------------------- */

typedef struct machine {
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
} machine;

static wasm_trap_t *nothing(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                            size_t arg_count, wasmtime_val_t *results, size_t result_count)
{
    (void)env, (void)caller, (void)args, (void)arg_count, (void)results, (void)result_count;
    return NULL;
}

static machine begin(const void *wasm, size_t bytes)
{
    machine m;
    wasmtime_module_t *module;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = wasmtime_module_new(engine, wasm, bytes, &module);
    if (error != NULL) {
        wasm_name_t message;
        wasmtime_error_message(error, &message);
        fail_msg("%.*s", (int)message.size, message.data);
    }
    m.store = wasmtime_store_new(engine, NULL, NULL);
    m.context = wasmtime_store_context(m.store);
    wasmtime_extern_t imports[2] = {{.kind = WASMTIME_EXTERN_FUNC},
                                    {.kind = WASMTIME_EXTERN_GLOBAL}};
    wasm_functype_t *type = wasm_functype_new_0_0();
    wasmtime_func_new(m.context, type, nothing, NULL, NULL, &imports[0].of.func);
    wasm_functype_delete(type);
    wasm_globaltype_t *global = wasm_globaltype_new(wasm_valtype_new(WASM_I32), WASM_CONST);
    wasmtime_val_t zero = {.kind = WASMTIME_I32};
    assert_null(wasmtime_global_new(m.context, global, &zero, &imports[1].of.global));
    wasm_globaltype_delete(global);
    assert_null(wasmtime_instance_new(m.context, module, imports, 2, &m.instance, &trap));
    assert_null(trap);
    wasmtime_module_delete(module);
    return m;
}

static unsigned char *memory_of(machine *m, const char *name)
{
    wasmtime_extern_t item;
    assert_true(wasmtime_instance_export_get(m->context, &m->instance, name, strlen(name), &item));
    return wasmtime_memory_data(m->context, &item.of.memory);
}

/* 0, or 1 + the code of the trap. */
static int call(machine *m, const char *name, const uint32_t arguments[3])
{
    wasmtime_extern_t item;
    wasmtime_val_t values[3];
    wasm_trap_t *trap = NULL;
    wasmtime_trap_code_t code = 0;
    for (int i = 0; i < 3; i++) {
        values[i] = (wasmtime_val_t){.kind = WASMTIME_I32, .of.i32 = (int32_t)arguments[i]};
    }
    assert_true(wasmtime_instance_export_get(m->context, &m->instance, name, strlen(name), &item));
    assert_null(wasmtime_func_call(m->context, &item.of.func, values, 3, NULL, 0, &trap));
    if (trap == NULL) {
        return 0;
    }
    assert_true(wasmtime_trap_code(trap, &code));
    wasm_trap_delete(trap);
    return 1 + code;
}

/* Mostly near multiples of a part and near the ends. */
static uint32_t place(void)
{
    uint32_t base = (uint32_t)rand() % 7 * PART;
    uint32_t off = (uint32_t)rand() % 3000;
    switch (rand() % 4) {
    case 0:
        return base + off;
    case 1:
        return base > off ? base - off : off;
    case 2:
        return rand() % 40 == 0 ? UINT32_MAX - off : (uint32_t)rand() % (2 * PART);
    default:
        return base;
    }
}

static void test_wasm_bulk_in_parts_does_the_same(void **state)
{
    wasm_byte_vec_t wasm;
    unsigned char *rewritten;
    size_t bytes;
    dw_error err;
    int traps = 0;
    (void)state;
    wasm_signals_restore();
    assert_null(wasmtime_wat2wasm(guest, strlen(guest), &wasm));
    assert_int_equal(dw_wasm_part_bulk(wasm.data, wasm.size, &rewritten, &bytes, &err), DW_OK);
    assert_non_null(rewritten);
    machine was = begin(wasm.data, wasm.size);
    machine is = begin(rewritten, bytes);
    unsigned char *memories[2][2] = {{memory_of(&was, "m0"), memory_of(&was, "m1")},
                                     {memory_of(&is, "m0"), memory_of(&is, "m1")}};
    srand(5);
    for (uint32_t i = 0; i < BYTES; i++) {
        for (int k = 0; k < 4; k++) {
            memories[k / 2][k % 2][i] = (unsigned char)((i * 2654435761u) >> (13 + k % 2));
        }
    }
    for (int round = 0; round < 400; round++) {
        const char *name = names[(size_t)rand() % NAME_COUNT];
        const uint32_t arguments[3] = {place(), place(), place()};
        int ended = call(&was, name, arguments);
        traps += ended != 0 ? 1 : 0;
        if (call(&is, name, arguments) != ended) {
            fail_msg("%s %u %u %u: %d", name, arguments[0], arguments[1], arguments[2], ended);
        }
        assert_memory_equal(memories[0][0], memories[1][0], BYTES);
        assert_memory_equal(memories[0][1], memories[1][1], BYTES);
    }
    assert_true(traps > 20 && traps < 300);
    wasmtime_store_delete(was.store);
    wasmtime_store_delete(is.store);
    dw_free(rewritten);
    wasm_byte_vec_delete(&wasm);
}

/* ---- what stays ---------------------------------------------------------------------------- */

/* The section of a kind, and its length. */
static const unsigned char *section_of(const unsigned char *wasm, size_t bytes, int kind,
                                       uint32_t *length)
{
    for (size_t at = 8; at < bytes;) {
        int id = wasm[at++];
        *length = 0;
        for (unsigned shift = 0, more = 1; more; shift += 7) {
            *length |= (uint32_t)(wasm[at] & 0x7f) << shift;
            more = wasm[at++] & 0x80;
        }
        if (id == kind) {
            return wasm + at;
        }
        at += *length;
    }
    return NULL;
}

/* Code stays at its places, by which debug information names it. */
static void test_wasm_bulk_leaves_code_where_it_was(void **state)
{
    wasm_byte_vec_t wasm;
    unsigned char *rewritten;
    size_t bytes;
    uint32_t was_bytes;
    uint32_t is_bytes;
    uint32_t different = 0;
    dw_error err;
    (void)state;
    assert_null(wasmtime_wat2wasm(guest, strlen(guest), &wasm));
    assert_int_equal(dw_wasm_part_bulk(wasm.data, wasm.size, &rewritten, &bytes, &err), DW_OK);
    const unsigned char *was =
        section_of((const unsigned char *)wasm.data, wasm.size, 10, &was_bytes);
    const unsigned char *is = section_of(rewritten, bytes, 10, &is_bytes);
    assert_true(is_bytes > was_bytes);
    for (uint32_t i = 1; i < was_bytes; i++) { /* behind the count */
        different += was[i] != is[i] ? 1 : 0;
    }
    assert_true(different > 0 && different <= 6 * 4);
    dw_free(rewritten);
    wasm_byte_vec_delete(&wasm);
}

static void expect_as_it_is(const char *text)
{
    wasm_byte_vec_t wasm;
    unsigned char *rewritten;
    size_t bytes;
    dw_error err;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    assert_int_equal(dw_wasm_part_bulk(wasm.data, wasm.size, &rewritten, &bytes, &err), DW_OK);
    assert_null(rewritten);
    wasm_byte_vec_delete(&wasm);
}

static void test_wasm_bulk_leaves_what_is_short(void **state)
{
    (void)state;
    expect_as_it_is("(module)");
    expect_as_it_is("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 1)"
                    " (i32.const 1048576)) (memory.copy (i32.const 0) (i32.const 9)"
                    " (i32.const 0))))");
}

/* Numbers of functions that have more digits than fit where memory.fill stood. */
static void test_wasm_bulk_behind_many_functions(void **state)
{
    static char text[1 << 20];
    wasm_byte_vec_t wasm;
    unsigned char *rewritten;
    size_t bytes;
    dw_error err;
    (void)state;
    wasm_signals_restore();
    size_t length =
        (size_t)snprintf(text, sizeof text,
                         "(module (import \"a\" \"b\" (func)) (import \"a\" \"c\" (global i32))"
                         " (memory (export \"m0\") 80) (func (export \"fill0\") (param i32 i32 i32)"
                         " (memory.fill (local.get 0) (local.get 1) (local.get 2)))");
    for (int i = 0; i < 17000; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "(func)");
    }
    length += (size_t)snprintf(text + length, sizeof text - length, ")");
    assert_null(wasmtime_wat2wasm(text, length, &wasm));
    assert_int_equal(dw_wasm_part_bulk(wasm.data, wasm.size, &rewritten, &bytes, &err), DW_OK);
    machine m = begin(rewritten, bytes);
    assert_int_equal(call(&m, "fill0", (uint32_t[]){3, 7, 3 * PART}), 0);
    const unsigned char *memory = memory_of(&m, "m0");
    assert_int_equal(memory[2], 0);
    for (uint32_t i = 3; i < 3 + 3 * PART; i++) {
        assert_int_equal(memory[i], 7);
    }
    assert_int_equal(memory[3 + 3 * PART], 0);
    wasmtime_store_delete(m.store);
    dw_free(rewritten);
    wasm_byte_vec_delete(&wasm);
}

/* Damage is left to the validator. */
static void test_wasm_bulk_takes_any_bytes(void **state)
{
    wasm_byte_vec_t wasm;
    dw_error err;
    (void)state;
    assert_null(wasmtime_wat2wasm(guest, strlen(guest), &wasm));
    srand(9);
    for (int round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(wasm.size);
        size_t count = round % 3 == 0 ? (size_t)rand() % wasm.size : wasm.size;
        unsigned char *rewritten;
        size_t bytes;
        assert_non_null(copy);
        memcpy(copy, wasm.data, wasm.size);
        for (int i = rand() % 4; i >= 0; i--) {
            copy[8 + (size_t)rand() % (wasm.size - 8)] = (unsigned char)rand();
        }
        assert_int_equal(dw_wasm_part_bulk(copy, count, &rewritten, &bytes, &err), DW_OK);
        dw_free(rewritten);
        free(copy);
    }
    wasm_byte_vec_delete(&wasm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wasm_bulk_in_parts_does_the_same),
        cmocka_unit_test(test_wasm_bulk_leaves_code_where_it_was),
        cmocka_unit_test(test_wasm_bulk_leaves_what_is_short),
        cmocka_unit_test(test_wasm_bulk_behind_many_functions),
        cmocka_unit_test(test_wasm_bulk_takes_any_bytes),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
