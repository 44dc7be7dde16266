/* What keeps actors on the disk: folder.c has the state folder in earnest;
 * tests/unit/test_runtime_simulation.c one in memory, which fails as chance has it.
 * Ids are texts here, as src/store has them. */
#ifndef DW_RUNTIME_KEEPER_H
#define DW_RUNTIME_KEEPER_H

#include "runtime/platform.h"
#include "store/folder_calls.h"

struct dw__mail;

/* What a piece of the journal came to, on its way to a thread of the runtime's: dw__land. */
typedef struct dw__landing {
    struct dw__landing *next;
    dw_runtime *runtime;
    void (*land)(dw_runtime *runtime, struct dw__landing *landing); /* with the lock */
    dw_journal_piece piece;
    dw_error error; /* its code is the status */
} dw__landing;

/* What the folder has of an actor that is in memory. */
typedef struct dw__kept {
    uint64_t sequence; /* of its newest snapshot */
    uint64_t done;     /* the last message in it */
    uint32_t count;    /* snapshots in a chain */
    uint64_t series;   /* the file that the newest is in; 0: one of its own */
    uint64_t end;      /* where the next begins there */
    bool incomplete;   /* later ones are missing: the next is a full one */
    bool pending;      /* its effects are to be carried out: of a folder that was taken over */
} dw__kept;

/* A message on its way into the folder, or out of it. */
typedef struct dw__posting {
    dw__landing landing; /* the first */
    dw_sent sent;        /* accepted: its number; dropped: it has one */
    struct dw__mail *mail;
} dw__posting;

/* What freezes have written. */
typedef struct dw__written {
    uint64_t freezes;
    uint64_t new_bytes; /* keys and values, and pages of memories, that they had to hold */
    uint64_t bytes;     /* of the files */
    dw_freeze_stats last;
} dw__written;

/* All that comes of a turn, or of making an actor. */
typedef struct dw__turn {
    dw__landing landing; /* the first */
    struct dw__record *record;
    dw_turn folder;
    dw__kept kept;    /* as it is once that is committed */
    bool wrote;       /* files that are to be taken back if it is not */
    bool broken;      /* the actor broke off: nothing comes of it but that */
    bool undone;      /* it could not be written */
    bool transient;   /* that may succeed another time */
    bool refused;     /* its message never began */
    bool has_message; /* it is of one, which ends with it */
    bool gives_up;    /* what waits inside is set aside */
    bool whole;       /* the state is written as a full snapshot */
    bool keeps;       /* and kept as a freeze, under its sequence */
    bool kept_first;  /* an actor's first state, likewise */
    bool upgrades;    /* its body is of another module than what the folder has */
    bool withdrawn;   /* its message waits no more */
    bool aside;       /* its message was set aside */
    bool spent;       /* it has failed too often before: it does not begin again */
    bool leaves;      /* the folder was closing: its message goes on waiting */
    dw__written written;
    dw_error own;        /* how the message ended */
    uint32_t call_count; /* of tools, in this attempt: the call's thread's, while it works */
    uint64_t row;        /* of the message; 0: it was inside, or there is none */
    dw_attempted work;
    struct dw__ask *asks;
    dw_descent *descent;    /* of those that are made */
    dw_actor_traits traits; /* likewise */
    dw_message *given_up;   /* owned */
    dw_own_aside own_aside;
    dw_ending ending;       /* who was told of it, or that it broke off */
    dw_ending aside_ending; /* that its message was set aside */
    dw_attempts why;
    char name[DW_NAME_MAX + 1]; /* of one that is made; "": none */
    dw_actor_counts counts;     /* the actor's, once this is committed; or with its failure */
    dw_actor_counts fresh;      /* of those that are made */
    uint64_t commit_ns;         /* when its transaction was handed over */
} dw__turn;

/* A message read from the folder; `content` is the caller's to dw_free. */
typedef struct dw__kept_mail {
    dw_mail_row row;
    char *content;
} dw__kept_mail;

/* An actor that was read. */
typedef struct dw__thawed {
    void *given; /* for dw__platform.adopt */
    void *seed;  /* counted */
    dw__kept kept;
} dw__thawed;

/* An actor that is made. */
typedef struct dw__making {
    dw_new_actor *made;
    void *body;           /* that it is */
    const char *parent;   /* a delta upon what there is of this one; NULL: a full one */
    const dw_turn *turn;  /* the parent's, in which its state may have been written; NULL: it was
                             not */
    dw__kept *kept;       /* what the folder has of the new one */
    dw__written *written; /* added to */
    bool keeps;           /* it is kept as a freeze as well, number 1 */
} dw__making;

typedef struct dw__keeper {
    void *user;

    /* ---- without the runtime's lock; any thread; these wait for another reader at most ---- */

    /* Errors: DW_E_NOT_FOUND, DW_E_IO, as of all. */
    dw_status (*look)(void *user, const char *id, dw_actor_row *row, dw_error *err);
    dw_status (*list)(void *user, const char *from, dw_actor_name *names, size_t max, size_t *count,
                      dw_error *err);
    /* The same with what is known of each: dw_actor_folder_page. */
    dw_status (*page)(void *user, const char *from, dw_actor_item *items, size_t max, size_t *count,
                      dw_error *err);
    /* Call `take` for each of its snapshot files. Errors: DW_E_FORMAT. */
    dw_status (*list_paths)(void *user, const char *id, void (*take)(void *to, const char *path),
                            void *to, dw_error *err);
    dw_status (*list_waiting)(void *user, const char *from, dw_actor_name *names, size_t max,
                              size_t *count, dw_error *err);
    dw_status (*list_timed)(void *user, dw_timed_cursor *cursor, dw_actor_name *names, size_t max,
                            size_t *count, dw_error *err);
    /* The earliest timer behind `after_ms`; UINT64_MAX: none. */
    dw_status (*next_timer)(void *user, uint64_t after_ms, uint64_t *timer_ms, dw_error *err);
    dw_status (*list_mail)(void *user, const char *id, dw_mail_row **rows, size_t *count,
                           dw_error *err);
    dw_status (*read_message)(void *user, const char *id, uint64_t number, char **content,
                              size_t *bytes, dw_error *err);
    dw_status (*count_tree)(void *user, const char *head, size_t *count, dw_error *err);
    /* As in store/actor_folder.h. */
    dw_status (*find_name)(void *user, const char *tenant, const char *name, dw_actor_name *found,
                           dw_error *err);
    dw_status (*read_names)(void *user, const char *id, dw_actor_names *names, dw_error *err);
    dw_status (*look_at_group)(void *user, const char *tenant, const char *group, const char *id,
                               dw_group_look *look, dw_error *err);
    dw_status (*list_group)(void *user, dw_group_list *list, dw_error *err);
    dw_status (*look_at_watch)(void *user, const char *watcher, const char *watched,
                               dw_watch_look *look, dw_error *err);
    dw_status (*read_watches)(void *user, const char *id, dw_actor_watches *watches, dw_error *err);
    /* The same, and all below it. */
    dw_status (*list_tree)(void *user, const char *id, dw_actor_name **names, size_t *count,
                           dw_error *err);

    /* ---- with the lock or without; any thread. dw__land is called later, on any, unless the
     * result is a failure: DW_E_BUSY ---- */

    dw_status (*accept)(void *user, dw__posting *posting, dw_error *err);
    /* Whatever becomes of the disk, the message waits no more once this has landed well. */
    dw_status (*drop)(void *user, dw__posting *posting, dw_error *err);
    dw_status (*commit)(void *user, dw__turn *turn, dw_error *err);

    /* ---- the same; no operation of the disk ---- */

    dw_status (*try)(void *user, const char *id, const dw_attempted *work, dw_error *err);
    /* It may sweep files that a failure left. */
    void (*tried)(void *user, const char *id);

    /* ---- without the lock, on workers; these wait for the disk ---- */

    /* As it is; with `number`, as it was at the freeze that is kept under that. */
    dw_status (*thaw)(void *user, struct dw__record *record, const char *id, uint64_t number,
                      dw__thawed *thawed, dw_error *err);
    dw_status (*list_kept)(void *user, const char *id, uint64_t numbers[DW_FOLDER_KEPT_MAX],
                           size_t *count, dw_error *err);
    /* Write the body's state for turn->folder, turn->kept being what the folder has of it now; as
     * turn->whole, turn->keeps and turn->upgrades say. */
    dw_status (*freeze)(void *user, dw__turn *turn, void *body, dw_error *err);
    /* Write the files of a new actor. After a failure too they are to be taken back. */
    dw_status (*make)(void *user, const dw__making *making, dw_error *err);
    dw_status (*commit_waiting)(void *user, dw__turn *turn, dw_error *err);
    void (*committed)(void *user, dw__turn *turn);
    /* As in store/folder_calls.h, on a call's thread; NULL, all three: nothing is kept. */
    dw_status (*find_call)(void *user, const char *id, const dw_kept_call *call, bool *found,
                           dw_call_result *result, dw_error *err);
    dw_status (*note_call)(void *user, const char *id, const dw_kept_call *call,
                           const dw_call_result *result, dw_error *err);
    void (*drop_calls)(void *user, const char *id);
    void (*take_back)(void *user, const dw_turn *turn);
    bool (*was_delivered)(void *user, const dw_sent *sent);
    dw_status (*descent)(void *user, const char *id, dw_descent *descent, dw_error *err);
    dw_status (*get_attempts)(void *user, const char *id, const dw_attempted *work,
                              dw_attempts *attempts, dw_error *err);
    dw_status (*note_attempt)(void *user, const char *id, dw_attempts *attempts, const char *reason,
                              dw_error *err);
    /* With those that watch it told. */
    dw_status (*set_aside)(void *user, const char *id, uint64_t number, const dw_attempts *why,
                           dw_ending *ending, dw_error *err);
    dw_status (*tell_watchers)(void *user, const char *id, dw_ending *event, dw_error *err);
    dw_status (*set_traits)(void *user, const char *id, const dw_actor_traits *traits,
                            dw_error *err);
    dw_status (*set_name)(void *user, const char *id, const char *name, dw_error *err);
    dw_status (*change_group)(void *user, const char *id, dw_group_change *change, dw_error *err);
    bool (*withdraw)(void *user, const char *id, uint64_t number, const dw_actor_counts *counts);
    dw_status (*drop_aside)(void *user, const char *id, uint64_t number, dw_error *err);
    /* `*fresh`: its number then. */
    dw_status (*retry)(void *user, const char *id, uint64_t number, uint64_t *fresh, dw_error *err);
    dw_status (*remove)(void *user, const dw_actor_name *names, size_t count, dw_ending *ending,
                        dw_error *err);
    /* What an actor that was removed has left on a device: once nobody has a body of it, who could
     * leave more. NULL: there is none. */
    void (*forget_logs)(void *user, const char *id);
    dw_status (*check_bytes)(void *user, dw_error *err);
} dw__keeper;

/* It is over: landing->land is called on a thread of the runtime's. Without the lock, or with it;
 * any thread. */
void dw__land(dw__landing *landing, dw_status status, const dw_error *problem);

#endif
