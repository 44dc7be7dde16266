#include "store/actor_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/os.h"

#define MODULE_BYTES_MAX ((size_t)256 << 20)
#define MESSAGE_BYTES_MAX ((size_t)UINT32_MAX)
#define OUTSIDE "0000000000000000"
#define DELIVERED ".delivered-"

struct dw_actor_folder {
    char path[DW_FOLDER_PATH_MAX / 2];
    int lock;
};

static dw_status failed(const char *what, const char *path, dw_error *err)
{
    int reason = errno;
    return dw_fail(err, reason == ENOENT ? DW_E_NOT_FOUND : DW_E_IO, "%s %.150s: %s", what, path,
                   strerror(reason));
}

/* "PATH/PART/PART..." */
static void join(const dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX], const char *a,
                 const char *b, const char *c)
{
    (void)snprintf(path, DW_FOLDER_PATH_MAX, "%s/%s%s%s%s%s", folder->path, a, b != NULL ? "/" : "",
                   b != NULL ? b : "", c != NULL ? "/" : "", c != NULL ? c : "");
}

static dw_status make_folder(const char *path, dw_error *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? DW_OK : failed("making", path, err);
}

/* The folder and those above it. */
static dw_status make_folders(const char *path, dw_error *err)
{
    char part[DW_FOLDER_PATH_MAX];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && errno != EROFS) {
            return failed("making", part, err);
        }
        *slash = '/';
    }
    return make_folder(part, err);
}

/* What was renamed or removed in a folder is so on the disk. */
static dw_status sync_folder(const char *path, dw_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dw_status status = fd >= 0 && fsync(fd) == 0 ? DW_OK : failed("syncing", path, err);
    dw_os_close(fd);
    return status;
}

/* Call `take` for each name in the folder at `path`, but "." and "..". */
static dw_status each(const char *path, dw_status (*take)(void *user, const char *name), void *user,
                      dw_error *err)
{
    DIR *list = opendir(path);
    dw_status status = list != NULL ? DW_OK : failed("reading", path, err);
    for (struct dirent *entry = NULL; status == DW_OK && (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            status = take(user, entry->d_name);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return status;
}

/* ---- the lock ---------------------------------------------------------------------------- */

static dw_status locked_by(int fd, const char *path, dw_error *err)
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
    join(folder, path, "lock", NULL, NULL);
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->lock < 0) {
        return failed("opening", path, err);
    }
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? locked_by(folder->lock, folder->path, err)
                                    : failed("locking", path, err);
    }
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(folder->lock, 0) != 0) {
        return failed("writing", path, err);
    }
    return dw_os_write_at(folder->lock, 0, text, (size_t)length, err);
}

static dw_status remove_tree(const char *path, dw_error *err);
static bool parse_file(const char *name, dw_message_file *file);
static bool may_deliver_again(dw_actor_folder *folder, const char *from);

/* ".delivered-ID-NUMBER-FROM-EFFECT" */
static bool parse_delivered(const char *name, dw_message_file *file)
{
    size_t start = sizeof DELIVERED - 1 + DW_ACTOR_ID_CHARS + 1;
    return strncmp(name, DELIVERED, sizeof DELIVERED - 1) == 0 && strlen(name) > start &&
           parse_file(name + start, file);
}

/* What killed processes left: actors half made or half removed, files for the time being. None is
 * in use, since the lock is ours. */
static dw_status remove_left_over(void *user, const char *name)
{
    dw_actor_folder *folder = user;
    dw_message_file file;
    char path[DW_FOLDER_PATH_MAX];
    if (strncmp(name, ".new-", 5) == 0 && dw_actor_id_good(name + 5)) {
        join(folder, path, "actors", name, NULL);
        (void)remove_tree(path, NULL);
    } else if (strncmp(name, DW_FOLDER_TMP, sizeof DW_FOLDER_TMP - 1) == 0) {
        join(folder, path, name, NULL, NULL);
        (void)unlink(path);
    } else if (parse_delivered(name, &file) && !may_deliver_again(folder, file.from)) {
        join(folder, path, "actors", name, NULL);
        (void)unlink(path);
    }
    return DW_OK;
}

static dw_status clean(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    join(folder, path, "actors", NULL, NULL);
    dw_status status = each(path, remove_left_over, folder, err);
    return status == DW_OK ? each(folder->path, remove_left_over, folder, err) : status;
}

dw_status dw_actor_folder_open(dw_actor_folder **out, const char *path, dw_error *err)
{
    char part[DW_FOLDER_PATH_MAX];
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
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    dw_status status = make_folders(path, err);
    const char *const parts[] = {"actors", "modules"};
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        join(folder, part, parts[i], NULL, NULL);
        status = make_folder(part, err);
    }
    if (status == DW_OK) {
        status = take_lock(folder, err);
    }
    if (status == DW_OK) {
        status = clean(folder, err);
    }
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
        dw_os_close(folder->lock);
        dw_free(folder);
    }
}

/* ---- listing ---------------------------------------------------------------------------- */

typedef struct name_list {
    dw_actor_name *names; /* [count] */
    size_t count;
    size_t capacity;
} name_list;

static dw_status take_name(void *user, const char *name)
{
    name_list *list = user;
    if (!dw_actor_id_good(name)) {
        return DW_OK;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        dw_actor_name *grown = dw_realloc(list->names, capacity, sizeof *grown);
        if (grown == NULL) {
            return DW_E_MEMORY;
        }
        list->names = grown;
        list->capacity = capacity;
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
    name_list list = {.count = 0};
    join(folder, path, "actors", NULL, NULL);
    dw_status status = each(path, take_name, &list, err);
    if (status == DW_E_MEMORY) {
        status = dw_fail(err, status, "no memory for a list of actors");
    }
    if (status == DW_OK && list.count > 0) {
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    }
    *names = list.names;
    *count = list.count;
    return status;
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
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i].id, start, length) == 0) {
            *name = names[i];
            found++;
        }
    }
    dw_free(names);
    if (status == DW_OK && found == 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%s' in %.150s", start, folder->path);
    }
    if (status == DW_OK && found > 1) {
        return dw_fail(err, DW_E_ARG, "'%s' is the start of %zu actors' ids", start, found);
    }
    return status;
}

bool dw_actor_folder_has(dw_actor_folder *folder, const char *id)
{
    char path[DW_FOLDER_PATH_MAX];
    join(folder, path, "actors", id, NULL);
    return access(path, F_OK) == 0;
}

/* ---- snapshots -------------------------------------------------------------------------- */

typedef struct snapshot_name {
    uint64_t sequence;
    dw_folder_kind kind;
    char name[64];
} snapshot_name;

typedef struct snapshot_list {
    snapshot_name items[DW_FOLDER_CHAIN_MAX];
    size_t count;
    char left_over[64]; /* one that a killed process left, or "" */
} snapshot_list;

static bool parse_snapshot(const char *name, snapshot_name *out)
{
    char end[32] = "";
    if (strlen(name) >= sizeof out->name || name[8] != '-' ||
        sscanf(name, "%8" SCNu64 "-%12" SCNu64 "%31s", &out->sequence, &out->kind.done, end) != 3) {
        return false;
    }
    out->kind.pending = strncmp(end, ".pending-", 9) == 0;
    const char *kind = end + (out->kind.pending ? 9 : 1);
    out->kind.full = strcmp(kind, "full.snapshot") == 0;
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return out->kind.full || strcmp(kind, "delta.snapshot") == 0;
}

static dw_status take_snapshot(void *user, const char *name)
{
    snapshot_list *list = user;
    snapshot_name item;
    if (strlen(name) > 8 && parse_snapshot(name, &item)) {
        if (list->count == DW_FOLDER_CHAIN_MAX) {
            return DW_E_LIMIT;
        }
        list->items[list->count++] = item;
    } else if (strstr(name, ".tmp-") != NULL) {
        (void)snprintf(list->left_over, sizeof list->left_over, "%.63s", name);
    }
    return DW_OK;
}

static int compare_snapshots(const void *left, const void *right)
{
    uint64_t a = ((const snapshot_name *)left)->sequence;
    uint64_t b = ((const snapshot_name *)right)->sequence;
    return a < b ? -1 : a > b;
}

dw_status dw_actor_folder_chain(dw_actor_folder *folder, const char *id, dw_folder_chain *chain,
                                dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    snapshot_list list = {.count = 0};
    chain->count = 0;
    join(folder, path, "actors", id, NULL);
    dw_status status = each(path, take_snapshot, &list, err);
    if (status == DW_OK && list.count == 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "actor %s: its folder holds no snapshot", id);
    }
    if (status != DW_OK) {
        return status == DW_E_LIMIT ? dw_fail(err, status, "actor %s: more than %d snapshots", id,
                                              DW_FOLDER_CHAIN_MAX)
                                    : status;
    }
    if (list.left_over[0] != '\0') {
        join(folder, path, "actors", id, list.left_over);
        (void)unlink(path);
    }
    qsort(list.items, list.count, sizeof list.items[0], compare_snapshots);
    size_t first = list.count - 1;
    while (first > 0 && !list.items[first].kind.full) {
        first--;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct stat info;
        join(folder, path, "actors", id, list.items[i].name);
        if (i < first) { /* a full one came later, and its writer was killed before this */
            (void)unlink(path);
            continue;
        }
        size_t place = chain->count++;
        memcpy(chain->paths[place], path, sizeof path);
        chain->list[place] = chain->paths[place];
        chain->bytes[place] = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    }
    chain->sequence = list.items[list.count - 1].sequence;
    chain->done = list.items[list.count - 1].kind.done;
    chain->pending = list.items[list.count - 1].kind.pending;
    return DW_OK;
}

static void snapshot_file(char *name, size_t capacity, uint64_t sequence,
                          const dw_folder_kind *kind)
{
    (void)snprintf(name, capacity, "%08" PRIu64 "-%012" PRIu64 ".%s%s.snapshot", sequence,
                   kind->done, kind->pending ? "pending-" : "", kind->full ? "full" : "delta");
}

void dw_actor_folder_next(const dw_actor_folder *folder, const char *id,
                          const dw_folder_chain *chain, const dw_folder_kind *kind,
                          char path[DW_FOLDER_PATH_MAX])
{
    char name[64];
    snapshot_file(name, sizeof name, chain->sequence + 1, kind);
    join(folder, path, "actors", id, name);
}

void dw_actor_folder_drop(const dw_folder_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        (void)unlink(chain->paths[i]);
    }
}

/* ---- making and removing ---------------------------------------------------------------- */

static void new_name(char name[32], const char *id)
{
    (void)snprintf(name, 32, ".new-%s", id);
}

typedef struct tree {
    const char *path;
    dw_error *err;
} tree;

static dw_status remove_one(void *user, const char *name)
{
    const tree *t = user;
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", t->path, name) >= sizeof path) {
        return dw_fail(t->err, DW_E_LIMIT, "%.150s: a longer path than %zu bytes", t->path,
                       sizeof path - 1);
    }
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        return strcmp(name, "mail") == 0 ? remove_tree(path, t->err)
                                         : dw_fail(t->err, DW_E_IO, "%.150s: not ours", path);
    }
    return unlink(path) == 0 || errno == ENOENT ? DW_OK : failed("removing", path, t->err);
}

/* Two levels: an actor's folder and its mail. */
static dw_status remove_tree(const char *path, dw_error *err)
{
    tree t = {.path = path, .err = err};
    dw_status status = each(path, remove_one, &t, err);
    if (status == DW_OK && rmdir(path) != 0 && errno != ENOENT) {
        status = failed("removing", path, err);
    }
    return status;
}

static dw_status copy_file(const char *from, const char *to, dw_error *err)
{
    enum { PIECE = 1 << 20 };
    int source = open(from, O_RDONLY | O_CLOEXEC);
    int target = source >= 0 ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    unsigned char *piece = dw_alloc(1, PIECE);
    dw_status status = source < 0      ? failed("opening", from, err)
                       : target < 0    ? failed("making", to, err)
                       : piece == NULL ? dw_fail(err, DW_E_MEMORY, "no memory to copy a file")
                                       : DW_OK;
    for (uint64_t at = 0; status == DW_OK;) {
        ssize_t got = pread(source, piece, PIECE, (off_t)at);
        if (got <= 0) {
            status = got < 0 ? failed("reading", from, err) : DW_OK;
            break;
        }
        status = dw_os_write_at(target, at, piece, (size_t)got, err);
        at += (uint64_t)got;
    }
    if (status == DW_OK && fsync(target) != 0) {
        status = failed("writing", to, err);
    }
    dw_free(piece);
    dw_os_close(source);
    dw_os_close(target);
    return status;
}

/* The same files under the new folder: links where the file system has them. */
static dw_status take_chain(const char *folder, const dw_folder_chain *chain, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < chain->count && status == DW_OK; i++) {
        char name[64];
        char path[DW_FOLDER_PATH_MAX];
        const dw_folder_kind kind = {.full = i == 0};
        snapshot_file(name, sizeof name, i + 1, &kind);
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
            return dw_fail(err, DW_E_LIMIT, "%.150s: a longer path than %zu bytes", folder,
                           sizeof path - 1);
        }
        if (link(chain->paths[i], path) != 0) {
            status = copy_file(chain->paths[i], path, err);
        }
    }
    return status;
}

dw_status dw_actor_folder_make(dw_actor_folder *folder, const char *id,
                               const dw_folder_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err)
{
    char name[32];
    char place[DW_FOLDER_PATH_MAX];
    if (dw_actor_folder_has(folder, id)) {
        return dw_fail(err, DW_E_STATE, "actor %s: it is there already", id);
    }
    new_name(name, id);
    join(folder, place, "actors", name, NULL);
    if (access(place, F_OK) == 0) { /* of a process that was killed */
        dw_status removed = remove_tree(place, err);
        if (removed != DW_OK) {
            return removed;
        }
    }
    dw_status status = make_folder(place, err);
    if (status == DW_OK) {
        join(folder, path, "actors", name, "mail");
        status = make_folder(path, err);
    }
    if (status == DW_OK && chain != NULL) {
        status = take_chain(place, chain, err);
    }
    char file[64];
    const dw_folder_kind kind = {.full = chain == NULL};
    snapshot_file(file, sizeof file, (chain != NULL ? chain->count : 0) + 1, &kind);
    join(folder, path, "actors", name, file);
    if (status != DW_OK) { /* a full disk is not to be filled with halves of actors */
        (void)remove_tree(place, NULL);
    }
    return status;
}

dw_status dw_actor_folder_show(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char name[32];
    char from[DW_FOLDER_PATH_MAX];
    char to[DW_FOLDER_PATH_MAX];
    new_name(name, id);
    join(folder, from, "actors", name, NULL);
    join(folder, to, "actors", id, NULL);
    dw_status status = sync_folder(from, err);
    if (status == DW_OK && rename(from, to) != 0) {
        status = failed("renaming", from, err);
    }
    join(folder, to, "actors", NULL, NULL);
    return status == DW_OK ? sync_folder(to, err) : status;
}

/* ---- messages --------------------------------------------------------------------------- */

static void message_file_name(char name[64], const dw_message_file *file)
{
    (void)snprintf(name, 64, "%012" PRIu64 "-%s-%016" PRIx64, file->number,
                   file->from[0] != '\0' ? file->from : OUTSIDE, file->effect);
}

static bool parse_file(const char *name, dw_message_file *file)
{
    char rest;
    if (sscanf(name, "%12" SCNu64 "-%16[0-9a-f]-%16" SCNx64 "%c", &file->number, file->from,
               &file->effect, &rest) != 3 ||
        !dw_actor_id_good(file->from)) {
        return false;
    }
    if (strcmp(file->from, OUTSIDE) == 0) {
        file->from[0] = '\0';
    }
    return true;
}

typedef struct message_file_list {
    dw_message_file *files; /* [count] */
    size_t count;
    size_t capacity;
} message_file_list;

static dw_status take_file(void *user, const char *name)
{
    message_file_list *list = user;
    dw_message_file file;
    if (!parse_file(name, &file)) {
        return DW_OK;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        dw_message_file *grown = dw_realloc(list->files, capacity, sizeof *grown);
        if (grown == NULL) {
            return DW_E_MEMORY;
        }
        list->files = grown;
        list->capacity = capacity;
    }
    list->files[list->count++] = file;
    return DW_OK;
}

static int compare_files(const void *left, const void *right)
{
    uint64_t a = ((const dw_message_file *)left)->number;
    uint64_t b = ((const dw_message_file *)right)->number;
    return a < b ? -1 : a > b;
}

static dw_status list_files(dw_actor_folder *folder, const char *id, message_file_list *list,
                            dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    join(folder, path, "actors", id, "mail");
    dw_status status = each(path, take_file, list, err);
    if (status == DW_OK && list->count > 0) {
        qsort(list->files, list->count, sizeof *list->files, compare_files);
    }
    return status == DW_E_MEMORY ? dw_fail(err, status, "no memory for a list of messages")
                                 : status;
}

static void message_file_path(const dw_actor_folder *folder, const char *id,
                              const dw_message_file *file, char path[DW_FOLDER_PATH_MAX])
{
    char name[64];
    char box[64];
    message_file_name(name, file);
    (void)snprintf(box, sizeof box, "%s/mail", id);
    join(folder, path, "actors", box, name);
}

/* A file that is there whole or not at all. */
static dw_status write_file(const char *folder, const char *path, const void *bytes, size_t count,
                            dw_error *err)
{
    char part[DW_FOLDER_PATH_MAX + 8];
    (void)snprintf(part, sizeof part, "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dw_status status =
        fd >= 0 ? dw_os_write_at(fd, 0, bytes, count, err) : failed("making", part, err);
    if (status == DW_OK && (fsync(fd) != 0 || rename(part, path) != 0)) {
        status = failed("writing", path, err);
    }
    dw_os_close(fd);
    if (status != DW_OK) {
        (void)unlink(part);
        return status;
    }
    status = sync_folder(folder, err);
    if (status != DW_OK) { /* who is told that it failed will not look for it */
        (void)unlink(path);
    }
    return status;
}

dw_status dw_actor_folder_accept(dw_actor_folder *folder, const char *id, dw_message_file *file,
                                 const void *message, size_t bytes, dw_error *err)
{
    char box[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    message_file_list list = {.count = 0};
    uint64_t number = 0;
    dw_folder_chain *chain = dw_alloc(1, sizeof *chain);
    dw_status status = chain != NULL
                           ? dw_actor_folder_chain(folder, id, chain, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    if (status == DW_OK) {
        number = chain->done + 1;
        status = list_files(folder, id, &list, err);
    }
    dw_free(chain);
    bool there = false;
    for (size_t i = 0; status == DW_OK && i < list.count; i++) {
        const dw_message_file *other = &list.files[i];
        number = other->number >= number ? other->number + 1 : number;
        there = there || (file->effect != 0 && other->effect == file->effect &&
                          strcmp(other->from, file->from) == 0);
    }
    dw_free(list.files);
    if (status != DW_OK || there) {
        return status;
    }
    join(folder, box, "actors", id, "mail");
    file->number = number;
    message_file_path(folder, id, file, path);
    return write_file(box, path, message, bytes, err);
}

dw_status dw_actor_folder_files(dw_actor_folder *folder, const char *id, uint64_t done,
                                dw_message_file **files, size_t *count, dw_error *err)
{
    message_file_list list = {.count = 0};
    size_t kept = 0;
    dw_status status = list_files(folder, id, &list, err);
    *files = NULL;
    *count = 0;
    if (status != DW_OK) {
        dw_free(list.files);
        return status;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (list.files[i].number > done) {
            list.files[kept++] = list.files[i];
        } else {
            (void)dw_actor_folder_delivered(folder, id, &list.files[i], NULL);
        }
    }
    *files = list.files;
    *count = kept;
    return DW_OK;
}

dw_status dw_actor_folder_read(dw_actor_folder *folder, const char *id, const dw_message_file *file,
                               char **message, size_t *bytes, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    message_file_path(folder, id, file, path);
    return dw_os_read_file(path, MESSAGE_BYTES_MAX, message, bytes, err);
}

/* Its newest snapshot says that effects are to be carried out, those that were already as well. */
static bool may_deliver_again(dw_actor_folder *folder, const char *from)
{
    dw_folder_chain *chain = dw_alloc(1, sizeof *chain);
    dw_status status =
        chain != NULL ? dw_actor_folder_chain(folder, from, chain, NULL) : DW_E_MEMORY;
    bool may = status == DW_OK ? chain->pending : status != DW_E_NOT_FOUND;
    dw_free(chain);
    return may;
}

/* From another actor that may deliver it a second time. An actor's own are no such: it works on
 * nothing before its effects are carried out. */
static bool may_come_again(dw_actor_folder *folder, const char *id, const dw_message_file *file)
{
    return file->from[0] != '\0' && strcmp(file->from, id) != 0 &&
           may_deliver_again(folder, file->from);
}

dw_status dw_actor_folder_delivered(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *file, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char kept_path[DW_FOLDER_PATH_MAX];
    dw_message_file kept = *file;
    kept.number = 0;
    message_file_path(folder, id, file, path);
    message_file_path(folder, id, &kept, kept_path);
    int result = may_come_again(folder, id, file) ? rename(path, kept_path) : unlink(path);
    return result == 0 || errno == ENOENT ? DW_OK : failed("removing", path, err);
}

static void delivered_path(const dw_actor_folder *folder, const char *id,
                           const dw_message_file *file, char path[DW_FOLDER_PATH_MAX])
{
    char name[64];
    char whole[128];
    dw_message_file kept = *file;
    kept.number = 0;
    message_file_name(name, &kept);
    (void)snprintf(whole, sizeof whole, DELIVERED "%s-%s", id, name);
    join(folder, path, "actors", whole, NULL);
}

bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const char *id,
                                   const dw_message_file *file)
{
    char path[DW_FOLDER_PATH_MAX];
    delivered_path(folder, id, file, path);
    return access(path, F_OK) == 0;
}

/* Files that say what an actor had, which is about to go with its mail. */
static dw_status note_had(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char had[DW_FOLDER_PATH_MAX];
    message_file_list list = {.count = 0};
    bool any = false;
    dw_status status = list_files(folder, id, &list, err);
    if (status == DW_E_NOT_FOUND) { /* it was never shown, or is no more */
        return DW_OK;
    }
    for (size_t i = 0; i < list.count && status == DW_OK; i++) {
        if (may_come_again(folder, id, &list.files[i])) {
            message_file_path(folder, id, &list.files[i], path);
            delivered_path(folder, id, &list.files[i], had);
            any = true;
            if (link(path, had) != 0 && errno != EEXIST && rename(path, had) != 0) {
                status = failed("renaming", path, err);
            }
        }
    }
    dw_free(list.files);
    join(folder, path, "actors", NULL, NULL);
    return status == DW_OK && any ? sync_folder(path, err) : status;
}

dw_status dw_actor_folder_remove(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char name[32];
    char from[DW_FOLDER_PATH_MAX];
    char to[DW_FOLDER_PATH_MAX];
    new_name(name, id);
    join(folder, to, "actors", name, NULL);
    join(folder, from, "actors", id, NULL);
    dw_status status = note_had(folder, id, err);
    if (status != DW_OK) {
        return status;
    }
    /* Gone at once, then removed in peace. */
    if (access(to, F_OK) != 0 && rename(from, to) != 0) {
        return failed("removing", from, err);
    }
    return remove_tree(to, err);
}

/* ---- modules ---------------------------------------------------------------------------- */

static void module_path(const dw_actor_folder *folder, const char *hash,
                        char path[DW_FOLDER_PATH_MAX])
{
    char name[80];
    (void)snprintf(name, sizeof name, "%.64s.wasm", hash);
    join(folder, path, "modules", name, NULL);
}

dw_status dw_actor_folder_keep_module(dw_actor_folder *folder, const char *hash, const void *wasm,
                                      size_t bytes, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char modules[DW_FOLDER_PATH_MAX];
    module_path(folder, hash, path);
    join(folder, modules, "modules", NULL, NULL);
    return access(path, F_OK) == 0 ? DW_OK : write_file(modules, path, wasm, bytes, err);
}

dw_status dw_actor_folder_module(dw_actor_folder *folder, const char *hash, char **wasm,
                                 size_t *bytes, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    module_path(folder, hash, path);
    return dw_os_read_file(path, MODULE_BYTES_MAX, wasm, bytes, err);
}
