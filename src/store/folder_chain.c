/* An actor's snapshots: their names, their order, what killed processes left among them, and
 * whether one is missing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define PENDING "pending-"
#define NEWEST ".newest" /* in the actor's mail */
#define NEWEST_DIGITS 20 /* as many as any number has */

typedef struct snapshot_name {
    uint64_t sequence;
    dw_snapshot_kind kind;
    char name[DW__SNAPSHOT_NAME_BYTES];
} snapshot_name;

typedef struct snapshot_list {
    const dw_actor_folder *folder;
    const char *id;
    snapshot_name items[DW_SNAPSHOT_CHAIN_MAX];
    size_t count;
} snapshot_list;

/* ---- names -------------------------------------------------------------------------------- */

void dw__snapshot_file_name(char name[DW__SNAPSHOT_NAME_BYTES], uint64_t sequence,
                            const dw_snapshot_kind *kind)
{
    int length =
        snprintf(name, DW__SNAPSHOT_NAME_BYTES, "%08" PRIu64 "-%012" PRIu64 ".%s%s.snapshot",
                 sequence, kind->done, kind->pending ? PENDING : "", kind->full ? "full" : "delta");
    DW_ASSERT(length > 0 && (size_t)length < DW__SNAPSHOT_NAME_BYTES);
}

/* The reverse of dw__snapshot_file_name, of numbers of any width. */
static bool parse_name(const char *name, snapshot_name *out)
{
    const char *next = name;
    if (strlen(name) >= sizeof out->name || !dw__folder_number(&next, &out->sequence) ||
        *next++ != '-' || !dw__folder_number(&next, &out->kind.done) || *next++ != '.') {
        return false;
    }
    out->kind.pending = strncmp(next, PENDING, sizeof PENDING - 1) == 0;
    next += out->kind.pending ? sizeof PENDING - 1 : 0;
    out->kind.full = strcmp(next, "full.snapshot") == 0;
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return out->kind.full || strcmp(next, "delta.snapshot") == 0;
}

/* Earlier programs wrote snapshots beside their place. */
static void remove_left_over(const snapshot_list *list, const char *name)
{
    char path[DW_FOLDER_PATH_MAX];
    if (!list->folder->read_only && strstr(name, DW_FOLDER_TMP) != NULL) {
        dw__folder_join(list->folder, path, DW__FOLDER_ACTORS, list->id, name);
        (void)unlink(path);
    }
}

static dw_status take_name(void *user, const char *name, dw_error *err)
{
    snapshot_list *list = user;
    snapshot_name item;
    if (!parse_name(name, &item)) {
        remove_left_over(list, name);
        return DW_OK;
    }
    if (list->count == DW_SNAPSHOT_CHAIN_MAX) {
        return dw_fail(err, DW_E_LIMIT, "more than %d snapshots", DW_SNAPSHOT_CHAIN_MAX);
    }
    list->items[list->count++] = item;
    return DW_OK;
}

static int compare_names(const void *left, const void *right)
{
    uint64_t a = ((const snapshot_name *)left)->sequence;
    uint64_t b = ((const snapshot_name *)right)->sequence;
    return a < b ? -1 : a > b;
}

/* The actor's snapshots in order; at least one. */
static dw_status list_snapshots(snapshot_list *list, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    if (!dw_actor_id_good(list->id)) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.40s'", list->id);
    }
    dw__folder_join(list->folder, path, DW__FOLDER_ACTORS, list->id, NULL);
    dw_status status = dw__folder_each(path, take_name, list, err);
    if (status == DW_E_LIMIT) {
        return dw_fail_within(err, status, "actor %s", list->id);
    }
    if (status != DW_OK) {
        return status;
    }
    if (list->count == 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %s: its folder holds no snapshot", list->id);
    }
    qsort(list->items, list->count, sizeof list->items[0], compare_names);
    return DW_OK;
}

/* ---- the newest one ------------------------------------------------------------------------ */

static void newest_path(const dw_actor_folder *folder, const char *id,
                        char path[DW_FOLDER_PATH_MAX])
{
    char mail[DW_ACTOR_ID_CHARS + sizeof "/" DW__FOLDER_MAIL];
    (void)snprintf(mail, sizeof mail, "%s/" DW__FOLDER_MAIL, id);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, mail, NEWEST);
}

/* The number of the snapshot that was written last; 0: it is not noted. */
static uint64_t read_newest(const dw_actor_folder *folder, const char *id)
{
    char path[DW_FOLDER_PATH_MAX];
    char text[NEWEST_DIGITS + 1] = "";
    const char *next = text;
    uint64_t number = 0;
    newest_path(folder, id, path);
    int fd = dw_os_open(path, O_RDONLY | O_NONBLOCK, 0);
    ssize_t got = fd >= 0 ? read(fd, text, NEWEST_DIGITS) : -1;
    dw_os_close(fd);
    return got == NEWEST_DIGITS && dw__folder_number(&next, &number) && *next == '\0' ? number : 0;
}

void dw_actor_folder_note_newest(const dw_actor_folder *folder, const char *id, uint64_t sequence)
{
    char path[DW_FOLDER_PATH_MAX];
    char text[NEWEST_DIGITS + 1];
    newest_path(folder, id, path);
    (void)snprintf(text, sizeof text, "%0*" PRIu64, NEWEST_DIGITS, sequence);
    /* One write in place, of one length: a killed process leaves the old number or the new one. */
    int fd = dw_os_open(path, O_WRONLY | O_CREAT, 0600);
    if (fd >= 0) {
        (void)dw_os_write_at(fd, 0, text, NEWEST_DIGITS, NULL);
        dw_os_close(fd);
    }
}

/* ---- the chain ----------------------------------------------------------------------------- */

/* How many of the snapshots from `first` on follow each other without a gap. */
static size_t count_joined(const snapshot_list *list, size_t first)
{
    size_t last = first;
    while (last + 1 < list->count &&
           list->items[last + 1].sequence == list->items[last].sequence + 1) {
        last++;
    }
    return last - first + 1;
}

static dw_status fail_missing(const snapshot_list *list, uint64_t missing, size_t last,
                              dw_error *err)
{
    return dw_fail(err, DW_E_FORMAT,
                   "actor %s: its snapshot %08" PRIu64
                   " is missing; the newest state that is there "
                   "is %s, of message %" PRIu64 " (--force, accept_older: go on from it)",
                   list->id, missing, list->items[last].name, list->items[last].kind.done);
}

/* Those from the newest full one on, `*first`, and how many belong together. What follows a gap is
 * of no use, and an older one is not taken unasked. */
static dw_status choose(const snapshot_list *list, dw_snapshot_chain *chain, size_t *first,
                        dw_error *err)
{
    const snapshot_name *items = list->items;
    *first = list->count - 1;
    while (*first > 0 && !items[*first].kind.full) {
        (*first)--;
    }
    if (!items[*first].kind.full) {
        return dw_fail(err, DW_E_FORMAT,
                       "actor %s: the full snapshot that %s builds upon is missing, and with it "
                       "its state",
                       list->id, items[0].name);
    }
    uint64_t newest = read_newest(list->folder, list->id);
    size_t last = *first + count_joined(list, *first) - 1;
    uint64_t sequence = items[list->count - 1].sequence;
    sequence = newest > sequence ? newest : sequence;
    chain->incomplete = items[last].sequence < sequence;
    if (chain->incomplete && !list->folder->accept_older) {
        return fail_missing(list, items[last].sequence + 1, last, err);
    }
    chain->count = last - *first + 1;
    chain->sequence = sequence;
    chain->done = items[last].kind.done;
    chain->pending = items[last].kind.pending;
    return DW_OK;
}

dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    snapshot_list list = {.folder = folder, .id = id};
    size_t first = 0;
    chain->count = 0;
    dw_status status = list_snapshots(&list, err);
    if (status != DW_OK) {
        return status;
    }
    status = choose(&list, chain, &first, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < first && !folder->read_only; i++) { /* outdated ones */
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, list.items[i].name);
        bool removed = unlink(path) == 0 || errno == ENOENT;
        folder->left_over = folder->left_over || !removed;
    }
    for (size_t i = 0; i < chain->count; i++) {
        struct stat info;
        dw__folder_join(folder, chain->paths[i], DW__FOLDER_ACTORS, id, list.items[first + i].name);
        chain->list[i] = chain->paths[i];
        chain->bytes[i] = stat(chain->paths[i], &info) == 0 ? (uint64_t)info.st_size : 0;
    }
    return DW_OK;
}

dw_status dw_actor_folder_next_snapshot(const dw_actor_folder *folder, const char *id,
                                        const dw_snapshot_chain *chain,
                                        const dw_snapshot_kind *kind, char path[DW_FOLDER_PATH_MAX],
                                        dw_error *err)
{
    char name[DW__SNAPSHOT_NAME_BYTES];
    if (chain->sequence == UINT64_MAX) {
        return dw_fail(err, DW_E_LIMIT, "actor %s: %" PRIu64 " snapshots, which is the limit", id,
                       chain->sequence);
    }
    dw__snapshot_file_name(name, chain->sequence + 1, kind);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, name);
    return DW_OK;
}

void dw_snapshot_chain_add(dw_snapshot_chain *chain, const char *path, const dw_snapshot_kind *kind)
{
    struct stat info;
    chain->count = kind->full ? 0 : chain->count;
    DW_ASSERT(chain->count < DW_SNAPSHOT_CHAIN_MAX);
    const size_t last = chain->count++;
    (void)snprintf(chain->paths[last], sizeof chain->paths[last], "%s", path);
    chain->list[last] = chain->paths[last];
    chain->bytes[last] = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    chain->sequence++;
    chain->done = kind->done;
    chain->pending = kind->pending;
    chain->incomplete = false;
}

void dw_actor_folder_remove_chain(dw_actor_folder *folder, const dw_snapshot_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        bool removed = unlink(chain->paths[i]) == 0 || errno == ENOENT;
        folder->left_over = folder->left_over || !removed;
    }
}

dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain, dw_error *err)
{
    for (size_t i = 0; i < chain->count; i++) {
        char name[DW__SNAPSHOT_NAME_BYTES];
        char path[DW_FOLDER_PATH_MAX];
        const dw_snapshot_kind kind = {.full = i == 0};
        dw__snapshot_file_name(name, i + 1, &kind);
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
            return dw_fail(err, DW_E_LIMIT, "%.150s: a longer path than %zu bytes", folder,
                           sizeof path - 1);
        }
        if (link(chain->paths[i], path) == 0) {
            continue;
        }
        /* Not every file system has links. */
        dw_status status = dw__folder_copy_file(chain->paths[i], path, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}
