/* What whole actors cost, program and KV cache together: spawned, forked, frozen, thawed. The other
 * side of thawing is computing the tokens again; of the rest there is none, since nobody else has
 * them. The guest is tests/guest/actor_talker.c. Files are in the page cache but for what a freeze
 * brings to the disk; the best of the rounds counts. Microseconds, less is better. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "memory/memory_image.h"

#define FORKS 64  /* at a time, for what one takes of memory */
#define ROOM 256u /* tokens behind the depth */
#define NAME_BYTES 4096
#define MEMORY_BYTES ((size_t)1 << 20)

typedef struct bench {
    const bench_options *options;
    dw_engine *engine;
    dw_model *model;
    dw_module *module;
    char full[64];
    char delta[64];
    char plain[64];
} bench;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static double us_since(uint64_t started)
{
    return (double)(dw_os_clock_ns() - started) / 1e3;
}

static void tell(dw_actor *actor, const char *format, ...) DW_PRINTF(2, 3);
static void tell(dw_actor *actor, const char *format, ...)
{
    char text[64];
    dw_error err = {.message = ""};
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    must(dw_actor_send(actor, NULL, text, (size_t)length, &err), &err);
    must(dw_actor_receive(actor, NULL, NULL, &err), &err);
}

static dw_actor *spawn(const bench *b)
{
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = (dw_model *const *)&b->model,
                                    .model_count = 1,
                                    .context_tokens_max = b->options->context};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    must(dw_actor_spawn(&actor, b->module, &options, &err), &err);
    return actor;
}

static double time_spawn(const bench *b)
{
    uint64_t started = dw_os_clock_ns();
    dw_actor *actor = spawn(b);
    double took = us_since(started);
    dw_actor_destroy(actor);
    return took;
}

/* The first fork after work takes an image of the memory; the next finds it. */
static double time_fork(dw_actor *actor)
{
    dw_actor *child = NULL;
    dw_error err = {.message = ""};
    uint64_t started = dw_os_clock_ns();
    must(dw_actor_fork(&child, actor, NULL, &err), &err);
    double took = us_since(started);
    dw_actor_destroy(child);
    return took;
}

/* Pages of its own that a fork takes until one side writes: its instance, and what it knows of what
 * it shares. */
static double fork_memory(dw_actor *actor)
{
    dw_actor *children[FORKS];
    dw_error err = {.message = ""};
    size_t before = dw_os_rss_bytes();
    for (size_t i = 0; i < FORKS; i++) {
        must(dw_actor_fork(&children[i], actor, NULL, &err), &err);
    }
    size_t after = dw_os_rss_bytes();
    for (size_t i = 0; i < FORKS; i++) {
        dw_actor_destroy(children[i]);
    }
    return (double)(after > before ? after - before : 0) / FORKS;
}

static double time_freeze(dw_actor *actor, const char *path, bool delta, dw_freeze_stats *stats)
{
    dw_error err = {.message = ""};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = delta};
    uint64_t started = dw_os_clock_ns();
    must(dw_actor_freeze(actor, path, &options, stats, &err), &err);
    return us_since(started);
}

/* As many bytes to a new file and onto the disk, and nothing else: what dd does with conv=fsync. */
static double time_plain_write(const char *path, uint64_t bytes)
{
    dw_error err = {.message = ""};
    static unsigned char piece[(size_t)1 << 20];
    for (size_t i = 0; i < sizeof piece; i++) { /* nothing that a disk could leave out */
        piece[i] = (unsigned char)((i * 2654435761u) >> 13);
    }
    (void)unlink(path);
    uint64_t started = dw_os_clock_ns();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t at = 0; fd >= 0 && at < bytes; at += sizeof piece) {
        size_t count = bytes - at < sizeof piece ? (size_t)(bytes - at) : sizeof piece;
        must(dw_os_write_at(fd, at, piece, count, &err), &err);
    }
    if (fd < 0 || dw_os_sync(fd) != 0) {
        bench_die("cannot write a file beside the snapshots");
    }
    double took = us_since(started);
    dw_os_close(fd);
    (void)unlink(path);
    return took;
}

static dw_actor *thaw(const bench *b, const char *const *paths, size_t count, double *took)
{
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = paths,
                               .path_count = count,
                               .models = (dw_model *const *)&b->model,
                               .model_count = 1,
                               .module = b->module,
                               .trusted = true};
    uint64_t started = dw_os_clock_ns();
    must(dw_actor_thaw(&actor, b->engine, &options, NULL, &err), &err);
    *took = us_since(started);
    return actor;
}

static double least(double a, double b)
{
    return a == 0.0 || b < a ? b : a;
}

static void at_depth(const bench *b, uint32_t depth)
{
    const char *const paths[] = {b->full, b->delta};
    char row[64];
    double plain = 0.0;
    double took[6] = {0}; /* fork, fork again, freeze, delta, thaw, with the next token */
    double once;
    dw_freeze_stats stats[2] = {{.struct_bytes = sizeof stats[0]},
                                {.struct_bytes = sizeof stats[1]}};
    dw_actor *actor = spawn(b);
    tell(actor, "m");
    uint64_t started = dw_os_clock_ns();
    tell(actor, "n%u", depth);
    double prefill = us_since(started);
    for (int i = 0; i < b->options->rounds; i++) {
        tell(actor, "+1"); /* its memory has changed */
        took[0] = least(took[0], time_fork(actor));
        took[1] = least(took[1], time_fork(actor));
        took[2] = least(took[2], time_freeze(actor, b->full, false, &stats[0]));
        plain = least(plain, time_plain_write(b->plain, stats[0].file_bytes));
        dw_actor *thawed = thaw(b, paths, 1, &once);
        took[4] = least(took[4], once);
        dw_actor_destroy(thawed);
        started = dw_os_clock_ns();
        thawed = thaw(b, paths, 1, &once);
        tell(thawed, "n1");
        took[5] = least(took[5], us_since(started));
        tell(thawed, "n63");
        took[3] = least(took[3], time_freeze(thawed, b->delta, true, &stats[1]));
        dw_actor_destroy(thawed);
    }
    static const char *const names[] = {"fork_after_work", "fork", "freeze",
                                        "freeze_64_more",  "thaw", "thaw_and_next_token"};
    for (size_t i = 0; i < 6; i++) {
        (void)snprintf(row, sizeof row, "actor_%u_tokens_%s", depth, names[i]);
        bench_row(row, "us", took[i], i >= 4 ? prefill : 0.0);
    }
    (void)snprintf(row, sizeof row, "actor_%u_tokens_plain_write", depth);
    bench_figure(row, "us", plain);
    (void)snprintf(row, sizeof row, "actor_%u_tokens_file", depth);
    bench_figure(row, "bytes", (double)stats[0].file_bytes);
    (void)snprintf(row, sizeof row, "actor_%u_tokens_delta_file", depth);
    bench_figure(row, "bytes", (double)stats[1].file_bytes);
    (void)snprintf(row, sizeof row, "actor_%u_tokens_fork_memory", depth);
    bench_figure(row, "bytes", fork_memory(actor));
    dw_actor_destroy(actor);
}

/* A guest's memory alone: mapped from a file over fresh pages. */
static void memory_alone(const bench *b)
{
    double took = 0.0;
    int fd = -1;
    dw_error err = {.message = ""};
    dw_memory_image *image = NULL;
    must(dw_os_memfd(&fd, "bench", MEMORY_BYTES, &err), &err);
    const dw_block_piece all = {.count = MEMORY_BYTES / DW_IMAGE_BLOCK_BYTES, .fd = fd};
    must(dw_memory_image_of_pieces(&image, MEMORY_BYTES, &all, 1, 1, &err), &err);
    for (int i = 0; i < b->options->rounds * 10; i++) {
        dw_region *region = NULL;
        dw_region_options options = {
            .reserve_bytes = MEMORY_BYTES, .commit_bytes = MEMORY_BYTES, .label = "bench"};
        must(dw_region_create(&region, &options, &err), &err);
        uint64_t started = dw_os_clock_ns();
        must(dw_memory_image_map(image, region, &err), &err);
        took = least(took, us_since(started));
        dw_region_destroy(region);
    }
    bench_figure("memory_thaw_1_mib", "us", took);
    dw_memory_image_unref(image);
    dw_os_close(fd);
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 5, .context = 4096 + ROOM};
    dw_error err = {.message = ""};
    bench_read_options(&options, argc, argv, "Spawning, forking, freezing and thawing actors.");
    if (options.context <= ROOM + 24) {
        bench_die("--context: more than 280 is needed here");
    }
    bench b = {.options = &options};
    dw_engine_options engine = {
        .struct_bytes = sizeof engine, .device = options.device, .threads = options.threads};
    must(dw_engine_create(&b.engine, &engine, &err), &err);
    must(dw_model_open(&b.model, b.engine, options.model, &err), &err);
    must(dw_module_open(&b.module, b.engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm", &err), &err);
    (void)snprintf(b.full, sizeof b.full, "bench-actor-%ld.snapshot", (long)getpid());
    (void)snprintf(b.delta, sizeof b.delta, "bench-actor-%ld.delta", (long)getpid());
    (void)snprintf(b.plain, sizeof b.plain, "bench-actor-%ld.plain", (long)getpid());
    bench_header();
    double spawned = 0.0;
    for (int i = 0; i < options.rounds * 10; i++) {
        spawned = least(spawned, time_spawn(&b));
    }
    bench_figure("actor_spawn", "us", spawned);
    memory_alone(&b);
    if (bench_wants(&options, "actor_24_tokens")) {
        at_depth(&b, 24);
    }
    if (bench_wants(&options, "actor_4096_tokens")) {
        at_depth(&b, options.context - ROOM);
    }
    (void)unlink(b.full);
    (void)unlink(b.delta);
    dw_module_unref(b.module);
    dw_model_unref(b.model);
    dw_engine_destroy(b.engine);
    return 0;
}
