/* Actors made at a server, from files that are here. */
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/link.h"
#include "cli/remote.h"

#define MODULE_BYTES_MAX ((size_t)256 << 20)

typedef struct limit_place {
    const char *name;
    size_t offset; /* in dw_limits */
} limit_place;

static const limit_place limit_places[] = {
#define LIMIT_PLACE(name, unit, usual, lowest, highest, option, what)                              \
    {#name, offsetof(dw_limits, name)},
    DW_LIMIT_LIST(LIMIT_PLACE)
#undef LIMIT_PLACE
};

/* Those that were set. */
static json_t *limits_json(const dw_limits *limits)
{
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof limit_places / sizeof limit_places[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)limits + limit_places[i].offset, sizeof value);
        if (value == DW_LIMIT_NONE) {
            (void)json_object_set_new(object, limit_places[i].name, json_string("none"));
        } else if (value != 0) {
            (void)json_object_set_new(object, limit_places[i].name,
                                      json_integer((json_int_t)value));
        }
    }
    return object;
}

static const char *priority_name(dw_priority priority)
{
    return priority == DW_PRIORITY_HIGH ? "high" : priority == DW_PRIORITY_LOW ? "low" : "normal";
}

static const char *kv_type_name(dw_kv_type type)
{
    return type == DW_KV_Q8_0 ? "q8_0" : type == DW_KV_F32 ? "f32" : "f16";
}

/* each, park, or a number; NULL: none was given. */
static json_t *durability_json(const dw_cli_terms *terms)
{
    return terms->durability == DW_DURABLE_EACH      ? json_string("each")
           : terms->durability == DW_DURABLE_PARK    ? json_string("park")
           : terms->durability == DW_DURABLE_SECONDS ? json_integer(terms->durability_s)
                                                     : NULL;
}

dw_status dw_cli_remote_upload(dw_cli_actors *actors, const char *tenant, const void *wasm,
                               size_t bytes, char sha256[DW_CLI_SHA256_TEXT], dw_error *err)
{
    char path[512] = "/v1/modules?tenant=";
    json_t *answer = NULL;
    size_t length = strlen(path);
    dw_cli_escape(tenant != NULL ? tenant : "", path + length, sizeof path - length);
    const dw_cli_asked what = {
        .method = "POST", .path = path, .body = wasm, .bytes = bytes, .fd = -1};
    dw_status status = dw_cli_remote_ask(actors->remote, &what, &answer, err);
    dw_cli_sha256_text(sha256, wasm, bytes);
    json_decref(answer);
    return status;
}

static void take_session(const dw_cli_session *session, json_t *body)
{
    json_t *limits = limits_json(&session->limits);
    json_t *env = json_object();
    for (size_t i = 0; i < session->env_count; i++) {
        (void)json_object_set_new(env, session->env_names[i], json_string(session->env_values[i]));
    }
    if (session->memory_bytes_max != 0) {
        (void)json_object_set_new(limits, "memory_bytes",
                                  json_integer((json_int_t)session->memory_bytes_max));
    }
    if (session->timeout_ms != 0) {
        (void)json_object_set_new(limits, "timeout_ms",
                                  json_integer((json_int_t)session->timeout_ms));
    }
    (void)json_object_set_new(body, "env", env);
    (void)json_object_set_new(body, "limits", limits);
    (void)json_object_set_new(body, "args", json_pack("[s]", session->guest));
    (void)json_object_set_new(body, "context_tokens",
                              json_integer((json_int_t)session->context_tokens_max));
    (void)json_object_set_new(body, "kv_type", json_string(kv_type_name(session->kv_type)));
}

dw_status dw_cli_remote_spawn(dw_cli_actors *actors, const dw_cli_session *session,
                              const dw_cli_terms *terms, json_t *body,
                              char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    char path[512] = "/v1/actors?tenant=";
    json_t *answer = NULL;
    size_t length = strlen(path);
    dw_cli_escape(terms->tenant != NULL ? terms->tenant : "", path + length, sizeof path - length);
    take_session(session, body);
    (void)json_object_set_new(body, "priority", json_string(priority_name(terms->priority)));
    if (terms->durability != DW_DURABLE_DEFAULT) {
        (void)json_object_set_new(body, "durability", durability_json(terms));
    }
    if (terms->chooses_folders) {
        json_t *names = json_array();
        for (size_t i = 0; i < terms->folder_count; i++) {
            (void)json_array_append_new(names, json_string(terms->folders[i]));
        }
        (void)json_object_set_new(body, "folders", names);
    }
    dw_status status = dw_cli_remote_call(actors->remote, "POST", path, body, &answer, err);
    const char *made = json_string_value(json_object_get(answer, "id"));
    (void)snprintf(id, DW_ACTOR_ID_CHARS + 1, "%s", made != NULL ? made : "");
    json_decref(answer);
    return status;
}

/* ---- snapshots ------------------------------------------------------------------------------ */

typedef struct download {
    int fd;
    dw_error error; /* why it could not be kept */
} download;

static ptrdiff_t to_file(void *user, const unsigned char *bytes, size_t count)
{
    download *to = user;
    return dw_cli_write(to->fd, bytes, count, &to->error) == DW_OK ? (ptrdiff_t)count : -1;
}

dw_status dw_cli_remote_export(dw_cli_actors *actors, const char *id, int fd, dw_error *err)
{
    char path[128];
    download to = {.fd = fd, .error = {.code = DW_OK}};
    (void)snprintf(path, sizeof path, "/v1/actors/%s/export", id);
    const dw_cli_asked what = {
        .method = "GET", .path = path, .fd = -1, .on_piece = to_file, .user = &to};
    dw_status status = dw_cli_remote_ask(actors->remote, &what, NULL, err);
    if (to.error.code != DW_OK && err != NULL) {
        *err = to.error;
    }
    return status;
}

/* A module that the file names by its hash. */
typedef struct wanted {
    dw_cli_actors *actors;
    const char *tenant;
    bool found;
} wanted;

static dw_status upload_file(const wanted *what, const char *path, const char *sha256,
                             char own[DW_CLI_SHA256_TEXT], bool *is_it, dw_error *err)
{
    char *wasm = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_read_file(path, MODULE_BYTES_MAX, &wasm, &bytes, err);
    if (status == DW_OK) {
        dw_cli_sha256_text(own, wasm, bytes);
        *is_it = strcmp(own, sha256) == 0;
        if (*is_it) {
            status = dw_cli_remote_upload(what->actors, what->tenant, wasm, bytes, own, err);
        }
    }
    free(wasm);
    return status;
}

static bool is_the_guest(void *user, const char *path, const char *sha256)
{
    wanted *what = user;
    char own[DW_CLI_SHA256_TEXT];
    return upload_file(what, path, sha256, own, &what->found, NULL) == DW_OK && what->found;
}

/* What the snapshot does not hold of its module, the server gets from here, if it is here. */
static dw_status send_module(dw_cli_actors *actors, const dw_cli_import *what, const char *path,
                             dw_error *err)
{
    dw_snapshot_file *file = NULL;
    dw_snapshot_tensor_info tensor = {.struct_bytes = sizeof tensor};
    wanted wants = {.actors = actors, .tenant = what->terms->tenant};
    char own[DW_CLI_SHA256_TEXT] = "";
    dw_status status = dw_snapshot_file_open(&file, path, 0, err);
    if (status != DW_OK) {
        return status;
    }
    const char *hash = dw_snapshot_file_meta(file, "module");
    bool inside = dw_snapshot_file_get_tensor_info(file, "module", &tensor, NULL) == DW_OK;
    if (!inside && hash != NULL && what->module != NULL) {
        status = upload_file(&wants, what->module, hash, own, &wants.found, err);
        if (status == DW_OK && !wants.found) {
            status = dw_fail(err, DW_E_NOT_FOUND, "--module %.60s is %s, not the module %s",
                             what->module, own, hash);
        }
    } else if (!inside && hash != NULL) {
        (void)dw_cli_search_guests(is_the_guest, &wants, hash);
    }
    dw_snapshot_file_close(file);
    return status;
}

static void add_value(char *path, size_t capacity, const char *name, const char *value)
{
    size_t length = strlen(path);
    (void)snprintf(path + length, capacity - length, "&%s=", name);
    length = strlen(path);
    dw_cli_escape(value, path + length, capacity - length);
}

dw_status dw_cli_remote_import(dw_cli_actors *actors, const dw_cli_import *what, const char *path,
                               char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    char where[DW_CLI_PATH_MAX] = "/v1/actors/import?tenant=";
    const dw_cli_terms *terms = what->terms;
    json_t *answer = NULL;
    json_t *durability = durability_json(terms);
    char *limits = NULL;
    size_t length = strlen(where);
    dw_cli_escape(terms->tenant != NULL ? terms->tenant : "", where + length,
                  sizeof where - length);
    add_value(where, sizeof where, "priority", priority_name(terms->priority));
    if (what->kv_type != NULL) {
        add_value(where, sizeof where, "kv_type", kv_type_name(*what->kv_type));
    }
    if (durability != NULL) {
        char *text = json_dumps(durability, JSON_ENCODE_ANY);
        add_value(where, sizeof where, "durability", text != NULL ? text : "");
        free(text);
    }
    json_t *given = what->limits != NULL ? limits_json(what->limits) : NULL;
    if (given != NULL && json_object_size(given) > 0 &&
        (limits = json_dumps(given, JSON_COMPACT)) != NULL) {
        add_value(where, sizeof where, "limits", limits);
    }
    dw_status status = send_module(actors, what, path, err);
    int fd = status == DW_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (status == DW_OK && fd < 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "%.150s cannot be opened", path);
    }
    if (status == DW_OK) {
        const dw_cli_asked asked = {.method = "POST", .path = where, .fd = fd};
        status = dw_cli_remote_ask(actors->remote, &asked, &answer, err);
    }
    const char *made = json_string_value(json_object_get(answer, "id"));
    (void)snprintf(id, DW_ACTOR_ID_CHARS + 1, "%s", made != NULL ? made : "");
    dw_cli_close(fd);
    free(limits);
    json_decref(given);
    json_decref(durability);
    json_decref(answer);
    return status;
}
