/* Folders of programs without a journal (tests/golden/make_state_folder.sh) are taken over once,
 * whole, with all that they promised; to look only they are refused. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failing_disk.h"
#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

static char root[] = "/tmp/dw-former-XXXXXX";
static char folder[64];

static const char *const archives[] = {"state-folder-0.1.0", "state-folder-before-journal"};
enum { A, B, CHILD, H, IDS };
static char ids[IDS][32];

static void unpack(const char *archive)
{
    disk_plan_set(NULL);
    shell("rm -rf '%s'/* && tar -C '%s' -xzf '" DW_TEST_DATA_DIR "/../golden/%s.tar.gz'", root,
          root, archive);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/ids", root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < IDS; i++) {
        assert_non_null(fgets(ids[i], sizeof ids[i], file));
        ids[i][strcspn(ids[i], "\n")] = '\0';
    }
    (void)fclose(file);
}

static void opened(runtime_fixture *f, bool read_only)
{
    f->path = folder;
    f->works_on_request = true;
    f->read_only = read_only;
    runtime_open(f);
}

static uint32_t told(runtime_fixture *f, const char *id, const char *text)
{
    return request_told(f, id, text);
}

static void run(runtime_fixture *f)
{
    request_run(f);
}

static void take_message(void *user, const dw_runtime_message *message)
{
    assert_true(message->set_aside);
    assert_int_equal(message->attempts, 3);
    assert_non_null(strstr(message->reason, "unreachable"));
    assert_string_equal(message->from, ids[H]);
    ++*(int *)user;
}

/* What the folder promised: `sent` of what a asks b for is still to come. */
static void verify(runtime_fixture *f, uint32_t sent)
{
    dw_error err = {.message = ""};
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    opened(f, false);
    account_for_all(folder, 0);
    assert_false(path_exists("%s/actors/%s/mail", folder, ids[A]));
    assert_false(path_exists("%s/modules/.users", folder));
    assert_int_equal(dw_runtime_get_actor_info(f->runtime, ids[B], &info, &err), DW_OK);
    assert_int_equal(info.waiting, 1);
    assert_int_equal(info.snapshot_done, 1);
    run(f);
    assert_int_equal(told(f, ids[B], "+0"), 30 + sent);
    run(f);
    assert_int_equal(told(f, ids[B], "+0"), 30 + sent);
    assert_int_equal(told(f, ids[A], "+0"), 3);
    assert_int_equal(told(f, ids[CHILD], "+0"), 8);
    (void)told(f, ids[A], "D+1"); /* an effect of its own number */
    assert_int_equal(told(f, ids[B], "+0"), 31 + sent);
    if (ids[H][0] != '\0') {
        int count = 0;
        assert_int_equal(dw_runtime_list_mail(f->runtime, ids[H], take_message, &count, &err),
                         DW_OK);
        assert_int_equal(count, 1);
        assert_int_equal(told(f, ids[H], "+0"), 4);
        assert_int_equal(dw_runtime_get_actor_info(f->runtime, ids[CHILD], &info, &err), DW_OK);
        assert_string_equal(info.parent, ids[A]);
        assert_int_equal(info.depth, 1);
        uint64_t stopped = 0;
        assert_int_equal(dw_runtime_stop_tree(f->runtime, ids[A], &stopped, &err), DW_OK);
        assert_int_equal(stopped, 2);
    }
    runtime_close(f);
    account_for_all(folder, 1);
}

static void test_former_folders_are_taken_over(void **state)
{
    runtime_fixture *f = *state;
    for (size_t i = 0; i < sizeof archives / sizeof archives[0]; i++) {
        unpack(archives[i]);
        verify(f, 100);
    }
}

static void test_former_folders_are_refused_for_looking(void **state)
{
    runtime_fixture *f = *state;
    dw_error err = {.message = ""};
    dw_runtime *runtime = NULL;
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = folder, .read_only = true};
    unpack(archives[1]);
    disk_plan_set(NULL);
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, &options, &err),
                     DW_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "earlier version"));
    assert_int_equal(disk_operations(), 0);
    opened(f, false);
    runtime_close(f);
    opened(f, true);
    char id[DW_ACTOR_ID_CHARS + 1];
    assert_int_equal(dw_runtime_find_id(f->runtime, ids[A], id, &err), DW_OK);
    runtime_close(f);
}

/* What its receiver had, and was to be told again, it does not get twice, also where the receiver
 * has ended since. Actors that were being stopped are there no more, what was being tried
 * counts. */
static void test_former_promises(void **state)
{
    runtime_fixture *f = *state;
    dw_error err = {.message = ""};
    char id[DW_ACTOR_ID_CHARS + 1];
    for (int former = 0; former < 2; former++) {
        unpack(archives[1]);
        shell("touch '%s/actors/%s/mail/000000000000-%s-%016d'", folder, ids[B], ids[A], 2);
        verify(f, 0);
        unpack(archives[1]);
        shell("rm -r '%s/actors/%s' && touch '%s/actors/.%s-%s-000000000000-%s-%016d'", folder,
              ids[B], folder, former ? "had" : "delivered", ids[B], ids[A], 2);
        opened(f, false);
        run(f);
        assert_int_equal(dw_runtime_find_id(f->runtime, ids[B], id, &err), DW_E_NOT_FOUND);
        runtime_close(f);
        account_for_all(folder, 2);
    }
    unpack(archives[1]);
    shell("printf '%s\\n%s\\n' >'%s/stopping'", ids[A], ids[CHILD], folder);
    shell("printf '%s m 900 0\\n' >'%s/.tmp-work'", ids[B], folder);
    shell("printf 'm 900 0 1\\nbefore' >'%s/actors/%s/mail/.attempts'", folder, ids[B]);
    opened(f, false);
    account_for_all(folder, 3);
    assert_int_equal(dw_runtime_find_id(f->runtime, ids[A], id, &err), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_find_id(f->runtime, ids[CHILD], id, &err), DW_E_NOT_FOUND);
    runtime_close(f);
    change_journal(folder, "DELETE FROM actor WHERE (SELECT count FROM attempt) = 2");
    opened(f, false);
    assert_int_equal(dw_runtime_find_id(f->runtime, ids[B], id, &err),
                     DW_E_NOT_FOUND); /* it was 2 */
    runtime_close(f);
}

/* Programs before 0.1.0 wrote beside each file's place, and kept no list of modules' users. */
static void test_former_left_overs(void **state)
{
    runtime_fixture *f = *state;
    unpack(archives[0]);
    shell("cd '%s/modules' && for h in 0 1; do touch $(printf $h%%063d 5).wasm; done && touch "
          "$(printf %%064d 9).wasm.part && cd ../actors/%s && for n in 1 2 3; do touch "
          "00000009-000000000012.pending-delta.snapshot.tmp-4194304-0123456789abcde$n "
          "mail/00000000001$n-0000000000000000-0000000000000000.part; done",
          folder, ids[A]);
    verify(f, 100);
}

/* A newest snapshot that was deleted before is missed. */
static void test_former_snapshots_that_are_missing(void **state)
{
    runtime_fixture *f = *state;
    dw_error err = {.message = ""};
    dw_actor *actor = NULL;
    for (int which = 0; which < 2; which++) {
        unpack(archives[1]);
        shell("cd '%s/actors/%s' && rm %s", folder, ids[A], which == 0 ? "00000007*" : "00000005*");
        opened(f, false);
        assert_int_equal(runtime_copy(f, ids[A], &actor, &err), DW_E_FORMAT);
        assert_non_null(strstr(err.message, which == 0 ? "00000007" : "00000005"));
        runtime_close(f);
    }
}

/* Whole or not at all, wherever the disk fails, and from there on. */
static void test_former_folders_on_failing_disks(void **state)
{
    runtime_fixture *f = *state;
    int refused = 0;
    uint64_t step = emulated() ? 20 : 3;
    bool failed = true;
    for (uint64_t after = 0; failed; after += step) {
        dw_error err = {.message = ""};
        dw_runtime *runtime = NULL;
        const dw_runtime_options options = {.struct_bytes = sizeof options, .path = folder};
        unpack(archives[1]);
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = after, .error = EIO});
        dw_status status = dw_runtime_open(&runtime, f->actors->engine, &options, &err);
        dw_runtime_close(runtime);
        failed = disk_failed() > 0;
        refused += status != DW_OK;
        disk_plan_set(NULL);
        assert_true(status == DW_OK || status == DW_E_IO);
        verify(f, 100);
    }
    print_message("%d times it could not be opened\n", refused);
#if defined(__GLIBC__)
    assert_true(refused > 5 || emulated());
#endif
}

static int open_fixture(void **state)
{
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    (void)snprintf(folder, sizeof folder, "%s/state", root);
    disk_watch(root);
    return runtime_fixture_open(state);
}

static int close_fixture(void **state)
{
    char command[64];
    disk_plan_set(NULL);
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    return runtime_fixture_close(state) == 0 && system(command) == 0 ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_former_folders_are_taken_over),
        runtime_test(test_former_folders_are_refused_for_looking),
        runtime_test(test_former_promises),
        runtime_test(test_former_left_overs),
        runtime_test(test_former_snapshots_that_are_missing),
        runtime_test(test_former_folders_on_failing_disks),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("former folders", tests, open_fixture, close_fixture);
}
