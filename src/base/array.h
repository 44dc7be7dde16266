/* Arrays that grow, each a pointer and a capacity kept by its owner.
 * Thread: the owner's. */
#ifndef DW_BASE_ARRAY_H
#define DW_BASE_ARRAY_H

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

#define DW_ARRAY_FIRST 8u /* items that there is room for at first */

/* Make room for `count` items of `item_bytes` in the array that *array points to, which may move.
 * The capacity doubles, up to `limit` items, so that adding one by one costs a constant each. New
 * items are not zeroed.
 *   array  T **, read and written as a pointer to objects of any type
 * false: more than the limit, more bytes than a size can say, or no memory; nothing has changed. */
static inline bool dw_array_reserve(void *array, size_t *capacity, size_t count, size_t item_bytes,
                                    size_t limit)
{
    if (count <= *capacity) {
        return true;
    }
    if (count > limit) {
        return false;
    }
    size_t wanted = *capacity <= limit / 2 ? *capacity * 2 : limit;
    wanted = wanted > DW_ARRAY_FIRST ? wanted : DW_ARRAY_FIRST;
    wanted = wanted < limit ? wanted : limit;
    wanted = wanted > count ? wanted : count;
    void *items;
    memcpy(&items, array, sizeof items);
    void *grown = dw_realloc(items, wanted, item_bytes); /* refuses a product that overflows */
    if (grown == NULL) {
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

/* The same for `T *items; size_t capacity`. */
#define DW_ARRAY_RESERVE(items, capacity, count, limit)                                            \
    dw_array_reserve(&(items), &(capacity), (count), sizeof *(items), (limit))

#endif
