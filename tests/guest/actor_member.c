/* An actor that sends by names, and joins groups. "sTARGET TEXT" sends, "jGROUP" joins, "lGROUP"
 * leaves, "JGROUP" joins and traps, "m#GROUP" joins and sends to all of it; "?" answers how many
 * other messages it has had. */
#include "driftwood_guest.h"

static char message[4096];
static int32_t count;

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    int32_t space = 1;
    int32_t rest = 0;
    if (bytes < 1) {
        return bytes;
    }
    switch (message[0]) {
    case 's':
        while (space < bytes && message[space] != ' ') {
            space++;
        }
        rest = space < bytes ? bytes - space - 1 : 0;
        return dw_actor_send(message + 1, (uint32_t)space - 1, message + (bytes - rest),
                             (uint32_t)rest);
    case 'j':
        return dw_group_join(message + 1, (uint32_t)bytes - 1);
    case 'l':
        return dw_group_leave(message + 1, (uint32_t)bytes - 1);
    case 'J':
        (void)dw_group_join(message + 1, (uint32_t)bytes - 1);
        __builtin_trap();
    case 'm':
        rest = dw_group_join(message + 2, (uint32_t)bytes - 2);
        return rest < 0 ? rest : dw_actor_send(message + 1, (uint32_t)bytes - 1, "hey", 3);
    case '?':
        return dw_reply(&count, sizeof count);
    default:
        count++;
        return 0;
    }
}
