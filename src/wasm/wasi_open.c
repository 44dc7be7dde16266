/* Opening files. Wasmtime's function blocks the thread where a path names a FIFO that nobody has
 * open at its other end, and what is read of a device may never come: guests open files and
 * folders, and nothing else. */
#include <string.h>

#include "wasm/wasi_internal.h"

/* WASI's filestat: what this looks at. */
#define STAT_BYTES 64
#define STAT_TYPE 16
enum { TYPE_FOLDER = 3, TYPE_FILE = 4, TYPE_LINK = 7 };

/* What the path of a call of path_open names, by Wasmtime's own way of finding it. The guest's
 * first bytes serve as the place for the answer. False: it is not there, or cannot be told. */
static bool find_type(dw_instance *instance, const wasmtime_val_raw_t *values, uint8_t *type)
{
    unsigned char kept[STAT_BYTES];
    void *place = NULL;
    wasmtime_val_raw_t call[5];
    if (dw_instance_range(instance, "stat", 0, STAT_BYTES, 1, 8, &place, NULL) != DW_OK) {
        return false;
    }
    memcpy(kept, place, sizeof kept);
    memcpy(call, values, 4 * sizeof *call); /* fd, how links are followed, path, its bytes */
    call[4].i32 = 0;
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_PATH_FILESTAT_GET, call);
    *type = ((const unsigned char *)place)[STAT_TYPE];
    memcpy(place, kept, sizeof kept);
    if (trap != NULL) {
        wasm_trap_delete(trap);
        return false;
    }
    return call[0].i32 == DW__WASI_SUCCESS;
}

bool dw__wasi_may_open(dw_instance *instance, const wasmtime_val_raw_t *values)
{
    uint8_t type = TYPE_FILE;
    return !find_type(instance, values, &type) || type == TYPE_FILE || type == TYPE_FOLDER ||
           type == TYPE_LINK;
}
