#include "memory/file_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/os.h"

#define GUARDS_A_BLOCK 1024u
#define BLOCKS_MAX 1024u
#define NAME_BYTES 256

/* Written under the lock, read by the handler: `version` is odd while the others change. */
struct dw_file_guard {
    _Atomic uint32_t version;
    _Atomic uintptr_t base;
    _Atomic uintptr_t end; /* 0: unused */
    _Atomic int fd;        /* -1: none */
    _Atomic bool broken;
};

/* Blocks come when they are needed and stay: the handler may be looking. */
static _Atomic(dw_file_guard *) blocks[BLOCKS_MAX];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool installed;
static struct sigaction before;
static size_t page_bytes;

/* ---- the handler: async-signal-safe, but for mmap, which is one system call everywhere ---- */

typedef struct range {
    uintptr_t base;
    uintptr_t end;
    int fd;
} range;

/* A consistent copy; false: it is unused. */
static bool read_guard(const dw_file_guard *guard, range *to)
{
    for (;;) {
        uint32_t version = atomic_load(&guard->version);
        *to = (range){.base = atomic_load(&guard->base),
                      .end = atomic_load(&guard->end),
                      .fd = atomic_load(&guard->fd)};
        if (version % 2 == 0 && atomic_load(&guard->version) == version) {
            return to->end != 0;
        }
        /* Its range is not the faulting one, which is in use: skip what is being changed. */
        if (version % 2 != 0) {
            return false;
        }
    }
}

static dw_file_guard *find_guard(uintptr_t address, range *found)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        dw_file_guard *block = atomic_load(&blocks[i]);
        if (block == NULL) {
            return NULL;
        }
        for (size_t k = 0; k < GUARDS_A_BLOCK; k++) {
            if (read_guard(&block[k], found) && address >= found->base && address < found->end) {
                return &block[k];
            }
        }
    }
    return NULL;
}

static bool put_zeros(uintptr_t address)
{
    range r;
    struct stat info;
    dw_file_guard *guard = find_guard(address, &r);
    if (guard == NULL) {
        return false;
    }
    uintptr_t start = address & ~(uintptr_t)(page_bytes - 1);
    uintptr_t end = start + page_bytes;
    if (r.fd >= 0 && fstat(r.fd, &info) == 0 && info.st_size >= 0) {
        uintptr_t left = ((uintptr_t)info.st_size + page_bytes - 1) & ~(uintptr_t)(page_bytes - 1);
        if (left <= start - r.base) { /* else the page is there, and cannot be read */
            start = r.base + left;
            end = (r.end + page_bytes - 1) & ~(uintptr_t)(page_bytes - 1);
        }
    }
    int protection = r.fd >= 0 ? PROT_READ : PROT_READ | PROT_WRITE;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): the fault's address */
    void *mapped = mmap((void *)start, end - start, protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (mapped == MAP_FAILED) {
        return false;
    }
    atomic_store(&guard->broken, true);
    return true;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
        /* Back to what the system does, which the same access meets again. */
        (void)sigaction(number, &before, NULL);
    } else {
        before.sa_handler(number);
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool fault = info != NULL && info->si_code > 0; /* not sent by a process */
    if (!fault || !put_zeros((uintptr_t)info->si_addr)) {
        pass_on(number, info, context);
    }
    errno = saved;
}

dw_status dw_file_guards_install(dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&table_lock);
    if (!atomic_load(&installed)) {
        struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
        action.sa_sigaction = on_sigbus;
        (void)sigemptyset(&action.sa_mask);
        page_bytes = dw_os_page_bytes();
        if (sigaction(SIGBUS, NULL, &before) != 0 || sigaction(SIGBUS, &action, NULL) != 0) {
            status = dw_fail(err, DW_E_IO, "a handler for SIGBUS: %s", strerror(errno));
        } else {
            atomic_store(&installed, true);
        }
    }
    (void)pthread_mutex_unlock(&table_lock);
    return status;
}

/* ---- the table ----------------------------------------------------------------------------- */

static void set_guard(dw_file_guard *guard, uintptr_t base, uintptr_t end, int fd)
{
    atomic_fetch_add(&guard->version, 1);
    atomic_store(&guard->base, base);
    atomic_store(&guard->end, end);
    atomic_store(&guard->fd, fd);
    atomic_store(&guard->broken, false);
    atomic_fetch_add(&guard->version, 1);
}

/* Under the lock. NULL: none is free. */
static dw_file_guard *free_guard(void)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        dw_file_guard *block = atomic_load(&blocks[i]);
        if (block == NULL) {
            size_t bytes = (GUARDS_A_BLOCK * sizeof *block + page_bytes - 1) & ~(page_bytes - 1);
            void *made = NULL;
            if (dw_os_reserve(&made, bytes, NULL) != DW_OK ||
                dw_os_commit(made, bytes, NULL) != DW_OK) {
                dw_os_unreserve(made, bytes);
                return NULL;
            }
            block = made;
            atomic_store(&blocks[i], block);
        }
        for (size_t k = 0; k < GUARDS_A_BLOCK; k++) {
            if (atomic_load(&block[k].end) == 0) {
                return &block[k];
            }
        }
    }
    return NULL;
}

dw_file_guard *dw_file_guard_add(const void *address, size_t bytes, int fd)
{
    if (!atomic_load(&installed) || bytes == 0) {
        return NULL;
    }
    (void)pthread_mutex_lock(&table_lock);
    dw_file_guard *guard = free_guard();
    if (guard != NULL) {
        set_guard(guard, (uintptr_t)address, (uintptr_t)address + bytes, fd);
    }
    (void)pthread_mutex_unlock(&table_lock);
    return guard;
}

void dw_file_guard_remove(dw_file_guard *guard)
{
    if (guard != NULL) {
        (void)pthread_mutex_lock(&table_lock);
        set_guard(guard, 0, 0, -1);
        (void)pthread_mutex_unlock(&table_lock);
    }
}

bool dw_file_guard_is_broken(const dw_file_guard *guard)
{
    return guard != NULL && atomic_load(&guard->broken);
}

dw_status dw_file_check(int fd, const char *name, uint64_t bytes, bool broken, dw_error *err)
{
    uint64_t now;
    char found[NAME_BYTES];
    dw_status status = dw_os_file_bytes(fd, &now, err);
    if (status != DW_OK || (now >= bytes && !broken)) {
        return status;
    }
    if (name == NULL) {
        dw_os_file_name(fd, found, sizeof found);
        name = found;
    }
    return now < bytes
               ? dw_fail(err, DW_E_IO,
                         "%.120s was truncated while it was in use: it has %llu bytes, %llu "
                         "are needed",
                         name, (unsigned long long)now, (unsigned long long)bytes)
               : dw_fail(err, DW_E_IO,
                         "%.120s was in use and could not be read: it was truncated and "
                         "written again, or its disk fails",
                         name);
}
