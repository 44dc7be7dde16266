/* What is to be seen of a runtime, as JSON: docs/seeing.md.
 * Private to src/runtime. Thread: with the runtime's lock, but for dw__overview. */
#ifndef DW_RUNTIME_DESCRIBE_H
#define DW_RUNTIME_DESCRIBE_H

#include "base/json_text.h"
#include "runtime/runtime_internal.h"

/* What is known of one in memory; of one that is in the folder alone, in so many groups. Nothing of
 * snapshots: what there is of them on the disk, without the lock. Errors: DW_E_IO. */
dw_runtime_actor_info dw__info_of(dw_runtime *runtime, dw__record *record);
dw_runtime_actor_info dw__info_of_row(const dw_runtime *runtime, const dw_actor_row *row,
                                      size_t groups);
dw_status dw__add_snapshots(const dw_runtime *runtime, const char *id, dw_runtime_actor_info *info,
                            dw_error *err);
/* A value. What it has done so far in the message it works on is in it. `watches` NULL: without
 * those, and without limits. */
void dw__json_actor(dw_json_text *json, dw_runtime *runtime, dw__record *record,
                    const dw_actor_watches *watches);
/* Members of an object. */
void dw__json_totals(dw_json_text *json, const dw_runtime *runtime);
void dw__json_tenants(dw_json_text *json, const dw_runtime *runtime);
void dw__json_kv(dw_json_text *json, const dw_kv_stats *kv);

#define DW__ORDERS 5u
extern const char *const dw__order_names[DW__ORDERS]; /* in the order of dw_overview_order */
/* dw_runtime_overview's text; also while the runtime is being closed. Without the lock. */
dw_status dw__overview(dw_runtime *runtime, const dw_overview_options *options, dw_json_text *json,
                       dw_error *err);

#endif
