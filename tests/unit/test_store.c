/* A state folder whose process is killed while it freezes: the actor in it is as it was before a
 * message or after it, whatever the moment. 200 kills, by SIGKILL, some within the first snapshot,
 * most within deltas and the full snapshots that take their place.
 *
 * The process that is killed is this program with --work MODEL FOLDER ID. It writes a byte when it
 * begins and one for each +1 that its actor has worked on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"
#include "tiny_model.h"

static char folder[] = "/tmp/dw-store-XXXXXX";
static char model[96];

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **found,
                            dw_error *err)
{
    actor_fixture *fixture = user;
    (void)name;
    (void)fingerprint;
    (void)err;
    *found = fixture->model;
    return DW_OK;
}

static dw_store *opened(actor_fixture *fixture, const char *path)
{
    dw_store *store = NULL;
    dw_error error = {.message = ""};
    dw_store_options options = {
        .struct_bytes = sizeof options, .path = path, .find_model = find_model, .user = fixture};
    dw_status status = dw_store_open(&store, fixture->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return store;
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < sizeof(uint32_t) ? count : sizeof(uint32_t));
    return (ptrdiff_t)count;
}

/* What the guest answers; its counter, to a message of + and a number. */
static uint32_t told(dw_store *store, const char *id, const char *text)
{
    uint32_t answer[1] = {0};
    dw_error error = {.message = ""};
    dw_actor_effect message = {
        .struct_bytes = sizeof message, .message = text, .message_bytes = strlen(text)};
    dw_status status = dw_store_send(store, id, &message, keep, answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return answer[0];
}

/* ---- the process that is killed ---------------------------------------------------------- */

static int work(char **args)
{
    void *fixture = NULL;
    dw_error error;
    if (setenv("DW_TEST_MODEL", args[0], 1) != 0 || actor_fixture_open(&fixture) != 0) {
        return 1;
    }
    dw_store *store = opened(fixture, args[1]);
    for (int i = 0; write(STDOUT_FILENO, "+", 1) == 1; i++) {
        /* Its context changes, too; however soon it is killed, it does not grow for ever. */
        (void)told(store, args[2], i % 8 == 0 ? "t40" : "n3");
        if (i % 5 == 4 && dw_store_freeze(store, args[2], NULL, &error) != DW_OK) {
            (void)fprintf(stderr, "freeze: %s\n", error.message);
            return 1;
        }
        (void)told(store, args[2], "+1");
    }
    return 1;
}

/* ---- the one that kills ------------------------------------------------------------------ */

typedef struct victim {
    pid_t process;
    int output;
} victim;

static victim started(const char *path, const char *id)
{
    char program[512];
    int ends[2];
    dw_error error;
    victim v;
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    assert_int_equal(pipe(ends), 0);
    v.process = fork();
    if (v.process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "--work", model, path, id, (char *)NULL);
        _exit(126);
    }
    assert_true(v.process > 0);
    (void)close(ends[1]);
    v.output = ends[0];
    return v;
}

static void read_bytes(const victim *v, size_t count)
{
    char byte;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(read(v->output, &byte, 1), 1);
    }
}

/* Messages that it has done from now on, until it is killed. */
static size_t killed_after(const victim *v, uint64_t wait_ns)
{
    char bytes[4096];
    size_t count = 0;
    ssize_t got = 0;
    int status = 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000),
                            .tv_nsec = (long)(wait_ns % 1000000000)};
    (void)nanosleep(&wait, NULL);
    assert_int_equal(kill(v->process, SIGKILL), 0);
    assert_int_equal(waitpid(v->process, &status, 0), v->process);
    if (!WIFSIGNALED(status)) {
        fail_msg("it had ended by itself, with %d", WEXITSTATUS(status));
    }
    while ((got = read(v->output, bytes, sizeof bytes)) > 0) {
        count += (size_t)got;
    }
    (void)close(v->output);
    return count;
}

/* Work on what the killed process had accepted, and say what the counter is then. */
static uint32_t counted(actor_fixture *fixture, const char *path, const char *id)
{
    dw_error error = {.message = ""};
    dw_store *store = opened(fixture, path);
    assert_int_equal(dw_store_run(store, &error), DW_OK);
    uint32_t now = told(store, id, "+0");
    dw_store_close(store);
    return now;
}

/* How long a round of work() takes here, with all that goes to the disk. */
static uint64_t usual_ns(const char *path, const char *id)
{
    enum { ROUNDS = 6 };
    victim v = started(path, id);
    read_bytes(&v, 1);
    uint64_t begun = dw_os_clock_ns();
    read_bytes(&v, ROUNDS);
    uint64_t took = dw_os_clock_ns() - begun;
    (void)killed_after(&v, 0);
    return took / ROUNDS;
}

/* Below `limit`, from a generator that gives the same moments each time. */
static uint64_t drawn(uint64_t *random, uint64_t limit)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (*random >> 24) % limit;
}

static void test_store_survives_kills(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.message = ""};
    uint32_t kills = emulated() ? 5 : 200;
    uint32_t done = 0;
    uint32_t between = 0;
    uint64_t random = 5;
    (void)snprintf(path, sizeof path, "%s/state", folder);
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = &fixture->model, .model_count = 1};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_store *store = opened(fixture, path);
    assert_int_equal(dw_store_spawn(store, fixture->module, &options, id, &error), DW_OK);
    (void)told(store, id, "m");
    (void)told(store, id, "n40");
    dw_store_close(store);
    uint64_t usual = usual_ns(path, id);
    uint32_t before = counted(fixture, path, id);
    for (uint32_t i = 0; i < kills; i++) {
        /* Whole rounds by what it has done, not by the clock: a busy machine does as many. Then
         * some moment of the next, by what the last ones took. */
        uint32_t rounds = (uint32_t)drawn(&random, 3);
        victim v = started(path, id);
        read_bytes(&v, 1);
        uint64_t begun = dw_os_clock_ns();
        read_bytes(&v, rounds);
        if (rounds > 0) {
            usual = (usual + (dw_os_clock_ns() - begun) / rounds) / 2;
        }
        uint32_t told_of = rounds + (uint32_t)killed_after(&v, drawn(&random, usual + 1));
        uint32_t now = counted(fixture, path, id);
        if (now - before < told_of || now - before > told_of + 1) {
            fail_msg("kill %u: %u messages were done, %u came of it", i, told_of, now - before);
        }
        done += told_of;
        between += now - before - told_of;
        before = now;
    }
    print_message("%u kills: %u messages told of as done, %u done or accepted and not told of\n",
                  kills, done, between);
    assert_true(kills < 200 || (done > kills / 10 && between > 0));
    store = opened(fixture, path);
    assert_int_equal(dw_store_stop(store, id, &error), DW_OK);
    dw_store_close(store);
}

static int open_fixture(void **state)
{
    tiny_options options = tiny_defaults();
    options.context_length = 1024;
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", folder);
    tiny_model_write(model, &options);
    return setenv("DW_TEST_MODEL", model, 1) == 0 ? actor_fixture_open(state) : 1;
}

static int close_fixture(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return actor_fixture_close(state) == 0 && system(command) == 0 ? 0 : 1;
}

/* ---- calls from callbacks ---------------------------------------------------------------- */

typedef struct nested_calls {
    dw_store *store;
    const char *working; /* the actor that answers */
    const char *other;
    unsigned count;
} nested_calls;

/* Looking is allowed while an actor works, what works on an actor is not. */
static ptrdiff_t call_store(void *user, const unsigned char *bytes, size_t count)
{
    nested_calls *calls = user;
    dw_error error = {.message = ""};
    dw_store_info info = {.struct_bytes = sizeof info};
    dw_actor_effect message = {.struct_bytes = sizeof message, .message = "+1", .message_bytes = 2};
    dw_actor *actor = NULL;
    const char *const *paths = NULL;
    size_t path_count = 0;
    char id[DW_ACTOR_ID_CHARS + 1];
    (void)bytes;
    calls->count++;
    assert_int_equal(dw_store_get_info(calls->store, calls->other, &info, &error), DW_OK);
    assert_int_equal(dw_store_paths(calls->store, calls->other, &paths, &path_count, &error),
                     DW_OK);
    assert_int_equal(dw_store_send(calls->store, calls->other, &message, keep, id, &error),
                     DW_E_STATE);
    assert_int_equal(dw_store_run(calls->store, &error), DW_E_STATE);
    assert_int_equal(dw_store_fork(calls->store, calls->other, id, &error), DW_E_STATE);
    assert_int_equal(dw_store_freeze(calls->store, calls->other, NULL, &error), DW_E_STATE);
    assert_int_equal(dw_store_thaw(calls->store, calls->other, NULL, &actor, NULL, &error),
                     DW_E_STATE);
    assert_int_equal(dw_store_stop(calls->store, calls->working, &error), DW_E_STATE);
    return (ptrdiff_t)count;
}

static void test_store_calls_from_callbacks(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    char id[2][DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.message = ""};
    (void)snprintf(path, sizeof path, "%s/nested", folder);
    dw_store *store = opened(fixture, path);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(dw_store_spawn(store, fixture->module, NULL, id[i], &error), DW_OK);
    }
    assert_int_equal(told(store, id[1], "+5"), 5);
    nested_calls calls = {.store = store, .working = id[0], .other = id[1]};
    dw_actor_effect message = {.struct_bytes = sizeof message, .message = "+1", .message_bytes = 2};
    for (unsigned i = 0; i < 40; i++) { /* past where a chain becomes one full snapshot */
        assert_int_equal(dw_store_send(store, id[0], &message, call_store, &calls, &error), DW_OK);
    }
    assert_true(calls.count >= 40);
    assert_int_equal(told(store, id[0], "+1"), 41);
    assert_int_equal(told(store, id[1], "+1"), 6);
    dw_store_close(store);
}

/* ---- answers that cannot be passed on ---------------------------------------------------- */

typedef struct listener {
    actor_fixture *fixture;
    dw_status says;
    dw_status heard;
    unsigned count;
} listener;

static dw_status find_listeners_model(void *user, const char *name, const char *fingerprint,
                                      dw_model **found, dw_error *err)
{
    return find_model(((listener *)user)->fixture, name, fingerprint, found, err);
}

static dw_status on_answered(void *user, const char *id, dw_status result, dw_error *err)
{
    listener *to = user;
    assert_int_equal(strlen(id), DW_ACTOR_ID_CHARS);
    to->heard = result;
    to->count++;
    return to->says == DW_OK ? DW_OK : dw_fail(err, to->says, "nobody listens");
}

/* A message whose answer could not be passed on has not been worked on, whatever the guest made of
 * it; the next goes on from where the actor was. */
static void test_store_gives_up_a_message_that_cannot_be_answered(void **state)
{
    char path[96];
    char id[DW_ACTOR_ID_CHARS + 1];
    uint32_t answer[1] = {0};
    dw_error error = {.message = ""};
    dw_store *store = NULL;
    listener to = {.fixture = *state};
    dw_store_options options = {.struct_bytes = sizeof options,
                                .path = path,
                                .find_model = find_listeners_model,
                                .user = &to,
                                .on_answered = on_answered};
    dw_actor_effect add = {.struct_bytes = sizeof add, .message = "+7", .message_bytes = 2};
    dw_actor_effect wrong = {.struct_bytes = sizeof wrong, .message = "e", .message_bytes = 1};
    (void)snprintf(path, sizeof path, "%s/answered", folder);
    assert_int_equal(dw_store_open(&store, to.fixture->engine, &options, &error), DW_OK);
    assert_int_equal(dw_store_spawn(store, to.fixture->module, NULL, id, &error), DW_OK);
    assert_int_equal(told(store, id, "+5"), 5);
    assert_int_equal(to.heard, DW_OK);
    to.says = DW_E_IO;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dw_store_send(store, id, &add, keep, answer, &error), DW_E_IO);
        assert_string_equal(error.message, "nobody listens");
        assert_int_equal(answer[0], 12);
        assert_int_equal(dw_store_send(store, id, &wrong, keep, answer, &error), DW_E_IO);
        assert_true(to.heard < 0);
    }
    to.says = DW_OK;
    assert_int_equal(told(store, id, "+0"), 5);
    assert_int_equal(to.count, 8);
    dw_store_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_store_get_info(store, id, &info, &error), DW_OK);
    assert_int_equal(info.waiting, 0);
    dw_store_close(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_survives_kills),
        cmocka_unit_test(test_store_calls_from_callbacks),
        cmocka_unit_test(test_store_gives_up_a_message_that_cannot_be_answered),
    };
    if (argc == 5 && strcmp(argv[1], "--work") == 0) {
        return work(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests_name("store", tests, open_fixture, close_fixture);
}
