/* Names of actors and groups of them: once in a tenant, by guests within what they may; of actors
 * in memory alone, and in a folder, where they outlast the process. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "runtime_fixture.h"
#include "store_account.h"
#include "support.h"

static dw_module *member;
static char folder[32];

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
    char text[16384];
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

/* ---- in a folder ----------------------------------------------------------------------------- */

static void open_again(runtime_fixture *f)
{
    runtime_close(f);
    runtime_open(f);
    tenant(f, "a");
}

static bool resident(runtime_fixture *f, const runtime_id *id)
{
    return runtime_info(f, id).resident;
}

static void find(runtime_fixture *f, const char *of, const char *name, const runtime_id *id)
{
    dw_error error = {.message = ""};
    char found[DW_ACTOR_ID_CHARS + 1];
    dw_status status = dw_runtime_find(f->runtime, of, name, found, &error);
    assert_int_equal(status, id != NULL ? DW_OK : DW_E_NOT_FOUND);
    assert_string_equal(found, id != NULL ? id->text : "");
}

/* Found and written to while nobody has them in memory; a name, or a group, wakes them. */
static void test_kept_names_of_the_dormant(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    uint64_t accepted = 0;
    char text[16384];
    runtime_open(f);
    tenant(f, "a");
    runtime_id clerk = spawned(f, "", DW_MAY_ALL, "clerk");
    runtime_id other = spawned(f, "a", DW_MAY_ALL, "clerk");
    runtime_id sender = spawned(f, "", DW_MAY_ALL, NULL);
    assert_int_equal(dw_runtime_join(f->runtime, clerk.text, "first", &error), DW_OK);
    assert_int_equal(told(f, clerk.text, "jsecond", &error), DW_OK);
    assert_int_equal(told(f, sender.text, "jsecond", &error), DW_OK);
    open_again(f);
    runtime_await(f);
    find(f, "", "clerk", &clerk);
    find(f, "a", "clerk", &other);
    assert_int_equal(members(f, "#second"), 2);
    assert_string_equal(runtime_info(f, &clerk).name, "clerk");
    assert_int_equal(runtime_info(f, &clerk).groups, 2);
    dw_text_room room = {.items = text, .capacity = sizeof text};
    assert_int_equal(dw_runtime_describe(f->runtime, "@clerk", &room, &error), DW_OK);
    text[room.count] = '\0';
    assert_non_null(strstr(text, "\"dormant\""));
    assert_non_null(strstr(text, "\"name\":\"clerk\""));
    assert_non_null(strstr(text, "\"groups\":[\"second\",\"first\"]"));
    assert_false(resident(f, &clerk) || resident(f, &other) || resident(f, &sender));
    assert_int_equal(told(f, "a@clerk", "hello", &error), DW_OK);
    assert_true(resident(f, &other) && !resident(f, &clerk));
    /* From a guest, too, by name and to its group. */
    assert_int_equal(told(f, sender.text, "s@clerk hello", &error), DW_OK);
    runtime_await(f);
    assert_true(resident(f, &clerk));
    assert_int_equal(had(f, &clerk), 1);
    assert_int_equal(runtime_info(f, &clerk).groups, 2);
    open_again(f);
    assert_int_equal(told(f, sender.text, "s#second hello", &error), DW_OK);
    runtime_await(f);
    open_again(f);
    const dw_request request = {
        .struct_bytes = sizeof request, .message = "hey", .message_bytes = 3};
    assert_int_equal(dw_runtime_send_group(f->runtime, "#second", &request, &accepted, &error),
                     DW_OK);
    assert_int_equal(accepted, 2);
    assert_int_equal(had(f, &clerk), 3);
    assert_int_equal(had(f, &sender), 2);
    assert_int_equal(had(f, &other), 1);
    runtime_close(f);
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(((const runtime_fixture *)user)->actors->model);
    return DW_OK;
}

/* What is not there any more has no name and is in no group, in memory or not; a fork, and what is
 * imported, has what it is given alone. */
static void test_kept_names_go_with_actors(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id copy;
    runtime_id imported;
    char path[64];
    runtime_open(f);
    tenant(f, "a");
    runtime_id first = spawned(f, "", DW_MAY_ALL, "first");
    runtime_id second = spawned(f, "", DW_MAY_ALL, "second");
    assert_int_equal(dw_runtime_join(f->runtime, first.text, "all", &error), DW_OK);
    assert_int_equal(dw_runtime_join(f->runtime, second.text, "all", &error), DW_OK);
    assert_int_equal(dw_runtime_fork(f->runtime, "@first", copy.text, &error), DW_OK);
    assert_string_equal(runtime_info(f, &copy).name, "");
    assert_int_equal(runtime_info(f, &copy).groups, 0);
    (void)snprintf(path, sizeof path, "%s/../dw-names-export", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dw_runtime_export(f->runtime, "@first", fd, &error), DW_OK);
    (void)close(fd);
    const char *paths[] = {path};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .paths = paths,
                                  .path_count = 1,
                                  .find_model = find_model,
                                  .find_user = f};
    dw_spawn_options options = {.struct_bytes = sizeof options, .name = "first"};
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error),
                     DW_E_STATE);
    options.name = "third";
    assert_int_equal(dw_runtime_import(f->runtime, &thaw, &options, imported.text, &error), DW_OK);
    assert_int_equal(unlink(path), 0);
    find(f, NULL, "third", &imported);
    assert_int_equal(runtime_info(f, &imported).groups, 0);
    open_again(f);
    find(f, NULL, "third", &imported);
    find(f, NULL, "first", &first);
    assert_string_equal(runtime_info(f, &copy).name, "");
    assert_int_equal(dw_runtime_stop(f->runtime, "@first", &error), DW_OK); /* dormant */
    find(f, NULL, "first", NULL);
    assert_int_equal(members(f, "#all"), 1);
    assert_int_equal(had(f, &second), 0);
    assert_int_equal(dw_runtime_stop(f->runtime, "@second", &error), DW_OK); /* in memory */
    find(f, NULL, "second", NULL);
    assert_int_equal(members(f, "#all"), 0);
    runtime_id again = spawned(f, "", DW_MAY_ALL, "first");
    open_again(f);
    find(f, NULL, "first", &again);
    runtime_close(f);
}

/* Leaving memory and going back change nothing of them; a turn that failed has not joined. */
static void test_kept_names_and_turns(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char problem[256];
    uint64_t freeze = 0;
    runtime_open(f);
    runtime_id id = spawned(f, "", DW_MAY_ALL, "clerk");
    assert_int_equal(told(f, id.text, "jone", &error), DW_OK);
    assert_int_equal(dw_runtime_freeze(f->runtime, id.text, &freeze, &error), DW_OK);
    assert_int_equal(told(f, id.text, "jtwo", &error), DW_OK);
    assert_int_equal(dw_runtime_park(f->runtime, "@clerk", &error), DW_OK);
    assert_false(resident(f, &id));
    find(f, NULL, "clerk", &id);
    assert_int_equal(dw_runtime_set_name(f->runtime, "@clerk", "chief", &error), DW_OK); /* there */
    assert_int_equal(dw_runtime_quit(f->runtime, "@chief", "one", &error), DW_OK);
    assert_false(resident(f, &id));
    assert_int_equal(told(f, "@chief", "hey", &error), DW_OK);
    assert_string_equal(runtime_info(f, &id).name, "chief");
    assert_int_equal(runtime_info(f, &id).groups, 1);
    assert_int_equal(dw_runtime_rewind(f->runtime, "@chief", freeze, &error), DW_OK);
    assert_int_equal(had(f, &id), 0);
    assert_string_equal(runtime_info(f, &id).name, "chief");
    assert_int_equal(members(f, "#one"), 0);
    assert_int_equal(members(f, "#two"), 1);
    assert_int_equal(told(f, id.text, "Jthree", &error), DW_E_TRAP);
    assert_int_equal(members(f, "#three"), 0);
    assert_string_equal(runtime_info(f, &id).name, "chief");
    assert_int_equal(runtime_info(f, &id).groups, 1);
    /* In one turn: it is in the group that it has joined. */
    runtime_id second = spawned(f, "", DW_MAY_ALL, NULL);
    assert_int_equal(told(f, second.text, "m#two", &error), DW_OK);
    assert_int_equal(had(f, &id), 1);
    assert_int_equal(had(f, &second), 1);
    assert_int_equal(runtime_problems(f, problem), 0);
    runtime_close(f);
}

/* Also while it comes into memory, which is no reason to wait. */
static void test_kept_names_of_who_comes(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    char name[16];
    const dw_request request = {.struct_bytes = sizeof request, .message = "x", .message_bytes = 1};
    runtime_open(f);
    runtime_id id = spawned(f, "", DW_MAY_ALL, NULL);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(dw_runtime_park(f->runtime, id.text, &error), DW_OK);
        assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_OK);
        assert_int_equal(dw_runtime_set_name(f->runtime, id.text, name, &error), DW_OK);
        assert_int_equal(dw_runtime_join(f->runtime, id.text, "g", &error), DW_OK);
        assert_int_equal(dw_runtime_set_priority(f->runtime, id.text, DW_PRIORITY_LOW, &error),
                         DW_OK);
        find(f, NULL, name, &id);
        runtime_await(f);
        assert_string_equal(runtime_info(f, &id).name, name);
        assert_int_equal(runtime_info(f, &id).groups, 1);
        assert_int_equal(runtime_info(f, &id).done, i + 1);
        assert_int_equal(dw_runtime_quit(f->runtime, id.text, "g", &error), DW_OK);
    }
    runtime_close(f);
}

static void on_spawned(void *user, const dw_runtime_end *end)
{
    (void)atomic_fetch_add((_Atomic unsigned *)user, end->status == DW_OK);
}

/* Of many that ask for one name at the same time one gets it. */
static void test_kept_names_are_given_once(void **state)
{
    enum { COUNT = 32 };
    runtime_fixture *f = *state;
    dw_error error;
    char id[DW_ACTOR_ID_CHARS + 1];
    _Atomic unsigned made = 0;
    unsigned begun = 0;
    runtime_open(f);
    runtime_id first = spawned(f, "", DW_MAY_ALL, NULL);
    runtime_id second = spawned(f, "", DW_MAY_ALL, NULL);
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .name = "one", .on_end = on_spawned, .user = &made};
    for (int i = 0; i < COUNT; i++) {
        dw_status status = dw_runtime_begin_spawn(f->runtime, member, &options, id, &error);
        assert_true(status == DW_OK || status == DW_E_STATE);
        begun += status == DW_OK;
    }
    assert_true(begun >= 1);
    (void)told(f, "@one", "hello", &error); /* one that is being made */
    runtime_await(f);
    assert_int_equal(made, 1);
    assert_int_equal(dw_runtime_set_name(f->runtime, first.text, "one", &error), DW_E_STATE);
    assert_int_equal(dw_runtime_set_name(f->runtime, first.text, "two", &error), DW_OK);
    assert_int_equal(dw_runtime_set_name(f->runtime, second.text, "two", &error), DW_E_STATE);
    assert_non_null(strstr(error.message, first.text));
    assert_int_equal(dw_runtime_set_name(f->runtime, first.text, NULL, &error), DW_OK);
    assert_int_equal(dw_runtime_set_name(f->runtime, second.text, "two", &error), DW_OK);
    open_again(f);
    find(f, NULL, "two", &second);
    runtime_close(f);
}

/* A folder of the program before names were kept: taken over whole, and has them from then on. */
static void test_kept_names_in_a_former_folder(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    runtime_id ids[3];
    char path[64];
    shell("rm -rf '%s' && mkdir '%s' && tar -C '%s' -xzf '" DW_TEST_DATA_DIR
          "/../golden/state-folder-journal-2.tar.gz'",
          folder, folder, folder);
    (void)snprintf(path, sizeof path, "%s/ids", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fscanf(file, "%16s", ids[i].text), 1);
    }
    (void)fclose(file);
    (void)snprintf(path, sizeof path, "%s/state", folder);
    f->path = path;
    runtime_open(f);
    runtime_await(f);
    assert_int_equal(had(f, &ids[0]), 3); /* two before, one that waited */
    assert_int_equal(runtime_told(f, &ids[1], "+0"), 5);
    assert_int_equal(runtime_told(f, &ids[2], "+1"), 6); /* its fork */
    assert_int_equal(runtime_info(f, &ids[1]).set_aside, 1);
    assert_string_equal(runtime_info(f, &ids[0]).name, "");
    assert_int_equal(dw_runtime_set_name(f->runtime, ids[0].text, "clerk", &error), DW_OK);
    assert_int_equal(dw_runtime_join(f->runtime, ids[1].text, "all", &error), DW_OK);
    runtime_close(f);
    runtime_open(f);
    find(f, NULL, "clerk", &ids[0]);
    assert_int_equal(members(f, "#all"), 1);
    runtime_close(f);
    f->path = folder;
}

static int in_folder(void **state)
{
    runtime_fixture *f = *state;
    (void)snprintf(folder, sizeof folder, "/tmp/dw-names-XXXXXX");
    f->path = folder;
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int out_of_folder(void **state)
{
    runtime_fixture *f = *state;
    f->path = folder;
    return runtime_test_end(state);
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
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, in_folder, out_of_folder)
    const struct CMUnitTest tests[] = {
        runtime_test(test_runtime_names_are_unique),
        runtime_test(test_runtime_names_are_no_ids),
        runtime_test(test_runtime_names_for_guests),
        runtime_test(test_runtime_groups),
        runtime_test(test_runtime_group_limits),
        IN_FOLDER(test_runtime_names_are_unique),
        IN_FOLDER(test_runtime_names_are_no_ids),
        IN_FOLDER(test_runtime_names_for_guests),
        IN_FOLDER(test_runtime_groups),
        IN_FOLDER(test_runtime_group_limits),
        IN_FOLDER(test_kept_names_of_the_dormant),
        IN_FOLDER(test_kept_names_go_with_actors),
        IN_FOLDER(test_kept_names_and_turns),
        IN_FOLDER(test_kept_names_of_who_comes),
        IN_FOLDER(test_kept_names_are_given_once),
        IN_FOLDER(test_kept_names_in_a_former_folder),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
