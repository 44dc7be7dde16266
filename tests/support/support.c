#include "support.h"

#include <signal.h>
#include <stdlib.h>

#include <wasmtime.h>

#include "inference/step_flight.h"

static const int signal_numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])
static struct sigaction signal_actions[SIGNAL_COUNT];

/* DW_TEST_AHEAD: batches' runs begin ahead of the last one's results on the CPU, too. */
__attribute__((constructor)) static void let_fly(void)
{
    dw__step_let_fly(getenv("DW_TEST_AHEAD") != NULL);
}

uint64_t support_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

bool tests_on_cpu(void)
{
    const char *device = getenv("DW_TEST_DEVICE");
    return device == NULL || strcmp(device, "CPU") == 0;
}

bool emulated(void)
{
    return getenv("DW_TEST_EMULATED") != NULL;
}

void wasm_signals_save(void)
{
    /* Wasmtime installs its handlers with the first engine, for as long as the process lives. */
    wasm_engine_t *engine = wasm_engine_new();
    wasm_engine_delete(engine);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        (void)sigaction(signal_numbers[i], NULL, &signal_actions[i]);
    }
}

void wasm_signals_restore(void)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        (void)sigaction(signal_numbers[i], &signal_actions[i], NULL);
    }
}
