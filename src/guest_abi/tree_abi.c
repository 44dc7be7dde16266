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

/* Range `which` of 5: what is read, and last the rows, which are written. */
typedef struct tree_range {
    const char *name;
    uint32_t at;
    uint64_t count;
    size_t bytes; /* of one */
} tree_range;

static tree_range range_of(const tree_call *call, int which)
{
    const dw_forward_tree_step *given = &call->given;
    const uint64_t count = given->token_count;
    const uint64_t seen = (uint64_t)dw_context_length(call->context) + count;
    const uint64_t vocab = dw_model_shape_of(dw_context_model(call->context))->vocab_count;
    const tree_range ranges[] = {
        {"tokens", given->tokens, count, sizeof(int32_t)},
        {"parents", given->parents, given->parents != 0 ? count : 0, sizeof(int32_t)},
        {"positions", given->positions, given->positions != 0 ? count : 0, sizeof(int32_t)},
        {"mask", given->mask, given->mask != 0 ? count * seen : 0, 1},
        {"rows", given->rows, given->row_count * vocab, sizeof(float)}};
    return ranges[which];
}

/* All ranges, none of which the rows lie over. */
static dw_status find_ranges(dw_instance *instance, tree_call *call, dw_error *err)
{
    void *places[5] = {NULL};
    const tree_range rows = range_of(call, 4);
    for (int i = 0; i < 5; i++) {
        const tree_range one = range_of(call, i);
        dw_status status =
            dw_instance_range(instance, one.name, one.at, one.count, (uint32_t)one.bytes,
                              (uint32_t)one.bytes, &places[i], err);
        if (status != DW_OK) {
            return status;
        }
        if (i < 4 &&
            dw__ranges_meet(rows.at, rows.count * rows.bytes, one.at, one.count * one.bytes)) {
            return dw_fail(err, DW_E_OVERLAP, "rows: %u lie over %s at %u", rows.at, one.name,
                           one.at);
        }
    }
    call->step.tokens = places[0];
    call->step.token_count = call->given.token_count;
    call->tree = (dw_tree){.parents = call->given.parents != 0 ? places[1] : NULL,
                           .positions = call->given.positions != 0 ? places[2] : NULL,
                           .mask = call->given.mask != 0 ? places[3] : NULL};
    call->step.logits = call->given.row_count > 0 ? places[4] : NULL;
    call->step.logits_rows = call->given.row_count;
    return DW_OK;
}

static dw_status do_tree(void *arg, dw_error *err)
{
    const tree_call *call = arg;
    return dw_context_tree_run(call->context, &call->step, err);
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
        status = dw_context_tree_begin(call.context, &call.step, &call.tree, err);
    }
    if (status == DW_OK) {
        status = dw_instance_compute(instance, do_tree, &call, err);
    }
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(call.context);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_KV, forward_tree)

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
