/* A runtime with a path when its process is killed, and when its disk fails: what was accepted is
 * worked on once, whatever the moment, and what was told as failed is not done.
 *
 * The process that is killed is this program with --work FOLDER DURABILITY A. It writes a letter
 * for each message that it was told the end of. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "failing_disk.h"
#include "runtime_fixture.h"
#include "support.h"

#define KILLS 24
/* Until a process is killed, times the square of its number. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOMENT_NS 1500000
#else
#define MOMENT_NS 150000
#endif

static char folder[] = "/tmp/dw-runtime-faults-XXXXXX";

static void clean(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void open_folder(runtime_fixture *f, const char *path, dw_durability durability)
{
    f->path = path;
    f->durability = durability;
    f->durability_s = durability == DW_DURABLE_SECONDS ? 1 : 0;
    runtime_open(f);
}

static void close_folder(runtime_fixture *f)
{
    runtime_close(f);
    f->path = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    f->durability_s = 0;
}

/* ---- killed ---------------------------------------------------------------------------------- */

static int work(char **args)
{
    void *state = NULL;
    runtime_id a;
    if (runtime_fixture_open(&state) != 0) {
        return 1;
    }
    runtime_fixture *f = state;
    open_folder(f, args[0], (dw_durability)(args[1][0] - '0'));
    (void)snprintf(a.text, sizeof a.text, "%s", args[2]);
    while (write(STDOUT_FILENO, "-", 1) == 1) {
        (void)runtime_told(f, &a, "+1");
        (void)!write(STDOUT_FILENO, "+", 1);
        (void)runtime_told(f, &a, "D+1");
        (void)!write(STDOUT_FILENO, "D", 1);
    }
    return 1;
}

typedef struct told {
    unsigned plus;
    unsigned sent;
} told;

/* Killed so long after it began to work; what it was told the end of. */
static told killed_after(const char *id, dw_durability durability, long wait_ns)
{
    char program[512];
    char policy[2] = {(char)('0' + (int)durability), '\0'};
    char byte;
    int ends[2];
    int status = 0;
    told t = {.plus = 0};
    dw_error error;
    const struct timespec wait = {.tv_nsec = wait_ns};
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    assert_int_equal(pipe(ends), 0);
    pid_t process = fork();
    if (process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "--work", folder, policy, id, (char *)NULL);
        _exit(126);
    }
    assert_true(process > 0);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    (void)nanosleep(&wait, NULL);
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], &byte, 1) == 1) {
        t.plus += byte == '+';
        t.sent += byte == 'D';
    }
    (void)close(ends[0]);
    return t;
}

static void test_faults_kills(void **state)
{
    static const dw_durability policies[] = {DW_DURABLE_EACH, DW_DURABLE_PARK, DW_DURABLE_SECONDS};
    runtime_fixture *f = *state;
    char text[32];
    char problem[256];
    uint32_t plus = 0;
    uint32_t sent = 0;
    unsigned done = 0;
    open_folder(f, folder, DW_DURABLE_EACH);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    (void)runtime_told(f, &a, text);
    close_folder(f);
    /* More of them on a busy machine, where little is done before the early ones. */
    for (unsigned i = 0; i < KILLS || (done <= KILLS && i < 4 * KILLS); i++) {
        told t = killed_after(a.text, policies[i % 3], (long)(i * i) * MOMENT_NS);
        open_folder(f, folder, DW_DURABLE_EACH);
        runtime_await(f);
        uint32_t now_plus = runtime_told(f, &a, "+0");
        uint32_t now_sent = runtime_told(f, &b, "+0");
        assert_in_range(now_plus, plus + t.plus, plus + t.plus + 1);
        assert_in_range(now_sent, sent + t.sent, sent + t.sent + 1);
        assert_int_equal(runtime_problems(f, problem), 0);
        done += t.plus + t.sent;
        plus = now_plus;
        sent = now_sent;
        close_folder(f);
    }
    assert_true(done > KILLS);
    clean();
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

/* Of all operations of the disk while a message is worked on, those from one on fail. */
static void fail_messages(runtime_fixture *f, const runtime_id *a, const runtime_id *b,
                          const char *text, bool to_other)
{
    runtime_answer answer;
    dw_error error;
    bool any = true;
    uint32_t before = runtime_told(f, to_other ? b : a, "+0");
    unsigned failures = 0;
    for (uint64_t after = 0; any; after++) {
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = after, .error = ENOSPC});
        dw_status status = runtime_tell(f, a, text, &answer, &error);
        any = disk_failed() > 0;
        disk_plan_set(NULL);
        assert_true(status == DW_OK || status == DW_E_IO);
        runtime_await(f);
        uint32_t now = runtime_told(f, to_other ? b : a, "+0");
        assert_int_equal(now, before + (status == DW_OK));
        before = now;
        failures += status != DW_OK;
    }
#if defined(__GLIBC__) /* elsewhere the disk fails for this program alone, not for its libraries */
    assert_true(failures > 2);
#endif
}

static void test_faults_disk(void **state)
{
    runtime_fixture *f = *state;
    char text[32];
    disk_watch(folder);
    open_folder(f, folder, DW_DURABLE_EACH);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    (void)runtime_told(f, &a, text);
    fail_messages(f, &a, &b, "+1", false);
    fail_messages(f, &a, &b, "D+1", true);
    uint32_t a_has = runtime_told(f, &a, "+0");
    uint32_t b_has = runtime_told(f, &b, "+0");
    close_folder(f);
    open_folder(f, folder, DW_DURABLE_EACH);
    runtime_await(f);
    assert_int_equal(runtime_told(f, &a, "+0"), a_has);
    assert_int_equal(runtime_told(f, &b, "+0"), b_has);
    close_folder(f);
    clean();
}

/* Actors that are made while the disk fails: there, or not there. */
static void test_faults_spawn(void **state)
{
    runtime_fixture *f = *state;
    runtime_id ids[64];
    dw_error error;
    bool any = true;
    size_t made = 0;
    disk_watch(folder);
    open_folder(f, folder, DW_DURABLE_EACH);
    const dw_spawn_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    for (uint64_t after = 0; any; after++) {
        runtime_id id;
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = after, .error = ENOSPC});
        dw_status status = dw_runtime_spawn(f->runtime, f->hostile, &options, id.text, &error);
        any = disk_failed() > 0;
        disk_plan_set(NULL);
        made += status == DW_OK;
        assert_int_equal(runtime_ids(f, ids, 64), made);
    }
    close_folder(f);
    open_folder(f, folder, DW_DURABLE_EACH);
    assert_int_equal(runtime_ids(f, ids, 64), made);
    for (size_t i = 0; i < made; i++) {
        assert_int_equal(runtime_told(f, &ids[i], "+1"), 1);
    }
    close_folder(f);
    clean();
}

/* ---- what cannot be read -------------------------------------------------------------------- */

/* Without a descriptor an actor cannot be read. Who asks it is told why in the end, and what was
 * told as failed is not done later. */
static void test_faults_descriptors(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    struct rlimit before;
    open_folder(f, folder, DW_DURABLE_EACH);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(STDERR_FILENO); /* the lowest that is free: all below it are taken */
    assert_true(next >= 0);
    (void)close(next);
    const struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    dw_status status = runtime_tell(f, &a, "+1", &answer, &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, DW_E_MEMORY);
    assert_non_null(strstr(error.message, strerror(EMFILE)));
    assert_int_equal(runtime_told(f, &a, "+0"), 1);
    close_folder(f);
    clean();
}

/* The actor's only snapshot, and the same beside the folder. */
static void find_snapshot(const runtime_id *id, char path[512], char aside[512])
{
    struct dirent **all = NULL;
    (void)snprintf(path, 512, "%s/actors/%s", folder, id->text);
    int count = scandir(path, &all, NULL, alphasort);
    assert_int_equal(count, 3);
    (void)snprintf(path, 512, "%s/actors/%s/%.64s", folder, id->text, all[2]->d_name);
    (void)snprintf(aside, 512, "%s/aside", folder);
    for (int i = 0; i < count; i++) {
        free(all[i]);
    }
    free(all);
}

/* A disk on which an actor cannot be read: who asks it is told, what others have sent it waits. */
static void test_faults_unreadable(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    char text[32];
    char path[512];
    char aside[512];
    open_folder(f, folder, DW_DURABLE_EACH);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", a.text);
    (void)runtime_told(f, &b, text);
    assert_int_equal(dw_runtime_park(f->runtime, a.text, &error), DW_OK);
    find_snapshot(&a, path, aside);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)runtime_told(f, &b, "D+1");
    assert_int_equal(runtime_tell(f, &a, "+1", &answer, &error), DW_E_IO);
    assert_non_null(strstr(error.message, "no regular file"));
    runtime_await(f); /* nobody tries without end */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(runtime_told(f, &a, "+0"), 1);
    close_folder(f);
    clean();
}

static int open_group(void **state)
{
    assert_non_null(mkdtemp(folder));
    return runtime_fixture_open(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_faults_kills),      runtime_test(test_faults_disk),
        runtime_test(test_faults_spawn),      runtime_test(test_faults_descriptors),
        runtime_test(test_faults_unreadable),
    };
    if (argc == 5 && strcmp(argv[1], "--work") == 0) {
        return work(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, runtime_fixture_close);
}
