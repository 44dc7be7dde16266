/* What actors' guests learn of their standard output. Wasmtime calls a stream that an embedder
 * takes no terminal; C libraries then buffer it wholly, and an actor's answer would come with one
 * of the next. So the host tells them that it is one: a character device in which nobody seeks
 * (isatty of wasi-libc asks for these two). Of other files Wasmtime tells. */
#include <string.h>

#include "wasm/wasi_internal.h"

#define WASI_MODULE "wasi_snapshot_preview1"
#define NAME "fd_fdstat_get"

/* WASI preview 1. */
enum { WASI_SUCCESS = 0, WASI_FAULT = 21 };
enum { FILE_UNKNOWN = 0, FILE_CHARACTER_DEVICE = 2 };
enum { RIGHT_READ = 1 << 1, RIGHT_WRITE = 1 << 6 };
typedef struct wasi_fdstat {
    unsigned char file_type;
    unsigned char pad_1;
    unsigned char flags[2];
    unsigned char pad_2[4];
    unsigned char rights[8]; /* little-endian */
    unsigned char rights_of_others[8];
} wasi_fdstat;
static_assert(sizeof(wasi_fdstat) == 24, "WASI's size");

static int32_t describe(dw_instance *instance, int32_t fd, uint32_t to)
{
    void *place = NULL;
    wasi_fdstat stat = {.file_type = fd == 0 ? FILE_UNKNOWN : FILE_CHARACTER_DEVICE,
                        .rights = {fd == 0 ? RIGHT_READ : RIGHT_WRITE}};
    if (dw_instance_range(instance, "fdstat", to, 1, sizeof stat, 1, &place, NULL) != DW_OK) {
        return WASI_FAULT;
    }
    memcpy(place, &stat, sizeof stat);
    return WASI_SUCCESS;
}

static wasm_trap_t *fd_fdstat_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                  size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    (void)env;
    (void)count;
    if (values[0].i32 < 0 || values[0].i32 > 2) {
        return dw__wasi_through(instance, DW__WASI_FD_FDSTAT_GET, values);
    }
    values[0].i32 = describe(instance, values[0].i32, (uint32_t)values[1].i32);
    return NULL;
}

dw_status dw__wasi_output_define(dw_wasm_host *host, dw_error *err)
{
    host->actor_linker = wasmtime_linker_clone(host->linker);
    if (host->actor_linker == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for actors' imports");
    }
    wasm_functype_t *type = dw__function_type("ii:i");
    wasmtime_linker_allow_shadowing(host->actor_linker, true);
    wasmtime_error_t *error =
        wasmtime_linker_define_func_unchecked(host->actor_linker, WASI_MODULE, strlen(WASI_MODULE),
                                              NAME, strlen(NAME), type, fd_fdstat_get, NULL, NULL);
    wasm_functype_delete(type);
    return error == NULL ? DW_OK : dw__wasm_error(err, DW_E_STATE, "WASI", error);
}
