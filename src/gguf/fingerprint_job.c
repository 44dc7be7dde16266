/* Hashing all of a model's tensors, in pieces that threads take one after the other: a thread in
 * the background that yields to others, and who waits, with threads of its own where much is left.
 * Pieces are read from the file, not from its mapping: the pages of a model whose weights are in a
 * device's memory stay out of this process, and a file that is cut gives an error. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/log.h"
#include "base/os.h"
#include "gguf/fingerprint_internal.h"

#define HELPERS_MAX 7
/* A helper is worth its start only for more than this. */
#define HELPER_PIECES 16u
/* How often who waits for another looks whether it is to stop. */
#define LOOK_NS UINT64_C(10000000)

enum piece_state {
    PIECE_FREE = 0,
    PIECE_TAKEN, /* by a thread, which ends it soon */
    PIECE_DONE,
};

struct dw_fingerprint_job {
    const dw_gguf *gguf;
    dw_fingerprint_options options;
    char *folder;            /* of the options; NULL: none */
    dw_file_identity *files; /* [part_count], when it was created; zero of no file */
    size_t *first;           /* [tensor_count + 1]: of a tensor, its first piece */
    size_t piece_count;
    uint64_t bytes;
    uint8_t (*pieces)[DW_SHA256_BYTES]; /* [piece_count] */
    _Atomic unsigned char *states;      /* [piece_count], of enum piece_state */
    _Atomic size_t next;                /* piece to be taken */
    _Atomic size_t done_count;
    _Atomic bool cancelled;
    pthread_mutex_t prepare_lock; /* taken before `lock`: */
    bool prepared;
    char sampled[DW_HASH128_TEXT]; /* constant once prepared */
    pthread_mutex_t lock;          /* the members below */
    pthread_cond_t finished;       /* `finishing` has become false */
    bool begun;
    pthread_t thread;                /* valid if begun */
    char text[DW_FINGERPRINT_BYTES]; /* "": not known yet */
    bool kept;
    bool finishing;     /* somebody is; others wait */
    pthread_t finisher; /* with that: who */
    uint64_t start_ns;
    uint64_t hash_ns;
    uint64_t wait_ns;
    uint32_t threads;
};

/* ---- pieces -------------------------------------------------------------------------------- */

/* To a piece: most are of full length. */
static uint64_t hashed_bytes(const dw_fingerprint_job *job)
{
    size_t done = atomic_load(&job->done_count);
    uint64_t bytes = (uint64_t)done * DW__FINGERPRINT_PIECE;
    return done == job->piece_count || bytes > job->bytes ? job->bytes : bytes;
}

static const dw_gguf_tensor *tensor_of(const dw_fingerprint_job *job, size_t piece, size_t *offset)
{
    size_t low = 0;
    size_t high = job->gguf->tensor_count;
    while (high - low > 1) { /* the last whose first piece is not behind this one */
        size_t middle = low + (high - low) / 2;
        if (job->first[middle] <= piece) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *offset = (piece - job->first[low]) * DW__FINGERPRINT_PIECE;
    return job->gguf->by_name[low];
}

static dw_status read_piece(const dw_fingerprint_job *job, size_t piece, unsigned char *room,
                            dw_error *err)
{
    size_t offset;
    const dw_gguf_tensor *tensor = tensor_of(job, piece, &offset);
    size_t left = tensor->bytes - offset;
    dw__tensor_part part = {.offset = offset,
                            .bytes = left < DW__FINGERPRINT_PIECE ? left : DW__FINGERPRINT_PIECE};
    const unsigned char *data;
    dw_status status = dw__fingerprint_read(job->gguf, tensor, part, room, &data, err);
    if (status == DW_OK) {
        dw_sha256(job->pieces[piece], data, part.bytes);
    }
    return status;
}

/* Hash a piece, unless it is done or another thread's. */
static dw_status hash_piece(dw_fingerprint_job *job, size_t piece, unsigned char *room,
                            dw_error *err)
{
    unsigned char expected = PIECE_FREE;
    if (!atomic_compare_exchange_strong(&job->states[piece], &expected, PIECE_TAKEN)) {
        return DW_OK;
    }
    dw_status status = read_piece(job, piece, room, err);
    atomic_store(&job->states[piece], status == DW_OK ? PIECE_DONE : PIECE_FREE);
    atomic_fetch_add(&job->done_count, status == DW_OK);
    return status;
}

/* Who waits for the whole. */
typedef struct asker {
    dw_fingerprint_job *job;
    dw_stop *stop;     /* NULL: nobody asks it to stop */
    _Atomic bool left; /* it has given up, and so do those who help it */
} asker;

static dw_status check_stop(dw_stop *stop, dw_error *err)
{
    return dw_stop_asked(stop) ? dw_fail(err, DW_E_CANCELLED, "fingerprint: asked to stop") : DW_OK;
}

/* Whether it wants to go on. */
static dw_status report_to(const asker *by, dw_error *err)
{
    const dw_fingerprint_job *job = by->job;
    const dw_fingerprint_options *options = &job->options;
    bool goes_on = options->on_progress == NULL ||
                   options->on_progress(options->user, hashed_bytes(job), job->bytes);
    return goes_on ? check_stop(by->stop, err)
                   : dw_fail(err, DW_E_CANCELLED, "fingerprint: given up");
}

/* Take pieces until there are none, or until who asked, if anybody did, has given up; with `report`
 * that one is told after each. */
static dw_status hash_some(dw_fingerprint_job *job, const asker *by, bool report, dw_error *err)
{
    unsigned char *room = dw_alloc(1, DW__FINGERPRINT_PIECE);
    dw_status status = room != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "fingerprint: no memory");
    while (status == DW_OK && !atomic_load(&job->cancelled) &&
           (by == NULL || !atomic_load(&by->left))) {
        size_t piece = atomic_fetch_add(&job->next, 1);
        if (piece >= job->piece_count) {
            break;
        }
        status = hash_piece(job, piece, room, err);
        if (status == DW_OK && report) {
            status = report_to(by, err);
        }
    }
    dw_free(room);
    return status;
}

static void *beside(void *user)
{
    const asker *by = user;
    (void)hash_some(by->job, by, false, NULL);
    return NULL;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static dw_status identify(const dw_gguf *gguf, dw_file_identity *files, dw_error *err)
{
    for (uint32_t i = 0; i < gguf->part_count; i++) {
        int fd = dw__gguf_part(gguf, i)->fd;
        dw_status status = fd >= 0 ? dw_os_identify(fd, &files[i], err) : DW_OK;
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

bool dw_fingerprint_job_is_current(const dw_fingerprint_job *job)
{
    for (uint32_t i = 0; i < job->gguf->part_count; i++) {
        dw_file_identity now;
        const dw_file_identity *then = &job->files[i];
        int fd = dw__gguf_part(job->gguf, i)->fd;
        /* A new name or other rights are no other content. */
        if (fd >= 0 && (dw_os_identify(fd, &now, NULL) != DW_OK || now.bytes != then->bytes ||
                        now.changed_ns != then->changed_ns)) {
            return false;
        }
    }
    return true;
}

static dw_status list_pieces(dw_fingerprint_job *job, dw_error *err)
{
    const dw_gguf *gguf = job->gguf;
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        job->first[i] = job->piece_count;
        job->piece_count += dw__fingerprint_pieces(gguf->by_name[i]);
        job->bytes += gguf->by_name[i]->bytes;
    }
    job->first[gguf->tensor_count] = job->piece_count;
    job->pieces = dw_alloc(job->piece_count + 1, sizeof *job->pieces);
    job->states = dw_alloc(job->piece_count + 1, sizeof *job->states);
    return job->pieces != NULL && job->states != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "fingerprint: no memory for %zu pieces",
                         job->piece_count);
}

static bool in_file(const dw_gguf *gguf)
{
    return gguf->fd >= 0;
}

dw_status dw_fingerprint_job_create(dw_fingerprint_job **out, const dw_gguf *gguf,
                                    const dw_fingerprint_options *options, dw_error *err)
{
    *out = NULL;
    dw_fingerprint_job *job = dw_alloc(1, sizeof *job);
    if (job == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    }
    job->gguf = gguf;
    job->options = *options;
    DW_ASSERT(pthread_mutex_init(&job->lock, NULL) == 0);
    DW_ASSERT(pthread_mutex_init(&job->prepare_lock, NULL) == 0);
    dw_os_cond_init(&job->finished);
    job->folder = options->folder != NULL ? dw_strdup(options->folder) : NULL;
    job->files = dw_alloc(gguf->part_count, sizeof *job->files);
    job->first = dw_alloc(gguf->tensor_count + 1, sizeof *job->first);
    dw_status status =
        job->files != NULL && job->first != NULL && (job->folder != NULL || options->folder == NULL)
            ? DW_OK
            : dw_fail(err, DW_E_MEMORY, "no memory for a fingerprint");
    if (status == DW_OK) {
        status = identify(gguf, job->files, err);
    }
    if (status == DW_OK) {
        status = list_pieces(job, err);
    }
    if (status != DW_OK) {
        dw_fingerprint_job_destroy(job);
        return status;
    }
    *out = job;
    return DW_OK;
}

/* Take the samples, and what is kept: they are read from the disk, not by who only begins. */
static dw_status prepare(dw_fingerprint_job *job, dw_error *err)
{
    char text[DW_FINGERPRINT_BYTES];
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&job->prepare_lock);
    if (!job->prepared) {
        status = dw__fingerprint_sampled(job->gguf, job->sampled, err);
        job->prepared = status == DW_OK;
        /* Samples that are others show an entry whose times lie. */
        if (job->prepared && job->folder != NULL && in_file(job->gguf) &&
            !job->options.ignore_kept &&
            dw__fingerprint_kept(job->folder, job->files, job->gguf->part_count, text) &&
            dw__fingerprint_compare(text, job->sampled) == DW__MATCH_OF_SAMPLES) {
            (void)pthread_mutex_lock(&job->lock);
            job->kept = true;
            memcpy(job->text, text, sizeof text);
            (void)pthread_mutex_unlock(&job->lock);
        }
    }
    (void)pthread_mutex_unlock(&job->prepare_lock);
    return status;
}

void dw_fingerprint_job_destroy(dw_fingerprint_job *job)
{
    if (job == NULL) {
        return;
    }
    atomic_store(&job->cancelled, true);
    if (job->begun) {
        (void)pthread_join(job->thread, NULL);
    }
    (void)pthread_mutex_destroy(&job->lock);
    (void)pthread_mutex_destroy(&job->prepare_lock);
    (void)pthread_cond_destroy(&job->finished);
    dw_free(job->folder);
    dw_free(job->files);
    dw_free(job->first);
    dw_free(job->pieces);
    dw_free((void *)(uintptr_t)job->states);
    dw_free(job);
}

static bool is_known(dw_fingerprint_job *job)
{
    (void)pthread_mutex_lock(&job->lock);
    bool known = job->text[0] != '\0';
    (void)pthread_mutex_unlock(&job->lock);
    return known;
}

static void *in_background(void *user)
{
    dw_fingerprint_job *job = user;
    char text[DW_FINGERPRINT_BYTES];
    dw_os_yield_cores();
    if (prepare(job, NULL) == DW_OK && !is_known(job) &&
        hash_some(job, NULL, false, NULL) == DW_OK && !atomic_load(&job->cancelled)) {
        (void)dw_fingerprint_job_finish(job, text, NULL);
    }
    return NULL;
}

static void note_start(dw_fingerprint_job *job)
{
    if (job->start_ns == 0) {
        job->start_ns = dw_os_clock_ns();
    }
}

void dw_fingerprint_job_begin(dw_fingerprint_job *job)
{
    (void)pthread_mutex_lock(&job->lock);
    if (!job->begun && job->text[0] == '\0' && !job->finishing) {
        note_start(job);
        job->begun = dw_os_start_thread(&job->thread, in_background, job) == 0;
        job->threads = job->begun && job->threads == 0 ? 1 : job->threads;
    }
    (void)pthread_mutex_unlock(&job->lock);
}

/* Hash what is left, with others. */
static dw_status hash_rest(asker *by, dw_error *err)
{
    dw_fingerprint_job *job = by->job;
    pthread_t helpers[HELPERS_MAX];
    uint32_t count = 0;
    size_t next = atomic_load(&job->next);
    size_t left = next < job->piece_count ? job->piece_count - next : 0;
    int spare = dw_os_core_count() - 1;
    dw_status status = report_to(by, err); /* others may leave nothing to report afterwards */
    if (status != DW_OK) {
        return status;
    }
    size_t wanted = left / HELPER_PIECES;
    while (count < HELPERS_MAX && count < wanted && (int)count < spare &&
           dw_os_start_thread(&helpers[count], beside, by) == 0) {
        count++;
    }
    status = hash_some(job, by, true, err);
    atomic_store(&by->left, status != DW_OK);
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(helpers[i], NULL);
    }
    (void)pthread_mutex_lock(&job->lock);
    job->threads = job->threads > count + 1 ? job->threads : count + 1;
    (void)pthread_mutex_unlock(&job->lock);
    return status;
}

/* Those that failed or were passed over by a caller that gave up, and those that are in the hands
 * of the thread in the background. */
static dw_status hash_missing(const asker *by, dw_error *err)
{
    dw_fingerprint_job *job = by->job;
    static const struct timespec pause = {.tv_nsec = 200000};
    unsigned char *room = dw_alloc(1, DW__FINGERPRINT_PIECE);
    dw_status status = room != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "fingerprint: no memory");
    for (size_t i = 0; i < job->piece_count && status == DW_OK;) {
        status = hash_piece(job, i, room, err);
        status = status == DW_OK ? check_stop(by->stop, err) : status;
        if (atomic_load(&job->states[i]) == PIECE_TAKEN) {
            (void)nanosleep(&pause, NULL);
        } else {
            i++;
        }
    }
    dw_free(room);
    return status;
}

static dw_status finish(asker *by, char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    const dw_fingerprint_job *job = by->job;
    dw_status status = hash_rest(by, err);
    if (status == DW_OK) {
        status = hash_missing(by, err);
    }
    if (status == DW_OK && !dw_fingerprint_job_is_current(job)) {
        status =
            dw_fail(err, DW_E_IO, "fingerprint: the model's file was changed while it was read");
    }
    if (status == DW_OK) {
        status = dw__fingerprint_whole(job->gguf, (const uint8_t(*)[DW_SHA256_BYTES])job->pieces,
                                       job->sampled, text, err);
    }
    if (status == DW_OK && job->folder != NULL && in_file(job->gguf)) {
        dw__fingerprint_keep(job->folder, job->files, job->gguf->part_count, text);
    }
    return status;
}

/* With the lock: until nobody is at it. */
static dw_status await_finisher(dw_fingerprint_job *job, dw_stop *stop, dw_error *err)
{
    dw_status status = DW_OK;
    while (job->finishing && status == DW_OK) {
        if (stop == NULL) {
            (void)pthread_cond_wait(&job->finished, &job->lock);
        } else {
            (void)dw_os_cond_wait_until(&job->finished, &job->lock, dw_os_clock_ns() + LOOK_NS);
            status = job->finishing ? check_stop(stop, err) : DW_OK;
        }
    }
    return status;
}

dw_status dw_fingerprint_job_finish(dw_fingerprint_job *job, char text[DW_FINGERPRINT_BYTES],
                                    dw_error *err)
{
    return dw_fingerprint_job_await(job, NULL, text, err);
}

dw_status dw_fingerprint_job_await(dw_fingerprint_job *job, dw_stop *stop,
                                   char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    uint64_t asked_ns = dw_os_clock_ns();
    text[0] = '\0';
    dw_status status = dw_callback_check(err);
    if (status == DW_OK) {
        status = prepare(job, err);
    }
    if (status != DW_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&job->lock);
    if (job->finishing && pthread_equal(job->finisher, pthread_self())) {
        (void)pthread_mutex_unlock(&job->lock);
        return dw_fail(err, DW_E_STATE, "fingerprint: not from the callback that reports on it");
    }
    status = await_finisher(job, stop, err);
    if (status == DW_OK && job->text[0] == '\0') {
        asker by = {.job = job, .stop = stop};
        char made[DW_FINGERPRINT_BYTES];
        job->finishing = true;
        job->finisher = pthread_self();
        note_start(job);
        (void)pthread_mutex_unlock(&job->lock);
        status = finish(&by, made, err);
        (void)pthread_mutex_lock(&job->lock);
        job->finishing = false;
        (void)pthread_cond_broadcast(&job->finished);
        if (status == DW_OK) {
            memcpy(job->text, made, sizeof made);
            job->hash_ns = dw_os_clock_ns() - job->start_ns;
            dw_log(DW_LOG_INFO, "fingerprint: %" PRIu64 " bytes hashed in %.1f ms: %s", job->bytes,
                   (double)job->hash_ns / 1e6, job->text);
        }
    }
    bool waited = !job->begun || !pthread_equal(pthread_self(), job->thread);
    job->wait_ns += waited ? dw_os_clock_ns() - asked_ns : 0;
    memcpy(text, job->text, DW_FINGERPRINT_BYTES);
    (void)pthread_mutex_unlock(&job->lock);
    return status;
}

dw_status dw_fingerprint_job_matches(dw_fingerprint_job *job, const char *fingerprint,
                                     bool *matches, dw_error *err)
{
    char text[DW_FINGERPRINT_BYTES];
    *matches = false;
    dw_status status = dw_callback_check(err);
    if (status == DW_OK) {
        status = prepare(job, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__fingerprint_match match = dw__fingerprint_compare(fingerprint, job->sampled);
    if (match != DW__MATCH_OF_SAMPLES) {
        *matches = match == DW__MATCH;
        return DW_OK;
    }
    status = dw_fingerprint_job_finish(job, text, err);
    *matches = status == DW_OK && strcmp(text, fingerprint) == 0;
    return status;
}

void dw_fingerprint_job_get_stats(dw_fingerprint_job *job, dw_fingerprint_stats *stats)
{
    (void)pthread_mutex_lock(&job->lock);
    *stats = (dw_fingerprint_stats){
        .struct_bytes = sizeof *stats,
        .known = job->text[0] != '\0',
        .kept = job->kept,
        .bytes = job->bytes,
        .hashed_bytes = hashed_bytes(job),
        .hash_ns = job->hash_ns,
        .wait_ns = job->wait_ns,
        .threads = job->threads,
    };
    (void)pthread_mutex_unlock(&job->lock);
}
