/* Looking at actors: what one consists of, how two differ. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/link.h"

#define BLOCKS_LISTED 64
#define BLOCK_BYTES ((size_t)65536)
#define TOKENS_BYTES_MAX (64u << 20)

static void put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

json_t *dw_cli_count_json(uint64_t count)
{
    char digits[24];
    if (count <= INT64_MAX) {
        return json_integer((json_int_t)count);
    }
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    return json_string(digits);
}

/* A number, or the digits of one that JSON's reader made text. */
static unsigned long long count_in(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10)
                                 : (unsigned long long)json_integer_value(value);
}

/* ---- show -------------------------------------------------------------------------------- */

/* Settings and models stand where they changed: those of a later file are the actor's. */
static void take_terms(const dw_snapshot_file *file, json_t *terms)
{
    static const char *const names[] = {"settings", "models"};
    const char *text = dw_snapshot_file_meta(file, "settings");
    const char *about = text != NULL ? text : dw_snapshot_file_meta(file, "actor");
    json_t *object = about != NULL ? json_loads(about, JSON_REJECT_DUPLICATES, NULL) : NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(object, names[i]);
        if (value != NULL) {
            put(terms, names[i], json_incref(value));
        }
    }
    json_decref(object);
}

/* In the actor's folder: a file, or a place in a series. */
static const char *name_of(const char *path)
{
    static const char end[] = ".series";
    const size_t length = sizeof end - 1;
    const char *name = strrchr(path, '/');
    if (name == NULL) {
        return path;
    }
    if ((size_t)(name - path) >= length && strncmp(name - length, end, length) == 0) {
        for (name--; name > path && *name != '/'; name--) {}
    }
    return *name == '/' ? name + 1 : name;
}

static dw_status add_file(json_t *files, const char *path, bool last, json_t **actor, json_t *terms,
                          dw_error *err)
{
    dw_snapshot_file *file = NULL;
    dw_status status = dw_snapshot_file_open(&file, path, 0, err);
    if (status != DW_OK) {
        return status;
    }
    dw_snapshot_file_info info = {.struct_bytes = sizeof info};
    dw_snapshot_file_get_info(file, &info);
    const char *kind = dw_snapshot_file_meta(file, "kind");
    const char *about = dw_snapshot_file_meta(file, "actor");
    (void)json_array_append_new(files, json_pack("{s:s, s:s, s:s, s:I}", "file", name_of(path),
                                                 "kind", kind != NULL ? kind : "full", "identity",
                                                 info.identity, "bytes", (json_int_t)info.bytes));
    take_terms(file, terms);
    if (last && about != NULL) {
        *actor = json_loads(about, JSON_REJECT_DUPLICATES, NULL);
        const char *module = dw_snapshot_file_meta(file, "module");
        put(*actor, "module", json_string(module != NULL ? module : ""));
        (void)json_object_update(*actor, terms);
    }
    dw_snapshot_file_close(file);
    return DW_OK;
}

static dw_status list_freezes(dw_cli_actors *actors, const char *id, json_t **list, dw_error *err)
{
    uint64_t numbers[16];
    size_t count = 0;
    dw_status status = dw_cli_at_list_freezes(actors, id, numbers,
                                              sizeof numbers / sizeof numbers[0], &count, err);
    *list = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(*list, dw_cli_count_json(numbers[i]));
    }
    return status;
}

/* The limit's value as it was set, or its default. */
static uint64_t limit_of(const json_t *about, const char *name, dw_limit_unit *unit)
{
    const dw_limits limits = dw_cli_actor_limits(about);
    const uint64_t set[] = {
#define VALUE(member, ...) limits.member,
        DW_LIMIT_LIST(VALUE)
#undef VALUE
    };
    dw_limit_info info = {.struct_bytes = sizeof info};
    size_t i = 0;
    while (i < dw_limit_count() &&
           (dw_limit_get_info(i, &info, NULL) != DW_OK || strcmp(info.name, name) != 0)) {
        i++;
    }
    *unit = info.unit;
    return set[i] != 0 ? set[i] : info.usual;
}

/* What is known beside its snapshots: whom it watches; limits that take the place of its own where
 * it is read, or that it has in memory. */
static dw_status put_described(dw_cli_actors *actors, const char *id, json_t *actor, dw_error *err)
{
    dw_limit_unit unit;
    json_t *about = NULL;
    dw_status status = dw_cli_at_describe(actors, id, &about, err);
    json_t *watches = json_object_get(about, "watches");
    json_t *limits = json_object_get(about, "limits");
    if (json_is_object(limits)) {
        put(actor, "limits", json_incref(limits));
    }
    if (status == DW_OK && json_is_object(watches)) {
        if (json_object_get(watches, "limit") == NULL) {
            put(watches, "limit", dw_cli_count_json(limit_of(actor, "watches", &unit)));
        }
        put(actor, "watches", json_incref(watches));
    }
    json_decref(about);
    return status;
}

dw_status dw_cli_actors_show(dw_cli_actors *actors, const char *id, json_t **about, dw_error *err)
{
    dw_cli_paths paths;
    json_t *files = json_array();
    json_t *actor = NULL;
    json_t *freezes = NULL;
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    json_t *terms = json_object();
    *about = NULL;
    dw_status status = dw_cli_actors_paths(actors, id, &paths, err);
    for (size_t i = 0; status == DW_OK && i < paths.count; i++) {
        status = add_file(files, paths.list[i], i + 1 == paths.count, &actor, terms, err);
    }
    dw_cli_paths_release(&paths);
    if (status == DW_OK) {
        status = dw_cli_at_get_info(actors, id, &info, err);
    }
    if (status == DW_OK) {
        status = list_freezes(actors, id, &freezes, err);
    }
    json_decref(terms);
    if (status == DW_OK && actor == NULL) {
        status = dw_fail(err, DW_E_FORMAT, "actor %s: its snapshot tells nothing of it", id);
    }
    if (status == DW_OK) {
        status = put_described(actors, id, actor, err);
    }
    if (status != DW_OK) {
        json_decref(files);
        json_decref(actor);
        json_decref(freezes);
        return status;
    }
    put(actor, "id", json_string(id));
    put(actor, "freezes", freezes);
    put(actor, "parent", json_string(info.parent));
    put(actor, "depth", json_integer((json_int_t)info.depth));
    put(actor, "account", dw_cli_actor_account(actor));
    put(actor, "files", files);
    put(actor, "waiting", json_integer((json_int_t)info.waiting));
    put(actor, "set_aside", json_integer((json_int_t)info.set_aside));
    put(actor, "done", dw_cli_count_json(info.snapshot_done));
    *about = actor;
    return DW_OK;
}

static const char *text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "?";
}

static long long number_in(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_limit(const json_t *about, const char *name)
{
    char text[DW_LIMIT_TEXT_BYTES];
    dw_limit_unit unit;
    const uint64_t value = limit_of(about, name, &unit);
    dw_limit_format(unit, value, text);
    dw_cli_print("limit     %s %s\n", name, text);
}

/* Nothing of one that has to do with none. */
static void print_watches(const json_t *watches)
{
    size_t i;
    size_t k;
    const json_t *item;
    const json_t *event;
    if (number_in(watches, "count") == 0 && number_in(watches, "watchers") == 0) {
        return;
    }
    dw_cli_print("watches   %lld of at most %lld; watched by %lld\n", number_in(watches, "count"),
                 number_in(watches, "limit"), number_in(watches, "watchers"));
    json_array_foreach(json_object_get(watches, "actors"), i, item)
    {
        dw_cli_print("watched   %s", text_in(item, "id"));
        json_array_foreach(json_object_get(item, "events"), k, event)
        {
            dw_cli_print("%s %s", k == 0 ? ":" : ",", json_string_value(event));
        }
        dw_cli_print("\n");
    }
}

/* What ends its work on a message. */
static void print_times(const json_t *about)
{
    static const char *const names[] = {"message_timeout_ms", "timeout_ms", "cpu_timeout_ms",
                                        "fuel"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        print_limit(about, names[i]);
    }
}

void dw_cli_actors_print(const json_t *about)
{
    size_t i;
    const json_t *item;
    dw_cli_print("id        %s\nmodule    %s\n", text_in(about, "id"), text_in(about, "module"));
    json_array_foreach(json_object_get(about, "models"), i, item)
    {
        dw_cli_print("model     %s, %s\n", text_in(item, "name"), text_in(item, "fingerprint"));
    }
    json_array_foreach(json_object_get(about, "memories"), i, item)
    {
        dw_cli_print("memory    %lld pages of 64 KiB\n", (long long)json_integer_value(item));
    }
    json_array_foreach(json_object_get(about, "open"), i, item)
    {
        if (strcmp(text_in(item, "kind"), "context") == 0) {
            dw_cli_print("context   %lld of %lld tokens, %s\n", number_in(item, "length"),
                         number_in(item, "tokens_max"), text_in(item, "kv_type"));
            if (json_object_get(item, "text") != NULL) {
                dw_cli_print("text      %.1000s\n", text_in(item, "text"));
            }
        }
    }
    if (text_in(about, "parent")[0] != '\0' && text_in(about, "parent")[0] != '?') {
        dw_cli_print("parent    %s\n", text_in(about, "parent"));
    }
    dw_cli_actor_account_print(json_object_get(about, "account"));
    print_times(about);
    dw_cli_print("messages  %llu done, %lld waiting, %lld set aside\n", count_in(about, "done"),
                 number_in(about, "waiting"), number_in(about, "set_aside"));
    print_watches(json_object_get(about, "watches"));
    json_array_foreach(json_object_get(about, "freezes"), i, item)
    {
        dw_cli_print("freeze    %llu\n", (unsigned long long)json_integer_value(item));
    }
    json_array_foreach(json_object_get(about, "files"), i, item)
    {
        dw_cli_print("file      %s, %s, %lld bytes\n", text_in(item, "file"),
                     text_in(item, "identity"), number_in(item, "bytes"));
    }
}

/* ---- one file ---------------------------------------------------------------------------- */

/* The text of a context, with the vocabulary of its model. */
static dw_status add_text(const dw_snapshot_file *file, json_t *context, const dw_model *model,
                          dw_error *err)
{
    char name[48];
    dw_snapshot_tensor_info tensor = {.struct_bytes = sizeof tensor};
    (void)snprintf(name, sizeof name, "tokens.%lld", number_in(context, "handle"));
    if (dw_snapshot_file_get_tensor_info(file, name, &tensor, NULL) != DW_OK ||
        strcmp(tensor.dtype, "I32") != 0 || tensor.bytes > TOKENS_BYTES_MAX) {
        return DW_OK;
    }
    size_t count = (size_t)tensor.bytes / sizeof(int32_t);
    dw_text_room text = {.capacity = count * 64 + 1};
    int32_t *tokens = dw_cli_alloc(count + 1, sizeof *tokens);
    text.items = dw_cli_alloc(text.capacity, 1);
    dw_status status =
        tokens != NULL && text.items != NULL
            ? dw_snapshot_file_read_tensor(file, name, tokens, (size_t)tensor.bytes, err)
            : dw_fail(err, DW_E_MEMORY, "no memory for %zu tokens", count);
    if (status == DW_OK &&
        dw_model_detokenize(model, tokens, count, DW_DETOKENIZE_SPECIAL, &text, NULL) == DW_OK) {
        json_t *value = json_stringn(text.items, text.count);
        put(context, "text", value != NULL ? value : json_null());
    }
    free(tokens);
    free(text.items);
    return status;
}

static dw_status add_texts(const dw_snapshot_file *file, json_t *about, size_t which,
                           const char *fingerprint, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    size_t i;
    json_t *item;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    if (!dw_cli_find_fingerprint(fingerprint, path, sizeof path)) {
        return DW_OK;
    }
    dw_status status = dw_engine_create(&engine, &options, err);
    if (status == DW_OK) {
        status = dw_cli_open_model(&model, engine, path, NULL, err);
    }
    json_array_foreach(json_object_get(about, "open"), i, item)
    {
        if (status == DW_OK && strcmp(text_in(item, "kind"), "context") == 0 &&
            number_in(item, "model") == (long long)which) {
            status = add_text(file, item, model, err);
        }
    }
    dw_model_unref(model);
    dw_engine_destroy(engine);
    return status;
}

dw_status dw_cli_snapshot_about(const char *path, json_t **about, dw_error *err)
{
    json_t *files = json_array();
    json_t *actor = NULL;
    dw_snapshot_file *file = NULL;
    size_t i;
    json_t *item;
    *about = NULL;
    json_t *terms = json_object();
    dw_status status = add_file(files, path, true, &actor, terms, err);
    json_decref(terms);
    if (status == DW_OK && !json_is_object(actor)) {
        status = dw_fail(err, DW_E_UNSUPPORTED, "%.150s: a snapshot of no actor", path);
    }
    if (status == DW_OK) {
        status = dw_snapshot_file_open(&file, path, 0, err);
    }
    json_array_foreach(json_object_get(actor, "open"), i, item)
    {
        size_t slot = (size_t)number_in(item, "slot");
        const json_t *generation = json_array_get(json_object_get(actor, "generations"), slot);
        put(item, "handle",
            json_integer(json_integer_value(generation) * 65536 + (json_int_t)slot));
    }
    json_array_foreach(json_object_get(actor, "models"), i, item)
    {
        if (status == DW_OK) {
            status = add_texts(file, actor, i, text_in(item, "fingerprint"), err);
        }
    }
    dw_snapshot_file_close(file);
    if (status != DW_OK) {
        json_decref(files);
        json_decref(actor);
        return status;
    }
    put(actor, "account", dw_cli_actor_account(actor));
    put(actor, "waiting",
        json_integer((json_int_t)json_array_size(json_object_get(actor, "mailbox"))));
    put(actor, "done", json_integer(number_in(actor, "received")));
    put(actor, "files", files);
    *about = actor;
    return DW_OK;
}

/* ---- diff -------------------------------------------------------------------------------- */

static json_t *compare_memory(dw_actor *left, dw_actor *right)
{
    dw_instance *guests[] = {dw_actor_instance(left), dw_actor_instance(right)};
    size_t bytes[] = {dw_instance_memory_bytes(guests[0]), dw_instance_memory_bytes(guests[1])};
    size_t both = bytes[0] < bytes[1] ? bytes[0] : bytes[1];
    const unsigned char *a = dw_instance_memory(guests[0]);
    const unsigned char *b = dw_instance_memory(guests[1]);
    json_t *list = json_array();
    size_t differ = 0;
    for (size_t at = 0; at < both; at += BLOCK_BYTES) {
        if (memcmp(a + at, b + at, BLOCK_BYTES) != 0 && differ++ < BLOCKS_LISTED) {
            (void)json_array_append_new(list, json_integer((json_int_t)at));
        }
    }
    return json_pack("{s:[I, I], s:i, s:I, s:o}", "bytes", (json_int_t)bytes[0],
                     (json_int_t)bytes[1], "block_bytes", (int)BLOCK_BYTES, "blocks_that_differ",
                     (json_int_t)differ, "first_at", list);
}

/* The other's context of the same handle; one without tokens where there is none. */
static dw_context_info context_of(const dw_actor *actor, int32_t handle)
{
    for (size_t i = 0; i < dw_actor_context_count(actor); i++) {
        dw_context_info info = {.struct_bytes = sizeof info};
        if (dw_actor_get_context_info(actor, i, &info, NULL) == DW_OK && info.handle == handle) {
            return info;
        }
    }
    return (dw_context_info){.token_count = 0};
}

static json_t *compare_contexts(const dw_actor *left, const dw_actor *right)
{
    json_t *list = json_array();
    for (size_t i = 0; i < dw_actor_context_count(left); i++) {
        dw_context_info ours = {.struct_bytes = sizeof ours};
        if (dw_actor_get_context_info(left, i, &ours, NULL) != DW_OK) {
            continue;
        }
        dw_context_info theirs = context_of(right, ours.handle);
        uint32_t same = 0;
        while (same < ours.token_count && same < theirs.token_count &&
               ours.tokens[same] == theirs.tokens[same]) {
            same++;
        }
        (void)json_array_append_new(
            list, json_pack("{s:I, s:[I, I], s:I}", "context", (json_int_t)ours.handle, "tokens",
                            (json_int_t)ours.token_count, (json_int_t)theirs.token_count,
                            "tokens_in_common", (json_int_t)same));
    }
    return list;
}

dw_status dw_cli_actors_diff(dw_cli_actors *actors, const char *left, const char *right,
                             json_t **about, dw_error *err)
{
    dw_actor *both[] = {NULL, NULL};
    *about = NULL;
    dw_status status = dw_cli_actors_copy(actors, left, NULL, &both[0], NULL, err);
    if (status == DW_OK) {
        status = dw_cli_actors_copy(actors, right, NULL, &both[1], NULL, err);
    }
    if (status == DW_OK) {
        *about = json_pack("{s:[s, s], s:o, s:o}", "actors", left, right, "memory",
                           compare_memory(both[0], both[1]), "contexts",
                           compare_contexts(both[0], both[1]));
    }
    dw_actor_destroy(both[0]);
    dw_actor_destroy(both[1]);
    return status;
}
