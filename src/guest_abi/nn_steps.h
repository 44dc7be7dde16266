/* What executions of wasi-nn compute: a text goes on until it ends, or by one token, or becomes an
 * embedding. Private to src/guest_abi. Thread: the guest's. */
#ifndef DW_GUEST_ABI_NN_STEPS_H
#define DW_GUEST_ABI_NN_STEPS_H

#include "nn/nn_graph.h"
#include "wasm/guest_instance.h"

/* What a call of wasi-nn answers. */
enum {
    DW__NN_OK = 0,
    DW__NN_ARGUMENT = 1,
    DW__NN_ENCODING = 2,
    DW__NN_MEMORY = 3,
    DW__NN_BUSY = 4,
    DW__NN_RUNTIME = 5,
    DW__NN_UNSUPPORTED = 6,
    DW__NN_TOO_LARGE = 7,
    DW__NN_NOT_FOUND = 8,
    DW__NN_END = 100,
    DW__NN_FULL = 101,
    DW__NN_PROMPT_TOO_LONG = 102,
    DW__NN_NO_MODEL = 103,
};

/* What computes for a graph or an execution are handles of the guest's, who may have begun a
 * generation with them. Whether the object of a handle (0: none) is free. Errors: DW_E_STATE. */
dw_status dw__nn_may_close(dw_instance *instance, dw_handle_kind kind, int32_t handle,
                           dw_error *err);
/* Close one that is free; one that the guest has closed is no error. */
void dw__nn_close(dw_instance *instance, dw_handle_kind kind, int32_t handle);
/* The prompt's tokens: `text` [bytes] as the model's tokenizer has it, with what it puts in front,
 * and special tokens where the text spells them. Errors: those of dw_vocab_tokenize. */
dw_status dw__nn_take_prompt(dw_instance *instance, dw_nn_execution *execution, const char *text,
                             size_t bytes, dw_error *err);
/* Go on from the prompt until the end, the most tokens or the reverse prompt; or compute the
 * embedding. DW__NN_..., or a negative status with dw_instance_error filled. */
int32_t dw__nn_compute(dw_instance *instance, dw_nn_execution *execution);
/* By one token. DW__NN_END: it was the last. */
int32_t dw__nn_compute_single(dw_instance *instance, dw_nn_execution *execution);

#endif
