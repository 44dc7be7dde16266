/* A context from what it was frozen as, its records converted where they are of another type. */
#include <string.h>

#include "base/alloc.h"
#include "inference/context_internal.h"

#define CONVERTED_AT_ONCE ((size_t)1 << 20) /* bytes of records, about: bounds work memory */

/* How records of one type become those of another. */
typedef struct conversion {
    enum ggml_type from;
    enum ggml_type to;
    int64_t row_length;
    size_t row_count; /* in a record */
    size_t from_bytes;
    size_t to_bytes; /* of a record */
    uint32_t batch;  /* records at once */
    unsigned char *stored;
    unsigned char *wanted; /* [batch] records each */
    float *row;
} conversion;

static void release(conversion *c)
{
    dw_free(c->stored);
    dw_free(c->wanted);
    dw_free(c->row);
}

static dw_status prepare(conversion *c, const dw_model_shape *shape,
                         const dw_context_thaw_options *options, dw_error *err)
{
    dw_kv_layout from = dw_model_kv_layout(shape, options->stored_kv_type);
    dw_kv_layout to = dw_model_kv_layout(shape, options->kv_type);
    *c = (conversion){.from = dw_kv_ggml_type(from.type),
                      .to = dw_kv_ggml_type(to.type),
                      .row_length = from.head_dim,
                      .row_count = dw_kv_layout_rows(&from),
                      .from_bytes = from.record_bytes,
                      .to_bytes = to.record_bytes};
    if (c->from_bytes == 0) {
        return dw_fail(err, DW_E_FORMAT, "thaw: keys and values in %s, the model's heads have %u",
                       ggml_type_name(c->from), shape->head_dim);
    }
    size_t larger = c->from_bytes > c->to_bytes ? c->from_bytes : c->to_bytes;
    c->batch = larger < CONVERTED_AT_ONCE ? (uint32_t)(CONVERTED_AT_ONCE / larger) : 1;
    c->stored = dw_alloc(c->batch, c->from_bytes);
    c->wanted = dw_alloc(c->batch, c->to_bytes);
    c->row = dw_alloc((size_t)c->row_length, sizeof *c->row);
    return c->stored != NULL && c->wanted != NULL && c->row != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "thaw: no memory to convert %u records", c->batch);
}

/* ggml has no conversion of F32: it is what the others go through. */
static void convert_row(const conversion *c, const unsigned char *from, unsigned char *to)
{
    size_t float_bytes = (size_t)c->row_length * sizeof *c->row;
    if (c->from == GGML_TYPE_F32) {
        memcpy(c->row, from, float_bytes);
    } else {
        ggml_get_type_traits(c->from)->to_float(from, c->row, c->row_length);
    }
    if (c->to == GGML_TYPE_F32) {
        memcpy(to, c->row, float_bytes);
    } else {
        ggml_get_type_traits(c->to)->from_float_ref(c->row, to, c->row_length);
    }
}

static void convert(const conversion *c, uint32_t records)
{
    size_t rows = records * c->row_count;
    size_t from_bytes = c->from_bytes / c->row_count;
    size_t to_bytes = c->to_bytes / c->row_count;
    for (size_t i = 0; i < rows; i++) {
        convert_row(c, c->stored + i * from_bytes, c->wanted + i * to_bytes);
    }
}

static dw_status convert_all(dw_kv_log *log, const dw_context_thaw_options *options,
                             const conversion *c, dw_error *err)
{
    size_t held = options->frozen.length * c->from_bytes;
    dw_status status =
        dw_kv_segments_check(options->frozen.segments, options->frozen.segment_count, held, err);
    if (status == DW_OK) {
        status = dw_kv_log_reserve(log, options->frozen.length, err); /* once, not doubling */
    }
    for (uint32_t done = 0; status == DW_OK && done < options->frozen.length;) {
        uint32_t left = options->frozen.length - done;
        uint32_t records = left < c->batch ? left : c->batch;
        status = dw_kv_segments_read(options->frozen.segments, options->frozen.segment_count,
                                     (uint64_t)done * c->from_bytes, c->stored,
                                     records * c->from_bytes, err);
        if (status == DW_OK) {
            convert(c, records);
            status = dw_kv_log_append(log, c->wanted, records, err);
        }
        done += records;
    }
    return status;
}

static dw_status thaw_other_type(dw_context *context, const dw_kv_log_options *log,
                                 const dw_context_thaw_options *options, dw_error *err)
{
    dw_model *model = context->model;
    conversion c;
    dw_status status = prepare(&c, dw_model_shape_of(model), options, err);
    if (status == DW_OK) {
        status = dw_kv_log_create(&context->log, dw_model_device(model), log, err);
    }
    if (status == DW_OK) {
        status = convert_all(context->log, options, &c, err);
    }
    release(&c);
    return status;
}

static dw_status take_tokens(dw_context *context, const dw_context_thaw_options *options,
                             dw_error *err)
{
    uint32_t vocab_count = dw_model_shape_of(context->model)->vocab_count;
    for (uint32_t i = 0; i < options->frozen.length; i++) {
        int32_t token = options->tokens[i];
        if (token != DW_TOKEN_NONE && (token < 0 || (uint32_t)token >= vocab_count)) {
            return dw_fail(err, DW_E_RANGE, "thaw: token %d at %u, the vocabulary has %u", token, i,
                           vocab_count);
        }
    }
    if (options->frozen.length == 0) {
        return DW_OK;
    }
    dw_context *like = options->like;
    if (like != NULL && dw_kv_log_length(like->log) >= options->frozen.length &&
        memcmp(like->history.tokens, options->tokens,
               options->frozen.length * sizeof *options->tokens) == 0) {
        dw__token_history_fork(&context->history, &like->history, options->frozen.length);
        return DW_OK;
    }
    dw_status status =
        dw__token_history_reserve(&context->history, 0, 0, options->frozen.length, err);
    if (status == DW_OK) {
        memcpy(context->history.tokens, options->tokens,
               options->frozen.length * sizeof *options->tokens);
    }
    return status;
}

/* Its log as it was kept, if it was; else as the segments have it. */
static dw_status thaw_same_type(dw_context *context, const dw_kv_log_options *log,
                                const dw_context_thaw_options *options, dw_error *err)
{
    dw_device *device = dw_model_device(context->model);
    dw_status status = DW_OK;
    if (options->kept != NULL) {
        dw_kv_key key = *options->kept;
        key.model = context->model;
        status = dw_kv_log_find_kept(&context->log, device, log, &key, options->frozen.length, err);
    }
    if (status != DW_OK || context->log != NULL) {
        return status;
    }
    dw_kv_frozen frozen = options->frozen;
    frozen.like = options->like != NULL ? options->like->log : NULL;
    return dw_kv_log_thaw(&context->log, device, log, &frozen, err);
}

dw_status dw_context_thaw(dw_context **out, dw_model *model, const dw_context_thaw_options *options,
                          bool *converted, dw_error *err)
{
    dw_context *context = NULL;
    dw_kv_log_options log;
    dw_context_options wanted = {.tokens_max = options->tokens_max,
                                 .kv_type = options->kv_type,
                                 .adapters_given = true,
                                 .adapters = options->adapters};
    bool same = options->stored_kv_type == options->kv_type;
    *out = NULL;
    dw_status status = dw__context_make(&context, model, &wanted, &log, err);
    if (status == DW_OK && options->frozen.length > log.capacity_tokens) {
        status = dw_fail(err, DW_E_LIMIT, "thaw: %u tokens, the context takes %u",
                         options->frozen.length, log.capacity_tokens);
    }
    if (status == DW_OK) {
        status = take_tokens(context, options, err);
    }
    if (status == DW_OK) {
        status = same ? thaw_same_type(context, &log, options, err)
                      : thaw_other_type(context, &log, options, err);
    }
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    context->prefixes.impure = options->frozen.length > 0; /* a file says what it likes */
    if (converted != NULL) {
        *converted = !same;
    }
    *out = context;
    return DW_OK;
}
