/* New actors: what a request says of them, and how they are made. */
#include "hosting/spawn.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static const char *const known_members[] = {
    "model_names", "args",           "env",           "limits",      "model",
    "models",      "module",         "guest",         "kv_type",     "name",
    "may",         "priority",       "pinned",        "supervision", "failures_max",
    "durability",  "context_tokens", "chat_template", "folders",
};

/* ---- reading -------------------------------------------------------------------------------- */

static void read_list(const json_t *body, const char *member, const char **list, size_t *count,
                      size_t most, dw_fault *fault)
{
    const json_t *value = json_object_get(body, member);
    size_t given = json_array_size(value);
    if (!dw_params_has(body, member)) {
        return;
    }
    if (!json_is_array(value) || given > most) {
        dw_fault_set(fault, 400, member, "%s is a list of at most %zu texts", member, most);
        return;
    }
    for (size_t i = 0; i < given; i++) {
        list[i] = json_string_value(json_array_get(value, i));
        if (list[i] == NULL) {
            dw_fault_set(fault, 400, member, "%s is a list of texts; value %zu is none", member, i);
            return;
        }
    }
    *count = given;
}

static void read_env(const json_t *body, dw__spawning *plan, dw_fault *fault)
{
    json_t *env = json_object_get(body, "env");
    const char *key;
    json_t *value;
    if (!dw_params_has(body, "env")) {
        return;
    }
    if (!json_is_object(env) || json_object_size(env) > DW__TEXTS_MAX) {
        dw_fault_set(fault, 400, "env", "env is an object of at most %d texts", DW__TEXTS_MAX);
        return;
    }
    json_object_foreach(env, key, value)
    {
        if (!json_is_string(value)) {
            dw_fault_set(fault, 400, "env", "env: %.80s is no text", key);
            return;
        }
        plan->names[plan->env_count] = key;
        plan->values[plan->env_count++] = json_string_value(value);
    }
}

static void read_may(const json_t *body, dw__spawning *plan, dw_fault *fault)
{
    static const char *const names[] = {"spawn",    "fork",   "send-kin", "send-tenant",
                                        "send-any", "timers", "join"};
    const char *given[16];
    size_t count = 0;
    read_list(body, "may", given, &count, sizeof given / sizeof given[0], fault);
    plan->has_may = dw_params_has(body, "may");
    for (size_t i = 0; i < count && !dw_fault_is_set(fault); i++) {
        unsigned bit = 0;
        while (bit < sizeof names / sizeof names[0] && strcmp(names[bit], given[i]) != 0) {
            bit++;
        }
        if (bit == sizeof names / sizeof names[0]) {
            dw_fault_set(fault, 400, "may",
                         "may: '%.40s'; spawn, fork, send-kin, send-tenant, "
                         "send-any, timers and join are known",
                         given[i]);
            return;
        }
        plan->may |= 1u << bit;
    }
}

/* One of the names -> its index; `otherwise` where it is not given. */
static unsigned read_choice(const json_t *body, const char *member, const char *const *names,
                            unsigned count, dw_fault *fault)
{
    const char *text = dw_params_string(body, member, fault);
    for (unsigned i = 0; text != NULL && i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    if (text != NULL) {
        dw_fault_set(fault, 400, member, "%s is '%.40s'; %s, %s%s%s is wanted", member, text,
                     names[0], names[1], count > 2 ? " or " : "", count > 2 ? names[2] : "");
    }
    return 0;
}

static void read_durability(const json_t *body, dw__spawning *plan, dw_fault *fault)
{
    const json_t *value = json_object_get(body, "durability");
    const char *text = json_string_value(value);
    if (!dw_params_has(body, "durability")) {
        return;
    }
    if (text != NULL && strcmp(text, "each") == 0) {
        plan->durability = DW_DURABLE_EACH;
    } else if (text != NULL && strcmp(text, "park") == 0) {
        plan->durability = DW_DURABLE_PARK;
    } else if (json_is_integer(value)) {
        plan->durability = DW_DURABLE_SECONDS;
        plan->durability_s = (uint32_t)dw_params_whole(body, "durability", 1, UINT32_MAX, 1, fault);
    } else {
        dw_fault_set(fault, 400, "durability", "durability is each, park, or a number of seconds");
    }
}

static void read_limits(const dw_server *server, const json_t *body, dw__spawning *plan,
                        dw_fault *fault)
{
    const json_t *given = json_object_get(body, "limits");
    dw_error error;
    plan->limits = server->has_limits ? server->limits : (dw_limits){.struct_bytes = 0};
    plan->limits.struct_bytes = sizeof plan->limits;
    if (!dw_params_has(body, "limits")) {
        return;
    }
    char *text = json_is_object(given) ? json_dumps(given, JSON_COMPACT) : NULL;
    plan->has_limits = true;
    if (text == NULL) {
        dw_fault_set(fault, 400, "limits", "limits is an object of names and values");
    } else if (dw_limits_read(&plan->limits, text, strlen(text), &error) != DW_OK) {
        dw_fault_set(fault, 400, "limits", "%s", error.message);
    }
    free(text);
}

static void read_models(const json_t *body, dw__spawning *plan, dw_fault *fault)
{
    const char *one = dw_params_string(body, "model", fault);
    read_list(body, "models", plan->models, &plan->model_count,
              sizeof plan->models / sizeof plan->models[0], fault);
    plan->has_models = dw_params_has(body, "models") || one != NULL;
    if (one != NULL && dw_params_has(body, "models")) {
        dw_fault_set(fault, 400, "model", "model or models: one of them");
    } else if (one != NULL) {
        plan->models[plan->model_count++] = one;
    }
    read_list(body, "model_names", plan->model_names, &plan->model_name_count,
              sizeof plan->model_names / sizeof plan->model_names[0], fault);
    if (plan->model_name_count > 0 && plan->model_name_count != plan->model_count) {
        dw_fault_set(fault, 400, "model_names", "model_names: %zu, and %zu models",
                     plan->model_name_count, plan->model_count);
    }
}

dw__spawning *dw__spawning_read(const dw_server *server, const json_t *body, dw_fault *fault)
{
    static const char *const priorities[] = {"normal", "high", "low"};
    static const char *const ends[] = {"restart", "stop"};
    static const char *const kv_types[] = {"f16", "q8_0", "f32"};
    dw__spawning *plan = dw_alloc(1, sizeof *plan);
    if (plan == NULL) {
        dw_fault_set(fault, 503, NULL, "no memory for a request");
        return NULL;
    }
    dw__only(body, known_members, sizeof known_members / sizeof known_members[0], fault);
    read_models(body, plan, fault);
    read_list(body, "args", plan->args, &plan->arg_count, DW__TEXTS_MAX, fault);
    read_env(body, plan, fault);
    read_may(body, plan, fault);
    read_list(body, "folders", plan->folders, &plan->folder_count, DW__TEXTS_MAX, fault);
    plan->has_folders = dw_params_has(body, "folders");
    read_limits(server, body, plan, fault);
    read_durability(body, plan, fault);
    plan->priority = (dw_priority)read_choice(body, "priority", priorities, 3, fault);
    plan->supervision = (dw_supervision)read_choice(body, "supervision", ends, 2, fault);
    plan->kv_type = (dw_kv_type)read_choice(body, "kv_type", kv_types, 3, fault);
    plan->has_kv_type = dw_params_has(body, "kv_type");
    plan->failures_max = (uint32_t)dw_params_whole(body, "failures_max", 0, UINT32_MAX, 0, fault);
    plan->context_tokens_max =
        (uint32_t)dw_params_whole(body, "context_tokens", 0, INT32_MAX, 0, fault);
    plan->chat_template = dw_params_string(body, "chat_template", fault);
    plan->name = dw_params_string(body, "name", fault);
    plan->pinned = dw_params_truth(body, "pinned", false, fault);
    return plan;
}

/* ---- making --------------------------------------------------------------------------------- */

dw_status dw__spawning_options(dw__op *op, const dw__spawning *plan, dw_spawn_options *options,
                               dw_error *err)
{
    const dw_tenant_options all = {.struct_bytes = sizeof all, .capabilities = DW_MAY_ALL};
    dw_runtime_tenant_info info = {.struct_bytes = sizeof info};
    dw_status status = dw_runtime_get_tenant_info(op->runtime, op->tenant, &info, err);
    if (status == DW_E_NOT_FOUND && op->own_user) {
        info.capabilities = DW_MAY_ALL;
        status = dw_runtime_set_tenant(op->runtime, op->tenant, &all, err);
    }
    *options = (dw_spawn_options){.struct_bytes = sizeof *options,
                                  .tenant = op->tenant,
                                  .capabilities = plan->has_may ? plan->may : info.capabilities,
                                  .priority = plan->priority,
                                  .supervision = plan->supervision,
                                  .failures_max = plan->failures_max,
                                  .durability = plan->durability,
                                  .durability_s = plan->durability_s,
                                  .name = plan->name,
                                  .pinned = plan->pinned,
                                  .folders = plan->has_folders ? plan->folders : NULL,
                                  .folder_count = plan->folder_count};
    return status;
}

dw_status dw__op_find_module(dw__op *op, dw_error *err)
{
    const dw_server *server = dw__host_server(op->host);
    const char *hash = json_string_value(json_object_get(op->body, "module"));
    const char *guest = json_string_value(json_object_get(op->body, "guest"));
    dw_module *found = NULL;
    op->param = hash != NULL ? "module" : "guest";
    if (hash != NULL) {
        return dw__modules_find(dw__host_modules(op->host), op->tenant, hash, &op->module, err);
    }
    if (strchr(guest, '/') != NULL || server->find_guest == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "guest '%.80s': those that came along have bare names; others are "
                       "uploaded, see POST /v1/modules",
                       guest);
    }
    dw_status status = server->find_guest(server->user, guest, &found, err);
    op->module = status == DW_OK ? dw_module_ref(found) : NULL;
    return status;
}

/* Names of models that are served; files are for the user himself. */
static bool is_file(const dw__op *op, const char *name)
{
    return op->own_user && name[0] == '/';
}

/* Loaded, each counted. */
static dw_status open_models(dw__op *op, dw__spawning *plan, dw_model **models, dw_error *err)
{
    char what[DW_MODELS_MISSING_BYTES];
    dw_server *server = dw__host_server(op->host);
    dw_status status = DW_OK;
    op->param = "model";
    if (!plan->has_models && dw_module_uses_models(op->module)) {
        const dw_named_model *first = dw_models_find(server, op->tenant, NULL);
        if (first == NULL) {
            return dw_fail(err, DW_E_NOT_FOUND, "%s",
                           dw_models_refusal(server, op->own_user, NULL, what));
        }
        plan->models[plan->model_count++] = first->name;
    }
    for (size_t i = 0; i < plan->model_count && status == DW_OK; i++) {
        const dw_named_model *named = dw_models_find(server, op->tenant, plan->models[i]);
        if (named == NULL && !is_file(op, plan->models[i])) {
            return dw_fail(err, DW_E_NOT_FOUND, "%s",
                           dw_models_refusal(server, op->own_user, plan->models[i], what));
        }
        status = dw_model_pool_take(server->pool, named != NULL ? named->name : plan->models[i],
                                    &models[i], err);
        if (status != DW_OK && server->keys != NULL && !op->own_user) {
            dw_models_hide_others(err, plan->models[i]);
        }
    }
    return status;
}

static dw_status spawn_work(dw__op *op, dw_error *err)
{
    dw__spawning *plan = op->extra;
    dw_model *models[16] = {NULL};
    const char *guest = json_string_value(json_object_get(op->body, "guest"));
    const char *own_name = guest != NULL ? guest : "guest";
    dw_spawn_options spawn;
    dw_status status = dw__op_find_module(op, err);
    if (status == DW_OK) {
        status = open_models(op, plan, models, err);
    }
    op->param = status == DW_OK ? NULL : op->param;
    const dw_instance_options instance = {
        .struct_bytes = sizeof instance,
        .models = models,
        .model_count = plan->model_count,
        .model_names = plan->model_name_count > 0 ? plan->model_names : NULL,
        .args = plan->arg_count > 0 ? plan->args : &own_name,
        .arg_count = plan->arg_count > 0 ? plan->arg_count : 1,
        .env_names = plan->names,
        .env_values = plan->values,
        .env_count = plan->env_count,
        .context_tokens_max = plan->context_tokens_max,
        .kv_type = plan->kv_type,
        .chat_template = plan->chat_template,
        .on_stderr = dw__host_server(op->host)->instance.on_stderr,
        .limits = plan->has_limits ? &plan->limits : NULL,
        .on_call = dw__host_server(op->host)->on_call,
        .user = dw__host_server(op->host)->user,
    };
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    if (status == DW_OK) {
        status = dw__spawning_options(op, plan, &spawn, err);
    }
    if (status == DW_OK) {
        char id[DW_ACTOR_ID_CHARS + 1];
        spawn.actor = &actor;
        spawn.on_end = dw__op_on_end;
        spawn.user = op;
        dw__op_expect(op);
        status = dw_runtime_begin_spawn(op->runtime, op->module, &spawn, id, err);
        if (status != DW_OK) {
            dw__op_part(op);
        }
    }
    for (size_t i = 0; i < plan->model_count; i++) {
        dw_model_pool_give(dw__host_server(op->host)->pool, models[i]);
    }
    return status;
}

static void check_models(dw_server *server, const dw__op *op, const dw__spawning *plan,
                         dw_fault *fault)
{
    char what[DW_MODELS_MISSING_BYTES];
    for (size_t i = 0; plan != NULL && i < plan->model_count; i++) {
        if (!is_file(op, plan->models[i]) &&
            (plan->models[i][0] == '\0' ||
             dw_models_find(server, op->tenant, plan->models[i]) == NULL)) {
            dw_fault_set(fault, 404, "model", "%s",
                         dw_models_refusal(server, op->own_user, plan->models[i], what));
        }
    }
}

DW__HANDLER(dw__on_actors_spawn)
{
    dw_fault fault = {.status = 0};
    (void)exchange;
    const char *module = dw_params_string(op->body, "module", &fault);
    const char *guest = dw_params_string(op->body, "guest", &fault);
    if ((module != NULL) == (guest != NULL)) {
        dw_fault_set(&fault, 400, "module",
                     "module, the hash of one that was uploaded, or guest, "
                     "the name of one that came along, is wanted");
    }
    op->extra = dw__spawning_read(server, op->body, &fault);
    check_models(server, op, op->extra, &fault);
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->http = 201;
    op->is_long = true; /* a module may be compiled, a model loaded */
    op->work = spawn_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}
