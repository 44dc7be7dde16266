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

static char folder[] = "/tmp/dw-kills-XXXXXX";
static char model[96];

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **found,
                            dw_error *err)
{
    actor_fixture *fixture = user;
    (void)name;
    (void)fingerprint;
    (void)err;
    *found = dw_model_ref(fixture->model);
    return DW_OK;
}

static dw_runtime *opened(actor_fixture *fixture, const char *path)
{
    dw_runtime *runtime = NULL;
    dw_error error = {.message = ""};
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .path = path,
                                        .find_model = find_model,
                                        .user = fixture,
                                        .works_on_request = true};
    dw_status status = dw_runtime_open(&runtime, fixture->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return runtime;
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < sizeof(uint32_t) ? count : sizeof(uint32_t));
    return (ptrdiff_t)count;
}

/* What the guest answers; its counter, to a message of + and a number. */
static uint32_t told(dw_runtime *runtime, const char *id, const char *text)
{
    uint32_t answer[1] = {0};
    dw_error error = {.message = ""};
    const dw_request message = {.struct_bytes = sizeof message,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = keep,
                                .user = answer};
    dw_status status = dw_runtime_call(runtime, id, &message, &error);
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
    dw_runtime *runtime = opened(fixture, args[1]);
    for (int i = 0; write(STDOUT_FILENO, "+", 1) == 1; i++) {
        /* Its context changes, too; however soon it is killed, it does not grow for ever. */
        (void)told(runtime, args[2], i % 8 == 0 ? "t40" : "n3");
        if (i % 5 == 4 && dw_runtime_freeze(runtime, args[2], NULL, &error) != DW_OK) {
            (void)fprintf(stderr, "freeze: %s\n", error.message);
            return 1;
        }
        (void)told(runtime, args[2], "+1");
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
    dw_runtime *runtime = opened(fixture, path);
    assert_int_equal(dw_runtime_work(runtime, DW_WORK_ALL, &error), DW_OK);
    uint32_t now = told(runtime, id, "+0");
    dw_runtime_close(runtime);
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

static void test_kills_while_it_freezes(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.message = ""};
    uint32_t kills = emulated() ? 5 : getenv("DW_TEST_SHORT") != NULL ? 60 : 200;
    uint32_t done = 0;
    uint32_t between = 0;
    uint64_t random = 5;
    (void)snprintf(path, sizeof path, "%s/state", folder);
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = &fixture->model, .model_count = 1};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .capabilities = DW_MAY_ALL};
    dw_runtime *runtime = opened(fixture, path);
    assert_int_equal(dw_runtime_spawn(runtime, fixture->module, &options, id, &error), DW_OK);
    (void)told(runtime, id, "m");
    (void)told(runtime, id, "n40");
    dw_runtime_close(runtime);
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
    runtime = opened(fixture, path);
    assert_int_equal(dw_runtime_stop(runtime, id, &error), DW_OK);
    dw_runtime_close(runtime);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills_while_it_freezes),
    };
    if (argc == 5 && strcmp(argv[1], "--work") == 0) {
        return work(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests_name("kills", tests, open_fixture, close_fixture);
}
