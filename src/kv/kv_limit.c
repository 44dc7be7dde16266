#include "kv/kv_limit.h"

#include "base/os.h"
#include "kv/kv_pool.h"

static dw_status refuse(const dw_meter *meter, dw_device *device, uint64_t more, dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY,
                   "kv log: %llu bytes more wanted on %s, contexts have %llu, limit %llu "
                   "(device_kv_bytes)",
                   (unsigned long long)more, dw_device_info_of(device)->name,
                   (unsigned long long)atomic_load(&meter->bytes),
                   (unsigned long long)atomic_load(&meter->limit));
}

dw_status dw__kv_take(dw_meter *meter, dw_device *device, uint64_t bytes, dw_error *err)
{
    return dw_meter_take(meter, bytes) ? DW_OK : refuse(meter, device, bytes, err);
}

dw_status dw__kv_memory_create(dw_extent_file **out, dw_device *device, uint64_t bytes,
                               uint64_t unused, dw_error *err)
{
    dw_status status = dw_extent_file_create(out, "kv log", bytes, err);
    if (status == DW_OK) {
        dw_extent_file_meter(*out, &dw_device_counters_of(device)->host_kv, unused);
    }
    return status;
}

dw_status dw__kv_memory_hold(dw_extent_file *file, dw_device *device, uint64_t bytes, dw_error *err)
{
    uint64_t held = dw_extent_file_held(file);
    return dw_extent_file_set_held(file, bytes)
               ? DW_OK
               : refuse(&dw_device_counters_of(device)->host_kv, device, bytes - held, err);
}

static uint64_t usual_host_bytes(void)
{
    return dw_os_memory_bytes() / 4 * 3;
}

dw_status dw_kv_limit_set(dw_device *device, uint64_t bytes, dw_error *err)
{
    dw_device_counters *counters = dw_device_counters_of(device);
    bool in_pages = dw_device_unified(device) && !dw_kv_pool_takes_all(device);
    atomic_store(&counters->host_kv.limit, bytes != 0 ? bytes : usual_host_bytes());
    atomic_store(&counters->buffer_kv.limit, bytes);
    if (in_pages || (bytes == 0 && !dw_kv_pool_get_stats(device, &(dw_kv_stats){0}))) {
        return DW_OK;
    }
    dw_status status = dw_kv_pool_limit(device, bytes, err);
    return status == DW_E_UNSUPPORTED ? DW_OK : status;
}

void dw_kv_limit_get(dw_device *device, dw_kv_stats *stats)
{
    dw_device_counters *counters = dw_device_counters_of(device);
    const dw_meter *meter = dw_device_unified(device) ? &counters->host_kv : &counters->buffer_kv;
    *stats = (dw_kv_stats){
        .limit_bytes = atomic_load(&meter->limit),
        .device_bytes = atomic_load(&counters->buffer_kv.bytes),
        .context_count = atomic_load(&counters->contexts),
        .resident_count = atomic_load(&counters->contexts),
        .pages_bytes = atomic_load(&counters->host_kv.bytes),
        .mapped_bytes = atomic_load(&counters->mapped_kv.bytes),
    };
}
