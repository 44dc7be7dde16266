/* A journal: one SQLite file in WAL mode, to which one thread writes in group commits and which any
 * thread reads.
 *
 * Who changes something hands the journal a piece: a function that is run within a transaction, and
 * one that is told what became of it. All pieces that wait share a transaction and its sync. When
 * the latter is called with DW_OK the transaction is on the disk; with an error the piece has
 * changed nothing, and will not have later, whatever the disk does: where a commit's sync fails,
 * its frames are in the WAL, and are written over, or marked (journal_marks.c), before it is told.
 *
 * Statements are texts of SQL in a table of the journal's owner, named by their index, and prepared
 * at their first use on a connection. Unsigned numbers of 64 bits are stored 2^63 less than they
 * are, so that SQLite, whose numbers have a sign, keeps them in their order. */
#ifndef DW_JOURNAL_JOURNAL_H
#define DW_JOURNAL_JOURNAL_H

#include <stdbool.h>

#include "base/status.h"

#define DW_JOURNAL_QUEUE_MAX 4096
#define DW_JOURNAL_MARKS_BYTES (65536 - 64)

typedef struct dw_journal dw_journal;
typedef struct dw_journal_tx dw_journal_tx; /* a transaction, and its connection */
typedef struct dw_query dw_query;           /* a statement of it */

/* Whose journal it is. Borrowed as long as the journal is open. */
typedef struct dw_journal_schema {
    const char *what;              /* the journal in messages, as "state folder" */
    int32_t application_id;        /* in the file, so that another program's is told apart */
    uint32_t version;              /* of the tables; a newer one is refused */
    const char *const *upgrades;   /* [version]: texts that make version i + 1 out of i */
    const char *const *statements; /* [statement_count] */
    uint32_t statement_count;
} dw_journal_schema;

typedef struct dw_journal_options {
    const char *path;
    const dw_journal_schema *schema;
    bool read_only;     /* nothing of the file and what is beside it changes */
    uint32_t queue_max; /* pieces that may wait; 0: DW_JOURNAL_QUEUE_MAX */
} dw_journal_options;

/* Open the file, or make it; what a killed process left is taken in. It is the caller's to see that
 * no other process writes to it. Errors: DW_E_IO, DW_E_FORMAT (not a journal of this program, or
 * damaged), DW_E_UNSUPPORTED (of a newer version), DW_E_NOT_FOUND (read_only), DW_E_MEMORY. */
dw_status dw_journal_open(dw_journal **out, const dw_journal_options *options, dw_error *err);
/* Works on all that was submitted first. Best effort brings the file into one piece. */
void dw_journal_close(dw_journal *journal);

/* ---- writing ---- */

/* Part of a transaction, on the journal's thread (or a reader's, dw_journal_read). It may be called
 * again after a failure, of others too: only what the last call did counts. A failure undoes what
 * the piece has done, and no other's. */
typedef dw_status (*dw_journal_work_fn)(void *user, dw_journal_tx *tx, dw_error *err);
/* On the journal's thread, once for each piece; it may submit others, not wait for them. `problem`
 * is NULL with DW_OK. */
typedef void (*dw_journal_done_fn)(void *user, dw_status status, const dw_error *problem);

/* What is handed over. The caller's memory, the journal's from dw_journal_submit until `done` is
 * called, in which it may be freed or submitted again. */
typedef struct dw_journal_piece {
    dw_journal_work_fn work;
    dw_journal_done_fn done;
    void *user;
    bool lazy; /* told as done before it is synced: it outlasts the process, not the power; the next
                  piece that is not lazy syncs it */
    struct dw_journal_piece *next; /* the journal's, as what follows */
    dw_status status;
    dw_error problem;
} dw_journal_piece;

/* Thread: any. Blocks: no. Errors, after which `done` is not called: DW_E_BUSY (the queue is full),
 * DW_E_DENIED (read_only). */
dw_status dw_journal_submit(dw_journal *journal, dw_journal_piece *piece, dw_error *err);
/* The same, waited for; also for room in the queue. Thread: any but the journal's. Errors: those of
 * `work`, DW_E_IO, DW_E_MEMORY, DW_E_DENIED. */
dw_status dw_journal_write(dw_journal *journal, dw_journal_work_fn work, void *user, bool lazy,
                           dw_error *err);

/* ---- marks ---- */

/* Memory [DW_JOURNAL_MARKS_BYTES] for what must outlast the process and may take no time, or no
 * operation of the disk: what is stored there is in a file, when the process is killed, too, though
 * not when the system ends. Zero in a new file; what the last process left is there. Aligned to 64;
 * of `read_only` a copy. Borrowed, any thread's that its users agree on. */
void *dw_journal_marks(dw_journal *journal);

/* ---- reading ---- */

/* Call `work` on this thread; it sees what was committed when it began, and changes nothing. One
 * reader at a time; it waits for no writer. Not within another `work`. Thread: any. Errors: those
 * of `work`, DW_E_IO, DW_E_MEMORY. */
dw_status dw_journal_read(dw_journal *journal, dw_journal_work_fn work, void *user, dw_error *err);

/* ---- statements ---- */

/* A statement of the schema, reset: its parameters are bound in their order, then it is run. What
 * fails on the way, running it tells. Texts and bytes are borrowed until then. The query is the
 * transaction's; one of the same number takes its place. */
dw_query *dw_journal_query(dw_journal_tx *tx, uint32_t statement);
void dw_query_u64(dw_query *query, uint64_t value);
void dw_query_i64(dw_query *query, int64_t value);
void dw_query_text(dw_query *query, const char *text); /* NULL: SQL's NULL */
void dw_query_blob(dw_query *query, const void *bytes, size_t count);
void dw_query_null(dw_query *query);
/* Run a statement to its end. Errors: DW_E_IO, DW_E_MEMORY, DW_E_LIMIT (a value is too long),
 * DW_E_STATE (a constraint), DW_E_FORMAT (the file is damaged). */
dw_status dw_query_run(dw_query *query, dw_error *err);
/* The next row: *found is false behind the last. Errors: those of dw_query_run. */
dw_status dw_query_next(dw_query *query, bool *found, dw_error *err);
/* Rows that the last dw_query_run of this transaction inserted, changed or deleted. */
uint64_t dw_journal_changes(const dw_journal_tx *tx);

/* A column of the row, from 0; texts and bytes are borrowed until the next row. */
uint64_t dw_query_get_u64(dw_query *query, int column);
int64_t dw_query_get_i64(dw_query *query, int column);
bool dw_query_is_null(dw_query *query, int column);
const char *dw_query_get_text(dw_query *query, int column); /* "" for NULL */
const void *dw_query_get_blob(dw_query *query, int column, size_t *count);

/* ---- counters ---- */

typedef struct dw_journal_stats {
    uint64_t pieces;  /* told as done */
    uint64_t commits; /* that were synced */
    uint64_t lazy_commits;
    uint64_t failures; /* pieces told as failed */
} dw_journal_stats;
/* Thread: any. */
void dw_journal_get_stats(dw_journal *journal, dw_journal_stats *stats);

#endif
