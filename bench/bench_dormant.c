/* What dormant actors cost: a state folder with many of them is opened by a runtime, which takes so
 * much memory above one without actors, listed, with ids alone and with all that is known of each,
 * one is told a message; the same is opened to look only. What lists take of processors' time
 * stands beside them, of which others on the machine take none. They are copies of one actor, whose
 * rows and file are multiplied here. There is no other side. The folder is made where $TMPDIR says.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "journal/journal.h"
#include "store/folder_tables.h"

#define ACTORS 100000
#define LINKS 30000 /* of one file: file systems allow 65,000 */
#define LISTED 1024
#define FILE_NAME "00000001-000000000000.full.snapshot"
#define PATH_BYTES 700

typedef struct bench {
    char folder[512];
    char first[DW_ACTOR_ID_CHARS + 1];
    char last[DW_ACTOR_ID_CHARS + 1]; /* listed */
    size_t count;
    dw_engine *engine;
    dw_module *module;
} bench;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static double ms_since(uint64_t begun)
{
    return (double)(dw_os_clock_ns() - begun) / 1e6;
}

static void note_best(double *best, double took)
{
    *best = took < *best ? took : *best;
}

static double processor_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static dw_runtime *open_runtime(const bench *b, const char *path, bool read_only)
{
    dw_runtime *runtime = NULL;
    dw_error err = {.message = ""};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = path, .read_only = read_only};
    must(dw_runtime_open(&runtime, b->engine, &options, &err), &err);
    return runtime;
}

/* ---- many of one ---------------------------------------------------------------------------- */

/* ?1 is the new one's id, ?2 the first one's. */
static const char *const copies[] = {
    "INSERT INTO actor(id, depth, head, module, sequence, done, numbered, timer_ms) SELECT ?1, "
    "depth, ?1, module, sequence, done, numbered, timer_ms FROM actor WHERE id = ?2",
    "INSERT INTO snapshot(actor, sequence, done, whole, pending, bytes, identity) SELECT ?1, "
    "sequence, done, whole, pending, bytes, identity FROM snapshot WHERE actor = ?2"};

static uint64_t id_of(uint64_t number)
{
    return number * UINT64_C(0x9e3779b97f4a7c15); /* odd: each once */
}

static dw_status copy_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    const uint64_t first = *(const uint64_t *)user;
    dw_status status = DW_OK;
    for (uint64_t i = 1; i < ACTORS && status == DW_OK; i++) {
        for (uint32_t k = 0; k < 2 && status == DW_OK; k++) {
            dw_query *query = dw_journal_query(tx, k);
            dw_query_u64(query, id_of(i));
            dw_query_u64(query, first);
            status = dw_query_run(query, err);
        }
    }
    return status;
}

static void copy_files(const bench *b)
{
    char from[PATH_BYTES];
    char to[PATH_BYTES];
    char text[2 * PATH_BYTES + 16];
    (void)snprintf(from, sizeof from, "%s/actors/%s/" FILE_NAME, b->folder, b->first);
    for (uint64_t i = 1; i < ACTORS; i++) {
        (void)snprintf(to, sizeof to, "%s/actors/%016" PRIx64, b->folder, id_of(i));
        if (mkdir(to, 0700) != 0) {
            bench_die("a folder cannot be made");
        }
        (void)snprintf(to, sizeof to, "%s/actors/%016" PRIx64 "/" FILE_NAME, b->folder, id_of(i));
        (void)snprintf(text, sizeof text, "cp '%s' '%s'", from, to);
        if (i % LINKS == 0 ? system(text) != 0 : link(from, to) != 0) {
            bench_die("a snapshot cannot be copied");
        }
        if (i % LINKS == 0) {
            (void)snprintf(from, sizeof from, "%s", to);
        }
    }
}

static void make_many(bench *b)
{
    char path[PATH_BYTES];
    dw_error err = {.message = ""};
    dw_journal *journal = NULL;
    dw_journal_schema schema = dw_folder_schema;
    dw_runtime *runtime = open_runtime(b, b->folder, false);
    must(dw_runtime_spawn(runtime, b->module, NULL, b->first, &err), &err);
    dw_runtime_close(runtime);
    uint64_t first = strtoull(b->first, NULL, 16);
    schema.statements = copies;
    schema.statement_count = 2;
    (void)snprintf(path, sizeof path, "%s/" DW_FOLDER_JOURNAL, b->folder);
    dw_journal_options options = {.path = path, .schema = &schema};
    must(dw_journal_open(&journal, &options, &err), &err);
    must(dw_journal_write(journal, copy_rows, &first, false, &err), &err);
    dw_journal_close(journal);
    copy_files(b);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void take(void *user, const char *id, const dw_runtime_actor_info *info,
                 const dw_error *problem)
{
    bench *b = user;
    b->count += info != NULL && problem == NULL;
    (void)snprintf(b->last, sizeof b->last, "%s", id);
}

static void list_infos(bench *b, dw_runtime *runtime, double *ms, double *processor)
{
    dw_error err = {.message = ""};
    uint64_t begun = dw_os_clock_ns();
    double worked = processor_ms();
    b->count = 0;
    b->last[0] = '\0';
    for (size_t before = 1; before != b->count;) {
        before = b->count;
        must(dw_runtime_list_infos(runtime, before > 0 ? b->last : NULL, LISTED, take, b, &err),
             &err);
    }
    if (b->count != ACTORS) {
        bench_die("not all are listed");
    }
    note_best(ms, ms_since(begun));
    note_best(processor, processor_ms() - worked);
}

static double list_ids_ms(dw_runtime *runtime)
{
    static char ids[LISTED][DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    size_t all = 0;
    size_t count = LISTED;
    char after[DW_ACTOR_ID_CHARS + 1] = "";
    uint64_t begun = dw_os_clock_ns();
    while (count == LISTED) {
        must(dw_runtime_list(runtime, after, ids, LISTED, &count, &err), &err);
        all += count;
        if (count > 0) {
            memcpy(after, ids[count - 1], sizeof after);
        }
    }
    if (all != ACTORS) {
        bench_die("not all are listed");
    }
    return ms_since(begun);
}

/* A message to one, until its end is told and it is on the disk. */
static double wake_ms(dw_runtime *runtime, uint64_t number)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    const dw_request request = {
        .struct_bytes = sizeof request, .message = "+1", .message_bytes = 2};
    (void)snprintf(id, sizeof id, "%016" PRIx64, id_of(number));
    uint64_t begun = dw_os_clock_ns();
    must(dw_runtime_call(runtime, id, &request, &err), &err);
    return ms_since(begun);
}

static void run(bench *b, int rounds)
{
    enum { OPEN, LIST_IDS, LIST, LIST_WORK, TELL, LOOK, LOOK_LIST, LOOK_LIST_WORK, FIGURES };
    static const char *const names[FIGURES] = {
        "open_100000", "list_ids_100000", "list_100000",      "list_100000_processor",
        "tell_one",    "look_100000",     "look_list_100000", "look_list_100000_processor"};
    char empty[PATH_BYTES];
    double best[FIGURES] = {1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9};
    double taken = 0;
    (void)snprintf(empty, sizeof empty, "%s/empty", b->folder);
    for (int i = 0; i < rounds; i++) {
        dw_runtime *none = open_runtime(b, empty, false);
        size_t before = dw_os_rss_bytes();
        uint64_t begun = dw_os_clock_ns();
        dw_runtime *runtime = open_runtime(b, b->folder, false);
        note_best(&best[OPEN], ms_since(begun));
        (void)wake_ms(runtime, 7 + (uint64_t)i); /* compiles the module */
        note_best(&best[LIST_IDS], list_ids_ms(runtime));
        taken = (double)dw_os_rss_bytes() - (double)before;
        list_infos(b, runtime, &best[LIST], &best[LIST_WORK]);
        for (uint64_t k = 0; k < 20; k++) {
            note_best(&best[TELL], wake_ms(runtime, 1000 + 40 * k + (uint64_t)i));
        }
        dw_runtime_close(runtime);
        dw_runtime_close(none);
        begun = dw_os_clock_ns();
        runtime = open_runtime(b, b->folder, true);
        note_best(&best[LOOK], ms_since(begun));
        list_infos(b, runtime, &best[LOOK_LIST], &best[LOOK_LIST_WORK]);
        dw_runtime_close(runtime);
    }
    for (int k = 0; k < FIGURES; k++) {
        bench_figure(names[k], "ms", best[k]);
    }
    bench_figure("memory_of_100000", "MiB", taken / 1048576);
}

int main(int argc, char **argv)
{
    static bench b;
    char command[600];
    dw_error err = {.message = ""};
    const char *tmp = getenv("TMPDIR");
    bench_options options = {.rounds = 3};
    dw_engine_options cpu = {.struct_bytes = sizeof cpu, .device = "CPU"};
    bench_read_options(&options, argc, argv, "a state folder with 100,000 dormant actors");
    (void)snprintf(b.folder, sizeof b.folder, "%s/dw-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b.folder) == NULL) {
        bench_die("no folder in $TMPDIR");
    }
    must(dw_engine_create(&b.engine, &cpu, &err), &err);
    must(dw_module_open(&b.module, b.engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm", &err), &err);
    make_many(&b);
    bench_header();
    run(&b, options.rounds);
    dw_module_unref(b.module);
    dw_engine_destroy(b.engine);
    (void)snprintf(command, sizeof command, "rm -r '%s'", b.folder);
    return system(command) == 0 ? 0 : 1;
}
