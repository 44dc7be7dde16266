/* Answers of OpenAI's /v1/chat/completions and /v1/completions, whole or as server-sent events. */
#ifndef DW_SERVER_COMPLETION_H
#define DW_SERVER_COMPLETION_H

#include "server/openai.h"

#define DW_PROMPTS_MAX 16

typedef struct dw_completion dw_completion;

typedef struct dw_choice_state {
    dw_completion *completion;
    char *message;    /* of a chat, once it is whole: JSON */
    dw__text text;    /* of a text */
    json_t *logprobs; /* tokens so far; NULL: none are asked for */
    size_t text_offset;
    const char *reason; /* static; NULL: it goes on */
    bool begun;         /* its first event was sent */
} dw_choice_state;

/* One of the prompts: a turn of its own. */
typedef struct dw_completion_part {
    dw_completion *completion;
    dw_turn *turn;  /* NULL: it has ended */
    uint32_t first; /* of its choices */
} dw_completion_part;

struct dw_completion {
    dw_server *server;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    uv_timer_t timer;      /* for comments while nothing else is sent */
    bool is_chat;
    bool streams;
    bool tells_usage; /* in the stream */
    bool echoes;      /* the prompt before the text */
    bool paused;
    bool begun;
    int logprobs; /* -1: none */
    char id[48];
    char *model;
    int64_t created;
    uint32_t n; /* choices of a prompt */
    uint32_t part_count;
    uint32_t open; /* parts under way */
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t answer_tokens;
    dw_status status; /* the first failure */
    dw_error error;
    dw_completion_part parts[DW_PROMPTS_MAX];                 /* [part_count] */
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
/* The last event, if usage is asked for: no choices. */
json_t *dw__completion_usage_event(const dw_completion *completion);

#endif
