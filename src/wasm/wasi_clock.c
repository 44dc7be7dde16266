/* WASI's clocks, no finer than the guest was granted (the limit clock_ns): the system's, or one of
 * the guest's own (repeatable.h). */
#include <string.h>

#include "wasm/wasi_internal.h"

#define TIME_BYTES 8

/* Make the time that Wasmtime's function wrote into guest memory at `at` one of those that a guest
 * may see. */
static void coarsen(dw_instance *instance, uint32_t at, bool is_resolution)
{
    const uint64_t step = instance->limits.clock_ns;
    void *place = NULL;
    uint64_t time = 0;
    if (step <= 1 ||
        dw_instance_range(instance, "time", at, TIME_BYTES, 1, 1, &place, NULL) != DW_OK) {
        return;
    }
    memcpy(&time, place, sizeof time);
    if (is_resolution) {
        time = time > step ? time : step;
    } else {
        time = time / step * step;
    }
    memcpy(place, &time, sizeof time);
}

/* Whether `id` is a clock that tells the guest's own time: those of the processor are none that a
 * guest has, which Wasmtime says. */
static bool is_own(const dw_instance *instance, int32_t id)
{
    return instance->repeatable.own_clock && (id == DW__CLOCK_DAY || id == DW__CLOCK_STEADY);
}

static int32_t give_time(dw_instance *instance, uint32_t at, uint64_t time)
{
    void *place = NULL;
    if (dw_instance_range(instance, "time", at, TIME_BYTES, 1, 1, &place, NULL) != DW_OK) {
        return DW__WASI_FAULT;
    }
    memcpy(place, &time, sizeof time);
    return DW__WASI_SUCCESS;
}

/* id, precision, time */
static wasm_trap_t *clock_time_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                   size_t count)
{
    dw_instance *instance = dw_instance_of(caller);
    const uint32_t at = (uint32_t)values[2].i32;
    (void)env;
    (void)count;
    if (is_own(instance, values[0].i32)) {
        values[0].i32 = give_time(instance, at, dw_instance_clock_read(instance));
        return NULL;
    }
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_CLOCK_TIME_GET, values);
    if (trap == NULL && values[0].i32 == DW__WASI_SUCCESS) {
        coarsen(instance, at, false);
    }
    return trap;
}

/* id, resolution */
static wasm_trap_t *clock_res_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                  size_t count)
{
    dw_instance *instance = dw_instance_of(caller);
    const uint32_t at = (uint32_t)values[1].i32;
    (void)env;
    (void)count;
    if (is_own(instance, values[0].i32)) {
        const uint64_t step = instance->limits.clock_ns;
        values[0].i32 = give_time(instance, at, step > DW_CLOCK_READ_NS ? step : DW_CLOCK_READ_NS);
        return NULL;
    }
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_CLOCK_RES_GET, values);
    if (trap == NULL && values[0].i32 == DW__WASI_SUCCESS) {
        coarsen(instance, at, true);
    }
    return trap;
}

dw_status dw__wasi_clock_define(dw_wasm_host *host, dw_error *err)
{
    dw_status status = dw__wasi_replace(host, DW__WASI_CLOCK_TIME_GET, clock_time_get, err);
    return status == DW_OK ? dw__wasi_replace(host, DW__WASI_CLOCK_RES_GET, clock_res_get, err)
                           : status;
}
