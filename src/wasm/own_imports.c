/* Functions that a host program gives its guests: dw_import in include/driftwood.h. */
#include <string.h>

#include "base/alloc.h"
#include "base/public_struct.h"
#include "wasm/instance_internal.h"

#define IMPORTS_MAX 4096
#define NAME_BYTES_MAX 256
#define VALUES_MAX DW__SIGNATURE_VALUES_MAX
#define VALUE_LETTERS "iIfF"

/* What the linker's function is given; it stays where it is as long as the host. */
struct dw__own_import {
    dw_import own;       /* its texts are copies */
    const char *results; /* in own.signature, behind the colon */
    size_t parameter_count;
    size_t result_count;
};

/* ---- calls -------------------------------------------------------------------------------- */

static void read_values(dw_value *values, const wasmtime_val_raw_t *raw, const char *letters,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch (letters[i]) {
        case 'i':
            values[i].i32 = raw[i].i32;
            break;
        case 'I':
            values[i].i64 = raw[i].i64;
            break;
        case 'f':
            values[i].f32 = raw[i].f32;
            break;
        default:
            values[i].f64 = raw[i].f64;
        }
    }
}

static void write_values(wasmtime_val_raw_t *raw, const dw_value *values, const char *letters,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch (letters[i]) {
        case 'i':
            raw[i].i32 = values[i].i32;
            break;
        case 'I':
            raw[i].i64 = values[i].i64;
            break;
        case 'f':
            raw[i].f32 = values[i].f32;
            break;
        default:
            raw[i].f64 = values[i].f64;
        }
    }
}

/* A callback's failure: an answer where the import has such, else a trap. `given` is the
 * embedder's, and is cut and flattened. */
static wasm_trap_t *fail_call(const dw__own_import *import, dw_instance *instance, dw_status status,
                              const dw_error *given, wasmtime_val_raw_t *raw)
{
    dw_error *error = &instance->import_error;
    bool known = strcmp(dw_status_name(status), "DW_E_?") != 0;
    const char *why = given->message[0] != '\0' ? given->message : dw_status_text(status);
    if (import->own.answers_status && known) {
        (void)dw_fail(&instance->error, status, "%.200s", why);
        raw[0].i32 = (int32_t)status;
        return NULL;
    }
    if (known) {
        (void)dw_fail(error, DW_E_TRAP, "import %.60s.%.60s: %.150s", import->own.module,
                      import->own.name, why);
    } else {
        (void)dw_fail(error, DW_E_TRAP, "import %.60s.%.60s: it returned %d, which is no status",
                      import->own.module, import->own.name, (int)status);
    }
    return wasmtime_trap_new(error->message, strlen(error->message));
}

static wasm_trap_t *call_own(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *raw,
                             size_t count)
{
    const dw__own_import *import = env;
    dw_instance *instance = dw_instance_of(caller);
    dw_import_call *call = &instance->import_call;
    dw_value args[VALUES_MAX];
    dw_value results[VALUES_MAX];
    dw_error error = {.code = DW_OK};
    DW_ASSERT(count >= import->parameter_count && count >= import->result_count);
    memset(args, 0, sizeof args);
    memset(results, 0, sizeof results);
    read_values(args, raw, import->own.signature, import->parameter_count);
    DW_ASSERT(call->instance == NULL); /* an instance is in one call at a time */
    call->instance = instance;
    dw_status status = import->own.call(import->own.user, call, args, results, &error);
    call->instance = NULL;
    if (status != DW_OK) {
        return fail_call(import, instance, status, &error, raw);
    }
    write_values(raw, results, import->results, import->result_count);
    return NULL;
}

dw_status dw_import_call_range(dw_import_call *call, uint32_t pointer, uint64_t count,
                               size_t item_bytes, void **items, dw_error *err)
{
    bool aligned = item_bytes == 2 || item_bytes == 4 || item_bytes == 8;
    if (call == NULL || items == NULL || item_bytes == 0) {
        return dw_fail(err, DW_E_ARG,
                       "dw_import_call_range: no call, no items, or items of 0 bytes");
    }
    *items = NULL;
    if (call->instance == NULL) {
        return dw_fail(err, DW_E_STATE, "dw_import_call_range: the import has returned");
    }
    return dw_instance_range(call->instance, "pointer", pointer, count, item_bytes,
                             aligned ? item_bytes : 1, items, err);
}

dw_instance *dw_import_call_instance(const dw_import_call *call)
{
    return call != NULL ? call->instance : NULL;
}

dw_actor *dw_import_call_actor(const dw_import_call *call)
{
    const dw_instance *instance = dw_import_call_instance(call);
    return instance != NULL ? instance->actor : NULL;
}

void *dw_import_call_user(const dw_import_call *call)
{
    const dw_instance *instance = dw_import_call_instance(call);
    return instance != NULL ? instance->import_user : NULL;
}

bool dw_import_call_is_cancelled(const dw_import_call *call)
{
    dw_instance *instance = dw_import_call_instance(call);
    return instance == NULL || dw_instance_cancelled(instance);
}

/* ---- registering -------------------------------------------------------------------------- */

static dw_status check_signature(const dw_import *own, dw_error *err)
{
    size_t parameters = strspn(own->signature, VALUE_LETTERS);
    const char *results = own->signature + parameters + 1;
    if (own->signature[parameters] != ':' || results[strspn(results, VALUE_LETTERS)] != '\0') {
        return dw_fail(err, DW_E_ARG,
                       "signature '%.40s': letters of i, I, f and F, a colon, letters",
                       own->signature);
    }
    if (parameters > VALUES_MAX || strlen(results) > VALUES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "signature '%.40s': over %d values on a side",
                       own->signature, VALUES_MAX);
    }
    if (own->answers_status && strcmp(results, "i") != 0) {
        return dw_fail(err, DW_E_ARG, "signature '%.40s': to answer a status it must end with ':i'",
                       own->signature);
    }
    return DW_OK;
}

static dw_status check_import(const dw_import *own, dw_error *err)
{
    static const char *const reserved[] = {DW_IMPORT_MODULE, "wasi_snapshot_preview1"};
    if (own->module == NULL || own->name == NULL || own->signature == NULL || own->call == NULL) {
        return dw_fail(err, DW_E_ARG, "module, name, signature or call is NULL");
    }
    size_t module_bytes = strlen(own->module);
    size_t name_bytes = strlen(own->name);
    if (module_bytes == 0 || module_bytes > NAME_BYTES_MAX || name_bytes == 0 ||
        name_bytes > NAME_BYTES_MAX) {
        return dw_fail(err, DW_E_ARG, "module of %zu bytes, name of %zu: 1 to %d are allowed",
                       module_bytes, name_bytes, NAME_BYTES_MAX);
    }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(own->module, reserved[i]) == 0) {
            return dw_fail(err, DW_E_ARG, "module '%s' is reserved", own->module);
        }
    }
    return check_signature(own, err);
}

static dw_status check_twice(const dw_wasm_host *host, const dw_import *own, dw_error *err)
{
    for (size_t i = 0; i < host->own_import_count; i++) {
        const dw_import *other = &host->own_imports[i].own;
        if (strcmp(other->module, own->module) == 0 && strcmp(other->name, own->name) == 0) {
            return dw_fail(err, DW_E_ARG, "'%.60s.%.60s' is imports[%zu] already", own->module,
                           own->name, i);
        }
    }
    return DW_OK;
}

/* The next of host->own_imports. What was copied is released with the host. */
static dw_status keep_import(dw_wasm_host *host, const dw_import *own, dw_error *err)
{
    dw__own_import *import = &host->own_imports[host->own_import_count++];
    import->own = *own;
    import->own.module = dw_strdup(own->module);
    import->own.name = dw_strdup(own->name);
    import->own.signature = dw_strdup(own->signature);
    if (import->own.module == NULL || import->own.name == NULL || import->own.signature == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an import");
    }
    import->parameter_count = strcspn(import->own.signature, ":");
    import->results = import->own.signature + import->parameter_count + 1;
    import->result_count = strlen(import->results);
    wasm_functype_t *type = dw__function_type(import->own.signature);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        host->linker, import->own.module, strlen(import->own.module), import->own.name,
        strlen(import->own.name), type, call_own, import, NULL);
    wasm_functype_delete(type);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_ARG, "not linked", error);
}

static dw_status add_import(dw_wasm_host *host, const dw_import *given, dw_error *err)
{
    dw_import own;
    if (given == NULL) {
        return dw_fail(err, DW_E_ARG, "NULL");
    }
    dw_status status = dw_struct_read(&own, sizeof own, given, "dw_import", err);
    if (status != DW_OK) {
        return status;
    }
    status = check_import(&own, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_twice(host, &own, err);
    return status == DW_OK ? keep_import(host, &own, err) : status;
}

dw_status dw__own_imports_define(dw_wasm_host *host, const dw_import *const *imports, size_t count,
                                 dw_error *err)
{
    if (count == 0) {
        return DW_OK;
    }
    if (imports == NULL || count > IMPORTS_MAX) {
        return dw_fail(err, DW_E_ARG, "imports: %zu, and at most %d can be given%s", count,
                       IMPORTS_MAX, imports == NULL ? "; they are NULL" : "");
    }
    host->own_imports = dw_alloc(count, sizeof *host->own_imports);
    if (host->own_imports == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu imports", count);
    }
    for (size_t i = 0; i < count; i++) {
        dw_status status = add_import(host, imports[i], err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "imports[%zu]", i);
        }
    }
    return DW_OK;
}

void dw__own_imports_release(dw_wasm_host *host)
{
    for (size_t i = 0; i < host->own_import_count; i++) {
        const dw_import *own = &host->own_imports[i].own;
        dw_free((void *)(uintptr_t)own->module);
        dw_free((void *)(uintptr_t)own->name);
        dw_free((void *)(uintptr_t)own->signature);
    }
    dw_free(host->own_imports);
    host->own_imports = NULL;
    host->own_import_count = 0;
}
