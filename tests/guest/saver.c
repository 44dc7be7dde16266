/* The same as a command: each argument is a message, whose answer it prints. */
#include "saver.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char answer[256];
        int32_t bytes = act(argv[i], answer, sizeof answer);
        if (bytes < 0) {
            (void)dw_last_error(answer, sizeof answer);
            (void)printf("%d %s\n", (int)bytes, answer);
            return 1;
        }
        (void)printf("%s\n", answer);
    }
    return 0;
}
