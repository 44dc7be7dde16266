/* The WebAssembly side of an engine: Wasmtime's engine on our memories, and the linker. */
#include "wasm/wasm_host.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/stack.h"
#include "wasm/wasi_internal.h"

/* How often a running guest looks whether it should stop. */
#define EPOCH_NS UINT64_C(10000000)
/* How long the ticker goes on without guests: to wake it for each short call costs more. */
#define IDLE_EPOCHS 50u
/* How deep a guest can be, on whichever stack: Wasmtime counts from where the guest is entered.
 * Host functions have the rest of the stack. */
#define GUEST_STACK_BYTES ((size_t)4 << 20)
/* Of fibers: as much as calls have that are on none. Only what is touched takes memory. */
#define FIBER_STACK_BYTES DW_STACK_BYTES

static_assert(GUEST_STACK_BYTES + DW_STACK_NEED_BYTES + ((size_t)1 << 20) <= DW_STACK_BYTES,
              "host functions have what they need below the deepest guest");

dw_status dw__wasm_error(dw_error *err, dw_status code, const char *what, wasmtime_error_t *error)
{
    wasm_byte_vec_t message;
    wasmtime_error_message(error, &message);
    wasmtime_error_delete(error);
    /* Wasmtime's texts may have several lines: the context first, the cause last. Both matter. */
    char text[200];
    size_t length = 0;
    for (size_t i = 0; i < message.size && message.data[i] != '\0' && length < sizeof text - 1;
         i++) {
        char c = message.data[i];
        bool space = c == '\n' || c == ' ' || c == '\t';
        if (!space) {
            text[length++] = c;
        } else if (length > 0 && text[length - 1] != ' ') {
            text[length++] = ' ';
        }
    }
    text[length] = '\0';
    wasm_byte_vec_delete(&message);
    return dw_fail(err, code, "%s: %s", what, text);
}

static void *tick(void *user)
{
    dw_wasm_host *host = user;
    uint64_t until_ns = dw_os_clock_ns() + EPOCH_NS;
    unsigned idle = 0; /* epochs since guests ran */
    (void)pthread_mutex_lock(&host->lock);
    while (!host->closing) {
        if (host->running == 0 && idle >= IDLE_EPOCHS) {
            host->ticker_rests = true;
            (void)pthread_cond_wait(&host->changed, &host->lock);
            host->ticker_rests = false;
            idle = 0;
            until_ns = dw_os_clock_ns() + EPOCH_NS;
        } else if (!dw_os_cond_wait_until(&host->changed, &host->lock, until_ns)) {
            wasmtime_engine_increment_epoch(host->engine);
            idle = host->running == 0 ? idle + 1 : 0;
            until_ns = dw_os_clock_ns() + EPOCH_NS;
        }
    }
    (void)pthread_mutex_unlock(&host->lock);
    return NULL;
}

void dw_wasm_host_end_turns(dw_wasm_host *host)
{
    wasmtime_engine_increment_epoch(host->engine);
}

void dw__wasm_host_guest_enters(dw_wasm_host *host)
{
    (void)pthread_mutex_lock(&host->lock);
    host->running++;
    if (host->ticker_rests) {
        (void)pthread_cond_signal(&host->changed);
    }
    (void)pthread_mutex_unlock(&host->lock);
}

void dw__wasm_host_guest_leaves(dw_wasm_host *host)
{
    (void)pthread_mutex_lock(&host->lock);
    DW_ASSERT(host->running > 0);
    host->running--;
    (void)pthread_mutex_unlock(&host->lock);
}

static wasm_config_t *make_config(dw_wasm_memories *memories, const dw_host_parts *parts)
{
    wasm_config_t *config = wasm_config_new();
    if (config == NULL) {
        return NULL;
    }
    dw_wasm_memories_install(memories, config);
    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_config_consume_fuel_set(config, parts->counts_fuel);
    if (parts->perf_map) {
        wasmtime_config_profiler_set(config, WASMTIME_PROFILING_STRATEGY_PERFMAP);
    }
    wasmtime_config_max_wasm_stack_set(config, GUEST_STACK_BYTES);
    wasmtime_config_async_stack_size_set(config, FIBER_STACK_BYTES);
    /* Pointers in the ABI have 32 bits; one guest is one thread; components copy their lists. */
    wasmtime_config_wasm_memory64_set(config, false);
    wasmtime_config_wasm_threads_set(config, false);
    wasmtime_config_shared_memory_set(config, false);
    wasmtime_config_wasm_component_model_set(config, false);
    wasmtime_config_wasm_custom_page_sizes_set(config, false);
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
    return config;
}

static wasm_valtype_t *value_type(char letter)
{
    switch (letter) {
    case 'i':
        return wasm_valtype_new_i32();
    case 'I':
        return wasm_valtype_new_i64();
    case 'f':
        return wasm_valtype_new_f32();
    default:
        DW_ASSERT(letter == 'F');
        return wasm_valtype_new_f64();
    }
}

wasm_functype_t *dw__function_type(const char *signature)
{
    const char *colon = strchr(signature, ':');
    DW_ASSERT(colon != NULL);
    size_t parameter_count = (size_t)(colon - signature);
    size_t result_count = strlen(colon + 1);
    DW_ASSERT(parameter_count <= DW__SIGNATURE_VALUES_MAX &&
              result_count <= DW__SIGNATURE_VALUES_MAX);
    wasm_valtype_t *values[DW__SIGNATURE_VALUES_MAX];
    wasm_valtype_vec_t parameters;
    wasm_valtype_vec_t results;
    for (size_t i = 0; i < parameter_count; i++) {
        values[i] = value_type(signature[i]);
    }
    wasm_valtype_vec_new(&parameters, parameter_count, values);
    for (size_t i = 0; i < result_count; i++) {
        values[i] = value_type(colon[1 + i]);
    }
    wasm_valtype_vec_new(&results, result_count, values);
    return wasm_functype_new(&parameters, &results);
}

static dw_status define_imports(wasmtime_linker_t *linker, const char *module,
                                const dw_host_import *imports, bool traces, dw_error *err)
{
    for (const dw_host_import *import = imports; import->name != NULL; import++) {
        wasm_functype_t *type = dw__function_type(import->signature);
        wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
            linker, module, strlen(module), import->name, strlen(import->name), type,
            traces ? dw__traced_call : import->call, traces ? (void *)(uintptr_t)import : NULL,
            NULL);
        wasm_functype_delete(type);
        if (error != NULL) {
            return dw__wasm_error(err, DW_E_STATE, import->name, error);
        }
    }
    return DW_OK;
}

/* Whether the embedder brings wasi-nn himself. */
static bool gives_nn(const dw_host_parts *parts)
{
    for (size_t i = 0; i < parts->own_import_count && parts->own_imports != NULL; i++) {
        const dw_import *own = parts->own_imports[i];
        if (own != NULL && own->module != NULL && strcmp(own->module, DW_NN_IMPORT_MODULE) == 0) {
            return true;
        }
    }
    return false;
}

static dw_status make_linker(dw_wasm_host *host, const dw_host_parts *parts, dw_error *err)
{
    host->traces_calls = parts->traces_calls;
    host->linker = wasmtime_linker_new(host->engine);
    wasmtime_error_t *error = wasmtime_linker_define_wasi(host->linker);
    if (error != NULL) {
        return dw__wasm_error(err, DW_E_STATE, "WASI", error);
    }
    dw_status status = dw__define_proc_exit(host->linker, parts->traces_calls, err);
    if (status == DW_OK) {
        status = dw__wasi_streams_define(host, err);
    }
    if (status == DW_OK) {
        status = dw__wasi_poll_define(host, err);
    }
    if (status == DW_OK) {
        status = dw__wasi_clock_define(host, err);
    }
    for (size_t i = 0; i < parts->import_table_count && status == DW_OK; i++) {
        status = define_imports(host->linker, DW_IMPORT_MODULE, parts->import_tables[i],
                                parts->traces_calls, err);
    }
    if (status == DW_OK && parts->nn_imports != NULL && !gives_nn(parts)) {
        status = define_imports(host->linker, DW_NN_IMPORT_MODULE, parts->nn_imports,
                                parts->traces_calls, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw__own_imports_define(host, parts->own_imports, parts->own_import_count, err);
    return status == DW_OK ? dw__wasi_output_define(host, err) : status;
}

/* All of make_config's that is not the same in every process of this build; Wasmtime refuses what
 * was compiled with other settings of its own. */
static dw_status open_modules(dw_wasm_host *host, const dw_host_parts *parts, dw_error *err)
{
    char settings[64];
    const char *details = getenv("WASMTIME_BACKTRACE_DETAILS"); /* as Wasmtime does */
    if (parts->module_cache == NULL) {
        return DW_OK;
    }
    (void)snprintf(settings, sizeof settings, "fuel %d, lines %d", parts->counts_fuel,
                   details != NULL && strcmp(details, "1") == 0);
    return dw_module_cache_open(&host->modules, parts->module_cache,
                                parts->module_cache_bytes > 0 ? parts->module_cache_bytes
                                                              : DW_MODULE_CACHE_BYTES,
                                settings, err);
}

dw_status dw_wasm_host_create(dw_wasm_host **out, const dw_host_parts *parts, dw_error *err)
{
    *out = NULL;
    dw_wasm_host *host = dw_alloc(1, sizeof *host);
    if (host == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the WebAssembly host");
    }
    host->device = parts->device;
    host->prefixes = parts->prefixes;
    host->counts_fuel = parts->counts_fuel;
    host->module_limits = parts->module_limits != NULL ? *parts->module_limits : dw_limits_usual;
    DW_ASSERT(pthread_mutex_init(&host->lock, NULL) == 0);
    dw_os_cond_init(&host->changed);
    DW_ASSERT(pthread_mutex_init(&host->stream_lock, NULL) == 0);
    dw_status status = open_modules(host, parts, err);
    if (status == DW_OK) {
        status = dw_wasm_memories_create(&host->memories, err);
    }
    if (status != DW_OK) {
        goto out;
    }
    wasm_config_t *config = make_config(host->memories, parts);
    host->engine = config != NULL ? wasm_engine_new_with_config(config) : NULL;
    if (host->engine == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "Wasmtime's engine could not be made");
        goto out;
    }
    status = make_linker(host, parts, err);
    if (status != DW_OK) {
        goto out;
    }
    if (dw_os_start_thread(&host->ticker, tick, host) != 0) {
        status = dw_fail(err, DW_E_MEMORY, "no thread for the epoch ticker");
        goto out;
    }
    host->ticker_started = true;
    *out = host;
    host = NULL;
out:
    dw_wasm_host_destroy(host);
    return status;
}

void dw_wasm_host_count(const dw_wasm_host *host, uint64_t *compiled, uint64_t *found)
{
    *compiled = atomic_load(&host->compiled_count);
    *found = atomic_load(&host->found_count);
}

bool dw_wasm_host_is_in_use(dw_wasm_host *host)
{
    return dw_wasm_memories_count(host->memories) > 0;
}

void dw_wasm_host_destroy(dw_wasm_host *host)
{
    if (host == NULL) {
        return;
    }
    if (host->ticker_started) {
        (void)pthread_mutex_lock(&host->lock);
        DW_ASSERT(host->running == 0);
        host->closing = true;
        (void)pthread_cond_signal(&host->changed);
        (void)pthread_mutex_unlock(&host->lock);
        (void)pthread_join(host->ticker, NULL);
    }
    if (host->yield != NULL) {
        wasmtime_module_delete(host->yield);
    }
    if (host->linker != NULL) {
        wasmtime_linker_delete(host->linker);
    }
    dw__wasi_through_release(host);
    dw__wakers_release(host);
    if (host->actor_linker != NULL) {
        wasmtime_linker_delete(host->actor_linker);
    }
    if (host->engine != NULL) {
        wasm_engine_delete(host->engine);
    }
    dw__own_imports_release(host); /* the linker's functions refer to them */
    dw_wasm_memories_destroy(host->memories);
    dw_module_cache_close(host->modules);
    (void)pthread_cond_destroy(&host->changed);
    (void)pthread_mutex_destroy(&host->stream_lock);
    (void)pthread_mutex_destroy(&host->lock);
    dw_free(host->wasi_calls);
    dw_free(host);
}
