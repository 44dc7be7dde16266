/* Opening a journal's file: its settings, its tables' version, and looking without changing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/os.h"
#include "journal/journal_internal.h"

#define PATH_BYTES 4096

/* ---- names --------------------------------------------------------------------------------- */

/* "file:PATH?OPTIONSvfs=VFS" with what a URI takes for itself escaped. */
static void make_uri(char *uri, size_t capacity, const char *path, const char *options,
                     const char *vfs)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    size_t length = (size_t)snprintf(uri, capacity, "file:");
    for (const char *next = path; *next != '\0'; next++) {
        length += (size_t)snprintf(uri + length, capacity - length,
                                   strchr(plain, *next) != NULL ? "%c" : "%%%02x",
                                   (unsigned)(unsigned char)*next);
    }
    (void)snprintf(uri + length, capacity - length, "?%svfs=%s", options, vfs);
}

/* ---- tables -------------------------------------------------------------------------------- */

static dw_status read_version(dw_journal_tx *tx, int64_t *version, dw_error *err)
{
    int64_t tables = 0;
    int64_t application = 0;
    dw_status status = dw__tx_read_number(tx, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (status == DW_OK) {
        status = dw__tx_read_number(tx, "PRAGMA application_id", &application, err);
    }
    if (status == DW_OK) {
        status = dw__tx_read_number(tx, "PRAGMA user_version", version, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (application != tx->schema->application_id && (tables > 0 || application != 0)) {
        return dw_fail(err, DW_E_FORMAT, "%s: its journal is another program's (%lld)",
                       tx->schema->what, (long long)application);
    }
    if (*version > (int64_t)tx->schema->version || *version < 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "%s: its journal is of version %lld, this program knows up to %u",
                       tx->schema->what, (long long)*version, tx->schema->version);
    }
    return DW_OK;
}

/* One transaction for all steps: a process that is killed leaves the version that was there. */
static dw_status upgrade(dw_journal_tx *tx, int64_t version, dw_error *err)
{
    char text[96];
    dw_status status = dw__tx_run_text(tx, "BEGIN IMMEDIATE", err);
    if (status == DW_OK && version == 0) {
        status = dw__tx_run_text(tx, DW__JOURNAL_OWN_TABLE, err);
    }
    for (int64_t i = version; i < (int64_t)tx->schema->version && status == DW_OK; i++) {
        status = dw__tx_run_text(tx, tx->schema->upgrades[i], err);
    }
    (void)snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %u",
                   (int)tx->schema->application_id, tx->schema->version);
    if (status == DW_OK) {
        status = dw__tx_run_text(tx, text, err);
    }
    return status == DW_OK ? dw__tx_run_text(tx, "COMMIT", err) : status;
}

/* The file, for its owner alone, and the index of its WAL: where SQLite could not make that, it
 * would wait for another process to do so. */
static dw_status make_files(const dw_journal_options *options, dw_error *err)
{
    static const char *const ends[] = {"", "-shm"};
    char path[PATH_BYTES + 8];
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", options->path, ends[i]);
        int fd = dw_os_open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0) {
            return dw_fail(err, DW_E_IO, "making %.150s: %s", path, strerror(errno));
        }
        dw_os_close(fd);
    }
    return DW_OK;
}

static dw_status settle_tables(dw_journal_tx *tx, dw_error *err)
{
    int64_t version = 0;
    dw_status status = read_version(tx, &version, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__tx_run_text(tx,
                             "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                             "PRAGMA fullfsync = 1; PRAGMA temp_store = MEMORY;"
                             "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF",
                             err);
    return status == DW_OK && version < (int64_t)tx->schema->version ? upgrade(tx, version, err)
                                                                     : status;
}

/* ---- looking only -------------------------------------------------------------------------- */

/* Nothing is locked, made or written. What a killed process left in the WAL belongs to the journal:
 * it is read through an index in this process's memory. */
static dw_status open_to_look(dw__files *files, const dw_journal_options *options, dw_error *err)
{
    dw_journal_tx *reader = &files->reader;
    char uri[DW__MARKS_PATH_BYTES * 3];
    char wal[DW__MARKS_PATH_BYTES];
    struct stat info;
    int64_t version = 0;
    if (stat(options->path, &info) != 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "%.150s: there is no journal", options->path);
    }
    dw_status status = dw__marks_read(&files->marks, options->path, err);
    if (status == DW_OK) {
        status =
            dw__look_begin(&files->look, dw__marks_wal_bytes(&files->marks, options->path), err);
    }
    if (status != DW_OK) {
        return status;
    }
    (void)snprintf(wal, sizeof wal, "%s-wal", options->path);
    bool any_wal = stat(wal, &info) == 0 && info.st_size > 0;
    make_uri(uri, sizeof uri, options->path, any_wal ? "" : "immutable=1&", files->look.name);
    status = dw__tx_open(reader, options->schema, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    if (status != DW_OK) {
        return status;
    }
    (void)sqlite3_db_config(reader->connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    status = dw__tx_run_text(reader, "PRAGMA locking_mode = EXCLUSIVE", err);
    if (status == DW_OK) {
        status = read_version(reader, &version, err);
    }
    if (status == DW_OK && version != (int64_t)options->schema->version) {
        status = dw_fail(err, DW_E_UNSUPPORTED,
                         "%s: its journal is of version %lld: who works in it makes it version %u",
                         options->schema->what, (long long)version, options->schema->version);
    }
    return status == DW_OK ? dw__tx_prepare(reader, err) : status;
}

/* ---- to work ------------------------------------------------------------------------------- */

/* What a killed process left in the WAL goes to the file, so that it begins empty. */
static dw_status empty_wal(dw_journal_tx *writer, dw_error *err)
{
    errno = 0;
    int result =
        sqlite3_wal_checkpoint_v2(writer->connection, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return result == SQLITE_OK ? DW_OK
                               : dw__journal_fail(writer, "reading the journal", result, err);
}

static dw_status open_to_work(dw__files *files, const dw_journal_options *options, dw_error *err)
{
    dw_journal_tx *writer = &files->writer;
    dw_status status = make_files(options, err);
    if (status == DW_OK) {
        status = dw__marks_open(&files->marks, options->path, err);
    }
    if (status == DW_OK) {
        status = dw__marks_cut_wal(&files->marks, options->path, err);
    }
    if (status == DW_OK) {
        status = dw__tx_open(writer, options->schema, options->path, SQLITE_OPEN_READWRITE, err);
    }
    if (status == DW_OK) {
        status = settle_tables(writer, err);
    }
    if (status == DW_OK) {
        status = empty_wal(writer, err);
    }
    if (status == DW_OK) {
        status = dw__marks_watch(&files->marks, options->path, err);
    }
    return status == DW_OK ? dw__tx_prepare(writer, err) : status;
}

dw_status dw__files_open(dw__files *files, const dw_journal_options *options, dw_error *err)
{
    dw_journal_tx *reader = &files->reader;
    files->marks.fd = -1;
    files->marks.wal = -1;
    if (strlen(options->path) >= PATH_BYTES) {
        return dw_fail(err, DW_E_LIMIT, "%s: a longer path than %d bytes", options->schema->what,
                       PATH_BYTES - 1);
    }
    if (options->read_only) {
        return open_to_look(files, options, err);
    }
    dw_status status = open_to_work(files, options, err);
    if (status == DW_OK) {
        status = dw__tx_open(reader, options->schema, options->path, SQLITE_OPEN_READWRITE, err);
    }
    if (status == DW_OK) {
        status = dw__tx_run_text(reader, "PRAGMA query_only = 1; PRAGMA temp_store = MEMORY", err);
    }
    return status == DW_OK ? dw__tx_prepare(reader, err) : status;
}

void dw__files_close(dw__files *files)
{
    dw__tx_close(&files->reader); /* the last one brings the file into one piece */
    dw__tx_close(&files->writer);
    dw__look_end(&files->look);
    dw__marks_close(&files->marks);
}
