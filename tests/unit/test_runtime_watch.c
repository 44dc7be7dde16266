/* Watches: actors that are told, once, what becomes of others; in memory alone, and in a folder,
 * where they outlast whatever becomes of the process. This program with --work FOLDER ID is the
 * process that is killed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

static dw_module *watcher;
static char folder[32];

static runtime_id spawned(runtime_fixture *f, const char *tenant, uint32_t may)
{
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .tenant = tenant, .capabilities = may};
    return runtime_spawned(f, watcher, &options);
}

static dw_status tell(runtime_fixture *f, const runtime_id *id, runtime_answer *answer,
                      dw_error *error, const char *what, const runtime_id *about)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s%s", what, about != NULL ? about->text : "");
    error->message[0] = '\0';
    return runtime_tell(f, id, text, answer, error);
}

static void well(runtime_fixture *f, const runtime_id *id, const char *what,
                 const runtime_id *about)
{
    runtime_answer answer;
    dw_error error;
    if (tell(f, id, &answer, &error, what, about) != DW_OK) {
        fail_msg("%s: %s", what, error.message);
    }
}

static void badly(runtime_fixture *f, const runtime_id *id, const char *what,
                  const runtime_id *about, dw_status expected)
{
    runtime_answer answer;
    dw_error error;
    dw_status status = tell(f, id, &answer, &error, what, about);
    if (status != expected) {
        fail_msg("%s: %d, %s", what, (int)status, error.message);
    }
}

/* One that the actor makes, and watches. */
static runtime_id made(runtime_fixture *f, const runtime_id *id, const char *what)
{
    runtime_answer answer;
    runtime_id child;
    dw_error error;
    if (tell(f, id, &answer, &error, what, NULL) != DW_OK) {
        fail_msg("%s: %s", what, error.message);
    }
    assert_int_equal(answer.count, DW_ACTOR_ID_CHARS);
    memcpy(child.text, answer.bytes, DW_ACTOR_ID_CHARS);
    child.text[DW_ACTOR_ID_CHARS] = '\0';
    return child;
}

/* It was told so many things, and the last says so of `about`. */
static void has(runtime_fixture *f, const runtime_id *id, uint32_t count, const runtime_id *about,
                const char *form)
{
    runtime_answer answer;
    dw_error error;
    char expected[256];
    runtime_await(f);
    uint32_t told = runtime_told(f, id, "c");
    assert_int_equal(tell(f, id, &answer, &error, "?", NULL), DW_OK);
    if (told != count) {
        fail_msg("told %u times, not %u: %s", told, count, (const char *)answer.bytes);
    }
    if (form != NULL) {
        const char *start = (const char *)answer.bytes;
        const char *last = start + strlen(start);
        for (last -= last > start; last > start && last[-1] != '\n';) {
            last--;
        }
        const char *at = strchr(form, '*'); /* where the id stands */
        (void)snprintf(expected, sizeof expected, "%.*s%s%s", (int)(at - form), form, about->text,
                       at + 1);
        if (strncmp(last, expected, strlen(expected)) != 0) {
            fail_msg("told\n%snot\n%s", last, expected);
        }
    }
}

#define ENDED(why) "{\"event\":\"ended\",\"actor\":\"*\",\"why\":\"" why "\""

static void check_ends(runtime_fixture *f)
{
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    dw_error error;
    well(f, &w, "w 0 ", &a);
    well(f, &w, "w 0 ", &a); /* once more is the same */
    badly(f, &a, "t", NULL, DW_E_TRAP);
    has(f, &w, 0, NULL, NULL); /* it did not ask for that */
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    has(f, &w, 1, &a, ENDED("stopped") "}");

    a = spawned(f, "", DW_MAY_ALL);
    well(f, &w, "w 0 ", &a);
    well(f, &a, "e", NULL);
    has(f, &w, 2, &a, ENDED("finished") "}");
    well(f, &w, "w 0 ", &a); /* too late, which is told at once */
    has(f, &w, 3, &a, ENDED("finished") "}");

    const dw_spawn_options fragile = {.struct_bytes = sizeof fragile,
                                      .capabilities = DW_MAY_ALL,
                                      .supervision = DW_SUPERVISE_STOP};
    a = runtime_spawned(f, watcher, &fragile);
    well(f, &w, "w 0 ", &a);
    badly(f, &a, "t", NULL, DW_E_TRAP);
    has(f, &w, 4, &a, ENDED("failed") ",\"status\":\"DW_E_STATE\",\"reason\":\"it broke off 1 ");
    /* No more, and none that a message asked for which trapped. */
    a = spawned(f, "", DW_MAY_ALL);
    well(f, &w, "w 0 ", &a);
    well(f, &w, "u ", &a);
    well(f, &w, "u ", &a);
    badly(f, &w, "W 0 ", &a, DW_E_TRAP);
    w = f->path != NULL ? w : spawned(f, "", DW_MAY_ALL);
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    has(f, &w, f->path != NULL ? 4 : 0, NULL, NULL);
    runtime_close(f);
}

/* Several watch one, and go themselves; a tree ends at once. */
static void check_many(runtime_fixture *f)
{
    enum { COUNT = 9 };
    dw_error error;
    uint64_t stopped = 0;
    runtime_id ids[COUNT];
    runtime_open(f);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = spawned(f, "", DW_MAY_ALL);
        well(f, &ids[i], "w 3 ", &a);
    }
    assert_int_equal(dw_runtime_stop(f->runtime, ids[1].text, &error), DW_OK);
    well(f, &ids[2], "e", NULL);
    runtime_id child = made(f, &a, "p");
    runtime_id grandchild = made(f, &child, "p");
    well(f, &ids[3], "w 0 ", &grandchild);
    well(f, &ids[3], "w 0 ", &ids[4]);
    assert_int_equal(dw_runtime_stop_tree(f->runtime, a.text, &stopped, &error), DW_OK);
    assert_int_equal(stopped, 3);
    for (size_t i = 0; i < COUNT; i++) {
        if (i != 1 && i != 2 && i != 3) {
            has(f, &ids[i], 1, &a, ENDED("stopped") "}");
        }
    }
    has(f, &ids[3], 2, NULL, NULL);
    runtime_close(f);
}

static void check_failures(runtime_fixture *f)
{
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    runtime_id sender = spawned(f, "", DW_MAY_ALL);
    dw_error error;
    char text[64];
    well(f, &w, "w 1 ", &a);
    badly(f, &a, "n", NULL, DW_E_STATE); /* an answer; it did not break off */
    has(f, &w, 0, NULL, NULL);
    badly(f, &a, "t", NULL, DW_E_TRAP);
    has(f, &w, 1, &a,
        "{\"event\":\"failed\",\"actor\":\"*\",\"status\":\"DW_E_TRAP\",\"reason\":\"");
    badly(f, &a, "t", NULL, DW_E_TRAP);
    has(f, &w, 1, NULL, NULL); /* a watch brings one message */

    well(f, &w, "w 2 ", &a);
    (void)snprintf(text, sizeof text, "s %s t", a.text);
    well(f, &sender, text, NULL); /* three attempts */
    has(f, &w, 2, &a, "{\"event\":\"set_aside\",\"actor\":\"*\",\"status\":\"DW_E_TRAP\",");
    well(f, &w, "w 3 ", &a); /* whichever comes first, for good */
    well(f, &sender, text, NULL);
    has(f, &w, 3, &a, "{\"event\":\"failed\",\"actor\":\"*\"");
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    has(f, &w, 3, NULL, NULL);
    /* Only the host's word is one: this is a message like others. */
    (void)snprintf(text, sizeof text, "s %s {\"event\":\"ended\"}", w.text);
    well(f, &sender, text, NULL);
    has(f, &w, 3, NULL, NULL);
    assert_int_equal(runtime_told(f, &w, "m"), 1);
    runtime_close(f);
}

static void check_children(runtime_fixture *f)
{
    dw_error error;
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    runtime_id child = made(f, &w, "p");
    has(f, &w, 0, NULL, NULL);
    well(f, &child, "e", NULL);
    has(f, &w, 1, &child, ENDED("finished") "}");
    runtime_id twin = made(f, &w, "f"); /* it watches nobody, though its parent watches it */
    runtime_await(f);
    well(f, &twin, "e", NULL);
    has(f, &w, 2, &twin, ENDED("finished") "}");
    runtime_id never = made(f, &w, "b unborn");
    has(f, &w, 3, &never, "{\"event\":\"not_made\",\"actor\":\"*\",\"status\":\"DW_E_");
    well(f, &w, "w 0 ", &never);
    has(f, &w, 4, &never, "{\"event\":\"not_made\",\"actor\":\"*\",\"status\":\"DW_E_");
    /* One that forks has what it watches, and its twin has not. */
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    well(f, &w, "w 0 ", &a);
    runtime_id fork;
    assert_int_equal(dw_runtime_fork(f->runtime, w.text, fork.text, &error), DW_OK);
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    has(f, &w, 5, &a, ENDED("stopped") "}");
    has(f, &fork, 4, NULL, NULL);
    runtime_close(f);
}

static void check_rights(runtime_fixture *f)
{
    static const runtime_id nobody = {"0123456789abcdef"};
    dw_error error;
    dw_error none;
    runtime_answer answer;
    const dw_tenant_options tenant = {.struct_bytes = sizeof tenant, .capabilities = DW_MAY_ALL};
    runtime_open(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "a", &tenant, &error), DW_OK);
    runtime_id w = spawned(f, "", DW_MAY_SEND_TENANT);
    runtime_id any = spawned(f, "", DW_MAY_SEND_ANY);
    runtime_id mute = spawned(f, "", DW_MAY_SPAWN);
    runtime_id stranger = spawned(f, "a", DW_MAY_ALL);
    runtime_id mine = spawned(f, "", DW_MAY_ALL);
    /* What is not there and what may not be known of are the same. */
    assert_int_equal(tell(f, &w, &answer, &none, "w 0 ", &nobody), DW_E_NOT_FOUND);
    assert_int_equal(tell(f, &w, &answer, &error, "w 0 ", &stranger), DW_E_NOT_FOUND);
    char *differs = strstr(error.message, stranger.text);
    assert_non_null(differs);
    memcpy(differs, nobody.text, DW_ACTOR_ID_CHARS);
    assert_string_equal(error.message, none.message);
    badly(f, &mute, "w 0 ", &mine, DW_E_DENIED);
    badly(f, &mute, "w 0 ", &nobody, DW_E_DENIED);
    badly(f, &w, "w 0 ", &w, DW_E_ARG);
    badly(f, &w, "w 4 ", &mine, DW_E_ARG);
    badly(f, &w, "w 0 #group", NULL, DW_E_ARG);
    badly(f, &w, "w 0 12", NULL, DW_E_ARG);
    badly(f, &w, "w 0 @nobody", NULL, DW_E_NOT_FOUND);
    /* By its name, of its tenant's; and what another tenant's broke off with is that one's. */
    assert_int_equal(dw_runtime_set_name(f->runtime, mine.text, "clerk", &error), DW_OK);
    well(f, &w, "w 0 @clerk", NULL);
    well(f, &any, "w 1 ", &stranger);
    badly(f, &stranger, "t", NULL, DW_E_TRAP);
    has(f, &any, 1, &stranger, "{\"event\":\"failed\",\"actor\":\"*\"}");
    assert_int_equal(dw_runtime_stop(f->runtime, stranger.text, &error), DW_OK);
    badly(f, &w, "w 0 ", &stranger, DW_E_NOT_FOUND);
    well(f, &any, "w 0 ", &stranger);
    has(f, &any, 2, &stranger, ENDED("stopped") "}");
    assert_int_equal(dw_runtime_stop(f->runtime, "@clerk", &error), DW_OK);
    has(f, &w, 1, &mine, ENDED("stopped") "}");
    runtime_close(f);
}

static void check_limits(runtime_fixture *f)
{
    dw_error error;
    runtime_answer answer;
    runtime_id ids[3];
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .watches = 2, .message_bytes = 1024};
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    for (size_t i = 0; i < 3; i++) {
        ids[i] = spawned(f, "", DW_MAY_ALL);
        badly(f, &w, "w 0 ", &ids[i], i < 2 ? DW_OK : DW_E_LIMIT);
        badly(f, &w, "w 3 ", &ids[0], DW_OK); /* is watched already */
    }
    assert_int_equal(tell(f, &w, &answer, &error, "w 0 ", &ids[2]), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "2 actors are watched, limit 2 (watches)"));
    well(f, &ids[1], "w 0 ", &ids[0]);
    assert_int_equal(tell(f, &ids[2], &answer, &error, "w 0 ", &ids[0]), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "2 watch the actor, limit 2 (watches)"));
    assert_int_equal(dw_runtime_stop(f->runtime, ids[0].text, &error), DW_OK);
    has(f, &w, 1, &ids[0], ENDED("stopped") "}");
    well(f, &w, "w 0 ", &ids[2]); /* there is room again */
    runtime_close(f);
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .message_bytes = 1023};
    runtime_open(f);
    w = spawned(f, "", DW_MAY_ALL);
    ids[0] = spawned(f, "", DW_MAY_ALL);
    badly(f, &w, "w 0 ", &ids[0], DW_E_LIMIT);
    runtime_close(f);
}

/* An actor's own limit is of what it watches, not of how many watch the same. */
static void check_own_limits(runtime_fixture *f)
{
    const dw_limits limits = {.struct_bytes = sizeof limits, .watches = 1};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options narrow = {
        .struct_bytes = sizeof narrow, .capabilities = DW_MAY_ALL, .actor = &actor};
    dw_error error;
    runtime_answer answer;
    runtime_open(f);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    runtime_id b = spawned(f, "", DW_MAY_ALL);
    for (size_t i = 0; i < 5; i++) {
        runtime_id other = spawned(f, "", DW_MAY_ALL);
        well(f, &other, "w 0 ", &a);
    }
    runtime_id w = runtime_spawned(f, watcher, &narrow);
    well(f, &w, "w 0 ", &a);
    assert_int_equal(tell(f, &w, &answer, &error, "w 0 ", &b), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "1 actors are watched, limit 1 (watches)"));
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    has(f, &w, 1, &a, ENDED("stopped") "}");
    runtime_close(f);
}

/* One that makes another each time that it is told of an end comes to its end itself. */
static void check_storm(runtime_fixture *f)
{
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .caused_messages = 40};
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    well(f, &w, "l", NULL);
    runtime_await(f);
    uint32_t told = runtime_told(f, &w, "c");
    assert_in_range(told, 5, 20); /* a spawn and a watch are two of what one has caused */
    runtime_close(f);
}

static void check_all(runtime_fixture *f)
{
    check_ends(f);
    check_many(f);
    check_failures(f);
    check_children(f);
    check_rights(f);
    check_limits(f);
    check_own_limits(f);
    check_storm(f);
}

static void test_watch_in_memory(void **state)
{
    check_all(*state);
}

static void begin_folder(runtime_fixture *f)
{
    (void)snprintf(folder, sizeof folder, "/tmp/dw-watch-XXXXXX");
    assert_non_null(mkdtemp(folder));
    f->path = folder;
}

static void test_watch_in_folder(void **state)
{
    begin_folder(*state);
    check_all(*state);
}

static void open_again(runtime_fixture *f)
{
    runtime_close(f);
    runtime_open(f);
}

/* Of actors that are in no memory, in another process; and a watch stays whatever its actor goes
 * back to. */
static void test_watch_is_kept(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    begin_folder(f);
    f->durability = DW_DURABLE_PARK; /* what asks for something is written all the same */
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    runtime_id b = spawned(f, "", DW_MAY_ALL);
    well(f, &w, "w 0 ", &a);
    well(f, &w, "w 1 ", &b);
    open_again(f);
    assert_false(runtime_info(f, &w).resident);
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    open_again(f);
    has(f, &w, 1, &a, ENDED("stopped") "}");
    assert_int_equal(dw_runtime_rewind(f->runtime, w.text, 0, &error), DW_OK);
    assert_int_equal(dw_runtime_park(f->runtime, w.text, &error), DW_OK);
    badly(f, &b, "t", NULL, DW_E_TRAP);
    has(f, &w, 1, &b, "{\"event\":\"failed\",\"actor\":\"*\",\"status\":\"DW_E_TRAP\",");
    open_again(f);
    well(f, &w, "w 0 ", &a); /* that it ended is remembered */
    has(f, &w, 2, &a, ENDED("stopped") "}");
    runtime_close(f);
}

/* ---- the process that is killed -------------------------------------------------------------- */

static int work(char **args)
{
    void *opened = NULL;
    runtime_id id;
    if (runtime_fixture_open(&opened) != 0) {
        return 1;
    }
    runtime_fixture *f = opened;
    f->path = args[0];
    f->works_on_request = true;
    (void)snprintf(id.text, sizeof id.text, "%s", args[1]);
    runtime_open(f);
    for (unsigned i = 0; write(STDOUT_FILENO, "+", 1) == 1; i++) {
        runtime_answer answer;
        runtime_id child;
        dw_error error;
        if (request_tell(f, id.text, i % 4 == 3 ? "f" : "p", &answer, &error) != DW_OK) {
            (void)fprintf(stderr, "%s\n", error.message);
            return 1;
        }
        memcpy(child.text, answer.bytes, DW_ACTOR_ID_CHARS);
        child.text[DW_ACTOR_ID_CHARS] = '\0';
        switch (i % 3) {
        case 0:
            (void)!request_tell(f, child.text, "t", &answer, &error);
            break;
        case 1:
            (void)!request_tell(f, child.text, "e", &answer, &error);
            break;
        default:
            (void)!dw_runtime_stop(f->runtime, child.text, &error);
        }
    }
    return 1;
}

static pid_t started(const char *id, int *output)
{
    char program[512];
    int ends[2];
    dw_error error;
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    assert_int_equal(pipe(ends), 0);
    pid_t process = fork();
    if (process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "--work", folder, id, (char *)NULL);
        _exit(126);
    }
    assert_true(process > 0);
    (void)close(ends[1]);
    *output = ends[0];
    return process;
}

/* Each child that was made is watched, and is there, or that it is not was told: once. One that
 * trapped and is there was told of, too. */
static void check_killed(runtime_fixture *f, const char *id, unsigned kill_number)
{
    enum { MOST = 4096 };
    static runtime_id ids[MOST];
    runtime_answer answer;
    dw_error error;
    unsigned failed = 0;
    runtime_open(f);
    request_run(f);
    assert_int_equal(request_tell(f, id, "c", &answer, &error), DW_OK);
    uint32_t counts[2];
    memcpy(counts, answer.bytes, sizeof counts);
    size_t there = runtime_ids(f, ids, MOST) - 1;
    /* Those that trapped are there, told of, and watched no more. */
    for (size_t i = 0; i < there + 1; i++) {
        char text[sizeof ids[i].text + 2];
        memcpy(text, "x ", 2);
        memcpy(text + 2, ids[i].text, sizeof ids[i].text);
        if (strcmp(ids[i].text, id) != 0) {
            assert_int_equal(request_tell(f, id, text, &answer, &error), DW_OK);
            failed += answer.bytes[0] == '1';
        }
    }
    if (counts[0] + there - failed != counts[1]) {
        fail_msg("kill %u: %u watched, %zu there, of these %u failed, %u told", kill_number,
                 counts[1], there, failed, counts[0]);
    }
    runtime_close(f);
}

static void test_watch_outlasts_kills(void **state)
{
    runtime_fixture *f = *state;
    const unsigned kills = getenv("DW_TEST_SHORT") != NULL ? 12 : 40;
    uint64_t random = 7;
    begin_folder(f);
    f->works_on_request = true;
    runtime_open(f);
    runtime_id w = spawned(f, NULL, DW_MAY_ALL);
    runtime_close(f);
    for (unsigned i = 0; i < kills; i++) {
        int output = -1;
        char byte;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        pid_t process = started(w.text, &output);
        for (uint64_t rounds = 1 + (random >> 33) % 4; rounds > 0; rounds--) {
            assert_int_equal(read(output, &byte, 1), 1);
        }
        const struct timespec wait = {.tv_nsec = (long)((random >> 24) % 40000000)};
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(process, SIGKILL), 0);
        assert_int_equal(waitpid(process, NULL, 0), process);
        (void)close(output);
        check_killed(f, w.text, i);
    }
}

/* What dw_runtime_describe has of them, from there on. */
static const char *described(runtime_fixture *f, const runtime_id *id)
{
    static char text[16384];
    dw_error error;
    dw_text_room room = {.items = text, .capacity = sizeof text - 1};
    if (dw_runtime_describe(f->runtime, id->text, &room, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    text[room.count] = '\0';
    const char *at = strstr(text, "\"watches\":{");
    assert_non_null(at);
    return at;
}

static void begins(const char *text, const char *expected)
{
    if (strncmp(text, expected, strlen(expected)) != 0) {
        fail_msg("%.300s\nnot %s", text, expected);
    }
}

static void check_described(runtime_fixture *f)
{
    char expected[256];
    runtime_open(f);
    runtime_id w = spawned(f, "", DW_MAY_ALL);
    runtime_id a = spawned(f, "", DW_MAY_ALL);
    dw_error error;
    well(f, &a, "m", NULL); /* both are in memory */
    well(f, &w, "m", NULL);
    begins(described(f, &w),
           "\"watches\":{\"count\":0,\"limit\":256,\"watchers\":0,\"actors\":[]}");
    well(f, &w, "w 2 ", &a);
    (void)snprintf(expected, sizeof expected,
                   "\"watches\":{\"count\":1,\"limit\":256,\"watchers\":0,\"actors\":[{\"id\":"
                   "\"%s\",\"events\":[\"ended\",\"set_aside\"]}]}",
                   a.text);
    begins(described(f, &w), expected);
    begins(described(f, &a), "\"watches\":{\"count\":0,\"limit\":256,\"watchers\":1,");
    if (f->path != NULL) { /* of one that is not in memory its limit is not known */
        assert_int_equal(dw_runtime_park(f->runtime, w.text, &error), DW_OK);
        (void)snprintf(expected, sizeof expected,
                       "\"watches\":{\"count\":1,\"watchers\":0,\"actors\":[{\"id\":\"%s\",",
                       a.text);
        begins(described(f, &w), expected);
    }
    well(f, &w, "w 1 ", &a); /* the last counts */
    assert_non_null(strstr(described(f, &w), "\"events\":[\"ended\",\"failed\"]}]}"));
    well(f, &w, "u ", &a);
    assert_non_null(strstr(described(f, &w), "\"watchers\":0,\"actors\":[]}"));
    begins(described(f, &a), "\"watches\":{\"count\":0,\"limit\":256,\"watchers\":0,");
    runtime_close(f);
}

static void test_watch_is_described(void **state)
{
    check_described(*state);
    begin_folder(*state);
    check_described(*state);
}

static int open_fixture(void **state)
{
    int failed = runtime_fixture_open(state);
    watcher = actor_module(((runtime_fixture *)*state)->actors, "actor_watcher.wasm");
    return failed;
}

static int close_fixture(void **state)
{
    dw_module_unref(watcher);
    return runtime_fixture_close(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_watch_in_memory),      runtime_test(test_watch_in_folder),
        runtime_test(test_watch_is_kept),        runtime_test(test_watch_is_described),
        runtime_test(test_watch_outlasts_kills),
    };
    wasm_signals_save();
    if (argc == 4 && strcmp(argv[1], "--work") == 0) {
        return work(argv + 2);
    }
    return cmocka_run_group_tests_name("watch", tests, open_fixture, close_fixture);
}
