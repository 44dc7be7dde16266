#include "device/cuda_probe.h"

void dw__cuda_probe(dw__cuda_info *info)
{
    *info = (dw__cuda_info){.built = false};
}

const char *dw__cuda_missing_library(void)
{
    return NULL;
}

void dw__cuda_probe_device(int ordinal, dw__cuda_device_info *info)
{
    (void)ordinal;
    *info = (dw__cuda_device_info){0};
}

void dw__cuda_forget_error(void)
{
}
