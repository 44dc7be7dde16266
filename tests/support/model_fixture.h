/* What tests of models share: our engine on the CPU with a region as a guest's memory would be,
 * and libllama on the same file as the oracle. */
#ifndef DW_TESTS_MODEL_FIXTURE_H
#define DW_TESTS_MODEL_FIXTURE_H

#include <llama.h>

#include "base/counters.h"
#include "device/device_view.h"
#include "inference/context.h"
#include "model/model.h"

/* Tokens that a fixture has room for, and rows of logits. */
#define FIXTURE_TOKENS 2048u
#define FIXTURE_ROWS 1024u

typedef struct model_fixture {
    dw_device *device;
    dw_model *model;
    dw_region *region;
    dw_device_view *view;
    int32_t *tokens; /* [FIXTURE_TOKENS], at the region's start */
    float *logits;   /* [FIXTURE_ROWS][vocab_count], behind */
    uint32_t vocab_count;
    dw_kv_type kv_type; /* of contexts made from now on */
    dw_counters counters;
} model_fixture;

/* The default model's path: DW_TEST_MODEL, or its file in DW_TEST_MODEL_DIR or the user's cache.
 * Fails the test, saying what to do, where there is none. */
const char *model_fixture_path(void);

void model_fixture_open(model_fixture *fixture, const char *path);
void model_fixture_close(model_fixture *fixture);
/* How far two computations of the same logits may be apart, relative: `cpu_limit` where the kernels
 * are the same, more on other devices, which choose kernels by the shapes. */
double model_fixture_tolerance(const model_fixture *fixture, double cpu_limit);

/* A whole file of tests/data, the caller's to free. */
char *model_fixture_data(const char *name);
/* Tokens of `text` into fixture->tokens: their number, at most FIXTURE_TOKENS. */
uint32_t model_fixture_tokenize(model_fixture *fixture, const char *text);
/* A step from tokens + offset, logits from row 0 on; asserts success. */
void model_fixture_forward(model_fixture *fixture, dw_context *context, uint32_t offset,
                           uint32_t count, uint32_t rows);
dw_status model_fixture_try_forward(model_fixture *fixture, dw_context *context,
                                    const dw_step *step, dw_error *err);
dw_context *model_fixture_context(model_fixture *fixture, uint32_t tokens_max);

typedef struct model_oracle {
    struct llama_model *model;
    struct llama_context *context;
    uint32_t vocab_count;
    dw_kv_type kv_type; /* set before opening */
} model_oracle;

void oracle_open(model_oracle *oracle, const char *path, int threads);
void oracle_close(model_oracle *oracle);
/* Compute tokens [count] behind position `start`, forgetting what followed; logits of all when
 * `all`, else of the last. */
void oracle_forward(model_oracle *oracle, const int32_t *tokens, uint32_t start, uint32_t count,
                    bool all);
/* The same of rows [count][embedding_length] in the place of tokens. */
void oracle_forward_rows(model_oracle *oracle, const float *rows, uint32_t embedding_length,
                         uint32_t start, uint32_t count);
/* [vocab_count], of the step's token `row`; -1: the last. */
const float *oracle_logits(model_oracle *oracle, int32_t row);

int32_t logits_argmax(const float *logits, uint32_t count);
/* KL divergence of softmax(ours) from softmax(theirs). */
double logits_divergence(const float *theirs, const float *ours, uint32_t count);
/* The largest difference over the largest magnitude. */
double logits_difference(const float *theirs, const float *ours, uint32_t count);

#endif
