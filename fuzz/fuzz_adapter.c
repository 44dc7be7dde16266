/* LoRA adapters in GGUF files, on any bytes, for a small random model. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/model.h"
#include "tiny_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what, const dw_error *err)
{
    (void)fprintf(stderr, "%s: %s\n", what, err->message);
    abort();
}

static dw_model *the_model(void)
{
    static dw_model *model;
    static dw_engine *engine; /* as long as the process, as the model */
    char path[] = "/tmp/fuzz_adapter.XXXXXX";
    dw_error err = {.message = "no temporary file"};
    const dw_engine_options options = {
        .struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    if (model != NULL) {
        return model;
    }
    int fd = mkstemp(path);
    if (fd < 0 || dw_engine_create(&engine, &options, &err) != DW_OK) {
        die("engine", &err);
    }
    (void)close(fd);
    tiny_options tiny = tiny_defaults();
    tiny.layer_count = 1; /* as the seed's */
    tiny_model_write(path, &tiny);
    if (dw_model_open(&model, engine, path, &err) != DW_OK) {
        die("model", &err);
    }
    (void)unlink(path);
    return model;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const dw_adapter_base base = dw_model_adapter_base(the_model());
    dw_gguf *gguf = NULL;
    dw_adapter *adapter = NULL;
    dw_error err;
    if (dw_gguf_parse(&gguf, data, size, &err) != DW_OK) {
        return 0;
    }
    const dw_status status = dw_adapter_open(&adapter, &base, gguf, &err);
    DW_ASSERT((status == DW_OK) == (adapter != NULL));
    for (size_t i = 0; adapter != NULL && i < adapter->pair_count; i++) {
        const dw_adapter_pair *pair = &adapter->pairs[i];
        DW_ASSERT(pair->b->ne[1] == (pair->is_table ? pair->weight->ne[0] : pair->weight->ne[1]));
    }
    dw_adapter_close(adapter);
    dw_gguf_close(gguf);
    return 0;
}
