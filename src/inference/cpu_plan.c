/* Slices on the CPU, whose attention is ours: of many contexts in one run, each of whose tokens is
 * read and each of whose rows of logits is written where its owner has it; or of one. */
#include "base/alloc.h"
#include "inference/context_tree.h"
#include "inference/step_plan.h"

/* A graph's own. */
typedef struct cpu_graph {
    dw_attention *attention;
    dw_token_gather token_gather;     /* of several; its list is the graph's */
    dw_logits_scatter logits_scatter; /* the same */
    dw_token_gather *table_gathers;   /* [tables of the adapters], the same; NULL: there are none */
    dw_adapter_mix *mix;              /* of slices with different sets; else NULL */
} cpu_graph;

static bool accepts(const dw_step_work *work)
{
    if (dw_device_info_of(dw_model_device(work->model))->kind != DW_DEVICE_CPU) {
        return false;
    }
    if (!work->in_batch) {
        return true;
    }
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        if (slice->step->result != DW_RESULT_LOGITS || slice->step->embeddings != NULL ||
            slice->log == NULL) {
            return false;
        }
    }
    return true;
}

static dw_forward_size size_of(const dw_step_work *work)
{
    const dw_step_slice *slices = work->slices;
    dw_forward_size size = {.kv_type = slices[0].kv_type,
                            .adapters = slices[0].adapters,
                            .result = slices[0].step->result,
                            .several = work->in_batch,
                            .embeddings = slices[0].step->embeddings != NULL};
    for (uint32_t i = 0; i < work->count; i++) {
        size.token_count += slices[i].token_count;
        size.row_count += dw__plan_row_count(&slices[i]);
        size.mixed = size.mixed || slices[i].adapters != slices[0].adapters;
        size.long_context = dw__step_slice_is_long(&slices[i], dw_model_shape_of(work->model));
    }
    size.adapters = size.mixed ? work->all_adapters : size.adapters;
    return size;
}

/* ---- a graph ---- */

static void release(dw_step_graph *graph)
{
    cpu_graph *own = graph->own;
    dw_attention_destroy(own->attention);
    dw_free(own->token_gather.tokens);
    dw_free(own->logits_scatter.rows);
    dw_free(own->table_gathers);
    dw_adapter_mix_destroy(own->mix);
    dw_free(own);
}

static dw_status make_lists(cpu_graph *own, dw_model *model, const dw_forward_size *size,
                            dw_error *err)
{
    const dw_model_weights *weights = dw_model_weights_of(model);
    own->token_gather =
        (dw_token_gather){.embedding = weights->token_embedding,
                          .tokens = dw_alloc(size->token_count, sizeof *own->token_gather.tokens)};
    own->logits_scatter =
        (dw_logits_scatter){.shape = dw_model_shape_of(model),
                            .output = &weights->output,
                            .rows = dw_alloc(size->row_count + 1, sizeof(float *))};
    const size_t table_count = size->adapters != NULL ? size->adapters->table_count : 0;
    own->table_gathers = dw_alloc(table_count, sizeof *own->table_gathers);
    for (size_t i = 0; own->table_gathers != NULL && i < table_count; i++) {
        own->table_gathers[i] = (dw_token_gather){.embedding = size->adapters->tables[i].pair->a,
                                                  .tokens = own->token_gather.tokens};
    }
    return own->token_gather.tokens != NULL && own->logits_scatter.rows != NULL &&
                   own->table_gathers != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for %u tokens and %u rows", size->token_count,
                         size->row_count);
}

static dw_status build(dw_step_graph *graph, dw_model *model, dw_error *err)
{
    const dw_forward_size *size = &graph->size;
    cpu_graph *own = dw_alloc(1, sizeof *own);
    if (own == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a graph");
    }
    graph->own = own;
    dw_status status = dw_attention_create(&own->attention, dw_model_shape_of(model), size->kv_type,
                                           dw_device_threads(graph->device), err);
    graph->attention = own->attention;
    if (status == DW_OK && size->several) {
        graph->scatter = &own->logits_scatter;
        status = make_lists(own, model, size, err);
    }
    if (status == DW_OK && size->mixed) {
        status = dw_adapter_mix_create(&own->mix, size->adapters, DW__SLICES_MAX, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_forward_options ours = {.attention = own->attention,
                               .token_gather = size->several ? &own->token_gather : NULL,
                               .logits_scatter = size->several ? &own->logits_scatter : NULL,
                               .table_gathers = own->table_gathers,
                               .mix = own->mix};
    return dw__step_graph_build(graph, model, &ours, err);
}

/* ---- a run ---- */

static dw_status prepare(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    dw_device_view *scratch;
    return work->in_batch ? dw__step_slices_scratch(work->scratch, work->model, work->slices,
                                                    work->count, &scratch, err)
                          : dw__plan_place_one(graph, work, err);
}

static dw_attention_tree tree_of(const dw_step_slice *slice)
{
    const dw__tree *tree = slice->step->tree;
    return (dw_attention_tree){.past = tree->past,
                               .first = slice->first,
                               .parents = tree->parents,
                               .positions = tree->positions,
                               .mask = tree->mask,
                               .mask_width = (size_t)tree->past + tree->count};
}

static dw_status prepare_attention(cpu_graph *own, const dw_step_work *work, dw_error *err)
{
    dw_attention_sequence sequences[DW__SLICES_MAX];
    dw_attention_tree trees[DW__SLICES_MAX];
    uint32_t first = 0;
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        unsigned char *records = slice->log != NULL ? dw_kv_log_base(slice->log) : NULL;
        DW_ASSERT(slice->log == NULL || records != NULL);
        sequences[i] = (dw_attention_sequence){.records = records,
                                               .past = dw__step_slice_past(slice),
                                               .first_token = first,
                                               .token_count = slice->token_count};
        if (slice->step->tree != NULL) {
            trees[i] = tree_of(slice);
            sequences[i].tree = &trees[i];
        }
        first += slice->token_count;
    }
    return dw_attention_prepare(own->attention, sequences, work->count, err);
}

/* Of the slice's token `k`. */
static int32_t position_of(const dw_step_slice *slice, uint32_t k)
{
    const dw__tree *tree = slice->step->tree;
    return tree != NULL ? tree->positions[slice->first + k]
                        : (int32_t)(dw__step_slice_past(slice) + k);
}

/* Of each token where it stands, and its position in its context. */
static void fill_tokens(dw_step_graph *graph, const dw_step_work *work)
{
    const cpu_graph *own = graph->own;
    struct ggml_tensor *input = graph->forward.positions;
    int32_t *positions = dw__input_is_used(input) ? input->data : NULL;
    uint32_t token = 0;
    for (uint32_t i = 0; i < work->count; i++) {
        dw_step_slice *slice = &work->slices[i];
        const int32_t *tokens = dw__step_slice_tokens(slice);
        for (uint32_t k = 0; k < slice->token_count; k++, token++) {
            own->token_gather.tokens[token] = tokens + k;
            if (positions != NULL) {
                positions[token] = position_of(slice, k);
            }
        }
    }
    DW_ASSERT(token == graph->size.token_count);
}

/* Where each row of logits goes, and which of the run's tokens it is of. */
static void fill_rows(dw_step_graph *graph, const dw_step_work *work)
{
    const cpu_graph *own = graph->own;
    size_t vocab_count = dw_model_shape_of(work->model)->vocab_count;
    struct ggml_tensor *input = graph->forward.wanted;
    int32_t *wanted = dw__input_is_used(input) ? input->data : NULL;
    uint32_t end = 0; /* the slice's last token, and one */
    uint32_t row = 0;
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        end += slice->token_count;
        for (uint32_t k = 0; k < slice->row_count; k++, row++) {
            own->logits_scatter.rows[row] = slice->rows + k * vocab_count;
            if (wanted != NULL) {
                wanted[row] = (int32_t)(end - slice->row_count + k);
            }
        }
    }
    DW_ASSERT(row == graph->size.row_count);
}

/* The number of the slice's set among the run's; -1: it has none. */
static int32_t number_of(dw_adapter_mix *mix, const dw_step_slice *slice, uint32_t *count)
{
    uint32_t i = 0;
    if (slice->adapters == NULL) {
        return -1;
    }
    while (i < *count && mix->sets[i] != slice->adapters) {
        i++;
    }
    mix->sets[i] = slice->adapters;
    *count = i < *count ? *count : i + 1;
    return (int32_t)i;
}

/* Which set of adapters each token has, and each row. */
static void fill_sets(dw_step_graph *graph, const dw_step_work *work)
{
    const cpu_graph *own = graph->own;
    const dw_forward_graph *forward = &graph->forward;
    int32_t *tokens = dw__input_is_used(forward->token_sets) ? forward->token_sets->data : NULL;
    int32_t *rows = forward->row_sets != forward->token_sets && dw__input_is_used(forward->row_sets)
                        ? forward->row_sets->data
                        : NULL;
    uint32_t token = 0;
    uint32_t row = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; own->mix != NULL && i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        const int32_t number = number_of(own->mix, slice, &count);
        for (uint32_t k = 0; tokens != NULL && k < slice->token_count; k++) {
            tokens[token++] = number;
        }
        for (uint32_t k = 0; rows != NULL && k < slice->row_count; k++) {
            rows[row++] = number;
        }
    }
}

static dw_status fill(dw_step_graph *graph, const dw_step_work *work, dw_error *err)
{
    DW_ASSERT(graph->staging == NULL); /* its inputs are in host memory */
    dw_status status = prepare_attention(graph->own, work, err);
    if (status != DW_OK) {
        return status;
    }
    if (work->in_batch) {
        fill_tokens(graph, work);
        fill_rows(graph, work);
        fill_sets(graph, work);
        return DW_OK;
    }
    const dw_step_slice *slice = &work->slices[0];
    if (slice->step->tree != NULL) {
        return dw__plan_fill_tree_positions(graph, slice, err);
    }
    status = dw__plan_fill_weights(graph, slice, err);
    return status == DW_OK ? dw__step_graph_fill_positions(graph, dw__step_slice_past(slice), err)
                           : status;
}

/* The set of adapters of the slice at `index`, unless another slice has it, goes with its owner. */
static void leave_set(dw_adapter_mix *mix, const dw_step_work *work, uint32_t index)
{
    const dw_adapter_set *set = work->slices[index].adapters;
    for (uint32_t i = 0; i < work->count; i++) {
        if (i != index && work->slices[i].step != NULL && work->slices[i].adapters == set) {
            return;
        }
    }
    for (uint32_t i = 0; i < mix->set_count; i++) {
        mix->sets[i] = mix->sets[i] == set ? NULL : mix->sets[i];
    }
}

/* Its tokens and rows are the owner's again, and its log and adapters. */
static void leave(dw_step_graph *graph, const dw_step_work *work, uint32_t index)
{
    static const int32_t none = 0;
    const cpu_graph *own = graph->own;
    uint32_t token = 0;
    uint32_t row = 0;
    DW_ASSERT(work->in_batch && index < work->count);
    for (uint32_t i = 0; i < index; i++) {
        token += work->slices[i].token_count;
        row += work->slices[i].row_count;
    }
    for (uint32_t k = 0; k < work->slices[index].token_count; k++) {
        own->token_gather.tokens[token + k] = &none;
    }
    for (uint32_t k = 0; k < work->slices[index].row_count; k++) {
        own->logits_scatter.rows[row + k] = NULL;
    }
    if (own->mix != NULL) {
        leave_set(own->mix, work, index);
    }
    dw_attention_leave(own->attention, index);
}

const dw_step_plan dw__cpu_plan = {.name = "cpu",
                                   .accepts = accepts,
                                   .size = size_of,
                                   .graphs = {.build = build, .release = release},
                                   .prepare = prepare,
                                   .fill = fill,
                                   .finish = dw__plan_conclude,
                                   .leave = leave};
