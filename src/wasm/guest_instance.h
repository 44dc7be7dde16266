/* A guest's instance as the host's other parts see it: the linear memory, the handles, the limits,
 * what was granted. include/driftwood.h has the part for embedders.
 * Thread: an instance belongs to one at a time. */
#ifndef DW_WASM_GUEST_INSTANCE_H
#define DW_WASM_GUEST_INSTANCE_H

#include "base/account.h"
#include "base/counters.h"
#include "base/limits.h"
#include "base/status.h"
#include "base/stop.h"
#include "contexts/contexts.h"
#include "device/device.h"
#include "device/device_view.h"
#include "inference/batch.h"
#include "inference/context.h"
#include "inference/generation.h"
#include "memory/region.h"
#include "model/model.h"
#include "wasm/handle_kinds.h"
#include "wasm/handle_table.h"
#include "wasm/instance_wait.h"
#include "wasm/module.h"

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
dw_counters *dw_instance_counters(dw_instance *instance);
dw_device *dw_instance_device(const dw_instance *instance);
dw_wasm_host *dw_instance_host(const dw_instance *instance);
dw_region *dw_instance_region(const dw_instance *instance);
/* The device's buffer on the linear memory, made at the first call and following its growth.
 * Errors: those of dw_device_view_create and dw_device_view_follow. */
dw_status dw_instance_view(dw_instance *instance, dw_device_view **out, dw_error *err);
/* The same for steps whose tokens alone are there. *out is NULL where there is none yet and the
 * device has memory of its own: tokens are copied there. A view would lock all of the guest's
 * pages, and so copy those that are mapped from files. */
dw_status dw_instance_view_of_tokens(dw_instance *instance, dw_device_view **out, dw_error *err);

/* Granted model by name (case-sensitive; empty: the first): by the one that it was granted under,
 * else by its own. Borrowed. Errors: DW_E_DENIED. */
dw_status dw_instance_model(dw_instance *instance, const char *name, dw_model **out, dw_error *err);
size_t dw_instance_model_count(const dw_instance *instance);
/* The name that the guest finds a granted model by. Borrowed. */
const char *dw_instance_model_name(const dw_instance *instance, size_t index);
/* The chats of a granted model, by the guest's own template where it has one. Borrowed. */
dw_chats *dw_instance_chats(const dw_instance *instance, const dw_model *model);
/* The limits that an instance of these options has; every member is set. Errors: those of
 * dw_limits_take. */
dw_status dw_instance_limits_of(dw_limits *limits, const dw_instance_options *options,
                                dw_error *err);
/* All its limits; every member is set. */
const dw_limits *dw_instance_limits(const dw_instance *instance);
/* Its clocks go on by no less than so many nanoseconds from now on. */
void dw_instance_coarsen_clocks(dw_instance *instance, uint64_t step_ns);
/* What it takes is charged to this. */
dw_account *dw_instance_account(const dw_instance *instance);
dw_kv_type dw_instance_kv_type(const dw_instance *instance);

/* ---- handles ---- */

dw_handle_table *dw_instance_handles(dw_instance *instance);
/* The object behind a guest's handle; NULL with dw_instance_error filled: it is none of `kind`. */
void *dw_instance_get_object(dw_instance *instance, dw_handle_kind kind, int32_t handle);
/* A handle for `object`, which is taken, also on failure; else a negative status with
 * dw_instance_error filled: DW_E_LIMIT, DW_E_MEMORY. */
int32_t dw_instance_add_handle(dw_instance *instance, dw_handle_kind kind, void *object);
/* Destroy the object of a guest's handle. Answers 0, or DW_E_HANDLE with dw_instance_error. */
int32_t dw_instance_close_handle(dw_instance *instance, dw_handle_kind kind, int32_t handle);
size_t dw_instance_count_handles(const dw_instance *instance, dw_handle_kind kind);
/* The same handles in `child`, which has none, for copies of the same objects; closed ones stay
 * closed. Without `graphs_too` so are those of tensor graphs. Errors: those of the objects' forks,
 * DW_E_MEMORY: `child` has then some of them. */
dw_status dw_instance_fork_handles(dw_instance *child, const dw_instance *parent, bool graphs_too,
                                   dw_error *err);

/* ---- the call under way ---- */

/* When what is done for the guest has to end; as long as the instance. */
dw_stop *dw_instance_stop(dw_instance *instance);
/* Cancelled, interrupted, or beyond a limit. */
bool dw_instance_cancelled(dw_instance *instance);
void dw_instance_take_cancellation(dw_instance *instance);
/* What a host function returns whose work was left: the trap that ends the guest, or NULL where it
 * was only cancelled. */
wasm_trap_t *dw_instance_end_call(dw_instance *instance);
/* The same for every negative status: what a limit or a grant refused is told to on_refused. */
wasm_trap_t *dw_instance_failed_call(dw_instance *instance, int64_t status);
/* `on_refused` (NULL: nobody) is called on the guest's thread, in the middle of its call. */
void dw_instance_set_on_refused(dw_instance *instance,
                                void (*on_refused)(void *user, const dw_error *error), void *user);
ptrdiff_t dw_instance_input(dw_instance *instance, char *buffer, size_t capacity);
void dw_instance_progress(dw_instance *instance, uint32_t done, uint32_t total);

/* ---- work of the device ---- */

typedef dw_status (*dw_work_fn)(void *arg, dw_error *err);

/* Who carries out what guests ask of the device, where that is not done on the spot. They
 * return when it is done, with its status; meanwhile they may let the guest's fiber wait
 * (dw_fiber_suspend) and others run. */
typedef struct dw_step_runner {
    dw_status (*forward)(void *user, dw_context *context, const dw_step *step, dw_error *err);
    /* Steps of several contexts at once; `user` and `owner` of items are the runner's. Each item
     * gets its own status. */
    void (*forward_many)(void *user, dw_batch_item *items, uint32_t count);
    dw_status (*compute)(void *user, dw_work_fn work, void *arg, dw_error *err);
    /* As dw_instance_wait: false: the guest was asked to stop. */
    bool (*wait)(void *user, dw_wait *wait);
    /* Let its steps run from now on, whatever the guest does, until it has ended. The runner's
     * until then, but for what a wait looks at. On error nothing has begun. */
    dw_status (*generate)(void *user, dw_generation *generation, dw_error *err);
    /* Return when dw_generation_wakes. */
    void (*generated)(void *user, dw_generation *generation);
} dw_step_runner;

/* dw_context_forward for a guest: at once, or by the runner of the call under way. */
dw_status dw_instance_forward(dw_instance *instance, dw_context *context, const dw_step *step,
                              dw_error *err);
/* The same for steps [count] of different contexts, together (dw_batch_forward_all). */
void dw_instance_forward_many(dw_instance *instance, dw_batch_item *items, uint32_t count);
/* Room of the instance's for what a host function needs during its call, charged to it: aligned for
 * anything, not zeroed, and taken by the next. Errors: DW_E_MEMORY. */
dw_status dw_instance_room(dw_instance *instance, size_t bytes, void **out, dw_error *err);
/* The same for work of any other kind: what `work` returns. */
dw_status dw_instance_compute(dw_instance *instance, dw_work_fn work, void *arg, dw_error *err);

/* Generate ahead of the guest: by the runner of the call under way, or where there is none in
 * dw_instance_generation_wait. `generation` is taken, also on failure, until it is dropped or the
 * call ends. Errors: the runner's. */
dw_status dw_instance_generate(dw_instance *instance, dw_generation *generation, dw_error *err);
/* The one that has taken a context or sampler; NULL: it is free. */
dw_generation *dw_instance_generation_of(const dw_instance *instance, const void *object);
/* Wait until dw_generation_wakes; or let it end, and wait until it has. */
void dw_instance_generation_wait(dw_instance *instance, dw_generation *generation);
void dw_instance_generation_end(dw_instance *instance, dw_generation *generation);
/* One that has ended: its context and sampler are free. */
void dw_instance_generation_drop(dw_instance *instance, dw_generation *generation);
/* For runners, when the guest's code is through: all are to end. Whether any has not yet. */
bool dw_instance_leave_generations(dw_instance *instance);

/* Wait for what `wait` says, from under a host function: true; false: the guest was asked to stop
 * before. */
bool dw_instance_wait(dw_instance *instance, dw_wait *wait);
/* Give bytes [count] to an embedder, as the guest's output: as many as he takes, a while later
 * where he takes none now. How many, or minus an errno, which is EINTR where the guest was asked to
 * stop before. */
ptrdiff_t dw_instance_put(dw_instance *instance, dw_write_fn to, void *user,
                          const unsigned char *bytes, size_t count);

/* Write bytes [count] to the guest's standard output (1) or error (2), where its own go, all of
 * them. Errors: DW_E_CANCELLED (the guest was asked to stop before), DW_E_IO. */
dw_status dw_instance_write(dw_instance *instance, int stream, const void *bytes, size_t count,
                            dw_error *err);

/* Have a context that was made for the guest do as its others do (dw_instance_share_prefixes).
 * Errors: DW_E_MEMORY. */
dw_status dw_instance_share_prefixes_of(dw_instance *instance, dw_context *context, dw_error *err);
/* NULL: none. */
const char *dw_instance_prefix_scope(const dw_instance *instance);
/* Which contexts it may save and open under names; counted. NULL: none. Not while it runs. */
void dw_instance_set_contexts(dw_instance *instance, dw_context_grants *grants);
dw_context_grants *dw_instance_contexts(const dw_instance *instance);
/* Whether `context`, of the guest's or about to be, may have these adapters beside those of its
 * other contexts; NULL: none. Errors: DW_E_LIMIT (adapter_sets). */
dw_status dw_instance_may_have_adapters(dw_instance *instance, const dw_context *context,
                                        const dw_adapter_set *set, dw_error *err);
/* What `work` returns, on a thread of its own, which is to look at dw_instance_stop by itself: the
 * guest does not end before it does. Meanwhile others run. What it allocates is not charged to the
 * guest, unless it enters the account there. Errors: also DW_E_MEMORY. */
dw_status dw_instance_work_apart(dw_instance *instance, dw_work_fn work, void *arg, dw_error *err);

/* For schedulers, under their locks: how many of the guest's calls they have, and on which of their
 * threads, so that one that comes while another is at work is refused there. */
typedef struct dw_instance_place {
    uint32_t calls;
    uint32_t thread;
} dw_instance_place;
dw_instance_place *dw_instance_place_of(dw_instance *instance);

/* ---- for actors ---- */

/* dw_instance_create in two: the instance, in which nothing of the guest has run yet but its
 * module's start function, and a WASI reactor's `_initialize`. Its guest takes standard output and
 * error for terminals, so that C libraries buffer lines at most (src/wasm/wasi_output.c). */
dw_status dw_instance_create_bare(dw_instance **out, dw_module *module,
                                  const dw_instance_options *options, dw_error *err);
dw_status dw_instance_initialize(dw_instance *instance, dw_error *err);
/* What the guest has opened and closed is forgotten: its descriptors are the standard streams and
 * the folders of `options`, with which it was made, as at first. Not while it is called. Errors:
 * DW_E_NOT_FOUND (a folder is there no more), DW_E_MEMORY. */
dw_status dw_instance_reset_files(dw_instance *instance, const dw_instance_options *options,
                                  dw_error *err);
/* Let the guest's C library write what its buffers hold, where it is known how. Errors: those of
 * dw_instance_call_export, not DW_E_NOT_FOUND. */
dw_status dw_instance_flush(dw_instance *instance, dw_error *err);
void dw_instance_set_actor(dw_instance *instance, dw_actor *actor);
/* What own imports get as dw_import_call_user; at first the options' user. */
void dw_instance_set_import_user(dw_instance *instance, void *user);

/* Whether a call into the guest is under way. */
bool dw_instance_is_calling(const dw_instance *instance);
/* Call an exported function of type () -> i32 or () -> (). `result` may be NULL; where the guest
 * leaves by proc_exit, `*exit_code` becomes its code. Errors: those of dw_instance_call. */
dw_status dw_instance_call_export(dw_instance *instance, const char *name, int32_t *result,
                                  int *exit_code, dw_error *err);
/* Whether the last call ended by proc_exit, with whatever code. */
bool dw_instance_has_left(const dw_instance *instance);

#endif
