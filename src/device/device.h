/* A device: opening it, what it is, what uses it, and its failures. device_run.h runs graphs. */
#ifndef DW_DEVICE_DEVICE_H
#define DW_DEVICE_DEVICE_H

#include <ggml-backend.h>

#include "base/counters.h"
#include "base/crew.h"
#include "base/status.h"

typedef struct dw_device dw_device;

/* Open a device by name, in any case of letters; NULL: the first GPU that can share host memory,
 * else the CPU. `threads` for the CPU device, 0: the machine's real cores.
 * A GPU computes something small first.
 * Errors: DW_E_NOT_FOUND (the message lists the names there are, and says why others are missing),
 * DW_E_ARG, DW_E_MEMORY, DW_E_DEVICE (with what is known of the reason). */
dw_status dw_device_open(dw_device **out, const char *name, int threads, dw_error *err);
void dw_device_close(dw_device *device);

/* Stageable views on this device are staged from now on even where it could share the pages: to
 * benchmark against, and for tests. */
void dw_device_set_staging(dw_device *device);
/* Views ask for DW_DEVICE_ALIGN_BYTES, whatever the device needs. Before the first view. */
#define DW_DEVICE_ALIGN_BYTES 64
void dw_device_set_strict_align(dw_device *device);

const dw_device_info *dw_device_info_of(const dw_device *device);
ggml_backend_dev_t dw_device_handle(const dw_device *device);
ggml_backend_buffer_type_t dw_device_buffer_type(const dw_device *device);
/* Whether weights and KV stay in host pages: the device reads those at full speed. */
bool dw_device_unified(const dw_device *device);
int dw_device_threads(const dw_device *device);
/* Who helps nodes of graphs that are run on the calling thread alone (dw_device_run_options): on
 * the CPU with several threads, else NULL. For the nodes of such a graph, while it is run. */
dw_crew *dw_device_crew(const dw_device *device);

/* How much memory it has, and how much is free now; 0: not reported, or it is lost. */
void dw_device_memory(dw_device *device, size_t *bytes, size_t *free_bytes);
/* Test hook: a device of unified memory is to have `bytes` of memory of its own, so that weights
 * and keys are kept there and too little of it is noticed. Before anything is made for it. */
void dw_device_pretend_discrete(dw_device *device, size_t bytes);
/* What uses it; counted where it is taken and given back. */
dw_device_counters *dw_device_counters_of(dw_device *device);

/* Call `work(user)`, which calls ggml on this device: its aborts and exceptions become a status
 * (base/ggml_guard.h), whose message begins with the device's name. device_memory.h has the usual
 * calls. Errors: DW_E_MEMORY, DW_E_DEVICE (also at once, without calling, when it is lost). */
dw_status dw_device_guarded(dw_device *device, void (*work)(void *user), void *user, dw_error *err);
/* The same for freeing what is the device's; on a lost one nothing is called. */
void dw_device_guarded_free(dw_device *device, void (*work)(void *user), void *user);
/* Whether it failed so that nothing on it can be used any more: a fault on CUDA, whose driver then
 * answers nothing else for the rest of the process. Its objects can be destroyed as always. */
bool dw_device_lost(const dw_device *device);
/* DW_E_DEVICE with the first failure, when it is lost. */
dw_status dw_device_check(const dw_device *device, dw_error *err);
/* It is lost from now on: for calls to a device that do not go through ggml, and tests. */
void dw_device_mark_lost(dw_device *device, const char *why);
/* The engine's. Thread: any. */
dw_device *dw_engine_device(dw_engine *engine); /* src/api/engine.c */
/* One object that goes with the device, for a folder that comes after this one. */
typedef struct dw_device_extra {
    void *object;                  /* NULL: none yet */
    void (*destroy)(void *object); /* before the device goes */
    /* Give back some of the device's memory that can be done without; false: there is none such.
     * NULL: never. Any thread. */
    bool (*relieve)(void *object);
} dw_device_extra;
/* Thread: any; the others wait until it is unlocked. */
dw_device_extra *dw_device_lock_extra(dw_device *device);
void dw_device_unlock_extra(dw_device *device);

#endif
