/* What a message to an actor costs that has left memory, with so many tokens of context (--context;
 * 2,000): until the first token of its answer is chosen, behind 16 tokens of the message. Beside it
 * the same of an actor that stayed, and of one that computes all of these tokens again; where keys
 * and values stay on the device, of one whose are read from its file (from_file); and, where
 * DRIFTWOOD_LLAMA_SERVER names it, of llama.cpp's server, which has forgotten them. The folder is
 * made where $TMPDIR says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "common.h"
#include "driftwood.h"
#include "kv/kv_kept.h"
#include "llama_server.h"
#include "texts.h"

#define SPOKEN 16u
#define FILL 8000u /* at once: the guest's room */

typedef struct bench {
    char folder[512];
    uint32_t tokens;
    dw_engine *engine;
    dw_model *model;
    dw_module *module;
    dw_runtime *runtime;
    bench_text *text;
    bench_server *server; /* NULL: there is none */
    char *body;           /* of a request to it */
    uint64_t asked;
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

static void spawn(bench *b, char id[DW_ACTOR_ID_CHARS + 1])
{
    dw_error err = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &b->model,
                                    .model_count = 1,
                                    .context_tokens_max = b->tokens + 4096};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    must(dw_runtime_spawn(b->runtime, b->module, &options, id, &err), &err);
}

/* Milliseconds until its end. */
static double tell(bench *b, const char *id, const char *text)
{
    dw_error err = {.message = ""};
    const dw_request request = {
        .struct_bytes = sizeof request, .message = text, .message_bytes = strlen(text)};
    uint64_t begun = dw_os_clock_ns();
    must(dw_runtime_call(b->runtime, id, &request, &err), &err);
    return (double)(dw_os_clock_ns() - begun) / 1e6;
}

/* The tokens of its context, and where `more` those of the message, up to a choice. */
static double fill(bench *b, const char *id, uint32_t more)
{
    char text[32];
    double took = 0;
    uint32_t left = b->tokens + more;
    while (left > 0) {
        uint32_t now = left < FILL ? left : FILL;
        left -= now;
        (void)snprintf(text, sizeof text, "%c%u", left == 0 && more > 0 ? 'q' : 'n', now);
        took += tell(b, id, text);
    }
    return took;
}

/* ---- theirs ---- */

#define TOKEN_BYTES 16u /* no text has as many for each */

static void start_theirs(bench *b, const bench_options *options)
{
    const bench_server_options server = {.program = getenv("DRIFTWOOD_LLAMA_SERVER"),
                                         .model = options->model,
                                         .device = options->device,
                                         .slots = 1,
                                         .context_tokens = b->tokens + 4096,
                                         .model_tokens = b->tokens + 4096,
                                         .threads = options->threads};
    b->body = malloc((size_t)b->tokens * TOKEN_BYTES + 4096);
    b->text = bench_text_open(NULL, b->model);
    b->server = server.program != NULL ? bench_server_start(&server) : NULL;
    if (b->body == NULL) {
        bench_die("no memory");
    }
}

static void end_theirs(bench *b)
{
    if (b->server != NULL) {
        bench_server_stop(b->server);
    }
    bench_text_close(b->text);
    free(b->body);
}

static const char *next_body(void *user, bool *warms)
{
    static const char head[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"";
    static const char tail[] = "\"}],\"temperature\":0,\"max_tokens\":1,\"stream\":true}";
    bench *b = user;
    size_t filled = sizeof head - 1;
    *warms = false;
    if (b->asked++ > 0) {
        return NULL;
    }
    memcpy(b->body, head, filled);
    filled += bench_text_passage(b->text, (uint64_t)dw_os_clock_ns(), b->tokens + SPOKEN,
                                 b->body + filled, (size_t)b->tokens * TOKEN_BYTES + 1024);
    memcpy(b->body + filled, tail, sizeof tail);
    return b->body;
}

/* Milliseconds until the first token behind as many tokens of text that it has not seen. */
static double ask_theirs(bench *b, uint64_t *prompt_tokens)
{
    bench_watch watch;
    const bench_watch *watches[] = {&watch};
    const bench_client client = {.next = next_body, .user = b, .watch = &watch};
    bench_watch_open(&watch, 1);
    b->asked = 0;
    bench_server_ask(b->server, &client, 1);
    double took = bench_watches_ms(watches, 1, true, 0.5);
    *prompt_tokens = watch.prompt_tokens;
    bench_watch_close(&watch);
    return took;
}

/* ---- both ---- */

static double least(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

enum { PARKED, RESIDENT, AGAIN, PARK, THEIRS, FROM_FILE, TIMES };

static uint64_t found(const bench *b)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    return dw_engine_get_kv_stats(b->engine, &stats) == DW_OK ? stats.kept_found_count : 0;
}

/* Out of memory; what stays of it on the device goes too, where that is wanted. */
static double park(bench *b, const char *id, bool forgets)
{
    dw_error err = {.message = ""};
    uint64_t begun = dw_os_clock_ns();
    must(dw_runtime_park(b->runtime, id, &err), &err);
    double took = (double)(dw_os_clock_ns() - begun) / 1e6;
    if (forgets) {
        (void)dw_kv_kept_forget_all(dw_engine_device(b->engine));
    }
    return took;
}

static void show(const bench *b, const double *took, uint64_t theirs)
{
    bench_row("first_token_of_parked", "ms", took[PARKED], took[AGAIN]);
    if (found(b) > 0) { /* else it is the same */
        bench_row("first_token_of_parked_from_file", "ms", took[FROM_FILE], took[AGAIN]);
    }
    bench_row("first_token_of_resident", "ms", took[RESIDENT], took[AGAIN]);
    if (b->server != NULL) {
        bench_row("first_token_of_parked_against_llama_server", "ms", took[PARKED], took[THEIRS]);
        if (found(b) > 0) {
            bench_row("first_token_of_parked_from_file_against_llama_server", "ms", took[FROM_FILE],
                      took[THEIRS]);
        }
        bench_row("tokens_of_context", "1", b->tokens + SPOKEN, (double)theirs);
    }
    bench_figure("park", "ms", took[PARK]);
}

static void run(bench *b, int rounds)
{
    static const char message[] = "q16";
    double took[TIMES] = {0};
    uint64_t theirs = 0;
    dw_error err = {.message = ""};
    for (int i = 0; i < rounds; i++) {
        char parked[DW_ACTOR_ID_CHARS + 1];
        char stays[DW_ACTOR_ID_CHARS + 1];
        char again[DW_ACTOR_ID_CHARS + 1];
        spawn(b, parked);
        (void)tell(b, parked, "m");
        (void)fill(b, parked, 0);
        took[PARK] = least(took[PARK], park(b, parked, false));
        took[PARKED] = least(took[PARKED], tell(b, parked, message));
        must(dw_runtime_fork(b->runtime, parked, stays, &err), &err);
        took[RESIDENT] = least(took[RESIDENT], tell(b, stays, message));
        (void)park(b, parked, true);
        took[FROM_FILE] = least(took[FROM_FILE], tell(b, parked, message));
        spawn(b, again);
        (void)tell(b, again, "m");
        took[AGAIN] = least(took[AGAIN], fill(b, again, SPOKEN));
        must(dw_runtime_stop_all(b->runtime, NULL, &err), &err);
        if (b->server != NULL) {
            took[THEIRS] = least(took[THEIRS], ask_theirs(b, &theirs));
        }
    }
    show(b, took, theirs);
}

int main(int argc, char **argv)
{
    static bench b;
    char command[600];
    dw_error err = {.message = ""};
    const char *tmp = getenv("TMPDIR");
    bench_options options = {.rounds = 3, .context = 2000};
    bench_read_options(&options, argc, argv,
                       "a message to an actor that has left memory, against its tokens again; with "
                       "DRIFTWOOD_LLAMA_SERVER against that, too");
    b.tokens = options.context;
    (void)snprintf(b.folder, sizeof b.folder, "%s/dw-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(b.folder) == NULL) {
        bench_die("no folder in $TMPDIR");
    }
    const dw_engine_options engine = {.struct_bytes = sizeof engine,
                                      .device = options.device != NULL ? options.device : "CPU",
                                      .threads = options.threads};
    must(dw_engine_create(&b.engine, &engine, &err), &err);
    must(dw_model_open(&b.model, b.engine, options.model, &err), &err);
    must(dw_module_open(&b.module, b.engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm", &err), &err);
    /* Each has a tenant's prefixes to itself: what is computed again is not found. */
    const dw_tenant_options tenant = {
        .struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL, .no_shared_prefixes = true};
    const dw_runtime_options runtime = {.struct_bytes = sizeof runtime,
                                        .path = b.folder,
                                        .find_model = find_model,
                                        .durability = DW_DURABLE_PARK,
                                        .user = &b};
    must(dw_runtime_open(&b.runtime, b.engine, &runtime, &err), &err);
    must(dw_runtime_set_tenant(b.runtime, "", &tenant, &err), &err);
    start_theirs(&b, &options);
    bench_header();
    run(&b, options.rounds);
    end_theirs(&b);
    dw_runtime_close(b.runtime);
    dw_module_unref(b.module);
    dw_model_unref(b.model);
    dw_engine_destroy(b.engine);
    (void)snprintf(command, sizeof command, "rm -r '%s'", b.folder);
    return system(command) == 0 ? 0 : 1;
}
