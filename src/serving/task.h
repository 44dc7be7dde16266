/* Something generated over HTTP: a request becomes a message to the actor that holds the
 * conversation, whose answer comes back piece by piece. Which actor that is, is found by the text
 * of the request (index.h): one that goes on gets the message, one that branches off gets a fork of
 * the actor, any other a new actor.
 * Thread: the loop's. */
#ifndef DW_SERVING_TASK_H
#define DW_SERVING_TASK_H

#include <jansson.h>

#include "serving/serving.h"
#include "serving/terms.h"

#define DW_CHOICES_MAX 16

/* How an answer ended. */
typedef struct dw_choice_end {
    const char *reason;  /* static: "stop", "length" or "tool_calls" */
    const char *stop;    /* the stop string that it met, or NULL */
    const char *message; /* the whole of a chat's answer, JSON, or NULL */
    uint32_t tokens;
    uint32_t reasoning_tokens; /* of them: up to the last that was reasoning alone */
} dw_choice_end;

/* What the front end is told, in this order. `user` is the asker's until on_end. */
typedef struct dw_task_ops {
    /* The prompt's tokens, and of them those that need not be computed. */
    void (*on_begin)(void *user, uint32_t prompt_tokens, uint32_t cached_tokens);
    /* Something new of an answer: of a chat `delta`, as dw_chat_answer_feed gives it, else `text`
     * [bytes]. `logprobs` is the guest's list, or NULL. */
    void (*on_piece)(void *user, uint32_t choice, const char *delta, const char *text, size_t bytes,
                     json_t *logprobs);
    /* An answer has ended. */
    void (*on_choice_end)(void *user, uint32_t choice, const dw_choice_end *end);
    /* A line of the guest's that is none of these; may be NULL. */
    void (*on_line)(void *user, const json_t *line);
    /* What the failure that on_end tells is of: a parameter's name, static; may be NULL. */
    void (*on_fault)(void *user, const char *param);
    /* The end of all, once; nothing is called afterwards. */
    void (*on_end)(void *user, dw_status status, const dw_error *error);
} dw_task_ops;

typedef struct dw_task_request {
    const char *tenant; /* whose it is; not NULL */
    const char *model;  /* NULL: the first */
    const char *chat;   /* a request as dw_chat_render reads it; NULL: it is none */
    const char *rest;   /* members of the guest's message behind it, "\"max\":5,\"n\":1" */
    const json_t *lora; /* adapters of the model, [{id, scale}...]; NULL: its usual ones */
    uint32_t n;
    const dw_terms *terms;   /* NULL: none */
    const char *traceparent; /* as dw_request has it; NULL: none */
    const dw_task_ops *ops;
    void *user;
} dw_task_request;

/* Copied but for ops and user. Errors: DW_E_NOT_FOUND (no such model), DW_E_DENIED (the tenant may
 * not have it), DW_E_BUSY (as many as may be are under way), DW_E_MEMORY, DW_E_STATE (the server is
 * leaving): then nothing is called. */
dw_status dw_task_begin(dw_task **out, dw_server *server, const dw_task_request *request,
                        dw_error *err);
/* Nobody waits for it any more: the device stops working for it, and nothing is called. */
void dw_task_leave(dw_task *task);
/* Whether pieces are told: while not, what comes is kept, and beyond a bound the guest waits. */
void dw_task_pause(dw_task *task, bool paused);

/* For the server: something came for one of the tasks; all are to end. */
void dw_tasks_look(dw_server *server);
void dw_tasks_cancel(dw_server *server);
/* Bytes of answers that came from guests, and were not looked at yet. */
size_t dw_tasks_held_bytes(dw_server *server);

#endif
