/* Folders of programs that had no journal, 0.1.0 and what came before it, taken over. What such a
 * folder has beside what is kept:
 *
 *   .tmp-work, .passing-NAME                 what was being tried; temporary files
 *   modules/.users/SHA256/ID                 who uses a module; empty
 *   actors/ID/....pending-KIND.snapshot      its effects are to be carried out
 *   actors/ID/.descent-PIECE-DEPTH-ID-ID...  its ancestors, the nearest first, 12 a piece; empty
 *   actors/ID/mail/NUMBER-FROM-EFFECT        a message that was accepted; NUMBER 0: a delivered one
 *   actors/ID/mail/NUMBER-...-CAUSE-COUNT    the same of another actor
 *   actors/ID/mail/aside-NUMBER-FROM-EFFECT  one that was given up
 *   actors/ID/mail/.aside-NUMBER             why: attempts, the reason of the last one's failure
 *   actors/ID/mail/.attempts                 the same of what comes next
 *   actors/ID/mail/.newest                   SEQUENCE of the snapshot written last, 20 digits
 *   actors/.delivered-ID-0-FROM-EFFECT       a delivered message of an actor that has ended since;
 *   actors/.had-ID-0-FROM-EFFECT             its former name
 *   actors/.new-ID                           an actor that was being made or removed
 *   stopping                                 ids, one a line, of actors that are being removed
 *
 * All of it becomes rows in one transaction; until that is committed the folder is what it was.
 * Then what the rows stand for is removed; a process that is killed meanwhile leaves that to the
 * next (`former_left`). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "store/folder_former_internal.h"

#define MAIL "mail"
#define NEW ".new-"
#define USERS ".users"
#define STOPPING "stopping"
#define WORK ".tmp-work"
#define FORMER_TMP ".passing-"
#define RECORD_BYTES_MAX 512
#define STOPPING_BYTES_MAX ((size_t)1 << 30)
#define MESSAGE_BYTES_MAX ((size_t)UINT32_MAX)

typedef struct takeover {
    dw_actor_folder *folder;
    dw_journal_tx *tx;
    char *stopping; /* the file's text, or NULL */
    bool any;       /* there is something to be removed afterwards */
    /* Of the actor at hand. */
    const char *id;
    dw_descent descent;
    dw_new_actor made;
    dw_snapshot_row *snapshots; /* [snapshot_count], in no order */
    size_t snapshot_count;
    size_t snapshot_capacity;
    dw_message_row *messages; /* [message_count], in no order */
    char (*names)[256];       /* [message_count]: their files */
    size_t message_count;
    size_t message_capacity;
    size_t name_capacity;
} takeover;

/* ---- small files --------------------------------------------------------------------------- */

static void mail_path(const takeover *t, const char *name, char path[DW_FOLDER_PATH_MAX])
{
    char mail[DW_ACTOR_ID_CHARS + sizeof "/" MAIL];
    (void)snprintf(mail, sizeof mail, "%s/" MAIL, t->id);
    dw__folder_join(t->folder, path, DW__FOLDER_ACTORS, mail, name);
}

/* A record's text, the caller's; NULL: there is none. */
static dw_status read_record(const char *path, size_t bytes_max, char **text, dw_error *err)
{
    size_t bytes = 0;
    *text = NULL;
    if (access(path, F_OK) != 0) {
        return DW_OK;
    }
    return dw_os_read_file(path, bytes_max, text, &bytes, err);
}

static dw_status read_newest(const takeover *t, uint64_t *number, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char *text = NULL;
    *number = 0;
    mail_path(t, ".newest", path);
    dw_status status = read_record(path, RECORD_BYTES_MAX, &text, err);
    if (text != NULL && strlen(text) == 20) { /* another length: nothing was noted */
        const char *next = text;
        uint64_t noted = 0;
        *number = dw__folder_number(&next, &noted) && *next == '\0' ? noted : 0;
    }
    dw_free(text);
    return status;
}

static dw_status read_attempts(const takeover *t, const char *name, dw_attempts *attempts,
                               bool *found, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char *text = NULL;
    mail_path(t, name, path);
    dw_status status = read_record(path, RECORD_BYTES_MAX, &text, err);
    *found = text != NULL && dw__former_attempts(text, attempts);
    dw_free(text);
    return status;
}

/* ---- one actor ----------------------------------------------------------------------------- */

static dw_status take_file(void *user, const char *name, dw_error *err)
{
    takeover *t = user;
    dw_snapshot_row row;
    dw__former_descent(name, &t->descent);
    if (!dw__snapshot_parse_name(name, &row)) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(t->snapshots, t->snapshot_capacity, t->snapshot_count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    t->snapshots[t->snapshot_count++] = row;
    return DW_OK;
}

static int compare_snapshots(const void *left, const void *right)
{
    uint64_t a = ((const dw_snapshot_row *)left)->sequence;
    uint64_t b = ((const dw_snapshot_row *)right)->sequence;
    return a < b ? -1 : a > b;
}

static dw_status read_bytes(const takeover *t, dw_snapshot_row *row, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw__snapshot_file_name(name, row);
    dw__folder_join(t->folder, path, DW__FOLDER_ACTORS, t->id, name);
    int fd = dw_os_open(path, 0, 0);
    if (fd < 0) {
        return dw__folder_fail("opening", path, err);
    }
    dw_status status = dw_os_file_bytes(fd, &row->bytes, err);
    dw_os_close(fd);
    return status;
}

/* Those from the newest full one on become rows; a gap among them stays one. */
static dw_status take_chain(takeover *t, dw_error *err)
{
    size_t first = t->snapshot_count;
    dw_status status = DW_OK;
    if (t->snapshot_count > 0) {
        qsort(t->snapshots, t->snapshot_count, sizeof *t->snapshots, compare_snapshots);
        first--;
    }
    while (first > 0 && first < t->snapshot_count && !t->snapshots[first].full) {
        first--;
    }
    if (t->snapshot_count - first > DW_SNAPSHOT_CHAIN_MAX) {
        return dw_fail(err, DW_E_LIMIT, "actor %s: more than %d snapshots", t->id,
                       DW_SNAPSHOT_CHAIN_MAX);
    }
    t->made.row_count = t->snapshot_count - first;
    t->made.rows = dw_alloc(t->made.row_count + 1, sizeof *t->made.rows);
    if (t->made.rows == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    for (size_t i = first; i < t->snapshot_count && status == DW_OK; i++) {
        t->made.rows[i - first] = t->snapshots[i];
        status = read_bytes(t, &t->made.rows[i - first], err);
    }
    return status;
}

typedef struct module_search {
    const takeover *t;
    char *hash;
} module_search;

static dw_status find_module(void *user, const char *name, dw_error *err)
{
    const module_search *search = user;
    char path[DW_FOLDER_PATH_MAX];
    char used[80 + DW_ACTOR_ID_CHARS];
    (void)err;
    if (strlen(name) == sizeof search->t->made.module - 1) {
        (void)snprintf(used, sizeof used, "%s/%s", name, search->t->id);
        dw__folder_join(search->t->folder, path, DW__FOLDER_MODULES, USERS, used);
        if (access(path, F_OK) == 0) {
            (void)snprintf(search->hash, sizeof search->t->made.module, "%s", name);
        }
    }
    return DW_OK;
}

/* The module of the actor's newest snapshot. Where it is not known no module goes, ever. */
static void take_module(takeover *t)
{
    char path[DW_FOLDER_PATH_MAX];
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw_snapshot_file *file = NULL;
    module_search search = {.t = t, .hash = t->made.module};
    t->made.module[0] = '\0';
    dw__folder_join(t->folder, path, DW__FOLDER_MODULES, USERS, NULL);
    (void)dw__folder_each(path, find_module, &search, NULL);
    if (t->made.module[0] != '\0' || t->made.row_count == 0) {
        return;
    }
    dw__snapshot_file_name(name, &t->made.rows[t->made.row_count - 1]);
    dw__folder_join(t->folder, path, DW__FOLDER_ACTORS, t->id, name);
    if (dw_snapshot_file_open(&file, path, 0, NULL) == DW_OK) {
        const char *module = dw_snapshot_file_meta(file, "module");
        if (module != NULL && strlen(module) == sizeof t->made.module - 1) {
            (void)snprintf(t->made.module, sizeof t->made.module, "%s", module);
        }
    }
    dw_snapshot_file_close(file);
}

/* ---- its mail ------------------------------------------------------------------------------ */

static dw_status take_name(void *user, const char *name, dw_error *err)
{
    takeover *t = user;
    dw_message_row row;
    if (strlen(name) >= sizeof t->names[0] || !dw__former_message(name, &row)) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(t->messages, t->message_capacity, t->message_count + 1, SIZE_MAX) ||
        !DW_ARRAY_RESERVE(t->names, t->name_capacity, t->message_count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of messages");
    }
    (void)snprintf(t->names[t->message_count], sizeof t->names[0], "%s", name);
    t->messages[t->message_count++] = row;
    return DW_OK;
}

static dw_status add_seen(takeover *t, const char *id, const dw_message_row *message, dw_error *err)
{
    dw_query *query = dw_journal_query(t->tx, DW__SQL_ADD_SEEN);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, dw__id_number(message->from));
    dw_query_u64(query, message->effect);
    return dw_query_run(query, err);
}

static dw_status add_message(takeover *t, size_t at, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char why_name[40];
    dw_message_row *row = &t->messages[at];
    dw_attempts why = {.count = 0};
    char *content = NULL;
    size_t bytes = 0;
    bool found = false;
    (void)snprintf(why_name, sizeof why_name, ".aside-%012" PRIu64, row->number);
    dw_status status = row->aside ? read_attempts(t, why_name, &why, &found, err) : DW_OK;
    if (row->aside && !found) {
        why = (dw_attempts){.reason = "it is not known"};
    }
    mail_path(t, t->names[at], path);
    if (status == DW_OK) {
        status = dw_os_read_file(path, MESSAGE_BYTES_MAX, &content, &bytes, err);
    }
    if (status == DW_OK) {
        row->bytes = bytes;
        status = dw__mail_add(t->tx, t->id, row, content, &why, err);
    }
    dw_free(content);
    return status;
}

static dw_status take_mail(takeover *t, uint64_t done, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    uint64_t numbered = done;
    mail_path(t, NULL, path);
    dw_status status = dw__folder_each(path, take_name, t, err);
    status = status == DW_E_NOT_FOUND ? DW_OK : status;
    for (size_t i = 0; i < t->message_count && status == DW_OK; i++) {
        const dw_message_row *row = &t->messages[i];
        numbered = row->number > numbered ? row->number : numbered;
        if (row->aside || row->number > done) {
            status = add_message(t, i, err);
        } else if (row->from[0] != '\0') { /* done; its sender may repeat it */
            status = add_seen(t, t->id, row, err);
        }
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(t->tx, DW__SQL_SET_NUMBERED);
    dw_query_u64(query, dw__id_number(t->id));
    dw_query_u64(query, numbered);
    return dw_query_run(query, err);
}

static dw_status take_rows(takeover *t, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    uint64_t newest = 0;
    dw_attempts attempts;
    bool found = false;
    t->id = id;
    t->descent = (dw_descent){.count = 0};
    t->made = (dw_new_actor){.descent = &t->descent, .timer_ms = 0};
    (void)snprintf(t->made.id, sizeof t->made.id, "%s", id);
    t->snapshot_count = 0;
    t->message_count = 0;
    dw__folder_join(t->folder, path, DW__FOLDER_ACTORS, id, NULL);
    dw_status status = dw__folder_each(path, take_file, t, err);
    if (status == DW_OK) {
        status = take_chain(t, err);
    }
    if (status == DW_OK) {
        status = read_newest(t, &newest, err);
    }
    if (status != DW_OK) {
        return status;
    }
    take_module(t);
    if (t->descent.depth > t->descent.count) { /* a piece is missing: as far as is known */
        t->descent.depth = t->descent.count;
    }
    size_t count = t->made.row_count;
    uint64_t last = count > 0 ? t->made.rows[count - 1].sequence : 0;
    uint64_t done = count > 0 ? t->made.rows[count - 1].done : 0;
    status = dw__turn_add_actor(t->tx, &t->made, newest > last ? newest : last, done, err);
    if (status == DW_OK) {
        status = take_mail(t, done, err);
    }
    if (status == DW_OK) {
        status = read_attempts(t, ".attempts", &attempts, &found, err);
    }
    return status == DW_OK && found ? dw__attempts_note(t->tx, id, &attempts, err) : status;
}

static dw_status take_actor(takeover *t, const char *id, dw_error *err)
{
    dw_status status = take_rows(t, id, err);
    dw_free(t->made.rows);
    t->made.rows = NULL;
    return status;
}

/* ---- the folder ---------------------------------------------------------------------------- */

static dw_status take_entry(void *user, const char *name, dw_error *err)
{
    takeover *t = user;
    dw_message_row message;
    char id[DW_ACTOR_ID_CHARS + 1];
    t->any = true;
    if (dw_actor_id_good(name)) {
        return t->stopping != NULL && strstr(t->stopping, name) != NULL ? DW_OK
                                                                        : take_actor(t, name, err);
    }
    return dw__former_delivered(name, id, &message) ? add_seen(t, id, &message, err) : DW_OK;
}

/* Whether the message that a process was killed at is one that it had done. */
static dw_status is_done(takeover *t, const char *id, const dw_attempted *work, bool *done,
                         dw_error *err)
{
    dw_actor_row row;
    dw_status status = dw__row_read(t->tx, id, &row, NULL, err);
    *done = status == DW_E_NOT_FOUND ||
            (status == DW_OK && work->kind == DW_ATTEMPTED_MESSAGE && row.done >= work->number);
    return status == DW_E_NOT_FOUND ? DW_OK : status;
}

/* What was being tried is counted. */
static dw_status take_work(takeover *t, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char *text = NULL;
    bool done = true;
    dw_attempted work;
    dw__folder_join(t->folder, path, WORK, NULL, NULL);
    dw_status status = read_record(path, RECORD_BYTES_MAX, &text, err);
    if (text == NULL || strlen(text) <= DW_ACTOR_ID_CHARS || text[DW_ACTOR_ID_CHARS] != ' ') {
        goto out;
    }
    text[DW_ACTOR_ID_CHARS] = '\0';
    const char *next = text + DW_ACTOR_ID_CHARS + 1;
    if (!dw_actor_id_good(text) || !dw__former_work(&next, &work)) {
        goto out;
    }
    status = is_done(t, text, &work, &done, err);
    if (status == DW_OK && !done) {
        status = dw__attempts_count(t->tx, text, &work, err);
    }
out:
    dw_free(text);
    return status;
}

static dw_status take_all(void *user, dw_journal_tx *tx, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    takeover *t = user;
    t->tx = tx;
    t->any = false;
    dw__folder_join(t->folder, path, STOPPING, NULL, NULL);
    dw_free(t->stopping);
    dw_status status = read_record(path, STOPPING_BYTES_MAX, &t->stopping, err);
    if (status == DW_OK) {
        dw__folder_join(t->folder, path, DW__FOLDER_ACTORS, NULL, NULL);
        status = dw__folder_each(path, take_entry, t, err);
    }
    if (status == DW_OK) {
        status = take_work(t, err);
    }
    if (status == DW_OK) {
        status = dw_query_run(dw_journal_query(tx, DW__SQL_PRUNE_SEEN), err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_TAKEN_OVER);
    dw_query_i64(query, t->any);
    return dw_query_run(query, err);
}

/* ---- what rows stand for ------------------------------------------------------------------- */

static dw_status clean_entry(void *user, const char *name, dw_error *err)
{
    dw_actor_folder *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    if (dw_actor_id_good(name)) {
        return dw__folder_sweep(folder, name, err);
    }
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, NULL);
    if (strncmp(name, NEW, sizeof NEW - 1) == 0) {
        return dw__folder_remove_tree(path, err);
    }
    return unlink(path) == 0 || errno == ENOENT ? DW_OK : dw__folder_fail("removing", path, err);
}

static dw_status clean_users(void *user, const char *name, dw_error *err)
{
    dw_actor_folder *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW__FOLDER_MODULES, USERS, name);
    return dw__folder_remove_tree(path, err);
}

static dw_status clean_module(void *user, const char *name, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    static const char end[] = ".wasm.part";
    (void)err;
    if (strlen(name) > sizeof end && strcmp(name + strlen(name) - (sizeof end - 1), end) == 0) {
        dw__folder_join(user, path, DW__FOLDER_MODULES, name, NULL);
        (void)unlink(path);
    }
    return DW_OK;
}

static dw_status clean_name(void *user, const char *name, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    (void)err;
    if (strncmp(name, FORMER_TMP, sizeof FORMER_TMP - 1) == 0 || strcmp(name, STOPPING) == 0) {
        dw__folder_join(user, path, name, NULL, NULL);
        (void)unlink(path);
    }
    return DW_OK;
}

static dw_status forget_former(void *user, dw_journal_tx *tx, dw_error *err)
{
    (void)user;
    return dw_query_run(dw_journal_query(tx, DW__SQL_SET_FORMER_LEFT), err);
}

/* All actors are looked at, once. What cannot be removed is left to the next opening. */
static void clean_former(dw_actor_folder *folder)
{
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    dw_status status = dw__folder_each(path, clean_entry, folder, NULL);
    dw__folder_join(folder, path, DW__FOLDER_MODULES, USERS, NULL);
    if (status == DW_OK && access(path, F_OK) == 0) {
        status = dw__folder_each(path, clean_users, folder, NULL);
        status = status == DW_OK ? dw__folder_remove_tree(path, NULL) : status;
    }
    dw__folder_join(folder, path, DW__FOLDER_MODULES, NULL, NULL);
    if (status == DW_OK) {
        status = dw__folder_each(path, clean_module, folder, NULL);
    }
    if (status == DW_OK) {
        status = dw__folder_each(folder->path, clean_name, folder, NULL);
    }
    if (status == DW_OK && dw__folder_release_modules(folder)) {
        (void)dw_journal_write(folder->journal, forget_former, folder, true, NULL);
    }
}

typedef struct former_state {
    bool taken_over;
    bool left;
} former_state;

static dw_status read_state(void *user, dw_journal_tx *tx, dw_error *err)
{
    former_state *state = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_TOTAL);
    dw_status status = dw_query_next(query, &found, err);
    state->taken_over = found && dw_query_get_i64(query, 1) != 0;
    state->left = found && dw_query_get_i64(query, 2) != 0;
    return status;
}

dw_status dw__folder_take_over(dw_actor_folder *folder, dw_error *err)
{
    former_state state = {.left = false};
    dw_status status = dw_journal_read(folder->journal, read_state, &state, err);
    if (status == DW_OK && !state.taken_over) {
        takeover *t = dw_alloc(1, sizeof *t);
        if (t == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory to take over a state folder");
        }
        t->folder = folder;
        status = dw_journal_write(folder->journal, take_all, t, false, err);
        state.left = t->any;
        dw_free(t->snapshots);
        dw_free(t->messages);
        dw_free(t->names);
        dw_free(t->stopping);
        dw_free(t);
    }
    if (status == DW_OK && state.left) {
        clean_former(folder);
    }
    return status;
}

dw_status dw__folder_check_taken_over(dw_actor_folder *folder, dw_error *err)
{
    former_state state = {.left = false};
    dw_status status =
        folder->journal != NULL ? dw_journal_read(folder->journal, read_state, &state, err) : DW_OK;
    if (status == DW_OK && !state.taken_over) {
        status = dw_fail(err, DW_E_UNSUPPORTED,
                         "%.150s: a state folder of an earlier version: it is taken over once it "
                         "is opened to work in it",
                         folder->path);
    }
    return status;
}
