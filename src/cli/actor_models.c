/* Which model an actor is to have: one that --model named, or one of the cache with its
 * fingerprint. Its adapters come from where their files were when it was written, unless --lora
 * says another place; whether they are these is seen by their fingerprints. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/actor_state.h"

/* Of a fingerprint, in messages: enough to tell which. */
#define SHORT_FINGERPRINT 22

/* Before one is loaded. */
static dw_status check_room(const dw_cli_actors *actors, dw_error *err)
{
    return actors->model_count < DW_CLI_MODELS_MAX
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "more than %d models at a time", DW_CLI_MODELS_MAX);
}

/* `model` is taken, whatever becomes of it; there is room. */
static dw_status keep(dw_cli_actors *actors, const char *path, dw_model *model, dw_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        dw_model_unref(model);
        return dw_fail(err, DW_E_MEMORY, "no memory for a path");
    }
    actors->model_paths[actors->model_count] = copy;
    actors->models[actors->model_count++] = model;
    return DW_OK;
}

dw_status dw_cli_actors_load(dw_cli_actors *actors, const char *path, size_t index,
                             dw_model **model, dw_error *err)
{
    dw_status status = check_room(actors, err);
    if (status == DW_OK) {
        status = dw_cli_open_actors_model(model, actors->engine, path, err);
    }
    if (status == DW_OK) {
        status = keep(actors, path, *model, err);
    }
    return status == DW_OK ? dw_cli_loras_add(&actors->session->loras, index, *model, err) : status;
}

static dw_status matches(const char *path, const char *fingerprint, bool *same, dw_error *err)
{
    const dw_fingerprint_options options = {.struct_bytes = sizeof options,
                                            .folder = dw_cli_fingerprint_folder(),
                                            .on_progress = dw_cli_on_fingerprint};
    dw_gguf *gguf = NULL;
    *same = false;
    dw_status status = dw_gguf_open(&gguf, path, err);
    if (status == DW_OK) {
        status = dw_gguf_matches(gguf, &options, fingerprint, same, err);
    }
    dw_gguf_close(gguf);
    return status;
}

bool dw_cli_find_fingerprint(const char *fingerprint, char *path, size_t capacity)
{
    char folder[DW_CLI_PATH_MAX];
    DIR *list = dw_cli_model_folder(folder, sizeof folder, NULL) == DW_OK ? opendir(folder) : NULL;
    bool found = false;
    for (struct dirent *entry = NULL; list != NULL && !found && (entry = readdir(list)) != NULL;) {
        const char *end = strstr(entry->d_name, ".gguf");
        if (end == NULL || end[5] != '\0' ||
            (size_t)snprintf(path, capacity, "%s/%s", folder, entry->d_name) >= capacity) {
            continue;
        }
        found = matches(path, fingerprint, &found, NULL) == DW_OK && found;
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return found;
}

const char *dw_cli_own_name(const char *path, char name[DW_CLI_OWN_NAME_MAX])
{
    dw_gguf *gguf = NULL;
    dw_gguf_string text = {NULL, 0};
    name[0] = '\0';
    if (dw_gguf_open(&gguf, path, NULL) == DW_OK &&
        dw_gguf_text(gguf, "general.name", &text, NULL) == DW_OK &&
        text.bytes < DW_CLI_OWN_NAME_MAX) {
        (void)snprintf(name, DW_CLI_OWN_NAME_MAX, "%.*s", (int)text.bytes, text.text);
    }
    dw_gguf_close(gguf);
    return name[0] != '\0' ? name : NULL;
}

/* Whether the actor's tenant is granted the file's model, before it is loaded for him. */
static dw_status check_grant(const char *path, const dw_model_wanted *wanted, dw_error *err)
{
    char name[DW_CLI_OWN_NAME_MAX];
    const char *own = wanted->may_have != NULL ? dw_cli_own_name(path, name) : NULL;
    return own == NULL || wanted->may_have(wanted, own, NULL)
               ? DW_OK
               : dw_fail(err, DW_E_DENIED, "tenant '%.63s' may not have model '%.100s'",
                         wanted->tenant != NULL ? wanted->tenant : "", own);
}

/* What --model named, once there is a need; the default, where adapters stand alone. None is loaded
 * where the one that is wanted is among them, and not granted. */
static dw_status open_named(dw_cli_actors *actors, const dw_model_wanted *wanted, dw_error *err)
{
    const dw_cli_session *session = actors->session;
    const char *fingerprint =
        wanted->base_fingerprint != NULL ? wanted->base_fingerprint : wanted->fingerprint;
    char paths[DW_CLI_MODELS_MAX][DW_CLI_PATH_MAX];
    dw_model *model = NULL;
    bool same = false;
    dw_status status = DW_OK;
    size_t count = session->model_count;
    count = count == 0 && session->loras.count > 0 ? 1 : count;
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_cli_find_model(paths[i], sizeof paths[i], session->models[i].from, err);
        if (status == DW_OK && matches(paths[i], fingerprint, &same, NULL) == DW_OK && same) {
            status = check_grant(paths[i], wanted, err);
        }
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_cli_actors_load(actors, paths[i], i, &model, err);
    }
    return status;
}

/* ---- with adapters ------------------------------------------------------------------------ */

/* The adapter of the model with that fingerprint; false: it has none such. */
static bool find_adapter(const dw_model *model, const char *fingerprint, dw_adapter_info *info)
{
    const size_t count = model != NULL ? dw_model_adapter_count(model) : 0;
    for (size_t i = 0; i < count; i++) {
        *info = (dw_adapter_info){.struct_bytes = sizeof *info};
        if (dw_model_get_adapter(model, i, info, NULL) == DW_OK &&
            strcmp(info->fingerprint, fingerprint) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether what --lora gave, the adapters of `given`, is what is wanted: as far as it goes. */
static dw_status check_given(const dw_model *given, const dw_model_wanted *wanted, dw_error *err)
{
    for (size_t i = 0; i < dw_model_adapter_count(given); i++) {
        dw_adapter_info info = {.struct_bytes = sizeof info};
        const dw_adapter_wanted *one = NULL;
        dw_status status = dw_model_get_adapter(given, i, &info, err);
        if (status != DW_OK) {
            return status;
        }
        for (size_t k = 0; k < wanted->adapter_count; k++) {
            const bool same = strcmp(wanted->adapters[k].fingerprint, info.fingerprint) == 0;
            one = same ? &wanted->adapters[k] : one;
        }
        if (one == NULL && info.scale != 0.0F) {
            return dw_fail(err, DW_E_NOT_FOUND,
                           "--lora '%.40s' is another file (%.*s) than that of '%.40s' (%.*s)",
                           info.name, SHORT_FINGERPRINT, info.fingerprint, wanted->adapters[0].name,
                           SHORT_FINGERPRINT, wanted->adapters[0].fingerprint);
        }
        if (one != NULL && one->scale != info.scale) {
            return dw_fail(err, DW_E_NOT_FOUND,
                           "--lora '%.60s' has scale %g, the actor's '%.60s' has %g", info.name,
                           (double)info.scale, one->name, (double)one->scale);
        }
    }
    return DW_OK;
}

/* Where the adapter's file is: where it was, unless `given` has it from elsewhere. A snapshot may
 * name any path: nothing but a regular file with the right fingerprint is taken. */
static dw_status place_of(const dw_model *given, const dw_adapter_wanted *adapter,
                          const char **path, dw_error *err)
{
    struct stat about;
    dw_adapter_info info;
    bool same = false;
    if (find_adapter(given, adapter->fingerprint, &info)) {
        *path = info.path;
        return DW_OK;
    }
    *path = adapter->path;
    if (*path == NULL || stat(*path, &about) != 0 || !S_ISREG(about.st_mode)) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "the file of '%.40s' (%.*s) is not at %.100s: give it by --lora",
                       adapter->name, SHORT_FINGERPRINT, adapter->fingerprint,
                       *path != NULL ? *path : "any known place");
    }
    if (matches(*path, adapter->fingerprint, &same, NULL) != DW_OK || !same) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "%.100s is another file now than that of '%.40s' (%.*s): give it by --lora",
                       *path, adapter->name, SHORT_FINGERPRINT, adapter->fingerprint);
    }
    return DW_OK;
}

/* Whether the adapter's file is anywhere. */
static bool is_at_hand(const dw_cli_actors *actors, const dw_adapter_wanted *adapter)
{
    const char *path = NULL;
    bool found = place_of(NULL, adapter, &path, NULL) == DW_OK;
    for (size_t i = 0; i < actors->model_count && !found; i++) {
        found = place_of(actors->models[i], adapter, &path, NULL) == DW_OK;
    }
    return found;
}

/* One that only those have who choose it may be missing where it could not be added. */
static bool has_all(const dw_cli_actors *actors, const dw_model *model,
                    const dw_model_wanted *wanted)
{
    dw_adapter_info info;
    for (size_t i = 0; i < wanted->adapter_count; i++) {
        const dw_adapter_wanted *one = &wanted->adapters[i];
        if (!find_adapter(model, one->fingerprint, &info) &&
            (one->scale != 0.0F || is_at_hand(actors, one))) {
            return false;
        }
    }
    return true;
}

/* All of them in their order, by which guests know them; one that only those have who choose it may
 * be missing, until somebody has. */
static dw_status add_adapters(dw_model *model, const dw_model *given, const dw_model_wanted *wanted,
                              dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < wanted->adapter_count && status == DW_OK; i++) {
        const dw_adapter_wanted *one = &wanted->adapters[i];
        dw_adapter_options options = {.struct_bytes = sizeof options,
                                      .name = one->name,
                                      .scale = one->scale,
                                      .fingerprint_folder = dw_cli_fingerprint_folder()};
        status = place_of(given, one, &options.path, err);
        if (status == DW_OK) {
            status = dw_model_add_adapter(model, &options, err);
        } else if (status == DW_E_NOT_FOUND && one->scale == 0.0F) {
            dw_cli_note("%s", err->message);
            status = DW_OK;
        }
    }
    return status;
}

static dw_status not_found(const dw_model_wanted *wanted, const char *fingerprint, dw_error *err)
{
    return dw_fail(err, DW_E_NOT_FOUND,
                   "the actor's model '%.80s' (%.60s) is neither in the cache nor given by --model",
                   wanted->name, fingerprint);
}

/* The file of the model without adapters: of one that is open, which is `*given` then, or of the
 * cache. */
static dw_status find_base(const dw_cli_actors *actors, const dw_model_wanted *wanted, char *path,
                           dw_model **given, dw_error *err)
{
    for (size_t i = 0; i < actors->model_count; i++) {
        bool same = false;
        dw_status status = matches(actors->model_paths[i], wanted->base_fingerprint, &same, err);
        if (status != DW_OK) {
            return status;
        }
        if (same) {
            (void)snprintf(path, DW_CLI_PATH_MAX, "%s", actors->model_paths[i]);
            *given = actors->models[i];
            return DW_OK;
        }
    }
    return dw_cli_find_fingerprint(wanted->base_fingerprint, path, DW_CLI_PATH_MAX)
               ? DW_OK
               : not_found(wanted, wanted->base_fingerprint, err);
}

/* One of the actor's own: that file with the adapters. */
static dw_status load_adapted(dw_cli_actors *actors, const dw_model_wanted *wanted,
                              dw_model **model, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_model *given = NULL;
    dw_model *made = NULL;
    bool same = false;
    dw_status status = check_room(actors, err);
    if (status == DW_OK) {
        status = find_base(actors, wanted, path, &given, err);
    }
    if (status == DW_OK) {
        status = check_grant(path, wanted, err);
    }
    if (status == DW_OK && given != NULL) {
        status = check_given(given, wanted, err);
    }
    if (status == DW_OK) {
        status = dw_cli_open_actors_model(&made, actors->engine, path, err);
    }
    if (status == DW_OK) {
        status = add_adapters(made, given, wanted, err);
    }
    if (status == DW_OK) {
        status = dw_model_matches(made, wanted->fingerprint, &same, err);
    }
    if (status == DW_OK && !same) {
        status = not_found(wanted, wanted->fingerprint, err);
    }
    if (status != DW_OK) {
        dw_model_unref(made);
        return status;
    }
    *model = made;
    return keep(actors, path, made, err);
}

/* ---- the search --------------------------------------------------------------------------- */

static dw_status search(dw_cli_actors *actors, const dw_model_wanted *wanted, dw_model **model,
                        dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_status status = DW_OK;
    if (actors->model_count == 0) {
        status = open_named(actors, wanted, err);
    }
    for (size_t i = 0; i < actors->model_count && status == DW_OK; i++) {
        bool same = false;
        status = dw_model_matches(actors->models[i], wanted->fingerprint, &same, err);
        if (status == DW_OK && same && has_all(actors, actors->models[i], wanted)) {
            *model = actors->models[i];
            return DW_OK;
        }
    }
    if (status == DW_OK && wanted->adapter_count > 0 && wanted->base_fingerprint != NULL) {
        return load_adapted(actors, wanted, model, err);
    }
    if (status == DW_OK && dw_cli_find_fingerprint(wanted->fingerprint, path, sizeof path)) {
        status = check_grant(path, wanted, err);
        return status == DW_OK ? dw_cli_actors_load(actors, path, DW_CLI_MODELS_MAX, model, err)
                               : status;
    }
    return status == DW_OK ? not_found(wanted, wanted->fingerprint, err) : status;
}

dw_status dw_cli_actors_model(void *user, const dw_model_wanted *wanted, dw_model **model,
                              dw_error *err)
{
    dw_cli_actors *actors = user;
    (void)pthread_mutex_lock(&actors->lock);
    dw_status status = search(actors, wanted, model, err);
    if (status == DW_OK) {
        (void)dw_model_ref(*model);
    }
    (void)pthread_mutex_unlock(&actors->lock);
    return status;
}
