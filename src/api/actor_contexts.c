/* An actor's contexts as include/driftwood.h shows them. */
#include "actor/actor_state.h"
#include "api/session.h"
#include "base/public_struct.h"
#include "wasm/handle_kinds.h"
#include "wasm/handle_table.h"

static const dw_handle_table *handles_of(const dw_actor *actor)
{
    return dw_instance_handles(dw_actor_instance((dw_actor *)(uintptr_t)actor));
}

static bool is_context(const dw_handle_slot *slot)
{
    return slot->object != NULL && slot->kind == DW_HANDLE_CONTEXT;
}

size_t dw_actor_context_count(const dw_actor *actor)
{
    const dw_handle_table *table = handles_of(actor);
    size_t count = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        count += is_context(&table->slots[i]);
    }
    return count;
}

/* The slot of context `index`. */
static dw_status find(const dw_actor *actor, size_t index, size_t *slot, dw_error *err)
{
    const dw_handle_table *table = handles_of(actor);
    size_t count = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        if (is_context(&table->slots[i]) && count++ == index) {
            *slot = i;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_RANGE, "context %zu: the actor has %zu", index, count);
}

dw_status dw_actor_get_context_info(const dw_actor *actor, size_t index, dw_context_info *info,
                                    dw_error *err)
{
    size_t at = 0;
    dw_status status = dw_struct_check(info, "dw_context_info", err);
    if (status == DW_OK) {
        status = find(actor, index, &at, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw_handle_slot *slot = &handles_of(actor)->slots[at];
    const dw_context *context = slot->object;
    const dw_context_info own = {
        .handle = dw_handle_number(at, slot->generation),
        .token_count = dw_context_length(context),
        .tokens_max = dw_context_capacity(context),
        .kv_type = dw_context_kv_type(context),
        .tokens = dw_context_tokens(context),
    };
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_actor_open_context(dw_session **out, dw_actor *actor, size_t index, dw_error *err)
{
    size_t at = 0;
    *out = NULL;
    dw_status status = dw_actor_check_rests(actor, err);
    if (status == DW_OK) {
        status = find(actor, index, &at, err);
    }
    return status == DW_OK ? dw_session_borrow(out, handles_of(actor)->slots[at].object, err)
                           : status;
}
