/* A series opened as one: what snapshots in it hold, by their index, in the place of their headers.
 * The last one's is read all the same: its identity stands for those before it, since each delta
 * names its base, and tells this file from another in its place. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "memory/memory_image.h"
#include "snapshot/snapshot_reader_internal.h"

static dw_status no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "a series: no memory");
}

/* `bytes` from `offset` on are in the file. */
static dw_status check_place(const dw_snapshot_file *file, uint64_t offset, uint64_t bytes,
                             dw_error *err)
{
    return offset <= file->bytes && bytes <= file->bytes - offset
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT,
                         "its index has %" PRIu64 " bytes from byte %" PRIu64
                         " on, the file ends at %" PRIu64,
                         bytes, offset, file->bytes);
}

static dw_status check_blocks(const dw_snapshot_file *file, dw_error *err)
{
    const dw_series_contents *series = file->series;
    dw_status status = DW_OK;
    for (size_t i = 0; i < series->memory_count; i++) {
        const dw_series_memory *memory = &series->memories[i];
        for (size_t k = 0; k < memory->count && status == DW_OK; k++) {
            const dw_series_run *run = &memory->runs[k];
            status =
                check_place(file, run->offset, (uint64_t)run->count * DW_IMAGE_BLOCK_BYTES, err);
        }
    }
    return status;
}

/* Each piece as the tensor of a delta would be. */
static dw_status add_piece(dw_snapshot_file *file, const dw_series_log *log, const dw__piece *piece,
                           dw_error *err)
{
    const uint64_t unit = log->tokens ? sizeof(int32_t) : 1;
    const uint64_t count = piece->end - piece->from;
    if (count > DW_SNAPSHOT_FILE_BYTES_MAX / unit) {
        return dw_fail(err, DW_E_LIMIT, "its index has a part of %" PRIu64 " bytes", count);
    }
    dw_snapshot_entry *entry = &file->head->entries[file->head->entry_count++];
    *entry = (dw_snapshot_entry){
        .dimension_count = 1, .shape = {count}, .offset = piece->offset, .bytes = count * unit};
    (void)snprintf(entry->dtype, sizeof entry->dtype, "%s", log->tokens ? "I32" : "U8");
    (void)snprintf(entry->name, sizeof entry->name, "%s.%" PRId32 ".%" PRIu64,
                   log->tokens ? "tokens" : "kv", log->handle, piece->from);
    return check_place(file, entry->offset, entry->bytes, err);
}

static dw_status add_pieces(dw_snapshot_file *file, dw_error *err)
{
    const dw_series_contents *series = file->series;
    dw__snapshot_head *head = file->head;
    size_t count = 0;
    for (size_t i = 0; i < series->log_count; i++) {
        count += series->logs[i].count;
    }
    head->entries = dw_alloc(count + 1, sizeof *head->entries);
    head->by_name = dw_alloc(count + 1, sizeof *head->by_name);
    if (head->entries == NULL || head->by_name == NULL) {
        return no_memory(err);
    }
    dw_status status = DW_OK;
    for (size_t i = 0; i < series->log_count; i++) {
        const dw_series_log *log = &series->logs[i];
        for (size_t k = 0; k < log->count && status == DW_OK; k++) {
            status = add_piece(file, log, &log->pieces[k], err);
        }
    }
    dw__snapshot_sort_names(head);
    return status;
}

static dw_status add_meta(dw_snapshot_file *file, dw_error *err)
{
    const dw_series_contents *series = file->series;
    json_t *to = json_object();
    file->head->metadata = to;
    return to != NULL && json_object_set_new(to, "kind", json_string("delta")) == 0 &&
                   json_object_set_new(to, "module", json_string(series->module)) == 0 &&
                   (series->settings == NULL ||
                    json_object_set_new(to, "settings", json_string_nocheck(series->settings)) == 0)
               ? DW_OK
               : no_memory(err);
}

/* That the file was opened at the last of them. */
static dw_status check_last(const dw_snapshot_file *file, const dw_series_contents *series,
                            dw_error *err)
{
    const dw_series_place *last =
        series->place_count > 0 ? &series->places[series->place_count - 1] : NULL;
    return last != NULL && last->begin == file->begin && last->bytes == file->bytes
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT,
                         "its index is of %zu snapshots, of which the last is not at byte %" PRIu64
                         " with %" PRIu64 " bytes",
                         series->place_count, file->begin, file->bytes);
}

/* In the place of the last one's head, which other files may share. */
static dw_status new_head(dw_snapshot_file *file, dw_error *err)
{
    dw__snapshot_head *last = file->head;
    file->head = dw_alloc(1, sizeof *file->head);
    if (file->head != NULL) {
        file->head->users = 1;
        file->head->bytes = file->bytes;
        file->head->close = true;
        memcpy(file->head->identity, last->identity, sizeof last->identity);
    }
    dw__snapshot_head_unref(last);
    return file->head != NULL ? DW_OK : no_memory(err);
}

dw_status dw__snapshot_take_series(dw_snapshot_file *file, const dw_series_index *index,
                                   dw_error *err)
{
    file->series = dw_series_index_contents(index);
    dw_status status = check_last(file, file->series, err);
    if (status != DW_OK) {
        return status;
    }
    file->begin = 0;
    file->bytes = file->shared->bytes;
    status = new_head(file, err);
    if (status == DW_OK) {
        status = add_meta(file, err);
    }
    if (status == DW_OK) {
        status = check_blocks(file, err);
    }
    return status == DW_OK ? add_pieces(file, err) : status;
}
