/* What is due at a time: a binary heap of alarms, each of which has its place reserved. */
#include "base/array.h"
#include "runtime/runtime_internal.h"

dw_status dw__alarm_reserve(dw_runtime *runtime, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(runtime->alarms, runtime->alarm_capacity, runtime->alarm_owners + 1,
                          SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a timer");
    }
    runtime->alarm_owners++;
    return DW_OK;
}

void dw__alarm_unreserve(dw_runtime *runtime, dw__alarm *alarm)
{
    dw__alarm_clear(runtime, alarm);
    runtime->alarm_owners--;
}

static void put(dw_runtime *runtime, size_t place, dw__alarm *alarm)
{
    runtime->alarms[place - 1] = alarm;
    alarm->place = place;
}

static dw__alarm *at(const dw_runtime *runtime, size_t place)
{
    return runtime->alarms[place - 1];
}

/* The place becomes the alarm's, or one above or below it where that is in order. */
static void settle(dw_runtime *runtime, size_t place, dw__alarm *alarm)
{
    while (place > 1 && at(runtime, place / 2)->due_ns > alarm->due_ns) {
        put(runtime, place, at(runtime, place / 2));
        place /= 2;
    }
    for (;;) {
        size_t child = 2 * place;
        if (child < runtime->alarm_count &&
            at(runtime, child + 1)->due_ns < at(runtime, child)->due_ns) {
            child++;
        }
        if (child > runtime->alarm_count || at(runtime, child)->due_ns >= alarm->due_ns) {
            break;
        }
        put(runtime, place, at(runtime, child));
        place = child;
    }
    put(runtime, place, alarm);
}

void dw__alarm_clear(dw_runtime *runtime, dw__alarm *alarm)
{
    size_t place = alarm->place;
    if (place == 0) {
        return;
    }
    dw__alarm *last = at(runtime, runtime->alarm_count);
    runtime->alarm_count--;
    alarm->place = 0;
    if (last != alarm) {
        settle(runtime, place, last);
    }
}

void dw__alarm_set(dw_runtime *runtime, dw__alarm *alarm, uint64_t due_ns)
{
    dw__alarm_clear(runtime, alarm);
    DW_ASSERT(runtime->alarm_count < runtime->alarm_capacity && alarm->ring != NULL);
    alarm->due_ns = due_ns;
    runtime->alarm_count++;
    settle(runtime, runtime->alarm_count, alarm);
    if (alarm->place == 1) {
        runtime->platform.wake(runtime->platform.user, due_ns);
    }
}

uint64_t dw__alarms_due(const dw_runtime *runtime)
{
    return runtime->alarm_count > 0 ? runtime->alarms[0]->due_ns : UINT64_MAX;
}

void dw__alarms_ring(dw_runtime *runtime, uint64_t now_ns)
{
    while (runtime->alarm_count > 0 && runtime->alarms[0]->due_ns <= now_ns) {
        dw__alarm *alarm = runtime->alarms[0];
        dw__alarm_clear(runtime, alarm);
        alarm->ring(runtime, alarm);
    }
}
