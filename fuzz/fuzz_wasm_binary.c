/* A module's layout from any bytes; what was rewritten is read again and has nothing to add. With
 * Wasmtime as a judge: what it takes is read without an error, and taken still when rewritten. */
#include <stdint.h>
#include <string.h>

#include <wasmtime.h>

#include "base/alloc.h"
#include "wasm/wasm_binary.h"
#include "wasm/wasm_work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool valid(const uint8_t *wasm, size_t bytes)
{
    static wasm_engine_t *engine;
    if (engine == NULL) {
        wasm_config_t *config = wasm_config_new();
        wasmtime_config_wasm_exceptions_set(config, true);
        wasmtime_config_wasm_function_references_set(config, true);
        wasmtime_config_wasm_gc_set(config, true);
        engine = wasm_engine_new_with_config(config);
    }
    wasmtime_error_t *error = wasmtime_module_validate(engine, wasm, bytes);
    if (error != NULL) {
        wasmtime_error_delete(error);
    }
    return error == NULL;
}

/* The added names are the host's: a module that has them is not rewritten twice. */
static void check_rewritten(const dw_wasm_layout *layout, const unsigned char *rewritten,
                            size_t bytes)
{
    dw_wasm_layout *again;
    unsigned char *more;
    size_t more_bytes;
    dw_error err;
    dw_status status = dw_wasm_layout_read(&again, rewritten, bytes, &more, &more_bytes, &err);
    DW_ASSERT(layout->refused[0] == '\0' && status == DW_OK && more == NULL);
    DW_ASSERT(strstr(again->refused, DW_WASM_EXPORT_PREFIX) != NULL);
    dw_wasm_layout_destroy(again);
}

/* What is valid is so with its bulk operations in parts. */
static void check_parts(const uint8_t *data, size_t size)
{
    unsigned char *rewritten;
    size_t bytes;
    dw_error err;
    DW_ASSERT(dw_wasm_part_bulk(data, size, &rewritten, &bytes, &err) == DW_OK);
    DW_ASSERT(rewritten == NULL || !valid(data, size) || valid(rewritten, bytes));
    dw_free(rewritten);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dw_wasm_layout *layout;
    unsigned char *rewritten;
    size_t rewritten_bytes;
    dw_error err;
    (void)dw_wasm_exports_function(data, size, DW_ACTOR_EXPORT);
    (void)dw_wasm_work_check(data, size, &dw_limits_usual, &err);
    check_parts(data, size);
    dw_status status = dw_wasm_layout_read(&layout, data, size, &rewritten, &rewritten_bytes, &err);
    if (valid(data, size)) {
        DW_ASSERT(status == DW_OK);
        DW_ASSERT(rewritten == NULL || valid(rewritten, rewritten_bytes));
    }
    if (rewritten != NULL) {
        check_rewritten(layout, rewritten, rewritten_bytes);
    }
    dw_wasm_layout_destroy(layout);
    dw_free(rewritten);
    return 0;
}
