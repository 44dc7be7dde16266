/* An actor that tells of its random numbers and its clocks, and keeps what it told last. */
#define _GNU_SOURCE /* getentropy, clocks */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driftwood_guest.h"

static char message[256];
static char kept[4096];
static char first[64]; /* drawn when it was spawned */

static void put_hex(char *to, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
    }
}

__attribute__((constructor)) static void begin(void)
{
    unsigned char bytes[8];
    if (getentropy(bytes, sizeof bytes) == 0) {
        put_hex(first, bytes, sizeof bytes);
    }
}

static uint64_t ns_of(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void sleep_ms(uint64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

/* first, drawn, the id of an actor to be made, three clocks */
static void look(void)
{
    unsigned char bytes[16];
    char drawn[33];
    char id[DW_ACTOR_ID_BYTES] = "";
    if (getentropy(bytes, sizeof bytes) != 0) {
        abort();
    }
    put_hex(drawn, bytes, sizeof bytes);
    (void)dw_actor_fork("q", 1, id, sizeof id);
    snprintf(kept, sizeof kept, "%s %s %s %" PRIu64 " %" PRIu64 " %" PRIu64, first, drawn, id,
             ns_of(CLOCK_REALTIME), ns_of(CLOCK_MONOTONIC), dw_clock_ns());
}

static void tell(void)
{
    look();
    fprintf(stderr, "%s\n", kept);
    printf("%s\n", kept);
    fflush(stdout);
}

/* The last 16 of so many drawn at once. */
static void draw_many(size_t count)
{
    unsigned char *bytes = malloc(count);
    size_t at = 0;
    while (bytes != NULL && at < count &&
           getentropy(bytes + at, count - at > 256 ? 256 : count - at) == 0) {
        at += count - at > 256 ? 256 : count - at;
    }
    put_hex(kept, bytes + count - 16, 16);
    free(bytes);
}

/* Wait by looking at the clock alone. */
static void spin(uint64_t ms)
{
    uint64_t end = dw_clock_ns() + ms * 1000000;
    uint64_t looks = 0;
    while (dw_clock_ns() < end) {
        looks++;
    }
    snprintf(kept, sizeof kept, "%" PRIu64, looks);
}

/* Sleep, then a timer that waits for what is behind a blank. */
static void sleep_and_set(uint64_t ms)
{
    const char *wait = strchr(message, ' ');
    sleep_ms(ms);
    (void)dw_actor_timer(wait != NULL ? strtoull(wait, NULL, 10) : 0, "q", 1);
}

/* How many of so many timers that wait for a second are not granted. */
static void set_many(uint64_t count)
{
    unsigned refused = 0;
    for (uint64_t i = 0; i < count; i++) {
        refused += dw_actor_timer(1000, "q", 1) != 0;
    }
    snprintf(kept, sizeof kept, "%u", refused);
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 0) {
        return bytes;
    }
    message[bytes] = '\0';
    const uint64_t number = bytes > 1 ? strtoull(message + 1, NULL, 10) : 0;
    switch (message[0]) {
    case 'l':
        look();
        break;
    case 'k': /* tell, then work for a while */
        tell();
        sleep_ms(number);
        return 0;
    case 'x': /* tell, then break off */
        tell();
        __builtin_trap();
    case 's': {
        uint64_t before = ns_of(CLOCK_REALTIME);
        sleep_ms(number);
        snprintf(kept, sizeof kept, "%" PRIu64, ns_of(CLOCK_REALTIME) - before);
        break;
    }
    case 'r': {
        struct timespec resolution;
        clock_getres(CLOCK_MONOTONIC, &resolution);
        snprintf(kept, sizeof kept, "%ld", resolution.tv_nsec);
        break;
    }
    case 'b':
        draw_many(number);
        break;
    case 'w':
        spin(number);
        break;
    case 't': { /* behind a blank: what the timer brings */
        const char *brings = strchr(message, ' ');
        brings = brings != NULL ? brings + 1 : "q";
        (void)dw_actor_timer(number, brings, (uint32_t)strlen(brings));
        break;
    }
    case 'S':
        sleep_and_set(number);
        break;
    case 'T':
        set_many(number);
        break;
    default:
        break;
    }
    printf("%s", kept);
    return 0;
}
