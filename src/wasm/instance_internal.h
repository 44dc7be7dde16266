/* What src/wasm's files share. */
#ifndef DW_WASM_INSTANCE_INTERNAL_H
#define DW_WASM_INSTANCE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <wasmtime/profiling.h>

#include "base/hash.h"
#include "wasm/guest_instance.h"
#include "wasm/instance_fiber.h"
#include "wasm/instance_wait.h"
#include "wasm/module.h"
#include "wasm/module_cache.h"
#include "wasm/repeatable.h"
#include "wasm/wasm_host.h"
#include "wasm/wasm_memory.h"

#define DW__SIGNATURE_VALUES_MAX 16 /* parameters, and results */

typedef struct dw__own_import dw__own_import;

/* One of a host's, which lives as long as it. */
typedef struct dw__pooled_waker {
    struct dw__pooled_waker *next;
    dw_waker waker;
    bool taken;
} dw__pooled_waker;

struct dw_wasm_host {
    dw_device *device;
    dw_prefix_cache *prefixes;
    dw_wasm_memories *memories;
    wasm_engine_t *engine;
    wasmtime_linker_t *linker;       /* every import that guests may have; read-only once made */
    wasmtime_linker_t *actor_linker; /* that actors have; likewise */
    wasmtime_module_t *yield;        /* what fibers are left through; set once, under lock */
    wasmtime_module_t *through;      /* src/wasm/wasi_through.c; set once, under lock */
    wasmtime_linker_t *wasi;         /* Wasmtime's own functions; likewise */
    dw__own_import *own_imports; /* [own_import_count]; do not move: the linker refers to them */
    size_t own_import_count;
    dw_host_import *wasi_calls; /* those of WASI that are told; likewise; NULL: none is */
    bool traces_calls;
    bool counts_fuel;
    dw_limits module_limits;  /* for what is compiled */
    dw_module_cache *modules; /* NULL: nothing compiled is kept */
    _Atomic uint64_t compiled_count;
    _Atomic uint64_t found_count;
    bool fibers_fail; /* for tests: dw_fibers_set_failing */

    /* The ticker advances the epoch while guests run, so that those that only loop can be
     * stopped. It sleeps while none does. */
    pthread_t ticker;
    bool ticker_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t running;              /* guests in a call; guarded by lock, as the next */
    bool ticker_rests;           /* it waits for one */
    bool closing;                /* guarded by lock */
    dw__pooled_waker *wakers;    /* guarded by lock */
    pthread_mutex_t stream_lock; /* between a stream's being ready and its use */
};

struct dw_module {
    _Atomic size_t references;
    dw_wasm_host *host;
    wasmtime_module_t *module;
    wasmtime_instance_pre_t *linked;       /* imports resolved and type-checked */
    wasmtime_instance_pre_t *actor_linked; /* the same for actors; NULL: it is no actor's module */
    uint64_t memory_bytes_min;             /* of the exported memory */
    dw_wasm_needs needs;
    bool wants_wasi; /* of the functions that are ours (wasi_internal.h) */

    /* Of modules that export DW_ACTOR_EXPORT, else NULL: */
    dw_wasm_layout *layout; /* `module` is compiled with the exports that it names */
    unsigned char *wasm;    /* [wasm_bytes] as given, for snapshots */
    size_t wasm_bytes;
    char wasm_hash[DW_SHA256_TEXT]; /* of those */
};

/* A function that tables and globals can hold. */
typedef struct dw__function {
    wasmtime_func_t function;
    uint32_t index; /* in the module */
} dw__function;

/* A call on a fiber; one at a time, so it lives in its instance. */
typedef struct dw__fiber {
    wasmtime_call_future_t *future; /* NULL: none is under way. It refers to what follows */
    wasmtime_func_t function;
    wasmtime_val_t value;
    size_t result_count;
    wasm_trap_t *trap;
    wasmtime_error_t *error;

    wasmtime_func_t yield; /* of host->yield, in this store */
    bool can_yield;        /* `yield` is there */
    bool suspending;       /* the next epoch check is there to leave the fiber */
} dw__fiber;

/* The call of an own import that an instance is in. */
struct dw_import_call {
    dw_instance *instance; /* NULL: it is in none */
};

struct dw_instance {
    dw_module *module; /* counted */
    dw_wasm_host *host;
    wasmtime_store_t *store;
    wasmtime_instance_t instance;
    dw_region *region;    /* of the exported memory; lives in the store */
    dw_device_view *view; /* made at the first need */
    dw_handle_table handles;
    dw_counters counters;
    dw_error error; /* the guest's last failure */

    dw_model **models;  /* [model_count], counted */
    char **model_names; /* [model_count], as granted; NULL: by the model's own */
    size_t model_count;
    dw_chats **chats; /* [model_count], by a template of the guest's own; NULL: the models' */
    dw_limits limits; /* every member is set */
    dw_account *account;
    uint64_t code_bytes;   /* charged for the module's code */
    uint64_t tables_bytes; /* and for its tables */
    size_t handles_most;
    dw_kv_type kv_type;
    char *prefix_scope;          /* NULL: its contexts share no prefixes */
    dw_context_grants *contexts; /* NULL: none under names; counted */
    void (*on_refused)(void *user, const dw_error *error); /* NULL: nobody is told */
    void *on_refused_user;
    dw_write_fn on_stdout;
    dw_write_fn on_stderr;
    dw_input_fn on_input;
    dw_progress_fn on_progress;
    dw_call_fn on_call; /* NULL: it has no tools */
    void *user;
    unsigned char *answer; /* [answer_bytes], of the last tool's call, until the next, or the end */
    size_t answer_bytes;

    void *import_user; /* the embedder's, for own imports */
    dw_import_call import_call;
    void (*on_trace)(void *user, const char *line); /* NULL: nobody is told of calls */
    void *trace_user;
    wasmtime_guestprofiler_t *profile; /* NULL: there is none under way */
    uint64_t profile_ns;               /* the thread's clock at its last sample */
    char *backtrace;                   /* of the last trap; NULL: none, or none is known */
    dw_error import_error; /* why one made the guest trap, in the call under way; DW_OK: none */

    dw__function *functions; /* [2 * the layout's count], made at the first need */
    dw_actor *actor;         /* whose instance it is; NULL: of none */
    dw__fiber fiber;
    const dw_step_runner *runner; /* of the call under way; NULL: work is done on the spot */
    void *runner_user;
    dw_generation *generations; /* ahead of the guest, in the call under way */
    dw_instance_place place;
    void *room; /* [room_bytes]: dw_instance_room's */
    size_t room_bytes;

    bool started;      /* _start has run */
    bool calling;      /* a call into the guest is under way */
    bool left;         /* the last call ended by proc_exit */
    int32_t exit_code; /* with that */
    bool ended;        /* the call under way is ending because of `stop` */
    dw_stop stop;

    wasmtime_func_t *through; /* [DW__WASI_FUNCTION_COUNT], made at the first need */
    uint32_t files;           /* that it has opened and not closed */
    bool files_changed;       /* some were opened or closed since it got its folders */
    int streams[3];           /* what number each standard stream has for the guest; -1: closed */
    bool stream_failed[3];    /* a write to it has: no more are tried */
    bool reads_input;         /* standard input is the process's; else it is empty */
    dw_repeatable repeatable;
};

/* "what: first line of the error", as `code`; takes `error`. */
dw_status dw__wasm_error(dw_error *err, dw_status code, const char *what, wasmtime_error_t *error);

/* Compile a module of ours, or find it compiled. */
wasmtime_error_t *dw__host_compile(dw_wasm_host *host, const void *wasm, size_t bytes,
                                   wasmtime_module_t **module);
/* Why `module` cannot be linked: what it imports that is not given, with a hint. Takes `error`. */
dw_status dw__link_failed(dw_wasm_host *host, const wasmtime_module_t *module,
                          wasmtime_error_t *error, dw_error *err);
/* Whether a function is of type () -> i32 or () -> (). Errors: DW_E_TYPE, with what it is. */
dw_status dw__check_callable(const wasm_functype_t *type, const char *name, dw_error *err);
/* proc_exit in the linker, in the place of Wasmtime's, which traps at codes from 126 on. */
dw_status dw__define_proc_exit(wasmtime_linker_t *linker, bool traces, dw_error *err);
/* The exported function `name`, of type () -> i32 or () -> ().
 * Errors: DW_E_NOT_FOUND, DW_E_TYPE. */
dw_status dw__instance_find(dw_instance *instance, const char *name, wasmtime_func_t *function,
                            size_t *result_count, dw_error *err);
/* What flushes the guest's C library: () -> () or (i32) -> i32. False: nothing is known to. */
typedef struct dw__flush {
    wasmtime_func_t function;
    size_t parameter_count;
    size_t result_count;
} dw__flush;
bool dw__instance_find_flush(dw_instance *instance, dw__flush *flush);
/* Before and after a call into the guest. `goes_on`: it belongs to the call before, whose time is
 * its own as well. On a fiber it does not run yet. */
void dw__instance_enter(dw_instance *instance, bool goes_on);
void dw__instance_leave(dw_instance *instance);
/* What the call has generated ahead: no step of it is under way. */
void dw__instance_drop_generations(dw_instance *instance);
/* What hangs on contexts goes with the call: snapshots between calls have none of it. */
void dw__instance_drop_trees(dw_instance *instance);
/* Where the host counts fuel: what the guest has left, put aside while code of ours runs in its
 * store, and given back afterwards. */
uint64_t dw__fuel_put_aside(dw_instance *instance);
void dw__fuel_give_back(dw_instance *instance, uint64_t fuel);
/* An import's function in its place, `env` being its dw_host_import: the same, and told. */
wasm_trap_t *dw__traced_call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count);
/* For the profile, where there is one under way: where the guest is. */
void dw__instance_sample(dw_instance *instance);
void dw__instance_drop_profile(dw_instance *instance);
/* Why the guest trapped, and where; takes `trap`. */
dw_status dw__instance_trapped(dw_instance *instance, wasm_trap_t *trap, dw_error *err);
void dw__instance_forget_backtrace(dw_instance *instance);
/* The export by which the end of the guest's C stack is reached; "": none is known. */
const char *dw__module_stack_export(const dw_module *module);
/* What came back from Wasmtime, as a status; takes `error` and `trap`. */
dw_status dw__instance_outcome(dw_instance *instance, wasmtime_error_t *error, wasm_trap_t *trap,
                               int *exit_code, dw_error *err);
/* Every waker, none of which is taken. */
void dw__wakers_release(dw_wasm_host *host);

/* host->actor_linker: all that `linker` has, but for what guests learn of their output.
 * Errors: DW_E_MEMORY, DW_E_STATE. */
dw_status dw__wasi_output_define(dw_wasm_host *host, dw_error *err);
/* The function type of a signature that was checked; the caller's to delete. */
wasm_functype_t *dw__function_type(const char *signature);
/* Own imports into the linker. Errors: DW_E_ARG, DW_E_LIMIT, DW_E_UNSUPPORTED, DW_E_MEMORY. */
dw_status dw__own_imports_define(dw_wasm_host *host, const dw_import *const *imports, size_t count,
                                 dw_error *err);
void dw__own_imports_release(dw_wasm_host *host);

/* All objects that its handles stand for, and the table. */
void dw__instance_destroy_handles(dw_instance *instance);

void dw__wasm_host_guest_enters(dw_wasm_host *host);
void dw__wasm_host_guest_leaves(dw_wasm_host *host);

#endif
