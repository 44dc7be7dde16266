/* Of a runtime that works on request: actors that would have all of a state folder for themselves,
 * each beside a good one that loses nothing: messages at which they trap, which never end or kill
 * their process.
 *
 * The process that is killed is this program with --run FOLDER, --send FOLDER ID TEXT, or --live
 * FOLDER ID: a guest that writes to standard error ends it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

#define ATTEMPTS 3 /* by default */

static char root[] = "/tmp/dw-hostile-XXXXXX";
static char folder[64];

/* ---- a runtime --------------------------------------------------------------------------- */

typedef struct hostile_fixture {
    runtime_fixture *r;
    unsigned folders;
    dw_limits limits; /* of the next runtime */
    char bad[DW_ACTOR_ID_CHARS + 1];
    char good[DW_ACTOR_ID_CHARS + 1];
} hostile_fixture;

static ptrdiff_t on_stderr(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static ptrdiff_t kill_process(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    (void)raise(SIGKILL);
    return (ptrdiff_t)count;
}

static void open_runtime_of(hostile_fixture *f, dw_write_fn to_stderr, bool works_on_request)
{
    f->r->path = folder;
    f->r->works_on_request = works_on_request;
    f->r->on_stderr = to_stderr;
    f->r->limits = f->limits;
    runtime_open(f->r);
}

static void open_runtime(hostile_fixture *f, dw_write_fn to_stderr)
{
    open_runtime_of(f, to_stderr, true);
}

static void spawn(hostile_fixture *f, const dw_instance_options *granted, char *id)
{
    dw_error error = {.message = ""};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = granted};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .capabilities = DW_MAY_ALL};
    dw_status status = dw_runtime_spawn(f->r->runtime, f->r->hostile, &options, id, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static dw_status tell(hostile_fixture *f, const char *id, const char *text, runtime_answer *answer,
                      dw_error *error)
{
    return request_tell(f->r, id, text, answer, error);
}

static uint32_t told(hostile_fixture *f, const char *id, const char *text)
{
    return request_told(f->r, id, text);
}

static void run(hostile_fixture *f)
{
    request_run(f->r);
}

/* How many there were since the runtime was opened, or since it was asked; the last. */
static unsigned problems_of(hostile_fixture *f)
{
    char text[256];
    return runtime_problems(f->r, text);
}

static void assert_problem(hostile_fixture *f, const char *words)
{
    char text[256];
    (void)runtime_problems(f->r, text);
    if (strstr(text, words) == NULL) {
        fail_msg("the problem is: %s", text);
    }
}

static void name_peer(hostile_fixture *f, const char *id, const char *peer)
{
    char text[32];
    (void)snprintf(text, sizeof text, "I%s", peer);
    (void)told(f, id, text);
}

/* A folder with a bad actor and a good one, which know each other. */
static void begin(hostile_fixture *f, uint64_t timeout_ms)
{
    const dw_instance_options granted = {.struct_bytes = sizeof granted, .timeout_ms = timeout_ms};
    (void)snprintf(folder, sizeof folder, "%s/%u", root, f->folders++);
    open_runtime(f, on_stderr);
    spawn(f, &granted, f->bad);
    spawn(f, &granted, f->good);
    name_peer(f, f->bad, f->good);
    name_peer(f, f->good, f->bad);
}

static void end(hostile_fixture *f)
{
    runtime_close(f->r);
}

/* ---- mail -------------------------------------------------------------------------------- */

typedef struct mail {
    size_t count;
    dw_runtime_message last; /* of which `from` and `reason` are below */
    char from[DW_ACTOR_ID_CHARS + 1];
    char reason[256];
} mail;

static void take_message(void *user, const dw_runtime_message *message)
{
    mail *all = user;
    all->count++;
    all->last = *message;
    (void)snprintf(all->from, sizeof all->from, "%s", message->from);
    (void)snprintf(all->reason, sizeof all->reason, "%s", message->reason);
}

static mail mail_of(hostile_fixture *f, const char *id)
{
    mail all = {.count = 0};
    dw_error error = {.message = ""};
    assert_int_equal(dw_runtime_list_mail(f->r->runtime, id, take_message, &all, &error), DW_OK);
    return all;
}

/* One message was set aside, and no other waits. */
static mail assert_aside(hostile_fixture *f, const char *id, const char *from, const char *text,
                         const char *reason)
{
    dw_error error = {.message = ""};
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    runtime_answer content = {.count = 0};
    mail all = mail_of(f, id);
    assert_int_equal(all.count, 1);
    assert_true(all.last.set_aside);
    assert_int_equal(all.last.attempts, ATTEMPTS);
    assert_int_equal(all.last.bytes, strlen(text));
    assert_string_equal(all.from, from);
    if (strstr(all.reason, reason) == NULL) {
        fail_msg("the reason is: %s", all.reason);
    }
    assert_int_equal(
        dw_runtime_read_mail(f->r->runtime, id, all.last.number, runtime_keep, &content, &error),
        DW_OK);
    assert_string_equal((char *)content.bytes, text);
    assert_int_equal(dw_runtime_get_actor_info(f->r->runtime, id, &info, &error), DW_OK);
    assert_int_equal(info.set_aside, 1);
    assert_int_equal(info.waiting, 0);
    return all;
}

/* ---- messages that fail ------------------------------------------------------------------ */

static void test_hostile_trap_is_set_aside(void **state)
{
    hostile_fixture *f = *state;
    dw_error error = {.message = ""};
    uint64_t count = 0;
    begin(f, 0);
    (void)told(f, f->bad, "D+1");
    (void)told(f, f->bad, "S!"); /* whose turn behind the answer is the first attempt */
    mail all = mail_of(f, f->bad);
    assert_int_equal(all.count, 1);
    assert_false(all.last.set_aside);
    assert_int_equal(all.last.attempts, 1);
    assert_int_equal(problems_of(f), 1); /* each attempt is told */
    (void)told(f, f->good, "D+5");       /* which waits behind it */
    run(f);
    assert_int_equal(problems_of(f), 3);
    assert_problem(f, "set aside after 3 attempts");
    all = assert_aside(f, f->bad, f->bad, "!", "unreachable");
    assert_int_equal(told(f, f->bad, "+0"), 5);
    assert_int_equal(told(f, f->good, "+0"), 1);
    /* Again, as often as before, behind all others. */
    assert_int_equal(dw_runtime_retry_mail(f->r->runtime, f->bad, DW_MAIL_ALL, &count, &error),
                     DW_OK);
    assert_int_equal(count, 1);
    run(f);
    assert_true(assert_aside(f, f->bad, f->bad, "!", "unreachable").last.number > all.last.number);
    assert_int_equal(dw_runtime_drop_mail(f->r->runtime, f->bad, all.last.number, &count, &error),
                     DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_drop_mail(f->r->runtime, f->bad, DW_MAIL_ALL, &count, &error),
                     DW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(mail_of(f, f->bad).count, 0);
    run(f);
    assert_int_equal(problems_of(f), 6);
    assert_int_equal(told(f, f->bad, "+1"), 6);
    end(f);
}

static void test_hostile_timer_is_set_aside(void **state)
{
    hostile_fixture *f = *state;
    begin(f, 0);
    (void)told(f, f->bad, "A!");
    (void)told(f, f->bad, "A+4");
    run(f);
    run(f);
    assert_int_equal(problems_of(f), 4); /* three attempts, and what became of it */
    (void)assert_aside(f, f->bad, f->bad, "!", "unreachable");
    assert_int_equal(told(f, f->bad, "+0"), 4);
    end(f);
}

static void limit(hostile_fixture *f, const char *name, const char *value);
static void limits_end(hostile_fixture *f);

static void test_hostile_attempts_are_limited(void **state)
{
    hostile_fixture *f = *state;
    begin(f, 0);
    limit(f, "attempts", "1");
    (void)told(f, f->bad, "S!");
    mail all = mail_of(f, f->bad);
    assert_true(all.count == 1 && all.last.set_aside && all.last.attempts == 1);
    limit(f, "attempts", "5");
    (void)told(f, f->good, "D!");
    run(f);
    all = mail_of(f, f->bad);
    assert_true(all.count == 2 && all.last.set_aside && all.last.attempts == 5);
    limits_end(f);
}

/* Who awaits the answer is told; that message is gone, as it always was. */
static void test_hostile_awaited_trap_is_told(void **state)
{
    hostile_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    begin(f, 0);
    assert_int_equal(tell(f, f->bad, "!", &answer, &error), DW_E_TRAP);
    assert_non_null(strstr(error.message, "unreachable"));
    assert_int_equal(mail_of(f, f->bad).count, 0);
    assert_int_equal(told(f, f->bad, "+2"), 2);
    assert_int_equal(problems_of(f), 0);
    end(f);
}

static void test_hostile_endless_message_is_set_aside(void **state)
{
    hostile_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    begin(f, 60);
    (void)told(f, f->good, "D+1");
    (void)told(f, f->bad, "Sl");
    assert_int_equal(told(f, f->good, "D+2"), 0);
    assert_int_equal(told(f, f->good, "+7"), 7);
    run(f);
    (void)assert_aside(f, f->bad, f->bad, "l", "60 ms");
    assert_int_equal(told(f, f->bad, "+0"), 3);
    assert_int_equal(tell(f, f->bad, "l", &answer, &error), DW_E_LIMIT);
    end(f);
}

/* ---- messages that kill their process ---------------------------------------------------- */

static int open_hostile(void **state);

/* What the process does that is killed. */
static int work(int argc, char **args)
{
    void *state = NULL;
    runtime_answer answer;
    dw_error error = {.message = ""};
    (void)snprintf(folder, sizeof folder, "%s", args[0]);
    if (open_hostile(&state) != 0) {
        return 2;
    }
    hostile_fixture *f = state;
    open_runtime(f, kill_process);
    dw_status status = argc == 1 ? dw_runtime_work(f->r->runtime, DW_WORK_ALL, &error)
                                 : tell(f, args[1], args[2], &answer, &error);
    (void)fprintf(stderr, "%s\n", error.message);
    _exit(status == DW_OK ? 0 : 1); /* as if killed: what is open stays so */
}

/* The same of a runtime that works by itself, until something of the actor was set aside. */
static int live(char **args)
{
    void *state = NULL;
    (void)snprintf(folder, sizeof folder, "%s", args[0]);
    if (open_hostile(&state) != 0) {
        return 2;
    }
    hostile_fixture *f = state;
    runtime_id id;
    (void)snprintf(id.text, sizeof id.text, "%s", args[1]);
    open_runtime_of(f, kill_process, false);
    while (runtime_info(f->r, &id).set_aside == 0) {
        (void)usleep(2000);
    }
    _exit(0);
}

/* Whether a process was killed that did `what`; else it ended well. */
static bool ends(const char *what, const char *id, const char *text)
{
    char program[512];
    dw_error error;
    int status = 0;
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    pid_t process = fork();
    if (process == 0) {
        (void)execl(program, program, what, folder, id, text, (char *)NULL);
        _exit(126);
    }
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static bool is_killed(const char *id, const char *text)
{
    return ends(id != NULL ? "--send" : "--run", id, text);
}

static void test_hostile_killers_are_set_aside(void **state)
{
    static const char *const messages[] = {"Sk", "Ak"}; /* a message, a timer's */
    hostile_fixture *f = *state;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        begin(f, 0);
        end(f);
        assert_int_equal(is_killed(f->bad, messages[i]), i == 0); /* its first attempt, or none */
        assert_false(is_killed(f->good, "+1"));
        for (int attempt = i == 0; attempt < ATTEMPTS; attempt++) {
            assert_true(is_killed(NULL, NULL));
        }
        assert_false(is_killed(NULL, NULL));
        open_runtime(f, on_stderr);
        (void)assert_aside(f, f->bad, f->bad, "k", "the process ended");
        assert_int_equal(told(f, f->bad, "+1"), 1);
        assert_int_equal(told(f, f->good, "+1"), 2);
        end(f);
    }
}

/* A timer's message that kills its process each time is given up alone: what other timers brought
 * is done once, and later ones ring; of a runtime that works on request, and of one that works by
 * itself, which finds the timer when it is opened. */
static void test_hostile_timers_that_kill(void **state)
{
    static const char *const timers[] = {"A+5", "A+6", "Ak"};
    hostile_fixture *f = *state;
    for (int lives = 0; lives < 2; lives++) {
        begin(f, 0);
        end(f);
        for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
            assert_false(is_killed(f->bad, timers[i]));
        }
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            assert_true(lives ? ends("--live", f->bad, NULL) : is_killed(NULL, NULL));
        }
        assert_false(lives ? ends("--live", f->bad, NULL) : is_killed(NULL, NULL));
        open_runtime(f, on_stderr);
        (void)assert_aside(f, f->bad, f->bad, "k", "the process ended");
        assert_int_equal(told(f, f->bad, "+0"), 11);
        (void)told(f, f->bad, "A+4");
        run(f);
        assert_int_equal(told(f, f->bad, "+0"), 15);
        (void)assert_aside(f, f->bad, f->bad, "k", "the process ended");
        assert_int_equal(told(f, f->good, "+1"), 1);
        end(f);
    }
}

/* The first message of whom is sent to them from outside: each kill takes its sender with it. */
static void test_hostile_killers_of_their_senders(void **state)
{
    hostile_fixture *f = *state;
    begin(f, 0);
    end(f);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        assert_true(is_killed(f->bad, attempt == 0 ? "k" : "+1"));
    }
    assert_false(is_killed(f->bad, "+1"));
    open_runtime(f, on_stderr);
    (void)assert_aside(f, f->bad, "", "k", "the process ended");
    assert_int_equal(told(f, f->bad, "+0"), 3);
    end(f);
}

/* A guest that kills the process before its first message: the message that asked for it is. */
static void test_hostile_spawns_that_kill(void **state)
{
    hostile_fixture *f = *state;
    begin(f, 0);
    end(f);
    assert_true(is_killed(f->bad, "Ustillborn"));
    for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
        assert_true(is_killed(NULL, NULL));
    }
    open_runtime(f, on_stderr);
    run(f);
    assert_int_equal(problems_of(f), 1);
    assert_problem(f, "set aside after 3 attempts: the process ended");
    run(f);
    assert_int_equal(problems_of(f), 1);
    assert_int_equal(told(f, f->bad, "+1"), 1);
    end(f);
}

/* ---- trees of descent --------------------------------------------------------------------- */

typedef struct id_list {
    char ids[64][DW_ACTOR_ID_CHARS + 1];
    size_t count;
} id_list;

static id_list all_ids(hostile_fixture *f)
{
    id_list list = {.count = 0};
    runtime_id ids[64];
    list.count = runtime_ids(f->r, ids, 64);
    for (size_t i = 0; i < list.count; i++) {
        memcpy(list.ids[i], ids[i].text, sizeof list.ids[i]);
    }
    return list;
}

static dw_runtime_actor_info info_of(hostile_fixture *f, const char *id)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    dw_error error = {.message = ""};
    dw_status status = dw_runtime_get_actor_info(f->r->runtime, id, &info, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return info;
}

/* One of those that were forked from it or spawned by it. */
static const char *child_of(hostile_fixture *f, const id_list *list, const char *parent)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(info_of(f, list->ids[i]).parent, parent) == 0) {
            return list->ids[i];
        }
    }
    fail_msg("%s has no child", parent);
    return NULL;
}

static void test_hostile_trees_are_stopped(void **state)
{
    hostile_fixture *f = *state;
    dw_error error = {.message = ""};
    uint64_t count = 0;
    char middle[DW_ACTOR_ID_CHARS + 1];
    char own[DW_ACTOR_ID_CHARS + 1];
    begin(f, 0);
    assert_int_equal(told(f, f->bad, "F3"), 3);
    assert_int_equal(told(f, f->bad, "N2"), 2);
    id_list list = all_ids(f);
    assert_int_equal(list.count, 2 + 5);
    (void)snprintf(middle, sizeof middle, "%s", child_of(f, &list, f->bad));
    assert_int_equal(info_of(f, middle).depth, 1);
    assert_int_equal(told(f, middle, "F4"), 4);
    list = all_ids(f);
    assert_int_equal(info_of(f, child_of(f, &list, middle)).depth, 2);
    assert_string_equal(info_of(f, f->good).parent, "");
    /* Who was forked from outside descends, too, and is the head of what it makes. */
    assert_int_equal(dw_runtime_fork(f->r->runtime, middle, own, &error), DW_OK);
    assert_string_equal(info_of(f, own).parent, middle);
    assert_int_equal(info_of(f, own).depth, 0);
    assert_int_equal(dw_runtime_stop_tree(f->r->runtime, middle, &count, &error), DW_OK);
    assert_int_equal(count, 1 + 4 + 1);
    assert_int_equal(all_ids(f).count, 2 + 4);
    assert_int_equal(dw_runtime_stop_tree(f->r->runtime, middle, &count, &error), DW_E_NOT_FOUND);
    /* Between two there is one that has ended, and what waits would make more of them. */
    list = all_ids(f);
    (void)snprintf(middle, sizeof middle, "%s", child_of(f, &list, f->bad));
    assert_int_equal(told(f, middle, "F2"), 2);
    assert_int_equal(dw_runtime_stop(f->r->runtime, middle, &error), DW_OK);
    (void)told(f, f->good, "DSF9");
    assert_int_equal(dw_runtime_stop_tree(f->r->runtime, f->bad, &count, &error), DW_OK);
    assert_int_equal(count, 1 + 3 + 2);
    run(f);
    assert_int_equal(all_ids(f).count, 1);
    assert_int_equal(told(f, f->good, "+5"), 5);
    assert_int_equal(told(f, f->good, "F2"), 2);
    assert_int_equal(dw_runtime_stop_all(f->r->runtime, &count, &error), DW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(all_ids(f).count, 0);
    assert_int_equal(dw_runtime_stop_all(f->r->runtime, &count, &error), DW_OK);
    assert_int_equal(count, 0);
    end(f);
}

/* Longer lines than a name holds ids; each generation but the last has ended. */
static void test_hostile_long_descent(void **state)
{
    enum { GENERATIONS = 30 };
    hostile_fixture *f = *state;
    dw_error error = {.message = ""};
    uint64_t count = 0;
    char id[GENERATIONS + 1][DW_ACTOR_ID_CHARS + 1];
    begin(f, 0);
    memcpy(id[0], f->bad, sizeof id[0]);
    for (int i = 0; i < GENERATIONS; i++) {
        assert_int_equal(told(f, id[i], "F1"), 1);
        id_list list = all_ids(f);
        memcpy(id[i + 1], child_of(f, &list, id[i]), sizeof id[0]);
        assert_int_equal(info_of(f, id[i + 1]).depth, i + 1);
        if (i > 5) {
            assert_int_equal(dw_runtime_stop(f->r->runtime, id[i], &error), DW_OK);
        }
    }
    assert_int_equal(dw_runtime_stop_tree(f->r->runtime, id[5], &count, &error), DW_OK);
    assert_int_equal(count, 2); /* itself and the last one */
    assert_int_equal(all_ids(f).count, 1 + 5);
    end(f);
}

/* ---- storms ------------------------------------------------------------------------------- */

/* The same folder under other limits. */
static void limit(hostile_fixture *f, const char *name, const char *value)
{
    dw_error error = {.message = ""};
    end(f);
    assert_int_equal(dw_limits_set(&f->limits, name, value, &error), DW_OK);
    open_runtime(f, on_stderr);
}

static void limits_end(hostile_fixture *f)
{
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits};
    end(f);
}

/* How many of what was asked for were granted, and why one was not. */
static void assert_granted(hostile_fixture *f, const char *id, const char *text, uint32_t count,
                           const char *why)
{
    runtime_answer answer;
    dw_error error;
    uint32_t granted = 0;
    dw_status status = tell(f, id, text, &answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    memcpy(&granted, answer.bytes, sizeof granted);
    if (granted != count || strstr((char *)answer.bytes + sizeof granted, why) == NULL) {
        fail_msg("%s: %u were granted: %s", text, granted, answer.bytes + sizeof granted);
    }
}

static void test_hostile_messages_of_one_cause_end(void **state)
{
    static const char *const storms[] = {"s", "p", "b"}; /* to itself, to each other, ever more */
    hostile_fixture *f = *state;
    for (size_t i = 0; i < sizeof storms / sizeof storms[0]; i++) {
        begin(f, 0);
        limit(f, "caused_messages", "40");
        (void)told(f, f->bad, storms[i]); /* returns at its answer */
        assert_int_equal(told(f, f->good, "D+1"), 0);
        run(f);
        uint32_t worked = told(f, f->bad, "+0");
        worked += i == 1 ? told(f, f->good, "+0") : 0;
        assert_int_equal(worked, 1 + 40 + 1);
        assert_int_equal(mail_of(f, f->bad).count, 0);
        /* The next from outside may cause as many; an opening in between changes nothing. */
        (void)told(f, f->bad, storms[i]);
        end(f);
        open_runtime(f, on_stderr);
        run(f);
        worked = told(f, f->bad, "+0");
        worked += i == 1 ? told(f, f->good, "+0") : 0;
        assert_in_range(worked, 1 + 2 * 41, 1 + 2 * 41 + 2);
        assert_int_equal(told(f, f->good, "D+1"), 0);
        limits_end(f);
    }
}

/* One message an actor a turn: a good actor's messages do not wait for a storm's end. */
static void test_hostile_turns_are_fair(void **state)
{
    enum { MESSAGES = 5 };
    hostile_fixture *f = *state;
    begin(f, 0);
    limit(f, "caused_messages", "400");
    (void)told(f, f->bad, "b");
    for (int i = 0; i < MESSAGES; i++) { /* two wait for each turn that is over */
        (void)told(f, f->bad, "C2");
    }
    run(f);
    assert_int_equal(told(f, f->good, "+0"), 2 * MESSAGES);
    limits_end(f);
}

static void test_hostile_forks_and_spawns_end(void **state)
{
    static const char *const storms[] = {"f", "n"};
    hostile_fixture *f = *state;
    for (size_t i = 0; i < sizeof storms / sizeof storms[0]; i++) {
        begin(f, 0);
        limit(f, "descendants", "20");
        (void)told(f, f->bad, storms[i]);
        run(f);
        assert_int_equal(all_ids(f).count, 2 + 20);
        assert_granted(f, f->bad, i == 0 ? "F2" : "N2", 0, "(descendants)");
        assert_granted(f, f->good, i == 0 ? "F2" : "N2", 2, ""); /* a tree of its own */
        /* One that ends makes room for one. */
        id_list list = all_ids(f);
        dw_error error;
        assert_int_equal(dw_runtime_stop(f->r->runtime, child_of(f, &list, f->bad), &error), DW_OK);
        assert_granted(f, f->bad, "F3", 1, "limit 20");
        run(f);
        limits_end(f);
    }
}

static void test_hostile_limits_of_making(void **state)
{
    hostile_fixture *f = *state;
    dw_error error;
    char id[DW_ACTOR_ID_CHARS + 1];
    begin(f, 0);
    limit(f, "spawns", "3");
    assert_granted(f, f->bad, "F5", 3, "(spawns)");
    assert_granted(f, f->bad, "N3", 3, "");
    limit(f, "generations", "1");
    id_list list = all_ids(f);
    assert_granted(f, child_of(f, &list, f->bad), "F1", 0, "(generations)");
    assert_granted(f, f->good, "F1", 1, "");
    assert_int_equal(dw_runtime_stop_tree(f->r->runtime, f->good, NULL, &error), DW_OK);
    list = all_ids(f);
    limit(f, "actors", "9");
    assert_granted(f, f->bad, "F3", 2, "(actors)");
    assert_int_equal(all_ids(f).count, 9);
    assert_int_equal(dw_runtime_fork(f->r->runtime, f->bad, id, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "9 in the runtime, limit 9 (actors)"));
    assert_int_equal(dw_runtime_stop(f->r->runtime, child_of(f, &list, f->bad), &error), DW_OK);
    assert_int_equal(dw_runtime_fork(f->r->runtime, f->bad, id, &error), DW_OK);
    limits_end(f);
}

/* What is thawed to be run apart has nothing to do with the folder any more, nor with its
 * runtime. */
static void test_hostile_copies_outlive_their_runtime(void **state)
{
    hostile_fixture *f = *state;
    runtime_answer answer = {.count = 0};
    dw_error error = {.message = ""};
    dw_actor *actor = NULL;
    uint32_t granted = 0;
    begin(f, 0);
    limit(f, "spawns", "1");
    assert_int_equal(runtime_copy(f->r, f->bad, &actor, &error), DW_OK);
    limits_end(f);
    assert_int_equal(dw_actor_send(actor, NULL, "F5", 2, &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, runtime_keep, &answer, &error), DW_OK);
    memcpy(&granted, answer.bytes, sizeof granted);
    assert_int_equal(granted, 5);
    dw_actor_destroy(actor);
}

static void test_hostile_limits_of_the_folder(void **state)
{
    hostile_fixture *f = *state;
    dw_error error = {.message = ""};
    runtime_answer answer;
    begin(f, 0);
    (void)told(f, f->good, "+1");
    limit(f, "mail", "3");
    assert_granted(f, f->bad, "C20", 20, ""); /* what the other has room for shows later */
    assert_int_equal(problems_of(f), 20 - 3 * 3);
    assert_problem(f, "(mail)");
    run(f);
    assert_int_equal(told(f, f->good, "+0"), 1 + 3 * 3);
    limit(f, "folder_bytes", "64K");
    assert_granted(f, f->bad, "F1", 1, "");
    assert_int_equal(problems_of(f), 1);
    assert_problem(f, "(folder_bytes)");
    assert_int_equal(all_ids(f).count, 2);
    assert_int_equal(tell(f, f->bad, "+1", &answer, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "(folder_bytes)"));
    assert_int_equal(mail_of(f, f->bad).count, 0);
    limit(f, "folder_bytes", "1G");
    assert_granted(f, f->bad, "F1", 1, "");
    assert_int_equal(told(f, f->bad, "+1"), 1);
    limits_end(f);
}

/* ---- all --------------------------------------------------------------------------------- */

static int open_hostile(void **state)
{
    void *runtime = NULL;
    if (runtime_fixture_open(&runtime) != 0) {
        return 1;
    }
    hostile_fixture *f = dw_alloc(1, sizeof *f);
    f->r = runtime;
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits};
    *state = f;
    return 0;
}

static int open_fixture(void **state)
{
    return mkdtemp(root) != NULL ? open_hostile(state) : 1;
}

static int close_fixture(void **state)
{
    hostile_fixture *f = *state;
    void *runtime = f->r;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r '%s'", root);
    dw_free(f);
    return runtime_fixture_close(&runtime) == 0 && system(command) == 0 ? 0 : 1;
}

#define TEST(name) cmocka_unit_test(test_hostile_##name)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(trap_is_set_aside),
        TEST(attempts_are_limited),
        TEST(timer_is_set_aside),
        TEST(awaited_trap_is_told),
        TEST(endless_message_is_set_aside),
        TEST(killers_are_set_aside),
        TEST(timers_that_kill),
        TEST(killers_of_their_senders),
        TEST(spawns_that_kill),
        TEST(trees_are_stopped),
        TEST(long_descent),
        TEST(messages_of_one_cause_end),
        TEST(turns_are_fair),
        TEST(forks_and_spawns_end),
        TEST(limits_of_making),
        TEST(copies_outlive_their_runtime),
        TEST(limits_of_the_folder),
    };
    if (argc >= 3 && (strcmp(argv[1], "--run") == 0 || strcmp(argv[1], "--send") == 0)) {
        return work(argc - 2, argv + 2);
    }
    if (argc == 4 && strcmp(argv[1], "--live") == 0) {
        return live(argv + 2);
    }
    wasm_signals_save();
    return cmocka_run_group_tests_name("runtime, hostile to its folder", tests, open_fixture,
                                       close_fixture);
}
