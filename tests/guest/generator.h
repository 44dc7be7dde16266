/* What tests/guest/generator.c is told in a message, and what it answers. The same layout on both
 * sides. */
#ifndef TESTS_GUEST_GENERATOR_H
#define TESTS_GUEST_GENERATOR_H

#include "driftwood_abi.h"

#define GENERATOR_TOKENS_MAX 256
#define GENERATOR_PROMPT_MAX 1024
#define GENERATOR_STOPS_MAX 4
#define GENERATOR_TEXT_MAX 512
#define GENERATOR_MORE 6 /* tokens chosen one by one behind what was generated */

typedef enum generator_act {
    GENERATOR_NOTHING,
    GENERATOR_GROW,    /* memory.grow, while it is generated */
    GENERATOR_TRAP,    /* unreachable */
    GENERATOR_RETURN,  /* the message ends */
    GENERATOR_LEAVE,   /* proc_exit(3) */
    GENERATOR_END,     /* generate_end */
    GENERATOR_SPIN,    /* until it is stopped */
    GENERATOR_COMPUTE, /* a step of another context, and a sleep's worth of loops */
    GENERATOR_CLOBBER, /* write over the prompt, the stops, the request and the tokens */
    GENERATOR_REFUSED, /* whatever must be refused meanwhile; act_result: how many were not */
} generator_act;

typedef struct generator_order {
    uint32_t ahead; /* 0: a loop of forward_sample; 1: generate_begin */
    uint32_t keeps; /* 1: goes on in the context of the order before, not in a new one */
    uint32_t context_tokens; /* of a new context; 0: the most */
    uint32_t prompt_count;
    uint32_t prompt_seed;
    uint32_t tokens_max;
    uint32_t wake_tokens;
    uint32_t flags;
    uint32_t act; /* generator_act */
    uint32_t act_at; /* at the first wake with so many tokens; 0: before the first wait */
    uint32_t stop_token_count;
    int32_t stop_tokens[GENERATOR_STOPS_MAX];
    uint32_t stop_string_count;
    char stop_strings[GENERATOR_STOPS_MAX][32]; /* with NUL */
    uint32_t bias_count;
    dw_logit_bias biases[GENERATOR_STOPS_MAX];
    char grammar[256]; /* with NUL; "": none */
    uint32_t window; /* of a new context, behind a sink of 4 tokens; 0: none */
    dw_sampler_params params;
} generator_order;

typedef struct generator_answer {
    int32_t status; /* of what was done last */
    uint32_t token_count;
    int32_t end;
    int32_t stop_index;
    uint32_t length; /* of the context, behind what was generated */
    uint32_t wakes;
    int32_t act_result;
    int32_t more[GENERATOR_MORE];
    int32_t tokens[GENERATOR_TOKENS_MAX];
} generator_answer;

#endif
