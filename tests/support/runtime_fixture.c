#include "runtime_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "support.h"

int runtime_fixture_open(void **state)
{
    void *actors = NULL;
    assert_int_equal(actor_fixture_open(&actors), 0);
    runtime_fixture *f = dw_alloc(1, sizeof *f);
    f->actors = actors;
    f->hostile = actor_module(f->actors, "actor_hostile.wasm");
    f->echo = actor_module(f->actors, "actor_echo.wasm");
    f->stillborn = actor_module(f->actors, "actor_stillborn.wasm");
    f->unborn = actor_module(f->actors, "actor_unborn.wasm");
    assert_int_equal(pthread_mutex_init(&f->lock, NULL), 0);
    *state = f;
    return 0;
}

int runtime_fixture_close(void **state)
{
    runtime_fixture *f = *state;
    void *actors = f->actors;
    dw_module_unref(f->hostile);
    dw_module_unref(f->echo);
    dw_module_unref(f->stillborn);
    dw_module_unref(f->unborn);
    (void)pthread_mutex_destroy(&f->lock);
    dw_free(f);
    return actor_fixture_close(&actors);
}

static dw_status find_guest(void *user, const char *name, dw_module **module, dw_error *err)
{
    const runtime_fixture *f = user;
    *module = strcmp(name, "stillborn") == 0 ? f->stillborn
              : strcmp(name, "unborn") == 0  ? f->unborn
              : strcmp(name, "hostile") == 0 ? f->hostile
                                             : NULL;
    return *module != NULL ? DW_OK : dw_fail(err, DW_E_NOT_FOUND, "no guest '%s' here", name);
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    const runtime_fixture *f = user;
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(f->actors->model);
    return DW_OK;
}

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    runtime_fixture *f = user;
    (void)id;
    (void)pthread_mutex_lock(&f->lock);
    f->problem_count++;
    (void)snprintf(f->problem, sizeof f->problem, "%s", problem->message);
    (void)pthread_mutex_unlock(&f->lock);
}

unsigned runtime_problems(runtime_fixture *f, char text[256])
{
    (void)pthread_mutex_lock(&f->lock);
    unsigned count = f->problem_count;
    (void)snprintf(text, 256, "%s", f->problem);
    (void)pthread_mutex_unlock(&f->lock);
    return count;
}

dw_scheduler_options runtime_scheduling(void)
{
    const char *threads = getenv("DW_TEST_GUEST_THREADS");
    return (dw_scheduler_options){.struct_bytes = sizeof(dw_scheduler_options),
                                  .guest_threads =
                                      threads != NULL ? (uint32_t)strtoul(threads, NULL, 10) : 0};
}

void runtime_open(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    const dw_scheduler_options scheduling = runtime_scheduling();
    dw_runtime_options options = {.struct_bytes = sizeof options,
                                  .find_guest = find_guest,
                                  .on_problem = on_problem,
                                  .user = f,
                                  .path = f->path,
                                  .find_model = find_model,
                                  .durability = f->durability,
                                  .durability_s = f->durability_s,
                                  .works_on_request = f->works_on_request,
                                  .makes_tenants = f->works_on_request,
                                  .read_only = f->read_only,
                                  .accept_older = f->accept_older,
                                  .on_stderr = f->on_stderr,
                                  .manifest = f->manifest,
                                  .manifest_bytes = f->manifest != NULL ? strlen(f->manifest) : 0,
                                  .working_max = f->working_max,
                                  .scheduler = &scheduling,
                                  .limits = f->limits.struct_bytes != 0 ? &f->limits : NULL};
    f->problem_count = 0;
    f->problem[0] = '\0';
    dw_status status = dw_runtime_open(&f->runtime, f->actors->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_signals_restore();
}

void runtime_close(runtime_fixture *f)
{
    dw_runtime_close(f->runtime);
    f->runtime = NULL;
    f->limits = (dw_limits){.struct_bytes = 0};
    f->working_max = 0;
}

int runtime_test_end(void **state)
{
    runtime_fixture *f = *state;
    char command[1024];
    if (f->runtime != NULL) {
        runtime_close(f);
    }
    if (f->path != NULL) {
        (void)snprintf(command, sizeof command, "rm -rf '%s'", f->path);
        assert_int_equal(system(command), 0);
    }
    f->path = f->manifest = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    f->works_on_request = f->read_only = f->accept_older = false;
    return 0;
}

runtime_id runtime_spawned(runtime_fixture *f, dw_module *module, const dw_spawn_options *options)
{
    runtime_id id;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &f->actors->model,
                                    .model_count = 1,
                                    .kv_type = DW_KV_F32};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    dw_spawn_options own = {.struct_bytes = sizeof own, .capabilities = DW_MAY_ALL};
    own = options != NULL ? *options : own;
    own.actor = own.actor != NULL ? own.actor : &actor;
    dw_status status = dw_runtime_spawn(f->runtime, module, &own, id.text, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return id;
}

ptrdiff_t runtime_keep(void *user, const unsigned char *bytes, size_t count)
{
    runtime_answer *answer = user;
    if (count >= sizeof answer->bytes - answer->count) {
        return -1;
    }
    memcpy(answer->bytes + answer->count, bytes, count);
    answer->count += count;
    answer->bytes[answer->count] = '\0';
    return (ptrdiff_t)count;
}

dw_status runtime_tell(runtime_fixture *f, const runtime_id *id, const char *text,
                       runtime_answer *answer, dw_error *error)
{
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .on_answer = runtime_keep,
                                .user = answer};
    *answer = (runtime_answer){.count = 0};
    *error = (dw_error){.message = ""};
    return dw_runtime_call(f->runtime, id->text, &request, error);
}

uint32_t runtime_told(runtime_fixture *f, const runtime_id *id, const char *text)
{
    runtime_answer answer;
    dw_error error;
    uint32_t value = 0;
    dw_status status = runtime_tell(f, id, text, &answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    memcpy(&value, answer.bytes, sizeof value);
    return value;
}

dw_status request_tell(runtime_fixture *f, const char *id, const char *text, runtime_answer *answer,
                       dw_error *error)
{
    runtime_id own;
    (void)snprintf(own.text, sizeof own.text, "%s", id);
    dw_status status = runtime_tell(f, &own, text, answer, error);
    (void)!dw_runtime_work(f->runtime, DW_WORK_TURN, NULL); /* what fails there is told by itself */
    return status;
}

uint32_t request_told(runtime_fixture *f, const char *id, const char *text)
{
    runtime_answer answer;
    dw_error error;
    uint32_t value = 0;
    dw_status status = request_tell(f, id, text, &answer, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    memcpy(&value, answer.bytes, sizeof value);
    return value;
}

void request_run(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    dw_status status = dw_runtime_work(f->runtime, DW_WORK_ALL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

uint32_t runtime_asked(runtime_fixture *f, const runtime_id *id, uint32_t what, uint32_t a,
                       uint32_t b, uint32_t c)
{
    const uint32_t message[4] = {what, a, b, c};
    runtime_answer answer = {.count = 0};
    dw_error error = {.message = ""};
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = message,
                                .message_bytes = sizeof message,
                                .on_answer = runtime_keep,
                                .user = &answer};
    dw_status status = dw_runtime_call(f->runtime, id->text, &request, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    uint32_t value = 0;
    memcpy(&value, answer.bytes, sizeof value);
    return value;
}

dw_status runtime_copy(runtime_fixture *f, const char *id, dw_actor **actor, dw_error *error)
{
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .find_model = find_model,
                                     .find_user = f,
                                     .limits = f->limits.struct_bytes != 0 ? &f->limits : NULL};
    return dw_runtime_copy(actor, f->runtime, id, &options, NULL, error);
}

void runtime_await(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    dw_status status = dw_runtime_wait(f->runtime, 60000, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

dw_runtime_actor_info runtime_info(runtime_fixture *f, const runtime_id *id)
{
    dw_error error = {.message = ""};
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    dw_status status = dw_runtime_get_actor_info(f->runtime, id->text, &info, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return info;
}

bool runtime_has(runtime_fixture *f, const runtime_id *id)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    return dw_runtime_get_actor_info(f->runtime, id->text, &info, NULL) == DW_OK;
}

size_t runtime_ids(runtime_fixture *f, runtime_id *ids, size_t capacity)
{
    size_t count = 0;
    dw_error error;
    char(*to)[DW_ACTOR_ID_CHARS + 1] = (char(*)[DW_ACTOR_ID_CHARS + 1])(void *)ids;
    assert_int_equal(dw_runtime_list(f->runtime, "", to, capacity, &count, &error), DW_OK);
    return count;
}
