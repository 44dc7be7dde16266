/* What Driftwood asks of the operating system, in one place: os_posix.c, os_linux.c and
 * os_darwin.c hold the differences. Sizes in bytes. Thread: any. Errors carry errno's text. */
#ifndef DW_BASE_OS_H
#define DW_BASE_OS_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "base/status.h"

/* The system's page: 4, 16 or 64 KiB. Cached after the first call. */
size_t dw_os_page_bytes(void);

/* Reserve address space that faults when touched. `bytes` is a multiple of the page. */
dw_status dw_os_reserve(void **out, size_t bytes, dw_error *err);
/* The same from a multiple of `align` on, which is a power of two and at least a page. */
dw_status dw_os_reserve_aligned(void **out, size_t bytes, size_t align, dw_error *err);
/* Make [address, address + bytes) of a reservation readable, writable and zero. */
dw_status dw_os_commit(void *address, size_t bytes, dw_error *err);
/* The same, backed by `fd` from `offset` on, shared with every other mapping of it. */
dw_status dw_os_commit_shared(void *address, size_t bytes, int fd, uint64_t offset, dw_error *err);
/* Put a private copy-on-write view of a file over committed pages. */
dw_status dw_os_map_private(void *address, size_t bytes, int fd, uint64_t offset, dw_error *err);
/* Whether each page of [address, address + bytes), a private mapping, has a copy of its own:
 * written since it was mapped. One byte a page, 0 or 1; some that were not written may be 1.
 * `address` and `bytes` are multiples of the page. Errors: DW_E_UNSUPPORTED (the system does not
 * tell), DW_E_IO. */
dw_status dw_os_private_pages(const void *address, size_t bytes, unsigned char *flags,
                              dw_error *err);
/* Give the pages back and make them fault again; the address space stays reserved. */
dw_status dw_os_decommit(void *address, size_t bytes, dw_error *err);
void dw_os_unreserve(void *address, size_t bytes);

/* A whole file, read-only and shared. An empty file gives *out NULL and *bytes 0.
 * `*fd` stays open for the caller to close with dw_os_close.
 * Errors: DW_E_NOT_FOUND, DW_E_IO (also for a folder, a pipe or a device). */
dw_status dw_os_map_file(const char *path, void **out, size_t *bytes, int *fd, dw_error *err);
void dw_os_unmap(void *address, size_t bytes);
/* A name [capacity] for the file at `path` that stays valid when it is renamed or removed, while
 * `*fd` is open, which is the caller's to close. Errors: DW_E_IO, DW_E_UNSUPPORTED (the system has
 * no such names here). */
dw_status dw_os_lasting_name(const char *path, int *fd, char *name, size_t capacity, dw_error *err);
/* Map a part of such a file's pages now, all at once, which is cheaper than at the first touch of
 * each. `address` is a multiple of the page. Waits for the disk; true: they are there. */
bool dw_os_prefault(const void *address, size_t bytes);

/* open(2), closed in programs that this one starts, and never as 0, 1 or 2: what the standard
 * descriptors of a program that has closed them are taken for must not be a file of ours. `mode` is
 * for O_CREAT. -1: errno. All that the library opens goes through here. */
int dw_os_open(const char *path, int flags, unsigned mode);
/* The same by a name in an open folder. */
int dw_os_open_at(int folder, const char *name, int flags, unsigned mode);
/* The same for reading, as a stream; NULL: errno. */
FILE *dw_os_open_stream(const char *path);
/* A descriptor that the system gave, moved if it is one of those three. -1 stays -1. */
int dw_os_clear_of_standard(int fd);
bool dw_os_is_open(int fd);

/* A memory file without a name, `bytes` long. */
dw_status dw_os_memfd(int *fd, const char *label, uint64_t bytes, dw_error *err);
dw_status dw_os_memfd_resize(int fd, uint64_t bytes, dw_error *err);
/* Write into one, within its length: its pages need no mapping for that, nor are they cleared
 * first. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_os_memfd_write(int fd, uint64_t offset, const void *from, size_t bytes, dw_error *err);
void dw_os_close(int fd);
/* The first range of a memory file's [offset, end) that holds pages: what lies before it is a hole
 * and reads as zero. Where the system does not tell, all of it; false: nothing but a hole. Moves
 * the descriptor's position. */
bool dw_os_next_data(int fd, uint64_t offset, uint64_t end, uint64_t *data, uint64_t *data_end);
/* Another descriptor for the same file, the caller's to close. Errors: DW_E_IO, DW_E_MEMORY (there
 * are too many). */
dw_status dw_os_duplicate(int *out, int fd, dw_error *err);
/* How long a file is. Errors: DW_E_IO. */
dw_status dw_os_file_bytes(int fd, uint64_t *bytes, dw_error *err);
/* Which file it is, and whether it is as it was: a write moves the times. */
typedef struct dw_file_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t bytes;
    int64_t changed_ns;   /* its content: mtime, since 1970 */
    int64_t described_ns; /* its content, name or rights: ctime, which programs cannot set */
} dw_file_identity;

/* Errors: DW_E_IO. */
dw_status dw_os_identify(int fd, dw_file_identity *identity, dw_error *err);
/* A path of the file behind a descriptor, for messages; without one, what else is known of it. */
void dw_os_file_name(int fd, char *name, size_t capacity);
/* Write exactly `bytes` at `offset`. Errors: DW_E_IO. */
dw_status dw_os_write_at(int fd, uint64_t offset, const void *from, size_t bytes, dw_error *err);
/* Read exactly file bytes [offset, offset + bytes). Errors: DW_E_IO (also where the file ends). */
dw_status dw_os_read_at(int fd, uint64_t offset, void *to, size_t bytes, dw_error *err);
/* A touch of committed pages there is to take one page, not a huge one. A hint. */
void dw_os_small_pages(void *address, size_t bytes);
/* What a huge page has, which the processor finds by one entry of its tables; 0: there are none
 * that dw_os_huge_pages could make. */
size_t dw_os_huge_page_bytes(void);
/* Have [address, address + bytes), a shared mapping of a memory file, lie in huge pages from here
 * on. Address, length and place in the file are multiples of one, and each holds at least a byte
 * that was written. What is there stays; what is not is zero, and is there then. A hint, which
 * takes a tenth of a millisecond a page, or one where it is full. */
void dw_os_huge_pages(void *address, size_t bytes);
/* Give committed private pages back; they read as zero afterwards, and stay committed. */
void dw_os_discard(void *address, size_t bytes);

/* Make the folder at `path`, for its owner only, and those above it that are missing; one that is
 * there stays as it is. Errors: DW_E_IO. */
dw_status dw_os_make_folder(const char *path, dw_error *err);
/* Put a file of `bytes` at `path`, whole or not at all: it is written beside it, as `temporary`
 * says, and renamed. Errors: DW_E_IO. */
dw_status dw_os_replace_file(const char *path, const char *temporary, const void *from,
                             size_t bytes, dw_error *err);
/* A small file read whole: `*out` is the caller's, with a NUL behind the `*bytes` read.
 * Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_LIMIT (longer than bytes_max), DW_E_MEMORY. */
dw_status dw_os_read_file(const char *path, size_t bytes_max, char **out, size_t *bytes,
                          dw_error *err);
/* The same from an open stream; `name` is for messages. */
dw_status dw_os_read_stream(FILE *stream, const char *name, size_t bytes_max, char **out,
                            size_t *bytes, dw_error *err);

/* Wait until what was written to a file, or a folder's names, are on the disk. 0, or errno. */
int dw_os_sync(int fd);
/* Let the disk begin with what was written there, without waiting: a hint, so that dw_os_sync has
 * less to wait for. */
void dw_os_begin_sync(int fd, uint64_t offset, uint64_t bytes);

/* The path of this program's own file. Errors: DW_E_NOT_FOUND, DW_E_LIMIT. */
dw_status dw_os_executable_path(char *path, size_t capacity, dw_error *err);

/* The file, a program or a library, that the code or data at `address` came from. Errors:
 * DW_E_NOT_FOUND, DW_E_IO. */
dw_status dw_os_identify_code(const void *address, dw_file_identity *identity, dw_error *err);
#define DW_OS_PROCESSOR_BYTES 256
/* What the processor is and can do, the same on every core and in every process. */
void dw_os_processor(char text[DW_OS_PROCESSOR_BYTES]);
/* Whether a 64-bit ARM has the instructions that compilers call dotprod, and i8mm. */
bool dw_os_has_dot_products(void);
bool dw_os_has_byte_matrices(void);

/* Resident memory of this process now; 0 where the system does not tell. */
size_t dw_os_rss_bytes(void);
/* The machine's memory, or what of it a container may have; SIZE_MAX: it is not known. */
size_t dw_os_memory_bytes(void);
/* The container's; SIZE_MAX: there is no such bound. */
size_t dw_os_granted_bytes(void);
/* Bytes that this process may lock into memory (`ulimit -l`); UINT64_MAX: no limit. */
uint64_t dw_os_locked_limit_bytes(void);
/* Whether this is Linux inside of Windows (WSL), where drivers do less. */
bool dw_os_is_wsl(void);
/* Memory that programs can still have without others losing theirs; 0: the system does not say. */
size_t dw_os_available_bytes(void);
/* Page faults of this process so far. */
uint64_t dw_os_page_faults(void);
/* Monotonic: it does not stand still or go back, whoever sets what. */
uint64_t dw_os_clock_ns(void);
/* A thread's processor time; read by any thread of the process while that one lives. */
typedef struct dw_os_thread_clock {
    uint64_t id; /* the system's name for it */
} dw_os_thread_clock;
dw_os_thread_clock dw_os_thread_clock_of_this(void);
uint64_t dw_os_thread_clock_ns(dw_os_thread_clock clock);
/* poll(2) until the clock says `until_ns`; UINT64_MAX: without an end. It may return a little
 * earlier. */
int dw_os_poll(struct pollfd *fds, unsigned count, uint64_t until_ns);
/* A condition whose waits dw_os_clock_ns bounds. */
void dw_os_cond_init(pthread_cond_t *condition);
/* Wait, holding `lock`, until it is signalled, or the clock says `until_ns`: false. */
bool dw_os_cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until_ns);
/* Listen at `path` as a local socket that its user alone may connect to; neither that nor what
 * connects waits in reads and writes. What is left there of a process that has ended goes. Errors:
 * DW_E_LIMIT (the path is too long), DW_E_STATE (somebody answers there), DW_E_ARG (there is
 * something else), DW_E_IO. */
typedef struct dw_os_local {
    char path[112];
    uint64_t device; /* of the file, as the next */
    uint64_t inode;
} dw_os_local;
dw_status dw_os_listen_local(int *fd, dw_os_local *local, const char *path, dw_error *err);
/* The file goes, if it is still the one. */
void dw_os_unlisten_local(int fd, const dw_os_local *local);
/* Whoever connects next; -1: errno. */
int dw_os_accept_local(int fd);
/* Whether who is connected at the other end of a local socket was this process's user. */
bool dw_os_peer_is_own_user(int fd);
/* Milliseconds since 1970, by a clock that may be set. */
uint64_t dw_os_wall_ms(void);
/* Random bytes [bytes], at most 256, for names that nobody guesses. */
void dw_os_random(void *to, size_t bytes);
/* Let the calling thread run only where others leave a core unused, as far as the system can. */
void dw_os_yield_cores(void);
/* pthread_create, with a stack of 8 MiB whatever the system's usual is (`ulimit -s`, and 128 KiB in
 * some C libraries). 0, or errno. */
int dw_os_start_thread(pthread_t *thread, void *(*work)(void *arg), void *arg);
/* Real cores, not hardware threads, that this process may use; at least 1. */
int dw_os_core_count(void);

#endif
