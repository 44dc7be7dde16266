/* A conversation that is held over messages: what the context holds is kept as far as the next
 * request agrees with it. `driftwood serve` runs one of these for each conversation.
 *
 * A message is compact JSON:
 *   request   a chat, as dw_chat_render reads it; or prompt, a text; or tokens, a list
 *   max       tokens of an answer at most; 0: as many as the context takes
 *   n         answers
 *   stop      texts that end an answer, none of which is told; ends: likewise, of the format
 *   sampler   dw_sampler_params by name; bias: [[token, bias]...]; grammar; schema
 *   logprobs  how many of the likeliest tokens are told with each; -1: none is
 *   past_end  true: end tokens do not end an answer
 *   lora      [[adapter, scale]...]: those of the model that the context has from now on; what it
 *             holds with others is given up. Without it the context keeps those that it has
 *   embed     in the place of all that: texts, or lists of tokens, whose embeddings are wanted
 * and its answer is JSON, an object a line:
 *   {"prompt": tokens, "cached": of them those that the context held}
 *   {"c": answer, "k": tokens of it so far, "t": "text",
 *    "l": [[token, "bytes", logprob, [[token, "bytes", logprob]...]]]}
 *   {"c": answer, "end": why, "tokens": of it, "stop": "the text" or null}
 *   {"e": of which text, "tokens": of it, "v": floats of 32 bits, as bytes}
 *   {"error": status, "what": "..."}
 * Text is as the model wrote it, with its special tokens where a chat is asked for. Bytes are in
 * hexadecimal. */
#include "chat_request.h"
#include "lora_request.h"

#define STOPS_MAX 64
#define STOP_BYTES_MAX 255
#define CHOICES_MAX 16
#define LOGPROBS_MAX 20

/* Where the text and the tokens of what the context holds meet. */
typedef struct meeting {
    size_t text;     /* bytes of `text` */
    uint32_t tokens; /* of `held` */
    int32_t end;     /* the token that comes next, which the text has; -1: none */
} meeting;

typedef struct conversation {
    int32_t model;
    int32_t context;
    uint32_t capacity;
    int32_t *held; /* [capacity]: what the context holds */
    uint32_t held_count;
    json_text text; /* what those were made of, or what stands for them when they are told again */
    meeting *meetings; /* [meeting_count], ascending */
    uint32_t meeting_count;
    uint32_t meeting_room;
} conversation;

/* One of the answers under way. */
typedef struct choice {
    int32_t context;
    int32_t sampler;
    dw_generate_request speech;
    int32_t *said;      /* [said_room]: its tokens */
    uint32_t seen;      /* of them */
    json_text raw;      /* their text */
    size_t told;        /* bytes of it */
    json_text logprobs; /* of tokens not yet told */
    const char *end;    /* why it ended; NULL: it goes on */
    int32_t stop;       /* which of the stop strings; -1: none */
} choice;

typedef struct asked {
    json_text request; /* of a chat; no bytes: it is none */
    int special;       /* text has its special tokens */
    const char *message;
    int32_t *tokens; /* [count]: what the context does not hold yet */
    uint32_t count;
    uint32_t prompt_count; /* tokens of the whole prompt */
    uint32_t n;
    uint32_t most; /* tokens of an answer; 0: as many as there is room for */
    dw_stop_string stops[STOPS_MAX];
    uint32_t stop_count;
    uint32_t own_stop_count; /* of them those that are the client's */
    int logprobs;            /* -1: none */
    int past_end;
} asked;

static conversation own;

/* ---- what went wrong ---- */

/* A line that tells of it. -> status */
static int32_t refuse(int32_t status, const char *what)
{
    char words[512] = "";
    json_text line = {.count = 0};
    if (what == NULL) {
        dw_last_error(words, sizeof words);
        what = words;
    }
    char start[48];
    snprintf(start, sizeof start, "{\"error\":%d,\"what\":", (int)status);
    json_add(&line, start);
    json_add_string(&line, what, strlen(what));
    json_add(&line, "}\n");
    fwrite(line.bytes, 1, line.count, stdout);
    fflush(stdout);
    free(line.bytes);
    return status;
}

/* ---- reading a message ---- */

static double number_of(const char *object, const char *name, double otherwise)
{
    const char *end;
    const char *value = json_member(object, name, &end);
    return value != NULL && (*value == '-' || (*value >= '0' && *value <= '9'))
               ? strtod(value, NULL)
               : otherwise;
}

static int is_true(const char *object, const char *name)
{
    const char *end;
    const char *value = json_member(object, name, &end);
    return value != NULL && *value == 't';
}

/* The next string of a list at `*at`, or NULL: its end. */
static char *next_string(const char **at, size_t *bytes)
{
    if (**at != '"') {
        return NULL;
    }
    json_text text = json_string(*at);
    *at = json_skip(*at);
    *at += **at == ',' ? 1 : 0;
    *bytes = text.count;
    return text.bytes;
}

static int32_t read_stops(asked *asked, const char *name)
{
    const char *end;
    const char *list = json_member(asked->message, name, &end);
    size_t bytes = 0;
    const char *at = list != NULL && *list == '[' ? list + 1 : "]";
    for (char *text = next_string(&at, &bytes); text != NULL; text = next_string(&at, &bytes)) {
        if (bytes == 0 || bytes > STOP_BYTES_MAX || asked->stop_count == STOPS_MAX) {
            free(text);
            return refuse(DW_E_LIMIT, "stop: at most 64 texts of 1 to 255 bytes");
        }
        asked->stops[asked->stop_count++] = (dw_stop_string){text, (uint32_t)bytes};
    }
    return 0;
}

static dw_sampler_params params_of(const char *message, uint32_t choice)
{
    const char *end;
    const char *object = json_member(message, "sampler", &end);
    object = object != NULL ? object : "{}";
    const char *seed = json_member(object, "seed", &end);
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : dw_clock_ns();
    return (dw_sampler_params){
        .temperature = (float)number_of(object, "temperature", 0.8),
        .top_k = (int32_t)number_of(object, "top_k", 40),
        .top_p = (float)number_of(object, "top_p", 0.95),
        .min_p = (float)number_of(object, "min_p", 0.05),
        .repeat_penalty = (float)number_of(object, "repeat_penalty", 1),
        .frequency_penalty = (float)number_of(object, "frequency_penalty", 0),
        .presence_penalty = (float)number_of(object, "presence_penalty", 0),
        .penalty_tokens = (int32_t)number_of(object, "penalty_tokens", 64),
        .seed = first + choice,
        .struct_bytes = sizeof(dw_sampler_params),
        .temperature_range = (float)number_of(object, "temperature_range", 0),
        .temperature_exponent = (float)number_of(object, "temperature_exponent", 1),
        .typical_p = (float)number_of(object, "typical_p", 1),
        .top_n_sigma = (float)number_of(object, "top_n_sigma", 0),
        .xtc_probability = (float)number_of(object, "xtc_probability", 0),
        .xtc_threshold = (float)number_of(object, "xtc_threshold", 0.1),
        .dry_multiplier = (float)number_of(object, "dry_multiplier", 0),
        .dry_base = (float)number_of(object, "dry_base", 1.75),
        .dry_allowed_length = (int32_t)number_of(object, "dry_allowed_length", 2),
        .dry_tokens = (int32_t)number_of(object, "dry_tokens", 0),
        .mirostat_tau = (float)number_of(object, "mirostat_tau", 0),
        .mirostat_eta = (float)number_of(object, "mirostat_eta", 0.1),
    };
}

static int32_t set_biases(const char *message, int32_t sampler)
{
    static dw_logit_bias biases[1024];
    const char *end;
    uint32_t count = 0;
    const char *list = json_member(message, "bias", &end);
    for (const char *at = list != NULL ? list + 1 : "]"; *at == '[' && count < 1024;) {
        char *comma;
        biases[count].token = (int32_t)strtol(at + 1, &comma, 10);
        biases[count].bias = *comma == ',' ? strtof(comma + 1, NULL) : 0.0F;
        count++;
        at = json_skip(at);
        at += *at == ',' ? 1 : 0;
    }
    return count > 0 ? dw_sampler_logit_bias(sampler, biases, count) : 0;
}

/* -> sampler, or a status */
static int32_t sampler_of(const asked *asked, uint32_t choice)
{
    static const char *const breakers[] = {"\n", ":", "\"", "*"}; /* llama.cpp's */
    const char *end;
    dw_sampler_params params = params_of(asked->message, choice);
    int32_t sampler = dw_sampler_create(own.model, &params);
    if (sampler < 0) {
        return sampler;
    }
    int32_t status = set_biases(asked->message, sampler);
    if (status >= 0 && params.dry_multiplier > 0.0F) {
        status = dw_sampler_dry_breakers(sampler, own.model, breakers, 4);
    }
    const char *schema = json_member(asked->message, "schema", &end);
    if (status >= 0 && schema != NULL) {
        status = dw_sampler_json_schema(sampler, own.model, schema, (uint32_t)(end - schema));
    }
    json_text grammar = json_member_string(asked->message, "grammar");
    if (status >= 0 && grammar.count > 0) {
        status = dw_sampler_grammar(sampler, own.model, grammar.bytes, (uint32_t)grammar.count);
    } else if (status >= 0 && schema == NULL && asked->request.count > 0) {
        status = dw_sampler_chat(sampler, own.model, asked->request.bytes,
                                 (uint32_t)asked->request.count);
    }
    free(grammar.bytes);
    if (status < 0) {
        dw_sampler_close(sampler);
        return status;
    }
    return sampler;
}

/* ---- what the context holds ---- */

static size_t in_common(const json_text *left, const char *right, size_t bytes)
{
    size_t most = left->count < bytes ? left->count : bytes;
    size_t same = 0;
    while (same < most && left->bytes[same] == right[same]) {
        same++;
    }
    return same;
}

static void add_meeting(size_t text, uint32_t tokens, int32_t end)
{
    if (own.meeting_count == own.meeting_room) {
        own.meeting_room = own.meeting_room * 2 + 16;
        own.meetings = realloc(own.meetings, own.meeting_room * sizeof *own.meetings);
        if (own.meetings == NULL) {
            fprintf(stderr, "out of memory\n");
            exit(1);
        }
    }
    own.meetings[own.meeting_count++] = (meeting){text, tokens, end};
}

/* What the context holds beyond the meeting no longer counts. */
static void forget_behind(const meeting *last)
{
    while (own.meeting_count > 0 && own.meetings[own.meeting_count - 1].text > last->text) {
        own.meeting_count--;
    }
    own.text.count = last->text;
    if (own.text.bytes != NULL) {
        own.text.bytes[own.text.count] = '\0';
    }
}

/* The tokens behind a meeting: the end token, if the text has it, then those of the request. */
static int32_t *tokens_behind(const meeting *from, const json_text *request, uint32_t *count)
{
    uint32_t more = 0;
    int32_t *tail = request_tokens(own.model, request, from->text, &more);
    if (from->end < 0) {
        *count = more;
        return tail;
    }
    int32_t *tokens = dw_aligned(more + 1, sizeof *tokens);
    tokens[0] = from->end;
    memcpy(tokens + 1, tail, more * sizeof *tail);
    free(tail);
    *count = more + 1;
    return tokens;
}

/* What is to be appended for a conversation of these tokens behind the meeting: at least one. */
static int32_t keep_same(asked *asked, const meeting *from, const int32_t *tokens, uint32_t count)
{
    uint32_t same = from->tokens;
    asked->prompt_count = from->tokens + count;
    if (asked->prompt_count >= own.capacity) {
        static char words[128];
        snprintf(words, sizeof words, "the prompt is %u tokens long, the context takes %u",
                 asked->prompt_count, own.capacity - 1);
        return refuse(DW_E_LIMIT, words);
    }
    while (same < own.held_count && same - from->tokens + 1 < count &&
           own.held[same] == tokens[same - from->tokens]) {
        same++;
    }
    int32_t status = dw_context_trim(own.context, same);
    if (status < 0) {
        return refuse(status, NULL);
    }
    own.held_count = same;
    asked->count = count - (same - from->tokens);
    asked->tokens = dw_aligned(asked->count, sizeof *asked->tokens);
    memcpy(asked->tokens, tokens + (same - from->tokens), asked->count * sizeof *tokens);
    return 0;
}

static int32_t take_chat(asked *asked)
{
    size_t bytes = 0;
    uint32_t count = 0;
    char *text = rendered(own.model, &asked->request, &bytes);
    size_t common = in_common(&own.text, text, bytes);
    meeting from = {0, 0, -1};
    for (uint32_t i = own.meeting_count; i > 0; i--) {
        if (own.meetings[i - 1].text <= common && own.meetings[i - 1].text < bytes) {
            from = own.meetings[i - 1];
            break;
        }
    }
    int32_t *tokens = tokens_behind(&from, &asked->request, &count);
    int32_t status = keep_same(asked, &from, tokens, count);
    free(tokens);
    if (status == 0) {
        forget_behind(&from);
        json_add_bytes(&own.text, text + from.text, bytes - from.text);
    }
    free(text);
    return status;
}

/* The tokens of a list of numbers, up to its bracket. */
static int32_t *listed_tokens(const char *list, const char *end, uint32_t *count)
{
    int32_t *tokens = dw_aligned((size_t)(end - list) / 2 + 1, sizeof *tokens);
    *count = 0;
    for (const char *at = list + 1; *at != ']';) {
        char *next;
        tokens[(*count)++] = (int32_t)strtol(at, &next, 10);
        at = *next == ',' ? next + 1 : next;
    }
    return tokens;
}

/* A prompt that is no chat: kept as far as its tokens agree. */
static int32_t take_prompt(asked *asked)
{
    const char *end;
    const meeting start = {0, 0, -1};
    uint32_t count = 0;
    int32_t *tokens;
    const char *list = json_member(asked->message, "tokens", &end);
    json_text text = json_member_string(asked->message, "prompt");
    if (list != NULL && *list == '[') {
        tokens = listed_tokens(list, end, &count);
    } else {
        tokens = dw_tokens_in(own.model, text.bytes, text.count,
                              DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE, &count);
    }
    free(text.bytes);
    int32_t status = count > 0 ? keep_same(asked, &start, tokens, count)
                               : refuse(DW_E_ARG, "the prompt has no tokens");
    free(tokens);
    if (status == 0) {
        forget_behind(&start);
    }
    return status;
}

/* The prompt is in the context. */
static void hold_prompt(const asked *asked)
{
    memcpy(own.held + own.held_count, asked->tokens, asked->count * sizeof *asked->tokens);
    own.held_count += asked->count;
    if (asked->request.count > 0) {
        add_meeting(own.text.count, own.held_count, -1);
    }
}

/* ---- telling ---- */

static void add_hex(json_text *to, const char *bytes, size_t count)
{
    json_add(to, "\"");
    for (size_t i = 0; i < count; i++) {
        char pair[3];
        snprintf(pair, sizeof pair, "%02x", (unsigned)(unsigned char)bytes[i]);
        json_add_bytes(to, pair, 2);
    }
    json_add(to, "\"");
}

static void put_line(json_text *line)
{
    json_add(line, "\n");
    fwrite(line->bytes, 1, line->count, stdout);
    fflush(stdout);
    free(line->bytes);
}

/* How much of the text stands: up to a stop string, or what may be the start of one. */
static size_t standing(choice *c, const asked *asked, int ended)
{
    for (size_t at = c->told; at < c->raw.count; at++) {
        for (uint32_t i = 0; i < asked->stop_count; i++) {
            size_t left = c->raw.count - at;
            size_t bytes = asked->stops[i].bytes;
            if (left >= bytes && memcmp(c->raw.bytes + at, asked->stops[i].text, bytes) == 0) {
                c->stop = (int32_t)i;
                return at;
            }
        }
    }
    for (size_t at = c->told; at < c->raw.count && !ended; at++) {
        for (uint32_t i = 0; i < asked->stop_count; i++) {
            size_t left = c->raw.count - at;
            if (left < asked->stops[i].bytes &&
                memcmp(c->raw.bytes + at, asked->stops[i].text, left) == 0) {
                return at;
            }
        }
    }
    return c->raw.count;
}

static void tell_text(choice *c, uint32_t index, const asked *asked, int ended)
{
    size_t stands = standing(c, asked, ended);
    if (!ended) {
        stands -= dw_text_unfinished(c->raw.bytes + c->told, stands - c->told);
    }
    if (stands == c->told && (c->logprobs.count == 0 || !ended)) {
        return;
    }
    char start[48];
    json_text line = {.count = 0};
    snprintf(start, sizeof start, "{\"c\":%u,\"k\":%u,\"t\":", index,
             asked->logprobs < 0 ? c->seen : c->speech.token_count);
    json_add(&line, start);
    json_add_string(&line, c->raw.bytes + c->told, stands - c->told);
    if (c->logprobs.count > 0) {
        json_add(&line, ",\"l\":[");
        json_add_bytes(&line, c->logprobs.bytes, c->logprobs.count);
        json_add(&line, "]");
        c->logprobs.count = 0;
    }
    json_add(&line, "}");
    put_line(&line);
    c->told = stands;
}

static void tell_end(choice *c, uint32_t index, const asked *asked)
{
    char start[96];
    json_text line = {.count = 0};
    tell_text(c, index, asked, 1);
    snprintf(start, sizeof start, "{\"c\":%u,\"end\":\"%s\",\"tokens\":%u,\"stop\":", index, c->end,
             c->speech.token_count);
    json_add(&line, start);
    if (c->stop >= 0 && (uint32_t)c->stop < asked->own_stop_count) {
        json_add_string(&line, asked->stops[c->stop].text, asked->stops[c->stop].bytes);
    } else {
        json_add(&line, "null");
    }
    json_add(&line, "}");
    put_line(&line);
}

/* ---- answers ---- */

static size_t piece_of(int32_t token, const asked *asked, char *piece, uint32_t room)
{
    static int32_t *one;
    one = one != NULL ? one : dw_aligned(1, sizeof *one);
    one[0] = token;
    int32_t bytes =
        dw_detokenize(own.model, one, 1, piece, room, asked->special ? DW_DETOKENIZE_SPECIAL : 0);
    return bytes > 0 ? (size_t)bytes : 0;
}

/* What was chosen since the last look, as text. */
static void take_tokens(choice *c, const asked *asked)
{
    char piece[1024];
    for (; c->seen < c->speech.token_count; c->seen++) {
        int32_t token = c->said[c->seen];
        if (!asked->past_end && dw_token_is_end(own.model, token) == 1) {
            continue;
        }
        json_add_bytes(&c->raw, piece, piece_of(token, asked, piece, sizeof piece));
    }
}

static const char *reason(const choice *c)
{
    switch (c->speech.end) {
    case DW_GENERATE_END_TOKEN:
        return "end";
    case DW_GENERATE_STOP_TOKEN:
    case DW_GENERATE_STOP_STRING:
        return "stop";
    case DW_GENERATE_MAXIMUM:
    case DW_GENERATE_FULL:
        return "length";
    default:
        return "cancelled";
    }
}

static int32_t begin_choice(choice *c, const asked *asked, const int32_t *prompt, uint32_t count)
{
    uint32_t room = own.capacity - asked->prompt_count + 1;
    uint32_t most = asked->most > 0 && asked->most < room ? asked->most : room;
    c->said = dw_aligned(most, sizeof *c->said);
    c->speech = (dw_generate_request){
        .struct_bytes = sizeof c->speech,
        .flags = (asked->special ? DW_GENERATE_SPECIAL : 0) |
                 (asked->past_end ? DW_GENERATE_PAST_END : 0),
        .prompt = prompt,
        .prompt_count = count,
        .tokens = c->said,
        .tokens_max = most,
        .wake_tokens = 1,
        .stop_strings = asked->stops,
        .stop_string_count = asked->stop_count,
    };
    return asked->logprobs < 0 ? dw_generate_begin(c->context, c->sampler, &c->speech) : 0;
}

/* ---- with logarithms of probabilities, token by token ---- */

static void add_logprob(json_text *to, int32_t token, const asked *asked, double value)
{
    char piece[1024];
    char text[32];
    size_t bytes = piece_of(token, asked, piece, sizeof piece);
    snprintf(text, sizeof text, "[%d,", (int)token);
    json_add(to, text);
    add_hex(to, piece, bytes);
    snprintf(text, sizeof text, ",%.6f", value);
    json_add(to, text);
}

static void note_logprobs(choice *c, const asked *asked, const float *logits, uint32_t count,
                          int32_t token)
{
    int32_t best[LOGPROBS_MAX];
    int found = 0;
    double sum = 0.0;
    float most = logits[0];
    for (uint32_t i = 1; i < count; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    for (uint32_t i = 0; i < count; i++) {
        sum += exp((double)(logits[i] - most));
        int at = found < asked->logprobs ? found++ : found;
        if (at == asked->logprobs && (at == 0 || !(logits[i] > logits[best[at - 1]]))) {
            continue;
        }
        for (at = at < asked->logprobs ? at : at - 1; at > 0 && logits[i] > logits[best[at - 1]];
             at--) {
            best[at] = best[at - 1];
        }
        best[at] = (int32_t)i;
    }
    double all = (double)most + log(sum);
    json_add(&c->logprobs, c->logprobs.count > 0 ? "," : "");
    add_logprob(&c->logprobs, token, asked, (double)logits[token] - all);
    json_add(&c->logprobs, ",[");
    for (int i = 0; i < found; i++) {
        json_add(&c->logprobs, i > 0 ? "," : "");
        add_logprob(&c->logprobs, best[i], asked, (double)logits[best[i]] - all);
        json_add(&c->logprobs, "]");
    }
    json_add(&c->logprobs, "]]");
}

/* The next token of one answer, as generate_begin's would be. */
static int32_t step_with_logits(choice *c, const asked *asked, float *logits, uint32_t vocab)
{
    static int32_t *last;
    last = last != NULL ? last : dw_aligned(1, sizeof *last);
    const int32_t *tokens = c->speech.prompt;
    uint32_t count = c->speech.prompt_count;
    if (c->speech.token_count > 0) {
        last[0] = c->said[c->speech.token_count - 1];
        tokens = last;
        count = 1;
    }
    int32_t result = dw_forward(c->context, tokens, count, logits);
    int32_t token = result < 0 ? result : dw_sample(c->sampler, logits);
    if (token < 0) {
        return token;
    }
    c->said[c->speech.token_count++] = token;
    int ends = !asked->past_end && dw_token_is_end(own.model, token) == 1;
    if (!ends) {
        note_logprobs(c, asked, logits, vocab, token);
    }
    take_tokens(c, asked);
    (void)standing(c, asked, 0);
    c->speech.end = ends                                            ? DW_GENERATE_END_TOKEN
                    : c->stop >= 0                                  ? DW_GENERATE_STOP_STRING
                    : c->speech.token_count == c->speech.tokens_max ? DW_GENERATE_MAXIMUM
                                                                    : DW_GENERATE_GOES_ON;
    return 0;
}

/* ---- all of them ---- */

/* -> 0, or what the answers failed with, or DW_E_CANCELLED */
static int32_t run_choices(choice *choices, const asked *asked, float *logits, uint32_t vocab)
{
    uint32_t open = asked->n;
    while (open > 0) {
        for (uint32_t i = 0; i < asked->n; i++) {
            choice *c = &choices[i];
            if (c->end != NULL) {
                continue;
            }
            int32_t result = asked->logprobs >= 0 ? step_with_logits(c, asked, logits, vocab)
                                                  : dw_generate_wait(c->context);
            if (result < 0) {
                return result;
            }
            take_tokens(c, asked);
            if (c->speech.end != DW_GENERATE_GOES_ON) {
                c->end = reason(c);
                tell_end(c, i, asked);
                open--;
            } else {
                tell_text(c, i, asked, 0);
            }
        }
    }
    return 0;
}

/* The contexts of all answers but the first are copies of it, with all of the prompt but its last
 * token. */
static int32_t begin_choices(choice *choices, const asked *asked)
{
    const int32_t *prompt = asked->tokens;
    uint32_t count = asked->count;
    choices[0].context = own.context;
    if (asked->n > 1 && count > 1) {
        int32_t result = dw_forward(own.context, prompt, count - 1, NULL);
        if (result < 0) {
            return result;
        }
        int32_t *last = dw_aligned(1, sizeof *last);
        last[0] = prompt[count - 1];
        prompt = last;
        count = 1;
    }
    for (uint32_t i = 0; i < asked->n; i++) {
        choice *c = &choices[i];
        c->context = i == 0 ? own.context : dw_context_fork(own.context);
        if (c->context < 0) {
            return c->context;
        }
    }
    for (uint32_t i = 0; i < asked->n; i++) {
        choice *c = &choices[i];
        c->stop = -1;
        json_add(&c->raw, "");
        c->sampler = sampler_of(asked, i);
        int32_t result = c->sampler < 0 ? c->sampler : begin_choice(c, asked, prompt, count);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

static void close_choices(choice *choices, const asked *asked)
{
    for (uint32_t i = 0; i < asked->n; i++) {
        choice *c = &choices[i];
        if (c->context > 0) {
            (void)dw_generate_end(c->context);
        }
        if (c->sampler > 0) {
            (void)dw_sampler_close(c->sampler);
        }
        if (i > 0 && c->context > 0) {
            (void)dw_context_close(c->context);
        }
        free(c->said);
        free(c->raw.bytes);
        free(c->logprobs.bytes);
    }
}

/* ---- what the next request will find ---- */

/* The chat with the answer in it, as the client will tell it: its text. */
static char *told_again(const asked *asked, const choice *c, size_t *bytes)
{
    const char *end;
    const char *request = asked->request.bytes;
    const char *list = json_member(request, "messages", &end);
    uint32_t capacity = (uint32_t)c->raw.count * 2 + 4096;
    char *message = room_for(capacity + 1);
    int32_t length =
        dw_chat_parse(own.model, request, (uint32_t)asked->request.count, c->raw.bytes,
                      (uint32_t)(c->stop >= 0 ? c->told : c->raw.count), 0, message, capacity);
    if (length < 0 || list == NULL) {
        free(message);
        return NULL;
    }
    message[length] = '\0';
    json_text again = {.count = 0};
    json_add_bytes(&again, request, (size_t)(end - 1 - request));
    json_add(&again, ",");
    json_add(&again, message);
    json_add_bytes(&again, end - 1, asked->request.count - (size_t)(end - 1 - request) - 1);
    json_add(&again, ",\"add_generation_prompt\":false}");
    free(message);
    capacity = (uint32_t)again.count * 2 + 1024;
    char *text = room_for(capacity);
    length = dw_chat_render(own.model, again.bytes, (uint32_t)again.count, text, capacity);
    free(again.bytes);
    if (length < 0) { /* the template has no such message: the prompt alone is found again */
        free(text);
        return NULL;
    }
    *bytes = (size_t)length;
    return text;
}

/* The last place in text [bytes] behind `from` at which the end token stands; 0: none. */
static size_t end_in(const char *text, size_t bytes, size_t from, const char *end, size_t end_bytes)
{
    for (size_t at = bytes; end_bytes > 0 && at >= from + end_bytes; at--) {
        if (memcmp(text + at - end_bytes, end, end_bytes) == 0) {
            return at;
        }
    }
    return 0;
}

/* The answer's tokens that the context holds, with the text that stands for them: as the model
 * wrote it as far as the template writes the same; or all of it, up to its end token, where the
 * template writes it another way, as it does with calls of tools. */
static void hold_answer(const asked *asked, const choice *c)
{
    char piece[1024];
    uint32_t prompt = own.held_count;
    uint32_t count = c->speech.token_count > 0 ? c->speech.token_count - 1 : 0;
    memcpy(own.held + prompt, c->said, count * sizeof *c->said);
    own.held_count += count;
    size_t bytes = 0;
    char *text = asked->request.count > 0 ? told_again(asked, c, &bytes) : NULL;
    size_t before = own.text.count;
    if (text == NULL || in_common(&own.text, text, bytes) < before) {
        free(text);
        return;
    }
    json_text raw = {.count = 0};
    json_add_bytes(&raw, own.text.bytes, before);
    uint32_t same = 0;
    size_t place = before;
    for (uint32_t i = 0; i < count; i++) {
        json_add_bytes(&raw, piece, piece_of(c->said[i], asked, piece, sizeof piece));
        if (raw.count > bytes || memcmp(raw.bytes + place, text + place, raw.count - place) != 0) {
            break;
        }
        if (dw_text_unfinished(raw.bytes, raw.count) == 0) { /* requests begin with a character */
            place = raw.count;
            same = i + 1;
        }
    }
    free(raw.bytes);
    int32_t last = c->speech.token_count > 0 ? c->said[count] : -1;
    size_t end_bytes = last >= 0 ? piece_of(last, asked, piece, sizeof piece) : 0;
    size_t end = c->speech.end == DW_GENERATE_END_TOKEN && same < count
                     ? end_in(text, bytes, before, piece, end_bytes)
                     : 0;
    if (end > 0) {
        json_add_bytes(&own.text, text + before, end - before);
        add_meeting(end, prompt + count, last);
    } else if (same > 0) {
        json_add_bytes(&own.text, text + before, place - before);
        add_meeting(place, prompt + same, -1);
    }
    free(text);
}

static int32_t answer(asked *asked)
{
    static choice choices[CHOICES_MAX];
    static float *logits;
    char line[96];
    dw_abi_model_info info;
    memset(choices, 0, sizeof choices);
    int32_t status = dw_model_info(own.model, &info);
    if (status >= 0 && asked->logprobs >= 0 && logits == NULL) {
        logits = dw_aligned(info.vocab_count, sizeof *logits);
    }
    snprintf(line, sizeof line, "{\"prompt\":%u,\"cached\":%u}\n", asked->prompt_count,
             own.held_count);
    fputs(line, stdout);
    fflush(stdout);
    if (status >= 0) {
        status = begin_choices(choices, asked);
    }
    if (status >= 0) {
        status = run_choices(choices, asked, logits, info.vocab_count);
    }
    if (status < 0 && status != DW_E_CANCELLED) {
        status = refuse(status, NULL); /* before another call has words of its own */
    }
    for (uint32_t i = 0; i < asked->n; i++) { /* those that go on end here */
        if (choices[i].context > 0) {
            (void)dw_generate_end(choices[i].context);
        }
    }
    int32_t held = dw_context_length(own.context);
    if (held >= 0 && (uint32_t)held >= own.held_count + asked->count) {
        hold_prompt(asked);
        hold_answer(asked, &choices[0]);
    } /* else it was cancelled in its prompt */
    own.held_count = held >= 0 && own.held_count > (uint32_t)held ? (uint32_t)held : own.held_count;
    close_choices(choices, asked);
    return status == DW_E_CANCELLED ? 0 : status; /* what there is of an answer stays */
}

/* ---- embeddings ---- */

/* One text's, or list of tokens', at `value`. */
static int32_t embed_one(const char *value, uint32_t index, uint32_t length)
{
    const char *end = json_skip(value);
    uint32_t count = 0;
    int32_t *tokens;
    if (*value == '[') {
        tokens = listed_tokens(value, end, &count);
    } else {
        json_text text = json_string(value);
        tokens = dw_tokens_in(own.model, text.bytes, text.count, DW_TOKENIZE_SPECIAL, &count);
        free(text.bytes);
    }
    float *row = dw_aligned(length, sizeof *row);
    int32_t status = dw_embed(own.model, tokens, count, DW_POOLING_MODEL, DW_EMBED_NORMALIZE, row);
    if (status < 0) {
        status = refuse(status, NULL);
    } else {
        char start[64];
        json_text line = {.count = 0};
        snprintf(start, sizeof start, "{\"e\":%u,\"tokens\":%u,\"v\":", index, count);
        json_add(&line, start);
        add_hex(&line, (const char *)row, length * sizeof *row);
        json_add(&line, "}");
        put_line(&line);
    }
    free(row);
    free(tokens);
    return status;
}

static int32_t embed_all(const char *list)
{
    dw_abi_model_info info;
    int32_t status = dw_model_info(own.model, &info);
    uint32_t index = 0;
    for (const char *at = list + 1; status >= 0 && *at != ']';) {
        status = embed_one(at, index++, info.embedding_length);
        at = json_skip(at);
        at += *at == ',' ? 1 : 0;
    }
    return status < 0 ? status : 0;
}

/* ---- messages ---- */

static int32_t start(void)
{
    int32_t model = dw_model_open(NULL, 0);
    if (model < 0) {
        return refuse(model, NULL);
    }
    own.model = model;
    return 0;
}

/* The context, which an encoder has none of. */
static int32_t start_context(void)
{
    if (own.context != 0) {
        return 0;
    }
    int32_t context = dw_context_create(own.model, 0);
    if (context < 0) {
        return refuse(context, NULL);
    }
    own.capacity = (uint32_t)dw_context_capacity(context);
    own.held = dw_aligned(own.capacity + 1, sizeof *own.held);
    json_add(&own.text, "");
    own.context = context;
    return 0;
}

/* The context has the adapters of the message: what it holds with others is given up. */
static int32_t take_loras(const char *message)
{
    const meeting nothing = {0, 0, -1};
    int32_t status = context_take_loras(own.context, message);
    if (status > 0) {
        own.held_count = 0;
        own.meeting_count = 0;
        forget_behind(&nothing);
    }
    return status < 0 ? refuse(status, NULL) : 0;
}

static int32_t work(const char *message)
{
    asked asked = {.message = message, .logprobs = (int)number_of(message, "logprobs", -1)};
    const char *end;
    const char *request;
    double n = number_of(message, "n", 1);
    double most = number_of(message, "max", 0);
    if (n < 1 || n > CHOICES_MAX || asked.logprobs > LOGPROBS_MAX || most < 0 || most > INT32_MAX) {
        return refuse(DW_E_RANGE, "n is 1 to 16, logprobs at most 20");
    }
    asked.n = (uint32_t)n;
    asked.most = (uint32_t)most;
    asked.past_end = is_true(message, "past_end");
    const char *texts = json_member(message, "embed", &end);
    if (texts != NULL) {
        return embed_all(texts);
    }
    int32_t status = start_context();
    status = status == 0 ? take_loras(message) : status;
    if (status != 0) {
        return status;
    }
    request = json_member(message, "request", &end);
    status = read_stops(&asked, "stop");
    asked.own_stop_count = asked.stop_count;
    if (status == 0) {
        status = read_stops(&asked, "ends");
    }
    if (status == 0 && request != NULL) {
        asked.special = 1;
        json_add_bytes(&asked.request, request, (size_t)(end - request));
        status = take_chat(&asked);
    } else if (status == 0) {
        status = take_prompt(&asked);
    }
    if (status == 0) {
        status = answer(&asked);
    }
    for (uint32_t i = 0; i < asked.stop_count; i++) {
        free((void *)asked.stops[i].text);
    }
    free(asked.request.bytes);
    free(asked.tokens);
    return status;
}

static char *next_message(void)
{
    uint32_t capacity = 1U << 16;
    char *message = room_for(capacity + 1);
    int32_t length = dw_input(message, capacity);
    while (length == DW_E_SPACE && capacity < (64U << 20)) {
        capacity *= 2;
        free(message);
        message = room_for(capacity + 1);
        length = dw_input(message, capacity);
    }
    if (length < 0) {
        free(message);
        return NULL;
    }
    message[length] = '\0';
    return message;
}

DW_ACTOR_RECEIVE
{
    int32_t status = own.model == 0 ? start() : 0;
    char *message = status == 0 ? next_message() : NULL;
    if (message == NULL) {
        return status != 0 ? status : refuse(DW_E_ARG, "the message cannot be read");
    }
    status = message[0] == '{' ? work(message) : refuse(DW_E_FORMAT, "the message is no object");
    free(message);
    return status;
}
