/* The WebAssembly side of an engine: Wasmtime's engine on our linear memories, the linker with
 * every import that guests may have, and the ticker that lets running guests be stopped.
 * Thread: any, once it is made. */
#ifndef DW_WASM_WASM_HOST_H
#define DW_WASM_WASM_HOST_H

#include <wasmtime.h>

#include "base/limits.h"
#include "device/device.h"
#include "inference/prefix_cache.h"

#define DW_IMPORT_MODULE "driftwood" /* the module of our own imports */
#define DW_NN_IMPORT_MODULE "wasi_ephemeral_nn"

typedef struct dw_wasm_host dw_wasm_host;

/* One function that guests may import. `signature`: parameters, a colon, results, a letter a
 * value: i (i32), I (i64), f (f32), F (f64). E.g. "iii:i". */
typedef struct dw_host_import {
    const char *name;
    const char *signature;
    wasmtime_func_unchecked_callback_t call; /* env is NULL; see dw_instance_of */
} dw_host_import;

/* What a host is made of. */
typedef struct dw_host_parts {
    dw_device *device;
    dw_prefix_cache *prefixes; /* of its guests' contexts; outlives the host */
    const dw_host_import *const
        *import_tables; /* [import_table_count], each ended by a NULL name: of DW_IMPORT_MODULE */
    size_t import_table_count;
    const dw_host_import *nn_imports;    /* of DW_NN_IMPORT_MODULE, where no own import is of that
                                         module; NULL: none */
    const dw_import *const *own_imports; /* [own_import_count], the embedder's; checked, copied */
    size_t own_import_count;
    bool counts_fuel;  /* instructions of guests are counted */
    bool traces_calls; /* calls of imports can be told (dw_instance_options.on_trace) */
    bool perf_map;     /* dw_engine_options.perf_map */
    const dw_limits *module_limits; /* all set; for what it compiles; NULL: the defaults */
    const char *module_cache;       /* a folder (wasm/module_cache.h); NULL: none */
    uint64_t module_cache_bytes;    /* 0: DW_MODULE_CACHE_BYTES */
} dw_host_parts;

/* `parts` is borrowed for the call. Errors: DW_E_MEMORY, DW_E_STATE (Wasmtime's refusal), DW_E_ARG
 * and DW_E_LIMIT (an own import: which, and why), those of dw_module_cache_open. */
dw_status dw_wasm_host_create(dw_wasm_host **out, const dw_host_parts *parts, dw_error *err);
/* Every module and instance of it must be gone. */
/* Whether there are guests of it. Thread: any. */
bool dw_wasm_host_is_in_use(dw_wasm_host *host);
void dw_wasm_host_destroy(dw_wasm_host *host);
/* Guests that run look, at their next loop or call, whether they should stop; those on fibers are
 * left, as when a time slice is over. Thread: any. */
void dw_wasm_host_end_turns(dw_wasm_host *host);

/* How many modules it has compiled, and found compiled. Thread: any. */
void dw_wasm_host_count(const dw_wasm_host *host, uint64_t *compiled, uint64_t *found);

#endif
