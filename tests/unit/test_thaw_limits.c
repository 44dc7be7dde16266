/* What an imported snapshot describes has no more rights than what a guest makes: each count, size
 * and number beyond the limits in force is refused by name, before memory is taken for it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "snapshot/snapshot_file.h"
#include "support.h"

static char folder[] = "/tmp/dw-thaw-limits-XXXXXX";
static char original[64]; /* a good snapshot of the talker, with a context and a sampler */
static char crafted[64];

/* ---- crafting ----------------------------------------------------------------------------- */

/* The original's tensors under a description that was changed, sealed as if it were good. */
static void craft(json_t *about)
{
    static const char *const keys[] = {"module", "host", "created"};
    dw_snapshot_file *file;
    dw_snapshot_writer *writer;
    unsigned char *contents[64] = {NULL};
    dw_error err = {0};
    assert_int_equal(dw_snapshot_file_open(&file, original, 0, &err), DW_OK);
    assert_int_equal(dw_snapshot_writer_create(&writer, &err), DW_OK);
    char *text = json_dumps(about, JSON_COMPACT);
    assert_int_equal(dw_snapshot_writer_meta(writer, "actor", text, &err), DW_OK);
    free(text);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = dw_snapshot_file_meta(file, keys[i]);
        if (value != NULL) {
            assert_int_equal(dw_snapshot_writer_meta(writer, keys[i], value, &err), DW_OK);
        }
    }
    assert_true(dw_snapshot_file_count(file) <= 64);
    for (size_t i = 0; i < dw_snapshot_file_count(file); i++) {
        const dw_snapshot_entry *entry = dw_snapshot_file_at(file, i);
        contents[i] = dw_alloc((size_t)entry->bytes + 1, 1);
        assert_int_equal(
            dw_snapshot_file_read(file, entry, 0, (size_t)entry->bytes, contents[i], &err), DW_OK);
        dw_snapshot_tensor tensor = {.name = entry->name,
                                     .dtype = entry->dtype,
                                     .dimension_count = entry->dimension_count,
                                     .aligned = entry->offset % DW_SNAPSHOT_ALIGNMENT == 0,
                                     .bytes = contents[i]};
        memcpy(tensor.shape, entry->shape, sizeof entry->shape);
        assert_int_equal(dw_snapshot_writer_tensor(writer, &tensor, &err), DW_OK);
    }
    assert_int_equal(dw_snapshot_writer_write_file(writer, crafted, NULL, &err), DW_OK);
    dw_snapshot_writer_destroy(writer);
    for (size_t i = 0; i < 64; i++) {
        dw_free(contents[i]);
    }
    dw_snapshot_file_close(file);
}

static json_t *described(void)
{
    dw_snapshot_file *file;
    dw_error err;
    assert_int_equal(dw_snapshot_file_open(&file, original, 0, &err), DW_OK);
    json_t *about = json_loads(dw_snapshot_file_meta(file, "actor"), 0, NULL);
    assert_true(json_is_object(about));
    dw_snapshot_file_close(file);
    return about;
}

static dw_status thaw(actor_fixture *fixture, const char *path, const dw_limits *limits,
                      dw_error *err)
{
    const char *const paths[] = {path};
    dw_actor *actor = NULL;
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .paths = paths,
                                     .path_count = 1,
                                     .models = &fixture->model,
                                     .model_count = 1,
                                     .module = fixture->module,
                                     .limits = limits};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, err);
    dw_actor_destroy(actor);
    return status;
}

/* ---- what is refused ---------------------------------------------------------------------- */

typedef struct hostile {
    const char *list; /* of the description: its items become `count` of: */
    const char *item; /* JSON */
    size_t count;
    const char *key; /* without a list: this member becomes: */
    json_int_t value;
    const char *words; /* of the refusal */
    const char *limit; /* that is set for the thaw, "" for none */
    const char *set;
} hostile;

#define MESSAGE(bytes, number)                                                                     \
    "{\"actor\":\"\",\"guest\":\"\",\"kind\":0,\"number\":" number ",\"bytes\":" bytes "}"
#define CONTEXT(tokens, length)                                                                    \
    "{\"slot\":0,\"kind\":\"context\",\"model\":0,\"tokens_max\":" tokens ",\"length\":" length    \
    ",\"record_bytes\":1048576,\"kv_type\":\"f16\"}"

static const hostile cases[] = {
    {.list = "memories", .item = "1", .count = 65535, .words = "'memories' is 16"},
    {.list = "memories",
     .item = "65536",
     .count = 1,
     .words = "'linear_bytes' is 1048576",
     .limit = "linear_bytes",
     .set = "1M"},
    {.list = "memories",
     .item = "65536",
     .count = 1,
     .words = "'memory_bytes' is 67108864",
     .limit = "memory_bytes",
     .set = "64M"},
    {.list = "open",
     .item = "{\"slot\":0,\"kind\":\"model\",\"model\":0}",
     .count = 5000,
     .words = "open handles: 5000, limit 'handles' is 4096"},
    {.list = "open",
     .item = "{\"slot\":0,\"kind\":\"graph\",\"state\":{}}",
     .count = 1000,
     .words = "open tensor graphs: 1000, limit 'graphs' is 256"},
    {.list = "open",
     .item = CONTEXT("100", "1"),
     .count = 17,
     .words = "open contexts: 17, limit 'contexts' is 16"},
    {.list = "open",
     .item = CONTEXT("2000000000", "1"),
     .count = 1,
     .words = "tokens of a context: 2000000000, limit 'context_tokens' is 1000",
     .limit = "context_tokens",
     .set = "1000"},
    {.list = "open",
     .item = CONTEXT("2000000000", "1000000000"),
     .count = 1,
     .words = "'kv_bytes' is 68719476736"},
    {.list = "mailbox",
     .item = MESSAGE("0", "0"),
     .count = 100000,
     .words = "mailbox: 100000, limit 'messages' is 1024"},
    {.list = "timers",
     .item = MESSAGE("0", "5"),
     .count = 100000,
     .words = "timers: 100000, limit 'timers' is 256"},
    {.list = "effects",
     .item = MESSAGE("0", "5"),
     .count = 5000,
     .words = "effects: 5000, limit 'effects' is 256"},
    {.list = "mailbox",
     .item = MESSAGE("4000000000", "0"),
     .count = 1,
     .words = "bytes of a message: 4000000000, limit 'message_bytes' is 1048576"},
    {.list = "mailbox",
     .item = MESSAGE("1048576", "0"),
     .count = 9,
     .words = "bytes of messages: 9437184, limit 'mail_bytes' is 8388608",
     .limit = "mail_bytes",
     .set = "8M"},
    {.list = "timers",
     .item = MESSAGE("0", "9223372036854775807"),
     .count = 1,
     .words = "timers: number 9223372036854775807"},
    {.list = "effects",
     .item = MESSAGE("0", "9223372036854775807"),
     .count = 1,
     .words = "effects: number 9223372036854775807"},
    {.key = "effect_number", .value = INT64_MAX, .words = "'effect_number' is 9223372036854775807"},
    {.key = "received", .value = INT64_MAX, .words = "'received' is 9223372036854775807"},
};

static json_t *changed(const hostile *of, size_t count)
{
    json_t *about = described();
    if (of->list == NULL) {
        assert_int_equal(json_object_set_new(about, of->key, json_integer(of->value)), 0);
        return about;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_loads(of->item, JSON_DECODE_ANY, NULL);
        assert_non_null(item);
        assert_int_equal(json_array_append_new(list, item), 0);
    }
    assert_int_equal(json_object_set_new(about, of->list, list), 0);
    return about;
}

static void test_thaw_limits_are_named(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dw_error err = {0};
        dw_limits limits = {.struct_bytes = sizeof limits};
        json_t *about = changed(&cases[i], cases[i].count);
        craft(about);
        json_decref(about);
        if (cases[i].limit != NULL) {
            assert_int_equal(dw_limits_set(&limits, cases[i].limit, cases[i].set, &err), DW_OK);
        }
        dw_status status = thaw(*state, crafted, cases[i].limit != NULL ? &limits : NULL, &err);
        if (status != DW_E_LIMIT || strstr(err.message, cases[i].words) == NULL) {
            fail_msg("%s: status %d, %s", cases[i].words, status, err.message);
        }
    }
}

/* The same file within the limits, or with limits that are set for it, meets none of them. */
static void test_thaw_limits_let_others_pass(void **state)
{
    static const hostile timers = {
        .list = "timers", .item = MESSAGE("0", "5"), .count = 300, .words = ""};
    dw_limits limits = {.struct_bytes = sizeof limits, .timers = 300};
    dw_error err = {0};
    assert_int_equal(thaw(*state, original, NULL, &err), DW_OK);
    json_t *about = changed(&timers, 256);
    craft(about);
    json_decref(about);
    assert_int_equal(thaw(*state, crafted, NULL, &err), DW_OK);
    about = changed(&timers, timers.count);
    craft(about);
    json_decref(about);
    assert_int_equal(thaw(*state, crafted, NULL, &err), DW_E_LIMIT);
    assert_int_equal(thaw(*state, crafted, &limits, &err), DW_OK);
}

/* A description that would take gigabytes once it is parsed is refused before that. */
static void test_thaw_limits_of_descriptions(void **state)
{
    static const char *const items[] = {"{}", "0", "[]"};
    dw_snapshot_file *file;
    dw_error err;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        size_t length = strlen(items[i]);
        size_t count = 14000000 / (length + 1);
        size_t room = (length + 1) * count + 64;
        char *text = dw_alloc(room, 1);
        size_t at = (size_t)snprintf(text, room, "{\"a\":[%s", items[i]);
        for (size_t k = 1; k < count; k++) {
            text[at++] = ',';
            memcpy(text + at, items[i], length);
            at += length;
        }
        memcpy(text + at, "]}", 3);
        dw_snapshot_writer *writer;
        assert_int_equal(dw_snapshot_writer_create(&writer, &err), DW_OK);
        assert_int_equal(dw_snapshot_writer_meta(writer, "actor", text, &err), DW_OK);
        dw_status written = dw_snapshot_writer_write_file(writer, crafted, NULL, &err);
        dw_snapshot_writer_destroy(writer);
        dw_free(text);
        assert_int_equal(written, DW_OK);
        uint64_t before = dw_alloc_count();
        assert_int_equal(dw_snapshot_file_open(&file, crafted, 0, &err), DW_E_LIMIT);
        assert_non_null(strstr(err.message, "4194304 values"));
        assert_true(dw_alloc_count() - before < 200);
        assert_int_equal(thaw(*state, crafted, NULL, &err), DW_E_LIMIT);
    }
}

/* ---- the group ---------------------------------------------------------------------------- */

static int set_up(void **state)
{
    actor_answer answer;
    dw_error err = {0};
    dw_freeze_options options = {.struct_bytes = sizeof options};
    if (actor_fixture_open(state) != 0 || mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(original, sizeof original, "%s/original", folder);
    (void)snprintf(crafted, sizeof crafted, "%s/crafted", folder);
    dw_actor *actor = actor_spawned(*state, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n%u", 20U), DW_OK);
    assert_int_equal(dw_actor_freeze(actor, original, &options, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
    return 0;
}

static int tear_down(void **state)
{
    (void)unlink(original);
    (void)unlink(crafted);
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thaw_limits_are_named),
        cmocka_unit_test(test_thaw_limits_let_others_pass),
        cmocka_unit_test(test_thaw_limits_of_descriptions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
