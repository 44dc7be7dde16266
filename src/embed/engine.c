/* include/driftwood.h's engine: the layer that knows all the parts and puts them together. */
#include "actor/guest_instance.h"
#include "base/alloc.h"
#include "base/os.h"
#include "engine/context.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/tensor_graph.h"
#include "model/sampler.h"

/* A guest is a program: larger files are something else. */
#define WASM_FILE_BYTES_MAX ((size_t)256 << 20)

struct dw_engine {
    dw_device *device;
    dw_wasm_host *wasm;
};

static void destroy_model(void *object)
{
    dw_model_unref(object);
}

static void destroy_context(void *object)
{
    dw_context_destroy(object);
}

static void destroy_sampler(void *object)
{
    dw_sampler_destroy(object);
}

static void destroy_graph(void *object)
{
    dw_tensor_graph_destroy(object);
}

static const dw_import *const import_tables[] = {dw_host_imports, dw_tensor_imports,
                                                 dw_model_imports};

dw_status dw_engine_create(dw_engine **out, const dw_engine_options *options, dw_error *err)
{
    static const dw_engine_options defaults = {0};
    *out = NULL;
    options = options != NULL ? options : &defaults;
    dw_engine *engine = dw_alloc(1, sizeof *engine);
    if (engine == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an engine");
    }
    dw_status status = dw_device_open(&engine->device, options->device, options->threads, err);
    if (status == DW_OK) {
        dw_host_parts parts = {
            .device = engine->device,
            .import_tables = import_tables,
            .import_table_count = sizeof import_tables / sizeof import_tables[0],
            .destroy = {[DW_HANDLE_MODEL] = destroy_model,
                        [DW_HANDLE_CONTEXT] = destroy_context,
                        [DW_HANDLE_SAMPLER] = destroy_sampler,
                        [DW_HANDLE_GRAPH] = destroy_graph},
        };
        status = dw_wasm_host_create(&engine->wasm, &parts, err);
    }
    if (status != DW_OK) {
        dw_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return DW_OK;
}

void dw_engine_destroy(dw_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    dw_wasm_host_destroy(engine->wasm);
    dw_device_close(engine->device);
    dw_free(engine);
}

void dw_engine_device(const dw_engine *engine, dw_device_info *info)
{
    *info = *dw_device_facts(engine->device);
}

dw_status dw_model_open(dw_model **out, dw_engine *engine, const char *path, dw_error *err)
{
    return dw_model_load(out, engine->device, path, err);
}

dw_status dw_module_create(dw_module **out, dw_engine *engine, const void *wasm, size_t wasm_bytes,
                           dw_error *err)
{
    return dw_module_compile(out, engine->wasm, wasm, wasm_bytes, err);
}

dw_status dw_module_open(dw_module **out, dw_engine *engine, const char *path, dw_error *err)
{
    *out = NULL;
    char *bytes = NULL;
    size_t count = 0;
    dw_status status = dw_os_read_file(path, WASM_FILE_BYTES_MAX, &bytes, &count, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_module_compile(out, engine->wasm, bytes, count, err);
    if (status != DW_OK) {
        status = dw_fail_within(err, status, "%s", path);
    }
    dw_free(bytes);
    return status;
}
