/* Files in actors' folders that no row of the journal names: what a killed process, or a disk that
 * failed, has left of snapshots that were not committed, of actors that were being made, and of
 * those that ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

/* ---- notes --------------------------------------------------------------------------------- */

dw_status dw__loose_set(dw_journal_tx *tx, const char *id, bool loose, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, loose ? DW__SQL_ADD_LOOSE : DW__SQL_DROP_LOOSE);
    dw_query_u64(query, dw__id_number(id));
    return dw_query_run(query, err);
}

typedef struct loose_list {
    dw_actor_name *names; /* [count] */
    size_t count;
    size_t capacity;
} loose_list;

static dw_status read_loose(void *user, dw_journal_tx *tx, dw_error *err)
{
    loose_list *list = user;
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_LOOSE);
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(list->names, list->capacity, list->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
        }
        dw__id_write(list->names[list->count++].id, dw_query_get_u64(query, 0));
    }
    return status;
}

/* Those that are clean; the ids of others are emptied. */
static dw_status forget_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const loose_list *list = user;
    dw_status status = DW_OK;
    for (size_t i = 0; i < list->count && status == DW_OK; i++) {
        if (list->names[i].id[0] != '\0') {
            status = dw__loose_set(tx, list->names[i].id, false, err);
        }
    }
    return status;
}

/* ---- sweeping ------------------------------------------------------------------------------ */

typedef struct named_file {
    char name[DW__SNAPSHOT_NAME_BYTES]; /* the first */
    uint64_t series;
    uint64_t end; /* of a series, of its last one */
} named_file;

typedef struct sweep {
    dw_actor_folder *folder;
    const char *id;
    bool exists;       /* the actor; else its folder goes */
    named_file *names; /* [count], sorted */
    size_t count;
    size_t capacity;
} sweep;

/* Room for one more; NULL: no memory. */
static named_file *next_name(sweep *s, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(s->names, s->capacity, s->count + 1, SIZE_MAX)) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
        return NULL;
    }
    s->names[s->count] = (named_file){.series = 0};
    return &s->names[s->count++];
}

static dw_status add_snapshot(sweep *s, const dw_snapshot_row *row, dw_error *err)
{
    named_file *name = s->count > 0 ? &s->names[s->count - 1] : NULL;
    if (name == NULL || row->series == 0 || name->series != row->series) {
        name = next_name(s, err);
        if (name == NULL) {
            return DW_E_MEMORY;
        }
        dw__snapshot_file_name(name->name, row);
        name->series = row->series;
    }
    name->end = row->begin + row->length;
    return DW_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static dw_status read_names(void *user, dw_journal_tx *tx, dw_error *err)
{
    sweep *s = user;
    dw_actor_row row;
    bool found = false;
    s->count = 0;
    dw_status status = dw__row_read(tx, s->id, &row, NULL, err);
    s->exists = status == DW_OK;
    if (status != DW_OK) {
        return status == DW_E_NOT_FOUND ? DW_OK : status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SNAPSHOTS);
    dw_query_u64(query, dw__id_number(s->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        dw_snapshot_row snapshot;
        dw__snapshot_take(query, &snapshot);
        status = add_snapshot(s, &snapshot, err);
        if (status != DW_OK) {
            return status;
        }
    }
    uint64_t kept[DW_FOLDER_KEPT_MAX];
    size_t kept_count = 0;
    if (status == DW_OK) {
        status = dw__kept_read(tx, s->id, kept, &kept_count, err);
    }
    for (size_t i = 0; i < kept_count && status == DW_OK; i++) {
        named_file *name = next_name(s, err);
        if (name == NULL) {
            return DW_E_MEMORY;
        }
        dw__kept_file_name(name->name, kept[i]);
    }
    if (s->count > 0) {
        qsort(s->names, s->count, sizeof *s->names, compare_names);
    }
    return status;
}

/* What was written behind the last one of a series, and never counted. Not of a fork's, too: that
 * one may have more. */
static dw_status cut(const char *path, const named_file *file, dw_error *err)
{
    struct stat info;
    if (file->series == 0 || stat(path, &info) != 0 || info.st_nlink != 1 ||
        (uint64_t)info.st_size <= file->end) {
        return DW_OK;
    }
    const int fd = dw_os_open(path, O_WRONLY | O_NOFOLLOW, 0);
    const dw_status status = fd >= 0 && ftruncate(fd, (off_t)file->end) == 0
                                 ? DW_OK
                                 : dw__folder_fail("cutting", path, err);
    dw_os_close(fd);
    return status;
}

static dw_status sweep_name(void *user, const char *name, dw_error *err)
{
    sweep *s = user;
    char path[DW_FOLDER_PATH_MAX];
    const named_file *named =
        s->count > 0 ? bsearch(name, s->names, s->count, sizeof *s->names, compare_names) : NULL;
    dw__folder_join(s->folder, path, DW__FOLDER_ACTORS, s->id, name);
    if (named != NULL) {
        return cut(path, named, err);
    }
    if (unlink(path) == 0 || errno == ENOENT) {
        return DW_OK;
    }
    /* The mail of an earlier program's folder. */
    return errno == EISDIR || errno == EPERM ? dw__folder_remove_tree(path, err)
                                             : dw__folder_fail("removing", path, err);
}

dw_status dw__folder_sweep(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_status status = DW_OK;
    sweep *s = dw_alloc(1, sizeof *s);
    if (s == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    s->folder = folder;
    s->id = id;
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, NULL);
    status = dw_journal_read(folder->journal, read_names, s, err);
    if (status == DW_OK) {
        status = s->exists ? dw__folder_each(path, sweep_name, s, err)
                           : dw__folder_remove_tree(path, err);
        status = status == DW_E_NOT_FOUND ? DW_OK : status;
    }
    dw_free(s->names);
    dw_free(s);
    return status;
}

void dw__folder_sweep_all(dw_actor_folder *folder, const dw_actor_name *names, size_t count,
                          bool clean_else)
{
    loose_list clean = {.names = dw_alloc(count, sizeof *names), .count = count};
    if (clean.names == NULL || count == 0) {
        dw_free(clean.names);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (dw__folder_sweep(folder, names[i].id, NULL) == DW_OK && clean_else) {
            clean.names[i] = names[i];
        }
    }
    (void)dw_journal_write(folder->journal, forget_work, &clean, true, NULL);
    dw_free(clean.names);
}

dw_status dw__folder_sweep_noted(dw_actor_folder *folder, dw_error *err)
{
    loose_list list = {.count = 0};
    dw_status status = dw_journal_read(folder->journal, read_loose, &list, err);
    if (status == DW_OK && list.count > 0) {
        bool released = dw__folder_release_modules(folder);
        dw__folder_sweep_all(folder, list.names, list.count, released);
    }
    dw_free(list.names);
    return status;
}

/* ---- removing ------------------------------------------------------------------------------ */

typedef char module_hash[65];

typedef struct removal {
    const dw_actor_name *names; /* [count] */
    size_t count;
    dw_ending *ending;
    module_hash *modules; /* [module_count]: what they were of, each once */
    size_t module_count;
    size_t module_capacity;
} removal;

static dw_status note_module(removal *r, const char *hash, dw_error *err)
{
    for (size_t i = 0; i < r->module_count; i++) {
        if (strcmp(r->modules[i], hash) == 0) {
            return DW_OK;
        }
    }
    if (!DW_ARRAY_RESERVE(r->modules, r->module_capacity, r->module_count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
    }
    (void)snprintf(r->modules[r->module_count++], sizeof(module_hash), "%s", hash);
    return DW_OK;
}

static dw_status remove_one(removal *r, dw_journal_tx *tx, const char *id, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_MODULE_OF);
    dw_query_u64(query, dw__id_number(id));
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && !found) {
        return DW_OK;
    }
    if (status == DW_OK) {
        status = note_module(r, dw_query_get_text(query, 0), err);
    }
    if (status == DW_OK) {
        status = dw__loose_set(tx, id, true, err);
    }
    if (status == DW_OK) {
        status = dw__watchers_end(tx, id, &r->ending->event, &r->ending->notices, err);
    }
    if (status != DW_OK) {
        return status;
    }
    query = dw_journal_query(tx, DW__SQL_DROP_ACTOR);
    dw_query_u64(query, dw__id_number(id));
    return dw_query_run(query, err);
}

static dw_status remove_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    removal *r = user;
    dw_status status = DW_OK;
    dw__notices_clear(&r->ending->notices);
    for (size_t i = 0; i < r->count && status == DW_OK; i++) { /* they are told nothing any more */
        status = dw__watchers_drop(tx, r->names[i].id, err);
    }
    for (size_t i = 0; i < r->count && status == DW_OK; i++) {
        status = remove_one(r, tx, r->names[i].id, err);
    }
    return status;
}

static dw_status remove_them(dw_actor_folder *folder, removal *r, dw_error *err)
{
    dw_status status = dw_journal_write(folder->journal, remove_work, r, false, err);
    bool released = true;
    for (size_t i = 0; i < r->module_count && status == DW_OK; i++) {
        released = dw__folder_release_module(folder, r->modules[i]) && released;
    }
    if (status == DW_OK) {
        dw__folder_sweep_all(folder, r->names, r->count, released);
    }
    dw_free(r->modules);
    return status;
}

dw_status dw_actor_folder_remove_all(dw_actor_folder *folder, const dw_actor_name *names,
                                     size_t count, dw_ending *ending, dw_error *err)
{
    removal r = {.names = names, .count = count, .ending = ending};
    dw_status status = count > 0 ? remove_them(folder, &r, err) : DW_OK;
    if (status != DW_OK) {
        dw__notices_clear(&ending->notices);
    }
    return status;
}
