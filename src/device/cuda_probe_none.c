#include "device/cuda_probe.h"

void dw_cuda_probe(dw_cuda_state *state)
{
    *state = (dw_cuda_state){.built = false};
}

const char *dw_cuda_missing_library(void)
{
    return NULL;
}

void dw_cuda_probe_device(int ordinal, dw_cuda_device_state *state)
{
    (void)ordinal;
    *state = (dw_cuda_device_state){0};
}

void dw_cuda_forget_error(void)
{
}
