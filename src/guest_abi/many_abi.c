/* Forward steps of several contexts of a guest in one run of the device. */
#include <assert.h>
#include <stddef.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"

static_assert(sizeof(dw_forward_step) == 64, "the layout that guests were compiled with");
static_assert(offsetof(dw_forward_step, status) == 48, "the same");
static_assert(DW_TOP_COUNT_MAX == DW_TOP_K_MAX, "what devices find is what guests may ask for");

/* A step as it was when it was read, and what it refers to. */
typedef struct many_step {
    dw_forward_step given;
    dw_context *context;
    dw_sampler *sampler; /* NULL: none */
    dw__range ranges[8]; /* [range_count] */
    uint32_t range_count;
    dw_choice choice;
    dw_batch_item *item; /* NULL: it was refused */
} many_step;

typedef struct many_call {
    dw_forward_step *places; /* the guest's */
    uint32_t at;             /* their address there */
    many_step *steps;        /* [count] */
    dw_batch_item *items;    /* [item_count], of the steps that run */
    uint32_t count;
    uint32_t item_count;
    uint32_t good;  /* steps that went through */
    dw_error first; /* the first that did not; DW_OK: all did */
} many_call;

static bool wants_choice(const dw_forward_step *given)
{
    return given->sampler != 0 || given->top_count > 0 ||
           (given->flags & DW_FORWARD_LOG_PROBABILITY) != 0;
}

static dw_status check_fields(const dw_forward_step *given, dw_error *err)
{
    const uint32_t known = DW_FORWARD_HIDDEN | DW_FORWARD_LOG_PROBABILITY;
    if ((given->flags & ~known) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, known are 0x%x", given->flags, known);
    }
    if (given->reserved != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "reserved fields must be 0");
    }
    if (given->token_count == 0) {
        return dw_fail(err, DW_E_ARG, "token_count: 0 tokens");
    }
    if ((given->rows != 0) != (given->row_count > 0)) {
        return dw_fail(err, DW_E_ARG, "row_count: %u, rows at %u: both or neither",
                       given->row_count, given->rows);
    }
    if ((given->top_tokens != 0) != (given->top_count > 0)) {
        return dw_fail(err, DW_E_ARG, "top_count: %u, top_tokens at %u: both or neither",
                       given->top_count, given->top_tokens);
    }
    if ((given->flags & DW_FORWARD_LOG_PROBABILITY) != 0 && given->sampler == 0) {
        return dw_fail(err, DW_E_ARG, "flags: a log probability without a sampler");
    }
    if (given->row_count > 0 && wants_choice(given)) {
        return dw_fail(err, DW_E_ARG, "rows, and a sampler or the likeliest: one or the other");
    }
    if (given->tree != 0 && (wants_choice(given) || (given->flags & DW_FORWARD_HIDDEN) != 0)) {
        return dw_fail(err, DW_E_ARG, "tree: nothing but rows of logits may be wanted of one");
    }
    if (given->tree != 0 && given->token_count > DW_TREE_TOKENS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "token_count: %u in a tree, limit %d", given->token_count,
                       DW_TREE_TOKENS_MAX);
    }
    return DW_OK;
}

/* Handles, each of which no step before has. */
static dw_status find_objects(dw_instance *instance, const many_call *call, many_step *step,
                              dw_error *err)
{
    step->context = dw__context_of(instance, step->given.context);
    if (step->context == NULL) {
        return dw_instance_error(instance)->code;
    }
    if (step->given.sampler != 0) {
        step->sampler = dw__sampler_of(instance, step->given.sampler);
        dw_status status = step->sampler != NULL
                               ? dw__check_sampler_fits(step->sampler, step->context, err)
                               : dw_instance_error(instance)->code;
        if (status != DW_OK) {
            return status;
        }
    }
    for (const many_step *other = call->steps; other < step; other++) {
        if (other->item != NULL && other->context == step->context) {
            return dw_fail(err, DW_E_ARG, "context: %d is in steps[%td] as well",
                           step->given.context, other - call->steps);
        }
        if (other->item != NULL && step->sampler != NULL && other->sampler == step->sampler) {
            return dw_fail(err, DW_E_ARG, "sampler: %d is in steps[%td] as well",
                           step->given.sampler, other - call->steps);
        }
    }
    return DW_OK;
}

static void add_range(many_step *step, dw__range range)
{
    if (range.count > 0) {
        step->ranges[step->range_count++] = range;
    }
}

/* The step's tree, where it has one. */
static dw_status find_tree(dw_instance *instance, many_step *step, dw_tree *tree, dw_error *err)
{
    const dw__range at = {"tree", step->given.tree, 1, sizeof(dw_tree_shape), false};
    dw__range ranges[3];
    void *place;
    if (step->given.tree == 0) {
        return DW_OK;
    }
    dw_status status = dw_instance_range(instance, at.name, at.at, 1, sizeof(dw_tree_shape),
                                         sizeof(uint32_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_tree_shape shape = *(const dw_tree_shape *)place;
    if (shape.reserved != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "tree: reserved fields must be 0");
    }
    dw__tree_ranges(step->context, &shape, step->given.token_count, ranges);
    add_range(step, at);
    for (int i = 0; i < 3; i++) {
        add_range(step, ranges[i]);
    }
    return dw__find_tree(instance, ranges, tree, err);
}

static dw_status find_ranges(dw_instance *instance, many_step *step, dw_step *out, dw_error *err)
{
    const dw_forward_step *given = &step->given;
    bool hidden = (given->flags & DW_FORWARD_HIDDEN) != 0;
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(step->context), &info);
    const uint64_t row_length = hidden ? info.embedding_length : info.vocab_count;
    const dw__range tokens = {"tokens", given->tokens, given->token_count, sizeof(int32_t), false};
    const dw__range rows = {"rows", given->rows, given->row_count * row_length, sizeof(float),
                            true};
    void *place;
    dw_status status = dw__find_range(instance, &tokens, &place, err);
    out->tokens = place;
    out->token_count = given->token_count;
    if (status == DW_OK) {
        status = dw__find_range(instance, &rows, &place, err);
        out->logits = place;
        out->logits_rows = given->row_count;
        out->result = hidden ? DW_RESULT_HIDDEN : DW_RESULT_LOGITS;
    }
    if (status == DW_OK) {
        step->choice.top_count = given->top_count;
        status = dw__top_ranges(instance, step->context, given->top_tokens,
                                given->top_log_probabilities, &step->choice, err);
    }
    add_range(step, tokens);
    add_range(step, rows);
    add_range(step, (dw__range){"top_tokens", given->top_tokens, given->top_count, sizeof(int32_t),
                                true});
    if (given->top_log_probabilities != 0) {
        add_range(step, (dw__range){"top_log_probabilities", given->top_log_probabilities,
                                    given->top_count, sizeof(float), true});
    }
    return status;
}

/* What one step writes is nobody else's, and not the steps themselves. */
static dw_status check_overlap(const many_call *call, const many_step *step, dw_error *err)
{
    const dw__range steps = {"the steps", call->at, call->count, sizeof *call->places, false};
    for (uint32_t k = 0; k < step->range_count; k++) {
        const dw__range *mine = &step->ranges[k];
        if (dw__ranges_clash(mine, &steps)) {
            return dw_fail(err, DW_E_OVERLAP, "%s: %u lie over the steps at %u", mine->name,
                           mine->at, call->at);
        }
        for (const many_step *other = call->steps; other <= step; other++) {
            const uint32_t others = other == step         ? k
                                    : other->item != NULL ? other->range_count
                                                          : 0;
            for (uint32_t j = 0; j < others; j++) {
                if (dw__ranges_clash(mine, &other->ranges[j])) {
                    return dw_fail(err, DW_E_OVERLAP, "%s: %u lie over %s of steps[%td] at %u",
                                   mine->name, mine->at, other->ranges[j].name, other - call->steps,
                                   other->ranges[j].at);
                }
            }
        }
    }
    return DW_OK;
}

/* The steps' results so far: refused steps have theirs. */
static void tell(many_call *call, uint32_t index, int32_t status, const dw_error *error)
{
    dw_forward_step *place = &call->places[index];
    place->status = status;
    place->token = -1;
    place->log_probability = 0.0F;
    place->unused = 0;
    if (status >= 0) {
        call->good++;
    } else if (call->first.code == DW_OK) {
        call->first = *error;
        (void)dw_fail_within(&call->first, (dw_status)status, "steps[%u]", index);
    }
}

static void read_step(dw_instance *instance, many_call *call, uint32_t index)
{
    dw_error error = {0};
    many_step *step = &call->steps[index];
    dw_tree tree = {.parents = NULL};
    dw_step run = dw__step_of(instance);
    *step = (many_step){.given = call->places[index]};
    run.on_progress = NULL; /* of several prompts at once there is no one place */
    dw_status status = check_fields(&step->given, &error);
    if (status == DW_OK) {
        status = find_objects(instance, call, step, &error);
        error = status == DW_OK || error.code != DW_OK ? error : *dw_instance_error(instance);
    }
    if (status == DW_OK) {
        status = find_ranges(instance, step, &run, &error);
    }
    if (status == DW_OK) {
        status = find_tree(instance, step, &tree, &error);
    }
    if (status == DW_OK) {
        status = check_overlap(call, step, &error);
    }
    if (status == DW_OK) {
        status = run.logits != NULL ? dw_instance_view(instance, &run.view, &error)
                                    : dw_instance_view_of_tokens(instance, &run.view, &error);
    }
    if (status == DW_OK && tree.mask == NULL) { /* a mask is of the context as it is */
        status = dw__make_window(instance, step->context, run.token_count, &error);
    }
    if (status == DW_OK && step->given.tree != 0) {
        status = dw__hang_tree(instance, step->context, &run, &tree, &error);
    }
    if (status != DW_OK) {
        tell(call, index, status, &error);
        return;
    }
    step->choice.sampler = step->sampler;
    step->choice.wants_log_probability = (step->given.flags & DW_FORWARD_LOG_PROBABILITY) != 0;
    run.choice = wants_choice(&step->given) ? &step->choice : NULL;
    step->item = &call->items[call->item_count++];
    *step->item = (dw_batch_item){.context = step->context, .step = run};
}

/* A step that went through, and what was chosen from it: both or neither. */
static void settle(dw_instance *instance, many_call *call, uint32_t index)
{
    many_step *step = &call->steps[index];
    dw_batch_item *item = step->item;
    dw_status status = item->status;
    if (status == DW_OK && step->choice.status != DW_OK) {
        status = step->choice.status;
        item->error = step->choice.error;
    }
    if (status == DW_OK && step->sampler != NULL) {
        status = dw_sampler_remember(step->sampler, step->choice.token, &item->error);
    }
    if (status != DW_OK && item->status == DW_OK) {
        (void)dw_context_trim(step->context, item->before, NULL);
    }
    tell(call, index, status == DW_OK ? (int32_t)dw_context_length(step->context) : (int32_t)status,
         &item->error);
    if (status == DW_OK && step->sampler != NULL) {
        call->places[index].token = step->choice.token;
        call->places[index].log_probability = step->choice.log_probability;
        dw_count(&dw_instance_counters(instance)->sampled_tokens, 1);
    }
}

/* What the call answers, and its message. */
static int32_t conclude(dw_instance *instance, const many_call *call)
{
    dw_error *err = dw_instance_error(instance);
    if (call->first.code != DW_OK) {
        *err = call->first;
        (void)dw__explained(instance, call->first.code);
    }
    if (call->first.code != DW_OK && dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled: %u of %u steps went through", call->good,
                       call->count);
    }
    if (call->first.code != DW_OK && call->first.code != DW_E_CANCELLED) {
        (void)dw_instance_failed_call(instance, call->first.code); /* for who is told of refusals */
    }
    return (int32_t)call->good;
}

static dw_status begin(dw_instance *instance, const wasmtime_val_raw_t *args, many_call *call,
                       dw_error *err)
{
    void *place;
    call->at = dw__u32(&args[0]);
    call->count = dw__u32(&args[1]);
    if (call->count == 0 || call->count > DW_FORWARD_STEPS_MAX) {
        return dw_fail(err, call->count == 0 ? DW_E_ARG : DW_E_LIMIT, "count: %u steps, limit %d",
                       call->count, DW_FORWARD_STEPS_MAX);
    }
    dw_status status = dw_instance_range(instance, "steps", call->at, call->count,
                                         sizeof *call->places, sizeof(uint32_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    call->places = place;
    status = dw_instance_room(instance, call->count * (sizeof *call->steps + sizeof *call->items),
                              &place, err);
    call->steps = place;
    call->items = status == DW_OK ? (dw_batch_item *)(void *)(call->steps + call->count) : NULL;
    return status;
}

/* steps, count */
static int32_t forward_many(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    many_call call = {.count = 0};
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_status status = begin(instance, args, &call, err);
    if (status != DW_OK) {
        return status;
    }
    for (uint32_t i = 0; i < call.count; i++) {
        read_step(instance, &call, i);
    }
    if (call.item_count > 0) {
        dw_instance_forward_many(instance, call.items, call.item_count);
    }
    for (uint32_t i = 0; i < call.count; i++) {
        if (call.steps[i].item != NULL) {
            settle(instance, &call, i);
        }
    }
    return conclude(instance, &call);
}
DW__GUEST_CALL_GROWING(i32, forward_many)

const dw_host_import dw_many_imports[] = {
    {"forward_many", "ii:i", call_forward_many},
    {NULL, NULL, NULL},
};
