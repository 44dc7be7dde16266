/* Fingerprints of models: all of the data counts, what is kept is believed only for files that are
 * as they were, several callers get one answer, and snapshots of models that were changed are
 * refused. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "gguf/fingerprint_internal.h"
#include "support.h"
#include "tiny_model.h"

static char folder[] = "/tmp/dw-fingerprint-XXXXXX";
static char model_path[64];
static char kept_folder[64];

static void write_model(void)
{
    tiny_options options = tiny_defaults();
    options.context_length = 1024;
    tiny_model_write(model_path, &options);
}

static dw_gguf *open_gguf(void)
{
    dw_gguf *gguf = NULL;
    dw_error error = {.message = ""};
    dw_status status = dw_gguf_open(&gguf, model_path, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return gguf;
}

/* Change an eighth of the largest tensor, away from where samples are taken. */
static void overwrite_an_eighth(void)
{
    dw_gguf *gguf = open_gguf();
    dw_gguf_info info = {.struct_bytes = sizeof info};
    dw_gguf_tensor_info largest = {.struct_bytes = sizeof largest};
    assert_int_equal(dw_gguf_get_info(gguf, &info), DW_OK);
    for (size_t i = 0; i < info.tensor_count; i++) {
        dw_gguf_tensor_info tensor = {.struct_bytes = sizeof tensor};
        assert_int_equal(dw_gguf_get_tensor_info(gguf, i, &tensor, NULL), DW_OK);
        largest = tensor.bytes > largest.bytes ? tensor : largest;
    }
    assert_true(largest.bytes >= 65536); /* three samples are 12,288 bytes */
    size_t bytes = (size_t)largest.bytes / 8;
    unsigned char *other = dw_alloc(bytes, 1);
    int fd = open(model_path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, other, bytes, (off_t)(largest.file_offset + 8192)), bytes);
    assert_int_equal(close(fd), 0);
    dw_free(other);
    dw_gguf_close(gguf);
}

/* With or without the folder; the answer's stats in `stats`. */
static void fingerprint(char text[DW_FINGERPRINT_BYTES], bool keep, dw_fingerprint_stats *stats)
{
    dw_gguf *gguf = open_gguf();
    dw_error error = {.message = ""};
    dw_fingerprint_options options = {.struct_bytes = sizeof options,
                                      .folder = keep ? kept_folder : NULL};
    *stats = (dw_fingerprint_stats){.struct_bytes = sizeof *stats};
    dw_status status = dw_gguf_fingerprint_with(gguf, &options, text, stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    dw_gguf_close(gguf);
}

static void settle(void)
{
    const struct timespec tick = {.tv_nsec = 100000000}; /* what changed just now is not kept */
    (void)nanosleep(&tick, NULL);
}

static void clear_kept(void)
{
    DIR *list = opendir(kept_folder);
    for (struct dirent *entry = NULL; list != NULL && (entry = readdir(list)) != NULL;) {
        (void)unlinkat(dirfd(list), entry->d_name, 0);
    }
    if (list != NULL) {
        (void)closedir(list);
    }
}

static size_t count_kept(char path[512])
{
    size_t count = 0;
    DIR *list = opendir(kept_folder);
    for (struct dirent *entry = NULL; list != NULL && (entry = readdir(list)) != NULL;) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, 512, "%s/%.200s", kept_folder, entry->d_name);
            count++;
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return count;
}

static void test_fingerprint_is_of_all_data(void **state)
{
    (void)state;
    char before[DW_FINGERPRINT_BYTES];
    char after[DW_FINGERPRINT_BYTES];
    char sampled[2][DW_HASH128_TEXT];
    char old[DW_FINGERPRINT_BYTES];
    dw_fingerprint_stats stats;
    write_model();
    dw_gguf *gguf = open_gguf();
    assert_int_equal(dw__fingerprint_sampled(gguf, sampled[0], NULL), DW_OK);
    dw_gguf_close(gguf);
    fingerprint(before, false, &stats);
    assert_int_equal(strncmp(before, "gguf2:", 6), 0);
    assert_int_equal(strlen(before), 70);
    assert_true(stats.known && !stats.kept && stats.threads > 0 && stats.bytes > 0);
    assert_int_equal(stats.hashed_bytes, stats.bytes);
    overwrite_an_eighth();
    gguf = open_gguf();
    assert_int_equal(dw__fingerprint_sampled(gguf, sampled[1], NULL), DW_OK);
    assert_string_equal(sampled[0], sampled[1]); /* what old snapshots have does not tell */
    fingerprint(after, false, &stats);
    assert_string_not_equal(before, after);
    bool matches = true;
    assert_int_equal(dw_gguf_matches(gguf, NULL, before, &matches, NULL), DW_OK);
    assert_false(matches);
    assert_int_equal(dw_gguf_matches(gguf, NULL, after, &matches, NULL), DW_OK);
    assert_true(matches);
    (void)snprintf(old, sizeof old, "gguf1:%s", sampled[0]);
    assert_int_equal(dw_gguf_matches(gguf, NULL, old, &matches, NULL), DW_OK);
    assert_true(matches);
    static const char *const others[] = {"", "gguf1:", "gguf2:", "gguf3:00",
                                         "gguf2:0123456789abcdef"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(dw_gguf_matches(gguf, NULL, others[i], &matches, NULL), DW_OK);
        assert_false(matches);
    }
    dw_gguf_close(gguf);
}

static void test_fingerprint_is_kept(void **state)
{
    (void)state;
    char text[2][DW_FINGERPRINT_BYTES];
    char path[512];
    dw_fingerprint_stats stats;
    write_model();
    /* Changed a moment ago, however long this takes on a busy machine: not yet. */
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    const struct timespec later[2] = {{.tv_sec = now.tv_sec + 3600}, {.tv_sec = now.tv_sec + 3600}};
    assert_int_equal(utimensat(AT_FDCWD, model_path, later, 0), 0);
    fingerprint(text[0], true, &stats);
    assert_int_equal(count_kept(path), 0); /* too new: another write would not show */
    assert_int_equal(utimensat(AT_FDCWD, model_path, NULL, 0), 0);
    settle();
    fingerprint(text[0], true, &stats);
    assert_false(stats.kept);
    assert_int_equal(count_kept(path), 1);
    fingerprint(text[1], true, &stats);
    assert_true(stats.kept && stats.hashed_bytes == 0);
    assert_string_equal(text[0], text[1]);
    /* Changed, with the time of before: the time of the description tells. */
    struct stat info;
    assert_int_equal(stat(model_path, &info), 0);
    overwrite_an_eighth();
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, model_path, times, 0), 0);
    fingerprint(text[1], true, &stats);
    assert_false(stats.kept);
    assert_string_not_equal(text[0], text[1]);
    /* An entry that is cut, or not ours, is no entry; it is written anew. */
    clear_kept();
    settle();
    fingerprint(text[0], true, &stats);
    assert_int_equal(count_kept(path), 1);
    assert_int_equal(stat(path, &info), 0);
    for (off_t size = 0; size < info.st_size; size += 37) {
        assert_int_equal(truncate(path, size), 0);
        fingerprint(text[1], true, &stats);
        assert_false(stats.kept);
        assert_string_equal(text[0], text[1]);
        fingerprint(text[1], true, &stats);
        assert_true(stats.kept);
    }
    clear_kept();
}

static void test_fingerprint_folder_read_only(void **state)
{
    (void)state;
    char text[2][DW_FINGERPRINT_BYTES];
    dw_fingerprint_stats stats;
    write_model();
    settle();
    fingerprint(text[0], true, &stats);
    (void)rmdir(kept_folder);
    clear_kept();
    assert_int_equal(rmdir(kept_folder), 0);
    FILE *file = fopen(kept_folder, "w"); /* no folder: nothing can be kept, even by root */
    assert_non_null(file);
    (void)fclose(file);
    fingerprint(text[1], true, &stats);
    assert_false(stats.kept);
    assert_string_equal(text[0], text[1]);
    assert_int_equal(unlink(kept_folder), 0);
}

static dw_model *open_model(actor_fixture *fixture, bool begin)
{
    dw_model *model = NULL;
    dw_error error = {.message = ""};
    dw_model_options options = {.struct_bytes = sizeof options, .begin_fingerprint = begin};
    dw_status status = dw_model_open_with(&model, fixture->engine, model_path, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return model;
}

typedef struct asking {
    dw_model *model;
    char text[DW_FINGERPRINT_BYTES];
} asking;

static void *ask(void *user)
{
    asking *a = user;
    (void)!dw_model_fingerprint(a->model, a->text, NULL);
    return NULL;
}

static void test_fingerprint_asked_by_many(void **state)
{
    actor_fixture *fixture = *state;
    char text[DW_FINGERPRINT_BYTES];
    dw_fingerprint_stats stats;
    write_model();
    fingerprint(text, false, &stats);
    for (int round = 0; round < 8; round++) {
        pthread_t threads[4];
        asking asks[4];
        dw_model *model = open_model(fixture, round % 2 == 0);
        for (size_t i = 0; i < 4; i++) {
            asks[i] = (asking){.model = model};
            assert_int_equal(pthread_create(&threads[i], NULL, ask, &asks[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_string_equal(asks[i].text, text);
        }
        dw_fingerprint_stats known = {.struct_bytes = sizeof known};
        assert_int_equal(dw_model_get_fingerprint_stats(model, &known), DW_OK);
        assert_true(known.known && known.hashed_bytes == known.bytes);
        dw_model_unref(model);
    }
    dw_model_unref(open_model(fixture, true)); /* and nobody waits */
    /* Files that change under a loaded model: what is told is what is there. */
    dw_model *model = open_model(fixture, false);
    asking one = {.model = model};
    (void)ask(&one);
    assert_string_equal(one.text, text);
    settle();
    overwrite_an_eighth();
    (void)ask(&one);
    assert_string_not_equal(one.text, text);
    dw_model_unref(model);
}

static bool give_up(void *user, uint64_t done, uint64_t total)
{
    size_t *calls = user;
    assert_true(done <= total);
    return ++*calls > 1;
}

static void test_fingerprint_given_up_and_cut(void **state)
{
    (void)state;
    char text[DW_FINGERPRINT_BYTES];
    char again[DW_FINGERPRINT_BYTES];
    size_t calls = 0;
    dw_error error = {.message = ""};
    dw_fingerprint_stats stats;
    write_model();
    fingerprint(text, false, &stats);
    dw_gguf *gguf = open_gguf();
    dw_fingerprint_options options = {
        .struct_bytes = sizeof options, .on_progress = give_up, .user = &calls};
    dw_fingerprint_job *job = NULL;
    assert_int_equal(dw_fingerprint_job_create(&job, gguf, &options, &error), DW_OK);
    assert_int_equal(dw_fingerprint_job_finish(job, again, &error), DW_E_CANCELLED);
    assert_int_equal(dw_fingerprint_job_finish(job, again, &error), DW_OK);
    assert_string_equal(again, text);
    dw_fingerprint_job_destroy(job);
    struct stat info;
    assert_int_equal(stat(model_path, &info), 0);
    options.on_progress = NULL;
    assert_int_equal(dw_fingerprint_job_create(&job, gguf, &options, &error), DW_OK);
    assert_int_equal(truncate(model_path, info.st_size - 4096), 0);
    assert_int_equal(dw_fingerprint_job_finish(job, again, &error), DW_E_IO);
    dw_fingerprint_job_destroy(job);
    dw_gguf_close(gguf);
}

/* Who is asked to stop leaves at once, and the next takes up what is left. */
static bool ask_to_stop(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    dw_stop_cancel(user);
    return true;
}

static void test_fingerprint_stopped(void **state)
{
    (void)state;
    char text[DW_FINGERPRINT_BYTES];
    dw_error error = {.message = ""};
    dw_stop stop = {.cancelled = false};
    dw_fingerprint_stats stats = {.struct_bytes = sizeof stats};
    dw_fingerprint_job *job = NULL;
    write_model();
    dw_gguf *gguf = open_gguf();
    dw_fingerprint_options options = {
        .struct_bytes = sizeof options, .on_progress = ask_to_stop, .user = &stop};
    assert_int_equal(dw_fingerprint_job_create(&job, gguf, &options, &error), DW_OK);
    assert_int_equal(dw_fingerprint_job_await(job, &stop, text, &error), DW_E_CANCELLED);
    assert_non_null(strstr(error.message, "asked to stop"));
    assert_string_equal(text, "");
    dw_fingerprint_job_get_stats(job, &stats);
    assert_true(!stats.known && stats.hashed_bytes < stats.bytes);
    assert_int_equal(dw_fingerprint_job_finish(job, text, &error), DW_OK);
    assert_int_equal(dw_fingerprint_job_await(job, &stop, text, &error), DW_OK); /* no more work */
    dw_fingerprint_job_destroy(job);
    dw_gguf_close(gguf);
}

/* A snapshot is not taken up by a model of which an eighth of a tensor is another. */
static void test_fingerprint_in_snapshots(void **state)
{
    actor_fixture *fixture = *state;
    char path[96];
    const char *list[] = {path};
    dw_error error = {.message = ""};
    dw_actor *thawed = NULL;
    write_model();
    dw_model *models[2] = {open_model(fixture, false), NULL};
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = models, .model_count = 1};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_actor *actor = NULL;
    assert_int_equal(dw_actor_spawn(&actor, fixture->module, &options, &error), DW_OK);
    (void)snprintf(path, sizeof path, "%s/actor", folder);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
    dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                            .paths = list,
                            .path_count = 1,
                            .models = models,
                            .model_count = 1};
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &thaw, NULL, &error), DW_OK);
    dw_actor_destroy(thawed);
    settle();
    overwrite_an_eighth();
    models[1] = open_model(fixture, false);
    thaw.models = models + 1;
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &thaw, NULL, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "gguf2:"));
    dw_model_unref(models[0]);
    dw_model_unref(models[1]);
    assert_int_equal(unlink(path), 0);
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    (void)snprintf(model_path, sizeof model_path, "%s/m.gguf", folder);
    (void)snprintf(kept_folder, sizeof kept_folder, "%s/a/kept", folder);
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    char above[64];
    clear_kept();
    (void)rmdir(kept_folder);
    (void)snprintf(above, sizeof above, "%s/a", folder);
    (void)rmdir(above);
    (void)unlink(model_path);
    assert_int_equal(rmdir(folder), 0);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint_is_of_all_data),
        cmocka_unit_test(test_fingerprint_is_kept),
        cmocka_unit_test(test_fingerprint_folder_read_only),
        cmocka_unit_test(test_fingerprint_asked_by_many),
        cmocka_unit_test(test_fingerprint_given_up_and_cut),
        cmocka_unit_test(test_fingerprint_stopped),
        cmocka_unit_test(test_fingerprint_in_snapshots),
    };
    return cmocka_run_group_tests_name("fingerprint", tests, open_fixture, close_fixture);
}
