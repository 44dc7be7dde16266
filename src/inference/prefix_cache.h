/* Keys and values of token prefixes that contexts have computed, for contexts that begin alike: a
 * prompt's first tokens that are here already are not computed again, and stand in memory once.
 *
 * A tree of blocks of DW_PREFIX_BLOCK tokens, one tree for each scope, model, set of adapters and
 * kind of log. Those with adapters are in no files. What
 * a scope's contexts compute, only that scope's find; beside it there is what the operator made
 * public. A block's place in the tree is all tokens before it, and these are compared, not only
 * their hashes. What is here is held by forks of the contexts' logs (kv/kv_log.h); the fork used
 * longest ago goes first, where there are too many bytes, or more forks than an eighth of the files
 * that the process may have open.
 *
 * A prompt's results do not depend on whether its beginning was found (docs/numerics.md): blocks
 * end where batches cut prompts. Contexts whose records are not what their tokens alone give
 * (shifted, or thawed from a file) find prefixes and give none.
 * Thread: any. */
#ifndef DW_INFERENCE_PREFIX_CACHE_H
#define DW_INFERENCE_PREFIX_CACHE_H

#include "inference/context.h"

#define DW_PREFIX_BLOCK 64u
/* Tokens at the end of a prompt that are computed in any case: it wants results, and a batch leaves
 * no shorter rest. */
#define DW_PREFIX_REST 8u

typedef struct dw_prefix_cache dw_prefix_cache;

/* `bytes_max`: of records. Errors: DW_E_MEMORY. */
dw_status dw_prefix_cache_create(dw_prefix_cache **out, uint64_t bytes_max, dw_error *err);
/* The one of an engine; as long as it. */
dw_prefix_cache *dw_engine_prefix_cache(dw_engine *engine);
/* Contexts that share in it must be gone. */
void dw_prefix_cache_destroy(dw_prefix_cache *cache);
/* Forget what is of `model`; NULL: of all. */
void dw_prefix_cache_clear(dw_prefix_cache *cache, const dw_model *model, bool pinned_too);

/* Forget the prefix used longest ago of those that are not pinned and take memory of the host's;
 * false: there is none. */
bool dw_prefix_cache_relieve(dw_prefix_cache *cache);

/* From here on the context finds and gives prefixes of `scope`, a text without meaning here; NULL:
 * none any more. `cache` outlives the context and its forks, which do the same.
 * Errors: DW_E_MEMORY; then it does neither. */
dw_status dw_context_share_prefixes(dw_context *context, dw_prefix_cache *cache, const char *scope,
                                    dw_error *err);

/* dw_instance_keep_prefixes for one context. Errors: DW_E_STATE (it shares none, or its records
 * are not what its tokens alone give), DW_E_LIMIT (pinned ones would be over bytes_max),
 * DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_prefix_cache_keep(dw_context *context, unsigned flags, dw_error *err);

typedef struct dw_prefix_counts {
    uint64_t bytes; /* of records that it holds, those that its entries share once */
    uint64_t bytes_max;
    uint64_t entries;
    uint64_t lookups; /* prompts of more than a block */
    uint64_t hits;
    uint64_t hit_tokens; /* that were not computed */
    uint64_t evictions;
} dw_prefix_counts;
void dw_prefix_cache_count(dw_prefix_cache *cache, dw_prefix_counts *counts);

/* ---- for who keeps entries in files (src/prefixes) ---- */

/* What prefixes must have in common beside their tokens. */
typedef struct dw_prefix_kind {
    const char *scope; /* NULL: public */
    dw_model *model;
    dw_kv_type kv_type;
    uint32_t capacity;        /* of logs */
    dw_adapter_set *adapters; /* NULL: none */
} dw_prefix_kind;

/* An entry, copied out. */
typedef struct dw_prefix_copy {
    uint64_t number;     /* the entry's */
    dw_prefix_kind kind; /* scope and model are the copy's */
    int32_t *tokens;     /* [length] */
    uint32_t length;
    uint64_t
        base_file; /* its first records are this one's, which may go on otherwise; 0: none is */
    uint32_t base_length; /* so many */
    bool pinned;
    dw_kv_log *log; /* a fork */
} dw_prefix_copy;

/* Become the one that keeps the cache's entries in files. Errors: DW_E_STATE (there is one). */
dw_status dw_prefix_cache_keep_files(dw_prefix_cache *cache, dw_error *err);
/* No more: no entry is in a file then. */
void dw_prefix_cache_leave_files(dw_prefix_cache *cache);
/* Whether what files have of the model was put here, as dw_prefix_cache_set_loaded says, and since
 * then not cleared. Errors: DW_E_MEMORY. */
bool dw_prefix_cache_is_loaded(dw_prefix_cache *cache, const dw_model *model);
dw_status dw_prefix_cache_set_loaded(dw_prefix_cache *cache, dw_model *model, dw_error *err);

/* Entries that wait to be written: those that no file has, but for those that were copied out and
 * not used since. Takes no lock. */
size_t dw_prefix_cache_unsaved(const dw_prefix_cache *cache);
/* The one of them that waits longest, to be released; it waits no more. *found false: there is
 * none. Errors: DW_E_MEMORY, DW_E_DEVICE: it waits on. */
dw_status dw_prefix_cache_copy_unsaved(dw_prefix_cache *cache, dw_prefix_copy *copy, bool *found,
                                       dw_error *err);
void dw_prefix_copy_release(dw_prefix_copy *copy);
/* The entry, if it is still there and in no file, waits again. */
void dw_prefix_cache_set_unsaved(dw_prefix_cache *cache, uint64_t number);
/* The entry, if it is still there, is in a file, by which it is known from here on. `log`, which is
 * taken, has the same records, mapped from files where it is in host memory: it takes no memory
 * then. NULL: it stays as it is. */
void dw_prefix_cache_set_file(dw_prefix_cache *cache, uint64_t number, uint64_t file,
                              dw_kv_log *log);
/* An entry of a file: `log` is taken in any case. One that is there stays, in that file from here
 * on. Errors: DW_E_MEMORY, DW_E_LIMIT (pinned). */
dw_status dw_prefix_cache_put(dw_prefix_cache *cache, const dw_prefix_copy *entry, uint64_t file,
                              dw_kv_log *log, dw_error *err);
/* A fork of the log of the entry that is in the file; NULL: there is none. Errors: DW_E_MEMORY,
 * DW_E_DEVICE. */
dw_status dw_prefix_cache_fork_file(dw_prefix_cache *cache, uint64_t file, dw_kv_log **log,
                                    dw_error *err);
/* The file is no more. */
void dw_prefix_cache_drop_file(dw_prefix_cache *cache, uint64_t file);

/* Use of an entry that is in a file. */
typedef struct dw_prefix_use {
    uint64_t file;
    bool pinned;
} dw_prefix_use;
/* Uses [at most `max`] since they were last asked for, the last first. */
size_t dw_prefix_cache_take_used(dw_prefix_cache *cache, dw_prefix_use *uses, size_t max);

/* ---- for src/inference ---- */

typedef struct dw__prefix_group dw__prefix_group;

/* A context's part in it. Zeroed: none. */
typedef struct dw__prefix_share {
    struct dw__prefix_root *root;   /* counted; NULL: none */
    struct dw__prefix_root *common; /* what is public; counted */
    dw__prefix_group *group; /* that the log's first `from` records are in; counted; NULL: none */
    uint32_t from;
    bool owns;   /* `group` ends there, and is of what this context computed: it can grow */
    bool impure; /* records are not what the tokens alone give */
} dw__prefix_share;

/* The context, which is empty, is about to have these adapters, NULL: none: it shares from here on
 * what is of them, in the scope that it has. Errors: DW_E_MEMORY; it is as it was. */
dw_status dw__prefix_share_adapt(dw_context *context, dw_adapter_set *adapters, dw_error *err);
/* A fork's; the parent's stays. */
void dw__prefix_share_fork(dw__prefix_share *child, const dw__prefix_share *parent);
void dw__prefix_share_release(dw__prefix_share *share);
/* The context holds `length` tokens now, not more than before. */
void dw__prefix_share_trim(dw__prefix_share *share, uint32_t length);

/* How many of the first tokens [count] are found, whole blocks; of them at most `most`. */
uint32_t dw__prefix_match(const dw__prefix_share *share, const int32_t *tokens, uint32_t count);
/* Give the context, whose step is about to begin and which holds `tokens` [held], the records of
 * tokens that are found among [count], where that is worth it. Returns the context's length
 * afterwards: `held`, where nothing was found or no memory is there. */
uint32_t dw__prefix_take(dw_context *context, const int32_t *tokens, uint32_t held, uint32_t count);
/* dw_prefix_cache_relieve; false too where the context has no part in a cache. */
bool dw__prefix_relieve(const dw__prefix_share *share);
/* Best effort: the context has computed a prompt. */
void dw__prefix_give(dw_context *context);

#endif
