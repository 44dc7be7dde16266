/* What decoding sequences notice of others, and these of them: prompts that arrive while many
 * decode, in slices of several lengths; and an actor of many tokens that is frozen to a file
 * meanwhile, on another thread. Steps end with tokens. No other side: llama.cpp's server has slots,
 * not actors. */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "inference/batch.h"
#include "sampling/sampler.h"

#define SEQUENCES_MAX 256u
#define STEPS_MAX 4096u
#define SLICES_MAX 8u
#define WARM_STEPS 24u
#define PROMPT_GAP 6u /* steps between a prompt's end and the next */

static const char help[] =
    "usage: bench_beside [--model FILE] [--device NAME] [--sequences N] [--depth N] [--prompt N]\n"
    "                    [--slices N,..] [--prompts N] [--frozen N] [--rounds N] [--threads N]\n"
    "\n"
    "Sequences that decode while prompts arrive, and while an actor is frozen. CSV.\n"
    "\n"
    "  -m, --model FILE      default: the model that `make model` brings\n"
    "  -d, --device NAME     as of `driftwood devices`; default CPU\n"
    "  -s, --sequences N     that decode, default 64\n"
    "  -c, --depth N         tokens of each before, default 128\n"
    "  -p, --prompt N        tokens of a prompt, default 512\n"
    "  -l, --slices N,..     of a prompt in a step that decodes; 0: all of it. Default 0,256\n"
    "  -n, --prompts N       for each, default 20\n"
    "  -z, --frozen N        tokens of the actor that is frozen, default 4096; 0: none\n"
    "  -r, --rounds N        of freezes, default 10\n"
    "  -t, --threads N       of the CPU\n"
    "  -h, --help            this text\n";

typedef struct settings {
    const char *model;
    const char *device;
    uint32_t sequences;
    uint32_t depth;
    uint32_t prompt;
    uint32_t slices[SLICES_MAX];
    uint32_t slice_count;
    uint32_t prompts;
    uint32_t frozen;
    int rounds;
    int threads;
} settings;

typedef struct sequence {
    dw_context *context;
    dw_batch_item item;
    dw_choice choice;
    int32_t *tokens; /* the prompt's, or one */
} sequence;

typedef struct bench {
    const settings *s;
    dw_engine *engine;
    dw_model *model;
    dw_sampler *greedy;
    dw_counters counters;
    sequence all[SEQUENCES_MAX + 1]; /* the last: whose prompt arrives */
    double steps[STEPS_MAX];
    uint32_t step_count;
} bench;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static double ms_since(uint64_t started)
{
    return (double)(dw_os_clock_ns() - started) / 1e6;
}

/* ---- sequences ---- */

static void add(bench *b, dw_batch *batch, sequence *q, uint32_t token_count)
{
    q->choice = (dw_choice){.sampler = b->greedy};
    q->item = (dw_batch_item){.context = q->context,
                              .step = {.tokens = q->tokens,
                                       .token_count = token_count,
                                       .choice = &q->choice,
                                       .counters = &b->counters}};
    dw_batch_add(batch, &q->item);
}

static void open_sequence(bench *b, sequence *q, uint32_t number)
{
    const settings *s = b->s;
    const uint32_t vocab_count = dw_model_shape_of(b->model)->vocab_count;
    const uint32_t most = s->depth > s->prompt ? s->depth : s->prompt;
    dw_error err = {.message = ""};
    const uint32_t room = dw_model_shape_of(b->model)->context_length;
    dw_context_options options = {.tokens_max = most + STEPS_MAX < room ? most + STEPS_MAX : room};
    must(dw_context_create(&q->context, b->model, &options, &err), &err);
    q->tokens = malloc(most * sizeof *q->tokens);
    if (q->tokens == NULL) {
        bench_die("no memory");
    }
    for (uint32_t i = 0; i < most; i++) {
        q->tokens[i] = (int32_t)((i * 7919 + number * 31 + 13) % vocab_count);
    }
}

/* All decoding sequences are back at their depth. */
static void rewind_all(bench *b)
{
    dw_error err = {.message = ""};
    for (uint32_t i = 0; i < b->s->sequences; i++) {
        sequence *q = &b->all[i];
        if (dw_context_length(q->context) < b->s->depth) {
            dw_step step = {
                .tokens = q->tokens, .token_count = b->s->depth, .counters = &b->counters};
            must(dw_context_forward(q->context, &step, &err), &err);
        }
        must(dw_context_trim(q->context, b->s->depth, &err), &err);
    }
}

/* One run; those that have decoded wait for their next. `arrived`: whose prompt is through. */
static bool run_once(bench *b, dw_batch *batch, double *took_ms)
{
    bool arrived = false;
    uint64_t started = dw_os_clock_ns();
    dw_batch_run(batch);
    for (dw_batch_item *item = dw_batch_take(batch); item != NULL; item = dw_batch_take(batch)) {
        must(item->status, &item->error);
        if (item == &b->all[b->s->sequences].item) {
            arrived = true;
            continue;
        }
        sequence *q = (sequence *)(void *)((char *)item - offsetof(sequence, item));
        must(q->choice.status, &q->choice.error);
        q->tokens[0] = q->choice.token;
        add(b, batch, q, 1);
    }
    *took_ms = ms_since(started);
    return arrived;
}

static void begin(bench *b, dw_batch *batch, uint32_t slice)
{
    rewind_all(b);
    dw_batch_init(batch, &(dw_batch_limits){.prompt_tokens_max = slice});
    for (uint32_t i = 0; i < b->s->sequences; i++) {
        add(b, batch, &b->all[i], 1);
    }
    for (uint32_t i = 0; i < WARM_STEPS; i++) {
        double took;
        (void)run_once(b, batch, &took);
    }
}

/* Who waits leaves. */
static void end(bench *b, dw_batch *batch)
{
    for (uint32_t i = 0; i < b->s->sequences; i++) {
        atomic_store(&b->all[i].item.leaves, true);
    }
    dw_batch_drop_stopped(batch);
    while (dw_batch_take(batch) != NULL) {}
    dw_batch_release(batch);
}

static void usual_steps(bench *b, dw_batch *batch, uint32_t count, double *rates)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)run_once(b, batch, &rates[i]);
    }
}

/* ---- prompts ---- */

/* The prompt arrives while others decode: steps until it is through -> how long that took. */
static double one_prompt(bench *b, dw_batch *batch)
{
    sequence *q = &b->all[b->s->sequences];
    dw_error err = {.message = ""};
    must(dw_context_trim(q->context, 0, &err), &err);
    uint64_t started = dw_os_clock_ns();
    add(b, batch, q, b->s->prompt);
    while (!run_once(b, batch, &b->steps[b->step_count])) {
        b->step_count++;
        if (b->step_count + 1 == STEPS_MAX) {
            bench_die("--prompts: fewer, they take too many steps");
        }
    }
    b->step_count++;
    return ms_since(started);
}

static void at_slice(bench *b, uint32_t slice)
{
    enum { USUAL = 200 };
    dw_batch batch;
    double usual[USUAL];
    double *first = malloc(b->s->prompts * sizeof *first);
    char row[64];
    if (first == NULL) {
        bench_die("no memory");
    }
    begin(b, &batch, slice);
    for (uint32_t i = 0; i < 2; i++) { /* graphs are made */
        b->step_count = 0;
        (void)one_prompt(b, &batch);
    }
    usual_steps(b, &batch, USUAL, usual);
    b->step_count = 0;
    for (uint32_t i = 0; i < b->s->prompts; i++) {
        double between[PROMPT_GAP];
        first[i] = one_prompt(b, &batch);
        usual_steps(b, &batch, PROMPT_GAP, between);
    }
    end(b, &batch);
    const double median = bench_quantile(usual, USUAL, 0.5);
    const double beside = bench_quantile(b->steps, b->step_count, 0.99);
    const struct {
        const char *name;
        double value;
    } figures[] = {{"usual_step_50", median},
                   {"usual_step_99", bench_quantile(usual, USUAL, 0.99)},
                   {"step_beside_prompt_50", bench_quantile(b->steps, b->step_count, 0.5)},
                   {"step_beside_prompt_99", beside},
                   {"first_token_50", bench_quantile(first, b->s->prompts, 0.5)},
                   {"first_token_99", bench_quantile(first, b->s->prompts, 0.99)}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        (void)snprintf(row, sizeof row, "slice_%u_%s", slice, figures[i].name);
        bench_figure(row, "ms", figures[i].value);
    }
    (void)snprintf(row, sizeof row, "slice_%u_99_against_usual", slice);
    bench_figure(row, "ratio", beside / median);
    free(first);
}

/* ---- a freeze ---- */

typedef struct freezing {
    dw_actor *actor;
    dw_freezing *parts;
    char path[64];
    double took_ms; /* the last freeze's file */
    double held_ms; /* in which the actor could not go on: before and behind that */
    uint64_t bytes;
    _Atomic bool over;
} freezing;

static void begin_freeze(freezing *f)
{
    dw_error err = {.message = ""};
    uint64_t started = dw_os_clock_ns();
    must(dw_actor_freeze_begin(&f->parts, f->actor, NULL, &err), &err);
    f->held_ms = ms_since(started);
    atomic_store(&f->over, false);
}

static void end_freeze(freezing *f)
{
    uint64_t started = dw_os_clock_ns();
    dw_freezing_end(f->parts, f->actor);
    f->held_ms += ms_since(started);
}

static void *write_freeze(void *user)
{
    freezing *f = user;
    dw_error err = {.message = ""};
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    uint64_t started = dw_os_clock_ns();
    must(dw_freezing_write(f->parts, f->path, &stats, &err), &err);
    f->took_ms = ms_since(started);
    f->bytes = stats.file_bytes;
    atomic_store(&f->over, true);
    return NULL;
}

static void freeze_alone(freezing *f)
{
    begin_freeze(f);
    (void)write_freeze(f);
    end_freeze(f);
}

static void tell(dw_actor *actor, const char *text)
{
    dw_error err = {.message = ""};
    must(dw_actor_send(actor, NULL, text, strlen(text), &err), &err);
    must(dw_actor_receive(actor, NULL, NULL, &err), &err);
}

static void open_frozen(bench *b, freezing *f, dw_module *module)
{
    char text[32];
    dw_error err = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &b->model,
                                    .model_count = 1,
                                    .context_tokens_max = b->s->frozen + 256};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    must(dw_actor_spawn(&f->actor, module, &options, &err), &err);
    tell(f->actor, "m");
    (void)snprintf(text, sizeof text, "n%u", b->s->frozen);
    tell(f->actor, text);
    (void)snprintf(f->path, sizeof f->path, "bench-beside-%ld.snapshot", (long)getpid());
}

/* Steps until the freeze is over -> how many, and the milliseconds that they took. */
static uint32_t steps_beside(bench *b, dw_batch *batch, freezing *f, double *took_ms)
{
    pthread_t thread;
    uint32_t count = 0;
    double once;
    begin_freeze(f);
    if (pthread_create(&thread, NULL, write_freeze, f) != 0) {
        bench_die("no thread");
    }
    uint64_t started = dw_os_clock_ns();
    while (!atomic_load(&f->over) && count < STEPS_MAX / 2) {
        (void)run_once(b, batch, &once);
        b->steps[b->step_count] = once;
        b->step_count += b->step_count + 1 < STEPS_MAX;
        count++;
    }
    *took_ms = ms_since(started);
    (void)pthread_join(thread, NULL);
    end_freeze(f);
    return count;
}

static void freezes(bench *b)
{
    dw_module *module = NULL;
    dw_batch batch;
    freezing f = {.actor = NULL};
    dw_error err = {.message = ""};
    const int rounds = b->s->rounds;
    double *kept = calloc((size_t)rounds * 4, sizeof *kept);
    must(dw_module_open(&module, b->engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm", &err), &err);
    open_frozen(b, &f, module);
    if (kept == NULL) {
        bench_die("no memory");
    }
    freeze_alone(&f);
    double *alone = kept + rounds;
    double *beside = kept + 2 * (size_t)rounds;
    double *held = kept + 3 * (size_t)rounds;
    begin(b, &batch, 0);
    b->step_count = 0;
    for (int i = 0; i < rounds; i++) {
        double between[16];
        double took_ms;
        double before = 0;
        freeze_alone(&f);
        alone[i] = f.took_ms;
        usual_steps(b, &batch, 16, between);
        before = bench_quantile(between, 16, 0.5);
        uint32_t count = steps_beside(b, &batch, &f, &took_ms);
        kept[i] = 100 * before * count / took_ms;
        beside[i] = f.took_ms;
        held[i] = f.held_ms;
    }
    end(b, &batch);
    bench_figure("freeze_file", "bytes", (double)f.bytes);
    bench_figure("freeze_alone_50", "ms", bench_quantile(alone, (size_t)rounds, 0.5));
    bench_figure("freeze_beside_50", "ms", bench_quantile(beside, (size_t)rounds, 0.5));
    bench_figure("freeze_holds_up_50", "ms", bench_quantile(held, (size_t)rounds, 0.5));
    bench_figure("freeze_holds_up_most", "ms", bench_quantile(held, (size_t)rounds, 1));
    bench_figure("steps_kept_beside_freeze_50", "%", bench_quantile(kept, (size_t)rounds, 0.5));
    bench_figure("step_beside_freeze_99", "ms", bench_quantile(b->steps, b->step_count, 0.99));
    (void)unlink(f.path);
    free(kept);
    dw_actor_destroy(f.actor);
    dw_module_unref(module);
}

/* ---- the whole ---- */

static void read_slices(settings *s, const char *text)
{
    s->slice_count = 0;
    for (const char *at = text; at != NULL && s->slice_count < SLICES_MAX;) {
        s->slices[s->slice_count++] = (uint32_t)strtoul(at, NULL, 10);
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
}

static uint32_t number_of(const char *text, uint32_t most)
{
    unsigned long value = strtoul(text, NULL, 10);
    if (value > most) {
        bench_die("a number is too large");
    }
    return (uint32_t)value;
}

static void read_options(settings *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"model", 1, NULL, 'm'},   {"device", 1, NULL, 'd'}, {"sequences", 1, NULL, 's'},
        {"depth", 1, NULL, 'c'},   {"prompt", 1, NULL, 'p'}, {"slices", 1, NULL, 'l'},
        {"prompts", 1, NULL, 'n'}, {"frozen", 1, NULL, 'z'}, {"rounds", 1, NULL, 'r'},
        {"threads", 1, NULL, 't'}, {"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "m:d:s:c:p:l:n:z:r:t:h", options, NULL)) != -1;) {
        uint32_t *numbers[128] = {['s'] = &s->sequences,
                                  ['c'] = &s->depth,
                                  ['p'] = &s->prompt,
                                  ['n'] = &s->prompts,
                                  ['z'] = &s->frozen};
        if (c > 0 && c < 128 && numbers[c] != NULL) {
            *numbers[c] = number_of(optarg, c == 's' ? SEQUENCES_MAX : 1000000);
        } else if (c == 'm') {
            s->model = optarg;
        } else if (c == 'd') {
            s->device = optarg;
        } else if (c == 'l') {
            read_slices(s, optarg);
        } else if (c == 'r' || c == 't') {
            *(c == 'r' ? &s->rounds : &s->threads) = (int)number_of(optarg, 1000);
        } else {
            (void)fputs(help, c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
}

int main(int argc, char **argv)
{
    settings s = {.sequences = 64,
                  .depth = 128,
                  .prompt = 512,
                  .slices = {0, 256},
                  .slice_count = 2,
                  .prompts = 20,
                  .frozen = 4096,
                  .rounds = 10};
    static bench b;
    dw_error err = {.message = ""};
    read_options(&s, argc, argv);
    if (s.sequences == 0 || s.depth == 0 || s.prompt < 2 || s.prompts == 0 || s.rounds == 0) {
        bench_die("sequences, depth, prompts and rounds are at least 1, a prompt's tokens 2");
    }
    b.s = &s;
    dw_engine_options engine = {
        .struct_bytes = sizeof engine, .device = s.device, .threads = s.threads};
    must(dw_engine_create(&b.engine, &engine, &err), &err);
    must(dw_model_open(&b.model, b.engine, s.model != NULL ? s.model : bench_default_model(), &err),
         &err);
    must(dw_sampler_create(&b.greedy, dw_model_shape_of(b.model)->vocab_count, NULL, &err), &err);
    for (uint32_t i = 0; i <= s.sequences; i++) {
        open_sequence(&b, &b.all[i], i);
    }
    bench_header();
    for (uint32_t i = 0; i < s.slice_count; i++) {
        at_slice(&b, s.slices[i]);
    }
    if (s.frozen > 0) {
        freezes(&b);
    }
    for (uint32_t i = 0; i <= s.sequences; i++) {
        dw_context_destroy(b.all[i].context);
        free(b.all[i].tokens);
    }
    dw_sampler_destroy(b.greedy);
    dw_model_unref(b.model);
    dw_engine_destroy(b.engine);
    return 0;
}
