/* The runtime's log: what is told, to whom, and that nobody waits for it. */
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime/guest_lines.h"
#include "seeing/log.h"
#include "runtime_fixture.h"
#include "support.h"

#define LINES 4096

typedef struct logged {
    pthread_mutex_t lock;
    size_t count;
    uint64_t lost;
    bool blocks;
    dw_runtime *runtime; /* which on_log looks at */
    struct {
        dw_log_level level;
        char event[32];
        char actor[DW_ACTOR_ID_CHARS + 1];
        char tenant[DW_TENANT_NAME_MAX + 1];
        char limit[32];
        char text[248];
        uint64_t message;
        uint64_t attempts;
        uint64_t lines_lost;
    } lines[LINES];
} logged;

static logged seen;

static void on_log(void *user, const dw_log_entry *entry)
{
    (void)user;
    (void)pthread_mutex_lock(&seen.lock);
    while (seen.blocks) {
        (void)pthread_mutex_unlock(&seen.lock);
        usleep(1000);
        (void)pthread_mutex_lock(&seen.lock);
    }
    if (seen.runtime != NULL) { /* also while it is being closed */
        dw_scheduler_stats stats = {.struct_bytes = sizeof stats};
        assert_int_equal(dw_runtime_get_scheduler_stats(seen.runtime, &stats), DW_OK);
    }
    seen.lost += entry->lost;
    if (seen.count < LINES) {
        size_t i = seen.count++;
        seen.lines[i].level = entry->level;
        seen.lines[i].message = entry->message;
        seen.lines[i].attempts = seen.lines[i].lines_lost = 0;
        (void)snprintf(seen.lines[i].event, sizeof seen.lines[i].event, "%s", entry->event);
        (void)snprintf(seen.lines[i].actor, sizeof seen.lines[i].actor, "%s", entry->actor);
        (void)snprintf(seen.lines[i].tenant, sizeof seen.lines[i].tenant, "%s", entry->tenant);
        (void)snprintf(seen.lines[i].limit, sizeof seen.lines[i].limit, "%s", entry->limit);
        (void)snprintf(seen.lines[i].text, sizeof seen.lines[i].text, "%s", entry->text);
        for (size_t k = 0; k < entry->field_count; k++) {
            if (strcmp(entry->fields[k].name, "attempts") == 0) {
                seen.lines[i].attempts = entry->fields[k].value;
            } else if (strcmp(entry->fields[k].name, "lines_lost") == 0) {
                seen.lines[i].lines_lost = entry->fields[k].value;
            }
        }
    }
    (void)pthread_mutex_unlock(&seen.lock);
}

static dw_runtime *open_logged(runtime_fixture *f, dw_log_level level, int fd, uint32_t rate_max,
                               const dw_limits *limits)
{
    dw_runtime *runtime = NULL;
    dw_error error = {.message = ""};
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .log_level = level,
                                        .on_log = on_log,
                                        .log_fd = fd,
                                        .log_rate_max = rate_max,
                                        .limits = limits};
    seen.count = 0;
    seen.lost = 0;
    seen.runtime = NULL;
    dw_status status = dw_runtime_open(&runtime, f->actors->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_signals_restore();
    f->runtime = runtime;
    (void)pthread_mutex_lock(&seen.lock);
    seen.runtime = runtime;
    (void)pthread_mutex_unlock(&seen.lock);
    return runtime;
}

/* How many entries are of that event and, unless it is NULL, limit; the last of them is `*at`. */
static size_t count_of(const char *event, const char *limit, size_t *at)
{
    size_t count = 0;
    for (size_t i = 0; i < seen.count; i++) {
        if (strcmp(seen.lines[i].event, event) == 0 &&
            (limit == NULL || strcmp(seen.lines[i].limit, limit) == 0)) {
            *at = i;
            count++;
        }
    }
    return count;
}

static void test_log_tells_what_went_wrong(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    size_t at = 0;
    const dw_limits limits = {.struct_bytes = sizeof limits,
                              .attempts = 2,
                              .cpu_timeout_ms = 50,
                              .spawns = 3,
                              .effects = 100000};
    dw_runtime *runtime = open_logged(f, DW_LOG_NONE, 0, 0, &limits);
    runtime_id traps = runtime_spawned(f, f->hostile, NULL);
    runtime_id sends = runtime_spawned(f, f->hostile, NULL);
    runtime_id loops = runtime_spawned(f, f->hostile, NULL);
    runtime_id asks = runtime_spawned(f, f->hostile, NULL);
    const dw_spawn_options nothing = {.struct_bytes = sizeof nothing};
    runtime_id denied = runtime_spawned(f, f->hostile, &nothing);
    assert_int_equal(runtime_tell(f, &traps, "!", &answer, &error), DW_E_TRAP);
    char other[DW_ACTOR_ID_CHARS + 2];
    (void)snprintf(other, sizeof other, "I%s", traps.text);
    assert_int_equal(runtime_tell(f, &sends, other, &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &sends, "D!", &answer, &error), DW_OK); /* it traps twice */
    assert_int_equal(runtime_tell(f, &loops, "l", &answer, &error), DW_E_LIMIT);
    assert_int_equal(runtime_tell(f, &asks, "F100", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &denied, "F1", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &loops, "+1", &answer, &error), DW_OK);
    runtime_await(f);
    dw_runtime_close(runtime);
    for (size_t i = 0; i < seen.count; i++) { /* by default warnings and what is worse */
        assert_true(seen.lines[i].level <= DW_LOG_WARN && seen.lines[i].level > DW_LOG_NONE);
    }
    assert_true(count_of("message-failed", NULL, &at) >= 3);
    assert_int_equal(count_of("message-failed", "cpu_timeout_ms", &at), 1);
    assert_string_equal(seen.lines[at].actor, loops.text);
    assert_true(seen.lines[at].message > 0);
    assert_int_equal(count_of("limit-reached", "spawns", &at), 1);
    assert_string_equal(seen.lines[at].actor, asks.text);
    assert_int_equal(count_of("refused", NULL, &at), 1);
    assert_string_equal(seen.lines[at].actor, denied.text);
    assert_non_null(strstr(seen.lines[at].text, "fork"));
    assert_true(count_of("message-set-aside", NULL, &at) >= 1);
    assert_true(count_of("actor-restarted", NULL, &at) >= 2);
    assert_int_equal(count_of("actor-made", NULL, &at), 0);
    assert_int_equal(seen.lost, 0);
}

/* What a tenant's name or a guest's words hold, each line is one JSON object. */
static void test_log_writes_lines_of_json(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    char line[8192];
    size_t lines = 0;
    bool made = false;
    static const char name[] = "a\"}\n\x7f\xc3\xbf{";
    char tenant[sizeof name];
    FILE *file = tmpfile();
    assert_non_null(file);
    dw_runtime *runtime = open_logged(f, DW_LOG_DEBUG, fileno(file), 0, NULL);
    memcpy(tenant, name, sizeof name);
    tenant[3] = ' '; /* no character below that is in a name */
    const dw_tenant_options any = {.struct_bytes = sizeof any, .capabilities = DW_MAY_ALL};
    assert_int_equal(dw_runtime_set_tenant(runtime, tenant, &any, &error), DW_OK);
    const dw_spawn_options of_it = {.struct_bytes = sizeof of_it, .tenant = tenant};
    runtime_id id = runtime_spawned(f, f->hostile, &of_it);
    assert_int_equal(runtime_tell(f, &id, "!", &answer, &error), DW_E_TRAP);
    assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    dw_runtime_close(runtime);
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        json_error_t bad;
        json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &bad);
        assert_non_null(root);
        lines++;
        const char *event = json_string_value(json_object_get(root, "event"));
        assert_non_null(event);
        assert_non_null(json_string_value(json_object_get(root, "level")));
        assert_int_equal(strlen(json_string_value(json_object_get(root, "time"))), 24);
        assert_true(json_integer_value(json_object_get(root, "time_ms")) > 0);
        if (strcmp(event, "actor-made") == 0) {
            made = true;
            assert_string_equal(json_string_value(json_object_get(root, "tenant")),
                                "a\"} \x7f\xc3\xbf{");
            assert_string_equal(json_string_value(json_object_get(root, "actor")), id.text);
        }
        json_decref(root);
    }
    assert_true(made);
    assert_int_equal(lines, seen.count);
    (void)fclose(file);
}

/* Callback and pipe both stand still: messages do not; and the runtime closes. */
static void test_log_holds_nobody_up(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    int fds[2];
    char byte = 'x';
    assert_int_equal(pipe(fds), 0);
    int flags = fcntl(fds[1], F_GETFL);
    assert_int_equal(fcntl(fds[1], F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fds[1], &byte, 1) == 1) {} /* it is full */
    assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
    seen.blocks = true;
    dw_runtime *runtime = open_logged(f, DW_LOG_DEBUG, fds[1], 1000000, NULL);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    }
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(runtime, &stats), DW_OK);
    assert_true(stats.lost_log_entries >= 1000);
    (void)pthread_mutex_lock(&seen.lock);
    seen.blocks = false;
    (void)pthread_mutex_unlock(&seen.lock);
    uint64_t began = dw_os_clock_ns();
    dw_runtime_close(runtime);
    assert_true(dw_os_clock_ns() - began < UINT64_C(20000000000));
    assert_true(seen.count >= 1024);
    close(fds[0]);
    close(fds[1]);
}

static void test_log_is_bounded_in_time(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    dw_runtime *runtime = open_logged(f, DW_LOG_DEBUG, 0, 5, NULL);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    }
    usleep(1100000);
    assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    dw_runtime_close(runtime);
    assert_true(seen.lost >= 100); /* the next entry tells of them */
    assert_true(seen.count <= 30);
}

/* A pipe that nobody reads any more ends neither the program nor the runtime. */
static void test_log_survives_its_reader(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    dw_runtime *runtime = open_logged(f, DW_LOG_DEBUG, fds[1], 0, NULL);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    }
    dw_runtime_close(runtime);
    assert_true(seen.count > 20);
    close(fds[1]);
    const dw_runtime_options bad = {.struct_bytes = sizeof bad, .log_fd = fds[1]};
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, &bad, &error), DW_E_RANGE);
    const dw_runtime_options worse = {.struct_bytes = sizeof worse, .log_level = (dw_log_level)5};
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, &worse, &error), DW_E_RANGE);
    f->runtime = NULL;
}

static void test_log_tells_slow_messages(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    size_t at = 0;
    dw_runtime *runtime = NULL;
    const dw_limits limits = {.struct_bytes = sizeof limits, .timeout_ms = 80};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .on_log = on_log, .slow_message_ms = 40, .limits = &limits};
    seen.count = 0;
    seen.runtime = NULL;
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, &options, &error), DW_OK);
    wasm_signals_restore();
    f->runtime = runtime;
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    assert_int_equal(runtime_tell(f, &id, "l", &answer, &error), DW_E_LIMIT);
    dw_runtime_close(runtime);
    assert_int_equal(count_of("message-slow", NULL, &at), 1);
    assert_int_equal(count_of("message-failed", "timeout_ms", &at), 1);
}

static ptrdiff_t count_bytes(void *user, const unsigned char *bytes, size_t count)
{
    (void)bytes;
    *(size_t *)user += count;
    return (ptrdiff_t)count;
}

static void expect_line(size_t *at, dw_log_level level, const char *text, const char *actor)
{
    while (*at < seen.count && strcmp(seen.lines[*at].event, "guest-log") != 0) {
        (*at)++;
    }
    assert_true(*at < seen.count);
    assert_string_equal(seen.lines[*at].text, text);
    assert_int_equal(seen.lines[*at].level, level);
    assert_string_equal(seen.lines[*at].actor, actor);
    assert_true(seen.lines[*at].message > 0);
    (*at)++;
}

/* In three, cut between its characters of two bytes. */
static void expect_long_line(size_t *at)
{
    size_t bytes = 0;
    for (int i = 0; i < 3; i++) {
        while (strcmp(seen.lines[*at].event, "guest-log") != 0) {
            (*at)++;
        }
        size_t length = strlen(seen.lines[*at].text);
        assert_true(length % 2 == 0 && length > 0 && length < sizeof seen.lines[*at].text);
        assert_int_equal((unsigned char)seen.lines[*at].text[0], 0xc3);
        (*at)++;
        bytes += length;
    }
    assert_int_equal(bytes, 2 * sizeof seen.lines[0].text);
}

/* Lines of standard error, whose beginnings say how urgent they are; what the guest was granted has
 * them as well. */
static void test_log_has_lines_of_guests(void **state)
{
    enum { MANY = 300 };
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    size_t written = 0;
    size_t at = 0;
    runtime_id id;
    char text[4096] = "!";
    dw_runtime *runtime = open_logged(f, DW_LOG_DEBUG, 0, 0, NULL);
    dw_module *printer = actor_module(f->actors, "actor_printer.wasm");
    const dw_instance_options instance = {
        .struct_bytes = sizeof instance, .on_stderr = count_bytes, .user = &written};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .actor = &actor};
    assert_int_equal(dw_runtime_spawn(runtime, printer, &spawn, id.text, &error), DW_OK);
    static const char lines[] = "!plain\r\n<3>bad\n\nError: worse\n[WARN] odd\ndebug: fine\n"
                                "errors happen\n<9>what\n<7>quiet\nno end";
    assert_int_equal(runtime_tell(f, &id, lines, &answer, &error), DW_OK);
    assert_string_equal((const char *)answer.bytes, "told");
    assert_int_equal(written, sizeof lines - 2);
    for (size_t i = 1; i < 2 * sizeof seen.lines[0].text; i += 2) { /* two bytes a character */
        memcpy(text + i, "\xc3\xa4", 3);
    }
    assert_int_equal(runtime_tell(f, &id, text, &answer, &error), DW_OK);
    size_t count = 0;
    for (text[count++] = '!'; count < 2 * MANY; count += 2) {
        memcpy(text + count, "x\n", 3);
    }
    (void)sleep(1); /* the next second, which these fill */
    assert_int_equal(runtime_tell(f, &id, text, &answer, &error), DW_OK);
    (void)sleep(1);
    assert_int_equal(runtime_tell(f, &id, "!last", &answer, &error), DW_OK);
    dw_runtime_close(runtime);
    dw_module_unref(printer);
    expect_line(&at, DW_LOG_INFO, "plain", id.text);
    expect_line(&at, DW_LOG_ERROR, "bad", id.text);
    expect_line(&at, DW_LOG_ERROR, "Error: worse", id.text);
    expect_line(&at, DW_LOG_WARN, "[WARN] odd", id.text);
    expect_line(&at, DW_LOG_DEBUG, "debug: fine", id.text);
    expect_line(&at, DW_LOG_INFO, "errors happen", id.text);
    expect_line(&at, DW_LOG_INFO, "<9>what", id.text);
    expect_line(&at, DW_LOG_DEBUG, "quiet", id.text);
    expect_line(&at, DW_LOG_INFO, "no end", id.text);
    expect_long_line(&at);
    size_t last = 0;
    size_t all = count_of("guest-log", NULL, &last);
    assert_string_equal(seen.lines[last].text, "last");
    assert_int_equal(all - 9 - 3 - 1 + seen.lines[last].lines_lost, MANY);
    assert_true(seen.lines[last].lines_lost > 0);
}

/* Bytes of chance: no entry holds more or less than they say, and the level costs no more. */
static void test_log_reads_any_line(void **state)
{
    const char *seed_text = getenv("DW_TEST_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : dw_os_clock_ns();
    static const char bits[] = "<<0123456789>>[[]]eErRoOwWaArRnN:iInNfFoO \xff\xc3\xa4";
    (void)state;
    print_message("DW_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 100000; i++) {
        char line[16];
        size_t count = (seed >> 40) % sizeof line;
        for (size_t k = 0; k < count; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            line[k] = bits[(seed >> 33) % (sizeof bits - 1)];
        }
        line[count] = '\0';
        const char *rest = line;
        dw_log_level level = dw__guest_line_level(&rest);
        assert_true(level >= DW_LOG_ERROR && level <= DW_LOG_DEBUG);
        assert_true(rest == line || (rest == line + 3 && line[0] == '<' && line[2] == '>'));
        seed = seed * 6364136223846793005u + 1442695040888963407u;
    }
}

static void test_log_knows_limits(void **state)
{
    (void)state;
    assert_string_equal(dw_limit_in("mailbox: 3 messages wait, limit 3 (mail)"), "mail");
    assert_string_equal(dw_limit_in("message: 9 bytes, limit 8 (message_bytes)"), "message_bytes");
    assert_string_equal(dw_limit_in("kv_bytes: 5 bytes more than the 4"), "kv_bytes");
    assert_string_equal(dw_limit_in("the guest trapped: files and mail"), "");
    assert_string_equal(dw_limit_in(""), "");
}

int main(void)
{
    wasm_signals_save();
    assert_int_equal(pthread_mutex_init(&seen.lock, NULL), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_tells_what_went_wrong),
        cmocka_unit_test(test_log_writes_lines_of_json),
        cmocka_unit_test(test_log_holds_nobody_up),
        cmocka_unit_test(test_log_is_bounded_in_time),
        cmocka_unit_test(test_log_survives_its_reader),
        cmocka_unit_test(test_log_tells_slow_messages),
        cmocka_unit_test(test_log_has_lines_of_guests),
        cmocka_unit_test(test_log_reads_any_line),
        cmocka_unit_test(test_log_knows_limits),
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
