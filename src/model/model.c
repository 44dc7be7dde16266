#include "model/model.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "base/turn.h"
#include "base/utf8.h"
#include "device/device_memory.h"
#include "kernels/matmul_kernel.h"
#include "kv/kv_kept.h"
#include "model/attention.h"
#include "model/memory_estimate.h"
#include "model/model_fingerprint.h"
#include "model/upload.h"
#include "text/tokenizer_check.h"

#define PREFAULT_BYTES ((size_t)16 << 20)
#define FIRST_CONTEXT_TOKENS 4096u
#define WORK_ROOM_BYTES ((uint64_t)256 << 20)

struct dw_model {
    _Atomic uint32_t references;
    dw_device *device;
    dw_gguf *gguf; /* the mappings: the weights lie in them where the device is unified */
    dw_vocab *vocab;
    dw_chats *chats;
    dw_model_shape shape;
    dw_model_weights weights;
    struct ggml_context *ggml;             /* the weights' tensors, without their data */
    struct ggml_context *joined;           /* tensors over several of them; NULL: none */
    ggml_backend_buffer_t *mapped_buffers; /* one a part, over its mapping; NULL: not mapped */
    ggml_backend_buffer_t upload_buffer;   /* NULL: none were */
    dw_cuda_products *cuda_products;       /* NULL: none */
    size_t uploaded_count;
    uint64_t mapped_bytes; /* of tensors that lie in the files' own pages */
    uint64_t parameter_count;
    uint64_t weights_bytes;
    uint64_t product_work;
    char *name;
    char *served_name; /* NULL: none */
    _Atomic bool hides_own_name;
    dw__model_fingerprint fingerprint;
    dw_adapters adapters;
    dw_turn turn; /* guards `extra` and what it holds */
    dw_model_extra extra;
};

char *dw_model_name_of(const dw_gguf *gguf, const char *path)
{
    dw_gguf_string text;
    if (dw_gguf_text(gguf, "general.name", &text, NULL) == DW_OK && text.bytes > 0 &&
        text.bytes < 256 && memchr(text.text, '\0', text.bytes) == NULL) {
        char *name = dw_alloc(text.bytes + 1, 1);
        if (name != NULL) {
            memcpy(name, text.text, text.bytes);
            dw_text_mend(name);
        }
        return name;
    }
    const char *slash = strrchr(path, '/');
    char *name = dw_strdup(slash != NULL ? slash + 1 : path);
    if (name != NULL) {
        dw_text_mend(name);
    }
    return name;
}

/* Tables that rows are taken from are no products. */
static bool is_table(const dw_model_weights *weights, const struct ggml_tensor *tensor)
{
    return (tensor == weights->token_embedding && tensor != weights->output.weight) ||
           tensor == weights->position_embedding || tensor == weights->type_embedding;
}

static uint64_t largest_product(const dw_model *model)
{
    uint64_t largest = 0;
    for (struct ggml_tensor *tensor = ggml_get_first_tensor(model->ggml); tensor != NULL;
         tensor = ggml_get_next_tensor(model->ggml, tensor)) {
        bool ours = dw_matmul_kernel_best() != NULL && tensor->ne[2] == 1; /* src/model/matmul.h */
        int64_t used = tensor->ne[2] > 1 ? (int64_t)model->shape.expert_used_count : 1;
        uint64_t work = (uint64_t)(tensor->ne[0] * tensor->ne[1] * used);
        largest = !ours && !is_table(&model->weights, tensor) && work > largest ? work : largest;
    }
    return largest;
}

static dw_status make_tensors(dw_model *model, dw_error *err)
{
    size_t count = dw_gguf_tensor_count(model->gguf);
    struct ggml_init_params params = {.mem_size = (count + 1) * ggml_tensor_overhead(),
                                      .no_alloc = true};
    model->ggml = ggml_init(params);
    model->weights.layers = dw_alloc(model->shape.layer_count, sizeof *model->weights.layers);
    if (model->ggml == NULL || model->weights.layers == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu tensors", count);
    }
    dw_status status =
        dw_model_weights_make(model->gguf, &model->shape, model->ggml, &model->weights, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_gguf_tensor *entry = dw_gguf_tensor_at(model->gguf, i);
        model->weights_bytes += entry->bytes;
        model->parameter_count += (uint64_t)(entry->ne[0] * entry->ne[1] * entry->ne[2]);
    }
    model->product_work = status == DW_OK ? largest_product(model) : 0;
    return status;
}

typedef struct import_call {
    ggml_backend_dev_t device;
    void *base;
    size_t bytes;
    size_t tensor_bytes_max;
    ggml_backend_buffer_t buffer;
} import_call;

static void import_part(void *user)
{
    import_call *call = user;
    call->buffer = ggml_backend_dev_buffer_from_host_ptr(call->device, call->base, call->bytes,
                                                         call->tensor_bytes_max);
}

static void free_part(void *user)
{
    ggml_backend_buffer_free(user);
}

/* Let a unified device read a file's pages themselves. Not being able to is no error: the
 * weights are then uploaded. */
static void map_part(dw_model *model, uint32_t part)
{
    size_t file_bytes = 0;
    const void *file = dw_gguf_part_bytes(model->gguf, part, &file_bytes);
    size_t bytes = 0;
    size_t tensor_bytes_max = 0;
    for (size_t i = 0; i < dw_gguf_tensor_count(model->gguf); i++) {
        const dw_gguf_tensor *tensor = dw_gguf_tensor_at(model->gguf, i);
        if (tensor->part == part && tensor->bytes > tensor_bytes_max) {
            tensor_bytes_max = tensor->bytes;
        }
    }
    /* A first part may hold keys only. */
    if (tensor_bytes_max == 0 || !dw_round_up(&bytes, file_bytes, dw_os_page_bytes())) {
        return;
    }
    import_call call = {.device = dw_device_handle(model->device),
                        .base = (void *)(uintptr_t)file,
                        .bytes = bytes,
                        .tensor_bytes_max = tensor_bytes_max};
    if (dw_device_guarded(model->device, import_part, &call, NULL) == DW_OK &&
        call.buffer != NULL) {
        ggml_backend_buffer_set_usage(call.buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        model->mapped_buffers[part] = call.buffer;
    }
}

static dw_status map_weights(dw_model *model, dw_error *err)
{
    uint32_t parts = dw_gguf_part_count(model->gguf);
    model->mapped_buffers = dw_alloc(parts, sizeof *model->mapped_buffers);
    if (model->mapped_buffers == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u parts", parts);
    }
    for (uint32_t i = 0; i < parts && dw_device_unified(model->device); i++) {
        map_part(model, i);
    }
    return DW_OK;
}

/* Place a tensor on the mapping; false where the device needs it aligned otherwise. */
static bool place_mapped(dw_model *model, const dw_gguf_tensor *entry, struct ggml_tensor *tensor)
{
    ggml_backend_buffer_t buffer = model->mapped_buffers[entry->part];
    if (buffer == NULL || entry->file_offset % ggml_backend_buffer_get_alignment(buffer) != 0 ||
        ggml_backend_buffer_get_alloc_size(buffer, tensor) > entry->bytes) {
        return false;
    }
    unsigned char *base = ggml_backend_buffer_get_base(buffer);
    if (ggml_backend_tensor_alloc(buffer, tensor, base + entry->file_offset) !=
        GGML_STATUS_SUCCESS) {
        return false;
    }
    dw_count(&dw_device_counters_of(model->device)->mapped_weights_bytes, entry->bytes);
    model->mapped_bytes += entry->bytes;
    return true;
}

/* Of a first context, and for what lies between. */
static uint64_t room_bytes(const dw_model *model)
{
    const uint32_t tokens = model->shape.context_length < FIRST_CONTEXT_TOKENS
                                ? model->shape.context_length
                                : FIRST_CONTEXT_TOKENS;
    return tokens * (uint64_t)dw_model_record_bytes(model) + WORK_ROOM_BYTES;
}

/* Beside the weights there must be room. What is kept for actors that are not there goes first,
 * also where the weights have a second form there (cuda_products.c). */
static dw_status check_fit(const dw_model *model, dw_error *err)
{
    size_t bytes;
    size_t free_bytes;
    const size_t needed = ggml_backend_alloc_ctx_tensors_from_buft_size(
        model->ggml, dw_device_buffer_type(model->device));
    dw_device_memory(model->device, &bytes, &free_bytes);
    if (bytes == 0) {
        return DW_OK; /* it does not say */
    }
    if (free_bytes / 2 < needed + room_bytes(model) && dw_kv_kept_forget_all(model->device)) {
        dw_device_memory(model->device, &bytes, &free_bytes);
    }
    dw_memory_estimate fit = {.device = dw_device_info_of(model->device)->name,
                              .needed_bytes = needed,
                              .free_bytes = free_bytes,
                              .parameter_count = model->parameter_count,
                              .room_bytes = room_bytes(model)};
    return dw_memory_estimate_check(&fit, err);
}

static dw_status upload_parts(const dw_model *model, const dw_model_options *options,
                              dw_upload_part *parts, dw_error *err)
{
    dw_upload_options upload = {.parts = parts};
    if (options != NULL) {
        upload.on_progress = options->on_upload;
        upload.user = options->user;
    }
    for (size_t i = 0; i < dw_gguf_tensor_count(model->gguf); i++) {
        const dw_gguf_tensor *entry = dw_gguf_tensor_at(model->gguf, i);
        struct ggml_tensor *tensor = ggml_get_tensor(model->ggml, entry->name);
        size_t file_bytes = 0;
        const unsigned char *file = dw_gguf_part_bytes(model->gguf, entry->part, &file_bytes);
        if (tensor->buffer == model->upload_buffer) {
            parts[upload.part_count++] =
                (dw_upload_part){tensor, file + entry->file_offset, entry->bytes};
        }
    }
    return dw_upload(model->device, &upload, err);
}

static dw_status upload_rest(dw_model *model, const dw_model_options *options, dw_error *err)
{
    dw_upload_part *parts = dw_alloc(dw_gguf_tensor_count(model->gguf), sizeof *parts);
    if (parts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of tensors");
    }
    dw_status status = check_fit(model, err);
    if (status != DW_OK) {
        goto out;
    }
    status = dw_device_buffer_for_tensors(&model->upload_buffer, model->device, DW_USE_WEIGHTS,
                                          model->ggml, err);
    if (status != DW_OK) {
        goto out;
    }
    ggml_backend_buffer_set_usage(model->upload_buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    status = upload_parts(model, options, parts, err);
out:
    dw_free(parts);
    return status;
}

/* Whether `next` follows `tensor` in the device's memory, with rows of the same type and length. */
static bool is_adjacent(const dw_model *model, const struct ggml_tensor *tensor,
                        const struct ggml_tensor *next)
{
    return tensor->buffer == model->upload_buffer && next->buffer == model->upload_buffer &&
           tensor->type == next->type && tensor->ne[0] == next->ne[0] &&
           (const unsigned char *)tensor->data + ggml_nbytes(tensor) == next->data;
}

/* Queries, keys and values of a layer by one product where their matrices happen to lie one behind
 * the other, as they do when they were uploaded in order: on a GPU two launches fewer a layer. */
static dw_status join_projections(dw_model *model, dw_error *err)
{
    struct ggml_init_params params = {.mem_size = model->shape.layer_count * ggml_tensor_overhead(),
                                      .no_alloc = true};
    model->joined = ggml_init(params);
    if (model->joined == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %u layers", model->shape.layer_count);
    }
    for (uint32_t i = 0; i < model->shape.layer_count; i++) {
        dw_layer_weights *layer = &model->weights.layers[i];
        struct ggml_tensor *q = layer->q.weight;
        const struct ggml_tensor *k = layer->k.weight;
        const struct ggml_tensor *v = layer->v.weight;
        if (q == NULL || layer->q.bias != NULL || layer->k.bias != NULL || layer->v.bias != NULL ||
            !is_adjacent(model, q, k) || !is_adjacent(model, k, v)) {
            continue;
        }
        struct ggml_tensor *all =
            ggml_new_tensor_2d(model->joined, q->type, q->ne[0], q->ne[1] + k->ne[1] + v->ne[1]);
        all->buffer = q->buffer;
        all->data = q->data;
        layer->qkv.weight = all;
    }
    return DW_OK;
}

static dw_status place_weights(dw_model *model, const dw_model_options *options, dw_error *err)
{
    dw_status status = map_weights(model, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < dw_gguf_tensor_count(model->gguf); i++) {
        const dw_gguf_tensor *entry = dw_gguf_tensor_at(model->gguf, i);
        struct ggml_tensor *tensor = ggml_get_tensor(model->ggml, entry->name);
        DW_ASSERT(tensor != NULL && ggml_nbytes(tensor) == entry->bytes);
        if (!place_mapped(model, entry, tensor)) {
            model->uploaded_count++;
        }
    }
    if (model->uploaded_count == 0) {
        return DW_OK;
    }
    status = upload_rest(model, options, err);
    return status == DW_OK ? join_projections(model, err) : status;
}

/* While the vocabulary is loaded, which takes one core: map the weights' pages, which the first
 * step would fault in one after the other. Ends with the vocabulary, so that a file that is not in
 * memory yet, or does not fit, is not waited for. Of a model; who waits for the vocabulary does it,
 * too. */
static void prefault_weights(void *user)
{
    const dw_model *model = user;
    for (uint32_t part = 0; part < dw_gguf_part_count(model->gguf); part++) {
        size_t bytes = 0;
        const unsigned char *file = dw_gguf_part_bytes(model->gguf, part, &bytes);
        for (size_t at = 0; model->mapped_buffers[part] != NULL && at < bytes;
             at += PREFAULT_BYTES) {
            size_t left = bytes - at;
            if (!dw_vocab_loads(model->vocab) ||
                !dw_os_prefault(file + at, left < PREFAULT_BYTES ? left : PREFAULT_BYTES)) {
                return;
            }
        }
    }
}

/* On a thread of its own where that cannot fail: it takes half a load's time and more. */
static dw_status load_vocab(dw_model *model, const char *path, bool when_used, dw_error *err)
{
    uint32_t count = model->shape.vocab_count;
    dw_status status = dw_tokenizer_check(model->gguf, count, err);
    if (status != DW_OK) {
        return status;
    }
    status = !dw_tokenizer_is_certain(model->gguf) ? dw_vocab_open(&model->vocab, path, count, err)
             : when_used                           ? dw_vocab_defer(&model->vocab, path, count, err)
                         : dw_vocab_start(&model->vocab, path, count, err);
    if (status == DW_OK) {
        dw_vocab_lend_file(model->vocab, model->gguf);
    }
    return status;
}

static dw_status load(dw_model *model, const char *path, const dw_model_options *options,
                      dw_error *err)
{
    dw_status status = dw_architecture_shape(model->gguf, &model->shape, err);
    if (status != DW_OK) {
        return status;
    }
    status = make_tensors(model, err);
    if (status != DW_OK) {
        return status;
    }
    status = load_vocab(model, path, options != NULL && options->vocab_when_used, err);
    if (status == DW_OK) {
        status = dw_chats_open(&model->chats, model->vocab,
                               options != NULL ? options->chat_template : NULL, err);
    }
    if (status == DW_OK && options != NULL && options->chat_template != NULL) {
        status = dw_chats_check(model->chats, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = place_weights(model, options, err);
    if (status == DW_OK) {
        status = dw_cuda_products_create(&model->cuda_products, model->device, &model->shape,
                                         &model->weights, room_bytes(model), err);
    }
    if (status != DW_OK) {
        return status;
    }
    prefault_weights(model);
    dw_vocab_set_meanwhile(model->vocab, prefault_weights, model);
    status = dw_gguf_check(model->gguf, err); /* what was uploaded was read from it */
    if (status != DW_OK) {
        return status;
    }
    model->name = dw_model_name_of(model->gguf, path);
    return model->name != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a name");
}

dw_status dw_model_load_with(dw_model **out, dw_device *device, const char *path,
                             const dw_model_options *options, dw_error *err)
{
    *out = NULL;
    dw_gguf *gguf = NULL;
    dw_status status = dw_gguf_open(&gguf, path, err);
    if (status != DW_OK) {
        return status;
    }
    dw_model *model = dw_alloc(1, sizeof *model);
    if (model == NULL) {
        dw_gguf_close(gguf);
        return dw_fail(err, DW_E_MEMORY, "no memory for a model");
    }
    model->references = 1;
    model->device = device;
    dw_count(&dw_device_counters_of(device)->models, 1);
    model->gguf = gguf;
    dw_turn_init(&model->turn);
    dw_adapters_init(&model->adapters);
    status = dw__model_fingerprint_init(&model->fingerprint, gguf, options, err);
    if (status == DW_OK) {
        status = load(model, path, options, err);
    }
    if (status != DW_OK) {
        dw_model_unref(model);
        return dw_fail_within(err, status, "%s", path);
    }
    if (options != NULL && options->begin_fingerprint) {
        dw_model_begin_fingerprint(model);
    }
    *out = model;
    return DW_OK;
}

dw_status dw_model_load(dw_model **out, dw_device *device, const char *path, dw_error *err)
{
    return dw_model_load_with(out, device, path, NULL, err);
}

dw_status dw_model_set_file_name(dw_model *model, const char *name, dw_error *err)
{
    char *own = dw_model_name_of(model->gguf, name);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a model's name");
    }
    dw_free(model->name);
    model->name = own;
    return DW_OK;
}

dw_model_names dw_model_names_of(const dw_model *model)
{
    bool hidden = atomic_load_explicit(&model->hides_own_name, memory_order_relaxed);
    return (dw_model_names){.own = hidden ? NULL : model->name, .served = model->served_name};
}

dw_status dw_model_set_served_name(dw_model *model, const char *name, dw_error *err)
{
    DW_ASSERT(model->served_name == NULL);
    model->served_name = dw_strdup(name);
    return model->served_name != NULL ? DW_OK
                                      : dw_fail(err, DW_E_MEMORY, "no memory for a model's name");
}

void dw_model_hide_own_name(dw_model *model)
{
    atomic_store_explicit(&model->hides_own_name, true, memory_order_relaxed);
}

dw_model *dw_model_ref(dw_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

size_t dw_model_references(const dw_model *model)
{
    return (size_t)atomic_load_explicit(&model->references, memory_order_acquire);
}

void dw_model_unref(dw_model *model)
{
    if (model == NULL ||
        atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (model->extra.object != NULL) {
        model->extra.destroy(model->extra.object);
    }
    dw_kv_kept_forget_model(model->device, model);
    dw_adapters_release(&model->adapters);
    dw_cuda_products_destroy(model->cuda_products);
    dw_device_buffer_destroy(model->device, DW_USE_WEIGHTS, model->upload_buffer);
    dw_uncount(&dw_device_counters_of(model->device)->mapped_weights_bytes, model->mapped_bytes);
    dw_uncount(&dw_device_counters_of(model->device)->models, 1);
    for (uint32_t i = 0; model->mapped_buffers != NULL && i < dw_gguf_part_count(model->gguf);
         i++) {
        if (model->mapped_buffers[i] != NULL) {
            dw_device_guarded_free(model->device, free_part, model->mapped_buffers[i]);
        }
    }
    if (model->joined != NULL) {
        ggml_free(model->joined);
    }
    if (model->ggml != NULL) {
        ggml_free(model->ggml);
    }
    dw_chats_close(model->chats);
    dw_vocab_close(model->vocab);
    dw__model_fingerprint_release(&model->fingerprint);
    dw_gguf_close(model->gguf);
    dw_free(model->mapped_buffers);
    dw_free(model->weights.layers);
    dw_free(model->name);
    dw_free(model->served_name);
    dw_turn_release(&model->turn);
    dw_free(model);
}

dw_status dw_model_check_files(const dw_model *model, dw_error *err)
{
    return model->mapped_bytes > 0 ? dw_gguf_check(model->gguf, err) : DW_OK;
}

void dw_model_begin_fingerprint(dw_model *model)
{
    dw__model_fingerprint_begin(&model->fingerprint);
}

dw_status dw_model_await_fingerprint(dw_model *model, dw_stop *stop, dw_error *err)
{
    char text[DW_FINGERPRINT_BYTES];
    return dw__model_fingerprint_get(&model->fingerprint, stop, text, err);
}

dw_status dw_model_fingerprint_with(dw_model *model, const dw_adapter_set *set,
                                    char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    dw_status status = dw__model_fingerprint_get(&model->fingerprint, NULL, text, err);
    if (status == DW_OK && set != NULL) {
        status = dw_adapter_set_fingerprint(set, text, err);
    }
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "%s", model->name);
}

dw_status dw_model_fingerprint(dw_model *model, char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    dw_adapter_set *usual = NULL;
    dw_status status = dw_adapter_set_usual(&usual, &model->adapters, err);
    if (status == DW_OK) {
        status = dw_model_fingerprint_with(model, usual, text, err);
    }
    dw_adapter_set_unref(usual);
    return status;
}

static bool has_usual(const dw_model *model)
{
    bool found = false;
    for (size_t i = 0; i < dw_adapters_count(&model->adapters); i++) {
        found = found || dw_adapters_at(&model->adapters, i)->scale != 0.0F;
    }
    return found;
}

dw_status dw_model_matches(dw_model *model, const char *fingerprint, bool *matches, dw_error *err)
{
    char own[DW_FINGERPRINT_BYTES];
    *matches = false;
    if (has_usual(model)) {
        dw_status known = dw_model_fingerprint(model, own, err);
        *matches = known == DW_OK && strcmp(own, fingerprint) == 0;
        return known;
    }
    dw_status status =
        dw__model_fingerprint_matches(&model->fingerprint, fingerprint, matches, err);
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "%s", model->name);
}

dw_status dw_model_get_fingerprint_stats(dw_model *model, dw_fingerprint_stats *stats)
{
    dw_fingerprint_stats own;
    dw__model_fingerprint_stats(&model->fingerprint, &own);
    return dw_struct_fill(stats, &own, sizeof own, "dw_fingerprint_stats");
}

dw_model_info dw_model_info_of(const dw_model_shape *shape)
{
    return (dw_model_info){
        .struct_bytes = sizeof(dw_model_info),
        .architecture = shape->architecture->name,
        .vocab_count = shape->vocab_count,
        .layer_count = shape->layer_count,
        .embedding_length = shape->embedding_length,
        .context_length = shape->context_length,
        .encoder = shape->architecture->encoder,
        .head_count = shape->head_count,
        .kv_head_count = shape->kv_head_count,
        .head_length = shape->head_dim,
        .window = shape->window,
        .expert_count = shape->expert_count,
        .expert_used_count = shape->expert_used_count,
    };
}

dw_status dw_model_get_info(const dw_model *model, dw_model_info *info)
{
    dw_model_info own = dw_model_info_of(&model->shape);
    own.name = model->name;
    own.parameter_count = model->parameter_count;
    own.weights_bytes = model->weights_bytes;
    own.kv_bytes_per_token = dw_model_record_bytes(model);
    own.weights_mapped = model->uploaded_count == 0;
    return dw_struct_fill(info, &own, sizeof own, "dw_model_info");
}

/* ---- adapters -------------------------------------------------------------------------------- */

dw_adapters *dw_model_adapters(dw_model *model)
{
    return &model->adapters;
}

dw_adapter_base dw_model_adapter_base(const dw_model *model)
{
    return (dw_adapter_base){.device = model->device,
                             .shape = &model->shape,
                             .weights = &model->weights,
                             .tensors = model->ggml};
}

/* From wherever it is looked for later. */
static dw_status keep_path(dw_adapter *adapter, const char *path, dw_error *err)
{
    char whole[PATH_MAX];
    adapter->path = dw_strdup(realpath(path, whole) != NULL ? whole : path);
    return adapter->path != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a path");
}

static dw_status open_adapter(dw_model *model, const dw_adapter_options *options, dw_error *err)
{
    dw_adapter_base base = dw_model_adapter_base(model);
    base.fingerprint_folder = options->fingerprint_folder;
    dw_gguf *gguf = NULL;
    dw_adapter *adapter = NULL;
    dw_status status = dw_gguf_open(&gguf, options->path, err);
    if (status != DW_OK) {
        return status; /* names the file */
    }
    status = dw_adapter_open(&adapter, &base, gguf, err);
    dw_gguf_close(gguf);
    if (status == DW_OK) {
        status = keep_path(adapter, options->path, err);
    }
    if (status == DW_OK) {
        status = dw_adapters_add(&model->adapters, adapter, options->name, options->scale, err);
    }
    if (status != DW_OK) {
        dw_adapter_close(adapter);
        return dw_fail_within(err, status, "%s", options->path);
    }
    return DW_OK;
}

dw_status dw_model_add_adapter(dw_model *model, const dw_adapter_options *options, dw_error *err)
{
    dw_adapter_options own;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_adapter_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (own.name == NULL || own.path == NULL) {
        return dw_fail(err, DW_E_ARG, "adapter: %s is missing", own.name == NULL ? "name" : "path");
    }
    return open_adapter(model, &own, err);
}

size_t dw_model_adapter_count(const dw_model *model)
{
    return dw_adapters_count(&model->adapters);
}

dw_status dw_model_get_adapter(const dw_model *model, size_t index, dw_adapter_info *info,
                               dw_error *err)
{
    const size_t count = dw_adapters_count(&model->adapters);
    if (index >= count) {
        return dw_fail(err, DW_E_RANGE, "adapter: %zu, the model has %zu", index, count);
    }
    const dw_adapter *adapter = dw_adapters_at(&model->adapters, index);
    const dw_adapter_info own = {.name = adapter->name,
                                 .fingerprint = adapter->fingerprint,
                                 .scale = adapter->scale,
                                 .alpha = adapter->alpha,
                                 .rank = adapter->rank,
                                 .pair_count = adapter->pair_count,
                                 .bytes = adapter->bytes,
                                 .path = adapter->path};
    dw_status status = dw_struct_fill(info, &own, sizeof own, "dw_adapter_info");
    return status == DW_OK ? DW_OK : dw_fail(err, status, "dw_adapter_info: struct_bytes");
}

uint64_t dw_model_product_work(const dw_model *model)
{
    return model->product_work;
}

const dw_vocab *dw_model_vocab(const dw_model *model)
{
    return model->vocab;
}

dw_chats *dw_model_chats(const dw_model *model)
{
    return model->chats;
}

dw_device *dw_model_device(const dw_model *model)
{
    return model->device;
}

const dw_model_shape *dw_model_shape_of(const dw_model *model)
{
    return &model->shape;
}

const dw_model_weights *dw_model_weights_of(const dw_model *model)
{
    return &model->weights;
}

const dw_cuda_products *dw_model_cuda_products(const dw_model *model)
{
    return model->cuda_products;
}

size_t dw_model_record_bytes(const dw_model *model)
{
    bool encoder = model->shape.architecture->encoder;
    return encoder ? 0 : dw_model_kv_layout(&model->shape, DW_KV_F16).record_bytes;
}

dw_model_extra *dw_model_lock(dw_model *model, dw_stop *stop)
{
    return dw_turn_take(&model->turn, stop) ? &model->extra : NULL;
}

void dw_model_unlock(dw_model *model)
{
    dw_turn_give(&model->turn);
}
