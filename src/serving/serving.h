/* What the files of the server share. */
#ifndef DW_SERVING_SERVING_H
#define DW_SERVING_SERVING_H

#include <jansson.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/stop.h"
#include "driftwood.h"
#include "http/http.h"
#include "http/origin.h"
#include "http/text.h"
#include "serving/index.h"
#include "serving/keys.h"
#include "serving/pool.h"

#define DW_SCOPE_BYTES 192
#define DW_IDLE_MAX 64

typedef struct dw_task dw_task;
struct dw_host;
struct dw_metrics;

typedef struct dw_named_model dw_named_model;

/* Who waits for a model, and then has it. The loop's thread, but for `pool`. */
typedef struct dw_model_waiter {
    dw_pool_waiter pool; /* first */
    struct dw_model_waiter *next;
    dw_named_model *named;
    pthread_t asker;
    bool ended;
    /* It is loaded, or `status` and `error` say why not. */
    void (*on_model)(struct dw_model_waiter *waiter);
    void *owner;
    dw_model *model;            /* the waiter's until dw_models_give; NULL: it is not loaded */
    char scope[DW_SCOPE_BYTES]; /* what its conversations are kept apart by */
    dw_status status;
    dw_error error;
} dw_model_waiter;
typedef struct dw_links dw_links;

/* An actor that has nothing to do, for texts that are no chats. */
typedef struct dw_idle_actor {
    char actor[DW_ACTOR_ID_CHARS + 1];
    char tenant[DW_TENANT_NAME_MAX + 1];
} dw_idle_actor;

/* A model under the name that clients call it by. The loop's thread. */
struct dw_named_model {
    dw_server *server;
    size_t index; /* in the pool */
    const char *name;
    struct dw_profile
        *profile; /* of its file, as that was; NULL: not read. profile_lock, and next */
    struct stat profile_file;
    struct stat profile_failed_file; /* the same, of the last that could not be read */
    uint64_t profile_failed_ns;      /* when; 0: none */
    dw_error profile_error;          /* why */
    dw_idle_actor idle[DW_IDLE_MAX]; /* [idle_count] */
    size_t idle_count;
    uv_work_t names_work; /* the head of its file is read for its name, if reads_names */
    bool reads_names;
};

struct dw_server {
    dw_runtime *runtime;
    dw_model_pool *pool;
    dw_call_fn on_call; /* actors' tools; NULL: none */
    void *user;
    dw_module *conversation;
    dw_instance_options instance; /* what conversations are made with, but for models */
    dw_limits limits;
    bool has_limits;
    uint64_t conversations_max;
    dw_keys *keys;              /* NULL: anybody may ask */
    struct dw_archive *archive; /* NULL: there is no folder; nothing is kept by its id */
    uint64_t responses_max;
    uint32_t heartbeat_ms;
    dw_origins origins;
    dw_links *links;
    dw_index *index; /* NULL: there is no folder; conversations end with their requests */
    uv_loop_t loop;
    uv_async_t wake;     /* it is to stop */
    dw_waker news;       /* of actors' answers: woken for the first of `ready` */
    uv_poll_t news_poll; /* that waits for it, if news_open */
    bool news_open;
    uv_timer_t look_timer; /* until what has just come is looked at */
    uint64_t looked_ns;    /* when something last was */
    uv_timer_t patience;   /* for what is under way when the server leaves */
    uv_check_t idle_check; /* whether it can leave, behind each round of the loop */
    uv_timer_t idle_timer; /* so that there are rounds */
    dw_http *http;
    dw_http *own_http; /* where the user himself is answered; NULL: nowhere */
    struct dw_metrics *metrics;
    struct dw_host *host; /* actors over HTTP */
    dw_status (*find_guest)(void *user, const char *name, dw_module **module, dw_error *err);
    char *folder; /* the state folder; NULL: there is none */
    uint64_t snapshot_bytes_max;
    dw_named_model *models; /* [model_count] */
    size_t model_count;
    size_t waiting; /* for models */
    dw_task *tasks; /* under way */
    size_t task_count;
    size_t log_bytes;         /* of events that they keep */
    struct dw_reply *replies; /* under way, or kept for clients that come back */
    uint64_t requests;        /* so far */
    uint64_t started_s;       /* since 1970 */
    bool leaving;
    pthread_mutex_t profile_lock; /* held while one is read */
    _Atomic bool stops;           /* dw_server_stop was called */
    pthread_mutex_t lock;         /* guards the next two */
    dw_task *ready;               /* tasks with news */
    dw_model_waiter *loaded;      /* who waited for a model, and has it, or not */
};

/* ---- models.c ---- */

/* Those of the pool that have names. Errors: DW_E_ARG (none has), DW_E_MEMORY. */
dw_status dw_models_create(dw_server *server, dw_model_pool *pool, dw_error *err);
void dw_models_destroy(dw_server *server);
/* Of those that the tenant (NULL: who sees all of them) was granted; what others there are is not
 * his to know. NULL: there is none. `name` NULL or "": the first. Any thread. */
dw_named_model *dw_models_find(dw_server *server, const char *tenant, const char *name);
/* The tenant for whom models are shown; NULL: the user himself sees all. */
const char *dw_models_seer(const dw_server *server, const dw_exchange *exchange);
/* The next of them from *at on, which begins as 0; NULL: no more. */
dw_named_model *dw_models_next(dw_server *server, const char *tenant, size_t *at);
#define DW_MODELS_MISSING_BYTES 160
/* What clients are told where there is none of that name (NULL or "": none at all) -> what, which
 * is returned. */
const char *dw_models_missing(const char *name, char what[DW_MODELS_MISSING_BYTES]);
/* The same for who may be the user himself: he sees all, but is served as the tenant "", and told
 * of one that there is what its manifest lacks. */
const char *dw_models_refusal(dw_server *server, bool own_user, const char *name,
                              char what[DW_MODELS_MISSING_BYTES]);
/* What the pool tells of it. */
void dw_models_info(const dw_named_model *named, dw_model_pool_info *info);
/* Of its load: 0 unloaded, 1 loaded. */
double dw_models_fraction(const dw_model_pool_info *info);
/* Whether who asks may say when models come and go: where anybody may ask, or the user himself. */
bool dw_models_may_command(const dw_server *server, const dw_exchange *exchange);
/* Of a load that failed, for others than the user himself: without the file that it failed over,
 * and the models that leave it no room, which /v1/models tells him. */
void dw_models_hide_others(dw_error *error, const char *name);
/* The waiter, of which on_model and owner are set, is told once it is loaded, off the loop: at once
 * where it is. It has the model until dw_models_give, and it is not unloaded before. */
void dw_models_want(dw_named_model *model, dw_model_waiter *waiter);
void dw_models_give(dw_model_waiter *waiter);
/* For the server: a model came for one of them. */
void dw_models_look(dw_server *server);

/* ---- errors, keys ---- */

/* Whose the request is; not NULL once it is routed. */
const char *dw_tenant_of(const dw_server *server, const dw_exchange *exchange);
/* An error in OpenAI's shape; `param` and `code` may be NULL. */
void dw_openai_fail(dw_exchange *exchange, int status, const char *param, const char *code,
                    const char *what);
size_t dw_openai_error_text(int status, const char *param, const char *code, const char *what,
                            char *text, size_t capacity);
int dw_http_status(dw_status status);

#endif
