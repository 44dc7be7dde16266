/* Waits of guests, and Wasmtime's WASI behind ours: what the files of this folder share.
 * Thread: an instance's own. */
#ifndef DW_WASM_WASI_INTERNAL_H
#define DW_WASM_WASI_INTERNAL_H

#include "wasm/instance_internal.h"

#define DW__WASI_MODULE "wasi_snapshot_preview1"

/* Of WASI preview 1: what is answered here. */
enum {
    DW__WASI_SUCCESS = 0,
    DW__WASI_ACCES = 2,
    DW__WASI_BADF = 8,
    DW__WASI_DQUOT = 19,
    DW__WASI_FAULT = 21,
    DW__WASI_FBIG = 22,
    DW__WASI_INTR = 27,
    DW__WASI_INVAL = 28,
    DW__WASI_IO = 29,
    DW__WASI_MFILE = 33,
    DW__WASI_NOMEM = 48,
    DW__WASI_NOSPC = 51,
    DW__WASI_PERM = 63,
    DW__WASI_PIPE = 64,
};

enum { DW__CLOCK_DAY = 0, DW__CLOCK_STEADY = 1 };

/* ---- wasi_through.c: Wasmtime's functions, called for the guest ---- */

/* All functions that are ours in the place of Wasmtime's, and those that ours need. */
typedef enum dw__wasi_function {
    DW__WASI_FD_READ,
    DW__WASI_FD_PREAD,
    DW__WASI_FD_WRITE,
    DW__WASI_FD_PWRITE,
    DW__WASI_FD_CLOSE,
    DW__WASI_FD_RENUMBER,
    DW__WASI_FD_TELL,
    DW__WASI_PATH_OPEN,
    DW__WASI_POLL_ONEOFF,
    DW__WASI_RANDOM_GET,
    DW__WASI_CLOCK_TIME_GET,
    DW__WASI_CLOCK_RES_GET,
    DW__WASI_SCHED_YIELD,
    DW__WASI_PATH_FILESTAT_GET,
    DW__WASI_FD_FDSTAT_GET,
    DW__WASI_FUNCTION_COUNT,
} dw__wasi_function;

/* Call Wasmtime's function with `values` [parameters], as the guest would: its answer is then in
 * values[0]. NULL, or the trap that the guest gets. */
wasm_trap_t *dw__wasi_through(dw_instance *instance, dw__wasi_function which,
                              wasmtime_val_raw_t *values);
/* Whether a module imports any of these functions. */
bool dw__wasi_is_wanted(const wasmtime_module_t *module);
/* What the call above needs, beforehand. Errors: DW_E_MEMORY. */
dw_status dw__wasi_through_make(dw_instance *instance, dw_error *err);
/* One of ours into the linker, with the type of Wasmtime's. Errors: DW_E_STATE. */
dw_status dw__wasi_replace(dw_wasm_host *host, dw__wasi_function which,
                           wasmtime_func_unchecked_callback_t call, dw_error *err);
void dw__wasi_through_release(dw_wasm_host *host);

/* ---- wasi_streams.c, wasi_poll.c, wasi_open.c: ours ---- */

dw_status dw__wasi_streams_define(dw_wasm_host *host, dw_error *err);
dw_status dw__wasi_poll_define(dw_wasm_host *host, dw_error *err);
/* wasi_clock.c */
dw_status dw__wasi_clock_define(dw_wasm_host *host, dw_error *err);
/* Whether what a call of path_open names is a file, a folder, or not there. */
bool dw__wasi_may_open(dw_instance *instance, const wasmtime_val_raw_t *values);
/* Which of the three standard streams `fd` is now; -1: none of them. */
int dw__wasi_stream_of(const dw_instance *instance, uint32_t fd);
/* What has to be waited for until a stream can be used without blocking; 0: nothing. */
uint32_t dw__wasi_stream_events(const dw_instance *instance, int stream);
/* What a call comes to whose wait was left: a trap, or NULL with DW__WASI_INTR in values[0]. */
wasm_trap_t *dw__wasi_left(dw_instance *instance, wasmtime_val_raw_t *values);
/* The instance that calls. */
static inline dw_instance *dw__wasi_caller(wasmtime_caller_t *caller)
{
    return wasmtime_context_get_data(wasmtime_caller_context(caller));
}

#endif
