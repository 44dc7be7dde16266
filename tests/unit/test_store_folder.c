/* The state folder itself, as who works on many actors at a time uses it: who has something to do,
 * turns and messages that the journal runs together, marks of many at work. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "driftwood_abi.h"
#include "store/actor_folder.h"
#include "store_account.h"
#include "support.h"

#define ACTORS 40

static char root[] = "/tmp/dw-folder-XXXXXX";
static char folder_path[64];

static dw_actor_folder *opened(void)
{
    dw_actor_folder *folder = NULL;
    dw_error err = {.message = ""};
    dw_status status = dw_actor_folder_open(&folder, folder_path, 0, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return folder;
}

/* Actors by a runtime, which is closed then. */
static void spawn_many(actor_fixture *fixture, char ids[ACTORS][DW_ACTOR_ID_CHARS + 1])
{
    dw_runtime *runtime = NULL;
    dw_error err = {.message = ""};
    const dw_runtime_options options = {.struct_bytes = sizeof options, .path = folder_path};
    shell("rm -rf '%s'", folder_path);
    assert_int_equal(dw_runtime_open(&runtime, fixture->engine, &options, &err), DW_OK);
    for (int i = 0; i < ACTORS; i++) {
        assert_int_equal(dw_runtime_spawn(runtime, fixture->module, NULL, ids[i], &err), DW_OK);
    }
    dw_runtime_close(runtime);
}

static dw_sent message_to(const char *id, const char *content)
{
    dw_sent sent = {.message = {.bytes = strlen(content)}, .content = content, .mail_max = 3};
    (void)snprintf(sent.to, sizeof sent.to, "%s", id);
    return sent;
}

static bool is_among(const dw_actor_name *names, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static void test_folder_who_has_something_to_do(void **state)
{
    dw_timed_cursor before = {.now_ms = 4999};
    dw_timed_cursor then = {.now_ms = 5000};
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    dw_actor_name names[ACTORS];
    dw_error err = {.message = ""};
    size_t count = 0;
    spawn_many(*state, ids);
    change_journal(folder_path, "UPDATE actor SET timer_ms = 5000 WHERE id %% 2 = 0");
    dw_actor_folder *folder = opened();
    assert_int_equal(dw_actor_folder_list_waiting(folder, "", names, ACTORS, &count, &err), DW_OK);
    assert_int_equal(count, 0);
    for (int i = 0; i < 3; i++) {
        dw_sent sent = message_to(ids[i], "+1");
        assert_int_equal(dw_actor_folder_accept(folder, &sent, &err), DW_OK);
        assert_int_equal(sent.message.number, 1);
    }
    assert_int_equal(dw_actor_folder_list_waiting(folder, "", names, ACTORS, &count, &err), DW_OK);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(is_among(names, count, ids[i]));
    }
    assert_int_equal(dw_actor_folder_list_waiting(folder, names[1].id, names, 1, &count, &err),
                     DW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(dw_actor_folder_list_timed(folder, &before, names, ACTORS, &count, &err),
                     DW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(dw_actor_folder_list_timed(folder, &then, names, ACTORS, &count, &err), DW_OK);
    size_t even = 0;
    for (int i = 0; i < ACTORS; i++) {
        bool is_even = strtoull(ids[i], NULL, 16) % 2 == 0;
        even += is_even;
        assert_int_equal(is_among(names, count, ids[i]), is_even);
    }
    assert_int_equal(count, even);
    dw_actor_folder_close(folder);
}

/* ---- together ----------------------------------------------------------------------------- */

typedef struct sending {
    dw_journal_piece piece;
    dw_sent sent;
    struct all_sent *all;
} sending;

typedef struct all_sent {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int told;
    int refused;
    sending items[4 * ACTORS];
} all_sent;

static void tell(void *user, dw_status status, const dw_error *problem)
{
    const sending *s =
        (const sending *)(const void *)((const char *)user - offsetof(sending, sent));
    all_sent *all = s->all;
    (void)pthread_mutex_lock(&all->lock);
    all->told++;
    all->refused += status == DW_E_BUSY && strstr(problem->message, "(mail)") != NULL;
    (void)pthread_cond_signal(&all->changed);
    (void)pthread_mutex_unlock(&all->lock);
}

/* Four messages to each, of which one is too many, without waiting for any. */
static void test_folder_messages_together(void **state)
{
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    static all_sent all;
    dw_error err = {.message = ""};
    dw_journal_stats stats;
    spawn_many(*state, ids);
    dw_actor_folder *folder = opened();
    dw_journal *journal = dw_actor_folder_journal(folder);
    (void)pthread_mutex_init(&all.lock, NULL);
    (void)pthread_cond_init(&all.changed, NULL);
    for (int i = 0; i < 4 * ACTORS; i++) {
        sending *s = &all.items[i];
        s->all = &all;
        s->sent = message_to(ids[i % ACTORS], "+1");
        s->piece =
            (dw_journal_piece){.work = dw_actor_folder_accept_work, .done = tell, .user = &s->sent};
        assert_int_equal(dw_journal_submit(journal, &s->piece, &err), DW_OK);
    }
    (void)pthread_mutex_lock(&all.lock);
    while (all.told < 4 * ACTORS) {
        (void)pthread_cond_wait(&all.changed, &all.lock);
    }
    (void)pthread_mutex_unlock(&all.lock);
    assert_int_equal(all.refused, ACTORS);
    dw_journal_get_stats(journal, &stats);
    print_message("%llu messages in %llu commits\n", (unsigned long long)stats.pieces,
                  (unsigned long long)stats.commits);
    for (int i = 0; i < ACTORS; i++) {
        dw_actor_row row;
        assert_int_equal(dw_actor_folder_row(folder, ids[i], &row, &err), DW_OK);
        assert_int_equal(row.waiting, 3);
    }
    dw_actor_folder_close(folder);
    account_for_all(folder_path, 0);
}

/* ---- marks -------------------------------------------------------------------------------- */

/* As many as there may be are at work when the process ends: each counts an attempt, once. */
static void test_folder_many_at_work(void **state)
{
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    dw_attempts attempts;
    const dw_attempted work = {.kind = DW_ATTEMPTED_MESSAGE, .number = 1};
    spawn_many(*state, ids);
    dw_actor_folder *folder = opened();
    for (int i = 0; i < ACTORS; i++) {
        dw_sent sent = message_to(ids[i], "+1");
        assert_int_equal(dw_actor_folder_accept(folder, &sent, &err), DW_OK);
        assert_int_equal(dw_actor_folder_try(folder, ids[i], &work, &err), DW_OK);
    }
    dw_status status = DW_OK;
    for (unsigned i = 0; i < 2000 && status == DW_OK; i++) {
        char id[DW_ACTOR_ID_CHARS + 1];
        (void)snprintf(id, sizeof id, "%016x", i + 1);
        status = dw_actor_folder_try(folder, id, NULL, &err);
    }
    assert_int_equal(status, DW_E_BUSY);
    dw_actor_folder_tried(folder, ids[0], true);
    dw_actor_folder_close(folder); /* marks outlast it, as they do a kill */
    for (int round = 0; round < 2; round++) {
        folder = opened();
        for (int i = 0; i < ACTORS; i++) {
            assert_int_equal(dw_actor_folder_get_attempts(folder, ids[i], &work, &attempts, &err),
                             DW_OK);
            assert_int_equal(attempts.count, i == 0 ? 0 : 1);
        }
        dw_actor_folder_close(folder);
        assert_false(path_exists("%s/journal.db-marks", folder_path));
    }
}

typedef struct withdrawing {
    dw_actor_folder *folder;
    const char *id;
    _Atomic bool ends;
} withdrawing;

static void *finish_all_the_time(void *user)
{
    withdrawing *w = user;
    while (!w->ends) {
        assert_int_equal(dw_actor_folder_try(w->folder, w->id, NULL, NULL), DW_OK);
        dw_actor_folder_tried(w->folder, w->id, true);
    }
    return NULL;
}

/* Messages that are withdrawn while those before are being removed are removed as well. */
static void test_folder_withdrawn_meanwhile(void **state)
{
    enum { ROUNDS = 200, MESSAGES = 3 };
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    dw_actor_row row;
    pthread_t thread;
    spawn_many(*state, ids);
    withdrawing w = {.folder = opened(), .id = ids[1]};
    assert_int_equal(pthread_create(&thread, NULL, finish_all_the_time, &w), 0);
    for (int i = 0; i < ROUNDS; i++) {
        dw_sent sent[MESSAGES];
        for (int k = 0; k < MESSAGES; k++) {
            sent[k] = message_to(ids[0], "+1");
            assert_int_equal(dw_actor_folder_accept(w.folder, &sent[k], &err), DW_OK);
        }
        for (int k = 0; k < MESSAGES; k++) {
            assert_true(
                dw_actor_folder_mark_withdrawn(w.folder, ids[0], sent[k].message.number, NULL));
            (void)usleep(20);
        }
        assert_int_equal(dw_actor_folder_try(w.folder, ids[2], NULL, &err), DW_OK);
        dw_actor_folder_tried(w.folder, ids[2], true);
        assert_int_equal(dw_actor_folder_row(w.folder, ids[0], &row, &err), DW_OK);
        assert_int_equal(row.waiting, 0);
    }
    w.ends = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    dw_actor_folder_close(w.folder);
    account_for_all(folder_path, 0);
}

/* ---- what is remembered, and set aside ------------------------------------------------------- */

enum { ENDINGS = 1300, REMEMBERED = 1024 };

static void ending_id(char id[DW_ACTOR_ID_CHARS + 1], int tenant, int i)
{
    (void)snprintf(id, DW_ACTOR_ID_CHARS + 1, "%016x", (unsigned)((tenant + 1) * ENDINGS + i));
}

/* Of two tenants in turn. */
static dw_status end_many(void *user, dw_journal_tx *tx, dw_error *err)
{
    const char(*ids)[DW_ACTOR_ID_CHARS + 1] = user;
    dw_status status = DW_OK;
    for (int i = 0; i < 2 * ENDINGS && status == DW_OK; i++) {
        dw_watch_change change = {.kind = DW_WATCH_UNMADE, .status = DW_E_LIMIT};
        dw_turn turn = {.watches = &change, .watch_count = 1};
        memcpy(turn.id, ids[i % 2], sizeof turn.id);
        ending_id(change.actor, i % 2, i / 2);
        status = dw_actor_folder_commit_work(&turn, tx, err);
        dw_notices_release(&turn.notices);
    }
    return status;
}

/* Each tenant's newest endings, and not many more, whoever else's come between them. */
static void test_folder_endings_of_several_tenants(void **state)
{
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    spawn_many(*state, ids);
    change_journal(folder_path, "UPDATE actor SET tenant = 'other' WHERE id = %lld",
                   (long long)(strtoull(ids[1], NULL, 16) ^ UINT64_C(1) << 63));
    dw_actor_folder *folder = opened();
    assert_int_equal(dw_journal_write(dw_actor_folder_journal(folder), end_many, ids, false, &err),
                     DW_OK);
    for (int tenant = 0; tenant < 2; tenant++) {
        int count = 0;
        for (int i = 0; i < ENDINGS; i++) {
            char id[DW_ACTOR_ID_CHARS + 1];
            dw_watch_look look;
            ending_id(id, tenant, i);
            assert_int_equal(dw_actor_folder_look_at_watch(folder, ids[0], id, &look, &err), DW_OK);
            assert_true(look.ended || i < ENDINGS - REMEMBERED);
            assert_true(!look.ended || strcmp(look.tenant, tenant == 0 ? "" : "other") == 0);
            count += look.ended;
        }
        assert_in_range(count, REMEMBERED, REMEMBERED + 63);
    }
    dw_actor_folder_close(folder);
}

/* A message that is taken out of an actor's state stays what it is. */
static void test_folder_own_message_set_aside(void **state)
{
    static char ids[ACTORS][DW_ACTOR_ID_CHARS + 1];
    dw_error err = {.message = ""};
    dw_message *message = NULL;
    dw_mail_row *rows = NULL;
    size_t count = 0;
    const dw_attempts why = {.count = 3, .reason = "it traps"};
    spawn_many(*state, ids);
    dw_actor_folder *folder = opened();
    assert_int_equal(dw_message_create(&message, ids[1], "text", 4, &err), DW_OK);
    message->kind = DW_MESSAGE_WATCH;
    message->cause = UINT64_C(0xfedcba9876543210);
    message->caused = 7;
    message->at_ms = UINT64_C(1700000000123);
    dw_own_aside own = {.message = message, .why = &why};
    dw_turn turn = {.aside = &own};
    memcpy(turn.id, ids[0], sizeof turn.id);
    assert_int_equal(dw_journal_write(dw_actor_folder_journal(folder), dw_actor_folder_commit_work,
                                      &turn, false, &err),
                     DW_OK);
    dw_actor_folder_committed(folder, &turn);
    dw_notices_release(&turn.notices);
    assert_int_equal(dw_actor_folder_list_mail(folder, ids[0], &rows, &count, &err), DW_OK);
    assert_int_equal(count, 1);
    const dw_message_row *row = &rows[0].message;
    assert_true(row->aside && row->number == own.number && rows[0].attempts == 3);
    assert_string_equal(row->from, ids[1]);
    assert_string_equal(rows[0].reason, "it traps");
    assert_int_equal(row->bytes, 4);
    assert_int_equal(row->kind, DW_MESSAGE_WATCH);
    assert_true(row->cause == message->cause && row->caused == 7);
    assert_true(row->at_ms == message->at_ms);
    dw_free(message);
    dw_free(rows);
    dw_actor_folder_close(folder);
}

static int open_fixture(void **state)
{
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    (void)snprintf(folder_path, sizeof folder_path, "%s/state", root);
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    return actor_fixture_close(state) == 0 && system(command) == 0 ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_who_has_something_to_do),
        cmocka_unit_test(test_folder_messages_together),
        cmocka_unit_test(test_folder_many_at_work),
        cmocka_unit_test(test_folder_withdrawn_meanwhile),
        cmocka_unit_test(test_folder_endings_of_several_tenants),
        cmocka_unit_test(test_folder_own_message_set_aside),
    };
    return cmocka_run_group_tests_name("store, folder", tests, open_fixture, close_fixture);
}
