/* The standard streams of guests, read and written by our own functions in the place of Wasmtime's,
 * which block the thread for as long as a pipe is empty or full: here such a wait ends with the
 * guest's time, and under a scheduler others run meanwhile. Files are Wasmtime's, in pieces. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "wasm/wasi_internal.h"

/* Read or written of a file in one call: guests go on with the rest. */
#define FILE_PIECE_BYTES ((uint32_t)4 << 20)
/* A callback, or a descriptor that does not block. */
#define STREAM_PIECE_BYTES ((size_t)64 << 10)
/* A terminal takes at least so much once it takes anything. */
#define TERMINAL_PIECE_BYTES ((size_t)256)
/* How long a callback that cannot take anything now is left alone: at first, and at most. */
#define CALLBACK_WAIT_NS UINT64_C(200000)
#define CALLBACK_WAIT_NS_MAX UINT64_C(10000000)

typedef struct wasi_iovec {
    uint32_t pointer;
    uint32_t bytes;
} wasi_iovec;

int dw__wasi_stream_of(const dw_instance *instance, uint32_t fd)
{
    for (int i = 0; i < 3; i++) {
        if (instance->streams[i] >= 0 && (uint32_t)instance->streams[i] == fd) {
            return i;
        }
    }
    return -1;
}

static dw_write_fn callback_of(const dw_instance *instance, int stream)
{
    return stream == STDOUT_FILENO ? instance->on_stdout : instance->on_stderr;
}

uint32_t dw__wasi_stream_events(const dw_instance *instance, int stream)
{
    if (stream == STDIN_FILENO) {
        return instance->reads_input ? DW_WAIT_INPUT : 0;
    }
    uint32_t events = stream == STDOUT_FILENO ? DW_WAIT_OUTPUT : DW_WAIT_ERROR;
    return callback_of(instance, stream) != NULL || instance->stream_failed[stream] ? 0 : events;
}

wasm_trap_t *dw__wasi_left(dw_instance *instance, wasmtime_val_raw_t *values)
{
    values[0].i32 = DW__WASI_INTR;
    return dw_instance_end_call(instance);
}

static int32_t wasi_error_of(int reason)
{
    static const struct {
        int reason;
        int32_t error;
    } known[] = {
        {EACCES, DW__WASI_ACCES}, {EBADF, DW__WASI_BADF},   {EDQUOT, DW__WASI_DQUOT},
        {EFBIG, DW__WASI_FBIG},   {EINTR, DW__WASI_INTR},   {EINVAL, DW__WASI_INVAL},
        {ENOMEM, DW__WASI_NOMEM}, {ENOSPC, DW__WASI_NOSPC}, {EPERM, DW__WASI_PERM},
        {EPIPE, DW__WASI_PIPE},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].reason == reason) {
            return known[i].error;
        }
    }
    return DW__WASI_IO;
}

/* A call of fd_read or fd_write. */
typedef struct stream_call {
    dw_instance *instance;
    int stream;
    unsigned char *bytes; /* [count], of the first buffer that holds any */
    size_t count;
    uint32_t *moved; /* where the guest is told how many were */
} stream_call;

/* The first of a guest's buffers that is not empty, which is what Wasmtime takes. NULL: none, or
 * what the guest gave is no list of buffers: `good` tells which. */
static wasi_iovec *first_buffer(dw_instance *instance, uint32_t list, uint32_t count, bool *good)
{
    void *place = NULL;
    *good = dw_instance_range(instance, "iovs", list, count, sizeof(wasi_iovec), sizeof(uint32_t),
                              &place, NULL) == DW_OK;
    wasi_iovec *buffers = place;
    for (uint32_t i = 0; *good && i < count; i++) {
        if (buffers[i].bytes > 0) {
            return &buffers[i];
        }
    }
    return NULL;
}

/* fd, iovs, count, where the number goes. False: Wasmtime is to say what is wrong with them. */
static bool read_call(stream_call *call, dw_instance *instance, int stream,
                      const wasmtime_val_raw_t *values)
{
    bool good = false;
    void *bytes = NULL;
    void *moved = NULL;
    const wasi_iovec *buffer =
        first_buffer(instance, (uint32_t)values[1].i32, (uint32_t)values[2].i32, &good);
    uint32_t pointer = buffer != NULL ? buffer->pointer : 0;
    *call = (stream_call){
        .instance = instance, .stream = stream, .count = buffer != NULL ? buffer->bytes : 0};
    good =
        good &&
        dw_instance_range(instance, "bytes", pointer, call->count, 1, 1, &bytes, NULL) == DW_OK &&
        dw_instance_range(instance, "size", (uint32_t)values[3].i32, 1, sizeof(uint32_t),
                          sizeof(uint32_t), &moved, NULL) == DW_OK;
    call->bytes = bytes;
    call->moved = moved;
    return good;
}

/* ---- files --------------------------------------------------------------------------------- */

/* Wasmtime's function for a file, a piece at a time: the guest's own list says how much, so it says
 * so while the call lasts. */
static wasm_trap_t *file_piece(dw_instance *instance, dw__wasi_function which,
                               wasmtime_val_raw_t *values)
{
    bool good = false;
    wasi_iovec *buffer =
        first_buffer(instance, (uint32_t)values[1].i32, (uint32_t)values[2].i32, &good);
    uint32_t whole = buffer != NULL ? buffer->bytes : 0;
    if (dw_stop_ends(&instance->stop)) {
        return dw__wasi_left(instance, values);
    }
    if (whole <= FILE_PIECE_BYTES) {
        return dw__wasi_through(instance, which, values);
    }
    buffer->bytes = FILE_PIECE_BYTES;
    wasm_trap_t *trap = dw__wasi_through(instance, which, values);
    buffer->bytes = whole;
    return trap;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Standard input if it is still ready: another thread's guest may have taken what there was.
 * False: it was not. */
static bool read_ready(const stream_call *call, wasmtime_val_raw_t *values)
{
    dw_wasm_host *host = call->instance->host;
    ssize_t got = -1;
    (void)pthread_mutex_lock(&host->stream_lock);
    bool ready = dw_wait_poll(DW_WAIT_INPUT, 0, NULL) != 0;
    if (ready) {
        size_t count = call->count < STREAM_PIECE_BYTES ? call->count : STREAM_PIECE_BYTES;
        got = read(STDIN_FILENO, call->bytes, count);
    }
    int reason = errno;
    (void)pthread_mutex_unlock(&host->stream_lock);
    if (!ready || (got < 0 && (reason == EAGAIN || reason == EINTR))) {
        return false;
    }
    *call->moved = got > 0 ? (uint32_t)got : 0;
    values[0].i32 = got >= 0 ? DW__WASI_SUCCESS : wasi_error_of(reason);
    return true;
}

/* fd, iovs, count, size */
static wasm_trap_t *fd_read(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                            size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    stream_call call;
    (void)env;
    (void)count;
    int stream = dw__wasi_stream_of(instance, (uint32_t)values[0].i32);
    if (stream != STDIN_FILENO || !instance->reads_input ||
        !read_call(&call, instance, stream, values)) {
        return file_piece(instance, DW__WASI_FD_READ, values);
    }
    if (call.count == 0) {
        *call.moved = 0;
        values[0].i32 = DW__WASI_SUCCESS;
        return NULL;
    }
    do {
        dw_wait wait = {.wanted = DW_WAIT_INPUT, .until_ns = UINT64_MAX};
        if (!dw_instance_wait(instance, &wait)) {
            return dw__wasi_left(instance, values);
        }
    } while (!read_ready(&call, values));
    return NULL;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* How many bytes a descriptor that takes some can be given without the call's waiting. */
static size_t piece_for(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || S_ISFIFO(info.st_mode)) {
        return PIPE_BUF;
    }
    return S_ISREG(info.st_mode) ? STREAM_PIECE_BYTES : TERMINAL_PIECE_BYTES;
}

/* To the process's own stream, if it still takes some: other guests wait for it as well. -1: errno,
 * EAGAIN where it does not. Under the lock. */
static ssize_t write_some(const stream_call *call)
{
    int fd = call->stream;
    if (dw_wait_poll(dw__wasi_stream_events(call->instance, fd), 0, NULL) == 0) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t sent = send(fd, call->bytes, call->count, MSG_DONTWAIT);
    if (sent >= 0 || errno != ENOTSOCK) {
        return sent;
    }
    size_t piece = piece_for(fd);
    return write(fd, call->bytes, call->count < piece ? call->count : piece);
}

/* To the process's own stream: how many bytes it took, or minus an errno, which is EINTR where the
 * guest was asked to stop before. */
static ptrdiff_t write_stream(const stream_call *call)
{
    for (;;) {
        dw_wait wait = {.wanted = dw__wasi_stream_events(call->instance, call->stream),
                        .until_ns = UINT64_MAX};
        if (!dw_instance_wait(call->instance, &wait)) {
            return -EINTR;
        }
        (void)pthread_mutex_lock(&call->instance->host->stream_lock);
        ssize_t taken = write_some(call);
        int reason = errno;
        (void)pthread_mutex_unlock(&call->instance->host->stream_lock);
        if (taken >= 0 || (reason != EAGAIN && reason != EWOULDBLOCK && reason != EINTR)) {
            return taken >= 0 ? (ptrdiff_t)taken : -(ptrdiff_t)reason;
        }
    }
}

ptrdiff_t dw_instance_put(dw_instance *instance, dw_write_fn to, void *user,
                          const unsigned char *bytes, size_t count)
{
    uint64_t pause_ns = CALLBACK_WAIT_NS;
    size_t piece = count < STREAM_PIECE_BYTES ? count : STREAM_PIECE_BYTES;
    ptrdiff_t taken = to(user, bytes, piece);
    while (taken == -EAGAIN) {
        dw_wait wait = {.until_ns = dw_os_clock_ns() + pause_ns};
        if (!dw_instance_wait(instance, &wait)) {
            return -EINTR;
        }
        pause_ns = pause_ns * 2 < CALLBACK_WAIT_NS_MAX ? pause_ns * 2 : CALLBACK_WAIT_NS_MAX;
        taken = to(user, bytes, piece);
    }
    return taken > (ptrdiff_t)piece ? (ptrdiff_t)piece : taken;
}

/* To whoever takes the guest's stream, who may take a byte at a time of what may be the guest's
 * whole memory. `*left`: the guest was asked to stop before; else -errno is remembered, so that a
 * stream that has failed stays so. */
static ptrdiff_t write_part(const stream_call *call, bool *left)
{
    dw_instance *instance = call->instance;
    dw_write_fn to = callback_of(instance, call->stream);
    dw_stop_pause(&instance->stop);
    *left = dw_stop_ends(&instance->stop);
    if (*left) {
        return -EINTR;
    }
    ptrdiff_t taken = to != NULL
                          ? dw_instance_put(instance, to, instance->user, call->bytes, call->count)
                          : write_stream(call);
    *left = taken == -EINTR && (to == NULL || dw_instance_cancelled(instance));
    if (taken < 0 && !*left) {
        instance->stream_failed[call->stream] = true;
    }
    return taken;
}

/* The same, all of it: how much a reader takes at once is no guest's to know whose time is its
 * own. */
static ptrdiff_t write_all(stream_call call, bool *left)
{
    const size_t whole = call.count;
    *left = false;
    while (call.count > 0) {
        ptrdiff_t taken = write_part(&call, left);
        if (taken < 0) {
            return taken;
        }
        call.bytes += taken;
        call.count -= (size_t)taken;
        if (taken == 0) { /* who reads breaks a promise: the guest goes on, and can be stopped */
            break;
        }
    }
    return (ptrdiff_t)(whole - call.count);
}

dw_status dw_instance_write(dw_instance *instance, int stream, const void *bytes, size_t count,
                            dw_error *err)
{
    DW_ASSERT(stream == STDOUT_FILENO || stream == STDERR_FILENO);
    stream_call call = {.instance = instance,
                        .stream = stream,
                        .bytes = (unsigned char *)(uintptr_t)bytes,
                        .count = count};
    while (call.count > 0 && !instance->stream_failed[stream]) {
        bool left;
        ptrdiff_t taken = write_part(&call, &left);
        if (left) {
            return dw_fail(err, DW_E_CANCELLED, "cancelled");
        }
        call.bytes += taken > 0 ? taken : 0;
        call.count -= taken > 0 ? (size_t)taken : 0;
    }
    return call.count == 0 ? DW_OK
                           : dw_fail(err, DW_E_IO, "standard %s takes nothing more",
                                     stream == STDOUT_FILENO ? "output" : "error");
}

/* fd, iovs, count, size */
static wasm_trap_t *fd_write(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    stream_call call;
    (void)env;
    (void)count;
    int stream = dw__wasi_stream_of(instance, (uint32_t)values[0].i32);
    if (stream <= STDIN_FILENO || !read_call(&call, instance, stream, values)) {
        return file_piece(instance, DW__WASI_FD_WRITE, values);
    }
    if (instance->stream_failed[stream]) {
        values[0].i32 = DW__WASI_IO;
        return NULL;
    }
    if (call.count == 0) {
        *call.moved = 0;
        values[0].i32 = DW__WASI_SUCCESS;
        return NULL;
    }
    bool left;
    ptrdiff_t taken =
        instance->repeatable.own_clock ? write_all(call, &left) : write_part(&call, &left);
    if (left) {
        return dw__wasi_left(instance, values);
    }
    *call.moved = taken >= 0 ? (uint32_t)taken : *call.moved;
    values[0].i32 =
        taken >= 0 ? DW__WASI_SUCCESS : wasi_error_of(taken > INT_MIN ? (int)-taken : EIO);
    return NULL;
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* fd, iovs, count, offset, size: what is no file is refused there. */
static wasm_trap_t *fd_pread(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count)
{
    (void)env;
    (void)count;
    return file_piece(dw__wasi_caller(caller), DW__WASI_FD_PREAD, values);
}

static wasm_trap_t *fd_pwrite(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t count)
{
    (void)env;
    (void)count;
    return file_piece(dw__wasi_caller(caller), DW__WASI_FD_PWRITE, values);
}

/* A descriptor of the process each, of which other guests need some as well. `values`: those of
 * path_open. */
static wasm_trap_t *path_open(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    const uint64_t limit = instance->limits.files;
    (void)env;
    (void)count;
    if (instance->files >= limit) {
        (void)dw_fail(dw_instance_error(instance), DW_E_LIMIT,
                      "files: %u are open, limit %llu (files)", instance->files,
                      (unsigned long long)limit);
        values[0].i32 = DW__WASI_MFILE;
        return NULL;
    }
    if (!dw__wasi_may_open(instance, values)) {
        values[0].i32 = DW__WASI_ACCES;
        return NULL;
    }
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_PATH_OPEN, values);
    bool opened = trap == NULL && values[0].i32 == DW__WASI_SUCCESS;
    instance->files += opened;
    instance->files_changed = instance->files_changed || opened;
    return trap;
}

/* A folder that was granted may be closed as well, and makes room for another. */
static void count_closed(dw_instance *instance)
{
    instance->files -= instance->files > 0;
}

static wasm_trap_t *fd_close(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    (void)env;
    (void)count;
    int stream = dw__wasi_stream_of(instance, (uint32_t)values[0].i32);
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_FD_CLOSE, values);
    if (trap != NULL || values[0].i32 != DW__WASI_SUCCESS) {
        return trap;
    }
    instance->files_changed = true;
    if (stream >= 0) {
        instance->streams[stream] = -1;
    } else {
        count_closed(instance);
    }
    return NULL;
}

/* from, to */
static wasm_trap_t *fd_renumber(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                                size_t count)
{
    dw_instance *instance = dw__wasi_caller(caller);
    (void)env;
    (void)count;
    int32_t to = values[1].i32;
    bool same = values[0].i32 == to;
    int from = dw__wasi_stream_of(instance, (uint32_t)values[0].i32);
    int over = dw__wasi_stream_of(instance, (uint32_t)to);
    wasm_trap_t *trap = dw__wasi_through(instance, DW__WASI_FD_RENUMBER, values);
    if (trap != NULL || values[0].i32 != DW__WASI_SUCCESS || same) {
        return trap;
    }
    instance->files_changed = true;
    if (over >= 0) {
        instance->streams[over] = -1;
    } else {
        count_closed(instance); /* the one that had the number */
    }
    if (from >= 0) {
        instance->streams[from] = to;
    }
    return NULL;
}

dw_status dw__wasi_streams_define(dw_wasm_host *host, dw_error *err)
{
    static const struct {
        dw__wasi_function which;
        wasmtime_func_unchecked_callback_t call;
    } ours[] = {
        {DW__WASI_FD_READ, fd_read},     {DW__WASI_FD_PREAD, fd_pread},
        {DW__WASI_FD_WRITE, fd_write},   {DW__WASI_FD_PWRITE, fd_pwrite},
        {DW__WASI_FD_CLOSE, fd_close},   {DW__WASI_FD_RENUMBER, fd_renumber},
        {DW__WASI_PATH_OPEN, path_open},
    };
    dw_status status = DW_OK;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0] && status == DW_OK; i++) {
        status = dw__wasi_replace(host, ours[i].which, ours[i].call, err);
    }
    return status;
}
