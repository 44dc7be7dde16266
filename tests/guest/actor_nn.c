/* An actor that speaks with its model by wasi-nn, a token at a time: "=TEXT" is its prompt from now
 * on, a digit asks for so many tokens, which it answers. What it has under way outlives freezes and
 * forks. */
#include <stdio.h>

#include "driftwood_guest.h"
#include "nn.h"

static const char settings[] = "{\"temp\":0.9,\"seed\":7,\"ctx-size\":128}";
static char message[256];
static char text[256];
static uint32_t context;

static int32_t begin(const char *prompt, uint32_t bytes)
{
    uint32_t graph = 0;
    const tensor input = {NULL, 0, 3, prompt, bytes};
    int32_t error = 0;
    if (context == 0) {
        error = load_by_name_with_config("default", 7, settings, sizeof settings - 1, &graph);
        error = error == 0 ? init_execution_context(graph, &context) : error;
    }
    return error == 0 ? set_input(context, 0, &input) : error;
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    int32_t error = 0;
    uint32_t got = 0;
    if (bytes > 0 && message[0] == '=') {
        return begin(message + 1, (uint32_t)bytes - 1);
    }
    for (int i = 0; bytes > 0 && i < message[0] - '0' && error == 0; i++) {
        error = compute_single(context);
        if (error == 0) {
            error = get_output_single(context, 0, text, sizeof text, &got);
            (void)fwrite(text, 1, got, stdout);
        }
    }
    return error;
}
