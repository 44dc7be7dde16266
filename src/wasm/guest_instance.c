/* What host functions ask of their instance. */
#include "wasm/guest_instance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/public_struct.h"
#include "device/device_view.h"
#include "wasm/instance_internal.h"

static void find_memory(dw_instance *instance, wasmtime_caller_t *caller)
{
    wasmtime_extern_t item;
    if (!wasmtime_caller_export_get(caller, "memory", strlen("memory"), &item)) {
        return;
    }
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        wasmtime_context_t *context = wasmtime_caller_context(caller);
        instance->region = dw_wasm_memories_find(instance->host->memories,
                                                 wasmtime_memory_data(context, &item.of.memory));
    }
    wasmtime_extern_delete(&item);
}

dw_instance *dw_instance_of(wasmtime_caller_t *caller)
{
    dw_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    dw_count(&instance->counters.host_calls, 1);
    if (instance->region == NULL) {
        find_memory(instance, caller); /* called from the module's start function */
    }
    return instance;
}

dw_status dw_instance_range(dw_instance *instance, const char *what, uint32_t pointer,
                            uint64_t count, size_t item_bytes, size_t align_bytes, void **out,
                            dw_error *err)
{
    *out = NULL;
    if (count == 0) {
        return DW_OK;
    }
    size_t memory_bytes =
        instance->region != NULL ? dw_region_committed_bytes(instance->region) : 0;
    uint64_t bytes;
    uint64_t end;
    if (!dw_mul_u64(&bytes, count, item_bytes) || !dw_add_u64(&end, pointer, bytes) ||
        end > memory_bytes) {
        return dw_fail(err, DW_E_RANGE, "%s: %llu items of %zu bytes at %u: memory has %zu bytes",
                       what, (unsigned long long)count, item_bytes, pointer, memory_bytes);
    }
    if ((pointer & (align_bytes - 1)) != 0) {
        return dw_fail(err, DW_E_ALIGN, "%s: %u is not a multiple of %zu", what, pointer,
                       align_bytes);
    }
    *out = (unsigned char *)dw_region_base(instance->region) + pointer;
    return DW_OK;
}

dw_status dw_instance_room(dw_instance *instance, size_t bytes, void **out, dw_error *err)
{
    *out = NULL;
    if (bytes > instance->room_bytes) {
        dw_account_scope before = dw_account_enter(instance->account, DW_PART_TEXTS);
        void *grown = dw_realloc(instance->room, bytes, 1);
        dw_account_leave(before);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of a call", bytes);
        }
        instance->room = grown;
        instance->room_bytes = bytes;
    }
    *out = instance->room;
    return DW_OK;
}

dw_error *dw_instance_error(dw_instance *instance)
{
    return &instance->error;
}

dw_actor *dw_instance_actor(const dw_instance *instance)
{
    return instance->actor;
}

void dw_instance_set_actor(dw_instance *instance, dw_actor *actor)
{
    instance->actor = actor;
}

void dw_instance_set_import_user(dw_instance *instance, void *user)
{
    instance->import_user = user;
}

dw_instance_place *dw_instance_place_of(dw_instance *instance)
{
    return &instance->place;
}

bool dw_instance_is_calling(const dw_instance *instance)
{
    return instance->calling;
}

dw_counters *dw_instance_counters(dw_instance *instance)
{
    return &instance->counters;
}

dw_device *dw_instance_device(const dw_instance *instance)
{
    return instance->host->device;
}

dw_wasm_host *dw_instance_host(const dw_instance *instance)
{
    return instance->host;
}

dw_region *dw_instance_region(const dw_instance *instance)
{
    return instance->region;
}

dw_status dw_instance_view(dw_instance *instance, dw_device_view **out, dw_error *err)
{
    *out = NULL;
    if (instance->region == NULL) {
        return dw_fail(err, DW_E_STATE, "the guest has no memory yet");
    }
    dw_status status = DW_OK;
    if (instance->view == NULL) {
        status = dw_device_view_create(&instance->view, instance->host->device, instance->region,
                                       DW_VIEW_STAGEABLE, err);
    } else {
        status = dw_device_view_follow(instance->view, err);
    }
    *out = status == DW_OK ? instance->view : NULL;
    return status;
}

dw_status dw_instance_view_of_tokens(dw_instance *instance, dw_device_view **out, dw_error *err)
{
    *out = NULL;
    return instance->view != NULL || dw_device_unified(instance->host->device)
               ? dw_instance_view(instance, out, err)
               : DW_OK;
}

static const char *own_name(const dw_model *model)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    return info.name;
}

size_t dw_instance_model_count(const dw_instance *instance)
{
    return instance->model_count;
}

const char *dw_instance_model_name(const dw_instance *instance, size_t index)
{
    DW_ASSERT(index < instance->model_count);
    return instance->model_names != NULL && instance->model_names[index] != NULL
               ? instance->model_names[index]
               : own_name(instance->models[index]);
}

dw_status dw_instance_model(dw_instance *instance, const char *name, dw_model **out, dw_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < instance->model_count; i++) {
        if (name[0] == '\0' || strcmp(dw_instance_model_name(instance, i), name) == 0) {
            *out = instance->models[i];
            return DW_OK;
        }
    }
    for (size_t i = 0; i < instance->model_count; i++) {
        if (strcmp(own_name(instance->models[i]), name) == 0) {
            *out = instance->models[i];
            return DW_OK;
        }
    }
    if (instance->model_count == 0) {
        return dw_fail(err, DW_E_DENIED, "model '%.60s': this guest was granted no model", name);
    }
    return dw_fail(err, DW_E_DENIED, "model '%.60s': not among the %zu granted to this guest", name,
                   instance->model_count);
}

dw_chats *dw_instance_chats(const dw_instance *instance, const dw_model *model)
{
    for (size_t i = 0; instance->chats != NULL && i < instance->model_count; i++) {
        if (instance->models[i] == model) {
            return instance->chats[i];
        }
    }
    return dw_model_chats(model);
}

dw_account *dw_instance_account(const dw_instance *instance)
{
    return instance->account;
}

size_t dw_account_info_count(void)
{
    return DW_PART_COUNT + 2;
}

dw_status dw_instance_get_account(const dw_instance *instance, size_t index, dw_account_info *info,
                                  dw_error *err)
{
    dw_status status = dw_struct_check(info, "dw_account_info", err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= dw_account_info_count()) {
        return dw_fail(err, DW_E_RANGE, "account: entry %zu, there are %zu", index,
                       dw_account_info_count());
    }
    bool of_handles = index == DW_PART_COUNT + 1;
    dw_account_part part = index == 0 ? DW_PART_COUNT : (dw_account_part)(index - 1);
    dw_limit_info row = {.struct_bytes = sizeof row};
    size_t at = of_handles ? dw_limit_find("handles") : index;
    status = dw_limit_get_info(at, &row, err);
    const dw_account_info own = {
        .name = row.name,
        .unit = row.unit,
        .now = of_handles ? instance->handles.count : dw_account_now(instance->account, part),
        .most = of_handles ? instance->handles_most : dw_account_most(instance->account, part),
        .limit = dw_limits_at(&instance->limits, at)};
    dw_struct_write(info, &own, sizeof own);
    return status;
}

dw_kv_type dw_instance_kv_type(const dw_instance *instance)
{
    return instance->kv_type;
}

void dw_instance_coarsen_clocks(dw_instance *instance, uint64_t step_ns)
{
    uint64_t *own = &instance->limits.clock_ns;
    *own = *own > step_ns ? *own : step_ns;
}

const dw_limits *dw_instance_limits(const dw_instance *instance)
{
    return &instance->limits;
}

dw_stop *dw_instance_stop(dw_instance *instance)
{
    return &instance->stop;
}

bool dw_instance_cancelled(dw_instance *instance)
{
    return dw_stop_asked(&instance->stop);
}

void dw_instance_take_cancellation(dw_instance *instance)
{
    dw_stop_take(&instance->stop);
}

ptrdiff_t dw_instance_input(dw_instance *instance, char *buffer, size_t capacity)
{
    return instance->on_input != NULL ? instance->on_input(instance->user, buffer, capacity) : -1;
}

void dw_instance_progress(dw_instance *instance, uint32_t done, uint32_t total)
{
    if (instance->on_progress != NULL) {
        instance->on_progress(instance->user, done, total);
    }
}

/* ---- handles ------------------------------------------------------------------------------ */

dw_handle_table *dw_instance_handles(dw_instance *instance)
{
    return &instance->handles;
}

void *dw_instance_get_object(dw_instance *instance, dw_handle_kind kind, int32_t handle)
{
    return dw_handle_get(&instance->handles, (uint8_t)kind, dw_handle_types[kind].name, handle,
                         &instance->error);
}

int32_t dw_instance_add_handle(dw_instance *instance, dw_handle_kind kind, void *object)
{
    int32_t handle = 0;
    dw_status status = dw_handle_add(&instance->handles, (uint8_t)kind, dw_handle_types[kind].name,
                                     object, &handle, &instance->error);
    if (status != DW_OK) {
        dw_handle_types[kind].destroy(object);
        return status;
    }
    size_t count = instance->handles.count;
    instance->handles_most = count > instance->handles_most ? count : instance->handles_most;
    return handle;
}

int32_t dw_instance_close_handle(dw_instance *instance, dw_handle_kind kind, int32_t handle)
{
    void *object = dw_handle_take(&instance->handles, (uint8_t)kind, dw_handle_types[kind].name,
                                  handle, &instance->error);
    if (object == NULL) {
        return instance->error.code;
    }
    dw_handle_types[kind].destroy(object);
    return DW_OK;
}

size_t dw_instance_count_handles(const dw_instance *instance, dw_handle_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < instance->handles.capacity; i++) {
        count += dw_handle_at(&instance->handles, (uint8_t)kind, i) != NULL;
    }
    return count;
}

dw_status dw_instance_fork_handles(dw_instance *child, const dw_instance *parent, bool graphs_too,
                                   dw_error *err)
{
    dw_status status = dw_instance_share_prefixes(child, parent->prefix_scope, err);
    dw_instance_set_contexts(child, parent->contexts);
    if (status == DW_OK) {
        status = dw_handle_table_size(&child->handles, parent->handles.capacity, err);
    }
    for (size_t i = 0; i < parent->handles.capacity && status == DW_OK; i++) {
        const dw_handle_slot *from = &parent->handles.slots[i];
        dw_handle_slot *to = &child->handles.slots[i];
        to->generation = from->generation;
        if (from->object != NULL && from->kind == DW_HANDLE_GRAPH && !graphs_too) {
            to->generation = dw_handle_next_generation(from->generation);
        } else if (from->object != NULL) {
            void *copy = NULL;
            to->kind = from->kind;
            dw_account_scope before =
                dw_account_enter(child->account, dw_handle_types[from->kind].part);
            status = dw_handle_types[from->kind].fork(&copy, from->object, child, err);
            dw_account_leave(before);
            to->object = status == DW_OK ? copy : NULL;
            child->handles.count += status == DW_OK;
        }
    }
    child->handles_most = child->handles.count;
    return dw_account_explain(child->account, status, err);
}

void dw__instance_destroy_handles(dw_instance *instance)
{
    for (size_t i = 0; i < instance->handles.capacity; i++) {
        const dw_handle_slot *slot = &instance->handles.slots[i];
        if (slot->object != NULL) {
            DW_ASSERT(slot->kind > 0 && slot->kind < DW_HANDLE_KIND_COUNT);
            dw_handle_types[slot->kind].destroy(slot->object);
        }
    }
    dw_handle_table_release(&instance->handles);
}
