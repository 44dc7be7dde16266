/* Calls tools: as a command by its arguments, NAME REQUEST [ROOM], as an actor by its messages,
 * of lines "NAME REQUEST", or "trap". Says "LENGTH: ANSWER", or the status and its message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

#define ROOM ((size_t)2 << 20)

static char answer[ROOM];
static char said[ROOM + 512];

/* The request "@" is what was answered last. */
static void call(const char *name, const char *request, uint32_t room)
{
    char last[256];
    (void)snprintf(last, sizeof last, "%.255s", answer);
    request = strcmp(request, "@") == 0 ? last : request;
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
    for (char *line = message; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        if (strcmp(line, "trap") == 0) {
            __builtin_trap();
        }
        char *blank = strchr(line, ' ');
        if (blank != NULL) {
            *blank = '\0';
        }
        call(line, blank != NULL ? blank + 1 : "", ROOM);
        (void)dw_reply(said, (uint32_t)strlen(said));
        line = end;
    }
    return DW_OK;
}
