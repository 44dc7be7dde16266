/* A chat whose history stays in the KV context: a turn forwards only the tokens that are new.
 * Lines come through dw_input: all of them to `main`, or as an actor's messages, one at a time.
 * Where the model called tools, the next lines are their results, one each.
 * /clear begins anew; a cancellation ends the answer, not the chat.
 * Settings as generate's, without DRIFTWOOD_PROMPT and DRIFTWOOD_RAW. */
#include <time.h>

#include "chat_json.h"

#define MAX_TOKENS_DEFAULT 1024
#define LINE_BYTES_START 4096

typedef struct chat {
    int32_t model;
    int32_t context;
    int32_t sampler;
    uint32_t capacity;
    dw_abi_model_info info;
    dw_generate_request speech; /* the answer under way: the host writes to it as it goes on */
    int32_t *said;              /* [capacity + 1]: its tokens */
    int32_t *last;              /* [1]: of these */
    int32_t *held;              /* [capacity]: what the context holds */
    uint32_t held_count;
    json_text held_text; /* the text that those tokens were made of; no bytes: unknown */
    json_text *turns;    /* messages, JSON objects */
    uint32_t turn_count;
    uint32_t first_turn; /* 1 where turns[0] is the system prompt */
    uint64_t tokens_max;
    long long began;     /* what the template takes for now, the same in every turn */
    uint32_t calls_open; /* results that are waited for */
    int forgot;          /* turns were dropped that the context still holds */
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

static void add_turn(chat *chat, json_text message)
{
    chat->turns = grown(chat->turns, (chat->turn_count + 1) * sizeof *chat->turns);
    chat->turns[chat->turn_count++] = message;
}

static void drop_turns(chat *chat, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        free(chat->turns[i].bytes);
    }
    memmove(&chat->turns[from], &chat->turns[from + count],
            (chat->turn_count - from - count) * sizeof *chat->turns);
    chat->turn_count -= count;
}

static void clear(chat *chat)
{
    drop_turns(chat, chat->first_turn, chat->turn_count - chat->first_turn);
    dw_must(dw_context_trim(chat->context, 0), "context");
    chat->held_count = 0;
    chat->held_text.count = 0;
    chat->calls_open = 0;
}

static int is_from(const chat *chat, uint32_t turn, const char *role)
{
    json_text own = json_member_string(chat->turns[turn].bytes, "role");
    int same = strcmp(own.bytes, role) == 0;
    free(own.bytes);
    return same;
}

static json_text request(const chat *chat)
{
    json_text messages = {.count = 0};
    for (uint32_t i = 0; i < chat->turn_count; i++) {
        json_add(&messages, i > 0 ? "," : "");
        json_add(&messages, chat->turns[i].bytes);
    }
    json_text whole = request_of(messages.bytes, chat->began);
    free(messages.bytes);
    return whole;
}

/* What the context is to hold next: tokens to be put behind its first `same`. */
typedef struct turn {
    json_text request;
    char *text; /* of it */
    size_t text_bytes;
    int32_t *tokens;
    uint32_t count;
    int follows; /* tokens go behind all that is held; else they are the whole conversation's */
} turn;

static void turn_release(turn *turn)
{
    free(turn->request.bytes);
    free(turn->text);
    free(turn->tokens);
}

/* The conversation, the assistant's turn opened. Where its text begins with the text that the
 * context holds, only what is behind it is new: answers stay the tokens that they were. */
static turn conversation(const chat *chat)
{
    turn next = {.request = request(chat)};
    next.text = rendered(chat->model, &next.request, &next.text_bytes);
    size_t held = chat->held_text.count;
    next.follows = held > 0 && !chat->forgot && held < next.text_bytes &&
                   memcmp(next.text, chat->held_text.bytes, held) == 0;
    next.tokens = request_tokens(chat->model, &next.request, next.follows ? held : 0, &next.count);
    return next;
}

/* How many turns the oldest exchange has: up to the next line of the user's. 0: it is the only
 * one. */
static uint32_t oldest_exchange(const chat *chat)
{
    for (uint32_t i = chat->first_turn + 1; i + 1 < chat->turn_count; i++) {
        if (is_from(chat, i, "user")) {
            return i - chat->first_turn;
        }
    }
    return 0;
}

/* 1: the conversation, its oldest exchanges dropped until an answer has room in the context. */
static int fitting_conversation(chat *chat, turn *next)
{
    uint32_t dropped = 0;
    for (;;) {
        *next = conversation(chat);
        if (next->count + (next->follows ? chat->held_count : 0) + 1 < chat->capacity) {
            if (dropped > 0) {
                fprintf(stderr,
                        "[the context of %u tokens is full: the oldest %u messages were "
                        "forgotten]\n",
                        chat->capacity, dropped);
            }
            return 1;
        }
        turn_release(next);
        uint32_t exchange = oldest_exchange(chat);
        if (exchange == 0) {
            return 0;
        }
        drop_turns(chat, chat->first_turn, exchange);
        dropped += exchange;
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

/* Let the answer be generated behind `prompt`: as much as is wanted, and as the context takes. */
static void begin_answer(chat *chat, const text_stream *stream, int reads, const int32_t *prompt,
                         uint32_t count)
{
    uint64_t room = chat->capacity - chat->held_count - count + 1;
    uint64_t most = chat->tokens_max > 0 ? chat->tokens_max : 1; /* none is shown */
    chat->speech = generation_of(stream, reads);
    chat->speech.prompt = prompt;
    chat->speech.prompt_count = count;
    chat->speech.tokens = chat->said;
    chat->speech.tokens_max = (uint32_t)(most < room ? most : room);
    dw_must(dw_generate_begin(chat->context, chat->sampler, &chat->speech), "forward");
}

/* Bring the context to hold the turn, and the answer's first token: what it holds already is kept,
 * as far as the two agree. -> 0: it was cancelled */
static int advance(chat *chat, const turn *turn, const text_stream *stream, int reads)
{
    uint32_t same =
        turn->follows ? chat->held_count : held_in_common(chat, turn->tokens, turn->count);
    if (!turn->follows && chat->forgot) {
        close_gap(chat, turn->tokens, turn->count, same);
        same = held_in_common(chat, turn->tokens, turn->count);
        chat->forgot = 0;
    }
    dw_must(dw_context_trim(chat->context, same), "context");
    chat->held_count = same;
    chat->held_text.count = 0;
    /* Tokens must lie aligned, which the middle of a list does not. */
    uint32_t skipped = turn->follows ? 0 : same;
    uint32_t rest = turn->count - skipped;
    int32_t *fresh = dw_aligned(rest, sizeof *fresh);
    memcpy(fresh, turn->tokens + skipped, rest * sizeof *fresh);
    begin_answer(chat, stream, reads, fresh, rest);
    int32_t result = dw_generate_wait(chat->context);
    if (result != DW_E_CANCELLED) {
        dw_must(result, "forward");
    }
    if (chat->speech.token_count > 0) {
        memcpy(chat->held + same, fresh, rest * sizeof *fresh);
        chat->held_count = same + rest;
        json_add_bytes(&chat->held_text, turn->text, turn->text_bytes);
    }
    free(fresh);
    return chat->speech.token_count > 0;
}

/* A token of the answer is appended to what the context holds, with its text. */
static void hold(chat *chat, json_text *said, const int32_t *token)
{
    char piece[1024];
    int32_t bytes =
        dw_detokenize(chat->model, token, 1, piece, sizeof piece, DW_DETOKENIZE_SPECIAL);
    chat->held[chat->held_count++] = *token;
    if (bytes > 0) {
        json_add_bytes(&chat->held_text, piece, (size_t)bytes);
    }
    bytes = dw_detokenize(chat->model, token, 1, piece, sizeof piece, 0);
    if (bytes > 0) {
        json_add_bytes(said, piece, (size_t)bytes);
    }
}

/* The answer has all the tokens it may have: the last one is held as well, if there is room. */
static void hold_last(chat *chat, json_text *said, text_stream *stream)
{
    if (chat->held_count >= chat->capacity) {
        stream_flush(stream);
        fprintf(stderr, "\n[the context of %u tokens is full]", chat->capacity);
        return;
    }
    chat->last[0] = chat->said[chat->speech.token_count - 1];
    int32_t result = dw_forward(chat->context, chat->last, 1, NULL);
    if (result != DW_E_CANCELLED) {
        dw_must(result, "forward");
        hold(chat, said, chat->last);
    }
}

/* Stream the answer under way, until it ends, is cancelled, or there is no more room. The context
 * holds each token when the next one is there. */
static void stream_answer(chat *chat, answer_reader *reader, text_stream *stream, json_text *said)
{
    uint32_t shown = 0;
    for (;;) {
        for (uint32_t there = chat->speech.token_count; shown < there; shown++) {
            const int32_t *token = &chat->said[shown];
            if (shown > 0) {
                hold(chat, said, token - 1);
            }
            if (dw_token_is_end(chat->model, *token) == 1) {
                continue; /* the last, where it ends there */
            }
            if (reader != NULL) {
                answer_token(reader, stream, *token);
            } else {
                stream_token(stream, chat->model, token);
            }
        }
        if (chat->speech.end != DW_GENERATE_GOES_ON) {
            return;
        }
        int32_t result = dw_generate_wait(chat->context);
        if (result != DW_E_CANCELLED) {
            dw_must(result, "forward");
        }
    }
}

/* -> the answer's message */
static json_text speak(chat *chat, answer_reader *reader, text_stream *stream)
{
    json_text said = {.count = 0};
    json_add(&said, "");
    if (chat->tokens_max > 0) {
        stream_answer(chat, reader, stream, &said);
        if (chat->speech.end == DW_GENERATE_MAXIMUM || chat->speech.end == DW_GENERATE_FULL) {
            hold_last(chat, &said, stream);
        }
    }
    stream_flush(stream);
    json_text message = {.count = 0};
    if (reader != NULL) {
        char *read = answer_end(reader);
        json_add(&message, read);
        free(read);
    } else { /* what was said, without the stop string */
        size_t bytes = stream->written < said.count ? stream->written : said.count;
        message = message_of("assistant", said.bytes, bytes);
    }
    free(said.bytes);
    putchar('\n');
    (void)stdout_flush();
    return message;
}

static uint32_t calls_in(const json_text *message)
{
    const char *end;
    uint32_t count = 0;
    const char *calls = json_member(message->bytes, "tool_calls", &end);
    for (const char *at = calls != NULL ? calls + 1 : "]"; *at == '{';) {
        at = json_skip(at);
        at += *at == ',' ? 1 : 0;
        count++;
    }
    return count;
}

/* The call whose result comes next: of the last assistant's message, those before are answered. */
static json_text result_of_call(const chat *chat, const char *line, size_t line_bytes)
{
    const char *end;
    uint32_t results = 0;
    uint32_t turn = chat->turn_count - 1;
    while (is_from(chat, turn, "tool")) {
        results++;
        turn--;
    }
    const char *at = json_member(chat->turns[turn].bytes, "tool_calls", &end) + 1;
    for (uint32_t i = 0; i < results; i++) {
        at = json_skip(at) + 1;
    }
    json_text message = message_of("tool", line, line_bytes);
    const char *id = json_member(at, "id", &end);
    message.count--; /* its brace */
    json_add(&message, ",\"tool_call_id\":");
    json_add_bytes(&message, id, (size_t)(end - id));
    const char *name = json_member(json_member(at, "function", &end), "name", &end);
    json_add(&message, ",\"name\":");
    json_add_bytes(&message, name, (size_t)(end - name));
    json_add(&message, "}");
    return message;
}

static void ask_for_results(const chat *chat)
{
    if (chat->calls_open > 0) {
        fprintf(stderr, "[results of %u tool call%s, one a line]\n", chat->calls_open,
                chat->calls_open > 1 ? "s" : "");
    }
}

static void take_turn(chat *chat, const char *line, size_t line_bytes)
{
    turn next;
    if (chat->calls_open > 0) {
        add_turn(chat, result_of_call(chat, line, line_bytes));
        chat->calls_open--;
        if (chat->calls_open > 0) {
            return;
        }
    } else {
        add_turn(chat, message_of("user", line, line_bytes));
    }
    if (!fitting_conversation(chat, &next)) {
        fprintf(stderr, "[too long for a context of %u tokens; nothing was said]\n",
                chat->capacity);
        drop_turns(chat, chat->turn_count - 1, 1);
        return;
    }
    show_prompt(chat->model, next.tokens, next.count);
    const char *tools = getenv("DRIFTWOOD_TOOLS");
    if (tools != NULL && tools[0] != '\0') {
        dw_must(dw_sampler_chat(chat->sampler, chat->model, next.request.bytes,
                                (uint32_t)next.request.count),
                "tools");
    } else {
        begin_grammar(chat->sampler, chat->model);
    }
    text_stream stream = stream_from_env();
    answer_reader reader;
    int reads = answer_begin(&reader, chat->model, &next.request);
    if (!advance(chat, &next, &stream, reads)) {
        answer_drop(&reader);
        drop_turns(chat, chat->turn_count - 1, 1);
        putchar('\n');
    } else {
        add_turn(chat, speak(chat, reads ? &reader : NULL, &stream));
        chat->calls_open = calls_in(&chat->turns[chat->turn_count - 1]);
        ask_for_results(chat);
    }
    turn_release(&next);
}

static void start(chat *chat)
{
    const char *system = getenv("DRIFTWOOD_SYSTEM");
    chat->tokens_max = dw_setting_max("DRIFTWOOD_MAX_TOKENS", MAX_TOKENS_DEFAULT, INT32_MAX);
    chat->model = dw_must(dw_model_open(NULL, 0), "model");
    dw_must(dw_model_info(chat->model, &chat->info), "model");
    if (!chat->info.has_chat_template) {
        fprintf(stderr, "this model has no chat template: choose one with --chat-template, or use "
                        "`driftwood run --raw`\n");
        exit(1);
    }
    chat->began = (long long)time(NULL);
    chat->sampler = sampler_from_env(chat->model);
    chat->context = dw_must(dw_context_create(chat->model, 0), "context");
    chat->capacity = (uint32_t)dw_context_capacity(chat->context);
    chat->last = dw_aligned(1, sizeof *chat->last);
    chat->said = dw_aligned(chat->capacity + 1, sizeof *chat->said);
    chat->held = dw_aligned(chat->capacity, sizeof *chat->held);
    if (system != NULL && system[0] != '\0') {
        add_turn(chat, message_of("system", system, strlen(system)));
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
        dw_must(length, "input");
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
