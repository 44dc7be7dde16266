/* Files that are truncated while they are mapped, models and snapshots: who needs what is gone gets
 * an error with the file's name, others go on, and faults elsewhere are not ours. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "memory/file_guard.h"
#include "snapshot/snapshot_file.h"
#include "support.h"
#include "tiny_model.h"

enum { GROW, STORE, LOAD, SUM, FILL };

#define PAGE 65536u

static char folder[] = "/tmp/dw-truncated-XXXXXX";
static char paths[3][64];
static dw_module *module;

/* ---- a handler of the embedder's ------------------------------------------------------------ */

static sigjmp_buf own_fault;

static void on_own_fault(int number)
{
    siglongjmp(own_fault, number);
}

static void test_truncated_elsewhere_is_the_embedders(void **state)
{
    (void)state;
    wasm_signals_restore();
    int fd = open(paths[0], O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 8192), 0);
    volatile char *mapped = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    assert_int_equal(mapped[5000], 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    if (sigsetjmp(own_fault, 1) == 0) {
        (void)mapped[5000];
        fail_msg("no fault");
    }
    /* The same where it is guarded. */
    dw_file_guard *guard = dw_file_guard_add((const void *)(uintptr_t)mapped, 8192, fd);
    assert_non_null(guard);
    assert_false(dw_file_guard_is_broken(guard));
    assert_int_equal(mapped[5000], 0);
    assert_true(dw_file_guard_is_broken(guard));
    dw_file_guard_remove(guard);
    assert_int_equal(munmap((void *)(uintptr_t)mapped, 8192), 0);
    (void)close(fd);
    assert_int_equal(unlink(paths[0]), 0);
}

/* ---- models --------------------------------------------------------------------------------- */

static dw_status step(dw_session *session, const float **logits, dw_error *error)
{
    static const int32_t tokens[] = {3, 10, 17};
    error->message[0] = '\0';
    return dw_session_forward(session, tokens, 3, 1, logits, error);
}

static void test_truncated_model(void **state)
{
    actor_fixture *fixture = *state;
    dw_model *models[2];
    dw_session *sessions[2];
    dw_error error = {.message = ""};
    const float *logits = NULL;
    wasm_signals_restore();
    for (size_t i = 0; i < 2; i++) {
        tiny_options tiny = tiny_defaults();
        dw_session_options options = {.struct_bytes = sizeof options, .tokens_max = 64};
        tiny_model_write(paths[i], &tiny);
        assert_int_equal(dw_model_open(&models[i], fixture->engine, paths[i], &error), DW_OK);
        assert_int_equal(dw_session_create(&sessions[i], models[i], &options, &error), DW_OK);
        assert_int_equal(step(sessions[i], &logits, &error), DW_OK);
    }
    uint32_t count = dw_session_vocab_count(sessions[1]);
    assert_int_equal(truncate(paths[0], 20000), 0);
    for (int round = 0; round < 2; round++) {
        uint32_t length = dw_session_length(sessions[0]);
        assert_int_equal(step(sessions[0], &logits, &error), DW_E_IO);
        assert_non_null(strstr(error.message, paths[0]));
        assert_non_null(strstr(error.message, "truncated"));
        assert_int_equal(dw_session_length(sessions[0]), length);
    }
    /* Made longer again it has zeros where weights were: the mark stays. */
    assert_int_equal(truncate(paths[0], 1 << 24), 0);
    assert_int_equal(step(sessions[0], &logits, &error), DW_E_IO);
    assert_non_null(strstr(error.message, paths[0]));
    /* The other model's results are what they would have been. */
    dw_session *twin = NULL;
    dw_session_options options = {.struct_bytes = sizeof options, .tokens_max = 64};
    float *first = dw_alloc(count, sizeof *first);
    assert_int_equal(step(sessions[1], &logits, &error), DW_OK);
    memcpy(first, logits, count * sizeof *first);
    assert_int_equal(dw_session_create(&twin, models[1], &options, &error), DW_OK);
    assert_int_equal(step(twin, &logits, &error), DW_OK);
    assert_int_equal(step(twin, &logits, &error), DW_OK);
    assert_memory_equal(first, logits, count * sizeof *first);
    dw_free(first);
    dw_session_destroy(twin);
    for (size_t i = 0; i < 2; i++) {
        dw_session_destroy(sessions[i]);
        dw_model_unref(models[i]);
        assert_int_equal(unlink(paths[i]), 0);
    }
}

/* ---- actors --------------------------------------------------------------------------------- */

static void freeze(dw_actor *actor, const char *path)
{
    dw_error error = {.message = ""};
    dw_status status = dw_actor_freeze(actor, path, NULL, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

/* `trusted`, so that nothing is read before it is touched, but where it is not to be mapped. */
static dw_actor *thaw_as(actor_fixture *fixture, const char *path, bool unmapped)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    const char *list[] = {path};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = list,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 1,
                               .trusted = true,
                               .unmapped = unmapped};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static dw_actor *thaw(actor_fixture *fixture, const char *path)
{
    return thaw_as(fixture, path, false);
}

static void expect_lost(dw_actor *actor, const void *message, size_t bytes)
{
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_send(actor, NULL, message, bytes, &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_IO);
    assert_non_null(strstr(error.message, paths[0]));
    assert_non_null(strstr(error.message, "truncated"));
    /* Neither does it go on, nor is it written. */
    assert_int_not_equal(dw_actor_freeze(actor, paths[2], NULL, NULL, &error), DW_OK);
    assert_int_equal(access(paths[2], F_OK), -1);
}

static void test_truncated_snapshot_of_memory(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    wasm_signals_restore();
    assert_int_equal(dw_actor_spawn(&actor, module, NULL, &error), DW_OK);
    assert_int_equal(actor_asked(actor, GROW, 400, 0, 0), 2);
    assert_int_equal(actor_asked(actor, FILL, PAGE, 300 * PAGE, 7), 0);
    freeze(actor, paths[0]);
    freeze(actor, paths[1]);
    dw_actor *cut[3];
    for (size_t i = 0; i < 3; i++) {
        cut[i] = thaw(fixture, paths[0]);
    }
    dw_actor *well = thaw(fixture, paths[1]);
    assert_int_equal(actor_asked(cut[0], STORE, 250 * PAGE, 1, 1), 0); /* a page of its own, too */
    assert_int_equal(truncate(paths[0], 200 * PAGE), 0);
    const uint32_t load[4] = {LOAD, 250 * PAGE, 0, 0};
    const uint32_t fill[4] = {FILL, 250 * PAGE, 10 * PAGE, 3};
    expect_lost(cut[0], load, sizeof load);
    expect_lost(cut[1], fill, sizeof fill); /* by the host's own copy, within Wasmtime */
    dw_actor *child = NULL;
    assert_int_equal(dw_actor_fork(&child, cut[2], NULL, &error), DW_E_IO);
    assert_non_null(strstr(error.message, paths[0]));
    assert_int_equal(actor_asked(well, LOAD, 250 * PAGE, 0, 0), 0x07070707);
    assert_int_equal(actor_asked(actor, LOAD, 250 * PAGE, 0, 0), 0x07070707);
    for (size_t i = 0; i < 3; i++) {
        dw_actor_destroy(cut[i]);
    }
    dw_actor_destroy(well);
    dw_actor_destroy(actor);
    assert_int_equal(unlink(paths[0]), 0);
    assert_int_equal(unlink(paths[1]), 0);
}

static off_t middle_of_log(const char *path)
{
    dw_snapshot_file *file = NULL;
    off_t middle = 0;
    assert_int_equal(dw_snapshot_file_open(&file, path, 0, NULL), DW_OK);
    for (size_t i = 0; i < dw_snapshot_file_count(file); i++) {
        const dw_snapshot_entry *tensor = dw_snapshot_file_at(file, i);
        if (strncmp(tensor->name, "kv.", 3) == 0) {
            assert_true(tensor->bytes > 2 * PAGE);
            middle = (off_t)(tensor->offset + tensor->bytes / 2);
        }
    }
    dw_snapshot_file_close(file);
    assert_true(middle > 0);
    return middle;
}

static void test_truncated_snapshot_of_contexts(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    wasm_signals_restore();
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, answer, "n600"), DW_OK);
    freeze(actor, paths[0]);
    freeze(actor, paths[1]);
    dw_actor *cut = thaw(fixture, paths[0]);
    dw_actor *well = thaw(fixture, paths[1]);
    assert_int_equal(truncate(paths[0], middle_of_log(paths[0])), 0);
    assert_int_equal(actor_told(well, answer, "g5"), DW_OK);
    expect_lost(cut, "g5", 2);
    assert_int_equal(actor_told(well, answer, "g5"), DW_OK);
    assert_int_equal(actor_told(actor, answer, "g5"), DW_OK);
    dw_actor_destroy(cut);
    dw_actor_destroy(well);
    dw_actor_destroy(actor);
    assert_int_equal(unlink(paths[0]), 0);
    assert_int_equal(unlink(paths[1]), 0);
    dw_free(answer);
}

/* An actor of which nothing is mapped goes on whatever becomes of its file. */
static void test_truncated_snapshot_that_is_not_mapped(void **state)
{
    actor_fixture *fixture = *state;
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    dw_actor *actors[2];
    dw_actor *large = NULL;
    dw_error error = {.message = ""};
    wasm_signals_restore();
    actors[0] = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actors[0], answers, "m"), DW_OK);
    assert_int_equal(actor_told(actors[0], answers, "n600"), DW_OK);
    freeze(actors[0], paths[0]);
    assert_int_equal(dw_actor_spawn(&large, module, NULL, &error), DW_OK);
    assert_int_equal(actor_asked(large, GROW, 400, 0, 0), 2);
    assert_int_equal(actor_asked(large, FILL, PAGE, 300 * PAGE, 7), 0);
    freeze(large, paths[1]);
    dw_actor_destroy(large);
    actors[1] = thaw_as(fixture, paths[0], true);
    large = thaw_as(fixture, paths[1], true);
    assert_int_equal(truncate(paths[0], 0), 0);
    assert_int_equal(truncate(paths[1], 0), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(actor_told(actors[i], &answers[i], "g5"), DW_OK);
    }
    assert_int_equal(answers[0].bytes, answers[1].bytes);
    assert_memory_equal(answers[0].data, answers[1].data, answers[0].bytes);
    assert_int_equal(actor_asked(large, LOAD, 250 * PAGE, 0, 0), 0x07070707);
    freeze(actors[1], paths[2]);
    freeze(large, paths[2]);
    dw_actor_destroy(actors[0]);
    dw_actor_destroy(actors[1]);
    dw_actor_destroy(large);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(unlink(paths[i]), 0);
    }
    dw_free(answers);
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/file-%zu", folder, i);
    }
    int failed = actor_fixture_open(state);
    module = actor_module_of_text(*state, "actor_sparse.wat");
    return failed;
}

static int close_fixture(void **state)
{
    dw_module_unref(module);
    assert_int_equal(rmdir(folder), 0);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated_elsewhere_is_the_embedders),
        cmocka_unit_test(test_truncated_model),
        cmocka_unit_test(test_truncated_snapshot_of_memory),
        cmocka_unit_test(test_truncated_snapshot_of_contexts),
        cmocka_unit_test(test_truncated_snapshot_that_is_not_mapped),
    };
    /* In the order of a process that has a handler of its own: that, ours, Wasmtime's. */
    struct sigaction action = {.sa_handler = on_own_fault};
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) != 0 || dw_file_guards_install(NULL) != DW_OK) {
        return 1;
    }
    wasm_signals_save();
    return cmocka_run_group_tests_name("truncated", tests, open_fixture, close_fixture);
}
