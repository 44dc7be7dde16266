/* The graph of a step: built once, then pointed at other memory and run again and again. What kinds
 * of graphs there are is their plans' business (step_plan.h); here is what all have in common.
 * Thread: under the model's lock. */
#ifndef DW_INFERENCE_STEP_GRAPH_H
#define DW_INFERENCE_STEP_GRAPH_H

#include <ggml-alloc.h>

#include "device/device_run.h"
#include "kv/kv_log.h"
#include "model/forward_graph.h"
#include "model/model.h"

typedef struct dw_step_graph dw_step_graph;

/* How graphs of one kind are made and freed. */
typedef struct dw_graph_kind {
    /* Build `graph`, whose `size` and `device` are set, through dw__step_graph_build.
     * Errors: DW_E_MEMORY; what there is of it is released as below. */
    dw_status (*build)(dw_step_graph *graph, dw_model *model, dw_error *err);
    /* Free graph->own, which may be NULL. The function is NULL where there is never any. */
    void (*release)(dw_step_graph *graph);
} dw_graph_kind;

struct dw_step_graph {
    const dw_graph_kind *kind;
    dw_forward_size size;
    uint64_t used_at; /* the cache's clock */
    dw_device *device;
    struct ggml_context *ggml;
    ggml_gallocr_t allocator; /* NULL until the first run */
    dw_forward_graph forward;
    dw_matmul *matmul;             /* NULL: ggml's */
    dw_attention *attention;       /* its kind's own; NULL: ggml's, or a GPU's */
    dw_logits_scatter *scatter;    /* likewise; NULL: rows of logits are a tensor */
    struct ggml_tensor **kv_views; /* [kv_view_count]: what must follow the log */
    size_t kv_view_count;
    void *staging; /* [the largest input], for devices whose inputs are not in host memory */
    void *own;     /* the kind's; NULL: nothing */
    struct dw_step_parts *parts; /* for runs in parts; NULL: none yet */
    dw_device_copy before;       /* what goes with its next run, by its kind's `fill` */
    dw_device_copy after;
    dw_device_mark *marks[2]; /* of flights, by turn; NULL: none yet */
    uint32_t flights;         /* under way; it is taken while there are any */
    bool by_crew; /* whose products and attention are all of its work: the rest is one thread's */
    bool taken; /* atomic: a run goes on that gives the model's lock up meanwhile: it is that run's
                   alone */
};

/* A graph of `kind` and `size`. Errors: DW_E_MEMORY, DW_E_UNSUPPORTED (the device lacks an
 * operation), DW_E_DEVICE. */
dw_status dw__step_graph_create(dw_step_graph **out, dw_model *model, const dw_graph_kind *kind,
                                const dw_forward_size *size, dw_error *err);
void dw__step_graph_destroy(dw_step_graph *graph);
/* For a kind's `build`: the graph itself, of graph->size, with `ours` of its other options (matrix
 * products are seen to here). Errors: DW_E_MEMORY. */
dw_status dw__step_graph_build(dw_step_graph *graph, dw_model *model,
                               const dw_forward_options *ours, dw_error *err);
/* Whether contexts of a model on the device may have other adapters in one run: the same, or both
 * such that dw_adapter_sets_mix. */
bool dw__step_graph_mixes(const dw_device *device, const dw_adapter_set *a,
                          const dw_adapter_set *b);
/* For tests: products of adapters on the CPU by ggml, as on other devices. */
void dw__step_graph_set_adapters_by_ggml(bool on);
/* Once, when all is placed that has an address of its own: give work memory to the rest.
 * Errors: DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw__step_graph_allocate(dw_step_graph *graph, dw_error *err);

/* Point what ggml's attention reads and writes of the log at `log`; nothing where ours is.
 * Errors: dw_kv_log_place's. */
dw_status dw__step_graph_place_log(dw_step_graph *graph, dw_kv_log *log, dw_error *err);
/* Point the result, which is wanted, at `rows` in `view`. Errors: dw_device_view_place's. */
dw_status dw__step_graph_place_rows(dw_step_graph *graph, dw_device_view *view, float *rows,
                                    dw_error *err);

/* Whether an input has memory: one that nothing in the graph uses gets none. NULL: it is none. */
bool dw__input_is_used(const struct ggml_tensor *input);
/* Where the host writes a used input, all of it; dw__input_done then brings it to the device.
 * Errors: DW_E_DEVICE. */
void *dw__input_begin(dw_step_graph *graph, struct ggml_tensor *input);
dw_status dw__input_done(dw_step_graph *graph, struct ggml_tensor *input, dw_error *err);
/* Positions of one sequence's tokens, the first at `past`. Errors: DW_E_DEVICE. */
dw_status dw__step_graph_fill_positions(dw_step_graph *graph, uint32_t past, dw_error *err);

#endif
