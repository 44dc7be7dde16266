/* What is counted of actors, their tenants and all together. Private to src/runtime. Thread: with
 * the runtime's lock. */
#ifndef DW_RUNTIME_SUMS_H
#define DW_RUNTIME_SUMS_H

#include "runtime/runtime_internal.h"

/* To what is counted of the record, its tenant and all. */
void dw__sum(dw_runtime *runtime, dw__record *record, const dw__sums *more);
/* The same of an actor whose record has gone. */
void dw__sum_gone(dw_runtime *runtime, dw__tenant *tenant, const dw__sums *more);
/* What its body has done by now, if it has one: also while it works. */
void dw__sum_usage(dw_runtime *runtime, dw__record *record);
/* The same, of a body that nobody else uses. */
void dw__measure(dw_runtime *runtime, dw__record *record);
/* What the folder is to have of it; and of one that has done nothing. */
void dw__counts_of(const dw_runtime *runtime, const dw__record *record, uint32_t failures,
                   dw_actor_counts *counts);
void dw__counts_fresh(const dw_runtime *runtime, dw_actor_counts *counts);
/* What a row says of it. `*restarts` (may be NULL): it was read again so often. */
void dw__counts_read(const dw_runtime *runtime, const dw_actor_counts *counts, dw__sums *sums,
                     uint64_t *restarts);
/* The turn writes them with what it writes. */
void dw__turn_count(const dw_runtime *runtime, dw__record *record, uint32_t failures);

#endif
