/* Leaves with the code that its argument, or the message to it as an actor, says. */
#include <driftwood_guest.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    exit(argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0);
}

DW_ACTOR_RECEIVE
{
    char message[16] = "";
    (void)dw_input(message, sizeof message - 1);
    if (message[0] != '.') {
        exit((int)strtol(message, NULL, 10));
    }
    return 0;
}
