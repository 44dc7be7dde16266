/* An actor: a chat that keeps its context between messages.
 *   driftwood actor spawn --state state --guest ./actor.wasm > id
 *   driftwood actor send --state state $(cat id) "Name a sea." */
#include "driftwood_helpers.h"

#define TURNS_MAX 200
#define ANSWER_TOKENS 24

/* All of it is saved with the actor's memory behind each message. */
static int32_t model, context, sampler;
static dw_message turns[TURNS_MAX];
static uint32_t turn_count;
static int32_t *held; /* [held_count]: what the context holds */
static uint32_t held_count;

static void hear(void)
{
    for (uint32_t room = 4096;; room *= 2) {
        char *text = dw_aligned(room, 1);
        int32_t bytes = dw_input(text, room - 1);
        if (bytes != DW_E_SPACE) {
            text[dw_must(bytes, "input")] = '\0';
            turns[turn_count++] = (dw_message){"user", text};
            return;
        }
        free(text);
    }
}

/* The conversation's tokens, of which those that the context does not hold are computed. */
static void answer(void)
{
    uint32_t count, room = 4096;
    for (uint32_t i = 0; i < turn_count; i++) {
        room += (uint32_t)strlen(turns[i].content) + 64;
    }
    char *text = dw_aligned(room, 1);
    text[dw_must(dw_chat_template(model, turns, turn_count, 1, text, room - 1), "chat")] = '\0';
    int32_t *tokens =
        dw_tokens_of(model, text, DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE, &count);
    free(text);
    uint32_t same = 0;
    while (same < held_count && same + 1 < count && held[same] == tokens[same]) {
        same++;
    }
    dw_must(dw_context_trim(context, same), "trim");
    int32_t *all = dw_aligned(count + ANSWER_TOKENS, sizeof *all);
    int32_t *fresh = dw_aligned(count - same, sizeof *fresh);
    memcpy(all, tokens, count * sizeof *all);
    memcpy(fresh, tokens + same, (count - same) * sizeof *fresh);
    free(tokens);
    free(held);
    held = all;
    held_count = count;
    dw_text_stream stream = {.count = 0};
    uint32_t fresh_count = count - same;
    for (uint32_t said = 0; said < ANSWER_TOKENS; said++) {
        fresh[0] = dw_must(dw_forward_sample(context, fresh, fresh_count, sampler), "forward");
        fresh_count = 1;
        if (dw_token_is_end(model, fresh[0]) == 1) {
            break;
        }
        dw_text_put(&stream, model, fresh[0]);
        held[held_count++] = fresh[0];
    }
    putchar('\n');
    turns[turn_count++] =
        (dw_message){"assistant", dw_text_of(model, held + count, held_count - count)};
    held_count = (uint32_t)dw_must(dw_context_length(context), "length");
    free(fresh);
}

DW_ACTOR_RECEIVE
{
    if (model == 0) {
        model = dw_must(dw_model_open(NULL, 0), "model");
        context = dw_must(dw_context_create(model, 0), "context");
        sampler = dw_sampler_of(model, 0.0, 0);
    }
    if (turn_count + 2 > TURNS_MAX) {
        return DW_E_LIMIT;
    }
    hear();
    answer();
    return 0;
}
