/* A model's fingerprint: begun in the background when an actor is granted the model, waited for by
 * freezes and thaws, and computed anew where the files were changed since. Thread: any. */
#ifndef DW_MODEL_MODEL_FINGERPRINT_H
#define DW_MODEL_MODEL_FINGERPRINT_H

#include <pthread.h>

#include "gguf/fingerprint.h"

typedef struct dw__model_fingerprint {
    pthread_mutex_t lock; /* guards the members below but `gguf` and `options` */
    const dw_gguf *gguf;
    dw_fingerprint_options options;
    char *folder; /* of the options, own; NULL: none */
    dw_fingerprint_job *job;
    uint32_t users; /* calls that are at work with the job */
} dw__model_fingerprint;

/* `options` may be NULL. Errors: DW_E_MEMORY. */
dw_status dw__model_fingerprint_init(dw__model_fingerprint *own, const dw_gguf *gguf,
                                     const dw_model_options *options, dw_error *err);
/* Before the gguf is closed. */
void dw__model_fingerprint_release(dw__model_fingerprint *own);
/* A failure shows again when somebody waits. */
void dw__model_fingerprint_begin(dw__model_fingerprint *own);
/* `stop` may be NULL; where it asks, DW_E_CANCELLED, and what is left goes on in the background. */
dw_status dw__model_fingerprint_get(dw__model_fingerprint *own, dw_stop *stop,
                                    char text[DW_FINGERPRINT_BYTES], dw_error *err);
dw_status dw__model_fingerprint_matches(dw__model_fingerprint *own, const char *fingerprint,
                                        bool *matches, dw_error *err);
void dw__model_fingerprint_stats(dw__model_fingerprint *own, dw_fingerprint_stats *stats);

#endif
