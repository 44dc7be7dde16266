#include <errno.h>
#include <fcntl.h>
#include <mach-o/dyld.h>
#include <mach/mach.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

/* macOS has no memfd_create: a POSIX shared memory object, unlinked at once, serves as one. */
dw_status dw_os_memfd(int *fd, const char *label, uint64_t bytes, dw_error *err)
{
    static _Atomic unsigned serial;
    char name[32]; /* PSHMNAMLEN is 31 */
    *fd = -1;
    (void)snprintf(name, sizeof name, "/dw-%d-%u", (int)getpid(), serial++);
    int file = dw_os_clear_of_standard(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    if (file < 0) {
        return dw_fail(err, DW_E_MEMORY, "a memory file for %s: %s", label, strerror(errno));
    }
    (void)shm_unlink(name);
    dw_status status = dw_os_memfd_resize(file, bytes, err);
    if (status != DW_OK) {
        dw_os_close(file);
        return status;
    }
    *fd = file;
    return DW_OK;
}

/* These take no write(2). */
dw_status dw_os_memfd_write(int fd, uint64_t offset, const void *from, size_t bytes, dw_error *err)
{
    const size_t before = (size_t)(offset % dw_os_page_bytes());
    void *view = bytes > 0 ? mmap(NULL, before + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                  (off_t)(offset - before))
                           : NULL;
    if (view == MAP_FAILED) {
        return dw_fail(err, DW_E_MEMORY, "mapping %zu bytes of a memory file: %s", bytes,
                       strerror(errno));
    }
    if (view != NULL) {
        memcpy((char *)view + before, from, bytes);
        (void)munmap(view, before + bytes);
    }
    return DW_OK;
}

/* fsync leaves it in the drive's cache; file systems that cannot do more say so. */
int dw_os_sync(int fd)
{
    return fcntl(fd, F_FULLFSYNC) == 0 || fsync(fd) == 0 ? 0 : errno;
}

void dw_os_begin_sync(int fd, uint64_t offset, uint64_t bytes)
{
    (void)fd;
    (void)offset;
    (void)bytes;
}

dw_status dw_os_executable_path(char *path, size_t capacity, dw_error *err)
{
    uint32_t bytes = (uint32_t)capacity;
    if (_NSGetExecutablePath(path, &bytes) != 0) {
        return dw_fail(err, DW_E_LIMIT, "this program's path is longer than %zu bytes",
                       capacity - 1);
    }
    return DW_OK;
}

size_t dw_os_rss_bytes(void)
{
    struct mach_task_basic_info info;
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
    if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count) !=
        KERN_SUCCESS) {
        return 0;
    }
    return (size_t)info.resident_size;
}

size_t dw_os_available_bytes(void)
{
    vm_statistics64_data_t info;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&info, &count) !=
        KERN_SUCCESS) {
        return 0;
    }
    return ((size_t)info.free_count + info.inactive_count) * dw_os_page_bytes();
}

int dw_os_core_count(void)
{
    int count = 0;
    size_t bytes = sizeof count;
    /* Performance cores where the machine tells them apart: a step waits for its slowest thread. */
    if (sysctlbyname("hw.perflevel0.physicalcpu", &count, &bytes, NULL, 0) == 0 && count > 0) {
        return count;
    }
    bytes = sizeof count;
    if (sysctlbyname("hw.physicalcpu", &count, &bytes, NULL, 0) == 0 && count > 0) {
        return count;
    }
    return 1;
}

/* macOS has no call for it. */
bool dw_os_prefault(const void *address, size_t bytes)
{
    (void)address;
    (void)bytes;
    return false;
}

/* vm_page_query would tell page by page; comparing is what callers do instead. */
dw_status dw_os_private_pages(const void *address, size_t bytes, unsigned char *flags,
                              dw_error *err)
{
    (void)address;
    (void)bytes;
    (void)flags;
    return dw_fail(err, DW_E_UNSUPPORTED, "the system does not tell which pages were written");
}

/* Huge pages are asked for there, never given unasked. */
void dw_os_small_pages(void *address, size_t bytes)
{
    (void)address;
    (void)bytes;
}

size_t dw_os_huge_page_bytes(void)
{
    return 0;
}

void dw_os_huge_pages(void *address, size_t bytes)
{
    (void)address;
    (void)bytes;
}

/* MADV_FREE leaves what was there until the pages are taken. */
void dw_os_discard(void *address, size_t bytes)
{
    const void *mapped = mmap(address, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    DW_ASSERT(mapped == address);
}

bool dw_os_is_wsl(void)
{
    return false;
}

void dw_os_yield_cores(void)
{
    (void)pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
}

void dw_os_file_name(int fd, char *name, size_t capacity)
{
    char path[MAXPATHLEN];
    bool known = fcntl(fd, F_GETPATH, path) == 0;
    (void)snprintf(name, capacity, "%s", known ? path : "a mapped file");
}

/* ---- clocks -------------------------------------------------------------------------------- */

dw_os_thread_clock dw_os_thread_clock_of_this(void)
{
    return (dw_os_thread_clock){.id = pthread_mach_thread_np(pthread_self())};
}

uint64_t dw_os_thread_clock_ns(dw_os_thread_clock clock)
{
    thread_basic_info_data_t info;
    mach_msg_type_number_t count = THREAD_BASIC_INFO_COUNT;
    DW_ASSERT(thread_info((thread_act_t)clock.id, THREAD_BASIC_INFO, (thread_info_t)&info,
                          &count) == KERN_SUCCESS);
    uint64_t us = (uint64_t)(info.user_time.seconds + info.system_time.seconds) * 1000000 +
                  (uint64_t)(info.user_time.microseconds + info.system_time.microseconds);
    return us * 1000;
}

/* In whole milliseconds, which is all that macOS has here. */
int dw_os_poll(struct pollfd *fds, unsigned count, uint64_t until_ns)
{
    uint64_t now = until_ns != UINT64_MAX ? dw_os_clock_ns() : 0;
    uint64_t left_ms = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
    int wait_ms = left_ms < 1000000 ? (int)left_ms : 1000000;
    return poll(fds, count, until_ns != UINT64_MAX ? wait_ms : -1);
}

/* macOS's conditions know no other clock; their relative waits are monotonic. */
void dw_os_cond_init(pthread_cond_t *condition)
{
    DW_ASSERT(pthread_cond_init(condition, NULL) == 0);
}

bool dw_os_cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until_ns)
{
    uint64_t now = dw_os_clock_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / UINT64_C(1000000000)),
                            .tv_nsec = (long)(left % UINT64_C(1000000000))};
    return pthread_cond_timedwait_relative_np(condition, lock, &wait) != ETIMEDOUT;
}

bool dw_os_peer_is_own_user(int fd)
{
    uid_t user;
    gid_t group;
    return getpeereid(fd, &user, &group) == 0 && user == geteuid();
}

size_t dw_os_granted_bytes(void)
{
    return SIZE_MAX;
}
