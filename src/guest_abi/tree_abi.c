/* Trees of tokens behind a context: many continuations in one step, of which one path is kept. */
#include <assert.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"

static_assert(sizeof(dw_forward_tree_step) == 64, "the layout that guests were compiled with");
static_assert(DW_TREE_TOKENS_MAX == DW_TREE_COUNT_MAX, "what contexts take is what guests may ask");

typedef struct tree_call {
    dw_forward_tree_step given; /* as it was when it was read */
    uint32_t at;                /* its address */
    dw_context *context;
    dw_tree tree;
    dw_step step;
} tree_call;

dw_status dw__hang_tree(dw_instance *instance, dw_context *context, dw_step *step,
                        const dw_tree *tree, dw_error *err)
{
    const dw_account_scope before = dw_account_enter(dw_instance_account(instance), DW_PART_KV);
    const dw_status status = dw_context_tree_begin(context, step, tree, err);
    dw_account_leave(before);
    return status;
}

dw_status dw__find_range(dw_instance *instance, const dw__range *range, void **place, dw_error *err)
{
    return dw_instance_range(instance, range->name, range->at, range->count, range->unit,
                             range->unit, place, err);
}

bool dw__ranges_clash(const dw__range *a, const dw__range *b)
{
    return (a->written || b->written) &&
           dw__ranges_meet(a->at, a->count * a->unit, b->at, b->count * b->unit);
}

void dw__tree_ranges(const dw_context *context, const dw_tree_shape *shape, uint32_t token_count,
                     dw__range ranges[3])
{
    const uint64_t count = token_count;
    const uint64_t seen = dw_context_length(context) + count;
    ranges[0] = (dw__range){"parents", shape->parents, shape->parents != 0 ? count : 0,
                            sizeof(int32_t), false};
    ranges[1] = (dw__range){"positions", shape->positions, shape->positions != 0 ? count : 0,
                            sizeof(int32_t), false};
    ranges[2] = (dw__range){"mask", shape->mask, shape->mask != 0 ? count * seen : 0, 1, false};
}

dw_status dw__find_tree(dw_instance *instance, const dw__range ranges[3], dw_tree *tree,
                        dw_error *err)
{
    void *places[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        dw_status status = dw__find_range(instance, &ranges[i], &places[i], err);
        if (status != DW_OK) {
            return status;
        }
        places[i] = ranges[i].count > 0 ? places[i] : NULL;
    }
    *tree = (dw_tree){.parents = places[0], .positions = places[1], .mask = places[2]};
    return DW_OK;
}

static dw_status check_fields(const dw_forward_tree_step *given, dw_error *err)
{
    if (given->flags != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, none are known", given->flags);
    }
    for (size_t i = 0; i < sizeof given->reserved / sizeof given->reserved[0]; i++) {
        if (given->reserved[i] != 0) {
            return dw_fail(err, DW_E_UNSUPPORTED, "reserved fields must be 0");
        }
    }
    if (given->token_count == 0) {
        return dw_fail(err, DW_E_ARG, "token_count: 0 tokens");
    }
    if (given->token_count > DW_TREE_TOKENS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "token_count: %u, limit %d", given->token_count,
                       DW_TREE_TOKENS_MAX);
    }
    if ((given->rows != 0) != (given->row_count > 0)) {
        return dw_fail(err, DW_E_ARG, "row_count: %u, rows at %u: both or neither",
                       given->row_count, given->rows);
    }
    return DW_OK;
}

/* All ranges, none of which the rows lie over. */
static dw_status find_ranges(dw_instance *instance, tree_call *call, dw_error *err)
{
    const dw_forward_tree_step *given = &call->given;
    const dw_tree_shape shape = {
        .parents = given->parents, .positions = given->positions, .mask = given->mask};
    const uint64_t vocab = dw_model_shape_of(dw_context_model(call->context))->vocab_count;
    const dw__range tokens = {"tokens", given->tokens, given->token_count, sizeof(int32_t), false};
    const dw__range rows = {"rows", given->rows, given->row_count * vocab, sizeof(float), true};
    dw__range ranges[4] = {tokens};
    void *places[2] = {NULL};
    dw__tree_ranges(call->context, &shape, given->token_count, &ranges[1]);
    dw_status status = dw__find_range(instance, &tokens, &places[0], err);
    if (status == DW_OK) {
        status = dw__find_tree(instance, &ranges[1], &call->tree, err);
    }
    if (status == DW_OK) {
        status = dw__find_range(instance, &rows, &places[1], err);
    }
    for (int i = 0; status == DW_OK && i < 4; i++) {
        if (dw__ranges_clash(&rows, &ranges[i])) {
            return dw_fail(err, DW_E_OVERLAP, "rows: %u lie over %s at %u", rows.at, ranges[i].name,
                           ranges[i].at);
        }
    }
    call->step.tokens = places[0];
    call->step.token_count = given->token_count;
    call->step.logits = given->row_count > 0 ? places[1] : NULL;
    call->step.logits_rows = given->row_count;
    return status;
}

/* step */
static int32_t forward_tree(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    tree_call call = {.at = dw__u32(&args[0])};
    void *place;
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_status status = dw_instance_range(instance, "tree", call.at, 1, sizeof call.given,
                                         sizeof(uint32_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    call.given = *(const dw_forward_tree_step *)place;
    call.context = dw__context_of(instance, call.given.context);
    if (call.context == NULL) {
        return err->code;
    }
    call.step = dw__step_of(instance);
    call.step.on_progress = NULL; /* it is no prompt */
    status = check_fields(&call.given, err);
    if (status == DW_OK) {
        status = find_ranges(instance, &call, err);
    }
    if (status == DW_OK) {
        status = dw_instance_view(instance, &call.step.view, err);
    }
    if (status == DW_OK && call.given.mask == 0) { /* a mask is of the context as it is */
        status = dw__make_window(instance, call.context, call.step.token_count, err);
    }
    if (status == DW_OK) {
        status = dw__hang_tree(instance, call.context, &call.step, &call.tree, err);
    }
    if (status == DW_OK) {
        status = dw_instance_forward(instance, call.context, &call.step, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(call.context);
}
DW__GUEST_CALL_GROWING(i32, forward_tree)

/* context, path, count */
static int32_t context_keep(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    const uint32_t count = dw__u32(&args[2]);
    void *path;
    if (context == NULL) {
        return err->code;
    }
    dw_status status = dw_instance_range(instance, "path", dw__u32(&args[1]), count,
                                         sizeof(int32_t), sizeof(int32_t), &path, err);
    if (status == DW_OK) {
        status = dw_context_keep(context, path, count, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}
DW__GUEST_CALL_GROWING(i32, context_keep)

const dw_host_import dw_tree_imports[] = {
    {"forward_tree", "i:i", call_forward_tree},
    {"context_keep", "iii:i", call_context_keep},
    {NULL, NULL, NULL},
};
