/* Small positive numbers that stand for host objects in a guest's hands. A handle carries the
 * slot and the slot's generation, so that one used after it was closed is refused, not mistaken
 * for its slot's next tenant. Not thread-safe: a table belongs to one instance. */
#ifndef DW_WASM_HANDLE_TABLE_H
#define DW_WASM_HANDLE_TABLE_H

#include "base/status.h"

typedef struct dw_handle_slot {
    void *object;        /* NULL: free */
    uint16_t generation; /* 1..0x7fff, of the present or next tenant */
    uint8_t kind;
} dw_handle_slot;

typedef struct dw_handle_table {
    dw_handle_slot *slots; /* [capacity] */
    size_t capacity;
    size_t limit; /* slots there may ever be, at most 65,536 */
    size_t count; /* open handles */
} dw_handle_table;

void dw_handle_table_init(dw_handle_table *table, size_t limit);
/* Frees the table, not the objects. */
void dw_handle_table_release(dw_handle_table *table);

/* A handle (> 0) for `object` of `kind` (> 0, what it is; `what` names it in messages).
 * Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_handle_add(dw_handle_table *table, uint8_t kind, const char *what, void *object,
                        int32_t *handle, dw_error *err);
/* That of a slot's next tenant. */
uint16_t dw_handle_next_generation(uint16_t generation);
/* The handle of a slot's tenant. */
int32_t dw_handle_number(size_t slot, uint16_t generation);
/* Make `table`, which is empty, have `capacity` free slots, at most its limit: for copies of other
 * tables, whose slots are then filled in by the caller, generations too. Errors: DW_E_MEMORY. */
dw_status dw_handle_table_size(dw_handle_table *table, size_t capacity, dw_error *err);
/* The object behind `handle`; NULL with `err` filled (DW_E_HANDLE) where it is none of `kind`. */
void *dw_handle_get(const dw_handle_table *table, uint8_t kind, const char *what, int32_t handle,
                    dw_error *err);
/* The object in `slot`, which may be beyond the table; NULL: free, or of another kind. */
void *dw_handle_at(const dw_handle_table *table, uint8_t kind, size_t slot);
/* Take the object out; the handle is dead from now on. NULL as above. */
void *dw_handle_take(dw_handle_table *table, uint8_t kind, const char *what, int32_t handle,
                     dw_error *err);

#endif
