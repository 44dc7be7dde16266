/* Runs that go on while their results are not looked at: a device that computes by itself begins
 * the next before the host has chosen anything from the last, where it finds by itself what the
 * choice will be. At most two are under way, one behind the other, each of slices of one token that
 * end in a choice.
 * Thread: one at a time for flights of one model; others run steps meanwhile. */
#ifndef DW_INFERENCE_STEP_FLIGHT_H
#define DW_INFERENCE_STEP_FLIGHT_H

#include "inference/step_slice.h"

struct dw_step_plan;

/* The caller's, from its launch until it has landed, as its slices. */
typedef struct dw_step_flight {
    dw_model *model;
    dw_step_slice *slices; /* [count]; one without rows is given up: its results are of no use */
    uint32_t count;
    const struct dw_step_plan *plan;
    dw_step_graph *graph; /* taken, as its scratch */
    dw_scratch *scratch;
    uint32_t turn;    /* of the graph's two places, which is its own */
    bool concluded;   /* its choices are made: on the CPU, for one that flies behind it */
    dw_status status; /* of those */
} dw_step_flight;

/* Whether runs of the model's can fly. */
bool dw__step_flies(dw_model *model);
/* For tests: let them on the CPU too, where a launch computes at once. */
void dw__step_let_fly(bool on_cpu);
/* Begin a run of the flight's slices, as a batch (DW__RUN_BATCH_TO_END). Those of `behind`, which
 * is under way and has not landed, go on with its likeliest tokens (slice->behind); their logs have
 * room for one record more than what that run appends. NULL: there is none. Errors: dw__step_run's;
 * nothing is under way then. */
dw_status dw__step_launch(dw_step_flight *flight, dw_step_flight *behind, dw_error *err);
/* Wait for its end, and make its choices. In the order of their launches. Errors: DW_E_MEMORY,
 * DW_E_DEVICE, DW_E_IO. */
dw_status dw__step_land(dw_step_flight *flight, dw_error *err);

#endif
