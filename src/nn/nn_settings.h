/* What a guest of wasi-nn says of a graph in JSON: keys and their defaults as WasmEdge's plugin for
 * GGML has them (which are llama.cpp's). Keys that mean nothing here (threads, layers on a GPU,
 * batch sizes) are passed over, as are unknown ones.
 * Source: the examples and the Rust crate of the plugin, wasmedge-wasi-nn 0.8. */
#ifndef DW_NN_NN_SETTINGS_H
#define DW_NN_NN_SETTINGS_H

#include <jansson.h>

#include "base/status.h"
#include "driftwood_abi.h"

typedef struct dw_nn_settings {
    dw_sampler_params sampler; /* its seed where has_seed */
    bool has_seed;
    int64_t tokens_max;      /* n-predict; negative: until the end */
    uint32_t context_tokens; /* ctx-size; 0: as many as the model and the guest's limits allow */
    int32_t pooling;         /* pooling-type, DW_POOLING_... */
    bool embedding;
    bool streams_stdout;
    bool ignores_end; /* ignore-eos */
    bool logs;        /* enable-log, enable-debug-log */
    /* NULL: not given, or empty. Until the settings are released. */
    const char *grammar;
    const char *json_schema;
    const char *reverse_prompt;
    json_t *object; /* that was read */
} dw_nn_settings;

/* The settings of a text, JSON; to be released, also on failure. Errors: DW_E_FORMAT (no JSON, or
 * no object: where), DW_E_ARG (a value of another type, or out of its range: key, value),
 * DW_E_UNSUPPORTED (it asks for images or sound: which key), DW_E_MEMORY. */
dw_status dw_nn_settings_read(dw_nn_settings *settings, const char *text, dw_error *err);
void dw_nn_settings_release(dw_nn_settings *settings);
/* given [bytes], JSON, whose members take the place of those of `text`. *merged: for dw_free.
 * Errors: those above. */
dw_status dw_nn_settings_merge(char **merged, const char *text, const char *given, size_t bytes,
                               dw_error *err);

#endif
