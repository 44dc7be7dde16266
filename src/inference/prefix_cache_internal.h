/* What prefix_cache.c and prefix_files.c share: the tree of blocks, and what it holds.
 * Private to src/inference. Thread: what takes a cache is called with its lock held, unless its
 * comment says otherwise. */
#ifndef DW_INFERENCE_PREFIX_CACHE_INTERNAL_H
#define DW_INFERENCE_PREFIX_CACHE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "inference/prefix_cache.h"

typedef struct dw__prefix_entry dw__prefix_entry;

/* The block that ends a prefix. Of a root's own no tokens are used: it ends the empty one. */
typedef struct dw__prefix_node {
    struct dw__prefix_node *parent; /* NULL: a root's own */
    struct dw__prefix_node *first;  /* of its children */
    struct dw__prefix_node *before; /* of its parent's */
    struct dw__prefix_node *after;
    struct dw__prefix_node *in_bucket; /* the next */
    dw__prefix_entry *own;             /* that ends here; NULL: none */
    dw__prefix_entry *used;  /* from which hits here are served, here or below; NULL: not known */
    dw__prefix_entry *filed; /* one that is in a file, here or below; NULL: none is */
    uint64_t hash;
    int32_t tokens[DW_PREFIX_BLOCK];
} dw__prefix_node;

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

/* By what entries are found. */
typedef enum dw__prefix_key {
    DW__PREFIX_NUMBER,
    DW__PREFIX_FILE, /* those that are in one */
    DW__PREFIX_KEYS,
} dw__prefix_key;

/* A fork of a context's log, of whole blocks. */
struct dw__prefix_entry {
    dw__prefix_node *at;
    struct dw__prefix_root *root;
    dw_kv_log *log;
    dw__prefix_group *group;
    uint64_t number;
    uint64_t file; /* 0: none */
    bool pinned;
    bool used;               /* since its file's keeper asked */
    bool unsaved;            /* it is among those that wait to be written */
    uint64_t use;            /* of the cache's uses: when it was used last */
    dw__prefix_entry *newer; /* by use */
    dw__prefix_entry *older;
    dw__prefix_entry *unsaved_before; /* among those that wait */
    dw__prefix_entry *unsaved_after;
    dw__prefix_entry *in_bucket[DW__PREFIX_KEYS]; /* the next */
};

/* Whose prefixes go together. */
struct dw__prefix_root {
    dw_prefix_cache *cache;
    size_t references; /* of contexts; guarded by the cache's lock */
    struct dw__prefix_root *next;
    char *scope; /* NULL: public */
    dw_model *model;
    dw_adapter_set *adapters; /* counted; NULL: none */
    dw_kv_type kv_type;
    bool is_long;
    uint32_t capacity; /* of logs, where these can only share with their like; else 0 */
    dw__prefix_node top;
};

/* Entries by one of their numbers, which are given one after the other. */
typedef struct dw__prefix_index {
    dw__prefix_entry **buckets; /* [bucket_count], a power of two */
    size_t bucket_count;
    size_t count;
} dw__prefix_index;

struct dw_prefix_cache {
    pthread_mutex_t lock; /* guards all below, and the entries' logs */
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t pinned_bytes; /* of pinned entries, each whole */
    struct dw__prefix_root *roots;
    dw__prefix_entry *newest;
    dw__prefix_entry *oldest;
    uint64_t uses;
    dw__prefix_node **buckets; /* [bucket_count], a power of two */
    size_t bucket_count;
    size_t node_count;
    uint64_t numbers; /* given to entries */
    dw_prefix_counts counts;

    dw__prefix_index by[DW__PREFIX_KEYS];
    bool has_keeper;                 /* of files */
    dw__prefix_entry *unsaved_first; /* wait to be written, the first first */
    dw__prefix_entry *unsaved_last;
    _Atomic size_t unsaved_count; /* also read without the lock */
    uint64_t told_uses;           /* up to which the keeper was told */
    dw_model **loaded;            /* [loaded_count]: counted; what files have of them is here */
    size_t loaded_count;
    size_t loaded_capacity;
};

/* Without the lock: take it, give it back. */
void dw__prefix_lock(dw_prefix_cache *cache);
void dw__prefix_unlock(dw_prefix_cache *cache);

/* From here up: blocks that no entry needs any more. */
void dw__prefix_prune(dw_prefix_cache *cache, dw__prefix_node *n);
/* Blocks for tokens [length], those that are not there with them. NULL: no memory; the last that is
 * there is in `*at`, to be pruned. */
bool dw__prefix_walk(dw_prefix_cache *cache, struct dw__prefix_root *root, const int32_t *tokens,
                     uint32_t length, dw__prefix_node **at);
void dw__prefix_unref_group(dw__prefix_group *group);
void dw__prefix_hold(dw_prefix_cache *cache, dw__prefix_group *group);
void dw__prefix_let_go(dw_prefix_cache *cache, dw__prefix_group *group);
/* For logs of that kind, `log` one of them; counted. NULL: no memory. */
struct dw__prefix_root *dw__prefix_root_for(dw_prefix_cache *cache, const dw_prefix_kind *kind,
                                            const dw_kv_log *log);
void dw__prefix_drop_unused_roots(dw_prefix_cache *cache);
/* An entry with its log and group becomes one of the cache's. */
void dw__prefix_join(dw_prefix_cache *cache, dw__prefix_entry *e, dw__prefix_node *at);
void dw__prefix_touch(dw_prefix_cache *cache, dw__prefix_entry *e);
void dw__prefix_drop(dw_prefix_cache *cache, dw__prefix_entry *e);
dw_status dw__prefix_pin(dw_prefix_cache *cache, dw__prefix_entry *e, dw_error *err);
void dw__prefix_make_room(dw_prefix_cache *cache);

/* ---- prefix_files.c ---- */

/* Room for the first entries. false: no memory. */
bool dw__prefix_index_init(dw__prefix_index *index);
void dw__prefix_index_release(dw__prefix_index *index);
/* The entry is new, or going: what the keeper of files knows it by. */
void dw__prefix_files_add(dw_prefix_cache *cache, dw__prefix_entry *e);
void dw__prefix_files_remove(dw_prefix_cache *cache, dw__prefix_entry *e);
/* One that is in no file is worth another try. */
void dw__prefix_files_used(dw_prefix_cache *cache, dw__prefix_entry *e);
/* `model`, NULL: all, is as if it had never been loaded. */
void dw__prefix_files_forget(dw_prefix_cache *cache, const dw_model *model);

#endif
