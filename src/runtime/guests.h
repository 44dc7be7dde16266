/* What a runtime stands on in earnest: an engine and its scheduler, threads, the system's clocks.
 * Private to src/runtime. */
#ifndef DW_RUNTIME_GUESTS_H
#define DW_RUNTIME_GUESTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "actor/actor.h"
#include "prefixes/prefix_folder.h"
#include "runtime/control.h"
#include "runtime/folder.h"
#include "runtime/platform.h"
#include "scheduler/scheduler.h"

#define DW__WORKERS_MAX 64u

typedef struct dw__prefix_keeper dw__prefix_keeper;

/* What actors are made of: a guest, and what it is granted. */
typedef struct dw__seed {
    _Atomic size_t references;
    dw_module *module; /* counted, as the next */
    dw_actor_settings *settings;
    dw_limits limits; /* all set */
} dw__seed;

/* A runtime's threads, and what they work for. */
typedef struct dw__host {
    dw_runtime *runtime;
    dw_engine *engine;
    dw_runtime_options options;
    dw_scheduler *scheduler;
    dw__prefix_keeper *prefixes; /* NULL: no folder has them */
    dw_contexts *contexts;       /* under names; NULL: none are kept */
    struct dw__folder *folder;   /* NULL: actors are in memory alone */
    dw__keeper keeper;
    dw__control *control; /* NULL: none */

    pthread_t loop; /* runs the scheduler: guests, and most callbacks */
    bool has_loop;
    _Atomic bool loop_ends;

    pthread_t ticker; /* what is due, and what is to be told when no other thread does */
    bool has_ticker;
    pthread_mutex_t ticker_lock;
    pthread_cond_t ticker_wanted;
    uint64_t wake_ns; /* guarded by ticker_lock, as the next */
    bool ticker_ends;

    pthread_t workers[DW__WORKERS_MAX]; /* [worker_count] */
    size_t worker_count;
    pthread_mutex_t work_lock;
    pthread_cond_t work_wanted;
    struct dw__tenant *working; /* whose operations wait; guarded by work_lock, as the next two */
    uint64_t work_pass;         /* of the tenant whose operation was begun last */
    bool workers_end;
    size_t workers_waiting; /* for what others than this runtime give */
} dw__host;

extern const dw__platform dw__guests_platform; /* its user is a dw__host */

/* `settings` is taken. Errors: DW_E_MEMORY: then it is not. */
dw_status dw__seed_create(dw__seed **out, dw_module *module, dw_actor_settings *settings,
                          dw_error *err);
void dw__seed_release(dw__seed *seed);

/* dw_runtime_import, whose end is told to options->on_end. */
dw_status dw__begin_import(dw_runtime *runtime, const dw_thaw_options *thaw,
                           const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                           dw_error *err);

/* ---- prefixes.c: `keeper` may be NULL; then nothing happens ---- */

/* In the options' prefix_path, or a folder in their path; NULL: there is neither. Errors: those of
 * dw_prefix_folder_open. */
dw_status dw__prefixes_open(dw__prefix_keeper **out, dw_engine *engine,
                            const dw_runtime_options *options, uint64_t bytes_max, dw_error *err);
/* What is new is written before. */
void dw__prefixes_close(dw__prefix_keeper *keeper);
/* Have what there is of the models that are granted in memory. Blocks: while it is loaded, the
 * first time. */
void dw__prefixes_load(dw__prefix_keeper *keeper, const dw_instance_options *grants);
/* Write what is new, and have nothing of the model in memory any more; pinned ones stay where no
 * folder has them. Errors: those of dw_prefix_folder_save: then all of it stays. */
dw_status dw__prefixes_leave(dw__prefix_keeper *keeper, dw_engine *engine, const dw_model *model,
                             dw_error *err);
/* A guest may have computed a prompt. */
void dw__prefixes_given(dw__prefix_keeper *keeper);

/* The actor of a body. */
dw_actor *dw__body_actor(void *body);
/* The scheduler's watch, whose user is the host. */
void dw__host_watch(void *user, void *call, const dw_scheduler_span *span);
/* workers.c: as of dw__platform; and the thread of a worker. */
void dw__host_submit(void *user, struct dw__operation *operation);
void *dw__host_run_worker(void *host);
void dw__host_wake(void *user, uint64_t due_ns);
/* A worker is about to wait for a model, which may itself wait for actors to leave memory: another
 * stands in for it until the end. Errors: DW_E_BUSY (all that there may be wait), DW_E_MEMORY. */
dw_status dw__host_wait_begin(dw__host *host, dw_error *err);
void dw__host_wait_end(dw__host *host);

/* ---- models.c ---- */

/* The models of an actor that is read, of `tenant`: dw_thaw_options' find_wanted with a search as
 * `find_user`, by those of `options`. `host`: whose worker reads it; may be NULL. All borrowed. */
typedef struct dw__model_search {
    dw_model_wanted wanted; /* first */
    dw_runtime *runtime;
    const dw_runtime_options *options;
    dw__host *host;
} dw__model_search;
void dw__model_search_begin(dw__model_search *search, dw_runtime *runtime, const char *tenant);
dw_status dw__model_search_find(void *user, const dw_model_wanted *wanted, dw_model **model,
                                dw_error *err);

#endif
