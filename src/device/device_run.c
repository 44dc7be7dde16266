#include "device/device_run.h"

#include <ggml-cpu.h>

#include "base/alloc.h"
#include "base/ggml_guard.h"
#include "device/device_internal.h"
#include "device/graph_work.h"

#if defined(__SANITIZE_THREAD__)
char dw_graph_work_key;
#endif

void dw_device_fail_after(dw_device *device, uint32_t graphs)
{
    (void)dw_turn_take(&device->turn, NULL);
    device->fails_in = graphs;
    dw_turn_give(&device->turn);
}

typedef struct graph_call {
    ggml_backend_dev_t handle;
    ggml_backend_t backend;
    struct ggml_cgraph *graph;
    const dw_device_copy *before;
    const dw_device_copy *after;
    ggml_backend_event_t event; /* recorded, and not waited for; NULL: waited for */
    const struct ggml_tensor *refused;
    bool fails;
    enum ggml_status result;
} graph_call;

static void find_refused(void *user)
{
    graph_call *call = user;
    for (int i = 0; i < ggml_graph_n_nodes(call->graph) && call->refused == NULL; i++) {
        const struct ggml_tensor *node = ggml_graph_node(call->graph, i);
        call->refused = ggml_backend_dev_supports_op(call->handle, node) ? NULL : node;
    }
}

dw_status dw_device_check_graph(dw_device *device, struct ggml_cgraph *graph, dw_error *err)
{
    graph_call call = {.handle = device->handle, .graph = graph};
    dw_status status = dw_device_guarded(device, find_refused, &call, err);
    if (status != DW_OK || call.refused == NULL) {
        return status;
    }
    const struct ggml_tensor *node = call.refused;
    const struct ggml_tensor *a = node->src[0];
    return dw_fail(err, DW_E_UNSUPPORTED, "%s: no %s of %s [%lld, %lld, %lld, %lld] from %s",
                   device->info.name, ggml_op_desc(node), ggml_type_name(node->type),
                   (long long)node->ne[0], (long long)node->ne[1], (long long)node->ne[2],
                   (long long)node->ne[3], a != NULL ? ggml_type_name(a->type) : "nothing");
}

static bool asked_to_stop(void *user)
{
    return dw_stops_asked(user);
}

static void compute_graph(void *user)
{
    graph_call *call = user;
    if (call->fails) {
        dw_ggml_note_error(GGML_LOG_LEVEL_ERROR, "CUDA error: out of memory");
        GGML_ABORT("made to fail by a test");
    }
    const dw_device_copy *before = call->before;
    const dw_device_copy *after = call->after;
    if (before->tensor != NULL) {
        ggml_backend_tensor_set_async(call->backend, before->tensor, before->host, 0,
                                      before->bytes);
    }
    call->result = ggml_backend_graph_compute_async(call->backend, call->graph);
    if (after->tensor != NULL && call->result == GGML_STATUS_SUCCESS) {
        ggml_backend_tensor_get_async(call->backend, after->tensor, after->host, 0, after->bytes);
    }
    if (call->event != NULL) {
        ggml_backend_event_record(call->event, call->backend);
    } else {
        ggml_backend_synchronize(call->backend);
    }
}

/* The result of a graph that the backend ended by itself. */
static dw_status result_of(const dw_device *device, enum ggml_status result, dw_error *err)
{
    switch (result) {
    case GGML_STATUS_SUCCESS:
        return DW_OK;
    case GGML_STATUS_ABORTED:
        return dw_fail(err, DW_E_CANCELLED, "%s: the step was cancelled", device->info.name);
    case GGML_STATUS_ALLOC_FAILED:
        return dw_fail(err, DW_E_MEMORY, "%s: no memory for a graph's work", device->info.name);
    default:
        return dw_fail(err, DW_E_DEVICE, "%s: a graph failed (ggml status %d)", device->info.name,
                       (int)result);
    }
}

static ggml_backend_t backend_for(const dw_device *device, const dw_device_run_options *options)
{
    return options->alone && device->alone != NULL ? device->alone : device->backend;
}

/* In the device's turn. `error` is not NULL. */
static dw_status compute_locked(dw_device *device, graph_call *call, const dw_stops *stops,
                                dw_error *error)
{
    dw_status status = dw_device_check(device, error);
    if (status != DW_OK) {
        return status;
    }
    if (device->info.kind == DW_DEVICE_CPU) {
        ggml_backend_cpu_set_abort_callback(call->backend, stops != NULL ? asked_to_stop : NULL,
                                            (void *)(uintptr_t)stops);
    }
    if (device->fails_in > 0) {
        call->fails = --device->fails_in == 0;
    }
    dw_graph_work_give();
    status = dw_ggml_guarded(compute_graph, call, error);
    if (call->backend == device->alone && device->crew != NULL) {
        dw_crew_settle(device->crew); /* what they read may go, and change */
    }
    dw_graph_work_take();
    if (status != DW_OK) {
        dw__device_recover(device, error, true);
        return dw_fail_within(error, status, "%s", device->info.name);
    }
    return result_of(device, call->result, error);
}

/* One that waits for a run of others can leave as well; of several nobody does. */
static dw_status compute(dw_device *device, graph_call *call, const dw_stops *stops,
                         dw_error *error)
{
    dw_stop *alone = stops != NULL && stops->count == 1 ? stops->items[0] : NULL;
    if (!dw_turn_take(&device->turn, alone)) {
        return dw_stop_check(alone, device->info.name, error);
    }
    dw_status status = compute_locked(device, call, stops, error);
    dw_turn_give(&device->turn);
    return status;
}

dw_status dw_device_run(dw_device *device, struct ggml_cgraph *graph,
                        const dw_device_run_options *options, dw_error *err)
{
    static const dw_device_run_options defaults;
    dw_error own;
    dw_error *error = err != NULL ? err : &own;
    options = options != NULL ? options : &defaults;
    dw_status status = dw_device_check(device, error);
    if (status == DW_OK && options->view != NULL) {
        status = dw_device_view_bring(options->view, graph, error);
    }
    if (status == DW_OK) {
        graph_call call = {.backend = backend_for(device, options),
                           .graph = graph,
                           .before = &options->before,
                           .after = &options->after};
        status = compute(device, &call, options->stops, error);
    }
    if (status == DW_OK && options->view != NULL) {
        status = dw_device_view_fetch(options->view, graph, error);
    }
    return status;
}

/* ---- without waiting ---- */

struct dw_device_mark {
    dw_device *device;
    ggml_backend_event_t event; /* NULL: the device has none, and is waited for */
};

static void make_event(void *user)
{
    dw_device_mark *mark = user;
    mark->event = ggml_backend_event_new(mark->device->handle);
}

static void free_event(void *user)
{
    ggml_backend_event_free(((dw_device_mark *)user)->event);
}

static void await_event(void *user)
{
    ggml_backend_event_synchronize(((dw_device_mark *)user)->event);
}

dw_status dw_device_mark_create(dw_device_mark **out, dw_device *device, dw_error *err)
{
    *out = NULL;
    dw_device_mark *mark = dw_alloc(1, sizeof *mark);
    if (mark == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a mark");
    }
    mark->device = device;
    dw_status status = dw_device_guarded(device, make_event, mark, err);
    if (status != DW_OK) {
        dw_free(mark);
        return status;
    }
    *out = mark;
    return DW_OK;
}

void dw_device_mark_destroy(dw_device_mark *mark)
{
    if (mark == NULL) {
        return;
    }
    if (mark->event != NULL) {
        dw_device_guarded_free(mark->device, free_event, mark);
    }
    dw_free(mark);
}

dw_status dw_device_launch(dw_device *device, struct ggml_cgraph *graph,
                           const dw_device_run_options *options, dw_device_mark *mark,
                           dw_error *err)
{
    dw_error own;
    dw_error *error = err != NULL ? err : &own;
    graph_call call = {.backend = backend_for(device, options),
                       .graph = graph,
                       .before = &options->before,
                       .after = &options->after,
                       .event = mark->event};
    DW_ASSERT(options->view == NULL && options->stops == NULL);
    dw_status status = dw_device_check(device, error);
    return status == DW_OK ? compute(device, &call, NULL, error) : status;
}

dw_status dw_device_land(dw_device *device, const dw_device_mark *mark, dw_error *err)
{
    dw_status status = dw_device_check(device, err);
    return status == DW_OK && mark->event != NULL
               ? dw_device_guarded(device, await_event, (void *)(uintptr_t)mark, err)
               : status;
}
