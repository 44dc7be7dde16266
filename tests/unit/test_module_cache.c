/* Compiled modules in a folder: found again, refused where others could have written them, thrown
 * away where they are damaged, and kept from guests. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wasmtime.h>

#include "driftwood.h"
#include "support.h"

static char folder[512]; /* of this test; the cache lies in it */
static char cache[600];
static char log_text[4096];

static void on_line(void *user, dw_log_level level, const char *line)
{
    (void)user;
    (void)level;
    strncat(log_text, line, sizeof log_text - strlen(log_text) - 1);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/dw-modules-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(cache, sizeof cache, "%s/made/modules", folder);
    log_text[0] = '\0';
    dw_log_set(DW_LOG_WARN, on_line, NULL);
    return 0;
}

static int tear_down(void **state)
{
    char command[700];
    (void)state;
    dw_log_set(DW_LOG_NONE, NULL, NULL);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static dw_status open_engine(dw_engine **engine, const char *path, uint64_t bytes_max, bool fuel,
                             dw_error *err)
{
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 1,
                                 .counts_fuel = fuel,
                                 .module_cache = path,
                                 .module_cache_bytes_max = bytes_max};
    return dw_engine_create(engine, &options, err);
}

static void make_wasm(wasm_byte_vec_t *wasm, const char *exported, int number)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 1))"
                   " (table 2 funcref) (elem (i32.const 0) $f)"
                   " (func $f (export \"%s\") (result i32)"
                   "  (global.set $g (i32.add (global.get $g) (i32.const %d))) (global.get $g)))",
                   exported, number);
    assert_null(wasmtime_wat2wasm(text, strlen(text), wasm));
}

/* What of one module an engine of its own compiled and found. */
typedef struct counts {
    uint64_t compiled;
    uint64_t found;
    int result; /* of its function */
} counts;

static counts use_with(const char *path, uint64_t bytes_max, bool fuel, const char *exported,
                       int number)
{
    dw_engine *engine;
    dw_module *module;
    dw_instance *instance;
    wasm_byte_vec_t wasm;
    dw_error err;
    counts c = {0};
    make_wasm(&wasm, exported, number);
    if (open_engine(&engine, path, bytes_max, fuel, &err) != DW_OK ||
        dw_module_create(&module, engine, wasm.data, wasm.size, &err) != DW_OK ||
        dw_instance_create(&instance, module, NULL, &err) != DW_OK ||
        dw_instance_call(instance, exported, &c.result, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_engine_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_engine_get_stats(engine, &stats), DW_OK);
    c.compiled = stats.modules_compiled;
    c.found = stats.modules_found;
    dw_instance_destroy(instance);
    dw_module_unref(module);
    dw_engine_destroy(engine);
    wasm_byte_vec_delete(&wasm);
    return c;
}

static counts use(int number)
{
    return use_with(cache, 0, false, "next", number);
}

static void expect(counts c, uint64_t compiled, uint64_t found, int result)
{
    assert_int_equal(c.compiled, compiled);
    assert_int_equal(c.found, found);
    assert_int_equal(c.result, result);
}

/* The number of entries; `path`: of the last one. */
static size_t entries(char path[1200])
{
    DIR *list = opendir(cache);
    const struct dirent *item;
    size_t count = 0;
    assert_non_null(list);
    while ((item = readdir(list)) != NULL) {
        if (strstr(item->d_name, ".module") != NULL) {
            (void)snprintf(path, 1200, "%s/%s", cache, item->d_name);
            count++;
        }
    }
    (void)closedir(list);
    return count;
}

/* The only one that a guest without WASI makes. */
static void only_entry(char path[1200])
{
    assert_int_equal(entries(path), 1);
}

static void test_module_cache_finds_what_was_compiled(void **state)
{
    (void)state;
    struct stat info;
    char path[1200];
    expect(use(5), 1, 0, 6);
    expect(use(5), 0, 1, 6);
    expect(use(7), 1, 0, 8); /* another module */
    assert_int_equal(stat(cache, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(entries(path), 2);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    expect(use_with(cache, 0, true, "next", 5), 1, 0, 6); /* code that counts is other code */
    expect(use_with(cache, 0, true, "next", 5), 0, 1, 6);
    expect(use_with(NULL, 0, false, "next", 5), 1, 0, 6); /* without a cache */
    assert_string_equal(log_text, "");
}

static void test_module_cache_keeps_where_actors_state_lies(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        dw_engine *engine;
        dw_module *module;
        dw_actor *actor;
        wasm_byte_vec_t wasm;
        dw_error err;
        make_wasm(&wasm, "driftwood_receive", 5);
        assert_int_equal(open_engine(&engine, cache, 0, false, &err), DW_OK);
        assert_int_equal(dw_module_create(&module, engine, wasm.data, wasm.size, &err), DW_OK);
        if (dw_actor_spawn(&actor, module, NULL, &err) != DW_OK) {
            fail_msg("%s", err.message);
        }
        dw_engine_stats stats = {.struct_bytes = sizeof stats};
        assert_int_equal(dw_engine_get_stats(engine, &stats), DW_OK);
        assert_int_equal(stats.modules_found, i);
        dw_actor *twin; /* which needs globals and tables from outside */
        if (dw_actor_fork(&twin, actor, NULL, &err) != DW_OK) {
            fail_msg("%s", err.message);
        }
        dw_actor_destroy(twin);
        dw_actor_destroy(actor);
        dw_module_unref(module);
        dw_engine_destroy(engine);
        wasm_byte_vec_delete(&wasm);
    }
}

static void write_at(const char *path, long offset, const void *bytes, size_t count)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, count, offset), (ssize_t)count);
    assert_int_equal(close(fd), 0);
}

static void expect_thrown_away(const char *word)
{
    char path[1200];
    expect(use(5), 1, 0, 6);
    if (strstr(log_text, word) == NULL || strstr(log_text, "thrown away") == NULL) {
        fail_msg("the log says '%s', not '%s'", log_text, word);
    }
    log_text[0] = '\0';
    only_entry(path);
    expect(use(5), 0, 1, 6); /* it was written anew */
    assert_string_equal(log_text, "");
}

static void test_module_cache_throws_away_what_is_damaged(void **state)
{
    (void)state;
    char path[1200];
    struct stat info;
    unsigned char byte;
    expect(use(5), 1, 0, 6);
    only_entry(path);
    assert_int_equal(stat(path, &info), 0);
    const off_t bytes = info.st_size;
    /* In the head: magic, version, key, lengths, digest; then the layout or the code, the end. */
    const off_t places[] = {0, 8, 12, 20, 50, 60, 70, 80, 200, bytes / 2, bytes - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int fd = open(path, O_RDONLY);
        assert_int_equal(pread(fd, &byte, 1, places[i]), 1);
        (void)close(fd);
        byte ^= 0x10;
        write_at(path, (long)places[i], &byte, 1);
        expect_thrown_away(path + strlen(cache) + 1);
    }
    const off_t lengths[] = {0, 1, 79, 80, bytes / 2, bytes - 1, bytes + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(truncate(path, lengths[i]), 0);
        expect_thrown_away("cut off");
    }
}

static void test_module_cache_refuses_files_that_others_can_write(void **state)
{
    (void)state;
    char path[1200];
    char other[1300];
    expect(use(5), 1, 0, 6);
    only_entry(path);
    assert_int_equal(chmod(path, 0620), 0);
    expect_thrown_away("others can write it");
    assert_int_equal(chmod(path, 0602), 0);
    expect_thrown_away("others can write it");
    (void)snprintf(other, sizeof other, "%s/elsewhere", folder);
    assert_int_equal(link(path, other), 0);
    expect_thrown_away("another name");
    assert_int_equal(unlink(other), 0);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    expect_thrown_away("a link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* it is not waited for */
    expect_thrown_away("no regular file");
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        expect_thrown_away("another user's");
    }
}

static void refuse_folder(const char *path, const char *word)
{
    dw_engine *engine;
    dw_error err;
    assert_int_equal(open_engine(&engine, path, 0, false, &err), DW_E_DENIED);
    assert_null(engine);
    assert_non_null(strstr(err.message, word));
    assert_non_null(strstr(err.message, "module cache"));
}

static void test_module_cache_refuses_folders_that_others_can_write(void **state)
{
    (void)state;
    char above[600];
    char other[1300];
    expect(use(5), 1, 0, 6);
    assert_int_equal(chmod(cache, 0770), 0);
    refuse_folder(cache, "rights 770");
    assert_int_equal(chmod(cache, 0707), 0);
    refuse_folder(cache, "rights 707");
    assert_int_equal(chmod(cache, 0700), 0);
    (void)snprintf(above, sizeof above, "%s/made", folder);
    assert_int_equal(chmod(above, 0777), 0); /* who can write it can put another one there */
    refuse_folder(cache, "rights 777");
    assert_int_equal(chmod(above, 01777), 0); /* not with the sticky bit */
    expect(use(5), 0, 1, 6);
    assert_int_equal(chmod(above, 0755), 0);
    (void)snprintf(other, sizeof other, "%s/link", folder);
    assert_int_equal(symlink(cache, other), 0);
    refuse_folder(other, "a link");
    if (geteuid() == 0) {
        assert_int_equal(chown(cache, 12345, (gid_t)-1), 0);
        refuse_folder(cache, "user 12345");
        assert_int_equal(chown(cache, 0, (gid_t)-1), 0);
        assert_int_equal(chown(above, 12345, (gid_t)-1), 0);
        refuse_folder(cache, "user 12345");
        assert_int_equal(chown(above, 0, (gid_t)-1), 0);
    }
    expect(use(5), 0, 1, 6);
}

static dw_status grant(dw_engine *engine, const char *path, bool writable, dw_error *err)
{
    dw_module *module;
    dw_instance *instance;
    wasm_byte_vec_t wasm;
    const dw_dir dir = {.host_path = path, .guest_path = "/d", .writable = writable};
    dw_instance_options options = {.struct_bytes = sizeof options, .dirs = &dir, .dir_count = 1};
    make_wasm(&wasm, "next", 5);
    assert_int_equal(dw_module_create(&module, engine, wasm.data, wasm.size, err), DW_OK);
    dw_status status = dw_instance_create(&instance, module, &options, err);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    wasm_byte_vec_delete(&wasm);
    return status;
}

static void test_module_cache_is_kept_from_guests(void **state)
{
    (void)state;
    dw_engine *engine;
    dw_error err;
    char path[1300];
    assert_int_equal(open_engine(&engine, cache, 0, false, &err), DW_OK);
    const char *const refused[] = {"%s/made/modules",
                                   "%s/made",
                                   "%s",
                                   "%s/made/modules/in",
                                   "%s/made/modules/../../made/modules/in/..",
                                   "%s/link"};
    (void)snprintf(path, sizeof path, "%s/in", cache);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink(cache, path), 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(path, sizeof path, refused[i], folder);
#pragma GCC diagnostic pop
        assert_int_equal(grant(engine, path, true, &err), DW_E_DENIED);
        assert_non_null(strstr(err.message, "module cache"));
        assert_int_equal(grant(engine, path, false, &err), DW_OK); /* reading does no harm */
    }
    (void)snprintf(path, sizeof path, "%s/made/beside", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(grant(engine, path, true, &err), DW_OK);
    dw_engine_destroy(engine);
}

static void age(const char *path, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = time(NULL) - seconds},
                                      {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_module_cache_lets_go_what_was_not_used_for_longest(void **state)
{
    (void)state;
    char path[3][1200];
    char left[1300];
    struct stat info;
    expect(use(1), 1, 0, 2);
    assert_int_equal(entries(path[0]), 1);
    assert_int_equal(stat(path[0], &info), 0);
    const uint64_t room = (uint64_t)info.st_size * 5 / 2; /* two of them, not three */
    age(path[0], 5000);
    expect(use_with(cache, room, false, "next", 2), 1, 0, 3);
    expect(use_with(cache, room, false, "next", 1), 0, 1, 2); /* now used later than the other */
    assert_int_equal(stat(path[0], &info), 0);
    assert_true(time(NULL) - info.st_mtime < 1000);
    for (int i = 0; i < 2; i++) { /* the other */
        DIR *list = opendir(cache);
        const struct dirent *item;
        while ((item = readdir(list)) != NULL) {
            if (strstr(item->d_name, ".module") != NULL && strstr(path[0], item->d_name) == NULL) {
                (void)snprintf(path[1], sizeof path[1], "%s/%s", cache, item->d_name);
            }
        }
        (void)closedir(list);
    }
    age(path[1], 3000);
    (void)snprintf(left, sizeof left, "%s/.new-0123456789abcdef", cache); /* of a killed writer */
    int fd = open(left, O_CREAT | O_WRONLY, 0600);
    (void)close(fd);
    age(left, 8000);
    expect(use_with(cache, room, false, "next", 3), 1, 0, 4);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(path[0], F_OK), 0);
    assert_int_equal(access(path[1], F_OK), -1);
    assert_int_equal(entries(path[2]), 2);
    expect(use_with(cache, 1000, false, "next", 9), 1, 0, 10); /* too small for any: not kept */
    assert_int_equal(entries(path[2]), 2);
}

/* One of several processes: writes, reads and lets go. */
static int use_in_turn(const char *place, int first)
{
    (void)snprintf(cache, sizeof cache, "%s", place);
    dw_log_set(DW_LOG_WARN, on_line, NULL);
    for (int k = 0; k < 12; k++) {
        int number = 1 + (k + first) % 5;
        counts c = use_with(cache, 60000, false, "next", number);
        if (c.result != 1 + number || c.compiled + c.found != 1) {
            return 1;
        }
    }
    return log_text[0] != '\0';
}

static void test_module_cache_is_shared_by_processes(void **state)
{
    (void)state;
    pid_t children[4];
    char digit[4][2] = {"0", "1", "2", "3"};
    for (int i = 0; i < 4; i++) {
        children[i] = fork(); /* Wasmtime's threads are not in it: another program */
        if (children[i] == 0) {
            (void)execl("/proc/self/exe", "test_module_cache", cache, digit[i], (char *)NULL);
            _exit(127);
        }
    }
    for (int i = 0; i < 4; i++) {
        int how = 0;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), 0);
    }
}

static void test_module_cache_knows_under_which_limits(void **state)
{
    (void)state;
    wasm_byte_vec_t wasm;
    dw_engine *engine;
    dw_module *module;
    dw_error err;
    expect(use(5), 1, 0, 6);
    dw_limits limits = {.struct_bytes = sizeof limits, .module_globals = 1, .function_bytes = 64};
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 1,
                                 .limits = &limits,
                                 .module_cache = cache};
    limits.module_bytes = 64; /* it has more */
    make_wasm(&wasm, "next", 5);
    assert_true(wasm.size > 64);
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    assert_int_equal(dw_module_create(&module, engine, wasm.data, wasm.size, &err), DW_E_LIMIT);
    dw_engine_destroy(engine);
    wasm_byte_vec_delete(&wasm);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return use_in_turn(argv[1], argv[2][0] - '0');
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_module_cache_finds_what_was_compiled, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_keeps_where_actors_state_lies, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_throws_away_what_is_damaged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_refuses_files_that_others_can_write,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_refuses_folders_that_others_can_write,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_is_kept_from_guests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_lets_go_what_was_not_used_for_longest,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_is_shared_by_processes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_module_cache_knows_under_which_limits, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
