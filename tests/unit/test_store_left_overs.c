/* What processes that are killed leave in a state folder: the next opening removes it, and nothing
 * is there afterwards that belongs to no actor. Numbers in names of any width; snapshots that
 * somebody deleted.
 *
 * A process that is killed at an operation on files is one for which it and all that follow
 * fail. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "failing_disk.h"
#include "store_account.h"
#include "support.h"

#define ACTORS_MAX 16

static char root[] = "/tmp/dw-left-XXXXXX";
static char folder[64];

static void live(void)
{
    disk_plan_set(NULL);
}

static void fresh_folder(void)
{
    live();
    shell("rm -rf '%s'", folder);
}

/* ---- a store ----------------------------------------------------------------------------- */

static char last_problem[256];

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)id;
    (void)snprintf(last_problem, sizeof last_problem, "%s", problem->message);
}

static dw_store *opened_as(actor_fixture *fixture, bool read_only, bool accept_older)
{
    dw_store *store = NULL;
    dw_error error = {.message = ""};
    dw_store_options options = {.struct_bytes = sizeof options,
                                .path = folder,
                                .on_problem = on_problem,
                                .read_only = read_only,
                                .accept_older = accept_older};
    dw_status status = dw_store_open(&store, fixture->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_signals_restore(); /* guests trap here */
    return store;
}

static dw_store *opened(actor_fixture *fixture)
{
    return opened_as(fixture, false, false);
}

typedef struct actor_name {
    char id[DW_ACTOR_ID_CHARS + 1];
} actor_name;

static dw_status spawn(dw_store *store, dw_module *module, actor_name *name)
{
    dw_error error;
    dw_actor_options options = {.struct_bytes = sizeof options};
    name->id[0] = '\0';
    return dw_store_spawn(store, module, &options, name->id, &error);
}

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    memcpy(user, bytes, count < sizeof(uint32_t) ? count : sizeof(uint32_t));
    return (ptrdiff_t)count;
}

static dw_status tell(dw_store *store, const char *id, const char *text, uint32_t *answer,
                      dw_error *error)
{
    uint32_t none;
    dw_actor_effect message = {
        .struct_bytes = sizeof message, .message = text, .message_bytes = strlen(text)};
    *error = (dw_error){.message = ""};
    return dw_store_send(store, id, &message, keep, answer != NULL ? answer : &none, error);
}

static uint32_t told(dw_store *store, const char *id, const char *text)
{
    uint32_t answer = 0;
    dw_error error;
    dw_status status = tell(store, id, text, &answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return answer;
}

/* ---- kills --------------------------------------------------------------------------------- */

static void any(dw_status status)
{
    (void)status;
}

/* All that changes a folder; what fails, fails. */
static void work(actor_fixture *fixture, dw_module *other, dw_store *store)
{
    actor_name a;
    actor_name b;
    actor_name c;
    dw_error error;
    char text[64];
    char child[DW_ACTOR_ID_CHARS + 1];
    (void)spawn(store, fixture->module, &a);
    (void)spawn(store, fixture->module, &b);
    (void)tell(store, a.id, "+1", NULL, &error);
    (void)snprintf(text, sizeof text, "I%s", b.id);
    (void)tell(store, a.id, text, NULL, &error);
    (void)tell(store, a.id, "D+1", NULL, &error);
    (void)tell(store, a.id, "D!", NULL, &error);
    (void)tell(store, a.id, "N+7", NULL, &error);
    (void)tell(store, a.id, "F5", NULL, &error);
    (void)tell(store, a.id, "T3", NULL, &error);
    any(dw_store_run(store, &error)); /* "!" is set aside, tried again, and dropped */
    any(dw_store_retry_mail(store, b.id, DW_MAIL_ALL, NULL, &error));
    (void)tell(store, a.id, "A!", NULL, &error); /* a timer's, which is in no file */
    any(dw_store_run(store, &error));
    any(dw_store_drop_mail(store, b.id, DW_MAIL_ALL, NULL, &error));
    any(dw_store_fork(store, a.id, child, &error));
    any(dw_store_freeze(store, a.id, NULL, &error));
    (void)tell(store, a.id, "+2", NULL, &error);
    (void)spawn(store, other, &c); /* the only one of its module */
    (void)tell(store, c.id, "+2", NULL, &error);
    any(dw_store_stop(store, c.id, &error));
    (void)tell(store, a.id, "NX", NULL, &error); /* ends at its first message */
    (void)tell(store, b.id, "X", NULL, &error);
}

static void take_name(void *user, const char *id)
{
    name_list *list = user;
    assert_true(list->count < 64);
    (void)snprintf(list->names[list->count++], 256, "%s", id);
}

/* At each operation of some kinds, or at every so many of them. */
static void kill_at(actor_fixture *fixture, dw_module *other, unsigned kinds, int step)
{
    int all = 0;
    for (int at = -1; at < all; at += at < 0 ? 1 : step) { /* first to see how many there are */
        dw_error error = {.message = ""};
        fresh_folder();
        dw_store *store = opened(fixture);
        live();
        disk_plan_set(&(disk_plan){.kinds = kinds, .after = at < 0 ? UINT64_MAX : (uint64_t)at});
        work(fixture, other, store);
        all = at < 0 ? (int)disk_operations() : all;
        dw_store_close(store);
        live();
        store = opened(fixture);
        account_for_all(folder, at);
        any(dw_store_run(store, &error));
        dw_store_close(store);
        store = opened(fixture);
        account_for_all(folder, at);
        name_list names = listed("%s/actors", folder);
        for (size_t i = 0; i < names.count; i++) {
            if (strlen(names.names[i]) == DW_ACTOR_ID_CHARS) {
                (void)told(store, names.names[i], "+0");
            }
        }
        dw_store_close(store);
        account_for_all(folder, at);
    }
    print_message("killed at %d operations\n", all / step);
    assert_true(all > 100);
}

static void test_left_overs_of_kills(void **state_)
{
    actor_fixture *fixture = *state_;
    dw_module *other = actor_module(fixture, "actor_keeper.wasm");
    kill_at(fixture, other, DISK_NAMES | DISK_SYNC, emulated() ? 40 : 1);
    kill_at(fixture, other, DISK_ALL, emulated() ? 200 : 13);
    dw_module_unref(other);
}

static size_t actors_seen(dw_store *store, const char *id, bool *seen)
{
    name_list all = {.count = 0};
    dw_error error = {.message = ""};
    assert_int_equal(dw_store_list(store, take_name, &all, &error), DW_OK);
    *seen = false;
    for (size_t i = 0; i < all.count; i++) {
        *seen = *seen || strcmp(all.names[i], id) == 0;
    }
    return all.count;
}

/* A tree that is stopped is there whole or not at all, wherever the process is killed, and whatever
 * fails: for those that only look, and for the next that works. */
static void test_left_overs_of_stopped_trees(void **state_)
{
    enum { TREE = 4 };
    actor_fixture *fixture = *state_;
    int before = 0;
    int after = 0;
    bool killed = true;
    for (int at = 0; killed; at++) {
        actor_name a;
        actor_name b;
        dw_error error = {.message = ""};
        bool seen = false;
        fresh_folder();
        dw_store *store = opened(fixture);
        assert_int_equal(spawn(store, fixture->module, &a), DW_OK);
        assert_int_equal(spawn(store, fixture->module, &b), DW_OK);
        for (int i = 1; i < TREE; i++) {
            (void)told(store, a.id, "F5");
        }
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = (uint64_t)at});
        dw_status status = at % 2 == 0 ? dw_store_stop_tree(store, a.id, NULL, &error)
                                       : dw_store_stop_all(store, NULL, &error);
        killed = disk_failed() > 0;
        live();
        size_t left = at % 2 == 0 ? 1 : 0;
        size_t count = actors_seen(store, a.id, &seen);
        if (count != (seen ? 1 + TREE : left) || (seen && status == DW_OK)) {
            fail_msg("operation %d: %zu actors are there", at, count);
        }
        before += seen;
        after += !seen;
        dw_store_close(store);
        bool still = false;
        store = opened_as(fixture, true, false);
        assert_int_equal(actors_seen(store, a.id, &still), count);
        assert_int_equal(still, seen);
        dw_store_close(store);
        store = opened(fixture);
        account_for_all(folder, at);
        assert_int_equal(actors_seen(store, a.id, &still), count);
        if (left == 1 || seen) {
            assert_int_equal(told(store, b.id, "+3"), 3);
        }
        dw_store_close(store);
    }
    print_message("killed while stopping: %d times all are there, %d times none\n", before, after);
    assert_true(before > 1 && after > 10);
}

/* Opening costs what was left, not what is well. */
static void test_left_overs_cost_only_themselves(void **state_)
{
    actor_fixture *fixture = *state_;
    int opened_with[2];
    int count = 1;
    fresh_folder();
    dw_store *store = opened(fixture);
    for (int round = 0; round < 2; round++) {
        for (; count <= (round == 0 ? 2 : 30); count++) {
            actor_name name;
            assert_int_equal(spawn(store, fixture->module, &name), DW_OK);
            (void)told(store, name.id, "+1");
        }
        dw_store_close(store);
        shell("head -c 100000 /dev/zero >%s/.tmp-part-7", folder);
        live();
        store = opened(fixture);
        opened_with[round] = (int)disk_opened();
        assert_false(path_exists("%s/.tmp-part-7", folder));
    }
    dw_store_close(store);
    assert_int_equal(opened_with[0], opened_with[1]);
}

/* A module goes with its last user, and comes again. */
static void test_left_overs_are_no_modules_in_use(void **state_)
{
    actor_fixture *fixture = *state_;
    actor_name actors[3];
    dw_error error;
    fresh_folder();
    dw_store *store = opened(fixture);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(spawn(store, fixture->module, &actors[i]), DW_OK);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(dw_store_stop(store, actors[i].id, &error), DW_OK);
        }
        dw_store_close(store);
        store = opened(fixture);
        account_for_all(folder, round);
        assert_int_equal(told(store, actors[2].id, "+3"), 3);
        assert_int_equal(dw_store_stop(store, actors[2].id, &error), DW_OK);
        assert_int_equal(listed("%s/modules", folder).count, 0);
    }
    dw_store_close(store);
}

/* ---- numbers of any width ---------------------------------------------------------------- */

/* The actor's snapshots and mail go on from these numbers, which are stored 2^63 less. */
static void move_to(const char *id, uint64_t sequence, uint64_t done)
{
    const uint64_t half = (uint64_t)1 << 63;
    const int64_t own = (int64_t)(strtoull(id, NULL, 16) ^ half);
    const int64_t to_sequence = (int64_t)(sequence ^ half);
    const int64_t to_done = (int64_t)(done ^ half);
    name_list names = listed("%s/actors/%s", folder, id);
    assert_int_equal(names.count, 1);
    shell("cd '%s/actors/%s' && mv %s %08" PRIu64 "-%012" PRIu64 ".full.snapshot", folder, id,
          names.names[0], sequence, done);
    change_journal(folder,
                   "UPDATE snapshot SET sequence = %" PRId64 ", done = %" PRId64
                   " WHERE actor = %" PRId64,
                   to_sequence, to_done, own);
    change_journal(folder,
                   "UPDATE actor SET sequence = %" PRId64 ", done = %" PRId64
                   ", numbered = %" PRId64 " WHERE id = %" PRId64,
                   to_sequence, to_done, to_done, own);
}

static void test_numbers_near_borders(void **state_)
{
    static const uint64_t borders[] = {99999999,
                                       999999999,
                                       UINT32_MAX,
                                       999999999999,
                                       (uint64_t)1 << 53,
                                       INT64_MAX,
                                       UINT64_C(9999999999999999999),
                                       UINT64_MAX - 12};
    actor_fixture *fixture = *state_;
    for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++) {
        actor_name a;
        actor_name b;
        char text[64];
        dw_error error;
        dw_store_info info = {.struct_bytes = sizeof info};
        fresh_folder();
        dw_store *store = opened(fixture);
        assert_int_equal(spawn(store, fixture->module, &a), DW_OK);
        assert_int_equal(spawn(store, fixture->module, &b), DW_OK);
        dw_store_close(store);
        move_to(a.id, borders[i] - 2, borders[i] - 3);
        move_to(b.id, borders[i] - 3, borders[i] - 1);
        store = opened(fixture);
        for (uint32_t n = 1; n <= 5; n++) { /* with an opening between */
            if (told(store, a.id, "+1") != n) {
                fail_msg("border %" PRIu64 ": message %u was lost", borders[i], n);
            }
            dw_store_close(store);
            store = opened(fixture);
        }
        assert_int_equal(dw_store_get_info(store, a.id, &info, &error), DW_OK);
        assert_true(info.done == borders[i] - 3 + 5 && info.waiting == 0);
        (void)snprintf(text, sizeof text, "I%s", b.id);
        (void)told(store, a.id, text);
        (void)told(store, a.id, "D+1"); /* messages and effects over the border */
        (void)told(store, a.id, "D+1");
        assert_int_equal(told(store, b.id, "+0"), 2);
        dw_store_close(store);
        account_for_all(folder, (int)i);
    }
}

/* Behind the last number there is none: refused, and the actor stays as it is. */
static void test_numbers_end(void **state_)
{
    actor_fixture *fixture = *state_;
    for (int which = 0; which < 2; which++) {
        actor_name a;
        dw_error error;
        fresh_folder();
        dw_store *store = opened(fixture);
        assert_int_equal(spawn(store, fixture->module, &a), DW_OK);
        dw_store_close(store);
        move_to(a.id, which == 0 ? UINT64_MAX - 2 : 5, which == 0 ? 5 : UINT64_MAX - 2);
        store = opened(fixture);
        assert_int_equal(told(store, a.id, "+1"), 1);
        assert_int_equal(told(store, a.id, "+1"), 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tell(store, a.id, "+1", NULL, &error), DW_E_LIMIT);
            assert_non_null(strstr(error.message, "18446744073709551615"));
            dw_store_close(store);
            store = opened(fixture);
        }
        char child[DW_ACTOR_ID_CHARS + 1];
        assert_int_equal(dw_store_fork(store, a.id, child, &error), DW_OK);
        assert_int_equal(told(store, child, "+1"), 3);
        dw_store_close(store);
    }
}

/* ---- snapshots that are gone ------------------------------------------------------------- */

/* An actor that has added 1 twice: a full snapshot and two deltas, which weigh as much. */
static actor_name with_deltas(actor_fixture *fixture)
{
    actor_name a;
    fresh_folder();
    dw_store *store = opened(fixture);
    assert_int_equal(spawn(store, fixture->module, &a), DW_OK);
    for (int i = 0; i < 2; i++) {
        (void)told(store, a.id, "+1");
    }
    dw_store_close(store);
    assert_true(path_exists("%s/actors/%s/00000003-000000000002.delta.snapshot", folder, a.id));
    return a;
}

static void refused(actor_fixture *fixture, const actor_name *a, const char *missing)
{
    dw_error error = {.message = ""};
    dw_store_info info = {.struct_bytes = sizeof info};
    dw_actor *actor = NULL;
    for (int read_only = 0; read_only < 2; read_only++) {
        dw_store *store = opened_as(fixture, read_only, false);
        assert_int_equal(dw_store_get_info(store, a->id, &info, &error), DW_E_FORMAT);
        assert_non_null(strstr(error.message, missing));
        assert_int_equal(dw_store_thaw(store, a->id, NULL, &actor, NULL, &error), DW_E_FORMAT);
        assert_int_equal(tell(store, a->id, "+1", NULL, &error),
                         read_only ? DW_E_DENIED : DW_E_FORMAT);
        dw_store_close(store);
    }
}

static void test_snapshots_that_are_deleted(void **state_)
{
    static const struct {
        const char *files;
        const char *missing;
        uint32_t count; /* of the state that is left */
    } cases[] = {{"00000003*", "00000003", 1},
                 {"0000000[23]*", "00000002", 0},
                 {"00000002*", "00000002", 0}};
    actor_fixture *fixture = *state_;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        actor_name a = with_deltas(fixture);
        shell("cd '%s/actors/%s' && rm %s", folder, a.id, cases[i].files);
        refused(fixture, &a, cases[i].missing);
        dw_store *store = opened_as(fixture, true, true); /* looking repairs nothing */
        dw_store_info info = {.struct_bytes = sizeof info};
        dw_error error = {.message = ""};
        assert_int_equal(dw_store_get_info(store, a.id, &info, &error), DW_OK);
        assert_int_equal(info.done, cases[i].count);
        dw_store_close(store);
        refused(fixture, &a, cases[i].missing);
        store = opened_as(fixture, false, true);
        assert_int_equal(told(store, a.id, "+1"), cases[i].count + 1);
        dw_store_close(store);
        store = opened(fixture);
        assert_int_equal(told(store, a.id, "+1"), cases[i].count + 2);
        dw_store_close(store);
        account_for_all(folder, (int)i);
    }
}

static void test_full_snapshot_that_is_deleted(void **state_)
{
    actor_fixture *fixture = *state_;
    actor_name a = with_deltas(fixture);
    dw_error error = {.message = ""};
    shell("cd '%s/actors/%s' && rm 00000001*", folder, a.id);
    refused(fixture, &a, "full snapshot");
    dw_store *store = opened_as(fixture, false, true); /* nor can that be helped */
    assert_int_equal(tell(store, a.id, "+1", NULL, &error), DW_E_FORMAT);
    assert_int_equal(dw_store_stop(store, a.id, &error), DW_OK);
    dw_store_close(store);
}

/* ---- lists ------------------------------------------------------------------------------- */

typedef struct info_list {
    dw_store *store;
    char last[DW_ACTOR_ID_CHARS + 1];
    size_t page;
    size_t count;
    size_t problems;
} info_list;

/* By itself an actor is as it is in the list. */
static void take_info(void *user, const char *id, const dw_store_info *info,
                      const dw_error *problem)
{
    info_list *list = user;
    dw_store_info own = {.struct_bytes = sizeof own};
    dw_error error = {.message = ""};
    dw_status status = dw_store_get_info(list->store, id, &own, &error);
    assert_true(strcmp(id, list->last) > 0);
    (void)snprintf(list->last, sizeof list->last, "%s", id);
    list->page++;
    list->count++;
    assert_true((info != NULL) == (status == DW_OK));
    if (info != NULL) {
        assert_memory_equal(info, &own, sizeof own);
    } else {
        assert_string_equal(problem->message, error.message);
        list->problems++;
    }
}

static void test_lists_of_actors(void **state_)
{
    enum { ACTORS = 12 };
    actor_fixture *fixture = *state_;
    actor_name a = {.id = ""};
    dw_error error = {.message = ""};
    fresh_folder();
    dw_store *store = opened(fixture);
    for (int i = 0; i < ACTORS; i++) {
        assert_int_equal(spawn(store, fixture->module, &a), DW_OK);
        for (int k = 0; k < i % 3; k++) {
            (void)told(store, a.id, "+1");
        }
    }
    (void)told(store, a.id, "F5");
    shell("cd '%s/actors/%s' && rm $(ls | tail -n 1)", folder, a.id);
    for (size_t max = 1; max < ACTORS + 3; max++) {
        info_list list = {.store = store, .page = max};
        while (list.page > 0) {
            list.page = 0;
            assert_int_equal(dw_store_list_infos(store, list.count > 0 ? list.last : NULL, max,
                                                 take_info, &list, &error),
                             DW_OK);
            assert_true(list.page <= max);
        }
        assert_int_equal(list.count, ACTORS + 1);
        assert_int_equal(list.problems, 1);
    }
    assert_int_equal(dw_store_list_infos(store, "x", 5, take_info, NULL, &error), DW_E_ARG);
    assert_int_equal(dw_store_list_infos(store, NULL, 0, take_info, NULL, &error), DW_E_ARG);
    assert_int_equal(dw_store_list_infos(store, "ffffffffffffffff", 5, take_info, NULL, &error),
                     DW_OK);
    dw_store_close(store);
}

/* ---- looking only --------------------------------------------------------------------------- */

static void test_read_only_changes_nothing(void **state_)
{
    actor_fixture *fixture = *state_;
    actor_name a = with_deltas(fixture);
    dw_error error = {.message = ""};
    dw_store_info info = {.struct_bytes = sizeof info};
    dw_actor *actor = NULL;
    char id[DW_ACTOR_ID_CHARS + 1];
    shell("touch '%s/.tmp-part-1' && cp -r '%s' '%s.before'", folder, folder, folder);
    live();
    dw_store *store = opened_as(fixture, true, false);
    dw_store *second = opened_as(fixture, true, false); /* others may look, too */
    assert_int_equal(dw_store_find(store, a.id, id, &error), DW_OK);
    assert_int_equal(dw_store_get_info(store, a.id, &info, &error), DW_OK);
    assert_int_equal(info.done, 2);
    assert_int_equal(dw_store_thaw(store, a.id, NULL, &actor, NULL, &error), DW_OK);
    assert_int_equal(spawn(store, fixture->module, &(actor_name){.id = ""}), DW_E_DENIED);
    assert_int_equal(dw_store_add(store, actor, id, &error), DW_E_DENIED);
    assert_int_equal(dw_store_fork(store, a.id, id, &error), DW_E_DENIED);
    assert_int_equal(dw_store_freeze(store, a.id, NULL, &error), DW_E_DENIED);
    assert_int_equal(dw_store_run(store, &error), DW_E_DENIED);
    assert_int_equal(dw_store_stop(store, a.id, &error), DW_E_DENIED);
    assert_int_equal(tell(store, a.id, "+1", NULL, &error), DW_E_DENIED);
    dw_actor_destroy(actor);
    assert_int_equal(disk_operations(), 0);
    dw_store *writer = NULL;
    dw_store_options options = {.struct_bytes = sizeof options, .path = folder};
    assert_int_equal(dw_store_open(&writer, fixture->engine, &options, &error), DW_E_BUSY);
    dw_store_close(store);
    dw_store_close(second);
    writer = opened(fixture);
    options.read_only = true;
    assert_int_equal(dw_store_open(&store, fixture->engine, &options, &error), DW_E_BUSY);
    dw_store_close(writer);
    shell("touch '%s/.tmp-part-1' && diff -r '%s' '%s.before' && rm -r '%s.before'", folder, folder,
          folder, folder);
    options.path = "/nonexistent/folder";
    assert_int_equal(dw_store_open(&store, fixture->engine, &options, &error), DW_E_NOT_FOUND);
}

/* ---- all --------------------------------------------------------------------------------- */

static int open_fixture(void **state_)
{
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    (void)snprintf(folder, sizeof folder, "%s/state", root);
    disk_watch(root);
    return actor_fixture_open(state_);
}

static int close_fixture(void **state_)
{
    live();
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    return actor_fixture_close(state_) == 0 && system(command) == 0 ? 0 : 1;
}

static int live_again(void **state_)
{
    (void)state_;
    live();
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, live_again)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(left_overs_of_kills),
        TEST(left_overs_of_stopped_trees),
        TEST(left_overs_cost_only_themselves),
        TEST(left_overs_are_no_modules_in_use),
        TEST(numbers_near_borders),
        TEST(numbers_end),
        TEST(snapshots_that_are_deleted),
        TEST(full_snapshot_that_is_deleted),
        TEST(lists_of_actors),
        TEST(read_only_changes_nothing),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("store left-overs", tests, open_fixture, close_fixture);
}
