/* Included in front of ggml's CPU files on x86. ggml's threads wait for each other by spinning for as
 * long as it takes. Where another program runs on one of the cores, the thread that is waited for may
 * not run at all, while the one that waits keeps the core that it could run on: with two threads on
 * two cores, and one busy program beside them, decoding fell from 120 tokens a second to 1. A wait
 * that has taken longer than any node of a graph should makes way here, in short sleeps. */
#ifndef DRIFTWOOD_PATIENT_WAIT_H
#define DRIFTWOOD_PATIENT_WAIT_H

#if defined(__x86_64__) && defined(__linux__) && !defined(__cplusplus) && !defined(__CUDACC__)
#include <immintrin.h>
#include <sched.h>

/* In ticks of a clock of 2 to 4 GHz: calls further apart belong to two waits. */
#define DRIFTWOOD_WAIT_GAP 20000u
#define DRIFTWOOD_WAIT_SPIN 100000u

static inline void driftwood_pause(void)
{
    static _Thread_local unsigned long long started;
    static _Thread_local unsigned long long last;
    unsigned long long now = __builtin_ia32_rdtsc();
    __builtin_ia32_pause();
    if (now - last > DRIFTWOOD_WAIT_GAP) {
        started = now;
    }
    if (now - started > DRIFTWOOD_WAIT_SPIN) {
        (void)sched_yield();
        now = __builtin_ia32_rdtsc();
    }
    last = now;
}
#define _mm_pause driftwood_pause
#endif

#endif
