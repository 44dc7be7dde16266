/* What a keeper of files (src/prefixes) is told of the cache's entries, and tells it. */
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "inference/prefix_cache_internal.h"

#define BUCKETS_FIRST 64u

/* ---- entries by number -------------------------------------------------------------------- */

static uint64_t key_of(const dw__prefix_entry *e, dw__prefix_key key)
{
    return key == DW__PREFIX_NUMBER ? e->number : e->file;
}

bool dw__prefix_index_init(dw__prefix_index *index)
{
    index->buckets = dw_alloc(BUCKETS_FIRST, sizeof(dw__prefix_entry *));
    index->bucket_count = index->buckets != NULL ? BUCKETS_FIRST : 0;
    return index->buckets != NULL;
}

void dw__prefix_index_release(dw__prefix_index *index)
{
    DW_ASSERT(index->count == 0);
    dw_free(index->buckets);
    *index = (dw__prefix_index){.count = 0};
}

static dw__prefix_entry **bucket_of(const dw__prefix_index *index, uint64_t number)
{
    return &index->buckets[number & (index->bucket_count - 1)];
}

/* Best effort: with fewer buckets searching takes longer. */
static void grow(dw__prefix_index *index, dw__prefix_key key)
{
    dw__prefix_index grown = {.bucket_count = index->bucket_count * 2, .count = index->count};
    grown.buckets = dw_alloc(grown.bucket_count, sizeof(dw__prefix_entry *));
    if (grown.buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < index->bucket_count; i++) {
        while (index->buckets[i] != NULL) {
            dw__prefix_entry *moved = index->buckets[i];
            dw__prefix_entry **bucket = bucket_of(&grown, key_of(moved, key));
            index->buckets[i] = moved->in_bucket[key];
            moved->in_bucket[key] = *bucket;
            *bucket = moved;
        }
    }
    dw_free(index->buckets);
    *index = grown;
}

static void put_in(dw_prefix_cache *cache, dw__prefix_key key, dw__prefix_entry *e)
{
    dw__prefix_index *index = &cache->by[key];
    if (index->count >= index->bucket_count) {
        grow(index, key);
    }
    dw__prefix_entry **bucket = bucket_of(index, key_of(e, key));
    e->in_bucket[key] = *bucket;
    *bucket = e;
    index->count++;
}

static void take_out(dw_prefix_cache *cache, dw__prefix_key key, dw__prefix_entry *e)
{
    dw__prefix_entry **link = bucket_of(&cache->by[key], key_of(e, key));
    while (*link != e) {
        link = &(*link)->in_bucket[key];
    }
    *link = e->in_bucket[key];
    e->in_bucket[key] = NULL;
    cache->by[key].count--;
}

static dw__prefix_entry *find(const dw_prefix_cache *cache, dw__prefix_key key, uint64_t number)
{
    dw__prefix_entry *e = *bucket_of(&cache->by[key], number);
    while (e != NULL && key_of(e, key) != number) {
        e = e->in_bucket[key];
    }
    return e;
}

/* ---- those that wait ---------------------------------------------------------------------- */

static void put_unsaved(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    if (e->root->adapters != NULL) { /* files name none */
        return;
    }
    DW_ASSERT(!e->unsaved && e->file == 0);
    e->unsaved = true;
    e->unsaved_before = cache->unsaved_last;
    e->unsaved_after = NULL;
    *(cache->unsaved_last != NULL ? &cache->unsaved_last->unsaved_after : &cache->unsaved_first) =
        e;
    cache->unsaved_last = e;
    (void)atomic_fetch_add(&cache->unsaved_count, 1);
}

static void take_unsaved(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    if (!e->unsaved) {
        return;
    }
    *(e->unsaved_before != NULL ? &e->unsaved_before->unsaved_after : &cache->unsaved_first) =
        e->unsaved_after;
    *(e->unsaved_after != NULL ? &e->unsaved_after->unsaved_before : &cache->unsaved_last) =
        e->unsaved_before;
    e->unsaved_before = e->unsaved_after = NULL;
    e->unsaved = false;
    (void)atomic_fetch_sub(&cache->unsaved_count, 1);
}

size_t dw_prefix_cache_unsaved(const dw_prefix_cache *cache)
{
    return atomic_load(&cache->unsaved_count);
}

/* ---- those that are in files -------------------------------------------------------------- */

static void put_filed(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    put_in(cache, DW__PREFIX_FILE, e);
    for (dw__prefix_node *n = e->at; n != NULL; n = n->parent) {
        n->filed = n->filed != NULL ? n->filed : e;
    }
}

/* Another one at the block or below it; those below have theirs in order. */
static dw__prefix_entry *other_filed(const dw__prefix_node *n, const dw__prefix_entry *e)
{
    if (n->own != NULL && n->own != e && n->own->file != 0) {
        return n->own;
    }
    const dw__prefix_node *child = n->first;
    while (child != NULL && child->filed == NULL) {
        child = child->after;
    }
    return child != NULL ? child->filed : NULL;
}

static void take_filed(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    if (e->file == 0) {
        return;
    }
    take_out(cache, DW__PREFIX_FILE, e);
    for (dw__prefix_node *n = e->at; n != NULL; n = n->parent) {
        n->filed = n->filed == e ? other_filed(n, e) : n->filed;
    }
    e->file = 0;
}

void dw__prefix_files_add(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    put_in(cache, DW__PREFIX_NUMBER, e);
    if (e->file != 0) {
        put_filed(cache, e);
    } else {
        put_unsaved(cache, e);
    }
}

void dw__prefix_files_remove(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    take_out(cache, DW__PREFIX_NUMBER, e);
    take_unsaved(cache, e);
    take_filed(cache, e);
}

void dw__prefix_files_used(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    if (e->file == 0 && !e->unsaved) {
        put_unsaved(cache, e);
    }
}

/* ---- a keeper ----------------------------------------------------------------------------- */

dw_status dw_prefix_cache_keep_files(dw_prefix_cache *cache, dw_error *err)
{
    dw__prefix_lock(cache);
    bool taken = cache->has_keeper;
    cache->has_keeper = true;
    dw__prefix_unlock(cache);
    return !taken ? DW_OK
                  : dw_fail(err, DW_E_STATE,
                            "prefixes: the engine's are kept in another folder already");
}

void dw_prefix_cache_leave_files(dw_prefix_cache *cache)
{
    dw__prefix_lock(cache);
    for (dw__prefix_entry *e = cache->oldest; e != NULL; e = e->newer) {
        take_filed(cache, e);
        dw__prefix_files_used(cache, e);
    }
    dw__prefix_files_forget(cache, NULL);
    cache->has_keeper = false;
    dw__prefix_unlock(cache);
}

void dw__prefix_files_forget(dw_prefix_cache *cache, const dw_model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < cache->loaded_count; i++) {
        if (model == NULL || cache->loaded[i] == model) {
            dw_model_unref(cache->loaded[i]);
        } else {
            cache->loaded[kept++] = cache->loaded[i];
        }
    }
    cache->loaded_count = kept;
}

bool dw_prefix_cache_is_loaded(dw_prefix_cache *cache, const dw_model *model)
{
    size_t i = 0;
    dw__prefix_lock(cache);
    while (i < cache->loaded_count && cache->loaded[i] != model) {
        i++;
    }
    bool is_loaded = i < cache->loaded_count;
    dw__prefix_unlock(cache);
    return is_loaded;
}

dw_status dw_prefix_cache_set_loaded(dw_prefix_cache *cache, dw_model *model, dw_error *err)
{
    dw__prefix_lock(cache);
    bool good =
        DW_ARRAY_RESERVE(cache->loaded, cache->loaded_capacity, cache->loaded_count + 1, SIZE_MAX);
    if (good) {
        cache->loaded[cache->loaded_count++] = dw_model_ref(model);
    }
    dw__prefix_unlock(cache);
    return good ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a list of models");
}

/* ---- copying out -------------------------------------------------------------------------- */

static dw_status copy_entry(dw_prefix_copy *copy, const dw__prefix_entry *e, dw_error *err)
{
    const struct dw__prefix_root *root = e->root;
    uint32_t length = dw_kv_log_length(e->log);
    *copy = (dw_prefix_copy){.number = e->number,
                             .kind = {.model = dw_model_ref(root->model),
                                      .kv_type = root->kv_type,
                                      .capacity = dw_kv_log_capacity(e->log)},
                             .length = length,
                             .pinned = e->pinned};
    copy->tokens = dw_alloc(length, sizeof *copy->tokens);
    copy->kind.scope = root->scope != NULL ? dw_strdup(root->scope) : NULL;
    if (copy->tokens == NULL || (root->scope != NULL && copy->kind.scope == NULL)) {
        return dw_fail(err, DW_E_MEMORY, "no memory to save a prefix");
    }
    uint32_t end = length;
    for (const dw__prefix_node *n = e->at; n->parent != NULL; n = n->parent) {
        if (n->filed != NULL && copy->base_file == 0) {
            copy->base_file = n->filed->file;
            copy->base_length = end;
        }
        end -= DW_PREFIX_BLOCK;
        memcpy(copy->tokens + end, n->tokens, sizeof n->tokens);
    }
    return dw_kv_log_fork(&copy->log, e->log, err);
}

dw_status dw_prefix_cache_copy_unsaved(dw_prefix_cache *cache, dw_prefix_copy *copy, bool *found,
                                       dw_error *err)
{
    dw__prefix_lock(cache);
    dw__prefix_entry *e = cache->unsaved_first;
    dw_status status = e != NULL ? copy_entry(copy, e, err) : DW_OK;
    if (e != NULL && status == DW_OK) {
        take_unsaved(cache, e);
    }
    dw__prefix_unlock(cache);
    *found = e != NULL && status == DW_OK;
    if (status != DW_OK) {
        dw_prefix_copy_release(copy);
    }
    return status;
}

void dw_prefix_cache_set_unsaved(dw_prefix_cache *cache, uint64_t number)
{
    dw__prefix_lock(cache);
    dw__prefix_entry *e = find(cache, DW__PREFIX_NUMBER, number);
    if (e != NULL) {
        dw__prefix_files_used(cache, e);
    }
    dw__prefix_unlock(cache);
}

void dw_prefix_copy_release(dw_prefix_copy *copy)
{
    dw_kv_log_destroy(copy->log);
    dw_model_unref(copy->kind.model);
    dw_free((void *)(uintptr_t)copy->kind.scope);
    dw_free(copy->tokens);
    *copy = (dw_prefix_copy){.length = 0};
}

/* ---- taking in ---------------------------------------------------------------------------- */

/* A group of what is mapped from files; elsewhere of records that stand alone. NULL: no memory. */
static dw__prefix_group *group_of_file(const dw_kv_log *log)
{
    dw__prefix_group *group = dw_alloc(1, sizeof *group);
    if (group != NULL) {
        *group = (dw__prefix_group){
            .references = 1,
            .record_bytes = dw_kv_log_in_host_memory(log) ? 0 : dw_kv_log_record_bytes(log),
            .to = dw_kv_log_length(log)};
    }
    return group;
}

void dw_prefix_cache_set_file(dw_prefix_cache *cache, uint64_t number, uint64_t file,
                              dw_kv_log *log)
{
    dw__prefix_lock(cache);
    dw__prefix_entry *e = find(cache, DW__PREFIX_NUMBER, number);
    dw__prefix_group *group = e != NULL && log != NULL ? group_of_file(log) : NULL;
    if (e != NULL) {
        take_unsaved(cache, e);
        take_filed(cache, e);
        e->file = file;
        put_filed(cache, e);
        if (e->pinned) { /* since it was copied, maybe: it is told */
            dw__prefix_touch(cache, e);
        }
    }
    if (group != NULL) {
        dw_kv_log *before = e->log;
        dw__prefix_let_go(cache, e->group);
        dw__prefix_unref_group(e->group);
        e->group = group;
        dw__prefix_hold(cache, group);
        e->log = log;
        log = before;
    }
    dw_kv_log_destroy(log);
    dw__prefix_unlock(cache);
}

/* `*taken`: the log is the cache's now. */
static dw_status put(dw_prefix_cache *cache, const dw_prefix_copy *wanted, uint64_t file,
                     dw_kv_log *log, bool *taken, dw_error *err)
{
    struct dw__prefix_root *root = dw__prefix_root_for(cache, &wanted->kind, log);
    dw__prefix_entry *e = dw_alloc(1, sizeof *e);
    dw__prefix_group *group = group_of_file(log);
    dw__prefix_node *at = root != NULL ? &root->top : NULL;
    bool there = root != NULL && e != NULL && group != NULL &&
                 dw__prefix_walk(cache, root, wanted->tokens, wanted->length, &at);
    *taken = there && at->own == NULL;
    if (root != NULL) {
        root->references--;
    }
    if (!*taken) {
        if (there && at->own->file == 0) { /* computed before this was loaded */
            take_unsaved(cache, at->own);
            at->own->file = file;
            put_filed(cache, at->own);
        }
        if (at != NULL) {
            dw__prefix_prune(cache, at);
        }
        dw__prefix_drop_unused_roots(cache);
        dw_free(group);
        dw_free(e);
        return there ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a prefix of a file");
    }
    e->root = root;
    e->log = log;
    e->group = group;
    e->file = file;
    dw__prefix_join(cache, e, at);
    return wanted->pinned ? dw__prefix_pin(cache, e, err) : DW_OK;
}

dw_status dw_prefix_cache_put(dw_prefix_cache *cache, const dw_prefix_copy *wanted, uint64_t file,
                              dw_kv_log *log, dw_error *err)
{
    bool taken = false;
    dw__prefix_lock(cache);
    dw_status status = put(cache, wanted, file, log, &taken, err);
    dw__prefix_make_room(cache);
    dw__prefix_unlock(cache);
    if (!taken) {
        dw_kv_log_destroy(log);
    }
    return status;
}

dw_status dw_prefix_cache_fork_file(dw_prefix_cache *cache, uint64_t file, dw_kv_log **log,
                                    dw_error *err)
{
    *log = NULL;
    dw__prefix_lock(cache);
    const dw__prefix_entry *e = find(cache, DW__PREFIX_FILE, file);
    dw_status status = e != NULL ? dw_kv_log_fork(log, e->log, err) : DW_OK;
    dw__prefix_unlock(cache);
    return status;
}

void dw_prefix_cache_drop_file(dw_prefix_cache *cache, uint64_t file)
{
    dw__prefix_lock(cache);
    dw__prefix_entry *e = find(cache, DW__PREFIX_FILE, file);
    if (e != NULL) {
        dw__prefix_drop(cache, e);
    }
    dw__prefix_unlock(cache);
}

/* The newest first: those that were used since are before all others. */
size_t dw_prefix_cache_take_used(dw_prefix_cache *cache, dw_prefix_use *uses, size_t max)
{
    size_t count = 0;
    dw__prefix_lock(cache);
    dw__prefix_entry *e = cache->newest;
    for (; e != NULL && e->use > cache->told_uses && count < max; e = e->older) {
        if (e->file != 0 && e->used) {
            e->used = false;
            uses[count++] = (dw_prefix_use){.file = e->file, .pinned = e->pinned};
        }
    }
    if (count < max) {
        cache->told_uses = cache->uses;
    }
    dw__prefix_unlock(cache);
    return count;
}
