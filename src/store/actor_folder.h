/* The state folder: actors as files. Its layout:
 *
 *   lock                                     locked while a process has the folder open; its number
 *   .tmp-NAME                                temporary files of the program; what is being written
 *   .tmp-busy-ID                             an actor is at work
 *   .tmp-work                                what is being tried; which message is withdrawn
 *   modules/SHA256.wasm                      guests, named by their hash
 *   modules/.users/SHA256/ID                 who uses them; empty
 *   actors/ID/SEQUENCE-DONE.KIND.snapshot    KIND is `full`, or `delta` upon the snapshot before;
 *                                            `pending-` before it: effects are to be carried out
 *   actors/ID/.descent-PIECE-DEPTH-ID-ID...  its ancestors, the nearest first, 12 a piece; empty
 *   actors/ID/mail/NUMBER-FROM-EFFECT        a message that was accepted; NUMBER 0: a delivered one
 *   actors/ID/mail/NUMBER-...-CAUSE-COUNT    the same of another actor: the COUNT-th message that
 *                                            came of CAUSE, one from outside
 *   actors/ID/mail/aside-NUMBER-FROM-EFFECT  one that was given up
 *   actors/ID/mail/.aside-NUMBER             why: attempts, the reason of the last one's failure
 *   actors/ID/mail/.attempts                 the same of what comes next
 *   actors/ID/mail/.newest                   SEQUENCE of the snapshot written last, 20 digits
 *   actors/.delivered-ID-0-FROM-EFFECT       a delivered message of an actor that has ended since
 *   actors/.new-ID                           an actor that is being made or removed
 *   stopping                                 ids, one a line, of actors that are being removed
 *
 * SEQUENCE has at least 8 digits, DONE and NUMBER 12; they are read at any width, up to 64 bits,
 * and ordered as numbers. From a full snapshot on SEQUENCE has no gaps: one that is missing, or one
 * below .newest as the last, means that somebody deleted a file. FROM and EFFECT are 16 hexadecimal
 * digits, all 0 for a message from outside. Messages up to DONE are part of the snapshot's state.
 *
 * The folder is consistent whenever the process is killed:
 *
 *   what is done         in this order                            left behind, and who removes it
 *   a file is written    .tmp-part-N written and synced; renamed  .tmp-part-N; open
 *                        to its place; the folder synced
 *   an actor works       .tmp-busy-ID made; snapshots written;    .tmp-busy-ID; open, which then
 *                        if full, older ones removed; messages    looks at that actor alone
 *                        that are done removed; .tmp-busy-ID
 *                        removed
 *   an actor is made     .new-ID made; noted in .users; its       .new-ID; open
 *                        module written; .new-ID filled and
 *                        synced; renamed to ID; `actors` synced
 *   an actor is removed  its delivered messages noted; renamed    .new-ID; open
 *                        to .new-ID; taken from .users, its
 *                        module removed if it was the last;
 *                        .new-ID removed
 *   many are removed     `stopping` written, which hides them;   `stopping`; open
 *                        each removed; `stopping` removed
 *   effects are carried  the `pending` snapshot written; each     the `pending` snapshot: effects
 *   out                  effect; a snapshot without them written  are carried out again
 *
 *   something is tried   what it is written over .tmp-work; the  that; open, which counts it in
 *                        guest called; the note taken away       .attempts
 *   a message that       prepared for; accepted; tried. If it   .tmp-work with the mark, in which
 *   somebody awaits      fails it is removed, or where that      its file's time is; open removes
 *                        fails, too, marked in .tmp-work         the message
 *   a message is set     .aside-NUMBER written; the message      .aside-NUMBER, which the next one
 *   aside                renamed                                 replaces
 *
 * A message waits until it is done or its attempts are at their limit: that of a call that ended
 * badly is noted in .attempts, that of a process which ended in the middle of it is found in
 * .tmp-work. Only attempts that follow a failure write files.
 *
 * Since effects may be carried out twice, an actor may send a message twice. A message that was
 * worked on is remembered as delivered as long as its sender's newest snapshot is `pending`, also
 * beyond the end of the actor that had it. It is not accepted a second time.
 *
 * Opening looks at the names in the folder and in `actors` and at what was left, not at actors that
 * are well. A folder of an earlier program, without .users, is looked at whole, once: such programs
 * called `.tmp-` and `.delivered-` differently, wrote files beside their place (ID/NAME.tmp-REST,
 * NAME.part), and kept modules for ever.
 * Thread: one at a time. */
#ifndef DW_STORE_ACTOR_FOLDER_H
#define DW_STORE_ACTOR_FOLDER_H

#include "actor/mailbox.h"

#define DW_FOLDER_PATH_MAX 4096
#define DW_SNAPSHOT_CHAIN_MAX 32

typedef struct dw_actor_folder dw_actor_folder;

/* Temporary files in the folder begin with this. Those that a killed process left are removed when
 * the folder is opened. */
#define DW_FOLDER_TMP ".tmp-"

enum {
    DW_FOLDER_READ_ONLY = 1,   /* look only: nothing is made, changed or removed */
    DW_FOLDER_ACCEPT_OLDER = 2 /* where an actor's newest snapshots are missing, the one before is
                                  its state */
};

/* Open or make the folder, lock it, and remove what killed processes left; with
 * DW_FOLDER_READ_ONLY share the lock of one that must be there. Errors: DW_E_BUSY (another process
 * has it: which),
 * DW_E_IO, DW_E_LIMIT (the path is too long), DW_E_MEMORY, DW_E_NOT_FOUND (DW_FOLDER_READ_ONLY). */
dw_status dw_actor_folder_open(dw_actor_folder **out, const char *path, unsigned flags,
                               dw_error *err);
void dw_actor_folder_close(dw_actor_folder *folder);

/* A name for a file to be written, on the folder's own file system: should the process be killed,
 * the next to open the folder removes it. */
void dw_actor_folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX]);

/* ---- actors ---- */

/* From here until `end` the actor's files change: should the process be killed meanwhile, the next
 * to open the folder looks what was left there. So it does where something could not be removed by
 * then. Best effort. */
void dw_actor_folder_begin(const dw_actor_folder *folder, const char *id);
void dw_actor_folder_end(dw_actor_folder *folder, const char *id);

typedef struct dw_actor_name {
    char id[DW_ACTOR_ID_CHARS + 1];
} dw_actor_name;
/* Ids [*count] of all actors, sorted; the caller's to dw_free. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_list(dw_actor_folder *folder, dw_actor_name **names, size_t *count,
                               dw_error *err);
/* The id that begins with `start`, at least one digit. Errors: DW_E_NOT_FOUND, DW_E_ARG (several,
 * or no digits). */
dw_status dw_actor_folder_find(dw_actor_folder *folder, const char *start, dw_actor_name *name,
                               dw_error *err);
bool dw_actor_folder_has(dw_actor_folder *folder, const char *id);
/* Remove an actor, or one that was made and not published. Errors: DW_E_IO. */
dw_status dw_actor_folder_remove(dw_actor_folder *folder, const char *id, dw_error *err);

/* Remove them all, or none, as where it fails: once the call has begun to remove, they are there no
 * more, and the next to open the folder finishes what a killed process or a failure left. Errors:
 * DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_remove_all(dw_actor_folder *folder, const dw_actor_name *names,
                                     size_t count, dw_error *err);
/* Whether the folder's files take less than `limit` bytes. Without `exactly`, where this process
 * has hardly written anything, that is not looked at. Errors: DW_E_LIMIT, DW_E_IO. */
dw_status dw_actor_folder_check_bytes(dw_actor_folder *folder, uint64_t limit, bool exactly,
                                      dw_error *err);
/* So many were written to it. */
void dw_actor_folder_add_bytes(dw_actor_folder *folder, uint64_t bytes);
/* Actors that are there. */
size_t dw_actor_folder_count(const dw_actor_folder *folder);

/* ---- descent ---- */

#define DW_ANCESTORS_MAX 256

/* Whom an actor descends from. */
typedef struct dw_descent {
    uint32_t depth; /* generations since the head of its tree, which was made from outside */
    uint32_t count; /* of ancestors that are known: at least as many as `depth` */
    dw_actor_name ancestors[DW_ANCESTORS_MAX]; /* [count], the nearest first */
} dw_descent;

/* Of one that was made from nothing, imported, or made by an earlier program: all 0. Errors:
 * DW_E_IO, DW_E_NOT_FOUND. */
dw_status dw_actor_folder_read_descent(const dw_actor_folder *folder, const char *id,
                                       dw_descent *descent, dw_error *err);
/* Of a new actor, whose folder was made and is not published yet. Errors: DW_E_IO. */
dw_status dw_actor_folder_note_descent(dw_actor_folder *folder, const char *id,
                                       const dw_descent *descent, dw_error *err);
/* A child's; made from outside, it is the head of a tree of its own. */
void dw_descent_of_child(dw_descent *child, const dw_descent *parent, const char *parent_id,
                         bool from_outside);
/* The head of the tree of actor `id`; borrowed from both. */
const char *dw_descent_head(const dw_descent *descent, const char *id);
bool dw_descent_has(const dw_descent *descent, const char *ancestor);
/* How many actors there are in the tree with this head, besides it. The first call looks at all.
 * Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_count_tree(dw_actor_folder *folder, const char *head, size_t *count,
                                     dw_error *err);
/* The actor and all that descend from it, [*count]; the caller's to dw_free. Errors: DW_E_IO,
 * DW_E_MEMORY. */
dw_status dw_actor_folder_list_tree(dw_actor_folder *folder, const char *id, dw_actor_name **names,
                                    size_t *count, dw_error *err);

/* ---- snapshots ---- */

/* What a snapshot's name says. */
typedef struct dw_snapshot_kind {
    uint64_t done; /* number of the last message in its state */
    bool pending;  /* its effects are to be carried out */
    bool full;
} dw_snapshot_kind;

/* An actor's snapshots: a full one and the deltas upon it. */
typedef struct dw_snapshot_chain {
    char paths[DW_SNAPSHOT_CHAIN_MAX][DW_FOLDER_PATH_MAX];
    const char *list[DW_SNAPSHOT_CHAIN_MAX]; /* [count], to the paths */
    uint64_t bytes[DW_SNAPSHOT_CHAIN_MAX];
    size_t count;
    uint64_t sequence; /* of the last there was: the next has one more */
    uint64_t done;
    bool pending;
    bool incomplete; /* DW_FOLDER_ACCEPT_OLDER: later ones are missing; the next is a full one */
} dw_snapshot_chain;
/* Also removes what a killed process left in the actor's folder. Errors: DW_E_NOT_FOUND, DW_E_IO,
 * DW_E_LIMIT (more than DW_SNAPSHOT_CHAIN_MAX files), DW_E_FORMAT (one is missing: which). */
dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err);
/* The path of the snapshot that comes after the chain's last. Errors: DW_E_LIMIT (no number is
 * left). */
dw_status dw_actor_folder_next_snapshot(const dw_actor_folder *folder, const char *id,
                                        const dw_snapshot_chain *chain,
                                        const dw_snapshot_kind *kind, char path[DW_FOLDER_PATH_MAX],
                                        dw_error *err);
/* The snapshot was written there: the chain ends in it, and begins with it where it is full. */
void dw_snapshot_chain_add(dw_snapshot_chain *chain, const char *path,
                           const dw_snapshot_kind *kind);
/* A snapshot was written: one that is missing later can be told. Best effort. */
void dw_actor_folder_note_newest(const dw_actor_folder *folder, const char *id, uint64_t sequence);
/* Remove the chain's files, best effort: a full snapshot was written after them. */
void dw_actor_folder_remove_chain(dw_actor_folder *folder, const dw_snapshot_chain *chain);

/* Make a new actor's folder, which is invisible until it is published. The files of `chain`, if it
 * is not NULL, are linked or copied there. `path` gets the name of the first snapshot that is to be
 * written: a delta upon the chain, or a full one. Errors: DW_E_IO, DW_E_STATE (the id is taken). */
dw_status dw_actor_folder_make(dw_actor_folder *folder, const char *id,
                               const dw_snapshot_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err);
dw_status dw_actor_folder_publish(dw_actor_folder *folder, const char *id, dw_error *err);

/* ---- messages ---- */

/* What a message's file name says. */
typedef struct dw_message_file {
    uint64_t number;
    char from[DW_ACTOR_ID_CHARS + 1]; /* "": from outside */
    uint64_t effect;                  /* of the sender's effects; 0: from outside */
    uint64_t cause;                   /* the message from outside that it comes of; 0: it is one */
    uint64_t caused;                  /* so many of it there were when it was sent */
    bool aside;                       /* it was given up, and waits for its actor's owner */
} dw_message_file;
/* Accept a message: it is on the disk afterwards, and `message->number` is set. At most
 * `mail_max` wait or were set aside. A message of a
 * sender's effect that was accepted before is left as it is: the number stays 0.
 * Errors: DW_E_NOT_FOUND (no such actor), DW_E_IO, DW_E_MEMORY, DW_E_FORMAT (its newest snapshot is
 * missing), DW_E_LIMIT (no number is left), DW_E_BUSY (mail_max). */
typedef struct dw_mail_content {
    const void *bytes; /* [count] */
    size_t count;
} dw_mail_content;
dw_status dw_actor_folder_accept(dw_actor_folder *folder, const char *id, dw_message_file *message,
                                 const dw_mail_content *content, uint64_t mail_max, dw_error *err);
/* Messages [*count] with numbers beyond `done`, in order, without those that were set aside; the
 * caller's to dw_free. Those that are done are removed. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_list_messages(dw_actor_folder *folder, const char *id, uint64_t done,
                                        dw_message_file **messages, size_t *count, dw_error *err);
/* A message's content [*bytes], the caller's to dw_free. Errors: DW_E_IO, DW_E_NOT_FOUND,
 * DW_E_MEMORY. */
dw_status dw_actor_folder_read_message(dw_actor_folder *folder, const char *id,
                                       const dw_message_file *message, char **content,
                                       size_t *bytes, dw_error *err);
/* The message was worked on, or never will be: it waits no more. Errors: DW_E_IO; it may still
 * wait. */
dw_status dw_actor_folder_delivered(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, dw_error *err);
/* Before a message from outside is accepted whose sender waits: see to it that it can be withdrawn,
 * whatever the disk does then. Errors: DW_E_IO. */
dw_status dw_actor_folder_prepare_withdrawal(dw_actor_folder *folder, dw_error *err);
/* Its sender is told that the message failed: it is never worked on. Where its file cannot be
 * removed, that is done before anything else is for its actor, and before the next is accepted that
 * was prepared for. False: it may wait still, since the folder cannot even say so. */
bool dw_actor_folder_withdraw(dw_actor_folder *folder, const char *id,
                              const dw_message_file *message);
/* Whether the actor had that message, and has ended since. */
bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const char *id,
                                   const dw_message_file *message);

/* The same with those that were set aside, and nothing is removed. */
dw_status dw_actor_folder_list_mail(dw_actor_folder *folder, const char *id, uint64_t done,
                                    dw_message_file **messages, size_t *count, dw_error *err);
/* The bytes of a message's content. Errors: DW_E_IO, DW_E_NOT_FOUND. */
dw_status dw_actor_folder_message_bytes(dw_actor_folder *folder, const char *id,
                                        const dw_message_file *message, uint64_t *bytes,
                                        dw_error *err);

/* ---- attempts ---- */

/* What an actor works on, so that it is known again: by its message's number; for one in the actor
 * itself by how many it has worked on and how many are in it; for an effect by its number. */
typedef enum dw_attempted_kind {
    DW_ATTEMPTED_MESSAGE = 'm',
    DW_ATTEMPTED_OWN_MESSAGE = 'o',
    DW_ATTEMPTED_EFFECT = 'e',
} dw_attempted_kind;
#define DW_ATTEMPT_REASON_BYTES 248 /* as long as an error's message */
typedef struct dw_attempted {
    dw_attempted_kind kind;
    uint64_t number;
    uint64_t inside; /* DW_ATTEMPTED_OWN_MESSAGE: messages and timers in the actor */
} dw_attempted;
typedef struct dw_attempts {
    dw_attempted work;
    uint32_t count;
    char reason[DW_ATTEMPT_REASON_BYTES]; /* of the last one's failure */
} dw_attempts;

/* The actor is about to try this: should the process end meanwhile, the next to open the folder
 * counts an attempt. No sync: what is written outlasts the process. Errors: DW_E_IO. */
dw_status dw_actor_folder_try(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                              dw_error *err);
/* The attempt is over, whatever came of it. Best effort. */
void dw_actor_folder_tried(dw_actor_folder *folder);
/* What is known of earlier attempts at this; count 0: nothing. */
void dw_actor_folder_get_attempts(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                                  dw_attempts *attempts);
/* One more has failed; `attempts` is what dw_actor_folder_get_attempts gave, and is updated.
 * Errors: DW_E_IO. */
dw_status dw_actor_folder_note_attempt(dw_actor_folder *folder, const char *id,
                                       dw_attempts *attempts, const char *reason, dw_error *err);
/* It is through. Errors: DW_E_IO. */
dw_status dw_actor_folder_forget_attempts(dw_actor_folder *folder, const char *id, dw_error *err);

/* Give a message up: it waits no more, and is kept with `why`. Errors: DW_E_IO. */
dw_status dw_actor_folder_set_aside(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, const dw_attempts *why,
                                    dw_error *err);
/* The same for one that is in no file, but in the actor's state, where the caller removes it
 * afterwards: a second time changes nothing. `*number` is what it is called then. Errors: those of
 * dw_actor_folder_accept. */
dw_status dw_actor_folder_set_own_aside(dw_actor_folder *folder, const char *id,
                                        const dw_message *message, const dw_attempts *why,
                                        uint64_t *number, dw_error *err);
/* Why it was set aside. Errors: DW_E_IO, DW_E_NOT_FOUND, DW_E_FORMAT. */
dw_status dw_actor_folder_why_aside(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, dw_attempts *why,
                                    dw_error *err);
/* Let a message that was set aside wait again, behind all others. Errors: DW_E_IO, DW_E_LIMIT. */
dw_status dw_actor_folder_retry(dw_actor_folder *folder, const char *id,
                                const dw_message_file *message, dw_error *err);

/* ---- modules ---- */

typedef struct dw_module_file {
    const char *hash; /* SHA-256, 64 digits */
    const void *wasm; /* [bytes] */
    size_t bytes;
} dw_module_file;
/* The actor, whose folder was made, is of this module: keep it as long as one of its users is
 * there. Errors: DW_E_IO. */
dw_status dw_actor_folder_use_module(dw_actor_folder *folder, const char *id,
                                     const dw_module_file *module, dw_error *err);
/* A module [*bytes], the caller's to dw_free. Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_read_module(dw_actor_folder *folder, const char *hash, char **wasm,
                                      size_t *bytes, dw_error *err);

#endif
