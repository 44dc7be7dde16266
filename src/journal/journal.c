/* The journal's thread: it takes all pieces that wait into one transaction. */
#include "journal/journal.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "journal/journal_internal.h"

#define WAL_FRAMES 1000 /* from there on it is brought to the file */
#define GROUP_MAX 512   /* pieces of one transaction: the first of them waits for the last */

struct dw_journal {
    dw__files files; /* the writer and the marks are the thread's, the reader is `reading`'s */
    pthread_mutex_t reading;
    bool writes;
    bool synced; /* the thread's: what the writer's commits are set to */
    int64_t page_bytes;
    bool started;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* a piece came, or the end */
    pthread_cond_t room;  /* pieces were taken */
    dw_journal_piece *first;
    dw_journal_piece *last;
    uint32_t count;
    uint32_t queue_max;
    bool ending;
    dw_journal_stats stats;
};

/* ---- one transaction ----------------------------------------------------------------------- */

static dw_status fail_step(dw_journal_tx *tx, const char *doing, int result, dw_error *err)
{
    return dw__journal_fail(tx, doing, result, err);
}

static void roll_back(dw_journal_tx *tx)
{
    dw__tx_reset(tx);
    if (sqlite3_get_autocommit(tx->connection) == 0) {
        (void)dw__tx_step(tx->rollback);
    }
}

static dw_status set_synced(dw_journal *journal, bool synced, dw_error *err)
{
    if (journal->synced == synced) {
        return DW_OK;
    }
    dw_status status =
        dw__tx_run_text(&journal->files.writer,
                        synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
    journal->synced = status == DW_OK ? synced : journal->synced;
    return status;
}

/* SQLite calls it with each commit: the WAL has so many frames. What is in it goes to the file now
 * and then, as SQLite does it by itself where nobody asks to be called; a failure of that is one of
 * the next time's. */
static int note_commit(void *user, sqlite3 *connection, const char *database, int frames)
{
    dw_journal *journal = user;
    dw__marks_note_commit(&journal->files.marks, (uint64_t)frames);
    if (frames >= WAL_FRAMES) {
        (void)sqlite3_wal_checkpoint_v2(connection, database, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
    }
    return SQLITE_OK;
}

/* Commit what was begun. */
static dw_status commit(dw_journal *journal, dw_error *err)
{
    dw_journal_tx *tx = &journal->files.writer;
    dw__tx_reset(tx);
    int result = dw__tx_step(tx->commit);
    if (result == SQLITE_OK) {
        return DW_OK;
    }
    dw_status status = fail_step(tx, "writing the journal", result, err);
    roll_back(tx);
    /* The frames may all be in the WAL, and only their sync has failed: who reads it next would
     * take them for a commit. A commit of nothing takes their place, and breaks the chain of
     * checksums that they stand in; it need not be synced for that. */
    result = sqlite3_exec(tx->connection, DW__JOURNAL_NOTHING, NULL, NULL, NULL);
    roll_back(tx);
    if (result != SQLITE_OK && result != SQLITE_IOERR_FSYNC) {
        dw__marks_note_failure(&journal->files.marks, (uint64_t)journal->page_bytes);
    }
    return status;
}

/* One piece of several: what it did is undone if it fails. `*lost`: SQLite has given the whole
 * transaction up. */
static void run_piece(dw_journal *journal, dw_journal_piece *piece, bool *lost)
{
    dw_journal_tx *tx = &journal->files.writer;
    int result = dw__tx_step(tx->savepoint);
    piece->status = result == SQLITE_OK
                        ? piece->work(piece->user, tx, &piece->problem)
                        : fail_step(tx, "writing the journal", result, &piece->problem);
    dw__tx_reset(tx);
    *lost = sqlite3_get_autocommit(tx->connection) != 0;
    if (*lost || result != SQLITE_OK) {
        *lost = true;
        return;
    }
    if (piece->status != DW_OK) {
        *lost = dw__tx_step(tx->rollback_to) != SQLITE_OK;
    }
    *lost = dw__tx_step(tx->release) != SQLITE_OK || *lost;
}

/* A piece with a transaction of its own. */
static void run_alone(dw_journal *journal, dw_journal_piece *piece)
{
    dw_journal_tx *tx = &journal->files.writer;
    dw_error *problem = &piece->problem;
    piece->status = set_synced(journal, !piece->lazy, problem);
    if (piece->status != DW_OK) {
        return;
    }
    int result = dw__tx_step(tx->begin);
    if (result != SQLITE_OK) {
        piece->status = fail_step(tx, "writing the journal", result, problem);
        return;
    }
    piece->status = piece->work(piece->user, tx, problem);
    if (piece->status != DW_OK || sqlite3_get_autocommit(tx->connection) != 0) {
        if (piece->status == DW_OK) { /* it has not passed on what failed */
            piece->status = dw_fail(problem, DW_E_IO, "%s: writing the journal: it was given up",
                                    tx->schema->what);
        }
        roll_back(tx);
        return;
    }
    piece->status = commit(journal, problem);
}

/* All in one transaction; false: it came to nothing. */
static bool run_together(dw_journal *journal, dw_journal_piece *pieces, bool lazy)
{
    dw_journal_tx *tx = &journal->files.writer;
    bool lost = set_synced(journal, !lazy, NULL) != DW_OK || dw__tx_step(tx->begin) != SQLITE_OK;
    for (dw_journal_piece *piece = pieces; piece != NULL && !lost; piece = piece->next) {
        run_piece(journal, piece, &lost);
    }
    if (lost) {
        roll_back(tx);
        return false;
    }
    return commit(journal, NULL) == DW_OK;
}

/* ---- groups -------------------------------------------------------------------------------- */

static void count_group(dw_journal *journal, const dw_journal_piece *pieces, bool together,
                        bool lazy)
{
    dw_journal_stats *stats = &journal->stats;
    bool any = false;
    (void)pthread_mutex_lock(&journal->lock);
    for (const dw_journal_piece *piece = pieces; piece != NULL; piece = piece->next) {
        bool done = piece->status == DW_OK;
        stats->pieces += done;
        stats->failures += !done;
        stats->commits += !together && done && !piece->lazy;
        stats->lazy_commits += !together && done && piece->lazy;
        any = any || done;
    }
    stats->commits += together && any && !lazy;
    stats->lazy_commits += together && any && lazy;
    (void)pthread_mutex_unlock(&journal->lock);
}

static void run_group(dw_journal *journal, dw_journal_piece *pieces)
{
    bool lazy = true;
    for (const dw_journal_piece *piece = pieces; piece != NULL; piece = piece->next) {
        lazy = lazy && piece->lazy;
    }
    bool together = pieces->next != NULL && run_together(journal, pieces, lazy);
    if (!together) { /* a failure is that of one piece: the others may do without it */
        for (dw_journal_piece *piece = pieces; piece != NULL; piece = piece->next) {
            run_alone(journal, piece);
        }
    }
    count_group(journal, pieces, together, lazy);
    while (pieces != NULL) {
        dw_journal_piece *piece = pieces;
        pieces = piece->next; /* `done` may free it */
        dw_error problem = piece->problem;
        dw_status status = piece->status;
        piece->done(piece->user, status, status != DW_OK ? &problem : NULL);
    }
}

/* Up to GROUP_MAX of those that wait; NULL: there is no more to come. */
static dw_journal_piece *take_group(dw_journal *journal)
{
    (void)pthread_mutex_lock(&journal->lock);
    while (journal->first == NULL && !journal->ending) {
        (void)pthread_cond_wait(&journal->wake, &journal->lock);
    }
    dw_journal_piece *pieces = journal->first;
    dw_journal_piece *last = pieces;
    uint32_t count = pieces != NULL ? 1 : 0;
    for (; last != NULL && last->next != NULL && count < GROUP_MAX; count++) {
        last = last->next;
    }
    if (last != NULL) {
        journal->first = last->next;
        journal->last = journal->first != NULL ? journal->last : NULL;
        journal->count -= count;
        last->next = NULL;
    }
    (void)pthread_cond_broadcast(&journal->room);
    (void)pthread_mutex_unlock(&journal->lock);
    return pieces;
}

static void *work(void *arg)
{
    dw_journal *journal = arg;
    for (dw_journal_piece *pieces = NULL; (pieces = take_group(journal)) != NULL;) {
        run_group(journal, pieces);
    }
    return NULL;
}

/* ---- handing over -------------------------------------------------------------------------- */

/* `waits`: for room. */
static dw_status put(dw_journal *journal, dw_journal_piece *piece, bool waits, dw_error *err)
{
    dw_status status = DW_OK;
    if (!journal->writes) {
        return dw_fail(err, DW_E_DENIED, "%s: it was opened for looking only",
                       journal->files.reader.schema->what);
    }
    piece->next = NULL;
    piece->status = DW_OK;
    piece->problem.message[0] = '\0';
    (void)pthread_mutex_lock(&journal->lock);
    while (waits && journal->count >= journal->queue_max) {
        (void)pthread_cond_wait(&journal->room, &journal->lock);
    }
    if (journal->count >= journal->queue_max) {
        status = dw_fail(err, DW_E_BUSY, "%s: %u changes wait for the disk, limit %u",
                         journal->files.writer.schema->what, journal->count, journal->queue_max);
    } else {
        *(journal->last != NULL ? &journal->last->next : &journal->first) = piece;
        journal->last = piece;
        journal->count++;
        (void)pthread_cond_signal(&journal->wake);
    }
    (void)pthread_mutex_unlock(&journal->lock);
    return status;
}

dw_status dw_journal_submit(dw_journal *journal, dw_journal_piece *piece, dw_error *err)
{
    return put(journal, piece, false, err);
}

/* Who waits for a piece. */
typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
    dw_status status;
    dw_error problem;
} waiter;

static void tell(void *user, dw_status status, const dw_error *problem)
{
    waiter *w = user;
    (void)pthread_mutex_lock(&w->lock);
    w->status = status;
    if (problem != NULL) {
        w->problem = *problem;
    }
    w->done = true;
    (void)pthread_cond_signal(&w->told);
    (void)pthread_mutex_unlock(&w->lock);
}

/* The piece's `user` is the waiter: `work` has its own. */
typedef struct waited_work {
    waiter waiter;
    dw_journal_work_fn work;
    void *user;
} waited_work;

static dw_status do_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    waited_work *w = user;
    return w->work(w->user, tx, err);
}

static void tell_waiter(void *user, dw_status status, const dw_error *problem)
{
    tell(&((waited_work *)user)->waiter, status, problem);
}

dw_status dw_journal_write(dw_journal *journal, dw_journal_work_fn work_fn, void *user, bool lazy,
                           dw_error *err)
{
    waited_work w = {.work = work_fn, .user = user};
    dw_journal_piece piece = {.work = do_work, .done = tell_waiter, .user = &w, .lazy = lazy};
    DW_ASSERT(!journal->started || !pthread_equal(pthread_self(), journal->thread));
    (void)pthread_mutex_init(&w.waiter.lock, NULL);
    (void)pthread_cond_init(&w.waiter.told, NULL);
    dw_status status = put(journal, &piece, true, err);
    if (status == DW_OK) {
        (void)pthread_mutex_lock(&w.waiter.lock);
        while (!w.waiter.done) {
            (void)pthread_cond_wait(&w.waiter.told, &w.waiter.lock);
        }
        (void)pthread_mutex_unlock(&w.waiter.lock);
        status = w.waiter.status;
        if (status != DW_OK && err != NULL) {
            *err = w.waiter.problem;
        }
    }
    (void)pthread_cond_destroy(&w.waiter.told);
    (void)pthread_mutex_destroy(&w.waiter.lock);
    return status;
}

void *dw_journal_marks(dw_journal *journal)
{
    return journal->files.marks.bytes + DW__MARKS_OWN_BYTES;
}

void dw_journal_get_stats(dw_journal *journal, dw_journal_stats *stats)
{
    (void)pthread_mutex_lock(&journal->lock);
    *stats = journal->stats;
    (void)pthread_mutex_unlock(&journal->lock);
}

/* ---- reading ------------------------------------------------------------------------------- */

dw_status dw_journal_read(dw_journal *journal, dw_journal_work_fn work_fn, void *user,
                          dw_error *err)
{
    dw_journal_tx *tx = &journal->files.reader;
    (void)pthread_mutex_lock(&journal->reading);
    int result = dw__tx_step(tx->begin);
    dw_status status = result == SQLITE_OK ? work_fn(user, tx, err)
                                           : fail_step(tx, "reading the journal", result, err);
    roll_back(tx);
    (void)pthread_mutex_unlock(&journal->reading);
    return status;
}

/* ---- opening and closing ------------------------------------------------------------------- */

dw_status dw_journal_open(dw_journal **out, const dw_journal_options *options, dw_error *err)
{
    *out = NULL;
    dw_journal *journal = dw_alloc(1, sizeof *journal);
    if (journal == NULL) {
        return dw_fail(err, DW_E_MEMORY, "%s: no memory for a journal", options->schema->what);
    }
    (void)pthread_mutex_init(&journal->reading, NULL);
    (void)pthread_mutex_init(&journal->lock, NULL);
    (void)pthread_cond_init(&journal->wake, NULL);
    (void)pthread_cond_init(&journal->room, NULL);
    journal->queue_max = options->queue_max != 0 ? options->queue_max : DW_JOURNAL_QUEUE_MAX;
    journal->writes = !options->read_only;
    journal->synced = true;
    dw_status status = dw__files_open(&journal->files, options, err);
    if (status == DW_OK && journal->writes) {
        status = dw__tx_read_number(&journal->files.writer, "PRAGMA page_size",
                                    &journal->page_bytes, err);
        (void)sqlite3_wal_hook(journal->files.writer.connection, note_commit, journal);
    }
    if (status == DW_OK && journal->writes) {
        int failure = dw_os_start_thread(&journal->thread, work, journal);
        journal->started = failure == 0;
        if (failure != 0) {
            status = dw_fail(err, DW_E_MEMORY, "%s: no thread for its journal: %s",
                             options->schema->what, strerror(failure));
        }
    }
    if (status != DW_OK) {
        dw_journal_close(journal);
        return status;
    }
    *out = journal;
    return DW_OK;
}

void dw_journal_close(dw_journal *journal)
{
    if (journal == NULL) {
        return;
    }
    if (journal->started) {
        (void)pthread_mutex_lock(&journal->lock);
        journal->ending = true;
        (void)pthread_cond_signal(&journal->wake);
        (void)pthread_mutex_unlock(&journal->lock);
        (void)pthread_join(journal->thread, NULL);
    }
    dw__files_close(&journal->files);
    (void)pthread_cond_destroy(&journal->room);
    (void)pthread_cond_destroy(&journal->wake);
    (void)pthread_mutex_destroy(&journal->lock);
    (void)pthread_mutex_destroy(&journal->reading);
    dw_free(journal);
}
