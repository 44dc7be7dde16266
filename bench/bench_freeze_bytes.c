/* How many bytes the freezes of an actor write, of how many that are new: keys and values, and
 * pages of 4,096 bytes that differ. Counts, not times. An actor in a state folder has --rounds
 * turns (200), each of which is frozen: of a chat, whose keys and values grow; in which the same
 * pages change, or some of a large memory; in which pages come that stay; in which nothing is new.
 * Beside them what the folder has at the end, and how long a turn takes for which it is read, by
 * the clock and of processors' time. The folder is made where $TMPDIR says. DW_BENCH_SNAPSHOTS is
 * how many snapshots may be needed (49,152), for what lies beyond that in fewer turns. A turn of
 * the chat computes 24 tokens of the model, which takes nearly all of its time: it has 100 turns at
 * most, or DW_BENCH_CHAT_TURNS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wasmtime.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "snapshot/bounds.h"

#define CHAT_TOKENS 24u
#define CHAT_TURNS 100
#define CONTEXT_TOKENS 32768u
#define PAGE_BYTES 4096u
#define LARGE_PAGES 16384u /* 64 MiB */

typedef struct bench {
    char folder[512];
    int turns;
    dw_engine *engine;
    dw_model *model;
    dw_module *talker;
    dw_module *sparse;
    dw_runtime *runtime;
    uint32_t random;
    uint32_t chat_turns; /* in the context so far */
    uint32_t chat_turns_max;
} bench;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(((const bench *)user)->model);
    return DW_OK;
}

static void tell(bench *b, const char *id, const void *message, size_t bytes)
{
    dw_error err = {.message = ""};
    const dw_request request = {
        .struct_bytes = sizeof request, .message = message, .message_bytes = bytes};
    must(dw_runtime_call(b->runtime, id, &request, &err), &err);
}

/* The guest's: fill `bytes` at `at` with `value`; grow by `pages` of 65,536. */
static void fill(bench *b, const char *id, uint32_t at, uint32_t bytes, uint32_t value)
{
    const uint32_t message[4] = {4, at, bytes, value};
    tell(b, id, message, sizeof message);
}

static void grow(bench *b, const char *id, uint32_t pages)
{
    const uint32_t message[4] = {0, pages, 0, 0};
    tell(b, id, message, sizeof message);
}

/* ---- turns ---- */

static void prepare_chat(bench *b, const char *id)
{
    tell(b, id, "m", 1);
}

/* Where the context is full another chat begins in it. */
static void chat(bench *b, const char *id, int turn)
{
    char text[16];
    (void)turn;
    if (b->chat_turns++ == b->chat_turns_max) {
        tell(b, id, "t0", 2);
        b->chat_turns = 1;
    }
    (void)snprintf(text, sizeof text, "n%u", CHAT_TOKENS);
    tell(b, id, text, strlen(text));
}

static void prepare_hot(bench *b, const char *id)
{
    grow(b, id, 30);
    fill(b, id, PAGE_BYTES, 1900000, 7);
}

/* 8 pages, one behind the other, and that of the message. */
static void change_hot(bench *b, const char *id, int turn)
{
    fill(b, id, 65536, 8 * PAGE_BYTES, (uint32_t)turn);
}

static void prepare_large(bench *b, const char *id)
{
    grow(b, id, LARGE_PAGES / 16);
    fill(b, id, PAGE_BYTES, LARGE_PAGES * PAGE_BYTES, 7);
}

/* 8 pages somewhere, in two places. */
static void change_large(bench *b, const char *id, int turn)
{
    b->random = b->random * 1664525u + 1013904223u;
    fill(b, id, (1 + (b->random >> 8) % (LARGE_PAGES - 8)) * PAGE_BYTES, 8 * PAGE_BYTES,
         (uint32_t)turn);
}

static void prepare_kept(bench *b, const char *id)
{
    grow(b, id, (uint32_t)b->turns / 2 + 4);
}

/* 8 pages that nothing has been in: all that was ever written stays. */
static void change_kept(bench *b, const char *id, int turn)
{
    fill(b, id, (16 + (uint32_t)turn * 8) * PAGE_BYTES, 8 * PAGE_BYTES, 1 + (uint32_t)turn % 250);
}

static void change_nothing(bench *b, const char *id, int turn)
{
    (void)turn;
    const uint32_t message[4] = {2, 65536, 0, 0};
    tell(b, id, message, sizeof message);
}

/* ---- what came of them ---- */

static dw_runtime_stats stats_of(bench *b)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    dw_error err = {.message = ""};
    must(dw_runtime_get_stats(b->runtime, &stats), &err);
    return stats;
}

static double folder_bytes(bench *b, const char *id)
{
    char command[700];
    unsigned long long kib = 0;
    (void)snprintf(command, sizeof command, "du -sk '%s/actors/%s'", b->folder, id);
    FILE *out = popen(command, "r"); /* NOLINT(cert-env33-c): of our own folder */
    if (out == NULL || fscanf(out, "%llu", &kib) != 1) {
        bench_die("no size of the folder");
    }
    (void)pclose(out);
    return (double)kib * 1024;
}

static double processor_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Of a turn for which it is read: the best of five, by the clock and of processors' time, of which
 * others on the machine take none. */
static double wake_ms(bench *b, const char *id, void (*turn)(bench *, const char *, int),
                      double *processor)
{
    dw_error err = {.message = ""};
    double best = 0;
    *processor = 0;
    for (int i = 0; i < 5; i++) {
        must(dw_runtime_park(b->runtime, id, &err), &err);
        double worked = processor_ms();
        uint64_t begun = dw_os_clock_ns();
        turn(b, id, i);
        double took = (double)(dw_os_clock_ns() - begun) / 1e6;
        worked = processor_ms() - worked;
        best = best == 0 || took < best ? took : best;
        *processor = *processor == 0 || worked < *processor ? worked : *processor;
    }
    return best;
}

typedef struct life {
    const char *name;
    dw_module *module;
    void (*prepare)(bench *b, const char *id); /* NULL: nothing */
    void (*turn)(bench *b, const char *id, int turn);
    int turns;
} life;

static void live(bench *b, const life *l)
{
    char name[96];
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    dw_limits limits = {.struct_bytes = sizeof limits, .memory_bytes = (uint64_t)4 << 30};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &b->model,
                                    .model_count = 1,
                                    .context_tokens_max = CONTEXT_TOKENS,
                                    .limits = &limits};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    must(dw_runtime_spawn(b->runtime, l->module, &options, id, &err), &err);
    if (l->prepare != NULL) {
        l->prepare(b, id);
    }
    dw_runtime_stats before = stats_of(b);
    double took = 0;
    for (int i = 0; i < l->turns; i++) {
        l->turn(b, id, i);
    }
    dw_runtime_stats after = stats_of(b);
    double fresh = (double)(after.new_bytes - before.new_bytes);
    double written = (double)(after.written_bytes - before.written_bytes);
    double processor = 0;
    took = wake_ms(b, id, l->turn, &processor);
    (void)snprintf(name, sizeof name, "%s_written", l->name);
    if (fresh > 0) {
        bench_row(name, "bytes", written / l->turns, fresh / l->turns);
    } else {
        bench_figure(name, "bytes", written / l->turns);
    }
    (void)snprintf(name, sizeof name, "%s_folder", l->name);
    bench_figure(name, "bytes", folder_bytes(b, id));
    (void)snprintf(name, sizeof name, "%s_wake", l->name);
    bench_figure(name, "ms", took);
    (void)snprintf(name, sizeof name, "%s_wake_processor", l->name);
    bench_figure(name, "ms", processor);
    must(dw_runtime_stop(b->runtime, id, &err), &err);
}

/* A module in WebAssembly's text format. */
static void open_text(dw_module **module, dw_engine *engine, const char *path)
{
    static char text[65536];
    wasm_byte_vec_t wasm;
    dw_error err = {.message = ""};
    FILE *file = fopen(path, "r");
    size_t bytes = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    if (bytes == 0 || wasmtime_wat2wasm(text, bytes, &wasm) != NULL) {
        bench_die(path);
    }
    (void)fclose(file);
    must(dw_module_create(module, engine, wasm.data, wasm.size, &err), &err);
    wasm_byte_vec_delete(&wasm);
}

static int turns_of_chat(int turns)
{
    const char *own = getenv("DW_BENCH_CHAT_TURNS");
    const long bound = own != NULL ? strtol(own, NULL, 10) : CHAT_TURNS;
    if (bound < 1) {
        bench_die("DW_BENCH_CHAT_TURNS: at least 1");
    }
    return turns < bound ? turns : (int)bound;
}

int main(int argc, char **argv)
{
    static bench b = {.random = 1};
    char command[600];
    dw_error err = {.message = ""};
    const char *tmp = getenv("TMPDIR");
    bench_options options = {.rounds = 200};
    bench_read_options(&options, argc, argv, "bytes that freezes write, of those that are new");
    b.turns = options.rounds;
    const char *bound = getenv("DW_BENCH_SNAPSHOTS");
    if (bound != NULL) {
        dw_freeze_snapshots_max = strtoul(bound, NULL, 10);
    }
    (void)snprintf(b.folder, sizeof b.folder, "%s/dw-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b.folder) == NULL) {
        bench_die("no folder in $TMPDIR");
    }
    const dw_engine_options engine = {.struct_bytes = sizeof engine,
                                      .device = options.device != NULL ? options.device : "CPU",
                                      .threads = options.threads};
    must(dw_engine_create(&b.engine, &engine, &err), &err);
    must(dw_model_open(&b.model, b.engine, options.model, &err), &err);
    dw_model_info info = {.struct_bytes = sizeof info};
    must(dw_model_get_info(b.model, &info), &err);
    const uint32_t room =
        info.context_length < CONTEXT_TOKENS ? info.context_length : CONTEXT_TOKENS;
    b.chat_turns_max = room / CHAT_TOKENS > 0 ? room / CHAT_TOKENS : 1;
    must(dw_module_open(&b.talker, b.engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm", &err), &err);
    open_text(&b.sparse, b.engine, DW_TEST_GUESTS_DIR "/actor_sparse.wat");
    const dw_tenant_options tenant = {
        .struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL, .no_shared_prefixes = true};
    const dw_runtime_options runtime = {.struct_bytes = sizeof runtime,
                                        .path = b.folder,
                                        .find_model = find_model,
                                        .durability = DW_DURABLE_EACH,
                                        .user = &b};
    must(dw_runtime_open(&b.runtime, b.engine, &runtime, &err), &err);
    must(dw_runtime_set_tenant(b.runtime, "", &tenant, &err), &err);
    const int chat_turns = turns_of_chat(b.turns);
    const life lives[] = {
        {"freeze_chat", b.talker, prepare_chat, chat, chat_turns},
        {"freeze_hot_pages", b.sparse, prepare_hot, change_hot, b.turns},
        {"freeze_pages_of_64_mib", b.sparse, prepare_large, change_large, b.turns},
        {"freeze_pages_that_stay", b.sparse, prepare_kept, change_kept, b.turns},
        {"freeze_nothing_new", b.sparse, NULL, change_nothing, b.turns}};
    bench_header();
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        if (bench_wants(&options, lives[i].name)) {
            live(&b, &lives[i]);
        }
    }
    dw_runtime_close(b.runtime);
    dw_module_unref(b.talker);
    dw_module_unref(b.sparse);
    dw_model_unref(b.model);
    dw_engine_destroy(b.engine);
    (void)snprintf(command, sizeof command, "rm -r '%s'", b.folder);
    return system(command) == 0 ? 0 : 1;
}
