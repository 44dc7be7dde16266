#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "device/device_memory.h"

#define SUFFIX_BYTES 7u /* of ".lora_a" and ".lora_b" */

/* ---- keys ------------------------------------------------------------------------------------ */

static bool text_is(const dw_gguf_string *text, const char *wanted)
{
    return text->bytes == strlen(wanted) && memcmp(text->text, wanted, text->bytes) == 0;
}

bool dw_adapter_is_file(const dw_gguf *gguf)
{
    dw_gguf_string type;
    return dw_gguf_text(gguf, "general.type", &type, NULL) == DW_OK && text_is(&type, "adapter");
}

/* The key has to say `wanted`. */
static dw_status check_key(const dw_gguf *gguf, const char *key, const char *wanted,
                           dw_status other, dw_error *err)
{
    dw_gguf_string text;
    dw_status status = dw_gguf_text(gguf, key, &text, err);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_FORMAT, "'%s' is missing, '%s' is needed", key, wanted);
    }
    if (status != DW_OK || text_is(&text, wanted)) {
        return status;
    }
    return dw_fail(err, other, "'%s' is '%.*s', '%s' is needed", key,
                   (int)(text.bytes < 40 ? text.bytes : 40), text.text, wanted);
}

static dw_status check_keys(const dw_gguf *gguf, const dw_model_shape *shape, float *alpha,
                            dw_error *err)
{
    static const char alpha_key[] = "adapter.lora.alpha";
    static const char alora_key[] = "adapter.alora.invocation_tokens";
    dw_status status = check_key(gguf, "general.type", "adapter", DW_E_FORMAT, err);
    if (status == DW_OK) {
        status = check_key(gguf, "adapter.type", "lora", DW_E_UNSUPPORTED, err);
    }
    if (status == DW_OK) {
        status = check_key(gguf, "general.architecture", shape->architecture->name,
                           DW_E_UNSUPPORTED, err);
    }
    if (status == DW_OK && dw_gguf_has(gguf, alora_key)) {
        status =
            dw_fail(err, DW_E_UNSUPPORTED,
                    "'%s': adapters that set in behind such tokens are not supported", alora_key);
    }
    *alpha = 0.0F;
    if (status == DW_OK) {
        status = dw_gguf_f32(gguf, alpha_key, alpha, err);
        status = status == DW_E_NOT_FOUND ? DW_OK : status;
    }
    return status;
}

/* ---- which matrices -------------------------------------------------------------------------- */

static bool is_among(const struct ggml_tensor *tensor, const struct ggml_tensor *const *list,
                     size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || list[i] == tensor;
    }
    return found;
}

/* Whether it is one of those that a graph multiplies with by way of adapters. */
static bool is_product(const dw_adapter_base *base, const struct ggml_tensor *tensor)
{
    bool found = tensor == base->weights->output.weight;
    for (uint32_t i = 0; i < base->shape->layer_count && !found; i++) {
        const dw_layer_weights *of = &base->weights->layers[i];
        const struct ggml_tensor *const products[] = {
            of->qkv.weight,  of->q.weight,     of->k.weight,    of->v.weight,  of->attn_out.weight,
            of->gate.weight, of->up.weight,    of->down.weight, of->router,    of->gate_experts,
            of->up_experts,  of->down_experts, of->gate_shared, of->up_shared, of->down_shared};
        found = is_among(tensor, products, sizeof products / sizeof products[0]);
    }
    return found;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

typedef struct opening {
    const dw_adapter_base *base;
    const dw_gguf *gguf;
    dw_adapter *adapter;
    dw_error *err;
} opening;

static bool ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name);
    return length > SUFFIX_BYTES && strcmp(name + length - SUFFIX_BYTES, suffix) == 0;
}

static dw_status check_sizes(const opening *o, const char *which, const dw_gguf_tensor *entry,
                             const int64_t wanted[3])
{
    if (entry->ne[0] == wanted[0] && entry->ne[1] == wanted[1] && entry->ne[2] == wanted[2] &&
        entry->ne[3] == 1) {
        return DW_OK;
    }
    return dw_fail(o->err, DW_E_FORMAT,
                   "tensor '%s', the %s, has the sizes %lld x %lld x %lld x %lld, wanted is %lld x "
                   "%lld x %lld",
                   entry->name, which, (long long)entry->ne[0], (long long)entry->ne[1],
                   (long long)entry->ne[2], (long long)entry->ne[3], (long long)wanted[0],
                   (long long)wanted[1], (long long)wanted[2]);
}

static dw_status check_pair(const opening *o, const dw_adapter_pair *pair, const dw_gguf_tensor *a,
                            const dw_gguf_tensor *b, uint32_t *rank)
{
    const struct ggml_tensor *weight = pair->weight;
    const dw_gguf_tensor *both[] = {a, b};
    const int64_t found = b->ne[0];
    const int64_t of_a[] = {pair->is_table ? found : weight->ne[0],
                            pair->is_table ? weight->ne[1] : found, weight->ne[2]};
    const int64_t of_b[] = {found, pair->is_table ? weight->ne[0] : weight->ne[1], weight->ne[2]};
    if (found < 1 || found > DW_ADAPTER_RANK_MAX) {
        return dw_fail(o->err, DW_E_LIMIT, "tensor '%s' is of rank %lld, from 1 to %u is allowed",
                       b->name, (long long)found, DW_ADAPTER_RANK_MAX);
    }
    for (int i = 0; i < 2; i++) {
        if (both[i]->type != GGML_TYPE_F32 &&
            ggml_get_type_traits(both[i]->type)->to_float == NULL) {
            return dw_fail(o->err, DW_E_UNSUPPORTED,
                           "tensor '%s' is of type %s, which is not supported there", both[i]->name,
                           ggml_type_name(both[i]->type));
        }
    }
    *rank = (uint32_t)found;
    dw_status status = check_sizes(o, "first of a pair", a, of_a);
    return status == DW_OK ? check_sizes(o, "second of a pair", b, of_b) : status;
}

static struct ggml_tensor *make(const opening *o, const dw_gguf_tensor *like, int64_t ne0,
                                int64_t ne1)
{
    struct ggml_tensor *made =
        ggml_new_tensor_3d(o->adapter->ggml, GGML_TYPE_F32, ne0, ne1, like->ne[2]);
    return made != NULL ? ggml_set_name(made, like->name) : NULL;
}

static int64_t filled_rank(const opening *o, uint32_t rank)
{
    const bool on_cpu = dw_device_info_of(o->base->device)->kind == DW_DEVICE_CPU;
    const int64_t unit = on_cpu ? DW_ADAPTER_FILLED_CPU : DW_ADAPTER_FILLED_GPU;
    return (rank + unit - 1) / unit * unit;
}

/* Of a tensor that is called NAME.lora_a. */
static dw_status add_pair(opening *o, const dw_gguf_tensor *a)
{
    dw_adapter *adapter = o->adapter;
    dw_adapter_pair *pair = &adapter->pairs[adapter->pair_count];
    char name[GGML_MAX_NAME];
    uint32_t rank = 0;
    (void)snprintf(name, sizeof name, "%s", a->name);
    char *suffix = name + strlen(name) - SUFFIX_BYTES;
    memcpy(suffix, ".lora_b", SUFFIX_BYTES);
    const dw_gguf_tensor *b = dw_gguf_tensor_find(o->gguf, name);
    if (b == NULL) {
        return dw_fail(o->err, DW_E_FORMAT, "tensor '%s' is missing, '%s' is there", name, a->name);
    }
    *suffix = '\0';
    pair->weight = ggml_get_tensor(o->base->tensors, name);
    if (pair->weight == NULL) {
        return dw_fail(o->err, DW_E_UNSUPPORTED, "tensor '%s': the model has no '%s'", a->name,
                       name);
    }
    pair->is_table = pair->weight == o->base->weights->token_embedding;
    if (!pair->is_table && !is_product(o->base, pair->weight)) {
        return dw_fail(o->err, DW_E_UNSUPPORTED, "tensor '%s': '%s' is none that adapters change",
                       a->name, name);
    }
    dw_status status = check_pair(o, pair, a, b, &rank);
    if (status != DW_OK) {
        return status;
    }
    const int64_t filled = filled_rank(o, rank);
    pair->a = pair->is_table ? make(o, a, filled, a->ne[1]) : make(o, a, a->ne[0], filled);
    pair->b = make(o, b, filled, b->ne[1]);
    if (pair->a == NULL || pair->b == NULL) {
        return dw_fail(o->err, DW_E_MEMORY, "no memory for tensor '%s'", a->name);
    }
    pair->factor = adapter->alpha != 0.0F ? adapter->alpha / (float)rank : 1.0F;
    adapter->rank = rank > adapter->rank ? rank : adapter->rank;
    adapter->pair_count++;
    return DW_OK;
}

/* The other half of a pair is there, or it is none. */
static dw_status check_other(const opening *o, const dw_gguf_tensor *entry)
{
    char name[GGML_MAX_NAME];
    if (!ends_with(entry->name, ".lora_b")) {
        return dw_fail(o->err, DW_E_UNSUPPORTED,
                       "tensor '%s' ends in neither .lora_a nor .lora_b: such are not supported",
                       entry->name);
    }
    (void)snprintf(name, sizeof name, "%s", entry->name);
    memcpy(name + strlen(name) - SUFFIX_BYTES, ".lora_a", SUFFIX_BYTES);
    return dw_gguf_tensor_find(o->gguf, name) != NULL
               ? DW_OK
               : dw_fail(o->err, DW_E_FORMAT, "tensor '%s' is missing, '%s' is there", name,
                         entry->name);
}

static dw_status make_pairs(opening *o)
{
    const size_t count = dw_gguf_tensor_count(o->gguf);
    const struct ggml_init_params params = {.mem_size = (count + 1) * ggml_tensor_overhead(),
                                            .no_alloc = true};
    dw_status status = DW_OK;
    o->adapter->ggml = ggml_init(params);
    o->adapter->pairs = dw_alloc(count + 1, sizeof *o->adapter->pairs);
    if (o->adapter->ggml == NULL || o->adapter->pairs == NULL) {
        return dw_fail(o->err, DW_E_MEMORY, "no memory for %zu tensors", count);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const dw_gguf_tensor *entry = dw_gguf_tensor_at(o->gguf, i);
        status = ends_with(entry->name, ".lora_a") ? add_pair(o, entry) : check_other(o, entry);
    }
    if (status == DW_OK && o->adapter->pair_count == 0) {
        status = dw_fail(o->err, DW_E_FORMAT, "no pair of tensors, NAME.lora_a and NAME.lora_b");
    }
    return status;
}

/* ---- data ------------------------------------------------------------------------------------ */

/* Rows of the file's tensor as floats: each fills the first part of one of `tensor`, which has as
 * many or more, longer or not. */
static void to_floats(const dw_gguf_tensor *entry, const unsigned char *from,
                      const struct ggml_tensor *tensor, float *to)
{
    const size_t row_bytes = ggml_row_size(entry->type, entry->ne[0]);
    const size_t length = (size_t)entry->ne[0];
    for (int64_t expert = 0; expert < entry->ne[2]; expert++) {
        for (int64_t row = 0; row < entry->ne[1]; row++, from += row_bytes) {
            float *at = to + (expert * tensor->ne[1] + row) * tensor->ne[0];
            if (entry->type == GGML_TYPE_F32) {
                memcpy(at, from, length * sizeof *at);
            } else {
                ggml_get_type_traits(entry->type)->to_float(from, at, entry->ne[0]);
            }
        }
    }
}

static dw_status bring(const opening *o, struct ggml_tensor *tensor)
{
    const dw_gguf_tensor *entry = dw_gguf_tensor_find(o->gguf, ggml_get_name(tensor));
    const size_t count = (size_t)ggml_nelements(tensor);
    size_t file_bytes = 0;
    const unsigned char *file = dw_gguf_part_bytes(o->gguf, entry->part, &file_bytes);
    float *values = dw_alloc(count, sizeof *values); /* zeros */
    if (values == NULL) {
        return dw_fail(o->err, DW_E_MEMORY, "no memory for tensor '%s'", entry->name);
    }
    to_floats(entry, file + entry->file_offset, tensor, values);
    size_t i = 0;
    while (i < count && isfinite(values[i])) {
        i++;
    }
    dw_status status =
        i == count
            ? dw_device_tensor_set(o->base->device, tensor, values, 0, ggml_nbytes(tensor), o->err)
            : dw_fail(o->err, DW_E_NUMERIC, "tensor '%s' holds %g, finite numbers are needed",
                      entry->name, (double)values[i]);
    dw_free(values);
    return status;
}

static dw_status bring_pairs(const opening *o)
{
    dw_adapter *adapter = o->adapter;
    dw_status status = dw_device_buffer_for_tensors(&adapter->buffer, adapter->device,
                                                    DW_USE_WEIGHTS, adapter->ggml, o->err);
    if (status != DW_OK) {
        return status;
    }
    ggml_backend_buffer_set_usage(adapter->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    adapter->bytes = ggml_backend_buffer_get_size(adapter->buffer);
    for (size_t i = 0; i < adapter->pair_count && status == DW_OK; i++) {
        status = bring(o, adapter->pairs[i].a);
        if (status == DW_OK) {
            status = bring(o, adapter->pairs[i].b);
        }
    }
    return status == DW_OK ? dw_gguf_check(o->gguf, o->err) : status;
}

dw_status dw_adapter_open(dw_adapter **out, const dw_adapter_base *base, const dw_gguf *gguf,
                          dw_error *err)
{
    opening o = {.base = base, .gguf = gguf, .err = err};
    const dw_fingerprint_options hashing = {.struct_bytes = sizeof hashing,
                                            .folder = base->fingerprint_folder};
    *out = NULL;
    dw_adapter *adapter = o.adapter = dw_alloc(1, sizeof *adapter);
    if (adapter == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an adapter");
    }
    adapter->device = base->device;
    dw_status status = check_keys(gguf, base->shape, &adapter->alpha, err);
    if (status == DW_OK) {
        status = make_pairs(&o);
    }
    if (status == DW_OK) {
        status = bring_pairs(&o);
    }
    if (status == DW_OK) {
        status = dw_gguf_fingerprint_with(gguf, &hashing, adapter->fingerprint, NULL, err);
    }
    if (status != DW_OK) {
        dw_adapter_close(adapter);
        return status;
    }
    *out = adapter;
    return DW_OK;
}

void dw_adapter_close(dw_adapter *adapter)
{
    if (adapter == NULL) {
        return;
    }
    dw_device_buffer_destroy(adapter->device, DW_USE_WEIGHTS, adapter->buffer);
    if (adapter->ggml != NULL) {
        ggml_free(adapter->ggml);
    }
    dw_free(adapter->pairs);
    dw_free(adapter->name);
    dw_free(adapter->path);
    dw_free(adapter);
}
