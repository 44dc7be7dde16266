/* The life of an answer that is generated for a request, whichever shape it has: its tasks begin,
 * tell what comes, and end; or its client goes first, or reads slowly. The shapes are writers.
 * Thread: the loop's. */
#ifndef DW_SERVER_REPLY_H
#define DW_SERVER_REPLY_H

#include "server/task.h"
#include "server/params.h"

#define DW_REPLY_PARTS_MAX 16
#define DW_EVENT_STREAM "text/event-stream; charset=utf-8"

typedef struct dw_reply dw_reply;

/* What is new of an answer. */
typedef struct dw_reply_piece {
    const json_t *delta; /* of a chat that streams, as OpenAI's events have it; may be NULL */
    const char *text;    /* [bytes]: of what is no chat, or does not stream */
    size_t bytes;
    const json_t *logprobs; /* the guest's list, or NULL */
} dw_reply_piece;

/* How an answer ended. */
typedef struct dw_reply_end {
    const char *reason;  /* static: "stop", "length" or "tool_calls" */
    const char *stop;    /* the stop string that it met, or NULL */
    const char *message; /* the whole of a chat's answer, JSON, or NULL */
    uint32_t tokens;
} dw_reply_end;

/* A shape. `choice` counts over all parts: the first part's n, then the second's. */
typedef struct dw_writer {
    const char *stream_type; /* Content-Type of an answer that streams */
    /* A part's prompt was read: its choices are first .. first + reply->n - 1. May be NULL. */
    void (*on_begin)(dw_reply *reply, uint32_t first);
    void (*on_piece)(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece);
    void (*on_choice_end)(dw_reply *reply, uint32_t choice, const dw_reply_end *end);
    /* All of it is there: the whole, or the rest of a stream, goes out. */
    void (*finish)(dw_reply *reply);
    /* Instead of that, reply->status and reply->error; once reply->begun, as part of the stream. */
    void (*fail)(dw_reply *reply);
    /* Nothing has come for 10 seconds: tells a stream's client that somebody is there. */
    void (*on_silence)(dw_reply *reply);
    /* What the shape's struct holds beyond its dw_reply. */
    void (*release)(dw_reply *reply);
} dw_writer;

/* One of the prompts. */
typedef struct dw_reply_part {
    dw_reply *reply;
    dw_task *task;  /* NULL: it has ended */
    uint32_t first; /* of its choices */
} dw_reply_part;

/* A shape's struct begins with it. What writers may read, and those without remark set before the
 * first part begins. */
struct dw_reply {
    const dw_writer *writer;
    dw_server *server;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    uv_timer_t timer;
    char *model; /* its name */
    bool streams;
    uint32_t n;        /* choices of a part */
    uint64_t begin_ns; /* uv_hrtime at its beginning */
    /* The reply's own: */
    bool begun;  /* the head of a stream is out */
    bool paused; /* the client is behind */
    uint32_t part_count;
    uint32_t open; /* parts under way */
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t answer_tokens;
    dw_status status; /* the first failure */
    dw_error error;
    dw_reply_part parts[DW_REPLY_PARTS_MAX]; /* [part_count] */
};

/* Zeroed but for the reply's members; `bytes` is the size of the shape's struct. NULL: no
 * memory. */
dw_reply *dw_reply_create(size_t bytes, const dw_writer *writer, dw_server *server,
                          dw_exchange *exchange);
/* `model`, `stream` and n of a request; `model` names one that there is. */
void dw_reply_read(dw_reply *reply, const json_t *body, uint32_t n, bool streams, dw_fault *fault);
/* Another prompt: a chat, or NULL: `message` has it. `message` is the guest's message behind it. */
void dw_reply_ask(dw_reply *reply, const json_t *chat, const json_t *message);
/* All prompts are asked: it goes on by itself, and is gone at its end. */
void dw_reply_go(dw_reply *reply);
/* It was never asked, or what was is of no use: the exchange is the caller's again. */
void dw_reply_drop(dw_reply *reply);

/* OpenAI's code for reply->status, or NULL. */
const char *dw_reply_fault_code(const dw_reply *reply);

/* ---- for writers, of a stream ---- */

/* An event, which is released; `type` NULL: it has none. */
void dw_reply_put(dw_reply *reply, const char *type, json_t *event);
/* A line of JSON, which is released. */
void dw_reply_put_line(dw_reply *reply, json_t *line);
void dw_reply_write(dw_reply *reply, const char *bytes, size_t count);
/* Nothing follows. */
void dw_reply_end_stream(dw_reply *reply);
/* The whole of one that does not stream; `body` is released. */
void dw_reply_send(dw_reply *reply, int status, json_t *body);

#endif
