/* What KV logs cost in a device's memory by address ranges: records of 32 KiB, as Llama 3.2 1B's
 * in F16, filled by the host, no model. On a machine without such a device the emulation is
 * measured, whose figures say nothing but that it runs. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/os.h"
#include "common.h"
#include "kv/kv_log.h"
#include "kv/kv_pool.h"

#define DELTA_RECORDS 64u

static const char help[] =
    "usage: bench_vram [--device NAME] [--records N] [--record-bytes N] [--rounds N]\n"
    "\n"
    "KV logs in device memory by address ranges (CUDA), or emulated in host memory where\n"
    "there is none (--device CPU, the default, says so). Files are in $TMPDIR, in the page\n"
    "cache. The best round counts. CSV: row, unit, value.\n"
    "\n"
    "Goals on one H200 with 16 cores, 4,096 records of 32 KiB (128 MiB):\n"
    "  thaw        from a file in the page cache          <=  5 ms\n"
    "  freeze      checksum and file, without fsync       <= 10 ms\n"
    "  delta       the same for 64 more records (2 MiB)   <=  2 ms\n"
    "  fork        full allocations mapped again          <=  1 ms\n"
    "  grow_wait   allocations that a step waited for         0 but the first\n"
    "\n"
    "  -d, --device NAME        as of `driftwood devices`\n"
    "  -c, --records N          default 4096\n"
    "  -b, --record-bytes N     default 32768\n"
    "  -n, --rounds N           default 10\n"
    "  -h, --help               this text\n";

typedef struct bench {
    dw_device *device;
    uint32_t records;
    size_t record_bytes;
    int rounds;
    char path[4096];
    unsigned char *some; /* [DELTA_RECORDS][record_bytes] */
} bench;

static double us_since(uint64_t started)
{
    return (double)(dw_os_clock_ns() - started) / 1e3;
}

static double least(double best, double now)
{
    return best == 0 || now < best ? now : best;
}

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static dw_kv_log_options log_options(const bench *b)
{
    return (dw_kv_log_options){.record_bytes = b->record_bytes,
                               .capacity_tokens = 4 * b->records,
                               .in_device_memory = true};
}

static dw_kv_log *new_log(bench *b)
{
    dw_kv_log *log = NULL;
    dw_error err = {0};
    dw_kv_log_options options = log_options(b);
    must(dw_kv_log_create(&log, b->device, &options, &err), &err);
    return log;
}

static void append(bench *b, dw_kv_log *log, uint32_t count)
{
    dw_error err = {0};
    while (count > 0) {
        uint32_t now = count < DELTA_RECORDS ? count : DELTA_RECORDS;
        must(dw_kv_log_append(log, b->some, now, &err), &err);
        count -= now;
    }
}

static dw_kv_stats memory_of(bench *b)
{
    dw_kv_stats memory = {.struct_bytes = sizeof memory};
    (void)dw_kv_pool_get_stats(b->device, &memory);
    return memory;
}

/* ---- rows ---- */

static void create_logs(bench *b)
{
    double best = 0;
    for (int i = 0; i <= b->rounds; i++) {
        uint64_t started = dw_os_clock_ns();
        dw_kv_log *log = new_log(b);
        best = least(best, us_since(started));
        dw_kv_log_destroy(log);
    }
    bench_figure("create", "us", best);
}

/* As decoding does: one record a step. Steps as long as one that only the host makes are told apart
 * from those that had an allocation to wait for. */
static void grow(bench *b)
{
    dw_error err = {0};
    dw_kv_log *log = new_log(b);
    dw_kv_stats before = memory_of(b);
    double most = 0;
    uint64_t started = dw_os_clock_ns();
    for (uint32_t i = 0; i < b->records; i++) {
        uint64_t step = dw_os_clock_ns();
        must(dw_kv_log_reserve(log, i + 1, &err), &err);
        double took = us_since(step);
        most = took > most ? took : most;
        dw_kv_log_extend(log, i + 1);
        (void)usleep(i % 8 == 0 ? 100 : 0); /* what a step computes, about, for a few */
    }
    dw_kv_stats after = memory_of(b);
    bench_figure("grow_all_steps", "us", us_since(started));
    bench_figure("grow_longest_step", "us", most);
    bench_figure("grow_pieces", "count", (double)(after.growth_count - before.growth_count));
    bench_figure("grow_wait", "count", (double)(after.wait_count - before.wait_count));
    dw_kv_log_destroy(log);
}

static void fork_at(bench *b, dw_kv_log *parent, const char *name)
{
    dw_error err = {0};
    char row[64];
    double best = 0;
    uint64_t copied = memory_of(b).copied_bytes;
    for (int i = 0; i <= b->rounds; i++) {
        dw_kv_log *log = NULL;
        uint64_t started = dw_os_clock_ns();
        must(dw_kv_log_fork(&log, parent, &err), &err);
        best = least(best, us_since(started));
        dw_kv_log_destroy(log);
    }
    copied = memory_of(b).copied_bytes - copied;
    bench_figure(name, "us", best);
    (void)snprintf(row, sizeof row, "%s_copies", name);
    bench_figure(row, "bytes", (double)copied / (b->rounds + 1));
}

/* ---- files ---- */

typedef struct frozen {
    int fd;
    dw_hash128 *hash;
} frozen;

static dw_status hash_part(void *user, const void *from, size_t bytes, dw_error *err)
{
    (void)err;
    dw_hash128_add(((frozen *)user)->hash, from, bytes);
    return DW_OK;
}

static dw_status write_part(void *user, uint64_t offset, const void *from, size_t bytes,
                            dw_error *err)
{
    return dw_os_write_at(((const frozen *)user)->fd, offset, from, bytes, err);
}

/* How a freeze goes, or a part of it: what is left out shows what bounds it. */
typedef struct way {
    const char *name;
    bool hashed;
    bool written;
} way;

static void freeze(bench *b, dw_kv_log *log, uint32_t from, const char *what)
{
    static const way ways[] = {
        {"", true, true}, {"_hash_only", true, false}, {"_write_only", false, true}};
    size_t offset = from * b->record_bytes;
    size_t bytes = dw_kv_log_length(log) * b->record_bytes - offset;
    for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
        double best = 0;
        double best_sync = 0;
        char row[64];
        for (int i = 0; i <= b->rounds; i++) {
            dw_error err = {0};
            (void)unlink(b->path);
            frozen file = {.fd = open(b->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
                           .hash = dw_hash128_create()};
            if (file.fd < 0 || file.hash == NULL) {
                bench_die("cannot make a file");
            }
            dw_sink sink = {.in_order = ways[k].hashed ? hash_part : NULL,
                            .anywhere = ways[k].written ? write_part : NULL,
                            .user = &file};
            uint64_t started = dw_os_clock_ns();
            must(dw_kv_log_stream(log, offset, bytes, &sink, &err), &err);
            best = least(best, us_since(started));
            started = dw_os_clock_ns();
            (void)dw_os_sync(file.fd);
            best_sync = least(best_sync, us_since(started));
            dw_hash128_destroy(file.hash);
            dw_os_close(file.fd);
        }
        (void)snprintf(row, sizeof row, "%s%s", what, ways[k].name);
        bench_figure(row, "us", best);
        if (k == 0) {
            (void)snprintf(row, sizeof row, "%s_fsync", what);
            bench_figure(row, "us", best_sync);
        }
    }
}

static void thaw(bench *b)
{
    dw_error err = {0};
    double best = 0;
    double first = 0;
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    dw_kv_segment segment = {fd, 0, 0, b->records * b->record_bytes};
    dw_kv_frozen file = {.segments = &segment, .segment_count = 1, .length = b->records};
    dw_kv_log_options options = log_options(b);
    for (int i = 0; i <= b->rounds; i++) {
        dw_kv_log *log = NULL;
        uint64_t started = dw_os_clock_ns();
        must(dw_kv_log_thaw(&log, b->device, &options, &file, &err), &err);
        double took = us_since(started);
        first = i == 0 ? took : first;
        best = least(best, took);
        dw_kv_log_destroy(log);
    }
    bench_figure("thaw", "us", best);
    bench_figure("thaw_first", "us", first); /* nothing is ready yet */
    dw_os_close(fd);
}

static void evict_and_restore(bench *b, dw_kv_log *log)
{
    dw_error err = {0};
    double evict = 0;
    double restore = 0;
    for (int i = 0; i <= b->rounds; i++) {
        uint64_t started = dw_os_clock_ns();
        must(dw_kv_pool_evict(b->device, &err), &err);
        evict = least(evict, us_since(started));
        started = dw_os_clock_ns();
        must(dw_kv_log_make_resident(log, &err), &err);
        restore = least(restore, us_since(started));
    }
    bench_figure("evict", "us", evict);
    bench_figure("restore", "us", restore);
}

/* ---- the whole ---- */

static long number_of(const char *text, long most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > most) {
        (void)fprintf(stderr, "bench: '%s', a number from 1 to %ld is needed\n", text, most);
        exit(2);
    }
    return value;
}

static const char *read_options(bench *b, int argc, char **argv)
{
    static const struct option known[] = {{"device", required_argument, NULL, 'd'},
                                          {"records", required_argument, NULL, 'c'},
                                          {"record-bytes", required_argument, NULL, 'b'},
                                          {"rounds", required_argument, NULL, 'n'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *device = "CPU";
    for (int option; (option = getopt_long(argc, argv, "d:c:b:n:h", known, NULL)) != -1;) {
        switch (option) {
        case 'd':
            device = optarg;
            break;
        case 'c':
            b->records = (uint32_t)number_of(optarg, 1 << 20);
            break;
        case 'b':
            b->record_bytes = (size_t)number_of(optarg, 1 << 24);
            break;
        case 'n':
            b->rounds = (int)number_of(optarg, 1000);
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "bench: unknown argument '%s'; see --help\n", argv[optind]);
        exit(2);
    }
    return device;
}

static void open_bench(bench *b, const char *device)
{
    const char *folder = getenv("TMPDIR");
    dw_error err = {0};
    dw_kv_pool_options pool = {.emulation = {.granularity_bytes = (size_t)2 << 20}};
    must(dw_device_open(&b->device, device, 0, &err), &err);
    must(dw_kv_pool_open(b->device, &pool, &err), &err);
    if (dw_device_unified(b->device)) {
        (void)fprintf(stderr, "bench_vram: %s has no memory of its own; this is the emulation\n",
                      dw_device_info_of(b->device)->name);
    }
    (void)snprintf(b->path, sizeof b->path, "%s/dw-bench-vram-%ld",
                   folder != NULL ? folder : "/tmp", (long)getpid());
    b->some = malloc(DELTA_RECORDS * b->record_bytes);
    if (b->some == NULL) {
        bench_die("no memory for records");
    }
    for (size_t i = 0; i < DELTA_RECORDS * b->record_bytes; i++) {
        b->some[i] = (unsigned char)(i * 31 % 113);
    }
}

int main(int argc, char **argv)
{
    static bench b = {.records = 4096, .record_bytes = 32768, .rounds = 10};
    dw_error err = {0};
    open_bench(&b, read_options(&b, argc, argv));
    (void)printf("row,unit,value,,\n");
    create_logs(&b);
    grow(&b);
    dw_kv_log *log = new_log(&b);
    must(dw_kv_log_reserve(log, b.records, &err), &err); /* as a prompt of that length does */
    append(&b, log, b.records);
    fork_at(&b, log, "fork");
    append(&b, log, DELTA_RECORDS);
    fork_at(&b, log, "fork_behind_64_more");
    freeze(&b, log, b.records, "delta");
    dw_kv_log_trim(log, b.records);
    freeze(&b, log, 0, "freeze");
    thaw(&b);
    evict_and_restore(&b, log);
    dw_kv_log_destroy(log);
    bench_figure("state", "bytes", (double)(b.records * b.record_bytes));
    (void)unlink(b.path);
    free(b.some);
    dw_device_close(b.device);
    return 0;
}
