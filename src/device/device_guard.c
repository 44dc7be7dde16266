/* A device's failures. Out of memory ends what was asked for and nothing else. After a fault CUDA
 * answers every call with an error until the process ends: the device is lost then, and nothing on
 * it is touched any more, not even to be freed. */
#include <ggml-cpu.h>
#include <stdio.h>

#include "base/ggml_guard.h"
#include "base/log.h"
#include "device/cuda_probe.h"
#include "device/device_internal.h"

/* A backend that was left while it captured a CUDA graph counts as capturing for ever, and ggml
 * waits for captures to end before it frees any backend (ggml_cuda_lock_counter). That count is one
 * a process, and so is this. */
static _Atomic bool backends_stay;

static dw_status refuse_lost(const dw_device *device, dw_error *err)
{
    return dw_fail(err, DW_E_DEVICE, "%s: was lost: %s", device->info.name, device->why_lost);
}

bool dw_device_lost(const dw_device *device)
{
    return atomic_load_explicit(&device->lost, memory_order_acquire);
}

dw_status dw_device_check(const dw_device *device, dw_error *err)
{
    return dw_device_lost(device) ? refuse_lost(device, err) : DW_OK;
}

void dw_device_mark_lost(dw_device *device, const char *why)
{
    (void)pthread_mutex_lock(&device->fail_lock);
    if (!dw_device_lost(device)) {
        (void)snprintf(device->why_lost, sizeof device->why_lost, "%s", why);
        atomic_store_explicit(&device->lost, true, memory_order_release);
        dw_log(DW_LOG_ERROR, "%s: lost: %s", device->info.name, why);
    }
    (void)pthread_mutex_unlock(&device->fail_lock);
}

static void synchronize(void *user)
{
    ggml_backend_synchronize(user);
}

typedef struct backend_maker {
    ggml_backend_dev_t handle;
    ggml_backend_t backend;
} backend_maker;

static void make_backend(void *user)
{
    backend_maker *maker = user;
    maker->backend = ggml_backend_dev_init(maker->handle, NULL);
    if (maker->backend != NULL) {
        ggml_backend_synchronize(maker->backend);
    }
}

/* The backend does not answer: it was left in the middle of something. If a new one does, that is
 * the device's from now on, and the old one stays where it is. */
static void renew_backend(dw_device *device, const char *why)
{
    backend_maker maker = {.handle = device->handle};
    atomic_store(&backends_stay, true);
    if (dw_ggml_guarded(make_backend, &maker, NULL) == DW_OK && maker.backend != NULL) {
        device->backend = maker.backend;
        return;
    }
    dw_device_mark_lost(device, why);
}

void dw__device_recover(dw_device *device, const dw_error *failure, bool computing)
{
    dw__cuda_forget_error();
    if (device->info.kind == DW_DEVICE_CPU) {
        if (computing && device->threads > 1) {
            /* The other threads wait for this one at a barrier that it will not come to. */
            dw_device_mark_lost(device, failure->message);
        }
        return;
    }
    if (!computing) { /* another thread's graph must not be disturbed */
        (void)dw_turn_take(&device->turn, NULL);
    }
    if (dw_ggml_guarded(synchronize, device->backend, NULL) != DW_OK) {
        dw__cuda_forget_error();
        renew_backend(device, failure->message);
    }
    if (!computing) {
        dw_turn_give(&device->turn);
    }
}

dw_status dw_device_guarded(dw_device *device, void (*work)(void *user), void *user, dw_error *err)
{
    dw_error own;
    dw_error *error = err != NULL ? err : &own;
    if (dw_device_lost(device)) {
        return refuse_lost(device, err);
    }
    dw_status status = dw_ggml_guarded(work, user, error);
    if (status != DW_OK) {
        dw__device_recover(device, error, false);
        (void)dw_fail_within(error, status, "%s", device->info.name);
    }
    return status;
}

void dw_device_guarded_free(dw_device *device, void (*work)(void *user), void *user)
{
    dw_error error;
    if (dw_device_lost(device) && device->info.kind != DW_DEVICE_CPU) {
        return; /* the host's memory is the host's, whatever its threads do */
    }
    if (dw_ggml_let_go(work, user, &error) != DW_OK) {
        dw_log(DW_LOG_WARN, "%s: freeing: %s", device->info.name, error.message);
        dw__device_recover(device, &error, false);
    }
}

static void free_backend(void *user)
{
    ggml_backend_free(user);
}

void dw__device_free_backend(dw_device *device, ggml_backend_t backend)
{
    bool cpu = device->info.kind == DW_DEVICE_CPU;
    if (backend != NULL && (cpu || !(dw_device_lost(device) || atomic_load(&backends_stay)))) {
        (void)dw_ggml_let_go(free_backend, backend, NULL);
    }
}

void dw__device_end(dw_device *device)
{
    bool lost = dw_device_lost(device);
    dw_crew_destroy(device->crew);
    dw__device_free_backend(device, device->alone);
    if (device->pool_alone != NULL) {
        ggml_threadpool_free(device->pool_alone);
    }
    dw__device_free_backend(device, device->backend);
    if (device->pool != NULL && !(lost && device->threads > 1)) {
        ggml_threadpool_free(device->pool);
    } /* else its threads wait for ever: they cannot be told to end, only the process can */
}
