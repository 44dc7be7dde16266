/* Link 2: Wasmtime's linear memories on regions. */
#include <string.h>

#include "support.h"
#include "wasm/wasm_memory.h"

#define PAGE ((size_t)65536)

/* Two memories, one of which may grow to 8 pages; each with a poke and a peek. */
static const char module_text[] =
    "(module"
    "  (memory (export \"memory\") 1 8)"
    "  (memory (export \"other\") 2)"
    "  (data (i32.const 64) \"from a data segment\")"
    "  (func (export \"poke\") (param i32 i32)"
    "    (i32.store (local.get 0) (local.get 1)))"
    "  (func (export \"peek\") (param i32) (result i32) (i32.load (local.get 0)))"
    "  (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))";

typedef struct fixture {
    dw_wasm_memories *memories;
    wasm_engine_t *engine;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_module_t *module;
    wasmtime_instance_t instance;
} fixture;

static int set_up(void **state)
{
    static fixture w;
    w = (fixture){0};
    assert_int_equal(dw_wasm_memories_create(&w.memories, NULL), DW_OK);
    wasm_config_t *config = wasm_config_new();
    dw_wasm_memories_install(w.memories, config);
    w.engine = wasm_engine_new_with_config(config);
    wasm_byte_vec_t wasm;
    assert_null(wasmtime_wat2wasm(module_text, strlen(module_text), &wasm));
    assert_null(wasmtime_module_new(w.engine, (const uint8_t *)wasm.data, wasm.size, &w.module));
    wasm_byte_vec_delete(&wasm);
    w.store = wasmtime_store_new(w.engine, NULL, NULL);
    w.context = wasmtime_store_context(w.store);
    wasm_trap_t *trap = NULL;
    assert_null(wasmtime_instance_new(w.context, w.module, NULL, 0, &w.instance, &trap));
    assert_null(trap);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    fixture *w = *state;
    if (w->store != NULL) {
        wasmtime_store_delete(w->store);
    }
    wasmtime_module_delete(w->module);
    wasm_engine_delete(w->engine);
    dw_wasm_memories_destroy(w->memories);
    return 0;
}

static wasmtime_extern_t export_of(fixture *w, const char *name)
{
    wasmtime_extern_t item;
    assert_true(wasmtime_instance_export_get(w->context, &w->instance, name, strlen(name), &item));
    return item;
}

static dw_region *region_of(fixture *w, const char *name)
{
    wasmtime_extern_t memory = export_of(w, name);
    dw_region *region =
        dw_wasm_memories_find(w->memories, wasmtime_memory_data(w->context, &memory.of.memory));
    assert_non_null(region);
    return region;
}

/* The guest's answer; *trapped tells whether it trapped instead. */
static int32_t call(fixture *w, const char *name, int32_t a, int32_t b, size_t count, bool *trapped)
{
    wasmtime_extern_t function = export_of(w, name);
    wasmtime_val_t args[2] = {{.kind = WASMTIME_I32, .of.i32 = a},
                              {.kind = WASMTIME_I32, .of.i32 = b}};
    wasmtime_val_t result = {0};
    wasm_trap_t *trap = NULL;
    bool has_result = strcmp(name, "poke") != 0;
    wasmtime_error_t *error = wasmtime_func_call(w->context, &function.of.func, args, count,
                                                 &result, has_result ? 1 : 0, &trap);
    assert_null(error);
    *trapped = trap != NULL;
    if (trap != NULL) {
        wasm_trap_delete(trap);
    }
    return result.of.i32;
}

static void test_memory_is_the_region(void **state)
{
    fixture *w = *state;
    bool trapped;
    unsigned char *base = dw_region_base(region_of(w, "memory"));
    assert_memory_equal(base + 64, "from a data segment", 19);
    (void)call(w, "poke", 1000, 0x12345678, 2, &trapped);
    int32_t seen;
    memcpy(&seen, base + 1000, sizeof seen);
    assert_int_equal(seen, 0x12345678);
    int32_t written = -77;
    memcpy(base + 2000, &written, sizeof written);
    assert_int_equal(call(w, "peek", 2000, 0, 1, &trapped), -77);
}

static void test_memory_grows_in_place_up_to_its_limit(void **state)
{
    fixture *w = *state;
    bool trapped;
    wasm_signals_restore();
    dw_region *region = region_of(w, "memory");
    unsigned char *base = dw_region_base(region);
    assert_int_equal(dw_region_committed_bytes(region), PAGE);
    base[5] = 99;
    (void)call(w, "peek", (int32_t)PAGE, 0, 1, &trapped);
    assert_true(trapped); /* beyond the end */
    assert_int_equal(call(w, "grow", 3, 0, 1, &trapped), 1);
    assert_ptr_equal(dw_region_base(region_of(w, "memory")), base);
    assert_int_equal(dw_region_committed_bytes(region), 4 * PAGE);
    assert_int_equal(base[5], 99);
    base[4 * PAGE - 4] = 7;
    assert_int_equal(call(w, "peek", (int32_t)(4 * PAGE - 4), 0, 1, &trapped), 7);
    assert_false(trapped);
    assert_int_equal(call(w, "grow", 5, 0, 1, &trapped), -1); /* 9 pages, 8 allowed */
    assert_int_equal(dw_region_committed_bytes(region), 4 * PAGE);
    assert_int_equal(call(w, "grow", 4, 0, 1, &trapped), 4);
}

static void test_memories_are_apart(void **state)
{
    fixture *w = *state;
    assert_int_equal(dw_wasm_memories_count(w->memories), 2);
    dw_region *first = region_of(w, "memory");
    dw_region *second = region_of(w, "other");
    assert_ptr_not_equal(first, second);
    assert_int_equal(dw_region_committed_bytes(second), 2 * PAGE);
    memset(dw_region_base(second), 0x55, 2 * PAGE);
    bool trapped;
    assert_int_equal(call(w, "peek", 0, 0, 1, &trapped), 0);
}

static void test_memories_go_with_their_store(void **state)
{
    fixture *w = *state;
    const void *base = dw_region_base(region_of(w, "memory"));
    wasmtime_store_delete(w->store);
    w->store = NULL;
    assert_int_equal(dw_wasm_memories_count(w->memories), 0);
    assert_null(dw_wasm_memories_find(w->memories, base));
}

static void test_store_limit_stops_growth(void **state)
{
    fixture *w = *state;
    bool trapped;
    wasmtime_store_limiter(w->store, 2 * (int64_t)PAGE, -1, -1, -1, -1);
    assert_int_equal(call(w, "grow", 1, 0, 1, &trapped), 1);
    assert_int_equal(call(w, "grow", 1, 0, 1, &trapped), -1);
    assert_int_equal(dw_region_committed_bytes(region_of(w, "memory")), 2 * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory_is_the_region, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_grows_in_place_up_to_its_limit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_memories_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memories_go_with_their_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_limit_stops_growth, set_up, tear_down),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
