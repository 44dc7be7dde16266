/* Models that come and go. One thread loads and unloads them, one after the other; whoever wants
 * one waits for it, or is called back. A model goes when nobody but the pool counts it: the pool
 * alone gives out new references, under its lock, so that a count of one stays one. */
#include "serving/pool_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "base/utf8.h"
#include "serving/pool_bytes.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
/* For actors to be written and to leave; and for what counts the model for a moment. */
#define LEAVE_NS (30 * SECOND)
#define COUNTED_NS (2 * SECOND)
/* A model that could not go is tried again so much later. */
#define AGAIN_NS SECOND

/* The thread looks at everything anew; with the lock. */
static void wake(dw_model_pool *pool)
{
    pool->woken = true;
    (void)pthread_cond_signal(&pool->wanted);
}

static uint64_t default_keep(const dw_model_pool *pool)
{
    uint64_t ms = pool->options.idle_ms;
    return ms != 0 && ms < UINT64_MAX / MS ? ms * MS : UINT64_MAX;
}

/* What it is called to those who asked for another: where a file lies is not theirs to know. */
static const char *called(const dw__pool_entry *e)
{
    const char *slash = strrchr(e->name, '/');
    return e->named || slash == NULL ? e->name : slash + 1;
}

static void tell_change(const dw__pool_entry *e, dw_model_state state, const dw_error *error)
{
    const dw_model_pool_options *options = &e->pool->options;
    if (options->on_change != NULL) {
        options->on_change(options->user, e->name, state, error);
    }
}

/* ---- unloading ------------------------------------------------------------------------------ */

/* Who has it: with the pool's lock or without. false: the runtime is being closed. */
static bool ask_use(dw_runtime *runtime, const dw_model *model, bool parks,
                    dw_runtime_model_use *use)
{
    *use = (dw_runtime_model_use){.struct_bytes = sizeof *use, .idle_ms = UINT64_MAX};
    if (runtime == NULL) {
        return true;
    }
    return (parks ? dw_runtime_park_model(runtime, model, use, NULL)
                  : dw_runtime_get_model_use(runtime, model, use, NULL)) == DW_OK;
}

/* With the lock: the model, whose last count is the caller's, if nobody else has it. */
static dw_model *take_alone(dw__pool_entry *e)
{
    dw_model *model = e->model;
    if (e->users > 0 || model == NULL || dw_model_references(model) != 1) {
        return NULL;
    }
    e->model = NULL;
    e->state = DW_MODEL_UNLOADED;
    e->keep_ns = default_keep(e->pool);
    e->unloads++;
    return model;
}

/* Whether it went. On the pool's thread, without the lock. */
static bool let_go(dw__pool_entry *e)
{
    dw_model_pool *pool = e->pool;
    const struct timespec pause = {.tv_nsec = (long)(5 * MS)};
    uint64_t until_ns = dw_os_clock_ns() + LEAVE_NS;
    bool alone = false;
    do {
        dw_runtime_model_use use;
        dw__pool_lock(pool);
        bool used = e->users > 0 || pool->stops;
        dw_runtime *runtime = pool->runtime;
        dw__pool_unlock(pool);
        if (used || !ask_use(runtime, e->model, true, &use) || use.working > 0) {
            return false;
        }
        if (use.resting + use.leaving == 0) {
            if (runtime == NULL) {
                dw_engine_forget_prefixes(pool->engine, e->model);
            }
            dw__pool_lock(pool);
            dw_model *model = take_alone(e);
            dw__pool_unlock(pool);
            if (model != NULL) {
                dw_model_unref(model);
                tell_change(e, DW_MODEL_UNLOADED, NULL);
                return true;
            }
            if (!alone) {
                until_ns = dw_os_clock_ns() + COUNTED_NS;
                alone = true;
            }
        }
        (void)nanosleep(&pause, NULL);
    } while (dw_os_clock_ns() < until_ns);
    return false;
}

/* When it was used last, by whomever; UINT64_MAX: it is in use. With the lock. */
static uint64_t last_use(const dw__pool_entry *e, uint64_t now_ns)
{
    dw_runtime_model_use use;
    if (e->users > 0 || !ask_use(e->pool->runtime, e->model, false, &use) || use.working > 0) {
        return UINT64_MAX;
    }
    uint64_t idle_ns = use.idle_ms < now_ns / MS ? use.idle_ms * MS : now_ns;
    return now_ns - idle_ns > e->used_ns ? now_ns - idle_ns : e->used_ns;
}

/* The one that was used longest ago goes. false: none can. */
static bool unload_oldest(dw_model_pool *pool)
{
    for (;;) {
        dw__pool_entry *oldest = NULL;
        uint64_t oldest_ns = UINT64_MAX;
        dw__pool_lock(pool);
        uint64_t now_ns = dw_os_clock_ns();
        for (size_t i = 0; i < pool->count; i++) {
            dw__pool_entry *e = pool->entries[i];
            uint64_t used_ns =
                e->model != NULL && e->round != pool->round ? last_use(e, now_ns) : UINT64_MAX;
            if (used_ns < oldest_ns) {
                oldest = e;
                oldest_ns = used_ns;
            }
        }
        if (oldest != NULL) {
            oldest->round = pool->round;
        }
        dw__pool_unlock(pool);
        if (oldest == NULL || let_go(oldest)) {
            return oldest != NULL;
        }
    }
}

/* Those that have had no use for as long as they are kept go; when it is next to be looked. With
 * the lock, which it gives back meanwhile. */
static uint64_t unload_idle(dw_model_pool *pool)
{
    uint64_t due_ns = UINT64_MAX;
    for (size_t i = 0; i < pool->count; i++) {
        dw__pool_entry *e = pool->entries[i];
        uint64_t now_ns = dw_os_clock_ns();
        if (e->model == NULL || e->keep_ns == UINT64_MAX || e->users > 0) {
            continue; /* who gives it back has it looked at */
        }
        uint64_t own_ns = e->used_ns + e->keep_ns;
        own_ns = own_ns > e->retry_ns ? own_ns : e->retry_ns;
        if (own_ns <= now_ns) {
            uint64_t used_ns = last_use(e, now_ns);
            e->used_ns = used_ns == UINT64_MAX ? now_ns : used_ns;
            own_ns = used_ns == UINT64_MAX ? now_ns + e->keep_ns : used_ns + e->keep_ns;
        }
        if (own_ns <= now_ns) {
            dw__pool_unlock(pool);
            bool went = let_go(e);
            dw__pool_lock(pool);
            e->retry_ns = went ? 0 : dw_os_clock_ns() + AGAIN_NS;
            own_ns = went ? UINT64_MAX : e->retry_ns;
        }
        own_ns = own_ns < now_ns + 50 * MS ? now_ns + 50 * MS : own_ns;
        due_ns = own_ns < due_ns ? own_ns : due_ns;
    }
    return due_ns;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* The names of those that are loaded, as far as there is room, and how many have none. */
static void list_loaded(const dw_model_pool *pool, char *text, size_t capacity)
{
    size_t at = 0;
    size_t nameless = 0;
    text[0] = '\0';
    for (size_t i = 0; i < pool->count; i++) {
        const dw__pool_entry *e = pool->entries[i];
        nameless += e->model != NULL && !e->named;
        if (e->model != NULL && e->named && at < capacity) {
            int length = snprintf(text + at, capacity - at, "%s%.40s", at > 0 ? ", " : "", e->name);
            at += length > 0 ? (size_t)length : 0;
        }
    }
    if (nameless > 0 && at < capacity) {
        (void)snprintf(text + at, capacity - at, "%s%zu without a name", at > 0 ? ", " : "",
                       nameless);
    }
}

static uint64_t loaded_bytes(const dw_model_pool *pool)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pool->count; i++) {
        const dw__pool_entry *e = pool->entries[i];
        bytes += e->model != NULL ? e->bytes + e->adapter_bytes : 0;
    }
    return bytes;
}

/* So that it fits beside those that stay. */
static dw_status make_room(dw__pool_entry *e, dw_error *err)
{
    dw_model_pool *pool = e->pool;
    uint64_t limit = pool->options.bytes_max;
    if (limit == 0) {
        return DW_OK;
    }
    const uint64_t own = e->bytes + e->adapter_bytes;
    if (own > limit) {
        return dw_fail(err, DW_E_MEMORY,
                       "model '%.80s': %llu bytes of weights%s, the limit of all models is %llu",
                       called(e), (unsigned long long)own,
                       e->adapter_bytes > 0 ? " and adapters" : "", (unsigned long long)limit);
    }
    for (;;) {
        char loaded[120];
        dw__pool_lock(pool);
        uint64_t bytes = loaded_bytes(pool);
        list_loaded(pool, loaded, sizeof loaded);
        dw__pool_unlock(pool);
        if (bytes + own <= limit) {
            return DW_OK;
        }
        if (!unload_oldest(pool)) {
            return dw_fail(err, DW_E_BUSY,
                           "model '%.60s' has no room: it has %llu bytes, %llu of at most %llu are "
                           "loaded and in use (%s)",
                           called(e), (unsigned long long)own, (unsigned long long)bytes,
                           (unsigned long long)limit, loaded);
        }
    }
}

/* `done` of `total` of the first or second half of its load. */
static bool go_on(dw__pool_entry *e, unsigned half, uint64_t done, uint64_t total)
{
    dw__pool_lock(e->pool);
    double part = total > 0 ? (double)done / (double)total : 1;
    e->done = half * (e->total / 2) + (uint64_t)(part * (double)(e->total / 2));
    bool goes_on = !e->pool->stops && !e->pool->cancels;
    dw__pool_unlock(e->pool);
    return goes_on;
}

static bool on_upload(void *user, uint64_t done, uint64_t total)
{
    return go_on(user, 0, done, total);
}

static bool on_fingerprint(void *user, uint64_t done, uint64_t total)
{
    return go_on(user, 1, done, total);
}

/* With what its owner adds to it, in the place of what a try before has left. */
static dw_status open_model(dw__pool_entry *e, const dw_model_options *how, dw_model **model,
                            dw_error *err)
{
    const dw_model_pool_options *options = &e->pool->options;
    dw_model_unref(*model);
    *model = NULL;
    dw_status status = dw_model_open_with(model, e->pool->engine, e->path, how, err);
    if (status == DW_OK && e->named) {
        status = dw_model_set_served_name(*model, e->name, err);
    }
    return status == DW_OK && options->on_load != NULL
               ? options->on_load(options->user, e->named ? e->name : NULL, *model, err)
               : status;
}

static dw_status load_model(dw__pool_entry *e, dw_model **model,
                            char fingerprint[DW_FINGERPRINT_BYTES], dw_error *err)
{
    const dw_model_pool_options *options = &e->pool->options;
    const dw_model_options how = {.struct_bytes = sizeof how,
                                  .on_upload = on_upload,
                                  .user = e,
                                  .fingerprint_folder = options->fingerprint_folder,
                                  .on_fingerprint = on_fingerprint,
                                  .fingerprint_user = e,
                                  .chat_template = options->chat_template};
    uint64_t bytes = dw__pool_weight_bytes(e->path, NULL, err);
    e->pool->round++;
    dw__pool_lock(e->pool);
    e->bytes = bytes;
    e->adapter_bytes = 0;
    dw__pool_unlock(e->pool);
    dw_status status = bytes > 0 ? make_room(e, err) : DW_OK; /* else opening it says why */
    dw__pool_lock(e->pool);
    e->total = 2 * (bytes > 0 ? bytes : 1);
    dw__pool_unlock(e->pool);
    if (status == DW_OK) {
        do {
            status = open_model(e, &how, model, err);
        } while (status == DW_E_MEMORY && unload_oldest(e->pool));
    }
    if (status == DW_OK) {
        e->adapter_bytes = dw__pool_adapter_bytes(*model);
        status = make_room(e, err); /* again, now that it is known how large these are */
    }
    if (status == DW_OK) {
        (void)go_on(e, 1, 0, 1);
        status = dw_model_fingerprint(*model, fingerprint, err);
    }
    if (status != DW_OK) {
        dw_model_unref(*model);
        *model = NULL;
    }
    return status;
}

/* With the lock: one more user. */
static dw_model *lend(dw__pool_entry *e)
{
    e->users++;
    e->used_ns = dw_os_clock_ns();
    return dw_model_ref(e->model);
}

/* All that wait for it are told; with the lock, which it gives back meanwhile. */
static void tell_waiters(dw__pool_entry *e, const dw_error *error)
{
    dw_pool_waiter *waiter = e->first;
    e->first = e->last = NULL;
    for (dw_pool_waiter *w = waiter; w != NULL; w = w->next) {
        w->error = *error;
        if (e->model != NULL) {
            w->model = lend(e);
            memcpy(w->fingerprint, e->fingerprint, sizeof w->fingerprint);
        }
    }
    dw__pool_unlock(e->pool);
    while (waiter != NULL) {
        dw_pool_waiter *next = waiter->next;
        waiter->on_end(waiter);
        waiter = next;
    }
    dw__pool_lock(e->pool);
}

/* With the lock, which it gives back meanwhile. */
static void load(dw__pool_entry *e)
{
    dw_model_pool *pool = e->pool;
    dw_model *model = NULL;
    dw_error error = {.code = DW_OK};
    char fingerprint[DW_FINGERPRINT_BYTES] = "";
    e->turn = 0;
    e->done = e->total = 0;
    bool cancelled = pool->cancels;
    dw__pool_unlock(pool);
    dw_status status =
        cancelled ? dw_fail(&error, DW_E_CANCELLED, "%s: its load was cancelled", called(e))
                  : load_model(e, &model, fingerprint, &error);
    error.code = status;
    dw__pool_lock(pool);
    e->model = model;
    e->state = status == DW_OK ? DW_MODEL_LOADED : DW_MODEL_UNLOADED;
    e->error = error;
    e->failures += status != DW_OK;
    e->loads += status == DW_OK;
    if (status == DW_OK) {
        e->info = (dw_model_info){.struct_bytes = sizeof e->info};
        (void)dw_model_get_info(model, &e->info);
        char *own_name = dw_strdup(e->info.name);
        if (own_name != NULL) { /* the file may be another since */
            dw_free(e->own_name);
            e->own_name = own_name;
        }
        if (dw__pool_is_anothers(e, e->info.name)) {
            dw_model_hide_own_name(model);
        }
        e->info.name = NULL;
        e->bytes = e->info.weights_bytes;
        e->known = true;
        e->used_ns = dw_os_clock_ns();
        memcpy(e->fingerprint, fingerprint, sizeof e->fingerprint);
    }
    tell_waiters(e, &error);
    dw__pool_unlock(pool);
    tell_change(e, status == DW_OK ? DW_MODEL_LOADED : DW_MODEL_UNLOADED, &error);
    dw__pool_lock(pool);
}

/* Whose turn it is; with the lock. */
static dw__pool_entry *next_wanted(const dw_model_pool *pool)
{
    dw__pool_entry *next = NULL;
    for (size_t i = 0; i < pool->count; i++) {
        dw__pool_entry *e = pool->entries[i];
        next = e->turn != 0 && (next == NULL || e->turn < next->turn) ? e : next;
    }
    return next;
}

static void *run(void *arg)
{
    dw_model_pool *pool = arg;
    dw__pool_lock(pool);
    while (!pool->stops) {
        dw__pool_entry *e = next_wanted(pool);
        if (e != NULL) {
            load(e);
            continue;
        }
        pool->cancels = false;
        pool->woken = false;
        uint64_t due_ns = unload_idle(pool);
        if (!pool->woken) {
            (void)(due_ns == UINT64_MAX
                       ? pthread_cond_wait(&pool->wanted, &pool->lock) == 0
                       : dw_os_cond_wait_until(&pool->wanted, &pool->lock, due_ns));
        }
    }
    const dw_error error = {.code = DW_E_STATE, .message = "no model is loaded any more"};
    for (size_t i = 0; i < pool->count; i++) {
        pool->entries[i]->turn = 0;
        tell_waiters(pool->entries[i], &error);
    }
    dw__pool_unlock(pool);
    return NULL;
}

/* ---- for who wants one ---------------------------------------------------------------------- */

/* With the lock; what is to be told at once is in the waiter: true. */
static bool begin_want(dw__pool_entry *e, dw_pool_waiter *waiter)
{
    dw_model_pool *pool = e->pool;
    waiter->next = NULL;
    waiter->model = NULL;
    waiter->error = (dw_error){.code = DW_OK};
    if (e->model != NULL) {
        waiter->model = lend(e);
        memcpy(waiter->fingerprint, e->fingerprint, sizeof waiter->fingerprint);
        return true;
    }
    if (pool->stops) {
        (void)dw_fail(&waiter->error, DW_E_STATE, "no model is loaded any more");
        return true;
    }
    *(e->last != NULL ? &e->last->next : &e->first) = waiter;
    e->last = waiter;
    if (e->state == DW_MODEL_UNLOADED) {
        e->state = DW_MODEL_LOADING;
        e->done = e->total = 0;
        e->turn = ++pool->turns;
        wake(pool);
    }
    return false;
}

void dw_pool_want(dw_model_pool *pool, size_t index, dw_pool_waiter *waiter)
{
    dw__pool_lock(pool);
    bool ended = begin_want(pool->entries[index], waiter);
    dw__pool_unlock(pool);
    if (ended) {
        waiter->on_end(waiter);
    }
}

typedef struct blocked {
    dw_pool_waiter waiter;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
} blocked;

static void on_blocked_end(dw_pool_waiter *waiter)
{
    blocked *b = (blocked *)(void *)waiter;
    (void)pthread_mutex_lock(&b->lock);
    b->ended = true;
    (void)pthread_cond_signal(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
}

dw_status dw__pool_take(dw__pool_entry *e, dw_model **model, dw_error *err)
{
    blocked b = {.waiter.on_end = on_blocked_end};
    (void)pthread_mutex_init(&b.lock, NULL);
    (void)pthread_cond_init(&b.changed, NULL);
    dw__pool_lock(e->pool);
    b.ended = begin_want(e, &b.waiter);
    dw__pool_unlock(e->pool);
    (void)pthread_mutex_lock(&b.lock);
    while (!b.ended) {
        (void)pthread_cond_wait(&b.changed, &b.lock);
    }
    (void)pthread_mutex_unlock(&b.lock);
    (void)pthread_cond_destroy(&b.changed);
    (void)pthread_mutex_destroy(&b.lock);
    *model = b.waiter.model;
    return b.waiter.error.code == DW_OK
               ? DW_OK
               : dw_fail(err, b.waiter.error.code, "%s", b.waiter.error.message);
}

/* With the lock. */
static dw_status add(dw_model_pool *pool, const char *name, const char *path,
                     dw__pool_entry **added, dw_error *err)
{
    if (pool->count == DW_POOL_MODELS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "models: %zu, which is the limit", pool->count);
    }
    dw__pool_entry *e = dw_alloc(1, sizeof *e);
    if (e != NULL) {
        e->pool = pool;
        e->name = dw_strdup(name);
        e->path = dw_strdup(path);
        e->keep_ns = default_keep(pool);
    }
    if (e == NULL || e->name == NULL || e->path == NULL) {
        dw_free(e != NULL ? e->name : NULL);
        dw_free(e != NULL ? e->path : NULL);
        dw_free(e);
        return dw_fail(err, DW_E_MEMORY, "no memory for a model's name");
    }
    pool->entries[pool->count++] = *added = e;
    return DW_OK;
}

dw__pool_entry *dw__pool_find_named(const dw_model_pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->entries[i]->named && strcmp(pool->entries[i]->name, name) == 0) {
            return pool->entries[i];
        }
    }
    return NULL;
}

dw_status dw__pool_reach_path(dw_model_pool *pool, const char *path, dw__pool_entry **found,
                              dw_error *err)
{
    dw_status status = DW_OK;
    *found = NULL;
    dw__pool_lock(pool);
    for (size_t i = 0; i < pool->count && *found == NULL; i++) {
        *found = strcmp(pool->entries[i]->path, path) == 0 ? pool->entries[i] : NULL;
    }
    if (*found == NULL) {
        status = add(pool, path, path, found, err);
    }
    dw__pool_unlock(pool);
    return status;
}

dw_status dw_model_pool_take(dw_model_pool *pool, const char *name, dw_model **model, dw_error *err)
{
    *model = NULL;
    dw__pool_lock(pool);
    dw__pool_entry *e = dw__pool_find_named(pool, name);
    dw__pool_unlock(pool);
    dw_status status = DW_OK;
    if (e == NULL && name[0] == '/') {
        status = dw__pool_reach_path(pool, name, &e, err);
    } else if (e == NULL) {
        status = dw_fail(err, DW_E_NOT_FOUND, "The model '%.100s' does not exist", name);
    }
    return status == DW_OK ? dw__pool_take(e, model, err) : status;
}

static dw__pool_entry *find_model(const dw_model_pool *pool, const dw_model *model)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->entries[i]->model == model) {
            return pool->entries[i];
        }
    }
    return NULL;
}

void dw__pool_leave_to_thread(dw__pool_entry *e)
{
    e->users--;
    if (e->users == 0 && e->keep_ns != UINT64_MAX) {
        wake(e->pool);
    }
}

void dw_model_pool_give(dw_model_pool *pool, dw_model *model)
{
    if (model == NULL) {
        return;
    }
    dw__pool_lock(pool);
    dw__pool_entry *e = find_model(pool, model);
    if (e != NULL) {
        e->used_ns = dw_os_clock_ns();
        dw__pool_leave_to_thread(e);
    }
    dw__pool_unlock(pool);
    dw_model_unref(model);
}

/* ---- settings and what is told -------------------------------------------------------------- */

/* Of models that are there already; with the lock. */
static void hide_own_names(const dw_model_pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        const dw__pool_entry *e = pool->entries[i];
        if (e->model != NULL && e->own_name != NULL && dw__pool_is_anothers(e, e->own_name)) {
            dw_model_hide_own_name(e->model);
        }
    }
}

dw_status dw_model_pool_add(dw_model_pool *pool, const char *name, const char *path, dw_error *err)
{
    dw__pool_entry *e = NULL;
    if (!dw_text_is_name(name)) {
        return dw_fail(err, DW_E_ARG,
                       "model '%.80s': a name is UTF-8 without characters below a space", name);
    }
    dw__pool_lock(pool);
    dw_status status = dw__pool_find_named(pool, name) == NULL
                           ? add(pool, name, path, &e, err)
                           : dw_fail(err, DW_E_STATE, "two models are called '%.80s'", name);
    if (status == DW_OK) {
        const dw_model_pool_options *options = &pool->options;
        e->named = true;
        e->mixed = options->has_adapters != NULL && options->has_adapters(options->user, name);
        e->bytes = dw__pool_weight_bytes(path, &e->own_name, NULL);
        e->read_ns = dw_os_clock_ns();
        hide_own_names(pool);
    }
    dw__pool_unlock(pool);
    return status;
}

static void keep(dw__pool_entry *e, uint64_t keep_ms)
{
    e->keep_ns = keep_ms < UINT64_MAX / 4 / MS ? keep_ms * MS : UINT64_MAX;
    e->retry_ns = 0;
    wake(e->pool);
}

void dw_pool_keep(dw_model_pool *pool, size_t index, uint64_t keep_ms)
{
    dw__pool_lock(pool);
    keep(pool->entries[index], keep_ms);
    dw__pool_unlock(pool);
}

dw_status dw_model_pool_keep(dw_model_pool *pool, const char *name, uint64_t keep_ms, dw_error *err)
{
    dw__pool_lock(pool);
    dw__pool_entry *e = dw__pool_find_named(pool, name);
    if (e != NULL) {
        keep(e, keep_ms);
    }
    dw__pool_unlock(pool);
    return e != NULL ? DW_OK
                     : dw_fail(err, DW_E_NOT_FOUND, "The model '%.100s' does not exist", name);
}

size_t dw_model_pool_count(dw_model_pool *pool)
{
    dw__pool_lock(pool);
    size_t count = pool->count;
    dw__pool_unlock(pool);
    return count;
}

/* But for idle_ms, for which the runtime goes through all actors. */
static void describe(const dw__pool_entry *e, dw_model_pool_info *info)
{
    *info = (dw_model_pool_info){
        .name = e->name,
        .path = e->path,
        .named = e->named,
        .state = e->state,
        .done = e->state == DW_MODEL_LOADING ? e->done : 0,
        .total = e->state == DW_MODEL_LOADING ? e->total : 0,
        .bytes = e->bytes,
        .known = e->known,
        .model = e->info,
        .users = e->users,
        .keep_ms = e->keep_ns == UINT64_MAX ? DW_KEEP_LOADED : e->keep_ns / MS,
        .loads = e->loads,
        .unloads = e->unloads,
        .failures = e->failures,
        .error = e->error,
    };
    memcpy(info->fingerprint, e->fingerprint, sizeof info->fingerprint);
}

dw_model *dw_pool_peek(dw_model_pool *pool, size_t index)
{
    dw__pool_lock(pool);
    dw_model *model = pool->entries[index]->model;
    model = model != NULL ? dw_model_ref(model) : NULL;
    dw__pool_unlock(pool);
    return model;
}

const char *dw_pool_chat_template(const dw_model_pool *pool)
{
    return pool->options.chat_template;
}

void dw_pool_counts(dw_model_pool *pool, size_t index, dw_model_pool_info *info)
{
    dw__pool_lock(pool);
    describe(pool->entries[index], info);
    dw__pool_unlock(pool);
}

dw_status dw_model_pool_get_info(dw_model_pool *pool, size_t index, dw_model_pool_info *info,
                                 dw_error *err)
{
    dw_model_pool_info own;
    dw__pool_lock(pool);
    size_t count = pool->count;
    if (index < count) {
        const dw__pool_entry *e = pool->entries[index];
        uint64_t now_ns = dw_os_clock_ns();
        uint64_t used_ns = e->model != NULL ? last_use(e, now_ns) : UINT64_MAX;
        describe(e, &own);
        own.idle_ms = used_ns < now_ns ? (now_ns - used_ns) / MS : 0;
    }
    dw__pool_unlock(pool);
    return index < count ? dw_struct_fill(info, &own, sizeof own, "dw_model_pool_info")
                         : dw_fail(err, DW_E_RANGE, "model %zu, there are %zu", index, count);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* false: no memory. */
static bool copy_text(const char **text)
{
    const char *own = *text != NULL ? dw_strdup(*text) : NULL;
    bool good = *text == NULL || own != NULL;
    *text = own;
    return good;
}

dw_status dw_model_pool_create(dw_model_pool **out, dw_engine *engine,
                               const dw_model_pool_options *options, dw_error *err)
{
    dw_model_pool_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_model_pool_options", err);
    if (status != DW_OK) {
        return status;
    }
    dw_model_pool *pool = dw_alloc(1, sizeof *pool);
    if (pool == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for models");
    }
    pool->engine = engine;
    pool->options = own;
    bool copied = copy_text(&pool->options.chat_template);
    copied = copy_text(&pool->options.fingerprint_folder) && copied;
    (void)pthread_mutex_init(&pool->lock, NULL);
    dw_os_cond_init(&pool->wanted);
    (void)pthread_cond_init(&pool->read, NULL);
    int failed = copied ? dw_os_start_thread(&pool->thread, run, pool) : ENOMEM;
    pool->has_thread = failed == 0;
    if (!pool->has_thread) {
        dw_model_pool_destroy(pool);
        return dw_fail(err, DW_E_MEMORY, "a thread to load models: %s", strerror(failed));
    }
    *out = pool;
    return DW_OK;
}

void dw_model_pool_serve(dw_model_pool *pool, dw_runtime *runtime)
{
    dw__pool_lock(pool);
    pool->runtime = runtime;
    dw__pool_unlock(pool);
}

void dw_pool_cancel_loads(dw_model_pool *pool)
{
    dw__pool_lock(pool);
    pool->cancels = true;
    wake(pool);
    dw__pool_unlock(pool);
}

void dw_model_pool_stop(dw_model_pool *pool)
{
    dw__pool_lock(pool);
    pool->stops = true;
    wake(pool);
    dw__pool_unlock(pool);
    if (pool->has_thread) {
        (void)pthread_join(pool->thread, NULL);
        pool->has_thread = false;
    }
    dw__pool_lock(pool);
    pool->runtime = NULL;
    dw__pool_unlock(pool);
}

void dw_model_pool_destroy(dw_model_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    dw_model_pool_stop(pool);
    for (size_t i = 0; i < pool->count; i++) {
        dw_model_unref(pool->entries[i]->model);
        dw_free(pool->entries[i]->name);
        dw_free(pool->entries[i]->path);
        dw_free(pool->entries[i]->own_name);
        dw_free(pool->entries[i]);
    }
    dw_free((char *)(uintptr_t)pool->options.chat_template);
    dw_free((char *)(uintptr_t)pool->options.fingerprint_folder);
    (void)pthread_cond_destroy(&pool->wanted);
    (void)pthread_cond_destroy(&pool->read);
    (void)pthread_mutex_destroy(&pool->lock);
    dw_free(pool);
}
