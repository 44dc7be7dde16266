#include "cli/link.h"
#include "cli/remote.h"
#include "cli/tools.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_PIECE ((size_t)1 << 20)
#define MODULE_BYTES_MAX ((size_t)256 << 20)

/* ---- guests ------------------------------------------------------------------------------ */

static dw_status open_guest(dw_cli_actors *actors, const char *name, dw_module **module,
                            dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    for (size_t i = 0; i < actors->module_count; i++) {
        if (strcmp(actors->module_names[i], name) == 0) {
            *module = actors->modules[i];
            return DW_OK;
        }
    }
    if (actors->module_count == DW_CLI_MODELS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "more than %d guests at a time", DW_CLI_MODELS_MAX);
    }
    dw_status status = dw_cli_find_guest(path, sizeof path, name, err);
    if (status == DW_OK) {
        status = dw_module_open(module, actors->engine, path, err);
    }
    char *copy = status == DW_OK ? strdup(name) : NULL;
    if (status == DW_OK && copy == NULL) {
        dw_module_unref(*module);
        status = dw_fail(err, DW_E_MEMORY, "no memory for a name");
    }
    if (status == DW_OK) {
        actors->module_names[actors->module_count] = copy;
        actors->modules[actors->module_count++] = *module;
    }
    return status;
}

/* For actors that spawn others: guests that came along, no files. */
static dw_status find_guest(void *user, const char *name, dw_module **module, dw_error *err)
{
    if (strchr(name, '/') != NULL) {
        return dw_fail(err, DW_E_DENIED, "guest '%.80s': actors spawn guests by bare names", name);
    }
    dw_cli_actors *actors = user;
    (void)pthread_mutex_lock(&actors->lock);
    dw_status status = open_guest(actors, name, module, err);
    (void)pthread_mutex_unlock(&actors->lock);
    return status;
}

static void tell_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)fprintf(stderr, "driftwood: actor %s: %s\n", id, problem->message);
}

static ptrdiff_t on_stderr(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    return fwrite(bytes, 1, count, stderr) == count ? (ptrdiff_t)count : -1;
}

/* ---- opening ---------------------------------------------------------------------------- */

dw_status dw_cli_state_folder(const char *state, char **path, dw_error *err)
{
    char text[DW_CLI_PATH_MAX];
    const char *home = getenv("HOME");
    const char *given = getenv("XDG_STATE_HOME");
    int length;
    if (state != NULL) {
        length = snprintf(text, sizeof text, "%s", state);
    } else if (given != NULL && given[0] == '/') {
        length = snprintf(text, sizeof text, "%s/driftwood", given);
    } else if (home != NULL && home[0] != '\0') {
        length = snprintf(text, sizeof text, "%s/.local/state/driftwood", home);
    } else {
        return dw_fail(err, DW_E_NOT_FOUND, "no state folder: give --state, or set HOME");
    }
    if (length < 0 || (size_t)length >= sizeof text) {
        return dw_fail(err, DW_E_LIMIT, "the state folder's path is too long");
    }
    *path = strdup(text);
    return *path != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a path");
}

/* Another works there: if it serves, it does what is wanted. What only a runtime of this process's
 * own could do has no effect then, and is told. `err` holds who it is. */
static dw_status find_server(dw_cli_actors *actors, const dw_cli_opening *how, dw_error *err)
{
    dw_cli_remote *remote = dw_cli_alloc(1, sizeof *remote);
    if (remote == NULL || !dw_cli_remote_find(remote, actors->path)) {
        free(remote);
        return DW_E_BUSY;
    }
    if (how->terms->dir_count > 0) {
        free(remote);
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "--dir: a server works in the state folder, and its manifest says what "
                       "actors are granted");
    }
    actors->remote = remote;
    err->code = DW_OK;
    if (how->terms->manifest != NULL || how->accept_older || how->seeing->log != NULL ||
        how->seeing->trace != NULL || how->seeing->control) {
        dw_cli_note("--manifest, --force, --log, --trace, --control: no effect, a server works in "
                    "the state folder");
    }
    return DW_OK;
}

/* A command that only reads looks at a folder that cannot be written. */
static dw_status open_runtime(dw_cli_actors *actors, const dw_cli_opening *how, dw_error *err)
{
    char *manifest = NULL;
    dw_runtime_options options = {.struct_bytes = sizeof options,
                                  .path = actors->path,
                                  .find_granted = dw_cli_actors_model,
                                  .find_guest = find_guest,
                                  .on_problem = tell_problem,
                                  .on_stderr = on_stderr,
                                  .on_call = dw_cli_tools(),
                                  .user = actors,
                                  .accept_older = how->accept_older,
                                  .limits = &actors->limits,
                                  .prefix_path = "", /* a command has no time to find any */
                                  .works_on_request = true,
                                  .makes_tenants = how->terms->manifest == NULL,
                                  .dirs = how->terms->dirs,
                                  .dir_count = how->terms->dir_count};
    dw_status status = dw_cli_terms_read(how->terms, &manifest, &options.manifest_bytes, err);
    if (status == DW_OK) {
        status = dw_cli_seen_open(&actors->seen, how->seeing, actors->path, &options, err);
    }
    if (status == DW_OK) {
        options.manifest = manifest;
        status = dw_runtime_open(&actors->runtime, actors->engine, &options, err);
    }
    if (status == DW_E_IO && how->reads) {
        options.read_only = actors->read_only = true;
        status = dw_runtime_open(&actors->runtime, actors->engine, &options, err);
    }
    if (status == DW_E_BUSY) {
        status = find_server(actors, how, err);
    } else if (status == DW_OK) {
        status = dw_cli_seen_begin(&actors->seen, actors->runtime, err);
    }
    free(manifest);
    return status;
}

dw_status dw_cli_actors_open(dw_cli_actors *actors, const dw_cli_opening *how, dw_error *err)
{
    dw_engine_options engine = {
        .struct_bytes = sizeof engine,
        .device = how->session->device,
        .threads = how->session->threads,
        .kv_bytes_max = how->session->kv_bytes_max,
        .counts_fuel = how->session->limits.fuel != 0 && how->session->limits.fuel != DW_LIMIT_NONE,
        .limits = &how->session->limits,
    };
    *actors = (dw_cli_actors){.session = how->session,
                              .limits = how->session->limits,
                              .seen = {.log_fd = -1, .trace_fd = -1}};
    actors->limits.struct_bytes = sizeof actors->limits;
    (void)pthread_mutex_init(&actors->lock, NULL);
    dw_status status = dw_cli_state_folder(how->state, &actors->path, err);
    if (status == DW_OK) {
        status = dw_cli_session_engine(&actors->engine, how->session, &engine, err);
    }
    return status == DW_OK ? open_runtime(actors, how, err) : status;
}

void dw_cli_actors_leave(dw_cli_actors *actors)
{
    dw_runtime_close(actors->runtime);
    actors->runtime = NULL;
}

dw_status dw_cli_actors_close(dw_cli_actors *actors, dw_error *err)
{
    dw_status status = dw_cli_seen_end(&actors->seen, actors->runtime, err);
    dw_cli_actors_leave(actors);
    free(actors->remote);
    dw_cli_seen_close(&actors->seen);
    if (!dw_cli_frees()) {
        return status;
    }
    for (size_t i = 0; i < actors->module_count; i++) {
        dw_module_unref(actors->modules[i]);
        free(actors->module_names[i]);
    }
    for (size_t i = 0; i < actors->model_count; i++) {
        dw_model_unref(actors->models[i]);
        free(actors->model_paths[i]);
    }
    dw_engine_destroy(actors->engine);
    free(actors->path);
    if (actors->engine != NULL || actors->path != NULL) { /* it was opened */
        (void)pthread_mutex_destroy(&actors->lock);
    }
    return status;
}

dw_status dw_cli_actors_find(dw_cli_actors *actors, const char *start,
                             char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    char tenant[DW_TENANT_NAME_MAX + 1];
    const char *at = strrchr(start, '@');
    if (actors->remote != NULL) {
        return dw_cli_at_find(actors, start, id, err);
    }
    if (at == NULL) {
        return dw_runtime_find_id(actors->runtime, start, id, err);
    }
    size_t length = (size_t)(at - start);
    if (length > DW_TENANT_NAME_MAX) {
        return dw_fail(err, DW_E_NOT_FOUND, "no tenant '%.80s'", start);
    }
    memcpy(tenant, start, length);
    tenant[length] = '\0';
    return dw_runtime_find(actors->runtime, tenant, at + 1, id, err);
}

/* ---- files ------------------------------------------------------------------------------ */

static void take_path(void *user, const char *path)
{
    dw_cli_paths *paths = user;
    if (paths->count == paths->capacity) {
        const size_t more = paths->capacity > 0 ? 2 * paths->capacity : 64;
        char **list = realloc(paths->list, more * sizeof *list);
        paths->list = list != NULL ? list : paths->list;
        paths->capacity = list != NULL ? more : paths->capacity;
    }
    char *own = paths->count < paths->capacity ? strdup(path) : NULL;
    if (own == NULL) {
        paths->lost = true;
        return;
    }
    paths->list[paths->count++] = own;
}

dw_status dw_cli_actors_paths(dw_cli_actors *actors, const char *id, dw_cli_paths *paths,
                              dw_error *err)
{
    *paths = (dw_cli_paths){.count = 0};
    dw_status status = dw_cli_at_list_paths(actors, id, take_path, paths, err);
    return status == DW_OK && paths->lost
               ? dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots")
               : status;
}

void dw_cli_paths_release(dw_cli_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->list[i]);
    }
    free(paths->list);
    *paths = (dw_cli_paths){.count = 0};
}

/* ---- copies ------------------------------------------------------------------------------ */

/* As the server has it now, in a file of this process's: its own may change meanwhile. */
static dw_status copy_remote(dw_cli_actors *actors, const char *id, dw_actor **actor,
                             dw_thaw_options *options, dw_thaw_stats *stats, dw_error *err)
{
    char path[DW_CLI_PATH_MAX] = "";
    const char *const paths[] = {path};
    int fd = -1;
    dw_status status = dw_cli_temporary(path, sizeof path, &fd, err);
    if (status == DW_OK) {
        status = dw_cli_remote_export(actors, id, fd, err);
    }
    if (status == DW_OK) {
        options->paths = paths;
        options->path_count = 1;
        options->id = id;
        status = dw_actor_thaw(actor, actors->engine, options, stats, err);
    }
    dw_cli_remove_temporary(path, fd);
    return status;
}

dw_status dw_cli_actors_copy(dw_cli_actors *actors, const char *id, const dw_kv_type *kv_type,
                             dw_actor **actor, dw_thaw_stats *stats, dw_error *err)
{
    *actor = NULL;
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .find_wanted = dw_cli_actors_model,
                               .find_user = actors,
                               .trusted = true,
                               .to_look = true,
                               .kv_type = kv_type,
                               .on_stderr = on_stderr,
                               .user = actors,
                               .limits = &actors->limits};
    return actors->remote != NULL
               ? copy_remote(actors, id, actor, &options, stats, err)
               : dw_runtime_copy(actor, actors->runtime, id, &options, stats, err);
}

/* ---- new actors -------------------------------------------------------------------------- */

/* Models that are granted to a new actor. */
typedef struct granted_models {
    char paths[DW_CLI_MODELS_MAX][DW_CLI_PATH_MAX]; /* [count] */
    dw_model *models[DW_CLI_MODELS_MAX];            /* borrowed; NULL: the server's to open */
    size_t count;
} granted_models;

/* Those that --model named, else the default where the guest uses models. */
static dw_status find_granted(const dw_cli_session *session, const dw_module *module,
                              granted_models *granted, dw_error *err)
{
    dw_status status = DW_OK;
    granted->count = session->model_count;
    if (granted->count == 0 && dw_module_uses_models(module)) {
        granted->count = 1;
    }
    for (size_t i = 0; i < granted->count && status == DW_OK; i++) {
        status = dw_cli_find_model(granted->paths[i], sizeof granted->paths[i],
                                   session->models[i].from, err);
    }
    return status;
}

/* Once it is known that the tenant may have them, and all else that `spawn` asks for; the options
 * of the instance get them. */
static dw_status load_granted(dw_cli_actors *actors, const dw_spawn_options *spawn,
                              granted_models *granted, dw_instance_options *instance, dw_error *err)
{
    const char *names[DW_CLI_MODELS_MAX];
    char texts[DW_CLI_MODELS_MAX][DW_CLI_OWN_NAME_MAX];
    size_t known = 0;
    for (size_t i = 0; i < granted->count; i++) {
        names[known] = dw_cli_own_name(granted->paths[i], texts[i]);
        known += names[known] != NULL;
    }
    dw_status status = dw_runtime_check_spawn(actors->runtime, spawn, names, known, err);
    for (size_t i = 0; i < granted->count && status == DW_OK; i++) {
        status = dw_cli_actors_load(actors, granted->paths[i], i, &granted->models[i], err);
    }
    instance->models = granted->models;
    instance->model_count = granted->count;
    return status;
}

static bool serves(const json_t *served, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(served, "data"), i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));
        if (id != NULL && strcmp(id, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Names that the server has for its models, else files; none: the server's first, if the guest uses
 * models. */
static dw_status name_granted(dw_cli_actors *actors, const dw_cli_session *session,
                              granted_models *granted, dw_error *err)
{
    json_t *served = NULL;
    char whole[PATH_MAX];
    dw_status status = DW_OK;
    granted->count = session->model_count;
    if (session->loras.count > 0) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "--lora: a server works in the state folder, and has adapters of its own");
    }
    if (granted->count > 0) {
        status = dw_cli_remote_call(actors->remote, "GET", "/v1/models", NULL, &served, err);
    }
    for (size_t i = 0; i < granted->count && status == DW_OK; i++) {
        const char *from = session->models[i].from;
        char *path = granted->paths[i];
        if (from != NULL && strlen(from) < DW_CLI_PATH_MAX && serves(served, from)) {
            (void)snprintf(path, DW_CLI_PATH_MAX, "%s", from);
            continue;
        }
        status = dw_cli_find_model(path, DW_CLI_PATH_MAX, from, err);
        if (status == DW_OK && realpath(path, whole) != NULL) {
            (void)snprintf(path, DW_CLI_PATH_MAX, "%s", whole);
        }
        json_t *text = json_string(path);
        if (status == DW_OK && text == NULL) {
            status =
                dw_fail(err, DW_E_ARG, "--model: '%.200s': a server is told paths in UTF-8", path);
        }
        json_decref(text);
    }
    json_decref(served);
    return status;
}

/* Models and template as the server reads them: paths and names, and a text; NULL: none. */
static json_t *body_of(const dw_cli_session *session, const granted_models *granted,
                       const char *chat_template)
{
    json_t *body = json_object();
    json_t *models = json_array();
    json_t *names = json_array();
    for (size_t i = 0; i < granted->count; i++) {
        (void)json_array_append_new(models, json_string(granted->paths[i]));
        (void)json_array_append_new(names, json_string(session->models[i].name));
    }
    if (granted->count > 0) {
        (void)json_object_set(body, "models", models);
        (void)json_object_set(body, "model_names", names);
    }
    json_decref(models);
    json_decref(names);
    if (chat_template != NULL) {
        (void)json_object_set_new(body, "chat_template", json_string(chat_template));
    }
    return body;
}

/* At a server, which gets the guest; `body` is released. */
static dw_status spawn_there(dw_cli_actors *actors, const dw_cli_session *session,
                             const dw_cli_terms *terms, json_t *body,
                             char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    char sha256[DW_CLI_SHA256_TEXT];
    char *wasm = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_find_guest(path, sizeof path, session->guest, err);
    if (status == DW_OK) {
        status = dw_cli_read_file(path, MODULE_BYTES_MAX, &wasm, &bytes, err);
    }
    if (status == DW_OK) {
        status = dw_cli_remote_upload(actors, terms->tenant, wasm, bytes, sha256, err);
    }
    free(wasm);
    if (status != DW_OK) {
        json_decref(body);
        return status;
    }
    (void)json_object_set_new(body, "module", json_string(sha256));
    return dw_cli_remote_spawn(actors, session, terms, body, id, err);
}

dw_status dw_cli_actors_spawn(dw_cli_actors *actors, dw_cli_session *session,
                              const dw_cli_terms *terms, char id[DW_ACTOR_ID_CHARS + 1],
                              dw_error *err)
{
    dw_module *module = NULL;
    granted_models granted = {.count = 0};
    const char *names[DW_CLI_MODELS_MAX] = {NULL};
    char path[DW_CLI_PATH_MAX];
    const char *args[] = {session->guest};
    char *source = NULL;
    dw_status status = open_guest(actors, session->guest, &module, err);
    if (status == DW_OK && dw_cli_find_guest(path, sizeof path, session->guest, NULL) == DW_OK) {
        dw_cli_session_tell_idle(session, module, path);
    }
    if (status == DW_OK) {
        status = actors->remote != NULL ? name_granted(actors, session, &granted, err)
                                        : find_granted(session, module, &granted, err);
    }
    dw_cli_session_model_names(session, names);
    if (status == DW_OK) {
        status = dw_cli_read_template(session->chat_template, &source, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (actors->remote != NULL) {
        const char *given = source != NULL ? source : session->chat_template;
        json_t *body = body_of(session, &granted, given);
        free(source);
        return spawn_there(actors, session, terms, body, id, err);
    }
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .model_names = names,
                                    .args = args,
                                    .arg_count = 1,
                                    .env_names = session->env_names,
                                    .env_values = session->env_values,
                                    .env_count = session->env_count,
                                    .memory_bytes_max = session->memory_bytes_max,
                                    .context_tokens_max = session->context_tokens_max,
                                    .kv_type = session->kv_type,
                                    .timeout_ms = session->timeout_ms,
                                    .chat_template =
                                        source != NULL ? source : session->chat_template,
                                    .limits = &session->limits,
                                    .on_call = dw_cli_tools()};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    dw_spawn_options spawn;
    status = dw_cli_terms_spawn(terms, actors->runtime, &spawn, err);
    spawn.actor = &options;
    if (status == DW_OK) {
        status = load_granted(actors, &spawn, &granted, &instance, err);
    }
    if (status == DW_OK) {
        status = dw_runtime_spawn(actors->runtime, module, &spawn, id, err);
    }
    free(source);
    return status;
}

dw_status dw_cli_spool(FILE *stream, char *path, size_t capacity, int *fd, dw_error *err)
{
    size_t got = 0;
    dw_status status = dw_cli_temporary(path, capacity, fd, err);
    unsigned char *piece = dw_cli_alloc(IMPORT_PIECE, 1);
    if (status == DW_OK && piece == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory to read a stream");
    }
    while (status == DW_OK && (got = fread(piece, 1, IMPORT_PIECE, stream)) > 0) {
        status = dw_cli_write(*fd, piece, got, err);
    }
    if (status == DW_OK && ferror(stream)) {
        status = dw_fail(err, DW_E_IO, "a stream cannot be read: %s", strerror(errno));
    }
    free(piece);
    return status;
}

/* Messages name the file that was given, not what stands for it. */
static dw_status name_given(dw_error *err, dw_status status, const char *own, const char *given)
{
    size_t length = strlen(own);
    if (length > 0 && strncmp(err->message, own, length) == 0) {
        dw_error was = *err;
        return dw_fail(err, status, "%.100s%s", given, was.message + length);
    }
    return status;
}

/* What an import looks for modules with. */
typedef struct module_search {
    dw_cli_actors *actors;
    const char *given; /* --module */
    dw_module *module; /* counted; NULL: the store's, or none was needed */
} module_search;

/* The file as a module, if it has that hash; else `*module` stays NULL. */
static dw_status try_module(const dw_cli_actors *actors, const char *path, const char *sha256,
                            char own[DW_CLI_SHA256_TEXT], dw_module **module, dw_error *err)
{
    char *wasm = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_read_file(path, MODULE_BYTES_MAX, &wasm, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_cli_sha256_text(own, wasm, bytes);
    if (strcmp(own, sha256) == 0) {
        status = dw_module_create(module, actors->engine, wasm, bytes, err);
    }
    free(wasm);
    return status;
}

static bool is_the_guest(void *user, const char *path, const char *sha256)
{
    module_search *search = user;
    char own[DW_CLI_SHA256_TEXT];
    return try_module(search->actors, path, sha256, own, &search->module, NULL) == DW_OK &&
           search->module != NULL;
}

/* Of a file that names its module by its hash. */
static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    module_search *search = user;
    char own[DW_CLI_SHA256_TEXT];
    if (search->given != NULL) {
        dw_status status =
            try_module(search->actors, search->given, sha256, own, &search->module, err);
        if (status == DW_OK && search->module == NULL) {
            return dw_fail(err, DW_E_NOT_FOUND, "--module %.60s is %s, not the module %s",
                           search->given, own, sha256);
        }
        *module = search->module;
        return status;
    }
    dw_status status = dw_runtime_find_module(search->actors->runtime, sha256, module, err);
    if (status != DW_E_NOT_FOUND) {
        return status;
    }
    if (dw_cli_search_guests(is_the_guest, search, sha256)) {
        *module = search->module;
        return DW_OK;
    }
    return dw_fail(err, DW_E_NOT_FOUND,
                   "its module %s is named by hash only, and neither in the state folder nor a "
                   "guest that came along: give --module FILE",
                   sha256);
}

static dw_status find_model_to_import(void *user, const dw_model_wanted *wanted, dw_model **model,
                                      dw_error *err)
{
    return dw_cli_actors_model(((module_search *)user)->actors, wanted, model, err);
}

static dw_status import_file(module_search *search, const char *path, const dw_cli_import *what,
                             char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    dw_spawn_options spawn;
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &path,
                               .path_count = 1,
                               .find_wanted = find_model_to_import,
                               .find_module = find_module,
                               .find_user = search,
                               .kv_type = what->kv_type,
                               .limits = what->limits};
    if (search->actors->remote != NULL) {
        return dw_cli_remote_import(search->actors, what, path, id, err);
    }
    dw_runtime *runtime = search->actors->runtime;
    dw_status status = dw_cli_terms_spawn(what->terms, runtime, &spawn, err);
    return status == DW_OK ? dw_runtime_import(runtime, &options, &spawn, id, err) : status;
}

dw_status dw_cli_actors_import(dw_cli_actors *actors, const dw_cli_import *what,
                               char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    module_search search = {.actors = actors, .given = what->module};
    char own[DW_CLI_PATH_MAX] = "";
    int fd = -1;
    dw_status status = DW_OK;
    if (dw_cli_is_compressed(what->path)) {
        status = dw_cli_unpack(what->path, own, sizeof own, &fd, err);
    }
    if (status == DW_OK) {
        const char *opened = own[0] != '\0' ? own : what->path;
        status = import_file(&search, opened, what, id, err);
        if (status != DW_OK) {
            status = name_given(err, status, opened, what->given);
        }
    } else {
        status = name_given(err, status, what->path, what->given);
    }
    dw_module_unref(search.module);
    dw_cli_remove_temporary(own, fd);
    return status;
}
