/* A model's fingerprint under way: all of its tensors' data are read and hashed, by a thread in the
 * background and by who waits for it. docs/models.md says what is hashed. */
#ifndef DW_GGUF_FINGERPRINT_H
#define DW_GGUF_FINGERPRINT_H

#include "base/stop.h"
#include "gguf/gguf.h"

typedef struct dw_fingerprint_job dw_fingerprint_job;

/* Nothing is hashed yet, and nothing will be where the folder of `options` knows the files as they
 * are. `gguf` is borrowed until the job is destroyed, `options` (read by dw_struct_read) copied.
 * Errors: DW_E_MEMORY, DW_E_IO. */
dw_status dw_fingerprint_job_create(dw_fingerprint_job **out, const dw_gguf *gguf,
                                    const dw_fingerprint_options *options, dw_error *err);
/* Cancels what is under way. NULL is fine. Waits for a piece of a tensor at most. */
void dw_fingerprint_job_destroy(dw_fingerprint_job *job);
/* Let a thread of its own begin that yields to others, once. Where there can be none, all is left
 * to finish. Thread: any. */
void dw_fingerprint_job_begin(dw_fingerprint_job *job);
/* Wait for it, and take part with other threads where much is left.
 * Errors: DW_E_IO (also: the files changed meanwhile), DW_E_CANCELLED, DW_E_MEMORY. The next call
 * begins where this one ended. Thread: any. */
dw_status dw_fingerprint_job_finish(dw_fingerprint_job *job, char text[DW_FINGERPRINT_BYTES],
                                    dw_error *err);
/* The same, for a guest that may be asked to stop: then DW_E_CANCELLED, after a piece at most. */
dw_status dw_fingerprint_job_await(dw_fingerprint_job *job, dw_stop *stop,
                                   char text[DW_FINGERPRINT_BYTES], dw_error *err);
/* Whether the files are as they were when it was created. Thread: any. */
bool dw_fingerprint_job_is_current(const dw_fingerprint_job *job);
/* dw_model_matches, for the job's files. Errors: finish's. */
dw_status dw_fingerprint_job_matches(dw_fingerprint_job *job, const char *fingerprint,
                                     bool *matches, dw_error *err);
void dw_fingerprint_job_get_stats(dw_fingerprint_job *job, dw_fingerprint_stats *stats);

#endif
