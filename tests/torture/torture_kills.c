/* A runtime that works on request, whose process is killed: at one operation on files, in the middle of a write, or at
 * any moment. A round is a process of its own (this program with --work) on the folder that the last
 * one left. It says what it is about to do and what was told of it; who killed it knows of all but
 * the last step how it ended. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/os.h"
#include "failing_disk.h"
#include "runtime/folder.h"
#include "store_account.h"
#include "support.h"
#include "torture.h"

#define ACTORS 2 /* the first can name the second */
#define STEPS_MAX 400
#define MOMENT_US_MAX 60000

/* What is said of a step: before it, and when it is through. */
typedef struct report {
    char what;      /* '?' it is verified, '<' begun, '>' through, '.' all is done */
    int32_t actor;  /* whose counter grows */
    uint32_t value; /* by so much */
    uint32_t ok;
} report;

static struct {
    char root[64];
    char folder[96];
    char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    uint32_t counts[ACTORS];
    report begun; /* the step that the last process was killed in; what == 0: none */
    char self[512];
} w;

static struct {
    uint64_t kills;
    uint64_t at_operations;
    uint64_t steps;
    uint64_t came_through; /* steps that a process was killed in and that were done */
} counts;

/* ---- the process that is killed --------------------------------------------------------------- */

static void say(const report *r)
{
    DW_ASSERT(write(STDOUT_FILENO, r, sizeof *r) == (ssize_t)sizeof *r);
}

static dw_runtime *open_runtime(const actor_fixture *fixture, const char *folder, dw_error *err)
{
    dw_runtime *runtime = NULL;
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = folder, .works_on_request = true};
    dw__series_snapshots = 8; /* a series is closed, and gets an index, all the time */
    dw__series_indexed_least = 2;
    (void)!dw_runtime_open(&runtime, fixture->engine, &options, err);
    wasm_signals_restore();
    return runtime;
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < sizeof(uint32_t) ? count : sizeof(uint32_t));
    return (ptrdiff_t)count;
}

/* The message, then a turn for whoever got one. */
static dw_status tell_actor(dw_runtime *runtime, const char *id, const char *text, uint32_t *answer)
{
    uint32_t none;
    dw_error err;
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = keep,
                                .user = answer != NULL ? answer : &none};
    dw_status status = dw_runtime_call(runtime, id, &request, &err);
    (void)!dw_runtime_work(runtime, DW_WORK_TURN, &err);
    return status;
}

static void step(torture *t, dw_runtime *runtime, const char *const *ids)
{
    char text[32];
    dw_error err;
    uint32_t value = 1 + (uint32_t)torture_below(t, 1000);
    uint64_t what = torture_below(t, 10);
    bool through = what < 4;
    report r = {.what = '<', .actor = through ? 1 : 0, .value = what < 9 ? value : 0};
    (void)snprintf(text, sizeof text, through ? "D+%u" : "+%u", value);
    say(&r);
    dw_status status = what < 9 ? tell_actor(runtime, ids[0], text, NULL)
                                : dw_runtime_freeze(runtime, ids[0], NULL, &err);
    r.what = '>';
    r.ok = status == DW_OK;
    say(&r);
}

/* --work FOLDER SEED AT ID0 ID1: kills itself at operation AT, 0: does not. */
static int work(char **args)
{
    void *state = NULL;
    dw_error err;
    torture t = {.state = strtoull(args[1], NULL, 10)};
    uint64_t at = strtoull(args[2], NULL, 10);
    const char *const ids[] = {args[3], args[4]};
    wasm_signals_save();
    assert_int_equal(actor_fixture_open(&state), 0);
    actor_fixture *fixture = state;
    disk_watch(args[0]);
    disk_plan plan = {.kinds = DISK_ALL, .after = at > 0 ? at - 1 : UINT64_MAX, .kills = true};
    disk_plan_set(&plan);
    dw_runtime *runtime = open_runtime(fixture, args[0], &err);
    if (runtime == NULL) {
        (void)fprintf(stderr, "opening: %s\n", err.message);
        return 1;
    }
    for (int i = 0; i < STEPS_MAX; i++) {
        step(&t, runtime, ids);
    }
    dw_runtime_close(runtime);
    say(&(report){.what = '.', .value = (uint32_t)disk_operations()});
    return 0;
}

/* ---- who kills -------------------------------------------------------------------------------- */

static pid_t start(torture *t, uint64_t at, int *from)
{
    char seed[24];
    char operation[24];
    int ends[2];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, torture_random(t));
    (void)snprintf(operation, sizeof operation, "%" PRIu64, at);
    char *args[] = {w.self, (char[]){"--work"}, w.folder, seed, operation, w.ids[0], w.ids[1], NULL};
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execv(w.self, args);
        _exit(127);
    }
    (void)close(ends[1]);
    *from = ends[0];
    return child;
}

/* One report; false: the process has ended. */
static bool hear(int from, report *r)
{
    size_t got = 0;
    while (got < sizeof *r) {
        ssize_t count = read(from, (char *)r + got, sizeof *r - got);
        if (count <= 0) {
            return false;
        }
        got += (size_t)count;
    }
    return true;
}

static void follow(int from, pid_t child, uint64_t moment_us)
{
    report r;
    uint64_t kill_ns = 0;
    w.begun.what = 0;
    while (hear(from, &r)) {
        if (kill_ns == 0 && moment_us > 0) {
            kill_ns = dw_os_clock_ns() + moment_us * 1000;
        }
        if (r.what == '<') {
            w.begun = r;
        } else if (r.what == '>') {
            counts.steps++;
            w.counts[r.actor] += r.ok ? r.value : 0;
            w.begun.what = 0;
        }
        if (kill_ns != 0 && dw_os_clock_ns() >= kill_ns) {
            (void)kill(child, SIGKILL);
        }
    }
}

/* The folder as whoever comes next finds it. */
static void verify(void)
{
    static void *state;
    dw_error err = {.message = ""};
    if (state == NULL) {
        wasm_signals_save();
        assert_int_equal(actor_fixture_open(&state), 0);
    }
    const actor_fixture *fixture = state;
    dw_runtime *runtime = open_runtime(fixture, w.folder, &err);
    if (runtime == NULL) {
        fail_msg("opening: %s", err.message);
    }
    if (w.ids[0][0] == '\0') {
        char text[32];
        const dw_spawn_options all = {.struct_bytes = sizeof all, .capabilities = DW_MAY_ALL};
        dw_module *module = actor_module(state, "actor_pages.wasm");
        for (int i = 0; i < ACTORS; i++) {
            assert_int_equal(dw_runtime_spawn(runtime, module, &all, w.ids[i], &err), DW_OK);
        }
        dw_module_unref(module);
        (void)snprintf(text, sizeof text, "I%s", w.ids[1]);
        assert_int_equal(tell_actor(runtime, w.ids[0], text, NULL), DW_OK);
    }
    account_for_all(w.folder, 0);
    if (dw_runtime_work(runtime, DW_WORK_ALL, &err) != DW_OK) {
        fail_msg("working on what waits: %s", err.message);
    }
    for (int i = 0; i < ACTORS; i++) {
        uint32_t count = 0;
        uint32_t known = w.counts[i];
        uint32_t with = known + (w.begun.what != 0 && w.begun.actor == i ? w.begun.value : 0);
        assert_int_equal(tell_actor(runtime, w.ids[i], "+0", &count), DW_OK);
        if (count != known && count != with) {
            fail_msg("actor %d counts %u, it was told %u, and %u when it was killed", i, count,
                     known, with - known);
        }
        counts.came_through += count != known;
        w.counts[i] = count;
    }
    dw_runtime_close(runtime);
}

static void run(torture *t)
{
    int from = -1;
    int status = 0;
    if (w.root[0] == '\0') {
        (void)snprintf(w.root, sizeof w.root, "/tmp/dw-torture-XXXXXX");
        assert_non_null(mkdtemp(w.root));
        (void)snprintf(w.folder, sizeof w.folder, "%s/state", w.root);
        assert_int_equal(dw_os_executable_path(w.self, sizeof w.self, NULL), DW_OK);
        verify();
    }
    bool at_operation = torture_below(t, 3) > 0;
    uint64_t at = at_operation ? 1 + torture_below(t, 300) : 0;
    uint64_t moment_us = at_operation ? 0 : 1 + torture_below(t, MOMENT_US_MAX);
    pid_t child = start(t, at, &from);
    follow(from, child, moment_us);
    (void)close(from);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    } else {
        counts.kills++;
        counts.at_operations += at_operation;
    }
    verify();
}

static void tell(void)
{
    (void)printf("kills: %" PRIu64 ", %" PRIu64 " at operations on files; %" PRIu64
                 " steps told, %" PRIu64 " in which it was killed were done\n",
                 counts.kills, counts.at_operations, counts.steps, counts.came_through);
    shell("rm -rf '%s'", w.root);
}

int main(int argc, char **argv)
{
    const torture_options options = {
        .name = "torture_kills", .run = run, .tell = tell, .seconds = 10};
    return argc == 7 && strcmp(argv[1], "--work") == 0 ? work(argv + 2) : torture_main(&options);
}
