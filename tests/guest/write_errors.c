/* Writes to its standard output until that fails or eight times, and tells on standard error what
 * it was told. With an argument it goes on after a failure, for ever. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    int failed = 0;
    for (int i = 0; (i < 8 && !failed) || argc > 1; i++) {
        if (write(STDOUT_FILENO, "x\n", 2) != 2) {
            failed = 1;
            if (argc == 1) {
                fprintf(stderr, "%s\n", strerror(errno));
            }
        }
    }
    return failed ? 7 : 0;
}
