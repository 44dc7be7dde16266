/* What is counted, of each actor, each tenant and all together; an actor's is in its row, too,
 * where it has one. */
#include <assert.h>

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

void dw__sum_gone(dw_runtime *runtime, dw__tenant *tenant, const dw__sums *more)
{
    add(&tenant->sums, more);
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
    dw__note_memory(runtime, record, usage.memory_bytes + record->unread_bytes);
    dw__sum(runtime, record,
            &(dw__sums){.prompt_tokens = usage.prompt_tokens,
                        .generated_tokens = usage.generated_tokens,
                        .found_tokens = usage.found_tokens,
                        .guest_ns = usage.guest_ns,
                        .device_ns = usage.device_ns});
}

/* ---- in a row -------------------------------------------------------------------------------- */

/* Their order there; what is new comes last. */
enum {
    AT_SESSION, /* of the runtime that wrote it */
    AT_RESTARTS,
#define AT(name) AT_##name,
    DW__SUM_LIST(AT)
#undef AT
        AT_COUNT
};
static_assert(AT_COUNT <= DW_ACTOR_COUNTERS_MAX, "more is counted than there is room for");

void dw__counts_fresh(const dw_runtime *runtime, dw_actor_counts *counts)
{
    *counts = (dw_actor_counts){.count = AT_COUNT};
    counts->counters[AT_SESSION] = runtime->session;
}

void dw__counts_of(const dw_runtime *runtime, const dw__record *record, uint32_t failures,
                   dw_actor_counts *counts)
{
    dw__counts_fresh(runtime, counts);
    counts->failures = failures;
    counts->renews = record->renews && !record->renewed;
    counts->redo = counts->renews ? record->redo_row : 0;
    counts->counters[AT_RESTARTS] = record->restarts;
#define TO(name) counts->counters[AT_##name] = record->sums.name;
    DW__SUM_LIST(TO)
#undef TO
}

void dw__counts_read(const dw_runtime *runtime, const dw_actor_counts *counts, dw__sums *sums,
                     uint64_t *restarts)
{
    *sums = (dw__sums){.messages = 0};
#define FROM(name) sums->name = AT_##name < counts->count ? counts->counters[AT_##name] : 0;
    DW__SUM_LIST(FROM)
#undef FROM
    if (restarts != NULL) {
        *restarts = AT_RESTARTS < counts->count ? counts->counters[AT_RESTARTS] : 0;
    }
    if (counts->count > AT_SESSION && counts->counters[AT_SESSION] == runtime->session) {
        sums->parks++; /* it was written in this runtime's time, and has left memory since */
    }
}

void dw__turn_count(const dw_runtime *runtime, dw__record *record, uint32_t failures)
{
    dw__turn *turn = record->turn;
    dw__counts_of(runtime, record, failures, &turn->counts);
    turn->folder.counts = &turn->counts;
}
