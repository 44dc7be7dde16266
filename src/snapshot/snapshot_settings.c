/* What an actor was granted, and its models, in snapshots. */
#include <stdlib.h>
#include <string.h>

#include "actor/actor_settings.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "snapshot/snapshot_parts_internal.h"

#define MODELS_MAX DW_ACTOR_MODELS_MAX
#define TEXTS_MAX DW_ACTOR_TEXTS_MAX

static const char *const kv_names[] = {
    [DW_KV_F16] = "f16", [DW_KV_Q8_0] = "q8_0", [DW_KV_F32] = "f32"};
const dw__choices dw__kv_choices = DW__CHOICES(kv_names);

/* ---- saving ------------------------------------------------------------------------------- */

static json_t *texts(const char *const *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!dw__json_append(array, json_string(list[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* DW_LIMIT_NONE is no number of JSON; so much is as good as none. */
static json_int_t whole(uint64_t value)
{
    return value < INT64_MAX ? (json_int_t)value : INT64_MAX;
}

/* Those that were set, as dw_limits_set takes them. */
static json_t *limits_save(const dw_limits *limits)
{
    json_t *object = json_object();
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        char text[DW_LIMIT_TEXT_BYTES];
        uint64_t value = dw_limits_at(limits, i);
        if (value == 0 || dw_limit_get_info(i, &info, NULL) != DW_OK) {
            continue;
        }
        dw_limit_format(info.unit, value, text);
        if (!dw__json_put(object, info.name, json_string(text))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* Names that the guest has for its folders, in the order of their descriptors; what they are on the
 * host is not saved. NULL: it has none, or there is no memory. */
static json_t *folders_save(const dw_instance_options *own)
{
    json_t *list = own->dir_count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < own->dir_count && list != NULL; i++) {
        const char *name = own->dirs[i].guest_path;
        if (!dw__json_append(list, json_stringn(name, strlen(name)))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

json_t *dw__settings_save(const dw_actor_settings *settings)
{
    const dw_instance_options *own = &settings->instance;
    json_t *folders = folders_save(own);
    if (own->dir_count > 0 && folders == NULL) {
        return NULL;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s*, s:o, s:o, s:o, s:o, s:o*}",
                     "memory_bytes_max", whole(own->memory_bytes_max), "context_tokens_max",
                     (json_int_t)own->context_tokens_max, "context_count_max",
                     (json_int_t)own->context_count_max, "timeout_ms", whole(own->timeout_ms),
                     "message_count_max", (json_int_t)settings->options.message_count_max,
                     "message_bytes_max", (json_int_t)settings->options.message_bytes_max,
                     "kv_type", dw__kv_choices.names[own->kv_type], "chat_template",
                     own->chat_template, "args", texts(own->args, own->arg_count), "env_names",
                     texts(own->env_names, own->env_count), "env_values",
                     texts(own->env_values, own->env_count), "limits",
                     limits_save(&settings->limits), "folders", folders);
}

bool dw__settings_hash(const json_t *of, char hash[DW_HASH128_TEXT])
{
    char *text = json_dumps(of, JSON_COMPACT | JSON_SORT_KEYS);
    if (text != NULL) {
        dw_hash128_text(hash, text, strlen(text));
    }
    free(text);
    return text != NULL;
}

/* The model's adapters, for whoever loads them again: its fingerprint is also that of those which
 * its contexts begin with. NULL: none. A path that is no UTF-8 is left out. */
static json_t *adapters_of(const dw_model *model)
{
    json_t *list = NULL;
    for (size_t i = 0; i < dw_model_adapter_count(model); i++) {
        dw_adapter_info info = {.struct_bytes = sizeof info};
        if (dw_model_get_adapter(model, i, &info, NULL) != DW_OK) {
            continue;
        }
        json_t *one =
            json_pack("{s:s, s:s, s:f, s:o*}", "name", info.name, "fingerprint", info.fingerprint,
                      "scale", (double)info.scale, "path", json_string(info.path));
        list = list == NULL ? json_array() : list;
        (void)json_array_append_new(list, one);
    }
    return list;
}

/* Its fingerprint without adapters; NULL: it has none. */
static dw_status base_of(dw_model *model, json_t **base, dw_error *err)
{
    char text[DW_FINGERPRINT_BYTES];
    *base = NULL;
    if (dw_model_adapter_count(model) == 0) {
        return DW_OK;
    }
    dw_status status = dw_model_fingerprint_with(model, NULL, text, err);
    *base = status == DW_OK ? json_string(text) : NULL;
    return status;
}

dw_status dw__models_save(const dw_actor *actor, json_t *to, dw_error *err)
{
    const dw_instance_options *options = &actor->settings->instance;
    for (size_t i = 0; i < options->model_count; i++) {
        char fingerprint[DW_FINGERPRINT_BYTES];
        dw_model_info info = {.struct_bytes = sizeof info};
        json_t *base = NULL;
        dw_status status = dw_model_fingerprint(options->models[i], fingerprint, err);
        if (status == DW_OK) {
            status = base_of(options->models[i], &base, err);
        }
        if (status != DW_OK) {
            return status;
        }
        dw_model_get_info(options->models[i], &info);
        const char *as = options->model_names != NULL ? options->model_names[i] : "";
        if (!dw__json_append(to, json_pack("{s:s%, s:s, s:s*, s:o*, s:o*}", "name", info.name,
                                           strlen(info.name), "fingerprint", fingerprint, "as",
                                           as[0] != '\0' ? as : NULL, "adapters",
                                           adapters_of(options->models[i]), "base", base))) {
            return dw_fail(err, DW_E_UNSUPPORTED, "freeze: the model's name is no UTF-8");
        }
    }
    return DW_OK;
}

/* ---- a handle's model ---------------------------------------------------------------------- */

bool dw__model_put(const dw__freeze *f, json_t *entry, const char *key, const dw_model *model)
{
    const dw_instance_options *options = &f->actor->settings->instance;
    size_t index = 0;
    while (index < options->model_count && options->models[index] != model) {
        index++;
    }
    DW_ASSERT(index < options->model_count); /* a guest reaches no others */
    return dw__json_put(entry, key, dw__json_number(index));
}

dw_status dw__model_get(const dw__thaw *t, const json_t *entry, const char *key, dw_model **model,
                        dw_error *err)
{
    uint64_t index;
    const dw_instance_options *own = &t->settings->instance;
    *model = NULL;
    if (own->model_count == 0) {
        return dw_fail(err, DW_E_FORMAT, "open: a model's handle, and no models");
    }
    dw_status status = dw__json_whole(entry, "open", key, own->model_count - 1, &index, err);
    if (status != DW_OK) {
        return status;
    }
    *model = own->models[index];
    return DW_OK;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* What is asked for, borrowed from the snapshot. */
typedef struct wanted_model {
    dw_model_wanted of;
    dw_adapter_wanted adapters[DW_ADAPTERS_MAX];
    const char *first; /* the name of the first that its contexts begin with; NULL: none do */
} wanted_model;

static dw_status read_adapter(const json_t *entry, dw_adapter_wanted *adapter, dw_error *err)
{
    const json_t *scale = json_object_get(entry, "scale");
    *adapter = (dw_adapter_wanted){.scale = (float)json_number_value(scale)};
    dw_status status = dw__json_text(entry, "adapters", "name", &adapter->name, err);
    if (status == DW_OK) {
        status = dw__json_text(entry, "adapters", "fingerprint", &adapter->fingerprint, err);
    }
    if (status == DW_OK && !json_is_number(scale)) {
        status = dw_fail(err, DW_E_FORMAT, "adapters: '%.80s' has no scale", adapter->name);
    }
    if (status == DW_OK && json_object_get(entry, "path") != NULL) {
        status = dw__json_text(entry, "adapters", "path", &adapter->path, err);
    }
    return status;
}

static dw_status read_wanted(const json_t *entry, wanted_model *wanted, dw_error *err)
{
    const json_t *list = NULL;
    *wanted = (wanted_model){.of = {.struct_bytes = sizeof wanted->of}};
    dw_status status = dw__json_text(entry, "models", "fingerprint", &wanted->of.fingerprint, err);
    if (status == DW_OK) {
        status = dw__json_text(entry, "models", "name", &wanted->of.name, err);
    }
    if (status == DW_OK && json_object_get(entry, "base") != NULL) {
        status = dw__json_text(entry, "models", "base", &wanted->of.base_fingerprint, err);
    }
    if (status == DW_OK && json_object_get(entry, "adapters") != NULL) {
        status = dw__json_array(entry, "models", "adapters", DW_ADAPTERS_MAX, &list, err);
    }
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        dw_adapter_wanted *adapter = &wanted->adapters[i];
        status = read_adapter(json_array_get(list, i), adapter, err);
        wanted->of.adapter_count = i + 1;
        if (wanted->first == NULL && adapter->scale != 0.0F) {
            wanted->first = adapter->name;
        }
    }
    wanted->of.adapters = wanted->adapters;
    return status;
}

/* By whoever opens what is wanted; *model stays NULL where there is nobody. */
static dw_status ask_for(const dw__thaw *t, const wanted_model *wanted, dw_model **model,
                         dw_error *err)
{
    const dw_thaw_options *options = t->options;
    dw_status status = DW_OK;
    if (options->find_wanted != NULL) {
        status = options->find_wanted(options->find_user, &wanted->of, model, err);
    } else if (options->find_model != NULL) {
        status = options->find_model(options->find_user, wanted->of.name, wanted->of.fingerprint,
                                     model, err);
    }
    return status == DW_E_NOT_FOUND && wanted->first != NULL
               ? dw_fail_within(err, status, "a model with adapter '%.60s'", wanted->first)
               : status;
}

/* `*model` is counted. */
static dw_status find_model(const dw__thaw *t, const json_t *entry, dw_model **model, dw_error *err)
{
    wanted_model wanted;
    dw_status status = read_wanted(entry, &wanted, err);
    for (size_t i = 0; status == DW_OK && i < t->options->model_count; i++) {
        bool matches;
        status = dw_model_matches(t->options->models[i], wanted.of.fingerprint, &matches, err);
        if (status == DW_OK && matches) {
            *model = dw_model_ref(t->options->models[i]);
            return DW_OK;
        }
    }
    if (status == DW_OK) {
        status = ask_for(t, &wanted, model, err);
    }
    if (status != DW_OK || *model != NULL) {
        return status;
    }
    return wanted.first == NULL
               ? dw_fail(err, DW_E_NOT_FOUND,
                         "the snapshot's model '%.80s' (%.60s) is not among the %zu at hand",
                         wanted.of.name, wanted.of.fingerprint, t->options->model_count)
               : dw_fail(
                     err, DW_E_NOT_FOUND,
                     "the snapshot's model '%.60s' with adapter '%.60s' (together %.72s) is not "
                     "among the %zu at hand",
                     wanted.of.name, wanted.first, wanted.of.fingerprint, t->options->model_count);
}

static dw_status read_texts(const json_t *settings, const char *key, const char **texts,
                            size_t *count, dw_error *err)
{
    const json_t *list;
    dw_status status = dw__json_array(settings, "settings", key, TEXTS_MAX, &list, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text)) {
            return dw_fail(err, DW_E_FORMAT, "settings: '%s' holds what is no text", key);
        }
        texts[i] = json_string_value(text);
    }
    *count = status == DW_OK ? json_array_size(list) : 0;
    return status;
}

static dw_status read_limits(const json_t *saved, dw_actor_options *options,
                             dw_instance_options *own, dw_error *err)
{
    uint64_t context_tokens_max = 0;
    uint64_t context_count_max = 0;
    uint64_t message_count_max = 0;
    uint64_t message_bytes_max = 0;
    const struct {
        const char *key;
        uint64_t max;
        uint64_t *to;
    } rules[] = {
        {"memory_bytes_max", UINT64_C(1) << 50, &own->memory_bytes_max},
        {"context_tokens_max", UINT32_MAX, &context_tokens_max},
        {"context_count_max", 4096, &context_count_max},
        {"timeout_ms", INT64_MAX, &own->timeout_ms},
        {"message_count_max", 1000000, &message_count_max},
        {"message_bytes_max", UINT32_MAX, &message_bytes_max},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        dw_status status =
            dw__json_whole(saved, "settings", rules[i].key, rules[i].max, rules[i].to, err);
        if (status != DW_OK) {
            return status;
        }
    }
    own->timeout_ms = own->timeout_ms == INT64_MAX ? DW_LIMIT_NONE : own->timeout_ms;
    own->context_tokens_max = (uint32_t)context_tokens_max;
    own->context_count_max = (uint32_t)context_count_max;
    options->message_count_max = (uint32_t)message_count_max;
    options->message_bytes_max = (size_t)message_bytes_max;
    return DW_OK;
}

/* The member "limits", which older files lack. */
static dw_status read_saved_limits(const json_t *saved, dw_limits *limits, dw_error *err)
{
    const char *name;
    json_t *value;
    json_t *object = json_object_get(saved, "limits");
    if (object != NULL && !json_is_object(object)) {
        return dw_fail(err, DW_E_FORMAT, "settings: 'limits' is no object");
    }
    json_object_foreach(object, name, value)
    {
        dw_status status =
            json_is_string(value)
                ? dw_limits_set(limits, name, json_string_value(value), err)
                : dw_fail(err, DW_E_FORMAT, "settings: limit '%.40s' is no text", name);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "settings");
        }
    }
    return DW_OK;
}

static uint64_t lower_of(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* What strangers' files grant themselves, which is no more than a new actor gets. */
static void lower_limits(dw_limits *limits, dw_actor_options *options, dw_instance_options *own)
{
    const dw_limits *usual = &dw_limits_usual;
    dw_limits_lower(limits, usual);
    own->memory_bytes_max = lower_of(own->memory_bytes_max, usual->memory_bytes);
    own->context_count_max = (uint32_t)lower_of(own->context_count_max, usual->contexts);
    own->timeout_ms = lower_of(own->timeout_ms, usual->timeout_ms);
    options->message_count_max = (uint32_t)lower_of(options->message_count_max, usual->messages);
    options->message_bytes_max = (size_t)lower_of(options->message_bytes_max, usual->message_bytes);
}

/* Those of the thaw's options take the place of what the file says. */
static dw_status set_anew(const dw_limits *given, dw_limits *limits, dw_actor_options *options,
                          dw_instance_options *own, dw_error *err)
{
    dw_limits anew;
    dw_status status = dw_limits_take(&anew, given, err);
    if (status != DW_OK) {
        return status;
    }
    own->memory_bytes_max = anew.memory_bytes != 0 ? 0 : own->memory_bytes_max;
    own->context_tokens_max = anew.context_tokens != 0 ? 0 : own->context_tokens_max;
    own->context_count_max = anew.contexts != 0 ? 0 : own->context_count_max;
    own->timeout_ms = anew.timeout_ms != 0 ? 0 : own->timeout_ms;
    options->message_count_max = anew.messages != 0 ? 0 : options->message_count_max;
    options->message_bytes_max = anew.message_bytes != 0 ? 0 : options->message_bytes_max;
    dw_limits_fill(&anew, limits);
    *limits = anew;
    return DW_OK;
}

/* The limits in force: the file's, as far as it may set them, then those of the thaw's options. */
static dw_status load_limits(const dw__thaw *t, const json_t *saved, dw_limits *limits,
                             dw_actor_options *options, dw_instance_options *own, dw_error *err)
{
    dw_status status = read_limits(saved, options, own, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_saved_limits(saved, limits, err);
    if (status != DW_OK) {
        return status;
    }
    if (!t->options->trusted) {
        lower_limits(limits, options, own);
    }
    own->limits = limits;
    return set_anew(t->options->limits, limits, options, own, err);
}

/* Lists of texts that `options` borrows until the settings are made. */
typedef struct borrowed {
    const char *args[TEXTS_MAX];
    const char *env_names[TEXTS_MAX];
    const char *env_values[TEXTS_MAX];
    dw_model *models[MODELS_MAX]; /* counted; NULL: not found yet */
    const char *model_names[MODELS_MAX];
} borrowed;

static dw_status read_models(const dw__thaw *t, borrowed *lists, dw_instance_options *own,
                             dw_error *err)
{
    const json_t *models;
    dw_status status = dw__json_array(t->about, "actor", "models", MODELS_MAX, &models, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(models); i++) {
        const json_t *entry = json_array_get(models, i);
        status = find_model(t, entry, &lists->models[i], err);
        lists->model_names[i] = NULL;
        if (status == DW_OK && json_object_get(entry, "as") != NULL) {
            status = dw__json_text(entry, "models", "as", &lists->model_names[i], err);
        }
        own->model_count = i + 1;
    }
    own->models = lists->models;
    own->model_names = lists->model_names;
    return status;
}

static dw_status read_lists(const json_t *saved, borrowed *lists, dw_instance_options *own,
                            dw_error *err)
{
    size_t value_count = 0;
    if (json_object_get(saved, "chat_template") != NULL) {
        dw_status read =
            dw__json_text(saved, "settings", "chat_template", &own->chat_template, err);
        if (read != DW_OK) {
            return read;
        }
    }
    own->args = lists->args;
    own->env_names = lists->env_names;
    own->env_values = lists->env_values;
    dw_status status = read_texts(saved, "args", lists->args, &own->arg_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_texts(saved, "env_names", lists->env_names, &own->env_count, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_texts(saved, "env_values", lists->env_values, &value_count, err);
    if (status != DW_OK) {
        return status;
    }
    if (value_count != own->env_count) {
        return dw_fail(err, DW_E_FORMAT, "settings: %zu names of the environment, %zu values",
                       own->env_count, value_count);
    }
    return DW_OK;
}

static const dw_dir *find_dir(const dw_thaw_options *options, const char *name)
{
    for (size_t i = 0; i < options->dir_count; i++) {
        if (strcmp(options->dirs[i].guest_path, name) == 0) {
            return &options->dirs[i];
        }
    }
    return NULL;
}

/* The folders that it had, each one that is granted here under that name: never by what a file
 * says. In their order, since the guest knows them by number. */
static dw_status load_folders(dw__thaw *t, const json_t *saved, dw_error *err)
{
    dw_dir dirs[DW_ACTOR_DIRS_MAX];
    const char *names[DW_ACTOR_DIRS_MAX];
    const json_t *list = json_object_get(saved, "folders");
    size_t count = 0;
    if (list == NULL) {
        return DW_OK;
    }
    if (!json_is_array(list) || json_array_size(list) > DW_ACTOR_DIRS_MAX) {
        return dw_fail(err, DW_E_FORMAT, "settings: 'folders' is no list of at most %d",
                       DW_ACTOR_DIRS_MAX);
    }
    dw_status status = read_texts(saved, "folders", names, &count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_dir *granted = find_dir(t->options, names[i]);
        if (granted == NULL && t->options->to_look) {
            dirs[i] = (dw_dir){.guest_path = names[i]};
            continue;
        }
        if (granted == NULL) {
            return dw_fail(err, DW_E_DENIED, "the actor's folder '%.100s' is not granted here",
                           names[i]);
        }
        dirs[i] = *granted;
        status = dw_actor_dirs_check(granted, 1, err);
    }
    status = status == DW_OK ? dw_actor_settings_grant(t->settings, dirs, count, err) : status;
    return status == DW_E_ARG ? dw_fail_within(err, DW_E_FORMAT, "settings") : status;
}

dw_status dw__settings_load(dw__thaw *t, dw_error *err)
{
    const json_t *saved;
    size_t kv_type = 0;
    dw_instance_options own = {.struct_bytes = sizeof own,
                               .on_stdout = t->options->on_stdout,
                               .on_stderr = t->options->on_stderr,
                               .on_progress = t->options->on_progress,
                               .on_call = t->options->on_call,
                               .user = t->options->user};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &own};
    dw_limits limits = {.struct_bytes = sizeof limits};
    borrowed *lists = dw_alloc(1, sizeof *lists);
    if (lists == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for settings");
    }
    dw_status status = dw__json_object(t->about, "actor", "settings", &saved, err);
    if (status != DW_OK) {
        goto out;
    }
    status = load_limits(t, saved, &limits, &options, &own, err);
    if (status != DW_OK) {
        goto out;
    }
    status = dw__json_choice(saved, "settings", "kv_type", &dw__kv_choices, &kv_type, err);
    if (status != DW_OK) {
        goto out;
    }
    own.kv_type = t->options->kv_type != NULL ? *t->options->kv_type : (dw_kv_type)kv_type;
    status = read_models(t, lists, &own, err);
    if (status != DW_OK) {
        goto out;
    }
    status = read_lists(saved, lists, &own, err);
    if (status != DW_OK) {
        goto out;
    }
    status = dw_actor_settings_create(&t->settings, &options, err);
    if (status == DW_OK) {
        status = load_folders(t, saved, err);
    }
out:
    for (size_t i = 0; i < MODELS_MAX; i++) {
        dw_model_unref(lists->models[i]); /* the settings count their own */
    }
    dw_free(lists);
    return status;
}
