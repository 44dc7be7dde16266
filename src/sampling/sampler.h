/* Choosing a token from logits. The filters are libllama's, but for a first cut that the row's
 * likeliest decide (kernels/top_k.h); the last draw and XTC's come from a counter-based generator
 * (seed, number of the draw). A sampler's state, beside its parameters, biases, breakers and
 * grammar: the number of the draw, mirostat's mu, the last tokens (penalty_tokens or dry_tokens, at
 * most 4,096 each), where its triggers are, and the text and the tokens since the grammar began.
 * Nothing else has to be saved for it to go on elsewhere.
 * Thread: one at a time. */
#ifndef DW_SAMPLING_SAMPLER_H
#define DW_SAMPLING_SAMPLER_H

#include <jansson.h>

#include "base/status.h"
#include "driftwood_abi.h"
#include "kernels/top_k.h"
#include "chat/chat.h"
#include "sampling/trigger.h"
#include "text/vocab.h"

typedef struct dw_sampler dw_sampler;

#define DW_SAMPLER_PARAMS_BYTES_MIN 48
#define DW_SAMPLER_PARAMS_BYTES_MAX 4096

/* `params` NULL: greedy. Errors: DW_E_NUMERIC (NaN or infinite), DW_E_RANGE, DW_E_MEMORY; the
 * message names the parameter, its value and the range. */
dw_status dw_sampler_create(dw_sampler **out, uint32_t vocab_count, const dw_sampler_params *params,
                            dw_error *err);
void dw_sampler_destroy(dw_sampler *sampler);
uint32_t dw_sampler_vocab_count(const dw_sampler *sampler);
/* Who is asked from now on whether what its grammar takes should be left: the call is then
 * DW_E_CANCELLED and has changed nothing. NULL: nobody. */
void dw_sampler_set_stop(dw_sampler *sampler, dw_stop *stop);

/* Parameters as a guest gave them, `bytes` of them, in the layout of its header: those that it
 * lacks are off. Errors: DW_E_RANGE (bytes), DW_E_UNSUPPORTED (one that is unknown here is set). */
dw_status dw_sampler_params_read(dw_sampler_params *to, const void *from, size_t bytes,
                                 dw_error *err);
/* Replace the biases: added to logits before anything else, minus infinity rules a token out.
 * Errors: DW_E_LIMIT, DW_E_RANGE, DW_E_NUMERIC, DW_E_MEMORY. On error: as it was. */
dw_status dw_sampler_set_biases(dw_sampler *sampler, const dw_logit_bias *biases, size_t count,
                                dw_error *err);
/* Replace the strings at which DRY stops looking for repetition; DRY forgets what it has seen, and
 * without DRY this does nothing. Errors: DW_E_LIMIT, DW_E_RANGE, DW_E_ARG. On error: as it was. */
dw_status dw_sampler_set_breakers(dw_sampler *sampler, const dw_vocab *vocab,
                                  const char *const *breakers, size_t count, dw_error *err);

/* A sampler that is where `parent` is; the two go on independently. `vocab` is the one of the
 * parent's breakers and grammar. Errors: DW_E_MEMORY, those of making it. */
dw_status dw_sampler_fork(dw_sampler **out, const dw_sampler *parent, const dw_vocab *vocab,
                          dw_error *err);
/* From now on its draws are those of another seed. */
void dw_sampler_reseed(dw_sampler *sampler, uint64_t seed);
/* All of it as a JSON object, docs/snapshot.md; the caller's. NULL: no memory. */
json_t *dw_sampler_save(const dw_sampler *sampler);
/* The sampler of such an object, which is untrusted. Errors: DW_E_FORMAT (naming the key), and
 * those of the calls above. */
dw_status dw_sampler_load(dw_sampler **out, const dw_vocab *vocab, const json_t *saved,
                          dw_error *err);

/* From now on only what the grammar allows is chosen, beginning at its start;
 * dw_sampler_remember advances it. text [bytes], GBNF as in grammar_rules.h; 0 bytes: the
 * grammar is removed.
 * `vocab` outlives the sampler. Errors: those of dw_grammar_create. On error: as it was. */
dw_status dw_sampler_set_grammar(dw_sampler *sampler, const dw_vocab *vocab, const char *text,
                                 size_t bytes, dw_error *err);

/* A grammar of tool calls, as the formats of models have them: control tokens count by their text,
 * since the markers of calls are such tokens in some vocabularies. */
typedef struct dw_tool_grammar {
    const char *text; /* [bytes]: GBNF */
    size_t bytes;
    /* NULL: the grammar begins at once. Else all is allowed until one is met in the text of what is
     * remembered, control tokens' text too; the grammar then begins where the trigger says, which
     * may be inside a token. A token that meets one where the grammar could not go on is not
     * allowed. */
    const dw_trigger_options *triggers;
    const char *prefix; /* [prefix_bytes]: without triggers, what the grammar is past already */
    size_t prefix_bytes;
} dw_tool_grammar;

/* The same for such a grammar, which replaces one set before. Everything is copied.
 * Errors: also those of dw_triggers_create, DW_E_ARG (the grammar does not allow the prefix). */
dw_status dw_sampler_set_tool_grammar(dw_sampler *sampler, const dw_vocab *vocab,
                                      const dw_tool_grammar *grammar, dw_error *err);
/* The grammar of a chat's format: it holds tool calls, or the whole answer, to their schemas.
 * Without one in the format: no grammar. Errors: as dw_sampler_set_tool_grammar. */
dw_status dw_sampler_set_chat_format(dw_sampler *sampler, const dw_vocab *vocab,
                                     const dw_chat_format *format, dw_error *err);
/* From now on a call takes no more steps in a grammar, this one or a later one, than this. */
void dw_sampler_limit_steps(dw_sampler *sampler, uint64_t steps_max);
/* The steps that its grammar's tokens took: what a copy of it takes again. 0: no grammar. */
uint64_t dw_sampler_grammar_steps(const dw_sampler *sampler);
/* Whether there is a grammar that has not begun. */
bool dw_sampler_awaits_trigger(const dw_sampler *sampler);
/* Put minus infinity, in logits [vocab_count], where the grammar does not allow the token; without
 * a grammar nothing. Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_sampler_mask(dw_sampler *sampler, float *logits, dw_error *err);

/* logits [vocab_count], read in place. Errors: DW_E_NUMERIC (NaN among them, none finite, or none
 * that the grammar allows), DW_E_LIMIT (the grammar). */
dw_status dw_sampler_choose(dw_sampler *sampler, const float *logits, int32_t *token,
                            dw_error *err);
/* How many of a row's likeliest dw_sampler_choose_from_top_k may decide by: 1 where the largest is
 * chosen whatever the others are, or where they never decide. At most DW_TOP_K_MAX. */
uint32_t dw_sampler_top_k_count(const dw_sampler *sampler);
/* Whether the next choice is the largest of a row's, whatever the row and whatever was chosen
 * before, so that a device that finds it need not wait for the choice; and remembering it cannot
 * fail. */
bool dw_sampler_takes_likeliest(const dw_sampler *sampler);
/* The same choice from the row's likeliest alone. `*decided` is false where they do not decide it
 * (what is asked for looks at all logits, or further down); nothing has changed then.
 * Errors: DW_E_NUMERIC, DW_E_LIMIT. */
dw_status dw_sampler_choose_from_top_k(dw_sampler *sampler, const dw_top_k *candidates,
                                       bool *decided, int32_t *token, dw_error *err);
/* Remember a token for the penalties, and go on past it in the grammar. Errors: DW_E_RANGE,
 * DW_E_ARG (the grammar does not allow it), DW_E_LIMIT. On error: as it was. */
dw_status dw_sampler_remember(dw_sampler *sampler, int32_t token, dw_error *err);
/* The index of the largest of logits [count], the first of equals. Errors: DW_E_NUMERIC. */
dw_status dw_greedy_choose(const float *logits, uint32_t count, int32_t *token, dw_error *err);

#endif
