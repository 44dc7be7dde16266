/* What is counted, for Prometheus: its text format, version 0.0.4.
 * Thread: the loop's, but for what says otherwise. */
#ifndef DW_SERVING_METRICS_H
#define DW_SERVING_METRICS_H

#include "serving/serving.h"

typedef struct dw_metrics dw_metrics;

dw_metrics *dw_metrics_create(void);
void dw_metrics_destroy(dw_metrics *metrics);

/* A request is answered with this status; `route` is a form, static: "/v1/actors/{id}". */
void dw_metrics_request(dw_metrics *metrics, const char *route, int status);
/* Times of an answer that was generated, in nanoseconds. */
typedef enum dw_metrics_time {
    DW_METRICS_QUEUE,       /* from the request to the guest's beginning with it */
    DW_METRICS_PREFILL,     /* from there to the first token, where none was held already */
    DW_METRICS_REUSE,       /* the same where some were */
    DW_METRICS_FIRST_TOKEN, /* from the request on */
    DW_METRICS_BETWEEN,     /* tokens, as they come */
    DW_METRICS_TIMES,
} dw_metrics_time;
void dw_metrics_took(dw_metrics *metrics, dw_metrics_time what, uint64_t ns);
/* Tokens of prompts, of these those that were held, and of answers. */
void dw_metrics_tokens(dw_metrics *metrics, uint64_t prompt, uint64_t cached, uint64_t answer);
/* A guest met a limit. Thread: any. */
void dw_metrics_limit(dw_metrics *metrics, const char *limit);

/* All of it. `held_bytes`: of answers, what others than tasks hold and connections do not have. */
void dw_metrics_show(dw_server *server, dw_exchange *exchange, size_t held_bytes);

#endif
