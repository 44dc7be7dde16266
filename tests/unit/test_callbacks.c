/* The embedder's callbacks: which thread calls each, what of Driftwood may be called from it, and
 * that what may not answers so. Through the public API alone. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "driftwood.h"
#include "tiny_model.h"

#define HANGS_SECONDS 120 /* a callback that waits for itself */

/* What callbacks look at; NULL: not there. */
static struct {
    dw_engine *engine;
    dw_model *model;
    dw_module *module;     /* guest_text */
    dw_module *actor;      /* tests/guest/actor_talker.c */
    dw_session *session;   /* nobody is at work on it */
    dw_instance *instance; /* the one at work */
    dw_actor *at_work;     /* likewise */
    dw_scheduler *scheduler;
    dw_runtime *runtime;            /* with a path, works on request */
    char id[DW_ACTOR_ID_CHARS + 1]; /* in the runtime */
    char path[96];                  /* the model's */
    char folder[64];
} at;

/* ---- what a callback saw ------------------------------------------------------------------- */

typedef struct spot {
    const char *name;
    pthread_t expected; /* the thread */
    int calls;
    int on_other_thread;
    bool on_any;     /* threads, one at a time */
    char wrong[400]; /* the first thing that was not as the header says */
} spot;

static void expect(spot *s, const char *what, dw_status status, dw_status wanted,
                   const dw_error *err)
{
    if (status != wanted && s->wrong[0] == '\0') {
        (void)snprintf(s->wrong, sizeof s->wrong, "%s: %s is %s, not %s: %s", s->name, what,
                       dw_status_name(status), dw_status_name(wanted), err->message);
    }
}

#define EXPECT(s, wanted, call)                                                                    \
    do {                                                                                           \
        dw_error err = {.message = ""};                                                            \
        expect((s), #call, (call), (wanted), &err);                                                \
    } while (0)

static bool enter(spot *s)
{
    s->calls++;
    s->on_other_thread += !pthread_equal(pthread_self(), s->expected);
    return s->calls == 1; /* once is enough for what follows */
}

static void verify(const spot *s, int least)
{
    assert_string_equal(s->wrong, "");
    if (s->calls < least) {
        fail_msg("%s was called %d times, not %d", s->name, s->calls, least);
    }
    if (s->on_other_thread > 0 && !s->on_any) {
        fail_msg("%s: %d of %d calls on another thread", s->name, s->on_other_thread, s->calls);
    }
}

static spot spot_of(const char *name)
{
    return (spot){.name = name, .expected = pthread_self()};
}

/* Calls of Driftwood that any callback but those of the log and the allocator may make: other
 * objects of the same engine and model. */
static void use_others(spot *s)
{
    static const int32_t tokens[2] = {3, 4};
    dw_instance *other = NULL;
    dw_session *fork = NULL;
    dw_module *module = NULL;
    dw_engine_stats stats = {.struct_bytes = sizeof stats};
    static const unsigned char none[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    int32_t result = 0;
    int32_t token = 0;
    EXPECT(s, DW_OK, dw_session_trim(at.session, 0, &err));
    EXPECT(s, DW_OK, dw_session_forward(at.session, tokens, 2, 1, NULL, &err));
    EXPECT(s, DW_OK, dw_session_sample(at.session, &token, &err));
    EXPECT(s, DW_OK, dw_session_fork(&fork, at.session, &err));
    dw_session_destroy(fork);
    EXPECT(s, DW_OK, dw_instance_create(&other, at.module, NULL, &err));
    EXPECT(s, DW_OK, dw_instance_call(other, "seven", &result, &err));
    dw_instance_destroy(other);
    EXPECT(s, DW_E_UNSUPPORTED, dw_module_create(&module, at.engine, none, sizeof none, &err));
    EXPECT(s, DW_OK, dw_engine_get_stats(at.engine, &stats));
    EXPECT(s, DW_OK, dw_json_schema_check("{\"type\":\"object\"}", NULL, 0, &err));
}

/* The guest that is at work, its engine and its scheduler cannot be entered or destroyed. */
static void misuse_guest(spot *s)
{
    int32_t result = 0;
    if (at.instance != NULL) {
        EXPECT(s, DW_E_STATE, dw_instance_call(at.instance, "seven", &result, &err));
        EXPECT(s, DW_E_STATE, dw_instance_run(at.instance, NULL, &err));
        dw_instance_destroy(at.instance);
    }
    dw_engine_destroy(at.engine);
    if (at.scheduler != NULL) {
        EXPECT(s, DW_E_STATE, dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err));
        dw_scheduler_destroy(at.scheduler);
    }
}

static void misuse_actor(spot *s)
{
    dw_actor *child = NULL;
    dw_session *session = NULL;
    if (at.at_work == NULL) {
        return;
    }
    EXPECT(s, DW_E_STATE, dw_actor_receive(at.at_work, NULL, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_fork(&child, at.at_work, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_freeze(at.at_work, "/nowhere", NULL, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_export(at.at_work, 1, NULL, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_open_context(&session, at.at_work, 0, &err));
    dw_actor_destroy(at.at_work);
}

static void take_info(void *user, const char *id, const dw_runtime_actor_info *info,
                      const dw_error *problem)
{
    *(int *)user += info != NULL && problem == NULL && strlen(id) == DW_ACTOR_ID_CHARS;
}

static void take_path(void *user, const char *path)
{
    *(int *)user += path[0] == '/';
}

static void take_message(void *user, const dw_runtime_message *message)
{
    (void)user;
    (void)message;
}

/* What waits for an actor. */
static void misuse_runtime(spot *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    const dw_request message = {
        .struct_bytes = sizeof message, .message = "+1", .message_bytes = 2};
    dw_runtime *runtime = at.runtime;
    if (runtime == NULL) {
        return;
    }
    EXPECT(s, DW_E_STATE, dw_runtime_call(runtime, at.id, &message, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_work(runtime, DW_WORK_ALL, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_wait(runtime, 0, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_spawn(runtime, at.actor, NULL, id, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_fork(runtime, at.id, id, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_freeze(runtime, at.id, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_rewind(runtime, at.id, 0, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_park(runtime, at.id, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_export(runtime, at.id, 1, &err));
    dw_runtime_close(runtime);
}

/* Where nothing of Driftwood may be called, what else changes it or takes its lock is refused. */
static void misuse_all_of_runtime(spot *s)
{
    uint64_t count = 0;
    int seen = 0;
    dw_actor *copy = NULL;
    const dw_thaw_options copying = {.struct_bytes = sizeof copying};
    dw_runtime *runtime = at.runtime;
    if (runtime == NULL) {
        return;
    }
    misuse_runtime(s);
    EXPECT(s, DW_E_STATE, dw_runtime_stop(runtime, at.id, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_stop_all(runtime, &count, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_drop_mail(runtime, at.id, DW_MAIL_ALL, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_retry_mail(runtime, at.id, DW_MAIL_ALL, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_list_paths(runtime, at.id, take_path, &seen, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_copy(&copy, runtime, at.id, &copying, NULL, &err));
}

static void look_at_runtime(spot *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    int infos = 0;
    int paths = 0;
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    if (at.runtime == NULL || at.id[0] == '\0') {
        return;
    }
    EXPECT(s, DW_OK, dw_runtime_find_id(at.runtime, at.id, id, &err));
    EXPECT(s, DW_OK, dw_runtime_list_infos(at.runtime, NULL, 8, take_info, &infos, &err));
    EXPECT(s, DW_OK, dw_runtime_get_actor_info(at.runtime, at.id, &info, &err));
    EXPECT(s, DW_OK, dw_runtime_list_paths(at.runtime, at.id, take_path, &paths, &err));
    EXPECT(s, DW_OK, dw_runtime_list_mail(at.runtime, at.id, take_message, NULL, &err));
    EXPECT(s, DW_E_NOT_FOUND,
           dw_runtime_read_mail(at.runtime, at.id, UINT64_MAX - 1, NULL, NULL, &err));
    EXPECT(s, DW_OK, infos > 0 && paths > 0 ? DW_OK : DW_E_NOT_FOUND);
}

static void look_around(spot *s)
{
    if (enter(s)) {
        misuse_guest(s);
        misuse_actor(s);
        misuse_runtime(s);
        look_at_runtime(s);
        use_others(s);
    }
}

/* ---- callbacks of guests ------------------------------------------------------------------- */

typedef struct guest_spots {
    spot on_stdout;
    spot on_stderr;
    spot on_input;
    spot on_progress;
    spot own_import;
    spot on_end;
    spot on_turn;
    spot on_answer;
} guest_spots;

static guest_spots spots;

static ptrdiff_t on_stdout(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    look_around(&spots.on_stdout);
    return (ptrdiff_t)count;
}

static ptrdiff_t on_stderr(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    look_around(&spots.on_stderr);
    return (ptrdiff_t)count;
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    (void)user;
    look_around(&spots.on_input);
    memcpy(buffer, "hi", capacity < 2 ? capacity : 2);
    return 2;
}

static void on_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    (void)done;
    (void)total;
    look_around(&spots.on_progress);
}

static dw_status own_import(void *user, dw_import_call *call, const dw_value *args,
                            dw_value *results, dw_error *err)
{
    (void)user;
    (void)args;
    (void)results;
    (void)err;
    if (at.instance == NULL) {
        at.instance = dw_import_call_instance(call);
    }
    look_around(&spots.own_import);
    return DW_OK;
}

static void on_end(void *user, const dw_call_end *end)
{
    int32_t result = 0;
    (void)user;
    if (!enter(&spots.on_end)) {
        return;
    }
    expect(&spots.on_end, "the end", end->status, DW_OK, end->error);
    EXPECT(&spots.on_end, DW_E_STATE, dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err));
    dw_scheduler_destroy(at.scheduler);
    if (at.instance != NULL) { /* it is the caller's again */
        EXPECT(&spots.on_end, DW_OK, dw_instance_call(at.instance, "seven", &result, &err));
        dw_instance_destroy(at.instance);
        at.instance = NULL;
    }
    use_others(&spots.on_end);
}

static void on_turn(void *user)
{
    (void)user;
    if (enter(&spots.on_turn)) {
        EXPECT(&spots.on_turn, DW_E_STATE, dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err));
        dw_scheduler_destroy(at.scheduler);
        use_others(&spots.on_turn);
    }
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    look_around(&spots.on_answer);
    return (ptrdiff_t)count;
}

static void fresh_spots(void)
{
    spots = (guest_spots){spot_of("on_stdout"),   spot_of("on_stderr"), spot_of("on_input"),
                          spot_of("on_progress"), spot_of("an import"), spot_of("on_end"),
                          spot_of("on_turn"),     spot_of("on_answer")};
}

/* Writes to both streams, asks for input, computes a prompt, calls the import. */
static const char guest_text[] =
    "(module"
    "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result "
    "i32)))"
    "(import \"driftwood\" \"input\" (func $input (param i32 i32) (result i32)))"
    "(import \"driftwood\" \"model_open\" (func $model (param i32 i32) (result i32)))"
    "(import \"driftwood\" \"context_create\" (func $context (param i32 i32) (result i32)))"
    "(import \"driftwood\" \"forward\" (func $forward (param i32 i32 i32 i32 i32) (result i32)))"
    "(import \"host\" \"own\" (func $own))"
    "(memory (export \"memory\") 8)"
    "(data (i32.const 16) \"\\20\\00\\00\\00\\02\\00\\00\\00\") (data (i32.const 32) \"a\\0a\")"
    "(func $must (param i32) (if (i32.lt_s (local.get 0) (i32.const 0)) (then unreachable)))"
    "(func (export \"seven\") (result i32) (i32.const 7))"
    "(func (export \"_start\")"
    "  (call $own)"
    "  (call $must (i32.sub (i32.const 0) (call $write (i32.const 1) (i32.const 16) (i32.const 1) "
    "(i32.const 24))))"
    "  (call $must (i32.sub (i32.const 0) (call $write (i32.const 2) (i32.const 16) (i32.const 1) "
    "(i32.const 24))))"
    "  (call $must (call $input (i32.const 64) (i32.const 64)))"
    "  (call $must (call $forward (call $context (call $model (i32.const 0) (i32.const 0)) "
    "(i32.const 64))"
    "                (i32.const 1024) (i32.const 8) (i32.const 65536) (i32.const 1)))))";

static dw_instance *new_guest(void)
{
    dw_instance *instance = NULL;
    dw_error err = {.message = ""};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &at.model,
                                   .model_count = 1,
                                   .on_stdout = on_stdout,
                                   .on_stderr = on_stderr,
                                   .on_input = on_input,
                                   .on_progress = on_progress};
    dw_status status = dw_instance_create(&instance, at.module, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return instance;
}

static void verify_guest(void)
{
    verify(&spots.on_stdout, 1);
    verify(&spots.on_stderr, 1);
    verify(&spots.on_input, 1);
    verify(&spots.on_progress, 1);
    verify(&spots.own_import, 1);
}

static void test_callbacks_of_a_call(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    wasm_signals_restore();
    fresh_spots();
    at.instance = new_guest();
    dw_status status = dw_instance_run(at.instance, NULL, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    verify_guest();
    dw_instance_destroy(at.instance);
    at.instance = NULL;
}

static void *run_from_elsewhere(void *arg)
{
    dw_error err = {.message = ""};
    *(dw_status *)arg = dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err);
    return NULL;
}

static dw_status status_elsewhere;

static void ask_elsewhere(void *user)
{
    pthread_t thread;
    (void)user;
    assert_int_equal(pthread_create(&thread, NULL, run_from_elsewhere, &status_elsewhere), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_callbacks_of_a_scheduler(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    wasm_signals_restore();
    fresh_spots();
    at.instance = new_guest();
    assert_int_equal(dw_scheduler_create(&at.scheduler, at.engine, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_start(at.scheduler, at.instance, on_end, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_submit(at.scheduler, on_turn, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_submit(at.scheduler, ask_elsewhere, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    verify_guest();
    verify(&spots.on_end, 1);
    verify(&spots.on_turn, 1);
    assert_int_equal(status_elsewhere, DW_E_STATE);
    dw_scheduler_destroy(at.scheduler);
    at.scheduler = NULL;
    assert_null(at.instance);
}

/* ---- actors -------------------------------------------------------------------------------- */

static dw_actor *spawned(void)
{
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &at.model,
                                    .model_count = 1,
                                    .on_stderr = on_stderr,
                                    .on_progress = on_progress};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_status status = dw_actor_spawn(&actor, at.actor, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static void tell(dw_actor *actor, const char *text)
{
    dw_error err = {.message = ""};
    assert_int_equal(dw_actor_send(actor, NULL, text, strlen(text), &err), DW_OK);
}

static void test_callbacks_of_an_actor(void **state)
{
    static const char *const messages[] = {"m", "n20", "+1"};
    (void)state;
    dw_error err = {.message = ""};
    wasm_signals_restore();
    fresh_spots();
    at.at_work = spawned();
    at.instance = dw_actor_instance(at.at_work);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        tell(at.at_work, messages[i]);
        dw_status status = dw_actor_receive(at.at_work, on_answer, NULL, &err);
        assert_string_equal(err.message, "");
        assert_int_equal(status, DW_OK);
    }
    verify(&spots.on_answer, 1);
    verify(&spots.on_progress, 1);
    dw_actor_destroy(at.at_work);
    at.at_work = NULL;
    at.instance = NULL;
}

static void on_actor_end(void *user, const dw_call_end *end)
{
    (void)user;
    if (enter(&spots.on_end)) {
        expect(&spots.on_end, "the end", end->status, DW_OK, end->error);
        tell(at.at_work, "+2");
        EXPECT(&spots.on_end, DW_OK, dw_actor_receive(at.at_work, NULL, NULL, &err));
        dw_actor_destroy(at.at_work);
        at.at_work = NULL;
        at.instance = NULL;
    }
}

static void test_callbacks_of_a_scheduled_actor(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    wasm_signals_restore();
    fresh_spots();
    at.at_work = spawned();
    at.instance = dw_actor_instance(at.at_work);
    tell(at.at_work, "+1");
    assert_int_equal(dw_scheduler_create(&at.scheduler, at.engine, NULL, &err), DW_OK);
    assert_int_equal(
        dw_scheduler_receive(at.scheduler, at.at_work, on_answer, on_actor_end, NULL, &err), DW_OK);
    assert_int_equal(dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err), DW_OK);
    verify(&spots.on_answer, 1);
    verify(&spots.on_end, 1);
    dw_scheduler_destroy(at.scheduler);
    at.scheduler = NULL;
    assert_null(at.at_work);
}

/* ---- thawing ------------------------------------------------------------------------------- */

static spot find_model_spot;
static spot find_module_spot;

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)user;
    (void)name;
    (void)fingerprint;
    dw_model *own = NULL;
    if (enter(&find_model_spot)) {
        misuse_runtime(&find_model_spot);
        look_at_runtime(&find_model_spot);
        use_others(&find_model_spot);
    }
    dw_status status = dw_model_open(&own, at.engine, at.path, err); /* what it is there for */
    dw_model_unref(own);
    *model = dw_model_ref(at.model);
    return status;
}

static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    (void)user;
    (void)sha256;
    (void)err;
    if (enter(&find_module_spot)) {
        use_others(&find_module_spot);
    }
    *module = at.actor;
    return DW_OK;
}

static void test_callbacks_of_a_thaw(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    dw_actor *actor = spawned();
    char path[96];
    const char *const paths[] = {path};
    dw_freeze_options freezing = {.struct_bytes = sizeof freezing, .without_module = true};
    dw_thaw_options thawing = {.struct_bytes = sizeof thawing,
                               .paths = paths,
                               .path_count = 1,
                               .find_model = find_model,
                               .find_module = find_module,
                               .on_stderr = on_stderr};
    wasm_signals_restore();
    find_model_spot = spot_of("find_model");
    find_module_spot = spot_of("find_module");
    (void)snprintf(path, sizeof path, "%s/one.snapshot", at.folder);
    tell(actor, "m");
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &err), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, path, &freezing, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
    dw_status status = dw_actor_thaw(&actor, at.engine, &thawing, NULL, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
    dw_actor_destroy(actor);
    verify(&find_model_spot, 1);
    verify(&find_module_spot, 1);
}

/* ---- the runtime --------------------------------------------------------------------------- */

static struct {
    spot find_guest;
    spot on_problem;
    spot on_answered;
} runtime_spots;

static dw_status find_guest(void *user, const char *name, dw_module **module, dw_error *err)
{
    (void)user;
    (void)name;
    (void)err;
    look_around(&runtime_spots.find_guest);
    *module = at.actor;
    return DW_OK;
}

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)id;
    (void)problem;
    look_around(&runtime_spots.on_problem);
}

static dw_status on_answered(void *user, dw_status result, dw_error *err)
{
    (void)user;
    (void)result;
    (void)err;
    look_around(&runtime_spots.on_answered);
    return DW_OK;
}

static void send(const char *text, dw_status wanted)
{
    dw_error err = {.message = ""};
    const dw_request message = {.struct_bytes = sizeof message,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = on_answer,
                                .on_answered = on_answered};
    assert_int_equal(dw_runtime_call(at.runtime, at.id, &message, &err), wanted);
}

static void open_runtime(void)
{
    static char folder[96];
    dw_error err = {.message = ""};
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .path = folder,
                                        .find_model = find_model,
                                        .find_guest = find_guest,
                                        .on_problem = on_problem,
                                        .on_stderr = on_stderr,
                                        .works_on_request = true};
    (void)snprintf(folder, sizeof folder, "%s/state", at.folder);
    assert_int_equal(dw_runtime_open(&at.runtime, at.engine, &options, &err), DW_OK);
}

static spot spot_of_any(const char *name)
{
    return (spot){.name = name, .expected = pthread_self(), .on_any = true};
}

static void test_callbacks_of_a_runtime(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_instance_options instance = {
        .struct_bytes = sizeof instance, .models = &at.model, .model_count = 1};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .capabilities = DW_MAY_ALL};
    wasm_signals_restore();
    fresh_spots();
    spots.on_answer = spot_of_any("on_answer");
    spots.on_stderr = spot_of_any("on_stderr");
    find_model_spot = spot_of_any("find_model");
    runtime_spots.find_guest = spot_of_any("find_guest");
    runtime_spots.on_problem = spot_of_any("on_problem");
    runtime_spots.on_answered = spot_of_any("on_answered");
    open_runtime();
    assert_int_equal(dw_runtime_spawn(at.runtime, at.actor, &options, id, &err), DW_OK);
    dw_runtime_close(at.runtime); /* so that it is read again */
    at.runtime = NULL;
    open_runtime();
    memcpy(at.id, id, sizeof at.id);
    send("m", DW_OK);
    send("+1", DW_OK);
    send("Uother", DW_OK); /* asks for a guest by name */
    send("A!", DW_OK);     /* a timer whose message traps */
    (void)!dw_runtime_work(at.runtime, DW_WORK_ALL, &err);
    verify(&spots.on_answer, 1);
    verify(&find_model_spot, 1);
    verify(&runtime_spots.find_guest, 1);
    verify(&runtime_spots.on_problem, 1);
    verify(&runtime_spots.on_answered, 1);
    send("+41", DW_OK);
    dw_runtime_close(at.runtime);
    at.runtime = NULL;
    at.id[0] = '\0';
}

/* ---- fingerprints -------------------------------------------------------------------------- */

static spot fingerprint_spot;
static dw_model *hashed;

static bool on_fingerprint(void *user, uint64_t done, uint64_t total)
{
    char text[DW_FINGERPRINT_BYTES];
    bool matches = false;
    dw_fingerprint_stats stats = {.struct_bytes = sizeof stats};
    (void)user;
    (void)done;
    (void)total;
    if (enter(&fingerprint_spot)) {
        EXPECT(&fingerprint_spot, DW_E_STATE, dw_model_fingerprint(hashed, text, &err));
        EXPECT(&fingerprint_spot, DW_OK, dw_model_matches(hashed, "gguf2:", &matches, &err));
        EXPECT(&fingerprint_spot, DW_OK, dw_model_fingerprint(at.model, text, &err));
        EXPECT(&fingerprint_spot, DW_OK, dw_model_get_fingerprint_stats(hashed, &stats));
        use_others(&fingerprint_spot);
    }
    return true;
}

static void test_callbacks_of_a_fingerprint(void **state)
{
    (void)state;
    char text[DW_FINGERPRINT_BYTES];
    dw_error err = {.message = ""};
    dw_gguf *file = NULL;
    dw_model_options options = {.struct_bytes = sizeof options, .on_fingerprint = on_fingerprint};
    dw_fingerprint_options reading = {.struct_bytes = sizeof reading,
                                      .on_progress = on_fingerprint};
    wasm_signals_restore();
    fingerprint_spot = spot_of("on_fingerprint");
    /* Where others have hashed all before the caller began, there is nothing to report. */
    for (int i = 0; i < 100 && fingerprint_spot.calls == 0; i++) {
        dw_model_unref(hashed);
        assert_int_equal(dw_model_open_with(&hashed, at.engine, at.path, &options, &err), DW_OK);
        assert_int_equal(dw_model_fingerprint(hashed, text, &err), DW_OK);
    }
    verify(&fingerprint_spot, 1);
    assert_int_equal(dw_gguf_open(&file, at.path, &err), DW_OK);
    fingerprint_spot.calls = 1; /* looks no more around */
    for (int i = 0; i < 100 && fingerprint_spot.calls == 1; i++) {
        assert_int_equal(dw_gguf_fingerprint_with(file, &reading, text, NULL, &err), DW_OK);
    }
    verify(&fingerprint_spot, 2);
    dw_gguf_close(file);
    dw_model_unref(hashed);
    hashed = NULL;
}

/* ---- the log and the allocator -------------------------------------------------------------- */

static spot log_spot;
static spot allocator_spot;
static bool allocator_asks;
static dw_model *loading; /* whose vocabulary is on its way */

/* All of this is refused there; nothing of it waits. */
static void misuse_all(spot *s)
{
    static const int32_t tokens[2] = {3, 4};
    dw_model *model = NULL;
    dw_engine *engine = NULL;
    dw_instance *instance = NULL;
    dw_session *session = NULL;
    dw_runtime *runtime = NULL;
    dw_scheduler *scheduler = NULL;
    dw_actor *actor = NULL;
    dw_module *module = NULL;
    dw_chat_prompt *prompt = NULL;
    dw_runtime_options options = {.struct_bytes = sizeof options, .path = at.folder};
    dw_thaw_options thawing = {.struct_bytes = sizeof thawing};
    char text[DW_FINGERPRINT_BYTES];
    int32_t token = 0;
    EXPECT(s, DW_E_STATE, dw_session_forward(at.session, tokens, 2, 1, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_session_trim(at.session, 0, &err));
    EXPECT(s, DW_E_STATE, dw_session_fork(&session, at.session, &err));
    EXPECT(s, DW_E_STATE, dw_session_create(&session, at.model, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_session_sample(at.session, &token, &err));
    EXPECT(s, DW_E_STATE, dw_session_set_sampler(at.session, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_model_open(&model, at.engine, at.path, &err));
    EXPECT(s, DW_E_STATE, dw_model_fingerprint(at.model, text, &err));
    EXPECT(s, DW_E_STATE, dw_engine_create(&engine, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_module_create(&module, at.engine, "\0asm\1\0\0\0", 8, &err));
    EXPECT(s, DW_E_STATE, dw_instance_create(&instance, at.module, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_spawn(&actor, at.actor, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_actor_thaw(&actor, at.engine, &thawing, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_runtime_open(&runtime, at.engine, &options, &err));
    EXPECT(s, DW_E_STATE, dw_scheduler_create(&scheduler, at.engine, NULL, &err));
    EXPECT(s, DW_E_STATE, dw_json_schema_check("{}", NULL, 0, &err));
    EXPECT(s, DW_E_STATE, dw_chat_render(&prompt, at.model, "{}", 2, 0, &err));
    if (at.at_work != NULL) {
        EXPECT(s, DW_E_STATE, dw_actor_send(at.at_work, NULL, "x", 1, &err));
        EXPECT(s, DW_E_STATE, dw_actor_receive(at.at_work, NULL, NULL, &err));
    }
    if (at.instance != NULL) {
        EXPECT(s, DW_E_STATE, dw_instance_call(at.instance, "seven", &token, &err));
    }
    if (at.scheduler != NULL) {
        EXPECT(s, DW_E_STATE, dw_scheduler_submit(at.scheduler, on_turn, NULL, &err));
        EXPECT(s, DW_E_STATE, dw_scheduler_run(at.scheduler, DW_RUN_UNTIL_IDLE, &err));
    }
    misuse_all_of_runtime(s);
    dw_scheduler_destroy(at.scheduler);
    dw_instance_destroy(at.instance);
    dw_actor_destroy(at.at_work);
    dw_session_destroy(at.session);
    dw_engine_destroy(at.engine);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_line(void *user, dw_log_level level, const char *line)
{
    int32_t items[4];
    dw_token_room tokens = {.items = items, .capacity = 4};
    dw_error err;
    (void)user;
    (void)level;
    (void)line;
    (void)pthread_mutex_lock(&log_lock); /* several threads may have something to tell */
    log_spot.calls++;
    misuse_all(&log_spot);
    if (loading != NULL) { /* the thread that loads it may be this one */
        (void)!dw_model_tokenize(loading, "a", 1, 0, &tokens, &err);
    }
    (void)pthread_mutex_unlock(&log_lock);
}

static void *allocate(void *user, size_t bytes)
{
    (void)user;
    if (allocator_asks) {
        allocator_asks = false;
        allocator_spot.calls++;
        misuse_all(&allocator_spot);
        dw_gguf *file = NULL;
        EXPECT(&allocator_spot, DW_E_MEMORY, dw_gguf_open(&file, at.path, &err));
    }
    return malloc(bytes);
}

static void *resize(void *user, void *block, size_t bytes)
{
    (void)user;
    return realloc(block, bytes);
}

static void release(void *user, void *block)
{
    (void)user;
    free(block);
}

/* A guest that works under a scheduler, an actor, a runtime: what can be misused is there. */
static void have_all(void)
{
    dw_error err = {.message = ""};
    fresh_spots();
    at.instance = new_guest();
    at.at_work = spawned();
    assert_int_equal(dw_scheduler_create(&at.scheduler, at.engine, NULL, &err), DW_OK);
    open_runtime();
}

static void have_none(void)
{
    dw_runtime_close(at.runtime);
    dw_scheduler_destroy(at.scheduler);
    dw_instance_destroy(at.instance);
    dw_actor_destroy(at.at_work);
    at.runtime = NULL;
    at.scheduler = NULL;
    at.instance = NULL;
    at.at_work = NULL;
}

static void work(void)
{
    static const int32_t tokens[8] = {3, 4, 5, 6, 7, 8, 9, 10};
    dw_error err = {.message = ""};
    dw_engine *engine = NULL;
    char text[DW_FINGERPRINT_BYTES];
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &err), DW_OK);
    assert_int_equal(dw_model_open(&loading, engine, at.path, &err), DW_OK);
    assert_int_equal(dw_model_fingerprint(loading, text, &err), DW_OK);
    assert_int_equal(dw_session_trim(at.session, 0, &err), DW_OK);
    assert_int_equal(dw_session_forward(at.session, tokens, 8, 1, NULL, &err), DW_OK);
    (void)!dw_instance_create(&at.instance, at.module, &(dw_instance_options){0}, &err);
    dw_model *model = loading;
    loading = NULL;
    dw_model_unref(model);
    dw_engine_destroy(engine);
}

static void test_callbacks_of_the_log(void **state)
{
    (void)state;
    wasm_signals_restore();
    have_all();
    dw_instance *own = at.instance;
    log_spot = spot_of("the log");
    dw_log_set(DW_LOG_DEBUG, on_line, NULL);
    work();
    dw_log_set(DW_LOG_NONE, NULL, NULL);
    at.instance = own;
    print_message("%d lines\n", log_spot.calls);
    verify(&log_spot, 3);
    have_none();
}

static void test_callbacks_of_the_allocator(void **state)
{
    (void)state;
    dw_error err = {.message = ""};
    dw_session *fork = NULL;
    wasm_signals_restore();
    have_all();
    allocator_spot = spot_of("the allocator");
    allocator_asks = true;
    assert_int_equal(dw_session_fork(&fork, at.session, &err), DW_OK);
    verify(&allocator_spot, 1);
    dw_session_destroy(fork);
    have_none();
}

/* ---- all ----------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    static const dw_import own = {.struct_bytes = sizeof own,
                                  .module = "host",
                                  .name = "own",
                                  .signature = ":",
                                  .call = own_import};
    static const dw_import *const imports[] = {&own};
    dw_error err = {.message = ""};
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = "CPU",
                                 .threads = 2,
                                 .imports = imports,
                                 .import_count = 1};
    tiny_options tiny = tiny_defaults();
    wasm_byte_vec_t wasm;
    (void)state;
    (void)alarm(HANGS_SECONDS);
    (void)snprintf(at.folder, sizeof at.folder, "/tmp/dw-callbacks-XXXXXX");
    assert_non_null(mkdtemp(at.folder));
    (void)snprintf(at.path, sizeof at.path, "%s/tiny.gguf", at.folder);
    tiny_model_write(at.path, &tiny);
    assert_null(wasmtime_wat2wasm(guest_text, sizeof guest_text - 1, &wasm));
    bool good = dw_engine_create(&at.engine, &options, &err) == DW_OK &&
                dw_model_open(&at.model, at.engine, at.path, &err) == DW_OK &&
                dw_session_create(&at.session, at.model, NULL, &err) == DW_OK &&
                dw_module_create(&at.module, at.engine, wasm.data, wasm.size, &err) == DW_OK &&
                dw_module_open(&at.actor, at.engine, DW_TEST_GUESTS_DIR "/actor_talker.wasm",
                               &err) == DW_OK;
    wasm_byte_vec_delete(&wasm);
    assert_string_equal(err.message, "");
    return good ? 0 : 1;
}

static int tear_down(void **state)
{
    char command[96];
    (void)state;
    dw_module_unref(at.actor);
    dw_module_unref(at.module);
    dw_session_destroy(at.session);
    dw_model_unref(at.model);
    dw_engine_destroy(at.engine);
    (void)snprintf(command, sizeof command, "rm -r '%s'", at.folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callbacks_of_a_call),
        cmocka_unit_test(test_callbacks_of_a_scheduler),
        cmocka_unit_test(test_callbacks_of_an_actor),
        cmocka_unit_test(test_callbacks_of_a_scheduled_actor),
        cmocka_unit_test(test_callbacks_of_a_thaw),
        cmocka_unit_test(test_callbacks_of_a_runtime),
        cmocka_unit_test(test_callbacks_of_a_fingerprint),
        cmocka_unit_test(test_callbacks_of_the_log),
        cmocka_unit_test(test_callbacks_of_the_allocator),
    };
    const dw_allocator own = {
        .struct_bytes = sizeof own, .allocate = allocate, .resize = resize, .release = release};
    dw_error err;
    if (dw_allocator_set(&own, &err) != DW_OK) {
        return 1;
    }
    wasm_signals_save();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
