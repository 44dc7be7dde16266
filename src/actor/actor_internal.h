/* What src/actor's files share. */
#ifndef DW_ACTOR_INTERNAL_H
#define DW_ACTOR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "actor/guest_instance.h"
#include "actor/wasm_binary.h"
#include "memory/wasm_memory.h"

#define DW_IMPORT_MODULE "driftwood"

struct dw_wasm_host {
    dw_host_parts parts;
    dw_wasm_memories *memories;
    wasm_engine_t *engine;
    wasmtime_linker_t *linker; /* every import that guests may have; read-only once made */

    /* The ticker advances the epoch while guests run, so that those that only loop can be
     * stopped. It sleeps while none does. */
    pthread_t ticker;
    bool ticker_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t running; /* guests in a call; guarded by lock */
    bool closing;   /* guarded by lock */
};

struct dw_module {
    _Atomic size_t references;
    dw_wasm_host *host;
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *linked; /* imports resolved and type-checked */
    uint64_t memory_bytes_min;       /* of the exported memory */

    /* Of modules that export DW_ACTOR_EXPORT, else NULL: */
    dw_wasm_layout *layout; /* `module` is compiled with the exports that it names */
    unsigned char *wasm;    /* [wasm_bytes] as given, for snapshots */
    size_t wasm_bytes;
};

/* "what: first line of the error", as `code`; takes `error`. */
dw_status dw__wasm_error(dw_error *err, dw_status code, const char *what, wasmtime_error_t *error);

void dw__wasm_host_guest_enters(dw_wasm_host *host);
void dw__wasm_host_guest_leaves(dw_wasm_host *host);

#endif
