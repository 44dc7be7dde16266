/* An actor that tests talk to, without libc. The first letter of a message says what to do, a
 * number or text follows. Answers are bytes: of each decoded token the token and a digest of the
 * logits it was chosen from, so that two actors are equal when their answers are. */
#include "driftwood_guest.h"

#define MESSAGE_MAX 65536
#define VOCAB_MAX 262144
#define TOKENS_MAX 8192

static DW_ALIGNED float logits[VOCAB_MAX]; /* 1 MiB */
static DW_ALIGNED int32_t tokens[TOKENS_MAX];
static DW_ALIGNED int32_t chosen[1]; /* what the last step that ended with a choice chose */
static char message[MESSAGE_MAX];
static int32_t model;
static int32_t context;
static int32_t sampler;
static uint32_t vocab_count;
static uint32_t counter;
static char id[DW_ACTOR_ID_BYTES];
static int64_t ticket;

#ifdef ACTOR_PAGES      /* actor_pages.c */
#define PAGE_COUNT 128u /* fewer series than a test lists */

static _Alignas(4096) uint32_t pages[PAGE_COUNT][1024];
static uint32_t added;

/* false: they do not add up to `counter`. */
static int add_to_pages(uint32_t value)
{
    uint32_t sum = 0;
    if (value > 0) {
        pages[added++ % PAGE_COUNT][0] += value;
    }
    for (uint32_t i = 0; i < PAGE_COUNT; i++) {
        sum += pages[i][0];
    }
    return sum == counter;
}
#else
static int add_to_pages(uint32_t value)
{
    (void)value;
    return 1;
}
#endif

static uint32_t number(const char *text, int32_t bytes)
{
    uint32_t value = 0;
    for (int32_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    return value;
}

static uint32_t digest_of(const float *values, uint32_t count)
{
    const uint32_t *words = (const uint32_t *)values;
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < count; i++) {
        hash = (hash ^ words[i]) * 16777619u;
    }
    return hash;
}

static int32_t open_model(void)
{
    dw_abi_model_info info;
    if (model != 0) {
        return 0;
    }
    int32_t opened = dw_model_open(NULL, 0);
    int32_t status = opened < 0 ? opened : dw_model_info(opened, &info);
    if (status < 0) {
        return status;
    }
    vocab_count = info.vocab_count;
    if (vocab_count > VOCAB_MAX) {
        return DW_E_SPACE;
    }
    context = dw_context_create(opened, 0);
    if (context < 0) {
        return context;
    }
    sampler = dw_sampler_create(opened, NULL);
    model = opened;
    return sampler < 0 ? sampler : 0;
}

/* N tokens that depend on their place. With `choosing` the step ends with a token instead of
 * logits. */
static int32_t fill(uint32_t count, int choosing)
{
    int32_t length = dw_context_length(context);
    if (count > TOKENS_MAX) {
        return DW_E_LIMIT;
    }
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)((((uint32_t)length + i) * 7919u + 13u) % vocab_count);
    }
    if (choosing) {
        chosen[0] = dw_forward_sample(context, tokens, count, sampler);
        return chosen[0];
    }
    return count == 0 ? 0 : dw_forward(context, tokens, count, logits);
}

static int32_t prompt(const char *text, int32_t bytes)
{
    int32_t count =
        dw_tokenize(model, text, (uint32_t)bytes, tokens, TOKENS_MAX, DW_TOKENIZE_SPECIAL);
    return count <= 0 ? count : dw_forward(context, tokens, (uint32_t)count, logits);
}

static int32_t decode(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t answer[2];
        answer[1] = digest_of(logits, vocab_count);
        tokens[0] = dw_sample(sampler, logits);
        if (tokens[0] < 0) {
            return tokens[0];
        }
        answer[0] = (uint32_t)tokens[0];
        int32_t status = dw_reply(answer, sizeof answer);
        if (status >= 0) {
            status = dw_forward(context, tokens, 1, logits);
        }
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* What would have been chosen, and on with `token` instead. */
static int32_t decode_given(uint32_t token)
{
    tokens[0] = dw_sample(sampler, logits);
    int32_t status = tokens[0] < 0 ? tokens[0] : dw_reply(tokens, sizeof tokens[0]);
    tokens[0] = (int32_t)token;
    return status < 0 ? status : dw_forward(context, tokens, 1, logits);
}

/* The tokens of `decode`, which they are without logits to digest: 0 stands for the digest. */
static int32_t decode_choosing(uint32_t count)
{
    for (uint32_t i = 0; i < count && chosen[0] >= 0; i++) {
        uint32_t answer[2] = {(uint32_t)chosen[0], 0};
        int32_t status = dw_reply(answer, sizeof answer);
        if (status < 0) {
            return status;
        }
        chosen[0] = dw_forward_sample(context, chosen, 1, sampler);
    }
    return chosen[0];
}

static int32_t seeded(uint32_t seed)
{
    static const char *const breakers[] = {"\n", ":"};
    dw_sampler_params params = {.temperature = 0.9f,
                                .top_k = 60,
                                .top_p = 0.97f,
                                .repeat_penalty = 1.1f,
                                .frequency_penalty = 0.1f,
                                .penalty_tokens = 48,
                                .seed = seed,
                                .struct_bytes = sizeof(dw_sampler_params),
                                .xtc_probability = 0.2f,
                                .dry_multiplier = 0.5f};
    dw_sampler_close(sampler);
    sampler = dw_sampler_create(model, &params);
    return sampler < 0 ? sampler : dw_sampler_dry_breakers(sampler, model, breakers, 2);
}

/* So many forks of the context, which stay: each goes on by a token of its own. */
static int32_t branches(uint32_t count)
{
    int32_t status = 0;
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        int32_t branch = dw_context_fork(context);
        tokens[0] = (int32_t)(i % vocab_count);
        status = branch < 0 ? branch : dw_forward(branch, tokens, 1, logits);
    }
    return status;
}

/* A digest of the last row again, from what the context keeps. */
static int32_t last_row(void)
{
    int32_t status = dw_context_logits(context, logits);
    uint32_t digest = status < 0 ? (uint32_t)status : digest_of(logits, vocab_count);
    return dw_reply(&digest, sizeof digest);
}

/* So many MiB for the ticket. */
static int32_t answer_mib(uint32_t count)
{
    int32_t status = 0;
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        status = dw_reply_to(ticket, logits, 1u << 20, 0);
    }
    return status;
}

/* Rows of logits that are kept, and answers that come later: by the ticket taken last. */
static int32_t later(char what, const char *text, int32_t bytes)
{
    switch (what) {
    case 'l': /* keep so many rows */
        return dw_context_rows(context, number(text, bytes));
    case 'L':
        return last_row();
    case 'v': /* a window behind the first 4 */
        return dw_context_window(context, 4, number(text, bytes));
    case 'Z': /* the ticket of that number */
        ticket = (int64_t)number(text, bytes);
        return 0;
    case 'r': /* this message's */
        ticket = dw_reply_later();
        return ticket < 0 ? (int32_t)ticket : 0;
    case 'R': /* the same, and in 50 ms the rest of this message as its end */
        ticket = dw_reply_later();
        message[0] = 'z';
        return ticket < 0 ? (int32_t)ticket : dw_actor_timer(50, message, (uint32_t)bytes + 1);
    case 'a': /* this message's, and at once the rest of it as its end */
        ticket = dw_reply_later();
        return ticket < 0 ? (int32_t)ticket
                          : dw_reply_to(ticket, text, (uint32_t)bytes, DW_REPLY_LAST);
    case 'B':
        return answer_mib(number(text, bytes));
    case 'y':
        return dw_reply_to(ticket, text, (uint32_t)bytes, 0);
    case 'z':
        return dw_reply_to(ticket, text, (uint32_t)bytes, DW_REPLY_LAST);
    default:
        return DW_E_ARG;
    }
}

/* What it asks of its host: others like it, messages to them, timers, its end. */
static int32_t ask(char what, const char *text, int32_t bytes)
{
    switch (what) {
    case 'F': /* an own fork that adds the number */
        message[0] = '+';
        return dw_actor_fork(message, (uint32_t)bytes + 1, id, sizeof id);
    case 'S':
        message[0] = '+';
        return dw_actor_spawn(NULL, 0, message, (uint32_t)bytes + 1, id, sizeof id);
    case 'T': /* at once, add the number */
        message[0] = '+';
        return dw_actor_timer(0, message, (uint32_t)bytes + 1);
    case 'A': /* at once, the rest of this message */
        return dw_actor_timer(0, text, (uint32_t)bytes);
    case 'N': { /* a new one with the rest of this message */
        int32_t made = dw_actor_spawn(NULL, 0, text, (uint32_t)bytes, id, sizeof id);
        return made < 0 ? made : dw_reply(id, sizeof id - 1);
    }
    case 'U': /* a new one of the guest that the rest of this message names */
        return dw_actor_spawn(text, (uint32_t)bytes, text, 0, id, sizeof id);
    case 'I': /* the one that the next 'D' is for */
        if (bytes != (int32_t)sizeof id - 1) {
            return DW_E_ARG;
        }
        __builtin_memcpy(id, text, sizeof id - 1);
        return 0;
    case 'D': /* the rest of this message to the one named, forked or spawned last */
        return dw_actor_send(id, sizeof id - 1, text, (uint32_t)bytes);
    case 'M': /* the number to the one forked or spawned last */
        message[0] = '+';
        return dw_actor_send(id, sizeof id - 1, message, (uint32_t)bytes + 1);
    case 'X':
        return dw_actor_stop();
    default:
        return later(what, text, bytes);
    }
}

static int32_t act(char what, const char *text, int32_t bytes)
{
    uint32_t value = number(text, bytes);
    switch (what) {
    case 'm':
        return open_model();
    case 'p':
        return prompt(text, bytes);
    case 'n':
        return fill(value, 0);
    case 'q':
        return fill(value, 1);
    case 'G': /* behind a 'q' */
        return decode_choosing(value);
    case 'g':
        return decode(value);
    case 'h':
        return decode_given(value);
    case 's':
        return seeded(value);
    case 't':
        return dw_context_trim(context, value);
    case 'k': /* drop `value` tokens behind the first 4 */
        return dw_context_shift(context, 4, value);
    case 'f': { /* on in a fork of the context; the other is closed */
        int32_t branch = dw_context_fork(context);
        int32_t status = branch < 0 ? branch : dw_context_close(context);
        context = branch < 0 ? context : branch;
        return status;
    }
    case 'b':
        return branches(value);
    case '+':
        counter += value;
        return add_to_pages(value) ? dw_reply(&counter, sizeof counter) : DW_E_STATE;
    case 'i': {
        int32_t length = dw_actor_id(message, sizeof message);
        return length < 0 ? length : dw_reply(message, (uint32_t)length);
    }
    case 'w': {
        int32_t length = dw_message_from(message, sizeof message);
        return length < 0 ? length : dw_reply(message, (uint32_t)length);
    }
    case 'c': { /* the clock, which two never read alike */
        uint64_t now = dw_clock_ns();
        return dw_reply(&now, sizeof now);
    }
    case 'e': /* an error that it lives on after */
        return DW_E_HANDLE;
    case '!':
        __builtin_trap();
    default:
        return ask(what, text, bytes);
    }
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    if (bytes < 1) {
        return bytes < 0 ? bytes : DW_E_ARG;
    }
    int32_t status = act(message[0], message + 1, bytes - 1);
    return status < 0 ? status : 0;
}
