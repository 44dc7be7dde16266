/* An actor that hands its state over to tests/guest/actor_second.c. The first letter of a message
 * says what to do, a number follows. */
#include "driftwood_guest.h"

#include "succession.h"

static char message[256];
static struct succession state;
static int32_t spare; /* a context that is not handed over */
static DW_ALIGNED int32_t tokens[1024];
static DW_ALIGNED int32_t chosen[1];

DW_ACTOR_STATE
{
    static const char name[] = "first";
    int32_t status = dw_state_give(name, sizeof name);
    state.chosen = chosen[0];
    return status < 0 ? status : dw_state_give(&state, sizeof state);
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 1) {
        return bytes;
    }
    message[bytes] = '\0';
    return succession_do(&state, &spare, tokens, chosen, message, 1);
}
