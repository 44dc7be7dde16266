#include "inference/step.h"

#include <time.h>

#include "device/device_run.h"
#include "inference/step_parts.h"
#include "inference/step_plan.h"

/* In the order in which they are asked; the last takes whatever goes alone. */
static const dw_step_plan *const plans[] = {&dw__cuda_plan, &dw__cpu_plan, &dw__ggml_plan};

static const dw_step_plan *plan_for(const dw_step_work *work)
{
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        if (plans[i]->accepts(work)) {
            return plans[i];
        }
    }
    return NULL;
}

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
    return plan_for(&work) != NULL;
}

static void check_slices(const dw_step_work *work)
{
    DW_ASSERT(work->count > 0 && work->count <= DW__SLICES_MAX);
    DW_ASSERT(work->in_batch || work->count == 1);
    for (uint32_t i = 0; i < work->count; i++) {
        const dw_step_slice *slice = &work->slices[i];
        DW_ASSERT(slice->kv_type == work->slices[0].kv_type);
        DW_ASSERT(slice->choice == NULL || slice->row_count == 1);
        DW_ASSERT(slice->log == NULL || dw__step_slice_past(slice) + slice->token_count <=
                                            dw_kv_log_committed(slice->log));
    }
}

/* The graph for the work, with all in its place for a run. */
static dw_status ready_graph(dw_step_graph **out, const dw_step_plan *plan,
                             const dw_step_work *work, dw_error *err)
{
    dw_forward_size size = plan->size(work);
    dw_status status =
        dw__graph_cache_find(out, work->cache, work->model, &plan->graphs, &size, err);
    if (status != DW_OK) {
        return status;
    }
    dw_step_graph *graph = *out;
    status = plan->prepare(graph, work, err);
    if (status != DW_OK) {
        return status;
    }
    if (graph->allocator == NULL) {
        status = dw__step_graph_allocate(graph, err);
    }
    return status == DW_OK ? plan->fill(graph, work, err) : status;
}

/* Run the graph, whose own operations ask `stops` as well. */
static dw_status run_graph(dw_step_graph *graph, const dw_step_work *work, const dw_stops *stops,
                           dw_error *err)
{
    /* A batch's plans see to staged views. */
    const dw_device_run_options options = {
        .view = work->in_batch ? NULL : work->slices[0].step->view, .stops = stops};
    dw_matmul_set_stops(graph->matmul, stops);
    dw_attention_set_stops(graph->attention, stops);
    dw_status status = dw_device_run(graph->device, graph->forward.graph, &options, err);
    dw_matmul_set_stops(graph->matmul, NULL);
    dw_attention_set_stops(graph->attention, NULL);
    return status;
}

/* With the model's lock. */
static dw_status run_locked(dw_step_work *work, const dw_step_plan *plan, dw_model_extra *extra,
                            const dw_stops *stops, dw_error *err)
{
    dw_step_graph *graph = NULL;
    dw_status status = dw__graph_cache_open(&work->cache, extra, err);
    if (status != DW_OK) {
        return status;
    }
    status = ready_graph(&graph, plan, work, err);
    if (status != DW_OK) {
        return status;
    }
    status = run_graph(graph, work, stops, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_model_check_files(work->model, err);
    return status == DW_OK ? plan->finish(graph, work, err) : status;
}

/* ---- in parts ---- */

/* Where all places for graphs are taken by such runs, somebody looks for one so often. */
#define LOOK_NS 100000
#define LOOK_ALONE_NS 1000000

/* An encoder's, which may take seconds. A GPU's are short, and are not interrupted. */
static bool goes_in_parts(const dw_step_work *work)
{
    return !work->in_batch && work->slices[0].log == NULL &&
           dw_device_info_of(dw_model_device(work->model))->kind == DW_DEVICE_CPU;
}

/* A graph that is ready, and the run's alone. DW_E_BUSY: there is none. */
static dw_status take_graph(dw_step_graph **out, const dw_step_plan *plan, dw_step_work *work,
                            dw_error *err)
{
    dw_stop *stop = work->slices[0].step->stop;
    dw_model_extra *extra = dw_model_lock(work->model, stop);
    if (extra == NULL) {
        return dw_stop_check(stop, "embed", err);
    }
    dw_status status = dw__graph_cache_open(&work->cache, extra, err);
    if (status == DW_OK) {
        status = ready_graph(out, plan, work, err);
    }
    if (status == DW_OK) {
        __atomic_store_n(&(*out)->taken, true, __ATOMIC_RELAXED);
    }
    dw_model_unlock(work->model);
    return status;
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

/* Without the model's lock, so that others' runs come between the parts. */
static dw_status run_in_parts(dw_step_work *work, const dw_step_plan *plan, dw_error *err)
{
    const dw_step *step = work->slices[0].step;
    dw_step_graph *graph = NULL;
    DW_ASSERT(step->view != NULL && step->choice == NULL); /* scratch is everybody's */
    dw_status status = take_graph(&graph, plan, work, err);
    while (status == DW_E_BUSY) {
        wait_for_graph(step->stop);
        status = dw_stop_check(step->stop, "embed", err);
        status = status == DW_OK ? take_graph(&graph, plan, work, err) : status;
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw__step_parts_run(graph, step->view, step->stop, err);
    if (status == DW_OK) {
        status = dw_model_check_files(work->model, err);
    }
    if (status == DW_OK) {
        status = plan->finish(graph, work, err);
    }
    __atomic_store_n(&graph->taken, false, __ATOMIC_RELEASE);
    return status;
}

dw_status dw__step_run(dw_model *model, dw_step_slice *slices, uint32_t count, dw_run_kind kind,
                       const dw_stop_others *others, dw_error *err)
{
    dw_step_work work = {
        .model = model, .slices = slices, .count = count, .in_batch = kind != DW__RUN_ALONE};
    dw_stop *items[DW__SLICES_MAX];
    const dw_stops stops = {.items = items, .count = count, .others = others};
    check_slices(&work);
    const dw_step_plan *plan = plan_for(&work);
    DW_ASSERT(plan != NULL);
    if (goes_in_parts(&work)) {
        return run_in_parts(&work, plan, err);
    }
    bool any = others != NULL;
    for (uint32_t i = 0; i < count; i++) {
        items[i] = slices[i].step->stop;
        any = any || items[i] != NULL;
    }
    dw_model_extra *extra = dw_model_lock(model, work.in_batch ? NULL : items[0]);
    if (extra == NULL) {
        return dw_stop_check(items[0], "forward", err);
    }
    bool asks = any && kind != DW__RUN_BATCH_TO_END;
    dw_status status = run_locked(&work, plan, extra, asks ? &stops : NULL, err);
    dw_model_unlock(model);
    return status;
}
