#include "actor_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "base/alloc.h"
#include "base/os.h"
#include "kv_fixture.h"
#include "model/model.h"
#include "support.h"
#include "tiny_model.h"

dw_module *actor_module(actor_fixture *fixture, const char *name)
{
    char path[512];
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    (void)snprintf(path, sizeof path, "%s/%s", DW_TEST_GUESTS_DIR, name);
    dw_status status = dw_module_open(&module, fixture->engine, path, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return module;
}

dw_module *actor_module_of_text(actor_fixture *fixture, const char *name)
{
    char path[512];
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    wasm_byte_vec_t wasm;
    char *text = NULL;
    size_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/%s", DW_TEST_GUESTS_DIR, name);
    assert_int_equal(dw_os_read_file(path, 100000, &text, &bytes, &error), DW_OK);
    wasmtime_error_t *failed = wasmtime_wat2wasm(text, bytes, &wasm);
    dw_free(text);
    assert_null(failed);
    dw_status status = dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    wasm_byte_vec_delete(&wasm);
    return module;
}

static const char *make_model(actor_fixture *fixture)
{
    const char *given = getenv("DW_TEST_MODEL");
    if (given != NULL) {
        return given;
    }
    tiny_options options = tiny_defaults();
    options.context_length = 1024;
    (void)snprintf(fixture->path, sizeof fixture->path, "/tmp/dw-actor-%d.gguf", (int)getpid());
    tiny_model_write(fixture->path, &options);
    return fixture->path;
}

int actor_fixture_open(void **state)
{
    actor_fixture *fixture = dw_alloc(1, sizeof *fixture);
    dw_error error = {.message = ""};
    const char *threads = getenv("DW_TEST_THREADS");
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = getenv("DW_TEST_DEVICE"),
                                 .threads = threads != NULL ? (int)strtol(threads, NULL, 10) : 2};
    options.device = options.device != NULL ? options.device : "CPU";
    dw_status status = dw_engine_create(&fixture->engine, &options, &error);
    if (status == DW_OK) {
        status = dw_model_open(&fixture->model, fixture->engine, make_model(fixture), &error);
    }
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    kv_fixture_open(dw_model_device(fixture->model), (uint64_t)1 << 20);
    fixture->module = actor_module(fixture, "actor_talker.wasm");
    *state = fixture;
    return 0;
}

int actor_fixture_close(void **state)
{
    actor_fixture *fixture = *state;
    dw_module_unref(fixture->module);
    dw_model_unref(fixture->model);
    dw_engine_destroy(fixture->engine);
    if (fixture->path[0] != '\0') {
        (void)unlink(fixture->path);
    }
    dw_free(fixture);
    return 0;
}

dw_actor *actor_spawned(actor_fixture *fixture, const dw_actor_options *options)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_actor_options own = {.struct_bytes = sizeof own};
    dw_instance_options instance = {.struct_bytes = sizeof instance};
    own = options != NULL ? *options : own;
    instance = own.instance != NULL ? *own.instance : instance;
    instance.models = &fixture->model;
    instance.model_count = 1;
    own.instance = &instance;
    dw_status status = dw_actor_spawn(&actor, fixture->module, &own, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    actor_answer *answer = user;
    assert_true(count <= sizeof answer->data - answer->bytes);
    memcpy(answer->data + answer->bytes, bytes, count);
    answer->bytes += count;
    return (ptrdiff_t)count;
}

dw_status actor_received(dw_actor *actor, actor_answer *answer)
{
    dw_error error = {.message = ""};
    answer->bytes = 0;
    dw_status status = dw_actor_receive(actor, on_answer, answer, &error);
    assert_string_equal(error.message, "");
    return status;
}

dw_status actor_told(dw_actor *actor, actor_answer *answer, const char *format, ...)
{
    char message[1024];
    dw_error error = {.message = ""};
    va_list args;
    va_start(args, format);
    int length = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    assert_true(length >= 0 && (size_t)length < sizeof message);
    dw_status status = dw_actor_send(actor, NULL, message, (size_t)length, &error);
    assert_string_equal(error.message, "");
    return status == DW_OK ? actor_received(actor, answer) : status;
}

uint32_t actor_asked(dw_actor *actor, uint32_t what, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t message[4] = {what, a, b, c};
    dw_error error = {.message = ""};
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    assert_int_equal(dw_actor_send(actor, NULL, message, sizeof message, &error), DW_OK);
    assert_int_equal(actor_received(actor, answer), DW_OK);
    assert_int_equal(answer->bytes, 4);
    uint32_t value;
    memcpy(&value, answer->data, sizeof value);
    dw_free(answer);
    return value;
}
