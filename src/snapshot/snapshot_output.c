/* Snapshot files, written. A file is written from its data on, each byte hashed on its way, and the
 * header last; a stream has the data hashed once before. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "snapshot/snapshot_writer_internal.h"

#define TEMPORARY_TRIES 16
/* The disk is set to work on what was written each time so much of it is there. */
#define BEHIND_BYTES ((uint64_t)8 << 20)

/* ---- writing ------------------------------------------------------------------------------- */

static void seal_of(const dw__snapshot_output *to, uint8_t seal[DW_HASH128_BYTES])
{
    dw_hash128_of(seal, to->header.bytes, to->header.count);
}

static dw_status write_at(dw__snapshot_output *to, const void *bytes, size_t count,
                          uint64_t position, dw_error *err)
{
    const uint8_t *from = bytes;
    while (count > 0) {
        ssize_t written = to->is_file ? pwrite(to->fd, from, count, (off_t)(to->begin + position))
                                      : write(to->fd, from, count);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return dw_fail(err, DW_E_IO, "%s: writing %zu bytes at byte %llu: %s", to->shown, count,
                           (unsigned long long)position,
                           written < 0 ? strerror(errno) : "nothing was taken");
        }
        from += written;
        count -= (size_t)written;
        position += (uint64_t)written;
    }
    return DW_OK;
}

/* Let the disk begin with what was written since it was last told. */
static void begin_sync(dw__snapshot_output *to)
{
    if (to->is_file && to->position - to->begun >= BEHIND_BYTES) {
        dw_os_begin_sync(to->fd, to->begin + to->begun, to->position - to->begun);
        to->begun = to->position;
    }
}

static dw_status write_next(dw__snapshot_output *to, const void *bytes, size_t count, dw_error *err)
{
    dw_status status = write_at(to, bytes, count, to->position, err);
    to->position += count;
    begin_sync(to);
    return status;
}

static dw_status flush(dw__snapshot_output *to, dw_error *err)
{
    size_t used = to->piece_used;
    to->piece_used = 0;
    return used > 0 ? write_next(to, to->piece, used, err) : DW_OK;
}

/* Straight from the caller's memory where it is large. */
static dw_status put_memory(dw__snapshot_output *to, const uint8_t *bytes, uint64_t count,
                            dw_error *err)
{
    if (count == 0) {
        return DW_OK;
    }
    if (count <= DW__SNAPSHOT_PIECE_BYTES - to->piece_used) {
        dw_hash128_add(to->hash, bytes, (size_t)count);
        memcpy(to->piece + to->piece_used, bytes, (size_t)count);
        to->piece_used += (size_t)count;
        return DW_OK;
    }
    dw_status status = flush(to, err);
    while (count > 0 && status == DW_OK) {
        size_t now = count < DW__SNAPSHOT_PIECE_BYTES ? (size_t)count : DW__SNAPSHOT_PIECE_BYTES;
        dw_hash128_add(to->hash, bytes, now);
        status = write_next(to, bytes, now, err);
        bytes += now;
        count -= now;
    }
    return status;
}

/* `from` NULL: zeros. With `hash_only` nothing is written. */
static dw_status put_read(dw__snapshot_output *to, const dw__snapshot_item *from, uint64_t count,
                          bool hash_only, dw_error *err)
{
    dw_status status = DW_OK;
    for (uint64_t done = 0; done < count && status == DW_OK;) {
        if (to->piece_used == DW__SNAPSHOT_PIECE_BYTES) {
            status = flush(to, err);
            continue;
        }
        size_t room = DW__SNAPSHOT_PIECE_BYTES - to->piece_used;
        size_t now = count - done < room ? (size_t)(count - done) : room;
        uint8_t *place = to->piece + to->piece_used;
        if (from == NULL) {
            memset(place, 0, now);
        } else {
            status = from->tensor.read(from->tensor.user, done, now, place, err);
        }
        if (status != DW_OK) {
            return dw_fail_within(err, status, "%s: %s", to->shown, from->name);
        }
        dw_hash128_add(to->hash, place, now);
        to->piece_used += hash_only ? 0 : now;
        done += now;
    }
    return status;
}

/* A tensor that comes through a sink. Into a file its parts are written in any order, by the
 * threads that they come from, while this one adds them up: the checksum of one tensor is one
 * stream. XXH3 does 10 to 20 GB/s on one core, 128 MiB in 7 to 13 ms, which is then the least
 * that it takes. What bounds it is the file: on an H200's host 128 MiB take 35 ms, the hash alone
 * 13, writing alone 36 with 8 threads, as one file's pwrites wait for each other at its lock.
 * Storing into a shared mapping of the file does not, but costs more in page faults (128 MiB into
 * the page cache, two busy cores, medians of 8: tmpfs 354 ms against 185, ext4 188 against 148, and
 * 272 against 229 with the sync), and ends the process by SIGBUS where a file system breaks what
 * fallocate has promised. */
typedef struct passage {
    dw__snapshot_output *to;
    uint64_t begin; /* where it is in the file */
    uint64_t bytes; /* of all */
    uint64_t ordered;
    bool hash_only;
} passage;

static dw_status pass_in_order(void *user, const void *from, size_t bytes, dw_error *err)
{
    passage *p = user;
    DW_ASSERT(bytes <= p->bytes - p->ordered);
    p->ordered += bytes;
    dw_hash128_add(p->to->hash, from, bytes);
    return p->hash_only || p->to->is_file ? DW_OK : write_next(p->to, from, bytes, err);
}

static dw_status pass_anywhere(void *user, uint64_t offset, const void *from, size_t bytes,
                               dw_error *err)
{
    const passage *p = user;
    DW_ASSERT(offset <= p->bytes && bytes <= p->bytes - offset);
    return write_at(p->to, from, bytes, p->begin + offset, err);
}

static dw_status put_stream_of(dw__snapshot_output *to, const dw__snapshot_item *from,
                               bool hash_only, dw_error *err)
{
    dw_status status = hash_only ? DW_OK : flush(to, err);
    passage p = {.to = to, .begin = to->position, .bytes = from->bytes, .hash_only = hash_only};
    dw_sink sink = {.in_order = pass_in_order,
                    .anywhere = to->is_file && !hash_only ? pass_anywhere : NULL,
                    .user = &p};
    if (status == DW_OK) {
        status = from->tensor.stream(from->tensor.user, &sink, err);
    }
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s: %s", to->shown, from->name);
    }
    DW_ASSERT(p.ordered == from->bytes);
    if (sink.anywhere != NULL) {
        to->position += from->bytes;
        begin_sync(to);
    }
    return DW_OK;
}

/* A filler of a file is a hole: what is not written reads as zeros. */
static dw_status pass_over(dw__snapshot_output *to, uint64_t bytes, dw_error *err)
{
    dw_status status = flush(to, err);
    to->position += bytes;
    to->hole_bytes += bytes;
    return status;
}

static dw_status put_part(dw__snapshot_output *to, dw__snapshot_part *tensor, dw_error *err)
{
    const dw__snapshot_item *from = tensor->item;
    uint8_t checksum[DW_HASH128_BYTES];
    dw_hash128_reset(to->hash);
    bool in_memory = from != NULL && (from->tensor.bytes != NULL || from->bytes == 0);
    bool streamed = from != NULL && from->tensor.read == NULL;
    dw_status status = in_memory  ? put_memory(to, from->tensor.bytes, from->bytes, err)
                       : streamed ? put_stream_of(to, from, false, err)
                                  : put_read(to, from, tensor->bytes, false, err);
    if (status != DW_OK) {
        return status;
    }
    dw_hash128_finish(to->hash, checksum);
    if (!to->is_file && from != NULL && memcmp(checksum, tensor->checksum, sizeof checksum) != 0) {
        return dw_fail(err, DW_E_STATE, "%s: %s changed while it was written", to->shown,
                       from->name);
    }
    memcpy(tensor->checksum, checksum, sizeof checksum);
    return DW_OK;
}

/* Everything but the seal. */
static dw_status put_parts(dw__snapshot_output *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i + 1 < to->part_count && status == DW_OK; i++) {
        dw__snapshot_part *part = &to->parts[i];
        status = part->item == NULL && to->is_file ? pass_over(to, part->bytes, err)
                                                   : put_part(to, part, err);
    }
    return status;
}

/* For a stream, whose header has to be known before its data goes. */
static dw_status hash_parts(dw__snapshot_output *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < to->part_count && status == DW_OK; i++) {
        dw__snapshot_part *tensor = &to->parts[i];
        if (tensor->item == NULL) {
            continue;
        }
        const dw_snapshot_tensor *source = &tensor->item->tensor;
        dw_hash128_reset(to->hash);
        if (source->bytes != NULL) {
            dw_hash128_add(to->hash, source->bytes, (size_t)tensor->bytes);
        } else if (source->read != NULL || tensor->bytes == 0) {
            status = put_read(to, tensor->item, tensor->bytes, true, err);
        } else {
            status = put_stream_of(to, tensor->item, true, err);
        }
        dw_hash128_finish(to->hash, tensor->checksum);
    }
    return status;
}

static dw_status put_file(dw__snapshot_output *to, char *identity, dw_error *err)
{
    uint8_t seal[DW_HASH128_BYTES];
    to->position = to->header.count;
    to->begun = to->position;
    dw_status status = put_parts(to, err);
    if (status != DW_OK) {
        return status;
    }
    dw__snapshot_fill_in_checksums(to);
    seal_of(to, seal);
    dw_hash128_reset(to->hash);
    status = put_memory(to, seal, sizeof seal, err);
    if (status != DW_OK) {
        return status;
    }
    status = flush(to, err);
    if (status != DW_OK) {
        return status;
    }
    DW_ASSERT(to->position == to->header.count + to->data_bytes);
    status = write_at(to, to->header.bytes, to->header.count, 0, err);
    if (status == DW_OK && identity != NULL) {
        dw_hex(identity, seal, sizeof seal);
    }
    return status;
}

static dw_status put_stream(dw__snapshot_output *to, dw_error *err)
{
    uint8_t seal[DW_HASH128_BYTES];
    dw_status status = hash_parts(to, err);
    if (status != DW_OK) {
        return status;
    }
    dw__snapshot_fill_in_checksums(to);
    seal_of(to, seal);
    status = write_next(to, to->header.bytes, to->header.count, err);
    if (status != DW_OK) {
        return status;
    }
    status = put_parts(to, err);
    if (status != DW_OK) {
        return status;
    }
    status = put_memory(to, seal, sizeof seal, err);
    return status == DW_OK ? flush(to, err) : status;
}

static void release_output(dw__snapshot_output *to)
{
    dw_free(to->parts);
    dw_free(to->header.bytes);
    dw_free(to->piece);
    dw_hash128_destroy(to->hash);
}

static dw_status init_output(dw__snapshot_output *to, const dw_snapshot_writer *writer,
                             dw_error *err)
{
    dw_status status = dw__snapshot_check_whole(writer, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__snapshot_lay_out(to, writer, err);
    if (status != DW_OK) {
        return status;
    }
    to->hash = dw_hash128_create();
    to->piece = dw_alloc(1, DW__SNAPSHOT_PIECE_BYTES);
    return to->hash != NULL && to->piece != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "writing a snapshot: no memory");
}

static void note_bytes(dw_snapshot_writer *writer, const dw__snapshot_output *to)
{
    writer->file_bytes = to->header.count + to->data_bytes;
    writer->written_bytes = writer->file_bytes - to->hole_bytes;
}

dw_status dw_snapshot_writer_write_stream(dw_snapshot_writer *writer, int fd, dw_error *err)
{
    dw__snapshot_output to = {.fd = fd, .is_file = false, .shown = "snapshot"};
    dw_status status = init_output(&to, writer, err);
    if (status == DW_OK) {
        status = put_stream(&to, err);
    }
    if (status == DW_OK && writer->check != NULL) {
        status = writer->check(writer->check_user, err);
    }
    note_bytes(writer, &to);
    release_output(&to);
    return status;
}

/* ---- a file, whole or not at all ------------------------------------------------------------ */

/* What is to be replaced: the file that a link leads to, not the link. Pipes, devices and folders
 * are not: a rename would put a file in the place of /dev/null. */
static dw_status find_place(char place[PATH_MAX], const char *path, dw_error *err)
{
    const char *shown = dw__snapshot_path_end(path);
    struct stat info;
    if (stat(path, &info) == 0) {
        return !S_ISREG(info.st_mode)
                   ? dw_fail(err, DW_E_ARG, "%s: it is no regular file, and is left alone", shown)
               : realpath(path, place) == NULL
                   ? dw_fail(err, DW_E_IO, "%s: %s", shown, strerror(errno))
                   : DW_OK;
    }
    int length = snprintf(place, PATH_MAX, "%s", path);
    return length >= 0 && length < PATH_MAX
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long", shown,
                         strlen(path));
}

/* A file of the name that was given, which is in `temporary` [PATH_MAX], too, then. */
static dw_status open_part(int *fd, char *temporary, const char *part, dw_error *err)
{
    int length = snprintf(temporary, PATH_MAX, "%s", part);
    if (length < 0 || length >= PATH_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long",
                       dw__snapshot_path_end(part), strlen(part));
    }
    *fd = dw_os_open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    return *fd >= 0 ? DW_OK
                    : dw_fail(err, DW_E_IO, "%s: making it: %s", dw__snapshot_path_end(part),
                              strerror(errno));
}

/* A new file beside `path`; its name in `temporary` [PATH_MAX]. */
static dw_status open_temporary(int *fd, char *temporary, const char *path, dw_error *err)
{
    const char *shown = dw__snapshot_path_end(path);
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        uint8_t random[8];
        char digits[2 * sizeof random + 1];
        if (getentropy(random, sizeof random) != 0) {
            return dw_fail(err, DW_E_IO, "%s: no random number: %s", shown, strerror(errno));
        }
        dw_hex(digits, random, sizeof random);
        int length = snprintf(temporary, PATH_MAX, "%s.tmp-%ld-%s", path, (long)getpid(), digits);
        if (length < 0 || length >= PATH_MAX) {
            return dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long", shown,
                           strlen(path));
        }
        *fd = dw_os_open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (*fd >= 0 || errno != EEXIST) {
            break;
        }
    }
    return *fd >= 0
               ? DW_OK
               : dw_fail(err, DW_E_IO, "%s: making a file beside it: %s", shown, strerror(errno));
}

/* The new name is on the disk when its folder is. Some file systems cannot tell (EINVAL). */
static dw_status sync_folder(const char *path, dw_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 1 : (int)(slash - path) + 1;
    (void)snprintf(folder, sizeof folder, "%.*s", length, slash == NULL ? "." : path);
    int fd = dw_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    int code = fd < 0 ? errno : dw_os_sync(fd);
    dw_os_close(fd);
    if (code != 0 && code != EINVAL && code != ENOTSUP && code != EACCES) {
        return dw_fail(err, DW_E_IO, "%s: written, but its folder is not on the disk: %s",
                       dw__snapshot_path_end(path), strerror(code));
    }
    return DW_OK;
}

/* What is reported as failed must not be there: it is taken back, or where that cannot be, it is
 * written. What it replaced is gone. */
static dw_status settle(const char *path, bool fresh, dw_error *err)
{
    dw_status status = sync_folder(path, err);
    return status != DW_OK && fresh && unlink(path) != 0 && errno != ENOENT ? DW_OK : status;
}

static dw_status finish_file(const dw__snapshot_output *to, const char *temporary, const char *path,
                             dw_error *err)
{
    unsigned long long bytes = (unsigned long long)(to->header.count + to->data_bytes);
    int code = dw_os_sync(to->fd);
    if (code != 0) {
        return dw_fail(err, DW_E_IO, "%s: bringing %llu bytes to the disk: %s", to->shown, bytes,
                       strerror(code));
    }
    if (rename(temporary, path) != 0) {
        return dw_fail(err, DW_E_IO, "%s: renaming a file of %llu bytes to it: %s", to->shown,
                       bytes, strerror(errno));
    }
    return DW_OK;
}

/* ---- behind others -------------------------------------------------------------------------- */

/* The series that is at `path`, without what stands from `to->begin` on: what was written there and
 * never counted would be read as holes that are none. */
static dw_status open_series(dw__snapshot_output *to, const char *path, dw_error *err)
{
    struct stat info;
    const int flags = O_WRONLY | O_NOFOLLOW | (to->begin == 0 ? O_CREAT : 0);
    to->fd = dw_os_open(path, flags, 0600);
    if (to->fd < 0 || fstat(to->fd, &info) != 0) {
        return dw_fail(err, DW_E_IO, "%s: opening it: %s", to->shown, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return dw_fail(err, DW_E_ARG, "%s: it is no regular file, and is left alone", to->shown);
    }
    /* The last one before ends somewhere in the unit before `begin`. */
    if ((uint64_t)info.st_size + DW_SNAPSHOT_ALIGNMENT <= to->begin) {
        return dw_fail(err, DW_E_IO, "%s: it has %llu bytes, too few for what it holds", to->shown,
                       (unsigned long long)info.st_size);
    }
    return (uint64_t)info.st_size <= to->begin || ftruncate(to->fd, (off_t)to->begin) == 0
               ? DW_OK
               : dw_fail(err, DW_E_IO, "%s: cutting it to %llu bytes: %s", to->shown,
                         (unsigned long long)to->begin, strerror(errno));
}

static dw_status write_behind(dw_snapshot_writer *writer, const char *path,
                              const dw_snapshot_place *place, char *identity, dw_error *err)
{
    char file[PATH_MAX];
    dw__snapshot_output to = {
        .fd = -1, .is_file = true, .begin = place->begin, .shown = dw__snapshot_path_end(path)};
    dw_status status = init_output(&to, writer, err);
    if (status == DW_OK && place->path_bytes >= sizeof file) {
        status = dw_fail(err, DW_E_LIMIT, "%s: a path of %zu bytes is too long", to.shown,
                         place->path_bytes);
    }
    if (status == DW_OK) {
        memcpy(file, path, place->path_bytes);
        file[place->path_bytes] = '\0';
        status = open_series(&to, file, err);
    }
    if (status == DW_OK) {
        status = put_file(&to, identity, err);
    }
    if (status == DW_OK && writer->check != NULL) {
        status = writer->check(writer->check_user, err);
    }
    const int code = status == DW_OK ? dw_os_sync(to.fd) : 0;
    if (code != 0) {
        status = dw_fail(err, DW_E_IO, "%s: bringing it to the disk: %s", to.shown, strerror(code));
    }
    dw_os_close(to.fd);
    note_bytes(writer, &to);
    release_output(&to);
    return status == DW_OK && to.begin == 0 ? sync_folder(file, err) : status;
}

dw_status dw_snapshot_writer_write_file(dw_snapshot_writer *writer, const char *path,
                                        char *identity, dw_error *err)
{
    return dw_snapshot_writer_write_part(writer, path, NULL, identity, err);
}

dw_status dw_snapshot_writer_write_part(dw_snapshot_writer *writer, const char *path,
                                        const char *part, char *identity, dw_error *err)
{
    char place[PATH_MAX];
    char temporary[PATH_MAX];
    dw_snapshot_place behind;
    if (dw_snapshot_place_read(path, &behind) && behind.bytes == 0) {
        return write_behind(writer, path, &behind, identity, err);
    }
    dw__snapshot_output to = {.fd = -1, .is_file = true, .shown = dw__snapshot_path_end(path)};
    dw_status status = init_output(&to, writer, err);
    if (status == DW_OK) {
        status = find_place(place, path, err);
    }
    if (status == DW_OK) {
        status = part != NULL ? open_part(&to.fd, temporary, part, err)
                              : open_temporary(&to.fd, temporary, place, err);
    }
    bool made = status == DW_OK;
    bool fresh = made && access(place, F_OK) != 0;
    if (status == DW_OK) {
        status = put_file(&to, identity, err);
    }
    if (status == DW_OK && writer->check != NULL) {
        status = writer->check(writer->check_user, err);
    }
    if (status == DW_OK) {
        status = finish_file(&to, temporary, place, err);
    }
    dw_os_close(to.fd);
    if (made && status != DW_OK) {
        (void)unlink(temporary);
    }
    note_bytes(writer, &to);
    release_output(&to);
    return status == DW_OK ? settle(place, fresh, err) : status;
}
