/* A runtime's manifest: limits, and tenants with what they are granted. One JSON object; what it
 * does not name is not granted. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor_settings.h"
#include "base/alloc.h"
#include "base/json_bounds.h"
#include "runtime/runtime_internal.h"

#define MANIFEST_BYTES_MAX ((size_t)1 << 20)
#define GRANTED_MAX 256u

static const char *const capability_names[] = DW__CAPABILITY_NAMES;

/* ---- values ---------------------------------------------------------------------------------- */

#define TOLD_BYTES 64u

/* The value, as an error tells it. */
static const char *told(const json_t *value, char room[TOLD_BYTES])
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        (void)snprintf(room, TOLD_BYTES, "'%.40s'", json_string_value(value));
        return room;
    case JSON_INTEGER:
        (void)snprintf(room, TOLD_BYTES, "%lld", (long long)json_integer_value(value));
        return room;
    case JSON_REAL:
        (void)snprintf(room, TOLD_BYTES, "%g", json_real_value(value));
        return room;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_ARRAY:
        return "a list";
    case JSON_OBJECT:
        return "an object";
    default:
        return "null";
    }
}

/* `name` is not what it may be: DW_E_FORMAT. */
static dw_status wanted(const char *name, const json_t *value, const char *what, dw_error *err)
{
    char room[TOLD_BYTES];
    return dw_fail(err, DW_E_FORMAT, "manifest: %s is %s; %s is wanted", name, told(value, room),
                   what);
}

/* Whether all of the object's names are among `names` [count]. */
static dw_status check_names(const char *what, const json_t *object, const char *const *names,
                             size_t count, dw_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        return wanted(what, object, "an object", err);
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(names[i], name) != 0) {
            i++;
        }
        if (i == count) {
            return dw_fail(err, DW_E_NOT_FOUND, "manifest: %s has no '%.60s'", what, name);
        }
    }
    return DW_OK;
}

/* A whole number from 1 to `most`; absent: 0. */
static dw_status take_number(const json_t *object, const char *name, uint64_t most,
                             uint64_t *number, dw_error *err)
{
    const json_t *value = json_object_get(object, name);
    *number = 0;
    if (value == NULL) {
        return DW_OK;
    }
    if (!json_is_integer(value)) {
        return wanted(name, value, "a whole number", err);
    }
    json_int_t given = json_integer_value(value);
    if (given < 1 || (uint64_t)given > most) {
        return dw_fail(err, DW_E_RANGE, "manifest: %s is %lld, 1 to %llu are allowed", name,
                       (long long)given, (unsigned long long)most);
    }
    *number = (uint64_t)given;
    return DW_OK;
}

static dw_status take_limits(const json_t *object, dw_limits *limits, dw_error *err)
{
    const json_t *value = json_object_get(object, "limits");
    *limits = (dw_limits){.struct_bytes = sizeof *limits};
    if (value == NULL) {
        return DW_OK;
    }
    if (!json_is_object(value)) {
        return wanted("limits", value, "an object", err);
    }
    size_t bytes = json_dumpb(value, NULL, 0, JSON_COMPACT);
    char *text = dw_alloc(bytes + 1, 1);
    if (text == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a manifest");
    }
    (void)json_dumpb(value, text, bytes, JSON_COMPACT);
    dw_status status = dw_limits_read(limits, text, bytes, err);
    dw_free(text);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "manifest");
}

/* NULL: it is no text, or has a NUL. */
static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* Text `index` of a list; NULL: it is none. */
static const char *text_at(const json_t *list, size_t index)
{
    return text_of(json_array_get(list, index));
}

static dw_status take_capabilities(const json_t *tenant, uint32_t *capabilities, dw_error *err)
{
    const size_t count = sizeof capability_names / sizeof capability_names[0];
    const json_t *list = json_object_get(tenant, "may");
    *capabilities = 0;
    if (list != NULL && !json_is_array(list)) {
        return wanted("may", list, "a list of texts", err);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = text_at(list, i);
        size_t bit = 0;
        while (bit < count && (name == NULL || strcmp(name, capability_names[bit]) != 0)) {
            bit++;
        }
        if (bit == count) {
            return dw_fail(err, DW_E_NOT_FOUND, "manifest: may: there is no '%.60s'",
                           name != NULL ? name : "(no text)");
        }
        *capabilities |= 1u << bit;
    }
    return DW_OK;
}

/* ---- tenants --------------------------------------------------------------------------------- */

/* What a list of names grants. */
typedef struct granted {
    const char *texts[GRANTED_MAX]; /* [count], borrowed from the JSON */
    size_t count;
    const char *const *names; /* `texts`; NULL: any, where "*" is among them */
} granted;

/* `name`: of the list, for errors. */
static dw_status take_granted(const json_t *list, const char *name, granted *to, dw_error *err)
{
    bool any = false;
    if (list != NULL && !json_is_array(list)) {
        return wanted(name, list, "a list of texts", err);
    }
    if (json_array_size(list) > GRANTED_MAX) {
        return dw_fail(err, DW_E_LIMIT, "manifest: %s: %zu, limit %u", name, json_array_size(list),
                       GRANTED_MAX);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        to->texts[i] = text_at(list, i);
        if (to->texts[i] == NULL) {
            return dw_fail(err, DW_E_FORMAT, "manifest: %s: item %zu is no text without NUL", name,
                           i);
        }
        any = any || strcmp(to->texts[i], "*") == 0;
    }
    to->count = any ? 0 : json_array_size(list);
    to->names = any ? NULL : to->texts;
    return DW_OK;
}

static void set_granted(const granted *from, const char *const **names, size_t *count)
{
    *names = from->names;
    *count = from->count;
}

/* What of contexts under names may be opened, and saved. */
static dw_status take_contexts(const json_t *tenant, granted *reads, granted *writes, dw_error *err)
{
    static const char *const members[] = {"read", "write"};
    const json_t *value = json_object_get(tenant, "contexts");
    dw_status status = DW_OK;
    if (value != NULL && !json_is_object(value)) {
        return wanted("contexts", value, "an object", err);
    }
    if (value != NULL) {
        status = check_names("contexts", value, members, 2, err);
    }
    if (status == DW_OK) {
        status = take_granted(json_object_get(value, "read"), "contexts: read", reads, err);
    }
    return status == DW_OK
               ? take_granted(json_object_get(value, "write"), "contexts: write", writes, err)
               : status;
}

static dw_status take_prefixes(const json_t *tenant, dw_tenant_options *options, dw_error *err)
{
    const json_t *value = json_object_get(tenant, "prefixes");
    const char *text = json_string_value(value);
    options->no_shared_prefixes = text != NULL && strcmp(text, "own") == 0;
    options->public_prefixes = text != NULL && strcmp(text, "public") == 0;
    return value == NULL || options->no_shared_prefixes || options->public_prefixes ||
                   (text != NULL && strcmp(text, "shared") == 0)
               ? DW_OK
               : wanted("prefixes", value, "'shared', 'own' or 'public'", err);
}

/* Seconds of having nothing to do, after which an actor leaves memory; absent: 0. */
static dw_status take_idle(const json_t *object, uint32_t *idle_s, dw_error *err)
{
    uint64_t number = 0;
    const json_t *value = json_object_get(object, "park_idle_s");
    if (json_is_integer(value) && json_integer_value(value) == 0) {
        *idle_s = DW_PARK_NEVER;
        return DW_OK;
    }
    dw_status status = take_number(object, "park_idle_s", UINT32_MAX - 1, &number, err);
    *idle_s = (uint32_t)number;
    return status;
}

/* "each", "park", or a number of seconds. */
static dw_status take_durability(const json_t *object, dw_durability *durability, uint32_t *seconds,
                                 dw_error *err)
{
    const json_t *value = json_object_get(object, "durability");
    const char *text = json_string_value(value);
    *durability = DW_DURABLE_DEFAULT;
    *seconds = 0;
    if (value == NULL) {
        return DW_OK;
    }
    if (json_is_integer(value)) {
        uint64_t number = 0;
        dw_status status = take_number(object, "durability", UINT32_MAX, &number, err);
        *durability = DW_DURABLE_SECONDS;
        *seconds = (uint32_t)number;
        return status;
    }
    if (text != NULL && (strcmp(text, "each") == 0 || strcmp(text, "park") == 0)) {
        dw__durability_read(text, durability, seconds);
        return DW_OK;
    }
    return wanted("durability", value, "'each', 'park' or a number of seconds", err);
}

static dw_status take_folder(const json_t *value, dw_dir *dir, dw_error *err)
{
    static const char *const members[] = {"host", "guest", "writable"};
    const json_t *writable = json_object_get(value, "writable");
    dw_status status = check_names("folders", value, members, 3, err);
    if (status != DW_OK) {
        return status;
    }
    dir->host_path = text_of(json_object_get(value, "host"));
    dir->guest_path = text_of(json_object_get(value, "guest"));
    dir->writable = json_is_true(writable);
    if (dir->host_path == NULL || dir->host_path[0] != '/' || dir->guest_path == NULL) {
        return dw_fail(err, DW_E_FORMAT,
                       "manifest: folders: \"host\", a path from '/' on, and \"guest\" are wanted");
    }
    return writable == NULL || json_is_boolean(writable)
               ? DW_OK
               : wanted("folders: writable", writable, "true or false", err);
}

/* Borrowed from the JSON: folders [*count]. */
static dw_status take_folders(const json_t *tenant, dw_dir *dirs, size_t *count, dw_error *err)
{
    const json_t *list = json_object_get(tenant, "folders");
    dw_status status = DW_OK;
    *count = json_array_size(list);
    if (list != NULL && !json_is_array(list)) {
        return wanted("folders", list, "a list of objects", err);
    }
    if (*count > DW_ACTOR_DIRS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "manifest: folders: %zu, limit %d", *count,
                       DW_ACTOR_DIRS_MAX);
    }
    for (size_t i = 0; i < *count && status == DW_OK; i++) {
        status = take_folder(json_array_get(list, i), &dirs[i], err);
    }
    return status;
}

static dw_status take_tenant(dw_runtime *runtime, const char *name, const json_t *value,
                             dw_error *err)
{
    static const char *const members[] = {"weight",  "may",      "actors",      "limits",
                                          "models",  "prefixes", "park_idle_s", "durability",
                                          "folders", "tools",    "contexts"};
    granted models, tools, reads, writes;
    dw_dir dirs[DW_ACTOR_DIRS_MAX];
    uint64_t weight = 0;
    dw_limits limits;
    dw_tenant_options options = {.struct_bytes = sizeof options, .limits = &limits, .dirs = dirs};
    dw_status status = check_names("a tenant", value, members, 11, err);
    if (status == DW_OK) {
        status = take_number(value, "weight", 10000, &weight, err);
    }
    if (status == DW_OK) {
        status = take_number(value, "actors", INT64_MAX, &options.actors_max, err);
    }
    if (status == DW_OK) {
        status = take_capabilities(value, &options.capabilities, err);
    }
    if (status == DW_OK) {
        status = take_limits(value, &limits, err);
    }
    if (status == DW_OK) {
        status = take_granted(json_object_get(value, "models"), "models", &models, err);
    }
    if (status == DW_OK) {
        status = take_granted(json_object_get(value, "tools"), "tools", &tools, err);
    }
    if (status == DW_OK) {
        status = take_contexts(value, &reads, &writes, err);
    }
    if (status == DW_OK) {
        status = take_prefixes(value, &options, err);
    }
    if (status == DW_OK) {
        status = take_idle(value, &options.park_idle_s, err);
    }
    if (status == DW_OK) {
        status = take_durability(value, &options.durability, &options.durability_s, err);
    }
    if (status == DW_OK) {
        status = take_folders(value, dirs, &options.dir_count, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "tenant '%.63s'", name);
    }
    options.weight = (uint32_t)weight;
    set_granted(&models, &options.models, &options.model_count);
    set_granted(&tools, &options.tools, &options.tool_count);
    set_granted(&reads, &options.context_reads, &options.context_read_count);
    set_granted(&writes, &options.context_writes, &options.context_write_count);
    return dw_runtime_set_tenant(runtime, name, &options, err);
}

static dw_status take_tenants(dw_runtime *runtime, const json_t *manifest, dw_error *err)
{
    const char *name;
    json_t *value;
    const char *const none[] = {NULL};
    json_t *tenants = json_object_get(manifest, "tenants");
    const dw_tenant_options nothing = {.struct_bytes = sizeof nothing,
                                       .models = none,
                                       .tools = none,
                                       .context_reads = none,
                                       .context_writes = none};
    dw_status status = dw_runtime_set_tenant(runtime, "", &nothing, err);
    if (status != DW_OK || tenants == NULL) {
        return status;
    }
    if (!json_is_object(tenants)) {
        return wanted("tenants", tenants, "an object", err);
    }
    json_object_foreach(tenants, name, value)
    {
        status = take_tenant(runtime, name, value, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static dw_status load(const char *text, size_t bytes, json_t **manifest, dw_error *err)
{
    static const char *const members[] = {"limits",          "tenants",        "park_idle_s",
                                          "resident_actors", "resident_bytes", "durability"};
    static const dw_json_bounds bounds = {MANIFEST_BYTES_MAX, 100000, 16, 24};
    json_error_t why;
    dw_status status = dw_json_check("manifest", text, bytes, &bounds, err);
    if (status != DW_OK) {
        return status;
    }
    *manifest = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (*manifest == NULL) {
        return dw_fail(err, DW_E_FORMAT, "manifest: line %d, column %d: %s", why.line, why.column,
                       why.text);
    }
    return check_names("it", *manifest, members, 6, err);
}

dw_status dw__manifest_limits(const char *text, size_t bytes, dw_limits *limits, dw_error *err)
{
    json_t *manifest = NULL;
    dw_status status = load(text, bytes, &manifest, err);
    if (status == DW_OK) {
        status = take_limits(manifest, limits, err);
    }
    json_decref(manifest);
    return status;
}

dw_status dw__manifest_parking(dw_runtime_options *options, dw_error *err)
{
    json_t *manifest = NULL;
    uint32_t idle_s = 0;
    uint64_t actors = 0;
    uint64_t bytes = 0;
    dw_status status = load(options->manifest, options->manifest_bytes, &manifest, err);
    if (status == DW_OK) {
        status = take_idle(manifest, &idle_s, err);
    }
    if (status == DW_OK) {
        status = take_number(manifest, "resident_actors", INT64_MAX, &actors, err);
    }
    if (status == DW_OK) {
        status = take_number(manifest, "resident_bytes", INT64_MAX, &bytes, err);
    }
    json_decref(manifest);
    options->park_idle_s = options->park_idle_s != 0 ? options->park_idle_s : idle_s;
    options->resident_actors = options->resident_actors != 0 ? options->resident_actors : actors;
    options->resident_bytes = options->resident_bytes != 0 ? options->resident_bytes : bytes;
    return status;
}

dw_status dw__manifest_tenants(dw_runtime *runtime, const char *text, size_t bytes, dw_error *err)
{
    json_t *manifest = NULL;
    dw_durability durability = DW_DURABLE_DEFAULT;
    uint32_t seconds = 0;
    dw_status status = load(text, bytes, &manifest, err);
    if (status == DW_OK) {
        status = take_durability(manifest, &durability, &seconds, err);
    }
    if (status == DW_OK) {
        dw__set_durability(runtime, durability, seconds);
        status = take_tenants(runtime, manifest, err);
    }
    json_decref(manifest);
    return status;
}
