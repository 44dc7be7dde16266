/* The host functions as a guest reaches them: a module that imports those of models and exports a
 * caller for each, whose arguments the test puts into guest memory. */
#ifndef DW_TESTS_ABI_FIXTURE_H
#define DW_TESTS_ABI_FIXTURE_H

#include "driftwood_abi.h"
#include "wasm/guest_instance.h"

#define ABI_MEMORY_PAGES 64
#define MEMORY_BYTES (ABI_MEMORY_PAGES * 65536u)
#define CONTEXTS_MAX 2
#define ADAPTER_SETS_MAX 1
#define CONTEXT_TOKENS_MAX 48

/* Places in guest memory. */
#define AT_TOKENS 4096u
#define AT_LOGITS 65536u
#define AT_TEXT 32768u
#define AT_PARAMS 8192u
#define AT_INFO 12288u
#define AT_WORDS 16384u

typedef struct abi_fixture {
    dw_engine *engine; /* of the group, as the next two and vocab_count */
    dw_model *model;
    dw_module *module;
    dw_instance *instance; /* of the test, as all below */
    unsigned char *memory;
    const char *input_text; /* what the guest's input gives; NULL: the end */
    int32_t model_handle;
    int32_t context_handle;
    uint32_t vocab_count;
} abi_fixture;

/* The one fixture of a test program. */
extern abi_fixture abi;

/* Of a group: an engine, a tiny model, the module. */
int abi_fixture_open(void **state);
int abi_fixture_close(void **state);
/* Of a test: an instance that has the model and a context, and 16 tokens from 20 on. */
int abi_set_up(void **state);
int abi_tear_down(void **state);

int32_t abi_call(const char *name, const uint32_t *args, size_t count);
/* CALL("forward", context, tokens, ...): arguments of any integer type. */
#define CALL(name, ...)                                                                            \
    abi_call((name), (const uint32_t[]){__VA_ARGS__},                                              \
             sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define U(value) ((uint32_t)(value))

int32_t *abi_tokens(void); /* at AT_TOKENS */
float *abi_logits(void);   /* at AT_LOGITS */
/* Fails the test unless the guest's last error holds `words`. */
void abi_expect_message(const char *words);

#endif
