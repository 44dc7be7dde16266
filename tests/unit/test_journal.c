/* The journal: what is told as done is there whenever the file is opened again, what is told as
 * failed is not, whatever the disk fails at and whenever the process is killed.
 *
 * The process that is killed is this program with --work FILE FIRST: it writes a byte for each
 * number that it was told of as committed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "failing_disk.h"
#include "journal/journal.h"
#include "store_account.h"
#include "support.h"

#define KILLS 60

static char root[] = "/tmp/dw-journal-XXXXXX";
static char path[64];

enum { PUT, COUNT, ALL, FIND, STATEMENT_COUNT };

static const char *const upgrades[] = {
    "CREATE TABLE item(id INTEGER PRIMARY KEY, text TEXT NOT NULL, bytes BLOB) STRICT",
    "CREATE INDEX item_text ON item(text)",
    "this is no SQL",
};
static const char *const statements[STATEMENT_COUNT] = {
    [PUT] = "INSERT INTO item VALUES(?1, ?2, ?3)",
    [COUNT] = "SELECT count(*) FROM item",
    [ALL] = "SELECT id, text, bytes FROM item ORDER BY id",
    [FIND] = "SELECT text FROM item WHERE id = ?1",
};
static const dw_journal_schema schema = {.what = "test",
                                         .application_id = 0x64777465,
                                         .version = 2,
                                         .upgrades = upgrades,
                                         .statements = statements,
                                         .statement_count = STATEMENT_COUNT};

static dw_status open_as(dw_journal **journal, const dw_journal_schema *as, bool read_only,
                         dw_error *err)
{
    dw_journal_options options = {.path = path, .schema = as, .read_only = read_only};
    *err = (dw_error){.message = ""};
    return dw_journal_open(journal, &options, err);
}

static dw_journal *opened(void)
{
    dw_journal *journal = NULL;
    dw_error err;
    dw_status status = open_as(&journal, &schema, false, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return journal;
}

static void fresh(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-marks"};
    disk_plan_set(NULL);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void)unlink(name);
    }
}

/* ---- pieces ------------------------------------------------------------------------------- */

static dw_status put(void *user, dw_journal_tx *tx, dw_error *err)
{
    const uint64_t *id = user;
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)*id);
    dw_query *query = dw_journal_query(tx, PUT);
    dw_query_u64(query, *id);
    dw_query_text(query, text);
    dw_query_blob(query, id, sizeof *id);
    return dw_query_run(query, err);
}

static dw_status put_and_fail(void *user, dw_journal_tx *tx, dw_error *err)
{
    dw_status status = put(user, tx, err);
    return status == DW_OK ? dw_fail(err, DW_E_DENIED, "not wanted") : status;
}

static dw_status write_one(dw_journal *journal, uint64_t id, dw_error *err)
{
    *err = (dw_error){.message = ""};
    return dw_journal_write(journal, put, &id, false, err);
}

static dw_status count(void *user, dw_journal_tx *tx, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, COUNT);
    dw_status status = dw_query_next(query, &found, err);
    *(uint64_t *)user = found ? (uint64_t)dw_query_get_i64(query, 0) : 0;
    return status;
}

static uint64_t counted(dw_journal *journal)
{
    uint64_t number = 0;
    dw_error err = {.message = ""};
    dw_status status = dw_journal_read(journal, count, &number, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return number;
}

typedef struct search {
    uint64_t id;
    bool found;
} search;

static dw_status find(void *user, dw_journal_tx *tx, dw_error *err)
{
    search *s = user;
    dw_query *query = dw_journal_query(tx, FIND);
    dw_query_u64(query, s->id);
    return dw_query_next(query, &s->found, err);
}

static bool has(dw_journal *journal, uint64_t id)
{
    search s = {.id = id};
    dw_error err = {.message = ""};
    assert_int_equal(dw_journal_read(journal, find, &s, &err), DW_OK);
    return s.found;
}

/* ---- what is written ---------------------------------------------------------------------- */

static const uint64_t numbers[] = {0, 1, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 1, UINT64_MAX};

static dw_status check_all(void *user, dw_journal_tx *tx, dw_error *err)
{
    bool found = false;
    size_t *rows = user;
    dw_query *query = dw_journal_query(tx, ALL);
    dw_status status = DW_OK;
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        size_t bytes = 0;
        uint64_t copy = 0;
        assert_true(dw_query_get_u64(query, 0) == numbers[*rows]);
        assert_true(strtoull(dw_query_get_text(query, 1), NULL, 10) == numbers[*rows]);
        assert_false(dw_query_is_null(query, 2));
        const void *blob = dw_query_get_blob(query, 2, &bytes);
        assert_int_equal(bytes, sizeof copy);
        memcpy(&copy, blob, bytes);
        assert_true(copy == numbers[*rows]);
        ++*rows;
    }
    return status;
}

static void test_journal_keeps_what_is_written(void **state)
{
    (void)state;
    dw_error err;
    fresh();
    dw_journal *journal = opened();
    for (size_t i = sizeof numbers / sizeof numbers[0]; i-- > 0;) {
        assert_int_equal(write_one(journal, numbers[i], &err), DW_OK);
    }
    for (int i = 0; i < 2; i++) {
        size_t rows = 0;
        assert_int_equal(dw_journal_read(journal, check_all, &rows, &err), DW_OK);
        assert_int_equal(rows, sizeof numbers / sizeof numbers[0]);
        dw_journal_close(journal);
        assert_false(path_exists("%s-wal", path)); /* closed, it is one file */
        journal = opened();
    }
    assert_int_equal(write_one(journal, 1, &err), DW_E_STATE); /* a constraint */
    assert_non_null(strstr(err.message, "UNIQUE"));
    dw_journal_close(journal);
}

static void test_journal_failed_piece_is_undone(void **state)
{
    (void)state;
    dw_error err;
    uint64_t id = 7;
    fresh();
    dw_journal *journal = opened();
    assert_int_equal(dw_journal_write(journal, put_and_fail, &id, false, &err), DW_E_DENIED);
    assert_string_equal(err.message, "not wanted");
    assert_int_equal(counted(journal), 0);
    assert_int_equal(write_one(journal, 7, &err), DW_OK);
    dw_journal_close(journal);
}

/* A statement that does not fit the tables, of a journal that was damaged so that a column or a
 * table is missing, fails by itself: the next is worked on. */
static void test_journal_statement_that_does_not_fit(void **state)
{
    static const char *const other[STATEMENT_COUNT] = {
        [PUT] = "INSERT INTO item VALUES(?1, ?2, ?3, 'more')",
        [COUNT] = "SELECT count(*) FROM nowhere",
        [ALL] = "SELECT id, text, bytes FROM item ORDER BY id",
        [FIND] = "SELECT text FROM item WHERE id = ?1",
    };
    (void)state;
    dw_error err;
    dw_journal *journal = NULL;
    dw_journal_schema as = schema;
    as.statements = other;
    fresh();
    assert_int_equal(open_as(&journal, &as, false, &err), DW_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t number = 0;
        assert_int_equal(write_one(journal, 7, &err), DW_E_FORMAT);
        assert_non_null(strstr(err.message, "4 values"));
        assert_int_equal(dw_journal_read(journal, count, &number, &err), DW_E_FORMAT);
        assert_non_null(strstr(err.message, "nowhere"));
    }
    dw_journal_close(journal);
    journal = opened();
    assert_int_equal(counted(journal), 0);
    dw_journal_close(journal);
}

/* ---- groups ------------------------------------------------------------------------------- */

#define PIECES 64

typedef struct group {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* the journal's thread waits */
    bool go;
    int told;
    int failed;
    uint64_t ids[PIECES];
    dw_journal_piece pieces[PIECES];
} group;

static void tell(void *user, dw_status status, const dw_error *problem)
{
    group *g = user;
    assert_true((status == DW_OK) == (problem == NULL));
    (void)pthread_mutex_lock(&g->lock);
    g->told++;
    g->failed += status != DW_OK;
    (void)pthread_cond_broadcast(&g->changed);
    (void)pthread_mutex_unlock(&g->lock);
}

/* Holds the journal's thread up until it may go. */
static dw_status hold(void *user, dw_journal_tx *tx, dw_error *err)
{
    group *g = user;
    (void)tx;
    (void)err;
    (void)pthread_mutex_lock(&g->lock);
    g->held = true;
    (void)pthread_cond_broadcast(&g->changed);
    while (!g->go) {
        (void)pthread_cond_wait(&g->changed, &g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return DW_OK;
}

static dw_status put_one_of(void *user, dw_journal_tx *tx, dw_error *err)
{
    group *g = user;
    /* Which of them: each has its own work by position. */
    for (int i = 0; i < PIECES; i++) {
        if (g->pieces[i].user == user && g->ids[i] != 0) {
            uint64_t id = g->ids[i];
            g->ids[i] = 0;
            return id % 10 == 3 ? put_and_fail(&id, tx, err) : put(&id, tx, err);
        }
    }
    return dw_fail(err, DW_E_STATE, "more pieces than there are");
}

static void wait_for(group *g, int told)
{
    (void)pthread_mutex_lock(&g->lock);
    while (g->told < told) {
        (void)pthread_cond_wait(&g->changed, &g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

/* A journal whose thread is held up by a piece. */
static dw_journal *held(group *g, dw_journal_piece *first, uint32_t queue_max)
{
    dw_journal *journal = NULL;
    dw_error err = {.message = ""};
    dw_journal_options options = {.path = path, .schema = &schema, .queue_max = queue_max};
    *g = (group){.told = 0};
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_cond_init(&g->changed, NULL);
    assert_int_equal(dw_journal_open(&journal, &options, &err), DW_OK);
    *first = (dw_journal_piece){.work = hold, .done = tell, .user = g};
    assert_int_equal(dw_journal_submit(journal, first, &err), DW_OK);
    (void)pthread_mutex_lock(&g->lock);
    while (!g->held) {
        (void)pthread_cond_wait(&g->changed, &g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
    return journal;
}

static void let_go(group *g)
{
    (void)pthread_mutex_lock(&g->lock);
    g->go = true;
    (void)pthread_cond_broadcast(&g->changed);
    (void)pthread_mutex_unlock(&g->lock);
}

/* All that wait share a commit; those that fail take no other with them. */
static void test_journal_groups(void **state)
{
    (void)state;
    static group g;
    dw_journal_piece first;
    dw_journal_stats stats;
    dw_error err;
    fresh();
    dw_journal *journal = held(&g, &first, 0);
    for (int i = 0; i < PIECES; i++) {
        g.ids[i] = (uint64_t)i + 1;
        g.pieces[i] = (dw_journal_piece){.work = put_one_of, .done = tell, .user = &g};
    }
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal(dw_journal_submit(journal, &g.pieces[i], &err), DW_OK);
    }
    let_go(&g);
    wait_for(&g, 1 + PIECES);
    assert_int_equal(g.failed, 7); /* 3, 13, ..., 63 */
    assert_int_equal(counted(journal), PIECES - 7);
    dw_journal_get_stats(journal, &stats);
    assert_int_equal(stats.commits, 2);
    assert_int_equal(stats.pieces, 1 + PIECES - 7);
    assert_int_equal(stats.failures, 7);
    dw_journal_close(journal);
}

static void test_journal_queue_is_bounded(void **state)
{
    (void)state;
    static group g;
    dw_journal_piece first;
    dw_error err;
    fresh();
    dw_journal *journal = held(&g, &first, 3);
    for (int i = 0; i < 4; i++) {
        g.ids[i] = (uint64_t)i + 1;
        g.pieces[i] = (dw_journal_piece){.work = put_one_of, .done = tell, .user = &g};
        assert_int_equal(dw_journal_submit(journal, &g.pieces[i], &err), i < 3 ? DW_OK : DW_E_BUSY);
    }
    assert_non_null(strstr(err.message, "limit 3"));
    let_go(&g);
    dw_journal_close(journal); /* works on what it has taken */
    assert_int_equal(g.told, 4);
    assert_int_equal(g.failed, 1); /* 3, as above */
    journal = opened();
    assert_int_equal(counted(journal), 2);
    dw_journal_close(journal);
}

typedef struct writer {
    dw_journal *journal;
    uint64_t first;
} writer;

static void *write_many(void *arg)
{
    writer *w = arg;
    for (uint64_t i = 0; i < 50; i++) {
        dw_error err;
        assert_int_equal(write_one(w->journal, w->first + i, &err), DW_OK);
        assert_true(has(w->journal, w->first + i)); /* its own is seen at once */
    }
    return NULL;
}

static void test_journal_threads(void **state)
{
    (void)state;
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    writer writers[THREADS];
    dw_journal_stats stats;
    fresh();
    dw_journal *journal = opened();
    for (uint64_t i = 0; i < THREADS; i++) {
        writers[i] = (writer){.journal = journal, .first = i * 1000};
        assert_int_equal(dw_os_start_thread(&threads[i], write_many, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_int_equal(counted(journal), THREADS * 50);
    dw_journal_get_stats(journal, &stats);
    assert_true(stats.commits <= THREADS * 50 && stats.pieces == THREADS * 50);
    dw_journal_close(journal);
}

/* ---- disks that fail ---------------------------------------------------------------------- */

#define STEPS 6

/* Writes numbers, and opens again, on a disk that fails as planned; then all is well and it is
 * verified. False: nothing has failed any more. */
static bool survives(const disk_plan *plan, uint64_t *told_failed)
{
    bool written[STEPS] = {false};
    dw_error err = {.message = ""};
    dw_journal *journal = NULL;
    fresh();
    dw_journal_close(opened());
    disk_plan_set(plan);
    dw_status status = open_as(&journal, &schema, false, &err);
    for (uint64_t i = 0; i < STEPS && status == DW_OK; i++) {
        written[i] = write_one(journal, i + 1, &err) == DW_OK;
        *told_failed += !written[i];
        if (i == STEPS / 2) {
            dw_journal_close(journal);
            status = open_as(&journal, &schema, false, &err);
        }
    }
    dw_journal_close(journal);
    bool failed = disk_failed() > 0;
    assert_true(status == DW_OK || status == DW_E_IO);
    disk_plan_set(NULL);
    journal = opened();
    for (uint64_t i = 0; i < STEPS; i++) {
        bool there = has(journal, i + 1);
        if (there != written[i]) {
            fail_msg("kinds %x, operation %llu, %llu fail: number %llu was told as %s", plan->kinds,
                     (unsigned long long)plan->after, (unsigned long long)plan->count,
                     (unsigned long long)i + 1, written[i] ? "written" : "failed");
        }
        assert_true(there || write_one(journal, i + 1, &err) == DW_OK);
    }
    dw_journal_close(journal);
    return failed;
}

static void test_journal_failing_disk(void **state)
{
    (void)state;
    static const unsigned kinds[] = {DISK_ALL,    DISK_WRITE,    DISK_SYNC,
                                     DISK_UNLINK, DISK_TRUNCATE, DISK_OPEN};
    static const int errors[] = {EIO, ENOSPC};
    uint64_t told_failed = 0;
    uint64_t runs = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (uint64_t count = 0; count < 3; count++) { /* all from there on, one, two */
            disk_plan plan = {
                .kinds = kinds[k], .count = count, .error = errors[count % 2], .cuts = count == 1};
            for (; survives(&plan, &told_failed); plan.after++) {
                runs++;
            }
        }
    }
    print_message("%llu faults, %llu writes told as failed\n", (unsigned long long)runs,
                  (unsigned long long)told_failed);
#if defined(__GLIBC__) /* elsewhere the disk fails for this program alone, not for its libraries */
    assert_true(runs > 100 && told_failed > 50);
#endif
}

/* The frames are there, their sync fails: whoever opens the file next, after a kill say, must not
 * take them for a commit. */
static void test_journal_failed_sync_is_taken_back(void **state)
{
    (void)state;
    dw_error err;
    fresh();
    dw_journal *journal = opened();
    assert_int_equal(write_one(journal, 1, &err), DW_OK);
    disk_plan_set(&(disk_plan){.kinds = DISK_SYNC});
#if defined(__GLIBC__)
    assert_int_equal(write_one(journal, 2, &err), DW_E_IO);
    assert_non_null(strstr(err.message, "Input/output error"));
#endif
    shell("mkdir '%s/copy' && cp '%s'/j* '%s/copy'", root, root, root); /* as a kill leaves it */
    disk_plan_set(NULL);
    dw_journal_close(journal);
    shell("mv '%s'/copy/* '%s'", root, root);
    journal = opened();
    assert_true(has(journal, 1));
#if defined(__GLIBC__)
    assert_false(has(journal, 2));
#endif
    dw_journal_close(journal);
}

static void test_journal_no_memory(void **state)
{
    (void)state;
    dw_error err;
    fresh();
    dw_journal *journal = NULL;
    int64_t failures = 0;
    for (dw_status status = DW_E_MEMORY; status != DW_OK; failures++) {
        dw_alloc_fail_after(failures);
        status = open_as(&journal, &schema, false, &err);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || (status == DW_E_MEMORY && journal == NULL));
    }
    assert_true(failures > 2);
    dw_journal_close(journal);
}

/* ---- files -------------------------------------------------------------------------------- */

static void refused(const dw_journal_schema *as, dw_status expected, const char *why)
{
    dw_journal *journal = NULL;
    dw_error err;
    for (int read_only = 0; read_only < 2; read_only++) {
        assert_int_equal(open_as(&journal, as, read_only != 0, &err), expected);
        assert_null(journal);
        assert_non_null(strstr(err.message, why));
    }
}

static void test_journal_files_that_are_refused(void **state)
{
    (void)state;
    dw_error err;
    dw_journal *journal = NULL;
    dw_journal_schema other = schema;
    fresh();
    assert_int_equal(open_as(&journal, &schema, true, &err), DW_E_NOT_FOUND);
    assert_false(path_exists("%s", path));
    dw_journal_close(opened());
    other.version = 1;
    refused(&other, DW_E_UNSUPPORTED, "of version 2, this program knows up to 1");
    other = schema;
    other.application_id++;
    refused(&other, DW_E_FORMAT, "another program's");
    other = schema;
    other.version = 3; /* an upgrade that fails leaves what was there */
    assert_int_equal(open_as(&journal, &other, false, &err), DW_E_FORMAT);
    assert_int_equal(open_as(&journal, &other, true, &err), DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "of version 2"));
    dw_journal_close(opened());
    shell("head -c 5000 /dev/urandom >'%s'", path);
    refused(&schema, DW_E_FORMAT, "not a database");
    fresh();
    shell("sqlite3 -version >/dev/null 2>&1 || exit 0; sqlite3 '%s' 'CREATE TABLE own(a)'", path);
    if (path_exists("%s", path)) {
        refused(&schema, DW_E_FORMAT, "another program's");
    }
}

/* Version 1 becomes version 2 with all that is in it. */
static void test_journal_upgrades(void **state)
{
    (void)state;
    dw_error err;
    dw_journal *journal = NULL;
    dw_journal_schema first = schema;
    first.version = 1;
    fresh();
    assert_int_equal(open_as(&journal, &first, false, &err), DW_OK);
    assert_int_equal(write_one(journal, 5, &err), DW_OK);
    dw_journal_close(journal);
    journal = opened();
    assert_true(has(journal, 5));
    dw_journal_close(journal);
}

/* ---- kills -------------------------------------------------------------------------------- */

/* Numbers from `first` on; every other time a lazy one, which outlasts a kill as well. */
static int work(const char *file, uint64_t first)
{
    dw_error err;
    (void)snprintf(path, sizeof path, "%s", file);
    dw_journal *journal = opened();
    for (uint64_t i = first;; i++) {
        if (dw_journal_write(journal, put, &i, i % 2 == 0, &err) != DW_OK ||
            write(STDOUT_FILENO, "+", 1) != 1) {
            return 1;
        }
    }
}

/* How many it was told of as committed before it was killed. */
static uint64_t killed(uint64_t first, uint64_t wait_us)
{
    char program[512];
    char number[24];
    char bytes[4096];
    int ends[2];
    int status = 0;
    uint64_t told = 0;
    dw_error err;
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)first);
    assert_int_equal(dw_os_executable_path(program, sizeof program, &err), DW_OK);
    assert_int_equal(pipe(ends), 0);
    pid_t process = fork();
    if (process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "--work", path, number, (char *)NULL);
        _exit(126);
    }
    (void)close(ends[1]);
    ssize_t got = read(ends[0], bytes, 1);
    told += got > 0 ? (uint64_t)got : 0;
    struct timespec wait = {.tv_nsec = (long)wait_us * 1000};
    (void)nanosleep(&wait, NULL);
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFSIGNALED(status));
    while ((got = read(ends[0], bytes, sizeof bytes)) > 0) {
        told += (uint64_t)got;
    }
    (void)close(ends[0]);
    return told;
}

static void test_journal_survives_kills(void **state)
{
    (void)state;
    dw_error err;
    uint64_t first = 1;
    uint64_t all = 0;
    fresh();
    for (uint64_t i = 0; i < (emulated() ? 3u : KILLS); i++) {
        uint64_t told = killed(first, 37 * i % 2000 * 10);
        dw_journal *looking = NULL;
        assert_int_equal(open_as(&looking, &schema, true, &err), DW_OK);
        uint64_t seen = counted(looking); /* what is in the WAL, too; and nothing changes */
        assert_true(dw_journal_write(looking, put, &first, false, &err) == DW_E_DENIED);
        dw_journal_close(looking);
        assert_true(path_exists("%s-wal", path));
        dw_journal *journal = opened();
        uint64_t now = counted(journal);
        assert_true(seen == now);
        if (now < all + told || now > all + told + 1) {
            fail_msg("kill %llu: %llu were told of, %llu came of it", (unsigned long long)i,
                     (unsigned long long)told, (unsigned long long)(now - all));
        }
        for (uint64_t number = first; number < first + now - all; number++) {
            assert_true(has(journal, number));
        }
        first += now - all;
        all = now;
        dw_journal_close(journal);
    }
    print_message("%llu commits\n", (unsigned long long)all);
    assert_true(all >= KILLS || emulated());
}

static void test_journal_looking_changes_nothing(void **state)
{
    (void)state;
    dw_error err;
    dw_journal *journals[2] = {NULL, NULL};
    fresh();
    dw_journal *journal = opened();
    assert_int_equal(write_one(journal, 5, &err), DW_OK);
    dw_journal_close(journal);
    disk_plan_set(NULL);
    for (int i = 0; i < 2; i++) { /* others may look, too */
        assert_int_equal(open_as(&journals[i], &schema, true, &err), DW_OK);
        assert_true(has(journals[i], 5));
    }
    dw_journal_close(journals[0]);
    dw_journal_close(journals[1]);
    assert_int_equal(disk_operations(), 0);
    assert_false(path_exists("%s-wal", path) || path_exists("%s-shm", path));
}

/* ---- all ---------------------------------------------------------------------------------- */

static int make_root(void **state)
{
    (void)state;
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    (void)snprintf(path, sizeof path, "%s/j %%?#.db", root); /* what a URI takes for itself */
    disk_watch(root);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    disk_plan_set(NULL);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_keeps_what_is_written),
        cmocka_unit_test(test_journal_failed_piece_is_undone),
        cmocka_unit_test(test_journal_statement_that_does_not_fit),
        cmocka_unit_test(test_journal_groups),
        cmocka_unit_test(test_journal_queue_is_bounded),
        cmocka_unit_test(test_journal_threads),
        cmocka_unit_test(test_journal_failing_disk),
        cmocka_unit_test(test_journal_failed_sync_is_taken_back),
        cmocka_unit_test(test_journal_no_memory),
        cmocka_unit_test(test_journal_files_that_are_refused),
        cmocka_unit_test(test_journal_upgrades),
        cmocka_unit_test(test_journal_survives_kills),
        cmocka_unit_test(test_journal_looking_changes_nothing),
    };
    if (argc == 4 && strcmp(argv[1], "--work") == 0) {
        return work(argv[2], strtoull(argv[3], NULL, 10));
    }
    return cmocka_run_group_tests_name("journal", tests, make_root, remove_root);
}
