#include "memory/file_extents.h"

#include <stdatomic.h>
#include <string.h>

#include "base/array.h"
#include "base/os.h"
#include "memory/file_guard.h"

struct dw_extent_file {
    _Atomic size_t users;
    int fd;
    bool in_memory;      /* of ours, so that its holes may be asked for */
    dw_meter *meter;     /* NULL: nobody counts it */
    uint64_t held_bytes; /* of the meter's, and unused_bytes before them */
    uint64_t unused_bytes;
};

/* ---- files ---- */

static dw_extent_file *file_of(dw_error *err)
{
    dw_extent_file *file = dw_alloc(1, sizeof *file);
    if (file == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for a file's record");
        return NULL;
    }
    atomic_init(&file->users, 1);
    file->fd = -1;
    return file;
}

dw_status dw_extent_file_create(dw_extent_file **out, const char *label, size_t bytes,
                                dw_error *err)
{
    *out = NULL;
    dw_extent_file *file = file_of(err);
    if (file == NULL) {
        return DW_E_MEMORY;
    }
    file->in_memory = true;
    dw_status status = dw_os_memfd(&file->fd, label, bytes, err);
    if (status != DW_OK) {
        dw_extent_file_unref(file);
        return status;
    }
    *out = file;
    return DW_OK;
}

dw_status dw_extent_file_open(dw_extent_file **out, int fd, dw_error *err)
{
    *out = NULL;
    dw_extent_file *file = file_of(err);
    if (file == NULL) {
        return DW_E_MEMORY;
    }
    dw_status status = dw_os_duplicate(&file->fd, fd, err);
    if (status != DW_OK) {
        dw_extent_file_unref(file);
        return status;
    }
    *out = file;
    return DW_OK;
}

dw_extent_file *dw_extent_file_ref(dw_extent_file *file)
{
    DW_ASSERT(atomic_fetch_add(&file->users, 1) > 0);
    return file;
}

void dw_extent_file_unref(dw_extent_file *file)
{
    if (file != NULL && atomic_fetch_sub(&file->users, 1) == 1) {
        (void)dw_extent_file_set_held(file, 0);
        dw_os_close(file->fd);
        dw_free(file);
    }
}

int dw_extent_file_fd(const dw_extent_file *file)
{
    return file->fd;
}

dw_status dw_extent_file_map(const dw_extent_file *file, size_t offset, size_t bytes, void **out,
                             dw_error *err)
{
    dw_status status = dw_os_reserve(out, bytes, err);
    if (status == DW_OK) {
        status = dw_os_commit_shared(*out, bytes, file->fd, offset, err);
    }
    if (status != DW_OK) {
        dw_os_unreserve(*out, bytes);
        *out = NULL;
    }
    return status;
}

void dw_extent_file_retire(dw_extent_file *file, uint64_t offset)
{
    if (file != NULL && atomic_load(&file->users) > 1) {
        /* Best effort: where it fails, the pages go with the file. */
        if (dw_os_memfd_resize(file->fd, offset, NULL) == DW_OK && offset < file->held_bytes) {
            (void)dw_extent_file_set_held(file, offset);
        }
    }
    dw_extent_file_unref(file);
}

void dw_extent_file_meter(dw_extent_file *file, dw_meter *meter, uint64_t unused)
{
    DW_ASSERT(file->meter == NULL);
    file->meter = meter;
    file->unused_bytes = unused;
}

static uint64_t counted(const dw_extent_file *file, uint64_t held)
{
    return held > file->unused_bytes ? held - file->unused_bytes : 0;
}

bool dw_extent_file_set_held(dw_extent_file *file, uint64_t bytes)
{
    if (file->meter == NULL) {
        return true;
    }
    const uint64_t before = counted(file, file->held_bytes);
    const uint64_t wanted = counted(file, bytes);
    if (wanted > before && !dw_meter_take(file->meter, wanted - before)) {
        return false;
    }
    if (wanted < before) {
        dw_meter_give(file->meter, before - wanted);
    }
    file->held_bytes = bytes;
    return true;
}

uint64_t dw_extent_file_held(const dw_extent_file *file)
{
    return file->held_bytes;
}

/* ---- lists ---- */

static dw_file_extent *last_of(const dw_file_extents *extents)
{
    return extents->count > 0 ? &extents->list[extents->count - 1] : NULL;
}

size_t dw_file_extents_end(const dw_file_extents *extents)
{
    const dw_file_extent *last = last_of(extents);
    return last != NULL ? last->start + last->bytes : 0;
}

dw_status dw_file_extents_add(dw_file_extents *extents, const dw_file_extent *added, dw_error *err)
{
    size_t end = dw_file_extents_end(extents);
    DW_ASSERT(added->start >= end && added->bytes <= SIZE_MAX - added->start);
    if (added->bytes == 0) {
        return DW_OK;
    }
    dw_file_extent *last = last_of(extents);
    if (last != NULL && last->file == added->file && end == added->start &&
        last->file_offset + last->bytes == added->file_offset) {
        last->bytes += added->bytes;
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(extents->list, extents->capacity, extents->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu extents of files", extents->count + 1);
    }
    extents->list[extents->count] = *added;
    (void)dw_extent_file_ref(added->file);
    extents->count++;
    return DW_OK;
}

dw_status dw_file_extents_copy(dw_file_extents *extents, const dw_file_extents *from, size_t start,
                               size_t end, dw_error *err)
{
    for (size_t i = dw_file_extents_find(from, start); i < from->count; i++) {
        const dw_file_extent *whole = &from->list[i];
        if (whole->start >= end) {
            break;
        }
        size_t part_start = whole->start > start ? whole->start : start;
        size_t part_end = whole->start + whole->bytes < end ? whole->start + whole->bytes : end;
        dw_file_extent part = {.start = part_start,
                               .bytes = part_end - part_start,
                               .file = whole->file,
                               .file_offset = whole->file_offset + (part_start - whole->start)};
        dw_status status = dw_file_extents_add(extents, &part, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

void dw_file_extents_cut(dw_file_extents *extents, size_t end)
{
    while (extents->count > 0) {
        dw_file_extent *last = last_of(extents);
        if (last->start < end) {
            size_t kept = end - last->start;
            last->bytes = last->bytes < kept ? last->bytes : kept;
            return;
        }
        dw_extent_file_unref(last->file);
        extents->count--;
    }
}

void dw_file_extents_release(dw_file_extents *extents)
{
    dw_file_extents_cut(extents, 0);
    dw_free(extents->list);
    *extents = (dw_file_extents){.list = NULL};
}

size_t dw_file_extents_find(const dw_file_extents *extents, size_t offset)
{
    size_t low = 0;
    size_t high = extents->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const dw_file_extent *here = &extents->list[middle];
        if (here->start + here->bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- their bytes ---- */

dw_status dw_file_extents_read(const dw_file_extents *extents, size_t offset, size_t bytes,
                               void *to, dw_error *err)
{
    unsigned char *next = to;
    size_t i = dw_file_extents_find(extents, offset);
    while (bytes > 0) {
        const dw_file_extent *here = i < extents->count ? &extents->list[i] : NULL;
        size_t part = bytes;
        if (here == NULL || here->start > offset) {
            if (here != NULL && here->start - offset < part) {
                part = here->start - offset;
            }
            memset(next, 0, part);
        } else {
            size_t skipped = offset - here->start;
            part = here->bytes - skipped < part ? here->bytes - skipped : part;
            dw_status status =
                dw_os_read_at(here->file->fd, here->file_offset + skipped, next, part, err);
            if (status != DW_OK) {
                return status;
            }
            i++;
        }
        next += part;
        offset += part;
        bytes -= part;
    }
    return DW_OK;
}

bool dw_file_extents_next_data(const dw_file_extents *extents, size_t offset, size_t *start,
                               size_t *end, bool *whole)
{
    for (size_t i = dw_file_extents_find(extents, offset); i < extents->count; i++) {
        const dw_file_extent *here = &extents->list[i];
        uint64_t skipped = offset > here->start ? offset - here->start : 0;
        uint64_t data = here->file_offset + skipped;
        uint64_t data_end = here->file_offset + here->bytes;
        *whole = here->file->in_memory;
        if (!*whole || dw_os_next_data(here->file->fd, data, data_end, &data, &data_end)) {
            *start = here->start + (size_t)(data - here->file_offset);
            *end = here->start + (size_t)(data_end - here->file_offset);
            return true;
        }
    }
    return false;
}

dw_status dw_file_extents_check(const dw_file_extents *extents, const dw_region *region,
                                dw_error *err)
{
    const dw_extent_file *any = NULL;
    for (size_t i = 0; i < extents->count; i++) {
        const dw_file_extent *extent = &extents->list[i];
        if (extent->file->in_memory) {
            continue;
        }
        any = extent->file;
        dw_status status =
            dw_file_check(extent->file->fd, NULL, extent->file_offset + extent->bytes, false, err);
        if (status != DW_OK) {
            return status;
        }
    }
    if (!dw_region_is_broken(region)) {
        return DW_OK;
    }
    return any != NULL ? dw_file_check(any->fd, NULL, 0, true, err)
                       : dw_fail(err, DW_E_IO, "pages of a mapped file could not be read");
}

static dw_status map_extent(const dw_file_extent *extent, dw_region *region, dw_error *err)
{
    if (extent->file_offset % dw_os_page_bytes() == 0) {
        return dw_region_map_file(region, extent->start, extent->file->fd, extent->file_offset,
                                  extent->bytes, err);
    }
    DW_ASSERT(extent->start + extent->bytes <= dw_region_committed_bytes(region));
    unsigned char *to = (unsigned char *)dw_region_base(region) + extent->start;
    return dw_os_read_at(extent->file->fd, extent->file_offset, to, extent->bytes, err);
}

dw_status dw_file_extents_map(const dw_file_extents *extents, const dw_extent_file *file,
                              dw_region *region, dw_error *err)
{
    for (size_t i = 0; i < extents->count; i++) {
        const dw_file_extent *extent = &extents->list[i];
        if (file != NULL && extent->file != file) {
            continue;
        }
        dw_status status = map_extent(extent, region, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}
