/* What a guest hands over to the module that takes its place, and takes from the one before. */
#include "actor/upgrade.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"

/* The actor that calls; NULL with dw_instance_error filled: the guest is none. */
static dw_actor *actor_of(dw_instance *instance)
{
    dw_actor *actor = dw_instance_actor(instance);
    if (actor == NULL) {
        (void)dw_fail(dw_instance_error(instance), DW_E_STATE,
                      "this guest is no actor, or not yet");
    }
    return actor;
}

/* bytes, count */
static int32_t state_give(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_actor *actor = actor_of(instance);
    void *bytes = NULL;
    if (actor == NULL) {
        return err->code;
    }
    dw_status status = dw_instance_range(instance, "state", dw__u32(&args[0]), dw__u32(&args[1]), 1,
                                         1, &bytes, err);
    return status == DW_OK ? dw_actor_give_state(actor, bytes, dw__u32(&args[1]), err) : status;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, state_give)

static int64_t state_bytes(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_actor *actor = actor_of(instance);
    dw_error *err = dw_instance_error(instance);
    (void)args;
    return actor != NULL ? dw_actor_state_bytes(actor, err) : err->code;
}
DW__GUEST_CALL(i64, state_bytes)

/* buffer, capacity */
static int32_t state_take(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_actor *actor = actor_of(instance);
    uint32_t capacity = dw__u32(&args[1]);
    void *buffer = NULL;
    if (actor == NULL) {
        return err->code;
    }
    dw_status status =
        dw_instance_range(instance, "buffer", dw__u32(&args[0]), capacity, 1, 1, &buffer, err);
    capacity = capacity < INT32_MAX ? capacity : INT32_MAX; /* what is told by an i32 */
    return status == DW_OK ? (int32_t)dw_actor_take_state(actor, buffer, capacity, err) : status;
}
DW__GUEST_CALL(i32, state_take)

/* handle */
static int32_t handle_keep(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_actor *actor = actor_of(instance);
    return actor != NULL ? dw_actor_keep_handle(actor, args[0].i32, err) : err->code;
}
DW__GUEST_CALL(i32, handle_keep)

const dw_host_import dw_upgrade_imports[] = {
    {"state_give", "ii:i", call_state_give},
    {"state_bytes", ":I", call_state_bytes},
    {"state_take", "ii:i", call_state_take},
    {"handle_keep", "i:i", call_handle_keep},
    {NULL, NULL, NULL},
};
