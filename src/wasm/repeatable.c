#include "wasm/repeatable.h"

#include <inttypes.h>

#include "base/os.h"
#include "wasm/instance_internal.h"

void dw_instance_set_repeatable(dw_instance *instance, const dw_repeatable *own)
{
    instance->repeatable = *own;
}

const dw_repeatable *dw_instance_repeatable(const dw_instance *instance)
{
    return &instance->repeatable;
}

dw_status dw_instance_repeat(dw_instance *instance, uint64_t seed, uint64_t start_ms, dw_error *err)
{
    dw_repeatable own = {.own_random = true, .own_clock = true};
    if (instance->calling || instance->actor != NULL) {
        return dw_fail(err, DW_E_STATE, "repeat: the guest %s",
                       instance->calling ? "runs" : "is an actor, which has its own");
    }
    if (start_ms > DW_CLOCK_NS_MAX / 1000000) {
        return dw_fail(err, DW_E_RANGE, "start_ms: %" PRIu64 ", at most %" PRIu64 " is possible",
                       start_ms, DW_CLOCK_NS_MAX / 1000000);
    }
    dw_random_stream_init_of(&own.random, seed);
    own.clock_ns = start_ms * 1000000;
    dw_instance_set_repeatable(instance, &own);
    return DW_OK;
}

void dw_instance_clock_reach(dw_instance *instance, uint64_t time_ns)
{
    uint64_t *clock_ns = &instance->repeatable.clock_ns;
    time_ns = time_ns < DW_CLOCK_NS_MAX ? time_ns : DW_CLOCK_NS_MAX;
    *clock_ns = *clock_ns > time_ns ? *clock_ns : time_ns;
}

void dw_instance_clock_sleep(dw_instance *instance, uint64_t ns)
{
    uint64_t *clock_ns = &instance->repeatable.clock_ns;
    *clock_ns += ns < DW_CLOCK_NS_MAX - *clock_ns ? ns : DW_CLOCK_NS_MAX - *clock_ns;
}

uint64_t dw_instance_clock_read(dw_instance *instance)
{
    const uint64_t step_ns = instance->limits.clock_ns;
    dw_instance_clock_sleep(instance, DW_CLOCK_READ_NS);
    return instance->repeatable.clock_ns / step_ns * step_ns;
}

uint64_t dw_instance_wall_ms(const dw_instance *instance)
{
    const dw_repeatable *own = &instance->repeatable;
    return own->own_clock ? own->clock_ns / 1000000 : dw_os_wall_ms();
}

void dw_instance_draw(dw_instance *instance, void *to, size_t bytes)
{
    if (instance->repeatable.own_random) {
        dw_random_stream_draw(&instance->repeatable.random, to, bytes);
    } else {
        dw_os_random(to, bytes);
    }
}
