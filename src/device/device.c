#include "device/device.h"

#include <ggml-cpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/ggml_guard.h"
#include "base/ggml_log.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "device/cuda_probe.h"
#include "device/device_internal.h"
#include "device/device_view.h"

#define THREADS_MAX 512 /* GGML_MAX_N_THREADS */
#define DEVICES_MAX 64

static const char *backend_name(ggml_backend_dev_t device)
{
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    return reg != NULL ? ggml_backend_reg_name(reg) : "?";
}

/* ggml's accelerators for parts of the CPU's work (BLAS, AMX) are not devices to run on, nor are
 * those without what their products are made by. */
static bool counts_as_device(ggml_backend_dev_t device)
{
    return ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_ACCEL &&
           (dw__cuda_missing_library() == NULL || strcmp(backend_name(device), "CUDA") != 0);
}

typedef struct device_list {
    ggml_backend_dev_t devices[DEVICES_MAX];
    size_t count;
} device_list;

static void list_registry(void *user)
{
    device_list *list = user;
    for (size_t i = 0; i < ggml_backend_dev_count() && list->count < DEVICES_MAX; i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (counts_as_device(device)) {
            list->devices[list->count++] = device;
        }
    }
}

/* The registry fills itself at the first call, with a log of its own, and looks at every device
 * then. If one of them ends that, the CPU is still there; `why` says. */
static void list_devices(device_list *list, dw_error *why)
{
    dw_ggml_log_take();
    *list = (device_list){.count = 0};
    *why = (dw_error){.code = DW_OK};
    if (dw_ggml_guarded(list_registry, list, why) != DW_OK) {
        dw__cuda_forget_error();
        list->devices[0] = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
        list->count = 1;
    }
}

typedef struct props_call {
    ggml_backend_dev_t device;
    struct ggml_backend_dev_props props;
    bool shares_host;
} props_call;

static void get_props(void *user)
{
    props_call *call = user;
    ggml_backend_dev_get_props(call->device, &call->props);
    call->shares_host = dw__device_view_possible(call->device);
}

/* Why a device cannot be used: `failure`, and its likely cause. */
static void describe_problem(ggml_backend_dev_t device, const char *failure, char *text,
                             size_t capacity)
{
    dw__cuda_device_info info = {0};
    const char *architectures = "";
    char cause[160] = "";
    const char *name = ggml_backend_dev_name(device);
    if (strcmp(backend_name(device), "CUDA") == 0 && strncmp(name, "CUDA", 4) == 0) {
        ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
        ggml_backend_get_features_t get_features =
            (ggml_backend_get_features_t)(uintptr_t)ggml_backend_reg_get_proc_address(
                reg, "ggml_backend_get_features");
        dw__cuda_probe_device((int)strtol(name + 4, NULL, 10), &info);
        struct ggml_backend_feature *feature = get_features != NULL ? get_features(reg) : NULL;
        for (; feature != NULL && feature->name != NULL; feature++) {
            architectures = strcmp(feature->name, "ARCHS") == 0 ? feature->value : architectures;
        }
        failure = failure != NULL ? failure : info.error;
        dw__cuda_describe_problem(failure != NULL ? failure : "", &info, architectures, cause,
                                  sizeof cause);
    }
    (void)snprintf(text, capacity, "%.120s%s",
                   failure != NULL ? failure : "the driver does not report its memory", cause);
}

static void fill_kind(ggml_backend_dev_t device, const props_call *call, dw_device_info *info)
{
    switch (call->props.type) {
    case GGML_BACKEND_DEVICE_TYPE_CPU:
        info->kind = DW_DEVICE_CPU;
        info->memory_free_bytes = dw_os_available_bytes(); /* ggml reports all there is */
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
    info->shares_host = call->shares_host;
    /* Metal runs on Apple's unified memory; Mesa's software Vulkan (llvmpipe) computes on the
     * host's own pages. Other GPUs of kind GPU have memory of their own. */
    bool host_memory = info->kind == DW_DEVICE_CPU || info->kind == DW_DEVICE_IGPU ||
                       strcmp(info->backend, "MTL") == 0 || strcmp(info->backend, "Metal") == 0 ||
                       strncmp(info->description, "llvmpipe", 8) == 0;
    info->unified = host_memory && info->shares_host;
    if (info->kind == DW_DEVICE_GPU && info->memory_bytes == 0) {
        describe_problem(device, NULL, info->problem, sizeof info->problem);
    }
}

static void fill_info(ggml_backend_dev_t device, dw_device_info *info)
{
    props_call call = {.device = device};
    dw_error why;
    *info = (dw_device_info){.kind = DW_DEVICE_OTHER};
    (void)snprintf(info->name, sizeof info->name, "%s", ggml_backend_dev_name(device));
    (void)snprintf(info->description, sizeof info->description, "%s",
                   ggml_backend_dev_description(device));
    (void)snprintf(info->backend, sizeof info->backend, "%s", backend_name(device));
    if (dw_ggml_guarded(get_props, &call, &why) != DW_OK) {
        dw__cuda_forget_error();
        describe_problem(device, why.message, info->problem, sizeof info->problem);
        return;
    }
    info->memory_bytes = call.props.memory_total;
    info->memory_free_bytes = call.props.memory_free;
    fill_kind(device, &call, info);
}

size_t dw_device_count(void)
{
    device_list list;
    dw_error why;
    list_devices(&list, &why);
    return list.count;
}

dw_status dw_device_get_info(size_t index, dw_device_info *info, dw_error *err)
{
    device_list list;
    dw_error why;
    list_devices(&list, &why);
    if (index >= list.count) {
        return dw_fail(err, DW_E_RANGE, "device %zu: there are %zu", index, list.count);
    }
    dw_status status = dw_struct_check(info, "dw_device_info", err);
    if (status != DW_OK) {
        return status;
    }
    dw_device_info own;
    fill_info(list.devices[index], &own);
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_device_note(char *text, size_t capacity, dw_error *err)
{
    device_list list;
    dw_error why;
    dw__cuda_info cuda;
    list_devices(&list, &why);
    if (why.code != DW_OK) {
        (void)snprintf(text, capacity, "only the CPU is used: looking for devices failed: %.160s",
                       why.message);
        return DW_OK;
    }
    dw__cuda_probe(&cuda);
    return dw__cuda_describe_absence(&cuda, text, capacity)
               ? DW_OK
               : dw_fail(err, DW_E_END, "nothing to report about devices");
}

/* ---- opening one ---- */

/* "CUDA0" of a build without CUDA is no misspelling. */
static const char *missing_part(const char *name)
{
    static const char *const parts[][2] = {
        {"CUDA", "; this build has no CUDA part (DRIFTWOOD_CUDA=ON makes it)"},
        {"Vulkan", "; this build has no Vulkan part (DRIFTWOOD_VULKAN=ON makes it)"},
        {"Metal", "; this build has no Metal part (DRIFTWOOD_METAL=ON makes it, on macOS)"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strncasecmp(name, parts[i][0], strlen(parts[i][0])) == 0 &&
            ggml_backend_reg_by_name(parts[i][0]) == NULL) {
            return parts[i][1];
        }
    }
    return "";
}

static dw_status no_such_device(const char *name, const device_list *list, dw_error *err)
{
    char names[80] = "";
    char note[DW_DEVICE_NOTE_BYTES] = "";
    size_t length = 0;
    for (size_t i = 0; i < list->count && length < sizeof names; i++) {
        int written = snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? ", " : "",
                               ggml_backend_dev_name(list->devices[i]));
        length += written > 0 ? (size_t)written : 0;
    }
    if (dw_device_note(note, sizeof note, NULL) == DW_OK) {
        return dw_fail(err, DW_E_NOT_FOUND, "no device '%.40s': there are %s; %s", name, names,
                       note);
    }
    return dw_fail(err, DW_E_NOT_FOUND, "no device '%.40s': there are %s%s", name, names,
                   missing_part(name));
}

static dw_status choose(const char *name, ggml_backend_dev_t *out, dw_error *err)
{
    ggml_backend_dev_t best = NULL;
    device_list list;
    dw_error why;
    list_devices(&list, &why);
    for (size_t i = 0; i < list.count; i++) {
        ggml_backend_dev_t device = list.devices[i];
        dw_device_info info = {.struct_bytes = sizeof info};
        if (name != NULL) {
            if (strcasecmp(name, ggml_backend_dev_name(device)) == 0) {
                *out = device;
                return DW_OK;
            }
            continue;
        }
        fill_info(device, &info);
        bool gpu = info.kind == DW_DEVICE_GPU || info.kind == DW_DEVICE_IGPU;
        /* Software Vulkan is a GPU in name only: nobody wants it unasked. */
        bool software = strncmp(info.description, "llvmpipe", 8) == 0;
        if (gpu && info.shares_host && info.problem[0] == '\0' && !software && best == NULL) {
            best = device;
        }
        if (info.kind == DW_DEVICE_CPU) {
            *out = device;
        }
    }
    if (name != NULL) {
        return no_such_device(name, &list, err);
    }
    *out = best != NULL ? best : *out;
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
        describe_problem(device->handle, error->message, problem, sizeof problem);
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
    DW_ASSERT(pthread_mutex_init(&device->fail_lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&device->extra_lock, NULL) == 0);
    fill_info(handle, &device->info);
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
    (void)pthread_mutex_destroy(&device->lock);
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

void dw_device_fail_after(dw_device *device, uint32_t graphs)
{
    (void)pthread_mutex_lock(&device->lock);
    device->fails_in = graphs;
    (void)pthread_mutex_unlock(&device->lock);
}

typedef struct graph_call {
    ggml_backend_dev_t handle;
    ggml_backend_t backend;
    struct ggml_cgraph *graph;
    const struct ggml_tensor *refused;
    bool fails;
    enum ggml_status result;
} graph_call;

static void find_refused(void *user)
{
    graph_call *call = user;
    for (int i = 0; i < ggml_graph_n_nodes(call->graph) && call->refused == NULL; i++) {
        const struct ggml_tensor *node = ggml_graph_node(call->graph, i);
        call->refused = ggml_backend_dev_supports_op(call->handle, node) ? NULL : node;
    }
}

dw_status dw_device_check_graph(dw_device *device, struct ggml_cgraph *graph, dw_error *err)
{
    graph_call call = {.handle = device->handle, .graph = graph};
    dw_status status = dw_device_guarded(device, find_refused, &call, err);
    if (status != DW_OK || call.refused == NULL) {
        return status;
    }
    const struct ggml_tensor *node = call.refused;
    const struct ggml_tensor *a = node->src[0];
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: no %s of %s [%lld, %lld, %lld, %lld] from %s",
                   device->info.name, ggml_op_desc(node), ggml_type_name(node->type),
                   (long long)node->ne[0], (long long)node->ne[1], (long long)node->ne[2],
                   (long long)node->ne[3], a != NULL ? ggml_type_name(a->type) : "nothing");
}

static bool asked_to_stop(void *user)
{
    const volatile bool *cancel = user;
    return __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

static void compute_graph(void *user)
{
    graph_call *call = user;
    if (call->fails) {
        dw_ggml_heard(GGML_LOG_LEVEL_ERROR, "CUDA error: out of memory");
        GGML_ABORT("made to fail by a test");
    }
    call->result = ggml_backend_graph_compute(call->backend, call->graph);
}

/* What came of a graph that the backend ended by itself. */
static dw_status result_of(const dw_device *device, enum ggml_status result, dw_error *err)
{
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

/* Under the device's lock. `error` is not NULL. */
static dw_status compute_locked(dw_device *device, struct ggml_cgraph *graph,
                                const volatile bool *cancel, dw_error *error)
{
    dw_status status = dw_device_check(device, error);
    if (status != DW_OK) {
        return status;
    }
    if (device->info.kind == DW_DEVICE_CPU) {
        ggml_backend_cpu_set_abort_callback(device->backend, cancel != NULL ? asked_to_stop : NULL,
                                            (void *)(uintptr_t)cancel);
    }
    graph_call call = {.backend = device->backend, .graph = graph};
    if (device->fails_in > 0) {
        call.fails = --device->fails_in == 0;
    }
    status = dw_ggml_guarded(compute_graph, &call, error);
    if (status != DW_OK) {
        dw__device_recover(device, error, true);
        return dw_fail_within(error, status, "%s", device->info.name);
    }
    return result_of(device, call.result, error);
}

static dw_status compute(dw_device *device, struct ggml_cgraph *graph, const volatile bool *cancel,
                         dw_error *error)
{
    (void)pthread_mutex_lock(&device->lock);
    dw_status status = compute_locked(device, graph, cancel, error);
    (void)pthread_mutex_unlock(&device->lock);
    return status;
}

dw_status dw_device_run(dw_device *device, struct ggml_cgraph *graph,
                        const dw_device_run_options *options, dw_error *err)
{
    static const dw_device_run_options defaults;
    dw_error own;
    dw_error *error = err != NULL ? err : &own;
    options = options != NULL ? options : &defaults;
    dw_status status = dw_device_check(device, error);
    if (status == DW_OK && options->view != NULL) {
        status = dw_device_view_bring(options->view, graph, error);
    }
    if (status == DW_OK) {
        status = compute(device, graph, options->cancel, error);
    }
    if (status == DW_OK && options->view != NULL) {
        status = dw_device_view_fetch(options->view, graph, error);
    }
    return status;
}

void dw_device_set_staging(dw_device *device)
{
    device->stages = true;
}
