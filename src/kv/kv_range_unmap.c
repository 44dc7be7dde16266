/* Unmapping: what a range gives back. */
#include "kv/kv_range_unmap.h"

#include "kv/kv_allocation.h"

void dw__kv_range_unmap_place(dw__kv_range *range, dw__kv_place *place)
{
    dw__kv_allocation *allocation = place->allocation;
    dw_vram_unmap(range->pool->vram, range->address + place->offset, allocation->bytes);
    place->mapped = false;
    DW_ASSERT(allocation->mappings > 0);
    if (--allocation->mappings > 0) {
        return;
    }
    size_t held = range->held > place->offset ? range->held - place->offset : 0;
    /* Others' bytes all count: who they are is not known here. */
    allocation->filled =
        allocation->users == 1 ? dw__smaller(held, allocation->bytes) : allocation->bytes;
    dw__kv_pool_add_unmapped(range->pool, allocation);
}

void dw__kv_range_drop_last_place(dw__kv_range *range)
{
    DW_ASSERT(range->place_count > 0);
    dw__kv_place *place = &range->places[range->place_count - 1];
    dw__kv_allocation *allocation = place->allocation;
    if (place->mapped) {
        dw__kv_range_unmap_place(range, place);
    }
    range->mapped -= allocation->bytes;
    range->place_count--;
    if (--allocation->users == 0) {
        if (allocation->memory.bytes > 0) {
            dw__kv_pool_remove_unmapped(range->pool, allocation);
        }
        dw__kv_allocation_free(range->pool, allocation);
    }
}

void dw__kv_range_drop_ahead(dw__kv_range *range)
{
    dw__kv_allocation *allocation = range->ahead_allocation;
    if (allocation == NULL) {
        return;
    }
    DW_ASSERT(range->ahead == AHEAD_READY);
    dw_vram_unmap(range->pool->vram, range->address + range->mapped, allocation->bytes);
    allocation->mappings = 0;
    allocation->users = 0;
    dw__kv_allocation_free(range->pool, allocation);
    range->ahead_allocation = NULL;
    range->ahead = AHEAD_NONE;
}

void dw__kv_range_evict(dw__kv_range *range)
{
    dw__kv_pool_await(range->pool, range);
    dw__kv_range_drop_ahead(range);
    for (size_t i = 0; i < range->place_count; i++) {
        if (range->places[i].mapped) {
            dw__kv_range_unmap_place(range, &range->places[i]);
        }
    }
    range->resident = range->place_count == 0;
}
