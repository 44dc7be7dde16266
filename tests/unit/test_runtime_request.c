/* A runtime that works on request: actors begin for a message from outside, or when it is said;
 * what fails is told at once. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

static char folder[] = "/tmp/dw-request-XXXXXX";

static void open_folder(runtime_fixture *f)
{
    f->path = folder;
    f->works_on_request = true;
    runtime_open(f);
}

/* Nothing of it stays in memory. */
static void open_again(runtime_fixture *f)
{
    runtime_close(f);
    open_folder(f);
}

static void close_folder(runtime_fixture *f)
{
    char command[96];
    runtime_close(f);
    f->path = NULL;
    f->works_on_request = false;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* Time for what is not to happen. */
static void pass_time(runtime_fixture *f)
{
    runtime_await(f);
    (void)usleep(20000);
    runtime_await(f);
}

static void send(runtime_fixture *f, const runtime_id *id, const char *text)
{
    runtime_answer answer;
    dw_error error = {.message = ""};
    assert_int_equal(runtime_tell(f, id, text, &answer, &error), DW_OK);
}

static void work(runtime_fixture *f, dw_work_kind what)
{
    dw_error error = {.message = ""};
    dw_status status = dw_runtime_work(f->runtime, what, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

/* What keeps coming has one turn, when it is said. */
static void test_request_turns(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    send(f, &a, "s");
    pass_time(f);
    assert_int_equal(runtime_info(f, &a).waiting, 1);
    work(f, DW_WORK_TURN);
    assert_int_equal(runtime_told(f, &a, "+10"), 13); /* one turn, and what waited before */
    open_again(f);
    pass_time(f);
    assert_false(runtime_info(f, &a).resident);
    assert_int_equal(runtime_told(f, &a, "+0"), 14);
    assert_int_equal(dw_runtime_work(f->runtime, (dw_work_kind)3, &error), DW_E_RANGE);
    close_folder(f);
}

/* Timers, and messages to actors that are asleep. */
static void test_request_effects(void **state)
{
    runtime_fixture *f = *state;
    char text[32];
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", b.text);
    send(f, &a, text);
    send(f, &a, "A+5");
    pass_time(f);
    assert_int_equal(runtime_told(f, &a, "+0"), 0);
    work(f, DW_WORK_ALL);
    assert_int_equal(runtime_told(f, &a, "+0"), 5);
    open_again(f);
    send(f, &a, "D+3");
    pass_time(f);
    assert_int_equal(runtime_info(f, &b).waiting, 1);
    work(f, DW_WORK_TURN);
    assert_int_equal(runtime_info(f, &b).waiting, 0);
    send(f, &a, "D+4");
    open_again(f);
    work(f, DW_WORK_ALL);
    assert_int_equal(runtime_info(f, &b).waiting, 0);
    assert_int_equal(runtime_told(f, &b, "+0"), 7);
    close_folder(f);
}

/* Its only snapshot. */
static void snapshot_of(const runtime_id *id, char path[512])
{
    char place[128];
    (void)snprintf(place, sizeof place, "%s/actors/%s", folder, id->text);
    DIR *list = opendir(place);
    assert_non_null(list);
    path[0] = '\0';
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        if (strstr(entry->d_name, ".snapshot") != NULL) {
            (void)snprintf(path, 512, "%s/%s", place, entry->d_name);
        }
    }
    (void)closedir(list);
    assert_true(path[0] != '\0');
}

/* An actor that cannot be read: who asks is told at once, nothing waits, and others work. */
static void test_request_failures(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char path[512];
    char hidden[520];
    char problem[256];
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    send(f, &a, "S+1");
    send(f, &b, "S+1");
    open_again(f);
    snapshot_of(&a, path);
    (void)snprintf(hidden, sizeof hidden, "%s.away", path);
    assert_int_equal(rename(path, hidden), 0);
    assert_int_not_equal(runtime_tell(f, &a, "+10", &answer, &error), DW_OK);
    assert_int_equal(runtime_problems(f, problem), 0);
    assert_int_equal(dw_runtime_work(f->runtime, DW_WORK_ALL, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "1 of 2 actors"));
    assert_int_equal(runtime_problems(f, problem), 1);
    assert_int_equal(runtime_told(f, &b, "+0"), 1);
    assert_int_equal(rename(hidden, path), 0);
    assert_int_equal(runtime_told(f, &a, "+0"), 1); /* +10 did not wait */
    close_folder(f);
}

typedef struct listener {
    dw_status result;
    unsigned count;
    dw_status says;
} listener;

static dw_status on_answered(void *user, dw_status result, dw_error *err)
{
    listener *to = user;
    to->count++;
    to->result = result;
    return to->says == DW_OK ? DW_OK : dw_fail(err, to->says, "nobody listens");
}

/* An answer that could not be passed on: the message is gone, the actor as it was. */
static void test_request_unheard(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    listener to = {.says = DW_E_IO};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "+5",
                                .message_bytes = 2,
                                .on_answered = on_answered,
                                .user = &to};
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_told(f, &a, "+1"), 1);
    assert_int_equal(dw_runtime_call(f->runtime, a.text, &request, &error), DW_E_IO);
    assert_string_equal(error.message, "nobody listens");
    assert_int_equal(to.count, 1);
    assert_int_equal(to.result, DW_OK);
    assert_int_equal(runtime_told(f, &a, "+1"), 2);
    open_again(f);
    assert_int_equal(runtime_told(f, &a, "+1"), 3);
    to.says = DW_OK;
    assert_int_equal(dw_runtime_call(f->runtime, a.text, &request, &error), DW_OK);
    assert_int_equal(runtime_told(f, &a, "+0"), 8);
    close_folder(f);
}

/* By the first digits of an id; tenants of the folder are there. */
static void test_request_finds(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char id[DW_ACTOR_ID_CHARS + 1];
    char start[6];
    const dw_tenant_options all = {.struct_bytes = sizeof all, .capabilities = DW_MAY_ALL};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "ada"};
    open_folder(f);
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "ada", &all, &error), DW_OK);
    runtime_id a = runtime_spawned(f, f->hostile, &options);
    open_again(f);
    (void)snprintf(start, sizeof start, "%.5s", a.text);
    assert_int_equal(dw_runtime_find_id(f->runtime, start, id, &error), DW_OK);
    assert_string_equal(id, a.text);
    assert_int_equal(dw_runtime_find_id(f->runtime, "", id, &error), DW_E_ARG);
    assert_int_equal(runtime_told(f, &a, "+2"), 2);
    assert_string_equal(runtime_info(f, &a).tenant, "ada");
    close_folder(f);
}

typedef struct seen_mail {
    size_t count;
    dw_runtime_message last;
} seen_mail;

static void take_message(void *user, const dw_runtime_message *message)
{
    seen_mail *seen = user;
    seen->count++;
    seen->last = *message;
}

static seen_mail mail_of(runtime_fixture *f, const runtime_id *id)
{
    seen_mail seen = {.count = 0};
    dw_error error = {.message = ""};
    assert_int_equal(dw_runtime_list_mail(f->runtime, id->text, take_message, &seen, &error),
                     DW_OK);
    return seen;
}

/* A message that waits is looked at and dropped, whether its actor is in memory or not; one that is
 * not there is not. */
static void test_request_mail(void **state)
{
    runtime_fixture *f = *state;
    char text[32];
    dw_error error;
    uint64_t count = 0;
    open_folder(f);
    runtime_id a = runtime_spawned(f, f->hostile, NULL);
    runtime_id b = runtime_spawned(f, f->hostile, NULL);
    (void)snprintf(text, sizeof text, "I%s", a.text);
    send(f, &b, text);
    for (int dormant = 0; dormant < 2; dormant++) {
        runtime_answer content = {.count = 0};
        send(f, &b, "D+5");
        send(f, &b, "D+30");
        if (dormant) {
            open_again(f);
        }
        seen_mail seen = mail_of(f, &a);
        assert_int_equal(seen.count, 2);
        assert_false(seen.last.set_aside);
        assert_int_equal(seen.last.bytes, 3);
        assert_int_equal(dw_runtime_read_mail(f->runtime, a.text, seen.last.number - 1,
                                              runtime_keep, &content, &error),
                         DW_OK);
        assert_string_equal((char *)content.bytes, "+5");
        assert_int_equal(
            dw_runtime_retry_mail(f->runtime, a.text, seen.last.number, &count, &error), DW_E_ARG);
        assert_int_equal(dw_runtime_drop_mail(f->runtime, a.text, seen.last.number, &count, &error),
                         DW_OK);
        assert_int_equal(count, 1);
        assert_int_equal(dw_runtime_drop_mail(f->runtime, a.text, seen.last.number, &count, &error),
                         DW_E_NOT_FOUND);
        assert_int_equal(mail_of(f, &a).count, 1);
        work(f, DW_WORK_ALL);
        assert_int_equal(runtime_told(f, &a, "+0"), 5 * (dormant + 1));
    }
    close_folder(f);
}

static int open_group(void **state)
{
    assert_non_null(mkdtemp(folder));
    return runtime_fixture_open(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_request_turns),    runtime_test(test_request_effects),
        runtime_test(test_request_failures), runtime_test(test_request_unheard),
        runtime_test(test_request_finds),    runtime_test(test_request_mail),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, runtime_fixture_close);
}
