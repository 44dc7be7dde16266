#include "prefixes/prefix_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/os.h"
#include "journal/journal.h"
#include "memory/file_guard.h"

#define PATH_BYTES 4096
#define HEAD_UNIT ((size_t)65536) /* a whole number of pages on every platform */
#define MAGIC "DWPREFIX"
#define USED_AT_ONCE 256

typedef enum statement {
    ADD,
    WRITTEN,
    EACH,
    USED,
    OLDEST,
    REMOVE,
    COUNT,
    UNFINISHED,
    UPON,
    CHAIN,
} statement;

/* Numbers, not texts, are bound in every place but `model`, `scope` and `hash`. `scope` NULL:
 * public. `state`: 0 while its file is written, then 1. */
static const char *const upgrades[] = {
    "CREATE TABLE prefix(id INTEGER PRIMARY KEY, base INTEGER NOT NULL, model TEXT NOT NULL, "
    "scope TEXT, kv_type INTEGER NOT NULL, capacity INTEGER NOT NULL, start INTEGER NOT NULL, "
    "length INTEGER NOT NULL, bytes INTEGER NOT NULL, hash TEXT NOT NULL, "
    "pinned INTEGER NOT NULL, used INTEGER NOT NULL, state INTEGER NOT NULL) STRICT;"
    "CREATE INDEX prefix_of_model ON prefix(model, length);"
    "CREATE INDEX prefix_by_use ON prefix(pinned, used);"
    "CREATE INDEX prefix_upon ON prefix(base)"};
#define ROW                                                                                        \
    "SELECT id, base, scope, kv_type, capacity, start, length, bytes, hash, pinned FROM prefix "
static const char *const statements[] = {
    [ADD] = "INSERT INTO prefix VALUES(?,?,?,?,?,?,?,?,?,'',?,?,0)",
    [WRITTEN] = "UPDATE prefix SET hash=?, state=1 WHERE id=?",
    [EACH] = ROW "WHERE model=? AND state=1 ORDER BY id",
    [USED] = "UPDATE prefix SET used=?, pinned=MAX(pinned, ?) WHERE id=?",
    [OLDEST] = "SELECT id, bytes FROM prefix AS p WHERE pinned=0 AND state=1 AND NOT EXISTS "
               "(SELECT 1 FROM prefix WHERE base=p.id) ORDER BY used LIMIT 1",
    [REMOVE] = "DELETE FROM prefix WHERE id=?",
    [COUNT] = "SELECT COUNT(*), COALESCE(SUM(bytes), 0), COALESCE(MAX(id), 0) FROM prefix",
    [UNFINISHED] = "SELECT id FROM prefix WHERE state=0 LIMIT 1",
    [UPON] = "WITH RECURSIVE gone(id) AS (SELECT ? UNION SELECT prefix.id FROM prefix "
             "JOIN gone ON prefix.base=gone.id) SELECT id FROM gone",
    [CHAIN] = "WITH RECURSIVE up(id, base) AS (SELECT id, base FROM prefix WHERE id=? UNION "
              "SELECT prefix.id, prefix.base FROM prefix JOIN up ON prefix.id=up.base) " ROW
              "WHERE id IN (SELECT id FROM up) ORDER BY id",
};
static const dw_journal_schema schema = {
    .what = "prefixes",
    .application_id = 0x44575052,
    .version = 1,
    .upgrades = upgrades,
    .statements = statements,
    .statement_count = sizeof statements / sizeof statements[0],
};

/* A row. */
typedef struct prefix_row {
    int64_t id;
    int64_t base; /* 0: none */
    char model[DW_FINGERPRINT_BYTES];
    char *scope; /* the row's; NULL: public */
    int64_t kv_type;
    int64_t capacity;
    int64_t start;
    int64_t length;
    int64_t bytes; /* of the file */
    char hash[DW_HASH128_TEXT];
    bool pinned;
} prefix_row;

typedef struct rows {
    prefix_row *list; /* [count] */
    size_t count;
    size_t capacity;
} rows;

struct dw_prefix_folder {
    pthread_mutex_t lock;
    char path[PATH_BYTES / 2];
    int lock_file; /* -1: none */
    dw_prefix_cache *cache;
    dw_journal *index;
    int64_t last_id;
    dw_prefix_folder_counts counts;
};

static void file_path(const dw_prefix_folder *folder, int64_t id, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/%016" PRIx64 ".kv", folder->path, (uint64_t)id);
}

/* Where records begin, of a file with so many tokens. */
static uint64_t head_bytes(uint64_t tokens)
{
    uint64_t bytes = sizeof MAGIC - 1 + tokens * sizeof(int32_t);
    return (bytes + HEAD_UNIT - 1) / HEAD_UNIT * HEAD_UNIT;
}

/* ---- the index ---------------------------------------------------------------------------- */

static dw_status count_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    dw_prefix_folder *folder = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, COUNT);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && found) {
        folder->counts.files = (uint64_t)dw_query_get_i64(query, 0);
        folder->counts.bytes = (uint64_t)dw_query_get_i64(query, 1);
        folder->last_id = dw_query_get_i64(query, 2);
    }
    return status;
}

typedef struct one_row {
    int64_t id;
    statement of;
    uint64_t bytes; /* OLDEST's */
    bool found;
} one_row;

static dw_status find_row(void *user, dw_journal_tx *tx, dw_error *err)
{
    one_row *row = user;
    dw_query *query = dw_journal_query(tx, row->of);
    dw_status status = dw_query_next(query, &row->found, err);
    if (status == DW_OK && row->found) {
        row->id = dw_query_get_i64(query, 0);
        row->bytes = row->of == OLDEST ? (uint64_t)dw_query_get_i64(query, 1) : 0;
    }
    return status;
}

static dw_status add_row(void *user, dw_journal_tx *tx, dw_error *err)
{
    const prefix_row *row = user;
    dw_query *query = dw_journal_query(tx, ADD);
    dw_query_i64(query, row->id);
    dw_query_i64(query, row->base);
    dw_query_text(query, row->model);
    dw_query_text(query, row->scope);
    dw_query_i64(query, row->kv_type);
    dw_query_i64(query, row->capacity);
    dw_query_i64(query, row->start);
    dw_query_i64(query, row->length);
    dw_query_i64(query, row->bytes);
    dw_query_i64(query, row->pinned ? 1 : 0);
    dw_query_i64(query, (int64_t)dw_os_wall_ms());
    return dw_query_run(query, err);
}

static dw_status note_written(void *user, dw_journal_tx *tx, dw_error *err)
{
    const prefix_row *row = user;
    dw_query *query = dw_journal_query(tx, WRITTEN);
    dw_query_text(query, row->hash);
    dw_query_i64(query, row->id);
    return dw_query_run(query, err);
}

static dw_status remove_row(void *user, dw_journal_tx *tx, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, REMOVE);
    dw_query_i64(query, *(const int64_t *)user);
    return dw_query_run(query, err);
}

typedef struct used_files {
    dw_prefix_use list[USED_AT_ONCE]; /* [count] */
    size_t count;
} used_files;

static dw_status note_used(void *user, dw_journal_tx *tx, dw_error *err)
{
    const used_files *used = user;
    int64_t now = (int64_t)dw_os_wall_ms();
    dw_status status = DW_OK;
    for (size_t i = used->count; i-- > 0 && status == DW_OK;) { /* the newest last */
        dw_query *query = dw_journal_query(tx, USED);
        dw_query_i64(query, now++);
        dw_query_i64(query, used->list[i].pinned ? 1 : 0);
        dw_query_i64(query, (int64_t)used->list[i].file);
        status = dw_query_run(query, err);
    }
    return status;
}

static dw_status take_row(rows *all, const char *model, dw_query *query, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(all->list, all->capacity, all->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an index of prefixes");
    }
    prefix_row *row = &all->list[all->count];
    *row = (prefix_row){.id = dw_query_get_i64(query, 0),
                        .base = dw_query_get_i64(query, 1),
                        .kv_type = dw_query_get_i64(query, 3),
                        .capacity = dw_query_get_i64(query, 4),
                        .start = dw_query_get_i64(query, 5),
                        .length = dw_query_get_i64(query, 6),
                        .bytes = dw_query_get_i64(query, 7),
                        .pinned = dw_query_get_i64(query, 9) != 0};
    (void)snprintf(row->model, sizeof row->model, "%s", model);
    (void)snprintf(row->hash, sizeof row->hash, "%s", dw_query_get_text(query, 8));
    if (!dw_query_is_null(query, 2) &&
        (row->scope = dw_strdup(dw_query_get_text(query, 2))) == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an index of prefixes");
    }
    all->count++;
    return DW_OK;
}

typedef struct rows_of {
    const char *model;
    int64_t id; /* 0: all of the model; else this one and what it builds upon */
    rows *all;
} rows_of;

static void release_rows(rows *all)
{
    for (size_t i = 0; i < all->count; i++) {
        dw_free(all->list[i].scope);
    }
    dw_free(all->list);
    *all = (rows){.count = 0};
}

static dw_status read_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    const rows_of *of = user;
    bool found = true;
    release_rows(of->all); /* it is called again after a failure */
    dw_query *query = dw_journal_query(tx, of->id != 0 ? CHAIN : EACH);
    if (of->id != 0) {
        dw_query_i64(query, of->id);
    } else {
        dw_query_text(query, of->model);
    }
    dw_status status = dw_query_next(query, &found, err);
    while (status == DW_OK && found) {
        status = take_row(of->all, of->model, query, err);
        if (status == DW_OK) {
            status = dw_query_next(query, &found, err);
        }
    }
    return status;
}

/* ---- removing ----------------------------------------------------------------------------- */

/* The file first: a row without one is found to be so. */
static dw_status remove_file(dw_prefix_folder *folder, int64_t id, dw_error *err)
{
    char path[PATH_BYTES];
    file_path(folder, id, path);
    dw_prefix_cache_drop_file(folder->cache, (uint64_t)id);
    (void)unlink(path);
    folder->counts.dropped++;
    return dw_journal_write(folder->index, remove_row, &id, true, err);
}

typedef struct id_list {
    int64_t from;
    int64_t *ids; /* [count] */
    size_t count;
    size_t capacity;
} id_list;

static dw_status read_upon(void *user, dw_journal_tx *tx, dw_error *err)
{
    id_list *list = user;
    bool found = true;
    list->count = 0;
    dw_query *query = dw_journal_query(tx, UPON);
    dw_query_i64(query, list->from);
    dw_status status = dw_query_next(query, &found, err);
    while (status == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(list->ids, list->capacity, list->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for an index of prefixes");
        }
        list->ids[list->count++] = dw_query_get_i64(query, 0);
        status = dw_query_next(query, &found, err);
    }
    return status;
}

/* With all that builds upon it, these first. */
static dw_status remove_all_upon(dw_prefix_folder *folder, int64_t id, dw_error *err)
{
    id_list list = {.from = id};
    dw_status status = dw_journal_read(folder->index, read_upon, &list, err);
    for (size_t i = list.count; i-- > 0 && status == DW_OK;) {
        status = remove_file(folder, list.ids[i], err);
    }
    dw_free(list.ids);
    return status == DW_OK ? dw_journal_read(folder->index, count_rows, folder, err) : status;
}

/* Until there is room for `bytes` more, or all is pinned or built upon. */
static dw_status make_room(dw_prefix_folder *folder, uint64_t bytes, bool *room, dw_error *err)
{
    *room = false;
    for (;;) {
        one_row oldest = {.of = OLDEST};
        dw_status status = dw_journal_read(folder->index, count_rows, folder, err);
        if (status != DW_OK) {
            return status;
        }
        if (bytes <= folder->counts.bytes_max &&
            folder->counts.bytes <= folder->counts.bytes_max - bytes) {
            *room = true;
            return DW_OK;
        }
        status = dw_journal_read(folder->index, find_row, &oldest, err);
        if (status == DW_OK && oldest.found) {
            status = remove_file(folder, oldest.id, err);
        }
        if (status != DW_OK || !oldest.found) {
            return status;
        }
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

typedef struct file_writer {
    int fd;
    uint64_t records_at;
    dw_hash128 *hash;
} file_writer;

static dw_status write_records(void *user, uint64_t offset, const void *from, size_t bytes,
                               dw_error *err)
{
    const file_writer *writer = user;
    return dw_os_write_at(writer->fd, writer->records_at + offset, from, bytes, err);
}

static dw_status hash_records(void *user, const void *from, size_t bytes, dw_error *err)
{
    (void)err;
    dw_hash128_add(((file_writer *)user)->hash, from, bytes);
    return DW_OK;
}

static dw_status write_content(file_writer *writer, const dw_prefix_copy *entry, uint64_t start,
                               dw_error *err)
{
    size_t record = dw_kv_log_record_bytes(entry->log);
    size_t head = (size_t)head_bytes(entry->length);
    unsigned char *text = dw_alloc(1, head);
    if (text == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to save a prefix");
    }
    memcpy(text, MAGIC, sizeof MAGIC - 1);
    memcpy(text + sizeof MAGIC - 1, entry->tokens, entry->length * sizeof *entry->tokens);
    dw_hash128_add(writer->hash, text, head);
    writer->records_at = head;
    dw_status status = dw_os_write_at(writer->fd, 0, text, head, err);
    dw_free(text);
    const dw_sink sink = {.in_order = hash_records, .anywhere = write_records, .user = writer};
    return status == DW_OK ? dw_kv_log_stream(entry->log, start * record,
                                              (size_t)(entry->length - start) * record, &sink, err)
                           : status;
}

static dw_status write_file(const dw_prefix_folder *folder, prefix_row *row,
                            const dw_prefix_copy *entry, dw_error *err)
{
    char path[PATH_BYTES];
    uint8_t digest[DW_HASH128_BYTES];
    file_path(folder, row->id, path);
    file_writer writer = {.fd = dw_os_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600),
                          .hash = dw_hash128_create()};
    dw_status status = DW_OK;
    if (writer.fd < 0) {
        status = dw_fail(err, DW_E_IO, "writing %s: %s", path, strerror(errno));
    } else if (writer.hash == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory to save a prefix");
    }
    if (status == DW_OK) {
        status = write_content(&writer, entry, (uint64_t)row->start, err);
    }
    int failure = status == DW_OK ? dw_os_sync(writer.fd) : 0;
    if (failure != 0) {
        status = dw_fail(err, DW_E_IO, "writing %s: %s", path, strerror(failure));
    }
    if (status == DW_OK) {
        dw_hash128_finish(writer.hash, digest);
        dw_hex(row->hash, digest, sizeof digest);
    }
    dw_hash128_destroy(writer.hash);
    if (writer.fd >= 0) {
        dw_os_close(writer.fd);
    }
    return status;
}

/* ---- reading ------------------------------------------------------------------------------ */

static const prefix_row *find_base(const rows *all, const prefix_row *row)
{
    for (size_t i = 0; i < all->count && row->base != 0; i++) {
        if (all->list[i].id == row->base) {
            return &all->list[i];
        }
    }
    return NULL;
}

/* The files that a prefix is made of. */
typedef struct chain {
    dw_kv_segment *segments; /* [count], the first records' first */
    size_t count;
} chain;

static void close_chain(chain *c)
{
    for (size_t i = 0; i < c->count; i++) {
        dw_os_close(c->segments[i].fd);
    }
    dw_free(c->segments);
    *c = (chain){.count = 0};
}

/* Whether the row can be: what it says of itself, and of its base. */
static bool is_sound(const prefix_row *row, const prefix_row *base, size_t record)
{
    return row->length > 0 && row->length <= INT32_MAX && row->length % DW_PREFIX_BLOCK == 0 &&
           row->start >= 0 && row->start < row->length && row->start % DW_PREFIX_BLOCK == 0 &&
           row->capacity >= row->length && row->capacity < INT32_MAX &&
           (row->base == 0 ? row->start == 0
                           : base != NULL && base->id < row->id && base->start < row->start &&
                                 base->length >= row->start) &&
           (uint64_t)row->bytes ==
               head_bytes((uint64_t)row->length) + (uint64_t)(row->length - row->start) * record;
}

/* The row, what it builds upon, and so on: how many. 0: one of them cannot be. */
static size_t chain_depth(const rows *all, const prefix_row *row, size_t record)
{
    size_t depth = 0;
    while (row != NULL) {
        const prefix_row *base = find_base(all, row);
        if (!is_sound(row, base, record)) { /* so a base begins before it, and this ends */
            return 0;
        }
        depth++;
        row = base;
    }
    return depth;
}

static dw_status open_chain(const dw_prefix_folder *folder, const rows *all, const prefix_row *row,
                            size_t record, chain *c, dw_error *err)
{
    size_t depth = chain_depth(all, row, record);
    if (depth == 0) {
        return dw_fail(err, DW_E_FORMAT, "the index says what cannot be");
    }
    c->segments = dw_alloc(depth, sizeof *c->segments);
    if (c->segments == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to load a prefix");
    }
    c->count = depth;
    int64_t end = row->length; /* of what is wanted of a file: its own end may be elsewhere */
    for (size_t i = depth; i-- > 0; row = find_base(all, row)) {
        char path[PATH_BYTES];
        c->segments[i] = (dw_kv_segment){
            .fd = -1,
            .file_offset = head_bytes((uint64_t)row->length),
            .log_offset = (uint64_t)row->start * record,
            .bytes = (uint64_t)(end - row->start) * record,
        };
        end = row->start;
        file_path(folder, row->id, path);
        c->segments[i].fd = dw_os_open(path, O_RDONLY, 0);
    }
    for (size_t i = 0; i < depth; i++) {
        if (c->segments[i].fd < 0) {
            return dw_fail(err, DW_E_NOT_FOUND, "a file of a prefix is gone");
        }
    }
    return DW_OK;
}

/* The file as it was written; its tokens, the caller's to free. */
static dw_status check_file(const dw_prefix_folder *folder, const prefix_row *row,
                            uint32_t vocab_count, int32_t **tokens, dw_error *err)
{
    char path[PATH_BYTES];
    char text[DW_HASH128_TEXT];
    void *bytes = NULL;
    size_t size = 0;
    int fd = -1;
    file_path(folder, row->id, path);
    *tokens = NULL;
    dw_status status = dw_os_map_file(path, &bytes, &size, &fd, err);
    if (status != DW_OK) {
        return status;
    }
    dw_file_guard *guard = dw_file_guard_add(bytes, size, fd); /* it may be cut meanwhile */
    bool good = size == (uint64_t)row->bytes;
    if (good) {
        dw_hash128_text(text, bytes, size);
        good = strcmp(text, row->hash) == 0 && memcmp(bytes, MAGIC, sizeof MAGIC - 1) == 0;
    }
    size_t count = (size_t)row->length;
    int32_t *copy = good ? dw_alloc(count, sizeof *copy) : NULL;
    if (copy != NULL) {
        memcpy(copy, (const unsigned char *)bytes + sizeof MAGIC - 1, count * sizeof *copy);
    }
    for (size_t i = 0; copy != NULL && i < count && good; i++) {
        good = copy[i] >= 0 && (uint32_t)copy[i] < vocab_count;
    }
    good = good && !dw_file_guard_is_broken(guard);
    dw_file_guard_remove(guard);
    dw_os_unmap(bytes, size);
    dw_os_close(fd);
    if (!good) {
        dw_free(copy);
        return dw_fail(err, DW_E_FORMAT, "%s is not as it was written", path);
    }
    *tokens = copy;
    return copy != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory to load a prefix");
}

/* Records of the row's chain as a log. In host memory what its base has is shared with that, so
 * that each file is open once; where the base is not there any more, `*log` stays NULL. */
static dw_status thaw(const dw_prefix_folder *folder, const rows *all, const prefix_row *row,
                      dw_model *model, dw_kv_log **log, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    size_t record = dw_model_kv_layout(shape, (dw_kv_type)row->kv_type).record_bytes;
    chain c = {.count = 0};
    dw_kv_log *base = NULL;
    dw_status status = open_chain(folder, all, row, record, &c, err);
    if (status == DW_OK && row->base != 0) {
        status = dw_prefix_cache_fork_file(folder->cache, (uint64_t)row->base, &base, err);
    }
    if (status == DW_OK) {
        const dw_kv_log_options options = {.record_bytes = record,
                                           .capacity_tokens = (uint32_t)row->capacity};
        const bool shares = base != NULL && dw_kv_log_record_bytes(base) == record;
        const dw_kv_frozen frozen = {.segments = c.segments,
                                     .segment_count = c.count,
                                     .length = (uint32_t)row->length,
                                     .like = shares ? base : NULL,
                                     .like_bytes = shares ? (uint64_t)row->start * record : 0};
        status = dw_kv_log_thaw(log, dw_model_device(model), &options, &frozen, err);
    }
    close_chain(&c);
    if (status == DW_OK && row->base != 0 && base == NULL && dw_kv_log_in_host_memory(*log)) {
        dw_kv_log_destroy(*log);
        *log = NULL;
    }
    dw_kv_log_destroy(base);
    return status;
}

static dw_status load_row(dw_prefix_folder *folder, const rows *all, const prefix_row *row,
                          dw_model *model, dw_error *err)
{
    const dw_model_shape *shape = dw_model_shape_of(model);
    bool known_type = row->kv_type >= 0 && row->kv_type <= DW_KV_F32;
    size_t record =
        known_type ? dw_model_kv_layout(shape, (dw_kv_type)row->kv_type).record_bytes : 0;
    dw_kv_log *log = NULL;
    int32_t *tokens = NULL;
    if (record == 0 || !is_sound(row, find_base(all, row), record) ||
        row->capacity > shape->context_length) {
        return dw_fail(err, DW_E_FORMAT, "the index says what cannot be");
    }
    dw_status status = check_file(folder, row, shape->vocab_count, &tokens, err);
    if (status == DW_OK) {
        status = thaw(folder, all, row, model, &log, err);
    }
    if (status == DW_OK && log != NULL) {
        const dw_prefix_copy entry = {.kind = {.scope = row->scope,
                                               .model = model,
                                               .kv_type = (dw_kv_type)row->kv_type,
                                               .capacity = (uint32_t)row->capacity},
                                      .tokens = tokens,
                                      .length = (uint32_t)row->length,
                                      .pinned = row->pinned};
        status = dw_prefix_cache_put(folder->cache, &entry, (uint64_t)row->id, log, err);
    }
    dw_free(tokens);
    return status;
}

static bool is_damage(dw_status status)
{
    return status == DW_E_FORMAT || status == DW_E_NOT_FOUND;
}

/* Rows come as they were written: bases before what builds upon them. */
static dw_status load_all(dw_prefix_folder *folder, const rows *all, dw_model *model, dw_error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        const prefix_row *row = &all->list[i];
        dw_error why = {.message = ""};
        dw_status status = load_row(folder, all, row, model, &why);
        if (is_damage(status)) {
            dw_log(DW_LOG_WARN, "prefixes: %s: forgotten", why.message);
            status = remove_all_upon(folder, row->id, err);
        } else if (status == DW_OK) {
            folder->counts.loaded++;
        } else {
            status = dw_fail(err, status, "%s", why.message);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_prefix_folder_load(dw_prefix_folder *folder, dw_model *model, dw_error *err)
{
    char fingerprint[DW_FINGERPRINT_BYTES];
    rows all = {.count = 0};
    const rows_of of = {.model = fingerprint, .all = &all};
    if (dw_prefix_cache_is_loaded(folder->cache, model)) {
        return DW_OK;
    }
    dw_status status = dw_model_fingerprint(model, fingerprint, err);
    if (status != DW_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&folder->lock);
    if (!dw_prefix_cache_is_loaded(folder->cache, model)) {
        status = dw_journal_read(folder->index, read_rows, (void *)(uintptr_t)&of, err);
        if (status == DW_OK) {
            status = load_all(folder, &all, model, err);
        }
        if (status == DW_OK) {
            status = dw_prefix_cache_set_loaded(folder->cache, model, err);
        }
    }
    (void)pthread_mutex_unlock(&folder->lock);
    release_rows(&all);
    return status;
}

/* ---- saving ------------------------------------------------------------------------------- */

/* From the file, where that is to be mapped: the entry takes no memory then. */
static void give_back(dw_prefix_folder *folder, const dw_prefix_copy *entry, const prefix_row *row)
{
    rows chain_rows = {.count = 0};
    dw_kv_log *log = NULL;
    const rows_of of = {.model = row->model, .id = row->id, .all = &chain_rows};
    if (dw_kv_log_in_host_memory(entry->log) &&
        dw_journal_read(folder->index, read_rows, (void *)(uintptr_t)&of, NULL) == DW_OK) {
        (void)thaw(folder, &chain_rows, row, entry->kind.model, &log, NULL);
    }
    release_rows(&chain_rows);
    dw_prefix_cache_set_file(folder->cache, entry->number, (uint64_t)row->id, log);
}

/* The row's base is the file that has the records before row->start: where the one that was found
 * has only some of them itself, what that builds upon. */
static dw_status find_base_file(dw_prefix_folder *folder, prefix_row *row, dw_error *err)
{
    rows chain_rows = {.count = 0};
    const rows_of of = {.model = row->model, .id = row->base, .all = &chain_rows};
    if (row->base == 0) {
        return DW_OK;
    }
    dw_status status = dw_journal_read(folder->index, read_rows, (void *)(uintptr_t)&of, err);
    const prefix_row *base = NULL;
    for (size_t i = chain_rows.count; i-- > 0 && base == NULL;) { /* bases are before the others */
        base = chain_rows.list[i].start < row->start ? &chain_rows.list[i] : NULL;
    }
    row->base = base != NULL ? base->id : 0;
    row->start = base != NULL ? row->start : 0;
    release_rows(&chain_rows);
    return status;
}

static dw_status describe_entry(dw_prefix_folder *folder, const dw_prefix_copy *entry,
                                prefix_row *row, dw_error *err)
{
    *row = (prefix_row){.base = (int64_t)entry->base_file,
                        .scope = (char *)(uintptr_t)entry->kind.scope,
                        .kv_type = entry->kind.kv_type,
                        .capacity = entry->kind.capacity,
                        .start = entry->base_length,
                        .length = entry->length,
                        .pinned = entry->pinned};
    dw_status status = dw_model_fingerprint(entry->kind.model, row->model, err);
    if (status == DW_OK) {
        status = find_base_file(folder, row, err);
    }
    row->bytes = (int64_t)(head_bytes(entry->length) + (uint64_t)(row->length - row->start) *
                                                           dw_kv_log_record_bytes(entry->log));
    return status;
}

/* The entry's row, and room for its file. What it was to build upon may go for that. */
static dw_status prepare_row(dw_prefix_folder *folder, const dw_prefix_copy *entry, prefix_row *row,
                             bool *room, dw_error *err)
{
    int64_t bytes;
    dw_status status;
    do {
        status = describe_entry(folder, entry, row, err);
        bytes = row->bytes;
        if (status == DW_OK) {
            status = make_room(folder, (uint64_t)bytes, room, err);
        }
        if (status == DW_OK && *room) {
            status = describe_entry(folder, entry, row, err);
        }
    } while (status == DW_OK && *room && row->bytes != bytes);
    return status;
}

static dw_status save_entry(dw_prefix_folder *folder, const dw_prefix_copy *entry, dw_error *err)
{
    bool room = false;
    prefix_row row;
    dw_status status = prepare_row(folder, entry, &row, &room, err);
    if (status != DW_OK || !room) {
        return status;
    }
    row.id = folder->last_id + 1;
    status = dw_journal_write(folder->index, add_row, &row, false, err);
    if (status != DW_OK) {
        return status;
    }
    folder->last_id = row.id;
    status = write_file(folder, &row, entry, err);
    if (status == DW_OK) {
        status = dw_journal_write(folder->index, note_written, &row, true, err);
    }
    if (status != DW_OK) {
        (void)remove_file(folder, row.id, NULL);
        return status;
    }
    folder->counts.written_bytes += (uint64_t)row.bytes;
    give_back(folder, entry, &row);
    return DW_OK;
}

static dw_status save_used(dw_prefix_folder *folder, dw_error *err)
{
    used_files used = {.count = USED_AT_ONCE};
    dw_status status = DW_OK;
    while (status == DW_OK && used.count == USED_AT_ONCE) {
        used.count = dw_prefix_cache_take_used(folder->cache, used.list, USED_AT_ONCE);
        status =
            used.count > 0 ? dw_journal_write(folder->index, note_used, &used, true, err) : DW_OK;
    }
    return status;
}

/* Of those that wait, the first. */
static dw_status save_next(dw_prefix_folder *folder, bool *found, dw_error *err)
{
    dw_prefix_copy entry;
    dw_status status = dw_prefix_cache_copy_unsaved(folder->cache, &entry, found, err);
    if (status != DW_OK || !*found) {
        return status;
    }
    status = save_entry(folder, &entry, err);
    if (status != DW_OK) {
        dw_prefix_cache_set_unsaved(folder->cache, entry.number);
    }
    dw_prefix_copy_release(&entry);
    return status;
}

dw_status dw_prefix_folder_save(dw_prefix_folder *folder, dw_error *err)
{
    bool found = true;
    (void)pthread_mutex_lock(&folder->lock);
    dw_status status = save_used(folder, err);
    while (status == DW_OK && found) {
        status = save_next(folder, &found, err);
        (void)pthread_mutex_unlock(&folder->lock); /* who wants to load has his turn */
        (void)pthread_mutex_lock(&folder->lock);
    }
    if (status == DW_OK) {
        status = dw_journal_read(folder->index, count_rows, folder, err);
    }
    (void)pthread_mutex_unlock(&folder->lock);
    return status;
}

/* ---- life --------------------------------------------------------------------------------- */

static dw_status take_lock(dw_prefix_folder *folder, dw_error *err)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/lock", folder->path);
    folder->lock_file = dw_os_open(path, O_RDWR | O_CREAT, 0600);
    if (folder->lock_file < 0) {
        return dw_fail(err, DW_E_IO, "opening %.180s: %s", path, strerror(errno));
    }
    if (flock(folder->lock_file, LOCK_EX | LOCK_NB) == 0) {
        return DW_OK;
    }
    return errno == EWOULDBLOCK
               ? dw_fail(err, DW_E_BUSY,
                         "%.180s: another process or engine keeps its prefixes here", folder->path)
               : dw_fail(err, DW_E_IO, "locking %.180s: %s", path, strerror(errno));
}

/* Rows whose files a killed process has not finished. */
static dw_status remove_unfinished(dw_prefix_folder *folder, dw_error *err)
{
    one_row row = {.found = true};
    dw_status status = DW_OK;
    while (status == DW_OK && row.found) {
        row = (one_row){.of = UNFINISHED};
        status = dw_journal_read(folder->index, find_row, &row, err);
        if (status == DW_OK && row.found) {
            status = remove_all_upon(folder, row.id, err);
        }
    }
    return status;
}

dw_status dw_prefix_folder_open(dw_prefix_folder **out, const char *path, dw_prefix_cache *cache,
                                uint64_t bytes_max, dw_error *err)
{
    char index[PATH_BYTES];
    bool room = false;
    *out = NULL;
    if (strlen(path) >= sizeof((dw_prefix_folder *)NULL)->path) {
        return dw_fail(err, DW_E_LIMIT, "prefixes: a path of %zu bytes, limit %zu", strlen(path),
                       sizeof((dw_prefix_folder *)NULL)->path - 1);
    }
    dw_prefix_folder *folder = dw_alloc(1, sizeof *folder);
    if (folder == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a folder of prefixes");
    }
    DW_ASSERT(pthread_mutex_init(&folder->lock, NULL) == 0);
    (void)snprintf(folder->path, sizeof folder->path, "%s", path);
    (void)snprintf(index, sizeof index, "%s/index.db", path);
    folder->counts.bytes_max = bytes_max;
    folder->lock_file = -1;
    dw_status status = dw_prefix_cache_keep_files(cache, err);
    folder->cache = status == DW_OK ? cache : NULL;
    if (status == DW_OK) {
        status = dw_os_make_folder(path, err);
    }
    if (status == DW_OK) {
        status = take_lock(folder, err);
    }
    if (status == DW_OK) {
        status = dw_journal_open(&folder->index,
                                 &(dw_journal_options){.path = index, .schema = &schema}, err);
    }
    if (status == DW_OK) {
        status = remove_unfinished(folder, err);
    }
    if (status == DW_OK) {
        status = make_room(folder, 0, &room, err);
    }
    if (status != DW_OK) {
        dw_prefix_folder_close(folder);
        return status;
    }
    *out = folder;
    return DW_OK;
}

void dw_prefix_folder_close(dw_prefix_folder *folder)
{
    if (folder == NULL) {
        return;
    }
    if (folder->index != NULL) {
        (void)save_used(folder, NULL);
        dw_journal_close(folder->index);
    }
    if (folder->cache != NULL) {
        dw_prefix_cache_leave_files(folder->cache);
    }
    if (folder->lock_file >= 0) {
        dw_os_close(folder->lock_file);
    }
    (void)pthread_mutex_destroy(&folder->lock);
    dw_free(folder);
}

void dw_prefix_folder_count(dw_prefix_folder *folder, dw_prefix_folder_counts *counts)
{
    (void)pthread_mutex_lock(&folder->lock);
    *counts = folder->counts;
    (void)pthread_mutex_unlock(&folder->lock);
}
