/* What an imported snapshot describes has no more rights than what a guest makes: each count, size
 * and number beyond the limits in force is refused by name, before memory is taken for it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <wasmtime.h>

#include "actor/actor.h"
#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "snapshot/snapshot_file.h"
#include "support.h"
#include "wasm/guest_instance.h"

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

/* ---- forks --------------------------------------------------------------------------------- */

#define FORKS 8

/* A long context and its forks, each of which went on by a token. */
static dw_actor *forked(actor_fixture *fixture, const dw_limits *limits)
{
    actor_answer answer;
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_actor *actor = actor_spawned(fixture, &options);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n%u", 1000U), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "b%u", (unsigned)FORKS), DW_OK);
    return actor;
}

static uint64_t kv_of(dw_actor *actor)
{
    return dw_account_now(dw_instance_account(dw_actor_instance(actor)), DW_PART_KV);
}

/* What forks share they pay for once, thawed as well: the limits that they ran under do, and less
 * than what they hold does not. */
static void test_thaw_limits_of_forks(void **state)
{
    actor_fixture *fixture = *state;
    const char *const paths[] = {crafted};
    dw_limits limits = {.struct_bytes = sizeof limits};
    actor_answer before = {.bytes = 0};
    actor_answer after = {.bytes = 0};
    dw_actor *thawed = NULL;
    dw_error err = {0};
    dw_actor *actor = forked(fixture, NULL);
    limits.kv_bytes = kv_of(actor) + 65536;
    dw_actor_destroy(actor);
    actor = forked(fixture, &limits);
    uint64_t ran = kv_of(actor);
    assert_int_equal(dw_actor_freeze(actor, crafted, NULL, NULL, &err), DW_OK);
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = paths,
                               .path_count = 1,
                               .models = &fixture->model,
                               .model_count = 1,
                               .module = fixture->module,
                               .limits = &limits};
    if (dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &err) != DW_OK) {
        fail_msg("of %llu bytes: %s", (unsigned long long)ran, err.message);
    }
    print_message("ran with %llu bytes, thawed with %llu\n", (unsigned long long)ran,
                  (unsigned long long)kv_of(thawed));
    assert_true(kv_of(thawed) <= ran + 65536 && kv_of(thawed) + 65536 >= ran);
    assert_int_equal(actor_told(actor, &before, "g%u", 4U), DW_OK);
    assert_int_equal(actor_told(thawed, &after, "g%u", 4U), DW_OK);
    assert_true(before.bytes > 0 && before.bytes == after.bytes);
    assert_memory_equal(before.data, after.data, before.bytes);
    dw_actor_destroy(thawed);
    dw_actor_destroy(actor);
    limits.kv_bytes = ran - 65536;
    assert_int_equal(dw_actor_thaw(&thawed, fixture->engine, &options, NULL, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "kv_bytes"));
}

/* A context that is said to be like itself. */
static dw_status like_itself(actor_fixture *fixture, json_int_t bytes, dw_error *err)
{
    json_t *about = described();
    json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(about, "open"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "kind")), "context") == 0) {
            json_object_set(entry, "like", json_object_get(entry, "slot"));
            json_object_set_new(entry, "like_bytes", json_integer(bytes));
        }
    }
    craft(about);
    json_decref(about);
    return thaw(fixture, crafted, NULL, err);
}

static void test_thaw_limits_of_false_forks(void **state)
{
    dw_error err = {0};
    assert_int_equal(like_itself(*state, 0, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "which is no context of its model so far"));
    assert_int_equal(like_itself(*state, (json_int_t)1 << 50, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "'like_bytes'"));
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

/* ---- what may be set ----------------------------------------------------------------------- */

/* A snapshot of the actor, thawed by who trusts it or not. */
static dw_status thawed(actor_fixture *fixture, dw_module *module, bool trusted, dw_actor **actor,
                        dw_error *err)
{
    const char *const paths[] = {crafted};
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .paths = paths,
                                     .path_count = 1,
                                     .models = &fixture->model,
                                     .model_count = 1,
                                     .module = module,
                                     .trusted = trusted};
    return dw_actor_thaw(actor, fixture->engine, &options, NULL, err);
}

/* An actor that is made can be frozen, and thawed then; else it is not made. */
static bool comes_back(actor_fixture *fixture, const dw_actor_options *options, const char *what)
{
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    dw_status status = dw_actor_spawn(&actor, fixture->module, options, &err);
    if (status != DW_OK) {
        assert_true(err.message[0] != '\0' && status != DW_E_MEMORY);
        return false;
    }
    if (dw_actor_freeze(actor, crafted, NULL, NULL, &err) != DW_OK) {
        fail_msg("%s: made, and not to be frozen: %s", what, err.message);
    }
    dw_actor_destroy(actor);
    for (int trusted = 0; trusted < 2; trusted++) {
        if (thawed(fixture, fixture->module, trusted != 0, &actor, &err) != DW_OK) {
            fail_msg("%s: frozen, and not to be thawed: %s", what, err.message);
        }
        assert_int_equal(dw_actor_send(actor, NULL, "f", 1, &err), DW_OK);
        dw_actor_destroy(actor);
    }
    return true;
}

/* Members at their ends, and what is at the ends of each limit. */
static void test_thaw_limits_of_settings_at_their_ends(void **state)
{
    static const uint64_t values[] = {
        1, INT32_MAX, UINT32_MAX, (uint64_t)1 << 33, (uint64_t)1 << 50, INT64_MAX, UINT64_MAX};
    size_t made = 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const uint64_t value = values[i];
        const dw_instance_options members[] = {
            {.struct_bytes = sizeof *members, .memory_bytes_max = value},
            {.struct_bytes = sizeof *members, .context_tokens_max = (uint32_t)value},
            {.struct_bytes = sizeof *members, .context_count_max = (uint32_t)value},
            {.struct_bytes = sizeof *members, .timeout_ms = value},
            {.struct_bytes = sizeof *members, .cpu_timeout_ms = value},
        };
        for (size_t k = 0; k < sizeof members / sizeof members[0]; k++) {
            char what[64];
            dw_actor_options options = {.struct_bytes = sizeof options, .instance = &members[k]};
            (void)snprintf(what, sizeof what, "member %zu at %llu", k, (unsigned long long)value);
            made += comes_back(*state, &options, what);
        }
        dw_actor_options own[] = {
            {.struct_bytes = sizeof *own, .message_count_max = (uint32_t)value},
            {.struct_bytes = sizeof *own, .message_bytes_max = (size_t)value},
        };
        made += comes_back(*state, &own[0], "message_count_max");
        made += comes_back(*state, &own[1], "message_bytes_max");
    }
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        assert_int_equal(dw_limit_get_info(i, &info, NULL), DW_OK);
        const uint64_t ends[] = {info.lowest, info.lowest + 1, info.highest - 1, info.highest};
        for (size_t k = 0; k < 4; k++) {
            dw_limits limits = {.struct_bytes = sizeof limits};
            dw_limits_put(&limits, i, ends[k]);
            const dw_instance_options instance = {.struct_bytes = sizeof instance,
                                                  .limits = &limits};
            const dw_actor_options options = {.struct_bytes = sizeof options,
                                              .instance = &instance};
            made += comes_back(*state, &options, info.name);
        }
    }
    print_message("%zu actors were made of settings at their ends\n", made);
    assert_true(made > 130);
}

/* ---- what work raises ----------------------------------------------------------------------- */

/* A thaw sets `list`, or the member `key`, to the largest that it takes. */
typedef struct raised {
    const char *key;
    const char *value;   /* JSON */
    const char *refused; /* what a message is then refused with; NULL: all are worked on */
} raised;

#define LAST_NUMBER "4611686018427387903"
#define NEXT_TO_LAST "4611686018427387902"
#define CAUSED(number, cause)                                                                      \
    "[{\"actor\":\"\",\"guest\":\"\",\"kind\":0,\"number\":" number ",\"bytes\":0,"                \
    "\"cause\":" cause ",\"caused\":" cause "}]"
static const raised counters[] = {
    {"received", LAST_NUMBER, "it has worked on " LAST_NUMBER " messages, limit " LAST_NUMBER},
    {"received", NEXT_TO_LAST, "it has worked on " LAST_NUMBER " messages"},
    {"effect_number", LAST_NUMBER, "the last had number " LAST_NUMBER ", limit " LAST_NUMBER},
    {"effect_number", NEXT_TO_LAST, "the last had number " LAST_NUMBER},
    {"mailbox", CAUSED("0", "9223372036854775807"), NULL},
    {"mailbox", CAUSED(LAST_NUMBER, "0"), NULL},
    {"timers", CAUSED(LAST_NUMBER, "9223372036854775807"), NULL},
    {"effects", CAUSED(LAST_NUMBER, "9223372036854775807"), NULL},
};

/* Whether one of many messages, which raise all that can be, was refused with `words`. */
static bool raise_all(dw_actor *actor, const char *words)
{
    static const char *const messages[] = {"+1", "F3", "T2", "S1", "A+4", "m", "g2",
                                           "f",  "s3", "F4", "F5", "T3",  "+2"};
    bool refused = false;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        dw_error err = {.message = ""};
        assert_int_equal(dw_actor_send(actor, NULL, messages[i], strlen(messages[i]), &err), DW_OK);
        dw_status status = dw_actor_receive(actor, NULL, NULL, &err);
        refused = refused || (status == DW_E_LIMIT && strstr(err.message, words) != NULL);
        assert_false(dw_actor_is_broken(actor));
    }
    return refused;
}

/* An actor whose counters are at their largest works or is refused; what it is then comes back. */
static void test_thaw_limits_of_counters_at_their_ends(void **state)
{
    actor_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        const raised *of = &counters[i];
        dw_actor *actor = NULL;
        dw_error err = {.message = ""};
        json_t *about = described();
        json_t *value = json_loads(of->value, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_object_set_new(about, of->key, value), 0);
        craft(about);
        json_decref(about);
        if (thawed(fixture, fixture->module, false, &actor, &err) != DW_OK) {
            fail_msg("%s of %s: %s", of->key, of->value, err.message);
        }
        if (of->refused != NULL && !raise_all(actor, of->refused)) {
            fail_msg("%s of %s: nothing was refused", of->key, of->value);
        }
        if (of->refused == NULL) {
            (void)raise_all(actor, "");
        }
        assert_int_equal(dw_actor_freeze(actor, crafted, NULL, NULL, &err), DW_OK);
        dw_actor_destroy(actor);
        for (int trusted = 0; trusted < 2; trusted++) {
            if (thawed(fixture, fixture->module, trusted != 0, &actor, &err) != DW_OK) {
                fail_msg("%s of %s: frozen, and not to be thawed: %s", of->key, of->value,
                         err.message);
            }
            dw_actor_destroy(actor);
        }
    }
}

/* Effects that nobody carries out fill what a thaw lets an actor have, and no more. */
static void test_thaw_limits_of_effects_that_wait(void **state)
{
    actor_fixture *fixture = *state;
    const dw_limits limits = {.struct_bytes = sizeof limits, .effects = 2};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_error err = {.message = ""};
    dw_actor *actor = NULL;
    assert_int_equal(dw_actor_spawn(&actor, fixture->module, &options, &err), DW_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dw_actor_send(actor, NULL, "F1", 2, &err), DW_OK);
        assert_int_equal(dw_actor_receive(actor, NULL, NULL, &err), i < 2 ? DW_OK : DW_E_LIMIT);
    }
    assert_non_null(strstr(err.message, "effects: 2 wait to be carried out, which is the limit"));
    assert_int_equal(dw_actor_freeze(actor, crafted, NULL, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
    assert_int_equal(thawed(fixture, fixture->module, false, &actor, &err), DW_OK);
    dw_actor_drop_effects(actor, 2);
    assert_int_equal(dw_actor_send(actor, NULL, "F1", 2, &err), DW_OK);
    assert_int_equal(dw_actor_receive(actor, NULL, NULL, &err), DW_OK);
    dw_actor_destroy(actor);
}

static void test_thaw_limits_of_granted_lists(void **state)
{
    enum { MOST = 4096 };
    actor_fixture *fixture = *state;
    static const char *texts[MOST + 1];
    static dw_model *models[65];
    for (size_t i = 0; i <= MOST; i++) {
        texts[i] = "A";
    }
    for (size_t i = 0; i < 65; i++) {
        models[i] = fixture->model;
    }
    for (size_t more = 0; more < 2; more++) {
        const dw_instance_options lists[] = {
            {.struct_bytes = sizeof *lists, .args = texts, .arg_count = MOST + more},
            {.struct_bytes = sizeof *lists,
             .env_names = texts,
             .env_values = texts,
             .env_count = MOST + more},
            {.struct_bytes = sizeof *lists, .models = models, .model_count = 64 + more},
        };
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
            const dw_actor_options options = {.struct_bytes = sizeof options,
                                              .instance = &lists[i]};
            assert_int_equal(comes_back(fixture, &options, "a list"), more == 0);
        }
    }
    const char *const latin[] = {"\xff"};
    const dw_instance_options not_utf8 = {
        .struct_bytes = sizeof not_utf8, .args = latin, .arg_count = 1};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &not_utf8};
    assert_false(comes_back(fixture, &options, "a text"));
}

/* A limit of processor time stays an actor's, wherever it was set. */
static void test_thaw_limits_keep_processor_time(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .cpu_timeout_ms = 4321};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_true(comes_back(fixture, &options, "cpu_timeout_ms"));
    assert_int_equal(thawed(fixture, fixture->module, true, &actor, &err), DW_OK);
    assert_int_equal(dw_instance_limits(dw_actor_instance(actor))->cpu_timeout_ms, 4321);
    dw_actor_destroy(actor);
}

/* A table that has grown as far as its limit lets it comes back. */
static void test_thaw_limits_of_large_tables(void **state)
{
    static const char grows[] =
        "(module (memory (export \"memory\") 1) (table 1 funcref) (elem (i32.const 0) $f)"
        "(func $f (export \"driftwood_receive\") (result i32)"
        " (table.set 0 (table.grow 0 (ref.func $f) (i32.const 2999999)) (ref.null func))"
        " (i32.sub (table.size 0) (i32.const 3000000))))";
    actor_fixture *fixture = *state;
    dw_module *module = NULL;
    dw_actor *actor = NULL;
    dw_error err = {.message = ""};
    wasm_byte_vec_t wasm;
    const dw_limits limits = {.struct_bytes = sizeof limits, .table_elements = 3000000};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_null(wasmtime_wat2wasm(grows, sizeof grows - 1, &wasm));
    assert_int_equal(dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &err), DW_OK);
    wasm_byte_vec_delete(&wasm);
    if (dw_actor_spawn(&actor, module, &options, &err) != DW_OK ||
        dw_actor_send(actor, NULL, "", 0, &err) != DW_OK ||
        dw_actor_receive(actor, NULL, NULL, &err) != DW_OK ||
        dw_actor_freeze(actor, crafted, NULL, NULL, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_actor_destroy(actor);
    assert_int_equal(thawed(fixture, module, true, &actor, &err), DW_OK);
    dw_actor_destroy(actor);
    /* A stranger's has what a new actor gets. */
    assert_int_equal(thawed(fixture, module, false, &actor, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "'table_elements' is 1000000"));
    dw_module_unref(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thaw_limits_of_settings_at_their_ends),
        cmocka_unit_test(test_thaw_limits_of_granted_lists),
        cmocka_unit_test(test_thaw_limits_of_counters_at_their_ends),
        cmocka_unit_test(test_thaw_limits_of_effects_that_wait),
        cmocka_unit_test(test_thaw_limits_keep_processor_time),
        cmocka_unit_test(test_thaw_limits_of_large_tables),
        cmocka_unit_test(test_thaw_limits_are_named),
        cmocka_unit_test(test_thaw_limits_let_others_pass),
        cmocka_unit_test(test_thaw_limits_of_forks),
        cmocka_unit_test(test_thaw_limits_of_false_forks),
        cmocka_unit_test(test_thaw_limits_of_descriptions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
