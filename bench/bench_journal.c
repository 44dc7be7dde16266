/* What a durable change costs: commits a second of the journal under state folders, each a row of
 * 100 bytes, with 1 and with 64 that wait at a time, which share their syncs. The other side is a
 * file of its own for each, written, synced and renamed, as state folders had until 0.1.0. The
 * folder is made where $TMPDIR says: the disk is what counts. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "journal/journal.h"

#define WAITING_MAX 64
#define ROW_BYTES 100
#define SECONDS_A_ROUND 1

static const char *const upgrades[] = {
    "CREATE TABLE item(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT"};
static const char *const statements[] = {"INSERT INTO item(bytes) VALUES(?1)"};
static const dw_journal_schema schema = {.what = "bench",
                                         .application_id = 1,
                                         .version = 1,
                                         .upgrades = upgrades,
                                         .statements = statements,
                                         .statement_count = 1};

typedef struct bench {
    char folder[512];
    dw_journal *journal;
    uint64_t until_ns;
    atomic_uint_fast64_t done;
    atomic_int waiting;
} bench;

typedef struct waiting_piece {
    bench *b;
    dw_journal_piece piece;
} waiting_piece;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static dw_status insert(void *user, dw_journal_tx *tx, dw_error *err)
{
    static const unsigned char row[ROW_BYTES] = {1};
    (void)user;
    dw_query *query = dw_journal_query(tx, 0);
    dw_query_blob(query, row, sizeof row);
    return dw_query_run(query, err);
}

/* Each that is done is handed over again, until the time is up. */
static void again(void *user, dw_status status, const dw_error *problem)
{
    waiting_piece *w = user;
    dw_error err = {.message = ""};
    must(status, problem);
    (void)atomic_fetch_add(&w->b->done, 1);
    if (dw_os_clock_ns() < w->b->until_ns) {
        must(dw_journal_submit(w->b->journal, &w->piece, &err), &err);
    } else {
        (void)atomic_fetch_sub(&w->b->waiting, 1);
    }
}

static double a_second(bench *b, int waiting, bool lazy)
{
    static waiting_piece pieces[WAITING_MAX];
    dw_error err = {.message = ""};
    uint64_t begun = dw_os_clock_ns();
    b->until_ns = begun + SECONDS_A_ROUND * UINT64_C(1000000000);
    atomic_store(&b->done, 0);
    atomic_store(&b->waiting, waiting);
    for (int i = 0; i < waiting; i++) {
        pieces[i].b = b;
        pieces[i].piece =
            (dw_journal_piece){.work = insert, .done = again, .user = &pieces[i], .lazy = lazy};
        must(dw_journal_submit(b->journal, &pieces[i].piece, &err), &err);
    }
    while (atomic_load(&b->waiting) > 0) {
        (void)usleep(1000);
    }
    return (double)atomic_load(&b->done) / ((double)(dw_os_clock_ns() - begun) / 1e9);
}

static double files_a_second(bench *b)
{
    static const unsigned char row[ROW_BYTES] = {1};
    char part[600];
    char path[600];
    uint64_t count = 0;
    dw_error err = {.message = ""};
    uint64_t begun = dw_os_clock_ns();
    int folder = dw_os_open(b->folder, O_RDONLY, 0);
    (void)snprintf(part, sizeof part, "%s/part", b->folder);
    (void)snprintf(path, sizeof path, "%s/file", b->folder);
    while (dw_os_clock_ns() < begun + SECONDS_A_ROUND * UINT64_C(1000000000)) {
        int fd = dw_os_open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        must(dw_os_write_at(fd, 0, row, sizeof row, &err), &err);
        if (dw_os_sync(fd) != 0 || rename(part, path) != 0 || dw_os_sync(folder) != 0) {
            bench_die("a file could not be written");
        }
        dw_os_close(fd);
        count++;
    }
    dw_os_close(folder);
    return (double)count / ((double)(dw_os_clock_ns() - begun) / 1e9);
}

static void run(bench *b, int rounds)
{
    static const struct {
        const char *row;
        int waiting;
        bool lazy;
    } rows[] = {{"commits_1", 1, false}, {"commits_64", 64, false}, {"commits_lazy_1", 1, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double ours = 0;
        double theirs = 0;
        for (int round = 0; round < rounds; round++) {
            double one = a_second(b, rows[i].waiting, rows[i].lazy);
            double other = files_a_second(b);
            ours = one > ours ? one : ours;
            theirs = other > theirs ? other : theirs;
        }
        bench_row(rows[i].row, "1/s", ours, theirs);
    }
}

int main(int argc, char **argv)
{
    static bench b;
    char path[600];
    char command[600];
    dw_error err = {.message = ""};
    const char *tmp = getenv("TMPDIR");
    bench_options options = {.rounds = 3};
    bench_read_options(&options, argc, argv, "commits a second of a state folder's journal");
    (void)snprintf(b.folder, sizeof b.folder, "%s/dw-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b.folder) == NULL) {
        bench_die("no folder in $TMPDIR");
    }
    (void)snprintf(path, sizeof path, "%s/journal.db", b.folder);
    dw_journal_options journal = {.path = path, .schema = &schema};
    must(dw_journal_open(&b.journal, &journal, &err), &err);
    bench_header();
    run(&b, options.rounds);
    dw_journal_close(b.journal);
    (void)snprintf(command, sizeof command, "rm -r '%s'", b.folder);
    return system(command) == 0 ? 0 : 1;
}
