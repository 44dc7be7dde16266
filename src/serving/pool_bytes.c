#include "serving/pool_bytes.h"

uint64_t dw__pool_weight_bytes(const char *path, char **name, dw_error *err)
{
    dw_gguf *gguf = NULL;
    dw_gguf_info info = {.struct_bytes = sizeof info};
    if (dw_gguf_open(&gguf, path, err) == DW_OK) {
        (void)dw_gguf_get_info(gguf, &info);
        if (name != NULL) {
            *name = dw_model_name_of(gguf, path);
        }
    }
    dw_gguf_close(gguf);
    return info.weights_bytes;
}

uint64_t dw__pool_adapter_bytes(const dw_model *model)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < dw_model_adapter_count(model); i++) {
        dw_adapter_info info = {.struct_bytes = sizeof info};
        if (dw_model_get_adapter(model, i, &info, NULL) == DW_OK) {
            bytes += info.bytes;
        }
    }
    return bytes;
}
