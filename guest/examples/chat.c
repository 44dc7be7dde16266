/* A chat whose history stays in the KV context: a turn forwards only the tokens that are new.
 * Lines come through dw_input: all of them to `main`, or as an actor's messages, one at a time.
 * /clear begins anew; a cancellation ends the answer, not the chat.
 * Settings as generate's, without DRIFTWOOD_PROMPT and DRIFTWOOD_RAW. */
#include "text.h"

#define MAX_TOKENS_DEFAULT 1024
#define LINE_BYTES_START 4096

typedef struct chat {
    int32_t model;
    int32_t context;
    int32_t sampler;
    uint32_t capacity;
    dw_abi_model_info info;
    int32_t *next; /* [1]: the token chosen last */
    int32_t *held; /* [capacity]: what the context holds */
    uint32_t held_count;
    dw_message *turns; /* roles are static, contents owned */
    uint32_t turn_count;
    uint32_t first_turn; /* 1 where turns[0] is the system prompt */
    uint64_t tokens_max;
    int forgot; /* turns were dropped that the context still holds */
} chat;

static void *grown(void *memory, size_t bytes)
{
    void *larger = realloc(memory, bytes);
    if (larger == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(1);
    }
    return larger;
}

static void add_turn(chat *chat, const char *role, const char *content, size_t content_bytes)
{
    char *copy = grown(NULL, content_bytes + 1);
    memcpy(copy, content, content_bytes);
    copy[content_bytes] = '\0';
    chat->turns = grown(chat->turns, (chat->turn_count + 1) * sizeof *chat->turns);
    chat->turns[chat->turn_count++] = (dw_message){role, copy};
}

static void drop_turns(chat *chat, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        free((void *)chat->turns[i].content);
    }
    memmove(&chat->turns[from], &chat->turns[from + count],
            (chat->turn_count - from - count) * sizeof *chat->turns);
    chat->turn_count -= count;
}

static void clear(chat *chat)
{
    drop_turns(chat, chat->first_turn, chat->turn_count - chat->first_turn);
    must(dw_context_trim(chat->context, 0), "context");
    chat->held_count = 0;
}

/* The whole conversation's tokens, the assistant's turn opened. */
static int32_t *conversation(const chat *chat, uint32_t *count)
{
    char *text = templated(chat->model, chat->turns, chat->turn_count, 1);
    if (text == NULL) {
        die("this model cannot chat");
    }
    uint32_t flags = DW_TOKENIZE_PARSE | (chat->info.adds_bos ? DW_TOKENIZE_SPECIAL : 0);
    int32_t *tokens = tokens_of(chat->model, text, strlen(text), flags, count);
    free(text);
    return tokens;
}

/* The conversation, its oldest exchanges dropped until an answer has room in the context. */
static int32_t *fitting_conversation(chat *chat, uint32_t *count)
{
    uint32_t dropped = 0;
    for (;;) {
        int32_t *tokens = conversation(chat, count);
        if (*count + 1 < chat->capacity) {
            if (dropped > 0) {
                fprintf(stderr,
                        "[the context of %u tokens is full: the oldest %u messages were "
                        "forgotten]\n",
                        chat->capacity, dropped);
            }
            return tokens;
        }
        free(tokens);
        uint32_t pair = chat->turn_count - chat->first_turn > 2 ? 2 : 0;
        if (pair == 0) {
            return NULL;
        }
        drop_turns(chat, chat->first_turn, pair);
        dropped += pair;
        chat->forgot = 1;
    }
}

/* Where messages were dropped behind the first `same` tokens, what the context holds of later ones
 * moves forward instead of being computed again. */
static void close_gap(chat *chat, const int32_t *tokens, uint32_t count, uint32_t same)
{
    uint32_t best = 0; /* tokens that go on as the conversation does */
    uint32_t drop = 0;
    for (uint32_t gap = 1; same + gap + best < chat->held_count; gap++) {
        uint32_t run = 0;
        while (same + gap + run < chat->held_count && same + run + 1 < count &&
               chat->held[same + gap + run] == tokens[same + run]) {
            run++;
        }
        if (run > best) {
            best = run;
            drop = gap;
        }
    }
    if (drop > 0 && dw_context_shift(chat->context, same, drop) >= 0) {
        chat->held_count -= drop;
        memmove(chat->held + same, chat->held + same + drop,
                (chat->held_count - same) * sizeof *chat->held);
    }
}

static uint32_t held_in_common(const chat *chat, const int32_t *tokens, uint32_t count)
{
    uint32_t same = 0;
    while (same < chat->held_count && same + 1 < count && chat->held[same] == tokens[same]) {
        same++;
    }
    return same;
}

/* Bring the context to hold `tokens`, and choose what follows: what it holds already is kept, as
 * far as the two agree. An answer tokenised anew may differ from the tokens it was made
 * of; then its tail is computed again. */
static int32_t advance(chat *chat, const int32_t *tokens, uint32_t count)
{
    uint32_t same = held_in_common(chat, tokens, count);
    if (chat->forgot) {
        close_gap(chat, tokens, count, same);
        same = held_in_common(chat, tokens, count);
        chat->forgot = 0;
    }
    must(dw_context_trim(chat->context, same), "context");
    chat->held_count = same;
    /* Tokens must lie aligned, which the middle of a list does not. */
    uint32_t rest = count - same;
    int32_t *fresh = aligned(rest, sizeof *fresh);
    memcpy(fresh, tokens + same, rest * sizeof *fresh);
    int32_t result = dw_forward_sample(chat->context, fresh, rest, chat->sampler);
    if (result >= 0) {
        chat->next[0] = result;
        memcpy(chat->held + same, fresh, rest * sizeof *fresh);
        chat->held_count = count;
    }
    free(fresh);
    return result;
}

typedef struct answer {
    char *text;
    size_t bytes;
} answer;

static void answer_add(chat *chat, answer *answer)
{
    char piece[512];
    int32_t bytes = dw_detokenize(chat->model, chat->next, 1, piece, sizeof piece, 0);
    if (bytes > 0) {
        answer->text = grown(answer->text, answer->bytes + (size_t)bytes);
        memcpy(answer->text + answer->bytes, piece, (size_t)bytes);
        answer->bytes += (size_t)bytes;
    }
}

/* Stream an answer, whose first token is chosen, until it ends, is cancelled, or there is no more
 * room. */
static void speak(chat *chat, answer *answer)
{
    text_stream stream = stream_from_env();
    for (uint64_t i = 0; i < chat->tokens_max; i++) {
        int last = i + 1 == chat->tokens_max;
        if (dw_token_is_end(chat->model, chat->next[0]) == 1) {
            break;
        }
        answer_add(chat, answer);
        if (stream_token(&stream, chat->model, chat->next)) {
            break;
        }
        if (chat->held_count >= chat->capacity) {
            stream_flush(&stream);
            fprintf(stderr, "\n[the context of %u tokens is full]", chat->capacity);
            break;
        }
        int32_t result = last ? dw_forward(chat->context, chat->next, 1, NULL)
                              : dw_forward_sample(chat->context, chat->next, 1, chat->sampler);
        if (result == DW_E_CANCELLED) {
            break;
        }
        must(result, "forward");
        chat->held[chat->held_count++] = chat->next[0];
        chat->next[0] = result; /* behind the last it is not looked at */
    }
    stream_flush(&stream);
    answer->bytes = stream.written; /* what was said, without the stop string */
    putchar('\n');
    fflush(stdout);
}

static void take_turn(chat *chat, const char *line, size_t line_bytes)
{
    uint32_t count;
    answer answer = {.text = NULL};
    add_turn(chat, "user", line, line_bytes);
    int32_t *tokens = fitting_conversation(chat, &count);
    if (tokens == NULL) {
        fprintf(stderr, "[too long for a context of %u tokens; nothing was said]\n",
                chat->capacity);
        drop_turns(chat, chat->turn_count - 1, 1);
        return;
    }
    begin_grammar(chat->sampler, chat->model);
    int32_t chosen = advance(chat, tokens, count);
    free(tokens);
    if (chosen == DW_E_CANCELLED) {
        drop_turns(chat, chat->turn_count - 1, 1);
        putchar('\n');
        return;
    }
    must(chosen, "forward");
    speak(chat, &answer);
    add_turn(chat, "assistant", answer.text != NULL ? answer.text : "", answer.bytes);
    free(answer.text);
}

static void start(chat *chat)
{
    const char *system = getenv("DRIFTWOOD_SYSTEM");
    chat->tokens_max = whole_from("DRIFTWOOD_MAX_TOKENS", MAX_TOKENS_DEFAULT, INT32_MAX);
    chat->model = must(dw_model_open(NULL, 0), "model");
    must(dw_model_info(chat->model, &chat->info), "model");
    if (!chat->info.has_chat_template) {
        fprintf(stderr, "this model has no chat template: use `driftwood run --raw`\n");
        exit(1);
    }
    chat->sampler = sampler_from_env(chat->model);
    chat->context = must(dw_context_create(chat->model, 0), "context");
    chat->capacity = (uint32_t)dw_context_capacity(chat->context);
    chat->next = aligned(1, sizeof *chat->next);
    chat->held = aligned(chat->capacity, sizeof *chat->held);
    if (system != NULL && system[0] != '\0') {
        add_turn(chat, "system", system, strlen(system));
        chat->first_turn = 1;
    }
}

/* 0: there are no more lines; -1: this one is no text. */
static int take_line(chat *chat)
{
    size_t capacity = LINE_BYTES_START;
    char *line = grown(NULL, capacity);
    int32_t length = dw_input(line, (uint32_t)capacity);
    while (length == DW_E_SPACE && capacity < (64U << 20)) {
        capacity *= 2; /* the message waits */
        line = grown(line, capacity);
        length = dw_input(line, (uint32_t)capacity);
    }
    if (length != DW_E_END) {
        must(length, "input");
    }
    const char *zero = length > 0 ? memchr(line, 0, (size_t)length) : NULL;
    if (zero != NULL) {
        fprintf(stderr, "[a zero byte at %d: this is no text; nothing was said]\n",
                (int)(zero - line));
        free(line);
        return -1;
    }
    if (length == 6 && memcmp(line, "/clear", 6) == 0) {
        clear(chat);
        fprintf(stderr, "[cleared]\n");
    } else if (length > 0) {
        take_turn(chat, line, (size_t)length);
    }
    free(line);
    return length != DW_E_END;
}

static chat own;

int main(void)
{
    start(&own);
    while (take_line(&own)) {}
    return 0;
}

DW_ACTOR_RECEIVE
{
    if (own.model == 0) {
        start(&own);
    }
    return take_line(&own) < 0 ? DW_E_ARG : 0;
}
