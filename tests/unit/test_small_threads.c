/* The whole API from threads with small stacks: no function needs more of the caller's than the
 * header says, whatever it is given. Through the public API alone. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "driftwood.h"
#include "model_fixture.h"
#include "small_thread.h"

#define NEST 4000 /* deeper than any honest grammar or schema */
#define MEASURED_BYTES_MAX ((size_t)4 << 20)
#define CALLER_BYTES_MAX ((size_t)32 << 10) /* include/driftwood.h */

typedef struct walk {
    char root[64];
    char path[128];
    dw_engine *engine;
    dw_model *model;
    dw_chat_prompt *prompt;
    dw_session *session;
    dw_module *module;
    dw_module *actor_module;
    dw_instance *instance;
    dw_actor *actor;
    dw_runtime *runtime;
    dw_scheduler *scheduler;
    char id[DW_ACTOR_ID_CHARS + 1];
    char wrong[320]; /* the first thing that went wrong; "": nothing */
    dw_error err;
    const char *step;
    bool measures;
    size_t most_bytes; /* of the caller's stack, by `most` */
    const char *most;
} walk;

static void expect(walk *w, dw_status status, dw_status wanted)
{
    if (status != wanted && w->wrong[0] == '\0') {
        (void)snprintf(w->wrong, sizeof w->wrong, "%s: %s instead of %s: %s", w->step,
                       dw_status_name(status), dw_status_name(wanted), w->err.message);
    }
    w->err.message[0] = '\0';
}

static void good(walk *w, dw_status status)
{
    expect(w, status, DW_OK);
}

/* `open` NEST times, `middle`, `close` NEST times; the caller's to free. */
static char *nested(const char *open, const char *middle, const char *close)
{
    size_t room = NEST * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = malloc(room); /* NOLINT: not the library's */
    size_t used = 0;
    assert_non_null(text);
    for (int i = 0; i < NEST; i++) {
        used += (size_t)snprintf(text + used, room - used, "%s", open);
    }
    used += (size_t)snprintf(text + used, room - used, "%s", middle);
    for (int i = 0; i < NEST; i++) {
        used += (size_t)snprintf(text + used, room - used, "%s", close);
    }
    return text;
}

/* The caller's to free. */
static char *within(const char *before, const char *middle, const char *behind)
{
    size_t room = strlen(before) + strlen(middle) + strlen(behind) + 1;
    char *text = malloc(room); /* NOLINT: not the library's */
    assert_non_null(text);
    (void)snprintf(text, room, "%s%s%s", before, middle, behind);
    return text;
}

/* ---- engine, model, text ------------------------------------------------------------------- */

static void engine_create(walk *w)
{
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 2};
    good(w, dw_engine_create(&w->engine, &options, &w->err));
}

static void devices(walk *w)
{
    dw_device_info info = {.struct_bytes = sizeof info};
    char text[DW_DEVICE_NOTE_BYTES];
    for (size_t i = 0; i < dw_device_count(); i++) {
        good(w, dw_device_get_info(i, &info, &w->err));
    }
    (void)!dw_device_note(text, sizeof text, &w->err);
    w->err.message[0] = '\0';
}

static void model_open(walk *w)
{
    good(w, dw_model_open(&w->model, w->engine, model_fixture_path(), &w->err));
}

static void model_fingerprint(walk *w)
{
    char text[DW_FINGERPRINT_BYTES];
    bool matches = false;
    good(w, dw_model_fingerprint(w->model, text, &w->err));
    good(w, dw_model_matches(w->model, text, &matches, &w->err));
}

static void tokenize(walk *w)
{
    static int32_t items[4096];
    static char back[16384];
    dw_token_room tokens = {.items = items, .capacity = 4096};
    dw_text_room text = {.items = back, .capacity = sizeof back};
    char *words = nested("word ", "<|im_start|>", " \xc3\xa4!");
    good(w, dw_model_tokenize(w->model, words, 8000, DW_TOKENIZE_PARSE, &tokens, &w->err));
    good(w, dw_model_detokenize(w->model, items, tokens.count, 0, &text, &w->err));
    free(words);
}

static void chat_template(walk *w)
{
    static char back[16384];
    dw_text_room text = {.items = back, .capacity = sizeof back};
    dw_chat_message message = {.role = "user", .content = "Hello"};
    good(w, dw_model_apply_template(w->model, &message, 1, true, &text, &w->err));
}

static const char request[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Weather?\"}],\"tools\":[{\"type\":"
    "\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]}";

static void chat_render(walk *w)
{
    static int32_t items[4096];
    dw_token_room tokens = {.items = items, .capacity = 4096};
    good(w, dw_chat_render(&w->prompt, w->model, request, sizeof request - 1, 0, &w->err));
    good(w, dw_chat_prompt_tokens(w->prompt, 0, &tokens, &w->err));
    dw_chat_prompt_destroy(w->prompt);
}

static void chat_render_nested(walk *w)
{
    char *middle = nested("[", "1", "]");
    char *text =
        within("{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"y\":", middle, "}]}");
    (void)!dw_chat_render(&w->prompt, w->model, text, strlen(text), 0, &w->err);
    free(middle);
    free(text);
    dw_chat_prompt_destroy(w->prompt);
}

static void chat_answer(walk *w)
{
    dw_chat_answer *answer = NULL;
    const char *delta = NULL;
    const char *message = NULL;
    char *text = nested("[", "{\"name\":", "]");
    good(w, dw_chat_answer_create(&answer, w->model, request, sizeof request - 1, &w->err));
    (void)!dw_chat_answer_feed(answer, text, strlen(text), &delta, &w->err);
    (void)!dw_chat_answer_finish(answer, &delta, &message, &w->err);
    dw_chat_answer_destroy(answer);
    free(text);
}

/* ---- sessions ------------------------------------------------------------------------------ */

static void session_forward(walk *w)
{
    static int32_t tokens[100];
    int32_t token = 0;
    dw_session_options options = {.struct_bytes = sizeof options, .tokens_max = 1024};
    good(w, dw_session_create(&w->session, w->model, &options, &w->err));
    good(w, dw_session_forward(w->session, tokens, 100, 1, NULL, &w->err));
    good(w, dw_session_sample(w->session, &token, &w->err));
    good(w, dw_session_forward(w->session, &token, 1, 1, NULL, &w->err));
}

static void session_fork(walk *w)
{
    dw_session *child = NULL;
    good(w, dw_session_fork(&child, w->session, &w->err));
    good(w, dw_session_trim(w->session, 10, &w->err));
    dw_session_destroy(child);
}

static void set_sampler(walk *w, const char *grammar, const char *schema)
{
    int32_t token = 1;
    dw_sampler_options options = {
        .struct_bytes = sizeof options, .grammar = grammar, .json_schema = schema};
    if (dw_session_set_sampler(w->session, &options, &w->err) == DW_OK) {
        good(w, dw_session_forward(w->session, &token, 1, 1, NULL, &w->err));
        (void)!dw_session_sample(w->session, &token, &w->err);
    }
    w->err.message[0] = '\0';
}

static void sampler_grammar(walk *w)
{
    char *nest = nested("(", "\"a\"", ")*");
    char *text = within("root ::= ", nest, "");
    set_sampler(w, "root ::= \"a\" root | [b-z]+", NULL);
    set_sampler(w, text, NULL);
    set_sampler(w, "root ::= \"a\" root \"b\" | \"(\" root \")\" | \"c\"", NULL);
    free(nest);
    free(text);
}

static void sampler_schema(walk *w)
{
    static const char *const opens[] = {"{\"type\":\"array\",\"items\":", "{\"allOf\":[",
                                        "{\"not\":", "{\"properties\":{\"a\":", "["};
    static const char *const closes[] = {"}", "]}", "}", "}}", "]"};
    set_sampler(w, NULL, "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}");
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        char *text = nested(opens[i], "{}", closes[i]);
        (void)!dw_json_schema_check(text, NULL, 0, &w->err);
        set_sampler(w, NULL, text);
        free(text);
    }
    char *pattern = nested("(", "a", ")*");
    char *text = within("{\"type\":\"string\",\"pattern\":\"", pattern, "\"}");
    (void)!dw_json_schema_check(text, NULL, 0, &w->err);
    set_sampler(w, NULL, text);
    free(pattern);
    free(text);
}

static void session_hold_to_chat(walk *w)
{
    bool held = false;
    good(w, dw_session_hold_to_chat(w->session, request, sizeof request - 1, &held, &w->err));
}

static void perplexity(walk *w)
{
    static int32_t tokens[64];
    dw_session_options options = {.struct_bytes = sizeof options, .tokens_max = 32};
    dw_perplexity result = {.struct_bytes = sizeof result};
    good(w, dw_model_perplexity(w->model, tokens, 64, &options, &result, &w->err));
}

/* ---- guests -------------------------------------------------------------------------------- */

static void compile_text(walk *w, dw_module **module, const char *text)
{
    wasm_byte_vec_t wasm;
    wasmtime_error_t *error = wasmtime_wat2wasm(text, strlen(text), &wasm);
    if (error == NULL) {
        good(w, dw_module_create(module, w->engine, wasm.data, wasm.size, &w->err));
        wasm_byte_vec_delete(&wasm);
    }
}

static void put_unsigned(unsigned char *bytes, size_t *count, uint32_t value)
{
    for (; value >= 128; value >>= 7) {
        bytes[(*count)++] = (unsigned char)(value | 128);
    }
    bytes[(*count)++] = (unsigned char)value;
}

/* (module (memory (export "memory") 1) (func (export "f") BLOCK * depth END * depth)); a text of it
 * would be as deep for who makes the binary. */
static void module_nested(walk *w)
{
    static unsigned char bytes[400000];
    static const unsigned char head[] = {0,   'a', 's', 'm', 1,   0, 0, 0, 1,   4, 1,  0x60, 0, 0,
                                         3,   2,   1,   0,   5,   3, 1, 0, 1,   7, 14, 2,    6, 'm',
                                         'e', 'm', 'o', 'r', 'y', 2, 0, 1, 'f', 0, 0,  10};
    const uint32_t depth = 60000;
    size_t count = sizeof head;
    dw_module *module = NULL;
    memcpy(bytes, head, sizeof head);
    uint32_t body = 1 + 2 * depth + depth + 1;
    unsigned char size[8];
    size_t size_bytes = 0;
    put_unsigned(size, &size_bytes, body);
    put_unsigned(bytes, &count, (uint32_t)(1 + size_bytes + body));
    bytes[count++] = 1;
    memcpy(bytes + count, size, size_bytes);
    count += size_bytes;
    bytes[count++] = 0;
    for (uint32_t i = 0; i < depth; i++) {
        bytes[count++] = 2;
        bytes[count++] = 0x40;
    }
    memset(bytes + count, 0x0b, depth + 1);
    count += depth + 1;
    (void)!dw_module_create(&module, w->engine, bytes, count, &w->err);
    w->err.message[0] = '\0';
    dw_module_unref(module);
}

static void module_open(walk *w)
{
    dw_module *module = NULL;
    good(w, dw_module_open(&w->module, w->engine, DW_TEST_GUESTS_DIR "/generate.wasm", &w->err));
    good(w, dw_module_open(&w->actor_module, w->engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm",
                           &w->err));
    compile_text(w, &module, "(module (memory (export \"memory\") 1) (func (export \"f\")))");
    dw_module_unref(module);
}

static ptrdiff_t take(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

static dw_instance_options generating(walk *w)
{
    static const char *const args[] = {"generate", "--prompt", "Hello", "--tokens", "3"};
    return (dw_instance_options){.struct_bytes = sizeof(dw_instance_options),
                                 .models = &w->model,
                                 .model_count = 1,
                                 .args = args,
                                 .arg_count = sizeof args / sizeof args[0],
                                 .on_stdout = take,
                                 .on_stderr = take};
}

static void instance_create(walk *w)
{
    dw_instance_options options = generating(w);
    good(w, dw_instance_create(&w->instance, w->module, &options, &w->err));
}

static void instance_run(walk *w)
{
    int code = 0;
    good(w, dw_instance_run(w->instance, &code, &w->err));
    if (code != 0) {
        expect(w, DW_E_TRAP, DW_OK);
    }
}

static void instance_destroy(walk *w)
{
    dw_instance_destroy(w->instance);
}

/* ---- actors -------------------------------------------------------------------------------- */

static void actor_spawn(walk *w)
{
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &w->model,
                                    .model_count = 1,
                                    .on_stdout = take,
                                    .on_stderr = take};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    good(w, dw_actor_spawn(&w->actor, w->actor_module, &options, &w->err));
}

static void actor_receive(walk *w)
{
    static const char *const messages[] = {"F20", "c3", "+1"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        good(w, dw_actor_send(w->actor, NULL, messages[i], strlen(messages[i]), &w->err));
        (void)!dw_actor_receive(w->actor, take, NULL, &w->err);
        w->err.message[0] = '\0';
    }
}

static void actor_fork(walk *w)
{
    dw_actor *child = NULL;
    good(w, dw_actor_fork(&child, w->actor, NULL, &w->err));
    dw_actor_destroy(child);
}

static void actor_freeze(walk *w)
{
    dw_freeze_options options = {.struct_bytes = sizeof options};
    good(w, dw_actor_freeze(w->actor, w->path, &options, NULL, &w->err));
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    good(w, dw_actor_export(w->actor, fd, NULL, NULL, &w->err));
    (void)close(fd);
}

static void actor_destroy(walk *w)
{
    dw_actor_destroy(w->actor);
}

static void actor_thaw(walk *w)
{
    const char *path = w->path;
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &path,
                               .path_count = 1,
                               .models = &w->model,
                               .model_count = 1,
                               .on_stdout = take,
                               .on_stderr = take};
    good(w, dw_actor_thaw(&w->actor, w->engine, &options, NULL, &w->err));
    dw_actor_destroy(w->actor);
}

static void snapshot_file(walk *w)
{
    dw_snapshot_file *file = NULL;
    good(w, dw_snapshot_file_open(&file, w->path, DW_SNAPSHOT_VERIFY, &w->err));
    dw_snapshot_file_close(file);
}

static void gguf(walk *w)
{
    dw_gguf *file = NULL;
    char text[DW_FINGERPRINT_BYTES];
    good(w, dw_gguf_open(&file, model_fixture_path(), &w->err));
    good(w, dw_gguf_fingerprint(file, text, &w->err));
    dw_gguf_close(file);
}

/* ---- the scheduler ------------------------------------------------------------------------- */

static void scheduler_run(walk *w)
{
    dw_instance *instances[2];
    dw_instance_options options = generating(w);
    good(w, dw_scheduler_create(&w->scheduler, w->engine, NULL, &w->err));
    for (int i = 0; i < 2; i++) {
        good(w, dw_instance_create(&instances[i], w->module, &options, &w->err));
        good(w, dw_scheduler_start(w->scheduler, instances[i], NULL, NULL, &w->err));
    }
    good(w, dw_scheduler_run(w->scheduler, DW_RUN_UNTIL_IDLE, &w->err));
    dw_scheduler_destroy(w->scheduler);
    dw_instance_destroy(instances[0]);
    dw_instance_destroy(instances[1]);
}

static void scheduler_destroy(walk *w)
{
    dw_instance *instance = NULL;
    dw_instance_options options = generating(w);
    good(w, dw_scheduler_create(&w->scheduler, w->engine, NULL, &w->err));
    good(w, dw_instance_create(&instance, w->module, &options, &w->err));
    good(w, dw_scheduler_start(w->scheduler, instance, NULL, NULL, &w->err));
    dw_scheduler_destroy(w->scheduler);
    dw_instance_destroy(instance);
}

/* ---- the runtime --------------------------------------------------------------------------- */

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    walk *w = user;
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(w->model);
    return DW_OK;
}

static void runtime_open(walk *w)
{
    char folder[96];
    (void)snprintf(folder, sizeof folder, "%s/state", w->root);
    dw_runtime_options options = {.struct_bytes = sizeof options,
                                  .path = folder,
                                  .find_model = find_model,
                                  .on_stderr = take,
                                  .user = w,
                                  .works_on_request = true};
    good(w, dw_runtime_open(&w->runtime, w->engine, &options, &w->err));
}

static void runtime_spawn(walk *w)
{
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = &w->model, .model_count = 1};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .capabilities = DW_MAY_ALL};
    good(w, dw_runtime_spawn(w->runtime, w->actor_module, &options, w->id, &w->err));
}

static void runtime_send(walk *w)
{
    static const char *const messages[] = {"F20", "N+7", "K+7", "+1"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        dw_request message = {.struct_bytes = sizeof message,
                              .message = messages[i],
                              .message_bytes = strlen(messages[i]),
                              .on_answer = take};
        (void)!dw_runtime_call(w->runtime, w->id, &message, &w->err);
        w->err.message[0] = '\0';
    }
    good(w, dw_runtime_work(w->runtime, DW_WORK_ALL, &w->err));
}

static void take_info(void *user, const char *id, const dw_runtime_actor_info *info,
                      const dw_error *problem)
{
    (void)user;
    (void)id;
    (void)info;
    (void)problem;
}

static void take_path(void *user, const char *path)
{
    (void)user;
    (void)path;
}

static void runtime_look(walk *w)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    good(w, dw_runtime_find_id(w->runtime, w->id, id, &w->err));
    good(w, dw_runtime_list_infos(w->runtime, NULL, 64, take_info, NULL, &w->err));
    good(w, dw_runtime_get_actor_info(w->runtime, w->id, &info, &w->err));
    good(w, dw_runtime_list_paths(w->runtime, w->id, take_path, NULL, &w->err));
    good(w, dw_runtime_overview(w->runtime, NULL, take, NULL, &w->err));
}

static void runtime_move(walk *w)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    good(w, dw_runtime_fork(w->runtime, w->id, id, &w->err));
    good(w, dw_runtime_freeze(w->runtime, w->id, NULL, &w->err));
    good(w, dw_runtime_rewind(w->runtime, w->id, 0, &w->err));
    good(w, dw_runtime_park(w->runtime, w->id, &w->err));
    good(w, dw_runtime_stop(w->runtime, id, &w->err));
}

static void runtime_close(walk *w)
{
    dw_runtime_close(w->runtime);
}

static void doctor(walk *w)
{
    if (!w->measures) {
        return; /* it takes seconds: once is enough */
    }
    dw_doctor_report *report = NULL;
    good(w, dw_doctor_examine(&report, "CPU", DW_TEST_GUESTS_DIR "/doctor_chain.wasm", &w->err));
    dw_doctor_report_destroy(report);
}

static void the_end(walk *w)
{
    dw_session_destroy(w->session);
    dw_module_unref(w->module);
    dw_module_unref(w->actor_module);
    dw_model_unref(w->model);
    dw_engine_destroy(w->engine);
}

static const struct {
    const char *name;
    void (*run)(walk *w);
} steps[] = {
#define STEP(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
    STEP(devices),        STEP(engine_create),
    STEP(model_open),     STEP(model_fingerprint),
    STEP(tokenize),       STEP(chat_template),
    STEP(chat_render),    STEP(chat_render_nested),
    STEP(chat_answer),    STEP(session_forward),
    STEP(session_fork),   STEP(sampler_grammar),
    STEP(sampler_schema), STEP(session_hold_to_chat),
    STEP(perplexity),     STEP(module_open),
    STEP(module_nested),  STEP(instance_create),
    STEP(instance_run),   STEP(instance_destroy),
    STEP(actor_spawn),    STEP(actor_receive),
    STEP(actor_fork),     STEP(actor_freeze),
    STEP(actor_destroy),  STEP(actor_thaw),
    STEP(snapshot_file),  STEP(gguf),
    STEP(scheduler_run),  STEP(scheduler_destroy),
    STEP(runtime_open),   STEP(runtime_spawn),
    STEP(runtime_send),   STEP(runtime_look),
    STEP(runtime_move),   STEP(runtime_close),
    STEP(doctor),         STEP(the_end),
};

#define STEP_COUNT (sizeof steps / sizeof steps[0])

typedef struct one_step {
    walk *w;
    size_t index;
} one_step;

static void run_step(void *arg)
{
    one_step *s = arg;
    s->w->step = steps[s->index].name;
    steps[s->index].run(s->w);
}

static void walk_all(void *arg)
{
    walk *w = arg;
    for (size_t i = 0; i < STEP_COUNT && w->wrong[0] == '\0'; i++) {
        one_step s = {.w = w, .index = i};
        if (!w->measures) {
            run_step(&s);
            continue;
        }
        size_t used = stack_bytes_used(run_step, &s, MEASURED_BYTES_MAX);
        if (used > w->most_bytes) {
            w->most_bytes = used;
            w->most = steps[i].name;
        }
    }
}

static void walk_on(walk *w, size_t stack_bytes)
{
    char command[128];
    wasm_signals_restore();
    (void)snprintf(w->root, sizeof w->root, "/tmp/dw-small-XXXXXX");
    assert_non_null(mkdtemp(w->root));
    (void)snprintf(w->path, sizeof w->path, "%s/snapshot", w->root);
    small_thread_run(stack_bytes, walk_all, w);
    (void)snprintf(command, sizeof command, "rm -r '%s'", w->root);
    assert_int_equal(system(command), 0);
    assert_string_equal(w->wrong, "");
}

static void test_small_threads_do(void **state)
{
    static walk w;
    (void)state;
    walk_on(&w, small_thread_bytes_min());
}

/* What the header promises. */
static void test_small_threads_are_left_room(void **state)
{
    static walk w = {.measures = true};
    (void)state;
    if (small_thread_bytes_min() > CALLER_BYTES_MAX * 2 || emulated()) {
        skip(); /* sanitizers make frames larger */
    }
    walk_on(&w, MEASURED_BYTES_MAX + ((size_t)1 << 20));
    print_message("at most %zu bytes of the caller's stack: %s\n", w.most_bytes, w.most);
    assert_true(w.most_bytes > 1024 && w.most_bytes <= CALLER_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_threads_do),
        cmocka_unit_test(test_small_threads_are_left_room),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
