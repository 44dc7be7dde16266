/* Link 2: WebAssembly linear memories on regions, through Wasmtime's host memory creator
 * (wasmtime/config.h, wasmtime_memory_creator_t). Wasmtime asks for 4 GiB and a guard a memory;
 * the base never moves, so a pointer into it stays valid over memory.grow.
 * A memory is charged to the account that is entered where it is made (base/account.h), and so is
 * its growth, whoever asks for it: beyond the limits of all memories together, or of all that the
 * guest has, a grow answers -1.
 * Thread: the creator may be called from any; it keeps a list under a lock. */
#ifndef DW_WASM_WASM_MEMORY_H
#define DW_WASM_WASM_MEMORY_H

#include <wasmtime.h>

#include "memory/region.h"

typedef struct dw_wasm_memories dw_wasm_memories;

dw_status dw_wasm_memories_create(dw_wasm_memories **out, dw_error *err);
/* Every memory must be gone: the stores first. */
void dw_wasm_memories_destroy(dw_wasm_memories *memories);

/* Make `config` take its linear memories from here. `memories` must outlive the engine. */
void dw_wasm_memories_install(dw_wasm_memories *memories, wasm_config_t *config);

/* The region that starts at `base`; NULL if it is none of ours. It lives as long as the memory. */
dw_region *dw_wasm_memories_find(dw_wasm_memories *memories, const void *base);
size_t dw_wasm_memories_count(dw_wasm_memories *memories);

#endif
