/* Wasmtime's WASI functions, called from ours. They look for the memory of the wasm code that calls
 * them, so a small module stands in between: it imports the guest's memory, exports it again, and
 * has a function for each of them that passes on what it gets. An instance of it is made beside a
 * guest at the first need, which on a fiber is its beginning: Wasmtime makes none there. */
#include <string.h>

#include "base/alloc.h"
#include "base/stack.h"
#include "wasm/wasi_internal.h"

static const struct {
    const char *name;
    const char *signature;
} functions[DW__WASI_FUNCTION_COUNT] = {
    [DW__WASI_FD_READ] = {"fd_read", "iiii:i"},
    [DW__WASI_FD_PREAD] = {"fd_pread", "iiiIi:i"},
    [DW__WASI_FD_WRITE] = {"fd_write", "iiii:i"},
    [DW__WASI_FD_PWRITE] = {"fd_pwrite", "iiiIi:i"},
    [DW__WASI_FD_CLOSE] = {"fd_close", "i:i"},
    [DW__WASI_FD_RENUMBER] = {"fd_renumber", "ii:i"},
    [DW__WASI_FD_TELL] = {"fd_tell", "ii:i"},
    [DW__WASI_PATH_OPEN] = {"path_open", "iiiiiIIii:i"},
    [DW__WASI_POLL_ONEOFF] = {"poll_oneoff", "iiii:i"},
    [DW__WASI_RANDOM_GET] = {"random_get", "ii:i"},
    [DW__WASI_CLOCK_TIME_GET] = {"clock_time_get", "iIi:i"},
    [DW__WASI_CLOCK_RES_GET] = {"clock_res_get", "ii:i"},
    [DW__WASI_SCHED_YIELD] = {"sched_yield", ":i"},
    [DW__WASI_PATH_FILESTAT_GET] = {"path_filestat_get", "iiiii:i"},
    [DW__WASI_FD_FDSTAT_GET] = {"fd_fdstat_get", "ii:i"},
};

dw_status dw__wasi_replace(dw_wasm_host *host, dw__wasi_function which,
                           wasmtime_func_unchecked_callback_t call, dw_error *err)
{
    const char *name = functions[which].name;
    void *env = NULL;
    if (host->traces_calls) {
        host->wasi_calls = host->wasi_calls != NULL
                               ? host->wasi_calls
                               : dw_alloc(DW__WASI_FUNCTION_COUNT, sizeof *host->wasi_calls);
        if (host->wasi_calls == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for calls that are told");
        }
        host->wasi_calls[which] = (dw_host_import){name, functions[which].signature, call};
        env = &host->wasi_calls[which];
        call = dw__traced_call;
    }
    wasm_functype_t *type = dw__function_type(functions[which].signature);
    wasmtime_linker_allow_shadowing(host->linker, true);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        host->linker, DW__WASI_MODULE, strlen(DW__WASI_MODULE), name, strlen(name), type, call, env,
        NULL);
    wasmtime_linker_allow_shadowing(host->linker, false);
    wasm_functype_delete(type);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_STATE, name, error);
}

/* ---- the module --------------------------------------------------------------------------- */

#define MODULE_BYTES_MAX 2048
#define SECTION_SIZE_BYTES 5 /* a number that is longer than it need be */
enum { TYPES = 1, IMPORTS = 2, FUNCTIONS = 3, EXPORTS = 7, CODE = 10 };
enum { KIND_FUNCTION = 0, KIND_MEMORY = 2 };
enum { TYPE_I32 = 0x7f, TYPE_I64 = 0x7e, TYPE_FUNCTION = 0x60 };
enum { OP_END = 0x0b, OP_CALL = 0x10, OP_LOCAL_GET = 0x20 };

typedef struct writer {
    unsigned char bytes[MODULE_BYTES_MAX];
    size_t count;
    size_t section; /* where the present one's size stands */
} writer;

static void put(writer *w, unsigned byte)
{
    DW_ASSERT(w->count < sizeof w->bytes && byte < 256);
    w->bytes[w->count++] = (unsigned char)byte;
}

static void put_name(writer *w, const char *name)
{
    put(w, (unsigned)strlen(name)); /* all are shorter than 128 */
    for (; *name != '\0'; name++) {
        put(w, (unsigned char)*name);
    }
}

static void begin_section(writer *w, unsigned id, unsigned item_count)
{
    put(w, id);
    w->section = w->count;
    for (int i = 0; i < SECTION_SIZE_BYTES; i++) {
        put(w, 0);
    }
    put(w, item_count);
}

static void end_section(writer *w)
{
    size_t bytes = w->count - w->section - SECTION_SIZE_BYTES;
    for (int i = 0; i < SECTION_SIZE_BYTES; i++, bytes >>= 7) {
        w->bytes[w->section + (size_t)i] =
            (unsigned char)((bytes & 0x7f) | (i < SECTION_SIZE_BYTES - 1 ? 0x80 : 0));
    }
}

static void put_types(writer *w)
{
    begin_section(w, TYPES, DW__WASI_FUNCTION_COUNT);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        const char *letter = functions[i].signature;
        put(w, TYPE_FUNCTION);
        put(w, (unsigned)strcspn(letter, ":"));
        for (; *letter != ':'; letter++) {
            put(w, *letter == 'I' ? TYPE_I64 : TYPE_I32);
        }
        put(w, 1);
        put(w, TYPE_I32);
    }
    end_section(w);
}

static void put_imports(writer *w)
{
    begin_section(w, IMPORTS, DW__WASI_FUNCTION_COUNT + 1);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        put_name(w, DW__WASI_MODULE);
        put_name(w, functions[i].name);
        put(w, KIND_FUNCTION);
        put(w, (unsigned)i);
    }
    put_name(w, "guest");
    put_name(w, "memory");
    put(w, KIND_MEMORY);
    put(w, 0); /* no maximum */
    put(w, 0); /* pages at least */
    end_section(w);
}

static void put_exports(writer *w)
{
    begin_section(w, FUNCTIONS, DW__WASI_FUNCTION_COUNT);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        put(w, (unsigned)i); /* its type */
    }
    end_section(w);
    begin_section(w, EXPORTS, DW__WASI_FUNCTION_COUNT + 1);
    put_name(w, "memory");
    put(w, KIND_MEMORY);
    put(w, 0);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        put_name(w, functions[i].name);
        put(w, KIND_FUNCTION);
        put(w, (unsigned)(DW__WASI_FUNCTION_COUNT + i)); /* behind the imports */
    }
    end_section(w);
}

static void put_code(writer *w)
{
    begin_section(w, CODE, DW__WASI_FUNCTION_COUNT);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        unsigned parameters = (unsigned)strcspn(functions[i].signature, ":");
        put(w, 2 * parameters + 4); /* bytes of the body */
        put(w, 0);                  /* locals */
        for (unsigned k = 0; k < parameters; k++) {
            put(w, OP_LOCAL_GET);
            put(w, k);
        }
        put(w, OP_CALL);
        put(w, (unsigned)i);
        put(w, OP_END);
    }
    end_section(w);
}

/* host->through and host->wasi, once. */
static dw_status make_module_here(void *arg, dw_error *err)
{
    dw_wasm_host *host = arg;
    static const unsigned char head[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    dw_status status = DW_OK;
    wasmtime_error_t *error = NULL;
    writer w = {.count = 0};
    (void)pthread_mutex_lock(&host->lock);
    if (host->through == NULL) {
        memcpy(w.bytes, head, sizeof head);
        w.count = sizeof head;
        put_types(&w);
        put_imports(&w);
        put_exports(&w);
        put_code(&w);
        error = dw__host_compile(host, w.bytes, w.count, &host->through);
    }
    if (error == NULL && host->wasi == NULL) {
        host->wasi = wasmtime_linker_new(host->engine);
        error = wasmtime_linker_define_wasi(host->wasi);
    }
    if (error != NULL) {
        status = dw__wasm_error(err, DW_E_MEMORY, "WASI", error);
    }
    (void)pthread_mutex_unlock(&host->lock);
    return status;
}

static dw_status make_module(dw_wasm_host *host, dw_error *err)
{
    return dw_stack_run(make_module_here, host, err); /* compiling is deep */
}

void dw__wasi_through_release(dw_wasm_host *host)
{
    if (host->through != NULL) {
        wasmtime_module_delete(host->through);
    }
    if (host->wasi != NULL) {
        wasmtime_linker_delete(host->wasi);
    }
}

bool dw__wasi_is_wanted(const wasmtime_module_t *module)
{
    wasm_importtype_vec_t imports;
    bool wanted = false;
    wasmtime_module_imports(module, &imports);
    for (size_t i = 0; i < imports.size && !wanted; i++) {
        const wasm_name_t *from = wasm_importtype_module(imports.data[i]);
        const wasm_name_t *name = wasm_importtype_name(imports.data[i]);
        bool wasi = from->size == strlen(DW__WASI_MODULE) &&
                    memcmp(from->data, DW__WASI_MODULE, from->size) == 0;
        for (int k = 0; wasi && k < DW__WASI_FUNCTION_COUNT && !wanted; k++) {
            wanted = name->size == strlen(functions[k].name) &&
                     memcmp(name->data, functions[k].name, name->size) == 0;
        }
    }
    wasm_importtype_vec_delete(&imports);
    return wanted;
}

/* ---- an instance's ------------------------------------------------------------------------- */

/* Its imports, in the module's order. */
static void find_imports(dw_instance *instance, wasmtime_extern_t *imports)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        const char *name = functions[i].name;
        DW_ASSERT(wasmtime_linker_get(instance->host->wasi, context, DW__WASI_MODULE,
                                      strlen(DW__WASI_MODULE), name, strlen(name), &imports[i]));
    }
    DW_ASSERT(wasmtime_instance_export_get(context, &instance->instance, "memory", strlen("memory"),
                                           &imports[DW__WASI_FUNCTION_COUNT]));
}

dw_status dw__wasi_through_make(dw_instance *instance, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_extern_t imports[DW__WASI_FUNCTION_COUNT + 1];
    wasmtime_instance_t made;
    wasm_trap_t *trap = NULL;
    dw_status status = make_module(instance->host, err);
    if (status != DW_OK) {
        return status;
    }
    wasmtime_func_t *through = dw_alloc(DW__WASI_FUNCTION_COUNT, sizeof *through);
    if (through == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a guest's WASI");
    }
    find_imports(instance, imports);
    wasmtime_error_t *error = wasmtime_instance_new(context, instance->host->through, imports,
                                                    DW__WASI_FUNCTION_COUNT + 1, &made, &trap);
    DW_ASSERT(trap == NULL); /* nothing of it runs */
    if (error != NULL) {
        dw_free(through);
        return dw__wasm_error(err, DW_E_MEMORY, "WASI", error);
    }
    for (int i = 0; i < DW__WASI_FUNCTION_COUNT; i++) {
        const char *name = functions[i].name;
        wasmtime_extern_t item;
        DW_ASSERT(wasmtime_instance_export_get(context, &made, name, strlen(name), &item) &&
                  item.kind == WASMTIME_EXTERN_FUNC);
        through[i] = item.of.func;
    }
    instance->through = through;
    return DW_OK;
}

static wasm_trap_t *trap_of(wasmtime_error_t *error)
{
    dw_error told;
    (void)dw__wasm_error(&told, DW_E_TRAP, "WASI", error);
    return wasmtime_trap_new(told.message, strlen(told.message));
}

wasm_trap_t *dw__wasi_through(dw_instance *instance, dw__wasi_function which,
                              wasmtime_val_raw_t *values)
{
    dw_error told;
    wasm_trap_t *trap = NULL;
    if (instance->through == NULL && dw__wasi_through_make(instance, &told) != DW_OK) {
        return wasmtime_trap_new(told.message, strlen(told.message));
    }
    size_t count = strcspn(functions[which].signature, ":");
    uint64_t fuel = dw__fuel_put_aside(instance);
    wasmtime_error_t *error = wasmtime_func_call_unchecked(
        wasmtime_store_context(instance->store), &instance->through[which], values, count, &trap);
    dw__fuel_give_back(instance, fuel);
    return error != NULL ? trap_of(error) : trap;
}
