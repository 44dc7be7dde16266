#include "sides.h"

#include <ggml-cpu.h>
#include <string.h>

#include "device/device_view.h"

static void open_ours(sides *s)
{
    const bench_options *o = s->options;
    dw_error err = {0};
    dw_context_options wanted = {.tokens_max = o->context,
                                 .kv_type = o->kv_q8 ? DW_KV_Q8_0 : DW_KV_F16};
    if (dw_device_open(&s->device, o->device, o->threads, &err) != DW_OK ||
        dw_model_load(&s->model, s->device, o->model, &err) != DW_OK ||
        dw_vocab_wait(dw_model_vocab(s->model), &err) != DW_OK ||
        dw_context_create(&s->context, s->model, &wanted, &err) != DW_OK) {
        bench_die(err.message);
    }
    s->vocab_count = dw_model_shape_of(s->model)->vocab_count;
    if (dw_sampler_create(&s->greedy, (uint32_t)s->vocab_count, NULL, &err) != DW_OK) {
        bench_die(err.message);
    }
    size_t bytes = (o->context + SIDES_SEQUENCES_MAX * s->vocab_count) * 4;
    bytes = (bytes + 65535) / 65536 * 65536;
    dw_region_options options = {.reserve_bytes = bytes, .commit_bytes = bytes, .label = "bench"};
    if (dw_region_create(&s->region, &options, &err) != DW_OK ||
        dw_device_view_create(&s->view, s->device, s->region, DW_VIEW_STAGEABLE, &err) != DW_OK) {
        bench_die(err.message);
    }
    s->tokens = dw_region_base(s->region);
    s->logits = (float *)(void *)(s->tokens + o->context);
    for (size_t i = 0; i < o->context; i++) {
        s->tokens[i] = (int32_t)((i * 7919 + 13) % s->vocab_count);
    }
}

void sides_their_kv(const bench_options *options, struct llama_context_params *params)
{
    if (options->kv_q8) {
        params->type_k = GGML_TYPE_Q8_0;
        params->type_v = GGML_TYPE_Q8_0;
    }
}

void sides_open(sides *s, const bench_options *options,
                void (*change)(struct llama_context_params *params))
{
    memset(s, 0, sizeof *s);
    s->options = options;
    open_ours(s);
    s->llama = bench_their_model(options->model, options->device, options->extra);
    struct llama_context_params params = bench_their_params(options->context, options->threads);
    sides_their_kv(options, &params);
    if (change != NULL) {
        change(&params);
    }
    s->llama_context = bench_their_context(s->llama, &params, &s->pool);
}

void sides_close(sides *s)
{
    llama_free(s->llama_context);
    llama_model_free(s->llama);
    ggml_threadpool_free(s->pool);
    dw_context_destroy(s->context);
    dw_sampler_destroy(s->greedy);
    dw_device_view_destroy(s->view);
    dw_region_destroy(s->region);
    dw_model_unref(s->model);
    dw_device_close(s->device);
}

void sides_end_step(sides *s, dw_step *step, uint32_t sequence)
{
    if (s->options->choose) {
        s->choices[sequence] = (dw_choice){.sampler = s->greedy};
        step->choice = &s->choices[sequence];
    } else {
        step->logits = s->logits + sequence * s->vocab_count;
        step->logits_rows = 1;
    }
}

void sides_end_their_step(sides *s, struct llama_context *context, int32_t row)
{
    const float *logits = llama_get_logits_ith(context, row);
    int32_t token = 0;
    if (logits == NULL || (s->options->choose && dw_greedy_choose(logits, (uint32_t)s->vocab_count,
                                                                  &token, NULL) != DW_OK)) {
        bench_die("libllama cannot compute");
    }
}

void sides_rest(sides *s)
{
    ggml_threadpool_pause(s->pool);
}

static void step_ours(sides *s, uint32_t start, uint32_t count)
{
    dw_error err = {0};
    dw_step step = {.view = s->view,
                    .tokens = s->tokens + start,
                    .token_count = count,
                    .counters = &s->counters};
    sides_end_step(s, &step, 0);
    if (dw_context_forward(s->context, &step, &err) != DW_OK) {
        bench_die(err.message);
    }
}

static void trim_ours(sides *s, uint32_t length)
{
    if (dw_context_trim(s->context, length, NULL) != DW_OK) {
        bench_die("cannot trim");
    }
}

static uint32_t length_ours(const sides *s)
{
    return dw_context_length(s->context);
}

static void step_theirs(sides *s, uint32_t start, uint32_t count)
{
    struct llama_batch batch = llama_batch_get_one(s->tokens + start, (int32_t)count);
    if (llama_decode(s->llama_context, batch) != 0) {
        bench_die("libllama cannot compute");
    }
    sides_end_their_step(s, s->llama_context, -1);
    s->their_length = start + count;
}

static void trim_theirs(sides *s, uint32_t length)
{
    (void)llama_memory_seq_rm(llama_get_memory(s->llama_context), 0, (int32_t)length, -1);
    s->their_length = length;
}

static uint32_t length_theirs(const sides *s)
{
    return s->their_length;
}

const side sides_both[2] = {{"driftwood", step_ours, trim_ours, length_ours},
                            {"llama.cpp", step_theirs, trim_theirs, length_theirs}};

void sides_fill(sides *s, const side *which, uint32_t depth)
{
    uint32_t length = which->length(s);
    if (length < depth) {
        which->step(s, length, depth - length);
    } else {
        which->trim(s, depth);
    }
}
