/* The life of an answer that is generated for a request, whichever shape it has: its tasks begin,
 * tell what comes, and end; or its client goes first, or reads slowly. The shapes are writers.
 * Thread: the loop's. */
#ifndef DW_SERVING_REPLY_H
#define DW_SERVING_REPLY_H

#include "serving/params.h"
#include "serving/task.h"

#define DW_REPLY_PARTS_MAX 16
#define DW_EVENT_STREAM "text/event-stream; charset=utf-8"

typedef struct dw_reply dw_reply;

#define DW_LINGER_S_MAX 600

/* What is new of an answer. */
typedef struct dw_reply_piece {
    const json_t *delta;    /* of a chat that streams, or wants_deltas, as OpenAI has it; or NULL */
    const char *delta_text; /* the same as JSON text, which is all there is where takes_text */
    const char *text;       /* [bytes]: as the model wrote it */
    size_t bytes;
    const json_t *logprobs; /* the guest's list, or NULL */
} dw_reply_piece;

/* A shape. What ends an answer, finish or fail, calls dw_reply_end_stream or dw_reply_send; at once
 * or behind dw_reply_work. `choice` counts over all parts: the first part's n, then the next's. */
typedef struct dw_writer {
    const char *stream_type; /* Content-Type of an answer that streams */
    bool wants_deltas;       /* also of one that does not stream */
    bool takes_text;         /* delta_text alone */
    /* A part's prompt was read: its choices are first .. first + reply->n - 1. May be NULL. */
    void (*on_begin)(dw_reply *reply, uint32_t first);
    void (*on_piece)(dw_reply *reply, uint32_t choice, const dw_reply_piece *piece);
    void (*on_choice_end)(dw_reply *reply, uint32_t choice, const dw_choice_end *end);
    /* All of it is there: the whole, or the rest of a stream, goes out. */
    void (*finish)(dw_reply *reply);
    /* Instead of that, reply->status and reply->error; once reply->begun, as part of the stream. */
    void (*fail)(dw_reply *reply);
    /* Nothing has come for server->heartbeat_ms: tells a stream's client that somebody is there,
     * before the head of the stream is out, too. */
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
    char id[64]; /* that others find it by; "": nobody does */
    char tenant[DW_TENANT_NAME_MAX + 1];
    dw_terms terms;
    size_t key; /* that asked */
    bool streams;
    uint32_t n; /* choices of a part */
    uint32_t
        linger_ms; /* how long it goes on, and is kept behind its end, without a client; 0: not */
    bool endures;  /* it goes on to its end whether there is a client or not */
    uint64_t begin_ns;  /* uv_hrtime at its beginning */
    uint64_t prompt_ns; /* when the first prompt was read; 0: not yet */
    uint64_t first_ns;  /* when the first piece came; 0: not yet */
    uint64_t last_ns;   /* and the last so far */
    uint64_t word_ms;   /* uv_now when something was last written to the client */
    /* The reply's own: */
    bool begun;  /* the head of a stream is out */
    bool paused; /* the client is behind */
    bool works;  /* dw_reply_work is under way */
    bool ended;  /* nothing follows */
    uint32_t part_count;
    uint32_t open; /* parts under way */
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t answer_tokens;
    uint64_t reasoning_tokens; /* of them */
    uint64_t piece_count;
    uint64_t event_count; /* told so far */
    dw_status status;     /* the first failure */
    dw_error error;
    const char *fault_param; /* what it is of, static; NULL: the model, or the prompt */
    dw_reply_part parts[DW_REPLY_PARTS_MAX]; /* [part_count] */
    uv_timer_t patience;                     /* while there is no client */
    uint32_t handles;                        /* that are not closed yet */
    uv_work_t work;
    void (*worker)(dw_reply *reply);
    void (*worked)(dw_reply *reply);
    dw_text lines;  /* of the event that is written */
    json_t *raws;   /* dw_raw_add's; NULL: none yet */
    dw_text log;    /* events that can be told again, where it lingers or endures */
    size_t *starts; /* [event_count]: of each in `log` */
    size_t start_room;
    bool log_lost;    /* there were too many */
    dw_reply *before; /* of the server's */
    dw_reply *next;
};

/* Zeroed but for the reply's members; `bytes` is the size of the shape's struct. NULL: no
 * memory. */
dw_reply *dw_reply_create(size_t bytes, const dw_writer *writer, dw_server *server,
                          dw_exchange *exchange);
/* `model`, `stream`, n and terms of a request; `model` names one that there is. */
void dw_reply_read(dw_reply *reply, const json_t *body, uint32_t n, bool streams, dw_fault *fault);
/* Another prompt: a chat, or NULL: `message` has it. `message` is the guest's message behind it. */
void dw_reply_ask(dw_reply *reply, const json_t *chat, const json_t *message);
/* All prompts are asked: it goes on by itself, and is gone at its end. */
void dw_reply_go(dw_reply *reply);
/* `work` off the loop, then `done` on it, where the client may be gone (reply->exchange NULL) and
 * nothing else has happened. `done` goes on with it or ends it. */
void dw_reply_work(dw_reply *reply, void (*work)(dw_reply *reply), void (*done)(dw_reply *reply));
/* It was never asked, or what was is of no use: the exchange is the caller's again. */
void dw_reply_drop(dw_reply *reply);

/* The client may go, and this one, or another of the same tenant, come back: it lingers for as long
 * as the request's header x-driftwood-linger says, and the answer's x-driftwood-stream has its id:
 * `id`, or one that is made. */
void dw_reply_read_linger(dw_reply *reply, const char *id, dw_fault *fault);
/* The one of that id; NULL: there is none, or it is another tenant's. */
dw_reply *dw_reply_find(dw_server *server, const char *tenant, const char *id);
/* Its stream goes to this exchange from now on, from the event behind number `after` on (-1: the
 * first). false: events before that are no longer kept; nothing has happened. */
bool dw_reply_attach(dw_reply *reply, dw_exchange *exchange, int64_t after);
/* What the query's `name` says of that; -1: nothing. */
int64_t dw_reply_after(const dw_exchange *exchange, const char *name, dw_fault *fault);
/* Nothing more is generated for it; it fails with DW_E_CANCELLED. */
void dw_reply_cancel(dw_reply *reply);
/* Those that have ended, and only linger, are gone. */
void dw_replies_forget(dw_server *server);

/* OpenAI's code for reply->status, or NULL. */
const char *dw_reply_fault_code(const dw_reply *reply);

/* ---- for writers, of a stream ---- */

/* A value of what is put or sent next: `text`, JSON, which is released, stands there as it is. */
json_t *dw_reply_raw(dw_reply *reply, char *text);
/* An event, which is released; `type` NULL: it has none. */
void dw_reply_put(dw_reply *reply, const char *type, json_t *event);
/* The same of JSON as text. */
void dw_reply_put_text(dw_reply *reply, const char *type, const char *text, size_t bytes);
/* A line of JSON, which is released. */
void dw_reply_put_line(dw_reply *reply, json_t *line);
/* The same in bytes; and what is no event, as a comment. */
void dw_reply_write_event(dw_reply *reply, const char *bytes, size_t count);
void dw_reply_write(dw_reply *reply, const char *bytes, size_t count);
/* ": working", which readers of events pass over. */
void dw_reply_put_comment(dw_reply *reply);
/* Nothing follows. */
void dw_reply_end_stream(dw_reply *reply);
/* The whole of one that does not stream; `body` is released. */
void dw_reply_send(dw_reply *reply, int status, json_t *body);

/* GET, DELETE /v1/streams/ID: `rest` is behind the route's '/'. */
void dw_streams_one(dw_server *server, dw_exchange *exchange, const char *rest);

#endif
