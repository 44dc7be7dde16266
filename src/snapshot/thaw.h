/* Thawing, below the public call, which knows the engine. */
#ifndef DW_SNAPSHOT_THAW_H
#define DW_SNAPSHOT_THAW_H

#include "wasm/guest_instance.h"

/* With identities the actor knows which of its files holds what. Errors: dw_actor_thaw's. */
dw_status dw_snapshot_thaw(dw_actor **out, dw_wasm_host *host, const dw_thaw_options *options,
                           dw_thaw_stats *stats, dw_error *err);

#endif
