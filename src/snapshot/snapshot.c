/* Freezing: an actor's state as the tensors and the description of a snapshot. docs/snapshot.md
 * says what each holds. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor_state.h"
#include "base/alloc.h"
#include "base/public_struct.h"
#include "base/hash.h"
#include "gguf/fingerprint.h"
#include "inference/context.h"
#include "kv/kv_log.h"
#include "snapshot/snapshot_file.h"
#include "snapshot/snapshot_names.h"
#include "wasm/instance_state.h"

/* Parts of a log begin at a multiple of this in deltas, so that every system can map them. */
#define KV_UNIT_BYTES 65536u

/* What the writer borrows until the file is written. */
typedef struct freeze {
    dw_actor *actor;
    dw_snapshot_writer *writer;
    bool delta;
    dw_freeze_stats stats;
    unsigned char *messages; /* [message_bytes] */
    size_t message_bytes;
    void **kept; /* [kept_count]: freed at the end */
    size_t kept_count;
    size_t kept_capacity;
} freeze;

static dw_status no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "freeze: no memory for the description");
}

/* Takes `memory`, to be freed with the freeze. */
static dw_status keep(freeze *f, void *memory, dw_error *err)
{
    if (f->kept_count == f->kept_capacity) {
        size_t capacity = f->kept_capacity == 0 ? 16 : f->kept_capacity * 2;
        void **grown = dw_realloc(f->kept, capacity, sizeof *grown);
        if (grown == NULL) {
            dw_free(memory);
            return no_memory(err);
        }
        f->kept = grown;
        f->kept_capacity = capacity;
    }
    f->kept[f->kept_count++] = memory;
    return DW_OK;
}

static void release(freeze *f)
{
    for (size_t i = 0; i < f->kept_count; i++) {
        dw_free(f->kept[i]);
    }
    dw_free(f->kept);
    dw_free(f->messages);
    dw_snapshot_writer_destroy(f->writer);
}

/* Append, where `value` may be NULL for want of memory. */
static bool append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *whole(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* ---- settings --------------------------------------------------------------------------- */

static json_t *texts(const char *const *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!append(array, json_string(list[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *describe_settings(const dw_actor_settings *settings)
{
    const dw_instance_options *own = &settings->instance;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "memory_bytes_max",
                     (json_int_t)own->memory_bytes_max, "context_tokens_max",
                     (json_int_t)own->context_tokens_max, "context_count_max",
                     (json_int_t)own->context_count_max, "timeout_ms", (json_int_t)own->timeout_ms,
                     "message_count_max", (json_int_t)settings->options.message_count_max,
                     "message_bytes_max", (json_int_t)settings->options.message_bytes_max,
                     "kv_type", dw__kv_names[own->kv_type], "args",
                     texts(own->args, own->arg_count), "env_names",
                     texts(own->env_names, own->env_count), "env_values",
                     texts(own->env_values, own->env_count));
}

static dw_status describe_models(const dw_actor *actor, json_t *to, dw_error *err)
{
    const dw_instance_options *options = &actor->settings->instance;
    for (size_t i = 0; i < options->model_count; i++) {
        char fingerprint[DW_FINGERPRINT_BYTES];
        dw_model_info info = {.struct_bytes = sizeof info};
        dw_status status = dw_model_fingerprint(options->models[i], fingerprint, err);
        if (status != DW_OK) {
            return status;
        }
        dw_model_get_info(options->models[i], &info);
        if (!append(to, json_pack("{s:s%, s:s}", "name", info.name, strlen(info.name),
                                  "fingerprint", fingerprint))) {
            return dw_fail(err, DW_E_UNSUPPORTED, "freeze: the model's name is no UTF-8");
        }
    }
    return DW_OK;
}

/* ---- globals, tables, memories ---------------------------------------------------------- */

static dw_status describe_globals(dw_actor *actor, json_t *to, dw_error *err)
{
    for (size_t i = 0; i < dw_state_global_count(actor->instance); i++) {
        dw_global_value value;
        char text[2 * sizeof value.bytes + 1];
        dw_status status = dw_state_global(actor->instance, i, &value, err);
        if (status != DW_OK) {
            return status;
        }
        for (size_t k = 0; k < sizeof value.bytes; k++) {
            (void)snprintf(text + 2 * k, 3, "%02x", value.bytes[k]);
        }
        if (!append(to, json_string(text))) {
            return no_memory(err);
        }
    }
    return DW_OK;
}

static dw_status add_tensor(freeze *f, const dw_snapshot_tensor *tensor, dw_error *err)
{
    return dw_snapshot_writer_tensor(f->writer, tensor, err);
}

static dw_status add_tables(freeze *f, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_table_count(f->actor->instance) && status == DW_OK; i++) {
        uint32_t *entries = NULL;
        size_t count;
        char name[DW__NAME_BYTES];
        dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
        status = dw_state_table(f->actor->instance, i, &entries, &count, err);
        if (status == DW_OK) {
            status = keep(f, entries, err);
        }
        if (status == DW_OK) {
            (void)snprintf(name, sizeof name, "table.%zu", i);
            tensor.shape[0] = count;
            tensor.bytes = entries;
            status = add_tensor(f, &tensor, err);
        }
    }
    return status;
}

static void memory_name(char *name, size_t capacity, size_t number, const char *part)
{
    if (number == 0) {
        (void)snprintf(name, capacity, "memory%s", part);
    } else {
        (void)snprintf(name, capacity, "memory.%zu%s", number, part);
    }
}

static dw_status read_image(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    return dw_memory_image_read(user, (size_t)offset, bytes, to, err);
}

static dw_status add_whole_memory(freeze *f, size_t number, dw_error *err)
{
    dw_memory_image *image = f->actor->images[number];
    size_t bytes = dw_memory_image_bytes(image);
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name,
                                 .dtype = "U8",
                                 .shape = {bytes / DW__WASM_PAGE_BYTES, DW__WASM_PAGE_BYTES},
                                 .dimension_count = 2,
                                 .aligned = true,
                                 .read = read_image,
                                 .user = image};
    memory_name(name, sizeof name, number, "");
    f->stats.memory_bytes += bytes;
    return add_tensor(f, &tensor, err);
}

/* The blocks that changed since the files were written. */
static dw_status add_changed_memory(freeze *f, size_t number, dw_error *err)
{
    dw_memory_image *image = f->actor->images[number];
    uint32_t *blocks = NULL;
    size_t count = 0;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
    dw_status status =
        dw_memory_image_changes(image, f->actor->frozen.images[number], &blocks, &count, err);
    if (status != DW_OK || count == 0) {
        dw_free(blocks);
        return status;
    }
    status = keep(f, blocks, err);
    unsigned char *data = status == DW_OK ? dw_alloc(count, DW_IMAGE_BLOCK_BYTES) : NULL;
    if (status == DW_OK && data == NULL) {
        status = no_memory(err);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_memory_image_read(image, (size_t)blocks[i] * DW_IMAGE_BLOCK_BYTES,
                                      DW_IMAGE_BLOCK_BYTES, data + i * DW_IMAGE_BLOCK_BYTES, err);
    }
    if (data != NULL) {
        dw_status kept = keep(f, data, err);
        status = status == DW_OK ? kept : status;
    }
    if (status != DW_OK) {
        return status;
    }
    memory_name(name, sizeof name, number, ".blocks");
    tensor.shape[0] = count;
    tensor.bytes = blocks;
    status = add_tensor(f, &tensor, err);
    if (status == DW_OK) {
        memory_name(name, sizeof name, number, ".data");
        tensor.dtype = "U8";
        tensor.dimension_count = 2;
        tensor.shape[1] = DW_IMAGE_BLOCK_BYTES;
        tensor.bytes = data;
        f->stats.memory_bytes += count * DW_IMAGE_BLOCK_BYTES;
        status = add_tensor(f, &tensor, err);
    }
    return status;
}

static dw_status add_memories(freeze *f, json_t *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_memory_count(f->actor->instance) && status == DW_OK; i++) {
        size_t bytes = dw_memory_image_bytes(f->actor->images[i]);
        if (!append(to, whole(bytes / DW__WASM_PAGE_BYTES))) {
            return no_memory(err);
        }
        status = f->delta ? add_changed_memory(f, i, err) : add_whole_memory(f, i, err);
    }
    return status;
}

/* ---- handles ---------------------------------------------------------------------------- */

static json_int_t model_index(const dw_actor *actor, const dw_model *model)
{
    const dw_instance_options *options = &actor->settings->instance;
    for (size_t i = 0; i < options->model_count; i++) {
        if (options->models[i] == model) {
            return (json_int_t)i;
        }
    }
    DW_ASSERT(false); /* a guest reaches no others */
    return -1;
}

/* The part of a log in device memory that is written. */
typedef struct log_part {
    dw_kv_log *log;
    uint64_t from;
    uint64_t bytes;
} log_part;

static dw_status stream_log(void *user, const dw_sink *sink, dw_error *err)
{
    const log_part *part = user;
    return dw_kv_log_stream(part->log, part->from, (size_t)part->bytes, sink, err);
}

static dw_status stream_from_device(freeze *f, dw_kv_log *log, uint64_t from,
                                    dw_snapshot_tensor *tensor, dw_error *err)
{
    uint64_t held = (uint64_t)dw_kv_log_length(log) * dw_kv_log_record_bytes(log);
    log_part *part = dw_alloc(1, sizeof *part);
    if (part == NULL) {
        return no_memory(err);
    }
    *part = (log_part){.log = log, .from = from, .bytes = held - from};
    tensor->stream = stream_log;
    tensor->user = part;
    return keep(f, part, err);
}

/* A record's shape: [layers, 2, kv_heads, numbers or, where they share blocks, bytes a head]. */
static void record_shape(dw_context *context, dw_snapshot_tensor *tensor)
{
    static const char *const dtypes[] = {
        [DW_KV_F16] = "F16", [DW_KV_Q8_0] = "U8", [DW_KV_F32] = "F32"};
    dw_kv_layout layout = dw_model_kv_layout(dw_model_shape_of(dw_context_model(context)),
                                             dw_context_kv_type(context));
    tensor->dtype = dtypes[layout.type];
    tensor->dimension_count = 5;
    tensor->shape[1] = layout.layer_count;
    tensor->shape[2] = DW_KV_PART_COUNT;
    tensor->shape[3] = layout.kv_head_count;
    tensor->shape[4] = layout.head_bytes / dw_kv_number_bytes(layout.type);
}

/* The log from its first byte that no file holds. */
static dw_status add_log(freeze *f, int32_t handle, dw_context *context, dw_error *err)
{
    dw_kv_log *log = dw_context_log(context);
    uint64_t bytes = (uint64_t)dw_kv_log_length(log) * dw_kv_log_record_bytes(log);
    bool known = f->delta && dw_actor_files_hold(&f->actor->frozen, handle);
    uint64_t saved = known ? dw_kv_log_saved_bytes(log) : 0;
    uint64_t from = saved >= bytes ? bytes : saved / KV_UNIT_BYTES * KV_UNIT_BYTES;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .aligned = true};
    if (from == bytes && (known || bytes == 0)) {
        return DW_OK;
    }
    if (from == 0) {
        (void)snprintf(name, sizeof name, "kv.%" PRId32, handle);
        record_shape(context, &tensor);
        tensor.shape[0] = dw_kv_log_length(log);
    } else {
        (void)snprintf(name, sizeof name, "kv.%" PRId32 ".%" PRIu64, handle, from);
        tensor.dtype = "U8";
        tensor.dimension_count = 1;
        tensor.shape[0] = bytes - from;
    }
    if (dw_kv_log_in_host_memory(log)) {
        tensor.bytes = (const unsigned char *)dw_kv_log_base(log) + from;
    } else {
        dw_status status = stream_from_device(f, log, from, &tensor, err);
        if (status != DW_OK) {
            return status;
        }
    }
    f->stats.kv_bytes += bytes - from;
    return add_tensor(f, &tensor, err);
}

static dw_status add_context(freeze *f, json_t *entry, int32_t handle, dw_context *context,
                             dw_error *err)
{
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tokens = {.name = name,
                                 .dtype = "I32",
                                 .dimension_count = 1,
                                 .shape = {dw_context_length(context)},
                                 .bytes = dw_context_tokens(context)};
    if (!put(entry, "model", json_integer(model_index(f->actor, dw_context_model(context)))) ||
        !put(entry, "tokens_max", whole(dw_context_capacity(context))) ||
        !put(entry, "kv_type", json_string(dw__kv_names[dw_context_kv_type(context)])) ||
        !put(entry, "length", whole(dw_context_length(context))) ||
        !put(entry, "record_bytes", whole(dw_kv_log_record_bytes(dw_context_log(context))))) {
        return no_memory(err);
    }
    if (dw_context_length(context) == 0) {
        return DW_OK;
    }
    (void)snprintf(name, sizeof name, "tokens.%" PRId32, handle);
    dw_status status = add_tensor(f, &tokens, err);
    return status == DW_OK ? add_log(f, handle, context, err) : status;
}

static dw_status add_object(freeze *f, json_t *entry, int32_t handle, const dw_handle_slot *slot,
                            dw_error *err)
{
    const dw_guest_sampler *sampler = slot->object;
    switch ((dw_handle_kind)slot->kind) {
    case DW_HANDLE_MODEL:
        return put(entry, "model", json_integer(model_index(f->actor, slot->object)))
                   ? DW_OK
                   : no_memory(err);
    case DW_HANDLE_CONTEXT:
        return add_context(f, entry, handle, slot->object, err);
    case DW_HANDLE_SAMPLER:
        return put(entry, "model", json_integer(model_index(f->actor, sampler->model))) &&
                       put(entry, "state", dw_sampler_save(sampler->sampler))
                   ? DW_OK
                   : no_memory(err);
    default:
        DW_ASSERT(slot->kind == DW_HANDLE_GRAPH);
        return put(entry, "state", dw_tensor_graph_save(slot->object)) ? DW_OK : no_memory(err);
    }
}

/* Which handles are open, and the generations of all slots, so that closed ones stay closed. */
static dw_status add_handles(freeze *f, json_t *open, json_t *generations, dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(f->actor->instance);
    dw_status status = DW_OK;
    for (size_t i = 0; i < table->capacity && status == DW_OK; i++) {
        const dw_handle_slot *slot = &table->slots[i];
        if (!append(generations, whole(slot->generation))) {
            return no_memory(err);
        }
        if (slot->object == NULL) {
            continue;
        }
        json_t *entry =
            json_pack("{s:I, s:s}", "slot", (json_int_t)i, "kind", dw__handle_names[slot->kind]);
        if (entry == NULL || json_array_append_new(open, entry) != 0) {
            return no_memory(err);
        }
        status = add_object(f, entry, dw_handle_number(i, slot->generation), slot, err);
    }
    return status;
}

/* ---- messages --------------------------------------------------------------------------- */

static bool describe_messages(const dw_mailbox *mailbox, json_t *to)
{
    for (const dw_message *message = mailbox->first; message != NULL; message = message->next) {
        if (!append(to, json_pack("{s:s, s:s%, s:i, s:I, s:I}", "actor", message->actor, "guest",
                                  message->guest, strlen(message->guest), "kind",
                                  (int)message->kind, "number", (json_int_t)message->number,
                                  "bytes", (json_int_t)message->bytes))) {
            return false;
        }
    }
    return true;
}

/* The messages' bytes, one behind the other, in the order of their lists. */
static dw_status add_messages(freeze *f, dw_error *err)
{
    const dw_mailbox *lists[] = {&f->actor->mailbox, &f->actor->timers, &f->actor->effects};
    dw_snapshot_tensor tensor = {.name = DW__TENSOR_MESSAGES, .dtype = "U8", .dimension_count = 1};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        for (const dw_message *message = lists[i]->first; message != NULL;
             message = message->next) {
            f->message_bytes += message->bytes;
        }
    }
    if (f->message_bytes == 0) {
        return DW_OK;
    }
    f->messages = dw_alloc(f->message_bytes, 1);
    if (f->messages == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < 3; i++) {
        for (const dw_message *message = lists[i]->first; message != NULL;
             message = message->next) {
            if (message->bytes > 0) {
                memcpy(f->messages + at, message->content, message->bytes);
            }
            at += message->bytes;
        }
    }
    tensor.shape[0] = f->message_bytes;
    tensor.bytes = f->messages;
    return add_tensor(f, &tensor, err);
}

/* ---- the whole -------------------------------------------------------------------------- */

static dw_status fill(freeze *f, json_t *about, dw_error *err)
{
    dw_actor *actor = f->actor;
    static const char *const lists[] = {"models",      "globals", "memories", "open",
                                        "generations", "mailbox", "timers",   "effects"};
    json_t *made[sizeof lists / sizeof lists[0]];
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        made[i] = json_array();
        if (!put(about, lists[i], made[i])) {
            return no_memory(err);
        }
    }
    if (!put(about, "settings", describe_settings(actor->settings)) ||
        !put(about, "id", json_string(actor->id)) ||
        !put(about, "tables", whole(dw_state_table_count(actor->instance))) ||
        !put(about, "effect_number", whole(actor->effect_number)) ||
        !put(about, "received", whole(actor->received)) ||
        !describe_messages(&actor->mailbox, made[5]) ||
        !describe_messages(&actor->timers, made[6]) ||
        !describe_messages(&actor->effects, made[7])) {
        return no_memory(err);
    }
    dw_status status = describe_models(actor, made[0], err);
    if (status == DW_OK) {
        status = describe_globals(actor, made[1], err);
    }
    if (status == DW_OK) {
        status = add_memories(f, made[2], err);
    }
    if (status == DW_OK) {
        status = add_handles(f, made[3], made[4], err);
    }
    if (status == DW_OK) {
        status = add_tables(f, err);
    }
    return status == DW_OK ? add_messages(f, err) : status;
}

static dw_status add_module(freeze *f, bool without, dw_error *err)
{
    const dw_module *module = f->actor->module;
    size_t wasm_bytes;
    const unsigned char *wasm = dw_module_wasm(module, &wasm_bytes);
    dw_snapshot_tensor tensor = {.name = DW__TENSOR_MODULE,
                                 .dtype = "U8",
                                 .dimension_count = 1,
                                 .shape = {wasm_bytes},
                                 .bytes = wasm};
    dw_status status =
        dw_snapshot_writer_meta(f->writer, DW__META_MODULE, dw_module_hash(module), err);
    return status == DW_OK && !without && !f->delta ? add_tensor(f, &tensor, err) : status;
}

static dw_status compose(freeze *f, const dw_freeze_options *options, dw_error *err)
{
    json_t *about = json_object();
    char *text = NULL;
    dw_status status = dw_snapshot_writer_create(&f->writer, err);
    if (status == DW_OK) {
        status = about != NULL ? fill(f, about, err) : no_memory(err);
    }
    if (status == DW_OK) {
        status = add_module(f, options->without_module, err);
    }
    if (status == DW_OK) {
        text = json_dumps(about, JSON_COMPACT | JSON_SORT_KEYS);
        status = text != NULL ? dw_snapshot_writer_meta(f->writer, DW__META_ACTOR, text, err)
                              : no_memory(err);
    }
    if (status == DW_OK && f->delta) {
        status = dw_snapshot_writer_meta(f->writer, "kind", "delta", err);
    }
    if (status == DW_OK && f->delta) {
        status = dw_snapshot_writer_meta(f->writer, "base", f->actor->frozen.identity, err);
    }
    free(text);
    json_decref(about);
    return status;
}

static dw_status begin(freeze *f, dw_actor *actor, const dw_freeze_options *options, dw_error *err)
{
    f->actor = actor;
    f->delta = options->delta && actor->frozen.identity[0] != '\0';
    f->stats.delta = f->delta;
    dw_status status = dw_actor_check_rests(actor, err);
    if (status == DW_OK) {
        status = dw_actor_take_images(actor, err);
    }
    return status == DW_OK ? compose(f, options, err) : status;
}

static dw_status read_arguments(dw_freeze_options *own, const dw_freeze_options *options,
                                const dw_freeze_stats *stats, dw_error *err)
{
    dw_status status = dw_struct_read(own, sizeof *own, options, "dw_freeze_options", err);
    return status == DW_OK ? dw_struct_check(stats, "dw_freeze_stats", err) : status;
}

dw_status dw_actor_freeze(dw_actor *actor, const char *path, const dw_freeze_options *options,
                          dw_freeze_stats *stats, dw_error *err)
{
    freeze f = {.actor = actor};
    dw_freeze_options own;
    dw_status status = read_arguments(&own, options, stats, err);
    if (status != DW_OK) {
        return status;
    }
    status = begin(&f, actor, &own, err);
    if (status == DW_OK) {
        status = dw_snapshot_writer_write_file(f.writer, path, f.stats.identity, err);
    }
    if (status == DW_OK) {
        f.stats.file_bytes = dw_snapshot_writer_bytes(f.writer);
        /* Without the note the next freeze is a full one: no error of this. */
        (void)dw_actor_note_frozen(actor, f.stats.identity, NULL);
    }
    if (status == DW_OK) {
        dw_struct_write(stats, &f.stats, sizeof f.stats);
    }
    release(&f);
    return status;
}

dw_status dw_actor_export(dw_actor *actor, int fd, const dw_freeze_options *options,
                          dw_freeze_stats *stats, dw_error *err)
{
    freeze f = {.actor = actor};
    dw_freeze_options full;
    dw_status status = read_arguments(&full, options, stats, err);
    if (status != DW_OK) {
        return status;
    }
    full.delta = false;
    status = begin(&f, actor, &full, err);
    if (status == DW_OK) {
        status = dw_snapshot_writer_write_stream(f.writer, fd, err);
    }
    if (status == DW_OK) {
        f.stats.file_bytes = dw_snapshot_writer_bytes(f.writer);
        dw_struct_write(stats, &f.stats, sizeof f.stats);
    }
    release(&f);
    return status;
}
