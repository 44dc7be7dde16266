/* Models of a pool by what they are: their names, which tenants are granted them by, and their
 * fingerprints, which actors have them by. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "serving/pool_bytes.h"
#include "serving/pool_internal.h"

/* The head of a file that could not be read is tried again so much later. */
#define AGAIN_NS UINT64_C(1000000000)

/* ---- names ---------------------------------------------------------------------------------- */

bool dw__pool_is_anothers(const dw__pool_entry *e, const char *name)
{
    const dw__pool_entry *named = dw__pool_find_named(e->pool, name);
    return named != NULL && named != e;
}

static void names_of(dw__pool_entry *e, dw_pool_names *names)
{
    dw__pool_lock(e->pool);
    const char *own = e->own_name;
    bool hidden = own == NULL || dw__pool_is_anothers(e, own);
    (void)snprintf(names->own, sizeof names->own, "%s", hidden ? "" : own);
    names->unread = own == NULL && !e->reading && dw_os_clock_ns() - e->read_ns >= AGAIN_NS;
    names->names.own = names->own[0] != '\0' ? names->own : NULL;
    names->names.served = e->named ? e->name : NULL;
    dw__pool_unlock(e->pool);
}

/* By one thread, for which the others wait. */
static void read_names(dw__pool_entry *e)
{
    dw_model_pool *pool = e->pool;
    char *read = NULL;
    dw__pool_lock(pool);
    while (e->own_name == NULL && e->reading) {
        (void)pthread_cond_wait(&pool->read, &pool->lock);
    }
    if (e->own_name == NULL && (e->read_ns == 0 || dw_os_clock_ns() - e->read_ns >= AGAIN_NS)) {
        e->reading = true;
        dw__pool_unlock(pool);
        (void)dw__pool_weight_bytes(e->path, &read, NULL);
        dw__pool_lock(pool);
        e->reading = false;
        e->read_ns = dw_os_clock_ns();
        (void)pthread_cond_broadcast(&pool->read);
    }
    if (e->own_name == NULL) {
        e->own_name = read;
        read = NULL;
    }
    dw__pool_unlock(pool);
    dw_free(read);
}

static dw__pool_entry *entry_of(dw_model_pool *pool, size_t index)
{
    dw__pool_lock(pool);
    dw__pool_entry *e = index < pool->count ? pool->entries[index] : NULL;
    dw__pool_unlock(pool);
    return e;
}

void dw_pool_names_of(dw_model_pool *pool, size_t index, dw_pool_names *names)
{
    names_of(entry_of(pool, index), names);
}

void dw_pool_read_names(dw_model_pool *pool, size_t index)
{
    read_names(entry_of(pool, index));
}

/* ---- by fingerprint ------------------------------------------------------------------------- */

static bool is_granted(dw__pool_entry *e, const dw_model_wanted *wanted)
{
    dw_pool_names names;
    if (wanted->may_have == NULL) {
        return true;
    }
    names_of(e, &names);
    if (names.names.own == NULL) { /* also while another thread reads it */
        read_names(e);
        names_of(e, &names);
    }
    return wanted->may_have(wanted, names.names.own, names.names.served);
}

/* What is known of one without reading its file; a model is counted. */
typedef struct known {
    bool same; /* by its fingerprint */
    bool mixed;
    dw_model *model;
} known;

static known look(dw__pool_entry *e, const char *fingerprint)
{
    dw__pool_lock(e->pool);
    known k = {.same = e->known && strcmp(e->fingerprint, fingerprint) == 0,
               .mixed = e->mixed,
               .model = e->model != NULL ? dw_model_ref(e->model) : NULL};
    dw__pool_unlock(e->pool);
    return k;
}

/* Of those that were loaded once: one that is there now before one that is not. */
static dw__pool_entry *find_known(dw_model_pool *pool, const dw_model_wanted *wanted)
{
    dw__pool_entry *found = NULL;
    dw__pool_entry *e;
    for (size_t i = 0; (e = entry_of(pool, i)) != NULL; i++) {
        known k = look(e, wanted->fingerprint);
        bool loaded = k.model != NULL;
        dw_model_unref(k.model);
        if (k.same && (loaded || found == NULL) && is_granted(e, wanted)) {
            found = e;
            if (loaded) {
                break;
            }
        }
    }
    return found;
}

static bool is_same(dw_model *model, const char *fingerprint)
{
    bool same = false;
    return dw_model_matches(model, fingerprint, &same, NULL) == DW_OK && same;
}

/* Whether the model, or the file, is the one. */
static bool matches(dw__pool_entry *e, const char *fingerprint)
{
    const dw_fingerprint_options how = {.struct_bytes = sizeof how,
                                        .folder = e->pool->options.fingerprint_folder};
    dw_gguf *gguf = NULL;
    bool same = false;
    known k = look(e, fingerprint);
    if (k.model != NULL) {
        same = is_same(k.model, fingerprint);
        dw_model_unref(k.model);
        return same;
    }
    if (k.mixed || dw_gguf_open(&gguf, e->path, NULL) != DW_OK) {
        return false;
    }
    bool good = dw_gguf_matches(gguf, &how, fingerprint, &same, NULL) == DW_OK && same;
    dw_gguf_close(gguf);
    return good;
}

static dw__pool_entry *find_file(dw_model_pool *pool, const dw_model_wanted *wanted)
{
    dw__pool_entry *e;
    for (size_t i = 0; (e = entry_of(pool, i)) != NULL; i++) {
        if (is_granted(e, wanted) && matches(e, wanted->fingerprint)) {
            return e;
        }
    }
    return NULL;
}

/* With adapters a model is another than its file, and which is known once it was loaded. `*found`
 * NULL: it is none of those; else `*model` is taken. */
static dw_status find_mixed(dw_model_pool *pool, const dw_model_wanted *wanted,
                            dw__pool_entry **found, dw_model **model, dw_error *err)
{
    dw__pool_entry *e;
    dw_status status = DW_OK;
    for (size_t i = 0; *found == NULL && (e = entry_of(pool, i)) != NULL; i++) {
        dw__pool_lock(pool);
        bool asked = e->mixed && !e->known;
        dw__pool_unlock(pool);
        if (asked && is_granted(e, wanted)) {
            dw_status loaded = dw__pool_take(e, model, err);
            status = loaded != DW_OK ? loaded : status;
            *found = *model != NULL && is_same(*model, wanted->fingerprint) ? e : NULL;
        }
        if (*found == NULL) {
            dw_model_pool_give(pool, *model);
            *model = NULL;
        }
    }
    return *found != NULL ? DW_OK : status;
}

/* None of the pool's: where such a file lies is its owner's to know. */
static dw_status find_elsewhere(dw_model_pool *pool, const dw_model_wanted *wanted,
                                dw__pool_entry **found, dw_error *err)
{
    char path[4096];
    const dw_model_pool_options *options = &pool->options;
    dw_status status =
        options->find_path != NULL
            ? options->find_path(options->user, wanted->fingerprint, path, sizeof path, err)
            : DW_E_NOT_FOUND;
    status = status == DW_OK ? dw__pool_reach_path(pool, path, found, err) : status;
    return status == DW_OK && !is_granted(*found, wanted) ? DW_E_NOT_FOUND : status;
}

dw_status dw_model_pool_find_granted(void *user, const dw_model_wanted *wanted, dw_model **model,
                                     dw_error *err)
{
    dw_model_pool *pool = user;
    *model = NULL;
    dw__pool_entry *e = find_known(pool, wanted);
    e = e != NULL ? e : find_file(pool, wanted);
    dw_status status = e == NULL ? find_mixed(pool, wanted, &e, model, err) : DW_OK;
    if (status == DW_OK && e == NULL) {
        status = find_elsewhere(pool, wanted, &e, err);
    }
    const bool taken = *model != NULL;
    if (status == DW_OK && !taken) {
        status = dw__pool_take(e, model, err);
    }
    if (status == DW_OK && !taken &&
        !is_same(*model, wanted->fingerprint)) { /* its file is another since */
        dw_model_pool_give(pool, *model);
        *model = NULL;
        status = DW_E_NOT_FOUND;
    }
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, status,
                       "the actor's model '%.80s' (%.60s) is neither served nor in the cache",
                       wanted->name, wanted->fingerprint);
    }
    if (status == DW_OK) { /* from now on the runtime says whether it is in use */
        dw__pool_lock(pool);
        dw__pool_leave_to_thread(e);
        dw__pool_unlock(pool);
    }
    return status;
}

dw_status dw_model_pool_find(void *user, const char *name, const char *fingerprint,
                             dw_model **model, dw_error *err)
{
    const dw_model_wanted wanted = {
        .struct_bytes = sizeof wanted, .name = name, .fingerprint = fingerprint};
    return dw_model_pool_find_granted(user, &wanted, model, err);
}
