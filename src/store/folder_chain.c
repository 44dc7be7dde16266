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

/* ---- names -------------------------------------------------------------------------------- */

void dw__snapshot_file_name(char name[DW__SNAPSHOT_NAME_BYTES], const dw_snapshot_row *row)
{
    int length = snprintf(name, DW__SNAPSHOT_NAME_BYTES,
                          "%08" PRIu64 "-%012" PRIu64 ".%s%s.snapshot", row->sequence, row->done,
                          row->pending ? PENDING : "", row->full ? "full" : "delta");
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

static void path_of(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row,
                    char path[DW_FOLDER_PATH_MAX])
{
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw__snapshot_file_name(name, row);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, name);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void take_snapshot(dw_query *query, dw_snapshot_row *row)
{
    *row = (dw_snapshot_row){.sequence = dw_query_get_u64(query, 0),
                             .done = dw_query_get_u64(query, 1),
                             .full = dw_query_get_i64(query, 2) != 0,
                             .pending = dw_query_get_i64(query, 3) != 0,
                             .bytes = (uint64_t)dw_query_get_i64(query, 4)};
}

typedef struct chain_search {
    const char *id;
    dw_snapshot_chain *chain;
} chain_search;

static dw_status read_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    const chain_search *search = user;
    dw_snapshot_chain *chain = search->chain;
    dw_actor_row row;
    bool found = false;
    chain->count = 0;
    dw_status status = dw__row_read(tx, search->id, &row, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    chain->sequence = row.sequence;
    dw_query *query = dw_journal_query(tx, DW__SQL_SNAPSHOTS);
    dw_query_u64(query, dw__id_number(search->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (chain->count == DW_SNAPSHOT_CHAIN_MAX) {
            return dw_fail(err, DW_E_LIMIT, "actor %s: more than %d snapshots", search->id,
                           DW_SNAPSHOT_CHAIN_MAX);
        }
        take_snapshot(query, &chain->rows[chain->count++]);
    }
    return status;
}

/* Whether the snapshot's file is there, by its short name in the folder `actors`, which is open. */
static bool is_there(int actors, const char *id, const dw_snapshot_row *row)
{
    char name[DW_ACTOR_ID_CHARS + 1 + DW__SNAPSHOT_NAME_BYTES];
    memcpy(name, id, DW_ACTOR_ID_CHARS);
    name[DW_ACTOR_ID_CHARS] = '/';
    dw__snapshot_file_name(name + DW_ACTOR_ID_CHARS + 1, row);
    return faccessat(actors, name, F_OK, 0) == 0;
}

/* How many of the snapshots follow each other without a gap, and are there. `actors` is that
 * folder's descriptor, or -1: paths are made, too. */
static dw_status count_joined(dw_actor_folder *folder, const char *id, int actors,
                              dw_snapshot_chain *chain, size_t *joined, dw_error *err)
{
    size_t count = 0;
    while (count < chain->count &&
           (count == 0 || chain->rows[count].sequence == chain->rows[count - 1].sequence + 1)) {
        if (actors < 0) {
            path_of(folder, id, &chain->rows[count], chain->paths[count]);
            chain->list[count] = chain->paths[count];
        }
        if (actors >= 0 ? !is_there(actors, id, &chain->rows[count])
                        : access(chain->paths[count], F_OK) != 0) {
            if (errno != ENOENT) {
                path_of(folder, id, &chain->rows[count], chain->paths[count]);
                return dw__folder_fail("reading", chain->paths[count], err);
            }
            break;
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
    return dw_fail(err, DW_E_FORMAT,
                   "actor %s: its snapshot %08" PRIu64
                   " is missing; the newest state that is there "
                   "is %s, of message %" PRIu64 " (--force, accept_older: go on from it)",
                   id, missing, name, last->done);
}

/* What the rows come to, with the files that are there. */
static dw_status settle(dw_actor_folder *folder, const char *id, int actors,
                        dw_snapshot_chain *chain, dw_error *err)
{
    size_t joined = 0;
    dw_status status = count_joined(folder, id, actors, chain, &joined, err);
    if (status != DW_OK) {
        chain->count = 0;
        return status;
    }
    if (joined == 0 || !chain->rows[0].full) {
        chain->count = 0;
        return dw_fail(err, DW_E_FORMAT,
                       "actor %s: the full snapshot that its state builds upon is missing, and "
                       "with it its state",
                       id);
    }
    const dw_snapshot_row *last = &chain->rows[joined - 1];
    chain->incomplete = last->sequence < chain->sequence;
    chain->count = joined;
    if (chain->incomplete && !folder->accept_older) {
        chain->count = 0;
        return fail_missing(id, last->sequence + 1, last, err);
    }
    chain->done = last->done;
    chain->pending = last->pending;
    return DW_OK;
}

dw_status dw_actor_folder_read_chain(dw_actor_folder *folder, const char *id,
                                     dw_snapshot_chain *chain, dw_error *err)
{
    chain_search search = {.id = id, .chain = chain};
    chain->count = 0;
    dw_status status = dw_journal_read(folder->journal, read_rows, &search, err);
    if (status != DW_OK) {
        chain->count = 0;
        return status;
    }
    return settle(folder, id, -1, chain, err);
}

/* ---- many actors' -------------------------------------------------------------------------- */

typedef struct page {
    dw_actor_folder *folder;
    const char *from;
    dw_actor_item *items; /* [count] */
    size_t max;
    size_t count;
    dw_snapshot_chain *chain; /* of the one at hand */
    int actors;               /* that folder's descriptor */
} page;

/* The item's snapshots, which `query` is at, up to those of another actor. */
static dw_status read_item(page *p, dw_actor_item *item, dw_query *query, bool *more, dw_error *err)
{
    dw_snapshot_chain *chain = p->chain;
    const uint64_t actor = dw__id_number(item->row.id);
    dw_status status = DW_OK;
    chain->count = 0;
    chain->sequence = item->row.sequence;
    while (status == DW_OK && *more && dw_query_get_u64(query, 5) <= actor) {
        if (dw_query_get_u64(query, 5) == actor && chain->count < DW_SNAPSHOT_CHAIN_MAX) {
            take_snapshot(query, &chain->rows[chain->count++]);
        }
        status = dw_query_next(query, more, err);
    }
    if (status != DW_OK) {
        return status;
    }
    item->status = settle(p->folder, item->row.id, p->actors, chain, &item->problem);
    item->snapshot_count = chain->count;
    item->row.done = item->status == DW_OK ? chain->done : item->row.done;
    for (size_t i = 0; i < chain->count; i++) {
        item->bytes += chain->rows[i].bytes;
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
    p.chain = dw_alloc(1, sizeof *p.chain);
    if (p.chain == NULL) {
        dw_os_close(p.actors);
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    dw_status status = dw_journal_read(folder->journal, read_page, &p, err);
    *count = status == DW_OK ? p.count : 0;
    dw_os_close(p.actors);
    dw_free(p.chain);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------ */

static dw_status read_size(const char *path, uint64_t *bytes, dw_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return dw__folder_fail("reading", path, err);
    }
    *bytes = (uint64_t)info.st_size;
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
    dw_status status = read_size(path, &row->bytes, err);
    if (status == DW_OK) {
        dw_actor_folder_add_bytes(folder, row->bytes);
    }
    return status;
}

dw_status dw_actor_folder_add_snapshot(dw_actor_folder *folder, dw_snapshot_chain *chain,
                                       dw_snapshot_row *row, const char *path, dw_error *err)
{
    dw_status status = read_size(path, &row->bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (row->full) {
        chain->count = 0;
    }
    DW_ASSERT(chain->count < DW_SNAPSHOT_CHAIN_MAX);
    size_t at = chain->count++;
    chain->rows[at] = *row;
    (void)snprintf(chain->paths[at], sizeof chain->paths[at], "%s", path);
    chain->list[at] = chain->paths[at];
    chain->sequence = row->sequence;
    chain->done = row->done;
    chain->pending = row->pending;
    chain->incomplete = false;
    dw_actor_folder_add_bytes(folder, row->bytes);
    return DW_OK;
}

dw_status dw__folder_link_chain(const char *folder, const dw_snapshot_chain *chain,
                                dw_snapshot_row *rows, dw_error *err)
{
    for (size_t i = 0; i < chain->count; i++) {
        char name[DW__SNAPSHOT_NAME_BYTES];
        char path[DW_FOLDER_PATH_MAX];
        rows[i] =
            (dw_snapshot_row){.sequence = i + 1, .full = i == 0, .bytes = chain->rows[i].bytes};
        dw__snapshot_file_name(name, &rows[i]);
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
    return dw_query_run(query, err);
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
