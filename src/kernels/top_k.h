/* The likeliest tokens of a row of logits, found where the logits are, so that the row itself need
 * not be brought to where the choice is made. */
#ifndef DW_KERNELS_TOP_K_H
#define DW_KERNELS_TOP_K_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than the top-k that people use; what needs more takes the whole row. */
#define DW_TOP_K_MAX 128u

typedef struct dw_top_k_entry {
    float logit;
    int32_t token;
} dw_top_k_entry;

typedef struct dw_top_k {
    double total;       /* sum over the row of exp(logit - largest) */
    float largest;      /* of the row; minus infinity where nothing is finite or above */
    uint32_t nan_count; /* NaN among the row's logits: the rest is then of no use */
    uint32_t count;     /* of the list: what was asked for, or the row's length */
    uint32_t began_ns;  /* by the device's clock, where a device found it: when the run began, */
    uint32_t ended_ns;  /* and when this was done; both modulo 2^32 */
    uint32_t unused;
    dw_top_k_entry list[DW_TOP_K_MAX]; /* the largest first, of equals the lower token first */
} dw_top_k;

/* Of one whose list holds `count`: what a device makes, so that no more goes to and fro. */
#define DW_TOP_K_BYTES(count) (offsetof(dw_top_k, list) + (count) * sizeof(dw_top_k_entry))

/* The DW_TOP_K_MAX likeliest of logits [vocab_count]; without the total where it is not
 * needed. What a device finds is the same, but for the rounding of its total. */
void dw_top_k_find(dw_top_k *out, const float *logits, uint32_t vocab_count, bool with_total);

#endif
