#include "store/actor_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

/* ---- rows -------------------------------------------------------------------------------- */

uint64_t dw__id_number(const char *id)
{
    return strtoull(id, NULL, 16);
}

void dw__id_write(char id[DW_ACTOR_ID_CHARS + 1], uint64_t number)
{
    dw_actor_id_write(id, number);
}

void dw__bind_id(dw_query *query, const char *id)
{
    if (id[0] != '\0') {
        dw_query_u64(query, dw__id_number(id));
    } else {
        dw_query_null(query);
    }
}

void dw__get_id(dw_query *query, int column, char id[DW_ACTOR_ID_CHARS + 1])
{
    memset(id, 0, DW_ACTOR_ID_CHARS + 1);
    if (!dw_query_is_null(query, column)) {
        dw__id_write(id, dw_query_get_u64(query, column));
    }
}

dw_status dw__fail_no_actor(const char *id, dw_error *err)
{
    return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.40s'", id);
}

static void take_traits(dw_query *query, dw_actor_traits *traits)
{
    (void)snprintf(traits->tenant, sizeof traits->tenant, "%s", dw_query_get_text(query, 12));
    traits->capabilities = (uint32_t)dw_query_get_i64(query, 13);
    traits->priority = (int32_t)dw_query_get_i64(query, 14);
    traits->supervision = (int32_t)dw_query_get_i64(query, 15);
    traits->failures_max = (uint32_t)dw_query_get_i64(query, 16);
    traits->pinned = dw_query_get_i64(query, 17) != 0;
    (void)snprintf(traits->policy, sizeof traits->policy, "%s", dw_query_get_text(query, 18));
}

void dw__bind_traits(dw_query *query, const dw_actor_traits *traits)
{
    static const dw_actor_traits usual = {.capabilities = UINT32_MAX};
    const dw_actor_traits *own = traits != NULL ? traits : &usual;
    dw_query_text(query, own->tenant);
    dw_query_i64(query, own->capabilities);
    dw_query_i64(query, own->priority);
    dw_query_i64(query, own->supervision);
    dw_query_i64(query, own->failures_max);
    dw_query_i64(query, own->pinned);
    dw_query_text(query, own->policy);
}

void dw__bind_counts(dw_query *query, const dw_actor_counts *counts,
                     unsigned char bytes[DW__COUNTERS_BYTES])
{
    if (counts == NULL) {
        dw_query_null(query);
        dw_query_null(query);
        dw_query_null(query);
        return;
    }
    DW_ASSERT(counts->count <= DW_ACTOR_COUNTERS_MAX);
    for (size_t i = 0; i < counts->count * 8; i++) {
        bytes[i] = (unsigned char)(counts->counters[i / 8] >> i % 8 * 8);
    }
    dw_query_i64(query, counts->failures);
    dw_query_blob(query, bytes, counts->count * 8);
    if (counts->renews) {
        dw_query_u64(query, counts->redo);
    } else {
        dw_query_null(query);
    }
}

static void take_counts(dw_query *query, dw_actor_counts *counts)
{
    size_t bytes = 0;
    const unsigned char *blob = dw_query_get_blob(query, 21, &bytes);
    *counts = (dw_actor_counts){.failures = (uint32_t)dw_query_get_i64(query, 20),
                                .renews = !dw_query_is_null(query, 22)};
    counts->redo = counts->renews ? dw_query_get_u64(query, 22) : 0;
    while (counts->count < bytes / 8 && counts->count < DW_ACTOR_COUNTERS_MAX) {
        uint64_t *counter = &counts->counters[counts->count];
        for (size_t i = 0; i < 8; i++) {
            *counter |= (uint64_t)blob[counts->count * 8 + i] << i * 8;
        }
        counts->count++;
    }
}

dw_status dw__counts_set(dw_journal_tx *tx, const char *id, const dw_actor_counts *counts,
                         dw_error *err)
{
    unsigned char bytes[DW__COUNTERS_BYTES];
    if (counts == NULL) {
        return DW_OK;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_COUNTS);
    dw_query_u64(query, dw__id_number(id));
    dw__bind_counts(query, counts, bytes);
    return dw_query_run(query, err);
}

void dw__row_take(dw_query *query, dw_actor_row *row)
{
    dw__get_id(query, 0, row->id);
    dw__get_id(query, 1, row->parent);
    row->depth = (uint32_t)dw_query_get_i64(query, 2);
    dw__get_id(query, 3, row->head);
    row->sequence = dw_query_get_u64(query, 5);
    row->done = dw_query_get_u64(query, 6);
    row->numbered = dw_query_get_u64(query, 7);
    row->waiting = (uint64_t)dw_query_get_i64(query, 8);
    row->set_aside = (uint64_t)dw_query_get_i64(query, 9);
    row->inside = (uint64_t)dw_query_get_i64(query, 10);
    row->timer_ms =
        dw_query_is_null(query, 11) ? UINT64_MAX : (uint64_t)dw_query_get_i64(query, 11);
    take_traits(query, &row->traits);
    (void)snprintf(row->name, sizeof row->name, "%s", dw_query_get_text(query, 19));
    take_counts(query, &row->counts);
}

dw_status dw__row_read(dw_journal_tx *tx, const char *id, dw_actor_row *row, uint64_t *numbered,
                       dw_error *err)
{
    bool found = false;
    if (!dw_actor_id_good(id)) {
        return dw__fail_no_actor(id, err);
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_ACTOR);
    dw_query_u64(query, dw__id_number(id));
    dw_status status = dw_query_next(query, &found, err);
    if (status != DW_OK) {
        return status;
    }
    if (!found) {
        return dw__fail_no_actor(id, err);
    }
    dw__row_take(query, row);
    if (numbered != NULL) {
        *numbered = dw_query_get_u64(query, 7);
    }
    return DW_OK;
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

static dw_status open_journal(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_journal_options options = {
        .path = path, .schema = &dw_folder_schema, .read_only = folder->read_only};
    dw__folder_join(folder, path, DW_FOLDER_JOURNAL, NULL, NULL);
    return dw_journal_open(&folder->journal, &options, err);
}

static dw_status open_to_look(dw_actor_folder *folder, dw_error *err)
{
    dw_status status = take_shared_lock(folder, err);
    if (status != DW_OK) {
        return status;
    }
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, path, DW_FOLDER_JOURNAL, NULL, NULL);
    if (access(path, F_OK) == 0) {
        status = open_journal(folder, err);
    }
    if (status == DW_OK) {
        status = dw__folder_check_taken_over(folder, err);
    }
    return status == DW_OK ? dw__folder_take_marks(folder, err) : status;
}

static dw_status clean_temporary(void *user, const char *name, dw_error *err)
{
    const dw_actor_folder *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    (void)err;
    if (strncmp(name, DW_FOLDER_TMP, sizeof DW_FOLDER_TMP - 1) == 0) {
        dw__folder_join(folder, path, name, NULL, NULL);
        (void)unlink(path);
    }
    return DW_OK;
}

static dw_status open_to_work(dw_actor_folder *folder, dw_error *err)
{
    const char *const parts[] = {DW__FOLDER_ACTORS, DW__FOLDER_MODULES};
    dw_status status = dw__folder_make_all(folder->path, err);
    for (size_t i = 0; i < 2 && status == DW_OK; i++) {
        char part[DW_FOLDER_PATH_MAX];
        dw__folder_join(folder, part, parts[i], NULL, NULL);
        status = dw__folder_make(part, err);
    }
    if (status == DW_OK) {
        status = take_lock(folder, err);
    }
    if (status == DW_OK) {
        status = open_journal(folder, err);
    }
    if (status == DW_OK) {
        status = dw__folder_take_over(folder, err);
    }
    if (status == DW_OK) {
        status = dw__folder_take_marks(folder, err);
    }
    if (status == DW_OK) {
        status = dw__folder_sweep_noted(folder, err);
        dw__folder_sweep_calls(folder);
    }
    return status == DW_OK ? dw__folder_each(folder->path, clean_temporary, folder, err) : status;
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
    (void)pthread_mutex_init(&folder->marking, NULL);
    (void)pthread_mutex_init(&folder->counting, NULL);
    (void)pthread_mutex_init(&folder->measuring, NULL);
    (void)pthread_mutex_init(&folder->making, NULL);
    folder->read_only = (flags & DW_FOLDER_READ_ONLY) != 0;
    folder->accept_older = (flags & DW_FOLDER_ACCEPT_OLDER) != 0;
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    dw_status status = folder->read_only ? open_to_look(folder, err) : open_to_work(folder, err);
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
        if (folder->journal != NULL) {
            dw__folder_finish_withdrawals(folder);
        }
        dw_journal_close(folder->journal);
        (void)pthread_mutex_destroy(&folder->marking);
        (void)pthread_mutex_destroy(&folder->counting);
        (void)pthread_mutex_destroy(&folder->measuring);
        (void)pthread_mutex_destroy(&folder->making);
        dw_free(folder->wanted);
        dw_os_close(folder->lock);
        dw_free(folder);
    }
}

dw_journal *dw_actor_folder_journal(dw_actor_folder *folder)
{
    return folder->journal;
}

void dw_actor_folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX])
{
    dw__folder_part_path(folder, path);
}

/* ---- listing ----------------------------------------------------------------------------- */

typedef struct name_list {
    dw_actor_name *names; /* [count] */
    size_t count;
    size_t capacity;
    const char *id; /* of a tree */
} name_list;

static dw_status read_names(void *user, dw_journal_tx *tx, dw_error *err)
{
    name_list *list = user;
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_TREE);
    dw_query_u64(query, dw__id_number(list->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(list->names, list->capacity, list->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
        }
        dw__id_write(list->names[list->count++].id, dw_query_get_u64(query, 0));
    }
    return status;
}

dw_status dw_actor_folder_list_tree(dw_actor_folder *folder, const char *id, dw_actor_name **names,
                                    size_t *count, dw_error *err)
{
    name_list list = {.id = id};
    *names = NULL;
    *count = 0;
    dw_status status = dw_journal_read(folder->journal, read_names, &list, err);
    if (status != DW_OK) {
        dw_free(list.names);
        return status;
    }
    *names = list.names;
    *count = list.count;
    return DW_OK;
}

typedef struct range {
    uint64_t first;
    uint64_t last;
    uint64_t found; /* the first in it */
    size_t count;
} range;

static dw_status read_range(void *user, dw_journal_tx *tx, dw_error *err)
{
    range *r = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_ACTOR_RANGE);
    dw_query_u64(query, r->first);
    dw_query_u64(query, r->last);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && found) {
        r->found = dw_query_get_u64(query, 0);
        r->count = (size_t)dw_query_get_i64(query, 1);
    }
    return status;
}

dw_status dw_actor_folder_find(dw_actor_folder *folder, const char *start, dw_actor_name *name,
                               dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    size_t length = strlen(start);
    range r = {.count = 0};
    if (length == 0 || length > DW_ACTOR_ID_CHARS || strspn(start, "0123456789abcdef") != length) {
        return dw_fail(err, DW_E_ARG, "'%.40s' is no actor's id, nor the start of one", start);
    }
    (void)snprintf(id, sizeof id, "%s%s", start, &"0000000000000000"[length]);
    r.first = dw__id_number(id);
    (void)snprintf(id, sizeof id, "%s%s", start, &"ffffffffffffffff"[length]);
    r.last = dw__id_number(id);
    dw_status status = dw_journal_read(folder->journal, read_range, &r, err);
    if (status != DW_OK) {
        return status;
    }
    if (r.count == 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%s' in %.150s", start, folder->path);
    }
    if (r.count > 1) {
        return dw_fail(err, DW_E_ARG, "'%s' is the start of %zu actors' ids", start, r.count);
    }
    dw__id_write(name->id, r.found);
    return DW_OK;
}

typedef struct row_search {
    dw_actor_folder *folder;
    const char *id;
    dw_actor_row *row;
} row_search;

/* A message that is withdrawn does not wait. */
static dw_status leave_out_withdrawn(const row_search *search, dw_journal_tx *tx, dw_error *err)
{
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_WAITING);
    dw_query_u64(query, dw__id_number(search->id));
    dw_query_i64(query, -1);
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        search->row->waiting -=
            dw__folder_is_withdrawn(search->folder, search->id, dw_query_get_u64(query, 0));
    }
    return status;
}

static dw_status read_row(void *user, dw_journal_tx *tx, dw_error *err)
{
    const row_search *search = user;
    dw_status status = dw__row_read(tx, search->id, search->row, NULL, err);
    return status == DW_OK && search->folder->withdrawn_count > 0
               ? leave_out_withdrawn(search, tx, err)
               : status;
}

dw_status dw_actor_folder_row(dw_actor_folder *folder, const char *id, dw_actor_row *row,
                              dw_error *err)
{
    row_search search = {.folder = folder, .id = id, .row = row};
    return dw_journal_read(folder->journal, read_row, &search, err);
}

bool dw_actor_folder_has(dw_actor_folder *folder, const char *id)
{
    dw_actor_row row;
    return dw_actor_folder_row(folder, id, &row, NULL) == DW_OK;
}

typedef struct traits_change {
    const char *id;
    const dw_actor_traits *traits;
} traits_change;

static dw_status set_traits(void *user, dw_journal_tx *tx, dw_error *err)
{
    const traits_change *change = user;
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_TRAITS);
    dw_query_u64(query, dw__id_number(change->id));
    dw__bind_traits(query, change->traits);
    dw_status status = dw_query_run(query, err);
    return status == DW_OK && dw_journal_changes(tx) == 0 ? dw__fail_no_actor(change->id, err)
                                                          : status;
}

dw_status dw_actor_folder_set_traits(dw_actor_folder *folder, const char *id,
                                     const dw_actor_traits *traits, dw_error *err)
{
    traits_change change = {.id = id, .traits = traits};
    return dw_actor_id_good(id) ? dw_journal_write(folder->journal, set_traits, &change, false, err)
                                : dw__fail_no_actor(id, err);
}

typedef struct tenant_count {
    void (*take)(void *user, const char *tenant, uint64_t actors);
    void *user;
} tenant_count;

static dw_status read_tenants(void *user, dw_journal_tx *tx, dw_error *err)
{
    const tenant_count *to = user;
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_TENANTS);
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        to->take(to->user, dw_query_get_text(query, 0), (uint64_t)dw_query_get_i64(query, 1));
    }
    return status;
}

dw_status dw_actor_folder_count_tenants(dw_actor_folder *folder,
                                        void (*take)(void *user, const char *tenant,
                                                     uint64_t actors),
                                        void *user, dw_error *err)
{
    tenant_count to = {.take = take, .user = user};
    return dw_journal_read(folder->journal, read_tenants, &to, err);
}

/* ---- who has something to do -------------------------------------------------------------- */

typedef struct due_list {
    uint32_t statement;
    uint64_t from;        /* an id */
    dw_actor_name *names; /* [count] */
    size_t max;
    size_t count;
} due_list;

static dw_status read_due(void *user, dw_journal_tx *tx, dw_error *err)
{
    due_list *list = user;
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, list->statement);
    dw_query_u64(query, list->from);
    dw_query_i64(query, (int64_t)list->max);
    list->count = 0;
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        dw__id_write(list->names[list->count++].id, dw_query_get_u64(query, 0));
    }
    return status;
}

static dw_status list_due(dw_actor_folder *folder, due_list *list, size_t *count, dw_error *err)
{
    dw_status status = dw_journal_read(folder->journal, read_due, list, err);
    *count = status == DW_OK ? list->count : 0;
    return status;
}

dw_status dw_actor_folder_list_waiting(dw_actor_folder *folder, const char *from,
                                       dw_actor_name *names, size_t max, size_t *count,
                                       dw_error *err)
{
    due_list list = {.statement = DW__SQL_ACTORS_WAITING,
                     .from = dw__id_number(from),
                     .names = names,
                     .max = max};
    return list_due(folder, &list, count, err);
}

typedef struct timed_list {
    dw_timed_cursor cursor; /* it begins behind this */
    dw_timed_cursor last;
    dw_actor_name *names; /* [count] */
    size_t max;
    size_t count;
} timed_list;

static dw_status read_timed(void *user, dw_journal_tx *tx, dw_error *err)
{
    timed_list *list = user;
    const dw_timed_cursor *from = &list->cursor;
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_ACTORS_TIMED);
    dw_query_i64(query, from->now_ms < INT64_MAX ? (int64_t)from->now_ms : INT64_MAX);
    dw_query_i64(query, from->begun ? (int64_t)from->timer_ms : -1);
    dw_query_u64(query, from->id);
    dw_query_i64(query, (int64_t)list->max);
    list->count = 0;
    list->last = *from;
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        list->last.begun = true;
        list->last.id = dw_query_get_u64(query, 0);
        list->last.timer_ms = (uint64_t)dw_query_get_i64(query, 1);
        dw__id_write(list->names[list->count++].id, list->last.id);
    }
    return status;
}

dw_status dw_actor_folder_list_timed(dw_actor_folder *folder, dw_timed_cursor *cursor,
                                     dw_actor_name *names, size_t max, size_t *count, dw_error *err)
{
    timed_list list = {.cursor = *cursor, .names = names, .max = max};
    dw_status status = dw_journal_read(folder->journal, read_timed, &list, err);
    *count = status == DW_OK ? list.count : 0;
    *cursor = status == DW_OK ? list.last : *cursor;
    return status;
}

dw_status dw_actor_folder_list_from(dw_actor_folder *folder, const char *from, dw_actor_name *names,
                                    size_t max, size_t *count, dw_error *err)
{
    due_list list = {
        .statement = DW__SQL_ACTORS_FROM, .from = dw__id_number(from), .names = names, .max = max};
    return list_due(folder, &list, count, err);
}

static dw_status read_next_timer(void *user, dw_journal_tx *tx, dw_error *err)
{
    uint64_t *ms = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_NEXT_TIMER);
    dw_query_i64(query, *ms < INT64_MAX ? (int64_t)*ms : INT64_MAX);
    dw_status status = dw_query_next(query, &found, err);
    *ms = found ? (uint64_t)dw_query_get_i64(query, 0) : UINT64_MAX;
    return status;
}

dw_status dw_actor_folder_next_timer(dw_actor_folder *folder, uint64_t after_ms, uint64_t *timer_ms,
                                     dw_error *err)
{
    *timer_ms = after_ms;
    return dw_journal_read(folder->journal, read_next_timer, timer_ms, err);
}
