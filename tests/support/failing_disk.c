#include "failing_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_BYTES 512
/* Seen by libraries, too. */
#define TAKES_THE_PLACE __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root; /* guarded by lock, like all of these */
static disk_plan plan;
static bool planned;
static uint64_t operations;
static uint64_t opened;
static uint64_t failed;

void disk_watch(const char *path)
{
    (void)pthread_mutex_lock(&lock);
    root = path;
    (void)pthread_mutex_unlock(&lock);
    disk_plan_set(NULL);
}

void disk_plan_set(const disk_plan *wanted)
{
    (void)pthread_mutex_lock(&lock);
    planned = wanted != NULL;
    plan = planned ? *wanted : (disk_plan){.kinds = DISK_ALL};
    operations = 0;
    opened = 0;
    failed = 0;
    (void)pthread_mutex_unlock(&lock);
}

static uint64_t read_count(const uint64_t *count)
{
    (void)pthread_mutex_lock(&lock);
    uint64_t value = *count;
    (void)pthread_mutex_unlock(&lock);
    return value;
}

uint64_t disk_operations(void)
{
    return read_count(&operations);
}

uint64_t disk_opened(void)
{
    return read_count(&opened);
}

uint64_t disk_failed(void)
{
    return read_count(&failed);
}

static bool is_watched(const char *path)
{
    return root != NULL && strncmp(path, root, strlen(root)) == 0;
}

/* The path of an open file; "": it has none. */
static void path_of(int fd, char path[PATH_BYTES])
{
#if defined(__APPLE__)
    path[0] = '\0';
    (void)fcntl(fd, F_GETPATH, path);
#else
    char link_path[32];
    (void)snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link_path, path, PATH_BYTES - 1);
    path[length > 0 ? length : 0] = '\0';
#endif
}

/* Whether an operation is to fail, with errno set. */
static bool fails(disk_kind kind, const char *path)
{
    bool fail = false;
    bool kill_here = false;
    (void)pthread_mutex_lock(&lock);
    if (is_watched(path) && (plan.kinds & (unsigned)kind) != 0 &&
        (plan.with == NULL || strstr(path, plan.with) != NULL)) {
        uint64_t number = operations++;
        fail = planned && number >= plan.after &&
               (plan.count == 0 || number < plan.after + plan.count);
        failed += fail;
        kill_here = fail && plan.kills && kind != DISK_WRITE;
    }
    int error = plan.error != 0 ? plan.error : EIO;
    (void)pthread_mutex_unlock(&lock);
    if (kill_here) {
        (void)kill(getpid(), SIGKILL);
    }
    if (fail) {
        errno = error;
    }
    return fail;
}

TAKES_THE_PLACE int rename(const char *from, const char *to)
{
    return fails(DISK_RENAME, to) ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}

TAKES_THE_PLACE int link(const char *from, const char *to)
{
    return fails(DISK_LINK, to) ? -1 : linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

TAKES_THE_PLACE int unlink(const char *path)
{
    return fails(DISK_UNLINK, path) ? -1 : unlinkat(AT_FDCWD, path, 0);
}

TAKES_THE_PLACE int rmdir(const char *path)
{
    return fails(DISK_RMDIR, path) ? -1 : unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

TAKES_THE_PLACE int mkdir(const char *path, mode_t mode)
{
    return fails(DISK_MKDIR, path) ? -1 : mkdirat(AT_FDCWD, path, mode);
}

TAKES_THE_PLACE int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(more, int) : 0;
    va_end(more);
    (void)pthread_mutex_lock(&lock);
    opened += is_watched(path);
    (void)pthread_mutex_unlock(&lock);
    return (flags & O_CREAT) != 0 && fails(DISK_OPEN, path) ? -1
                                                            : openat(AT_FDCWD, path, flags, mode);
}

/* Nothing is waited for: what a process wrote is there when it is killed, and these tests cut no
 * power. */
TAKES_THE_PLACE int fsync(int file)
{
    char path[PATH_BYTES];
    path_of(file, path);
    return fails(DISK_SYNC, path) ? -1 : 0;
}

TAKES_THE_PLACE int fdatasync(int file)
{
    return fsync(file);
}

static bool write_fails(int file)
{
    char path[PATH_BYTES];
    int error = errno;
    path_of(file, path);
    errno = error;
    return fails(DISK_WRITE, path);
}

static ssize_t write_vector(int file, const void *from, size_t count, off_t offset)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)from, .iov_len = count};
    return offset < 0 ? writev(file, &piece, 1) : pwritev(file, &piece, 1, offset);
}

static ssize_t write_or_fail(int file, const void *from, size_t count, off_t offset)
{
    if (!write_fails(file)) {
        return write_vector(file, from, count, offset);
    }
    int error = errno;
    if (plan.cuts || plan.kills) {
        (void)write_vector(file, from, count / 2, offset);
    }
    if (plan.kills) {
        (void)kill(getpid(), SIGKILL);
    }
    errno = error;
    return -1;
}

TAKES_THE_PLACE ssize_t write(int file, const void *from, size_t count)
{
    return write_or_fail(file, from, count, -1);
}

TAKES_THE_PLACE ssize_t pwrite(int file, const void *from, size_t count, off_t offset)
{
    return write_or_fail(file, from, count, offset);
}

TAKES_THE_PLACE int ftruncate(int file, off_t bytes)
{
    char path[PATH_BYTES];
    path_of(file, path);
    if (fails(DISK_TRUNCATE, path)) {
        return -1;
    }
#if defined(__APPLE__)
    return (int)syscall(SYS_ftruncate, file, bytes);
#else
    return (int)syscall(SYS_ftruncate, file, (long)bytes);
#endif
}

#if defined(__GLIBC__)
/* What libraries call that were built for files of any length; here they are the same. */
TAKES_THE_PLACE int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(more, int) : 0;
    va_end(more);
    return open(path, flags, mode);
}

TAKES_THE_PLACE ssize_t pwrite64(int file, const void *from, size_t count, off_t offset)
{
    return pwrite(file, from, count, offset);
}

TAKES_THE_PLACE int ftruncate64(int file, off_t bytes)
{
    return ftruncate(file, bytes);
}
#endif
