/* The only way to the heap, or to what dw_allocator_set (include/driftwood.h) has put in its place.
 * While an account is entered (account.h), what is taken is charged to it, and NULL where that is
 * beyond its limit.
 * Tests can make the n-th allocation fail. Thread: any. */
#ifndef DW_BASE_ALLOC_H
#define DW_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed memory for `count` items of `bytes` each; NULL when there is none, when the product
 * overflows, or when a test asked for it. count or bytes of 0 give a valid empty block. */
void *dw_alloc(size_t count, size_t bytes);
/* Resize; new bytes are not zeroed; on NULL the old block stands. */
void *dw_realloc(void *block, size_t count, size_t bytes);
void dw_free(void *block);
char *dw_strdup(const char *text);

/* Test hook: let `countdown` allocations pass, then fail one; a negative value turns it off. */
void dw_alloc_fail_after(int64_t countdown);
/* Allocations so far, over all threads: to show that a path makes none. */
uint64_t dw_alloc_count(void);

#ifdef __cplusplus
}
#endif

#endif
