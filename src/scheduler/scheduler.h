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

/* Work was done for the tenant on another thread, which cost the others so much processor time: it
 * counts as its guests' time, so that who has much done that way has fewer turns. More than
 * DW_SCHEDULER_CHARGE_MAX_NS since its guests' last turn are forgotten. Thread: any. */
#define DW_SCHEDULER_CHARGE_MAX_NS UINT64_C(1000000000)
void dw_scheduler_charge(dw_scheduler *scheduler, uint32_t tenant, uint64_t cost_ns);

/* dw_scheduler_create for guests of `host`, whose device is `device`; both outlive it. */
dw_status dw_scheduler_create_on(dw_scheduler **out, dw_wasm_host *host, dw_device *device,
                                 const dw_scheduler_options *options, dw_error *err);

/* What a scheduler tells of itself to who watches it. */
typedef enum dw_scheduler_span_kind {
    DW_SPAN_TURN, /* of a guest */
    DW_SPAN_WAIT, /* of a guest between two turns */
    DW_SPAN_WORK, /* in a turn: what cannot be batched */
    DW_SPAN_STEP, /* a guest's part of a run, of `tokens` */
    DW_SPAN_RUN,  /* of the device, of no guest: `tokens` of `sequences` */
} dw_scheduler_span_kind;
typedef enum dw_scheduler_wait {
    DW_WAIT_FOR_TURN,
    DW_WAIT_FOR_STEP,
    DW_WAIT_FOR_DEVICE,
    DW_WAIT_FOR_TOKENS, /* that are generated ahead */
    DW_WAIT_FOR_TIME,   /* or a stream */
} dw_scheduler_wait;
typedef struct dw_scheduler_span {
    dw_scheduler_span_kind kind;
    dw_scheduler_wait wait;
    uint64_t from_ns;
    uint64_t to_ns;
    uint64_t run; /* the number of the device's run */
    uint32_t tokens;
    uint32_t sequences;
} dw_scheduler_span;

/* Called on whichever of its threads did it, while `on` (any thread writes it); `call` is the user
 * of dw_scheduler_receive or _start, NULL: of none. It must not wait. */
typedef struct dw_scheduler_watch {
    _Atomic bool *on;
    void (*on_span)(void *user, void *call, const dw_scheduler_span *span);
    void *user;
} dw_scheduler_watch;
/* Before it has run. `watch` is copied. */
void dw_scheduler_set_watch(dw_scheduler *scheduler, const dw_scheduler_watch *watch);
/* Before it has run: who frees memory for a step that lacks it where no other is under way, and
 * whether that did; then it is tried again. On the thread that runs steps, which may wait. */
void dw_scheduler_set_relief(dw_scheduler *scheduler, bool (*relieve)(void *user), void *user);

#endif
