#include "torture.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "support.h"

#define ROUND_SECONDS 60
#define WATCH_NS 100000000L

/* Of both processes. */
typedef struct progress {
    _Atomic uint64_t round;
    _Atomic uint64_t began_ns;
} progress;

uint64_t torture_random(torture *t)
{
    return support_random(&t->state);
}

uint64_t torture_below(torture *t, uint64_t count)
{
    return torture_random(t) % count;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

static void run_rounds(const torture_options *options, torture *t, progress *p)
{
    uint64_t count = number_of("TORTURE_COUNT", 0);
    uint64_t seconds = number_of("TORTURE_SECONDS", options->seconds);
    uint64_t until = dw_os_clock_ns() + seconds * UINT64_C(1000000000);
    uint64_t first = t->round;
    while (count > 0 ? t->round - first < count : dw_os_clock_ns() < until) {
        atomic_store(&p->round, t->round);
        atomic_store(&p->began_ns, dw_os_clock_ns());
        t->state = t->seed;
        t->state = torture_random(t) ^ t->round;
        options->run(t);
        t->round++;
    }
    atomic_store(&p->began_ns, 0);
    (void)printf("%s: %" PRIu64 " rounds from %" PRIu64 "\n", options->name, t->round - first,
                 first);
    if (options->tell != NULL) {
        options->tell();
    }
    (void)fflush(NULL);
}

/* Wait for the process of rounds, and end it where one takes too long. */
static int watch(pid_t child, const torture_options *options, const progress *p, bool *hangs)
{
    const struct timespec pause = {.tv_nsec = WATCH_NS};
    uint64_t limit_ns = (options->round_seconds > 0 ? options->round_seconds : ROUND_SECONDS) *
                        UINT64_C(1000000000);
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR)) {
            return status;
        }
        uint64_t began = atomic_load(&p->began_ns);
        if (!*hangs && began != 0 && dw_os_clock_ns() > began + limit_ns) {
            *hangs = true;
            (void)kill(child, SIGABRT);
        }
        (void)nanosleep(&pause, NULL);
    }
}

static int judge(const torture_options *options, const torture *t, const progress *p, int status,
                 bool hangs)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    if (hangs) {
        (void)fprintf(stderr, "%s: a round took too long\n", options->name);
    } else if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "%s: ended by signal %d\n", options->name, WTERMSIG(status));
    }
    (void)fprintf(stderr,
                  "%s: FAILED; to repeat: TORTURE_SEED=%" PRIu64 " TORTURE_FIRST=%" PRIu64
                  " TORTURE_COUNT=1 %s\n",
                  options->name, t->seed, atomic_load(&p->round), options->name);
    return 1;
}

int torture_main(const torture_options *options)
{
    torture t = {.round = number_of("TORTURE_FIRST", 0)};
    dw_os_random(&t.seed, sizeof t.seed);
    t.seed = number_of("TORTURE_SEED", t.seed);
    progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return 1;
    }
    (void)printf("%s: TORTURE_SEED=%" PRIu64 "\n", options->name, t.seed);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_rounds(options, &t, p);
        exit(0);
    }
    bool hangs = false;
    int status = child < 0 ? 1 : watch(child, options, p, &hangs);
    return judge(options, &t, p, status, hangs);
}
