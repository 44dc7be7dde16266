/* What is counted of actors, tenants and all, and how it is told. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime_fixture.h"
#include "support.h"

#define MODEL "SmolLM2-135M-Instruct.Q4_1.gguf"

typedef struct seen {
    char text[1 << 20];
    size_t count;
    size_t most; /* taken at a time */
} seen;

static ptrdiff_t keep(void *user, const unsigned char *bytes, size_t count)
{
    seen *s = user;
    count = s->most != 0 && count > s->most ? s->most : count;
    if (count > sizeof s->text - s->count) {
        return -1;
    }
    memcpy(s->text + s->count, bytes, count);
    s->count += count;
    return (ptrdiff_t)count;
}

static json_t *overview(dw_runtime *runtime, dw_overview_order order, uint32_t actors_max,
                        size_t most)
{
    static seen s;
    dw_error error = {.message = ""};
    json_error_t bad;
    const dw_overview_options options = {
        .struct_bytes = sizeof options, .order = order, .actors_max = actors_max};
    s.count = 0;
    s.most = most;
    dw_status status = dw_runtime_overview(runtime, &options, keep, &s, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    json_t *root = json_loadb(s.text, s.count, JSON_REJECT_DUPLICATES, &bad);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "format")), "driftwood-overview");
    return root;
}

static uint64_t whole(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

static const char *const sums[] = {
    "messages",     "failed",         "work_ns",       "queue_ns",
    "guest_ns",     "device_ns",      "prompt_tokens", "generated_tokens",
    "found_tokens", "answered_bytes", "written_bytes", "new_bytes",
    "parks",        "thaws"};
#define SUMS (sizeof sums / sizeof sums[0])

/* What is told of all is what is told of each, added up; of tenants as well. */
static void assert_adds_up(const json_t *root)
{
    const json_t *all = json_object_get(root, "runtime");
    const char *const lists[] = {"tenants", "actors"};
    assert_int_equal(whole(root, "actors_left_out"), 0);
    for (size_t i = 0; i < SUMS; i++) {
        for (size_t k = 0; k < 2; k++) {
            const json_t *list = json_object_get(root, lists[k]);
            uint64_t together = 0;
            for (size_t at = 0; at < json_array_size(list); at++) {
                together += whole(json_array_get(list, at), sums[i]);
            }
            assert_int_equal(together, whole(all, sums[i]));
        }
    }
}

static void set_tenant(dw_runtime *runtime, const char *name)
{
    dw_error error;
    const dw_tenant_options usual = {.struct_bytes = sizeof usual, .capabilities = DW_MAY_ALL};
    assert_int_equal(dw_runtime_set_tenant(runtime, name, &usual, &error), DW_OK);
}

static void test_runtime_counts(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    const dw_spawn_options of_other = {
        .struct_bytes = sizeof of_other, .tenant = "other", .capabilities = DW_MAY_ALL};
    runtime_open(f);
    set_tenant(f->runtime, "other");
    runtime_id echo = runtime_spawned(f, f->echo, NULL);
    runtime_id hostile = runtime_spawned(f, f->hostile, &of_other);
    assert_int_equal(runtime_tell(f, &echo, "hello", &answer, &error), DW_OK);
    (void)runtime_told(f, &hostile, "+5");
    (void)runtime_told(f, &hostile, "+5");
    assert_int_equal(runtime_tell(f, &hostile, "?", &answer, &error), DW_E_ARG);
    dw_runtime_tenant_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_runtime_get_tenant_info(f->runtime, "other", &info, &error), DW_OK);
    assert_int_equal(info.messages, 3);
    assert_int_equal(info.failed, 1);
    assert_int_equal(info.answered_bytes, 8);
    assert_int_equal(info.actors, 1);
    assert_int_equal(info.weight, 100);
    assert_true(info.guest_ns > 0 && info.guest_ns <= info.work_ns);
    assert_int_equal(info.device_ns, 0);
    assert_int_equal(dw_runtime_get_tenant_info(f->runtime, "nobody", &info, &error),
                     DW_E_NOT_FOUND);
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    assert_int_equal(stats.messages, 4);
    assert_int_equal(stats.answered_bytes, 13);
    assert_true(stats.uptime_ns >= stats.work_ns && stats.work_ns > stats.guest_ns);
    assert_int_equal(runtime_info(f, &hostile).message, 0);
    json_t *root = overview(f->runtime, DW_ORDER_GUEST, 0, 0);
    assert_adds_up(root);
    json_decref(root);
    runtime_close(f);
}

/* A message that waits behind another counts how long; one under way, what came of it so far. */
static void test_runtime_counts_meanwhile(void **state)
{
    runtime_fixture *f = *state;
    dw_error error;
    uint64_t number = 0;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, f->hostile, NULL);
    dw_request request = {.struct_bytes = sizeof request, .message = "l", .message_bytes = 1};
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, &number, &error), DW_OK);
    request = (dw_request){.struct_bytes = sizeof request, .message = "+1", .message_bytes = 2};
    assert_int_equal(dw_runtime_send(f->runtime, id.text, &request, NULL, &error), DW_OK);
    uint64_t sent_ns = dw_os_clock_ns();
    while (runtime_info(f, &id).guest_ns < 30000000) {} /* its turns are over now and then */
    dw_runtime_actor_info info = runtime_info(f, &id);
    assert_int_equal(info.message, number);
    assert_int_equal(info.done, 0);
    assert_true(info.working_ns >= info.guest_ns);
    assert_true(info.memory_bytes > 0);
    json_t *root = overview(f->runtime, DW_ORDER_WAITING, 0, 7);
    const json_t *first = json_array_get(json_object_get(root, "actors"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "state")), "working");
    assert_int_equal(whole(first, "message"), number);
    assert_true(whole(json_object_get(root, "runtime"), "guest_ns") >= 30000000);
    json_decref(root);
    uint64_t waited_ns = dw_os_clock_ns() - sent_ns;
    assert_int_equal(dw_runtime_interrupt(f->runtime, id.text, &error), DW_OK);
    runtime_await(f);
    info = runtime_info(f, &id);
    assert_true(info.queue_ns >= waited_ns);
    assert_true(info.queue_ns <= dw_os_clock_ns() - sent_ns + info.work_ns + 1000000000);
    assert_int_equal(info.working_ns, 0);
    runtime_close(f);
}

/* The foremost, where not all are wanted; names of any bytes. */
static void test_runtime_overview_is_bounded(void **state)
{
    enum { ACTORS = 700 };
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error;
    static const char *const names[] = {"b\"}],\\", "c\xc3\xbf", "a\x7f\xc2\x9b"};
    char told[3][DW_TENANT_NAME_MAX + 1];
    size_t count = 0;
    runtime_open(f);
    for (size_t i = 0; i < 3; i++) {
        set_tenant(f->runtime, names[i]);
    }
    const dw_spawn_options odd = {.struct_bytes = sizeof odd, .tenant = names[1]};
    runtime_id busy[3];
    for (int i = 0; i < ACTORS; i++) {
        runtime_id id = runtime_spawned(f, f->echo, i % 2 == 0 ? &odd : NULL);
        if (i % 300 == 7) {
            busy[i / 300] = id;
            assert_int_equal(runtime_tell(f, &id, "hello", &answer, &error), DW_OK);
        }
    }
    json_t *root = overview(f->runtime, DW_ORDER_GUEST, 3, 0);
    const json_t *list = json_object_get(root, "actors");
    assert_int_equal(json_array_size(list), 3);
    assert_int_equal(whole(root, "actors_left_out"), ACTORS - 3);
    for (size_t i = 0; i < 3; i++) {
        const char *id = json_string_value(json_object_get(json_array_get(list, i), "id"));
        assert_true(strcmp(id, busy[0].text) == 0 || strcmp(id, busy[1].text) == 0 ||
                    strcmp(id, busy[2].text) == 0);
        assert_true(i == 0 || whole(json_array_get(list, i), "guest_ns") <=
                                  whole(json_array_get(list, i - 1), "guest_ns"));
    }
    assert_int_equal(json_array_size(json_object_get(root, "tenants")), 4);
    json_decref(root);
    root = overview(f->runtime, DW_ORDER_MEMORY, 65536, 0);
    assert_int_equal(json_array_size(json_object_get(root, "actors")), ACTORS);
    assert_adds_up(root);
    json_decref(root);
    assert_int_equal(dw_runtime_list_tenants(f->runtime, "", told, 2, &count, &error), DW_OK);
    assert_int_equal(count, 2);
    assert_string_equal(told[0], names[2]);
    assert_string_equal(told[1], names[0]);
    assert_int_equal(dw_runtime_list_tenants(f->runtime, told[1], told, 3, &count, &error), DW_OK);
    assert_int_equal(count, 1);
    assert_string_equal(told[0], names[1]);
    dw_overview_options bad = {.struct_bytes = sizeof bad, .actors_max = 65537};
    assert_int_equal(dw_runtime_overview(f->runtime, &bad, keep, NULL, &error), DW_E_RANGE);
    bad = (dw_overview_options){.struct_bytes = sizeof bad, .order = (dw_overview_order)5};
    assert_int_equal(dw_runtime_overview(f->runtime, &bad, keep, NULL, &error), DW_E_RANGE);
    runtime_close(f);
}

/* ---- the device ------------------------------------------------------------------------------ */

static runtime_id chatter(dw_runtime *runtime, dw_module *chat, dw_model *model, const char *tenant)
{
    static const char *const names[] = {"DRIFTWOOD_TEMP", "DRIFTWOOD_MAX_TOKENS"};
    static const char *const values[] = {"0", "6"};
    runtime_id id;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &model,
                                    .model_count = 1,
                                    .env_names = names,
                                    .env_values = values,
                                    .env_count = 2,
                                    .context_tokens_max = 512};
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .tenant = tenant};
    dw_status status = dw_runtime_spawn(runtime, chat, &options, id.text, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return id;
}

/* Shares of the device's time add up to it, and go by tokens: who has a longer prompt has more. */
static void test_runtime_shares_device_time(void **state)
{
    runtime_fixture *f = *state;
    char path[1024];
    char text[1500] = "";
    dw_error error = {.message = ""};
    dw_model *model = NULL;
    dw_runtime *runtime = NULL;
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : ".", MODEL);
    if (access(path, R_OK) != 0) {
        skip();
    }
    dw_module *chat = actor_module(f->actors, "chat.wasm");
    assert_int_equal(dw_model_open(&model, f->actors->engine, path, &error), DW_OK);
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, NULL, &error), DW_OK);
    wasm_signals_restore();
    set_tenant(runtime, "long");
    runtime_id ids[4];
    while (strlen(text) < 500) {
        (void)strncat(text, "Why does wood float? ", sizeof text - strlen(text) - 1);
    }
    for (size_t i = 0; i < 4; i++) {
        const char *line = i == 0 ? text : "Name a colour.";
        ids[i] = chatter(runtime, chat, model, i == 0 ? "long" : "");
        const dw_request request = {
            .struct_bytes = sizeof request, .message = line, .message_bytes = strlen(line)};
        assert_int_equal(dw_runtime_send(runtime, ids[i].text, &request, NULL, &error), DW_OK);
    }
    assert_int_equal(dw_runtime_wait(runtime, 0, &error), DW_OK);
    json_t *root = overview(runtime, DW_ORDER_DEVICE, 0, 0);
    const json_t *all = json_object_get(root, "runtime");
    const json_t *scheduler = json_object_get(root, "scheduler");
    const json_t *first = json_array_get(json_object_get(root, "actors"), 0);
    assert_adds_up(root);
    assert_string_equal(json_string_value(json_object_get(first, "id")), ids[0].text);
    assert_true(whole(first, "prompt_tokens") > 100);
    assert_true(whole(all, "generated_tokens") > 8);
    assert_true(whole(all, "device_ns") <= whole(scheduler, "device_ns"));
    assert_true(whole(all, "device_ns") >= whole(scheduler, "device_ns") / 10 * 9);
    assert_true(whole(all, "guest_ns") > 0);
    assert_true(whole(all, "guest_ns") <= whole(scheduler, "guest_ns"));
    assert_true(whole(scheduler, "step_tokens") >=
                whole(all, "prompt_tokens") + whole(all, "generated_tokens") - 4);
    json_decref(root);
    dw_runtime_close(runtime);
    dw_module_unref(chat);
    dw_model_unref(model);
}

int main(void)
{
    wasm_signals_save();
    const struct CMUnitTest tests[] = {
        runtime_test(test_runtime_counts),
        runtime_test(test_runtime_counts_meanwhile),
        runtime_test(test_runtime_overview_is_bounded),
        runtime_test(test_runtime_shares_device_time),
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
