/* A runtime that works on request, on a disk that fails: one operation of any kind (a write, a sync, a rename, an
 * unlink, a link, a truncation), a few, or all from some point on, as where a disk is full or gone.
 * What was told as done is there afterwards, what was told as failed is not done later, the folder
 * opens again, and nothing in it belongs to nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "failing_disk.h"
#include "runtime/folder.h"
#include "store_account.h"
#include "support.h"
#include "torture.h"

#define ACTORS_MAX 64
#define ALIVE_MAX 6
#define STEPS_MAX 16

typedef struct known_actor {
    char id[DW_ACTOR_ID_CHARS + 1];
    bool alive;
    uint32_t count; /* its counter, once nothing waits */
    int other; /* the one that its 'D' is for; -1: none was named */
} known_actor;

static struct {
    actor_fixture *fixture;
    dw_module *module; /* actor_pages */
    dw_runtime *runtime; /* NULL: it could not be opened */
    char root[64];
    char folder[96];
    known_actor actors[ACTORS_MAX];
    int count;
    char said[64]; /* what a step did last, for traces */
} w;

static struct {
    uint64_t steps;
    uint64_t failed_steps;
    uint64_t faults;
    uint64_t reopened;
} counts;

/* ---- the runtime --------------------------------------------------------------------------- */

static dw_status open_runtime(dw_error *err)
{
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = w.folder, .works_on_request = true};
    dw__series_snapshots = 6; /* a series is closed, and gets an index, all the time */
    dw__series_indexed_least = 2;
    *err = (dw_error){.message = ""};
    dw_status status = dw_runtime_open(&w.runtime, w.fixture->engine, &options, err);
    wasm_signals_restore();
    return status;
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < DW_ACTOR_ID_CHARS ? count : DW_ACTOR_ID_CHARS);
    return (ptrdiff_t)count;
}

/* `answer` [DW_ACTOR_ID_CHARS + 1]. */
static dw_status tell_actor(const char *id, const char *text, char *answer, dw_error *err)
{
    const dw_request message = {.struct_bytes = sizeof message,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = keep,
                                .user = answer};
    memset(answer, 0, DW_ACTOR_ID_CHARS + 1);
    (void)snprintf(w.said, sizeof w.said, "%s to %s", text, id);
    *err = (dw_error){.message = ""};
    dw_status status = dw_runtime_call(w.runtime, id, &message, err);
    (void)!dw_runtime_work(w.runtime, DW_WORK_TURN, NULL);
    /* On no disk that can be imitated here: the mark of a message that failed needs none. */
    assert_null(strstr(err->message, "may be worked on later"));
    return status;
}

static void say(const char *what, const char *id)
{
    (void)snprintf(w.said, sizeof w.said, "%s %s", what, id);
}

static int add_known(const char *id, uint32_t count)
{
    assert_true(w.count < ACTORS_MAX);
    known_actor *a = &w.actors[w.count];
    *a = (known_actor){.alive = true, .count = count, .other = -1};
    (void)snprintf(a->id, sizeof a->id, "%s", id);
    return w.count++;
}

static known_actor *pick(torture *t)
{
    int alive[ACTORS_MAX];
    int count = 0;
    for (int i = 0; i < w.count; i++) {
        if (w.actors[i].alive) {
            alive[count++] = i;
        }
    }
    return count > 0 ? &w.actors[alive[torture_below(t, (uint64_t)count)]] : NULL;
}

static int alive_count(void)
{
    int count = 0;
    for (int i = 0; i < w.count; i++) {
        count += w.actors[i].alive;
    }
    return count;
}

/* ---- steps --------------------------------------------------------------------------------- */

static dw_status add_to(torture *t, known_actor *a, dw_error *err)
{
    char text[32];
    char answer[DW_ACTOR_ID_CHARS + 1];
    uint32_t value = 1 + (uint32_t)torture_below(t, 1000);
    (void)snprintf(text, sizeof text, "+%u", value);
    dw_status status = tell_actor(a->id, text, answer, err);
    a->count += status == DW_OK ? value : 0;
    return status;
}

static dw_status name_other(torture *t, known_actor *a, dw_error *err)
{
    char text[32];
    char answer[DW_ACTOR_ID_CHARS + 1];
    known_actor *b = pick(t);
    (void)snprintf(text, sizeof text, "I%s", b->id);
    dw_status status = tell_actor(a->id, text, answer, err);
    if (status == DW_OK) {
        a->other = (int)(b - w.actors);
    }
    return status;
}

/* One that has named another lets that one add. */
static dw_status add_through(torture *t, known_actor *a, dw_error *err)
{
    char text[32];
    char answer[DW_ACTOR_ID_CHARS + 1];
    uint32_t value = 1 + (uint32_t)torture_below(t, 1000);
    if (a->other < 0) {
        return name_other(t, a, err);
    }
    (void)snprintf(text, sizeof text, "D+%u", value);
    dw_status status = tell_actor(a->id, text, answer, err);
    if (status == DW_OK && w.actors[a->other].alive) {
        w.actors[a->other].count += value;
    }
    return status;
}

static dw_status spawn_through(torture *t, known_actor *a, dw_error *err)
{
    char text[32];
    char answer[DW_ACTOR_ID_CHARS + 1];
    uint32_t value = 1 + (uint32_t)torture_below(t, 1000);
    (void)snprintf(text, sizeof text, "N+%u", value);
    dw_status status = tell_actor(a->id, text, answer, err);
    if (status == DW_OK) {
        a->other = add_known(answer, value); /* the guest keeps one name */
    }
    return status;
}

static dw_status spawn(dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    const dw_spawn_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    say("spawn", "");
    dw_status status = dw_runtime_spawn(w.runtime, w.module, &options, id, err);
    if (status == DW_OK) {
        (void)add_known(id, 0);
    }
    return status;
}

static void copy_known(const known_actor *a, const char *id)
{
    known_actor *child = &w.actors[add_known(id, 0)];
    char own[DW_ACTOR_ID_CHARS + 1];
    memcpy(own, child->id, sizeof own);
    *child = *a;
    memcpy(child->id, own, sizeof own);
}

static dw_status fork_one(known_actor *a, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    say("fork", a->id);
    /* What waits for the parent is not the child's: nothing may wait. */
    dw_status status = dw_runtime_work(w.runtime, DW_WORK_ALL, err);
    if (status == DW_OK) {
        status = dw_runtime_fork(w.runtime, a->id, id, err);
    }
    if (status == DW_OK) {
        copy_known(a, id);
    }
    return status;
}

static dw_status export_one(const known_actor *a, char path[128], dw_error *err)
{
    (void)snprintf(path, 128, "%s/exported", w.root); /* on a disk that is well */
    (void)unlink(path); /* an actor that was taken in may still have the one before mapped */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    dw_status status = dw_runtime_export(w.runtime, a->id, fd, err);
    (void)close(fd);
    return status;
}

static dw_status import_one(known_actor *a, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    char path[128];
    const char *const paths[] = {path};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw, .paths = paths, .path_count = 1};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    say("import", a->id);
    dw_status status = dw_runtime_work(w.runtime, DW_WORK_ALL, err);
    if (status == DW_OK) {
        status = export_one(a, path, err);
    }
    if (status == DW_OK) {
        status = dw_runtime_import(w.runtime, &thaw, &options, id, err);
    }
    if (status == DW_OK) {
        copy_known(a, id);
    }
    return status;
}

static dw_status stop(known_actor *a, dw_error *err)
{
    say("stop", a->id);
    /* What an actor has asked for and what waits goes with it. */
    dw_status status = dw_runtime_work(w.runtime, DW_WORK_ALL, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_runtime_stop(w.runtime, a->id, err);
    if (status == DW_OK) {
        a->alive = false;
    }
    return status;
}

static dw_status reopen(dw_error *err)
{
    say("reopen", "");
    dw_runtime_close(w.runtime);
    w.runtime = NULL;
    counts.reopened++;
    return open_runtime(err);
}

static dw_status step(torture *t, dw_error *err)
{
    known_actor *a = pick(t);
    uint64_t what = torture_below(t, 20);
    bool room = alive_count() < ALIVE_MAX && w.count < ACTORS_MAX - 1;
    *err = (dw_error){.message = ""};
    if (a == NULL || (what == 0 && room)) {
        return spawn(err);
    }
    switch (what) {
    case 1:
        return alive_count() > 2 ? stop(a, err) : add_to(t, a, err);
    case 2:
        return room ? fork_one(a, err) : add_to(t, a, err);
    case 3:
        return room ? import_one(a, err) : add_to(t, a, err);
    case 4:
        say("freeze", a->id);
        return dw_runtime_freeze(w.runtime, a->id, NULL, err);
    case 5:
        say("run", "");
        return dw_runtime_work(w.runtime, DW_WORK_ALL, err);
    case 6:
        return reopen(err);
    case 7:
        return room ? spawn_through(t, a, err) : add_to(t, a, err);
    case 8:
        return name_other(t, a, err);
    case 9:
    case 10:
    case 11:
    case 12:
        return add_through(t, a, err);
    default:
        return add_to(t, a, err);
    }
}

/* ---- what must hold afterwards -------------------------------------------------------------- */

static void must(dw_status status, const char *what, const dw_error *err)
{
    if (status != DW_OK) {
        fail_msg("%s: %s", what, err->message);
    }
}

static bool is_known(const char *id)
{
    for (int i = 0; i < w.count; i++) {
        if (w.actors[i].alive && strcmp(w.actors[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static void verify_actor(const known_actor *a)
{
    char answer[DW_ACTOR_ID_CHARS + 1];
    char found[DW_ACTOR_ID_CHARS + 1];
    uint32_t count = 0;
    dw_error err = {.message = ""};
    if (!a->alive) {
        assert_int_equal(dw_runtime_find_id(w.runtime, a->id, found, &err), DW_E_NOT_FOUND);
        return;
    }
    dw_status status = tell_actor(a->id, "+0", answer, &err);
    if (status != DW_OK) {
        fail_msg("actor %s is gone: %s", a->id, err.message);
    }
    memcpy(&count, answer, sizeof count);
    if (count != a->count) {
        fail_msg("actor %s counts %u, it was told %u", a->id, count, a->count);
    }
}

static void verify_all(void)
{
    dw_error err = {.message = ""};
    dw_runtime_close(w.runtime);
    w.runtime = NULL;
    must(open_runtime(&err), "opening again", &err);
    account_for_all(w.folder, 0);
    must(dw_runtime_work(w.runtime, DW_WORK_ALL, &err), "working on what waits", &err);
    dw_runtime_close(w.runtime);
    w.runtime = NULL;
    must(open_runtime(&err), "opening once more", &err);
    account_for_all(w.folder, 1);
    name_list names = listed("%s/actors", w.folder);
    for (size_t i = 0; i < names.count; i++) {
        if (strlen(names.names[i]) == DW_ACTOR_ID_CHARS && !is_known(names.names[i])) {
            fail_msg("actor %s was told as failed, or as stopped", names.names[i]);
        }
    }
    for (int i = 0; i < w.count; i++) {
        verify_actor(&w.actors[i]);
    }
}

/* ---- rounds -------------------------------------------------------------------------------- */

static void plan(torture *t)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS};
    static const unsigned kinds[] = {DISK_ALL,    DISK_ALL,    DISK_WRITE,   DISK_SYNC,
                                     DISK_RENAME, DISK_UNLINK, DISK_LINK,    DISK_OPEN,
                                     DISK_RMDIR,  DISK_MKDIR,  DISK_TRUNCATE};
    disk_plan p = {.kinds = kinds[torture_below(t, sizeof kinds / sizeof kinds[0])],
                   .count = torture_below(t, 3) == 0 ? 0 : 1 + torture_below(t, 3),
                   .error = errors[torture_below(t, sizeof errors / sizeof errors[0])],
                   .cuts = torture_below(t, 2) == 0};
    p.after = torture_below(t, (uint64_t)2 << torture_below(t, 8));
    disk_plan_set(&p);
    if (getenv("TORTURE_TRACE") != NULL) {
        (void)fprintf(stderr, "kinds %x fail after %llu, %llu of them, errno %d\n", p.kinds,
                      (unsigned long long)p.after, (unsigned long long)p.count, p.error);
    }
}

static void begin(void)
{
    void *state = NULL;
    wasm_signals_save();
    assert_int_equal(actor_fixture_open(&state), 0);
    w.fixture = state;
    w.module = actor_module(w.fixture, "actor_pages.wasm");
    (void)snprintf(w.root, sizeof w.root, "/tmp/dw-torture-XXXXXX");
    assert_non_null(mkdtemp(w.root));
    (void)snprintf(w.folder, sizeof w.folder, "%s/state", w.root);
}

static void fresh(void)
{
    dw_error err = {.message = ""};
    disk_watch(w.folder);
    shell("rm -rf '%s'", w.folder);
    w.count = 0;
    must(open_runtime(&err), "opening", &err);
    must(spawn(&err), "spawning", &err);
    must(spawn(&err), "spawning", &err);
}

/* TORTURE_TRACE=1 tells of each step, for a round that is repeated. */
static void trace(dw_status status, const dw_error *err)
{
    static const char *traced;
    traced = getenv("TORTURE_TRACE");
    if (traced != NULL) {
        (void)fprintf(stderr, "operation %llu, %llu failed: %s: %s %s\n",
                      (unsigned long long)disk_operations(), (unsigned long long)disk_failed(),
                      w.said, dw_status_name(status), err->message);
    }
}

static void run(torture *t)
{
    if (w.fixture == NULL) {
        begin();
    }
    fresh();
    plan(t);
    for (uint64_t steps = 1 + torture_below(t, STEPS_MAX); steps > 0; steps--) {
        dw_error err;
        dw_status status = step(t, &err);
        counts.steps++;
        counts.failed_steps += status != DW_OK;
        trace(status, &err);
        if (w.runtime == NULL) { /* it failed to open: somebody sees to the disk */
            counts.faults += disk_failed();
            disk_plan_set(NULL);
            must(open_runtime(&err), "opening on a mended disk", &err);
        }
    }
    counts.faults += disk_failed();
    disk_plan_set(NULL);
    verify_all();
    dw_runtime_close(w.runtime);
    w.runtime = NULL;
}

static void tell(void)
{
    void *state = w.fixture;
    (void)printf("disk: %llu steps, of which %llu failed, %llu operations of the disk failed\n",
                 (unsigned long long)counts.steps, (unsigned long long)counts.failed_steps,
                 (unsigned long long)counts.faults);
    disk_plan_set(NULL);
    shell("rm -rf '%s'", w.root);
    dw_module_unref(w.module);
    (void)actor_fixture_close(&state);
}

int main(void)
{
    const torture_options options = {
        .name = "torture_disk", .run = run, .tell = tell, .seconds = 15};
    return torture_main(&options);
}
