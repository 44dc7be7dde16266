#include "device/host_register.h"

bool dw_host_register_serves(ggml_backend_dev_t device)
{
    (void)device;
    return false;
}

dw_status dw_host_register(ggml_backend_dev_t device, void *address, size_t bytes, dw_error *err)
{
    (void)address;
    return dw_fail(err, DW_E_UNSUPPORTED,
                   "%s: registering %zu host bytes needs a build with DRIFTWOOD_CUDA=ON",
                   ggml_backend_dev_name(device), bytes);
}

void dw_host_unregister(ggml_backend_dev_t device, void *address)
{
    (void)device;
    (void)address;
}
