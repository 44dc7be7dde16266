#include "wasm/handle_table.h"

#include "base/alloc.h"

#define GENERATION_MAX 0x7fff

void dw_handle_table_init(dw_handle_table *table, size_t limit)
{
    DW_ASSERT(limit > 0 && limit <= 65536);
    *table = (dw_handle_table){.limit = limit};
}

void dw_handle_table_release(dw_handle_table *table)
{
    dw_free(table->slots);
    *table = (dw_handle_table){0};
}

int32_t dw_handle_number(size_t slot, uint16_t generation)
{
    return (int32_t)(((uint32_t)generation << 16) | (uint32_t)slot);
}

static dw_status grow(dw_handle_table *table, size_t capacity)
{
    dw_handle_slot *slots = dw_realloc(table->slots, capacity, sizeof *slots);
    if (slots == NULL) {
        return DW_E_MEMORY;
    }
    for (size_t i = table->capacity; i < capacity; i++) {
        slots[i] = (dw_handle_slot){.generation = 1};
    }
    table->slots = slots;
    table->capacity = capacity;
    return DW_OK;
}

dw_status dw_handle_table_size(dw_handle_table *table, size_t capacity, dw_error *err)
{
    DW_ASSERT(table->capacity == 0 && capacity <= table->limit);
    if (capacity > 0 && grow(table, capacity) != DW_OK) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu handles", capacity);
    }
    return DW_OK;
}

dw_status dw_handle_add(dw_handle_table *table, uint8_t kind, const char *what, void *object,
                        int32_t *handle, dw_error *err)
{
    DW_ASSERT(kind != 0 && object != NULL);
    size_t slot = 0;
    while (slot < table->capacity && table->slots[slot].object != NULL) {
        slot++;
    }
    if (slot == table->limit) {
        return dw_fail(err, DW_E_LIMIT, "%s: %zu are open, limit %zu (handles)", what, slot,
                       table->limit);
    }
    if (slot == table->capacity) {
        size_t capacity = table->capacity == 0 ? 8 : table->capacity * 2;
        capacity = capacity < table->limit ? capacity : table->limit;
        dw_status status = grow(table, capacity);
        if (status != DW_OK) {
            return dw_fail(err, status, "%s: no memory for %zu handles", what, capacity);
        }
    }
    table->slots[slot].object = object;
    table->slots[slot].kind = kind;
    table->count++;
    *handle = dw_handle_number(slot, table->slots[slot].generation);
    return DW_OK;
}

static dw_handle_slot *find(const dw_handle_table *table, uint8_t kind, const char *what,
                            int32_t handle, dw_error *err)
{
    size_t slot = (uint32_t)handle & 0xffff;
    uint32_t generation = (uint32_t)handle >> 16;
    if (handle > 0 && slot < table->capacity) {
        dw_handle_slot *found = &table->slots[slot];
        if (found->object != NULL && found->generation == generation && found->kind == kind) {
            return found;
        }
    }
    (void)dw_fail(err, DW_E_HANDLE, "%d is not an open %s", handle, what);
    return NULL;
}

void *dw_handle_get(const dw_handle_table *table, uint8_t kind, const char *what, int32_t handle,
                    dw_error *err)
{
    dw_handle_slot *found = find(table, kind, what, handle, err);
    return found != NULL ? found->object : NULL;
}

void *dw_handle_at(const dw_handle_table *table, uint8_t kind, size_t slot)
{
    if (slot >= table->capacity || table->slots[slot].kind != kind) {
        return NULL;
    }
    return table->slots[slot].object;
}

uint16_t dw_handle_next_generation(uint16_t generation)
{
    return (uint16_t)(generation == GENERATION_MAX ? 1 : generation + 1);
}

void *dw_handle_take(dw_handle_table *table, uint8_t kind, const char *what, int32_t handle,
                     dw_error *err)
{
    dw_handle_slot *found = find(table, kind, what, handle, err);
    if (found == NULL) {
        return NULL;
    }
    void *object = found->object;
    DW_ASSERT(table->count > 0);
    table->count--;
    found->object = NULL;
    found->generation = dw_handle_next_generation(found->generation);
    return object;
}
