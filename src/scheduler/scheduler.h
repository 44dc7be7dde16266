/* Many guests on the fibers of one engine, whose steps go through the device together.
 * include/driftwood.h has its life; this is what src/api needs beside it. */
#ifndef DW_SCHEDULER_SCHEDULER_H
#define DW_SCHEDULER_SCHEDULER_H

#include "wasm/guest_instance.h"

/* Tenants, among whom a scheduler shares out its time. */
#define DW_SCHEDULER_TENANTS_MAX 1024u
#define DW_SCHEDULER_WEIGHT_USUAL 100u

/* On whose time a call runs. */
typedef struct dw_call_terms {
    uint32_t tenant;  /* below DW_SCHEDULER_TENANTS_MAX; calls without terms are of number 0 */
    uint32_t weight;  /* of that tenant, from now on; not 0 */
    uint8_t priority; /* in the tenant: 0 (the highest) to 2, with parts of 16, 4 and 1 */
    uint64_t due_ns;  /* by dw_os_clock_ns: when its message should be through; 0: no time */
} dw_call_terms;

/* dw_scheduler_receive's callbacks. */
typedef struct dw_call_hooks {
    dw_write_fn on_answer;
    dw_call_end_fn on_end;
    void *user;
} dw_call_hooks;

/* dw_scheduler_receive. */
dw_status dw_scheduler_receive_on(dw_scheduler *scheduler, dw_actor *actor,
                                  const dw_call_terms *terms, const dw_call_hooks *hooks,
                                  dw_error *err);

/* dw_scheduler_create for guests of `host`, whose device is `device`; both outlive it. */
dw_status dw_scheduler_create_on(dw_scheduler **out, dw_wasm_host *host, dw_device *device,
                                 const dw_scheduler_options *options, dw_error *err);

#endif
