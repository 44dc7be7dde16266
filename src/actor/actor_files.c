/* Files that an actor was thawed from and maps: whether they still have what it maps. */
#include "actor/actor_state.h"
#include "inference/context.h"
#include "kv/kv_log.h"
#include "wasm/instance_state.h"

dw_status dw_actor_check_files(dw_actor *actor, dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(actor->instance);
    for (size_t i = 0; i < dw_state_memory_count(actor->instance); i++) {
        const dw_memory_image *image = actor->images[i];
        dw_status status =
            image != NULL ? dw_memory_image_check(image, dw_state_memory(actor->instance, i), err)
                          : DW_OK;
        if (status != DW_OK) {
            return dw_fail_within(err, status, "actor %s", actor->id);
        }
    }
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        dw_status status =
            context != NULL ? dw_kv_log_check_files(dw_context_log(context), err) : DW_OK;
        if (status != DW_OK) {
            return dw_fail_within(err, status, "actor %s", actor->id);
        }
    }
    return DW_OK;
}
