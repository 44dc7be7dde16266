#include "model/upload.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "device/device_memory.h"
#include "device/upload_ring.h"

/* Reading from the page cache is memcpy, which one core does at a tenth of a bus's speed. */
#define READERS_MAX 8
#define SLOTS_PER_READER 2
#define SLICE_BYTES ((size_t)4 << 20)

/* Bytes [offset, offset + bytes) of a part. */
typedef struct chunk {
    const dw_upload_part *part;
    size_t offset;
    size_t bytes;
} chunk;

typedef struct upload {
    dw_device *device;
    const dw_upload_options *options;
    size_t chunk_bytes;
    chunk *chunks; /* [chunk_count], in the order of the file */
    size_t chunk_count;
    uint64_t total_bytes;
    dw_upload_ring *ring;
    size_t slot_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next;  /* guarded by lock: the chunk that the next reader takes */
    size_t freed; /* guarded by lock: chunks below it are on the device, their slots free */
    bool stop;    /* guarded by lock */
    bool *ready;  /* [slot_count], guarded by lock */
} upload;

static dw_status cut(upload *up, dw_error *err)
{
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        count = 0;
        for (size_t i = 0; i < up->options->part_count; i++) {
            const dw_upload_part *part = &up->options->parts[i];
            for (size_t at = 0; at < part->bytes; at += up->chunk_bytes) {
                size_t left = part->bytes - at;
                if (pass == 1) {
                    up->chunks[count] =
                        (chunk){part, at, left < up->chunk_bytes ? left : up->chunk_bytes};
                    up->total_bytes += up->chunks[count].bytes;
                }
                count++;
            }
        }
        if (pass == 0) {
            up->chunks = dw_alloc(count, sizeof *up->chunks);
            if (up->chunks == NULL) {
                return dw_fail(err, DW_E_MEMORY, "no memory for %zu chunks of weights", count);
            }
        }
    }
    up->chunk_count = count;
    return DW_OK;
}

static dw_status report(const upload *up, uint64_t done, dw_error *err)
{
    const dw_upload_options *options = up->options;
    if (options->on_progress == NULL ||
        options->on_progress(options->user, done, up->total_bytes)) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_CANCELLED, "given up after %llu of %llu bytes of weights",
                   (unsigned long long)done, (unsigned long long)up->total_bytes);
}

/* ---- without a ring ---- */

static dw_status set_all(const upload *up, dw_error *err)
{
    dw_status status = report(up, 0, err);
    uint64_t done = 0;
    for (size_t i = 0; i < up->chunk_count && status == DW_OK; i++) {
        const chunk *one = &up->chunks[i];
        status = dw_device_tensor_set(up->device, one->part->tensor, one->part->from + one->offset,
                                      one->offset, one->bytes, err);
        done += one->bytes;
        if (status == DW_OK) {
            status = report(up, done, err);
        }
    }
    return status;
}

/* ---- with one ---- */

/* The chunk to be read next, when its slot is free; chunk_count: there is none. */
static size_t take_chunk(upload *up)
{
    size_t taken = up->chunk_count;
    (void)pthread_mutex_lock(&up->lock);
    while (!up->stop && up->next < up->chunk_count && up->next >= up->freed + up->slot_count) {
        (void)pthread_cond_wait(&up->changed, &up->lock);
    }
    if (!up->stop && up->next < up->chunk_count) {
        taken = up->next++;
    }
    (void)pthread_mutex_unlock(&up->lock);
    return taken;
}

static void *read_chunks(void *user)
{
    upload *up = user;
    size_t page_mask = dw_os_page_bytes() - 1;
    for (size_t i = take_chunk(up); i < up->chunk_count; i = take_chunk(up)) {
        const unsigned char *from = up->chunks[i].part->from + up->chunks[i].offset;
        size_t into_page = (size_t)((uintptr_t)from & page_mask);
        /* All pages at once: a fault for each would cost more than the copy. */
        (void)dw_os_prefault(from - into_page, up->chunks[i].bytes + into_page);
        memcpy(dw_upload_ring_slot(up->ring, i % up->slot_count), from, up->chunks[i].bytes);
        (void)pthread_mutex_lock(&up->lock);
        up->ready[i % up->slot_count] = true;
        (void)pthread_cond_broadcast(&up->changed);
        (void)pthread_mutex_unlock(&up->lock);
    }
    return NULL;
}

static void await_chunk(upload *up, size_t i)
{
    bool *ready = &up->ready[i % up->slot_count];
    (void)pthread_mutex_lock(&up->lock);
    while (!*ready) {
        (void)pthread_cond_wait(&up->changed, &up->lock);
    }
    *ready = false;
    (void)pthread_mutex_unlock(&up->lock);
}

/* Slice i is on the device; its slot is the readers' again. */
static dw_status free_chunk(upload *up, size_t i, uint64_t *done, dw_error *err)
{
    dw_status status = dw_upload_ring_wait(up->ring, i % up->slot_count, err);
    if (status != DW_OK) {
        return status;
    }
    *done += up->chunks[i].bytes;
    (void)pthread_mutex_lock(&up->lock);
    up->freed = i + 1;
    (void)pthread_cond_broadcast(&up->changed);
    (void)pthread_mutex_unlock(&up->lock);
    return report(up, *done, err);
}

/* Half of the slots are on their way, half are being filled. */
static dw_status send_chunks(upload *up, dw_error *err)
{
    size_t under_way_max = up->slot_count / 2;
    uint64_t done = 0;
    size_t freed = 0;
    dw_status status = report(up, 0, err);
    for (size_t i = 0; i < up->chunk_count && status == DW_OK; i++) {
        const chunk *one = &up->chunks[i];
        await_chunk(up, i);
        status = dw_upload_ring_send(up->ring, i % up->slot_count, one->part->tensor, one->offset,
                                     one->bytes, err);
        if (status == DW_OK && i + 1 - freed >= under_way_max) {
            status = free_chunk(up, freed++, &done, err);
        }
    }
    while (freed < up->chunk_count && status == DW_OK) {
        status = free_chunk(up, freed++, &done, err);
    }
    return status;
}

static dw_status run_ring(upload *up, size_t reader_count, dw_error *err)
{
    pthread_t readers[READERS_MAX];
    size_t started = 0;
    while (started < reader_count && dw_os_start_thread(&readers[started], read_chunks, up) == 0) {
        started++;
    }
    dw_status status = started > 0 ? send_chunks(up, err) : set_all(up, err);
    (void)pthread_mutex_lock(&up->lock);
    up->stop = true;
    (void)pthread_cond_broadcast(&up->changed);
    (void)pthread_mutex_unlock(&up->lock);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    return status;
}

static dw_status send_through_ring(upload *up, dw_error *err)
{
    size_t cores = (size_t)dw_os_core_count();
    size_t reader_count = cores < READERS_MAX ? cores : READERS_MAX;
    up->slot_count = reader_count * SLOTS_PER_READER;
    up->ready = dw_alloc(up->slot_count, sizeof *up->ready);
    if (up->ready == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an upload");
    }
    dw_status status =
        dw_upload_ring_create(&up->ring, up->device, up->slot_count, up->chunk_bytes, err);
    if (status == DW_OK) {
        status = run_ring(up, reader_count, err);
    } else if (!dw_device_lost(up->device)) {
        status = set_all(up, err); /* without pinned memory it is slower, and works */
    }
    dw_upload_ring_destroy(up->ring);
    return status;
}

dw_status dw_upload(dw_device *device, const dw_upload_options *options, dw_error *err)
{
    upload up = {.device = device,
                 .options = options,
                 .chunk_bytes = options->chunk_bytes > 0 ? options->chunk_bytes : SLICE_BYTES};
    DW_ASSERT(pthread_mutex_init(&up.lock, NULL) == 0);
    DW_ASSERT(pthread_cond_init(&up.changed, NULL) == 0);
    bool host = ggml_backend_buft_is_host(dw_device_buffer_type(device));
    dw_status status = cut(&up, err);
    if (status == DW_OK) {
        status = !host || options->ring ? send_through_ring(&up, err) : set_all(&up, err);
    }
    (void)pthread_cond_destroy(&up.changed);
    (void)pthread_mutex_destroy(&up.lock);
    dw_free(up.ready);
    dw_free(up.chunks);
    return status;
}
