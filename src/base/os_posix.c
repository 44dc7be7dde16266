/* What Linux and macOS have in common. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "base/stack.h"

#if !defined(MAP_NORESERVE)
#define MAP_NORESERVE 0
#endif

size_t dw_os_page_bytes(void)
{
    static size_t cached; /* every writer stores the same value */
    size_t bytes = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (bytes == 0) {
        long answer = sysconf(_SC_PAGESIZE);
        DW_ASSERT(answer > 0);
        bytes = (size_t)answer;
        __atomic_store_n(&cached, bytes, __ATOMIC_RELAXED);
    }
    return bytes;
}

dw_status dw_os_reserve(void **out, size_t bytes, dw_error *err)
{
    *out = NULL;
    void *address =
        mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
        return dw_fail(err, DW_E_MEMORY, "reserving %zu bytes of address space: %s", bytes,
                       strerror(errno));
    }
    *out = address;
    return DW_OK;
}

dw_status dw_os_reserve_aligned(void **out, size_t bytes, size_t align, dw_error *err)
{
    const size_t margin = align - dw_os_page_bytes();
    DW_ASSERT(bytes <= SIZE_MAX - margin);
    dw_status status = dw_os_reserve(out, bytes + margin, err);
    if (status != DW_OK) {
        return status;
    }
    unsigned char *whole = *out;
    const size_t before = (align - (uintptr_t)whole % align) % align;
    if (before > 0) {
        dw_os_unreserve(whole, before);
    }
    if (before < margin) {
        dw_os_unreserve(whole + before + bytes, margin - before);
    }
    *out = whole + before;
    return DW_OK;
}

dw_status dw_os_commit(void *address, size_t bytes, dw_error *err)
{
    if (mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) {
        return dw_fail(err, DW_E_MEMORY, "committing %zu bytes: %s", bytes, strerror(errno));
    }
    return DW_OK;
}

static dw_status map_over(void *address, size_t bytes, int flags, int fd, uint64_t offset,
                          dw_error *err)
{
    void *mapped =
        mmap(address, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, (off_t)offset);
    if (mapped == MAP_FAILED) {
        return dw_fail(err, DW_E_MEMORY, "mapping %zu bytes at offset %llu of a file: %s", bytes,
                       (unsigned long long)offset, strerror(errno));
    }
    DW_ASSERT(mapped == address);
    return DW_OK;
}

dw_status dw_os_commit_shared(void *address, size_t bytes, int fd, uint64_t offset, dw_error *err)
{
    return map_over(address, bytes, MAP_SHARED, fd, offset, err);
}

dw_status dw_os_map_private(void *address, size_t bytes, int fd, uint64_t offset, dw_error *err)
{
    return map_over(address, bytes, MAP_PRIVATE, fd, offset, err);
}

dw_status dw_os_decommit(void *address, size_t bytes, dw_error *err)
{
    void *mapped = mmap(address, bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (mapped == MAP_FAILED) {
        return dw_fail(err, DW_E_MEMORY, "giving back %zu bytes: %s", bytes, strerror(errno));
    }
    return DW_OK;
}

void dw_os_unreserve(void *address, size_t bytes)
{
    if (address != NULL) {
        DW_ASSERT(munmap(address, bytes) == 0);
    }
}

void dw_os_unmap(void *address, size_t bytes)
{
    dw_os_unreserve(address, bytes);
}

int dw_os_clear_of_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int reason = errno;
    (void)close(fd);
    errno = reason;
    return moved;
}

bool dw_os_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int dw_os_open(const char *path, int flags, unsigned mode)
{
    return dw_os_clear_of_standard(open(path, flags | O_CLOEXEC, mode));
}

int dw_os_open_at(int folder, const char *name, int flags, unsigned mode)
{
    return dw_os_clear_of_standard(openat(folder, name, flags | O_CLOEXEC, mode));
}

FILE *dw_os_open_stream(const char *path)
{
    int fd = dw_os_open(path, O_RDONLY, 0);
    FILE *stream = fd >= 0 ? fdopen(fd, "rb") : NULL;
    if (stream == NULL && fd >= 0) {
        int reason = errno;
        (void)close(fd);
        errno = reason;
    }
    return stream;
}

static dw_status open_failed(const char *path, dw_error *err)
{
    int reason = errno;
    return dw_fail(err, reason == ENOENT || reason == ENOTDIR ? DW_E_NOT_FOUND : DW_E_IO,
                   "%.160s: %s", path, strerror(reason));
}

dw_status dw_os_map_file(const char *path, void **out, size_t *bytes, int *fd, dw_error *err)
{
    *out = NULL;
    *bytes = 0;
    *fd = -1;
    int file = dw_os_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (file < 0) {
        return open_failed(path, err);
    }
    struct stat info;
    dw_status status = DW_OK;
    if (fstat(file, &info) != 0) {
        status = open_failed(path, err);
    } else if (!S_ISREG(info.st_mode)) {
        status = dw_fail(err, DW_E_IO, "%.160s: not a regular file", path);
    } else if (info.st_size > 0) {
        void *address = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
        if (address == MAP_FAILED) {
            status = dw_fail(err, DW_E_IO, "%.160s: mapping %lld bytes: %s", path,
                             (long long)info.st_size, strerror(errno));
        } else {
            *out = address;
            *bytes = (size_t)info.st_size;
        }
    }
    if (status != DW_OK) {
        (void)close(file);
        return status;
    }
    *fd = file;
    return DW_OK;
}

dw_status dw_os_memfd_resize(int fd, uint64_t bytes, dw_error *err)
{
    if (ftruncate(fd, (off_t)bytes) != 0) {
        return dw_fail(err, DW_E_MEMORY, "a memory file of %llu bytes: %s",
                       (unsigned long long)bytes, strerror(errno));
    }
    return DW_OK;
}

dw_status dw_os_lasting_name(const char *path, int *fd, char *name, size_t capacity, dw_error *err)
{
    *fd = dw_os_open(path, O_RDONLY, 0);
    if (*fd < 0) {
        return dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    }
    (void)snprintf(name, capacity, "/dev/fd/%d", *fd);
    if (access(name, R_OK) != 0) {
        dw_os_close(*fd);
        *fd = -1;
        return dw_fail(err, DW_E_UNSUPPORTED, "%s: %s", name, strerror(errno));
    }
    return DW_OK;
}

dw_status dw_os_write_at(int fd, uint64_t offset, const void *from, size_t bytes, dw_error *err)
{
    const unsigned char *next = from;
    while (bytes > 0) {
        ssize_t done = pwrite(fd, next, bytes, (off_t)offset);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return dw_fail(err, DW_E_IO, "writing %zu bytes at %llu: %s", bytes,
                           (unsigned long long)offset, done < 0 ? strerror(errno) : "no room");
        }
        next += done;
        bytes -= (size_t)done;
        offset += (uint64_t)done;
    }
    return DW_OK;
}

void dw_os_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

bool dw_os_next_data(int fd, uint64_t offset, uint64_t end, uint64_t *data, uint64_t *data_end)
{
    *data = offset;
    *data_end = end;
#if defined(SEEK_DATA) && defined(SEEK_HOLE)
    off_t from = lseek(fd, (off_t)offset, SEEK_DATA);
    if (from < 0) {
        return errno != ENXIO && offset < end;
    }
    off_t to = lseek(fd, from, SEEK_HOLE);
    *data = (uint64_t)from;
    *data_end = to > from && (uint64_t)to < end ? (uint64_t)to : end;
#endif
    return *data < end;
}

dw_status dw_os_duplicate(int *out, int fd, dw_error *err)
{
    *out = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return *out >= 0 ? DW_OK
                     : dw_fail(err, errno == EMFILE ? DW_E_MEMORY : DW_E_IO,
                               "another descriptor for %d: %s", fd, strerror(errno));
}

dw_status dw_os_file_bytes(int fd, uint64_t *bytes, dw_error *err)
{
    struct stat info;
    *bytes = 0;
    if (fstat(fd, &info) != 0) {
        return dw_fail(err, DW_E_IO, "descriptor %d: %s", fd, strerror(errno));
    }
    *bytes = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    return DW_OK;
}

dw_status dw_os_make_folder(const char *path, dw_error *err)
{
    char part[PATH_MAX];
    int length = snprintf(part, sizeof part, "%s", path);
    if (length < 0 || (size_t)length >= sizeof part) {
        return dw_fail(err, DW_E_IO, "%.100s: the path is too long", path);
    }
    for (char *slash = part; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (mkdir(part, 0700) != 0 && errno != EEXIST && slash == NULL) {
            return dw_fail(err, DW_E_IO, "%.160s: %s", path, strerror(errno));
        }
        if (slash != NULL) {
            *slash = '/';
        }
    }
    return DW_OK;
}

dw_status dw_os_replace_file(const char *path, const char *temporary, const void *from,
                             size_t bytes, dw_error *err)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return dw_fail(err, DW_E_IO, "%.160s: %s", temporary, strerror(errno));
    }
    dw_status status = dw_os_write_at(fd, 0, from, bytes, err);
    if (close(fd) != 0 && status == DW_OK) {
        status = dw_fail(err, DW_E_IO, "%.160s: %s", temporary, strerror(errno));
    }
    if (status == DW_OK && rename(temporary, path) != 0) {
        status = dw_fail(err, DW_E_IO, "%.160s: %s", path, strerror(errno));
    }
    if (status != DW_OK) {
        (void)unlink(temporary);
    }
    return status;
}

dw_status dw_os_read_at(int fd, uint64_t offset, void *to, size_t bytes, dw_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return dw_fail(err, DW_E_IO, "reading %zu bytes at %llu of a file: %s", bytes,
                           (unsigned long long)offset,
                           got < 0 ? strerror(errno) : "it ends before");
        }
        done += (size_t)got;
    }
    return DW_OK;
}

dw_status dw_os_read_stream(FILE *stream, const char *name, size_t bytes_max, char **out,
                            size_t *bytes, dw_error *err)
{
    dw_status status = DW_OK;
    char *text = NULL;
    size_t length = 0;
    size_t capacity = 0;
    *out = NULL;
    *bytes = 0;
    for (;;) {
        if (capacity - length < 2) {
            size_t grown = capacity == 0 ? 4096 : capacity * 2;
            char *more = dw_realloc(text, grown, 1);
            if (more == NULL) {
                status = dw_fail(err, DW_E_MEMORY, "%.160s: no memory for %zu bytes", name, grown);
                goto out;
            }
            text = more;
            capacity = grown;
        }
        size_t got = fread(text + length, 1, capacity - length - 1, stream);
        length += got;
        if (length > bytes_max) {
            status = dw_fail(err, DW_E_LIMIT, "%.160s: longer than %zu bytes", name, bytes_max);
            goto out;
        }
        if (got == 0) {
            break;
        }
    }
    if (ferror(stream)) {
        status = dw_fail(err, DW_E_IO, "%.160s: %s", name, strerror(errno));
        goto out;
    }
    text[length] = '\0';
    *out = text;
    *bytes = length;
    text = NULL;
out:
    dw_free(text);
    return status;
}

dw_status dw_os_read_file(const char *path, size_t bytes_max, char **out, size_t *bytes,
                          dw_error *err)
{
    *out = NULL;
    *bytes = 0;
    FILE *stream = dw_os_open_stream(path);
    if (stream == NULL) {
        return open_failed(path, err);
    }
    dw_status status = dw_os_read_stream(stream, path, bytes_max, out, bytes, err);
    (void)fclose(stream);
    return status;
}

uint64_t dw_os_page_faults(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

int dw_os_start_thread(pthread_t *thread, void *(*work)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (failed != 0) {
        return failed;
    }
    failed = pthread_attr_setstacksize(&attributes, DW_STACK_BYTES);
    if (failed == 0) {
        failed = pthread_create(thread, &attributes, work, arg);
    }
    (void)pthread_attr_destroy(&attributes);
    return failed;
}

uint64_t dw_os_clock_ns(void)
{
    struct timespec now;
    DW_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t dw_os_wall_ms(void)
{
    struct timespec now;
    DW_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void dw_os_random(void *to, size_t bytes)
{
    DW_ASSERT(bytes <= 256 && getentropy(to, bytes) == 0);
}

uint64_t dw_os_locked_limit_bytes(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    return limit.rlim_cur;
}

/* ---- which file it is ---------------------------------------------------------------------- */

#ifdef __APPLE__
#define STAT_CHANGED st_mtimespec
#define STAT_DESCRIBED st_ctimespec
#else
#define STAT_CHANGED st_mtim
#define STAT_DESCRIBED st_ctim
#endif

static int64_t ns_of(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

dw_status dw_os_identify(int fd, dw_file_identity *identity, dw_error *err)
{
    struct stat info;
    *identity = (dw_file_identity){0};
    if (fstat(fd, &info) != 0) {
        return dw_fail(err, DW_E_IO, "descriptor %d: %s", fd, strerror(errno));
    }
    *identity = (dw_file_identity){
        .device = (uint64_t)info.st_dev,
        .inode = (uint64_t)info.st_ino,
        .bytes = (uint64_t)info.st_size,
        .changed_ns = ns_of(info.STAT_CHANGED),
        .described_ns = ns_of(info.STAT_DESCRIBED),
    };
    return DW_OK;
}

size_t dw_os_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    size_t bytes = pages > 0 ? (size_t)pages * dw_os_page_bytes() : SIZE_MAX;
    size_t granted = dw_os_granted_bytes();
    return granted < bytes ? granted : bytes;
}
