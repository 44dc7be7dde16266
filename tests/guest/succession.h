/* What actor_first.c and actor_second.c do alike, and what one hands over to the other: 32-bit
 * numbers in this order. */
#ifndef SUCCESSION_H
#define SUCCESSION_H

#include "driftwood_guest.h"

struct succession {
    int32_t counter;
    int32_t model;
    int32_t context;
    int32_t sampler;
    int32_t chosen;
    int32_t spare;
};

static int32_t succession_number(const char *text)
{
    int32_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (*text - '0');
    }
    return value;
}

static int32_t succession_open(struct succession *s, int32_t *spare)
{
    static const dw_sampler_params params = {
        .struct_bytes = sizeof params, .temperature = 0.9f, .top_k = 40, .seed = 5};
    s->model = dw_model_open(NULL, 0);
    s->context = dw_context_create(s->model, 0);
    s->sampler = dw_sampler_create(s->model, &params);
    *spare = dw_context_create(s->model, 0);
    s->spare = *spare;
    return s->model < 0 ? s->model : s->sampler < 0 ? s->sampler : s->context;
}

/* Tokens chosen so far, `count` more. */
static int32_t succession_decode(struct succession *s, int32_t *chosen, int32_t count)
{
    for (int32_t i = 0; i < count && chosen[0] >= 0; i++) {
        int32_t status = dw_reply(chosen, sizeof chosen[0]);
        if (status < 0) {
            return status;
        }
        chosen[0] = dw_forward_sample(s->context, chosen, 1, s->sampler);
    }
    return chosen[0];
}

static int32_t succession_do(struct succession *s, int32_t *spare, int32_t *tokens, int32_t *chosen,
                             const char *text, int32_t version)
{
    int32_t value = succession_number(text + 1);
    switch (text[0]) {
    case '+': {
        s->counter += value;
        int32_t answer[2] = {s->counter, version};
        return dw_reply(answer, sizeof answer);
    }
    case 'm':
        return succession_open(s, spare);
    case 'q':
        for (int32_t i = 0; i < value && i < 1024; i++) {
            tokens[i] = (i * 7919 + 13) % 200;
        }
        chosen[0] = dw_forward_sample(s->context, tokens, (uint32_t)value, s->sampler);
        return chosen[0];
    case 'g':
        return succession_decode(s, chosen, value);
    case 't':
        return dw_actor_timer((uint64_t)value, "+100", 4);
    case 'c': { /* the spare context, which the second does not keep */
        int32_t answer[2] = {dw_context_length(s->spare), version};
        return dw_reply(answer, sizeof answer);
    }
    case '!':
        __builtin_trap();
    default:
        return DW_E_ARG;
    }
}

#endif
