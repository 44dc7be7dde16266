/* GGUF files, versions 2 and 3, little endian. A file is untrusted: every count, length, type and
 * range in it is checked before it is used, so that what a dw_gguf gives out lies in the mapping.
 *
 *   offset  bytes  what
 *   0       4      "GGUF"
 *   4       4      version, u32
 *   8       8      tensor count, u64
 *   16      8      key count, u64
 *   24             keys: name (string), type u32, value; then tensors: name, dimension count u32,
 *                  sizes u64 each, type u32, offset u64; then padding; then the tensors' data
 * A string is its length, u64, and its bytes. An array is its element type, u32, its count, u64,
 * and its elements. Arrays of arrays are refused: no model has them.
 *
 * A model may come in parts, PREFIX-00001-of-00003.gguf and so on: split.no counts from 0,
 * split.count is their number, the first part's split.tensors.count that of all tensors. The first
 * part's keys are the model's; each part holds the data of its own tensors.
 *
 * Read-only after opening. Thread: any. Every error is one line that names the place in the file,
 * the key or the tensor, and the value. */
#ifndef DW_GGUF_GGUF_H
#define DW_GGUF_GGUF_H

#include <ggml.h>

#include "base/status.h"

/* The file format's own numbers. */
typedef enum dw_gguf_type {
    DW_GGUF_U8 = 0,
    DW_GGUF_I8 = 1,
    DW_GGUF_U16 = 2,
    DW_GGUF_I16 = 3,
    DW_GGUF_U32 = 4,
    DW_GGUF_I32 = 5,
    DW_GGUF_F32 = 6,
    DW_GGUF_BOOL = 7,
    DW_GGUF_STRING = 8,
    DW_GGUF_ARRAY = 9,
    DW_GGUF_U64 = 10,
    DW_GGUF_I64 = 11,
    DW_GGUF_F64 = 12,
    DW_GGUF_TYPE_COUNT
} dw_gguf_type;

typedef struct dw_gguf_tensor {
    char name[GGML_MAX_NAME];
    enum ggml_type type;
    int dims;
    int64_t ne[GGML_MAX_DIMS];
    uint32_t part;      /* which of the files holds its data; 0 where there is one */
    size_t file_offset; /* of its data, from that file's start */
    size_t bytes;
} dw_gguf_tensor;

/* dw_gguf_open, _close, _u32, _text, _fingerprint: include/driftwood.h. */

/* dw_gguf_open over bytes [count] in memory, borrowed until closed. One of several parts is
 * refused: DW_E_UNSUPPORTED. */
dw_status dw_gguf_parse(dw_gguf **out, const void *bytes, size_t count, dw_error *err);

/* How many files it is; at least 1. */
uint32_t dw_gguf_part_count(const dw_gguf *gguf);
/* The whole of file `part`; page-aligned if it was opened by path. */
const void *dw_gguf_part_bytes(const dw_gguf *gguf, uint32_t part, size_t *count);
/* Whether all files still have what is mapped: else what was read from there since may be zeros.
 * Errors: DW_E_IO (which file). Thread: any. */
dw_status dw_gguf_check(const dw_gguf *gguf, dw_error *err);
/* Of all files together. */
uint64_t dw_gguf_bytes(const dw_gguf *gguf);

size_t dw_gguf_tensor_count(const dw_gguf *gguf);
const dw_gguf_tensor *dw_gguf_tensor_at(const dw_gguf *gguf, size_t index);
/* NULL: there is none of that name. */
const dw_gguf_tensor *dw_gguf_tensor_find(const dw_gguf *gguf, const char *name);

bool dw_gguf_has(const dw_gguf *gguf, const char *key);
/* The type in the file; DW_GGUF_TYPE_COUNT where there is no such key. */
dw_gguf_type dw_gguf_type_of(const dw_gguf *gguf, const char *key);
/* Values by key, as dw_gguf_u32; f32 takes f64 too. */
dw_status dw_gguf_f32(const dw_gguf *gguf, const char *key, float *value, dw_error *err);
dw_status dw_gguf_bool(const dw_gguf *gguf, const char *key, bool *value, dw_error *err);

/* An array of `type` by key, as above: its elements in the file, unaligned, and their number. */
typedef struct dw_gguf_array {
    const unsigned char *elements;
    size_t count;
} dw_gguf_array;

dw_status dw_gguf_array_of(const dw_gguf *gguf, const char *key, dw_gguf_type type,
                           dw_gguf_array *value, dw_error *err);
/* The type of the array's elements; DW_GGUF_TYPE_COUNT where there is no such array. */
dw_gguf_type dw_gguf_array_type(const dw_gguf *gguf, const char *key);
int32_t dw_gguf_array_i32(const dw_gguf_array *array, size_t index);
/* All strings of an array, the caller's to dw_free. Errors: as above, DW_E_MEMORY. */
dw_status dw_gguf_strings(const dw_gguf *gguf, const char *key, dw_gguf_string **out, size_t *count,
                          dw_error *err);

const char *dw_gguf_type_name(dw_gguf_type type);

#endif
