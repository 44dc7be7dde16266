#include "kv/kv_ring.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/os.h"

#define THREADS_MAX 16
#define PART_BYTES_MIN ((size_t)256 << 10) /* less costs more in calls than it gains in overlap */
#define PART_UNIT ((size_t)64 << 10)

typedef struct slot {
    unsigned char *buffer; /* pinned */
    dw_vram_event *copied; /* what was last submitted for it is done */
    unsigned pending;      /* guarded by the ring's lock: those who still read it */
} slot;

/* The transfer under way; guarded by the ring's lock but for what does not change. */
typedef struct transfer {
    unsigned char *device;
    size_t bytes;
    size_t part_bytes;
    uint64_t part_count;
    dw__kv_fill fill; /* an upload */
    void *user;
    const dw_sink *sink; /* a download */
    uint64_t taken;      /* parts that a thread fills or empties, or has */
    uint64_t issued;     /* downloads: parts whose copy was submitted */
    uint64_t ordered;    /* downloads: parts handed on in order */
    dw_status status;
    dw_error error;
} transfer;

struct dw__kv_ring {
    dw_vram *vram;
    dw_vram_stream *stream;
    size_t buffer_bytes;
    slot slots[2 * THREADS_MAX];
    uint32_t slot_count;
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;  /* that run, beside callers */
    pthread_mutex_t one;    /* a transfer at a time */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t changed; /* the transfer's state, or whether there is one */
    transfer *at;           /* NULL: none */
    uint64_t number;        /* of transfers so far */
    uint32_t working;       /* threads that are in it */
    bool ending;
};

static void fail_transfer(dw__kv_ring *ring, transfer *t, dw_status status, const dw_error *error)
{
    (void)pthread_mutex_lock(&ring->lock);
    if (t->status == DW_OK) {
        t->status = status;
        t->error = *error;
    }
    (void)pthread_cond_broadcast(&ring->changed);
    (void)pthread_mutex_unlock(&ring->lock);
}

static size_t bytes_of(const transfer *t, uint64_t part)
{
    size_t start = (size_t)part * t->part_bytes;
    return t->bytes - start < t->part_bytes ? t->bytes - start : t->part_bytes;
}

/* ---- uploads: each thread has two buffers, fills one while the device reads the other ---- */

static dw_status upload_part(dw__kv_ring *ring, const transfer *t, uint64_t part, slot *through,
                             dw_error *err)
{
    size_t start = (size_t)part * t->part_bytes;
    size_t bytes = bytes_of(t, part);
    dw_status status = dw_vram_event_wait(through->copied, err);
    if (status == DW_OK) {
        status = t->fill(t->user, start, bytes, through->buffer, err);
    }
    if (status == DW_OK) {
        status = dw_vram_copy(ring->stream, t->device + start, through->buffer, bytes, err);
    }
    return status == DW_OK ? dw_vram_event_mark(through->copied, ring->stream, err) : status;
}

static void upload_parts(dw__kv_ring *ring, transfer *t, uint32_t thread)
{
    for (uint32_t turn = 0;; turn++) {
        (void)pthread_mutex_lock(&ring->lock);
        bool over = t->status != DW_OK || t->taken == t->part_count;
        uint64_t part = t->taken;
        t->taken += !over;
        (void)pthread_mutex_unlock(&ring->lock);
        if (over) {
            return;
        }
        dw_error error = {0};
        dw_status status = upload_part(ring, t, part, &ring->slots[2 * thread + turn % 2], &error);
        if (status != DW_OK) {
            fail_transfer(ring, t, status, &error);
            return;
        }
    }
}

/* ---- downloads: parts go through the slots in turn, copied in order by the caller ---- */

/* Hand a part on; under the lock, which is given up meanwhile. */
static void empty_slot(dw__kv_ring *ring, transfer *t, uint64_t part, bool in_order)
{
    slot *from = &ring->slots[part % ring->slot_count];
    const dw_sink *sink = t->sink;
    dw_error error = {0};
    (void)pthread_mutex_unlock(&ring->lock);
    dw_status status = dw_vram_event_wait(from->copied, &error);
    size_t bytes = bytes_of(t, part);
    if (status == DW_OK) {
        status = in_order ? sink->in_order(sink->user, from->buffer, bytes, &error)
                          : sink->anywhere(sink->user, part * t->part_bytes, from->buffer, bytes,
                                           &error);
    }
    if (status != DW_OK) {
        fail_transfer(ring, t, status, &error);
    }
    (void)pthread_mutex_lock(&ring->lock);
    from->pending--;
    (void)pthread_cond_broadcast(&ring->changed);
}

/* Submit copies into all slots that are free; under the lock, which is given up meanwhile. */
static void issue_copies(dw__kv_ring *ring, transfer *t)
{
    while (t->status == DW_OK && t->issued < t->part_count &&
           ring->slots[t->issued % ring->slot_count].pending == 0) {
        uint64_t part = t->issued;
        slot *to = &ring->slots[part % ring->slot_count];
        dw_error error = {0};
        to->pending = (t->sink->in_order != NULL ? 1u : 0u) + (t->sink->anywhere != NULL ? 1u : 0u);
        (void)pthread_mutex_unlock(&ring->lock);
        dw_status status =
            dw_vram_copy(ring->stream, to->buffer, t->device + (size_t)part * t->part_bytes,
                         bytes_of(t, part), &error);
        if (status == DW_OK) {
            status = dw_vram_event_mark(to->copied, ring->stream, &error);
        }
        if (status != DW_OK) {
            fail_transfer(ring, t, status, &error);
        }
        (void)pthread_mutex_lock(&ring->lock);
        t->issued++;
        (void)pthread_cond_broadcast(&ring->changed);
    }
}

static bool can_empty(const transfer *t)
{
    return t->sink->anywhere != NULL && t->taken < t->issued;
}

static bool is_emptied(const transfer *t)
{
    return t->status != DW_OK || ((t->sink->anywhere == NULL || t->taken == t->part_count) &&
                                  (t->sink->in_order == NULL || t->ordered == t->part_count));
}

/* The caller's part: what has to be in order, and of the rest what nobody else gets to. */
static void lead_download(dw__kv_ring *ring, transfer *t)
{
    (void)pthread_mutex_lock(&ring->lock);
    while (!is_emptied(t)) {
        issue_copies(ring, t);
        if (t->status != DW_OK) {
            break;
        }
        if (t->sink->in_order != NULL && t->ordered < t->issued) {
            empty_slot(ring, t, t->ordered++, true);
        } else if (can_empty(t)) {
            empty_slot(ring, t, t->taken++, false);
        } else if (!is_emptied(t)) {
            (void)pthread_cond_wait(&ring->changed, &ring->lock);
        }
    }
    (void)pthread_mutex_unlock(&ring->lock);
}

static void empty_slots(dw__kv_ring *ring, transfer *t)
{
    (void)pthread_mutex_lock(&ring->lock);
    while (t->status == DW_OK && t->sink->anywhere != NULL && t->taken < t->part_count) {
        if (can_empty(t)) {
            empty_slot(ring, t, t->taken++, false);
        } else {
            (void)pthread_cond_wait(&ring->changed, &ring->lock);
        }
    }
    (void)pthread_mutex_unlock(&ring->lock);
}

/* ---- threads ---- */

typedef struct thread_start {
    dw__kv_ring *ring;
    uint32_t number;
} thread_start;

static void *run_thread(void *user)
{
    thread_start start = *(thread_start *)user;
    dw__kv_ring *ring = start.ring;
    uint64_t seen = 0;
    dw_free(user);
    (void)pthread_mutex_lock(&ring->lock);
    while (!ring->ending) {
        transfer *t = ring->at;
        if (t == NULL || ring->number == seen) {
            (void)pthread_cond_wait(&ring->changed, &ring->lock);
            continue;
        }
        seen = ring->number;
        ring->working++;
        (void)pthread_mutex_unlock(&ring->lock);
        if (t->fill != NULL) {
            upload_parts(ring, t, start.number);
        } else {
            empty_slots(ring, t);
        }
        (void)pthread_mutex_lock(&ring->lock);
        ring->working--;
        (void)pthread_cond_broadcast(&ring->changed);
    }
    (void)pthread_mutex_unlock(&ring->lock);
    return NULL;
}

/* One that cannot be started is done without: callers can do all of it. */
static bool start_thread(dw__kv_ring *ring)
{
    thread_start *start = dw_alloc(1, sizeof *start);
    if (start == NULL) {
        return false;
    }
    *start = (thread_start){ring, ring->thread_count + 1};
    if (dw_os_start_thread(&ring->threads[ring->thread_count], run_thread, start) != 0) {
        dw_free(start);
        return false;
    }
    ring->thread_count++;
    return true;
}

dw_status dw__kv_ring_create(dw__kv_ring **out, dw_vram *vram, size_t buffer_bytes, int threads,
                             dw_error *err)
{
    *out = NULL;
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    dw__kv_ring *ring = dw_alloc(1, sizeof *ring);
    if (ring == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a ring of buffers");
    }
    ring->vram = vram;
    ring->buffer_bytes = buffer_bytes;
    DW_ASSERT(pthread_mutex_init(&ring->one, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&ring->lock, NULL) == 0);
    DW_ASSERT(pthread_cond_init(&ring->changed, NULL) == 0);
    dw_status status = dw_vram_stream_create(&ring->stream, vram, err);
    for (int i = 0; status == DW_OK && i < 2 * threads; i++) {
        slot *s = &ring->slots[ring->slot_count++];
        void *buffer = NULL;
        status = dw_vram_host_create(vram, &buffer, buffer_bytes, err);
        s->buffer = buffer;
        if (status == DW_OK) {
            status = dw_vram_event_create(&s->copied, vram, err);
        }
    }
    if (status != DW_OK) {
        dw__kv_ring_destroy(ring);
        return status;
    }
    for (int i = 1; i < threads && start_thread(ring); i++) {}
    *out = ring;
    return DW_OK;
}

void dw__kv_ring_destroy(dw__kv_ring *ring)
{
    if (ring == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ring->lock);
    ring->ending = true;
    (void)pthread_cond_broadcast(&ring->changed);
    (void)pthread_mutex_unlock(&ring->lock);
    for (uint32_t i = 0; i < ring->thread_count; i++) {
        (void)pthread_join(ring->threads[i], NULL);
    }
    for (uint32_t i = 0; i < ring->slot_count; i++) {
        dw_vram_event_destroy(ring->slots[i].copied);
        dw_vram_host_destroy(ring->vram, ring->slots[i].buffer, ring->buffer_bytes);
    }
    dw_vram_stream_destroy(ring->stream);
    (void)pthread_cond_destroy(&ring->changed);
    (void)pthread_mutex_destroy(&ring->lock);
    (void)pthread_mutex_destroy(&ring->one);
    dw_free(ring);
}

dw_vram *dw__kv_ring_vram(const dw__kv_ring *ring)
{
    return ring->vram;
}

/* ---- transfers ---- */

/* Parts so large that every buffer has one, as far as that is worth it. */
static size_t part_bytes_for(const dw__kv_ring *ring, size_t bytes)
{
    size_t part = bytes / ring->slot_count / PART_UNIT * PART_UNIT + PART_UNIT;
    part = part < PART_BYTES_MIN ? PART_BYTES_MIN : part;
    return part < ring->buffer_bytes ? part : ring->buffer_bytes;
}

/* Run it with the ring's threads, where there is more than one part, and this one. */
static dw_status carry_out(dw__kv_ring *ring, transfer *t, dw_error *err)
{
    (void)pthread_mutex_lock(&ring->one);
    t->part_bytes = part_bytes_for(ring, t->bytes);
    t->part_count = (t->bytes + t->part_bytes - 1) / t->part_bytes;
    (void)pthread_mutex_lock(&ring->lock);
    for (uint32_t i = 0; i < ring->slot_count; i++) {
        ring->slots[i].pending = 0;
    }
    if (t->part_count > 1) {
        ring->at = t;
        ring->number++;
        (void)pthread_cond_broadcast(&ring->changed);
    }
    (void)pthread_mutex_unlock(&ring->lock);
    if (t->fill != NULL) {
        upload_parts(ring, t, 0);
    } else {
        lead_download(ring, t);
    }
    (void)pthread_mutex_lock(&ring->lock);
    ring->at = NULL;
    while (ring->working > 0) {
        (void)pthread_cond_wait(&ring->changed, &ring->lock);
    }
    (void)pthread_mutex_unlock(&ring->lock);
    dw_error error = {0};
    dw_status waited = dw_vram_wait(ring->stream, &error);
    (void)pthread_mutex_unlock(&ring->one);
    if (t->status == DW_OK && waited != DW_OK) {
        t->status = waited;
        t->error = error;
    }
    if (t->status != DW_OK && err != NULL) {
        *err = t->error;
    }
    return t->status;
}

dw_status dw__kv_ring_upload(dw__kv_ring *ring, void *to, size_t bytes, dw__kv_fill fill,
                             void *user, dw_error *err)
{
    transfer t = {.device = to, .bytes = bytes, .fill = fill, .user = user};
    return bytes > 0 ? carry_out(ring, &t, err) : DW_OK;
}

dw_status dw__kv_ring_download(dw__kv_ring *ring, const void *from, size_t bytes,
                               const dw_sink *sink, dw_error *err)
{
    transfer t = {.device = (unsigned char *)(uintptr_t)from, .bytes = bytes, .sink = sink};
    return bytes > 0 ? carry_out(ring, &t, err) : DW_OK;
}
