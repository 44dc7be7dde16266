/* Prints random numbers and times, and how long a sleep took, of a command. */
#define _GNU_SOURCE /* getentropy, clocks */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    uint64_t drawn[2];
    struct timespec times[3];
    const struct timespec pause = {.tv_nsec = 5000000};
    if (getentropy(drawn, sizeof drawn) != 0) {
        return 1;
    }
    clock_gettime(CLOCK_REALTIME, &times[0]);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_REALTIME, &times[1]);
    clock_gettime(CLOCK_MONOTONIC, &times[2]);
    printf("%016" PRIx64 "%016" PRIx64, drawn[0], drawn[1]);
    for (int i = 0; i < 3; i++) {
        printf(" %lld.%09ld", (long long)times[i].tv_sec, times[i].tv_nsec);
    }
    printf("\n");
}
