/* A runtime with a path, 32 actors of which are always at work, whose process is killed: at any
 * moment, at one operation on files or in the middle of a write; or whose disk is full for a while.
 * A round is a process of its own (this program with --work) on the folder that the last one left.
 * It says what it is about to ask for and how that ended; who killed it opens the folder then: what
 * ended well is done once, what failed is not done, what had no end is done once or not at all. The
 * same holds for names that actors are given meanwhile; the groups that one is in are those that it
 * itself says, whatever the process was killed in. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/os.h"
#include "failing_disk.h"
#include "store_account.h"
#include "support.h"
#include "torture.h"

#define ACTORS 32
#define OPEN_MAX 2 /* requests of each that have not ended */
#define REQUESTS 600
#define MOMENT_US_MAX 150000
#define UNKNOWN_MAX 16 /* of one actor */
#define GROUPS 4u

/* How a process ends: by a kill, or by itself after its disk was full for a while. */
typedef enum ending { AT_MOMENT, AT_OPERATION, FULL_DISK } ending;

/* What is said of a request: before it, and at its end. */
typedef struct report {
    char what; /* '<' about to be asked, '>' ended, '.' all have, '+' the runtime is open; '(' about
                  to be named, by `number`, ')' it is */
    bool ok;
    bool through; /* the actor asks the next one to add */
    uint8_t actor;
    uint32_t number;
    uint32_t value; /* that is added; 0: it traps, and goes back to what was written */
} report;

static struct {
    char root[64];
    char folder[96];
    char self[512];
    char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    uint32_t counts[ACTORS];
    uint32_t names[ACTORS];  /* that each has; 0: none */
    uint32_t naming[ACTORS]; /* that it may have; 0: no other */
    report open[ACTORS * OPEN_MAX]; /* without an end */
    size_t open_count;
    const char *how; /* the last process ended */
} w;

static struct {
    uint64_t kills;
    uint64_t at_operations;
    uint64_t full_disks;
    uint64_t refused;
    uint64_t done;
    uint64_t came_through; /* without an end, and done */
    uint64_t named;
} counts;

static uint8_t counter_of(const report *r)
{
    return (uint8_t)((r->actor + (r->through ? 1 : 0)) % ACTORS);
}

/* ---- the runtime, in both ---------------------------------------------------------------------- */

static dw_runtime *open_runtime(actor_fixture *fixture, const char *folder)
{
    dw_runtime *runtime = NULL;
    dw_error err = {.message = ""};
    /* Fewer in memory than are at work: they leave and come all the time. */
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = folder, .resident_actors = ACTORS / 4};
    if (dw_runtime_open(&runtime, fixture->engine, &options, &err) != DW_OK) {
        fail_msg("opening: %s", err.message);
    }
    wasm_signals_restore();
    return runtime;
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < sizeof(uint32_t) ? count : sizeof(uint32_t));
    return (ptrdiff_t)count;
}

static uint32_t call_actor(dw_runtime *runtime, const char *id, const char *text)
{
    uint32_t answer = 0;
    dw_error err = {.message = ""};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = keep,
                                .user = &answer};
    if (dw_runtime_call(runtime, id, &request, &err) != DW_OK) {
        fail_msg("%s to %s: %s", text, id, err.message);
    }
    return answer;
}

/* ---- the process that is killed --------------------------------------------------------------- */

/* One that asks an actor again at the end of each request. */
typedef struct asker {
    struct crowd *of;
    report last;
} asker;

typedef struct crowd {
    dw_runtime *runtime;
    char (*ids)[DW_ACTOR_ID_CHARS + 1];
    pthread_mutex_t lock; /* the next two */
    torture chance;
    uint32_t asked;
    asker askers[ACTORS * OPEN_MAX];
} crowd;

/* TORTURE_TRACE: what failed, and why. */
static void trace(const report *r, dw_status status, const dw_error *why)
{
    if (status != DW_OK && getenv("TORTURE_TRACE") != NULL) {
        (void)fprintf(stderr, "actor %d%s +%" PRIu32 ", request %" PRIu32 ": %s\n", r->actor,
                      r->through ? " through" : "", r->value, r->number, why->message);
    }
}

static void say(const report *r)
{
    DW_ASSERT(write(STDOUT_FILENO, r, sizeof *r) == (ssize_t)sizeof *r);
}

static void ask(asker *a);

static void on_end(void *user, const dw_runtime_end *end)
{
    asker *a = user;
    a->last.what = '>';
    a->last.ok = end->status == DW_OK;
    trace(&a->last, end->status, end->error);
    say(&a->last);
    ask(a);
}

static bool choose(crowd *c, asker *a)
{
    (void)pthread_mutex_lock(&c->lock);
    bool more = c->asked < REQUESTS;
    a->last.what = '<';
    a->last.number = c->asked++;
    bool traps = torture_below(&c->chance, 16) == 0;
    a->last.value = traps ? 0 : 1 + (uint32_t)torture_below(&c->chance, 1000000);
    a->last.through = torture_below(&c->chance, 3) == 0;
    (void)pthread_mutex_unlock(&c->lock);
    return more;
}

static void name_text(char text[32], int actor, uint32_t number)
{
    (void)snprintf(text, 32, "w%d-%" PRIu32, actor, number);
}

/* One that nobody else names at the same time. */
static void name_actor(const crowd *c, const report *next)
{
    char text[32];
    report r = {.what = '(', .actor = next->actor, .number = next->number + 1};
    name_text(text, r.actor, r.number);
    say(&r);
    r.what = ')';
    r.ok = dw_runtime_set_name(c->runtime, c->ids[r.actor], text, NULL) == DW_OK;
    say(&r);
}

/* A request; one that is refused has no end, and the next takes its place. */
static void ask(asker *a)
{
    crowd *c = a->of;
    while (choose(c, a)) {
        char text[32];
        (void)snprintf(text, sizeof text, "%s+%u", a->last.through ? "D" : "", a->last.value);
        if (a->last.value == 0) {
            (void)snprintf(text, sizeof text, "!");
        } else if (!a->last.through && a->last.value % 4 == 0) { /* into a group, or out of it */
            a->last.value = 0;
            (void)snprintf(text, sizeof text, "j%u", a->last.number % GROUPS);
        }
        if (a < c->askers + ACTORS && a->last.number % 8 == 0) {
            name_actor(c, &a->last);
        }
        const dw_request request = {.struct_bytes = sizeof request,
                                    .message = text,
                                    .message_bytes = strlen(text),
                                    .on_end = on_end,
                                    .user = a};
        say(&a->last);
        dw_error why = {.message = ""};
        dw_status status =
            dw_runtime_send(c->runtime, c->ids[a->last.actor], &request, NULL, &why);
        if (status == DW_OK) {
            return;
        }
        trace(&a->last, status, &why);
        a->last.what = '>';
        a->last.ok = false;
        say(&a->last);
    }
}

static void fill_disk(torture *t)
{
    static const int reasons[] = {ENOSPC, EIO, EDQUOT};
    const disk_plan plan = {.kinds = DISK_OPEN | DISK_WRITE | DISK_SYNC | DISK_MKDIR,
                            .after = torture_below(t, 100),
                            .error = reasons[torture_below(t, 3)],
                            .cuts = torture_below(t, 2) == 0};
    (void)usleep((useconds_t)torture_below(t, MOMENT_US_MAX));
    disk_plan_set(&plan);
    (void)usleep((useconds_t)torture_below(t, MOMENT_US_MAX));
    disk_plan_set(NULL);
}

/* --work FOLDER SEED ENDING AT ID...: kills itself at operation AT, 0: does not. */
static int work(char **args)
{
    static crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    void *state = NULL;
    dw_error err = {.message = ""};
    torture t = {.state = strtoull(args[1], NULL, 10)};
    ending ends = (ending)strtoul(args[2], NULL, 10);
    uint64_t at = strtoull(args[3], NULL, 10);
    for (int i = 0; i < ACTORS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "%s", args[4 + i]);
    }
    wasm_signals_save();
    assert_int_equal(actor_fixture_open(&state), 0);
    disk_watch(args[0]);
    const disk_plan plan = {.kinds = DISK_ALL, .after = at - 1, .kills = true};
    if (ends == AT_OPERATION) {
        disk_plan_set(&plan);
    }
    c.runtime = open_runtime(state, args[0]);
    c.ids = ids;
    c.chance.state = torture_random(&t);
    say(&(report){.what = '+'});
    for (int i = 0; i < ACTORS * OPEN_MAX; i++) {
        c.askers[i] = (asker){.of = &c, .last.actor = (uint8_t)(i % ACTORS)};
        ask(&c.askers[i]);
    }
    if (ends == FULL_DISK) {
        fill_disk(&t);
    }
    assert_int_equal(dw_runtime_wait(c.runtime, 0, &err), DW_OK);
    dw_runtime_close(c.runtime);
    say(&(report){.what = '.'});
    return actor_fixture_close(&state);
}

/* ---- who kills -------------------------------------------------------------------------------- */

static pid_t start(torture *t, ending ends, uint64_t at, int *from)
{
    char seed[24];
    char operation[24];
    char how[4];
    int pipe_ends[2];
    char *args[6 + ACTORS + 1] = {w.self, (char[]){"--work"}, w.folder, seed, how, operation};
    (void)snprintf(seed, sizeof seed, "%" PRIu64, torture_random(t));
    (void)snprintf(operation, sizeof operation, "%" PRIu64, at);
    (void)snprintf(how, sizeof how, "%d", (int)ends);
    for (int i = 0; i < ACTORS; i++) {
        args[6 + i] = w.ids[i];
    }
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(pipe_ends[1], STDOUT_FILENO);
        (void)close(pipe_ends[0]);
        (void)close(pipe_ends[1]);
        (void)execv(w.self, args);
        _exit(127);
    }
    (void)close(pipe_ends[1]);
    *from = pipe_ends[0];
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

static void note(const report *r)
{
    size_t at = 0;
    if (r->what == '(') {
        w.naming[r->actor] = r->number != w.names[r->actor] ? r->number : 0;
        return;
    }
    if (r->what == ')') {
        w.names[r->actor] = r->ok ? r->number : w.names[r->actor];
        w.naming[r->actor] = 0;
        counts.named += r->ok;
        return;
    }
    if (r->what == '<') {
        assert_true(w.open_count < ACTORS * OPEN_MAX);
        w.open[w.open_count++] = *r;
        return;
    }
    while (at < w.open_count && w.open[at].number != r->number) {
        at++;
    }
    assert_true(at < w.open_count);
    w.open[at] = w.open[--w.open_count];
    w.counts[counter_of(r)] += r->ok ? r->value : 0;
    counts.done += r->ok;
    counts.refused += !r->ok;
}

static void follow(int from, pid_t child, uint64_t moment_us)
{
    report r;
    uint64_t kill_ns = UINT64_MAX;
    w.open_count = 0;
    while (hear(from, &r)) {
        if (r.what == '+' && moment_us > 0) {
            kill_ns = dw_os_clock_ns() + moment_us * 1000;
        } else if (r.what != '.' && r.what != '+') {
            note(&r);
        }
        if (dw_os_clock_ns() >= kill_ns) {
            (void)kill(child, SIGKILL);
        }
    }
}

/* Whether `more` is the sum of some of `values` [count]. */
static bool is_sum(uint32_t more, const uint32_t *values, size_t count, unsigned *of)
{
    for (uint32_t set = 0; set < UINT32_C(1) << count; set++) {
        uint32_t sum = 0;
        *of = 0;
        for (size_t i = 0; i < count; i++) {
            sum += set >> i & 1 ? values[i] : 0;
            *of += set >> i & 1;
        }
        if (sum == more) {
            return true;
        }
    }
    return false;
}

static void check_counter(dw_runtime *runtime, int i)
{
    uint32_t values[UNKNOWN_MAX];
    size_t count = 0;
    unsigned done = 0;
    uint32_t counter = call_actor(runtime, w.ids[i], "+0");
    for (size_t k = 0; k < w.open_count; k++) {
        if (counter_of(&w.open[k]) == i && w.open[k].value != 0) {
            assert_true(count < UNKNOWN_MAX);
            values[count++] = w.open[k].value;
        }
    }
    if (!is_sum(counter - w.counts[i], values, count, &done)) {
        fail_msg("actor %d counts %u, it was told %u, and %zu more without an end, behind %s", i,
                 counter, w.counts[i], count, w.how);
    }
    counts.came_through += done;
    w.counts[i] = counter;
}

static bool has_name(dw_runtime *runtime, int i, uint32_t number)
{
    char text[32];
    char id[DW_ACTOR_ID_CHARS + 1];
    name_text(text, i, number);
    return dw_runtime_find(runtime, "", text, id, NULL) == DW_OK && strcmp(id, w.ids[i]) == 0;
}

static void check_name(dw_runtime *runtime, int i)
{
    dw_error err = {.message = ""};
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_runtime_get_actor_info(runtime, w.ids[i], &info, &err), DW_OK);
    bool known = w.names[i] != 0 && has_name(runtime, i, w.names[i]);
    bool other = w.naming[i] != 0 && has_name(runtime, i, w.naming[i]);
    if (known + other != (info.name[0] != '\0') || (w.naming[i] == 0 && w.names[i] != 0 && !known)) {
        fail_msg("actor %d is '%s', it was given name %" PRIu32 ", and maybe %" PRIu32
                 ", behind %s",
                 i, info.name, w.names[i], w.naming[i], w.how);
    }
    w.names[i] = other ? w.naming[i] : w.names[i];
    w.naming[i] = 0;
}

/* The groups that it is in are those of its own state. */
static void check_groups(dw_runtime *runtime, int i)
{
    uint32_t own = call_actor(runtime, w.ids[i], "j?");
    uint32_t found = 0;
    for (unsigned k = 0; k < GROUPS; k++) {
        char group[8];
        char members[ACTORS][DW_ACTOR_ID_CHARS + 1];
        size_t count = 0;
        (void)snprintf(group, sizeof group, "#t%u", k);
        dw_status status = dw_runtime_list_group(runtime, group, members, ACTORS, &count, NULL);
        assert_true(status == DW_OK || status == DW_E_NOT_FOUND);
        for (size_t m = 0; m < count; m++) {
            found |= strcmp(members[m], w.ids[i]) == 0 ? 1u << k : 0;
        }
    }
    if (own != found) {
        fail_msg("actor %d is in the groups 0x%x, it says 0x%x, behind %s", i, found, own, w.how);
    }
}

static void spawn_all(dw_runtime *runtime, dw_module *module)
{
    char text[32];
    dw_error err = {.message = ""};
    for (int i = 0; i < ACTORS; i++) {
        const dw_spawn_options options = {.struct_bytes = sizeof options,
                                          .capabilities = DW_MAY_ALL,
                                          .durability = (dw_durability)(1 + i % 3),
                                          .durability_s = i % 3 == 1 ? 1 : 0};
        if (dw_runtime_spawn(runtime, module, &options, w.ids[i], &err) != DW_OK) {
            fail_msg("spawning: %s", err.message);
        }
    }
    for (int i = 0; i < ACTORS; i++) {
        (void)snprintf(text, sizeof text, "I%s", w.ids[(i + 1) % ACTORS]);
        (void)call_actor(runtime, w.ids[i], text);
    }
}

/* The folder as whoever comes next finds it. */
static void verify(void)
{
    static void *state;
    static dw_module *module;
    dw_error err = {.message = ""};
    if (state == NULL) {
        wasm_signals_save();
        assert_int_equal(actor_fixture_open(&state), 0);
        module = actor_module(state, "actor_hostile.wasm");
    }
    dw_runtime *runtime = open_runtime(state, w.folder);
    if (w.ids[0][0] == '\0') {
        spawn_all(runtime, module);
    }
    if (dw_runtime_wait(runtime, 0, &err) != DW_OK) {
        fail_msg("working on what waits: %s", err.message);
    }
    for (int i = 0; i < ACTORS; i++) {
        uint64_t count;
        check_counter(runtime, i);
        check_name(runtime, i);
        check_groups(runtime, i);
        if (dw_runtime_drop_mail(runtime, w.ids[i], DW_MAIL_ALL, &count, &err) != DW_OK) {
            fail_msg("dropping what was set aside: %s", err.message);
        }
    }
    dw_runtime_close(runtime);
    account_for_all(w.folder, 0);
    w.open_count = 0;
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
    static const ending endings[] = {AT_MOMENT, AT_MOMENT, AT_OPERATION, AT_OPERATION, FULL_DISK};
    ending ends = endings[torture_below(t, sizeof endings / sizeof endings[0])];
    const char *wanted = getenv("TORTURE_ENDING"); /* 0, 1 or 2: that alone */
    ends = wanted != NULL ? (ending)strtoul(wanted, NULL, 10) : ends;
    w.how = (const char *const[]){"a kill", "a kill at an operation", "a full disk"}[ends];
    uint64_t at = ends == AT_OPERATION ? 1 + torture_below(t, 2000) : 0;
    uint64_t moment_us = ends == AT_MOMENT ? 1 + torture_below(t, MOMENT_US_MAX) : 0;
    pid_t child = start(t, ends, at, &from);
    follow(from, child, moment_us);
    (void)close(from);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    } else {
        counts.kills++;
        counts.at_operations += ends == AT_OPERATION;
    }
    counts.full_disks += ends == FULL_DISK;
    verify();
}

static void tell(void)
{
    (void)printf("kills: %" PRIu64 ", %" PRIu64 " at operations on files; full disks: %" PRIu64
                 "; %" PRIu64 " requests done, %" PRIu64 " refused or failed, %" PRIu64
                 " without an end done; %" PRIu64 " names given\n",
                 counts.kills, counts.at_operations, counts.full_disks, counts.done, counts.refused,
                 counts.came_through, counts.named);
    shell("rm -rf '%s'", w.root);
}

int main(int argc, char **argv)
{
    const torture_options options = {
        .name = "torture_runtime", .run = run, .tell = tell, .seconds = 10};
    return argc == 6 + ACTORS && strcmp(argv[1], "--work") == 0 ? work(argv + 2)
                                                                 : torture_main(&options);
}
