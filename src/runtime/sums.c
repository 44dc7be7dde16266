/* What is counted, of each actor, each tenant and all together. */
#include "runtime/runtime_internal.h"

static void add(dw__sums *sums, const dw__sums *more)
{
#define ADD(name) sums->name += more->name;
    DW__SUM_LIST(ADD)
#undef ADD
}

void dw__sum(dw_runtime *runtime, dw__record *record, const dw__sums *more)
{
    add(&record->sums, more);
    add(&record->tenant->sums, more);
    add(&runtime->sums, more);
}

void dw__sum_usage(dw_runtime *runtime, dw__record *record)
{
    if (record->state == DW__WORKING) { /* else its body may be a worker's */
        dw__measure(runtime, record);
    }
}

void dw__measure(dw_runtime *runtime, dw__record *record)
{
    dw__usage usage = {.memory_bytes = 0};
    runtime->platform.usage(runtime->platform.user, record->body, &usage);
    dw__note_memory(runtime, record, usage.memory_bytes);
    dw__sum(runtime, record,
            &(dw__sums){.prompt_tokens = usage.prompt_tokens,
                        .generated_tokens = usage.generated_tokens,
                        .found_tokens = usage.found_tokens,
                        .guest_ns = usage.guest_ns,
                        .device_ns = usage.device_ns});
}
