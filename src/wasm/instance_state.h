/* What of an instance is its state, beside the objects behind its handles: memories, globals,
 * tables. Between calls only: no guest frame is on the stack then.
 * Thread: the instance's. */
#ifndef DW_WASM_INSTANCE_STATE_H
#define DW_WASM_INSTANCE_STATE_H

#include "memory/memory_image.h"
#include "wasm/guest_instance.h"

#define DW_FUNCTION_NONE UINT32_MAX

/* A mutable global's value: little-endian, as many bytes as its type has; of a funcref the index
 * of the function in the module, or DW_FUNCTION_NONE, as 4 bytes. */
typedef struct dw_global_value {
    unsigned char bytes[16];
} dw_global_value;

/* Linear memories: number 0 is the one exported as "memory", the others follow in the module's
 * order. */
size_t dw_state_memory_count(const dw_instance *instance);
dw_region *dw_state_memory(dw_instance *instance, size_t number);
/* Grow the memory to `bytes` in all, a multiple of 65,536 and not less than it has.
 * Errors: DW_E_LIMIT. */
dw_status dw_state_memory_grow(dw_instance *instance, size_t number, size_t bytes, dw_error *err);
/* Before pages of the linear memory are mapped over. */
void dw_state_let_go(dw_instance *instance);

/* Mutable globals, by their place in the module's layout. Errors: DW_E_UNSUPPORTED (a function that
 * is not among the module's), DW_E_RANGE (setting: no such function). */
size_t dw_state_global_count(const dw_instance *instance);
dw_status dw_state_global(dw_instance *instance, size_t number, dw_global_value *value,
                          dw_error *err);
dw_status dw_state_set_global(dw_instance *instance, size_t number, const dw_global_value *value,
                              dw_error *err);

/* Tables that the module's code can change; 0 where it cannot. Entries are functions' indices in
 * the module. `*entries` [*count] is the caller's to dw_free. Errors: as globals; DW_E_MEMORY,
 * DW_E_LIMIT (setting: fewer entries than the table has at the start, or more than it may). */
size_t dw_state_table_count(const dw_instance *instance);
dw_status dw_state_table(dw_instance *instance, size_t number, uint32_t **entries, size_t *count,
                         dw_error *err);
dw_status dw_state_set_table(dw_instance *instance, size_t number, const uint32_t *entries,
                             size_t count, dw_error *err);

#endif
