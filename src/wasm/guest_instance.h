/* A compiled guest and its instances, as the host functions see them: the linear memory, the
 * handles, the limits, what was granted. include/driftwood.h has the part for embedders.
 * Thread: an instance belongs to one at a time. */
#ifndef DW_WASM_GUEST_INSTANCE_H
#define DW_WASM_GUEST_INSTANCE_H

#include <jansson.h>
#include <wasmtime.h>

#include "base/counters.h"
#include "base/status.h"
#include "device/device.h"
#include "device/device_view.h"
#include "inference/context.h"
#include "memory/region.h"
#include "model/model.h"
#include "sampling/sampler.h"
#include "wasm/handle_table.h"

/* The WebAssembly side of an engine: Wasmtime's engine, the linker with every import, the linear
 * memories. */
typedef struct dw_wasm_host dw_wasm_host;

/* One function that guests may import. `signature`: parameters, a colon, results, a letter a
 * value: i (i32), I (i64), f (f32), F (f64). E.g. "iii:i". */
typedef struct dw_import {
    const char *name; /* in module "driftwood" */
    const char *signature;
    wasmtime_func_unchecked_callback_t call; /* env is NULL; see dw_instance_of */
} dw_import;

/* What a handle can stand for. */
typedef enum dw_handle_kind {
    DW_HANDLE_MODEL = 1,
    DW_HANDLE_CONTEXT,
    DW_HANDLE_SAMPLER,
    DW_HANDLE_GRAPH,
    DW_HANDLE_KIND_COUNT
} dw_handle_kind;

/* What stands behind a sampler's handle. */
typedef struct dw_guest_sampler {
    dw_sampler *sampler;
    dw_model *model; /* the one it was made for; counted */
} dw_guest_sampler;
/* Takes `sampler`, also on failure; counts `model`. Errors: DW_E_MEMORY. */
dw_status dw_guest_sampler_create(dw_guest_sampler **out, dw_sampler *sampler, dw_model *model,
                                  dw_error *err);
void dw_guest_sampler_destroy(dw_guest_sampler *object);

/* The instance that a host function was called by. Counts the call. */
dw_instance *dw_instance_of(wasmtime_caller_t *caller);

/* Check [pointer, pointer + count * item_bytes) against the linear memory as it is now, and
 * pointer against `align_bytes` (a power of two); `what` names the argument in messages.
 * `*out` is NULL when count is 0. Errors: DW_E_RANGE, DW_E_ALIGN. */
dw_status dw_instance_range(dw_instance *instance, const char *what, uint32_t pointer,
                            uint64_t count, size_t item_bytes, size_t align_bytes, void **out,
                            dw_error *err);

/* Where host functions put their failure, for dw_last_error. */
dw_error *dw_instance_error(dw_instance *instance);
/* NULL: the instance is no actor's. */
dw_actor *dw_instance_actor(const dw_instance *instance);
dw_handle_table *dw_instance_handles(dw_instance *instance);
dw_counters *dw_instance_counters(dw_instance *instance);
dw_device *dw_instance_device(const dw_instance *instance);
dw_wasm_host *dw_instance_host(const dw_instance *instance);
dw_region *dw_instance_region(const dw_instance *instance);
/* The device's buffer on the linear memory, made at the first call and following its growth.
 * Errors: those of dw_device_view_create and dw_device_view_follow. */
dw_status dw_instance_view(dw_instance *instance, dw_device_view **out, dw_error *err);

/* Granted model by name (case-sensitive; empty: the first). Borrowed. Errors: DW_E_DENIED. */
dw_status dw_instance_model(dw_instance *instance, const char *name, dw_model **out, dw_error *err);
uint32_t dw_instance_context_tokens_max(const dw_instance *instance); /* 0: no limit of ours */
dw_kv_type dw_instance_kv_type(const dw_instance *instance);
uint32_t dw_instance_context_count_max(const dw_instance *instance);

bool dw_instance_cancelled(const dw_instance *instance);
const volatile bool *dw_instance_cancel_flag(const dw_instance *instance);
void dw_instance_take_cancellation(dw_instance *instance);
ptrdiff_t dw_instance_input(dw_instance *instance, char *buffer, size_t capacity);
void dw_instance_progress(dw_instance *instance, uint32_t done, uint32_t total);

/* ---- work of the device ---- */

typedef dw_status (*dw_work_fn)(void *arg, dw_error *err);

/* Who carries out what guests ask of the device, where that is not done on the spot. Both functions
 * return when it is done, with its status; meanwhile they may let the guest's fiber wait
 * (dw_fiber_suspend) and others run. */
typedef struct dw_step_runner {
    dw_status (*forward)(void *user, dw_context *context, const dw_step *step, dw_error *err);
    dw_status (*compute)(void *user, dw_work_fn work, void *arg, dw_error *err);
} dw_step_runner;

/* dw_context_forward for a guest: at once, or by the runner of the call under way. */
dw_status dw_instance_forward(dw_instance *instance, dw_context *context, const dw_step *step,
                              dw_error *err);
/* The same for work of any other kind: what `work` returns. */
dw_status dw_instance_compute(dw_instance *instance, dw_work_fn work, void *arg, dw_error *err);

/* ---- calls on fibers ---- */

/* A call whose frames are on a stack of their own, so that it can be left and gone on with.
 * Thread: all of one call on one. */

/* Once a host, before the first of the calls below. Errors: DW_E_MEMORY. Thread: any. */
dw_status dw_fibers_prepare(dw_wasm_host *host, dw_error *err);
/* Begin a call of an exported function of type () -> i32 or () -> (); nothing of it runs yet. Until
 * dw_fiber_end, `runner` carries out its work. Errors: DW_E_NOT_FOUND, DW_E_TYPE, DW_E_STATE (a
 * call is under way; `_start` has run). */
dw_status dw_fiber_begin(dw_instance *instance, const char *function, const dw_step_runner *runner,
                         void *user, dw_error *err);
/* Let it run until it waits, has used up its time slice (false), or is through (true). */
bool dw_fiber_resume(dw_instance *instance);
/* What came of a call that is through, as dw_instance_run has it. `result` is 0 if it gave none. */
dw_status dw_fiber_end(dw_instance *instance, int32_t *result, int *exit_code, dw_error *err);
/* From under a host function: leave the fiber; returns when it is resumed. */
void dw_fiber_suspend(dw_instance *instance);

/* How an object behind a handle is destroyed when its instance goes. Set once per kind by the
 * embedding layer. */
typedef void (*dw_handle_destroy_fn)(void *object);

/* A copy of an object for a fork of its instance, which has the parent's memory already: it and its
 * relative go on independently. Errors: the object's own. */
typedef dw_status (*dw_handle_fork_fn)(void **out, void *object, dw_instance *child, dw_error *err);

/* An object's description as JSON (NULL: no memory), and the object of an untrusted description,
 * for an instance that has its memory already. Errors: DW_E_FORMAT, the object's own. */
typedef json_t *(*dw_handle_save_fn)(const void *object);
typedef dw_status (*dw_handle_load_fn)(void **out, const json_t *saved, dw_instance *instance,
                                       dw_error *err);

/* What a host is made of: handed down from the embedding layer, which knows all the parts. */
typedef struct dw_host_parts {
    dw_device *device;
    const dw_import *const *import_tables; /* [import_table_count], each ended by a NULL name */
    size_t import_table_count;
    dw_handle_destroy_fn destroy[DW_HANDLE_KIND_COUNT];
    dw_handle_fork_fn fork[DW_HANDLE_KIND_COUNT];
    dw_handle_save_fn save_graph;
    dw_handle_load_fn load_graph;
} dw_host_parts;

dw_status dw_wasm_host_create(dw_wasm_host **out, const dw_host_parts *parts, dw_error *err);
void dw_wasm_host_destroy(dw_wasm_host *host);

/* Whether the module imports a function of module "driftwood" whose name starts with `prefix`. */
bool dw_module_imports_any(const dw_module *module, const char *prefix);

/* What an actor's module was compiled from, [*bytes], as long as the module; and its SHA-256 in
 * hexadecimal. Only of modules that export DW_ACTOR_EXPORT, else NULL and "". */
const void *dw_module_wasm(const dw_module *module, size_t *bytes);
const char *dw_module_hash(const dw_module *module);

/* Called by the embedding layer's dw_module_create / dw_module_open. */
dw_status dw_module_compile(dw_module **out, dw_wasm_host *host, const void *wasm,
                            size_t wasm_bytes, dw_error *err);

#endif
