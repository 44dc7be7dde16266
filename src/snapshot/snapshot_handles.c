/* What handles stand for, in snapshots: the one table of how each kind is saved and loaded.
 * src/wasm/handle_kinds.c has the rest of each kind. */
#include <inttypes.h>
#include <string.h>

#include "grammar/grammar.h"
#include "snapshot/snapshot_parts_internal.h"

/* Of all samplers of an imported snapshot together: a few seconds. */
#define GRAMMAR_STEPS_MAX (UINT64_C(8) * DW_GRAMMAR_STEPS_MAX)

/* ---- models ------------------------------------------------------------------------------- */

static dw_status save_model(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                            dw_error *err)
{
    (void)handle;
    return dw__model_put(f, entry, "model", object) ? DW_OK : dw__freeze_no_memory(err);
}

static dw_status load_model(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                            dw_error *err)
{
    dw_model *model;
    (void)handle;
    dw_status status = dw__model_get(t, entry, "model", &model, err);
    *out = status == DW_OK ? dw_model_ref(model) : NULL;
    return status;
}

/* ---- samplers ----------------------------------------------------------------------------- */

static dw_status save_sampler(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                              dw_error *err)
{
    const dw_guest_sampler *sampler = object;
    (void)handle;
    return dw__model_put(f, entry, "model", sampler->model) &&
                   dw__json_put(entry, "state", dw_sampler_save(sampler->sampler))
               ? DW_OK
               : dw__freeze_no_memory(err);
}

static dw_status load_sampler(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                              dw_error *err)
{
    dw_model *model;
    const json_t *saved;
    dw_sampler *sampler = NULL;
    dw_guest_sampler *object = NULL;
    (void)handle;
    *out = NULL;
    dw_status status = dw__model_get(t, entry, "model", &model, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_object(entry, "open", "state", &saved, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_sampler_load(&sampler, dw_model_vocab(model), saved, err);
    if (status != DW_OK) {
        return status;
    }
    dw_sampler_limit_steps(sampler, dw_instance_limits(t->actor->instance)->grammar_steps);
    t->grammar_steps += dw_sampler_grammar_steps(sampler);
    if (!t->options->trusted && t->grammar_steps > GRAMMAR_STEPS_MAX) {
        dw_sampler_destroy(sampler);
        return dw_fail(err, DW_E_LIMIT,
                       "open: the samplers' grammars took %" PRIu64
                       " steps so far to come to where "
                       "they were, limit %" PRIu64,
                       t->grammar_steps, GRAMMAR_STEPS_MAX);
    }
    status = dw_guest_sampler_create(&object, sampler, model, err);
    *out = object;
    return status;
}

/* ---- tensor graphs ------------------------------------------------------------------------ */

static dw_status save_graph(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                            dw_error *err)
{
    (void)f;
    (void)handle;
    return dw__json_put(entry, "state", dw_tensor_graph_save(object)) ? DW_OK
                                                                      : dw__freeze_no_memory(err);
}

static dw_status load_graph(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                            dw_error *err)
{
    const json_t *saved;
    dw_tensor_graph *graph = NULL;
    (void)handle;
    dw_status status = dw__json_object(entry, "open", "state", &saved, err);
    if (status == DW_OK) {
        status = dw_guest_graph_load(&graph, saved, t->actor->instance, err);
    }
    *out = graph;
    return status;
}

/* ---- wasi-nn ------------------------------------------------------------------------------ */

static dw_status save_nn_graph(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                               dw_error *err)
{
    const dw_nn_graph *graph = object;
    (void)handle;
    return dw__model_put(f, entry, "model", graph->model) &&
                   dw__json_put(entry, "state", dw_nn_graph_save(graph))
               ? DW_OK
               : dw__freeze_no_memory(err);
}

static dw_status load_nn_graph(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                               dw_error *err)
{
    dw_model *model;
    const json_t *saved;
    dw_nn_graph *graph = NULL;
    (void)handle;
    dw_status status = dw__model_get(t, entry, "model", &model, err);
    if (status == DW_OK) {
        status = dw__json_object(entry, "open", "state", &saved, err);
    }
    if (status == DW_OK) {
        status = dw_nn_graph_load(&graph, model, saved, err);
    }
    *out = graph;
    return status;
}

static dw_status save_nn_execution(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                                   dw_error *err)
{
    const dw_nn_execution *execution = object;
    (void)handle;
    return dw__model_put(f, entry, "model", execution->model) &&
                   dw__json_put(entry, "state", dw_nn_execution_save(execution))
               ? DW_OK
               : dw__freeze_no_memory(err);
}

static dw_status load_nn_execution(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                                   dw_error *err)
{
    dw_model *model;
    const json_t *saved;
    dw_nn_execution *execution = NULL;
    (void)handle;
    dw_status status = dw__model_get(t, entry, "model", &model, err);
    if (status == DW_OK) {
        status = dw__json_object(entry, "open", "state", &saved, err);
    }
    if (status == DW_OK) {
        status = dw_nn_execution_load(&execution, model, saved, err);
    }
    *out = execution;
    return status;
}

/* ---- the table ---------------------------------------------------------------------------- */

typedef struct handle_state {
    /* Put the object of `handle` into its entry, and what is large into tensors. */
    dw_status (*save)(dw__freeze *f, json_t *entry, int32_t handle, void *object, dw_error *err);
    /* The object of an untrusted entry, for the instance, which has its memory already. */
    dw_status (*load)(dw__thaw *t, const json_t *entry, int32_t handle, void **out, dw_error *err);
} handle_state;

static const handle_state states[DW_HANDLE_KIND_COUNT] = {
    [DW_HANDLE_MODEL] = {save_model, load_model},
    [DW_HANDLE_CONTEXT] = {dw__context_save, dw__context_load},
    [DW_HANDLE_SAMPLER] = {save_sampler, load_sampler},
    [DW_HANDLE_GRAPH] = {save_graph, load_graph},
    [DW_HANDLE_NN_GRAPH] = {save_nn_graph, load_nn_graph},
    [DW_HANDLE_NN_EXECUTION] = {save_nn_execution, load_nn_execution},
};

/* ---- saving ------------------------------------------------------------------------------- */

/* Which handles are open, and the generations of all slots, so that closed ones stay closed. */
dw_status dw__handles_save(dw__freeze *f, json_t *open, json_t *generations, dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(f->actor->instance);
    dw_status status = DW_OK;
    for (size_t i = 0; i < table->capacity && status == DW_OK; i++) {
        const dw_handle_slot *slot = &table->slots[i];
        if (!dw__json_append(generations, dw__json_number(slot->generation))) {
            return dw__freeze_no_memory(err);
        }
        if (slot->object == NULL) {
            continue;
        }
        json_t *entry = json_pack("{s:I, s:s}", "slot", (json_int_t)i, "kind",
                                  dw_handle_types[slot->kind].name);
        if (entry == NULL || json_array_append_new(open, entry) != 0) {
            return dw__freeze_no_memory(err);
        }
        status = states[slot->kind].save(f, entry, dw_handle_number(i, slot->generation),
                                         slot->object, err);
    }
    return status;
}

/* ---- loading ------------------------------------------------------------------------------ */

static dw_status read_generations(dw__thaw *t, dw_error *err)
{
    const json_t *list;
    dw_handle_table *table = dw_instance_handles(t->actor->instance);
    dw_status status = dw__json_array(t->about, "actor", "generations", table->limit, &list, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_handle_table_size(table, json_array_size(list), err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t value = json_is_integer(item) ? json_integer_value(item) : 0;
        if (value < 1 || value > 0x7fff) {
            return dw_fail(err, DW_E_FORMAT, "actor: generation %zu is not from 1 to %d", i,
                           0x7fff);
        }
        table->slots[i].generation = (uint16_t)value;
    }
    return status;
}

static dw_status read_kind(const json_t *entry, size_t *kind, dw_error *err)
{
    const char *names[DW_HANDLE_KIND_COUNT];
    for (size_t i = 0; i < DW_HANDLE_KIND_COUNT; i++) {
        names[i] = dw_handle_types[i].name;
    }
    const dw__choices choices = {names, DW_HANDLE_KIND_COUNT};
    return dw__json_choice(entry, "open", "kind", &choices, kind, err);
}

static dw_status read_handle(dw__thaw *t, const json_t *entry, dw_error *err)
{
    dw_handle_table *table = dw_instance_handles(t->actor->instance);
    uint64_t slot;
    size_t kind;
    dw_status status = dw__json_whole(entry, "open", "slot", table->limit, &slot, err);
    if (status != DW_OK) {
        return status;
    }
    status = read_kind(entry, &kind, err);
    if (status != DW_OK) {
        return status;
    }
    if (slot >= table->capacity || table->slots[slot].object != NULL) {
        return dw_fail(err, DW_E_FORMAT, "open: slot %llu is taken, or beyond the %zu there are",
                       (unsigned long long)slot, table->capacity);
    }
    dw_handle_slot *place = &table->slots[slot];
    int32_t handle = dw_handle_number((size_t)slot, place->generation);
    void *object = NULL;
    dw_account *account = dw_instance_account(t->actor->instance);
    dw_account_scope before = dw_account_enter(account, dw_handle_types[kind].part);
    status = states[kind].load(t, entry, handle, &object, err);
    dw_account_leave(before);
    if (status != DW_OK) {
        return status;
    }
    DW_ASSERT(object != NULL);
    place->object = object;
    place->kind = (uint8_t)kind;
    dw_instance_handles(t->actor->instance)->count++;
    return DW_OK;
}

/* As many contexts as the actor may have open, and no more. */
static dw_status check_contexts(const dw__thaw *t, const json_t *list, dw_error *err)
{
    uint64_t limit = dw_instance_limits(t->actor->instance)->contexts;
    size_t contexts = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *kind = json_string_value(json_object_get(json_array_get(list, i), "kind"));
        contexts += kind != NULL && strcmp(kind, dw_handle_types[DW_HANDLE_CONTEXT].name) == 0;
    }
    return contexts <= limit ? DW_OK
                             : dw_fail(err, DW_E_LIMIT, "open: more than %llu contexts",
                                       (unsigned long long)limit);
}

dw_status dw__handles_load(dw__thaw *t, dw_error *err)
{
    const json_t *list;
    dw_status status = read_generations(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_array(t->about, "actor", "open", 65536, &list, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_contexts(t, list, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        status = read_handle(t, json_array_get(list, i), err);
    }
    return status;
}
