/* An actor that prints its answer through C's streams, as its message says. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driftwood_guest.h"

static char message[65536];

__attribute__((constructor)) static void begin(void)
{
    printf("printed before any message");
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 0) {
        return bytes;
    }
    message[bytes] = '\0';
    if (message[0] == 't') {
        printf("%d%d%d%d", isatty(0), isatty(1), isatty(2), isatty(7));
    } else if (message[0] == '!') {
        fprintf(stderr, "%s", message + 1);
        printf("told");
    } else if (message[0] == 'e') {
        printf("%s", message);
        return DW_E_ARG;
    } else {
        printf("%s", message);
    }
    return 0;
}
