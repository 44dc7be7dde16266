#include "inference/step.h"

#include <time.h>

#include "device/device_run.h"

/* Multiplications of one product that nobody leaves: a core does 25 to 90 thousand millions of them
 * a second, with weights of F32 and of BF16. Tokens cost the same, 64 or 512 at a time (2048 x 8192
 * of F16: 0.366 ms each). */
#define PRODUCT_WORK_MAX (UINT64_C(1) << 30)

static uint64_t product_work_max = PRODUCT_WORK_MAX;

void dw__step_set_product_work(uint64_t work)
{
    product_work_max = work > 0 ? work : PRODUCT_WORK_MAX;
}

uint32_t dw__slice_tokens_max(dw_model *model)
{
    dw_device *device = dw_model_device(model);
    if (dw_cuda_node_served(device)) {
        return DW__SLICE_TOKENS_MAX_CUDA;
    }
    const uint64_t each = dw_model_product_work(model);
    if (dw_device_info_of(device)->kind != DW_DEVICE_CPU || each == 0 ||
        product_work_max / each >= DW__SLICE_TOKENS_MAX) {
        return DW__SLICE_TOKENS_MAX;
    }
    const uint32_t cuts = (uint32_t)(product_work_max / each) / DW__CUT_TOKENS;
    return cuts > 1 ? cuts * DW__CUT_TOKENS : DW__CUT_TOKENS;
}

bool dw__step_takes_in_batch(dw_model *model, dw_step_slice *slice)
{
    dw_step_work work = {.model = model, .slices = slice, .count = 1, .in_batch = true};
    return dw__plan_for(&work) != NULL;
}

bool dw__step_prefers_alone(dw_model *model, const dw_step_slice *slice)
{
    return slice->token_count > 1 &&
           dw_device_info_of(dw_model_device(model))->kind != DW_DEVICE_CPU;
}

static void check_slices(const dw_step_work *work)
{
    DW_ASSERT(work->count > 0 && work->count <= DW__SLICES_MAX);
    DW_ASSERT(work->in_batch || work->count == 1);
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        DW_ASSERT(slice->kv_type == work->slices[0].kv_type);
        DW_ASSERT(dw__step_graph_mixes(dw_model_device(work->model), slice->adapters,
                                       work->slices[0].adapters));
        DW_ASSERT(slice->choice == NULL || slice->row_count == 1);
        DW_ASSERT(slice->log == NULL || dw__step_slice_past(slice) + slice->token_count <=
                                            dw_kv_log_committed(slice->log));
    }
}

/* A graph for rows with different sets is one for all that there may be: it counts the set. */
static dw_status find_all_adapters(dw_step_work *work, dw_error *err)
{
    bool mixed = false;
    for (uint32_t i = 1; i < work->count; i++) {
        mixed = mixed || work->slices[i].adapters != work->slices[0].adapters;
    }
    return mixed ? dw_adapter_set_all(&work->all_adapters, dw_model_adapters(work->model), err)
                 : DW_OK;
}

/* The graph for the work, with all in its place for a run. */
static dw_status ready_graph(dw_step_graph **out, dw_graph_cache *cache, const dw_step_run *run,
                             dw_error *err)
{
    const dw_step_plan *plan = run->plan;
    dw_forward_size size = plan->size(&run->work);
    dw_status status = DW_OK;
    if (!run->work.in_batch) { /* of others' who composed the run has seen to it */
        status = dw__step_slice_check_tokens(&run->work.slices[0], err);
    }
    if (status == DW_OK) {
        status = dw__graph_cache_find(out, cache, run->work.model, &plan->graphs, &size, err);
    }
    if (status != DW_OK) {
        return status;
    }
    return dw__plan_ready(plan, *out, &run->work, err);
}

/* A batch's plans see to staged views. */
static dw_device_run_options options_of(const dw_step_run *run)
{
    return (dw_device_run_options){
        .view = run->work.in_batch ? NULL : run->work.slices[0].step->view, .stops = run->stops};
}

/* All of it at once, whose own operations ask the stops as well. */
static dw_status run_graph(dw_step_graph *graph, const dw_step_run *run, dw_error *err)
{
    dw_device_run_options options = options_of(run);
    options.alone = graph->by_crew;
    options.before = graph->before;
    options.after = graph->after;
    dw_matmul_set_stops(graph->matmul, run->stops);
    dw_attention_set_stops(graph->attention, run->stops);
    dw_status status = dw_device_run(graph->device, graph->forward.graph, &options, err);
    dw_matmul_set_stops(graph->matmul, NULL);
    dw_attention_set_stops(graph->attention, NULL);
    return status;
}

static dw_status finish(const dw_step_run *run, dw_step_graph *graph, dw_error *err)
{
    dw_status status = dw_model_check_files(run->work.model, err);
    return status == DW_OK ? run->plan->finish(graph, &run->work, err) : status;
}

/* ---- in parts ---- */

/* Where all places for graphs are taken by such runs, somebody looks for one so often. */
#define LOOK_NS 100000
#define LOOK_ALONE_NS 1000000

/* Steps of one token each are left as they are: there would be as many parts as weights, and the
 * next is as long. A GPU's runs are short, and are not interrupted. */
static bool may_go_in_parts(const dw_step_work *work)
{
    bool prompts = false;
    for (uint32_t i = 0; i < work->count; i++) {
        prompts = prompts || work->slices[i].token_count > 1;
    }
    return prompts && dw_device_info_of(dw_model_device(work->model))->kind == DW_DEVICE_CPU;
}

/* With the model's lock: take the graph, where the run is a long one. */
static dw_status take_if_long(dw_step_run *run, dw_graph_cache *cache, dw_step_graph *graph,
                              dw_error *err)
{
    if (!may_go_in_parts(&run->work)) {
        return DW_OK;
    }
    dw_status status = dw__step_parts_open(graph, err);
    if (status != DW_OK || !dw__step_parts_is_long(graph)) {
        return status;
    }
    status = dw__graph_cache_take(cache, graph, run->work.scratch, run->work.in_batch, err);
    run->graph = status == DW_OK ? graph : NULL;
    return status;
}

/* With the model's lock. */
static dw_status begin_locked(dw_step_run *run, dw_model_extra *extra, dw_error *err)
{
    dw_graph_cache *cache = NULL;
    dw_step_graph *graph = NULL;
    dw_status status = dw__graph_cache_open(&cache, extra, err);
    if (status != DW_OK) {
        return status;
    }
    run->work.scratch = dw__graph_cache_scratch(cache);
    status = find_all_adapters(&run->work, err);
    if (status == DW_OK) {
        status = ready_graph(&graph, cache, run, err);
    }
    dw_adapter_set_unref(run->work.all_adapters);
    run->work.all_adapters = NULL;
    if (status == DW_OK) {
        status = take_if_long(run, cache, graph, err);
    }
    if (status != DW_OK || run->graph != NULL) {
        return status;
    }
    status = run_graph(graph, run, err);
    return status == DW_OK ? finish(run, graph, err) : status;
}

static const char *name_of(const dw_step_run *run)
{
    return run->work.slices[0].log == NULL ? "embed" : "forward";
}

dw_status dw__step_begin(dw_step_run *run, const dw_stops *stops, dw_error *err)
{
    dw_stop *alone = !run->work.in_batch && stops != NULL ? stops->items[0] : NULL;
    check_slices(&run->work);
    run->graph = NULL;
    run->at = (dw_step_at){.node = 0};
    run->stops = stops;
    run->plan = dw__plan_for(&run->work);
    DW_ASSERT(run->plan != NULL);
    dw_model_extra *extra = dw_model_lock(run->work.model, alone);
    if (extra == NULL) {
        return dw_stop_check(alone, name_of(run), err);
    }
    dw_status status = begin_locked(run, extra, err);
    dw_model_unlock(run->work.model);
    run->stops = run->work.in_batch ? NULL : stops; /* a part is short */
    return status;
}

dw_status dw__step_go_on(dw_step_run *run, dw_error *err)
{
    const dw_device_run_options options = options_of(run);
    bool through = false;
    DW_ASSERT(run->graph != NULL);
    dw_status status = dw__step_parts_run(run->graph, &options, &run->at, &through, err);
    if (status == DW_OK && through) {
        status = finish(run, run->graph, err);
    }
    if (status != DW_OK || through) {
        dw__step_end(run);
    }
    return status;
}

void dw__step_leave(dw_step_run *run, uint32_t index)
{
    DW_ASSERT(run->graph != NULL && run->plan->leave != NULL);
    run->plan->leave(run->graph, &run->work, index);
    run->work.slices[index].step = NULL;
}

void dw__step_end(dw_step_run *run)
{
    if (run->graph != NULL) {
        dw__graph_cache_give(run->graph, run->work.scratch);
        run->graph = NULL;
    }
}

/* Those that have the graphs go on meanwhile, on this thread or on others. */
static void wait_for_graph(dw_stop *stop)
{
    const uint64_t from_ns = dw_os_clock_ns();
    const bool takes_turns = dw_stop_pause_now(stop);
    if (takes_turns && dw_os_clock_ns() - from_ns >= LOOK_NS) {
        return;
    }
    const struct timespec soon = {.tv_nsec = takes_turns ? LOOK_NS : LOOK_ALONE_NS};
    (void)nanosleep(&soon, NULL);
}

dw_status dw__step_run(dw_model *model, dw_step_slice *slice, const dw_stop_others *others,
                       dw_error *err)
{
    dw_stop *stop = slice->step->stop;
    const dw_stops stops = {.items = &stop, .count = 1, .others = others};
    const dw_stops *asked = stop != NULL || others != NULL ? &stops : NULL;
    dw_step_run run = {.work = {.model = model, .slices = slice, .count = 1}};
    dw_status status = dw__step_begin(&run, asked, err);
    while (status == DW_E_BUSY) {
        wait_for_graph(stop);
        status = dw_stop_check(stop, name_of(&run), err);
        status = status == DW_OK ? dw__step_begin(&run, asked, err) : status;
    }
    while (status == DW_OK && run.graph != NULL) {
        status = dw__step_go_on(&run, err);
        if (status == DW_OK && run.graph != NULL) {
            dw_stop_pause(stop);
            status = dw_stop_check(stop, name_of(&run), err);
        }
    }
    dw__step_end(&run);
    return status;
}
