/* What a sampler is, for the files that make it and save it. */
#ifndef DW_SAMPLING_SAMPLER_INTERNAL_H
#define DW_SAMPLING_SAMPLER_INTERNAL_H

#include <llama.h>

#include "sampling/sampler.h"
#include "text/grammar.h"

#define SAMPLER_BREAKERS_MAX 16
#define SAMPLER_BREAKER_BYTES_MAX 40

/* In the order in which they are applied: llama.cpp's usual one. */
typedef enum filter_kind {
    FILTER_DRY,
    FILTER_TOP_N_SIGMA,
    FILTER_TOP_K,
    FILTER_TYPICAL_P,
    FILTER_TOP_P,
    FILTER_MIN_P,
    FILTER_XTC,
    FILTER_TEMPERATURE,
    FILTER_COUNT,
} filter_kind;

struct dw_sampler {
    dw_sampler_params params;
    uint32_t vocab_count;
    uint64_t draw_count;
    float mirostat_mu; /* the surprise, in bits, above which tokens are left out */

    llama_token_data *candidates;                /* [vocab_count]; NULL when greedy, as all below */
    struct llama_sampler *filters[FILTER_COUNT]; /* NULL: off */

    /* The last dry_tokens tokens, which libllama's DRY keeps for itself; oldest at `dry_first`. */
    int32_t *dry_recent; /* [params.dry_tokens]; NULL: without DRY */
    uint32_t dry_count;
    uint32_t dry_first;
    char breakers[SAMPLER_BREAKERS_MAX][SAMPLER_BREAKER_BYTES_MAX + 1]; /* [breaker_count] */
    size_t breaker_count;
    bool breakers_set; /* else libllama's DRY has none, and no vocabulary */

    dw_grammar *grammar; /* NULL: none; else made of: */
    char *grammar_text;  /* [grammar_bytes] */
    size_t grammar_bytes;
    int32_t *grammar_tokens; /* [grammar_count]: accepted since it was set */
    size_t grammar_count;
    size_t grammar_capacity;
    unsigned char *allowed; /* [vocab_count]: by the grammar; looked at where `masked` */
    bool masked;

    dw_logit_bias *biases; /* [bias_count] */
    size_t bias_count;

    /* The last penalty_tokens tokens, oldest at `recent_first` once the ring is full. */
    int32_t *recent;       /* [params.penalty_tokens] */
    uint16_t *seen_counts; /* [vocab_count]: how often a token stands in `recent` */
    uint32_t recent_count;
    uint32_t recent_first;
};

/* What dw_sampler_remember is made of. Errors: dw_grammar_accept's. */
dw_status dw__sampler_accept_in_grammar(dw_sampler *sampler, int32_t token, dw_error *err);
void dw__sampler_remember_dry(dw_sampler *sampler, int32_t token);
void dw__sampler_remember_recent(dw_sampler *sampler, int32_t token);

#endif
