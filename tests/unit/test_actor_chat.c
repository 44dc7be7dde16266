/* Actors with a chat template of their own: it is theirs alone, and forks, snapshots and other
 * processes keep it. The guest is tests/guest/actor_chat.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "support.h"

#define REQUEST "{\"messages\": [{\"role\": \"user\", \"content\": \"J\xc3\xb3\"}]}"

static const char brackets[] = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
static const char arrows[] = "{% for m in messages %}{{ m.role }}->{{ m.content }};{% endfor %}";

static const char chatml[] = "<|im_start|>user\nJ\xc3\xb3<|im_end|>\n<|im_start|>assistant\n";

static dw_status spawn(actor_fixture *fixture, const char *chat_template, dw_actor **actor,
                       dw_error *err)
{
    dw_module *module = actor_module(fixture, "actor_chat.wasm");
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &fixture->model,
                                    .model_count = 1,
                                    .chat_template = chat_template};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_status status = dw_actor_spawn(actor, module, &options, err);
    dw_module_unref(module);
    return status;
}

static dw_actor *spawned(actor_fixture *fixture, const char *chat_template)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_status status = spawn(fixture, chat_template, &actor, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static void assert_writes(dw_actor *actor, const char *expected)
{
    actor_answer answer;
    assert_int_equal(actor_told(actor, &answer, "%s", REQUEST), DW_OK);
    answer.data[answer.bytes] = '\0';
    assert_string_equal((char *)answer.data, expected);
}

static void test_actor_chat_templates_of_their_own(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actors[] = {spawned(fixture, brackets), spawned(fixture, arrows),
                          spawned(fixture, brackets), spawned(fixture, "chatml")};
    static const char *const texts[] = {"[user]J\xc3\xb3", "user->J\xc3\xb3;", "[user]J\xc3\xb3",
                                        chatml};
    for (size_t i = 0; i < 4; i++) {
        assert_writes(actors[i], texts[i]);
    }
    dw_actor_destroy(actors[0]); /* the third has the same template, and goes on */
    assert_writes(actors[2], texts[2]);
    for (size_t i = 1; i < 4; i++) {
        dw_actor_destroy(actors[i]);
    }
}

static void test_actor_chat_template_is_kept(void **state)
{
    actor_fixture *fixture = *state;
    char path[] = "/tmp/dw-actor-chat-XXXXXX";
    const char *paths[] = {path};
    dw_actor *child = NULL;
    dw_actor *thawed = NULL;
    dw_error error = {.message = ""};
    dw_actor *actor = spawned(fixture, arrows);
    assert_writes(actor, "user->J\xc3\xb3;");
    assert_int_equal(dw_actor_fork(&child, actor, NULL, &error), DW_OK);
    (void)close(mkstemp(path));
    dw_freeze_options freeze = {.struct_bytes = sizeof freeze};
    assert_int_equal(dw_actor_freeze(actor, path, &freeze, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
    assert_writes(child, "user->J\xc3\xb3;");
    dw_actor_destroy(child);
    dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                            .paths = paths,
                            .path_count = 1,
                            .models = &fixture->model,
                            .model_count = 1};
    dw_status status = dw_actor_thaw(&thawed, fixture->engine, &thaw, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_writes(thawed, "user->J\xc3\xb3;");
    dw_actor_destroy(thawed);
    (void)unlink(path);
}

static void test_actor_chat_template_is_refused(void **state)
{
    static const struct {
        const char *chosen;
        dw_status status;
        const char *words;
    } cases[] = {
        {"{% if true %}", DW_E_FORMAT, "line 1"},
        {"{{ '\xff' }}", DW_E_FORMAT, "byte 4 is no UTF-8"},
        {"{{ '\xc3", DW_E_FORMAT, "byte 5 is no UTF-8"},
        {"nobody's", DW_E_UNSUPPORTED, "chat template 'nobody's'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_actor *actor = NULL;
        dw_error error = {.message = ""};
        assert_int_equal(spawn(*state, cases[i].chosen, &actor, &error), cases[i].status);
        assert_null(actor);
        assert_non_null(strstr(error.message, cases[i].words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actor_chat_templates_of_their_own),
        cmocka_unit_test(test_actor_chat_template_is_kept),
        cmocka_unit_test(test_actor_chat_template_is_refused),
    };
    return cmocka_run_group_tests(tests, actor_fixture_open, actor_fixture_close);
}
