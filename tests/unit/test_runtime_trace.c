/* Traces: files that a JSON parser reads, in which slices nest and each message has its own. */
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

#define MODEL "SmolLM2-135M-Instruct.Q4_1.gguf"

static json_t *load(FILE *file)
{
    json_error_t bad;
    rewind(file);
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &bad);
    assert_non_null(root);
    return root;
}

static const char *text(const json_t *event, const char *name)
{
    const char *value = json_string_value(json_object_get(event, name));
    return value != NULL ? value : "";
}

static uint64_t whole(const json_t *event, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(event, name));
}

static uint64_t arg(const json_t *event, const char *name)
{
    return whole(json_object_get(event, "args"), name);
}

/* In nanoseconds. */
static uint64_t moment(const json_t *event, const char *name)
{
    return (uint64_t)(json_number_value(json_object_get(event, name)) * 1000.0 + 0.5);
}

static bool is(const json_t *event, const char *phase, const char *name)
{
    return strcmp(text(event, "ph"), phase) == 0 &&
           (name == NULL || strcmp(text(event, "name"), name) == 0);
}

typedef struct slice {
    uint64_t track;
    uint64_t from;
    uint64_t to;
} slice;

static int compare(const void *a, const void *b)
{
    const slice *one = a;
    const slice *other = b;
    if (one->track != other->track) {
        return one->track < other->track ? -1 : 1;
    }
    if (one->from != other->from) {
        return one->from < other->from ? -1 : 1;
    }
    return one->to > other->to ? -1 : one->to < other->to;
}

/* On each track a slice is inside of another, or behind it. */
static void assert_nested(const json_t *events)
{
    static slice slices[65536];
    static uint64_t ends[64];
    size_t count = 0;
    size_t depth = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        assert_true(json_is_integer(json_object_get(event, "pid")));
        assert_true(json_is_integer(json_object_get(event, "tid")));
        assert_true(text(event, "name")[0] != '\0');
        if (is(event, "X", NULL)) {
            assert_true(count < 65536);
            uint64_t from = moment(event, "ts");
            assert_true(json_number_value(json_object_get(event, "dur")) >= 0);
            slices[count++] = (slice){whole(event, "pid") << 32 | whole(event, "tid"), from,
                                      from + moment(event, "dur")};
        }
    }
    assert_true(count > 0);
    qsort(slices, count, sizeof *slices, compare);
    for (size_t i = 0; i < count; i++) {
        depth = i > 0 && slices[i].track != slices[i - 1].track ? 0 : depth;
        while (depth > 0 && ends[depth - 1] <= slices[i].from) {
            depth--;
        }
        assert_true(depth == 0 || slices[i].to <= ends[depth - 1]);
        assert_true(depth < 64);
        ends[depth++] = slices[i].to;
    }
}

/* The one event; NULL where there is none. */
static const json_t *find(const json_t *events, const char *phase, const char *name,
                          uint64_t message)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (is(event, phase, name) && arg(event, "message") == message) {
            assert_null(found);
            found = event;
        }
    }
    return found;
}

static bool lies_in(const json_t *event, const json_t *outer)
{
    uint64_t at = moment(event, "ts");
    uint64_t from = moment(outer, "ts");
    return whole(event, "pid") == whole(outer, "pid") &&
           whole(event, "tid") == whole(outer, "tid") && at >= from &&
           at <= from + moment(outer, "dur");
}

/* It waited, then it was worked on, in turns of the guest. */
static const json_t *assert_told(const json_t *events, uint64_t number)
{
    const json_t *message = find(events, "X", "message", number);
    const json_t *begin = find(events, "b", "queue", number);
    const json_t *end = find(events, "e", "queue", number);
    size_t turns = 0;
    assert_non_null(message);
    assert_non_null(begin);
    assert_non_null(end);
    assert_int_equal(whole(begin, "id"), number);
    assert_true(moment(begin, "ts") <= moment(end, "ts"));
    assert_int_equal(moment(end, "ts"), moment(message, "ts"));
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (is(event, "X", "guest") && arg(event, "message") == number) {
            assert_true(lies_in(event, message));
            turns++;
        }
    }
    assert_true(turns > 0);
    return message;
}

static dw_runtime *open_traced(runtime_fixture *f, FILE *file, uint64_t bytes_max)
{
    dw_error error = {.message = ""};
    runtime_open(f);
    const dw_trace_options options = {
        .struct_bytes = sizeof options, .fd = fileno(file), .bytes_max = bytes_max};
    assert_int_equal(dw_runtime_trace_begin(f->runtime, &options, &error), DW_OK);
    return f->runtime;
}

static void assert_one_process(const json_t *events, const char *name)
{
    size_t named = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        named += is(event, "M", "process_name") &&
                 strcmp(text(json_object_get(event, "args"), "name"), name) == 0;
    }
    assert_int_equal(named, 1);
}

#define TRACEPARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* -> event */
static const json_t *assert_context(const json_t *event)
{
    const json_t *args = json_object_get(event, "args");
    assert_string_equal(text(args, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
    assert_string_equal(text(args, "span_id"), "b7ad6b7169203331");
    return event;
}

static void test_trace_follows_messages(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    uint64_t number;
    FILE *file = tmpfile();
    dw_runtime *runtime = open_traced(f, file, 0);
    const dw_trace_options again = {.struct_bytes = sizeof again, .fd = fileno(file)};
    assert_int_equal(dw_runtime_trace_begin(runtime, &again, &error), DW_E_STATE);
    const dw_tenant_options any = {.struct_bytes = sizeof any, .capabilities = DW_MAY_ALL};
    assert_int_equal(dw_runtime_set_tenant(runtime, "odd\"name", &any, &error), DW_OK);
    const dw_spawn_options odd = {
        .struct_bytes = sizeof odd, .tenant = "odd\"name", .capabilities = DW_MAY_ALL};
    runtime_id one = runtime_spawned(f, f->hostile, NULL);
    runtime_id other = runtime_spawned(f, f->hostile, &odd);
    char peer[DW_ACTOR_ID_CHARS + 2];
    (void)snprintf(peer, sizeof peer, "I%s", other.text);
    assert_int_equal(runtime_tell(f, &one, peer, &answer, &error), DW_OK);
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = "D+1",
                                .message_bytes = 3,
                                .traceparent =
                                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    assert_int_equal(dw_runtime_send(runtime, one.text, &request, &number, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(dw_runtime_freeze(runtime, one.text, NULL, &error), DW_OK);
    assert_int_equal(runtime_tell(f, &other, "!", &answer, &error), DW_E_TRAP);
    runtime_await(f);
    dw_trace_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_trace_end(runtime, &stats, &error), DW_OK);
    assert_int_equal(dw_runtime_trace_end(runtime, &stats, &error), DW_E_STATE);
    assert_int_equal(runtime_tell(f, &one, "+1", &answer, &error), DW_OK); /* not in it */
    json_t *root = load(file);
    const json_t *events = json_object_get(root, "traceEvents");
    assert_int_equal(whole(root, "lostEvents"), 0);
    assert_int_equal(stats.lost, 0);
    assert_true(stats.events > 10);
    assert_nested(events);
    for (uint64_t i = 1; i <= 4; i++) {
        (void)assert_told(events, i);
    }
    assert_null(find(events, "X", "message", 5));
    /* What the second message caused: an arrow from within it to the third. */
    const json_t *causes = find(events, "s", "causes", number + 1);
    const json_t *caused = find(events, "f", "causes", number + 1);
    assert_true(lies_in(causes, assert_context(find(events, "X", "message", number))));
    assert_true(lies_in(caused, find(events, "X", "message", number + 1)));
    assert_int_equal(whole(causes, "id"), whole(caused, "id"));
    assert_null(
        json_object_get(json_object_get(find(events, "X", "message", 4), "args"), "span_id"));
    assert_string_equal(text(caused, "bp"), "e");
    assert_int_equal(arg(find(events, "X", "message", 4), "failed"), 1);
    assert_non_null(find(events, "X", "freeze", 0));
    assert_non_null(find(events, "X", "restart", 0));
    assert_one_process(events, "tenant \"odd\"name\"");
    json_decref(root);
    (void)fclose(file);
    runtime_close(f);
}

static runtime_id chatter(dw_runtime *runtime, dw_module *chat, dw_model *model)
{
    static const char *const names[] = {"DRIFTWOOD_TEMP", "DRIFTWOOD_MAX_TOKENS"};
    static const char *const values[] = {"0", "8"};
    runtime_id id;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &model,
                                    .model_count = 1,
                                    .env_names = names,
                                    .env_values = values,
                                    .env_count = 2,
                                    .context_tokens_max = 512};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    assert_int_equal(dw_runtime_spawn(runtime, chat, &options, id.text, &error), DW_OK);
    return id;
}

enum { RUNS = 4096 };

/* Each step is a part of a run, and the parts are the run. How many steps there are. */
static size_t assert_steps_are_runs(const json_t *events)
{
    static uint64_t tokens[RUNS];
    static bool has_run[RUNS];
    size_t steps = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (is(event, "X", "step")) {
            uint64_t run = arg(event, "run");
            assert_true(run > 0 && run < RUNS && arg(event, "tokens") > 0);
            assert_true(arg(event, "message") > 0);
            tokens[run] += arg(event, "tokens");
            steps++;
        }
    }
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (is(event, "X", "run")) {
            uint64_t run = arg(event, "run");
            assert_true(run > 0 && run < RUNS);
            assert_int_equal(tokens[run], arg(event, "tokens"));
            has_run[run] = true;
        }
    }
    for (size_t run = 0; run < RUNS; run++) {
        assert_int_equal(tokens[run] > 0, has_run[run]);
    }
    return steps;
}

static size_t count_of(const json_t *events, const char *phase, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        count += is(json_array_get(events, i), phase, name);
    }
    return count;
}

static void test_trace_has_steps(void **state)
{
    enum { ACTORS = 3 };
    runtime_fixture *f = *state;
    char path[1024];
    dw_error error = {.message = ""};
    dw_model *model = NULL;
    uint64_t numbers[ACTORS];
    runtime_id ids[ACTORS];
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ".", MODEL);
    if (access(path, R_OK) != 0) {
        skip();
    }
    FILE *file = tmpfile();
    dw_module *chat = actor_module(f->actors, "chat.wasm");
    assert_int_equal(dw_model_open(&model, f->actors->engine, path, &error), DW_OK);
    dw_runtime *runtime = open_traced(f, file, 0);
    for (int i = 0; i < ACTORS; i++) {
        ids[i] = chatter(runtime, chat, model);
    }
    for (int i = 0; i < ACTORS; i++) {
        const dw_request request = {
            .struct_bytes = sizeof request, .message = "Name a colour.", .message_bytes = 14};
        assert_int_equal(dw_runtime_send(runtime, ids[i].text, &request, &numbers[i], &error),
                         DW_OK);
    }
    assert_int_equal(dw_runtime_wait(runtime, 0, &error), DW_OK);
    runtime_close(f); /* which ends the trace */
    json_t *root = load(file);
    const json_t *events = json_object_get(root, "traceEvents");
    assert_nested(events);
    for (int i = 0; i < ACTORS; i++) {
        assert_true(arg(assert_told(events, numbers[i]), "generated_tokens") > 0);
    }
    assert_true(assert_steps_are_runs(events) >= 2 * (size_t)ACTORS);
    assert_true(count_of(events, "i", "answer") >= ACTORS);
    assert_true(count_of(events, "X", "waits for tokens") >= ACTORS);
    json_decref(root);
    (void)fclose(file);
    dw_module_unref(chat);
    dw_model_unref(model);
}

/* The one slice of that name; it lies in `outer`, with its end. */
static void assert_slice_in(const json_t *events, const char *name, const json_t *outer)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        if (is(event, "X", name)) {
            assert_true(lies_in(event, outer));
            assert_true(moment(event, "ts") + moment(event, "dur") <=
                        moment(outer, "ts") + moment(outer, "dur"));
            count++;
        }
    }
    assert_int_equal(count, 1);
}

/* In a state folder a message ends when what it did is written and committed; an actor that is not
 * in memory is read first. */
static void test_trace_has_writes(void **state)
{
    runtime_fixture *f = *state;
    static char place[] = "/tmp/dw-trace-XXXXXX";
    char command[64];
    FILE *file = tmpfile();
    assert_non_null(mkdtemp(place));
    f->path = place;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    (void)runtime_told(f, &id, "+1");
    dw_runtime_actor_info info = runtime_info(f, &id);
    assert_true(info.written_bytes > 0);
    assert_int_equal(info.thaws, 0);
    runtime_close(f);
    dw_runtime *runtime = open_traced(f, file, 0);
    assert_int_equal(runtime_told(f, &id, "+1"), 2);
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(runtime, &stats), DW_OK);
    assert_int_equal(stats.thaws, 1);
    assert_true(stats.written_bytes > 0);
    assert_int_equal(runtime_info(f, &id).thaws, 1);
    runtime_close(f);
    f->path = NULL;
    json_t *root = load(file);
    const json_t *events = json_object_get(root, "traceEvents");
    const json_t *message = assert_told(events, 1);
    assert_nested(events);
    assert_slice_in(events, "write", message);
    assert_slice_in(events, "commit", message);
    assert_true(count_of(events, "X", "thaw") >= 1);
    json_decref(root);
    (void)fclose(file);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", place);
    assert_int_equal(system(command), 0);
}

/* The file ends where it may not be longer, and is whole. */
static void test_trace_is_bounded(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    FILE *file = tmpfile();
    dw_runtime *runtime = open_traced(f, file, 8192);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(runtime_tell(f, &id, "+1", &answer, &error), DW_OK);
    }
    dw_trace_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_trace_end(runtime, &stats, &error), DW_OK);
    assert_true(stats.bytes <= 8192);
    assert_true(stats.lost > 0);
    json_t *root = load(file);
    assert_int_equal(ftell(file), stats.bytes);
    assert_int_equal(whole(root, "lostEvents"), stats.lost);
    assert_nested(json_object_get(root, "traceEvents"));
    json_decref(root);
    (void)fclose(file);
    const dw_trace_options bad[] = {{.struct_bytes = sizeof bad[0], .fd = -1},
                                    {.struct_bytes = sizeof bad[0], .fd = 1, .bytes_max = 4095}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(dw_runtime_trace_begin(runtime, &bad[i], &error), DW_E_RANGE);
    }
    runtime_close(f);
}

/* Begun and ended again and again by some threads while others work. */
typedef struct crowd {
    runtime_fixture *f;
    runtime_id id;
    _Atomic bool over;
} crowd;

typedef struct beginner {
    crowd *c;
    FILE *file; /* closed once all have ended: another may end the trace that writes to it */
    pthread_t thread;
} beginner;

static void *begin_and_end(void *arg)
{
    const beginner *b = arg;
    crowd *c = b->c;
    dw_error error;
    const dw_trace_options options = {.struct_bytes = sizeof options, .fd = fileno(b->file)};
    while (!atomic_load(&c->over)) {
        (void)!dw_runtime_trace_begin(c->f->runtime, &options, &error);
        usleep(500);
        (void)!dw_runtime_trace_end(c->f->runtime, NULL, &error);
    }
    return NULL;
}

static void test_trace_from_many_threads(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    beginner beginners[3];
    crowd c = {.f = f};
    runtime_open(f);
    c.id = runtime_spawned(f, f->hostile, NULL);
    for (int i = 0; i < 3; i++) {
        beginners[i] = (beginner){.c = &c, .file = tmpfile()};
        assert_int_equal(dw_os_start_thread(&beginners[i].thread, begin_and_end, &beginners[i]), 0);
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(runtime_tell(f, &c.id, "+1", &answer, &error), DW_OK);
    }
    atomic_store(&c.over, true);
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(beginners[i].thread, NULL);
    }
    runtime_close(f); /* which ends the last one */
    for (int i = 0; i < 3; i++) {
        (void)fclose(beginners[i].file);
    }
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        runtime_test(test_trace_follows_messages),  runtime_test(test_trace_has_steps),
        runtime_test(test_trace_has_writes),        runtime_test(test_trace_is_bounded),
        runtime_test(test_trace_from_many_threads),
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
