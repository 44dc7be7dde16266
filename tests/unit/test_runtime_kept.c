/* What a state folder keeps beside actors' states: a change of module in which the process is
 * killed, the durability of tenants and manifests, an import's first state, tenants that come late.
 *
 * The process that is killed is this program with --upgrade FOLDER AT ID, at an operation on
 * files. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "failing_disk.h"
#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

/* With these a process takes its time to begin. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP 6u
#else
#define STEP 1u
#endif

static char root[] = "/tmp/dw-kept-XXXXXX";
static char folder[64];

static void open_folder(runtime_fixture *f, const char *path)
{
    f->path = path;
    runtime_open(f);
}

static void close_folder(runtime_fixture *f)
{
    runtime_close(f);
    f->path = f->manifest = NULL;
}

/* ---- an upgrade that is killed --------------------------------------------------------------- */

static int upgrade(char **args)
{
    void *state = NULL;
    dw_error error;
    wasm_signals_save();
    if (runtime_fixture_open(&state) != 0) {
        return 1;
    }
    runtime_fixture *f = state;
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    const disk_plan plan = {.kinds = DISK_ALL, .after = strtoull(args[1], NULL, 10), .kills = true};
    disk_watch(args[0]);
    open_folder(f, args[0]);
    disk_plan_set(&plan);
    dw_status status = dw_runtime_upgrade(f->runtime, args[2], second, NULL, &error);
    bool told = status == DW_OK && write(STDOUT_FILENO, "U", 1) == 1;
    runtime_close(f);
    disk_plan_set(NULL);
    dw_module_unref(second);
    return runtime_fixture_close(&state) == 0 && told ? 0 : 1;
}

/* Whether it ended by itself; `*told`: the upgrade was said to have ended well. */
static bool run_upgrade(const char *id, unsigned at, bool *told)
{
    char program[512];
    char number[16];
    char byte;
    int ends[2];
    int status = 0;
    dw_error error;
    (void)snprintf(number, sizeof number, "%u", at);
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    assert_int_equal(pipe(ends), 0);
    pid_t process = fork();
    if (process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl(program, program, "--upgrade", folder, number, id, (char *)NULL);
        _exit(126);
    }
    assert_true(process > 0);
    (void)close(ends[1]);
    *told = read(ends[0], &byte, 1) == 1;
    (void)close(ends[0]);
    assert_int_equal(waitpid(process, &status, 0), process);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return !killed;
}

/* Its version. */
static int32_t look(runtime_fixture *f, const runtime_id *id)
{
    runtime_answer answer;
    int32_t numbers[2];
    dw_error error = {.message = ""};
    assert_int_equal(runtime_tell(f, id, "+0", &answer, &error), DW_OK);
    memcpy(numbers, answer.bytes, sizeof numbers);
    assert_int_equal(numbers[0], numbers[1] == 2 ? 50 : 5);
    return numbers[1];
}

/* It is of the module before with its state, or of the other with what that made of it; there is no
 * third, and nothing is left behind. */
static void test_kept_upgrades_that_are_killed(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    bool ended = false;
    unsigned versions[3] = {0};
    dw_module *first = actor_module(f->actors, "actor_first.wasm");
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    open_folder(f, folder);
    runtime_id id = runtime_spawned(f, first, NULL);
    (void)runtime_told(f, &id, "+5");
    runtime_close(f);
    shell("mv '%s' '%s/before'", folder, root);
    for (unsigned at = 0; !ended; at += STEP) {
        bool told = false;
        shell("rm -rf '%s' && cp -r '%s/before' '%s'", folder, root, folder);
        ended = run_upgrade(id.text, at, &told);
        open_folder(f, folder);
        int32_t version = look(f, &id);
        assert_true(version == 2 || (version == 1 && !told));
        versions[version]++;
        if (version == 1) {
            assert_int_equal(dw_runtime_upgrade(f->runtime, id.text, second, NULL, &error), DW_OK);
            assert_int_equal(look(f, &id), 2);
        }
        runtime_close(f);
        account_for_all(folder, (int)at);
        assert_true(at < 500);
    }
#if defined(__GLIBC__)
    assert_true(versions[1] > 2 / STEP && versions[2] > 1 / STEP);
#endif
    f->path = NULL;
    dw_module_unref(first);
    dw_module_unref(second);
    shell("rm -rf '%s' '%s/before'", folder, root);
}

/* ---- durability ------------------------------------------------------------------------------ */

static uint64_t freezes(runtime_fixture *f)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    return stats.freezes;
}

static runtime_id spawned(runtime_fixture *f, const char *tenant, dw_durability own)
{
    const dw_instance_options instance = {.struct_bytes = sizeof instance};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .tenant = tenant, .durability = own};
    return runtime_spawned(f, f->hostile, &options);
}

static void check_durability(runtime_fixture *f, const runtime_id *id, dw_durability expected,
                             uint32_t seconds)
{
    (void)runtime_told(f, id, "+1");
    runtime_await(f);
    uint64_t before = freezes(f);
    for (int i = 0; i < 3; i++) {
        (void)runtime_told(f, id, "+1");
    }
    runtime_await(f);
    dw_runtime_actor_info info = runtime_info(f, id);
    assert_int_equal(info.durability, expected);
    assert_int_equal(info.durability_s, seconds);
    assert_int_equal(freezes(f) - before, expected == DW_DURABLE_EACH ? 3 : 0);
}

/* The manifest's and the tenant's hold for actors that say nothing, as they are now; one that was
 * spawned with its own has that for good. */
static void test_kept_durability_of_tenants(void **state)
{
    runtime_fixture *f = *state;
    f->manifest = "{\"durability\": \"park\", \"tenants\": {\"\": {}, \"a\": {\"durability\": "
                  "\"each\"}, \"b\": {\"durability\": 3600}}}";
    open_folder(f, folder);
    runtime_id plain = spawned(f, "", DW_DURABLE_DEFAULT);
    runtime_id own = spawned(f, "", DW_DURABLE_EACH);
    runtime_id a = spawned(f, "a", DW_DURABLE_DEFAULT);
    runtime_id b = spawned(f, "b", DW_DURABLE_DEFAULT);
    runtime_id parks = spawned(f, "a", DW_DURABLE_PARK);
    for (int again = 0; again < 2; again++) {
        check_durability(f, &plain, DW_DURABLE_PARK, 0);
        check_durability(f, &own, DW_DURABLE_EACH, 0);
        check_durability(f, &a, DW_DURABLE_EACH, 0);
        check_durability(f, &b, DW_DURABLE_SECONDS, 3600);
        check_durability(f, &parks, DW_DURABLE_PARK, 0);
        runtime_close(f);
        runtime_open(f);
    }
    assert_int_equal(runtime_told(f, &plain, "+0"), 8); /* all of it was written at the end */
    runtime_close(f);
    f->manifest = "{\"tenants\": {\"\": {}, \"a\": {\"durability\": \"park\"}, \"b\": {}}}";
    runtime_open(f);
    check_durability(f, &plain, DW_DURABLE_EACH, 0);
    check_durability(f, &own, DW_DURABLE_EACH, 0);
    check_durability(f, &a, DW_DURABLE_PARK, 0);
    check_durability(f, &b, DW_DURABLE_EACH, 0);
    check_durability(f, &parks, DW_DURABLE_PARK, 0);
    close_folder(f);
    shell("rm -rf '%s'", folder);
}

/* ---- imports --------------------------------------------------------------------------------- */

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(((const runtime_fixture *)user)->actors->model);
    return DW_OK;
}

/* Its first state is freeze 1, to which it goes back whatever came since. */
static void test_kept_imports_are_frozen(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    char path[64];
    runtime_id imported;
    open_folder(f, folder);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &id, "+7"), 7);
    (void)snprintf(path, sizeof path, "%s/export", root);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dw_runtime_export(f->runtime, id.text, fd, &error), DW_OK);
    (void)close(fd);
    const char *paths[] = {path};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .paths = paths,
                                  .path_count = 1,
                                  .find_model = find_model,
                                  .find_user = f};
    const dw_spawn_options options = {.struct_bytes = sizeof options};
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error), DW_OK);
    assert_int_equal(truncate(path, 0), 0); /* the file is its owner's again */
    assert_int_equal(runtime_told(f, &imported, "+1"), 8);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(dw_runtime_rewind(f->runtime, imported.text, 1, &error), DW_OK);
        assert_int_equal(runtime_told(f, &imported, "+1"), 8);
        runtime_close(f);
        runtime_open(f);
        assert_int_equal(runtime_told(f, &imported, "+1"), 9);
    }
    assert_int_equal(dw_runtime_rewind(f->runtime, imported.text, 0, &error), DW_OK);
    assert_int_equal(runtime_told(f, &imported, "+0"), 7);
    assert_int_equal(runtime_told(f, &id, "+0"), 7);
    close_folder(f);
    account_for_all(folder, 0);
    shell("rm -rf '%s'", folder);
}

/* ---- tenants --------------------------------------------------------------------------------- */

/* One whose actors are in the folder, and that is set when it is open: they are counted. */
static void test_kept_tenants_that_come_late(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    runtime_answer answer;
    char id[DW_ACTOR_ID_CHARS + 1];
    char names[4][DW_TENANT_NAME_MAX + 1];
    size_t count = 0;
    const dw_tenant_options two = {
        .struct_bytes = sizeof two, .capabilities = DW_MAY_ALL, .actors_max = 2};
    open_folder(f, folder);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "late", &two, &error), DW_OK);
    runtime_id first = spawned(f, "late", DW_DURABLE_DEFAULT);
    runtime_id second = spawned(f, "late", DW_DURABLE_DEFAULT);
    runtime_close(f);
    runtime_open(f);
    assert_int_equal(dw_runtime_list_tenants(f->runtime, NULL, names, 4, &count, &error), DW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(runtime_tell(f, &first, "+1", &answer, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "late", &two, &error), DW_OK);
    assert_int_equal(runtime_told(f, &first, "+1"), 1);
    dw_runtime_tenant_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_runtime_get_tenant_info(f->runtime, "late", &info, &error), DW_OK);
    assert_int_equal(info.actors, 2);
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "late"};
    assert_int_equal(dw_runtime_spawn(f->runtime, f->hostile, &options, id, &error), DW_E_LIMIT);
    assert_int_equal(dw_runtime_stop(f->runtime, first.text, &error), DW_OK);
    assert_int_equal(dw_runtime_stop(f->runtime, second.text, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(dw_runtime_get_tenant_info(f->runtime, "late", &info, &error), DW_OK);
    assert_int_equal(info.actors, 0);
    assert_int_equal(dw_runtime_spawn(f->runtime, f->hostile, &options, id, &error), DW_OK);
    close_folder(f);
    shell("rm -rf '%s'", folder);
}

static int open_group(void **state)
{
    assert_non_null(mkdtemp(root));
    (void)snprintf(folder, sizeof folder, "%s/state", root);
    return runtime_fixture_open(state);
}

static int close_group(void **state)
{
    shell("rm -rf '%s'", root);
    return runtime_fixture_close(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_kept_upgrades_that_are_killed),
        runtime_test(test_kept_durability_of_tenants),
        runtime_test(test_kept_imports_are_frozen),
        runtime_test(test_kept_tenants_that_come_late),
    };
    if (argc == 5 && strcmp(argv[1], "--upgrade") == 0) {
        return upgrade(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, close_group);
}
