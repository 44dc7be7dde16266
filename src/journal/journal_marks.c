/* Memory that outlasts the process, on a disk that takes no operation any more: a file beside the
 * journal that is mapped. The journal's own mark says which frame of the WAL was told as failed and
 * could not be written over: the frame's header, which has checksums over all before it, so that a
 * frame which has taken its place since is told apart. It and what follows are not the
 * journal's. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "journal/journal_internal.h"
#include "memory/file_guard.h"

#define WAL_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define SALTS_AT 16 /* in the WAL's header; 8 bytes */

/* What the file begins with. */
typedef struct own_mark {
    uint64_t set;    /* 1: what follows is valid; written last */
    uint64_t frames; /* that are good, of WAL_HEADER_BYTES and so many bytes */
    uint64_t frame_bytes;
    unsigned char header[FRAME_HEADER_BYTES]; /* of the frame behind them */
    unsigned char unused[DW__MARKS_OWN_BYTES - 3 * 8 - FRAME_HEADER_BYTES];
} own_mark;
static_assert(sizeof(own_mark) == DW__MARKS_OWN_BYTES, "the file's own part");

static bool make_path(char path[DW__MARKS_PATH_BYTES], const char *journal, const char *end)
{
    int length = snprintf(path, DW__MARKS_PATH_BYTES, "%s%s", journal, end);
    return length > 0 && length < DW__MARKS_PATH_BYTES;
}

/* ---- the file ------------------------------------------------------------------------------ */

static dw_status fail_file(const char *doing, const char *path, dw_error *err)
{
    return dw_fail(err, DW_E_IO, "%s %.150s: %s", doing, path, strerror(errno));
}

/* All of it is on the disk's file system before it is mapped: a full disk is told here. */
static dw_status fill(int fd, dw_error *err)
{
    static const unsigned char none[4096];
    uint64_t bytes = 0;
    dw_status status = dw_os_file_bytes(fd, &bytes, err);
    bytes -= bytes % sizeof none;
    for (; status == DW_OK && bytes < DW__MARKS_FILE_BYTES; bytes += sizeof none) {
        status = dw_os_write_at(fd, bytes, none, sizeof none, err);
    }
    return status;
}

static dw_status map(dw__marks *marks, dw_error *err)
{
    void *page = NULL;
    dw_status status = dw_os_reserve(&page, DW__MARKS_FILE_BYTES, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_os_commit_shared(page, DW__MARKS_FILE_BYTES, marks->fd, 0, err);
    if (status != DW_OK) {
        dw_os_unreserve(page, DW__MARKS_FILE_BYTES);
        return status;
    }
    marks->bytes = page;
    marks->mapped = true;
    marks->guard = dw_file_guard_add(page, DW__MARKS_FILE_BYTES, -1);
    return DW_OK;
}

dw_status dw__marks_open(dw__marks *marks, const char *journal, dw_error *err)
{
    (void)make_path(marks->path, journal, "-marks");
    marks->fd = dw_os_open(marks->path, O_RDWR | O_CREAT, 0600);
    if (marks->fd < 0) {
        return fail_file("making", marks->path, err);
    }
    dw_status status = fill(marks->fd, err);
    return status == DW_OK ? map(marks, err) : status;
}

dw_status dw__marks_read(dw__marks *marks, const char *journal, dw_error *err)
{
    (void)make_path(marks->path, journal, "-marks");
    marks->bytes = dw_alloc(1, DW__MARKS_FILE_BYTES);
    if (marks->bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for marks");
    }
    marks->fd = dw_os_open(marks->path, O_RDONLY, 0);
    if (marks->fd < 0) {
        return errno == ENOENT ? DW_OK : fail_file("opening", marks->path, err);
    }
    for (size_t at = 0; at < DW__MARKS_FILE_BYTES;) {
        ssize_t got = pread(marks->fd, marks->bytes + at, DW__MARKS_FILE_BYTES - at, (off_t)at);
        if (got < 0) {
            return fail_file("reading", marks->path, err);
        }
        if (got == 0) {
            break;
        }
        at += (size_t)got;
    }
    return DW_OK;
}

void dw__marks_close(dw__marks *marks)
{
    bool any = false;
    for (size_t i = 0; marks->bytes != NULL && i < DW__MARKS_FILE_BYTES; i++) {
        any = any || marks->bytes[i] != 0;
    }
    if (marks->mapped) {
        dw_file_guard_remove(marks->guard);
        dw_os_unreserve(marks->bytes, DW__MARKS_FILE_BYTES);
        if (!any) {
            (void)unlink(marks->path);
        }
    } else {
        dw_free(marks->bytes);
    }
    dw_os_close(marks->fd);
    dw_os_close(marks->wal);
    *marks = (dw__marks){.fd = -1, .wal = -1};
}

/* ---- the WAL ------------------------------------------------------------------------------- */

dw_status dw__marks_watch(dw__marks *marks, const char *journal, dw_error *err)
{
    char path[DW__MARKS_PATH_BYTES];
    (void)make_path(path, journal, "-wal");
    marks->wal = dw_os_open(path, O_RDONLY, 0);
    return marks->wal >= 0 ? DW_OK : fail_file("opening", path, err);
}

void dw__marks_note_commit(dw__marks *marks, uint64_t frames)
{
    unsigned char salts[8] = {0};
    (void)pread(marks->wal, salts, sizeof salts, SALTS_AT);
    memcpy(marks->salts, salts, sizeof salts);
    marks->frames = frames;
    if (((own_mark *)(void *)marks->bytes)->set != 0) {
        memset(marks->bytes, 0, sizeof(own_mark));
    }
}

void dw__marks_note_failure(dw__marks *marks, uint64_t page_bytes)
{
    own_mark mark = {.frame_bytes = FRAME_HEADER_BYTES + page_bytes};
    own_mark *to = (own_mark *)(void *)marks->bytes;
    unsigned char salts[8] = {0};
    (void)pread(marks->wal, salts, sizeof salts, SALTS_AT);
    /* What failed may have begun the WAL anew. */
    mark.frames = memcmp(salts, marks->salts, sizeof salts) == 0 ? marks->frames : 0;
    to->set = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (pread(marks->wal, mark.header, sizeof mark.header,
              (off_t)(WAL_HEADER_BYTES + mark.frames * mark.frame_bytes)) !=
        (ssize_t)sizeof mark.header) {
        return; /* nothing of it is there */
    }
    memcpy(to, &mark, sizeof mark);
    atomic_signal_fence(memory_order_seq_cst);
    to->set = 1;
}

uint64_t dw__marks_wal_bytes(const dw__marks *marks, const char *journal)
{
    char path[DW__MARKS_PATH_BYTES];
    unsigned char header[FRAME_HEADER_BYTES];
    own_mark mark;
    memcpy(&mark, marks->bytes, sizeof mark);
    if (mark.set != 1 || mark.frame_bytes > UINT32_MAX || mark.frames > UINT32_MAX) {
        return UINT64_MAX;
    }
    uint64_t bytes = WAL_HEADER_BYTES + mark.frames * mark.frame_bytes;
    (void)make_path(path, journal, "-wal");
    int fd = dw_os_open(path, O_RDONLY, 0);
    bool same = fd >= 0 &&
                pread(fd, header, sizeof header, (off_t)bytes) == (ssize_t)sizeof header &&
                memcmp(header, mark.header, sizeof header) == 0;
    dw_os_close(fd);
    return same ? bytes : UINT64_MAX;
}

dw_status dw__marks_cut_wal(dw__marks *marks, const char *journal, dw_error *err)
{
    char path[DW__MARKS_PATH_BYTES];
    uint64_t bytes = dw__marks_wal_bytes(marks, journal);
    dw_status status = DW_OK;
    (void)make_path(path, journal, "-wal");
    if (bytes != UINT64_MAX) {
        int fd = dw_os_open(path, O_RDWR, 0);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0 || dw_os_sync(fd) != 0) {
            status = fail_file("cutting", path, err);
        }
        dw_os_close(fd);
    }
    if (status == DW_OK) {
        memset(marks->bytes, 0, sizeof(own_mark));
    }
    return status;
}
