/* What a module imports that is not given, in words: which import, and what was probably meant. */
#include <string.h>

#include "wasm/instance_internal.h"

/* A module's or function's name fits a pattern that is equal, or its start where it ends in *. */
typedef struct import_hint {
    const char *module;
    const char *name;
    const char *hint;
} import_hint;

static const char assemblyscript[] = "AssemblyScript's: compile with @assemblyscript/wasi-shim, or "
                                     "leave abort out (asc --use abort=)";
static const char emscripten[] =
    "Emscripten's: link with -sSTANDALONE_WASM, which keeps to WASI preview 1";
static const char bindgen[] = "wasm-bindgen's, for JavaScript: build for wasm32-wasip1 without it";
static const char golang[] = "Go's, for JavaScript: build with GOOS=wasip1 GOARCH=wasm";
static const char javascript[] = "JavaScript's: compile for WASI preview 1 (wasm32-wasip1)";
static const char dynamic[] = "of dynamic linking: link the guest into one module";
static const char component[] = "of WASI preview 2: compile for preview 1 (wasm32-wasip1)";

/* The first that fits counts. */
static const import_hint hints[] = {
    {"driftwood", "*", "unknown to this version of Driftwood"},
    {"wasi_snapshot_preview1", "*", "no function of WASI preview 1 that is served here"},
    {"wasi_unstable", "*", "of WASI before preview 1: compile with a newer SDK (wasm32-wasip1)"},
    {"wasi", "thread-spawn", "of WASI threads: a guest is one thread"},
    {"wasi_ephemeral_nn", "*", "no function of wasi-nn that is served here"},
    {"wasi:*", "*", component},
    {"wasi*", "*", "a proposal of WASI that is not served here"},
    {"env", "abort", assemblyscript},
    {"env", "seed", assemblyscript},
    {"env", "trace", assemblyscript},
    {"env", "console.*", assemblyscript},
    {"env", "process.*", assemblyscript},
    {"env", "Date.*", assemblyscript},
    {"env", "emscripten_*", emscripten},
    {"env", "_emscripten_*", emscripten},
    {"env", "__syscall_*", emscripten},
    {"env", "invoke_*", emscripten},
    {"env", "__cxa_*", emscripten},
    {"env", "_abort_js", emscripten},
    {"env", "__assert_fail", emscripten},
    {"a", "*", emscripten}, /* names made short by its optimiser */
    {"env", "memory", "a guest brings its own memory and exports it: link without --import-memory"},
    {"env", "__indirect_function_table", dynamic},
    {"env", "__memory_base", dynamic},
    {"env", "__table_base", dynamic},
    {"env", "__stack_pointer", dynamic},
    {"GOT.*", "*", dynamic},
    {"__wbindgen_*", "*", bindgen},
    {"wbg", "*", bindgen},
    {"./*", "*", bindgen},
    {"go", "*", golang},
    {"gojs", "*", golang},
    {"javascript_*", "*", javascript},
    {"wasm:*", "*", javascript},
    {"env", "*",
     "neither WASI's nor Driftwood's: an undefined symbol of the guest, or one that its host "
     "program must give (dw_import)"},
    {"*", "*",
     "neither WASI's nor Driftwood's; a host program may give imports of its own (dw_import)"},
};

static bool fits(const char *pattern, const wasm_name_t *name)
{
    size_t length = strlen(pattern);
    if (length > 0 && pattern[length - 1] == '*') {
        return name->size >= length - 1 && memcmp(name->data, pattern, length - 1) == 0;
    }
    return name->size == length && memcmp(name->data, pattern, length) == 0;
}

static dw_status fail_missing(const wasm_importtype_t *import, dw_error *err)
{
    const wasm_name_t *module = wasm_importtype_module(import);
    const wasm_name_t *name = wasm_importtype_name(import);
    const import_hint *hint = hints;
    while (!fits(hint->module, module) || !fits(hint->name, name)) {
        hint++; /* the last fits all */
    }
    int module_bytes = module->size < 40 ? (int)module->size : 40;
    int name_bytes = name->size < 60 ? (int)name->size : 60;
    return dw_fail(err, DW_E_UNSUPPORTED, "the module imports '%.*s' from '%.*s', %s", name_bytes,
                   name->data, module_bytes, module->data, hint->hint);
}

dw_status dw__link_failed(dw_wasm_host *host, const wasmtime_module_t *module,
                          wasmtime_error_t *error, dw_error *err)
{
    wasmtime_store_t *store = wasmtime_store_new(host->engine, NULL, NULL);
    wasm_importtype_vec_t imports;
    bool missing = false;
    dw_status status = DW_E_UNSUPPORTED;
    wasmtime_module_imports(module, &imports);
    for (size_t i = 0; store != NULL && i < imports.size && !missing; i++) {
        const wasm_name_t *from = wasm_importtype_module(imports.data[i]);
        const wasm_name_t *name = wasm_importtype_name(imports.data[i]);
        wasmtime_extern_t item;
        if (wasmtime_linker_get(host->linker, wasmtime_store_context(store), from->data, from->size,
                                name->data, name->size, &item)) {
            wasmtime_extern_delete(&item);
        } else {
            missing = true;
            status = fail_missing(imports.data[i], err);
        }
    }
    wasm_importtype_vec_delete(&imports);
    if (store != NULL) {
        wasmtime_store_delete(store);
    }
    if (missing) {
        wasmtime_error_delete(error);
        return status;
    }
    return dw__wasm_error(err, DW_E_UNSUPPORTED, "the module cannot be linked", error);
}
