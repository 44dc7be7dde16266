/* Models for guests. */
#include <assert.h>
#include <string.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"

#define NAME_BYTES_MAX DW_MODEL_NAME_MAX

static_assert(sizeof(dw_abi_model_info) == 64, "the layout that guests were compiled with");

static int32_t model_open(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t name_bytes = dw__u32(&args[1]);
    char name[NAME_BYTES_MAX + 1];
    void *bytes;
    if (name_bytes > NAME_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "name: %u bytes, limit %d", name_bytes, NAME_BYTES_MAX);
    }
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[0]), name_bytes, 1, 1, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    if (name_bytes > 0) {
        memcpy(name, bytes, name_bytes);
    }
    name[name_bytes] = '\0';
    if (strlen(name) != name_bytes) {
        return dw_fail(err, DW_E_ARG, "name: a zero byte in it");
    }
    dw_model *model;
    status = dw_instance_model(instance, name, &model, err);
    return status != DW_OK ? (int32_t)status
                           : dw_instance_add_handle(instance, DW_HANDLE_MODEL, dw_model_ref(model));
}
DW__GUEST_CALL(i32, model_open)

static int32_t model_close(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    return dw_instance_close_handle(instance, DW_HANDLE_MODEL, args[0].i32);
}
DW__GUEST_CALL(i32, model_close)

static int32_t model_info(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    const dw_model *model = dw__model_of(instance, args[0].i32);
    if (model == NULL) {
        return err->code;
    }
    void *place;
    dw_status status = dw_instance_range(instance, "info", dw__u32(&args[1]), 1,
                                         sizeof(dw_abi_model_info), sizeof(uint64_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    const dw_vocab *vocab = dw_model_vocab(model);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    *(dw_abi_model_info *)place = (dw_abi_model_info){
        .vocab_count = info.vocab_count,
        .context_length = info.context_length,
        .embedding_length = info.embedding_length,
        .layer_count = info.layer_count,
        .bos_token = dw_vocab_bos(vocab),
        .eos_token = dw_vocab_eos(vocab),
        .eot_token = dw_vocab_eot(vocab),
        .newline_token = dw_vocab_newline(vocab),
        .adds_bos = dw_vocab_adds_bos(vocab),
        .has_chat_template = dw_chats_template(dw_instance_chats(instance, model), false) != NULL,
        .parameter_count = info.parameter_count,
        .kv_bytes_per_token = info.kv_bytes_per_token,
        .is_encoder = info.encoder,
        .pooling = (int32_t)dw_model_shape_of(model)->pooling,
    };
    return DW_OK;
}
DW__GUEST_CALL(i32, model_info)

static int32_t model_count(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    (void)args;
    return (int32_t)dw_instance_model_count(instance);
}
DW__GUEST_CALL(i32, model_count)

/* index, name, capacity -> bytes of the name */
static int32_t model_name(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t index = dw__u32(&args[0]);
    uint32_t capacity = dw__u32(&args[2]);
    size_t count = dw_instance_model_count(instance);
    void *place;
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[1]), capacity, 1, 1, &place, err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= count) {
        return dw_fail(err, DW_E_RANGE, "index: %u, this guest was granted %zu models", index,
                       count);
    }
    return dw__put_name(place, capacity, dw_instance_model_name(instance, index), err);
}
DW__GUEST_CALL(i32, model_name)

const dw_host_import dw_model_imports[] = {
    {"model_open", "ii:i", call_model_open},
    {"model_close", "i:i", call_model_close},
    {"model_info", "ii:i", call_model_info},
    {"model_count", ":i", call_model_count},
    {"model_name", "iii:i", call_model_name},
    {"model_facts", "ii:i", call_model_info}, /* its name in guests compiled before 0.2 */
    {NULL, NULL, NULL},
};
