/* Short work with a model for a request, off the loop: texts tokenised, chats counted.
 * Thread: the loop's, but for `work`. */
#ifndef DW_SERVING_JOB_H
#define DW_SERVING_JOB_H

#include "serving/openai.h"

typedef struct dw_job {
    dw_server *server;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    dw_named_model *model;
    dw_model_waiter waiter; /* has the model, for `work` */
    uv_work_t queued;
    json_t *input; /* the request */
    json_t *result;
    dw_status status;
    dw_error error;
    /* With the model, on a thread of libuv's: input -> result, or a failure. */
    dw_status (*work)(struct dw_job *job, dw_error *err);
    /* The failure in the route's shape. */
    void (*fail)(dw_exchange *exchange, int status, const char *what);
} dw_job;

/* The request's body (an object) goes to `work` with the model that it names; the result is
 * answered. */
void dw_job_begin(dw_server *server, dw_exchange *exchange,
                  dw_status (*work)(dw_job *job, dw_error *err),
                  void (*fail)(dw_exchange *exchange, int status, const char *what));

/* The same without the model, which is neither loaded for it nor kept: `work` tells of it by its
 * profile (serving/profile.h). The user himself is told of all. */
void dw_job_begin_telling(dw_server *server, dw_exchange *exchange,
                          dw_status (*work)(dw_job *job, dw_error *err),
                          void (*fail)(dw_exchange *exchange, int status, const char *what));

/* A chat, which is released, as the job's model reads it; NULL: `fault` says why there is none.
 * Errors: DW_E_ARG, those of dw_chat_render. */
dw_status dw_job_render(const dw_job *job, json_t *chat, const dw_fault *fault,
                        dw_chat_prompt **prompt, dw_error *err);

/* The tokens of a text; the caller's, for dw_free. `flags`: DW_TOKENIZE_*. */
dw_status dw_job_tokenize(const dw_model *model, const char *text, uint32_t flags,
                          dw_token_room *tokens, dw_error *err);

#endif
