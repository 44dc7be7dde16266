/* Tokens forgotten in the middle of a context. Those behind move forward, and their keys are
 * rotated back by as many positions (Su and others, 2021: rotations add up), so that nothing is
 * computed again. Their values still know of what was forgotten: it is not the context that the
 * remaining tokens alone would have made. */
#include "base/alloc.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "inference/context_internal.h"
#include "model/forward_graph.h"

#define MOVED_MAX 1024u /* bounds work memory */
/* On a CPU they are as many as have so many numbers, some milliseconds' of a core: others have
 * their turns between two moves. */
#define MOVED_NUMBERS (UINT32_C(1) << 22)
#define MOVED_MIN 32u
#define NODES_PER_LAYER 16u
#define NODES_BESIDE 16u

/* A graph that moves `count` records, rotating their keys. */
typedef struct mover {
    const dw_context *context;
    struct ggml_context *ggml;
    ggml_gallocr_t allocator;
    struct ggml_cgraph *graph;
    dw_kv_layout layout;
    struct ggml_tensor *kv;        /* the log, up to the last record */
    struct ggml_tensor *from;      /* I32 [count], records */
    struct ggml_tensor *to;        /* I64 [count] */
    struct ggml_tensor *positions; /* I32 [count], all the same */
    uint32_t count;
    int32_t *numbers; /* [count] */
    int64_t *targets; /* [count] */
} mover;

static void release(mover *m)
{
    if (m->allocator != NULL) {
        dw_device_graph_free(dw_model_device(m->context->model), m->allocator);
    }
    if (m->ggml != NULL) {
        ggml_free(m->ggml);
    }
    dw_free(m->targets);
    dw_free(m->numbers);
}

static void move_part(const mover *m, uint32_t layer, dw_kv_part part)
{
    const dw_model_shape *shape = dw_model_shape_of(m->context->model);
    struct ggml_tensor *records = dw_kv_layout_part(&m->layout, m->ggml, m->kv, layer, part);
    struct ggml_tensor *rows = ggml_get_rows(m->ggml, records, m->from);
    if (part == DW_KV_KEYS) {
        rows = ggml_reshape_3d(m->ggml, rows, shape->head_dim, shape->kv_head_count, m->count);
        dw_rope_source source = {.shape = shape,
                                 .weights = dw_model_weights_of(m->context->model),
                                 .positions = m->positions,
                                 .long_context = dw__context_is_long(m->context),
                                 .again = true};
        rows = dw_forward_rope(&source, m->ggml, rows, layer);
        rows = ggml_reshape_2d(m->ggml, rows, (int64_t)shape->head_dim * shape->kv_head_count,
                               m->count);
    }
    ggml_build_forward_expand(m->graph, ggml_set_rows(m->ggml, records, rows, m->to));
}

static dw_status build(mover *m, uint32_t record_count, dw_error *err)
{
    dw_model *model = m->context->model;
    const dw_model_shape *shape = dw_model_shape_of(model);
    size_t nodes = shape->layer_count * NODES_PER_LAYER + NODES_BESIDE;
    struct ggml_init_params params = {.mem_size = nodes * ggml_tensor_overhead() +
                                                  ggml_graph_overhead_custom(nodes, false),
                                      .no_alloc = true};
    m->ggml = ggml_init(params);
    m->graph = m->ggml != NULL ? ggml_new_graph_custom(m->ggml, nodes, false) : NULL;
    if (m->graph == NULL) {
        return dw_fail(err, DW_E_MEMORY, "shift: no memory for a graph");
    }
    m->layout = dw_model_kv_layout(shape, m->context->kv_type);
    m->kv = ggml_new_tensor_2d(m->ggml, dw_kv_ggml_type(m->layout.type),
                               dw_kv_layout_record_length(&m->layout), record_count);
    dw_status status = dw_kv_log_place(m->context->log, m->kv, err);
    if (status != DW_OK) {
        return status;
    }
    m->from = ggml_new_tensor_1d(m->ggml, GGML_TYPE_I32, m->count);
    m->to = ggml_new_tensor_1d(m->ggml, GGML_TYPE_I64, m->count);
    m->positions = ggml_new_tensor_1d(m->ggml, GGML_TYPE_I32, m->count);
    ggml_set_input(m->from);
    ggml_set_input(m->to);
    ggml_set_input(m->positions);
    for (uint32_t layer = 0; layer < shape->layer_count; layer++) {
        move_part(m, layer, DW_KV_KEYS);
        move_part(m, layer, DW_KV_VALUES);
    }
    status = dw_device_check_graph(dw_model_device(model), m->graph, err);
    if (status == DW_OK) {
        status = dw_device_graph_allocate(&m->allocator, dw_model_device(model), m->graph, err);
        if (status != DW_OK) {
            (void)dw_fail_within(err, status, "shift of %u tokens", m->count);
        }
    }
    return status;
}

/* Make a mover of `count` records, of those up to `record_count`. */
static dw_status prepare(mover *m, const dw_context *context, uint32_t count, uint32_t record_count,
                         dw_error *err)
{
    *m = (mover){.context = context, .count = count};
    if (count == 0) {
        return DW_OK;
    }
    m->numbers = dw_alloc(count, sizeof *m->numbers);
    m->targets = dw_alloc(count, sizeof *m->targets);
    return m->numbers != NULL && m->targets != NULL
               ? build(m, record_count, err)
               : dw_fail(err, DW_E_MEMORY, "shift: no memory for %u tokens", count);
}

/* Move records from `from` on forward by `distance`. */
static dw_status move(const mover *m, uint32_t from, uint32_t distance, dw_error *err)
{
    for (uint32_t i = 0; i < m->count; i++) {
        m->numbers[i] = -(int32_t)distance;
        m->targets[i] = (int64_t)from + i - distance;
    }
    dw_device *device = dw_model_device(m->context->model);
    dw_status status =
        dw_device_tensor_set(device, m->to, m->targets, 0, m->count * sizeof *m->targets, err);
    if (status != DW_OK) {
        return status;
    }
    size_t bytes = m->count * sizeof *m->numbers;
    if (m->positions->data != NULL) { /* no rope, no use for it */
        status = dw_device_tensor_set(device, m->positions, m->numbers, 0, bytes, err);
    }
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < m->count; i++) {
        m->numbers[i] = (int32_t)(from + i);
    }
    status = dw_device_tensor_set(device, m->from, m->numbers, 0, bytes, err);
    return status == DW_OK ? dw_device_run(device, m->graph, NULL, err) : status;
}

/* Moving costs as much for one forgotten token as for many: of a full window so much goes at once.
 */
#define SLIDE_PART 8

static uint32_t moved_numbers = MOVED_NUMBERS;

void dw__context_set_moved(uint32_t numbers)
{
    moved_numbers = numbers > 0 ? numbers : MOVED_NUMBERS;
}

static uint32_t moved_at_once(const dw_context *context)
{
    const dw_model_shape *shape = dw_model_shape_of(context->model);
    if (dw_device_info_of(dw_model_device(context->model))->kind != DW_DEVICE_CPU) {
        return MOVED_MAX;
    }
    const uint64_t each = (uint64_t)2 * shape->layer_count * shape->kv_head_count * shape->head_dim;
    const uint64_t count = moved_numbers / each;
    return count > MOVED_MAX ? MOVED_MAX : count < MOVED_MIN ? MOVED_MIN : (uint32_t)count;
}

/* One under way. Records [keep + drop, length) go forward by `drop`: in parts of as many and what
 * is left. Forward, and each part is read before it is written: no record is lost under another.
 * All memory is there before the first is moved. */
struct dw_shift {
    dw_context *context;
    uint32_t keep;
    uint32_t drop;
    uint32_t length; /* at first */
    uint32_t done;   /* records before it are where they belong, or forgotten */
    mover whole;
    mover rest;
};

static dw_status check_shift(const dw_context *context, uint32_t keep, uint32_t drop, dw_error *err)
{
    const uint32_t length = dw_kv_log_length(context->log);
    return keep > length || drop > length - keep
               ? dw_fail(err, DW_E_RANGE, "shift: %u tokens behind %u, the context holds %u", drop,
                         keep, length)
               : DW_OK;
}

/* What it rewrites is its own: pages that are shared are copied. */
static dw_status make_own(dw_context *context, uint32_t keep, dw_error *err)
{
    const uint32_t length = dw_kv_log_length(context->log);
    dw_status status = dw__token_history_reserve(&context->history, length, keep, length, err);
    if (status != DW_OK) {
        return status;
    }
    do {
        status = dw_kv_log_rewrite(context->log, keep, err);
    } while (dw__context_relieved(context, status));
    return status;
}

dw_status dw_shift_begin(dw_shift **out, dw_context *context, uint32_t keep, uint32_t drop,
                         dw_error *err)
{
    const uint32_t length = dw_kv_log_length(context->log);
    const uint32_t at_once = moved_at_once(context);
    *out = NULL;
    dw_status status = check_shift(context, keep, drop, err);
    if (status != DW_OK || drop == 0) {
        return status;
    }
    dw_shift *shift = dw_alloc(1, sizeof *shift);
    if (shift == NULL) {
        return dw_fail(err, DW_E_MEMORY, "shift: no memory for %u tokens", drop);
    }
    const uint32_t count = length - keep - drop;
    *shift = (dw_shift){
        .context = context, .keep = keep, .drop = drop, .length = length, .done = keep + drop};
    dw_context_drop_tree(context);
    status = make_own(context, keep, err);
    if (status == DW_OK) {
        status = prepare(&shift->whole, context, count < at_once ? 0 : at_once, length, err);
    }
    if (status == DW_OK) {
        status = prepare(&shift->rest, context, count % at_once, length, err);
    }
    if (status != DW_OK) {
        dw_shift_destroy(shift);
        return status;
    }
    *out = shift;
    return DW_OK;
}

static void hold(dw_context *context, uint32_t keep, uint32_t length)
{
    dw_kv_log_trim(context->log, length);
    dw__prefix_share_trim(&context->prefixes, keep);
    dw__kept_rows_trim(context->kept, keep);
}

/* Records stand at two places, or half way. */
static void hold_kept(dw_shift *shift)
{
    hold(shift->context, shift->keep, shift->keep);
    (void)dw_kv_log_clear_rest(shift->context->log, NULL);
    shift->context = NULL;
}

void dw_shift_destroy(dw_shift *shift)
{
    if (shift == NULL) {
        return;
    }
    if (shift->context != NULL && shift->done > shift->keep + shift->drop) {
        hold_kept(shift);
    } else if (shift->context != NULL) {
        dw_kv_log_trim(shift->context->log, shift->length); /* nothing is rewritten after all */
    }
    release(&shift->whole);
    release(&shift->rest);
    dw_free(shift);
}

static dw_status leave(dw_shift *shift, dw_status status, dw_error *err)
{
    hold_kept(shift);
    status = status == DW_E_CANCELLED ? status : DW_E_DEVICE;
    if (err != NULL) {
        err->code = status;
    }
    return status;
}

static void end(dw_shift *shift)
{
    dw_context *context = shift->context;
    const uint32_t length = shift->length - shift->drop;
    for (uint32_t i = shift->keep; i < length; i++) {
        context->history.tokens[i] = context->history.tokens[i + shift->drop];
    }
    hold(context, shift->keep, length);
    context->prefixes.impure = context->prefixes.impure || shift->keep < length;
    shift->context = NULL;
}

dw_status dw_shift_go_on(dw_shift *shift, dw_stop *stop, bool *through, dw_error *err)
{
    dw_status status = DW_OK;
    *through = false;
    if (stop != NULL && dw_stop_ends(stop)) {
        status = dw_stop_check(stop, "shift", err);
    } else if (shift->done < shift->length) {
        const bool fits =
            shift->whole.count > 0 && shift->length - shift->done >= shift->whole.count;
        const mover *part = fits ? &shift->whole : &shift->rest;
        status = move(part, shift->done, shift->drop, err);
        shift->done += part->count;
    }
    if (status != DW_OK) {
        return leave(shift, status, err);
    }
    *through = shift->done == shift->length;
    if (*through) {
        end(shift);
    }
    return DW_OK;
}

dw_status dw_context_shift(dw_context *context, uint32_t keep, uint32_t drop, dw_stop *stop,
                           dw_error *err)
{
    dw_shift *shift = NULL;
    dw_status status = check_shift(context, keep, drop, err);
    if (status == DW_OK && drop > 0) {
        status = dw_stop_check(stop, "shift", err);
    }
    if (status == DW_OK) {
        status = dw_shift_begin(&shift, context, keep, drop, err);
    }
    for (bool through = shift == NULL; status == DW_OK && !through;) {
        dw_stop_pause(stop);
        status = dw_shift_go_on(shift, stop, &through, err);
    }
    dw_shift_destroy(shift);
    return status;
}

/* ---- windows ---- */

dw_status dw_context_set_window(dw_context *context, uint32_t sink, uint32_t window, dw_error *err)
{
    const uint32_t capacity = dw_kv_log_capacity(context->log);
    if (window == 0 && sink > 0) {
        return dw_fail(err, DW_E_ARG, "window: a sink of %u tokens and no window", sink);
    }
    if (sink > capacity || window > capacity - sink) {
        return dw_fail(err, DW_E_RANGE,
                       "window: %u tokens behind a sink of %u, the context takes %u", window, sink,
                       capacity);
    }
    context->sink = sink;
    context->window = window;
    return DW_OK;
}

void dw_context_window(const dw_context *context, uint32_t *sink, uint32_t *window)
{
    *sink = context->sink;
    *window = context->window;
}

dw_status dw_context_slide(const dw_context *context, uint32_t count, uint32_t *drop, dw_error *err)
{
    const uint32_t length = dw_kv_log_length(context->log);
    const uint64_t most = (uint64_t)context->sink + context->window;
    const uint32_t movable = length > context->sink ? length - context->sink : 0;
    *drop = 0;
    if (context->window == 0 || (uint64_t)length + count <= most) {
        return DW_OK;
    }
    const uint64_t needed = (uint64_t)length + count - most;
    if (needed > movable) {
        return dw_fail(err, DW_E_LIMIT,
                       "forward: %u tokens behind %u, the context has a window of %u behind a sink "
                       "of %u",
                       count, length, context->window, context->sink);
    }
    const uint32_t some = context->window / SLIDE_PART;
    *drop = needed > some ? (uint32_t)needed : some < movable ? some : movable;
    return DW_OK;
}
