/* Generates as it is told, ahead or token by token, for tests/unit/test_generation.c. Its loop is
 * what generation ahead must come to: it looks for stops by itself. */
#include "generator.h"

#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

static DW_ALIGNED int32_t prompt[GENERATOR_PROMPT_MAX];
static DW_ALIGNED int32_t tokens[GENERATOR_TOKENS_MAX];
static DW_ALIGNED int32_t token[1];
static generator_order order;
static generator_answer answer;
static dw_generate_request request;
static dw_stop_string stops[GENERATOR_STOPS_MAX];
static int32_t model;
static int32_t context;
static int32_t other;
static int32_t sampler;
static char text[8192];
static size_t text_bytes;

static int32_t set_up(void)
{
    dw_abi_model_info info;
    model = model > 0 ? model : dw_model_open(NULL, 0);
    int32_t status = model < 0 ? model : dw_model_info(model, &info);
    if (status < 0) {
        return status;
    }
    for (uint32_t i = 0; i < order.prompt_count; i++) {
        prompt[i] = (int32_t)((order.prompt_seed * 131 + i * 29 + i * i) % info.vocab_count);
    }
    if (!order.keeps) {
        if (context > 0) {
            dw_context_close(context);
        }
        context = dw_context_create(model, order.context_tokens);
        if (context > 0 && order.window > 0) {
            status = dw_context_window(context, 4, order.window);
        }
    }
    if (sampler > 0) {
        dw_sampler_close(sampler);
    }
    sampler = dw_sampler_create(model, &order.params);
    if (context < 0 || sampler < 0) {
        return context < 0 ? context : sampler;
    }
    if (status >= 0 && order.bias_count > 0) {
        status = dw_sampler_logit_bias(sampler, order.biases, order.bias_count);
    }
    if (status >= 0 && order.grammar[0] != '\0') {
        status = dw_sampler_grammar(sampler, model, order.grammar, (uint32_t)strlen(order.grammar));
    }
    return status;
}

/* ---- token by token ------------------------------------------------------------------------- */

/* The stop string that ends first in the text, now that it is longer than `before`; -1: none. */
static int32_t stop_string(size_t before)
{
    for (size_t end = before + 1; end <= text_bytes; end++) {
        for (uint32_t i = 0; i < order.stop_string_count; i++) {
            size_t bytes = strlen(order.stop_strings[i]);
            if (bytes <= end && memcmp(text + end - bytes, order.stop_strings[i], bytes) == 0) {
                return (int32_t)i;
            }
        }
    }
    return -1;
}

static int32_t why_end(uint32_t count)
{
    size_t before = text_bytes;
    int32_t bytes =
        dw_detokenize(model, token, 1, text + text_bytes, (uint32_t)(sizeof text - text_bytes),
                      (order.flags & DW_GENERATE_SPECIAL) != 0 ? DW_DETOKENIZE_SPECIAL : 0);
    text_bytes += bytes > 0 ? (size_t)bytes : 0;
    if ((order.flags & DW_GENERATE_PAST_END) == 0 && dw_token_is_end(model, token[0]) == 1) {
        return DW_GENERATE_END_TOKEN;
    }
    for (uint32_t i = 0; i < order.stop_token_count; i++) {
        if (order.stop_tokens[i] == token[0]) {
            answer.stop_index = (int32_t)i;
            return DW_GENERATE_STOP_TOKEN;
        }
    }
    answer.stop_index = stop_string(before);
    if (answer.stop_index >= 0) {
        return DW_GENERATE_STOP_STRING;
    }
    if (count == order.tokens_max) {
        return DW_GENERATE_MAXIMUM;
    }
    return order.window == 0 && dw_context_length(context) >= dw_context_capacity(context)
               ? DW_GENERATE_FULL
               : 0;
}

static int32_t token_by_token(void)
{
    int32_t status = dw_forward_sample(context, prompt, order.prompt_count, sampler);
    text_bytes = 0;
    answer.stop_index = -1;
    while (status >= 0) {
        token[0] = status;
        answer.tokens[answer.token_count++] = status;
        answer.end = why_end(answer.token_count);
        if (answer.end != 0) {
            return 0;
        }
        status = dw_forward_sample(context, token, 1, sampler);
    }
    answer.end = status;
    return status;
}

/* ---- ahead ---------------------------------------------------------------------------------- */

static int32_t not_refused(void)
{
    int32_t calls[] = {
        dw_context_length(context),
        dw_context_trim(context, 0),
        dw_context_fork(context),
        dw_context_shift(context, 0, 1),
        dw_context_close(context),
        dw_forward(context, prompt, 1, NULL),
        dw_forward_sample(context, prompt, 1, sampler),
        dw_sampler_accept(sampler, 1),
        dw_sampler_close(sampler),
        dw_sampler_grammar(sampler, model, NULL, 0),
        dw_generate_begin(context, sampler, &request),
        dw_generate_begin(other, sampler, &request),
    };
    int32_t count = 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        count += calls[i] != DW_E_STATE;
    }
    return count + (dw_generate_wait(other) != DW_E_STATE) + (dw_generate_end(-1) != DW_E_HANDLE);
}

static int32_t compute(void)
{
    token[0] = 5;
    int32_t status = dw_forward(other, token, 1, NULL);
    for (volatile uint32_t i = 0; i < 2000000; i++) {}
    return status;
}

static void clobber(void)
{
    memset(prompt, 0xff, sizeof prompt);
    memset(tokens, 0xff, answer.token_count * sizeof *tokens); /* those that it was told of */
    memset(stops, 0xff, sizeof stops);
    memset(order.stop_strings, 0xff, sizeof order.stop_strings);
    memset(order.stop_tokens, 0xff, sizeof order.stop_tokens);
    memset(&request, 0xff, offsetof(dw_generate_request, token_count));
}

/* -> 1: the message is over. */
static int act(void)
{
    switch (order.act) {
    case GENERATOR_GROW:
        answer.act_result = (int32_t)__builtin_wasm_memory_grow(0, 16);
        break;
    case GENERATOR_TRAP:
        __builtin_trap();
    case GENERATOR_RETURN:
        return 1;
    case GENERATOR_LEAVE:
        exit(3);
    case GENERATOR_END:
        answer.act_result = dw_generate_end(context);
        break;
    case GENERATOR_SPIN:
        for (volatile uint32_t i = 0;; i++) {}
    case GENERATOR_COMPUTE:
        answer.act_result = compute();
        break;
    case GENERATOR_CLOBBER:
        clobber();
        break;
    case GENERATOR_REFUSED:
        answer.act_result = not_refused();
        break;
    default:
        break;
    }
    order.act = GENERATOR_NOTHING;
    return 0;
}

static int32_t begin(void)
{
    for (uint32_t i = 0; i < order.stop_string_count; i++) {
        stops[i] = (dw_stop_string){order.stop_strings[i], (uint32_t)strlen(order.stop_strings[i])};
    }
    request = (dw_generate_request){.struct_bytes = sizeof request,
                                    .flags = order.flags,
                                    .prompt = prompt,
                                    .prompt_count = order.prompt_count,
                                    .tokens = tokens,
                                    .tokens_max = order.tokens_max,
                                    .wake_tokens = order.wake_tokens,
                                    .stop_tokens = order.stop_tokens,
                                    .stop_token_count = order.stop_token_count,
                                    .stop_strings = stops,
                                    .stop_string_count = order.stop_string_count};
    return dw_generate_begin(context, sampler, &request);
}

/* Tokens are taken as they are told of: later ones may be written over. */
static void take(uint32_t count)
{
    for (uint32_t i = answer.token_count; i < count; i++) {
        answer.tokens[i] = tokens[i];
    }
    answer.token_count = count;
}

static int32_t ahead(void)
{
    if (other <= 0 && (order.act == GENERATOR_COMPUTE || order.act == GENERATOR_REFUSED)) {
        other = dw_context_create(model, 64);
    }
    int32_t status = begin();
    if (status == 0 && order.act_at == 0 && act()) {
        return 1;
    }
    while (status >= 0 && request.end == DW_GENERATE_GOES_ON) {
        status = dw_generate_wait(context);
        answer.wakes++;
        if (status < 0) {
            break;
        }
        take((uint32_t)status);
        if (request.end == DW_GENERATE_GOES_ON && answer.token_count >= order.act_at && act()) {
            return 1;
        }
    }
    if (request.end == DW_GENERATE_LEFT || status < 0) {
        take(request.token_count);
    }
    answer.end = request.end;
    answer.stop_index = request.stop_index;
    token[0] = answer.token_count > 0 ? answer.tokens[answer.token_count - 1] : 0;
    return status < 0 ? status : 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* Behind what was generated, what sampler and context come to from there on. */
static int32_t go_on(void)
{
    int32_t status = 0;
    for (int i = 0; i < GENERATOR_MORE && status >= 0; i++) {
        token[0] = answer.token_count > 0 || i > 0 ? token[0] : prompt[0];
        status = dw_forward_sample(context, token, 1, sampler);
        answer.more[i] = token[0] = status;
    }
    return status >= 0 || status == DW_E_LIMIT ? 0 : status; /* the context may be full */
}

DW_ACTOR_RECEIVE
{
    int32_t status = dw_input((char *)&order, sizeof order);
    answer = (generator_answer){.status = 0};
    status = status == (int32_t)sizeof order ? set_up() : DW_E_ARG;
    if (status >= 0) {
        status = order.ahead ? ahead() : token_by_token();
    }
    if (status == 1) { /* the message is over, whatever is generated */
        dw_reply(&answer, sizeof answer);
        return 0;
    }
    answer.status = status;
    answer.length = (uint32_t)dw_context_length(context);
    if (status >= 0 && answer.token_count > 0) {
        answer.status = go_on();
    }
    dw_reply(&answer, sizeof answer);
    return 0;
}
