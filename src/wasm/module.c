/* Compiling a guest, and refusing what is none. */
#include "wasm/module.h"

#include <string.h>

#include "base/alloc.h"
#include "base/stack.h"
#include "wasm/wasi_internal.h"
#include "wasm/wasm_work.h"

#define WASM_PAGE_BYTES 65536u

/* WebAssembly core specification, 5.5.16: magic "\0asm", then version 1 in four bytes. A component
 * has 13 there, and a 1 where its layer stands. */
static dw_status check_header(const unsigned char *bytes, size_t count, dw_error *err)
{
    static const unsigned char magic[4] = {0x00, 0x61, 0x73, 0x6d};
    if (count >= 7 && memcmp(bytes, "(module", 7) == 0) {
        return dw_fail(err, DW_E_FORMAT,
                       "not WebAssembly but its text form: assemble it first (wat2wasm)");
    }
    if (count < 8 || memcmp(bytes, magic, sizeof magic) != 0) {
        return dw_fail(err, DW_E_FORMAT, "not a WebAssembly module: %zu bytes, no \\0asm in front",
                       count);
    }
    if (bytes[6] != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "a WebAssembly component: only core modules run here "
                       "(compile for wasm32-wasi, preview 1)");
    }
    return DW_OK;
}

static dw_status compile_failed(wasmtime_error_t *error, dw_error *err)
{
    dw_error local;
    dw_status status = dw__wasm_error(&local, DW_E_FORMAT, "the module does not compile", error);
    /* The validator's words for a proposal that is switched off. */
    if (strstr(local.message, "memory64") != NULL || strstr(local.message, "64-bit mem") != NULL ||
        strstr(local.message, "i64 index") != NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "the module uses memory64: pointers here have 32 bits (wasm32)");
    }
    if (strstr(local.message, "threads") != NULL || strstr(local.message, "shared") != NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "the module uses threads or shared memory: a guest is one thread");
    }
    if (strstr(local.message, "must be enabled") != NULL ||
        strstr(local.message, "not enabled") != NULL ||
        strstr(local.message, "support is not") != NULL) {
        status = DW_E_UNSUPPORTED;
    }
    return dw_fail(err, status, "%s", local.message);
}

static bool name_is(const wasm_name_t *name, const char *text)
{
    return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

/* A guest must have a memory for the host to share, and something to call. */
static dw_status check_exports(dw_module *module, dw_error *err)
{
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module->module, &exports);
    bool has_memory = false;
    bool has_function = false;
    for (size_t i = 0; i < exports.size; i++) {
        const wasm_externtype_t *type = wasm_exporttype_type(exports.data[i]);
        if (wasm_externtype_kind(type) == WASM_EXTERN_FUNC) {
            has_function = true;
        } else if (wasm_externtype_kind(type) == WASM_EXTERN_MEMORY &&
                   name_is(wasm_exporttype_name(exports.data[i]), "memory")) {
            has_memory = true;
            const wasm_memorytype_t *memory = wasm_externtype_as_memorytype_const(type);
            module->memory_bytes_min = wasmtime_memorytype_minimum(memory) * WASM_PAGE_BYTES;
        }
    }
    size_t count = exports.size;
    wasm_exporttype_vec_delete(&exports);
    if (count == 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "the module exports nothing: a guest exports its memory and _start");
    }
    if (!has_memory) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "the module exports no memory under the name 'memory'");
    }
    if (!has_function) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "the module exports no function: there is nothing to run");
    }
    return DW_OK;
}

/* ---- compiled before ---------------------------------------------------------------------- */

/* false: nothing compiled is kept. */
static bool key_of(const dw_wasm_host *host, const uint8_t hash[DW_SHA256_BYTES],
                   uint8_t key[DW_SHA256_BYTES])
{
    const dw_limits *l = &host->module_limits;
    const uint64_t limits[] = {
        l->module_bytes,    l->module_types,   l->module_imports,      l->module_functions,
        l->module_globals,  l->module_exports, l->module_segments,     l->function_bytes,
        l->function_locals, l->compile_ms,     l->function_compile_ms, l->compile_excess_ms,
    };
    if (host->modules != NULL) {
        dw_module_cache_key(host->modules, hash, limits, sizeof limits / sizeof limits[0], key);
    }
    return host->modules != NULL;
}

/* Where an actor's state lies is kept beside its module: finding it takes longer than loading. */
static bool find_compiled(dw_module *module, const uint8_t key[DW_SHA256_BYTES], bool is_actor)
{
    unsigned char *beside;
    size_t bytes;
    dw_wasm_host *host = module->host;
    if (!dw_module_cache_find(host->modules, key, host->engine, &module->module, &beside, &bytes)) {
        return false;
    }
    if (is_actor) {
        module->layout = dw_wasm_layout_unpack(beside, bytes);
    }
    if ((module->layout != NULL) != is_actor) {
        wasmtime_module_delete(module->module);
        module->module = NULL;
        dw_module_cache_drop(host->modules, key, "no layout in it");
    }
    dw_free(beside);
    return module->module != NULL;
}

static void keep_compiled(const dw_module *module, const uint8_t key[DW_SHA256_BYTES])
{
    size_t bytes = 0;
    unsigned char *beside =
        module->layout != NULL ? dw_wasm_layout_pack(module->layout, &bytes) : NULL;
    if (beside != NULL || module->layout == NULL) {
        dw_module_cache_keep(module->host->modules, key, module->module, beside, bytes);
    }
    dw_free(beside);
}

wasmtime_error_t *dw__host_compile(dw_wasm_host *host, const void *wasm, size_t bytes,
                                   wasmtime_module_t **out)
{
    dw_module module = {.host = host};
    uint8_t hash[DW_SHA256_BYTES];
    uint8_t key[DW_SHA256_BYTES];
    dw_sha256(hash, wasm, bytes);
    bool kept = key_of(host, hash, key);
    if (!kept || !find_compiled(&module, key, false)) {
        wasmtime_error_t *error = wasmtime_module_new(host->engine, wasm, bytes, &module.module);
        if (error != NULL) {
            return error;
        }
        if (kept) {
            keep_compiled(&module, key);
        }
    }
    *out = module.module;
    return NULL;
}

/* ---- compiling ---------------------------------------------------------------------------- */

/* An actor's module is kept for its snapshots. */
static dw_status keep_wasm(dw_module *module, const void *wasm, size_t wasm_bytes,
                           const uint8_t hash[DW_SHA256_BYTES], dw_error *err)
{
    module->wasm = dw_alloc(wasm_bytes, 1);
    if (module->wasm == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module's %zu bytes", wasm_bytes);
    }
    memcpy(module->wasm, wasm, wasm_bytes);
    module->wasm_bytes = wasm_bytes;
    dw_hex(module->wasm_hash, hash, DW_SHA256_BYTES);
    return DW_OK;
}

/* What a module becomes before it is compiled: each step's own, or the one before's. */
typedef struct form {
    const void *bytes;
    size_t count;
    unsigned char *owned; /* NULL: the caller's */
} form;

/* Takes `owned`; NULL: nothing has changed. */
static void take_form(form *f, unsigned char *owned, size_t count)
{
    if (owned != NULL) {
        dw_free(f->owned);
        *f = (form){.bytes = owned, .count = count, .owned = owned};
    }
}

/* An actor's state must be reachable from outside; of other programs, where their stack ends. */
static dw_status prepare(dw_module *module, form *f, bool is_actor, dw_error *err)
{
    unsigned char *next = NULL;
    size_t count = 0;
    dw_status status = dw_wasm_join_data(f->bytes, f->count, &next, &count, err);
    take_form(f, next, count);
    if (status == DW_OK) {
        status = dw_wasm_work_check(f->bytes, f->count, &module->host->module_limits, err);
    }
    if (status == DW_OK) {
        status = dw_wasm_part_bulk(f->bytes, f->count, &next, &count, err);
        take_form(f, status == DW_OK ? next : NULL, count);
    }
    if (status != DW_OK) {
        return status;
    }
    status = is_actor ? dw_wasm_layout_read(&module->layout, f->bytes, f->count, &next, &count, err)
                      : dw_wasm_export_stack(f->bytes, f->count, &next, &count, err);
    take_form(f, status == DW_OK ? next : NULL, count);
    return status;
}

static dw_status compile_anew(dw_module *module, const void *wasm, size_t wasm_bytes, bool is_actor,
                              dw_error *err)
{
    form f = {.bytes = wasm, .count = wasm_bytes};
    if (wasm_bytes > module->host->module_limits.module_bytes) { /* before it is copied */
        return dw_wasm_work_check(wasm, wasm_bytes, &module->host->module_limits, err);
    }
    dw_status status = prepare(module, &f, is_actor, err);
    if (status == DW_OK) {
        wasmtime_error_t *error =
            wasmtime_module_new(module->host->engine, f.bytes, f.count, &module->module);
        if (error != NULL) {
            module->module = NULL;
            status = compile_failed(error, err);
        }
    }
    dw_free(f.owned);
    return status;
}

static dw_status compile(dw_module *module, const void *wasm, size_t wasm_bytes, dw_error *err)
{
    uint8_t hash[DW_SHA256_BYTES] = {0};
    uint8_t key[DW_SHA256_BYTES];
    bool is_actor = dw_wasm_exports_function(wasm, wasm_bytes, DW_ACTOR_EXPORT);
    dw_status status = DW_OK;
    if (is_actor || module->host->modules != NULL) {
        dw_sha256(hash, wasm, wasm_bytes);
    }
    if (is_actor) {
        status = keep_wasm(module, wasm, wasm_bytes, hash, err);
    }
    if (status != DW_OK) {
        return status;
    }
    bool kept = key_of(module->host, hash, key);
    if (kept && find_compiled(module, key, is_actor)) {
        atomic_fetch_add(&module->host->found_count, 1);
    } else {
        status = compile_anew(module, wasm, wasm_bytes, is_actor, err);
        if (status == DW_OK) {
            atomic_fetch_add(&module->host->compiled_count, 1);
        }
        if (status == DW_OK && kept) {
            keep_compiled(module, key);
        }
    }
    if (status == DW_OK) { /* the validator has been through it */
        dw_wasm_needs_read(&module->needs, wasm, wasm_bytes);
    }
    return status;
}

typedef struct compiling {
    dw_wasm_host *host;
    const void *wasm; /* [wasm_bytes] */
    size_t wasm_bytes;
    dw_module *module;
} compiling;

static dw_status compile_here(void *arg, dw_error *err)
{
    compiling *c = arg;
    dw_wasm_host *host = c->host;
    dw_status status = check_header(c->wasm, c->wasm_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_module *module = dw_alloc(1, sizeof *module);
    if (module == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module");
    }
    module->references = 1;
    module->host = host;
    status = compile(module, c->wasm, c->wasm_bytes, err);
    if (status != DW_OK) {
        goto out;
    }
    wasmtime_error_t *error =
        wasmtime_linker_instantiate_pre(host->linker, module->module, &module->linked);
    if (error != NULL) {
        module->linked = NULL;
        status = dw__link_failed(host, module->module, error, err);
        goto out;
    }
    if (module->layout != NULL) {
        error = wasmtime_linker_instantiate_pre(host->actor_linker, module->module,
                                                &module->actor_linked);
        DW_ASSERT(error == NULL); /* it has the same functions, of the same types */
    }
    status = check_exports(module, err);
    if (status != DW_OK) {
        goto out;
    }
    module->wants_wasi = dw__wasi_is_wanted(module->module);
    c->module = module;
    module = NULL;
out:
    dw_module_unref(module);
    return status;
}

/* On a stack of ours: validation and translation take 50 KiB for the smallest module. */
dw_status dw_module_compile(dw_module **out, dw_wasm_host *host, const void *wasm,
                            size_t wasm_bytes, dw_error *err)
{
    compiling c = {.host = host, .wasm = wasm, .wasm_bytes = wasm_bytes};
    dw_status status = dw_stack_run(compile_here, &c, err);
    *out = c.module;
    return status;
}

dw_module *dw_module_ref(dw_module *module)
{
    atomic_fetch_add(&module->references, 1);
    return module;
}

void dw_module_unref(dw_module *module)
{
    if (module == NULL || atomic_fetch_sub(&module->references, 1) > 1) {
        return;
    }
    if (module->linked != NULL) {
        wasmtime_instance_pre_delete(module->linked);
    }
    if (module->actor_linked != NULL) {
        wasmtime_instance_pre_delete(module->actor_linked);
    }
    if (module->module != NULL) {
        wasmtime_module_delete(module->module);
    }
    dw_wasm_layout_destroy(module->layout);
    dw_free(module->wasm);
    dw_free(module);
}

bool dw_module_imports_any(const dw_module *module, const char *prefix)
{
    wasm_importtype_vec_t imports;
    wasmtime_module_imports(module->module, &imports);
    bool found = false;
    size_t length = strlen(prefix);
    for (size_t i = 0; i < imports.size && !found; i++) {
        const wasm_name_t *name = wasm_importtype_name(imports.data[i]);
        found = name_is(wasm_importtype_module(imports.data[i]), DW_IMPORT_MODULE) &&
                name->size >= length && memcmp(name->data, prefix, length) == 0;
    }
    wasm_importtype_vec_delete(&imports);
    return found;
}

static bool uses_nn(const dw_module *module)
{
    wasm_importtype_vec_t imports;
    wasmtime_module_imports(module->module, &imports);
    bool found = false;
    for (size_t i = 0; i < imports.size && !found; i++) {
        found = name_is(wasm_importtype_module(imports.data[i]), DW_NN_IMPORT_MODULE);
    }
    wasm_importtype_vec_delete(&imports);
    return found;
}

bool dw_module_uses_models(const dw_module *module)
{
    return uses_nn(module) || dw_module_imports_any(module, "model_");
}

bool dw_module_uses_vocab(const dw_module *module)
{
    static const char *const prefixes[] = {"tokenize", "detokenize", "token_is_end", "chat_"};
    bool found = uses_nn(module);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0] && !found; i++) {
        found = dw_module_imports_any(module, prefixes[i]);
    }
    return found;
}

bool dw_module_exports(const dw_module *module, const char *name)
{
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module->module, &exports);
    bool found = false;
    for (size_t i = 0; i < exports.size && !found; i++) {
        found = name_is(wasm_exporttype_name(exports.data[i]), name);
    }
    wasm_exporttype_vec_delete(&exports);
    return found;
}

dw_wasm_host *dw_module_host(const dw_module *module)
{
    return module->host;
}

dw_status dw_module_check_callable(const dw_module *module, const char *function, dw_error *err)
{
    wasm_exporttype_vec_t exports;
    dw_status status = DW_OK;
    wasmtime_module_exports(module->module, &exports);
    for (size_t i = 0; i < exports.size && status == DW_OK; i++) {
        const wasm_externtype_t *type = wasm_exporttype_type(exports.data[i]);
        if (name_is(wasm_exporttype_name(exports.data[i]), function)) {
            status =
                wasm_externtype_kind(type) != WASM_EXTERN_FUNC
                    ? dw_fail(err, DW_E_TYPE, "the guest's export '%.80s' is no function", function)
                    : dw__check_callable(wasm_externtype_as_functype_const(type), function, err);
        }
    }
    wasm_exporttype_vec_delete(&exports);
    return status;
}

dw_status dw_module_check_actor(const dw_module *module, dw_error *err)
{
    const dw_wasm_layout *layout = module->layout;
    if (layout == NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "actor: the module exports no function '" DW_ACTOR_EXPORT "'");
    }
    dw_status status = dw_module_check_callable(module, DW_ACTOR_EXPORT, err);
    if (status == DW_OK) {
        status = dw_module_check_callable(module, "_initialize", err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "actor");
    }
    if (layout->refused[0] != '\0') {
        return dw_fail(err, DW_E_UNSUPPORTED, "actor: its state could not be saved: %s",
                       layout->refused);
    }
    if (1 + layout->memory_count > DW_GUEST_MEMORIES_MAX) {
        return dw_fail(err, DW_E_UNSUPPORTED, "actor: %zu memories, limit %d",
                       1 + layout->memory_count, DW_GUEST_MEMORIES_MAX);
    }
    return DW_OK;
}

const char *dw__module_stack_export(const dw_module *module)
{
    const dw_wasm_layout *layout = module->layout;
    if (layout == NULL) {
        return dw_module_exports(module, DW_WASM_STACK_EXPORT) ? DW_WASM_STACK_EXPORT : "";
    }
    bool known = layout->global_count > 0 && layout->globals[0].index == 0 &&
                 layout->globals[0].type == DW_WASM_I32;
    return known ? layout->globals[0].name : "";
}

const dw_wasm_layout *dw_module_layout(const dw_module *module)
{
    return module->layout;
}

const unsigned char *dw_module_wasm(const dw_module *module, size_t *wasm_bytes)
{
    *wasm_bytes = module->wasm_bytes;
    return module->wasm;
}

const char *dw_module_hash(const dw_module *module)
{
    return module->wasm_hash;
}
