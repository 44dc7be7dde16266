#include "wasm/instance_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "device/device_view.h"
#include "wasm/instance_internal.h"

#define WASM_PAGE_BYTES 65536u

static const dw_wasm_layout *layout_of(const dw_instance *instance)
{
    DW_ASSERT(instance->module->layout != NULL); /* an actor's module has one */
    return instance->module->layout;
}

/* The layout names only what the module exports, so it is there and of that kind. */
static wasmtime_extern_t export_of(dw_instance *instance, const char *name,
                                   wasmtime_extern_kind_t kind)
{
    wasmtime_extern_t item;
    DW_ASSERT(wasmtime_instance_export_get(wasmtime_store_context(instance->store),
                                           &instance->instance, name, strlen(name), &item));
    DW_ASSERT(item.kind == kind);
    return item;
}

/* ---- memories --------------------------------------------------------------------------- */

size_t dw_state_memory_count(const dw_instance *instance)
{
    return 1 + layout_of(instance)->memory_count;
}

static wasmtime_memory_t memory_of(dw_instance *instance, size_t number)
{
    const dw_wasm_layout *layout = layout_of(instance);
    DW_ASSERT(number <= layout->memory_count);
    const char *name = number == 0 ? "memory" : layout->memories[number - 1].name;
    return export_of(instance, name, WASMTIME_EXTERN_MEMORY).of.memory;
}

dw_region *dw_state_memory(dw_instance *instance, size_t number)
{
    if (number == 0) {
        return instance->region;
    }
    wasmtime_memory_t memory = memory_of(instance, number);
    dw_region *region = dw_wasm_memories_find(
        instance->host->memories,
        wasmtime_memory_data(wasmtime_store_context(instance->store), &memory));
    DW_ASSERT(region != NULL);
    return region;
}

dw_status dw_state_memory_grow(dw_instance *instance, size_t number, size_t bytes, dw_error *err)
{
    wasmtime_memory_t memory = memory_of(instance, number);
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    uint64_t has = wasmtime_memory_size(context, &memory);
    uint64_t wanted = bytes / WASM_PAGE_BYTES;
    uint64_t before;
    if (bytes % WASM_PAGE_BYTES != 0 || wanted < has) {
        return dw_fail(err, DW_E_LIMIT, "memory %zu: %zu bytes, the module starts with %llu pages",
                       number, bytes, (unsigned long long)has);
    }
    wasmtime_error_t *error = wasmtime_memory_grow(context, &memory, wanted - has, &before);
    if (error != NULL) {
        wasmtime_error_delete(error);
        return dw_fail(err, DW_E_LIMIT, "memory %zu: %zu bytes, over the module's or guest's limit",
                       number, bytes);
    }
    return DW_OK;
}

void dw_state_let_go(dw_instance *instance)
{
    if (instance->view != NULL) {
        dw_device_view_unregister(instance->view);
    }
}

/* ---- functions -------------------------------------------------------------------------- */

static int by_index(const void *left, const void *right)
{
    uint32_t a = ((const dw__function *)left)->index;
    uint32_t b = ((const dw__function *)right)->index;
    return a < b ? -1 : a > b;
}

static int by_address(const void *left, const void *right)
{
    return memcmp(&((const dw__function *)left)->function, &((const dw__function *)right)->function,
                  sizeof(wasmtime_func_t));
}

/* The functions that can be referred to, in both orders; found at the first need. */
static dw_status know_functions(dw_instance *instance, dw_error *err)
{
    const dw_wasm_layout *layout = layout_of(instance);
    size_t count = layout->function_count;
    if (instance->functions != NULL || count == 0) {
        return DW_OK;
    }
    instance->functions = dw_alloc(2 * count, sizeof *instance->functions);
    if (instance->functions == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu functions", count);
    }
    for (size_t i = 0; i < count; i++) {
        dw__function known = {
            .function =
                export_of(instance, layout->functions[i].name, WASMTIME_EXTERN_FUNC).of.func,
            .index = layout->functions[i].index};
        instance->functions[i] = known;
        instance->functions[count + i] = known;
    }
    qsort(instance->functions, count, sizeof *instance->functions, by_index);
    qsort(instance->functions + count, count, sizeof *instance->functions, by_address);
    return DW_OK;
}

static dw_status index_of(dw_instance *instance, const wasmtime_func_t *function, uint32_t *index,
                          dw_error *err)
{
    size_t count = layout_of(instance)->function_count;
    *index = DW_FUNCTION_NONE;
    if (function->store_id == 0) {
        return DW_OK;
    }
    dw_status status = know_functions(instance, err);
    if (status != DW_OK) {
        return status;
    }
    dw__function wanted = {.function = *function};
    const dw__function *found =
        count > 0 ? bsearch(&wanted, instance->functions + count, count, sizeof wanted, by_address)
                  : NULL;
    if (found == NULL) {
        return dw_fail(err, DW_E_UNSUPPORTED, "a function that is not among the module's");
    }
    *index = found->index;
    return DW_OK;
}

static dw_status function_at(dw_instance *instance, uint32_t index, wasmtime_func_t *function,
                             dw_error *err)
{
    size_t count = layout_of(instance)->function_count;
    *function = (wasmtime_func_t){.store_id = 0};
    if (index == DW_FUNCTION_NONE) {
        return DW_OK;
    }
    dw_status status = know_functions(instance, err);
    if (status != DW_OK) {
        return status;
    }
    dw__function wanted = {.index = index};
    const dw__function *found =
        count > 0 ? bsearch(&wanted, instance->functions, count, sizeof wanted, by_index) : NULL;
    if (found == NULL) {
        return dw_fail(err, DW_E_RANGE, "function %u: the module has none that can be referred to",
                       index);
    }
    *function = found->function;
    return DW_OK;
}

/* ---- globals ---------------------------------------------------------------------------- */

size_t dw_state_global_count(const dw_instance *instance)
{
    return layout_of(instance)->global_count;
}

dw_status dw_state_global(dw_instance *instance, size_t number, dw_global_value *value,
                          dw_error *err)
{
    const dw_wasm_layout *layout = layout_of(instance);
    DW_ASSERT(number < layout->global_count);
    const dw_wasm_item *item = &layout->globals[number];
    wasmtime_global_t global = export_of(instance, item->name, WASMTIME_EXTERN_GLOBAL).of.global;
    wasmtime_val_t read;
    uint32_t index;
    dw_status status = DW_OK;
    wasmtime_global_get(wasmtime_store_context(instance->store), &global, &read);
    *value = (dw_global_value){{0}};
    switch (item->type) {
    case DW_WASM_I32:
    case DW_WASM_F32:
        memcpy(value->bytes, &read.of.i32, 4);
        break;
    case DW_WASM_I64:
    case DW_WASM_F64:
        memcpy(value->bytes, &read.of.i64, 8);
        break;
    case DW_WASM_V128:
        memcpy(value->bytes, read.of.v128, 16);
        break;
    default:
        DW_ASSERT(item->type == DW_WASM_FUNCREF);
        status = index_of(instance, &read.of.funcref, &index, err);
        memcpy(value->bytes, &index, sizeof index);
    }
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "global %u", item->index);
}

static wasmtime_valkind_t kind_of(dw_wasm_type type)
{
    static const wasmtime_valkind_t kinds[] = {
        [DW_WASM_I32] = WASMTIME_I32,   [DW_WASM_I64] = WASMTIME_I64,
        [DW_WASM_F32] = WASMTIME_F32,   [DW_WASM_F64] = WASMTIME_F64,
        [DW_WASM_V128] = WASMTIME_V128, [DW_WASM_FUNCREF] = WASMTIME_FUNCREF,
    };
    DW_ASSERT(type <= DW_WASM_FUNCREF);
    return kinds[type];
}

dw_status dw_state_set_global(dw_instance *instance, size_t number, const dw_global_value *value,
                              dw_error *err)
{
    const dw_wasm_layout *layout = layout_of(instance);
    DW_ASSERT(number < layout->global_count);
    const dw_wasm_item *item = &layout->globals[number];
    wasmtime_global_t global = export_of(instance, item->name, WASMTIME_EXTERN_GLOBAL).of.global;
    wasmtime_val_t set = {.kind = kind_of(item->type)};
    uint32_t index;
    if (item->type == DW_WASM_FUNCREF) {
        memcpy(&index, value->bytes, sizeof index);
        dw_status status = function_at(instance, index, &set.of.funcref, err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "global %u", item->index);
        }
    } else if (item->type == DW_WASM_V128) {
        memcpy(set.of.v128, value->bytes, 16);
    } else if (item->type == DW_WASM_I64 || item->type == DW_WASM_F64) {
        memcpy(&set.of.i64, value->bytes, 8);
    } else {
        memcpy(&set.of.i32, value->bytes, 4);
    }
    wasmtime_error_t *error =
        wasmtime_global_set(wasmtime_store_context(instance->store), &global, &set);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_TYPE, item->name, error);
}

/* ---- tables ----------------------------------------------------------------------------- */

size_t dw_state_table_count(const dw_instance *instance)
{
    const dw_wasm_layout *layout = layout_of(instance);
    return layout->tables_change ? layout->table_count : 0;
}

static wasmtime_table_t table_of(dw_instance *instance, size_t number)
{
    const dw_wasm_layout *layout = layout_of(instance);
    DW_ASSERT(number < layout->table_count);
    return export_of(instance, layout->tables[number].name, WASMTIME_EXTERN_TABLE).of.table;
}

dw_status dw_state_table(dw_instance *instance, size_t number, uint32_t **entries, size_t *count,
                         dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_table_t table = table_of(instance, number);
    uint64_t size = wasmtime_table_size(context, &table);
    dw_status status = DW_OK;
    *count = 0;
    *entries = dw_alloc((size_t)size + 1, sizeof **entries);
    if (*entries == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a table of %llu entries",
                       (unsigned long long)size);
    }
    for (uint64_t i = 0; i < size && status == DW_OK; i++) {
        wasmtime_val_t value;
        DW_ASSERT(wasmtime_table_get(context, &table, i, &value));
        status = index_of(instance, &value.of.funcref, &(*entries)[i], err);
        if (status != DW_OK) {
            status =
                dw_fail_within(err, status, "table %zu, entry %llu", number, (unsigned long long)i);
        }
    }
    if (status != DW_OK) {
        dw_free(*entries);
        *entries = NULL;
        return status;
    }
    *count = (size_t)size;
    return DW_OK;
}

static dw_status size_table(dw_instance *instance, const wasmtime_table_t *table, size_t number,
                            size_t count, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    uint64_t size = wasmtime_table_size(context, table);
    wasmtime_val_t none = {.kind = WASMTIME_FUNCREF, .of.funcref = {.store_id = 0}};
    uint64_t before;
    if (count < size) {
        return dw_fail(err, DW_E_LIMIT, "table %zu: %zu entries, the module starts with %llu",
                       number, count, (unsigned long long)size);
    }
    wasmtime_error_t *error =
        count > size ? wasmtime_table_grow(context, table, count - size, &none, &before) : NULL;
    if (error != NULL) {
        wasmtime_error_delete(error);
        return dw_fail(err, DW_E_LIMIT, "table %zu: %zu entries, over its limit", number, count);
    }
    return DW_OK;
}

dw_status dw_state_set_table(dw_instance *instance, size_t number, const uint32_t *entries,
                             size_t count, dw_error *err)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_table_t table = table_of(instance, number);
    dw_status status = size_table(instance, &table, number, count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        wasmtime_val_t value = {.kind = WASMTIME_FUNCREF};
        status = function_at(instance, entries[i], &value.of.funcref, err);
        if (status != DW_OK) {
            return dw_fail_within(err, status, "table %zu, entry %zu", number, i);
        }
        wasmtime_error_t *error = wasmtime_table_set(context, &table, i, &value);
        if (error != NULL) {
            return dw__wasm_error(err, DW_E_TYPE, "a table's entry", error);
        }
    }
    return status;
}
