/* An actor that saves contexts under names, and opens them. */
#include "saver.h"

DW_ACTOR_RECEIVE
{
    static char message[4096];
    char answer[64];
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 1) {
        return bytes;
    }
    message[bytes] = '\0';
    bytes = act(message, answer, sizeof answer);
    return bytes < 0 ? bytes : dw_reply(answer, (uint32_t)bytes);
}
