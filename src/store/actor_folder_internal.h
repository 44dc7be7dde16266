/* What the files of the state folder share: paths, and operations on files whose errors name the
 * path and the system's reason (DW_E_IO, or DW_E_NOT_FOUND for ENOENT); rows of the journal. */
#ifndef DW_STORE_ACTOR_FOLDER_INTERNAL_H
#define DW_STORE_ACTOR_FOLDER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/actor_folder.h"
#include "store/folder_tables.h"

#define DW__FOLDER_ACTORS "actors"
#define DW__FOLDER_MODULES "modules"

/* Room for the longest name. */
#define DW__SNAPSHOT_NAME_BYTES                                                                    \
    sizeof "18446744073709551615-18446744073709551615.pending-delta.snapshot"

/* What the files take. */
typedef struct dw__folder_usage {
    bool known; /* `bytes` is all that is there, or more; else what this process has written */
    uint64_t bytes;
    uint64_t measure_again_ns; /* not before */
} dw__folder_usage;

/* A module of actors that are being made, which no row has yet. */
typedef struct dw__wanted_module {
    char hash[65];
    size_t users;
} dw__wanted_module;

struct dw_actor_folder {
    char path[DW_FOLDER_PATH_MAX / 2];
    int lock; /* descriptor of the locked file, or -1 */
    bool read_only;
    bool accept_older;
    atomic_uint_fast64_t part_count; /* names given to files that are being written */
    dw__folder_usage usage;
    dw_journal *journal;
    pthread_mutex_t marking; /* guards marks, and how many are of withdrawn messages */
    atomic_size_t withdrawn_count;
    size_t marks_used;         /* the first so many; those behind are free */
    pthread_mutex_t counting;  /* guards usage */
    pthread_mutex_t measuring; /* who measures; taken before `counting` */
    pthread_mutex_t making;    /* guards files of modules, and the next */
    dw__wanted_module *wanted; /* [wanted_count] */
    size_t wanted_count;
    size_t wanted_capacity;
};

/* ---- folder_files.c ---- */

/* "DOING PATH: the reason in errno". */
dw_status dw__folder_fail(const char *doing, const char *path, dw_error *err);
/* The state folder's path and up to three parts behind it; `b` and `c` may be NULL. */
void dw__folder_join(const dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX], const char *a,
                     const char *b, const char *c);
/* A folder that may exist already. */
dw_status dw__folder_make(const char *path, dw_error *err);
/* The same with all folders above it. */
dw_status dw__folder_make_all(const char *path, dw_error *err);
/* Bring renamed and removed names in a folder to the disk. */
dw_status dw__folder_sync(const char *path, dw_error *err);
/* Call `take` for each name in a folder except "." and "..", until one call fails. */
typedef dw_status (*dw__folder_name_fn)(void *user, const char *name, dw_error *err);
dw_status dw__folder_each(const char *path, dw__folder_name_fn take, void *user, dw_error *err);
/* A new name for a file that is being written. It lies in the state folder itself: what a killed
 * process leaves is in one place, and is found without looking at any actor. */
void dw__folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX]);
/* Digits of any number at `*text`, which is moved behind them; false: none, or more than 64 bits
 * hold. */
bool dw__folder_number(const char **text, uint64_t *value);
/* Write the file `path`, which lies in the folder at `place`: afterwards it is on the disk, or
 * absent. */
dw_status dw__folder_write_file(dw_actor_folder *folder, const char *place, const char *path,
                                const void *bytes, size_t count, dw_error *err);
/* Copy a file to a path that must not exist. */
dw_status dw__folder_copy_file(const char *from, const char *to, dw_error *err);
/* Remove an actor's folder, with the mail that those of earlier programs have. */
dw_status dw__folder_remove_tree(const char *path, dw_error *err);

/* ---- actor_folder.c ---- */

/* An id as a number, and back. */
uint64_t dw__id_number(const char *id);
void dw__id_write(char id[DW_ACTOR_ID_CHARS + 1], uint64_t number);
/* "": NULL. */
void dw__bind_id(dw_query *query, const char *id);
/* NULL: "". */
void dw__get_id(dw_query *query, int column, char id[DW_ACTOR_ID_CHARS + 1]);
dw_status dw__fail_no_actor(const char *id, dw_error *err);
/* Seven of the parameters that are an actor's columns; NULL: the usual ones. */
void dw__bind_traits(dw_query *query, const dw_actor_traits *traits);
/* Three parameters: failures, counters and what it renews; NULL: SQL's NULL. `bytes` is borrowed
 * until the statement is run. */
#define DW__COUNTERS_BYTES (DW_ACTOR_COUNTERS_MAX * 8)
void dw__bind_counts(dw_query *query, const dw_actor_counts *counts,
                     unsigned char bytes[DW__COUNTERS_BYTES]);
/* Within a transaction; NULL: they stay. */
dw_status dw__counts_set(dw_journal_tx *tx, const char *id, const dw_actor_counts *counts,
                         dw_error *err);
/* Of a statement with all columns of an actor. */
void dw__row_take(dw_query *query, dw_actor_row *row);
/* A row of the actor's, within a transaction. Errors: DW_E_NOT_FOUND. */
dw_status dw__row_read(dw_journal_tx *tx, const char *id, dw_actor_row *row, uint64_t *numbered,
                       dw_error *err);

/* ---- folder_chain.c ---- */

void dw__snapshot_file_name(char name[DW__SNAPSHOT_NAME_BYTES], const dw_snapshot_row *row);
/* The reverse, of numbers of any width. */
bool dw__snapshot_parse_name(const char *name, dw_snapshot_row *row);
void dw__kept_file_name(char name[DW__SNAPSHOT_NAME_BYTES], uint64_t number);
/* Numbers [*count] of freezes that are kept, within a transaction. */
dw_status dw__kept_read(dw_journal_tx *tx, const char *id, uint64_t numbers[DW_FOLDER_KEPT_MAX],
                        size_t *count, dw_error *err);
/* One more; the first goes where there are too many. */
dw_status dw__kept_add(dw_journal_tx *tx, const char *id, uint64_t number, uint64_t done,
                       dw_error *err);
/* Link or copy the chain's files into `folder`, numbered from 1; their rows. */
dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain,
                                dw_snapshot_row *rows, dw_error *err);
dw_status dw__snapshot_add(dw_journal_tx *tx, const char *id, const dw_snapshot_row *row,
                           dw_error *err);
/* The row's, which covers others of its series, comes in their place. */
dw_status dw__snapshot_cover(dw_journal_tx *tx, const char *id, const dw_snapshot_row *row,
                             dw_error *err);
void dw__new_rows_free(dw_new_actor *made);
/* The first columns of a statement of snapshots. */
void dw__snapshot_take(dw_query *query, dw_snapshot_row *row);
/* The row of that sequence goes, which is filled in; its file is the caller's to remove then. */
dw_status dw__snapshot_drop(dw_journal_tx *tx, const char *id, dw_snapshot_row *row, dw_error *err);
/* Of one that was dropped: whether others are in its file, into row->shared. */
dw_status dw__series_find(dw_journal_tx *tx, const char *id, dw_snapshot_row *row, dw_error *err);
/* false: its file may be there still. */
bool dw__snapshot_unlink(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row);

/* ---- folder_mail.c ---- */

/* Within a transaction: those of accepting, with what must fail the transaction in the result, what
 * concerns the message alone in sent->status. */
dw_status dw__mail_take(dw_journal_tx *tx, dw_sent *sent, dw_error *err);
/* A message under its number; `why` is of one that was set aside, else NULL. */
dw_status dw__mail_add(dw_journal_tx *tx, const char *id, const dw_message_row *message,
                       const void *content, const dw_attempts *why, dw_error *err);
/* The number for a new message of the actor's, given once. Errors: DW_E_LIMIT, DW_E_NOT_FOUND. */
dw_status dw__mail_number(dw_journal_tx *tx, const char *id, uint64_t *number, dw_error *err);
dw_status dw__mail_drop(dw_journal_tx *tx, const char *id, uint64_t number, dw_error *err);

/* ---- folder_attempts.c ---- */

/* One in which the process ended. */
dw_status dw__attempts_count(dw_journal_tx *tx, const char *id, const dw_attempted *work,
                             dw_error *err);
dw_status dw__attempts_drop(dw_journal_tx *tx, const char *id, dw_error *err);
dw_status dw__attempts_note(dw_journal_tx *tx, const char *id, const dw_attempts *attempts,
                            dw_error *err);

/* ---- folder_marks.c ---- */

/* When the folder is opened: what marks say of the last process. Errors: DW_E_IO. */
dw_status dw__folder_take_marks(dw_actor_folder *folder, dw_error *err);
bool dw__folder_is_withdrawn(dw_actor_folder *folder, const char *id, uint64_t number);
/* Remove withdrawn messages. Best effort. */
void dw__folder_finish_withdrawals(dw_actor_folder *folder);

/* ---- folder_descent.c ---- */

dw_status dw__descent_add(dw_journal_tx *tx, const char *id, const dw_descent *descent,
                          dw_error *err);

/* ---- folder_names.c ---- */

/* Whether the actor may have that name in its tenant. Errors: DW_E_STATE (another has it). */
dw_status dw__name_check_free(dw_journal_tx *tx, const char *id, const char *tenant,
                              const char *name, dw_error *err);
/* An actor's change of groups, with what must fail the transaction in the result, what concerns
 * that change alone in change->status. */
dw_status dw__group_take(dw_journal_tx *tx, const char *id, dw_group_change *change, dw_error *err);

/* ---- folder_watches.c; within a transaction ---- */

/* An actor's change of what it watches, with what must fail the transaction in the result, what
 * concerns that change alone in change->status. */
dw_status dw__watch_take(dw_journal_tx *tx, const char *id, dw_watch_change *change,
                         dw_notices *notices, dw_error *err);
/* Those that watch the actor are told, and watch it no more. */
dw_status dw__watchers_tell(dw_journal_tx *tx, const char *id, const dw_watch_event *event,
                            dw_notices *notices, dw_error *err);
/* The same of one that is about to go; how it ended is remembered. */
dw_status dw__watchers_end(dw_journal_tx *tx, const char *id, const dw_watch_event *event,
                           dw_notices *notices, dw_error *err);
/* Who is told nothing any more: what it watches itself is over. */
dw_status dw__watchers_drop(dw_journal_tx *tx, const char *id, dw_error *err);
/* What an earlier run of the same work has told. */
void dw__notices_clear(dw_notices *notices);

/* ---- folder_turn.c ---- */

dw_status dw__turn_add_actor(dw_journal_tx *tx, const dw_new_actor *made, uint64_t sequence,
                             uint64_t done, dw_error *err);

/* ---- folder_loose.c ---- */

/* Note within a transaction that the actor's folder may hold files that no row names, or that it
 * does not. */
dw_status dw__loose_set(dw_journal_tx *tx, const char *id, bool loose, dw_error *err);
/* Remove files of the actor's folder that no row names, and the folder where there is no such
 * actor. Errors: DW_E_IO. */
dw_status dw__folder_sweep(dw_actor_folder *folder, const char *id, dw_error *err);
/* The same for each of `names`, which are noted; the notes of those that are clean are taken away,
 * if all else is. Best effort. */
void dw__folder_sweep_all(dw_actor_folder *folder, const dw_actor_name *names, size_t count,
                          bool clean_else);
/* When the folder is opened: all that are noted, and modules that nobody uses. */
dw_status dw__folder_sweep_noted(dw_actor_folder *folder, dw_error *err);

/* ---- folder_calls.c ---- */

/* When the folder is opened: calls of actors that are gone. Best effort. */
void dw__folder_sweep_calls(dw_actor_folder *folder);

/* ---- folder_modules.c ---- */

/* The actor was made, or will not be. */
void dw__folder_unuse_module(dw_actor_folder *folder, const dw_new_actor *made);
void dw__folder_unuse_changed(dw_actor_folder *folder, const dw_turn *turn);

/* Remove the module of an actor that is there no more, if no other has it; false: it could not
 * be. */
bool dw__folder_release_module(dw_actor_folder *folder, const char *hash);
/* All that no actor has. */
bool dw__folder_release_modules(dw_actor_folder *folder);

/* ---- folder_former.c ---- */

/* When the folder is opened: take over what a program without a journal has left. */
dw_status dw__folder_take_over(dw_actor_folder *folder, dw_error *err);
/* To look only. Errors: DW_E_UNSUPPORTED (it is a folder of such a program). */
dw_status dw__folder_check_taken_over(dw_actor_folder *folder, dw_error *err);

#endif
