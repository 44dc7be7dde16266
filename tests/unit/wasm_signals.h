/* cmocka catches SIGSEGV and its kin around each test; Wasmtime needs them, since a guest that
 * reaches outside its memory is noticed by a fault. Call wasm_signals_save() before cmocka starts
 * and wasm_signals_restore() at the start of each test (and set-up) in which a guest may trap. */
#ifndef DW_TEST_WASM_SIGNALS_H
#define DW_TEST_WASM_SIGNALS_H

#include <signal.h>
#include <stddef.h>

#include <wasmtime.h>

static const int wasm_signal_numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
#define WASM_SIGNAL_COUNT (sizeof wasm_signal_numbers / sizeof wasm_signal_numbers[0])
static struct sigaction wasm_signal_actions[WASM_SIGNAL_COUNT];

static inline void wasm_signals_save(void)
{
    /* Wasmtime installs its handlers with the first engine, for as long as the process lives. */
    wasm_engine_t *engine = wasm_engine_new();
    wasm_engine_delete(engine);
    for (size_t i = 0; i < WASM_SIGNAL_COUNT; i++) {
        (void)sigaction(wasm_signal_numbers[i], NULL, &wasm_signal_actions[i]);
    }
}

static inline void wasm_signals_restore(void)
{
    for (size_t i = 0; i < WASM_SIGNAL_COUNT; i++) {
        (void)sigaction(wasm_signal_numbers[i], &wasm_signal_actions[i], NULL);
    }
}

#endif
