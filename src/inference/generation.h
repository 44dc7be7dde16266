/* Generation ahead of the guest: a prompt, then one token after the other, each step's end making
 * the next step, until a reason to stop. It is a loop of steps that end with a choice, as
 * `forward_sample` makes them, with its results to the bit; who runs the steps is the caller's
 * business: a batch, or dw_generation_run on the spot. The tokens that go into steps are its own:
 * guest memory only gets what was chosen.
 * Thread: one has the item while its steps run, the guest's all else: what both look at is atomic.
 * The places for results may be read by anybody. */
#ifndef DW_INFERENCE_GENERATION_H
#define DW_INFERENCE_GENERATION_H

#include "base/account.h"
#include "driftwood_abi.h"
#include "inference/batch.h"

#define DW_STOP_TOKENS_MAX 1024u
#define DW_STOP_STRINGS_MAX 64u
#define DW_STOP_STRING_BYTES_MAX 255u

/* Of a string at which it stops. */
typedef struct dw_stop_text {
    const char *bytes; /* [count], 1 to DW_STOP_STRING_BYTES_MAX */
    size_t count;
} dw_stop_text;

/* Where results go, as they come: guest memory, which stays as long as the generation. */
typedef struct dw_generation_place {
    int32_t *tokens; /* [tokens_max] */
    uint32_t *token_count;
    int32_t *end;
    int32_t *stop_index;
} dw_generation_place;

typedef struct dw_generation_options {
    const int32_t *prompt; /* [prompt_count], copied, as is all that follows; read once */
    uint32_t prompt_count;
    uint32_t tokens_max;
    uint32_t wake_tokens; /* 0: at the end */
    uint32_t flags;       /* DW_GENERATE_... */
    const int32_t *stop_tokens;
    uint32_t stop_token_count;
    const dw_stop_text *stops;
    uint32_t stop_count;
    dw_generation_place place;
    dw_step step;        /* counters, stop, on_progress and user for all steps */
    dw_account *account; /* explains what was refused; may be NULL */
} dw_generation_options;

/* One that stops at a string: what of it the text ends with. */
typedef struct dw__stop_match {
    unsigned char *bytes; /* [count] */
    uint8_t *fallback;    /* [count]: how much matches still where one more byte does not */
    uint32_t count;
    uint32_t matched;
} dw__stop_match;

typedef struct dw_generation {
    dw_batch_item item;         /* the step that is next or under way, for who runs it */
    dw_shift *shift;            /* before that: the context's window moves on; NULL: it does not */
    void *owner;                /* who does */
    struct dw_generation *next; /* of the guest's */
    dw_context *context;        /* the guest's, as the sampler: they outlive it */
    dw_sampler *sampler;
    struct dw_generation *noted_next; /* for who runs it */
    bool noted;
    int32_t end; /* DW_GENERATE_..., or the status that it failed with: by dw_generation_end */
    int32_t end_to_be;
    int32_t stop_index; /* with it */
    dw_error error;
    _Atomic uint32_t token_count;
    _Atomic uint32_t
        shown_count;       /* of them in the guest's memory: one that ends it comes with that */
    _Atomic uint32_t told; /* of those shown, by the last dw_generation_tell */

    uint32_t tokens_max;
    _Atomic uint32_t wake_tokens;
    uint32_t flags;
    int32_t *prompt;
    int32_t token; /* the last chosen: what the next step appends */
    dw_choice choice;
    int32_t *stop_tokens;
    uint32_t stop_token_count;
    dw__stop_match *stops;
    uint32_t stop_count;
    const struct dw_token_texts *texts; /* the vocabulary's; NULL: no stop strings */
    dw_generation_place place;
    dw_account *account;
} dw_generation;

/* Nothing runs yet: `item` is the prompt's step. Errors: DW_E_ARG (no tokens, unknown flags, an
 * empty stop string), DW_E_LIMIT (too many stops, or too long), DW_E_RANGE (a token outside the
 * vocabulary), DW_E_MEMORY. */
dw_status dw_generation_create(dw_generation **out, dw_context *context, dw_sampler *sampler,
                               const dw_generation_options *options, dw_error *err);
/* NULL is fine. No step of it may be under way. */
void dw_generation_destroy(dw_generation *generation);

/* The item's step is through: take its token. True: the item has the next step; false: it is to
 * end. Allocates nothing but for what the sampler grows by. Thread: the device's. */
bool dw_generation_take(dw_generation *generation);
/* Whether the context's window has to move on before the item's next step, and a part of that, of
 * some milliseconds on a CPU. False: it is to end. Thread: the device's. */
static inline bool dw_generation_slides(const dw_generation *generation)
{
    return generation->shift != NULL;
}
bool dw_generation_slide(dw_generation *generation);
/* It has ended, now that nobody has its item any more. Thread: the guest's, as the next. */
void dw_generation_end(dw_generation *generation);
/* Write to the guest's memory that it has, and why: a guest that is told so by nothing else finds
 * it going on until it asks. A token that ends it is counted with that, so that who reads ahead of
 * the end takes it for none of the text. */
void dw_generation_tell_end(dw_generation *generation);
/* How many tokens there are, from now on told: until it has ended, of those that the guest's memory
 * counts. Thread: the guest's. */
uint32_t dw_generation_tell(dw_generation *generation);
/* Run steps on the caller's thread until who waits is to be woken. */
void dw_generation_run(dw_generation *generation);
/* It has ended, or has as many new tokens as were asked for. */
bool dw_generation_wakes(const dw_generation *generation);
/* The latter alone. Thread: any. */
bool dw_generation_has_come(const dw_generation *generation);
/* It ends as DW_GENERATE_LEFT, unless it has ended; no step is under way. */
void dw_generation_leave(dw_generation *generation);

#endif
