/* What `driftwood actor` works with: an engine, a runtime, and the models it has found. */
#ifndef DW_CLI_ACTOR_STATE_H
#define DW_CLI_ACTOR_STATE_H

#include <jansson.h>
#include <pthread.h>

#include "cli/actor_seeing.h"
#include "cli/actor_terms.h"
#include "cli/session.h"

struct dw_cli_remote;
typedef struct dw_cli_actors {
    dw_engine *engine;
    dw_runtime *runtime;
    struct dw_cli_remote *remote;  /* another process works in the folder, and is asked; NULL: this
                                     one does */
    const dw_cli_session *session; /* whose models are named by --model; others are found by their
                                      fingerprints among those in the cache */
    char *path;                    /* of the state folder */
    bool read_only;                /* it was opened for looking only */
    dw_limits limits;              /* of actors that are loaded */
    dw_cli_seen seen;              /* log and trace */
    pthread_mutex_t lock; /* guards what follows: a runtime's threads ask for models and guests */
    dw_model *models[DW_CLI_MODELS_MAX];  /* [model_count], loaded so far */
    char *model_paths[DW_CLI_MODELS_MAX]; /* likewise */
    size_t model_count;
    dw_module *modules[DW_CLI_MODELS_MAX]; /* [module_count], of guests by name */
    char *module_names[DW_CLI_MODELS_MAX]; /* likewise */
    size_t module_count;
} dw_cli_actors;

typedef struct dw_cli_opening {
    const char *state; /* NULL: the default folder */
    const dw_cli_session *session;
    const dw_cli_terms *terms;
    const dw_cli_seeing *seeing;
    bool reads;        /* changes nothing: a folder that cannot be written will do */
    bool accept_older; /* dw_runtime_options.accept_older */
} dw_cli_opening;
/* The state folder's path, for free(); `state` NULL: the usual one. Errors: DW_E_NOT_FOUND,
 * DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_cli_state_folder(const char *state, char **path, dw_error *err);
dw_status dw_cli_actors_open(dw_cli_actors *actors, const dw_cli_opening *how, dw_error *err);
/* The folder is given back; what else is open stays. */
void dw_cli_actors_leave(dw_cli_actors *actors);
/* Whether the trace is complete. Errors: DW_E_IO. */
dw_status dw_cli_actors_close(dw_cli_actors *actors, dw_error *err);
/* By the start of an id, or by "TENANT@NAME". Errors: those of dw_runtime_find_id, _find. */
dw_status dw_cli_actors_find(dw_cli_actors *actors, const char *start,
                             char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);
/* The model that an actor had, counted, as dw_runtime_options' find_granted and dw_thaw_options'
 * find_wanted have it with the actors as `user`. Errors: DW_E_NOT_FOUND, which says what is missing
 * or other than it was: the model's file, an adapter's, its fingerprint or scale; those of
 * dw_model_open_with and dw_model_add_adapter. Thread: any. */
dw_status dw_cli_actors_model(void *user, const dw_model_wanted *wanted, dw_model **model,
                              dw_error *err);
#define DW_CLI_OWN_NAME_MAX 256
/* The name that the model's file gives it -> `name`, or NULL: none that is known before it is
 * loaded. */
const char *dw_cli_own_name(const char *path, char name[DW_CLI_OWN_NAME_MAX]);
/* The model of a file, with the adapters of the one at `index` of those that --model named; 0 is
 * also the first where none was. Kept until the actors are closed. Errors: as above, DW_E_LIMIT. */
dw_status dw_cli_actors_load(dw_cli_actors *actors, const char *path, size_t index,
                             dw_model **model, dw_error *err);
/* The actor as it is on the disk, or as a server has it, a copy that has nothing to do with either;
 * `kv_type` NULL: as it is. The caller's to destroy. `stats` may be NULL. Errors: those of
 * dw_runtime_copy. */
dw_status dw_cli_actors_copy(dw_cli_actors *actors, const char *id, const dw_kv_type *kv_type,
                             dw_actor **actor, dw_thaw_stats *stats, dw_error *err);
/* Where an actor's files are, from the first on. */
typedef struct dw_cli_paths {
    char **list; /* [count] */
    size_t count;
    size_t capacity;
    bool lost; /* some could not be kept */
} dw_cli_paths;
/* `paths` is the caller's to release, also on failure. */
dw_status dw_cli_actors_paths(dw_cli_actors *actors, const char *id, dw_cli_paths *paths,
                              dw_error *err);
void dw_cli_paths_release(dw_cli_paths *paths);

dw_status dw_cli_actors_spawn(dw_cli_actors *actors, dw_cli_session *session,
                              const dw_cli_terms *terms, char id[DW_ACTOR_ID_CHARS + 1],
                              dw_error *err);
/* What comes through a pipe as a temporary file (dw_cli_temporary), the caller's to remove:
 * snapshots are read out of order. */
dw_status dw_cli_spool(FILE *stream, char *path, size_t capacity, int *fd, dw_error *err);
typedef struct dw_cli_import {
    const char *path;          /* compressed or not */
    const char *given;         /* what messages call it */
    const char *module;        /* a file, for one that names its module by its hash; NULL: none */
    const dw_kv_type *kv_type; /* NULL: as it is */
    const dw_limits *limits;   /* in the place of the file's */
    const dw_cli_terms *terms;
} dw_cli_import;
/* The actor in the file, under a new id. A module that is named by its hash is looked for in
 * `module`, the state folder, and among the guests that came along. */
dw_status dw_cli_actors_import(dw_cli_actors *actors, const dw_cli_import *what,
                               char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);

typedef struct dw_cli_export {
    const char *path;          /* -: standard output */
    const dw_kv_type *kv_type; /* NULL: as it is */
    bool by_hash;
    bool compressed;
} dw_cli_export;
/* Write the actor to a file, which is there whole or as it was, or into a pipe or device. The
 * folder is given back before: what reads the other end of a pipe may be another that works in its
 * folder. */
dw_status dw_cli_actors_export(dw_cli_actors *actors, const char *id, const dw_cli_export *how,
                               dw_freeze_stats *stats, dw_error *err);

/* zstd (RFC 8878) from one open file to another, in pieces. Errors: DW_E_IO, DW_E_MEMORY,
 * DW_E_FORMAT (what comes is not zstd, or it ends too soon). */
dw_status dw_cli_compress(int from, int to, dw_error *err);
dw_status dw_cli_decompress(int from, int to, dw_error *err);
/* Whether the file begins like zstd, whose first byte is this one. */
#define DW_CLI_ZSTD_FIRST 0x28
bool dw_cli_is_compressed(const char *path);
/* What is inside such a file, as a temporary file (dw_cli_temporary), the caller's to remove. */
dw_status dw_cli_unpack(const char *path, char *own, size_t capacity, int *fd, dw_error *err);

/* A count; as text where it is more than JSON's readers take for a whole number, 2^63 - 1. */
json_t *dw_cli_count_json(uint64_t count);
/* What an actor consists of; `*about` is the caller's. */
dw_status dw_cli_actors_show(dw_cli_actors *actors, const char *id, json_t **about, dw_error *err);
/* The same of one snapshot file, contexts with their text where the model is in the cache. */
dw_status dw_cli_snapshot_about(const char *path, json_t **about, dw_error *err);
void dw_cli_actors_print(const json_t *about);
/* An object: memory_bytes, of its parts those that lie in snapshots, and handles, of each what is
 * taken `now` and the `limit`. `actor`: a snapshot's description. */
json_t *dw_cli_actor_account(const json_t *actor);
/* Its limits as they would hold if it were read now: its own, and in their place those of its
 * member `limits` (dw_cli_actors_show). 0: the default. */
dw_limits dw_cli_actor_limits(const json_t *actor);
void dw_cli_actor_account_print(const json_t *account);
/* The model in the cache that has this fingerprint; false: there is none. */
bool dw_cli_find_fingerprint(const char *fingerprint, char *path, size_t capacity);
/* The command `contexts`; its exit status. */
typedef struct dw_cli_contexts {
    const char *tenant; /* NULL: all that are listed, or "" */
    const char *remove; /* a name; NULL: they are listed */
    bool json;
} dw_cli_contexts;
int dw_cli_actors_contexts(const dw_cli_actors *actors, const dw_cli_contexts *what);

/* What is done with the messages of an actor, besides listing them. */
typedef struct dw_cli_mail {
    const char *show;  /* a number; NULL: none */
    const char *drop;  /* a number, or "all"; NULL: none */
    const char *retry; /* the same */
    bool json;
} dw_cli_mail;
/* The command `mail`; its exit status. */
int dw_cli_actors_mail(dw_cli_actors *actors, const char *id, const dw_cli_mail *what);
typedef struct dw_cli_logs {
    uint64_t last; /* entries of before */
    bool follow;   /* then those that come, until Ctrl-C */
    bool json;
} dw_cli_logs;
/* Print what was logged of the actor. Errors: also DW_E_STATE (no server works in the folder). */
dw_status dw_cli_actors_logs(dw_cli_actors *actors, const char *id, const dw_cli_logs *what,
                             dw_error *err);
/* How two actors differ. */
dw_status dw_cli_actors_diff(dw_cli_actors *actors, const char *left, const char *right,
                             json_t **about, dw_error *err);

typedef struct dw_cli_trial {
    const char *message;  /* NULL: none is sent */
    uint32_t token_count; /* that each context goes on for */
} dw_cli_trial;

typedef struct dw_cli_verdict {
    bool equal;
    uint64_t answer_bytes;
    uint64_t tokens; /* computed in both */
    uint64_t logits; /* of them, compared bit by bit */
    uint64_t state_bytes;
    char where[160]; /* they differ; "" */
} dw_cli_verdict;
/* Run two copies of the actor, one of them frozen to a file and thawed from it before: they answer
 * the message, their contexts go on, and answers, logits and then all state are compared. The actor
 * in the folder stays as it is. */
dw_status dw_cli_actors_verify(dw_cli_actors *actors, const char *id, const dw_cli_trial *trial,
                               dw_cli_verdict *verdict, dw_error *err);

#endif
