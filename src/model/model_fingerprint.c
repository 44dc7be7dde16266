#include "model/model_fingerprint.h"

#include <string.h>

#include "base/alloc.h"

dw_status dw__model_fingerprint_init(dw__model_fingerprint *own, const dw_gguf *gguf,
                                     const dw_model_options *options, dw_error *err)
{
    *own = (dw__model_fingerprint){.gguf = gguf};
    own->options.struct_bytes = sizeof own->options;
    DW_ASSERT(pthread_mutex_init(&own->lock, NULL) == 0);
    if (options == NULL) {
        return DW_OK;
    }
    own->options.on_progress = options->on_fingerprint;
    own->options.user = options->fingerprint_user;
    if (options->fingerprint_folder != NULL) {
        own->folder = dw_strdup(options->fingerprint_folder);
        own->options.folder = own->folder;
        if (own->folder == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a path");
        }
    }
    return DW_OK;
}

void dw__model_fingerprint_release(dw__model_fingerprint *own)
{
    if (own->gguf == NULL) {
        return; /* never initialised */
    }
    DW_ASSERT(own->users == 0);
    dw_fingerprint_job_destroy(own->job);
    dw_free(own->folder);
    (void)pthread_mutex_destroy(&own->lock);
}

/* The job, for release_job to be called after. */
static dw_status use_job(dw__model_fingerprint *own, dw_fingerprint_job **job, dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&own->lock);
    if (own->job != NULL && own->users == 0 && !dw_fingerprint_job_is_current(own->job)) {
        dw_fingerprint_job_destroy(own->job);
        own->job = NULL;
    }
    if (own->job == NULL) {
        status = dw_fingerprint_job_create(&own->job, own->gguf, &own->options, err);
    }
    own->users += status == DW_OK;
    *job = own->job;
    (void)pthread_mutex_unlock(&own->lock);
    return status;
}

static void release_job(dw__model_fingerprint *own)
{
    (void)pthread_mutex_lock(&own->lock);
    own->users--;
    (void)pthread_mutex_unlock(&own->lock);
}

void dw__model_fingerprint_begin(dw__model_fingerprint *own)
{
    dw_fingerprint_job *job;
    if (use_job(own, &job, NULL) == DW_OK) {
        dw_fingerprint_job_begin(job);
        release_job(own);
    }
}

dw_status dw__model_fingerprint_get(dw__model_fingerprint *own, dw_stop *stop,
                                    char text[DW_FINGERPRINT_BYTES], dw_error *err)
{
    dw_fingerprint_job *job;
    text[0] = '\0';
    dw_status status = use_job(own, &job, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_fingerprint_job_await(job, stop, text, err);
    if (dw_stop_asked(stop)) {
        dw_fingerprint_job_begin(job);
    }
    release_job(own);
    return status;
}

dw_status dw__model_fingerprint_matches(dw__model_fingerprint *own, const char *fingerprint,
                                        bool *matches, dw_error *err)
{
    dw_fingerprint_job *job;
    *matches = false;
    dw_status status = use_job(own, &job, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_fingerprint_job_matches(job, fingerprint, matches, err);
    release_job(own);
    return status;
}

void dw__model_fingerprint_stats(dw__model_fingerprint *own, dw_fingerprint_stats *stats)
{
    (void)pthread_mutex_lock(&own->lock);
    *stats = (dw_fingerprint_stats){.struct_bytes = sizeof *stats};
    if (own->job != NULL) {
        dw_fingerprint_job_get_stats(own->job, stats);
    }
    (void)pthread_mutex_unlock(&own->lock);
}
