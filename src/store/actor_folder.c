#include "store/actor_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

static bool begins_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

static void new_path(const dw_actor_folder *folder, const char *id, char path[DW_FOLDER_PATH_MAX])
{
    char name[32];
    (void)snprintf(name, sizeof name, DW__FOLDER_NEW "%s", id);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, NULL);
}

/* ---- opening ----------------------------------------------------------------------------- */

static dw_status fail_locked(int fd, const char *path, dw_error *err)
{
    char text[32] = "";
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    text[strspn(text, "0123456789")] = '\0';
    return dw_fail(err, DW_E_BUSY, "%.150s: another process works in this state folder%s%s", path,
                   text[0] != '\0' ? ": " : "", text);
}

static dw_status take_lock(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char text[32];
    dw__folder_join(folder, path, "lock", NULL, NULL);
    folder->lock = dw_os_open(path, O_RDWR | O_CREAT, 0600);
    if (folder->lock < 0) {
        return dw__folder_fail("opening", path, err);
    }
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? fail_locked(folder->lock, folder->path, err)
                                    : dw__folder_fail("locking", path, err);
    }
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(folder->lock, 0) != 0) {
        return dw__folder_fail("writing", path, err);
    }
    return dw_os_write_at(folder->lock, 0, text, (size_t)length, err);
}

/* For looking: others may look, too. A folder that came without a lock file, in a backup say, and
 * cannot be written, has nobody who works in it. */
static dw_status take_shared_lock(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    if (access(path, R_OK | X_OK) != 0) {
        return dw__folder_fail("reading", path, err);
    }
    dw__folder_join(folder, path, "lock", NULL, NULL);
    folder->lock = dw_os_open(path, O_RDONLY, 0);
    if (folder->lock < 0) {
        return errno == ENOENT ? DW_OK : dw__folder_fail("opening", path, err);
    }
    if (flock(folder->lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return fail_locked(folder->lock, folder->path, err);
    }
    return DW_OK; /* where a file system has no locks at all, nor has it others who work */
}

/* ---- what killed processes left ---------------------------------------------------------- */

static dw_status clean_actor(void *user, const char *name, dw_error *err)
{
    dw_actor_folder *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    if (begins_with(name, DW__FOLDER_NEW) && dw_actor_id_good(name + sizeof DW__FOLDER_NEW - 1)) {
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, NULL);
        (void)dw__folder_release_module(folder, name + sizeof DW__FOLDER_NEW - 1, NULL);
        (void)dw__folder_remove_tree(path, NULL);
        return DW_OK;
    }
    folder->actor_count += dw_actor_id_good(name);
    return dw__folder_clean_delivered(folder, name, err);
}

/* What an actor leaves behind that was killed at work: outdated snapshots, messages that are
 * done. Best effort: what cannot be read is told of by who needs it. */
static void clean_busy(dw_actor_folder *folder, const char *id)
{
    dw_message_file *messages = NULL;
    size_t count = 0;
    dw_snapshot_chain *chain = dw_alloc(1, sizeof *chain);
    if (chain != NULL && dw_actor_folder_has(folder, id) &&
        dw_actor_folder_read_chain(folder, id, chain, NULL) == DW_OK) {
        (void)dw_actor_folder_list_messages(folder, id, chain->done, &messages, &count, NULL);
        dw_free(messages);
        dw__folder_clean_reasons(folder, id);
    }
    dw_free(chain);
}

static dw_status clean_temporary(void *user, const char *name, dw_error *err)
{
    dw_actor_folder *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    (void)err;
    if (begins_with(name, DW_FOLDER_TMP DW__FOLDER_BUSY)) {
        clean_busy(folder, name + sizeof DW_FOLDER_TMP DW__FOLDER_BUSY - 1);
    }
    if (begins_with(name, DW_FOLDER_TMP) || begins_with(name, DW__FOLDER_FORMER_TMP)) {
        dw__folder_join(folder, path, name, NULL, NULL);
        (void)unlink(path);
    }
    return DW_OK;
}

/* Earlier programs left files beside each actor: once, all are looked at. */
static dw_status clean_former(void *user, const char *name, dw_error *err)
{
    (void)err;
    if (dw_actor_id_good(name)) {
        clean_busy(user, name);
    }
    return DW_OK;
}

/* Remove what killed processes left: nobody uses it, since the lock is this process's. Beyond the
 * names in the folder and in `actors`, only what was left is looked at. */
static dw_status clean(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char users[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    dw__folder_join(folder, users, DW__FOLDER_MODULES, DW__FOLDER_USERS, NULL);
    dw_status status = dw__folder_each(path, clean_actor, folder, err);
    if (status == DW_OK && access(users, F_OK) != 0) {
        status = dw__folder_each(path, clean_former, folder, err);
    }
    if (status == DW_OK) {
        status = dw__folder_each(folder->path, clean_temporary, folder, err);
    }
    return status == DW_OK ? dw__folder_index_modules(folder, err) : status;
}

static void busy_path(const dw_actor_folder *folder, const char *id, char path[DW_FOLDER_PATH_MAX])
{
    char name[sizeof DW_FOLDER_TMP DW__FOLDER_BUSY + DW_ACTOR_ID_CHARS];
    (void)snprintf(name, sizeof name, DW_FOLDER_TMP DW__FOLDER_BUSY "%s", id);
    dw__folder_join(folder, path, name, NULL, NULL);
}

void dw_actor_folder_begin(const dw_actor_folder *folder, const char *id)
{
    char path[DW_FOLDER_PATH_MAX];
    if (dw_actor_id_good(id)) {
        busy_path(folder, id, path);
        dw_os_close(dw_os_open(path, O_WRONLY | O_CREAT, 0600));
    }
}

/* Where the actor is in the list of those of whom something is left; its end: it is not. */
static size_t find_littered(const dw_actor_folder *folder, const char *id)
{
    size_t i = 0;
    while (i < folder->littered_count && strcmp(folder->littered[i].id, id) != 0) {
        i++;
    }
    return i;
}

/* Once more what could not be removed, now or before; false: it is there still. */
static bool clean_left(dw_actor_folder *folder, const char *id)
{
    size_t at = find_littered(folder, id);
    if (!folder->left_over && at == folder->littered_count) {
        return true;
    }
    folder->left_over = false;
    clean_busy(folder, id);
    bool clean = !folder->left_over;
    folder->left_over = false;
    if (clean && at < folder->littered_count) {
        folder->littered[at] = folder->littered[--folder->littered_count];
    } else if (!clean && at == folder->littered_count &&
               DW_ARRAY_RESERVE(folder->littered, folder->littered_capacity, at + 1, SIZE_MAX)) {
        (void)snprintf(folder->littered[folder->littered_count++].id, sizeof folder->littered[0].id,
                       "%s", id);
    }
    return clean;
}

void dw_actor_folder_end(dw_actor_folder *folder, const char *id)
{
    char path[DW_FOLDER_PATH_MAX];
    if (!dw_actor_id_good(id)) {
        return;
    }
    if (!clean_left(folder, id)) { /* the next opening looks at it */
        dw_actor_folder_begin(folder, id);
        return;
    }
    busy_path(folder, id, path);
    (void)unlink(path);
}

void dw_actor_folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX])
{
    dw__folder_part_path(folder, path);
}

static dw_status prepare(dw_actor_folder *folder, dw_error *err)
{
    const char *const parts[] = {DW__FOLDER_ACTORS, DW__FOLDER_MODULES};
    if (folder->read_only) {
        dw_status shared = take_shared_lock(folder, err);
        if (shared == DW_OK) {
            shared = dw__folder_read_stopping(folder, err);
        }
        return shared == DW_OK ? dw__folder_read_work(folder, err) : shared;
    }
    dw_status status = dw__folder_make_all(folder->path, err);
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        char part[DW_FOLDER_PATH_MAX];
        dw__folder_join(folder, part, parts[i], NULL, NULL);
        status = dw__folder_make(part, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = take_lock(folder, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__folder_read_stopping(folder, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__folder_read_work(folder, err);
    if (status == DW_OK) {
        status = clean(folder, err);
    }
    if (status == DW_OK) {
        dw__folder_finish_stopping(folder);
    }
    return status;
}

dw_status dw_actor_folder_open(dw_actor_folder **out, const char *path, unsigned flags,
                               dw_error *err)
{
    *out = NULL;
    if (strlen(path) == 0 || strlen(path) >= DW_FOLDER_PATH_MAX / 2) {
        return dw_fail(err, DW_E_LIMIT, "state folder: a path of %zu bytes, from 1 to %d",
                       strlen(path), DW_FOLDER_PATH_MAX / 2 - 1);
    }
    dw_actor_folder *folder = dw_alloc(1, sizeof *folder);
    if (folder == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a state folder");
    }
    folder->lock = -1;
    folder->work = -1;
    folder->read_only = (flags & DW_FOLDER_READ_ONLY) != 0;
    folder->accept_older = (flags & DW_FOLDER_ACCEPT_OLDER) != 0;
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    dw_status status = prepare(folder, err);
    if (status != DW_OK) {
        dw_actor_folder_close(folder);
        return status;
    }
    *out = folder;
    return DW_OK;
}

void dw_actor_folder_close(dw_actor_folder *folder)
{
    if (folder != NULL) {
        dw__folder_end_attempts(folder);
        dw_os_close(folder->lock);
        dw_free(folder->trees.items);
        dw_free(folder->littered);
        dw_free(folder->stopping);
        dw_free(folder);
    }
}

/* ---- listing ----------------------------------------------------------------------------- */

size_t dw_actor_folder_count(const dw_actor_folder *folder)
{
    return folder->actor_count;
}

typedef struct name_list {
    const dw_actor_folder *folder;
    dw_actor_name *names; /* [count] */
    size_t count;
    size_t capacity;
} name_list;

static dw_status take_name(void *user, const char *name, dw_error *err)
{
    name_list *list = user;
    if (!dw_actor_id_good(name) || dw__folder_is_stopping(list->folder, name)) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(list->names, list->capacity, list->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
    }
    memcpy(list->names[list->count++].id, name, DW_ACTOR_ID_CHARS + 1);
    return DW_OK;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const dw_actor_name *)left)->id, ((const dw_actor_name *)right)->id);
}

dw_status dw_actor_folder_list(dw_actor_folder *folder, dw_actor_name **names, size_t *count,
                               dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    name_list list = {.folder = folder};
    *names = NULL;
    *count = 0;
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    dw_status status = dw__folder_each(path, take_name, &list, err);
    if (status != DW_OK) {
        dw_free(list.names);
        return status;
    }
    if (list.count > 0) {
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    }
    *names = list.names;
    *count = list.count;
    return DW_OK;
}

dw_status dw_actor_folder_find(dw_actor_folder *folder, const char *start, dw_actor_name *name,
                               dw_error *err)
{
    size_t length = strlen(start);
    dw_actor_name *names = NULL;
    size_t count = 0;
    size_t found = 0;
    if (length == 0 || length > DW_ACTOR_ID_CHARS || strspn(start, "0123456789abcdef") != length) {
        return dw_fail(err, DW_E_ARG, "'%.40s' is no actor's id, nor the start of one", start);
    }
    dw_status status = dw_actor_folder_list(folder, &names, &count, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i].id, start, length) == 0) {
            *name = names[i];
            found++;
        }
    }
    dw_free(names);
    if (found == 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%s' in %.150s", start, folder->path);
    }
    if (found > 1) {
        return dw_fail(err, DW_E_ARG, "'%s' is the start of %zu actors' ids", start, found);
    }
    return DW_OK;
}

bool dw_actor_folder_has(dw_actor_folder *folder, const char *id)
{
    char path[DW_FOLDER_PATH_MAX];
    if (!dw_actor_id_good(id) || dw__folder_is_stopping(folder, id)) {
        return false;
    }
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, NULL);
    return access(path, F_OK) == 0;
}

/* ---- making and removing ----------------------------------------------------------------- */

/* The new actor's folder with an empty mail and the chain's files. */
static dw_status fill_new(const char *folder, const dw_snapshot_chain *chain, dw_error *err)
{
    char mail[DW_FOLDER_PATH_MAX + sizeof "/" DW__FOLDER_MAIL];
    (void)snprintf(mail, sizeof mail, "%s/" DW__FOLDER_MAIL, folder);
    dw_status status = dw__folder_make(folder, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__folder_make(mail, err);
    if (status != DW_OK || chain == NULL) {
        return status;
    }
    return dw__folder_link_chain(folder, chain, err);
}

dw_status dw_actor_folder_make(dw_actor_folder *folder, const char *id,
                               const dw_snapshot_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err)
{
    char place[DW_FOLDER_PATH_MAX];
    if (dw_actor_folder_has(folder, id)) {
        return dw_fail(err, DW_E_STATE, "actor %s: it is there already", id);
    }
    new_path(folder, id, place);
    dw_status status = DW_OK;
    if (access(place, F_OK) == 0) { /* left by an earlier call that failed */
        status = dw__folder_remove_tree(place, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = fill_new(place, chain, err);
    if (status != DW_OK) { /* a full disk is not to be filled with halves of actors */
        (void)dw__folder_remove_tree(place, NULL);
        return status;
    }
    char name[32];
    char file[DW__SNAPSHOT_NAME_BYTES];
    const dw_snapshot_kind kind = {.full = chain == NULL};
    (void)snprintf(name, sizeof name, DW__FOLDER_NEW "%s", id);
    dw__snapshot_file_name(file, (chain != NULL ? chain->count : 0) + 1, &kind);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, file);
    return DW_OK;
}

dw_status dw_actor_folder_publish(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char from[DW_FOLDER_PATH_MAX];
    char to[DW_FOLDER_PATH_MAX];
    char place[DW_FOLDER_PATH_MAX];
    new_path(folder, id, from);
    dw__folder_join(folder, to, DW__FOLDER_ACTORS, id, NULL);
    dw_status status = dw__folder_sync(from, err);
    if (status != DW_OK) {
        return status;
    }
    if (rename(from, to) != 0) {
        return dw__folder_fail("renaming", from, err);
    }
    dw__folder_join(folder, place, DW__FOLDER_ACTORS, NULL, NULL);
    status = dw__folder_sync(place, err);
    if (status != DW_OK && rename(to, from) == 0) {
        return status; /* as with files: taken back, or done */
    }
    folder->actor_count++;
    dw__folder_add_to_tree(folder, id);
    return DW_OK;
}

dw_status dw_actor_folder_remove(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char from[DW_FOLDER_PATH_MAX];
    char to[DW_FOLDER_PATH_MAX];
    char place[DW_FOLDER_PATH_MAX];
    if (!dw_actor_id_good(id)) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.40s'", id);
    }
    new_path(folder, id, to);
    dw__folder_join(folder, from, DW__FOLDER_ACTORS, id, NULL);
    dw_status status = dw__folder_keep_delivered(folder, id, err);
    if (status != DW_OK) {
        return status;
    }
    /* Invisible at once; what is left from here on, by a process that is killed or a disk that
     * fails, the next opening removes. */
    if (access(to, F_OK) != 0) {
        if (rename(from, to) != 0) {
            return dw__folder_fail("removing", from, err);
        }
        dw__folder_join(folder, place, DW__FOLDER_ACTORS, NULL, NULL);
        status = dw__folder_sync(place, err);
        if (status != DW_OK && rename(to, from) == 0) {
            return status;
        }
        folder->actor_count -= folder->actor_count > 0;
        dw__folder_take_from_tree(folder, id);
    }
    if (dw__folder_release_module(folder, id, NULL) == DW_OK) {
        (void)dw__folder_remove_tree(to, NULL);
    }
    return DW_OK;
}
