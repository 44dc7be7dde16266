/* DW_TEST_KV=ranges: tests whose contexts lie in host memory have them in emulated device
 * memory, in small allocations and with too little of it, so that contexts are evicted. */
#ifndef TEST_KV_FIXTURE_H
#define TEST_KV_FIXTURE_H

#include "device/device.h"

/* Before the device's first context. `limit_bytes` as of dw_kv_pool_limit, where it applies. */
void kv_fixture_open(dw_device *device, uint64_t limit_bytes);

#endif
