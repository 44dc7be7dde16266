/* How fast the cores read memory: sums of a buffer far larger than the caches, by one thread and by
 * all, the best round of each. It bounds decoding, which reads every weight for every token. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "common.h"

#define BUFFER_BYTES ((size_t)1 << 30)
#define LANES 64u /* sums side by side, so that additions do not wait for each other */
#define THREADS_MAX 512

typedef struct share {
    const unsigned *numbers;
    size_t count;
    unsigned sum; /* so that the compiler cannot leave the reading out */
} share;

static void *add_up(void *user)
{
    share *part = user;
    unsigned sums[LANES] = {0};
    for (size_t i = 0; i + LANES <= part->count; i += LANES) {
        for (unsigned lane = 0; lane < LANES; lane++) {
            sums[lane] += part->numbers[i + lane];
        }
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        part->sum += sums[lane];
    }
    return NULL;
}

/* Bytes a second. */
static double read_all(const unsigned *numbers, int threads)
{
    pthread_t running[THREADS_MAX];
    share parts[THREADS_MAX] = {{0}};
    size_t count = BUFFER_BYTES / sizeof *numbers / (size_t)threads;
    uint64_t started = dw_os_clock_ns();
    for (int i = 0; i < threads; i++) {
        parts[i] = (share){.numbers = numbers + (size_t)i * count, .count = count};
        if (pthread_create(&running[i], NULL, add_up, &parts[i]) != 0) {
            bench_die("no thread");
        }
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(running[i], NULL);
    }
    return (double)BUFFER_BYTES * 1e9 / (double)(dw_os_clock_ns() - started);
}

int main(int argc, char **argv)
{
    bench_options options = {.rounds = 5};
    bench_read_options(&options, argc, argv, "How fast the cores read memory.");
    unsigned *numbers = malloc(BUFFER_BYTES);
    if (numbers == NULL) {
        bench_die("no memory for the buffer");
    }
    memset(numbers, 1, BUFFER_BYTES);
    bench_header();
    for (int threads = 1; threads <= options.threads;
         threads = threads < options.threads ? options.threads : threads + 1) {
        double best = 0;
        for (int round = 0; round < options.rounds; round++) {
            double rate = read_all(numbers, threads);
            best = rate > best ? rate : best;
        }
        char name[64];
        (void)snprintf(name, sizeof name, "memory_read_%d_threads", threads);
        bench_figure(name, "bytes/s", best);
    }
    free(numbers);
    return 0;
}
