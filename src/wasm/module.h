/* A compiled guest, as the host's other parts see it. include/driftwood.h has its life.
 * Thread: any; a module does not change. */
#ifndef DW_WASM_MODULE_H
#define DW_WASM_MODULE_H

#include "wasm/wasm_binary.h"
#include "wasm/wasm_host.h"

/* Most linear memories of a guest. */
#define DW_GUEST_MEMORIES_MAX 16

/* dw_module_create, below the engine. Errors: its. */
dw_status dw_module_compile(dw_module **out, dw_wasm_host *host, const void *wasm,
                            size_t wasm_bytes, dw_error *err);

dw_wasm_host *dw_module_host(const dw_module *module);

/* Whether actors can be made of it. Errors: DW_E_UNSUPPORTED: it does not export DW_ACTOR_EXPORT,
 * or has state that could not be saved. */
dw_status dw_module_check_actor(const dw_module *module, dw_error *err);
/* Whether it imports functions that need a model's vocabulary in all likelihood. */
bool dw_module_uses_vocab(const dw_module *module);
bool dw_module_exports(const dw_module *module, const char *name);
/* Whether that export, if there is one, is a function that the host calls without arguments.
 * Errors: DW_E_TYPE. */
dw_status dw_module_check_callable(const dw_module *module, const char *function, dw_error *err);
/* Of modules that export DW_ACTOR_EXPORT, until the module goes; NULL, and 0 bytes, of others. */
const dw_wasm_layout *dw_module_layout(const dw_module *module);
const unsigned char *dw_module_wasm(const dw_module *module, size_t *wasm_bytes); /* as given */
/* The SHA-256 of these bytes in hexadecimal digits; "" where there are none. */
const char *dw_module_hash(const dw_module *module);

#endif
