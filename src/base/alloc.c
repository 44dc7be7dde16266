#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/public_struct.h"

static _Atomic int64_t fail_countdown = -1; /* the test hook */
static _Atomic uint64_t allocation_count;

/* Written before anything is allocated, read only since. */
static dw_allocator embedder;

dw_status dw_allocator_set(const dw_allocator *allocator, dw_error *err)
{
    dw_allocator own;
    dw_status status = dw_struct_read(&own, sizeof own, allocator, "dw_allocator", err);
    if (status != DW_OK) {
        return status;
    }
    if (own.allocate == NULL || own.resize == NULL || own.release == NULL) {
        return dw_fail(err, DW_E_ARG, "dw_allocator: allocate, resize and release are all needed");
    }
    uint64_t count = atomic_load(&allocation_count);
    if (count > 0) {
        return dw_fail(err, DW_E_STATE, "dw_allocator_set: %llu allocations have been made before",
                       (unsigned long long)count);
    }
    embedder = own;
    return DW_OK;
}

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
    total = total > 0 ? total : 1;
    if (embedder.allocate == NULL) {
        return calloc(1, total);
    }
    void *block = embedder.allocate(embedder.user, total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

void *dw_realloc(void *block, size_t count, size_t bytes)
{
    size_t total;
    if (made_to_fail() || !dw_mul_size(&total, count, bytes)) {
        return NULL;
    }
    total = total > 0 ? total : 1;
    if (embedder.allocate == NULL) {
        return realloc(block, total);
    }
    return block != NULL ? embedder.resize(embedder.user, block, total)
                         : embedder.allocate(embedder.user, total);
}

void dw_free(void *block)
{
    if (embedder.allocate == NULL) {
        free(block);
    } else if (block != NULL) {
        embedder.release(embedder.user, block);
    }
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
