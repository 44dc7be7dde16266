/* What the files of the state folder share: paths, and operations on files whose errors name the
 * path and the system's reason (DW_E_IO, or DW_E_NOT_FOUND for ENOENT). */
#ifndef DW_STORE_ACTOR_FOLDER_INTERNAL_H
#define DW_STORE_ACTOR_FOLDER_INTERNAL_H

#include "memory/file_guard.h"
#include "store/actor_folder.h"

#define DW__FOLDER_ACTORS "actors"
#define DW__FOLDER_MODULES "modules"
#define DW__FOLDER_MAIL "mail"
/* What earlier programs began the names of temporary files and delivered messages with. */
#define DW__FOLDER_FORMER_TMP ".passing-"
#define DW__FOLDER_FORMER_DELIVERED ".had-"

#define DW__FOLDER_USERS ".users" /* in DW__FOLDER_MODULES */
#define DW__FOLDER_NEW ".new-"
/* Behind DW_FOLDER_TMP: an actor is at work; its id follows. */
#define DW__FOLDER_BUSY "busy-"

/* Room for the longest name of each kind. */
#define DW__SNAPSHOT_NAME_BYTES                                                                    \
    sizeof "18446744073709551615-18446744073709551615.pending-delta.snapshot"
#define DW__MESSAGE_NAME_BYTES                                                                     \
    sizeof "aside-18446744073709551615-0123456789abcdef-0123456789abcdef-0123456789abcdef-"        \
           "18446744073709551615"

/* An actor and the head of its tree, by the numbers that their ids are. */
typedef struct dw__tree_item {
    uint64_t id;
    uint64_t head;
} dw__tree_item;
typedef struct dw__trees {
    bool known;           /* they were read, and are kept up to date */
    dw__tree_item *items; /* [count] */
    size_t count;
    size_t capacity;
    dw__tree_item made; /* not published yet, of one that descends from others */
} dw__trees;

/* What the files take. */
typedef struct dw__folder_usage {
    bool known; /* `bytes` is all that is there, or more; else what this process has written */
    uint64_t bytes;
    uint64_t measure_again_ns; /* not before */
} dw__folder_usage;

/* A message that its sender was told has failed, and whose file is still there; id "": none. */
typedef struct dw__withdrawn {
    char id[DW_ACTOR_ID_CHARS + 1];
    uint64_t number;
} dw__withdrawn;

/* The file of what is tried: that, and then which message is withdrawn, each as a line of text with
 * zeros behind it. */
#define DW__FOLDER_WORK_BYTES 96

struct dw_actor_folder {
    char path[DW_FOLDER_PATH_MAX / 2];
    int lock;        /* descriptor of the locked file, or -1 */
    int work;        /* of the one that says what is tried, from the first attempt on, or -1 */
    char *work_page; /* of that file, mapped; NULL: it could not be */
    dw_file_guard *work_guard;
    dw__withdrawn withdrawn;
    bool read_only;
    bool accept_older;
    bool left_over;          /* something of an actor at work could not be removed */
    dw_actor_name *littered; /* [littered_count]: actors of whom something is there still */
    size_t littered_count;
    size_t littered_capacity;
    uint64_t part_count; /* names given to files that are being written */
    size_t actor_count;
    dw__folder_usage usage;
    dw__trees trees;
    dw_actor_name *stopping; /* [stopping_count], sorted: being removed, and not to be seen */
    size_t stopping_count;
    /* An attempt that a killed process left and that could not be written to its actor. */
    char left_id[DW_ACTOR_ID_CHARS + 1];
    dw_attempts left;
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
/* Remove an actor's folder with its mail. */
dw_status dw__folder_remove_tree(const char *path, dw_error *err);

/* ---- folder_chain.c ---- */

void dw__snapshot_file_name(char name[DW__SNAPSHOT_NAME_BYTES], uint64_t sequence,
                            const dw_snapshot_kind *kind);
/* Link or copy the chain's files into `folder`, numbered from 1. */
dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain, dw_error *err);

/* ---- folder_modules.c ---- */

/* When the folder is opened: make the list of modules' users, which earlier programs did not keep,
 * and remove modules that nobody uses. Does nothing where there is a list. */
dw_status dw__folder_index_modules(dw_actor_folder *folder, dw_error *err);
/* The actor is removed: so is its module, if no other uses it. */
dw_status dw__folder_release_module(dw_actor_folder *folder, const char *id, dw_error *err);

/* ---- folder_descent.c ---- */

/* The actor was published, or removed. */
void dw__folder_add_to_tree(dw_actor_folder *folder, const char *id);
void dw__folder_take_from_tree(dw_actor_folder *folder, const char *id);

/* ---- folder_stop.c ---- */

/* When the folder is opened: which actors are being removed. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw__folder_read_stopping(dw_actor_folder *folder, dw_error *err);
/* Remove them. Best effort: they are not seen until they are. */
void dw__folder_finish_stopping(dw_actor_folder *folder);
bool dw__folder_is_stopping(const dw_actor_folder *folder, const char *id);

/* ---- folder_attempts.c ---- */

/* When the folder is opened: which message the last process has withdrawn. In one that is locked,
 * it is removed, and an attempt in which that process ended is counted. Errors: DW_E_IO. */
dw_status dw__folder_read_work(dw_actor_folder *folder, dw_error *err);
/* Open the file of what is tried, empty. Errors: DW_E_IO. */
dw_status dw__folder_open_work(dw_actor_folder *folder, dw_error *err);
/* When the folder is closed. */
void dw__folder_end_attempts(dw_actor_folder *folder);
/* A record of attempts in the actor's mail, whole or as it was. Errors: DW_E_IO. */
dw_status dw__attempts_write(dw_actor_folder *folder, const char *id, const char *name,
                             const dw_attempts *attempts, dw_error *err);
dw_status dw__attempts_read(const dw_actor_folder *folder, const char *id, const char *name,
                            dw_attempts *attempts, dw_error *err);
bool dw__same_attempted(const dw_attempted *left, const dw_attempted *right);

/* ---- folder_withdrawn.c ---- */

/* Best effort, of the file that was opened just now. */
void dw__folder_map_marks(dw_actor_folder *folder);
void dw__folder_unmap_marks(dw_actor_folder *folder);
/* `text`: what a process that has ended left in that file. */
void dw__folder_read_withdrawn(dw_actor_folder *folder, const char *text);
bool dw__folder_is_withdrawn(const dw_actor_folder *folder, const char *id, uint64_t number);
/* Remove the withdrawn message, if there is one. Errors: DW_E_IO. */
dw_status dw__folder_finish_withdrawal(dw_actor_folder *folder, dw_error *err);

/* ---- folder_mail.c ---- */

/* "actors/ID/mail/NAME". */
void dw__folder_mail_path(const dw_actor_folder *folder, const char *id, const char *name,
                          char path[DW_FOLDER_PATH_MAX]);

/* Remove reasons of messages that are set aside no more. Best effort. */
void dw__folder_clean_reasons(dw_actor_folder *folder, const char *id);
/* Remember the delivered messages of an actor that is about to be removed. */
dw_status dw__folder_keep_delivered(dw_actor_folder *folder, const char *id, dw_error *err);
/* When the folder is opened, with each name in `actors`: forget a delivered message that cannot be
 * sent again; give one that was left under its earlier name its new one. Others are none of its
 * business. Errors: DW_E_IO; then that message might be worked on twice. */
dw_status dw__folder_clean_delivered(dw_actor_folder *folder, const char *name, dw_error *err);

#endif
