/* Contexts for guests: made, forked, trimmed, shifted, and their last logits again. A context
 * counts its model by itself, so a guest may close a model while contexts of it are open. */
#include <assert.h>
#include <string.h>

#include "base/name.h"
#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"

static_assert(DW_CONTEXT_ROWS_MAX == DW_KEPT_ROWS_MAX, "what contexts keep is what guests may ask");

static dw_status may_open_context(dw_instance *instance, dw_error *err)
{
    size_t count = dw_instance_count_handles(instance, DW_HANDLE_CONTEXT);
    uint64_t limit = dw_instance_limits(instance)->contexts;
    return count < limit ? DW_OK
                         : dw_fail(err, DW_E_LIMIT, "contexts: %zu are open, limit %llu (contexts)",
                                   count, (unsigned long long)limit);
}

static dw_status context_size(dw_instance *instance, const dw_model *model, uint32_t *tokens_max,
                              dw_error *err)
{
    uint64_t limit = dw_instance_limits(instance)->context_tokens;
    if (limit == DW_LIMIT_NONE) {
        return DW_OK;
    }
    if (*tokens_max > limit) {
        return dw_fail(err, DW_E_LIMIT,
                       "tokens_max: %u, this guest's contexts have at most %llu (context_tokens)",
                       *tokens_max, (unsigned long long)limit);
    }
    if (*tokens_max == 0) {
        dw_model_info info = {.struct_bytes = sizeof info};
        dw_model_get_info(model, &info);
        *tokens_max = limit < info.context_length ? (uint32_t)limit : info.context_length;
    }
    return DW_OK;
}

int32_t dw__open_context(dw_instance *instance, dw_model *model, uint32_t tokens_max)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = NULL;
    dw_status status = may_open_context(instance, err);
    if (status == DW_OK) {
        status = context_size(instance, model, &tokens_max, err);
    }
    if (status == DW_OK) {
        const dw_context_options options = {.tokens_max = tokens_max,
                                            .kv_type = dw_instance_kv_type(instance)};
        status = dw_context_create(&context, model, &options, err);
    }
    if (status == DW_OK) {
        status =
            dw_instance_may_have_adapters(instance, context, dw_context_adapters(context), err);
    }
    if (status == DW_OK) {
        status = dw_instance_share_prefixes_of(instance, context, err);
    }
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    return dw_instance_add_handle(instance, DW_HANDLE_CONTEXT, context);
}

static int32_t context_create(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_model *model = dw__model_of(instance, args[0].i32);
    return model != NULL ? dw__open_context(instance, model, dw__u32(&args[1]))
                         : (int32_t)dw_instance_error(instance)->code;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_KV, context_create)

static int32_t context_fork(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *parent = dw__context_of(instance, args[0].i32);
    dw_context *context = NULL;
    if (parent == NULL) {
        return err->code;
    }
    dw_status status = may_open_context(instance, err);
    if (status == DW_OK) {
        status = dw_context_fork(&context, parent, err);
    }
    return status != DW_OK ? (int32_t)status
                           : dw_instance_add_handle(instance, DW_HANDLE_CONTEXT, context);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_KV, context_fork)

static int32_t context_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return dw__context_of(instance, args[0].i32) == NULL
               ? (int32_t)dw_instance_error(instance)->code
               : dw_instance_close_handle(instance, DW_HANDLE_CONTEXT, args[0].i32);
}
DW__GUEST_CALL(i32, context_close)

static int32_t context_length(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_context *context = dw__context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)dw_instance_error(instance)->code
                           : (int32_t)dw_context_length(context);
}
DW__GUEST_CALL(i32, context_length)

static int32_t context_capacity(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    const dw_context *context = dw__context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)dw_instance_error(instance)->code
                           : (int32_t)dw_context_capacity(context);
}
DW__GUEST_CALL(i32, context_capacity)

static int32_t context_trim(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)err->code
                           : (int32_t)dw_context_trim(context, dw__u32(&args[1]), err);
}
DW__GUEST_CALL(i32, context_trim)

typedef struct shift_work {
    dw_context *context;
    uint32_t keep;
    uint32_t drop;
    dw_stop *stop;
} shift_work;

static dw_status do_shift(void *arg, dw_error *err)
{
    const shift_work *work = arg;
    return dw_context_shift(work->context, work->keep, work->drop, work->stop, err);
}

/* context, keep, drop */
static int32_t context_shift(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    if (context == NULL) {
        return err->code;
    }
    shift_work work = {.context = context,
                       .keep = dw__u32(&args[1]),
                       .drop = dw__u32(&args[2]),
                       .stop = dw_instance_stop(instance)};
    dw_status status = dw_instance_compute(instance, do_shift, &work, err);
    return status != DW_OK ? (int32_t)status : (int32_t)dw_context_length(context);
}
DW__GUEST_CALL(i32, context_shift)

/* context, sink, window */
static int32_t context_window(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    return context == NULL
               ? (int32_t)err->code
               : (int32_t)dw_context_set_window(context, dw__u32(&args[1]), dw__u32(&args[2]), err);
}
DW__GUEST_CALL(i32, context_window)

/* context, count */
static int32_t context_rows(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    return context == NULL ? (int32_t)err->code
                           : (int32_t)dw_context_keep_rows(context, dw__u32(&args[1]), err);
}
DW__GUEST_CALL_TAKING(i32, DW_PART_KV, context_rows)

/* context, logits */
static int32_t context_logits(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_context *context = dw__context_of(instance, args[0].i32);
    const float *row;
    void *logits;
    if (context == NULL) {
        return err->code;
    }
    uint32_t vocab_count = dw_model_shape_of(dw_context_model(context))->vocab_count;
    dw_status status = dw__logits_range(instance, dw__u32(&args[1]), vocab_count, &logits, err);
    if (status == DW_OK) {
        status = dw_context_logits(context, &row, err);
    }
    if (status != DW_OK) {
        return status;
    }
    memcpy(logits, row, vocab_count * sizeof *row);
    return (int32_t)dw_context_length(context);
}
DW__GUEST_CALL(i32, context_logits)

/* ---- under names ----------------------------------------------------------------------------- */

/* The name, with a NUL behind. */
static dw_status name_of(dw_instance *instance, uint32_t pointer, uint32_t bytes,
                         char name[DW_NAME_MAX + 1])
{
    dw_error *err = dw_instance_error(instance);
    void *text;
    if (bytes == 0 || bytes > DW_NAME_MAX) {
        return dw_fail(err, DW_E_ARG, "context: a name of %u bytes, 1 to %d are needed", bytes,
                       DW_NAME_MAX);
    }
    dw_status status = dw_instance_range(instance, "name", pointer, bytes, 1, 1, &text, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(name, text, bytes);
    name[bytes] = '\0';
    return strlen(name) == bytes ? dw_name_check("context", name, err)
                                 : dw_fail(err, DW_E_ARG, "context: a zero byte in its name");
}

static dw_context_place place_of(dw_instance *instance, const char *name)
{
    const dw_limits *limits = dw_instance_limits(instance);
    return (dw_context_place){.tenant = dw_context_grants_tenant(dw_instance_contexts(instance)),
                              .name = name,
                              .count_max = limits->saved_contexts,
                              .bytes_max = limits->saved_context_bytes,
                              .stop = dw_instance_stop(instance)};
}

typedef struct save_work {
    dw_contexts *contexts;
    dw_context_place place;
    dw_context *context; /* NULL where the name is removed */
} save_work;

static dw_status do_save(void *arg, dw_error *err)
{
    const save_work *work = arg;
    return dw_contexts_save(work->contexts, &work->place, work->context, err);
}

/* The name at `pointer`, which may be saved, or opened. */
static dw_status granted_place(dw_instance *instance, const wasmtime_val_raw_t *pointer, bool saves,
                               char name[DW_NAME_MAX + 1], dw_context_place *place)
{
    dw_error *err = dw_instance_error(instance);
    dw_status status = name_of(instance, dw__u32(pointer), dw__u32(pointer + 1), name);
    *place = place_of(instance, name);
    return status == DW_OK
               ? dw_context_grants_check(dw_instance_contexts(instance), place, saves, err)
               : status;
}

/* What the name at `pointer` stands for becomes another. */
static dw_status change_saved(dw_instance *instance, const wasmtime_val_raw_t *pointer,
                              dw_context *context, dw_status (*change)(void *arg, dw_error *err))
{
    char name[DW_NAME_MAX + 1];
    save_work work = {.context = context};
    dw_status status = granted_place(instance, pointer, true, name, &work.place);
    if (status != DW_OK) {
        return status;
    }
    work.contexts = dw_context_grants_folder(dw_instance_contexts(instance));
    return dw_instance_work_apart(instance, change, &work, dw_instance_error(instance));
}

/* context, name, name_bytes */
static int32_t context_save(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_context *context = dw__context_of(instance, args[0].i32);
    return context != NULL ? change_saved(instance, &args[1], context, do_save)
                           : dw_instance_error(instance)->code;
}
DW__GUEST_CALL(i32, context_save)

static dw_status do_remove(void *arg, dw_error *err)
{
    const save_work *work = arg;
    return dw_contexts_remove(work->contexts, work->place.tenant, work->place.name, err);
}

/* name, name_bytes */
static int32_t context_remove(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return change_saved(instance, &args[0], NULL, do_remove);
}
DW__GUEST_CALL(i32, context_remove)

typedef struct open_work {
    dw_contexts *contexts;
    const dw_context_place *place;
    const dw_context_wanted *wanted;
    dw_context **context;
    dw_account *account;
} open_work;

/* It may take as long as reading the model, whose fingerprint may not be known yet, and as sending
 * what was saved to the device. */
static dw_status do_open(void *arg, dw_error *err)
{
    const open_work *work = arg;
    dw_account_scope before = dw_account_enter(work->account, DW_PART_KV);
    dw_status status =
        dw_contexts_load(work->contexts, work->place, work->wanted, work->context, err);
    dw_account_leave(before);
    return status;
}

static dw_status open_saved(dw_instance *instance, const dw_context_place *place,
                            dw_context_wanted *wanted, dw_context **context)
{
    dw_error *err = dw_instance_error(instance);
    dw_status status = may_open_context(instance, err);
    if (status == DW_OK) {
        status = context_size(instance, wanted->model, &wanted->tokens_max, err);
    }
    if (status == DW_OK) {
        open_work work = {.contexts = dw_context_grants_folder(dw_instance_contexts(instance)),
                          .place = place,
                          .wanted = wanted,
                          .context = context,
                          .account = dw_instance_account(instance)};
        status = dw_instance_work_apart(instance, do_open, &work, err);
    }
    if (status == DW_OK) {
        status =
            dw_instance_may_have_adapters(instance, *context, dw_context_adapters(*context), err);
    }
    return status == DW_OK ? dw_instance_share_prefixes_of(instance, *context, err) : status;
}

/* model, name, name_bytes, tokens_max */
static int32_t context_open(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    char name[DW_NAME_MAX + 1];
    dw_context *context = NULL;
    dw_context_place place;
    dw_context_wanted wanted = {.model = dw__model_of(instance, args[0].i32),
                                .kv_type = dw_instance_kv_type(instance),
                                .tokens_max = dw__u32(&args[3])};
    if (wanted.model == NULL) {
        return err->code;
    }
    dw_status status = granted_place(instance, &args[1], false, name, &place);
    if (status != DW_OK) {
        return status;
    }
    dw_account_scope before = dw__taking_begin(instance, DW_PART_KV);
    status = open_saved(instance, &place, &wanted, &context);
    status = dw__taking_end(instance, before, status);
    if (status != DW_OK) {
        dw_context_destroy(context);
        return status;
    }
    return dw_instance_add_handle(instance, DW_HANDLE_CONTEXT, context);
}
DW__GUEST_CALL(i32, context_open)

const dw_host_import dw_context_imports[] = {
    {"context_create", "ii:i", call_context_create},
    {"context_fork", "i:i", call_context_fork},
    {"context_close", "i:i", call_context_close},
    {"context_length", "i:i", call_context_length},
    {"context_capacity", "i:i", call_context_capacity},
    {"context_trim", "ii:i", call_context_trim},
    {"context_shift", "iii:i", call_context_shift},
    {"context_rows", "ii:i", call_context_rows},
    {"context_window", "iii:i", call_context_window},
    {"context_logits", "ii:i", call_context_logits},
    {"context_save", "iii:i", call_context_save},
    {"context_open", "iiii:i", call_context_open},
    {"context_remove", "ii:i", call_context_remove},
    {NULL, NULL, NULL},
};
