/* What a device is, for the files of this folder; and what device_guard.c has for them. */
#ifndef DW_DEVICE_DEVICE_INTERNAL_H
#define DW_DEVICE_DEVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/crew.h"
#include "base/turn.h"
#include "device/device.h"

struct dw_device {
    ggml_backend_dev_t handle;
    ggml_backend_t backend;
    struct ggml_threadpool *pool; /* CPU only; one for all graphs, instead of one a graph */
    ggml_backend_t alone;         /* CPU only, with several threads: the same on one thread */
    struct ggml_threadpool *pool_alone;
    dw_crew *crew; /* that helps nodes of graphs on `alone` */
    dw_device_info info;
    int threads;
    bool stages;            /* views of guest memory */
    bool strict_align;      /* of what lies there */
    bool pretends;          /* test hook: simulates a device with little memory */
    size_t pretended_bytes; /* of memory */
    uint32_t fails_in;      /* test hook: graphs until one fails; 0: none. Guarded by turn */
    dw_turn turn;           /* one graph at a time */
    dw_device_counters counters;
    _Atomic bool lost;  /* once true, it stays */
    char why_lost[160]; /* written before `lost` is set, under fail_lock */
    pthread_mutex_t fail_lock;
    pthread_mutex_t extra_lock;
    dw_device_extra extra; /* guarded by extra_lock */
};

/* After a guarded call has failed: find out whether the device still answers, and replace a backend
 * that does not, or mark the device as lost. `computing`: the call was a graph, so that the backend
 * may be in the middle of something; `turn` is taken then. */
void dw__device_recover(dw_device *device, const dw_error *failure, bool computing);
/* The end of a backend of this device's, if there is any safe one. NULL is fine. */
void dw__device_free_backend(dw_device *device, ggml_backend_t backend);
/* The end of its own backend and the thread pool, if there is any safe one. */
void dw__device_end(dw_device *device);

#endif
