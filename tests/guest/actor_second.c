/* An actor that takes the place of tests/guest/actor_first.c. Its memory lies differently, and its
 * counter is ten times as high. */
#include "driftwood_guest.h"

#include "succession.h"

static int32_t before[5000] = {1}; /* what else it has, in front of what it takes over */
static DW_ALIGNED int32_t chosen[1];
static DW_ALIGNED int32_t tokens[1024];
static struct succession state;
static int32_t spare;
static char message[512];

static int32_t take(void *to, uint32_t bytes)
{
    int32_t got = dw_state_take(to, bytes);
    return got < 0 ? got : (uint32_t)got == bytes ? 0 : DW_E_FORMAT;
}

DW_ACTOR_UPGRADE
{
    char name[6];
    if (dw_state_bytes() != (int64_t)(sizeof name + sizeof state)) {
        return DW_E_FORMAT;
    }
    int32_t status = take(name, sizeof name);
    if (status == 0 && name[0] != 'f') {
        status = DW_E_FORMAT;
    }
    if (status == 0) {
        status = take(&state, sizeof state);
    }
    if (status == 0 && state.model != 0) {
        status = dw_handle_keep(state.model);
        status = status < 0 ? status : dw_handle_keep(state.context);
        status = status < 0 ? status : dw_handle_keep(state.sampler);
    }
    chosen[0] = state.chosen;
    state.counter *= 10 * before[0];
    return status;
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 1) {
        return bytes;
    }
    message[bytes] = '\0';
    return succession_do(&state, &spare, tokens, chosen, message, 2);
}
