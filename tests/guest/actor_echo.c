/* An actor that answers with what it is told; with \x01 and a number, with so many MiB of text. */
#include "driftwood_guest.h"

#define MESSAGE_MAX (1 << 20)

static char message[MESSAGE_MAX];

static int32_t repeat(uint32_t count)
{
    int32_t status = 0;
    for (uint32_t i = 0; i < MESSAGE_MAX; i++) {
        message[i] = (char)('a' + i % 26);
    }
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        status = dw_reply(message, MESSAGE_MAX);
    }
    return status;
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    uint32_t count = 0;
    if (bytes < 1 || message[0] != 1) {
        return bytes < 0 ? bytes : dw_reply(message, (uint32_t)bytes);
    }
    for (int32_t i = 1; i < bytes; i++) {
        count = count * 10 + (uint32_t)(message[i] - '0');
    }
    return repeat(count);
}
