/* Models and snapshots from open descriptors: where these stand does not matter, they stay the
 * caller's, and what is no regular file is refused without waiting for it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "support.h"
#include "tiny_model.h"

static char folder[] = "/tmp/dw-descriptors-XXXXXX";

static void in_folder(char path[96], const char *name)
{
    (void)snprintf(path, 96, "%s/%s", folder, name);
}

static int opened(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* It is open, at the offset where the caller left it, and ends with the caller's close. */
static void assert_callers(int fd, off_t offset)
{
    assert_int_equal(lseek(fd, 0, SEEK_CUR), offset);
    assert_int_equal(close(fd), 0);
}

/* What neither a model nor a snapshot comes from: each descriptor, and the status it gives. */
typedef struct refusal {
    int fd;
    dw_status code;
} refusal;

enum { REFUSALS = 6 };

static void open_refusals(refusal refused[REFUSALS], int others[2])
{
    char path[96];
    int ends[2];
    int closed = opened(folder, O_RDONLY);
    assert_int_equal(pipe(others), 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(close(ends[1]), 0); /* nobody will ever write */
    in_folder(path, "empty");
    refused[0] = (refusal){-1, DW_E_ARG};
    refused[1] = (refusal){opened(folder, O_RDONLY), DW_E_IO};
    refused[2] = (refusal){others[0], DW_E_IO};
    refused[3] = (refusal){ends[0], DW_E_IO};
    refused[4] = (refusal){opened(path, O_RDONLY | O_CREAT | O_EXCL), DW_E_FORMAT};
    assert_int_equal(close(closed), 0);
    refused[5] = (refusal){closed, DW_E_ARG};
    (void)unlink(path);
}

static void close_refusals(refusal refused[REFUSALS], int others[2])
{
    for (int i = 1; i < REFUSALS - 1; i++) {
        assert_int_equal(close(refused[i].fd), 0); /* still the caller's */
    }
    assert_int_equal(close(others[1]), 0);
}

/* ---- models ------------------------------------------------------------------------------- */

static dw_model *open_model(dw_engine *engine, int fd)
{
    dw_model *model = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_model_open_fd(&model, engine, fd, "given", NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return model;
}

static void assert_same_model(dw_model *left, dw_model *right)
{
    char names[2][DW_FINGERPRINT_BYTES];
    dw_error error;
    dw_vocab_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_model_fingerprint(left, names[0], &error), DW_OK);
    assert_int_equal(dw_model_fingerprint(right, names[1], &error), DW_OK);
    assert_string_equal(names[0], names[1]);
    assert_int_equal(dw_model_get_vocab_info(left, &info, &error), DW_OK);
}

static void test_descriptors_models(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    in_folder(path, "model.gguf");
    tiny_options options = tiny_defaults();
    options.context_length = 1024;
    tiny_model_write(path, &options);
    int fd = opened(path, O_RDWR);
    int same = opened(path, O_RDONLY);
    assert_int_equal(unlink(path), 0); /* the descriptors have it */
    assert_int_equal(lseek(fd, 1234, SEEK_SET), 1234);
    dw_model *first = open_model(fixture->engine, fd);
    dw_model *second = open_model(fixture->engine, fd);
    dw_model *third = open_model(fixture->engine, same);
    assert_callers(fd, 1234);
    assert_callers(same, 0);
    assert_same_model(first, second);
    assert_same_model(first, third);
    dw_model_unref(first);
    dw_model_unref(second);
    dw_model_unref(third);
}

static bool give_up(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    *(bool *)user = true;
    return false;
}

static void test_descriptors_models_with_options(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    bool asked = false;
    dw_model *model = NULL;
    dw_error error;
    dw_model_options options = {.on_upload = give_up, .user = &asked};
    in_folder(path, "model.gguf");
    tiny_options tiny = tiny_defaults();
    tiny_model_write(path, &tiny);
    int fd = opened(path, O_RDONLY);
    assert_int_equal(dw_model_open_fd(&model, fixture->engine, fd, "given", &options, &error),
                     DW_E_ARG); /* struct_bytes */
    assert_null(model);
    options.struct_bytes = sizeof options;
    dw_status status = dw_model_open_fd(&model, fixture->engine, fd, "given", &options, &error);
    assert_int_equal(status, asked ? DW_E_CANCELLED : DW_OK);
    dw_model_unref(model);
    assert_callers(fd, 0);
    (void)unlink(path);
}

static void test_descriptors_models_refused(void **state)
{
    actor_fixture *fixture = *state;
    refusal refused[REFUSALS];
    int others[2];
    open_refusals(refused, others);
    for (int i = 0; i < REFUSALS; i++) {
        dw_model *model = (dw_model *)fixture;
        dw_error error = {.message = ""};
        assert_int_equal(
            dw_model_open_fd(&model, fixture->engine, refused[i].fd, "given", NULL, &error),
            refused[i].code);
        assert_non_null(strstr(error.message, "given"));
        assert_null(model);
    }
    close_refusals(refused, others);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static dw_thaw_options thaw_options(actor_fixture *fixture, const int *fds, size_t count)
{
    return (dw_thaw_options){.struct_bytes = sizeof(dw_thaw_options),
                             .fds = fds,
                             .path_count = count,
                             .models = &fixture->model,
                             .model_count = 1};
}

static dw_actor *thawed(actor_fixture *fixture, const int *fds, size_t count)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = thaw_options(fixture, fds, count);
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

/* An actor that has computed, in a full snapshot and a delta upon it: their descriptors. */
static dw_actor *frozen(actor_fixture *fixture, int fds[2])
{
    char path[96];
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    dw_error error;
    dw_actor *actor = actor_spawned(fixture, NULL);
    for (int i = 0; i < 2; i++) {
        dw_freeze_options options = {.struct_bytes = sizeof options, .delta = i > 0};
        assert_int_equal(actor_told(actor, answer, i == 0 ? "m" : "n300"), DW_OK);
        in_folder(path, i == 0 ? "full" : "delta");
        assert_int_equal(dw_actor_freeze(actor, path, &options, NULL, &error), DW_OK);
        fds[i] = opened(path, O_RDONLY);
        assert_int_equal(unlink(path), 0);
    }
    dw_free(answer);
    return actor;
}

static void assert_twins(dw_actor *left, dw_actor *right)
{
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    assert_int_equal(actor_told(left, &answers[0], "g64"), DW_OK);
    assert_int_equal(actor_told(right, &answers[1], "g64"), DW_OK);
    assert_true(answers[0].bytes > 0);
    assert_int_equal(answers[0].bytes, answers[1].bytes);
    assert_memory_equal(answers[0].data, answers[1].data, answers[0].bytes);
    dw_free(answers);
}

static void test_descriptors_snapshots(void **state)
{
    actor_fixture *fixture = *state;
    int fds[2];
    dw_actor *actor = frozen(fixture, fds);
    assert_int_equal(lseek(fds[0], 77, SEEK_SET), 77);
    dw_actor *first = thawed(fixture, fds, 2);
    dw_actor *second = thawed(fixture, fds, 2);
    assert_callers(fds[0], 77);
    assert_callers(fds[1], 0);
    assert_twins(actor, first); /* what is mapped stays */
    dw_actor_destroy(actor);
    dw_actor_destroy(first);
    /* The base of a delta is known by its content; no name of it is needed. */
    char path[96];
    in_folder(path, "later");
    dw_error error;
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = true};
    assert_int_equal(dw_actor_freeze(second, path, &options, &stats, &error), DW_OK);
    assert_true(stats.delta);
    assert_int_equal(unlink(path), 0);
    dw_actor_destroy(second);
}

static void test_descriptors_snapshots_refused(void **state)
{
    actor_fixture *fixture = *state;
    refusal refused[REFUSALS];
    int others[2];
    int fds[2];
    dw_actor *actor = frozen(fixture, fds);
    dw_actor *none = actor;
    dw_error error = {.message = ""};
    open_refusals(refused, others);
    for (int i = 0; i < REFUSALS; i++) {
        for (int at = 0; at < 2; at++) { /* also behind a good one */
            int given[2] = {at == 0 ? refused[i].fd : fds[0], refused[i].fd};
            dw_thaw_options options = thaw_options(fixture, given, (size_t)at + 1);
            none = actor;
            assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error),
                             refused[i].code);
            assert_non_null(strchr(error.message, 'd'));
            assert_null(none);
        }
    }
    close_refusals(refused, others);

    const char *path = folder;
    dw_thaw_options options = thaw_options(fixture, fds, 2);
    options.paths = &path; /* both */
    assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error), DW_E_ARG);
    options = thaw_options(fixture, fds, 1000);
    assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error), DW_E_LIMIT);
    options = thaw_options(fixture, fds, 0);
    assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error), DW_E_LIMIT);
    options = thaw_options(fixture, fds + 1, 1); /* a delta without its base */
    assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error), DW_E_FORMAT);
    options = thaw_options(fixture, NULL, 1); /* neither */
    assert_int_equal(dw_actor_thaw(&none, fixture->engine, &options, NULL, &error), DW_E_ARG);
    assert_null(none);
    assert_callers(fds[0], 0);
    assert_callers(fds[1], 0);
    dw_actor_destroy(actor);
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    assert_int_equal(rmdir(folder), 0);
    return actor_fixture_close(state);
}

/* Whatever standard descriptor is closed, no file of ours gets its number, and none is inherited by
 * programs that this one starts. */
static void test_descriptors_stay_clear_of_the_standard_ones(void **state)
{
    (void)state;
    for (int standard = 0; standard < 3; standard++) {
        char path[96];
        char *text = NULL;
        size_t bytes = 0;
        int memory = -1;
        int saved = fcntl(standard, F_DUPFD_CLOEXEC, 10);
        in_folder(path, "clear");
        assert_true(saved >= 10);
        assert_int_equal(close(standard), 0);
        int made = dw_os_open(path, O_RDWR | O_CREAT, 0600);
        int copied = -1;
        dw_status status = dw_os_duplicate(&copied, made, NULL);
        status = status == DW_OK ? dw_os_memfd(&memory, "a test", 4096, NULL) : status;
        status = status == DW_OK ? dw_os_read_file(path, 4096, &text, &bytes, NULL) : status;
        FILE *stream = dw_os_open_stream(path);
        bool taken = dw_os_is_open(standard);
        assert_int_equal(dup2(saved, standard), standard);
        assert_int_equal(close(saved), 0);
        assert_false(taken);
        assert_int_equal(status, DW_OK);
        assert_non_null(stream);
        const int all[] = {made, copied, memory, fileno(stream)};
        for (size_t i = 0; i < 4; i++) {
            assert_true(all[i] > 2);
            assert_int_equal(fcntl(all[i], F_GETFD), FD_CLOEXEC);
        }
        assert_int_equal(fclose(stream), 0);
        dw_os_close(made);
        dw_os_close(copied);
        dw_os_close(memory);
        dw_free(text);
        (void)unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_stay_clear_of_the_standard_ones),
        cmocka_unit_test(test_descriptors_models),
        cmocka_unit_test(test_descriptors_models_with_options),
        cmocka_unit_test(test_descriptors_models_refused),
        cmocka_unit_test(test_descriptors_snapshots),
        cmocka_unit_test(test_descriptors_snapshots_refused),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("descriptors", tests, open_fixture, close_fixture);
}
