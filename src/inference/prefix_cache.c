#include "inference/prefix_cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "inference/context_internal.h"
#include "inference/prefix_cache_internal.h"

#define BUCKETS_FIRST 64u
#define ENTRIES_LEAST 32u

void dw__prefix_lock(dw_prefix_cache *cache)
{
    (void)pthread_mutex_lock(&cache->lock);
}

void dw__prefix_unlock(dw_prefix_cache *cache)
{
    (void)pthread_mutex_unlock(&cache->lock);
}

/* ---- blocks ------------------------------------------------------------------------------- */

static uint64_t hash_block(const dw__prefix_node *parent, const int32_t *tokens)
{
    uint64_t hash = dw_hash_of_text((const char *)tokens, DW_PREFIX_BLOCK * sizeof *tokens);
    return hash ^ ((uintptr_t)parent * UINT64_C(0x9e3779b97f4a7c15));
}

static dw__prefix_node **bucket_of(const dw_prefix_cache *cache, uint64_t hash)
{
    return &cache->buckets[(hash ^ hash >> 32) & (cache->bucket_count - 1)];
}

static dw__prefix_node *find_child(const dw_prefix_cache *cache, const dw__prefix_node *parent,
                                   const int32_t *tokens)
{
    if (parent->first == NULL) {
        return NULL;
    }
    uint64_t hash = hash_block(parent, tokens);
    for (dw__prefix_node *n = *bucket_of(cache, hash); n != NULL; n = n->in_bucket) {
        if (n->hash == hash && n->parent == parent &&
            memcmp(n->tokens, tokens, sizeof n->tokens) == 0) {
            return n;
        }
    }
    return NULL;
}

/* Best effort: with fewer buckets searching takes longer. */
static void grow_buckets(dw_prefix_cache *cache)
{
    size_t count = cache->bucket_count * 2;
    dw__prefix_node **buckets = dw_alloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    dw__prefix_node **old = cache->buckets;
    size_t old_count = cache->bucket_count;
    cache->buckets = buckets;
    cache->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            dw__prefix_node *moved = old[i];
            dw__prefix_node **bucket = bucket_of(cache, moved->hash);
            old[i] = moved->in_bucket;
            moved->in_bucket = *bucket;
            *bucket = moved;
        }
    }
    dw_free(old);
}

static dw__prefix_node *add_child(dw_prefix_cache *cache, dw__prefix_node *parent,
                                  const int32_t *tokens)
{
    dw__prefix_node *n = dw_alloc(1, sizeof *n);
    if (n == NULL) {
        return NULL;
    }
    if (cache->node_count >= cache->bucket_count) {
        grow_buckets(cache);
    }
    n->parent = parent;
    n->hash = hash_block(parent, tokens);
    memcpy(n->tokens, tokens, sizeof n->tokens);
    n->after = parent->first;
    if (parent->first != NULL) {
        parent->first->before = n;
    }
    parent->first = n;
    dw__prefix_node **bucket = bucket_of(cache, n->hash);
    n->in_bucket = *bucket;
    *bucket = n;
    cache->node_count++;
    return n;
}

/* From here up: blocks that no entry needs any more. */
void dw__prefix_prune(dw_prefix_cache *cache, dw__prefix_node *n)
{
    while (n->parent != NULL && n->own == NULL && n->first == NULL) {
        dw__prefix_node *parent = n->parent;
        dw__prefix_node **link = bucket_of(cache, n->hash);
        while (*link != n) {
            link = &(*link)->in_bucket;
        }
        *link = n->in_bucket;
        if (n->before != NULL) {
            n->before->after = n->after;
        } else {
            parent->first = n->after;
        }
        if (n->after != NULL) {
            n->after->before = n->before;
        }
        cache->node_count--;
        dw_free(n);
        n = parent;
    }
}

/* ---- groups ------------------------------------------------------------------------------- */

static uint64_t group_bytes(const dw__prefix_group *group)
{
    return (uint64_t)(group->to - group->from) * group->record_bytes;
}

static dw__prefix_group *ref_group(dw__prefix_group *group)
{
    if (group != NULL) {
        group->references++;
    }
    return group;
}

void dw__prefix_unref_group(dw__prefix_group *group)
{
    while (group != NULL && --group->references == 0) {
        dw__prefix_group *parent = group->parent;
        DW_ASSERT(group->holders == 0);
        dw_free(group);
        group = parent;
    }
}

void dw__prefix_hold(dw_prefix_cache *cache, dw__prefix_group *group)
{
    for (; group != NULL && group->holders++ == 0; group = group->parent) {
        cache->bytes += group_bytes(group);
    }
}

void dw__prefix_let_go(dw_prefix_cache *cache, dw__prefix_group *group)
{
    for (; group != NULL; group = group->parent) {
        DW_ASSERT(group->holders > 0);
        if (--group->holders > 0) {
            return;
        }
        cache->bytes -= group_bytes(group);
    }
}

/* ---- entries ------------------------------------------------------------------------------ */

static void take_from_list(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &cache->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &cache->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void put_newest(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    e->use = ++cache->uses;
    e->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

void dw__prefix_touch(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    e->used = true;
    take_from_list(cache, e);
    put_newest(cache, e);
    dw__prefix_files_used(cache, e);
}

static uint64_t entry_bytes(const dw__prefix_entry *e)
{
    return (uint64_t)dw_kv_log_length(e->log) * dw_kv_log_record_bytes(e->log);
}

void dw__prefix_drop(dw_prefix_cache *cache, dw__prefix_entry *e)
{
    for (dw__prefix_node *n = e->at; n != NULL; n = n->parent) {
        n->used = n->used == e ? NULL : n->used;
    }
    dw__prefix_files_remove(cache, e);
    e->at->own = NULL;
    dw__prefix_prune(cache, e->at);
    take_from_list(cache, e);
    cache->pinned_bytes -= e->pinned ? entry_bytes(e) : 0;
    dw_kv_log_destroy(e->log);
    dw__prefix_let_go(cache, e->group);
    dw__prefix_unref_group(e->group);
    cache->counts.entries--;
    dw_free(e);
}

/* Each may keep a file open, or three where its records end within a page. */
static uint64_t entries_max(void)
{
    struct rlimit files;
    const uint64_t all =
        getrlimit(RLIMIT_NOFILE, &files) == 0 ? (uint64_t)files.rlim_cur : ENTRIES_LEAST;
    return all / 8 > ENTRIES_LEAST ? all / 8 : ENTRIES_LEAST;
}

void dw__prefix_make_room(dw_prefix_cache *cache)
{
    const uint64_t most = cache->counts.entries > ENTRIES_LEAST ? entries_max() : UINT64_MAX;
    dw__prefix_entry *e = cache->oldest;
    while (e != NULL && (cache->bytes > cache->bytes_max || cache->counts.entries > most)) {
        dw__prefix_entry *next = e->newer;
        /* What is mapped from a file takes no bytes that would come free. */
        if (!e->pinned && (e->group->record_bytes > 0 || cache->counts.entries > most)) {
            dw__prefix_drop(cache, e);
            cache->counts.evictions++;
        }
        e = next;
    }
}

/* One that covers the block: that which served it last, or any. */
static dw__prefix_entry *entry_for(dw__prefix_node *n)
{
    if (n->used == NULL) {
        const dw__prefix_node *below = n;
        while (below->own == NULL) {
            DW_ASSERT(below->first != NULL);
            below = below->first;
        }
        n->used = below->own;
    }
    return n->used;
}

/* ---- roots -------------------------------------------------------------------------------- */

/* Rope factors change with it. */
static bool is_long(const dw_prefix_kind *kind)
{
    return kind->capacity > dw_model_shape_of(kind->model)->rope_context;
}

static bool is_root_of(const struct dw__prefix_root *root, const dw_prefix_kind *kind,
                       uint32_t capacity)
{
    bool same_scope = kind->scope == NULL || root->scope == NULL
                          ? kind->scope == root->scope
                          : strcmp(kind->scope, root->scope) == 0;
    return same_scope && root->model == kind->model && root->kv_type == kind->kv_type &&
           root->adapters == kind->adapters && root->is_long == is_long(kind) &&
           root->capacity == capacity;
}

static struct dw__prefix_root *make_root(dw_prefix_cache *cache, const dw_prefix_kind *kind,
                                         uint32_t capacity)
{
    const char *scope = kind->scope;
    struct dw__prefix_root *root = dw_alloc(1, sizeof *root);
    char *copy = NULL;
    if (root != NULL && scope != NULL) {
        copy = dw_alloc(1, strlen(scope) + 1);
    }
    if (root == NULL || (scope != NULL && copy == NULL)) {
        dw_free(root);
        return NULL;
    }
    if (copy != NULL) {
        (void)memcpy(copy, scope, strlen(scope) + 1);
    }
    root->cache = cache;
    root->scope = copy;
    root->model = dw_model_ref(kind->model);
    root->adapters = dw_adapter_set_ref(kind->adapters);
    root->kv_type = kind->kv_type;
    root->is_long = is_long(kind);
    root->capacity = capacity;
    root->next = cache->roots;
    cache->roots = root;
    return root;
}

/* For logs of that kind, `log` one of them; counted. NULL: no memory. */
struct dw__prefix_root *dw__prefix_root_for(dw_prefix_cache *cache, const dw_prefix_kind *kind,
                                            const dw_kv_log *log)
{
    /* Elsewhere a fork's allocations are those of its parent's size. */
    uint32_t capacity = dw_kv_log_in_host_memory(log) ? 0 : kind->capacity;
    struct dw__prefix_root *root = cache->roots;
    while (root != NULL && !is_root_of(root, kind, capacity)) {
        root = root->next;
    }
    root = root != NULL ? root : make_root(cache, kind, capacity);
    if (root != NULL) {
        root->references++;
    }
    return root;
}

void dw__prefix_drop_unused_roots(dw_prefix_cache *cache)
{
    struct dw__prefix_root **link = &cache->roots;
    while (*link != NULL) {
        struct dw__prefix_root *root = *link;
        if (root->references > 0 || root->top.first != NULL) {
            link = &root->next;
            continue;
        }
        *link = root->next;
        dw_adapter_set_unref(root->adapters);
        dw_model_unref(root->model);
        dw_free(root->scope);
        dw_free(root);
    }
}

/* ---- life --------------------------------------------------------------------------------- */

dw_status dw_prefix_cache_create(dw_prefix_cache **out, uint64_t bytes_max, dw_error *err)
{
    *out = NULL;
    dw_prefix_cache *cache = dw_alloc(1, sizeof *cache);
    dw__prefix_node **buckets = cache != NULL ? dw_alloc(BUCKETS_FIRST, sizeof *buckets) : NULL;
    bool good = buckets != NULL;
    for (int i = 0; good && i < DW__PREFIX_KEYS; i++) {
        good = dw__prefix_index_init(&cache->by[i]);
    }
    if (!good) {
        for (int i = 0; cache != NULL && i < DW__PREFIX_KEYS; i++) {
            dw__prefix_index_release(&cache->by[i]);
        }
        dw_free(buckets);
        dw_free(cache);
        return dw_fail(err, DW_E_MEMORY, "no memory for a prefix cache");
    }
    DW_ASSERT(pthread_mutex_init(&cache->lock, NULL) == 0);
    cache->bytes_max = bytes_max;
    cache->buckets = buckets;
    cache->bucket_count = BUCKETS_FIRST;
    *out = cache;
    return DW_OK;
}

void dw_prefix_cache_clear(dw_prefix_cache *cache, const dw_model *model, bool pinned_too)
{
    dw__prefix_lock(cache);
    for (dw__prefix_entry *e = cache->oldest, *next = NULL; e != NULL; e = next) {
        next = e->newer;
        if ((model == NULL || e->root->model == model) && (pinned_too || !e->pinned)) {
            dw__prefix_drop(cache, e);
        }
    }
    dw__prefix_drop_unused_roots(cache);
    dw__prefix_files_forget(cache, model);
    dw__prefix_unlock(cache);
}

bool dw_prefix_cache_relieve(dw_prefix_cache *cache)
{
    dw__prefix_lock(cache);
    dw__prefix_entry *e = cache->oldest;
    while (e != NULL &&
           (e->pinned || e->group->record_bytes == 0 || !dw_kv_log_in_host_memory(e->log))) {
        e = e->newer;
    }
    if (e != NULL) {
        dw__prefix_drop(cache, e);
        cache->counts.evictions++;
    }
    dw__prefix_unlock(cache);
    return e != NULL;
}

bool dw__prefix_relieve(const dw__prefix_share *share)
{
    return share->root != NULL && dw_prefix_cache_relieve(share->root->cache);
}

void dw_prefix_cache_destroy(dw_prefix_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    dw_prefix_cache_clear(cache, NULL, true);
    DW_ASSERT(!cache->has_keeper && cache->roots == NULL && cache->bytes == 0 &&
              cache->node_count == 0);
    for (int i = 0; i < DW__PREFIX_KEYS; i++) {
        dw__prefix_index_release(&cache->by[i]);
    }
    dw_free(cache->loaded);
    dw_free(cache->buckets);
    (void)pthread_mutex_destroy(&cache->lock);
    dw_free(cache);
}

void dw_prefix_cache_count(dw_prefix_cache *cache, dw_prefix_counts *counts)
{
    dw__prefix_lock(cache);
    *counts = cache->counts;
    counts->bytes = cache->bytes;
    counts->bytes_max = cache->bytes_max;
    dw__prefix_unlock(cache);
}

/* ---- contexts ----------------------------------------------------------------------------- */

void dw__prefix_share_release(dw__prefix_share *share)
{
    if (share->root == NULL) {
        return;
    }
    dw_prefix_cache *cache = share->root->cache;
    dw__prefix_lock(cache);
    dw__prefix_unref_group(share->group);
    share->root->references--;
    share->common->references--;
    dw__prefix_drop_unused_roots(cache);
    dw__prefix_unlock(cache);
    *share = (dw__prefix_share){.impure = share->impure};
}

void dw__prefix_share_fork(dw__prefix_share *child, const dw__prefix_share *parent)
{
    *child = *parent;
    child->owns = false;
    if (parent->root == NULL) {
        return;
    }
    dw__prefix_lock(parent->root->cache);
    (void)ref_group(child->group);
    child->root->references++;
    child->common->references++;
    dw__prefix_unlock(parent->root->cache);
}

void dw__prefix_share_trim(dw__prefix_share *share, uint32_t length)
{
    if (length < share->from) {
        share->from = length;
        share->owns = false;
    }
    share->impure = share->impure && length > 0;
}

/* A part in what contexts of that kind share: `share` has none so far. */
static dw_status join_share(dw__prefix_share *share, dw_prefix_cache *cache,
                            const dw_prefix_kind *of, const dw_kv_log *log, dw_error *err)
{
    dw_prefix_kind kind = *of;
    dw_account_scope payer = dw_account_pause(); /* what many share */
    dw__prefix_lock(cache);
    struct dw__prefix_root *root = dw__prefix_root_for(cache, &kind, log);
    kind.scope = NULL;
    struct dw__prefix_root *common = root != NULL ? dw__prefix_root_for(cache, &kind, log) : NULL;
    if (root != NULL && common == NULL) {
        root->references--;
    }
    dw__prefix_unlock(cache);
    dw_account_leave(payer);
    if (common == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to share prefixes");
    }
    share->root = root;
    share->common = common;
    return DW_OK;
}

static dw_prefix_kind kind_of(const dw_context *context, const char *scope)
{
    return (dw_prefix_kind){.scope = scope,
                            .model = context->model,
                            .kv_type = context->kv_type,
                            .capacity = dw_kv_log_capacity(context->log),
                            .adapters = context->adapters};
}

dw_status dw_context_share_prefixes(dw_context *context, dw_prefix_cache *cache, const char *scope,
                                    dw_error *err)
{
    const dw_prefix_kind kind = kind_of(context, scope);
    dw__prefix_share_release(&context->prefixes);
    return scope == NULL ? DW_OK : join_share(&context->prefixes, cache, &kind, context->log, err);
}

dw_status dw__prefix_share_adapt(dw_context *context, dw_adapter_set *adapters, dw_error *err)
{
    dw__prefix_share *share = &context->prefixes;
    dw__prefix_share anew = {.impure = share->impure};
    DW_ASSERT(dw_kv_log_length(context->log) == 0);
    if (share->root == NULL) {
        return DW_OK;
    }
    dw_prefix_kind kind = kind_of(context, share->root->scope);
    kind.adapters = adapters;
    dw_status status = join_share(&anew, share->root->cache, &kind, context->log, err);
    if (status == DW_OK) {
        dw__prefix_share_release(share);
        *share = anew;
    }
    return status;
}

/* ---- finding ------------------------------------------------------------------------------ */

/* The longest prefix of tokens [count], in whole blocks, that is in the tree. */
static dw__prefix_node *match(dw_prefix_cache *cache, struct dw__prefix_root *root,
                              const int32_t *tokens, uint32_t count, uint32_t *matched)
{
    dw__prefix_node *at = &root->top;
    *matched = 0;
    while (count - *matched >= DW_PREFIX_BLOCK) {
        dw__prefix_node *child = find_child(cache, at, tokens + *matched);
        if (child == NULL) {
            break;
        }
        at = child;
        *matched += DW_PREFIX_BLOCK;
    }
    return at;
}

/* The same in the scope's own tree, or in that of all. */
static dw__prefix_node *match_any(const dw__prefix_share *share, const int32_t *tokens,
                                  uint32_t count, uint32_t *matched)
{
    dw_prefix_cache *cache = share->root->cache;
    uint32_t common_matched = 0;
    dw__prefix_node *own = match(cache, share->root, tokens, count, matched);
    dw__prefix_node *common = match(cache, share->common, tokens, count, &common_matched);
    if (common_matched <= *matched) {
        return own;
    }
    *matched = common_matched;
    return common;
}

uint32_t dw__prefix_match(const dw__prefix_share *share, const int32_t *tokens, uint32_t count)
{
    uint32_t matched = 0;
    dw__prefix_lock(share->root->cache);
    (void)match_any(share, tokens, count, &matched);
    dw__prefix_unlock(share->root->cache);
    return matched;
}

uint32_t dw__prefix_take(dw_context *context, const int32_t *tokens, uint32_t held, uint32_t count)
{
    dw__prefix_share *share = &context->prefixes;
    dw_prefix_cache *cache = share->root->cache;
    uint32_t matched = 0;
    uint32_t length = held;
    dw__prefix_lock(cache);
    cache->counts.lookups++;
    dw__prefix_node *at = match_any(share, tokens, count, &matched);
    /* What the context has is shared with its forks and its snapshot: it is not given up for
     * less than it is itself. */
    if (matched > held && matched - held >= held) {
        dw__prefix_entry *e = entry_for(at);
        dw__prefix_touch(cache, e);
        if (dw_kv_log_adopt(context->log, e->log, matched, NULL) == DW_OK) {
            dw__prefix_unref_group(share->group);
            *share = (dw__prefix_share){.root = share->root,
                                        .common = share->common,
                                        .group = ref_group(e->group),
                                        .from = matched};
            cache->counts.hits++;
            cache->counts.hit_tokens += matched - held;
            length = matched;
        }
    }
    dw__prefix_unlock(cache);
    return length;
}

/* ---- keeping ------------------------------------------------------------------------------ */

/* The group that records up to `length` of the context's log are in. NULL: no memory. */
static dw__prefix_group *group_for(dw_prefix_cache *cache, dw_context *context, uint32_t length)
{
    dw__prefix_share *share = &context->prefixes;
    if (length <= share->from) {
        return share->group;
    }
    if (!share->owns) {
        dw__prefix_group *group = dw_alloc(1, sizeof *group);
        if (group == NULL) {
            return NULL;
        }
        *group = (dw__prefix_group){.references = 1,
                                    .parent = share->group, /* its reference goes along */
                                    .record_bytes = dw_kv_log_record_bytes(context->log),
                                    .from = share->from};
        share->group = group;
        share->owns = true;
    } else if (share->group->holders > 0) {
        cache->bytes += (uint64_t)(length - share->from) * share->group->record_bytes;
    }
    share->group->to = share->from = length;
    return share->group;
}

/* An entry with its log and group becomes one of the cache's. */
void dw__prefix_join(dw_prefix_cache *cache, dw__prefix_entry *e, dw__prefix_node *at)
{
    e->at = at;
    e->number = ++cache->numbers;
    at->own = e;
    at->used = e;
    dw__prefix_hold(cache, e->group);
    put_newest(cache, e);
    dw__prefix_files_add(cache, e);
    cache->counts.entries++;
}

static dw_status add_entry(dw_context *context, struct dw__prefix_root *root, dw__prefix_node *at,
                           uint32_t length, dw_error *err)
{
    dw_prefix_cache *cache = root->cache;
    dw__prefix_entry *e = dw_alloc(1, sizeof *e);
    if (e == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to keep a prefix");
    }
    dw_status status = dw_kv_log_fork_prefix(&e->log, context->log, length, err);
    dw__prefix_group *group = status == DW_OK ? group_for(cache, context, length) : NULL;
    if (group == NULL) {
        status = status == DW_OK ? dw_fail(err, DW_E_MEMORY, "no memory to keep a prefix") : status;
        dw_kv_log_destroy(e->log);
        dw_free(e);
        return status;
    }
    e->root = root;
    e->group = ref_group(group);
    dw__prefix_join(cache, e, at);
    return DW_OK;
}

/* Blocks for tokens [length], those that are not there with them. NULL: no memory; the last that is
 * there is in `*at`, to be pruned. */
bool dw__prefix_walk(dw_prefix_cache *cache, struct dw__prefix_root *root, const int32_t *tokens,
                     uint32_t length, dw__prefix_node **at)
{
    uint32_t matched = 0;
    *at = match(cache, root, tokens, length, &matched);
    while (matched < length) {
        dw__prefix_node *child = add_child(cache, *at, tokens + matched);
        if (child == NULL) {
            return false;
        }
        *at = child;
        matched += DW_PREFIX_BLOCK;
    }
    return true;
}

dw_status dw__prefix_pin(dw_prefix_cache *cache, dw__prefix_entry *e, dw_error *err)
{
    if (e->pinned) {
        return DW_OK;
    }
    if (entry_bytes(e) > cache->bytes_max - cache->pinned_bytes) {
        return dw_fail(err, DW_E_LIMIT, "prefix: pinning %llu bytes beside %llu, of %llu in all",
                       (unsigned long long)entry_bytes(e), (unsigned long long)cache->pinned_bytes,
                       (unsigned long long)cache->bytes_max);
    }
    e->pinned = true;
    cache->pinned_bytes += entry_bytes(e);
    return DW_OK;
}

static dw_status keep(dw_context *context, unsigned flags, dw_error *err)
{
    const dw__prefix_share *share = &context->prefixes;
    struct dw__prefix_root *root = (flags & DW_PREFIX_PUBLIC) != 0 ? share->common : share->root;
    dw_prefix_cache *cache = root->cache;
    uint32_t length = dw_kv_log_length(context->log) / DW_PREFIX_BLOCK * DW_PREFIX_BLOCK;
    dw__prefix_node *at = NULL;
    if (length == 0) {
        return DW_OK;
    }
    dw_status status = dw__prefix_walk(cache, root, context->history.tokens, length, &at)
                           ? DW_OK
                           : dw_fail(err, DW_E_MEMORY, "no memory to keep a prefix");
    if (status == DW_OK && at->own == NULL) {
        status = add_entry(context, root, at, length, err);
    } else if (status == DW_OK) {
        dw__prefix_touch(cache, at->own);
    }
    if (status == DW_OK && (flags & DW_PREFIX_PINNED) != 0) {
        status = dw__prefix_pin(cache, at->own, err);
    }
    if (status != DW_OK) {
        dw__prefix_prune(cache, at);
    }
    dw__prefix_make_room(cache);
    return status;
}

dw_status dw_prefix_cache_keep(dw_context *context, unsigned flags, dw_error *err)
{
    const dw__prefix_share *share = &context->prefixes;
    if (share->root == NULL) {
        return dw_fail(err, DW_E_STATE, "prefix: the context shares none");
    }
    if (share->impure) {
        return dw_fail(err, DW_E_STATE,
                       "prefix: the context was shifted or thawed: its records may be others than "
                       "its tokens give");
    }
    dw_prefix_cache *cache = share->root->cache;
    dw_account_scope payer = dw_account_pause(); /* the cache has a limit of its own */
    dw__prefix_lock(cache);
    dw_status status = keep(context, flags, err);
    dw__prefix_unlock(cache);
    dw_account_leave(payer);
    return status;
}

void dw__prefix_give(dw_context *context)
{
    if (context->prefixes.root != NULL && !context->prefixes.impure) {
        (void)dw_prefix_cache_keep(context, 0, NULL);
    }
}
