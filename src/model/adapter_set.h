/* A model's adapters, and the combinations of them with scales that contexts and graphs have. Equal
 * ones are one object: to compare sets is to compare addresses.
 * Thread: any, unless a comment says otherwise. */
#ifndef DW_MODEL_ADAPTER_SET_H
#define DW_MODEL_ADAPTER_SET_H

#include "model/adapter.h"

#define DW_ADAPTERS_MAX 64u     /* of a model */
#define DW_ADAPTER_NAME_MAX 200 /* bytes */
#define DW_ADAPTER_SCALE_MAX 1000.0F

/* An adapter of a model, by the order in which they came, and what its product is multiplied by. */
typedef struct dw_adapter_choice {
    uint32_t index;
    float scale;
} dw_adapter_choice;

/* What a set adds to a product with `weight`, or to rows of a table. */
typedef struct dw_adapter_use {
    const dw_adapter_pair *pair;
    float scale;    /* the set's times the pair's factor */
    uint32_t order; /* of the adapter among the set's */
} dw_adapter_use;

typedef struct dw_adapters dw_adapters;

typedef struct dw_adapter_set {
    dw_adapters *of;
    size_t references; /* guarded by the lock of `of` */
    struct dw_adapter_set *next;
    uint32_t count;
    dw_adapter_choice choices[DW_ADAPTERS_MAX]; /* [count], by fingerprint; no scale is 0 */
    bool has_experts;                           /* a matrix of it is one of each expert */
    size_t use_count; /* of products; those of one weight stand together, in the choices' order */
    dw_adapter_use *uses;
    size_t table_count;
    dw_adapter_use *tables; /* of the token embeddings */
} dw_adapter_set;

/* Zeroed, then initialised. */
struct dw_adapters {
    pthread_mutex_t lock; /* guards `sets` and who adds */
    dw_adapter *list[DW_ADAPTERS_MAX];
    _Atomic uint32_t count; /* those below it stay as they are until the release */
    dw_adapter_set *sets;
};

void dw_adapters_init(dw_adapters *adapters);
/* No set is referred to any more. */
void dw_adapters_release(dw_adapters *adapters);

/* `adapter` is taken on success, under `name`, which no other has, with the scale of new contexts.
 * Errors: DW_E_ARG (name: empty, no printable ASCII, or of another; scale: not finite, or beyond
 * DW_ADAPTER_SCALE_MAX; the same file twice), DW_E_LIMIT (too many; a long name), DW_E_MEMORY. */
dw_status dw_adapters_add(dw_adapters *adapters, dw_adapter *adapter, const char *name, float scale,
                          dw_error *err);
size_t dw_adapters_count(const dw_adapters *adapters);
/* `index` below the count; until the model goes. */
const dw_adapter *dw_adapters_at(const dw_adapters *adapters, size_t index);
/* Errors: DW_E_NOT_FOUND, which names it and those that there are. */
dw_status dw_adapters_find(const dw_adapters *adapters, const char *name, uint32_t *index,
                           dw_error *err);

/* The set of these, counted; *out NULL: none, as where all scales are 0. Whoever asks for it first
 * pays for it (base/account.h), until nobody has it.
 * Errors: DW_E_RANGE (an index), DW_E_ARG (one twice, a scale), DW_E_MEMORY. */
dw_status dw_adapter_set_get(dw_adapter_set **out, dw_adapters *adapters,
                             const dw_adapter_choice *choices, uint32_t count, dw_error *err);
/* All adapters but those of experts, for graphs of rows with different sets: scales are none of it.
 * Errors: DW_E_MEMORY. */
dw_status dw_adapter_set_all(dw_adapter_set **out, dw_adapters *adapters, dw_error *err);
/* Whether rows with these sets, NULL: none, can be computed in one graph where products of adapters
 * are ours (adapter_product.h). As good for each two of several. */
bool dw_adapter_sets_mix(const dw_adapter_set *a, const dw_adapter_set *b);
/* That of new contexts. Errors: DW_E_MEMORY. */
dw_status dw_adapter_set_usual(dw_adapter_set **out, dw_adapters *adapters, dw_error *err);
/* NULL is fine, for both. */
dw_adapter_set *dw_adapter_set_ref(dw_adapter_set *set);
void dw_adapter_set_unref(dw_adapter_set *set);

/* The fingerprint of a model in `text` becomes that of the model with the set: another model, since
 * its new contexts give other results (docs/models.md). Errors: DW_E_MEMORY. */
dw_status dw_adapter_set_fingerprint(const dw_adapter_set *set, char text[DW_FINGERPRINT_BYTES],
                                     dw_error *err);

/* What `set`, which may be NULL, adds to products with `weight`: [*count], NULL with none. */
const dw_adapter_use *dw_adapter_set_find(const dw_adapter_set *set,
                                          const struct ggml_tensor *weight, size_t *count);

#endif
