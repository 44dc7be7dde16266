/* Where a guest's time goes: its stack at every epoch (10 ms of running), as Wasmtime's profiler
 * collects it, in the format that https://profiler.firefox.com opens. */
#include "base/os.h"
#include "wasm/instance_internal.h"

#define INTERVAL_NS UINT64_C(10000000) /* the ticker's */

dw_status dw_instance_begin_profile(dw_instance *instance, const char *name, dw_error *err)
{
    if (instance->profile != NULL || instance->calling) {
        return dw_fail(err, DW_E_STATE, "profile: %s",
                       instance->calling ? "the guest runs" : "there is one");
    }
    wasm_name_t own;
    wasm_name_new_from_string(&own, name);
    const wasmtime_guestprofiler_modules_t modules = {.name = &own,
                                                      .mod = instance->module->module};
    instance->profile =
        wasmtime_guestprofiler_new(instance->host->engine, &own, INTERVAL_NS, &modules, 1);
    wasm_name_delete(&own);
    instance->profile_ns = dw_os_thread_clock_ns(dw_os_thread_clock_of_this());
    return instance->profile != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a profile");
}

void dw__instance_sample(dw_instance *instance)
{
    uint64_t now_ns = dw_os_thread_clock_ns(dw_os_thread_clock_of_this());
    uint64_t delta_ns = now_ns > instance->profile_ns ? now_ns - instance->profile_ns : 0;
    wasmtime_guestprofiler_sample(instance->profile, instance->store, delta_ns);
    instance->profile_ns = now_ns;
}

dw_status dw_instance_end_profile(dw_instance *instance, dw_write_fn write, void *user,
                                  dw_error *err)
{
    wasm_byte_vec_t bytes;
    if (instance->profile == NULL || instance->calling) {
        return dw_fail(err, DW_E_STATE, "profile: %s",
                       instance->calling ? "the guest runs" : "there is none");
    }
    wasmtime_error_t *error = wasmtime_guestprofiler_finish(instance->profile, &bytes);
    instance->profile = NULL;
    if (error != NULL) {
        return dw__wasm_error(err, DW_E_MEMORY, "profile", error);
    }
    dw_status status = DW_OK;
    for (size_t at = 0; at < bytes.size && status == DW_OK;) {
        ptrdiff_t done = write(user, (const unsigned char *)bytes.data + at, bytes.size - at);
        if (done <= 0) {
            status = dw_fail(err, DW_E_IO, "profile: it cannot be written");
        } else {
            at += (size_t)done;
        }
    }
    wasm_byte_vec_delete(&bytes);
    return status;
}

void dw__instance_drop_profile(dw_instance *instance)
{
    if (instance->profile != NULL) {
        wasmtime_guestprofiler_delete(instance->profile);
        instance->profile = NULL;
    }
}
