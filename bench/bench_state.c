/* What a context's state costs: forking it, writing it to a file, and having it again from there,
 * against computing its tokens again. libllama's state functions on the same tokens are the other
 * side. Files are in the page cache. Both sides take turns, the best round of each counts, but for
 * the prompt, which is computed once. Less is better. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "sides.h"

#define ROOM 64u /* tokens that contexts have room for behind the depth */
#define FORKS 64 /* at a time, for what one takes of memory */

typedef struct bench {
    sides s;
    uint32_t depth;
    char our_path[BENCH_PATH_BYTES];
    char their_path[BENCH_PATH_BYTES];
    unsigned char *their_state; /* [their_bytes], of llama_state_seq_get_data */
    size_t their_bytes;
    float *logits; /* [vocab_count], ours of the token behind, computed without thawing */
    int identical; /* thawed contexts whose logits of the token behind were these, bit by bit */
} bench;

static double us_since(uint64_t started)
{
    return (double)(dw_os_clock_ns() - started) / 1e3;
}

/* Two sequences that may share cells, each as long as a context. */
static void two_sequences(struct llama_context_params *params)
{
    params->n_ctx *= 2;
    params->n_seq_max = 2;
    params->kv_unified = true;
}

/* ---- ours ---- */

static double fork_ours(bench *b)
{
    dw_context *fork = NULL;
    dw_error err = {0};
    uint64_t started = dw_os_clock_ns();
    if (dw_context_fork(&fork, b->s.context, &err) != DW_OK) {
        bench_die(err.message);
    }
    double took = us_since(started);
    dw_context_destroy(fork);
    return took;
}

static void write_all(int fd, const void *from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t written = write(fd, (const char *)from + done, bytes - done);
        if (written <= 0) {
            bench_die("cannot write the state's file");
        }
        done += (size_t)written;
    }
}

static dw_status write_part(void *user, uint64_t offset, const void *from, size_t bytes,
                            dw_error *err)
{
    return dw_os_write_at(*(const int *)user, offset, from, bytes, err);
}

/* The file: records, then tokens. A new one each time: emptying the old one is no part of it. */
static double freeze_ours(bench *b)
{
    (void)unlink(b->our_path);
    uint64_t started = dw_os_clock_ns();
    dw_kv_log *log = dw_context_log(b->s.context);
    int fd = open(b->our_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        bench_die("cannot make the state's file");
    }
    dw_sink sink = {.anywhere = write_part, .user = &fd};
    dw_error err = {0};
    if (dw_kv_log_stream(log, 0, b->depth * dw_kv_log_record_bytes(log), &sink, &err) != DW_OK ||
        lseek(fd, 0, SEEK_END) < 0) {
        bench_die(err.message);
    }
    write_all(fd, dw_context_tokens(b->s.context), b->depth * sizeof(int32_t));
    dw_os_close(fd);
    return us_since(started);
}

static dw_context *thaw(bench *b, size_t record_bytes)
{
    dw_error err = {0};
    dw_context *context = NULL;
    int fd = open(b->our_path, O_RDONLY | O_CLOEXEC);
    int32_t *tokens = malloc(b->depth * sizeof *tokens);
    size_t bytes = b->depth * record_bytes;
    dw_kv_segment segment = {.fd = fd, .bytes = bytes};
    dw_context_thaw_options options = {
        .tokens_max = b->s.options->context, .tokens = tokens, .frozen = {&segment, 1, b->depth}};
    if (tokens == NULL ||
        dw_os_read_at(fd, bytes, tokens, b->depth * sizeof *tokens, &err) != DW_OK ||
        dw_context_thaw(&context, b->s.model, &options, NULL, &err) != DW_OK) {
        bench_die(err.message);
    }
    free(tokens);
    dw_os_close(fd);
    return context;
}

static double thaw_ours(bench *b)
{
    size_t record_bytes = dw_kv_log_record_bytes(dw_context_log(b->s.context));
    uint64_t started = dw_os_clock_ns();
    dw_context *context = thaw(b, record_bytes);
    double took = us_since(started);
    dw_context_destroy(context);
    return took;
}

static double thaw_next_ours(bench *b)
{
    dw_context *kept = b->s.context;
    size_t record_bytes = dw_kv_log_record_bytes(dw_context_log(kept));
    uint64_t started = dw_os_clock_ns();
    b->s.context = thaw(b, record_bytes);
    sides_both[0].step(&b->s, b->depth, 1);
    double took = us_since(started);
    if (memcmp(b->logits, b->s.logits, b->s.vocab_count * sizeof *b->logits) != 0) {
        bench_die("the thawed context's logits differ");
    }
    b->identical++;
    dw_context_destroy(b->s.context);
    b->s.context = kept;
    return took;
}

static double next_of(bench *b, int which)
{
    uint64_t started = dw_os_clock_ns();
    sides_both[which].step(&b->s, b->depth, 1);
    double took = us_since(started);
    sides_both[which].trim(&b->s, b->depth);
    return took;
}

/* The token behind without a thaw: what thaw_next cannot be faster than. */
static double next_ours(bench *b)
{
    return next_of(b, 0);
}

static double next_theirs(bench *b)
{
    return next_of(b, 1);
}

/* Pages of its own that a fork takes until one side writes. */
static void fork_memory(bench *b)
{
    dw_context *forks[FORKS];
    char name[64];
    dw_error err = {0};
    (void)snprintf(name, sizeof name, "fork_%u_memory", b->depth);
    if (!bench_wants(b->s.options, name)) {
        return;
    }
    size_t before = dw_os_rss_bytes();
    for (size_t i = 0; i < FORKS; i++) {
        if (dw_context_fork(&forks[i], b->s.context, &err) != DW_OK) {
            bench_die(err.message);
        }
    }
    size_t after = dw_os_rss_bytes();
    bench_figure(name, "bytes", (double)(after > before ? after - before : 0) / FORKS);
    for (size_t i = 0; i < FORKS; i++) {
        dw_context_destroy(forks[i]);
    }
}

/* ---- theirs ---- */

static void forget(bench *b, llama_seq_id sequence)
{
    (void)llama_memory_seq_rm(llama_get_memory(b->s.llama_context), sequence, -1, -1);
}

/* The state copied out and into another sequence. */
static double copy_theirs(bench *b)
{
    struct llama_context *context = b->s.llama_context;
    uint64_t started = dw_os_clock_ns();
    if (llama_state_seq_get_data(context, b->their_state, b->their_bytes, 0) != b->their_bytes ||
        llama_state_seq_set_data(context, b->their_state, b->their_bytes, 1) == 0) {
        bench_die("libllama cannot copy its state");
    }
    double took = us_since(started);
    forget(b, 1);
    return took;
}

/* Cells shared by two sequences of one context, which then are computed in that context only. */
static double share_theirs(bench *b)
{
    uint64_t started = dw_os_clock_ns();
    llama_memory_seq_cp(llama_get_memory(b->s.llama_context), 0, 1, -1, -1);
    double took = us_since(started);
    forget(b, 1);
    return took;
}

static double freeze_theirs(bench *b)
{
    (void)unlink(b->their_path);
    uint64_t started = dw_os_clock_ns();
    if (llama_state_seq_save_file(b->s.llama_context, b->their_path, 0, b->s.tokens, b->depth) ==
        0) {
        bench_die("libllama cannot save its state");
    }
    return us_since(started);
}

static void load_theirs(bench *b)
{
    size_t count = 0;
    int32_t *tokens = malloc(b->depth * sizeof *tokens);
    if (tokens == NULL || llama_state_seq_load_file(b->s.llama_context, b->their_path, 0, tokens,
                                                    b->depth, &count) == 0) {
        bench_die("libllama cannot load its state");
    }
    free(tokens);
}

static double thaw_theirs(bench *b)
{
    forget(b, 0);
    uint64_t started = dw_os_clock_ns();
    load_theirs(b);
    return us_since(started);
}

static double thaw_next_theirs(bench *b)
{
    forget(b, 0);
    uint64_t started = dw_os_clock_ns();
    load_theirs(b);
    sides_both[1].step(&b->s, b->depth, 1);
    double took = us_since(started);
    sides_both[1].trim(&b->s, b->depth);
    return took;
}

/* ---- rows ---- */

typedef struct row {
    const char *name; /* then _DEPTH, then `suffix` */
    const char *suffix;
    double (*ours)(bench *b); /* microseconds */
    double (*theirs)(bench *b);
} row;

static const row rows[] = {
    {"fork", "", fork_ours, copy_theirs},
    {"fork", "_seq_cp", fork_ours, share_theirs},
    {"freeze", "", freeze_ours, freeze_theirs},
    {"thaw", "", thaw_ours, thaw_theirs},
    {"thaw_next", "", thaw_next_ours, thaw_next_theirs},
    {"next", "", next_ours, next_theirs},
};

static void run(bench *b, const row *which)
{
    char name[64];
    double ours_best = 0;
    double theirs_best = 0;
    (void)snprintf(name, sizeof name, "%s_%u%s", which->name, b->depth, which->suffix);
    if (!bench_wants(b->s.options, name)) {
        return;
    }
    for (int round = 0; round <= b->s.options->rounds; round++) { /* the first warms up */
        double ours = which->ours(b);
        double theirs = which->theirs(b);
        ours_best = round <= 1 || ours < ours_best ? ours : ours_best;
        theirs_best = round <= 1 || theirs < theirs_best ? theirs : theirs_best;
    }
    bench_row(name, "us", ours_best, theirs_best);
}

/* Both contexts are filled in any case; what it took is a row. */
static void prefill(bench *b)
{
    double took[2];
    char name[64];
    for (int i = 0; i < 2; i++) {
        uint64_t started = dw_os_clock_ns();
        sides_both[i].step(&b->s, 0, b->depth);
        took[i] = us_since(started);
    }
    (void)snprintf(name, sizeof name, "prefill_%u", b->depth);
    if (bench_wants(b->s.options, name)) {
        bench_row(name, "us", took[0], took[1]);
    }
}

static void open_bench(bench *b, const bench_options *options)
{
    sides_open(&b->s, options, two_sequences);
    b->depth = options->context - ROOM;
    bench_header();
    prefill(b);
    size_t logits_bytes = b->s.vocab_count * sizeof *b->logits;
    b->their_bytes = llama_state_seq_get_size(b->s.llama_context, 0);
    b->their_state = malloc(b->their_bytes);
    b->logits = malloc(logits_bytes);
    if (b->their_state == NULL || b->logits == NULL) {
        bench_die("no memory for a copy of the state");
    }
    sides_both[0].step(&b->s, b->depth, 1);
    memcpy(b->logits, b->s.logits, logits_bytes);
    sides_both[0].trim(&b->s, b->depth);
    bench_temporary(b->our_path, "state-ours");
    bench_temporary(b->their_path, "state-theirs");
    (void)freeze_ours(b);
    (void)freeze_theirs(b);
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 20, .context = 4096 + ROOM};
    static bench b;
    bench_read_options(
        &options, argc, argv,
        "Forking a context, freezing it to a file and thawing it, against libllama's\n"
        "state functions and against computing it again. Contexts are filled but for\n"
        "64 of their tokens (--context).");
    if (options.context <= ROOM) {
        bench_die("--context: more than 64 tokens are needed");
    }
    open_bench(&b, &options);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run(&b, &rows[i]);
    }
    fork_memory(&b);
    bench_figure("thaw_identical", "times", (double)b.identical);
    size_t record_bytes = dw_kv_log_record_bytes(dw_context_log(b.s.context));
    bench_figure("kv_state", "bytes", (double)(b.depth * record_bytes));
    bench_figure("their_state", "bytes", (double)b.their_bytes);
    (void)unlink(b.our_path);
    (void)unlink(b.their_path);
    free(b.their_state);
    free(b.logits);
    sides_close(&b.s);
    return 0;
}
