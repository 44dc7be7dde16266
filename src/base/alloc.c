#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static _Atomic int64_t fail_countdown = -1; /* the test hook */
static _Atomic uint64_t allocation_count;

static bool made_to_fail(void)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0) {
        return false;
    }
    return atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 0;
}

void *dw_alloc(size_t count, size_t bytes)
{
    if (made_to_fail()) {
        return NULL;
    }
    size_t total;
    if (!dw_mul_size(&total, count, bytes)) {
        return NULL;
    }
    return calloc(1, total > 0 ? total : 1);
}

void *dw_realloc(void *block, size_t count, size_t bytes)
{
    size_t total;
    if (made_to_fail() || !dw_mul_size(&total, count, bytes)) {
        return NULL;
    }
    return realloc(block, total > 0 ? total : 1);
}

void dw_free(void *block)
{
    free(block);
}

char *dw_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = dw_alloc(1, bytes);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void dw_alloc_fail_after(int64_t countdown)
{
    atomic_store(&fail_countdown, countdown);
}

uint64_t dw_alloc_count(void)
{
    return atomic_load_explicit(&allocation_count, memory_order_relaxed);
}
