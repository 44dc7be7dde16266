#include "device/host_register.h"

dw_status dw__host_register(dw_device *device, void *address, size_t bytes, dw_error *err)
{
    (void)address;
    return dw_fail(err, DW_E_UNSUPPORTED,
                   "%s: registering %zu host bytes needs a build with DRIFTWOOD_CUDA=ON",
                   dw_device_info_of(device)->name, bytes);
}

void dw__host_unregister(dw_device *device, void *address, size_t bytes)
{
    (void)device;
    (void)address;
    (void)bytes;
}
