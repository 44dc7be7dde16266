/* A snapshot file as it was read: its bytes, tensors by name, metadata. */
#include "snapshot/snapshot_reader_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

dw_status dw__snapshot_fail_at(dw_error *err, dw_status code, uint64_t byte, const char *format,
                               ...)
{
    char message[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return dw_fail(err, code, "byte %llu: %s", (unsigned long long)byte, message);
}

dw_status dw__snapshot_read_at(const dw_snapshot_file *file, uint64_t offset, size_t bytes,
                               void *to, dw_error *err)
{
    char *place = to;
    while (bytes > 0) {
        ssize_t count = pread(file->fd, place, bytes, (off_t)(file->begin + offset));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return dw__snapshot_fail_at(err, DW_E_IO, offset, "reading %zu bytes: %s", bytes,
                                        strerror(errno));
        }
        if (count == 0) {
            return dw__snapshot_fail_at(err, DW_E_IO, offset,
                                        "the file ends, %zu bytes are missing", bytes);
        }
        place += count;
        bytes -= (size_t)count;
        offset += (uint64_t)count;
    }
    return DW_OK;
}

static int compare_with_name(const void *name, const void *entry)
{
    const dw_snapshot_entry *const *right = entry;
    return strcmp(name, (*right)->name);
}

const dw_snapshot_entry *dw_snapshot_file_tensor(const dw_snapshot_file *file, const char *name)
{
    const dw_snapshot_entry *const *found =
        file->head->entry_count == 0 ? NULL
                                     : bsearch(name, file->head->by_name, file->head->entry_count,
                                               sizeof *file->head->by_name, compare_with_name);
    return found != NULL ? *found : NULL;
}

size_t dw_snapshot_file_first(const dw_snapshot_file *file, const char *name)
{
    size_t low = 0;
    size_t high = file->head->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(file->head->by_name[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const dw_snapshot_entry *dw_snapshot_file_by_name(const dw_snapshot_file *file, size_t index)
{
    return index < file->head->entry_count ? file->head->by_name[index] : NULL;
}

size_t dw_snapshot_file_count(const dw_snapshot_file *file)
{
    return file->head->entry_count;
}

const dw_snapshot_entry *dw_snapshot_file_at(const dw_snapshot_file *file, size_t index)
{
    DW_ASSERT(index < file->head->entry_count);
    return &file->head->entries[index];
}

const char *dw_snapshot_file_meta(const dw_snapshot_file *file, const char *key)
{
    return json_string_value(json_object_get(file->head->metadata, key));
}

const char *dw_snapshot_file_identity(const dw_snapshot_file *file)
{
    return file->head->identity;
}

int dw_snapshot_file_fd(const dw_snapshot_file *file)
{
    return file->fd;
}

uint64_t dw_snapshot_file_begin(const dw_snapshot_file *file)
{
    return file->begin;
}

const dw_series_contents *dw_snapshot_file_series(const dw_snapshot_file *file)
{
    return file->series;
}

bool dw_snapshot_file_closely(const dw_snapshot_file *file)
{
    return file->head->close;
}

uint64_t dw_snapshot_file_bytes(const dw_snapshot_file *file)
{
    return file->bytes;
}
