/* What the commands of `driftwood actor` do with actors: in the runtime that they have opened, or
 * where another process works in the state folder and serves, by asking that. Each function is what
 * dw_runtime_* of its name is. */
#ifndef DW_CLI_LINK_H
#define DW_CLI_LINK_H

#include "cli/actor_state.h"

dw_status dw_cli_at_stop(dw_cli_actors *actors, const char *id, dw_error *err);
dw_status dw_cli_at_stop_tree(dw_cli_actors *actors, const char *id, uint64_t *count,
                              dw_error *err);
dw_status dw_cli_at_stop_all(dw_cli_actors *actors, uint64_t *count, dw_error *err);
dw_status dw_cli_at_rewind(dw_cli_actors *actors, const char *id, uint64_t number, dw_error *err);
dw_status dw_cli_at_fork(dw_cli_actors *actors, const char *id, char child[DW_ACTOR_ID_CHARS + 1],
                         dw_error *err);
/* Blocks. `*stats`: what was written. */
dw_status dw_cli_at_freeze(dw_cli_actors *actors, const char *id, uint64_t *number,
                           dw_freeze_stats *stats, dw_error *err);
/* A server works by itself: DW_WORK_TURN is nothing, DW_WORK_ALL waits until it has done all. */
dw_status dw_cli_at_work(dw_cli_actors *actors, dw_work_kind what, dw_error *err);
dw_status dw_cli_at_call(dw_cli_actors *actors, const char *id, const dw_request *request,
                         dw_error *err);
/* Of a server, what `actor list` and `show` tell alone. */
dw_status dw_cli_at_list_infos(dw_cli_actors *actors, const char *after, size_t max,
                               dw_runtime_info_fn take, void *user, dw_error *err);
dw_status dw_cli_at_get_info(dw_cli_actors *actors, const char *id, dw_runtime_actor_info *info,
                             dw_error *err);
/* dw_runtime_describe, read. */
dw_status dw_cli_at_describe(dw_cli_actors *actors, const char *id, json_t **about, dw_error *err);
dw_status dw_cli_at_list_freezes(dw_cli_actors *actors, const char *id, uint64_t *numbers,
                                 size_t capacity, size_t *count, dw_error *err);
dw_status dw_cli_at_list_paths(dw_cli_actors *actors, const char *id,
                               void (*take)(void *user, const char *path), void *user,
                               dw_error *err);
dw_status dw_cli_at_list_mail(dw_cli_actors *actors, const char *id,
                              void (*take)(void *user, const dw_runtime_message *message),
                              void *user, dw_error *err);
dw_status dw_cli_at_read_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                              dw_write_fn take, void *user, dw_error *err);
dw_status dw_cli_at_drop_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                              uint64_t *count, dw_error *err);
dw_status dw_cli_at_retry_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                               uint64_t *count, dw_error *err);
/* The start of an id, or TENANT@NAME. */
dw_status dw_cli_at_find(dw_cli_actors *actors, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                         dw_error *err);

/* ---- of a server alone ---- */

/* The actor as a snapshot, into a file. */
dw_status dw_cli_remote_export(dw_cli_actors *actors, const char *id, int fd, dw_error *err);
/* A module [bytes] for the tenant -> its hash. */
dw_status dw_cli_remote_upload(dw_cli_actors *actors, const char *tenant, const void *wasm,
                               size_t bytes, char sha256[DW_CLI_SHA256_TEXT], dw_error *err);
/* What the session and its terms say of a new actor, as the server reads it. */
dw_status dw_cli_remote_spawn(dw_cli_actors *actors, const dw_cli_session *session,
                              const dw_cli_terms *terms, json_t *body,
                              char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);
dw_status dw_cli_remote_import(dw_cli_actors *actors, const dw_cli_import *what, const char *path,
                               char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);

#endif
