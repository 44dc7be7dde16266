/* What an actor is made with, as a request says it. */
#ifndef DW_HOSTING_SPAWN_H
#define DW_HOSTING_SPAWN_H

#include "hosting/host.h"

#define DW__TEXTS_MAX 256 /* arguments, variables */

typedef struct dw__spawning {
    const char *models[16]; /* [model_count]; texts are the body's */
    size_t model_count;
    const char *model_names[16]; /* [model_name_count], by which its guest finds them */
    size_t model_name_count;
    bool has_models;
    const char *args[DW__TEXTS_MAX]; /* [arg_count] */
    size_t arg_count;
    const char *names[DW__TEXTS_MAX]; /* of variables, [env_count] */
    const char *values[DW__TEXTS_MAX];
    size_t env_count;
    dw_limits limits;
    bool has_limits; /* some were given */
    dw_kv_type kv_type;
    bool has_kv_type;
    uint32_t context_tokens_max;
    const char *chat_template;
    const char *name;
    uint32_t may;
    bool has_may;
    dw_priority priority;
    dw_supervision supervision;
    uint32_t failures_max;
    dw_durability durability;
    uint32_t durability_s;
    bool pinned;
    const char *folders[DW__TEXTS_MAX]; /* [folder_count], of the tenant's */
    size_t folder_count;
    bool has_folders; /* else all */
} dw__spawning;

/* The caller's, for dw_free; NULL: `fault` says why. Its texts are the body's. */
dw__spawning *dw__spawning_read(const dw_server *server, const json_t *body, dw_fault *fault);
/* For the tenant that asks; of the user himself it is made if it is not there. Errors: those of
 * dw_runtime_set_tenant. */
dw_status dw__spawning_options(dw__op *op, const dw__spawning *plan, dw_spawn_options *options,
                               dw_error *err);

#endif
