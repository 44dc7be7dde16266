/* A state folder when something fails: messages that actors break off at, files that cannot be
 * written or removed, no memory. Nothing is worked on for ever, twice or not at all.
 *
 * A process that is killed at a point is one for which all fails from there on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "failing_disk.h"
#include "support.h"

#define PROBLEMS_MAX 8 /* more of one call would never end */

static char folder[] = "/tmp/dw-faults-XXXXXX";

static void fail_from(unsigned kinds, const char *with, uint64_t after)
{
    disk_plan_set(&(disk_plan){.kinds = kinds, .with = with, .after = after, .error = ENOSPC});
}

static void mend(void)
{
    disk_plan_set(NULL);
}

/* ---- a store ----------------------------------------------------------------------------- */

typedef struct problem_log {
    size_t count;
    char last[256];
} problem_log;

static problem_log problems;

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)id;
    (void)snprintf(problems.last, sizeof problems.last, "%s", problem->message);
    if (++problems.count > PROBLEMS_MAX) {
        fail_msg("it goes on and on: %s", problems.last);
    }
}

static dw_store *opened(actor_fixture *fixture)
{
    dw_store *store = NULL;
    dw_error error = {.message = ""};
    dw_store_options options = {
        .struct_bytes = sizeof options, .path = folder, .on_problem = on_problem};
    dw_status status = dw_store_open(&store, fixture->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    problems = (problem_log){.count = 0};
    wasm_signals_restore(); /* guests trap here */
    return store;
}

typedef struct actor_name {
    char id[DW_ACTOR_ID_CHARS + 1];
} actor_name;

static actor_name spawned(actor_fixture *fixture, dw_store *store)
{
    actor_name name;
    dw_error error = {.message = ""};
    dw_actor_options options = {.struct_bytes = sizeof options};
    dw_status status = dw_store_spawn(store, fixture->module, &options, name.id, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return name;
}

typedef struct received_words {
    uint32_t words[8];
    size_t bytes;
} received_words;

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    received_words *answer = user;
    assert_true(count <= sizeof answer->words - answer->bytes);
    memcpy((char *)answer->words + answer->bytes, bytes, count);
    answer->bytes += count;
    return (ptrdiff_t)count;
}

static dw_status tell(dw_store *store, const char *id, const char *text, received_words *answer,
                      dw_error *error)
{
    dw_actor_effect message = {
        .struct_bytes = sizeof message, .message = text, .message_bytes = strlen(text)};
    *answer = (received_words){.bytes = 0};
    *error = (dw_error){.message = ""};
    return dw_store_send(store, id, &message, keep, answer, error);
}

/* One that must end well; the first word of the answer. */
static uint32_t told(dw_store *store, const char *id, const char *text)
{
    received_words answer;
    dw_error error;
    dw_status status = tell(store, id, text, &answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return answer.words[0];
}

static void run(dw_store *store)
{
    dw_error error = {.message = ""};
    dw_status status = dw_store_run(store, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static void stop(dw_store *store, const char *id)
{
    dw_error error = {.message = ""};
    dw_status status = dw_store_stop(store, id, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

/* ---- messages that are broken off at ----------------------------------------------------- */

static void test_faults_timer_that_traps_fires_once(void **state)
{
    actor_fixture *fixture = *state;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    (void)told(store, actor.id, "A!");
    (void)told(store, actor.id, "A+2");
    (void)told(store, actor.id, "A!");
    run(store);
    assert_int_equal(told(store, actor.id, "+40"), 42);
    run(store);
    assert_int_equal(problems.count, 2);
    assert_int_equal(told(store, actor.id, "+0"), 42);
    stop(store, actor.id);
    dw_store_close(store);
}

static void test_faults_mail_that_stays_ends_the_work(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    fail_from(DISK_UNLINK, "/mail/", 0);
    assert_int_equal(tell(store, actor.id, "!", &answer, &error), DW_E_IO);
    assert_int_equal(dw_store_run(store, &error), DW_E_STATE);
    mend();
    run(store);
    assert_int_equal(told(store, actor.id, "+1"), 1);
    stop(store, actor.id);
    dw_store_close(store);
}

/* Whether the actor's mail has a file of a message from outside. */
static bool any_waiting(const char *id)
{
    char command[128];
    (void)snprintf(command, sizeof command, "ls '%s/actors/%s/mail' | grep -q -e '^0'", folder, id);
    return system(command) == 0;
}

/* ---- effects that are carried out twice --------------------------------------------------- */

/* Two actors, the first of which can name the second, and writes no snapshot behind the one with
 * its effects. */
typedef struct pair {
    actor_fixture *fixture;
    dw_store *store;
    actor_name sender;
    actor_name other;
    char sender_path[32];
} pair;

static pair paired(actor_fixture *fixture)
{
    char text[32];
    pair p = {.fixture = fixture, .store = opened(fixture)};
    p.sender = spawned(fixture, p.store);
    p.other = spawned(fixture, p.store);
    (void)snprintf(text, sizeof text, "I%s", p.other.id);
    (void)told(p.store, p.sender.id, text);
    (void)snprintf(p.sender_path, sizeof p.sender_path, "/%s/0", p.sender.id);
    return p;
}

/* The sender's effects are carried out, and it is left as a process killed behind them leaves it;
 * whoever got messages works on them. */
static void ask_and_break_off(pair *p, const char *text, received_words *answer)
{
    dw_error error;
    fail_from(DISK_RENAME, p->sender_path, 1);
    assert_int_equal(tell(p->store, p->sender.id, text, answer, &error), DW_OK);
    dw_store_close(p->store);
    p->store = opened(p->fixture);
    assert_int_equal(dw_store_run(p->store, &error), DW_E_STATE);
    mend();
    problems = (problem_log){.count = 0};
}

static bool any_named(const char *part)
{
    char command[96];
    (void)snprintf(command, sizeof command, "ls -A '%s/actors' | grep -q -e '%s'", folder, part);
    return system(command) == 0;
}

static void done_with(pair *p)
{
    stop(p->store, p->sender.id);
    stop(p->store, p->other.id);
    dw_store_close(p->store);
    p->store = opened(p->fixture);
    assert_false(any_named(".delivered-"));
    dw_store_close(p->store);
}

static void test_faults_messages_are_worked_on_once(void **state)
{
    pair p = paired(*state);
    received_words answer;
    dw_store_info info = {.struct_bytes = sizeof info};
    dw_error error;
    ask_and_break_off(&p, "D+1", &answer);
    assert_int_equal(told(p.store, p.other.id, "+10"), 11);
    run(p.store); /* the sender delivers again */
    assert_int_equal(told(p.store, p.other.id, "+100"), 111);
    assert_int_equal(dw_store_get_info(p.store, p.other.id, &info, &error), DW_OK);
    assert_int_equal(info.waiting, 0);
    (void)told(p.store, p.sender.id, "D+1"); /* another one */
    assert_int_equal(told(p.store, p.other.id, "+0"), 112);
    done_with(&p);
}

static void test_faults_messages_are_broken_off_at_once(void **state)
{
    pair p = paired(*state);
    received_words answer;
    ask_and_break_off(&p, "D!", &answer);
    run(p.store);
    assert_int_equal(problems.count, 0);
    assert_int_equal(told(p.store, p.other.id, "+1"), 1);
    done_with(&p);
}

static void test_faults_ended_actors_are_not_made_again(void **state)
{
    pair p = paired(*state);
    received_words answer;
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    dw_error error;
    ask_and_break_off(&p, "N+7", &answer);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(told(p.store, id, "+0"), 7);
    stop(p.store, id);
    assert_true(any_named(".delivered-"));
    run(p.store);
    assert_int_equal(problems.count, 0);
    char found[DW_ACTOR_ID_CHARS + 1];
    assert_int_equal(dw_store_find(p.store, id, found, &error), DW_E_NOT_FOUND);
    done_with(&p);
}

/* A folder that an earlier program left keeps what that promised, under the names that it used. */
static void test_faults_names_of_earlier_programs(void **state)
{
    pair p = paired(*state);
    received_words answer;
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    char found[DW_ACTOR_ID_CHARS + 1];
    char command[256];
    dw_error error;
    ask_and_break_off(&p, "N+7", &answer);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(told(p.store, id, "+0"), 7);
    stop(p.store, id);
    dw_store_close(p.store);
    (void)snprintf(command, sizeof command,
                   "cd '%s' && touch .passing-verify && cd actors && for f in .delivered-*; do "
                   "mv $f .had-${f#.delivered-}; done",
                   folder);
    assert_int_equal(system(command), 0);
    assert_true(any_named("^.had-"));
    p.store = opened(p.fixture);
    assert_true(any_named("^.delivered-"));
    assert_false(any_named("^.had-"));
    (void)snprintf(command, sizeof command, "test -e '%s/.passing-verify'", folder);
    assert_int_not_equal(system(command), 0);
    run(p.store); /* the sender asks for it again */
    assert_int_equal(problems.count, 0);
    assert_int_equal(dw_store_find(p.store, id, found, &error), DW_E_NOT_FOUND);
    (void)told(p.store, p.sender.id, "+0");
    done_with(&p);
}

/* One whose new name cannot be written is not forgotten. */
static void test_faults_earlier_names_that_stay(void **state)
{
    pair p = paired(*state);
    received_words answer;
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    char command[256];
    dw_error error;
    ask_and_break_off(&p, "N+7", &answer);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(told(p.store, id, "+0"), 7);
    stop(p.store, id);
    dw_store_close(p.store);
    (void)snprintf(command, sizeof command,
                   "cd '%s/actors' && for f in .delivered-*; do mv $f .had-${f#.delivered-}; done",
                   folder);
    assert_int_equal(system(command), 0);
    fail_from(DISK_RENAME, "/.delivered-", 0);
    dw_store_options options = {.struct_bytes = sizeof options, .path = folder};
    assert_int_equal(dw_store_open(&p.store, p.fixture->engine, &options, &error), DW_E_IO);
    assert_null(p.store);
    mend();
    p.store = opened(p.fixture);
    run(p.store);
    assert_int_equal(problems.count, 0);
    done_with(&p);
}

/* ---- names -------------------------------------------------------------------------------- */

/* A name that no snapshot could hold is refused, and the actor goes on. */
static void test_faults_guest_names_are_utf8(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    assert_int_equal(tell(store, actor.id, "U\xff\xfe", &answer, &error), DW_E_ARG);
    assert_non_null(strstr(error.message, "UTF-8"));
    assert_int_equal(problems.count, 0);
    (void)told(store, actor.id, "U\xc3\xa4"); /* a good one that nobody has */
    assert_int_equal(problems.count, 1);
    assert_int_equal(told(store, actor.id, "+1"), 1);
    stop(store, actor.id);
    dw_store_close(store);
}

/* ---- the message that somebody waits for --------------------------------------------------- */

static void test_faults_actor_that_ends_before_a_message(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    char found[DW_ACTOR_ID_CHARS + 1];
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    (void)told(store, actor.id, "AX");
    assert_int_equal(tell(store, actor.id, "+1", &answer, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "ended before"));
    assert_int_equal(answer.bytes, 0);
    assert_int_equal(dw_store_find(store, actor.id, found, &error), DW_E_NOT_FOUND);
    actor = spawned(fixture, store);
    (void)told(store, actor.id, "X"); /* its last one, which it has worked on */
    assert_int_equal(dw_store_find(store, actor.id, found, &error), DW_E_NOT_FOUND);
    dw_store_close(store);
}

static void test_faults_effects_wait_behind_an_answer(void **state)
{
    pair p = paired(*state);
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    received_words answer;
    dw_error error;
    fail_from(DISK_RENAME, p.sender_path, 1);
    assert_int_equal(tell(p.store, p.sender.id, "N+7", &answer, &error), DW_OK);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(problems.count, 1);
    assert_int_equal(told(p.store, id, "+0"), 7);
    /* A message that cannot be worked on, though, is gone. */
    assert_int_equal(tell(p.store, p.sender.id, "+1", &answer, &error), DW_E_IO);
    mend();
    run(p.store);
    assert_int_equal(told(p.store, p.sender.id, "+0"), 0);
    assert_int_equal(told(p.store, id, "+0"), 7);
    stop(p.store, id);
    done_with(&p);
}

/* One that could not be brought to the disk, and is told of as such, is not worked on. */
static void test_faults_message_that_is_not_accepted(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    for (int syncs = 0; syncs < 2; syncs++) { /* the file's, then its folder's */
        fail_from(DISK_SYNC, "", (uint64_t)syncs);
        assert_int_equal(tell(store, actor.id, "+1", &answer, &error), DW_E_IO);
        mend();
        run(store);
        assert_int_equal(told(store, actor.id, "+0"), 0);
    }
    stop(store, actor.id);
    dw_store_close(store);
}

/* An actor that has sent itself a message and cannot be written has one turn in a call. */
static void test_faults_who_fails_has_one_turn(void **state)
{
    actor_fixture *fixture = *state;
    char text[32];
    char path[32];
    received_words answer;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    (void)snprintf(text, sizeof text, "I%s", actor.id);
    (void)told(store, actor.id, text);
    (void)snprintf(path, sizeof path, "/%s/0", actor.id);
    fail_from(DISK_RENAME, path, 1);
    assert_int_equal(tell(store, actor.id, "D+1", &answer, &error), DW_OK);
    problems = (problem_log){.count = 0};
    assert_int_equal(dw_store_run(store, &error), DW_E_STATE);
    assert_int_equal(problems.count, 1);
    mend();
    run(store);
    assert_int_equal(told(store, actor.id, "+0"), 1);
    stop(store, actor.id);
    dw_store_close(store);
}

/* A message that was told of as failed is never worked on, though its file cannot be removed: on a
 * disk at which everything fails from any point on, by this store, by the next, by who only
 * looks. */
static void test_faults_failed_messages_are_withdrawn(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    uint32_t expected = 0;
    uint32_t withdrawn = 0;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    bool any = true;
    for (uint64_t after = 0; any; after++) {
        dw_store_info info = {.struct_bytes = sizeof info};
        fail_from(DISK_ALL, "", after);
        dw_status status = tell(store, actor.id, "+1", &answer, &error);
        any = disk_failed() > 0;
        assert_null(strstr(error.message, "may be worked on later"));
        expected += status == DW_OK;
        if (after % 2 == 0) { /* else this store goes on */
            dw_store_close(store);
            dw_store_options options = {
                .struct_bytes = sizeof options, .path = folder, .read_only = true};
            assert_int_equal(dw_store_open(&store, fixture->engine, &options, &error), DW_OK);
            assert_int_equal(dw_store_get_info(store, actor.id, &info, &error), DW_OK);
            assert_int_equal(info.waiting, 0);
            dw_store_close(store);
            if (any_waiting(actor.id)) {
                withdrawn++;
                dw_store_options none = {.struct_bytes = sizeof none, .path = folder};
                assert_int_not_equal(dw_store_open(&store, fixture->engine, &none, &error), DW_OK);
            }
            mend();
            store = opened(fixture);
        }
        mend();
        run(store);
        assert_int_equal(told(store, actor.id, "+0"), expected);
        assert_false(any_waiting(actor.id));
    }
    print_message("%u messages stayed on the disk\n", withdrawn);
    assert_true(withdrawn > 2);
    stop(store, actor.id);
    dw_store_close(store);
}

/* A message that was worked on and could not be removed is, by the next call that may; and while it
 * cannot be, work that does not look at the mail does not make the next opening pass over it. */
static void test_faults_what_stays_is_looked_at_again(void **state)
{
    actor_fixture *fixture = *state;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    fail_from(DISK_UNLINK, "/mail/", 0);
    assert_int_equal(told(store, actor.id, "+1"), 1);
    assert_true(any_waiting(actor.id));
    assert_int_equal(dw_store_freeze(store, actor.id, NULL, &error), DW_OK);
    assert_true(any_waiting(actor.id));
    dw_store_close(store);
    mend();
    store = opened(fixture);
    assert_false(any_waiting(actor.id));
    fail_from(DISK_UNLINK, "/mail/", 0);
    assert_int_equal(told(store, actor.id, "+1"), 2);
    mend();
    assert_true(any_waiting(actor.id));
    assert_int_equal(dw_store_freeze(store, actor.id, NULL, &error), DW_OK);
    assert_false(any_waiting(actor.id));
    stop(store, actor.id);
    dw_store_close(store);
}

/* A fork whose files can be neither linked nor copied leaves nothing behind. */
static void test_faults_no_halves_of_actors(void **state)
{
    actor_fixture *fixture = *state;
    char child[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    fail_from(DISK_LINK | DISK_SYNC, "", 0);
    assert_int_equal(dw_store_fork(store, actor.id, child, &error), DW_E_IO);
    mend();
    assert_false(any_named("new"));
    stop(store, actor.id);
    dw_store_close(store);
}

/* ---- no memory ------------------------------------------------------------------------------ */

/* A message that was accepted outlasts every allocation that may fail while it is worked on. */
static void test_faults_no_memory_loses_no_message(void **state)
{
    pair p = paired(*state);
    char path[32];
    dw_error error;
    bool failed = true;
    uint32_t n = 0;
    (void)snprintf(path, sizeof path, "/%s/0", p.other.id);
    for (n = 0; failed; n++) {
        problems = (problem_log){.count = 0};
        fail_from(DISK_RENAME, path, 0);
        (void)told(p.store, p.sender.id,
                   "D+1"); /* which waits, since the other cannot be written */
        mend();
        /* One file each, so that the allocations are the same each time. */
        assert_int_equal(dw_store_freeze(p.store, p.sender.id, NULL, &error), DW_OK);
        assert_int_equal(dw_store_freeze(p.store, p.other.id, NULL, &error), DW_OK);
        uint64_t before = dw_alloc_count();
        dw_alloc_fail_after(n);
        dw_status status = dw_store_run(p.store, &error);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_STATE || status == DW_E_MEMORY);
        failed = dw_alloc_count() - before > n;
        run(p.store);
        uint32_t count = told(p.store, p.other.id, "+0");
        if (count != n + 1) {
            fail_msg("allocation %u failed: %u messages were worked on", n, count);
        }
    }
    print_message("%u allocations failed, one each time\n", n - 1);
    assert_true(n > 50);
    done_with(&p);
}

/* A message that was told of as failed is gone, one that was not is worked on; others that wait,
 * more than a list holds at first, stay. */
static void test_faults_no_memory_mixes_up_no_messages(void **state)
{
    enum { WAITING = 20 };
    pair p = paired(*state);
    char path[32];
    received_words answer;
    dw_error error;
    dw_store_info info = {.struct_bytes = sizeof info};
    bool failed = true;
    uint32_t expected = 0;
    (void)snprintf(path, sizeof path, "/%s/0", p.other.id);
    for (uint32_t n = 0; failed; n++) {
        fail_from(DISK_RENAME, path, 0);
        for (uint32_t i = 0; i < WAITING; i++) {
            problems = (problem_log){.count = 0};
            (void)told(p.store, p.sender.id, "D+1");
        }
        mend();
        assert_int_equal(dw_store_freeze(p.store, p.other.id, NULL, &error), DW_OK);
        dw_alloc_fail_after(1); /* the longer list; the leak checker sees to the shorter one */
        assert_int_equal(dw_store_get_info(p.store, p.other.id, &info, &error), DW_E_MEMORY);
        dw_alloc_fail_after(-1);
        uint64_t before = dw_alloc_count();
        problems = (problem_log){.count = 0};
        dw_alloc_fail_after(n);
        dw_status status = tell(p.store, p.other.id, "+1000", &answer, &error);
        dw_alloc_fail_after(-1);
        failed = dw_alloc_count() - before > n && n < 24; /* all that come before the work */
        expected += WAITING + (status == DW_OK ? 1000U : 0U);
        run(p.store);
        uint32_t count = told(p.store, p.other.id, "+0");
        if (count != expected) {
            fail_msg("allocation %u failed: %u instead of %u", n, count, expected);
        }
    }
    done_with(&p);
}

/* ---- all --------------------------------------------------------------------------------- */

static int open_fixture(void **state)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    disk_watch(folder);
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return actor_fixture_close(state) == 0 && system(command) == 0 ? 0 : 1;
}

static int mend_all(void **state)
{
    (void)state;
    mend();
    dw_alloc_fail_after(-1);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(test_faults_##name, mend_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timer_that_traps_fires_once),
        TEST(mail_that_stays_ends_the_work),
        TEST(messages_are_worked_on_once),
        TEST(messages_are_broken_off_at_once),
        TEST(ended_actors_are_not_made_again),
        TEST(names_of_earlier_programs),
        TEST(earlier_names_that_stay),
        TEST(actor_that_ends_before_a_message),
        TEST(effects_wait_behind_an_answer),
        TEST(guest_names_are_utf8),
        TEST(what_stays_is_looked_at_again),
        TEST(who_fails_has_one_turn),
        TEST(failed_messages_are_withdrawn),
        TEST(message_that_is_not_accepted),
        TEST(no_halves_of_actors),
        TEST(no_memory_loses_no_message),
        TEST(no_memory_mixes_up_no_messages),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("store faults", tests, open_fixture, close_fixture);
}
