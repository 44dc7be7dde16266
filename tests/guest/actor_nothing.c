/* An actor that takes its message and answers nothing: what is left is what a message costs. */
#include "driftwood_guest.h"

static char message[64];

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    return bytes < 0 ? bytes : 0;
}
