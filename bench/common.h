/* What the benchmarks share: their options, the other side's model, and rows of CSV. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <llama.h>
#include <stdbool.h>
#include <stdint.h>

struct ggml_threadpool;

enum { BENCH_PATH_BYTES = 4096 };

/* Which of ggml's buffer types with kernels of their own libllama may copy weights into. */
typedef enum bench_extra {
    BENCH_EXTRA_NONE,   /* the mapped file as it is, as for us */
    BENCH_EXTRA_REPACK, /* all but AMX, which traps on some virtual machines that show it */
    BENCH_EXTRA_ALL     /* llama.cpp's own default */
} bench_extra;

/* Which side's steps are run: one alone is for profilers. */
typedef enum bench_sides { BENCH_BOTH, BENCH_OURS, BENCH_THEIRS } bench_sides;

typedef struct bench_options {
    const char *model;
    const char *device; /* NULL: the CPU */
    bool choose;        /* a step ends with the likeliest token, not with a row of logits */
    const char *rows;   /* a list with commas; NULL: all */
    int threads;
    int rounds;
    uint32_t context; /* tokens that a context is made for */
    bench_extra extra;
    bench_sides sides;
    bool kv_q8;  /* keys and values of both sides' contexts in Q8_0, where sides.h opens them */
    bool median; /* of the rounds, and of their ratios, in the place of the best of each */
} bench_options;

/* Read the command line over `options`, which holds the defaults (model NULL and threads 0: the
 * default model, the real cores). Prints and ends the program for --help and mistakes. */
void bench_read_options(bench_options *options, int argc, char **argv, const char *about);
/* The file that `make model` brings. */
const char *bench_default_model(void);
/* Whether --rows asks for this one: by its name, or by a beginning of it. */
bool bench_wants(const bench_options *options, const char *row);

/* Print why and end the program. */
void bench_die(const char *what);

/* A new, empty file in $TMPDIR, or /tmp, whose name has `what` in it: its path into `path`. The
 * caller removes it. Ends the program where there is no place. */
void bench_temporary(char path[BENCH_PATH_BYTES], const char *what);

/* One row of results: both values in `unit`, and what ours is by theirs. */
void bench_row(const char *row, const char *unit, double ours, double theirs);
/* The same of `count` rounds, as the options ask: the best of each side; or medians, and that of
 * the rounds' own ratios, which says more where other programs run. Sorts both. */
void bench_rounds(const bench_options *options, const char *row, const char *unit, double *rates[2],
                  int count);
/* The value that `share` of them do not exceed; they are sorted. NaN: there are none. */
double bench_quantile(double *values, size_t count, double share);
/* A figure that only one value belongs to, as the row itself: "name,unit,value,,". */
void bench_figure(const char *name, const char *unit, double value);
/* The columns' names of the above. */
void bench_header(void);

/* libllama quiet, its model mapped. Ends the program where that fails. */
struct llama_model *bench_their_model(const char *path, const char *device, bench_extra extra);
/* What a context of ours is like: for `tokens_max` tokens, flash attention, no measuring. */
struct llama_context_params bench_their_params(uint32_t tokens_max, int threads);
/* A context with a pool of threads, as llama.cpp's own tools keep one: new where *pool is NULL. */
struct llama_context *bench_their_context(struct llama_model *model,
                                          const struct llama_context_params *params,
                                          struct ggml_threadpool **pool);

#endif
