/* Shared by wasm_data.c (reading and joining segments) and wasm_scatter.c (what lies far apart). */
#ifndef DW_WASM_WASM_DATA_INTERNAL_H
#define DW_WASM_WASM_DATA_INTERNAL_H

#include "wasm/wasm_binary_internal.h"
#include "wasm/wasm_writer_internal.h"

#define DW__DATA_MEMORIES_MAX 64
#define DW__SECTION_DATA_COUNT 12
#define DW__OP_I32_CONST 0x41

/* An active data segment. */
typedef struct dw__data_segment {
    uint32_t memory;
    uint32_t start;
    uint32_t bytes;
    uint32_t order;
    const unsigned char *data;
} dw__data_segment;

typedef struct dw__data_joiner {
    const unsigned char *bytes;
    uint64_t memory_bytes[DW__DATA_MEMORIES_MAX]; /* [memory_count]: at least */
    uint32_t memory_count;
    uint32_t imported_functions;
    bool imports_memory;
    bool names_segments; /* an instruction may */
    bool has_count;
    size_t count_at; /* the section's first byte, and what follows it */
    size_t count_end;
    size_t data_at;
    size_t data_end;
    dw__wasm_reader code;       /* the section's inside; of no bytes: there is none */
    dw__data_segment *segments; /* [segment_count], by memory and start once sorted */
    uint32_t segment_count;
    uint64_t data_bytes;
    uint32_t gap; /* what is joined over */
    uint32_t run_count;
} dw__data_joiner;

/* One run of segments, sorted by place, from `first` on: where it ends in list and memory. */
uint32_t dw__data_run_from(const dw__data_joiner *j, uint32_t first, uint64_t *end);
/* A run's bytes: zeros, then its segments [count] in the order of the module, of which later ones
 * count. They are not in the order of their places any more. */
void dw__data_write_run(dw__wasm_writer *to, dw__data_segment *run, uint32_t count, uint64_t bytes);

/* The module with one passive segment, which a function of ours copies to where the runs belong.
 * *made NULL: it stays as it is. Errors: DW_E_MEMORY. */
dw_status dw__data_scatter(dw__data_joiner *j, size_t wasm_bytes, unsigned char **made,
                           size_t *made_bytes, dw_error *err);

#endif
