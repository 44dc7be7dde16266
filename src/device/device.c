#include "device/device.h"

#include <ggml-cpu.h>

#include "base/alloc.h"
#include "base/ggml_guard.h"
#include "base/os.h"
#include "device/cuda_probe.h"
#include "device/device_find.h"
#include "device/device_internal.h"

#define THREADS_MAX 512 /* GGML_MAX_N_THREADS */

static dw_status open_threads(ggml_backend_t backend, int threads, struct ggml_threadpool **out,
                              dw_error *err)
{
    struct ggml_threadpool_params params;
    ggml_threadpool_params_init(&params, threads);
    /* Workers sleep as soon as a graph is done. ggml's default, 50, has them spin for hundreds of
     * milliseconds on a core that another guest could use, and decodes no faster. */
    params.poll = 0;
    *out = ggml_threadpool_new(&params);
    if (*out == NULL) {
        return dw_fail(err, DW_E_DEVICE, "CPU: cannot start %d threads", threads);
    }
    ggml_backend_cpu_set_n_threads(backend, threads);
    ggml_backend_cpu_set_threadpool(backend, *out);
    return DW_OK;
}

static void init_alone(void *user)
{
    dw_device *device = user;
    device->alone = ggml_backend_dev_init(device->handle, NULL);
}

static dw_status open_cpu_threads(dw_device *device, dw_error *err)
{
    dw_status status = open_threads(device->backend, device->threads, &device->pool, err);
    if (status != DW_OK || device->threads == 1) {
        return status;
    }
    status = dw_ggml_guarded(init_alone, device, err);
    if (status == DW_OK && device->alone == NULL) {
        status = dw_fail(err, DW_E_DEVICE, "CPU: cannot be opened twice");
    }
    if (status == DW_OK) {
        status = open_threads(device->alone, 1, &device->pool_alone, err);
    }
    return status == DW_OK ? dw_crew_create(&device->crew, device->threads, err) : status;
}

/* y = 2x + 1 on the device: whatever keeps it from computing, this build's lack of code for it
 * included, shows now and not in the first guest's first step. */
typedef struct trial {
    ggml_backend_t backend;
    ggml_backend_buffer_t buffer;
    struct ggml_context *ggml;
    float x;
    float y;
    enum ggml_status result;
} trial;

static void compute_trial(void *user)
{
    trial *t = user;
    struct ggml_tensor *x = ggml_new_tensor_1d(t->ggml, GGML_TYPE_F32, 1);
    struct ggml_tensor *y = ggml_scale_bias(t->ggml, x, 2.0f, 1.0f);
    struct ggml_cgraph *graph = ggml_new_graph_custom(t->ggml, 4, false);
    ggml_build_forward_expand(graph, y);
    t->buffer = ggml_backend_alloc_ctx_tensors(t->ggml, t->backend);
    if (t->buffer != NULL) {
        ggml_backend_tensor_set(x, &t->x, 0, sizeof t->x);
        t->result = ggml_backend_graph_compute(t->backend, graph);
        ggml_backend_tensor_get(y, &t->y, 0, sizeof t->y);
    }
}

static void free_trial(void *user)
{
    ggml_backend_buffer_free(((trial *)user)->buffer);
}

static dw_status try_device(dw_device *device, dw_error *err)
{
    struct ggml_init_params params = {.mem_size = 4 * ggml_tensor_overhead() +
                                                  ggml_graph_overhead_custom(4, false),
                                      .no_alloc = true};
    trial t = {.backend = device->backend, .ggml = ggml_init(params), .x = 20.5f};
    if (t.ggml == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph of two tensors");
    }
    dw_status status = dw_ggml_guarded(compute_trial, &t, err);
    if (status == DW_OK && t.buffer == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "out of memory: not even a few bytes are free");
    } else if (status == DW_OK && (t.result != GGML_STATUS_SUCCESS || t.y != 42.0f)) {
        status =
            dw_fail(err, DW_E_DEVICE, "a first computation failed (ggml status %d, %g, not 42)",
                    (int)t.result, (double)t.y);
    }
    if (t.buffer != NULL && status == DW_OK) {
        (void)dw_ggml_let_go(free_trial, &t, NULL);
    }
    ggml_free(t.ggml);
    return status;
}

static void init_backend(void *user)
{
    dw_device *device = user;
    device->backend = ggml_backend_dev_init(device->handle, NULL);
}

static dw_status start(dw_device *device, dw_error *err)
{
    dw_status status = dw_ggml_guarded(init_backend, device, err);
    if (status == DW_OK && device->backend == NULL) {
        status = dw_fail(err, DW_E_DEVICE, "cannot be opened (taken, or its driver failed)");
    }
    if (status == DW_OK && device->info.kind == DW_DEVICE_CPU) {
        return open_cpu_threads(device, err);
    }
    if (status == DW_OK) {
        status = try_device(device, err);
    }
    if (status != DW_OK) {
        dw_error own;
        dw_error *error = err != NULL ? err : &own;
        char problem[sizeof device->info.problem];
        dw__cuda_forget_error();
        dw__device_describe_problem(device->handle, error->message, problem, sizeof problem);
        (void)dw_fail(error, status, "%s: %s", device->info.name, problem);
        dw_device_mark_lost(device, problem); /* nothing there may be freed */
    }
    return status;
}

dw_status dw_device_open(dw_device **out, const char *name, int threads, dw_error *err)
{
    *out = NULL;
    if (threads < 0 || threads > THREADS_MAX) {
        return dw_fail(err, DW_E_ARG, "threads: %d, allowed are 1 to %d (0: the real cores)",
                       threads, THREADS_MAX);
    }
    ggml_backend_dev_t handle = NULL;
    dw_status status = dw__device_choose(name, &handle, err);
    if (status != DW_OK) {
        return status;
    }
    dw_device *device = dw_alloc(1, sizeof *device);
    if (device == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device");
    }
    device->handle = handle;
    device->threads = threads > 0 ? threads : dw_os_core_count();
    dw_turn_init(&device->turn);
    DW_ASSERT(pthread_mutex_init(&device->fail_lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&device->extra_lock, NULL) == 0);
    dw__device_describe(handle, &device->info);
    if (device->info.problem[0] != '\0') {
        status = dw_fail(err, DW_E_DEVICE, "%s: %s", device->info.name, device->info.problem);
    } else {
        status = start(device, err);
    }
    if (status != DW_OK) {
        dw_device_close(device);
        return status;
    }
    *out = device;
    return DW_OK;
}

void dw_device_close(dw_device *device)
{
    if (device == NULL) {
        return;
    }
    if (device->extra.object != NULL) {
        device->extra.destroy(device->extra.object);
    }
    dw__device_end(device);
    (void)pthread_mutex_destroy(&device->fail_lock);
    (void)pthread_mutex_destroy(&device->extra_lock);
    dw_turn_release(&device->turn);
    dw_free(device);
}

const dw_device_info *dw_device_info_of(const dw_device *device)
{
    return &device->info;
}

ggml_backend_dev_t dw_device_handle(const dw_device *device)
{
    return device->handle;
}

ggml_backend_buffer_type_t dw_device_buffer_type(const dw_device *device)
{
    return ggml_backend_dev_buffer_type(device->handle);
}

bool dw_device_unified(const dw_device *device)
{
    return device->info.unified;
}

int dw_device_threads(const dw_device *device)
{
    return device->threads;
}

dw_crew *dw_device_crew(const dw_device *device)
{
    return device->crew;
}

dw_device_extra *dw_device_lock_extra(dw_device *device)
{
    (void)pthread_mutex_lock(&device->extra_lock);
    return &device->extra;
}

void dw_device_unlock_extra(dw_device *device)
{
    (void)pthread_mutex_unlock(&device->extra_lock);
}

dw_device_counters *dw_device_counters_of(dw_device *device)
{
    return &device->counters;
}

typedef struct memory_query {
    ggml_backend_dev_t handle;
    size_t bytes;
    size_t free_bytes;
} memory_query;

static void ask_memory(void *user)
{
    memory_query *info = user;
    ggml_backend_dev_memory(info->handle, &info->free_bytes, &info->bytes);
}

void dw_device_memory(dw_device *device, size_t *bytes, size_t *free_bytes)
{
    memory_query info = {.handle = device->handle};
    if (device->pretends) {
        uint64_t used = 0;
        for (int i = 0; i < DW_USE_COUNT; i++) {
            used += atomic_load(&device->counters.used_bytes[i]);
        }
        *bytes = device->pretended_bytes;
        *free_bytes = used < *bytes ? *bytes - (size_t)used : 0;
        return;
    }
    bool known = dw_device_guarded(device, ask_memory, &info, NULL) == DW_OK;
    *bytes = known ? info.bytes : 0;
    *free_bytes = known ? info.free_bytes : 0;
    if (known && device->info.kind == DW_DEVICE_CPU) {
        *free_bytes = dw_os_available_bytes(); /* ggml reports all there is */
    }
}

void dw_device_pretend_discrete(dw_device *device, size_t bytes)
{
    device->pretends = true;
    device->pretended_bytes = bytes;
    device->info.unified = false;
}

void dw_device_set_strict_align(dw_device *device)
{
    device->strict_align = true;
}

void dw_device_set_staging(dw_device *device)
{
    device->stages = true;
}
