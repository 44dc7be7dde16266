/* Logarithms of tokens' probabilities, as OpenAI's routes have them. */
#ifndef DW_ROUTES_LOGPROBS_H
#define DW_ROUTES_LOGPROBS_H

#include <jansson.h>

/* Those of a guest's line, or NULL, appended to `list`: {"token", "logprob", "bytes",
 * "top_logprobs"}. */
void dw_logprobs_add(json_t *list, const json_t *line);

#endif
