/* What good actors keep beside ones that mean harm: 16 that are told one message after another,
 * alone, and beside a crowd of another tenant that loops, forks, floods, traps and sleeps; in short
 * slices by turns, and how many messages were lost.
 *
 * Where other programs run, what a slice does says little: of each pair of slices, one after the
 * other, the ratio is taken, and the median of these told. By the clock it says too much, since who
 * has more threads at work is given more of a busy machine; by processors' time of the process it
 * says too little, since that has what the crowd does on cores that the good ones would leave idle.
 * What is kept lies between the two; on a machine at rest by the clock is what it is. */
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/os.h"
#include "common.h"
#include "driftwood.h"

#define GOOD_MAX 256u
#define HOSTILE_MAX 100000u
#define ROUNDS_MAX 1000

typedef struct settings {
    uint32_t good;
    uint32_t hostile;
    uint32_t weight; /* of the good tenant, beside 100 */
    uint32_t working;
    uint32_t slice_ms;
    int rounds;
    const char *acts;
} settings;

typedef struct crowd crowd;

typedef struct member {
    crowd *of;
    char id[DW_ACTOR_ID_CHARS + 1];
    uint32_t answered; /* the last number */
    uint32_t ended;
    uint32_t acts; /* of a hostile one */
} member;

struct crowd {
    const settings *s;
    dw_runtime *runtime;
    dw_module *module;
    _Atomic bool over;
    _Atomic uint64_t ended;
    _Atomic uint64_t under_way;
    _Atomic uint64_t lost; /* refused, failed, or answered with a wrong number */
    member good[GOOD_MAX];
    member *hostile;
};

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        bench_die(error->message);
    }
}

/* ---- good ones ------------------------------------------------------------------------------- */

static ptrdiff_t on_number(void *user, const unsigned char *bytes, size_t count)
{
    member *m = user;
    if (count == sizeof m->answered) {
        memcpy(&m->answered, bytes, count);
    }
    return (ptrdiff_t)count;
}

static void on_good_end(void *user, const dw_runtime_end *end);

static void tell_good(member *m)
{
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+",
                                .message_bytes = 1,
                                .on_answer = on_number,
                                .on_end = on_good_end,
                                .user = m};
    m->of->under_way++;
    if (dw_runtime_send(m->of->runtime, m->id, &request, NULL, NULL) != DW_OK) {
        m->of->lost++;
        m->of->under_way--;
    }
}

/* Each answer is one more than the last. */
static void on_good_end(void *user, const dw_runtime_end *end)
{
    member *m = user;
    m->of->lost += end->status != DW_OK || m->answered != ++m->ended;
    m->of->ended++;
    if (!atomic_load(&m->of->over)) {
        tell_good(m);
    }
    m->of->under_way--;
}

/* ---- hostile ones ---------------------------------------------------------------------------- */

static void be_hostile(member *m);

static void on_hostile_end(void *user, const dw_runtime_end *end)
{
    member *m = user;
    (void)end;
    if (!atomic_load(&m->of->over)) {
        be_hostile(m);
    }
}

/* What it does next, as long as it is there. */
static void be_hostile(member *m)
{
    const char *acts = m->of->s->acts;
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = acts + m->acts++ % strlen(acts),
                                .message_bytes = 1,
                                .on_end = on_hostile_end,
                                .user = m};
    (void)!dw_runtime_send(m->of->runtime, m->id, &request, NULL, NULL);
}

/* ---- both ------------------------------------------------------------------------------------ */

static void open_runtime(crowd *c, dw_engine *engine)
{
    dw_error error;
    const dw_limits limits = {
        .struct_bytes = sizeof limits, .descendants = 5, .caused_messages = 200};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .working_max = c->s->working, .limits = &limits};
    const dw_tenant_options good = {.struct_bytes = sizeof good, .weight = c->s->weight};
    const dw_tenant_options bad = {
        .struct_bytes = sizeof bad, .capabilities = DW_MAY_ALL, .actors_max = c->s->hostile + 100};
    must(dw_runtime_open(&c->runtime, engine, &options, &error), &error);
    must(dw_runtime_set_tenant(c->runtime, "good", &good, &error), &error);
    must(dw_runtime_set_tenant(c->runtime, "bad", &bad, &error), &error);
}

static void spawn_all(crowd *c, uint32_t hostile)
{
    static const dw_limits limits = {.struct_bytes = sizeof limits,
                                     .memory_bytes = (uint64_t)64 << 20,
                                     .linear_bytes = (uint64_t)8 << 20,
                                     .message_timeout_ms = 60,
                                     .mail = 50};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options good = {.struct_bytes = sizeof good, .tenant = "good"};
    const dw_spawn_options bad = {
        .struct_bytes = sizeof bad, .tenant = "bad", .actor = &actor, .capabilities = DW_MAY_ALL};
    dw_error error;
    for (uint32_t i = 0; i < c->s->good; i++) {
        c->good[i] = (member){.of = c};
        must(dw_runtime_spawn(c->runtime, c->module, &good, c->good[i].id, &error), &error);
    }
    for (uint32_t i = 0; i < hostile; i++) {
        c->hostile[i] = (member){.of = c, .acts = i};
        must(dw_runtime_spawn(c->runtime, c->module, &bad, c->hostile[i].id, &error), &error);
    }
}

/* What the good ones did in a slice. */
typedef struct slice {
    double rate;          /* messages a second by the clock */
    double for_processor; /* the same by processors' time that the process had */
    double processors;    /* of these, on the average */
} slice;

static double processor_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sleep_ms(uint32_t ms)
{
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* Beside so many others. */
static slice run(crowd *c, dw_engine *engine, uint32_t hostile)
{
    atomic_store(&c->over, false);
    open_runtime(c, engine);
    spawn_all(c, hostile);
    for (uint32_t i = 0; i < hostile; i++) {
        be_hostile(&c->hostile[i]);
    }
    for (uint32_t i = 0; i < c->s->good; i++) {
        tell_good(&c->good[i]);
    }
    sleep_ms(500); /* until all are at it */
    const uint64_t before = atomic_load(&c->ended);
    const double worked_before = processor_s();
    const uint64_t started = dw_os_clock_ns();
    sleep_ms(c->s->slice_ms);
    const double ended = (double)(atomic_load(&c->ended) - before);
    const double worked = processor_s() - worked_before;
    const double took = (double)(dw_os_clock_ns() - started) / 1e9;
    atomic_store(&c->over, true);
    for (uint32_t i = 0; i < 10000 && atomic_load(&c->under_way) > 0; i++) {
        sleep_ms(1);
    }
    c->lost += atomic_load(&c->under_way);
    dw_runtime_close(c->runtime);
    return (slice){ended / took, worked > 0 ? ended / worked : 0, worked / took};
}

/* ---- figures --------------------------------------------------------------------------------- */

/* Medians of both and of what each pair keeps, which is in the middle half of the pairs within the
 * last two figures. */
static void tell(const char *name, const char *unit, double *alone, double *beside, int count)
{
    double kept[ROUNDS_MAX];
    char row[64];
    for (int i = 0; i < count; i++) {
        kept[i] = alone[i] > 0 ? 100 * beside[i] / alone[i] : 0;
    }
    (void)snprintf(row, sizeof row, "good_alone%s", name);
    bench_figure(row, unit, bench_quantile(alone, (size_t)count, 0.5));
    (void)snprintf(row, sizeof row, "good_beside_hostile%s", name);
    bench_figure(row, unit, bench_quantile(beside, (size_t)count, 0.5));
    (void)snprintf(row, sizeof row, "good_kept%s", name);
    bench_figure(row, "%", bench_quantile(kept, (size_t)count, 0.5));
    (void)snprintf(row, sizeof row, "good_kept%s_quarter", name);
    bench_figure(row, "%", kept[count / 4]);
    (void)snprintf(row, sizeof row, "good_kept%s_three_quarters", name);
    bench_figure(row, "%", kept[count - 1 - count / 4]);
}

static void tell_all(const settings *s, slice slices[2][ROUNDS_MAX])
{
    static double rates[2][ROUNDS_MAX];
    static double shares[2][ROUNDS_MAX];
    static double processors[2][ROUNDS_MAX];
    for (int i = 0; i < s->rounds; i++) {
        for (int k = 0; k < 2; k++) {
            rates[k][i] = slices[k][i].rate;
            shares[k][i] = slices[k][i].for_processor;
            processors[k][i] = slices[k][i].processors;
        }
    }
    tell("", "1/s", rates[0], rates[1], s->rounds);
    tell("_for_processor", "1/s", shares[0], shares[1], s->rounds);
    bench_figure("processors_alone", "cores",
                 bench_quantile(processors[0], (size_t)s->rounds, 0.5));
    bench_figure("processors_beside_hostile", "cores",
                 bench_quantile(processors[1], (size_t)s->rounds, 0.5));
}

static uint32_t number_of(const char *text, uint32_t most)
{
    unsigned long value = strtoul(text, NULL, 10);
    if (value < 1 || value > most) {
        bench_die("a number is out of range");
    }
    return (uint32_t)value;
}

static settings read_settings(int argc, char **argv)
{
    settings s = {.good = 16,
                  .hostile = 2000,
                  .weight = 3000,
                  .working = 256,
                  .slice_ms = 500,
                  .rounds = 24,
                  .acts = "l!rmhpwxsfnto"};
    static const struct option options[] = {
        {"good", required_argument, NULL, 'g'},   {"hostile", required_argument, NULL, 'b'},
        {"weight", required_argument, NULL, 'w'}, {"working", required_argument, NULL, 'k'},
        {"slice", required_argument, NULL, 's'},  {"rounds", required_argument, NULL, 'r'},
        {"acts", required_argument, NULL, 'a'},   {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'g':
            s.good = number_of(optarg, GOOD_MAX);
            break;
        case 'b':
            s.hostile = number_of(optarg, HOSTILE_MAX);
            break;
        case 'w':
            s.weight = number_of(optarg, 10000);
            break;
        case 'k':
            s.working = number_of(optarg, 65536);
            break;
        case 's':
            s.slice_ms = number_of(optarg, 3600000);
            break;
        case 'r':
            s.rounds = (int)number_of(optarg, ROUNDS_MAX);
            break;
        case 'a':
            s.acts = optarg;
            break;
        default:
            bench_die("bench_hostile [--good N] [--hostile N] [--weight N] [--working N] "
                      "[--slice MS] [--rounds N] [--acts LETTERS]");
        }
    }
    return s;
}

int main(int argc, char **argv)
{
    static crowd c;
    settings s = read_settings(argc, argv);
    dw_engine *engine = NULL;
    dw_error error;
    const dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    must(dw_engine_create(&engine, &options, &error), &error);
    must(dw_module_open(&c.module, engine, DW_TEST_GUESTS_DIR "/actor_villain.wasm", &error),
         &error);
    c.s = &s;
    c.hostile = dw_alloc(s.hostile, sizeof *c.hostile);
    if (c.hostile == NULL) {
        bench_die("no memory");
    }
    static slice slices[2][ROUNDS_MAX];
    for (int i = 0; i < s.rounds; i++) { /* first one, then the other */
        for (int k = 0; k < 2; k++) {
            const int which = (i + k) % 2;
            slices[which][i] = run(&c, engine, which == 0 ? 0 : s.hostile);
        }
    }
    bench_header();
    tell_all(&s, slices);
    bench_figure("good_messages_lost", "messages", (double)atomic_load(&c.lost));
    dw_free(c.hostile);
    dw_module_unref(c.module);
    dw_engine_destroy(engine);
    return 0;
}
