/* A file that was read: its tensors by name, and its end. */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "gguf/gguf_internal.h"

void dw_gguf_close(dw_gguf *gguf)
{
    if (gguf == NULL) {
        return;
    }
    if (gguf->rest != NULL) {
        /* Only a first part has others; these have none. */
        for (uint32_t i = 1; i < gguf->part_count; i++) {
            dw_gguf_close(gguf->rest[i - 1]);
        }
        dw_free(gguf->rest);
    }
    dw_file_guard_remove(gguf->guard);
    dw_free(gguf->path);
    if (gguf->mapped) {
        dw_os_unmap((void *)(uintptr_t)gguf->bytes, gguf->byte_count);
    }
    dw_os_close(gguf->fd);
    dw_free(gguf->keys);
    dw_free(gguf->tensors);
    dw_free(gguf->by_name);
    dw_free(gguf);
}

static int compare_tensors(const void *a, const void *b)
{
    const dw_gguf_tensor *const *left = a;
    const dw_gguf_tensor *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

dw_status dw__gguf_sort_names(dw_gguf *gguf, dw_error *err)
{
    gguf->by_name = dw_alloc(gguf->tensor_count, sizeof *gguf->by_name);
    if (gguf->by_name == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu tensors", gguf->tensor_count);
    }
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        gguf->by_name[i] = &gguf->tensors[i];
    }
    qsort(gguf->by_name, gguf->tensor_count, sizeof *gguf->by_name, compare_tensors);
    for (size_t i = 1; i < gguf->tensor_count; i++) {
        if (strcmp(gguf->by_name[i - 1]->name, gguf->by_name[i]->name) == 0) {
            return dw_fail(err, DW_E_FORMAT, "tensor '%s' is there twice", gguf->by_name[i]->name);
        }
    }
    return DW_OK;
}

size_t dw_gguf_tensor_count(const dw_gguf *gguf)
{
    return gguf->tensor_count;
}

const dw_gguf_tensor *dw_gguf_tensor_at(const dw_gguf *gguf, size_t index)
{
    DW_ASSERT(index < gguf->tensor_count);
    return &gguf->tensors[index];
}

const dw_gguf_tensor *dw_gguf_tensor_find(const dw_gguf *gguf, const char *name)
{
    size_t low = 0;
    size_t high = gguf->tensor_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(gguf->by_name[middle]->name, name);
        if (order == 0) {
            return gguf->by_name[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}
