/* Contexts that actors save under names: for others of their tenant, after a restart too, as the
 * tenant is granted it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime_fixture.h"
#include "support.h"

static dw_module *saver;
static char folder[40];

/* With limits of its own (NULL: none). */
static runtime_id limited(runtime_fixture *f, const char *tenant, const dw_limits *limits)
{
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &f->actors->model,
                                    .model_count = 1,
                                    .limits = limits};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options,
                                      .tenant = tenant,
                                      .actor = &actor,
                                      .capabilities = DW_MAY_SPAWN};
    return runtime_spawned(f, saver, &options);
}

static runtime_id spawned(runtime_fixture *f, const char *tenant)
{
    return limited(f, tenant, NULL);
}

static void told(runtime_fixture *f, const runtime_id *id, const char *text, char answer[64])
{
    runtime_answer full;
    dw_error error = {.message = ""};
    if (runtime_tell(f, id, text, &full, &error) != DW_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    (void)snprintf(answer, 64, "%.63s", (const char *)full.bytes);
}

static void refused(runtime_fixture *f, const runtime_id *id, const char *text, dw_status expected,
                    const char *words)
{
    runtime_answer answer;
    dw_error error = {.message = ""};
    dw_status status = runtime_tell(f, id, text, &answer, &error);
    if (status != expected || strstr(error.message, words) == NULL) {
        fail_msg("%s: %d, %s", text, (int)status, error.message);
    }
}

static const char manifest[] =
    "{\"tenants\": {\"\": {\"may\": [\"spawn\"], \"models\": [\"*\"],"
    " \"contexts\": {\"read\": [\"*\"], \"write\": [\"sys.*\"]}},"
    " \"a\": {\"may\": [\"spawn\"], \"models\": [\"*\"], \"contexts\": {\"read\": [\"sys.*\"]}},"
    " \"b\": {\"may\": [\"spawn\"], \"models\": [\"*\"], \"limits\": {\"saved_contexts\": 1},"
    " \"contexts\": {\"read\": [\"*\"], \"write\": [\"*\"]}},"
    " \"c\": {\"may\": [\"spawn\"], \"models\": [\"*\"]}}}";

static void test_contexts_of_actors(void **state)
{
    runtime_fixture *f = *state;
    char first[64];
    char again[64];
    dw_error error;
    f->path = folder;
    f->manifest = manifest;
    runtime_open(f);
    runtime_id writer = spawned(f, "");
    runtime_id reader = spawned(f, "");
    told(f, &writer, "s sys.prompt once upon a time there was a tide", first);
    told(f, &writer, "o sys.prompt", first);
    told(f, &reader, "O sys.prompt", again);
    assert_string_equal(first, again);
    refused(f, &writer, "s other x", DW_E_DENIED, "context 'other': tenant '' may not save it");
    refused(f, &writer, "o other", DW_E_NOT_FOUND, "context 'other': none is saved");
    /* Names are a tenant's own. */
    runtime_id a = spawned(f, "a");
    runtime_id b = spawned(f, "b");
    runtime_id c = spawned(f, "c");
    refused(f, &a, "o sys.prompt", DW_E_NOT_FOUND, "none is saved");
    refused(f, &a, "s sys.prompt x", DW_E_DENIED, "tenant 'a' may not save it");
    refused(f, &a, "o other", DW_E_DENIED, "tenant 'a' may not open it");
    refused(f, &c, "o sys.prompt", DW_E_DENIED, "tenant 'c' may not open it");
    told(f, &b, "s one x y z", again);
    told(f, &b, "s one x y", again);
    refused(f, &b, "s two x", DW_E_LIMIT, "limit 1 (saved_contexts)");
    runtime_close(f);

    runtime_open(f); /* the file, and what an actor had opened of it */
    told(f, &reader, "l", again);
    assert_int_equal(strtol(again, NULL, 10), strtol(first, NULL, 10) + 1);
    told(f, &reader, "o sys.prompt", again);
    assert_string_equal(first, again);
    told(f, &writer, "s sys.prompt another", again);
    told(f, &reader, "o sys.prompt", again);
    assert_string_not_equal(first, again);
    told(f, &reader, "l", again); /* it keeps what it has */
    assert_int_equal(strtol(again, NULL, 10), strtol(first, NULL, 10) + 1);
    refused(f, &writer, "r other", DW_E_DENIED, "context 'other': tenant '' may not save it");
    told(f, &writer, "r sys.prompt", again);
    assert_string_equal(again, "0");
    refused(f, &writer, "r sys.prompt", DW_E_NOT_FOUND, "context 'sys.prompt': none is saved");
    refused(f, &reader, "o sys.prompt", DW_E_NOT_FOUND, "context 'sys.prompt': none is saved");
    told(f, &reader, "l", again); /* and still */
    assert_int_equal(strtol(again, NULL, 10), strtol(first, NULL, 10) + 1);
    /* Granted otherwise from now on. */
    static const char *const none[] = {NULL};
    const dw_tenant_options less = {
        .struct_bytes = sizeof less, .capabilities = DW_MAY_SPAWN, .context_reads = none};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &less, &error), DW_OK);
    refused(f, &reader, "o sys.prompt", DW_E_DENIED, "may not open it");
    told(f, &writer, "s any x", again); /* no list: any name */
    static const char *const bad[] = {"a*b"};
    const dw_tenant_options wrong = {
        .struct_bytes = sizeof wrong, .context_writes = bad, .context_write_count = 1};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &wrong, &error), DW_E_ARG);
    runtime_close(f);
}

/* What a tenant may save is the tenant's limit, as it is now, whatever its actors brought. */
static void test_contexts_limits_are_the_tenants(void **state)
{
    runtime_fixture *f = *state;
    char answer[64];
    dw_error error;
    const dw_limits own = {.struct_bytes = sizeof own,
                           .saved_contexts = 1000,
                           .saved_context_bytes = UINT64_C(1) << 40};
    const dw_limits narrow = {.struct_bytes = sizeof narrow, .saved_contexts = 1};
    f->path = folder;
    f->manifest = manifest;
    runtime_open(f);
    runtime_id wide = limited(f, "b", &own);
    told(f, &wide, "s one x y z", answer);
    refused(f, &wide, "s two x", DW_E_LIMIT,
            "context 'two': 1 others are saved, limit 1 (saved_contexts)");
    dw_limits limits = {.struct_bytes = sizeof limits, .saved_contexts = 3};
    dw_tenant_options tenant = {
        .struct_bytes = sizeof tenant, .capabilities = DW_MAY_SPAWN, .limits = &limits};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "b", &tenant, &error), DW_OK);
    runtime_id small = limited(f, "b", &narrow);
    told(f, &wide, "s two x", answer);
    refused(f, &small, "s three x", DW_E_LIMIT, "2 others are saved, limit 1 (saved_contexts)");
    told(f, &wide, "s three x", answer);
    limits.saved_context_bytes = 65536;
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "b", &tenant, &error), DW_OK);
    refused(f, &wide, "s three x", DW_E_LIMIT, "limit 65536 (saved_context_bytes)");
    runtime_close(f);
}

/* In memory alone there is no folder for them, unless one is named. */
static void test_contexts_without_a_folder(void **state)
{
    runtime_fixture *f = *state;
    runtime_open(f);
    runtime_id id = spawned(f, NULL);
    refused(f, &id, "s a x", DW_E_DENIED, "context 'a'");
    refused(f, &id, "o a", DW_E_DENIED, "context 'a'");
    runtime_close(f);
}

static int open_fixture(void **state)
{
    int failed = runtime_fixture_open(state);
    saver = actor_module(((runtime_fixture *)*state)->actors, "actor_saver.wasm");
    (void)snprintf(folder, sizeof folder, "/tmp/dw-runtime-contexts-XXXXXX");
    return mkdtemp(folder) != NULL ? failed : 1;
}

static int close_fixture(void **state)
{
    dw_module_unref(saver);
    return runtime_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_contexts_of_actors),
        runtime_test(test_contexts_limits_are_the_tenants),
        runtime_test(test_contexts_without_a_folder),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("contexts of actors", tests, open_fixture, close_fixture);
}
