/* What the files of the journal share: connections to SQLite. */
#ifndef DW_JOURNAL_JOURNAL_INTERNAL_H
#define DW_JOURNAL_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "journal/journal.h"

#define DW__MARKS_OWN_BYTES 64
#define DW__MARKS_FILE_BYTES (DW__MARKS_OWN_BYTES + DW_JOURNAL_MARKS_BYTES)
#define DW__MARKS_PATH_BYTES 4112

struct dw_file_guard;

/* Memory that outlasts the process (journal_marks.c). `fd` and `wal` are -1 before. */
typedef struct dw__marks {
    char path[DW__MARKS_PATH_BYTES];
    int fd;
    int wal;              /* the WAL, to read from */
    unsigned char *bytes; /* [DW__MARKS_FILE_BYTES]; NULL: not opened */
    bool mapped;          /* else a copy, for looking */
    struct dw_file_guard *guard;
    uint64_t frames; /* of the WAL, with the last commit that succeeded */
    unsigned char salts[8];
} dw__marks;

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

/* ---- journal_marks.c ---- */

/* The file of marks beside the journal, made if it is not there; to look only, a copy. Both are for
 * dw__marks_close to undo, also after a failure. */
dw_status dw__marks_open(dw__marks *marks, const char *journal, dw_error *err);
dw_status dw__marks_read(dw__marks *marks, const char *journal, dw_error *err);
/* Removes the file where nothing is marked. */
void dw__marks_close(dw__marks *marks);
/* The WAL is there, and empty. Errors: DW_E_IO. */
dw_status dw__marks_watch(dw__marks *marks, const char *journal, dw_error *err);
/* A commit succeeded; the WAL has so many frames with it. */
void dw__marks_note_commit(dw__marks *marks, uint64_t frames);
/* What a commit has written that failed is not the journal's. No operation but reads. */
void dw__marks_note_failure(dw__marks *marks, uint64_t page_bytes);
/* So much of the WAL is the journal's; UINT64_MAX: all. */
uint64_t dw__marks_wal_bytes(const dw__marks *marks, const char *journal);
/* Cut the rest off. Errors: DW_E_IO. */
dw_status dw__marks_cut_wal(dw__marks *marks, const char *journal, dw_error *err);

/* ---- journal_look.c ---- */

/* A way to files by this name that locks and makes none, and that sees `wal_bytes` of a WAL.
 * `dw__look_end` when nothing is open by it any more. Errors: DW_E_MEMORY. */
typedef struct dw__look {
    sqlite3_vfs vfs;
    char name[40];
    sqlite3_int64 wal_bytes;
    bool begun;
} dw__look;
dw_status dw__look_begin(dw__look *look, uint64_t wal_bytes, dw_error *err);
void dw__look_end(dw__look *look);

/* ---- journal_open.c ---- */

struct dw__files {
    dw_journal_tx writer; /* unused where nothing is written */
    dw_journal_tx reader;
    dw__marks marks;
    dw__look look;
};
typedef struct dw__files dw__files;
/* Both connections; the reader's is the only one where nothing is written. What is open is closed
 * by dw__files_close, also after a failure. */
dw_status dw__files_open(dw__files *files, const dw_journal_options *options, dw_error *err);
void dw__files_close(dw__files *files);

#endif
