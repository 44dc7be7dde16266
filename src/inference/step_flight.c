#include "inference/step_flight.h"

#include "inference/step_plan.h"

static bool flies_on_cpu;

void dw__step_let_fly(bool on_cpu)
{
    flies_on_cpu = on_cpu;
}

bool dw__step_flies(dw_model *model)
{
    dw_device *device = dw_model_device(model);
    return dw_cuda_node_served(device) ||
           (flies_on_cpu && dw_device_info_of(device)->kind == DW_DEVICE_CPU);
}

static dw_step_work work_of(const dw_step_flight *flight)
{
    return (dw_step_work){.model = flight->model,
                          .slices = flight->slices,
                          .count = flight->count,
                          .in_batch = true,
                          .scratch = flight->scratch,
                          .turn = flight->turn};
}

/* With the model's lock, as all that follows. */
static void give_graph(dw_step_flight *flight)
{
    dw_step_graph *graph = flight->graph;
    DW_ASSERT(graph->flights > 0);
    graph->flights--;
    __atomic_store_n(&graph->taken, graph->flights > 0, __ATOMIC_RELEASE);
    dw__scratch_take(flight->scratch, false);
    flight->graph = NULL;
    flight->scratch = NULL;
}

/* The graph of the flight before, where it is of the same size: so two places for what goes to and
 * fro serve any number of flights, one behind the other. */
static dw_status take_graph(dw_step_flight *flight, const dw_step_flight *behind,
                            dw_graph_cache *cache, dw_error *err)
{
    const dw_step_work work = work_of(flight);
    const dw_forward_size size = flight->plan->size(&work);
    dw_step_graph *graph = behind != NULL ? behind->graph : NULL;
    dw_status status = DW_OK;
    if (graph == NULL || graph->kind != &flight->plan->graphs ||
        !dw__forward_size_same(&graph->size, &size)) {
        status =
            dw__graph_cache_find(&graph, cache, flight->model, &flight->plan->graphs, &size, err);
    }
    if (status != DW_OK) {
        return status;
    }
    flight->turn = graph->flights > 0 ? 1 - behind->turn : 0;
    if (graph->marks[flight->turn] == NULL) {
        status = dw_device_mark_create(&graph->marks[flight->turn], graph->device, err);
    }
    if (status == DW_OK) {
        DW_ASSERT(graph->flights < 2);
        graph->flights++;
        __atomic_store_n(&graph->taken, true, __ATOMIC_RELAXED);
        flight->graph = graph;
        flight->scratch = dw__graph_cache_scratch(cache);
        dw__scratch_take(flight->scratch, true);
    }
    return status;
}

/* The device's memory is the host's, and the host computes: choices come before the next run. */
static dw_status conclude(dw_step_flight *flight, dw_error *err)
{
    const dw_step_work work = work_of(flight);
    if (!flight->concluded) {
        flight->concluded = true;
        flight->status = flight->plan->finish(flight->graph, &work, err);
    }
    return flight->status;
}

static dw_status follow(dw_step_flight *flight, dw_step_flight *behind, dw_error *err)
{
    dw_status status = conclude(behind, err);
    for (uint32_t i = 0; status == DW_OK && i < flight->count; i++) {
        dw_step_slice *slice = &flight->slices[i];
        DW_ASSERT(slice->behind <= behind->count);
        if (slice->behind > 0) {
            const dw_step_slice *before = &behind->slices[slice->behind - 1];
            bool chose = before->choice != NULL && !before->nan;
            slice->token = chose && before->choice->status == DW_OK ? before->choice->token : 0;
        }
    }
    return status;
}

static dw_status launch(dw_step_flight *flight, dw_step_flight *behind, dw_model_extra *extra,
                        dw_error *err)
{
    dw_graph_cache *cache = NULL;
    dw_status status = dw__graph_cache_open(&cache, extra, err);
    if (status == DW_OK && behind != NULL && !flight->plan->flies) {
        status = follow(flight, behind, err);
    }
    if (status == DW_OK) {
        status = take_graph(flight, behind, cache, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_step_graph *graph = flight->graph;
    dw_step_work work = work_of(flight);
    work.behind = behind;
    status = dw__plan_ready(flight->plan, graph, &work, err);
    if (status == DW_OK) {
        const dw_device_run_options options = {
            .alone = graph->by_crew, .before = graph->before, .after = graph->after};
        status = dw_device_launch(graph->device, graph->forward.graph, &options,
                                  graph->marks[flight->turn], err);
    }
    if (status != DW_OK) {
        give_graph(flight);
    }
    return status;
}

dw_status dw__step_launch(dw_step_flight *flight, dw_step_flight *behind, dw_error *err)
{
    dw_step_work work = work_of(flight);
    DW_ASSERT(flight->count > 0 && dw__step_flies(flight->model));
    flight->plan = dw__plan_for(&work);
    flight->graph = NULL;
    flight->scratch = NULL;
    flight->concluded = false;
    DW_ASSERT(flight->plan != NULL);
    dw_model_extra *extra = dw_model_lock(flight->model, NULL);
    dw_status status = launch(flight, behind, extra, err);
    dw_model_unlock(flight->model);
    return status;
}

dw_status dw__step_land(dw_step_flight *flight, dw_error *err)
{
    const dw_step_graph *graph = flight->graph;
    dw_status status = dw_device_land(graph->device, graph->marks[flight->turn], err);
    (void)dw_model_lock(flight->model, NULL);
    if (status == DW_OK) {
        status = dw_model_check_files(flight->model, err);
    }
    if (status == DW_OK) {
        status = conclude(flight, err);
    }
    give_graph(flight);
    dw_model_unlock(flight->model);
    return status;
}
