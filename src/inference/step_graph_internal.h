/* What a kept graph is, for the files of src/inference that run one. Under the model's lock. */
#ifndef DW_INFERENCE_STEP_GRAPH_INTERNAL_H
#define DW_INFERENCE_STEP_GRAPH_INTERNAL_H

#include <ggml-alloc.h>

#include "device/device_view.h"
#include "inference/step_graph.h"

/* Enough for two lengths of prompt slices with and without logits and for decoding; and for as many
 * sizes of batches as a scheduler rounds to. */
#define DW__GRAPHS_MAX 24

struct dw_step_graph {
    dw_forward_size size;
    uint64_t used_at; /* the cache's clock */
    dw_device *device;
    struct ggml_context *ggml;
    ggml_gallocr_t allocator; /* NULL until the first run */
    dw_forward_graph forward;
    dw_attention *attention;          /* NULL: ggml's */
    dw_matmul *matmul;                /* NULL: ggml's */
    dw_logits_scatter logits_scatter; /* of several sequences; its list is the graph's to free */
    struct ggml_tensor **kv_views;    /* [kv_view_count]: what must follow the log */
    size_t kv_view_count;
    void *staging; /* [mask bytes], for devices whose inputs are not in host memory; else NULL */
    /* On a device that runs nodes of ours: */
    ggml_backend_buffer_t locked;  /* page-locked: the table, then the candidates */
    ggml_backend_buffer_t scratch; /* attention's */
    dw_cuda_token *table;          /* [tokens], in `locked` */
    int32_t *ids;                  /* [tokens], there too: of tokens that the device cannot reach */
    dw_top_k *candidates;          /* [rows], in `locked`; NULL: none */
};

typedef struct dw_graph_cache {
    dw_step_graph *graphs[DW__GRAPHS_MAX];
    uint64_t clock;
    dw_region *rows; /* for logits that only a choice is made from; NULL: none yet */
    dw_device_view *rows_view;
} dw_graph_cache;

/* Room for rows [count][vocab] of logits, until the next call; `*view` is of their region.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__scratch_rows(dw_graph_cache *cache, dw_model *model, uint32_t count,
                           dw_device_view **view, float **rows, dw_error *err);

/* The model's cache, made at the first call. Errors: DW_E_MEMORY. */
dw_status dw__graph_cache_find(dw_graph_cache **out, dw_model_extra *extra, dw_error *err);
/* The graph for `size`: one that is kept, or a new one in the place of the longest unused. */
dw_status dw__step_graph_find(dw_step_graph **out, dw_model *model, dw_graph_cache *cache,
                              const dw_forward_size *size, dw_error *err);
/* Once, when all is placed that has an address of its own: give work memory to the rest.
 * Errors: DW_E_MEMORY. */
dw_status dw__step_graph_allocate(dw_step_graph *graph, dw_error *err);

/* ---- cuda_step.c: on a device that runs nodes of ours ---- */

/* Whether ggml's attention there has kernels for the model's heads. */
bool dw__cuda_flash_serves(dw_model *model, dw_kv_type type);
/* Page-locked and device memory of a graph. Errors: DW_E_MEMORY. */
dw_status dw__cuda_graph_init(dw_step_graph *graph, dw_error *err);
void dw__cuda_graph_release(dw_step_graph *graph);
/* The table's rows, one for each of a slice's tokens. Errors: DW_E_RANGE, DW_E_DEVICE. */
dw_status dw__cuda_table_fill(dw_step_graph *graph, const dw_slice *slice, dw_error *err);
/* After a run: whether row `row` of the logits holds NaN; and a choice from it. */
bool dw__cuda_row_is_nan(const dw_step_graph *graph, uint32_t row);
void dw__cuda_choose(dw_step_graph *graph, dw_graph_cache *cache, dw_model *model, uint32_t row,
                     dw_choice *choice);
/* How many of the likeliest a choice is made from. */
uint32_t dw__cuda_top_k_count(const dw_choice *choice);
/* dw__shares_compute there: one token a share. */
dw_status dw__cuda_shares_compute(dw_model *model, dw_graph_cache *cache, dw_kv_type kv_type,
                                  dw_share *shares, uint32_t count, dw_error *err);

#endif
