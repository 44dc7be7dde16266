/* Connections to SQLite, their statements, and what their failures are in our terms. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "journal/journal_internal.h"

/* ---- failures ------------------------------------------------------------------------------ */

static dw_status status_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_NOMEM:
        return DW_E_MEMORY;
    case SQLITE_IOERR:
        return result == SQLITE_IOERR_NOMEM ? DW_E_MEMORY : DW_E_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a statement that does not fit the tables */
    case SQLITE_MISMATCH:
        return DW_E_FORMAT;
    case SQLITE_TOOBIG:
        return DW_E_LIMIT;
    case SQLITE_CONSTRAINT:
        return DW_E_STATE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return DW_E_BUSY;
    default: /* SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_PERM and the like */
        return DW_E_IO;
    }
}

/* The system's reason, where there is one. */
static const char *reason(const dw_journal_tx *tx, int result)
{
    int system = tx->connection != NULL ? sqlite3_system_errno(tx->connection) : 0;
    system = system != 0 ? system : errno; /* SQLite does not note it for all statements */
    switch (result & 0xff) {
    case SQLITE_FULL:
        return strerror(ENOSPC);
    case SQLITE_READONLY:
        return strerror(EROFS);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return system != 0 ? strerror(system) : sqlite3_errstr(result);
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
        return sqlite3_errmsg(tx->connection);
    default:
        return sqlite3_errstr(result);
    }
}

dw_status dw__journal_fail(const dw_journal_tx *tx, const char *doing, int result, dw_error *err)
{
    return dw_fail(err, status_of(result), "%s: %s: %s (SQLite %d)", tx->schema->what, doing,
                   reason(tx, result), result);
}

/* ---- connections --------------------------------------------------------------------------- */

dw_status dw__tx_open(dw_journal_tx *tx, const dw_journal_schema *schema, const char *path,
                      int flags, dw_error *err)
{
    tx->schema = schema;
    tx->queries = dw_alloc(schema->statement_count, sizeof *tx->queries);
    if (tx->queries == NULL) {
        return dw_fail(err, DW_E_MEMORY, "%s: no memory for statements", schema->what);
    }
    errno = 0;
    int result = sqlite3_open_v2(path, &tx->connection, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) {
        return dw__journal_fail(tx, "opening the journal", result, err);
    }
    (void)sqlite3_extended_result_codes(tx->connection, 1);
    return DW_OK;
}

static int prepare(dw_journal_tx *tx, sqlite3_stmt **out, const char *sql)
{
    return sqlite3_prepare_v3(tx->connection, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

dw_status dw__tx_prepare(dw_journal_tx *tx, dw_error *err)
{
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } own[] = {{&tx->begin, "BEGIN"},           {&tx->commit, "COMMIT"},
               {&tx->rollback, "ROLLBACK"},     {&tx->savepoint, "SAVEPOINT piece"},
               {&tx->release, "RELEASE piece"}, {&tx->rollback_to, "ROLLBACK TO piece"}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        int result = prepare(tx, own[i].statement, own[i].sql);
        if (result != SQLITE_OK) {
            return dw__journal_fail(tx, "preparing the journal", result, err);
        }
    }
    return DW_OK;
}

void dw__tx_close(dw_journal_tx *tx)
{
    sqlite3_stmt *own[] = {tx->begin,     tx->commit,  tx->rollback,
                           tx->savepoint, tx->release, tx->rollback_to};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        (void)sqlite3_finalize(own[i]);
    }
    for (uint32_t i = 0; tx->queries != NULL && i < tx->schema->statement_count; i++) {
        (void)sqlite3_finalize(tx->queries[i].statement);
    }
    (void)sqlite3_close(tx->connection);
    dw_free(tx->queries);
    *tx = (dw_journal_tx){.connection = NULL};
}

dw_status dw__tx_run_text(dw_journal_tx *tx, const char *sql, dw_error *err)
{
    errno = 0;
    int result = sqlite3_exec(tx->connection, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? DW_OK : dw__journal_fail(tx, "preparing the journal", result, err);
}

dw_status dw__tx_read_number(dw_journal_tx *tx, const char *sql, int64_t *value, dw_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(tx->connection, sql, -1, &statement, NULL);
    result = result == SQLITE_OK ? sqlite3_step(statement) : result;
    *value = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return result == SQLITE_ROW ? DW_OK : dw__journal_fail(tx, "reading the journal", result, err);
}

int dw__tx_step(sqlite3_stmt *statement)
{
    errno = 0;
    int result = sqlite3_step(statement);
    int after = sqlite3_reset(statement);
    return result == SQLITE_DONE ? SQLITE_OK : after;
}

void dw__tx_reset(dw_journal_tx *tx)
{
    for (uint32_t i = 0; i < tx->schema->statement_count; i++) {
        if (tx->queries[i].used && tx->queries[i].statement != NULL) { /* NULL: not prepared */
            (void)sqlite3_reset(tx->queries[i].statement);
            (void)sqlite3_clear_bindings(tx->queries[i].statement);
        }
        tx->queries[i].used = false;
    }
}

/* ---- queries ------------------------------------------------------------------------------- */

dw_query *dw_journal_query(dw_journal_tx *tx, uint32_t statement)
{
    DW_ASSERT(statement < tx->schema->statement_count);
    dw_query *query = &tx->queries[statement];
    query->tx = tx;
    query->bound = 0;
    query->failure = SQLITE_OK;
    if (query->statement == NULL) {
        query->failure = prepare(tx, &query->statement, tx->schema->statements[statement]);
    } else {
        (void)sqlite3_reset(query->statement);
    }
    query->used = true;
    return query;
}

static void note(dw_query *query, int result)
{
    query->failure = query->failure == SQLITE_OK ? result : query->failure;
}

void dw_query_i64(dw_query *query, int64_t value)
{
    note(query, sqlite3_bind_int64(query->statement, ++query->bound, value));
}

void dw_query_u64(dw_query *query, uint64_t value)
{
    dw_query_i64(query, (int64_t)(value ^ (UINT64_C(1) << 63)));
}

void dw_query_text(dw_query *query, const char *text)
{
    note(query, sqlite3_bind_text(query->statement, ++query->bound, text, -1, SQLITE_STATIC));
}

void dw_query_blob(dw_query *query, const void *bytes, size_t count)
{
    /* Bytes at NULL would be SQL's NULL. */
    note(query, sqlite3_bind_blob64(query->statement, ++query->bound, bytes != NULL ? bytes : "",
                                    count, SQLITE_STATIC));
}

void dw_query_null(dw_query *query)
{
    note(query, sqlite3_bind_null(query->statement, ++query->bound));
}

dw_status dw_query_next(dw_query *query, bool *found, dw_error *err)
{
    *found = false;
    if (query->failure != SQLITE_OK) {
        return dw__journal_fail(query->tx, "journal", query->failure, err);
    }
    DW_DCHECK(query->bound == sqlite3_bind_parameter_count(query->statement));
    errno = 0;
    int result = sqlite3_step(query->statement);
    *found = result == SQLITE_ROW;
    if (result == SQLITE_ROW) {
        return DW_OK;
    }
    query->tx->changes = (uint64_t)sqlite3_changes(query->tx->connection);
    dw_status status =
        result == SQLITE_DONE ? DW_OK : dw__journal_fail(query->tx, "journal", result, err);
    (void)sqlite3_reset(query->statement);
    return status;
}

dw_status dw_query_run(dw_query *query, dw_error *err)
{
    bool found = true;
    dw_status status = DW_OK;
    while (status == DW_OK && found) {
        status = dw_query_next(query, &found, err);
    }
    return status;
}

uint64_t dw_journal_changes(const dw_journal_tx *tx)
{
    return tx->changes;
}

int64_t dw_query_get_i64(dw_query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

uint64_t dw_query_get_u64(dw_query *query, int column)
{
    return (uint64_t)dw_query_get_i64(query, column) ^ (UINT64_C(1) << 63);
}

bool dw_query_is_null(dw_query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

const char *dw_query_get_text(dw_query *query, int column)
{
    const unsigned char *text = sqlite3_column_text(query->statement, column);
    return text != NULL ? (const char *)text : "";
}

const void *dw_query_get_blob(dw_query *query, int column, size_t *count)
{
    const void *bytes = sqlite3_column_blob(query->statement, column);
    *count = (size_t)sqlite3_column_bytes(query->statement, column);
    return bytes;
}
