/* Prints its environment, as a command and as an actor. The settings that it knows by name:
 * DRIFTWOOD_TEMP, DRIFTWOOD_STOP_. */
#include <driftwood_guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static const char known[] = "DRIFTWOOD_TEMP DRIFTWOOD_STOP_";

static void print_all(void)
{
    (void)getenv(known); /* so that the names are in the file */
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        printf("%s\n", *entry);
    }
    fflush(stdout);
}

int main(void)
{
    print_all();
    return 0;
}

DW_ACTOR_RECEIVE
{
    char message[64];
    (void)dw_input(message, sizeof message);
    print_all();
    return 0;
}
