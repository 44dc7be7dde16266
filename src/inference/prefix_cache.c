#include "inference/prefix_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "inference/context_internal.h"

#define BUCKETS_FIRST 64u

typedef struct entry entry;

/* The block that ends a prefix. Of a root's own no tokens are used: it ends the empty one. */
typedef struct node {
    struct node *parent; /* NULL: a root's own */
    struct node *first;  /* of its children */
    struct node *before; /* of its parent's */
    struct node *after;
    struct node *in_bucket; /* the next */
    entry *own;             /* that ends here; NULL: none */
    entry *used;            /* from which hits here are served, here or below; NULL: not known */
    uint64_t hash;
    int32_t tokens[DW_PREFIX_BLOCK];
} node;

/* Records that lie together, computed by one context: [from, to) of its log. Those before are the
 * parent's. They are in memory as long as any entry needs some of them. Of mapped files: a group
 * without bytes. */
struct dw__prefix_group {
    size_t references; /* guarded by the cache's lock, as all else */
    size_t holders;    /* entries of it, and groups upon it that are held */
    struct dw__prefix_group *parent;
    size_t record_bytes;
    uint32_t from;
    uint32_t to;
};

/* A fork of a context's log, of whole blocks. */
struct entry {
    node *at;
    struct dw__prefix_root *root;
    dw_kv_log *log;
    dw__prefix_group *group;
    uint64_t number;
    uint64_t file; /* 0: none */
    bool pinned;
    bool used;    /* since its file's keeper asked */
    entry *newer; /* by use */
    entry *older;
};

/* Whose prefixes go together. */
struct dw__prefix_root {
    dw_prefix_cache *cache;
    size_t references; /* of contexts; guarded by the cache's lock */
    struct dw__prefix_root *next;
    char *scope; /* NULL: public */
    dw_model *model;
    dw_kv_type kv_type;
    bool is_long;
    uint32_t capacity; /* of logs, where these can only share with their like; else 0 */
    node top;
};

struct dw_prefix_cache {
    pthread_mutex_t lock; /* guards all below, and the entries' logs */
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t pinned_bytes; /* of pinned entries, each whole */
    struct dw__prefix_root *roots;
    entry *newest;
    entry *oldest;
    node **buckets; /* [bucket_count], a power of two */
    size_t bucket_count;
    size_t node_count;
    uint64_t numbers; /* given to entries */
    dw_prefix_counts counts;
};

static void lock(dw_prefix_cache *cache)
{
    (void)pthread_mutex_lock(&cache->lock);
}

static void unlock(dw_prefix_cache *cache)
{
    (void)pthread_mutex_unlock(&cache->lock);
}

/* ---- blocks ------------------------------------------------------------------------------- */

static uint64_t hash_block(const node *parent, const int32_t *tokens)
{
    uint64_t hash = dw_hash_of_text((const char *)tokens, DW_PREFIX_BLOCK * sizeof *tokens);
    return hash ^ ((uintptr_t)parent * UINT64_C(0x9e3779b97f4a7c15));
}

static node **bucket_of(const dw_prefix_cache *cache, uint64_t hash)
{
    return &cache->buckets[(hash ^ hash >> 32) & (cache->bucket_count - 1)];
}

static node *find_child(const dw_prefix_cache *cache, const node *parent, const int32_t *tokens)
{
    if (parent->first == NULL) {
        return NULL;
    }
    uint64_t hash = hash_block(parent, tokens);
    for (node *n = *bucket_of(cache, hash); n != NULL; n = n->in_bucket) {
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
    node **buckets = dw_alloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    node **old = cache->buckets;
    size_t old_count = cache->bucket_count;
    cache->buckets = buckets;
    cache->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            node *moved = old[i];
            node **bucket = bucket_of(cache, moved->hash);
            old[i] = moved->in_bucket;
            moved->in_bucket = *bucket;
            *bucket = moved;
        }
    }
    dw_free(old);
}

static node *add_child(dw_prefix_cache *cache, node *parent, const int32_t *tokens)
{
    node *n = dw_alloc(1, sizeof *n);
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
    node **bucket = bucket_of(cache, n->hash);
    n->in_bucket = *bucket;
    *bucket = n;
    cache->node_count++;
    return n;
}

/* From here up: blocks that no entry needs any more. */
static void prune(dw_prefix_cache *cache, node *n)
{
    while (n->parent != NULL && n->own == NULL && n->first == NULL) {
        node *parent = n->parent;
        node **link = bucket_of(cache, n->hash);
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

static void unref_group(dw__prefix_group *group)
{
    while (group != NULL && --group->references == 0) {
        dw__prefix_group *parent = group->parent;
        DW_ASSERT(group->holders == 0);
        dw_free(group);
        group = parent;
    }
}

static void hold(dw_prefix_cache *cache, dw__prefix_group *group)
{
    for (; group != NULL && group->holders++ == 0; group = group->parent) {
        cache->bytes += group_bytes(group);
    }
}

static void let_go(dw_prefix_cache *cache, dw__prefix_group *group)
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

static void take_from_list(dw_prefix_cache *cache, entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &cache->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &cache->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void put_newest(dw_prefix_cache *cache, entry *e)
{
    e->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

static void touch(dw_prefix_cache *cache, entry *e)
{
    e->used = true;
    take_from_list(cache, e);
    put_newest(cache, e);
}

static uint64_t entry_bytes(const entry *e)
{
    return (uint64_t)dw_kv_log_length(e->log) * dw_kv_log_record_bytes(e->log);
}

static void drop(dw_prefix_cache *cache, entry *e)
{
    for (node *n = e->at; n != NULL; n = n->parent) {
        n->used = n->used == e ? NULL : n->used;
    }
    e->at->own = NULL;
    prune(cache, e->at);
    take_from_list(cache, e);
    cache->pinned_bytes -= e->pinned ? entry_bytes(e) : 0;
    dw_kv_log_destroy(e->log);
    let_go(cache, e->group);
    unref_group(e->group);
    cache->counts.entries--;
    dw_free(e);
}

static void make_room(dw_prefix_cache *cache)
{
    entry *e = cache->oldest;
    while (e != NULL && cache->bytes > cache->bytes_max) {
        entry *next = e->newer;
        if (!e->pinned) {
            drop(cache, e);
            cache->counts.evictions++;
        }
        e = next;
    }
}

/* One that covers the block: that which served it last, or any. */
static entry *entry_for(node *n)
{
    if (n->used == NULL) {
        const node *below = n;
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
           root->is_long == is_long(kind) && root->capacity == capacity;
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
    root->kv_type = kind->kv_type;
    root->is_long = is_long(kind);
    root->capacity = capacity;
    root->next = cache->roots;
    cache->roots = root;
    return root;
}

/* For logs of that kind, `log` one of them; counted. NULL: no memory. */
static struct dw__prefix_root *root_for(dw_prefix_cache *cache, const dw_prefix_kind *kind,
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

static void drop_unused_roots(dw_prefix_cache *cache)
{
    struct dw__prefix_root **link = &cache->roots;
    while (*link != NULL) {
        struct dw__prefix_root *root = *link;
        if (root->references > 0 || root->top.first != NULL) {
            link = &root->next;
            continue;
        }
        *link = root->next;
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
    node **buckets = cache != NULL ? dw_alloc(BUCKETS_FIRST, sizeof *buckets) : NULL;
    if (buckets == NULL) {
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
    lock(cache);
    for (entry *e = cache->oldest, *next = NULL; e != NULL; e = next) {
        next = e->newer;
        if ((model == NULL || e->root->model == model) && (pinned_too || !e->pinned)) {
            drop(cache, e);
        }
    }
    drop_unused_roots(cache);
    unlock(cache);
}

void dw_prefix_cache_destroy(dw_prefix_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    dw_prefix_cache_clear(cache, NULL, true);
    DW_ASSERT(cache->roots == NULL && cache->bytes == 0 && cache->node_count == 0);
    dw_free(cache->buckets);
    (void)pthread_mutex_destroy(&cache->lock);
    dw_free(cache);
}

void dw_prefix_cache_count(dw_prefix_cache *cache, dw_prefix_counts *counts)
{
    lock(cache);
    *counts = cache->counts;
    counts->bytes = cache->bytes;
    counts->bytes_max = cache->bytes_max;
    unlock(cache);
}

/* ---- contexts ----------------------------------------------------------------------------- */

void dw__prefix_share_release(dw__prefix_share *share)
{
    if (share->root == NULL) {
        return;
    }
    dw_prefix_cache *cache = share->root->cache;
    lock(cache);
    unref_group(share->group);
    share->root->references--;
    share->common->references--;
    drop_unused_roots(cache);
    unlock(cache);
    *share = (dw__prefix_share){.impure = share->impure};
}

void dw__prefix_share_fork(dw__prefix_share *child, const dw__prefix_share *parent)
{
    *child = *parent;
    child->owns = false;
    if (parent->root == NULL) {
        return;
    }
    lock(parent->root->cache);
    (void)ref_group(child->group);
    child->root->references++;
    child->common->references++;
    unlock(parent->root->cache);
}

void dw__prefix_share_trim(dw__prefix_share *share, uint32_t length)
{
    if (length < share->from) {
        share->from = length;
        share->owns = false;
    }
    share->impure = share->impure && length > 0;
}

dw_status dw_context_share_prefixes(dw_context *context, dw_prefix_cache *cache, const char *scope,
                                    dw_error *err)
{
    dw__prefix_share *share = &context->prefixes;
    dw__prefix_share_release(share);
    if (scope == NULL) {
        return DW_OK;
    }
    dw_account_scope payer = dw_account_pause(); /* what many share */
    lock(cache);
    dw_prefix_kind kind = {.scope = scope,
                           .model = context->model,
                           .kv_type = context->kv_type,
                           .capacity = dw_kv_log_capacity(context->log)};
    struct dw__prefix_root *root = root_for(cache, &kind, context->log);
    kind.scope = NULL;
    struct dw__prefix_root *common = root != NULL ? root_for(cache, &kind, context->log) : NULL;
    if (root != NULL && common == NULL) {
        root->references--;
    }
    unlock(cache);
    dw_account_leave(payer);
    if (common == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to share prefixes");
    }
    share->root = root;
    share->common = common;
    return DW_OK;
}

/* ---- finding ------------------------------------------------------------------------------ */

/* The longest prefix of tokens [count], in whole blocks, that is in the tree. */
static node *match(dw_prefix_cache *cache, struct dw__prefix_root *root, const int32_t *tokens,
                   uint32_t count, uint32_t *matched)
{
    node *at = &root->top;
    *matched = 0;
    while (count - *matched >= DW_PREFIX_BLOCK) {
        node *child = find_child(cache, at, tokens + *matched);
        if (child == NULL) {
            break;
        }
        at = child;
        *matched += DW_PREFIX_BLOCK;
    }
    return at;
}

/* The same in the scope's own tree, or in that of all. */
static node *match_any(const dw__prefix_share *share, const int32_t *tokens, uint32_t count,
                       uint32_t *matched)
{
    dw_prefix_cache *cache = share->root->cache;
    uint32_t common_matched = 0;
    node *own = match(cache, share->root, tokens, count, matched);
    node *common = match(cache, share->common, tokens, count, &common_matched);
    if (common_matched <= *matched) {
        return own;
    }
    *matched = common_matched;
    return common;
}

uint32_t dw__prefix_match(const dw__prefix_share *share, const int32_t *tokens, uint32_t count)
{
    uint32_t matched = 0;
    lock(share->root->cache);
    (void)match_any(share, tokens, count, &matched);
    unlock(share->root->cache);
    return matched;
}

uint32_t dw__prefix_take(dw_context *context, const int32_t *tokens, uint32_t held, uint32_t count)
{
    dw__prefix_share *share = &context->prefixes;
    dw_prefix_cache *cache = share->root->cache;
    uint32_t matched = 0;
    uint32_t length = held;
    lock(cache);
    cache->counts.lookups++;
    node *at = match_any(share, tokens, count, &matched);
    /* What the context has is shared with its forks and its snapshot: it is not given up for
     * less than it is itself. */
    if (matched > held && matched - held >= held) {
        entry *e = entry_for(at);
        touch(cache, e);
        if (dw_kv_log_adopt(context->log, e->log, matched, NULL) == DW_OK) {
            unref_group(share->group);
            *share = (dw__prefix_share){.root = share->root,
                                        .common = share->common,
                                        .group = ref_group(e->group),
                                        .from = matched};
            cache->counts.hits++;
            cache->counts.hit_tokens += matched - held;
            length = matched;
        }
    }
    unlock(cache);
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
static void join(dw_prefix_cache *cache, entry *e, node *at)
{
    e->at = at;
    e->number = ++cache->numbers;
    at->own = e;
    at->used = e;
    hold(cache, e->group);
    put_newest(cache, e);
    cache->counts.entries++;
}

static dw_status add_entry(dw_context *context, struct dw__prefix_root *root, node *at,
                           uint32_t length, dw_error *err)
{
    dw_prefix_cache *cache = root->cache;
    entry *e = dw_alloc(1, sizeof *e);
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
    join(cache, e, at);
    return DW_OK;
}

/* Blocks for tokens [length], those that are not there with them. NULL: no memory; the last that is
 * there is in `*at`, to be pruned. */
static bool walk(dw_prefix_cache *cache, struct dw__prefix_root *root, const int32_t *tokens,
                 uint32_t length, node **at)
{
    uint32_t matched = 0;
    *at = match(cache, root, tokens, length, &matched);
    while (matched < length) {
        node *child = add_child(cache, *at, tokens + matched);
        if (child == NULL) {
            return false;
        }
        *at = child;
        matched += DW_PREFIX_BLOCK;
    }
    return true;
}

static dw_status pin(dw_prefix_cache *cache, entry *e, dw_error *err)
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
    node *at = NULL;
    if (length == 0) {
        return DW_OK;
    }
    dw_status status = walk(cache, root, context->history.tokens, length, &at)
                           ? DW_OK
                           : dw_fail(err, DW_E_MEMORY, "no memory to keep a prefix");
    if (status == DW_OK && at->own == NULL) {
        status = add_entry(context, root, at, length, err);
    } else if (status == DW_OK) {
        touch(cache, at->own);
    }
    if (status == DW_OK && (flags & DW_PREFIX_PINNED) != 0) {
        status = pin(cache, at->own, err);
    }
    if (status != DW_OK) {
        prune(cache, at);
    }
    make_room(cache);
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
    lock(cache);
    dw_status status = keep(context, flags, err);
    unlock(cache);
    dw_account_leave(payer);
    return status;
}

void dw__prefix_give(dw_context *context)
{
    if (context->prefixes.root != NULL && !context->prefixes.impure) {
        (void)dw_prefix_cache_keep(context, 0, NULL);
    }
}

/* ---- files -------------------------------------------------------------------------------- */

static entry *find_unsaved(const dw_prefix_cache *cache, uint64_t after)
{
    entry *found = NULL;
    for (entry *e = cache->newest; e != NULL; e = e->older) {
        if (e->file == 0 && e->number > after && (found == NULL || e->number < found->number)) {
            found = e;
        }
    }
    return found;
}

static dw_status copy_entry(dw_prefix_copy *copy, const entry *e, dw_error *err)
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
    for (const node *n = e->at; n->parent != NULL; n = n->parent) {
        if (n->own != NULL && n->own->file != 0 && copy->base_file == 0) {
            copy->base_file = n->own->file;
            copy->base_length = end;
        }
        end -= DW_PREFIX_BLOCK;
        memcpy(copy->tokens + end, n->tokens, sizeof n->tokens);
    }
    return dw_kv_log_fork(&copy->log, e->log, err);
}

dw_status dw_prefix_cache_copy_unsaved(dw_prefix_cache *cache, uint64_t after, dw_prefix_copy *copy,
                                       bool *found, dw_error *err)
{
    lock(cache);
    const entry *e = find_unsaved(cache, after);
    dw_status status = e != NULL ? copy_entry(copy, e, err) : DW_OK;
    unlock(cache);
    *found = e != NULL && status == DW_OK;
    if (status != DW_OK) {
        dw_prefix_copy_release(copy);
    }
    return status;
}

void dw_prefix_copy_release(dw_prefix_copy *copy)
{
    dw_kv_log_destroy(copy->log);
    dw_model_unref(copy->kind.model);
    dw_free((void *)(uintptr_t)copy->kind.scope);
    dw_free(copy->tokens);
    *copy = (dw_prefix_copy){.length = 0};
}

static entry *find_entry(const dw_prefix_cache *cache, uint64_t number, uint64_t file)
{
    for (entry *e = cache->newest; e != NULL; e = e->older) {
        if ((number != 0 && e->number == number) || (file != 0 && e->file == file)) {
            return e;
        }
    }
    return NULL;
}

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
    lock(cache);
    entry *e = find_entry(cache, number, 0);
    dw__prefix_group *group = e != NULL && log != NULL ? group_of_file(log) : NULL;
    if (e != NULL) {
        e->file = file;
    }
    if (group != NULL) {
        dw_kv_log *before = e->log;
        let_go(cache, e->group);
        unref_group(e->group);
        e->group = group;
        hold(cache, group);
        e->log = log;
        log = before;
    }
    dw_kv_log_destroy(log);
    unlock(cache);
}

/* `*taken`: the log is the cache's now. */
static dw_status put(dw_prefix_cache *cache, const dw_prefix_copy *wanted, uint64_t file,
                     dw_kv_log *log, bool *taken, dw_error *err)
{
    struct dw__prefix_root *root = root_for(cache, &wanted->kind, log);
    entry *e = dw_alloc(1, sizeof *e);
    dw__prefix_group *group = group_of_file(log);
    node *at = root != NULL ? &root->top : NULL;
    bool there = root != NULL && e != NULL && group != NULL &&
                 walk(cache, root, wanted->tokens, wanted->length, &at);
    *taken = there && at->own == NULL;
    if (root != NULL) {
        root->references--;
    }
    if (!*taken) {
        if (at != NULL) {
            prune(cache, at);
        }
        drop_unused_roots(cache);
        dw_free(group);
        dw_free(e);
        return there ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a prefix of a file");
    }
    e->root = root;
    e->log = log;
    e->group = group;
    e->file = file;
    join(cache, e, at);
    return wanted->pinned ? pin(cache, e, err) : DW_OK;
}

dw_status dw_prefix_cache_put(dw_prefix_cache *cache, const dw_prefix_copy *wanted, uint64_t file,
                              dw_kv_log *log, dw_error *err)
{
    bool taken = false;
    lock(cache);
    dw_status status = put(cache, wanted, file, log, &taken, err);
    make_room(cache);
    unlock(cache);
    if (!taken) {
        dw_kv_log_destroy(log);
    }
    return status;
}

void dw_prefix_cache_drop_file(dw_prefix_cache *cache, uint64_t file)
{
    lock(cache);
    entry *e = find_entry(cache, 0, file);
    if (e != NULL) {
        drop(cache, e);
    }
    unlock(cache);
}

size_t dw_prefix_cache_take_used(dw_prefix_cache *cache, uint64_t *files, size_t max)
{
    size_t count = 0;
    lock(cache);
    for (entry *e = cache->newest; e != NULL && count < max; e = e->older) {
        if (e->file != 0 && e->used) {
            e->used = false;
            files[count++] = e->file;
        }
    }
    unlock(cache);
    return count;
}
