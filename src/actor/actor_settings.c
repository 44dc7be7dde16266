#include "actor/actor_settings.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/public_struct.h"
#include "model/model.h"

static void free_texts(const char *const *texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++) {
        dw_free((void *)(uintptr_t)texts[i]);
    }
    dw_free((void *)(uintptr_t)texts);
}

static bool copy_texts(const char *const **out, const char *const *texts, size_t count)
{
    *out = NULL;
    if (count == 0) {
        return true;
    }
    const char **copies = dw_alloc(count, sizeof *copies);
    bool good = copies != NULL;
    for (size_t i = 0; i < count && good; i++) {
        copies[i] = dw_strdup(texts[i] != NULL ? texts[i] : "");
        good = copies[i] != NULL;
    }
    *out = copies; /* freed by the caller, as far as it got */
    return good;
}

static bool copy_models(dw_actor_settings *settings, const dw_instance_options *from)
{
    dw_instance_options *to = &settings->instance;
    dw_model **models = dw_alloc(from->model_count + 1, sizeof *models);
    if (models == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->model_count; i++) {
        models[i] = dw_model_ref(from->models[i]);
        dw_model_begin_fingerprint(models[i]); /* the first freeze needs it */
    }
    to->models = models;
    to->model_count = from->model_count;
    return true;
}

static bool copy(dw_actor_settings *settings, const dw_instance_options *from)
{
    dw_instance_options *to = &settings->instance;
    *to = *from;
    to->models = NULL;
    to->chat_template = NULL;
    to->args = to->env_names = to->env_values = to->model_names = NULL;
    to->dirs = NULL;
    to->model_count = to->arg_count = to->env_count = to->dir_count = 0;
    if (!copy_models(settings, from)) {
        return false;
    }
    if (from->chat_template != NULL &&
        (to->chat_template = dw_strdup(from->chat_template)) == NULL) {
        return false;
    }
    to->arg_count = from->arg_count;
    to->env_count = from->env_count;
    return (from->model_names == NULL ||
            copy_texts(&to->model_names, from->model_names, from->model_count)) &&
           copy_texts(&to->args, from->args, from->arg_count) &&
           copy_texts(&to->env_names, from->env_names, from->env_count) &&
           copy_texts(&to->env_values, from->env_values, from->env_count);
}

/* The options' own members count where they are set, else the limits, which are the defaults where
 * these are not. */
static void take_limits(dw_actor_settings *settings, dw_actor_options *own)
{
    if (settings->instance.cpu_timeout_ms != 0) { /* snapshots have it among the limits */
        settings->limits.cpu_timeout_ms = settings->instance.cpu_timeout_ms;
    }
    dw_limits limits = settings->limits;
    dw_limits_fill(&limits, &dw_limits_usual);
    settings->instance.limits = &settings->limits;
    uint64_t whole_ms =
        settings->instance.timeout_ms != 0 ? settings->instance.timeout_ms : limits.timeout_ms;
    uint64_t message_ms = limits.message_timeout_ms;
    message_ms = whole_ms < message_ms ? whole_ms : message_ms;
    settings->message_timeout_ms = message_ms != DW_LIMIT_NONE ? message_ms : 0;
    own->instance = &settings->instance;
    own->message_count_max =
        own->message_count_max != 0 ? own->message_count_max : (uint32_t)limits.messages;
    own->message_bytes_max =
        own->message_bytes_max != 0 ? own->message_bytes_max : (size_t)limits.message_bytes;
    settings->options = *own;
}

/* Members bound the same as limits do, and may be what these may be. */
static dw_status check_numbers(const dw_actor_options *own, const dw_instance_options *instance,
                               dw_error *err)
{
    const struct {
        const char *member;
        const char *limit;
        uint64_t value;
    } members[] = {
        {"memory_bytes_max", "memory_bytes", instance->memory_bytes_max},
        {"context_tokens_max", "context_tokens", instance->context_tokens_max},
        {"context_count_max", "contexts", instance->context_count_max},
        {"timeout_ms", "timeout_ms", instance->timeout_ms},
        {"cpu_timeout_ms", "cpu_timeout_ms", instance->cpu_timeout_ms},
        {"message_count_max", "messages", own->message_count_max},
        {"message_bytes_max", "message_bytes", own->message_bytes_max},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        dw_status status = members[i].value != 0 ? dw_limit_check(dw_limit_find(members[i].limit),
                                                                  members[i].value, err)
                                                 : DW_OK;
        if (status != DW_OK) {
            return dw_fail_within(err, status, "actor: %s", members[i].member);
        }
    }
    return DW_OK;
}

static dw_status check_counts(const dw_instance_options *instance, dw_error *err)
{
    const struct {
        const char *member;
        size_t count;
        size_t most;
    } lists[] = {
        {"models", instance->model_count, DW_ACTOR_MODELS_MAX},
        {"args", instance->arg_count, DW_ACTOR_TEXTS_MAX},
        {"env_names", instance->env_count, DW_ACTOR_TEXTS_MAX},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lists[i].count > lists[i].most) {
            return dw_fail(err, DW_E_LIMIT, "actor: %s: %zu, at most %zu", lists[i].member,
                           lists[i].count, lists[i].most);
        }
    }
    return DW_OK;
}

dw_status dw_actor_settings_create(dw_actor_settings **out, const dw_actor_options *options,
                                   dw_error *err)
{
    dw_actor_options own;
    dw_instance_options instance;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_actor_options", err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_struct_read(&instance, sizeof instance, own.instance, "dw_instance_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (instance.dir_count > 0 || instance.inherit_stdin) {
        return dw_fail(err, DW_E_UNSUPPORTED,
                       "actor: folders and standard input cannot be granted, since what an actor "
                       "has open there could not be saved with it; a runtime's tenants grant "
                       "folders");
    }
    status = check_numbers(&own, &instance, err);
    if (status == DW_OK) {
        status = check_counts(&instance, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_actor_settings *settings = dw_alloc(1, sizeof *settings);
    if (settings == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    settings->references = 1;
    status = copy(settings, &instance)
                 ? dw_limits_take(&settings->limits, instance.limits, err)
                 : dw_fail(err, DW_E_MEMORY, "no memory for an actor's settings");
    if (status != DW_OK) {
        dw_actor_settings_unref(settings);
        return status;
    }
    take_limits(settings, &own);
    *out = settings;
    return DW_OK;
}

static bool is_named(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static dw_status check_names(const dw_dir *dirs, size_t count, dw_error *err)
{
    if (count > DW_ACTOR_DIRS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "folders: %zu, at most %d", count, DW_ACTOR_DIRS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_named(dirs[i].guest_path)) {
            return dw_fail(err, DW_E_ARG, "folders: number %zu has no name for its guest", i + 1);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(dirs[k].guest_path, dirs[i].guest_path) == 0) {
                return dw_fail(err, DW_E_ARG, "folders: '%.80s' twice", dirs[i].guest_path);
            }
        }
    }
    return DW_OK;
}

dw_status dw_actor_dirs_check(const dw_dir *dirs, size_t count, dw_error *err)
{
    dw_status status = check_names(dirs, count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        if (!is_named(dirs[i].host_path)) {
            return dw_fail(err, DW_E_ARG, "folders: number %zu has no name for its host", i + 1);
        }
    }
    return status;
}

dw_status dw_actor_settings_grant(dw_actor_settings *settings, const dw_dir *dirs, size_t count,
                                  dw_error *err)
{
    dw_status status = check_names(dirs, count, err);
    if (status != DW_OK || count == 0) {
        return status;
    }
    DW_ASSERT(settings->instance.dirs == NULL);
    dw_dir *copies = dw_alloc(count, sizeof *copies);
    settings->instance.dirs = copies;
    for (size_t i = 0; copies != NULL && i < count; i++) {
        const bool absent = dirs[i].host_path == NULL;
        settings->instance.dir_count = i + 1;
        copies[i] = (dw_dir){.host_path = absent ? NULL : dw_strdup(dirs[i].host_path),
                             .guest_path = dw_strdup(dirs[i].guest_path),
                             .writable = dirs[i].writable};
        if ((!absent && copies[i].host_path == NULL) || copies[i].guest_path == NULL) {
            copies = NULL; /* what there is goes with the settings */
        }
    }
    return copies != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for an actor's folders");
}

dw_status dw_actor_settings_check(const dw_actor_settings *settings, dw_error *err)
{
    for (size_t i = 0; i < settings->instance.dir_count; i++) {
        if (settings->instance.dirs[i].host_path == NULL) {
            return dw_fail(err, DW_E_DENIED, "the actor's folder '%.100s' is not granted here",
                           settings->instance.dirs[i].guest_path);
        }
    }
    return DW_OK;
}

dw_actor_settings *dw_actor_settings_ref(dw_actor_settings *settings)
{
    atomic_fetch_add(&settings->references, 1);
    return settings;
}

void dw_actor_settings_unref(dw_actor_settings *settings)
{
    if (settings == NULL || atomic_fetch_sub(&settings->references, 1) > 1) {
        return;
    }
    dw_instance_options *own = &settings->instance;
    for (size_t i = 0; i < own->model_count; i++) {
        dw_model_unref(own->models[i]);
    }
    dw_free((void *)(uintptr_t)own->models);
    dw_free((void *)(uintptr_t)own->chat_template);
    for (size_t i = 0; i < own->dir_count; i++) {
        dw_free((void *)(uintptr_t)own->dirs[i].host_path);
        dw_free((void *)(uintptr_t)own->dirs[i].guest_path);
    }
    dw_free((void *)(uintptr_t)own->dirs);
    free_texts(own->model_names, own->model_names != NULL ? own->model_count : 0);
    free_texts(own->args, own->arg_count);
    free_texts(own->env_names, own->env_count);
    free_texts(own->env_values, own->env_count);
    dw_free(settings);
}
