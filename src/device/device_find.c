#include "device/device_find.h"

#include <ggml-cpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ggml_guard.h"
#include "base/ggml_log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "device/cuda_probe.h"

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

/* ---- what one is ---- */

/* ggml's call goes through a pointer that a backend may leave NULL, and its capability flag says
 * no on Vulkan, where the call works: so ask both. */
static bool imports_host_pages(ggml_backend_dev_t handle)
{
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(handle, &props);
    return props.caps.buffer_from_host_ptr || strcmp(backend_name(handle), "Vulkan") == 0;
}

dw__host_pages dw__device_host_pages(ggml_backend_dev_t handle)
{
    if (strcmp(backend_name(handle), "CUDA") == 0) {
        return DW__HOST_PAGES_REGISTERED;
    }
    return imports_host_pages(handle) ? DW__HOST_PAGES_IMPORTED : DW__HOST_PAGES_NONE;
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
    call->shares_host = dw__device_host_pages(call->device) != DW__HOST_PAGES_NONE;
}

void dw__device_describe_problem(ggml_backend_dev_t device, const char *failure, char *text,
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
        dw__device_describe_problem(device, NULL, info->problem, sizeof info->problem);
    }
}

void dw__device_describe(ggml_backend_dev_t device, dw_device_info *info)
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
        dw__device_describe_problem(device, why.message, info->problem, sizeof info->problem);
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
    dw__device_describe(list.devices[index], &own);
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

/* ---- by name ---- */

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

dw_status dw__device_choose(const char *name, ggml_backend_dev_t *out, dw_error *err)
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
        dw__device_describe(device, &info);
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
