/* Rows of logits that a context keeps: of the last tokens whose logits were computed, each with the
 * length that the context had behind its token. Who goes back to such a length, or takes a fork
 * there, has the row again. A fork shares its parent's rows, which nobody writes to any more.
 * Private to src/inference. Thread: the context's; rows are counted atomically. */
#ifndef DW_INFERENCE_KEPT_ROWS_H
#define DW_INFERENCE_KEPT_ROWS_H

#include "base/status.h"

struct dw__kept_row;

typedef struct dw__kept_entry {
    uint32_t length;          /* the context's, its token being the last */
    struct dw__kept_row *row; /* counted */
} dw__kept_entry;

typedef struct dw__kept_rows {
    uint32_t vocab_count;
    uint32_t max;
    uint32_t count;              /* lengths ascend; of a step under way there may be `max` more */
    uint32_t spare_count;        /* rows of nobody's, to be written */
    dw__kept_entry *list;        /* [2 * max] */
    struct dw__kept_row **spare; /* [2 * max] */
} dw__kept_rows;

/* Room for `max` rows, at least 1, and none of them. Errors: DW_E_MEMORY. */
dw_status dw__kept_rows_create(dw__kept_rows **out, uint32_t vocab_count, uint32_t max,
                               dw_error *err);
/* NULL is fine, here and below: nothing is kept. */
void dw__kept_rows_destroy(dw__kept_rows *kept);
/* The parent's rows, counted once more; of NULL, NULL. Errors: DW_E_MEMORY. */
dw_status dw__kept_rows_fork(dw__kept_rows **out, const dw__kept_rows *parent, dw_error *err);
/* Before a step with `rows` rows: so many can be written, charged to whom `kept` is.
 * Errors: DW_E_MEMORY. */
dw_status dw__kept_rows_reserve(dw__kept_rows *kept, uint32_t rows, dw_error *err);
/* To an empty one, the newest rows of another, as many as it takes. */
void dw__kept_rows_move(dw__kept_rows *kept, dw__kept_rows *from);
/* Where the row of `length`, which is beyond all others, goes: [vocab_count], for the caller to
 * write at once. One was reserved. */
float *dw__kept_rows_add(dw__kept_rows *kept, uint32_t length);
/* The step is through: the oldest go that are more than `max`. */
void dw__kept_rows_settle(dw__kept_rows *kept);
/* None of a length beyond `length`. */
void dw__kept_rows_trim(dw__kept_rows *kept, uint32_t length);
/* The row of `length`, until the next step or trim; NULL: there is none. */
const float *dw__kept_rows_at(const dw__kept_rows *kept, uint32_t length);
/* Row `index` below `count`. */
const float *dw__kept_row_values(const dw__kept_rows *kept, uint32_t index);

#endif
