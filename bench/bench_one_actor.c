/* How fast one actor of a runtime decodes, against `driftwood run` on the same prompt: from the
 * first piece of the answer to the last, in turns. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "chats.h"
#include "common.h"
#include "llama_server.h"

#define ROUNDS_MAX 64
#define PROMPT "Write a long story about a ship that is lost in the winter."

typedef struct settings {
    const char *program;
    const char *model;
    const char *device;
    uint32_t tokens;
    int threads;
    int rounds;
} settings;

/* One answer. */
typedef struct answer {
    uint64_t first_ns;
    uint64_t last_ns;
    uint64_t tokens;
} answer;

static void note_piece(answer *a)
{
    a->last_ns = dw_os_clock_ns();
    a->first_ns = a->first_ns == 0 ? a->last_ns : a->first_ns;
}

static double rate_of(const answer *a)
{
    if (a->tokens < 2 || a->last_ns <= a->first_ns) {
        bench_die("an answer without tokens");
    }
    return (double)(a->tokens - 1) * 1e9 / (double)(a->last_ns - a->first_ns);
}

/* ---- an actor ---- */

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    (void)bytes;
    note_piece(user);
    return (ptrdiff_t)count;
}

static double run_actor(bench_chats *chats, const settings *s)
{
    dw_error error;
    answer a = {.tokens = 0};
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    const bench_chat chat = {.answer = s->tokens, .context_tokens = s->tokens + 256};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = PROMPT,
                                .message_bytes = sizeof PROMPT - 1,
                                .on_answer = on_answer,
                                .user = &a};
    bench_chats_spawn(chats, &chat, id);
    bench_must(dw_runtime_call(chats->runtime, id, &request, &error), &error);
    bench_must(dw_runtime_get_actor_info(chats->runtime, id, &info, &error), &error);
    a.tokens = info.generated_tokens;
    bench_must(dw_runtime_stop(chats->runtime, id, &error), &error);
    return rate_of(&a);
}

/* ---- the program ---- */

/* Of its --stats. */
static uint64_t read_tokens(const char *path)
{
    static const char name[] = "generated";
    char line[256];
    uint64_t tokens = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, sizeof name - 1) == 0) {
            tokens = strtoull(line + sizeof name - 1, NULL, 10);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return tokens;
}

static double run_program(const settings *s)
{
    char stats[BENCH_PATH_BYTES];
    char command[8192];
    char bytes[4096];
    answer a = {.tokens = 0};
    bench_temporary(stats, "stats");
    (void)snprintf(command, sizeof command,
                   "'%s' run --stats --temp 0 --model '%s' --device '%s' --threads %d "
                   "--max-tokens %u --context %u --prompt '%s' --env DRIFTWOOD_PAST_END=1 2>'%s'",
                   s->program, s->model, s->device, s->threads, s->tokens, s->tokens + 256, PROMPT,
                   stats);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) {
        bench_die("no pipe");
    }
    for (ssize_t count; (count = read(fileno(pipe), bytes, sizeof bytes)) > 0;) {
        if (count != 1 || bytes[0] != '\n') { /* that is its end */
            note_piece(&a);
        }
    }
    if (pclose(pipe) != 0) {
        bench_die("driftwood run failed");
    }
    a.tokens = read_tokens(stats);
    (void)unlink(stats);
    return rate_of(&a);
}

static void measure(const settings *s)
{
    static double actor[ROUNDS_MAX];
    static double program[ROUNDS_MAX];
    static double ratios[ROUNDS_MAX];
    bench_chats chats;
    bench_chats_open(&chats, s->model, s->device, s->threads);
    bench_chats_run(&chats, NULL);
    (void)run_actor(&chats, s);
    for (int i = 0; i < s->rounds; i++) {
        if (i % 2 == 0) {
            program[i] = run_program(s);
        }
        actor[i] = run_actor(&chats, s);
        if (i % 2 != 0) {
            program[i] = run_program(s);
        }
        ratios[i] = actor[i] / program[i];
    }
    bench_chats_close(&chats);
    (void)printf("row,unit,actor,driftwood run,ratio\n");
    bench_row("decode", "tokens/s", bench_quantile(actor, (size_t)s->rounds, 0.5),
              bench_quantile(program, (size_t)s->rounds, 0.5));
    bench_figure("ratio_median", "1", bench_quantile(ratios, (size_t)s->rounds, 0.5));
}

static int number_of(const char *text, int most)
{
    long value = strtol(text, NULL, 10);
    if (value < 1 || value > most) {
        bench_die("a number is out of range");
    }
    return (int)value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"program", required_argument, NULL, 'p'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"device", required_argument, NULL, 'd'},
                                            {"tokens", required_argument, NULL, 'o'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"rounds", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    settings s = {.program = DW_TEST_GUESTS_DIR "/../driftwood",
                  .model = bench_default_model(),
                  .device = "CPU",
                  .tokens = 256,
                  .threads = dw_os_core_count(),
                  .rounds = 5};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p':
            s.program = optarg;
            break;
        case 'm':
            s.model = optarg;
            break;
        case 'd':
            s.device = optarg;
            break;
        case 'o':
            s.tokens = (uint32_t)number_of(optarg, 65536);
            break;
        case 't':
            s.threads = number_of(optarg, 512);
            break;
        case 'n':
            s.rounds = number_of(optarg, ROUNDS_MAX);
            break;
        default:
            bench_die("bench_one_actor [--program FILE] [--model FILE] [--device NAME] "
                      "[--tokens N] [--threads N] [--rounds N]");
        }
    }
    measure(&s);
    return 0;
}
