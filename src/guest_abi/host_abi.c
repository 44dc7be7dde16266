/* What guests ask about the host: version, errors, input, device, clock. */
#include <string.h>

#include "base/os.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "wasm/repeatable.h"

static int32_t abi_version(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    (void)instance;
    (void)args;
    return DW_ABI_VERSION;
}
DW__GUEST_CALL(i32, abi_version)

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

/* buffer, capacity */
static int32_t last_error(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error kept = *dw_instance_error(instance); /* a failure to tell it does not replace it */
    return give_text(instance, kept.message, dw__u32(&args[0]), dw__u32(&args[1]), NULL);
}
DW__GUEST_CALL(i32, last_error)

/* buffer, capacity */
static int32_t device_name(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_device_info *info = dw_device_info_of(dw_instance_device(instance));
    return give_text(instance, info->name, dw__u32(&args[0]), dw__u32(&args[1]),
                     dw_instance_error(instance));
}
DW__GUEST_CALL(i32, device_name)

/* buffer, capacity */
static int32_t input(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t capacity = dw__u32(&args[1]);
    void *buffer;
    dw_status status =
        dw_instance_range(instance, "buffer", dw__u32(&args[0]), capacity, 1, 1, &buffer, err);
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
DW__GUEST_CALL(i32, input)

static int64_t clock_ns(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const uint64_t step = dw_instance_limits(instance)->clock_ns;
    (void)args;
    if (dw_instance_repeatable(instance)->own_clock) {
        return (int64_t)dw_instance_clock_read(instance);
    }
    return (int64_t)(dw_os_clock_ns() / step * step);
}
DW__GUEST_CALL(i64, clock_ns)

/* All that is copied is copied for staged views. */
static int64_t host_copied_bytes(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    (void)args;
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_instance_get_stats(instance, &stats);
    return (int64_t)stats.device_staged_bytes;
}
DW__GUEST_CALL(i64, host_copied_bytes)

const dw_host_import dw_host_imports[] = {
    {"abi_version", ":i", call_abi_version},
    {"last_error", "ii:i", call_last_error},
    {"input", "ii:i", call_input},
    {"device_name", "ii:i", call_device_name},
    {"clock_ns", ":I", call_clock_ns},
    {"host_copied_bytes", ":I", call_host_copied_bytes},
    {NULL, NULL, NULL},
};
