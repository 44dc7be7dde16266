#include "abi_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_abi/guest_abi.h"
#include "support.h"
#include "tiny_model.h"

abi_fixture abi;

/* ---- the guest ------------------------------------------------------------------------------ */

static size_t write_import(char *text, size_t room, const char *module,
                           const dw_host_import *import)
{
    size_t params = strcspn(import->signature, ":");
    bool wide = import->signature[params + 1] == 'I';
    size_t at = (size_t)snprintf(text, room, "(import \"%s\" \"%s\" (func $%s", module,
                                 import->name, import->name);
    for (size_t i = 0; i < params; i++) {
        at += (size_t)snprintf(text + at, room - at, " (param %s)",
                               import->signature[i] == 'I' ? "i64" : "i32");
    }
    return at + (size_t)snprintf(text + at, room - at, " (result %s)))\n", wide ? "i64" : "i32");
}

static size_t write_caller(char *text, size_t room, const dw_host_import *import)
{
    size_t params = strcspn(import->signature, ":");
    bool wide = import->signature[params + 1] == 'I';
    size_t at = (size_t)snprintf(text, room, "(func (export \"%s\") (result i32) %s(call $%s",
                                 import->name, wide ? "(i32.wrap_i64 " : "", import->name);
    for (size_t i = 0; i < params; i++) {
        at += (size_t)snprintf(text + at, room - at, " (%s (i32.const %zu))",
                               import->signature[i] == 'I' ? "i64.load32_u" : "i32.load", 4 * i);
    }
    return at + (size_t)snprintf(text + at, room - at, "))%s\n", wide ? ")" : "");
}

static dw_module *make_module(void)
{
    static const dw_host_import *const tables[] = {
        dw_host_imports,    dw_model_imports,   dw_vocab_imports,    dw_context_imports,
        dw_forward_imports, dw_sampler_imports, dw_generate_imports, dw_many_imports,
        dw_tree_imports,    dw_lora_imports,    dw_nn_imports};
    static char text[32768];
    size_t at = (size_t)snprintf(text, sizeof text, "(module\n");
    for (int pass = 0; pass < 2; pass++) {
        for (size_t table = 0; table < sizeof tables / sizeof tables[0]; table++) {
            for (const dw_host_import *import = tables[table]; import->name != NULL; import++) {
                const char *from =
                    tables[table] == dw_nn_imports ? DW_NN_IMPORT_MODULE : DW_IMPORT_MODULE;
                at += pass == 0 ? write_import(text + at, sizeof text - at, from, import)
                                : write_caller(text + at, sizeof text - at, import);
            }
        }
    }
    (void)snprintf(text + at, sizeof text - at, "(memory (export \"memory\") %d))",
                   ABI_MEMORY_PAGES);
    wasm_byte_vec_t wasm;
    wasmtime_error_t *failed = wasmtime_wat2wasm(text, strlen(text), &wasm);
    assert_null(failed);
    dw_module *made = NULL;
    dw_error err;
    if (dw_module_create(&made, abi.engine, wasm.data, wasm.size, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    return made;
}

/* ---- set-up --------------------------------------------------------------------------------- */

int abi_fixture_open(void **state)
{
    char path[] = "/tmp/dw-abi-XXXXXX";
    dw_error err;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_options options = tiny_defaults();
    abi.vocab_count = options.vocab_count;
    tiny_model_write(path, &options);
    dw_engine_options engine_options = {
        .struct_bytes = sizeof engine_options, .device = "CPU", .threads = 1};
    if (dw_engine_create(&abi.engine, &engine_options, &err) != DW_OK ||
        dw_model_open(&abi.model, abi.engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    unlink(path);
    abi.module = make_module();
    return 0;
}

int abi_fixture_close(void **state)
{
    (void)state;
    dw_module_unref(abi.module);
    dw_model_unref(abi.model);
    dw_engine_destroy(abi.engine);
    return 0;
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    (void)user;
    if (abi.input_text == NULL) {
        return -1;
    }
    size_t length = strlen(abi.input_text);
    if (length <= capacity) {
        memcpy(buffer, abi.input_text, length);
    }
    return (ptrdiff_t)length;
}

int32_t abi_call(const char *name, const uint32_t *args, size_t count)
{
    int32_t result = 0;
    dw_error err;
    memcpy(abi.memory, args, count * sizeof *args);
    if (dw_instance_call(abi.instance, name, &result, &err) != DW_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return result;
}

int abi_set_up(void **state)
{
    dw_error err;
    (void)state;
    wasm_signals_restore();
    const dw_limits limits = {.struct_bytes = sizeof limits, .adapter_sets = ADAPTER_SETS_MAX};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .limits = &limits,
                                   .models = &abi.model,
                                   .model_count = 1,
                                   .model_names = (const char *const[]){"given"},
                                   .on_input = on_input,
                                   .context_count_max = CONTEXTS_MAX,
                                   .context_tokens_max = CONTEXT_TOKENS_MAX};
    if (dw_instance_create(&abi.instance, abi.module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    abi.memory = dw_instance_memory(abi.instance);
    abi.model_handle = CALL("model_open", 0, 0);
    assert_true(abi.model_handle > 0);
    abi.context_handle = CALL("context_create", U(abi.model_handle), 0);
    assert_true(abi.context_handle > 0);
    for (uint32_t i = 0; i < 16; i++) {
        ((int32_t *)(void *)(abi.memory + AT_TOKENS))[i] = (int32_t)(i + 20);
    }
    return 0;
}

int abi_tear_down(void **state)
{
    (void)state;
    dw_instance_destroy(abi.instance);
    return 0;
}

int32_t *abi_tokens(void)
{
    return (int32_t *)(void *)(abi.memory + AT_TOKENS);
}

float *abi_logits(void)
{
    return (float *)(void *)(abi.memory + AT_LOGITS);
}

void abi_expect_message(const char *words)
{
    assert_true(CALL("last_error", AT_WORDS, 256) > 0);
    if (strstr((const char *)abi.memory + AT_WORDS, words) == NULL) {
        fail_msg("'%s' is not in '%s'", words, (const char *)abi.memory + AT_WORDS);
    }
}
