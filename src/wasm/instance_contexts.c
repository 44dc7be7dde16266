/* What a guest may have of contexts: which it may save and open under names, and their adapters. */
#include "base/public_struct.h"
#include "wasm/instance_internal.h"

#define SETS_MAX 256 /* the highest that the limit adapter_sets can be */

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

dw_status dw_instance_may_have_adapters(dw_instance *instance, const dw_context *context,
                                        const dw_adapter_set *set, dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    const uint64_t limit = dw_instance_limits(instance)->adapter_sets;
    const dw_adapter_set *others[SETS_MAX];
    size_t count = 0;
    for (size_t i = 0; set != NULL && i < table->capacity; i++) {
        const dw_context *other = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        const dw_adapter_set *own =
            other != NULL && other != context ? dw_context_adapters(other) : NULL;
        size_t at = 0;
        while (at < count && others[at] != own) {
            at++;
        }
        if (own == set) {
            return DW_OK;
        }
        if (own != NULL && at == count && count < SETS_MAX) {
            others[count++] = own;
        }
    }
    return set == NULL || count < limit
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT,
                         "adapters: contexts have %zu sets of them, with their scales, limit %llu "
                         "(adapter_sets)",
                         count, (unsigned long long)limit);
}
