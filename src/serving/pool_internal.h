/* A pool of models, for what works on it. Private to src/serving. */
#ifndef DW_SERVING_POOL_INTERNAL_H
#define DW_SERVING_POOL_INTERNAL_H

#include <pthread.h>

#include "serving/pool.h"

typedef struct dw__pool_entry {
    dw_model_pool *pool;
    char *name;
    char *path;
    char *own_name;   /* the model's, by the head of its file; NULL: that cannot be read */
    uint64_t read_ns; /* when that was tried last */
    bool reading;     /* it is being tried, without the lock */
    bool named;
    bool mixed;      /* it gets adapters (dw_model_pool_options.has_adapters) */
    dw_model *model; /* counted; NULL: it is not loaded */
    dw_model_state state;
    uint64_t turn; /* its place among those that are to be loaded; 0: it is none of them */
    dw_pool_waiter *first;
    dw_pool_waiter *last;
    uint64_t users;
    uint64_t used_ns;
    uint64_t keep_ns; /* UINT64_MAX: it stays */
    uint64_t retry_ns;
    uint64_t round; /* in which it could not go */
    uint64_t done;  /* of `total` */
    uint64_t total;
    uint64_t bytes;
    uint64_t adapter_bytes; /* beside those; the thread's own */
    bool known;
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_model_info info;
    uint64_t loads;
    uint64_t unloads;
    uint64_t failures;
    dw_error error;
} dw__pool_entry;

struct dw_model_pool {
    dw_engine *engine;
    dw_model_pool_options options;
    pthread_t thread;
    bool has_thread;
    uint64_t round;       /* the thread's: of making room */
    pthread_mutex_t lock; /* guards what follows, and entries but for what their load reads */
    pthread_cond_t wanted;
    pthread_cond_t read; /* a file's head was, or was not to be */
    dw_runtime *runtime; /* NULL: none */
    bool stops;
    bool cancels; /* the load under way, and all that wait */
    bool woken;   /* since the thread began to look, which gives the lock back in between */
    uint64_t turns;
    dw__pool_entry *entries[DW_POOL_MODELS_MAX]; /* [count] */
    size_t count;
};

static inline void dw__pool_lock(dw_model_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
}

static inline void dw__pool_unlock(dw_model_pool *pool)
{
    (void)pthread_mutex_unlock(&pool->lock);
}

/* The one of that file; one that is new is added. Without the lock, as the next. Errors:
 * DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__pool_reach_path(dw_model_pool *pool, const char *path, dw__pool_entry **found,
                              dw_error *err);
/* dw_model_pool_take, of an entry. */
dw_status dw__pool_take(dw__pool_entry *e, dw_model **model, dw_error *err);
/* One user less; with the lock. The thread does not look at what is in use: it looks now when it is
 * to go. */
void dw__pool_leave_to_thread(dw__pool_entry *e);
/* NULL: none is called so; with the lock. */
dw__pool_entry *dw__pool_find_named(const dw_model_pool *pool, const char *name);
/* Another named entry is called so, which the name then grants; with the lock. */
bool dw__pool_is_anothers(const dw__pool_entry *e, const char *name);

#endif
