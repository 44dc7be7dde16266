/* Where a module's state lies, and that the exports added reach it: asked of Wasmtime, which
 * compiles what was rewritten. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wasmtime.h>

#include "base/alloc.h"
#include "support.h"
#include "wasm/wasm_binary.h"

static wasm_engine_t *engine; /* with more proposals than guests may use */

static int set_up(void **state)
{
    (void)state;
    wasm_config_t *config = wasm_config_new();
    wasmtime_config_wasm_function_references_set(config, true);
    wasmtime_config_wasm_gc_set(config, true);
    wasmtime_config_wasm_exceptions_set(config, true);
    wasmtime_config_wasm_multi_memory_set(config, true);
    wasmtime_config_wasm_wide_arithmetic_set(config, true);
    wasmtime_config_wasm_threads_set(config, true);
    engine = wasm_engine_new_with_config(config);
    assert_non_null(engine);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wasm_engine_delete(engine);
    return 0;
}

/* ---- modules read and run ----------------------------------------------------------------- */

typedef struct fixture {
    wasm_byte_vec_t wasm;
    dw_wasm_layout *layout;
    unsigned char *rewritten;
    size_t rewritten_bytes;
    wasmtime_module_t *module;
    wasmtime_linker_t *linker;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
} fixture;

static void must(wasmtime_error_t *error)
{
    if (error != NULL) {
        wasm_byte_vec_t text;
        wasmtime_error_message(error, &text);
        fail_msg("%.*s", (int)text.size, text.data);
    }
}

static void assemble(fixture *w, const char *text)
{
    *w = (fixture){0};
    must(wasmtime_wat2wasm(text, strlen(text), &w->wasm));
}

static void read_layout(fixture *w)
{
    dw_error err;
    if (dw_wasm_layout_read(&w->layout, w->wasm.data, w->wasm.size, &w->rewritten,
                            &w->rewritten_bytes, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
}

static wasm_trap_t *env_function(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                                 size_t arg_count, wasmtime_val_t *results, size_t result_count)
{
    (void)env;
    (void)caller;
    (void)args;
    (void)arg_count;
    (void)results;
    (void)result_count;
    return NULL;
}

static void run_module(fixture *w)
{
    const unsigned char *bytes =
        w->rewritten != NULL ? w->rewritten : (const unsigned char *)w->wasm.data;
    must(wasmtime_module_new(engine, bytes,
                             w->rewritten != NULL ? w->rewritten_bytes : w->wasm.size, &w->module));
    w->linker = wasmtime_linker_new(engine);
    must(wasmtime_linker_define_wasi(w->linker));
    wasm_functype_t *type = wasm_functype_new_0_0();
    must(wasmtime_linker_define_func(w->linker, "env", 3, "host", 4, type, env_function, NULL,
                                     NULL));
    wasm_functype_delete(type);
    must(wasmtime_linker_define_unknown_imports_as_traps(w->linker, w->module));
    w->store = wasmtime_store_new(engine, NULL, NULL);
    w->context = wasmtime_store_context(w->store);
    must(wasmtime_context_set_wasi(w->context, wasi_config_new()));
    wasm_trap_t *trap = NULL;
    must(wasmtime_linker_instantiate(w->linker, w->context, w->module, &w->instance, &trap));
    assert_null(trap);
}

static void open_fixture(fixture *w, const char *text)
{
    assemble(w, text);
    read_layout(w);
    assert_string_equal(w->layout->refused, "");
    run_module(w);
}

static void close_fixture(fixture *w)
{
    if (w->store != NULL) {
        wasmtime_store_delete(w->store);
    }
    if (w->linker != NULL) {
        wasmtime_linker_delete(w->linker);
    }
    if (w->module != NULL) {
        wasmtime_module_delete(w->module);
    }
    dw_wasm_layout_destroy(w->layout);
    dw_free(w->rewritten);
    if (w->wasm.data != NULL) {
        wasm_byte_vec_delete(&w->wasm);
    }
}

static wasmtime_extern_t export_of(fixture *w, const char *name, wasmtime_extern_kind_t kind)
{
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(w->context, &w->instance, name, strlen(name), &item)) {
        fail_msg("no export '%s'", name);
    }
    assert_int_equal(item.kind, kind);
    return item;
}

static void call(fixture *w, const char *name, wasmtime_val_t *results, size_t count)
{
    wasmtime_extern_t function = export_of(w, name, WASMTIME_EXTERN_FUNC);
    wasm_trap_t *trap = NULL;
    must(wasmtime_func_call(w->context, &function.of.func, NULL, 0, results, count, &trap));
    assert_null(trap);
}

static void expect_item(const dw_wasm_item *item, uint32_t index, dw_wasm_type type,
                        const char *name)
{
    assert_int_equal(item->index, index);
    assert_int_equal(item->type, type);
    assert_string_equal(item->name, name);
}

/* ---- globals ------------------------------------------------------------------------------ */

static const char globals_text[] =
    "(module"
    " (global i64 (i64.const 5))"
    " (global $i (mut i32) (i32.const 1))"
    " (global $I (mut i64) (i64.const -2))"
    " (global $f (mut f32) (f32.const 0.5))"
    " (global (export \"constant\") f32 (f32.const 0.5))"
    " (global $F (mut f64) (f64.const 0.25))"
    " (global $v (mut v128) (v128.const i64x2 1 2))"
    " (global $r (mut funcref) (ref.func $one))"
    " (global $s (export \"shown\") (mut i32) (i32.const 7))"
    " (func $one) (func $two)"
    " (elem declare func $two)"
    " (func (export \"values\") (result i32 i64 f32 f64 i64 i64 i32 i32)"
    "  (global.get $i) (global.get $I) (global.get $f) (global.get $F)"
    "  (i64x2.extract_lane 0 (global.get $v)) (i64x2.extract_lane 1 (global.get $v))"
    "  (ref.is_null (global.get $r)) (global.get $s))"
    " (func (export \"refer\") (global.set $r (ref.func $two))))";

static void set_global(fixture *w, const char *name, const wasmtime_val_t *value)
{
    wasmtime_extern_t global = export_of(w, name, WASMTIME_EXTERN_GLOBAL);
    must(wasmtime_global_set(w->context, &global.of.global, value));
}

static wasmtime_val_t get_global(fixture *w, const char *name)
{
    wasmtime_extern_t global = export_of(w, name, WASMTIME_EXTERN_GLOBAL);
    wasmtime_val_t value;
    wasmtime_global_get(w->context, &global.of.global, &value);
    return value;
}

static void test_wasm_binary_reaches_globals_of_every_type(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, globals_text);
    const dw_wasm_item *items = w.layout->globals;
    assert_int_equal(w.layout->global_count, 7);
    expect_item(&items[0], 1, DW_WASM_I32, "driftwood:g1");
    expect_item(&items[1], 2, DW_WASM_I64, "driftwood:g2");
    expect_item(&items[2], 3, DW_WASM_F32, "driftwood:g3");
    expect_item(&items[3], 5, DW_WASM_F64, "driftwood:g5");
    expect_item(&items[4], 6, DW_WASM_V128, "driftwood:g6");
    expect_item(&items[5], 7, DW_WASM_FUNCREF, "driftwood:g7");
    expect_item(&items[6], 8, DW_WASM_I32, "shown");
    assert_int_equal(get_global(&w, items[1].name).of.i64, -2);
    set_global(&w, items[0].name, &(wasmtime_val_t){.kind = WASMTIME_I32, .of.i32 = -11});
    set_global(&w, items[1].name, &(wasmtime_val_t){.kind = WASMTIME_I64, .of.i64 = INT64_MIN + 5});
    set_global(&w, items[2].name, &(wasmtime_val_t){.kind = WASMTIME_F32, .of.f32 = 1.5f});
    set_global(&w, items[3].name, &(wasmtime_val_t){.kind = WASMTIME_F64, .of.f64 = -2.5});
    wasmtime_val_t vector = {.kind = WASMTIME_V128};
    int64_t lanes[2] = {INT64_MAX - 3, -9};
    memcpy(&vector.of.v128, lanes, sizeof lanes);
    set_global(&w, items[4].name, &vector);
    wasmtime_val_t null = {.kind = WASMTIME_FUNCREF};
    wasmtime_funcref_set_null(&null.of.funcref);
    set_global(&w, items[5].name, &null);
    set_global(&w, items[6].name, &(wasmtime_val_t){.kind = WASMTIME_I32, .of.i32 = 12});
    wasmtime_val_t values[8];
    call(&w, "values", values, 8);
    assert_int_equal(values[0].of.i32, -11);
    assert_int_equal(values[1].of.i64, INT64_MIN + 5);
    assert_true(values[2].of.f32 == 1.5f);
    assert_true(values[3].of.f64 == -2.5);
    assert_int_equal(values[4].of.i64, lanes[0]);
    assert_int_equal(values[5].of.i64, lanes[1]);
    assert_int_equal(values[6].of.i32, 1);
    assert_int_equal(values[7].of.i32, 12);
    wasmtime_val_t read = get_global(&w, items[4].name);
    assert_memory_equal(&read.of.v128, lanes, sizeof lanes);
    close_fixture(&w);
}

/* The layout's function that `reference` is; NULL for none. */
static const dw_wasm_item *identify(fixture *w, const wasmtime_func_t *reference)
{
    const dw_wasm_item *found = NULL;
    for (size_t i = 0; i < w->layout->function_count; i++) {
        const dw_wasm_item *item = &w->layout->functions[i];
        wasmtime_extern_t function = export_of(w, item->name, WASMTIME_EXTERN_FUNC);
        if (memcmp(&function.of.func, reference, sizeof *reference) == 0) {
            assert_null(found);
            found = item;
        }
    }
    return found;
}

static void test_wasm_binary_identifies_functions_in_globals(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, globals_text);
    wasmtime_val_t reference = get_global(&w, "driftwood:g7");
    const dw_wasm_item *one = identify(&w, &reference.of.funcref);
    assert_non_null(one);
    expect_item(one, 0, DW_WASM_I32, "driftwood:f0");
    call(&w, "refer", NULL, 0);
    reference = get_global(&w, "driftwood:g7");
    const dw_wasm_item *two = identify(&w, &reference.of.funcref);
    assert_non_null(two);
    expect_item(two, 1, DW_WASM_I32, "driftwood:f1");
    /* And back: what was found under its name is put into the global. */
    wasmtime_extern_t function = export_of(&w, "driftwood:f0", WASMTIME_EXTERN_FUNC);
    wasmtime_val_t value = {.kind = WASMTIME_FUNCREF, .of.funcref = function.of.func};
    set_global(&w, "driftwood:g7", &value);
    reference = get_global(&w, "driftwood:g7");
    assert_ptr_equal(identify(&w, &reference.of.funcref), one);
    close_fixture(&w);
}

static void test_wasm_binary_uses_names_that_fit(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, "(module"
                     " (global (export \"123456789012345678901234567890123456789\")"
                     "  (mut i32) (i32.const 1))"
                     " (global (export \"1234567890123456789012345678901234567890\")"
                     "  (mut i32) (i32.const 1))"
                     " (global (export \"\\00\") (mut i32) (i32.const 1))"
                     " (global (export \"first\") (export \"second\") (mut i32) (i32.const 1)))");
    assert_int_equal(w.layout->global_count, 4);
    assert_string_equal(w.layout->globals[0].name, "123456789012345678901234567890123456789");
    assert_string_equal(w.layout->globals[1].name, "driftwood:g1");
    assert_string_equal(w.layout->globals[2].name, "driftwood:g2");
    assert_string_equal(w.layout->globals[3].name, "first");
    for (size_t i = 0; i < 4; i++) {
        (void)get_global(&w, w.layout->globals[i].name);
    }
    close_fixture(&w);
    /* Nothing to add: the module stays as it is. */
    open_fixture(&w, "(module (memory (export \"memory\") 1) (func (export \"f\"))"
                     " (global (export \"g\") (mut i32) (i32.const 1)))");
    assert_null(w.rewritten);
    assert_int_equal(w.rewritten_bytes, 0);
    assert_int_equal(w.layout->global_count, 1);
    assert_int_equal(w.layout->function_count, 0);
    close_fixture(&w);
}

/* ---- tables ------------------------------------------------------------------------------- */

static const char tables_text[] =
    "(module (import \"env\" \"host\" (func $host))"
    " (table $first 5 8 funcref) (table $second (export \"seen\") 2 funcref)"
    " (func $a) (func $b) (func $c (export \"c\")) (func $unused)"
    " (elem (table $first) (i32.const 0) func $a $b $host)"
    " (elem $later funcref (ref.func $d) (ref.null func))"
    " (func $d)"
    " (func (export \"change\")"
    "  (table.set $first (i32.const 0) (table.get $first (i32.const 1)))"
    "  (table.set $first (i32.const 3) (table.get $first (i32.const 2)))"
    "  (table.set $first (i32.const 4) (ref.func $c))"
    "  (table.init $second $later (i32.const 0) (i32.const 0) (i32.const 2))"
    "  (drop (table.grow $first (ref.func $a) (i32.const 2)))))";

/* The index of the function at an entry; -1 for null. */
static int64_t entry(fixture *w, const char *table, uint64_t at)
{
    wasmtime_extern_t item = export_of(w, table, WASMTIME_EXTERN_TABLE);
    wasmtime_val_t value;
    assert_true(wasmtime_table_get(w->context, &item.of.table, at, &value));
    assert_int_equal(value.kind, WASMTIME_FUNCREF);
    if (wasmtime_funcref_is_null(&value.of.funcref)) {
        return -1;
    }
    const dw_wasm_item *function = identify(w, &value.of.funcref);
    assert_non_null(function);
    return function->index;
}

static void test_wasm_binary_reaches_tables(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, tables_text);
    assert_int_equal(w.layout->table_count, 2);
    assert_true(w.layout->tables_change);
    expect_item(&w.layout->tables[0], 0, DW_WASM_FUNCREF, "driftwood:t0");
    expect_item(&w.layout->tables[1], 1, DW_WASM_FUNCREF, "seen");
    static const struct {
        uint32_t index;
        const char *name;
    } functions[] = {{0, "driftwood:f0"}, {1, "driftwood:f1"}, {2, "driftwood:f2"}, {3, "c"},
                     {5, "driftwood:f5"}, {6, "change"}};
    assert_int_equal(w.layout->function_count, 6);
    for (size_t i = 0; i < 6; i++) {
        expect_item(&w.layout->functions[i], functions[i].index, DW_WASM_I32, functions[i].name);
    }
    static const int64_t before[] = {1, 2, 0, -1, -1};
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(entry(&w, "driftwood:t0", i), before[i]);
    }
    assert_int_equal(entry(&w, "seen", 0), -1);
    call(&w, "change", NULL, 0);
    static const int64_t after[] = {2, 2, 0, 0, 3, 1, 1};
    wasmtime_extern_t table = export_of(&w, "driftwood:t0", WASMTIME_EXTERN_TABLE);
    assert_int_equal(wasmtime_table_size(w.context, &table.of.table), 7);
    for (uint64_t i = 0; i < 7; i++) {
        assert_int_equal(entry(&w, "driftwood:t0", i), after[i]);
    }
    assert_int_equal(entry(&w, "seen", 0), 5);
    assert_int_equal(entry(&w, "seen", 1), -1);
    close_fixture(&w);
}

static void test_wasm_binary_lists_functions_of_initialisers(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, "(module (func $a) (func $b) (func $c) (func $d)"
                     " (table 3 funcref (ref.func $c))"
                     " (global funcref (ref.func $b)))");
    assert_int_equal(w.layout->function_count, 2);
    assert_int_equal(w.layout->functions[0].index, 1);
    assert_int_equal(entry(&w, "driftwood:t0", 2), 2);
    assert_false(w.layout->tables_change);
    close_fixture(&w);
}

/* ---- memories ----------------------------------------------------------------------------- */

static void test_wasm_binary_reaches_further_memories(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, "(module (memory $a 1) (memory $b (export \"memory\") 1) (memory $c 2)"
                     " (memory (export \"more\") 3)"
                     " (data (memory $c) (i32.const 70000) \"driftwood\")"
                     " (func (export \"load\") (result i32) (i32.load8_u $c (i32.const 70000))))");
    assert_int_equal(w.layout->memory_count, 3);
    expect_item(&w.layout->memories[0], 0, DW_WASM_I32, "driftwood:m0");
    expect_item(&w.layout->memories[1], 2, DW_WASM_I32, "driftwood:m2");
    expect_item(&w.layout->memories[2], 3, DW_WASM_I32, "more");
    wasmtime_extern_t memory = export_of(&w, "driftwood:m2", WASMTIME_EXTERN_MEMORY);
    assert_int_equal(wasmtime_memory_data_size(w.context, &memory.of.memory), 2 * 65536);
    uint8_t *data = wasmtime_memory_data(w.context, &memory.of.memory);
    assert_memory_equal(data + 70000, "driftwood", 9);
    data[70000] = 'D';
    wasmtime_val_t letter;
    call(&w, "load", &letter, 1);
    assert_int_equal(letter.of.i32, 'D');
    close_fixture(&w);
}

/* ---- rewriting ---------------------------------------------------------------------------- */

static void test_wasm_binary_adds_a_missing_export_section(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "(module (global (mut i32) (i32.const 1)))",
        "(module (global $g (mut i32) (i32.const 1)) (func $f (global.set $g (i32.const 1))))",
        "(module (global (mut i32) (i32.const 1)) (memory 1) (data (i32.const 0) \"a\"))",
        ("(module (global (mut i32) (i32.const 1)) (table 1 funcref) (func $f)"
         " (elem (i32.const 0) $f) (@custom \"end\" (after last) \"bytes\"))"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fixture w;
        open_fixture(&w, texts[i]);
        assert_int_equal(get_global(&w, "driftwood:g0").of.i32, 1);
        close_fixture(&w);
    }
}

static void test_wasm_binary_keeps_all_else_byte_by_byte(void **state)
{
    (void)state;
    fixture w;
    open_fixture(&w, "(module (@custom \"first\" (before first) \"some bytes\")"
                     " (@custom \"here\" (before export) \"more bytes\")"
                     " (@custom \"there\" (after export) \"yet more bytes\")"
                     " (memory (export \"memory\") 1) (global (mut i64) (i64.const 1))"
                     " (func (export \"f\") (drop (i32.const 3)))"
                     " (data (i32.const 4) \"data\"))");
    /* Taking the added entry out again gives the module that it was. */
    static const unsigned char added[] = "\x0c"
                                         "driftwood:g0\x03\x00";
    size_t added_bytes = sizeof added - 1;
    assert_int_equal(w.rewritten_bytes, w.wasm.size + added_bytes);
    size_t same = 0;
    while (w.rewritten[same] == (unsigned char)w.wasm.data[same]) {
        same++;
    }
    /* The first to differ is the section's size, then the number of entries. */
    assert_int_equal(w.rewritten[same], (unsigned char)w.wasm.data[same] + added_bytes);
    assert_int_equal(w.rewritten[same + 1], 3);
    size_t entries = (size_t)w.wasm.data[same] - 1;
    assert_memory_equal(w.rewritten + same + 2, w.wasm.data + same + 2, entries);
    assert_memory_equal(w.rewritten + same + 2 + entries, added, added_bytes);
    assert_memory_equal(w.rewritten + same + 2 + entries + added_bytes,
                        w.wasm.data + same + 2 + entries, w.wasm.size - same - 2 - entries);
    close_fixture(&w);
}

static void test_wasm_binary_writes_large_numbers(void **state)
{
    (void)state;
    enum { GLOBALS = 20000 };
    size_t capacity = GLOBALS * 40 + 64;
    char *text = malloc(capacity);
    assert_non_null(text);
    size_t length = (size_t)snprintf(text, capacity, "(module ");
    for (int i = 0; i < GLOBALS; i++) {
        length += (size_t)snprintf(text + length, capacity - length,
                                   "(global (mut i32) (i32.const %d))", i);
    }
    (void)snprintf(text + length, capacity - length, ")");
    fixture w;
    open_fixture(&w, text);
    assert_int_equal(w.layout->global_count, GLOBALS);
    for (int i = 0; i < GLOBALS; i += 127) {
        assert_int_equal(get_global(&w, w.layout->globals[i].name).of.i32, i);
    }
    assert_int_equal(get_global(&w, "driftwood:g19999").of.i32, 19999);
    close_fixture(&w);
    free(text);
}

/* ---- what is refused ---------------------------------------------------------------------- */

static const struct {
    const char *text;
    const char *says; /* empty: it can */
} savable[] = {
    {"(memory 1) (data \"passive\")", ""},
    {"(memory 1) (func $f) (start $f)", "start function"},
    {"(memory 1) (data $d \"passive\") (func (data.drop $d))", "data.drop"},
    {"(memory 1) (data $d \"passive\")"
     " (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))",
     ""},
    {"(memory 1) (data $d (i32.const 0) \"active\") (func (data.drop $d))", ""},
    {"(table 1 funcref) (func $f) (elem func $f)", ""},
    {"(table 1 funcref) (func $f) (elem $e func $f) (func (elem.drop $e))", "elem.drop"},
    {"(table 1 funcref) (func $f) (elem $e func $f)"
     " (func (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))",
     ""},
    {"(table 1 funcref) (func $f) (elem $e (i32.const 0) func $f) (func (elem.drop $e))", ""},
    {"(table 1 funcref) (func $f) (elem $e declare func $f) (func (elem.drop $e))", ""},
    {"(global (mut externref) (ref.null extern))", "global 0 holds an externref"},
    {"(global externref (ref.null extern))", "global 0 holds an externref"},
    {"(global i32 (i32.const 0)) (global (mut anyref) (ref.null any))", "global 1"},
    {"(type $s (struct (field (mut i32)))) (global (ref $s) (struct.new_default $s))", "global 0"},
    {"(global (mut exnref) (ref.null exn))", "global 0"},
    {"(global (mut nullfuncref) (ref.null nofunc))", "global 0"},
    {"(func $f (export \"f\")) (global (ref func) (ref.func $f))", ""},
    {"(func $f (export \"f\")) (global (mut (ref func)) (ref.func $f))", "global 0"},
    {"(func $f (export \"f\")) (global (mut (ref null func)) (ref.func $f))", ""},
    {"(table 1 externref)", "table 0 holds externref"},
    {"(table 1 funcref) (table 1 anyref)", "table 1 holds"},
    {"(type $f (func)) (table 1 (ref null $f))", "table 0 holds"},
    {"(elem anyref (ref.i31 (i32.const 1)))", "element segment"},
    {"(memory 1) (memory 1 2 shared)", "memory 1 is shared"},
    {"(func (export \"driftwood:x\"))", "'driftwood:x'"},
    {"(func (export \"driftwood\") (export \"driftwood_receive\"))", ""},
    {"(memory 1 1 shared) (data \"passive\")"
     " (func (drop (i32.atomic.load (i32.const 0))))",
     "shared"},
    {"(memory 1) (data \"passive\") (func (drop (i32.atomic.load (i32.const 0))))", "not known"},
    {"(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", ""},
};

static void test_wasm_binary_refuses_what_cannot_be_saved(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof savable / sizeof savable[0]; i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "(module %s)", savable[i].text);
        fixture w;
        assemble(&w, text);
        assert_true(wasmtime_module_validate(engine, (uint8_t *)w.wasm.data, w.wasm.size) == NULL);
        read_layout(&w);
        if ((savable[i].says[0] == '\0') != (w.layout->refused[0] == '\0') ||
            strstr(w.layout->refused, savable[i].says) == NULL) {
            fail_msg("%s: '%s', should be '%s'", text, w.layout->refused, savable[i].says);
        }
        if (w.layout->refused[0] != '\0') {
            assert_null(w.rewritten);
            assert_int_equal(w.layout->global_count + w.layout->table_count +
                                 w.layout->memory_count + w.layout->function_count,
                             0);
        }
        close_fixture(&w);
    }
}

/* ---- instructions ------------------------------------------------------------------------- */

#define BEFORE                                                                                     \
    "(module (type $s (struct (field $x (mut i32)))) (type $a (array (mut i32)))"                  \
    " (type $fa (array (mut funcref))) (type $v (func))"                                           \
    " (memory $m 1) (memory $n 1) (table $t 4 funcref) (table $u 4 funcref) (tag $e)"              \
    " (global $g (mut i32) (i32.const 0)) (data $d \"passive\") (elem $el func $f)"                \
    " (func $f (export \"f\"))"                                                                    \
    " (func (param $p i32) (local $l i64) (local $w v128) (local $r (ref null $s))"                \
    "  (local $q (ref null $a)) (local $k anyref) (local $z (ref null $v)) (local $x externref)"

static const char *const plain_instructions[] = {
    "(nop)",
    "(block (br 0))",
    "(drop (block (result i32) (i32.const 1)))",
    "(drop (block (result (ref null func)) (ref.null func)))",
    "(loop (br_if 0 (local.get $p)))",
    "(if (local.get $p) (then (nop)) (else (nop)))",
    "(block (block (block (br_table 0 1 2 (local.get $p)))))",
    "(call $f)",
    "(call_indirect $u (type $v) (local.get $p))",
    "(return_call $f)",
    "(return_call_indirect $u (type $v) (local.get $p))",
    "(call_ref $v (local.get $z))",
    "(return_call_ref $v (local.get $z))",
    "(block (try_table (catch $e 0) (catch_all 0) (call $f)))",
    /* Numbers that would swallow what follows, were they taken for opcodes: 14 is br_table. */
    "(block (block (block (block (block (block (block (block (block (block (block (block (block"
    " (block (block (try_table (catch $e 14) (catch_all 14) (call $f)))))))))))))))))",
    "(local.set $w (v128.load8_lane 14 (local.get $p) (local.get $w)))",
    "(local.set $w (i8x16.replace_lane 14 (local.get $w) (local.get $p)))",
    "(throw $e)",
    "(drop (block (result exnref) (try_table (catch_all_ref 0) (call $f)) (unreachable)))",
    "(throw_ref (ref.null exn))",
    "(drop (select (i32.const 1) (i32.const 2) (local.get $p)))",
    "(drop (select (result (ref null func)) (ref.null func) (ref.null func) (local.get $p)))",
    "(drop (table.get $u (local.get $p)))",
    "(drop (table.size $u))",
    "(drop (i64.load32_s offset=0x7fffffff align=1 (local.get $p)))",
    "(i64.store $n offset=0xffffffff align=8 (local.get $p) (local.get $l))",
    "(drop (memory.grow $n (local.get $p)))",
    "(drop (memory.size $n))",
    "(memory.init $n $d (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.copy $m $n (i32.const 0) (i32.const 0) (i32.const 0))",
    "(memory.fill $n (i32.const 0) (i32.const 0) (i32.const 0))",
    "(drop (i32.const -2147483648)) (drop (i64.const -9223372036854775808))",
    "(drop (f32.const 1.5)) (drop (f64.const 1.5))",
    "(drop (i64.extend32_s (i64.trunc_sat_f64_u (f64.const 1))))",
    "(drop (i32.trunc_sat_f32_s (f32.const 1)))",
    "(drop (ref.is_null (ref.func $f)))",
    "(drop (ref.null $s))",
    "(drop (ref.as_non_null (local.get $r)))",
    "(drop (ref.eq (local.get $r) (local.get $q)))",
    "(block $o (drop (br_on_null $o (local.get $r))))",
    "(block $o (result (ref $s)) (br_on_non_null $o (local.get $r)) (unreachable)) (drop)",
    "(local.set $w (v128.load32_zero $n offset=300 (local.get $p)))",
    "(local.set $w (v128.load16_lane $n offset=300 7 (local.get $p) (local.get $w)))",
    "(v128.store64_lane 1 (local.get $p) (local.get $w))",
    "(v128.store offset=128 (local.get $p) (local.get $w))",
    "(local.set $w (v128.const i64x2 0x2600260026002600 0x2600260026002600))",
    "(local.set $w (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"
    " (local.get $w) (local.get $w)))",
    "(drop (f64x2.extract_lane 1 (f32x4.replace_lane 3 (local.get $w) (f32.const 1))))",
    "(local.set $w (i8x16.swizzle (local.get $w) (i8x16.splat (local.get $p))))",
    "(local.set $w (f64x2.convert_low_i32x4_u (i32x4.extmul_high_i16x8_u (local.get $w)"
    " (local.get $w))))",
    "(local.set $w (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get $w) (local.get $w)"
    " (local.get $w)))",
    "(i64.mul_wide_u (local.get $l) (local.get $l)) (drop) (drop)",
    "(local.set $r (struct.new $s (i32.const 1)))",
    "(struct.set $s $x (local.get $r) (struct.get $s $x (local.get $r)))",
    "(local.set $q (array.new_fixed $a 2 (i32.const 1) (i32.const 2)))",
    "(local.set $q (array.new_data $a $d (i32.const 0) (i32.const 1)))",
    "(drop (array.new_elem $fa $el (i32.const 0) (i32.const 1)))",
    "(array.copy $a $a (local.get $q) (i32.const 0) (local.get $q) (i32.const 0) (i32.const 1))",
    "(array.fill $a (local.get $q) (i32.const 0) (i32.const 0) (i32.const 1))",
    "(array.set $a (local.get $q) (i32.const 0) (array.len (local.get $q)))",
    "(drop (ref.test (ref $s) (local.get $k)))",
    "(drop (ref.cast (ref null i31) (local.get $k)))",
    "(block $o (result anyref) (br_on_cast $o anyref (ref $s) (local.get $k))) (drop)",
    "(drop (i31.get_s (ref.i31 (local.get $p))))",
    "(local.set $k (any.convert_extern (extern.convert_any (local.get $k))))",
    "(global.set $g (local.tee $p (global.get $g)))",
    "(return)",
};

static const char *const table_instructions[] = {
    "(table.set $u (i32.const 0) (ref.null func))",
    "(table.init $u $el (i32.const 0) (i32.const 0) (i32.const 0))",
    "(table.copy $t $u (i32.const 0) (i32.const 0) (i32.const 0))",
    "(drop (table.grow $u (ref.null func) (i32.const 1)))",
    "(table.fill $u (i32.const 0) (ref.null func) (i32.const 1))",
};

/* The layout of a function of `first` and then `second`. */
static void read_instructions(fixture *w, const char *first, const char *second)
{
    static char text[4096];
    (void)snprintf(text, sizeof text, BEFORE " %s %s))", first, second);
    assemble(w, text);
    wasmtime_error_t *error =
        wasmtime_module_validate(engine, (uint8_t *)w->wasm.data, w->wasm.size);
    must(error);
    read_layout(w);
}

static void test_wasm_binary_walks_every_kind_of_instruction(void **state)
{
    (void)state;
    size_t count = sizeof plain_instructions / sizeof plain_instructions[0];
    for (size_t i = 0; i < count; i++) {
        /* It does nothing to tables and segments; undecoded, it would be refused. */
        fixture w;
        const char *one = plain_instructions[i];
        read_instructions(&w, one, "");
        if (w.layout->refused[0] != '\0' || w.layout->tables_change) {
            fail_msg("%s: %s", one, w.layout->refused);
        }
        close_fixture(&w);
        /* What stands behind it is seen. */
        read_instructions(&w, one, table_instructions[i % 5]);
        if (w.layout->refused[0] != '\0' || !w.layout->tables_change) {
            fail_msg("%s, then %s: %s", one, table_instructions[i % 5], w.layout->refused);
        }
        close_fixture(&w);
        read_instructions(&w, one, i % 2 == 0 ? "(data.drop $d)" : "(elem.drop $el)");
        if (strstr(w.layout->refused, i % 2 == 0 ? "data.drop" : "elem.drop") == NULL) {
            fail_msg("%s, then a drop: '%s'", one, w.layout->refused);
        }
        close_fixture(&w);
    }
}

static void test_wasm_binary_takes_unknown_code_for_the_worst(void **state)
{
    (void)state;
    fixture w;
    assemble(&w, "(module (memory 1) (table 1 funcref)"
                 " (func (drop (i32.atomic.load (i32.const 0))))"
                 " (func (drop (i32.const 4))))");
    read_layout(&w);
    assert_string_equal(w.layout->refused, "");
    assert_true(w.layout->tables_change);
    close_fixture(&w);
    /* A section, a type and an import of a kind from the future. */
    static const unsigned char section[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 14, 1, 0};
    static const unsigned char type[] = {0, 'a', 's', 'm',  1, 0,    0, 0,
                                         6, 6,   1,   0x60, 1, 0x41, 0, 11};
    static const unsigned char kind[] = {0, 'a', 's', 'm', 1, 0,   0, 0, 2,
                                         7, 1,   1,   'a', 1, 'b', 9, 0};
    const struct {
        const void *bytes;
        size_t count;
        const char *says;
    } cases[] = {{section, sizeof section, "byte 8: a section"},
                 {type, sizeof type, "byte 11: a type"},
                 {kind, sizeof kind, "byte 15: an import"}};
    for (size_t i = 0; i < 3; i++) {
        dw_wasm_layout *layout;
        unsigned char *rewritten;
        size_t bytes;
        dw_error err;
        assert_int_equal(
            dw_wasm_layout_read(&layout, cases[i].bytes, cases[i].count, &rewritten, &bytes, &err),
            DW_OK);
        assert_non_null(strstr(layout->refused, cases[i].says));
        assert_null(rewritten);
        dw_wasm_layout_destroy(layout);
    }
}

/* ---- malformed and random bytes ----------------------------------------------------------- */

/* A copy of exactly the bytes given, so that a sanitizer sees what is read behind them. */
static dw_status read_copy(const unsigned char *bytes, size_t count, bool *refused, dw_error *err)
{
    unsigned char *copy = malloc(count > 0 ? count : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    (void)dw_wasm_exports_function(copy, count, DW_ACTOR_EXPORT);
    dw_wasm_layout *layout;
    unsigned char *rewritten;
    size_t rewritten_bytes;
    dw_status status = dw_wasm_layout_read(&layout, copy, count, &rewritten, &rewritten_bytes, err);
    assert_true((status == DW_OK) == (layout != NULL));
    *refused = status == DW_OK && layout->refused[0] != '\0';
    /* What was valid stays so. */
    wasmtime_error_t *error = wasmtime_module_validate(engine, copy, count);
    if (error == NULL && status != DW_OK) {
        fail_msg("a valid module: %s", err->message);
    }
    if (error == NULL && rewritten != NULL) {
        must(wasmtime_module_validate(engine, rewritten, rewritten_bytes));
    }
    if (error != NULL) {
        wasmtime_error_delete(error);
    }
    dw_wasm_layout_destroy(layout);
    dw_free(rewritten);
    free(copy);
    return status;
}

static void test_wasm_binary_names_the_byte_of_what_is_malformed(void **state)
{
    (void)state;
    const struct {
        const char *bytes; /* behind the header */
        size_t count;
        const char *says;
    } cases[] = {
        {"\x02", 1, "byte 9: ends"},
        {"\x02\x05\x01", 3, "byte 10: ends"},
        {"\x03\x02\x05\x00", 4, "byte 11: a section of more"},
        {"\x04\x01\x00\x02\x01\x00", 6, "byte 11: a section that is out"},
        {"\x04\x01\x00\x04\x01\x00", 6, "byte 11: a section that is out"},
        {"\x04\x02\x00\x00", 4, "byte 11: a section longer"},
        {"\x04\x80\x80\x80\x80\x10", 6, "byte 9: a number of more"},
        {"\x04\x80\x80\x80\x80\x80\x00", 7, "byte 9: a number of more"},
        {"\x07\x05\x01\x01x\x00\x00", 7, "byte 15: a function that"},
        {"\x06\x04\x01\x7f\x01\x41", 6, "byte 14: ends"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[64] = {0, 'a', 's', 'm', 1};
        memcpy(bytes + 8, cases[i].bytes, cases[i].count);
        dw_error err = {0};
        bool refused;
        dw_status status = read_copy(bytes, 8 + cases[i].count, &refused, &err);
        if (status != DW_E_FORMAT || strstr(err.message, cases[i].says) == NULL) {
            fail_msg("case %zu: %d '%s', should be '%s'", i, status, err.message, cases[i].says);
        }
    }
    dw_error err;
    bool refused;
    assert_int_equal(read_copy((const unsigned char *)"", 0, &refused, &err), DW_E_FORMAT);
    assert_int_equal(read_copy((const unsigned char *)"\0asm\2\0\0\0", 8, &refused, &err),
                     DW_E_FORMAT);
}

static uint32_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 32);
}

static void mutate(unsigned char *bytes, size_t *count, uint64_t *random)
{
    static const unsigned char likely[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x0b, 0x70, 0x6f,
                                           0x40, 0x63, 0xfb, 0xfc, 0xfd, 0x26, 0xd2, 0x0e};
    uint32_t changes = 1 + next_random(random) % 3;
    for (uint32_t i = 0; i<changes && * count> 0; i++) {
        size_t at = next_random(random) % *count;
        switch (next_random(random) % 5) {
        case 0:
            bytes[at] ^= (unsigned char)(1u << next_random(random) % 8);
            break;
        case 1:
            bytes[at] = (unsigned char)next_random(random);
            break;
        case 2:
            bytes[at] = likely[next_random(random) % sizeof likely];
            break;
        case 3: /* take a byte out */
            memmove(bytes + at, bytes + at + 1, *count - at - 1);
            (*count)--;
            break;
        default:
            if (next_random(random) % 8 == 0) {
                *count = at;
            } else {
                bytes[at] = (unsigned char)(bytes[at] + 1);
            }
        }
    }
}

static void test_wasm_binary_bears_any_bytes(void **state)
{
    (void)state;
    fixture all[4];
    static char text[16384];
    size_t length = (size_t)snprintf(text, sizeof text, BEFORE);
    size_t count = sizeof plain_instructions / sizeof plain_instructions[0];
    for (size_t i = 0; i < count; i++) {
        length +=
            (size_t)snprintf(text + length, sizeof text - length, " %s", plain_instructions[i]);
    }
    (void)snprintf(text + length, sizeof text - length, " (unreachable)))");
    assemble(&all[0], globals_text);
    assemble(&all[1], tables_text);
    assemble(&all[2], text);
    assemble(&all[3], "(module (global (import \"a\" \"b\") (mut i64))"
                      " (table (import \"a\" \"t\") 1 funcref)"
                      " (memory (export \"memory\") 1) (memory 1 2) (memory 3)"
                      " (global (mut i32) (i32.add (i32.const 1) (i32.const 2)))"
                      " (data \"a\") (data (i32.const 1) \"b\"))");
    uint64_t random = 88172645463325252u;
    size_t refused_count = 0;
    size_t malformed = 0;
    size_t fine = 0;
    for (int round = 0; round < 24000; round++) {
        const fixture *w = &all[round % 4];
        static unsigned char bytes[16384];
        size_t bytes_count = w->wasm.size;
        assert_true(bytes_count <= sizeof bytes);
        memcpy(bytes, w->wasm.data, bytes_count);
        mutate(bytes, &bytes_count, &random);
        bool refused;
        dw_error err;
        dw_status status = read_copy(bytes, bytes_count, &refused, &err);
        assert_true(status == DW_OK || status == DW_E_FORMAT);
        malformed += status != DW_OK;
        refused_count += refused;
        fine += status == DW_OK && !refused;
    }
    /* The bytes are neither always noise nor always good. */
    assert_true(malformed > 1000 && refused_count > 500 && fine > 1000);
    for (size_t i = 0; i < 4; i++) {
        for (size_t cut = 0; cut < all[i].wasm.size; cut++) {
            bool refused;
            dw_error err;
            (void)read_copy((unsigned char *)all[i].wasm.data, cut, &refused, &err);
        }
        close_fixture(&all[i]);
    }
}

static void test_wasm_binary_fails_without_memory(void **state)
{
    (void)state;
    fixture w;
    assemble(&w, tables_text);
    int64_t passed = 0;
    dw_status status;
    do {
        dw_error err;
        dw_alloc_fail_after(passed);
        status = dw_wasm_layout_read(&w.layout, w.wasm.data, w.wasm.size, &w.rewritten,
                                     &w.rewritten_bytes, &err);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || (status == DW_E_MEMORY && w.layout == NULL));
        passed++;
    } while (status != DW_OK && passed < 100);
    assert_int_equal(status, DW_OK);
    assert_true(passed > 5);
    close_fixture(&w);
}

/* ---- guests ------------------------------------------------------------------------------- */

static void test_wasm_binary_rewrites_every_guest(void **state)
{
    (void)state;
    wasm_signals_restore();
    glob_t found;
    assert_int_equal(glob(DW_TEST_GUESTS_DIR "/*.wasm", 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 5);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        fixture w = {0};
        FILE *file = fopen(found.gl_pathv[i], "rb");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        wasm_byte_vec_new_uninitialized(&w.wasm, (size_t)ftell(file));
        rewind(file);
        assert_int_equal(fread(w.wasm.data, 1, w.wasm.size, file), w.wasm.size);
        (void)fclose(file);
        read_layout(&w);
        if (w.layout->refused[0] != '\0') {
            fail_msg("%s: %s", found.gl_pathv[i], w.layout->refused);
        }
        /* clang's guests have a stack pointer, at least. */
        assert_true(w.layout->global_count >= 1);
        assert_non_null(w.rewritten);
        assert_false(w.layout->tables_change);
        assert_int_equal(w.layout->memory_count, 0);
        run_module(&w);
        assert_true(get_global(&w, w.layout->globals[0].name).of.i32 > 0);
        close_fixture(&w);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wasm_binary_reaches_globals_of_every_type),
        cmocka_unit_test(test_wasm_binary_identifies_functions_in_globals),
        cmocka_unit_test(test_wasm_binary_uses_names_that_fit),
        cmocka_unit_test(test_wasm_binary_reaches_tables),
        cmocka_unit_test(test_wasm_binary_lists_functions_of_initialisers),
        cmocka_unit_test(test_wasm_binary_reaches_further_memories),
        cmocka_unit_test(test_wasm_binary_adds_a_missing_export_section),
        cmocka_unit_test(test_wasm_binary_keeps_all_else_byte_by_byte),
        cmocka_unit_test(test_wasm_binary_writes_large_numbers),
        cmocka_unit_test(test_wasm_binary_refuses_what_cannot_be_saved),
        cmocka_unit_test(test_wasm_binary_walks_every_kind_of_instruction),
        cmocka_unit_test(test_wasm_binary_takes_unknown_code_for_the_worst),
        cmocka_unit_test(test_wasm_binary_names_the_byte_of_what_is_malformed),
        cmocka_unit_test(test_wasm_binary_bears_any_bytes),
        cmocka_unit_test(test_wasm_binary_fails_without_memory),
        cmocka_unit_test(test_wasm_binary_rewrites_every_guest),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
