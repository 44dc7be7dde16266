/* Writes the message to standard error, but for its first letter: 'n' answers a number that says
 * nothing, 'h' that of a call which the host refuses, 'l' leaves, 't' traps, 'e' answers well.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "driftwood_guest.h"

DW_ACTOR_RECEIVE
{
    static char message[8192];
    int32_t bytes = dw_input(message, sizeof message);
    if (bytes < 1) {
        return DW_E_ARG;
    }
    (void)fwrite(message + 1, 1, (size_t)bytes - 1, stderr);
    switch (message[0]) {
    case 'n':
        return DW_E_ARG;
    case 'h':
        return dw_model_open("nosuch", 6);
    case 'l':
        exit(3);
    case 't':
        __builtin_trap();
    default:
        return dw_reply("well", 4);
    }
}
