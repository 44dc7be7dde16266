/* What the reader of one file (gguf.c) and that of several (gguf_parts.c) share. */
#ifndef DW_GGUF_GGUF_INTERNAL_H
#define DW_GGUF_GGUF_INTERNAL_H

#include "gguf/gguf.h"

#define DW__GGUF_COUNT_MAX 65536u /* keys, tensors: the largest models have a few thousand */

typedef struct gguf_key {
    dw_gguf_string name;
    dw_gguf_type type;
    dw_gguf_type element_type;  /* of an array */
    const unsigned char *value; /* of an array, its first element; of a string, its length */
    size_t count;               /* of an array */
} gguf_key;

struct dw_gguf {
    const unsigned char *bytes; /* [byte_count] */
    size_t byte_count;
    bool mapped; /* ours to unmap */
    uint32_t part_index;
    uint32_t part_count;
    dw_gguf **rest; /* [part_count - 1], the parts behind the first; NULL in all but that */
    size_t data_offset;
    gguf_key *keys; /* [key_count], sorted by name */
    size_t key_count;
    dw_gguf_tensor *tensors; /* [tensor_count], as in the file */
    size_t tensor_count;
    const dw_gguf_tensor **by_name; /* [tensor_count], sorted */
};

/* Map and read one file, whichever part it is. Errors: dw_gguf_open's. */
dw_status dw__gguf_open_file(dw_gguf **out, const char *path, dw_error *err);
/* Make `by_name` from `tensors`. Errors: DW_E_FORMAT (one is there twice), DW_E_MEMORY. */
dw_status dw__gguf_sort_names(dw_gguf *gguf, dw_error *err);

#endif
