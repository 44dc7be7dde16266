#include "device/vram_internal.h"

dw_status dw__vram_cuda_open(dw_vram **out, dw_device *device, dw_error *err)
{
    (void)out;
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: no memory by address ranges in this build",
                   dw_device_info_of(device)->name);
}
