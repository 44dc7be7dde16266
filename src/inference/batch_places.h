/* Who takes part in a run of a batch when more want to than fit: tenants by their weights, in a
 * tenant three priorities (16 to 4 to 1), and in a priority by turns the earliest deadline and who
 * has waited longest. What nobody else wanted costs nothing, and nothing is saved up.
 * Private to src/inference, but for dw_batch_share. Thread: the batch's. */
#ifndef DW_INFERENCE_BATCH_PLACES_H
#define DW_INFERENCE_BATCH_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#define DW_BATCH_PRIORITIES 3

struct dw_batch_item;

/* First in, first out. */
typedef struct dw_batch_queue {
    struct dw_batch_item *first;
    struct dw_batch_item *last;
} dw_batch_queue;

/* A tenant, of any number of batches of one thread; zeroed at first but for the weight. */
typedef struct dw_batch_share {
    uint32_t weight;
    bool listed;                 /* it is among those that places are given to */
    struct dw_batch_share *next; /* of these */
    uint64_t pass;               /* of tokens had, by weight */
    uint64_t class_pass;         /* of the priority that was next last */
    /* The batches' owner's, which chooses whose batch runs next. */
    uint64_t run_pass;            /* of time in runs, by weight */
    uint64_t seen;                /* the choice at which it waited last */
    bool rides;                   /* it waits in the batch that runs */
    struct dw_batch_share *rider; /* the next of these */
    struct {
        dw_batch_queue items;
        uint64_t pass; /* of tokens had, by its part */
    } classes[DW_BATCH_PRIORITIES];
} dw_batch_share;

/* Those of one queue, while places are given. */
typedef struct dw__places {
    dw_batch_share *shares; /* those with items */
    uint64_t *pass;         /* of the share that was next last */
} dw__places;

/* Take all items out of the queue; each has a share. */
void dw__places_open(dw__places *places, dw_batch_queue *queue, uint64_t *pass, bool by_deadline);
/* Who is next; NULL: nobody. It stays. */
struct dw_batch_item *dw__places_next(dw__places *places);
/* Take that one out, which takes part with so many tokens. */
void dw__places_take(dw__places *places, uint32_t tokens);
/* Put the rest back, in the order in which they came. */
void dw__places_close(dw__places *places, dw_batch_queue *queue);

#endif
