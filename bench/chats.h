/* Our side of conversations: actors of a runtime that run the chat guest. Ends the program where
 * something fails. */
#ifndef BENCH_CHATS_H
#define BENCH_CHATS_H

#include <stdint.h>

#include "driftwood.h"

typedef struct bench_chats {
    dw_engine *engine;
    dw_model *model;
    dw_module *guest;
    dw_runtime *runtime;
} bench_chats;

/* Of the next actor. The likeliest tokens are chosen, `answer` of them whatever they are. */
typedef struct bench_chat {
    const char *system; /* the prompt that it begins with; NULL or "": the template's own */
    uint32_t answer;
    uint32_t context_tokens;
} bench_chat;

void bench_must(dw_status status, const dw_error *error);

/* `device` NULL: the CPU. In memory, with the model mapped and the guest compiled. */
void bench_chats_open(bench_chats *chats, const char *model, const char *device, int threads);
/* The runtime, with options (NULL: none). */
void bench_chats_run(bench_chats *chats, const dw_runtime_options *options);
void bench_chats_close(bench_chats *chats);

/* Begin to make one: messages may be sent at once. */
void bench_chats_spawn(bench_chats *chats, const bench_chat *chat, char id[DW_ACTOR_ID_CHARS + 1]);

#endif
