#include "kv/kv_pieces.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/os.h"

struct dw__kv_file {
    _Atomic uint32_t users;
    int fd;
};

static dw_status file_of(dw__kv_file **out, dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for a file's record");
    }
    atomic_init(&(*out)->users, 1);
    (*out)->fd = -1;
    return DW_OK;
}

dw_status dw__kv_file_create(dw__kv_file **out, size_t bytes, dw_error *err)
{
    dw_status status = file_of(out, err);
    if (status == DW_OK) {
        status = dw_os_memfd(&(*out)->fd, "kv log", bytes, err);
    }
    if (status != DW_OK) {
        dw__kv_file_unref(*out);
        *out = NULL;
    }
    return status;
}

dw_status dw__kv_file_open(dw__kv_file **out, int fd, dw_error *err)
{
    dw_status status = file_of(out, err);
    if (status == DW_OK) {
        status = dw_os_duplicate(&(*out)->fd, fd, err);
    }
    if (status != DW_OK) {
        dw__kv_file_unref(*out);
        *out = NULL;
    }
    return status;
}

dw__kv_file *dw__kv_file_ref(dw__kv_file *file)
{
    DW_ASSERT(atomic_fetch_add(&file->users, 1) > 0);
    return file;
}

void dw__kv_file_unref(dw__kv_file *file)
{
    if (file != NULL && atomic_fetch_sub(&file->users, 1) == 1) {
        dw_os_close(file->fd);
        dw_free(file);
    }
}

int dw__kv_file_fd(const dw__kv_file *file)
{
    return file->fd;
}

dw_status dw__kv_file_map(const dw__kv_file *file, size_t offset, size_t bytes, void **out,
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

void dw__kv_file_retire(dw__kv_file *file, uint64_t offset)
{
    if (file != NULL && atomic_load(&file->users) > 1) {
        (void)dw_os_memfd_resize(file->fd, offset, NULL); /* where that fails, it waits */
    }
    dw__kv_file_unref(file);
}

static dw_status make_room(dw__kv_pieces *pieces, uint32_t count, dw_error *err)
{
    if (count <= pieces->room) {
        return DW_OK;
    }
    dw__kv_piece *list = dw_realloc(pieces->list, count, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "kv log: no memory for %u pieces", count);
    }
    pieces->list = list;
    pieces->room = count;
    return DW_OK;
}

dw_status dw__kv_pieces_add(dw__kv_pieces *pieces, dw__kv_file *file, uint64_t file_offset,
                            size_t bytes, dw_error *err)
{
    dw__kv_piece *last = pieces->count > 0 ? &pieces->list[pieces->count - 1] : NULL;
    if (bytes == 0) {
        return DW_OK;
    }
    if (last != NULL && last->file == file && last->file_offset + last->bytes == file_offset) {
        last->bytes += bytes;
        pieces->bytes += bytes;
        return DW_OK;
    }
    dw_status status = make_room(pieces, pieces->count + 1, err);
    if (status == DW_OK) {
        pieces->list[pieces->count++] = (dw__kv_piece){dw__kv_file_ref(file), file_offset, bytes};
        pieces->bytes += bytes;
    }
    return status;
}

dw_status dw__kv_pieces_copy(dw__kv_pieces *pieces, const dw__kv_pieces *from, size_t bytes,
                             dw_error *err)
{
    DW_ASSERT(bytes <= from->bytes && pieces->count == 0);
    dw_status status = make_room(pieces, from->count, err);
    for (uint32_t i = 0; status == DW_OK && pieces->bytes < bytes; i++) {
        const dw__kv_piece *piece = &from->list[i];
        size_t left = bytes - pieces->bytes;
        status = dw__kv_pieces_add(pieces, piece->file, piece->file_offset,
                                   piece->bytes < left ? piece->bytes : left, err);
    }
    return status;
}

void dw__kv_pieces_cut(dw__kv_pieces *pieces, size_t bytes)
{
    while (pieces->bytes > bytes) {
        dw__kv_piece *last = &pieces->list[pieces->count - 1];
        size_t beyond = pieces->bytes - bytes;
        if (beyond < last->bytes) {
            last->bytes -= beyond;
            pieces->bytes = bytes;
            return;
        }
        pieces->bytes -= last->bytes;
        dw__kv_file_unref(last->file);
        pieces->count--;
    }
}

void dw__kv_pieces_release(dw__kv_pieces *pieces)
{
    dw__kv_pieces_cut(pieces, 0);
    dw_free(pieces->list);
    *pieces = (dw__kv_pieces){.list = NULL};
}

dw_status dw__kv_pieces_map(const dw__kv_pieces *pieces, dw_region *region, dw_error *err)
{
    dw_status status = DW_OK;
    size_t at = 0;
    for (uint32_t i = 0; status == DW_OK && i < pieces->count; i++) {
        const dw__kv_piece *piece = &pieces->list[i];
        status = dw_region_map_file(region, at, dw__kv_file_fd(piece->file), piece->file_offset,
                                    piece->bytes, err);
        at += piece->bytes;
    }
    return status;
}
