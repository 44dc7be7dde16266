#include "model/attention.h"

#include <ggml-cpu.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/array.h"
#include "device/graph_work.h"

#define TILE_ROWS 64u        /* of queries, where there are many */
#define FEW_ROWS DW_FEW_ROWS /* those over more than one part are cut */
#define PART_RECORDS DW_ATTENTION_PART
#define UNITS_PER_THREAD 4u /* where there are more, a unit has several heads: they share pages */
#define ALIGN_FLOATS 16u

/* A piece of work: some rows of queries of one sequence, over a range of records, for some heads of
 * keys and values. Row r is token r / group, head kv_head * group + r % group, with group = heads /
 * kv_heads. */
typedef struct unit {
    uint32_t sequence;
    uint32_t kv_head;
    uint32_t kv_head_count;
    uint32_t row;
    uint32_t row_count;
    uint32_t from;
    uint32_t to;
    uint32_t part_count; /* of the same rows; above 1 they are merged */
    uint32_t part;
    uint32_t first_partial; /* of head 0's part 0, in work_list.partials; then part by part */
    uint32_t merge;         /* head 0's counter in work_list.waiting */
} unit;

/* What a token of a tree sees: the sequence's records before `from`, then those of a list, of all
 * of which [first, end). */
typedef struct branch {
    size_t path; /* where in attention.paths */
    uint32_t from;
    uint32_t first;
    uint32_t end;
} branch;

/* The units of one layer: layers with a window have another list than those without. */
typedef struct work_list {
    unit *units;
    uint32_t count;
    size_t capacity;
    uint32_t partial_count;
    uint32_t merge_count;
    uint64_t work; /* multiplications in all units */
} work_list;

typedef struct merge_counter {
    _Atomic uint32_t done; /* parts, of those to be merged */
} merge_counter;

typedef struct layer_work {
    dw_attention *attention;
    uint32_t index;
    float scale;
    bool windowed;
    const struct ggml_tensor *node; /* that attends */
    _Atomic uint32_t next;          /* unit to be taken */
    uint32_t end;                   /* of the units that a run of the node takes */
    struct ggml_tensor *result;     /* of a run with a crew */
} layer_work;

struct dw_attention {
    const dw_model_shape *shape;
    const dw_attention_kernel *kernel;
    dw_kv_layout layout;
    int threads;
    layer_work *layers;
    work_list lists[2]; /* without and with a window */
    dw_attention_sequence *sequences;
    uint32_t sequence_count;
    size_t sequence_capacity;
    bool *has_left; /* [left_capacity]: sequences that take no part in what follows of the run */
    size_t left_capacity;
    branch *branches; /* [2 * tokens of the step], of trees': without and with a window */
    size_t branch_capacity;
    uint32_t *paths;
    size_t path_count;
    size_t path_capacity;
    /* Shared by all layers, which follow each other: */
    float *partials; /* [partial_capacity][FEW_ROWS][head_dim + 2] */
    uint32_t partial_capacity;
    merge_counter *waiting; /* [merge_capacity] */
    uint32_t merge_capacity;
    float *scratch; /* [threads][thread_floats] */
    size_t thread_floats;
    const dw_stops *stops; /* of the run; NULL: nobody stops it */
    dw_crew *crew;         /* NULL: none */
};

/* Multiplications between two looks at the stops: some tenths of a millisecond's. */
#define LOOK_WORK ((uint64_t)1 << 21)

static const work_list *list_of(const layer_work *work)
{
    return &work->attention->lists[work->windowed ? 1 : 0];
}

static uint32_t group_of(const dw_attention *attention)
{
    return attention->shape->head_count / attention->shape->kv_head_count;
}

/* Of some rows of a head, before they are merged. */
static size_t partial_floats(const dw_attention *attention)
{
    return (size_t)FEW_ROWS * (attention->shape->head_dim + 2);
}

/* ---- life ---- */

static size_t round_floats(size_t count)
{
    return (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

dw_status dw_attention_create(dw_attention **out, const dw_model_shape *shape, dw_kv_type type,
                              int threads, dw_error *err)
{
    *out = NULL;
    dw_attention *attention = dw_alloc(1, sizeof *attention);
    if (attention == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for attention");
    }
    attention->shape = shape;
    attention->kernel = dw_attention_kernel_for(shape->head_dim);
    attention->layout = dw_model_kv_layout(shape, type);
    attention->threads = threads;
    DW_ASSERT(attention->kernel != NULL && attention->layout.head_bytes > 0 && threads > 0);
    /* The kernel's own, then queries and output, then four numbers a row. */
    attention->thread_floats = round_floats(dw_attention_scratch_floats(shape->head_dim) +
                                            (size_t)TILE_ROWS * (2 * shape->head_dim + 4));
    attention->layers = dw_alloc(shape->layer_count, sizeof *attention->layers);
    attention->scratch = dw_alloc((size_t)threads * attention->thread_floats, sizeof(float));
    if (attention->layers == NULL || attention->scratch == NULL) {
        dw_attention_destroy(attention);
        return dw_fail(err, DW_E_MEMORY, "no memory for attention with %d threads", threads);
    }
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        attention->layers[i].attention = attention;
        attention->layers[i].index = i;
        attention->layers[i].windowed = dw_layer_windowed(shape, i);
        attention->layers[i].scale = shape->attention_scale;
    }
    *out = attention;
    return DW_OK;
}

void dw_attention_destroy(dw_attention *attention)
{
    if (attention == NULL) {
        return;
    }
    dw_free(attention->layers);
    dw_free(attention->lists[0].units);
    dw_free(attention->lists[1].units);
    dw_free(attention->sequences);
    dw_free(attention->has_left);
    dw_free(attention->branches);
    dw_free(attention->paths);
    dw_free(attention->partials);
    dw_free(attention->waiting);
    dw_free(attention->scratch);
    dw_free(attention);
}

void dw_attention_set_stops(dw_attention *attention, const dw_stops *stops)
{
    if (attention != NULL) {
        attention->stops = stops;
    }
}

void dw_attention_set_crew(dw_attention *attention, dw_crew *crew)
{
    attention->crew = crew;
}

/* ---- cutting a step into units ---- */

static uint64_t work_of(const dw_attention *attention, const unit *one)
{
    return (uint64_t)2 * one->row_count * one->kv_head_count * (one->to - one->from) *
           attention->shape->head_dim;
}

static dw_status add_unit(work_list *list, const unit *one, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(list->units, list->capacity, list->count + 1, UINT32_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a step of %u parts", list->count + 1);
    }
    list->units[list->count++] = *one;
    return DW_OK;
}

/* The records that the token at `position` sees: [first, position]. */
static uint32_t first_seen(uint32_t position, uint32_t window)
{
    return window > 0 && position >= window ? position - window + 1 : 0;
}

/* Of the step's own tokens, the last that `token` sees. */
static uint32_t last_seen_token(const dw_attention_sequence *sequence, uint32_t token)
{
    bool encoder = sequence->records == NULL;
    return encoder ? sequence->token_count - 1 : token;
}

/* Heads in a unit, where each of `parts` has `one`'s rows. Bits do not depend on it. */
static uint32_t heads_at_once(const dw_attention *attention, uint32_t parts)
{
    const uint32_t all = attention->shape->kv_head_count;
    const uint64_t wanted = UNITS_PER_THREAD * (uint64_t)attention->threads;
    uint32_t heads = 1;
    while (parts > 1 && heads < all && (uint64_t)((all + heads) / (heads + 1)) * parts >= wanted) {
        heads++;
    }
    return heads;
}

/* `one` for all heads of keys and values, in parts where its records are many. */
static dw_status add_tile(const dw_attention *attention, work_list *list, unit *one, dw_error *err)
{
    const uint32_t kv_heads = attention->shape->kv_head_count;
    const uint32_t from = one->from / DW_ATTENTION_BLOCK * DW_ATTENTION_BLOCK;
    const uint32_t to = one->to;
    const uint32_t first_part = from / PART_RECORDS;
    const bool cut = one->row_count <= FEW_ROWS && (to - 1) / PART_RECORDS > first_part;
    one->part_count = cut ? (to - 1) / PART_RECORDS - first_part + 1 : 1;
    if (cut) {
        one->first_partial = list->partial_count;
        list->partial_count += one->part_count * kv_heads;
        one->merge = list->merge_count;
        list->merge_count += kv_heads;
    }
    const uint32_t heads = heads_at_once(attention, one->part_count);
    for (uint32_t part = 0; part < one->part_count; part++) {
        const uint32_t end = (first_part + part + 1) * PART_RECORDS;
        one->part = part;
        one->from = part == 0 ? from : end - PART_RECORDS;
        one->to = cut && end < to ? end : to;
        for (uint32_t head = 0; head < kv_heads; head += heads) {
            one->kv_head = head;
            one->kv_head_count = kv_heads - head < heads ? kv_heads - head : heads;
            dw_status status = add_unit(list, one, err);
            if (status != DW_OK) {
                return status;
            }
            list->work += work_of(attention, one);
        }
    }
    return DW_OK;
}

/* Of a tree's token, counted from its sequence's first. */
static branch *branch_of(const dw_attention *attention, const dw_attention_sequence *sequence,
                         uint32_t token, bool windowed)
{
    return &attention->branches[2 * ((size_t)sequence->first_token + token) + windowed];
}

static dw_status add_rows(const dw_attention *attention, work_list *list, uint32_t index,
                          uint32_t window, dw_error *err)
{
    const dw_attention_sequence *sequence = &attention->sequences[index];
    uint32_t group = group_of(attention);
    uint32_t rows = sequence->token_count * group;
    uint32_t step = rows <= FEW_ROWS ? FEW_ROWS : TILE_ROWS;
    for (uint32_t row = 0; row < rows; row += step) {
        unit one = {.sequence = index, .row = row};
        one.row_count = rows - row < step ? rows - row : step;
        uint32_t last = row + one.row_count - 1;
        one.from = first_seen(sequence->past + row / group, window);
        one.to = sequence->past + last_seen_token(sequence, last / group) + 1;
        dw_status status = add_tile(attention, list, &one, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* What a token of a tree sees is its own: each goes for itself. */
static dw_status add_tree(const dw_attention *attention, work_list *list, uint32_t index,
                          uint32_t window, dw_error *err)
{
    const dw_attention_sequence *sequence = &attention->sequences[index];
    const uint32_t group = group_of(attention);
    for (uint32_t row = 0; row < sequence->token_count * group;) {
        const branch *of = branch_of(attention, sequence, row / group, window > 0);
        const uint32_t left = group - row % group;
        unit one = {.sequence = index, .row = row};
        one.row_count = left < TILE_ROWS ? left : TILE_ROWS;
        one.from = of->first;
        one.to = of->end;
        dw_status status = add_tile(attention, list, &one, err);
        if (status != DW_OK) {
            return status;
        }
        row += one.row_count;
    }
    return DW_OK;
}

static dw_status add_sequence(const dw_attention *attention, work_list *list, uint32_t index,
                              uint32_t window, dw_error *err)
{
    return attention->sequences[index].tree != NULL ? add_tree(attention, list, index, window, err)
                                                    : add_rows(attention, list, index, window, err);
}

/* ---- trees ---- */

/* Whether the tokens on the path to `at` stand one behind the other, as those of a sequence do. */
static bool is_path(const dw_attention_tree *tree, uint32_t at)
{
    bool in_order = tree->mask == NULL;
    for (int32_t i = (int32_t)at; in_order && i >= 0; i = tree->parents[i]) {
        const int32_t parent = tree->parents[i];
        const int32_t before = parent >= 0 ? tree->positions[parent] : (int32_t)tree->past - 1;
        in_order = tree->positions[i] == before + 1;
    }
    return in_order;
}

static dw_status reserve_path(dw_attention *attention, size_t more, dw_error *err)
{
    return DW_ARRAY_RESERVE(attention->paths, attention->path_capacity,
                            attention->path_count + more, SIZE_MAX / 8)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for a tree's paths");
}

/* As of a sequence that `at` ends. */
static dw_status take_path(dw_attention *attention, const dw_attention_tree *tree, uint32_t at,
                           branch two[2], dw_error *err)
{
    uint32_t length = 0;
    for (int32_t i = (int32_t)at; i >= 0; i = tree->parents[i]) {
        length++;
    }
    dw_status status = reserve_path(attention, length, err);
    if (status != DW_OK) {
        return status;
    }
    two[0] =
        (branch){.path = attention->path_count, .from = tree->past, .end = tree->past + length};
    two[1] = two[0];
    two[1].first = first_seen(two[0].end - 1, attention->shape->window);
    attention->path_count += length;
    for (int32_t i = (int32_t)at; i >= 0; i = tree->parents[i]) {
        attention->paths[two[0].path + --length] = tree->past + (uint32_t)i;
    }
    return DW_OK;
}

static bool sees(const dw_attention_tree *tree, uint32_t at, uint32_t record)
{
    if (tree->mask != NULL) { /* of a guest's memory: it was checked, and may be another since */
        return record == tree->past + at || tree->mask[at * tree->mask_width + record] != 0;
    }
    int32_t i = (int32_t)at;
    while (record >= tree->past && i > (int32_t)(record - tree->past)) {
        i = tree->parents[i];
    }
    return record < tree->past || i == (int32_t)(record - tree->past);
}

/* What the token sees by mask or by parents, within the window if there is one, in the log's
 * order. Where a window leaves out the first of these they stay in the list, so that the others'
 * places in it do not depend on that. */
static dw_status take_list(dw_attention *attention, const dw_attention_tree *tree, uint32_t at,
                           bool windowed, branch *to, dw_error *err)
{
    const uint32_t window = windowed ? attention->shape->window : 0;
    const uint32_t all = tree->past + at + 1;
    const int64_t least = window > 0 ? (int64_t)tree->positions[at] - window + 1 : 0;
    dw_status status = reserve_path(attention, all, err);
    if (status != DW_OK) {
        return status;
    }
    *to = (branch){.path = attention->path_count};
    for (uint32_t j = 0; j < all; j++) {
        const int64_t position =
            j < tree->past ? (int64_t)j : (int64_t)tree->positions[j - tree->past];
        const bool outside = position < least;
        if (!sees(tree, at, j) || (outside && to->end > to->first)) {
            continue;
        }
        attention->paths[to->path + to->end++] = j;
        to->first += outside ? 1 : 0;
    }
    DW_ASSERT(to->end > to->first); /* it sees itself */
    attention->path_count += to->end;
    return DW_OK;
}

static dw_status take_branch(dw_attention *attention, const dw_attention_sequence *sequence,
                             uint32_t token, dw_error *err)
{
    const dw_attention_tree *tree = sequence->tree;
    const uint32_t at = tree->first + token;
    branch *two = branch_of(attention, sequence, token, false);
    if (is_path(tree, at)) {
        return take_path(attention, tree, at, two, err);
    }
    dw_status status = take_list(attention, tree, at, false, &two[0], err);
    if (status != DW_OK || attention->shape->window == 0) {
        return status;
    }
    return take_list(attention, tree, at, true, &two[1], err);
}

/* What the tokens of all trees see; a step without them has nothing here. */
static dw_status take_trees(dw_attention *attention, dw_error *err)
{
    attention->path_count = 0;
    for (uint32_t i = 0; i < attention->sequence_count; i++) {
        const dw_attention_sequence *sequence = &attention->sequences[i];
        const size_t end = (size_t)sequence->first_token + sequence->token_count;
        if (sequence->tree == NULL) {
            continue;
        }
        if (!DW_ARRAY_RESERVE(attention->branches, attention->branch_capacity, 2 * end,
                              UINT32_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a tree of %u tokens",
                           sequence->token_count);
        }
        for (uint32_t token = 0; token < sequence->token_count; token++) {
            dw_status status = take_branch(attention, sequence, token, err);
            if (status != DW_OK) {
                return status;
            }
        }
    }
    return DW_OK;
}

/* ---- preparing ---- */

static dw_status reserve(dw_attention *attention, uint32_t partials, uint32_t merges, dw_error *err)
{
    if (partials > attention->partial_capacity) {
        const size_t floats = 2 * partials * partial_floats(attention);
        float *grown = dw_realloc(attention->partials, floats, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %u parts of attention", partials);
        }
        attention->partials = grown;
        attention->partial_capacity = 2 * partials;
    }
    if (merges > attention->merge_capacity) {
        merge_counter *grown = dw_realloc(attention->waiting, 2 * merges, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %u parts of attention", merges);
        }
        attention->waiting = grown;
        attention->merge_capacity = 2 * merges;
    }
    return DW_OK;
}

static dw_status keep_sequences(dw_attention *attention, const dw_attention_sequence *sequences,
                                uint32_t count, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(attention->sequences, attention->sequence_capacity, count, UINT32_MAX) ||
        !DW_ARRAY_RESERVE(attention->has_left, attention->left_capacity, count, UINT32_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a step of %u sequences", count);
    }
    memcpy(attention->sequences, sequences, count * sizeof *sequences);
    memset(attention->has_left, 0, count * sizeof *attention->has_left);
    attention->sequence_count = count;
    return take_trees(attention, err);
}

dw_status dw_attention_prepare(dw_attention *attention, const dw_attention_sequence *sequences,
                               uint32_t count, dw_error *err)
{
    dw_status status = keep_sequences(attention, sequences, count, err);
    for (int windowed = 0; windowed < 2; windowed++) {
        work_list *list = &attention->lists[windowed];
        uint32_t window = windowed == 1 ? attention->shape->window : 0;
        list->count = 0;
        list->partial_count = 0;
        list->merge_count = 0;
        list->work = 0;
        if (windowed == 1 && window == 0) {
            break;
        }
        for (uint32_t i = 0; i < count && status == DW_OK; i++) {
            status = add_sequence(attention, list, i, window, err);
        }
        if (status == DW_OK) {
            status = reserve(attention, list->partial_count, list->merge_count, err);
        }
    }
    for (uint32_t i = 0; i < attention->merge_capacity; i++) {
        atomic_store_explicit(&attention->waiting[i].done, 0, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < attention->shape->layer_count; i++) {
        atomic_store_explicit(&attention->layers[i].next, 0, memory_order_relaxed);
        attention->layers[i].end = UINT32_MAX;
    }
    return status;
}

/* ---- appending ---- */

static void store_row(dw_kv_type type, const float *row, int64_t count, unsigned char *to)
{
    switch (type) {
    case DW_KV_F16:
        ggml_cpu_fp32_to_fp16(row, (ggml_fp16_t *)(void *)to, count);
        break;
    case DW_KV_Q8_0:
        (void)ggml_quantize_chunk(GGML_TYPE_Q8_0, row, to, 0, 1, count, NULL);
        break;
    default:
        memcpy(to, row, (size_t)count * sizeof *row);
    }
}

/* Token i's rows of K and V are two pieces of work, shared out one by one. */
static void append(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const layer_work *work = user;
    const dw_attention *attention = work->attention;
    int64_t row = (int64_t)attention->shape->kv_head_count * attention->shape->head_dim;
    int64_t piece = 0;
    for (uint32_t i = 0; i < attention->sequence_count; i++) {
        const dw_attention_sequence *sequence = &attention->sequences[i];
        const uint32_t count = attention->has_left[i] ? 0 : sequence->token_count;
        for (uint32_t token = 0; token < count; token++) {
            unsigned char *record = sequence->records + (size_t)(sequence->past + token) *
                                                            attention->layout.record_bytes;
            for (uint32_t part = 0; part < 2; part++, piece++) {
                if (piece % nth != ith) {
                    continue;
                }
                const struct ggml_tensor *from = dst->src[part];
                size_t stride = part == 0 ? from->nb[2] : from->nb[1];
                const unsigned char *numbers = from->data;
                numbers += (size_t)(sequence->first_token + token) * stride;
                store_row(attention->layout.type, (const float *)(const void *)numbers, row,
                          record + dw_kv_layout_offset(&attention->layout, work->index, part));
            }
        }
    }
    dw_graph_work_give();
}

struct ggml_tensor *dw_attention_append(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor *k,
                                        struct ggml_tensor *v)
{
    struct ggml_tensor *args[] = {k, v};
    return ggml_set_name(ggml_custom_4d(ggml, GGML_TYPE_F32, 1, 1, 1, 1, args, 2, append,
                                        GGML_N_TASKS_MAX, &attention->layers[layer]),
                         "append");
}

/* ---- attending ---- */

/* A thread's own memory. */
typedef struct workplace {
    float *kernel;
    float *queries; /* [TILE_ROWS][head_dim] */
    float *output;  /* the same */
    float *maxima;  /* [TILE_ROWS] */
    float *sums;
    uint32_t *first;
    uint32_t *end;
} workplace;

static workplace workplace_of(const dw_attention *attention, int thread)
{
    size_t head_dim = attention->shape->head_dim;
    workplace place = {.kernel = attention->scratch + (size_t)thread * attention->thread_floats};
    place.queries = place.kernel + dw_attention_scratch_floats(attention->shape->head_dim);
    place.output = place.queries + TILE_ROWS * head_dim;
    place.maxima = place.output + TILE_ROWS * head_dim;
    place.sums = place.maxima + TILE_ROWS;
    place.first = (uint32_t *)(void *)(place.sums + TILE_ROWS);
    place.end = place.first + TILE_ROWS;
    return place;
}

/* Byte address of row `row`'s head in a tensor [head_dim, heads, tokens] or [.., tokens]. */
static float *head_of(const struct ggml_tensor *tensor, size_t head_stride, size_t token_stride,
                      uint32_t token, uint32_t head)
{
    unsigned char *data = tensor->data;
    return (float *)(void *)(data + token * token_stride + head * head_stride);
}

static void gather_rows(const layer_work *work, const unit *one, uint32_t kv_head,
                        const struct ggml_tensor *queries, const workplace *place)
{
    const dw_attention *attention = work->attention;
    const dw_attention_sequence *sequence = &attention->sequences[one->sequence];
    uint32_t head_dim = attention->shape->head_dim;
    uint32_t group = group_of(attention);
    uint32_t window = work->windowed ? attention->shape->window : 0;
    for (uint32_t i = 0; i < one->row_count; i++) {
        uint32_t token = (one->row + i) / group;
        uint32_t head = kv_head * group + (one->row + i) % group;
        const float *from =
            head_of(queries, queries->nb[1], queries->nb[2], sequence->first_token + token, head);
        for (uint32_t k = 0; k < head_dim; k++) {
            place->queries[(size_t)i * head_dim + k] = from[k] * work->scale;
        }
        place->first[i] = first_seen(sequence->past + token, window);
        place->end[i] = sequence->past + last_seen_token(sequence, token) + 1;
        if (sequence->tree != NULL) {
            const branch *of = branch_of(attention, sequence, token, work->windowed);
            place->first[i] = of->first;
            place->end[i] = of->end;
        }
    }
}

/* Where a unit's result goes before it is divided: what is merged. */
static void place_partial(const dw_attention *attention, uint32_t index, dw_attention_tile *tile)
{
    tile->maxima = attention->partials + index * partial_floats(attention);
    tile->sums = tile->maxima + FEW_ROWS;
    tile->output = tile->sums + FEW_ROWS;
}

static void write_rows(const layer_work *work, const unit *one, uint32_t kv_head,
                       struct ggml_tensor *dst, const dw_attention_tile *tile)
{
    const dw_attention *attention = work->attention;
    uint32_t head_dim = attention->shape->head_dim;
    uint32_t group = group_of(attention);
    for (uint32_t row = 0; row < one->row_count; row++) {
        uint32_t token = attention->sequences[one->sequence].first_token + (one->row + row) / group;
        uint32_t head = kv_head * group + (one->row + row) % group;
        float *to = head_of(dst, head_dim * sizeof *to, dst->nb[1], token, head);
        const float *output = tile->output + (size_t)row * head_dim;
        for (uint32_t i = 0; i < head_dim; i++) {
            to[i] = output[i] / tile->sums[row]; /* a sum of 0 comes of NaN, and gives it on */
        }
    }
}

/* By whichever thread did the last part, always in the parts' order: into part 0's. */
static void merge(const layer_work *work, const unit *one, uint32_t kv_head,
                  struct ggml_tensor *dst)
{
    const dw_attention *attention = work->attention;
    const uint32_t first = one->first_partial + kv_head * one->part_count;
    dw_attention_tile into = {.head_dim = attention->shape->head_dim, .row_count = one->row_count};
    dw_attention_tile part = into;
    place_partial(attention, first, &into);
    for (uint32_t i = 1; i < one->part_count; i++) {
        place_partial(attention, first + i, &part);
        attention->kernel->merge(&into, &part);
    }
    write_rows(work, one, kv_head, dst, &into);
}

/* The keys or values of a head: in the log, or with an encoder in the graph's tensors. */
static const unsigned char *head_base(const layer_work *work, const unit *one, uint32_t kv_head,
                                      const struct ggml_tensor *dst, uint32_t part)
{
    const dw_attention *attention = work->attention;
    const dw_attention_sequence *sequence = &attention->sequences[one->sequence];
    size_t head_offset = kv_head * attention->layout.head_bytes;
    if (sequence->records != NULL) {
        return sequence->records + dw_kv_layout_offset(&attention->layout, work->index, part) +
               head_offset;
    }
    const unsigned char *rows = dst->src[1 + part]->data;
    return rows + sequence->first_token * dst->src[1]->nb[2] + head_offset;
}

static dw_attention_range range_of(const layer_work *work, const unit *one, uint32_t kv_head,
                                   const struct ggml_tensor *dst)
{
    return (dw_attention_range){.keys = head_base(work, one, kv_head, dst, 0),
                                .values = head_base(work, one, kv_head, dst, 1),
                                .from = one->from,
                                .to = one->to};
}

/* Whether the unit is the last of those of its rows, all of which count. */
static bool is_last_part(const dw_attention *attention, const unit *one, uint32_t kv_head)
{
    if (one->part_count == 1) {
        return true;
    }
    merge_counter *waiting = &attention->waiting[one->merge + kv_head];
    if (1 + atomic_fetch_add_explicit(&waiting->done, 1, memory_order_acq_rel) < one->part_count) {
        return false;
    }
    /* For the next layer, which starts when all threads are through with this one. */
    atomic_store_explicit(&waiting->done, 0, memory_order_relaxed);
    return true;
}

static dw_attention_tile tile_of(const layer_work *work, const unit *one, const workplace *place)
{
    const dw_attention *attention = work->attention;
    const dw_attention_sequence *sequence = &attention->sequences[one->sequence];
    dw_attention_tile tile = {.type = attention->layout.type,
                              .head_dim = attention->shape->head_dim,
                              .row_count = one->row_count,
                              .queries = place->queries,
                              .first = place->first,
                              .end = place->end,
                              .cap = attention->shape->attn_logit_softcap,
                              .maxima = place->maxima,
                              .sums = place->sums,
                              .output = place->output,
                              .scratch = place->kernel};
    if (sequence->tree != NULL) {
        const uint32_t token = one->row / group_of(attention);
        const branch *of = branch_of(attention, sequence, token, work->windowed);
        tile.path = attention->paths + of->path;
        tile.path_from = of->from;
    }
    return tile;
}

/* Of a sequence that has left: numbers, which nobody reads. */
static void pass_head(const layer_work *work, const unit *one, uint32_t kv_head,
                      struct ggml_tensor *dst, const workplace *place)
{
    if (!is_last_part(work->attention, one, kv_head)) {
        return;
    }
    dw_attention_tile none = tile_of(work, one, place);
    memset(none.output, 0, (size_t)one->row_count * none.head_dim * sizeof *none.output);
    for (uint32_t row = 0; row < one->row_count; row++) {
        none.sums[row] = 1.0f;
    }
    write_rows(work, one, kv_head, dst, &none);
}

/* Whether what is attended to next is found as this is. */
static bool follows(const dw_attention *attention, const unit *one, const unit *next)
{
    const dw_attention_sequence *of = &attention->sequences[one->sequence];
    const dw_attention_sequence *then = next != NULL ? &attention->sequences[next->sequence] : NULL;
    return then != NULL && of->tree == NULL && then->tree == NULL &&
           (of->records == NULL) == (then->records == NULL) && !attention->has_left[next->sequence];
}

/* What is looked at behind a head of a unit: the next head of it, or the first of `next`. */
static dw_attention_range range_behind(const layer_work *work, const unit *one, uint32_t kv_head,
                                       const unit *next, const struct ggml_tensor *dst)
{
    if (kv_head + 1 < one->kv_head + one->kv_head_count) {
        return range_of(work, one, kv_head + 1, dst);
    }
    return follows(work->attention, one, next) ? range_of(work, next, next->kv_head, dst)
                                               : (dw_attention_range){.keys = NULL};
}

static void run_head(const layer_work *work, const unit *one, const dw_attention_tile *over,
                     uint32_t kv_head, struct ggml_tensor *dst)
{
    const dw_attention *attention = work->attention;
    dw_attention_tile tile = *over;
    if (one->part_count > 1) {
        place_partial(attention, one->first_partial + kv_head * one->part_count + one->part, &tile);
    }
    attention->kernel->attend(&tile);
    if (one->part_count == 1) {
        write_rows(work, one, kv_head, dst, &tile);
    } else if (is_last_part(attention, one, kv_head)) {
        merge(work, one, kv_head, dst);
    }
}

/* `next`: the unit that this thread is likely to take behind it, or NULL. */
static void run_unit(const layer_work *work, const unit *one, const unit *next,
                     struct ggml_tensor *dst, const workplace *place)
{
    const dw_attention *attention = work->attention;
    const bool encoder = attention->sequences[one->sequence].records == NULL;
    dw_attention_tile tile = tile_of(work, one, place);
    tile.stride = encoder ? dst->src[1]->nb[2] : attention->layout.record_bytes;
    for (uint32_t head = one->kv_head; head < one->kv_head + one->kv_head_count; head++) {
        if (attention->has_left[one->sequence]) {
            pass_head(work, one, head, dst, place);
            continue;
        }
        gather_rows(work, one, head, dst->src[0], place);
        tile.records = range_of(work, one, head, dst);
        tile.next = range_behind(work, one, head, next, dst);
        run_head(work, one, &tile, head, dst);
    }
}

/* Where each of `threads` takes a unit in turn. */
static const unit *unit_after(const work_list *list, uint32_t index, int threads)
{
    const uint32_t next = index + (uint32_t)threads;
    return next < list->count ? &list->units[next] : NULL;
}

static void run_unit_of_crew(void *user, uint32_t index, int thread)
{
    const layer_work *work = user;
    const dw_attention *attention = work->attention;
    const work_list *list = list_of(work);
    const workplace place = workplace_of(attention, thread);
    if (list->work < LOOK_WORK || !dw_stops_asked(attention->stops)) {
        run_unit(work, &list->units[index], unit_after(list, index, attention->threads),
                 work->result, &place);
    }
}

static void attend(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    layer_work *work = user;
    const uint32_t count = list_of(work)->count;
    if (nth == 1 && work->attention->crew != NULL && count > 1 && count <= DW_CREW_UNITS_MAX) {
        work->result = dst;
        dw_crew_run(work->attention->crew,
                    &(dw_crew_job){.units = count, .deliver = run_unit_of_crew, .user = work});
        dw_graph_work_give();
        return;
    }
    const dw_attention *attention = work->attention;
    DW_ASSERT(ith < attention->threads);
    const work_list *list = list_of(work);
    const uint32_t end = list->count < work->end ? list->count : work->end;
    workplace place = workplace_of(attention, ith);
    uint64_t done = 0;
    for (;;) {
        uint32_t index = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed);
        if (index >= end || (done >= LOOK_WORK && dw_stops_asked(attention->stops))) {
            break;
        }
        const unit *one = &list->units[index];
        done = done >= LOOK_WORK ? 0 : done;
        done += work_of(attention, one);
        run_unit(work, one, unit_after(list, index, nth), dst, &place);
    }
    dw_graph_work_give();
}

struct ggml_tensor *dw_attention_attend(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor *queries,
                                        struct ggml_tensor *appended)
{
    struct ggml_tensor *args[] = {queries, appended};
    int64_t row = (int64_t)attention->shape->head_count * attention->shape->head_dim;
    layer_work *work = &attention->layers[layer];
    struct ggml_tensor *node = ggml_custom_4d(ggml, GGML_TYPE_F32, row, queries->ne[2], 1, 1, args,
                                              2, attend, GGML_N_TASKS_MAX, work);
    work->node = node;
    return ggml_set_name(node, "attend");
}

struct ggml_tensor *dw_attention_encode(dw_attention *attention, struct ggml_context *ggml,
                                        uint32_t layer, struct ggml_tensor **qkv)
{
    DW_ASSERT(attention->layout.type == DW_KV_F32 && qkv[1]->nb[2] == qkv[2]->nb[1]);
    int64_t row = (int64_t)attention->shape->head_count * attention->shape->head_dim;
    layer_work *work = &attention->layers[layer];
    struct ggml_tensor *node = ggml_custom_4d(ggml, GGML_TYPE_F32, row, qkv[0]->ne[2], 1, 1, qkv, 3,
                                              attend, GGML_N_TASKS_MAX, work);
    work->node = node;
    return node;
}

/* ---- a part at a time ---- */

static layer_work *layer_of(dw_attention *attention, const struct ggml_tensor *node)
{
    for (uint32_t i = 0; attention != NULL && i < attention->shape->layer_count; i++) {
        if (attention->layers[i].node == node) {
            return &attention->layers[i];
        }
    }
    return NULL;
}

uint32_t dw_attention_units(dw_attention *attention, const struct ggml_tensor *node, uint64_t *work)
{
    const layer_work *layer = layer_of(attention, node);
    if (layer == NULL) {
        return 0;
    }
    const work_list *list = list_of(layer);
    *work = list->work;
    return list->count;
}

void dw_attention_set_units(dw_attention *attention, const struct ggml_tensor *node, uint32_t from,
                            uint32_t to)
{
    layer_work *layer = layer_of(attention, node);
    DW_ASSERT(layer != NULL && from < to);
    atomic_store_explicit(&layer->next, from, memory_order_relaxed);
    layer->end = to;
}

void dw_attention_leave(dw_attention *attention, uint32_t sequence)
{
    DW_ASSERT(sequence < attention->sequence_count);
    attention->has_left[sequence] = true;
}
