/* Many guests on the fibers of one engine, whose steps go through the device together.
 * include/driftwood.h has its life; this is what src/api needs beside it. */
#ifndef DW_SCHEDULER_SCHEDULER_H
#define DW_SCHEDULER_SCHEDULER_H

#include "wasm/guest_instance.h"

/* dw_scheduler_create for guests of `host`, whose device is `device`; both outlive it. */
dw_status dw_scheduler_create_on(dw_scheduler **out, dw_wasm_host *host, dw_device *device,
                                 const dw_scheduler_options *options, dw_error *err);

#endif
