/* Answers of OpenAI's /v1/chat/completions and /v1/completions, whole or as server-sent events. */
#ifndef DW_ROUTES_COMPLETION_H
#define DW_ROUTES_COMPLETION_H

#include "serving/openai.h"
#include "serving/reply.h"

#define DW_PROMPTS_MAX DW_REPLY_PARTS_MAX

typedef struct dw_completion dw_completion;

typedef struct dw_choice_state {
    char *message;    /* of a chat, once it is whole: JSON */
    dw_text text;     /* of a text */
    dw_text start;    /* what its events begin with, once there is one */
    json_t *logprobs; /* tokens so far; NULL: none are asked for */
    size_t text_offset;
    const char *reason; /* static; NULL: it goes on */
    bool begun;         /* its first event was sent */
} dw_choice_state;

struct dw_completion {
    dw_reply reply;
    bool is_chat;
    bool tells_usage; /* in the stream */
    bool echoes;      /* the prompt before the text */
    int logprobs;     /* -1: none */
    char id[48];
    int64_t created;
    dw_text event;                                            /* the one that is written */
    char *prompts[DW_PROMPTS_MAX];                            /* texts, where they are echoed */
    dw_choice_state choices[DW_PROMPTS_MAX * DW_CHOICES_MAX]; /* [part_count * n] */
};

/* ---- completion_json.c ---- */

/* The logprobs of a guest's line appended to those of the choice. */
void dw__completion_note_logprobs(dw_choice_state *choice, const json_t *line);
/* As the route has them; NULL: none. `from`: the first that counts. */
json_t *dw__completion_logprobs(const dw_completion *completion, dw_choice_state *choice,
                                size_t from);
/* The whole answer; the caller's. */
json_t *dw__completion_whole(const dw_completion *completion);
/* An event with one choice, whose delta or text is `content`, which is taken over. `reason` NULL:
 * it goes on. */
json_t *dw__completion_event(const dw_completion *completion, uint32_t choice, json_t *content,
                             json_t *logprobs, const char *reason);
/* The same of one that goes on, as text: `content` is JSON. NULL: there is no memory for it. */
const dw_text *dw__completion_piece(dw_completion *completion, uint32_t choice, const char *content,
                                    json_t *logprobs);
/* The last event, if usage is asked for: no choices. */
json_t *dw__completion_usage_event(const dw_completion *completion);

#endif
