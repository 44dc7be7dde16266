/* When what actors in a folder have done is written, and what their rows say of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/runtime_internal.h"

static const dw_priority priorities[DW__PRIORITIES] = {DW_PRIORITY_HIGH, DW_PRIORITY_NORMAL,
                                                       DW_PRIORITY_LOW};

void dw__durability_fill(const dw_runtime *runtime, const dw__tenant *tenant,
                         dw_durability *durability, uint32_t *seconds)
{
    if (*durability == DW_DURABLE_DEFAULT && tenant != NULL) {
        *durability = tenant->durability;
        *seconds = tenant->durability_s;
    }
    if (*durability == DW_DURABLE_DEFAULT) {
        *durability = runtime->options.durability;
        *seconds = runtime->options.durability_s;
    }
    *durability = *durability != DW_DURABLE_DEFAULT ? *durability : DW_DURABLE_EACH;
}

dw_durability dw__durability_of(const dw_runtime *runtime, const dw__record *record,
                                uint32_t *seconds)
{
    dw_durability durability = record->durability;
    *seconds = record->durability_s;
    dw__durability_fill(runtime, record->tenant, &durability, seconds);
    return durability;
}

dw_status dw__durability_check(dw_durability durability, uint32_t seconds, dw_error *err)
{
    bool good = durability == DW_DURABLE_SECONDS
                    ? seconds >= 1
                    : (unsigned)durability <= DW_DURABLE_PARK && seconds == 0;
    return good ? DW_OK
                : dw_fail(err, DW_E_RANGE,
                          "durability %d with %" PRIu32 " seconds: from 1 on for "
                          "DW_DURABLE_SECONDS (2), 0 for others",
                          (int)durability, seconds);
}

void dw__durability_text(char text[32], dw_durability durability, uint32_t seconds)
{
    switch (durability) {
    case DW_DURABLE_DEFAULT:
        text[0] = '\0';
        break;
    case DW_DURABLE_EACH:
        (void)snprintf(text, 32, "each");
        break;
    case DW_DURABLE_PARK:
        (void)snprintf(text, 32, "park");
        break;
    case DW_DURABLE_SECONDS:
        (void)snprintf(text, 32, "%" PRIu32, seconds);
        break;
    }
}

void dw__durability_read(const char *text, dw_durability *durability, uint32_t *seconds)
{
    *durability = DW_DURABLE_DEFAULT;
    *seconds = 0;
    if (strcmp(text, "each") == 0) {
        *durability = DW_DURABLE_EACH;
    } else if (strcmp(text, "park") == 0) {
        *durability = DW_DURABLE_PARK;
    } else if (sscanf(text, "%" SCNu32, seconds) == 1 && *seconds > 0) {
        *durability = DW_DURABLE_SECONDS;
    }
}

void dw__traits_of(const dw__record *record, dw_actor_traits *traits)
{
    *traits = (dw_actor_traits){.capabilities = record->capabilities,
                                .priority = (int32_t)priorities[record->priority],
                                .supervision = (int32_t)record->supervision,
                                .failures_max = record->failures_max,
                                .pinned = record->pinned};
    (void)snprintf(traits->tenant, sizeof traits->tenant, "%s", record->tenant->name);
    dw__durability_text(traits->policy, record->durability, record->durability_s);
}

void dw__set_durability(dw_runtime *runtime, dw_durability durability, uint32_t seconds)
{
    dw__enter(runtime);
    if (runtime->options.durability == DW_DURABLE_DEFAULT) {
        runtime->options.durability = durability;
        runtime->options.durability_s = seconds;
    }
    dw__leave(runtime, false);
}
