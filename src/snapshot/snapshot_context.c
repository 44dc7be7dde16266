/* Contexts in snapshots: tokens, and the log of keys and values in parts over a chain of files. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "kv/kv_kept.h"
#include "snapshot/snapshot_parts_internal.h"
#include "snapshot/snapshot_pieces.h"

/* Parts of a log begin at a multiple of this in deltas, and lie in the file as they do in the log,
 * so that most systems can map all of their pages; others read those at their ends. */
#define KV_UNIT_BYTES 4096u
/* Smaller ones lie anywhere. */
#define KV_MAPPED_BYTES 65536u
#define KV_MAPPINGS_MAX 128u
/* In the place of "model", where there are adapters. */
#define ADAPTED_MODEL "adapted_model"

/* ---- saving ------------------------------------------------------------------------------- */

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

static dw_status stream_from_device(dw__freeze *f, const log_part *from, dw_snapshot_tensor *tensor,
                                    dw_error *err)
{
    log_part *part = dw_alloc(1, sizeof *part);
    if (part == NULL) {
        return dw__freeze_no_memory(err);
    }
    *part = *from;
    tensor->stream = stream_log;
    tensor->user = part;
    return dw__freeze_keep(f, part, err);
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

/* What is written of a context's log: itself, or a fork of it where it may go on meanwhile. */
static dw_status log_of(dw__freeze *f, dw_context *context, dw_kv_log **out, dw_error *err)
{
    *out = dw_context_log(context);
    if (!f->apart) {
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(f->logs, f->log_capacity, f->log_count + 1, SIZE_MAX)) {
        return dw__freeze_no_memory(err);
    }
    dw_status status = dw_kv_log_fork(out, dw_context_log(context), err);
    if (status == DW_OK) {
        f->logs[f->log_count++] = *out;
    }
    return status;
}

/* [from, end) of the log. */
static dw_status add_log(dw__freeze *f, dw_context *context, dw_kv_log *log,
                         const dw__written_part *part, dw_error *err)
{
    const uint64_t bytes = part->end - part->from;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .aligned = true};
    if (part->from == 0 && part->end == dw_kv_log_length(log) * part->record_bytes) {
        (void)snprintf(name, sizeof name, "kv.%" PRId32, part->handle);
        record_shape(context, &tensor);
        tensor.shape[0] = dw_kv_log_length(log);
    } else {
        (void)snprintf(name, sizeof name, "kv.%" PRId32 ".%" PRIu64, part->handle, part->from);
        tensor.dtype = "U8";
        tensor.dimension_count = 1;
        tensor.shape[0] = bytes;
        tensor.phase = (uint32_t)(part->from % DW_SNAPSHOT_ALIGNMENT);
        tensor.aligned = bytes >= KV_MAPPED_BYTES;
    }
    if (dw_kv_log_in_host_memory(log)) {
        tensor.bytes = (const unsigned char *)dw_kv_log_base(log) + part->from;
        tensor.lasting = true;
    } else {
        dw_status status = stream_from_device(f, &(log_part){log, part->from, bytes}, &tensor, err);
        if (status != DW_OK) {
            return status;
        }
    }
    f->stats.kv_bytes += bytes;
    return dw__freeze_tensor(f, &tensor, err);
}

/* The tokens from `first` on. */
static dw_status add_tokens(dw__freeze *f, int32_t handle, dw_context *context, uint64_t first,
                            dw_error *err)
{
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tokens = {.name = name,
                                 .dtype = "I32",
                                 .dimension_count = 1,
                                 .shape = {dw_context_length(context) - first},
                                 .bytes = dw_context_tokens(context) + first};
    if (first == 0) {
        (void)snprintf(name, sizeof name, "tokens.%" PRId32, handle);
    } else {
        (void)snprintf(name, sizeof name, "tokens.%" PRId32 ".%" PRIu64, handle, first);
    }
    return dw__freeze_tensor(f, &tokens, err);
}

/* [from, end) of the log is to be written, with the part before it where they meet. */
static dw_status note_part(dw__freeze *f, const dw__written_part *part, dw_error *err)
{
    dw__written_part *last = f->part_count > 0 ? &f->parts[f->part_count - 1] : NULL;
    if (part->from >= part->end) {
        return DW_OK;
    }
    if (last != NULL && last->handle == part->handle && last->end == part->from) {
        last->end = part->end;
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(f->parts, f->part_capacity, f->part_count + 1, SIZE_MAX)) {
        return dw__freeze_no_memory(err);
    }
    f->parts[f->part_count++] = *part;
    return DW_OK;
}

/* What other files are to hold no more, of what lies before `all->end`. */
static dw_status note_carried(dw__freeze *f, const dw__written_part *all, bool *any, dw_error *err)
{
    const dw_frozen_log *log =
        f->carried != NULL ? dw_frozen_map_log(f->actor->frozen.map, all->handle) : NULL;
    dw_status status = DW_OK;
    for (size_t i = 0; log != NULL && i < log->count && status == DW_OK; i++) {
        const dw_frozen_part *held = &log->parts[i];
        dw__written_part part = *all;
        if (!f->carried[held->file] || held->from >= all->end) {
            continue;
        }
        part.from = held->from;
        part.end = held->end < all->end ? held->end : all->end;
        *any = true;
        status = note_part(f, &part, err);
    }
    return status;
}

/* What no file holds of a context, and what is carried of it. */
static dw_status add_records(dw__freeze *f, int32_t handle, dw_context *context, dw_error *err)
{
    dw_kv_log *log = dw_context_log(context);
    uint64_t record_bytes = dw_kv_log_record_bytes(log);
    uint64_t bytes = dw_kv_log_length(log) * record_bytes;
    bool known = f->has_base && dw_actor_files_hold(&f->actor->frozen, handle);
    uint64_t saved = known ? dw_kv_log_saved_bytes(log) : 0;
    uint64_t from = f->delta ? saved / KV_UNIT_BYTES * KV_UNIT_BYTES : 0;
    const size_t first = f->part_count;
    bool carries = false;
    dw__written_part part = {handle, record_bytes, 0, f->delta && saved == bytes ? bytes : from};
    DW_ASSERT(saved <= bytes);
    f->stats.new_bytes += bytes - saved;
    dw_status status = known ? note_carried(f, &part, &carries, err) : DW_OK;
    if (status == DW_OK) {
        part.from = part.end;
        part.end = bytes;
        status = note_part(f, &part, err);
    }
    if (status == DW_OK && f->part_count > first) {
        status = add_tokens(f, handle, context, carries ? 0 : from / record_bytes, err);
    }
    if (status == DW_OK && f->part_count > first) {
        status = log_of(f, context, &log, err);
    }
    for (size_t i = first; i < f->part_count && status == DW_OK; i++) {
        status = add_log(f, context, log, &f->parts[i], err);
    }
    return status;
}

/* Which context of a lower slot has most in common with this one, and how much. */
static bool put_like(const dw__freeze *f, json_t *entry, dw_context *context)
{
    const dw_handle_table *table = dw_instance_handles(f->actor->instance);
    uint64_t most = 0;
    size_t slot = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *other = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        if (other == context) {
            break;
        }
        uint64_t common =
            other != NULL ? dw_kv_log_common_bytes(dw_context_log(other), dw_context_log(context))
                          : 0;
        slot = common > most ? i : slot;
        most = common > most ? common : most;
    }
    return most == 0 || (dw__json_put(entry, "like", dw__json_number(slot)) &&
                         dw__json_put(entry, "like_bytes", dw__json_number(most)));
}

static void row_name(char name[DW__NAME_BYTES], int32_t handle, uint32_t length)
{
    (void)snprintf(name, DW__NAME_BYTES, "logits.%" PRId32 ".%" PRIu32, handle, length);
}

/* Rows of logits that it keeps: how many at most, of which lengths, and a tensor each. */
static dw_status add_rows(dw__freeze *f, json_t *entry, int32_t handle, const dw_context *context,
                          dw_error *err)
{
    const uint32_t rows_max = dw_context_rows_max(context);
    dw_status status = DW_OK;
    if (rows_max == 0) {
        return DW_OK;
    }
    json_t *lengths = json_array();
    if (!dw__json_put(entry, "rows_max", dw__json_number(rows_max)) ||
        !dw__json_put(entry, "rows", lengths)) {
        return dw__freeze_no_memory(err);
    }
    for (uint32_t i = 0; i < dw_context_row_count(context) && status == DW_OK; i++) {
        char name[DW__NAME_BYTES];
        uint32_t length;
        dw_snapshot_tensor row = {
            .name = name,
            .dtype = "F32",
            .dimension_count = 1,
            .shape = {dw_model_shape_of(dw_context_model(context))->vocab_count},
            .bytes = dw_context_row(context, i, &length)};
        row_name(name, handle, length);
        status = dw__json_append(lengths, dw__json_number(length)) ? dw__freeze_tensor(f, &row, err)
                                                                   : dw__freeze_no_memory(err);
    }
    return status;
}

/* The adapters that it was computed with. */
static json_t *adapters_save(dw_context *context)
{
    const dw_adapter_set *set = dw_context_adapters(context);
    const dw_adapters *adapters = dw_model_adapters(dw_context_model(context));
    json_t *list = json_array();
    for (uint32_t i = 0; i < set->count && list != NULL; i++) {
        const dw_adapter *adapter = dw_adapters_at(adapters, set->choices[i].index);
        if (!dw__json_append(list, json_pack("{s:s, s:s, s:f}", "name", adapter->name,
                                             "fingerprint", adapter->fingerprint, "scale",
                                             (double)set->choices[i].scale))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* Which model it is of. Readers that know no adapters miss "model" where it has some, and refuse
 * it: they would go on without. */
static bool put_model(const dw__freeze *f, json_t *entry, dw_context *context)
{
    dw_model *model = dw_context_model(context);
    return dw_context_adapters(context) == NULL
               ? dw__model_put(f, entry, "model", model)
               : dw__model_put(f, entry, ADAPTED_MODEL, model) &&
                     dw__json_put(entry, "adapters", adapters_save(context));
}

dw_status dw__context_save(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                           dw_error *err)
{
    dw_context *context = object;
    if (!put_model(f, entry, context) ||
        !dw__json_put(entry, "tokens_max", dw__json_number(dw_context_capacity(context))) ||
        !dw__json_put(entry, "kv_type",
                      json_string(dw__kv_choices.names[dw_context_kv_type(context)])) ||
        !dw__json_put(entry, "length", dw__json_number(dw_context_length(context))) ||
        !dw__json_put(entry, "record_bytes",
                      dw__json_number(dw_kv_log_record_bytes(dw_context_log(context)))) ||
        !put_like(f, entry, context)) {
        return dw__freeze_no_memory(err);
    }
    uint32_t sink;
    uint32_t window;
    dw_context_window(context, &sink, &window);
    if (window > 0 && (!dw__json_put(entry, "sink", dw__json_number(sink)) ||
                       !dw__json_put(entry, "window", dw__json_number(window)))) {
        return dw__freeze_no_memory(err);
    }
    dw_status status = add_rows(f, entry, handle, context, err);
    return status == DW_OK ? add_records(f, handle, context, err) : status;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* What a context's description says. */
typedef struct saved_context {
    dw_model *model;
    dw_adapter_set *adapters; /* counted; NULL: none */
    uint64_t tokens_max;
    uint64_t length;
    uint64_t record_bytes;
    size_t kv_type;
    dw_context *like; /* NULL: none */
    uint64_t like_bytes;
} saved_context;

bool dw__part_number(const char *text, uint64_t *number)
{
    uint64_t value = 0;
    if (text[0] != '.' || text[1] == '\0') {
        return false;
    }
    for (const char *c = text + 1; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || value > UINT64_MAX / 16) {
            return false;
        }
        value = value * 10 + (uint64_t)(*c - '0');
    }
    *number = value;
    return true;
}

/* What a file of the chain has of a log or of tokens: `name`, and NAME.F from F on. */
static dw_status take_parts(const dw__thaw *t, size_t file, const char *name, dw__pieces *pieces,
                            dw_error *err)
{
    const size_t length = strlen(name);
    const dw_snapshot_file *from = t->files[file];
    const dw_snapshot_entry *entry;
    for (size_t i = dw_snapshot_file_first(from, name);
         (entry = dw_snapshot_file_by_name(from, i)) != NULL &&
         strncmp(entry->name, name, length) == 0;
         i++) {
        dw__piece part = {.offset = entry->offset, .file = (uint32_t)file};
        const bool whole = entry->name[length] == '\0';
        if ((!whole && !dw__part_number(entry->name + length, &part.from)) ||
            part.from >= pieces->limit) {
            continue;
        }
        part.end = part.from + entry->bytes / pieces->unit;
        dw_status status = dw__pieces_add(pieces, &part, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* The newest parts of all that is needed, from the last file to the first. */
static dw_status find_parts(const dw__thaw *t, const char *name, dw__pieces *pieces, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = t->file_count; i > 0 && pieces->held < pieces->limit && status == DW_OK; i--) {
        status = take_parts(t, i - 1, name, pieces, err);
    }
    if (status == DW_OK && pieces->held < pieces->limit) {
        uint64_t missing = dw__pieces_missing(pieces);
        status = dw_fail(err, DW_E_FORMAT, "%s: what it has from %llu on, of %llu, is in no file",
                         name, (unsigned long long)missing, (unsigned long long)pieces->limit);
    }
    return status;
}

/* Mapping a part takes a mapping and a descriptor: of many, only so many of the longest are. */
static void choose_mapped(const dw__thaw *t, const dw__pieces *pieces, dw_kv_frozen *frozen)
{
    const size_t max = t->spare_files < KV_MAPPINGS_MAX ? t->spare_files : KV_MAPPINGS_MAX;
    uint64_t least = KV_MAPPED_BYTES / 2;
    size_t mapped = SIZE_MAX;
    if (pieces->count <= max) {
        return;
    }
    while (mapped > max) {
        least *= 2;
        mapped = 0;
        for (size_t i = 0; i < pieces->count; i++) {
            mapped += pieces->list[i].end - pieces->list[i].from >= least;
        }
    }
    /* All those, and of half their length the first. They descend in the list. */
    frozen->mapped_min = max > 0 ? least / 2 : UINT64_MAX;
    mapped = 0;
    for (size_t i = pieces->count; i > 0 && frozen->mapped_end == 0; i--) {
        const dw__piece *piece = &pieces->list[i - 1];
        mapped += piece->end - piece->from >= frozen->mapped_min;
        frozen->mapped_end = mapped > max ? piece->from : 0;
    }
}

static dw_status note_pieces(const dw__thaw *t, int32_t handle, uint64_t record_bytes,
                             const dw__pieces *pieces, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = pieces->count; t->map != NULL && i > 0 && status == DW_OK; i--) {
        const dw__piece *piece = &pieces->list[i - 1];
        const dw_frozen_part part = {piece->from, piece->end, piece->file};
        status = dw_frozen_map_add_part(t->map, handle, record_bytes, &part, err);
    }
    return status;
}

/* The segments of a log, in order, and in `*segments`, which are the caller's to dw_free. */
static dw_status find_segments(const dw__thaw *t, int32_t handle, const saved_context *saved,
                               dw_kv_frozen *frozen, dw_kv_segment **segments, dw_error *err)
{
    char name[DW__NAME_BYTES];
    dw__pieces pieces = {.limit = saved->length * saved->record_bytes, .unit = 1};
    (void)snprintf(name, sizeof name, "kv.%" PRId32, handle);
    dw_status status = find_parts(t, name, &pieces, err);
    if (status == DW_OK) {
        *segments = dw_alloc(pieces.count + 1, sizeof **segments);
        status = *segments != NULL
                     ? DW_OK
                     : dw_fail(err, DW_E_MEMORY, "no memory for %zu parts of a log", pieces.count);
    }
    for (size_t i = 0; status == DW_OK && i < pieces.count; i++) {
        const dw__piece *piece = &pieces.list[pieces.count - 1 - i];
        (*segments)[i] = (dw_kv_segment){
            .fd = dw_snapshot_file_fd(t->files[piece->file]),
            .file_offset = dw_snapshot_file_begin(t->files[piece->file]) + piece->offset,
            .log_offset = piece->from,
            .bytes = piece->end - piece->from};
    }
    if (status == DW_OK) {
        frozen->segments = *segments;
        frozen->segment_count = pieces.count;
        choose_mapped(t, &pieces, frozen);
        status = note_pieces(t, handle, saved->record_bytes, &pieces, err);
    }
    dw__pieces_release(&pieces);
    return status;
}

static dw_status read_tokens(const dw__thaw *t, int32_t handle, uint32_t length, int32_t **tokens,
                             dw_error *err)
{
    char name[DW__NAME_BYTES];
    dw__pieces pieces = {.limit = length, .unit = sizeof **tokens};
    (void)snprintf(name, sizeof name, "tokens.%" PRId32, handle);
    *tokens = NULL;
    dw_status status = find_parts(t, name, &pieces, err);
    if (status == DW_OK) {
        *tokens = dw_alloc((size_t)length + 1, sizeof **tokens);
        status =
            *tokens != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for %u tokens", length);
    }
    for (size_t i = 0; status == DW_OK && i < pieces.count; i++) {
        const dw__piece *piece = &pieces.list[i];
        status = dw_snapshot_file_read_at(t->files[piece->file], piece->offset,
                                          (size_t)(piece->end - piece->from) * sizeof **tokens,
                                          *tokens + piece->from, err);
    }
    dw__pieces_release(&pieces);
    return status;
}

static dw_status check_context(const dw__thaw *t, const saved_context *saved, dw_error *err)
{
    size_t record_bytes =
        dw_model_kv_layout(dw_model_shape_of(saved->model), (dw_kv_type)saved->kv_type)
            .record_bytes;
    if (saved->record_bytes != record_bytes) {
        return dw_fail(err, DW_E_FORMAT, "open: records of %llu bytes, the model's have %zu",
                       (unsigned long long)saved->record_bytes, record_bytes);
    }
    uint64_t limit = dw_instance_limits(t->actor->instance)->context_tokens;
    if (saved->tokens_max > limit) {
        return dw_fail(err, DW_E_LIMIT, "open: a context for %llu tokens, the actor may have %llu",
                       (unsigned long long)saved->tokens_max, (unsigned long long)limit);
    }
    return DW_OK;
}

/* A file may say what it likes of two contexts: both then hold the same. Where records are
 * converted, or were, nothing is shared. */
static dw_status read_like(const dw__thaw *t, const json_t *entry, saved_context *saved,
                           dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(t->actor->instance);
    uint64_t slot;
    if (json_object_get(entry, "like") == NULL) {
        return DW_OK;
    }
    dw_status status = dw__json_whole(entry, "open", "like", table->limit, &slot, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "open", "like_bytes", saved->length * saved->record_bytes,
                            &saved->like_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_context *like = dw_handle_at(table, DW_HANDLE_CONTEXT, (size_t)slot);
    if (like == NULL || dw_context_model(like) != saved->model) {
        return dw_fail(err, DW_E_FORMAT, "open: like %llu, which is no context of its model so far",
                       (unsigned long long)slot);
    }
    saved->like = dw_context_kv_type(like) == (dw_kv_type)saved->kv_type ? like : NULL;
    return DW_OK;
}

/* One that the model has, whatever its name is here. */
static dw_status find_adapter(const json_t *entry, dw_model *model, dw_adapter_choice *choice,
                              dw_error *err)
{
    const char *name;
    const char *fingerprint;
    const json_t *scale = json_object_get(entry, "scale");
    const dw_adapters *adapters = dw_model_adapters(model);
    const size_t count = dw_adapters_count(adapters);
    dw_status status = dw__json_text(entry, "adapters", "name", &name, err);
    if (status == DW_OK) {
        status = dw__json_text(entry, "adapters", "fingerprint", &fingerprint, err);
    }
    if (status == DW_OK && !json_is_number(scale)) {
        status = dw_fail(err, DW_E_FORMAT, "adapters: '%.80s' has no scale", name);
    }
    if (status != DW_OK) {
        return status;
    }
    const char *same_name = NULL;
    for (size_t i = 0; i < count; i++) {
        const dw_adapter *adapter = dw_adapters_at(adapters, i);
        if (strcmp(adapter->fingerprint, fingerprint) == 0) {
            *choice = (dw_adapter_choice){(uint32_t)i, (float)json_number_value(scale)};
            return DW_OK;
        }
        same_name = strcmp(adapter->name, name) == 0 ? adapter->fingerprint : same_name;
    }
    return same_name != NULL
               ? dw_fail(err, DW_E_NOT_FOUND,
                         "the snapshot's adapter '%.60s' (%.60s) is another one than the model has "
                         "under this name (%.60s)",
                         name, fingerprint, same_name)
               : dw_fail(err, DW_E_NOT_FOUND,
                         "the snapshot's adapter '%.60s' (%.60s) is not among the %zu of its model",
                         name, fingerprint, count);
}

static dw_status read_adapters(const json_t *entry, saved_context *saved, dw_error *err)
{
    const json_t *list;
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    dw_status status = dw__json_array(entry, "open", "adapters", DW_ADAPTERS_MAX, &list, err);
    const size_t count = status == DW_OK ? json_array_size(list) : 0;
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = find_adapter(json_array_get(list, i), saved->model, &choices[i], err);
    }
    if (status == DW_OK) {
        status = dw_adapter_set_get(&saved->adapters, dw_model_adapters(saved->model), choices,
                                    (uint32_t)count, err);
    }
    return status;
}

static dw_status read_context(const dw__thaw *t, const json_t *entry, saved_context *saved,
                              dw_error *err)
{
    const bool adapted = json_object_get(entry, ADAPTED_MODEL) != NULL;
    dw_status status =
        dw__model_get(t, entry, adapted ? ADAPTED_MODEL : "model", &saved->model, err);
    if (status == DW_OK && adapted) {
        status = read_adapters(entry, saved, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "open", "tokens_max", INT32_MAX, &saved->tokens_max, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "open", "length", saved->tokens_max, &saved->length, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_whole(entry, "open", "record_bytes", UINT32_MAX, &saved->record_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__json_choice(entry, "open", "kv_type", &dw__kv_choices, &saved->kv_type, err);
    if (status == DW_OK) {
        status = check_context(t, saved, err);
    }
    return status == DW_OK ? read_like(t, entry, saved, err) : status;
}

static dw_status read_row(const dw__thaw *t, int32_t handle, dw_context *context, uint32_t length,
                          dw_error *err)
{
    char name[DW__NAME_BYTES];
    float *row = NULL;
    const dw_snapshot_file *file = dw__thaw_last_file(t);
    const size_t bytes = dw_model_shape_of(dw_context_model(context))->vocab_count * sizeof(float);
    row_name(name, handle, length);
    const dw_snapshot_entry *tensor = dw_snapshot_file_tensor(file, name);
    if (tensor == NULL || strcmp(tensor->dtype, "F32") != 0 || tensor->bytes != bytes) {
        return dw_fail(err, DW_E_FORMAT, "%s: no F32 of %zu bytes in the file", name, bytes);
    }
    dw_status status = dw_context_add_row(context, length, &row, err);
    return status == DW_OK ? dw_snapshot_file_read(file, tensor, 0, bytes, row, err) : status;
}

/* The rows of logits that it kept; files without them are of contexts that keep none. */
static dw_status read_rows(const dw__thaw *t, const json_t *entry, int32_t handle,
                           dw_context *context, dw_error *err)
{
    uint64_t rows_max;
    const json_t *lengths;
    if (json_object_get(entry, "rows_max") == NULL) {
        return DW_OK;
    }
    dw_status status = dw__json_whole(entry, "open", "rows_max", DW_KEPT_ROWS_MAX, &rows_max, err);
    if (status == DW_OK) {
        status = dw__json_array(entry, "open", "rows", (size_t)rows_max, &lengths, err);
    }
    if (status == DW_OK) {
        status = dw_context_keep_rows(context, (uint32_t)rows_max, err);
    }
    for (size_t i = 0; status == DW_OK && i < json_array_size(lengths); i++) {
        const json_t *item = json_array_get(lengths, i);
        const json_int_t length = json_is_integer(item) ? json_integer_value(item) : 0;
        status = length >= 1 && length <= (json_int_t)dw_context_length(context)
                     ? read_row(t, handle, context, (uint32_t)length, err)
                     : dw_fail(err, DW_E_FORMAT, "open: rows %zu is not from 1 to %u", i,
                               dw_context_length(context));
    }
    return status;
}

/* Files without one are of contexts without one. */
static dw_status read_window(const json_t *entry, dw_context *context, dw_error *err)
{
    uint64_t sink;
    uint64_t window;
    if (json_object_get(entry, "window") == NULL) {
        return DW_OK;
    }
    dw_status status = dw__json_whole(entry, "open", "window", UINT32_MAX, &window, err);
    if (status == DW_OK) {
        status = dw__json_whole(entry, "open", "sink", UINT32_MAX, &sink, err);
    }
    return status == DW_OK ? dw_context_set_window(context, (uint32_t)sink, (uint32_t)window, err)
                           : status;
}

/* By what a log may be found that stayed on the device, where this is its actor, and it is known
 * which file is meant. NULL: it is not. */
static const dw_kv_key *key_of(const dw__thaw *t, int32_t handle, dw_kv_key *key)
{
    const char *const *identities = t->options->identities;
    const char *last = identities != NULL ? identities[t->file_count - 1] : NULL;
    if (t->home == NULL || !t->options->trusted || last == NULL || last[0] == '\0') {
        return NULL;
    }
    dw_actor_log_key(t->actor->id, last, handle, key);
    key->home = t->home;
    return key;
}

dw_status dw__context_load(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                           dw_error *err)
{
    saved_context saved = {.model = NULL};
    dw_kv_segment *segments = NULL;
    dw_kv_frozen frozen = {.segment_count = 0};
    int32_t *tokens = NULL;
    dw_context *context = NULL;
    dw_status status = read_context(t, entry, &saved, err);
    if (status == DW_OK) { /* beside those of the contexts before it */
        status = dw_instance_may_have_adapters(t->actor->instance, NULL, saved.adapters, err);
    }
    if (status == DW_OK) {
        status = read_tokens(t, handle, (uint32_t)saved.length, &tokens, err);
    }
    if (status == DW_OK) {
        status = find_segments(t, handle, &saved, &frozen, &segments, err);
    }
    if (status == DW_OK) {
        dw_kv_key key;
        dw_context_thaw_options options = {.tokens_max = (uint32_t)saved.tokens_max,
                                           .kv_type = t->options->kv_type != NULL
                                                          ? *t->options->kv_type
                                                          : (dw_kv_type)saved.kv_type,
                                           .stored_kv_type = (dw_kv_type)saved.kv_type,
                                           .adapters = saved.adapters,
                                           .tokens = tokens,
                                           .frozen = frozen,
                                           .like = saved.like,
                                           .kept = key_of(t, handle, &key)};
        bool converted = false;
        options.frozen.length = (uint32_t)saved.length;
        options.frozen.like_bytes = saved.like_bytes;
        status = dw_context_thaw(&context, saved.model, &options, &converted, err);
        uint64_t bytes = saved.length * saved.record_bytes;
        const bool read = converted || t->options->unmapped;
        t->stats.kv_converted_bytes += read ? bytes : 0;
        t->stats.kv_mapped_bytes += read ? 0 : bytes;
    }
    if (status == DW_OK) {
        status = read_rows(t, entry, handle, context, err);
    }
    if (status == DW_OK) {
        status = read_window(entry, context, err);
    }
    if (status != DW_OK) {
        dw_context_destroy(context);
        context = NULL;
    }
    dw_adapter_set_unref(saved.adapters);
    dw_free(segments);
    dw_free(tokens);
    *out = context;
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "context %d", (int)handle);
}
