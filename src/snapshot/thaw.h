/* Thawing, below the public call, which knows the engine. */
#ifndef DW_SNAPSHOT_THAW_H
#define DW_SNAPSHOT_THAW_H

#include "wasm/guest_instance.h"

typedef struct dw_thaw_host {
    dw_wasm_host *wasm;
    struct dw_kept_heads *heads; /* for files that are trusted; NULL: none are kept */
    /* Whom the actor itself comes back to: logs that it left on the device are its (kv/kv_kept.h).
     * NULL: a copy of it is made. */
    const void *home;
} dw_thaw_host;

/* With identities the actor knows which of its files holds what. Errors: dw_actor_thaw's. */
dw_status dw_snapshot_thaw(dw_actor **out, const dw_thaw_host *host, const dw_thaw_options *options,
                           dw_thaw_stats *stats, dw_error *err);
/* dw_actor_thaw of an actor that left memory, from its folder (src/api/engine.c): with identities
 * it has the logs again that stayed on the device for `home`. */
dw_status dw_engine_bring_back(dw_actor **out, dw_engine *engine, const void *home,
                               const dw_thaw_options *options, dw_error *err);

#endif
