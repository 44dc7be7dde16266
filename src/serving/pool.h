/* A pool of models (include/driftwood.h) for who may not block, and knows them by number. */
#ifndef DW_SERVING_POOL_H
#define DW_SERVING_POOL_H

#include "driftwood.h"

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
/* A model by its fingerprint, for an actor. */
typedef struct dw_pool_wanted {
    const char *name; /* the actor's, for errors */
    const char *fingerprint;
    /* By the model's own name, before it is loaded ("": its file tells none). NULL: anybody. */
    bool (*may_have)(void *user, const char *own_name);
    void *user;
} dw_pool_wanted;
/* dw_model_pool_find; one that who asks may not have is not found. */
dw_status dw_pool_find_granted(dw_model_pool *pool, const dw_pool_wanted *wanted, dw_model **model,
                               dw_error *err);
/* dw_model_pool_keep, by number. */
void dw_pool_keep(dw_model_pool *pool, size_t index, uint64_t keep_ms);
/* The model's own name (dw_model_info), which it has before it is loaded. false: its file cannot be
 * read, which is tried again when a second has passed. */
bool dw_pool_own_name(dw_model_pool *pool, size_t index, char name[DW_POOL_NAME_BYTES]);
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
