/* What a guest learns that it cannot compute: the time, and random numbers. They are the system's,
 * or where a guest has a stream and a clock of its own, as actors have, those: the same calls get
 * the same values again.
 *
 * Such a clock stands while the guest computes. It goes on by DW_CLOCK_READ_NS when it is read, so
 * that who waits by looking at it comes to an end, by what the guest sleeps, and to the time of a
 * message when that is begun, never back. All of a guest's clocks tell it.
 * Thread: the instance's. */
#ifndef DW_WASM_REPEATABLE_H
#define DW_WASM_REPEATABLE_H

#include "base/random_stream.h"
#include "wasm/guest_instance.h"

#define DW_CLOCK_READ_NS 100u
/* A clock does not go beyond this: in the year 2262. */
#define DW_CLOCK_NS_MAX ((uint64_t)INT64_MAX)

typedef struct dw_repeatable {
    bool own_random; /* false: the system's; `random` is not used */
    bool own_clock;  /* likewise */
    dw_random_stream random;
    uint64_t clock_ns; /* since 1970, at most DW_CLOCK_NS_MAX */
} dw_repeatable;

/* From now on. Before anything of the guest has run, or between calls. */
void dw_instance_set_repeatable(dw_instance *instance, const dw_repeatable *own);
const dw_repeatable *dw_instance_repeatable(const dw_instance *instance);
/* Its own clock is at `time_ns` at least. */
void dw_instance_clock_reach(dw_instance *instance, uint64_t time_ns);
/* What it has slept. */
void dw_instance_clock_sleep(dw_instance *instance, uint64_t ns);

/* The time of a clock of its own, as the guest may see it, which goes on by that. */
uint64_t dw_instance_clock_read(dw_instance *instance);
/* Milliseconds since 1970, by its own clock, which stays as it is, or by the system's. */
uint64_t dw_instance_wall_ms(const dw_instance *instance);
/* The next random numbers -> `to` [bytes]. */
void dw_instance_draw(dw_instance *instance, void *to, size_t bytes);

#endif
