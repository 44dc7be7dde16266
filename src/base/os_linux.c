#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

dw_status dw_os_memfd(int *fd, const char *label, uint64_t bytes, dw_error *err)
{
    *fd = -1;
    int file = dw_os_clear_of_standard(memfd_create(label, MFD_CLOEXEC));
    if (file < 0) {
        return dw_fail(err, DW_E_MEMORY, "a memory file for %s: %s", label, strerror(errno));
    }
    dw_status status = dw_os_memfd_resize(file, bytes, err);
    if (status != DW_OK) {
        dw_os_close(file);
        return status;
    }
    *fd = file;
    return DW_OK;
}

dw_status dw_os_memfd_write(int fd, uint64_t offset, const void *from, size_t bytes, dw_error *err)
{
    return dw_os_write_at(fd, offset, from, bytes, err);
}

int dw_os_sync(int fd)
{
    return fsync(fd) == 0 ? 0 : errno;
}

void dw_os_begin_sync(int fd, uint64_t offset, uint64_t bytes)
{
    (void)sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
}

dw_status dw_os_executable_path(char *path, size_t capacity, dw_error *err)
{
    ssize_t length = readlink("/proc/self/exe", path, capacity);
    if (length < 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "/proc/self/exe: %s", strerror(errno));
    }
    if ((size_t)length >= capacity) {
        return dw_fail(err, DW_E_LIMIT, "this program's path is longer than %zu bytes",
                       capacity - 1);
    }
    path[length] = '\0';
    return DW_OK;
}

/* smaps_rollup walks the page tables and is exact; statm adds up per-CPU counters that lag behind
 * by some hundred pages on machines with many cores. See proc(5). */
static size_t rss_of_rollup(void)
{
    FILE *stream = dw_os_open_stream("/proc/self/smaps_rollup");
    if (stream == NULL) {
        return 0;
    }
    char line[256];
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, stream) != NULL && sscanf(line, "Rss: %llu kB", &kib) != 1) {}
    (void)fclose(stream);
    return (size_t)kib * 1024;
}

size_t dw_os_rss_bytes(void)
{
    size_t exact = rss_of_rollup();
    if (exact != 0) {
        return exact;
    }
    FILE *stream = dw_os_open_stream("/proc/self/statm");
    if (stream == NULL) {
        return 0;
    }
    unsigned long long total = 0;
    unsigned long long resident = 0;
    int fields = fscanf(stream, "%llu %llu", &total, &resident);
    (void)fclose(stream);
    return fields == 2 ? (size_t)resident * dw_os_page_bytes() : 0;
}

size_t dw_os_available_bytes(void)
{
    FILE *stream = dw_os_open_stream("/proc/meminfo");
    unsigned long long kib = 0;
    char line[128];
    while (stream != NULL && kib == 0 && fgets(line, sizeof line, stream) != NULL) {
        (void)sscanf(line, "MemAvailable: %llu kB", &kib);
    }
    if (stream != NULL) {
        (void)fclose(stream);
    }
    return (size_t)kib * 1024;
}

bool dw_os_is_wsl(void)
{
    FILE *stream = dw_os_open_stream("/proc/sys/kernel/osrelease");
    char line[128] = "";
    if (stream != NULL) {
        (void)fgets(line, sizeof line, stream);
        (void)fclose(stream);
    }
    return strstr(line, "microsoft") != NULL || strstr(line, "WSL") != NULL;
}

/* The lowest-numbered hardware thread of the core that `cpu` belongs to; `cpu` if unknown. */
static size_t first_sibling(size_t cpu)
{
    char path[96];
    (void)snprintf(path, sizeof path,
                   "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    FILE *stream = dw_os_open_stream(path);
    if (stream == NULL) {
        return cpu;
    }
    size_t first = cpu;
    if (fscanf(stream, "%zu", &first) != 1) {
        first = cpu;
    }
    (void)fclose(stream);
    return first;
}

int dw_os_core_count(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        return online > 0 ? (int)online : 1;
    }
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            size_t core = first_sibling(cpu);
            CPU_SET(core < CPU_SETSIZE ? core : cpu, &cores);
        }
    }
    int count = CPU_COUNT(&cores);
    return count > 0 ? count : 1;
}

bool dw_os_prefault(const void *address, size_t bytes)
{
#ifdef MADV_POPULATE_READ
    return madvise((void *)(uintptr_t)address, bytes, MADV_POPULATE_READ) == 0;
#else
    (void)address;
    (void)bytes;
    return false;
#endif
}

#define PAGEMAP_ENTRIES 512
/* proc_pid_pagemap(5) */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_OF_FILE (UINT64_C(1) << 61)

dw_status dw_os_private_pages(const void *address, size_t bytes, unsigned char *flags,
                              dw_error *err)
{
    int fd = dw_os_open("/proc/self/pagemap", O_RDONLY, 0);
    if (fd < 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "/proc/self/pagemap: %s", strerror(errno));
    }
    uint64_t entries[PAGEMAP_ENTRIES];
    size_t first = (uintptr_t)address / dw_os_page_bytes();
    size_t count = bytes / dw_os_page_bytes();
    dw_status status = DW_OK;
    for (size_t done = 0; done < count && status == DW_OK;) {
        size_t some = count - done < PAGEMAP_ENTRIES ? count - done : PAGEMAP_ENTRIES;
        status = dw_os_read_at(fd, (first + done) * sizeof entries[0], entries,
                               some * sizeof entries[0], err);
        for (size_t i = 0; status == DW_OK && i < some; i++) {
            bool anonymous =
                (entries[i] & PAGEMAP_PRESENT) != 0 && (entries[i] & PAGEMAP_OF_FILE) == 0;
            flags[done + i] = anonymous || (entries[i] & PAGEMAP_SWAPPED) != 0;
        }
        done += some;
    }
    dw_os_close(fd);
    return status;
}

void dw_os_small_pages(void *address, size_t bytes)
{
    (void)madvise(address, bytes, MADV_NOHUGEPAGE);
}

#define HUGE_BYTES_MAX ((size_t)4 << 20) /* larger ones, of systems with large pages, waste much */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; before, the system refuses it */
#endif

size_t dw_os_huge_page_bytes(void)
{
    static size_t cached; /* and 1; every writer stores the same value */
    size_t bytes = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (bytes == 0) {
        unsigned long long said = 0;
        FILE *file = dw_os_open_stream("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
        if (file != NULL && fscanf(file, "%llu", &said) != 1) {
            said = 0;
        }
        if (file != NULL) {
            (void)fclose(file);
        }
        bytes = said <= HUGE_BYTES_MAX && (said & (said - 1)) == 0 ? (size_t)said : 0;
        __atomic_store_n(&cached, bytes + 1, __ATOMIC_RELAXED);
        return bytes;
    }
    return bytes - 1;
}

/* Whatever the settings of transparent huge pages are, which do not give them to memory files
 * unasked on most systems. */
void dw_os_huge_pages(void *address, size_t bytes)
{
    (void)madvise(address, bytes, MADV_COLLAPSE);
}

void dw_os_discard(void *address, size_t bytes)
{
    DW_ASSERT(madvise(address, bytes, MADV_DONTNEED) == 0);
}

void dw_os_yield_cores(void)
{
    (void)setpriority(PRIO_PROCESS, 0, 19); /* of this thread only, see setpriority(2) */
}

void dw_os_file_name(int fd, char *name, size_t capacity)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, name, capacity - 1);
    if (length > 0) {
        name[length] = '\0';
    } else {
        (void)snprintf(name, capacity, "a mapped file");
    }
}

/* ---- clocks -------------------------------------------------------------------------------- */

dw_os_thread_clock dw_os_thread_clock_of_this(void)
{
    clockid_t id;
    DW_ASSERT(pthread_getcpuclockid(pthread_self(), &id) == 0);
    return (dw_os_thread_clock){.id = (uint64_t)(int64_t)id};
}

uint64_t dw_os_thread_clock_ns(dw_os_thread_clock clock)
{
    struct timespec now;
    DW_ASSERT(clock_gettime((clockid_t)(int64_t)clock.id, &now) == 0);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

int dw_os_poll(struct pollfd *fds, unsigned count, uint64_t until_ns)
{
    uint64_t now = until_ns != UINT64_MAX ? dw_os_clock_ns() : 0;
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(left / UINT64_C(1000000000)),
                            .tv_nsec = (long)(left % UINT64_C(1000000000))};
    return ppoll(fds, count, until_ns != UINT64_MAX ? &wait : NULL, NULL);
}

void dw_os_cond_init(pthread_cond_t *condition)
{
    pthread_condattr_t how;
    DW_ASSERT(pthread_condattr_init(&how) == 0);
    DW_ASSERT(pthread_condattr_setclock(&how, CLOCK_MONOTONIC) == 0);
    DW_ASSERT(pthread_cond_init(condition, &how) == 0);
    (void)pthread_condattr_destroy(&how);
}

bool dw_os_cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / UINT64_C(1000000000)),
                             .tv_nsec = (long)(until_ns % UINT64_C(1000000000))};
    return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}

bool dw_os_peer_is_own_user(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

static size_t number_in(const char *path)
{
    unsigned long long bytes = 0;
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fscanf(file, "%llu", &bytes) == 1; /* "max": none */
    if (file != NULL) {
        (void)fclose(file);
    }
    return read && bytes > 0 && bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

/* A container sees its own group as the root of the tree, of version 2 or 1. */
size_t dw_os_granted_bytes(void)
{
    size_t second = number_in("/sys/fs/cgroup/memory.max");
    return second != SIZE_MAX ? second : number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
}
