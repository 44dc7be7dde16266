#include "small_thread.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FRAMES_LARGER 4
#else
#define FRAMES_LARGER 1
#endif
#define PAINT UINT64_C(0xc0ffee5eedfacade)
#define OWN_WORDS 64 /* of this file's frames, which are not painted */

size_t small_thread_bytes_min(void)
{
    return (size_t)(64 << 10) * FRAMES_LARGER;
}

typedef struct job {
    void (*work)(void *arg);
    void *arg;
} job;

static void *run(void *user)
{
    const job *j = user;
    j->work(j->arg);
    return NULL;
}

void small_thread_run(size_t stack_bytes, void (*work)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    job j = {.work = work, .arg = arg};
    size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(
        pthread_attr_setstacksize(&attributes, stack_bytes < least ? least : stack_bytes), 0);
    assert_int_equal(pthread_create(&thread, &attributes, run, &j), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_attr_destroy(&attributes), 0);
}

/* Below the caller's frame, where nothing lives while it runs. */
__attribute__((noinline, no_sanitize("address", "thread"))) static void paint(size_t words)
{
    volatile uint64_t *here = __builtin_frame_address(0);
    for (size_t i = OWN_WORDS; i < words; i++) {
        here[-(ptrdiff_t)i] = PAINT;
    }
}

__attribute__((noinline, no_sanitize("address", "thread"))) static size_t unpainted(size_t words)
{
    const volatile uint64_t *here = __builtin_frame_address(0);
    size_t left = words - 1;
    while (left > OWN_WORDS && here[-(ptrdiff_t)left] == PAINT) {
        left--;
    }
    return left * sizeof(uint64_t);
}

size_t stack_bytes_used(void (*work)(void *arg), void *arg, size_t bytes_max)
{
    paint(bytes_max / sizeof(uint64_t));
    work(arg);
    return unpainted(bytes_max / sizeof(uint64_t));
}
