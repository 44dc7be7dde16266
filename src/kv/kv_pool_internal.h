/* The pool of a device, for its ranges; kv_pool_state.h has what is in it. */
#ifndef DW_KV_KV_POOL_INTERNAL_H
#define DW_KV_KV_POOL_INTERNAL_H

#include "kv/kv_pool_state.h"

/* The device's, made where there is none. Errors: DW_E_UNSUPPORTED, DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__kv_pool_of(dw__kv_pool **out, dw_device *device, bool emulated, dw_error *err);
/* NULL: none yet. Borrowed while the device is there. */
dw__kv_pool *dw__kv_pool_find(dw_device *device);

#endif
