/* One loaded GGUF: weights, vocabulary, chat template. Shared, read-only, counted. */
#ifndef DW_MODEL_MODEL_H
#define DW_MODEL_MODEL_H

#include "base/status.h"
#include "base/stop.h"
#include "chat/chat.h"
#include "device/device.h"
#include "model/adapter_set.h"
#include "model/cuda_products.h"
#include "model/weights.h"
#include "text/vocab.h"

/* dw_model_ref, dw_model_unref, dw_model_get_info, dw_model_fingerprint,
 * dw_model_matches, dw_model_add_adapter, _adapter_count, _get_adapter: include/driftwood.h. */

/* Load the file at `path` for `device`, which must outlive the model. Errors: dw_model_open's. */
dw_status dw_model_load(dw_model **out, dw_device *device, const char *path, dw_error *err);
/* The same with options, which may be NULL. Errors: also DW_E_CANCELLED. */
dw_status dw_model_load_with(dw_model **out, dw_device *device, const char *path,
                             const dw_model_options *options, dw_error *err);

/* The file's name in the place of that of its path, for a model that has no name of its own; before
 * anybody else has the model. Errors: DW_E_MEMORY. */
dw_status dw_model_set_file_name(dw_model *model, const char *name, dw_error *err);
/* The name shown to people, which tenants are granted it by: general.name, else that of the file
 * `path`, each as dw_text_mend has it: files name models in any bytes. The caller's, for dw_free;
 * NULL: no memory. */
char *dw_model_name_of(const dw_gguf *gguf, const char *path);

/* By what tenants are granted a model; each may be NULL. Borrowed, as long as the model. */
typedef struct dw_model_names {
    const char *own;    /* dw_model_name_of, unless another is served under that name */
    const char *served; /* under which a pool has it */
} dw_model_names;
dw_model_names dw_model_names_of(const dw_model *model);
/* The name that a pool serves it under, before anybody else has the model. Errors: DW_E_MEMORY. */
dw_status dw_model_set_served_name(dw_model *model, const char *name, dw_error *err);
/* Another is served under its own name, which grants that other alone. Thread: any. */
void dw_model_hide_own_name(dw_model *model);

/* Whether the files that weights are read from are as long as they were: after a step, before its
 * results are used. Errors: DW_E_IO (which file). Thread: any. */
dw_status dw_model_check_files(const dw_model *model, dw_error *err);

/* Those who count it now: 1 is the caller alone. Exact where nobody else can count one more.
 * Thread: any. */
size_t dw_model_references(const dw_model *model);

/* Begin with the fingerprint in the background: somebody will want it. Returns at once. */
void dw_model_begin_fingerprint(dw_model *model);

/* All borrowed, until the model goes. Thread: any. */
const dw_vocab *dw_model_vocab(const dw_model *model);
dw_chats *dw_model_chats(const dw_model *model);
dw_device *dw_model_device(const dw_model *model);
const dw_model_shape *dw_model_shape_of(const dw_model *model);
const dw_model_weights *dw_model_weights_of(const dw_model *model);
/* NULL: its device has none. */
const dw_cuda_products *dw_model_cuda_products(const dw_model *model);
/* Wait until it is known, unless `stop` (may be NULL) asks: then DW_E_CANCELLED, and it is computed
 * in the background. Other errors: dw_model_fingerprint's. Thread: any. */
dw_status dw_model_await_fingerprint(dw_model *model, dw_stop *stop, dw_error *err);
/* What a shape alone says of a model; the rest is 0. */
dw_model_info dw_model_info_of(const dw_model_shape *shape);
/* What adapters are checked against; without a folder of fingerprints. */
dw_adapter_base dw_model_adapter_base(const dw_model *model);
/* Those that were added to it, and their sets. */
dw_adapters *dw_model_adapters(dw_model *model);
/* dw_model_fingerprint of the model with these adapters alone; NULL: with none. */
dw_status dw_model_fingerprint_with(dw_model *model, const dw_adapter_set *set,
                                    char text[DW_FINGERPRINT_BYTES], dw_error *err);
/* Multiplications for each token in the largest product with weights that no kernel of ours takes:
 * ggml's own are not left before they are through. 0: there is none. */
uint64_t dw_model_product_work(const dw_model *model);
/* Bytes of one token's record in a KV log of halves. */
size_t dw_model_record_bytes(const dw_model *model);

/* What the engine keeps beside a model (its graphs): made, used and replaced under the lock, ended
 * by `destroy` when the model goes. Steps on one model wait here for each other. */
typedef struct dw_model_extra {
    void *object;
    void (*destroy)(void *object);
} dw_model_extra;

/* NULL: `stop` (may be NULL) asked before the lock was free. */
dw_model_extra *dw_model_lock(dw_model *model, dw_stop *stop);
void dw_model_unlock(dw_model *model);

#endif
