/* Several threads at one state folder: its modules while actors are made and removed, and what is
 * written while its files are measured. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/actor_folder.h"
#include "store_account.h"
#include "support.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char root[] = "/tmp/dw-together-XXXXXX";
static char path_of_folder[64];

static dw_actor_folder *opened(void)
{
    dw_actor_folder *folder = NULL;
    dw_error err = {.message = ""};
    dw_status status = dw_actor_folder_open(&folder, path_of_folder, 0, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return folder;
}

/* ---- modules --------------------------------------------------------------------------------- */

#define MAKERS 4
#define ROUNDS 60

typedef struct maker {
    dw_actor_folder *folder;
    unsigned number;
    unsigned missing; /* times that its actor was there and its module was not */
    unsigned failed;
    pthread_t thread;
} maker;

static dw_status commit(dw_actor_folder *folder, dw_turn *turn)
{
    dw_status status = dw_journal_write(dw_actor_folder_journal(folder),
                                        dw_actor_folder_commit_work, turn, false, NULL);
    if (status == DW_OK) {
        dw_actor_folder_committed(folder, turn);
    }
    return status;
}

static dw_status make_one(maker *m, const char *id)
{
    static const char text[] = "a snapshot";
    char path[DW_FOLDER_PATH_MAX];
    dw_new_actor made = {.module = HASH};
    const dw_module_file module = {.hash = HASH, .wasm = text, .bytes = sizeof text};
    dw_turn turn = {.made = &made, .made_count = 1};
    (void)snprintf(made.id, sizeof made.id, "%s", id);
    dw_status status = dw_actor_folder_make(m->folder, &made, NULL, path, NULL);
    if (status == DW_OK) {
        status = dw_actor_folder_use_module(m->folder, &made, &module, NULL);
    }
    FILE *file = status == DW_OK ? fopen(path, "w") : NULL;
    if (file == NULL || fwrite(text, 1, sizeof text, file) != sizeof text || fclose(file) != 0) {
        return DW_E_IO;
    }
    status = dw_actor_folder_made(m->folder, &made, path, NULL);
    return status == DW_OK ? commit(m->folder, &turn) : status;
}

static dw_status remove_one(dw_actor_folder *folder, const dw_actor_name *name)
{
    dw_ending ending = {.event = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_STOPPED}};
    dw_status status = dw_actor_folder_remove_all(folder, name, 1, &ending, NULL);
    dw_notices_release(&ending.notices);
    return status;
}

static void *make_many(void *arg)
{
    maker *m = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char id[DW_ACTOR_ID_CHARS + 1];
        char *wasm = NULL;
        size_t bytes = 0;
        (void)snprintf(id, sizeof id, "%08x%08x", m->number, i);
        m->failed += make_one(m, id) != DW_OK;
        m->missing += dw_actor_folder_read_module(m->folder, HASH, &wasm, &bytes, NULL) != DW_OK;
        dw_free(wasm);
        dw_actor_name name;
        memcpy(name.id, id, sizeof name.id);
        m->failed += remove_one(m->folder, &name) != DW_OK;
    }
    return NULL;
}

static void test_modules_stay_while_actors_have_them(void **state)
{
    maker makers[MAKERS] = {{.number = 1}};
    (void)state;
    dw_actor_folder *folder = opened();
    for (unsigned i = 0; i < MAKERS; i++) {
        makers[i] = (maker){.folder = folder, .number = i};
        assert_int_equal(pthread_create(&makers[i].thread, NULL, make_many, &makers[i]), 0);
    }
    for (unsigned i = 0; i < MAKERS; i++) {
        assert_int_equal(pthread_join(makers[i].thread, NULL), 0);
        assert_int_equal(makers[i].failed, 0);
        assert_int_equal(makers[i].missing, 0);
    }
    assert_false(path_exists("%s/modules/" HASH ".wasm", path_of_folder));
    dw_actor_folder_close(folder);
    account_for_all(path_of_folder, 0);
}

/* ---- measuring ------------------------------------------------------------------------------- */

#if defined(__GLIBC__)
static _Atomic bool holds;   /* whoever looks at a file waits until */
static _Atomic bool reached; /* somebody did */
static _Atomic bool added;   /* this; or for five seconds */
static _Atomic bool late;

/* In the place of the C library's. */
int lstat(const char *path, struct stat *info)
{
    if (atomic_load(&holds)) {
        atomic_store(&reached, true);
        for (int i = 0; i < 5000 && !atomic_load(&added); i++) {
            (void)usleep(1000);
        }
        atomic_store(&late, !atomic_load(&added));
        atomic_store(&holds, false);
    }
    return stat(path, info);
}

static void *measure(void *folder)
{
    (void)!dw_actor_folder_check_bytes(folder, 1 << 30, true, NULL);
    return NULL;
}

/* The journal's thread counts what it has written: all commits would wait. */
static void test_measuring_holds_nobody_up(void **state)
{
    pthread_t thread;
    dw_error err = {.message = ""};
    (void)state;
    dw_actor_folder *folder = opened();
    atomic_store(&holds, true);
    assert_int_equal(pthread_create(&thread, NULL, measure, folder), 0);
    while (!atomic_load(&reached)) {
        (void)usleep(1000);
    }
    dw_actor_folder_add_bytes(folder, 1 << 20);
    atomic_store(&added, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(late);
    /* And it was counted. */
    assert_int_equal(dw_actor_folder_check_bytes(folder, 1 << 20, true, &err), DW_E_LIMIT);
    dw_actor_folder_close(folder);
}
#else
static void test_measuring_holds_nobody_up(void **state)
{
    (void)state;
    skip();
}
#endif

static int open_group(void **state)
{
    (void)state;
    (void)snprintf(path_of_folder, sizeof path_of_folder, "%s/state",
                   mkdtemp(root) != NULL ? root : "");
    return path_of_folder[0] == '/' && path_of_folder[1] == 's' ? 1 : 0;
}

static int close_group(void **state)
{
    (void)state;
    shell("rm -rf '%s'", root);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules_stay_while_actors_have_them),
        cmocka_unit_test(test_measuring_holds_nobody_up),
    };
    return cmocka_run_group_tests_name("store, together", tests, open_group, close_group);
}
