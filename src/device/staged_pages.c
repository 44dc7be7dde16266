#include "device/staged_pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "device/device_memory.h"

#define PINNED_BYTES ((size_t)1 << 20) /* copied at a time */

/* Bytes [start, end) of the region. */
typedef struct range {
    size_t start;
    size_t end;
} range;

struct dw__staged_pages {
    dw_region *region;
    size_t bytes;
    dw_device *device;
    ggml_backend_buffer_t mirror; /* [bytes] */
    struct ggml_context *ggml;
    struct ggml_tensor *whole;    /* I8 [bytes], over the mirror */
    ggml_backend_buffer_t pinned; /* [PINNED_BYTES]; NULL: `plain` is used */
    void *plain;
    range *ranges; /* [range_capacity] */
    size_t range_count;
    size_t range_capacity;
};

/* ---- memory ---- */

/* Copies through plain memory work where the device pins none, or the system locks no more. */
static dw_status create_copy_buffer(dw__staged_pages *pages, dw_error *err)
{
    if (ggml_backend_dev_host_buffer_type(dw_device_handle(pages->device)) != NULL) {
        dw_error why = {0};
        dw_status status =
            dw_device_locked_create(&pages->pinned, pages->device, PINNED_BYTES, &why);
        if (status != DW_E_MEMORY) {
            return status == DW_OK ? DW_OK : dw_fail(err, status, "%s", why.message);
        }
    }
    pages->plain = dw_alloc(1, PINNED_BYTES);
    return pages->plain != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory to copy guest memory through");
}

static dw_status prepare(dw__staged_pages *pages, dw_error *err)
{
    struct ggml_init_params params = {.mem_size = 2 * ggml_tensor_overhead(), .no_alloc = true};
    dw_error why = {0};
    dw_status status =
        dw_device_buffer_create(&pages->mirror, pages->device, DW_USE_VIEW, pages->bytes, &why);
    if (status != DW_OK) {
        return dw_fail(err, status, "a copy of guest memory: %s", why.message);
    }
    status = create_copy_buffer(pages, err);
    if (status != DW_OK) {
        return status;
    }
    pages->ggml = ggml_init(params);
    if (pages->ggml == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to copy guest memory through");
    }
    pages->whole = ggml_new_tensor_1d(pages->ggml, GGML_TYPE_I8, (int64_t)pages->bytes);
    void *base = ggml_backend_buffer_get_base(pages->mirror);
    DW_ASSERT(ggml_backend_tensor_alloc(pages->mirror, pages->whole, base) == GGML_STATUS_SUCCESS);
    return DW_OK;
}

dw_status dw__staged_pages_create(dw__staged_pages **out, dw_device *device, dw_region *region,
                                  size_t bytes, dw_error *err)
{
    *out = NULL;
    DW_ASSERT(bytes > 0 && bytes <= dw_region_committed_bytes(region));
    dw__staged_pages *pages = dw_alloc(1, sizeof *pages);
    if (pages == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for staged pages");
    }
    *pages = (dw__staged_pages){.region = region, .bytes = bytes, .device = device};
    dw_status status = prepare(pages, err);
    if (status != DW_OK) {
        dw__staged_pages_destroy(pages);
        return status;
    }
    *out = pages;
    return DW_OK;
}

void dw__staged_pages_destroy(dw__staged_pages *pages)
{
    if (pages == NULL) {
        return;
    }
    dw_device_locked_destroy(pages->device, pages->pinned);
    dw_device_buffer_destroy(pages->device, DW_USE_VIEW, pages->mirror);
    if (pages->ggml != NULL) {
        ggml_free(pages->ggml);
    }
    dw_free(pages->plain);
    dw_free(pages->ranges);
    dw_free(pages);
}

ggml_backend_buffer_t dw__staged_pages_buffer(const dw__staged_pages *pages)
{
    return pages->mirror;
}

/* ---- what a graph reads and writes ---- */

static dw_status add_range(dw__staged_pages *pages, const struct ggml_tensor *tensor, dw_error *err)
{
    const struct ggml_tensor *root = tensor->view_src != NULL ? tensor->view_src : tensor;
    if (root->buffer != pages->mirror) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(pages->ranges, pages->range_capacity, pages->range_count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu tensors",
                       pages->range_count + 1);
    }
    const unsigned char *base = ggml_backend_buffer_get_base(pages->mirror);
    size_t start = (size_t)((const unsigned char *)tensor->data - base);
    pages->ranges[pages->range_count++] = (range){start, start + ggml_nbytes(tensor)};
    return DW_OK;
}

/* Not the nodes that only describe how bytes are viewed. */
static bool computes(const struct ggml_tensor *node)
{
    return node->op != GGML_OP_NONE && node->op != GGML_OP_VIEW && node->op != GGML_OP_RESHAPE &&
           node->op != GGML_OP_PERMUTE && node->op != GGML_OP_TRANSPOSE;
}

/* A tensor that no node makes: its bytes are the guest's. */
static bool is_leaf(const struct ggml_tensor *tensor)
{
    return tensor->op == GGML_OP_NONE && tensor->view_src == NULL;
}

/* Leaves are read whole, through whichever view. */
static dw_status list_sources(dw__staged_pages *pages, const struct ggml_tensor *node,
                              dw_error *err)
{
    for (int k = 0; k < GGML_MAX_SRC; k++) {
        const struct ggml_tensor *from = node->src[k];
        from = from != NULL && from->view_src != NULL ? from->view_src : from;
        dw_status status = from != NULL && is_leaf(from) ? add_range(pages, from, err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* A node that writes into part of another tensor's bytes leaves the rest as it was: those are
 * copied to the device as well. */
static dw_status list_read(dw__staged_pages *pages, struct ggml_cgraph *graph, dw_error *err)
{
    pages->range_count = 0;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const struct ggml_tensor *node = ggml_graph_node(graph, i);
        dw_status status = list_sources(pages, node, err);
        if (status == DW_OK && computes(node) && node->view_src != NULL) {
            status = add_range(pages, node, err);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static dw_status list_written(dw__staged_pages *pages, struct ggml_cgraph *graph, dw_error *err)
{
    pages->range_count = 0;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const struct ggml_tensor *node = ggml_graph_node(graph, i);
        dw_status status = computes(node) ? add_range(pages, node, err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const range *left = a;
    const range *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

/* Each byte once: tensors are used by many nodes, and may overlap. */
static void merge_ranges(dw__staged_pages *pages)
{
    if (pages->range_count == 0) {
        return;
    }
    range *ranges = pages->ranges;
    qsort(ranges, pages->range_count, sizeof *ranges, compare_ranges);
    size_t kept = 0;
    for (size_t i = 1; i < pages->range_count; i++) {
        if (ranges[i].start <= ranges[kept].end) {
            ranges[kept].end = ranges[i].end > ranges[kept].end ? ranges[i].end : ranges[kept].end;
        } else {
            ranges[++kept] = ranges[i];
        }
    }
    pages->range_count = kept + 1;
}

/* ---- copying ---- */

typedef struct copy_call {
    const dw__staged_pages *pages;
    bool to_device;
} copy_call;

static void copy_ranges(void *user)
{
    const copy_call *call = user;
    const dw__staged_pages *pages = call->pages;
    unsigned char *host = dw_region_base(pages->region);
    unsigned char *between =
        pages->pinned != NULL ? ggml_backend_buffer_get_base(pages->pinned) : pages->plain;
    for (size_t i = 0; i < pages->range_count; i++) {
        const range *part = &pages->ranges[i];
        for (size_t at = part->start; at < part->end; at += PINNED_BYTES) {
            size_t bytes = part->end - at < PINNED_BYTES ? part->end - at : PINNED_BYTES;
            if (call->to_device) {
                memcpy(between, host + at, bytes);
                ggml_backend_tensor_set(pages->whole, between, at, bytes);
            } else {
                ggml_backend_tensor_get(pages->whole, between, at, bytes);
                memcpy(host + at, between, bytes);
            }
        }
    }
}

static dw_status copy(dw__staged_pages *pages, bool to_device, uint64_t *copied_bytes,
                      dw_error *err)
{
    copy_call call = {pages, to_device};
    merge_ranges(pages);
    uint64_t bytes = 0;
    for (size_t i = 0; i < pages->range_count; i++) {
        bytes += pages->ranges[i].end - pages->ranges[i].start;
    }
    if (bytes == 0) {
        return DW_OK;
    }
    dw_status status = dw_device_guarded(pages->device, copy_ranges, &call, err);
    if (status != DW_OK) {
        return status;
    }
    *copied_bytes += bytes;
    dw_count(&dw_device_counters_of(pages->device)->staged_bytes, bytes);
    return DW_OK;
}

dw_status dw__staged_pages_bring(dw__staged_pages *pages, struct ggml_cgraph *graph,
                                 uint64_t *copied_bytes, dw_error *err)
{
    dw_status status = list_read(pages, graph, err);
    return status == DW_OK ? copy(pages, true, copied_bytes, err) : status;
}

dw_status dw__staged_pages_fetch(dw__staged_pages *pages, struct ggml_cgraph *graph,
                                 uint64_t *copied_bytes, dw_error *err)
{
    dw_status status = list_written(pages, graph, err);
    return status == DW_OK ? copy(pages, false, copied_bytes, err) : status;
}
