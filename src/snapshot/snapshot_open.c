/* Opening snapshot files: their bytes and checksums. snapshot_header.c has what is before these. */
#include "snapshot/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "snapshot/kept_heads.h"
#include "snapshot/snapshot_reader_internal.h"

static const char *shown(const dw_snapshot_file *file)
{
    return dw__snapshot_path_end(file->path);
}

static dw_status open_shared(dw_snapshot_file *file, const char *path, dw_error *err)
{
    file->shared = dw_alloc(1, sizeof *file->shared);
    if (file->shared == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory");
    }
    file->shared->users = 1;
    /* A pipe must not make us wait for its writer. */
    file->fd = file->shared->fd = dw_os_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (file->fd < 0) {
        const bool many = errno == EMFILE || errno == ENFILE; /* others may close some */
        const dw_status status = errno == ENOENT ? DW_E_NOT_FOUND : many ? DW_E_MEMORY : DW_E_IO;
        return dw_fail(err, status, "%s", strerror(errno));
    }
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return dw_fail(err, DW_E_IO, "%s", strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return dw_fail(err, DW_E_IO, "it is no regular file");
    }
    file->shared->bytes = (uint64_t)info.st_size;
    return DW_OK;
}

/* Another of the same series. */
static bool is_beside(const dw_snapshot_file *file, const dw_snapshot_place *place,
                      const dw_snapshot_file *beside)
{
    dw_snapshot_place other;
    return beside != NULL && dw_snapshot_place_read(beside->path, &other) &&
           other.path_bytes == place->path_bytes &&
           memcmp(file->path, beside->path, place->path_bytes) == 0;
}

/* What of the file is the snapshot. */
static dw_status take_place(dw_snapshot_file *file, const dw_snapshot_place *place, dw_error *err)
{
    const uint64_t there = file->shared->bytes;
    if (place->begin > there || place->bytes > there - place->begin) {
        return dw_fail(err, DW_E_FORMAT, "%llu bytes from byte %llu on, of a file that has %llu",
                       (unsigned long long)place->bytes, (unsigned long long)place->begin,
                       (unsigned long long)there);
    }
    file->begin = place->begin;
    file->bytes = place->bytes;
    return DW_OK;
}

static dw_status open_file(dw_snapshot_file *file, const dw_snapshot_file *beside, dw_error *err)
{
    char path[PATH_MAX];
    dw_snapshot_place place;
    dw_status status = DW_OK;
    const bool in_series = dw_snapshot_place_read(file->path, &place);
    if (in_series && is_beside(file, &place, beside)) {
        file->shared = beside->shared;
        file->fd = beside->fd;
        (void)atomic_fetch_add(&file->shared->users, 1);
    } else if (in_series && place.path_bytes < sizeof path) {
        memcpy(path, file->path, place.path_bytes);
        path[place.path_bytes] = '\0';
        status = open_shared(file, path, err);
    } else {
        status = open_shared(file, file->path, err);
    }
    if (status != DW_OK) {
        return status;
    }
    file->bytes = file->shared->bytes;
    status = in_series ? take_place(file, &place, err) : DW_OK;
    if (status == DW_OK && file->bytes > DW_SNAPSHOT_FILE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%llu bytes, limit %llu", (unsigned long long)file->bytes,
                       (unsigned long long)DW_SNAPSHOT_FILE_BYTES_MAX);
    }
    return status;
}

dw__snapshot_head *dw__snapshot_head_ref(dw__snapshot_head *head)
{
    (void)atomic_fetch_add(&head->users, 1);
    return head;
}

void dw__snapshot_head_unref(dw__snapshot_head *head)
{
    if (head == NULL || atomic_fetch_sub(&head->users, 1) != 1) {
        return;
    }
    json_decref(head->metadata);
    dw_free(head->entries);
    dw_free(head->by_name);
    dw_free(head->fillers);
    dw_free(head);
}

static dw_status read_header(dw_snapshot_file *file, dw_error *err)
{
    uint8_t first[4096]; /* most are shorter */
    const size_t count = file->bytes < sizeof first ? (size_t)file->bytes : sizeof first;
    file->head = dw_alloc(1, sizeof *file->head);
    if (file->head == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot: no memory");
    }
    file->head->users = 1;
    file->head->bytes = file->bytes;
    if (count < 8) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, file->bytes,
                                    "the file ends, before the 8 bytes of its header's length");
    }
    dw_status status = dw__snapshot_read_at(file, 0, count, first, err);
    if (status != DW_OK) {
        return status;
    }
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 8; i++) {
        bytes |= (uint64_t)first[i] << 8 * i;
    }
    if (bytes > DW_SNAPSHOT_HEADER_BYTES_MAX - 8) {
        return dw__snapshot_fail_at(err, DW_E_LIMIT, 0,
                                    "a header of %llu bytes, limit %u: no snapshot?",
                                    (unsigned long long)bytes, DW_SNAPSHOT_HEADER_BYTES_MAX - 8);
    }
    if (bytes > file->bytes - 8) {
        return dw__snapshot_fail_at(err, DW_E_FORMAT, file->bytes,
                                    "the file ends, its header has %llu bytes",
                                    (unsigned long long)bytes);
    }
    const size_t all = (size_t)bytes + 8;
    const size_t there = all < count ? all : count;
    file->head->header_bytes = all;
    file->header = dw_alloc(all + 1, 1);
    if (file->header == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a header of %zu bytes: no memory", all);
    }
    memcpy(file->header, first, there);
    return dw__snapshot_read_at(file, there, all - there, file->header + there, err);
}

/* ---- checksums ---------------------------------------------------------------------------- */

static dw_status verify_entry(const dw_snapshot_file *file, const dw_snapshot_entry *tensor,
                              dw_hash128 *hash, uint8_t *piece, dw_error *err)
{
    uint8_t checksum[DW_HASH128_BYTES];
    dw_hash128_reset(hash);
    for (uint64_t done = 0; done < tensor->bytes;) {
        uint64_t left = tensor->bytes - done;
        size_t now = left < DW__SNAPSHOT_PIECE_BYTES ? (size_t)left : DW__SNAPSHOT_PIECE_BYTES;
        dw_status status = dw__snapshot_read_at(file, tensor->offset + done, now, piece, err);
        if (status != DW_OK) {
            return status;
        }
        dw_hash128_add(hash, piece, now);
        done += now;
    }
    dw_hash128_finish(hash, checksum);
    if (memcmp(checksum, tensor->checksum, sizeof checksum) != 0) {
        char wanted[DW_HASH128_TEXT];
        char found[DW_HASH128_TEXT];
        dw_hex(wanted, tensor->checksum, sizeof checksum);
        dw_hex(found, checksum, sizeof checksum);
        return dw__snapshot_fail_at(err, DW_E_FORMAT, tensor->offset,
                                    "%s: checksum %s, its %llu bytes make %s", tensor->name, wanted,
                                    (unsigned long long)tensor->bytes, found);
    }
    return DW_OK;
}

/* Room for a piece of any tensor. */
static uint8_t *new_piece(const dw_snapshot_file *file)
{
    bool small = file->bytes < DW__SNAPSHOT_PIECE_BYTES;
    return dw_alloc(small ? (size_t)file->bytes : DW__SNAPSHOT_PIECE_BYTES, 1);
}

static dw_status verify_filler(const dw_snapshot_file *file, const dw__snapshot_filler *zeros,
                               uint8_t *piece, dw_error *err)
{
    dw_status status = dw__snapshot_read_at(file, zeros->offset, (size_t)zeros->bytes, piece, err);
    for (uint64_t i = 0; i < zeros->bytes && status == DW_OK; i++) {
        if (piece[i] != 0) {
            status = dw__snapshot_fail_at(err, DW_E_FORMAT, zeros->offset + i,
                                          "a filler that is not zero");
        }
    }
    return status;
}

static dw_status verify_all(const dw_snapshot_file *file, dw_error *err)
{
    dw_status status = DW_OK;
    dw_hash128 *hash = dw_hash128_create();
    uint8_t *piece = new_piece(file);
    if (hash == NULL || piece == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "checksums: no memory");
    }
    for (size_t i = 0; i < file->head->filler_count && status == DW_OK; i++) {
        status = verify_filler(file, &file->head->fillers[i], piece, err);
    }
    for (size_t i = 0; i < file->head->entry_count && status == DW_OK; i++) {
        status = verify_entry(file, &file->head->entries[i], hash, piece, err);
    }
    dw_free(piece);
    dw_hash128_destroy(hash);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------ */

/* A header that is known is not read again: what it is known by is its hash. */
static dw_status find_header(dw_snapshot_file *file, unsigned flags, const dw_snapshot_known *known,
                             dw_error *err)
{
    const bool trusted = known->heads != NULL && known->identity != NULL &&
                         known->identity[0] != '\0' && (flags & DW_SNAPSHOT_VERIFY) == 0;
    file->head = trusted ? dw__kept_head_find(known->heads, known->identity, file->bytes) : NULL;
    if (file->head != NULL) {
        return DW_OK;
    }
    dw_status status = read_header(file, err);
    if (status == DW_OK) {
        status = dw__snapshot_read_header(file, err);
    }
    if (status == DW_OK && trusted) {
        dw__kept_head_put(known->heads, file->head);
    }
    dw_free(file->header);
    file->header = NULL;
    return status;
}

static dw_status load(dw_snapshot_file *file, unsigned flags, const dw_snapshot_known *known,
                      dw_error *err)
{
    dw_status status = open_file(file, known->beside, err);
    if (status == DW_OK) {
        status = find_header(file, flags, known, err);
    }
    if (status == DW_OK && known->index != NULL) {
        return dw__snapshot_take_series(file, known->index, err);
    }
    return status == DW_OK && (flags & DW_SNAPSHOT_VERIFY) != 0 ? verify_all(file, err) : status;
}

dw_status dw_snapshot_file_open(dw_snapshot_file **out, const char *path, unsigned flags,
                                dw_error *err)
{
    static const dw_snapshot_known nothing = {.beside = NULL};
    return dw_snapshot_file_open_known(out, path, flags, &nothing, err);
}

dw_status dw_snapshot_file_open_known(dw_snapshot_file **out, const char *path, unsigned flags,
                                      const dw_snapshot_known *known, dw_error *err)
{
    *out = NULL;
    dw_snapshot_file *file = dw_alloc(1, sizeof *file);
    if (file == NULL) {
        return dw_fail(err, DW_E_MEMORY, "a snapshot: no memory");
    }
    file->fd = -1;
    file->path = dw_strdup(path);
    dw_status status = file->path != NULL ? load(file, flags, known, err)
                                          : dw_fail(err, DW_E_MEMORY, "a snapshot: no memory");
    if (status != DW_OK) {
        dw_snapshot_file_close(file);
        return dw_fail_within(err, status, "%s", dw__snapshot_path_end(path));
    }
    *out = file;
    return DW_OK;
}

void dw_snapshot_file_close(dw_snapshot_file *file)
{
    if (file == NULL) {
        return;
    }
    if (file->shared != NULL && atomic_fetch_sub(&file->shared->users, 1) == 1) {
        dw_os_close(file->shared->fd);
        dw_free(file->shared);
    }
    dw__snapshot_head_unref(file->head);
    dw_free(file->path);
    dw_free(file->header);
    dw_free(file);
}

dw_status dw_snapshot_file_check_identity(const dw_snapshot_file *file, const char *wanted,
                                          dw_error *err)
{
    const char *own = dw_snapshot_file_identity(file);
    return strcmp(own, wanted) == 0
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%.100s: it is snapshot %s, not %.40s", shown(file), own,
                         wanted);
}

dw_status dw_snapshot_file_verify_tensor(const dw_snapshot_file *file,
                                         const dw_snapshot_entry *tensor, dw_error *err)
{
    dw_hash128 *hash = dw_hash128_create();
    uint8_t *piece = new_piece(file);
    dw_status status = hash != NULL && piece != NULL
                           ? verify_entry(file, tensor, hash, piece, err)
                           : dw_fail(err, DW_E_MEMORY, "%s: no memory", tensor->name);
    dw_free(piece);
    dw_hash128_destroy(hash);
    return status == DW_OK ? status : dw_fail_within(err, status, "%s", shown(file));
}

dw_status dw_snapshot_file_read_at(const dw_snapshot_file *file, uint64_t offset, size_t bytes,
                                   void *to, dw_error *err)
{
    dw_status status = dw__snapshot_read_at(file, offset, bytes, to, err);
    return status == DW_OK ? status : dw_fail_within(err, status, "%s", shown(file));
}

dw_status dw_snapshot_file_read(const dw_snapshot_file *file, const dw_snapshot_entry *tensor,
                                uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    if (offset > tensor->bytes || bytes > tensor->bytes - offset) {
        return dw_fail(err, DW_E_RANGE, "%s: %s: %zu bytes at %llu of %llu", shown(file),
                       tensor->name, bytes, (unsigned long long)offset,
                       (unsigned long long)tensor->bytes);
    }
    dw_status status = dw__snapshot_read_at(file, tensor->offset + offset, bytes, to, err);
    return status == DW_OK ? status : dw_fail_within(err, status, "%s", shown(file));
}
