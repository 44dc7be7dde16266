/* A folder that actors live in, as files:
 *
 *   lock                                     held while a process works in the folder
 *   modules/SHA256.wasm                      guests, named by their hash
 *   actors/ID/SEQUENCE-DONE.KIND.snapshot    `full`, or `delta` upon the one before; with
 *                                            `pending-` before it, effects are to be carried out
 *   actors/ID/mail/NUMBER-FROM-EFFECT        a message that was accepted
 *   actors/.delivered-ID-0-FROM-EFFECT       one that an actor had which has ended since
 *
 * An actor whose process is killed while its effects are carried out delivers its messages again.
 * So one that was worked on stays as long as its sender's newest snapshot is `pending`, with 0 for
 * NUMBER, and outlasts the actor that had it: it is not accepted a second time.
 *
 * SEQUENCE has 8 digits, DONE and NUMBER 12: messages up to DONE are worked into the snapshot.
 * Files and folders appear under their names when they are whole and on the disk. A process that is
 * killed leaves files without meaning at worst, which the next one removes.
 * Thread: one at a time. */
#ifndef DW_STORE_ACTOR_FOLDER_H
#define DW_STORE_ACTOR_FOLDER_H

#include "base/status.h"

#define DW_FOLDER_PATH_MAX 4096
#define DW_FOLDER_CHAIN_MAX 32

typedef struct dw_actor_folder dw_actor_folder;

/* A file for the time being in the folder begins so; one that a killed process left is removed by
 * the next that opens the folder. */
#define DW_FOLDER_TMP ".tmp-"

/* Open or make the folder, lock it, and remove what killed processes left. Errors: DW_E_BUSY
 * (another process has it: which), DW_E_IO, DW_E_LIMIT (the path is too long), DW_E_MEMORY. */
dw_status dw_actor_folder_open(dw_actor_folder **out, const char *path, dw_error *err);
void dw_actor_folder_close(dw_actor_folder *folder);

/* Ids [*count] of the actors there are, in order; the caller's to dw_free. */
typedef struct dw_actor_name {
    char id[DW_ACTOR_ID_CHARS + 1];
} dw_actor_name;
dw_status dw_actor_folder_list(dw_actor_folder *folder, dw_actor_name **names, size_t *count,
                               dw_error *err);
/* The id that begins with `start`, at least one digit. Errors: DW_E_NOT_FOUND, DW_E_ARG (several,
 * or no digits). */
dw_status dw_actor_folder_find(dw_actor_folder *folder, const char *start, dw_actor_name *name,
                               dw_error *err);
bool dw_actor_folder_has(dw_actor_folder *folder, const char *id);

/* What a snapshot's name says. */
typedef struct dw_folder_kind {
    uint64_t done;
    bool pending;
    bool full;
} dw_folder_kind;

/* An actor's snapshots, the full one first. */
typedef struct dw_folder_chain {
    char paths[DW_FOLDER_CHAIN_MAX][DW_FOLDER_PATH_MAX];
    const char *list[DW_FOLDER_CHAIN_MAX]; /* [count], to the paths */
    uint64_t bytes[DW_FOLDER_CHAIN_MAX];
    size_t count;
    uint64_t sequence; /* of the last */
    uint64_t done;
    bool pending;
} dw_folder_chain;
/* Also removes what a process that was killed left behind. Errors: DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_actor_folder_chain(dw_actor_folder *folder, const char *id, dw_folder_chain *chain,
                                dw_error *err);
/* Where the next snapshot shall be written to. */
void dw_actor_folder_next(const dw_actor_folder *folder, const char *id,
                          const dw_folder_chain *chain, const dw_folder_kind *kind,
                          char path[DW_FOLDER_PATH_MAX]);
/* Remove the chain's files: what was written after them is a full snapshot. */
void dw_actor_folder_drop(const dw_folder_chain *chain);

/* A new actor begins in a folder of its own, which nobody sees before dw_actor_folder_show: the
 * chain's files, if there is one, are linked or copied there. `path` gets the name of the snapshot
 * that is to be written next, a full one where there is no chain.
 * Errors: DW_E_IO, DW_E_STATE (it is there already). */
dw_status dw_actor_folder_make(dw_actor_folder *folder, const char *id,
                               const dw_folder_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err);
dw_status dw_actor_folder_show(dw_actor_folder *folder, const char *id, dw_error *err);
/* Remove an actor, or one that was made and not shown. */
dw_status dw_actor_folder_remove(dw_actor_folder *folder, const char *id, dw_error *err);

/* Messages. */
typedef struct dw_message_file {
    uint64_t number;
    char from[DW_ACTOR_ID_CHARS + 1]; /* "": from outside */
    uint64_t effect;                  /* of the sender's effects; 0: from outside */
} dw_message_file;
/* Accept a message: it is on the disk afterwards, under the number that `file` gets. One with a
 * sender's effect that is there already is not accepted twice: no number.
 * Errors: DW_E_NOT_FOUND (no such actor), DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_accept(dw_actor_folder *folder, const char *id, dw_message_file *file,
                                 const void *message, size_t bytes, dw_error *err);
/* Those beyond `done`, in order; the caller's to dw_free. Others are removed. */
dw_status dw_actor_folder_files(dw_actor_folder *folder, const char *id, uint64_t done,
                                dw_message_file **files, size_t *count, dw_error *err);
dw_status dw_actor_folder_read(dw_actor_folder *folder, const char *id, const dw_message_file *file,
                               char **message, size_t *bytes, dw_error *err);
/* It was worked on, or never will be: it waits no more. Errors: DW_E_IO; it may still wait. */
dw_status dw_actor_folder_delivered(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *file, dw_error *err);
/* Whether the actor had that message, and has ended since. */
bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const char *id,
                                   const dw_message_file *file);

/* Keep a guest's module; `hash` is its SHA-256. */
dw_status dw_actor_folder_keep_module(dw_actor_folder *folder, const char *hash, const void *wasm,
                                      size_t bytes, dw_error *err);
/* Errors: DW_E_NOT_FOUND. */
dw_status dw_actor_folder_module(dw_actor_folder *folder, const char *hash, char **wasm,
                                 size_t *bytes, dw_error *err);

#endif
