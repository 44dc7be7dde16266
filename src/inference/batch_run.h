/* One run of the device for steps that wait in a batch (batch.c): who takes part, and with what. */
#ifndef DW_INFERENCE_BATCH_RUN_H
#define DW_INFERENCE_BATCH_RUN_H

#include "inference/step.h"

struct dw_batch_item;

typedef struct dw__batch_run {
    struct dw_batch_item *owners[DW__SLICES_MAX]; /* NULL: it has left, in the middle */
    dw_step_slice slices[DW__SLICES_MAX];
    uint32_t count;
    uint32_t tokens; /* of all, those that go alone as well */
    uint32_t sequences;
    bool to_end;                /* nobody leaves it */
    bool left;                  /* somebody has: it is given up */
    bool refused;               /* other runs had all that it needs: it was not begun */
    struct dw_batch_item *back; /* who alone had its run left: it is to wait again */
    dw_step_run step;           /* with a graph while it is under way, in parts */
    uint64_t started_ns;
    uint64_t took_ns; /* so far: others' runs may have come between its parts */
} dw__batch_run;

#endif
