/* The state folder: actors, what waits for them, and their snapshots. Its layout:
 *
 *   lock                                     locked while a process has the folder open; its number
 *   journal.db, -wal, -shm, -marks           the journal: all but the two below (folder_tables.c)
 *   modules/SHA256.wasm                      guests, named by their hash
 *   actors/ID/SEQUENCE-DONE.KIND.snapshot    KIND is `full`, or `delta` upon the snapshot before
 *   actors/ID/NUMBER.series                  deltas, one behind the other (snapshot_file.h)
 *   actors/ID/NUMBER.kept.snapshot           a freeze that was asked for, to go back to
 *   calls/ID/INDEX                           what tools answered to it (folder_calls.h)
 *   .tmp-NAME                                what is being written
 *
 * SEQUENCE has at least 8 digits, DONE 12; they are read at any width, up to 64 bits.
 *
 * Deltas go behind one another into a series as long as at least half of it is needed, nobody else
 * has the file (a fork's is a link), and it is short enough; then another begins, whose number is
 * that of its first. What a series has behind the last snapshot that a row names was never
 * committed: it is cut off before the next is written there.
 *
 * A series that is closed gets an index (snapshot/series_index.h): one row stands for all of its
 * snapshots but the last, which may be the actor's state where later ones are missing.
 *
 * A snapshot is written and synced first; then one transaction says all that came of a turn: the
 * newest snapshot, the message that is done, messages to others, actors that were made, the end of
 * the actor, its next timer. So an actor is as it was before a message, or as it is after it with
 * all that came of it, whenever the process is killed and whatever the disk fails at.
 *
 * What is in the folders `actors` and `modules` and is named by no row is removed: before an
 * actor's files change it is marked (folder_marks.c), or noted in the table `loose` where it is
 * new or ends, and who opens the folder next looks at those actors alone. Likewise an attempt is
 * marked before it begins, so that one in which the process ended counts. Marks outlast the
 * process, not the system.
 *
 * A message waits until it is done or its attempts are at their limit. It has a number of its
 * actor's that is given once. Whether a sender's message was accepted before is told by its
 * effect's number, as long as it waits; for those that were delivered before a folder was taken
 * over, by the table `seen`, until their sender has no effects to repeat.
 *
 * A folder of 0.1.0 or of a program before the journal is taken over when it is opened, in one
 * transaction (folder_former.c); to look only, it is refused.
 * Thread: any, but for dw_actor_folder_open and _close; one at a time for what concerns one actor.
 * The work of transactions is run on the journal's. */
#ifndef DW_STORE_ACTOR_FOLDER_H
#define DW_STORE_ACTOR_FOLDER_H

#include "actor/mailbox.h"
#include "journal/journal.h"
#include "snapshot/series_index.h"

#define DW_FOLDER_PATH_MAX 4096
#define DW_SNAPSHOT_CHAIN_MAX 1048576

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
 * has it: which), DW_E_IO, DW_E_LIMIT (the path is too long), DW_E_MEMORY, DW_E_FORMAT (the journal
 * is damaged or another program's), DW_E_UNSUPPORTED (of a newer version; of an earlier one with
 * DW_FOLDER_READ_ONLY), DW_E_NOT_FOUND (DW_FOLDER_READ_ONLY). */
dw_status dw_actor_folder_open(dw_actor_folder **out, const char *path, unsigned flags,
                               dw_error *err);
void dw_actor_folder_close(dw_actor_folder *folder);
/* For work of one's own on it; borrowed. */
dw_journal *dw_actor_folder_journal(dw_actor_folder *folder);

/* A name for a file to be written, on the folder's own file system: should the process be killed,
 * the next to open the folder removes it. */
void dw_actor_folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX]);

/* ---- actors ---- */

typedef struct dw_actor_name {
    char id[DW_ACTOR_ID_CHARS + 1];
} dw_actor_name;
/* The id that begins with `start`, at least one digit. Errors: DW_E_NOT_FOUND, DW_E_ARG (several,
 * or no digits). */
dw_status dw_actor_folder_find(dw_actor_folder *folder, const char *start, dw_actor_name *name,
                               dw_error *err);
/* Whether it is there; false: also where that cannot be read. */
bool dw_actor_folder_has(dw_actor_folder *folder, const char *id);
/* Remove actors, all or none, with what waits for them; those that watch one of them, and are not
 * among them, are told. Their files go afterwards; what is left of them, after a kill say, goes at
 * the next opening. Errors: DW_E_IO, DW_E_MEMORY. */
struct dw_ending;
dw_status dw_actor_folder_remove_all(dw_actor_folder *folder, const dw_actor_name *names,
                                     size_t count, struct dw_ending *ending, dw_error *err);

/* What an actor was granted, and how it is run. */
typedef struct dw_actor_traits {
    char tenant[DW_TENANT_NAME_MAX + 1];
    uint32_t capabilities; /* DW_MAY_*; what there is not means nothing */
    int32_t priority;      /* dw_priority */
    int32_t supervision;   /* dw_supervision */
    uint32_t failures_max;
    bool pinned;
    char policy[32]; /* of durability, the runtime's text; "": its tenant's */
} dw_actor_traits;

/* What a runtime counts of an actor, and what it owes it: kept as it is. */
#define DW_ACTOR_COUNTERS_MAX 32
typedef struct dw_actor_counts {
    uint32_t failures; /* in a row */
    bool renews;       /* what its state would draw may be known of a message that is over: it is to
                          draw other random numbers, once messages up to `redo` are done again */
    uint64_t redo;     /* renews */
    uint32_t count;
    uint64_t counters[DW_ACTOR_COUNTERS_MAX]; /* [count], in the runtime's order */
} dw_actor_counts;

/* What the journal says of an actor. */
typedef struct dw_actor_row {
    char id[DW_ACTOR_ID_CHARS + 1];
    char parent[DW_ACTOR_ID_CHARS + 1]; /* "": none */
    char head[DW_ACTOR_ID_CHARS + 1];   /* of its tree */
    uint32_t depth;
    uint64_t sequence; /* of the snapshot that was written last */
    uint64_t done;     /* the last message in it */
    uint64_t numbered; /* the last message that was accepted or set aside */
    uint64_t waiting;  /* messages */
    uint64_t set_aside;
    uint64_t inside;   /* messages in the actor itself */
    uint64_t timer_ms; /* when its next timer is due; 0: it is not known; UINT64_MAX: none */
    dw_actor_traits traits;
    char name[DW_NAME_MAX + 1]; /* "": none */
    dw_actor_counts counts;
} dw_actor_row;
/* Errors: DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_actor_folder_row(dw_actor_folder *folder, const char *id, dw_actor_row *row,
                              dw_error *err);
/* Change them. Errors: DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_actor_folder_set_traits(dw_actor_folder *folder, const char *id,
                                     const dw_actor_traits *traits, dw_error *err);
/* Tenants that have actors, each with how many; `take` must not use the folder. Errors: DW_E_IO. */
dw_status dw_actor_folder_count_tenants(dw_actor_folder *folder,
                                        void (*take)(void *user, const char *tenant,
                                                     uint64_t actors),
                                        void *user, dw_error *err);
/* One of many that are listed. */
typedef struct dw_actor_item {
    dw_actor_row row;
    uint64_t snapshot_count;
    uint64_t bytes;   /* of them */
    dw_status status; /* of dw_actor_folder_read_chain */
    dw_error problem;
} dw_actor_item;
/* Actors in the order of their ids, those from the id `from` on: up to `max` into `items`, the
 * caller's. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_page(dw_actor_folder *folder, const char *from, dw_actor_item *items,
                               size_t max, size_t *count, dw_error *err);

/* For whom something waits, from the id `from` on ("": all), in order: messages, or what is in the
 * actor itself. Up to `max` names, the caller's; it does not look at other actors. Errors:
 * DW_E_IO. */
dw_status dw_actor_folder_list_waiting(dw_actor_folder *folder, const char *from,
                                       dw_actor_name *names, size_t max, size_t *count,
                                       dw_error *err);
/* Whose next timer is due by `now_ms`, or is not known, the earliest first; from the beginning,
 * then behind those that were listed last. */
typedef struct dw_timed_cursor {
    uint64_t now_ms;
    bool begun; /* what follows: the last one */
    uint64_t timer_ms;
    uint64_t id;
} dw_timed_cursor;
dw_status dw_actor_folder_list_timed(dw_actor_folder *folder, dw_timed_cursor *cursor,
                                     dw_actor_name *names, size_t max, size_t *count,
                                     dw_error *err);

/* All, likewise. */
dw_status dw_actor_folder_list_from(dw_actor_folder *folder, const char *from, dw_actor_name *names,
                                    size_t max, size_t *count, dw_error *err);
/* When the first timer is due that is due after `after_ms`; UINT64_MAX: there is none. Errors:
 * DW_E_IO. */
dw_status dw_actor_folder_next_timer(dw_actor_folder *folder, uint64_t after_ms, uint64_t *timer_ms,
                                     dw_error *err);

/* Whether the folder's files take less than `limit` bytes. Without `exactly`, where this process
 * has hardly written anything, that is not looked at. Errors: DW_E_LIMIT, DW_E_IO. */
dw_status dw_actor_folder_check_bytes(dw_actor_folder *folder, uint64_t limit, bool exactly,
                                      dw_error *err);
/* So many were written to it. */
void dw_actor_folder_add_bytes(dw_actor_folder *folder, uint64_t bytes);

/* ---- names and groups ---- */

/* Of one tenant's; texts that are names (dw_runtime_set_name), which is the caller's to see. */

/* NULL: it has none any more. Errors: DW_E_NOT_FOUND, DW_E_STATE (another has it: which),
 * DW_E_IO. */
dw_status dw_actor_folder_set_name(dw_actor_folder *folder, const char *id, const char *name,
                                   dw_error *err);
/* Who has it. Errors: DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_actor_folder_find_name(dw_actor_folder *folder, const char *tenant, const char *name,
                                    dw_actor_name *found, dw_error *err);

/* An actor joins a group, or leaves it. */
typedef struct dw_group_change {
    char group[DW_NAME_MAX + 1];
    bool joins;
    uint64_t groups_max;  /* that an actor is in */
    uint64_t members_max; /* of a group */
    bool skip;            /* in a turn: `status` is what became of it already */
    dw_status status;     /* in a turn: what became of it */
    dw_error problem;
} dw_group_change;
/* What an actor is called, and the groups [group_count] it is in, by when it joined: the caller's
 * to dw_free. */
typedef struct dw_actor_names {
    char name[DW_NAME_MAX + 1];
    char (*groups)[DW_NAME_MAX + 1];
    size_t group_count;
    size_t group_capacity;
} dw_actor_names;
/* Errors, after which there are none: DW_E_NOT_FOUND, DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_read_names(dw_actor_folder *folder, const char *id, dw_actor_names *names,
                                     dw_error *err);

/* A group, and how one actor stands to it. */
typedef struct dw_group_look {
    uint64_t members; /* 0: there is no such group */
    bool is_in;       /* the actor */
    uint64_t groups;  /* that it is in */
} dw_group_look;
/* Whether the change may be made there. Errors: DW_E_NOT_FOUND (leaving: it is not in it),
 * DW_E_LIMIT. */
dw_status dw_group_change_check(const dw_group_change *change, const dw_group_look *look,
                                dw_error *err);
/* Make it. Errors: the same, DW_E_NOT_FOUND (no such actor), DW_E_IO. */
dw_status dw_actor_folder_change_group(dw_actor_folder *folder, const char *id,
                                       dw_group_change *change, dw_error *err);

/* Errors: DW_E_IO. */
dw_status dw_actor_folder_look_at_group(dw_actor_folder *folder, const char *tenant,
                                        const char *group, const char *id, dw_group_look *look,
                                        dw_error *err);
/* Members of a group, by when they joined. */
typedef struct dw_group_list {
    const char *tenant;
    const char *group;
    dw_actor_name *names; /* [count], the caller's, of room for `max` */
    size_t max;
    size_t count;
    uint64_t members; /* that there are; 0: there is no such group */
} dw_group_list;
/* Errors, after which there are none: DW_E_IO. */
dw_status dw_actor_folder_list_group(dw_actor_folder *folder, dw_group_list *list, dw_error *err);

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
dw_status dw_actor_folder_read_descent(dw_actor_folder *folder, const char *id, dw_descent *descent,
                                       dw_error *err);
/* A child's; made from outside, it is the head of a tree of its own. */
void dw_descent_of_child(dw_descent *child, const dw_descent *parent, const char *parent_id,
                         bool from_outside);
/* The head of the tree of actor `id`; borrowed from both. */
const char *dw_descent_head(const dw_descent *descent, const char *id);
/* How many actors there are in the tree with this head, besides it. Errors: DW_E_IO. */
dw_status dw_actor_folder_count_tree(dw_actor_folder *folder, const char *head, size_t *count,
                                     dw_error *err);
/* The actor and all that descend from it, [*count]; the caller's to dw_free. Errors: DW_E_IO,
 * DW_E_MEMORY. */
dw_status dw_actor_folder_list_tree(dw_actor_folder *folder, const char *id, dw_actor_name **names,
                                    size_t *count, dw_error *err);

/* ---- snapshots ---- */

typedef struct dw_snapshot_row {
    uint64_t sequence;
    uint64_t done;     /* number of the last message in its state */
    uint64_t bytes;    /* written to the file */
    char identity[33]; /* "": of a program before it was noted */
    bool full;
    bool pending;    /* of a folder that was taken over: its effects are to be carried out */
    bool drops;      /* others went with it: what was before cannot be gone back to */
    uint64_t series; /* the number of the file that it is in with others; 0: it has its own */
    uint64_t begin;  /* where in that */
    uint64_t length; /* and how long it is; 0: it is not written yet */
    uint64_t covers; /* of a series: as many, of which it is the last; 0: it is one alone */
    dw_series_index *index; /* what they hold; NULL: it was not read, or there are none */
    bool shared;            /* of one that is dropped: others are in its file still */
} dw_snapshot_row;

/* An actor's snapshots: a full one and the deltas upon it, but for those that hold nothing of it
 * any more. All zero: none. */
typedef struct dw_snapshot_chain {
    const char **list;               /* [count]: paths */
    const char **identities;         /* [count], in the rows */
    const dw_series_index **indexes; /* [count], likewise */
    dw_snapshot_row *rows;           /* [count]; their indexes are the chain's, counted */
    size_t count;
    size_t path_count; /* of `list` */
    size_t capacity;
    uint64_t sequence; /* of the last there was: the next has one more */
    uint64_t done;
    bool pending;    /* of the last */
    bool incomplete; /* DW_FOLDER_ACCEPT_OLDER: later ones are missing; the next is a full one */
} dw_snapshot_chain;
/* What it has allocated; it is empty then. */
void dw_snapshot_chain_release(dw_snapshot_chain *chain);
/* Keep those alone for which `takes` is true; the others' files stay. */
void dw_snapshot_chain_select(dw_snapshot_chain *chain,
                              bool (*takes)(void *user, const dw_snapshot_row *row), void *user);
/* Into a chain that was read before, or is all zero; to be released, also after a failure. */
/* Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_FORMAT (one is missing: which). */
dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err);
/* Those of one series alone, in order. */
dw_status dw_actor_folder_read_series(dw_actor_folder *folder, const char *id, uint64_t series,
                                      dw_snapshot_chain *chain, dw_error *err);
/* `row`, which is in the place of the one of its sequence and of those before that in its series,
 * takes that one's place; the others stay. Nothing where the chain has none such. */
void dw_snapshot_chain_cover(dw_snapshot_chain *chain, const dw_snapshot_row *row);
/* The snapshot that comes after the chain's last was written to `path`: its size goes into the row,
 * and it becomes the chain's last, or all of it. What the folder has changes with the commit of the
 * turn. Errors: DW_E_IO. */
dw_status dw_actor_folder_add_snapshot(dw_actor_folder *folder, dw_snapshot_chain *chain,
                                       dw_snapshot_row *row, const char *path, dw_error *err);

/* The same where the chain is not at hand: `row` has the sequence, and is given the size of what
 * was written to `path`. */
void dw_actor_folder_snapshot_path(const dw_actor_folder *folder, const char *id,
                                   const dw_snapshot_row *row, char path[DW_FOLDER_PATH_MAX]);
dw_status dw_actor_folder_snapshot_written(dw_actor_folder *folder, dw_snapshot_row *row,
                                           const char *path, dw_error *err);

/* The file of a series. */
typedef struct dw_series_look {
    uint64_t bytes; /* 0: also where it is not there */
    uint64_t taken; /* of the disk: holes take nothing */
    bool own;       /* no fork has it, too */
} dw_series_look;
void dw_actor_folder_look_at_series(const dw_actor_folder *folder, const char *id, uint64_t series,
                                    dw_series_look *look);

/* ---- freezes that are kept ---- */

#define DW_FOLDER_KEPT_MAX 8 /* of an actor: the first goes where one more comes */
/* Their numbers [*count], in order. Errors: DW_E_IO. */
dw_status dw_actor_folder_list_kept(dw_actor_folder *folder, const char *id,
                                    uint64_t numbers[DW_FOLDER_KEPT_MAX], size_t *count,
                                    dw_error *err);
/* Where one is: it is written there before the turn that `keeps` it is committed. */
void dw_actor_folder_kept_path(const dw_actor_folder *folder, const char *id, uint64_t number,
                               char path[DW_FOLDER_PATH_MAX]);
/* Another name for the full snapshot at `path`; or a copy, where there are no such. Errors:
 * DW_E_IO. */
dw_status dw_actor_folder_keep(dw_actor_folder *folder, const char *id, uint64_t number,
                               const char *path, dw_error *err);

/* ---- messages ---- */

typedef struct dw_message_row {
    uint64_t number;
    char from[DW_ACTOR_ID_CHARS + 1]; /* "": from outside */
    uint64_t effect;                  /* of the sender's effects; 0: from outside */
    uint64_t cause;                   /* the message from outside that it comes of; 0: it is one */
    uint64_t caused;                  /* so many of it there were when it was sent */
    uint64_t bytes;                   /* of its content */
    uint64_t at_ms;                   /* when it was accepted, as its actor's clock is to have it;
                                         0: it is not known */
    bool aside;                       /* it was given up, and waits for its actor's owner */
    int32_t kind;                     /* DW_MESSAGE_*, of guest/driftwood_abi.h */
} dw_message_row;

#define DW_ATTEMPT_REASON_BYTES 248 /* as long as an error's message */

/* A message to an actor. */
typedef struct dw_sent {
    char to[DW_ACTOR_ID_CHARS + 1];
    dw_message_row message; /* `number` is set when it is accepted; 0: it was accepted before */
    const void *content;    /* [message.bytes] */
    uint64_t mail_max;      /* at most so many wait for an actor or were set aside */
    bool skip;              /* in a turn: `status` is what became of it already */
    dw_status status;       /* in a turn: what became of it */
    dw_error problem;
} dw_sent;
/* Accept a message from outside: it is on the disk afterwards. Errors: DW_E_NOT_FOUND (no such
 * actor), DW_E_IO, DW_E_MEMORY, DW_E_LIMIT (no number is left; it is too long), DW_E_BUSY
 * (mail_max). */
dw_status dw_actor_folder_accept(dw_actor_folder *folder, dw_sent *sent, dw_error *err);
/* The same as the work of a piece of the journal whose `user` is the message. */
dw_status dw_actor_folder_accept_work(void *sent, dw_journal_tx *tx, dw_error *err);
/* A message's content [*bytes], the caller's to dw_free. Errors: DW_E_IO, DW_E_NOT_FOUND,
 * DW_E_MEMORY. */
dw_status dw_actor_folder_read_message(dw_actor_folder *folder, const char *id, uint64_t number,
                                       char **content, size_t *bytes, dw_error *err);
/* The message never will be worked on: it waits no more, and what was noted of attempts at it is
 * forgotten. Errors: DW_E_IO; it still waits. */
dw_status dw_actor_folder_drop_message(dw_actor_folder *folder, const char *id, uint64_t number,
                                       dw_error *err);
/* The same for one whose sender is told that it failed: it is never worked on. Where it cannot be
 * removed, which its mark says then, that is done before anything else. False: it may wait
 * still. With it `counts` are the actor's; NULL: they stay. Of a mark only what renews is. */
bool dw_actor_folder_withdraw(dw_actor_folder *folder, const char *id, uint64_t number,
                              const dw_actor_counts *counts);
/* The same in two, for who does not wait: the work of a piece whose `user` is the message, `to` and
 * number, and what is done where that fails, on any thread. */
dw_status dw_actor_folder_drop_work(void *sent, dw_journal_tx *tx, dw_error *err);
bool dw_actor_folder_mark_withdrawn(dw_actor_folder *folder, const char *id, uint64_t number,
                                    const dw_actor_counts *counts);
/* Whether the actor had that message before the folder was taken over. */
bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const dw_sent *sent);

/* What an actor's owner sees of a message. */
typedef struct dw_mail_row {
    dw_message_row message;
    uint32_t attempts; /* that failed */
    char reason[DW_ATTEMPT_REASON_BYTES];
} dw_mail_row;
/* All that wait or were set aside [*count], in order; the caller's to dw_free. Errors: DW_E_IO,
 * DW_E_MEMORY, DW_E_NOT_FOUND. */
dw_status dw_actor_folder_list_mail(dw_actor_folder *folder, const char *id, dw_mail_row **rows,
                                    size_t *count, dw_error *err);

/* ---- attempts ---- */

/* What an actor works on, so that it is known again: by its message's number; for one in the actor
 * itself by how many it has worked on and how many are in it; for an effect by its number. */
typedef enum dw_attempted_kind {
    DW_ATTEMPTED_MESSAGE = 'm',
    DW_ATTEMPTED_OWN_MESSAGE = 'o',
    DW_ATTEMPTED_EFFECT = 'e',
} dw_attempted_kind;
typedef struct dw_attempted {
    dw_attempted_kind kind;
    uint64_t number;
    uint64_t inside; /* DW_ATTEMPTED_OWN_MESSAGE: messages and timers in the actor */
    uint64_t at_ms;  /* likewise: when its timers rang, so that they ring then again; 0: they did
                        not. What it is known by is without this */
} dw_attempted;
typedef struct dw_attempts {
    dw_attempted work;
    uint32_t count;
    char reason[DW_ATTEMPT_REASON_BYTES]; /* of the last one's failure */
    const dw_actor_counts *counts;        /* noted with it; NULL: they stay */
} dw_attempts;

/* The actor is about to try this, and its files may change: should the process end meanwhile, the
 * next to open the folder counts an attempt and looks at the files. `work` NULL: files alone. No
 * operation of the disk. Errors: DW_E_BUSY (more than 1,000 actors are at work). */
dw_status dw_actor_folder_try(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                              dw_error *err);
/* It is over, whatever came of it. `clean` false: its files are to be looked at still. */
void dw_actor_folder_tried(dw_actor_folder *folder, const char *id, bool clean);
/* What is known of earlier attempts at this; count 0: nothing. Errors: DW_E_IO. */
dw_status dw_actor_folder_get_attempts(dw_actor_folder *folder, const char *id,
                                       const dw_attempted *work, dw_attempts *attempts,
                                       dw_error *err);
/* One more has failed; `attempts` is what dw_actor_folder_get_attempts gave, and is updated.
 * Errors: DW_E_IO. */
dw_status dw_actor_folder_note_attempt(dw_actor_folder *folder, const char *id,
                                       dw_attempts *attempts, const char *reason, dw_error *err);
/* Give a message up: it waits no more, and is kept with `why`; those that watch its actor for that
 * are told (`ending`, below). Errors: DW_E_IO. */
dw_status dw_actor_folder_set_aside(dw_actor_folder *folder, const char *id, uint64_t number,
                                    const dw_attempts *why, struct dw_ending *ending,
                                    dw_error *err);
/* Let a message that was set aside wait again, behind all others; `*fresh` (may be NULL) is its
 * number then. Errors: DW_E_IO, DW_E_LIMIT, DW_E_NOT_FOUND. */
dw_status dw_actor_folder_retry(dw_actor_folder *folder, const char *id, uint64_t number,
                                uint64_t *fresh, dw_error *err);

/* ---- watches ---- */

/* What became of an actor, as those that watch it are told: once for each time that they ask.
 * folder_watches.c and src/runtime/watches.c have what is done with it. */
typedef enum dw_watch_kind {
    DW_WATCH_ENDED,     /* it is no more */
    DW_WATCH_FAILED,    /* it broke off in a message */
    DW_WATCH_SET_ASIDE, /* a message of its was set aside */
    DW_WATCH_NOT_MADE   /* it was to be made, and never was */
} dw_watch_kind;
typedef enum dw_watch_why {
    DW_WATCH_FINISHED, /* it asked for its end */
    DW_WATCH_STOPPED,  /* by who looks after it */
    DW_WATCH_GAVE_UP,  /* it had broken off too often */
    DW_WATCH_GONE      /* it is not there, and no more is known or told */
} dw_watch_why;
typedef struct dw_watch_event {
    dw_watch_kind kind;
    dw_watch_why why; /* of DW_WATCH_ENDED */
    dw_status status; /* DW_OK: none */
    char reason[DW_ATTEMPT_REASON_BYTES];
} dw_watch_event;

/* Of a tenant's that ended so many are remembered; in a folder for a while 63 more. */
#define DW_ENDED_MAX 1024u
/* No message of a watch is longer. */
#define DW_WATCH_MESSAGE_BYTES 1024
/* What a watcher is told of actor `id`, as JSON; `tells_why`: status and reason, too. Returns its
 * length. */
size_t dw_watch_text(char text[DW_WATCH_MESSAGE_BYTES], const char *id, const dw_watch_event *event,
                     bool tells_why);
/* Whether a watch that asks for `events` (DW_WATCH_*, of guest/driftwood_abi.h) is told of it. */
bool dw_watch_wants(uint32_t events, dw_watch_kind kind);
/* What the message of a watch comes of: what the watch itself did, unless that is a second ago. */
void dw_watch_cause(uint64_t *cause, uint64_t *caused, uint64_t since_ms, uint64_t now_ms);

/* A message of a watch that a transaction put into an actor's mail. */
typedef struct dw_notice {
    char to[DW_ACTOR_ID_CHARS + 1];
    dw_message_row message;
    void *memory; /* its content lies behind the first `room` bytes; the caller's to dw_free */
} dw_notice;
typedef struct dw_notices {
    size_t room;     /* set before, as the next */
    uint64_t now_ms; /* since 1970 */
    dw_notice *list; /* [count]; to be released */
    size_t count;
    size_t capacity;
} dw_notices;
void dw_notices_release(dw_notices *notices);

/* How actors end, and who was told of it. */
typedef struct dw_ending {
    dw_watch_event event;
    dw_notices notices;
} dw_ending;

/* An actor watches another or does so no more; or one that it asked for was not made. */
typedef enum dw_watch_change_kind {
    DW_WATCH_SET,
    DW_WATCH_CLEAR,
    DW_WATCH_UNMADE
} dw_watch_change_kind;
typedef struct dw_watch_change {
    dw_watch_change_kind kind;
    char actor[DW_ACTOR_ID_CHARS + 1];
    uint32_t events; /* of DW_WATCH_SET, as the next five */
    uint64_t cause;  /* that its message goes on with */
    uint64_t caused;
    bool hidden;           /* it may not be watched: as if it were not there */
    uint64_t watches_max;  /* that the actor has */
    uint64_t watchers_max; /* that the other has; twice as many where that was granted before */
    dw_status status;      /* in a turn: what became of it; of DW_WATCH_UNMADE why */
    dw_error problem;
} dw_watch_change;

/* How two actors stand to each other. */
typedef struct dw_watch_look {
    uint64_t watches;  /* of the first */
    uint64_t watchers; /* of the second */
    bool set;          /* the first watches the second */
    bool ended;        /* the second is no more, and that is remembered: its tenant, its tree */
    char tenant[DW_TENANT_NAME_MAX + 1];
    char head[DW_ACTOR_ID_CHARS + 1];
} dw_watch_look;
/* Errors: DW_E_IO. */
dw_status dw_actor_folder_look_at_watch(dw_actor_folder *folder, const char *watcher,
                                        const char *watched, dw_watch_look *look, dw_error *err);
/* What an actor watches [count], by ids, and how many watch it: the list is the caller's to
 * dw_free. */
typedef struct dw_watched_actor {
    char actor[DW_ACTOR_ID_CHARS + 1];
    uint32_t events; /* DW_WATCH_ON_* */
} dw_watched_actor;
typedef struct dw_actor_watches {
    dw_watched_actor *list;
    size_t count;
    size_t capacity;
    uint64_t watchers;
} dw_actor_watches;
/* Errors, after which there are none: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_read_watches(dw_actor_folder *folder, const char *id,
                                       dw_actor_watches *watches, dw_error *err);
/* Those that watch the actor and want to know of such are told, and watch it no more. Errors:
 * DW_E_IO, DW_E_MEMORY: nobody was. */
dw_status dw_actor_folder_tell_watchers(dw_actor_folder *folder, const char *id, dw_ending *event,
                                        dw_error *err);

/* ---- turns ---- */

/* An actor that was made, and whose files were written. */
typedef struct dw_new_actor {
    char id[DW_ACTOR_ID_CHARS + 1];
    char module[65];               /* SHA-256 */
    const dw_descent *descent;     /* NULL: none */
    const dw_actor_traits *traits; /* NULL: tenant "", which may do all */
    const char *name;              /* NULL: none */
    const dw_actor_counts *counts; /* NULL: none */
    bool uses_module;              /* dw_actor_folder_use_module was called for it */
    bool keeps;                    /* its first state, as freeze 1 */
    dw_snapshot_row *rows;         /* [row_count]: until it is committed or taken back */
    size_t row_count;
    uint64_t inside;
    uint64_t timer_ms;
} dw_new_actor;

/* A message that is in an actor's state, from which it is taken, and given up. */
typedef struct dw_own_aside {
    const dw_message *message;
    const dw_attempts *why;
    uint64_t number; /* what it is called then: set by the commit */
} dw_own_aside;

/* What came of a turn: all of it, or nothing, is there afterwards. */
typedef struct dw_turn {
    char id[DW_ACTOR_ID_CHARS + 1];
    bool has_state; /* `snapshot` was written, and is the actor's state; false: `id` may be "" */
    dw_snapshot_row snapshot;
    dw_snapshot_row *gone; /* [gone_count]: snapshots that hold nothing of it any more, by their
                              `sequence`; freed when the turn is committed or taken back */
    size_t gone_count;
    dw_snapshot_row covered; /* of a series, in the place of the snapshots that it covers; its
                                index is freed as `gone` is; all zero: none */
    bool repeats; /* its effects may have been carried out in part (dw_snapshot_row.pending) */
    bool keeps_attempts;  /* what is being tried is not done by it, and its attempts count on */
    uint64_t message;     /* that is done; 0: none */
    const uint64_t *done; /* [done_count]: others that are, too */
    size_t done_count;
    uint64_t inside;      /* messages in the actor itself */
    uint64_t timer_ms;    /* UINT64_MAX: none */
    uint64_t keeps;       /* the number of a freeze that is kept from now on; 0: none */
    bool ends;            /* the actor */
    char module[65];      /* that it had, of one that ends or gets another: set by the commit */
    char next_module[65]; /* that it gets: dw_actor_folder_change_module; "": it keeps its own */
    const dw_actor_counts *counts; /* with the state; NULL: as they were */
    dw_own_aside *aside;           /* NULL: none */
    dw_new_actor *made;            /* [made_count] */
    size_t made_count;
    dw_sent *sent; /* [sent_count], in order; those that are refused fail alone */
    size_t sent_count;
    dw_group_change *changes; /* [change_count], likewise; of the actor */
    size_t change_count;
    dw_watch_change *watches; /* [watch_count], likewise */
    size_t watch_count;
    dw_notices notices; /* what those that watch it were told, and itself: set by the commit */
} dw_turn;
/* Write it: the work of a piece of the journal whose `user` is the turn. Where the failure is not
 * the disk's or memory's and concerns one message alone it is in that one's `status`. Errors:
 * DW_E_IO, DW_E_MEMORY, DW_E_NOT_FOUND (the actor is not there), DW_E_STATE (one that was made is
 * there already, or its name is another's): nothing was done, and the caller takes back the files
 * (dw_actor_folder_take_back). Once it was told as done the second removes files that it makes
 * outdated, on another thread than the journal's. */
dw_status dw_actor_folder_commit_work(void *turn, dw_journal_tx *tx, dw_error *err);
void dw_actor_folder_committed(dw_actor_folder *folder, const dw_turn *turn);
/* Remove the files of a turn that was not committed. */
void dw_actor_folder_take_back(dw_actor_folder *folder, const dw_turn *turn);

/* Begin to make an actor: its folder, with links to or copies of the files of `chain`, if it is not
 * NULL. `path` gets the name of the snapshot that is to be written: a delta upon the chain, or a
 * full one. Errors: DW_E_IO, DW_E_STATE (the id is taken). */
dw_status dw_actor_folder_make(dw_actor_folder *folder, dw_new_actor *made,
                               const dw_snapshot_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err);
/* The snapshot was written to `path`: all files of the new actor are on the disk. Errors:
 * DW_E_IO. */
dw_status dw_actor_folder_made(dw_actor_folder *folder, dw_new_actor *made, const char *path,
                               dw_error *err);

/* ---- modules ---- */

typedef struct dw_module_file {
    const char *hash; /* SHA-256, 64 digits */
    const void *wasm; /* [bytes] */
    size_t bytes;
} dw_module_file;
/* The module for an actor that is being made: it is kept as long as an actor has it, and until the
 * turn in which this one is made is committed or taken back. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_use_module(dw_actor_folder *folder, dw_new_actor *made,
                                     const dw_module_file *module, dw_error *err);
/* The same for an actor that gets it in this turn: its state, which the turn has, is of that. */
dw_status dw_actor_folder_change_module(dw_actor_folder *folder, dw_turn *turn,
                                        const dw_module_file *module, dw_error *err);
/* A module [*bytes], the caller's to dw_free. Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_read_module(dw_actor_folder *folder, const char *hash, char **wasm,
                                      size_t *bytes, dw_error *err);

#endif
