/* What the files of the journal share: connections to SQLite. */
#ifndef DW_JOURNAL_JOURNAL_INTERNAL_H
#define DW_JOURNAL_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "journal/journal.h"

/* What a commit of nothing writes to. */
#define DW__JOURNAL_OWN_TABLE                                                                      \
    "CREATE TABLE dw_journal(taken_back INTEGER NOT NULL) STRICT;"                                 \
    "INSERT INTO dw_journal VALUES(0)"
#define DW__JOURNAL_NOTHING                                                                        \
    "BEGIN IMMEDIATE; UPDATE dw_journal SET taken_back = taken_back + 1; COMMIT"

struct dw_query {
    dw_journal_tx *tx;
    sqlite3_stmt *statement; /* NULL: not prepared yet, or that failed */
    int bound;               /* parameters so far */
    int failure;             /* what preparing or binding gave, SQLITE_OK else */
    bool used;               /* it is to be reset at the transaction's end */
};

/* A connection; one transaction at a time. */
struct dw_journal_tx {
    const dw_journal_schema *schema;
    sqlite3 *connection;
    dw_query *queries; /* [schema->statement_count] */
    sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
    uint64_t changes;
};

/* ---- journal_sql.c ---- */

/* "WHAT: DOING: the reason". */
dw_status dw__journal_fail(const dw_journal_tx *tx, const char *doing, int result, dw_error *err);
/* A connection to `path`, or by `uri`. The transaction's memory is the caller's, to be closed with
 * dw__tx_close also after a failure. */
dw_status dw__tx_open(dw_journal_tx *tx, const dw_journal_schema *schema, const char *path,
                      int flags, dw_error *err);
/* Settings and statements of its own, once the tables are there. */
dw_status dw__tx_prepare(dw_journal_tx *tx, dw_error *err);
void dw__tx_close(dw_journal_tx *tx);
/* SQL without parameters and rows. */
dw_status dw__tx_run_text(dw_journal_tx *tx, const char *sql, dw_error *err);
/* One of the transaction's own statements. */
int dw__tx_step(sqlite3_stmt *statement);
/* Reset all queries of the transaction. */
void dw__tx_reset(dw_journal_tx *tx);
/* The number in the first column of the only row. */
dw_status dw__tx_read_number(dw_journal_tx *tx, const char *sql, int64_t *value, dw_error *err);

/* ---- journal_open.c ---- */

/* The two connections; the reader's is the only one where nothing is written. */
dw_status dw__journal_open_files(dw_journal_tx *writer, dw_journal_tx *reader,
                                 const dw_journal_options *options, dw_error *err);

#endif
