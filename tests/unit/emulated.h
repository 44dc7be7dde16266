/* For tests that an emulated processor would need minutes for, or that count what an emulator adds
 * to: page faults, memory, descriptors. */
#ifndef DW_TESTS_EMULATED_H
#define DW_TESTS_EMULATED_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool emulated(void)
{
    return getenv("DW_TEST_EMULATED") != NULL;
}

#endif
