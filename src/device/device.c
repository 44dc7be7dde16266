#include "device/device.h"

#include <ggml-cpu.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os.h"
#include "memory/device_view.h"

#define THREADS_MAX 512 /* GGML_MAX_N_THREADS */

struct dw_device {
    ggml_backend_dev_t handle;
    ggml_backend_t backend;
    struct ggml_threadpool *pool; /* CPU only; one for all graphs, instead of one a graph */
    dw_device_info info;
    int threads;
    pthread_mutex_t lock; /* one graph at a time */
    pthread_mutex_t extra_lock;
    dw_device_extra extra; /* guarded by extra_lock */
};

static void log_from_ggml(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    static const dw_log_level levels[] = {DW_LOG_DEBUG, DW_LOG_DEBUG, DW_LOG_DEBUG,
                                          DW_LOG_WARN,  DW_LOG_ERROR, DW_LOG_DEBUG};
    size_t length = strcspn(text, "\n");
    if (length > 0 && (size_t)level < sizeof levels / sizeof levels[0]) {
        dw_log(levels[level], "%.*s", (int)length, text);
    }
}

/* ggml's accelerators for parts of the CPU's work (BLAS, AMX) are not devices to run on. */
static bool counts_as_device(ggml_backend_dev_t device)
{
    return ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

static void fill_info(ggml_backend_dev_t device, dw_device_info *info)
{
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(device, &props);
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    *info = (dw_device_info){.memory_bytes = props.memory_total,
                             .memory_free_bytes = props.memory_free};
    (void)snprintf(info->name, sizeof info->name, "%s", props.name);
    (void)snprintf(info->description, sizeof info->description, "%s", props.description);
    (void)snprintf(info->backend, sizeof info->backend, "%s",
                   reg != NULL ? ggml_backend_reg_name(reg) : "?");
    switch (props.type) {
    case GGML_BACKEND_DEVICE_TYPE_CPU:
        info->kind = DW_DEVICE_CPU;
        info->memory_free_bytes = dw_os_available_bytes(); /* ggml says: all there is */
        break;
    case GGML_BACKEND_DEVICE_TYPE_GPU:
        info->kind = DW_DEVICE_GPU;
        break;
    case GGML_BACKEND_DEVICE_TYPE_IGPU:
        info->kind = DW_DEVICE_IGPU;
        break;
    default:
        info->kind = DW_DEVICE_OTHER;
    }
    info->shares_host = dw_device_view_possible(device);
    /* Metal runs on Apple's unified memory; Mesa's software Vulkan (llvmpipe) computes on the
     * host's own pages. Other GPUs of kind GPU have memory of their own. */
    bool host_memory = info->kind == DW_DEVICE_CPU || info->kind == DW_DEVICE_IGPU ||
                       strcmp(info->backend, "MTL") == 0 || strcmp(info->backend, "Metal") == 0 ||
                       strncmp(info->description, "llvmpipe", 8) == 0;
    info->unified = host_memory && info->shares_host;
}

/* The registry fills itself at the first call, with a log of its own. */
static void quiet_ggml(void)
{
    ggml_log_set(log_from_ggml, NULL);
}

size_t dw_device_count(void)
{
    quiet_ggml();
    size_t count = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        count += counts_as_device(ggml_backend_dev_get(i)) ? 1 : 0;
    }
    return count;
}

static ggml_backend_dev_t device_at(size_t index)
{
    size_t seen = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (counts_as_device(device) && seen++ == index) {
            return device;
        }
    }
    return NULL;
}

dw_status dw_device_describe(size_t index, dw_device_info *info, dw_error *err)
{
    quiet_ggml();
    ggml_backend_dev_t device = device_at(index);
    if (device == NULL) {
        return dw_fail(err, DW_E_RANGE, "device %zu: there are %zu", index, dw_device_count());
    }
    fill_info(device, info);
    return DW_OK;
}

static dw_status no_such_device(const char *name, dw_error *err)
{
    char names[160] = "";
    size_t length = 0;
    for (size_t i = 0; i < dw_device_count() && length < sizeof names; i++) {
        int written = snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? ", " : "",
                               ggml_backend_dev_name(device_at(i)));
        length += written > 0 ? (size_t)written : 0;
    }
    return dw_fail(err, DW_E_NOT_FOUND, "no device '%.40s': there are %s", name, names);
}

static dw_status choose(const char *name, ggml_backend_dev_t *out, dw_error *err)
{
    ggml_backend_dev_t best = NULL;
    for (size_t i = 0; i < dw_device_count(); i++) {
        ggml_backend_dev_t device = device_at(i);
        dw_device_info info;
        fill_info(device, &info);
        if (name != NULL && strcasecmp(name, info.name) == 0) {
            *out = device;
            return DW_OK;
        }
        bool gpu = info.kind == DW_DEVICE_GPU || info.kind == DW_DEVICE_IGPU;
        /* Software Vulkan is a GPU in name only: nobody wants it unasked. */
        bool software = strncmp(info.description, "llvmpipe", 8) == 0;
        if (gpu && info.shares_host && !software && best == NULL) {
            best = device;
        }
    }
    if (name != NULL) {
        return no_such_device(name, err);
    }
    *out = best != NULL ? best : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (*out == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "no device at all: ggml was built without a CPU part");
    }
    return DW_OK;
}

static dw_status open_cpu_threads(dw_device *device, dw_error *err)
{
    struct ggml_threadpool_params params;
    ggml_threadpool_params_init(&params, device->threads);
    /* Workers sleep as soon as a graph is done. ggml's default, 50, has them spin for hundreds of
     * milliseconds on a core that another guest could use, and decodes no faster. */
    params.poll = 0;
    device->pool = ggml_threadpool_new(&params);
    if (device->pool == NULL) {
        return dw_fail(err, DW_E_DEVICE, "CPU: cannot start %d threads", device->threads);
    }
    ggml_backend_cpu_set_n_threads(device->backend, device->threads);
    ggml_backend_cpu_set_threadpool(device->backend, device->pool);
    return DW_OK;
}

dw_status dw_device_open(dw_device **out, const char *name, int threads, dw_error *err)
{
    *out = NULL;
    quiet_ggml();
    if (threads < 0 || threads > THREADS_MAX) {
        return dw_fail(err, DW_E_ARG, "threads: %d, allowed are 1 to %d (0: the real cores)",
                       threads, THREADS_MAX);
    }
    ggml_backend_dev_t handle = NULL;
    dw_status status = choose(name, &handle, err);
    if (status != DW_OK) {
        return status;
    }
    dw_device *device = dw_alloc(1, sizeof *device);
    if (device == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device");
    }
    device->handle = handle;
    device->threads = threads > 0 ? threads : dw_os_core_count();
    DW_ASSERT(pthread_mutex_init(&device->lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&device->extra_lock, NULL) == 0);
    fill_info(handle, &device->info);
    device->backend = ggml_backend_dev_init(handle, NULL);
    if (device->backend == NULL) {
        status = dw_fail(err, DW_E_DEVICE, "%s: cannot be opened (taken, or its driver failed)",
                         device->info.name);
    } else if (device->info.kind == DW_DEVICE_CPU) {
        status = open_cpu_threads(device, err);
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
    if (device->backend != NULL) {
        ggml_backend_free(device->backend);
    }
    if (device->pool != NULL) {
        ggml_threadpool_free(device->pool);
    }
    (void)pthread_mutex_destroy(&device->extra_lock);
    (void)pthread_mutex_destroy(&device->lock);
    dw_free(device);
}

const dw_device_info *dw_device_facts(const dw_device *device)
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

dw_device_extra *dw_device_lock_extra(dw_device *device)
{
    (void)pthread_mutex_lock(&device->extra_lock);
    return &device->extra;
}

void dw_device_unlock_extra(dw_device *device)
{
    (void)pthread_mutex_unlock(&device->extra_lock);
}

dw_status dw_device_check_graph(const dw_device *device, struct ggml_cgraph *graph, dw_error *err)
{
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const struct ggml_tensor *node = ggml_graph_node(graph, i);
        if (!ggml_backend_dev_supports_op(device->handle, node)) {
            const struct ggml_tensor *a = node->src[0];
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "%s: no %s of %s [%lld, %lld, %lld, %lld] from %s", device->info.name,
                           ggml_op_desc(node), ggml_type_name(node->type), (long long)node->ne[0],
                           (long long)node->ne[1], (long long)node->ne[2], (long long)node->ne[3],
                           a != NULL ? ggml_type_name(a->type) : "nothing");
        }
    }
    return DW_OK;
}

static bool asked_to_stop(void *user)
{
    const volatile bool *cancel = user;
    return __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

dw_status dw_device_compute_unless(dw_device *device, struct ggml_cgraph *graph,
                                   const volatile bool *cancel, dw_error *err)
{
    bool cpu = device->info.kind == DW_DEVICE_CPU;
    (void)pthread_mutex_lock(&device->lock);
    if (cpu) {
        ggml_backend_cpu_set_abort_callback(device->backend, cancel != NULL ? asked_to_stop : NULL,
                                            (void *)(uintptr_t)cancel);
    }
    enum ggml_status result = ggml_backend_graph_compute(device->backend, graph);
    (void)pthread_mutex_unlock(&device->lock);
    switch (result) {
    case GGML_STATUS_SUCCESS:
        return DW_OK;
    case GGML_STATUS_ABORTED:
        return dw_fail(err, DW_E_CANCELLED, "%s: the step was cancelled", device->info.name);
    case GGML_STATUS_ALLOC_FAILED:
        return dw_fail(err, DW_E_MEMORY, "%s: no memory for a graph's work", device->info.name);
    default:
        return dw_fail(err, DW_E_DEVICE, "%s: a graph failed (ggml status %d)", device->info.name,
                       (int)result);
    }
}

dw_status dw_device_compute(dw_device *device, struct ggml_cgraph *graph, dw_error *err)
{
    return dw_device_compute_unless(device, graph, NULL, err);
}
