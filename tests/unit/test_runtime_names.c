/* Names of actors and groups of them: once in a tenant, by guests within what they may. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime_fixture.h"
#include "support.h"

static dw_module *member;

static runtime_id spawned(runtime_fixture *f, const char *tenant, uint32_t may, const char *name)
{
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .tenant = tenant, .capabilities = may, .name = name};
    return runtime_spawned(f, member, &options);
}

static void tenant(runtime_fixture *f, const char *name)
{
    dw_error error;
    const dw_tenant_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, name, &options, &error), DW_OK);
}

static dw_status told(runtime_fixture *f, const char *id, const char *text, dw_error *error)
{
    const dw_request request = {
        .struct_bytes = sizeof request, .message = text, .message_bytes = strlen(text)};
    error->message[0] = '\0';
    return dw_runtime_call(f->runtime, id, &request, error);
}

static uint32_t had(runtime_fixture *f, const runtime_id *id)
{
    runtime_await(f);
    return runtime_told(f, id, "?");
}

static void test_runtime_names_are_unique(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char found[DW_ACTOR_ID_CHARS + 1];
    runtime_open(f);
    tenant(f, "a");
    runtime_id first = spawned(f, "", DW_MAY_ALL, "clerk");
    runtime_id other = spawned(f, "a", DW_MAY_ALL, "clerk"); /* another tenant's */
    runtime_id third = spawned(f, "", DW_MAY_ALL, NULL);
    assert_int_equal(dw_runtime_find(f->runtime, NULL, "clerk", found, &error), DW_OK);
    assert_string_equal(found, first.text);
    assert_int_equal(dw_runtime_find(f->runtime, "a", "clerk", found, &error), DW_OK);
    assert_string_equal(found, other.text);
    assert_int_equal(dw_runtime_set_name(f->runtime, third.text, "clerk", &error), DW_E_STATE);
    assert_non_null(strstr(error.message, first.text));
    const dw_spawn_options again = {.struct_bytes = sizeof again, .name = "clerk"};
    assert_int_equal(dw_runtime_begin_spawn(f->runtime, member, &again, found, &error), DW_E_STATE);
    /* A name stands where an id does. */
    assert_int_equal(told(f, "@clerk", "hello", &error), DW_OK);
    assert_int_equal(told(f, "a@clerk", "hello", &error), DW_OK);
    assert_int_equal(had(f, &first), 1);
    assert_int_equal(had(f, &other), 1);
    assert_string_equal(runtime_info(f, &first).name, "clerk");
    /* Renamed, taken away, gone with the actor. */
    assert_int_equal(dw_runtime_set_name(f->runtime, "@clerk", "chief", &error), DW_OK);
    assert_int_equal(dw_runtime_find(f->runtime, "", "clerk", found, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_set_name(f->runtime, third.text, "clerk", &error), DW_OK);
    assert_int_equal(dw_runtime_set_name(f->runtime, third.text, "clerk", &error), DW_OK);
    assert_int_equal(dw_runtime_set_name(f->runtime, third.text, NULL, &error), DW_OK);
    assert_string_equal(runtime_info(f, &third).name, "");
    assert_int_equal(dw_runtime_fork(f->runtime, first.text, found, &error), DW_OK);
    assert_int_equal(dw_runtime_stop(f->runtime, "@chief", &error), DW_OK);
    assert_int_equal(dw_runtime_find(f->runtime, "", "chief", found, &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, "@chief", "hello", &error), DW_E_NOT_FOUND);
    runtime_close(f);
}

static void test_runtime_names_are_no_ids(void **state)
{
    static const char *const bad[] = {"",   " ",    "a b", "@a",  "#a",   "a@b",
                                      "\n", "\xff", "ä",   "a/b", "a\x7f"};
    runtime_fixture *f = *state;
    dw_error error;
    char found[DW_ACTOR_ID_CHARS + 1];
    char text[66];
    runtime_open(f);
    runtime_id id = spawned(f, "", DW_MAY_ALL, NULL);
    memset(text, 'x', sizeof text);
    text[64] = '\0';
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(dw_runtime_set_name(f->runtime, id.text, bad[i], &error), DW_E_ARG);
        assert_int_equal(dw_runtime_join(f->runtime, id.text, bad[i], &error), DW_E_ARG);
        assert_int_equal(dw_runtime_find(f->runtime, "", bad[i], found, &error), DW_E_ARG);
    }
    assert_int_equal(dw_runtime_set_name(f->runtime, id.text, text, &error), DW_E_ARG);
    text[63] = '\0';
    assert_int_equal(dw_runtime_set_name(f->runtime, id.text, text, &error), DW_OK);
    /* A name that looks like an id is one behind '@' alone. */
    assert_int_equal(dw_runtime_set_name(f->runtime, id.text, "0123456789abcdef", &error), DW_OK);
    assert_int_equal(told(f, "0123456789abcdef", "x", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, "@0123456789abcdef", "x", &error), DW_OK);
    assert_int_equal(told(f, "nobody@0123456789abcdef", "x", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, "@", "x", &error), DW_E_ARG);
    runtime_close(f);
}

static void test_runtime_names_for_guests(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char problem[256];
    runtime_open(f);
    tenant(f, "a");
    runtime_id here = spawned(f, "", DW_MAY_ALL, "here");
    runtime_id there = spawned(f, "a", DW_MAY_ALL, "there");
    runtime_id sender = spawned(f, "", DW_MAY_SEND_ANY, NULL);
    runtime_id kin_only = spawned(f, "", DW_MAY_SEND_KIN, "kin");
    runtime_id mute = spawned(f, "", 0, NULL);
    assert_int_equal(told(f, sender.text, "s@here hello", &error), DW_OK);
    assert_int_equal(had(f, &here), 1);
    /* Another tenant's names are not found, whatever the actor may. */
    assert_int_equal(told(f, sender.text, "s@there hello", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, sender.text, "sa@there hello", &error), DW_E_ARG);
    assert_int_equal(told(f, sender.text, "s@ hello", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, kin_only.text, "s@here hello", &error), DW_E_DENIED);
    assert_int_equal(told(f, kin_only.text, "s@kin hello", &error), DW_OK);
    assert_int_equal(told(f, mute.text, "s@here hello", &error), DW_E_DENIED);
    assert_int_equal(told(f, mute.text, "s@nobody hello", &error), DW_E_DENIED);
    assert_int_equal(had(f, &here), 1);
    assert_int_equal(had(f, &there), 0);
    assert_int_equal(had(f, &kin_only), 1);
    assert_int_equal(runtime_problems(f, problem), 0);
    runtime_close(f);
}

static size_t members(runtime_fixture *f, const char *group)
{
    char ids[4][DW_ACTOR_ID_CHARS + 1];
    size_t count = 0;
    dw_error error;
    dw_status status = dw_runtime_list_group(f->runtime, group, ids, 4, &count, &error);
    assert_true(status == DW_OK || (status == DW_E_NOT_FOUND && count == 0));
    return count;
}

static void test_runtime_groups(void **state)
{
    enum { COUNT = 10 };
    runtime_fixture *f = *state;
    dw_error error;
    uint64_t accepted = 0;
    runtime_id ids[COUNT];
    char text[4096];
    runtime_open(f);
    tenant(f, "a");
    runtime_id stranger = spawned(f, "a", DW_MAY_ALL, NULL);
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = spawned(f, "", i == 0 ? 0 : DW_MAY_ALL, NULL);
        if (i % 2 == 0) {
            assert_int_equal(dw_runtime_join(f->runtime, ids[i].text, "even", &error), DW_OK);
        } else {
            assert_int_equal(told(f, ids[i].text, "jodd", &error), DW_OK);
        }
        assert_int_equal(dw_runtime_join(f->runtime, ids[i].text, "all", &error), DW_OK);
        assert_int_equal(dw_runtime_join(f->runtime, ids[i].text, "all", &error), DW_OK);
    }
    assert_int_equal(dw_runtime_join(f->runtime, stranger.text, "all", &error), DW_OK);
    runtime_await(f);
    assert_int_equal(members(f, "#even"), 5);
    assert_int_equal(members(f, "#odd"), 5);
    assert_int_equal(members(f, "#all"), COUNT);
    assert_int_equal(members(f, "a#all"), 1);
    assert_int_equal(runtime_info(f, &ids[1]).groups, 2);
    dw_text_room room = {.items = text, .capacity = sizeof text};
    assert_int_equal(dw_runtime_describe(f->runtime, ids[1].text, &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, "\"groups\":[\"all\",\"odd\"]"));
    /* From outside, and from a guest, to each one. */
    const dw_request request = {
        .struct_bytes = sizeof request, .message = "hey", .message_bytes = 3};
    assert_int_equal(dw_runtime_send_group(f->runtime, "#even", &request, &accepted, &error),
                     DW_OK);
    assert_int_equal(accepted, 5);
    assert_int_equal(dw_runtime_send_group(f->runtime, "#none", &request, &accepted, &error),
                     DW_E_NOT_FOUND);
    assert_int_equal(told(f, ids[3].text, "s#all hey", &error), DW_OK);
    assert_int_equal(told(f, ids[3].text, "s#none hey", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, ids[0].text, "s#all hey", &error), DW_E_DENIED);
    assert_int_equal(told(f, ids[0].text, "jodd", &error), DW_E_DENIED);
    assert_int_equal(told(f, ids[1].text, "leven", &error), DW_E_NOT_FOUND);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(had(f, &ids[i]), i % 2 == 0 ? 2 : 1);
    }
    assert_int_equal(had(f, &stranger), 0);
    /* Out of them: by the guest, from outside, at the end. */
    assert_int_equal(told(f, ids[1].text, "lodd", &error), DW_OK);
    assert_int_equal(dw_runtime_quit(f->runtime, ids[3].text, "odd", &error), DW_OK);
    assert_int_equal(dw_runtime_quit(f->runtime, ids[3].text, "odd", &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_runtime_stop(f->runtime, ids[5].text, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(members(f, "#odd"), 2);
    assert_int_equal(members(f, "#all"), COUNT - 1);
    runtime_close(f);
}

/* Actors of a state folder could not be found by them where they are not in memory: refused. */
static void test_runtime_names_in_a_folder(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char id[DW_ACTOR_ID_CHARS + 1];
    char folder[] = "/tmp/dw-names-XXXXXX";
    char command[64];
    assert_non_null(mkdtemp(folder));
    f->path = folder;
    runtime_open(f);
    runtime_id actor = spawned(f, "", DW_MAY_ALL, NULL);
    const dw_spawn_options named = {.struct_bytes = sizeof named, .name = "clerk"};
    assert_int_equal(dw_runtime_spawn(f->runtime, member, &named, id, &error), DW_E_UNSUPPORTED);
    assert_int_equal(dw_runtime_set_name(f->runtime, actor.text, "clerk", &error),
                     DW_E_UNSUPPORTED);
    assert_int_equal(dw_runtime_join(f->runtime, actor.text, "all", &error), DW_E_UNSUPPORTED);
    assert_int_equal(told(f, actor.text, "jall", &error), DW_E_UNSUPPORTED);
    assert_int_equal(told(f, actor.text, "s@clerk hello", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, actor.text, "s#all hello", &error), DW_E_NOT_FOUND);
    assert_int_equal(told(f, "@clerk", "hello", &error), DW_E_NOT_FOUND);
    assert_int_equal(had(f, &actor), 0);
    runtime_close(f);
    f->path = NULL;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void test_runtime_group_limits(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char problem[256];
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits,
                            .groups = 2,
                            .group_members = 3,
                            .caused_messages = 7,
                            .mail = 2};
    runtime_open(f);
    runtime_id ids[4];
    for (size_t i = 0; i < 4; i++) {
        ids[i] = spawned(f, "", DW_MAY_ALL, NULL);
        assert_int_equal(dw_runtime_join(f->runtime, ids[i].text, "g", &error),
                         i < 3 ? DW_OK : DW_E_LIMIT);
    }
    assert_non_null(strstr(error.message, "limit 3 (group_members)"));
    assert_int_equal(told(f, ids[3].text, "jg", &error), DW_E_LIMIT);
    assert_int_equal(dw_runtime_join(f->runtime, ids[0].text, "h", &error), DW_OK);
    assert_int_equal(told(f, ids[0].text, "ji", &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "limit 2 (groups)"));
    /* Each member counts: two of three messages each are six of the seven that one may cause. */
    assert_int_equal(told(f, ids[3].text, "s#g s#g hey", &error), DW_OK);
    runtime_await(f); /* what they were told to send on comes to more than seven */
    assert_true(runtime_problems(f, problem) > 0);
    assert_true(had(f, &ids[0]) + had(f, &ids[1]) + had(f, &ids[2]) <= 4);
    runtime_close(f);
}

static int open_all(void **state)
{
    int failed = runtime_fixture_open(state);
    member = actor_module(((runtime_fixture *)*state)->actors, "actor_member.wasm");
    return failed;
}

static int close_all(void **state)
{
    dw_module_unref(member);
    return runtime_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runtime_names_are_unique),
        cmocka_unit_test(test_runtime_names_are_no_ids),
        cmocka_unit_test(test_runtime_names_for_guests),
        cmocka_unit_test(test_runtime_groups),
        cmocka_unit_test(test_runtime_names_in_a_folder),
        cmocka_unit_test(test_runtime_group_limits),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
