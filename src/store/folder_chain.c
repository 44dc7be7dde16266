/* An actor's snapshots: their names, their rows, and whether one is missing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define PENDING "pending-"
#define BLOCK_BYTES 512 /* of st_blocks, by POSIX */

/* ---- names -------------------------------------------------------------------------------- */

void dw__snapshot_file_name(char name[DW__SNAPSHOT_NAME_BYTES], const dw_snapshot_row *row)
{
    int length =
        row->series != 0
            ? snprintf(name, DW__SNAPSHOT_NAME_BYTES, "%08" PRIu64 ".series", row->series)
            : snprintf(name, DW__SNAPSHOT_NAME_BYTES, "%08" PRIu64 "-%012" PRIu64 ".%s%s.snapshot",
                       row->sequence, row->done, row->pending ? PENDING : "",
                       row->full ? "full" : "delta");
    DW_ASSERT(length > 0 && (size_t)length < DW__SNAPSHOT_NAME_BYTES);
}

bool dw__snapshot_parse_name(const char *name, dw_snapshot_row *row)
{
    char again[DW__SNAPSHOT_NAME_BYTES]; /* the name is made of these when the file is read */
    const char *next = name;
    *row = (dw_snapshot_row){.bytes = 0};
    if (!dw__folder_number(&next, &row->sequence) || *next++ != '-' ||
        !dw__folder_number(&next, &row->done) || *next++ != '.') {
        return false;
    }
    row->pending = strncmp(next, PENDING, sizeof PENDING - 1) == 0;
    next += row->pending ? sizeof PENDING - 1 : 0;
    row->full = strcmp(next, "full.snapshot") == 0;
    dw__snapshot_file_name(again, row);
    return strcmp(name, again) == 0;
}

/* Of the file that it is in. */
static void file_path_of(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row,
                         char path[DW_FOLDER_PATH_MAX])
{
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw__snapshot_file_name(name, row);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, name);
}

static void path_of(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row,
                    char path[DW_FOLDER_PATH_MAX])
{
    file_path_of(folder, id, row, path);
    if (row->series != 0) {
        const size_t used = strlen(path);
        (void)snprintf(path + used, DW_FOLDER_PATH_MAX - used, "/%" PRIu64 "+%" PRIu64, row->begin,
                       row->length);
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

void dw__snapshot_take(dw_query *query, dw_snapshot_row *row)
{
    *row = (dw_snapshot_row){.sequence = dw_query_get_u64(query, 0),
                             .done = dw_query_get_u64(query, 1),
                             .full = dw_query_get_i64(query, 2) != 0,
                             .pending = dw_query_get_i64(query, 3) != 0,
                             .bytes = (uint64_t)dw_query_get_i64(query, 4),
                             .drops = dw_query_get_i64(query, 6) != 0,
                             .series = (uint64_t)dw_query_get_i64(query, 7),
                             .begin = (uint64_t)dw_query_get_i64(query, 8),
                             .length = (uint64_t)dw_query_get_i64(query, 9),
                             .covers = (uint64_t)dw_query_get_i64(query, 10)};
    (void)snprintf(row->identity, sizeof row->identity, "%s", dw_query_get_text(query, 5));
}

static void forget_paths(dw_snapshot_chain *chain)
{
    for (size_t i = 0; i < chain->path_count; i++) {
        dw_free((void *)(uintptr_t)chain->list[i]);
    }
    chain->path_count = 0;
}

/* Those from `count` on. */
static void cut_rows(dw_snapshot_chain *chain, size_t count)
{
    for (size_t i = count; i < chain->count; i++) {
        dw_series_index_unref(chain->rows[i].index);
    }
    chain->count = count;
}

/* All rows. */
static void clear(dw_snapshot_chain *chain)
{
    forget_paths(chain);
    cut_rows(chain, 0);
}

void dw_snapshot_chain_release(dw_snapshot_chain *chain)
{
    clear(chain);
    dw_free(chain->list);
    dw_free(chain->identities);
    dw_free(chain->indexes);
    dw_free(chain->rows);
    *chain = (dw_snapshot_chain){.count = 0};
}

/* Room for one more row, with a path. */
static dw_status make_room(dw_snapshot_chain *chain, dw_error *err)
{
    const size_t needed = chain->count + 1;
    if (needed <= chain->capacity) {
        return DW_OK;
    }
    const size_t capacity = needed < 16 ? 16 : 2 * needed;
    dw_snapshot_row *rows = dw_realloc(chain->rows, capacity, sizeof *rows);
    chain->rows = rows != NULL ? rows : chain->rows;
    const char **list = dw_realloc(chain->list, capacity, sizeof *list);
    chain->list = list != NULL ? list : chain->list;
    const char **identities = dw_realloc(chain->identities, capacity, sizeof *identities);
    chain->identities = identities != NULL ? identities : chain->identities;
    const dw_series_index **indexes = dw_realloc(chain->indexes, capacity, sizeof *indexes);
    chain->indexes = indexes != NULL ? indexes : chain->indexes;
    if (rows == NULL || list == NULL || identities == NULL || indexes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    chain->capacity = capacity;
    for (size_t i = 0; i < chain->count; i++) { /* the rows have moved */
        identities[i] = rows[i].identity;
    }
    return DW_OK;
}

static dw_status add_path(dw_snapshot_chain *chain, const char *path, dw_error *err)
{
    char *own = dw_strdup(path);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a path");
    }
    chain->identities[chain->path_count] = chain->rows[chain->path_count].identity;
    chain->indexes[chain->path_count] = chain->rows[chain->path_count].index;
    chain->list[chain->path_count++] = own;
    return DW_OK;
}

void dw_snapshot_chain_select(dw_snapshot_chain *chain,
                              bool (*takes)(void *user, const dw_snapshot_row *row), void *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < chain->count; i++) {
        if (!takes(user, &chain->rows[i])) {
            dw_free((void *)(uintptr_t)chain->list[i]);
            dw_series_index_unref(chain->rows[i].index);
            continue;
        }
        chain->rows[kept] = chain->rows[i];
        chain->list[kept] = chain->list[i];
        chain->identities[kept] = chain->rows[kept].identity;
        chain->indexes[kept] = chain->rows[kept].index;
        kept++;
    }
    chain->count = kept;
    chain->path_count = kept;
}

void dw_snapshot_chain_cover(dw_snapshot_chain *chain, const dw_snapshot_row *row)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->rows[i].sequence == row->sequence && chain->rows[i].series == row->series) {
            dw_series_index_unref(chain->rows[i].index);
            chain->rows[i] = *row;
            chain->rows[i].index = dw_series_index_ref(row->index);
            chain->indexes[i] = row->index;
        }
    }
}

typedef struct chain_search {
    const char *id;
    uint64_t series; /* 0: all */
    dw_snapshot_chain *chain;
} chain_search;

/* What snapshots that the row covers hold. */
static dw_status read_index(dw_journal_tx *tx, const char *id, dw_snapshot_row *row, dw_error *err)
{
    bool found = false;
    size_t count = 0;
    dw_query *query = dw_journal_query(tx, DW__SQL_INDEX);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, row->sequence);
    dw_status status = dw_query_next(query, &found, err);
    if (status != DW_OK) {
        return status;
    }
    const void *bytes = found ? dw_query_get_blob(query, 0, &count) : "";
    status = dw_series_index_read(&row->index, bytes, count, err);
    if (status == DW_OK && dw_series_index_contents(row->index)->place_count != row->covers) {
        status = dw_fail(err, DW_E_FORMAT, "it is of another number of snapshots than %" PRIu64,
                         row->covers);
    }
    return status == DW_OK
               ? DW_OK
               : dw_fail_within(err, status, "actor %s: series %08" PRIu64, id, row->series);
}

static dw_status read_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    const chain_search *search = user;
    dw_snapshot_chain *chain = search->chain;
    dw_actor_row row;
    bool found = false;
    clear(chain);
    dw_status status = dw__row_read(tx, search->id, &row, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    chain->sequence = row.sequence;
    dw_query *query =
        dw_journal_query(tx, search->series != 0 ? DW__SQL_SERIES : DW__SQL_SNAPSHOTS);
    dw_query_u64(query, dw__id_number(search->id));
    if (search->series != 0) {
        dw_query_i64(query, (int64_t)search->series);
    }
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (chain->count == DW_SNAPSHOT_CHAIN_MAX) {
            return dw_fail(err, DW_E_LIMIT, "actor %s: more than %d snapshots", search->id,
                           DW_SNAPSHOT_CHAIN_MAX);
        }
        status = make_room(chain, err);
        if (status != DW_OK) {
            return status;
        }
        dw__snapshot_take(query, &chain->rows[chain->count++]);
    }
    for (size_t i = 0; i < chain->count && status == DW_OK; i++) {
        status =
            chain->rows[i].covers > 0 ? read_index(tx, search->id, &chain->rows[i], err) : status;
    }
    return status;
}

/* Whether the snapshot's file is there, by its short name in the folder `actors`, which is open, or
 * by its path where that is -1; of a series as far as it goes, `*end`. errno says why not. */
static bool is_there(const dw_actor_folder *folder, int actors, const char *id,
                     const dw_snapshot_row *row, uint64_t *end)
{
    char name[DW_ACTOR_ID_CHARS + 1 + DW__SNAPSHOT_NAME_BYTES];
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    const char *at = name;
    if (actors < 0) {
        file_path_of(folder, id, row, path);
        at = path;
        actors = AT_FDCWD;
    } else {
        memcpy(name, id, DW_ACTOR_ID_CHARS);
        name[DW_ACTOR_ID_CHARS] = '/';
        dw__snapshot_file_name(name + DW_ACTOR_ID_CHARS + 1, row);
    }
    if (row->series == 0) {
        return faccessat(actors, at, F_OK, 0) == 0;
    }
    if (fstatat(actors, at, &info, 0) != 0) {
        return false;
    }
    *end = (uint64_t)info.st_size;
    return true;
}

/* Up to this place others went with a later one, which the state before that did not need either:
 * what is missing there is not needed. */
static size_t dropped_end(const dw_snapshot_chain *chain)
{
    size_t end = chain->count;
    while (end > 0 && !chain->rows[end - 1].drops) {
        end--;
    }
    return end;
}

/* Whether nothing is missing between the row and the one before. */
static bool follows(const dw_snapshot_chain *chain, size_t index)
{
    const dw_snapshot_row *row = &chain->rows[index];
    return index == 0 ? row->full : row->sequence == chain->rows[index - 1].sequence + 1;
}

/* As the one before, which is there. */
static bool in_same_file(const dw_snapshot_chain *chain, size_t index)
{
    const dw_snapshot_row *row = &chain->rows[index];
    return index > 0 && row->series != 0 && row->series == row[-1].series;
}

/* How many of the snapshots follow each other without a gap, and are there. `actors` is that
 * folder's descriptor, or -1: paths are made, too. */
static dw_status count_joined(dw_actor_folder *folder, const char *id, int actors,
                              dw_snapshot_chain *chain, size_t *joined, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    size_t count = 0;
    uint64_t end = 0; /* of the series at hand */
    *joined = 0;
    const size_t dropped = dropped_end(chain);
    while (count < chain->count && (count < dropped || follows(chain, count))) {
        const dw_snapshot_row *row = &chain->rows[count];
        if (!in_same_file(chain, count) && !is_there(folder, actors, id, row, &end)) {
            if (errno == ENOENT) {
                break;
            }
            file_path_of(folder, id, row, path);
            return dw__folder_fail("reading", path, err);
        }
        if (row->series != 0 && (row->begin > end || row->length > end - row->begin)) {
            break; /* it was cut */
        }
        if (actors < 0) {
            path_of(folder, id, row, path);
            dw_status status = add_path(chain, path, err);
            if (status != DW_OK) {
                return status;
            }
        }
        count++;
    }
    *joined = count;
    return DW_OK;
}

static dw_status fail_missing(const char *id, uint64_t missing, const dw_snapshot_row *last,
                              dw_error *err)
{
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw__snapshot_file_name(name, last);
    return dw_fail(
        err, DW_E_FORMAT,
        "actor %s: its snapshot %08" PRIu64 " is missing; the newest state that is there "
        "is %08" PRIu64 " in %s, of message %" PRIu64 " (--force, accept_older: go on from it)",
        id, missing, last->sequence, name, last->done);
}

/* What the rows come to, with the files that are there. */
static dw_status settle(dw_actor_folder *folder, const char *id, int actors,
                        dw_snapshot_chain *chain, dw_error *err)
{
    size_t joined = 0;
    dw_status status = count_joined(folder, id, actors, chain, &joined, err);
    if (status != DW_OK) {
        clear(chain);
        return status;
    }
    if (joined == 0 || joined + 1 < dropped_end(chain)) {
        char name[DW__SNAPSHOT_NAME_BYTES] = "";
        if (joined < chain->count && dropped_end(chain) > 0) {
            dw__snapshot_file_name(name, &chain->rows[joined]);
        }
        clear(chain);
        return dw_fail(err, DW_E_FORMAT,
                       name[0] == '\0'
                           ? "actor %s: the full snapshot that its state builds upon is missing, "
                             "and with it its state%s"
                           : "actor %s: a snapshot that its state builds upon is missing, and with "
                             "it its state: %s",
                       id, name);
    }
    const dw_snapshot_row *last = &chain->rows[joined - 1];
    const uint64_t missing = joined < chain->count && joined < dropped_end(chain)
                                 ? chain->rows[joined].sequence
                                 : last->sequence + 1;
    chain->incomplete = last->sequence < chain->sequence;
    cut_rows(chain, joined);
    if (chain->incomplete && !folder->accept_older) {
        status = fail_missing(id, missing, last, err);
        clear(chain);
        return status;
    }
    chain->done = last->done;
    chain->pending = last->pending;
    return DW_OK;
}

dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err)
{
    chain_search search = {.id = id, .chain = chain};
    dw_status status = dw_journal_read(folder->journal, read_rows, &search, err);
    if (status != DW_OK) {
        clear(chain);
        return status;
    }
    return settle(folder, id, -1, chain, err);
}

dw_status dw_actor_folder_read_series(dw_actor_folder *folder, const char *id, uint64_t series,
                                      dw_snapshot_chain *chain, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    chain_search search = {.id = id, .series = series, .chain = chain};
    dw_status status = dw_journal_read(folder->journal, read_rows, &search, err);
    for (size_t i = 0; i < chain->count && status == DW_OK; i++) {
        path_of(folder, id, &chain->rows[i], path);
        status = add_path(chain, path, err);
    }
    if (status != DW_OK) {
        clear(chain);
    }
    return status;
}

/* ---- many actors' -------------------------------------------------------------------------- */

typedef struct page {
    dw_actor_folder *folder;
    const char *from;
    dw_actor_item *items; /* [count] */
    size_t max;
    size_t count;
    dw_snapshot_chain chain; /* of the one at hand */
    int actors;              /* that folder's descriptor */
} page;

/* The item's snapshots, which `query` is at, up to those of another actor. */
static dw_status read_item(page *p, dw_actor_item *item, dw_query *query, bool *more, dw_error *err)
{
    dw_snapshot_chain *chain = &p->chain;
    const uint64_t actor = dw__id_number(item->row.id);
    dw_status status = DW_OK;
    clear(chain);
    chain->sequence = item->row.sequence;
    while (status == DW_OK && *more && dw_query_get_u64(query, 11) <= actor) {
        if (dw_query_get_u64(query, 11) == actor && chain->count < DW_SNAPSHOT_CHAIN_MAX) {
            status = make_room(chain, err);
            if (status != DW_OK) {
                return status;
            }
            dw__snapshot_take(query, &chain->rows[chain->count++]);
        }
        status = dw_query_next(query, more, err);
    }
    if (status != DW_OK) {
        return status;
    }
    item->status = settle(p->folder, item->row.id, p->actors, chain, &item->problem);
    item->row.done = item->status == DW_OK ? chain->done : item->row.done;
    for (size_t i = 0; i < chain->count; i++) {
        item->bytes += chain->rows[i].bytes;
        item->snapshot_count += chain->rows[i].covers > 0 ? chain->rows[i].covers : 1;
    }
    return DW_OK;
}

static dw_status read_page(void *user, dw_journal_tx *tx, dw_error *err)
{
    page *p = user;
    bool found = false;
    bool more = false;
    dw_query *snapshots = dw_journal_query(tx, DW__SQL_SNAPSHOT_PAGE);
    dw_query *actors = dw_journal_query(tx, DW__SQL_ACTOR_PAGE);
    dw_query_u64(snapshots, dw__id_number(p->from));
    dw_query_u64(actors, dw__id_number(p->from));
    dw_query_i64(actors, (int64_t)p->max);
    p->count = 0;
    dw_status status = dw_query_next(snapshots, &more, err);
    while (status == DW_OK && (status = dw_query_next(actors, &found, err)) == DW_OK && found) {
        dw_actor_item *item = &p->items[p->count++];
        *item = (dw_actor_item){.bytes = 0};
        dw__row_take(actors, &item->row);
        status = read_item(p, item, snapshots, &more, err);
    }
    return status;
}

dw_status dw_actor_folder_page(dw_actor_folder *folder, const char *from, dw_actor_item *items,
                               size_t max, size_t *count, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    page p = {.folder = folder, .from = from, .items = items, .max = max};
    *count = 0;
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    p.actors = dw_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (p.actors < 0) {
        return dw__folder_fail("reading", path, err);
    }
    dw_status status = dw_journal_read(folder->journal, read_page, &p, err);
    *count = status == DW_OK ? p.count : 0;
    dw_os_close(p.actors);
    dw_snapshot_chain_release(&p.chain);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Who has counted what was written has set it: holes take no room. */
static dw_status read_size(const char *path, uint64_t *bytes, dw_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return dw__folder_fail("reading", path, err);
    }
    *bytes = *bytes != 0 ? *bytes : (uint64_t)info.st_size;
    return DW_OK;
}

void dw_actor_folder_snapshot_path(const dw_actor_folder *folder, const char *id,
                                   const dw_snapshot_row *row, char path[DW_FOLDER_PATH_MAX])
{
    path_of(folder, id, row, path);
}

dw_status dw_actor_folder_snapshot_written(dw_actor_folder *folder, dw_snapshot_row *row,
                                           const char *path, dw_error *err)
{
    dw_status status = row->series == 0 ? read_size(path, &row->bytes, err) : DW_OK;
    if (status == DW_OK) {
        dw_actor_folder_add_bytes(folder, row->bytes);
    }
    return status;
}

void dw_actor_folder_look_at_series(const dw_actor_folder *folder, const char *id, uint64_t series,
                                    dw_series_look *look)
{
    const dw_snapshot_row row = {.series = series};
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    *look = (dw_series_look){.taken = 0};
    file_path_of(folder, id, &row, path);
    if (stat(path, &info) == 0) {
        look->taken = (uint64_t)info.st_blocks * BLOCK_BYTES;
        look->bytes = (uint64_t)info.st_size;
        look->own = info.st_nlink == 1;
    }
}

dw_status dw_actor_folder_add_snapshot(dw_actor_folder *folder, dw_snapshot_chain *chain,
                                       dw_snapshot_row *row, const char *path, dw_error *err)
{
    dw_status status = row->series == 0 ? read_size(path, &row->bytes, err) : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    if (row->full) {
        clear(chain);
    }
    status = make_room(chain, err);
    if (status == DW_OK) {
        chain->rows[chain->count] = *row;
        status = add_path(chain, path, err);
    }
    if (status != DW_OK) {
        return status;
    }
    chain->count++;
    chain->sequence = row->sequence;
    chain->done = row->done;
    chain->pending = row->pending;
    chain->incomplete = false;
    dw_actor_folder_add_bytes(folder, row->bytes);
    return DW_OK;
}

static void file_of(const dw_snapshot_chain *chain, size_t index, char path[DW_FOLDER_PATH_MAX])
{
    (void)snprintf(path, DW_FOLDER_PATH_MAX, "%s", chain->list[index]);
    if (chain->rows[index].series != 0) {
        *strrchr(path, '/') = '\0';
    }
}

dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain,
                                dw_snapshot_row *rows, dw_error *err)
{
    for (size_t i = 0; i < chain->count; i++) {
        char name[DW__SNAPSHOT_NAME_BYTES];
        char path[DW_FOLDER_PATH_MAX];
        char from[DW_FOLDER_PATH_MAX];
        rows[i] = chain->rows[i];
        rows[i].index = rows[i].index != NULL ? dw_series_index_ref(rows[i].index) : NULL;
        rows[i].sequence = i + 1;
        rows[i].done = 0;
        rows[i].pending = false;
        if (in_same_file(chain, i)) {
            rows[i].series = rows[i - 1].series;
            continue;
        }
        rows[i].series = rows[i].series != 0 ? i + 1 : 0;
        dw__snapshot_file_name(name, &rows[i]);
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
            return dw_fail(err, DW_E_LIMIT, "%.150s: a longer path than %zu bytes", folder,
                           sizeof path - 1);
        }
        file_of(chain, i, from);
        if (link(from, path) == 0) {
            continue;
        }
        /* Not every file system has links. */
        dw_status status = dw__folder_copy_file(from, path, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_actor_folder_made(dw_actor_folder *folder, dw_new_actor *made, const char *path,
                               dw_error *err)
{
    char place[DW_FOLDER_PATH_MAX];
    dw_snapshot_row *row = &made->rows[made->row_count];
    dw_status status = read_size(path, &row->bytes, err);
    if (status != DW_OK) {
        return status;
    }
    made->row_count++;
    dw_actor_folder_add_bytes(folder, row->bytes);
    dw__folder_join(folder, place, DW__FOLDER_ACTORS, made->id, NULL);
    status = dw__folder_sync(place, err);
    dw__folder_join(folder, place, DW__FOLDER_ACTORS, NULL, NULL);
    return status == DW_OK ? dw__folder_sync(place, err) : status;
}

dw_status dw__snapshot_add(dw_journal_tx *tx, const char *id, const dw_snapshot_row *row,
                           dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_ADD_SNAPSHOT);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, row->sequence);
    dw_query_u64(query, row->done);
    dw_query_i64(query, row->full);
    dw_query_i64(query, row->pending);
    dw_query_i64(query, (int64_t)row->bytes);
    dw_query_text(query, row->identity);
    dw_query_i64(query, row->drops);
    dw_query_i64(query, (int64_t)row->series);
    dw_query_i64(query, (int64_t)row->begin);
    dw_query_i64(query, (int64_t)row->length);
    dw_query_i64(query, (int64_t)row->covers);
    dw_status status = dw_query_run(query, err);
    if (status != DW_OK || row->covers == 0) {
        return status;
    }
    size_t count = 0;
    const void *bytes = dw_series_index_bytes(row->index, &count);
    query = dw_journal_query(tx, DW__SQL_ADD_INDEX);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, row->sequence);
    dw_query_blob(query, bytes, count);
    return dw_query_run(query, err);
}

dw_status dw__snapshot_cover(dw_journal_tx *tx, const char *id, const dw_snapshot_row *row,
                             dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_DROP_COVERED);
    dw_query_u64(query, dw__id_number(id));
    dw_query_i64(query, (int64_t)row->series);
    dw_query_u64(query, row->sequence);
    dw_status status = dw_query_run(query, err);
    return status == DW_OK ? dw__snapshot_add(tx, id, row, err) : status;
}

void dw__new_rows_free(dw_new_actor *made)
{
    for (size_t i = 0; made->rows != NULL && i < made->row_count; i++) {
        dw_series_index_unref(made->rows[i].index);
    }
    dw_free(made->rows);
    made->rows = NULL;
}

dw_status dw__series_find(dw_journal_tx *tx, const char *id, dw_snapshot_row *row, dw_error *err)
{
    row->shared = false;
    if (row->series == 0) {
        return DW_OK;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_HAS_SERIES);
    dw_query_u64(query, dw__id_number(id));
    dw_query_i64(query, (int64_t)row->series);
    return dw_query_next(query, &row->shared, err);
}

dw_status dw__snapshot_drop(dw_journal_tx *tx, const char *id, dw_snapshot_row *row, dw_error *err)
{
    bool found = false;
    const uint64_t sequence = row->sequence;
    dw_query *query = dw_journal_query(tx, DW__SQL_SNAPSHOT);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, sequence);
    dw_status status = dw_query_next(query, &found, err);
    if (status != DW_OK || !found) {
        return status;
    }
    dw__snapshot_take(query, row);
    query = dw_journal_query(tx, DW__SQL_DROP_SNAPSHOT);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, sequence);
    return dw_query_run(query, err);
}

bool dw__snapshot_unlink(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row)
{
    char path[DW_FOLDER_PATH_MAX];
    file_path_of(folder, id, row, path);
    return row->shared || unlink(path) == 0 || errno == ENOENT;
}

/* ---- new actors ---------------------------------------------------------------------------- */

static dw_status note_new(void *user, dw_journal_tx *tx, dw_error *err)
{
    return dw__loose_set(tx, user, true, err);
}

dw_status dw_actor_folder_make(dw_actor_folder *folder, dw_new_actor *made,
                               const dw_snapshot_chain *chain, char path[DW_FOLDER_PATH_MAX],
                               dw_error *err)
{
    char place[DW_FOLDER_PATH_MAX];
    made->row_count = 0;
    if (dw_actor_folder_has(folder, made->id)) {
        return dw_fail(err, DW_E_STATE, "actor %s: it is there already", made->id);
    }
    dw_status status = dw_journal_write(folder->journal, note_new, made->id, false, err);
    if (status != DW_OK) {
        return status;
    }
    dw__folder_join(folder, place, DW__FOLDER_ACTORS, made->id, NULL);
    if (access(place, F_OK) == 0) { /* left by an earlier call that failed */
        status = dw__folder_remove_tree(place, err);
    }
    if (status == DW_OK) {
        status = dw__folder_make(place, err);
    }
    if (status == DW_OK) { /* one more is to be written */
        made->rows = dw_alloc((chain != NULL ? chain->count : 0) + 1, sizeof *made->rows);
        status = made->rows != NULL
                     ? DW_OK
                     : dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    if (status == DW_OK && chain != NULL) {
        status = dw__folder_link_chain(place, chain, made->rows, err);
        made->row_count = chain->count;
    }
    if (status != DW_OK) {
        return status;
    }
    dw_snapshot_row *row = &made->rows[made->row_count];
    *row = (dw_snapshot_row){.sequence = made->row_count + 1, .full = chain == NULL};
    path_of(folder, made->id, row, path);
    return DW_OK;
}
