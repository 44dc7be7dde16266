/* Calls tools: as a command by its arguments, NAME REQUEST [ROOM], as an actor by its messages,
 * "NAME REQUEST". Says "LENGTH: ANSWER", or the status and its message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

#define ROOM ((size_t)2 << 20)

static char answer[ROOM];
static char said[ROOM + 512];

static void call(const char *name, const char *request, uint32_t room)
{
    int32_t count =
        dw_call(name, (uint32_t)strlen(name), request, (uint32_t)strlen(request), answer, room);
    if (count == DW_E_SPACE) {
        (void)printf("once more, ");
        count = dw_call_answer(answer, ROOM);
    }
    if (count < 0) {
        char message[256];
        (void)dw_last_error(message, sizeof message);
        (void)snprintf(said, sizeof said, "%d %s", count, message);
        return;
    }
    (void)snprintf(said, sizeof said, "%d: %.*s", count, (int)(count < 4000 ? count : 4000),
                   answer);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        return 2;
    }
    call(argv[1], argv[2], argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : ROOM);
    (void)puts(said);
    return 0;
}

DW_ACTOR_RECEIVE
{
    static char message[4096];
    int32_t count = dw_input(message, sizeof message - 1);
    if (count < 0) {
        return count;
    }
    message[count] = '\0';
    char *blank = strchr(message, ' ');
    if (blank != NULL) {
        *blank = '\0';
    }
    call(message, blank != NULL ? blank + 1 : "", ROOM);
    return dw_reply(said, (uint32_t)strlen(said));
}
