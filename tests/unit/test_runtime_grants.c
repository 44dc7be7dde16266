/* Folders that a runtime's tenants grant their actors, in memory and in a state folder: denied by
 * default, known by name, and those that are granted now wherever an actor comes from. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

static dw_module *files;
static char root[32];
static char manifest[2048];

/* A manifest whose tenant "a" has the folders of `text`: "HOST GUEST w" or "HOST GUEST r" each. */
static const char *granting(const char *const *texts, size_t count)
{
    int at = snprintf(manifest, sizeof manifest,
                      "{\"tenants\":{\"b\":{},\"a\":{\"may\":[\"fork\"],"
                      "\"models\":[\"*\"],\"folders\":[");
    for (size_t i = 0; i < count; i++) {
        char host[16];
        char guest[16];
        char how = 0;
        assert_int_equal(sscanf(texts[i], "%15s %15s %c", host, guest, &how), 3);
        at += snprintf(manifest + at, sizeof manifest - (size_t)at,
                       "%s{\"host\":\"%s/%s\",\"guest\":\"%s\"%s}", i > 0 ? "," : "", root, host,
                       guest, how == 'w' ? ",\"writable\":true" : "");
    }
    (void)snprintf(manifest + at, sizeof manifest - (size_t)at, "]}}}");
    return manifest;
}

static void open_with(runtime_fixture *f, const char *const *texts, size_t count)
{
    f->manifest = granting(texts, count);
    runtime_open(f);
}

static runtime_id spawned(runtime_fixture *f, const char *tenant)
{
    const dw_instance_options instance = {.struct_bytes = sizeof instance};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .tenant = tenant, .actor = &actor};
    return runtime_spawned(f, files, &options);
}

static void told(runtime_fixture *f, const runtime_id *id, const char *text, const char *expected)
{
    runtime_answer answer;
    dw_error error = {.message = ""};
    assert_int_equal(runtime_tell(f, id, text, &answer, &error), DW_OK);
    assert_string_equal((const char *)answer.bytes, expected);
}

static const char *const both[] = {"one /in r", "two /out w"};
static const char *const turned[] = {"two /out w", "three /more w", "one /in r"};
static const char *const no_in[] = {"two /out w"};

static void test_grants_are_by_tenant(void **state)
{
    runtime_fixture *f = *state;
    runtime_id child;
    dw_error error;
    char text[16384];
    open_with(f, both, 2);
    runtime_id id = spawned(f, "a");
    runtime_id other = spawned(f, "b");
    told(f, &id, "p", " /in /out");
    told(f, &other, "p", "");
    told(f, &other, "rhello", "E08"); /* there is no such descriptor */
    told(f, &other, "s3", "E08");
    told(f, &id, "s3", "3"); /* as wasi-libc looks at what is granted: a folder */
    told(f, &id, "s1", "2");
    told(f, &id, "rhello", "one");
    told(f, &id, "whello two", "E63"); /* it may not */
    told(f, &id, "Whello two", "ok");
    told(f, &id, "Rhello", "two");
    told(f, &id, "r../two/hello", "E63");
    assert_int_equal(dw_runtime_fork(f->runtime, id.text, child.text, &error), DW_OK);
    told(f, &child, "Rhello", "two");
    dw_text_room room = {.items = text, .capacity = sizeof text};
    assert_int_equal(dw_runtime_describe(f->runtime, NULL, &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, "\"guest\":\"/out\",\"writable\":true"));
    runtime_close(f);
}

/* What an actor has open, and the folders it closes, are as at first with its next message: so they
 * are where it comes from a file. */
static void test_grants_begin_with_each_message(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    open_with(f, both, 2);
    runtime_id id = spawned(f, "a");
    assert_int_equal(runtime_tell(f, &id, "ohello", &answer, &error), DW_OK);
    assert_in_range(answer.bytes[0], '5', '9');
    char text[3] = {'g', (char)answer.bytes[0], '\0'};
    told(f, &id, text, "E08");
    told(f, &id, "c", "E00");
    told(f, &id, "rhello", "one");
    for (int i = 0; i < 600; i++) { /* the limit `files` is 256 */
        told(f, &id, "rhello", "one");
        assert_int_equal(runtime_tell(f, &id, "ohello", &answer, &error), DW_OK);
        assert_in_range(answer.bytes[0], '5', '9');
    }
    runtime_close(f);
}

/* By the names that it had them under, as they are granted then; or not at all, and nothing of it
 * is lost. */
static void test_grants_of_what_comes_from_a_file(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    char path[64];
    runtime_id imported;
    open_with(f, both, 2);
    runtime_id id = spawned(f, "a");
    told(f, &id, "Whello two", "ok");
    (void)snprintf(path, sizeof path, "%s/export", root);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dw_runtime_export(f->runtime, id.text, fd, &error), DW_OK);
    (void)close(fd);
    runtime_close(f);
    open_with(f, turned, 3);
    told(f, &id, "p", " /in /out");
    told(f, &id, "Rhello", "two");
    runtime_close(f);
    open_with(f, no_in, 1);
    assert_int_equal(runtime_tell(f, &id, "Rhello", &answer, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "folder '/in' is not granted"));
    const char *paths[] = {path};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw, .paths = paths, .path_count = 1};
    dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "a"};
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error),
                     DW_E_DENIED);
    options.tenant = "b";
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error),
                     DW_E_DENIED);
    runtime_close(f);
    open_with(f, both, 2);
    told(f, &id, "Rhello", "two");
    options.tenant = "a";
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error), DW_OK);
    told(f, &imported, "Rhello", "two");
    runtime_close(f);
}

/* Of what a tenant grants an actor may get less, and so do those that it makes. */
static void test_grants_that_are_chosen(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id child;
    runtime_id none;
    const char *const out[] = {"/out"};
    const char *const missing[] = {"/out", "/more"};
    const dw_instance_options instance = {.struct_bytes = sizeof instance};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    dw_spawn_options options = {.struct_bytes = sizeof options,
                                .tenant = "a",
                                .actor = &actor,
                                .folders = out,
                                .folder_count = 1};
    open_with(f, both, 2);
    runtime_id id = runtime_spawned(f, files, &options);
    options.folder_count = 0;
    none = runtime_spawned(f, files, &options);
    told(f, &id, "p", " /out");
    told(f, &none, "p", "");
    told(f, &none, "rhello", "E08");
    assert_int_equal(dw_runtime_fork(f->runtime, id.text, child.text, &error), DW_OK);
    options.folders = missing;
    options.folder_count = 2;
    assert_int_equal(dw_runtime_spawn(f->runtime, files, &options, none.text, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "'/more', which tenant 'a' does not grant"));
    options.tenant = "b";
    options.folder_count = 1;
    assert_int_equal(dw_runtime_spawn(f->runtime, files, &options, none.text, &error), DW_E_DENIED);
    runtime_close(f);
    open_with(f, turned, 3);
    told(f, &id, "p", " /out");
    told(f, &child, "p", " /out");
    runtime_close(f);
}

/* Where its folders are not granted an actor can be looked at and written, and works on nothing. */
static void test_grants_are_not_needed_to_look(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    char path[64];
    char again[64];
    dw_actor *actor = NULL;
    open_with(f, both, 2);
    runtime_id id = spawned(f, "a");
    (void)snprintf(path, sizeof path, "%s/export", root);
    (void)snprintf(again, sizeof again, "%s/again", root);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dw_runtime_export(f->runtime, id.text, fd, &error), DW_OK);
    (void)close(fd);
    const char *paths[] = {path};
    dw_thaw_options thaw = {.struct_bytes = sizeof thaw, .paths = paths, .path_count = 1};
    assert_int_equal(dw_actor_thaw(&actor, f->actors->engine, &thaw, NULL, &error), DW_E_DENIED);
    thaw.to_look = true;
    assert_int_equal(dw_actor_thaw(&actor, f->actors->engine, &thaw, NULL, &error), DW_OK);
    assert_int_equal(dw_actor_send(actor, NULL, "p", 1, &error), DW_OK);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &error), DW_E_DENIED);
    assert_non_null(strstr(error.message, "folder '/in' is not granted"));
    dw_actor_destroy(actor);
    assert_int_equal(dw_actor_thaw(&actor, f->actors->engine, &thaw, NULL, &error), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, again, NULL, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
    paths[0] = again; /* what it has is in the file still */
    runtime_id imported;
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "a"};
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error), DW_OK);
    told(f, &imported, "p", " /in /out");
    runtime_close(f);
}

static void test_grants_that_cannot_be(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[1]",
        "[{\"host\":\"/tmp\"}]",
        "[{\"host\":\"tmp\",\"guest\":\"/x\"}]",
        "[{\"guest\":\"/x\"}]",
        "[{\"host\":\"/tmp\",\"guest\":\"\"}]",
        "[{\"host\":\"/tmp\",\"guest\":\"/x\",\"writable\":1}]",
        "[{\"host\":\"/tmp\",\"guest\":\"/x\",\"mode\":\"r\"}]",
        "[{\"host\":\"/tmp\",\"guest\":\"/x\"},{\"host\":\"/etc\",\"guest\":\"/x\"}]"};
    runtime_fixture *f = *state;
    dw_error error;
    char text[256];
    char id[DW_ACTOR_ID_CHARS + 1];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, "{\"tenants\":{\"a\":{\"folders\":%s}}}", bad[i]);
        const dw_runtime_options options = {
            .struct_bytes = sizeof options, .manifest = text, .manifest_bytes = strlen(text)};
        dw_status status = dw_runtime_open(&f->runtime, f->actors->engine, &options, &error);
        assert_true(status == DW_E_FORMAT || status == DW_E_ARG || status == DW_E_NOT_FOUND);
        assert_non_null(strstr(error.message, "folders"));
    }
    const char *const gone[] = {"gone /gone r"};
    open_with(f, gone, 1);
    const dw_spawn_options options = {.struct_bytes = sizeof options, .tenant = "a"};
    assert_int_equal(dw_runtime_spawn(f->runtime, files, &options, id, &error), DW_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "gone: not a folder that can be granted"));
    runtime_close(f);
}

static int open_all(void **state)
{
    int failed = runtime_fixture_open(state);
    files = actor_module(((runtime_fixture *)*state)->actors, "actor_files.wasm");
    return failed;
}

static int close_all(void **state)
{
    dw_module_unref(files);
    return runtime_fixture_close(state);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/dw-grants-XXXXXX");
    assert_non_null(mkdtemp(root));
    shell("cd '%s' && mkdir one two three && printf one >one/hello && printf 3 >three/hello", root);
    return 0;
}

static int end(void **state)
{
    runtime_fixture *f = *state;
    f->path = f->manifest = NULL;
    shell("rm -rf '%s'", root);
    return 0;
}

static int begin_in_folder(void **state)
{
    static char folder[64];
    (void)begin(state);
    (void)snprintf(folder, sizeof folder, "%s/state", root);
    ((runtime_fixture *)*state)->path = folder;
    return 0;
}

int main(void)
{
#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin_in_folder, end)
    const struct CMUnitTest tests[] = {
        IN_MEMORY(test_grants_are_by_tenant),
        IN_MEMORY(test_grants_begin_with_each_message),
        IN_MEMORY(test_grants_that_cannot_be),
        IN_FOLDER(test_grants_are_by_tenant),
        IN_FOLDER(test_grants_begin_with_each_message),
        IN_FOLDER(test_grants_of_what_comes_from_a_file),
        IN_FOLDER(test_grants_that_are_chosen),
        IN_FOLDER(test_grants_are_not_needed_to_look),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
