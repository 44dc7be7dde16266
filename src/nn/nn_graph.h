/* What a guest of wasi-nn holds: a graph, which is a granted model with settings; and an execution
 * context of it, which is a text under way. The KV cache and the sampler that they compute with are
 * ordinary handles of the guest's, so that forks and snapshots have them as they have all others.
 * Thread: the instance's. */
#ifndef DW_NN_NN_GRAPH_H
#define DW_NN_NN_GRAPH_H

#include <jansson.h>

#include "model/model.h"

typedef struct dw_nn_graph {
    dw_model *model; /* counted */
    char *name;      /* that it was loaded by */
    char *settings;  /* JSON */
    int32_t kv;      /* handle of the KV cache that its executions share; 0: none yet */
} dw_nn_graph;

typedef struct dw_nn_execution {
    dw_model *model; /* counted: the graph's */
    int32_t graph;   /* its handle */
    char *settings;  /* JSON: the graph's when it began, and what was set since */
    int32_t sampler; /* handle; 0: none yet */
    /* The prompt's, then what was generated. [token_count] */
    int32_t *tokens;
    uint32_t prompt_count;
    uint32_t token_count;
    uint32_t token_room;
    /* The text of what was generated, or an embedding as JSON; of it, from last_text on, what the
     * last token added. [text_bytes] */
    char *text;
    size_t text_bytes;
    size_t text_room;
    size_t last_text;
    bool begun; /* token by token: it has a sampler that is where the tokens are */
    bool ended; /* and there are no more */
} dw_nn_execution;

/* The caller's; counts the model. The texts are copied. Errors: DW_E_MEMORY. */
dw_status dw_nn_graph_create(dw_nn_graph **out, dw_model *model, const char *name,
                             const char *settings, dw_error *err);
void dw_nn_graph_destroy(dw_nn_graph *graph); /* NULL is fine */
dw_status dw_nn_execution_create(dw_nn_execution **out, const dw_nn_graph *graph, int32_t handle,
                                 dw_error *err);
void dw_nn_execution_destroy(dw_nn_execution *execution); /* NULL is fine */

/* Independent copies. Errors: DW_E_MEMORY. */
dw_status dw_nn_graph_fork(dw_nn_graph **out, const dw_nn_graph *graph, dw_error *err);
dw_status dw_nn_execution_fork(dw_nn_execution **out, const dw_nn_execution *execution,
                               dw_error *err);

/* All but the model, as a JSON object; the caller's. NULL: no memory. */
json_t *dw_nn_graph_save(const dw_nn_graph *graph);
json_t *dw_nn_execution_save(const dw_nn_execution *execution);
/* Of such an object, which is untrusted. Errors: DW_E_FORMAT, DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_nn_graph_load(dw_nn_graph **out, dw_model *model, const json_t *saved, dw_error *err);
dw_status dw_nn_execution_load(dw_nn_execution **out, dw_model *model, const json_t *saved,
                               dw_error *err);

/* Its tokens become `prompt` [count], copied; what was generated goes. Errors: DW_E_MEMORY. */
dw_status dw_nn_execution_restart(dw_nn_execution *execution, const int32_t *prompt, uint32_t count,
                                  dw_error *err);
/* What was generated goes; the prompt stays. */
void dw_nn_execution_rewind(dw_nn_execution *execution);
/* One more. Errors: DW_E_MEMORY. */
dw_status dw_nn_execution_add_token(dw_nn_execution *execution, int32_t token, dw_error *err);
dw_status dw_nn_execution_add_text(dw_nn_execution *execution, const char *text, size_t bytes,
                                   dw_error *err);

#endif
