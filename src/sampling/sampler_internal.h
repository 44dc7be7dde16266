/* What a sampler is, and what its files share. */
#ifndef DW_SAMPLING_SAMPLER_INTERNAL_H
#define DW_SAMPLING_SAMPLER_INTERNAL_H

#include <llama.h>

#include "base/account.h"
#include "sampling/sampler.h"
#include "grammar/grammar.h"

#define SAMPLER_BREAKERS_MAX 16
#define SAMPLER_BREAKER_BYTES_MAX 40
/* libllama sorts into buckets by int(6.4 * logit): beyond this the conversion would overflow. */
#define SAMPLER_LOGIT_MAX 1.0e8F

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

#define SAMPLER_BUCKETS 2048
/* What sorting takes. */
typedef struct sampler_order {
    double mass[SAMPLER_BUCKETS];
    uint32_t places[SAMPLER_BUCKETS];
    llama_token_data *list; /* [vocab_count] */
    llama_token_data *near; /* [vocab_count]; NULL: without typical_p */
} sampler_order;

struct dw_sampler {
    dw_sampler_params params;
    uint32_t vocab_count;
    uint64_t draw_count;
    float mirostat_mu; /* the surprise, in bits, above which tokens are left out */

    llama_token_data *candidates;                /* [vocab_count]; NULL when greedy, as all below */
    struct llama_sampler *filters[FILTER_COUNT]; /* NULL: off */
    sampler_order *order;                        /* NULL: nothing is sorted here */
    dw_account *payer;                           /* counted; of what libllama takes for them: */
    uint64_t filter_bytes;

    /* The last dry_tokens tokens, which libllama's DRY keeps for itself; oldest at `dry_first`. */
    int32_t *dry_recent; /* [params.dry_tokens]; NULL: without DRY */
    uint32_t dry_count;
    uint32_t dry_first;
    char breakers[SAMPLER_BREAKERS_MAX][SAMPLER_BREAKER_BYTES_MAX + 1]; /* [breaker_count] */
    size_t breaker_count;
    bool breakers_set; /* else libllama's DRY has none, and no vocabulary */

    uint64_t steps_max;  /* of grammars, a call; 0: their own limit */
    dw_grammar *grammar; /* NULL: none; else made of: */
    char *grammar_text;  /* [grammar_bytes] */
    size_t grammar_bytes;
    bool of_tools; /* set by dw_sampler_set_tool_grammar */
    const dw_token_texts *texts;
    dw_triggers *triggers; /* NULL: it began when it was set */
    bool waiting;          /* for one of them */
    char *grammar_start;   /* [grammar_start_bytes]: what it began with, before any token */
    size_t grammar_start_bytes;
    int32_t *grammar_tokens; /* [grammar_count]: accepted since it began */
    size_t grammar_count;
    size_t grammar_capacity;
    const uint64_t *allowed; /* by the grammar, as dw_grammar_mask; looked at where `masked` */
    uint64_t *unwaiting;     /* [vocab_count bits]: the same where it waits for a trigger */
    bool masked;
    dw_stop *stop; /* may be NULL */

    dw_logit_bias *biases; /* [bias_count] */
    size_t bias_count;

    /* The last penalty_tokens tokens, oldest at `recent_first` once the ring is full. */
    int32_t *recent;       /* [params.penalty_tokens] */
    uint16_t *seen_counts; /* [vocab_count]: how often a token stands in `recent` */
    uint32_t recent_count;
    uint32_t recent_first;
};

/* ---- sampler_params.c ---- */

/* Errors: DW_E_NUMERIC, DW_E_RANGE, DW_E_ARG (the reserved field). */
dw_status dw__sampler_params_check(const dw_sampler_params *params, dw_error *err);
/* Put in the defaults of parameters for which 0 does not mean off. */
void dw__sampler_params_fill(dw_sampler_params *params);

/* Whether the largest logit is chosen, whatever the others are. */
static inline bool dw__sampler_is_greedy(const dw_sampler *sampler)
{
    return sampler->params.temperature == 0.0F && sampler->bias_count == 0 && !sampler->masked;
}

/* ---- sampler_draw.c ---- */

/* Leave out what is ruled out, or less likely than the likeliest by a factor of e^depth. */
void dw__sampler_compact(llama_token_data_array *list, float depth);
/* Apply the filters from `kind` on to the list, which keeps at least one token.
 * Errors: DW_E_MEMORY. */
dw_status dw__sampler_filter(dw_sampler *sampler, filter_kind kind, llama_token_data_array *list,
                             dw_error *err);
/* Draw a token from the list by its logits. Where a token stands in the list decides which draws
 * choose it. */
int32_t dw__sampler_draw(dw_sampler *sampler, const llama_token_data_array *list);
/* The same by mirostat, which also moves sampler->mirostat_mu, and shortens the list. */
int32_t dw__sampler_draw_mirostat(dw_sampler *sampler, llama_token_data_array *list);

/* ---- sampler_order.c; of lists with something in them ---- */

/* The likeliest first, of equals the one that stood first. */
void dw__sampler_sort(dw_sampler *sampler, llama_token_data_array *list);
/* Leave those that make up params.top_p, sorted. */
void dw__sampler_top_p(dw_sampler *sampler, llama_token_data_array *list);
/* Leave those that make up params.typical_p, the nearest to the mean surprise first. Logits are at
 * most 70 below the largest. */
void dw__sampler_typical(dw_sampler *sampler, llama_token_data_array *list);

/* ---- sampler_top_k.c ---- */

/* Whether a row's likeliest tokens can decide a choice at all. */
bool dw__sampler_decides_by_likeliest(const dw_sampler *sampler);
/* Choose from logits [vocab_count] by the likeliest alone; `*decided` is false where these do not
 * decide, and nothing has changed then. Errors: DW_E_MEMORY. */
dw_status dw__sampler_choose_by_likeliest(dw_sampler *sampler, const float *logits, bool *decided,
                                          int32_t *token, dw_error *err);

/* ---- sampler_grammar.c; with a grammar ---- */

/* Whether the grammar allows the token. Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__sampler_allows(dw_sampler *sampler, int32_t token, bool *allowed, dw_error *err);
/* Set sampler->allowed, until the grammar's next call. Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__sampler_find_allowed(dw_sampler *sampler, dw_error *err);
/* Begin the grammar, which may be waiting, with text [bytes]. Errors: those of dw_grammar_begin. */
dw_status dw__sampler_begin_grammar(dw_sampler *sampler, const char *text, size_t bytes,
                                    dw_error *err);
/* A grammar as `parent` has it, where that is. Errors: DW_E_MEMORY, those of making it. */
dw_status dw__sampler_fork_grammar(dw_sampler *sampler, const dw_sampler *parent,
                                   const dw_vocab *vocab, dw_error *err);

/* ---- the parts of dw_sampler_remember ---- */

/* Errors: those of dw_grammar_accept. */
dw_status dw__sampler_accept_in_grammar(dw_sampler *sampler, int32_t token, dw_error *err);
void dw__sampler_remember_dry(dw_sampler *sampler, int32_t token);
void dw__sampler_remember_recent(dw_sampler *sampler, int32_t token);

#endif
