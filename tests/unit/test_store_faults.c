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
#include "store_account.h"
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

static dw_store *opened_again(actor_fixture *fixture, dw_store *store)
{
    dw_store_close(store);
    mend();
    return opened(fixture);
}

/* A message at which its actor traps, and which cannot be removed then: it is gone all the same. */
static void test_faults_mail_that_stays_is_gone(void **state)
{
    actor_fixture *fixture = *state;
    received_words answer;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    unsigned failed = 0;
    bool any = true;
    for (uint64_t after = 0; any; after++) {
        fail_from(DISK_ALL, "journal.db", after);
        dw_status status = tell(store, actor.id, "!", &answer, &error);
        any = disk_failed() > 0;
        assert_true(status == DW_E_IO || (!any && status == DW_E_TRAP));
        failed += status == DW_E_IO;
        assert_int_equal(dw_store_run(store, &error), DW_OK);
        assert_int_equal(problems.count, 0);
        mend();
        run(store);
        assert_int_equal(problems.count, 0);
        assert_int_equal(told(store, actor.id, "+1"), after + 1);
    }
#if defined(__GLIBC__) /* elsewhere the disk fails for this program alone, not for its libraries */
    assert_true(failed > 3);
#endif
    stop(store, actor.id);
    dw_store_close(store);
}

static size_t waiting(dw_store *store, const char *id)
{
    dw_store_info info = {.struct_bytes = sizeof info};
    dw_error error = {.message = ""};
    assert_int_equal(dw_store_get_info(store, id, &info, &error), DW_OK);
    return (size_t)info.waiting;
}

/* ---- what an actor asks for --------------------------------------------------------------- */

/* Two actors, the first of which can name the second. */
typedef struct pair {
    actor_fixture *fixture;
    dw_store *store;
    actor_name sender;
    actor_name other;
} pair;

static pair paired(actor_fixture *fixture)
{
    char text[32];
    pair p = {.fixture = fixture, .store = opened(fixture)};
    p.sender = spawned(fixture, p.store);
    p.other = spawned(fixture, p.store);
    (void)snprintf(text, sizeof text, "I%s", p.other.id);
    (void)told(p.store, p.sender.id, text);
    return p;
}

static void count_name(void *user, const char *id)
{
    (void)id;
    ++*(size_t *)user;
}

static size_t actor_count(dw_store *store)
{
    size_t count = 0;
    dw_error error = {.message = ""};
    assert_int_equal(dw_store_list(store, count_name, &count, &error), DW_OK);
    return count;
}

static void done_with(pair *p)
{
    dw_error error = {.message = ""};
    assert_int_equal(dw_store_stop_all(p->store, NULL, &error), DW_OK);
    p->store = opened_again(p->fixture, p->store);
    dw_store_close(p->store);
    account_for_all(folder, 0);
}

/* On a disk at which everything fails from any point on a message is done with all that its actor
 * asked for, or nothing of it is: whatever that is, and once. */
static void test_faults_turns_are_whole(void **state)
{
    static const struct {
        const char *text;
        uint32_t adds;   /* to the other */
        unsigned makes;  /* actors */
        const char *end; /* what the actor is told afterwards */
    } cases[] = {{"D+1", 1, 0, "+0"}, {"N+7", 0, 1, "+0"}, {"F5", 0, 1, "+0"}, {"D!", 0, 0, "+0"}};
    pair p = paired(*state);
    char named[32];
    unsigned failed = 0;
    (void)snprintf(named, sizeof named, "I%s", p.other.id);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool any = true;
        for (uint64_t after = 0; any; after++) {
            received_words answer;
            dw_error error;
            uint32_t count = told(p.store, p.other.id, "+0");
            size_t actors = actor_count(p.store);
            (void)told(p.store, p.sender.id, named);
            fail_from(DISK_ALL, "", after);
            dw_status status = tell(p.store, p.sender.id, cases[i].text, &answer, &error);
            any = disk_failed() > 0;
            failed += status != DW_OK;
            assert_true(status == DW_OK || status == DW_E_IO);
            p.store = opened_again(p.fixture, p.store);
            run(p.store);
            bool done = status == DW_OK;
            assert_int_equal(told(p.store, p.other.id, "+0"), count + (done ? cases[i].adds : 0));
            assert_int_equal(actor_count(p.store), actors + (done ? cases[i].makes : 0));
            run(p.store);
            assert_int_equal(told(p.store, p.sender.id, cases[i].end), 0);
            assert_int_equal(waiting(p.store, p.sender.id), 0);
            account_for_all(folder, (int)after);
            /* "!" is set aside by these runs, or was. */
            assert_int_equal(dw_store_drop_mail(p.store, p.other.id, DW_MAIL_ALL, NULL, &error),
                             DW_OK);
        }
    }
    print_message("%u turns failed\n", failed);
    assert_true(failed > 20);
    done_with(&p);
}

/* A child that ended is not made again, nor gets what it had twice. */
static void test_faults_ended_actors_are_not_made_again(void **state)
{
    pair p = paired(*state);
    received_words answer;
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    char found[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    assert_int_equal(tell(p.store, p.sender.id, "N+7", &answer, &error), DW_OK);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(told(p.store, id, "+0"), 7);
    stop(p.store, id);
    p.store = opened_again(p.fixture, p.store);
    run(p.store);
    assert_int_equal(problems.count, 0);
    assert_int_equal(dw_store_find(p.store, id, found, &error), DW_E_NOT_FOUND);
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

/* A message whose actor asks for what cannot be written is not done, though it has its answer. */
static void test_faults_effects_are_part_of_their_message(void **state)
{
    pair p = paired(*state);
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    char found[DW_ACTOR_ID_CHARS + 1];
    received_words answer;
    dw_error error;
    fail_from(DISK_MKDIR, "/actors/", 0);
    assert_int_equal(tell(p.store, p.sender.id, "N+7", &answer, &error), DW_E_IO);
    assert_int_equal(answer.bytes, DW_ACTOR_ID_CHARS);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
    assert_int_equal(problems.count, 0);
    assert_int_equal(told(p.store, p.sender.id, "+1"), 1); /* this needs no folder */
    mend();
    run(p.store);
    assert_int_equal(dw_store_find(p.store, id, found, &error), DW_E_NOT_FOUND);
    assert_int_equal(told(p.store, p.sender.id, "+1"), 2);
    assert_int_equal(tell(p.store, p.sender.id, "N+7", &answer, &error), DW_OK);
    memcpy(id, answer.words, DW_ACTOR_ID_CHARS);
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
            if (path_exists("%s/journal.db-marks", folder)) {
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
        assert_int_equal(waiting(store, actor.id), 0);
    }
    print_message("%u times a mark was left\n", withdrawn);
    assert_true(withdrawn > 2);
    stop(store, actor.id);
    dw_store_close(store);
}

/* Snapshots that are outdated and could not be removed are, by the next call that may; and while
 * they cannot be, work on their actor does not make the next opening pass over them. */
static void test_faults_what_stays_is_looked_at_again(void **state)
{
    actor_fixture *fixture = *state;
    dw_error error;
    dw_store *store = opened(fixture);
    actor_name actor = spawned(fixture, store);
    for (uint32_t round = 0; round < 2; round++) {
        assert_int_equal(told(store, actor.id, "+1"), 2 * round + 1);
        fail_from(DISK_UNLINK, "/actors/", 0);
        assert_int_equal(dw_store_freeze(store, actor.id, NULL, &error), DW_OK);
        assert_true(listed("%s/actors/%s", folder, actor.id).count > 1);
        assert_int_equal(told(store, actor.id, "+1"), 2 * round + 2);
        if (round == 0) {
            store = opened_again(fixture, store);
        } else {
            mend();
            assert_int_equal(told(store, actor.id, "+0"), 4);
        }
        account_for_all(folder, (int)round);
    }
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
    assert_int_equal(actor_count(store), 1);
    account_for_all(folder, 0);
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

static void no_message(void *user, const dw_runtime_message *message)
{
    (void)user;
    (void)message;
    fail_msg("a list of which there is a part");
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
        assert_int_equal(dw_store_list_mail(p.store, p.other.id, no_message, NULL, &error),
                         DW_E_MEMORY);
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
        TEST(mail_that_stays_is_gone),
        TEST(turns_are_whole),
        TEST(ended_actors_are_not_made_again),
        TEST(actor_that_ends_before_a_message),
        TEST(effects_are_part_of_their_message),
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
