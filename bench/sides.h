/* One model opened by both engines on the same number of threads, and steps of either. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include "base/counters.h"
#include "common.h"
#include "device/device.h"
#include "inference/context.h"

#define SIDES_SEQUENCES_MAX 256

typedef struct sides {
    const bench_options *options;
    dw_device *device;
    dw_model *model;
    dw_region *region;
    dw_device_view *view;
    dw_context *context;
    int32_t *tokens; /* [options->context], any there are */
    float *logits;   /* [SIDES_SEQUENCES_MAX][vocab_count] */
    size_t vocab_count;
    dw_counters counters;
    dw_sampler *greedy;
    dw_choice choices[SIDES_SEQUENCES_MAX];
    struct llama_model *llama;
    struct llama_context *llama_context;
    struct ggml_threadpool *pool; /* libllama's */
    uint32_t their_length;        /* tokens in its context */
} sides;

/* Ends the program where something fails; so do all of these. */
void sides_open(sides *s, const bench_options *options,
                void (*change)(struct llama_context_params *params));
void sides_close(sides *s);
/* libllama's keys and values as the options ask. */
void sides_their_kv(const bench_options *options, struct llama_context_params *params);

/* Let a step of ours end as the options ask: with logits at `logits`, or a choice. */
void sides_end_step(sides *s, dw_step *step, uint32_t sequence);
/* The same of libllama's last step, its output `row`. */
void sides_end_their_step(sides *s, struct llama_context *context, int32_t row);

/* libllama's threads sleep until its next step. Else they would look for work for tenths of a
 * second, on cores that our next step runs on. */
void sides_rest(sides *s);

/* One way to compute, ours or theirs. `step` takes the tokens from `start` on, where the context
 * must end; `trim` forgets what is behind `length`. */
typedef struct side {
    const char *name;
    void (*step)(sides *s, uint32_t start, uint32_t count);
    void (*trim)(sides *s, uint32_t length);
    uint32_t (*length)(const sides *s);
} side;

extern const side sides_both[2];

/* Bring the context to `depth` tokens. */
void sides_fill(sides *s, const side *which, uint32_t depth);

#endif
