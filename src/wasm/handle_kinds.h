/* What a guest's handles can stand for: the one table of the kinds. To add a kind:
 * CONTRIBUTING.md, "A handle kind".
 * Thread: an object belongs to its instance's. */
#ifndef DW_WASM_HANDLE_KINDS_H
#define DW_WASM_HANDLE_KINDS_H

#include <jansson.h>

#include "base/account.h"
#include "nn/nn_graph.h"
#include "sampling/sampler.h"
#include "tensor/tensor_graph.h"

typedef enum dw_handle_kind {
    DW_HANDLE_MODEL = 1, /* dw_model, counted */
    DW_HANDLE_CONTEXT,   /* dw_context */
    DW_HANDLE_SAMPLER,   /* dw_guest_sampler */
    DW_HANDLE_GRAPH,     /* dw_tensor_graph over the instance's memory */
    DW_HANDLE_NN_GRAPH,
    DW_HANDLE_NN_EXECUTION,
    DW_HANDLE_KIND_COUNT
} dw_handle_kind;

typedef struct dw_handle_type {
    const char *name;     /* in messages and in snapshots */
    dw_account_part part; /* of the guest's account that the objects belong to */
    void (*destroy)(void *object);
    /* A copy for `child`, a fork of the object's instance whose memory is there already; the two
     * objects are independent. Errors: the object's own. */
    dw_status (*fork)(void **out, void *object, dw_instance *child, dw_error *err);
} dw_handle_type;

/* Indexed by dw_handle_kind; entry 0 is empty. */
extern const dw_handle_type dw_handle_types[DW_HANDLE_KIND_COUNT];

/* The object of a sampler's handle. */
typedef struct dw_guest_sampler {
    dw_sampler *sampler;
    dw_model *model; /* the one it was made for; counted */
} dw_guest_sampler;

/* Takes `sampler`, also on failure; counts `model`. Errors: DW_E_MEMORY. */
dw_status dw_guest_sampler_create(dw_guest_sampler **out, dw_sampler *sampler, dw_model *model,
                                  dw_error *err);
void dw_guest_sampler_destroy(dw_guest_sampler *object);

/* How many tensor graphs a guest has open, and how much scratch it may still take for more. */
size_t dw_guest_graphs_held(dw_instance *instance, size_t *scratch_left);
/* The graph of a description (dw_tensor_graph_save's, untrusted) over the instance's memory.
 * Errors: those of dw_instance_view and dw_tensor_graph_load. */
dw_status dw_guest_graph_load(dw_tensor_graph **out, const json_t *saved, dw_instance *instance,
                              dw_error *err);

#endif
