#include "base/alloc.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "base/callback.h"
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

#define PART_BITS 8

/* In front of each block: whom it was charged to. As large as malloc's alignment, which the block
 * has then too. */
typedef struct head {
    alignas(max_align_t) dw_account *account; /* counted; NULL: nobody */
    uint64_t bytes_and_part; /* of the block with its head, shifted; dw_account_part */
} head;

static_assert(sizeof(head) % alignof(max_align_t) == 0, "the block is aligned as the head is");

static_assert(sizeof(size_t) <= sizeof(uint64_t), "sizes are told in 64 bits");

static size_t bytes_of(const head *of)
{
    return (size_t)(of->bytes_and_part >> PART_BITS);
}

static dw_account_part part_of(const head *of)
{
    return (dw_account_part)(of->bytes_and_part & ((1u << PART_BITS) - 1));
}

static void note(head *of, size_t bytes, dw_account_part part)
{
    of->bytes_and_part = (uint64_t)bytes << PART_BITS | (uint64_t)part;
}

static head *head_of(const void *block)
{
    return (head *)(uintptr_t)block - 1;
}

/* The whole of a block for count * bytes. One of no bytes has a byte, so that its address lies in
 * it: checkers of leaks look for that. */
static bool whole_bytes(size_t *whole, size_t count, size_t bytes)
{
    return dw_mul_size(whole, count, bytes) &&
           dw_add_size(whole, *whole > 0 ? *whole : 1, sizeof(head)) &&
           *whole < UINT64_C(1) << (64 - PART_BITS);
}

/* An allocator that calls Driftwood gets none for that. */
static void *ask_embedder(void *block, size_t bytes)
{
    static _Thread_local bool asking;
    if (asking) {
        return NULL;
    }
    asking = true;
    dw_callback_enter();
    void *given = block != NULL ? embedder.resize(embedder.user, block, bytes)
                                : embedder.allocate(embedder.user, bytes);
    dw_callback_leave();
    asking = false;
    return given;
}

static void *take_new(size_t whole)
{
    if (embedder.allocate == NULL) {
        return calloc(1, whole);
    }
    void *block = ask_embedder(NULL, whole);
    if (block != NULL) {
        memset(block, 0, whole);
    }
    return block;
}

void *dw_alloc(size_t count, size_t bytes)
{
    size_t whole;
    dw_account_scope payer = dw__account_now;
    if (made_to_fail() || !whole_bytes(&whole, count, bytes) ||
        !dw_account_take(payer.account, payer.part, whole)) {
        return NULL;
    }
    head *made = take_new(whole);
    if (made == NULL) {
        dw_account_give(payer.account, payer.part, whole);
        return NULL;
    }
    made->account = dw_account_ref(payer.account);
    note(made, whole, payer.part);
    return made + 1;
}

void *dw_realloc(void *block, size_t count, size_t bytes)
{
    if (block == NULL) {
        return dw_alloc(count, bytes);
    }
    size_t whole;
    head *old = head_of(block);
    size_t before = bytes_of(old);
    dw_account *account = old->account;
    dw_account_part part = part_of(old);
    if (made_to_fail() || !whole_bytes(&whole, count, bytes) ||
        (whole > before && !dw_account_take(account, part, whole - before))) {
        return NULL;
    }
    head *made = embedder.allocate == NULL ? realloc(old, whole) : ask_embedder(old, whole);
    if (made == NULL) {
        dw_account_give(account, part, whole > before ? whole - before : 0);
        return NULL;
    }
    dw_account_give(account, part, whole < before ? before - whole : 0);
    note(made, whole, part);
    return made + 1;
}

static void release(void *block)
{
    if (embedder.allocate == NULL) {
        free(block);
    } else {
        dw_callback_enter();
        embedder.release(embedder.user, block);
        dw_callback_leave();
    }
}

void dw_free(void *block)
{
    if (block == NULL) {
        return;
    }
    head *old = head_of(block);
    dw_account *account = old->account;
    if (account != NULL) {
        dw_account_give(account, part_of(old), bytes_of(old));
    }
    release(old);
    dw_account_unref(account);
}

dw_account_scope dw_account_enter_of(const void *block)
{
    const head *of = head_of(block);
    return dw_account_enter(of->account, part_of(of));
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
