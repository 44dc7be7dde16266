/* The emulation: an allocation is a memory file, a range is reserved host addresses that the files
 * are mapped over.
 *
 * A device does what was submitted some time later. Here that is as late as possible: when somebody
 * waits. So a test fails where a wait is missing. */
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "device/vram_internal.h"

typedef struct host_vram {
    dw_vram base;
    size_t memory_bytes;
} host_vram;

/* One submitted copy; from NULL: zeros. */
typedef struct pending_copy {
    unsigned char *to;
    const unsigned char *from;
    size_t bytes;
} pending_copy;

#define PENDING_MAX 64u /* one more is a reason to do those there */

typedef struct host_stream {
    dw_vram_stream base;
    pthread_mutex_t lock;
    pending_copy pending[PENDING_MAX]; /* guarded by lock, as the rest: those not done yet */
    uint64_t done;                     /* since it was made */
    uint64_t submitted;
} host_stream;

typedef struct host_event {
    dw_vram_event base;
    pthread_mutex_t lock;
    host_stream *stream; /* guarded by lock, as the mark: NULL, never marked */
    uint64_t mark;
} host_event;

static host_vram *of(dw_vram *vram)
{
    return (host_vram *)vram;
}

static void host_close(dw_vram *vram)
{
    dw_free(vram);
}

static void host_memory(dw_vram *vram, size_t *free_bytes, size_t *total_bytes)
{
    size_t taken = vram->allocation_bytes;
    size_t limit = of(vram)->memory_bytes;
    size_t available = dw_os_available_bytes();
    *total_bytes = limit > 0 ? limit : available + taken;
    *free_bytes = limit == 0 ? available : limit > taken ? limit - taken : 0;
}

/* Where the granularity is more than the page, addresses are its multiples by a margin, which is
 * given back at once. */
static dw_status host_reserve(dw_vram *vram, void **base, size_t bytes, dw_error *err)
{
    size_t unit = vram->granularity_bytes;
    size_t page = dw_os_page_bytes();
    size_t margin = unit - page;
    void *whole = NULL;
    dw_status status = dw_os_reserve(&whole, bytes + margin, err);
    if (status != DW_OK) {
        return status;
    }
    size_t before = (unit - (uintptr_t)whole % unit) % unit;
    unsigned char *start = (unsigned char *)whole + before;
    if (before > 0) {
        dw_os_unreserve(whole, before);
    }
    if (margin > before) {
        dw_os_unreserve(start + bytes, margin - before);
    }
    *base = start;
    return DW_OK;
}

static void host_unreserve(dw_vram *vram, void *base, size_t bytes)
{
    (void)vram;
    dw_os_unreserve(base, bytes);
}

static dw_status host_create(dw_vram *vram, dw_vram_allocation *allocation, size_t bytes,
                             dw_error *err)
{
    int fd = -1;
    size_t limit = of(vram)->memory_bytes;
    size_t taken = vram->allocation_bytes;
    if (limit > 0 && (taken > limit || bytes > limit - taken)) {
        return dw_fail(err, DW_E_MEMORY, "device memory: no %zu bytes beside %zu, limit %zu", bytes,
                       taken, limit);
    }
    dw_status status = dw_os_memfd(&fd, "device memory", bytes, err);
    if (status == DW_OK) {
        *allocation = (dw_vram_allocation){.handle = (uint64_t)fd, .bytes = bytes};
    }
    return status;
}

static void host_release(dw_vram *vram, const dw_vram_allocation *allocation)
{
    (void)vram;
    dw_os_close((int)allocation->handle);
}

static dw_status host_map(dw_vram *vram, void *address, const dw_vram_allocation *allocation,
                          dw_error *err)
{
    (void)vram;
    return dw_os_commit_shared(address, allocation->bytes, (int)allocation->handle, 0, err);
}

static void host_unmap(dw_vram *vram, void *address, size_t bytes)
{
    (void)vram;
    DW_ASSERT(dw_os_decommit(address, bytes, NULL) == DW_OK);
}

static dw_status host_host_create(dw_vram *vram, void **out, size_t bytes, dw_error *err)
{
    (void)vram;
    *out = dw_alloc(1, bytes);
    return *out != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes", bytes);
}

static void host_host_destroy(dw_vram *vram, void *memory, size_t bytes)
{
    (void)vram;
    (void)bytes;
    dw_free(memory);
}

/* ---- streams ---- */

static dw_status host_stream_create(dw_vram_stream **out, dw_vram *vram, dw_error *err)
{
    host_stream *stream = dw_alloc(1, sizeof *stream);
    if (stream == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a stream");
    }
    stream->base.vram = vram;
    DW_ASSERT(pthread_mutex_init(&stream->lock, NULL) == 0);
    *out = &stream->base;
    return DW_OK;
}

/* Do what is left of the first `count`; under the lock. */
static void catch_up(host_stream *stream, uint64_t count)
{
    for (; stream->done < count; stream->done++) {
        const pending_copy *next = &stream->pending[stream->done % PENDING_MAX];
        if (next->from != NULL) {
            memmove(next->to, next->from, next->bytes);
        } else {
            memset(next->to, 0, next->bytes);
        }
    }
}

static void host_stream_destroy(dw_vram_stream *base)
{
    host_stream *stream = (host_stream *)base;
    catch_up(stream, stream->submitted);
    (void)pthread_mutex_destroy(&stream->lock);
    dw_free(stream);
}

static void submit(dw_vram_stream *base, const pending_copy *what)
{
    host_stream *stream = (host_stream *)base;
    (void)pthread_mutex_lock(&stream->lock);
    if (stream->submitted - stream->done == PENDING_MAX) {
        catch_up(stream, stream->submitted);
    }
    stream->pending[stream->submitted++ % PENDING_MAX] = *what;
    (void)pthread_mutex_unlock(&stream->lock);
}

static dw_status host_copy(dw_vram_stream *stream, void *to, const void *from, size_t bytes,
                           dw_error *err)
{
    (void)err;
    submit(stream, &(pending_copy){to, from, bytes});
    return DW_OK;
}

static dw_status host_clear(dw_vram_stream *stream, void *to, size_t bytes, dw_error *err)
{
    (void)err;
    submit(stream, &(pending_copy){to, NULL, bytes});
    return DW_OK;
}

static dw_status host_wait(dw_vram_stream *base, dw_error *err)
{
    host_stream *stream = (host_stream *)base;
    (void)err;
    (void)pthread_mutex_lock(&stream->lock);
    catch_up(stream, stream->submitted);
    (void)pthread_mutex_unlock(&stream->lock);
    return DW_OK;
}

static dw_status host_event_create(dw_vram_event **out, dw_vram *vram, dw_error *err)
{
    host_event *event = dw_alloc(1, sizeof *event);
    if (event == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an event");
    }
    event->base.vram = vram;
    DW_ASSERT(pthread_mutex_init(&event->lock, NULL) == 0);
    *out = &event->base;
    return DW_OK;
}

static void host_event_destroy(dw_vram_event *base)
{
    host_event *event = (host_event *)base;
    (void)pthread_mutex_destroy(&event->lock);
    dw_free(event);
}

static dw_status host_event_mark(dw_vram_event *base, dw_vram_stream *on, dw_error *err)
{
    host_event *event = (host_event *)base;
    host_stream *stream = (host_stream *)on;
    (void)err;
    (void)pthread_mutex_lock(&stream->lock);
    uint64_t mark = stream->submitted;
    (void)pthread_mutex_unlock(&stream->lock);
    (void)pthread_mutex_lock(&event->lock);
    event->stream = stream;
    event->mark = mark;
    (void)pthread_mutex_unlock(&event->lock);
    return DW_OK;
}

static dw_status host_event_wait(dw_vram_event *base, dw_error *err)
{
    host_event *event = (host_event *)base;
    (void)err;
    (void)pthread_mutex_lock(&event->lock);
    host_stream *stream = event->stream;
    uint64_t mark = event->mark;
    (void)pthread_mutex_unlock(&event->lock);
    if (stream != NULL) {
        (void)pthread_mutex_lock(&stream->lock);
        catch_up(stream, mark);
        (void)pthread_mutex_unlock(&stream->lock);
    }
    return DW_OK;
}

static const dw__vram_kind host_kind = {
    .close = host_close,
    .memory = host_memory,
    .reserve = host_reserve,
    .unreserve = host_unreserve,
    .create = host_create,
    .release = host_release,
    .map = host_map,
    .unmap = host_unmap,
    .host_create = host_host_create,
    .host_destroy = host_host_destroy,
    .stream_create = host_stream_create,
    .stream_destroy = host_stream_destroy,
    .copy = host_copy,
    .clear = host_clear,
    .wait = host_wait,
    .event_create = host_event_create,
    .event_destroy = host_event_destroy,
    .event_mark = host_event_mark,
    .event_wait = host_event_wait,
};

dw_status dw__vram_host_open(dw_vram **out, dw_device *device, const dw_vram_emulation *options,
                             dw_error *err)
{
    size_t page = dw_os_page_bytes();
    size_t unit = options->granularity_bytes > 0 ? options->granularity_bytes : page;
    DW_ASSERT(unit % page == 0);
    host_vram *vram = dw_alloc(1, sizeof *vram);
    if (vram == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a device's memory");
    }
    vram->base.kind = &host_kind;
    vram->base.device = device;
    vram->base.granularity_bytes = unit;
    vram->memory_bytes = options->memory_bytes;
    *out = &vram->base;
    return DW_OK;
}
