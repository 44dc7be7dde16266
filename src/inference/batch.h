/* Forward steps of many contexts of one model, at whatever lengths they are: continuous batching. A
 * model's weights are read once for all of them.
 *
 * A batch holds steps that wait. Each run of the device takes tokens that are alone (decoding) and
 * slices of longer prompts, up to a budget of tokens; steps may be added between runs, and are
 * taken out as they finish. On the CPU a run of many tokens goes in parts (dw_step_run): between
 * them its owner may do other things, tokens that are alone have runs of their own, and one that is
 * stopped is out of it at once. What a context gets depends on its own tokens: attention to others'
 * is none, and matrix products round row by row. To which tolerance: docs/numerics.md.
 * Thread: a batch and its items one at a time; steps on one model wait for each other. */
#ifndef DW_INFERENCE_BATCH_H
#define DW_INFERENCE_BATCH_H

#include "inference/batch_places.h"
#include "inference/batch_run.h"
#include "inference/context.h"

/* What comes behind a step of whoever gives it. */
typedef enum dw_batch_follows {
    DW_BATCH_FOLLOWS_ANYTHING, /* that is not known */
    /* Its choice is the likeliest, whatever the logits are, and... */
    DW_BATCH_FOLLOWS_NOTHING,   /* it ends with this step */
    DW_BATCH_FOLLOWS_LIKELIEST, /* if anything, a step of that token follows, which has room in the
                                 * context */
} dw_batch_follows;

typedef struct dw_batch_item {
    dw_context *context; /* in one batch at a time, once */
    dw_step step;        /* its stop ends this item alone */
    dw_status status;    /* out */
    dw_error error;      /* out, where status is not DW_OK: the context is then as it was */
    void *user;          /* the caller's, as the next */
    void *owner;
    dw_batch_follows follows;
    _Atomic bool leaves; /* from any thread: it is to end before its next run, DW_E_CANCELLED */
    /* For places in runs that cannot take all. */
    dw_batch_share *share; /* whose it is; NULL: of those who have none, together */
    uint8_t priority;      /* in that: 0 (the highest) to 2 */
    uint64_t due_ns;       /* by dw_os_clock_ns: when it should be through; 0: no time */

    /* The batch's, from dw_batch_add to dw_batch_take. */
    struct dw_batch_item *next;
    uint64_t turn;   /* in the order in which they wait */
    uint32_t before; /* the context's length when the step began */
    uint32_t done;   /* of the step's tokens */
    uint32_t found;  /* of these, those that others had computed */
    bool followed;   /* another waits for what it computes */
    uint64_t started_ns;
    uint32_t row;  /* until it lands, its row of the run that began ahead, from 1; 0: it has none */
    bool flies;    /* that run is its step's */
    bool leaving;  /* it does not come again */
    bool has_room; /* its log is kept in a step for one that may not come */
} dw_batch_item;

static inline void dw_batch_queue_put(dw_batch_queue *queue, dw_batch_item *item)
{
    item->next = NULL;
    if (queue->first == NULL) {
        queue->first = item;
    } else {
        queue->last->next = item;
    }
    queue->last = item;
}

/* NULL: it is empty. */
static inline dw_batch_item *dw_batch_queue_take(dw_batch_queue *queue)
{
    dw_batch_item *item = queue->first;
    if (item != NULL) {
        queue->first = item->next;
        item->next = NULL;
    }
    return item;
}

/* An item's part of a run: its `token_count` tokens, in a run from `from_ns` on; the batch's counts
 * are as they were before the run. */
typedef void (*dw_batch_part_fn)(void *user, const dw_batch_item *item, uint32_t token_count,
                                 uint64_t from_ns, uint64_t to_ns);

typedef struct dw_batch_limits {
    uint32_t sequences_max; /* in a run; 0, or more than can be: as many as can be */
    uint32_t tokens_max;    /* in a run; 0, or more than can be: as many as can be */
    /* Of prompts in a run that decodes as well, so that decoding goes on while they are computed;
     * 0: tokens_max. */
    uint32_t prompt_tokens_max;
    /* The same by how many tokens are decoded in the run: so many of prompts for each of them, at
     * least DW_BATCH_PROMPT_TOKENS_LEAST; 0: no such limit. A token's wait then grows by a share of
     * what it is without prompts, and many that decode do not keep prompts waiting. */
    uint32_t prompt_tokens_each;
} dw_batch_limits;

#define DW_BATCH_PROMPT_TOKENS_LEAST 32u

/* What the runs so far have been. */
typedef struct dw_batch_stats {
    uint64_t runs;
    uint64_t tokens;
    uint64_t sequences; /* summed over the runs */
    uint64_t most_sequences;
    uint64_t ahead;     /* of the runs: begun before the last one's results were looked at */
    uint64_t device_ns; /* taken by the runs */
    uint64_t parts;     /* of runs that went in parts, those that are not over as well */
    uint64_t from_ns;   /* when the last of the runs began, by dw_os_clock_ns */
} dw_batch_stats;

/* Plain data that holds nothing of its own but `flights` (and the graph of a run under way, which
 * is over before the last item is taken out): items are the caller's, and stay where they are while
 * they are in it. So does the batch while a run is under way. */
typedef struct dw_batch {
    dw_batch_limits limits;
    dw_batch_queue decoding;  /* with one token left */
    dw_batch_queue prompts;   /* with more; each goes to the end after a slice */
    dw_batch_queue parked;    /* deferred until steps of others free memory */
    dw_batch_queue following; /* prompts that begin like one under way, and wait for its records */
    dw_batch_queue finished;
    dw_batch_queue held;              /* until what flies has landed */
    dw_batch_queue left;              /* of dw_batch_leave */
    struct dw_batch_flights *flights; /* NULL: no run begins ahead of the last one's results */
    dw__batch_run long_run;           /* under way in parts, where its step has a graph */
    uint64_t owed_ns; /* taken by tokens alone between its parts, of which it has its turn */
    /* In `decoding`, `prompts` and long_run, and those that fly; with none, no other waits. */
    uint32_t waiting_count;
    dw_batch_share unshared; /* of items that have no share */
    uint64_t turn;           /* of the item that began to wait last */
    uint64_t pass;           /* of the share that had the last place that others wanted */
    bool by_deadline;        /* such places are given by deadlines next */
    bool prompts_turn;       /* where a run has room for one: prompts' or decoding's */
    bool to_end;             /* the last run was left: nobody leaves the next */
    uint64_t run_number;     /* the owner's: of its last run among those of all batches */
    uint64_t token_ns;       /* what a prompt's token took in the last runs; 0: not known yet */
    const dw_stop_others *others; /* the owner's: who else wants runs to be over; NULL: nobody */
    dw_batch_part_fn on_part;     /* the owner's; NULL: nobody looks */
    void *part_user;
    /* The owner's: whether it has freed memory, for a step that lacks it where no other waits; it
     * may take its time. NULL: there is nobody to ask. */
    bool (*relieve)(void *user);
    void *relieve_user;
    dw_batch_stats counts;
    /* By the device's clock, where it tells: between the last run of one dw_batch_run, and the
     * first of the next, it had nothing to do for so long. UINT64_MAX: not known. */
    uint64_t idle_ns;
    uint32_t ended_ns; /* the last run, by that clock; 0: not known */
} dw_batch;

/* `limits` may be NULL: all zero. */
void dw_batch_init(dw_batch *batch, const dw_batch_limits *limits);

/* Let runs begin before the results of the last one are looked at, on devices that go on by
 * themselves (step_flight.h): where all that wait say what follows, and nobody else waits. Then who
 * has been taken, and does not come again at once, has to leave. Errors: DW_E_MEMORY. */
dw_status dw_batch_look_ahead(dw_batch *batch, dw_error *err);
/* Nothing is in it. */
void dw_batch_release(dw_batch *batch);
/* A run flies: it began before the last one's results were looked at, and has not landed. */
bool dw_batch_flies(const dw_batch *batch);
/* Whether anything waits, is under way, or is to be taken. */
bool dw_batch_is_busy(const dw_batch *batch);

/* Call `fn` for whoever waits in it or takes part in what is under way: a share as often as it has
 * items there. Items have shares. */
void dw_batch_each_share(const dw_batch *batch, void (*fn)(void *user, dw_batch_share *share),
                         void *user);

/* Whether a step of `context` can go with those that wait: it has their model, their type of keys
 * and values, adapters that mix with theirs (dw__step_graph_mixes), their rope factors. Anything
 * goes with none. Errors: DW_E_ARG (what differs). */
dw_status dw_batch_admits(const dw_batch *batch, const dw_context *context, dw_error *err);
/* Let the item's step wait, which dw_batch_admits has admitted: context and step are set. One that
 * cannot be run is finished at once; one that lacks memory while others wait begins when some of
 * them are complete, else once `relieve` has freed some. Allocates nothing but for the context's
 * growth. */
void dw_batch_add(dw_batch *batch, dw_batch_item *item);
/* Let the device run once, for as many of those that wait as the limits allow; or a part of a long
 * run; or, while one is under way, for tokens that are alone, as often as its parts take as long.
 * One that fails leaves the others alone; if the device fails, all that took part do. With none
 * waiting: nothing. Allocates nothing once there is a graph of the shape. */
void dw_batch_run(dw_batch *batch);
/* Whether a run is under way. */
static inline bool dw_batch_is_amid(const dw_batch *batch)
{
    return batch->long_run.step.graph != NULL;
}
/* Those that wait and whose stop asks are finished, DW_E_CANCELLED. */
void dw_batch_drop_stopped(dw_batch *batch);
/* Take out one whose step is complete, or failed: item->status says so, with the errors of
 * dw_context_forward. NULL: there is none. */
dw_batch_item *dw_batch_take(dw_batch *batch);

/* Whoever was taken does not come again: dw_batch_take_left gives the item back once the device has
 * let go of its context, which may be at once. NULL: there is none. */
void dw_batch_leave(dw_batch *batch, dw_batch_item *item);
dw_batch_item *dw_batch_take_left(dw_batch *batch);

/* Run all items' steps to their ends, those that can go together in the same runs, as a scheduler
 * has them: also one alone. No context is there twice; items' `user` becomes whatever. Each item
 * has its own status, those of dw_context_forward. */
void dw_batch_forward_all(dw_batch_item *items, uint32_t count);
/* Run all items' steps to their ends. Contexts must be of one model and one kv_type, and their
 * adapters must mix. An item that fails leaves the others alone. Errors: DW_E_ARG (no items,
 * another model or kv_type, adapters that do not, a context twice); else DW_OK, and each item has
 * its own status, those of dw_context_forward. */
dw_status dw_batch_forward(dw_batch_item *items, uint32_t count, dw_error *err);

#endif
