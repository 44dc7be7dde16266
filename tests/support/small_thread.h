/* Threads with stacks of a chosen size, on which tests run what must not depend on it. */
#ifndef DW_TESTS_SMALL_THREAD_H
#define DW_TESTS_SMALL_THREAD_H

#include <stdbool.h>
#include <stddef.h>

/* The smallest on which all of the public API works, embedder's frames included; sanitizers make
 * frames larger. */
size_t small_thread_bytes_min(void);
/* work(arg) on a new thread of stack_bytes (at least what the system demands), to its end. A stack
 * that is too small ends the process: there is a guard below it. */
void small_thread_run(size_t stack_bytes, void (*work)(void *arg), void *arg);
/* What work(arg) took of the caller's stack, in bytes, as far as it wrote to it: at most
 * bytes_max, which the caller's stack must have. */
size_t stack_bytes_used(void (*work)(void *arg), void *arg, size_t bytes_max);

#endif
