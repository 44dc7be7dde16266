/* A pool of models (include/driftwood.h) for who may not block, and knows them by number. */
#ifndef DW_SERVING_POOL_H
#define DW_SERVING_POOL_H

#include "driftwood.h"
#include "model/model.h"

#define DW_POOL_MODELS_MAX 256
#define DW_POOL_NAME_BYTES 256

/* Who waits for a model: the caller's, until on_end. */
typedef struct dw_pool_waiter {
    struct dw_pool_waiter *next;
    /* On the pool's thread, or under dw_pool_want, without its lock; the waiter may be gone
     * afterwards. */
    void (*on_end)(struct dw_pool_waiter *waiter);
    dw_model
        *model; /* taken for the waiter, who calls dw_model_pool_give; NULL: `error` says why */
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_error error;
} dw_pool_waiter;

/* on_end is called once, also on failure, and at once where the model is loaded. */
void dw_pool_want(dw_model_pool *pool, size_t index, dw_pool_waiter *waiter);
/* dw_model_pool_keep, by number. */
void dw_pool_keep(dw_model_pool *pool, size_t index, uint64_t keep_ms);
/* By what tenants are granted a model, before it is loaded. */
typedef struct dw_pool_names {
    char own[DW_POOL_NAME_BYTES];
    dw_model_names names; /* its texts lie in `own`, or in the pool as long as that */
    bool unread;          /* the head of its file could not be read, which is to be tried again:
                             dw_pool_read_names. names.own is NULL */
} dw_pool_names;
/* Reads nothing. */
void dw_pool_names_of(dw_model_pool *pool, size_t index, dw_pool_names *names);
/* Reads the head of the file where that was not done, or failed a second ago. Blocks. */
void dw_pool_read_names(dw_model_pool *pool, size_t index);
/* The model if it is loaded, counted for the caller, who looks at it for a moment and calls
 * dw_model_unref: no use that it is kept for. NULL: it is not. */
dw_model *dw_pool_peek(dw_model_pool *pool, size_t index);
/* The options' chat_template, as long as the pool; or NULL. */
const char *dw_pool_chat_template(const dw_model_pool *pool);
/* dw_model_pool_get_info but for idle_ms, which is 0: no actor is looked at. */
void dw_pool_counts(dw_model_pool *pool, size_t index, dw_model_pool_info *info);
/* A load that is under way, and those that wait for their turn, fail with DW_E_CANCELLED. */
void dw_pool_cancel_loads(dw_model_pool *pool);

#endif
