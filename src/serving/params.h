/* What a request says, checked: each value that is wrong is named, with what is allowed.
 * Thread: the loop's. */
#ifndef DW_SERVING_PARAMS_H
#define DW_SERVING_PARAMS_H

#include <jansson.h>
#include <stdbool.h>

#include "serving/serving.h"

/* What is wrong with a request; `what` "": nothing. */
typedef struct dw_fault {
    int status; /* HTTP's */
    const char *param;
    const char *code; /* NULL: none */
    char what[512];
} dw_fault;

/* Note the first fault alone, as one line of UTF-8. */
void dw_fault_set(dw_fault *fault, int status, const char *param, const char *format, ...)
    DW_PRINTF(4, 5);
static inline bool dw_fault_is_set(const dw_fault *fault)
{
    return fault->what[0] != '\0';
}

/* The request's body, an object; NULL: it is none, and `fault` says why. */
json_t *dw_params_body(const dw_exchange *exchange, dw_fault *fault);
/* JSON that stands in a text of a request, an object or a list; NULL: `fault` says why, of `param`,
 * and `name` begins its message. A text is one value to the body's bounds, whatever is in it: it is
 * counted again. */
json_t *dw_params_nested(const char *text, const char *param, const char *name, dw_fault *fault);
/* The same of what a model said, or is told that it did: of members of one name the last counts, as
 * most clients have it. `flags`: jansson's. NULL: it is none, or too much. */
json_t *dw_params_said(const char *text, size_t flags);
/* The same as the text that it is, for dw_raw_add: "{}" where it is no object. */
char *dw_params_object_said(const char *text);

/* Members; those that are missing or null give `otherwise`, NULL or false. */
double dw_params_number(const json_t *body, const char *name, double lowest, double highest,
                        double otherwise, dw_fault *fault);
int64_t dw_params_whole(const json_t *body, const char *name, int64_t lowest, int64_t highest,
                        int64_t otherwise, dw_fault *fault);
/* How many tokens at most, from 1 on; below 0, as several servers have it, is 0: no bound. */
int64_t dw_params_most(const json_t *body, const char *name, int64_t otherwise, dw_fault *fault);
bool dw_params_truth(const json_t *body, const char *name, bool otherwise, dw_fault *fault);
const char *dw_params_string(const json_t *body, const char *name, dw_fault *fault);
bool dw_params_has(const json_t *body, const char *name);

/* How answers are generated, for the guest: `into` gets sampler, bias, stop, max, grammar, schema,
 * logprobs, past_end, n and lora ([{id, scale}...]) of what OpenAI's and llama.cpp's requests call
 * so. `most` is the name of the member that bounds tokens, or NULL. */
void dw_params_generation(const json_t *body, json_t *into, dw_fault *fault);
/* The chat in the body, as dw_chat_render reads it; the caller's. NULL: `fault` says why. */
json_t *dw_params_chat(const json_t *body, dw_fault *fault);

/* The members of an object as JSON, without its brackets; the caller's, for free(). NULL: no
 * memory. */
char *dw_members_of(const json_t *message);

#endif
