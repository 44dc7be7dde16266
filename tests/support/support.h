/* The header that every test includes: cmocka, with the headers that it needs before it, and what
 * any test may want. Fixtures have headers of their own beside this one. */
#ifndef DW_TESTS_SUPPORT_H
#define DW_TESTS_SUPPORT_H

/* Not sorted: cmocka.h uses the types of the headers above it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Whether an emulated processor runs the tests (DW_TEST_EMULATED). Tests that take it minutes are
 * skipped, and those that count what an emulator adds to: page faults, memory, descriptors. */
bool emulated(void);
/* Whether tests run with sanitizers, which take several times as long and memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Whether DW_TEST_DEVICE names no other device. */
bool tests_on_cpu(void);

/* Numbers by chance, which a seed repeats: SplitMix64 of Steele, Lea and Flood (2014). */
uint64_t support_random(uint64_t *state);

/* cmocka catches SIGSEGV and its kin around each test; Wasmtime needs them, since a guest that
 * reaches outside its memory is noticed by a fault. Call wasm_signals_save before cmocka starts
 * and wasm_signals_restore at the start of each test (and set-up) in which a guest may trap. */
void wasm_signals_save(void);
void wasm_signals_restore(void);

#endif
