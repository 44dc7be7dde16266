/* LoRA adapters for guests: those of a model, and which of them a context's steps have. */
#include <assert.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"

static_assert(DW_LORAS_MAX == DW_ADAPTERS_MAX, "what models have is what guests may ask for");
static_assert(DW_LORA_NAME_MAX == DW_ADAPTER_NAME_MAX, "the same of names");

/* model -> how many */
static int32_t lora_count(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_model *model = dw__model_of(instance, args[0].i32);
    return model == NULL ? (int32_t)dw_instance_error(instance)->code
                         : (int32_t)dw_model_adapter_count(model);
}
DW__GUEST_CALL(i32, lora_count)

/* model, index, name, capacity -> bytes of the name */
static int32_t lora_name(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_model *model = dw__model_of(instance, args[0].i32);
    const uint32_t index = dw__u32(&args[1]);
    const uint32_t capacity = dw__u32(&args[3]);
    void *place;
    if (model == NULL) {
        return err->code;
    }
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[2]), capacity, 1, 1, &place, err);
    if (status != DW_OK) {
        return status;
    }
    const size_t count = dw_model_adapter_count(model);
    if (index >= count) {
        return dw_fail(err, DW_E_RANGE, "index: %u, the model has %zu adapters", index, count);
    }
    return dw__put_name(place, capacity, dw_adapters_at(dw_model_adapters(model), index)->name,
                        err);
}
DW__GUEST_CALL(i32, lora_name)

/* Lists of a guest's: numbers and scales [count]. */
typedef struct lists {
    uint32_t *loras;
    float *scales;
} lists;

static dw_status find_lists(dw_instance *instance, const wasmtime_val_raw_t *args, uint32_t count,
                            lists *at, dw_error *err)
{
    void *loras = NULL;
    void *scales = NULL;
    dw_status status = dw_instance_range(instance, "loras", dw__u32(&args[1]), count,
                                         sizeof(uint32_t), sizeof(uint32_t), &loras, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "scales", dw__u32(&args[2]), count, sizeof(float),
                                   sizeof(float), &scales, err);
    }
    *at = (lists){loras, scales};
    return status;
}

/* Scales are numbers: without a limit each context's steps could be of a kind of their own, and run
 * alone. */
static dw_status set_adapters(dw_instance *instance, dw_context *context,
                              const dw_adapter_choice *choices, uint32_t count, dw_error *err)
{
    dw_adapter_set *set = NULL;
    dw_adapters *adapters = dw_model_adapters(dw_context_model(context));
    dw_status status = dw_adapter_set_get(&set, adapters, choices, count, err);
    if (status == DW_OK) {
        status = dw_instance_may_have_adapters(instance, context, set, err);
    }
    if (status == DW_OK) {
        status = dw_context_set_adapters(context, choices, count, err);
    }
    dw_adapter_set_unref(set);
    return status;
}

/* context, loras, scales, count */
static int32_t context_set_loras(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    const uint32_t count = dw__u32(&args[3]);
    dw_adapter_choice choices[DW_LORAS_MAX];
    lists at;
    if (context == NULL) {
        return err->code;
    }
    if (count > DW_LORAS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "loras: %u, limit %d", count, DW_LORAS_MAX);
    }
    dw_status status = find_lists(instance, args, count, &at, err);
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < count; i++) {
        choices[i] = (dw_adapter_choice){at.loras[i], at.scales[i]};
    }
    return set_adapters(instance, context, choices, count, err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_KV, context_set_loras)

/* context, loras, scales, capacity -> how many */
static int32_t context_loras(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_context *context = dw__context_of(instance, args[0].i32);
    const uint32_t capacity = dw__u32(&args[3]);
    lists at;
    if (context == NULL) {
        return err->code;
    }
    dw_status status = find_lists(instance, args, capacity, &at, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_adapter_set *set = dw_context_adapters(context);
    const uint32_t count = set != NULL ? set->count : 0;
    if (count > capacity) {
        return dw_fail(err, DW_E_SPACE, "loras: the context has %u, room for %u", count, capacity);
    }
    for (uint32_t i = 0; i < count; i++) {
        at.loras[i] = set->choices[i].index;
        at.scales[i] = set->choices[i].scale;
    }
    return (int32_t)count;
}
DW__GUEST_CALL(i32, context_loras)

const dw_host_import dw_lora_imports[] = {
    {"lora_count", "i:i", call_lora_count},
    {"lora_name", "iiii:i", call_lora_name},
    {"context_set_loras", "iiii:i", call_context_set_loras},
    {"context_loras", "iiii:i", call_context_loras},
    {NULL, NULL, NULL},
};
