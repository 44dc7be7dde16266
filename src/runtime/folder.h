/* The state folder that a runtime's actors live in. Private to src/runtime. Thread: any. */
#ifndef DW_RUNTIME_FOLDER_H
#define DW_RUNTIME_FOLDER_H

#include "base/limits.h"
#include "runtime/keeper.h"

struct dw__folder;

/* options->path; `limits` are of actors that are read, what is set. Errors: those of
 * dw_actor_folder_open. */
dw_status dw__folder_open(struct dw__folder **out, dw_engine *engine,
                          const dw_runtime_options *options, const dw_limits *limits,
                          dw_error *err);
/* The journal's work is done first. */
void dw__folder_close(struct dw__folder *folder);
dw__keeper dw__folder_keeper(struct dw__folder *folder);
dw_actor_folder *dw__folder_actors(struct dw__folder *folder);

/* Series of deltas, on a worker. Where the turn's delta goes: its row gets its place. */
void dw__series_choose(const dw_actor_folder *folder, dw__turn *turn, const dw_actor *actor);
/* It was written there. */
void dw__series_note(const dw_actor_folder *folder, dw__turn *turn, dw_actor *actor);
/* Where one is closed, an index takes the place of its snapshots with the turn, and counts as
 * written. Failures leave all as it is. */
void dw__series_cover(dw_actor_folder *folder, dw__turn *turn, dw_actor *actor,
                      dw_freeze_stats *stats);
/* Paths of the snapshots that the actor's row covers. */
void dw__series_list(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row,
                     void (*take)(void *to, const char *path), void *to);
/* Whether the row is of a file that holds something of the dw_actor `user`. */
bool dw__is_file_of(void *user, const dw_snapshot_row *row);
/* Tests only: how many snapshots go into one series; and from how many on it gets an index. */
extern uint32_t dw__series_snapshots;
extern uint32_t dw__series_indexed_least;

/* `host`: whose workers read actors from it, and for whom others stand in while they wait for a
 * model; NULL: nobody's. Before anybody reads. */
struct dw__host;
void dw__folder_use_workers(struct dw__folder *folder, struct dw__host *host);
/* Tenants that have actors. Errors: DW_E_IO. */
dw_status dw__folder_count(struct dw__folder *folder,
                           void (*take)(void *user, const char *tenant, uint64_t actors),
                           void *user, dw_error *err);
/* As dw_runtime_find_id, dw_runtime_find_module. */
dw_status dw__folder_find(struct dw__folder *folder, const char *start,
                          char id[DW_ACTOR_ID_CHARS + 1], dw_error *err);
dw_status dw__folder_find_module(struct dw__folder *folder, const char *sha256, dw_module **module,
                                 dw_error *err);

#endif
