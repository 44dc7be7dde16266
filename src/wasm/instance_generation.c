/* What is generated ahead of a guest: which contexts and samplers are taken by it, and who runs its
 * steps. All of it ends with the call that began it. */
#include "wasm/instance_internal.h"

dw_generation *dw_instance_generation_of(const dw_instance *instance, const void *object)
{
    dw_generation *one = instance->generations;
    while (one != NULL && one->context != object && one->sampler != object) {
        one = one->next;
    }
    return one;
}

dw_status dw_instance_generate(dw_instance *instance, dw_generation *generation, dw_error *err)
{
    const dw_step_runner *runner = instance->runner;
    dw_status status = DW_OK;
    if (runner != NULL) {
        status = runner->generate(instance->runner_user, generation, err);
    }
    if (status != DW_OK) {
        dw_generation_destroy(generation);
        return status;
    }
    generation->next = instance->generations;
    instance->generations = generation;
    return DW_OK;
}

void dw_instance_generation_wait(dw_instance *instance, dw_generation *generation)
{
    if (dw_generation_wakes(generation)) {
        return;
    }
    if (instance->runner != NULL) {
        instance->runner->generated(instance->runner_user, generation);
    } else {
        dw_generation_run(generation);
    }
    DW_ASSERT(dw_generation_wakes(generation));
}

void dw_instance_generation_end(dw_instance *instance, dw_generation *generation)
{
    if (instance->runner == NULL) {
        dw_generation_leave(generation);
        return;
    }
    generation->wake_tokens = 0;
    atomic_store(&generation->item.leaves, true);
    dw_instance_generation_wait(instance, generation);
}

void dw_instance_generation_drop(dw_instance *instance, dw_generation *generation)
{
    dw_generation **at = &instance->generations;
    DW_ASSERT(generation->end != DW_GENERATE_GOES_ON);
    while (*at != generation) {
        at = &(*at)->next;
    }
    *at = generation->next;
    dw_generation_tell_end(generation);
    dw_generation_destroy(generation);
}

bool dw_instance_leave_generations(dw_instance *instance)
{
    bool any = false;
    for (dw_generation *one = instance->generations; one != NULL; one = one->next) {
        atomic_store(&one->item.leaves, true);
        any = any || one->end == DW_GENERATE_GOES_ON;
    }
    return any;
}

void dw__instance_drop_generations(dw_instance *instance)
{
    while (instance->generations != NULL) {
        dw_generation_leave(instance->generations);
        dw_instance_generation_drop(instance, instance->generations);
    }
}

void dw__instance_drop_trees(dw_instance *instance)
{
    const dw_handle_table *table = dw_instance_handles(instance);
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        if (context != NULL) {
            dw_context_drop_tree(context);
        }
    }
}
