/* An actor's snapshots: their names, their order, and what killed processes left among them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/actor_folder_internal.h"

#define PENDING ".pending-"

typedef struct snapshot_name {
    uint64_t sequence;
    dw_snapshot_kind kind;
    char name[64];
} snapshot_name;

typedef struct snapshot_list {
    snapshot_name items[DW_SNAPSHOT_CHAIN_MAX];
    size_t count;
    char left_over[64]; /* a temporary file that a killed process left, or "" */
} snapshot_list;

void dw__snapshot_file_name(char name[64], uint64_t sequence, const dw_snapshot_kind *kind)
{
    (void)snprintf(name, 64, "%08" PRIu64 "-%012" PRIu64 ".%s%s.snapshot", sequence, kind->done,
                   kind->pending ? "pending-" : "", kind->full ? "full" : "delta");
}

/* The reverse of dw__snapshot_file_name. */
static bool parse_name(const char *name, snapshot_name *out)
{
    char end[32] = "";
    if (strlen(name) >= sizeof out->name || name[8] != '-' ||
        sscanf(name, "%8" SCNu64 "-%12" SCNu64 "%31s", &out->sequence, &out->kind.done, end) != 3) {
        return false;
    }
    out->kind.pending = strncmp(end, PENDING, sizeof PENDING - 1) == 0;
    const char *kind = end + (out->kind.pending ? sizeof PENDING - 1 : 1);
    out->kind.full = strcmp(kind, "full.snapshot") == 0;
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return out->kind.full || strcmp(kind, "delta.snapshot") == 0;
}

static dw_status take_name(void *user, const char *name, dw_error *err)
{
    snapshot_list *list = user;
    snapshot_name item;
    if (strlen(name) > 8 && parse_name(name, &item)) {
        if (list->count == DW_SNAPSHOT_CHAIN_MAX) {
            return dw_fail(err, DW_E_LIMIT, "more than %d snapshots", DW_SNAPSHOT_CHAIN_MAX);
        }
        list->items[list->count++] = item;
    } else if (strstr(name, DW_FOLDER_TMP) != NULL) {
        (void)snprintf(list->left_over, sizeof list->left_over, "%.63s", name);
    }
    return DW_OK;
}

static int compare_names(const void *left, const void *right)
{
    uint64_t a = ((const snapshot_name *)left)->sequence;
    uint64_t b = ((const snapshot_name *)right)->sequence;
    return a < b ? -1 : a > b;
}

/* The actor's snapshots in order; at least one. */
static dw_status list_snapshots(const dw_actor_folder *folder, const char *id, snapshot_list *list,
                                dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, NULL);
    dw_status status = dw__folder_each(path, take_name, list, err);
    if (status == DW_E_LIMIT) {
        return dw_fail_within(err, status, "actor %s", id);
    }
    if (status != DW_OK) {
        return status;
    }
    if (list->count == 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %s: its folder holds no snapshot", id);
    }
    qsort(list->items, list->count, sizeof list->items[0], compare_names);
    return DW_OK;
}

dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    snapshot_list list = {.count = 0};
    chain->count = 0;
    dw_status status = list_snapshots(folder, id, &list, err);
    if (status != DW_OK) {
        return status;
    }
    if (list.left_over[0] != '\0') {
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, list.left_over);
        (void)unlink(path);
    }
    size_t first = list.count - 1; /* the newest full one; all that come before are outdated */
    while (first > 0 && !list.items[first].kind.full) {
        first--;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct stat info;
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, list.items[i].name);
        if (i < first) {
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

void dw_actor_folder_next_snapshot(const dw_actor_folder *folder, const char *id,
                                   const dw_snapshot_chain *chain, const dw_snapshot_kind *kind,
                                   char path[DW_FOLDER_PATH_MAX])
{
    char name[64];
    dw__snapshot_file_name(name, chain->sequence + 1, kind);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, name);
}

void dw_actor_folder_remove_chain(const dw_snapshot_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        (void)unlink(chain->paths[i]);
    }
}

dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain, dw_error *err)
{
    for (size_t i = 0; i < chain->count; i++) {
        char name[64];
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
