/* A plan: one way to run slices on a device. step.c takes the first of them that accepts the work,
 * and calls its functions in the order in which they stand here: under the model's lock, but for
 * `finish` and `leave` of a run in parts, whose graph and scratch are its own. */
#ifndef DW_INFERENCE_STEP_PLAN_H
#define DW_INFERENCE_STEP_PLAN_H

#include "inference/graph_cache.h"
#include "inference/step_slice.h"

/* What the device is to run once. */
typedef struct dw_step_work {
    dw_model *model;
    dw_scratch *scratch;   /* the run's alone */
    dw_step_slice *slices; /* [count] */
    uint32_t count;        /* 1 unless in_batch */
    bool in_batch;         /* see dw__step_run */
    /* With slices of different sets of adapters dw_adapter_set_all's, until there is a graph. */
    dw_adapter_set *all_adapters;
    /* Guests for whom all choices but a run's first are postponed once one of them has to end: a
     * grammar's takes tens of milliseconds. NULL: nobody. */
    const dw_stop_others *others;
    /* Of a flight (step_flight.h): which of the graph's two places for what goes to and fro is its
     * own; what it flies behind, NULL: nothing. */
    uint32_t turn;
    const struct dw_step_flight *behind;
} dw_step_work;

typedef struct dw_step_plan {
    const char *name;
    /* Whether it can run this; may not look at the cache. */
    bool (*accepts)(const dw_step_work *work);
    /* The size of the graph for it, and how such graphs are made. */
    dw_forward_size (*size)(const dw_step_work *work);
    dw_graph_kind graphs;
    /* Point the graph at the work's memory; what then has no address gets work memory, once.
     * Errors: dw_device_view_place's, dw_kv_log_place's, DW_E_MEMORY. */
    dw_status (*prepare)(dw_step_graph *graph, const dw_step_work *work, dw_error *err);
    /* Whether a run's tokens may be others' that have not landed: then prepare, fill and finish
     * go by work->turn, of which a graph has two, and by work->behind. */
    bool flies;
    /* Write the inputs of the host's making. Errors: DW_E_RANGE, DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*fill)(dw_step_graph *graph, const dw_step_work *work, dw_error *err);
    /* After the run: bring rows to where they are still to go, look for NaN in each slice's, and
     * make its choice. Errors: DW_E_MEMORY, DW_E_DEVICE. */
    dw_status (*finish)(dw_step_graph *graph, const dw_step_work *work, dw_error *err);
    /* In the middle of a run in parts of several slices: the one at `index` takes no part in what
     * follows, and nothing of its owner's is touched any more. NULL: no such runs go in parts. */
    void (*leave)(dw_step_graph *graph, const dw_step_work *work, uint32_t index);
} dw_step_plan;

/* On CUDA devices, with nodes of ours: one token of each of many contexts, or a slice of one. */
extern const dw_step_plan dw__cuda_plan;
/* On the CPU, with our attention: slices of many contexts, or one; texts of encoders. */
extern const dw_step_plan dw__cpu_plan;
/* On GPUs, with ggml's operations alone: one slice. */
extern const dw_step_plan dw__ggml_plan;

/* The first that accepts the work: in a batch none may. */
const dw_step_plan *dw__plan_for(const dw_step_work *work);
/* All in its place for a run of the graph, which is of the work's size. Errors: prepare's, fill's,
 * dw__step_graph_allocate's. */
dw_status dw__plan_ready(const dw_step_plan *plan, dw_step_graph *graph, const dw_step_work *work,
                         dw_error *err);
/* Rows that a graph computes of a slice: with DW_RESULT_POOLED all, though they become one. */
uint32_t dw__plan_row_count(const dw_step_slice *slice);
/* What plans for one slice do alike: place tokens and rows (in scratch, with a choice), and write
 * the weights that pool hidden states. Errors: prepare's, fill's. */
dw_status dw__plan_place_one(dw_step_graph *graph, const dw_step_work *work, dw_error *err);
dw_status dw__plan_fill_weights(dw_step_graph *graph, const dw_step_slice *slice, dw_error *err);
/* Positions of a tree's tokens. Errors: DW_E_DEVICE. */
dw_status dw__plan_fill_tree_positions(dw_step_graph *graph, const dw_step_slice *slice,
                                       dw_error *err);
/* dw__step_slice_conclude for all. */
dw_status dw__plan_conclude(dw_step_graph *graph, const dw_step_work *work, dw_error *err);

#endif
