/* A module's bytes: where an actor's state lies in it, and the exports by which the host reaches
 * that state. Wasmtime's C API knows only what a module exports; so mutable globals, tables,
 * memories and the functions that references can stand for are added to the export section before
 * the module is compiled. All else is kept byte by byte.
 *
 * The bytes are untrusted: nothing outside them is read, and what is allocated is bounded by their
 * number. They are not validated beyond what it takes to find the state; Wasmtime does that when
 * it compiles them. Formats: WebAssembly core specification 3.0, chapter 5.
 * Thread: any; nothing is shared. */
#ifndef DW_WASM_WASM_BINARY_H
#define DW_WASM_WASM_BINARY_H

#include <stdbool.h>

#include "base/status.h"

#define DW_WASM_EXPORT_PREFIX "driftwood:" /* of the names added; modules may not use it */
#define DW_WASM_ITEMS_MAX 100000           /* of each kind */
#define DW_ACTOR_EXPORT "driftwood_receive"
#define DW_WASM_FLUSH_EXPORT DW_WASM_EXPORT_PREFIX "flush"

typedef enum dw_wasm_type {
    DW_WASM_I32,
    DW_WASM_I64,
    DW_WASM_F32,
    DW_WASM_F64,
    DW_WASM_V128,
    DW_WASM_FUNCREF,
    DW_WASM_EXTERNREF
} dw_wasm_type;

/* One thing that an added or existing export reaches. */
typedef struct dw_wasm_item {
    uint32_t index;    /* in its index space, imports counted */
    dw_wasm_type type; /* of a global's value, of a table's elements; else DW_WASM_I32 */
    char name[40];     /* of the export; the module's own where it has one that fits */
} dw_wasm_item;

/* What a module's state consists of. Items of a kind stand in the order of their indices. Where
 * `refused` says something, all counts are 0. */
typedef struct dw_wasm_layout {
    dw_wasm_item *globals; /* mutable ones */
    size_t global_count;
    dw_wasm_item *tables; /* of functions */
    size_t table_count;
    /* Code may change a table after instantiation (table.set, init, copy, grow, fill), or has
     * instructions that could not be decoded. */
    bool tables_change;
    dw_wasm_item *memories; /* all but the one exported as "memory" */
    size_t memory_count;
    /* All that a table or a global can hold: functions named by element segments, by initialisers
     * of globals and tables, and by exports. None in a module without tables and funcref globals
     * that change. */
    dw_wasm_item *functions;
    size_t function_count;
    /* Writes what the C library's buffers hold; name "": none is known. It may be of another type
     * than it should. */
    dw_wasm_item flush;
    char refused[160]; /* why its state cannot be saved; empty: it can */
} dw_wasm_layout;

/* Read where a module's state lies, and add exports.
 *   wasm             [wasm_bytes] a core module, untrusted; borrowed for the call
 *   rewritten        the module with exports added, for the caller to dw_free; NULL where there is
 *                    nothing to add, and where `refused` says something: the module is then to be
 *                    compiled as it is
 * A module is refused, and that is no error, when its state cannot be saved: it can drop passive
 * segments; it holds references other than to functions (externref, garbage-collected types); it
 * shares a memory; it exports a name with our prefix; it has more than DW_WASM_ITEMS_MAX of a kind;
 * it uses a part of the format that is not known here.
 * Errors: DW_E_FORMAT (malformed: what, at which byte), DW_E_LIMIT (more than 1 GiB),
 * DW_E_MEMORY. */
dw_status dw_wasm_layout_read(dw_wasm_layout **out, const void *wasm, size_t wasm_bytes,
                              unsigned char **rewritten, size_t *rewritten_bytes, dw_error *err);
void dw_wasm_layout_destroy(dw_wasm_layout *layout);
/* A layout as bytes, for the same build of this program, and back. *out [*bytes] is the caller's to
 * dw_free; NULL: no memory. Unpacking answers NULL for what is no layout, or without memory. */
unsigned char *dw_wasm_layout_pack(const dw_wasm_layout *layout, size_t *bytes);
dw_wasm_layout *dw_wasm_layout_unpack(const unsigned char *bytes, size_t count);

/* Data segments as few, where they are many and it is the same to the guest: those that lie near
 * one another as one (wasm_data.c), or all as one that a function of ours copies from, which is the
 * module's last and starts it (wasm_scatter.c). *joined: the module so, for the caller to dw_free;
 * NULL: as it is. Untrusted bytes; malformed ones stay as they are. Errors: DW_E_MEMORY. */
dw_status dw_wasm_join_data(const void *wasm, size_t wasm_bytes, unsigned char **joined,
                            size_t *joined_bytes, dw_error *err);
/* Likewise: memory.fill and memory.copy in parts (wasm_bulk.c), by functions behind all others. */
dw_status dw_wasm_part_bulk(const void *wasm, size_t wasm_bytes, unsigned char **rewritten,
                            size_t *rewritten_bytes, dw_error *err);
#define DW_WASM_STACK_EXPORT DW_WASM_EXPORT_PREFIX "stack"
/* Likewise: an export of the variable that says where a C program's stack ends (wasm_stack.c). */
dw_status dw_wasm_export_stack(const void *wasm, size_t wasm_bytes, unsigned char **rewritten,
                               size_t *rewritten_bytes, dw_error *err);

#define DW_WASM_TABLES_TOLD 16
typedef struct dw_wasm_table_size {
    uint64_t least; /* elements */
    uint64_t most;  /* UINT64_MAX: it may grow without end */
} dw_wasm_table_size;
typedef struct dw_wasm_needs {
    bool known; /* false: the module could not be read so far */
    uint32_t memory_count;
    uint32_t table_count;
    uint32_t function_count;                        /* imports counted */
    dw_wasm_table_size tables[DW_WASM_TABLES_TOLD]; /* of the first */
} dw_wasm_needs;
/* What an instance of the module begins with. */
void dw_wasm_needs_read(dw_wasm_needs *needs, const void *wasm, size_t wasm_bytes);

/* Whether the module exports a function under `name`; false where it cannot be read. Looks at
 * nothing but the sections' heads and the export section. */
bool dw_wasm_exports_function(const void *wasm, size_t wasm_bytes, const char *name);

#endif
