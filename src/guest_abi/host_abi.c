/* What guests ask about the host: version, errors, input, device, clock. */
#include <string.h>

#include "base/os.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"

static wasm_trap_t *call_abi_version(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                     size_t count)
{
    (void)env;
    (void)count;
    (void)dw_instance_of(caller);
    args[0].i32 = DW_ABI_VERSION;
    return NULL;
}

/* Text and its NUL to guest memory. Not payload: names and messages, never tokens or tensors. */
static int32_t give_text(dw_instance *instance, const char *text, uint32_t pointer,
                         uint32_t capacity, dw_error *err)
{
    size_t length = strlen(text);
    void *buffer;
    dw_status status = dw_instance_range(instance, "buffer", pointer, capacity, 1, 1, &buffer, err);
    if (status != DW_OK) {
        return status;
    }
    if (capacity <= length) {
        return dw_fail(err, DW_E_SPACE, "buffer: %u bytes, %zu are needed", capacity, length + 1);
    }
    memcpy(buffer, text, length + 1);
    return (int32_t)length;
}

static wasm_trap_t *call_last_error(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                    size_t count)
{
    (void)env;
    (void)count;
    dw_instance *instance = dw_instance_of(caller);
    dw_error kept = *dw_instance_error(instance); /* a failure to tell it does not replace it */
    dw_error *none = NULL;
    args[0].i32 =
        give_text(instance, kept.message, (uint32_t)args[0].i32, (uint32_t)args[1].i32, none);
    return NULL;
}

static wasm_trap_t *call_device_name(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                     size_t count)
{
    (void)env;
    (void)count;
    dw_instance *instance = dw_instance_of(caller);
    const dw_device_info *info = dw_device_info_of(dw_instance_device(instance));
    args[0].i32 = give_text(instance, info->name, (uint32_t)args[0].i32, (uint32_t)args[1].i32,
                            dw_instance_error(instance));
    return NULL;
}

static int32_t take_input(dw_instance *instance, uint32_t pointer, uint32_t capacity)
{
    dw_error *err = dw_instance_error(instance);
    void *buffer;
    dw_status status = dw_instance_range(instance, "buffer", pointer, capacity, 1, 1, &buffer, err);
    if (status != DW_OK) {
        return status;
    }
    ptrdiff_t length = dw_instance_input(instance, buffer, capacity);
    /* Afterwards: one that came while the host waited for input has nothing to cancel. */
    dw_instance_take_cancellation(instance);
    if (length < 0) {
        return dw_fail(err, DW_E_END, "input: there is no more");
    }
    if ((size_t)length > capacity || length > INT32_MAX) {
        return dw_fail(err, DW_E_SPACE, "input: %td bytes, room for %u", length, capacity);
    }
    return (int32_t)length;
}

static wasm_trap_t *call_input(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                               size_t count)
{
    (void)env;
    (void)count;
    args[0].i32 = take_input(dw_instance_of(caller), (uint32_t)args[0].i32, (uint32_t)args[1].i32);
    return NULL;
}

static wasm_trap_t *call_clock(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                               size_t count)
{
    (void)env;
    (void)count;
    (void)dw_instance_of(caller);
    args[0].i64 = (int64_t)dw_os_clock_ns();
    return NULL;
}

static wasm_trap_t *call_copied(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *args,
                                size_t count)
{
    (void)env;
    (void)count;
    dw_counters *counters = dw_instance_counters(dw_instance_of(caller));
    args[0].i64 = (int64_t)atomic_load(&counters->host_copied_bytes);
    return NULL;
}

const dw_host_import dw_host_imports[] = {
    {"abi_version", ":i", call_abi_version},
    {"last_error", "ii:i", call_last_error},
    {"input", "ii:i", call_input},
    {"device_name", "ii:i", call_device_name},
    {"clock_ns", ":I", call_clock},
    {"host_copied_bytes", ":I", call_copied},
    {NULL, NULL, NULL},
};
