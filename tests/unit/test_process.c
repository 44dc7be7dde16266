/* What a process has one of: the allocator, the log, and callbacks that the embedder had set before
 * ours. In a program of its own, since an allocator is set before anything else. */
#include <ggml.h>
#include <llama.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ggml_guard.h"
#include "driftwood.h"
#include "support.h"
#include "tiny_model.h"

#define MODEL "process.gguf"
#define SNAPSHOT "process.dws"

static _Atomic size_t live_blocks;
static _Atomic size_t allocations;
static _Atomic size_t log_lines;
static _Atomic size_t embedder_lines;
static int own_user;

static void *allocate(void *user, size_t bytes)
{
    assert_ptr_equal(user, &own_user);
    assert_true(bytes > 0);
    void *block = malloc(bytes);
    if (block != NULL) {
        memset(block, 0xa5, bytes); /* the library zeroes what it needs zeroed */
        live_blocks++;
        allocations++;
    }
    return block;
}

static void *resize(void *user, void *block, size_t bytes)
{
    assert_ptr_equal(user, &own_user);
    assert_non_null(block);
    return realloc(block, bytes);
}

static void release(void *user, void *block)
{
    assert_ptr_equal(user, &own_user);
    assert_non_null(block);
    live_blocks--;
    free(block);
}

static void on_line(void *user, dw_log_level level, const char *line)
{
    assert_ptr_equal(user, &own_user);
    assert_true(level > DW_LOG_NONE && level <= DW_LOG_DEBUG);
    assert_null(strchr(line, '\n'));
    log_lines++;
}

static void on_embedder_line(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    assert_ptr_equal(user, &own_user);
    embedder_lines++;
}

static void test_process_allocator(void **state)
{
    (void)state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_session *session = NULL;
    dw_error error = {.message = ""};
    const int32_t tokens[] = {3, 4, 5};
    int32_t token = 0;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    size_t before = live_blocks;
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    assert_int_equal(dw_model_open(&model, engine, MODEL, &error), DW_OK);
    assert_int_equal(dw_session_create(&session, model, NULL, &error), DW_OK);
    assert_int_equal(dw_session_forward(session, tokens, 3, 1, NULL, &error), DW_OK);
    assert_int_equal(dw_session_sample(session, &token, &error), DW_OK);
    assert_true(allocations > 20);
    assert_true(live_blocks > before);
    dw_session_destroy(session);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    assert_int_equal(live_blocks, before);
    (void)unlink(MODEL);

    dw_allocator again = {
        .struct_bytes = sizeof again, .allocate = allocate, .resize = resize, .release = release};
    assert_int_equal(dw_allocator_set(&again, &error), DW_E_STATE);
    again.resize = NULL;
    assert_int_equal(dw_allocator_set(&again, &error), DW_E_ARG);
}

/* ---- a guest under the allocator ----------------------------------------------------------- */

static size_t answer_bytes;

static ptrdiff_t on_bytes(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    assert_non_null(bytes);
    answer_bytes += count;
    return (ptrdiff_t)count;
}

static void tell(dw_actor *actor, const char *message)
{
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_send(actor, NULL, message, strlen(message), &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, on_bytes, NULL, &error), DW_OK);
}

static dw_module *open_guest(dw_engine *engine, const char *name)
{
    char path[512];
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    (void)snprintf(path, sizeof path, "%s/%s", DW_TEST_GUESTS_DIR, name);
    assert_int_equal(dw_module_open(&module, engine, path, &error), DW_OK);
    return module;
}

/* A command guest on a fiber of a scheduler. */
static void run_command(dw_engine *engine)
{
    dw_scheduler *scheduler = NULL;
    dw_instance *instance = NULL;
    dw_error error;
    const char *args[] = {"hello"};
    dw_instance_options options = {
        .struct_bytes = sizeof options, .args = args, .arg_count = 1, .on_stdout = on_bytes};
    dw_module *module = open_guest(engine, "hello.wasm");
    assert_int_equal(dw_instance_create(&instance, module, &options, &error), DW_OK);
    assert_int_equal(dw_scheduler_create(&scheduler, engine, NULL, &error), DW_OK);
    assert_int_equal(dw_scheduler_start(scheduler, instance, NULL, NULL, &error), DW_OK);
    assert_int_equal(dw_scheduler_run(scheduler, DW_RUN_UNTIL_IDLE, &error), DW_OK);
    dw_scheduler_destroy(scheduler);
    dw_instance_destroy(instance);
    dw_module_unref(module);
}

/* An actor with a context and a sampler, its fork, and a thawed copy. */
static void run_actors(dw_engine *engine, dw_model *model)
{
    dw_actor *actor = NULL;
    dw_actor *child = NULL;
    dw_actor *thawed = NULL;
    dw_error error;
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = &model, .model_count = 1};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_module *module = open_guest(engine, "actor_talker.wasm");
    assert_int_equal(dw_actor_spawn(&actor, module, &options, &error), DW_OK);
    tell(actor, "m");
    tell(actor, "n40");
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_OK);
    tell(child, "g7");
    assert_int_equal(dw_actor_freeze(actor, SNAPSHOT, NULL, NULL, &error), DW_OK);
    const char *path = SNAPSHOT;
    dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                            .paths = &path,
                            .path_count = 1,
                            .models = &model,
                            .model_count = 1};
    assert_int_equal(dw_actor_thaw(&thawed, engine, &thaw, NULL, &error), DW_OK);
    tell(thawed, "g7");
    dw_actor_destroy(actor);
    dw_actor_destroy(child);
    dw_actor_destroy(thawed);
    dw_module_unref(module);
    (void)unlink(SNAPSHOT);
}

static void test_process_allocator_of_guests(void **state)
{
    (void)state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_error error;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    size_t before = live_blocks;
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    assert_int_equal(dw_model_open(&model, engine, MODEL, &error), DW_OK);
    size_t allocated = allocations;
    answer_bytes = 0;
    run_command(engine);
    assert_true(answer_bytes > 0);
    assert_true(allocations > allocated);
    allocated = allocations;
    answer_bytes = 0;
    run_actors(engine, model);
    assert_true(answer_bytes > 0);
    assert_true(allocations > allocated);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    assert_int_equal(live_blocks, before);
    (void)unlink(MODEL);
}

/* ---- the log ------------------------------------------------------------------------------- */

/* A callback that is set after ours and passes lines on to it, as loggers do. */
static struct {
    ggml_log_callback call;
    void *user;
    size_t lines;
} chained;

static void on_chained_line(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    chained.lines++;
    chained.call(level, text, chained.user);
}

static void test_process_logs_of_one_set_later(void **state)
{
    (void)state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_error error;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_vocab_info info = {.struct_bytes = sizeof info};
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    llama_log_get(&chained.call, &chained.user);
    llama_log_set(on_chained_line, NULL);
    dw_log_set(DW_LOG_DEBUG, on_line, &own_user);
    log_lines = chained.lines = 0;
    assert_int_equal(dw_model_open(&model, engine, MODEL, &error), DW_OK);
    assert_int_equal(dw_model_get_vocab_info(model, &info, &error), DW_OK);
    assert_true(chained.lines > 0);
    assert_true(log_lines > 0);
    dw_log_set(DW_LOG_NONE, NULL, NULL);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    (void)unlink(MODEL);
}

static void test_process_logs(void **state)
{
    (void)state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_error error;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    ggml_log_callback callback;
    void *user;
    llama_log_set(on_embedder_line, &own_user); /* ggml's, too */
    dw_log_set(DW_LOG_DEBUG, on_line, &own_user);
    log_lines = embedder_lines = 0;
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    assert_int_equal(dw_model_open(&model, engine, MODEL, &error), DW_OK);
    dw_vocab_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_model_get_vocab_info(model, &info, &error), DW_OK);
    assert_true(log_lines > 0);
    assert_true(embedder_lines > 0);
    llama_log_get(&callback, &user);
    assert_true(callback != on_embedder_line); /* ours passes on */
    dw_log_set(DW_LOG_NONE, NULL, NULL);
    size_t lines = log_lines;
    dw_model_unref(model);
    assert_int_equal(dw_model_open(&model, engine, MODEL, &error), DW_OK);
    assert_int_equal(dw_model_get_vocab_info(model, &info, &error), DW_OK);
    assert_int_equal(log_lines, lines);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    (void)unlink(MODEL);
}

/* ---- aborts ------------------------------------------------------------------------------- */

static void nothing(void *user)
{
    (void)user;
}

static void abort_ggml(void *user)
{
    (void)user;
    GGML_ABORT("for a test");
}

static void on_abort(const char *message)
{
    _exit(strstr(message, "for a test") != NULL ? 42 : 43);
}

static void test_process_aborts(void **state)
{
    (void)state;
    dw_error error;
    /* Inside a guarded call it is a status, whoever had a callback before. */
    assert_int_equal(dw_ggml_guarded(abort_ggml, NULL, &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "for a test"));
}

/* Before anything else: a child that has a callback of its own, and whose abort is not ours. */
static int embedder_aborts(void)
{
    dw_error error;
    (void)ggml_set_abort_callback(on_abort);
    if (dw_ggml_guarded(nothing, NULL, &error) != DW_OK) {
        return 1;
    }
    abort_ggml(NULL);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "abort") == 0) {
        return embedder_aborts();
    }
    char command[4096];
    (void)snprintf(command, sizeof command, "'%s' abort", argv[0]);
    int ended = system(command);
    if (ended == -1 || (ended >> 8) != 42) {
        (void)fprintf(stderr, "the embedder's abort callback was not called: %d\n", ended);
        return 1;
    }
    dw_error error;
    dw_allocator own = {.struct_bytes = sizeof own,
                        .allocate = allocate,
                        .resize = resize,
                        .release = release,
                        .user = &own_user};
    if (dw_allocator_set(&own, &error) != DW_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_allocator),
        cmocka_unit_test(test_process_allocator_of_guests),
        cmocka_unit_test(test_process_logs),
        cmocka_unit_test(test_process_logs_of_one_set_later),
        cmocka_unit_test(test_process_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
