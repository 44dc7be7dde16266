/* What a guest may save and open of contexts under names. */
#include "base/public_struct.h"
#include "wasm/instance_internal.h"

void dw_instance_set_contexts(dw_instance *instance, dw_context_grants *grants)
{
    dw_context_grants_unref(instance->contexts);
    instance->contexts = dw_context_grants_ref(grants);
}

dw_context_grants *dw_instance_contexts(const dw_instance *instance)
{
    return instance->contexts;
}

dw_status dw_instance_grant_contexts(dw_instance *instance, const dw_contexts_grant *grant,
                                     dw_error *err)
{
    dw_contexts_grant own;
    dw_context_grants *grants = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, grant, "dw_contexts_grant", err);
    if (status == DW_OK && own.contexts == NULL) {
        status = dw_fail(err, DW_E_ARG, "dw_contexts_grant.contexts: NULL");
    }
    if (status == DW_OK) {
        status = dw_context_grants_of(&grants, &own, err);
    }
    if (status == DW_OK) {
        dw_instance_set_contexts(instance, grants);
    }
    dw_context_grants_unref(grants);
    return status;
}
