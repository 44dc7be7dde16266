/* What every file of imports uses: the shape of a host function, its arguments, its objects.
 * Private to src/guest_abi. */
#ifndef DW_GUEST_ABI_GUEST_CALL_H
#define DW_GUEST_ABI_GUEST_CALL_H

#include <string.h>

#include "inference/context.h"
#include "model/model.h"
#include "wasm/guest_instance.h"

/* call_NAME for the tables, of the function NAME(instance, args): `begin`, then `result` of `type`.
 * Where work was left because the guest's time is over, the call does not return to it. */
#define DW__GUEST_CALL_AS(type, name, begin, result)                                               \
    static wasm_trap_t *call_##name(void *env, wasmtime_caller_t *caller,                          \
                                    wasmtime_val_raw_t *args, size_t count)                        \
    {                                                                                              \
        (void)env;                                                                                 \
        (void)count;                                                                               \
        dw_instance *instance = dw_instance_of(caller);                                            \
        begin;                                                                                     \
        args[0].type = result;                                                                     \
        return args[0].type < 0 ? dw_instance_failed_call(instance, args[0].type) : NULL;          \
    }
/* NAME answers a result of `type` (i32 or i64), or with i32 a negative status and its message in
 * dw_instance_error. */
#define DW__GUEST_CALL(type, name) DW__GUEST_CALL_AS(type, name, (void)0, name(instance, args))
/* The same for one that takes memory for the guest: what it allocates is charged to `part` of the
 * guest's account, and where that refuses it, the guest is told so. */
#define DW__GUEST_CALL_TAKING(type, part, name)                                                    \
    DW__GUEST_CALL_AS(type, name, dw_account_scope before = dw__taking_begin(instance, part),      \
                      dw__taking_end(instance, before, name(instance, args)))
/* The same for one that lets objects of the guest's grow, which know whose they are. */
#define DW__GUEST_CALL_GROWING(type, name)                                                         \
    DW__GUEST_CALL_AS(type, name, dw_account_forget(dw_instance_account(instance)),                \
                      dw__explained(instance, name(instance, args)))

/* What a call answers, or that the guest's account had refused it what it needed. */
static inline int32_t dw__explained(dw_instance *instance, int32_t result)
{
    return result == DW_E_MEMORY || result == DW_E_LIMIT
               ? (int32_t)dw_account_explain(dw_instance_account(instance), (dw_status)result,
                                             dw_instance_error(instance))
               : result;
}

static inline dw_account_scope dw__taking_begin(dw_instance *instance, dw_account_part part)
{
    dw_account_forget(dw_instance_account(instance));
    return dw_account_enter(dw_instance_account(instance), part);
}

static inline int32_t dw__taking_end(dw_instance *instance, dw_account_scope before, int32_t result)
{
    dw_account_leave(before);
    return dw__explained(instance, result);
}

static inline uint32_t dw__u32(const wasmtime_val_raw_t *arg)
{
    return (uint32_t)arg->i32;
}

/* The object of a handle; NULL with dw_instance_error filled: the guest has no such. */
static inline dw_model *dw__model_of(dw_instance *instance, int32_t handle)
{
    return dw_instance_get_object(instance, DW_HANDLE_MODEL, handle);
}

/* NULL with dw_instance_error filled: what is generated ahead of the guest has taken it. */
static inline void *dw__free_of(dw_instance *instance, void *object, const char *what,
                                int32_t handle)
{
    if (object != NULL && dw_instance_generation_of(instance, object) != NULL) {
        (void)dw_fail(dw_instance_error(instance), DW_E_STATE,
                      "%s: %d is taken until generate_wait has told of the end", what, handle);
        return NULL;
    }
    return object;
}

static inline dw_context *dw__context_of(dw_instance *instance, int32_t handle)
{
    return dw__free_of(instance, dw_instance_get_object(instance, DW_HANDLE_CONTEXT, handle),
                       "context", handle);
}

static inline dw_sampler *dw__sampler_of(dw_instance *instance, int32_t handle)
{
    const dw_guest_sampler *found = dw_instance_get_object(instance, DW_HANDLE_SAMPLER, handle);
    if (found == NULL || dw__free_of(instance, found->sampler, "sampler", handle) == NULL) {
        return NULL;
    }
    dw_sampler_set_stop(found->sampler, dw_instance_stop(instance));
    return found->sampler;
}

/* Bytes that a guest hands over, against one of its limits, of that name. */
static inline dw_status dw__check_bytes(const char *what, uint64_t bytes, uint64_t limit,
                                        const char *name, dw_error *err)
{
    return bytes <= limit ? DW_OK
                          : dw_fail(err, DW_E_LIMIT, "%s: %llu bytes, limit %llu (%s)", what,
                                    (unsigned long long)bytes, (unsigned long long)limit, name);
}

/* A name into [capacity] of the guest's memory: its bytes, or a negative status.
 * Errors: DW_E_SPACE. */
static inline int32_t dw__put_name(void *place, uint32_t capacity, const char *name, dw_error *err)
{
    const size_t bytes = strlen(name);
    if (bytes > capacity) {
        return dw_fail(err, DW_E_SPACE, "name: %zu bytes, room for %u", bytes, capacity);
    }
    if (bytes > 0) {
        memcpy(place, name, bytes);
    }
    return (int32_t)bytes;
}

/* `count` floats of a guest. Errors: those of dw_instance_range. */
static inline dw_status dw__logits_range(dw_instance *instance, uint32_t pointer, uint32_t count,
                                         void **out, dw_error *err)
{
    return dw_instance_range(instance, "logits", pointer, count, sizeof(float), sizeof(float), out,
                             err);
}

#endif
