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

#include "base/alloc.h"
#include "failing_disk.h"
#include "runtime/folder.h"
#include "runtime_fixture.h"
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

/* ---- a runtime --------------------------------------------------------------------------- */

static void opened_as(runtime_fixture *f, bool read_only, bool accept_older)
{
    f->path = folder;
    f->works_on_request = true;
    f->read_only = read_only;
    f->accept_older = accept_older;
    runtime_open(f);
}

static void opened(runtime_fixture *f)
{
    opened_as(f, false, false);
}

static dw_status spawn(runtime_fixture *f, dw_module *module, runtime_id *name)
{
    dw_error error;
    const dw_spawn_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    name->text[0] = '\0';
    return dw_runtime_spawn(f->runtime, module, &options, name->text, &error);
}

static dw_status tell(runtime_fixture *f, const char *id, const char *text, dw_error *error)
{
    runtime_answer answer;
    return request_tell(f, id, text, &answer, error);
}

static uint32_t told(runtime_fixture *f, const char *id, const char *text)
{
    return request_told(f, id, text);
}

/* ---- kills --------------------------------------------------------------------------------- */

static void any(dw_status status)
{
    (void)status;
}

/* All that changes a folder; what fails, fails. */
static void work(runtime_fixture *f, dw_module *other)
{
    runtime_id a;
    runtime_id b;
    runtime_id c;
    dw_error error;
    char text[64];
    char child[DW_ACTOR_ID_CHARS + 1];
    (void)spawn(f, f->actors->module, &a);
    (void)spawn(f, f->actors->module, &b);
    (void)tell(f, a.text, "+1", &error);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    (void)tell(f, a.text, text, &error);
    (void)tell(f, a.text, "D+1", &error);
    (void)tell(f, a.text, "D!", &error);
    (void)tell(f, a.text, "N+7", &error);
    (void)tell(f, a.text, "F5", &error);
    (void)tell(f, a.text, "T3", &error);
    any(dw_runtime_work(f->runtime, DW_WORK_ALL,
                        &error)); /* "!" is set aside, tried again, and dropped */
    any(dw_runtime_retry_mail(f->runtime, b.text, DW_MAIL_ALL, NULL, &error));
    (void)tell(f, a.text, "A!", &error); /* a timer's, which is in no file */
    any(dw_runtime_work(f->runtime, DW_WORK_ALL, &error));
    any(dw_runtime_drop_mail(f->runtime, b.text, DW_MAIL_ALL, NULL, &error));
    any(dw_runtime_fork(f->runtime, a.text, child, &error));
    any(dw_runtime_freeze(f->runtime, a.text, NULL, &error));
    (void)tell(f, a.text, "+2", &error);
    (void)spawn(f, other, &c); /* the only one of its module */
    (void)tell(f, c.text, "+2", &error);
    any(dw_runtime_stop(f->runtime, c.text, &error));
    (void)tell(f, a.text, "NX", &error); /* ends at its first message */
    (void)tell(f, b.text, "X", &error);
}

/* At each operation of some kinds, or at every so many of them. */
static void kill_at(runtime_fixture *f, dw_module *other, unsigned kinds, int step)
{
    int all = 0;
    for (int at = -1; at < all; at += at < 0 ? 1 : step) { /* first to see how many there are */
        dw_error error = {.message = ""};
        fresh_folder();
        opened(f);
        live();
        disk_plan_set(&(disk_plan){.kinds = kinds, .after = at < 0 ? UINT64_MAX : (uint64_t)at});
        work(f, other);
        all = at < 0 ? (int)disk_operations() : all;
        runtime_close(f);
        live();
        opened(f);
        account_for_all(folder, at);
        any(dw_runtime_work(f->runtime, DW_WORK_ALL, &error));
        runtime_close(f);
        opened(f);
        account_for_all(folder, at);
        name_list names = listed("%s/actors", folder);
        for (size_t i = 0; i < names.count; i++) {
            if (strlen(names.names[i]) == DW_ACTOR_ID_CHARS) {
                (void)told(f, names.names[i], "+0");
            }
        }
        runtime_close(f);
        account_for_all(folder, at);
    }
    print_message("killed at %d operations\n", all / step);
    assert_true(all > 100);
}

static void test_left_overs_of_kills(void **state_)
{
    runtime_fixture *f = *state_;
    dw_module *other = actor_module(f->actors, "actor_keeper.wasm");
    const int less = getenv("DW_TEST_SHORT") != NULL ? 3 : 1;
    kill_at(f, other, DISK_NAMES | DISK_SYNC, emulated() ? 40 : less);
    kill_at(f, other, DISK_ALL, emulated() ? 200 : 13 * less);
    dw_module_unref(other);
}

static size_t actors_seen(runtime_fixture *f, const char *id, bool *seen)
{
    runtime_id ids[ACTORS_MAX];
    size_t count = runtime_ids(f, ids, ACTORS_MAX);
    *seen = false;
    for (size_t i = 0; i < count; i++) {
        *seen = *seen || strcmp(ids[i].text, id) == 0;
    }
    return count;
}

/* A tree that is stopped is there whole or not at all, wherever the process is killed, and whatever
 * fails: for those that only look, and for the next that works. */
static void test_left_overs_of_stopped_trees(void **state_)
{
    enum { TREE = 4 };
    runtime_fixture *f = *state_;
    int before = 0;
    int after = 0;
    bool killed = true;
    for (int at = 0; killed; at++) {
        runtime_id a;
        runtime_id b;
        dw_error error = {.message = ""};
        bool seen = false;
        fresh_folder();
        opened(f);
        assert_int_equal(spawn(f, f->actors->module, &a), DW_OK);
        assert_int_equal(spawn(f, f->actors->module, &b), DW_OK);
        for (int i = 1; i < TREE; i++) {
            (void)told(f, a.text, "F5");
        }
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = (uint64_t)at});
        dw_status status = at % 2 == 0 ? dw_runtime_stop_tree(f->runtime, a.text, NULL, &error)
                                       : dw_runtime_stop_all(f->runtime, NULL, &error);
        killed = disk_failed() > 0;
        live();
        size_t left = at % 2 == 0 ? 1 : 0;
        size_t count = actors_seen(f, a.text, &seen);
        if (count != (seen ? 1 + TREE : left) || (seen && status == DW_OK)) {
            fail_msg("operation %d: %zu actors are there", at, count);
        }
        before += seen;
        after += !seen;
        runtime_close(f);
        bool still = false;
        opened_as(f, true, false);
        assert_int_equal(actors_seen(f, a.text, &still), count);
        assert_int_equal(still, seen);
        runtime_close(f);
        opened(f);
        account_for_all(folder, at);
        assert_int_equal(actors_seen(f, a.text, &still), count);
        if (left == 1 || seen) {
            assert_int_equal(told(f, b.text, "+3"), 3);
        }
        runtime_close(f);
    }
    print_message("killed while stopping: %d times all are there, %d times none\n", before, after);
    assert_true(before > 1 && after > 10);
}

/* Opening costs what was left, not what is well. */
static void test_left_overs_cost_only_themselves(void **state_)
{
    runtime_fixture *f = *state_;
    int opened_with[2];
    int count = 1;
    fresh_folder();
    opened(f);
    for (int round = 0; round < 2; round++) {
        for (; count <= (round == 0 ? 2 : 30); count++) {
            runtime_id name;
            assert_int_equal(spawn(f, f->actors->module, &name), DW_OK);
            (void)told(f, name.text, "+1");
        }
        runtime_close(f);
        shell("head -c 100000 /dev/zero >%s/.tmp-part-7", folder);
        live();
        opened(f);
        opened_with[round] = (int)disk_opened();
        assert_false(path_exists("%s/.tmp-part-7", folder));
    }
    runtime_close(f);
    assert_int_equal(opened_with[0], opened_with[1]);
}

/* A module goes with its last user, and comes again. */
static void test_left_overs_are_no_modules_in_use(void **state_)
{
    runtime_fixture *f = *state_;
    runtime_id actors[3];
    dw_error error;
    fresh_folder();
    opened(f);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(spawn(f, f->actors->module, &actors[i]), DW_OK);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(dw_runtime_stop(f->runtime, actors[i].text, &error), DW_OK);
        }
        runtime_close(f);
        opened(f);
        account_for_all(folder, round);
        assert_int_equal(told(f, actors[2].text, "+3"), 3);
        assert_int_equal(dw_runtime_stop(f->runtime, actors[2].text, &error), DW_OK);
        assert_int_equal(listed("%s/modules", folder).count, 0);
    }
    runtime_close(f);
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
    runtime_fixture *f = *state_;
    for (size_t i = 0; i < sizeof borders / sizeof borders[0]; i++) {
        runtime_id a;
        runtime_id b;
        char text[64];
        dw_error error;
        dw_runtime_actor_info info = {.struct_bytes = sizeof info};
        fresh_folder();
        opened(f);
        assert_int_equal(spawn(f, f->actors->module, &a), DW_OK);
        assert_int_equal(spawn(f, f->actors->module, &b), DW_OK);
        runtime_close(f);
        move_to(a.text, borders[i] - 2, borders[i] - 3);
        move_to(b.text, borders[i] - 3, borders[i] - 1);
        opened(f);
        for (uint32_t n = 1; n <= 5; n++) { /* with an opening between */
            if (told(f, a.text, "+1") != n) {
                fail_msg("border %" PRIu64 ": message %u was lost", borders[i], n);
            }
            runtime_close(f);
            opened(f);
        }
        assert_int_equal(dw_runtime_get_actor_info(f->runtime, a.text, &info, &error), DW_OK);
        assert_true(info.snapshot_done == borders[i] - 3 + 5 && info.waiting == 0);
        (void)snprintf(text, sizeof text, "I%s", b.text);
        (void)told(f, a.text, text);
        (void)told(f, a.text, "D+1"); /* messages and effects over the border */
        (void)told(f, a.text, "D+1");
        assert_int_equal(told(f, b.text, "+0"), 2);
        runtime_close(f);
        account_for_all(folder, (int)i);
    }
}

/* Behind the last number there is none: refused, and the actor stays as it is. */
static void test_numbers_end(void **state_)
{
    runtime_fixture *f = *state_;
    for (int which = 0; which < 2; which++) {
        runtime_id a;
        dw_error error;
        fresh_folder();
        opened(f);
        assert_int_equal(spawn(f, f->actors->module, &a), DW_OK);
        runtime_close(f);
        move_to(a.text, which == 0 ? UINT64_MAX - 2 : 5, which == 0 ? 5 : UINT64_MAX - 2);
        opened(f);
        assert_int_equal(told(f, a.text, "+1"), 1);
        assert_int_equal(told(f, a.text, "+1"), 2);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tell(f, a.text, "+1", &error), DW_E_LIMIT);
            assert_non_null(strstr(error.message, "18446744073709551615"));
            runtime_close(f);
            opened(f);
        }
        char child[DW_ACTOR_ID_CHARS + 1];
        assert_int_equal(dw_runtime_fork(f->runtime, a.text, child, &error), DW_OK);
        assert_int_equal(told(f, child, "+1"), 3);
        runtime_close(f);
    }
}

/* ---- snapshots that are gone ------------------------------------------------------------- */

/* An actor that has added 1 twice: a full snapshot and two deltas, in files of their own or in
 * one. */
static runtime_id with_deltas(runtime_fixture *f)
{
    runtime_id a;
    fresh_folder();
    opened(f);
    assert_int_equal(spawn(f, f->actors->module, &a), DW_OK);
    for (int i = 0; i < 2; i++) {
        (void)told(f, a.text, "+1");
    }
    runtime_close(f);
    assert_true(path_exists("%s/actors/%s/0000000%d.series", folder, a.text,
                            dw__series_snapshots == 1 ? 3 : 2));
    return a;
}

static void refused(runtime_fixture *f, const runtime_id *a, const char *missing)
{
    dw_error error = {.message = ""};
    dw_actor *actor = NULL;
    for (int read_only = 0; read_only < 2; read_only++) {
        opened_as(f, read_only, false);
        assert_int_equal(runtime_info(f, a).snapshot_count, 0);
        assert_int_equal(runtime_copy(f, a->text, &actor, &error), DW_E_FORMAT);
        assert_non_null(strstr(error.message, missing));
        assert_int_equal(tell(f, a->text, "+1", &error), read_only ? DW_E_DENIED : DW_E_FORMAT);
        runtime_close(f);
    }
}

static void test_snapshots_that_are_deleted(void **state_)
{
    static const struct {
        const char *files;
        const char *missing;
        uint32_t count; /* of the state that is left */
        bool together;
    } cases[] = {{"00000003*", "00000003", 1, false},
                 {"0000000[23]*", "00000002", 0, false},
                 {"00000002*", "00000002", 0, false},
                 {"00000002*", "00000002", 0, true}};
    runtime_fixture *f = *state_;
    const uint32_t usual = dw__series_snapshots;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw__series_snapshots = cases[i].together ? usual : 1;
        runtime_id a = with_deltas(f);
        shell("cd '%s/actors/%s' && rm %s", folder, a.text, cases[i].files);
        refused(f, &a, cases[i].missing);
        opened_as(f, true, true); /* looking repairs nothing */
        dw_runtime_actor_info info = {.struct_bytes = sizeof info};
        dw_error error = {.message = ""};
        assert_int_equal(dw_runtime_get_actor_info(f->runtime, a.text, &info, &error), DW_OK);
        assert_int_equal(info.snapshot_done, cases[i].count);
        runtime_close(f);
        refused(f, &a, cases[i].missing);
        opened_as(f, false, true);
        assert_int_equal(told(f, a.text, "+1"), cases[i].count + 1);
        runtime_close(f);
        opened(f);
        assert_int_equal(told(f, a.text, "+1"), cases[i].count + 2);
        runtime_close(f);
        account_for_all(folder, (int)i);
    }
    dw__series_snapshots = usual;
}

static void test_full_snapshot_that_is_deleted(void **state_)
{
    runtime_fixture *f = *state_;
    runtime_id a = with_deltas(f);
    dw_error error = {.message = ""};
    shell("cd '%s/actors/%s' && rm 00000001*", folder, a.text);
    refused(f, &a, "full snapshot");
    opened_as(f, false, true); /* nor can that be helped */
    assert_int_equal(tell(f, a.text, "+1", &error), DW_E_FORMAT);
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK);
    runtime_close(f);
}

/* ---- lists ------------------------------------------------------------------------------- */

typedef struct info_list {
    runtime_fixture *f;
    char last[DW_ACTOR_ID_CHARS + 1];
    size_t page;
    size_t count;
    size_t problems;
} info_list;

/* By itself an actor is as it is in the list. */
static void take_info(void *user, const char *id, const dw_runtime_actor_info *info,
                      const dw_error *problem)
{
    info_list *list = user;
    dw_runtime_actor_info own = {.struct_bytes = sizeof own};
    dw_error error = {.message = ""};
    assert_int_equal(dw_runtime_get_actor_info(list->f->runtime, id, &own, &error), DW_OK);
    assert_true(strcmp(id, list->last) > 0);
    (void)snprintf(list->last, sizeof list->last, "%s", id);
    list->page++;
    list->count++;
    own.idle_ns = info->idle_ns; /* which goes on */
    assert_memory_equal(info, &own, sizeof own);
    assert_true((problem == NULL) == (info->snapshot_count > 0));
    if (problem != NULL) {
        assert_int_equal(problem->code, DW_E_FORMAT);
        list->problems++;
    }
}

static void test_lists_of_actors(void **state_)
{
    enum { ACTORS = 12 };
    runtime_fixture *f = *state_;
    runtime_id a = {.text = ""};
    dw_error error = {.message = ""};
    fresh_folder();
    opened(f);
    for (int i = 0; i < ACTORS; i++) {
        assert_int_equal(spawn(f, f->actors->module, &a), DW_OK);
        for (int k = 0; k < i % 3; k++) {
            (void)told(f, a.text, "+1");
        }
    }
    (void)told(f, a.text, "F5");
    shell("cd '%s/actors/%s' && rm $(ls | tail -n 1)", folder, a.text);
    for (size_t max = 1; max < ACTORS + 3; max++) {
        info_list list = {.f = f, .page = max};
        while (list.page > 0) {
            list.page = 0;
            assert_int_equal(dw_runtime_list_infos(f->runtime, list.count > 0 ? list.last : NULL,
                                                   max, take_info, &list, &error),
                             DW_OK);
            assert_true(list.page <= max);
        }
        assert_int_equal(list.count, ACTORS + 1);
        assert_int_equal(list.problems, 1);
    }
    assert_int_equal(dw_runtime_list_infos(f->runtime, "x", 5, take_info, NULL, &error), DW_E_ARG);
    assert_int_equal(dw_runtime_list_infos(f->runtime, NULL, 0, take_info, NULL, &error),
                     DW_E_RANGE);
    assert_int_equal(
        dw_runtime_list_infos(f->runtime, "ffffffffffffffff", 5, take_info, NULL, &error), DW_OK);
    runtime_close(f);
}

/* ---- looking only --------------------------------------------------------------------------- */

static void assert_denied(runtime_fixture *f, const runtime_id *a)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    dw_runtime *runtime = f->runtime;
    const dw_trace_options trace = {.struct_bytes = sizeof trace, .fd = STDERR_FILENO};
    assert_int_equal(spawn(f, f->actors->module, &(runtime_id){.text = ""}), DW_E_DENIED);
    assert_int_equal(dw_runtime_fork(runtime, a->text, id, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_freeze(runtime, a->text, NULL, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_rewind(runtime, a->text, 0, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_upgrade(runtime, a->text, f->hostile, NULL, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_park(runtime, a->text, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_export(runtime, a->text, STDERR_FILENO, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_keep_prefixes(runtime, a->text, 0, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_set_pinned(runtime, a->text, true, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_set_priority(runtime, a->text, DW_PRIORITY_HIGH, &error),
                     DW_E_DENIED);
    assert_int_equal(dw_runtime_work(runtime, DW_WORK_ALL, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_stop(runtime, a->text, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_stop_tree(runtime, a->text, NULL, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_stop_all(runtime, NULL, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_drop_mail(runtime, a->text, DW_MAIL_ALL, NULL, &error),
                     DW_E_DENIED);
    assert_int_equal(dw_runtime_retry_mail(runtime, a->text, DW_MAIL_ALL, NULL, &error),
                     DW_E_DENIED);
    assert_int_equal(dw_runtime_trace_begin(runtime, &trace, &error), DW_E_DENIED);
    assert_int_equal(dw_runtime_trace_end(runtime, NULL, &error), DW_E_STATE);
    assert_int_equal(dw_runtime_cancel(runtime, a->text, 1, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_interrupt(runtime, a->text, &error), DW_E_END);
    assert_int_equal(tell(f, a->text, "+1", &error), DW_E_DENIED);
}

static ptrdiff_t ignore(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static void assert_seen(runtime_fixture *f, const runtime_id *a)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    char room[16384];
    uint64_t numbers[8];
    size_t count = 0;
    dw_error error = {.message = ""};
    dw_text_room text = {.items = room, .capacity = sizeof room};
    dw_scheduler_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_find_id(f->runtime, a->text, id, &error), DW_OK);
    assert_int_equal(runtime_info(f, a).snapshot_done, 2);
    assert_int_equal(runtime_info(f, a).snapshot_count, 3);
    assert_int_equal(dw_runtime_describe(f->runtime, a->text, &text, &error), DW_OK);
    assert_int_equal(dw_runtime_overview(f->runtime, NULL, ignore, NULL, &error), DW_OK);
    assert_int_equal(dw_runtime_get_scheduler_stats(f->runtime, &stats), DW_OK);
    assert_int_equal(dw_runtime_list_freezes(f->runtime, a->text, numbers, 8, &count, &error),
                     DW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(dw_runtime_wait(f->runtime, 0, &error), DW_OK);
}

static void test_read_only_changes_nothing(void **state_)
{
    runtime_fixture *f = *state_;
    runtime_id a = with_deltas(f);
    dw_error error = {.message = ""};
    dw_actor *actor = NULL;
    dw_runtime *other = NULL;
    shell("touch '%s/.tmp-part-1' && cp -r '%s' '%s.before'", folder, folder, folder);
    live();
    opened_as(f, true, false);
    dw_runtime *first = f->runtime;
    opened_as(f, true, false); /* others may look, too */
    assert_seen(f, &a);
    assert_int_equal(runtime_copy(f, a.text, &actor, &error), DW_OK);
    assert_denied(f, &a);
    assert_int_equal(disk_operations(), 0);
    dw_runtime_options options = {.struct_bytes = sizeof options, .path = folder};
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_BUSY);
    dw_runtime_close(first);
    runtime_close(f);
    assert_int_equal(dw_actor_waiting(actor), 0); /* which has nothing to do with it */
    dw_actor_destroy(actor);
    opened(f);
    options.read_only = true;
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_BUSY);
    runtime_close(f);
    shell("touch '%s/.tmp-part-1' && diff -r '%s' '%s.before' && rm -r '%s.before'", folder, folder,
          folder, folder);
    options.path = "/nonexistent/folder";
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_NOT_FOUND);
    options.path = NULL;
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_ARG);
}

/* ---- all --------------------------------------------------------------------------------- */

static int open_fixture(void **state_)
{
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    (void)snprintf(folder, sizeof folder, "%s/state", root);
    disk_watch(root);
    return runtime_fixture_open(state_);
}

static int close_fixture(void **state_)
{
    live();
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    return runtime_fixture_close(state_) == 0 && system(command) == 0 ? 0 : 1;
}

static int end_test(void **state_)
{
    live();
    return runtime_test_end(state_);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, end_test)

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
    return cmocka_run_group_tests_name("runtime left-overs", tests, open_fixture, close_fixture);
}
