/* A file that was read (gguf.c), for the values of its keys (gguf_values.c), the reader of one file
 * (gguf_read.c) and that of several (gguf_parts.c). */
#ifndef DW_GGUF_GGUF_INTERNAL_H
#define DW_GGUF_GGUF_INTERNAL_H

#include <string.h>

#include "gguf/gguf.h"
#include "memory/file_guard.h"

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
    bool mapped; /* by dw__gguf_open_file; unmapped with it */
    int fd;      /* of the file, if mapped; else -1 */
    char *path;  /* likewise; for messages */
    dw_file_guard *guard;
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

/* Bytes of a value of this type; 0: it has a length of its own. */
size_t dw__gguf_type_bytes(dw_gguf_type type);

/* A number of `count` bytes. The file is little endian whatever the machine is; its values may lie
 * at any address. */
static inline uint64_t dw__gguf_load(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The order of keys. */
static inline int dw__gguf_compare(const dw_gguf_string *a, const dw_gguf_string *b)
{
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = memcmp(a->text, b->text, common);
    return order != 0 ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* Map and read one file, whichever part it is. Errors: dw_gguf_open's. */
dw_status dw__gguf_open_file(dw_gguf **out, const char *path, dw_error *err);
/* File `part`. */
const dw_gguf *dw__gguf_part(const dw_gguf *gguf, uint32_t part);
/* Make `by_name` from `tensors`. Errors: DW_E_FORMAT (one is there twice), DW_E_MEMORY. */
dw_status dw__gguf_sort_names(dw_gguf *gguf, dw_error *err);

#endif
