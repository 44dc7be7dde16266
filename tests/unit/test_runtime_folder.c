/* A runtime with a path: actors live in a state folder, and what they did is there when the folder
 * is opened again. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime/runtime_internal.h"
#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

static char folder[] = "/tmp/dw-runtime-XXXXXX";

static void clean(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void open_folder(runtime_fixture *f)
{
    f->path = folder;
    runtime_open(f);
}

/* Nothing of it stays in memory. */
static void open_again(runtime_fixture *f)
{
    dw_durability durability = f->durability;
    uint32_t seconds = f->durability_s;
    runtime_close(f);
    f->durability = durability;
    f->durability_s = seconds;
    open_folder(f);
}

static void close_folder(runtime_fixture *f)
{
    runtime_close(f);
    f->path = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    f->durability_s = 0;
    clean();
}

static dw_runtime_stats stats_of(runtime_fixture *f)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    return stats;
}

static void take_first_aside(void *user, const dw_runtime_message *message)
{
    uint64_t *number = user;
    *number = message->set_aside && *number == 0 ? message->number : *number;
}

static uint64_t first_aside(runtime_fixture *f, const runtime_id *id)
{
    dw_error error;
    uint64_t number = 0;
    assert_int_equal(dw_runtime_list_mail(f->runtime, id->text, take_first_aside, &number, &error),
                     DW_OK);
    return number;
}

static void test_folder_answers_go_on(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    runtime_id ids[8];
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->echo, NULL);
    assert_int_equal(runtime_told(f, &a, "+5"), 5);
    assert_int_equal(runtime_tell(f, &a, "?", &answer, &error), DW_E_ARG);
    open_again(f);
    runtime_await(f);
    assert_int_equal(stats_of(f).actors, 2);
    assert_int_equal(stats_of(f).resident, 0); /* nobody talked to them */
    assert_false(runtime_info(f, &a).resident);
    assert_int_equal(runtime_ids(f, ids, 8), 2);
    assert_int_equal(runtime_told(f, &a, "+2"), 7);
    assert_true(runtime_info(f, &a).resident);
    assert_int_equal(stats_of(f).resident, 1);
    assert_int_equal(runtime_tell(f, &b, "hello", &answer, &error), DW_OK);
    assert_string_equal((char *)answer.bytes, "hello");
    assert_int_equal(dw_runtime_stop(f->runtime, b.text, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &b, "hello", &answer, &error), DW_E_NOT_FOUND);
    open_again(f);
    assert_int_equal(runtime_ids(f, ids, 8), 1);
    assert_int_equal(runtime_tell(f, &b, "hello", &answer, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_stop(f->runtime, a.text, &error), DW_OK); /* dormant */
    assert_int_equal(runtime_ids(f, ids, 8), 0);
    assert_int_equal(stats_of(f).actors, 0);
    close_folder(f);
}

static void test_folder_effects(void **state)
{
    runtime_fixture *f = *state;
    char text[32];
    char problem[256];
    runtime_id ids[8];
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    (void)runtime_told(f, &a, text);
    (void)runtime_told(f, &a, "D+3");
    runtime_await(f);
    assert_int_equal(runtime_told(f, &b, "+0"), 3);
    open_again(f);
    (void)runtime_told(f, &a, "D+4"); /* to one that is not in memory */
    runtime_await(f);
    open_again(f);
    assert_int_equal(runtime_told(f, &b, "+0"), 7);
    (void)runtime_told(f, &a, "A+10"); /* by a timer */
    runtime_await(f);
    assert_int_equal(runtime_told(f, &a, "+0"), 10);
    (void)runtime_told(f, &a, "G+5"); /* a fork */
    (void)runtime_told(f, &a, "Uhostile");
    runtime_await(f);
    assert_int_equal(runtime_ids(f, ids, 8), 4);
    open_again(f);
    assert_int_equal(runtime_ids(f, ids, 8), 4);
    unsigned forked = 0;
    unsigned spawned = 0;
    for (size_t i = 0; i < 4; i++) {
        dw_runtime_actor_info info = runtime_info(f, &ids[i]);
        if (strcmp(info.parent, a.text) == 0) {
            uint32_t counter = runtime_told(f, &ids[i], "+0");
            forked += counter == 15;
            spawned += counter == 1;
            assert_int_equal(info.depth, 1);
        }
    }
    assert_int_equal(forked, 1);
    assert_int_equal(spawned, 1);
    assert_int_equal(runtime_problems(f, problem), 0);
    uint64_t count = 0;
    assert_int_equal(dw_runtime_stop_tree(f->runtime, a.text, &count, NULL), DW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(runtime_ids(f, ids, 8), 1);
    assert_int_equal(dw_runtime_stop_all(f->runtime, &count, NULL), DW_OK);
    assert_int_equal(count, 1);
    close_folder(f);
}

static void test_folder_failures(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char text[32];
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &a, "+5"), 5);
    assert_int_equal(runtime_tell(f, &a, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &a, "+1"), 6); /* what it was before, not what it was first */
    (void)snprintf(text, sizeof text, "I%s", a.text);
    (void)runtime_told(f, &b, text);
    (void)runtime_told(f, &b, "D!");
    runtime_await(f);
    assert_int_equal(runtime_info(f, &a).set_aside, 1);
    assert_int_equal(runtime_told(f, &a, "+1"), 7);
    open_again(f);
    assert_int_equal(runtime_info(f, &a).set_aside, 1);
    uint64_t count = 0;
    assert_int_equal(dw_runtime_retry_mail(f->runtime, a.text, DW_MAIL_ALL, &count, &error), DW_OK);
    assert_int_equal(count, 1);
    runtime_await(f);
    assert_int_equal(runtime_info(f, &a).set_aside, 1);
    assert_int_equal(dw_runtime_drop_mail(f->runtime, a.text, DW_MAIL_ALL, &count, &error), DW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(runtime_info(f, &a).set_aside, 0);
    (void)runtime_told(f, &a, "A!"); /* inside of it: also that is given up */
    while (runtime_info(f, &a).set_aside == 0) {
        (void)usleep(1000);
    }
    assert_int_equal(runtime_told(f, &a, "+1"), 8);
    open_again(f);
    assert_int_equal(runtime_told(f, &a, "+1"), 9);
    close_folder(f);
}

/* ---- what happens between two steps of a call ------------------------------------------------ */

static dw__keeper kept; /* as it is in earnest, but for what a test puts in its place */
static dw__keeper well;
static runtime_fixture *intruded;
static runtime_id of;

static void intrude(runtime_fixture *f, const runtime_id *id)
{
    intruded = f;
    of = *id;
    well = kept = *f->runtime->keeper;
}

static void intrude_now(runtime_fixture *f)
{
    dw__enter(f->runtime);
    f->runtime->keeper = &kept;
    dw__leave(f->runtime, false);
}

/* The actor comes into memory, and does all that waits for it. */
static void come_in(void)
{
    (void)runtime_told(intruded, &of, "+0");
    runtime_await(intruded);
}

static dw_status retry_and_come_in(void *user, const char *id, uint64_t number, uint64_t *fresh,
                                   dw_error *err)
{
    dw_status status = well.retry(user, id, number, fresh, err);
    come_in();
    return status;
}

static dw_status drop_and_come_in(void *user, const char *id, uint64_t number, dw_error *err)
{
    dw_status status = well.drop_aside(user, id, number, err);
    come_in();
    return status;
}

/* An actor that is read while a message of it that was set aside is tried again, or dropped: what
 * is told of it is what there is. */
static void test_folder_read_meanwhile(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char text[32];
    uint64_t count = 0;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", a.text);
    (void)runtime_told(f, &b, text);
    (void)runtime_told(f, &b, "D!");
    (void)runtime_told(f, &b, "D!");
    runtime_await(f);
    assert_int_equal(runtime_info(f, &a).set_aside, 2);
    for (int drops = 0; drops < 2; drops++) {
        open_again(f);
        intrude(f, &a);
        if (drops) {
            kept.drop_aside = drop_and_come_in;
        } else {
            kept.retry = retry_and_come_in;
        }
        intrude_now(f);
        assert_int_equal((drops ? dw_runtime_drop_mail : dw_runtime_retry_mail)(
                             f->runtime, a.text, first_aside(f, &a), &count, &error),
                         DW_OK);
        runtime_await(f);
        assert_int_equal(runtime_info(f, &a).set_aside, drops ? 1 : 2);
    }
    open_again(f);
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    assert_int_equal(runtime_info(f, &a).set_aside, 1);
    close_folder(f);
}

static atomic_bool sets_aside;
static runtime_id sender;

/* Another is set aside between what is read and its use. */
static dw_status look_and_set_aside(void *user, const char *id, dw_actor_row *row, dw_error *err)
{
    dw_status status = well.look(user, id, row, err);
    if (strcmp(id, of.text) == 0 && atomic_exchange(&sets_aside, false)) {
        (void)runtime_told(intruded, &sender, "D!");
        runtime_await(intruded);
    }
    return status;
}

static dw_status drop_and_set_aside(void *user, const char *id, uint64_t number, dw_error *err)
{
    dw_status status = drop_and_come_in(user, id, number, err);
    sets_aside = true;
    return status;
}

static void test_folder_set_aside_meanwhile(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char text[32];
    uint64_t count = 0;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    sender = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", a.text);
    (void)runtime_told(f, &sender, text);
    (void)runtime_told(f, &sender, "D!");
    (void)runtime_told(f, &sender, "D!");
    runtime_await(f);
    open_again(f);
    intrude(f, &a);
    kept.drop_aside = drop_and_set_aside;
    kept.look = look_and_set_aside;
    intrude_now(f);
    assert_int_equal(dw_runtime_drop_mail(f->runtime, a.text, first_aside(f, &a), &count, &error),
                     DW_OK);
    runtime_await(f);
    assert_false(sets_aside);
    assert_int_equal(runtime_info(f, &a).set_aside, 2);
    close_folder(f);
}

static dw_status cancelled_as;
static uint64_t to_cancel;
static char cancelled_why[248];

static dw_status cancel_and_freeze(void *user, dw__turn *turn, void *body, dw_error *err)
{
    dw_error error = {.message = ""};
    cancelled_as = dw_runtime_cancel(intruded->runtime, of.text, to_cancel, &error);
    (void)snprintf(cancelled_why, sizeof cancelled_why, "%s", error.message);
    return well.freeze(user, turn, body, err);
}

/* A message that is done counts, whatever is asked while that is being written. */
static void test_folder_cancel_while_it_is_written(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_await(f);
    intrude(f, &a);
    kept.freeze = cancel_and_freeze;
    to_cancel = 1;
    intrude_now(f);
    assert_int_equal(runtime_tell(f, &a, "+5", &answer, &error), DW_OK);
    assert_int_equal(cancelled_as, DW_E_STATE);
    assert_non_null(strstr(cancelled_why, "message 1 of actor"));
    assert_non_null(strstr(cancelled_why, "is being written"));
    assert_int_equal(dw_runtime_cancel(f->runtime, a.text, 1, &error), DW_E_NOT_FOUND);
    to_cancel = 1; /* it has ended: another is being written */
    assert_int_equal(runtime_tell(f, &a, "+2", &answer, &error), DW_OK);
    assert_int_equal(cancelled_as, DW_E_NOT_FOUND);
    close_folder(f);
}

/* What was done in memory alone is done again where the actor goes back to what was written, unless
 * that was what was asked for. */
static void test_folder_does_again(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    f->durability = DW_DURABLE_PARK;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &a, "+5"), 5);
    assert_int_equal(runtime_tell(f, &a, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_told(f, &a, "+1"), 6);
    assert_int_equal(dw_runtime_freeze(f->runtime, a.text, NULL, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+3"), 9);
    assert_int_equal(dw_runtime_rewind(f->runtime, a.text, 0, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+0"), 6);
    open_again(f);
    assert_int_equal(runtime_told(f, &a, "+0"), 6);
    close_folder(f);
}

/* Without a file for each message: it is written when it must be, and what is not is done again. */
static void test_folder_durability(void **state)
{
    runtime_fixture *f = *state;
    char text[32];
    f->durability = DW_DURABLE_PARK;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_info(f, &a).durability, DW_DURABLE_PARK);
    uint64_t freezes = stats_of(f).freezes;
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(runtime_told(f, &a, "+1"), i);
    }
    assert_int_equal(stats_of(f).freezes, freezes);
    assert_int_equal(runtime_info(f, &a).waiting, 0);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    (void)runtime_told(f, &a, text);
    (void)runtime_told(f, &a, "D+3"); /* what is asked for is written at once, with all before */
    runtime_await(f);
    assert_int_equal(stats_of(f).freezes, freezes + 1);
    open_again(f); /* b was not written before */
    assert_int_equal(runtime_told(f, &a, "+0"), 20);
    assert_int_equal(runtime_told(f, &b, "+0"), 3);
    close_folder(f);
    f->durability = DW_DURABLE_SECONDS;
    f->durability_s = 1;
    open_folder(f);
    a = runtime_spawned(f, f->hostile, NULL);
    freezes = stats_of(f).freezes;
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    assert_int_equal(runtime_told(f, &a, "+1"), 2);
    assert_int_equal(stats_of(f).freezes, freezes);
    assert_int_equal(runtime_info(f, &a).durability_s, 1);
    while (stats_of(f).freezes == freezes) {
        (void)usleep(10000);
    }
    assert_int_equal(stats_of(f).freezes, freezes + 1);
    /* No more messages than may wait are done in memory alone. */
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .mail = 8};
    dw_limits limits = f->limits;
    runtime_close(f);
    f->limits = limits;
    f->durability = DW_DURABLE_PARK;
    f->durability_s = 0;
    open_folder(f);
    freezes = stats_of(f).freezes;
    for (uint32_t i = 1; i <= 20; i++) {
        assert_int_equal(runtime_told(f, &a, "+1"), 2 + i);
    }
    assert_in_range(stats_of(f).freezes, freezes + 2, freezes + 3);
    close_folder(f);
}

/* ---- what is drawn, after a failure ---------------------------------------------------------- */

/* What it drew for the message, which ends so. */
static void drawn(runtime_fixture *f, const runtime_id *id, const char *text, dw_status status,
                  char to[33])
{
    runtime_answer answer;
    dw_error error;
    assert_int_equal(runtime_tell(f, id, text, &answer, &error), status);
    assert_int_equal(sscanf((const char *)answer.bytes, "%*s %32s", to), 1);
    assert_int_equal(strlen(to), 32);
}

/* An actor that told what it drew and broke off draws other numbers for whoever comes next, in this
 * process and in the next; what it had done before, in memory alone, is done again as it was. */
static void test_folder_draws_others_after_a_failure(void **state)
{
    runtime_fixture *f = *state;
    dw_module *chance = actor_module(f->actors, "actor_chance.wasm");
    static const dw_durability durabilities[] = {DW_DURABLE_EACH, DW_DURABLE_PARK};
    for (size_t i = 0; i < 2; i++) {
        char seen[7][33];
        f->durability = durabilities[i];
        open_folder(f);
        runtime_id a = runtime_spawned(f, chance, NULL);
        drawn(f, &a, "x", DW_E_TRAP, seen[0]);
        drawn(f, &a, "x", DW_E_TRAP, seen[1]);
        drawn(f, &a, "l", DW_OK, seen[2]);
        drawn(f, &a, "x", DW_E_TRAP, seen[3]);
        drawn(f, &a, "q", DW_OK, seen[6]); /* what it kept */
        assert_string_equal(seen[6], seen[2]);
        drawn(f, &a, "l", DW_OK, seen[4]);
        drawn(f, &a, "x", DW_E_TRAP, seen[5]);
        runtime_await(f);
        open_again(f);
        drawn(f, &a, "q", DW_OK, seen[6]);
        assert_string_equal(seen[6], seen[4]);
        drawn(f, &a, "l", DW_OK, seen[6]);
        for (size_t k = 0; k < 7; k++) {
            for (size_t n = k + 1; n < 7; n++) {
                assert_string_not_equal(seen[k], seen[n]);
            }
        }
        close_folder(f);
    }
    dw_module_unref(chance);
}

/* ---- timers beside mail ---------------------------------------------------------------------- */

/* A timer rings between messages, also where the time at which timers rang before is a former. */
static void test_folder_timers_ring_amid_mail(void **state)
{
    runtime_fixture *f = *state;
    dw_module *chance = actor_module(f->actors, "actor_chance.wasm");
    runtime_answer answers[40];
    dw_error error;
    char first[16] = "";
    open_folder(f);
    runtime_id a = runtime_spawned(f, chance, NULL);
    assert_int_equal(runtime_tell(f, &a, "q", &answers[0], &error), DW_OK);
    dw__enter(f->runtime);
    uint64_t id = 0;
    assert_true(dw__id_parse(a.text, &id));
    dw__find(f->runtime, id)->tried_ms = 1;
    dw__leave(f->runtime, false);
    for (size_t i = 0; i < 40; i++) {
        const char *text = i == 0   ? "s30"
                           : i == 1 ? "t0 r"
                           : i == 2 ? "S100 3600000" /* while it sleeps, that is due */
                                    : "q";
        const dw_request request = {.struct_bytes = sizeof request,
                                    .message = text,
                                    .message_bytes = strlen(text),
                                    .on_answer = runtime_keep,
                                    .user = &answers[i]};
        answers[i].count = 0;
        assert_int_equal(dw_runtime_send(f->runtime, a.text, &request, NULL, &error), DW_OK);
    }
    runtime_await(f);
    (void)snprintf(first, sizeof first, "%.15s", (const char *)answers[0].bytes);
    assert_string_not_equal(first, "100");
    assert_memory_equal(answers[39].bytes, "100", 3); /* what the timer brought */
    close_folder(f);
    dw_module_unref(chance);
}

/* ---- children that come to nothing ----------------------------------------------------------- */

static void (*destroy_in_earnest)(void *user, void *body);
static dw_status (*commit_in_earnest)(void *user, dw__turn *turn, dw_error *err);
static atomic_bool disk_fails;

/* Nothing of it: who is buried has no body. */
static void destroy_slowly(void *user, void *body)
{
    if (body == NULL) {
        (void)usleep(300000);
    }
    destroy_in_earnest(user, body);
}

static dw_status commit_on_worker(void *user, dw__turn *turn, dw_error *err)
{
    return disk_fails ? dw_fail(err, DW_E_BUSY, "the journal has no room")
                      : commit_in_earnest(user, turn, err);
}

static dw_status fail_to_commit(void *user, dw__turn *turn, dw_error *err)
{
    if (disk_fails && turn->has_message) {
        return dw_fail(err, DW_E_IO, "the disk fails");
    }
    return well.commit_waiting(user, turn, err);
}

/* A message whose turn could not be committed is sent again: its child has the same id, also while
 * the first one is on its way out. */
static void test_folder_unmade_children_free_their_ids(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    char problem[256];
    dw_error error;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    intrude(f, &a);
    commit_in_earnest = well.commit;
    kept.commit = commit_on_worker;
    kept.commit_waiting = fail_to_commit;
    intrude_now(f);
    dw__enter(f->runtime);
    destroy_in_earnest = f->runtime->platform.destroy;
    f->runtime->platform.destroy = destroy_slowly;
    dw__leave(f->runtime, false);
    disk_fails = true;
    assert_int_equal(runtime_tell(f, &a, "G+7", &answer, &error), DW_E_IO);
    disk_fails = false;
    assert_int_equal(runtime_tell(f, &a, "G+7", &answer, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(runtime_ids(f, (runtime_id[8]){{""}}, 8), 2);
    (void)runtime_problems(f, problem);
    assert_null(strstr(problem, "there is an actor"));
    close_folder(f);
}

/* Freezes are files: they are there when the folder is opened again. */
static void test_folder_freezes(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    uint64_t first = 0;
    uint64_t second = 0;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(dw_runtime_rewind(f->runtime, a.text, 7, &error), DW_E_NOT_FOUND);
    assert_int_equal(runtime_told(f, &a, "+5"), 5);
    assert_int_equal(dw_runtime_freeze(f->runtime, a.text, &first, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+5"), 10);
    assert_int_equal(dw_runtime_freeze(f->runtime, a.text, &second, &error), DW_OK);
    assert_true(second > first && first > 0);
    assert_int_equal(runtime_told(f, &a, "+5"), 15);
    open_again(f);
    assert_int_equal(dw_runtime_rewind(f->runtime, a.text, first, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+1"), 6);
    open_again(f);
    assert_int_equal(runtime_told(f, &a, "+1"), 7);
    assert_int_equal(dw_runtime_rewind(f->runtime, a.text, 0, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+1"), 11);
    for (unsigned i = 0; i < 8; i++) { /* the last 8 are kept */
        assert_int_equal(dw_runtime_freeze(f->runtime, a.text, NULL, &error), DW_OK);
    }
    assert_int_equal(dw_runtime_rewind(f->runtime, a.text, second, &error), DW_E_NOT_FOUND);
    assert_int_equal(runtime_told(f, &a, "+1"), 12);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &b, "+5"), 5);
    assert_int_equal(dw_runtime_rewind(f->runtime, b.text, 0, &error), DW_OK); /* at first */
    assert_int_equal(runtime_told(f, &b, "+1"), 1);
    close_folder(f);
}

static void test_folder_has_one_owner(void **state)
{
    runtime_fixture *f = *state;
    dw_runtime *other = NULL;
    dw_error error;
    open_folder(f);
    dw_runtime_options options = {.struct_bytes = sizeof options, .path = folder};
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_BUSY);
    assert_non_null(strstr(error.message, folder));
    options.read_only = true;
    assert_int_equal(dw_runtime_open(&other, f->actors->engine, &options, &error), DW_E_BUSY);
    close_folder(f);
}

/* More than a page of actors whose timers are due, none of which can be read: each is told of once,
 * and the runtime goes on. */
static void test_folder_timers_of_what_cannot_be_read(void **state)
{
    enum { COUNT = 130 };
    runtime_fixture *f = *state;
    dw_error error;
    char problem[256];
    open_folder(f);
    for (int i = 0; i < COUNT; i++) {
        (void)runtime_spawned(f, f->hostile, NULL);
    }
    runtime_close(f);
    change_journal(folder, "UPDATE actor SET timer_ms = 1 + id %% 7 * (id %% 7)");
    shell("rm '%s'/actors/*/*", folder);
    open_folder(f);
    assert_int_equal(dw_runtime_wait(f->runtime, 60000, &error), DW_OK);
    assert_int_equal(runtime_problems(f, problem), COUNT);
    close_folder(f);
}

static int open_group(void **state)
{
    assert_non_null(mkdtemp(folder));
    clean();
    return runtime_fixture_open(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_folder_timers_of_what_cannot_be_read),
        runtime_test(test_folder_answers_go_on),
        runtime_test(test_folder_effects),
        runtime_test(test_folder_failures),
        runtime_test(test_folder_read_meanwhile),
        runtime_test(test_folder_set_aside_meanwhile),
        runtime_test(test_folder_cancel_while_it_is_written),
        runtime_test(test_folder_does_again),
        runtime_test(test_folder_has_one_owner),
        runtime_test(test_folder_freezes),
        runtime_test(test_folder_durability),
        runtime_test(test_folder_draws_others_after_a_failure),
        runtime_test(test_folder_timers_ring_amid_mail),
        runtime_test(test_folder_unmade_children_free_their_ids),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, runtime_fixture_close);
}
